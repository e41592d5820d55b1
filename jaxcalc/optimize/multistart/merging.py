"""Ends of descents merged into distinct minima: two are one if f does not rise on the line between them."""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.spatial import KDTree

from jaxcalc.optimize.multistart.points import Ends

# Ends farther apart than this share of the box, in any variable, are compared only where one is no sure minimum.
RADIUS = 1e-2
# The points of a line at which f is evaluated, as shares of its length from the higher end: dense near that end, since
# every line that leaves a minimum rises at first.
LINE = np.array([1 / 64, 1 / 16, 1 / 4, 1 / 2, 3 / 4])
NEIGHBOURS = 4
# The rise along a line that is only rounding, in units of eps times the values; and the rise that ends known up to gtol
# cannot exclude, in units of gtol times their distance.
ROUNDING, SLOPE = 100.0, 4.0


@dataclasses.dataclass(frozen=True)
class Lines:
    """Tells of pairs of ends whether f rises between them.

    Attributes:
        values: Takes rows of points and their problems, and returns fun there.
        gtol: The largest component of the gradient at an end.
        scale: The size of the box, (n,).
    """

    values: Callable[[np.ndarray, np.ndarray], np.ndarray]
    gtol: float
    scale: np.ndarray

    def rises(self, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns for each pair of rows by how much f rises on the line between them above the higher of its ends.

        Values that are not finite are an infinite rise: nothing descends across them.
        """
        if not len(first):
            return np.zeros(0)
        high, low = by_value(ends.value, first, second)
        way = ends.place[low] - ends.place[high]
        points = ends.place[high][:, None] + LINE[:, None] * way[:, None]
        on_line = self.values(points.reshape(-1, points.shape[-1]), ends.problem[high].repeat(len(LINE)))
        with np.errstate(invalid="ignore"):
            rise = np.max(on_line.reshape(-1, len(LINE)), axis=1) - ends.value[high]
        return np.where(np.isnan(rise), np.inf, rise)

    def are_level(self, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns for each pair of rows whether f stays at most at its higher end's value, but for rounding."""
        return self.rises(ends, first, second) <= self.slack(ends, *by_value(ends.value, first, second))

    def slack(self, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns by how much the values of these pairs may differ and still count as equal."""
        distance = np.sum(np.abs(ends.place[first] - ends.place[second]), axis=1)
        return ROUNDING * np.finfo(ends.x.dtype).eps * np.abs(ends.value[first]) + SLOPE * self.gtol * distance


def by_value(value: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the higher and of the lower end of each pair."""
    swapped = value[first] > value[second]
    return np.where(swapped, first, second), np.where(swapped, second, first)


def merged(ends: Ends, lines: Lines) -> np.ndarray:
    """Returns for each end the row of the lowest end that is the same minimum, by lines between close neighbours.

    Args:
        ends: The ends, of any number of problems, which are never merged with each other's.
        lines: Tells whether f rises between two ends.
    """
    label, refused = _by_cells(ends, lines), Refused()
    while True:
        first, second = refused.without(*neighbours(ends, np.unique(label), lines.scale, RADIUS))
        level = lines.are_level(ends, first, second)
        refused.add(first[~level], second[~level])
        if not level.any():
            return label
        label = joined_to_lower(label, first[level], second[level], ends.value)


class Refused:
    """Pairs of rows that need not be compared again."""

    def __init__(self):
        """Starts with no pairs."""
        self._pairs: set[tuple[int, int]] = set()

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """Adds these pairs."""
        self._pairs |= set(zip(first.tolist(), second.tolist(), strict=True))

    def without(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns those of these pairs that have not been refused."""
        asked = [pair not in self._pairs for pair in zip(first.tolist(), second.tolist(), strict=True)]
        return first[np.array(asked, bool)], second[np.array(asked, bool)]


def _by_cells(ends: Ends, lines: Lines) -> np.ndarray:
    """Returns the labels after each end was compared with the lowest one of its cell, of the radius' size."""
    order = np.lexsort((ends.value, ends.problem))
    cells = np.column_stack([ends.problem, np.floor(ends.place / (lines.scale * RADIUS))])[order]
    _, lowest, cell = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    leader = np.empty(len(ends), int)
    leader[order] = order[lowest][cell.ravel()]
    others = np.flatnonzero(leader != np.arange(len(ends)))
    apart = others[~lines.are_level(ends, leader[others], others)]
    leader[apart] = apart
    return leader


def neighbours(ends: Ends, rows: np.ndarray, scale: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of these rows, of one problem and at most a radius apart, each row with its nearest few."""
    if len(rows) < 2:
        return rows[:0], rows[:0]
    place, reach = apart_by_problem(ends, rows, scale)
    several = min(NEIGHBOURS + 1, len(rows))
    _, near = KDTree(place).query(place, k=several, p=np.inf, distance_upper_bound=min(radius, reach))
    near = np.asarray(near)
    own = np.broadcast_to(np.arange(len(rows))[:, None], near.shape)
    chosen = (near != own) & (near < len(rows))  # beyond the last where there are fewer
    return unique_pairs(rows[own[chosen]], rows[near[chosen]])


def apart_by_problem(ends: Ends, rows: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the places of these rows in units of the box, and a distance that spans each problem and parts them.

    Problems lie so far apart along one more axis that no row has a neighbour of another problem within that distance.
    """
    place = np.nan_to_num(ends.place[rows] / scale)
    width = np.ptp(place, axis=0).max() + 1
    return np.column_stack([place, 4 * width * ends.problem[rows]]), 2 * width


def unique_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each pair once, the lower row first."""
    pairs = np.unique(np.sort(np.column_stack([first, second]), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def joined_to_lower(label: np.ndarray, first: np.ndarray, second: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns the labels after the higher of each pair of labels was joined to the lower.

    If it could be joined to several, it is to the lowest alone: from a saddle f falls to two minima, which are not one.
    """
    high, low = by_value(value, second, first)
    order = np.argsort(-value[low], kind="stable")
    parent = np.arange(len(label))
    parent[high[order]] = low[order]
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent[label]
        parent = further


def representatives(ends: Ends, label: np.ndarray, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """Returns one row for each label, and to which of these rows each end belongs.

    The row of a label is its lowest end whose descent succeeded, if that is no higher than the lowest end of all by
    more than `slack`; otherwise the lowest end.
    """
    rows = np.arange(len(ends))
    good = ends.success & (ends.value <= ends.value[label] + lines.slack(ends, rows, label))
    order = np.lexsort((ends.value, ~good, label))
    _, first, group = np.unique(label[order], return_index=True, return_inverse=True)
    member = np.empty(len(ends), int)
    member[order] = group
    return order[first], member
