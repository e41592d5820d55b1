"""Restoration: where the barrier problem's steps fail, the violation alone is minimised until the filter takes it.

    minimise |r(x)|^2 / 2,    r = (c_E, min(c_I - margin, 0)),    in the box of the variables

by a trust region, whose model has the exact Hessian J'J + sum r_j c_j'': that of the Lagrangian with sigma = 0 and
lambda = -r, which the same evaluation gives. A stationary point of it that violates a constraint is the end of an
infeasible problem, unless the violation has negative curvature there, as at the centre of a circle that x should lie
on: then the next trial follows it. A restoration that begins at a stationary point evaluates it once more, because the
Hessian there is not known yet.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel, only_where
from jaxcalc.methods.box import Box
from jaxcalc.methods.constrained.barrier import Numbers, Point
from jaxcalc.methods.constrained.linear_algebra import Factor, add_weighted_squares, transposed_product
from jaxcalc.methods.lane_algebra import cholesky, dot, max_norm, symmetric_matvec

# A trial is accepted at this share of the predicted fall; the region shrinks below POOR and grows above GOOD.
ACCEPTED, POOR, GOOD, GROWTH = 1e-4, 0.25, 0.75, 3.0
# Shifts of the model: the first, their growth, and the most of them.
FIRST_SHIFT, SHIFT_GROWTH, MOST_SHIFTS = 1e-4, 3.0, 40
# The Newton step is taken where the model falls by this share of what it does along -g.
NEWTON_SHARE = 0.3
# Steps of the power method that looks for negative curvature, which finds 1e-2 of the largest curvature and more.
TURNS = 100
# The prediction of a trial that only looks at x once more.
LOOKS = -1.0


class Restoration(NamedTuple):
    """What a restoration remembers, (L,) each."""

    radius: Array
    predicted: Array  # the fall of |r|^2 / 2 that the model promises; LOOKS where the trial is x itself
    square: Array  # |r|^2 / 2 at x
    entry: Array  # the violation at which it began
    count: Array  # restorations in a row
    margin: Array  # how far inside inequalities are to be


class Aim(NamedTuple):
    """The next trial of a restoration."""

    trial: Array  # (n, L)
    multipliers: Array  # (m, L) -r
    predicted: Array
    square: Array
    stationary: Array  # (L,) no step lowers the violation


def begun(state: Restoration, where: Array, x: Array, violation: Array) -> Restoration:
    """Returns the state with the region and the violation of restorations that begin at x where `where` holds, (L,)."""
    return state._replace(
        radius=jnp.where(where, jnp.maximum(1, max_norm(x)), state.radius),
        entry=jnp.where(where, violation, state.entry),
    )


def violations(constraints: Array, slacks: int, margin: Array) -> Array:
    """Returns r, (m, L)."""
    equalities = len(constraints) - slacks
    return jnp.concatenate([constraints[:equalities], jnp.minimum(constraints[equalities:] - margin, 0)])


def judged(state: Restoration, x: Array, trial: Point, finite: Array) -> tuple[Array, Array]:
    """Returns whether the trial is accepted, and the radius after it, (L,) each."""
    r = violations(trial.constraints, len(trial.slack), state.margin)
    return _judged(state, dot(r, r), max_norm(trial.x - x), finite)


@kernel
def _judged(state: Restoration, double: Array, step: Array, finite: Array) -> tuple[Array, Array]:
    ratio = (state.square - 0.5 * double) / jnp.maximum(state.predicted, jnp.finfo(double.dtype).tiny)
    looks = state.predicted == LOOKS
    accepted = finite & (looks | (ratio > ACCEPTED))
    grown = jnp.where(ratio > GOOD, jnp.maximum(state.radius, GROWTH * step), state.radius)
    kept = jnp.where(looks, state.radius, jnp.where(ratio < POOR, 0.5 * step, grown))
    return accepted, jnp.where(accepted, kept, 0.25 * jnp.minimum(step, state.radius))


def aimed(at: Point, state: Restoration, box: Box, wanted: Array, begins: Array, numbers: Numbers) -> Aim:
    """Returns the next trial from a point whose Hessian is that of sum r_j c_j; it has no meaning where not `wanted`.

    Where the restoration `begins` the Hessian is not known and stands for zero. Most steps are none of a restoration in
    any lane, and then nothing is computed.
    """
    none = Aim(at.x, jnp.zeros_like(at.constraints), at.value, at.value, jnp.zeros_like(wanted))
    return jax.lax.cond(
        jnp.any(wanted), lambda _: _aimed(at, state, box, wanted, begins, numbers), lambda _: none, None
    )


def _aimed(at: Point, state: Restoration, box: Box, wanted: Array, begins: Array, numbers: Numbers) -> Aim:
    x = at.x
    r = violations(at.constraints, len(at.slack), state.margin)
    # A row of an inequality that holds has no part.
    is_equality = jnp.arange(len(r))[:, None] < len(r) - len(at.slack)
    broken = (is_equality | (r < 0)).astype(x.dtype)
    g = transposed_product(at.jacobian, r)
    model = add_weighted_squares(at.hessian, at.jacobian, broken)
    lower, upper = box if box.is_bounded else (jnp.full_like(x, -jnp.inf), jnp.full_like(x, jnp.inf))
    reduced, norm, matrix, square, level, smallest = _reduced(
        x, g, r, model, lower, upper, state.radius, numbers.eps, numbers.tolerance
    )
    newton, found = _inside(matrix, -reduced / norm, state.radius, wanted & ~(level | smallest), numbers.shave)
    Bg = symmetric_matvec(model, reduced)
    first = jnp.clip(x + newton, lower, upper) - x
    trial, predicted = _better(x, g, reduced, Bg, first, symmetric_matvec(model, first), model, state.radius, found,
                               lower, upper)  # fmt: skip
    # A fall that is lost in the rounding of |r|^2 / 2 is none.
    level |= predicted <= 10 * numbers.eps * square
    asked = level & ~smallest & ~begins & wanted
    trial, predicted, bent = only_where(
        asked, lambda: _along_curvature(x, g, matrix, model, state.radius, lower, upper), (trial, predicted, ~asked)
    )
    looks = level & ~smallest & begins
    trial, predicted = jnp.where(looks, x, trial), jnp.where(looks, LOOKS, predicted)
    return Aim(trial, -r, predicted, square, (level | smallest) & ~looks & ~(asked & bent))


def _along_curvature(
    x: Array, g: Array, matrix: Array, model: Array, radius: Array, lower: Array, upper: Array
) -> tuple[Array, Array, Array]:
    """Returns a trial along negative curvature, the fall of the model there, and whether there is any, (L,).

    Args:
        x: A stationary point, (n, L).
        g: The gradient there.
        matrix: The model on the free variables, its eigenvalues at most 1 in size.
        model: The model, (n, n, L).
        radius: The largest component of the step.
        lower: The bounds.
        upper: See lower.
    """
    eps = jnp.finfo(x.dtype).eps
    start = jnp.cos(jnp.arange(1, len(x) + 1, dtype=x.dtype))[:, None] + jnp.zeros_like(x)

    def turn(_, v: Array) -> Array:
        v = v - symmetric_matvec(matrix, v)
        return v / jnp.maximum(max_norm(v), jnp.finfo(v.dtype).tiny)

    v = jax.lax.fori_loop(0, TURNS, turn, start)
    bent = dot(v, symmetric_matvec(matrix, v)) < -(eps**0.5) * dot(v, v)
    steps = [jnp.clip(x + sign * radius * v, lower, upper) - x for sign in (1, -1)]
    falls = [-dot(step, g + 0.5 * symmetric_matvec(model, step)) for step in steps]
    first = falls[0] >= falls[1]
    fall = jnp.where(first, *falls)
    return x + jnp.where(first, *steps), fall, bent & (fall > 0)


@kernel
def _reduced(
    x: Array, g: Array, r: Array, model: Array, lower: Array, upper: Array, radius: Array, eps: float, tolerance: float
) -> tuple[Array, ...]:
    """Returns the free variables' gradient, the model's norm, the model in that unit, |r|^2 / 2; where it is level.

    Last, where the region has become as small as rounding.
    """
    square, size = 0.5 * jnp.sum(r * r, axis=0), max_norm(x)
    projected = max_norm(x - jnp.clip(x - g, lower, upper))
    level = projected <= tolerance * jnp.maximum(1e-3, jnp.sqrt(2 * square))
    smallest = radius < 500 * eps * jnp.maximum(1, size)
    free = ~(((x <= lower) & (g >= 0)) | ((x >= upper) & (g <= 0)))
    norm = jnp.maximum(max_norm(jnp.sum(jnp.abs(model), axis=1)), 1e-12)
    eye = jnp.eye(len(g), dtype=g.dtype)[:, :, None]
    matrix = jnp.where(free[:, None] & free[None], model / norm, eye)
    return jnp.where(free, g, 0), norm, matrix, square, level, smallest


@kernel
def _better(
    x: Array, g: Array, reduced: Array, Bg: Array, first: Array, Bfirst: Array, model: Array, radius: Array,
    found: Array, lower: Array, upper: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Returns the trial, by the Newton step or along -g, and the fall of the model there."""
    curvature = jnp.sum(reduced * Bg, axis=0)
    along = radius / jnp.maximum(max_norm(reduced), jnp.finfo(x.dtype).tiny)
    shorter = jnp.minimum(along, jnp.sum(reduced * reduced, axis=0) / jnp.where(curvature > 0, curvature, 1))
    along = jnp.where(curvature > 0, shorter, along)
    second = jnp.clip(x - along * reduced, lower, upper) - x
    fall = -jnp.sum(first * (g + 0.5 * Bfirst), axis=0)
    other = -jnp.sum(second * (g + 0.5 * jnp.sum(model * second[None], axis=1)), axis=0)
    use = found & (fall >= NEWTON_SHARE * other)
    return jnp.clip(x + jnp.where(use, first, second), lower, upper), jnp.where(use, fall, other)


def _inside(matrix: Array, right: Array, radius: Array, wanted: Array, shave: float) -> tuple[Array, Array]:
    """Returns the solution of (M + shift I) d = b for the first shift at which |d| is at most the radius."""
    one = jnp.ones_like(right)

    def turn(carry):
        count, shift, step, found = carry
        following = jnp.where(count == 0, 0, jnp.maximum(FIRST_SHIFT, SHIFT_GROWTH * shift))
        shift = jnp.where(found, shift, following)
        upper, positive = cholesky(matrix, shift - shave)
        d = Factor(upper, one, shift, positive).solve(right)
        good = positive & (max_norm(d) <= 1.01 * radius)
        return count + 1, shift, jnp.where(found, step, d), found | good

    def unfinished(carry):
        count, _, _, found = carry
        return (count < MOST_SHIFTS) & jnp.any(wanted & ~found)

    start = 0, jnp.zeros_like(radius), jnp.zeros_like(right), jnp.zeros(radius.shape, bool)
    _, _, step, found = jax.lax.while_loop(unfinished, turn, start)
    return step, found
