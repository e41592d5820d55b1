"""What the methods share that trust a model in a region: the judgement of a trial, and the region's radius.

A state of such a method holds, besides what every state does, the `radius` and by how much f is `predicted` to fall at
the trial, at least 0.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.lane_algebra import all_finite
from jaxcalc.methods.line_search import VALUE_ROUNDING
from jaxcalc.methods.method import Evaluation
from jaxcalc.programs import kernel

# A step is taken if f falls by this share of what the model promised.
ACCEPTED = 1e-4
# Below the first share the region shrinks, above the second it grows.
POOR, GOOD = 0.25, 0.75
SHRINKAGE, GROWTH = 0.25, 2.5
# The first radius as a share of the length of x.
FIRST_RADIUS = 0.1


def judge(state: Any, evaluation: Evaluation, gg: Array, gg_new: Array) -> tuple[Array, Array, Array]:
    """Returns how much of its promise the trial kept, whether it is accepted, and whether nothing can be gained."""
    value, gradient = evaluation.value, evaluation.gradient
    return _verdict(state, value, jnp.isfinite(value) & all_finite(gradient), gg, gg_new)


@kernel
def _verdict(state: Any, value: Array, finite: Array, gg: Array, gg_new: Array):
    eps = jnp.finfo(value.dtype).eps * jnp.abs(state.value)
    fallen = state.value - value
    # Where f no longer tells points apart its gradient still does (Conn, Gould and Toint 2000, section 17.4).
    by_slope = (state.predicted <= VALUE_ROUNDING * eps) & (-fallen <= VALUE_ROUNDING * eps) & (gg_new < gg)
    accepted = finite & ((state.nit < 0) | (fallen >= ACCEPTED * state.predicted) & (fallen > 0) | by_slope)
    ratio = jnp.where(accepted, jnp.where(by_slope, 1, fallen / state.predicted), 0)
    lost = ~accepted & ((state.nit < 0) | (state.predicted <= eps))
    return ratio, accepted, lost


@kernel
def adapted_radius(state: Any, ratio: Array, length: Array, first: Array) -> Array:
    """Returns the radius after a step of this length that kept this share of its promise; at the start the first."""
    shrunk = SHRINKAGE * jnp.minimum(length, state.radius)
    grown = jnp.maximum(state.radius, GROWTH * length)
    radius = jnp.where(ratio < POOR, shrunk, jnp.where(ratio > GOOD, grown, state.radius))
    return jnp.where(state.nit < 0, first, radius)


@kernel
def first_radius(xx: Array, gg: Array, gBg: Array) -> Array:
    """Returns a share of the length of x, at x = 0 that of the step to the model's minimum along the gradient."""
    along = gg * jnp.sqrt(gg) / jnp.abs(gBg)
    first = jnp.where(xx > 0, FIRST_RADIUS * jnp.sqrt(xx), along)
    return jnp.where((first > 0) & jnp.isfinite(first), first, 1)
