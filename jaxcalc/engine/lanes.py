"""The lane engine: a fixed number of lanes, stepped in one compiled loop, refilled from a queue of problems.

    while a lane holds a problem:
        while enough lanes are running:            # all of the queue's end is "enough"
            evaluate the trial points of all lanes, step, judge
        write the finished lanes' results to their problems' rows; load the next problems into those lanes

A lane whose problem is finished goes on stepping, harmlessly, until it is refilled: its result was latched when it
ended. Nothing in a step mixes lanes, so a problem's result does not depend on its lane, its neighbours or the queue.
"""

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
LANE_MEMORY = {"cpu": (2**18, 512), "gpu": (2**28, 2**16), "tpu": (2**28, 2**16)}
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

    problem: Array  # (L,) the row of the queue, N in an idle lane
    args: tuple  # its arguments, lanes last
    gtol: Array
    maxiter: Array
    state: Any  # the method's
    floor: Array  # a value below this is UNBOUNDED
    result: Results  # latched; its status is RUNNING until the problem ends


def solve(method: Method, objective: Objective, queue: Queue, shared: tuple, lanes: int) -> Results:
    """Solves every problem of a queue of at least one and returns their results in the queue's order."""
    count = len(jax.tree.leaves(queue.x0)[0])

    def load(problem: Array) -> Lanes:
        return _load(method, objective, queue, problem)

    def step(lanes: Lanes) -> Lanes:
        trial = lanes.state.trial
        evaluation, aux = objective.evaluate(trial, lanes.args, shared)
        return _judge(lanes, trial, evaluation, aux, method.step(lanes.state, evaluation, None, None))

    def hand_in_and_refill(of: Lanes, results: Results, head: Array):
        finished = (of.result.status != RUNNING) & (of.problem < count)
        row = jnp.where(finished, of.problem, count)
        of_lanes = _as_rows(objective, of.result)
        results = jax.tree.map(lambda rows, new: rows.at[row].set(new, mode="drop"), results, of_lanes)
        following = jnp.minimum(head + jnp.cumsum(finished, dtype=jnp.int32) - 1, count)
        loaded = load(jnp.where(finished, following, of.problem))
        of = jax.tree.map(lambda new, old: jnp.where(finished, new, old), loaded, of)
        return of, results, head + jnp.sum(finished, dtype=jnp.int32)

    def turn(carry):
        of, results, head = carry
        # At the queue's end there is nothing to refill with, and the last lanes run to their ends.
        enough = jnp.where(head < count, lanes - max(1, int(IDLE_SHARE * lanes)), 0)
        of = jax.lax.while_loop(lambda of: jnp.sum(of.result.status == RUNNING) > enough, step, of)
        return hand_in_and_refill(of, results, head)

    of = load(jnp.minimum(jnp.arange(lanes, dtype=jnp.int32), count))
    start = (of, empty_results(objective, count), jnp.int32(min(lanes, count)))
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0].problem < count), turn, start)[1]


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
    fit = min(most, max(16, budget // size))
    lanes = 2 ** (fit.bit_length() - 1)
    # Few problems need few lanes, in whole vectors where there is more than one of them.
    return min(lanes, 2 ** (count - 1).bit_length() if count < 16 else -(-count // 16) * 16)


def _load(method: Method, objective: Objective, queue: Queue, problem: Array) -> Lanes:
    """Returns lanes that are about to evaluate the starts of these rows of the queue; past its end they idle."""
    lanes, count = len(problem), len(jax.tree.leaves(queue.x0)[0])
    row = jnp.minimum(problem, count - 1)

    def take(leaf):
        return leaf[row] if leaf.ndim else jnp.broadcast_to(leaf, (lanes,))

    x0 = objective.ravel(jax.tree.map(take, queue.x0))
    args = jax.tree.map(lambda leaf: jnp.moveaxis(leaf[row], 0, -1), queue.args)
    aux = jax.tree.map(lambda leaf: jnp.zeros((*leaf.shape, lanes), leaf.dtype), objective.aux)
    status = jnp.where(problem < count, RUNNING, Status.SUCCESS).astype(jnp.int32)
    value, counter = jnp.zeros(lanes, objective.dtype), jnp.zeros(lanes, jnp.int32)
    result = Results(x0, value, x0, status, counter, counter, aux)
    return Lanes(problem, args, take(queue.gtol), take(queue.maxiter), method.init(x0, None, None), value, result)


def _as_rows(objective: Objective, result: Results) -> Results:
    """Returns the lanes' results with lanes first and x and gradient in the form of the start."""
    return result._replace(
        x=objective.unravel(result.x),
        gradient=objective.unravel(result.gradient),
        aux=jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), result.aux),
    )


def _judge(lanes: Lanes, trial: Array, evaluation: Evaluation, aux: PyTree, state: Any) -> Lanes:
    """Latches what each running problem has reached, and says of each whether it has ended and how."""
    before, (value, gradient) = lanes.result, evaluation
    finite = jnp.isfinite(value) & all_finite(gradient)
    first_change = dot(gradient, state.trial - trial)
    floor, status = _status(lanes, state, value, finite, first_change, max_norm(state.gradient))
    # These two end at the point that shows it, to which no method would have moved.
    at_trial = (status == Status.UNBOUNDED) | (status == Status.INVALID)
    running = before.status == RUNNING

    def keep(new, old):
        return jnp.where(running, new, old)

    result = Results(
        x=keep(jnp.where(at_trial, trial, state.x), before.x),
        value=keep(jnp.where(at_trial, value, state.value), before.value),
        gradient=keep(jnp.where(at_trial, gradient, state.gradient), before.gradient),
        status=keep(status, before.status),
        nit=keep(jnp.maximum(state.nit, 0), before.nit),
        nfev=before.nfev + running,
        aux=before.aux,
    )
    if jax.tree.leaves(aux):
        moved = running & (at_trial | jnp.all(state.x == trial, axis=0))
        result = result._replace(aux=jax.tree.map(lambda new, old: jnp.where(moved, new, old), aux, before.aux))
    return lanes._replace(state=state, floor=floor, result=result)


@kernel
def _status(lanes: Lanes, state: Any, value: Array, finite: Array, first_change: Array, largest: Array):
    """Returns the value below which a problem counts as unbounded, and the status of every lane after a step."""
    at_start = lanes.result.nfev == 0
    floor = jnp.where(at_start, value - UNBOUNDED_FALL * (jnp.abs(value) + jnp.abs(first_change)), lanes.floor)
    valid = finite & (lanes.gtol >= 0) & (lanes.maxiter >= 0)
    cases = (
        (Status.UNBOUNDED, (value == -jnp.inf) | (finite & (value < floor))),
        (Status.INVALID, at_start & ~valid),
        (Status.SUCCESS, largest <= lanes.gtol),
        (Status.NON_FINITE, state.stalled & ~finite),
        (Status.STALLED, state.stalled),
        (Status.MAX_ITERATIONS, state.nit >= lanes.maxiter),
    )
    status = jnp.full(value.shape, RUNNING, jnp.int32)
    for code, holds in reversed(cases):
        status = jnp.where(holds, jnp.int32(code), status)
    return floor, status
