"""The rule by which the rows of `benchmarks.cutest` are scored, the tables and the performance profile.

A problem is solved where the largest component of the projected gradient, recomputed, is at most 1e-5 (1 + its value
at the start) and the value is within 1e-6 max(1, |best|) of the best that any solver found (the expected optima of the
package are sometimes wrong).
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np

GRADIENT, VALUE = 1e-5, 1e-6
# What may go beyond the promise of gtol.
HONEST = 1.01
KINDS = ("unconstrained", "bounded")
# Width and style of a line by whose solver it is.
STYLES: dict[str, dict[str, Any]] = {
    "jaxcalc": {"linewidth": 2, "linestyle": "-"},
    "scipy": {"linewidth": 1, "linestyle": "--"},
}

Row = dict[str, Any]


def best_values(rows: Iterable[Row]) -> dict[str, float]:
    """Returns problem -> the lowest finite value that any solver ended with."""
    best: dict[str, float] = {}
    for row in rows:
        value = row.get("value")
        if value is not None:
            best[row["problem"]] = min(value, best.get(row["problem"], math.inf))
    return best


def is_solved(row: Row, best: float) -> bool:
    """Says whether a row passes the rule in the description of this module."""
    return is_flat(row) and row["value"] - best <= VALUE * max(1.0, abs(best))


def is_flat(row: Row) -> bool:
    """Says whether the projected gradient has become small enough."""
    if row.get("value") is None or row["gradient"] is None or row["gradient at start"] is None:
        return False
    return row["gradient"] <= GRADIENT * (1 + row["gradient at start"])


def is_dishonest(row: Row) -> bool:
    """Says whether a solver claims a projected gradient of at most gtol where the recomputed one is larger."""
    if not row.get("claims"):
        return False
    return row["gradient"] is None or row["gradient"] > HONEST * row["gtol"] + (row["rounding"] or 0)


@dataclasses.dataclass(frozen=True)
class Score:
    """The table of one kind of problems: who solved what, and with how many evaluations."""

    rows: dict[str, dict[str, Row]]  # solver -> problem -> row
    solved: dict[str, set[str]]

    @classmethod
    def of(cls, rows: list[Row], kind: str) -> "Score":
        """Applies the rule to all rows of a kind."""
        best = best_values(rows)
        table: dict[str, dict[str, Row]] = {}
        for row in rows:
            if row["kind"] == kind:
                table.setdefault(row["solver"], {})[row["problem"]] = row
        solved = {
            solver: {name for name, row in of.items() if is_solved(row, best.get(name, math.nan))}
            for solver, of in table.items()
        }
        return cls(table, solved)

    def common(self, *solvers: str) -> set[str]:
        """Returns the problems that all of these solvers solve."""
        return set.intersection(*(self.solved[solver] for solver in solvers))

    def median(self, solver: str, problems: set[str]) -> float:
        """Returns the median evaluations of a solver on these problems."""
        counts = [self.rows[solver][name]["evaluations"] for name in problems]
        return statistics.median(counts) if counts else math.nan

    def work(self, solver: str, problem: str) -> float:
        """Returns the evaluations that solved this problem, a Hessian counting as n of them; infinite if it did not."""
        if problem not in self.solved[solver]:
            return math.inf
        row = self.rows[solver][problem]
        return row["evaluations"] + row["hessians"] * row["n"]

    def lost(self, solver: str) -> dict[str, list[str]]:
        """Returns the problems that this solver has run and not solved -> who of SciPy's solves them."""
        theirs = [other for other in self.rows if other.startswith("scipy")]
        unsolved = sorted(set(self.rows[solver]) - self.solved[solver])
        winners = {name: [other for other in theirs if name in self.solved[other]] for name in unsolved}
        return {name: who for name, who in winners.items() if who}


def draw_profile(rows: list[Row], path: str) -> None:
    """Draws for each solver the share of the problems that it solves with at most so many times the least work of any.

    Work is counted in evaluations, a Hessian as n of them.

    Source: E. Dolan and J. Moré, Benchmarking optimization software with performance profiles (2002).
    """
    from jaxcalc.plots.canvas import blank_figure, legend_below
    from jaxcalc.plots.comparisons import performance_profile

    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    figure = blank_figure(6 * len(kinds), 6)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        ratios = profile(Score.of(rows, kind))
        # This library's solvers come first, so that their colours are told apart best.
        names = sorted(
            ratios, key=lambda name: (not name.startswith("jaxcalc"), -np.isfinite(ratios[name]).sum(), name)
        )
        styles = {name: STYLES.get(name.partition("-")[0], {"linewidth": 1, "linestyle": ":"}) for name in names}
        work = {name: ratios[name] for name in names}
        performance_profile(work, limit=100, styles=styles, title=kind, ax=axes)
        legend_below(axes, 3, fontsize=7, title="solver, problems solved")
    figure.savefig(path, dpi=90)


def profile(score: "Score") -> dict[str, np.ndarray]:
    """Returns for each solver its work on every problem over the least work that solves it, infinite if it does not."""
    problems = sorted(set.union(*(set(rows) for rows in score.rows.values())))
    costs = {solver: np.array([score.work(solver, name) for name in problems]) for solver in score.rows}
    least = np.min(list(costs.values()), axis=0)
    with np.errstate(invalid="ignore"):  # a problem that nobody solves
        return {solver: np.where(np.isfinite(cost), cost / least, np.inf) for solver, cost in costs.items()}


def show(rows: list[Row]) -> None:
    """Prints the tables: the score of every solver, and what SciPy solves and jaxcalc does not."""
    best = best_values(rows)
    for kind in KINDS:
        score = Score.of(rows, kind)
        if score.rows:
            _show_score(score, kind)
            for solver in (name for name in score.rows if name.startswith("jaxcalc")):
                _show_lost(score, solver, best)


def _show_score(score: Score, kind: str) -> None:
    common = score.common(*score.rows)
    titles = ("solver", "run", "solved", "flat", "median evaluations", "of SciPy's", "dishonest", "seconds")
    cells = [[solver, *_figures(score, solver, common)] for solver in score.rows]
    _show_table(f"{kind}: {len(common)} problems are solved by all of them", titles, cells)


def _figures(score: Score, solver: str, common: set[str]) -> list[str]:
    rows = score.rows[solver].values()
    namesake = f"scipy-{solver.partition('-')[2]}"
    ratio = ""
    if namesake in score.rows and namesake != solver:
        both = score.common(solver, namesake)
        ratio = f"{score.median(solver, both) / score.median(namesake, both):.2f} ({len(both)})"
    return [
        str(len(rows)),
        str(len(score.solved[solver])),
        str(sum(is_flat(row) for row in rows)),
        f"{score.median(solver, common):g}",
        ratio,
        str(sum(is_dishonest(row) for row in rows)),
        f"{math.fsum(row.get('seconds', 0) for row in rows):.1f}",
    ]


def _show_lost(score: Score, solver: str, best: dict[str, float]) -> None:
    titles = ("problem", "n", "status", "evaluations", "gradient / allowed", "value - best", "best", "solved by")
    cells = []
    for name, who in score.lost(solver).items():
        row = score.rows[solver][name]
        figures = [row["status"][:40], str(row.get("evaluations", "")), *_shortfall(row, best[name])]
        cells.append([name, str(row["n"]), *figures, f"{best[name]:.6g}", ", ".join(who)])
    _show_table(f"{solver}: {len(cells)} problems that SciPy solves and it does not", titles, cells)


def _shortfall(row: Row, best: float) -> list[str]:
    if row.get("value") is None or row["gradient"] is None:
        return ["", ""]
    return [f"{row['gradient'] / (GRADIENT * (1 + row['gradient at start'])):.1e}", f"{row['value'] - best:.1e}"]


def _show_table(title: str, titles: Iterable[str], cells: list[list[str]]) -> None:
    from rich.table import Table

    from benchmarks.report import console

    table = Table(title=title, title_justify="left", title_style="bold")
    for column, name in enumerate(titles):
        table.add_column(name, justify="right" if column else "left")
    for line in cells:
        table.add_row(*line)
    console.print()
    console.print(table)
