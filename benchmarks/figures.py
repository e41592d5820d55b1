"""The text of rows, ratios and the facts of a run, the same on the console and in Markdown."""

from typing import Any

from benchmarks.entry import Ratio, Row


def heading(facts: dict[str, Any]) -> tuple[str, str]:
    """Returns two lines: the machine and the dtype; the versions, the load average and the date."""
    pinned = "not pinned" if facts["cores pinned"] is None else f"pinned to core {facts['cores pinned']}"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['device']} ({facts['processor']}), {pinned}, {facts['dtype']}",
        f"Python {facts['python']}, {versions}; load average {facts['load']} at the start, {facts['date']}",
    )


def row_cells(row: Row) -> dict[str, str]:
    """Returns the cells of a row by the names of their columns; "" where the row does not have the figure."""
    timing, share, per_evaluation = row.timing, row.solved, row.nanoseconds_per_evaluation
    return {
        "contestant": row.name,
        "problems": f"{row.problems:,}",
        "first call s": f"{timing.first:.2f}",
        "median s": f"{timing.median:.4f}",
        "min s": f"{min(timing.seconds):.4f}",
        "max s": f"{max(timing.seconds):.4f}",
        "problems/s": pace(row.per_second),
        "solved %": "" if share is None else f"{100 * share:.2f}",
        "ns/eval": "" if per_evaluation is None else f"{per_evaluation:.0f}",
        "median evals": _number(row.median_evaluations, ".0f"),
        "occupancy %": _number(row.occupancy, ".1f", 100),
        "overhead": _number(row.overhead, ".2f"),
        "peak MiB": _number(row.peak_bytes, ".0f", 2**-20),
        "note": row.note,
    }


def pace(per_second: float) -> str:
    """Returns problems a second in words."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2f}"


def ratio_cells(ratio: Ratio) -> dict[str, str]:
    """Returns the cells of a ratio by the names of their columns; "" for the target of a ratio without one."""
    return {
        "figure": ratio.name,
        "measured": measured(ratio),
        "target": target(ratio),
        "reached": {None: "", True: "yes", False: "NO"}[ratio.reached],
    }


def measured(ratio: Ratio) -> str:
    """Returns the figure of a ratio."""
    return f"{ratio.figure:,.0f}" if ratio.figure >= 1000 else f"{ratio.figure:.2f}"


def target(ratio: Ratio) -> str:
    """Returns the target of a ratio, "at least 3" for instance; "" where it has none."""
    if ratio.target is None:
        return ""
    return f"{'at most' if ratio.at_most else 'at least'} {ratio.target:{',.0f' if ratio.target >= 1000 else 'g'}}"


def _number(figure: float | None, form: str, factor: float = 1) -> str:
    return "" if figure is None else format(factor * figure, form)
