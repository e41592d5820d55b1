"""Functions that take arrays and return a matplotlib figure, which the caller shows or saves.

matplotlib is an optional dependency (`pip install "jaxcalc[plots]"`) and is imported when a figure is drawn. The
figures belong to no window and use no global state of matplotlib: they look the same with and without a display.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours of Okabe and Ito (2008), which readers with any colour vision can distinguish.
ELSEWHERE = "#222222"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def descent(
    fun: Callable,
    x: ArrayLike,
    *,
    interval: tuple[float, float] | None = None,
    minima: ArrayLike | None = None,
    title: str = "Gradient descent",
) -> "Figure":
    """Draws the curve of a function of one variable and the points of a descent on it.

    The points (x_k, fun(x_k)) are joined in the order of k, and k is their colour.

    Args:
        fun: A JAX-traceable function of one number that returns one number.
        x: The points of the path, shape (steps + 1,), for example `gradient_descent(...).x`.
        interval: The ends of the curve; by default the range of the path, extended by half its length to either side.
        minima: Points to mark on the curve as minima, shape (m,); by default none.
        title: The title of the figure.

    Returns:
        The figure; `figure.savefig(path)` writes it.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If x is not an array of shape (steps + 1,).

    Example:
        >>> import jaxcalc as jc
        >>> from jaxcalc import plots
        >>> parabola = lambda x: x**2
        >>> path = jc.gradient_descent(parabola, 1.0, learning_rate=0.1, steps=20)
        >>> plots.descent(parabola, path.x).axes[0].get_title()
        'Gradient descent'
    """
    x = jnp.asarray(x, float)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"x must be the points of one path in one variable, shape (steps + 1,); it has {x.shape}.")
    values = jax.vmap(fun)
    margin = 0.5 * float(jnp.ptp(x)) or 1.0
    lower, upper = interval or (float(x.min()) - margin, float(x.max()) + margin)
    curve = jnp.linspace(lower, upper, 500)

    figure = blank_figure(7.5, 4.8)
    axes = figure.add_subplot(title=title, xlabel="x", ylabel="f(x)", xlim=(lower, upper))
    axes.plot(curve, values(curve), color="#555555", linewidth=1.8, zorder=1)
    axes.plot(x, values(x), color=COLOURS[5], linewidth=0.8, alpha=0.6, zorder=2)
    points = axes.scatter(x, values(x), c=np.arange(x.size), cmap="plasma_r", s=34, edgecolor="white", lw=0.5, zorder=3)
    axes.annotate("start", (float(x[0]), float(values(x)[0])), xytext=(-9, 3), textcoords="offset points", ha="right")
    if minima is not None:
        minima = jnp.asarray(minima, float)
        style = {"s": 190, "facecolor": "none", "edgecolor": COLOURS[0], "linewidth": 1.6, "zorder": 4}
        axes.scatter(minima, values(minima), label="minimum", **style)
        axes.legend(frameon=False, loc="upper center")
    if x.size > 1:
        figure.colorbar(points, ax=axes, label="step", ticks=_whole_numbers())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def basins(
    labels: ArrayLike,
    lower: tuple[float, float],
    upper: tuple[float, float],
    minima: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    title: str = "Basins of attraction",
) -> "Figure":
    """Draws a grid of starts in the plane, each coloured by the minimum that is reached from it.

    Args:
        labels: The row of `minima` reached from each start, or -1 for a start that reaches none of them, shape (rows,
            columns). Rows go along the second variable from lower[1] to upper[1], columns along the first from lower[0]
            to upper[0].
        lower: The smallest values of the two variables in the grid.
        upper: The largest values of the two variables in the grid.
        minima: The minima, shape (m, 2). Each is marked; the legend says how many starts reach it.
        names: A name for each minimum; by default its coordinates.
        title: The title of the figure.

    Returns:
        The figure; `figure.savefig(path)` writes it.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If labels is not two-dimensional, or holds a number other than -1 and the rows of minima.

    Example:
        >>> import numpy as np
        >>> from jaxcalc import plots
        >>> x = np.linspace(-2, 2, 64)
        >>> sides = np.tile(x > 0, (64, 1)).astype(int)  # of (x^2 - 1)^2 + y^2
        >>> figure = plots.basins(sides, (-2, -2), (2, 2), [[-1, 0], [1, 0]])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['(-1.000, 0.000) from 2,048', '(1.000, 0.000) from 2,048']
    """
    labels, minima = np.asarray(labels), np.atleast_2d(np.asarray(minima, float))
    if labels.ndim != 2 or labels.size == 0 or labels.min() < -1 or labels.max() >= len(minima):
        raise ValueError(
            f"labels must be a table of the rows of minima, -1 to {len(minima) - 1}; it has shape {labels.shape}"
            + (f" and runs from {labels.min()} to {labels.max()}." if labels.size else ".")
        )
    figure = blank_figure(7.0, 8.2)
    axes = figure.add_subplot(title=title, xlabel="$x_0$ of the start", ylabel="$x_1$ of the start", aspect="equal")
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(minima))]
    # A start is the centre of its pixel, so the outermost pixels reach half a pixel beyond the grid.
    half = (np.array(upper) - lower) / np.maximum(2 * (np.array(labels.shape[::-1]) - 1), 1)
    left, bottom, right, top = *(np.array(lower) - half), *(np.array(upper) + half)
    axes.imshow(_as_image(labels, colours), origin="lower", extent=(left, right, bottom, top), interpolation="nearest")
    # A white star behind each marker: a marker has the colour of the basin around it.
    axes.scatter(*minima.T, marker="*", s=420, color="white", zorder=2)
    axes.scatter(*minima.T, marker="*", s=230, color=colours, edgecolor="black", linewidth=0.8, zorder=3)
    axes.set(xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]))
    names = names or [f"({a:.3f}, {b:.3f})" for a, b in minima + 0.0]
    _legend(figure, labels, names, colours)
    return figure


def blank_figure(width: float, height: float) -> Any:
    """Returns an empty figure of this size in inches; raises an ImportError that names the extra to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "jaxcalc[plots]"') from error
    return Figure(figsize=(width, height), dpi=160, layout="constrained")


def _whole_numbers() -> Any:
    """Returns a locator that places ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def _as_image(labels: np.ndarray, colours: list[str]) -> np.ndarray:
    """Returns the labels as red, green and blue, (rows, columns, 3); the label -1 has the colour ELSEWHERE."""
    from matplotlib.colors import to_rgb

    return np.array([to_rgb(colour) for colour in [*colours, ELSEWHERE]])[labels]


def _legend(figure: Any, labels: np.ndarray, names: Sequence[str], colours: list[str]) -> None:
    """Adds the legend: the name of each minimum and the number of starts that reach it, and of all other starts."""
    from matplotlib.patches import Patch

    entries = list(zip([*names, "elsewhere"], [*colours, ELSEWHERE], [*range(len(names)), -1], strict=True))
    patches = [
        Patch(facecolor=colour, label=f"{name} from {np.sum(labels == label):,}")
        for name, colour, label in entries
        if label >= 0 or np.any(labels == label)
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        title="the minimum reached, and from how many starts",
    )
