"""The linear systems of a solution's derivatives: (dF/du) v = b for a root u of F, or the word that v is not known.

A solution counts as regular only where dF/du is regular to working precision, and if u is to be *near* the root, only
where dF/du hardly changes on the way there: at a minimum such as that of x^4 it vanishes with the distance.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Matvec = Callable[..., Array]
# (F, matvec, u, near) -> (b -> v, whether v is known)
LinearSolve = Callable[[Callable, Matvec, Array, bool], tuple[Callable[[Array], Array], Array]]

# The most unknowns whose matrix is formed and factored; beyond, conjugate gradients do with products.
MOST_DENSE = 256
# A pivot of the matrix, scaled to a unit diagonal, of at most SMALLEST_PIVOT n eps is zero but for rounding.
SMALLEST_PIVOT = 10
# The most by which the curvature may differ at the end of a Newton step from u, as a share.
MOST_CHANGE = 0.25


def positive_definite(root: Callable, matvec: Matvec, u: Array, near: bool) -> tuple[Callable[..., Any], Array]:
    """Solves with dF/du where it is symmetric and positive definite to working precision.

    Args:
        root: F, from (m,) to (m,).
        matvec: (v, at=u) -> the product of dF/du at `at` with v.
        u: Where F is zero or nearly zero, (m,).
        near: Whether to ask that u is near the root.

    Returns:
        b -> (dF/du)^-1 b, and whether this is known.
    """
    solve, known = (_by_cholesky if u.size <= MOST_DENSE else _by_conjugate_gradients)(root, matvec, u)
    if near:
        step = solve(root(u))
        curvature = step @ matvec(step)
        known &= jnp.abs(curvature - step @ matvec(step, u - step)) <= MOST_CHANGE * curvature
    return solve, known


def _by_cholesky(root: Callable, matvec: Matvec, u: Array) -> tuple[Callable, Array]:
    """Returns b -> (dF/du)^-1 b, and whether every pivot is positive, from one factorisation for all b."""
    matrix = jax.lax.stop_gradient(jax.vmap(matvec, out_axes=-1)(jnp.eye(u.size, dtype=u.dtype)))
    diagonal = jnp.diagonal(matrix)
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    factor = jnp.linalg.cholesky(matrix / (size * size[:, None]), symmetrize_input=False)
    regular = jnp.all(jnp.diagonal(factor) ** 2 > SMALLEST_PIVOT * u.size * jnp.finfo(u.dtype).eps)
    factor = jnp.where(regular, factor, jnp.eye(u.size, dtype=u.dtype))
    return lambda b: jax.scipy.linalg.cho_solve((factor, True), b / size) / size, regular


def _by_conjugate_gradients(root: Callable, matvec: Matvec, u: Array) -> tuple[Callable, Array]:
    """Returns b -> (dF/du)^-1 b from products alone, nan where conjugate gradients do not converge."""
    tolerance = float(jnp.finfo(u.dtype).eps) ** (2 / 3)

    def solve(b):
        v = jax.scipy.sparse.linalg.cg(matvec, b, tol=tolerance)[0]
        solved = jnp.linalg.norm(matvec(v) - b) <= 10 * tolerance * jnp.linalg.norm(b)
        return jnp.where(solved, v, jnp.nan)

    return solve, jnp.array(True)
