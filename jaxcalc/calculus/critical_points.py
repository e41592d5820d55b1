"""All critical points of a function of one variable, proved complete by bounds, or the reasons why the proof fails."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxcalc.calculus.intervals.enclosures import NoEnclosure
from jaxcalc.calculus.intervals.isolation import Isolation, Jets, isolate
from jaxcalc.core.arguments import as_real

# On an infinite side cells double in width up to 2^_FARTHEST; beyond, samples decide what f tends to.
_FARTHEST = 200
# The initial cells of a finite interval, and the samples of a function without bounds.
_CELLS = 64
_SAMPLES = 4096
# Two values of f whose relative difference is below this count as equal.
_SAME = 1e-10
# Two points whose relative difference is below this count as one point, a point as near to an end as that end.
_SAME_POINT = 64 * np.finfo(float).eps


@dataclasses.dataclass(frozen=True)
class CriticalPoints:
    """The critical points of a function of one variable on an interval, in ascending order.

    Attributes:
        x: The points, (k,), float64; the finite ends of the interval are among them.
        fun: The values f(x), (k,).
        second_derivative: The values f''(x), (k,).
        kind: For each point "minimum", "maximum", "inflection", "degenerate", "endpoint minimum" or "endpoint maximum",
            from the signs of f' on both sides of the point.
        global_minimum: Whether f(x) is the lowest value of f on the interval, (k,); False everywhere if f has lower
            values that it only tends to.
        global_maximum: Whether f(x) is the highest value of f on the interval, (k,); False everywhere if f has higher
            values that it only tends to.
        infimum: The greatest lower bound of f: the lowest value, or the limit at an infinite end or a pole if that is
            lower.
        supremum: The least upper bound of f: the highest value, or the limit at an infinite end or a pole if that is
            higher.
        certain: Whether the list is proved complete and the kinds right: bounds that cover rounding show that every
            other cell of the interval holds no zero of f'.
        reasons: If not certain, a sentence for each reason.
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
    """Finds all points of an interval where the derivative of f is 0, proved complete by bounds, or `certain` is False.

    The interval is cut into cells until bounds of f' or f'' over each whole cell (interval arithmetic on the traced
    function) prove that the cell holds no zero of f' or exactly one. Therefore no point between samples is missed,
    however narrow its minimum; where the proof fails, `certain` is False and `reasons` says why. Newton's method in a
    bracket then finds each zero. The kind of a point follows from the sign of f' on both sides: x^4 has a minimum at 0,
    and x^3 an inflection. The search runs on the host, in float64, and cannot be traced.

    Args:
        f: R -> R, JAX-traceable; it is given scalars.
        lower: The lower end of the interval, may be -inf.
        upper: The upper end of the interval, may be inf; greater than lower.

    Returns:
        The points with their values, second derivatives and kinds, which of them are global, and whether the list is
        certain. A kink where f' jumps through 0 is listed as well. Kinks, poles, jumps, intervals on which f' is 0
        throughout, and operations without known bounds make the result uncertain and are named in `reasons`.

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
    edges = _initial_edges(lower, upper)
    reasons: list[str] = []
    try:
        isolation = isolate(jets, edges)
    except NoEnclosure as operation:
        reasons.append(f"f uses {operation}, for which no bounds are known: what lies between samples is not excluded")
        isolation = _isolated_by_samples(jets, edges)
    if not np.any(np.isfinite(jets.at(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))[:, 0])):
        raise ValueError(f"f has no finite value between {lower} and {upper}.")
    degenerate = [_degenerate_root(jets, *cluster) for cluster in _merged(isolation.undecided)]
    clusters = _merged(isolation.broken)
    breaks = [_break(jets, lo, hi) for lo, hi in clusters if lower < lo and hi < upper]
    kinks = [x for at in breaks for x in at.kinks]
    x = np.sort(np.concatenate([_roots(jets, isolation.simple, order=1), degenerate, kinks]))
    infinities = [value for at in breaks for value in at.infinities]
    reasons += [at.reason for at in breaks if at.reason is not None] + _unproven(isolation, edges)
    return _described(jets, x, infinities, lower, upper, reasons)


def _initial_edges(lower: float, upper: float) -> np.ndarray:
    """Returns the ends of the initial cells: of equal width, or on an infinite side of a width that doubles."""
    if math.isfinite(lower) and math.isfinite(upper):
        # The shift by 0.137 cells keeps edges away from points of symmetry, where critical points often lie.
        return lower + (upper - lower) * np.concatenate([[0.0], (np.arange(1, _CELLS) + 0.137) / _CELLS, [1.0]])
    origin = lower if math.isfinite(lower) else upper if math.isfinite(upper) else 0.137
    outward = np.concatenate([np.arange(1, 8) / 8, 2.0 ** np.arange(_FARTHEST + 1)])
    left = origin - outward[::-1] if math.isinf(lower) else []
    right = origin + outward if math.isinf(upper) else []
    return np.concatenate([left, [origin], right])


def _isolated_by_samples(jets: Jets, edges: np.ndarray) -> Isolation:
    """Returns the cells between samples in which f' changes sign or touches 0, for an f without bounds."""
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
    """Returns a zero of the derivative of this order in each cell (k, 2), in which the derivative changes sign.

    Newton's method, with bisection of the bracket [lo, hi] where a Newton step leaves the bracket.
    """
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
    """Returns the cells (k, 2) with neighbours joined: cells closer than four times the width of the upper one."""
    if not len(cells):
        return cells
    gap = cells[1:, 0] - cells[:-1, 1] > 4 * (cells[1:, 1] - cells[1:, 0])
    first, last = np.concatenate([[True], gap]), np.concatenate([gap, [True]])
    return np.stack([cells[first, 0], cells[last, 1]], axis=1)


def _degenerate_root(jets: Jets, lo: float, hi: float) -> float:
    """Returns a zero of f' of higher order in [lo, hi]: the zero of the highest derivative that changes sign there."""
    wide = np.array([[lo - (hi - lo), hi + (hi - lo)]])
    ends = jets.at(wide[0])
    half = (wide[0, 1] - wide[0, 0]) / 2
    changes = np.sign(ends[0]) * np.sign(ends[1]) < 0
    for order in (1, 2):
        # If the next derivative explains the values at both ends, this derivative has a simple zero, whose location is
        # more accurate than that of a zero of a higher derivative, which may be noise.
        slope = np.abs(ends[:, order + 1]).min() * half
        if changes[order] and np.all(np.abs(ends[:, order]) < 3 * slope) and np.all(np.abs(ends[:, order]) > slope / 3):
            return float(_roots(jets, wide, order)[0])
    for order in (3, 2, 1):
        if changes[order]:
            return float(_roots(jets, wide, order)[0])
    return (lo + hi) / 2


class _Break(NamedTuple):
    """A place where f is not analytic.

    Attributes:
        reason: The doubt to report, a sentence; None if f is smooth there to within rounding.
        kinks: The x of the kink, if f' changes sign there: none or one.
        infinities: The limits of f from the left and from the right, if there is a pole.
    """

    reason: str | None
    kinks: tuple[float, ...] = ()
    infinities: tuple[float, ...] = ()


def _break(jets: Jets, lo: float, hi: float) -> _Break:
    """Tells poles, jumps and kinks in [lo, hi] apart, by values and slopes of f closely to the left and to the right.

    At a pole f is steep for its size, and much larger than a little further away. At a jump the values on both sides
    differ by more than the slopes explain, at a kink the slopes differ.
    """
    x, width = (lo + hi) / 2, max(hi - lo, 1e-8 * max(abs(lo), abs(hi)), 1e-12)
    left, right, far = jets.at(np.array([lo - width, hi + width, hi + 1e5 * width]))[:, :2]
    if not (np.isfinite(left[0]) and np.isfinite(right[0])):
        one_sided = np.isfinite(left[0]) or np.isfinite(right[0])
        return _Break(f"f is not defined on one side of {x:.10g}" if one_sided else f"f is not finite near {x:.10g}")
    size = max(abs(left[0]), abs(right[0]))
    slopes = [value for value in (left[1], right[1]) if np.isfinite(value)]
    steepest = max(map(abs, slopes), default=np.inf)
    if steepest * width > 1e-2 * max(size, 1e-300) and size > 1e3 * abs(far[0]):
        infinities = tuple(math.copysign(math.inf, side[0]) for side in (left, right))
        return _Break(f"f has a pole near {x:.10g}", infinities=infinities)
    if abs(left[0] - right[0]) > 1e-6 * size + 10 * width * max(map(abs, slopes), default=0.0):
        return _Break(f"f jumps near {x:.10g}")
    if left[1] * right[1] < 0 or not slopes:
        kink = _roots(jets, np.array([[lo - width, hi + width]]), 1)[0] if slopes else x
        return _Break(f"f has a kink near {x:.10g}, where f' changes sign without being 0", kinks=(kink,))
    if abs(left[1] - right[1]) > 1e-4 * steepest > 0:
        return _Break(f"f has a kink near {x:.10g}")
    return _Break(None)


def _unproven(isolation: Isolation, edges: np.ndarray) -> list[str]:
    """Returns a sentence for each part of the interval on which zeros of f' are neither excluded nor isolated."""
    far = 2.0 ** (_FARTHEST - 1)
    # Towards an infinite end f' underflows to 0 where f has a limit, which leaves no doubt, unless f' is 0 everywhere.
    reasons = [
        f"f' is 0 throughout from {lo:.10g} to {hi:.10g}"
        for lo, hi in _merged(isolation.flat)
        if (lo > -far and hi < far) or (lo == edges[0] and hi == edges[-1])
    ]
    reasons += [f"f is not defined from {lo:.10g} to {hi:.10g}" for lo, hi in _merged(isolation.undefined)]
    if not isolation.complete:
        reasons.append("f' could not be told from 0 on too many cells: more points than can be listed, or noise")
    return reasons


def _described(
    jets: Jets, x: np.ndarray, infinities: list[float], lower: float, upper: float, reasons: list[str]
) -> CriticalPoints:
    """Returns the points x (k,), ascending, and the ends, with kinds, and with what is global.

    Args:
        jets: f and its derivatives.
        x: The zeros of f' and the kinks; some may be the same point twice, or an end.
        infinities: The limits of f at its poles.
        lower: The lower end of the interval.
        upper: The upper end of the interval.
        reasons: The doubts so far.
    """
    points, kinds = _points_and_kinds(jets, _distinct(x, lower, upper), lower, upper)
    if "degenerate" in kinds and not reasons:
        reasons = ["the sign of f' beside a point cannot be told from rounding"]
    x = np.array(points)
    jet = jets.at(x)
    limits, unknown_limits = _limits_at_infinity(jets, lower, upper)
    exists = np.isfinite(jet[:, 0])
    reasons = [*reasons, *unknown_limits, *(f"f is not finite at {point:.10g}" for point in x[~exists])]
    values = np.concatenate([jet[:, 0], limits, infinities])
    values = values[~np.isnan(values)]
    x, jet, kinds = x[exists], jet[exists], [kind for kind, kept in zip(kinds, exists, strict=True) if kept]
    infimum, supremum = (float(values.min()), float(values.max())) if len(values) else (math.nan, math.nan)
    lowest = jet[:, 0] <= infimum + _SAME * abs(infimum) if math.isfinite(infimum) else np.zeros(len(x), bool)
    highest = jet[:, 0] >= supremum - _SAME * abs(supremum) if math.isfinite(supremum) else np.zeros(len(x), bool)
    return CriticalPoints(
        x=x,
        fun=jet[:, 0],
        second_derivative=jet[:, 2],
        kind=kinds,
        global_minimum=lowest,
        global_maximum=highest,
        infimum=infimum,
        supremum=supremum,
        certain=not reasons,
        reasons=tuple(reasons),
    )


def _distinct(x: np.ndarray, lower: float, upper: float) -> list[float]:
    """Returns the ascending points strictly between the ends, without those that repeat their lower neighbour."""
    scale = min(1.0, upper - lower)
    first, last = (
        end + sign * _SAME_POINT * max(abs(end), scale) if math.isfinite(end) else end
        for end, sign in ((lower, 1), (upper, -1))
    )
    inner = [point for point in x if first < point < last]
    keep = [
        k == 0 or inner[k] - inner[k - 1] > _SAME_POINT * max(abs(inner[k]), abs(inner[k - 1]), scale)
        for k in range(len(inner))
    ]
    return [point for point, kept in zip(inner, keep, strict=True) if kept]


def _points_and_kinds(jets: Jets, inner: list[float], lower: float, upper: float) -> tuple[list[float], list[str]]:
    """Returns the inner points and the finite ends with their kinds, by the signs of f' in the gaps between them."""
    marks = [
        lower if math.isfinite(lower) else -(2.0**_FARTHEST),
        *inner,
        upper if math.isfinite(upper) else 2.0**_FARTHEST,
    ]
    signs = [_sign_between(jets, *gap) for gap in itertools.pairwise(marks)]
    names = {(-1, 1): "minimum", (1, -1): "maximum", (1, 1): "inflection", (-1, -1): "inflection"}
    points, kinds = list(inner), [names.get(pair, "degenerate") for pair in itertools.pairwise(signs)]
    if math.isfinite(lower):
        points.insert(0, lower)
        kinds.insert(0, {1: "endpoint minimum", -1: "endpoint maximum"}.get(signs[0], "degenerate"))
    if math.isfinite(upper):
        points.append(upper)
        kinds.append({-1: "endpoint minimum", 1: "endpoint maximum"}.get(signs[-1], "degenerate"))
    return points, kinds


def _sign_between(jets: Jets, lo: float, hi: float) -> int:
    """Returns the sign of f' between two neighbouring critical points, at the sample with the largest |f'|."""
    fractions = np.concatenate([0.5 ** np.arange(1, 30), 1 - 0.5 ** np.arange(2, 30)])
    slope = jets.at(lo + (hi - lo) * fractions)[:, 1]
    if math.isinf(hi - lo) or hi - lo > 2.0**100:
        offsets = 2.0 ** np.arange(-20, _FARTHEST)
        inner = np.concatenate([lo + offsets if abs(lo) < 2.0**100 else [], hi - offsets if abs(hi) < 2.0**100 else []])
        slope = jets.at(inner[(inner > lo) & (inner < hi)] if len(inner) else np.concatenate([-offsets, offsets]))[:, 1]
        slope = np.where(np.abs(slope) < np.inf, slope, np.nan)
    slope = slope[np.isfinite(slope)]
    return int(np.sign(slope[np.argmax(np.abs(slope))])) if len(slope) else 0


def _limits_at_infinity(jets: Jets, lower: float, upper: float) -> tuple[list[float], list[str]]:
    """Returns the limits of f at the infinite ends, and a sentence for each limit that samples do not show.

    f is sampled at three distances: up to 2^200, or at the three largest below 2^50 at which f exists. The limit is the
    last value if the values have settled or overflowed; it is infinite if they keep growing by equal or larger steps.
    """
    limits, unknown = [], []
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
            unknown.append(f"what f tends to at {end} cannot be told")
    return limits, unknown
