"""Integrals of functions with jumps, kinks and pulses at places that no sample sees; statuses of improper integrals."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc.calculus.integration.definite import IntegralStatus
from jaxcalc.calculus.integration.integrals import integrate, integrate_box
from jaxcalc.core.platform import quick_to_compile

WIDTH = 1e-3
# By kind: f(x, c) with a break at c, and the integral of f over [0, 1].
KINDS = {
    "step": (lambda x, c: jnp.where(x < c, jnp.exp(x), 2.0), lambda c: np.exp(c) - 1 + 2 * (1 - c)),
    "truth value": (lambda x, c: (x > c) * 1.0, lambda c: 1 - c),
    "kink": (lambda x, c: jnp.exp(jnp.abs(x - c)), lambda c: np.exp(c) + np.exp(1 - c) - 2),
    "largest": (lambda x, c: jnp.max(jnp.stack([x, c])), lambda c: (1 + c * c) / 2),
    "pulse": (lambda x, c: jnp.where((x > c) & (x < c + WIDTH), 1.0, 0.0), lambda c: WIDTH + 0 * c),
    "hat": (lambda x, c: jnp.maximum(0, 1 - jnp.abs(x - c - WIDTH) / WIDTH), lambda c: WIDTH + 0 * c),
    "floor": (lambda x, c: jnp.floor(x + 1 - c), lambda c: 1 - c),
}
PLACES = np.random.default_rng(1).uniform(0, 1 - 2 * WIDTH, 16)


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.slow), jnp.float64])
def test_no_break_is_missed_in_one_variable(dtype):
    def every_kind(x, c):
        return jnp.stack([f(x, c).astype(dtype) for f, _ in KINDS.values()])

    places = jnp.asarray(PLACES, dtype)
    each = jax.vmap(lambda c: integrate(every_kind, dtype(0), dtype(1), c, limit=512))
    found = jax.jit(each, compiler_options=quick_to_compile())(places)
    exact = np.stack([integral(np.asarray(places, float)) for _, integral in KINDS.values()], axis=1)
    wrong = np.abs(found.value - exact)
    # The width of a pulse is that of its two rounded ends.
    assert (wrong <= found.error + 2 * np.finfo(dtype).eps).all()
    tolerance = (1e-12 if dtype == jnp.float64 else 1e-5) * np.abs(found.value) + 2 * np.finfo(dtype).eps
    assert (wrong <= tolerance)[np.asarray(found.success)].all()
    if dtype == jnp.float64:
        assert np.mean(found.success) > 0.8


def test_a_break_beside_operations_without_bounds():
    def cosine_of_complex_numbers(x, c):
        return jnp.where(x < c, jnp.real(jnp.exp(1j * x)), 0.0)

    places = jnp.array([0.4999, 0.2501, 0.7499])
    each = jax.vmap(lambda c: integrate(cosine_of_complex_numbers, 0.0, 1.0, c, limit=512))
    found = jax.jit(each, compiler_options=quick_to_compile())(places)
    wrong = np.abs(found.value - np.sin(places))
    assert (wrong <= found.error).all()
    assert (wrong <= 1e-12)[np.asarray(found.success)].all()


def in_a_loop(f):
    """Returns f inside of a while_loop, of which nothing is known between samples."""
    return lambda x, c: jax.lax.while_loop(
        lambda state: state[1] < 1, lambda state: (f(state[0], c), state[1] + 1), (x, 0)
    )[0]


# By kind: f(x, c) with a jump or a kink at c that no enclosure shows, and the integral of f over [0, 1].
HIDDEN = {
    "nan of a logarithm": (lambda x, c: jnp.where(jnp.isnan(jnp.log(x - c)), 2.0, 1.0), lambda c: 1 + c),
    "a root is a number": (lambda x, c: jnp.where(jnp.sqrt(x - c) >= 0, 2.0, 1.0), lambda c: 2 - c),
    "finite power": (lambda x, c: jnp.where(jnp.isfinite((x - c) ** 0.5), 2.0, 1.0), lambda c: 2 - c),
    "step in a loop": (in_a_loop(lambda x, c: jnp.where(x < c, 1.0, 3.0)), lambda c: 3 - 2 * c),
    "angle of complex numbers": (lambda x, c: jnp.angle(x - c + 0j), lambda c: math.pi * c),
}
# Next to ends of cells, where the cells of [0, 1] begin: at x(t_max k / 32).
NEXT_TO_ENDS = 1 / (1 + np.exp(-math.pi * np.sinh(6.082922177 * np.arange(-6, 7, 2) / 32))) + 1e-5


def some_slow(names, quick):
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in names]


@pytest.mark.parametrize("name", some_slow(HIDDEN, {"a root is a number", "step in a loop"}))
def test_no_break_is_missed_that_an_enclosure_does_not_show(name):
    f, integral = HIDDEN[name]
    places = jnp.asarray(np.concatenate([NEXT_TO_ENDS, PLACES[:5]]))
    each = jax.vmap(lambda c: integrate(f, 0.0, 1.0, c, limit=512))
    found = jax.jit(each, compiler_options=quick_to_compile())(places)
    wrong = np.abs(found.value - integral(np.asarray(places)))
    assert found.success.all()
    assert (wrong <= 1e-12 * np.abs(found.value)).all()


@pytest.mark.parametrize("names", [pytest.param(list(HIDDEN)[:3], marks=pytest.mark.slow), list(HIDDEN)[3:]])
def test_no_break_is_missed_that_no_enclosure_of_a_box_shows(names):
    every_kind = lambda v: jnp.stack([HIDDEN[name][0](v[0], 0.4999) for name in names])  # noqa: E731
    found = integrate_box(every_kind, jnp.zeros(2), jnp.ones(2), epsrel=1e-6)
    assert found.success
    np.testing.assert_allclose(found.value, [HIDDEN[name][1](0.4999) for name in names], rtol=1e-6)


def test_no_break_is_missed_over_a_box():
    def kinds(v, c):
        return jnp.stack([KINDS[name][0](v[k], c) * jnp.exp(v[1 - k]) for name in ("step", "kink") for k in (0, 1)])

    over_square = lambda c: integrate_box(kinds, jnp.zeros(2), jnp.ones(2), c, epsrel=1e-5)  # noqa: E731
    found = jax.jit(lambda c: jax.lax.map(over_square, c), compiler_options=quick_to_compile())(jnp.asarray(PLACES[:4]))
    exact = (math.e - 1) * np.stack([KINDS[name][1](PLACES[:4]) for name in ("step", "step", "kink", "kink")], axis=1)
    wrong = np.abs(found.value - exact)
    assert found.success.all()
    assert (wrong <= found.error).all()
    assert (wrong <= 1e-5 * exact).all()


@pytest.mark.slow
def test_a_curved_break_over_a_box_counts_in_the_error():
    inside = lambda v: jnp.where(v[0] ** 2 + v[1] ** 2 < 0.8, 1.0, 0.0)  # noqa: E731
    found = integrate_box(inside, jnp.zeros(2), jnp.ones(2), limit=256)
    assert found.status == IntegralStatus.LIMIT
    assert abs(found.value - 0.2 * math.pi) <= found.error


def test_a_pulse_in_a_thousandth_of_the_range():
    found = integrate(lambda x: jnp.where((x > 503) & (x < 504), 1.0, 0.0), 0.0, 1000.0)
    assert found.success
    assert abs(found.value - 1) <= found.error <= 1e-12


STATUSES = {
    "1 / x": (lambda x: 1 / x, 1, math.inf, IntegralStatus.DIVERGENT),
    "1 / (1 + x)": (lambda x: 1 / (1 + x), 0, math.inf, IntegralStatus.DIVERGENT),
    "1 / x at 0": (lambda x: 1 / x, 0, 1, IntegralStatus.DIVERGENT),
    "sin x / x": (lambda x: jnp.sin(x) / x, 0, math.inf, IntegralStatus.UNKNOWN),
    "cos": (jnp.cos, 0, math.inf, IntegralStatus.UNKNOWN),
    "1 / sqrt|x - 0.3|": (lambda x: 1 / jnp.sqrt(jnp.abs(x - 0.3)), 0, 1, IntegralStatus.UNKNOWN),
    "1 / |x - 0.3|": (lambda x: 1 / jnp.abs(x - 0.3), 0, 1, IntegralStatus.UNKNOWN),
    "log|x - 0.3|": (lambda x: jnp.log(jnp.abs(x - 0.3)), 0, 1, IntegralStatus.SUCCESS),
    "1 / (1 - x)": (lambda x: 1 / (1 - x), 0, 1, IntegralStatus.DIVERGENT),
    "1 / (x - 0.3)": (lambda x: 1 / (x - 0.3), 0, 1, IntegralStatus.UNKNOWN),
    "1 / (x - 0.3)^2": (lambda x: 1 / (x - 0.3) ** 2, 0, 1, IntegralStatus.UNKNOWN),
    "1 / cos x": (lambda x: 1 / jnp.cos(x), 0, 3, IntegralStatus.UNKNOWN),
    "x^-1.0000001": (lambda x: x**-1.0000001, 1, math.inf, IntegralStatus.ROUNDING),
    "x^2 overflows": (lambda x: 1 / x - 1 / jnp.sqrt(x * x + 1), 1, math.inf, IntegralStatus.UNKNOWN),
    "exp x": (jnp.exp, 0, math.inf, IntegralStatus.DIVERGENT),
    "log(1 + exp x) - x": (lambda x: jnp.log1p(jnp.exp(x)) - x, 0, math.inf, IntegralStatus.ROUNDING),
    "x^10 exp -x": (lambda x: x**10 * jnp.exp(-x), 0, math.inf, IntegralStatus.SUCCESS),
    "0 by symmetry": (lambda x: x, -1, 1, IntegralStatus.SUCCESS),
    "0 by symmetry of a jump": (jnp.sign, -1, 1, IntegralStatus.SUCCESS),
}


SLOW = {"1 / (1 + x)", "cos", "sin x / x", "log(1 + exp x) - x", "0 by symmetry of a jump", "1 / x at 0"}


@pytest.mark.parametrize("name", [pytest.param(k, marks=[pytest.mark.slow] if k in SLOW else []) for k in STATUSES])
def test_status(name):
    f, a, b, status = STATUSES[name]
    assert integrate(f, a, b).status == status


def test_leibniz_with_a_kink():
    value = lambda c: integrate(lambda x, c: jnp.abs(x - c), 0.0, 1.0, c, limit=256).value  # noqa: E731
    slope = jax.jit(jax.grad(value), compiler_options=quick_to_compile())(0.4999)
    assert abs(slope - (2 * 0.4999 - 1)) < 1e-9


QUADRANT = {  # f, the integral over x, y >= 0
    "a sum to a power": (lambda v: (v[0] + v[1] + 2) ** -2.1, 2**-0.1 / 0.11),
    "a slow power of r": (lambda v: (1 + v @ v) ** -1.05, math.pi / 4 / 0.05),
    "a power of r": (lambda v: (1 + v @ v) ** -1.5, math.pi / 2),
    "an exponential of r": (lambda v: jnp.exp(-jnp.sqrt(v @ v)), math.pi / 2),
    "a logarithm": (lambda v: jnp.exp(-v[1]) / ((v[0] + 2) * jnp.log(v[0] + 2) ** 2), 1 / math.log(2)),
}


@pytest.mark.parametrize("name", some_slow(QUADRANT, {"a sum to a power", "an exponential of r"}))
def test_tails_of_several_variables_are_in_the_error(name):
    f, exact = QUADRANT[name]
    found = integrate_box(f, [0.0, 0.0], [math.inf, math.inf])
    assert abs(found.value - exact) <= found.error < 0.1
    assert found.success == (abs(found.value - exact) <= 1e-8 * exact)


@pytest.mark.slow
def test_no_error_of_a_tail_without_an_integral():
    f = lambda v: jnp.exp(-v[1]) / ((v[0] + 2) * jnp.log(v[0] + 2))  # noqa: E731
    assert jnp.isinf(integrate_box(f, [0.0, 0.0], [math.inf, math.inf]).error)


@pytest.mark.filterwarnings("error::FutureWarning")
def test_tails_and_hidden_breaks_in_single_precision():
    f = in_a_loop(lambda x, c: jnp.exp(-x) * jnp.where(x < c, 1.0, 2.0).astype(x.dtype))
    found = integrate(f, jnp.float32(0), jnp.float32(math.inf), jnp.float32(0.7))
    over_box = integrate_box(lambda v: jnp.exp(-jnp.sum(v)), jnp.zeros(2, jnp.float32), jnp.float32([1, math.inf]))
    for integral, exact in ((found, 1 + math.exp(-0.7)), (over_box, 1 - math.exp(-1))):
        assert integral.success
        assert integral.error.dtype == jnp.float32
        np.testing.assert_allclose(integral.value, exact, rtol=1e-5)
