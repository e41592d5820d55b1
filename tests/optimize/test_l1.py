"""L1 terms: closed forms, the conditions of first order, exact zeros, derivatives, and what is said of others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

CHANCE = np.random.default_rng(0)
ORTHOGONAL = np.linalg.qr(CHANCE.normal(size=(12, 5)))[0]
ANSWERS = 2 * CHANCE.normal(size=12)
ROWS = CHANCE.normal(size=(30, 6))
LABELS = np.sign(ROWS @ np.array([2, 0, 0, -1, 0, 0.5]) + 0.3 * CHANCE.normal(size=30))


def squares(x):
    return 0.5 * jnp.sum((ORTHOGONAL.astype(x.dtype) @ x - ANSWERS.astype(x.dtype)) ** 2)


def logistic(x):
    return jnp.sum(jnp.logaddexp(0, -LABELS * (ROWS @ x))) + 0.01 * jnp.sum(x**2)


def soft(c, penalty):
    return np.sign(c) * np.maximum(np.abs(c) - penalty, 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_soft_thresholds(dtype):
    expected = soft(ORTHOGONAL.T @ ANSWERS, 0.6)
    result = jc.minimize(squares, jnp.zeros(5, dtype), terms=jc.l1(0.6))
    assert result.success
    assert result.x.dtype == dtype
    np.testing.assert_allclose(result.x, expected, atol=1e-5 if dtype == np.float64 else 1e-3)
    assert ((np.asarray(result.x) == 0) == (expected == 0)).all()
    assert 0 < (expected == 0).sum() < 5
    np.testing.assert_allclose(result.fun, squares(result.x) + jc.l1(0.6)(result.x), rtol=1e-5)
    np.testing.assert_allclose(result.jac, jax.grad(squares)(result.x), atol=1e-5)


def test_penalties_of_each_problem_and_of_each_variable():
    """The conditions of first order hold along a path of penalties; a variable without a penalty is free of it."""
    penalties = np.geomspace(0.01, 20, 16)[:, None] * np.array([0, 1, 2, 1, 1, 0.5])
    result: Any = jc.minimize_many(logistic, np.zeros((16, 6)), terms=jc.l1(penalties))
    assert result.success.all()
    x, slope = np.asarray(result.x), np.asarray(jax.vmap(jax.grad(logistic))(result.x))
    broken = np.where(x != 0, slope + penalties * np.sign(x), np.maximum(np.abs(slope) - penalties, 0))
    assert np.abs(broken).max() <= 1.01e-5
    count = (x[:, 1:] != 0).sum(1)
    assert count[0] == 5
    assert count[-1] == 0
    assert (np.diff(count) <= 0).all()
    assert (x[:, 0] != 0).all()
    common: Any = jc.minimize_many(logistic, np.zeros((2, 6)), terms=[jc.l1(penalties[8]), jc.l1(0.0)])
    np.testing.assert_allclose(common.x, x[[8, 8]], atol=1e-6)


def test_derivatives_of_the_penalty():
    def solved(penalty):
        result = jc.minimize(logistic, jnp.zeros(6), terms=jc.l1(penalty), gtol=1e-10)
        return result.x, result.fun

    step = 1e-5
    (x, _), (rate, of_fun) = jax.jvp(solved, (1.0,), (1.0,))
    np.testing.assert_allclose(rate, (solved(1 + step)[0] - solved(1 - step)[0]) / (2 * step), atol=1e-5)
    assert 0 < (x == 0).sum() < 6
    assert (rate[np.asarray(x) == 0] == 0).all()
    np.testing.assert_allclose(of_fun, np.abs(x).sum(), rtol=1e-8)


def test_pytrees_and_bounds():
    """Bounds that exclude zero, that have it as a side, and that have it inside."""
    target = {"a": jnp.array([3.0, 0.2, -2.0]), "b": jnp.array(1.0)}

    def distance(x):
        return sum(jnp.sum((x[key] - target[key]) ** 2) for key in x)

    zero = {"a": jnp.zeros(3), "b": jnp.array(0.0)}
    sides = {"a": np.array([2.75, -1.0, -1.0]), "b": 0.0}, {"a": np.array([5.0, 0.0, 1.0]), "b": np.inf}
    result: Any = jc.minimize(distance, zero, terms=jc.l1({"a": 1.0, "b": 0.5}), bounds=sides)
    assert result.success
    np.testing.assert_allclose(result.x["a"], [2.75, 0, -1], atol=1e-5)
    np.testing.assert_allclose(result.x["b"], 0.75, atol=1e-5)
    assert result.x["a"][1] == 0


@pytest.mark.slow
def test_with_constraints():
    target = jnp.array([3.0, 0.2, -2.0, 0.1])
    whole = {"type": "eq", "fun": lambda x: jnp.sum(x) - 1}
    result: Any = jc.minimize(
        lambda x: jnp.sum((x - target) ** 2), jnp.zeros(4), terms=jc.l1(1.0), constraints=whole, bounds=(-10.0, 2.25)
    )
    assert result.success
    np.testing.assert_allclose(result.x, [2.25, 0, -1.25, 0], atol=1e-6)
    assert (result.x[np.array([1, 3])] == 0).all()
    # 2 (x - target) + sign(x) = multiplier + that of the bound, at the third variable and the first.
    np.testing.assert_allclose(result.multipliers, 2 * (-1.25 + 2) - 1, atol=1e-5)
    np.testing.assert_allclose(result.bound_multipliers, [2 * (2.25 - 3) + 1 - 0.5, 0, 0, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("terms", "error", "says"),
    [
        (0.1, TypeError, "what jaxcalc.l1"),
        ([jc.l1(0.1), 3], TypeError, "is a int"),
        (jc.l1(-1.0), ValueError, "at least 0"),
        (jc.l1(np.nan), ValueError, "finite"),
        (jc.l1(np.ones(3)), ValueError, "broadcast"),
    ],
)
def test_what_is_no_term(terms, error, says):
    with pytest.raises(error, match=says):
        jc.minimize(squares, jnp.zeros(5), terms=terms)


@pytest.mark.slow
def test_penalties_known_only_later():
    """A negative penalty under jit is a status, not a wrong result."""
    status = jax.jit(lambda p: jc.minimize(squares, jnp.zeros(5), terms=jc.l1(p)).status)
    assert status(-1.0) == jc.Status.INVALID
    assert status(1.0) == jc.Status.SUCCESS
