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

    def are_level(self, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns for each pair of rows whether f stays at most at its higher end's value, but for rounding."""
        if not len(first):
            return np.zeros(0, bool)
        swapped = ends.value[first] > ends.value[second]
        high, low = np.where(swapped, first, second), np.where(swapped, second, first)
        way = ends.x[low] - ends.x[high]
        points = ends.x[high][:, None] + LINE[:, None] * way[:, None]
        on_line = self.values(points.reshape(-1, points.shape[-1]), ends.problem[high].repeat(len(LINE)))
        # NaN is a rise: nothing descends across it.
        highest = ends.value[high] + self.slack(ends, high, low)
        return np.all(on_line.reshape(-1, len(LINE)) <= highest[:, None], axis=1)

    def slack(self, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns by how much the values of these pairs may differ and still count as equal."""
        distance = np.sum(np.abs(ends.x[first] - ends.x[second]), axis=1)
        return ROUNDING * np.finfo(ends.x.dtype).eps * np.abs(ends.value[first]) + SLOPE * self.gtol * distance


def merged(ends: Ends, lines: Lines, loose: np.ndarray | None = None) -> np.ndarray:
    """Returns for each end the row of the lowest end that is the same minimum.

    Args:
        ends: The ends, of any number of problems, which are never merged with each other's.
        lines: Tells whether f rises between two ends.
        loose: Ends that are no sure minima, such as points of a plain, (K,) booleans. If given, only these are merged,
            each with its nearest neighbours however far these are.
    """
    label = np.arange(len(ends))
    if loose is None:
        label = _by_cells(ends, lines)
    refused: set[tuple[int, int]] = set()
    while True:
        leaders = np.unique(label)
        first, second = _neighbours(ends, leaders, lines.scale, np.inf if loose is not None else RADIUS)
        asked = np.array([pair not in refused for pair in zip(first.tolist(), second.tolist(), strict=True)], bool)
        if loose is not None:
            asked &= loose[np.where(ends.value[first] > ends.value[second], first, second)]
        first, second = first[asked], second[asked]
        level = lines.are_level(ends, first, second)
        refused |= set(zip(first[~level].tolist(), second[~level].tolist(), strict=True))
        if not level.any():
            return label
        label = _joined(label, first[level], second[level], ends.value)


def _by_cells(ends: Ends, lines: Lines) -> np.ndarray:
    """Returns the labels after each end was compared with the lowest one of its cell, of the radius' size."""
    order = np.lexsort((ends.value, ends.problem))
    cells = np.column_stack([ends.problem, np.floor(ends.x / (lines.scale * RADIUS))])[order]
    _, lowest, cell = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    leader = np.empty(len(ends), int)
    leader[order] = order[lowest][cell.ravel()]
    others = np.flatnonzero(leader != np.arange(len(ends)))
    apart = others[~lines.are_level(ends, leader[others], others)]
    leader[apart] = apart
    return leader


def _neighbours(ends: Ends, leaders: np.ndarray, scale: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of leaders, of one problem and at most a radius apart, each with its nearest few."""
    if len(leaders) < 2:
        return leaders[:0], leaders[:0]
    place = np.nan_to_num(ends.x[leaders] / scale)
    width = np.ptp(place, axis=0).max() + 1 if np.isinf(radius) else 1
    place = np.column_stack([place, 4 * width * ends.problem[leaders]])
    # Problems lie so far apart along one more axis that none has a neighbour in another.
    reach, several = min(radius, 2 * width), min(NEIGHBOURS + 1, len(leaders))
    _, near = KDTree(place).query(place, k=several, p=np.inf, distance_upper_bound=reach)
    near = np.asarray(near)
    own = np.broadcast_to(np.arange(len(leaders))[:, None], near.shape)
    chosen = (near != own) & (near < len(leaders))  # beyond the last where there are fewer
    pairs = np.unique(np.sort(np.column_stack([leaders[own[chosen]], leaders[near[chosen]]]), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _joined(label: np.ndarray, first: np.ndarray, second: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns the labels after the higher of each pair of leaders was joined to the lower.

    If it could be joined to several, it is to the lowest alone: from a saddle f falls to two minima, which are not one.
    """
    swapped = value[first] < value[second]
    high, low = np.where(swapped, second, first), np.where(swapped, first, second)
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
