"""Self-contained HTML pages: of a comparison of optimisers, and of an answer of the calculator."""

import html
import io
from collections.abc import Collection
from typing import TYPE_CHECKING

from jaxcalc.command.reports import IMPORTS, Report, shown
from jaxcalc.network.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } p { max-width: 50rem; } .note { color: #555; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.94rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; text-align: right; } td { border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #222; vertical-align: bottom; line-height: 1.25; }
.words, .best th:first-child, .best td:first-child { text-align: left; }
.best tr:nth-child(2) td { background: #eef6fb; }
figure { margin: 1rem 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
"""


def page(comparison: Comparison, title: str, about: str, pictures: dict[str, "Figure"] | None = None) -> str:
    """Returns the HTML of the page: a heading, a paragraph, the summary as a table, its notes, and figures.

    Args:
        comparison: The result of `compare_optimizers`.
        title: The heading.
        about: The paragraph, on the data and the network.
        pictures: Further figures by their headings, to follow the figure of the comparison.
    """
    heads, lines = comparison.table()
    drawn = {"Loss curves and learning rates": comparison.plot(), **(pictures or {})}
    rows = [cells("th", heads), *(cells("td", line) for line in lines)]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(about)}</p>",
        f'<div class="wide"><table class="best">\n{"".join(f"<tr>{row}</tr>" + chr(10) for row in rows)}</table></div>',
        *(f'<p class="note">{html.escape(note)}</p>' for note in comparison.notes()),
        *(f"<h2>{html.escape(head)}</h2>\n<figure>{svg(figure)}</figure>" for head, figure in drawn.items()),
    ]
    return _document(title, parts)


def report_page(report: Report, title: str, figure: "Figure | None" = None) -> str:
    """Returns the HTML of an answer of the calculator: its tables, its notes, its Python lines, and a figure.

    Args:
        report: The answer.
        title: The heading.
        figure: A figure to follow the heading.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if figure is not None:
        parts.append(f"<figure>{svg(figure)}</figure>")
    for table in (table.for_reading() for table in report.tables):
        words = {k for k in range(len(table.columns)) if not table.is_of_numbers(k)}
        lines = [list(map(shown, row)) for row in table.rows]
        rows = [cells("th", list(table.columns), words), *(cells("td", line, words) for line in lines)]
        body = "".join(f"<tr>{row}</tr>\n" for row in rows)
        parts.append(f'<h2>{html.escape(table.title)}</h2>\n<div class="wide"><table>\n{body}</table></div>')
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in report.notes]
    if report.python:
        parts.append(
            f'<h2>As Python</h2>\n<pre class="wide">{html.escape(IMPORTS)}\n{html.escape(report.python)}</pre>'
        )
    return _document(title, parts)


def _document(title: str, parts: list[str]) -> str:
    """Returns the HTML document of a body's parts."""
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def cells(tag: str, texts: list[str], words: Collection[int] = ()) -> str:
    """Returns the texts as cells of a table row, with the tag "th" or "td"; columns of `words` stand flush left."""
    marks = [' class="words"' if k in words else "" for k in range(len(texts))]
    return "".join(f"<{tag}{mark}>{html.escape(text)}</{tag}>" for mark, text in zip(marks, texts, strict=True))


def svg(figure: "Figure") -> str:
    """Returns the figure as an <svg> element, without the XML declaration that comes before it in a file."""
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue().partition("<svg")[1] + file.getvalue().partition("<svg")[2]
