"""The covariance of fitted parameters, from the Jacobian of the residuals at the fit.

With columns of length one J = Q R, R upper triangular, by modified Gram-Schmidt, so that the condition of J is not
squared. The covariance of the free parameters is then

    least squares      s^2 (R'R)^-1,    s^2 = |r|^2 / (m - n), or 1 where sigma is absolute;
    counts             (R'R)^-1, the inverse Fisher information;
    robust losses      m / (m - n) A^-1 B A^-1,    A = J' diag(c) J,    B = J' diag(psi^2) J,

the sandwich of Huber (1967), with psi_i the derivative of the loss of point i and c_i that of psi_i. n counts the free
parameters. A parameter that lower = upper fixes has a variance of 0, and one that a bound holds NaN: it has no normal
distribution. That of the others is then given those.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.residual import FitRows, Residual
from jaxcalc.engine.problem import Problem
from jaxcalc.methods.box import Box
from jaxcalc.methods.least_squares.counts import Counts
from jaxcalc.methods.least_squares.linearization import Residuals, residual_jacobian
from jaxcalc.methods.least_squares.losses import ROBUST
from jaxcalc.methods.least_squares.model import RANK
from jaxcalc.methods.units import power_near

# Fits whose Jacobians are in memory at once.
BLOCK = 1024


class Covariances(NamedTuple):
    """The covariances of N fits."""

    matrix: Array  # (N, n, n) infinite where the free parameters are not determined
    degrees: Array  # (N,) points less free parameters
    undetermined: Array  # (N,)
    rows: FitRows | None  # of one fit alone


def covariances_of(
    model: Callable, family: type[Residual], problem: Problem, gradient: Array, absolute: bool
) -> Covariances:
    """Returns the covariances of the parameters `problem.x0`, (N, n).

    Args:
        model: The model, or what else the family takes.
        family: The family of the problem.
        problem: The queue of fits, with what was found in the place of the starts.
        gradient: That of the cost at what was found, (N, n).
        absolute: Whether the data's standard errors are absolute.
    """
    return compiled(_covariances, [model])((family, absolute), problem, gradient)


def _covariances(
    functions: Sequence[Callable], static: tuple[type[Residual], bool], problem: Problem, gradient: Array
) -> Covariances:
    family_type, absolute = static
    family = family_type.for_queue(family_type.prepared(functions[0]), problem)
    count = problem.rows
    sides = (
        Box(*(jnp.broadcast_to(side, (count, family.n)) for side in problem.box)) if problem.box.is_bounded else Box()
    )

    def of_one(rows: tuple) -> tuple[Covariances, Array, Array, Array]:
        x, gradient, args, box = rows
        u = x.astype(family.dtype)
        columns, (residuals, _) = residual_jacobian(lambda u: family.output(u, args, problem.shared), u)
        r, columns, is_robust, curvature, score = _linear(residuals, columns)
        fixed = box.lower == box.upper if box.is_bounded else jnp.zeros(u.shape, bool)
        free = box.free(x, gradient) & ~fixed
        factor, basis, lengths = _gram_schmidt(jnp.where(free[:, None], columns, 0))
        degrees = residuals.count - jnp.sum(free, dtype=u.dtype)
        needs_variance = is_robust or not (absolute or isinstance(residuals, Counts))
        deviation = _length(r) / jnp.sqrt(degrees) if needs_variance and not is_robust else 1
        matrix, full_rank = _covariance(factor, basis, lengths, free, deviation, curvature, score)
        if is_robust:
            matrix = matrix * (residuals.count / degrees)
        finite = jnp.all(jnp.isfinite(columns)) & jnp.all(jnp.isfinite(r))
        undetermined = finite & (~full_rank | (needs_variance & (degrees <= 0)))
        matrix = _with_held(matrix, free, fixed, undetermined)
        return Covariances(matrix, degrees, undetermined, None), columns.T, r, residuals.count

    rows = (problem.x0, gradient, problem.args, sides)
    with jax.default_matmul_precision("highest"):
        if count != 1:
            keep = lambda rows: of_one(rows)[0]  # noqa: E731
            return jax.vmap(keep)(rows) if count <= BLOCK else _in_blocks(keep, rows, count)
        found, jacobian, r, points = jax.vmap(of_one)(rows)
    return found._replace(rows=FitRows(jnp.zeros(1, r.dtype), r, jacobian, points, r))


def _in_blocks(of_one: Callable, rows: tuple, count: int) -> Covariances:
    """Returns what `jax.lax.map` with batch_size does, but traces and compiles one block's size alone."""

    def of_block(block: Array) -> Covariances:
        index = jnp.minimum(block * BLOCK + jnp.arange(BLOCK), count - 1)
        return jax.vmap(of_one)(jax.tree.map(lambda leaf: leaf[index], rows))

    blocks = jax.lax.map(of_block, jnp.arange(-(-count // BLOCK)))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], blocks)


def _linear(residuals: Residuals, columns: Array) -> tuple[Array, Array, bool, Any, Any]:
    """Returns r and J by columns without the loss, whether there is one, and the c_i and psi_i of the sandwich."""
    if residuals.loss == "linear":
        r, columns, _ = residuals.linear_problem(columns)
        return r, columns, False, None, None
    present = residuals.is_present
    scale: Any = residuals.f_scale
    r = residuals.vector
    if present is not None:
        r, columns = jnp.where(present, r, 0), jnp.where(present, columns, 0)
    z = (r / scale) ** 2
    _, slope, second = ROBUST[residuals.loss](z)
    return r, columns, True, slope + 2 * z * second, slope * r


def _gram_schmidt(columns: Array) -> tuple[Array, Array, Array]:
    """Returns R, Q by columns, and the lengths of the columns, 1 where zero; R has a row of zeros for such a column."""
    n = len(columns)
    lengths = jax.vmap(_length)(columns)
    lengths = jnp.where(lengths > 0, lengths, 1)
    left = columns / lengths[:, None]

    def take(k: Array, carry: tuple) -> tuple:
        left, factor, basis = carry
        square = left[k] @ left[k]
        some = square > 0
        length = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)
        unit = left[k] * jnp.where(some, 1 / jnp.where(some, length, 1), 0)
        row = jnp.where(jnp.arange(n) > k, jnp.sum(left * unit, axis=1), 0)
        factor = factor.at[k].set(row.at[k].set(length))
        return left - row[:, None] * unit, factor, basis.at[k].set(unit)

    start = (left, jnp.zeros((n, n), left.dtype), jnp.zeros_like(left))
    _, factor, basis = jax.lax.fori_loop(0, n, take, start)
    return factor, basis, lengths


def _length(vector: Array) -> Array:
    """Returns the Euclidean length; in single precision the squares of small and large numbers are out of range."""
    unit = jax.lax.stop_gradient(power_near(jnp.max(jnp.abs(vector))))
    shares = vector / unit
    square = jnp.sum(shares * shares)
    return jnp.where(square > 0, unit * jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _covariance(
    factor: Array, basis: Array, lengths: Array, free: Array, deviation: Any, curvature: Any, score: Any
) -> tuple[Array, Array]:
    """Returns the covariance and whether R is regular; R has ones for held parameters.

    The residuals' standard deviation multiplies R's inverse, so that no variance out of the dtype's range is formed.
    """
    n = len(factor)
    diagonal = jnp.where(free, jnp.diagonal(factor), 1)
    full_rank = jnp.all(diagonal > RANK * n * jnp.finfo(factor.dtype).eps)
    eye = jnp.eye(n, dtype=factor.dtype)
    factor = jnp.where(full_rank, jnp.where(eye > 0, diagonal * eye, factor), eye)
    inverse = deviation * (_inverse(factor) / lengths[:, None])
    if curvature is None:
        return inverse @ inverse.T, full_rank
    held = jnp.diag(jnp.where(free, 0, 1).astype(factor.dtype))
    bread, meat = (basis * curvature) @ basis.T + held, (basis * score**2) @ basis.T
    chol = jnp.linalg.cholesky(bread)  # NaN where the loss has no minimum here
    half = jax.scipy.linalg.cho_solve((chol, True), inverse.T).T
    return half @ meat @ half.T, full_rank


def _inverse(factor: Array) -> Array:
    """Returns the inverse of an upper triangular matrix, row by row from the last."""
    n = len(factor)

    def row(turn: Array, inverse: Array) -> Array:
        k = n - 1 - turn
        unit = (jnp.arange(n) == k).astype(factor.dtype)
        rest = jnp.where(jnp.arange(n) > k, factor[k], 0) @ inverse
        return inverse.at[k].set((unit - rest) / factor[k, k])

    return jax.lax.fori_loop(0, n, row, jnp.zeros_like(factor))


def _with_held(matrix: Array, free: Array, fixed: Array, undetermined: Array) -> Array:
    matrix = jnp.where(undetermined, jnp.inf, matrix)
    matrix = jnp.where(free[:, None] & free[None], matrix, jnp.nan)
    return jnp.where(fixed[:, None] | fixed[None], 0, matrix)
