"""What the test problems say of themselves holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc.problems import PROBLEMS


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_the_known_minima_are_minima(problem):
    for minimum in jnp.asarray(problem.minima):
        assert jnp.abs(jax.grad(problem.fun)(minimum)).max() < 1e-9
        hessian = jax.hessian(problem.fun)(minimum).reshape(minimum.size, minimum.size)
        assert jnp.linalg.eigvalsh(hessian)[0] >= (0 if "degenerate" in problem.tags else 1e-9)
    values = [problem.fun(minimum) for minimum in problem.minima]
    np.testing.assert_allclose(min(values), problem.value, atol=1e-12)
    assert problem.fun(problem.x0) > problem.value
