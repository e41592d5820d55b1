"""Two runs of the suite compared, such as CPU and GPU, or before and after: ratios on the console, and one HTML page.

The page shows problems a second over the number of problems and of lanes, and performance profiles (Dolan and Moré,
2002): for each factor t the share of rows on which a run takes at most t times the time of the faster one; and within
each run, the share of workloads on which a contestant does.
"""

import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import figures, report
from jaxcalc.plots.canvas import axes_for, line_style, plain
from jaxcalc.plots.comparisons import performance_profile

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } .note { color: #555; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.94rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; text-align: right; } td { border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #222; } th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
"""


class Pair(NamedTuple):
    """A row that both runs have, by the names of its entry and of itself."""

    entry: str
    name: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def ratio(self) -> float:
        """How many times as many problems a second the second run has."""
        return self.after["problems per second"] / self.before["problems per second"]


def run(before: str, after: str, page: str) -> int:
    """Prints the ratios of two files that `--json` wrote, and writes the page; returns the exit code."""
    try:
        runs = [_read(before), _read(after)]
    except (OSError, ValueError, KeyError) as error:
        report.say(f"--compare: {error}")
        return 2
    labels = [f"{letter}: {_device(run)}, {run['machine']['date']}" for letter, run in zip("AB", runs, strict=True)]
    for label in labels:
        report.say(label)
    pairs = matched(*runs)
    if not pairs:
        report.say("The two runs have no row in common.")
        return 1
    report.print_table("B times A, in problems a second", [cells(pair) for pair in pairs])
    missing = sum(len(entry["rows"]) for run in runs for entry in run["entries"]) - 2 * len(pairs)
    if missing:
        report.say(f"{missing} rows are in one of the runs alone.")
    Path(page).write_text(written(runs, labels, pairs), encoding="utf-8")
    report.say(f"Page: {page}")
    return 0


def matched(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Pair]:
    """Returns the rows that both runs have, in the order of the first."""
    there = {(entry["name"], row["name"]): row for entry in after["entries"] for row in entry["rows"]}
    return [
        Pair(entry["name"], row["name"], row, there[entry["name"], row["name"]])
        for entry in before["entries"]
        for row in entry["rows"]
        if (entry["name"], row["name"]) in there
    ]


def cells(pair: Pair) -> dict[str, str]:
    """Returns a line of the table of ratios."""
    return {
        "entry": pair.entry,
        "row": pair.name,
        "A problems/s": figures.pace(pair.before["problems per second"]),
        "B problems/s": figures.pace(pair.after["problems per second"]),
        "B / A": f"{pair.ratio:.2f}",
        "A solved %": _share(pair.before),
        "B solved %": _share(pair.after),
        "first call, B / A": f"{pair.after['timing']['first'] / pair.before['timing']['first']:.2f}",
    }


def written(runs: Sequence[Mapping[str, Any]], labels: Sequence[str], pairs: Sequence[Pair]) -> str:
    """Returns the HTML page."""
    lines = [cells(pair) for pair in pairs]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in lines[0])
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line.values())}</tr>\n" for line in lines)
    quick = [label for run, label in zip(runs, labels, strict=True) if run["quick"]]
    parts = [
        "<h1>Two runs of the benchmarks</h1>",
        *(f"<p>{html.escape(label)}<br>{_facts(run)}</p>" for run, label in zip(runs, labels, strict=True)),
        *(f'<p class="note">{html.escape(label)} is a quick run: its figures mean nothing.</p>' for label in quick),
        *(f"<h2>{html.escape(title)}</h2>\n<figure>{picture}</figure>" for title, picture in _pictures(runs, pairs)),
        f'<h2>Ratios</h2>\n<div class="wide"><table>\n<tr>{head}</tr>\n{rows}</table></div>',
    ]
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Benchmarks compared</title>'
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{meta}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _pictures(runs: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """Returns titles and SVG elements; a note instead where matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return [("Pictures", "They need matplotlib.")]

    def svg(axes: Any) -> str:
        file = io.StringIO()
        axes.figure.savefig(file, format="svg")
        return "".join(file.getvalue().partition("<svg")[1:])

    def drawn(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> str:
        axes = axes_for(None, 7.5, 4.2)
        for k, (name, (along, up)) in enumerate(curves.items()):
            axes.plot(
                along, up, marker="o" if k % 2 == 0 else "s", markersize=5, linewidth=1.8, label=name, **line_style(k)
            )
        axes.set_xscale("log", base=2 if x == "lanes" else 10)
        axes.set(yscale="log", xlabel=x, ylabel=y)
        plain(axes)
        axes.legend(frameon=False, fontsize=9)
        return svg(axes)

    found = []
    for title, along, chosen in (
        ("Problems a second over the number of problems", "problems", lambda row: row.get("lanes") is None),
        ("Problems a second over the number of lanes", "lanes", lambda row: row.get("lanes") is not None),
    ):
        if curves := _throughput(runs, along, chosen):
            found.append((title, drawn(curves, along, "problems/s")))
    profiles = [("Performance profile of the two runs", _of_runs(pairs))]
    for letter, run in zip("AB", runs, strict=True):
        profiles.append((f"Performance profile of the contestants of {letter}", _of_contestants(run)))
    for title, times in profiles:
        if times:
            found.append((title, svg(performance_profile(times, of="time", title=""))))
    return found


def _throughput(runs: Sequence[Mapping[str, Any]], along: str, chosen: Any) -> dict[str, tuple[list, list]]:
    """Returns curves of problems a second in the sweep, one for each run and precision."""
    curves: dict[str, tuple[list, list]] = {}
    for letter, run in zip("AB", runs, strict=True):
        for row in (
            row for entry in run["entries"] if entry["name"] == "sweep" for row in entry["rows"] if chosen(row)
        ):
            x, y = curves.setdefault(f"{letter}, {row['dtype']}", ([], []))
            x.append(row[along])
            y.append(row["problems per second"])
    return curves


def _of_runs(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    return {"A": [_seconds(pair.before) for pair in pairs], "B": [_seconds(pair.after) for pair in pairs]}


def _of_contestants(run: Mapping[str, Any]) -> dict[str, list[float]]:
    """Returns the times a problem of the contestants that several workloads of a run have in common."""
    times: dict[str, dict[str, float]] = {}
    for entry in run["entries"]:
        for row in entry["rows"]:
            workload, _, contestant = row["name"].rpartition(": ")
            times.setdefault(f"{entry['name']} {workload}", {})[contestant] = _seconds(row)
    shared = [of for of in times.values() if "jaxcalc, lanes" in of]
    names = {name: None for of in shared for name in of}
    if len(shared) < 2 or len(names) < 2:
        return {}
    return {name: [of.get(name, float("inf")) for of in shared] for name in names}


def _seconds(row: Mapping[str, Any]) -> float:
    """Returns the time a problem that is truly solved takes."""
    solved = 1.0 if row["solved"] is None else row["solved"]
    return float("inf") if solved == 0 else 1 / (row["problems per second"] * solved)


def _share(row: Mapping[str, Any]) -> str:
    return "" if row["solved"] is None else f"{100 * row['solved']:.2f}"


def _device(run: Mapping[str, Any]) -> str:
    machine = run["machine"]
    return f"{machine['device']} ({machine['processor']}), jaxcalc {machine['versions'].get('jaxcalc', 'unknown')}"


def _facts(run: Mapping[str, Any]) -> str:
    return html.escape(" · ".join(figures.heading(run["machine"])))


def _read(path: str) -> dict[str, Any]:
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not {"machine", "quick", "entries"} <= set(content):
        raise ValueError(f"{path} is no file that --json wrote: it has no machine, quick and entries.")
    return content
