"""Ends on one plain are one minimum: where f is flat along a line, a curve or a surface, descents end all over it.

Two ends that no second derivatives show to be isolated are joined where f does not rise on the line between them, and
where that line only cuts the bend of a valley: descents from points of the line then end on a path along which f rises
far less.
"""

import itertools
from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from jaxcalc.optimize.multistart.merging import (
    NEIGHBOURS,
    Lines,
    Refused,
    apart_by_problem,
    by_value,
    joined_to_lower,
    neighbours,
    unique_pairs,
)
from jaxcalc.optimize.multistart.points import Ends, joined

# How often the pieces of a path along a valley are halved, and the share of its line's rise that may be left. In a
# valley whose walls rise quadratically the rise above a chord goes with the fourth power of the chord's length, so
# that 1/256 is left; where walls rise linearly, 1/16. The ridge between two valleys keeps its height.
HALVINGS, LEFT = 2, 0.1
# A path does not lead on where the longest of its pieces is still longer than this share of what was halved.
SHRUNK = 0.8
# The nearest other plains that each plain is compared with along paths, in each round; and of how many ends of a plain
# the distances to others are taken.
PATHS, MOST_ENDS = 2, 256


def merged_on_plains(
    ends: Ends, loose: np.ndarray, lines: Lines, descend: Callable[[np.ndarray, np.ndarray], Ends]
) -> np.ndarray:
    """Returns for each end the row of the lowest end that is the same minimum, from lines and paths of any length.

    Args:
        ends: Distinct ends, of any number of problems, which are never merged with each other's.
        loose: Ends that are no sure minima, (K,) booleans; only these are merged, with each other or into lower ends.
        lines: Tells by how much f rises between two ends.
        descend: Takes rows of points and their problems, and returns where the descents from there end.
    """
    label, rows = np.arange(len(ends)), np.flatnonzero(loose)
    if not len(rows):
        return label
    by_line, by_path = Refused(), Refused()
    pairs = neighbours(ends, np.arange(len(ends)), lines.scale, np.inf)
    while True:
        first, second = by_line.without(*_of_two_labels(label, *pairs))
        before, label = label, _joined_by_lines(ends, label, loose, lines, by_line, first, second)
        pairs = _nearest_of_another_label(ends, label, rows, np.arange(len(ends)), lines.scale)
        if not np.array_equal(before, label) or len(by_line.without(*pairs)[0]):
            continue
        level = rows[ends.success[rows]]
        paths = neighbours(ends, level, lines.scale, np.inf)
        paths = unique_pairs(*map(np.append, paths, _nearest_of_another_label(ends, label, level, level, lines.scale)))
        paths = unique_pairs(*map(np.append, paths, _between_plains(ends, label, level, lines)))
        first, second = _shortest(ends, label, lines, *by_path.without(*_of_two_labels(label, *paths)))
        if not len(first):
            return label
        by_path.add(first, second)
        along = _lead_on(ends, lines, descend, first, second)
        label = _united(label, first[along], second[along], ends.value)


def _of_two_labels(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs that have two labels."""
    apart = label[first] != label[second]
    return first[apart], second[apart]


def _joined_by_lines(
    ends: Ends,
    label: np.ndarray,
    loose: np.ndarray,
    lines: Lines,
    refused: Refused,
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """Returns the labels after those of these pairs were joined between which f does not rise.

    Two loose ends of equal value lie on one plain, and so do all that are chained by such pairs. A loose end that lies
    above the other end is joined to the lowest of those that it can fall to.
    """
    refused.add(first, second)
    high, low = by_value(ends.value, first, second)
    high, low = high[loose[high]], low[loose[high]]
    level = lines.are_level(ends, high, low)
    high, low = high[level], low[level]
    even = loose[low] & (ends.value[high] - ends.value[low] <= lines.slack(ends, high, low))
    label = _united(label, high[even], low[even], ends.value)
    upper, lower = label[high[~even]], label[low[~even]]
    falls = (upper != lower) & (ends.value[lower] <= ends.value[upper])
    return joined_to_lower(label, upper[falls], lower[falls], ends.value)


def _united(label: np.ndarray, first: np.ndarray, second: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns the labels after those of each pair became one, whose label is its lowest end."""
    links = coo_array((np.ones(len(first)), (label[first], label[second])), shape=(len(label),) * 2)
    _, group = connected_components(links, directed=False)
    order = np.lexsort((value, group))
    _, start = np.unique(group[order], return_index=True)
    return order[start][group][label]


def _nearest_of_another_label(
    ends: Ends, label: np.ndarray, rows: np.ndarray, others: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each of these rows paired with the nearest of the others that has another label, in the same problem.

    Two labels differ in one binary digit of their numbers at least. So of each digit two trees are made, of those that
    have it and of those that do not, and a row is looked up in the one that it is not in.
    """
    if not len(rows):
        return rows, rows
    everything, reach = apart_by_problem(ends, np.append(rows, others), scale)
    place, other_place = everything[: len(rows)], everything[len(rows) :]
    number = np.unique(label, return_inverse=True)[1]
    nearest, distance = np.zeros(len(rows), int), np.full(len(rows), np.inf)
    for digit in range(int(number.max()).bit_length()):
        own, theirs = number[rows] >> digit & 1, number[others] >> digit & 1
        for side in (0, 1):
            asked, held = np.flatnonzero(own == side), np.flatnonzero(theirs != side)
            if len(asked) and len(held):
                far, found = KDTree(other_place[held]).query(place[asked], p=np.inf, distance_upper_bound=reach)
                closer = far < distance[asked]
                distance[asked[closer]], nearest[asked[closer]] = far[closer], held[np.asarray(found)[closer]]
    known = np.isfinite(distance)
    return unique_pairs(rows[known], others[nearest[known]])


def _between_plains(ends: Ends, label: np.ndarray, rows: np.ndarray, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """Returns the shortest pair of rows between each label and the nearest few labels of equal value.

    The row nearest to an end may lie on another valley, and that one's value may differ: two circles side by side are
    nearer to each other than the ends on each of them, where these are few.
    """
    pairs = [(rows[:0], rows[:0])]
    for problem in np.unique(ends.problem[rows]):
        own = rows[ends.problem[rows] == problem]
        labels = np.unique(label[own])
        groups = [own[label[own] == one] for one in labels]
        groups = [group[:: -(-len(group) // MOST_ENDS)] for group in groups]
        others = np.concatenate(groups)
        for group in groups if len(labels) > 1 else []:
            first, second = (side.ravel() for side in np.meshgrid(group, others, indexing="ij"))
            first, second = _even(ends, lines, *_of_two_labels(label, first, second))
            length = _lengths(ends, lines.scale, first, second)
            order = np.argsort(length, kind="stable")
            _, nearest = np.unique(label[second[order]], return_index=True)
            chosen = order[np.sort(nearest)[:NEIGHBOURS]]
            pairs.append((first[chosen], second[chosen]))
    return unique_pairs(*map(np.concatenate, zip(*pairs, strict=True)))


def _even(ends: Ends, lines: Lines, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs whose values are equal but for the slack."""
    even = np.abs(ends.value[first] - ends.value[second]) <= lines.slack(ends, first, second)
    return first[even], second[even]


def _lengths(ends: Ends, scale: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the largest component between the ends of each pair, in units of the box."""
    return np.max(np.abs(ends.place[first] - ends.place[second]) / scale, axis=1, initial=0)


def _shortest(
    ends: Ends, label: np.ndarray, lines: Lines, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns of these pairs, where their values are equal, the shortest between any two labels, few for each label."""
    first, second = _even(ends, lines, first, second)
    length = _lengths(ends, lines.scale, first, second)
    order = np.argsort(length, kind="stable")
    both = np.sort(np.column_stack([label[first], label[second]])[order], axis=1)
    order = order[np.sort(np.unique(both, axis=0, return_index=True)[1])]
    chosen, used = [], dict.fromkeys(label.tolist(), 0)
    for pair, one, other in zip(
        order.tolist(), label[first[order]].tolist(), label[second[order]].tolist(), strict=True
    ):
        if min(used[one], used[other]) < PATHS:
            chosen.append(pair)
            used[one], used[other] = used[one] + 1, used[other] + 1
    return first[chosen], second[chosen]


def _lead_on(
    ends: Ends,
    lines: Lines,
    descend: Callable[[np.ndarray, np.ndarray], Ends],
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """Returns for each pair whether a path of descents from the line between its ends stays on their plain."""
    leads, rises = np.zeros(len(first), bool), lines.rises(ends, first, second)
    highest = np.maximum(ends.value[first], ends.value[second]) + lines.slack(ends, first, second)
    rows = np.flatnonzero(np.isfinite(rises))
    path = [ends[first[rows]], ends[second[rows]]]
    for halving in range(1, HALVINGS + 1):
        if not len(rows):
            break
        longest, path = _longest(path, lines.scale), _halved(path, descend)
        on_plain = (_longest(path, lines.scale) <= SHRUNK * longest) & np.all(
            [point.success & (point.value <= highest[rows]) for point in path], axis=0
        )
        rows, path = rows[on_plain], [point[on_plain] for point in path]
        left, slack = _rises_of_pieces(path, lines)
        level = np.all(left <= slack, axis=0)
        fallen = np.max(left, axis=0) <= LEFT * rises[rows]
        leads[rows] = level | (fallen & (halving == HALVINGS))
        path, rows = [point[~level] for point in path], rows[~level]
    return leads


def _halved(path: list[Ends], descend: Callable[[np.ndarray, np.ndarray], Ends]) -> list[Ends]:
    """Returns the path with the end of a descent from the middle of each of its pieces between the piece's ends."""
    count, pieces = len(path[0]), list(itertools.pairwise(path))
    middles = np.concatenate([(one.place + other.place) / 2 for one, other in pieces])
    found = descend(middles, np.tile(path[0].problem, len(pieces)))
    between = [found[k * count : (k + 1) * count] for k in range(len(pieces))]
    return [*itertools.chain(*zip(path, between, strict=False)), path[-1]]


def _longest(path: list[Ends], scale: np.ndarray) -> np.ndarray:
    """Returns the length of the longest piece of each path, in the largest component, in units of the box."""
    return np.max([np.max(np.abs(a.place - b.place) / scale, axis=1) for a, b in itertools.pairwise(path)], axis=0)


def _rises_of_pieces(path: list[Ends], lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """Returns by how much f rises on each piece of each path, and the rise that is none, (pieces, paths) each."""
    count, points = len(path[0]), joined(*path)
    starts = np.arange(count * (len(path) - 1))
    rises = lines.rises(points, starts, starts + count)
    slack = lines.slack(points, *by_value(points.value, starts, starts + count))
    return rises.reshape(len(path) - 1, count), slack.reshape(len(path) - 1, count)
