"""The picture of an expression: its curve with the critical points marked by kind."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxcalc.plots import COLOURS, blank_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = {"minimum": "v", "maximum": "^", "inflection": "s", "degenerate": "x"}


def curve_with_points(
    f: Callable, ends: tuple[float, float], x: np.ndarray, fun: np.ndarray, kind: Sequence[str], title: str, name: str
) -> "Figure":
    """Draws a curve and its critical points; an infinite side ends a little beyond the last point.

    Args:
        f: The function of one number.
        ends: The ends of the interval, may be infinite.
        x: The critical points, (k,).
        fun: Their values, (k,).
        kind: Their kinds, k words of `CriticalPoints.kind`.
        title: The title.
        name: The name of the variable.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    left, right = _range(*ends, x)
    along = np.linspace(left, right, 800)
    figure = blank_figure(7.5, 4.8)
    axes = figure.add_subplot(title=title, xlabel=name, ylabel=f"f({name})", xlim=(left, right))
    y = np.asarray(jax.vmap(f)(jnp.asarray(along)), float)
    bottom, top = _visible(y, fun)
    axes.plot(along, _without_leaps(y, bottom, top), color="#555555", linewidth=1.8)
    for k, one in enumerate(sorted(set(kind))):
        chosen = np.array([each == one for each in kind])
        marker = MARKERS[one.removeprefix("endpoint ")]
        axes.scatter(x[chosen], fun[chosen], marker=marker, color=COLOURS[k], s=60, label=one, zorder=3, clip_on=False)
    axes.set_ylim(bottom, top)
    if kind:
        axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _without_leaps(y: np.ndarray, bottom: float | None, top: float | None) -> np.ndarray:
    """Returns the values with nan where a line would cross the whole picture, as at a pole."""
    y = np.where(np.isfinite(y), y, np.nan)
    if bottom is not None and top is not None:
        above, below = y > top, y < bottom
        y[1:][(above[:-1] & below[1:]) | (below[:-1] & above[1:])] = np.nan
    return y


def _visible(y: np.ndarray, fun: np.ndarray) -> tuple[float | None, float | None]:
    """Returns the ends of the vertical axis where poles would hide the rest of the curve, else None."""
    finite = y[np.isfinite(y)]
    if not finite.size:
        return None, None
    low, high = np.quantile(finite, [0.05, 0.95])
    if np.ptp(finite) <= 20 * (high - low) or high == low:
        return None, None
    shown = [low, high, *fun[np.isfinite(fun)]]
    margin = 0.1 * (max(shown) - min(shown))
    return float(min(shown) - margin), float(max(shown) + margin)


def _range(lower: float, upper: float, x: np.ndarray) -> tuple[float, float]:
    """Returns finite ends of a picture."""
    inner = x[np.isfinite(x)]
    low, high = (float(inner.min()), float(inner.max())) if inner.size else (0.0, 0.0)
    low = min(low, upper) if math.isfinite(upper) else low
    high = max(high, lower) if math.isfinite(lower) else high
    margin = 0.5 * (high - low) or 5.0
    return (lower if math.isfinite(lower) else low - margin), (upper if math.isfinite(upper) else high + margin)
