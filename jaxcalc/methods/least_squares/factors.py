"""The linear algebra of least squares in lanes: triangular factors of J'J + shift, and solves with them.

Matrices are (n, n, L), vectors (n, L), a Jacobian is (n, m, L), one column after the other. Up to MOST_UNROLLED columns
everything is written out number by number: a few arithmetic operations on L lanes each, which a compiler fuses into one
pass. Beyond that the loops of `lane_algebra` do the same.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.core.lanes_last import total
from jaxcalc.methods import lane_algebra

# Columns up to which loops are unrolled.
MOST_UNROLLED = 8

Rows = Sequence[Sequence[Array]]


class Triangle(NamedTuple):
    """The problem min |r + S s|^2, reduced to n equations: |r + S s|^2 = |q + R s|^2 + rest."""

    factor: Array  # (n, n, L) R, upper triangular with R'R = S'S; zeros on the diagonal where S is rank deficient
    q: Array  # (n, L) Q'r


def triangle(
    columns: Array, inverse: Array, r: Array, gram: Array | None, gradient: Array, unit: Array | None = None
) -> Triangle:
    """Returns the reduced problem of the columns S_j = inverse_j J_j, which have length one or zero.

    R is Cholesky's factor of S'S where that is well conditioned: a pivot of R below eps^(1/4) says where it is not. The
    error of q is then at most eps^(3/4) |r|. Elsewhere columns are made orthogonal one by one (modified Gram-Schmidt on
    [S r]), which is as accurate as Householder's QR (Björck 1967); this is done only if a lane asks for it.

    Args:
        columns: J, (n, m, L).
        inverse: The inverse lengths of the columns, (n, L), or zero.
        r: The right side, (m, L).
        gram: S'S, (n, n, L), with ones on the diagonal for held variables; None of more than MOST_UNROLLED columns.
        gradient: S'r / unit, (n, L).
        unit: In which q is returned, (L,); None is 1.
    """

    def in_unit(reduced: Triangle) -> Triangle:
        return reduced if unit is None else reduced._replace(q=reduced.q / unit)

    if gram is None:
        return in_unit(_looped_gram_schmidt(columns, inverse, r))
    factor, q, ill = _by_cholesky(gram, gradient)

    def improved(_: None) -> Triangle:
        exact = in_unit(_unrolled_gram_schmidt(columns, inverse, r))
        return jax.tree.map(lambda exact, quick: jnp.where(ill, exact, quick), exact, Triangle(factor, q))

    return jax.lax.cond(jnp.any(ill), improved, lambda _: Triangle(factor, q), None)


@kernel
def _by_cholesky(gram: Array, gradient: Array) -> tuple[Array, Array, Array]:
    """Returns R and q, and where R is ill-conditioned, (L,)."""
    n, least = len(gram), jnp.finfo(gram.dtype).eps ** 0.25
    factor, inverse, _ = _cholesky(gram, n)
    q = _forward(factor, inverse, gradient, n)
    ill = jnp.any(jnp.stack([factor[k][k] <= least for k in range(n)]), axis=0)
    return _matrix(factor, n), jnp.stack(q), ill


@kernel
def _unrolled_gram_schmidt(columns: Array, inverse: Array, r: Array) -> Triangle:
    n = len(columns)
    left, zero = [columns[k] * inverse[k] for k in range(n)], jnp.zeros_like(r[0])
    rows, q = [], []
    for k in range(n):
        length = jnp.sqrt(total(left[k] * left[k]))
        unit = left[k] * jnp.where(length > 0, 1 / length, 0)
        row = [zero] * k + [length] + [total(unit * left[j]) for j in range(k + 1, n)]
        for j in range(k + 1, n):
            left[j] = left[j] - row[j] * unit
        rows.append(jnp.stack(row))
        q.append(total(unit * r))
        r = r - q[-1] * unit
    return Triangle(jnp.stack(rows), jnp.stack(q))


@kernel
def _looped_gram_schmidt(columns: Array, inverse: Array, r: Array) -> Triangle:
    n, lanes = len(columns), columns.shape[2]

    def take(k, carry):
        left, r, factor, q = carry
        column = left[k]
        length = jnp.sqrt(total(column * column))
        unit = column * jnp.where(length > 0, 1 / length, 0)
        row = jnp.where(jnp.arange(n)[:, None] > k, total(left * unit, axis=1), 0)
        along = total(unit * r)
        left = left - row[:, None] * unit
        return left, r - along * unit, factor.at[k].set(row.at[k].set(length)), q.at[k].set(along)

    start = (columns * inverse[:, None], r, jnp.zeros((n, n, lanes), r.dtype), jnp.zeros((n, lanes), r.dtype))
    _, _, factor, q = jax.lax.fori_loop(0, n, take, start)
    return Triangle(factor, q)


@kernel
def back_substituted(factor: Array, b: Array) -> Array:
    """Returns the solution of R x = b; infinite or NaN where R is singular."""
    n = len(factor)
    if n > MOST_UNROLLED:
        return lane_algebra.solve_upper(factor, b)
    return jnp.stack(_backward(_rows(factor), [1 / factor[k, k] for k in range(n)], b, n))


@kernel
def product(factor: Array, vector: Array) -> Array:
    """Returns R v for an upper triangular R."""
    n = len(factor)
    if n > MOST_UNROLLED:
        return jnp.stack([total(factor[k, k:] * vector[k:]) for k in range(n)])
    return jnp.stack([sum((factor[k, j] * vector[j] for j in range(k + 1, n)), factor[k, k] * vector[k])
                      for k in range(n)])  # fmt: skip


@kernel
def transposed_product(factor: Array, vector: Array) -> Array:
    """Returns R'v for an upper triangular R."""
    n = len(factor)
    if n > MOST_UNROLLED:
        return total(factor * vector[:, None])
    return jnp.stack([sum((factor[k, j] * vector[k] for k in range(j)), factor[j, j] * vector[j]) for j in range(n)])


@kernel
def squared(factor: Array) -> Array:
    """Returns R'R for an upper triangular R, (n, n, L)."""
    n = len(factor)
    if n > MOST_UNROLLED:
        add = lambda k, square: square + factor[k][:, None] * factor[k][None]  # noqa: E731
        return jax.lax.fori_loop(0, n, add, jnp.zeros_like(factor))
    return symmetric(
        n, lambda i, j: sum((factor[k, i] * factor[k, j] for k in range(1, i + 1)), factor[0, i] * factor[0, j])
    )


def symmetric(n: int, entry: Callable[[int, int], Array]) -> Array:
    """Returns the symmetric matrix (n, n, L) with these entries (L,), each of which is asked for once, with i <= j."""
    entries = {(i, j): entry(i, j) for i in range(n) for j in range(i, n)}
    return jnp.stack([jnp.stack([entries[min(i, j), max(i, j)] for j in range(n)]) for i in range(n)])


@kernel
def damped_solution(gram: Array, damping: Array, D2: Array, b: Array) -> tuple[Array, Array, Array]:
    """Returns x with (A + damping diag(D2)) x = b for a symmetric A, its length |D x|, and how that falls with damping.

    With U the factor of the matrix the last is -d|D x|/d(damping) / |D x| = |U'^-1 D2 x|^2 / |D x|^2. All three are NaN
    where the matrix is not positive definite.
    """
    n = len(gram)
    if n > MOST_UNROLLED:
        return _looped_damped_solution(gram, damping, D2, b)
    factor, inverse, positive = _cholesky(gram, n, [damping * D2[k] for k in range(n)])
    x = _backward(factor, inverse, _forward(factor, inverse, b, n), n)
    turned = [D2[k] * x[k] for k in range(n)]
    square = sum((turned[k] * x[k] for k in range(1, n)), turned[0] * x[0])
    w = _forward(factor, inverse, turned, n)
    fall = sum((w[k] * w[k] for k in range(1, n)), w[0] * w[0]) / square
    bad = jnp.where(positive, 0, jnp.nan)
    return jnp.stack(x) + bad, jnp.sqrt(square) + bad, fall + bad


def _looped_damped_solution(gram: Array, damping: Array, D2: Array, b: Array) -> tuple[Array, Array, Array]:
    eye = jnp.eye(len(gram), dtype=gram.dtype)[:, :, None]
    factor, positive = lane_algebra.cholesky(gram + (damping * D2)[:, None] * eye, jnp.zeros_like(damping))
    x = lane_algebra.solve_upper(factor, lane_algebra.solve_lower(factor, b))
    turned = D2 * x
    square = total(turned * x)
    w = lane_algebra.solve_lower(factor, turned)
    bad = jnp.where(positive, 0, jnp.nan)
    return x + bad, jnp.sqrt(square) + bad, total(w * w) / square + bad


@kernel
def forward_substituted(factor: Array, b: Array) -> Array:
    """Returns the solution of R'x = b; infinite or NaN where R is singular."""
    n = len(factor)
    if n > MOST_UNROLLED:
        return lane_algebra.solve_lower(factor, b)
    return jnp.stack(_forward(_rows(factor), [1 / factor[k, k] for k in range(n)], b, n))


def _rows(matrix: Array) -> Rows:
    return [[matrix[i, j] for j in range(len(matrix))] for i in range(len(matrix))]


def _matrix(rows: Rows, n: int) -> Array:
    zero = jnp.zeros_like(rows[0][0])
    return jnp.stack([jnp.stack([rows[i][j] if j >= i else zero for j in range(n)]) for i in range(n)])


def _cholesky(
    matrix: Array, n: int, shift: Sequence[Array] | None = None
) -> tuple[list[list[Array]], list[Array], Array]:
    """Returns the rows of U with U'U = M + diag(shift), 1 / U_kk, and whether M is positive definite."""
    rows: list[list[Array]] = [[matrix[0, 0]] * n for _ in range(n)]
    inverse, positive = [], jnp.ones(matrix.shape[2], bool)
    for j in range(n):
        pivot = matrix[j, j] if shift is None else matrix[j, j] + shift[j]
        for k in range(j):
            pivot = pivot - rows[k][j] * rows[k][j]
        positive = positive & (pivot > 0)
        root = jnp.sqrt(jnp.where(pivot > 0, pivot, 0))
        inverse.append(jnp.where(pivot > 0, 1 / root, 0))
        rows[j][j] = root
        for i in range(j + 1, n):
            entry = matrix[j, i]
            for k in range(j):
                entry = entry - rows[k][j] * rows[k][i]
            rows[j][i] = entry * inverse[j]
    return rows, inverse, positive


def _forward(factor: Rows, inverse: Sequence[Array], b: Array | Sequence[Array], n: int) -> list[Array]:
    """Returns w with U'w = b."""
    w: list[Array] = []
    for j in range(n):
        entry = b[j]
        for k in range(j):
            entry = entry - factor[k][j] * w[k]
        w.append(entry * inverse[j])
    return w


def _backward(factor: Rows, inverse: Sequence[Array], b: Array | Sequence[Array], n: int) -> list[Array]:
    """Returns x with U x = b."""
    x: list[Array] = [b[0]] * n
    for j in reversed(range(n)):
        entry = b[j]
        for i in range(j + 1, n):
            entry = entry - factor[j][i] * x[i]
        x[j] = entry * inverse[j]
    return x
