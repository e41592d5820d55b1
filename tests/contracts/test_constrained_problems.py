"""Known problems with constraints are solved, and what is claimed of them is true."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.problems import CONSTRAINED_PROBLEMS

QUICK = ("HS71",)


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(problem, marks=() if problem.name in QUICK else pytest.mark.slow)
        for problem in CONSTRAINED_PROBLEMS
    ],
    ids=lambda problem: problem.name,
)
def test_known_problems(problem):
    result: Any = jc.minimize(problem.fun, problem.x0, constraints=problem.constraints, bounds=problem.bounds)
    assert result.success
    np.testing.assert_allclose(result.fun, problem.value, rtol=1e-6, atol=1e-6)
    assert result.nfev <= 40
    reduced, violation = jax.grad(problem.fun)(result.x), 0.0
    for constraint, multipliers in zip(problem.constraints, result.multipliers, strict=True):
        values, normals = constraint["fun"](result.x), jax.jacobian(constraint["fun"])(result.x)
        reduced = reduced - multipliers @ normals
        if constraint["type"] == "ineq":
            assert (multipliers >= 0).all()
            assert (multipliers * values <= 1e-5).all()
        signed = -values if constraint["type"] == "ineq" else jnp.abs(values)
        violation = max(violation, float(signed.max()))
    assert violation <= 1e-6
    low, high = (-np.inf, np.inf) if problem.bounds is None else problem.bounds
    assert jnp.abs(result.x - jnp.clip(result.x - reduced, low, high)).max() <= 1.01e-5
