"""What all pictures share: their colours, the Axes that they are drawn on, and the layout of these."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcalc.calculus.checks import FIXED
from jaxcalc.core.arguments import function_name, numpy_floats, require_one_number
from jaxcalc.core.tracing import explained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito (2008), which readers with any colour vision can distinguish.
ELSEWHERE = "#222222"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
CURVE = "#555555"
# Ten colours that are distinguishable on white. Neighbours also differ in line style: two equal curves both show.
LINE_COLOURS = (*COLOURS[:6], "#6A3D9A", COLOURS[7], "#8C564B", ELSEWHERE)
LINE_STYLES = ("-", (0, (5, 3)))
MAP_COLOURS, STEP_COLOURS = "viridis", "plasma_r"


def blank_figure(width: float, height: float) -> "Figure":
    """Returns an empty figure of this size in inches; raises an ImportError that names the extra to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "jaxcalc[plots]"') from error
    return Figure(figsize=(width, height), dpi=160, layout="constrained")


def axes_for(ax: "Axes | None", width: float = 7.5, height: float = 4.8) -> "Axes":
    """Returns the caller's Axes, or without any the only Axes of a new figure of this size in inches."""
    if ax is None:
        return blank_figure(width, height).add_subplot()
    if not hasattr(ax, "plot"):
        raise TypeError(f"ax must be one matplotlib Axes, such as plt.gca(); it is of type {type(ax).__name__}.")
    return ax


def figure_of(ax: "Axes") -> "Figure":
    """Returns the figure that holds the Axes."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def plain(ax: "Axes") -> None:
    """Gives axes a faint grid, and no frame above and on the right."""
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def line_style(k: int) -> dict[str, Any]:
    """Returns the colour and the line style of the k-th of several lines."""
    return {
        "color": LINE_COLOURS[k % len(LINE_COLOURS)],
        "linestyle": LINE_STYLES[(k + k // len(LINE_COLOURS)) % 2],
    }


def with_unit(name: str, unit: str | None) -> str:
    """Returns the label of a quantity, with its unit in brackets if it has one."""
    return f"{name} [{unit}]" if unit else name


def whole_numbers() -> Any:
    """Returns a locator that places ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def legend_below(ax: "Axes", columns: int, **options: Any) -> None:
    """Places the legend under the label of the horizontal axis, where it hides nothing.

    The distance is in points: matplotlib's layout does not settle where one depends on the height of the Axes.
    """
    from matplotlib.transforms import ScaledTranslation

    under = ax.transAxes + ScaledTranslation(0, -34 / 72, figure_of(ax).dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": under}
    ax.legend(ncols=columns, frameon=False, **place, **options)


def require_mapping(name: str, value: Any) -> None:
    """Raises a TypeError unless this is a dict, or another mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict with a name for each entry; it is a {type(value).__name__}.")


def by_name(name: str, arrays: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Returns arrays of real numbers by their names, in NumPy."""
    require_mapping(name, arrays)
    return {key: numpy_floats(own, f"{name}[{key!r}]") for key, own in arrays.items()}


def ends(name: str, value: Any) -> tuple[float, float]:
    """Returns a pair of numbers; raises an error that names what is none."""
    pair = numpy_floats(value, name)
    if pair.shape != (2,):
        raise ValueError(f"{name} must be two numbers, (lower, upper); it has shape {pair.shape}.")
    return float(pair[0]), float(pair[1])


def values_at(f: Callable, points: ArrayLike, axes: int = 1) -> np.ndarray:
    """Returns the values of the caller's function at many points, which stand along the first `axes` axes."""
    traced = explained(f, FIXED)

    def value(x: Any) -> Any:
        y = traced(x)
        y = jnp.asarray(y) if isinstance(y, float | int) else y
        require_one_number(function_name(f), y, " A picture shows one number at each point.", jnp.number)
        return y

    for _ in range(axes):
        value = jax.vmap(value)
    return np.asarray(value(jnp.asarray(points)), float)


def interval(lower: float, upper: float) -> tuple[float, float]:
    """Returns the ends of an interval as floats; a ValueError if they are not finite and ascending."""
    lower, upper = float(numpy_floats(lower, "lower")), float(numpy_floats(upper, "upper"))
    if not (np.isfinite(lower) and np.isfinite(upper) and lower < upper):
        raise ValueError(
            f"lower and upper must be finite numbers with lower < upper; they are {lower:g} and {upper:g}."
        )
    return lower, upper


def rectangle(lower: Sequence[float], upper: Sequence[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns the ends of both variables of a rectangle; a ValueError if there are not two of each."""
    if np.shape(lower) != (2,) or np.shape(upper) != (2,):
        raise ValueError(
            "lower and upper must hold two numbers each, the smallest and the largest values of the two variables; "
            f"they have the shapes {np.shape(lower)} and {np.shape(upper)}."
        )
    return interval(lower[0], upper[0]), interval(lower[1], upper[1])
