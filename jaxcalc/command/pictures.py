"""The picture of an expression: its curve with the critical points marked by kind."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxcalc.calculus.critical_points import CriticalPoints
from jaxcalc.plots import COLOURS, blank_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = {"minimum": "v", "maximum": "^", "inflection": "s", "degenerate": "x"}


def curve_with_points(
    f: Callable, lower: float, upper: float, points: CriticalPoints, title: str, name: str = "x"
) -> "Figure":
    """Draws a curve and its critical points; an infinite side ends a little beyond the last point.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    left, right = _range(lower, upper, points.x)
    x = np.linspace(left, right, 800)
    figure = blank_figure(7.5, 4.8)
    axes = figure.add_subplot(title=title, xlabel=name, ylabel=f"f({name})", xlim=(left, right))
    y = np.asarray(jax.vmap(f)(jnp.asarray(x)), float)
    axes.plot(x, np.where(np.isfinite(y), y, np.nan), color="#555555", linewidth=1.8)
    for k, kind in enumerate(sorted(set(points.kind))):
        chosen = np.array([each == kind for each in points.kind])
        marker = MARKERS[kind.removeprefix("endpoint ")]
        axes.scatter(points.x[chosen], points.fun[chosen], marker=marker, color=COLOURS[k], s=60, label=kind, zorder=3)
    if points.kind:
        axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _range(lower: float, upper: float, x: np.ndarray) -> tuple[float, float]:
    """Returns finite ends of a picture."""
    inner = x[np.isfinite(x)]
    low, high = (float(inner.min()), float(inner.max())) if inner.size else (0.0, 0.0)
    low = min(low, upper) if math.isfinite(upper) else low
    high = max(high, lower) if math.isfinite(lower) else high
    margin = 0.5 * (high - low) or 5.0
    return (lower if math.isfinite(lower) else low - margin), (upper if math.isfinite(upper) else high + margin)
