"""Every fact about devices that the library acts on: what differs between CPUs, GPUs and TPUs stands here alone."""

import contextlib
import contextvars
import functools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.backend import backends


class LaneBudget(NamedTuple):
    """How much the lanes of a solve may hold together, in bytes, and how many lanes there are at most."""

    state: float  # all that a step reads and writes
    vector: float  # one vector of n numbers a lane
    lanes: int


# On a CPU the state should stay in the second-level cache of a core, and the three vectors of an operation in the first
# level, of 32 kB; elsewhere the lanes should fill the device. A program of 2^16 lanes takes the compiler for TPUs three
# times as long as one of 2^13.
LANE_BUDGETS = {
    "cpu": LaneBudget(250_000, 11_000, 512),
    "gpu": LaneBudget(2**28, math.inf, 2**16),
    "tpu": LaneBudget(2**28, math.inf, 2**13),
}


def lane_budget(platform: str | None = None) -> LaneBudget:
    """Returns the budget of a platform, by default of the one that computes."""
    return LANE_BUDGETS.get(platform or jax.default_backend(), LANE_BUDGETS["gpu"])


_traced_for: contextvars.ContextVar[str | None] = contextvars.ContextVar("_traced_for", default=None)


def only_platform() -> str | None:
    """Returns the platform on which every array of this process lies; None where there are several."""
    names = set(backends())
    return names.pop() if len(names) == 1 else None


@contextlib.contextmanager
def traced_for(platform: str | None) -> Iterator[None]:
    """Traces, of what differs between platforms, the part of this one alone; all parts if it is None.

    Else every part is traced, though one is compiled: a third of the time of tracing.
    """
    before = _traced_for.set(platform)
    try:
        yield
    finally:
        _traced_for.reset(before)


def platform_of_trace() -> str | None:
    """Returns the platform that `traced_for` has named; None where the trace must serve any."""
    return _traced_for.get()


def _depends(*operands: Any, default: Callable, **of: Callable) -> Any:
    platform = platform_of_trace()
    if platform is not None:
        return of.get(platform, default)(*operands)
    return jax.lax.platform_dependent(*operands, default=default, **of)


def recomputes_cheap_operations(*operands: Any, where_so: Callable, elsewhere: Callable) -> Any:
    """Calls `where_so` where the compiler copies a cheap operation into each of its uses, as XLA does on a CPU."""
    return _depends(*operands, cpu=where_so, default=elsewhere)


def pads_the_last_axis(*operands: Any, where_so: Callable, elsewhere: Callable) -> Any:
    """Calls `where_so` where memory pads the last axis of an array, on a TPU to 128 entries."""
    return _depends(*operands, tpu=where_so, default=elsewhere)


def quick_to_compile() -> dict[str, Any] | None:
    """Returns options of `jax.jit` for a program that takes longer to compile than to run.

    On a CPU half of the compile time is LLVM's optimiser, and half of the rest that of emitting fusions one by one.
    """
    quick = {
        "xla_backend_optimization_level": 0,
        "xla_cpu_use_fusion_emitters": False,
        "xla_cpu_parallel_codegen_split_count": 1,
    }
    return _known(**quick) if jax.default_backend() == "cpu" else None


@functools.cache
def _known(**options: Any) -> dict[str, Any]:
    """Returns those of the compiler's options that this version knows; others are errors."""

    def is_known(options: dict[str, Any]) -> bool:
        try:
            jax.jit(lambda: 0, compiler_options=options).lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
        return True

    if is_known(options):
        return options
    return {name: value for name, value in options.items() if is_known({name: value})}


def without_recomputation() -> dict[str, Any] | None:
    """Returns options of `jax.jit` for a program of many small matrix operations that use each other's results.

    On a CPU, XLA's emitters of fusions compute a factor of a matrix again for each entry that uses it; with the older
    emitters such a program runs up to ten times as fast, and compiles in half of the time. Others run slower by them.
    """
    return _known(xla_cpu_use_fusion_emitters=False) if jax.default_backend() == "cpu" else None


def shares_memory_with_host() -> bool:
    """Returns whether NumPy reads the arrays of the device that computes without a transfer."""
    return jax.default_backend() == "cpu"


def device_name() -> str:
    """Returns the kind of the first device; of a CPU with the number of cores that this process may use."""
    kind = jax.devices()[0].device_kind
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{kind}, cores: {cores}" if jax.default_backend() == "cpu" else kind
