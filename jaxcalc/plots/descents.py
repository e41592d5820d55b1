"""The path of a descent, on the curve of a function or on its contours."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcalc.core.arguments import called_as, numpy_floats, require_functions
from jaxcalc.plots.canvas import (
    COLOURS,
    CURVE,
    STEP_COLOURS,
    axes_for,
    figure_of,
    plain,
    rectangle,
    values_at,
    whole_numbers,
)
from jaxcalc.plots.planes import contours

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@called_as("plots.descent(fun, x)")
def descent(
    fun: Callable,
    x: ArrayLike,
    *,
    interval: tuple[float, float] | None = None,
    minima: ArrayLike | None = None,
    title: str = "Gradient descent",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the curve of a function of one variable and the points of a descent on it.

    The points (x_k, fun(x_k)) are joined in the order of k, and k is their colour. Points outside the interval, to
    which a diverging descent leads, are not shown; the line to the first of them leaves the picture.

    Args:
        fun: A JAX-traceable function of one number that returns one number.
        x: The points of the path, shape (steps + 1,), for example `gradient_descent(...).x`.
        interval: The ends of the curve; by default the range of the path, extended by half its length to either side.
        minima: Points to mark on the curve as minima, shape (m,); by default none.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If x is not an array of shape (steps + 1,).

    Example:
        >>> import jaxcalc as jc
        >>> parabola = lambda x: x**2
        >>> path = jc.gradient_descent(parabola, 1.0, learning_rate=0.1, steps=20)
        >>> jc.plots.descent(parabola, path.x).get_title()
        'Gradient descent'
    """
    require_functions([fun], several=False)
    x = jnp.asarray(numpy_floats(x, "x"))
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"x must be the points of one path in one variable, shape (steps + 1,); it has {x.shape}.")
    values = functools.partial(values_at, fun)
    margin = 0.5 * float(jnp.ptp(x)) or 1.0
    lower, upper = interval or (float(x.min()) - margin, float(x.max()) + margin)
    curve = jnp.linspace(lower, upper, 500)
    heights = values(curve)
    heights = heights[np.isfinite(heights)]
    space = 0.06 * np.ptp(heights) or 1.0

    axes = axes_for(ax)
    axes.set(title=title, xlabel="x", ylabel="f(x)", xlim=(lower, upper))
    axes.set_ylim(heights.min() - space, heights.max() + space)
    axes.plot(curve, values(curve), color=CURVE, linewidth=1.8, zorder=1)
    axes.plot(x, values(x), color=COLOURS[5], linewidth=0.9, alpha=0.7, zorder=2)
    _steps(axes, np.asarray(x), values(x))
    if minima is not None:
        minima = np.atleast_1d(numpy_floats(minima, "minima"))
        style = {"s": 190, "facecolor": "none", "edgecolor": COLOURS[0], "linewidth": 1.6, "zorder": 4}
        axes.scatter(minima, values(minima), label="minimum", **style)
        axes.legend(frameon=False, loc="upper center")
    plain(axes)
    return axes


@called_as("plots.descent_on_contours(fun, x)")
def descent_on_contours(
    fun: Callable,
    x: ArrayLike,
    *,
    lower: tuple[float, float] | None = None,
    upper: tuple[float, float] | None = None,
    minima: ArrayLike | None = None,
    title: str = "Gradient descent",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the path of a descent in two variables on the contours of the function; the step is the colour of a point.

    Args:
        fun: R^2 -> R, JAX-traceable; it is given arrays of shape (2,).
        x: The points of the path, shape (steps + 1, 2), for example `gradient_descent(...).x`.
        lower: The smallest values of the two variables; by default those of the path less a fifth of its extent.
        upper: The largest values of the two variables; by default those of the path and a fifth of its extent.
        minima: Points to mark as minima, shape (m, 2); by default none.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If x is not an array of shape (steps + 1, 2).

    Example:
        >>> import jaxcalc as jc
        >>> bowl = lambda x: x[0] ** 2 + 4 * x[1] ** 2
        >>> path = jc.gradient_descent(bowl, [1.0, 1.0], learning_rate=0.1, steps=20)
        >>> jc.plots.descent_on_contours(bowl, path.x, minima=[[0, 0]]).get_xlabel()
        '$x_0$'
    """
    require_functions([fun], several=False)
    x = numpy_floats(x, "x")
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ValueError(f"x must be the points of one path in two variables, shape (steps + 1, 2); it has {x.shape}.")
    shown = x[np.isfinite(x).all(axis=1)]
    extent = np.ptp(shown, axis=0)
    margin = 0.2 * np.maximum(extent, 0.25 * extent.max() or 1.0)
    sides = rectangle(
        shown.min(0) - margin if lower is None else lower, shown.max(0) + margin if upper is None else upper
    )
    axes = axes_for(ax, 6.8, 5.4)
    contours(axes, fun, sides)
    axes.plot(*x.T, color="white", linewidth=1.2, zorder=2)
    _steps(axes, *x.T, edge="white")
    if minima is not None:
        style = {"marker": "*", "s": 220, "color": "white", "edgecolor": "black", "linewidth": 0.8, "zorder": 4}
        axes.scatter(*np.atleast_2d(numpy_floats(minima, "minima")).T, label="minimum", **style)
        axes.legend(loc="upper left", framealpha=0.9)
    axes.set_title(title)
    return axes


def _steps(axes: "Axes", x: np.ndarray, y: np.ndarray, edge: str = "#444444") -> None:
    """Draws the points of a path, coloured by the step, the bar of the steps, and the word at the start."""
    style = {"cmap": STEP_COLOURS, "s": 36, "edgecolor": edge, "linewidth": 0.5, "zorder": 3}
    # The lightest sixth of the colours would not show on white.
    points = axes.scatter(x, y, c=np.arange(x.size), vmin=-0.2 * (x.size - 1), vmax=max(1, x.size - 1), **style)
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
    place = {"xytext": (-9, 6), "textcoords": "offset points", "ha": "right", "zorder": 5}
    axes.annotate("start", (float(x[0]), float(y[0])), bbox=box, **place)
    if x.size > 1:
        bar = figure_of(axes).colorbar(points, ax=axes, label="step", ticks=whole_numbers())
        bar.ax.set_ylim(0, x.size - 1)
