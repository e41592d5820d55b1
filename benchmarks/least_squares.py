"""Fits by least squares: the workload of the GPU literature, larger pictures of it, and curves of other sciences.

A. Przybylski, B. Thiel, J. Keller-Findeisen, B. Stock and M. Bates, Gpufit (2017): a symmetric Gaussian with amplitude
500, centre (2, 2), width 1, background 10 on 5 x 5 pixels, each parameter times U(0.9, 1.1); starts another factor
U(0.9, 1.1) away; noise of sigma 50; a relative tolerance of 1e-4 on the sum of squares, at most 20 iterations. The
other workloads have the same spread of parameters and starts.
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

FTOL, MOST_ITERATIONS = 1e-4, 20
BLOCK, SAMPLE = 64, 200
# Peers fit the first of the data sets only, one in PEERS: their fits a second in blocks do not depend on how many there
# are, and fewer are no disadvantage to the vmap, which waits for its slowest fit.
PEERS, REPEATS = 8, 3
WANTED = 11.0


class Workload(NamedTuple):
    """One curve: model(p, *coordinates), typical parameters, the standard deviation of the noise, how many fits."""

    name: str
    model: Callable
    coordinates: tuple[np.ndarray, ...]
    typical: np.ndarray
    sigma: float
    count: int


def spot(p: Any, u: Any, v: Any) -> Any:
    return p[0] * jnp.exp(-((u - p[1]) ** 2 + (v - p[2]) ** 2) / (2 * p[3] ** 2)) + p[4]


def biexponential(p: Any, t: Any) -> Any:
    return p[0] * jnp.exp(-p[1] * t) + p[2] * jnp.exp(-p[3] * t)


def logistic(p: Any, t: Any) -> Any:
    return p[0] + (p[1] - p[0]) / (1 + jnp.exp(-p[3] * (t - p[2])))


def spots(side: int, count: int) -> Workload:
    grid = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    centre, width = (side - 1) / 2, side / 5
    typical = np.array([500.0, centre, centre, width, 10.0])
    return Workload(f"{side} x {side} pixels", spot, tuple(axis.ravel() for axis in grid), typical, 50.0, count)


WORKLOADS = (
    spots(5, 65_536),
    spots(8, 32_768),
    spots(15, 8_192),
    Workload("biexponential", biexponential, (np.linspace(0, 6, 64),), np.array([3.0, 0.4, 2.0, 3.0]), 0.01, 16_384),
    Workload("logistic", logistic, (np.linspace(-3, 3, 12),), np.array([1.0, 5.0, 0.5, 2.0]), 0.1, 65_536),
)


class Data(NamedTuple):
    """N data sets of a workload with m points."""

    truth: Array  # (N, n)
    starts: Array  # (N, n)
    values: Array  # (N, m)
    coordinates: tuple[Array, ...]  # (m,) each

    def first(self, count: int) -> "Data":
        """Returns the first data sets."""
        return self._replace(truth=self.truth[:count], starts=self.starts[:count], values=self.values[:count])


def draw(work: Workload, count: int, dtype: type) -> Data:
    rng = np.random.default_rng(0)
    truth = work.typical * rng.uniform(0.9, 1.1, (count, len(work.typical)))
    starts = truth * rng.uniform(0.9, 1.1, truth.shape)
    exact = np.asarray(jax.vmap(lambda p: work.model(p, *work.coordinates))(truth))
    values = exact + work.sigma * rng.normal(size=exact.shape)
    coordinates = tuple(jnp.asarray(axis, dtype) for axis in work.coordinates)
    return Data(jnp.asarray(truth, dtype), jnp.asarray(starts, dtype), jnp.asarray(values, dtype), coordinates)


def lanes(work: Workload, data: Data) -> Callable[[], jc.LeastSquaresResult]:
    def misfit(p: Array, values: Array, *coordinates: Array) -> Array:
        return work.model(p, *coordinates) - values

    options = {"shared": data.coordinates, "ftol": FTOL, "maxiter": MOST_ITERATIONS}
    return lambda: jc.least_squares_many(misfit, data.starts, (data.values,), **options)


def optimistix_lm(work: Workload, data: Data, block: int | None) -> Callable[[], tuple[Array, Array]]:
    """Returns a call whose results are x and which fits succeeded."""
    solver = optx.LevenbergMarquardt(rtol=FTOL, atol=FTOL)

    def one(problem: tuple[Array, Array]) -> tuple[Array, Array]:
        start, values = problem
        found = optx.least_squares(
            lambda p, values: work.model(p, *data.coordinates) - values,
            solver,
            start,
            args=values,
            max_steps=MOST_ITERATIONS,
            throw=False,
        )
        return found.value, found.result == optx.RESULTS.successful

    problems = (data.starts, data.values)
    if block is None:
        run = jax.jit(jax.vmap(one))
    else:
        run = jax.jit(lambda problems: jax.lax.map(one, problems, batch_size=block))

    def call() -> tuple[Array, Array]:
        # Its damping is of the default dtype, which single precision does not mix with.
        with jax.enable_x64(data.values.dtype == jnp.float64):
            return run(problems)

    return call


def scipy_loop(data: Data) -> Callable[[], Array]:
    """Returns a loop of SciPy's `curve_fit` over spots, whose model is written in NumPy."""
    starts, values = (np.asarray(array, float) for array in (data.starts, data.values))
    u, v = (np.asarray(axis, float) for axis in data.coordinates)

    def model(_, a, x, y, s, b):
        return a * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * s * s)) + b

    def run() -> Array:
        return jnp.asarray([scipy.optimize.curve_fit(model, u, row, start, ftol=FTOL)[0]
                            for start, row in zip(starts, values, strict=True)])  # fmt: skip

    return run


def excess(x: Array, work: Workload, data: Data) -> float:
    """Returns the root mean square error of x over the bound of Cramer and Rao, the mean of the parameters."""
    J = jax.vmap(jax.jacfwd(lambda p: work.model(p, *work.coordinates)))(data.truth.astype(float))
    bound = work.sigma**2 * jnp.diagonal(jnp.linalg.inv(jnp.einsum("nmi,nmj->nij", J, J)), axis1=1, axis2=2)
    # The sign of a spot's width means nothing. A few spots drowned in noise would make up all of a mean square.
    x = jnp.abs(x) if work.model is spot else x
    error = (x - data.truth).astype(float) ** 2 / bound
    near = jnp.where(jnp.all(error < 50, axis=1)[:, None], error, jnp.nan)
    return float(jnp.mean(jnp.sqrt(jnp.nanmean(near, axis=0))))


def run(quick: bool) -> Entry:
    entry = Entry("least_squares", "fits a second, starts within 10 % of the truth, by Levenberg and Marquardt", [])
    for work in WORKLOADS[:1] if quick else WORKLOADS:
        for dtype, name in ((jnp.float32, "float32"), (jnp.float64, "float64")):
            _measure(entry, work, dtype, name, quick)
    return entry


def _measure(entry: Entry, work: Workload, dtype: Any, name: str, quick: bool) -> None:
    data = draw(work, 256 if quick else work.count, dtype)
    few, of_peers = data.first(20 if quick else SAMPLE), data.first(len(data.starts) // PEERS)
    blocks = optimistix_lm(work, of_peers, BLOCK)
    calls: dict[str, Callable] = {"jaxcalc": lanes(work, data), f"Optimistix LM, blocks of {BLOCK}": blocks}
    if work is WORKLOADS[0]:
        calls |= {"Optimistix LM, vmap": optimistix_lm(work, of_peers, None), "SciPy curve_fit": scipy_loop(few)}
    timings, results = interleaved(calls, 1 if quick else REPEATS)
    fitted = {who: of_peers if who.startswith("Optimistix") else few for who in calls} | {"jaxcalc": data}
    rows = {who: _row(who, timings[who], results[who], work, fitted[who]) for who in calls}
    entry.rows += [row.of(f"{work.name}, {name}") for row in rows.values()]
    best = max((row for who, row in rows.items() if who.startswith("Optimistix")), key=lambda row: row.per_second)
    ours, about = rows["jaxcalc"], f"{work.name}, {name}: over the best of Optimistix"
    entry.ratios.append(times_faster(ours, best, about, WANTED if work is WORKLOADS[0] else None))


def _row(name: str, timing: Any, found: Any, work: Workload, data: Data) -> Row:
    note, solved, evaluations = "", None, None
    if isinstance(found, jc.LeastSquaresResult):
        x, solved, evaluations = found.x, float(found.success.mean()), int(found.nfev.sum())
        note = f"{float(found.nit.mean()):.2f} iterations, "
    elif isinstance(found, tuple):
        x, solved = found[0], float(found[1].mean())
    else:
        x = found
    error = excess(x, work, data)
    return Row(name, len(data.starts), timing, solved, evaluations, f"{note}error {error:.3f} of the bound")
