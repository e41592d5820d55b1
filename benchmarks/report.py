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

from benchmarks import figures
from benchmarks.entry import Entry, Ratio

try:  # the suite runs from a plain checkout, too
    from rich.console import Console
    from rich.table import Table
except ImportError:
    console: Any = None
else:
    # Wide enough for a whole row, also where the output is a file.
    console = Console(width=180, highlight=False)

# The columns of numbers, which are set to the right.
NUMBERS = {"problems", "first call s", "median s", "min s", "max s", "problems/s", "solved %", "ns/eval"}
NUMBERS |= {"median evals", "occupancy %", "overhead", "peak MiB"}
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
        say(line)
    if quick:
        say("--quick: sizes too small for the figures to mean anything")


def show(entry: Entry) -> None:
    say()
    print_table(f"{entry.name}: {entry.about}", [figures.row_cells(row) for row in entry.rows])
    for note in entry.notes:
        say(note)
    for ratio in entry.ratios:
        say(_sentence(ratio))


def show_ratios(entries: list[Entry]) -> None:
    """Prints every figure that has a target once more, at the end, where one looks for it."""
    ratios = [ratio for entry in entries for ratio in entry.ratios if ratio.target is not None]
    if ratios:
        say()
        print_table("figures and targets", [figures.ratio_cells(ratio) for ratio in ratios])


def write(path: str, facts: dict[str, Any], entries: list[Entry], quick: bool) -> None:
    content = {"machine": facts, "quick": quick, "entries": [_plain(entry) for entry in entries]}
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def print_table(title: str, rows: list[dict[str, str]]) -> None:
    """Prints rows, without the columns that are empty in all of them."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    if console is None:  # rich is not installed
        _print_plain(title, columns, rows)
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in NUMBERS else "left")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    console.print(table)


def say(text: str = "") -> None:
    """Prints a line."""
    if console is None:
        print(text)
    else:
        console.print(text, markup=False)


def _print_plain(title: str, columns: list[str], rows: list[dict[str, str]]) -> None:
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    say(title)
    for row in ({name: name for name in columns}, *rows):
        cells = (f"{row[name]:{'>' if name in NUMBERS else '<'}{size}}" for name, size in widths.items())
        say("  ".join(cells))


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
