"""What the rows of a sweep tell beside problems a second: occupancy of the lanes, overhead, memory."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import timing
from jaxcalc.engine.lanes import IDLE_SHARE

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def occupancy(evaluations: Any, width: int) -> float:
    """Returns the share of evaluations in lanes that hold a running problem, of all that the lanes make.

    It follows from the rule of the engine's loop: lanes are refilled, in the queue's order, when IDLE_SHARE of them are
    idle, and at the queue's end the last lanes run to their ends.

    Args:
        evaluations: What each problem of the queue takes, (N,).
        width: The number of lanes.
    """
    queue = np.maximum(np.asarray(evaluations, np.int64), 1)
    idle = max(1, int(IDLE_SHARE * width))
    left, head, made = np.zeros(width, np.int64), 0, 0
    while head < len(queue) or np.any(left > 0):
        free = np.flatnonzero(left <= 0)[: len(queue) - head]
        left[free] = queue[head : head + len(free)]
        head += len(free)
        running = np.sort(left[left > 0])
        # The loop ends once at most this many lanes run.
        enough = width - idle if head < len(queue) else 0
        steps = running[max(len(running) - enough, 1) - 1]
        left -= steps
        made += int(steps) * width
    return float(queue.sum() / made)


def bare_evaluation(fun: Callable, x0: Array, args: tuple, widths: tuple[int, ...], steps: int) -> float:
    """Returns the seconds of one value and gradient, without any method, at the best of these numbers of lanes.

    The points move in the direction of the gradient by nearly nothing, so that no evaluation can be left out.
    """

    def run(x: Array, args: tuple) -> Array:
        def step(_: Any, x: Array) -> Array:
            value, gradient = jax.vmap(jax.value_and_grad(fun), in_axes=-1, out_axes=-1)(x, *args)
            return x - 1e-30 * (gradient + value)

        return jax.lax.fori_loop(0, steps, step, x)

    compiled = jax.jit(run)

    def at_width(width: int) -> float:
        def lanes(leaf: Array) -> Array:
            return jnp.moveaxis(jnp.resize(leaf, (width, *leaf.shape[1:])), 0, -1)

        first = jax.tree.map(lanes, (x0, args))
        taken, _ = timing.interleaved({"run": lambda: compiled(*first)}, 3)
        return min(taken["run"].seconds) / (width * steps)

    return min(map(at_width, widths))


def forget_peak() -> None:
    """Begins to look for the peak of memory anew, where the system allows that."""
    if CLEAR.exists():
        CLEAR.write_text("5")


def peak_memory() -> int:
    """Returns the peak of memory in bytes: the device's where it tells it, otherwise that of this process.

    A device's peak is that since the start of the process.
    """
    told = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in told:
        return int(told["peak_bytes_in_use"])
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
