"""How a trial of the barrier problem is judged: by the filter, by a sufficient fall of the merit, or by the error.

Where the violation is small and the merit is expected to fall by more than a power of the violation, the merit has to
fall as Armijo has it; elsewhere a trial has to be better than x in the violation or in the merit, and x joins the
filter (Wächter and Biegler 2006). Where x nearly holds the constraints, and the first trial from x is rejected and
violates more, the next trial takes a second-order correction: a step that brings to zero what the trial has shown of
the constraints. Corrections follow each other as long as each halves the violation. Without them full steps next to a
curved constraint are rejected however near the solution is (Maratos 1978). Near the floor of rounding, where the merit
tells nothing, a fall of the conditions' error is accepted.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.constrained.barrier import (
    Duals,
    Numbers,
    Point,
    Sides,
    barrier_error,
    errors,
    merit,
    violation_sum,
)
from jaxcalc.methods.constrained.filter import LESS_MERIT, LESS_VIOLATION
from jaxcalc.methods.constrained.linear_algebra import transposed_product
from jaxcalc.methods.constrained.newton import Step

# A fall of the merit by this share of the slope is enough.
ARMIJO = 1e-8
# The merit counts where length * slope^MERIT_POWER exceeds the violation to the power VIOLATION_POWER.
MERIT_POWER, VIOLATION_POWER = 2.3, 1.1
# A cut step has between LEAST_CUT and MOST_CUT of the length before. After MOST_CUTS cuts at an infeasible x the
# step is given up.
LEAST_CUT, MOST_CUT, MOST_CUTS = 0.1, 0.5, 4
# Where the error falls to this share although the merit does not tell, the trial is accepted.
LESS_ERROR = 0.99
# The most second-order corrections of a step, and the share of the violation that a further one has to have left.
# Corrections are tried where the violation is at most CORRECTABLE times the one that counts as small, and the first of
# a step has to be at least CORRECTED_LENGTH as long as the step.
MOST_CORRECTIONS, LESS_CORRECTED, CORRECTABLE, CORRECTED_LENGTH = 4, 0.5, 100.0, 0.5
# A step that was cut so often makes the shift of its Newton matrix worth remembering, from LEAST_MEMORY on; the memory
# fades after steps that were not cut.
REMEMBERED_CUTS, LEAST_MEMORY, MEMORY_GROWTH, MOST_MEMORY, FADED = 2, 1e-2, 4.0, 1e3, 4e-3


class Judgement(NamedTuple):
    """What becomes of the trials of the barrier problem, (L,) each."""

    accepted: Array
    joins: Array  # x joins the filter
    corrects: Array  # the next trial takes a second-order correction
    cut: Array  # the step goes on with `length`
    fails: Array  # the steps from x have failed
    length: Array
    shift: Array
    duals: Duals  # after the step


def judged(memory: Any, trial: Point, descending: Array, finite: Array, sides: Sides, numbers: Numbers) -> Judgement:
    """Judges the trials of lanes that take a step of the barrier problem, (L,); `finite` says where they can be."""
    equalities = len(trial.constraints) - len(trial.slack)
    least = memory.units.least_slack(equalities, numbers)
    violation = violation_sum(trial.constraints, trial.slack)
    reached = merit(trial.value, trial.x, trial.slack, memory.mu, least, sides)
    duals = stepped(memory.duals, memory.step)
    at = errors(trial, duals, least, sides, transposed_product(trial.jacobian, duals.y))
    error = barrier_error(at, memory.mu)
    accepts = memory.filter.accepts(violation, reached)
    verdict = _verdict(
        memory.step.slope, memory.step.length, memory.violation, memory.merit, violation, reached, accepts,
        memory.limits, memory.error, error, memory.tiny, memory.cuts, memory.shift, memory.corrections,
        memory.corrected_violation, descending, finite, numbers,
    )  # fmt: skip
    accepted, joins, corrects, cut, fails, length, shift = verdict
    return Judgement(accepted, joins, corrects, cut, fails, length, shift, duals)


@kernel
def stepped(duals: Duals, step: Step) -> Duals:
    """Returns the multipliers after the step."""
    change = step.duals
    return Duals(
        duals.y + step.length * change.y,
        duals.lower + step.dual_length * change.lower,
        duals.upper + step.dual_length * change.upper,
        duals.slack + step.dual_length * change.slack,
    )


@kernel
def _verdict(
    slope: Array, length: Array, before: Array, old: Array, violation: Array, reached: Array, accepts: Array,
    limits: Array, old_error: Array, error: Array, tiny: Array, cuts: Array, shift: Array, corrections: Array,
    corrected: Array, descending: Array, finite: Array, numbers: Numbers,
) -> tuple[Array, ...]:  # fmt: skip
    """Returns the fields of the `Judgement` but the multipliers."""
    accepted, joins = _acceptable(slope, length, before, old, violation, reached, accepts, limits, tiny, numbers)
    # Where rounding hides the change of the merit the conditions themselves tell.
    hidden = jnp.abs(reached - old) <= 1e3 * numbers.eps * jnp.maximum(1, jnp.abs(old))
    hidden &= violation <= jnp.maximum(before, numbers.feasible)
    by_error = ~accepted & hidden & (error < LESS_ERROR * old_error)
    accepted, joins = descending & finite & (accepted | by_error), descending & finite & joins
    shorter = length * _cut(slope, length, reached - old, finite)
    failed = (shorter < _least_length(slope, before, limits)) | (
        (cuts + 1 >= MOST_CUTS) & (before > numbers.restorable)
    )
    rejected = descending & ~accepted
    halved = (corrections == 0) | ((corrections < MOST_CORRECTIONS) & (violation <= LESS_CORRECTED * corrected))
    corrects = rejected & finite & (cuts == 0) & halved & (violation > before) & (before <= CORRECTABLE * limits[0])
    rejected &= ~corrects
    kept = jnp.where(shift < FADED, 0, shift / MEMORY_GROWTH)
    grown = jnp.minimum(MOST_MEMORY, jnp.maximum(MEMORY_GROWTH * shift, LEAST_MEMORY))
    remembered = jnp.where(cuts >= REMEMBERED_CUTS, grown, jnp.where(cuts == 0, kept, shift))
    shift = jnp.where(accepted, remembered, shift)
    return accepted, joins, corrects, rejected & ~failed, rejected & failed, shorter, shift


def _acceptable(
    slope: Array, length: Array, before: Array, old: Array, violation: Array, reached: Array, accepts: Array,
    limits: Array, tiny: Array, numbers: Numbers,
) -> tuple[Array, Array]:  # fmt: skip
    """Returns where the trial is acceptable, and where x is to join the filter then."""
    change = reached - old - 10 * numbers.eps * jnp.abs(old)
    armijo = change <= ARMIJO * length * slope
    falls = (slope < 0) & (jnp.log(length) > _log_of_switch(slope, before))
    small = (before <= numbers.feasible) & (slope < 0)
    less_violation = (violation <= (1 - LESS_VIOLATION) * before) & ~small
    stays = ~small | (violation <= numbers.feasible) | (violation <= before)
    better = less_violation | ((change <= -LESS_MERIT * before) & stays)
    by_merit = (before <= limits[0]) & falls
    good = accepts & (violation <= limits[1]) & jnp.where(by_merit, armijo, better)
    lost = tiny > 0
    return lost | good, good & ~by_merit & ~(falls & armijo) & ~lost


def _log_of_switch(slope: Array, violation: Array) -> Array:
    """Returns the logarithm of the length above which the merit counts; logarithms, unlike powers, run on vectors."""
    least = jnp.finfo(slope.dtype).tiny
    return VIOLATION_POWER * jnp.log(jnp.maximum(violation, least)) - MERIT_POWER * jnp.log(jnp.maximum(-slope, least))


def _cut(slope: Array, length: Array, rise: Array, finite: Array) -> Array:
    """Returns the share of the length at which a parabola through both merits, with the slope at x, has its minimum."""
    curvature = 2 * (rise - slope * length)
    known = finite & (slope < 0) & (rise > 0) & (curvature > 0)
    share = jnp.clip(-slope * length / jnp.where(curvature > 0, curvature, 1), LEAST_CUT, MOST_CUT)
    return jnp.where(known, share, MOST_CUT)


def _least_length(slope: Array, violation: Array, limits: Array) -> Array:
    """Returns the length below which a step is given up."""
    fall = jnp.maximum(-slope, jnp.finfo(violation.dtype).tiny)
    by_merit = jnp.where(violation <= limits[0], jnp.exp(_log_of_switch(slope, violation)), jnp.inf)
    falling = jnp.minimum(jnp.minimum(LESS_VIOLATION, LESS_MERIT * violation / fall), by_merit)
    return jnp.maximum(0.05 * jnp.where(slope < 0, falling, LESS_VIOLATION), 1e-14)
