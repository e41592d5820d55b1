"""Adaptive quadrature in one variable: the rule of a cell, and an error that is not understated.

* The error of a cell comes from the difference of the rules of 10 and 21 points, which is about the error of the rule
  of 10 points.
* The enclosure of f' over a cell may allow a far steeper slope than the samples show. Such a cell has a hidden error
  until bisection has either shown the peak to a sample or made the enclosure exclude the peak.
* A cell in which f may jump or bend, between nodes or at a node, has the error width (max f - min f) of the enclosure
  of f: bisection shrinks such a cell towards the break until this bound is within the tolerance.
* The values at the ends of a cell, which have no weight, are compared with the polynomial through the nodes: this shows
  breaks between an end and its outermost node where operations without bounds hide them from the enclosure.
* The integral beyond the first and the last cell is bounded by a power law fitted to samples near the ends. A power law
  without a finite integral makes the error infinite.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.calculus.integration import nodes
from jaxcalc.calculus.integration.double_exponential import (
    MappedPoints,
    change_of_variable,
    rounds_to_end,
    t_max,
    without_rounding_of_t,
)
from jaxcalc.calculus.integration.subdivision import SUM_ROUNDING, CellIntegrals, Total, subdivide
from jaxcalc.calculus.integration.tails import LEAST_MARGIN, Laws, error_of_law, laws_towards, vanished_tail
from jaxcalc.calculus.intervals.enclosures import NoEnclosure, enclosure

# The ends of the cell, where the enclosure of f' is taken, are nodes of weight 0.
NODES = np.concatenate([[-1.0], nodes.NODES, [1.0]])
KRONROD = np.concatenate([[0.0], nodes.KRONROD, [0.0]])
GAUSS = np.concatenate([[0.0], nodes.GAUSS, [0.0]])

# Cells evaluated in one iteration: enough to fill vector units and to hide the fixed cost of an iteration.
_CELLS_PER_ITERATION = 64
_LEAST_CELLS_PER_PIECE = 8
# A cell has a hidden error if the bound of |f'| exceeds the steepest slope between its samples by this factor.
_SUSPICIOUS_RATIO = 30.0
# Near a finite end other than 0, x resolves the distance from the end only to the relative precision eps / distance. If
# f grows towards such an end faster than distance^_SINGULAR_POWER, a power law replaces f at distances below sqrt(eps).
_SINGULAR_POWER = -0.1
# A cell with an unbounded break is not bisected further below this width, in units of eps times |x| or the piece.
_NARROW = 8.0
# The error of such a narrow cell, in units of the integral of |f|: integrals of |x|^p with p >= -0.9.
_SINGULAR_RATIO = 10.0
# A rule has not resolved a cell whose error is at least this share of the integral of |f|.
_UNRESOLVED = 1 / 8
# The range of t ends where x comes to one of these fractions of the greatest floating exponent: at the first in which f
# is finite.
_EXPONENT_FRACTIONS = [0.97, 0.92, 0.8, 0.65, *(0.97 / 2**k for k in range(1, 8))]
# A law without an integral has to hold in all ranges of t down to this fraction.
_LEAST_FRACTION = 0.2
# The samples of the power laws of a piece: the ends, and 3 distances from the 2 ends for each range of t.
_SAMPLES_PER_PIECE = 2 + 6 * len(_EXPONENT_FRACTIONS)


class Piece(NamedTuple):
    """Ranges between neighbouring break points, with power laws scale (distance / near)^power at their ends.

    Attributes:
        lo: The lower end, may be -inf, (pieces,).
        hi: The upper end, may be inf, (pieces,).
        t_max: The range of t is [-t_max, t_max], (pieces,).
        near: The distance from each end below which the power law replaces f, (pieces, 2); 0 where f itself is used.
        scale: The value of f at the distance `near`, (pieces, 2, m).
        power: The exponent of the power law, (pieces, 2, m).
    """

    lo: Array
    hi: Array
    t_max: Array
    near: Array
    scale: Array
    power: Array


class Bounds(NamedTuple):
    """Bounds of f and f' over k intervals.

    Attributes:
        steepest: A bound of |f'|, (k, m).
        range: The greatest value of f less the least, (k, m), inf where f may have a pole; None if nothing is known.
        switched: Whether f may jump or bend in the interval, (k,); None if f has no such operation.
    """

    steepest: Array
    range: Array | None
    switched: Array | None


class _Samples(NamedTuple):
    """The nodes of k cells and the values of the integrand there.

    Attributes:
        points: The points x(t), each field (k, nodes).
        x: The points, corrected for the rounding of t, (k, nodes).
        y: The values of f, or of the power law where that replaces f, (k, nodes, m).
        replaced: Whether the power law replaces f, (k, nodes).
        at_end: Whether x equals an end of the piece after rounding, (k, nodes).
    """

    points: MappedPoints
    x: Array
    y: Array
    replaced: Array
    at_end: Array


def integral(f: Callable, m: int, limit: int, edges: Array, epsabs: Array, epsrel: Array) -> tuple[Total, Array, Array]:
    """Integrates f, R -> R^m, over the range between the first and the last of the sorted edges.

    Args:
        f: The integrand, of one number, whose result has shape (m,).
        m: The number of integrals.
        limit: The most cells.
        edges: The ends of the pieces, ascending, (pieces + 1,); the first and the last may be infinite.
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach, of every component.

    Returns:
        The total over all cells, whether the integral of a component was shown to diverge, and the number of
        evaluations of f.
    """
    values = jax.vmap(f)
    pieces, tail_bound, diverges = pieces_between(values, edges[:-1], edges[1:])
    rule = functools.partial(apply_rule, values, functools.partial(bounds_over, f), pieces)
    total: Total = subdivide(rule, m, limit, *initial_cells(pieces), epsabs, epsrel)
    nfev = evaluations(total, len(pieces.lo))
    return total._replace(error=total.error + tail_bound), jnp.any(diverges), nfev


def evaluations(total: Total, pieces: int) -> Array:
    """Returns the number of evaluations of f."""
    return len(NODES) * total.evaluated + _SAMPLES_PER_PIECE * pieces


def initial_cell_count(pieces: int) -> int:
    """Returns the number of initial cells of all pieces together, an even number for each piece."""
    return pieces * max(_LEAST_CELLS_PER_PIECE, _CELLS_PER_ITERATION // (2 * pieces) * 2)


def points_per_iteration(pieces: int) -> int:
    """Returns the number of points at which an iteration evaluates f."""
    return initial_cell_count(pieces) * len(NODES)


def initial_cells(pieces: Piece) -> tuple[Array, Array]:
    """Returns the initial cells (k, 3): piece, lower and upper t; and whether each is used: empty pieces are not."""
    count, dtype = len(pieces.lo), pieces.lo.dtype
    each = initial_cell_count(count) // count
    cuts = pieces.t_max[:, None] * jnp.linspace(-1.0, 1.0, each + 1, dtype=dtype)
    piece = jnp.repeat(jnp.arange(count), each)
    cells = jnp.stack([piece.astype(dtype), cuts[:, :-1].ravel(), cuts[:, 1:].ravel()], axis=1)
    return cells, (pieces.hi > pieces.lo)[piece]


def pieces_between(values: Callable, lo: Array, hi: Array) -> tuple[Piece, Array, Array]:
    """Returns the pieces between the edges, a bound (m,) of the integral outside of the ranges of t, and divergence.

    The range of t ends where x overflows. If f is not finite there, the range is smaller: the first of
    `_EXPONENT_FRACTIONS` at which f is finite. Divergence, (m,), is shown by a power law towards an end that x resolves
    or at which f is infinite, or by growth towards infinity up to an overflow.
    """
    dtype = lo.dtype
    exponents = _exponents(dtype)[:, None]
    ends = jnp.stack([lo, hi], axis=1)
    finite = jnp.isfinite(ends)
    width = jnp.where(jnp.all(finite, axis=1), hi - lo, jnp.inf)[:, None]
    # x resolves distances from 0 and from infinity over the whole range of t, distances from another end to sqrt(eps).
    resolved = jnp.finfo(dtype).eps ** 0.5 * jnp.abs(ends)
    smallest = jnp.exp(-exponents)[..., None] * jnp.where(jnp.isinf(width), 1.0, width)
    near_finite = jnp.where(ends == 0, smallest, jnp.minimum(resolved, width / 8))
    distances = jnp.where(finite, near_finite, jnp.exp(exponents)[..., None])  # (fractions, pieces, 2)
    step = jnp.where(finite, 4.0, 0.25)
    inward = jnp.where(finite, 1, -1) * jnp.array([1, -1])
    steps = distances * (step ** jnp.arange(3, dtype=dtype)[:, None, None])[:, None]  # (3, fractions, pieces, 2)
    x = jnp.where(finite, ends, 0) + inward * steps
    y = values(jnp.concatenate([ends.ravel(), x.ravel()]))
    at_end, all_samples = y[: ends.size].reshape(*ends.shape, -1), y[ends.size :].reshape(*x.shape, -1)
    best = jnp.argmax(jnp.all(jnp.isfinite(all_samples), axis=(0, 3, 4)), axis=0)  # (pieces,)
    resolves_end = ~finite | (ends == 0)
    all_laws = laws_towards(all_samples, distances, finite, resolves_end, step)
    samples, beyond = (
        jnp.take_along_axis(all_samples, row[None, None, :, None, None], axis=1)[:, 0]
        for row in (best, jnp.maximum(best - 1, 0))
    )
    laws = jax.tree.map(lambda law: jnp.take_along_axis(law, best[None, :, None, None], axis=0)[0], all_laws)
    distance, least = (
        jnp.take_along_axis(jnp.broadcast_to(some, distances.shape), best[None, :, None], axis=0)[0]
        for some in (distances, smallest)
    )
    resolves_end = resolves_end[..., None]
    singular = ~resolves_end & (laws.power < _SINGULAR_POWER)
    # The cells do not cover the tail where x resolves the end; where the power law replaces f, they cover the tail with
    # an error of the law; elsewhere they cover the tail with f itself.
    of_law = error_of_law(laws) + (least / distance)[..., None] ** jnp.maximum(laws.margin, 0)
    relative_error = jnp.where(resolves_end, 1 + jnp.maximum(laws.excess, 0), jnp.where(singular, of_law, 0.0))
    no_tail = (samples[0] == 0) | (width == 0)[..., None] | (relative_error == 0)
    tail = jnp.where(no_tail, 0.0, laws.size * relative_error)
    tail = jnp.where(jnp.isnan(tail), jnp.inf, tail)
    vanished = (samples[0] == 0) & ~finite[..., None] & (width > 0)[..., None]
    tail = jnp.where(vanished, vanished_tail(all_samples, all_laws, distances, best), tail)
    near = jnp.where(jnp.any(singular, axis=-1), distance, 0.0)
    tail_bound = jnp.sum(tail, axis=(0, 1))
    follows_law = _follow_law(all_laws, best) & (resolves_end | jnp.isinf(at_end))
    overflows = jnp.all(beyond == jnp.inf, axis=0) | jnp.all(beyond == -jnp.inf, axis=0)
    overflows &= ~finite[..., None] & (laws.power > 0)
    known = (width > 0)[..., None] & jnp.all(jnp.isfinite(samples) & (samples != 0), axis=0)
    diverges = known & (follows_law | overflows)
    piece = Piece(lo, hi, t_max(lo, hi, exponents[best, 0]), near, samples[0], laws.power)
    return piece, tail_bound, jnp.any(diverges, axis=(0, 1))


def _follow_law(laws: Laws, best: Array) -> Array:
    """Returns whether f follows one power law without an integral towards each end, (pieces, 2, m).

    It does in the range of t and in smaller ones, where squares and fourth powers of x do not overflow: there the
    samples of 1 / x - 1 / sqrt(x^2 + 1) tell that the law of the farthest is that of an overflow.
    """
    fractions = jnp.array(_EXPONENT_FRACTIONS)[:, None]
    row = jnp.arange(len(_EXPONENT_FRACTIONS))[:, None]
    asked = (row == best) | ((row > best) & (fractions >= _LEAST_FRACTION))
    follows = (laws.margin <= 0) & (jnp.abs(laws.change) <= LEAST_MARGIN)
    return jnp.all(follows | ~asked[..., None, None], axis=0)


def _exponents(dtype: Any) -> Array:
    """Returns log |x| at the ends of ranges of t, (fractions,): neither x nor dx/dt, about |x| log |x|, overflows."""
    greatest = math.log(float(jnp.finfo(dtype).max))
    return jnp.minimum(greatest * jnp.array(_EXPONENT_FRACTIONS, dtype), greatest - math.log(greatest) - 2)


def apply_rule(values: Callable, bounds: Callable, pieces: Piece, cells: Array) -> CellIntegrals:
    """Applies the rules of 10 and 21 points to many cells, whose rows are the piece, the lower and the upper t."""
    dtype = cells.dtype
    piece = jax.tree.map(lambda leaf: leaf[cells[:, 0].astype(jnp.int32)], pieces)
    middle, half = (cells[:, 2] + cells[:, 1]) / 2, (cells[:, 2] - cells[:, 1]) / 2
    samples = _samples(values, piece, middle, half)
    points, x, y, replaced, at_end = samples
    missing = ~jnp.isfinite(y)
    weight = points.dx_dt * half[:, None]  # the length in x that belongs to a node of weight 1
    weighted = jnp.where(missing, 0.0, y * weight[..., None])
    value, difference, size = (
        jnp.sum(jnp.asarray(weights, dtype)[:, None] * part, axis=1)
        for weights, part in ((KRONROD, weighted), (KRONROD - GAUSS, weighted), (KRONROD, jnp.abs(weighted)))
    )
    # Rounding of x changes f by f' times the error of x, node by node: f' and that error vary by decades within a cell.
    slopes = jnp.abs(jnp.diff(y, axis=1) / jnp.diff(x, axis=1)[..., None])
    slopes = jnp.where(jnp.isfinite(slopes) & ~replaced[:, :-1, None], slopes, 0.0)
    x_error = jnp.where(at_end, 0.0, points.rounding * weight)[:, :-1, None]
    x_error *= jnp.asarray(KRONROD[:-1], dtype)[:, None]
    from_x = jnp.sum(jnp.where(slopes > 0, slopes * x_error, 0.0), axis=1)
    rounding_error = jnp.finfo(dtype).eps * (SUM_ROUNDING * size + from_x)
    error = error_estimate(difference, size, rounding_error) + _error_next_to_ends(weighted, missing)
    missing = missing & ~at_end[..., None]
    hidden_error, undefined = jnp.zeros_like(error), jnp.any(missing, axis=1)
    found = bounds(*_inner_ends(piece, x))
    if found is not None:
        hidden_error = _hidden_error(found.steepest, samples, slopes)
        if found.range is not None:
            switched = jnp.zeros(len(cells), bool) if found.switched is None else found.switched
            # A pole is no switch, since 1 / x is resolved away from 0; but next to 0 rounding hides what it does.
            unresolved = (error >= _UNRESOLVED * size, error <= 2 * rounding_error)
            break_error, irreducible = _break_error(switched, found.range, piece, samples, weight, size, unresolved)
            error = jnp.maximum(error, break_error)
            rounding_error = jnp.maximum(rounding_error, irreducible)
            undefined = jnp.where(jnp.isinf(irreducible), jnp.all(missing, axis=1), undefined)
    error = jnp.where(undefined, jnp.inf, error)
    return CellIntegrals(value, error, hidden_error, rounding_error, size, jnp.zeros(len(cells), dtype))


def _error_next_to_ends(weighted: Array, missing: Array) -> Array:
    """Returns what a break between an end of a cell and its outermost node can change, (k, m); see `CONTINUATION`."""
    continued = jnp.einsum("en,knm->kem", jnp.asarray(nodes.CONTINUATION, weighted.dtype), weighted[:, 1:-1])
    at_ends = jnp.array([0, -1])
    difference = jnp.where(missing[:, at_ends], 0.0, jnp.abs(continued - weighted[:, at_ends]))
    return nodes.GAP * jnp.sum(difference, axis=1)


def _inner_ends(piece: Piece, x: Array) -> tuple[Array, Array]:
    """Returns the ends of cells, each (k,), without what lies next to an end of the piece.

    Left out are the range in which a power law replaces f, and the last few floating numbers before the end, where
    interval arithmetic cannot tell x from the end.
    """
    slack = 16 * jnp.finfo(x.dtype).eps
    lowest = piece.lo + jnp.maximum(piece.near[:, 0], slack * jnp.abs(piece.lo))
    highest = piece.hi - jnp.maximum(piece.near[:, 1], slack * jnp.abs(piece.hi))
    lo = jnp.where(jnp.isfinite(piece.lo), jnp.maximum(x[:, 0], lowest), x[:, 0])
    hi = jnp.where(jnp.isfinite(piece.hi), jnp.minimum(x[:, -1], highest), x[:, -1])
    inside = lo <= hi
    return jnp.where(inside, lo, x[:, 0]), jnp.where(inside, hi, x[:, 0])


def _break_error(
    switched: Array, ranges: Array, piece: Piece, samples: _Samples, weight: Array, size: Array, unresolved: tuple
) -> tuple[Array, Array]:
    """Returns the error that jumps, kinks and poles can cause in k cells, and its part that bisection cannot reduce.

    The integral and the sum of the rule both lie between width min f and width max f. The place of a break is not known
    better than x, which rounds. Where f has no bounds and the cell is as narrow as x allows, the cell holds a
    singularity: the sum gives the integral up to a factor if the integral exists, and the second result is inf. A pole
    is no switch, as 1 / x is resolved away from 0: it is a singularity where the rule has not resolved the cell.

    Args:
        switched: Whether f may jump or bend in the cell, (k,).
        ranges: The greatest value of f less the least, (k, m).
        piece: The piece of each cell.
        samples: The nodes.
        weight: The weights of the nodes in x, (k, nodes).
        size: The integrals of |f|, (k, m).
        unresolved: Whether the rule is far from resolving the cell, and whether rounding ends its bisection, (k, m).

    Returns:
        Two arrays (k, m).
    """
    x, eps = samples.x, jnp.finfo(samples.x.dtype).eps
    x_error = eps * jnp.max(samples.points.rounding, axis=1)
    width = jnp.maximum(x[:, -1] - x[:, 0] - 4 * x_error, weight @ jnp.asarray(KRONROD, x.dtype))
    whole = piece.hi - piece.lo
    scale = jnp.maximum(jnp.max(jnp.abs(x), axis=1), jnp.where(jnp.isfinite(whole), whole, 1.0))
    switched, bounded = switched[:, None], jnp.isfinite(ranges)
    narrow, (coarse, rounded) = (width <= _NARROW * eps * scale)[:, None], unresolved
    singular = ~bounded & ((switched & narrow) | (~switched & coarse & (narrow | rounded)))
    irreducible = jnp.where(switched & bounded, x_error[:, None] * ranges, 0.0)
    error = jnp.where(bounded, width[:, None] * ranges + irreducible, jnp.inf)
    error = jnp.where(switched, error, 0.0)
    return jnp.where(singular, _SINGULAR_RATIO * size, error), jnp.where(singular, jnp.inf, irreducible)


def _samples(values: Callable, piece: Piece, middle: Array, half: Array) -> _Samples:
    """Evaluates f, or the power law that replaces f, at the nodes of cells middle - half <= t <= middle + half."""
    offset = half[:, None] * jnp.asarray(NODES, half.dtype)
    t = middle[:, None] + offset
    lo, hi = piece.lo[:, None], piece.hi[:, None]
    points = change_of_variable(lo, hi, t)
    x = without_rounding_of_t(points, offset - (t - middle[:, None]))
    y = values(x.ravel()).reshape(*x.shape, -1)
    lower = points.nearer_lo
    near = jnp.where(lower, piece.near[:, :1], piece.near[:, 1:])
    scale, power = (jnp.where(lower[..., None], law[:, None, 0], law[:, None, 1]) for law in (piece.scale, piece.power))
    replaced = points.distance < near
    ratio = jnp.where(replaced, points.distance / near, 1.0)[..., None]
    y = jnp.where(replaced[..., None], scale * ratio**power, y)
    return _Samples(points, x, y, replaced, rounds_to_end(lo, hi, x))


def _hidden_error(steepest: Array, samples: _Samples, slopes: Array) -> Array:
    """Returns the integral of the highest peak that the bound of |f'| allows between nodes, (k, m).

    A peak whose sides have at most this slope has the area slope width^2 / 4. The error is 0 where the slopes between
    the samples come near the bound.
    """
    x = samples.x
    width = (x[:, -1] - x[:, 0])[:, None]
    unseen = steepest > _SUSPICIOUS_RATIO * jnp.max(slopes, axis=1)
    unseen = unseen & jnp.isfinite(steepest) & ~jnp.any(samples.replaced, axis=1)[:, None]
    return jnp.where(unseen, steepest * width * width / 4, 0.0)


def error_estimate(difference: Array, size: Array, rounding_error: Array) -> Array:
    """Returns the error of a rule: size min(1, (200 |difference| / size)^1.5), but at least |difference| and rounding.

    The formula is QUADPACK's. With it a difference of half a per cent or more means that the rule has not resolved f.

    Args:
        difference: The value of the rule of 21 points less that of the rule of 10 points.
        size: The integral of |f|.
        rounding_error: The error that rounding leaves in the value.
    """
    relative = 200 * jnp.abs(difference) / jnp.where(size > 0, size, 1.0)
    return jnp.maximum(jnp.maximum(jnp.abs(difference), size * jnp.minimum(1.0, relative**1.5)), rounding_error)


def bounds_over(f: Callable, lo: Array, hi: Array) -> Bounds | None:
    """Returns the bounds over many intervals, or None if nothing is known of f between samples.

    Where f uses an operation without an enclosure, f' has no bounds, and the breaks that its other operations can cause
    are known all the same.
    """

    def bound(lo, hi):
        found = enclosure(lambda x: jnp.stack(jax.jvp(f, (x,), (jnp.ones_like(x),))))(lo, hi)
        steepest = jnp.maximum(jnp.abs(found.lo[1]), jnp.abs(found.hi[1]))
        return Bounds(steepest, found.hi[0] - found.lo[0], found.switched)

    def bound_of_breaks(lo, hi):
        found = enclosure(f, partial=True)(lo, hi)
        return Bounds(jnp.full_like(found.lo, jnp.inf), found.hi - found.lo, found.switched)

    try:
        return jax.vmap(bound)(lo, hi)
    except NoEnclosure:
        found = jax.vmap(bound_of_breaks)(lo, hi)
        return None if found.switched is None else found
