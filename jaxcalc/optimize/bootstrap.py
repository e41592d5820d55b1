"""The bootstrap: estimates of resampled data, all in one queue of lanes, and the intervals that they give."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Generic, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.core.arguments import (
    arrays,
    as_floating,
    as_tuple,
    called_as,
    one_of,
    real_arrays,
    require_known,
    unexpected_keyword,
    whole_number,
)
from jaxcalc.engine.result import OptimizeResult, X
from jaxcalc.engine.status import is_success
from jaxcalc.optimize.arguments import K, Numbers
from jaxcalc.optimize.fitting.quantiles import checked_level
from jaxcalc.optimize.fitting.resampling import RESAMPLINGS, bca, multinomial, percentile, refitted, without_each
from jaxcalc.optimize.fitting.result import CurveFitResult, Interval
from jaxcalc.optimize.minimize import minimize, minimize_many
from jaxcalc.optimize.scipy_keywords import OF_THE_DOOR

METHODS = ("bca", "percentile")


@dataclasses.dataclass(frozen=True)
class BootstrapResult(Generic[X]):
    """The estimates of R resamples of one set of data, or of N.

    Attributes:
        estimate: That of the data themselves, in the form of x: (n,) or (N, n) of curve fits.
        x: Those of the resamples, a further axis R before the shape of one: (R, n) or (N, R, n).
        jackknife: Those of the data without one observation each, likewise with an axis of m observations; NaN for
            observations that do not count. None unless BCa intervals were asked for.
        status: How each resample's fit ended, (R,) or (N, R). Those that did not succeed have no part in the rest.
        level: The probability of `lower` and `upper`.
        method: Their kind, "bca" or "percentile".
        axis: Which axis of x counts the resamples.
    """

    estimate: X
    x: X
    jackknife: X
    status: Array
    level: float
    method: str
    axis: int

    @property
    def success(self) -> Array:
        """Which resamples' fits succeeded."""
        return is_success(self.status)

    @property
    def stderr(self) -> X:
        """The standard deviations of the resamples' estimates, in the form of the estimate."""
        return jax.tree.map(lambda leaf: jnp.asarray(np.nanstd(leaf, axis=self.axis, ddof=1)), self._of_successes())

    @property
    def bias(self) -> X:
        """How far the mean of the resamples' estimates lies from the estimate."""
        mean = lambda leaf: jnp.asarray(np.nanmean(leaf, axis=self.axis))  # noqa: E731
        return jax.tree.map(lambda leaf, estimate: mean(leaf) - estimate, self._of_successes(), self.estimate)

    @property
    def lower(self) -> X:
        """The lower ends of the intervals, in the form of the estimate."""
        return self.confidence_interval(self.level, self.method).lower

    @property
    def upper(self) -> X:
        """The upper ends."""
        return self.confidence_interval(self.level, self.method).upper

    def confidence_interval(self, level: float | None = None, method: str | None = None) -> Interval[X]:
        """Returns the lower and the upper ends, each in the form of the estimate.

        Args:
            level: The probability; by default that of the call.
            method: "percentile" for quantiles of the resamples' estimates; "bca" for quantiles that are corrected for
                bias and for a standard error that changes with the parameter (Efron 1987).

        Raises:
            ValueError: If "bca" is asked for and the bootstrap was made without it.
        """
        level = self.level if level is None else checked_level(level)
        method = one_of("method", self.method if method is None else method, METHODS)
        if method == "bca" and self.jackknife is None:
            raise ValueError('BCa intervals need the jackknife: call bootstrap(..., method="bca").')
        draws, structure = jax.tree.flatten(self._of_successes())
        estimates = jax.tree.leaves(self.estimate)
        without = [None] * len(draws) if self.jackknife is None else jax.tree.leaves(self.jackknife)
        ends = []
        for draw, estimate, left in zip(draws, estimates, without, strict=True):
            rows = np.moveaxis(draw, self.axis, 0)
            if method == "percentile" or left is None:
                ends.append(percentile(rows, level))
            else:
                ends.append(bca(rows, np.asarray(estimate), np.moveaxis(np.asarray(left), self.axis, 0), level))
        return Interval(*(jax.tree.unflatten(structure, [jnp.asarray(end[k]) for end in ends]) for k in range(2)))

    def _of_successes(self) -> Any:
        """Returns x as arrays of NumPy, NaN where a fit did not succeed."""
        good = np.asarray(self.success)
        wide = lambda leaf: good.reshape(*good.shape, *(1,) * (np.ndim(leaf) - good.ndim))  # noqa: E731
        return jax.tree.map(lambda leaf: np.where(wide(leaf), np.asarray(leaf), np.nan), self.x)

    def __repr__(self) -> str:
        good, total = np.count_nonzero(np.asarray(self.success)), np.size(self.status)
        head = f"{good} of {total} resamples' fits succeeded; {100 * self.level:g} % intervals by {self.method}"
        fields = ("estimate", "stderr", "lower", "upper")
        return "\n".join([head, *(f"{name:>8}: {getattr(self, name)}" for name in fields)])


@overload
def bootstrap(
    fit: "CurveFitResult | Callable[..., Any]", x0: Numbers | None = None, shared: Any = (), *, resamples: int = 1000,
    resampling: str = "case", method: str = "bca", level: float = 0.95, seed: int = 0, observations: int | None = None,
    lanes: int | None = None, **options: Any,
) -> BootstrapResult[Array]: ...  # fmt: skip
@overload
def bootstrap(
    fit: Callable[..., Any], x0: Mapping[K, Numbers], shared: Any = (), **options: Any
) -> BootstrapResult[dict[K, Array]]: ...
@overload
def bootstrap(fit: Callable[..., Any], x0: X, shared: Any = (), **options: Any) -> BootstrapResult[X]: ...
@called_as("bootstrap(fit), or bootstrap(fun, x0, shared)", 0)
def bootstrap(
    fit: "CurveFitResult | Callable[..., Any]",
    x0: Any = None,
    shared: Any = (),
    *,
    resamples: int = 1000,
    resampling: str = "case",
    method: str = "bca",
    level: float = 0.95,
    seed: int = 0,
    observations: int | None = None,
    lanes: int | None = None,
    **options: Any,
) -> BootstrapResult[Any]:
    """Estimates again from resampled data, all resamples in one queue of lanes, for standard errors and intervals.

    A resample of m observations is m weights, how often each was drawn: all resamples share the data. Every estimate
    starts at that of the data.

    Args:
        fit: What `curve_fit` returned, of one set of data or of N; or a function fun(x, weights, *shared) that is
            minimised, with weights (m,), such as a weighted sum of m terms.
        x0: The start of a function's minimisation, an array or a pytree; a curve fit has its own.
        shared: What the function takes after the weights, a tuple; anything else is wrapped into one.
        resamples: The number R of resamples.
        resampling: "case" draws observations with their x; "residual", of curve fits by least squares, adds residuals
            that are drawn anew to the fitted curve, which keeps x as it is and assumes that the errors of all points,
            in units of sigma, are alike. Residuals are centred and enlarged by sqrt(m / (m - n)), as much as a fit of
            n parameters makes them smaller.
        method: The kind of interval in `lower` and `upper`: "bca", which also estimates without each observation (m
            more problems in the queue), or "percentile".
        level: The probability of the interval.
        seed: Of NumPy's generator, which draws: the same seed gives the same resamples.
        observations: The number m of a function's observations; by default the length of the first array of `shared`.
        lanes: How many problems are stepped side by side; by default what suits the device.
        options: Of `minimize_many`, for a function: method as `minimizer`, bounds, gtol and so on.

    Returns:
        The estimates with stderr, bias, lower, upper and confidence_interval(level, method). Runs on the host.

    Raises:
        TypeError: If fit is neither, x0 is missing, or options are given with a curve fit.
        ValueError: If residuals are to be drawn of what has none, or data are correlated.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import jaxcalc as jc
        >>> y = jnp.asarray(np.random.default_rng(0).normal(3.0, 2.0, 50))
        >>> mean = lambda x, weights, y: jnp.sum(weights * (y - x) ** 2)
        >>> found = jc.bootstrap(mean, 0.0, y, resamples=500)
        >>> bool(abs(found.stderr / (jnp.std(y) / jnp.sqrt(50)) - 1) < 0.1)
        True

    Source: B. Efron, Bootstrap methods: another look at the jackknife (1979); Better bootstrap confidence intervals
    (1987).
    """
    resamples = whole_number("resamples", resamples, 1)
    one_of("resampling", resampling, RESAMPLINGS)
    one_of("method", method, METHODS)
    level, generator = checked_level(level), np.random.default_rng(whole_number("seed", seed))
    jackknife = method == "bca"
    if isinstance(fit, CurveFitResult):
        if options or x0 is not None or observations is not None:
            given = ", ".join(["x0"] * (x0 is not None) + ["observations"] * (observations is not None) + [*options])
            raise TypeError(f"bootstrap of a curve fit takes no {given}: it is refitted as it was fitted.")
        require_known("bootstrap", fit.popt)
        x, status, left = refitted(fit, resampling, resamples, jackknife, generator, lanes)
        return BootstrapResult(fit.popt, x, left, status, level, method, 1 if fit.is_batch else 0)
    if not callable(fit):
        mend = " The function is not in it: write bootstrap(fun, result.x, shared)." * isinstance(fit, OptimizeResult)
        given = f"it is a {type(fit).__name__}.{mend}"
        raise TypeError(f"fit is what curve_fit returned, or a function fun(x, weights, *shared); {given}")
    for name in options:
        if name in OF_THE_DOOR["bootstrap"]:
            raise unexpected_keyword("bootstrap", name, [], OF_THE_DOOR["bootstrap"])
    if resampling != "case":
        raise ValueError("resampling='residual' is for curve fits: a function's observations are drawn as cases.")
    if x0 is None:
        raise TypeError("bootstrap of a function needs x0, the start of its minimisation.")
    return _of_function(fit, x0, shared, resamples, jackknife, level, method, generator, observations, lanes, options)


def _of_function(
    fun: Callable, x0: Any, shared: Any, resamples: int, jackknife: bool, level: float, method: str,
    generator: np.random.Generator, observations: int | None, lanes: int | None, options: dict[str, Any],
) -> BootstrapResult:  # fmt: skip
    """Returns the bootstrap of what minimises fun(x, weights, *shared)."""
    shared = arrays("shared", as_tuple(shared))
    options = dict(options)
    minimizer = {"method": options.pop("minimizer")} if "minimizer" in options else {}
    leaves = jax.tree.leaves(shared)
    if observations is None and not (leaves and leaves[0].ndim):
        raise TypeError("give observations=, how many weights fun takes: shared has no array to tell the number.")
    count = len(leaves[0]) if observations is None else whole_number("observations", observations, 1)
    start = as_floating(real_arrays("x0", x0))
    dtype = jnp.result_type(*jax.tree.leaves(start))
    ones = jnp.ones(count, dtype)
    estimate = minimize(fun, start, (ones, *shared), **minimizer, **options).check().x
    weights = multinomial(generator, np.ones((1, count)), resamples)[0]
    if jackknife:
        weights = np.concatenate([weights, 1 - np.eye(count)])
    starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(weights), *leaf.shape)), estimate)
    own = (jnp.asarray(weights, dtype),)
    result = minimize_many(fun, starts, own, shared=shared, lanes=lanes, **minimizer, **options)
    x = jax.tree.map(lambda leaf: leaf[:resamples], result.x)
    left = without_each(result.x, result.success, resamples) if jackknife else None
    return BootstrapResult(estimate, x, left, result.status[:resamples], level, method, 0)
