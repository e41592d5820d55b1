"""Isolation of the zeros of f': bisection of cells, with bounds of f' and f'' that hold over each whole cell.

A cell holds no zero of f' if the enclosure of f' excludes 0, and at most one zero if the enclosure of f'' excludes 0
(Moore, 1966; Hansen, 1979). Each enclosure is intersected with Taylor's formula around the middle of the cell, which is
much tighter for small cells. Every cell of the interval is returned with what is known of it.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcalc.calculus.intervals.programs import ROWS, derivatives_of

# The cells and the operations evaluated in all. Hundreds of zeros need about ten thousand cells.
_MOST_CELLS = 40_000
_MOST_OPERATIONS = 10_000_000
# The undecided cells at one time. Of more than this the narrowest go on, which lie nearest to the origin of a line.
_MOST_OPEN = 8192
# After so many bisections the cells that are left hold breaks or zeros of high order, and are cut down to the smallest
# width: each into as many parts as fit into one batch of intervals, of which a cell takes four, but at most this many.
_BISECTIONS, _MOST_PARTS = 8, 16
_CELLS_PER_BATCH = ROWS // 4
# The smallest width of a cell, relative to the larger |end| of the cell, or to the scale where that is larger.
_RESOLUTION = 64 * np.finfo(float).eps
# An |f'| below _UNDERFLOW throughout a cell wider than _WIDE times the scale counts as 0. In narrower cells such values
# also occur beside a zero of high order, that of x^k for instance.
_UNDERFLOW = 1e-290
_WIDE = 1e-9
# A cell is given up as rounding error only if its bounds are below this many times those at its middle and its ends.
_ROUNDING = 100


class Kind(enum.IntEnum):
    """What is known of f in a cell."""

    MONOTONE = 0  # f' has one sign, and no zero inside
    SIMPLE = 1  # f' is monotone and changes sign: exactly one zero, which is simple
    UNRESOLVED = 2  # f' cannot be told from 0: the width is the smallest, or f' is of the size of its rounding error
    FLAT = 3  # f' is 0 throughout
    BROKEN = 4  # f may have a kink, a jump or a pole; the width is the smallest
    UNDEFINED = 5  # f is defined nowhere
    OVERFLOWN = 6  # f' is too large for a floating number
    OPEN = 7  # not decided before the budget ended
    COARSE = 8  # f may have a break, but the width is not the smallest; bisected until it is


class Cells(NamedTuple):
    """Cells [lo, hi] in ascending order, each array (k,). Neighbours share an end.

    Attributes:
        lo: The lower ends.
        hi: The upper ends.
        kind: A `Kind` for each.
        sign: The sign of f' in a monotone cell, the sign of f'' in a cell with a simple zero of f', otherwise 0.
        bottom: A lower bound of f in the cell.
        top: An upper bound of f in the cell.
        steepest: An upper bound of |f'| in the cell.
    """

    lo: np.ndarray
    hi: np.ndarray
    kind: np.ndarray
    sign: np.ndarray
    bottom: np.ndarray
    top: np.ndarray
    steepest: np.ndarray


class Jets:
    """f and its first three derivatives at points and over cells."""

    def __init__(self, f: Callable):
        self._program = derivatives_of(f)

    @property
    def operations(self) -> float:
        """How many elementary operations on numbers one evaluation costs."""
        return self._program.cost

    def at(self, x: np.ndarray) -> np.ndarray:
        """Returns f, f', f'', f''' at the points x (k,), as an array (k, 4)."""
        return self._program.at(np.asarray(x, float))

    def over(self, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns bounds of f, f', f'', f''' over the cells [lo, hi], each (k,).

        Returns:
            The lower and the upper bounds, each (k, 4, 4): the second axis is the whole cell, its middle, its lower end
            and its upper end; the third axis is the order of the derivative. Then whether f may fail to be analytic in
            the cell, (k,).
        """
        middle = np.where(np.isfinite(lo) & np.isfinite(hi), np.nan_to_num(lo) / 2 + np.nan_to_num(hi) / 2, lo)
        below, above, broken = self._program.over(
            np.stack([lo, middle, lo, hi], 1).ravel(), np.stack([hi, middle, lo, hi], 1).ravel()
        )
        return below.reshape(-1, 4, 4), above.reshape(-1, 4, 4), broken.reshape(-1, 4)[:, 0]


def isolate(jets: Jets, edges: np.ndarray) -> Cells:
    """Cuts the interval between the first and the last edge, finite and ascending, until each cell is decided."""
    scale = min(1.0, float(edges[-1] - edges[0]))
    lo, hi = edges[:-1], edges[1:]
    most = min(_MOST_CELLS, _MOST_OPERATIONS / jets.operations)
    found: list[Cells] = []
    evaluated, iterations = 0, 0
    while len(lo):
        cells = classified(jets, lo, hi, scale)
        evaluated += len(lo)
        # Cells with breaks are few, and are worth more: a jump or a pole in an undecided cell leaves f without bounds.
        undecided = _narrowest(cells, Kind.COARSE, _MOST_OPEN if evaluated < 2 * most else 0)
        undecided |= _narrowest(cells, Kind.OPEN, _MOST_OPEN if evaluated < most else 0)
        kept = cells._replace(kind=np.where(cells.kind == Kind.COARSE, Kind.OPEN, cells.kind))
        found.append(Cells(*(column[~undecided] for column in kept)))
        lo, hi = _halved(cells.lo[undecided], cells.hi[undecided])
        iterations += 1
        room = _CELLS_PER_BATCH / max(np.count_nonzero(undecided), 1) if iterations > _BISECTIONS else 0
        for _ in range(2, int(np.log2(min(max(room, 2), _MOST_PARTS))) + 1):
            wide = ~_is_finest(lo, hi, scale)
            halves = _halved(lo[wide], hi[wide])
            lo, hi = np.concatenate([lo[~wide], halves[0]]), np.concatenate([hi[~wide], halves[1]])
    return in_order(found)


def _halved(lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and the upper ends of the halves of cells."""
    middle = lo + (hi - lo) / 2
    return np.concatenate([lo, middle]), np.concatenate([middle, hi])


def _is_finest(lo: np.ndarray, hi: np.ndarray, scale: float) -> np.ndarray:
    """Returns which cells have the smallest width, (k,)."""
    return hi - lo <= _RESOLUTION * np.maximum(np.maximum(np.abs(lo), np.abs(hi)), scale)


def _narrowest(cells: Cells, kind: Kind, most: int) -> np.ndarray:
    """Returns a mask (k,) of the narrowest cells of a kind, at most so many."""
    (of_kind,) = np.nonzero(cells.kind == kind)
    order = np.argsort((cells.hi - cells.lo)[of_kind], kind="stable")
    mask = np.zeros(len(cells.lo), bool)
    mask[of_kind[order[:most]]] = True
    return mask


def in_order(parts: list[Cells]) -> Cells:
    """Returns the cells of all parts, in ascending order."""
    cells = Cells(*map(np.concatenate, zip(*parts, strict=True)))
    order = np.argsort(cells.lo, kind="stable")
    return Cells(*(column[order] for column in cells))


def classified(jets: Jets, lo: np.ndarray, hi: np.ndarray, scale: float) -> Cells:
    """Returns the cells [lo, hi] with what their enclosures tell of them.

    The kind is `Kind.OPEN` or `Kind.COARSE` if bisection may tell more.
    """
    below, above, broken = jets.over(lo, hi)
    with np.errstate(all="ignore"):
        value, slope, curvature = _taylor_bounds(below, above, hi - lo)
        value = [np.where(broken, plain[:, 0, 0], cut) for plain, cut in zip((below, above), value, strict=True)]
        width = hi - lo
        steepest = np.maximum(np.abs(slope[0]), np.abs(slope[1]))
        steepest = np.where(np.isnan(steepest), np.inf, steepest)
        flat = (steepest == 0) | ((steepest < _UNDERFLOW) & (width > _WIDE * scale))
        # Two cells that share an end must see one sign of f' there. The middle of the enclosure at the end gives that.
        at_lo, at_hi = ((below[:, end, 1] + above[:, end, 1]) / 2 for end in (2, 3))
        changes_sign = (np.sign(at_lo) * np.sign(at_hi) < 0) | (at_lo == 0) | (at_hi == 0)
        bent = (curvature[0] > 0).astype(int) - (curvature[1] < 0)
        sloped = (slope[0] > 0).astype(int) - (slope[1] < 0)
        leaning = np.sign(np.where(np.abs(at_lo) > np.abs(at_hi), at_lo, at_hi))
        # The enclosures of f' at the middle and at both ends, points without width, all hold 0: f' is rounding error.
        at_points = np.maximum(np.abs(below[:, 1:, 1]), np.abs(above[:, 1:, 1]))
        rounding = np.all((below[:, 1:, 1] <= 0) & (above[:, 1:, 1] >= 0), axis=1)
        rounding &= steepest <= _ROUNDING * at_points.max(axis=1)
        overflown = np.all(~np.isfinite(at_points), axis=1)
        overflown |= rounding & ~np.all(np.isfinite(at_points), axis=1)
        finest = _is_finest(lo, hi, scale)
    kind = np.select(
        [np.isnan(below[:, 0, 0]), broken & finest, broken, sloped != 0, flat, (bent != 0) & changes_sign, bent != 0,
         overflown, finest | rounding],
        [Kind.UNDEFINED, Kind.BROKEN, Kind.COARSE, Kind.MONOTONE, Kind.FLAT, Kind.SIMPLE, Kind.MONOTONE,
         Kind.OVERFLOWN, Kind.UNRESOLVED],
        Kind.OPEN,
    )  # fmt: skip
    sign = np.select([kind == Kind.SIMPLE, kind == Kind.MONOTONE], [bent, np.where(sloped != 0, sloped, leaning)], 0)
    return Cells(lo, hi, kind, sign.astype(int), value[0], value[1], steepest)


def _taylor_bounds(below: np.ndarray, above: np.ndarray, width: np.ndarray) -> tuple[tuple, tuple, tuple]:
    """Returns bounds (lower, upper) of f, of f' and of f'' over cells: their enclosures cut with Taylor's formula.

    With the middle c and the half width h of a cell,

        |f(x) - f(c)| <= |f'| h
        |f'(x) - f'(c)| <= min(|f''(c)| h + |f'''| h^2 / 2, |f''| h)
        |f''(x) - f''(c)| <= |f'''| h

    where |f'|, |f''| and |f'''| without an argument are bounds over the cell. f must have these derivatives: of a cell
    where f may jump or have a kink, the bounds say nothing.
    """
    half = width / 2
    covers_rounding = 1 + 1e-14

    def intersection(order: int, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        radius = radius * covers_rounding
        lower, upper = below[:, 1, order] - radius, above[:, 1, order] + radius
        # Taylor's formula bounds nothing where a derivative is unbounded, and the radius therefore inf or nan.
        return np.fmax(below[:, 0, order], np.where(np.isnan(lower), -np.inf, lower)), np.fmin(
            above[:, 0, order], np.where(np.isnan(upper), np.inf, upper)
        )

    magnitude = np.maximum(np.abs(below), np.abs(above))
    radius = np.minimum(magnitude[:, 1, 2] * half + magnitude[:, 0, 3] * half**2 / 2, magnitude[:, 0, 2] * half)
    slope = intersection(1, radius)
    steepest = np.maximum(np.abs(slope[0]), np.abs(slope[1]))
    return intersection(0, steepest * half), slope, intersection(2, magnitude[:, 0, 3] * half * covers_rounding)
