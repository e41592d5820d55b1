"""The summary of a comparison as a table of strings, for a terminal and for a web page."""

import math
from collections.abc import Sequence

from jaxcalc.network.runs import Row


def cells(rows: Sequence[Row], judged_by: str, epochs: int) -> tuple[list[str], list[list[str]]]:
    """Returns the heads of the columns, and a list of cells for each row of the summary, all as strings."""
    metrics = list(rows[0].tests) if rows else []
    heads = ["optimiser", "learning rate", f"{judged_by} loss", "quartiles", *metrics]
    heads += ["steps to target", "ms to target", "good rates", "diverged"]
    return heads, [_line(row, metrics, epochs) for row in rows]


def as_text(heads: list[str], lines: list[list[str]], notes: list[str]) -> str:
    """Returns the table, its columns aligned on the right, followed by the notes, one per line."""
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [heads, *lines]]
    return "\n".join([*rows, *notes])


def _line(row: Row, metrics: Sequence[str], epochs: int) -> list[str]:
    """Returns the cells of a row; `epochs` is the number asked for, of which an interrupted optimiser has fewer."""
    full_batch = math.isnan(row.learning_rate)
    reached = math.isfinite(row.steps_to_target)
    return [
        row.optimizer if row.epochs == epochs else f"{row.optimizer} ({row.epochs} epochs)",
        "none" if full_batch else f"{row.learning_rate:.2g}" + "*" * row.at_edge,
        f"{row.loss:.4g}",
        f"{row.lower:.4g} to {row.upper:.4g}",
        *(_metric(name, row.tests[name]) for name in metrics),
        f"{row.steps_to_target:,.0f}" if reached else "never",
        f"{1e3 * row.seconds_to_target:.3g}" if reached else "never",
        "" if full_batch else f"{100 * row.good_rates:.0f} %",
        f"{100 * row.diverged:.0f} %",
    ]


def _metric(name: str, value: float) -> str:
    """Returns an accuracy in per cent, any other metric with four digits."""
    return f"{100 * value:.2f} %" if "accuracy" in name else f"{value:.4g}"
