"""The figure of a comparison of optimisers: its loss curves beside its losses against the learning rate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxcalc.network.runs import Runs
from jaxcalc.plots.canvas import blank_figure
from jaxcalc.plots.comparisons import loss_curves, losses_by_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison(runs: Mapping[str, Runs], judged_by: str) -> "Figure":
    """Draws the loss of each optimiser against the epoch, at its chosen rate, and its final loss against the rate.

    Lines are medians over the seeds; bands reach from the lower to the upper quartile.

    Args:
        runs: The runs of each optimiser, by its name.
        judged_by: "validation" or "training", the data of the losses.
    """
    figure = blank_figure(13.0, 5.6)
    along, against = figure.subplots(1, 2)
    loss = f"{judged_by} loss"
    curves = {name: own.judged[own.chosen] for name, own in runs.items()}
    loss_curves(curves, names=("epoch", loss), title="At the chosen learning rate", ax=along)
    finals = {name: (own.learning_rates, np.where(own.diverged, np.nan, own.final)) for name, own in runs.items()}
    names = ("learning rate", f"{loss} after the last epoch")
    losses_by_rate(finals, names=names, title="Against the learning rate (star: chosen)", ax=against)
    against.set_yscale(along.get_yscale())
    for axes in (along, against):
        axes.get_legend().remove()
    figure.legend(*along.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure
