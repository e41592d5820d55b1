"""Isolation of the zeros of f': bisection of cells, with bounds of f' and f'' that hold over each whole cell.

A cell holds no zero of f' if the enclosure of f' excludes 0, and at most one zero if the enclosure of f'' excludes 0
(Moore, 1966; Hansen, 1979). Each enclosure is intersected with Taylor's formula around the middle of the cell, which is
much tighter for small cells. A cell that is still undecided at the resolution of floating numbers is returned as such.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.calculus.derivatives import derivative
from jaxcalc.calculus.intervals.enclosures import Enclosure, enclosure
from jaxcalc.core.programs import compiled

# The cells evaluated in one call of the compiled bounds, and in all calls. Hundreds of zeros need about ten thousand.
_BATCH = 1024
_MOST_CELLS = 200_000
# The smallest width of a cell, relative to the larger |end| of the cell, or to the scale where that is larger.
_RESOLUTION = 64 * np.finfo(float).eps
# An |f'| below _UNDERFLOW throughout a cell wider than _WIDE times the scale counts as 0. In narrower cells such values
# also occur beside a zero of high order, that of x^k for instance.
_UNDERFLOW = 1e-290
_WIDE = 1e-9


class Isolation(NamedTuple):
    """Cells [lo, hi] in arrays (k, 2), each in ascending order. If `complete`, they hold every zero of f' in the range.

    Attributes:
        simple: f' is monotone and changes sign: the cell holds exactly one zero, and that is simple.
        undecided: f' cannot be told from 0, in a cell of the smallest width or with values of the size of rounding.
        broken: f may have a kink, a jump or a pole in the cell.
        flat: f' is 0 throughout the cell.
        undefined: f is defined nowhere in the cell.
        complete: Whether all cells were decided before their number reached the limit.
    """

    simple: np.ndarray
    undecided: np.ndarray
    broken: np.ndarray
    flat: np.ndarray
    undefined: np.ndarray
    complete: bool


class Jets:
    """f and its first three derivatives at points and over cells; compiled once for each f, evaluated in batches."""

    def __init__(self, f: Callable):
        self._f = f

    def at(self, x: np.ndarray) -> np.ndarray:
        """Returns f, f', f'', f''' at the points x (k,), as an array (k, 4)."""
        return _batched(functools.partial(compiled(_at_points, [self._f]), None), x)

    def over(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns bounds of f, f', f'', f''' over cells (k, 2).

        Returns:
            The lower and the upper bounds, each (k, 4, 4): the second axis is the whole cell, its middle, its lower end
            and its upper end; the third axis is the order of the derivative. Then whether f may fail to be analytic in
            the cell, (k,).
        """
        bounds = _batched(functools.partial(compiled(_over_cells, [self._f]), None), cells)
        return bounds.lo, bounds.hi, bounds.broken[:, 0]


def _jet(f: Callable) -> Callable:
    """Returns x -> (f, f', f'', f'''), an array (4,)."""
    return lambda x: jnp.stack([jnp.asarray(derivative(f, order)(x), x.dtype) for order in range(4)])


def _at_points(functions: list[Callable], _: None, x: Array) -> Array:
    return jax.vmap(_jet(functions[0]))(x)


def _over_cells(functions: list[Callable], _: None, cells: Array) -> Enclosure:
    bounds = enclosure(_jet(functions[0]))

    def cell(ends):
        lo, hi = ends
        middle = lo + (hi - lo) / 2
        return jax.vmap(bounds)(jnp.stack([lo, middle, lo, hi]), jnp.stack([hi, middle, lo, hi]))

    return jax.vmap(cell)(cells)


def _batched(run: Callable, x: np.ndarray):
    """Calls a compiled function in batches of the length `_BATCH`, so that the function compiles once."""
    if not len(x):
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:0], run(np.ones((_BATCH, *x.shape[1:]))))
    parts = []
    for first in range(0, len(x), _BATCH):
        part = x[first : first + _BATCH]
        padded = np.concatenate([part, np.broadcast_to(part[-1:], (_BATCH - len(part), *part.shape[1:]))])
        parts.append(jax.tree.map(lambda leaf, part=part: np.asarray(leaf)[: len(part)], run(padded)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def isolate(jets: Jets, edges: np.ndarray) -> Isolation:
    """Isolates the zeros of f' between the first and the last edge; the edges are finite and ascending."""
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    found: dict[str, list[np.ndarray]] = {name: [] for name in Isolation._fields[:-1]}
    evaluated = 0
    scale = min(1.0, float(edges[-1] - edges[0]))
    while len(cells) and evaluated < _MOST_CELLS:
        evaluated += len(cells)
        kinds = _classified(*jets.over(cells), cells, scale)
        for name, chosen in kinds.items():
            if name in found:
                found[name].append(cells[chosen])
        cells = cells[kinds["open"]]
        middle = cells.mean(axis=1)
        cells = np.concatenate([np.stack([cells[:, 0], middle], 1), np.stack([middle, cells[:, 1]], 1)])
    ordered = {name: np.concatenate([np.zeros((0, 2)), *parts]) for name, parts in found.items()}
    ordered = {name: part[np.argsort(part[:, 0])] for name, part in ordered.items()}
    return Isolation(**ordered, complete=not len(cells))


def _classified(lo: np.ndarray, hi: np.ndarray, broken: np.ndarray, cells: np.ndarray, scale: float) -> dict:
    """Returns a mask (k,) of cells for each field of `Isolation`, and for "open", the cells to bisect.

    A cell in none of the masks holds no zero of f'.
    """
    with np.errstate(all="ignore"):
        slope, curvature = _taylor_bounds(lo, hi, cells)
        undefined = np.isnan(lo[:, 0, 0])
        width = cells[:, 1] - cells[:, 0]
        steepest = np.maximum(np.abs(slope[0]), np.abs(slope[1]))
        flat = ~broken & ((steepest == 0) | ((steepest < _UNDERFLOW) & (width > _WIDE * scale)))
        empty = (slope[0] > 0) | (slope[1] < 0)
        monotone = (curvature[0] > 0) | (curvature[1] < 0)
        # Two cells that share an end must see one sign of f' there. The middle of the enclosure at the end gives that.
        at_lo, at_hi = ((lo[:, end, 1] + hi[:, end, 1]) / 2 for end in (2, 3))
        changes_sign = (np.sign(at_lo) * np.sign(at_hi) < 0) | (at_lo == 0) | (at_hi == 0)
        # The enclosures of f' at the middle and at both ends, points without width, all hold 0: f' is rounding error.
        rounding = np.all((lo[:, 1:, 1] <= 0) & (hi[:, 1:, 1] >= 0), axis=1)
        finest = width <= _RESOLUTION * np.maximum(np.abs(cells).max(axis=1), scale)
    smooth = ~broken & ~undefined
    unproven = smooth & ~flat & ~empty & ~monotone
    final = finest | rounding
    return {
        "simple": smooth & ~flat & ~empty & monotone & changes_sign,
        "flat": smooth & flat,
        "undefined": undefined,
        "broken": broken & ~undefined & finest,
        "undecided": unproven & final,
        "open": (unproven & ~final) | (broken & ~undefined & ~finest),
    }


def _taylor_bounds(lo: np.ndarray, hi: np.ndarray, cells: np.ndarray) -> tuple[tuple, tuple]:
    """Returns bounds (lower, upper) of f', and of f'', over cells: their enclosures cut with Taylor's formula.

    With the middle c and the half width h of a cell,

        |f'(x) - f'(c)| <= min(|f''(c)| h + |f'''| h^2 / 2, |f''| h)
        |f''(x) - f''(c)| <= |f'''| h

    where |f''| and |f'''| without an argument are bounds over the cell.
    """
    half = (cells[:, 1] - cells[:, 0]) / 2

    def intersection(order: int, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below, above = lo[:, 1, order] - radius, hi[:, 1, order] + radius
        # Taylor's formula bounds nothing where a derivative is unbounded, and the radius therefore inf or nan.
        return np.fmax(lo[:, 0, order], np.where(np.isnan(below), -np.inf, below)), np.fmin(
            hi[:, 0, order], np.where(np.isnan(above), np.inf, above)
        )

    magnitude = np.maximum(np.abs(lo), np.abs(hi))
    radius = np.minimum(magnitude[:, 1, 2] * half + magnitude[:, 0, 3] * half**2 / 2, magnitude[:, 0, 2] * half)
    covers_rounding = 1 + 1e-14
    return intersection(1, radius * covers_rounding), intersection(2, magnitude[:, 0, 3] * half * covers_rounding)
