"""Gradient descent with momentum (Polyak 1964; Nesterov 1983)."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import require_option
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Iterate, Method, register, static_field
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.scalar.gradient_descent import descend, move_if_finite


class MomentumState(NamedTuple):
    """The iterate and the velocity v."""

    iterate: Iterate
    velocity: Array  # (n, L)


@register
@dataclasses.dataclass(frozen=True)
class Momentum(Method):
    """Steps against a decaying sum of the gradients; see `momentum`."""

    takes = "gradients, a learning rate"
    suits = "the textbook's rule with momentum"
    has_fixed_rate = True
    learns_curvature = False
    compares_variables = False

    learning_rate: float | Array = 0.01
    decay: float | Array = 0.9
    nesterov: bool = static_field(False)

    def init(self, x0: Array, box: Box) -> MomentumState:
        """Returns the state at rest whose trial is the start."""
        return MomentumState(Iterate.at_start(x0), jnp.zeros_like(x0))

    def step(self, state: MomentumState, evaluation: Evaluation, box: Box) -> MomentumState:
        """Moves to the trial if it is finite, adds the gradient to the velocity and aims at the next point."""
        at, finite = move_if_finite(state.iterate, evaluation, box)
        decay = jnp.asarray(self.decay, at.x.dtype)
        velocity = decay * state.velocity + at.gradient
        ahead = at.gradient + decay * velocity if self.nesterov else velocity
        trial = box.project(descend(at.x, ahead, self.learning_rate))
        # At a turning point the velocity, and with it the step, may be zero for a moment.
        at_rest = jnp.all((trial == at.x) & (velocity == state.velocity), axis=0)
        return MomentumState(at._replace(trial=trial, stalled=~finite | at_rest), velocity)

    def default_maxiter(self, n: int) -> int:
        """Returns 10,000: a fixed learning rate takes many short steps, in any dimension."""
        return 10_000


def momentum(learning_rate: float | Array = 0.01, decay: float | Array = 0.9, nesterov: bool = False) -> Momentum:
    """Gradient descent with momentum: a heavy ball that keeps rolling, slowed by friction.

        v <- decay * v + gradient,    x <- x - learning_rate * v

    and with nesterov=True x <- x - learning_rate * (gradient + decay * v), where x is the point that lies ahead of the
    ball, at which the gradient is taken. Along a constant gradient the steps grow to learning_rate / (1 - decay) times
    it; narrow valleys are therefore run through up to 1 / (1 - decay) times faster than with the same rate alone. The
    heavy ball converges near a minimum where the learning rate is below 2 (1 + decay) / (the largest curvature). The
    value may rise on the way, and a minimum may be overshot. The iterates equal those of `optax.sgd`.

    Args:
        learning_rate: The factor of the velocity, in units of x^2 / f, at least 0. Traced: new numbers compile nothing.
        decay: What is left of the velocity after a step, from 0 (plain gradient descent) to below 1. Traced.
        nesterov: Whether the gradient is taken ahead of the ball. Static.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> method = jc.methods.momentum(learning_rate=0.05, nesterov=True)
        >>> result = jc.minimize(lambda x: (x - 3) ** 2, 0.0, method=method)
        >>> round(float(result.x), 3)
        3.0

    Source: B. Polyak, Some methods of speeding up the convergence of iteration methods (1964); Y. Nesterov, A method
    for solving the convex programming problem with convergence rate O(1/k^2) (1983); in this form I. Sutskever,
    J. Martens, G. Dahl and G. Hinton, On the importance of initialization and momentum in deep learning (2013).
    """
    require_option("learning_rate", learning_rate)
    require_option("decay", decay, below=1)
    return Momentum(learning_rate, decay, nesterov)
