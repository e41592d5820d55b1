"""The lane engine: a fixed number of lanes, stepped in one compiled loop, refilled from a queue of problems.

    while a lane holds a problem:
        while enough lanes are running:            # all of the queue's end is "enough"
            evaluate the trial points of all lanes, step, judge
        write the finished lanes' results to their problems' rows; load the next problems into those lanes

A lane whose problem is finished goes on stepping, harmlessly, until it is refilled: its result was latched when it
ended. Nothing in a step mixes lanes, so a problem's result does not depend on its lane, its neighbours or the queue.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.shards import varying_axes, varying_over
from jaxcalc.engine.judgement import RUNNING, Bounds, Limits, Verdict, judge
from jaxcalc.engine.objective import Objective, PyTree
from jaxcalc.engine.rows import taken, written
from jaxcalc.engine.units import from_units, to_units
from jaxcalc.methods.lane_algebra import all_finite
from jaxcalc.methods.method import Evaluation, Method, Status
from jaxcalc.programs import kernel

# What a method needs that counts as an evaluation of second derivatives.
SECOND_ORDER = ("hessian", "product")
# The share of lanes that may stand finished before they are refilled.
IDLE_SHARE = 0.08
# Bytes for the lanes' state, and the most lanes: on a CPU the state should stay in the second-level cache of a core,
# elsewhere the lanes should fill the device. A program of 2^16 lanes takes the compiler for TPUs three times as long as
# one of 2^13.
LANE_MEMORY = {"cpu": (250_000, 256), "gpu": (2**28, 2**16), "tpu": (2**28, 2**13)}


class Queue(NamedTuple):
    """The problems: leaves of x0 and args have a leading axis N, bounds and scale N or 1; the limits are () or (N,)."""

    x0: PyTree
    args: tuple
    limits: Limits
    bounds: Bounds = Bounds()  # in the form of x0
    scale: PyTree = None  # in the form of x0, powers of two; None is 1


class Results(NamedTuple):
    """What is handed in for each problem; in the lanes flat (n, L), of x / scale, in the output rows (N, ...)."""

    x: PyTree
    value: Array
    gradient: PyTree
    status: Array
    nit: Array
    nfev: Array
    aux: PyTree
    history: Array | None  # (k, L): the values of the last k iterates, the latest last
    nhev: Array | None


class Lanes(NamedTuple):
    """All that the lanes hold; points, bounds and derivatives are those of x / scale."""

    problem: Array  # (L,) the row of the queue; its length N in an idle lane
    args: tuple  # its arguments, lanes last
    bounds: Bounds
    scale: Array | None  # (n, L)
    state: Any  # the method's
    floor: Array  # a value below this is UNBOUNDED
    result: Results  # latched; its status is RUNNING until the problem ends


def solve(method: Method, objective: Objective, queue: Queue, shared: tuple, lanes: int, history: int = 0) -> Results:
    """Solves every problem of a queue of at least one and returns their results in the queue's order."""
    count = len(jax.tree.leaves(queue.x0)[0])

    def step(of: Lanes) -> Lanes:
        evaluation, aux = objective.evaluate(of.state, of.args, shared, method.needs, of.scale)
        state = method.step(of.state, evaluation, *of.bounds)
        row = jnp.minimum(of.problem, count - 1)
        limits = jax.tree.map(lambda leaf: leaf[row] if leaf.ndim else leaf, queue.limits)
        at_start, leaving = of.result.nfev == 0, method.leaving(state)
        verdict = judge(at_start, of.floor, evaluation, of.state, state, leaving, of.bounds, of.scale, limits)
        result = _latch(of.result, verdict, of.state, evaluation, aux, state)
        return of._replace(state=state, floor=verdict.floor, result=result)

    def refill(of: Lanes, head: Array) -> tuple[Lanes, Array]:
        free = of.result.status != RUNNING
        following = jnp.minimum(head + jnp.cumsum(free, dtype=jnp.int32) - 1, count)
        loaded = _load(method, objective, queue, history, jnp.where(free, following, of.problem))
        of = jax.tree.map(lambda new, old: jnp.where(free, new, old), loaded, of)
        return of, jnp.minimum(head + jnp.sum(free, dtype=jnp.int32), count)

    def hand_in(of: Lanes, results: Results) -> Results:
        row = jnp.where(of.result.status == RUNNING, count, of.problem)
        of_lanes = _as_rows(objective, of.result._replace(nit=jnp.maximum(of.result.nit, 0)), of.scale)
        return written(results, row, of_lanes)

    def turn(carry):
        of, results, head = carry
        of, head = refill(of, head)
        # At the queue's end there is nothing to refill with, and the last lanes run to their ends.
        enough = jnp.where(head < count, lanes - max(1, int(IDLE_SHARE * lanes)), 0)
        of = jax.lax.while_loop(lambda of: jnp.sum(of.result.status == RUNNING) > enough, step, of)
        return of, hand_in(of, results), head

    def unfinished(carry):
        of, _, head = carry
        return (head < count) | jnp.any(of.result.status == RUNNING)

    rows = empty_results(method, objective, count, history)
    start = (_idle(method, objective, queue, history, lanes), rows, jnp.int32(0))
    return jax.lax.while_loop(unfinished, turn, varying_over(varying_axes((method, queue, shared)), start))[1]


def empty_results(method: Method, objective: Objective, count: int, history: int = 0) -> Results:
    """Returns the rows of `count` problems, not yet written."""
    x = objective.unravel(jnp.zeros((objective.n, count), objective.dtype))
    counter = jnp.zeros(count, jnp.int32)
    aux = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), objective.aux)
    values = jnp.zeros((count, history), objective.dtype) if history else None
    nhev = counter if method.needs in SECOND_ORDER else None
    return Results(x, jnp.zeros(count, objective.dtype), x, counter, counter, counter, aux, values, nhev)


def default_lanes(method: Method, objective: Objective, queue: Queue, count: int) -> int:
    """Returns how many lanes suit the device, the size of a lane's state and the number of problems."""
    lane = jax.eval_shape(lambda: _load(method, objective, queue, 0, jnp.zeros(1, jnp.int32)))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((lane.state, lane.result)))
    budget, most = LANE_MEMORY.get(jax.default_backend(), LANE_MEMORY["gpu"])
    lanes = 2 ** round(math.log2(min(most, max(16, budget / size))))
    # Few problems need few lanes, in whole vectors where there is more than one of them.
    return min(lanes, 2 ** (count - 1).bit_length() if count < 16 else -(-count // 16) * 16)


def _load(method: Method, objective: Objective, queue: Queue, history: int, problem: Array) -> Lanes:
    """Returns lanes that are about to evaluate the starts of these rows of the queue; past its end they idle."""
    lanes, count = len(problem), len(jax.tree.leaves(queue.x0)[0])
    row = jnp.minimum(problem, count - 1)
    x0 = objective.ravel(taken(queue.x0, row))
    scale, *bounds = _load_sides(objective, (queue.scale, *queue.bounds), row)
    bounds = Bounds(*bounds)
    if bounds.lower is not None and bounds.upper is not None:
        # An empty box has no point to start from, which NaN says, as it does in a scale that is none.
        x0 = jnp.where(bounds.lower <= bounds.upper, jnp.clip(x0, *bounds), jnp.nan)
    x0, bounds = to_units((x0, bounds), scale)
    args = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), taken(queue.args, row))
    aux = jax.tree.map(lambda leaf: jnp.zeros((*leaf.shape, lanes), leaf.dtype), objective.aux)
    # Where there is no start nothing is evaluated: fun may not depend on the variable that is not a number.
    status = jnp.where(all_finite(x0), RUNNING, Status.INVALID)
    status = jnp.where(problem < count, status, Status.SUCCESS).astype(jnp.int32)
    value, counter = jnp.full(lanes, jnp.nan, objective.dtype), jnp.zeros(lanes, jnp.int32)
    values = jnp.full((history, lanes), jnp.nan, objective.dtype) if history else None
    nhev = counter if method.needs in SECOND_ORDER else None
    result = Results(x0, value, jnp.full_like(x0, jnp.nan), status, counter, counter, aux, values, nhev)
    return Lanes(problem, args, bounds, scale, method.init(x0, *bounds), value, result)


def _load_sides(objective: Objective, sides: Any, row: Array) -> Any:
    """Returns bounds or a scale of these rows of the queue, lanes last; of a single row what all problems share."""
    sides = (jax.tree.map(lambda leaf: taken(leaf, jnp.minimum(row, len(leaf) - 1)), side) for side in sides)
    return [None if side is None else objective.ravel(side) for side in sides]


def _idle(method: Method, objective: Objective, queue: Queue, history: int, lanes: int) -> Lanes:
    """Returns lanes that hold nothing yet: of zeros, so that loading is compiled only once."""
    nobody = jnp.full(lanes, len(jax.tree.leaves(queue.x0)[0]), jnp.int32)
    of = _load(method, objective, queue, history, nobody)
    return jax.tree.map(jnp.zeros_like, of)._replace(problem=nobody, args=of.args, bounds=of.bounds, scale=of.scale)


def _as_rows(objective: Objective, result: Results, scale: Array | None) -> Results:
    """Returns the lanes' results with lanes first and x and gradient in the form and the units of the start."""
    return result._replace(
        x=objective.unravel(from_units(result.x, scale)),
        gradient=objective.unravel(to_units(result.gradient, scale)),
        **jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), {"aux": result.aux, "history": result.history}),
    )


def _latch(before: Results, verdict: Verdict, at: Any, evaluation: Evaluation, aux: PyTree, state: Any) -> Results:
    """Returns what each running problem has reached after the step `at` -> `state`; what has ended stays."""
    running = before.status == RUNNING
    moved = running & verdict.moved
    values = before.history
    if values is not None:
        values = jnp.where(moved, jnp.concatenate([values[1:], state.value[None]]), values)
    return Results(
        x=_reached(running, verdict.at_trial, at.trial, state.x, before.x),
        value=_reached(running, verdict.at_trial, evaluation.value, state.value, before.value),
        gradient=_reached(running, verdict.at_trial, evaluation.gradient, state.gradient, before.gradient),
        status=jnp.where(running, verdict.status, before.status),
        nit=jnp.where(running, state.nit, before.nit),
        nfev=before.nfev + running,
        aux=jax.tree.map(lambda new, old: jnp.where(moved, new, old), aux, before.aux),
        history=values,
        nhev=None if before.nhev is None else before.nhev + (running & _is_second_order(at, evaluation)),
    )


def _is_second_order(at: Any, evaluation: Evaluation) -> Array | bool:
    """Returns where a Hessian was evaluated, or a product with it asked for, (L,)."""
    return True if evaluation.product is None else jnp.any(at.direction != 0, axis=0)


@kernel
def _reached(running: Array, at_trial: Array, trial: Array, reached: Array, before: Array) -> Array:
    return jnp.where(running, jnp.where(at_trial, trial, reached), before)
