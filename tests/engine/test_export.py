"""One exported program for all platforms, of every method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from tests.families import slow_but

PLATFORMS = ["cpu", "cuda", "tpu"]


def cost(x, a):
    return jnp.sum(jnp.cosh(x - a))


def exported_and_back(function, *inputs):
    pytest.importorskip("flatbuffers")
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*inputs)
    assert exported.platforms == tuple(PLATFORMS)
    return jax.export.deserialize(exported.serialize()).call(*inputs)


# A method adds nothing but its operations, of which `make accelerators` compiles those of every method.
@pytest.mark.parametrize("name", slow_but(jc.methods.REGISTRY, ["bfgs", "trust_ncg", "gradient_descent"]))
def test_export_for_cpu_cuda_and_tpu(name):
    def solve(x0, a):
        result = jc.minimize_many(cost, x0, (a,), method=name, maxiter=3000)
        return result.x, result.fun, result.status

    centre = jnp.linspace(-1, 1, 6, dtype=jnp.float32)
    x, value, status = exported_and_back(solve, jnp.zeros((6, 2), jnp.float32), centre)
    assert (status == jc.Status.SUCCESS).all()
    # The promise on the gradient, sinh(x - a), in single precision.
    assert jnp.abs(jnp.sinh(x - centre[:, None])).max() <= 1.01e-3
    np.testing.assert_allclose(value, 2, rtol=1e-5)


def test_export_of_a_derivative():
    solve = jax.grad(lambda a: jc.minimize(cost, jnp.zeros(2), (a,), gtol=1e-10).x @ jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(exported_and_back(solve, 0.5), 7, rtol=1e-9)
