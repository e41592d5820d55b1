"""Scores solvers on the public CUTEst problems: all without constraints or with bounds, n <= 100, in float64.

    python -m benchmarks.cutest --solvers jaxcalc-bfgs scipy-bfgs --output FILE     run, or go on with a run
    python -m benchmarks.cutest --table FILE                                        the tables of what has been run

    python -m benchmarks.cutest --table FILE --profile PNG                          and their performance profile

When a problem counts as solved, `cutest_score` says.

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
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.cutest_score import Row, draw_profile, show

# The time for compiling on top of that for solving.
COMPILATION = 180.0
REFUSED = "does not take such problems"


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
    parser.add_argument("--profile", metavar="PNG", help="draw the performance profile into this file")
    options = parser.parse_args(arguments)
    if options.output:
        run(options)
    rows = read(options.output or options.table)
    show(rows)
    if options.profile:
        draw_profile(rows, options.profile)
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


if __name__ == "__main__":
    sys.exit(main())
