"""Sums of squares minimised: one problem of least squares, or many in lanes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.core.arguments import arrays, as_tuple, called_as, one_of, real_arrays, require_functions, whole_number
from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.residual import Residual, Setting, linearizations
from jaxcalc.engine.problem import UNCONVERGED, Options, Problem, Tolerances
from jaxcalc.engine.result import X
from jaxcalc.engine.solve import solve_one
from jaxcalc.methods.box import Box
from jaxcalc.methods.least_squares.losses import LOSSES
from jaxcalc.methods.method import Method
from jaxcalc.optimize.arguments import K, Numbers, box, chosen_method, f_scales, problem_count, scales, tolerances
from jaxcalc.optimize.least_squares_result import LeastSquaresResult, as_least_squares_result
from jaxcalc.optimize.scipy_keywords import squares_method, translated_for_squares
from jaxcalc.optimize.starts import one_start, solve_queue


@overload
def least_squares(
    fun: Callable, x0: Numbers, args: Any = (), *, method: "str | Method" = "levenberg_marquardt", bounds: Any = None,
    loss: str = "linear", f_scale: float | Array = 1.0, weights: Any = None, scale: Any = None,
    gtol: float | Array | None = None, ftol: float | Array | None = None, xtol: float | Array | None = None,
    maxiter: int | Array | None = None, maxfev: int | Array | None = None, unconverged: str = "nan", **scipy: Any,
) -> LeastSquaresResult[Array]: ...  # fmt: skip
@overload
def least_squares(
    fun: Callable, x0: Mapping[K, Numbers], args: Any = (), **options: Any
) -> LeastSquaresResult[dict[K, Array]]: ...
@overload
def least_squares(
    fun: Callable, x0: X, args: Any = (), *, method: "str | Method" = "levenberg_marquardt", bounds: Any = None,
    loss: str = "linear", f_scale: float | Array = 1.0, weights: Any = None, scale: Any = None,
    gtol: float | Array | None = None, ftol: float | Array | None = None, xtol: float | Array | None = None,
    maxiter: int | Array | None = None, maxfev: int | Array | None = None, unconverged: str = "nan", **scipy: Any,
) -> LeastSquaresResult[X]: ...  # fmt: skip
@called_as("least_squares(fun, x0)")
def least_squares(
    fun: Callable,
    x0: Any,
    args: Any = (),
    *,
    method: "str | Method" = "levenberg_marquardt",
    bounds: Any = None,
    loss: str = "linear",
    f_scale: float | Array = 1.0,
    weights: Any = None,
    scale: Any = None,
    gtol: float | Array | None = None,
    ftol: float | Array | None = None,
    xtol: float | Array | None = None,
    maxiter: int | Array | None = None,
    maxfev: int | Array | None = None,
    unconverged: str = "nan",
    **scipy: Any,
) -> LeastSquaresResult[Any]:
    """Minimises half the sum of squares of residuals: one lane of the engine that `least_squares_many` runs.

        cost(x) = 1/2 sum_i w_i C^2 rho((r_i(x) / C)^2),    r(x) = fun(x, *args)

    with rho(z) = z for the linear loss, C = f_scale and weights w_i = 1 by default.

    SUCCESS is a promise that depends on no units: with J the Jacobian of m residuals in the n free variables, the fall
    of |r|^2 that the linear model r + J s still promises is, for each variable, at most eps of the variance of the
    residuals (the relative offset of Bates and Watts at most the root of eps), or is lost in rounding, or the residuals
    are zero. Where J does not have full rank there is no such promise, unless the residuals are zero.

    Args:
        fun: A JAX-traceable function fun(x, *args) that returns the residuals, an array of any shape, real or complex;
            of complex residuals the squares of both parts are summed.
        x0: The start, an array or a pytree of arrays of any shapes. fun receives x in this form and these dtypes.
        args: What fun takes after x, a tuple of arrays or pytrees; anything else is wrapped into one.
        method: The name of a method of least squares, or what its factory in `jaxcalc.methods` returns.
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`, as in `minimize`; lower = upper fixes a variable.
        loss: "linear", or one that outliers affect less: "soft_l1", "huber", "cauchy" or "arctan", as in SciPy.
        f_scale: C, the size of residuals beyond which points count as outliers; of no effect with the linear loss.
        weights: How often each point counts, an array that broadcasts to the shape of the residuals; booleans are a
            mask. Points of weight 0 are missing: their residuals and derivatives may be NaN.
        scale: The size of a typical change of each variable, as in `minimize`. Steps hardly depend on it.
        gtol: If given, a projected gradient whose largest component is at most gtol is SUCCESS too, as in SciPy.
        ftol: If given, a step on which the cost falls by less than ftol times its size, as the model predicted, ends
            with CONVERGED_VALUE, as in SciPy.
        xtol: If given, a step of length below xtol (xtol + |x|) ends with CONVERGED_STEP, as in SciPy.
        maxiter: The most iterations; by default 100 times the number of variables, at least 1,000.
        maxfev: The most evaluations of residuals and Jacobian; by default 10 times maxiter.
        unconverged: What the derivatives of the result are where the problem did not succeed: "nan", or "implicit" for
            those of the formula at the last point.
        scipy: SciPy's other keywords: max_nfev, which is maxfev, and x_scale, which is scale. For those that have no
            counterpart an error says what to write; "lm", "trf" and "dogbox" as method stand for the default.

    Returns:
        The result: x, cost, fun (the residuals), jac (their Jacobian), grad, optimality, status, success, nit, nfev.

    Raises:
        TypeError: If fun does not return an array of residuals, x0 is not made of real numbers, or a keyword of
            SciPy's has no counterpart.
        ValueError: If the method or the loss does not exist or an option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> rosenbrock = lambda x: jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])
        >>> result = jc.least_squares(rosenbrock, jnp.array([-1.2, 1.0]))
        >>> bool(result.success), [round(float(v), 4) for v in result.x]
        (True, [1.0, 1.0])

    Source: J. Moré (1978); D. Bates and D. Watts, A relative offset orthogonality convergence criterion (1981).
    """
    require_functions([fun], several=False)
    x0 = real_arrays("x0", x0)
    given = {"gtol": 0.0 if gtol is None else gtol, "maxiter": maxiter, "maxfev": maxfev, "ftol": ftol, "xtol": xtol}
    given = translated_for_squares("least_squares", scipy, given | {"scale": scale})
    own, common = _settings(weights, f_scale, loss, None)
    common = dataclasses.replace(common, weights=own.weights, f_scale=own.f_scale)
    bounds = box("", bounds, x0, batch=False)
    problem = Problem(
        method=chosen_method(squares_method(method), Residual),
        x0=x0,
        args=(Setting(), *arrays("args", as_tuple(args)), common),
        box=bounds,
        scale=scales("", given.pop("scale"), x0, batch=False),
        tolerances=tolerances("", None, **given),
    )
    result = solve_one(fun, problem, _options(unconverged))
    queue = Problem(problem.method, jax.tree.map(lambda leaf: leaf[None], result.x), (Setting(),), problem.args[1:])
    rows = jax.tree.map(lambda leaf: leaf[0], compiled(linearizations, [fun])(None, queue))
    sides = jax.tree.map(lambda leaf: leaf[0], bounds)
    return as_least_squares_result(result, rows, sides)


@overload
def least_squares_many(
    fun: Callable, x0: Numbers, args: Any = (), *, shared: Any = (), method: "str | Method" = "levenberg_marquardt",
    bounds: Any = None, loss: str = "linear", f_scale: Any = 1.0, weights: Any = None, scale: Any = None,
    gtol: Any = None, ftol: Any = None, xtol: Any = None, maxiter: Any = None, maxfev: Any = None,
    lanes: int | None = None, residuals: bool = False, unconverged: str = "nan", starts: int | None = None,
    progress: bool = False, **scipy: Any,
) -> LeastSquaresResult[Array]: ...  # fmt: skip
@overload
def least_squares_many(
    fun: Callable, x0: Mapping[K, Numbers], args: Any = (), **options: Any
) -> LeastSquaresResult[dict[K, Array]]: ...
@overload
def least_squares_many(
    fun: Callable, x0: X, args: Any = (), *, shared: Any = (), method: "str | Method" = "levenberg_marquardt",
    bounds: Any = None, loss: str = "linear", f_scale: Any = 1.0, weights: Any = None, scale: Any = None,
    gtol: Any = None, ftol: Any = None, xtol: Any = None, maxiter: Any = None, maxfev: Any = None,
    lanes: int | None = None, residuals: bool = False, unconverged: str = "nan", starts: int | None = None,
    progress: bool = False, **scipy: Any,
) -> LeastSquaresResult[X]: ...  # fmt: skip
@called_as("least_squares_many(fun, x0)")
def least_squares_many(
    fun: Callable,
    x0: Any,
    args: Any = (),
    *,
    shared: Any = (),
    method: "str | Method" = "levenberg_marquardt",
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
    residuals: bool = False,
    unconverged: str = "nan",
    starts: int | None = None,
    progress: bool = False,
    **scipy: Any,
) -> LeastSquaresResult[Any]:
    """Solves many problems of least squares at once, each to its own end: r_i(x) = fun(x, *args[i], *shared).

    The problems are stepped in lanes that refill, as `minimize_many` does; what is promised of each is what
    `least_squares` says. Memory beyond inputs and outputs does not grow with N.

    Args:
        fun: A JAX-traceable function fun(x, *args, *shared) of one problem that returns its residuals, an array of any
            shape, real or complex. The function object is the key of the compiled program: define it once.
        x0: The starts, a pytree of arrays (N, ...). N may be 0.
        args: What differs between problems, a tuple of pytrees of arrays (N, ...); anything else is wrapped into one.
        shared: What all problems share, without a problem axis, given to fun after args.
        method: The name of a method of least squares, or what its factory in `jaxcalc.methods` returns.
        bounds: As in `minimize_many`: each side without a problem axis, or with the leading axis N.
        loss: As in `least_squares`, the same for all problems.
        f_scale: The size of residuals beyond which points count as outliers, a number or one for each problem (N,).
        weights: How often each point counts: (N, ...) followed by the shape of the residuals, or (1, ...) for weights
            that all problems share. Points of weight 0 are missing and may be NaN, so that lengths may differ.
        scale: The size of a typical change of each variable, as in `minimize_many`.
        gtol: As in `least_squares`, with ftol, xtol, maxiter and maxfev: a number or one for each problem (N,).
        ftol: See gtol.
        xtol: See gtol.
        maxiter: See gtol.
        maxfev: See gtol.
        lanes: How many problems are stepped side by side; by default what suits the device.
        residuals: Whether the result holds the residuals `fun`, (N, ...), and their Jacobians `jac`, (N, m, n).
        unconverged: What the derivatives of the result are where the problem did not succeed; see `least_squares`.
        starts: If given, K: x0 holds K starts of each problem, leaves (N, K, ...), of which the best counts; see
            `minimize_many`.
        progress: Whether a line in the terminal tells how far the call is.
        scipy: SciPy's other keywords; see `least_squares`.

    Returns:
        The result, every field with the leading axis N, in the order of the input; fun and jac are None unless asked
        for. A problem whose values are not finite has a status of its own and does not touch the others.

    Raises:
        TypeError: If fun does not return an array of residuals, x0 is not made of real numbers, or a keyword of
            SciPy's has no counterpart.
        ValueError: If a leaf of x0 or args lacks the leading axis N, the method or the loss does not exist, or an
            option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> t = jnp.linspace(0.0, 4.0, 20)
        >>> rates = jnp.array([0.5, 1.0, 2.0])
        >>> y = 3.0 * jnp.exp(-rates[:, None] * t)
        >>> decay = lambda x, y, t: x[0] * jnp.exp(-x[1] * t) - y
        >>> result = jc.least_squares_many(decay, jnp.ones((3, 2)), (y,), shared=(t,))
        >>> result.x.round(4).tolist()
        [[3.0, 0.5], [3.0, 1.0], [3.0, 2.0]]

    Source: J. Moré (1978) for the method; D. Bates and D. Watts (1981) for the promise; the lanes are this library's.
    """
    require_functions([fun], several=False)
    x0, args = real_arrays("x0", x0), arrays("args", as_tuple(args))
    count = problem_count("", x0, args, "least_squares")
    own, common = _settings(weights, f_scale, loss, count)
    form = one_start(x0, starts)
    bounds = box("", bounds, form, batch=True)
    given = {"gtol": 0.0 if gtol is None else gtol, "maxiter": maxiter, "maxfev": maxfev, "ftol": ftol, "xtol": xtol}
    given = translated_for_squares("least_squares_many", scipy, given | {"scale": scale})
    problem = Problem(
        method=chosen_method(squares_method(method), Residual),
        x0=x0,
        args=(own, *args),
        shared=(*arrays("shared", as_tuple(shared)), common),
        box=bounds,
        scale=scales("", given.pop("scale"), form, batch=True),
        tolerances=tolerances("", count, **given),
    )
    lanes = None if lanes is None else whole_number("lanes", lanes, 1)
    result = solve_queue(fun, problem, _options(unconverged)._replace(lanes=lanes), progress, starts)
    queue = problem._replace(x0=result.x, box=Box(), scale=None, tolerances=Tolerances())
    rows = compiled(linearizations, [fun])(None, queue) if residuals else None
    return as_least_squares_result(result, rows, bounds)


def _options(unconverged: str) -> Options:
    return Options(family=Residual, unconverged=one_of("unconverged", unconverged, UNCONVERGED))


def _settings(weights: Any, f_scale: Any, loss: str, count: int | None) -> tuple[Setting, Setting]:
    """Returns the setting that problems have of their own and the one that they share; of one problem, the first."""
    one_of("loss", loss, LOSSES)
    weights = None if weights is None else _weights(weights, count)
    f_scale = None if loss == "linear" else f_scales(f_scale, count)
    if count is None:
        return Setting(weights, f_scale, loss), Setting(loss=loss)
    is_own = weights is not None and weights.shape[0] == count
    each = f_scale is not None and f_scale.ndim > 0
    own = Setting(weights if is_own else None, f_scale if each else None, loss)
    common = Setting(None if is_own or weights is None else weights[0], None if each else f_scale, loss)
    return own, common


def _weights(weights: Any, count: int | None) -> Array:
    weights = arrays("weights", weights)
    if not isinstance(weights, jax.Array) or jnp.iscomplexobj(weights):
        raise TypeError("weights must be one real array, one weight for each residual.")
    if count is not None and weights.shape[:1] not in ((count,), (1,)):
        raise ValueError(
            f"weights have shape {weights.shape}, but there are {count} problems: the leading axis must be {count}, or "
            "1 for weights that all problems share, as weights[None]."
        )
    if not isinstance(weights, Tracer) and np.any(np.asarray(weights) < 0):
        raise ValueError("weights must be at least 0; a point of weight 0 is missing.")
    return weights if jnp.issubdtype(weights.dtype, jnp.floating) else weights.astype(float)
