"""The README's table: what the suite has measured against peers, a row for each entry, from docs/performance.md.

`python -m benchmarks.summary` writes it anew; so does every run of the suite with `--markdown docs/performance.md`.
"""

import re
from pathlib import Path

from benchmarks import markdown

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"
# The entries of one workload with peers, in the order of the README.
ENTRIES = ("rosenbrock", "stragglers")
LOOP = "scipy, loop"


def write(page: str | Path = PAGE, readme: Path = README) -> None:
    """Writes the README's table, if `page` is the one that it is made from."""
    if Path(page).resolve() == PAGE and readme.exists():
        text = readme.read_text(encoding="utf-8")
        readme.write_text(markdown.with_section(text, "summary", table()), encoding="utf-8")


def table(page: str | None = None) -> str:
    """Returns the table in Markdown: problems a second of this library, of its best peer in JAX, of a SciPy loop."""
    page = PAGE.read_text(encoding="utf-8") if page is None else page
    rows = [row for name in ENTRIES if (row := _row(name, page))]
    return markdown.table(rows)


def _row(name: str, page: str) -> dict[str, str] | None:
    """Returns the row of an entry, or None where its section is empty or holds no peer."""
    start, end = re.escape(markdown.START.format(name)), re.escape(markdown.END)
    section = re.search(f"{start}(.*?){end}", page, re.DOTALL)
    lines = re.findall(r"^\| (.+) \|$", section[1], re.MULTILINE) if section else []
    about = re.search(r"^(.+):$", section[1], re.MULTILINE) if section else None
    contestants = [line.split(" | ") for line in lines]
    if about is None or not contestants or "problems/s" not in contestants[0]:
        return None
    column = contestants[0].index("problems/s")
    paces = {cells[0]: cells[column] for cells in contestants[2:] if len(cells) == len(contestants[0])}
    own = next(iter(paces))
    peers = {peer: pace for peer, pace in paces.items() if peer not in (own, LOOP) and not peer.startswith("jaxcalc")}
    if not peers:
        return None
    best = max(peers, key=lambda peer: float(peers[peer].replace(",", "")))
    return {
        "problems a second": about[1],
        "jaxcalc": paces[own],
        "the best peer in JAX": f"{peers[best]} ({best})",
        "a SciPy loop": paces.get(LOOP, ""),
    }


if __name__ == "__main__":
    write()
