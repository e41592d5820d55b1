"""How a trial of the barrier problem is judged: by the filter, by a sufficient fall of the merit, or by the error.

Where the violation is small and the merit is expected to fall by more than a power of the violation, the merit has to
fall as Armijo has it; elsewhere a trial has to be better than x in the violation or in the merit, and x joins the
filter (Wächter and Biegler 2006). Near the floor of rounding, where the merit tells nothing, a fall of the conditions'
error is accepted.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.constrained.barrier import (
    Duals,
    Point,
    Sides,
    barrier_error,
    errors,
    merit,
    safeguarded,
    violation_sum,
)
from jaxcalc.methods.constrained.filter import LESS_MERIT, LESS_VIOLATION, Filter
from jaxcalc.methods.constrained.linear_algebra import transposed_product

# A fall of the merit by this share of the slope is enough.
ARMIJO = 1e-8
# The merit counts where length * slope^MERIT_POWER exceeds the violation to the power VIOLATION_POWER.
MERIT_POWER, VIOLATION_POWER = 2.3, 1.1
# Cut steps have between LEAST_CUT and MOST_CUT of the length before; after MOST_CUTS of an infeasible x a restoration follows.
LEAST_CUT, MOST_CUT, MOST_CUTS = 0.1, 0.5, 4
# Where the error falls to this share although the merit does not tell, the trial is accepted.
LESS_ERROR = 0.99
# A step that was cut so often makes the shift of its Newton matrix worth remembering.
REMEMBERED_CUTS, LEAST_MEMORY, MEMORY_GROWTH, MOST_MEMORY = 2, 1e-2, 4.0, 1e3
MOST_RESTORATIONS = 8
# Inequalities are this share of mu inside after a restoration, at most MOST_MARGIN.
MARGIN, MOST_MARGIN = 0.1, 1e-2


class Judgement(NamedTuple):
    """What becomes of the trials of the barrier problem, (L,) each."""

    accepted: Array
    cut: Array  # the step goes on with `length`
    restores: Array  # the steps from x have failed
    length: Array
    filter: Filter
    shift: Array
    duals: Duals  # after the step


def judged(state: Any, trial: Point, descending: Array, finite: Array, sides: Sides, numbers: Any) -> Judgement:
    """Judges the trials of lanes that take a step of the barrier problem, (L,); `finite` says where they can be."""
    equalities = len(trial.constraints) - len(trial.slack)
    least = state.units.least_slack(equalities, numbers)
    violation = violation_sum(trial.constraints, trial.slack)
    reached = merit(trial.value, trial.x, trial.slack, state.mu, least, sides)
    accepted, joins = _acceptable(state, violation, reached, numbers)
    stepped = _stepped(state.duals, state.step)
    stepped = safeguarded(stepped, trial.x, trial.slack, state.mu, least, sides)
    # Rounding hides the merit's change: the conditions themselves tell.
    change = jnp.abs(reached - state.merit)
    hidden = change <= 1e3 * numbers.eps * jnp.maximum(1, jnp.abs(state.merit))
    hidden &= violation <= jnp.maximum(state.violation, numbers.feasible)
    new, old = (
        barrier_error(errors(at, duals, least, sides, transposed_product(at.jacobian, duals.y)), state.mu, sides)
        for at, duals in ((trial, stepped), (state.point, state.duals))
    )
    by_error = ~accepted & hidden & (new < LESS_ERROR * old)
    accepted, joins = descending & finite & (accepted | by_error), descending & finite & joins
    length = state.step.length * _cut(state, reached, finite)
    failed = length < _least_length(state)
    failed |= (state.cuts + 1 >= MOST_CUTS) & (state.violation > numbers.restorable)
    rejected = descending & ~accepted
    kept = jnp.where(state.shift < 4e-3, 0, state.shift / MEMORY_GROWTH)
    grown = jnp.minimum(MOST_MEMORY, jnp.maximum(MEMORY_GROWTH * state.shift, LEAST_MEMORY))
    shift = jnp.where(state.cuts >= REMEMBERED_CUTS, grown, jnp.where(state.cuts == 0, kept, state.shift))
    return Judgement(
        accepted, rejected & ~failed, rejected & failed, length,
        state.filter.with_pair(state.violation, state.merit, joins), jnp.where(accepted, shift, state.shift), stepped,
    )  # fmt: skip


def _stepped(duals: Duals, step: Any) -> Duals:
    moved = jax.tree.map(lambda old, change: old + step.dual_length * change, duals, step.duals)
    return moved._replace(y=duals.y + step.length * step.duals.y)


def _acceptable(state: Any, violation: Array, reached: Array, numbers: Any) -> tuple[Array, Array]:
    """Returns where the trial is acceptable, and where x is to join the filter then."""
    slope, length, before = state.step.slope, state.step.length, state.violation
    change = reached - state.merit - 10 * numbers.eps * jnp.abs(state.merit)
    armijo = change <= ARMIJO * length * slope
    falls = (slope < 0) & (length * jnp.maximum(-slope, 0) ** MERIT_POWER > before**VIOLATION_POWER)
    small = (before <= numbers.feasible) & (slope < 0)
    less_violation = (violation <= (1 - LESS_VIOLATION) * before) & ~small
    stays = ~small | (violation <= numbers.feasible) | (violation <= before)
    better = less_violation | ((change <= -LESS_MERIT * before) & stays)
    by_merit = (before <= state.limits[0]) & falls
    good = state.filter.accepts(violation, reached) & (violation <= state.limits[1])
    good &= jnp.where(by_merit, armijo, better)
    lost = state.tiny > 0
    return lost | good, good & ~by_merit & ~(falls & armijo) & ~lost


def _cut(state: Any, reached: Array, finite: Array) -> Array:
    """Returns the share of the length at which a parabola through both merits, with the slope at x, has its minimum."""
    slope, length, rise = state.step.slope, state.step.length, reached - state.merit
    curvature = 2 * (rise - slope * length)
    known = finite & (slope < 0) & (rise > 0) & (curvature > 0)
    share = jnp.clip(-slope * length / jnp.where(curvature > 0, curvature, 1), LEAST_CUT, MOST_CUT)
    return jnp.where(known, share, MOST_CUT)


def _least_length(state: Any) -> Array:
    """Returns the length below which a step is given up."""
    violation = state.violation
    fall = jnp.maximum(-state.step.slope, jnp.finfo(violation.dtype).tiny)
    by_merit = jnp.where(violation <= state.limits[0], violation**VIOLATION_POWER / fall**MERIT_POWER, jnp.inf)
    falling = jnp.minimum(jnp.minimum(LESS_VIOLATION, LESS_MERIT * violation / fall), by_merit)
    return jnp.maximum(0.05 * jnp.where(state.step.slope < 0, falling, LESS_VIOLATION), 1e-14)


class Reset(NamedTuple):
    """What follows where the steps from x have failed, (L,) each."""

    tried: Array
    slack_only: Array  # raising the slacks to the constraints' values is enough
    entered: Array  # a restoration begins
    given_up: Array
    slack: Array  # (m_I, L)
    margin: Array
    filter: Filter


def reset(state: Any, failed: Array, sides: Sides, numbers: Any) -> Reset:
    """Returns what is to be done: reset the slacks alone, without an evaluation, or begin a restoration."""
    point, units = state.point, state.units
    equalities = len(point.constraints) - len(point.slack)
    with_x = state.filter.with_pair(state.violation, state.merit, failed)
    margin = jnp.minimum(MOST_MARGIN, MARGIN * state.mu)
    slack = jnp.maximum(point.constraints[equalities:], margin)
    violation = violation_sum(point.constraints, slack)
    reached = merit(point.value, point.x, slack, state.mu, units.least_slack(equalities, numbers), sides)
    enough = (violation <= 0.9 * state.violation) & with_x.accepts(violation, reached)
    hopeless = (state.violation < 0.1 * numbers.tolerance) | (state.restoration.count + 1 > MOST_RESTORATIONS)
    tried = failed & ~hopeless
    return Reset(tried, tried & enough, tried & ~enough, failed & hopeless, slack, margin, with_x)
