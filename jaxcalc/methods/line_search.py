"""A line search as a state that can be resumed: one trial a step, so that lanes never wait for each other's searches.

Along a direction of descent the search looks for a step length t that satisfies the weak Wolfe conditions

    f(t) <= f(0) + c1 t f'(0)        sufficient decrease
    f'(t) >= c2 f'(0)                curvature

by bracketing (Lewis and Overton 2013) with cubic and secant interpolation (Nocedal and Wright 2006, section 3.5). Near
a minimum the values of f no longer distinguish points while its slopes still do; there sufficient decrease is judged
by the slope, f'(t) <= (2 c1 - 1) f'(0), as long as f has not risen by more than its rounding error (the approximate
Wolfe condition of Hager and Zhang 2005).

All tests compare like with like, so that the search takes the same steps when f or x is scaled.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.lane_algebra import kernel

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
# The rounding error of a value that was summed from some dozens of terms of its own size, in units of eps |f|.
VALUE_ROUNDING = 45
MAX_TRIALS = 40
# The next trial keeps this share of the bracket from both its ends, and is at most so many times the last one.
MARGIN = 0.1
EXPANSION = 10.0


class LineSearch(NamedTuple):
    """One search a lane, each entry (L,)."""

    value: Array  # f(0)
    slope: Array  # f'(0) < 0
    step_length: Array  # t, of the trial that is being evaluated
    low: Array  # the longest step known to decrease f sufficiently, at first 0
    low_value: Array
    low_slope: Array
    high: Array  # the shortest step known to be too long, at first infinite
    trials: Array


@kernel
def begin(value: Array, slope: Array, step_length: Array) -> LineSearch:
    """Returns the search from a point with this value and slope, whose first trial is `step_length`.

    A search whose value is infinite and whose slope is zero accepts its trial if it is finite: the start of a method.
    """
    zero = jnp.zeros_like(value)
    trials = jnp.zeros(value.shape, jnp.int32)
    return LineSearch(value, slope, step_length, zero, value, slope, jnp.full_like(value, jnp.inf), trials)


@kernel
def advance(search: LineSearch, value: Array, slope: Array) -> tuple[LineSearch, Array, Array]:
    """Judges the trial by its value and slope, (L,) each.

    Returns:
        The search with its next trial, whether this trial is accepted, and whether the search has been given up.
    """
    t, eps = search.step_length, jnp.finfo(value.dtype).eps
    finite = jnp.isfinite(value) & jnp.isfinite(slope)
    by_value = value <= search.value + SUFFICIENT_DECREASE * t * search.slope
    level = value <= search.value + VALUE_ROUNDING * eps * jnp.abs(search.value)
    by_slope = level & (slope <= (2 * SUFFICIENT_DECREASE - 1) * search.slope)
    decreased = finite & (by_value | by_slope)
    accepted = decreased & (slope >= CURVATURE * search.slope)

    low, high = jnp.where(decreased, t, search.low), jnp.where(decreased, search.high, t)
    guess = jnp.where(decreased, _secant(search, slope), _cubic(search, value, slope))
    width = jnp.where(jnp.isinf(high), EXPANSION * t, high - low)
    centre = low + 0.5 * width
    guess = jnp.where(jnp.isnan(guess), centre, jnp.clip(guess, low + MARGIN * width, low + (1 - MARGIN) * width))
    following = LineSearch(
        search.value,
        search.slope,
        guess,
        low,
        jnp.where(decreased, value, search.low_value),
        jnp.where(decreased, slope, search.low_slope),
        high,
        search.trials + 1,
    )
    collapsed = jnp.isfinite(high) & (high - low <= 2 * eps * high)
    exhausted = ~accepted & ((following.trials >= MAX_TRIALS) | collapsed)
    return following, accepted, exhausted


def _secant(search: LineSearch, slope: Array) -> Array:
    """Returns where the slope vanishes if it goes on changing as from `low` to t; infinite if it never does."""
    t, rise = search.step_length, slope - search.low_slope
    return jnp.where(rise > 0, t - slope * (t - search.low) / rise, jnp.inf)


def _cubic(search: LineSearch, value: Array, slope: Array) -> Array:
    """Returns the minimum of the cubic through the values and slopes at `low` and t; NaN where they are not finite."""
    low, t = search.low, search.step_length
    theta = 3 * (search.low_value - value) / (t - low) + search.low_slope + slope
    scale = jnp.maximum(jnp.abs(theta), jnp.maximum(jnp.abs(slope), jnp.abs(search.low_slope)))
    root = (theta / scale) ** 2 - (search.low_slope / scale) * (slope / scale)
    gamma = scale * jnp.sqrt(jnp.maximum(root, 0))
    return t - (t - low) * (slope + gamma - theta) / (slope - search.low_slope + 2 * gamma)
