"""Adaptive cubature over boxes of two to four variables: tensor products of the Gauss-Kronrod rule.

The rule of a cell is the product of the 21-point rules along all axes. The error of a cell is a sum over the axes: on
every line of nodes parallel to the axis the 10-point rule replaces the 21-point rule, and the absolute changes are
added up. The cell is bisected along the axis of the largest change.

A piece of an axis is mapped to t linearly if the piece is finite and f is finite at its ends, because smooth functions
of three variables then need a hundred times fewer evaluations. Any other piece gets the double-exponential change of
variable. The integral beyond its range of t is bounded by power laws: towards a finite end by that through the last two
nodes, cell by cell, towards infinity by that of the integrals over the surfaces of growing boxes.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.calculus.integration.double_exponential import (
    MappedPoints,
    change_of_variable,
    rounds_to_end,
    t_max,
    without_rounding_of_t,
)
from jaxcalc.calculus.integration.nodes import CONTINUATION, GAP, GAUSS, KRONROD, NODES
from jaxcalc.calculus.integration.quadrature import error_estimate
from jaxcalc.calculus.integration.subdivision import SUM_ROUNDING, CellIntegrals, Total, subdivide
from jaxcalc.calculus.integration.tails import laws_towards
from jaxcalc.calculus.intervals.enclosures import enclosure
from jaxcalc.core.shards import varying_axes, varying_over

# By the number of variables: the initial cells along each piece of an axis, and the default of the most cells.
_INITIAL_CELLS_PER_PIECE = {2: 8, 3: 3, 4: 2}
MOST_CELLS = {1: 2048, 2: 2048, 3: 512, 4: 64}
# Distances from the ends run over this fraction of the range of floating exponents, so that a product of powers of all
# coordinates does not overflow.
_EXPONENT_FRACTION = 0.25
# An exponent of a tail below this cannot be told from 0, for which the integral of the tail is infinite.
_LEAST_TAIL_EXPONENT = 1e-6
# The cells along each axis of a surface far outside, by the number of variables.
_SURFACE_CELLS = {2: 8, 3: 3, 4: 1}
# The bound of the integral towards infinity is that of the law times this, as integrals over surfaces are sampled.
_SAMPLED = 2.0
# Whether f is finite at the ends of a piece is tried at these t of all other axes.
_TRIAL_T = (-0.53, 0.11, 0.67)


class Axis(NamedTuple):
    """An axis of the box.

    Attributes:
        edges: The ends of the pieces of the axis, ascending, (pieces + 1,).
        linear: Whether each piece is mapped to t linearly, (pieces,).
    """

    edges: Array
    linear: Array


class Nodes(NamedTuple):
    """The nodes of k cells along one axis.

    Attributes:
        points: The points x(t), each field (k, nodes).
        weight: The length in x that belongs to a node of weight 1, (k, nodes).
        touches_lo: Whether the cell begins where the range of t does, at a finite end, (k,); False for a linear piece.
        touches_hi: Whether the cell ends where the range of t does, likewise.
        at_end: Whether x equals an end of the piece after rounding, (k, nodes).
        end_weight: The weights of the two ends of the cell, as those of nodes, (k, 2).
        ends: The x of the lower end, the upper end and the middle of the cell, (k, 3), without the last few floating
            numbers before an end of the piece, where f may touch the border of its domain.
    """

    points: MappedPoints
    weight: Array
    touches_lo: Array
    touches_hi: Array
    at_end: Array
    end_weight: Array
    ends: Array


def integral(
    f: Callable, m: int, limit: int, edges: Sequence[Array], bounded: bool, epsabs: Array, epsrel: Array
) -> tuple[Total, Array, Array]:
    """Integrates f, R^d -> R^m, over a box.

    Args:
        f: The integrand, of a point (d,), whose result has shape (m,).
        m: The number of integrals.
        limit: The most cells.
        edges: For each axis the ends of its pieces, ascending; the first and the last may be infinite.
        bounded: Whether all ends are known to be finite.
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach, of every component.

    Returns:
        The total over all cells, False because the divergence of an integral is not shown here, and the number of
        evaluations of f.
    """
    values = jax.vmap(f)
    axes = [Axis(ends, _linear(values, edges, k)) for k, ends in enumerate(edges)]
    bounds, is_complete = _bounds(f, edges)
    rule = functools.partial(_rule, values, bounds, is_complete, axes)
    total: Total = subdivide(rule, m, limit, *_initial_cells(axes), epsabs, epsrel)
    d, n = len(edges), len(NODES)
    per_cell = n**d + (0 if is_complete else 2 * d * n ** (d - 1))
    if not bounded:
        total = total._replace(error=total.error + _infinite_tails(values, m, edges))
    return total, jnp.array(False), per_cell * total.evaluated


def initial_cell_count(pieces: Sequence[int]) -> int:
    """Returns the number of initial cells of a box, from the number of pieces of each axis."""
    return math.prod(pieces) * _INITIAL_CELLS_PER_PIECE[len(pieces)] ** len(pieces)


def points_per_iteration(pieces: Sequence[int]) -> int:
    """Returns the number of points at which an iteration evaluates f, from the number of pieces of each axis."""
    return initial_cell_count(pieces) * len(NODES) ** len(pieces)


def _linear(values: Callable, edges: Sequence[Array], k: int) -> Array:
    """Returns which pieces of axis k are finite and have a finite integrand at both ends, (pieces,)."""
    trials = jnp.array(_TRIAL_T, edges[k].dtype)
    others = [change_of_variable(ends[0], ends[-1], jnp.roll(trials, j)).x for j, ends in enumerate(edges)]
    x = jnp.stack([jnp.broadcast_to(other, (len(edges[k]), len(trials))) for other in others], axis=-1)
    x = x.at[..., k].set(edges[k][:, None])
    regular = jnp.all(jnp.isfinite(values(x.reshape(-1, len(edges))).reshape(len(x), -1)), axis=1)
    regular &= jnp.isfinite(edges[k])
    return regular[:-1] & regular[1:]


def _t_range(axis: Axis) -> tuple[Array, Array]:
    """Returns the lower and the upper end of t in each piece of an axis: 0 and 1 for a linear piece."""
    largest = float(jnp.finfo(axis.edges.dtype).max)
    end = t_max(axis.edges[:-1], axis.edges[1:], _EXPONENT_FRACTION * math.log(largest))
    return jnp.where(axis.linear, 0.0, -end), jnp.where(axis.linear, 1.0, end)


def _initial_cells(axes: Sequence[Axis]) -> tuple[Array, Array]:
    """Returns the initial cells (k, 3 d), and whether each is used (k,): cells of an empty piece are not.

    The columns are, for all d axes, the pieces, then the lower and then the upper ends in t.
    """
    each = _INITIAL_CELLS_PER_PIECE[len(axes)]
    columns = []
    for axis in axes:
        begin, end = _t_range(axis)
        cuts = begin[:, None] + (end - begin)[:, None] * jnp.linspace(0.0, 1.0, each + 1, dtype=begin.dtype)
        piece = jnp.repeat(jnp.arange(len(begin)), each)
        used = (axis.edges[1:] > axis.edges[:-1])[piece]
        columns.append((piece.astype(begin.dtype), cuts[:, :-1].ravel(), cuts[:, 1:].ravel(), used))
    grids = [jnp.meshgrid(*column, indexing="ij") for column in zip(*columns, strict=True)]
    piece, lo, hi, used = (jnp.stack([grid.ravel() for grid in column], axis=1) for column in grids)
    return jnp.concatenate([piece, lo, hi], axis=1), jnp.all(used, axis=1)


def _nodes(axis: Axis, piece: Array, lo: Array, hi: Array) -> Nodes:
    """Returns the nodes along one axis of cells lo <= t <= hi of these pieces, each argument (k,)."""
    piece = piece.astype(jnp.int32)
    first, last, linear = axis.edges[piece][:, None], axis.edges[piece + 1][:, None], axis.linear[piece][:, None]
    # The two ends of the cell are evaluated with the nodes.
    offset, middle = (hi - lo)[:, None] / 2 * jnp.asarray([-1, *NODES, 1], lo.dtype), ((lo + hi) / 2)[:, None]
    t = middle + offset
    points = change_of_variable(first, last, t)
    # A linear map adds to the end of the smaller magnitude, near which floating numbers are the densest.
    width = jnp.where(linear, last - first, 0.0)
    linear_x = jnp.where(jnp.abs(first) <= jnp.abs(last), first + width * t, last - width * t)
    points = points._replace(
        x=jnp.where(linear, linear_x, without_rounding_of_t(points, offset - (t - middle))),
        dx_dt=jnp.where(linear, width, points.dx_dt),
        rounding=jnp.where(linear, jnp.abs(linear_x) / 2, points.rounding),
    )
    whole = jnp.where(jnp.isfinite(last - first), last - first, 0.0)
    low, high = (
        end + sign * 16 * jnp.finfo(lo.dtype).eps * jnp.maximum(jnp.abs(end), whole)
        for end, sign in ((first, 1), (last, -1))
    )
    ends = points.x[:, jnp.array([0, -1, len(NODES) // 2 + 1])]
    ends = jnp.clip(ends, jnp.where(jnp.isfinite(first), low, first), jnp.where(jnp.isfinite(last), high, last))
    weight = points.dx_dt * (hi - lo)[:, None] / 2
    points = jax.tree.map(lambda leaf: leaf[:, 1:-1], points)
    begin, end = _t_range(axis)
    mapped, finite = ~linear[:, 0], (jnp.isfinite(first)[:, 0], jnp.isfinite(last)[:, 0])
    touches = finite[0] & mapped & (lo <= begin[piece]), finite[1] & mapped & (hi >= end[piece])
    at_end = rounds_to_end(first, last, points.x)
    return Nodes(points, weight[:, 1:-1], *touches, at_end, weight[:, jnp.array([0, -1])], ends)


def _rule(
    values: Callable, bounds: Callable | None, is_complete: bool, axes: Sequence[Axis], cells: Array
) -> CellIntegrals:
    """Applies the product rule to many cells (k, 3 d)."""
    d = len(axes)
    nodes = [_nodes(axis, *(cells[:, k + part * d] for part in range(3))) for k, axis in enumerate(axes)]
    shape = (len(cells), *(len(NODES),) * d)
    x = jnp.stack([jnp.broadcast_to(_on_axis(along.points.x, k, d), shape) for k, along in enumerate(nodes)], axis=-1)
    y = values(x.reshape(-1, d)).reshape(*shape, -1)
    missing = ~jnp.isfinite(y)
    y = jnp.where(missing, 0.0, y)
    volume = functools.reduce(jnp.multiply, [_on_axis(along.weight, k, d) for k, along in enumerate(nodes)])
    weighted = y * volume[..., None]
    value, size = _product_rule(weighted, [KRONROD] * d), _product_rule(jnp.abs(weighted), [KRONROD] * d)
    changes = [_change_by_axis(weighted, k, d) for k in range(d)]
    from_x = sum(_rounding_of_x(y, volume, along.points, k, d) for k, along in enumerate(nodes))
    rounding_error = jnp.finfo(cells.dtype).eps * (SUM_ROUNDING * size + from_x)
    error = error_estimate(functools.reduce(jnp.add, changes), size, rounding_error)
    error += sum(_tail_bound(weighted, along, k, d) for k, along in enumerate(nodes))
    if not is_complete:
        next_to_ends = [_error_next_to_ends(values, weighted, nodes, k) for k in range(d)]
        changes = list(map(jnp.maximum, changes, next_to_ends))
        error += functools.reduce(jnp.add, next_to_ends)
    at_end = functools.reduce(jnp.logical_or, [_on_axis(along.at_end, k, d) for k, along in enumerate(nodes)])
    undefined = jnp.any(missing & ~jnp.broadcast_to(at_end, shape)[..., None], axis=tuple(range(1, d + 1)))
    split_axis = jnp.argmax(jnp.stack([jnp.max(change, axis=1) for change in changes]), axis=0)
    error = jnp.where(undefined, jnp.inf, error)
    if bounds is not None:
        break_error, towards_break = _break_error(bounds, nodes)
        split_axis = jnp.where(jnp.any(break_error > error, axis=1), towards_break, split_axis)
        error = jnp.maximum(error, break_error)
    return CellIntegrals(value, error, jnp.zeros_like(error), rounding_error, size, split_axis)


def _bounds(f: Callable, edges: Sequence[Array]) -> tuple[Callable | None, bool]:
    """Returns (lo, hi) -> the range of f where f may jump or bend in a box, elsewhere 0, (k, m), for corners (k, d).

    It is None if f has no operation that is known to jump or bend. The result of an operation without an enclosure may
    be any number; the second result is whether there is no such operation.
    """
    corner = jnp.stack([ends[0] for ends in edges])
    traces = []

    def bound(lo, hi):
        found = enclosure(f, partial=True)(lo, hi)
        traces.append((found.switched is not None, found.is_complete))
        return jnp.where(False if found.switched is None else found.switched, found.hi - found.lo, 0.0)

    jax.eval_shape(bound, corner, corner)
    may_break, is_complete = traces[0]
    return jax.vmap(bound) if may_break else None, is_complete


def _break_error(bounds: Callable, nodes: Sequence[Nodes]) -> tuple[Array, Array]:
    """Returns the error that jumps and kinks can cause in k cells, (k, m), and the axis along which to bisect, (k,).

    The integral over a cell and the sum of the rule both lie between volume min f and volume max f. The halves along
    the chosen axis have the least sum of these errors: bisecting along that axis separates the break from the rest.
    """
    d = len(nodes)
    lo, hi, middle = (jnp.stack([along.ends[:, n] for along in nodes], axis=1) for n in range(3))
    chosen = jnp.eye(d, dtype=bool)[:, None]
    lower, upper = jnp.where(chosen, middle, hi), jnp.where(chosen, middle, lo)  # the inner faces of the halves
    first = jnp.concatenate([lo[None], jnp.broadcast_to(lo, upper.shape), upper])
    last = jnp.concatenate([hi[None], lower, jnp.broadcast_to(hi, lower.shape)])
    ranges = bounds(first.reshape(-1, d), last.reshape(-1, d)).reshape(len(first), len(lo), -1)
    # 0 times an infinite range is nan, which counts as unbounded.
    errors = jnp.nan_to_num(jnp.prod(last - first, axis=-1)[..., None] * ranges, nan=jnp.inf, posinf=jnp.inf)
    of_halves = jnp.max(errors[1 : d + 1] + errors[d + 1 :], axis=-1)
    # Among equals, such as halves without bounds, the longest side in proportion to the box is bisected.
    return errors[0], jnp.argmin(of_halves, axis=0)


def _product_rule(y: Array, weights: Sequence) -> Array:
    """Returns the weighted sums (k, m) of y (k, nodes, ..., nodes, m), with one array of weights for each axis.

    The last axis is summed first, which leaves the positions of the other axes unchanged.
    """
    for along in reversed(weights):
        y = jnp.moveaxis(y, -2, -1) @ jnp.asarray(along, y.dtype)
    return y


def _change_by_axis(y: Array, k: int, d: int) -> Array:
    """Returns |21-point rule - 10-point rule| of every line along axis k, integrated over the lines, (cells, m)."""
    lines = jnp.moveaxis(y, k + 1, -1) @ jnp.asarray(KRONROD - GAUSS, y.dtype)
    return _product_rule(jnp.abs(lines), [KRONROD] * (d - 1))


def _on_axis(along: Array, axis: int, d: int) -> Array:
    """Returns an array (k, nodes) of one axis as (k, 1, ..., nodes, ..., 1), to broadcast over the grid of nodes."""
    return along.reshape(len(along), *(-1 if other == axis else 1 for other in range(d)))


def _rounding_of_x(y: Array, volume: Array, points: MappedPoints, k: int, d: int) -> Array:
    """Returns the integral of |df/dx_k| times the error of x_k, in units of eps, (cells, m)."""
    gap = jnp.abs(jnp.diff(points.x, axis=1))
    relative = _on_axis(jnp.where(gap > 0, points.rounding[:, :-1] / jnp.where(gap > 0, gap, 1.0), 0.0), k, d)
    volume = jax.lax.slice_in_dim(volume, 0, -1, axis=k + 1)
    change = jnp.abs(jnp.diff(y, axis=k + 1)) * (relative * volume)[..., None]
    return _product_rule(change, [KRONROD[:-1] if other == k else KRONROD for other in range(d)])


def _tail_bound(weighted: Array, along: Nodes, k: int, d: int) -> Array:
    """Returns a bound (cells, m) of the integral between the range of t of axis k and finite ends, for the cells there.

    |f| distance is taken to be c distance^exponent. The integral from the last node to the end is |f| distance /
    exponent, and infinite if the exponent is not positive.
    """
    total = jnp.zeros((len(weighted), weighted.shape[-1]), weighted.dtype)
    lines = jnp.moveaxis(jnp.abs(weighted), k + 1, 0)
    for touches, last, inner in ((along.touches_lo, 0, 1), (along.touches_hi, -1, -2)):
        distance, weight = (
            jnp.stack([part[:, n] for n in (last, inner)]) for part in (along.points.distance, along.weight)
        )
        faces = jnp.stack([_product_rule(lines[n], [KRONROD] * (d - 1)) for n in (last, inner)])
        size = faces * jnp.where(weight > 0, distance / weight, 0.0)[..., None]
        log_step = jnp.log(distance[1] / distance[0])
        exponent = (jnp.log(size[1]) - jnp.log(size[0])) / log_step[:, None]
        bound = jnp.where(exponent > _LEAST_TAIL_EXPONENT, size[0] / exponent, jnp.inf)
        total += jnp.where(touches[:, None] & (size[0] > 0), bound, 0.0)
    return total


def _error_next_to_ends(values: Callable, weighted: Array, nodes: Sequence[Nodes], k: int) -> Array:
    """Returns what breaks between the ends of cells along axis k and their outermost nodes can change, (cells, m).

    See `CONTINUATION`: only functions with operations that have no bounds need it, which may hide a break.
    """
    d, cells = len(nodes), len(weighted)
    shape = (cells, *(2 if axis == k else len(NODES) for axis in range(d)))
    x = [along.ends[:, :2] if axis == k else along.points.x for axis, along in enumerate(nodes)]
    x = jnp.stack([jnp.broadcast_to(_on_axis(part, axis, d), shape) for axis, part in enumerate(x)], axis=-1)
    weights = [along.end_weight if axis == k else along.weight for axis, along in enumerate(nodes)]
    volume = functools.reduce(jnp.multiply, [_on_axis(part, axis, d) for axis, part in enumerate(weights)])
    at_ends = values(x.reshape(-1, d)).reshape(*shape, -1) * volume[..., None]
    continued = jnp.moveaxis(jnp.moveaxis(weighted, k + 1, -1) @ jnp.asarray(CONTINUATION.T, weighted.dtype), -1, k + 1)
    difference = jnp.where(jnp.isfinite(at_ends), jnp.abs(continued - at_ends), 0.0)
    return GAP * _product_rule(jnp.sum(difference, axis=k + 1), [KRONROD] * (d - 1))


def _infinite_tails(values: Callable, m: int, edges: Sequence[Array]) -> Array:
    """Returns a bound (m,) of the integral of |f| beyond the ranges of t towards infinite ends; 0 without such ends.

    Let S(r) be the integral of |f| over those faces of the box that lie at the distance r towards infinite ends, where
    all infinite axes end at the distance r. The integral outside is that of S from r to infinity, whatever f is near
    edges of the box. S follows a power law, of whose exponent three boxes tell.
    """
    infinite = jnp.stack([jnp.isinf(ends[jnp.array([0, -1])]) for ends in edges])
    dtype = edges[0].dtype
    exponent = _EXPONENT_FRACTION * math.log(float(jnp.finfo(dtype).max))
    none = varying_over(varying_axes(edges), jnp.zeros(m, dtype))

    def bound() -> Array:
        x, weight = _surface_points(edges, infinite, exponent - math.log(4.0) * jnp.arange(3, dtype=dtype))
        y = jnp.abs(values(x.reshape(-1, len(edges)))).reshape(*weight.shape, m)
        y = jnp.where((weight[..., None] > 0) & jnp.isfinite(y), y, 0.0)
        # A power of 4 for each box takes S distance to S of distance 1.
        surface = jnp.sum(y * weight[..., None], axis=1) * 4.0 ** jnp.arange(3, dtype=dtype)[:, None]
        one = jnp.ones(1, dtype)
        laws = laws_towards(surface[:, None], one, one == 0, one == 1, one / 4)
        tail = _SAMPLED * (laws.size * (1 + jnp.maximum(laws.excess, 0)))[0]
        return jnp.where(surface[0] > 0, jnp.where(jnp.isnan(tail), jnp.inf, tail), 0.0)

    return jax.lax.cond(jnp.any(infinite), bound, lambda: none)


def _surface_points(edges: Sequence[Array], infinite: Array, log_sizes: Array) -> tuple[Array, Array]:
    """Returns nodes (sizes, points, d) on the faces of boxes towards infinite ends, and their weights times distances.

    Args:
        edges: For each axis the ends of its pieces.
        infinite: Whether the lower and the upper end of each axis are infinite, (d, 2).
        log_sizes: The logarithms of the distances at which infinite axes end.
    """
    d, each = len(edges), _SURFACE_CELLS[len(edges)]
    middles = (np.arange(each) + 0.5) * 2 / each - 1
    inner = (middles[:, None] + NODES / each).ravel()
    lo, hi = (jnp.stack([ends[n] for ends in edges])[:, None] for n in (0, -1))
    end = t_max(lo, hi, log_sizes[:, None, None])  # (sizes, d, 1)
    points = change_of_variable(lo, hi, end * jnp.asarray([-1, *inner, 1], end.dtype))
    weights = points.dx_dt * end * jnp.asarray([0, *np.tile(KRONROD / each, each), 0], end.dtype)
    # The first and the last column stand for the ends, whose weight is the distance towards an infinite end.
    at_ends = jnp.array([0, -1])
    weights = weights.at[..., at_ends].set(jnp.where(infinite, points.distance[..., at_ends], 0.0))
    along = np.arange(1, len(inner) + 1)
    faces = [[[0, len(inner) + 1] if axis == k else along for axis in range(d)] for k in range(d)]
    columns = [np.stack(np.meshgrid(*face, indexing="ij"), axis=-1).reshape(-1, d) for face in faces]
    x, weight = (part[:, np.arange(d), np.concatenate(columns)] for part in (points.x, weights))
    return x, jnp.prod(weight, axis=-1)
