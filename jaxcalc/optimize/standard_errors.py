"""Standard errors of what `minimize` has estimated, from the curvature of the function at the minimum."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxcalc.core.arguments import arrays, as_tuple, called_as, require_functions
from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.engine.linear_solves import positive_definite
from jaxcalc.engine.result import OptimizeResult, X
from jaxcalc.methods.box import Box
from jaxcalc.optimize.arguments import box
from jaxcalc.optimize.fitting.result import CurveFitResult


class StandardErrors(NamedTuple, Generic[X]):
    """The standard errors of one estimate, or of N.

    Attributes:
        stderr: In the form of x.
        covariance: Of the flattened x, (n, n) or (N, n, n).
    """

    stderr: X
    covariance: Array


@overload
def standard_errors(result: CurveFitResult, *, covariance: Literal[False] = False) -> Array: ...
@overload
def standard_errors(result: CurveFitResult, *, covariance: Literal[True]) -> StandardErrors[Array]: ...
@overload
def standard_errors(
    result: OptimizeResult[X], fun: Callable, args: Any = (), *, shared: Any = (), bounds: Any = None,
    scores: Any = None, covariance: Literal[False] = False,
) -> X: ...  # fmt: skip
@overload
def standard_errors(
    result: OptimizeResult[X], fun: Callable, args: Any = (), *, shared: Any = (), bounds: Any = None,
    scores: Any = None, covariance: Literal[True],
) -> StandardErrors[X]: ...  # fmt: skip
@called_as("standard_errors(result, fun, args)", 0)
def standard_errors(
    result: Any,
    fun: Callable | None = None,
    args: Any = (),
    *,
    shared: Any = (),
    bounds: Any = None,
    scores: Any = None,
    covariance: bool = False,
) -> Any:
    """Returns the standard errors of maximum-likelihood estimates that `minimize` or `minimize_many` has found.

        C = H^-1,    with scores    C = H^-1 (sum_i g_i g_i') H^-1

    where H is the Hessian of fun at x, which is minus the logarithm of a likelihood, with respect to the variables that
    no bound holds, and g_i is the gradient of the part of observation i: the sandwich, which also holds where the
    likelihood is not quite the right one.

    Args:
        result: What `minimize` returned for fun with these args, or `minimize_many`. Of a curve fit its own standard
            errors are returned, and nothing else may be given.
        fun: The function that was minimised, fun(x, *args, *shared): minus the logarithm of the likelihood. Of a mean
            over m observations the errors are too large by sqrt(m).
        args: As it was given to `minimize`, or to `minimize_many` with the leading axis N.
        shared: As it was given to `minimize_many`.
        bounds: As they were given.
        scores: For the sandwich: the gradients of the m observations at x, (m, n) or (N, m, n), of the flattened x; or
            a function scores(x, *args, *shared) that returns the m terms, (m,), of which fun is the sum.
        covariance: Whether to return the covariance too.

    Returns:
        The standard errors in the form of x; with covariance=True a pair stderr, covariance. They are NaN for a
        variable at a bound, where an estimate has no normal distribution, and those of the others are then given it; 0
        for a variable that lower = upper fixes; NaN for all variables of a problem that did not succeed or whose
        Hessian is not positive definite to working precision, or changes by more than a quarter on the way to the
        exact minimum, as at the minimum of x^4.

    Raises:
        TypeError: If fun is missing, or the result is no result.
        ValueError: If the scores do not have one gradient of length n for each observation.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> counts = jnp.array([3.0, 5.0, 4.0, 8.0])
        >>> nll = lambda rate, counts: jnp.sum(rate - counts * jnp.log(rate))
        >>> result = jc.minimize(nll, 1.0, (counts,), bounds=(0.01, None))
        >>> error = jc.standard_errors(result, nll, (counts,), bounds=(0.01, None))
        >>> round(float(result.x), 3), round(float(error), 3)  # the root of the mean over the number
        (5.0, 1.118)

    Source: P. Huber, The behavior of maximum likelihood estimates under nonstandard conditions (1967); H. White,
    Maximum likelihood estimation of misspecified models (1982).
    """
    if isinstance(result, CurveFitResult):
        if fun is not None or scores is not None:
            raise TypeError("a curve fit has standard errors of its own: standard_errors(fit) takes nothing else.")
        return StandardErrors(result.stderr, result.pcov) if covariance else result.stderr
    if not isinstance(result, OptimizeResult):
        raise TypeError(f"result is what minimize or minimize_many returned, not a {type(result).__name__}.")
    if fun is None:
        raise TypeError("standard_errors needs the function that was minimised: standard_errors(result, fun, args).")
    require_functions([fun], several=False)
    args, shared = arrays("args", as_tuple(args)), arrays("shared", as_tuple(shared))
    many = result.status.ndim > 0
    sides = box("", bounds, result.x, batch=many)
    terms, gradients = (scores, None) if callable(scores) else (None, arrays("scores", scores))
    if not many:
        args, shared = (), (*args, *shared)
    rows = (result.x, result.jac, result.success, None if gradients is None else jnp.asarray(gradients))
    if not many:
        rows = jax.tree.map(lambda leaf: leaf[None], rows)
    functions = [fun] if terms is None else [fun, terms]
    found = compiled(_standard_errors, functions)(None, rows, args, shared, sides)
    if not many:
        found = jax.tree.map(lambda leaf: leaf[0], found)
    return found if covariance else found.stderr


def _standard_errors(
    functions: Sequence[Callable], _: None, rows: tuple, args: tuple, shared: tuple, sides: Box
) -> StandardErrors:
    """Returns the standard errors of N estimates."""
    x = rows[0]
    count = len(jax.tree.leaves(x)[0])
    sides = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape[1:])), sides)

    def of_one(row: tuple, args: tuple, sides: Box) -> StandardErrors:
        x, gradient, success, scores = row
        u, unravel = ravel_pytree(x)
        dtype = u.dtype
        family = Scalar(functions[0], x, args, shared)
        u = u.astype(family.dtype)
        lower, upper = (None if side is None else ravel_pytree(side)[0].astype(u.dtype) for side in sides)
        flat = Box(lower, upper)
        fixed = lower == upper if flat.is_bounded else jnp.zeros(u.shape, bool)
        free = flat.free(u, ravel_pytree(gradient)[0].astype(u.dtype)) & ~fixed
        value = lambda u: family.value(u, args, shared)[0]  # noqa: E731
        inverse, known = _inverse_hessian(value, u, free)
        if len(functions) > 1:
            terms = lambda u: functions[1](unravel(u.astype(dtype)), *args, *shared)  # noqa: E731
            scores = jax.jacrev(terms)(u)
        if scores is not None:
            inverse = _sandwich(inverse, jnp.where(free, _checked(scores, u.size), 0).astype(u.dtype))
        covariance = jnp.where(known & success & (free[:, None] & free[None]), inverse, jnp.nan)
        covariance = jnp.where((fixed[:, None] | fixed[None]) & success, 0, covariance)
        errors = jnp.sqrt(jnp.diagonal(covariance))
        return StandardErrors(unravel(errors.astype(dtype)), covariance)

    with jax.default_matmul_precision("highest"):
        return jax.vmap(of_one)(rows, args, sides)


def _inverse_hessian(value: Callable, u: Array, free: Array) -> tuple[Array, Array]:
    """Returns the inverse of the Hessian of the free variables, and whether it is known."""

    def root(v: Array) -> Array:
        # Held variables stay, and have ones on the diagonal.
        return jnp.where(free, jax.grad(value)(jnp.where(free, v, u)), v - u)

    def matvec(v: Array, at: Array = u) -> Array:
        return jax.jvp(root, (at,), (v,))[1]

    solve, known = positive_definite(root, matvec, u, True)
    return jax.vmap(solve)(jnp.eye(u.size, dtype=u.dtype)), known


def _sandwich(inverse: Array, scores: Array) -> Array:
    half = scores @ inverse
    return half.T @ half


def _checked(scores: Array, n: int) -> Array:
    if scores.ndim != 2 or scores.shape[1] != n:
        raise ValueError(
            f"scores must hold one gradient of length {n} for each observation, (m, {n}), or be a function that "
            f"returns the m terms of fun; for each problem they have shape {scores.shape}."
        )
    return scores
