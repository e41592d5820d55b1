"""The curve of a function of one variable, with what calculus says about the function."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcalc.calculus.critical_points import CriticalPoints
from jaxcalc.calculus.critical_points import critical_points as find_critical_points
from jaxcalc.calculus.derivatives import derivative as derivative_of
from jaxcalc.core.arguments import called_as, numpy_floats, require_functions
from jaxcalc.plots.canvas import COLOURS, CURVE, axes_for, ends, legend_below, plain, values_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Minima point down and maxima up; colours tell the kinds apart, too.
MARKERS = {
    "minimum": ("v", COLOURS[0]),
    "maximum": ("^", COLOURS[5]),
    "inflection": ("s", COLOURS[2]),
    "degenerate": ("D", COLOURS[3]),
}
SAMPLES = 801


class Points(NamedTuple):
    """Classified points of a function: what a picture needs of `CriticalPoints`.

    Attributes:
        x: The points, (k,).
        fun: The values of the function there, (k,).
        kind: The kinds of the points, k words of `CriticalPoints.kind`.
    """

    x: ArrayLike
    fun: ArrayLike
    kind: Sequence[str]


@called_as("plots.curve(f, lower, upper)")
def curve(
    f: Callable,
    lower: float,
    upper: float,
    *,
    derivative: bool = False,
    tangent: float | None = None,
    critical_points: CriticalPoints | Points | bool = False,
    area: tuple[float, float] | None = None,
    name: str = "x",
    title: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the curve of f and, where asked for, f', a tangent f(a) + f'(a) (x - a), critical points and an area.

    Where poles would hide the rest of the curve, the vertical axis leaves out their surroundings.

    Args:
        f: R -> R, JAX-traceable; it is given scalars.
        lower: The left end of the picture. An infinite end is moved to a little beyond the outermost critical point.
        upper: The right end.
        derivative: Whether to draw f' as well.
        tangent: The point a whose tangent is drawn.
        critical_points: What `critical_points` has returned, or True for calling it here. The marker of a point tells
            its kind: a minimum points down, a maximum up, an inflection is a square, a degenerate point a diamond; the
            ends of the interval have hollow markers.
        area: The ends of the area between the curve and the axis that is shaded. Parts below the axis, which count
            negatively in the integral, have another colour.
        name: The name of the variable.
        title: The title; by default none.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If lower is not less than upper.

    Example:
        >>> import jaxcalc as jc
        >>> ax = jc.plots.curve(lambda x: x**3 - x, -1.5, 1.5, derivative=True, critical_points=True)
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['f(x)', "f'(x)", 'endpoint maximum', 'endpoint minimum', 'maximum', 'minimum']
    """
    require_functions([f], "f", several=False)
    low, high = numpy_floats(lower, "lower"), numpy_floats(upper, "upper")
    if low.ndim or high.ndim:
        raise ValueError(
            f"lower and upper must be numbers; they have the shapes {np.shape(lower)} and {np.shape(upper)}."
        )
    lower, upper = float(low), float(high)
    if not lower < upper:
        raise ValueError(f"lower must be less than upper; they are {lower:g} and {upper:g}.")
    axes = axes_for(ax)
    points = find_critical_points(f, lower, upper) if critical_points is True else critical_points or None
    if points is not None and not hasattr(points, "kind"):
        raise TypeError(f"critical_points is True, or what critical_points returned; it is {critical_points!r}.")
    inner = np.asarray([] if points is None else points.x, float)
    left, right = _finite_ends(lower, upper, inner)
    along = jnp.linspace(left, right, SAMPLES)
    y = values_at(f, along)
    slopes = np.asarray(derivative_of(f)(along), float) if derivative else np.zeros(0)
    bottom, top = _visible(np.concatenate([y, slopes]), np.asarray([] if points is None else points.fun, float))

    if area is not None:
        _shade(axes, f, area)
    axes.plot(along, _without_leaps(y, bottom, top), color=CURVE, linewidth=1.8, label=f"f({name})")
    if derivative:
        slopes = _without_leaps(slopes, bottom, top)
        axes.plot(along, slopes, color=COLOURS[1], linewidth=1.6, linestyle=(0, (5, 2)), label=f"f'({name})")
    if tangent is not None:
        _draw_tangent(axes, f, tangent, name)
    if points is not None:
        _mark(axes, points)
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=name, ylabel=f"f({name})")
    if title:
        axes.set_title(title)
    plain(axes)
    axes.axhline(0, color="#999999", linewidth=0.8, zorder=0.5)
    entries = len(axes.get_legend_handles_labels()[0])
    if entries > 4:
        legend_below(axes, 3)
    elif entries > 1:
        axes.legend(framealpha=0.85, edgecolor="none")
    return axes


def _draw_tangent(axes: "Axes", f: Callable, at: float, name: str) -> None:
    """Draws the tangent in the point and the point."""
    a = float(numpy_floats(at, "tangent"))
    value, slope = float(f(jnp.asarray(a))), float(derivative_of(f)(a))
    axes.axline((a, value), slope=slope, color=COLOURS[5], linewidth=1.5, label=f"tangent at {a:g}, slope {slope:.4g}")
    axes.plot([a], [value], "o", color=COLOURS[5], markersize=7, markeredgecolor="white", zorder=4)


def _shade(axes: "Axes", f: Callable, area: tuple[float, float]) -> None:
    """Shades the area between the curve and the horizontal axis, apart above and below the axis."""
    a, b = sorted(ends("area", area))
    x = np.linspace(a, b, SAMPLES)
    y = values_at(f, x)
    y = np.where(np.isfinite(y), y, np.nan)
    sides = ((y > 0, COLOURS[4], "area above: positive"), (y < 0, COLOURS[3], "area below: negative"))
    for side, colour, words in sides:
        if side.any():
            axes.fill_between(x, y, where=side, interpolate=True, color=colour, alpha=0.35, linewidth=0, label=words)


def _mark(axes: "Axes", points: CriticalPoints | Points) -> None:
    """Marks points by their kinds."""
    x, fun, kinds = np.asarray(points.x, float), np.asarray(points.fun, float), list(points.kind)
    for kind in sorted(set(kinds)):
        chosen = np.array([each == kind for each in kinds])
        marker, colour = MARKERS[kind.removeprefix("endpoint ")]
        face = "white" if kind.startswith("endpoint") else colour
        style = {"marker": marker, "s": 70, "facecolor": face, "edgecolor": colour, "linewidth": 1.6, "zorder": 3}
        axes.scatter(x[chosen], fun[chosen], label=kind, clip_on=False, **style)


def _without_leaps(y: np.ndarray, bottom: float, top: float) -> np.ndarray:
    """Returns the values with nan where a line would cross the whole picture, as at a pole."""
    y = np.where(np.isfinite(y), y, np.nan)
    above, below = y > top, y < bottom
    y[1:][(above[:-1] & below[1:]) | (below[:-1] & above[1:])] = np.nan
    return y


def _visible(y: np.ndarray, fun: np.ndarray) -> tuple[float, float]:
    """Returns the ends of the vertical axis: of all values, or where poles would hide the rest, of most of them."""
    finite = y[np.isfinite(y)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.quantile(finite, [0.05, 0.95])
    if np.ptp(finite) <= 20 * (high - low) or high == low:
        low, high = finite.min(), finite.max()
    shown = [low, high, *fun[np.isfinite(fun)]]
    margin = 0.07 * (max(shown) - min(shown)) or max(1e-3, 0.5 * abs(high))
    return float(min(shown) - margin), float(max(shown) + margin)


def _finite_ends(lower: float, upper: float, x: np.ndarray) -> tuple[float, float]:
    """Returns finite ends of a picture; an infinite side ends a little beyond the outermost of the points."""
    inner = x[np.isfinite(x)]
    low, high = (float(inner.min()), float(inner.max())) if inner.size else (0.0, 0.0)
    low = min(low, upper) if math.isfinite(upper) else low
    high = max(high, lower) if math.isfinite(lower) else high
    margin = 0.5 * (high - low) or 5.0
    return (lower if math.isfinite(lower) else low - margin), (upper if math.isfinite(upper) else high + margin)
