"""How often each method converges in single precision, beside double precision: `python -m benchmarks.precisions`.

Every method of the registry solves the library's test problems of moderate condition from a thousand random starts,
with default settings in both precisions (gtol is 1e-3 in float32 and 1e-5 in float64). It counts where the status is
SUCCESS and the gradient, recomputed in double precision at the x that was returned, is at most gtol beyond the rounding
error of single precision.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc
from jaxcalc.methods import REGISTRY
from jaxcalc.problems import PROBLEMS, KnownProblem, tagged

STARTS = 1_000
# One rate for all directions is made for these.
EASY = tagged("easy")
# Most points by which single precision may fall behind.
BEHIND = 2.0


def well_scaled() -> list[KnownProblem]:
    """Returns the problems whose Hessian at the minima has a condition that single precision can bear."""
    return [problem for problem in PROBLEMS if _condition(problem) <= 1e4]


def compared(method: str, starts: int = STARTS) -> tuple[float, float]:
    """Returns the percentages solved in float32 and in float64, over all problems that the method is made for."""
    problems = [problem for problem in well_scaled() if not REGISTRY[method]().has_fixed_rate or problem in EASY]
    single, double = (_share(method, problems, dtype, starts) for dtype in (jnp.float32, jnp.float64))
    return single, double


def _share(method: str, problems: list[KnownProblem], dtype: type, starts: int) -> float:
    x0 = [jnp.asarray(_around(problem, starts), dtype) for problem in problems]
    results = jc.minimize_many([problem.fun for problem in problems], x0, method=method)
    gtol = 1e-3 if dtype == jnp.float32 else 1e-5
    solved = [
        (result.status == jc.Status.SUCCESS) & _is_flat(problem, result.x, gtol)
        for problem, result in zip(problems, results, strict=True)
    ]
    return 100 * float(np.mean(solved))


def _around(problem: KnownProblem, starts: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(starts, *problem.x0.shape))
    return problem.x0 + 0.2 * noise * (1 + np.abs(problem.x0))


def _is_flat(problem: KnownProblem, x: jax.Array, gtol: float) -> jax.Array:
    """Says whether the gradient, in double precision, is at most gtol and what rounding x and it may add."""
    exact, count = x.astype(float), len(x)
    gradient = jnp.abs(jax.vmap(jax.grad(problem.fun))(exact)).reshape(count, -1).max(1)
    curvature = jnp.abs(jax.vmap(jax.hessian(problem.fun))(exact)).reshape(count, -1).max(1)
    size = 1 + jnp.abs(exact).reshape(count, -1).max(1)
    return gradient <= 1.01 * gtol + 100 * jnp.finfo(x.dtype).eps * curvature * size


def main() -> int:
    jax.config.update("jax_enable_x64", True)
    print(f"{', '.join(problem.name for problem in well_scaled())}; {STARTS} starts each\n")
    print("| method | float32 % | float64 % | |\n|---|---|---|---|")
    behind = False
    for method in REGISTRY:
        single, double = compared(method)
        behind |= single < double - BEHIND
        print(
            f"| {method} | {single:.2f} | {double:.2f} | {'behind' if single < double - BEHIND else ''} |", flush=True
        )
    return int(behind)


def _condition(problem: KnownProblem) -> float:
    x = np.asarray(problem.minima[0], float)
    hessian = np.asarray(jax.hessian(problem.fun)(x)).reshape(x.size, x.size)
    size = np.abs(np.linalg.eigvalsh(hessian))
    # A degenerate minimum is not ill-conditioned: there the gradient decides, whatever x is.
    return float(size.max() / size[size > 1e-12 * size.max()].min()) if size.max() > 0 else 1.0


if __name__ == "__main__":
    sys.exit(main())
