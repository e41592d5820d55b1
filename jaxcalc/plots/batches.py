"""Many problems at once: how they ended, and what they found where."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from jaxcalc.core.arguments import called_as, numpy_floats, one_of
from jaxcalc.engine.status import Status, is_success
from jaxcalc.plots.canvas import (
    COLOURS,
    MAP_COLOURS,
    axes_for,
    blank_figure,
    ends,
    figure_of,
    plain,
    whole_numbers,
    with_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNTS = {"nfev": "evaluations", "nit": "iterations"}
BINS = 40


class Ended(Protocol):
    """The result of a batch, such as `OptimizeResult`."""

    @property
    def status(self) -> Any:
        """The integer codes of `Status`, (N,)."""
        ...

    @property
    def nfev(self) -> Any:
        """Evaluations, (N,)."""
        ...

    @property
    def nit(self) -> Any:
        """Iterations, (N,)."""
        ...


@called_as("plots.convergence(result)", 0)
def convergence(
    result: Ended, *, count: str = "nfev", title: str = "Convergence of the batch", ax: "Axes | None" = None
) -> "Axes":
    """Draws how many steps the problems of a batch have taken, and the share of each status among them.

    The bars are a histogram of the steps, stacked by status; the legend gives the share of each status.

    Args:
        result: The result of a batch, such as that of `minimize_many` or `least_squares_many`, or of `curve_fit` its
            field `result`.
        count: What is counted: "nfev", the evaluations, or "nit", the iterations.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If count is neither "nfev" nor "nit", or the result has no problems.

    Example:
        >>> import jaxcalc as jc
        >>> import jax.numpy as jnp
        >>> result = jc.minimize_many(lambda x: x**4 - x, jnp.linspace(0.1, 3.0, 100))
        >>> ax = jc.plots.convergence(result)
        >>> ax.get_legend().get_texts()[0].get_text()
        'SUCCESS 100 %'
    """
    if not hasattr(result, "status"):
        raise TypeError(f"result must be what minimize_many or another solver returned, not a {type(result).__name__}.")
    status = np.atleast_1d(np.asarray(result.status))
    steps = np.atleast_1d(np.asarray(getattr(result, one_of("count", count, tuple(COUNTS)))))
    if not status.size:
        raise ValueError("result holds no problems: there is nothing to draw.")
    axes = axes_for(ax)
    codes = sorted(set(status.tolist()), key=lambda code: (-np.sum(status == code), code))
    colours = _status_colours(codes)
    labels = [f"{Status(code).name} {_share(np.mean(status == code))}" for code in codes]
    heaps = [steps[status == code] for code in codes]
    style = {"color": colours, "label": labels, "edgecolor": "white", "linewidth": 0.4}
    axes.hist(heaps, bins=_bins(steps).tolist(), stacked=True, **style)
    median = float(np.median(steps))
    axes.axvline(median, color="black", linewidth=1.4, linestyle=":", label=f"median {median:g}")
    axes.set(title=title, xlabel=f"{COUNTS[count]} of a problem", ylabel=f"problems (of {status.size:,})")
    axes.xaxis.set_major_locator(whole_numbers())
    axes.yaxis.set_major_locator(whole_numbers())
    plain(axes)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    return axes


def _bins(steps: np.ndarray) -> np.ndarray:
    """Returns edges half between whole numbers, so that every bar holds equally many whole numbers."""
    low, high = int(steps.min()), int(steps.max())
    width = max(1, -(-(high - low + 1) // BINS))
    return np.arange(low, high + width + 1, width) - 0.5


def _share(share: float) -> str:
    """Returns a share in percent, never 100 for what is less, nor 0 for what is more."""
    percent = f"{100 * share:.3g}"
    if percent == "100" and share < 1:
        return "> 99.9 %"
    return f"{percent} %" if share >= 5e-5 else "< 0.01 %"


def _status_colours(codes: Sequence[int]) -> list[str]:
    """Returns a colour for each status: those of successes are cold, those of failures warm."""
    cold = itertools.cycle((COLOURS[0], COLOURS[4], COLOURS[2]))
    warm = itertools.cycle((COLOURS[5], COLOURS[1], COLOURS[3], COLOURS[7]))
    return [next(cold) if bool(is_success(np.asarray(code))) else next(warm) for code in codes]


@called_as("plots.parameter_map(values)", 0)
def parameter_map(
    values: ArrayLike,
    *,
    name: str = "value",
    unit: str | None = None,
    failed: ArrayLike | None = None,
    limits: tuple[float, float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the values of one parameter over the pixels of an image; pixels without a value are grey.

    Args:
        values: The parameter at each pixel, shape (rows, columns); values that are not finite are grey.
        name: The name of the parameter, the title.
        unit: Its unit, for the bar of values.
        failed: Where the values do not count, such as `~success`, shape (rows, columns): these pixels are grey, too.
        limits: The values of the first and the last colour; by default the 1st and the 99th percentile, so that a few
            wild fits do not hide the rest. Values beyond have the colour of the nearer limit, and the bar has a tip.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If values is not two-dimensional, or failed has another shape.

    Example:
        >>> import jaxcalc as jc
        >>> import numpy as np
        >>> jc.plots.parameter_map(np.arange(12.0).reshape(3, 4), name="T2", unit="ms").get_title()
        'T2'
    """
    values = numpy_floats(values, "values")
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"values must be an image of shape (rows, columns); it has shape {values.shape}. "
            "Fits of all pixels in one axis become an image by popt[:, k].reshape(rows, columns)."
        )
    hidden = ~np.isfinite(values)
    if failed is not None:
        if np.shape(failed) != values.shape:
            raise ValueError(f"failed must have the shape of values, {values.shape}; it has {np.shape(failed)}.")
        hidden |= np.asarray(failed, bool)
    shown = np.ma.masked_array(values, hidden)
    known = shown.compressed()
    low, high = ends("limits", limits or (np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)))
    axes = axes_for(ax, 5.6, 4.8)
    axes.set_facecolor("#BBBBBB")
    drawn = axes.imshow(shown, cmap=MAP_COLOURS, vmin=low, vmax=high, interpolation="nearest")
    below, above = bool(known.size and known.min() < low), bool(known.size and known.max() > high)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
    # A bar in the Axes' own frame is as high as the image.
    bar = axes.inset_axes((1.03, 0.0, 0.05, 1.0))
    figure_of(axes).colorbar(drawn, cax=bar, label=with_unit(name, unit), extend=extend)
    axes.set(title=name, xlabel="column", ylabel="row")
    axes.xaxis.set_major_locator(whole_numbers())
    axes.yaxis.set_major_locator(whole_numbers())
    if hidden.any():
        axes.set_xlabel(f"column (grey: {hidden.sum():,} of {hidden.size:,} without a value)")
    return axes


@called_as("plots.parameter_maps(values)", 0)
def parameter_maps(
    values: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str | None] = (),
    failed: ArrayLike | None = None,
    ax: "Sequence[Axes] | None" = None,
) -> "np.ndarray":
    """Draws a map of each parameter, side by side; `parameter_map` draws one.

    Args:
        values: The parameters at each pixel, shape (rows, columns, n), for example
            `fit.popt.reshape(rows, columns, n)`.
        names: The names of the n parameters; by default p0, p1 and so on.
        units: The units of the n parameters; by default none.
        failed: Where the values do not count, shape (rows, columns).
        ax: The n Axes to draw on; by default those of a new figure.

    Returns:
        The n Axes, an array of shape (n,); `ax[0].figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If values is not three-dimensional, or there are not n names, units or Axes.

    Example:
        >>> import jaxcalc as jc
        >>> import numpy as np
        >>> both = jc.plots.parameter_maps(np.ones((3, 4, 2)), names=["T2", "amplitude"], units=["ms", None])
        >>> [ax.get_title() for ax in both]
        ['T2', 'amplitude']
    """
    values = numpy_floats(values, "values")
    if values.ndim != 3 or not values.size:
        raise ValueError(f"values must hold n parameters at each pixel, (rows, columns, n); it has {values.shape}.")
    count = values.shape[2]
    names = [f"p{k}" for k in range(count)] if names is None else list(names)
    units = units or [None] * count
    axes = np.ravel(blank_figure(4.6 * count, 4.2).subplots(1, count, squeeze=False) if ax is None else np.asarray(ax))
    if not len(names) == len(units) == len(axes) == count:
        raise ValueError(
            f"values hold {count} parameters, but there are {len(names)} names, {len(units)} units and "
            f"{len(axes)} Axes."
        )
    for k, one in enumerate(axes):
        parameter_map(values[..., k], name=names[k], unit=units[k], failed=failed, ax=one)
    return axes
