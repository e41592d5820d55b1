"""The lane engine: a fixed number of lanes, stepped in one compiled loop, refilled from a queue of problems.

    while a lane holds a problem:
        while enough lanes are running:            # at the queue's end: while any lane is running
            evaluate the trial points of all lanes, step, test for an end, latch
        scatter the finished lanes' results into their problems' rows; gather the next problems into those lanes

A lane whose problem is finished goes on stepping, harmlessly, until it is refilled: its result was latched when it
ended. Nothing in a step mixes lanes, so a problem's result does not depend on its lane, its neighbours or the queue.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.platform import lane_budget
from jaxcalc.core.shards import varying_axes, varying_over
from jaxcalc.core.working_set import bytes_of, working_set
from jaxcalc.engine import latch
from jaxcalc.engine.convergence import Lane, outcome
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.outlook import Record
from jaxcalc.engine.problem import Problem, Tolerances
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.rows import gather, scatter
from jaxcalc.engine.scaling import power_of_two, to_scaled
from jaxcalc.engine.status import RUNNING
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Method
from jaxcalc.methods.units import needs_units, size_of

PyTree = Any

# The share of lanes that may stand finished before they are refilled.
IDLE_SHARE = 0.08
# The share of an evaluation's working set that fused operations leave in memory.
MATERIALISED = 0.4


class Lanes(NamedTuple):
    """All that the lanes hold; points, box, values and derivatives are those of f / unit and z = x / scale."""

    row: Array  # (L,) the problem's row in the queue; the queue's length N in an idle lane
    args: Any  # the problem's arguments, lanes last or, see `Family.args_lead`, first
    box: Box
    tolerances: Tolerances  # (L,) each
    scale: Array | None  # (n, L) or (1, L); None is 1
    unit: Array | None  # (L,), of the function; None is 1
    state: Any  # the method's
    first: Array  # (L,) the value at the start
    floor: Array  # a value below this is UNBOUNDED
    record: Record | None  # of the way so far
    result: OptimizeResult  # latched, lanes last; its status is RUNNING until the problem ends


class Carry(NamedTuple):
    """What the loop carries."""

    lanes: Lanes
    results: OptimizeResult  # rows (N, ...), those of problems that have ended
    head: Array  # the next row to be loaded
    steps: Array  # so far


class Engine(NamedTuple):
    """A family, a queue whose tolerances are complete, how long a history results hold, and the starts of a problem.

    With several starts the rows of x0 are those of the first problem, then those of the second, and so on; whatever
    else belongs to a problem has one row.
    """

    family: Family
    problem: Problem
    history: int = 0
    starts: int = 1

    @classmethod
    def of(cls, family: Family, problem: Problem, history: int = 0, starts: int = 1) -> "Engine":
        """Returns the engine of a queue as the caller gave it, with defaults where tolerances were not given."""
        method = family.sized(problem.method)
        limits = method.default_maxiter(family.n), method.most_evaluations(family.n)
        tolerances = problem.tolerances.completed(family.dtype, *limits)
        queue = problem._replace(method=method, scale=power_of_two(problem.scale), tolerances=tolerances)
        return cls(family, queue, history, starts)

    def solve(self, width: int) -> OptimizeResult:
        """Solves every problem of a queue of at least one in `width` lanes; rows (N, ...) in the queue's order."""
        start = varying_over(varying_axes(self.problem), self.begin(width))
        return self.span(start, jnp.iinfo(jnp.int32).max).results

    def begin(self, width: int) -> Carry:
        """Returns what the loop carries before its first step: idle lanes, and rows that nothing is written in."""
        idle = self.idle(width)
        return Carry(idle, self.blank_rows(idle), jnp.int32(0), jnp.int32(0))

    def span(self, carry: Carry, most: Any) -> Carry:
        """Steps the lanes `most` times, or until every problem is solved; where a span ends changes no result."""
        count, width = self.problem.end, carry.lanes.row.shape[0]

        def turn(carry: Carry) -> Carry:
            lanes, head = self.refill(carry.lanes, carry.head)
            # At the queue's end there is nothing to refill with, and the last lanes run to their ends.
            enough = jnp.where(head < count, width - max(1, int(IDLE_SHARE * width)), 0)

            def goes_on(inner):
                return (jnp.sum(inner[0].result.status == RUNNING) > enough) & (inner[1] < most)

            lanes, steps = jax.lax.while_loop(
                goes_on, lambda inner: (self.step(inner[0]), inner[1] + 1), (lanes, carry.steps)
            )
            return Carry(lanes, self.hand_in(lanes, carry.results), head, steps)

        def unfinished(carry: Carry) -> Array:
            left = (carry.head < count) | jnp.any(carry.lanes.result.status == RUNNING)
            return left & (carry.steps < most)

        return jax.lax.while_loop(unfinished, turn, carry)

    def step(self, lanes: Lanes) -> Lanes:
        """Evaluates the trial points of all lanes once and takes one step in each."""
        method, shared = self.problem.method, self.problem.shared
        points = method.needs.points(lanes.state)
        evaluation, aux = self.family.evaluate_at(method.needs, points, lanes.args, shared, lanes.scale)
        return advanced(self.family, method, lanes, evaluation, aux)

    def refill(self, lanes: Lanes, head: Array) -> tuple[Lanes, Array]:
        """Loads the next problems, from row `head` on, into the lanes that have finished."""
        count, free = self.problem.end, lanes.result.status != RUNNING
        following = jnp.minimum(head + jnp.cumsum(free, dtype=jnp.int32) - 1, count)
        loaded = self.load(jnp.where(free, following, lanes.row))

        def taken(new: Array, old: Array, ahead: bool = False) -> Array:
            return jnp.where(free.reshape(-1, *[1] * (new.ndim - 1)) if ahead else free, new, old)

        args = jax.tree.map(functools.partial(taken, ahead=self.family.args_lead), loaded.args, lanes.args)
        lanes, others = (one._replace(args=None) for one in (lanes, loaded))
        lanes = jax.tree.map(taken, others, lanes)._replace(args=args)
        return lanes, jnp.minimum(head + jnp.sum(free, dtype=jnp.int32), count)

    def hand_in(self, lanes: Lanes, results: OptimizeResult) -> OptimizeResult:
        """Scatters the results of the lanes that have finished into their problems' rows."""
        row = jnp.where(lanes.result.status == RUNNING, self.problem.rows, lanes.row)
        return scatter(results, row, latch.as_rows(self.family.unravel, lanes.result, lanes.scale, lanes.unit))

    def load(self, row: Array) -> Lanes:
        """Returns lanes that are about to evaluate the starts of these rows of the queue; past its end they idle."""
        problem, family = self.problem, self.family
        inside = jnp.minimum(row, problem.rows - 1)
        whose = inside // self.starts
        scale, *sides = (_gather_side(family, side, whose) for side in (problem.scale, *problem.box))
        start = Start(
            row,
            family.ravel(gather(problem.x0, inside)),
            family.args_on_lanes(gather(problem.args, whose)),
            Box(*sides),
            scale,
            problem.tolerances.of_rows(whose),
        )
        return loaded(family, problem.method, start, row < problem.end, self.history)

    def idle(self, width: int) -> Lanes:
        """Returns lanes that hold nothing yet: of zeros, so that loading is compiled only once."""
        nobody = jnp.full(width, self.problem.rows, jnp.int32)
        lanes = self.load(nobody)
        blank = jax.tree.map(jnp.zeros_like, lanes)
        kept = {name: getattr(lanes, name) for name in ("args", "box", "scale", "tolerances")}
        return blank._replace(row=nobody, **kept)

    def blank_rows(self, lanes: Lanes) -> OptimizeResult:
        """Returns the rows of all problems, not yet written, of the shapes that these lanes hand in."""
        rows = jax.eval_shape(
            lambda lanes: latch.as_rows(self.family.unravel, lanes.result, lanes.scale, lanes.unit), lanes
        )
        return jax.tree.map(lambda leaf: jnp.zeros((self.problem.rows, *leaf.shape[1:]), leaf.dtype), rows)

    def default_width(self) -> int:
        """Returns how many lanes suit the device and the number of problems.

        What a lane holds, and what its evaluation holds at once, should stay in a cache for all lanes together, and the
        vectors of an operation in a smaller one, unless the method's operations are so small that starting them would
        take longer.
        """
        lane = jax.eval_shape(lambda: self.load(jnp.zeros(1, jnp.int32)))
        needs, shared = self.problem.method.needs, self.problem.shared

        def evaluate(state: Any, args: Any, scale: Array | None) -> Any:
            return self.family.evaluate_at(needs, needs.points(state), args, shared, scale)

        size = bytes_of((lane.state, lane.result))
        held = working_set(evaluate, lane.state, lane.args, lane.scale)
        size += MATERIALISED * (held - bytes_of(lane.state))
        budget, count = lane_budget(), self.problem.rows
        vector = self.family.n * jnp.dtype(self.family.dtype).itemsize
        fit = min(budget.lanes, max(16, min(budget.state / size, budget.vector / vector)))
        fewest = min(budget.lanes, self.problem.method.fewest_lanes(self.family.n))
        width = 2 ** round(math.log2(max(fit, fewest)))
        # Few problems need few lanes, in whole vectors where there is more than one of them.
        return min(width, 2 ** (count - 1).bit_length() if count < 16 else -(-count // 16) * 16)


class Start(NamedTuple):
    """What lanes take of the problems that they are about to solve, as the caller knows it; lanes last but for args."""

    row: Any
    x0: Any  # (n, L)
    args: Any
    box: Box
    scale: Any
    tolerances: Tolerances


def loaded(family: Family, method: Method, start: Start, occupied: Array, history: int) -> Lanes:
    """Returns lanes that are about to evaluate these starts; those that are not occupied, (L,), idle."""
    x0, box, scale = start.x0, start.box, start.scale
    if box.is_bounded:
        # NaN marks an empty box, in which there is no start, as it marks a scale that is not positive.
        x0 = jnp.where(box.lower <= box.upper, box.project(x0), jnp.nan)
    in_units = needs_units(family.dtype) and family.is_homogeneous and not method.has_fixed_rate
    scale = size_of(x0)[None] if scale is None and in_units else scale
    unit = jnp.ones(x0.shape[1], family.dtype) if in_units else None
    x0, box = to_scaled((x0, box), scale)
    state = method.init(x0, box)
    result = latch.at_start(family, method, state, history, occupied)
    known = result.fun, result.fun, Record.of(family, x0)
    return Lanes(start.row, start.args, box, start.tolerances, scale, unit, state, *known, result)


def advanced(family: Family, method: Method, lanes: Lanes, evaluation: Any, aux: PyTree) -> Lanes:
    """Returns the lanes after the step that the evaluation of their trial points makes; calls no user's function."""
    unit = _units(lanes, evaluation)
    evaluation = family.in_units(evaluation, unit)
    state = method.step(lanes.state, evaluation, lanes.box)
    known = lanes.result.nfev, lanes.first, lanes.floor, lanes.record
    lane = Lane(lanes.box, lanes.scale, unit, lanes.tolerances, *known)
    end = outcome(family, method, lane, evaluation, lanes.state, state)
    step = latch.Step(lanes.state, evaluation, aux, state, end)
    result = latch.after_step(family, method, lanes.result, step)
    return lanes._replace(state=state, unit=unit, first=end.first, floor=end.floor, record=end.record, result=result)


def _units(lanes: Lanes, evaluation: Any) -> Array | None:
    """Returns the units of the functions, which are those of their first gradients."""
    if lanes.unit is None:
        return None
    return jnp.where(lanes.result.nfev == 0, size_of(evaluation.gradient), lanes.unit)


def _gather_side(family: Family, side: Any, row: Array) -> Array | None:
    """Returns a side of the box or a scale of these rows, (n, L); a single row belongs to all problems."""
    if side is None:
        return None
    return family.ravel(jax.tree.map(lambda leaf: gather(leaf, jnp.minimum(row, len(leaf) - 1)), side))
