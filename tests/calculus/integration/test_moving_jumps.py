"""Derivatives of integrals with respect to parameters that move jumps, kinks or neither."""

import math

import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_allclose

from jaxcalc.calculus.integration.integrals import antiderivative, integrate
from jaxcalc.core.platform import quick_to_compile
from tests.families import slow_but


def integral(f, a=0.0, b=1.0, **options):
    """Returns p -> the integral of f(x, p)."""
    return lambda p: integrate(f, a, b, (p,), limit=256, **options).value


def compiled(function):
    return jax.jit(function, compiler_options=quick_to_compile())


def in_a_scan(x, p):
    return jax.lax.scan(lambda total, c: (total + jnp.where(x < c, 1.0, 3.0) * x, None), 0.0, p)[0]


def step(x, c):
    return jnp.where(x < c, 1.0, 3.0)


# By kind: f(x, p) with jumps that move, the parameters, and the integral over [0, 1].
MOVING = {
    "a step": (lambda x, p: step(x, p[0]), [0.4321], lambda p: 3 - 2 * p[0]),
    "a step and a factor": (
        *(lambda x, p: p[1] * jnp.where(x < p[0], jnp.exp(x), 3.0), [0.4321, 2.0]),
        lambda p: p[1] * (jnp.exp(p[0]) - 1 + 3 * (1 - p[0])),
    ),
    "a window": (
        *(lambda x, p: jnp.where(jnp.abs(x - p[0]) < p[1], jnp.cos(x), 0.0), [0.5, 0.2]),
        lambda p: jnp.sin(p[0] + p[1]) - jnp.sin(p[0] - p[1]),
    ),
    "a curve": (lambda x, p: jnp.where(x**2 < p[0] * p[1], x, 0.0), [0.5, 0.3], lambda p: p[0] * p[1] / 2),
    "a floor": (lambda x, p: jnp.floor(3 * x + p[0]), [0.3], lambda p: 1 + p[0]),
    "a whole number": (lambda x, p: (3 * x + p[0]).astype(int), [0.3], lambda p: 1 + p[0]),
    "a sign": (lambda x, p: jnp.sign(x - p[0]), [0.3], lambda p: 1 - 2 * p[0]),
    "a truth value": (lambda x, p: (x > p[0]) * 1.0, [0.3], lambda p: 1 - p[0]),
    "a remainder": (lambda x, p: jnp.mod(x + p[0], 1.0) * x, [0.3], lambda p: p[0] ** 2 / 2 - p[0] / 2 + 1 / 3),
    "an angle": (lambda x, p: jnp.arctan2(x - p[0], -1e-300), [0.3], lambda p: math.pi / 2 * (1 - 2 * p[0])),
    "a scan": (in_a_scan, [0.3, 0.5], lambda p: 3 - jnp.sum(p**2)),
    "branches": (
        *(lambda x, p: jax.lax.cond(x < p[0], lambda: x * p[1], lambda: 1.0), [0.3, 0.5]),
        lambda p: p[1] * p[0] ** 2 / 2 + 1 - p[0],
    ),
    "a comparison of a jump": (lambda x, p: 1.0 * (step(x, p[0]) > 2), [0.3], lambda p: 1 - p[0]),
    "one place twice": (lambda x, p: step(x, p[0]) * (x >= p[0]) * x, [0.3], lambda p: 1.5 * (1 - p[0] ** 2)),
    "next to 0": (lambda x, p: step(x, p[0]), [1e-10], lambda p: 3 - 2 * p[0]),
    "beyond the range": (lambda x, p: step(x, p[0]) * p[0], [1.5], lambda p: p[0]),
}


@pytest.mark.parametrize("name", slow_but({"a step and a factor"}, MOVING))
def test_jumps_count_in_the_derivative(name):
    f, p, exact = MOVING[name]
    p = jnp.array(p)
    assert_allclose(integral(f)(p), exact(p), rtol=1e-10)
    assert_allclose(jax.grad(integral(f))(p), jax.grad(exact)(p), rtol=1e-10)


UNKNOWN = {  # f(x, c, d), c and d, and whether the derivatives with respect to these are known
    "an index": (lambda x, c, d: d * jnp.argmax(jnp.stack([x, c])), (0.3, 2.0), [False, True]),
    "the border of a domain": (lambda x, c, d: jnp.where(jnp.isnan(jnp.log(x - c)), 2.0, d), (0.3, 2.0), [False, True]),
    "a root beyond its domain": (lambda x, c, d: jnp.where(jnp.sqrt(x - c) >= 0, 2.0, d), (0.3, 1.0), [False, True]),
    "two speeds at one place": (lambda x, c, d: step(x, c) + step(x, 2 * d), (0.5, 0.25), [False, False]),
    "too many": (lambda x, c, d: jnp.floor(300 * x + c) * d, (0.5, 0.25), [False, True]),
}


@pytest.mark.parametrize("name", slow_but({"an index"}, UNKNOWN))
def test_what_is_not_known_is_nan(name):
    f, parameters, known = UNKNOWN[name]
    value = lambda c, d: integrate(f, 0.0, 1.0, (c, d)).value  # noqa: E731
    assert [bool(jnp.isfinite(slope)) for slope in jax.grad(value, (0, 1))(*parameters)] == known


@pytest.mark.slow
def test_what_is_not_known_is_nan_in_second_derivatives():
    value = integral(lambda x, c: c**2 * jnp.argmax(jnp.stack([x, c])))
    assert jnp.isnan(compiled(jax.hessian(value))(0.3))


def test_a_kink_has_a_first_and_a_second_derivative():
    value = integral(lambda x, c: jnp.abs(x - c))
    assert_allclose(jax.grad(value)(0.4321), 2 * 0.4321 - 1, rtol=1e-9)
    assert_allclose(compiled(jax.grad(jax.grad(value)))(0.4321), 2.0, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [jax.nn.relu, jax.nn.leaky_relu])
def test_kinks_that_move(activation):
    value = integral(lambda x, p: jnp.sum(p * activation(x - p)))
    p, h = jnp.array([0.2, 0.5, 0.7]), 1e-5
    differences = [(value(p + h * e) - value(p - h * e)) / (2 * h) for e in jnp.eye(3)]
    assert_allclose(jax.grad(value)(p), differences, rtol=1e-8)


@pytest.mark.slow
def test_second_and_third_derivatives():
    value = lambda c, p: integrate(lambda x, c, p: jnp.where(x < c * p, p * x**2, c), 0.0, 1.0, (c, p)).value  # noqa: E731
    exact = lambda c, p: p * (c * p) ** 3 / 3 + c * (1 - c * p)  # noqa: E731
    for derivative in (lambda f: jax.grad(jax.grad(f, 0), 1), lambda f: jax.hessian(f, (0, 1))):
        for found, known in zip(*(jax.tree.leaves(derivative(f)(0.6, 0.8)) for f in (value, exact)), strict=True):
            assert_allclose(found, known, rtol=1e-10)
    cubed = integral(lambda x, c: jnp.where(x < c**2, x**2, 0.0))
    assert_allclose(compiled(jax.grad(jax.grad(jax.grad(cubed))))(0.7), 40 * 0.7**3, rtol=1e-10)


@pytest.mark.parametrize("transformed", [compiled, pytest.param(lambda f: f, marks=pytest.mark.slow)])
def test_mapped(transformed):
    slopes = transformed(jax.vmap(jax.grad(integral(step))))
    assert_allclose(slopes(jnp.array([0.1, 0.5, 1.5])), [-2.0, -2.0, 0.0], atol=1e-12)


def step_of_singles(x, c):
    return step(x, c).astype(jnp.float32)


@pytest.mark.parametrize("f", slow_but({step_of_singles}, [step, step_of_singles]))
def test_in_single_precision(f):
    slope = jax.grad(integral(f, jnp.float32(0), jnp.float32(1)))(jnp.float32(0.4321))
    assert slope.dtype == jnp.float32
    assert_allclose(slope, -2.0, rtol=1e-6)


INFINITE = [(0.0, math.inf, 0.4), (-math.inf, math.inf, -30.0), (-math.inf, 0.0, -0.4)]


@pytest.mark.parametrize(
    ("a", "b", "c"), [INFINITE[0], *(pytest.param(*ends, marks=pytest.mark.slow) for ends in INFINITE[1:])]
)
def test_over_infinite_ranges(a, b, c):
    f = lambda x, c: jnp.where(x < c, 1.0, 0.25) / (1 + x * x)  # noqa: E731
    assert_allclose(jax.grad(integral(f, a, b))(c), 0.75 / (1 + c * c), rtol=1e-11)


@pytest.mark.slow
def test_break_points_and_the_direction_change_nothing():
    assert_allclose(jax.grad(integral(step, points=[0.4321]))(0.4321), -2.0, rtol=1e-12)
    assert_allclose(jax.grad(integral(step, 1.0, 0.0))(0.4321), 2.0, rtol=1e-12)


@pytest.mark.slow
def test_an_end_at_the_jump():
    halves = lambda c: integrate(step, 0.0, c, c).value + integrate(step, c, 1.0, c).value  # noqa: E731
    assert_allclose(jax.grad(halves)(0.4321), -2.0, rtol=1e-12)


@pytest.mark.slow
def test_parameters_of_the_ends_and_closures():
    at_end = lambda c: integrate(lambda x: jnp.where(x < 0.3, 1.0, 3.0) * c, 0.0, c).value  # noqa: E731
    assert_allclose(jax.grad(at_end)(0.7), 3 * 0.7 + 0.3 + 3 * 0.4, rtol=1e-11)
    closed_over = lambda c: antiderivative(lambda x: step(x, c))(1.0)  # noqa: E731
    assert_allclose(jax.grad(closed_over)(0.4), -2.0, rtol=1e-12)


@pytest.mark.slow
def test_many_integrands():
    f = lambda x, p: jnp.stack([step(x, p[0]), x * p[1]])  # noqa: E731
    p = jnp.array([0.4, 2.0])
    assert_allclose(jax.jacrev(integral(f))(p), [[-2.0, 0.0], [0.0, 0.5]], atol=1e-12)
    assert_allclose(jax.jvp(integral(f), (p,), (jnp.array([1.0, 2.0]),))[1], [-2.0, 1.0], atol=1e-12)
