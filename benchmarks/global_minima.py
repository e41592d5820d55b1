"""Twenty multimodal functions in boxes, by multistart and by SciPy's global methods: who finds the global minimum.

    python -m benchmarks.global_minima [--seeds 5] [--only NAME ...] [--method bfgs] [--rotated]

A value within 1e-6 of the known global minimum counts, reached with at most 200,000 evaluations. SciPy's methods get
the same formulas in NumPy, on which they run fastest, and are stopped at the limit with the best value that they have
seen. Their evaluations are of the value; those of L-BFGS-B, compiled by JAX, and most of multistart's are of value and
gradient. The time is the processor time of this process, on one core, with and without the compilation that
multistart's first call for a function takes.

Six of the seven functions of 10 variables are sums over single ones, or nearly, which favours methods that exchange
variables. --rotated turns those about their minimum that have no lower point outside of the box.
"""

import argparse
import contextlib
import dataclasses
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.timing import pin_to_one_core

NEAR = 1e-6
LIMIT = 200_000


class LimitReachedError(Exception):
    """Raised by a counted function that has no evaluations left."""


@dataclasses.dataclass
class Counted:
    """A function that counts its calls, remembers the lowest value and stops at the limit."""

    fun: Callable
    calls: int = 0
    lowest: float = np.inf

    def __call__(self, x: np.ndarray) -> Any:
        """Returns fun(x), a value or a pair of value and gradient."""
        if self.calls >= LIMIT:
            raise LimitReachedError
        self.calls += 1
        result = self.fun(x)
        value = result[0] if isinstance(result, tuple) else result
        self.lowest = min(self.lowest, float(value)) if np.isfinite(value) else self.lowest
        return result


@dataclasses.dataclass(frozen=True)
class Run:
    """How one run ended: by how much its value is too high, its evaluations, and its processor time."""

    gap: float
    evaluations: int
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class Rotated:
    """A function turned about a point."""

    fun: Callable
    centre: np.ndarray
    matrix: np.ndarray

    def __call__(self, x: Any) -> Any:
        """Returns the value of the function turned by the matrix."""
        return self.fun(self.matrix @ (x - self.centre) + self.centre)


ROTATED = ("rastrigin 10", "ackley 10", "griewank 10", "levy 10")


def rotated(problem: Any) -> Any:
    """Returns the problem turned about its global minimum by a random matrix, always the same."""
    normal = np.random.default_rng(5).normal(size=(len(problem.lower),) * 2)
    fun = Rotated(problem.fun, problem.minima[0], np.linalg.qr(normal)[0])
    return dataclasses.replace(problem, name=f"{problem.name} rotated", fun=fun)


def in_numpy(fun: Callable) -> Callable:
    """Returns the same formula with NumPy in the place of jax.numpy."""
    if isinstance(fun, Rotated):
        return dataclasses.replace(fun, fun=in_numpy(fun.fun))
    return types.FunctionType(fun.__code__, {**fun.__globals__, "jnp": np})


def by_multistart(problem: Any, seed: int, method: str = "bfgs") -> Run:
    import jax

    import jaxcalc as jc

    start = time.process_time()
    minima = jc.multistart(problem.fun, (problem.lower, problem.upper), seed=seed, method=method)
    jax.block_until_ready(minima)
    return Run(float(minima.fun[0]) - problem.value, int(minima.nfev), time.process_time() - start)


def by_scipy(solve: Callable[[Counted, Any, int], Any], fun: Callable, problem: Any, seed: int) -> Run:
    counted = Counted(fun)
    start = time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with contextlib.suppress(LimitReachedError):
            solve(counted, problem, seed)
    return Run(counted.lowest - problem.value, counted.calls, time.process_time() - start)


def dual_annealing(fun: Counted, problem: Any, seed: int) -> None:
    from scipy import optimize

    optimize.dual_annealing(fun, _bounds(problem), rng=seed)


def dual_annealing_to_the_limit(fun: Counted, problem: Any, seed: int) -> None:
    """Starts anew, with another seed, until the limit is reached or the known minimum is."""
    from scipy import optimize

    while fun.lowest > problem.value + NEAR:
        optimize.dual_annealing(fun, _bounds(problem), rng=seed)
        seed += 1000


def differential_evolution(fun: Counted, problem: Any, seed: int) -> None:
    from scipy import optimize

    optimize.differential_evolution(fun, _bounds(problem), rng=seed, tol=1e-8, maxiter=100_000)


def shgo(fun: Counted, problem: Any, seed: int) -> None:
    from scipy import optimize

    # Sobol points find more, but their triangulation takes hours in 10 variables.
    few = len(problem.lower) <= 5
    settings = {"n": 1024, "sampling_method": "sobol"} if few else {"options": {"maxtime": 30}}
    optimize.shgo(fun, _bounds(problem), **settings)


def starts_of_lbfgsb(fun: Counted, problem: Any, seed: int) -> None:
    from scipy import optimize

    rng = np.random.default_rng(seed)
    for x0 in rng.uniform(problem.lower, problem.upper, (100, len(problem.lower))):
        optimize.minimize(fun, x0, jac=True, method="L-BFGS-B", bounds=_bounds(problem))


SCIPY = {
    "dual_annealing": dual_annealing,
    "dual_annealing, restarted": dual_annealing_to_the_limit,
    "differential_evolution": differential_evolution,
    "shgo": shgo,
    "100 starts of L-BFGS-B": starts_of_lbfgsb,
}


def with_gradient(fun: Callable) -> Callable:
    """Returns x -> (value, gradient), compiled."""
    import jax

    both = jax.jit(jax.value_and_grad(fun))

    def evaluate(x):
        value, gradient = both(x)
        return float(value), np.asarray(gradient)

    return evaluate


def runs_of(problem: Any, seeds: int, method: str) -> tuple[dict[str, list[Run]], float]:
    """All runs on one function, and how long the first call of multistart took, compilation included."""
    first = by_multistart(problem, 0, method).seconds
    runs = {"jaxcalc multistart": [by_multistart(problem, seed, method) for seed in range(seeds)]}
    for name, solve in SCIPY.items():
        fun = in_numpy(problem.fun)
        if solve is starts_of_lbfgsb:
            fun = with_gradient(problem.fun)
            fun(problem.minima[0])
        # What draws nothing gives the same answer for every seed.
        repeated = 1 if solve is shgo else seeds
        runs[name] = [by_scipy(solve, fun, problem, seed) for seed in range(repeated)] * (seeds // repeated)
    return runs, first


def known_sets(problems: list) -> list[str]:
    """What multistart finds where all minima are known: a line for each function."""
    import jaxcalc as jc

    lines = []
    for problem in problems:
        if problem.local is None:
            continue
        known = np.concatenate([problem.minima, problem.local])
        found = np.asarray(jc.multistart(problem.fun, (problem.lower, problem.upper)).x)
        distance = np.abs(found[:, None] - known[None]).max(-1)
        wrong = int(np.sum(distance.min(1) > 1e-5)) + int(np.sum(distance.min(0) > 1e-5))
        lines.append(f"{problem.name}: {len(found)} minima found, {len(known)} known, {wrong} missing or spurious")
    return lines


def critical_sets() -> list[str]:
    """The critical points of functions of several variables: a line for each."""
    import jaxcalc as jc
    from jaxcalc import problems

    cases = [
        (problems.himmelblau, -5 * np.ones(2), 5 * np.ones(2)),
        (problems.six_hump_camel, np.array([-3.0, -2.0]), np.array([3.0, 2.0])),
        (problems.goldstein_price, -2 * np.ones(2), 2 * np.ones(2)),
        (problems.styblinski_tang, -5 * np.ones(3), 5 * np.ones(3)),
        (problems.hartmann, np.zeros(3), np.ones(3)),
        (problems.shekel, np.zeros(4), 10 * np.ones(4)),
    ]
    lines = []
    for fun, lower, upper in cases:
        found = jc.all_critical_points(fun, (lower, upper))
        names = found.certificate.kind_name
        kinds = ", ".join(f"{names.count(kind)} {kind}" for kind in ("minimum", "saddle", "maximum", "degenerate"))
        sums = f"sum of (-1)^index {int(found.alternating_sum)}, expected {found.expected_sum}"
        lines.append(f"{fun.__name__} {len(lower)}: {kinds}; {sums}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.global_minima")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", action="append", metavar="NAME", help="functions whose name holds this")
    parser.add_argument("--method", default="bfgs", help="of multistart's descents")
    parser.add_argument("--rotated", action="store_true", help="functions of 10 variables, turned")
    options = parser.parse_args(arguments)
    pin_to_one_core()
    import jax

    jax.config.update("jax_enable_x64", True)
    from jaxcalc.problems import GLOBAL_PROBLEMS

    problems = [p for p in GLOBAL_PROBLEMS if not options.only or any(word in p.name for word in options.only)]
    if options.rotated:
        problems = [rotated(problem) for problem in problems if problem.name in ROTATED]
    everything: dict[str, list[Run]] = {}
    firsts = []
    names = ["jaxcalc multistart", *SCIPY]
    print("found of the seeds / median evaluations / median processor time, s\n")
    print(f"| function | first call, s | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    for problem in problems:
        runs, first = runs_of(problem, options.seeds, options.method)
        firsts.append(first)
        for name, of in runs.items():
            everything.setdefault(name, []).extend(of)
        print(f"| {problem.name} | {first:.1f} | {' | '.join(_cell(runs[name]) for name in names)} |", flush=True)
    print(f"| all: found | | {' | '.join(_found(everything[name]) for name in names)} |")
    totals = [sum(run.seconds for run in everything[name]) for name in names]
    print(f"| all: processor time, s | {sum(firsts):.1f} | {' | '.join(f'{total:.1f}' for total in totals)} |\n")
    # The first call of each function is the compiled one, the same seed again was timed without.
    again = sum(run.seconds for run in everything[names[0]][:: options.seeds])
    compiled = totals[0] - again + sum(firsts)
    print(f"multistart with its compilations: {compiled:.1f} s")
    print("\n".join(known_sets(problems)))
    if not options.only and not options.rotated:
        print("\n".join(critical_sets()))
    return 0


def _bounds(problem: Any) -> list[tuple[float, float]]:
    return list(zip(problem.lower.tolist(), problem.upper.tolist(), strict=True))


def _found(runs: list[Run]) -> str:
    return f"{sum(run.gap <= NEAR for run in runs)} of {len(runs)}"


def _cell(runs: list[Run]) -> str:
    evaluations, seconds = (
        statistics.median(getattr(run, name) for run in runs) for name in ("evaluations", "seconds")
    )
    return f"{sum(run.gap <= NEAR for run in runs)} / {evaluations:,.0f} / {seconds:.2f}"


if __name__ == "__main__":
    sys.exit(main())
