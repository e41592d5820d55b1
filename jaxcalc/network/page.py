"""A comparison as one page of HTML that needs no other file."""

import html
import io
from typing import TYPE_CHECKING

from jaxcalc.network.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } p { max-width: 50rem; } .note { color: #555; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.94rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; text-align: right; } td { border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #222; vertical-align: bottom; line-height: 1.25; }
th:first-child, td:first-child { text-align: left; } tr:nth-child(2) td { background: #eef6fb; }
figure { margin: 1rem 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
"""


def page(comparison: Comparison, title: str, about: str, pictures: dict[str, "Figure"] | None = None) -> str:
    """Returns the page: what was compared, the summary as a table, what has to be said of it, and pictures.

    Args:
        comparison: What `compare_optimizers` returned.
        title: The heading.
        about: A sentence or two on the data and the network.
        pictures: More figures by their headings, below that of the comparison.
    """
    heads, lines = comparison.table()
    drawn = {"Loss curves and learning rates": comparison.plot(), **(pictures or {})}
    rows = [_cells("th", heads), *(_cells("td", line) for line in lines)]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(about)}</p>",
        f'<div class="wide"><table>\n{"".join(f"<tr>{row}</tr>" + chr(10) for row in rows)}</table></div>',
        *(f'<p class="note">{html.escape(note)}</p>' for note in comparison.notes()),
        *(f"<h2>{html.escape(head)}</h2>\n<figure>{_svg(figure)}</figure>" for head, figure in drawn.items()),
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _cells(tag: str, texts: list[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)


def _svg(figure: "Figure") -> str:
    """Returns the picture as an element of the page, without the head of a file of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue().partition("<svg")[1] + file.getvalue().partition("<svg")[2]
