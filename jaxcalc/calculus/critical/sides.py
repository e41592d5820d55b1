"""What f does on one side of a break: its limit, bounds between the nearest sample and the break, and its slope."""

import dataclasses
import math

import numpy as np

from jaxcalc.calculus.critical.pieces import Piece
from jaxcalc.calculus.intervals.isolation import Jets

# Samples beside a break lie closer to it by this factor from one to the next.
_RATIO = 8.0
# A sequence of values diverges if its steps do not shrink by more than this factor, in so many last steps.
_SHRINKING = 0.9
_STEPS = 6
# A relative difference of values that rounding may explain, and one of the bounds of a limit.
_SAME_VALUE, _SAME_LIMIT = 1e-9, 1e-6


@dataclasses.dataclass(frozen=True)
class Side:
    """What f does on one side of a break.

    Attributes:
        limit: What f tends to: a number, an infinity, or nan if that is not known.
        bottom: A lower bound of f between the nearest sample and the break, -inf if there is none.
        top: An upper bound, likewise.
        slope: f' at the nearest sample.
        distance: How far that sample is from the break.
        vanishing: Whether f' tends to 0 like a power of the distance.
        contradiction: Whether f' and differences of values of f contradict each other.
    """

    limit: float
    bottom: float
    top: float
    slope: float
    distance: float
    vanishing: bool
    contradiction: bool


def side_of(jets: Jets, core: Piece, x: float, exact: bool, sign: int, room: float) -> Side | None:
    """Returns what f does on the side of a break that `sign` says, from samples at most `room` away and from bounds."""
    near = core.lo if sign < 0 else core.hi
    nearest = abs(near - x) if exact else 64 * core.width
    origin = x if exact else near
    distances = np.geomspace(max(room, nearest), nearest, _count(room / nearest)) if nearest > 0 else np.array([room])
    jet = jets.at(origin + sign * distances)
    values = jet[:, 0]
    if math.isnan(values[-1]) and np.isnan(jets.at(np.array([near]))[0, 0]):
        return None
    bottom, top = _bounds_beside(jets, core, x, near, exact)
    limit = float(values[-1])
    if not (math.isfinite(bottom) and math.isfinite(top)):
        bottom, top, limit = _beyond(jets, origin + sign * distances)
    return Side(
        limit=limit,
        bottom=float(bottom),
        top=float(top),
        slope=float(jet[-1, 1]),
        distance=float(max(nearest, core.width)),
        vanishing=_vanishes(jet[-1, 1], sign * jet[-1, 2], max(nearest, core.width)),
        contradiction=_contradicts(jets, origin, sign * max(room / 64, nearest), room),
    )


def _vanishes(slope: float, growth: float, distance: float) -> bool:
    """Returns whether f' tends to 0 like a power of the distance, given its value and its growth at a distance."""
    return bool(abs(slope) / 8 <= abs(growth) * distance and np.sign(slope) * np.sign(growth) >= 0)


def _bounds_beside(jets: Jets, core: Piece, x: float, near: float, exact: bool) -> tuple[float, float]:
    """Returns bounds of f between the nearest sample and the break, infinite where f may be unbounded.

    The bounds over a cell that holds the break hold f on both sides of a jump. The slope bounds how far f is from its
    value at the sample, which lies some units in the last place from the break.
    """
    ends = (min(x, near), max(x, near)) if exact else (core.lo, core.hi)
    (lo,), (hi,), _ = jets.over(np.array([ends[0]]), np.array([ends[1]]))
    (at_lo,), (at_hi,), _ = jets.over(np.array([near]), np.array([near]))
    with np.errstate(all="ignore"):
        reach = 8 * np.maximum(abs(at_lo[0, 1]), abs(at_hi[0, 1])) * (ends[1] - ends[0])
    if not (np.isfinite(lo[0, 0]) and np.isfinite(hi[0, 0]) and np.isfinite(reach)):
        return float(lo[0, 0]), float(hi[0, 0])
    return max(float(lo[0, 0]), float(at_lo[0, 0] - reach)), min(float(hi[0, 0]), float(at_hi[0, 0] + reach))


def _count(ratio: float) -> int:
    return max(2, math.ceil(math.log(max(ratio, 1.0)) / math.log(_RATIO)) + 1)


def _beyond(jets: Jets, points: np.ndarray) -> tuple[float, float, float]:
    """Returns bounds of f beyond a sequence of points towards a break, and its limit, by bounds of f at the points."""
    below, above, _ = jets.over(points, points)
    lower, upper = below[:, 0, 0], above[:, 0, 0]
    limits = _limit(lower), _limit(upper)
    recent = [*lower[-_STEPS:], *upper[-_STEPS:]]
    if limits[0] == math.inf:
        return min(recent), math.inf, math.inf
    if limits[1] == -math.inf:
        return -math.inf, max(recent), -math.inf
    if all(map(math.isfinite, limits)) and limits[1] - limits[0] <= _SAME_LIMIT * max(map(abs, recent)):
        return min(recent), max(recent), sum(limits) / 2
    return -math.inf, math.inf, math.nan


def _limit(values: np.ndarray) -> float:
    """Returns what a sequence tends to: its last value if its steps shrink, an infinity if they do not, or nan."""
    if np.isinf(values[-1]):
        return float(values[-1])
    with np.errstate(all="ignore"):
        steps = np.diff(values)[-_STEPS:]
    if len(steps) < _STEPS or not np.all(np.isfinite(steps)):
        return math.nan
    if np.all(np.abs(steps) <= _SAME_VALUE * np.max(np.abs(values[-_STEPS:]))):
        return float(values[-1])
    shrinking = np.abs(steps[1:]) <= _SHRINKING * np.abs(steps[:-1])
    if np.all(shrinking):
        return float(values[-1])
    if np.all(np.sign(steps) == np.sign(steps[0])) and not np.any(shrinking):
        return math.copysign(math.inf, steps[-1])
    return math.nan


def _contradicts(jets: Jets, origin: float, step: float, room: float) -> bool:
    """Returns whether the bounds of f' beside a break are far from those of the difference quotient of f there."""
    if abs(step) > room:
        return False
    points = origin + step * np.array([1.0, 1.5, 2.0])
    below, above, _ = jets.over(points, points)
    below, above = below[:, 0], above[:, 0]
    if not (np.all(np.isfinite(below[:, :2])) and np.all(np.isfinite(above[:, :2]))):
        return False
    ends = [below[2, 0] - above[0, 0], above[2, 0] - below[0, 0]]
    lower, upper = sorted(end / (points[2] - points[0]) for end in ends)
    lowest, highest = np.min(below[:, 1]), np.max(above[:, 1])
    slack = 0.5 * max(abs(lowest), abs(highest), abs(lower), abs(upper))
    return bool(upper < lowest - slack or lower > highest + slack)
