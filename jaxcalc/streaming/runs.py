"""How a stream runs, whatever it solves: the store is made or checked, chunks are given out, failures rerun."""

import os
import pickle
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.optimize

from jaxcalc.core.arguments import as_tuple, function_name, one_of, require_functions, whole_number
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.status import is_success
from jaxcalc.optimize.arguments import chosen_method
from jaxcalc.streaming.driver import Loop, Workers, as_workers, reporting
from jaxcalc.streaming.executors import Processes
from jaxcalc.streaming.identity import MAY_DIFFER, differences, identity
from jaxcalc.streaming.problems import Maker, Rows, Table, as_problems, is_per_problem
from jaxcalc.streaming.results import StreamResults
from jaxcalc.streaming.store import WRITTEN, Layout, MemoryStore, Store, StoreError, ZarrStore
from jaxcalc.streaming.work import RUN, Own, Solver, Work, current_modes, modes, share

# How long a chunk is to take, in seconds, how many problems are timed to choose its size, and the most bytes that its
# rows and results may take.
SECONDS, TIMED, MOST_BYTES = 1.0, 1024, 2**26
# How many chunks each worker should get at least, so that none waits long for the last.
CHUNKS_EACH = 4
RERUNS = ("failures",)
MOST_RERUNS = 255


class Run(NamedTuple):
    """How a stream is run: keyword arguments that all streams have.

    Attributes:
        count: The number of problems, where problems is a function.
        chunk_size: The number of problems of a chunk, or None.
        executor: The workers.
        workers: How many there are, or None.
        resume: Whether a store that exists may be gone on with.
        rerun: "failures" or None.
        verify: Whether every byte of the store is read first.
        progress: Whether progress is shown, or a function.
        note: What the store is to remember of the command that has begun the run, as JSON.
    """

    count: int | None
    chunk_size: int | None
    executor: Any
    workers: int | None
    resume: bool
    rerun: str | None
    verify: bool
    progress: Any
    note: Mapping[str, Any] | None = None


class Kind(NamedTuple):
    """A kind of stream.

    Attributes:
        name: The name of the function that solves a chunk's problems.
        solve: (fun, x0, args, shared=, method=, **options) -> a result of N problems.
        family: The family of its methods.
        of_x: The options that have the form of x, with or without a leading problem axis.
        numbers: The options that are one number or one for each problem.
        rows: The options that always have a leading problem axis, of size 1 where problems share them.
        tables: The options with a number for each point, (m,), or for each point of each problem, (N, m).
        traced: fun -> a function of (x, *args, *shared), whose trace tells functions apart.
        methods: (method, family) -> what `solve` takes as the method.
    """

    name: str
    solve: Callable
    family: type[Family]
    of_x: tuple[str, ...] = ("bounds", "scale")
    numbers: tuple[str, ...] = ("gtol", "maxiter", "maxfev", "ftol", "xtol")
    rows: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    traced: Callable = lambda fun: fun
    methods: Callable = chosen_method


def stream(
    kind: Kind,
    fun: Callable,
    problems: Any,
    store: Any,
    shared: Any,
    method: Any,
    options: Mapping[str, Any],
    run: Run,
) -> StreamResults:
    """Runs a stream of any kind; see `minimize_stream`."""
    require_functions([fun], several=False)
    if run.rerun is not None:
        one_of("rerun", run.rerun, RERUNS)
    target = as_store(store)
    source, one, options = prepared(kind, fun, problems, options, run.count)
    chosen = kind.methods(method, kind.family)
    solver = Solver(kind.solve, fun, share(as_tuple(shared)), {"method": chosen, **options})
    about = identity(kind.name, fun, kind.traced(fun), method, options, solver.shared, one, current_modes())
    workers = as_workers(run.executor, None if run.workers is None else whole_number("workers", run.workers, 1))
    interrupted = False
    try:
        _require_reach(target, workers, solver)
        with target.lock():
            layout, rerun = _opened(target, about, solver, source, one, run, workers.count)
            work = Work(
                uuid.uuid4().hex, os.getpid(), solver, source, target, layout, about["configuration"], rerun
            )  # fmt: skip
            _complete(work, source, workers, run)
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        workers.end(at_once=interrupted)
    return StreamResults(target)


def as_store(store: Any) -> Store:
    """Returns the store that the caller names by its path, or the store itself."""
    if isinstance(store, str | os.PathLike):
        return ZarrStore(store)
    if not isinstance(store, MemoryStore | ZarrStore):
        raise TypeError(f"store is a path, a ZarrStore or a MemoryStore, not a {type(store).__name__}.")
    return store


def prepared(
    kind: Kind, fun: Callable, problems: Any, options: Mapping[str, Any], count: int | None
) -> tuple[Table | Maker, Rows, dict[str, Any]]:
    """Returns the source of the problems, the first of them, and the options with `Own` for what differs in them."""
    source = as_problems(problems, fun, count)
    one = first_problem(source)
    own: list[Any] = []

    def parted(dimensions: int) -> Callable:
        def part(leaf: Any) -> Any:
            if not is_per_problem(leaf, dimensions, source.count):
                return leaf
            own.append(leaf)
            return Own(len(own) - 1)

        return part

    result = dict(options)
    if isinstance(result.get("bounds"), scipy.optimize.Bounds):
        result["bounds"] = (result["bounds"].lb, result["bounds"].ub)
    for name in kind.of_x:
        result[name] = _parted_like(one.x0, result[name], parted)
    for name in kind.numbers:
        result[name] = parted(1)(result[name])
    for name in kind.tables:
        result[name] = parted(2)(result[name])
    for name in kind.rows:
        if result[name] is not None and source.count > 1:
            result[name] = parted(len(np.shape(result[name])))(result[name])
    if own:
        source = as_problems(problems, fun, count, own)
        one = one._replace(own=tuple(np.asarray(leaf[:1]) for leaf in own))
    return source, one, result


def first_problem(source: Table | Maker) -> Rows:
    """Returns the first problem with leaves (1, ...), for shapes; another one where the first cannot be read."""
    if not source.count:
        none = source.read(0, 0)
        return jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape[1:]), leaf.dtype), none)
    raised = None
    for index in dict.fromkeys((0, source.count // 2, source.count - 1)):
        try:
            return source.read(index, index + 1)
        except Exception as error:
            raised = raised or error
    assert raised is not None
    raise raised


def timed_chunk_size(solver: Solver, source: Table | Maker, bytes_each: int, workers: int) -> int:
    """Returns how many problems take about a second, a power of two, within bounds of memory and of balance."""
    few = min(source.count, TIMED)
    try:
        rows = source.read(0, few)
        jax.block_until_ready(solver.fields(rows))
        began = time.perf_counter()
        jax.block_until_ready(solver.fields(rows))
        elapsed = time.perf_counter() - began
    except Exception:  # the chunk will say what is wrong with its data
        return few
    most = min(SECONDS / elapsed * few, MOST_BYTES / bytes_each, source.count / (workers * CHUNKS_EACH))
    return min(max(2 ** int(np.log2(max(most, 1))), few), source.count)


def interruptible(function: Callable, *args: Any) -> Any:
    """Returns function(*args), called in a thread: XLA's compiler would keep this one from hearing Ctrl-C."""
    thread = ThreadPoolExecutor(1)
    try:
        return thread.submit(function, *args).result()
    finally:
        thread.shutdown(wait=False)


def _parted_like(x0: Any, value: Any, parted: Callable) -> Any:
    """Returns an option of the form of x, or a pair of such, with `Own` for leaves that have a problem axis."""
    forms = jax.tree.map(lambda leaf: leaf.ndim, x0)
    if isinstance(value, tuple) and len(value) == 2 and jax.tree.structure(value) != jax.tree.structure(x0):
        return tuple(_parted_like(x0, side, parted) for side in value)
    if jax.tree.structure(value) == jax.tree.structure(forms):
        return jax.tree.map(lambda dimensions, leaf: parted(dimensions)(leaf), forms, value)
    return jax.tree.map(parted(jax.tree.leaves(forms)[0]), value)


def _require_reach(store: Store, workers: Workers, solver: Solver) -> None:
    """Raises a TypeError where the workers cannot write into the store or import the function."""
    if not workers.are_threads and not store.is_shared:
        raise TypeError("a MemoryStore is filled by threads of this process only; give other workers a path.")
    if isinstance(workers.executor, Processes | ProcessPoolExecutor):
        try:
            pickle.dumps(solver)
        except Exception as error:
            raise TypeError(
                f"processes import {function_name(solver.fun)}, which must therefore be defined at the top level of a "
                f"module, not as a lambda or inside a function ({error})."
            ) from None


def _opened(
    store: Store, about: dict, solver: Solver, source: Table | Maker, one: Rows, run: Run, workers: int
) -> tuple[Layout, int]:
    """Returns the layout of the store, made or checked, and the number of this rerun, 0 for none."""
    if store.exists():
        if not run.resume:
            raise StoreError(f"{_name(store)} exists; with resume=False choose another path, or delete the folder.")
        return _reopened(store, about, source.count, run)
    if run.rerun:
        raise StoreError(f"{_name(store)} does not exist, so that there are no failures to run again.")
    layout = interruptible(_new_layout, about["configuration"], solver, source, one, run.chunk_size, workers)
    about = {"run": about, "reruns": []}
    store.create(layout, about if run.note is None else about | {"command": run.note})
    return layout, 0


def _new_layout(
    configuration: Mapping, solver: Solver, source: Table | Maker, one: Rows, chunk_size: int | None, workers: int
) -> Layout:
    """Returns the layout of a new store, whose chunk size is chosen where the caller has not given one."""
    size = None if chunk_size is None else whole_number("chunk_size", chunk_size, 1)
    with modes(configuration):
        fields = solver.layout_of(one, size or 1, source.count).fields
        if size is None:
            sizes = [int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize for shape, dtype in fields.values()]
            bytes_each = sum(sizes) + sum(leaf.nbytes for leaf in jax.tree.leaves(one))
            size = timed_chunk_size(solver, source, bytes_each, workers) if source.count else 1
    return Layout(source.count, size, fields | {RUN: ((), "uint8")})


def _reopened(store: Store, about: dict, count: int, run: Run) -> tuple[Layout, int]:
    """Returns the layout of a store that exists and the number of the rerun, after damaged chunks are forgotten.

    Raises:
        StoreError: If the store belongs to a different run.
    """
    layout, stored = store.layout(), store.about()
    size = layout.chunk_size if run.chunk_size is None else run.chunk_size
    sizes = ({"N": layout.count, "chunk_size": layout.chunk_size}, {"N": count, "chunk_size": size})
    ignored = MAY_DIFFER if run.rerun else ()
    found = differences(*sizes) + differences(stored["run"], about, ignored)
    if found:
        raise StoreError(
            f"{_name(store)} belongs to a different run: {'; '.join(found)}. Choose another path, or run what the "
            "store was begun with."
        )
    store.recover(run.verify)
    if not run.rerun:
        return layout, 0
    record = {name: about[name] for name in MAY_DIFFER}
    if stored["reruns"][-1:] != [record]:
        if len(stored["reruns"]) == MOST_RERUNS:
            raise StoreError(f"{_name(store)} has been rerun {MOST_RERUNS} times, which is the most.")
        stored["reruns"].append(record)
        store.describe(stored)
    return layout, len(stored["reruns"])


def _complete(work: Work, source: Table | Maker, workers: Workers, run: Run) -> None:
    """Solves the chunks that are not written or, in a rerun, those that hold failures."""
    done = work.store.done()
    written = done[:, 0] == WRITTEN
    sizes = np.diff(np.minimum(np.arange(work.layout.chunks + 1) * work.layout.chunk_size, work.layout.count))
    solved = int(sizes[written].sum())
    if work.rerun:
        chunks = np.flatnonzero(written & (done[:, 1:] @ ~is_success(np.arange(done.shape[1] - 1)) > 0))
    else:
        chunks = np.flatnonzero(~written)
    with reporting(run.progress, work.layout.count, solved) as report:
        loop = Loop(work, source, workers, solved, report)
        loop.run(chunks.tolist())
    if loop.failed:
        chunk, message = next(iter(loop.failed.items()))
        start, stop = work.layout.span(chunk)
        warnings.warn(
            f"{len(loop.failed)} of {work.layout.chunks} chunks failed and have no results; the first is chunk "
            f"{chunk}, problems {start} to {stop - 1}: {message}. The same call tries them again.",
            RuntimeWarning,
            stacklevel=4,
        )


def _name(store: Store) -> str:
    return str(store.path) if isinstance(store, ZarrStore) else "this MemoryStore"
