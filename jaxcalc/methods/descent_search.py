"""What the methods share that search along directions of descent: the judgement of a trial and the next one's aim.

A step of such a method has three parts: `judge` takes the evaluation at the trial and moves where it is accepted; the
method says which direction it would take from there; `aim` begins a search along it, or along -D gradient where the
direction is of no use. The method's state holds, besides what every state does, the `direction` and the `search`.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.methods import line_search
from jaxcalc.methods.box import ahead, feasible, reduced
from jaxcalc.methods.lane_algebra import dot
from jaxcalc.methods.line_search import CURVATURE, LineSearch
from jaxcalc.methods.method import Evaluation
from jaxcalc.programs import kernel

# The first step moves x by this share of its own length: too short is mended by the search in two trials, too long
# may leave the basin of the start.
FIRST_STEP = 0.01
# In a box, which says what is too long, more than the length itself: most problems with bounds end at some of them.
# Only for methods that learn curvature: to the others a long first step is not made up for.
FIRST_IN_BOX = 3.0


class Verdict(NamedTuple):
    """What a trial led to."""

    search: LineSearch
    accepted: Array  # (L,) the trial is the new x
    exhausted: Array  # (L,) the search has been given up
    value: Array  # (L,) at x
    x: Array  # (n, L)
    gradient: Array  # (n, L), at x
    s: Array  # (n, L) the step just taken, zero where there is none
    y: Array  # (n, L) the change of the gradient along it


class Aim(NamedTuple):
    """What is to be tried next."""

    trial: Array  # (n, L)
    direction: Array  # (n, L)
    search: LineSearch
    fresh: Array  # (L,) the direction is -D gradient


def judge(
    state: Any,
    evaluation: Evaluation,
    lower: Array | None,
    upper: Array | None,
    curvature: float | None = CURVATURE,
    overshoot: float | None = None,
    reference: Array | None = None,
) -> Verdict:
    """Judges the trial, as exactly as `line_search.advance` is told to; where it is accepted, x moves to it.

    The trial's value is held against the value at x, or against a `reference` that is given instead.
    """
    slope = dot(evaluation.gradient, ahead(state.trial, state.direction, lower, upper))
    # Where bounds bend the path, x changes by less than step length times direction.
    change = None if lower is None else dot(state.gradient, state.trial - state.x)
    search, accepted, exhausted = line_search.advance(
        state.search,
        state.value if reference is None else reference,
        evaluation.value,
        slope,
        change,
        curvature,
        overshoot,
    )
    value = jnp.where(accepted, evaluation.value, state.value)
    x, gradient, s, y = _move(state, evaluation, accepted)
    if lower is not None:
        # What the gradient of a variable that was held says of the others' curvature is not about this subspace.
        y = jnp.where(state.direction == 0, 0, y)
    return Verdict(search, accepted, exhausted, value, x, gradient, s, y)


def aim(
    verdict: Verdict,
    downhill: Array,
    fresh: Array | bool,
    direction: Array,
    lower: Array | None,
    upper: Array | None,
    step_length: Array | float = 1.0,
    metric: Array | float = 1.0,
    first_step: Array | float | None = FIRST_STEP,
) -> Aim:
    """Begins a search where the last one has ended, and goes on with the others; no trial is outside the box.

    Args:
        verdict: What the trial led to.
        downhill: The direction that the method would take, (n, L); it is not taken where it does not point downhill.
        fresh: Where the method asks for -D gradient instead, (L,).
        direction: The direction of the searches that go on, (n, L).
        lower: The lower bounds, (n, L), or None.
        upper: The upper bounds, (n, L), or None.
        step_length: The first trial's length along `downhill`, (L,) or one number.
        metric: The diagonal D of the metric in which -D gradient is the steepest direction, (n, L) or one number.
        first_step: The length of a first step along -D gradient, in lengths of x; None for what suits the bounds.
    """
    x, gradient = verdict.x, reduced(verdict.x, verdict.gradient, lower, upper)
    downhill = feasible(x, verdict.gradient, downhill, lower, upper)
    steepest = -metric * gradient
    slope, gDg, xx = dot(gradient, downhill), -dot(gradient, steepest), dot(x, x)
    if first_step is None:
        first_step = FIRST_STEP if lower is None else FIRST_IN_BOX
    first_step = jnp.asarray(first_step, xx.dtype)
    begun, fresh, slope, step_length = _aim(verdict, fresh, slope, gDg, xx, step_length, first_step)
    search = line_search.begin(verdict.search, begun, verdict.value, slope, step_length)
    direction, trial = _next_trial(x, steepest, downhill, direction, search.step_length, begun, fresh)
    return Aim(jnp.clip(trial, lower, upper), direction, search, fresh)


@kernel
def _move(state: Any, evaluation: Evaluation, accepted: Array):
    # The start has no step behind it. A rejected trial may hold NaN, which no factor of zero would remove.
    stepped = accepted & (state.nit >= 0)
    s = jnp.where(stepped, state.trial - state.x, 0)
    y = jnp.where(stepped, evaluation.gradient - state.gradient, 0)
    x = jnp.where(accepted, state.trial, state.x)
    gradient = jnp.where(accepted, evaluation.gradient, state.gradient)
    return x, gradient, s, y


@kernel
def _aim(
    verdict: Verdict,
    fresh: Array | bool,
    slope: Array,
    gDg: Array,
    xx: Array,
    step_length: Array | float,
    first_step: Array | float,
):
    """Says where a search begins, whether along -gradient since the direction fails, its slope and first step."""
    fresh = fresh | verdict.exhausted | ~(slope < 0)
    # The length of a first step scales as x and f do (Hager and Zhang 2005, step I0).
    # Beginning again where a search failed is no start: there a long step was too long.
    share = jnp.where(verdict.exhausted, FIRST_STEP, first_step)
    unit = 1 / gDg
    by_value = jnp.square(share * verdict.value) * unit
    first = jnp.sqrt(unit * jnp.where(xx > 0, jnp.square(share) * xx, by_value))
    first = jnp.where((first > 0) & jnp.isfinite(first), first, jnp.sqrt(unit))
    begun = verdict.accepted | verdict.exhausted
    return begun, fresh, jnp.where(fresh, -gDg, slope), jnp.where(fresh, first, step_length)


@kernel
def _next_trial(
    x: Array, steepest: Array, downhill: Array, direction: Array, step_length: Array, begun: Array, fresh: Array
):
    direction = jnp.where(begun, jnp.where(fresh, steepest, downhill), direction)
    return direction, x + step_length * direction
