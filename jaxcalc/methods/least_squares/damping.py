"""The damped step of Levenberg and Marquardt in a trust region: (J'J + lambda D^2) p = -J'r with |D p| near the radius.

lambda = 0, Gauss and Newton's step, is taken where that step lies in the region. Otherwise lambda is a zero of
|D p(lambda)| - radius, found by Newton's method on its inverse with bounds on both sides (Moré 1978, section 5).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.lane_algebra import ordered_dot
from jaxcalc.methods.least_squares.factors import damped_solution, forward_substituted

# |D p| may differ from the radius by this share.
SLACK = 0.1
# The most factorisations of a step; the next step goes on with the damping of the last.
MOST_TURNS = 4


class DampedStep(NamedTuple):
    """A step of each lane."""

    p: Array  # (n, L); NaN where the matrix was too near singular
    length: Array  # (L,) |D p|
    damping: Array  # (L,) lambda


class _Search(NamedTuple):
    turn: Array  # ()
    step: DampedStep
    lower: Array  # (L,) of lambda
    upper: Array  # (L,)
    guess: Array  # (L,) the next lambda
    found: Array  # (L,)


def damped_step(
    factor: Array,
    gram: Array,
    gradient: Array,
    newton: Array,
    full_rank: Array,
    D2: Array,
    damping: Array,
    radius: Array,
) -> DampedStep:
    """Returns the step of each lane.

    Args:
        factor: R, upper triangular with R'R = J'J, (n, n, L).
        gram: J'J, (n, n, L).
        gradient: J'r, (n, L).
        newton: Gauss and Newton's step, (n, L), used where R has full rank.
        full_rank: Whether it has, (L,).
        D2: The squares of D's diagonal, (n, L).
        damping: lambda of the last step, where the search begins, (L,).
        radius: Of the region, (L,).
    """
    length = jnp.sqrt(ordered_dot(D2 * newton, newton))
    turned = forward_substituted(factor, D2 * newton)
    search = _first(
        length, ordered_dot(turned, turned), full_rank, ordered_dot(gradient, gradient / D2), newton, damping, radius
    )

    def turn(search: _Search) -> _Search:
        damping = jnp.maximum(search.guess, 1e-12 * search.upper)
        p, length, fall = damped_solution(gram, damping, D2, -gradient)
        return _after_turn(search, DampedStep(p, length, damping), fall, radius)

    return jax.lax.while_loop(lambda s: (s.turn < MOST_TURNS) & ~jnp.all(s.found), turn, search).step


@kernel
def _first(
    length: Array, turned: Array, full_rank: Array, steepest: Array, newton: Array, damping: Array, radius: Array
) -> _Search:
    """Returns the search before its first turn, ended where Gauss and Newton's step lies in the region."""
    finite = jnp.isfinite(length)
    known = full_rank & finite
    inside = known & (length <= (1 + SLACK) * radius)
    # The slope of |D p| at lambda = 0 bounds lambda below, the length of the gradient above.
    lower = jnp.where(known, (length - radius) / radius * (length * length) / turned, 0)
    lower = jnp.where(lower > 0, lower, 0)
    gradient = jnp.sqrt(steepest)
    upper = gradient / radius
    guess = jnp.minimum(jnp.maximum(damping, lower), upper)
    least = 1e-3 * upper
    guess = jnp.where(guess > 0, guess, jnp.where(finite & (length > 0), jnp.maximum(gradient / length, least), least))
    # A lane whose numbers are not finite waits for its next evaluation.
    found = inside | ~jnp.isfinite(guess)
    step = DampedStep(jnp.where(inside, newton, jnp.nan), jnp.where(inside, length, jnp.nan), jnp.zeros_like(length))
    return _Search(jnp.int32(0), step, lower, upper, guess, found)


@kernel
def _after_turn(search: _Search, step: DampedStep, fall: Array, radius: Array) -> _Search:
    """Takes over the steps of the lanes that still search, and guesses the next lambda."""
    length, damping = step.length, step.damping
    finite, excess = jnp.isfinite(length), length - radius
    lower = jnp.where(~finite | (excess > 0), jnp.maximum(search.lower, damping), search.lower)
    upper = jnp.where(finite & (excess <= 0), jnp.minimum(search.upper, damping), search.upper)
    guess = jnp.maximum(lower, damping + excess / (radius * fall))
    guess = jnp.where(upper > lower, jnp.minimum(guess, upper), guess)
    guess = jnp.where(finite, guess, jnp.maximum(10 * damping, 1e-3 * search.upper))
    step = jax.tree.map(lambda new, old: jnp.where(search.found, old, new), step, search.step)
    found = search.found | (finite & (jnp.abs(excess) <= SLACK * radius))
    return _Search(search.turn + 1, step, lower, upper, guess, found)
