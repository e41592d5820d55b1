"""What a worker does: reads the rows of a chunk, solves its problems, writes its results, returns a receipt."""

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcalc.engine.status import Status, is_success
from jaxcalc.engine.steps import loop_only
from jaxcalc.streaming.problems import Maker, Rows, Table
from jaxcalc.streaming.store import Layout, Store

PyTree = Any

# How many runs a worker remembers: their functions stay the same objects, so that each compiles once.
MOST_RUNS_KNOWN = 4
# The field that says which run has solved a problem: 0 for the first, k for the k-th rerun of failures.
RUN = "run"


class Own(NamedTuple):
    """Stands in options for the array whose rows are entry `index` of `Rows.own`."""

    index: int


@dataclasses.dataclass(frozen=True)
class Solver:
    """How the problems of a chunk are solved.

    Attributes:
        solve: (fun, x0, args, shared=, **options) -> a result with the fields of N problems, as `minimize_many` has.
        fun: The user's function.
        shared: What all problems share.
        options: Keyword arguments of `solve`, with `Own` in the place of what each problem has of its own.
    """

    solve: Callable
    fun: Callable
    shared: tuple[Any, ...]
    options: Mapping[str, Any]

    def fields(self, rows: Rows) -> dict[str, Any]:
        """Returns the results of these problems, an array (N, ...) under each field's name."""
        is_own = lambda entry: isinstance(entry, Own)  # noqa: E731
        options = jax.tree.map(
            lambda entry: rows.own[entry.index] if is_own(entry) else entry,
            dict(self.options),
            is_leaf=lambda entry: is_own(entry) or entry is None,
        )
        with loop_only():
            return as_fields(self.solve(self.fun, rows.x0, rows.args, shared=self.shared, **options))

    def layout_of(self, one: Rows, chunk_size: int, count: int) -> Layout:
        """Returns the layout of the results, from the shapes of one problem; nothing is computed."""
        abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((chunk_size, *leaf.shape[1:]), leaf.dtype), one)
        fields = jax.eval_shape(self.fields, abstract)
        return Layout(count, chunk_size, {name: (leaf.shape[1:], str(leaf.dtype)) for name, leaf in fields.items()})


@dataclasses.dataclass(frozen=True)
class Work:
    """A run as its workers get it.

    Attributes:
        token: Tells this run from all others.
        home: The process that the run belongs to.
        solver: How problems are solved.
        problems: Where the rows come from; None where each task brings its rows.
        store: Where results go.
        layout: The store's layout.
        modes: The values of JAX's configuration in which the caller runs.
        rerun: The number of the rerun of failures, 0 for a first run.
    """

    token: str
    home: int
    solver: Solver
    problems: Table | Maker | None
    store: Store
    layout: Layout
    modes: Mapping[str, Any]
    rerun: int = 0


class Receipt(NamedTuple):
    """What a worker returns of a chunk.

    Attributes:
        chunk: Its number.
        solved: How many of its problems have a result now.
        successes: How many of these succeeded.
        error: The message of the error that its data or function raised; empty where the chunk is written.
    """

    chunk: int
    solved: int
    successes: int
    error: str = ""


_known: dict[str, Any] = {}
_warm: set[tuple[str, Any]] = set()
_stopped: set[str] = set()
_guard, _first = threading.Lock(), threading.Lock()
# The device of a worker that is a thread, and the slots that computing takes.
local: threading.local = threading.local()


def solve_chunk(work: Work, chunk: int, rows: Rows | None = None, slots: Any = None) -> Receipt:
    """Solves the problems of a chunk and writes their results.

    Args:
        work: The run.
        chunk: The chunk's number.
        rows: Its rows; None where they are read here.
        slots: A semaphore for threads: one chunk is computed for each slot, while others are read and written.

    Returns:
        The receipt. What the data or the function raises is in it; a store that cannot be written raises.
    """
    work = work if work.home == os.getpid() else first_copy(work.token, work)
    start, stop = work.layout.span(chunk)
    with slots or contextlib.nullcontext(), modes(work.modes):
        try:
            assert rows is not None or work.problems is not None
            rows = work.problems.read(start, stop) if rows is None else rows  # pyright: ignore
            _warm_up(work, rows)
            results = _again(work, chunk, rows) if work.rerun else _solved(work, rows, stop - start)
        except Exception as error:
            return Receipt(chunk, 0, 0, f"{type(error).__name__}: {error}")
    if results is not None and work.token not in _stopped:
        work.store.write(chunk, results)
    status = work.store.read("status", start, stop) if results is None else results["status"]
    return Receipt(chunk, stop - start, int(np.sum(is_success(status))))


def stop_writing(token: str) -> None:
    """Lets no worker of this process write for this run any more: the run has ended."""
    _stopped.add(token)


def as_fields(result: Any) -> dict[str, Any]:
    """Returns the arrays of a result under names: "x", or "x.a" for the leaf "a" of a pytree."""
    fields = {}
    for field in dataclasses.fields(result):
        for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(result, field.name)):
            keys = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
            fields[".".join([field.name, *keys])] = leaf
    return fields


def padded(rows: Rows, size: int) -> Rows:
    """Returns the rows with as many after them as a whole chunk has, so that all chunks run one compiled program.

    The further starts are nan, which ends a problem without an evaluation. Integers have no nan: there, and where JAX
    looks for nan, the last row is repeated.
    """
    missing = size - len(jax.tree.leaves(rows.x0)[0])
    if not missing:
        return rows
    repeated = jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], missing, axis=0)]), rows)
    if not _may_be_nan(rows):
        return repeated

    def without_start(leaf: np.ndarray) -> np.ndarray:
        leaf[-missing:] = np.nan
        return leaf

    return repeated._replace(x0=jax.tree.map(without_start, repeated.x0))


@contextlib.contextmanager
def modes(values: Mapping[str, Any]) -> Iterator[None]:
    """Computes in these values of JAX's configuration, which threads and processes do not inherit."""
    with contextlib.ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(_MODES[name](value))
        device = getattr(local, "device", None)
        if device is not None:
            stack.enter_context(jax.default_device(device))
        yield


def current_modes() -> dict[str, Any]:
    """Returns the values of JAX's configuration that results depend on."""
    values = {name: getattr(jax.config, f"jax_{name}") for name in _MODES}
    return {name: getattr(value, "value", value) for name, value in values.items()}


_MODES: dict[str, Callable] = {
    "enable_x64": jax.enable_x64,
    "numpy_rank_promotion": jax.numpy_rank_promotion,
    "numpy_dtype_promotion": jax.numpy_dtype_promotion,
    "default_matmul_precision": jax.default_matmul_precision,
}


def first_copy(token: str, thing: Any) -> Any:
    """Returns the first copy with this token that has reached this process: a later one has other function objects."""
    with _guard:
        known = _known.setdefault(token, thing)
        while len(_known) > MOST_RUNS_KNOWN:
            _known.pop(next(iter(_known)))
        return known


def _may_be_nan(rows: Rows) -> bool:
    floats = all(np.issubdtype(leaf.dtype, np.floating) for leaf in jax.tree.leaves(rows.x0))
    return floats and not getattr(jax.config, "jax_debug_nans")  # noqa: B009


def _warm_up(work: Work, rows: Rows) -> None:
    """Compiles the program once where several threads would do so at the same time, by solving rows without starts."""
    key = (work.token, getattr(local, "device", None))
    with _first:
        if key not in _warm and _may_be_nan(rows):
            one = jax.tree.map(lambda leaf: leaf[:1], rows)
            nowhere = one._replace(x0=jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), one.x0))
            jax.block_until_ready(work.solver.fields(padded(nowhere, work.layout.chunk_size)))
        _warm.add(key)


def _solved(work: Work, rows: Rows, count: int) -> dict[str, np.ndarray]:
    """Returns the results of these problems as NumPy arrays, solved as a whole chunk."""
    fields = work.solver.fields(padded(rows, work.layout.chunk_size))
    results = {name: np.asarray(leaf)[:count] for name, leaf in fields.items()}
    return results | {RUN: np.full(count, work.rerun, np.uint8)}


def _again(work: Work, chunk: int, rows: Rows) -> dict[str, np.ndarray] | None:
    """Solves the failures of a chunk again; returns the chunk with those that succeed now, None if there are none."""
    start, stop = work.layout.span(chunk)
    failed = np.flatnonzero(~is_success(work.store.read("status", start, stop)))
    if not failed.size:
        return None
    fresh = _solved(work, jax.tree.map(lambda leaf: leaf[failed], rows), len(failed))
    mended = np.flatnonzero(is_success(fresh["status"]))
    if not mended.size:
        return None
    results = {name: np.array(work.store.read(name, start, stop)) for name in work.layout.fields}
    for name in set(results) & set(fresh):  # methods differ in what they count: only some have nhev
        results[name][failed[mended]] = fresh[name][mended]
    return results


def names_of(line: np.ndarray) -> dict[str, int]:
    """Returns how many problems ended with each status, by its name, from the counts of codes."""
    return {Status(code).name: int(number) for code, number in enumerate(line) if number}


def share(array: Any) -> Any:
    """Returns what all problems share as arrays on the device."""
    return jax.tree.map(jnp.asarray, array)
