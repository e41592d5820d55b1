"""The suite's tables in a Markdown file, the section of each entry between two markers.

    <!-- suite: rosenbrock -->
    <!-- end of suite -->

What stands outside of the markers stays as it is.
"""

from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.entry import Entry

START, END = "<!-- suite: {} -->", "<!-- end of suite -->"
# The JSON file has every timing; a page needs no extremes.
LEFT_OUT = ("min s", "max s")


def check(path: str, names: list[str]) -> None:
    """Raises before a long run what `write` would raise after it; creates the file where there is none.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If the section of one of these entries has no end.
    """
    Path(path).open("a").close()
    text = Path(path).read_text(encoding="utf-8")
    for name in names:
        with_section(text, name, "")


def write(path: str, facts: dict[str, Any], entry: Entry) -> None:
    """Replaces the section of this entry in the file."""
    text = Path(path).read_text(encoding="utf-8")
    Path(path).write_text(with_section(text, entry.name, section(facts, entry)), encoding="utf-8")


def with_section(text: str, name: str, content: str) -> str:
    """Returns the text with this content between the markers of an entry.

    Where the text has no markers of the entry, they are appended under a heading.

    Raises:
        ValueError: If the entry's marker is not followed by the end of its section.
    """
    start = START.format(name)
    if start not in text:
        text = f"{text.rstrip()}\n\n## {name}\n\n{start}\n{END}\n".lstrip()
    before, _, rest = text.partition(start)
    old, end, after = rest.partition(END)
    if not end or START.partition("{")[0] in old:
        raise ValueError(f"the section {start} has no end; add the line {END}")
    return f"{before}{start}\n{content}\n{END}{after}"


def section(facts: dict[str, Any], entry: Entry) -> str:
    """Returns an entry in Markdown: the facts of the run in the first line, the rows, the ratios, the notes."""
    rows = [figures.row_cells(row) for row in entry.rows]
    ratios = [figures.ratio_cells(ratio) for ratio in entry.ratios]
    notes = "\n".join(f"* {note}" for note in entry.notes)
    blocks = ["; ".join(figures.heading(facts)), f"{entry.about}:", table(rows), table(ratios), notes]
    return "\n\n".join(block for block in blocks if block)


def table(rows: list[dict[str, str]]) -> str:
    """Returns the rows as a table without the columns that are empty in all of them; "" where there are no rows."""
    columns = [name for name in (rows[0] if rows else ()) if name not in LEFT_OUT and any(row[name] for row in rows)]
    lines = [[row[name] for name in columns] for row in rows]
    return "\n".join(_line(cells) for cells in (columns, ["---"] * len(columns), *lines) if cells)


def _line(cells: list[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
