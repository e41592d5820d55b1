"""Traces of one structure compute the same; what cannot be compared by value has no structure."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc.core.structure import structure_of


def structure(fun, *args):
    return structure_of(jax.make_jaxpr(fun)(*args).jaxpr)


def looped(count, x):
    return jax.lax.scan(lambda s, _: (jnp.where(s > 1, s / 2, s * x), None), x, None, length=count)[0]


SAME = {
    "lambdas": lambda: lambda x: jnp.sin(x) * 2.0,
    "what is closed over": lambda: (lambda c: lambda x: jnp.sum(c * x))(np.random.default_rng().random(3)),
    "loops": lambda: functools.partial(looped, 3),
    "indices": lambda: lambda x: jnp.arange(4.0)[jnp.int32(x)] + jnp.linspace(0.0, x, 3)[1],
    "random numbers": lambda: lambda x: x * jax.random.uniform(jax.random.key(3)),
    "rules of JAX's functions": lambda: lambda x: jax.nn.relu(x) + jax.nn.softplus(x) * jnp.logaddexp(x, 1.0),
    "tables": lambda: lambda x: jax.lax.switch(jnp.int32(x), [jnp.sin, jnp.cos], x),
}


@pytest.mark.parametrize("name", SAME)
def test_functions_of_one_text_have_one_structure(name):
    first, second = SAME[name](), SAME[name]()
    assert first is not second
    assert structure(first, 1.5) == structure(second, 1.5) is not None


DIFFERENT = [
    lambda x: jnp.sin(x),
    lambda x: jnp.sin(x) * 2.0,
    lambda x: jnp.sin(x) * 2.5,
    lambda x: jnp.sin(x) * 0.0,
    lambda x: jnp.sin(x) * -0.0,
    lambda x: jnp.sin(x * 2.0),
    lambda x: 2.0 - jnp.sin(x),
    lambda x: jnp.sin(x) - 2.0,
    lambda x: jnp.sum(np.ones(3) * x),
    lambda x: jnp.sum(np.ones(4) * x),
    lambda x: jnp.sum(np.ones(3, np.float32) * x),
    functools.partial(looped, 3),
    functools.partial(looped, 4),
]


def test_what_differs_has_different_structures():
    structures = [structure(fun, 1.5) for fun in DIFFERENT]
    assert len({*structures}) == len(DIFFERENT)
    assert structure(DIFFERENT[0], np.float32(1.5)) != structures[0]


def test_functions_inside_have_no_structure():
    @jax.custom_jvp
    def own(x):
        return x

    own.defjvp(lambda primals, tangents: (*primals, *tangents))
    called_back = lambda x: jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((), x.dtype), x)  # noqa: E731
    assert structure(own, 1.5) is structure(called_back, jnp.float32(1.5)) is None
    assert structure(lambda x: jax.lax.cond(x > 0, own, jnp.sin, x), 1.5) is None
    # The rule that `defjvps` makes is a function of JAX's, but calls one of the user's.
    own.defjvps(lambda x_dot, answer, x: x_dot)
    assert structure(own, 1.5) is None


def test_rules_of_different_functions_differ():
    """Both are maxima with 0, and differ in their slope at 0."""
    other = jax.custom_jvp(jax.jit(lambda x: jnp.maximum(x, 0)))
    other.defjvps(lambda x_dot, answer, x: x_dot)
    assert structure(jax.nn.relu, 1.5) != structure(other, 1.5)
