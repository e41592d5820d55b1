"""The linear least-squares problem at a point, and what it says of the point.

The model is |r + J s|^2 for the variables that no bound holds, reduced to n equations in units of the columns' lengths:

    |r + J s|^2 = |q + R c s|^2 + rest,    c_j = |J_j|.

Gauss and Newton's step is its minimum, c s = -R^-1 q; there |r|^2 has fallen by q'q, which is what the model promises.
All numbers are in the unit of the evaluation's residuals; see `linearization`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.core.lanes_last import total
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import ordered_dot
from jaxcalc.methods.least_squares.factors import MOST_UNROLLED, symmetric, triangle
from jaxcalc.methods.least_squares.linearization import Linearization

# A diagonal entry of R below this many n eps is zero up to rounding: the columns have length one.
RANK = 10


class Model(NamedTuple):
    """The linear problem of each lane."""

    factor: Array  # (n, n, L) R, upper triangular; the identity for held variables
    q: Array  # (n, L); zero for held variables
    lengths: Array  # (n, L) c, 1 where a column is zero
    full_rank: Array  # (L,) R is regular beyond rounding
    promised: Array  # (L,) q'q, the fall of |r|^2 that the model promises
    free: Array  # (L,) how many variables are free
    count: Array  # (L,) how many points there are
    rounding: Array  # (L,) the rounding error of |r|^2
    size: Array  # (L,) |s|^2, s_i being the sum of the sizes of what residual i changes by with each variable
    square: Array  # (L,) |r|^2, or with a robust loss twice the cost
    unit: Array | None  # (L,) of the residuals; None is 1


def modelled(evaluation: Linearization, box: Box) -> tuple[Model, Array]:
    """Returns the model at an evaluation's point, and the lengths of all columns, those of held variables too."""
    columns, r = evaluation.jacobian, evaluation.residual
    free = box.free(evaluation.point, evaluation.gradient)
    unit, weight = evaluation.unit, evaluation.column_unit
    whole = None if unit is None or weight is None else 1 / (unit * weight)
    if len(columns) <= MOST_UNROLLED:
        gram = _gram(columns) if whole is None else _gram_in_units(columns, whole)
        squares = jnp.stack([gram[k, k] for k in range(len(gram))])
    else:
        gram, squares = None, _squares(columns if whole is None else columns * whole[:, None])
    lengths, inverse = _lengths(squares, free)
    scaled = inverse * evaluation.correlation
    unit_gram = None if gram is None else _unit_gram(gram, inverse, free)
    reduced = triangle(columns, inverse if whole is None else inverse * whole, r, unit_gram, scaled, unit)
    factor = _with_held(reduced.factor, free) if box.is_bounded else reduced.factor
    rounding, size = _rounding(columns, r, evaluation.point, evaluation.square, unit)
    rank, free_count = _rank(factor, free)
    model = Model(
        factor,
        reduced.q,
        lengths if weight is None else weight * lengths,
        rank,
        ordered_dot(reduced.q, reduced.q),
        free_count,
        evaluation.count,
        rounding,
        size,
        evaluation.square,
        unit,
    )
    return model, jnp.sqrt(squares) if weight is None else weight * jnp.sqrt(squares)


@kernel
def _gram(columns: Array) -> Array:
    """Returns J'J, (n, n, L)."""
    return symmetric(len(columns), lambda i, j: total(columns[i] * columns[j]))


def _gram_in_units(columns: Array, whole: Array) -> Array:
    """Returns J'J of columns that are multiplied by `whole`, (n, L), which is 1 almost always."""
    scaled = lambda _: _gram(columns * whole[:, None])  # noqa: E731
    return jax.lax.cond(jnp.any(whole != 1), scaled, lambda _: _gram(columns), None)


@kernel
def _squares(columns: Array) -> Array:
    return total(columns * columns, axis=1)


@kernel
def _lengths(squares: Array, free: Array) -> tuple[Array, Array]:
    """Returns the columns' lengths, 1 where zero, and their inverses, 0 for held variables and columns of zero."""
    lengths = jnp.where(squares > 0, jnp.sqrt(squares), 1)
    return lengths, jnp.where(free & (squares > 0), 1 / lengths, 0)


@kernel
def _unit_gram(gram: Array, inverse: Array, free: Array) -> Array:
    eye = jnp.eye(len(gram), dtype=gram.dtype)[:, :, None]
    return gram * (inverse[:, None] * inverse[None]) + eye * jnp.where(free, 0, 1).astype(gram.dtype)


@kernel
def _with_held(factor: Array, free: Array) -> Array:
    """Returns R with ones on the diagonal for held variables, whose rows and columns are zero otherwise."""
    eye = jnp.eye(len(factor), dtype=bool)[:, :, None]
    return jnp.where(eye & ~free, 1, factor)


@kernel
def _rank(factor: Array, free: Array) -> tuple[Array, Array]:
    """Returns whether R is regular beyond rounding, and how many variables are free."""
    n = len(factor)
    least = RANK * n * jnp.finfo(factor.dtype).eps
    full = jnp.all(jnp.stack([factor[k, k] > least for k in range(n)]), axis=0)
    return full, jnp.sum(free, axis=0).astype(factor.dtype)


@kernel
def _rounding(columns: Array, r: Array, x: Array, square: Array, unit: Array | None) -> tuple[Array, Array]:
    """Returns the rounding error of |r|^2, and |s|^2 with s_i = sum_j |J_ij x_j|."""
    x = x if unit is None else x / unit
    sizes = sum((jnp.abs(columns[j] * x[j]) for j in range(1, len(x))), jnp.abs(columns[0] * x[0]))
    eps = jnp.finfo(r.dtype).eps
    size = total(sizes * sizes)
    # In shares of |r|, so that no fourth powers of the residuals' unit are formed.
    inverse = jnp.where(square > 0, jax.lax.rsqrt(square), 0)
    share = r * (inverse if unit is None else inverse / unit)
    return 2 * eps * jnp.sqrt(square * total((share * sizes) ** 2)) + eps * square, size
