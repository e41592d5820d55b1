"""The distinct local minima of a function in a box, and with them, as well as may be, the global one."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.core.arguments import (
    arrays,
    as_tuple,
    at_least_single,
    called_as,
    real_arrays,
    require_functions,
    whole_number,
)
from jaxcalc.core.progress import progress_line
from jaxcalc.engine.certificate import Certificate, PointKind
from jaxcalc.engine.interruption import Interrupted
from jaxcalc.engine.problem import default_gtol
from jaxcalc.engine.result import X
from jaxcalc.engine.status import RUNNING, Status
from jaxcalc.methods.method import Method
from jaxcalc.optimize.arguments import ArrayBox, DictBox, K, Numbers, chosen_method, search_box, tolerance, tolerances
from jaxcalc.optimize.constraints import asks_for_nothing, constrained_method, require_no_tolerance
from jaxcalc.optimize.multistart.constrained_points import ConstrainedBlocks
from jaxcalc.optimize.multistart.merging import Lines, merged, representatives
from jaxcalc.optimize.multistart.plains import merged_on_plains
from jaxcalc.optimize.multistart.points import ROUND, Blocks, Data, Ends, joined
from jaxcalc.optimize.multistart.result import Minima, coverage
from jaxcalc.optimize.multistart.search import Region, search, spread
from jaxcalc.optimize.scipy_keywords import translated

if TYPE_CHECKING:
    import optax

# With starts="auto" the sample may take this share of the evaluations; the rest is for the search.
AUTO_SHARE = 0.25


@overload
def multistart(
    fun: Callable, bounds: ArrayBox, args: Any = (), *, shared: Any = (), starts: Any = 1024, seed: int = 0,
    method: "str | Method | optax.GradientTransformation | None" = None, constraints: Any = (), scale: Any = None,
    many: bool = False, canonical: Callable | None = None, gtol: float | None = None, maxiter: int | None = None,
    maxfev: int = 200_000, ctol: float | None = None, progress: bool = False, **scipy: Any,
) -> Minima[Array]: ...  # fmt: skip
@overload
def multistart(fun: Callable, bounds: DictBox[K], args: Any = (), **options: Any) -> Minima[dict[K, Array]]: ...
@overload
def multistart(fun: Callable, bounds: tuple[X, X | Numbers], args: Any = (), **options: Any) -> Minima[X]: ...
@overload
def multistart(fun: Callable, bounds: Any, args: Any = (), **options: Any) -> Minima[Any]: ...
@called_as("multistart(fun, (lower, upper))")
def multistart(
    fun: Callable,
    bounds: Any,
    args: Any = (),
    *,
    shared: Any = (),
    starts: Any = 1024,
    seed: int = 0,
    method: "str | Method | optax.GradientTransformation | None" = None,
    constraints: Any = (),
    scale: Any = None,
    many: bool = False,
    canonical: Callable | None = None,
    gtol: float | None = None,
    maxiter: int | None = None,
    maxfev: int = 200_000,
    ctol: float | None = None,
    progress: bool = False,
    **scipy: Any,
) -> Minima[Any]:
    """Finds the distinct local minima of a function in a box, the best first, and says how many it may have missed.

    1. *Sample*: descents from `starts` points of a scrambled Sobol sequence, in rounds of 256 in the lanes of
       `minimize_many`. Their first steps are short, 0.01 lengths of x unless the method says otherwise, so that most
       end in the basin of their start.
    2. *Merge*: two ends are the same minimum if f does not rise on the line between them, or along the bottom of a
       valley in which both lie, however it bends. The share of starts that each minimum draws tells how many minima are
       likely to be missing (Boender and Rinnooy Kan).
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
        constraints: What x has to obey besides, as in `minimize`. Starts may violate them. Only points that violate
            them by at most ctol count as minima: if no descent ended in one, the one row of the result is the end with
            the least violation, with fun nan and the status INFEASIBLE or another that is no success. Ends are told
            apart by f with a penalty on violations, and certified on the tangent space of the constraints.
        scale: The size of a typical change of each variable, as in `minimize`.
        many: Whether the leaves of args have a leading axis of problems, (P, ...), which are all solved in the same
            rounds.
        canonical: A JAX-traceable function from an x to its canonical form, in the form of x, that is the same for all
            symmetric copies of a point: the atoms of a cluster turned and sorted, the components of a mixture in
            ascending order, abs(x) where fun is even. Ends are compared by their canonical forms, so copies count as
            one minimum. It must leave fun unchanged, fun(canonical(x)) = fun(x), which is tested at every end, and so
            is defined there too where a canonical form lies outside the box. Listed are the ends themselves, since the
            gradient was evaluated there; `jax.vmap(canonical)(minima.x)` are their canonical forms.
        gtol: The promise of each descent that succeeded, in units of f / x; by default 1e-5 in float64 and 1e-3 in
            float32.
        maxiter: The most iterations of each descent; by default the method's own.
        maxfev: No search round is begun that would likely take more evaluations for one problem; 0 for no search.
        ctol: The violation of constraints that SUCCESS allows, as in `minimize`.
        progress: Whether a line in the terminal tells how many descents have ended and which share of them succeeded.
        scipy: SciPy's other keywords, as in `minimize`, for the descents: `tol` and `options` of gtol and maxiter.

    Returns:
        A `Minima`; with many=True one that holds P problems, `minima[i]` being that of problem i.

    Raises:
        TypeError: If fun does not return one real number, bounds is not a pair of real arrays of one form, or an array
            is traced by `jit` or `vmap`, or canonical does not return the form of x.
        ValueError: If a lower bound is not below its upper one, the box is infinite and no starts are given, an option
            is out of range, or canonical changes the value of fun.
        Interrupted: At Ctrl-C; its `result` holds the descents so far, the lowest first, as `minimize_many` does.

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
    if canonical is not None:
        require_functions([canonical], "canonical", several=False)
    if not isinstance(many, bool | np.bool_):
        raise TypeError(f"many is True or False, whether args have a leading axis of problems; it is {many!r}.")
    if scipy:
        given = translated("multistart", scipy, {"gtol": gtol, "maxiter": maxiter, "maxfev": maxfev})
        gtol, maxiter = given["gtol"], given["maxiter"]
    data = Data(arrays("args", as_tuple(args)), arrays("shared", as_tuple(shared)))
    is_constrained = not asks_for_nothing(constraints)
    chosen = constrained_method(method) if is_constrained else chosen_method(method).staying_in_basin()
    known = jax.tree.map(jax.lax.stop_gradient, data)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((known, bounds, starts))):
        raise TypeError(
            "multistart runs on the host, because how many minima there are depends on the values, which under jax.jit "
            "and jax.vmap are not known yet. Call it outside of them; for many problems give their args a leading axis "
            "and many=True. There are no derivatives with respect to bounds and starts."
        )
    auto = isinstance(starts, str) and starts == "auto"
    if not isinstance(seed, int | np.integer):
        raise TypeError(
            f"seed is a whole number, such as 0; it is a {type(seed).__name__}. Nothing is drawn by jax.random."
        )
    seed = whole_number("seed", seed)
    own = None if auto or isinstance(starts, int | np.integer) else _own_starts(starts)
    box = search_box(bounds, own)
    dtype = at_least_single(*jax.tree.leaves(box.lower))
    given = tolerances("", None, gtol=default_gtol(dtype) if gtol is None else gtol, maxiter=maxiter)
    operands = (fun, known, many, box, chosen, given.given(), scale, canonical)
    if is_constrained:
        most = None if ctol is None else float(tolerance("ctol", ctol, None))
        blocks = ConstrainedBlocks(*operands, constraints=constraints, ctol=most)
    else:
        require_no_tolerance(ctol)
        blocks = Blocks(*operands)
    rows = None if own is None else blocks.as_rows(own)
    count = ROUND if auto else whole_number("starts", int(starts), 1) if rows is None else len(rows)
    sample, most = Sample(count, rows, auto, seed), whole_number("maxfev", maxfev)
    try:
        with progress_line(None, progress, unit="descents") as blocks.show:
            found = _solve(blocks, sample, most)
    except KeyboardInterrupt:
        raise Interrupted(blocks.so_far()) from None
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(data)):
        found = _with_derivatives(blocks, jax.device_put(found), data)
        return found if many else found[0]
    # The one problem is taken out while its minima are in NumPy, which compiles nothing.
    return jax.device_put(found if many else found[0])


def _own_starts(starts: Any) -> Any:
    """Returns the caller's starts as arrays; raises an error where they are neither these nor anything else."""
    own = None if isinstance(starts, str | float | bool | None) else real_arrays("starts", starts)
    if own is None or not all(leaf.shape and len(leaf) for leaf in jax.tree.leaves(own)):
        kind = TypeError if isinstance(starts, float | bool | None) else ValueError
        raise kind(
            "starts is a number of points, a whole number such as 1024, or 'auto', or the starts themselves, an array "
            f"(N, ...) with a row for each; it is {starts!r}."
        )
    return own


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


def _solve(blocks: Blocks, sample: Sample, maxfev: int) -> Minima:
    """Runs the four stages for all problems."""
    region = Region(blocks.lower, blocks.upper)
    if sample.own is not None:
        region = Region(np.maximum(sample.own.min(0), region.lower), np.minimum(sample.own.max(0), region.upper))
    lines = Lines(blocks.values, float(blocks.tolerances["gtol"]), region.scale)
    found, starts = _sampled(blocks, sample, region, lines, maxfev)
    going = np.array([not found.is_enough(problem) for problem in range(blocks.problems)])
    chance = np.random.default_rng([sample.seed, 1])
    searched, rounds = search(blocks, found.ends, region, going, sample.size, maxfev, chance)
    if rounds.any():
        found = _distinct(blocks, joined(found.ends, searched[searched.count == 0]), lines)
    found = _lowest_finished(blocks, found, lines)
    return _as_minima(blocks, found, {"starts": starts, "rounds": rounds, "nfev": blocks.nfev})


class Distinct(NamedTuple):
    """Distinct ends of all problems, with their certificates."""

    ends: Ends
    certificate: Certificate

    def listed(self, problem: int) -> np.ndarray:
        """Returns the rows of a problem's minima, the lowest first, which is listed whatever it is."""
        rows = np.flatnonzero(self.ends.problem == problem)
        # A NaN, where no value is known or constraints are violated, comes last.
        rows = rows[np.lexsort((self.ends.violation[rows], self.ends.value[rows]))]
        kept = self.ends.success[rows] & ~np.isin(self.certificate.kind[rows], (PointKind.SADDLE, PointKind.MAXIMUM))
        kept[0] = True
        return rows[kept]

    def is_enough(self, problem: int) -> bool:
        """Whether a descent succeeded, and the counts of the listed minima say that hardly one is missing."""
        rows = self.listed(problem)
        return bool(self.ends.success[rows].any()) and coverage(self.ends.count[rows]).is_enough


def _sampled(blocks: Blocks, sample: Sample, region: Region, lines: Lines, maxfev: int) -> tuple[Distinct, np.ndarray]:
    """Returns the distinct ends of the sample with their counts, and how many starts each problem had."""
    going, starts = np.arange(blocks.problems), np.zeros(blocks.problems, int)
    x = spread(region, sample.count, sample.seed) if sample.own is None else sample.own
    found = None
    while True:
        ends = blocks.descend(np.tile(x, (len(going), 1)), going.repeat(len(x)))
        starts[going] += len(x)
        found = _distinct(blocks, ends if found is None else joined(found.ends, ends), lines)
        enough = np.array([found.is_enough(problem) for problem in going.tolist()])
        affordable = 2 * blocks.nfev[going] <= AUTO_SHARE * maxfev
        going = going[~enough & affordable]
        if not sample.auto or not len(going):
            return found, starts
        total = int(starts[going[0]])
        x = spread(region, 2 * total, sample.seed)[total:]


def _distinct(blocks: Blocks, ends: Ends, lines: Lines) -> Distinct:
    """Returns one row for each minimum, with the counts of all ends in it, and the certificates."""
    ends = _one_of_each(ends, merged(ends, lines), lines)
    certificate = blocks.certify(ends.x, ends.problem)
    sure = ends.success & np.isin(certificate.kind, (PointKind.MINIMUM, PointKind.BOUND_MINIMUM))
    label = merged_on_plains(ends, ~sure, lines, blocks.descend_nearby)
    first, _ = representatives(ends, label, lines)
    return Distinct(_one_of_each(ends, label, lines), jax.tree.map(lambda leaf: leaf[first], certificate))


def _one_of_each(ends: Ends, label: np.ndarray, lines: Lines) -> Ends:
    """Returns one row for each label, with the counts of all its ends."""
    first, member = representatives(ends, label, lines)
    counts = np.bincount(member, weights=ends.count, minlength=len(first)).astype(int)
    return dataclasses.replace(ends[first], count=counts)


def _lowest_finished(blocks: Blocks, found: Distinct, lines: Lines) -> Distinct:
    """Returns the ends, and where the lowest of a problem had reached its cap, also that of the whole descent."""
    ends = found.ends
    order = np.lexsort((ends.value, ends.problem))
    lowest = order[np.unique(ends.problem[order], return_index=True)[1]]
    unfinished = lowest[ends.status[lowest] == Status.MAX_ITERATIONS]
    if not len(unfinished):
        return found
    further = blocks.descend(ends.x[unfinished], ends.problem[unfinished])
    further = dataclasses.replace(further, count=np.zeros(len(further), int))
    return _distinct(blocks, joined(ends, further), lines)


def _as_minima(blocks: Blocks, found: Distinct, facts: dict[str, Any]) -> Minima:
    """Returns the minima of all problems, (P, m), in NumPy; problems with fewer are filled up."""
    listed = [found.listed(problem) for problem in range(blocks.problems)]
    most = max(map(len, listed))
    rows = np.stack([np.append(of_one, np.full(most - len(of_one), of_one[0])) for of_one in listed])
    real = np.arange(most) < np.array([len(of_one) for of_one in listed])[:, None]
    no_point: dict[str, Any] = {field.name: np.nan for field in dataclasses.fields(Certificate)}
    no_point |= {"kind": int(PointKind.NOT_CRITICAL), "index": 0}
    none = Certificate(**no_point)

    def table(leaf: np.ndarray, filler: Any) -> np.ndarray:
        leaf, shape = leaf[rows], (*real.shape, *(1,) * (leaf.ndim - 1))
        return np.where(real.reshape(shape), leaf, np.asarray(filler, leaf.dtype))

    ends = found.ends
    by_row = {"fun": (ends.value, np.nan), "count": (ends.count, 0), "status": (ends.status, RUNNING)}
    tables: dict[str, Any] = {name: table(*of_name) for name, of_name in by_row.items()}
    if blocks.is_constrained:
        tables["constraint_violation"] = table(ends.violation, np.nan)
    tables["x"] = jax.tree.map(lambda leaf: table(leaf, np.nan), blocks.as_x(ends.x))
    tables["certificate"] = jax.tree.map(table, found.certificate, none)
    estimates = [coverage(ends.count[of_one])._asdict() for of_one in listed]
    for name in ("missed_probability", "unseen_share", "expected_minima"):
        tables[name] = np.array([estimate[name] for estimate in estimates])
    return Minima(**tables, **facts)


def _with_derivatives(blocks: Blocks, found: Minima, data: Data) -> Minima:
    """Returns the minima with x and fun as functions of the data: a descent from each, which ends where it starts."""
    problem, row = np.nonzero(np.asarray(found.status) != RUNNING)
    count = len(problem)
    # Their number rounded up, so that few shapes are compiled.
    more = np.zeros(2 ** (count - 1).bit_length() - count, int)
    padded, rows = np.append(problem, more), np.append(row, more)
    result = blocks.minimized(jax.tree.map(lambda leaf: leaf[padded, rows], found.x), padded, data)

    def table(known: Array, new: Array) -> Array:
        return known.astype(new.dtype).at[problem, row].set(new[:count])

    x = jax.tree.map(table, found.x, result.x)
    fun = jnp.where(jnp.isnan(found.fun), jnp.nan, table(found.fun, result.fun))
    return dataclasses.replace(found, x=x, fun=fun)
