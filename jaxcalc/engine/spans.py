"""The loop in spans: one program, called again and again, each time for about a quarter of a second.

Between spans the host shows progress and hears Ctrl-C; nothing that has been solved is lost. Where a span ends changes
no bit of a result, so its length may follow the clock.
"""

import dataclasses
import functools
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcalc.core.platform import without_recomputation
from jaxcalc.core.programs import compiled
from jaxcalc.core.progress import progress_line
from jaxcalc.engine.interruption import Interrupted, listening
from jaxcalc.engine.lanes import Carry, Engine
from jaxcalc.engine.padding import first_rows, is_at_hand
from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.status import RUNNING, Status, is_success
from jaxcalc.methods.method import Method

# Seconds of a span, and steps of the first one, whose length is not known yet.
SPAN, FIRST_STEPS = 0.25, 16

# The time of a step when a program last ran, in seconds.
_step_times: weakref.WeakKeyDictionary[Callable, float] = weakref.WeakKeyDictionary()


def solved_in_spans(
    fun: Callable, queue: Problem, count: int, options: Options, progress: bool
) -> OptimizeResult | None:
    """Returns the results of the first `count` problems of a queue, without certificates.

    None is returned where the host cannot hold what the loop carries: arrays on several devices, or random keys.

    Args:
        fun: The user's function, or its trace.
        queue: The queue, padded or not.
        count: The number of problems.
        options: The options.
        progress: Whether a line in the terminal says how far the call is.

    Raises:
        Interrupted: At Ctrl-C, with what has been solved.
    """
    program = compiled(_span, [fun], compiler_options=loop_options(queue.method))
    shapes = jax.eval_shape(functools.partial(compiled(_begun, [fun]), options), queue)
    if not all(map(is_at_hand, jax.tree.leaves((queue, shapes)))):
        return None
    carry = _blank(shapes)
    step_time, steps = _step_times.get(program), 0
    try:
        with progress_line(count, progress) as show, listening() as is_interrupted:
            while not _has_ended(carry, count):
                steps = int(carry.steps)
                more = FIRST_STEPS if step_time is None else max(1, int(SPAN / step_time))
                began = time.perf_counter()
                carry = jax.block_until_ready(program(options, queue, carry, np.int32(steps + more)))
                step_time = (time.perf_counter() - began) / max(1, int(carry.steps) - steps)
                if progress:
                    show(*_ended_and_converged(carry.results.status, count))
                if is_interrupted():
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        results = compiled(_handed_in, [fun])(options, queue, carry)
        raise Interrupted(first_rows(_with_starts(results, queue), count)) from None
    if steps and step_time is not None:  # the first span held the compilation
        _step_times[program] = step_time
    return first_rows(carry.results, count)


def loop_options(method: Method) -> dict[str, Any] | None:
    """Returns the options of the compiler for a method's loop, which only a program outside of all others may have."""
    return without_recomputation() if method.factors_matrices else None


def _has_ended(carry: Carry, count: int) -> bool:
    return int(carry.head) >= count and not np.any(np.asarray(carry.lanes.result.status) == RUNNING)


def _ended_and_converged(status: Any, count: int) -> tuple[int, int]:
    codes = np.asarray(status)[:count]
    return int(np.sum(codes != RUNNING)), int(np.sum(is_success(codes)))


def _begun(functions: Sequence[Callable], options: Options, queue: Problem) -> Carry:
    engine = _engine(functions, options, queue)
    return engine.begin(options.lanes or engine.default_width())


def _span(functions: Sequence[Callable], options: Options, queue: Problem, carry: Carry, most: Any) -> Carry:
    return _engine(functions, options, queue).span(carry, most)


def _engine(functions: Sequence[Callable], options: Options, queue: Problem) -> Engine:
    family = options.family.for_queue(options.family.prepared(functions[0]), queue, options.has_aux)
    return Engine.of(family, queue, options.history, options.starts)


def _blank(shapes: Carry) -> Carry:
    """Returns idle lanes and empty rows, of zeros: a program that made them would have to be compiled."""
    carry = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    lanes = carry.lanes._replace(row=np.full_like(carry.lanes.row, len(carry.results.status)))
    status = np.full_like(carry.results.status, RUNNING)
    return carry._replace(lanes=lanes, results=dataclasses.replace(carry.results, status=status))


def _handed_in(functions: Sequence[Callable], options: Options, queue: Problem, carry: Carry) -> OptimizeResult:
    """Returns the rows, with where the lanes stand that are under way."""
    result = carry.lanes.result
    status = jnp.where(result.status == RUNNING, Status.INTERRUPTED, result.status)
    lanes = carry.lanes._replace(result=dataclasses.replace(result, status=status))
    return _engine(functions, options, queue).hand_in(lanes, carry.results)


def _with_starts(results: OptimizeResult, queue: Problem) -> OptimizeResult:
    """Returns the rows, with the starts of problems that no lane has taken yet."""
    rows = jax.tree.map(np.array, results)
    waits = rows.status == RUNNING
    for row, start in zip(jax.tree.leaves(rows.x), jax.tree.leaves(queue.x0), strict=True):
        row[waits] = np.asarray(start)[waits]
    for leaf in (rows.fun, *jax.tree.leaves(rows.jac)):
        leaf[waits] = np.nan
    rows.status[waits] = Status.INTERRUPTED
    return jax.device_put(rows)
