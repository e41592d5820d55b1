"""jaxcalc alone: what a dimension costs, what the first call costs, and a longer run. No targets."""

import functools

import jaxcalc as jc
from benchmarks import timing
from benchmarks.entry import Entry, Row
from benchmarks.fairness import GRADIENT, solved_share
from benchmarks.rosenbrock import skewed
from jaxcalc.problems import rosenbrock

SIZES = {2: 20_000, 10: 5_000, 30: 1_000}
LONG = 262_144


def run(quick: bool = False) -> Entry:
    repeats = 2 if quick else 5
    cases = {f"{n} dimensions": (32 if quick else count, n) for n, count in SIZES.items()}
    cases["2 dimensions, longer"] = (256 if quick else LONG, 2)
    batches = {name: skewed(*case) for name, case in cases.items()}
    # A function object of its own, so that no other entry has compiled it: the first call is a figure of the table.
    fun = functools.partial(rosenbrock)
    contestants = {
        name: functools.partial(jc.minimize_many, fun, x0, args, gtol=GRADIENT) for name, (x0, args) in batches.items()
    }
    timings, results = timing.interleaved(contestants, repeats)
    rows = []
    for name, (x0, args) in batches.items():
        solved = solved_share(rosenbrock, results[name].x, args)
        rows.append(Row(name, len(x0), timings[name], solved, int(results[name].nfev.sum())))
    return Entry("dimensions", "Rosenbrock, curvature 10^U(0,4), starts U(-3,3), jaxcalc alone", rows)
