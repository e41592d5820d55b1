"""Adaptive quadrature in one variable: the rule of a cell, and an error that is not understated.

* The error of a cell comes from the difference of the rules of 10 and 21 points, which is about the error of the rule
  of 10 points.
* The enclosure of f' over a cell may allow a far steeper slope than the samples show. Such a cell has a hidden error
  until bisection has either shown the peak to a sample or made the enclosure exclude the peak.
* A cell in which f may jump or bend, between nodes or at a node, has the error width (max f - min f) of the enclosure
  of f: bisection shrinks such a cell towards the break until this bound is within the tolerance.
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
# A margin of the exponent below this, from samples whose exponents agree as well, is 0: the integral diverges.
_LEAST_MARGIN = 1e-6
# A law that replaces f counts as one whose exponent drifts on towards the end above this share of its integral.
_LEAST_DRIFT = 1 / 32
# The least factor between the integrals of a power law and of one whose exponent drifts at which the latter is known.
_LEAST_FACTOR = 1 / 3
# A cell with an unbounded break is not bisected further below this width, in units of eps times |x| or the piece.
_NARROW = 8.0
# The error of such a narrow cell, in units of the integral of |f|: integrals of |x|^p with p >= -0.9.
_SINGULAR_RATIO = 10.0
# The range of t ends where x comes to one of these fractions of the greatest floating exponent: at the first in which f
# is finite.
_EXPONENT_FRACTIONS = [0.97, 0.92, 0.8, 0.65, *(0.97 / 2**k for k in range(1, 8))]
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
        range: The greatest value of f less the least, (k, m); None if f has no operation that could jump or bend.
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


class _Towards(NamedTuple):
    """Laws |f| ~ distance^power near the ends of the pieces, each from three samples; all fields (..., pieces, 2, m).

    Attributes:
        power: The exponent between the first two samples.
        change: The exponent less that of the last two samples.
        margin: What the exponent has above that of the least power law without an integral.
        excess: The share by which the integral from the sample to the end may exceed that of the law, see `_excess`.
        size: The integral of the law from the first sample to the end, (..., pieces, 2, m).
    """

    power: Array
    change: Array
    margin: Array
    excess: Array
    size: Array


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
    all_laws = _towards(all_samples, distances, finite, step)
    samples, beyond = (
        jnp.take_along_axis(all_samples, row[None, None, :, None, None], axis=1)[:, 0]
        for row in (best, jnp.maximum(best - 1, 0))
    )
    laws = jax.tree.map(lambda law: jnp.take_along_axis(law, best[None, :, None, None], axis=0)[0], all_laws)
    distance, least = (
        jnp.take_along_axis(jnp.broadcast_to(some, distances.shape), best[None, :, None], axis=0)[0]
        for some in (distances, smallest)
    )
    resolves_end = (~finite | (ends == 0))[..., None]
    singular = ~resolves_end & (laws.power < _SINGULAR_POWER)
    # The cells do not cover the tail where x resolves the end; where the power law replaces f, they cover the tail with
    # an error of the law; elsewhere they cover the tail with f itself.
    of_law = _error_of_law(laws) + (least / distance)[..., None] ** jnp.maximum(laws.margin, 0)
    relative_error = jnp.where(resolves_end, 1 + jnp.maximum(laws.excess, 0), jnp.where(singular, of_law, 0.0))
    no_tail = (samples[0] == 0) | (width == 0)[..., None] | (relative_error == 0)
    tail = jnp.where(no_tail, 0.0, laws.size * relative_error)
    tail = jnp.where(jnp.isnan(tail), jnp.inf, tail)
    vanished = (samples[0] == 0) & ~finite[..., None] & (width > 0)[..., None]
    tail = jnp.where(vanished, _vanished_tail(all_samples, all_laws, distances, best), tail)
    near = jnp.where(jnp.any(singular, axis=-1), distance, 0.0)
    tail_bound = jnp.sum(tail, axis=(0, 1))
    follows_law = (laws.margin <= 0) & (jnp.abs(laws.change) <= _LEAST_MARGIN) & (resolves_end | jnp.isinf(at_end))
    overflows = jnp.all(beyond == jnp.inf, axis=0) | jnp.all(beyond == -jnp.inf, axis=0)
    overflows &= ~finite[..., None] & (laws.power > 0)
    known = (width > 0)[..., None] & jnp.all(jnp.isfinite(samples) & (samples != 0), axis=0)
    diverges = known & (follows_law | overflows)
    piece = Piece(lo, hi, t_max(lo, hi, exponents[best, 0]), near, samples[0], laws.power)
    return piece, tail_bound, jnp.any(diverges, axis=(0, 1))


def _exponents(dtype: Any) -> Array:
    """Returns log |x| at the ends of ranges of t, (fractions,): neither x nor dx/dt, about |x| log |x|, overflows."""
    greatest = math.log(float(jnp.finfo(dtype).max))
    return jnp.minimum(greatest * jnp.array(_EXPONENT_FRACTIONS, dtype), greatest - math.log(greatest) - 2)


def _towards(samples: Array, distances: Array, finite: Array, step: Array) -> _Towards:
    """Returns the laws through three samples (3, ..., m) at the distances times 1, step and step^2 from the ends."""
    power, change = _power_law(samples, jnp.log(step)[..., None])
    # The integral of |f| from the sample to the end is |f| distance / margin; with margin <= 0 the integral diverges.
    finite = finite[..., None]
    margin = jnp.where(finite, power + 1, -(power + 1))
    margin = jnp.where(jnp.abs(margin) <= _LEAST_MARGIN, 0.0, margin)
    excess = _excess(margin, jnp.where(finite, change, -change), jnp.abs(jnp.log(step))[..., None])
    size = jnp.abs(samples[0]) * distances[..., None] / jnp.maximum(margin, 0)
    return _Towards(power, change, margin, excess, size)


def _power_law(samples: Array, log_step: Array) -> tuple[Array, Array]:
    """Returns p of |f| ~ distance^p through the first two of three samples, and p less that of the last two.

    The distances of the samples (3, ...) from the end grow by the factor exp(log_step). Where a sample is 0 or not
    finite, p is 0 and the difference 1.
    """
    size = jnp.abs(samples)
    ratio = size[1:] / size[:-1]
    # Rounding leaves more in a difference of logarithms, which in turn does not overflow.
    growth = jnp.where((ratio > 0) & jnp.isfinite(ratio), jnp.log(ratio), jnp.log(size[1:]) - jnp.log(size[:-1]))
    first, second = growth / log_step
    known = jnp.isfinite(first) & jnp.isfinite(second)
    return jnp.where(known, first, 0.0), jnp.where(known, first - second, 1.0)


def _excess(margin: Array, growth: Array, log_step: Array) -> Array:
    """Returns twice the share by which the integral of |f| towards an end exceeds that of the law of this margin.

    Let L be the logarithm of the distance, growing towards the end, and |f| distance = exp(-h(L)); the margin is h'.
    The integral from L to the end is exp(-h) / h' where h'' = 0, and exp(-h) / (h' (1 + h'' / h'^2)) where h' = k / L,
    as of 1 / (x log(x)^(k + 1)). Twice, since h' may fall otherwise. Where the factor (1 + h'' / h'^2) is small the
    integral is not known, as of 1 / (x log(x)), and the share is inf.

    Args:
        margin: h' between the first two samples.
        growth: By how much h' has grown from the last two samples to the first two.
        log_step: The distance between two samples in L.
    """
    at_end = margin + jnp.minimum(growth, 0) / 2
    factor = 1 + growth / log_step / at_end**2
    share = 2 * (margin / (at_end * factor) - 1)
    return jnp.where((factor >= _LEAST_FACTOR) & (at_end > 0), share, jnp.inf)


def _error_of_law(laws: _Towards) -> Array:
    """Returns the relative error of the integral of a law that replaces f: by the change of the exponent.

    A change that dies out towards the end, as that of a power times a smooth function, matters over one step. A drift
    that goes on matters all the way to the end.
    """
    of_change = jnp.abs(laws.change) / jnp.maximum(laws.margin, 0)
    return jnp.maximum(of_change, jnp.where(jnp.abs(laws.excess) > _LEAST_DRIFT, jnp.abs(laws.excess), 0.0))


def _vanished_tail(samples: Array, laws: _Towards, distances: Array, best: Array) -> Array:
    """Returns a bound (pieces, 2, m) of the integrals towards ends where the samples underflow to 0.

    The law of the farthest samples that do not underflow gives the margin. At the next distance |f| is below the least
    floating number. Where all samples are 0 the bound is 0.
    """
    tiny = jnp.finfo(samples.dtype).tiny
    row = jnp.arange(samples.shape[1])[:, None, None, None]
    usable = jnp.all(jnp.isfinite(samples) & (jnp.abs(samples) >= tiny), axis=0) & (row >= best[:, None, None])
    last = jnp.argmax(usable, axis=0)[None]
    margin, excess, size = (
        jnp.take_along_axis(part, last, axis=0)[0] for part in (laws.margin, laws.excess, laws.size)
    )
    next_distance = jnp.take_along_axis(distances[..., None], jnp.maximum(last - 1, 0), axis=0)[0]
    longer = 1 + jnp.maximum(excess, 0)
    bound = jnp.minimum(size * longer, tiny * next_distance * longer / jnp.maximum(margin, 0))
    return jnp.where(jnp.any(usable, axis=0), jnp.where(jnp.isnan(bound), jnp.inf, bound), 0.0)


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
    error = error_estimate(difference, size, rounding_error)
    missing = missing & ~at_end[..., None]
    hidden_error, undefined = jnp.zeros_like(error), jnp.any(missing, axis=1)
    found = bounds(*_inner_ends(piece, x))
    if found is not None:
        hidden_error = _hidden_error(found.steepest, samples, slopes)
        if found.range is not None and found.switched is not None:
            break_error, irreducible = _break_error(found.switched, found.range, piece, samples, weight, size)
            error = jnp.maximum(error, break_error)
            rounding_error = jnp.maximum(rounding_error, irreducible)
            undefined = jnp.where(jnp.isinf(irreducible), jnp.all(missing, axis=1), undefined)
    error = jnp.where(undefined, jnp.inf, error)
    return CellIntegrals(value, error, hidden_error, rounding_error, size, jnp.zeros(len(cells), dtype))


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
    switched: Array, ranges: Array, piece: Piece, samples: _Samples, weight: Array, size: Array
) -> tuple[Array, Array]:
    """Returns the error that jumps and kinks can cause in k cells, and its part that bisection cannot reduce, (k, m).

    The integral and the sum of the rule both lie between width min f and width max f. The place of a break is not known
    better than x, which rounds. Where f has no bounds and the cell is as narrow as x allows, the cell holds a
    singularity: the sum gives the integral up to a factor if the integral exists, and the second result is inf.
    """
    x, eps = samples.x, jnp.finfo(samples.x.dtype).eps
    x_error = eps * jnp.max(samples.points.rounding, axis=1)
    width = jnp.maximum(x[:, -1] - x[:, 0] - 4 * x_error, weight @ jnp.asarray(KRONROD, x.dtype))
    whole = piece.hi - piece.lo
    scale = jnp.maximum(jnp.max(jnp.abs(x), axis=1), jnp.where(jnp.isfinite(whole), whole, 1.0))
    switched, bounded = switched[:, None], jnp.isfinite(ranges)
    singular = switched & ~bounded & (width <= _NARROW * eps * scale)[:, None]
    irreducible = jnp.where(switched & bounded, x_error[:, None] * ranges, 0.0)
    error = jnp.where(bounded, width[:, None] * ranges + irreducible, jnp.inf)
    error = jnp.where(singular, _SINGULAR_RATIO * size, error)
    return jnp.where(switched, error, 0.0), jnp.where(singular, jnp.inf, irreducible)


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
        return Bounds(steepest, None if found.switched is None else found.hi[0] - found.lo[0], found.switched)

    def bound_of_breaks(lo, hi):
        found = enclosure(f, partial=True)(lo, hi)
        return Bounds(jnp.full_like(found.lo, jnp.inf), found.hi - found.lo, found.switched)

    try:
        return jax.vmap(bound)(lo, hi)
    except NoEnclosure:
        found = jax.vmap(bound_of_breaks)(lo, hi)
        return None if found.switched is None else found
