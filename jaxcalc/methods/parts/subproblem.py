"""The least value of a quadratic model in a ball, to the accuracy that a trust region needs (Moré and Sorensen 1983).

    minimise g's + s'Bs/2 over |s| <= radius

The minimiser solves (B + lambda I) s = -g with lambda >= 0, B + lambda I positive semidefinite and lambda = 0 or
|s| = radius. Each turn of the loop tries a lambda in a bracket by a Cholesky factorisation. The factorisation fails
where lambda is too small. Where it succeeds, the length of s tells on which side of the solution lambda lies, and
Newton's method on 1/|s| - 1/radius gives the next lambda. In the hard case, where |s| < radius at the smallest lambda
possible, a vector z of negative curvature is added to s until the step reaches the edge.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.lane_algebra import cholesky, dot, longest_solution, solve_lower, solve_upper

# The solution is good enough where |s| is within this share of the radius, or the model within this share of its least.
EDGE, HARD = 0.1, 0.2
MAX_TURNS = 20
# An eigenvalue within ROUNDING n eps times the norm of B is zero but for rounding.
ROUNDING = 10
ABOVE = 1.01


class Bracket(NamedTuple):
    """What is known of lambda, (L,) each, and the step that was found, (n, L)."""

    shift: Array  # the lambda to try
    low: Array
    high: Array
    zero_open: Array  # lambda = 0 may be the solution and has not been tried
    step: Array
    used: Array  # the lambda of `step`
    done: Array


class Trial(NamedTuple):
    """The outcome of a lambda, (L,) each."""

    positive: Array  # B + lambda I is positive definite
    ss: Array  # s's
    promise: Array  # s'(B + lambda I)s
    slope: Array  # s'(B + lambda I)^-1 s
    sz: Array  # s'z
    least: Array  # z'(B + lambda I)z, z being of length one


def solve_subproblem(B: Array, g: Array, radius: Array, shift: Array) -> tuple[Array, Array]:
    """Returns the step s, (n, L), and its lambda, for symmetric B (n, n, L), g (n, L), the radius and a first guess."""
    norm, least = norm_bound(B), jnp.min(jnp.diagonal(B), axis=-1)
    hopeless = ~(jnp.isfinite(norm) & (radius > 0))
    start = Bracket(
        *_first_bracket(jnp.sqrt(dot(g, g)), norm, least, radius, shift), jnp.zeros_like(g), shift, hopeless
    )

    # Without a part in z a variable that f does not use keeps its value exactly. Where B is zero z is never followed.
    used = jnp.any(B != 0, axis=0)
    used |= ~jnp.any(used, axis=0)

    def turn(carry):
        count, bracket = carry
        factor, positive = cholesky(B, bracket.shift)
        positive &= (bracket.shift > 0) | _is_regular(B, factor)
        w = solve_lower(factor, -g)
        s = solve_upper(factor, w)
        q, v = solve_lower(factor, s), longest_solution(factor, used)
        z = solve_upper(factor, v)
        zz = dot(z, z)
        unit = 1 / jnp.sqrt(zz)
        trial = Trial(positive, dot(s, s), dot(w, w), dot(q, q), dot(s, z) * unit, dot(v, v) / zz)
        bracket, share_s, share_z = _narrow(bracket, trial, radius, norm)
        return count + 1, bracket._replace(step=_combine(bracket.step, share_s, s, share_z * unit, z))

    def unfinished(carry):
        return (carry[0] < MAX_TURNS) & ~jnp.all(carry[1].done)

    _, found = jax.lax.while_loop(unfinished, turn, (0, start))
    return found.step, found.used


def norm_bound(B: Array) -> Array:
    """Returns an upper bound of the absolute eigenvalues of B, (L,)."""
    return jnp.minimum(jnp.sqrt(jnp.sum(B * B, axis=(0, 1))), jnp.max(jnp.sum(jnp.abs(B), axis=0), axis=0))


def _is_regular(B: Array, factor: Array) -> Array:
    """Returns where B = U'U is no singular matrix but for rounding, (L,), whatever the units of its variables.

    What is left of a diagonal entry when the variables before have been eliminated is lost in rounding below
    ROUNDING n eps of that entry.
    """
    beside = ~jnp.eye(len(B), dtype=bool)[:, :, None]
    return jnp.all(beside | (factor * factor > ROUNDING * len(B) * jnp.finfo(B.dtype).eps * B), axis=(0, 1))


@kernel
def _first_bracket(gradient: Array, norm: Array, least: Array, radius: Array, guess: Array):
    low = jnp.maximum(0, jnp.maximum(-least, gradient / radius - norm))
    # A little above the bound, so that B + high I is positive definite even if the least eigenvalue is -norm.
    high = jnp.maximum(low, gradient / radius + ABOVE * norm)
    zero_open = low <= 0
    shift = jnp.where((guess > low) & (guess < high), guess, jnp.where(zero_open, 0, _between(low, high)))
    return shift, low, high, zero_open


def _between(low: Array, high: Array) -> Array:
    return jnp.maximum(jnp.sqrt(low * high), low + 0.01 * (high - low))


@kernel
def _narrow(bracket: Bracket, trial: Trial, radius: Array, norm: Array) -> tuple[Bracket, Array, Array]:
    """Returns the bracket after a trial, and the factors of s and z in the best step; NaN keeps the old step."""
    shift, length = bracket.shift, jnp.sqrt(trial.ss)
    positive = trial.positive & jnp.isfinite(length)
    short, long = positive & (length < radius), positive & (length >= radius)
    # The shorter of the two ways along z to the edge.
    gap = (radius - length) * (radius + length)
    to_edge = gap / (trial.sz + jnp.copysign(jnp.sqrt(trial.sz**2 + gap), trial.sz))
    # Only along negative curvature z'Bz does the model fall towards the edge; in the null space of B nothing moves.
    rounding = ROUNDING * len(bracket.step) * jnp.finfo(norm.dtype).eps * norm
    negative = trial.least - shift < -rounding
    hard = short & negative & (to_edge**2 * trial.least <= HARD * (trial.promise + shift * radius**2))
    at_edge = positive & (jnp.abs(length - radius) <= EDGE * radius)
    # B + (lambda - least) I is not positive definite, and where the factorisation fails lambda is below the solution.
    low = jnp.where(short, jnp.maximum(bracket.low, shift - trial.least), jnp.maximum(bracket.low, shift))
    high = jnp.where(short, jnp.minimum(bracket.high, shift), bracket.high)
    zero_open = bracket.zero_open & (shift > 0) & (low <= 0)
    found = at_edge | hard | (short & (shift <= rounding) & ~zero_open)
    share_s = jnp.where(positive, jnp.where(at_edge, 1, jnp.minimum(1, radius / length)), 0)
    share_z = jnp.where(hard & ~at_edge & (shift > 0), to_edge, 0)

    newton = shift + trial.ss / trial.slope * (length - radius) / radius
    inside = (short | long) & (newton > low) & (newton < high)
    # A B that is singular, and not indefinite, is positive definite once rounding is made up for.
    singular = short & ~negative & (low < rounding) & ~zero_open
    narrow = high - low <= 4 * jnp.finfo(low.dtype).eps * norm
    following = jnp.where(inside & ~narrow, newton, jnp.where(short & zero_open, 0, _between(low, high)))
    following = jnp.where(singular, rounding, following)
    done = bracket.done | found | (narrow & ~(short & zero_open))
    share_s, share_z = jnp.where(bracket.done, jnp.nan, share_s), jnp.where(bracket.done, 0, share_z)
    used = jnp.where(bracket.done | ~positive, bracket.used, shift)
    return Bracket(following, low, high, zero_open, bracket.step, used, done), share_s, share_z


@kernel
def _combine(step: Array, share_s: Array, s: Array, share_z: Array, z: Array) -> Array:
    """Returns share_s s + share_z z if that is a step, else the old step; z is read only if its factor is not 0."""
    kept = jnp.isnan(share_s) | (share_s == 0)
    return jnp.where(kept, step, share_s * s + jnp.where(share_z == 0, 0, share_z * z))
