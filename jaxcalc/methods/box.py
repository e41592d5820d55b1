"""What bounds mean for a step: lower <= x <= upper, component by component, (n, L) each, or None without bounds.

A variable that stands at a bound and would leave the box against the gradient is frozen there; the others are free.
Along a direction d the trial is the projection of x + t d on the box, so that a variable that reaches its bound stays
there while the others go on (Bertsekas 1982).
"""

import jax.numpy as jnp
from jax import Array

from jaxcalc.programs import kernel


def projected_gradient(x: Array, gradient: Array, lower: Array | None, upper: Array | None) -> Array:
    """Returns x - P(x - gradient), P being the projection on the box: zero where bounds hold the variables."""
    return gradient if lower is None or upper is None else _cut_off(x, gradient, lower, upper)


def reduced(x: Array, gradient: Array, lower: Array | None, upper: Array | None) -> Array:
    """Returns the gradient with zeros for the frozen variables."""
    return gradient if lower is None or upper is None else jnp.where(is_free(x, gradient, lower, upper), gradient, 0)


@kernel
def is_free(x: Array, gradient: Array, lower: Array, upper: Array) -> Array:
    """Returns which variables no bound holds against the gradient, (n, L)."""
    return ~((x <= lower) & (gradient >= 0) | (x >= upper) & (gradient <= 0))


def feasible(x: Array, gradient: Array, direction: Array, lower: Array | None, upper: Array | None) -> Array:
    """Returns the direction with zeros for the frozen variables and for those that would leave the box at once."""
    if lower is None or upper is None:
        return direction
    return ahead(x, jnp.where(is_free(x, gradient, lower, upper), direction, 0), lower, upper)


@kernel
def _cut_off(x: Array, gradient: Array, lower: Array, upper: Array) -> Array:
    return jnp.clip(gradient, x - upper, x - lower)


def ahead(x: Array, direction: Array, lower: Array | None, upper: Array | None) -> Array:
    """Returns the direction in which x still moves: zero where a bound stops it."""
    if lower is None or upper is None:
        return direction
    return jnp.where(((x <= lower) & (direction < 0)) | ((x >= upper) & (direction > 0)), 0, direction)
