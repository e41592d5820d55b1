"""What kind of point a point under constraints is: the Hessian of the Lagrangian on the tangent space.

With J_S the gradients of the constraints and bounds S that hold a point with a positive multiplier, equalities
included, and Z a basis of the vectors with J_S z = 0, the point is a strict local minimum if the gradient is J_S'y,
y_j >= 0 for inequalities, and Z'HZ is positive definite, H being the Hessian of f - y'c (Nocedal and Wright 2006, section
12.5). This asks that the gradients of all constraints that hold the point are linearly independent: where they are not,
multipliers are not unique, and the point counts as degenerate.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.derivatives import hessian

# A constraint is active up to so many times the violation that is allowed.
ACTIVE = 10.0
# A multiplier within this share of the largest, at least 1, is zero: eps to this power.
ZERO_POWER = 1 / 3
# Singular values of unit rows within eps^RANK_POWER of zero are zero.
RANK_POWER = 1 / 3


class Rows(NamedTuple):
    """All constraints and bounds of one problem as rows."""

    value: Array  # (k,)
    jacobian: Array  # (k, n)
    equality: Array  # (k,)
    is_bound: Array  # (k,)


class OnTangentSpace(NamedTuple):
    """What the conditions of first and second order say."""

    critical: Array
    qualified: Array  # the active constraints' gradients are linearly independent
    undefined: Array  # a derivative is not a number where the values are numbers
    residual: Array  # the largest component of the gradient less J'y
    least: Array  # the extreme eigenvalues of the reduced Hessian, 0 where the tangent space is a point
    most: Array
    index: Array  # of the eigenvalues below -margin
    margin: Array
    dimension: Array  # of the tangent space
    pressed: Array  # an inequality or a bound holds the point
    at_bound: Array  # a bound of x does


def conditions(function: Any, x: Array, lower: Array, upper: Array, gtol: Array, allowed: Array) -> OnTangentSpace:
    """Returns what holds at x, (n,).

    Args:
        function: x -> (f, c, which c are equalities).
        x: The point.
        lower: The bounds of x, infinite where there are none.
        upper: See lower.
        gtol: What the residual of a critical point is at most.
        allowed: The violation that is allowed.
    """
    eps = float(jnp.finfo(x.dtype).eps)
    f, c, equality = function(x)
    gradient = jax.grad(lambda x: function(x)[0])(x)
    rows = _rows(x, c, jax.jacobian(lambda x: function(x)[1])(x), equality, lower, upper)
    reach = ACTIVE * allowed * jnp.where(rows.is_bound, jnp.maximum(1, jnp.abs(jnp.concatenate([c, x, x]))), 1)
    active = rows.equality | (rows.value <= reach)
    violation = jnp.max(jnp.where(rows.equality, jnp.abs(rows.value), jnp.maximum(-rows.value, 0)), initial=0)
    A = jnp.where(active[:, None], rows.jacobian, 0)
    lengths = jnp.sqrt(jnp.sum(A * A, axis=1))
    unit = jnp.where(lengths > 0, 1 / jnp.where(lengths > 0, lengths, 1), 0)[:, None] * A
    left, sizes, right = jnp.linalg.svd(unit, full_matrices=False)
    kept = sizes > eps**RANK_POWER
    qualified = jnp.sum(kept) == jnp.sum(active)
    scaled = left @ (jnp.where(kept, 1 / jnp.where(kept, sizes, 1), 0) * (right @ gradient))
    y = jnp.where(lengths > 0, scaled / jnp.where(lengths > 0, lengths, 1), 0)
    residual = jnp.max(jnp.abs(gradient - A.T @ y))
    zero = eps**ZERO_POWER * jnp.maximum(1, jnp.max(jnp.abs(y), initial=0))
    signs = jnp.all(rows.equality | ~active | (y >= -zero))
    holding = active & (rows.equality | (y > zero))
    critical = (residual <= gtol) & (violation <= ACTIVE * allowed) & signs & jnp.isfinite(f)
    H = hessian(lambda v: function(v)[0] - y[: c.size] @ function(v)[1])(x)
    least, most, index, margin, dimension = _reduced_spectrum(H, jnp.where(holding[:, None], unit, 0), eps)
    finite = jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(rows.jacobian))
    undefined = ~finite & jnp.isfinite(f) & jnp.all(jnp.isfinite(c))
    return OnTangentSpace(
        critical, qualified, undefined, residual, least, most, index, margin, dimension,
        jnp.any(holding & ~rows.equality), jnp.any(holding & rows.is_bound),
    )  # fmt: skip


def _rows(x: Array, c: Array, jacobian: Array, equality: Array, lower: Array, upper: Array) -> Rows:
    eye = jnp.eye(x.size, dtype=x.dtype)
    value = jnp.concatenate([c, x - lower, upper - x])
    fixed = lower == upper
    # A fixed variable is one equality, not two bounds.
    equalities = jnp.concatenate([equality, fixed, jnp.zeros_like(fixed)])
    value = jnp.where(jnp.concatenate([jnp.zeros_like(equality), jnp.zeros_like(fixed), fixed]), jnp.inf, value)
    is_bound = jnp.concatenate([jnp.zeros(c.shape, bool), jnp.ones(2 * x.size, bool)])
    return Rows(value, jnp.concatenate([jacobian, eye, -eye]), equalities, is_bound)


def _reduced_spectrum(H: Array, rows: Array, eps: float) -> tuple[Array, ...]:
    """Returns the extreme eigenvalues of H on the rows' null space, how many are negative, the margin, its dimension."""
    n = len(H)
    _, sizes, right = jnp.linalg.svd(rows, full_matrices=False)
    normal = jnp.where((sizes > eps**RANK_POWER)[:, None], right, 0)
    projector = jnp.eye(n, dtype=H.dtype) - normal.T @ normal
    reduced = projector @ H @ projector
    dimension = n - jnp.sum(sizes > eps**RANK_POWER)
    # The other directions get the mean of the eigenvalues, which is never an extreme one.
    mean = jnp.trace(reduced) / jnp.maximum(dimension, 1)
    filled = 0.5 * (reduced + reduced.T) + mean * (normal.T @ normal)
    eigenvalues = jnp.linalg.eigvalsh(jnp.where(jnp.isfinite(filled), filled, 0))
    margin = (10 * n * eps + eps**0.5) * jnp.max(jnp.abs(H))
    index = jnp.sum(eigenvalues < -margin) - jnp.where(mean < -margin, n - dimension, 0)
    empty = dimension == 0
    least, most = (jnp.where(empty, 0, value) for value in (eigenvalues[0], eigenvalues[-1]))
    return least, most, jnp.where(empty, 0, index), margin, dimension
