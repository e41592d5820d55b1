"""Scores solvers on the public CUTEst problems: all without constraints or with bounds, n <= 100, in float64.

    python -m benchmarks.cutest --solvers jaxcalc-bfgs scipy-bfgs --output FILE     run, or go on with a run
    python -m benchmarks.cutest --table FILE                                        the tables of what has been run

A problem is solved where the largest component of the projected gradient, recomputed, is at most 1e-5 (1 + its value
at the start) and the value is within 1e-6 max(1, |best|) of the best that any solver in the file found (the expected
optima of the package are sometimes wrong).

FILE has one JSON object a line for each problem and solver; what it holds is not run again (delete a line to repeat
it; with two of a pair the later one counts). Everything runs in a second process, which is replaced when it hangs or
dies. The problems come from the package sif2jax, see `cutest_problems`.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import multiprocessing
import statistics
import sys
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import timing

GRADIENT, VALUE = 1e-5, 1e-6
# What may go beyond the promise of gtol, and the time for compiling on top of that for solving.
HONEST = 1.01
COMPILATION = 180.0
REFUSED = "does not take such problems"

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cutest", description="Scores solvers on CUTEst.")
    parser.add_argument("--solvers", nargs="+", metavar="NAME", help="the default is all of them")
    parser.add_argument("--kind", choices=("unconstrained", "bounded"), help="only these problems")
    parser.add_argument("--only", nargs="+", metavar="PROBLEM", help="only these problems")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N problems")
    parser.add_argument("--gtol", type=float, default=1e-5, help="asked of every solver that has one; default 1e-5")
    parser.add_argument("--seconds", type=float, default=60.0, help="for one problem and solver; default 60")
    parser.add_argument("--cache", metavar="FOLDER", help="keep compiled programs here between runs")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--output", metavar="FILE", help="append to this file, and go on where it ends")
    where.add_argument("--table", metavar="FILE", help="run nothing, show the tables of this file")
    options = parser.parse_args(arguments)
    if options.output:
        run(options)
    show(read(options.output or options.table))
    return 0


def run(options: argparse.Namespace) -> None:
    """Measures what the file does not hold yet, problem by problem."""
    from benchmarks.cutest_problems import catalogue
    from benchmarks.cutest_solvers import SOLVERS

    timing.pin_to_one_core()
    unknown = set(options.solvers or ()) - set(SOLVERS)
    if unknown:
        raise SystemExit(f"no solver {', '.join(sorted(unknown))}; there are {', '.join(SOLVERS)}")
    chosen = options.solvers or list(SOLVERS)
    done = {(row["problem"], row["solver"]) for row in read(options.output)}
    worker = Worker(options.cache)
    with open(options.output, "a") as file, contextlib.closing(worker):
        for name, entry in selected(catalogue(), options.only, options.kind, options.limit).items():
            for solver in chosen:
                if entry["kind"] in SOLVERS[solver][0] and (name, solver) not in done:
                    row = {"problem": name, "kind": entry["kind"], "n": entry["n"], "solver": solver}
                    row |= worker.measure((name, solver, options.gtol, options.seconds), options.seconds + COMPILATION)
                    if row["status"] != REFUSED:  # a later run may be able to
                        file.write(json.dumps(row) + "\n")
                        file.flush()
                    print(f"{name:12} {solver:20} {row.get('evaluations', ''):>6} {row['status']}", flush=True)


def selected(problems: dict, only: list[str] | None, kind: str | None, limit: int | None) -> dict:
    """Returns the part of the catalogue that was asked for."""
    unknown = set(only or ()) - set(problems)
    if unknown:
        raise SystemExit(f"no problem {', '.join(sorted(unknown))} in the catalogue")
    kept = [name for name in problems if (not only or name in only) and kind in (None, problems[name]["kind"])]
    return {name: problems[name] for name in kept[:limit]}


class Worker:
    """A process that measures one pair of problem and solver after the other; replaced when it hangs or dies."""

    def __init__(self, cache: str | None, serve: Any = None):
        self.cache, self.serve = cache, serve or serve_measurements
        self.process = None

    def measure(self, task: tuple, seconds: float) -> Row:
        """Returns what the process answers; if it does not, a row with the reason as its status."""
        if self.process is None:
            self._start()
        try:
            self.connection.send(task)
            if self.connection.poll(seconds):
                return self.connection.recv()
            status = "hung"
        except (EOFError, ConnectionError):
            status = "died"
        self.close()
        return {"status": status}

    def close(self) -> None:
        """Ends the process; another one starts when there is more to measure."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=self.serve, args=(theirs, self.cache), daemon=True)
        self.process.start()
        theirs.close()


def serve_measurements(connection: Connection, cache: str | None) -> None:
    """Answers tasks until the process is ended; a problem is built, and compiled, once for all solvers."""
    import jax

    from benchmarks.cutest_problems import load

    jax.config.update("jax_enable_x64", True)
    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    problem = None
    with contextlib.suppress(EOFError, ConnectionError):  # whoever asked is gone
        while True:
            name, solver, gtol, seconds = connection.recv()
            try:
                if problem is None or problem.name != name:
                    jax.clear_caches()
                    problem = load(name)
                row = measured(problem, solver, gtol, seconds)
            except NotImplementedError:
                row = {"status": REFUSED}
            except Exception as error:
                row = {"status": f"raised {type(error).__name__}: {error}"[:200]}
            connection.send(row)


def measured(problem: Any, solver: str, gtol: float, seconds: float) -> Row:
    """Runs a solver and recomputes value and gradient where it ended, the same way for everybody."""
    from benchmarks.cutest_solvers import SOLVERS, Settings

    start = problem.inside(problem.x0)
    at_start = problem.projected(start, problem.evaluate(start)[1])
    outcome = SOLVERS[solver][1](problem, Settings(gtol, seconds))
    value, gradient = problem.evaluate(outcome.x)
    figures = {
        "value": value,
        "gradient": problem.projected(outcome.x, gradient),
        "gradient at start": at_start,
        "rounding": rounding(problem, outcome.x, gradient),
        "gtol": gtol,
    }
    row = dataclasses.asdict(outcome)
    del row["x"]
    # JSON has no infinity and no NaN.
    return row | {name: figure if math.isfinite(figure) else None for name, figure in figures.items()}


def rounding(problem: Any, x: Any, gradient: Any) -> float:
    """Estimates the rounding error of the gradient at x by its change when x changes in the last two bits."""
    import numpy as np

    random = np.random.default_rng(0)
    moves = 4 * np.finfo(float).eps * random.choice([-1.0, 1.0], (4, x.size))
    return max(float(np.max(np.abs(problem.evaluate(x * (1 + move))[1] - gradient))) for move in moves)


def read(path: str) -> list[Row]:
    """Returns the rows of a file, one for each problem and solver, the last one if there are several."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    rows = (json.loads(line) for line in lines if line.endswith("}"))  # an interrupted run may break off in a line
    return list({(row["problem"], row["solver"]): row for row in rows}.values())


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

    def lost(self, solver: str) -> dict[str, list[str]]:
        """Returns the problems that this solver has run and not solved -> who of SciPy's solves them."""
        theirs = [other for other in self.rows if other.startswith("scipy")]
        unsolved = sorted(set(self.rows[solver]) - self.solved[solver])
        winners = {name: [other for other in theirs if name in self.solved[other]] for name in unsolved}
        return {name: who for name, who in winners.items() if who}


def show(rows: list[Row]) -> None:
    """Prints the tables: the score of every solver, and what SciPy solves and jaxcalc does not."""
    best = best_values(rows)
    for kind in ("unconstrained", "bounded"):
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


if __name__ == "__main__":
    sys.exit(main())
