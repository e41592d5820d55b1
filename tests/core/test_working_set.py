"""What a function holds at once, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from jaxcalc.core.working_set import working_set

VECTOR = jax.ShapeDtypeStruct((100,), jnp.float64)


@pytest.mark.parametrize(
    ("function", "vectors"),
    [
        (lambda x: x, 1),
        (lambda x: jnp.sin(x), 2),
        (lambda x: jnp.sin(jnp.sin(jnp.sin(x))), 2),
        (lambda x: jnp.sin(x) * jnp.cos(x), 3),
        (lambda x: jnp.sum(x), 1),
        (jax.jit(lambda x: jnp.sin(x) * jnp.cos(x) + x), 4),
    ],
)
def test_vectors_that_are_alive_at_once(function, vectors):
    assert vectors * 800 <= working_set(function, VECTOR) <= vectors * 800 + 100


def test_what_is_closed_over_does_not_count():
    data = jnp.ones(10_000)
    assert working_set(lambda x: jnp.sum(x) + data[0], VECTOR) < 1000


def test_a_gradient_holds_what_it_needs_for_the_way_back():
    def chain(x):
        for _ in range(10):
            x = jnp.sin(x)
        return jnp.sum(x)

    assert working_set(jax.grad(chain), VECTOR) > 10 * 800 > 3 * working_set(chain, VECTOR)
