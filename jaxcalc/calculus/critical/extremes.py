"""The infimum of f from bounds of f wherever f may be lowest, or the statement that the bounds do not tell it."""

import math
from typing import NamedTuple

import numpy as np

# A bound and a value count as one if they differ by less than this share of the variation of f around the place.
_SHARP = 1e-7
# Several points share the lowest value if their bounds overlap and are this sharp.
_ALIKE = 1e-11


class Values(NamedTuple):
    """The values of f in one place: a point, a flat stretch, one side of a break, an undecided cell, or a limit.

    Attributes:
        bottom: A lower bound of all values there.
        top: An upper bound of all values there.
        value: A value that f takes or tends to there, as computed; nan if none is known.
        error: How far that value may be from the computed one.
        variation: How much f varies around the place: what a difference of values is small against.
    """

    bottom: float
    top: float
    value: float
    error: float
    variation: float

    def reflected(self) -> "Values":
        """Returns the values of -f in this place."""
        return Values(-self.top, -self.bottom, -self.value, self.error, self.variation)


def infimum(places: list[Values]) -> tuple[float, float, float]:
    """Returns the greatest lower bound of f, or nan if it is not known; then a bound below it, and one above it.

    Between the places f is monotone, and therefore not lower than at the places.
    """
    if not places:
        return math.nan, -math.inf, math.inf
    lowest = min(places, key=lambda place: -math.inf if math.isnan(place.bottom) else place.bottom)
    bottom = -math.inf if math.isnan(lowest.bottom) else float(lowest.bottom) + 0.0
    known = [place for place in places if not math.isnan(place.value)]
    if not known:
        return math.nan, bottom, math.inf
    holder = min(known, key=lambda place: place.value + place.error)
    ceiling = holder.value + holder.error
    if ceiling <= bottom or ceiling - bottom <= _SHARP * lowest.variation:
        # A value that is computed less accurately than the lowest may by chance be lower.
        accurate = [place.value for place in known if place.value <= ceiling and _is_sharp(place, _SHARP)]
        return float(min([holder.value, *accurate])) + 0.0, bottom, ceiling
    return math.nan, bottom, ceiling


def lowest_points(points: list[Values], places: list[Values]) -> tuple[np.ndarray, bool]:
    """Returns at which of the points f has its lowest value; then whether rounding leaves that open: all are False.

    Args:
        points: The values at the points.
        places: All values, those at the points among them.
    """
    none = np.zeros(len(points), bool)
    if not math.isfinite(infimum(places)[0]):
        return none, False
    ceiling = infimum(places)[2]
    candidates = np.array([point.bottom <= ceiling for point in points], bool)
    blunt = [point for point, chosen in zip(points, candidates, strict=True) if chosen and not _is_sharp(point, _ALIKE)]
    if np.sum(candidates) > 1 and blunt:
        return none, True
    return candidates, False


def _is_sharp(place: Values, share: float) -> bool:
    return place.error == 0 or 2 * place.error <= share * place.variation
