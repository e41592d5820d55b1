"""Whether a step has ended a problem, and how: what the step shows, compared with the caller's tolerances."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel, only_where
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.outlook import Record, is_hidden, outlook, past_landmark
from jaxcalc.engine.problem import Tolerances
from jaxcalc.engine.scaling import from_scaled, to_scaled
from jaxcalc.engine.status import RUNNING, Status
from jaxcalc.engine.warm_start import began_at_solution
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import dot, max_norm
from jaxcalc.methods.method import Iterate, Method
from jaxcalc.methods.needs import Evaluation

# A value that has fallen by this many scales of the start falls without end.
UNBOUNDED_FALL = 1e20


class Outcome(NamedTuple):
    """What became of each lane in a step, (L,) each."""

    status: Array  # RUNNING, or the code of how the problem ended
    at_trial: Array  # the problem ended at the trial, to which no method would have moved
    moved: Array  # x is another point than before, the start included
    first: Array  # the value at the start
    floor: Array  # a value below this is UNBOUNDED
    record: Record | None


class Lane(NamedTuple):
    """What the test of a lane takes beside the step."""

    box: Box
    scale: Array | None  # (n, L) or (1, L)
    unit: Array | None  # (L,)
    tolerances: Tolerances
    nfev: Array  # (L,) evaluations before this one
    first: Array  # (L,)
    floor: Array  # (L,)
    record: Record | None


def outcome(family: Family, method: Method, lane: Lane, evaluation: Evaluation, before: Any, after: Any) -> Outcome:
    """Tells of every lane whether the step from the state `before` to `after` ended its problem, and how.

    Args:
        family: Decides about SUCCESS.
        method: Knows of negative curvature at x, where there is no SUCCESS.
        lane: What belongs to the lanes' problems.
        evaluation: Of the trial points of `before`.
        before: The method's state that named the trial points.
        after: The state after the step.
    """
    old, new = before.iterate, after.iterate
    at_start = lane.nfev == 0
    value = jnp.where(at_start, evaluation.value, new.value)
    floor = only_where(at_start | ~(lane.floor > -jnp.inf), lambda: _floor(value, new), lane.floor)
    finite = lane.box.finite(old.trial, evaluation.gradient)
    moved = new.nit > old.nit
    small = moved & False, moved & False
    if not family.judges_small_changes:
        asked = jnp.any((lane.tolerances.ftol >= 0) | (lane.tolerances.xtol >= 0))
        small = jax.lax.cond(asked, lambda: _small_changes(old, new, lane.tolerances), lambda: small)
    by_value, by_step = (moved & is_small for is_small in small)
    first = jnp.where(at_start, evaluation.value, lane.first)
    fruitless = moved & False
    if lane.record is not None:
        record = lane.record.after(new.x, new.gradient, lane.box)
        if new.promise is not None:
            # Where the caller has given gtol it decides alone.
            asked = lane.tolerances.promise < jnp.inf
            record, fruitless = past_landmark(record, lane.box, new, at_start, moved, asked)
        lane = lane._replace(record=record)
        new = new._replace(stalled=new.stalled | fruitless)
        after = after._replace(iterate=new)
    decided = _decided(family, method, lane, first, evaluation, old, after, fruitless)
    seen = Seen(evaluation.value, finite, floor, new.stalled, new.nit, lane.nfev)
    limits = lane.tolerances.gtol, lane.tolerances.maxiter, lane.tolerances.maxfev
    status, at_trial = _status(at_start, seen, decided, by_value, by_step, *limits)
    return Outcome(status, at_trial, moved | at_trial, first, floor, lane.record)


def _decided(
    family: Family,
    method: Method,
    lane: Lane,
    first: Array,
    evaluation: Evaluation,
    old: Iterate,
    state: Any,
    fruitless: Array,
) -> list[tuple[int, Array]]:
    """Returns the codes that the family and the method's promise decide, and where each holds.

    There is no success where x is about to be left along negative curvature.

    Args:
        family: As in `outcome`.
        method: As in `outcome`.
        lane: As in `outcome`.
        first: The value at the start, (L,).
        evaluation: As in `outcome`.
        old: Where the method stood before the step.
        state: The method's state after the step.
        fruitless: Where nothing has come of many steps, (L,).
    """
    at = state.iterate
    x, box = from_scaled((at.x, lane.box), lane.scale)
    value, gradient = at.value, to_scaled(at.gradient, lane.scale)
    if lane.unit is not None and lane.scale is not None:
        value, gradient = value * lane.unit, at.gradient * (lane.unit / lane.scale)
    in_caller_s_units = at._replace(x=x, value=value, gradient=gradient)
    decided = family.conclusions(state, in_caller_s_units, box, lane.tolerances)
    share = lane.tolerances.promise
    if lane.record is not None:
        record, yes = lane.record, at.nit == at.nit

        def expected() -> tuple[Array, Array]:
            before, free = (one._replace(gradient=lane.box.reduced(one.x, one.gradient)) for one in (old, at))
            return outlook(method, record, first, before, free, share, fruitless)

        # Where the caller has given gtol it decides alone.
        asked = share < jnp.inf
        settled, spent = only_where(asked, expected, (yes, ~yes))
        if at.promise is not None:
            # Few steps are a method's last, so that what only these need costs next to nothing.
            hidden = only_where(
                asked & at.stalled, lambda: is_hidden(record, lane.box, first, evaluation, old, at), ~yes
            )
            settled, spent = settled | hidden, spent | hidden
            if not method.compares_variables:
                settled |= only_where(
                    asked & (old.nit == 0), lambda: began_at_solution(lane.box, evaluation, old), ~yes
                )
        decided = [(status, holds & settled) for status, holds in decided] + [(Status.CONVERGED_PRECISION, spent)]
    negative = method.has_negative_curvature(state)
    if negative is not False:
        # Once the method has stalled along the negative curvature, only the gradient can decide about x.
        going = negative & ~at.stalled
        decided = [(status, holds & ~going if status.is_success else holds) for status, holds in decided]
    return [(int(status), holds) for status, holds in decided]


def _small_changes(old: Iterate, new: Iterate, tolerances: Tolerances) -> tuple[Array, Array]:
    """Returns whether a step changed the value by at most ftol, and x by at most xtol, of their own sizes.

    Tolerances below 0 stand for none.
    """
    change = max_norm(new.x - old.x)
    stepped = (new.nit > 0) & (change > 0)
    size = jnp.maximum(jnp.abs(old.value), jnp.abs(new.value))
    by_value = (tolerances.ftol >= 0) & (jnp.abs(old.value - new.value) <= tolerances.ftol * size)
    by_step = (tolerances.xtol >= 0) & (change <= tolerances.xtol * max_norm(new.x))
    return stepped & by_value, stepped & by_step


class Seen(NamedTuple):
    """What a step has shown, (L,) each."""

    value: Array  # at the trial
    finite: Array  # the gradient at the trial is
    floor: Array
    stalled: Array
    nit: Array
    nfev: Array  # this evaluation excluded


def _floor(value: Array, at: Iterate) -> Array:
    """Returns the value below which a problem counts as unbounded, from its value at the start and its first step.

    The scale of a problem is this value and the change of it that the first step promises. A start of value zero whose
    first trial is itself has no scale; then the first later step gives it, and until then only -inf counts.
    """
    # An infinite slope of a held variable times a step of zero is NaN.
    change = dot(at.gradient, at.trial - at.x)
    scale = jnp.abs(value) + jnp.where(jnp.isnan(change), 0, jnp.abs(change))
    return jnp.where(scale > 0, value - UNBOUNDED_FALL * scale, -jnp.inf)


@kernel
def _status(
    at_start: Array,
    seen: Seen,
    decided: list[tuple[int, Array]],
    by_value: Array,
    by_step: Array,
    gtol: Array,
    maxiter: Array,
    maxfev: Array,
) -> tuple[Array, Array]:
    """Returns the status of every lane after a step, the first that holds, and whether the trial itself ended it."""
    finite = seen.finite & jnp.isfinite(seen.value)
    unbounded = (seen.value == -jnp.inf) | (finite & (seen.value < seen.floor))
    invalid = at_start & ~(finite & (gtol >= 0) & (maxiter >= 0) & (maxfev >= 0))
    cases = (
        (Status.UNBOUNDED, unbounded),
        (Status.INVALID, invalid),
        *decided,
        (Status.CONVERGED_VALUE, by_value),
        (Status.CONVERGED_STEP, by_step),
        (Status.NON_FINITE, seen.stalled & ~finite),
        (Status.STALLED, seen.stalled),
        (Status.MAX_ITERATIONS, seen.nit >= maxiter),
        (Status.MAX_EVALUATIONS, seen.nfev + 1 >= maxfev),
    )
    status = jnp.full(seen.value.shape, RUNNING, jnp.int32)
    for code, holds in reversed(cases):
        status = jnp.where(holds, jnp.asarray(code, jnp.int32), status)
    return status, unbounded | invalid
