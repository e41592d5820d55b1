"""The tables on the console and the JSON file with every single timing."""

import dataclasses
import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from benchmarks.entry import Entry, Ratio, Row

# Wide enough for a whole row, also where the output is a file.
console = Console(width=150, highlight=False)


def machine(cores: list[int] | None) -> dict[str, Any]:
    """Returns the facts without which a timing says nothing."""
    versions = {name: metadata.version(name) for name in ("jaxcalc", "jax", "jaxlib", "optimistix", "scipy", "numpy")}
    return {
        "device": f"{jax.default_backend()}: {jax.devices()[0].device_kind}",
        "processor": _processor(),
        "cores pinned": cores,
        # More than one running process means that others were measured too.
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "dtype": str(jnp.zeros(()).dtype),
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def show_heading(facts: dict[str, Any], quick: bool) -> None:
    pinned = "not pinned" if facts["cores pinned"] is None else f"pinned to core {facts['cores pinned']}"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    console.print(f"{facts['device']} ({facts['processor']}), {pinned}, {facts['dtype']}")
    console.print(f"Python {facts['python']}, {versions}; load average {facts['load']} at the start, {facts['date']}")
    if quick:
        console.print("[bold]--quick: sizes too small for the figures to mean anything[/bold]")


def show(entry: Entry) -> None:
    table = Table(title=f"{entry.name}: {entry.about}", title_justify="left", title_style="bold")
    table.add_column("contestant")
    for name in ("problems", "first call s", "median s", "min s", "max s", "problems/s", "solved %", "ns/eval"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for row in entry.rows:
        table.add_row(*_cells(row))
    console.print()
    console.print(table)
    for note in entry.notes:
        console.print(note)
    for ratio in entry.ratios:
        console.print(_sentence(ratio))


def show_ratios(entries: list[Entry]) -> None:
    """Prints every figure that has a target once more, at the end, where one looks for it."""
    table = Table(title="figures and targets", title_justify="left", title_style="bold")
    for name in ("figure", "measured", "target", "reached"):
        table.add_column(name)
    for ratio in (ratio for entry in entries for ratio in entry.ratios if ratio.target is not None):
        table.add_row(ratio.name, f"{ratio.figure:.2f}", _target(ratio), "yes" if ratio.reached else "NO")
    if table.rows:
        console.print()
        console.print(table)


def write(path: str, facts: dict[str, Any], entries: list[Entry], quick: bool) -> None:
    content = {"machine": facts, "quick": quick, "entries": [_plain(entry) for entry in entries]}
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def _cells(row: Row) -> list[str]:
    timing, share = row.timing, row.solved
    per_evaluation = row.nanoseconds_per_evaluation
    return [
        row.name,
        f"{row.problems:,}",
        f"{timing.first:.2f}",
        *(f"{seconds:.4f}" for seconds in (timing.median, min(timing.seconds), max(timing.seconds))),
        f"{row.per_second:,.0f}",
        "" if share is None else f"{100 * share:.2f}",
        "" if per_evaluation is None else f"{per_evaluation:.0f}",
        row.note,
    ]


def _target(ratio: Ratio) -> str:
    return f"{'at most' if ratio.at_most else 'at least'} {ratio.target:g}"


def _sentence(ratio: Ratio) -> str:
    if ratio.target is None:
        return f"{ratio.name}: {ratio.figure:.2f}"
    return f"{ratio.name}: {ratio.figure:.2f}, wanted {_target(ratio)}: {'reached' if ratio.reached else 'NOT reached'}"


def _plain(entry: Entry) -> dict[str, Any]:
    ratios = [dataclasses.asdict(ratio) | {"reached": ratio.reached} for ratio in entry.ratios]
    rows = [dataclasses.asdict(row) | {"problems per second": row.per_second} for row in entry.rows]
    return {"name": entry.name, "about": entry.about, "notes": entry.notes, "rows": rows, "ratios": ratios}


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    models = [line for line in lines if line.startswith("model name")]
    return models[0].partition(":")[2].strip() if models else platform.processor() or platform.machine()
