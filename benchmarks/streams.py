"""What a stream of problems costs: `python -m benchmarks.streams`, the figures of `docs/scaling.md`.

Peak memory at 10^5, 10^6 and 10^7 problems, each in a process of its own that compiles its program; wall time with one
thread and with two, in turns. The second means something on a machine without other work.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxcalc as jc

SIZES = (100_000, 1_000_000, 10_000_000)
CHUNK, TURNS = 50_000, 4


def rosenbrock(x, curvature):
    """Rosenbrock's function of two variables."""
    return curvature * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def problems(start: int, stop: int) -> tuple[Any, Any]:
    """Returns the starts and the curvatures of these problems, drawn anew for each chunk."""
    random, count = np.random.default_rng(start), stop - start
    return random.uniform(-2, 2, (count, 2)), (10 ** random.uniform(0, 2, count),)


def seconds(count: int, workers: int, chunk: int = CHUNK) -> float:
    """Returns the wall time of a stream of so many problems with so many threads."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"executor": "threads", "workers": workers, "progress": False}
        begin = time.perf_counter()
        found = jc.minimize_stream(
            rosenbrock, problems, Path(folder) / "store", count=count, chunk_size=chunk, **options
        )
        spent = time.perf_counter() - begin
        print(f"  {count:,} problems, {workers} threads: {spent:.1f} s, {found.summary()}", flush=True)
    return spent


def main() -> None:
    """Measures in processes of their own, or, given a number of problems, that number in this one."""
    jax.config.update("jax_enable_x64", True)
    if len(sys.argv) > 1:
        import resource

        seconds(int(sys.argv[1]), 2)
        print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", flush=True)
        return
    for count in SIZES:
        subprocess.run([sys.executable, "-m", "benchmarks.streams", str(count)], check=True)
    spent = [[seconds(1_600_000, workers, 100_000) for workers in (1, 2)] for _ in range(TURNS)][1:]
    one, two = (statistics.median(column) for column in zip(*spent, strict=True))
    print(f"two threads over one: {one / two:.2f}")


if __name__ == "__main__":
    main()
