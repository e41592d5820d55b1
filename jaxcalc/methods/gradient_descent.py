"""Gradient descent with a fixed learning rate (Cauchy 1847)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.lane_algebra import all_finite
from jaxcalc.methods.method import Evaluation, Method, register


class GradientDescentState(NamedTuple):
    """The state that every method has, and no more."""

    trial: Array  # (n, L)
    x: Array  # (n, L)
    value: Array  # (L,)
    gradient: Array  # (n, L)
    nit: Array  # (L,)
    stalled: Array  # (L,)


@register
@dataclasses.dataclass(frozen=True)
class GradientDescent(Method):
    """Steps against the gradient by a fixed learning rate; see `gradient_descent`."""

    learning_rate: float | Array = 0.01

    def init(self, x0: Array, lower: Array | None, upper: Array | None) -> GradientDescentState:
        """Returns the state whose trial is the start."""
        lanes = x0.shape[1]
        nit = jnp.full(lanes, -1, jnp.int32)
        value = jnp.full(lanes, jnp.inf, x0.dtype)
        return GradientDescentState(x0, x0, value, jnp.zeros_like(x0), nit, jnp.zeros(lanes, bool))

    def step(
        self, state: GradientDescentState, evaluation: Evaluation, lower: Array | None, upper: Array | None
    ) -> GradientDescentState:
        """Moves to the trial if it is finite and aims at the next point."""
        finite, x, value, gradient = move_if_finite(state, evaluation)
        trial = jnp.clip(descend(x, gradient, self.learning_rate), lower, upper)
        stalled = ~finite | jnp.all(trial == x, axis=0)
        return GradientDescentState(trial, x, value, gradient, state.nit + finite, stalled)

    def default_maxiter(self, n: int) -> int:
        """Returns 10,000: a fixed learning rate takes many short steps, in any dimension."""
        return 10_000


def gradient_descent(learning_rate: float | Array = 0.01) -> GradientDescent:
    """Steps against the gradient: x <- x - learning_rate * gradient, whatever the value does.

    The textbook's rule with nothing added. It converges where the learning rate is below 2 / (the largest curvature),
    and ends NON_FINITE where it is so large that the path leaves every bound.

    Args:
        learning_rate: The factor of the gradient, in units of x^2 / f. Traced: new numbers do not compile again.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> result = jc.minimize(lambda x: (x - 3) ** 2, 0.0, method=jc.methods.gradient_descent(learning_rate=0.1))
        >>> round(float(result.x), 3)
        3.0

    Source: A. Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées (1847).
    """
    return GradientDescent(learning_rate)


def move_if_finite(state: Any, evaluation: Evaluation) -> tuple[Array, Array, Array, Array]:
    """Returns whether the evaluation is finite, and x, value and gradient: at the trial where it is."""
    finite = jnp.isfinite(evaluation.value) & all_finite(evaluation.gradient)
    x = jnp.where(finite, state.trial, state.x)
    value = jnp.where(finite, evaluation.value, state.value)
    return finite, x, value, jnp.where(finite, evaluation.gradient, state.gradient)


def descend(x: Any, gradient: Any, learning_rate: float | Array) -> Any:
    """Returns x - learning_rate * gradient, leaf by leaf."""
    return jax.tree.map(lambda x, g: x - jnp.asarray(learning_rate, g.dtype) * g, x, gradient)
