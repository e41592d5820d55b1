"""The residual family: derivatives of fits, under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jaxcalc as jc

T = jnp.linspace(0.0, 3.0, 8)
RANDOM = np.random.default_rng(0)
Y = 2.0 * jnp.exp(-0.7 * T) + 0.2 * jnp.asarray(RANDOM.normal(size=(8, 8)))
W = jnp.asarray(RANDOM.uniform(0.5, 2.0, 8))


def misfit(p, y, t):
    return p[0] * jnp.exp(-p[1] * t) - y


def fit(y, w=W, t=T, **options):
    return jc.least_squares(misfit, jnp.ones(2), (y, t), weights=w, **options)


def exact(y, w=W, t=T):
    """Newton's method on the cost, every step differentiated: the full Hessian, not Gauss and Newton's."""
    cost = lambda p: 0.5 * jnp.sum(w * misfit(p, y, t) ** 2)  # noqa: E731
    p = jax.lax.stop_gradient(fit(y, w, t).x)
    for _ in range(3):
        p = p - jnp.linalg.solve(jax.hessian(cost)(p), jax.grad(cost)(p))
    return p


def check(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), ours, theirs)


def test_with_respect_to_data_weights_and_shared_arrays():
    both = [
        jax.jit(jax.jacrev(lambda *of, f=f: f(*of), (0, 1, 2)))(Y[0], W, T) for f in (lambda *of: fit(*of).x, exact)
    ]
    check(*both)


@pytest.mark.slow
def test_of_a_batch_in_forward_mode():
    def many(y, w, t):
        return jc.least_squares_many(misfit, jnp.ones((1, 2)), (y[None],), shared=(t,), weights=w[None]).x[0]

    tangents = (Y[1], 0.1 * W, jnp.ones(8))
    check(jax.jit(lambda: jax.jvp(many, (Y[0], W, T), tangents)[1])(), jax.jvp(exact, (Y[0], W, T), tangents)[1])


@pytest.mark.slow
def test_the_cost_the_residuals_and_a_bound():
    bounds = lambda b: (jnp.array([-jnp.inf, b]), None)  # noqa: E731
    held = lambda b: fit(Y[0], bounds=bounds(b))  # noqa: E731
    tangent = jax.jvp(held, (1.2,), (1.0,))[1]
    h = 1e-5
    for name in ("x", "cost", "fun"):
        slope = (held(1.2 + h)[name] - held(1.2 - h)[name]) / (2 * h)
        np.testing.assert_allclose(tangent[name], slope, atol=1e-7)


@pytest.mark.slow
def test_missing_points_that_are_nan():
    """Their derivative is zero, and they do no harm to that of the others, whatever the mode."""
    w, y = W.at[3].set(0.0), Y[0].at[3].set(jnp.nan)
    hole = lambda p, y, t: jnp.sqrt(jnp.where(jnp.isnan(y), -1.0, 1.0)) * p[0] * jnp.exp(-p[1] * t) - y  # noqa: E731
    solve = lambda y: jc.least_squares(hole, jnp.ones(2), (y, T), weights=w).x  # noqa: E731
    for mode in (jax.jacfwd, jax.jacrev):
        ours = mode(solve)(y)
        assert (ours[:, 3] == 0).all()
        kept = jnp.arange(8) != 3
        check(ours[:, kept], jax.jacrev(lambda y, kept=kept: exact(y, W[kept], T[kept]))(Y[0][kept]))


@pytest.mark.slow
def test_under_vmap_and_shard_map():
    slope = jax.vmap(jax.grad(lambda y: fit(y).x[1]))
    mesh, rows = Mesh(np.array(jax.devices()), "devices"), PartitionSpec("devices")
    expected = jax.vmap(jax.grad(lambda y: exact(y)[1]))(Y)
    check(jax.jit(slope)(Y), expected)
    check(jax.jit(jax.shard_map(slope, mesh=mesh, in_specs=rows, out_specs=rows))(Y), expected)
