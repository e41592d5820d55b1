"""What SUCCESS is worth by default where units are odd: fits, regressions and energies, variables and values scaled.

    python -m benchmarks.units [--methods bfgs trust_region] [--count 100]

Each problem is solved as it stands, and with every variable and the value multiplied by 10^U(-6, 6). A success is wrong
if x is off by more than 1e-3 of its way from the start, in single precision by 3e-2. The last column is a second call
that starts at the solution.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

TIMES = jnp.linspace(0.1, 5.0, 20)
WRONG = {jnp.float64: 1e-3, jnp.float32: 3e-2}


def decay(p, y):
    return jnp.mean((p[0] * jnp.exp(-p[1] * TIMES.astype(p.dtype)) - y) ** 2)


def logistic(b, X, z):
    return jnp.mean(jax.nn.softplus(X @ b) - z * (X @ b)) + 0.01 * b @ b


def energy(x, centre):
    return 3 + jnp.sum(1 - 1 / (1 + (x - centre) ** 2))


def two_equations(p, q):
    return (p[0] * p[1] - q[0]) ** 2 + (p[0] - q[1]) ** 2


def families(count: int) -> Iterator[tuple[Any, np.ndarray, tuple]]:
    """Yields functions with `count` starts and their data."""
    random = np.random.default_rng(0)
    truth = np.column_stack([random.uniform(0.5, 2, count), random.uniform(0.3, 1.5, count)])
    y = truth[:, :1] * np.exp(-truth[:, 1:] * np.asarray(TIMES)) + 0.01 * random.normal(size=(count, len(TIMES)))
    yield decay, truth * random.uniform(0.6, 1.5, (count, 2)), (y,)
    X, w = random.normal(size=(count, 25, 3)), random.normal(size=(count, 3))
    z = (random.random((count, 25)) < 1 / (1 + np.exp(-np.einsum("nij,nj->ni", X, w)))).astype(float)
    yield logistic, 0.5 * random.normal(size=(count, 3)), (X, z)
    yield energy, 1 + 0.3 * random.normal(size=(count, 3)), (np.ones((count, 3)),)
    yield two_equations, random.uniform(1, 2, (count, 2)), (random.uniform(1, 3, (count, 2)),)


def measure(fun: Any, x0: np.ndarray, data: tuple, method: str, dtype: Any, spread: float) -> str:
    """Returns how many successes are wrong, the share of successes, and median evaluations of both calls."""
    random = np.random.default_rng(1)
    units = 10 ** random.uniform(-spread, spread, x0.shape)
    size = 10 ** random.uniform(-spread, spread, len(x0))

    def in_units(z, units, size, *data):
        return size * fun(z / units, *data)

    truth = jc.minimize_many(fun, x0, data, gtol=1e-10, method="trust_region", maxiter=500)
    arguments = tuple(jnp.asarray(argument, dtype) for argument in (units, size, *data))
    found = jc.minimize_many(in_units, jnp.asarray(x0 * units, dtype), arguments, method=method)
    again = jc.minimize_many(in_units, found.x, arguments, method=method)
    error = np.linalg.norm(np.asarray(found.x, float) / units - truth.x, axis=1)
    way = np.linalg.norm(x0 - np.asarray(truth.x), axis=1)
    success = np.asarray(found.success)
    wrong = np.sum(success & np.asarray(truth.success) & (error > WRONG[dtype] * way))
    share = f"{100 * np.mean(success):.0f} %"
    return f"{wrong} wrong, {share}, {np.median(found.nfev):.0f}, again {np.median(again.nfev):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.units", description="SUCCESS in odd units.")
    parser.add_argument("--methods", nargs="+", default=["bfgs", "trust_region"], choices=list(jc.methods.REGISTRY))
    parser.add_argument("--count", type=int, default=100, help="problems of each family; default 100")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    for dtype in WRONG:
        for fun, x0, data in families(options.count):
            for method in options.methods:
                plain, odd = (measure(fun, x0, data, method, dtype, spread) for spread in (0.0, 6.0))
                print(f"{dtype.__name__} {fun.__name__} {method}: as it stands {plain}; in odd units {odd}", flush=True)


if __name__ == "__main__":
    main()
