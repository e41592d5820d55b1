"""What the methods that search along directions of descent share: how a trial is taken, and where the next one lies.

A step of such a method has three parts: `move` takes the evaluation and moves x to the trial where the search accepts
it; the method says which direction it would take from there; `aim` begins a search along that direction, or along
-D gradient where the direction is of no use. The method's state holds, besides the iterate, the `direction`, the
`search`, and whether the search is `fresh`, along -D gradient. The promise of such a method is half of the slope up to
the first trial of its search, for quasi-Newton methods g'Hg / 2; after a trial along -D gradient that was rejected it
is the fall to the minimum of the parabola through this trial.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel, only_where
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import dot
from jaxcalc.methods.method import Iterate
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.parts import line_search
from jaxcalc.methods.parts.line_search import CURVATURE, LineSearch, Tested

# The first step moves x by this share of its own length: a step that is too short costs the search two trials, a step
# that is too long may leave the basin of the start.
FIRST_STEP = 0.01
# In a box the bounds say what is too long, and most problems with bounds end at some of them: the first step moves x by
# more than its own length where a side is open, and by its own length where every variable has both bounds, because a
# longer step crosses the whole box. Only for methods that learn curvature; others do not recover from a long step.
FIRST_IN_BOX, FIRST_IN_CLOSED_BOX = 3.0, 1.0
# A value and a slope at a trial confirm a parabola if the mean of both slopes gives the rise up to this share of it.
CONFIRMED = 0.25
# Where the minimum of a confirmed parabola is nearer than this share of the trial's step, x counts as its minimum.
NEARNESS = 1e-3
# On the floor of a curved valley a parabola along the gradient promises next to nothing, but f still has to go down the
# slope of the floor. To first order f would change there by about itself if every variable changed by its own size; at
# a minimum by less or, where f is zero at its minimum, by many times f.
SMALL_CHANGE, LARGE_CHANGE = 0.4, 1e4


class Move(NamedTuple):
    """What became of a trial."""

    iterate: Iterate  # x, value, gradient, nit and promise after the trial; `trial` and `stalled` are those before
    search: LineSearch  # before the trial
    tested: Tested
    accepted: Array  # (L,) the trial is the new x
    exhausted: Array  # (L,) the search has been given up
    s: Array  # (n, L) the step just taken, zero where there is none
    y: Array  # (n, L) the change of the gradient along it


class Aim(NamedTuple):
    """The next trial, and the search that it belongs to."""

    trial: Array  # (n, L)
    direction: Array  # (n, L)
    search: LineSearch
    fresh: Array  # (L,) the direction is -D gradient
    promise: Array  # (L,) of the search


def move(
    state: Any,
    evaluation: Evaluation,
    box: Box,
    curvature: float | None = CURVATURE,
    overshoot: float | None = None,
    reference: Array | None = None,
) -> Move:
    """Tests the trial by the Wolfe conditions and moves x to it where it is accepted.

    Args:
        state: The method's state.
        evaluation: Of the state's trial.
        box: The bounds.
        curvature: As in `line_search.judge`; with overshoot.
        overshoot: As in `line_search.judge`.
        reference: The value, (L,), that the trial's value is compared with; by default the value at x.
    """
    at = state.iterate
    slope = box.slope(at.trial, evaluation.gradient, state.direction)
    # Where bounds bend the path, x changes by less than step length times direction.
    change = box.slope(at.x, at.gradient, at.trial - at.x) if box.is_bounded else None
    tested, accepted, exhausted = line_search.judge(
        state.search,
        at.value if reference is None else reference,
        evaluation.value,
        slope,
        change,
        curvature,
        overshoot,
    )
    value = jnp.where(accepted, evaluation.value, at.value)
    x, gradient, s, y = _step(at, evaluation.gradient, accepted)
    if box.is_bounded:
        # A variable that was held has no part in s, and one that is held now may have an infinite slope.
        y = jnp.where((state.direction == 0) | ~jnp.isfinite(y), 0, y)
    rejected = state.fresh & ~accepted
    tells = only_where(rejected, lambda: rejected & ~is_on_slope(at, box), rejected)
    promise = _promise_along(state.search, tells, at.value, evaluation.value, slope, at.promise)
    iterate = at._replace(x=x, value=value, gradient=gradient, nit=at.nit + accepted, promise=promise)
    return Move(iterate, state.search, tested, accepted, exhausted, s, y)


def aim(
    move: Move,
    downhill: Array,
    fresh: Array | bool,
    direction: Array,
    box: Box,
    step_length: Array | float = 1.0,
    D: Array | float = 1.0,
    first_step: Array | float | None = FIRST_STEP,
) -> Aim:
    """Begins a search where the last one has ended, and goes on with the others; no trial is outside the box.

    Args:
        move: What became of the trial.
        downhill: The direction that the method would take, (n, L); it is not taken where it does not point downhill.
        fresh: Where the method asks for -D gradient instead, (L,).
        direction: The direction of the searches that go on, (n, L).
        box: The bounds.
        step_length: The first trial's length along `downhill`, (L,) or one number.
        D: The diagonal that makes -D gradient the steepest direction, (n, L) or one number.
        first_step: The length of a first step along -D gradient, in lengths of x; None for what suits the bounds.
    """
    at, begun = move.iterate, move.accepted | move.exhausted
    gradient = box.reduced(at.x, at.gradient)
    downhill = box.feasible(at.x, at.gradient, downhill)
    slope = dot(gradient, downhill)
    fresh = fresh | move.exhausted | ~(slope < 0)
    if first_step is None:
        first_step = jnp.where(box.is_closed, FIRST_IN_CLOSED_BOX, FIRST_IN_BOX) if box.is_bounded else FIRST_STEP
    # After a search that failed the first step is short: a long step was too long.
    share = jnp.where(move.exhausted, FIRST_STEP, jnp.asarray(first_step, slope.dtype))
    promise = _promise_of_model(begun, slope, step_length, at.promise)
    slope, step_length, promise = only_where(
        begun & fresh,
        lambda: _along_gradient(move.accepted, at, gradient, D, share),
        (slope, jnp.broadcast_to(jnp.asarray(step_length, slope.dtype), slope.shape), promise),
    )
    search = line_search.following(move.search, move.tested, begun, at.value, slope, step_length)
    direction, trial = _next_trial(at.x, gradient, D, downhill, direction, search.step_length, begun, fresh)
    return Aim(box.project(trial), direction, search, fresh, promise)


def with_short_first_step(method: Any) -> Any:
    """Returns the method with the short first step, unless its caller has said how long the step is."""
    return method if method.first_step is not None else dataclasses.replace(method, first_step=FIRST_STEP)


@kernel
def _step(at: Iterate, new_gradient: Array, accepted: Array):
    """Returns x and the gradient there, the step s and the change y of the gradient along it."""
    # The start has no step behind it. A rejected trial may hold NaN, which no factor of zero would remove.
    stepped = accepted & (at.nit >= 0)
    s = jnp.where(stepped, at.trial - at.x, 0)
    y = jnp.where(stepped, new_gradient - at.gradient, 0)
    x = jnp.where(accepted, at.trial, at.x)
    gradient = jnp.where(accepted, new_gradient, at.gradient)
    return x, gradient, s, y


@kernel
def _promise_of_model(begun: Array, slope: Array, step_length: Array | float, promise: Array) -> Array:
    """Returns the promise of a model whose minimum lies at `step_length`: half of the slope up to there."""
    return jnp.where(begun, -0.5 * step_length * slope, promise)


def _along_gradient(
    accepted: Array, at: Iterate, gradient: Array, D: Array | float, share: Array
) -> tuple[Array, Array, Array]:
    """Returns the slope, the first length and the promise of a search along -D gradient, (L,) each.

    The length scales as x and f do (Hager and Zhang 2005, step I0). The search promises nothing that is known, but
    where x has not moved what was known of it still holds.
    """
    gDg, xx = dot(gradient, D * gradient), dot(at.x, at.x)
    unit = 1 / gDg
    by_value = jnp.square(share * at.value) * unit
    first = jnp.sqrt(unit * jnp.where(xx > 0, jnp.square(share) * xx, by_value))
    first = jnp.where((first > 0) & jnp.isfinite(first), first, jnp.sqrt(unit))
    return -gDg, first, jnp.where(accepted, jnp.where(gDg > 0, jnp.inf, 0), at.promise)


def is_on_slope(at: Iterate, box: Box) -> Array:
    """Returns where the relative gradient is that of a floor which f still goes down, (L,)."""
    change = jnp.sum(jnp.abs(box.reduced(at.x, at.gradient) * at.x), axis=0)
    size = jnp.abs(at.value)
    return (change > SMALL_CHANGE * size) & (change < LARGE_CHANGE * size)


@kernel
def _promise_along(
    search: LineSearch, rejected: Array, start_value: Array, value: Array, slope: Array, promise: Array
) -> Array:
    """Returns the promise after a trial along -D gradient was rejected: the fall to the minimum of the parabola.

    The parabola has the slopes f'(0) and f'(t), thus the curvature c = (f'(t) - f'(0)) / t, and falls by f'(0)^2 / 2c.
    What was promised along another direction from the same x is not taken back.
    """
    t = search.step_length
    curvature = (slope - search.slope) / t
    fall = 0.5 * search.slope * (search.slope / curvature)
    rise = 0.5 * (search.slope + slope) * t
    confirmed = jnp.abs(value - start_value - rise) <= CONFIRMED * rise
    fall = jnp.where(confirmed & (-search.slope <= NEARNESS * curvature * t), 0, fall)
    known = rejected & (curvature > 0) & jnp.isfinite(fall)
    return jnp.where(known, jnp.where(jnp.isinf(promise), fall, jnp.maximum(promise, fall)), promise)


@kernel
def _next_trial(
    x: Array,
    gradient: Array,
    D: Array | float,
    downhill: Array,
    direction: Array,
    step_length: Array,
    begun: Array,
    fresh: Array,
) -> tuple[Array, Array]:
    direction = jnp.where(begun, jnp.where(fresh, -D * gradient, downhill), direction)
    return direction, x + step_length * direction
