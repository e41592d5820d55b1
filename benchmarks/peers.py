"""The peers, each as its users would run it on a batch, at the settings that measured fastest.

Optimistix: `throw=False` and one jit around the whole batch; `use_inverse=True` (the default) took a quarter of the
time of False, and the norms only rescale the tolerance, which is searched for anyway.
JAXopt: no longer maintained, but it runs; Hager-Zhang was its only line search to solve all problems, ten times as
fast as the others. It stops on the gradient itself (in the 2-norm), so there is no tolerance to search.
SciPy: one problem after the other with a jitted value and gradient.
"""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array

from benchmarks.fairness import GRADIENT

HAS_OPTIMISTIX = importlib.util.find_spec("optimistix") is not None
HAS_JAXOPT = importlib.util.find_spec("jaxopt") is not None
# The peers that are installed take part, with the whole batch at once and in blocks; a wide device wants wide ones.
BLOCKS = {"cpu": (64, 256)}
WIDE_BLOCKS = (4_096,)
# Optimistix comes nowhere near it; it bounds a run in which a lane never ends.
MAX_STEPS = 20_000
JAXOPT_ITERATIONS = 2_000


def blocks() -> tuple[int, ...]:
    """Returns how many problems the peers are given at once, beside all of them, on the device that computes."""
    return BLOCKS.get(jax.default_backend(), WIDE_BLOCKS)


def optimistix_bfgs(fun: Callable, block: int | None = None) -> Callable:
    """Returns solve(x0, args, tolerance) -> x (N, n): one vmap over the batch, or `lax.map` over blocks of it.

    The tolerance, rtol = atol, is traced, so that a search over tolerances compiles once.
    """
    import optimistix as optx

    def objective(x: Array, args: tuple) -> Array:
        return fun(x, *args)

    def solve(x0: Array, args: tuple, tolerance: float) -> Array:
        solver = optx.BFGS(rtol=tolerance, atol=tolerance)

        def solve_one(x0: Array, args: tuple) -> Array:
            return optx.minimise(objective, solver, x0, args=args, max_steps=MAX_STEPS, throw=False).value

        return _mapped(solve_one, x0, args, block)

    return jax.jit(solve)


def jaxopt_bfgs(fun: Callable, block: int | None = None) -> Callable:
    """Returns solve(x0, args) -> x (N, n)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, on import
        import jaxopt

    solver = jaxopt.BFGS(fun, tol=GRADIENT, maxiter=JAXOPT_ITERATIONS, linesearch="hager-zhang")
    return jax.jit(lambda x0, args: _mapped(lambda x0, args: solver.run(x0, *args).params, x0, args, block))


def scipy_bfgs(fun: Callable, x0: Array, args: tuple) -> Callable[[], Array]:
    """Returns a call that solves these problems in a Python loop and returns x (N, n)."""
    value_and_gradient = jax.jit(jax.value_and_grad(fun))
    starts, rows = np.asarray(x0), [np.asarray(leaf) for leaf in args]

    def evaluate(x: np.ndarray, *args: Any) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(x, *args)
        return float(value), np.asarray(gradient)

    def solve_one(start: np.ndarray, *args: Any) -> np.ndarray:
        return scipy.optimize.minimize(evaluate, start, args, jac=True, method="BFGS", options={"gtol": GRADIENT}).x

    return lambda: jnp.asarray(np.stack([solve_one(*problem) for problem in zip(starts, *rows, strict=True)]))


def _mapped(solve_one: Callable, x0: Array, args: tuple, block: int | None) -> Array:
    if block is None:
        return jax.vmap(solve_one)(x0, args)
    return jax.lax.map(lambda problem: solve_one(*problem), (x0, args), batch_size=block)
