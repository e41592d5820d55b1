"""The zeros of a derivative, isolated one by one: bisection of cells, with bounds that hold over each whole cell.

A cell is put aside as empty once the enclosure of f' excludes 0, and as holding at most one zero once that of f''
excludes 0 (Moore, 1966; Hansen, 1979). Both enclosures are taken in Taylor's form as well, around the cell's middle,
which makes them tight as the cell shrinks. What is undecided at the resolution of the numbers is handed back as such.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.calculus.derivatives import derivative
from jaxcalc.calculus.enclosures import Enclosure, enclosure
from jaxcalc.programs import compiled

# Cells evaluated in one call of the compiled bounds, and the most of all; hundreds of points need some ten thousand.
_BATCH = 1024
_MOST_CELLS = 200_000
_FIRST_CELLS = 64
# Cells are not split below this part of their ends, or of the range where that is smaller than 1.
_RESOLUTION = 64 * np.finfo(float).eps
# A slope below this has underflowed: there is no telling it from 0, unless the cell is so small that x^k may do that.
_VANISHING = 1e-290
_WIDE = 1e-9


class Isolation(NamedTuple):
    """Cells (k, 2), each list in ascending order; if complete they hold every zero of f' in the range.

    Attributes:
        simple: f' is monotone and changes sign: exactly one zero, and a simple one.
        undecided: f' cannot be told from 0, in as fine a cell as there is or as rounding allows.
        broken: f may have a kink, a jump or a pole here.
        flat: f' is 0 throughout.
        undefined: f does not exist.
        complete: Whether all cells were decided before they became too many.
    """

    simple: np.ndarray
    undecided: np.ndarray
    broken: np.ndarray
    flat: np.ndarray
    undefined: np.ndarray
    complete: bool


class Jets:
    """f and its first three derivatives, at points and over cells, compiled once for each f and called in batches."""

    def __init__(self, f: Callable):
        self._f = f

    def at(self, x: np.ndarray) -> np.ndarray:
        """f, f', f'', f''' at the points, (k, 4)."""
        return _batched(functools.partial(compiled(_at_points, [self._f]), None), x)

    def over(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bounds lo and hi of f to f''', (k, 4, 4): over the cell, at its middle, at its ends; and what is broken."""
        bounds = _batched(functools.partial(compiled(_over_cells, [self._f]), None), cells)
        return bounds.lo, bounds.hi, bounds.broken[:, 0]


def _jet(f: Callable) -> Callable:
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
    """Calls a compiled function in batches of one length, so that it compiles once."""
    if not len(x):
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:0], run(np.ones((_BATCH, *x.shape[1:]))))
    parts = []
    for first in range(0, len(x), _BATCH):
        part = x[first : first + _BATCH]
        padded = np.concatenate([part, np.broadcast_to(part[-1:], (_BATCH - len(part), *part.shape[1:]))])
        parts.append(jax.tree.map(lambda leaf, part=part: np.asarray(leaf)[: len(part)], run(padded)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def isolate(jets: Jets, edges: np.ndarray) -> Isolation:
    """Isolates the zeros of f' between the first and the last of the edges, which are finite and ascending."""
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    found: dict[str, list[np.ndarray]] = {name: [] for name in Isolation._fields[:-1]}
    evaluated = 0
    unit = min(1.0, float(edges[-1] - edges[0]))
    while len(cells) and evaluated < _MOST_CELLS:
        evaluated += len(cells)
        kinds = _decide(*jets.over(cells), cells, unit)
        for name, chosen in kinds.items():
            if name in found:
                found[name].append(cells[chosen])
        cells = cells[kinds["open"]]
        middle = cells.mean(axis=1)
        cells = np.concatenate([np.stack([cells[:, 0], middle], 1), np.stack([middle, cells[:, 1]], 1)])
    ordered = {name: np.concatenate([np.zeros((0, 2)), *parts]) for name, parts in found.items()}
    ordered = {name: part[np.argsort(part[:, 0])] for name, part in ordered.items()}
    return Isolation(**ordered, complete=not len(cells))


def _decide(lo: np.ndarray, hi: np.ndarray, broken: np.ndarray, cells: np.ndarray, unit: float) -> dict:
    """Which cells are of which kind; those that are of none hold no zero of f'."""
    with np.errstate(all="ignore"):
        slope, curvature = _taylor(lo, hi, cells)
        undefined = np.isnan(lo[:, 0, 0])
        width = cells[:, 1] - cells[:, 0]
        steepest = np.maximum(np.abs(slope[0]), np.abs(slope[1]))
        flat = ~broken & ((steepest == 0) | ((steepest < _VANISHING) & (width > _WIDE * unit)))
        empty = (slope[0] > 0) | (slope[1] < 0)
        monotone = (curvature[0] > 0) | (curvature[1] < 0)
        # The middle of the enclosure of f' at an end: its sign is the same seen from both cells that share the end.
        at_lo, at_hi = ((lo[:, end, 1] + hi[:, end, 1]) / 2 for end in (2, 3))
        changes = (np.sign(at_lo) * np.sign(at_hi) < 0) | (at_lo == 0) | (at_hi == 0)
        rounding = np.all((lo[:, 1:, 1] <= 0) & (hi[:, 1:, 1] >= 0), axis=1)
        finest = width <= _RESOLUTION * np.maximum(np.abs(cells).max(axis=1), unit)
    smooth = ~broken & ~undefined
    rest = smooth & ~flat & ~empty & ~monotone
    last = finest | rounding
    return {
        "simple": smooth & ~flat & ~empty & monotone & changes,
        "flat": smooth & flat,
        "undefined": undefined,
        "broken": broken & ~undefined & finest,
        "undecided": rest & last,
        "open": (rest & ~last) | (broken & ~undefined & ~finest),
    }


def _taylor(lo: np.ndarray, hi: np.ndarray, cells: np.ndarray) -> tuple[tuple, tuple]:
    """Bounds of f' and f'' over cells: the natural ones, cut with Taylor's form around the middle."""
    half = (cells[:, 1] - cells[:, 0]) / 2

    def cut(order: int, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below, above = lo[:, 1, order] - radius, hi[:, 1, order] + radius
        # A radius that is not finite says nothing.
        return np.fmax(lo[:, 0, order], np.where(np.isnan(below), -np.inf, below)), np.fmin(
            hi[:, 0, order], np.where(np.isnan(above), np.inf, above)
        )

    most = np.maximum(np.abs(lo), np.abs(hi))
    # |f'(x) - f'(c)| <= |f''(c)| h + |f'''| h^2 / 2, and |f''(x) - f''(c)| <= |f'''| h; the last digits for rounding.
    radius = np.minimum(most[:, 1, 2] * half + most[:, 0, 3] * half**2 / 2, most[:, 0, 2] * half)
    return cut(1, radius * (1 + 1e-14)), cut(2, most[:, 0, 3] * half * (1 + 1e-14))
