"""The step of least squares in a box: the best of three that end in it."""

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import ordered_dot
from jaxcalc.methods.least_squares.factors import damped_solution, product, transposed_product


def best_inside(
    x: Array, box: Box, unit: Array, factor: Array, gram: Array, gradient: Array, D2: Array, p: Array, damping: Array
) -> tuple[Array, Array]:
    """Returns the trial and its step in the model's units, the one of three for which the model falls most.

    They are, projected on the box: the damped step p; the same for the variables that p takes to their bounds, with the
    model's damped minimiser given these for the others; and the step of least value along the scaled gradient, which is
    no longer than p.

    Args:
        x: Where the model stands, (n, L).
        box: The bounds of x.
        unit: What a step of one in the model's units changes x by, (n, L).
        factor: R, (n, n, L), with |q + R s|^2 + rest the model.
        gram: R'R.
        gradient: R'q, (n, L).
        D2: The squares of the scaling's diagonal, (n, L), in the model's units.
        p: The damped step, (n, L).
        damping: Its lambda, (L,).
    """
    held = _stopped(x, box, unit, p)
    fixed = jnp.where(jnp.isnan(held), 0, held)
    free = jnp.isnan(held)
    rest = jnp.where(free, gradient + transposed_product(factor, product(factor, fixed)), 0)
    others, _, _ = damped_solution(_free_block(gram, free), damping, D2, -rest)
    steepest = _no_longer(_steepest(gradient / D2, ordered_dot(gradient, gradient / D2), factor), p, D2)
    best_trial, best, most = x, jnp.zeros_like(p), jnp.full_like(damping, -jnp.inf)
    for step in (p, fixed + others, steepest):
        trial = box.project(x + unit * step)
        inside = jnp.where(trial == x + unit * step, step, (trial - x) / unit)
        fall = promised_fall(gradient, factor, inside)
        better = fall > most
        best_trial, best = jnp.where(better, trial, best_trial), jnp.where(better, inside, best)
        most = jnp.where(better, fall, most)
    return best_trial, best


def promised_fall(gradient: Array, factor: Array, step: Array) -> Array:
    """Returns by how much |q + R s|^2 falls with a step s from zero."""
    moved = product(factor, step)
    return -(2 * ordered_dot(gradient, step) + ordered_dot(moved, moved))


@kernel
def _stopped(x: Array, box: Box, unit: Array, p: Array) -> Array:
    """Returns the steps of the variables that p would take out of the box, to their bounds; NaN for the others."""
    aimed = x + unit * p
    bound = jnp.clip(aimed, box.lower, box.upper)
    return jnp.where(aimed == bound, jnp.nan, (bound - x) / unit)


@kernel
def _free_block(gram: Array, free: Array) -> Array:
    """Returns the matrix of the free variables; along the others it is the identity."""
    eye = jnp.eye(len(free), dtype=gram.dtype)[:, :, None]
    return jnp.where(free[:, None] & free[None], gram, eye)


@kernel
def _no_longer(step: Array, p: Array, D2: Array) -> Array:
    """Returns the step, cut to the length of p: a longer one that is rejected would come back for ever."""
    share = jnp.sqrt(ordered_dot(D2 * p, p) / jnp.maximum(ordered_dot(D2 * step, step), jnp.finfo(p.dtype).tiny))
    return step * jnp.where(share < 1, share, 1)


@kernel
def _steepest(direction: Array, slope: Array, factor: Array) -> Array:
    """Returns the step to the least value of the model along minus a direction."""
    moved = product(factor, direction)
    curvature = ordered_dot(moved, moved)
    return -jnp.where(curvature > 0, slope / curvature, 0) * direction
