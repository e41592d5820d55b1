"""Outside of programs integrals and their derivatives compile once, for all integrands of one structure."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxcalc as jc
from jaxcalc.calculus.integration.definite import IntegralOptions
from jaxcalc.calculus.integration.standalone import _known, _run  # pyright: ignore[reportPrivateUsage]

STAGE = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="module")
def compilations():
    """Says how many programs have been compiled so far."""
    seen = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: seen.append(event == STAGE))
    return lambda: sum(seen)


def decay_by_args(c):
    return jc.integrate(lambda x, c: jnp.exp(-c * x), 0.0, 1.0, (c,)).value


def decay_by_closure(c):
    return jc.integrate(lambda x: jnp.exp(-c * x), 0.0, 1.0).value


def slope(c):
    return (math.exp(-c) * (c + 1) - 1) / c**2


@pytest.mark.parametrize("fun", [decay_by_args, decay_by_closure])
def test_a_gradient_of_a_new_lambda_compiles_once(fun, compilations):
    assert_allclose(jax.grad(fun)(1.5), slope(1.5), rtol=1e-12)
    before = compilations()
    assert_allclose(jax.grad(fun)(2.5), slope(2.5), rtol=1e-12)
    assert compilations() == before


def test_a_derivative_of_an_antiderivative_compiles_once(compilations):
    f = lambda x: jnp.exp(-x * x)  # noqa: E731
    jc.derivative(jc.antiderivative(f))(0.5)
    before = compilations()
    assert_allclose(jc.derivative(jc.antiderivative(f))(1.5), math.exp(-2.25), rtol=1e-14)
    assert compilations() == before


def test_a_further_integrand_compiles_one_program_and_another_array_none(compilations):
    jc.integrate(jnp.cos, 0.0, 1.0)
    before = compilations()
    of = lambda c: lambda x: jnp.sum(c * jnp.sin(x)) / x  # noqa: E731
    first, second = (float(jc.integrate(of(np.array([c, c])), 1.0, 2.0).value) for c in (1.0, 2.0))
    assert_allclose(second, 2 * first, rtol=1e-14)
    assert compilations() == before + 1


@pytest.mark.slow
def test_ends_of_a_batch_and_all_parameters_have_derivatives():
    def total(a, b, p, count):
        found = jc.integrate(lambda x, p, n: p["c"] * x**n + jnp.sum(p["d"]), a, b, (p, count))
        return jnp.sum(found.value)

    a, b = jnp.zeros((2, 1)), jnp.array([1.0, 2.0])
    p = {"c": 3.0, "d": jnp.array([0.5, 0.25])}
    by_a, by_b, by_p = jax.grad(total, (0, 1, 2))(a, b, p, 2)
    assert_allclose(by_a, np.full((2, 1), -1.5), rtol=1e-12)
    assert_allclose(by_b, 2 * (3 * np.array([1.0, 4.0]) + 0.75), rtol=1e-12)
    assert_allclose(by_p["c"], 2 * (1 / 3 + 8 / 3), rtol=1e-12)
    assert_allclose(by_p["d"], [6.0, 6.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "a", "b"),
    [
        (lambda x: jnp.exp(-x) / jnp.sqrt(x), 0.0, math.inf),
        (lambda x: jnp.where(x < 0.3, jnp.exp(x), jax.scipy.special.i0(x)), 2.0, -1.0),
        (lambda x: 1 / x, 0.0, 1.0),
    ],
    ids=["singular", "a jump, without bounds", "divergent"],
)
def test_steps_from_the_host_have_the_bits_of_the_loop(f, a, b):
    stepped = jc.integrate(f, a, b)
    options, ends = IntegralOptions(2048, True), (jnp.float64(a)[None], jnp.float64(b)[None])
    points = (jnp.zeros(0),)
    integrand, constants = _known(f, options, *ends, (), points)
    looped = _run(integrand, options, *ends, constants, points, 0.0, math.nan)
    for of_host, of_loop in zip((stepped.value, stepped.error, stepped.status, stepped.nfev), looped, strict=True):
        np.testing.assert_array_equal(of_host, of_loop)
