"""`jaxcalc fit`: one curve fitted to each group of the rows of a CSV file."""

import csv
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcalc import models
from jaxcalc.command.reports import LISTED, Report, Table
from jaxcalc.engine.status import Status
from jaxcalc.optimize.curve_fit import curve_fit

MISSING = ("", "nan", "na", "null", "none")
MODELS = tuple(name for name in dir(models) if hasattr(getattr(models, name), "guess") and name != "gaussian_2d")


class Groups(NamedTuple):
    """The rows of a file by group: names (N,), and columns filled up to the longest group, (N, m)."""

    names: list[str]
    x: np.ndarray
    y: np.ndarray
    sigma: np.ndarray | None
    present: np.ndarray


def fit(
    data: Path, model: str, x: str, y: str, by: str | None = None, sigma: str | None = None, output: Path | None = None
) -> Report:
    """Fits a model of `jaxcalc.models` to each group of a CSV file, all groups in one run.

    Args:
        data: The file; its first line names the columns. Empty cells are left out of the fit.
        model: The name of the model.
        x: The column of the model's argument.
        y: The column of the data.
        by: The column whose values tell the groups apart; without it all rows are one.
        sigma: The column of the standard errors of y.
        output: The CSV file to write: a row for each group, with parameters, standard errors and status.

    Raises:
        ValueError: If there is no such model or column, or a cell is not a number.
    """
    if model not in MODELS:
        raise ValueError(f"--model {model}: there is no such model; there are {', '.join(MODELS)}.")
    curve = getattr(models, model)
    groups = read_groups(data, x, y, by, sigma)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the table says how each fit ended
        warnings.simplefilter("ignore", UserWarning)
        found = curve_fit(
            curve, groups.x, groups.y, mask=groups.present, sigma=groups.sigma, absolute_sigma=sigma is not None
        )
    columns, rows = _rows(by or "group", groups, found)
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    statuses: dict[str, int] = {}
    for record in records:
        statuses[record["status"]] = statuses.get(record["status"], 0) + 1
    notes = [
        f"{len(rows):,} {'fit' if len(rows) == 1 else 'fits'}: "
        + ", ".join(f"{number:,} {name}" for name, number in statuses.items())
    ]
    if len(rows) > LISTED:
        notes.insert(0, f"The first {LISTED} of {len(rows):,}; --output FILE writes all.")
    if output is not None:
        _write(output, columns, rows)
        notes.append(f"Table: {output}")
    answer = {"data": str(data), "model": model, "parameters": list(found.names), "fits": records, "statuses": statuses}
    title = f"{model} fitted to {y} over {x}" + (f", by {by}" if by else "")
    read = f"g = read_groups({str(data)!r}, {x!r}, {y!r}, {by!r}, {sigma!r})"
    options = f"mask=g.present, sigma=g.sigma, absolute_sigma={sigma is not None}"
    call = f"jc.curve_fit(jc.models.{model}, g.x, g.y, {options})"
    python = f"from jaxcalc.command.fits import read_groups; {read}; {call}"
    succeeded = bool(np.any(np.asarray(found.success)))
    table = _short_table(title, by or "group", found.names, records[:LISTED])
    return Report(answer, [table], notes, python, 0 if succeeded else 1)


def read_groups(data: str | Path, x: str, y: str, by: str | None, sigma: str | None) -> Groups:
    """Returns the groups of a CSV file in the order in which they first occur."""
    wanted = [column for column in (x, y, sigma) if column is not None]
    rows: dict[str, list[list[float]]] = {}
    if not Path(data).exists():
        raise ValueError(f"{data}: there is no such file.")
    with open(data, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        heads = reader.fieldnames or []
        for column in [*wanted, *([by] if by else [])]:
            if column not in heads:
                raise ValueError(f"{data} has no column {column!r}; it has {', '.join(map(repr, heads)) or 'none'}.")
        for row in reader:
            numbers = [_number(row[column], column, f"{data}, line {reader.line_num}") for column in wanted]
            rows.setdefault((row[by] or "") if by else "all", []).append(numbers)
    if not rows:
        raise ValueError(f"{data} has no rows beside the names of its columns.")
    table = np.full((len(rows), max(map(len, rows.values())), len(wanted)), np.nan)
    for k, numbers in enumerate(rows.values()):
        table[k, : len(numbers)] = numbers
    present = np.all(np.isfinite(table), axis=2)
    # What is not present has to be a number all the same: the first row that counts is one in the range of the group.
    first = table[np.arange(len(rows)), np.argmax(present, axis=1)]
    table = np.where(present[:, :, None], table, np.nan_to_num(first, nan=1.0, posinf=1.0, neginf=1.0)[:, None, :])
    errors = table[:, :, 2] if sigma is not None else None
    return Groups(list(rows), table[:, :, 0], table[:, :, 1], errors, present)


def _number(cell: str | None, column: str, place: str) -> float:
    text = (cell or "").strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"{place}: {column} is {text!r}, which is not a number; leave a missing value empty."
        ) from None


def _rows(head: str, groups: Groups, found: Any) -> tuple[list[str], list[list[Any]]]:
    """Returns the columns of the answer and a row for each fit."""
    popt, stderr = np.asarray(found.popt), np.asarray(found.stderr)
    names: Sequence[str] = found.names
    columns = [head, *(each for name in names for each in (name, f"{name}_stderr")), "cost", "points", "status"]
    status, cost = np.asarray(found.status), np.asarray(found.result.cost)
    counts = groups.present.sum(axis=1)
    rows = [
        [
            groups.names[k],
            *(float(each[k, j]) for j in range(len(names)) for each in (popt, stderr)),
            float(cost[k]),
            int(counts[k]),
            Status(int(status[k])).name,
        ]
        for k in range(len(groups.names))
    ]
    return columns, rows


def _short_table(title: str, head: str, names: Sequence[str], records: list[dict[str, Any]]) -> Table:
    """Returns the fits with parameters and standard errors in one cell each, for the screen."""
    rows = [
        [each[head], *(f"{each[name]:.5g} ± {each[f'{name}_stderr']:.2g}" for name in names), each["status"]]
        for each in records
    ]
    return Table(title, [head, *names, "status"], rows)


def _write(output: Path, columns: list[str], rows: list[list[Any]]) -> None:
    with open(output, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
