"""The workload of the GPU literature on curve fitting: a symmetric Gaussian with 5 parameters on 5 x 5 pixels.

A. Przybylski, B. Thiel, J. Keller-Findeisen, B. Stock and M. Bates, Gpufit (2017): amplitude 500, centre (2, 2),
width 1, background 10, each times U(0.9, 1.1); starts another factor U(0.9, 1.1) away; noise of sigma 50; a relative
tolerance of 1e-4 on the sum of squares, at most 20 iterations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import scipy.optimize
from jax import Array

import jaxcalc as jc
from benchmarks.entry import Entry, Row, times_faster
from benchmarks.timing import interleaved

SIDE, SIGMA = 5, 50.0
CENTRE = (SIDE - 1) / 2
TYPICAL = np.array([500.0, CENTRE, CENTRE, 1.0, 10.0])
FTOL, MOST_ITERATIONS = 1e-4, 20
BLOCK, SAMPLE = 64, 200
WANTED = 11.0
U, V = (axis.ravel() for axis in np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"))


class Stack(NamedTuple):
    """N pictures of a spot."""

    truth: Array  # (N, 5)
    starts: Array  # (N, 5)
    pixels: Array  # (N, 25)


def spot(p: Array, u: Any, v: Any) -> Array:
    return p[0] * jnp.exp(-((u - p[1]) ** 2 + (v - p[2]) ** 2) / (2 * p[3] ** 2)) + p[4]


def misfit(p: Array, pixels: Array, u: Any, v: Any) -> Array:
    return spot(p, u, v) - pixels


def stack(count: int, dtype: type) -> Stack:
    rng = np.random.default_rng(0)
    truth = TYPICAL * rng.uniform(0.9, 1.1, (count, 5))
    starts = truth * rng.uniform(0.9, 1.1, (count, 5))
    pixels = np.asarray(jax.vmap(lambda p: spot(p, U, V))(truth)) + SIGMA * rng.normal(size=(count, len(U)))
    return Stack(*(jnp.asarray(array, dtype) for array in (truth, starts, pixels)))


def lanes(data: Stack) -> Callable[[], jc.LeastSquaresResult]:
    shared = tuple(jnp.asarray(axis, data.pixels.dtype) for axis in (U, V))
    return lambda: jc.least_squares_many(
        misfit, data.starts, (data.pixels,), shared=shared, ftol=FTOL, maxiter=MOST_ITERATIONS
    )


def optimistix_lm(data: Stack, block: int | None) -> Callable[[], tuple[Array, Array]]:
    """Returns a call whose results are x and which fits succeeded."""
    u, v = (jnp.asarray(axis, data.pixels.dtype) for axis in (U, V))
    solver = optx.LevenbergMarquardt(rtol=FTOL, atol=FTOL)

    def one(problem: tuple[Array, Array]) -> tuple[Array, Array]:
        start, pixels = problem
        found = optx.least_squares(
            lambda p, pixels: misfit(p, pixels, u, v),
            solver,
            start,
            args=pixels,
            max_steps=MOST_ITERATIONS,
            throw=False,
        )
        return found.value, found.result == optx.RESULTS.successful

    problems = (data.starts, data.pixels)
    if block is None:
        run = jax.jit(jax.vmap(one))
    else:
        run = jax.jit(lambda problems: jax.lax.map(one, problems, batch_size=block))

    def call() -> tuple[Array, Array]:
        # Its damping is of the default dtype, which single precision does not mix with.
        with jax.enable_x64(data.pixels.dtype == jnp.float64):
            return run(problems)

    return call


def scipy_loop(data: Stack) -> Callable[[], Array]:
    starts, pixels = (np.asarray(array, float) for array in (data.starts, data.pixels))
    u, v = U.astype(float), V.astype(float)

    def model(_, a, x, y, s, b):
        return a * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * s * s)) + b

    def run() -> Array:
        return jnp.asarray([scipy.optimize.curve_fit(model, u, row, start, ftol=FTOL)[0]
                            for start, row in zip(starts, pixels, strict=True)])  # fmt: skip

    return run


def excess(x: Array, data: Stack) -> float:
    """Returns the root mean square error of x over the bound of Cramer and Rao, the mean of the parameters."""
    J = jax.vmap(jax.jacfwd(lambda p: spot(p, U, V)))(data.truth.astype(float))
    bound = SIGMA**2 * jnp.diagonal(jnp.linalg.inv(jnp.einsum("nmi,nmj->nij", J, J)), axis1=1, axis2=2)
    # The sign of the width means nothing. A few spots drowned in noise would make up all of a mean square.
    error = (jnp.abs(x) - data.truth).astype(float) ** 2 / bound
    near = jnp.where(jnp.all(error < 50, axis=1)[:, None], error, jnp.nan)
    return float(jnp.mean(jnp.sqrt(jnp.nanmean(near, axis=0))))


def run(quick: bool) -> Entry:
    count, repeats = (256, 1) if quick else (131_072, 5)
    entry = Entry("least_squares", f"{count:,} fits of a 5-parameter Gaussian to {SIDE} x {SIDE} pixels", [])
    for dtype, name in ((jnp.float32, "float32"), (jnp.float64, "float64")):
        data = stack(count, dtype)
        few = Stack(*(array[: 20 if quick else SAMPLE] for array in data))
        sizes = {"jaxcalc": count, "Optimistix LM, vmap": count, f"Optimistix LM, blocks of {BLOCK}": count,
                 "SciPy curve_fit": len(few.starts)}  # fmt: skip
        calls = dict(
            zip(
                sizes,
                (lanes(data), optimistix_lm(data, None), optimistix_lm(data, BLOCK), scipy_loop(few)),
                strict=True,
            )
        )
        timings, results = interleaved(calls, repeats)
        rows = [_row(f"{who}, {name}", sizes[who], timings[who], results[who], data) for who in sizes]
        entry.rows += rows
        best = max(rows[1:3], key=lambda row: row.per_second)
        entry.ratios.append(times_faster(rows[0], best, f"over the best of Optimistix, {name}", WANTED))
    return entry


def _row(name: str, count: int, timing, found, data: Stack) -> Row:
    note, solved, evaluations = "", None, None
    if isinstance(found, jc.LeastSquaresResult):
        x, solved, evaluations = found.x, float(found.success.mean()), int(found.nfev.sum())
        note = f"{float(found.nit.mean()):.2f} iterations, "
    elif isinstance(found, tuple):
        x, solved = found[0], float(found[1].mean())
    else:
        x = found
    error = excess(x, Stack(*(array[:count] for array in data)))
    return Row(name, count, timing, solved, evaluations, f"{note}error {error:.3f} of the bound")
