"""The solvers that `benchmarks.cutest` scores: name -> function(problem, settings) -> outcome.

All get the same gtol where they have one; what else would end them earlier is set so low that it does not. Evaluations
are those of value and gradient together, of second derivatives apart. Compilation is not in the seconds.
"""

import dataclasses
import time
import warnings
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

import jaxcalc as jc
from benchmarks.cutest_problems import Problem
from jaxcalc.engine.status import Status
from jaxcalc.methods import REGISTRY
from jaxcalc.methods.needs import HESSIAN

# Above what any of them needs: whoever runs this far is lost.
ITERATIONS = 10_000
EVALUATIONS = 100_000
BOTH, UNCONSTRAINED, BOUNDED = ("unconstrained", "bounded"), ("unconstrained",), ("bounded",)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run asks of every solver."""

    gtol: float = 1e-5
    seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a solver returned. `claims` is whether it says that the projected gradient is at most gtol."""

    x: np.ndarray
    evaluations: int
    seconds: float
    status: str
    claims: bool = False
    hessians: int = 0


class TimeIsUp(Exception):  # noqa: N818
    """Raised out of an evaluation, which is the only place where a solver can be stopped from outside."""


class Counted:
    """A problem as SciPy calls it: counts, remembers the best point, and stops when the time is up."""

    def __init__(self, problem: Problem, seconds: float):
        self.problem, self.deadline = problem, time.perf_counter() + seconds
        self.evaluations = self.hessians = 0
        self.best, self.best_value = problem.inside(problem.x0), np.inf

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns both from one call of the program that every solver shares."""
        if time.perf_counter() > self.deadline:
            raise TimeIsUp
        value, gradient = self.problem.evaluate(x)
        self.evaluations += 1
        if value < self.best_value:
            self.best, self.best_value = np.array(x), value
        return value, gradient

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """Returns the second derivatives."""
        self.hessians += 1
        return self.problem.hessian(x)


def run_scipy(method: str, options: dict, tolerance: str | None, problem: Problem, settings: Settings) -> Outcome:
    """Runs one of SciPy's methods; when it raises, the best point that it saw stands for its result."""
    counted = Counted(problem, settings.seconds)
    more = {} if problem.lower is None else {"bounds": scipy.optimize.Bounds(problem.lower, problem.upper)}
    if method in ("trust-exact", "Newton-CG"):
        problem.hessian(problem.x0)
        more["hess"] = counted.hessian
    if tolerance is not None:
        options = options | {tolerance: settings.gtol}
    start = time.perf_counter()
    counted.deadline = start + settings.seconds
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = scipy.optimize.minimize(
                counted.value_and_gradient, problem.x0, jac=True, method=method, options=options, **more
            )
        x, status = np.asarray(found.x, float), f"{found.status}: {found.message}"
    except TimeIsUp:
        x, status = counted.best, "time is up"
    except Exception as error:
        x, status = counted.best, f"raised {type(error).__name__}: {error}"
    taken = time.perf_counter() - start
    return Outcome(problem.inside(x), counted.evaluations, taken, status[:100], hessians=counted.hessians)


def run_jaxcalc(method: str, problem: Problem, settings: Settings) -> Outcome:
    """Runs a method of the registry through `jc.minimize`."""
    bounds = {} if problem.lower is None else {"bounds": (problem.lower, problem.upper)}
    solve = partial(jc.minimize, problem.fun, problem.x0, method=method, gtol=settings.gtol, **bounds)
    jax.block_until_ready(solve(maxiter=0))  # the same program: maxiter is traced
    start = time.perf_counter()
    result = jax.block_until_ready(solve(maxiter=ITERATIONS))
    taken = time.perf_counter() - start
    status = Status(int(result.status))
    # A product with the Hessian is an evaluation, and counted as one.
    needs = REGISTRY[method]().for_size(problem.x0.size).needs
    hessians = int(result.nhev) if needs is HESSIAN else 0
    return Outcome(np.array(result.x), int(result.nfev), taken, status.name, status == Status.SUCCESS, hessians)


def run_optimistix(name: str, problem: Problem, settings: Settings) -> Outcome:
    """Runs a solver of Optimistix, which stops on the change of x and f; it evaluates once a step."""
    import optimistix as optx

    solver = getattr(optx, name)(rtol=1e-8, atol=1e-8)

    def solve(x0):
        found = optx.minimise(lambda x, _: problem.fun(x), solver, x0, max_steps=ITERATIONS, throw=False)
        return found.value, found.stats["num_steps"], found.result == optx.RESULTS.successful

    x0 = jnp.asarray(problem.x0)
    compiled = jax.jit(solve).lower(x0).compile()
    start = time.perf_counter()
    x, steps, ended = jax.block_until_ready(compiled(x0))
    taken = time.perf_counter() - start
    return Outcome(np.array(x), int(steps), taken, "successful" if ended else "max_steps or failed")


def run_jaxopt(name: str, problem: Problem, settings: Settings) -> Outcome:
    """Runs a solver of JAXopt, which stops on the length of the (projected) gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, on import
        import jaxopt

    solver = getattr(jaxopt, name)(problem.fun, tol=settings.gtol, maxiter=ITERATIONS, implicit_diff=False)
    bounds = () if problem.lower is None else ((jnp.asarray(problem.lower), jnp.asarray(problem.upper)),)
    x0 = jnp.asarray(problem.inside(problem.x0))
    compiled = jax.jit(lambda x0, *bounds: solver.run(x0, *bounds)).lower(x0, *bounds).compile()
    start = time.perf_counter()
    x, state = jax.block_until_ready(compiled(x0, *bounds))
    taken = time.perf_counter() - start
    ended = "converged" if state.error <= settings.gtol else "not converged"
    return Outcome(problem.inside(np.array(x)), int(state.num_fun_eval), taken, ended)


def _scipy(method: str, tolerance: str | None = "gtol", **options) -> Callable[[Problem, Settings], Outcome]:
    return partial(run_scipy, method, options, tolerance)


SMALLEST = float(np.finfo(float).eps)

# Name -> the kinds of problems that it takes, and the function.
SOLVERS: dict[str, tuple[tuple[str, ...], Callable[[Problem, Settings], Outcome]]] = {
    **{f"jaxcalc-{method}": (BOTH, partial(run_jaxcalc, method)) for method in REGISTRY},
    "scipy-bfgs": (UNCONSTRAINED, _scipy("BFGS", maxiter=ITERATIONS)),
    "scipy-lbfgs": (BOTH, _scipy("L-BFGS-B", ftol=SMALLEST, maxiter=ITERATIONS, maxfun=EVALUATIONS)),
    "scipy-trust-exact": (UNCONSTRAINED, _scipy("trust-exact", maxiter=ITERATIONS)),
    "scipy-cg": (UNCONSTRAINED, _scipy("CG", maxiter=ITERATIONS)),
    "scipy-newton-cg": (UNCONSTRAINED, _scipy("Newton-CG", None, xtol=1e-10, maxiter=ITERATIONS)),
    "scipy-tnc": (BOUNDED, _scipy("TNC", ftol=SMALLEST, xtol=SMALLEST, maxfun=EVALUATIONS)),
    "scipy-slsqp": (BOUNDED, _scipy("SLSQP", None, ftol=1e-14, maxiter=ITERATIONS)),
    "scipy-trust-constr": (BOUNDED, _scipy("trust-constr", xtol=1e-12, maxiter=ITERATIONS)),
    "optimistix-bfgs": (UNCONSTRAINED, partial(run_optimistix, "BFGS")),
    "optimistix-lbfgs": (UNCONSTRAINED, partial(run_optimistix, "LBFGS")),
    "jaxopt-bfgs": (UNCONSTRAINED, partial(run_jaxopt, "BFGS")),
    "jaxopt-lbfgs": (UNCONSTRAINED, partial(run_jaxopt, "LBFGS")),
    "jaxopt-lbfgsb": (BOUNDED, partial(run_jaxopt, "LBFGSB")),
}
