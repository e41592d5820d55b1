"""Skewed Rosenbrock-10 over the number of problems and of lanes, in both precisions: what to expect of a device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc
from benchmarks import measures, timing
from benchmarks.entry import Entry, Row
from benchmarks.fairness import GRADIENT, solved_share
from benchmarks.rosenbrock import skewed
from jaxcalc.core.platform import lane_budget
from jaxcalc.problems import rosenbrock

COUNTS, DIMENSION = (1_000, 10_000, 100_000, 1_000_000), 10
# In single precision a gradient of these functions cannot be told to 1e-5.
GTOL = {"float32": 1e-2, "float64": GRADIENT}
# Of so many problems the solutions are judged.
JUDGED = 10_000
# Numbers of lanes are compared on so many problems for each of the most lanes, and on at least as many as are judged.
PROBLEMS_PER_LANE = 4


def run(quick: bool = False) -> Entry:
    widths = (8,) if quick else lane_counts()
    counts, n, repeats = ((16,), 2, 2) if quick else (COUNTS, DIMENSION, 3)
    on = 16 if quick else max(JUDGED, PROBLEMS_PER_LANE * max(widths))
    rows = []
    for dtype in GTOL:
        x0, args = skewed(max(*counts, on), n)
        x0, args = jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), (x0, args))
        # Function objects of their own, so that first calls compile.
        fun, steps = functools.partial(rosenbrock), 2 if quick else 2_000
        bare = measures.bare_evaluation(fun, x0, args, (8,) if quick else bare_widths(), steps)
        for count in counts:
            rows.append(_row(fun, x0[:count], tuple(a[:count] for a in args), None, bare, repeats))
        for lanes in widths:
            rows.append(_row(fun, x0[:on], tuple(a[:on] for a in args), lanes, bare, repeats))
    notes = [
        "Overhead is the time of the run over that of its evaluations alone, at the best number of lanes for them.",
        "Occupancy is the share of running lanes in all evaluations; it follows from the evaluations of each problem.",
    ]
    about = f"Rosenbrock-{n}, curvature 10^U(0,4), starts U(-3,3), jaxcalc's BFGS alone"
    return Entry("sweep", about, rows, notes=notes)


def lane_counts() -> tuple[int, ...]:
    """Returns powers of four: from 16 lanes to the most of the device's budget; on accelerators around these."""
    most = lane_budget().lanes
    if jax.default_backend() == "cpu":
        return tuple(4**k for k in range(2, 9) if 4**k <= most)
    return tuple(most * 4**k // 64 for k in range(5))


def bare_widths() -> tuple[int, ...]:
    """Returns the numbers of lanes at which bare evaluations are timed."""
    most = lane_budget().lanes
    return tuple(sorted({32, 64, 128, most // 4, most}))


def _row(fun: functools.partial, x0: jax.Array, args: tuple, lanes: int | None, bare: float, repeats: int) -> Row:
    dtype, count = str(x0.dtype), len(x0)

    # Under `jax.jit` even few problems are solved by the loop, as they are in the ninth call.
    @jax.jit
    def solve(x0: jax.Array, args: tuple) -> jc.OptimizeResult:
        return jc.minimize_many(fun, x0, args, gtol=GTOL[dtype], lanes=lanes)

    measures.forget_peak()
    taken, results = timing.interleaved({"run": lambda: solve(x0, args)}, repeats)
    memory, result = measures.peak_memory(), results["run"]
    evaluations = np.asarray(result.nfev)
    return Row(
        f"{dtype}, {count:,} problems, {'lanes by default' if lanes is None else f'{lanes:,} lanes'}",
        count,
        taken["run"],
        truly_solved(result.x, args, GTOL[dtype]),
        int(evaluations.sum()),
        lanes=lanes,
        dtype=dtype,
        median_evaluations=float(np.median(evaluations)),
        occupancy=None if lanes is None else measures.occupancy(evaluations, lanes),
        overhead=taken["run"].median / (bare * float(evaluations.sum())),
        peak_bytes=memory,
    )


def truly_solved(x: jax.Array, args: tuple, gradient: float) -> float:
    """Returns the share of problems, of the first JUDGED, whose gradient in double precision is at most `gradient`.

    In single precision the rounding of x alone changes the gradient, by the curvature times the spacing of numbers at
    x, and is allowed to.
    """
    x, args = jax.tree.map(lambda leaf: leaf[:JUDGED], (x, args))
    spacing = float(jnp.finfo(x.dtype).eps)
    x, args = jax.tree.map(lambda leaf: leaf.astype(float), (x, args))
    if spacing < 1e-10:
        return solved_share(rosenbrock, x, args, gradient)
    largest = jnp.max(jnp.abs(jax.vmap(jax.grad(rosenbrock))(x, *args)), axis=-1)
    curvature = jnp.sum(jnp.abs(jax.vmap(jax.hessian(rosenbrock))(x, *args)), axis=-1).max(-1)
    return float(jnp.mean(largest <= gradient + spacing * curvature * jnp.max(jnp.abs(x), axis=-1)))
