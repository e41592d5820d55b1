"""Points of one or several problems of a function, in blocks of one shape so that nothing compiles again.

On this side x is a table of flat rows (K, n) in NumPy, each with the row `problem` of the args that it belongs to.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxcalc.core.programs import compiled, compiled_by_cost
from jaxcalc.engine import solve
from jaxcalc.engine.certificate import AT_ONCE, Certificate
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.engine.interruption import Interrupted
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.status import is_success
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Method
from jaxcalc.optimize.minimize import minimize_many

# Rows of a call that evaluates values.
VALUES = 2048
# Rows of a call that descends: so many for each problem, and at most so many in all. What was asked for is filled up,
# so that another number of starts compiles nothing and runs in as many lanes.
ROUND, DESCENTS = 256, 2**16


@dataclasses.dataclass(frozen=True)
class Ends:
    """Where descents ended.

    Attributes:
        x: The ends, (K, n).
        value: The values there, (K,).
        status: How each descent ended, (K,) codes of `Status`.
        problem: The problem of each, (K,).
        count: How many starts ended in each, (K,).
        place: The points that are compared, (K, n): x, or its canonical form.
        violation: By how much constraints are violated there, (K,); zeros without constraints.
    """

    x: np.ndarray
    value: np.ndarray
    status: np.ndarray
    problem: np.ndarray
    count: np.ndarray
    place: np.ndarray
    violation: np.ndarray

    @property
    def success(self) -> np.ndarray:
        """Whether the descent succeeded, (K,)."""
        return is_success(self.status)

    def __getitem__(self, rows: Any) -> "Ends":
        return Ends(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def __len__(self) -> int:
        return len(self.value)


def joined(*ends: Ends) -> Ends:
    """Returns the rows of all of them, one after the other."""
    fields = (field.name for field in dataclasses.fields(Ends))
    return Ends(*(np.concatenate([getattr(each, name) for each in ends]) for name in fields))


class Data(NamedTuple):
    """What fun takes after x: args, with a leading axis P where there are P problems, and what these share."""

    args: tuple[Any, ...]
    shared: tuple[Any, ...] = ()


class Blocks:
    """A function with its args and its box, as functions of rows of points; counts the evaluations of fun.

    Attributes:
        problems: How many problems there are, P.
        lower: The box's lower side, flat, (n,); with upper.
        tolerances: The tolerances and caps of the descents, by the names of `minimize_many`.
        nfev: Evaluations of each problem so far, (P,).
        longest: The most evaluations of a descent that succeeded.
        finished: The results of all descents, as blocks of rows.
        show: Called with how many descents have ended, and how many of them succeeded.
        is_constrained: Whether there are constraints.
    """

    is_constrained: ClassVar[bool] = False

    tolerances: dict[str, Any]
    problems: int
    lower: np.ndarray
    upper: np.ndarray
    nfev: np.ndarray
    longest: int

    def __init__(
        self,
        fun: Callable,
        data: Data,
        many: bool,
        box: Box,
        method: Method,
        tolerances: dict[str, Any],
        scale: Any = None,
        canonical: Callable | None = None,
    ):
        """Takes the box and the scale in the form of x. With many, leaves of the data's args have a leading axis P."""
        self._fun, self._data, self._many, self._method, self.tolerances = fun, data, many, method, tolerances
        self._scale, self._canonical = scale, canonical
        self.problems = _problems(data.args) if many else 1
        self._leaves, self._structure = jax.tree.flatten(box.lower)
        self._box = box
        self.lower, self.upper = (np.asarray(ravel_pytree(side)[0]) for side in box)
        if canonical is not None:
            _require_form_of_x(canonical, box.lower)
        self.nfev = np.zeros(self.problems, int)
        self.longest = 1
        self.finished: list[OptimizeResult] = []
        self._ended = self._succeeded = 0
        self.show: Callable[[int, int], None] = lambda ended, succeeded: None

    def as_x(self, rows: np.ndarray) -> Any:
        """Returns rows (K, n) in the form of x, leaves (K, ...)."""
        ends = np.cumsum([leaf.size for leaf in self._leaves])[:-1]
        parts = zip(np.split(rows, ends, axis=1), self._leaves, strict=True)
        leaves = [part.reshape(-1, *leaf.shape).astype(leaf.dtype) for part, leaf in parts]
        return jax.tree.unflatten(self._structure, leaves)

    def as_rows(self, x: Any) -> np.ndarray:
        """Returns x, leaves (K, ...), as rows (K, n)."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(x)]
        return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1).astype(self.lower.dtype)

    def minimized(self, x: Any, problem: np.ndarray, data: Data, **options: Any) -> OptimizeResult:
        """Returns the descents from x, leaves (K, ...), with this data in the place of the known one."""
        own, shared = self._own_and_shared(problem, data)
        return minimize_many(self._fun, x, own, shared=shared, **self.options() | options)

    def options(self) -> dict[str, Any]:
        """Returns the arguments of `minimize_many` that all descents have."""
        bounds = tuple(self._box) if np.isfinite([*self.lower, *self.upper]).any() else None
        return {"method": self._method, "bounds": bounds, "scale": self._scale} | self.tolerances

    def judged(self, result: Any, problem: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns by which values the ends of these problems are compared, and how much they violate constraints."""
        return result.fun, np.zeros(len(problem))

    def descend_nearby(self, x: np.ndarray, problem: np.ndarray) -> Ends:
        """Returns where descents from these rows end that do not leave the valley in which they start."""
        return self.descend(x, problem)

    def descend(
        self, x: np.ndarray, problem: np.ndarray, most: float = np.inf, minimized: Callable | None = None
    ) -> Ends:
        """Returns where the descents from these rows end, after at most `most` iterations.

        `minimized` is a function like the method of this name, which is taken without it.
        """
        ends, minimized = [], minimized or self.minimized
        most = min(most, self.tolerances.get("maxiter", self._method.default_maxiter(x.shape[1])))
        for rows, padded in blocks_of(len(x), min(ROUND * self.problems, DESCENTS)):
            # Rows that only fill the block up end after their first evaluation.
            caps = np.where(padded, 0, most).astype(np.int32)
            try:
                result = jax.device_get(minimized(self.as_x(x[rows]), problem[rows], self._data, maxiter=caps))
            except Interrupted as end:
                self._keep(jax.device_get(end.result), padded)
                raise
            self._keep(result, padded)
            count = np.ones(len(rows), int)
            at = self.as_rows(result.x)
            value, violation = self.judged(result, problem[rows])
            ends.append(Ends(at, value, result.status, problem[rows], count, at, violation)[~padded])
            np.add.at(self.nfev, problem[rows][~padded], result.nfev[~padded])
            self.longest = max(self.longest, np.max(result.nfev, where=result.success, initial=0))
        return self._in_canonical_form(joined(*ends))

    def _keep(self, result: Any, padded: np.ndarray) -> None:
        """Keeps a block's results, and shows how many descents have ended."""
        kept = jax.tree.map(lambda leaf: leaf[~padded], result)
        self.finished.append(kept)
        self._ended += len(kept.status)
        self._succeeded += int(np.sum(kept.success))
        self.show(self._ended, self._succeeded)

    def so_far(self) -> OptimizeResult | None:
        """Returns the results of all descents, the lowest first; None before the first."""
        if not self.finished:
            return None
        rows = jax.tree.map(lambda *blocks: np.concatenate(blocks), *self.finished)
        order = np.argsort(np.where(rows.success, rows.fun, np.inf), kind="stable")
        return jax.tree.map(lambda leaf: leaf[order], rows)

    def _in_canonical_form(self, ends: Ends) -> Ends:
        """Returns the ends with the canonical forms of x as their places.

        Raises:
            ValueError: If fun does not have the same value at the canonical form of an end as at the end itself.
        """
        if self._canonical is None:
            return ends
        program = compiled(_canonical_forms, [self._canonical])
        place = self.as_rows(self._by_blocks(VALUES, lambda x, *_: program(None, x), ends.x, ends.problem))
        known = ends.success & np.isfinite(ends.value)
        value = self.values(place[known], ends.problem[known])
        size = np.max(np.abs(ends.value[known]), initial=0)
        moved = np.sum(np.abs(place - ends.x)[known], axis=1)
        error = np.finfo(ends.x.dtype).eps ** 0.5 * size + float(self.tolerances["gtol"]) * moved
        wrong = np.flatnonzero(~(np.abs(value - ends.value[known]) <= error))
        if len(wrong):
            x, other = (rows[known][wrong[0]] for rows in (ends.x, place))
            raise ValueError(
                f"canonical must map a point to one with the same value of fun: fun is {ends.value[known][wrong[0]]} "
                f"at x = {x} and {value[wrong[0]]} at canonical(x) = {other} (as flat vectors)."
            )
        return dataclasses.replace(ends, place=place)

    def values(self, x: np.ndarray, problem: np.ndarray) -> np.ndarray:
        """Returns the values at these rows, (K,)."""
        np.add.at(self.nfev, problem, 1)
        program = compiled_by_cost(_values, [self._fun])
        return self._by_blocks(VALUES, lambda *rows: program(None, *rows), x, problem)

    def certify(self, x: np.ndarray, problem: np.ndarray) -> Certificate:
        """Returns the certificates of these rows, as NumPy arrays."""
        box, gtol = jax.tree.map(lambda side: side[None], self._box), self.tolerances["gtol"]
        return self._by_blocks(
            AT_ONCE, lambda x, own, shared: solve.certify(self._fun, Scalar, x, own, shared, box, gtol), x, problem
        )

    def _own_and_shared(self, problem: np.ndarray, data: Data) -> tuple[tuple, tuple]:
        """Returns the args of each of these rows, and what all rows share."""
        if not self._many:
            return (), (*data.args, *data.shared)
        return jax.tree.map(lambda leaf: leaf[problem], data.args), data.shared

    def _by_blocks(self, size: int, call: Callable, x: np.ndarray, problem: np.ndarray) -> Any:
        """Returns the results of `call` on these rows, computed in blocks of one size."""
        results = []
        if not len(x):  # of one row come the shapes of no row
            one = self._by_blocks(size, call, np.zeros((1, len(self.lower))), np.zeros(1, int))
            return jax.tree.map(lambda leaf: leaf[:0], one)
        for rows, padded in blocks_of(len(x), size):
            result = jax.device_get(call(self.as_x(x[rows]), *self._own_and_shared(problem[rows], self._data)))
            results.append(jax.tree.map(lambda leaf, padded=padded: leaf[~padded], result))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *results)


def _problems(args: tuple) -> int:
    leaves = jax.tree_util.tree_leaves_with_path(args)
    if not leaves:
        raise ValueError("many=True needs args: their leading axis is that of the problems, leaves (P, ...).")
    sizes = {leaf.shape[:1] for _, leaf in leaves}
    if sizes == {()} or len(sizes) > 1 or sizes == {(0,)}:
        shapes = ", ".join(f"args{jax.tree_util.keystr(path)} {leaf.shape}" for path, leaf in leaves)
        raise ValueError(f"with many=True all args have one leading axis, of at least one problem; got {shapes}.")
    return sizes.pop()[0]


def _require_form_of_x(canonical: Callable, x: Any) -> None:
    """Raises a TypeError unless canonical(x) has the structure and the shapes of x."""
    forms = jax.eval_shape(lambda x: (x, canonical(x)), x)
    given, made = (jax.tree.map(lambda leaf: leaf.shape, form) for form in forms)
    if jax.tree.structure(forms[0]) != jax.tree.structure(forms[1]) or given != made:
        raise TypeError(f"canonical must return what it takes, in the form of x; it maps shapes {given} to {made}.")


def blocks_of(count: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the rows of each block of one size, filled up with the last row, and which rows only fill up."""
    for first in range(0, max(count, 1), size):
        rows = np.arange(first, first + size)
        yield np.minimum(rows, count - 1), rows >= count


def _values(functions: list[Callable], _: None, x: Any, args: tuple, shared: tuple) -> Any:
    (fun,) = functions
    return jax.vmap(lambda x, args: fun(x, *args, *shared))(x, args)


def _canonical_forms(functions: list[Callable], _: None, x: Any) -> Any:
    (canonical,) = functions
    return jax.vmap(canonical)(x)
