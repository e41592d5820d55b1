"""Integrals of functions of one or several variables, to a tolerance or with the truth about what was missed."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer, eval_context
from jax.typing import ArrayLike

from jaxcalc.calculus import cubature, quadrature
from jaxcalc.calculus.checks import as_real
from jaxcalc.calculus.definite import ClosesOverTracer, Form, IntegralStatus, definite_integrals
from jaxcalc.programs import compiled

MESSAGES = {
    IntegralStatus.SUCCESS: "the error is at most max(epsabs, epsrel |value|)",
    IntegralStatus.LIMIT: "the limit of cells was reached before the tolerance",
    IntegralStatus.ROUNDING: "rounding keeps the error above the tolerance",
    IntegralStatus.DIVERGENT: "the integral appears to diverge, or the function is not finite inside the range",
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Integral:
    """An integral, and what is known of its error; a frozen pytree.

    Attributes:
        value: The integral, of the broadcast shape of the limits followed by the shape of f's result.
        error: An estimate of |value - the integral| that means to be above it; inf where the integral seems to diverge.
        status: An integer code of `IntegralStatus`, one for each pair of limits.
        nfev: How many points f was evaluated at, for each pair of limits.
    """

    value: Array
    error: Array
    status: Array
    nfev: Array

    @property
    def success(self) -> Array:
        """True where the error is at most max(epsabs, epsrel |value|)."""
        return self.status == IntegralStatus.SUCCESS

    @property
    def message(self) -> str:
        """What the status says in words, a line for each status that occurs. Made on the host."""
        return "\n".join(MESSAGES[IntegralStatus(int(code))] for code in np.unique(np.asarray(self.status)))


def integrate(
    f: Callable,
    a: ArrayLike,
    b: ArrayLike,
    args: Any = (),
    *,
    epsabs: ArrayLike | None = None,
    epsrel: ArrayLike | None = None,
    limit: int = 2048,
    points: ArrayLike | Sequence[float] | None = None,
) -> Integral:
    """The definite integral of a function of one variable, adaptively.

    The integral of f(x, *args) from a to b. Laws: integrate(f, a, a) is 0; integrate(f, b, a) == -integrate(f, a, b);
    additive in the range and linear in f; derivative(lambda x: integrate(f, a, x).value) == f. Works under `jit`,
    `vmap` and `grad`: derivatives with respect to a, b, args and what f closes over follow Leibniz's rule, where the
    integral of the derivative of f is found adaptively too.

    The ends may be infinite, or singular: f may grow there without bound as long as the integral exists. A singularity,
    a kink or a jump inside the range belongs into `points`. Where f's operations have bounds over intervals, narrow
    peaks that no sample meets are found from these.

    Args:
        f: R -> R, or R -> an array of any shape for many integrands at once; it is given scalars x.
        a: Where the integral begins, an array of any shape, may be infinite.
        b: Where it ends; broadcasts against a, may be smaller than a.
        args: What f takes after x, a tuple of arrays or pytrees; anything else is wrapped into one.
        epsabs: The absolute error to reach, by default 0.
        epsrel: The relative error to reach, by default 1e-12 in float64 and 1e-5 in float32.
        limit: The most cells that the range is cut into, a static int.
        points: Break points, shape (k,), sorted or not; those outside of the range have no effect.

    Returns:
        The value with its error, status, success and nfev.

    Raises:
        TypeError: If a, b or the result of f is not real.
        ValueError: If a and b do not broadcast, points is not one-dimensional, a tolerance is negative, or limit is
            too small.

    Example:
        >>> import jax.numpy as jnp
        >>> result = integrate(lambda x: jnp.exp(-(x**2)), -jnp.inf, jnp.inf)
        >>> print(result.value.round(12), bool(result.success))
        1.772453850906 True

    Source: R. Piessens et al., QUADPACK (1983), for the rule and its adaption; H. Takahasi and M. Mori, Double
    exponential formulas (1974), for the ends; R. Moore, Interval Analysis (1966), for the peaks.
    """
    a, b = as_real(a, "a"), as_real(b, "b")
    _broadcast("a and b", a.shape, b.shape)
    edges = jnp.zeros(0, jnp.result_type(a, b)) if points is None else as_real(points, "points")
    if edges.ndim != 1:
        raise ValueError(f"points must have shape (k,); it has shape {edges.shape}.")
    least = 2 * quadrature.cells_at_first(edges.size + 1)
    return _integral(f, True, a[..., None], b[..., None], args, epsabs, epsrel, (limit, least), (edges,))


def integrate_box(
    f: Callable,
    lower: ArrayLike | Sequence[float],
    upper: ArrayLike | Sequence[float],
    args: Any = (),
    *,
    epsabs: ArrayLike | None = None,
    epsrel: ArrayLike | None = None,
    limit: int | None = None,
    points: Sequence[ArrayLike | Sequence[float] | None] | None = None,
) -> Integral:
    """The definite integral of a function of several variables over a box, adaptively.

    The integral of f(x, *args) over lower[k] <= x[k] <= upper[k], of at most four variables. Laws: it is the nested
    integral in any order (Fubini, 1907); additive in the box and linear in f; a side with lower above upper changes the
    sign. Works under `jit`, `vmap` and `grad`: derivatives with respect to lower and upper are integrals over the faces
    of the box, those with respect to args integrals of the derivative of f.

    Sides may be infinite, and f singular on them. What is known of f are samples, at first 168 along each axis in two
    dimensions, 63 in three and 42 in four: a peak much narrower than their spacing may be missed. Where the range of
    one variable depends on another, nest calls of `integrate` instead, the inner one with a smaller tolerance than the
    outer one.

    Args:
        f: R^d -> R, or R^d -> an array of any shape for many integrands at once; it is given points x of shape (d,).
        lower: Where the box begins, (d,), may be infinite; (..., d) for many boxes.
        upper: Where it ends; broadcasts against lower.
        args: What f takes after x, a tuple of arrays or pytrees; anything else is wrapped into one.
        epsabs: The absolute error to reach, by default 0.
        epsrel: The relative error to reach, by default 1e-8 in float64 and 1e-4 in float32; for one variable as in
            `integrate`.
        limit: The most cells that the box is cut into, a static int; each takes 21^d evaluations. By default 2048 for
            one and two variables, 512 for three, 64 for four.
        points: For each variable None or its break points, an array (k,): planes where f has a kink or a jump.

    Returns:
        The value with its error, status, success and nfev.

    Raises:
        TypeError: If lower, upper or the result of f is not real.
        ValueError: If lower and upper do not broadcast or have no or more than four variables, points does not fit, a
            tolerance is negative, or limit is too small.

    Example:
        >>> import jax.numpy as jnp
        >>> result = integrate_box(lambda x: jnp.exp(-x[0] ** 2 - x[1]), [-jnp.inf, 0.0], [jnp.inf, jnp.inf])
        >>> print(result.value.round(9), bool(result.success))  # the root of pi
        1.772453851 True

    Source: A. Genz and A. Malik, An adaptive algorithm for numerical integration over an N-dimensional rectangular
    region (1980), for the adaption; the rule is that of QUADPACK (1983) along each axis.
    """
    lower, upper = as_real(lower, "lower"), as_real(upper, "upper")
    shape = _broadcast("lower and upper", lower.shape, upper.shape)
    d = shape[-1] if shape else 0
    if not 1 <= d <= max(cubature.LIMITS):
        raise ValueError(
            f"lower and upper must have shape (d,) or (..., d), d from 1 to {max(cubature.LIMITS)}; they have "
            f"shapes {lower.shape} and {upper.shape}."
        )
    given = [None] * d if points is None else list(points)
    none = jnp.zeros(0, jnp.result_type(lower, upper))
    edges = tuple(none if along is None else as_real(along, "points") for along in given)
    if len(edges) != d or any(along.ndim != 1 for along in edges):
        raise ValueError(
            f"points must be a sequence of {d}, for each variable None or an array of shape (k,); "
            f"it has {len(edges)} of the shapes {[along.shape for along in edges]}."
        )
    pieces = [along.size + 1 for along in edges]
    least = 2 * (quadrature.cells_at_first(*pieces) if d == 1 else cubature.cells_at_first(pieces))
    lower, upper = (jnp.broadcast_to(end, jnp.broadcast_shapes(end.shape, (d,))) for end in (lower, upper))
    most = max(cubature.LIMITS[d], least) if limit is None else limit
    return _integral(f, False, lower, upper, args, epsabs, epsrel, (most, least), edges)


def antiderivative(f: Callable, at: ArrayLike = 0.0, constant: ArrayLike = 0.0) -> Callable[[ArrayLike], Array]:
    """The antiderivative of a function of one variable that takes a given value at a given point.

    F(x) = constant + the integral of f from at to x, elementwise. Laws: F(at) == constant exactly, and derivative(F)
    is f, without an integral being computed. All antiderivatives of f differ by `constant` alone.

    Args:
        f: R -> R; it is given scalars.
        at: Where F takes the value `constant`.
        constant: The "+ C" of the textbooks.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x. Where the tolerance of
        `integrate` is not reached, F has what was found; `integrate` itself says how far it may be off.

    Raises:
        TypeError: If at is complex; when called, if x is complex or f does not return a real number.

    Example:
        >>> F = antiderivative(lambda x: 2 * x, at=1.0, constant=5.0)  # x^2 + 4
        >>> print(F(1.0), F(3.0).round(12))
        5.0 13.0

    The fundamental theorem of calculus: I. Barrow, Lectiones Geometricae (1670).
    """
    at = as_real(at, "at")
    return lambda x: jnp.asarray(constant) + integrate(f, at, as_real(x)).value


def _broadcast(names: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return jnp.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{names} must broadcast; they have shapes {' and '.join(map(str, shapes))}.") from None


def _integral(
    f: Callable, scalar: bool, a: Array, b: Array, args: Any, epsabs: Any, epsrel: Any, cells: tuple, edges: tuple
) -> Integral:
    """Checks what all integrals have in common, and runs the program of f; cells are the most and the least of it."""
    if not callable(f):
        raise TypeError(f"f must be a function; it is a {type(f).__name__}.")
    limit, least = cells
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < least:
        count = sum(along.size for along in edges)
        raise ValueError(f"limit must be an int of at least {least} for {count} points; it is {limit!r}.")
    tolerances = {"epsabs": 0.0 if epsabs is None else epsabs, "epsrel": math.nan if epsrel is None else epsrel}
    for name, tolerance in tolerances.items():
        if not isinstance(tolerance, Tracer) and np.any(np.asarray(tolerance) < 0):
            raise ValueError(f"{name} must be at least 0; it is {tolerance!r}.")
    args = args if isinstance(args, tuple) else (args,)
    form, operands = Form(limit, scalar), (a, b, args, edges, *tolerances.values())
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(operands)):
        try:
            with eval_context():  # numbers alone: a program of its own, also inside another trace
                return compiled(_alone, [f], compiler_options=_compiler_options(a.shape[-1]))(form, *operands)
        except ClosesOverTracer:
            pass
    return Integral(*definite_integrals(f, form, *operands))


def _compiler_options(d: int) -> dict[str, Any] | None:
    """Options for the program of an integral that is asked for by itself; in a caller's `jit` they are the caller's.

    In one and two variables compiling is nearly all of the time: LLVM's optimiser saves 2 ms of 5 and takes as long as
    all else together. In more variables what it compiles runs three to twenty times faster.
    """
    return {"xla_backend_optimization_level": 0} if d <= 2 and jax.default_backend() == "cpu" else None


def _alone(functions: list[Callable], form: Form, *operands: Any) -> Integral:
    return Integral(*definite_integrals(functions[0], form, *operands, alone=True))
