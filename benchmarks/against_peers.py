"""One batch of problems, jaxcalc against its peers at equal share solved."""

from collections.abc import Callable, Iterable
from functools import partial

from jax import Array

import jaxcalc as jc
from benchmarks import peers, timing
from benchmarks.entry import Row
from benchmarks.fairness import GRADIENT, Found, loosest_tolerance, solved_share

OURS, SCIPY = "jaxcalc, lanes", "scipy, loop"


def compare(fun: Callable, x0: Array, args: tuple, *, repeats: int, scipy_sample: int) -> tuple[list[Row], list[str]]:
    """Times every contestant on the same arrays; SciPy on the first `scipy_sample` of the (shuffled) problems."""
    wanted = solved_share(fun, _ours(fun, x0, args).x, args)
    found = tolerance_for(fun, x0, args, wanted) if peers.HAS_OPTIMISTIX else None
    sample = x0[:scipy_sample], tuple(leaf[:scipy_sample] for leaf in args)

    # A function object of its own, because the one above has compiled: the first call is a figure of the table.
    contestants: dict[str, Callable] = {OURS: partial(_ours, partial(fun), x0, args)}
    settings = {OURS: f"gtol = {GRADIENT:.0e}", SCIPY: f"gtol = {GRADIENT:.0e}; a sample"}
    for block in (None, *peers.blocks()) if found else ():
        name = optimistix(block)
        contestants[name] = partial(peers.optimistix_bfgs(fun, block), x0, args, found.tolerance)
        settings[name] = f"rtol = atol = {found.tolerance:.1e}"
    if peers.HAS_JAXOPT:
        block = peers.blocks()[0]
        name = f"jaxopt, blocks of {block}"
        contestants[name] = partial(peers.jaxopt_bfgs(fun, block), x0, args)
        settings[name] = f"tol = {GRADIENT:.0e}"
    contestants[SCIPY] = peers.scipy_bfgs(fun, *sample)

    timings, results = timing.interleaved(contestants, repeats)
    evaluations = {OURS: int(results[OURS].nfev.sum())}
    results[OURS] = results[OURS].x
    rows = []
    for name, x in results.items():
        share = solved_share(fun, x, sample[1] if name == SCIPY else args)
        rows.append(Row(name, len(x), timings[name], share, evaluations.get(name), settings[name]))
    notes = [explain(found, wanted) if found else "Optimistix is not installed."]
    return rows, notes if peers.HAS_JAXOPT else [*notes, "JAXopt is not installed."]


def tolerance_for(fun: Callable, x0: Array, args: tuple, wanted: float) -> Found:
    """Returns Optimistix's loosest tolerance for the share wanted; searched in blocks, where it is quick."""
    solve = peers.optimistix_bfgs(fun, peers.blocks()[0])
    return loosest_tolerance(lambda tolerance: solved_share(fun, solve(x0, args, tolerance), args), wanted)


def explain(found: Found, wanted: float) -> str:
    if found.enough:
        return f"Optimistix at {found.tolerance:.1e}, the loosest tolerance that solves {100 * wanted:.2f} %, as we do."
    return (
        f"Optimistix solves {100 * wanted:.2f} %, as we do, at no tolerance: it runs at {found.tolerance:.1e}, the "
        f"loosest at which it solves the most, {100 * found.share:.2f} %."
    )


def optimistix(block: int | None) -> str:
    return "optimistix, vmap" if block is None else f"optimistix, blocks of {block}"


def best_peer(rows: Iterable[Row]) -> Row | None:
    """Returns the fastest row of a peer on the whole batch; None where no peer is installed."""
    others = [row for row in rows if row.name not in (OURS, SCIPY)]
    return max(others, key=lambda row: row.per_second) if others else None


def fastest(rows: Iterable[Row], *names: str) -> Row:
    return max((row for row in rows if row.name in names), key=lambda row: row.per_second)


def _ours(fun: Callable, x0: Array, args: tuple) -> jc.OptimizeResult:
    return jc.minimize_many(fun, x0, args, gtol=GRADIENT)
