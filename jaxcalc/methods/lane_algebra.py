"""Linear algebra over lanes: one vector (n,) or matrix (n, n) a lane, the lanes on the last axis.

Every operation runs along contiguous lanes, so that a processor's vector units and a GPU's threads each hold different
problems; `jnp.einsum` and `vmap` would move the lanes to the front and transpose on the way.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import are_inlined, kernel
from jaxcalc.core.lanes_last import total


@kernel
def dot(a: Array, b: Array) -> Array:
    """Returns the inner product of (n, L) with (n, L), as (L,)."""
    return jnp.sum(a * b, axis=0)


@kernel
def ordered_dot(a: Array, b: Array) -> Array:
    """Returns the inner product of (n, L) with (n, L), as (L,), to the same bits for any number of lanes.

    In which order `jnp.sum` adds up is the compiler's choice, which depends on L.
    """
    return total(a * b)


@kernel
def max_norm(a: Array) -> Array:
    """Returns the largest absolute component of (n, L), as (L,); for finite components only.

    XLA may drop a NaN on the way to a maximum.
    """
    return jnp.max(jnp.abs(a), axis=0, initial=0)


@kernel
def norm(a: Array) -> Array:
    """Returns the Euclidean length of (n, L), as (L,); squares are formed of shares of the largest component."""
    largest = jnp.max(jnp.abs(a), axis=0, initial=0)
    shares = a / jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(total(shares * shares))


@kernel
def all_finite(a: Array) -> Array:
    """Returns whether every component of (n, L) is finite, as (L,)."""
    return jnp.all(jnp.isfinite(a), axis=0)


@kernel
def symmetric_matvec(matrix: Array, vector: Array) -> Array:
    """Returns the product of a symmetric (n, n, L) with (n, L), as (n, L)."""
    if are_inlined():
        return jnp.sum(matrix * vector[:, None], axis=0)

    # Row by row, not a sum over an axis: each turn reads one contiguous (n, L) block.
    def add_row(j, total):
        return total + matrix[j] * vector[j]

    start = matrix[0] * vector[0]
    if len(vector) > 32:
        return jax.lax.fori_loop(1, len(vector), add_row, start)
    return functools.reduce(lambda total, j: add_row(j, total), range(1, len(vector)), start)


@kernel
def symmetric_update(matrix: Array, keep: Array, shift: Array, a: Array, b: Array) -> Array:
    """Returns keep M + diag(shift) + a b' + b a' for a symmetric M (n, n, L), keep (L,) and vectors (n, L)."""
    eye = jnp.eye(len(a), dtype=a.dtype)[:, :, None]
    return keep * matrix + shift * eye + a[:, None] * b[None, :] + b[:, None] * a[None, :]


@kernel
def cholesky(matrix: Array, shift: Array) -> tuple[Array, Array]:
    """Returns U (n, n, L), upper triangular with U'U = M + shift I, and whether there is one, (L,).

    Where there is none the entries of U mean nothing and may be infinite or NaN.
    """
    n = len(matrix)
    columns = jnp.arange(n)[:, None]

    def eliminate(j, carry):
        rest, factor, positive = carry
        row = rest[j]
        pivot = row[j]
        row = jnp.where(columns >= j, row / jnp.sqrt(jnp.where(pivot > 0, pivot, 1)), 0)
        return rest - row[:, None] * row[None, :], factor.at[j].set(row), positive & (pivot > 0)

    start = matrix + shift * jnp.eye(n, dtype=matrix.dtype)[:, :, None]
    positive = shift == shift
    _, factor, positive = jax.lax.fori_loop(0, n, eliminate, (start, jnp.zeros_like(matrix), positive))
    return factor, positive


@kernel
def solve_lower(factor: Array, b: Array) -> Array:
    """Returns the solution w of U'w = b, (n, L), for U of `cholesky`."""

    def eliminate(j, carry):
        rest, w = carry
        entry = rest[j] / factor[j, j]
        return rest - entry * factor[j], w.at[j].set(entry)

    return jax.lax.fori_loop(0, len(b), eliminate, (b, jnp.zeros_like(b)))[1]


@kernel
def solve_upper(factor: Array, b: Array) -> Array:
    """Returns the solution x of U x = b, (n, L), for U of `cholesky`."""
    n = len(b)

    def substitute(turn, carry):
        rest, x = carry
        j = n - 1 - turn
        entry = rest[j] / factor[j, j]
        return rest - entry * factor[:, j], x.at[j].set(entry)

    return jax.lax.fori_loop(0, n, substitute, (b, jnp.zeros_like(b)))[1]


@kernel
def longest_solution(factor: Array, among: Array) -> Array:
    """Returns w, (n, L), with U'w = e, where the entries of e are +1 or -1, chosen so that w is long.

    Where `among`, (n, L), is false they are 0.

    The solution z of U z = w then points nearly along the eigenvector of the least eigenvalue of U'U (Cline, Moler,
    Stewart and Wilkinson 1979).
    """

    def eliminate(j, carry):
        known, w = carry
        entry = -(known[j] + jnp.where(among[j], jnp.where(known[j] < 0, -1, 1), 0)) / factor[j, j]
        return known + entry * factor[j], w.at[j].set(entry)

    zeros = jnp.zeros_like(factor[0])
    return jax.lax.fori_loop(0, len(factor), eliminate, (zeros, zeros))[1]
