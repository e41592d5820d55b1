"""Gradient descent with a fixed learning rate (Cauchy 1847)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import require_option
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Iterate, Method, register
from jaxcalc.methods.needs import Evaluation


class GradientDescentState(NamedTuple):
    """The iterate alone."""

    iterate: Iterate


@register
@dataclasses.dataclass(frozen=True)
class GradientDescent(Method):
    """Steps against the gradient by a fixed learning rate; see `gradient_descent`."""

    takes = "gradients, a learning rate"
    suits = "the textbook's rule"
    has_fixed_rate = True
    learns_curvature = False
    compares_variables = False

    learning_rate: float | Array = 0.01

    def init(self, x0: Array, box: Box) -> GradientDescentState:
        """Returns the state whose trial is the start."""
        return GradientDescentState(Iterate.at_start(x0))

    def step(self, state: GradientDescentState, evaluation: Evaluation, box: Box) -> GradientDescentState:
        """Moves to the trial if it is finite and aims at the next point."""
        at, finite = move_if_finite(state.iterate, evaluation, box)
        trial = box.project(descend(at.x, at.gradient, self.learning_rate))
        return GradientDescentState(at._replace(trial=trial, stalled=~finite | jnp.all(trial == at.x, axis=0)))

    def default_maxiter(self, n: int) -> int:
        """Returns 10,000: a fixed learning rate takes many short steps, in any dimension."""
        return 10_000


def gradient_descent(learning_rate: float | Array = 0.01) -> GradientDescent:
    """Steps against the gradient: x <- x - learning_rate * gradient, whatever the value does.

    The textbook's rule with nothing added. It converges where the learning rate is below 2 / (the largest curvature),
    and ends NON_FINITE where it is so large that the path leaves every bound.

    Args:
        learning_rate: The factor of the gradient, in units of x^2 / f, at least 0. Traced: new numbers compile nothing.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> result = jc.minimize(lambda x: (x - 3) ** 2, 0.0, method=jc.methods.gradient_descent(learning_rate=0.1))
        >>> round(float(result.x), 3)
        3.0

    Source: A. Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées (1847).
    """
    require_option("learning_rate", learning_rate)
    return GradientDescent(learning_rate)


def move_if_finite(iterate: Iterate, evaluation: Evaluation, box: Box) -> tuple[Iterate, Array]:
    """Returns the iterate, moved to the trial where the evaluation is finite, and where that is, (L,)."""
    finite = jnp.isfinite(evaluation.value) & box.finite(iterate.trial, evaluation.gradient)
    return iterate.moved(finite, evaluation), finite


def descend(x: Any, gradient: Any, learning_rate: float | Array) -> Any:
    """Returns x - learning_rate * gradient, leaf by leaf."""
    return jax.tree.map(lambda x, g: x - jnp.asarray(learning_rate, g.dtype) * g, x, gradient)
