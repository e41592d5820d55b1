"""Adaptive quadrature in one variable: the rule of a cell, and what makes its error honest.

* The error of a cell is the difference of the rules of 10 and 21 points, which is that of the worse one.
* A cell whose enclosure says that the function may be far above every sample is not believed until it has been split
  so far that either a sample shows the peak or the enclosure has ruled it out.
* What lies beyond the last cell is bounded by the power law that the function follows there; a law that has no finite
  integral makes the error infinite.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.calculus import gauss_kronrod
from jaxcalc.calculus.double_exponential import at_an_end, place, reach, unrounded
from jaxcalc.calculus.enclosures import NoEnclosure, enclosure
from jaxcalc.calculus.subdivision import Findings, Outcome, subdivide

# The ends of the cell come with the nodes, at weight 0, because the enclosure wants them.
NODES = np.concatenate([[-1.0], gauss_kronrod.NODES, [1.0]])
KRONROD = np.concatenate([[0.0], gauss_kronrod.KRONROD, [0.0]])
GAUSS = np.concatenate([[0.0], gauss_kronrod.GAUSS, [0.0]])

# Cells that are evaluated side by side: enough to fill vector units and to hide the cost of a turn of the loop.
CELLS_A_TURN = 64
_FEWEST_A_PIECE = 8
# A slope that may be this many times any slope between samples of a cell speaks of a peak that none of them has met.
_SUSPICIOUS = 30.0
# What rounding leaves of a sum of products, in units of eps times the integral of |f|.
ROUNDING = 10.0
# Near a finite end other than 0 the distance from the end is known to eps / distance only. Where f grows towards such
# an end faster than distance^_SINGULAR, it is replaced, closer than sqrt(eps), by the power law that it follows.
_SINGULAR = -0.1


class Piece(NamedTuple):
    """A range between neighbouring break points, and the power laws at its ends.

    Attributes:
        lo: Where it begins, may be -inf.
        hi: Where it ends, may be inf.
        reach: The range of t is [-reach, reach].
        near: The distance from each end (2,) below which f is its power law; 0 where f itself is used.
        scale: The value of f there, (2, m).
        power: The exponent of the law, (2, m).
    """

    lo: Array
    hi: Array
    reach: Array
    near: Array
    scale: Array
    power: Array


def integral(
    f: Callable, m: int, limit: int, edges: Array, epsabs: Array, epsrel: Array
) -> tuple[Array, Array, Array, Array]:
    """Integrates f, R -> R^m, over the range between the first and the last of the sorted edges.

    Args:
        f: The integrand, of one number, whose result has shape (m,).
        m: The number of integrals.
        limit: The most cells.
        edges: Where the pieces begin and end, ascending, (pieces + 1,); the first and the last may be infinite.
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach, of every component.

    Returns:
        value (m,), error (m,), whether cells ran out, and how many points f was evaluated at.
    """
    values = jax.vmap(f)
    pieces, beyond = _pieces(values, edges[:-1], edges[1:])
    rule = functools.partial(_rule, values, _steepness(f, edges[0]), pieces)
    found: Outcome = subdivide(rule, m, limit, *_first(pieces), epsabs, epsrel)
    # The samples of the power laws are evaluations too.
    nfev = len(NODES) * found.evaluated + 18 * len(pieces.lo)
    return found.value, found.error + beyond, found.full, nfev


def cells_at_first(pieces: int) -> int:
    """Returns how many cells a number of pieces is cut into before anything is known of f."""
    return pieces * max(_FEWEST_A_PIECE, CELLS_A_TURN // (2 * pieces) * 2)


def points_a_turn(pieces: int) -> int:
    """Returns how many points are evaluated side by side."""
    return cells_at_first(pieces) * len(NODES)


def _first(pieces: Piece) -> tuple[Array, Array]:
    """The cells to begin with, and which of them there are: a piece without width takes none."""
    count, dtype = len(pieces.lo), pieces.lo.dtype
    each = cells_at_first(count) // count
    cuts = pieces.reach[:, None] * jnp.linspace(-1.0, 1.0, each + 1, dtype=dtype)
    which = jnp.repeat(jnp.arange(count), each)
    cells = jnp.stack([which.astype(dtype), cuts[:, :-1].ravel(), cuts[:, 1:].ravel()], axis=1)
    return cells, (pieces.hi > pieces.lo)[which]


def _pieces(values: Callable, lo: Array, hi: Array) -> tuple[Piece, Array]:
    """The pieces between the edges, and a bound of what lies beyond their ranges of t.

    A range of t ends where x overflows, or earlier where f does: the first of three ranges in which f is finite.
    """
    dtype = lo.dtype
    ranges = 0.97 * math.log(float(jnp.finfo(dtype).max)) * jnp.array([1.0, 0.5, 0.25], dtype)[:, None]
    ends = jnp.stack([lo, hi], axis=1)
    finite = jnp.isfinite(ends)
    width = jnp.where(jnp.all(finite, axis=1), hi - lo, jnp.inf)[:, None]
    # At 0 and at infinity distances stay exact down to the ends of the range of t.
    blur = jnp.finfo(dtype).eps ** 0.5 * jnp.abs(ends)
    smallest = jnp.exp(-ranges)[..., None] * jnp.where(jnp.isinf(width), 1.0, width)
    near_finite = jnp.where(ends == 0, smallest, jnp.minimum(blur, width / 8))
    distances = jnp.where(finite, near_finite, jnp.exp(ranges)[..., None])  # (3, pieces, 2)
    step = jnp.where(finite, 4.0, 0.25)
    inward = jnp.where(finite, 1, -1) * jnp.array([1, -1])
    steps = distances * (step ** jnp.arange(3, dtype=dtype)[:, None, None])[:, None]  # (3, 3, pieces, 2)
    samples = values((jnp.where(finite, ends, 0) + inward * steps).ravel()).reshape(*steps.shape, -1)
    best = jnp.argmax(jnp.all(jnp.isfinite(samples), axis=(0, 3, 4)), axis=0)  # (pieces,)
    samples = jnp.take_along_axis(samples, best[None, None, :, None, None], axis=1)[:, 0]
    distance = jnp.take_along_axis(distances, best[None, :, None], axis=0)[0]
    power, spread = _power_law(samples, jnp.log(step)[..., None])
    # The law's integral up to the end; without a finite one the error is infinite.
    margin = jnp.where(finite[..., None], power + 1, -(power + 1))
    rest = jnp.abs(samples[0]) * distance[..., None] / jnp.maximum(margin, 0)
    exact = (~finite | (ends == 0))[..., None]
    singular = ~exact & (power < _SINGULAR)
    unsure = jnp.where(exact, 1.0, jnp.where(singular, spread / jnp.maximum(margin, 0), 0.0))
    rest = jnp.where((samples[0] == 0) | (width == 0)[..., None] | (unsure == 0), 0.0, rest * unsure)
    near = jnp.where(jnp.any(singular, axis=-1), distance, 0.0)
    beyond = jnp.sum(jnp.where(jnp.isnan(rest), jnp.inf, rest), axis=(0, 1))
    return Piece(lo, hi, reach(lo, hi, ranges[best, 0]), near, samples[0], power), beyond


def _power_law(samples: Array, log_step: Array) -> tuple[Array, Array]:
    """The exponent between the first two of three samples, and by how much that of the next two differs."""
    size = jnp.log(jnp.abs(samples))
    first, second = (size[1:] - size[:-1]) / log_step
    plain = jnp.isfinite(first) & jnp.isfinite(second)
    return jnp.where(plain, first, 0.0), jnp.where(plain, jnp.abs(second - first), 1.0)


def _rule(values: Callable, steepness: Callable | None, pieces: Piece, cells: Array) -> Findings:
    """Both rules on many cells, whose rows are the number of the piece and the ends in t."""
    dtype = cells.dtype
    piece = jax.tree.map(lambda leaf: leaf[cells[:, 0].astype(jnp.int32)], pieces)
    middle, half = (cells[:, 2] + cells[:, 1]) / 2, (cells[:, 2] - cells[:, 1]) / 2
    offset = half[:, None] * jnp.asarray(NODES, dtype)
    t = middle[:, None] + offset
    lo, hi = piece.lo[:, None], piece.hi[:, None]
    at = place(lo, hi, t)
    x = unrounded(at, offset - (t - middle[:, None]))
    y = values(x.ravel()).reshape(*x.shape, -1)
    near = jnp.where(at.nearer_lo, piece.near[:, :1], piece.near[:, 1:])
    laws = [jnp.where(at.nearer_lo[..., None], law[:, None, 0], law[:, None, 1]) for law in (piece.scale, piece.power)]
    blurred = at.distance < near
    ratio = jnp.where(blurred, at.distance / near, 1.0)[..., None]
    y = jnp.where(blurred[..., None], laws[0] * ratio ** laws[1], y)
    at_end, missing = at_an_end(lo, hi, x), ~jnp.isfinite(y)
    scaled = at.slope * half[:, None]
    weighted = jnp.where(missing, 0.0, y * scaled[..., None])
    value, difference, size = (
        jnp.sum(jnp.asarray(weights, dtype)[:, None] * part, axis=1)
        for weights, part in ((KRONROD, weighted), (KRONROD - GAUSS, weighted), (KRONROD, jnp.abs(weighted)))
    )
    # Rounding: of the sum, and of x, which moves f by its slope; where x runs over decades, so does the slope.
    slopes = jnp.abs(jnp.diff(y, axis=1) / jnp.diff(x, axis=1)[..., None])
    slopes = jnp.where(jnp.isfinite(slopes) & ~blurred[:, :-1, None], slopes, 0.0)
    shares = jnp.where(at_end, 0.0, at.rounding * scaled)[:, :-1, None] * jnp.asarray(KRONROD[:-1], dtype)[:, None]
    moved = jnp.sum(jnp.where(slopes > 0, slopes * shares, 0.0), axis=1)
    floor = jnp.finfo(dtype).eps * (ROUNDING * size + moved)
    error = estimate(difference, size, floor)
    error = jnp.where(jnp.any(missing & ~at_end[..., None], axis=1), jnp.inf, error)
    hidden = jnp.zeros_like(error)
    if steepness is not None:
        steepest = steepness(x[:, 0], x[:, -1])
        width = (x[:, -1] - x[:, 0])[:, None]
        unseen = steepest > _SUSPICIOUS * jnp.max(slopes, axis=1)
        unseen = unseen & jnp.isfinite(steepest) & ~jnp.any(blurred, axis=1)[:, None]
        hidden = jnp.where(unseen, steepest * width * width / 4, 0.0)
    return Findings(value, error, hidden, floor, jnp.zeros(len(cells), dtype))


def estimate(difference: Array, size: Array, floor: Array) -> Array:
    """The error of a rule from its difference to a worse one, with the integral of |f| and rounding's share.

    On QUADPACK's scale rules that differ by half a per cent or more have not seen what the function does.
    """
    share = 200 * jnp.abs(difference) / jnp.where(size > 0, size, 1.0)
    return jnp.maximum(jnp.maximum(jnp.abs(difference), size * jnp.minimum(1.0, share**1.5)), floor)


def _steepness(f: Callable, example: Array) -> Callable | None:
    """Bounds of |f'| over many intervals, or None where f uses what has no enclosure."""

    def most(lo, hi):
        bounds = enclosure(lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1])(lo, hi)
        return jnp.maximum(jnp.abs(bounds.lo), jnp.abs(bounds.hi))

    try:
        jax.eval_shape(most, example, example)
    except NoEnclosure:
        return None
    return jax.vmap(most)
