"""Functions of one problem on lanes: equal to what `jax.vmap` makes of them, and which of them keep the lanes last."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxcalc.core.lanes_last import (
    _lanes_of,  # pyright: ignore[reportPrivateUsage]
    in_its_layout,
    is_mapped,
    lanes_last,
    largest,
    total,
)

LANES = 5


def mixture(p, y):
    z = (y[:, None] - p[1:3]) * jnp.exp(-p[3:5])
    return -jnp.mean(jax.nn.logsumexp(p[0] - p[3:5] - 0.5 * z**2, axis=1))


ARITHMETIC = {
    "a mixture": mixture,
    "chosen numbers": lambda p, y: jnp.where(p[0] > 0, p[0], 1.0) * jnp.sum(jnp.where(y > p[1], y, 0.0)),
    "a number and a slope": lambda p, y: jnp.sum(p) + p[0] * 0.2 + (p[0] ** 2 - 1) ** 2 + y[0] ** 2,
    "numbers between bounds": lambda p, y: jnp.sum(jnp.clip(0.5, p[0], p[1]) * y) + jnp.clip(p[2], -0.1, 0.2),
    "a shared matrix": lambda p, y: jnp.sum((np.arange(15.0).reshape(3, 5) @ p) ** 2) + jnp.max(y),
    "slices": lambda p, y: jnp.sum((p[1:] - p[:-1] ** 2) ** 2) + jnp.sum(jnp.concatenate([p, y]) ** 3),
}
MAPPED = {
    "a matrix of each": lambda p, y: jnp.sum((jnp.outer(y, p) @ p) ** 2),
    "a loop": lambda p, y: jax.lax.fori_loop(0, 3, lambda _, s: s * p[0], jnp.sum(p * p)),
    "a table": lambda p, y: jnp.sum(jnp.take(p, jnp.argsort(y)[:3]) ** 2),
}


@pytest.mark.parametrize("name", ARITHMETIC | MAPPED)
def test_equals_the_mapped_function(name):
    fun = jax.value_and_grad((ARITHMETIC | MAPPED)[name])
    random = np.random.default_rng(0)
    inputs = random.normal(size=(5, LANES)), random.normal(size=(7, LANES))
    want = jax.jit(jax.vmap(fun, in_axes=-1, out_axes=-1))(*inputs)
    for on_lanes in (lanes_last, in_its_layout):
        jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-12, atol=1e-14), jax.jit(on_lanes(fun))(*inputs), want)
    traced = jax.make_jaxpr(fun)(*(x[:, 0] for x in inputs))
    assert (_lanes_of(traced.jaxpr, [True, True]) is not None) is (name in ARITHMETIC)


@pytest.mark.parametrize("name", ["a matrix of each", "a mixture"])
def test_arguments_may_have_the_lanes_first(name):
    fun = (ARITHMETIC | MAPPED)[name]
    random = np.random.default_rng(0)
    p, y = random.normal(size=(5, LANES)), random.normal(size=(7, LANES))

    def of_data(y, p):
        return fun(p, y)

    assert_allclose(in_its_layout(of_data, first=1)(y.T, p), jax.vmap(fun, in_axes=-1)(p, y), rtol=1e-12)
    assert is_mapped(jax.make_jaxpr(fun)(p[:, 0], y[:, 0]), [True, True]) is (name in MAPPED)
    shared = jax.make_jaxpr(lambda p, A: jnp.sum((A @ p) ** 2))(p[:, 0], np.ones((3, 5)))
    assert is_mapped(shared, [True, True])
    assert not is_mapped(shared, [True, False])


@pytest.mark.parametrize("count", [1, 16, 17, 255, 271, 1000, 4099])
def test_sums_and_maxima_of_any_length(count):
    terms = jnp.asarray(np.random.default_rng(count).normal(size=(count, 2)))
    assert_allclose(total(terms), terms.sum(axis=0), rtol=1e-9, atol=1e-9)
    assert_allclose(largest(terms), np.abs(terms).max(axis=0))
