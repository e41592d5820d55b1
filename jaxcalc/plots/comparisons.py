"""Several solvers or optimisers beside each other."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcalc.core.arguments import called_as
from jaxcalc.plots.canvas import COLOURS, axes_for, by_name, line_style, plain, require_mapping, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@called_as("plots.performance_profile(work)", 0)
def performance_profile(
    work: Mapping[str, ArrayLike],
    *,
    limit: float | None = None,
    of: str = "work",
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "Performance profile",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws for each solver the share of the problems that it solves with at most t times the least work of any.

    The curve of a solver s is rho_s(t) = |{p : work[s][p] <= t min_r work[r][p]}| / |{p}|. At t = 1 it says how often
    the solver is the best, and at the right end how much it solves at all.

    Args:
        work: The work of each solver on every problem, arrays of shape (problems,) with the problems in the same order:
            seconds, evaluations, or what is to be compared. Infinite or NaN where the solver failed.
        limit: The largest t; by default 1.1 times the largest ratio that occurs, at most 100.
        of: What the work is, for the label of the axis.
        styles: Options of matplotlib for the lines of single solvers, such as {"scipy": {"linewidth": 1}}.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture. The legend says how many problems each solver solves.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If work is empty, or the arrays are not of one shape (problems,), or not positive.

    Example:
        >>> import jaxcalc as jc
        >>> ax = jc.plots.performance_profile({"ours": [1.0, 2.0, 5.0], "theirs": [2.0, 1.0, float("inf")]})
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['ours, 3 of 3', 'theirs, 2 of 3']

    Source: E. Dolan and J. Moré, Benchmarking optimization software with performance profiles (2002).
    """
    costs = by_name("work", work)
    shapes = {cost.shape for cost in costs.values()}
    if len(shapes) != 1 or any(cost.ndim != 1 or not cost.size for cost in costs.values()):
        raise ValueError(
            f"work must hold one array of shape (problems,) for each solver; the shapes are {shapes or '{}'}."
        )
    if any((cost <= 0).any() for cost in costs.values()):
        raise ValueError("work must be positive: ratios to the least work are drawn. A failure is infinite, not zero.")
    profiles, total = profile(costs), shapes.pop()[0]
    largest = max((ratios[-1] for ratios, _ in profiles.values() if ratios), default=1.0)
    limit = max(1.1, min(100.0, 1.1 * largest)) if limit is None else limit
    axes = axes_for(ax)
    for k, (name, (ratios, shares)) in enumerate(profiles.items()):
        style = {**line_style(k), "linewidth": 1.8, **(styles or {}).get(name, {})}
        # To the right edge: what is solved at all stays solved.
        along, up = [1, *ratios, max(limit, largest)], [0, *shares, shares[-1] if shares else 0]
        axes.step(along, up, where="post", label=f"{name}, {len(ratios)} of {total}", **style)
    axes.set(xscale="log", xlim=(1, limit), ylim=(0, 1.02), title=title)
    axes.set(xlabel=f"{of}, times the least of any solver", ylabel="share of the problems solved")
    _plain_numbers(axes, limit)
    plain(axes)
    axes.legend(frameon=False, loc="lower right")
    return axes


def profile(work: Mapping[str, ArrayLike]) -> dict[str, tuple[list[float], list[float]]]:
    """Returns for each solver its ratios to the least work, in ascending order, and the shares of problems up to them.

    Args:
        work: The work of each solver on every problem, (problems,); not finite where the solver failed.
    """
    costs = by_name("work", work)
    least = np.min([np.where(np.isfinite(cost), cost, np.inf) for cost in costs.values()], axis=0)
    profiles = {}
    for name, cost in costs.items():
        solved = np.isfinite(cost)
        ratios = np.sort(cost[solved] / least[solved]).tolist()
        profiles[name] = ratios, [(k + 1) / len(cost) for k in range(len(ratios))]
    return profiles


def _plain_numbers(axes: "Axes", limit: float) -> None:
    """Writes 1, 2, 5, 10 and so on along the logarithmic axis of ratios; on a short one a linear axis reads better."""
    from matplotlib.ticker import FixedLocator, NullLocator

    if limit < 3:
        axes.set_xscale("linear")
        return
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= limit]
    decades = [10.0**k for k in range(1 + int(np.log10(limit)))]
    axes.xaxis.set_major_locator(FixedLocator(ticks if limit <= 1000 else decades))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")


@called_as("plots.loss_curves(losses)", 0)
def loss_curves(
    losses: Mapping[str, ArrayLike],
    *,
    names: tuple[str, str] = ("epoch", "loss"),
    title: str = "Losses",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the loss of each optimiser against the epoch.

    Lines are medians over the seeds; bands reach from the lower to the upper quartile. The losses are on a logarithmic
    axis if all of them are positive and they differ by a factor of 5 or more.

    Args:
        losses: The loss of each optimiser at the start and after each epoch, shape (epochs + 1,), or of S seeds
            (S, epochs + 1). Losses that are not finite are left out.
        names: What is on the two axes.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If losses is empty or an array has another number of axes.

    Example:
        >>> import jaxcalc as jc
        >>> ax = jc.plots.loss_curves({"sgd": [1.0, 0.5, 0.3], "adam": [1.0, 0.2, 0.1]})
        >>> ax.get_yscale()
        'log'
    """
    curves = by_name("losses", losses)
    if not curves or any(own.ndim not in (1, 2) or not own.size for own in curves.values()):
        shapes = {name: own.shape for name, own in curves.items()}
        raise ValueError(
            f"losses must hold an array (epochs + 1,) or (S, epochs + 1) for each optimiser; given {shapes}."
        )
    axes = axes_for(ax)
    for k, (name, own) in enumerate(curves.items()):
        lower, middle, upper = quartiles(np.atleast_2d(own))
        epochs = np.arange(own.shape[-1])
        axes.fill_between(epochs, lower, upper, color=line_style(k)["color"], alpha=0.15, linewidth=0)
        axes.plot(epochs, middle, label=name, linewidth=1.6, **line_style(k))
    axes.set(xlabel=names[0], ylabel=names[1], yscale=_scale(curves.values()), title=title)
    axes.xaxis.set_major_locator(whole_numbers())
    plain(axes)
    axes.legend(frameon=False)
    return axes


@called_as("plots.losses_by_rate(finals)", 0)
def losses_by_rate(
    finals: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    names: tuple[str, str] = ("learning rate", "final loss"),
    title: str = "Against the learning rate (star: lowest)",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the final loss of each optimiser against its learning rate, with a star at the rate of the lowest median.

    Lines are medians over the seeds; bands reach from the lower to the upper quartile of the seeds that did not
    diverge. Where half of the seeds or more have diverged, nothing is drawn.

    Args:
        finals: For each optimiser its learning rates, shape (R,), and the final losses, (R,) or (R, S) of S seeds; not
            finite where a run has diverged. A method without a rate has the one rate NaN, and is a horizontal line.
        names: What is on the two axes.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If finals is empty or rates and losses do not fit together.

    Example:
        >>> import jaxcalc as jc
        >>> rates = [0.01, 0.1, 1.0]
        >>> ax = jc.plots.losses_by_rate({"sgd": (rates, [0.5, 0.1, float("inf")])})
        >>> ax.get_xscale()
        'log'
    """
    if not finals:
        raise ValueError("finals must hold learning rates and final losses for each optimiser; it is empty.")
    require_mapping("finals", finals)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in finals.values()):
        raise ValueError("finals must hold a pair (rates, losses) for each optimiser.")
    pairs = {
        name: tuple(by_name(name, {"rates": pair[0], "losses": pair[1]}).values()) for name, pair in finals.items()
    }
    axes = axes_for(ax)
    for k, (name, (rates, losses)) in enumerate(pairs.items()):
        _by_rate(axes, k, name, rates, losses)
    scale = _scale([losses for _, losses in pairs.values()])
    axes.set(xlabel=names[0], ylabel=names[1], xscale="log", yscale=scale, title=title)
    plain(axes)
    axes.legend(frameon=False)
    return axes


def _by_rate(axes: "Axes", k: int, name: str, rates: np.ndarray, losses: np.ndarray) -> None:
    """Draws the line, the band and the star of one optimiser."""
    losses = losses[:, None] if losses.ndim == 1 else losses
    if rates.ndim != 1 or losses.ndim != 2 or len(losses) != len(rates) or not rates.size:
        raise ValueError(
            f"{name} must have rates (R,) and losses (R,) or (R, S); the shapes are {rates.shape} and {losses.shape}."
        )
    style, diverged = line_style(k), ~np.isfinite(losses)
    lower, middle, upper = quartiles(np.where(diverged, np.nan, losses).T)
    chosen = int(np.argmin(np.median(np.where(diverged, np.inf, losses), axis=1)))
    if len(rates) > 1:
        middle = np.where(diverged.mean(axis=1) < 0.5, middle, np.nan)
        axes.fill_between(rates, lower, upper, color=style["color"], alpha=0.12, linewidth=0)
        axes.plot(rates, middle, marker="o", markersize=3.5, label=name, **style)
    else:
        axes.axhline(float(middle[0]), label=name, **style)
    star = {"marker": "*", "markersize": 16, "color": style["color"], "markeredgecolor": "white", "zorder": 4}
    axes.plot(rates[chosen], middle[chosen], **star)


@called_as("plots.range_test(rates, loss, smooth, suggestion)", 0)
def range_test(
    rates: ArrayLike,
    loss: ArrayLike,
    smooth: ArrayLike,
    suggestion: float,
    *,
    title: str = "Learning-rate range test",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws a learning-rate range test: costs against the rate, and the rate that is suggested.

    The axis covers three times the fall from the first to the lowest cost: with the costs of diverging runs the fall
    would look like a flat line.

    Args:
        rates: The learning rate of each step, (steps,).
        loss: The cost of each run before each step, (S, steps).
        smooth: The smoothed median of the runs, (steps,).
        suggestion: The suggested learning rate.
        title: The title.
        ax: The Axes to draw on; by default those of a new figure.

    Returns:
        The Axes; `ax.figure.savefig(path)` writes the picture.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:
        >>> import jaxcalc as jc
        >>> import numpy as np
        >>> rates = np.geomspace(1e-3, 1, 20)
        >>> loss = 1 / (1 + 50 * rates)
        >>> jc.plots.range_test(rates, loss[None], loss, 0.3).get_xscale()
        'log'
    """
    rates, loss, smooth = by_name("range_test", {"rates": rates, "loss": loss, "smooth": smooth}).values()
    axes = axes_for(ax)
    axes.set(xlabel="learning rate", ylabel="loss of the batch", title=title)
    axes.plot(rates, loss.T, color=COLOURS[4], linewidth=0.7, alpha=0.6)
    axes.plot(rates, smooth, color=COLOURS[0], linewidth=1.8, label="median, smoothed")
    axes.axvline(suggestion, color=COLOURS[5], linestyle="--", label=f"suggestion {suggestion:.2g}")
    finite = smooth[np.isfinite(smooth)]
    bottom, top = finite.min(), min(finite.max(), 3 * finite[0] - 2 * finite.min())
    margin = 0.15 * (top - bottom) or 1.0
    axes.set(xscale="log", ylim=(bottom - margin, top + margin))
    axes.legend(frameon=False)
    plain(axes)
    return axes


def quartiles(values: np.ndarray) -> np.ndarray:
    """Returns the lower quartile, median and upper quartile of the finite values in each column, (3, columns).

    A column without finite values has the quartiles NaN.
    """
    masked = np.ma.masked_invalid(values)
    filled = [
        np.quantile(column.compressed(), [0.25, 0.5, 0.75]) if column.count() else [np.nan] * 3 for column in masked.T
    ]
    return np.array(filled).T


def _scale(losses: "Sequence[np.ndarray] | Any") -> str:
    """Returns "log" if all losses are positive and they differ by a factor of 5 or more."""
    finite = np.concatenate([own[np.isfinite(own)] for own in losses])
    return "log" if finite.size and finite.min() > 0 and finite.max() >= 5 * finite.min() else "linear"
