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

from jaxcalc.engine.objective import Objective, PyTree
from jaxcalc.methods.lane_algebra import all_finite, dot, kernel, max_norm
from jaxcalc.methods.method import Evaluation, Method, Status

RUNNING = -1
# The share of lanes that may stand finished before they are refilled.
IDLE_SHARE = 0.08
# Bytes for the lanes' state, and the most lanes: on a CPU the state should stay in the second-level cache of a core,
# elsewhere the lanes should fill the device.
LANE_MEMORY = {"cpu": (250_000, 256), "gpu": (2**28, 2**16), "tpu": (2**28, 2**16)}
# A fall of so many times the scale of the start is without end.
UNBOUNDED_FALL = 1e20


class Queue(NamedTuple):
    """The problems: leaves of x0 and args have a leading axis N; gtol and maxiter are () or (N,)."""

    x0: PyTree
    args: tuple
    gtol: Array
    maxiter: Array


class Results(NamedTuple):
    """What is handed in for each problem; in the lanes flat (n, L), in the output rows (N, ...)."""

    x: PyTree
    value: Array
    gradient: PyTree
    status: Array
    nit: Array
    nfev: Array
    aux: PyTree


class Lanes(NamedTuple):
    """All that the lanes hold."""

    problem: Array  # (L,) the row of the queue; its length N in an idle lane
    args: tuple  # its arguments, lanes last
    state: Any  # the method's
    floor: Array  # a value below this is UNBOUNDED
    result: Results  # latched; its status is RUNNING until the problem ends


def solve(method: Method, objective: Objective, queue: Queue, shared: tuple, lanes: int) -> Results:
    """Solves every problem of a queue of at least one and returns their results in the queue's order."""
    count = len(jax.tree.leaves(queue.x0)[0])

    def step(of: Lanes) -> Lanes:
        trial = of.state.trial
        evaluation, aux = objective.evaluate(trial, of.args, shared)
        state = method.step(of.state, evaluation, None, None)
        row = jnp.minimum(of.problem, count - 1)
        return _judge(of, trial, evaluation, aux, state, _take(queue.gtol, row), _take(queue.maxiter, row))

    def refill(of: Lanes, head: Array) -> tuple[Lanes, Array]:
        free = of.result.status != RUNNING
        following = jnp.minimum(head + jnp.cumsum(free, dtype=jnp.int32) - 1, count)
        loaded = _load(method, objective, queue, jnp.where(free, following, of.problem))
        of = jax.tree.map(lambda new, old: jnp.where(free, new, old), loaded, of)
        return of, jnp.minimum(head + jnp.sum(free, dtype=jnp.int32), count)

    def hand_in(of: Lanes, results: Results) -> Results:
        row = jnp.where(of.result.status == RUNNING, count, of.problem)
        of_lanes = _as_rows(objective, of.result._replace(nit=jnp.maximum(of.result.nit, 0)))
        return jax.tree.map(lambda rows, new: rows.at[row].set(new, mode="drop"), results, of_lanes)

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

    start = (_idle(method, objective, queue, lanes), empty_results(objective, count), jnp.int32(0))
    return jax.lax.while_loop(unfinished, turn, start)[1]


def empty_results(objective: Objective, count: int) -> Results:
    """Returns the rows of `count` problems, not yet written."""
    x = objective.unravel(jnp.zeros((objective.n, count), objective.dtype))
    counter = jnp.zeros(count, jnp.int32)
    aux = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), objective.aux)
    return Results(x, jnp.zeros(count, objective.dtype), x, counter, counter, counter, aux)


def default_lanes(method: Method, objective: Objective, queue: Queue, count: int) -> int:
    """Returns how many lanes suit the device, the size of a lane's state and the number of problems."""
    lane = jax.eval_shape(lambda: _load(method, objective, queue, jnp.zeros(1, jnp.int32)))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((lane.state, lane.result)))
    budget, most = LANE_MEMORY.get(jax.default_backend(), LANE_MEMORY["gpu"])
    lanes = 2 ** round(math.log2(min(most, max(16, budget / size))))
    # Few problems need few lanes, in whole vectors where there is more than one of them.
    return min(lanes, 2 ** (count - 1).bit_length() if count < 16 else -(-count // 16) * 16)


def _take(leaf: Array, row: Array) -> Array:
    """Returns these rows of what belongs to the problems, or the one number that is common to all."""
    return leaf[row] if leaf.ndim else leaf


def _load(method: Method, objective: Objective, queue: Queue, problem: Array) -> Lanes:
    """Returns lanes that are about to evaluate the starts of these rows of the queue; past its end they idle."""
    lanes, count = len(problem), len(jax.tree.leaves(queue.x0)[0])
    row = jnp.minimum(problem, count - 1)
    x0 = objective.ravel(jax.tree.map(lambda leaf: leaf[row], queue.x0))
    args = jax.tree.map(lambda leaf: jnp.moveaxis(leaf[row], 0, -1), queue.args)
    aux = jax.tree.map(lambda leaf: jnp.zeros((*leaf.shape, lanes), leaf.dtype), objective.aux)
    status = jnp.where(problem < count, RUNNING, Status.SUCCESS).astype(jnp.int32)
    value, counter = jnp.zeros(lanes, objective.dtype), jnp.zeros(lanes, jnp.int32)
    result = Results(x0, value, x0, status, counter, counter, aux)
    return Lanes(problem, args, method.init(x0, None, None), value, result)


def _idle(method: Method, objective: Objective, queue: Queue, lanes: int) -> Lanes:
    """Returns lanes that hold nothing yet: of zeros, so that loading is compiled only once."""
    nobody = jnp.full(lanes, len(jax.tree.leaves(queue.x0)[0]), jnp.int32)
    of = _load(method, objective, queue, nobody)
    return jax.tree.map(jnp.zeros_like, of)._replace(problem=nobody, args=of.args)


def _as_rows(objective: Objective, result: Results) -> Results:
    """Returns the lanes' results with lanes first and x and gradient in the form of the start."""
    return result._replace(
        x=objective.unravel(result.x),
        gradient=objective.unravel(result.gradient),
        aux=jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), result.aux),
    )


def _judge(
    lanes: Lanes, trial: Array, evaluation: Evaluation, aux: PyTree, state: Any, gtol: Array, maxiter: Array
) -> Lanes:
    """Latches what each running problem has reached, and says of each whether it has ended and how."""
    before, (value, gradient) = lanes.result, evaluation
    finite, first_change = all_finite(gradient), dot(gradient, state.trial - trial)
    at_start = before.nfev == 0
    floor = _floor(at_start, value, first_change, lanes.floor)
    seen = Seen(value, finite, floor, max_norm(state.gradient), state.stalled, state.nit)
    status, at_trial = _status(at_start, seen, gtol, maxiter)
    running = before.status == RUNNING
    moved = running & (at_trial | jnp.all(state.x == trial, axis=0)) if jax.tree.leaves(aux) else running
    result = Results(
        x=_latch(running, at_trial, trial, state.x, before.x),
        value=_latch(running, at_trial, value, state.value, before.value),
        gradient=_latch(running, at_trial, gradient, state.gradient, before.gradient),
        status=jnp.where(running, status, before.status),
        nit=jnp.where(running, state.nit, before.nit),
        nfev=before.nfev + running,
        aux=jax.tree.map(lambda new, old: jnp.where(moved, new, old), aux, before.aux),
    )
    return lanes._replace(state=state, floor=floor, result=result)


class Seen(NamedTuple):
    """What decides a status after a step."""

    value: Array  # at the trial
    finite: Array  # the gradient at the trial
    floor: Array
    largest: Array  # component of the gradient at x
    stalled: Array
    nit: Array


@kernel
def _floor(at_start: Array, value: Array, first_change: Array, floor: Array) -> Array:
    """Returns the value below which a problem counts as unbounded."""
    return jnp.where(at_start, value - UNBOUNDED_FALL * (jnp.abs(value) + jnp.abs(first_change)), floor)


@kernel
def _status(at_start: Array, seen: Seen, gtol: Array, maxiter: Array) -> tuple[Array, Array]:
    """Returns the status of every lane after a step, and whether the trial itself shows it."""
    finite = seen.finite & jnp.isfinite(seen.value)
    unbounded = (seen.value == -jnp.inf) | (finite & (seen.value < seen.floor))
    invalid = at_start & ~(finite & (gtol >= 0) & (maxiter >= 0))
    cases = (
        (Status.UNBOUNDED, unbounded),
        (Status.INVALID, invalid),
        (Status.SUCCESS, seen.largest <= gtol),
        (Status.NON_FINITE, seen.stalled & ~finite),
        (Status.STALLED, seen.stalled),
        (Status.MAX_ITERATIONS, seen.nit >= maxiter),
    )
    status = jnp.full(seen.value.shape, RUNNING, jnp.int32)
    for code, holds in reversed(cases):
        status = jnp.where(holds, jnp.int32(code), status)
    return status, unbounded | invalid


@kernel
def _latch(running: Array, at_trial: Array, trial: Array, reached: Array, before: Array) -> Array:
    """Returns what a running lane has reached: no method moves to the trial that ends a problem badly."""
    return jnp.where(running, jnp.where(at_trial, trial, reached), before)
