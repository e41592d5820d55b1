"""Steady-state timing: first calls apart, contestants in turn, every single timing kept."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Timing:
    """What one contestant took: its first call (tracing and compilation included) and its steady calls, in seconds."""

    first: float
    seconds: list[float]

    @property
    def median(self) -> float:
        """The median of the steady calls, in seconds."""
        return statistics.median(self.seconds)


def pin_to_one_core() -> list[int] | None:
    """Keeps this process on one core and returns the cores it may use; None where the platform cannot say.

    Beside an accelerator the process keeps its cores, which only compile and feed the device.
    """
    if not hasattr(os, "sched_setaffinity") or _has_accelerator():
        return None
    # The last one, because interrupts tend to be served by the first.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return sorted(os.sched_getaffinity(0))


def _has_accelerator() -> bool:
    """Says whether JAX is about to start on a GPU or TPU, without starting it."""
    if wanted := os.environ.get("JAX_PLATFORMS"):
        return wanted.partition(",")[0] != "cpu"
    return any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/kfd", "/dev/accel0", "/dev/vfio/0"))


def seconds(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    """Returns how long a call took until its arrays were there, and what it returned."""
    import jax

    start = clock()
    result = jax.block_until_ready(call())
    return clock() - start, result


def interleaved(
    contestants: Mapping[str, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Times the contestants in turn, A B C A B C ..., so that a slow minute of the machine falls on all of them.

    Every contestant runs once before that, which is its first call; returns the timings and the results by name. With
    `time.process_time` as the clock it is the time of this process on its core: where short calls are compared with
    long ones, which share the core with other processes more often, only that is fair.
    """
    timings, results = {}, {}
    for name, call in contestants.items():
        first, results[name] = seconds(call, clock)
        timings[name] = Timing(first, [])
    for _ in range(repeats):
        for name, call in contestants.items():
            timings[name].seconds.append(seconds(call, clock)[0])
    return timings, results
