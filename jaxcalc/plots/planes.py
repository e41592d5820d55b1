"""Functions of two variables: their contours, their gradients and the basins of their minima."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcalc.calculus.derivatives import gradient
from jaxcalc.core.arguments import called_as, numpy_floats, require_functions
from jaxcalc.plots.canvas import (
    COLOURS,
    ELSEWHERE,
    MAP_COLOURS,
    axes_for,
    figure_of,
    legend_below,
    plain,
    rectangle,
    values_at,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = 121


@called_as("plots.gradient_field(fun, lower, upper)")
def gradient_field(
    fun: Callable,
    lower: tuple[float, float],
    upper: tuple[float, float],
    *,
    arrows: int = 17,
    downhill: bool = False,
    title: str = "Gradient field",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the gradient of a function of two variables as arrows over the contours of the function.

    An arrow has the direction of the gradient, which is that of the steepest ascent, and a length proportional to
    |g| / (|g| + m), with m the median of all |g|: zero where the gradient is zero, and bounded where it is large.

    Args:
        fun: R^2 -> R, JAX-traceable; it is given arrays of shape (2,).
        lower: The smallest values of the two variables.
        upper: The largest values of the two variables.
        arrows: The number of arrows along each side.
        downhill: Whether arrows show the negative gradient, the direction of a step of gradient descent.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If lower and upper do not hold two numbers each, or lower is not less than upper.

    Example:
        >>> import jaxcalc as jc
        >>> jc.plots.gradient_field(lambda x: x[0] ** 2 - x[1] ** 2, (-1, -1), (1, 1)).get_title()
        'Gradient field'
    """
    require_functions([fun], several=False)
    sides = rectangle(lower, upper)
    axes = axes_for(ax, 6.6, 5.6)
    contours(axes, fun, sides)
    x, y = (np.linspace(*side, arrows + 2)[1:-1] for side in sides)
    places = jnp.stack(jnp.meshgrid(x, y), axis=-1)
    slopes = np.asarray(jax.vmap(jax.vmap(gradient(fun)))(places * 1.0), float)
    size = np.linalg.norm(slopes, axis=-1, keepdims=True)
    slopes = (-1 if downhill else 1) * slopes / (size + (np.nanmedian(size) or 1.0))
    spacing = (sides[0][1] - sides[0][0]) / (arrows + 1)
    style: dict[str, Any] = {"angles": "xy", "pivot": "middle", "color": "white", "width": 0.005, "zorder": 3}
    # On axes of different units a direction in the plane of the variables is stretched as the axes are.
    axes.quiver(x, y, slopes[..., 0], slopes[..., 1], scale=0.8 / spacing, scale_units="x", **style)
    axes.set(title=title)
    return axes


def contours(axes: "Axes", fun: Callable, sides: Sequence[tuple[float, float]]) -> None:
    """Draws the filled contours of a function of two variables in a rectangle, and the bar of their values.

    The levels are quantiles of the values, so that flat valleys are divided as finely as steep walls.
    """
    from matplotlib.colors import BoundaryNorm

    x, y = (np.linspace(*side, GRID) for side in sides)
    values = np.ma.masked_invalid(values_at(fun, jnp.stack(jnp.meshgrid(x, y), axis=-1) * 1.0, axes=2))
    known = values.compressed()
    # What is only the rounding error of a zero is written as 0.
    levels = np.quantile(known, np.linspace(0, 1, 17)) if known.size else np.zeros(0)
    levels = np.unique(np.where(abs(levels) < 1e-9 * np.ptp(known), 0.0, levels)) if known.size else levels
    if levels.size > 1:
        norm = BoundaryNorm(levels, 256)
        drawn = axes.contourf(x, y, values, levels=levels, norm=norm, cmap=MAP_COLOURS)
        axes.contour(x, y, values, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
        figure_of(axes).colorbar(drawn, ax=axes, label="$f(x)$", format="%.3g", ticks=levels[::2])
    axes.set(xlim=sides[0], ylim=sides[1], xlabel="$x_0$", ylabel="$x_1$")


@called_as("plots.landscape(along, loss), what loss_landscape returns as its along and loss", 0)
def landscape(
    along: ArrayLike, loss: ArrayLike, *, title: str = "The loss around the solution", ax: "Axes | None" = None
) -> "Axes":
    """Draws a cost along a line as a curve, or on a square as contours, as `loss_landscape` returns it.

    The levels of the contours are spaced by equal factors if all costs are positive, otherwise by equal differences.

    Args:
        along: The steps along each direction, (points,).
        loss: The cost on a line, (points,), or on a square, (points, points).
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If along and loss do not fit together.

    Example:
        >>> import jaxcalc as jc
        >>> import numpy as np
        >>> steps = np.linspace(-1, 1, 11)
        >>> jc.plots.landscape(steps, steps[:, None] ** 2 + steps**2).get_ylabel()
        'along another'
    """
    along, loss = numpy_floats(along, "along"), numpy_floats(loss, "loss")
    if along.ndim != 1 or loss.shape not in {along.shape, 2 * along.shape}:
        raise ValueError(
            "along must be the steps, (points,), and loss the costs at them, (points,) or (points, points); "
            f"they have the shapes {along.shape} and {loss.shape}."
        )
    axes = axes_for(ax, 7.0, 4.8 if loss.ndim == 1 else 5.9)
    axes.set(xlabel="along a random direction", title=title)
    plain(axes)
    if loss.ndim == 1:
        axes.plot(along, loss, color=COLOURS[0], linewidth=1.8)
        axes.axvline(0, color=ELSEWHERE, linewidth=0.6)
        axes.set(ylabel="loss")
        return axes
    finite = loss[np.isfinite(loss)]
    if finite.size and finite.min() < finite.max():
        from matplotlib.colors import LogNorm, Normalize

        space, norm = (np.geomspace, LogNorm()) if finite.min() > 0 else (np.linspace, Normalize())
        levels = space(finite.min(), finite.max(), 24)
        drawn = axes.contourf(along, along, loss, levels=levels, norm=norm, cmap=MAP_COLOURS)
        axes.contour(along, along, loss, levels=levels, colors="white", linewidths=0.4)
        figure_of(axes).colorbar(drawn, ax=axes, label="loss", format="%.2g")
    axes.plot(0, 0, "+", color="white", markersize=10, markeredgewidth=1.5)
    axes.set(ylabel="along another", aspect="equal")
    return axes


@called_as("plots.basins(labels, lower, upper, minima)", 0)
def basins(
    labels: ArrayLike,
    lower: tuple[float, float],
    upper: tuple[float, float],
    minima: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    title: str = "Basins of attraction",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws a grid of starts in the plane, each coloured by the minimum that is reached from it.

    Args:
        labels: The row of `minima` reached from each start, or -1 for a start that reaches none of them, shape (rows,
            columns). Rows go along the second variable from lower[1] to upper[1], columns along the first from lower[0]
            to upper[0].
        lower: The smallest values of the two variables in the grid.
        upper: The largest values of the two variables in the grid.
        minima: The minima, shape (m, 2). Each is marked; the legend says how many starts reach it.
        names: A name for each minimum; by default its coordinates.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If labels is not two-dimensional, or holds a number other than -1 and the rows of minima.

    Example:
        >>> import jaxcalc as jc
        >>> import numpy as np
        >>> x = np.linspace(-2, 2, 64)
        >>> sides = np.tile(x > 0, (64, 1)).astype(int)  # of (x^2 - 1)^2 + y^2
        >>> ax = jc.plots.basins(sides, (-2, -2), (2, 2), [[-1, 0], [1, 0]])
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['(-1.000, 0.000) from 2,048', '(1.000, 0.000) from 2,048']
    """
    labels, minima = np.asarray(labels), np.atleast_2d(numpy_floats(minima, "minima"))
    if labels.ndim != 2 or labels.size == 0 or labels.min() < -1 or labels.max() >= len(minima):
        raise ValueError(
            f"labels must be a table of the rows of minima, -1 to {len(minima) - 1}; it has shape {labels.shape}"
            + (f" and runs from {labels.min()} to {labels.max()}." if labels.size else ".")
        )
    across, along = rectangle(lower, upper)
    # The height leaves room for title and legend around a picture 5.6 inches wide.
    axes = axes_for(ax, 7.0, float(np.clip(5.6 * (along[1] - along[0]) / (across[1] - across[0]), 1.5, 8.0)) + 2.0)
    axes.set(title=title, xlabel="$x_0$ of the start", ylabel="$x_1$ of the start", aspect="equal")
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(minima))]
    # A start is the centre of its pixel, so the outermost pixels reach half a pixel beyond the grid.
    half = (np.array(upper) - lower) / np.maximum(2 * (np.array(labels.shape[::-1]) - 1), 1)
    left, bottom, right, top = *(np.array(lower) - half), *(np.array(upper) + half)
    axes.imshow(_as_image(labels, colours), origin="lower", extent=(left, right, bottom, top), interpolation="nearest")
    # A white star behind each marker: a marker has the colour of the basin around it.
    axes.scatter(*minima.T, marker="*", s=420, color="white", zorder=2)
    axes.scatter(*minima.T, marker="*", s=230, color=colours, edgecolor="black", linewidth=0.8, zorder=3)
    axes.set(xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]))
    _list_minima(axes, labels, names or [f"({a:.3f}, {b:.3f})" for a, b in minima + 0.0], colours)
    return axes


def _as_image(labels: np.ndarray, colours: list[str]) -> np.ndarray:
    """Returns the labels as red, green and blue, (rows, columns, 3); the label -1 has the colour ELSEWHERE."""
    from matplotlib.colors import to_rgb

    return np.array([to_rgb(colour) for colour in [*colours, ELSEWHERE]])[labels]


def _list_minima(axes: "Axes", labels: np.ndarray, names: Sequence[str], colours: list[str]) -> None:
    """Adds the legend: the name of each minimum and the number of starts that reach it, and of all other starts."""
    from matplotlib.patches import Patch

    entries = list(zip([*names, "elsewhere"], [*colours, ELSEWHERE], [*range(len(names)), -1], strict=True))
    patches = [
        Patch(facecolor=colour, label=f"{name} from {np.sum(labels == label):,}")
        for name, colour, label in entries
        if label >= 0 or np.any(labels == label)
    ]
    legend_below(axes, 2, handles=patches, title="the minimum reached, and from how many starts")
