"""The distinct local minima of a function in a box, and with them, as well as may be, the global one."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcalc.core.arguments import (
    arrays,
    as_tuple,
    at_least_single,
    one_of,
    real_arrays,
    require_functions,
    whole_number,
)
from jaxcalc.engine.certificate import Certificate, PointKind
from jaxcalc.engine.problem import default_gtol
from jaxcalc.engine.status import Status
from jaxcalc.methods.method import Method
from jaxcalc.optimize.arguments import chosen_method, search_box, tolerances
from jaxcalc.optimize.multistart.merging import Lines, merged, representatives
from jaxcalc.optimize.multistart.points import Blocks, Data, Ends, joined
from jaxcalc.optimize.multistart.result import Coverage, Minima, coverage
from jaxcalc.optimize.multistart.search import Region, search, spread
from jaxcalc.optimize.scipy_keywords import translated

if TYPE_CHECKING:
    import optax

# Starts that are descended from at once, for each problem.
ROUND = 256
# With starts="auto" the sample may take this share of the evaluations; the rest is for the search.
AUTO_SHARE = 0.25


def multistart(
    fun: Callable,
    bounds: Any,
    args: Any = (),
    *,
    shared: Any = (),
    starts: Any = 1024,
    seed: int = 0,
    method: "str | Method | optax.GradientTransformation" = "bfgs",
    scale: Any = None,
    many: bool = False,
    gtol: float | None = None,
    maxiter: int | None = None,
    maxfev: int = 200_000,
    **scipy: Any,
) -> Any:
    """Finds the distinct local minima of a function in a box, the best first, and says how many it may have missed.

    1. *Sample*: descents from `starts` points of a scrambled Sobol sequence, in rounds of 256 in the lanes of
       `minimize_many`. Their first steps are short, 0.01 lengths of x unless the method says otherwise, so that most
       end in the basin of their start.
    2. *Merge*: two ends are the same minimum if f does not rise on the line between them. The share of starts that
       each minimum draws tells how many minima are likely to be missing (Boender and Rinnooy Kan).
    3. *Search*: if at least half a minimum is expected to be missing, further rounds start from points that are made
       of the 64 best minima: by recombination, by differences of minima, by random steps. They end when six rounds
       have found nothing better, or before `maxfev`. They look for the global minimum, not for all local ones.
    4. *Certify*: the second derivatives at each end say what it is. Saddles and maxima, at which a descent may end,
       are dropped, and so are failed descents; but the lowest value is always kept, in row 0, with its own status.

    A host function: how many minima there are depends on the data. It works under `jax.grad` and `jvp`, not under
    `jit` and `vmap`: `fun` has the derivatives with respect to args and shared of the envelope theorem and `x` those of
    the implicit function theorem.

    Args:
        fun: A JAX-traceable function fun(x, *args, *shared) that returns one real number, an array of shape ().
        bounds: The box, (lower, upper) or a `scipy.optimize.Bounds`: arrays or pytrees in the form of x, which
            broadcast against each other; two numbers for a function of one number. A side may be infinite only where
            `starts` are given as arrays; then bounds may be None as well.
        args: What fun takes after x, a tuple; anything else is wrapped into one.
        shared: What fun takes after args, a tuple; with many=True common to all problems.
        starts: How many points are sampled; "auto" doubles the sample until less than half a minimum is expected to
            be missing or a quarter of `maxfev` is spent; or the starts themselves, in the form of x with a leading
            axis, leaves (N, ...).
        seed: Of all that is drawn: the same seed gives the same answer.
        method: The method of the descents, as in `minimize`.
        scale: The size of a typical change of each variable, as in `minimize`.
        many: Whether the leaves of args have a leading axis of problems, (P, ...), which are all solved in the same
            rounds.
        gtol: The promise of each descent that succeeded, in units of f / x; by default 1e-5 in float64 and 1e-3 in
            float32.
        maxiter: The most iterations of each descent; by default the method's own.
        maxfev: No search round is begun that would likely take more evaluations for one problem; 0 for no search.
        scipy: SciPy's other keywords, as in `minimize`, for the descents: `tol` and `options` of gtol and maxiter.

    Returns:
        A `Minima`; with many a list of P of them.

    Raises:
        TypeError: If fun does not return one real number, bounds is not a pair of real arrays of one form, or an array
            is traced by `jit` or `vmap`.
        ValueError: If a lower bound is not below its upper one, the box is infinite and no starts are given, or an
            option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> double_well = lambda x: (x[0] ** 2 - 1) ** 2 + 0.2 * x[0] + x[1] ** 2
        >>> minima = jc.multistart(double_well, (jnp.full(2, -2.0), jnp.full(2, 2.0)), starts=64)
        >>> minima.x[:, 0].round(3).tolist(), minima.certificate.kind_name
        ([-1.024, 0.974], ['minimum', 'minimum'])

    Source: C. Boender and A. Rinnooy Kan, Bayesian stopping rules for multistart global optimization methods (1987);
    Z. Ugray et al., Scatter search and local NLP solvers: a multistart framework for global optimization (2007).
    """
    require_functions([fun], several=False)
    if scipy:
        given = translated("multistart", scipy, {"gtol": gtol, "maxiter": maxiter, "maxfev": maxfev})
        gtol, maxiter = given["gtol"], given["maxiter"]
    data = Data(arrays("args", as_tuple(args)), arrays("shared", as_tuple(shared)))
    chosen = chosen_method(method).staying_in_basin()
    known = jax.tree.map(jax.lax.stop_gradient, data)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((known, bounds, starts))):
        raise TypeError(
            "multistart runs on the host, because how many minima there are depends on the values, which under jax.jit "
            "and jax.vmap are not known yet. Call it outside of them; for many problems give their args a leading axis "
            "and many=True. There are no derivatives with respect to bounds and starts."
        )
    auto = isinstance(starts, str) and one_of("starts", starts, ["auto"]) == "auto"
    own = None if auto or isinstance(starts, int | np.integer) else real_arrays("x0 (the starts)", starts)
    box = search_box(bounds, own)
    dtype = at_least_single(*jax.tree.leaves(box.lower))
    given = tolerances("", None, gtol=default_gtol(dtype) if gtol is None else gtol, maxiter=maxiter)
    blocks = Blocks(fun, known, many, box, chosen, given.given(), scale)
    rows = None if own is None else blocks.as_rows(own)
    count = ROUND if auto else whole_number("starts", int(starts), 1) if rows is None else len(rows)
    found = _solve(blocks, Sample(count, rows, auto, seed), whole_number("maxfev", maxfev))
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(data)):
        found = _with_derivatives(blocks, found, data)
    return found if many else found[0]


class Sample(NamedTuple):
    """The sample: the number of its first starts, the caller's starts if there are any, whether more may follow."""

    count: int
    own: np.ndarray | None
    auto: bool
    seed: int

    @property
    def size(self) -> int:
        """The number of starts of a problem in a round, such that all rounds have one size."""
        return -(-self.count // -(-self.count // ROUND))


def _solve(blocks: Blocks, sample: Sample, maxfev: int) -> list[Minima]:
    """Runs the four stages for all problems."""
    region = Region(blocks.lower, blocks.upper)
    if sample.own is not None:
        region = Region(np.maximum(sample.own.min(0), region.lower), np.minimum(sample.own.max(0), region.upper))
    lines = Lines(blocks.values, float(blocks.tolerances["gtol"]), region.scale)
    blocks.rows = sample.size * blocks.problems
    sampled, covers, starts = _sampled(blocks, sample, region, lines, maxfev)
    going = np.array([not cover.is_enough for cover in covers])
    chance = np.random.default_rng([sample.seed, 1])
    searched, rounds = search(blocks, sampled, region, going, sample.size, maxfev, chance)
    found = _lowest_finished(blocks, joined(sampled, searched[searched.count == 0]))
    found, certificate = _certified(blocks, found, lines)
    results = []
    for problem in range(blocks.problems):
        rows = np.flatnonzero(found.problem == problem)
        rows = rows[np.argsort(found.value[rows], kind="stable")]  # a NaN, where no value is known, comes last
        kept = found.success[rows] & ~np.isin(certificate.kind[rows], (PointKind.SADDLE, PointKind.MAXIMUM))
        kept[0] = True
        facts = {"starts": starts[problem], "rounds": rounds[problem], "nfev": blocks.nfev[problem]}
        results.append(_as_minima(blocks, found, certificate, rows[kept], covers[problem], facts))
    return results


def _sampled(
    blocks: Blocks, sample: Sample, region: Region, lines: Lines, maxfev: int
) -> tuple[Ends, list[Coverage], np.ndarray]:
    """Returns the distinct ends of the sample with their counts, the coverage of each problem, and its starts."""
    going, starts = np.arange(blocks.problems), np.zeros(blocks.problems, int)
    x = spread(region, sample.count, sample.seed) if sample.own is None else sample.own
    found = None
    while True:
        ends = blocks.descend(np.tile(x, (len(going), 1)), going.repeat(len(x)))
        starts[going] += len(x)
        found = _distinct(ends if found is None else joined(found, ends), lines)
        counts = np.where(found.success, found.count, 0)
        covers = [coverage(counts[found.problem == problem]) for problem in range(blocks.problems)]
        enough = np.array([cover.is_enough for cover in covers])
        affordable = 2 * blocks.nfev[going] <= AUTO_SHARE * maxfev
        going = going[~enough[going] & affordable]
        if not sample.auto or not len(going):
            return found, covers, starts
        total = int(starts[going[0]])
        x = spread(region, 2 * total, sample.seed)[total:]


def _distinct(ends: Ends, lines: Lines, loose: np.ndarray | None = None) -> Ends:
    """Returns one row for each minimum, with the counts of all ends in it."""
    first, member = representatives(ends, merged(ends, lines, loose), lines)
    counts = np.bincount(member, weights=ends.count, minlength=len(first)).astype(int)
    return dataclasses.replace(ends[first], count=counts)


def _lowest_finished(blocks: Blocks, ends: Ends) -> Ends:
    """Returns the ends, and where the lowest of a problem had reached its cap, also that of the whole descent."""
    order = np.lexsort((ends.value, ends.problem))
    lowest = order[np.unique(ends.problem[order], return_index=True)[1]]
    unfinished = lowest[ends.status[lowest] == Status.MAX_ITERATIONS]
    if not len(unfinished):
        return ends
    further = blocks.descend(ends.x[unfinished], ends.problem[unfinished])
    return joined(ends, dataclasses.replace(further, count=np.zeros(len(further), int)))


def _certified(blocks: Blocks, ends: Ends, lines: Lines) -> tuple[Ends, Certificate]:
    """Returns the distinct ends and their certificates; ends that are no sure minima also merge with far neighbours."""
    ends = _distinct(ends, lines)
    certificate = blocks.certify(ends.x, ends.problem)
    sure = ends.success & np.isin(certificate.kind, (PointKind.MINIMUM, PointKind.BOUND_MINIMUM))
    first, member = representatives(ends, merged(ends, lines, ~sure), lines)
    counts = np.bincount(member, weights=ends.count, minlength=len(first)).astype(int)
    return dataclasses.replace(ends[first], count=counts), jax.tree.map(lambda leaf: leaf[first], certificate)


def _as_minima(
    blocks: Blocks, found: Ends, certificate: Certificate, rows: np.ndarray, cover: Coverage, facts: dict
) -> Minima:
    by_row = {"fun": found.value, "count": found.count, "status": found.status, "certificate": certificate}
    estimates = cover._asdict()
    estimates.pop("seen")
    everything = jax.tree.map(lambda leaf: leaf[rows], by_row) | estimates | facts
    return jax.device_put(Minima(blocks.as_x(found.x[rows]), **everything))


def _with_derivatives(blocks: Blocks, found: list[Minima], data: Data) -> list[Minima]:
    """Returns the minima with x and fun as functions of the data: a descent from each, which ends where it starts."""
    sizes = [len(minima.fun) for minima in found]
    problem = np.arange(len(found)).repeat(sizes)
    # Their number rounded up, so that few shapes are compiled.
    problem = np.append(problem, np.zeros(2 ** (len(problem) - 1).bit_length() - len(problem), int))
    x = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(minima.x for minima in found))
    x = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[:1].repeat(len(problem) - sum(sizes), axis=0)]), x)
    result = blocks.minimized(x, problem, data)
    ends = np.cumsum([0, *sizes])
    return [
        dataclasses.replace(minima, x=jax.tree.map(lambda leaf, a=a, b=b: leaf[a:b], result.x), fun=result.fun[a:b])
        for minima, a, b in zip(found, ends[:-1], ends[1:], strict=True)
    ]
