"""The Newton step of the barrier problem, by Cholesky factors alone.

With Sigma the multipliers over the distances of bounds and slacks, the step solves

    [W  -J_E'] [dx ]   [-r_x + J_I'(...)]        W = H + Sigma_x + J_I' Sigma_s J_I + J_E' P J_E + shift D
    [J_E   0 ] [dy_E] = [     -c_E      ],

where P, a penalty on the equations J_E dx = -c_E, changes W but not the solution. D are the radii of Gershgorin's
discs of H, so that a shift of one makes W positive definite whatever H is; the multipliers of the equalities follow
from the Schur complement J_E W^-1 J_E'.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.constrained.barrier import ONE_SIDED, Duals, Numbers, Point, Sides
from jaxcalc.methods.constrained.linear_algebra import (
    Factor,
    add_weighted_squares,
    product,
    product_of_matrices,
    shifted_factor,
    transposed_product,
)
from jaxcalc.methods.lane_algebra import all_finite, dot, max_norm

# The first shift after the one that is remembered, how shifts grow, and the most that are tried.
FIRST_SHIFT, SHIFT_GROWTH, MOST_SHIFTS = 1e-3, 4.0, 24
# Where the gradient is large a shift of one keeps steps below this many max(1, |x|).
FAR = 10.0
# The least share of the way to a boundary that a step may take.
TO_BOUNDARY = 0.99


class Step(NamedTuple):
    """A step of all unknowns, and how much of it is to be taken."""

    x: Array  # (n, L)
    slack: Array  # (m_I, L)
    duals: Duals
    length: Array  # (L,) of x, the slacks and y
    dual_length: Array  # (L,) of the multipliers of bounds and slacks
    slope: Array  # (L,) of the merit along the step


def newton_step(
    at: Point, residual: Array, duals: Duals, mu: Array, least_slack: Array, sides: Sides, shift: Array, wanted: Array,
    numbers: Numbers,
) -> tuple[Step, Array]:  # fmt: skip
    """Returns the step, and whether it exists, (L,).

    Args:
        at: The point.
        residual: c_E and c_I - s that the step is to bring to zero, (m, L): those of the point, or with a correction.
        duals: The multipliers there.
        mu: The barrier parameter, (L,).
        least_slack: The slacks' bound, (m_I, L).
        sides: The variables' bounds.
        shift: The first shift to try, (L,).
        wanted: Which lanes want a step, (L,).
        numbers: The constants of the precision.
    """
    equalities = len(at.constraints) - len(at.slack)
    # No step moves a fixed variable, so that it has no part in what the constraints' linear models say of the step.
    jacobian = jnp.where(sides.fixed, 0, at.jacobian)
    of_equal, of_slack = jacobian[:equalities], jacobian[equalities:]
    transposed = transposed_product(jacobian, duals.y)
    model = _model(at.x, at.gradient, at.hessian, at.slack, duals, mu, least_slack, sides, transposed)
    weights, base = _penalties(of_equal, model.norm, numbers.penalty), model.hessian
    base = add_weighted_squares(base, of_slack, model.slack_weight) if len(at.slack) else base
    base = add_weighted_squares(base, of_equal, weights) if equalities else base
    following = (FIRST_SHIFT, SHIFT_GROWTH)
    factor = shifted_factor(base, model.discs, shift, following, numbers.least_pivot, wanted, MOST_SHIFTS)
    slack_residual = residual[equalities:]
    y_slack = duals.y[equalities:] + model.slack_gradient
    right = -model.residual
    if len(at.slack):
        right = right - transposed_product(of_slack, model.slack_weight * slack_residual + y_slack)
    right = jnp.where(sides.fixed, 0, right)
    if equalities:
        dx, dy = _with_equalities(factor, of_equal, weights, residual[:equalities], right, wanted, numbers)
    else:
        dx, dy = factor.solve(right), at.constraints[:0]
    dx = jnp.where(sides.fixed, 0, dx)
    dslack = product(of_slack, dx) + slack_residual
    dy = jnp.concatenate([dy, -model.slack_weight * dslack - y_slack])
    step = _lengths(at.x, at.slack, dx, dslack, dy, duals, mu, least_slack, sides, numbers.eps)
    slope = dot(model.gradient, dx) + dot(model.slack_gradient, dslack)
    known = factor.regular & all_finite(dx) & all_finite(dslack) & all_finite(dy)
    return step._replace(slope=slope), known


class _Model(NamedTuple):
    hessian: Array  # (n, n, L) H + Sigma_x
    gradient: Array  # (n, L) that of the merit
    slack_gradient: Array  # (m_I, L)
    residual: Array  # (n, L) the merit's gradient less J'y
    slack_weight: Array  # (m_I, L) Sigma_s
    discs: Array  # (n, L) D
    norm: Array  # (L,)


@kernel
def _model(
    x: Array, gradient: Array, hessian: Array, slack: Array, duals: Duals, mu: Array, least_slack: Array, sides: Sides,
    transposed: Array,
) -> _Model:  # fmt: skip
    low, high, room = sides.above_lower(x), sides.below_upper(x), slack - least_slack
    free = ~sides.fixed
    eye = jnp.eye(len(x), dtype=x.dtype)[:, :, None]
    hessian = 0.5 * (hessian + jnp.swapaxes(hessian, 0, 1))
    hessian = jnp.where(free[:, None] & free[None], hessian, eye)
    rows = jnp.sum(jnp.abs(hessian), axis=1)
    gradient = gradient - jnp.where(sides.has_lower, mu / low, 0) + jnp.where(sides.has_upper, mu / high, 0)
    gradient = gradient + ONE_SIDED * mu * sides.one_sided
    slack_gradient = ONE_SIDED * mu - mu / room
    residual = jnp.where(free, gradient - transposed, 0)
    discs = jnp.maximum(rows, jnp.abs(residual) / (FAR * jnp.maximum(1, jnp.abs(x))))
    of_bounds = duals.lower / low + duals.upper / high
    return _Model(
        hessian + eye * of_bounds, gradient, slack_gradient, residual, duals.slack / room, jnp.maximum(discs, 1e-10),
        max_norm(rows),
    )  # fmt: skip


@kernel
def _penalties(of_equal: Array, norm: Array, penalty: float) -> Array:
    squares = jnp.sum(of_equal * of_equal, axis=1)
    least = 1e-12 * jnp.maximum(1, max_norm(squares))
    return penalty * jnp.maximum(norm, 1e-8) / jnp.maximum(squares, least)


def _with_equalities(
    factor: Factor, of_equal: Array, weights: Array, values: Array, right: Array, wanted: Array, numbers: Numbers
) -> tuple[Array, Array]:
    """Returns dx and dy_E with J_E dx = -c_E."""
    right = right - transposed_product(of_equal, weights * values)
    solved = factor.solve(jnp.concatenate([right[:, None], jnp.swapaxes(of_equal, 0, 1)], axis=1))
    free, normals = solved[:, 0], solved[:, 1:]
    schur = product_of_matrices(of_equal, normals)
    one = jnp.full(schur.shape[-1], numbers.regularisation, schur.dtype)
    diagonal = jnp.stack([schur[j, j] for j in range(len(schur))])
    small = shifted_factor(
        schur, jnp.maximum(diagonal, jnp.finfo(schur.dtype).tiny), one, (numbers.regularisation, 10.0), 0.0,
        wanted & factor.regular, MOST_SHIFTS,
    )  # fmt: skip
    target = -values - product(of_equal, free)
    y = small.solve(target)
    y = y + small.solve(target - product(schur, y))
    dx = free + product(normals, y)
    return dx, y - weights * (product(of_equal, dx) + values)


@kernel
def _lengths(
    x: Array, slack: Array, dx: Array, dslack: Array, dy: Array, duals: Duals, mu: Array, least_slack: Array,
    sides: Sides, eps: float,
) -> Step:  # fmt: skip
    low, high, room = sides.above_lower(x), sides.below_upper(x), slack - least_slack
    lower = jnp.where(sides.has_lower, (mu - duals.lower * dx) / low - duals.lower, 0)
    upper = jnp.where(sides.has_upper, (mu + duals.upper * dx) / high - duals.upper, 0)
    of_slack = (mu - duals.slack * dslack) / room - duals.slack
    share = jnp.maximum(TO_BOUNDARY, 1 - mu)
    moves = (jnp.where(sides.has_lower, dx, 0), low), (jnp.where(sides.has_upper, -dx, 0), high), (dslack, room)
    length = _to_boundary(share, moves)
    dual_length = _to_boundary(share, ((lower, duals.lower), (upper, duals.upper), (of_slack, duals.slack)))
    return Step(dx, dslack, Duals(dy, lower, upper, of_slack), length, dual_length, jnp.zeros_like(mu))


def _to_boundary(share: Array, moves: tuple) -> Array:
    """Returns the largest length up to 1 that uses at most this share of each distance along its direction."""
    length = jnp.ones_like(share)
    for direction, distance in moves:
        ratio = jnp.where(direction < 0, -share * distance / jnp.where(direction < 0, direction, -1), jnp.inf)
        length = jnp.minimum(length, jnp.min(ratio, axis=0, initial=1))
    return length


def least_squares_multipliers(at: Point, duals: Duals, sides: Sides, where: Array) -> Array:
    """Returns the y that come nearest to the conditions of first order at a point, in these lanes, (m, L).

    Fixed variables have no condition. Zero where they are not regular or larger than 1000, and in other lanes.
    """

    def solved(_):
        count, equalities = len(at.constraints), len(at.constraints) - len(at.slack)
        own = (jnp.arange(count) >= equalities).astype(at.x.dtype)[:, None]
        jacobian = jnp.where(sides.fixed, 0, at.jacobian)
        gram = product_of_matrices(jacobian, jnp.swapaxes(jacobian, 0, 1))
        trace = sum(gram[j, j] for j in range(count)) + jnp.sum(own)
        shift = 1e-10 * jnp.maximum(1, trace)
        grown = jnp.eye(count, dtype=at.x.dtype)[:, :, None] * (own + shift)
        right = product(jacobian, at.gradient - duals.lower + duals.upper)
        right = right + jnp.concatenate([jnp.zeros_like(right[:equalities]), duals.slack])
        zero = jnp.zeros_like(shift)
        factor = shifted_factor(gram + grown, own + zero, zero, (0.0, 1.0), 0.0, where, 1)
        y = factor.solve(right)
        return jnp.where(factor.regular & all_finite(y) & (max_norm(y) <= 1e3) & where, y, 0)

    if not len(at.constraints):
        return at.constraints
    return jax.lax.cond(jnp.any(where), solved, lambda _: jnp.zeros_like(at.constraints), None)
