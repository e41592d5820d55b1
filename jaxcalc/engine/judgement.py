"""How a problem ends: what a step has shown, held against the caller's limits."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.engine.units import from_units, to_units
from jaxcalc.methods.box import projected_gradient
from jaxcalc.methods.lane_algebra import all_finite, dot, max_norm
from jaxcalc.methods.method import Evaluation, Status
from jaxcalc.programs import kernel

RUNNING = -1
# A fall of so many times the scale of the start is without end.
UNBOUNDED_FALL = 1e20


class Limits(NamedTuple):
    """What the caller asked for, each () or (N,), in the lanes (L,); ftol and xtol are None where not given."""

    gtol: Array
    maxiter: Array
    ftol: Array | None = None
    xtol: Array | None = None


class Verdict(NamedTuple):
    """What became of each lane in a step, (L,) each."""

    status: Array  # RUNNING, or the code of how it ended
    at_trial: Array  # the trial itself shows the end: no method would have moved there
    moved: Array  # x is another point than before, the start included
    floor: Array  # a value below this is UNBOUNDED


class Bounds(NamedTuple):
    """The box, (n, L) each, or None without bounds."""

    lower: Array | None = None
    upper: Array | None = None


def judge(
    at_start: Array,
    floor: Array,
    evaluation: Evaluation,
    before: Any,
    after: Any,
    leaving: Array | bool,
    bounds: Bounds,
    scale: Array | None,
    limits: Limits,
) -> Verdict:
    """Says of every lane whether the step from the state `before` to `after` ended its problem, and how."""
    value, gradient = evaluation.value, evaluation.gradient
    finite, first_change = all_finite(gradient), dot(gradient, after.trial - before.trial)
    floor = _floor(at_start, value, first_change, floor)
    x, lower, upper = from_units((after.x, *bounds), scale)
    largest = max_norm(projected_gradient(x, to_units(after.gradient, scale), lower, upper))
    if leaving is not False:
        # Where a way down that is known leads nowhere, the gradient is all that can be said.
        largest = jnp.where(leaving & ~after.stalled, jnp.inf, largest)
    seen = Seen(value, finite, floor, largest, after.stalled, after.nit)
    moved = after.nit > before.nit
    settled_value, settled_x = _settled(before, after, limits)
    status, at_trial = _status(at_start, seen, moved & settled_value, moved & settled_x, limits.gtol, limits.maxiter)
    return Verdict(status, at_trial, moved | at_trial, floor)


def _settled(before: Any, after: Any, limits: Limits) -> tuple[Array, Array]:
    """Returns whether a step that moved x changed the value, and x, by little of their own size."""
    by_value = by_x = jnp.zeros(after.value.shape, bool)
    if limits.ftol is None and limits.xtol is None:
        return by_value, by_x
    change = max_norm(after.x - before.x)
    stepped = (after.nit > 0) & (change > 0)
    if limits.ftol is not None:
        size = jnp.maximum(jnp.abs(before.value), jnp.abs(after.value))
        by_value = stepped & (limits.ftol >= 0) & (jnp.abs(before.value - after.value) <= limits.ftol * size)
    if limits.xtol is not None:
        by_x = stepped & (limits.xtol >= 0) & (change <= limits.xtol * max_norm(after.x))
    return by_value, by_x


class Seen(NamedTuple):
    """What decides a status after a step."""

    value: Array  # at the trial
    finite: Array  # the gradient at the trial
    floor: Array
    largest: Array  # component of the projected gradient at x, infinite where x is a saddle that is being left
    stalled: Array
    nit: Array


@kernel
def _floor(at_start: Array, value: Array, first_change: Array, floor: Array) -> Array:
    """Returns the value below which a problem counts as unbounded."""
    scale = jnp.abs(value) + jnp.abs(first_change)
    # A start of value zero whose first step is zero has no scale, so that nothing can be said but -inf.
    return jnp.where(at_start, jnp.where(scale > 0, value - UNBOUNDED_FALL * scale, -jnp.inf), floor)


@kernel
def _status(at_start: Array, seen: Seen, settled_value: Array, settled_x: Array, gtol: Array, maxiter: Array):
    """Returns the status of every lane after a step, and whether the trial itself shows it."""
    finite = seen.finite & jnp.isfinite(seen.value)
    unbounded = (seen.value == -jnp.inf) | (finite & (seen.value < seen.floor))
    invalid = at_start & ~(finite & (gtol >= 0) & (maxiter >= 0))
    cases = (
        (Status.UNBOUNDED, unbounded),
        (Status.INVALID, invalid),
        (Status.SUCCESS, seen.largest <= gtol),
        (Status.CONVERGED_VALUE, settled_value),
        (Status.CONVERGED_STEP, settled_x),
        (Status.NON_FINITE, seen.stalled & ~finite),
        (Status.STALLED, seen.stalled),
        (Status.MAX_ITERATIONS, seen.nit >= maxiter),
    )
    status = jnp.full(seen.value.shape, RUNNING, jnp.int32)
    for code, holds in reversed(cases):
        status = jnp.where(holds, jnp.int32(code), status)
    return status, unbounded | invalid
