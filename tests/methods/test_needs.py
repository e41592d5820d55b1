"""What an evaluation holds: derivatives of any function, their cost, and whether they count as second order."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc import methods
from jaxcalc.methods.method import Iterate
from jaxcalc.methods.needs import GRADIENT, HESSIAN, HESSIAN_PRODUCT


class State(NamedTuple):
    iterate: Iterate
    direction: jax.Array


X = jnp.array([0.3, -1.2, 2.0])
P = jnp.array([1.0, 0.0, -2.0])


def function(x):
    return jnp.prod(jnp.cosh(x)), {"sum": jnp.sum(x)}


def value(x):
    return function(x)[0]


@pytest.mark.parametrize("need", [GRADIENT, HESSIAN, HESSIAN_PRODUCT], ids=lambda need: type(need).__name__)
def test_evaluations_hold_the_derivatives(need):
    points = (X, P) if need is HESSIAN_PRODUCT else (X,)
    evaluation, aux = need.evaluate(function, *points)
    np.testing.assert_allclose(evaluation.value, value(X))
    np.testing.assert_allclose(evaluation.gradient, jax.grad(value)(X))
    assert aux["sum"] == X.sum()
    if need is HESSIAN:
        np.testing.assert_allclose(evaluation.hessian, jax.hessian(value)(X))
    if need is HESSIAN_PRODUCT:
        np.testing.assert_allclose(evaluation.product, jax.hessian(value)(X) @ P)


def test_costs_and_counts():
    assert [need.cost(7) for need in (GRADIENT, HESSIAN_PRODUCT, HESSIAN)] == [1, 2, 8]
    directions = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    state = State(Iterate.at_start(jnp.ones((2, 2))), directions)
    assert not GRADIENT.is_second_order_at(state)
    assert HESSIAN.is_second_order_at(state)
    assert HESSIAN_PRODUCT.is_second_order_at(state).tolist() == [True, False]
    assert HESSIAN_PRODUCT.points(state)[1] is directions


def test_every_method_says_what_it_takes_and_suits():
    for factory in methods.REGISTRY.values():
        method = factory()
        assert method.takes
        assert method.suits
        assert method.staying_in_basin().needs is method.needs
    short = methods.bfgs().staying_in_basin()
    assert short.first_step is not None
    assert methods.bfgs(0.5).staying_in_basin() == methods.bfgs(0.5)
