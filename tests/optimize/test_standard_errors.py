"""Standard errors of minimised likelihoods against formulas, and nan where there are none."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

RANDOM = np.random.default_rng(0)
A = np.concatenate([np.ones((80, 1)), RANDOM.normal(size=(80, 2))], axis=1)
Y = (RANDOM.uniform(size=(3, 80)) < 1 / (1 + np.exp(-A @ [0.3, -1.0, 0.5]))).astype(float)
BOUNDS = (np.array([-9.0, -9.0, 1.2]), np.array([9.0, 9.0, 9.0]))


def terms(x, y, A):
    z = A @ x
    return jnp.logaddexp(0, z) - y * z


def likelihood(x, y, A):
    return jnp.sum(terms(x, y, A))


def test_hessian_and_sandwich():
    result = jc.minimize_many(likelihood, jnp.zeros((3, 3)), (Y,), shared=(A,), gtol=1e-8)
    errors, covariance = jc.standard_errors(result, likelihood, (Y,), shared=(A,), covariance=True)
    by_terms = jc.standard_errors(result, likelihood, (Y,), shared=(A,), scores=terms)
    p = 1 / (1 + np.exp(-result.x @ A.T))
    gradients = (p - Y)[:, :, None] * A
    for row in range(3):
        inverse = np.linalg.inv(A.T @ ((p * (1 - p))[row][:, None] * A))
        np.testing.assert_allclose(covariance[row], inverse, rtol=1e-9)
        np.testing.assert_allclose(errors[row], np.sqrt(np.diag(inverse)), rtol=1e-9)
        sandwich = inverse @ gradients[row].T @ gradients[row] @ inverse
        np.testing.assert_allclose(by_terms[row], np.sqrt(np.diag(sandwich)), rtol=1e-9)
    given = jc.standard_errors(result, likelihood, (Y,), shared=(A,), scores=gradients)
    np.testing.assert_allclose(given, by_terms, rtol=1e-12)


def test_at_a_bound():
    result = jc.minimize(likelihood, jnp.zeros(3), (Y[0], A), bounds=BOUNDS, gtol=1e-8)
    assert result.x[2] == 1.2
    errors = jc.standard_errors(result, likelihood, (Y[0], A), bounds=BOUNDS)
    p = 1 / (1 + np.exp(-A @ result.x))
    free = A[:, :2]
    expected = np.sqrt(np.diag(np.linalg.inv(free.T @ ((p * (1 - p))[:, None] * free))))
    np.testing.assert_allclose(errors, [*expected, np.nan], rtol=1e-9)


def test_what_is_not_known_is_nan():
    def flat(x):
        return (x[0] - 1) ** 4 + (x[1] - 2) ** 2

    result = jc.minimize(flat, jnp.zeros(2))
    assert result.success
    assert np.isnan(jc.standard_errors(result, flat)).all()
    stopped = dataclasses.replace(result, x=jnp.array([0.0, 2.0]), status=jnp.asarray(jc.Status.MAX_ITERATIONS))
    assert np.isnan(jc.standard_errors(stopped, flat)).all()


def test_bad_input():
    zero = jnp.asarray(0)
    result = jc.OptimizeResult(jnp.ones(2), jnp.zeros(()), jnp.zeros(2), zero, zero, zero)
    with pytest.raises(TypeError, match="needs the function"):
        jc.standard_errors(result)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(TypeError, match="result is what minimize"):
        jc.standard_errors(jnp.ones(2), lambda x: x @ x)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(ValueError, match="one gradient of length 2"):
        jc.standard_errors(result, lambda x: x @ x, scores=jnp.ones((5, 3)))
