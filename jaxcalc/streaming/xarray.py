"""Fits and minimisations along dimensions of labelled arrays: `jaxcalc.xarray.curve_fit` and `.minimize`.

The arrays are NumPy- or Dask-backed; with Dask the result is lazy, and a chunk is solved when it is asked for.
"""

import dataclasses
import inspect
import os
import uuid
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcalc.core.arguments import called_as, require_functions
from jaxcalc.core.public import show_names
from jaxcalc.engine.status import Status
from jaxcalc.optimize.fitting.data import require_model
from jaxcalc.optimize.minimize import minimize_many
from jaxcalc.streaming.fits import least_squares_rows
from jaxcalc.streaming.problems import Rows
from jaxcalc.streaming.work import current_modes, first_copy, modes, padded

if TYPE_CHECKING:
    import xarray

# The most problems of one call, and the fewest that a short one is filled up to: few shapes, few programs.
MOST, FEWEST = 2**14, 2**8
MISSING = 'jaxcalc.xarray needs xarray: pip install "jaxcalc[xarray]"'
SECONDS_OF_A_DAY = np.timedelta64(1, "D") / np.timedelta64(1, "s")

show_names(__name__)

_residuals: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


@called_as("xarray.curve_fit(da, dim, model, p0)", 0)
def curve_fit(
    da: "xarray.DataArray",
    dim: Hashable,
    model: Callable,
    p0: Mapping[str, float] | Sequence[float],
    *,
    bounds: Any = None,
    coord: Any = None,
    **options: Any,
) -> "xarray.Dataset":
    """Fits a curve along a dimension of a labelled array, for every point of the other dimensions.

    Minimises sum_i (model(t_i, *p) - y_i)^2 over p, with t the coordinate of the dimension. Values that are nan are
    missing. A point with fewer values than parameters has nan and the status INVALID.

    Args:
        da: The data y, a `xarray.DataArray` of any dimensions, NumPy- or Dask-backed; fitted in its own precision.
        dim: The dimension to fit along.
        model: A JAX-traceable function model(t, *p) -> the curve at t (m,); its parameters' names become coordinates.
        p0: The start: a dict of parameters' names, or a sequence in their order.
        bounds: A pair (lower, upper), each side a number or one for each parameter, or None.
        coord: The values t (m,) in the place of the coordinate of `dim`. Dates count in days from the first.
        options: Further keyword arguments of `jaxcalc.least_squares_many`, such as loss, f_scale, maxiter, scale.

    Returns:
        A `xarray.Dataset` with the other dimensions and their coordinates: coefficients and stderr (..., param),
        covariance (..., param_i, param_j), cost and status (codes of `jaxcalc.Status`); lazy if the data is.

    Raises:
        ImportError: If xarray is not installed.
        ValueError: If the dimension does not exist, or p0 does not name the model's parameters.

    Example:
        >>> import jax.numpy as jnp, numpy as np, xarray as xr
        >>> import jaxcalc as jc
        >>> t = np.linspace(0.0, 4.0, 30)
        >>> y = 2.0 * np.exp(-np.array([[0.5], [1.5]]) * t)
        >>> da = xr.DataArray(y, dims=("pixel", "time"), coords={"time": t, "pixel": ["a", "b"]})
        >>> fit = jc.xarray.curve_fit(da, "time", lambda t, size, rate: size * jnp.exp(-rate * t), [1.0, 1.0])
        >>> fit.coefficients.sel(pixel="b", param="rate").round(3).item()
        1.5

    Source: J. Moré (1978) for the method; S. Hoyer and J. Hamman (2017) for labelled arrays.
    """
    xr = _xarray()
    require_model(model)
    da = _with_whole(da, [dim])
    names = _names(model)
    start = _start(p0, names)
    n, kind = len(start), np.result_type(da.dtype, np.float32)
    times = _numbers(da[dim].values if coord is None else np.asarray(coord)).astype(kind)
    if len(times) != da.sizes[dim]:
        raise ValueError(f"coord has {len(times)} values, but {dim!r} has {da.sizes[dim]}.")
    names = names or [f"p{k}" for k in range(n)]
    fit = _Blocks(
        uuid.uuid4().hex, os.getpid(), CURVE, model, start.astype(kind), (times,), current_modes(),
        {"bounds": bounds, **options},
    )  # fmt: skip
    outputs = [["param"], ["param"], ["param_i", "param_j"], [], []]
    result = xr.apply_ufunc(
        fit,
        da,
        input_core_dims=[[dim]],
        output_core_dims=outputs,
        dask="parallelized",
        output_dtypes=[kind, kind, kind, kind, np.int32],
        dask_gufunc_kwargs={"output_sizes": {"param": n, "param_i": n, "param_j": n}},
    )
    fields = dict(zip(("coefficients", "stderr", "covariance", "cost", "status"), result, strict=True))
    return xr.Dataset(fields).assign_coords(param=names, param_i=names, param_j=names)


@called_as("xarray.minimize(da, dim, fun, x0)", 0)
def minimize(
    da: "xarray.DataArray",
    dim: Hashable | Sequence[Hashable],
    fun: Callable,
    x0: Sequence[float],
    *,
    args: tuple[Any, ...] = (),
    **options: Any,
) -> "xarray.Dataset":
    """Minimises f(x) = fun(x, y, *args) for every point of a labelled array, y being its values along `dim`.

    Args:
        da: The data, a `xarray.DataArray` of any dimensions, NumPy- or Dask-backed.
        dim: The dimension, or the dimensions, of the values y that belong to one problem.
        fun: A JAX-traceable function fun(x, y, *args) that returns one real number; y has the shape of `dim`.
        x0: The start (n,), the same for all problems.
        args: What all problems share.
        options: Further keyword arguments of `jaxcalc.minimize_many`, such as method, bounds, gtol, maxiter.

    Returns:
        A `xarray.Dataset` with the other dimensions and their coordinates: x (..., variable), fun, status (codes of
        `jaxcalc.Status`), nit and nfev; lazy if the data is.

    Raises:
        ImportError: If xarray is not installed.
        ValueError: If a dimension does not exist.

    Example:
        >>> import jax.numpy as jnp, numpy as np, xarray as xr
        >>> import jaxcalc as jc
        >>> da = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("row", "draw"), coords={"row": [10, 20]})
        >>> result = jc.xarray.minimize(da, "draw", lambda x, y: jnp.sum((x - y) ** 2), [0.0])
        >>> result.x.sel(row=20).round(3).values.tolist()
        [4.0]

    Source: J. Nocedal and S. Wright (2006) for the methods; S. Hoyer and J. Hamman (2017) for labelled arrays.
    """
    xr = _xarray()
    require_functions([fun], several=False)
    dims = [dim] if isinstance(dim, str) or not isinstance(dim, Sequence) else list(dim)
    da = _with_whole(da, dims)
    kind = np.result_type(da.dtype, np.float32)
    start = np.asarray(x0, kind)
    solve = _Blocks(uuid.uuid4().hex, os.getpid(), SCALAR, fun, start, tuple(args), current_modes(), options, len(dims))
    result = xr.apply_ufunc(
        solve,
        da,
        input_core_dims=[dims],
        output_core_dims=[["variable"], [], [], [], []],
        dask="parallelized",
        output_dtypes=[kind, kind, np.int32, np.int32, np.int32],
        dask_gufunc_kwargs={"output_sizes": {"variable": len(start)}},
    )
    return xr.Dataset(dict(zip(("x", "fun", "status", "nit", "nfev"), result, strict=True)))


CURVE, SCALAR = "curve", "scalar"


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """A function of one block of data, (..., *shape of one problem) -> arrays (..., *shape of a field).

    Attributes:
        token: Tells this call from all others.
        home: The process that it was made in.
        kind: `CURVE` or `SCALAR`.
        fun: The model or the function.
        start: The start, (n,).
        shared: What all problems share.
        modes: The values of JAX's configuration of the caller.
        options: Keyword arguments of the solver.
        axes: How many axes the data of one problem has.
    """

    token: str
    home: int
    kind: str
    fun: Callable
    start: np.ndarray
    shared: tuple[Any, ...]
    modes: Mapping[str, Any]
    options: Mapping[str, Any]
    axes: int = 1

    def __call__(self, data: np.ndarray) -> tuple[np.ndarray, ...]:
        """Solves the problems of a block, at most `MOST` at a time, all of these in one compiled program."""
        this = self if self.home == os.getpid() else first_copy(self.token, self)
        outer, inner = data.shape[: data.ndim - self.axes], data.shape[data.ndim - self.axes :]
        flat = np.ascontiguousarray(data, self.start.dtype).reshape(-1, *inner)
        size = min(MOST, max(FEWEST, 1 << (max(len(flat), 1) - 1).bit_length()))
        with modes(self.modes):
            parts = [this._solved(flat[k : k + size], size) for k in range(0, max(len(flat), 1), size)]
        fields = [np.concatenate(field) for field in zip(*parts, strict=True)]
        return tuple(field.reshape(*outer, *field.shape[1:]) for field in fields)

    def _solved(self, data: np.ndarray, size: int) -> list[np.ndarray]:
        """Returns the fields of these problems, which are solved together with others that have no start."""
        count = len(data)
        starts = np.repeat(self.start[None], max(count, 1), axis=0)
        rows = Rows(starts, (data if count else np.zeros((1, *data.shape[1:]), data.dtype),))
        if self.kind == SCALAR:
            rows = padded(rows, size)
            result = minimize_many(self.fun, rows.x0, rows.args, shared=self.shared, **self.options)
            fields = [result.x, result.fun, result.status, result.nit, result.nfev]
        else:
            fields = self._fitted(rows, size)
        return [np.asarray(field)[:count] for field in fields]

    def _fitted(self, rows: Rows, size: int) -> list[Any]:
        """Returns coefficients, standard errors, covariances, costs and status codes."""
        seen = np.isfinite(rows.args[0])
        enough = seen.sum(axis=1) >= len(self.start)
        rows = rows._replace(
            x0=np.where(enough[:, None], rows.x0, np.nan), args=(*rows.args, seen.astype(self.start.dtype))
        )
        rows = padded(rows, size)
        values, weights = rows.args
        result = least_squares_rows(
            _residual_of(self.fun),
            rows.x0,
            (np.nan_to_num(values),),
            shared=self.shared,
            weights=weights,
            standard_errors=True,
            covariance=True,
            **self.options,
        )
        n = len(self.start)
        above = np.zeros((n, n), int)
        above[np.triu_indices(n)] = np.arange(n * (n + 1) // 2)
        whole = np.asarray(result.covariance)[:, np.maximum(above, above.T)]
        invalid = (np.asarray(result.status) == Status.INVALID)[:, None]
        coefficients = np.where(invalid, np.nan, result.x)
        errors, whole = np.where(invalid, np.nan, result.stderr), np.where(invalid[..., None], np.nan, whole)
        return [coefficients, errors, whole.astype(self.start.dtype), result.cost, result.status]


def _residual_of(model: Callable) -> Callable:
    """Returns (p, y, t) -> model(t, *p) - y, one function object for one model, which compiles once."""
    if model not in _residuals:
        reference = weakref.ref(model)

        def residual(p: jax.Array, y: jax.Array, t: jax.Array) -> jax.Array:
            return jnp.asarray(reference()(t, *p)) - y  # pyright: ignore[reportOptionalCall]

        _residuals[model] = residual
    return _residuals[model]


def _xarray() -> Any:
    try:
        import xarray
    except ImportError as error:
        raise ImportError(MISSING) from error
    return xarray


def _with_whole(da: Any, dims: Sequence[Hashable]) -> Any:
    """Returns the array with these dimensions in one chunk each; raises where one of them does not exist."""
    if not hasattr(da, "dims") or not hasattr(da, "chunks"):
        raise TypeError(f"da is a xarray.DataArray, not a {type(da).__name__}.")
    for dim in dims:
        if dim not in da.dims:
            raise ValueError(f"there is no dimension {dim!r}; the array has {', '.join(map(repr, da.dims))}.")
    return da if da.chunks is None else da.chunk(dict.fromkeys(dims, -1))


def _names(model: Callable) -> list[str]:
    """Returns the names of a model's parameters after the first; none where they are collected by a star."""
    parameters = list(inspect.signature(model).parameters.values())[1:]
    return [] if any(p.kind == p.VAR_POSITIONAL for p in parameters) else [p.name for p in parameters]


def _start(p0: Any, names: list[str]) -> np.ndarray:
    """Returns the start as an array in the order of the model's parameters."""
    if isinstance(p0, Mapping):
        if set(p0) != set(names):
            raise ValueError(f"p0 names {', '.join(map(str, p0))}, but the model's parameters are {', '.join(names)}.")
        p0 = [p0[name] for name in names]
    start = np.asarray(p0, float)
    if start.ndim != 1 or (names and len(start) != len(names)):
        expected = f"{len(names)} numbers, for {', '.join(names)}" if names else "a sequence of numbers"
        raise ValueError(f"p0 is {expected}; it has shape {start.shape}.")
    return start


def _numbers(coordinate: np.ndarray) -> np.ndarray:
    """Returns a coordinate as numbers; dates as days from the first."""
    if np.issubdtype(coordinate.dtype, np.datetime64):
        return (coordinate - coordinate.min()) / np.timedelta64(1, "s") / SECONDS_OF_A_DAY
    return np.asarray(coordinate, float)
