"""Adaptive cubature over boxes of a few dimensions: products of the Gauss-Kronrod rule.

The rule of a cell is the product of that of 21 points along each axis. Its error is the sum of what changes, line by
line, when one axis after the other gets the rule of 10 points instead; that also tells which axis to halve. Infinite
axes, and those on whose ends the integrand is not finite, are drawn in by the double-exponential map, beyond whose
range the integrand is continued by the power law of its last two nodes. The others stay straight, as smooth functions
of three variables then need a hundred times fewer evaluations.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.double_exponential import Place, at_an_end, place, reach, unrounded
from jaxcalc.calculus.gauss_kronrod import GAUSS, KRONROD, NODES
from jaxcalc.calculus.quadrature import ROUNDING, estimate
from jaxcalc.calculus.subdivision import Findings, subdivide

# By the number of variables: cells that each piece of an axis is cut into at first, and the most cells by default.
_CELLS_AT_FIRST = {2: 8, 3: 3, 4: 2}
LIMITS = {1: 2048, 2: 2048, 3: 512, 4: 64}
# Distances from the ends and towards infinity span this part of the range of the exponents, so that a product of
# powers of all coordinates does not overflow.
_SPAN = 0.25
# A smaller exponent than this is the rounding of 0, with which the integral is infinite.
_FLAT = 1e-6
# Places of the other axes, in the t of the map, where it is tried whether f is finite at the ends of an axis.
_TRIALS = (-0.53, 0.11, 0.67)


class Axis(NamedTuple):
    """An axis of the box: where its pieces begin and end, (pieces + 1,), and which of them stay straight, (pieces,)."""

    edges: Array
    straight: Array


class Nodes(NamedTuple):
    """The nodes of many cells along one axis.

    Attributes:
        at: Where the nodes are, (k, nodes).
        weight: The length that belongs to a node of weight 1, (k, nodes).
        touches_lo: Whether the cell ends where the map ends, (k,); never on a straight axis.
        touches_hi: The same at its other end.
        finite_lo: Whether the lower end of the axis is finite, (k,).
        finite_hi: Whether the upper end is.
        at_end: Whether x cannot be told from an end, (k, nodes).
    """

    at: Place
    weight: Array
    touches_lo: Array
    touches_hi: Array
    finite_lo: Array
    finite_hi: Array
    at_end: Array


def integral(
    f: Callable, m: int, limit: int, edges: Sequence[Array], epsabs: Array, epsrel: Array
) -> tuple[Array, Array, Array, Array]:
    """Integrates f, R^d -> R^m, over a box.

    Args:
        f: The integrand, of a point (d,), whose result has shape (m,).
        m: The number of integrals.
        limit: The most cells.
        edges: For each axis where its pieces begin and end, ascending; the first and the last may be infinite.
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach, of every component.

    Returns:
        value (m,), error (m,), whether cells ran out, and how many points f was evaluated at.
    """
    values = jax.vmap(f)
    axes = [Axis(along, _straight(values, edges, k)) for k, along in enumerate(edges)]
    found = subdivide(functools.partial(_rule, values, axes), m, limit, *_first(axes), epsabs, epsrel)
    return found.value, found.error, found.full, len(NODES) ** len(edges) * found.evaluated


def cells_at_first(pieces: Sequence[int]) -> int:
    """Returns how many cells a box is cut into at first, from the number of pieces of each axis."""
    return math.prod(pieces) * _CELLS_AT_FIRST[len(pieces)] ** len(pieces)


def points_a_turn(pieces: Sequence[int]) -> int:
    """Returns how many points are evaluated side by side."""
    return cells_at_first(pieces) * len(NODES) ** len(pieces)


def _straight(values: Callable, edges: Sequence[Array], k: int) -> Array:
    """Which pieces of axis k are finite, with an integrand that is finite at their ends."""
    trials = jnp.array(_TRIALS, edges[k].dtype)
    others = [place(along[0], along[-1], jnp.roll(trials, j)).x for j, along in enumerate(edges)]
    x = jnp.stack([jnp.broadcast_to(other, (len(edges[k]), len(trials))) for other in others], axis=-1)
    x = x.at[..., k].set(edges[k][:, None])
    ordinary = jnp.all(jnp.isfinite(values(x.reshape(-1, len(edges))).reshape(len(x), -1)), axis=1)
    ordinary &= jnp.isfinite(edges[k])
    return ordinary[:-1] & ordinary[1:]


def _range(axis: Axis) -> tuple[Array, Array]:
    """Where t begins and ends in each piece of an axis."""
    end = reach(axis.edges[:-1], axis.edges[1:], _SPAN * math.log(float(jnp.finfo(axis.edges.dtype).max)))
    return jnp.where(axis.straight, 0.0, -end), jnp.where(axis.straight, 1.0, end)


def _first(axes: Sequence[Axis]) -> tuple[Array, Array]:
    """The cells to begin with, and which of them there are: a piece without width takes none."""
    each = _CELLS_AT_FIRST[len(axes)]
    columns = []
    for axis in axes:
        begin, end = _range(axis)
        cuts = begin[:, None] + (end - begin)[:, None] * jnp.linspace(0.0, 1.0, each + 1, dtype=begin.dtype)
        which = jnp.repeat(jnp.arange(len(begin)), each)
        there = (axis.edges[1:] > axis.edges[:-1])[which]
        columns.append((which.astype(begin.dtype), cuts[:, :-1].ravel(), cuts[:, 1:].ravel(), there))
    grids = [jnp.meshgrid(*column, indexing="ij") for column in zip(*columns, strict=True)]
    piece, lo, hi, there = (jnp.stack([grid.ravel() for grid in column], axis=1) for column in grids)
    return jnp.concatenate([piece, lo, hi], axis=1), jnp.all(there, axis=1)


def _nodes(axis: Axis, piece: Array, lo: Array, hi: Array) -> Nodes:
    """The nodes of cells from lo to hi in t, in these pieces of an axis."""
    piece = piece.astype(jnp.int32)
    first, last, straight = axis.edges[piece][:, None], axis.edges[piece + 1][:, None], axis.straight[piece][:, None]
    offset, middle = (hi - lo)[:, None] / 2 * jnp.asarray(NODES, lo.dtype), ((lo + hi) / 2)[:, None]
    t = middle + offset
    at = place(first, last, t)
    # A straight axis is measured from the end that is nearer to 0, where numbers are the finest.
    width = jnp.where(straight, last - first, 0.0)
    measured = jnp.where(jnp.abs(first) <= jnp.abs(last), first + width * t, last - width * t)
    at = at._replace(
        x=jnp.where(straight, measured, unrounded(at, offset - (t - middle))),
        slope=jnp.where(straight, width, at.slope),
        rounding=jnp.where(straight, jnp.abs(measured) / 2, at.rounding),
    )
    begin, end = _range(axis)
    drawn, finite = ~straight[:, 0], (jnp.isfinite(first)[:, 0], jnp.isfinite(last)[:, 0])
    touches = drawn & (lo <= begin[piece]), drawn & (hi >= end[piece])
    return Nodes(at, at.slope * (hi - lo)[:, None] / 2, *touches, *finite, at_an_end(first, last, at.x))


def _rule(values: Callable, axes: Sequence[Axis], cells: Array) -> Findings:
    """The products of both rules on many cells."""
    d = len(axes)
    nodes = [_nodes(axis, *(cells[:, k + part * d] for part in range(3))) for k, axis in enumerate(axes)]
    shape = (len(cells), *(len(NODES),) * d)
    x = jnp.stack([jnp.broadcast_to(_spread(along.at.x, k, d), shape) for k, along in enumerate(nodes)], axis=-1)
    y = values(x.reshape(-1, d)).reshape(*shape, -1)
    missing = ~jnp.isfinite(y)
    y = jnp.where(missing, 0.0, y)
    scale = functools.reduce(jnp.multiply, [_spread(along.weight, k, d) for k, along in enumerate(nodes)])
    weighted = y * scale[..., None]
    value, size = _product(weighted, [KRONROD] * d), _product(jnp.abs(weighted), [KRONROD] * d)
    changes = [_change(weighted, k, d) for k in range(d)]
    moved = sum(_moved(y, scale, along.at, k, d) for k, along in enumerate(nodes))
    floor = jnp.finfo(cells.dtype).eps * (ROUNDING * size + moved)
    error = estimate(functools.reduce(jnp.add, changes), size, floor)
    error += sum(_beyond(weighted, along, k, d) for k, along in enumerate(nodes))
    at_end = functools.reduce(jnp.logical_or, [_spread(along.at_end, k, d) for k, along in enumerate(nodes)])
    lost = jnp.any(missing & ~jnp.broadcast_to(at_end, shape)[..., None], axis=tuple(range(1, d + 1)))
    worst = jnp.argmax(jnp.stack([jnp.max(change, axis=1) for change in changes]), axis=0)
    return Findings(value, jnp.where(lost, jnp.inf, error), jnp.zeros_like(error), floor, worst)


def _product(y: Array, weights: Sequence) -> Array:
    """The product of rules over y (k, nodes, ..., nodes, m), the last axis first, which leaves the others in place."""
    for along in reversed(weights):
        y = jnp.moveaxis(y, -2, -1) @ jnp.asarray(along, y.dtype)
    return y


def _change(y: Array, k: int, d: int) -> Array:
    """By how much the rule of fewer points changes the integrals along the lines of an axis, added up."""
    lines = jnp.moveaxis(y, k + 1, -1) @ jnp.asarray(KRONROD - GAUSS, y.dtype)
    return _product(jnp.abs(lines), [KRONROD] * (d - 1))


def _spread(along: Array, axis: int, d: int) -> Array:
    """(k, nodes) of one axis as (k, 1, ..., nodes, ..., 1)."""
    return along.reshape(len(along), *(-1 if other == axis else 1 for other in range(d)))


def _moved(y: Array, scale: Array, at: Place, k: int, d: int) -> Array:
    """By how much f changes where x is rounded along an axis, in units of eps, integrated."""
    gap = jnp.abs(jnp.diff(at.x, axis=1))
    times = _spread(jnp.where(gap > 0, at.rounding[:, :-1] / jnp.where(gap > 0, gap, 1.0), 0.0), k, d)
    scale = jax.lax.slice_in_dim(scale, 0, -1, axis=k + 1)
    change = jnp.abs(jnp.diff(y, axis=k + 1)) * (times * scale)[..., None]
    return _product(change, [KRONROD[:-1] if other == k else KRONROD for other in range(d)])


def _beyond(weighted: Array, along: Nodes, k: int, d: int) -> Array:
    """A bound of what lies beyond the ends of the map of an axis that is drawn in, in the cells that touch them.

    With the distance from an end |f| distance is a power of it; the integral up to the end is the last value over the
    exponent, and infinite if that has the wrong sign.
    """
    total = jnp.zeros((len(weighted), weighted.shape[-1]), weighted.dtype)
    lines = jnp.moveaxis(jnp.abs(weighted), k + 1, 0)
    sides = (along.touches_lo, along.finite_lo, 0, 1), (along.touches_hi, along.finite_hi, -1, -2)
    for touches, finite, last, inner in sides:
        distance, weight = (
            jnp.stack([part[:, n] for n in (last, inner)]) for part in (along.at.distance, along.weight)
        )
        faces = jnp.stack([_product(lines[n], [KRONROD] * (d - 1)) for n in (last, inner)])
        size = faces * jnp.where(weight > 0, distance / weight, 0.0)[..., None]
        steps = jnp.log(distance[1] / distance[0]) * jnp.where(finite, 1, -1)
        growth = (jnp.log(size[1]) - jnp.log(size[0])) / steps[:, None]
        bound = jnp.where(growth > _FLAT, size[0] / growth, jnp.inf)
        total += jnp.where(touches[:, None] & (size[0] > 0), bound, 0.0)
    return total
