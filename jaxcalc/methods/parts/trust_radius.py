"""What the trust-region methods share: how a trial is accepted, and how the radius follows.

A state of such a method holds, besides the iterate, the `radius` and the `predicted` fall of f at the trial, the
model's value at x less that at the trial, at least 0.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.lane_algebra import all_finite, dot
from jaxcalc.methods.parts.line_search import VALUE_ROUNDING

# A trial is accepted if f falls by this share of the predicted fall.
ACCEPTED = 1e-4
# The radius shrinks where the ratio of actual to predicted fall is below POOR, and grows where it is above GOOD.
POOR, GOOD = 0.25, 0.75
SHRINKAGE, GROWTH = 0.25, 2.5
# The first radius as a share of the length of x.
FIRST_RADIUS = 0.1
# A step longer than this share of the radius has been cut short by the edge of the region.
NEAR_EDGE = 0.99


def reduction_ratio(state: Any, value: Array, before: Array, after: Array) -> tuple[Array, Array, Array]:
    """Returns the ratio of actual to predicted fall, whether the trial is accepted, and whether x cannot be improved.

    Args:
        state: The method's state.
        value: The value at the state's trial, (L,).
        before: The gradient of the free variables at x, (n, L).
        after: The same at the trial.
    """
    at, finite = state.iterate, jnp.isfinite(value) & all_finite(after)
    return _reduction_ratio(at.nit, at.value, state.predicted, value, finite, dot(before, before), dot(after, after))


@kernel
def _reduction_ratio(
    nit: Array, old_value: Array, predicted: Array, value: Array, finite: Array, gg: Array, gg_new: Array
):
    eps = jnp.finfo(value.dtype).eps * jnp.abs(old_value)
    fallen = old_value - value
    # Where f no longer tells points apart its gradient still does (Conn, Gould and Toint 2000, section 17.4).
    by_slope = (predicted <= VALUE_ROUNDING * eps) & (-fallen <= VALUE_ROUNDING * eps) & (gg_new < gg)
    accepted = finite & ((nit < 0) | (fallen >= ACCEPTED * predicted) & (fallen > 0) | by_slope)
    ratio = jnp.where(accepted, jnp.where(by_slope, 1, fallen / predicted), 0)
    # A prediction that is not finite comes from a model that has overflowed, which no smaller radius mends.
    lost = ~accepted & ((nit < 0) | (predicted <= eps) | ~jnp.isfinite(predicted))
    return ratio, accepted, lost


def adapted_radius(state: Any, ratio: Array, length: Array, first: Array) -> Array:
    """Returns the radius after a step of this length and reduction ratio; at the start the first one, (L,) each."""
    return _adapted_radius(state.iterate.nit, state.radius, ratio, length, first)


@kernel
def _adapted_radius(nit: Array, radius: Array, ratio: Array, length: Array, first: Array) -> Array:
    shrunk = SHRINKAGE * jnp.minimum(length, radius)
    grown = jnp.maximum(radius, GROWTH * length)
    radius = jnp.where(ratio < POOR, shrunk, jnp.where(ratio > GOOD, grown, radius))
    return jnp.where(nit < 0, first, radius)


@kernel
def seen_radius(state: Any, lost: Array, value: Array, radius: Array) -> tuple[Array, Array]:
    """Returns the radius, and where the region is widened, (L,) each.

    A region whose edge cuts the step so short that its fall is lost in rounding tells nothing about x. It is widened,
    once at an x, to where a fall like the predicted one would be seen. Some variables may be far from their minima in
    their own units while f, a large sum, hardly depends on them.

    Args:
        state: The method's state, which holds where the region has been `widened` at x.
        lost: Where the trial could not be told from x, (L,).
        value: The value at the trial, (L,).
        radius: The radius otherwise, (L,).
    """
    at = state.iterate
    rounding = VALUE_ROUNDING * jnp.finfo(value.dtype).eps * jnp.abs(at.value)
    wide = state.radius * (2 * rounding / state.predicted)
    unseen = lost & ~state.widened & jnp.isinf(at.promise) & jnp.isfinite(wide)
    unseen &= jnp.abs(value - at.value) <= rounding
    return jnp.where(unseen, wide, radius), unseen


@kernel
def first_radius(xx: Array, gg: Array, gBg: Array) -> Array:
    """Returns a share of the length of x; at x = 0 the length of the step to the model's minimum along the gradient."""
    along = gg * jnp.sqrt(gg) / jnp.abs(gBg)
    first = jnp.where(xx > 0, FIRST_RADIUS * jnp.sqrt(xx), along)
    return jnp.where((first > 0) & jnp.isfinite(first), first, 1)


@kernel
def kept_promise(promise: Array, accepted: Array, ss: Array, radius: Array, predicted: Array) -> Array:
    """Returns the fall to the model's minimum, (L,): the predicted one where the step s, of square ss, ends inside.

    It is infinite while the edge of the region has cut every step from x short, and stays while x stays. A step along
    which no fall is predicted promises none, however long it is.
    """
    inside = jnp.where((ss <= (NEAR_EDGE * radius) ** 2) | (predicted <= 0), predicted, jnp.inf)
    return jnp.where(accepted | jnp.isinf(promise), inside, promise)
