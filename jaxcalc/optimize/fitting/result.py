"""What a curve fit returns: SciPy's pair (popt, pcov), and what else is asked of fits."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.core.arguments import arrays, one_of
from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.curve import values_of
from jaxcalc.engine.family.residual import Residual
from jaxcalc.engine.problem import Problem
from jaxcalc.engine.result import X, lacks
from jaxcalc.engine.status import Status
from jaxcalc.optimize.fitting.profile import profile_ends
from jaxcalc.optimize.fitting.quantiles import checked_level, two_sided
from jaxcalc.optimize.least_squares_result import LeastSquaresResult

INTERVALS = ("wald", "profile")
# Where what other libraries' fits hold is found.
ELSEWHERE = {
    **dict.fromkeys(("x", "params", "parameters", "coef", "best_values", "best_fit_params"), "the parameters are popt"),
    **dict.fromkeys(("perr", "errors", "err", "bse", "std", "stddev"), "the standard errors are stderr"),
    **dict.fromkeys(("cov", "covar", "covariance", "cov_x"), "the covariance is pcov"),
    **dict.fromkeys(("corr", "correlations", "correl"), "it is correlation"),
    **dict.fromkeys(("fun", "cost", "jac", "grad", "nfev", "nit", "message"), "result.NAME holds it"),
    **dict.fromkeys(("residual", "residuals", "resid", "fvec"), "the residuals over sigma are result.fun"),
    **dict.fromkeys(("best_fit", "fittedvalues", "eval"), "predict(x) gives the curve"),
    **dict.fromkeys(("conf_int", "conf_interval", "ci"), "confidence_interval(level) gives it"),
}


class Interval(NamedTuple, Generic[X]):
    """Both ends of the intervals of all parameters, (n,) each, or (N, n) of N fits."""

    lower: X
    upper: X


class Prediction(NamedTuple):
    """The curve at given points and its band, (k,) each, or (N, k) of N fits.

    Attributes:
        value: The model at the fitted parameters.
        stderr: Its standard error, that of the curve and not of new data.
        lower: The lower end of the pointwise interval of the curve.
        upper: The upper end.
    """

    value: Array
    stderr: Array
    lower: Array
    upper: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class CurveFitResult:
    """One fit, or N: then every field has a leading axis N.

    Unpacks into SciPy's pair: popt, pcov = fit; fit[0] and fit[1] are the two. A frozen pytree.

    Attributes:
        popt: The parameters, (n,) or (N, n); the best that was found where a fit did not succeed.
        pcov: Their covariance, (n, n) or (N, n, n): infinite where the data do not determine them; NaN where a fit did
            not succeed, and in the rows and columns of a parameter that stands at a bound; 0 in those of a parameter
            that lower = upper fixes.
        result: How the fit ended, a `LeastSquaresResult`; its fun, the residuals over sigma, and jac are None for N.
        degrees: Degrees of freedom: points that count less free parameters.
        problem: What was fitted, as the engine takes it.
        model: The function of the curve.
        family: What is minimised.
        names: Those of the parameters.
        is_absolute: Whether the variance of the data is known: absolute_sigma, or counts.
        is_batch: Whether there are N fits.
    """

    popt: Array
    pcov: Array
    result: LeastSquaresResult
    degrees: Array
    problem: Problem
    model: Callable = dataclasses.field(metadata={"static": True})
    family: type[Residual] = dataclasses.field(metadata={"static": True})
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    is_absolute: bool = dataclasses.field(metadata={"static": True})
    is_batch: bool = dataclasses.field(metadata={"static": True})

    if not TYPE_CHECKING:  # a type checker is to know the fields

        def __getattr__(self, name: str) -> Any:
            known = [known for known in dir(type(self)) if not known.startswith("_")]
            fields = ("popt", "pcov", "result", "degrees", "names")
            hint = {name: ELSEWHERE[name].replace("NAME", name)} if name in ELSEWHERE else {}
            raise AttributeError(lacks("a fit", name, [*fields, *known], hint), name=name, obj=self)

    @property
    def stderr(self) -> Array:
        """The standard errors of the parameters, in the shape of popt."""
        return jnp.sqrt(jnp.diagonal(self.pcov, axis1=-2, axis2=-1))

    @property
    def correlation(self) -> Array:
        """The correlations of the parameters, in the shape of pcov; NaN where a variance is 0, infinite or NaN."""
        stderr = self.stderr
        known = jnp.where((stderr > 0) & jnp.isfinite(stderr), stderr, jnp.nan)
        return self.pcov / (known[..., :, None] * known[..., None, :])

    @property
    def success(self) -> Array:
        """Whether the fit succeeded, () or (N,)."""
        return self.result.success

    @property
    def status(self) -> Array:
        """The integer code of `Status`, () or (N,)."""
        return self.result.status

    def confidence_interval(self, level: float = 0.95, method: str = "wald") -> Interval:
        """Returns an interval of each parameter that holds the truth with probability `level`.

        Args:
            level: The probability.
            method: "wald" for popt +- t stderr, with t of Student's distribution where sigma is not absolute, else of
                the normal one: exact where the model is linear in its parameters. "profile" for the values at which
                the least cost, all other parameters refitted, exceeds the minimum by what the F distribution allows
                (of counts and of absolute sigma, chi-square): intervals that need not be symmetric and do not depend
                on how the model is parametrised. All ends of all fits are sought together, in about four queues of
                lanes. An end is infinite where the cost does not rise that far, the bound where the bound comes
                first, and NaN where it is not known. Runs on the host.

        Returns:
            The lower and the upper ends, each in the shape of popt.

        Raises:
            ValueError: If level is no probability, or "profile" is asked for with a robust loss.

        Source: D. Bates and D. Watts, Nonlinear Regression Analysis and Its Applications (1988), chapter 6.
        """
        quantile = self._quantile(checked_level(level))[..., None]
        if one_of("method", method, INTERVALS) == "wald":
            half = quantile.astype(self.popt.dtype) * self.stderr
            return Interval(self.popt - half, self.popt + half)
        return self._profile(quantile[..., 0])

    def predict(self, x: Any, level: float = 0.95) -> Prediction:
        """Returns the fitted curve at x, with its standard error by the delta method and a band.

        The variance of model(x, *popt) is g' pcov g with g its gradient with respect to the parameters; parameters at
        bounds count as known.

        Args:
            x: What the model takes as its first argument. Of N fits the same for all, or with the leading axis N if
                xdata had it.
            level: The probability with which the band holds the true curve at each single point.
        """
        x = arrays("x", jnp.asarray(x) if isinstance(x, list | tuple) else x)
        x = jax.tree.map(lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.astype(float), x)
        popt, pcov = (self.popt, self.pcov) if self.is_batch else (self.popt[None], self.pcov[None])
        own = self.problem.args[1].x if self.is_batch else None
        is_own = own is not None and all(
            leaf.ndim == known.ndim and len(leaf) == len(popt)
            for leaf, known in zip(jax.tree.leaves(x), jax.tree.leaves(own), strict=True)
        )
        value, stderr = compiled(_predictions, [self.model])(is_own, popt, pcov, x)
        if not self.is_batch:
            value, stderr = value[0], stderr[0]
        quantile = self._quantile(checked_level(level))
        quantile = quantile.reshape(*quantile.shape, *(1,) * (value.ndim - quantile.ndim)).astype(stderr.dtype)
        return Prediction(value, stderr, value - quantile * stderr, value + quantile * stderr)

    def to_pandas(self, level: float = 0.95) -> Any:
        """Returns a DataFrame: of one fit a row for each parameter, of N fits a row for each fit.

        Args:
            level: The probability of the intervals lower and upper, which the table of one fit has.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas.") from error
        popt, stderr = np.asarray(self.popt), np.asarray(self.stderr)
        if not self.is_batch:
            lower, upper = map(np.asarray, self.confidence_interval(level))
            columns = {"value": popt, "stderr": stderr, "lower": lower, "upper": upper}
            return pandas.DataFrame(columns, index=pandas.Index(self.names, name="parameter"))
        columns = {}
        for k, name in enumerate(self.names):
            columns |= {name: popt[:, k], f"{name}_stderr": stderr[:, k]}
        result = self.result
        columns |= {"cost": np.asarray(result.cost), "success": np.asarray(result.success)}
        columns["status"] = [Status(code).name for code in np.asarray(result.status).tolist()]
        return pandas.DataFrame(columns | {"nit": np.asarray(result.nit), "nfev": np.asarray(result.nfev)})

    def check(self) -> Self:
        """Returns the fit itself if it, or every one of N, succeeded; raises a RuntimeError otherwise."""
        self.result.check()
        return self

    def __iter__(self) -> Iterator[Array]:
        """Popt and pcov, as `scipy.optimize.curve_fit` returns them."""
        return iter((self.popt, self.pcov))

    def __len__(self) -> int:
        """2: popt and pcov."""
        return 2

    def __getitem__(self, key: int) -> Array:
        """Popt or pcov."""
        return (self.popt, self.pcov)[key]

    def __repr__(self) -> str:
        if isinstance(self.popt, Tracer):
            return f"CurveFitResult(under a transformation, popt={self.popt})"
        if self.is_batch:
            good = np.count_nonzero(np.asarray(self.success))
            words = self.result.message.replace("\n", "\n" + " " * 9)
            return f"   fits: {len(self.popt)} of {', '.join(self.names)}\nsuccess: {good}\nmessage: {words}"
        rows = zip(self.names, np.asarray(self.popt), np.asarray(self.stderr), strict=True)
        lines = [f"{name:>9}: {value:.6g} +- {error:.2g}" for name, value, error in rows]
        return "\n".join([f"  message: {self.result.message}", f"  success: {bool(self.success)}", *lines])

    def _quantile(self, level: float) -> Array:
        """Returns t of the intervals, () or (N,)."""
        if not self.is_absolute:
            return two_sided(level, self.degrees)
        quantile = two_sided(level, None)
        return jnp.broadcast_to(quantile, self.degrees.shape) if self.is_batch else quantile

    def _profile(self, quantile: Array) -> Interval:
        if self.problem.shared[1].loss != "linear":
            raise ValueError("intervals by profiles need a likelihood, which a robust loss is not: use method='wald'.")
        whole = (self.popt, self.pcov, self.result.cost, self.degrees, self.result.success)
        rows = whole if self.is_batch else jax.tree.map(lambda leaf: leaf[None], whole)
        popt, pcov, cost, degrees, success = rows
        variance = jnp.ones_like(cost) if self.is_absolute else 2 * cost / degrees
        ends = profile_ends(
            self.model, self.family, self.problem, popt, pcov, cost, variance, jnp.atleast_1d(quantile), success
        )
        return Interval(*ends) if self.is_batch else Interval(ends[0][0], ends[1][0])


def _predictions(functions: Sequence[Callable], is_own: bool, popt: Array, pcov: Array, x: Any) -> tuple[Array, Array]:
    """Returns the values (N, ...) and their standard errors."""

    def of_one(p: Array, covariance: Array, x: Any) -> tuple[Array, Array]:
        value, slopes = _with_slopes(lambda p: values_of(functions[0], x, p), p)
        known = jnp.where(jnp.isnan(jnp.diagonal(covariance)), 0, 1).astype(p.dtype)
        some = (known[:, None] * known[None] > 0) & jnp.any(known > 0)
        matrix = jnp.where(some, covariance, jnp.where(jnp.any(known > 0), 0, jnp.nan))
        variance = jnp.einsum("i...,ij,j...->...", slopes, matrix, slopes, precision="highest")
        return value, jnp.sqrt(jnp.maximum(variance.real, 0))

    return jax.vmap(of_one, in_axes=(0, 0, 0 if is_own else None))(popt, pcov, x)


def _with_slopes(function: Callable, p: Array) -> tuple[Array, Array]:
    push = lambda direction: jax.jvp(function, (p,), (direction,))  # noqa: E731
    return jax.vmap(push, out_axes=(None, 0))(jnp.eye(len(p), dtype=p.dtype))
