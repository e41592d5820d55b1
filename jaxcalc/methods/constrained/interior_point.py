"""A primal-dual interior-point method with a filter, whose every trial is a step of the engine."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.constrained import descent, restoration
from jaxcalc.methods.constrained.barrier import (
    FIRST_PUSH,
    LEAST_UNIT,
    MOST_GRADIENT,
    Duals,
    Errors,
    Kkt,
    Numbers,
    Point,
    Sides,
    Units,
    barrier_error,
    errors,
    kkt,
    merit,
    numbers_of,
    residuals,
    safeguarded,
    violation_sum,
    worst_violation,
)
from jaxcalc.methods.constrained.filter import Filter
from jaxcalc.methods.constrained.lagrangian import LAGRANGIAN_HESSIAN, Linearized
from jaxcalc.methods.constrained.linear_algebra import transposed_product
from jaxcalc.methods.constrained.newton import Step, least_squares_multipliers, newton_step
from jaxcalc.methods.constrained.packing import Packed, chosen
from jaxcalc.methods.constrained.restoration import Restoration
from jaxcalc.methods.lane_algebra import all_finite, max_norm
from jaxcalc.methods.method import Iterate, Method, register, static_field
from jaxcalc.methods.needs import Need

# What the next evaluation is of: the start, a step of the barrier problem, one of a restoration, or the point to which
# a restoration has led, for the Hessian of the Lagrangian there.
START, DESCENT, RESTORATION, RETURN = range(4)
MOST_VARIABLES = 64
FIRST_SLACK = 1e-2
# Where mu follows: once the error is at most READY mu, to the lesser of SHRINKAGE mu and mu^1.5.
FIRST_BARRIER, READY, SHRINKAGE = 1.0, 10.0, 0.2
# A value below this, in scaled units, at a feasible point counts as unbounded; so far away x counts as lost.
UNBOUNDED, LOST = -1e12, 1e15
# The shift that is remembered when a restoration begins, at least.
RESTORED_SHIFT = 0.1
# After a restoration x is this far inside the bounds, inequalities MARGIN mu, at most MOST_MARGIN, and the multipliers
# of bounds and slacks are at most MOST_DUAL.
RETURN_PUSH, MARGIN, MOST_MARGIN, MOST_DUAL = 1e-4, 0.1, 1e-2, 1e3
# The most times that mu falls at one point.
MOST_FALLS = 5
MOST_RESTORATIONS = 8
# After CRAWLED trials in a row along steps of which boundaries leave less than SHORT a restoration begins. Restorations
# count as in a row until a step of at least REAL has been taken.
SHORT, CRAWLED, REAL = 0.02, 4, 0.1
# Multipliers beyond this, of constraints whose gradients are at most MOST_GRADIENT, are estimated anew.
MOST_MULTIPLIER = 1e12
# A step is hundreds of operations; on matrices of fewer numbers than this, of all lanes, most of the time goes into
# starting them. Measured on a CPU: of 4 variables 512 lanes are best, of 10 variables 64 to 128.
SMALL_MATRICES = 12_288


class Memory(NamedTuple):
    """What the method remembers beside the iterate; f and c in `units`."""

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
    short: Array  # (L,) int32, trials in a row along steps of which boundaries leave next to nothing
    corrections: Array  # (L,) int32, second-order corrections of the step so far
    correction: Array  # (m, L) what the last correction was to bring to zero
    corrected_violation: Array  # (L,) of the trial before it
    shift: Array  # (L,) remembered of the last Newton matrices
    slack: Array  # (m_I, L) at the trial
    multipliers: Array  # (m, L) at which the Hessian of the trial is taken, in the caller's constraints' units
    weight: Array  # (L,) of the objective there, in the caller's units
    restoration: Restoration
    limits: Array  # (2, L) of the violation: small, and larger than any trial's
    best: Array  # (2, L) the least error and the least mu so far
    evaluations: Array  # (2, L) int32, all of them and those up to the last progress
    tiny: Array  # (L,) int32, steps in a row that were lost in the rounding of x
    error: Array  # (L,) of the barrier problem's conditions at x, in scaled units
    whole_error: Array  # (L,) the same for mu = 0; infinite where x is not one of the barrier problem
    kkt: Kkt
    most_violation: Array  # (L,) what the caller allows
    infeasible: Array  # (L,)
    unbounded: Array  # (L,)


class InteriorPointState(NamedTuple):
    """Where the method stands; f and c in units."""

    iterate: Iterate
    packed: Packed  # a `Memory`

    @property
    def memory(self) -> Memory:
        """What the method remembers beside the iterate."""
        return self.packed.unpacked()


@register
@dataclasses.dataclass(frozen=True)
class InteriorPoint(Method):
    """The interior-point method; see `interior_point`.

    Attributes:
        first_barrier: The first barrier parameter. The first iterates go far from the start unless it is small.
        equalities: How many equalities there are.
        inequalities: How many inequalities there are.
    """

    first_barrier: Any = FIRST_BARRIER
    equalities: int = static_field(0)
    inequalities: int = static_field(0)

    needs: ClassVar[Need] = LAGRANGIAN_HESSIAN
    takes = "Hessians of the Lagrangian; up to 64 variables"
    factors_matrices = True
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

    def fewest_lanes(self, n: int) -> int:
        """Returns how many lanes make operations on matrices last longer than starting them takes."""
        return SMALL_MATRICES // (n * (n + self.equalities + self.inequalities))

    def init(self, x0: Array, box: Box) -> InteriorPointState:
        """Returns a state whose trial is the start, moved inside of the bounds."""
        numbers, sides = numbers_of(x0.dtype), Sides.of_box(box, x0)
        (n, lanes), m, slacks = x0.shape, self.equalities + self.inequalities, self.inequalities
        x0 = sides.inside(x0, FIRST_PUSH, FIRST_PUSH)

        def full(*shape: int, of: float = 0.0) -> Array:
            return jnp.full((*shape, lanes), of, x0.dtype)

        one, counter, never = full(of=1.0), jnp.zeros(lanes, jnp.int32), jnp.zeros(lanes, bool)
        duals = Duals(full(m), full(n), full(n), full(slacks))
        memory = Memory(
            phase=counter,
            units=Units(one, full(m, of=1.0), full(n, of=1.0)),
            point=Point(x0, full(slacks), full(), full(n), full(m), full(m, n), full(n, n)),
            duals=duals,
            mu=full() + self.first_barrier,
            least_mu=full(of=numbers.tolerance / 10),
            filter=Filter.empty(lanes, x0.dtype),
            step=Step(full(n), full(slacks), duals, one, one, full()),
            violation=full(),
            merit=full(),
            cuts=counter,
            short=counter,
            corrections=counter,
            correction=full(m),
            corrected_violation=full(),
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
            whole_error=full(of=jnp.inf),
            kkt=Kkt(full(m), full(n), full(of=jnp.inf), full(of=jnp.inf), full(of=jnp.inf), one, one),
            most_violation=full(),
            infeasible=never,
            unbounded=never,
        )
        return InteriorPointState(Iterate.at_start(x0), Packed.of(memory))

    def step(self, state: InteriorPointState, evaluation: Linearized, box: Box) -> InteriorPointState:
        """Judges the trial, and aims the next one: of the barrier problem, or of a restoration."""
        iterate, memory = state.iterate, state.memory
        numbers, sides = numbers_of(evaluation.value.dtype), Sides.of_box(box, iterate.trial)
        start, descending, restoring, returning = (memory.phase == phase for phase in range(4))
        finite = jnp.isfinite(evaluation.value) & all_finite(evaluation.gradient)
        curved = finite & jnp.all(jnp.isfinite(evaluation.hessian), axis=(0, 1))
        memory = _prepared(memory, evaluation, start, numbers)
        trial = _trial(memory, iterate.trial, evaluation, start, returning, numbers)

        judgement = descent.judged(memory, trial, descending, curved, sides, numbers)
        restored, radius = restoration.judged(memory.restoration, memory.point.x, trial, curved)
        accepted = finite & (start | returning) | judgement.accepted | (restoring & restored)
        at, point = iterate.moved(accepted, evaluation), chosen([(accepted, trial)], memory.point)
        memory = memory._replace(point=point, shift=judgement.shift)
        memory, fresh = _with_fresh_slacks(memory, judgement, restoring, restoring & restored, radius, sides, numbers)
        memory = _with_duals(memory, judgement, start, returning, fresh.starts, sides, numbers)

        goes_on = accepted & ~restoring | fresh.slack_only
        memory, lost = _settled(memory, goes_on, fresh.worst, box, sides, numbers)
        wanted = goes_on & ~lost & ~iterate.stalled & ~memory.unbounded
        memory, unknown, stuck = _directed(memory, trial, goes_on, wanted, judgement, sides, numbers)
        # Where no Newton step exists, as at a start where constraints have no slope, or where boundaries leave next to
        # nothing of one step after the other, as they do where constraints contradict each other, the violation alone
        # has a way.
        begins = unknown | (memory.short >= CRAWLED)
        begins &= (memory.violation > numbers.restorable) & (memory.restoration.count < MOST_RESTORATIONS)
        memory, fresh, goes_on = _restoring(memory, begins), fresh.entering(begins), goes_on & ~begins
        stuck |= unknown & ~begins
        # A problem can go no further from a start, or from the end of a restoration, that cannot be evaluated.
        stalled = at.stalled | lost | stuck | fresh.given_up | ((start | returning) & ~finite)
        descends = (goes_on | judgement.corrects | judgement.cut) & ~begins
        return _aimed(at._replace(stalled=stalled), memory, descends, fresh, box, sides, numbers)


def interior_point() -> InteriorPoint:
    """A primal-dual interior-point method for equalities and inequalities.

    Follows the minimisers of f - mu sum log(slack) under the constraints while mu goes to zero, by Newton's method on
    the conditions of Karush, Kuhn and Tucker with exact Hessians of the Lagrangian. A filter of pairs of violation and
    objective decides about trials; where steps fail, the violation alone is minimised for a while, which also finds out
    that constraints contradict each other. Every trial is one evaluation, and no step waits for another lane's search.

    Returns:
        The method, for `minimize(..., constraints=..., method=...)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> unit_disc = {"type": "ineq", "fun": lambda x: 1 - jnp.sum(x**2)}
        >>> result = jc.minimize(lambda x: x[0] + x[1], jnp.zeros(2), constraints=unit_disc)
        >>> bool(result.success), [round(float(v), 4) for v in result.x]
        (True, [-0.7071, -0.7071])

    Source: A. Wächter and L. Biegler, On the implementation of an interior-point filter line-search algorithm (2006);
    J. Nocedal and S. Wright, Numerical Optimization, chapter 19 (2006).
    """
    return InteriorPoint()


def _prepared(memory: Memory, evaluation: Linearized, start: Array, numbers: Numbers) -> Memory:
    """Returns the memory with one more evaluation, the units from the start's gradients, and the allowed violation."""
    most = evaluation.most_violation
    most = jnp.full_like(evaluation.value, numbers.infeasible) if most is None else most
    scale = jnp.ones_like(evaluation.gradient) if evaluation.scale is None else evaluation.scale
    value, constraints = _units(evaluation.gradient, evaluation.jacobian)
    old = memory.units
    units = Units(
        jnp.where(start, value, old.value),
        jnp.where(start, constraints, old.constraints),
        jnp.broadcast_to(scale, evaluation.gradient.shape),
    )
    counts = memory.evaluations + jnp.array([[1], [0]], jnp.int32)
    return memory._replace(units=units, most_violation=most, evaluations=counts)


@kernel
def _units(gradient: Array, jacobian: Array) -> tuple[Array, Array]:
    def unit(size: Array) -> Array:
        return jnp.clip(MOST_GRADIENT / jnp.maximum(size, jnp.finfo(size.dtype).tiny), LEAST_UNIT, 1)

    return unit(jnp.max(jnp.abs(gradient), axis=0)), unit(jnp.max(jnp.abs(jacobian), axis=1, initial=0))


def _trial(memory: Memory, x: Array, evaluation: Linearized, start: Array, returning: Array, numbers: Numbers) -> Point:
    """Returns the trial's point in `Units`."""
    units, equalities = memory.units, len(evaluation.constraints) - len(memory.slack)
    constraints = units.constraints * evaluation.constraints
    values = constraints[equalities:]
    # Slacks that lie below a feasible value are raised to it, which lowers the violation and the merit.
    least = jnp.where(values > units.least_slack(equalities, numbers), values, memory.slack)
    least = jnp.where(start, FIRST_SLACK, jnp.where(returning, memory.restoration.margin, least))
    slack = jnp.maximum(jnp.where(start | returning, values, memory.slack), least)
    hessian = jnp.where(start, units.value, 1) * evaluation.hessian
    return Point(
        x, slack, units.value * evaluation.value, units.value * evaluation.gradient, constraints,
        units.constraints[:, None] * evaluation.jacobian, jnp.where(jnp.isfinite(hessian), hessian, 0),
    )  # fmt: skip


class _Fresh(NamedTuple):
    """What becomes of lanes whose steps have failed, and of those in a restoration, (L,) each."""

    slack_only: Array  # raising the slacks to the constraints' values is enough, without an evaluation
    entered: Array  # a restoration begins
    stays: Array  # a restoration goes on
    leaves: Array  # a restoration ends
    given_up: Array
    worst: Array  # the largest violation in the caller's units

    @property
    def starts(self) -> Array:
        """Where slacks and multipliers begin afresh."""
        return self.slack_only | self.leaves

    def entering(self, where: Array) -> "_Fresh":
        """Returns this with restorations that begin where `where` holds, (L,)."""
        return self._replace(entered=self.entered | where)


def _with_fresh_slacks(
    memory: Memory, judgement: descent.Judgement, restoring: Array, restored: Array, radius: Array, sides: Sides,
    numbers: Numbers,
) -> tuple[Memory, _Fresh]:  # fmt: skip
    """Decides about lanes whose steps have failed and those in a restoration: slacks are reset where that helps."""
    point, old, fails = memory.point, memory.restoration, judgement.fails
    equalities = len(point.constraints) - len(point.slack)
    margin = jnp.where(fails, _margin(memory.mu), old.margin)
    slack = jnp.maximum(point.constraints[equalities:], margin)
    x = jnp.where(restoring, sides.inside(point.x, RETURN_PUSH, RETURN_PUSH), point.x)
    violation = violation_sum(point.constraints, slack)
    reached = merit(point.value, x, slack, memory.mu, memory.units.least_slack(equalities, numbers), sides)
    hopeless = (memory.violation < 0.1 * numbers.tolerance) | (old.count + 1 > MOST_RESTORATIONS)
    tried = fails & ~hopeless
    pairs = memory.filter.with_pair(memory.violation, memory.merit, judgement.joins | tried)
    worst = worst_violation(point.constraints, memory.units.constraints, equalities)
    needed = jnp.where(restoring, jnp.where(old.count <= 1, 0.9, 0.1 ** (old.count - 1.0)) * old.entry,
                       0.9 * memory.violation)  # fmt: skip
    better = (violation <= needed) & pairs.accepts(violation, reached)
    slack_only, leaves = tried & better, restored & (better | (worst <= 0.1 * numbers.infeasible))
    entered = tried & ~better
    own = restoration.begun(old, entered, point.x, memory.violation)._replace(
        count=jnp.where(judgement.accepted & (memory.step.length >= REAL), 0, old.count + tried), margin=margin
    )
    own = own._replace(radius=jnp.where(restoring, radius, own.radius))
    shift = jnp.minimum(descent.MOST_MEMORY, jnp.maximum(descent.MEMORY_GROWTH * memory.shift, RESTORED_SHIFT))
    fresh = slack_only | leaves
    point = point._replace(slack=jnp.where(fresh, slack, point.slack), hessian=jnp.where(entered, 0, point.hessian))
    memory = memory._replace(
        point=point, restoration=own, filter=pairs, shift=jnp.where(entered, shift, memory.shift),
        short=jnp.where(fails, 0, memory.short),
    )  # fmt: skip
    return memory, _Fresh(slack_only, entered, restoring & ~leaves, leaves, fails & hopeless, worst)


def _margin(mu: Array) -> Array:
    """Returns how far inside inequalities a restoration that begins is to end, (L,)."""
    return jnp.minimum(MOST_MARGIN, MARGIN * mu)


def _restoring(memory: Memory, where: Array) -> Memory:
    """Returns the memory with restorations that begin at x where `where` holds, (L,)."""
    point, old = memory.point, memory.restoration
    own = restoration.begun(old, where, point.x, memory.violation)._replace(
        count=old.count + where, margin=jnp.where(where, _margin(memory.mu), old.margin)
    )
    pairs = memory.filter.with_pair(memory.violation, memory.merit, where)
    point = point._replace(hessian=jnp.where(where, 0, point.hessian))
    return memory._replace(point=point, restoration=own, filter=pairs, short=jnp.where(where, 0, memory.short))


def _with_duals(
    memory: Memory, judgement: descent.Judgement, start: Array, returning: Array, afresh: Array, sides: Sides,
    numbers: Numbers,
) -> Memory:  # fmt: skip
    """Returns the memory with the multipliers at the point: after a step, at the start, and where they begin afresh."""
    old, point = memory.duals, memory.point
    least = memory.units.least_slack(len(point.constraints) - len(point.slack), numbers)
    dtype = point.x.dtype
    first = Duals(old.y, sides.has_lower.astype(dtype), sides.has_upper.astype(dtype), jnp.ones_like(old.slack))
    capped = Duals(
        old.y,
        jnp.minimum(old.lower, MOST_DUAL),
        jnp.minimum(old.upper, MOST_DUAL),
        jnp.minimum(memory.mu / (point.slack - least), MOST_DUAL),
    )
    duals = chosen([(start, first), (afresh, capped), (judgement.accepted, judgement.duals)], old)
    # A step along constraints whose slopes vanish leaves multipliers that mean nothing.
    senseless = judgement.accepted & ~(max_norm(duals.y) <= MOST_MULTIPLIER)
    estimated = start | afresh | senseless
    y = least_squares_multipliers(point, duals, sides, estimated)
    duals = duals._replace(y=jnp.where(estimated, y, duals.y))
    safe = safeguarded(duals, point.x, point.slack, memory.mu, least, sides)
    return memory._replace(duals=chosen([(judgement.accepted | afresh | returning, safe)], duals))


def _settled(
    memory: Memory, goes_on: Array, worst: Array, box: Box, sides: Sides, numbers: Numbers
) -> tuple[Memory, Array]:
    """Returns the memory at a point of the barrier problem, with the mu that suits its errors, and where x is lost."""
    point, duals, units = memory.point, memory.duals, memory.units
    least_slack = units.least_slack(len(point.constraints) - len(point.slack), numbers)
    transposed = transposed_product(point.jacobian, duals.y)
    at, at_point = errors(point, duals, least_slack, sides, transposed), kkt(point, duals, units, box, worst)
    error, barrier, mu, least_mu, tiny, emptied = _barrier_parameter(memory, at, numbers)
    progress = (error < 0.9 * memory.best[0]) | (mu < 0.9 * memory.best[1])
    best = jnp.where(progress, jnp.minimum(jnp.stack([error, mu]), memory.best), memory.best)
    last = jnp.where(progress, memory.evaluations[0], memory.evaluations[1])
    distance = max_norm(point.x)
    unbounded = (point.value < UNBOUNDED) & (worst < 1e-5 * jnp.maximum(1, distance))
    lost = (distance > LOST) | (memory.evaluations[0] - last > numbers.patience)
    violation = violation_sum(point.constraints, point.slack)
    limits = jnp.stack([1e-4 * jnp.maximum(1, violation), 1e2 * jnp.maximum(1, violation)])
    new = {
        "mu": mu,
        "least_mu": least_mu,
        "best": best,
        "evaluations": jnp.stack([memory.evaluations[0], last]),
        "tiny": tiny,
        "error": barrier,
        "violation": violation,
        "merit": merit(point.value, point.x, point.slack, mu, least_slack, sides),
        "limits": jnp.where(memory.phase == START, limits, memory.limits),
        "unbounded": unbounded,
    }
    settled = chosen([(goes_on, new)], {name: getattr(memory, name) for name in new})
    # What the result says of x is true of every x; only where the barrier problem goes on may it be the solution.
    memory = memory._replace(
        **settled, filter=memory.filter.emptied(emptied & goes_on), kkt=at_point,
        whole_error=jnp.where(goes_on, error, jnp.inf),
    )  # fmt: skip
    return memory, goes_on & lost


def _barrier_parameter(memory: Memory, at: Errors, numbers: Numbers) -> tuple[Array, ...]:
    """Returns the error for mu = 0 and for the new mu, mu, the least mu, the count of tiny steps, and where mu fell."""

    def turn(carry):
        k, (whole, _, mu, least_mu, tiny, emptied), _ = carry
        first = k == 0
        error = barrier_error(at, jnp.where(first, 0, mu))
        # Whoever still runs at an error within the tolerance has multipliers so large, or bounds so weakly active, that
        # the caller's conditions want a lower barrier.
        more = first & (error <= numbers.tolerance) & (least_mu > numbers.least_barrier)
        least_mu = jnp.where(more, 0.1 * least_mu, least_mu)
        lower = jnp.where(first, (tiny >= 1) & ~more, (k <= MOST_FALLS) & (error <= READY * mu)) & (
            mu > 1.01 * least_mu
        )
        lowered = jnp.maximum(least_mu, jnp.minimum(SHRINKAGE * mu, mu * jnp.sqrt(mu)))
        mu = jnp.where(more, least_mu, jnp.where(lower, lowered, mu))
        tiny, emptied = jnp.where(lower, 0, tiny), emptied | lower | more
        return k + 1, (jnp.where(first, error, whole), error, mu, least_mu, tiny, emptied), lower

    def unfinished(carry):
        # The first turn has the error for mu = 0 alone; where mu has not fallen a further turn changes nothing.
        k, _, fell = carry
        return (k <= 1) | jnp.any(fell)

    zero, never = jnp.zeros_like(memory.mu), jnp.zeros(memory.mu.shape, bool)
    start = zero, zero, memory.mu, memory.least_mu, memory.tiny, never
    return jax.lax.while_loop(unfinished, turn, (0, start, never))[1]


def _directed(
    memory: Memory, trial: Point, goes_on: Array, wanted: Array, judgement: descent.Judgement, sides: Sides,
    numbers: Numbers,
) -> tuple[Memory, Array, Array]:  # fmt: skip
    """Returns the memory with the next step, where there is none, and where it has been too short again, (L,) each.

    The step is Newton's where the barrier problem goes on and where corrections have failed, then half as long; a
    corrected one where the trial asks for it; and else the step before, cut.
    """
    point, old = memory.point, memory.step
    least = memory.units.least_slack(len(point.constraints) - len(point.slack), numbers)
    residual, first = residuals(point.constraints, point.slack), memory.corrections == 0
    correction = old.length * jnp.where(first, residual, memory.correction) + residuals(trial.constraints, trial.slack)
    residual = jnp.where(judgement.corrects, correction, residual)
    again = judgement.cut & ~first
    wanted |= judgement.corrects | again
    step, known = newton_step(point, residual, memory.duals, memory.mu, least, sides, memory.shift, wanted, numbers)
    moved = jnp.maximum(max_norm(step.x / (1 + jnp.abs(point.x))), max_norm(step.slack / (1 + jnp.abs(point.slack))))
    tiny = (moved < 10 * numbers.eps) & (memory.violation < 1e-4)
    stuck = goes_on & tiny & (memory.tiny >= 1)
    corrects = judgement.corrects & known & (~first | (step.length >= descent.CORRECTED_LENGTH * old.length))
    shorter = judgement.cut | (judgement.corrects & ~corrects)
    short = memory.short + ((memory.short > 0) & shorter)
    cut = old._replace(length=jnp.where(shorter, judgement.length, old.length))
    corrected = step._replace(duals=old.duals, dual_length=old.dual_length, slope=old.slope)
    step = step._replace(length=jnp.where(again, descent.MOST_CUT * step.length, step.length))
    memory = memory._replace(
        step=chosen([(goes_on | again, step), (corrects, corrected)], cut),
        tiny=jnp.where(goes_on, jnp.where(tiny, memory.tiny + 1, 0), memory.tiny),
        cuts=jnp.where(goes_on, 0, memory.cuts + shorter),
        short=jnp.where(goes_on | again, jnp.where(step.length < SHORT, memory.short + 1, 0), short),
        correction=residual,
        corrected_violation=violation_sum(trial.constraints, trial.slack),
        corrections=jnp.where(corrects, memory.corrections + 1, 0),
    )
    return memory, goes_on & ~known, stuck


def _aimed(
    at: Iterate, memory: Memory, descends: Array, fresh: _Fresh, box: Box, sides: Sides, numbers: Numbers
) -> InteriorPointState:
    """Returns the state with the next trial, and where no trial makes sense, the word that the problem has ended."""
    point, step, in_restoration = memory.point, memory.step, fresh.entered | fresh.stays
    aim = restoration.aimed(point, memory.restoration, box, in_restoration, fresh.entered, numbers)
    trial = sides.inside(point.x + step.length * step.x, 4 * numbers.eps, 0.25)
    back = sides.inside(point.x, RETURN_PUSH, RETURN_PUSH)
    y = memory.duals.y + step.length * step.duals.y
    trial = jnp.where(descends, trial, jnp.where(fresh.leaves, back, aim.trial))
    y = jnp.where(descends, y, jnp.where(fresh.leaves, memory.duals.y, aim.multipliers))
    ended = in_restoration & aim.stationary
    infeasible = memory.infeasible | (ended & (fresh.worst > numbers.infeasible))
    stalled = at.stalled | (ended & ~infeasible)
    phase = jnp.where(descends, DESCENT, jnp.where(fresh.leaves, RETURN, RESTORATION))
    own = memory.restoration._replace(
        predicted=jnp.where(in_restoration, aim.predicted, memory.restoration.predicted),
        square=jnp.where(in_restoration, aim.square, memory.restoration.square),
    )
    memory = memory._replace(
        phase=phase.astype(jnp.int32),
        slack=jnp.where(descends, point.slack + step.length * step.slack, memory.slack),
        multipliers=y * memory.units.constraints,
        weight=jnp.where(descends | fresh.leaves, memory.units.value, 0),
        restoration=own,
        infeasible=infeasible,
    )
    over = infeasible | stalled | memory.unbounded
    at = at._replace(trial=jnp.where(over, at.x, trial), stalled=stalled)
    return InteriorPointState(at, Packed.of(memory))
