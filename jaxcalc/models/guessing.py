"""Starts for curve fits: the best of a grid of curves whose linear parameters are fitted exactly.

Most parameters of a curve are amplitudes and offsets, in which it is linear. For each of a few hundred values of the
others the linear ones are the solution of a small least-squares problem, and the candidate with the least sum of
squares is the start (variable projection: Golub and Pereyra 1973). No derivative is followed, so that no local minimum
between the candidates can hold a guess up.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import as_real, called_as
from jaxcalc.core.tracing import own_promotion


class Model(Protocol):
    """A curve model(x, *p) with the names of its parameters and a start for a fit of it."""

    __name__: str
    names: tuple[str, ...]
    guess: Callable[[Any, Any], Array]

    def __call__(self, x: Any, *parameters: Any) -> Array:
        """Returns the values of the curve at x."""
        ...


def with_guess(one: Callable[[Array, Array], Array], dimensions: int = 1) -> Callable[[Callable], Model]:
    """Returns a decorator that gives a curve `names`, those of its parameters, and `guess`.

    Args:
        one: (x, y) of one data set -> a start, (n,).
        dimensions: The number of axes of x of one data set.
    """

    @jax.jit
    @own_promotion()
    def best(x: Array, y: Array) -> Array:
        if y.ndim == 1:
            return one(x, y)
        return jax.vmap(one, (0 if x.ndim > dimensions else None, 0))(x, y)

    @called_as("model.guess(x, y)", 0)
    def guess(x: Any, y: Any) -> Array:
        x, y = as_real(x, "x"), as_real(y, "y")
        if x.ndim < dimensions or not y.ndim or x.shape[-1] != y.shape[-1] or not y.size:
            kind = "(m,)" if dimensions == 1 else f"({dimensions}, m)"
            raise ValueError(
                f"x and y must hold the same m points, x of shape {kind} and y of shape (m,) or (N, m); they have the "
                f"shapes {x.shape} and {y.shape}."
            )
        return best(x, y)

    def decorate(curve: Callable) -> Model:
        model = cast(Any, curve)
        code = model.__code__
        model.names = code.co_varnames[1 : code.co_argcount]
        model.guess = guess
        return model

    return decorate


def best_of(columns: Callable[[Array], Sequence[Array]], candidates: Array, y: Array) -> tuple[Array, Array]:
    """Returns the candidate whose curve is nearest to y, (q,), and its linear coefficients, (k,).

    Args:
        columns: (q,) -> the k curves, (m,) each, of which y is a linear combination.
        candidates: The values of the other parameters, (K, q).
        y: The data, (m,).
    """

    def consider(best: tuple, candidate: Array) -> tuple[tuple, None]:
        least, *_ = best
        square, coefficients = _linear_fit(columns(candidate), y)
        better = square < least  # False where it is NaN
        new = (square, candidate, coefficients)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), new, best), None

    candidates = candidates.astype(y.dtype)
    first = (jnp.asarray(jnp.inf, y.dtype), candidates[0], jnp.zeros(len(columns(candidates[0])), y.dtype))
    (_, candidate, coefficients), _ = jax.lax.scan(consider, first, candidates)
    return candidate, coefficients


def descended(curve: Callable[[Array], Array], p: Array, y: Array, steps: int) -> tuple[Array, Array]:
    """Returns parameters after a few steps of Levenberg and Marquardt's method, (n,), and their sum of squares.

    Rough starts of several kinds are so compared by what they lead to.

    Args:
        curve: (n,) -> the values at the points, (m,).
        p: The start, (n,).
        y: The data, (m,).
        steps: How many are taken.
    """

    def square(p: Array) -> Array:
        return jnp.sum((curve(p) - y) ** 2)

    def step(_: int, state: tuple) -> tuple:
        p, least, damping = state
        J = jax.jacfwd(curve)(p)
        lengths = jnp.sqrt(jnp.sum(J * J, axis=0))
        unit = jnp.where(lengths > 0, lengths, 1)
        J = J / unit
        matrix = jnp.matmul(J.T, J, precision="highest") + damping * jnp.eye(len(p), dtype=y.dtype)
        trial = p + jnp.linalg.solve(matrix, jnp.matmul(J.T, y - curve(p), precision="highest")) / unit
        value = square(trial)
        better = value < least  # False where it is NaN
        damping = jnp.where(better, 0.2 * damping, 5 * damping)
        return jnp.where(better, trial, p), jnp.where(better, value, least), damping

    p, least, _ = jax.lax.fori_loop(0, steps, step, (p, square(p), jnp.asarray(1e-2, y.dtype)))
    return p, least


def grid(*axes: Array) -> Array:
    """Returns every combination of the axes' values, (K, q)."""
    return jnp.stack([axis.ravel() for axis in jnp.meshgrid(*axes, indexing="ij")], axis=1)


def geometric(low: Any, high: Any, count: int) -> Array:
    """Returns `count` positive numbers in equal ratios from low to high."""
    return jnp.exp(jnp.linspace(jnp.log(low), jnp.log(high), count))


def extent(x: Array) -> tuple[Array, Array, Array]:
    """Returns the least x, the span, and the mean spacing, each positive where there is only one x."""
    low, span = jnp.min(x), jnp.max(x) - jnp.min(x)
    span = jnp.where(span > 0, span, 1)
    return low, span, span / max(x.size - 1, 1)


def peak_centers(x: Array, y: Array) -> Array:
    """Returns where a peak or a dip may stand: the extremes of running means over 1, 3, 7, 15, ... points."""
    order = jnp.argsort(x)
    x, y = x[order], y[order]
    # About the mean, so that sums of many points lose nothing.
    sums = jnp.concatenate([jnp.zeros(1, y.dtype), jnp.cumsum(y - jnp.mean(y))])
    centers, window = [], 1
    while window <= max(1, len(y) // 2):
        means = sums[window:] - sums[:-window]
        centers += [x[jnp.argmax(means) + window // 2], x[jnp.argmin(means) + window // 2]]
        window = 2 * window + 1
    return jnp.stack(centers)


def _linear_fit(columns: Sequence[Array], y: Array) -> tuple[Array, Array]:
    """Returns the least |y - sum_j a_j c_j|^2 and the a_j, by Gram-Schmidt; the a_j of a dependent column is 0."""
    left, count = list(columns), len(columns)
    rows, along = [], []
    for k in range(count):
        square, size = jnp.sum(left[k] * left[k]), jnp.sum(columns[k] * columns[k])
        some = square > 100 * jnp.finfo(y.dtype).eps * size
        unit = jnp.where(some, left[k] / jnp.where(some, square, 1), 0)
        rows.append([jnp.sum(unit * columns[j]) for j in range(count)])
        along.append(jnp.sum(unit * y))
        y = y - along[k] * jnp.where(some, left[k], 0)
        for j in range(k + 1, count):
            left[j] = left[j] - jnp.sum(unit * left[j]) * left[k]
    found: list[Array] = [jnp.zeros(())] * count
    for k in reversed(range(count)):
        found[k] = along[k] - sum((rows[k][j] * found[j] for j in range(k + 1, count)), jnp.zeros((), y.dtype))
    return jnp.sum(y * y), jnp.stack(found)
