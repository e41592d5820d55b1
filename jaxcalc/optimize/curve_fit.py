"""Curves fitted to data, one or many at once, with SciPy's names."""

import contextvars
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from scipy.optimize import Bounds, OptimizeWarning

from jaxcalc.core.arguments import called_as, one_of, whole_number
from jaxcalc.engine.family.curve import CountCurve, Curve
from jaxcalc.engine.family.residual import Residual, Setting
from jaxcalc.engine.problem import UNCONVERGED, Options, Problem
from jaxcalc.engine.solve import solve_all
from jaxcalc.engine.status import Status
from jaxcalc.methods.box import Box
from jaxcalc.methods.least_squares.losses import LOSSES
from jaxcalc.methods.method import Method
from jaxcalc.optimize.arguments import box, chosen_method, f_scales, scales, tolerances
from jaxcalc.optimize.fitting.covariance import Covariances, covariances_of
from jaxcalc.optimize.fitting.data import Data, data_of, parameter_names, require_model, starts_of
from jaxcalc.optimize.fitting.result import CurveFitResult
from jaxcalc.optimize.least_squares_result import as_least_squares_result
from jaxcalc.optimize.scipy_keywords import squares_method, translated_for_squares

# Whether fits that fail go without warnings; of a context, since filters of warnings belong to all threads together.
is_quiet: contextvars.ContextVar[bool] = contextvars.ContextVar("is_quiet", default=False)


@called_as("curve_fit(model, xdata, ydata, p0)")
def curve_fit(
    model: Callable,
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    *,
    sigma: Any = None,
    absolute_sigma: bool = False,
    bounds: Any = None,
    method: "str | Method | None" = None,
    loss: str = "linear",
    f_scale: Any = 1.0,
    mask: Any = None,
    nan_policy: str | None = None,
    check_finite: bool | None = None,
    scale: Any = None,
    gtol: Any = None,
    ftol: Any = None,
    xtol: Any = None,
    maxiter: Any = None,
    maxfev: Any = None,
    lanes: int | None = None,
    unconverged: str = "nan",
    **scipy: Any,
) -> CurveFitResult:
    """Fits model(x, *p) to data by least squares or, for counts, by maximum likelihood; N data sets at once in lanes.

        minimise over p    1/2 sum_i ((model(x_i, *p) - y_i) / sigma_i)^2

    as `least_squares_many` does, whose promise of SUCCESS is that of each fit.

    Args:
        model: A JAX-traceable function model(x, *p) with a number for each parameter; it returns one value for each
            point. The function object is the key of the compiled program: define it once.
        xdata: What the model takes as x, an array whose last axis is that of the points, or a pytree; a list or tuple
            is made one array, as in SciPy. Of N fits it is shared, or has the leading axis N: which of the two, the
            shapes say.
        ydata: The data, (m,) of one fit or (N, m) of N fits. Masked arrays of NumPy keep their mask.
        p0: The starts, (n,) or (N, n). It may be left out where the model has a guess(x, y), as those of
            `jaxcalc.models` have.
        sigma: The standard errors of the data: a number, (m,), or (N, m) for each fit; or their covariance, (m, m), or
            (1, m, m) for all of N fits, or (N, m, m).
        absolute_sigma: Whether sigma is in the units of ydata; otherwise only its proportions count, and pcov is
            multiplied by the residuals' variance.
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`, each side a number, (n,) or (N, n). lower = upper
            fixes a parameter.
        method: "poisson" for counts with a Poisson distribution, whose mean the model is, positive: the likelihood is
            maximised, and pcov is the inverse of the Fisher information. Otherwise a method of least squares;
            SciPy's "lm", "trf" and "dogbox" stand for the default.
        loss: "linear", or one that outliers affect less, as in `least_squares`; pcov is then the sandwich, in which
            absolute_sigma has no part.
        f_scale: The size of residuals, in units of sigma, beyond which points count as outliers; one or (N,).
        mask: Which points count, booleans (m,) or (N, m), so that lengths may differ. The others may hold anything.
        nan_policy: "omit" leaves out points that are NaN in y, x or sigma; "raise" raises a ValueError; by default
            ("propagate") a fit with NaN is INVALID and the others go on.
        check_finite: True raises a ValueError for data that are not finite, as in SciPy.
        scale: The size of a typical change of each parameter, as in `least_squares`.
        gtol: As in `least_squares`, with ftol, xtol, maxiter and maxfev: a number or one for each fit (N,).
        ftol: See gtol.
        xtol: See gtol.
        maxiter: See gtol.
        maxfev: See gtol.
        lanes: How many fits are stepped side by side; by default what suits the device.
        unconverged: What the derivatives of a fit are that did not succeed; see `least_squares`.
        scipy: SciPy's other keywords: max_nfev, which is maxfev, and x_scale, which is scale. For those that have no
            counterpart the error says what to write.

    Returns:
        The fit, which unpacks into popt, (n,) or (N, n), and pcov, and holds stderr, correlation, result,
        confidence_interval(level), predict(x) and to_pandas(). A fit that fails has a status of its own, NaN in pcov
        and a warning; the others are unharmed. Where data do not determine the parameters, pcov is infinite, with a
        warning. A fit with fewer points that count than free parameters is INVALID. Under `jit` there are no warnings.

    Raises:
        TypeError: If the model cannot be traced by JAX or returns no array, or a keyword means something else here.
        ValueError: If p0 is missing, shapes do not fit, there are fewer points than parameters, sigma holds zeros or an
            option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import jaxcalc as jc
        >>> def decay(t, amplitude, rate):
        ...     return amplitude * jnp.exp(-rate * t)
        >>> t = np.linspace(0.0, 3.0, 20)
        >>> popt, pcov = jc.curve_fit(decay, t, 2.5 * np.exp(-1.3 * t), p0=(1.0, 1.0))
        >>> popt.round(4).tolist(), pcov.shape
        ([2.5, 1.3], (2, 2))
        >>> many = jc.curve_fit(decay, t, np.exp(-np.outer([0.5, 1.0, 2.0], t)), p0=(1.0, 1.0))
        >>> many.popt[:, 1].round(4).tolist()
        [0.5, 1.0, 2.0]

    Source: J. Moré, The Levenberg-Marquardt algorithm (1978); of counts T. Laurence and B. Chromy, Efficient maximum
    likelihood estimator fitting of histograms (2010).
    """
    require_model(model)
    given = {"gtol": gtol, "ftol": ftol, "xtol": xtol, "maxiter": maxiter, "maxfev": maxfev, "scale": scale}
    given = translated_for_squares("curve_fit", scipy, given)
    family = CountCurve if isinstance(method, str) and method == "poisson" else Curve
    chosen = chosen_method(None if family is CountCurve else squares_method(method), Residual)
    _require_plain_counts(family, loss, sigma)
    names = parameter_names(model, p0)
    data = data_of(model, len(names), xdata, ydata, sigma, mask, nan_policy, check_finite)
    start, count = starts_of(model, names, p0, data), len(data.y)
    sides = box("", _sides(bounds), start, batch=True)
    start = _without_few_points(start, data, sides)
    own, common = _settings(data, loss, f_scale)
    problem = Problem(
        method=chosen,
        x0=start,
        args=(own, data.own),
        shared=(data.common, common),
        box=sides,
        scale=scales("", given.pop("scale"), start, batch=True),
        tolerances=tolerances("", count, **given | {"gtol": 0.0 if given["gtol"] is None else given["gtol"]}),
    )
    options = Options(
        family=family,
        lanes=None if lanes is None else whole_number("lanes", lanes, 1),
        unconverged=one_of("unconverged", unconverged, UNCONVERGED),
    )
    result = solve_all([model], [problem], options)[0]
    absolute = bool(absolute_sigma)
    found = problem._replace(x0=result.x)
    covariances = covariances_of(model, family, found, result.jac, absolute)
    fit = as_least_squares_result(result, covariances.rows, sides)
    known = result.success[:, None, None] | covariances.undetermined[:, None, None]
    pcov = jnp.where(known, covariances.matrix, jnp.nan)
    return _finished(model, family, names, data, absolute, found, fit, pcov, covariances)


def _finished(
    model: Callable, family: type[Residual], names: tuple[str, ...], data: Data, absolute: bool, problem: Problem,
    fit: Any, pcov: Array, covariances: Covariances,
) -> CurveFitResult:  # fmt: skip
    _warn(fit, covariances.undetermined)
    popt, degrees = fit.x, covariances.degrees
    if not data.is_batch:
        popt, pcov, fit, degrees = jax.tree.map(lambda leaf: leaf[0], (popt, pcov, fit, degrees))
    is_absolute = (absolute and problem.shared[1].loss == "linear") or family is CountCurve
    return CurveFitResult(popt, pcov, fit, degrees, problem, model, family, names, is_absolute, data.is_batch)


def _warn(fit: Any, undetermined: Array) -> None:
    """Warns where parameters are not determined, as SciPy does, and of fits that did not succeed otherwise."""
    if is_quiet.get() or isinstance(undetermined, Tracer) or isinstance(fit.status, Tracer):
        return
    count, unknown = len(undetermined), np.asarray(undetermined)
    failed = ~np.asarray(fit.success) & ~unknown
    if unknown.any():
        which = "" if count == 1 else f" in {np.count_nonzero(unknown)} of {count} fits"
        message = f"Covariance of the parameters could not be estimated{which}: the data do not determine all of them."
        warnings.warn(message, OptimizeWarning, stacklevel=5)
    if failed.any():
        which = "the fit" if count == 1 else f"{np.count_nonzero(failed)} of {count} fits"
        first = fit[int(np.argmax(failed))]
        message = f"{which} did not succeed; fit.status says why: {first.message}"
        if int(first.status) == Status.INVALID:
            message += ". Points that are nan are left out by nan_policy='omit', others by mask"
        warnings.warn(message, OptimizeWarning, stacklevel=5)


def _sides(bounds: Any) -> Any:
    """Returns bounds as a pair of arrays: unlike elsewhere two pairs are the two sides, as in SciPy's curve_fit."""
    if isinstance(bounds, Bounds) or not (isinstance(bounds, tuple | list) and len(bounds) == 2):
        return bounds
    return tuple(jnp.asarray(side, float) if isinstance(side, tuple | list) else side for side in bounds)


def _require_plain_counts(family: type[Residual], loss: str, sigma: Any) -> None:
    if family is CountCurve and (loss != "linear" or sigma is not None):
        raise ValueError(
            "method='poisson' maximises the likelihood of counts, whose variance is their mean: it takes neither sigma "
            "nor a loss."
        )


def _without_few_points(start: Array, data: Data, sides: Box) -> Array:
    """Returns the starts, NaN where fewer points count than parameters are free; that fit is then INVALID.

    Raises:
        ValueError: If that is so for all fits, for what they have in common: the length of the data, or one mask.
    """
    present, n = data.present, start.shape[1]
    fixed = 0 if not sides.is_bounded else jnp.sum(sides.lower == sides.upper, axis=1)
    counts: Any = np.asarray(data.y.shape[1:]) if present is None else jnp.sum(present, axis=1)
    counts = counts * (2 if jnp.iscomplexobj(data.y) else 1)
    few = counts < n - fixed
    in_common = present is None or not data.is_batch or len(present) < len(start)
    if in_common and not isinstance(few, Tracer) and np.all(few):
        raise ValueError(
            f"there are {counts[0]} points{' that count' * (present is not None)}, which cannot determine {n} "
            "parameters: give more data, or fix parameters by bounds with lower = upper."
        )
    few = jnp.broadcast_to(few, (len(start),))
    return jnp.where(few[:, None], jnp.nan, start)


def _settings(data: Data, loss: str, f_scale: Any) -> tuple[Setting, Setting]:
    """Returns the setting that fits have of their own and the one that they share."""
    one_of("loss", loss, LOSSES)
    dtype, count = data.y.real.dtype, len(data.y)
    own: dict[str, Any] = {}
    common: dict[str, Any] = {}
    if data.present is not None:
        weights = data.present.astype(dtype)
        is_own = len(weights) == count
        (own if is_own else common)["weights"] = weights if is_own else weights[0]
    if loss != "linear":
        size = f_scales(f_scale, count).astype(dtype)
        (own if size.ndim else common)["f_scale"] = size
    return Setting(**own, loss=loss), Setting(**common, loss=loss)
