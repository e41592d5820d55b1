"""The data of a curve fit as the caller gave them, as the points of N fits."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.core.arguments import (
    arrays,
    as_floating,
    as_real,
    at_least_single,
    function_name,
    one_of,
    real_arrays,
    require_functions,
)
from jaxcalc.core.tracing import explained
from jaxcalc.engine.family.curve import Points

NAN_POLICIES = ("propagate", "omit", "raise")
PAD = "Pad shorter data to one length with NaN and give nan_policy='omit', or give mask, True for points that count."


class Data(NamedTuple):
    """The data of N fits.

    Attributes:
        own: What each fit has of its own, leaves (N, ...).
        common: What all fits share.
        present: Which points count, (N, m) or (1, m) for all fits; None is all.
        is_batch: Whether the caller gave a batch; otherwise N is 1.
    """

    own: Points
    common: Points
    present: Array | None
    is_batch: bool

    @property
    def y(self) -> Array:
        """The data, (N, m)."""
        return self.own.y


def require_model(model: Any) -> None:
    """Raises a TypeError if this is no model, with what to write for the name of one."""
    if isinstance(model, str):
        raise TypeError(
            f"model must be a function; it is {model!r}: ready curves are functions too, such as "
            "jaxcalc.models.gaussian_1d, without quotes."
        )
    require_functions([model], "model", several=False)


def data_of(
    model: Callable, n: int, xdata: Any, ydata: Any, sigma: Any, mask: Any, nan_policy: Any, check_finite: Any
) -> Data:
    """Returns the data of a fit of a model with n parameters; raises an error that says the mend."""
    one_of("nan_policy", "propagate" if nan_policy is None else nan_policy, NAN_POLICIES)
    y, masked = _ydata(ydata)
    is_batch = y.ndim == 2
    y = jnp.atleast_2d(y)
    x = _xdata(xdata, y.dtype)
    x_is_own = is_batch and _is_own(model, n, x, *y.shape)
    present = _mask(mask, *y.shape)
    if masked is not None:
        present = jnp.atleast_2d(masked) if present is None else present & jnp.atleast_2d(masked)
    errors, whitening = _sigma(sigma, y)
    if nan_policy == "omit":
        valid = _valid(x, x_is_own, errors, y)
        present = valid if present is None else present & valid
    elif nan_policy == "raise" or check_finite:
        _require_finite(x, y, present)
    if whitening is not None:
        whitening = _whitening(whitening, present)
    own, common = {"y": y}, {}
    (own if x_is_own else common)["x"] = x
    for name, value, dimensions in (("sigma", errors, 2), ("whitening", whitening, 3)):
        if value is not None:
            is_own = value.ndim == dimensions and value.shape[0] == len(y) and (is_batch or len(y) == 1)
            (own if is_own else common)[name] = value if is_own or value.ndim < dimensions else value[0]
    return Data(Points(**own), Points(**common), present, is_batch)


def parameter_names(model: Callable, p0: Any, bounds: Any = None) -> tuple[str, ...]:
    """Returns the names of a model's parameters: its own, those of its signature, or p0, p1, ...

    Raises:
        ValueError: If their number is not known.
    """
    known = getattr(model, "names", None)
    if known is not None:
        return tuple(known)
    try:
        parameters = list(inspect.signature(model).parameters.values())[1:]
    except (TypeError, ValueError):
        parameters = None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [] if parameters is None else [parameter for parameter in parameters if parameter.kind in positional]
    is_open = parameters is None or any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters)
    count = None if p0 is None else np.shape(p0)[-1] if np.ndim(p0) else 1
    if is_open and count is not None:
        return tuple(f"p{k}" for k in range(count))
    if is_open:
        raise ValueError(
            f"p0 is missing, and how many parameters {function_name(model)} has is not known from its signature: give "
            "p0, a start for each parameter."
        )
    if not named:
        raise TypeError(
            f"{function_name(model)} has no parameters to fit: a model is called as model(x, *p), x first, with a "
            "number for each parameter."
        )
    names = tuple(parameter.name for parameter in named)
    # A parameter with a default may be left to it.
    required = sum(parameter.default is parameter.empty for parameter in named)
    return names[:count] if count is not None and required <= count <= len(names) else names


def _counted(model: Callable, names: tuple[str, ...]) -> str:
    return f"{function_name(model)} has {len(names)} parameter{'s' * (len(names) != 1)}, {', '.join(names)}"


def starts_of(model: Callable, names: tuple[str, ...], p0: Any, data: Data) -> Array:
    """Returns the starts, (N, n), floating."""
    count, dtype = len(data.y), at_least_single(data.y.real.dtype)
    if p0 is None:
        guess = getattr(model, "guess", None)
        if guess is None:
            raise ValueError(
                f"p0 is missing: {_counted(model, names)}; give a start for each, "
                f"p0=({', '.join(['1.0'] * len(names))}), near the answer where you can. The models of "
                "jaxcalc.models have a guess(x, y), which is used where p0 is left out; so is a model's own attribute "
                "`guess`."
            )
        return guess(*_filled(data)).astype(dtype)
    given = jnp.asarray(as_real(p0, "p0"), dtype) if isinstance(p0, tuple | list) else p0
    start = real_arrays("p0", given)
    if not isinstance(start, jax.Array):
        raise TypeError(f"p0 is an array of one start for each parameter, not a {type(p0).__name__}.")
    start = jnp.atleast_1d(as_floating(start))
    n = len(names)
    if start.shape not in ((n,), (1, n), (count, n)):
        raise ValueError(
            f"{_counted(model, names)}, but p0 has shape "
            f"{start.shape}: it must have shape ({n},)"
            + (f", or ({count}, {n}) for a start of each fit." if data.is_batch else ".")
            + (
                " A model is called as model(x, *p), x first; for a vector p write lambda x, *p: model(x, p)."
                * (n == 1)
            )
        )
    return jnp.broadcast_to(start, (count, n))


def _ydata(ydata: Any) -> tuple[Array, Array | None]:
    """Returns the data as an array, and which are not masked where the caller gave a masked array of NumPy."""
    masked = None
    if isinstance(ydata, np.ma.MaskedArray):
        masked, ydata = jnp.asarray(~np.ma.getmaskarray(ydata)), ydata.filled(0)
    y = _numbers("ydata", ydata)
    if y.ndim not in (1, 2) or 0 in y.shape[-1:]:
        raise ValueError(
            f"ydata has shape {y.shape}; it must be (m,), the m points of one fit, or (N, m), those of N fits. "
            "Pictures are flattened: ydata.reshape(N, -1)."
        )
    return y, masked


def _plain(name: str, value: Any) -> Array | np.ndarray:
    """Returns what the caller gave as an array of any dtype but that of objects."""
    if isinstance(value, jax.Array):
        return value
    try:
        value = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}. {PAD}") from None
    if value.dtype == object and not value.ndim:
        raise TypeError(f"{name} must be an array of numbers; it is a {type(value.item()).__name__}.")
    if value.dtype == object:
        raise ValueError(f"{name} holds objects, not numbers, or has rows of different lengths. {PAD}")
    return value


def _numbers(name: str, value: Any) -> Array:
    """Returns what the caller gave as a floating or complex array."""
    value = _plain(name, value)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        raise TypeError(f"{name} has dtype {value.dtype}; it must hold numbers.")
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def _xdata(xdata: Any, dtype: Any) -> Any:
    """Returns xdata as SciPy does, a list or a tuple as one array; other pytrees are kept."""
    if isinstance(xdata, np.ma.MaskedArray):
        xdata = xdata.filled(np.nan)
    if isinstance(xdata, list | tuple):
        xdata = jnp.stack([jnp.asarray(part) for part in xdata]) if any(
            isinstance(part, jax.Array) for part in xdata
        ) else _numbers("xdata", xdata)  # fmt: skip
    x = arrays("xdata", xdata)
    return jax.tree.map(lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.astype(float), x)


def _is_own(model: Callable, n: int, x: Any, count: int, points: int) -> bool:
    """Returns whether the leading axis of xdata counts the fits: the model then returns (m,) for one row of it."""
    leaves = jax.tree.leaves(x)
    if not all(leaf.ndim > 1 and leaf.shape[0] == count for leaf in leaves):
        return False
    parameters = [jax.ShapeDtypeStruct((), leaves[0].dtype)] * n

    def fits(x: Any) -> bool:
        try:
            return jax.eval_shape(explained(model), x, *parameters).shape == (points,)
        except Exception:  # whatever the model raises for the other reading of xdata
            return False

    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)
    return fits(row) or not fits(x)


def _mask(mask: Any, count: int, points: int) -> Array | None:
    if mask is None:
        return None
    mask = _plain("mask", mask)
    if mask.dtype != bool or mask.shape not in ((points,), (1, points), (count, points)):
        raise ValueError(
            f"mask must be booleans in the shape of ydata or of one fit's, ({points},), True for points that count; it "
            f"has dtype {mask.dtype} and shape {mask.shape}."
        )
    return jnp.atleast_2d(mask)


def _sigma(sigma: Any, y: Array) -> tuple[Array | None, Array | None]:
    """Returns standard errors, (), (m,), (1, m) or (N, m), or a covariance, (m, m), (1, m, m) or (N, m, m)."""
    if sigma is None:
        return None, None
    count, points = y.shape
    sigma = _numbers("sigma", sigma).astype(y.real.dtype)
    one, many = (points, points), count > 1
    if sigma.shape == one and points > 1 and (not many or count != points):
        return None, sigma
    if sigma.shape == one and many and points > 1:
        raise ValueError(
            f"sigma of shape {sigma.shape} may be the standard errors of {count} fits or one covariance of {points} "
            "points: write sigma[None] for the covariance, sigma[:, None] for standard errors."
        )
    if sigma.ndim == 3 and sigma.shape[1:] == one and sigma.shape[0] in (1, count) and points > 1:
        return None, sigma
    if sigma.shape == (count, 1, points):
        sigma = sigma[:, 0]
    if sigma.shape not in ((), (points,), (1, points), (count, points), (count, 1)):
        raise ValueError(
            f"sigma has shape {sigma.shape}; for data of shape {y.shape} it must be one number, ({points},), "
            f"({count}, {points}) for standard errors of each fit, or ({points}, {points}) for their covariance."
        )
    is_shared = sigma.ndim < 2 or len(sigma) == 1
    if is_shared and not isinstance(sigma, Tracer) and np.any(np.asarray(sigma) <= 0):
        where = np.flatnonzero(np.atleast_1d(np.asarray(sigma).ravel()) <= 0)
        raise ValueError(
            f"sigma must be positive; at point {where[0]} it is {np.ravel(sigma)[where[0]]}. A point that shall not "
            "count is left out by mask; an exact one gets a sigma far below the others."
        )
    return jnp.where(sigma > 0, sigma, jnp.where(jnp.isnan(sigma), sigma, 0)), None


def _whitening(covariance: Array, present: Array | None) -> Array:
    """Returns the inverse of the Cholesky factor of the covariance of the points that are present, (..., m, m)."""
    if not isinstance(covariance, Tracer) and covariance.ndim == 2:
        try:
            np.linalg.cholesky(np.asarray(covariance))
        except np.linalg.LinAlgError:
            raise ValueError("sigma, the covariance of the data, must be positive definite.") from None
    if present is not None:
        eye = jnp.eye(covariance.shape[-1], dtype=covariance.dtype)
        both = present[:, :, None] & present[:, None]
        covariance = covariance if covariance.ndim == 3 else covariance[None]
        covariance = jnp.where(both, covariance, eye[None])
    factor = jnp.linalg.cholesky(covariance)
    eye = jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return jax.scipy.linalg.solve_triangular(factor, eye, lower=True)


def _valid(x: Any, x_is_own: bool, sigma: Array | None, y: Array) -> Array:
    """Returns which points are NaN neither in y, nor in x, nor in sigma, (N, m)."""
    valid = ~jnp.isnan(y)
    for leaf in jax.tree.leaves(x):
        if leaf.shape[-1:] == y.shape[1:]:
            nan = jnp.isnan(leaf).reshape(len(y) if x_is_own else 1, -1, y.shape[1])
            valid &= ~jnp.any(nan, axis=1)
    return valid if sigma is None else valid & jnp.broadcast_to(~jnp.isnan(sigma), y.shape)


def _require_finite(x: Any, y: Array, present: Array | None) -> None:
    """Raises a ValueError where data are known and not finite."""
    leaves = jax.tree.leaves(x)
    if any(isinstance(leaf, Tracer) for leaf in (*leaves, y)):
        return
    counted = y if present is None else jnp.where(present, y, 0)
    for name, array in (("ydata", counted), *(("xdata", leaf) for leaf in leaves)):
        wrong = np.argwhere(~np.isfinite(np.asarray(array)))
        if len(wrong):
            raise ValueError(
                f"{name} is not finite at {wrong[0].tolist()}, and {len(wrong) - 1} more: nan_policy='omit' leaves NaN "
                "out; without check_finite=True and nan_policy='raise' such a fit is INVALID and the others go on."
            )


def _filled(data: Data) -> tuple[Any, Array]:
    """Returns x and y for a guess; a missing point is given the place of the last present one before it."""
    points = data.own.completed(data.common)
    if data.present is None:
        return points.x, points.y
    present = jnp.broadcast_to(data.present, data.y.shape)
    places = jnp.arange(present.shape[1])
    first = jnp.argmax(present, axis=1)[:, None]
    last = jnp.maximum(jax.lax.cummax(jnp.where(present, places, -1), axis=1), first)
    y = jnp.take_along_axis(points.y, last, axis=1)

    def filled(leaf: Array) -> Array:
        if leaf.shape[-1:] != present.shape[1:]:
            return leaf
        is_own = data.own.x is not None
        wide = leaf if is_own else jnp.broadcast_to(leaf, (len(y), *leaf.shape))
        index = last.reshape(len(y), *(1,) * (wide.ndim - 2), -1)
        return jnp.take_along_axis(wide, index, axis=-1)

    return jax.tree.map(filled, points.x), y
