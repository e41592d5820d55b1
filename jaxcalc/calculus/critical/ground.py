"""The ground of a survey: f on the initial cells, against which places and values near them are measured."""

import math

import numpy as np

from jaxcalc.calculus.critical.extremes import Values
from jaxcalc.calculus.intervals.isolation import Jets

# Two points whose relative difference is below this count as one point, a point as near to an end as that end.
SAME_POINT = 64 * np.finfo(float).eps
# The variation of f around a place is taken over so many initial cells on each side.
_AROUND = 3


class Ground:
    """f, the interval and its initial cells.

    Attributes:
        jets: f and its derivatives.
        edges: The ends of the initial cells, ascending.
        lower: The lower end of the interval.
        upper: The upper end of the interval.
        scale: The width of the interval, or 1 if that is less.
    """

    jets: Jets
    edges: np.ndarray
    lower: float
    upper: float
    scale: float

    def __init__(self, jets: Jets, edges: np.ndarray, lower: float, upper: float):
        self.jets, self.edges, self.lower, self.upper = jets, edges, lower, upper
        self.scale = min(1.0, float(edges[-1] - edges[0]))
        self._values = jets.at(edges)[:, 0]

    def variation(self, x: float, value: float) -> float:
        """Returns how much f varies around x: the largest difference from f at the ends of initial cells nearby."""
        k = int(np.searchsorted(self.edges, x))
        around = self._values[max(k - _AROUND, 0) : k + _AROUND]
        with np.errstate(all="ignore"):
            differences = np.abs(around - value)
        return float(max([*differences[np.isfinite(differences)], abs(value) if math.isfinite(value) else 0.0]))

    def cell_width(self, x: float) -> float:
        """Returns the width of the initial cell at x."""
        k = int(np.clip(np.searchsorted(self.edges, x), 1, len(self.edges) - 1))
        return float(self.edges[k] - self.edges[k - 1])

    def is_end(self, x: float) -> bool:
        """Returns whether x is a finite end of the interval to within rounding."""
        ends = [end for end in (self.lower, self.upper) if math.isfinite(end)]
        return any(abs(x - end) <= SAME_POINT * max(abs(end), self.scale) for end in ends)

    def values_at(self, x: np.ndarray) -> list[Values]:
        """Returns what is known of f at the points x (k,)."""
        if not len(x):
            return []
        computed = self.jets.at(x)[:, 0]
        below, above, _ = self.jets.over(x, x)
        found = []
        for point, value, lo, hi in zip(x, computed, below[:, 0, 0], above[:, 0, 0], strict=True):
            error = max(value - lo, hi - value) if math.isfinite(value) else math.inf
            known = value if math.isfinite(value) else math.nan
            error = math.inf if math.isnan(error) else error
            found.append(Values(float(lo), float(hi), float(known), float(error), self.variation(point, value)))
        return found

    def stretch(self, lo: float, hi: float) -> str:
        """Returns the words for an interval; the outermost edge of an infinite side is written as the infinity."""
        lower = self.lower if lo == self.edges[0] else lo
        upper = self.upper if hi == self.edges[-1] else hi
        return f"from {_plain(lower):.10g} to {_plain(upper):.10g}"


# Numbers that stand for the neighbours of 0 are smaller.
_NEAR_ZERO = 1e-29


def _plain(x: float) -> float:
    return 0.0 if abs(x) <= _NEAR_ZERO else x
