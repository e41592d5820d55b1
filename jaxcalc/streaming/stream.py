"""More problems than fit in memory, solved chunk by chunk into a store that a run which dies can go on from."""

import os
import pickle
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.optimize

from jaxcalc.core.arguments import as_tuple, function_name, one_of, require_functions, whole_number
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.family.residual import Residual
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.engine.status import is_success
from jaxcalc.optimize.arguments import chosen_method
from jaxcalc.optimize.minimize import minimize_many
from jaxcalc.streaming.driver import Loop, Workers, as_workers, reporting
from jaxcalc.streaming.executors import Processes
from jaxcalc.streaming.fits import curve_fit_rows, least_squares_rows
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
    note: Mapping | None = None


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


MINIMIZE = Kind("minimize_many", minimize_many, Scalar)
LEAST_SQUARES = Kind(
    "least_squares_many",
    least_squares_rows,
    Residual,
    numbers=("gtol", "maxiter", "maxfev", "ftol", "xtol", "f_scale"),
    rows=("weights",),
)


CURVE = Kind(
    "curve_fit",
    curve_fit_rows,
    Residual,
    numbers=LEAST_SQUARES.numbers,
    tables=("sigma", "mask"),
    traced=lambda model: lambda p, _, x: model(x, *p),
    methods=lambda method, _: method,
)


def minimize_stream(
    fun: Callable,
    problems: Any,
    store: Any,
    *,
    shared: Any = (),
    method: Any = "bfgs",
    bounds: Any = None,
    scale: Any = None,
    gtol: Any = None,
    maxiter: Any = None,
    maxfev: Any = None,
    ftol: Any = None,
    xtol: Any = None,
    lanes: int | None = None,
    history: int = 0,
    has_aux: bool = False,
    count: int | None = None,
    chunk_size: int | None = None,
    executor: "str | Executor | None" = None,
    workers: int | None = None,
    resume: bool = True,
    rerun: str | None = None,
    verify: bool = False,
    progress: Any = True,
) -> StreamResults:
    """Minimises more problems than fit in memory: f_i(x) = fun(x, *args[i], *shared), i = 0 .. N - 1, into a store.

    Problems are read, solved and written in chunks, so that memory is bounded by the chunk whatever N is. Each chunk is
    solved by `minimize_many`, and a problem's result does not depend, to the last bit, on the chunk size (of at least
    as many problems as there are lanes), the workers or their order. A run that was killed is gone on with by the same
    call: chunks that are written are not solved again. A chunk whose data raises is tried twice more and then marked as
    failed, and the others go on.

    Args:
        fun: A JAX-traceable function fun(x, *args, *shared) of one problem that returns one real number.
        problems: The starts and what problems have of their own: an array x0 (N, ...); a tuple (x0, args), as
            `minimize_many` takes them; a mapping with "x0" and entries that are named as fun's parameters; or a
            function chunk(start, stop) -> (x0, args). Arrays are anything that can be sliced by problem: NumPy arrays
            and maps of files, arrays of Zarr and HDF5, columns of tables. Rows are read a chunk at a time.
        store: The folder for the results, or a `jaxcalc.streaming.MemoryStore`.
        shared: What all problems share, without a problem axis, given to fun after args.
        method: As in `minimize_many`, with bounds, scale, gtol, maxiter, maxfev, ftol, xtol, lanes, history and
            has_aux; arrays with the leading axis N are read a chunk at a time, too.
        bounds: See method.
        scale: See method.
        gtol: See method.
        maxiter: See method.
        maxfev: See method.
        ftol: See method.
        xtol: See method.
        lanes: See method.
        history: See method.
        has_aux: See method.
        count: The number of problems N where problems is a function, and only there.
        chunk_size: How many problems a chunk has; by default so many as take about a second.
        executor: Who solves the chunks: "threads" (the default), "processes", or a `concurrent.futures.Executor`, such
            as `client.get_executor()` of Dask. Processes import fun, so that it has to be defined in a module.
        workers: How many workers there are; by default one for each core or accelerator, or as many as the executor
            says it has.
        resume: Whether to go on with a store that exists; if False, a store that exists is an error.
        rerun: "failures" solves the problems of the store that have not succeeded again, with this call's method,
            options and starts, and writes those that succeed now into the same store.
        verify: Whether to compare the checksums of all that is written before going on; otherwise only the sizes of
            files are compared. Damaged chunks are solved again.
        progress: Whether to show progress in a terminal, or a function that is called with
            `jaxcalc.streaming.driver.Progress`.

    Returns:
        The results, read from the store where they are asked for, as `open_results` gives them.

    Raises:
        StoreError: If the store belongs to a different run (the message names the difference), is in use by another
            process, or cannot be written.
        TypeError: If problems has none of the forms above, or processes cannot import fun.
        ValueError: If an option is out of range, or the arrays of problems differ in length.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import jaxcalc as jc
        >>> fun = lambda x, c: jnp.sum((x - c) ** 2)
        >>> centres = np.arange(20.0).reshape(10, 2)
        >>> store = jc.streaming.MemoryStore()
        >>> results = jc.minimize_stream(fun, (np.zeros((10, 2)), centres), store, chunk_size=4, progress=False)
        >>> results.x[3:5].round(3).tolist()
        [[6.0, 7.0], [8.0, 9.0]]

    Source: J. Nocedal and S. Wright, Numerical Optimization (2006), for the methods; the stream is this library's.
    """
    options = {"bounds": bounds, "scale": scale, "gtol": gtol, "maxiter": maxiter, "maxfev": maxfev, "ftol": ftol}
    options |= {"xtol": xtol, "lanes": lanes, "history": history, "has_aux": has_aux}
    run = Run(count, chunk_size, executor, workers, resume, rerun, verify, progress)
    return stream(MINIMIZE, fun, problems, store, shared, method, options, run)


def least_squares_stream(
    fun: Callable,
    problems: Any,
    store: Any,
    *,
    shared: Any = (),
    method: Any = "levenberg_marquardt",
    bounds: Any = None,
    loss: str = "linear",
    f_scale: Any = 1.0,
    weights: Any = None,
    scale: Any = None,
    gtol: Any = None,
    ftol: Any = None,
    xtol: Any = None,
    maxiter: Any = None,
    maxfev: Any = None,
    lanes: int | None = None,
    standard_errors: bool = True,
    covariance: bool = False,
    count: int | None = None,
    chunk_size: int | None = None,
    executor: "str | Executor | None" = None,
    workers: int | None = None,
    resume: bool = True,
    rerun: str | None = None,
    verify: bool = False,
    progress: Any = True,
) -> StreamResults:
    """Solves more problems of least squares than fit in memory, chunk by chunk into a store.

    The residuals of problem i are r_i(x) = fun(x, *args[i], *shared), and `least_squares_many` solves each chunk. The
    covariance of a solution is s^2 (J'J)^-1 with the Jacobian J of m residuals, weights and loss included, and
    s^2 = |r|^2 / (m - n), points of weight 0 not counted; standard errors are the roots of its diagonal. Bounds that
    hold a variable are not regarded, as in SciPy.

    Args:
        fun: A JAX-traceable function fun(x, *args, *shared) of one problem that returns its residuals, an array.
        problems: As in `minimize_stream`, with store, count, chunk_size, executor, workers, resume, rerun, verify and
            progress.
        store: See problems.
        shared: What all problems share, without a problem axis, given to fun after args.
        method: As in `least_squares_many`, with bounds, loss, f_scale, weights, scale, gtol, ftol, xtol, maxiter,
            maxfev and lanes; arrays with the leading axis N are read a chunk at a time, too.
        bounds: See method.
        loss: See method.
        f_scale: See method.
        weights: See method.
        scale: See method.
        gtol: See method.
        ftol: See method.
        xtol: See method.
        maxiter: See method.
        maxfev: See method.
        lanes: See method.
        standard_errors: Whether to keep the standard error of each variable, `results.stderr` (N, n).
        covariance: Whether to keep the upper triangle of each covariance, row by row, `results.covariance`
            (N, n (n + 1) / 2) in float32.
        count: See problems.
        chunk_size: See problems.
        executor: See problems.
        workers: See problems.
        resume: See problems.
        rerun: See problems.
        verify: See problems.
        progress: See problems.

    Returns:
        The results, read from the store where they are asked for: x, cost, grad, optimality, status, nit, nfev, stderr.

    Raises:
        StoreError: As for `minimize_stream`.
        TypeError: If problems has none of its forms, or processes cannot import fun.
        ValueError: If an option is out of range, or the arrays of problems differ in length.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import jaxcalc as jc
        >>> t = np.linspace(0.0, 4.0, 20)
        >>> y = 3.0 * np.exp(-np.array([[0.5], [1.0], [2.0]]) * t)
        >>> decay = lambda x, y, t: x[0] * jnp.exp(-x[1] * t) - y
        >>> store = jc.streaming.MemoryStore()
        >>> results = jc.least_squares_stream(decay, (np.ones((3, 2)), y), store, shared=(t,), progress=False)
        >>> results.x[:].round(4).tolist()
        [[3.0, 0.5], [3.0, 1.0], [3.0, 2.0]]

    Source: J. Moré (1978) for the method; the stream is this library's.
    """
    options = {"bounds": bounds, "loss": loss, "f_scale": f_scale, "weights": weights, "scale": scale, "gtol": gtol}
    options |= {"ftol": ftol, "xtol": xtol, "maxiter": maxiter, "maxfev": maxfev, "lanes": lanes}
    options |= {"standard_errors": bool(standard_errors), "covariance": bool(covariance)}
    run = Run(count, chunk_size, executor, workers, resume, rerun, verify, progress)
    return stream(LEAST_SQUARES, fun, problems, store, shared, method, options, run)


def curve_fit_stream(
    model: Callable,
    problems: Any,
    store: Any,
    *,
    xdata: Any,
    sigma: Any = None,
    absolute_sigma: bool = False,
    bounds: Any = None,
    method: Any = None,
    loss: str = "linear",
    f_scale: Any = 1.0,
    mask: Any = None,
    nan_policy: str | None = None,
    scale: Any = None,
    gtol: Any = None,
    ftol: Any = None,
    xtol: Any = None,
    maxiter: Any = None,
    maxfev: Any = None,
    lanes: int | None = None,
    standard_errors: bool = True,
    covariance: bool = False,
    count: int | None = None,
    chunk_size: int | None = None,
    executor: "str | Executor | None" = None,
    workers: int | None = None,
    resume: bool = True,
    rerun: str | None = None,
    verify: bool = False,
    progress: Any = True,
) -> StreamResults:
    """Fits model(x, *p) to more data sets than fit in memory, chunk by chunk into a store, as `curve_fit` does.

    Args:
        model: A JAX-traceable function model(x, *p), as in `curve_fit`.
        problems: The starts and the data, (p0, ydata) of shapes (N, n) and (N, m), in the forms of `minimize_stream`; a
            start for all is `numpy.broadcast_to(p0, (N, n))`, which takes no memory.
        store: As in `minimize_stream`, with count, chunk_size, executor, workers, resume, rerun, verify and progress.
        xdata: What the model takes as x, shared by all fits.
        sigma: The standard errors of the data: a number, (m,), or (N, m) for each fit.
        absolute_sigma: As in `curve_fit`, with bounds, method, loss, f_scale, nan_policy, scale, gtol, ftol, xtol,
            maxiter, maxfev and lanes; bounds (N, n) and numbers (N,) are read a chunk at a time.
        bounds: See absolute_sigma.
        method: See absolute_sigma.
        loss: See absolute_sigma.
        f_scale: See absolute_sigma.
        mask: Which points count, booleans (m,) or (N, m).
        nan_policy: See absolute_sigma.
        scale: See absolute_sigma.
        gtol: See absolute_sigma.
        ftol: See absolute_sigma.
        xtol: See absolute_sigma.
        maxiter: See absolute_sigma.
        maxfev: See absolute_sigma.
        lanes: See absolute_sigma.
        standard_errors: Whether to keep `results.stderr`, (N, n).
        covariance: Whether to keep the upper triangle of each covariance, as `least_squares_stream` does.
        count: See store.
        chunk_size: See store.
        executor: See store.
        workers: See store.
        resume: See store.
        rerun: See store.
        verify: See store.
        progress: See store.

    Returns:
        The results, read from the store where they are asked for: x, which is popt, cost, status, nit, nfev, stderr.

    Raises:
        StoreError: As for `minimize_stream`.
        TypeError: If problems has none of its forms, or processes cannot import the model.
        ValueError: If shapes do not fit, or an option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import jaxcalc as jc
        >>> t = np.linspace(0.0, 3.0, 20)
        >>> y = np.exp(-np.outer([0.5, 1.0, 2.0], t))
        >>> decay = lambda t, size, rate: size * jnp.exp(-rate * t)
        >>> problems = (np.broadcast_to([1.0, 1.0], (3, 2)), y)
        >>> store = jc.streaming.MemoryStore()
        >>> results = jc.curve_fit_stream(decay, problems, store, xdata=t, progress=False)
        >>> results.x[:, 1].round(4).tolist()
        [0.5, 1.0, 2.0]

    Source: J. Moré (1978) for the method; the stream is this library's.
    """
    options = {"sigma": sigma, "absolute_sigma": absolute_sigma, "bounds": bounds, "loss": loss, "f_scale": f_scale}
    options |= {"mask": mask, "nan_policy": nan_policy, "scale": scale, "gtol": gtol, "ftol": ftol, "xtol": xtol}
    options |= {"maxiter": maxiter, "maxfev": maxfev, "lanes": lanes}
    options |= {"standard_errors": bool(standard_errors), "covariance": bool(covariance)}
    run = Run(count, chunk_size, executor, workers, resume, rerun, verify, progress)
    return stream(CURVE, model, problems, store, xdata if isinstance(xdata, tuple) else (xdata,), method, options, run)


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
