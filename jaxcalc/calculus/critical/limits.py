"""What f tends to at an infinite end: samples decide, and bounds over everything beyond them must agree."""

import math

import numpy as np

from jaxcalc.calculus.critical.extremes import Values
from jaxcalc.calculus.critical.ground import Ground
from jaxcalc.calculus.intervals.isolation import Jets


def limits_at_infinity(ground: Ground) -> tuple[list[Values], list[str]]:
    """Returns the values of f beyond the outermost edges, and a sentence for each limit that samples do not show."""
    places, unknown = [], []
    jets = ground.jets
    for end, edge, sign in ((ground.lower, ground.edges[0], -1), (ground.upper, ground.edges[-1], 1)):
        if math.isfinite(end):
            continue
        lo, hi = (-math.inf, edge) if sign < 0 else (edge, math.inf)
        below, above, _ = jets.over(np.array([lo]), np.array([hi]))
        bottom, top = (
            math.copysign(math.inf, side) if math.isnan(bound) else float(bound)
            for side, bound in ((-1, below[0, 0, 0]), (1, above[0, 0, 0]))
        )
        limit = _limit(jets, sign)
        if math.isnan(limit):
            unknown.append(f"what f tends to at {end} cannot be told")
            places.append(Values(bottom, top, math.nan, math.inf, 0.0))
        else:
            places.append(Values(limit, limit, limit, 0.0, abs(limit)))
    return places, unknown


def _limit(jets: Jets, sign: int) -> float:
    """Returns what f tends to, or nan.

    f is sampled at three distances: up to 2^200, or at the three largest below 2^50 at which f exists. The limit is the
    last value if the values have settled or overflowed; it is infinite if they keep growing by equal or larger steps.
    """
    values = jets.at(sign * 2.0 ** np.array([50.0, 100.0, 200.0]))[:, 0]
    near = jets.at(sign * 2.0 ** np.arange(3, 50, 2))[:, 0]
    values = values if np.all(np.isfinite(values)) else near[~np.isnan(near)][-3:]
    if len(values) < 3:
        return math.nan
    with np.errstate(all="ignore"):
        steps = np.diff(values)
    vanishing = 1e-15 * np.nanmax(np.abs(near))
    if abs(values[-1]) <= vanishing and abs(values[-1]) < abs(values[-2]) <= vanishing:
        return 0.0
    if np.isinf(values[-1]) or abs(steps[1]) <= 1e-9 * abs(values[-1]) + vanishing:
        return float(values[-1])
    if np.sign(steps[0]) == np.sign(steps[1]) and abs(steps[1]) >= abs(steps[0]):
        return math.copysign(math.inf, steps[1])
    return math.nan
