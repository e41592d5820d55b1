"""The infimum of f from bounds of f wherever f may be lowest, or the statement that the bounds do not tell it."""

import math
from typing import NamedTuple

import numpy as np

# A bound and a value count as one if they differ by less than this share of the variation of f around the place.
_SHARP = 1e-9
# Several points share the lowest value if their bounds overlap and are this sharp.
_ALIKE = 1e-11


class Values(NamedTuple):
    """The values of f in one place: a point, a flat stretch, one side of a break, an undecided cell, or a limit.

    Attributes:
        bottom: A lower bound of all values there.
        top: An upper bound of all values there.
        value: A value that f takes or tends to there, as computed; nan if none is known.
        variation: How much f varies around the place: what a difference of values is small against.
    """

    bottom: float
    top: float
    value: float
    variation: float

    def reflected(self) -> "Values":
        """Returns the values of -f in this place."""
        return Values(-self.top, -self.bottom, -self.value, self.variation)


def infimum(places: list[Values]) -> tuple[float, float, float]:
    """Returns the greatest lower bound of f, or nan if it is not known; then a bound below it, and one above it.

    Between the places f is monotone, and therefore not lower than at the places.
    """
    known = [place.value for place in places if not math.isnan(place.value)]
    value = float(min(known, default=math.inf)) + 0.0
    if not places:
        return math.nan, -math.inf, math.inf
    lowest = min(places, key=lambda place: -math.inf if math.isnan(place.bottom) else place.bottom)
    bottom = -math.inf if math.isnan(lowest.bottom) else float(lowest.bottom) + 0.0
    if known and (value <= bottom or value - bottom <= _SHARP * lowest.variation):
        return value, value, value
    return math.nan, bottom, value


def lowest_points(points: list[Values], places: list[Values]) -> tuple[np.ndarray, bool]:
    """Returns at which of the points f has its lowest value; then whether rounding leaves that open: all are False.

    Args:
        points: The values at the points.
        places: All values, those at the points among them.
    """
    none = np.zeros(len(points), bool)
    if not math.isfinite(infimum(places)[0]):
        return none, False
    ceiling = min(place.top for place in places if not math.isnan(place.value))
    candidates = np.array([point.bottom <= ceiling for point in points], bool)
    blunt = [point for point, chosen in zip(points, candidates, strict=True) if chosen and not _is_sharp(point)]
    if np.sum(candidates) > 1 and blunt:
        return none, True
    return candidates, False


def _is_sharp(point: Values) -> bool:
    return point.top - point.bottom <= _ALIKE * point.variation
