"""Least squares for streams: what `least_squares_many` returns without residuals, with standard errors."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import arrays, as_tuple
from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.residual import FitRows, Residual, Setting, linearizations
from jaxcalc.engine.problem import Problem
from jaxcalc.methods.lane_algebra import cholesky, solve_lower
from jaxcalc.optimize.arguments import chosen_method
from jaxcalc.optimize.curve_fit import curve_fit, is_quiet
from jaxcalc.optimize.least_squares import least_squares_many
from jaxcalc.optimize.least_squares_result import LeastSquaresResult

# How many Jacobians exist at the same time.
BLOCK = 256


@dataclasses.dataclass(frozen=True, repr=False)
class StreamedFit(LeastSquaresResult):
    """A result of least squares with what a stream keeps of the covariance.

    Attributes:
        stderr: The standard error of each variable, (N, n), variables in the order of `jax.flatten_util.ravel_pytree`.
        covariance: The upper triangle of the covariance row by row, (N, n (n + 1) / 2), float32.
    """

    stderr: Any = None
    covariance: Any = None


def least_squares_rows(
    fun: Callable,
    x0: Any,
    args: Any,
    *,
    shared: Any,
    standard_errors: bool,
    covariance: bool,
    weights: Any = None,
    f_scale: Any = 1.0,
    loss: str = "linear",
    **options: Any,
) -> StreamedFit:
    """Returns the results of `least_squares_many`, with standard errors and covariances where they are asked for."""
    result = least_squares_many(
        fun, x0, args, shared=shared, weights=weights, f_scale=f_scale, loss=loss, **options
    )  # fmt: skip
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if not (standard_errors or covariance):
        return StreamedFit(**fields)
    weights = None if weights is None else arrays("weights", weights)
    f_scale = None if loss == "linear" else jnp.asarray(f_scale, float)
    has_own = (weights is not None and len(weights) == len(result), f_scale is not None and f_scale.ndim > 0)
    own = Setting(weights if has_own[0] else None, f_scale if has_own[1] else None, loss)
    shared_weights = None if weights is None or has_own[0] else weights[0]
    common = Setting(shared_weights, None if has_own[1] else f_scale, loss)
    queue = Problem(
        method=chosen_method("levenberg_marquardt", Residual),
        x0=result.x,
        args=(own, *arrays("args", as_tuple(args))),
        shared=(*arrays("shared", as_tuple(shared)), common),
    )
    triangle = compiled(_triangles, [fun])(None, queue)
    n = round(((8 * triangle.shape[1] + 1) ** 0.5 - 1) / 2)
    diagonal = [row * n - row * (row - 1) // 2 for row in range(n)]
    stderr = jnp.sqrt(triangle[:, jnp.array(diagonal)]) if standard_errors else None
    return StreamedFit(**fields, stderr=stderr, covariance=triangle.astype(jnp.float32) if covariance else None)


def curve_fit_rows(
    model: Callable,
    x0: Any,
    args: Any,
    *,
    shared: Any,
    method: Any,
    standard_errors: bool,
    covariance: bool,
    **options: Any,
) -> StreamedFit:
    """Returns what `curve_fit` finds of these data sets, without its warnings: each fit has its status."""
    (ydata,), (xdata,) = args, shared
    token = is_quiet.set(True)
    try:
        fit = curve_fit(model, xdata, ydata, x0, method=method, **options)
    finally:
        is_quiet.reset(token)
    fields = {field.name: getattr(fit.result, field.name) for field in dataclasses.fields(fit.result)}
    fields |= {"fun": None, "jac": None}
    above = jnp.triu_indices(fit.popt.shape[-1])
    return StreamedFit(
        **fields,
        stderr=fit.stderr if standard_errors else None,
        covariance=fit.pcov[:, above[0], above[1]].astype(jnp.float32) if covariance else None,
    )


def _triangles(functions: Sequence[Callable], _: Any, queue: Problem) -> Array:
    """Returns the upper triangles of the covariances at x0, (N, n (n + 1) / 2), a block of problems at a time."""
    count = queue.rows
    width = min(BLOCK, count)
    blocks = -(-count // width)
    indices = jnp.minimum(jnp.arange(blocks * width).reshape(blocks, width), count - 1)

    def of_block(rows: Array) -> Array:
        x0, args = jax.tree.map(lambda leaf: leaf[rows], (queue.x0, queue.args))
        return covariance_triangles(linearizations(functions, None, queue._replace(x0=x0, args=args)))

    triangles = jax.lax.map(of_block, indices)
    return triangles.reshape(blocks * width, -1)[:count]


def covariance_triangles(at: FitRows) -> Array:
    """Returns the upper triangles of s^2 (J'J)^-1, row by row, (N, n (n + 1) / 2); inf where J'J is singular.

    s^2 = 2 cost / (m - n) estimates the variance of the residuals from m points that are not missing; with m <= n
    there is no estimate and the covariance is inf, as in SciPy.
    """
    jacobian = jnp.moveaxis(at.jacobian, 0, -1)  # (m, n, N)
    m, n, _ = jacobian.shape
    size = jnp.sqrt(jnp.sum(jacobian**2, axis=0))
    scaled = jacobian / jnp.where(size > 0, size, 1)
    normal = jax.lax.fori_loop(
        0, m, lambda k, sum_: sum_ + scaled[k][:, None] * scaled[k][None], jnp.zeros((n, *size.shape), size.dtype)
    )
    factor, is_positive = cholesky(normal, jnp.zeros_like(size[0]))
    inverse = jnp.stack([solve_lower(factor, jnp.zeros_like(size).at[k].set(1)) for k in range(n)], axis=1)
    # J'J = U'U, so that the entries of its inverse are products of columns of the inverse of U'.
    rows, columns = jnp.triu_indices(n)
    entries = jnp.sum(inverse[:, rows] * inverse[:, columns], axis=0) / (size[rows] * size[columns])
    freedom = at.count - n
    variance = 2 * at.cost / jnp.maximum(freedom, 1)
    known = (freedom > 0) & jnp.all(jnp.isfinite(entries), axis=0) & is_positive
    return jnp.where(known, entries * variance, jnp.inf).T
