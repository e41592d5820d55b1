"""Figures of trainings: loss curves, losses against learning rates, range tests and loss landscapes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcalc.network.runs import Runs
from jaxcalc.plots import COLOURS, ELSEWHERE, blank_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Ten colours that are distinguishable on white. Neighbours also differ in line style: two equal curves both show.
OPTIMIZER_COLOURS = (*COLOURS[:6], "#6A3D9A", COLOURS[7], "#8C564B", "#222222")
STYLES = ("-", (0, (5, 3)))


def comparison(runs: Mapping[str, Runs], judged_by: str) -> "Figure":
    """Draws the loss of each optimiser against the epoch, at its chosen rate, and its final loss against the rate.

    Lines are medians over the seeds; bands reach from the lower to the upper quartile.

    Args:
        runs: The runs of each optimiser, by its name.
        judged_by: "validation" or "training", the data of the losses.
    """
    figure = blank_figure(13.0, 5.6)
    along, against = figure.subplots(1, 2)
    for k, (name, own) in enumerate(runs.items()):
        style: dict[str, Any] = {
            "color": OPTIMIZER_COLOURS[k % len(OPTIMIZER_COLOURS)],
            "linestyle": STYLES[(k + k // len(OPTIMIZER_COLOURS)) % 2],
        }
        curve = own.judged[own.chosen]
        epochs = np.arange(curve.shape[-1])
        lower, middle, upper = _quartiles(curve)
        along.fill_between(epochs, lower, upper, color=style["color"], alpha=0.15, linewidth=0)
        along.plot(epochs, middle, label=name, **style)
        finals = np.where(own.diverged, np.nan, own.final)
        lower, middle, upper = _quartiles(finals.T)
        if len(own.learning_rates) > 1:
            # Where half of the seeds or more have diverged, the median over all seeds is infinite: nothing is drawn.
            middle = np.where(own.diverged.mean(axis=1) < 0.5, middle, np.nan)
            against.fill_between(own.learning_rates, lower, upper, color=style["color"], alpha=0.12, linewidth=0)
            against.plot(own.learning_rates, middle, marker="o", markersize=3.5, **style)
        else:
            against.axhline(float(middle[0]), **style)
        rate = own.learning_rates[own.chosen]
        against.plot(rate, middle[own.chosen], marker="*", markersize=13, color=style["color"], markeredgecolor="white")
    scale = "linear" if any((own.judged[own.chosen] <= 0).any() for own in runs.values()) else "log"
    along.set(xlabel="epoch", ylabel=f"{judged_by} loss", yscale=scale, title="At the chosen learning rate")
    against.set(xlabel="learning rate", ylabel=f"{judged_by} loss after the last epoch", xscale="log", yscale=scale)
    against.set(title="Against the learning rate (star: chosen)")
    for axes in (along, against):
        _plain(axes)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def _quartiles(values: np.ndarray) -> np.ndarray:
    """Returns the lower quartile, median and upper quartile of the finite values in each column, (3, columns).

    A column without finite values has the quartiles NaN.
    """
    masked = np.ma.masked_invalid(values)
    filled = [
        np.quantile(column.compressed(), [0.25, 0.5, 0.75]) if column.count() else [np.nan] * 3 for column in masked.T
    ]
    return np.array(filled).T


def _plain(axes: Any) -> None:
    """Gives axes a faint grid, and no frame above and on the right."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def range_test(rates: np.ndarray, loss: np.ndarray, smooth: np.ndarray, suggestion: float) -> "Figure":
    """Draws the result of a learning-rate range test: costs against the rate, and the rate that is suggested.

    Args:
        rates: The learning rate of each step, (steps,).
        loss: The cost of each run before each step, (S, steps).
        smooth: The smoothed median of the runs, (steps,).
        suggestion: The suggested learning rate.
    """
    figure = blank_figure(7.5, 4.8)
    axes = figure.add_subplot(xlabel="learning rate", ylabel="loss of the batch", title="Learning-rate range test")
    axes.plot(rates, loss.T, color=COLOURS[4], linewidth=0.7, alpha=0.6)
    axes.plot(rates, smooth, color=COLOURS[0], linewidth=1.8, label="median, smoothed")
    axes.axvline(suggestion, color=COLOURS[5], linestyle="--", label=f"suggestion {suggestion:.2g}")
    finite = smooth[np.isfinite(smooth)]
    # The axis covers three times the fall from the first to the lowest cost: if it covered the costs of diverging
    # runs, the fall would look like a flat line.
    bottom, top = finite.min(), min(finite.max(), 3 * finite[0] - 2 * finite.min())
    margin = 0.15 * (top - bottom) or 1.0
    axes.set(xscale="log", ylim=(bottom - margin, top + margin))
    axes.legend(frameon=False)
    _plain(axes)
    return figure


def landscape(along: np.ndarray, loss: np.ndarray) -> "Figure":
    """Draws the cost along a line as a curve, or on a square as contours.

    The levels of the contours are spaced by equal factors if all costs are positive, otherwise by equal differences.

    Args:
        along: The steps along each direction, (points,).
        loss: The cost on a line, (points,), or on a square, (points, points).
    """
    figure = blank_figure(7.0, 4.8 if loss.ndim == 1 else 5.9)
    axes = figure.add_subplot(xlabel="along a random direction", title="The loss around the solution")
    _plain(axes)
    if loss.ndim == 1:
        axes.plot(along, loss, color=COLOURS[0], linewidth=1.8)
        axes.axvline(0, color=ELSEWHERE, linewidth=0.6)
        axes.set(ylabel="loss")
        return figure
    finite = loss[np.isfinite(loss)]
    if finite.size and finite.min() < finite.max():
        from matplotlib.colors import LogNorm, Normalize

        space, norm = (np.geomspace, LogNorm()) if finite.min() > 0 else (np.linspace, Normalize())
        levels = space(finite.min(), finite.max(), 24)
        drawn = axes.contourf(along, along, loss, levels=levels, norm=norm, cmap="viridis")
        axes.contour(along, along, loss, levels=levels, colors="white", linewidths=0.4)
        figure.colorbar(drawn, ax=axes, label="loss", format="%.2g")
    axes.plot(0, 0, "+", color="white", markersize=10, markeredgewidth=1.5)
    axes.set(ylabel="along another", aspect="equal")
    return figure
