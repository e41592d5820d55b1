"""Linear algebra of constrained problems over lanes, which are the last axis."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.lane_algebra import cholesky

# Sums over more rows than this are loops; over fewer they are one formula.
MOST_UNROLLED = 8


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
        return _solve(self.upper, self.unit, b if b.ndim == 3 else b[:, None]).reshape(b.shape)


@kernel
def _solve(upper: Array, unit: Array, b: Array) -> Array:
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


def shifted_factor(
    matrix: Array, growth: Array, first: Array, following: tuple[float, float], least: float, wanted: Array, most: int
) -> Factor:
    """Factors M + shift diag(G) with the first shift at which every pivot of it is large enough.

    The loop runs until that is so in all lanes that want a factor.

    Args:
        matrix: M, (n, n, L).
        growth: G, (n, L).
        first: The first shift to try, (L,).
        following: The least shift after it, and the factor by which further ones grow.
        least: The least diagonal entry of U.
        wanted: Which lanes want a factor, (L,).
        most: The most shifts to try.
    """
    n = len(matrix)

    def turn(carry):
        count, old = carry
        shift = jnp.where(count == 0, first, jnp.maximum(following[0], following[1] * old.shift))
        shift = jnp.where(old.regular, old.shift, shift)
        shifted, unit = _with_unit_diagonal(matrix, growth, shift)
        upper, positive = cholesky(shifted, jnp.zeros_like(shift))
        return count + 1, Factor(upper, unit, shift, _large_pivots(upper, positive, least))

    def unfinished(carry):
        count, factor = carry
        return (count < most) & jnp.any(wanted & ~factor.regular)

    never = jnp.zeros(matrix.shape[-1], bool)
    identity = jnp.broadcast_to(jnp.eye(n, dtype=matrix.dtype)[:, :, None], matrix.shape)
    start = Factor(identity, jnp.ones(matrix.shape[1:], matrix.dtype), jnp.zeros_like(first), never)
    return jax.lax.while_loop(unfinished, turn, (0, start))[1]


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
