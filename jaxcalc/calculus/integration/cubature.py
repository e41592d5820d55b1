"""Adaptive cubature over boxes of two to four variables: tensor products of the Gauss-Kronrod rule.

The rule of a cell is the product of the 21-point rules along all axes. The error of a cell is a sum over the axes: on
every line of nodes parallel to the axis the 10-point rule replaces the 21-point rule, and the absolute changes are
added up. The cell is bisected along the axis of the largest change.

A piece of an axis is mapped to t linearly if the piece is finite and f is finite at its ends, because smooth functions
of three variables then need a hundred times fewer evaluations. Any other piece gets the double-exponential change of
variable; the integral beyond its range of t is bounded by the power law through the last two nodes.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.integration.double_exponential import (
    MappedPoints,
    change_of_variable,
    rounds_to_end,
    t_max,
    without_rounding_of_t,
)
from jaxcalc.calculus.integration.nodes import GAUSS, KRONROD, NODES
from jaxcalc.calculus.integration.quadrature import error_estimate
from jaxcalc.calculus.integration.subdivision import SUM_ROUNDING, CellIntegrals, Total, subdivide
from jaxcalc.calculus.intervals.enclosures import enclosure

# By the number of variables: the initial cells along each piece of an axis, and the default of the most cells.
_INITIAL_CELLS_PER_PIECE = {2: 8, 3: 3, 4: 2}
MOST_CELLS = {1: 2048, 2: 2048, 3: 512, 4: 64}
# Distances from the ends run over this fraction of the range of floating exponents, so that a product of powers of all
# coordinates does not overflow.
_EXPONENT_FRACTION = 0.25
# An exponent of a tail below this cannot be told from 0, for which the integral of the tail is infinite.
_LEAST_TAIL_EXPONENT = 1e-6
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
        touches_lo: Whether the cell begins where the range of t does, (k,); False for a linear piece.
        touches_hi: Whether the cell ends where the range of t does, (k,); False for a linear piece.
        finite_lo: Whether the lower end of the piece is finite, (k,).
        finite_hi: Whether the upper end of the piece is finite, (k,).
        at_end: Whether x equals an end of the piece after rounding, (k, nodes).
        ends: The x of the lower end, the upper end and the middle of the cell, (k, 3), without the last few floating
            numbers before an end of the piece, where f may touch the border of its domain.
    """

    points: MappedPoints
    weight: Array
    touches_lo: Array
    touches_hi: Array
    finite_lo: Array
    finite_hi: Array
    at_end: Array
    ends: Array


def integral(
    f: Callable, m: int, limit: int, edges: Sequence[Array], epsabs: Array, epsrel: Array
) -> tuple[Total, Array, Array]:
    """Integrates f, R^d -> R^m, over a box.

    Args:
        f: The integrand, of a point (d,), whose result has shape (m,).
        m: The number of integrals.
        limit: The most cells.
        edges: For each axis the ends of its pieces, ascending; the first and the last may be infinite.
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach, of every component.

    Returns:
        The total over all cells, False because the divergence of an integral is not shown here, and the number of
        evaluations of f.
    """
    values = jax.vmap(f)
    axes = [Axis(ends, _linear(values, edges, k)) for k, ends in enumerate(edges)]
    rule = functools.partial(_rule, values, _bounds(f, edges), axes)
    total = subdivide(rule, m, limit, *_initial_cells(axes), epsabs, epsrel)
    return total, jnp.array(False), len(NODES) ** len(edges) * total.evaluated


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
    points = jax.tree.map(lambda leaf: leaf[:, 1:-1], points)
    begin, end = _t_range(axis)
    mapped, finite = ~linear[:, 0], (jnp.isfinite(first)[:, 0], jnp.isfinite(last)[:, 0])
    touches = mapped & (lo <= begin[piece]), mapped & (hi >= end[piece])
    weight = points.dx_dt * (hi - lo)[:, None] / 2
    return Nodes(points, weight, *touches, *finite, rounds_to_end(first, last, points.x), ends)


def _rule(values: Callable, bounds: Callable | None, axes: Sequence[Axis], cells: Array) -> CellIntegrals:
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
    at_end = functools.reduce(jnp.logical_or, [_on_axis(along.at_end, k, d) for k, along in enumerate(nodes)])
    undefined = jnp.any(missing & ~jnp.broadcast_to(at_end, shape)[..., None], axis=tuple(range(1, d + 1)))
    split_axis = jnp.argmax(jnp.stack([jnp.max(change, axis=1) for change in changes]), axis=0)
    error = jnp.where(undefined, jnp.inf, error)
    if bounds is not None:
        break_error, towards_break = _break_error(bounds, nodes)
        split_axis = jnp.where(jnp.any(break_error > error, axis=1), towards_break, split_axis)
        error = jnp.maximum(error, break_error)
    return CellIntegrals(value, error, jnp.zeros_like(error), rounding_error, size, split_axis)


def _bounds(f: Callable, edges: Sequence[Array]) -> Callable | None:
    """Returns (lo, hi) -> the range of f where f may jump or bend in a box, elsewhere 0, (k, m), for corners (k, d).

    Returns None if f has no operation that is known to jump or bend. The result of an operation without an enclosure
    may be any number.
    """
    corner = jnp.stack([ends[0] for ends in edges])
    switches = []

    def bound(lo, hi):
        found = enclosure(f, partial=True)(lo, hi)
        switches.append(found.switched)
        return jnp.where(False if found.switched is None else found.switched, found.hi - found.lo, 0.0)

    jax.eval_shape(bound, corner, corner)
    return None if switches[0] is None else jax.vmap(bound)


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
    """Returns a bound (cells, m) of the integral beyond the range of t of axis k, for the cells that touch its ends.

    Towards a finite end |f| distance is taken to be c distance^exponent, towards an infinite end c distance^-exponent.
    The integral from the last node to the end is |f| distance / exponent, and infinite if the exponent is not positive.
    """
    total = jnp.zeros((len(weighted), weighted.shape[-1]), weighted.dtype)
    lines = jnp.moveaxis(jnp.abs(weighted), k + 1, 0)
    sides = (along.touches_lo, along.finite_lo, 0, 1), (along.touches_hi, along.finite_hi, -1, -2)
    for touches, finite, last, inner in sides:
        distance, weight = (
            jnp.stack([part[:, n] for n in (last, inner)]) for part in (along.points.distance, along.weight)
        )
        faces = jnp.stack([_product_rule(lines[n], [KRONROD] * (d - 1)) for n in (last, inner)])
        size = faces * jnp.where(weight > 0, distance / weight, 0.0)[..., None]
        log_step = jnp.log(distance[1] / distance[0]) * jnp.where(finite, 1, -1)
        exponent = (jnp.log(size[1]) - jnp.log(size[0])) / log_step[:, None]
        bound = jnp.where(exponent > _LEAST_TAIL_EXPONENT, size[0] / exponent, jnp.inf)
        total += jnp.where(touches[:, None] & (size[0] > 0), bound, 0.0)
    return total
