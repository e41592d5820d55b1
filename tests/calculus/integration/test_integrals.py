"""Integrals: known values, honesty, ends, laws, derivatives, shapes and messages."""

import functools
import gc
import math
import sys
import weakref
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import jaxcalc as jc
from jaxcalc.calculus.integration.definite import IntegralStatus
from jaxcalc.calculus.integration.integrals import antiderivative, integrate, integrate_box

sys.path.insert(0, str(Path(__file__).parents[3]))  # benchmarks/ is not part of the installed package

from benchmarks.integrals import BATTERY, BOX_BATTERY, by_jaxcalc

laws = settings(max_examples=25, deadline=None, derandomize=True)
numbers = st.floats(-3, 3, allow_subnormal=False)


@pytest.mark.parametrize("case", BATTERY, ids=lambda case: case.name)
def test_battery_is_right_and_honest(case):
    found = by_jaxcalc(case)
    wrong = abs(found.value - case.exact)
    assert wrong <= 1e-10 * abs(case.exact)
    # The exact value is itself known to rounding only.
    assert wrong <= found.error + 2 * np.spacing(abs(case.exact))
    assert found.success == (found.error <= 1e-12 * abs(found.value))


IMPOSSIBLE = {
    "1 / x": (lambda x: 1 / x, 0, 1),
    "1 / x through its pole": (lambda x: 1 / x, -1, 2),
    "1 / x to infinity": (lambda x: 1 / x, 1, math.inf),
    "x^-1.01 to infinity": (lambda x: x**-1.01, 1, math.inf),
    "x": (lambda x: x, 0, math.inf),
    "cos": (jnp.cos, 0, math.inf),
    "sin x / x": (lambda x: jnp.sin(x) / x, 0, math.inf),
    "tan through its pole": (jnp.tan, 0, 3),
    "sqrt of negative numbers": (jnp.sqrt, -1, 1),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_no_success_where_there_is_none(name):
    f, a, b = IMPOSSIBLE[name]
    found = integrate(f, a, b)
    assert not found.success
    assert found.status != IntegralStatus.SUCCESS
    assert found.error > 1e-4


HARD = {
    "singularity inside": (lambda x: jnp.abs(x - 1 / 3) ** -0.5, 0, 1, 2 * (math.sqrt(1 / 3) + math.sqrt(2 / 3))),
    "inverse square root at both ends": (lambda x: 1 / jnp.sqrt(1 - x * x), -1, 1, math.pi),
    "bell far from 0": (lambda x: jnp.exp(-((x - 1000) ** 2)), -math.inf, math.inf, math.sqrt(math.pi)),
    "spike on a slope": (
        lambda x: x + 1e-3 * jnp.exp(-(((x - 0.3217) / 1e-6) ** 2)),
        *(0, 1, 0.5 + 1e-9 * math.sqrt(math.pi)),
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_the_error_is_never_understated(name):
    f, a, b, exact = HARD[name]
    found = integrate(f, a, b)
    assert abs(found.value - exact) <= found.error
    assert_allclose(found.value, exact, rtol=1e-6)


# What is left beyond the last number is not small, nor as long as the power law through the last samples says.
SLOW = {
    "inverse of x log(x)^2": (lambda x: 1 / (x * jnp.log(x) ** 2), 2, math.inf, 1 / math.log(2)),
    "the same next to 1": (lambda x: 1 / ((1 - x) * jnp.log(1 - x) ** 2), 0.5, 1, 1 / math.log(2)),
    "samples that underflow": (lambda x: jnp.exp(-jnp.sqrt(jnp.log(x))) / x, 1, math.inf, 2.0),
    "law that ends short of 1": (lambda x: (1 - x) ** -0.99, 0, 1, 100.0),
}


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.slow), jnp.float64])
@pytest.mark.parametrize("name", SLOW)
def test_tails_longer_than_a_power_law_are_in_the_error(name, dtype):
    f, a, b, exact = SLOW[name]
    found = integrate(f, dtype(a), dtype(b))
    assert not found.success
    assert abs(found.value - exact) <= found.error


def test_infinite_ranges_in_single_precision():
    found = integrate(lambda x: jnp.exp(-x), jnp.float32(0), jnp.float32(math.inf))
    assert found.success
    assert_allclose(found.value, 1, rtol=1e-5)


def test_break_points_take_a_singularity_out_of_the_range():
    f, a, b, exact = HARD["singularity inside"]
    found = integrate(f, a, b, points=[1 / 3, 7.0], epsrel=1e-10)
    assert found.success
    assert abs(found.value - exact) <= found.error <= 1e-10 * exact


def test_tolerances():
    f = lambda x: jnp.cos(100 * jnp.sin(x))  # noqa: E731
    loose, tight = integrate(f, 0, 3, epsrel=1e-3), integrate(f, 0, 3, epsrel=1e-12)
    assert loose.nfev < tight.nfev
    assert loose.success
    assert tight.success
    assert abs(loose.value - tight.value) <= loose.error
    # The integral is 0 by symmetry: the value is 0 up to rounding, which is a success without a tolerance for 0.
    assert integrate(jnp.sin, -1, 1).success
    assert integrate(jnp.sin, -1, 1, epsabs=1e-12).success


def test_limit_is_a_status():
    found = integrate(lambda x: jnp.sin(1 / x), 0, 1, limit=128)
    assert found.status == IntegralStatus.LIMIT
    assert "limit" in found.message


CURVE = jax.jit(lambda c, a, b: integrate(lambda x, c: jnp.sin(c * x) + x**2, a, b, c).value)
F_OF_CURVE = lambda c, x: -jnp.cos(c * x) / c + x**3 / 3  # noqa: E731
BUMP = jax.jit(lambda a, b: integrate(lambda x: jnp.exp(-(x**2)), a, b, epsabs=1e-14).value)


class TestLaws:
    @given(numbers, numbers, numbers)
    @laws
    def test_is_additive_in_the_range(self, a, b, c):
        assert_allclose(BUMP(a, b) + BUMP(b, c), BUMP(a, c), atol=1e-13)

    @given(numbers, numbers)
    @laws
    def test_changes_its_sign_with_the_direction(self, a, b):
        assert BUMP(a, b) == -BUMP(b, a)
        assert BUMP(a, a) == 0

    @given(numbers, numbers)
    @laws
    def test_is_linear(self, s, t):
        found = LINEAR(s, t)
        assert_allclose(found[2], s * found[0] + t * found[1], atol=1e-13)

    @given(st.floats(0.5, 5), numbers, numbers)
    @laws
    def test_fundamental_theorem(self, c, a, b):
        assert_allclose(CURVE(c, a, b), F_OF_CURVE(c, b) - F_OF_CURVE(c, a), atol=1e-12)

    @given(numbers)
    @laws
    def test_derivative_of_the_antiderivative_is_the_function(self, x):
        assert_allclose(ANTIDERIVATIVE_SLOPE(x), jnp.exp(jnp.sin(x)), rtol=1e-15)

    @given(numbers, numbers)
    @laws
    def test_integration_by_parts(self, a, b):
        # (u v)' = u' v + u v' with u = x^2, v = sin x
        rest = b**2 * math.sin(b) - a**2 * math.sin(a)
        assert_allclose(PARTS(a, b).sum(), rest, atol=1e-12)

    @given(numbers, st.floats(-5, 5, allow_subnormal=False))  # XLA flushes subnormal numbers to 0
    @laws
    def test_the_constant_is_exact(self, at, constant):
        assert float(antiderivative(jnp.cos, at, constant)(at)) == constant


LINEAR = jax.jit(
    lambda s, t: (
        integrate(lambda x: jnp.stack([jnp.cos(x), x**3, s * jnp.cos(x) + t * x**3]), -1.0, 2.0, epsabs=1e-14).value
    )
)
PARTS = jax.jit(lambda a, b: integrate(lambda x: jnp.stack([2 * x * jnp.sin(x), x**2 * jnp.cos(x)]), a, b).value)
ANTIDERIVATIVE_SLOPE = jax.jit(jc.derivative(antiderivative(lambda x: jnp.exp(jnp.sin(x)), 0.3, 2.0)))


def decay(x, c):
    return jnp.exp(-c * x)


class TestDerivatives:
    """Derivatives of the integral of exp(-c x) from 0 to infinity, which is 1 / c, and from a to b."""

    half_line = staticmethod(lambda c: integrate(decay, 0.0, math.inf, c).value)

    def test_with_respect_to_args(self):
        assert_allclose(jax.grad(self.half_line)(2.0), -1 / 4, rtol=1e-12)
        assert_allclose(jax.jvp(self.half_line, (2.0,), (3.0,))[1], -3 / 4, rtol=1e-12)

    @pytest.mark.slow
    def test_twice_with_respect_to_args(self):
        assert_allclose(jax.jit(jax.hessian(self.half_line))(2.0), 2 / 8, rtol=1e-12)

    def test_with_respect_to_what_f_closes_over(self):
        over = lambda c: integrate(lambda x: jnp.exp(-c * x), 0.0, math.inf).value  # noqa: E731
        assert_allclose(jax.grad(over)(2.0), -1 / 4, rtol=1e-12)
        assert_allclose(jax.jit(jax.grad(over))(2.0), -1 / 4, rtol=1e-12)

    def test_with_respect_to_the_ends(self):
        slopes = jax.grad(lambda a, b: integrate(decay, a, b, 2.0).value, (0, 1))(0.5, 1.5)
        assert_allclose(slopes, [-math.exp(-1), math.exp(-3)], rtol=1e-14)

    def test_of_a_reversed_range(self):
        slopes = jax.grad(lambda a, b, c: integrate(decay, a, b, c).value, (0, 1, 2))(1.0, 0.0, 1.0)
        assert_allclose(slopes, [-math.exp(-1), 1.0, 1 - 2 / math.e], rtol=1e-12)

    @pytest.mark.slow
    def test_many_parameters_and_many_integrals(self):
        p = {"c": jnp.array([1.0, 2.0]), "k": 3}
        f = lambda x, p: p["c"] * x ** p["k"]  # noqa: E731
        found = jax.jacrev(lambda c: integrate(f, 0.0, 1.0, ({**p, "c": c},)).value)(p["c"])
        assert_allclose(found, np.eye(2) / 4, atol=1e-14)

    @pytest.mark.slow
    def test_antiderivative_is_differentiable_in_its_anchor(self):
        assert_allclose(jax.grad(lambda at: antiderivative(jnp.exp, at)(1.0))(0.5), -math.exp(0.5), rtol=1e-14)
        assert_allclose(jc.derivative(antiderivative(jnp.exp), 3)(0.5), math.exp(0.5), rtol=1e-14)


class TestShapes:
    def test_ends_broadcast(self):
        found = integrate(decay, np.zeros((2, 1)), np.array([1.0, 2.0, math.inf]), 1.0)
        assert found.value.shape == found.error.shape == found.status.shape == found.nfev.shape == (2, 3)
        assert_allclose(found.value, np.tile([1 - math.exp(-1), 1 - math.exp(-2), 1], (2, 1)), rtol=1e-14)

    def test_many_integrands(self):
        found = integrate(lambda x: x ** jnp.arange(4.0).reshape(2, 2), 0, jnp.array([1.0, 2.0, 3.0]))
        assert found.value.shape == (3, 2, 2)
        assert found.success.shape == (3,)
        assert_allclose(found.value[1], [[2, 2], [8 / 3, 4]], rtol=1e-14)

    @pytest.mark.slow
    def test_vmap_and_jit(self):
        c = jnp.arange(1.0, 4.0)
        assert_allclose(jax.jit(jax.vmap(lambda c: integrate(decay, 0.0, 1.0, c).value))(c), (1 - jnp.exp(-c)) / c)
        assert_allclose(jax.jit(lambda y: y + integrate(jnp.exp, 0.0, 1.0).value)(1.0), math.e)

    def test_single_precision(self):
        found = integrate(lambda x: jnp.exp(x), jnp.float32(0), jnp.float32(1))
        assert found.value.dtype == jnp.float32
        assert found.success
        assert_allclose(found.value, math.e - 1, rtol=1e-5)

    def test_numbers_compile_once(self):
        runs = []

        @functools.partial(jax.jit)
        def program(a, c):
            runs.append(a)
            return integrate(decay, a, 2.0, c).value

        values = [float(program(a, c)) for a, c in ((0.0, 1.0), (1.0, 2.0), (-1.0, 3.0))]
        assert len(set(values)) == 3
        assert len(runs) == 1

    def test_large_batches_are_worked_off_in_blocks(self):
        ends = jnp.linspace(0.0, 3.0, 3_000)
        assert_allclose(antiderivative(jnp.cos)(ends), jnp.sin(ends), atol=1e-12)

    def test_the_function_is_traced_once_and_not_kept_alive(self):
        calls = []

        def f(x):
            calls.append(x)
            return jnp.cos(x)

        integrate(f, 0.0, 1.0)
        first = len(calls)
        integrate(f, 1.0, 2.0)
        assert first == len(calls) > 0
        gone = weakref.ref(f)
        del f
        gc.collect()
        assert gone() is None

    @pytest.mark.slow
    def test_what_f_closes_over_may_be_mapped_and_whole_numbers(self):
        over = lambda n: integrate(lambda x: x**n, 0.0, 1.0).value  # noqa: E731
        assert_allclose(jax.vmap(over)(jnp.arange(1, 4)), [1 / 2, 1 / 3, 1 / 4], rtol=1e-14)

    def test_values_may_be_whole_numbers(self):
        assert_allclose(integrate(lambda x: jnp.where(x > 1, 2, 1), 0.0, 2.0, points=[1.0]).value, 3.0, rtol=1e-14)

    def test_a_distribution_function_begins_at_minus_infinity(self):
        normal = lambda x: jnp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
        F = antiderivative(normal, -math.inf)
        assert_allclose(F(jnp.array([-math.inf, 0.0, math.inf])), [0.0, 0.5, 1.0], atol=1e-14)

    @pytest.mark.slow
    def test_nested_integrals_are_those_over_a_box(self):
        inner = lambda y: integrate(lambda x: jnp.exp(x * y), 0.0, 1.0, limit=128, epsrel=1e-9).value  # noqa: E731
        found = integrate(inner, 0.0, 1.0, limit=128, epsrel=1e-8)
        assert found.success
        assert_allclose(found.value, 1.3179021514544038, rtol=1e-9)  # Ei(1) - gamma

    @pytest.mark.slow
    def test_a_nested_integral_may_have_ends_that_depend_on_the_outer_variable(self):
        inner = lambda y: integrate(lambda x: x * y, 0.0, 1 - y, limit=128).value  # noqa: E731
        found = integrate(inner, 0.0, 1.0, limit=128)
        assert found.success
        assert abs(found.value - 1 / 24) <= found.error + 1e-16


# The cases of an ordinary run; each compiles for seconds, so the others are marked slow.
BRIEF = ("Genz 2, discontinuous", "1 / sqrt(x y)", "exp(-r^2), the plane")
BOXES = [
    pytest.param(case, id=case.name, marks=[] if case.name in BRIEF else [pytest.mark.slow]) for case in BOX_BATTERY
]


class TestBoxes:
    @pytest.mark.parametrize("case", BOXES)
    def test_battery_is_right_and_honest(self, case):
        found = integrate_box(
            functools.partial(case.f, jnp), jnp.array(case.lower, float), jnp.array(case.upper, float)
        )
        wrong = abs(float(found.value) - case.exact)
        assert wrong <= found.error + 8 * np.spacing(abs(case.exact))
        assert found.success == (found.error <= 1e-8 * abs(found.value))
        assert bool(found.success) == case.smooth
        if case.smooth:
            assert wrong <= 1e-8 * abs(case.exact)

    def test_no_success_where_there_is_none(self):
        for f in (lambda x: (x[0] + x[1]) ** -2, lambda x: 1 / x[0] + x[1]):
            assert integrate_box(f, jnp.zeros(2), jnp.ones(2), limit=256).status != IntegralStatus.SUCCESS

    @pytest.mark.slow
    def test_break_points_take_a_kink_out_of_the_box(self):
        f = lambda x: jnp.abs(x[0] - 0.3) * x[1]  # noqa: E731
        found = integrate_box(f, jnp.zeros(2), 1.0, points=[[0.3], None], epsrel=1e-13)
        assert found.success
        assert_allclose(found.value, (0.3**2 + 0.7**2) / 4, rtol=1e-13)

    def test_one_variable_is_integrate(self):
        one, box = integrate(jnp.exp, 0.0, 2.0), integrate_box(lambda x: jnp.exp(x[0]), [0.0], [2.0])
        assert one.value == box.value
        assert one.nfev == box.nfev

    @pytest.mark.slow
    def test_batches_signs_and_many_integrands(self):
        lower = jnp.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        found = integrate_box(lambda x, c: jnp.stack([c * x[0], x[0] * x[1]]), lower, jnp.array([0.0, 2.0]) + 1, 3.0)
        assert found.value.shape == found.error.shape == (3, 2)
        assert found.nfev.shape == found.status.shape == (3,)
        areas = np.array([[4.5, 2.25], [0.0, 0.0], [0.0, 0.0]])
        assert_allclose(found.value, areas, atol=1e-13)
        found = integrate_box(lambda x: x[0] * x[1], jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0]))
        assert_allclose(found.value, -1.0, rtol=1e-13)

    @pytest.mark.slow
    def test_derivatives_are_integrals_over_faces_and_of_the_derivative(self):
        f = lambda x, c: jnp.exp(c * x[0]) * x[1] ** 2  # noqa: E731
        value = jax.jit(lambda lower, upper, c: integrate_box(f, lower, upper, c, limit=128).value)
        exact = lambda lower, upper, c: (  # noqa: E731
            (jnp.exp(c * upper[0]) - jnp.exp(c * lower[0])) / c * (upper[1] ** 3 - lower[1] ** 3) / 3
        )
        point = jnp.array([0.1, 0.2]), jnp.array([1.1, 0.9]), 0.7
        found, known = (jax.grad(g, argnums=(0, 1, 2))(*point) for g in (value, exact))
        for mine, true in zip(found, known, strict=True):
            assert_allclose(mine, true, rtol=1e-9)

    def test_messages(self):
        f = lambda x: jnp.sum(x)  # noqa: E731
        with pytest.raises(ValueError, match="shape"):
            integrate_box(f, 0.0, 1.0)
        with pytest.raises(ValueError, match="d from 1 to 4"):
            integrate_box(f, np.zeros(5), np.ones(5))
        with pytest.raises(ValueError, match="broadcast"):
            integrate_box(f, np.zeros(2), np.ones(3))
        with pytest.raises(ValueError, match="sequence of 2"):
            integrate_box(f, np.zeros(2), np.ones(2), points=[0.5])
        with pytest.raises(TypeError, match="real"):
            integrate_box(lambda x: x[0] + 1j, np.zeros(2), np.ones(2))
        with pytest.raises(ValueError, match="limit"):
            integrate_box(f, np.zeros(2), np.ones(2), limit=3)


class TestBadInput:
    @pytest.mark.parametrize("integer", [int, np.int64])
    def test_limit_may_be_a_whole_number_of_numpy(self, integer):
        assert integrate(jnp.sin, 0, 1, limit=integer(4096)).value == integrate(jnp.sin, 0, 1, limit=4096).value

    @pytest.mark.parametrize("limit", [True, 4096.0, "4096"])
    def test_limit_of_a_wrong_type(self, limit):
        with pytest.raises(TypeError, match="limit, with 0 break points, must be a whole number of at least"):
            integrate(jnp.sin, 0, 1, limit=limit)

    def test_messages(self):
        with pytest.raises(TypeError, match="complex"):
            integrate(jnp.sin, 1j, 2)
        with pytest.raises(TypeError, match="real"):
            integrate(lambda x: x + 1j, 0, 1)
        with pytest.raises(TypeError, match="function"):
            integrate(3, 0, 1)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="broadcast"):
            integrate(jnp.sin, np.zeros(2), np.zeros(3))
        with pytest.raises(ValueError, match="points"):
            integrate(jnp.sin, 0, 1, points=0.5)
        with pytest.raises(ValueError, match="epsrel"):
            integrate(jnp.sin, 0, 1, epsrel=-1.0)
        with pytest.raises(ValueError, match="limit"):
            integrate(jnp.sin, 0, 1, limit=3)

    def test_nan_ends_are_a_status(self):
        found = integrate(jnp.sin, 0, math.nan)
        assert not found.success
        assert jnp.isnan(found.value)


def test_a_call_inside_on_numbers_alone():
    """The bounds of f bind a function's own derivative rule on numbers: truncnorm raised KeyError 'subfuns'."""
    found = jc.integrate(lambda x: jax.scipy.stats.truncnorm.pdf(x, -1.0, 1.0), 0.0, 1.0)
    assert found.success
    np.testing.assert_allclose(found.value, 0.5, rtol=1e-12)
