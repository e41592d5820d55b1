"""Derivatives of solutions of functions that define only their reverse mode, against formulas and plain functions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint

import jaxcalc as jc
from jaxcalc.engine.tangents import Forward, Reverse, mode_of

RANDOM = np.random.default_rng(3)
DESIGN, CURVATURE = jnp.asarray(RANDOM.normal(size=(4, 3))), jnp.array([0.5, 1.0, 3.0])
CENTRES = jnp.asarray(RANDOM.normal(size=(3, 3)))


@jax.custom_vjp
def square(x):
    return x**2


square.defvjp(lambda x: (square(x), x), lambda x, cotangent: (2 * x * cotangent,))


def quadratic(x, centre, curvature):
    return jnp.sum(curvature * square(x - centre)) + jnp.sum(square(DESIGN @ x))


def formula(centre, curvature):
    """The minimum of `quadratic`."""
    return jnp.linalg.solve(jnp.diag(curvature) + DESIGN.T @ DESIGN, curvature * centre)


def value(centre, curvature):
    """The value at the minimum of `quadratic`."""
    x = formula(centre, curvature)
    return jnp.sum(curvature * (x - centre) ** 2) + jnp.sum((DESIGN @ x) ** 2)


def solve(centre, curvature) -> Any:
    return jc.minimize(quadratic, jnp.zeros(3), (centre, curvature), gtol=1e-10)


def agree(ours, expected, atol=1e-8):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), ours, expected)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_x_and_value_of_a_quadratic(mode: Any):
    ours = jax.jit(mode(lambda *args: (solve(*args).x, solve(*args).fun), (0, 1)))(CENTRES[0], CURVATURE)
    agree(ours, mode(lambda *args: (formula(*args), value(*args)), (0, 1))(CENTRES[0], CURVATURE))


@pytest.mark.slow
def test_mapped_and_many():
    exact = jax.vmap(jax.jacrev(formula, (0, 1)), (0, None))(CENTRES, CURVATURE)
    ours: Any = jax.jacrev(lambda *args: solve(*args).x, (0, 1))
    agree(jax.vmap(ours, (0, None))(CENTRES, CURVATURE), exact)

    def many(curvature):
        return jc.minimize_many(quadratic, jnp.zeros((3, 3)), (CENTRES,), shared=(curvature,), gtol=1e-10).x

    agree(jax.jacfwd(many)(CURVATURE), exact[1])


@pytest.mark.slow
def test_second_derivatives_in_reverse_mode():
    ours = jax.jacrev(jax.grad(lambda c: jnp.sum(solve(c, CURVATURE).x ** 3)))(CENTRES[0])
    agree(ours, jax.hessian(lambda c: jnp.sum(formula(c, CURVATURE) ** 3))(CENTRES[0]), 1e-7)


def test_bounds_their_multipliers_and_auxiliary_output():
    def solved(square):
        def fun(x, centre):
            return jnp.sum(CURVATURE * square(x - centre)) + 0.1 * square(x[0] * x[1]), square(x) * centre

        def solution(centre, upper):
            options = {"bounds": (None, upper), "has_aux": True, "gtol": 1e-10}
            result = jc.minimize(fun, jnp.zeros(3), (centre,), **options)
            return jnp.concatenate([result.x, result.fun[None], result.jac, result.aux])

        return solution

    where = jnp.array([2.0, 1.0, -1.5]), jnp.array([0.5, 9.0, 9.0])
    x, pullback = jax.vjp(solved(square), *where)
    assert x[0] == 0.5
    agree(pullback(jnp.arange(10.0)), jax.vjp(solved(lambda x: x**2), *where)[1](jnp.arange(10.0)))


@pytest.mark.slow
def test_least_squares():
    def solved(square):
        def residual(p, y):
            return p[0] * jnp.exp(-square(p[1]) * jnp.arange(4.0)) - y

        return lambda y: jc.least_squares(residual, jnp.array([1.0, 0.7]), (y,)).x

    y = 2.0 * jnp.exp(-0.5 * jnp.arange(4.0)) + jnp.array([0.01, -0.02, 0.01, 0.02])
    agree(jax.jacrev(solved(square))(y), jax.jacrev(solved(lambda x: x**2))(y), 1e-6)


@pytest.mark.slow
def test_parameters_of_a_differential_equation():
    times = jnp.linspace(0.0, 2.0, 5)
    weights = jnp.array([1.0, -1.0, 0.5, 2.0, 1.0])

    def misfit(p, data):
        path = odeint(lambda y, t, rate: -rate * y, p[0], times, p[1], rtol=1e-10, atol=1e-10)
        return jnp.sum((path - data) ** 2)

    def fitted(shift):
        data = 2.0 * jnp.exp(-0.8 * times) + shift * weights
        result = jc.minimize(misfit, jnp.array([1.5, 0.6]), (data,), gtol=1e-8)
        return jnp.append(result.x, result.fun)

    h, at = 1e-3, 0.1
    expected = (jax.jit(fitted)(at + h) - jax.jit(fitted)(at - h)) / (2 * h)
    agree(jax.jacrev(fitted)(at), expected, 1e-5)


def test_the_mode_is_read_off_the_trace():
    def inside_of_branches(x, which):
        return jax.lax.cond(which, lambda x: jnp.sum(jax.jit(square)(x)), jnp.sum, x)

    assert mode_of(lambda x: jnp.sum(x**2), CURVATURE) is Forward
    assert mode_of(lambda x: jax.nn.relu(x), CURVATURE) is Forward  # custom_jvp
    assert mode_of(inside_of_branches, CURVATURE, True) is Reverse
    assert mode_of(lambda x: jax.lax.scan(lambda c, _: (square(c), None), x, length=2)[0], CURVATURE) is Reverse


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


@jax.custom_vjp
def cosine(x):
    return jnp.cos(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, cotangent: (cosine(x) * cotangent,))
cosine.defvjp(lambda x: (jnp.cos(x), x), lambda x, cotangent: (-sine(x) * cotangent,))


def test_what_forward_mode_over_a_solution_is_told():
    """The derivative of `sine` holds a function that has reverse mode alone, as that of `odeint` does."""

    def lowest(c):
        return jc.minimize(lambda x, c: square(x - c) + sine(x), 0.5, (c,)).fun

    with pytest.raises(TypeError, match=r"its reverse mode .*, and so does .* take jaxcalc.hessian, or jax.jacrev of"):
        jax.hessian(lowest)(1.3)
