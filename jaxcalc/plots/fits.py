"""A fitted curve with its band, and the residuals under it."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcalc.core.arguments import called_as, numpy_floats
from jaxcalc.optimize.fitting.result import CurveFitResult
from jaxcalc.plots.canvas import COLOURS, axes_for, figure_of, plain, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES = 300


@called_as("plots.fit(fit, xdata, ydata)", 0)
def fit(
    fit: CurveFitResult,
    xdata: ArrayLike,
    ydata: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    index: int | None = None,
    level: float = 0.95,
    residuals: bool = True,
    names: tuple[str, str] = ("x", "y"),
    units: tuple[str | None, str | None] = (None, None),
    title: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws data, the curve that `curve_fit` has fitted to them, its pointwise band, and the residuals below.

    Args:
        fit: The result of `curve_fit`, of one data set or of N.
        xdata: The abscissas of the data set, shape (m,).
        ydata: Its values, shape (m,).
        sigma: Their standard deviations, a number or an array of shape (m,), drawn as bars; by default none.
        index: Which of N fits is drawn.
        level: The probability with which the band holds the true curve at each single point.
        residuals: Whether a strip with data minus curve is drawn; it takes a quarter of the place of `ax` and is the
            last of `ax.figure.axes`.
        names: The names of the two axes.
        units: Their units.
        title: The title; by default the parameters with their standard errors.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes of data and curve; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If fit is not what `curve_fit` returns.
        ValueError: If the data are not of shape (m,), or N fits are given without index.

    Example:
        >>> import jaxcalc as jc
        >>> import jax.numpy as jnp
        >>> t = jnp.linspace(0.0, 4.0, 20)
        >>> y = 3 * jnp.exp(-t) + 0.05 * jnp.cos(9 * t)
        >>> ax = jc.plots.fit(jc.curve_fit(lambda t, a, k: a * jnp.exp(-k * t), t, y, [1.0, 1.0]), t, y)
        >>> ax.get_title()
        'a = 3.019 ± 0.028, k = 1.008 ± 0.015'
    """
    one = _chosen(fit, index)
    x, y = numpy_floats(xdata, "xdata"), numpy_floats(ydata, "ydata")
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"xdata and ydata must be one data set, (m,) both; they have the shapes {x.shape} and {y.shape}. "
            "Of N data sets give one, ydata[i], and index=i."
        )
    axes = axes_for(ax, 7.0, 5.6 if residuals else 4.6)
    along = np.linspace(x.min(), x.max(), SAMPLES)
    band = one.predict(along, level)
    points: dict[str, Any] = {"fmt": "o", "color": "#333333", "markersize": 4, "elinewidth": 1.0}
    axes.errorbar(x, y, sigma, label="data", zorder=2, **points)
    words = f"{100 * level:g} % band of the curve"
    axes.fill_between(along, band.lower, band.upper, color=COLOURS[4], alpha=0.4, linewidth=0, label=words)
    axes.plot(along, band.value, color=COLOURS[0], linewidth=1.8, label="fit", zorder=3)
    labels = [with_unit(name, unit) for name, unit in zip(names, units, strict=True)]
    axes.set_title(_words(one) if title is None else title, fontsize=None if title else 10)
    axes.set_ylabel(labels[1])
    plain(axes)
    axes.legend(frameon=False)
    if not residuals:
        axes.set_xlabel(labels[0])
        return axes
    strip = _strip_below(axes)
    strip.axhline(0, color=COLOURS[0], linewidth=1.2)
    strip.errorbar(x, y - np.asarray(one.predict(x).value), sigma, **points)
    strip.set(xlabel=labels[0], ylabel=with_unit("residual", units[1]))
    plain(strip)
    axes.tick_params(labelbottom=False)
    return axes


def _strip_below(axes: "Axes") -> "Axes":
    """Returns new Axes in the lowest quarter of the place of these, which then take the rest."""
    place = axes.get_subplotspec()
    if place is None:  # Axes at a place of the caller's own
        return axes.inset_axes((0.0, -0.36, 1.0, 0.3), sharex=axes)
    rows = place.subgridspec(2, 1, height_ratios=(3, 1))
    axes.set_subplotspec(rows[0])
    return figure_of(axes).add_subplot(rows[1], sharex=axes)


def _chosen(fit: CurveFitResult, index: int | None) -> CurveFitResult:
    """Returns one fit."""
    if not isinstance(fit, CurveFitResult):
        raise TypeError(f"fit must be what curve_fit returns, a CurveFitResult; it is of type {type(fit).__name__}.")
    if not fit.is_batch:
        return fit
    count = len(fit.popt)
    if index is None or not -count <= index < count:
        raise ValueError(f"fit holds {count} fits: say by index=, 0 to {count - 1}, which one to draw; it is {index}.")
    own = {name: getattr(fit, name)[index] for name in ("popt", "pcov", "degrees")}
    return dataclasses.replace(fit, is_batch=False, **own)


def _words(fit: CurveFitResult) -> str:
    """Returns the parameters with their standard errors, each to the second digit of its error, two on a line."""
    numbers = zip(fit.names, np.asarray(fit.popt), np.asarray(fit.stderr), strict=True)
    words = [f"{name} = {_rounded(value, error)}" for name, value, error in numbers]
    return ",\n".join(", ".join(words[k : k + 2]) for k in range(0, len(words), 2))


def _rounded(value: float, error: float) -> str:
    """Returns a value with its error: both to the second digit of the error, one fewer if that is a zero."""
    if not np.isfinite(error) or error == 0:
        return f"{value:.4g}"
    digits = int(np.floor(np.log10(error))) - 1
    if not -5 < digits < 4 or abs(value) >= 1e5:
        return f"{value:.4g} ± {error:.2g}"
    error, value = (round(number, -digits) for number in (float(error), float(value)))
    places = max(0, -digits)
    return f"{value:.{places}f} ± {error:.{places}f}"
