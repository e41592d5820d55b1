"""The minima, values and tags that the test problems state are true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc

from jaxcalc.problems import GLOBAL_PROBLEMS, PROBLEMS


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_the_known_minima_are_minima(problem):
    @jax.jit
    @jax.vmap
    def at(x):
        return problem.fun(x), jax.grad(problem.fun)(x), jax.hessian(problem.fun)(x).reshape(x.size, x.size)

    values, gradients, hessians = map(np.asarray, at(np.stack([*problem.minima, problem.x0])))
    assert np.abs(gradients[:-1]).max() < 1e-9
    assert np.linalg.eigvalsh(hessians[:-1]).min() >= (0 if "degenerate" in problem.tags else 1e-9)
    np.testing.assert_allclose(values[:-1].min(), problem.value, atol=1e-12)
    assert values[-1] > problem.value


@pytest.mark.parametrize("problem", GLOBAL_PROBLEMS, ids=lambda problem: problem.name)
def test_the_known_global_minima_are_the_lowest_points_of_their_box(problem):
    fun = jax.jit(jax.vmap(jax.value_and_grad(problem.fun)))
    lower, upper = problem.lower, problem.upper
    values, gradients = fun(problem.minima)
    scale = 1 + np.abs(problem.value)
    np.testing.assert_allclose(values, problem.value, atol=1e-12 * scale, rtol=1e-13)
    projected = np.clip(gradients, problem.minima - upper, problem.minima - lower)
    if "cusp" not in problem.tags:
        assert np.abs(projected).max() < 1e-9 * scale
    assert ("boundary" in problem.tags) == bool(((problem.minima == lower) | (problem.minima == upper)).any())
    around = problem.minima[:, None] + np.random.default_rng(1).normal(size=(100, len(lower))) * 1e-3 * (upper - lower)
    box = lower + qmc.Sobol(len(lower), rng=0).random(1024) * (upper - lower)
    points = np.concatenate([np.clip(around, lower, upper).reshape(-1, len(lower)), box])
    assert fun(points)[0].min() >= problem.value - 1e-12 * scale
    # A minimum at the centre of the box would be found by methods that merely start there.
    assert np.abs((lower + upper) / 2 - problem.minima).max(1).min() > 0.005 * (upper - lower).max()


@pytest.mark.parametrize(
    "problem", [problem for problem in GLOBAL_PROBLEMS if problem.local is not None], ids=lambda problem: problem.name
)
def test_the_other_local_minima_are_minima_and_higher(problem):
    for minimum in jnp.asarray(problem.local):
        assert jnp.abs(jax.grad(problem.fun)(minimum)).max() < 1e-9
        assert jnp.linalg.eigvalsh(jax.hessian(problem.fun)(minimum))[0] > 1e-3
        assert problem.fun(minimum) > problem.value + 0.1


def test_global_problems_are_twenty_of_two_to_ten_variables():
    assert len({problem.name for problem in GLOBAL_PROBLEMS}) == 20
    assert {len(problem.lower) for problem in GLOBAL_PROBLEMS} == {2, 3, 4, 5, 6, 10}
