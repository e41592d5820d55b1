"""Functions that define only their reverse mode: methods, certificates and operators of second order take them too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint

import jaxcalc as jc
from jaxcalc.calculus import modes


@jax.custom_vjp
def cubed(x):
    return x**3


cubed.defvjp(lambda x: (x**3, x), lambda x, cotangent: (3 * x**2 * cotangent,))


def plain(x, a):
    return jnp.sum((x**3 - a) ** 2) + 0.1 * jnp.prod(x)


def reverse_only(x, a):
    return jnp.sum((cubed(x) - a) ** 2) + 0.1 * jnp.prod(x)


X, V, A = jnp.array([0.7, 1.2, -0.4]), jnp.array([1.0, -2.0, 0.5]), jnp.array([1.0, 2.0, 0.5])


def test_jax_refuses_forward_mode():
    with pytest.raises(TypeError, match=modes.REFUSAL):
        jax.jvp(cubed, (X,), (V,))


def test_operators():
    np.testing.assert_allclose(modes.jvp(cubed, (X,), (V,))[1], 3 * X**2 * V)
    for operator, points in (
        (jc.hessian, (X,)),
        (jc.hessian_vector_product, (X, V)),
        (jc.directional_derivative, (X, V)),
        (jc.laplacian, (X,)),
    ):
        expected = operator(lambda x: plain(x, A))(*points)
        np.testing.assert_allclose(operator(lambda x: reverse_only(x, A))(*points), expected, rtol=1e-12)


@jax.custom_vjp
def calls_itself(x):
    return jnp.sum(x**4)


calls_itself.defvjp(lambda x: (calls_itself(x), x), lambda x, cotangent: (4 * x**3 * cotangent,))


def test_a_refusal_that_jax_hears_only_when_it_compiles():
    """Under jit, forward mode traces without an error; the program is refused later."""
    _, tangent = jax.jit(lambda x: modes.jvp(calls_itself, (x,), (V,)))(X)
    np.testing.assert_allclose(tangent, jnp.sum(4 * X**3 * V), rtol=1e-12)
    product = jax.vmap(jax.jit(lambda x: jc.hessian_vector_product(calls_itself)(x, V)))(X[None])[0]
    np.testing.assert_allclose(product, 12 * X**2 * V, rtol=1e-12)
    assert jc.minimize(lambda x: calls_itself(x) + x @ x, X, method="trust_ncg").success


@pytest.mark.parametrize("method", ["trust_region", "trust_ncg", "bfgs"])
def test_minimisation(method):
    result = jc.minimize(reverse_only, X, (A,), method=method)
    np.testing.assert_allclose(result.x, jc.minimize(plain, X, (A,), method=method).x, atol=1e-6)
    assert result.success


@pytest.mark.slow
def test_both_directions_through_least_squares():
    """The residuals and the Jacobian at the solution move too, and only reverse mode goes through them."""

    def solution(function, a):
        found = jc.least_squares(lambda x: function(x) - a, X)
        return found.x, found.fun

    primal, tangent = jax.jvp(lambda a: solution(cubed, a), (A,), (V,))
    expected = jax.jvp(lambda a: solution(lambda x: x**3, a), (A,), (V,))
    jax.tree.map(lambda *pair: np.testing.assert_allclose(*pair, rtol=1e-6, atol=1e-9), (primal, tangent), expected)


def test_certificates():
    x = jc.minimize(plain, X, (A,), gtol=1e-10).x
    found, expected = jc.certify(reverse_only, x, (A,)), jc.certify(plain, x, (A,))
    assert found.kind_name == expected.kind_name == "minimum"
    np.testing.assert_allclose(found.min_eigenvalue, expected.min_eigenvalue, rtol=1e-8)


def test_multistart():
    minima = jc.multistart(reverse_only, (jnp.full(3, 0.2), jnp.full(3, 2.0)), args=(A,), starts=16, maxfev=0)
    assert minima.success[0]


@pytest.mark.slow
def test_a_model_given_by_a_differential_equation():
    times = jnp.linspace(0.0, 2.0, 9)
    data = 2.0 * jnp.exp(-0.8 * times)

    def misfit(p):
        path = odeint(lambda y, t, rate: -rate * y, p[0], times, p[1])
        return jnp.sum((path - data) ** 2)

    result = jc.minimize(misfit, jnp.array([1.0, 0.3]), method="trust_region")
    np.testing.assert_allclose(result.x, [2.0, 0.8], atol=1e-3)
    assert result.success
    assert jc.certify(misfit, result.x).kind_name == "minimum"  # odeint has no third derivatives


def test_other_errors_stay():
    with pytest.raises(TypeError, match="must return a real scalar"):
        jc.hessian(lambda x: x)(X)


def test_operators_of_fields_and_of_one_variable():
    np.testing.assert_allclose(jc.jacobian(cubed)(X), jnp.diag(3 * X**2), rtol=1e-12)
    np.testing.assert_allclose(jc.divergence(cubed)(X), jnp.sum(3 * X**2), rtol=1e-12)
    np.testing.assert_allclose(jc.derivative(cubed, 2)(X), 6 * X, rtol=1e-12)
    np.testing.assert_allclose(jc.taylor(cubed, 2.0, 3), [8, 12, 6, 1], rtol=1e-12)
    assert jc.critical_points(lambda x: cubed(x) - 3 * x, -2.0, 2.0).kind[1:-1] == ["maximum", "minimum"]
