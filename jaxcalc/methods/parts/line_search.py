"""A line search as a state that can be resumed: one trial a step, so that lanes never wait for each other's searches.

Along a direction of descent the search looks for a step length t that satisfies the weak Wolfe conditions

    f(t) <= f(0) + c1 t f'(0)        sufficient decrease
    f'(t) >= c2 f'(0)                curvature

by bracketing (Lewis and Overton 2013) with cubic and secant interpolation (Nocedal and Wright 2006, section 3.5). Near
a minimum the values of f no longer distinguish points while its slopes still do; there sufficient decrease is tested
by the slope, f'(t) <= (2 c1 - 1) f'(0), as long as f has not risen by more than its rounding error (the approximate
Wolfe condition of Hager and Zhang 2005).

All tests compare like with like, so that the search takes the same steps when f or x is scaled.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
# The rounding error of a value that was summed from some dozens of terms of its own size, in units of eps |f|.
VALUE_ROUNDING = 45
MAX_TRIALS = 40
# The count of trials of a search that has ended at `low` and evaluates it once more, to move there.
AT_LOW = 1_000
# The next trial keeps this share of the bracket away from both ends, and is at most EXPANSION times the last trial.
MARGIN = 0.1
EXPANSION = 10.0


class LineSearch(NamedTuple):
    """One search a lane, each entry (L,)."""

    slope: Array  # f'(0) < 0
    step_length: Array  # t, of the trial that is being evaluated
    low: Array  # the longest step known to decrease f sufficiently and not to be too long, at first 0
    low_value: Array
    low_slope: Array
    high: Array  # the shortest step known to be too long, at first infinite
    trials: Array


def at_rest(like: Array) -> LineSearch:
    """Returns searches of length zero along zero: the start of a method, which accepts any finite first trial."""
    zero = jnp.zeros_like(like)
    return LineSearch(zero, zero, zero, zero, zero, jnp.full_like(like, jnp.inf), zero.astype(jnp.int32))


class Tested(NamedTuple):
    """What a trial has shown, (L,) each."""

    decreased: Array  # f sufficiently, and the step is not too long
    back: Array  # the search goes back to `low`
    value: Array  # f(t)
    slope: Array  # f'(t)


def judge(
    search: LineSearch,
    start_value: Array,
    value: Array,
    slope: Array,
    change: Array | None = None,
    curvature: float | None = CURVATURE,
    overshoot: float | None = None,
) -> tuple[Tested, Array, Array]:
    """Tests the trial of a search from `start_value` by its value and slope, (L,) each.

    Args:
        search: The search so far.
        start_value: f(0).
        value: f(t).
        slope: f'(t).
        change: The first-order change of f at the trial; by default t f'(0).
        curvature: c2; the smaller, the more exact a search. With None the value alone is tested.
        overshoot: Where given, a step with f'(t) > -overshoot f'(0) counts as too long: with c2 this makes the
            conditions the strong ones, |f'(t)| <= c2 |f'(0)|.

    Returns:
        What the trial has shown, whether it is accepted, and whether the search has been given up.
        A search whose trials or bracket run out accepts the best step that it knows, `low`; only a search that knows
        no step of sufficient decrease is given up.
    """
    change = search.step_length * search.slope if change is None else change
    decreased, accepted = _wolfe_conditions(search, start_value, value, slope, change, curvature, overshoot)
    accepted, back, exhausted = _end(search, start_value, decreased, accepted, value)
    return Tested(decreased, back, value, slope), accepted, exhausted


@kernel
def _wolfe_conditions(
    search: LineSearch,
    start_value: Array,
    value: Array,
    slope: Array,
    change: Array,
    curvature: float | None,
    overshoot: float | None,
) -> tuple[Array, Array]:
    rounding = VALUE_ROUNDING * jnp.finfo(value.dtype).eps * jnp.abs(start_value)
    by_value = value <= start_value + SUFFICIENT_DECREASE * change
    by_slope = (value <= start_value + rounding) & (slope <= (2 * SUFFICIENT_DECREASE - 1) * search.slope)
    finite = jnp.isfinite(value) & jnp.isfinite(slope)
    decreased = finite & (by_value | by_slope)
    if overshoot is not None:
        decreased &= slope <= -overshoot * search.slope
    accepted = decreased if curvature is None else decreased & (slope >= curvature * search.slope)
    return decreased, accepted | (finite & (search.trials >= AT_LOW))


@kernel
def _end(
    search: LineSearch, start_value: Array, decreased: Array, accepted: Array, value: Array
) -> tuple[Array, Array, Array]:
    """Returns whether the trial is accepted, whether the search goes back to `low`, and whether it is given up."""
    t, eps = search.step_length, jnp.finfo(value.dtype).eps
    low, high = jnp.where(decreased, t, search.low), jnp.where(decreased, search.high, t)
    ended = ~accepted & ((high - low <= 2 * eps * low) | (search.trials + 1 >= MAX_TRIALS))
    # A fall within the rounding error of f is no progress: a search that knows no other is given up.
    fall = start_value - jnp.where(decreased, value, search.low_value)
    progress = ended & (fall > VALUE_ROUNDING * eps * jnp.abs(start_value))
    back = progress & ~decreased & (search.trials < AT_LOW)
    accepted = accepted | (progress & decreased)  # where it is `low`
    return accepted, back, ended & ~accepted & ~back


@kernel
def following(
    search: LineSearch, tested: Tested, begun: Array, start_value: Array, start_slope: Array, step_length: Array
) -> LineSearch:
    """Returns the searches with their next trials: where `begun` holds, new ones.

    Args:
        search: The searches whose trials were tested.
        tested: What these trials have shown.
        begun: Where a new search begins, (L,).
        start_value: f(0) of the new searches, (L,).
        start_slope: f'(0) of the new searches, (L,).
        step_length: Their first trial, (L,).
    """
    t, decreased = search.step_length, tested.decreased
    low, high = jnp.where(decreased, t, search.low), jnp.where(decreased, search.high, t)
    width = jnp.where(jnp.isinf(high), EXPANSION * t, high - low)
    guess = _interpolate(search, tested)
    # A slope that falls towards a step known to be too long gives no useful guess: take the middle of the bracket.
    guess = jnp.where(jnp.isnan(guess) | (decreased & (guess >= high)), low + 0.5 * width, guess)
    inside = jnp.clip(guess, low + MARGIN * width, low + (1 - MARGIN) * width)
    going_on = LineSearch(
        search.slope,
        jnp.where(tested.back, low, inside),
        low,
        jnp.where(decreased, tested.value, search.low_value),
        jnp.where(decreased, tested.slope, search.low_slope),
        high,
        jnp.where(tested.back, AT_LOW, search.trials + 1),
    )
    new = (start_slope, step_length, 0, start_value, start_slope, jnp.inf, 0)
    return LineSearch(*(jnp.where(begun, entry, old) for entry, old in zip(new, going_on, strict=True)))


def _interpolate(search: LineSearch, tested: Tested) -> Array:
    """Returns the estimated minimiser of f along the direction, from values and slopes at `low` and t.

    After a step that is too long: the minimiser of the cubic through both, NaN where an entry is not finite. After a
    step that is too short: the zero of the line through both slopes, infinite where the slope does not rise.
    """
    decreased, _, value, slope = tested
    reach, rise = search.step_length - search.low, slope - search.low_slope
    theta = 3 * (search.low_value - value) / reach + search.low_slope + slope
    scale = jnp.maximum(jnp.abs(theta), jnp.maximum(jnp.abs(slope), jnp.abs(search.low_slope)))
    unit = 1 / scale
    root = jnp.sqrt(jnp.maximum((theta * unit) ** 2 - (search.low_slope * unit) * (slope * unit), 0)) * scale
    above = jnp.where(decreased, slope, slope + root - theta)
    below = jnp.where(decreased, jnp.maximum(rise, 0), rise + 2 * root)
    return search.step_length - reach * above / below
