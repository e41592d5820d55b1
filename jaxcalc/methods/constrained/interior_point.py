"""A primal-dual interior-point method with a filter, whose every trial is a step of the engine."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.box import Box
from jaxcalc.methods.constrained import descent, restoration
from jaxcalc.methods.constrained.barrier import (
    FIRST_PUSH,
    LEAST_UNIT,
    MOST_GRADIENT,
    Duals,
    Kkt,
    Point,
    Sides,
    Units,
    barrier_error,
    errors,
    kkt,
    merit,
    numbers_of,
    safeguarded,
    violation_sum,
)
from jaxcalc.methods.constrained.filter import Filter
from jaxcalc.methods.constrained.lagrangian import LAGRANGIAN_HESSIAN, Linearized
from jaxcalc.methods.constrained.linear_algebra import transposed_product
from jaxcalc.methods.constrained.newton import Step, least_squares_multipliers, newton_step
from jaxcalc.methods.constrained.restoration import Restoration
from jaxcalc.methods.lane_algebra import all_finite, max_norm
from jaxcalc.methods.method import Iterate, Method, register, static_field

# What the next evaluation is of: the start, a step of the barrier problem, one of a restoration, or the point to which
# a restoration has led, for the Hessian of the Lagrangian there.
START, DESCENT, RESTORATION, RETURN = range(4)
MOST_VARIABLES = 64
FIRST_SLACK = 1e-2
# Where mu follows: once the error is at most READY mu, to the lesser of SHRINKAGE mu and mu^POWER.
FIRST_BARRIER, READY, SHRINKAGE, POWER = 1.0, 10.0, 0.2, 1.5
# A value below this, in scaled units, at a feasible point counts as unbounded; so far away x counts as lost.
UNBOUNDED, LOST = -1e12, 1e15
# Shifts that are remembered after steps that had to be cut.
LEAST_MEMORY, MEMORY_GROWTH, MOST_MEMORY = 1e-2, 4.0, 1e3
# After a restoration x is this far inside the bounds, and the multipliers of bounds and slacks are at most MOST_DUAL.
RETURN_PUSH, MOST_DUAL = 1e-4, 1e3
MOST_RESTORATIONS = 8


class InteriorPointState(NamedTuple):
    """Where the method stands; f and c in `units`."""

    iterate: Iterate
    phase: Array  # (L,) int32
    units: Units
    point: Point
    duals: Duals
    mu: Array  # (L,)
    least_mu: Array  # (L,) mu goes no lower than this
    filter: Filter
    step: Step
    violation: Array  # (L,) |c_E| + |c_I - s| summed at x
    merit: Array  # (L,) the barrier problem's objective at x
    cuts: Array  # (L,) how often the step has been cut
    shift: Array  # (L,) remembered of the last Newton matrices
    slack: Array  # (m_I, L) at the trial
    multipliers: Array  # (m, L) at which the Hessian of the trial is taken
    weight: Array  # (L,) of the objective there, in the caller's units
    restoration: Restoration
    limits: Array  # (2, L) of the violation: small, and larger than any trial's
    best: Array  # (2, L) the least error and the least mu so far
    evaluations: Array  # (2, L) int32, all of them and those up to the last progress
    tiny: Array  # (L,) int32, steps in a row that were lost in the rounding of x
    error: Array  # (L,) of the conditions at x, in scaled units
    kkt: Kkt
    most_violation: Array  # (L,) what the caller allows
    infeasible: Array  # (L,)
    unbounded: Array  # (L,)


@register
@dataclasses.dataclass(frozen=True)
class InteriorPoint(Method):
    """The interior-point method; see `interior_point`."""

    equalities: int = static_field(0)
    inequalities: int = static_field(0)

    needs = LAGRANGIAN_HESSIAN
    takes = "Hessians of the Lagrangian; up to 64 variables"
    suits = "constraints"

    def for_constraints(self, equalities: int, inequalities: int) -> "InteriorPoint":
        """Returns this method for so many constraints."""
        return dataclasses.replace(self, equalities=equalities, inequalities=inequalities)

    def default_maxiter(self, n: int) -> int:
        """Returns 1000: problems that are solved take fewer than a hundred."""
        return 1000

    def most_evaluations(self, n: int) -> int:
        """Returns 10: several trials in a row are seldom rejected."""
        return 10

    def init(self, x0: Array, box: Box) -> InteriorPointState:
        """Returns a state whose trial is the start, moved inside of the bounds."""
        numbers, sides = numbers_of(x0.dtype), Sides.of_box(box, x0)
        (n, lanes), m, slacks = x0.shape, self.equalities + self.inequalities, self.inequalities
        x0 = sides.inside(x0, FIRST_PUSH, FIRST_PUSH)

        def full(*shape: int, of: float = 0.0) -> Array:
            return jnp.full((*shape, lanes), of, x0.dtype)

        one, counter, never = full(of=1.0), jnp.zeros(lanes, jnp.int32), jnp.zeros(lanes, bool)
        duals = Duals(full(m), full(n), full(n), full(slacks))
        return InteriorPointState(
            iterate=Iterate.at_start(x0),
            phase=counter,
            units=Units(one, full(m, of=1.0), full(n, of=1.0)),
            point=Point(x0, full(slacks), full(), full(n), full(m), full(m, n), full(n, n)),
            duals=duals,
            mu=full(of=FIRST_BARRIER),
            least_mu=full(of=numbers.tolerance / 10),
            filter=Filter.empty(lanes, x0.dtype),
            step=Step(full(n), full(slacks), duals, one, one, full()),
            violation=full(),
            merit=full(),
            cuts=counter,
            shift=full(),
            slack=full(slacks),
            multipliers=full(m),
            weight=one,
            restoration=Restoration(one, one, full(), full(), counter, full()),
            limits=full(2),
            best=full(2, of=jnp.inf),
            evaluations=jnp.zeros((2, lanes), jnp.int32),
            tiny=counter,
            error=full(of=jnp.inf),
            kkt=Kkt(full(m), full(n), full(of=jnp.inf), full(of=jnp.inf), full(of=jnp.inf), one),
            most_violation=full(),
            infeasible=never,
            unbounded=never,
        )

    def step(self, state: InteriorPointState, evaluation: Linearized, box: Box) -> InteriorPointState:
        """Judges the trial, and aims the next one: of the barrier problem, or of a restoration."""
        numbers, sides = numbers_of(evaluation.value.dtype), Sides.of_box(box, state.iterate.trial)
        state = state._replace(evaluations=state.evaluations.at[0].add(1))
        start, at_step = state.phase == START, state.phase == DESCENT
        restoring, returning = state.phase == RESTORATION, state.phase == RETURN
        finite = jnp.isfinite(evaluation.value) & all_finite(evaluation.gradient)
        curved = finite & jnp.all(jnp.isfinite(evaluation.hessian), axis=(0, 1))
        state = _with_units(state, evaluation, start, numbers)
        trial = _trial(state, evaluation, start)

        judgement = descent.judged(state, trial, at_step, curved, sides, numbers)
        r = restoration.violations(trial.constraints, self.inequalities, state.restoration.margin)
        square, moved_by = 0.5 * jnp.sum(r * r, axis=0), max_norm(trial.x - state.point.x)
        restored, radius = restoration.judged(state.restoration, square, curved, moved_by)
        accepted = finite & (start | returning) | (at_step & judgement.accepted) | (restoring & restored)

        at = state.iterate.moved(accepted, evaluation)
        state = state._replace(filter=judgement.filter, shift=judgement.shift)
        point = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), trial, state.point)
        reset = descent.reset(state, at_step & judgement.restores, sides, numbers)
        leaves = restoring & restored & _may_leave(state, trial, sides, numbers)
        slack = jnp.where(reset.slack_only, reset.slack, jnp.where(leaves, _restored_slack(state, trial), point.slack))
        point = point._replace(slack=slack)
        duals = _duals(self, state, point, start, returning, judgement, reset.slack_only | leaves, sides, numbers)
        state = state._replace(
            restoration=state.restoration._replace(
                radius=jnp.where(restoring, radius, state.restoration.radius),
                count=jnp.where(at_step & judgement.accepted, 0, state.restoration.count),
            ),
            iterate=at,
            point=point,
            duals=duals,
        )
        state = _entered(state, reset, sides, numbers)
        goes_on = accepted & (start | returning | at_step) | reset.slack_only
        state = _settled(state, goes_on, box, sides, numbers)
        state = _directed(state, goes_on, judgement, sides, numbers)
        return _aimed(state, goes_on, judgement, reset, restoring & ~leaves, leaves, finite, box, sides, numbers)


def interior_point() -> InteriorPoint:
    """A primal-dual interior-point method for equalities and inequalities.

    Follows the minimisers of f - mu sum log(slack) under the constraints while mu goes to zero, by Newton's method on the
    conditions of Karush, Kuhn and Tucker with exact Hessians of the Lagrangian. A filter of (violation, objective) pairs
    decides about trials; where steps fail, the violation alone is minimised for a while, which also finds out that
    constraints contradict each other. Every trial is one evaluation, and no step waits for another lane's search.

    Returns:
        The method, for `minimize(..., constraints=..., method=...)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> unit_disc = {"type": "ineq", "fun": lambda x: 1 - jnp.sum(x**2)}
        >>> result = jc.minimize(lambda x: x[0] + x[1], jnp.zeros(2), constraints=unit_disc)
        >>> bool(result.success), result.x.round(4).tolist()
        (True, [-0.7071, -0.7071])

    Source: A. Wächter and L. Biegler, On the implementation of an interior-point filter line-search algorithm (2006);
    J. Nocedal and S. Wright, Numerical Optimization, chapter 19 (2006).
    """
    return InteriorPoint()


def _with_units(state: InteriorPointState, evaluation: Linearized, start: Array, numbers: Any) -> InteriorPointState:
    """Returns the state with the units that follow from the gradients at the start, and what the caller allows."""
    tiny = jnp.finfo(evaluation.value.dtype).tiny

    def unit(size: Array) -> Array:
        return jnp.clip(MOST_GRADIENT / jnp.maximum(size, tiny), LEAST_UNIT, 1)

    rows = jnp.max(jnp.abs(evaluation.jacobian), axis=1, initial=0)
    old = state.units
    most = evaluation.most_violation
    most = jnp.full_like(evaluation.value, 10 * numbers.tolerance * 10) if most is None else most
    scale = jnp.ones_like(evaluation.gradient) if evaluation.scale is None else evaluation.scale
    units = Units(
        jnp.where(start, unit(max_norm(evaluation.gradient)), old.value),
        jnp.where(start, unit(rows), old.constraints),
        jnp.broadcast_to(scale, evaluation.gradient.shape),
    )
    return state._replace(units=units, most_violation=most)


def _trial(state: InteriorPointState, evaluation: Linearized, start: Array) -> Point:
    """Returns the trial's point in `Units`."""
    units, equalities = state.units, len(evaluation.constraints) - len(state.slack)
    constraints = units.constraints * evaluation.constraints
    values = constraints[equalities:]
    least = units.least_slack(equalities, numbers_of(values.dtype))
    # Slacks that lie below a feasible value are raised to it, which lowers the violation and the merit.
    slack = jnp.maximum(state.slack, jnp.where(values > least, values, state.slack))
    slack = jnp.where(start, jnp.maximum(values, FIRST_SLACK), slack)
    slack = jnp.where(state.phase == RETURN, jnp.maximum(values, state.restoration.margin), slack)
    hessian = jnp.where(start, units.value * evaluation.hessian, evaluation.hessian)
    return Point(
        state.iterate.trial, slack, units.value * evaluation.value, units.value * evaluation.gradient, constraints,
        units.constraints[:, None] * evaluation.jacobian, jnp.where(jnp.isfinite(hessian), hessian, 0),
    )  # fmt: skip


def _restored_slack(state: InteriorPointState, trial: Point) -> Array:
    equalities = len(trial.constraints) - len(trial.slack)
    return jnp.maximum(trial.constraints[equalities:], state.restoration.margin)


def _may_leave(state: InteriorPointState, trial: Point, sides: Sides, numbers: Any) -> Array:
    """Returns where a restoration has brought the violation down so far that the barrier problem may go on."""
    slack, units = _restored_slack(state, trial), state.units
    equalities = len(trial.constraints) - len(slack)
    violation = violation_sum(trial.constraints, slack)
    inside = sides.inside(trial.x, RETURN_PUSH, RETURN_PUSH)
    reached = merit(trial.value, inside, slack, state.mu, units.least_slack(equalities, numbers), sides)
    count = state.restoration.count
    needed = jnp.where(count <= 1, 0.9, 0.1 ** (count - 1.0))
    raw = trial.constraints / units.constraints
    worst = jnp.maximum(max_norm(raw[:equalities]), max_norm(jnp.minimum(raw[equalities:], 0)))
    lower = (violation <= needed * state.restoration.entry) & state.filter.accepts(violation, reached)
    return lower | (worst <= 0.1 * numbers.infeasible)


def _duals(
    method: InteriorPoint, state: InteriorPointState, point: Point, start: Array, returning: Array, judgement: Any,
    afresh: Array, sides: Sides, numbers: Any,
) -> Duals:  # fmt: skip
    """Returns the multipliers at the point: after a step, at the start, and afresh where slacks have been reset."""
    duals, least = state.duals, state.units.least_slack(method.equalities, numbers)
    stepped = judgement.duals
    first = Duals(duals.y, 1.0 * sides.has_lower, 1.0 * sides.has_upper, jnp.ones_like(duals.slack))
    capped = Duals(
        duals.y,
        jnp.minimum(duals.lower, MOST_DUAL),
        jnp.minimum(duals.upper, MOST_DUAL),
        jnp.minimum(state.mu / (point.slack - least), MOST_DUAL),
    )
    cases = (start, first), (afresh, capped), (judgement.accepted, stepped)
    for where, new in reversed(cases):
        duals = jax.tree.map(lambda new, old, where=where: jnp.where(where, new, old), new, duals)
    estimated = start | afresh
    y = least_squares_multipliers(point, duals, estimated)
    duals = duals._replace(y=jnp.where(estimated, y, duals.y))
    safe = safeguarded(duals, point.x, point.slack, state.mu, least, sides)
    kept = ~(judgement.accepted | afresh | returning)
    return jax.tree.map(lambda new, old: jnp.where(kept, old, new), safe, duals)


def _entered(state: InteriorPointState, reset: Any, sides: Sides, numbers: Any) -> InteriorPointState:
    """Returns the state in which restorations have been entered, or the slacks been reset."""
    tried, entered, old = reset.tried, reset.entered, state.restoration
    own = Restoration(
        radius=jnp.where(entered, jnp.maximum(1, max_norm(state.point.x)), old.radius),
        predicted=old.predicted,
        square=old.square,
        entry=jnp.where(entered, state.violation, old.entry),
        count=old.count + tried,
        margin=jnp.where(tried, reset.margin, old.margin),
    )
    shift = jnp.minimum(MOST_MEMORY, jnp.maximum(MEMORY_GROWTH * state.shift, 10 * LEAST_MEMORY))
    hessian = jnp.where(entered, 0, state.point.hessian)
    return state._replace(
        restoration=own,
        shift=jnp.where(entered, shift, state.shift),
        filter=reset.filter,
        point=state.point._replace(hessian=hessian),
    )


def _settled(state: InteriorPointState, goes_on: Array, box: Box, sides: Sides, numbers: Any) -> InteriorPointState:
    """Returns the state at a point of the barrier problem, with the barrier parameter that suits its errors."""
    point, duals, units = state.point, state.duals, state.units
    equalities = len(point.constraints) - len(point.slack)
    least_slack = units.least_slack(equalities, numbers)
    at = errors(point, duals, least_slack, sides, transposed_product(point.jacobian, duals.y))
    error, at_point = barrier_error(at, jnp.zeros_like(state.mu), sides), kkt(point, duals, units, box)
    # Whoever still runs at an error within the tolerance has multipliers so large, or bounds so weakly active, that the
    # caller's conditions want a lower barrier.
    more = (error <= numbers.tolerance) & (state.least_mu > numbers.least_barrier)
    least_mu = jnp.where(more, 0.1 * state.least_mu, state.least_mu)
    mu, emptied = jnp.where(more, least_mu, state.mu), more
    progress = (error < 0.9 * state.best[0]) | (mu < 0.9 * state.best[1])
    best = jnp.where(progress, jnp.minimum(jnp.stack([error, mu]), state.best), state.best)
    last = jnp.where(progress, state.evaluations[0], state.evaluations[1])
    stuck, tiny = (state.tiny >= 1) & (mu > 1.01 * least_mu), state.tiny
    for turn in range(6):
        lower = stuck if turn == 0 else (barrier_error(at, mu, sides) <= READY * mu) & (mu > least_mu)
        mu = jnp.where(lower, jnp.maximum(least_mu, jnp.minimum(SHRINKAGE * mu, mu**POWER)), mu)
        emptied, tiny = emptied | lower, jnp.where(lower, 0, tiny)
    unbounded = (point.value < UNBOUNDED) & (at_point.violation < 1e-5 * jnp.maximum(1, max_norm(point.x)))
    lost = (max_norm(point.x) > LOST) | (state.evaluations[0] - last > numbers.patience)
    settled = state._replace(
        mu=mu,
        least_mu=least_mu,
        filter=state.filter.emptied(emptied & goes_on),
        best=best,
        evaluations=jnp.stack([state.evaluations[0], last]),
        tiny=tiny,
        error=error,
        kkt=at_point,
        violation=violation_sum(point.constraints, point.slack),
        merit=merit(point.value, point.x, point.slack, mu, least_slack, sides),
        unbounded=unbounded,
        iterate=state.iterate._replace(stalled=state.iterate.stalled | lost),
    )
    first = state.phase == START
    limits = jnp.maximum(1, settled.violation)
    settled = settled._replace(limits=jnp.where(first, jnp.stack([1e-4 * limits, 1e2 * limits]), state.limits))
    settled = jax.tree.map(lambda new, old: jnp.where(goes_on, new, old), settled, state)
    # What the result says of x is true of every x; only where the barrier problem goes on may it be the solution.
    return settled._replace(kkt=at_point, error=jnp.where(goes_on, error, jnp.inf))


def _directed(
    state: InteriorPointState, goes_on: Array, judgement: Any, sides: Sides, numbers: Any
) -> InteriorPointState:
    """Returns the state with a Newton step where the barrier problem goes on, and a shorter one where it was cut."""
    least = state.units.least_slack(len(state.point.constraints) - len(state.slack), numbers)
    wanted = goes_on & ~state.iterate.stalled & ~state.unbounded
    step, known = newton_step(state.point, state.duals, state.mu, least, sides, state.shift, wanted, numbers)
    x, slack = state.point.x, state.point.slack
    moved = jnp.maximum(max_norm(step.x / (1 + jnp.abs(x))), max_norm(step.slack / (1 + jnp.abs(slack))))
    tiny = (moved < 10 * numbers.eps) & (state.violation < 1e-4)
    stalled = ~known | (tiny & (state.tiny >= 1))
    cut = state.step._replace(length=judgement.length)
    step = jax.tree.map(
        lambda new, old: jnp.where(goes_on, new, old),
        step,
        jax.tree.map(lambda a, b: jnp.where(judgement.cut, a, b), cut, state.step),
    )
    at = state.iterate
    return state._replace(
        step=step,
        tiny=jnp.where(goes_on, jnp.where(tiny, state.tiny + 1, 0), state.tiny),
        cuts=jnp.where(goes_on, 0, state.cuts + judgement.cut),
        iterate=at._replace(stalled=at.stalled | (goes_on & stalled)),
    )


def _aimed(
    state: InteriorPointState, goes_on: Array, judgement: Any, reset: Any, restoring: Array, leaves: Array,
    finite: Array, box: Box, sides: Sides, numbers: Any,
) -> InteriorPointState:  # fmt: skip
    """Returns the state with the next trial, and where no trial makes sense, the word that the method has stalled."""
    in_restoration = reset.entered | restoring
    aim = restoration.aimed(state.point, state.point.hessian, state.restoration, box, in_restoration, numbers)
    step, point, at = state.step, state.point, state.iterate
    trial = sides.inside(point.x + step.length * step.x, 4 * numbers.eps, 0.25)
    back = sides.inside(point.x, RETURN_PUSH, RETURN_PUSH)
    descends = goes_on | judgement.cut
    trial = jnp.where(descends, trial, jnp.where(leaves, back, aim.trial))
    y = jnp.where(
        descends, state.duals.y + step.length * step.duals.y, jnp.where(leaves, state.duals.y, aim.multipliers)
    )
    violated = state.units.constraints
    raw = point.constraints / violated
    equalities = len(raw) - len(point.slack)
    worst = jnp.maximum(max_norm(raw[:equalities]), max_norm(jnp.minimum(raw[equalities:], 0)))
    ended = in_restoration & aim.stationary
    infeasible = state.infeasible | (ended & (worst > numbers.infeasible))
    lost = ((state.phase == START) | (state.phase == RETURN)) & ~finite
    stalled = at.stalled | reset.given_up | lost | (ended & (worst <= numbers.infeasible))
    over = infeasible | stalled | state.unbounded
    phase = jnp.where(descends, DESCENT, jnp.where(leaves, RETURN, RESTORATION))
    slack = point.slack + step.length * step.slack
    return state._replace(
        iterate=at._replace(trial=jnp.where(over, at.x, trial), stalled=stalled),
        phase=phase.astype(jnp.int32),
        slack=jnp.where(descends, slack, state.slack),
        multipliers=y,
        weight=jnp.where(descends | leaves, state.units.value, 0),
        restoration=state.restoration._replace(
            predicted=jnp.where(in_restoration, aim.predicted, state.restoration.predicted),
            square=jnp.where(in_restoration, aim.square, state.restoration.square),
        ),
        infeasible=infeasible,
    )
