"""The landscape of a function without bounds, from samples: its points are found, and nothing is proved."""

import itertools
import math

import numpy as np

from jaxcalc.calculus.critical.extremes import Values
from jaxcalc.calculus.critical.landscape import KINDS, Landscape
from jaxcalc.calculus.critical.roots import roots
from jaxcalc.calculus.intervals.isolation import Jets

_SAMPLES = 4096
_TOUCHES = 1e-6


def sampled_landscape(jets: Jets, edges: np.ndarray, lower: float, upper: float, operation: str) -> Landscape:
    """Returns the points where f' changes sign or touches 0 between samples; the extreme values are not known.

    Args:
        jets: f and its derivatives.
        edges: The ends of the initial cells.
        lower: The lower end of the interval.
        upper: The upper end of the interval.
        operation: The operation of f for which no bounds are known.
    """
    steps = [np.linspace(*pair, _SAMPLES // len(edges) + 2) for pair in itertools.pairwise(edges)]
    fine = np.unique(np.concatenate(steps))
    jet = jets.at(fine)
    signs = np.sign(jet)
    crosses = signs[:-1] * signs[1:] < 0
    with np.errstate(all="ignore"):
        small = np.abs(jet[:-1, 1]) < _TOUCHES * np.nanmax(np.abs(jet[:, 1]))
    touches = crosses[:, 2] & ~crosses[:, 1] & small
    x, kinds = [], []
    for order, chosen in ((1, crosses[:, 1]), (2, touches)):
        (cells,) = np.nonzero(chosen)
        x += roots(jets, fine[cells], fine[cells + 1], order).tolist() if len(cells) else []
        kinds += [KINDS.get((int(signs[k, 1]), int(signs[k + 1, 1])), "degenerate") for k in cells]
    for k in np.flatnonzero(signs[1:-1, 1] == 0) + 1:
        x.append(float(fine[k]))
        kinds.append(KINDS.get((int(signs[k - 1, 1]), int(signs[k + 1, 1])), "degenerate"))
    for end, sign in ((lower, signs[:, 1][signs[:, 1] != 0][:1]), (upper, -signs[:, 1][signs[:, 1] != 0][-1:])):
        if math.isfinite(end) and np.isfinite(jets.at(np.array([end]))[0, 0]):
            x.append(end)
            kinds.append({1: "endpoint minimum", -1: "endpoint maximum"}.get(int(sum(sign)), "degenerate"))
    order = np.argsort(x, kind="stable")
    return Landscape(
        x=[x[k] for k in order],
        kinds=[kinds[k] for k in order],
        values=[Values(-math.inf, math.inf, math.nan, math.inf, 0.0)] * len(x),
        elsewhere=[],
        reasons=[f"f uses {operation}, for which no bounds are known: what lies between samples is not excluded"],
    )
