"""More problems than fit in memory, solved chunk by chunk into a store that a run which dies can go on from."""

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from jaxcalc.core.arguments import arrays, called_as
from jaxcalc.engine.family.residual import Residual
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.optimize.fitting.data import require_model
from jaxcalc.optimize.minimize import minimize_many
from jaxcalc.streaming.fits import curve_fit_rows, least_squares_rows
from jaxcalc.streaming.results import StreamResults
from jaxcalc.streaming.runs import Kind, Run, stream

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


@called_as("minimize_stream(fun, problems, store)")
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
            `minimize_many` takes them; a mapping, a group of Zarr or HDF5 or a table with "x0" and entries that are
            named as fun's parameters; or a function chunk(start, stop) -> (x0, args). Arrays are anything that can be
            sliced by problem: NumPy arrays and maps of files, arrays of Zarr and HDF5, columns of pandas, polars and
            Arrow. Rows are read a chunk at a time.
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


@called_as("least_squares_stream(fun, problems, store)")
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


@called_as("curve_fit_stream(model, (p0, ydata), store, xdata=xdata)")
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
    require_model(model)
    given = f"one array of shape {problems.shape}" if hasattr(problems, "shape") else f"a {type(problems).__name__}"
    given += f" of length {len(problems)}" if isinstance(problems, tuple) else ""
    if hasattr(problems, "shape") or isinstance(problems, list) or (isinstance(problems, tuple) and len(problems) != 2):
        raise TypeError(
            "problems must be (p0, ydata), the starts (N, n) and the data (N, m), in the forms of minimize_stream; it "
            f"is {given}. One start for all is numpy.broadcast_to(p0, (N, n))."
        )
    shapes = [part.shape for part in problems if hasattr(part, "shape")] if isinstance(problems, tuple) else []
    if len(shapes) == 2 and shapes[0][:1] != shapes[1][:1]:
        raise ValueError(
            "problems must be (p0, ydata), the starts (N, n) and the data (N, m) of equally many fits; they have the "
            f"shapes {shapes[0]} and {shapes[1]}. One start for all is numpy.broadcast_to(p0, (N, n))."
        )
    arrays("xdata", xdata)
    options = {"sigma": sigma, "absolute_sigma": absolute_sigma, "bounds": bounds, "loss": loss, "f_scale": f_scale}
    options |= {"mask": mask, "nan_policy": nan_policy, "scale": scale, "gtol": gtol, "ftol": ftol, "xtol": xtol}
    options |= {"maxiter": maxiter, "maxfev": maxfev, "lanes": lanes}
    options |= {"standard_errors": bool(standard_errors), "covariance": bool(covariance)}
    run = Run(count, chunk_size, executor, workers, resume, rerun, verify, progress)
    return stream(CURVE, model, problems, store, xdata if isinstance(xdata, tuple) else (xdata,), method, options, run)
