"""Resamples of data: their weights, the fits of them, and the quantiles of the estimates."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import Array

from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.curve import CountCurve, Points, values_of
from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.solve import solve_all

if TYPE_CHECKING:
    from jaxcalc.optimize.fitting.result import CurveFitResult

RESAMPLINGS = ("case", "residual")


def multinomial(generator: np.random.Generator, present: np.ndarray, resamples: int) -> np.ndarray:
    """Returns how often each observation is drawn, (N, R, m), from those that are present, (N, m)."""
    counts = present.sum(axis=1)
    shares = present / np.maximum(counts, 1)[:, None]
    return np.stack([generator.multinomial(int(n), p, size=resamples) for n, p in zip(counts, shares, strict=True)])


def without_each(x: Any, success: Array, first: int) -> Any:
    """Returns the rows of x from `first` on, NaN where a fit did not succeed."""

    def rows(leaf: Array) -> Array:
        good = success.reshape(-1, *(1,) * (leaf.ndim - 1))
        return jnp.where(good, leaf, jnp.nan)[first:]

    return jax.tree.map(rows, x)


def refitted(
    fit: "CurveFitResult", resampling: str, resamples: int, jackknife: bool, generator: np.random.Generator,
    lanes: int | None,
) -> tuple[Array, Array, Array | None]:  # fmt: skip
    """Returns the parameters of resamples, (R, n) or (N, R, n), the statuses, and the parameters without each point."""
    problem = fit.problem
    own, points = problem.args
    points = points.completed(problem.shared[0])
    count, (m, n) = problem.rows, (points.y.shape[-1], problem.x0.shape[1])
    if points.whitening is not None:
        raise ValueError("points with a covariance are not independent, so that resamples of them mean nothing.")
    weights = problem.shared[1].weights if own.weights is None else own.weights
    present = np.broadcast_to(np.ones(m) if weights is None else np.asarray(weights) != 0, (count, m)).astype(float)
    if resampling == "case":
        drawn, y = multinomial(generator, present, resamples), None
    else:
        drawn = np.broadcast_to(present[:, None], (count, resamples, m))
        y = _resampled(fit, present, generator, resamples)
    if jackknife:
        left = present[:, None] * (1 - np.eye(m))
        drawn = np.concatenate([drawn, left], axis=1)
        y = None if y is None else np.concatenate([y, np.broadcast_to(_y(points, count)[:, None], left.shape)], axis=1)
    each = drawn.shape[1]
    queue = _queue(problem, drawn.reshape(count * each, m), None if y is None else y.reshape(count * each, m), each)
    result = solve_all([fit.model], [queue], Options(family=fit.family, lanes=lanes))[0]
    x, status = result.x.reshape(count, each, n), result.status.reshape(count, each)
    known = result.success.reshape(count, each)[:, resamples:] & (present > 0) if jackknife else None
    without = None if known is None else jnp.where(known[..., None], x[:, resamples:], jnp.nan)
    found = (x[:, :resamples], status[:, :resamples], without)
    return found if fit.is_batch else jax.tree.map(lambda leaf: leaf[0], found)


def percentile(rows: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the quantiles of the estimates, rows (R, ...) with NaN for those that do not count."""
    outside = 0.5 * (1 - level)
    lower, upper = np.nanquantile(rows, [outside, 1 - outside], axis=0)
    return lower, upper


def bca(rows: np.ndarray, estimate: np.ndarray, without: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the quantiles at corrected probabilities (Efron 1987).

        alpha_k = Phi(z0 + (z0 + z_k) / (1 - a (z0 + z_k))),

    with z0 from the share of estimates below that of the data, and a a sixth of the skewness of the jackknife's.

    Args:
        rows: The resamples' estimates, (R, ...).
        estimate: That of the data, (...).
        without: Those without one observation each, (m, ...).
        level: The probability.
    """
    counted = np.sum(~np.isnan(rows), axis=0)
    below = np.sum(rows < estimate, axis=0) + 0.5 * np.sum(rows == estimate, axis=0)
    shift = scipy.special.ndtri(np.clip(below / counted, 0.5 / counted, 1 - 0.5 / counted))
    distance = np.nanmean(without, axis=0) - without
    cubes, squares = np.nansum(distance**3, axis=0), np.nansum(distance**2, axis=0)
    acceleration = np.where(squares > 0, cubes / (6 * np.where(squares > 0, squares, 1) ** 1.5), 0)
    ends = []
    for outside in (0.5 * (1 - level), 0.5 * (1 + level)):
        moved = shift + scipy.special.ndtri(outside)
        probability = scipy.special.ndtr(shift + moved / (1 - acceleration * moved))
        ends.append(_quantile(rows, probability))
    return ends[0], ends[1]


def _quantile(rows: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Returns the quantile of each column at its own probability."""
    flat, wanted = rows.reshape(len(rows), -1), np.broadcast_to(probability, rows.shape[1:]).ravel()
    columns = [np.nanquantile(flat[:, k], wanted[k]) for k in range(flat.shape[1])]
    return np.asarray(columns).reshape(rows.shape[1:])


def _y(points: Points, count: int) -> np.ndarray:
    y = np.asarray(points.y)
    return np.broadcast_to(y, (count, y.shape[-1]))


def _resampled(
    fit: "CurveFitResult", present: np.ndarray, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """Returns the fitted curves with residuals that are drawn anew, (N, R, m)."""
    problem = fit.problem
    if fit.family is CountCurve:
        raise ValueError("counts have no residuals of one kind: use resampling='case'.")
    own, common = problem.args[1], problem.shared[0]
    points = own.completed(common)
    count, m = present.shape
    values = np.asarray(compiled(_curves, [fit.model])(None, problem))
    sigma = 1.0 if points.sigma is None else np.asarray(points.sigma)
    errors = np.where(present > 0, (_y(points, count) - values) / sigma, 0)
    counts = present.sum(axis=1, keepdims=True)
    errors = np.where(present > 0, errors - errors.sum(axis=1, keepdims=True) / counts, 0)
    degrees = np.broadcast_to(np.asarray(fit.degrees), (count,))[:, None]
    errors = errors * np.sqrt(counts / np.maximum(degrees, 1))
    drawn = [generator.choice(np.flatnonzero(row), size=(resamples, m)) for row in present]
    again = np.stack([errors[k][drawn[k]] for k in range(count)])
    return values[:, None] + again * np.broadcast_to(sigma, (count, m))[:, None]


def _curves(functions: Any, _: None, problem: Problem) -> Array:
    """Returns the fitted curves, (N, m)."""

    def of_one(p: Array, own: Points) -> Array:
        points = own.completed(problem.shared[0])
        return values_of(functions[0], points.x, p, points.y.shape)

    return jax.vmap(of_one)(problem.x0, problem.args[1])


def _queue(problem: Problem, weights: np.ndarray, y: np.ndarray | None, each: int) -> Problem:
    """Returns the queue in which each fit stands `each` times, with weights and, if given, data of its own."""
    (own, points), (common_points, common) = problem.args, problem.shared
    count, dtype = problem.rows, points.completed(common_points).y.real.dtype
    if count == 1:
        # One set of data is shared by all resamples.
        common_points = jax.tree.map(lambda leaf: leaf[0], points).completed(common_points)
        points = Points()

    def repeated(leaf: Array) -> Array:
        return jnp.repeat(leaf, each, axis=0) if leaf.ndim and len(leaf) == count else leaf

    x0, own, points, sides, scale, tolerances = jax.tree.map(
        repeated, (problem.x0, own, points, problem.box, problem.scale, problem.tolerances)
    )
    if y is not None:
        points = dataclasses.replace(points, y=jnp.asarray(y, dtype))
        common_points = dataclasses.replace(common_points, y=None)
    own = dataclasses.replace(own, weights=jnp.asarray(weights, dtype))
    common = dataclasses.replace(common, weights=None)
    return problem._replace(
        x0=x0, args=(own, points), shared=(common_points, common), box=sides, scale=scale, tolerances=tolerances
    )
