"""Linear algebra of constrained problems over lanes, which are the last axis."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.lane_algebra import cholesky

# Sums, factors and solves of more rows than this are loops; of fewer they are formulas.
MOST_UNROLLED = 8
# So many shifts that are known to be too small are passed over at once.
MOST_PASSED_OVER = 8


@kernel
def product(matrix: Array, vector: Array) -> Array:
    """Returns the product of (m, n, L) with (n, L), as (m, L)."""
    return jnp.sum(matrix * vector[None], axis=1)


@kernel
def transposed_product(matrix: Array, vector: Array) -> Array:
    """Returns the product of the transpose of (m, n, L) with (m, L), as (n, L)."""
    return _sum_of_rows(len(matrix), lambda j: matrix[j] * vector[j], jnp.zeros(matrix.shape[1:], matrix.dtype))


@kernel
def add_weighted_squares(start: Array, matrix: Array, weights: Array) -> Array:
    """Returns start + J' diag(w) J, (n, n, L), for J (m, n, L) and w (m, L)."""
    return start + _sum_of_rows(
        len(matrix), lambda j: (weights[j] * matrix[j])[:, None] * matrix[j][None], jnp.zeros_like(start)
    )


def _sum_of_rows(count: int, term: Callable[[int], Array], zero: Array) -> Array:
    if count > MOST_UNROLLED:
        return jax.lax.fori_loop(1, count, lambda j, total: total + term(j), term(0))
    return functools.reduce(lambda total, j: total + term(j), range(1, count), term(0)) if count else zero


@kernel
def product_of_matrices(left: Array, right: Array) -> Array:
    """Returns the product of (m, n, L) with (n, k, L), as (m, k, L)."""
    n = left.shape[1]
    zero = jnp.zeros((len(left), right.shape[1], left.shape[2]), left.dtype)
    return _sum_of_rows(n, lambda j: left[:, j, None] * right[None, j], zero)


class Factor(NamedTuple):
    """U with U'U = D (M + shift G) D, in units D in which M has a unit diagonal."""

    upper: Array  # (n, n, L)
    unit: Array  # (n, L) D
    shift: Array  # (L,)
    regular: Array  # (L,)

    def solve(self, b: Array) -> Array:
        """Returns the solution of (M + shift G) v = b, (n, L), or of several systems at once, (n, k, L)."""
        solve = _unrolled_solve if len(b) <= MOST_UNROLLED else _looped_solve
        return solve(self.upper, self.unit, b if b.ndim == 3 else b[:, None]).reshape(b.shape)


@kernel
def _looped_solve(upper: Array, unit: Array, b: Array) -> Array:
    n = len(b)

    def forward(j, carry):
        rest, w = carry
        entry = rest[j] / upper[j, j]
        return rest - upper[j][:, None] * entry, w.at[j].set(entry)

    def backward(turn, v):
        j = n - 1 - turn
        return v.at[j].set((w[j] - jnp.sum(upper[j][:, None] * v, axis=0)) / upper[j, j])

    unit = unit[:, None]
    _, w = jax.lax.fori_loop(0, n, forward, (unit * b, jnp.zeros_like(b)))
    return unit * jax.lax.fori_loop(0, n, backward, jnp.zeros_like(b))


@kernel
def _unrolled_solve(upper: Array, unit: Array, b: Array) -> Array:
    n, w, v = len(b), [], {}
    for j in range(n):
        known = [upper[i, j] * w[i] for i in range(j)]
        w.append(functools.reduce(jnp.subtract, known, unit[j] * b[j]) / upper[j, j])
    for j in reversed(range(n)):
        known = [upper[j, k] * v[k] for k in range(j + 1, n)]
        v[j] = functools.reduce(jnp.subtract, known, w[j]) / upper[j, j]
    return unit[:, None] * jnp.stack([v[j] for j in range(n)])


def shifted_factor(
    matrix: Array, growth: Array, first: Array, following: tuple[float, float], least: float, wanted: Array, most: int
) -> Factor:
    """Factors M + shift diag(G) with the first shift at which every pivot of it is large enough.

    The loop runs until that is so in all lanes that want a factor. Shifts that are known to be too small, by the
    negative curvature that the factorisation before has met, are passed over.

    Args:
        matrix: M, (n, n, L).
        growth: G, (n, L).
        first: The first shift to try, (L,).
        following: The least shift after it, and the factor by which further ones grow.
        least: The least diagonal entry of U.
        wanted: Which lanes want a factor, (L,).
        most: The most shifts to try.
    """
    factored = _unrolled_factor if len(matrix) <= MOST_UNROLLED else _looped_factor

    def turn(carry):
        count, old, too_small = carry
        shift = jnp.where(count == 0, first, _following(old.shift, too_small, *following))
        shift = jnp.where(old.regular, old.shift, shift)
        upper, unit, regular, too_small = factored(matrix, growth, shift, least)
        return count + 1, Factor(upper, unit, shift, regular), too_small

    def unfinished(carry):
        count, factor, _ = carry
        return (count < most) & jnp.any(wanted & ~factor.regular)

    never = jnp.zeros(matrix.shape[-1], bool)
    identity = jnp.broadcast_to(jnp.eye(len(matrix), dtype=matrix.dtype)[:, :, None], matrix.shape)
    start = Factor(identity, jnp.ones(matrix.shape[1:], matrix.dtype), jnp.zeros_like(first), never)
    return jax.lax.while_loop(unfinished, turn, (0, start, jnp.zeros_like(first)))[1]


@kernel
def _following(shift: Array, too_small: Array, least: float, growth: float) -> Array:
    """Returns the next shift of the sequence that exceeds `too_small`, or one nearer to it, (L,)."""
    shift = jnp.maximum(least, growth * shift)
    for _ in range(MOST_PASSED_OVER):
        shift = jnp.where(shift <= too_small, growth * shift, shift)
    return shift


def _looped_factor(matrix: Array, growth: Array, shift: Array, least: float) -> tuple[Array, Array, Array, Array]:
    shifted, unit = _with_unit_diagonal(matrix, growth, shift)
    upper, positive = cholesky(shifted, jnp.zeros_like(shift))
    return upper, unit, _large_pivots(upper, positive, least), jnp.zeros_like(shift)


@kernel
def _with_unit_diagonal(matrix: Array, growth: Array, shift: Array) -> tuple[Array, Array]:
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)[:, :, None]
    shifted = matrix + eye * (shift * growth)
    diagonal = jnp.stack([shifted[j, j] for j in range(len(matrix))]) if len(matrix) else growth
    unit = jax.lax.rsqrt(jnp.maximum(jnp.abs(diagonal), jnp.finfo(matrix.dtype).tiny))
    return shifted * (unit[:, None] * unit[None]), unit


@kernel
def _large_pivots(upper: Array, positive: Array, least: float) -> Array:
    return positive & jnp.all(jnp.stack([upper[j, j] > least for j in range(len(upper))]), axis=0)


@kernel
def _unrolled_factor(matrix: Array, growth: Array, shift: Array, least: float) -> tuple[Array, Array, Array, Array]:
    """Returns U, D, where U has large pivots, and a shift that is too small, (L,).

    Where pivot j is the first that is not positive, v = (-A^-1 a, 1, 0), with A the rows and columns before j and a the
    j-th, has v'D(M + shift G)Dv = pivot. So M + (shift + t) G has no factor as long as t v'DGDv <= -pivot.
    """
    n = len(matrix)
    diagonal = jnp.stack([matrix[j, j] for j in range(n)]) + shift * growth
    unit = jax.lax.rsqrt(jnp.maximum(jnp.abs(diagonal), jnp.finfo(matrix.dtype).tiny))
    rows, pivots = [], []
    for j in range(n):
        row = jnp.concatenate([diagonal[j : j + 1], matrix[j, j + 1 :]]) * (unit[j] * unit[j:])
        row = functools.reduce(jnp.subtract, [rows[i][j - i] * rows[i][j - i :] for i in range(j)], row)
        pivots.append(row[0])
        rows.append(row / jnp.sqrt(jnp.where(row[0] > 0, row[0], 1)))
    zero = jnp.zeros_like(shift)
    upper = jnp.stack([jnp.concatenate([jnp.broadcast_to(zero, (j, *zero.shape)), rows[j]]) for j in range(n)])
    large = functools.reduce(jnp.logical_and, [(pivots[j] > 0) & (rows[j][0] > least) for j in range(n)])
    return upper, unit, large, shift + _needed(rows, pivots, unit * unit * growth)


def _needed(rows: list[Array], pivots: list[Array], growth: Array) -> Array:
    """Returns -pivot / v'DGDv of `_unrolled_factor`, or 0 where every pivot is positive, (L,)."""
    n, needed = len(rows), jnp.zeros_like(pivots[0])
    place = jnp.full(needed.shape, n)  # of the first pivot that is not positive
    for j in reversed(range(n)):
        place, needed = jnp.where(pivots[j] > 0, place, j), jnp.where(pivots[j] > 0, needed, -pivots[j])
    v: dict[int, Array] = {}
    for i in reversed(range(n)):
        known = [jnp.where(k <= place, rows[i][k - i] * v[k], 0) for k in range(i + 1, n)]
        before = -functools.reduce(jnp.add, known, jnp.zeros_like(needed)) / rows[i][0]
        v[i] = jnp.where(i < place, before, jnp.where(i == place, 1, 0))
    size = functools.reduce(jnp.add, [growth[i] * v[i] * v[i] for i in range(n)])
    return jnp.where(place < n, needed / jnp.maximum(size, jnp.finfo(size.dtype).tiny), 0)
