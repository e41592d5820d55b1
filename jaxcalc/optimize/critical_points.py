"""Every critical point of a function of one variable, or the reason why that cannot be said."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import jax
import numpy as np

from jaxcalc.calculus.checks import as_real
from jaxcalc.calculus.enclosures import NoEnclosure
from jaxcalc.calculus.isolation import Isolation, Jets, isolate

# On an infinite side cells double in width up to this power of 2; what happens beyond is told from samples.
_FARTHEST = 200
_CELLS = 64
_SAMPLES = 4096
# Two values that agree to this part of their size are one value.
_SAME = 1e-10


@dataclasses.dataclass(frozen=True)
class CriticalPoints:
    """The critical points of a function of one variable on an interval, in ascending order.

    Attributes:
        x: Where they are, (k,), float64; finite ends of the interval are among them.
        fun: The values there, (k,).
        second_derivative: f'' there, (k,).
        kind: A word for each: "minimum", "maximum", "inflection", "degenerate", "endpoint minimum",
            "endpoint maximum". It follows the signs of f' on both sides.
        global_minimum: Where the value is the lowest of f on the interval, (k,) of bool; nowhere if f comes lower
            only in a limit.
        global_maximum: Where it is the highest, likewise.
        infimum: What f does not fall below: the lowest value, the limit at infinity if that is lower, or -inf.
        supremum: What f does not rise above, likewise.
        certain: Whether the list is known to be complete and the kinds right: every other cell of the interval is shown
            to hold no zero of f' by bounds that cover rounding.
        reasons: If not, why not, a sentence each.
    """

    x: np.ndarray
    fun: np.ndarray
    second_derivative: np.ndarray
    kind: list[str]
    global_minimum: np.ndarray
    global_maximum: np.ndarray
    infimum: float
    supremum: float
    certain: bool
    reasons: tuple[str, ...]


def critical_points(f: Callable, lower: float, upper: float) -> CriticalPoints:
    """Finds all points of an interval where the derivative of a function is 0, and what they are.

    The interval is cut into cells until bounds of f' or f'' over each whole cell (interval arithmetic on the traced
    function) show that it holds no zero of f' or exactly one, which Newton's method in a bracket then finds. Nothing
    between samples is missed, however narrow. The kind follows the sign of f' on both sides, so that x^4 has a minimum
    and x^3 an inflection at 0. A host function.

    Args:
        f: R -> R, JAX-traceable; it is given scalars.
        lower: Where the interval begins, may be -inf.
        upper: Where it ends, may be inf; greater than lower.

    Returns:
        The points with values, second derivatives and kinds, which of them are global, and whether that is certain.
        Kinks, where f' jumps through 0, are listed as well; poles, jumps, stretches where f' is 0 throughout, and
        operations without known bounds make the result uncertain and are named in `reasons`.

    Raises:
        TypeError: If lower or upper is not a real number, or f does not return one.
        ValueError: If lower is not below upper, or f is finite nowhere between them.

    Example:
        >>> import jax.numpy as jnp
        >>> points = critical_points(lambda x: x * (x - 1) * (x - 2) * (x - 3), -jnp.inf, jnp.inf)
        >>> print(points.x.round(6), points.kind, points.supremum, points.certain)
        [0.381966 1.5 2.618034] ['minimum', 'maximum', 'minimum'] inf True

    Source: R. Moore, Interval Analysis (1966); E. Hansen, Global optimization using interval analysis (1979).
    """
    lower, upper = (float(as_real(end, name)) for end, name in ((lower, "lower"), (upper, "upper")))
    if not lower < upper:
        raise ValueError(f"lower must be below upper; they are {lower} and {upper}.")
    with jax.enable_x64(True):
        return _search(f, lower, upper)


def _search(f: Callable, lower: float, upper: float) -> CriticalPoints:
    jets = Jets(f)
    edges = _edges(lower, upper)
    reasons: list[str] = []
    try:
        isolation = isolate(jets, edges)
    except NoEnclosure as operation:
        reasons.append(f"f uses {operation}, for which no bounds are known: what lies between samples is not excluded")
        isolation = _sampled(jets, edges)
    if not np.any(np.isfinite(jets.at(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))[:, 0])):
        raise ValueError(f"f has no finite value between {lower} and {upper}.")
    x = _roots(jets, isolation.simple, order=1)
    clusters = _merged(isolation.undecided)
    x = np.concatenate([x, [_degenerate_root(jets, *cluster) for cluster in clusters]])
    broken = [cluster for cluster in _merged(isolation.broken) if lower < cluster[0] and cluster[1] < upper]
    kinks, extremes, found = _breaks(jets, broken)
    reasons += found + _flaws(isolation, edges)
    x = np.concatenate([x, kinks])
    return _described(jets, np.sort(x), extremes, lower, upper, reasons)


def _edges(lower: float, upper: float) -> np.ndarray:
    """Where the first cells begin and end: equal cells, or on an infinite side cells that double in width."""
    if math.isfinite(lower) and math.isfinite(upper):
        # Not a round number of cells, so that points of symmetry do not fall on an edge.
        return lower + (upper - lower) * np.concatenate([[0.0], (np.arange(1, _CELLS) + 0.137) / _CELLS, [1.0]])
    origin = lower if math.isfinite(lower) else upper if math.isfinite(upper) else 0.137
    outward = np.concatenate([np.arange(1, 8) / 8, 2.0 ** np.arange(_FARTHEST + 1)])
    left = origin - outward[::-1] if math.isinf(lower) else []
    right = origin + outward if math.isinf(upper) else []
    return np.concatenate([left, [origin], right])


def _sampled(jets: Jets, edges: np.ndarray) -> Isolation:
    """What samples say of the zeros of f' and of f'', where there are no bounds."""
    fine = np.unique(
        np.concatenate([np.linspace(*pair, _SAMPLES // len(edges) + 2) for pair in itertools.pairwise(edges)])
    )
    jet = jets.at(fine)
    cells = np.stack([fine[:-1], fine[1:]], axis=1)
    signs = np.sign(jet)
    crosses = signs[:-1] * signs[1:] < 0
    with np.errstate(all="ignore"):
        scale = np.nanmax(np.abs(jet[:, 1])) * 1e-6
        touches = crosses[:, 2] & ~crosses[:, 1] & (np.abs(jet[:-1, 1]) < scale)
    none = np.zeros((0, 2))
    return Isolation(cells[crosses[:, 1] | (signs[:-1, 1] == 0)], cells[touches], none, none, none, True)


def _roots(jets: Jets, cells: np.ndarray, order: int) -> np.ndarray:
    """Zeros of the derivative of this order, one in each cell that it changes sign in: Newton's method in a bracket."""
    lo, hi = cells.T.copy()
    at_lo, at_hi = jets.at(lo)[:, order], jets.at(hi)[:, order]
    x = np.where(at_lo == 0, lo, np.where(at_hi == 0, hi, (lo + hi) / 2))
    done = (at_lo == 0) | (at_hi == 0)
    for _ in range(200):
        jet = jets.at(x)
        value, slope = jet[:, order], (jet[:, order + 1] if order < 3 else np.zeros(len(x)))
        same = np.sign(value) == np.sign(at_lo)
        lo, hi = np.where(same, x, lo), np.where(same, hi, x)
        with np.errstate(all="ignore"):
            newton = x - value / slope
        inside = (newton > lo) & (newton < hi)
        trial = np.where(inside, newton, lo + (hi - lo) / 2)
        settled = (
            done | (value == 0) | (np.abs(trial - x) <= np.spacing(np.abs(x))) | (hi - lo <= 2 * np.spacing(np.abs(x)))
        )
        if np.all(settled):
            return np.where(done | (value == 0), x, trial)
        x, done = np.where(done | (value == 0), x, trial), done | (value == 0)
    return x


def _merged(cells: np.ndarray) -> np.ndarray:
    """Neighbouring cells as one."""
    if not len(cells):
        return cells
    gap = cells[1:, 0] - cells[:-1, 1] > 4 * (cells[1:, 1] - cells[1:, 0])
    first, last = np.concatenate([[True], gap]), np.concatenate([gap, [True]])
    return np.stack([cells[first, 0], cells[last, 1]], axis=1)


def _degenerate_root(jets: Jets, lo: float, hi: float) -> float:
    """The place of a zero of f' of higher order: where the highest derivative that changes sign there is 0."""
    wide = np.array([[lo - (hi - lo), hi + (hi - lo)]])
    ends = jets.at(wide[0])
    half = (wide[0, 1] - wide[0, 0]) / 2
    changes = np.sign(ends[0]) * np.sign(ends[1]) < 0
    for order in (1, 2):
        # A simple zero, where the next derivative explains the values at the ends; finer than a zero of noise.
        slope = np.abs(ends[:, order + 1]).min() * half
        if changes[order] and np.all(np.abs(ends[:, order]) < 3 * slope) and np.all(np.abs(ends[:, order]) > slope / 3):
            return float(_roots(jets, wide, order)[0])
    for order in (3, 2, 1):
        if changes[order]:
            return float(_roots(jets, wide, order)[0])
    return (lo + hi) / 2


def _breaks(jets: Jets, clusters: list) -> tuple[np.ndarray, list[float], list[str]]:
    """Where f is not smooth: the kinks to be listed, the infinities at poles, and what is to be said about them."""
    listed, extremes, reasons = [], [], []
    for lo, hi in clusters:
        x, width = (lo + hi) / 2, max(hi - lo, 1e-8 * max(abs(lo), abs(hi)), 1e-12)
        left, right, far = jets.at(np.array([lo - width, hi + width, hi + 1e5 * width]))[:, :2]
        if not (np.isfinite(left[0]) and np.isfinite(right[0])):
            if np.isfinite(left[0]) or np.isfinite(right[0]):
                reasons.append(f"f is not defined on one side of {x:.10g}")
            else:
                reasons.append(f"f is not finite near {x:.10g}")
            continue
        scale = max(abs(left[0]), abs(right[0]))
        slopes = [value for value in (left[1], right[1]) if np.isfinite(value)]
        if max(map(abs, slopes), default=np.inf) * width > 1e-2 * max(scale, 1e-300) and scale > 1e3 * abs(far[0]):
            extremes += [math.copysign(math.inf, side[0]) for side in (left, right)]
            reasons.append(f"f has a pole near {x:.10g}")
        elif abs(left[0] - right[0]) > 1e-6 * scale + 10 * width * max(map(abs, slopes), default=0.0):
            reasons.append(f"f jumps near {x:.10g}")
        elif left[1] * right[1] < 0 or not slopes:
            sides = np.array([[lo - width, hi + width]])
            listed.append(_roots(jets, sides, 1)[0] if slopes else x)
            reasons.append(f"f has a kink near {x:.10g}, where f' changes sign without being 0")
        elif abs(left[1] - right[1]) > 1e-4 * max(map(abs, slopes)) > 0:
            reasons.append(f"f has a kink near {x:.10g}")
    return np.array(listed), extremes, reasons


def _flaws(isolation: Isolation, edges: np.ndarray) -> list[str]:
    far = 2.0 ** (_FARTHEST - 1)
    flats = _merged(isolation.flat)
    # Where f' underflows towards an infinite end, f has its limit; that f is constant is another matter.
    flaws = [
        f"f' is 0 throughout from {lo:.10g} to {hi:.10g}"
        for lo, hi in flats
        if (lo > -far and hi < far) or (lo == edges[0] and hi == edges[-1])
    ]
    flaws += [f"f is not defined from {lo:.10g} to {hi:.10g}" for lo, hi in _merged(isolation.undefined)]
    if not isolation.complete:
        flaws.append("f' could not be told from 0 on too many cells: more points than can be listed, or noise")
    return flaws


def _described(
    jets: Jets, x: np.ndarray, extremes: list[float], lower: float, upper: float, reasons: list[str]
) -> CriticalPoints:
    """Kinds by the sign of f' in the gaps between the points, and what is global."""
    scale = np.finfo(float).eps * 64
    unit = min(1.0, upper - lower)
    first, last = (
        end + sign * scale * max(abs(end), unit) if math.isfinite(end) else end
        for end, sign in ((lower, 1), (upper, -1))
    )
    inner = [point for point in x if first < point < last]
    keep = [
        k == 0 or inner[k] - inner[k - 1] > scale * max(abs(inner[k]), abs(inner[k - 1]), unit)
        for k in range(len(inner))
    ]
    inner = [point for point, kept in zip(inner, keep, strict=True) if kept]
    marks = [
        lower if math.isfinite(lower) else -(2.0**_FARTHEST),
        *inner,
        upper if math.isfinite(upper) else 2.0**_FARTHEST,
    ]
    signs = [_sign_between(jets, *gap) for gap in itertools.pairwise(marks)]
    names = {(-1, 1): "minimum", (1, -1): "maximum", (1, 1): "inflection", (-1, -1): "inflection"}
    kinds = [names.get(pair, "degenerate") for pair in itertools.pairwise(signs)]
    points = list(inner)
    if math.isfinite(lower):
        points.insert(0, lower)
        kinds.insert(0, {1: "endpoint minimum", -1: "endpoint maximum"}.get(signs[0], "degenerate"))
    if math.isfinite(upper):
        points.append(upper)
        kinds.append({-1: "endpoint minimum", 1: "endpoint maximum"}.get(signs[-1], "degenerate"))
    if "degenerate" in kinds and not reasons:
        reasons = ["the sign of f' beside a point cannot be told from rounding"]
    x = np.array(points)
    jet = jets.at(x)
    limits, unclear = _limits(jets, lower, upper)
    exists = np.isfinite(jet[:, 0])
    reasons = [*reasons, *unclear, *(f"f is not finite at {point:.10g}" for point in x[~exists])]
    values = np.concatenate([jet[:, 0], limits, extremes])
    x, jet, kinds = x[exists], jet[exists], [kind for kind, there in zip(kinds, exists, strict=True) if there]
    values = values[~np.isnan(values)]
    infimum, supremum = (float(values.min()), float(values.max())) if len(values) else (math.nan, math.nan)
    lowest = jet[:, 0] <= infimum + _SAME * abs(infimum) if math.isfinite(infimum) else np.zeros(len(x), bool)
    highest = jet[:, 0] >= supremum - _SAME * abs(supremum) if math.isfinite(supremum) else np.zeros(len(x), bool)
    return CriticalPoints(
        x, jet[:, 0], jet[:, 2], kinds, lowest, highest, infimum, supremum, not reasons, tuple(reasons)
    )  # fmt: skip


def _sign_between(jets: Jets, lo: float, hi: float) -> int:
    """The sign of f' between two neighbouring critical points, from where it is the largest of some samples."""
    parts = np.concatenate([0.5 ** np.arange(1, 30), 1 - 0.5 ** np.arange(2, 30)])
    slope = jets.at(lo + (hi - lo) * parts)[:, 1]
    if math.isinf(hi - lo) or hi - lo > 2.0**100:
        offsets = 2.0 ** np.arange(-20, _FARTHEST)
        inner = np.concatenate([lo + offsets if abs(lo) < 2.0**100 else [], hi - offsets if abs(hi) < 2.0**100 else []])
        slope = jets.at(inner[(inner > lo) & (inner < hi)] if len(inner) else np.concatenate([-offsets, offsets]))[:, 1]
        slope = np.where(np.abs(slope) < np.inf, slope, np.nan)
    slope = slope[np.isfinite(slope)]
    return int(np.sign(slope[np.argmax(np.abs(slope))])) if len(slope) else 0


def _limits(jets: Jets, lower: float, upper: float) -> tuple[list[float], list[str]]:
    """What f tends to at the infinite ends, told from its values at distances that grow without end."""
    limits, unclear = [], []
    for end, sign in ((lower, -1), (upper, 1)):
        if math.isfinite(end):
            continue
        values = jets.at(sign * 2.0 ** np.array([50.0, 100.0, 200.0]))[:, 0]
        near = jets.at(sign * 2.0 ** np.arange(3, 50, 2))[:, 0]
        values = values if np.all(np.isfinite(values)) else near[~np.isnan(near)][-3:]
        with np.errstate(all="ignore"):
            steps = np.diff(values)
        settled = len(values) == 3 and abs(steps[1]) <= 1e-9 * abs(values[-1]) + 1e-15 * np.nanmax(np.abs(near))
        if len(values) == 3 and (settled or np.isinf(values[-1])):
            limits.append(float(values[-1]))
        elif len(values) == 3 and np.sign(steps[0]) == np.sign(steps[1]) and abs(steps[1]) >= abs(steps[0]):
            limits.append(math.copysign(math.inf, steps[1]))
        else:
            unclear.append(f"what f tends to at {end} cannot be told")
    return limits, unclear
