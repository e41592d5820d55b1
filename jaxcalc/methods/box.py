"""The box of a problem, lower <= x <= upper, and what bounds mean for a step.

A variable that stands at a bound is *held* if the gradient presses it against the bound; the others are free. Along a
direction d the trial is the projection of x + t d on the box, so that a variable that reaches its bound stays there
while the others go on (Bertsekas 1982).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.lane_algebra import all_finite, dot


class Box(NamedTuple):
    """All x with lower <= x <= upper, component by component; without sides, None both, all x there are.

    In lanes the sides are (n, L). In a queue they are pytrees in the form of the start, with leaves (N, ...), or
    (1, ...) for one box of all problems.
    """

    lower: Any = None
    upper: Any = None

    @property
    def is_bounded(self) -> bool:
        """Whether there are sides; infinite entries of a side are no bounds, but count here."""
        return self.lower is not None

    @property
    def is_closed(self) -> Array:
        """Where every variable has two bounds that are finite, (L,); only for a box that is bounded."""
        return jnp.all(jnp.isfinite(self.lower) & jnp.isfinite(self.upper), axis=0)

    def project(self, x: Array) -> Array:
        """Returns the nearest point of the box."""
        return jnp.clip(x, self.lower, self.upper) if self.is_bounded else x

    def scaled(self, unit: Array | float) -> "Box":
        """Returns the box of x / unit."""
        return jax.tree.map(lambda side: side / unit, self)

    def free(self, x: Array, gradient: Array) -> Array:
        """Returns which variables no bound holds against the gradient, (n, L)."""
        return _free(x, gradient, self.lower, self.upper) if self.is_bounded else jnp.ones(x.shape, bool)

    def movable(self, x: Array, gradient: Array) -> Array:
        """Returns which variables may move, (n, L): the free ones, and those that a bound holds without any slope.

        Into the box f may fall along these by negative curvature.
        """
        if not self.is_bounded:
            return jnp.ones(x.shape, bool)
        return self.free(x, gradient) | ((gradient == 0) & (self.lower < self.upper))

    def projected_gradient(self, x: Array, gradient: Array) -> Array:
        """Returns x - P(x - gradient), P being the projection on the box: zero where bounds hold the variables."""
        return _cut_off(x, gradient, self.lower, self.upper) if self.is_bounded else gradient

    def reduced(self, x: Array, gradient: Array, vector: Array | None = None) -> Array:
        """Returns a vector, by default the gradient itself, with zeros for the variables that are held at x."""
        vector = gradient if vector is None else vector
        return jnp.where(self.free(x, gradient), vector, 0) if self.is_bounded else vector

    def finite(self, x: Array, gradient: Array) -> Array:
        """Returns where the gradient is finite, (L,); a held variable may have an infinite slope, as sqrt has at 0."""
        return _finite(x, gradient, self.lower, self.upper) if self.is_bounded else all_finite(gradient)

    def slope(self, x: Array, gradient: Array, direction: Array) -> Array:
        """Returns the slope along a direction, (L,), to which variables that the box stops contribute nothing."""
        if not self.is_bounded:
            return dot(gradient, direction)
        return _slope(x, gradient, direction, self.lower, self.upper)

    def ahead(self, x: Array, direction: Array) -> Array:
        """Returns the direction with zeros for the variables that would leave the box at once."""
        if not self.is_bounded:
            return direction
        blocked = ((x <= self.lower) & (direction < 0)) | ((x >= self.upper) & (direction > 0))
        return jnp.where(blocked, 0, direction)

    def inward(self, x: Array, gradient: Array, direction: Array) -> Array:
        """Returns the direction with zeros for the variables without slope that would leave the box at once."""
        return jnp.where(gradient == 0, self.ahead(x, direction), direction) if self.is_bounded else direction

    def feasible(self, x: Array, gradient: Array, direction: Array) -> Array:
        """Returns the direction with zeros for the variables that are held or would leave the box at once."""
        return self.ahead(x, self.reduced(x, gradient, direction))


def _held(x: Array, gradient: Array, lower: Array, upper: Array) -> Array:
    return (x <= lower) & (gradient >= 0) | (x >= upper) & (gradient <= 0)


@kernel
def _free(x: Array, gradient: Array, lower: Array, upper: Array) -> Array:
    return ~_held(x, gradient, lower, upper)


@kernel
def _finite(x: Array, gradient: Array, lower: Array, upper: Array) -> Array:
    return jnp.all(jnp.isfinite(gradient) | _held(x, gradient, lower, upper), axis=0)


@kernel
def _slope(x: Array, gradient: Array, direction: Array, lower: Array, upper: Array) -> Array:
    blocked = (x <= lower) & (direction < 0) | (x >= upper) & (direction > 0)
    ahead = jnp.where(blocked, 0, direction)
    # An infinite slope that leads into the box is no part of any answer: times zero it is NaN, which no search accepts.
    at_rest = (ahead == 0) & _held(x, gradient, lower, upper)
    return jnp.sum(jnp.where(at_rest, 0, gradient * ahead), axis=0)


@kernel
def _cut_off(x: Array, gradient: Array, lower: Array, upper: Array) -> Array:
    return jnp.clip(gradient, x - upper, x - lower)
