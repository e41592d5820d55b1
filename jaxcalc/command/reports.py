"""What a command of the calculator answers: tables and notes for people, the same as JSON, and a line of Python."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console

# How many rows of a table are shown.
LISTED = 40
IMPORTS = 'import jax, jax.numpy as jnp, jaxcalc as jc; jax.config.update("jax_enable_x64", True)'


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: its heading, the heads of its columns, and its rows of numbers and words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def is_of_numbers(self, column: int) -> bool:
        """Returns whether there are numbers in this column, which then stands flush right."""
        return any(isinstance(row[column], float) for row in self.rows)

    def for_reading(self) -> "Table":
        """Returns the table without the middle of many rows, which its heading then says; JSON has them all."""
        if len(self.rows) <= LISTED:
            return self
        half = LISTED // 2
        title = f"{self.title}: the first and the last {half} of {len(self.rows):,}, all with --json"
        return Table(title, self.columns, [*self.rows[:half], ["..."] * len(self.columns), *self.rows[-half:]])


@dataclasses.dataclass(frozen=True)
class Report:
    """The answer of a command.

    Attributes:
        data: The answer, of numbers, words, lists and dicts, with arrays of NumPy among them.
        tables: The answer for people.
        notes: Sentences to follow the tables.
        python: The answer as Python, one line that follows `IMPORTS`; empty where there is none.
        code: The exit code: 0, or 1 where the computation did not succeed.
    """

    data: dict[str, Any]
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    python: str = ""
    code: int = 0

    def json(self) -> str:
        """Returns the answer as strict JSON; numbers that are not finite are the words "inf", "-inf" and "nan"."""
        copy = {"python": f"{IMPORTS}\n{self.python}"} if self.python else {}
        return json.dumps(_plain(self.data | {"notes": list(self.notes)} | copy), indent=2, allow_nan=False)

    def print(self, console: "Console") -> None:
        """Prints the answer as tables, notes and the Python line."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        for table in map(Table.for_reading, self.tables):
            # Apart, because a title in the table is wrapped to the table's width.
            console.print(Text(table.title, style="bold"), soft_wrap=True)
            drawn = RichTable(box=box.SIMPLE_HEAD)
            for k, column in enumerate(table.columns):
                numeric = table.is_of_numbers(k)
                drawn.add_column(Text(column), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
            for row in table.rows:
                drawn.add_row(*(Text(shown(cell)) for cell in row))
            console.print(drawn)
        for note in self.notes:
            console.print(note, soft_wrap=True, markup=False, highlight=False)
        if self.python:
            console.print("\nAs Python:", markup=False)
            console.print(f"{IMPORTS}\n{self.python}", soft_wrap=True, markup=False, highlight=False)


def shown(value: Any) -> str:
    """Returns a number with 10 digits, or words as they are."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    return f"{value + 0.0:.10g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Returns the value made of what JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
