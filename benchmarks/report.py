"""The tables on the console and the JSON file with every single timing."""

import contextlib
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

from benchmarks import figures
from benchmarks.entry import Entry, Ratio

# Wide enough for a whole row, also where the output is a file.
console = Console(width=150, highlight=False)
# The columns of numbers, which are set to the right.
NUMBERS = {"problems", "first call s", "median s", "min s", "max s", "problems/s", "solved %", "ns/eval"}
# What the contestants are made of; those that are not installed take no part.
PACKAGES = ("jaxcalc", "jax", "jaxlib", "optax", "optimistix", "jaxopt", "torch", "scipy", "numpy")


def machine(cores: list[int] | None) -> dict[str, Any]:
    """Returns the facts without which a timing says nothing."""
    return {
        "device": f"{jax.default_backend()}: {jax.devices()[0].device_kind}",
        "processor": _processor(),
        "cores pinned": cores,
        # More than one running process means that others were measured too.
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "dtype": str(jnp.zeros(()).dtype),
        "python": platform.python_version(),
        "versions": _versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def show_heading(facts: dict[str, Any], quick: bool) -> None:
    for line in figures.heading(facts):
        console.print(line)
    if quick:
        console.print("[bold]--quick: sizes too small for the figures to mean anything[/bold]")


def show(entry: Entry) -> None:
    console.print()
    _print_table(f"{entry.name}: {entry.about}", [figures.row_cells(row) for row in entry.rows])
    for note in entry.notes:
        console.print(note)
    for ratio in entry.ratios:
        console.print(_sentence(ratio))


def show_ratios(entries: list[Entry]) -> None:
    """Prints every figure that has a target once more, at the end, where one looks for it."""
    ratios = [ratio for entry in entries for ratio in entry.ratios if ratio.target is not None]
    if ratios:
        console.print()
        _print_table("figures and targets", [figures.ratio_cells(ratio) for ratio in ratios])


def write(path: str, facts: dict[str, Any], entries: list[Entry], quick: bool) -> None:
    content = {"machine": facts, "quick": quick, "entries": [_plain(entry) for entry in entries]}
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def _print_table(title: str, rows: list[dict[str, str]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="right" if name in NUMBERS else "left")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)


def _sentence(ratio: Ratio) -> str:
    sentence = f"{ratio.name}: {figures.measured(ratio)}"
    if ratio.target is None:
        return sentence
    return f"{sentence}, wanted {figures.target(ratio)}: {'reached' if ratio.reached else 'NOT reached'}"


def _plain(entry: Entry) -> dict[str, Any]:
    ratios = [dataclasses.asdict(ratio) | {"reached": ratio.reached} for ratio in entry.ratios]
    rows = [dataclasses.asdict(row) | {"problems per second": row.per_second} for row in entry.rows]
    return {"name": entry.name, "about": entry.about, "notes": entry.notes, "rows": rows, "ratios": ratios}


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    models = [line for line in lines if line.startswith("model name")]
    return models[0].partition(":")[2].strip() if models else platform.processor() or platform.machine()
