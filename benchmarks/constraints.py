"""Problems with constraints: HS71 with its numbers perturbed, non-negative least squares, and portfolios.

Solved means: the violation is at most 1e-6 and the projected gradient of the Lagrangian at most 1e-5, both computed
anew at x with the multipliers that belong to it. SciPy's SLSQP is called once for each problem of a sample, its
derivatives jitted; qpax, where it is installed, under `jax.vmap`.

Source: W. Hock and K. Schittkowski, Test Examples for Nonlinear Programming Codes, problem 71 (1981).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array

import jaxcalc as jc
from benchmarks.entry import Entry, Row, times_faster
from benchmarks.timing import interleaved

SAMPLE, VARIABLES, ROWS, ASSETS = 200, 5, 10, 10
WANTED, WANTED_OVER_QPAX = 300.0, 3.0


def cost(x: Array, p: Array) -> Array:
    return p[0] * x[0] * x[3] * (x[0] + x[1] + x[2]) + p[1] * x[2]


def product(x: Array, p: Array) -> Array:
    return jnp.prod(x) - p[2]


def length(x: Array, p: Array) -> Array:
    return jnp.sum(x**2) - p[3]


def misfit(x: Array, A: Array, b: Array) -> Array:
    return 0.5 * jnp.sum((A @ x - b) ** 2)


def nonnegative(x: Array, A: Array, b: Array) -> Array:
    return x


def risk(x: Array, covariance: Array, mean: Array) -> Array:
    return x @ covariance @ x - mean @ x


def whole(x: Array, covariance: Array, mean: Array) -> Array:
    return jnp.sum(x) - 1


def hs71(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the starts (N, 4), and the numbers of the problems, (N, 4), each up to 10 % from those of the book."""
    numbers = np.array([1.0, 1, 25, 40]) * np.random.default_rng(0).uniform(0.9, 1.1, (count, 4))
    return np.tile([1.0, 5, 5, 1], (count, 1)), numbers


def slsqp(starts: np.ndarray, numbers: np.ndarray) -> Callable[[], list]:
    """Returns a call of SLSQP for one problem after the other."""
    both, values = jax.jit(jax.value_and_grad(cost)), [jax.jit(g) for g in (product, length)]
    slopes = [jax.jit(jax.grad(g)) for g in (product, length)]

    def one(x0: np.ndarray, p: np.ndarray) -> Any:
        constraints = [
            {"type": kind, "fun": lambda x, g=g: float(g(x, p)), "jac": lambda x, dg=dg: np.asarray(dg(x, p))}
            for kind, g, dg in zip(("ineq", "eq"), values, slopes, strict=True)
        ]
        return scipy.optimize.minimize(
            lambda x: tuple(map(np.asarray, both(x, p))), x0, jac=True, bounds=[(1, 5)] * 4, method="SLSQP",
            constraints=constraints,
        )  # fmt: skip

    return lambda: [one(x0, p) for x0, p in zip(starts, numbers, strict=True)]


def qpax_nnls(A: Array, b: Array) -> Callable[[], Array] | None:
    """Returns a call of qpax for all problems under `vmap`, or None where it is not installed."""
    try:
        import qpax  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        return None
    empty, G = (jnp.zeros((0, VARIABLES)), jnp.zeros(0)), (-jnp.eye(VARIABLES), jnp.zeros(VARIABLES))
    run = jax.jit(jax.vmap(lambda A, b: qpax.solve_qp(A.T @ A, -A.T @ b, *empty, *G)[0]))
    return lambda: run(A, b)


def solved_share(result: Any, fun: Callable, constraints: list, args: tuple, low: float, high: float) -> float:
    """Returns the share of problems whose conditions of first order hold at x, computed anew."""

    def broken(x: Array, multipliers: list, args: tuple) -> tuple[Array, Array]:
        reduced, worst = jax.grad(fun)(x, *args), jnp.zeros(())
        for constraint, y in zip(constraints, multipliers, strict=True):
            g, dg = constraint["fun"](x, *args), jax.jacobian(constraint["fun"])(x, *args)
            reduced = reduced - jnp.tensordot(y, dg, jnp.ndim(y))
            is_inequality = constraint["type"] == "ineq"
            worst = jnp.maximum(worst, jnp.max(-g if is_inequality else jnp.abs(g)))
            wrong = jnp.maximum(-y, jnp.abs(y * g)) if is_inequality else jnp.zeros(())
            worst = jnp.maximum(worst, jnp.where(jnp.max(wrong) <= 1e-5, 0, jnp.inf))
        return worst, jnp.max(jnp.abs(x - jnp.clip(x - reduced, low, high)))

    violation, slope = jax.jit(jax.vmap(broken))(result.x, result.multipliers, args)
    return float(jnp.mean((violation <= 1e-6) & (slope <= 1.001e-5)))


def run(quick: bool) -> Entry:
    count, repeats = (256, 1) if quick else (100_000, 3)
    entry = Entry("constraints", f"{count:,} problems with constraints each; non-negative least squares a tenth", [])
    _hs71(entry, count, repeats, 4 if quick else SAMPLE)
    _least_squares(entry, max(count // 10, 16), repeats)
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(count, ASSETS, ASSETS)) / ASSETS
    data = jnp.asarray(factor @ factor.swapaxes(1, 2)), jnp.asarray(0.1 * rng.uniform(size=(count, ASSETS)))
    start = np.full((count, ASSETS), 1 / ASSETS)
    constraints = [{"type": "eq", "fun": whole}]
    calls = {"jaxcalc": _lanes(risk, start, data, constraints, 0.0, np.inf)}
    _measured(entry, f"portfolios of {ASSETS}", calls, repeats, count, risk, data, constraints, (0.0, np.inf))
    return entry


def _hs71(entry: Entry, count: int, repeats: int, sample: int) -> None:
    starts, numbers = hs71(count)
    constraints = [{"type": "ineq", "fun": product}, {"type": "eq", "fun": length}]
    data = (jnp.asarray(numbers),)
    calls = {"jaxcalc": _lanes(cost, starts, data, constraints, 1.0, 5.0)}
    calls["SLSQP"] = slsqp(starts[:sample], numbers[:sample])
    results = _measured(entry, "HS71", calls, repeats, count, cost, data, constraints, (1.0, 5.0))
    timing, found = results["SLSQP"]
    good = float(np.mean([each.success for each in found]))
    entry.rows.append(Row("HS71: SLSQP, a loop", sample, timing, good, sum(each.nfev for each in found)))
    entry.ratios.append(times_faster(entry.rows[0], entry.rows[-1], "HS71 over a loop of SLSQP", WANTED))
    ours = np.asarray(results["jaxcalc"][1].fun[:sample])
    worst = max(abs(value - each.fun) for value, each in zip(ours, found, strict=True) if each.success)
    entry.notes.append(f"Values of HS71 differ from those of SLSQP by at most {worst:.1e}.")


def _least_squares(entry: Entry, count: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    A, b = jnp.asarray(rng.normal(size=(count, ROWS, VARIABLES))), jnp.asarray(rng.normal(size=(count, ROWS)))
    constraints = [{"type": "ineq", "fun": nonnegative}]
    calls = {"jaxcalc": _lanes(misfit, np.ones((count, VARIABLES)), (A, b), constraints, -np.inf, np.inf)}
    bounded = "jaxcalc, bounds"
    calls[bounded] = lambda: jc.minimize_many(misfit, np.ones((count, VARIABLES)), (A, b), method="trust_region",
                                              bounds=(0.0, None))  # fmt: skip
    theirs = qpax_nnls(A, b)
    if theirs is not None:
        calls["qpax"] = theirs
    first = len(entry.rows)
    results = _measured(entry, "NNLS", calls, repeats, count, misfit, (A, b), constraints, (-np.inf, np.inf))
    timing, found = results[bounded]
    entry.rows.append(Row(f"NNLS: {bounded}", count, timing, float(found.success.mean()), int(found.nfev.sum())))
    if theirs is None:
        entry.notes.append("qpax is not installed.")
        return
    timing, x = results["qpax"]
    value = jax.vmap(misfit)(x, A, b)
    near = float(jnp.mean(jnp.abs(value - results["jaxcalc"][1].fun) <= 1e-6 * jnp.maximum(1, value)))
    entry.rows.append(Row("NNLS: qpax, vmap", count, timing, near))
    name = "NNLS over qpax under vmap"
    entry.ratios.append(times_faster(entry.rows[first], entry.rows[-1], name, WANTED_OVER_QPAX))


def _lanes(fun: Callable, starts: Any, args: tuple, constraints: list, low: float, high: float) -> Callable[[], Any]:
    return lambda: jc.minimize_many(fun, starts, args, constraints=constraints, bounds=(low, high))


def _measured(
    entry: Entry, name: str, calls: dict[str, Callable], repeats: int, count: int, fun: Callable, args: tuple,
    constraints: list, sides: tuple[float, float],
) -> dict[str, tuple]:  # fmt: skip
    """Times the calls, adds the row of those with constraints in lanes, and returns timings and results by name."""
    timings, results = interleaved(calls, repeats)
    ours = results["jaxcalc"]
    share = solved_share(ours, fun, constraints, args, *sides)
    row = Row(f"{name}: jaxcalc", count, timings["jaxcalc"], share, int(ours.nfev.sum()))
    entry.rows.append(row)
    return {who: (timings[who], results[who]) for who in calls}
