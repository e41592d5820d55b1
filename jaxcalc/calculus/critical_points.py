"""All critical points of a function of one variable, proved complete by bounds, or the reasons why the proof fails."""

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np
from jax.core import Tracer

from jaxcalc.calculus.critical.extremes import infimum, lowest_points
from jaxcalc.calculus.critical.ground import Ground
from jaxcalc.calculus.critical.landscape import Landscape, Survey
from jaxcalc.calculus.critical.samples import sampled_landscape
from jaxcalc.calculus.intervals.enclosures import NoEnclosure
from jaxcalc.calculus.intervals.isolation import Jets, isolate
from jaxcalc.core.arguments import as_real, called_as, require_functions

# On an infinite side cells double in width up to 2^_FARTHEST; beyond, samples decide what f tends to.
_FARTHEST = 200
# The initial cells of a finite interval.
_CELLS = 64
# The second derivative is compared with f' over this share of x to both sides.
_STEP = 2.0**-14
# Numbers agree that differ by this share of one of them.
_SETTLED = 0.1


@dataclasses.dataclass(frozen=True)
class CriticalPoints:
    """The critical points of a function of one variable on an interval, in ascending order.

    Attributes:
        x: The points, (k,), float64; the finite ends of the interval are among them.
        fun: The values f(x), (k,).
        second_derivative: The values f''(x), (k,); nan where JAX's rule for f'' contradicts f'.
        kind: For each point "minimum", "maximum", "inflection", "degenerate", "endpoint minimum" or "endpoint maximum",
            from the signs of f' on both sides of the point. "degenerate" is an end beside which f is constant, or
            beside which the sign of f' is not known.
        global_minimum: Whether f(x) is the lowest value of f on the interval, (k,); False everywhere if f has lower
            values elsewhere, or that it only tends to, or if this cannot be told.
        global_maximum: Whether f(x) is the highest value of f on the interval, (k,), likewise.
        infimum: The greatest lower bound of f: of its values at the points, on stretches where f' is 0 and in parts
            that are not decided, and of its limits beside jumps and poles and at infinite ends. It is nan if the bounds
            of f do not tell it; `reasons` then gives the bounds.
        supremum: The least upper bound of f, likewise.
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


@called_as(
    "critical_points(f, lower, upper)",
    **dict.fromkeys(("bounds", "domain", "interval", "bracket"), "lower and upper are two arguments"),
)
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
        certain. A kink where f' jumps through 0 is listed as well; a place where f' cannot be told from 0 is not.
        Kinks, poles, jumps, intervals on which f' is 0 throughout, operations without known bounds, and values that
        contradict the derivative make the result uncertain and are named in `reasons`.

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
    require_functions([f], "f", several=False)
    ends = as_real(lower, "lower"), as_real(upper, "upper")
    if any(isinstance(end, Tracer) for end in ends):
        raise TypeError(
            "critical_points runs on the host, because how many points there are depends on the values of lower and "
            "upper, which are not known under jax.jit, jax.vmap and jax.grad. Call it outside of them."
        )
    if any(end.ndim for end in ends):
        raise TypeError(
            f"lower and upper must be one number each; they have the shapes {ends[0].shape} and {ends[1].shape}. Of "
            "several variables use all_critical_points(f, (lower, upper))."
        )
    lower, upper = map(float, ends)
    if not lower < upper:
        raise ValueError(f"lower must be below upper; they are {lower} and {upper}.")
    # Bounds may be infinite, and a difference of two of them nan, which every comparison below expects.
    with jax.enable_x64(True), np.errstate(all="ignore"):
        return _search(f, lower, upper)


def _search(f: Callable, lower: float, upper: float) -> CriticalPoints:
    jets = Jets(f)
    edges = _initial_edges(lower, upper)
    if not np.any(np.isfinite(jets.at(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))[:, 0])):
        raise ValueError(f"f has no finite value between {lower} and {upper}.")
    try:
        landscape = Survey(Ground(jets, edges, lower, upper), isolate(jets, edges)).landscape()
    except NoEnclosure as operation:
        landscape = sampled_landscape(jets, edges, lower, upper, str(operation))
    return _described(jets, landscape)


def _described(jets: Jets, landscape: Landscape) -> CriticalPoints:
    """Returns the points of a landscape with what is global."""
    places = [*landscape.values, *landscape.elsewhere]
    reflected = [place.reflected() for place in places]
    lowest, *below = infimum(places)
    highest, *above = (-bound + 0.0 for bound in infimum(reflected))
    at_lowest, tied_below = lowest_points(landscape.values, places)
    at_highest, tied_above = lowest_points([place.reflected() for place in landscape.values], reflected)
    reasons = list(landscape.reasons)
    for name, value, bounds, tied in (("infimum", lowest, below, tied_below), ("supremum", highest, above, tied_above)):
        if math.isnan(value):
            reasons.append(f"the {name} is not known: it lies between {min(bounds):.10g} and {max(bounds):.10g}")
        if tied:
            reasons.append(f"rounding does not tell at which of several points f attains the {name}")
    x = np.array(landscape.x)
    jet = jets.at(x)
    is_wrong = _second_derivative_is_wrong(jets, x, jet[:, 2])
    reasons += [f"f' and the second derivative contradict each other at {place:.10g}" for place in x[is_wrong]]
    return CriticalPoints(
        x=x,
        fun=jet[:, 0],
        second_derivative=np.where(is_wrong, np.nan, jet[:, 2]),
        kind=landscape.kinds,
        global_minimum=at_lowest,
        global_maximum=at_highest,
        infimum=lowest,
        supremum=highest,
        certain=not reasons,
        reasons=tuple(reasons),
    )


def _second_derivative_is_wrong(jets: Jets, x: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns where `second`, f''(x) by JAX's rules, is not what the difference quotients of f' tend to, (k,).

    A quotient counts as a limit where a sixteenth of the step changes it by little. Beside a kink it grows by 16, and
    so does what is left of rounding.
    """
    widest = _STEP * np.where(x == 0, 1, np.abs(x))
    far, near = ((jets.at(x + step)[:, 1] - jets.at(x - step)[:, 1]) / (2 * step) for step in (widest, widest / 16))
    settled = np.abs(far - near) <= _SETTLED * np.abs(near)
    return settled & (near != 0) & ~(np.abs(second - near) <= 0.5 * np.maximum(np.abs(near), np.abs(second)))


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
