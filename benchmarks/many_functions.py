"""20 functions of 2 to 10 dimensions with 500 problems each: one call and one program, against 20 runs alone."""

import functools
import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxcalc as jc
from benchmarks import timing
from benchmarks.entry import Entry, Ratio, Row
from benchmarks.fairness import GRADIENT, solved_share
from benchmarks.timing import Timing

DIMENSIONS = (2, 4, 7, 10)


def valley(x: Array, a: Array) -> Array:
    return jnp.sum((1 + 100 * a) * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def chain(x: Array, a: Array) -> Array:
    return (x[0] - 1) ** 2 + jnp.sum(jnp.arange(2, len(x) + 1) * (2 * x[1:] ** 2 - x[:-1] - a) ** 2)


def soft_absolute(x: Array, a: Array) -> Array:
    return jnp.sum(jnp.sqrt(1e-3 + (x - a) ** 2)) + 0.1 * jnp.sum(jnp.diff(x) ** 2)


def bowl(x: Array, a: Array) -> Array:
    return jnp.sum((x - a) ** 4) + 0.5 * jnp.sum(jnp.arange(1, len(x) + 1) * x**2)


def exponential(x: Array, a: Array) -> Array:
    return jnp.sum(jnp.exp(x) - (1 + a) * x) + jnp.sum(x) ** 2


FAMILIES = (valley, chain, soft_absolute, bowl, exponential)


def functions(dimensions: tuple[int, ...]) -> list[Callable]:
    """Returns a function object of its own for every family and dimension, as if each had been written down."""
    return [functools.partial(family) for family in FAMILIES for _ in dimensions]


def starts(dimensions: tuple[int, ...], count: int, seed: int = 0) -> tuple[list[Array], list[tuple[Array]]]:
    random = np.random.default_rng(seed)
    sizes = [n for _ in FAMILIES for n in dimensions]
    x0 = [jnp.asarray(random.uniform(-2, 2, (count, n))) for n in sizes]
    return x0, [(jnp.asarray(random.uniform(0, 1, count)),) for _ in sizes]


def run(quick: bool = False) -> Entry:
    dimensions, count, repeats = ((2,), 8, 2) if quick else (DIMENSIONS, 500, 7)
    x0, args = starts(dimensions, count)
    funs = functions(dimensions)
    contestants = {"together": lambda: jc.minimize_many(funs, x0, args, gtol=GRADIENT)}
    for k, fun in enumerate(funs):
        contestants[f"alone {k}"] = lambda k=k, fun=fun: jc.minimize_many(fun, x0[k], args[k], gtol=GRADIENT)
    timings, results = timing.interleaved(contestants, repeats)

    parts, outcomes = zip(*((timings[f"alone {k}"], results[f"alone {k}"]) for k in range(len(funs))), strict=True)
    rows = [
        _row("one call", funs, args, timings["together"], results["together"]),
        _row(f"sum of {len(funs)} calls", funs, args, _sum(parts), outcomes),
    ]
    one, several = (row.timing for row in rows)
    ratios = [
        Ratio("many functions: time of one call / sum of the calls alone", one.median / several.median, 1.2, True),
        Ratio("many functions: first call / sum of the first calls alone", one.first / several.first),
    ]
    return Entry("many_functions", f"{len(funs)} functions x {count} problems in one call", rows, ratios)


def _sum(parts: Sequence[Timing]) -> Timing:
    """Adds up round by round, so that there is one figure for each round, as for the single call."""
    rounds = zip(*(part.seconds for part in parts), strict=True)
    return Timing(math.fsum(part.first for part in parts), [math.fsum(seconds) for seconds in rounds])


def _row(name: str, funs: list[Callable], args: list, taken: Timing, results: Sequence[jc.OptimizeResult]) -> Row:
    # The mean of the shares, because every function has equally many problems.
    shares = [solved_share(fun, result.x, own) for fun, result, own in zip(funs, results, args, strict=True)]
    evaluations = sum(int(result.nfev.sum()) for result in results)
    return Row(name, sum(len(result.nfev) for result in results), taken, float(np.mean(shares)), evaluations)
