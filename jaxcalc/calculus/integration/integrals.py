"""The public integrals, of one and of several variables: a value to a tolerance, or a status that says why not."""

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

from jaxcalc.calculus.integration import cubature, quadrature
from jaxcalc.calculus.integration.definite import IntegralOptions, IntegralStatus
from jaxcalc.calculus.integration.standalone import ClosesOverTracer, nested_integrals, standalone_integrals
from jaxcalc.core.arguments import (
    arrays,
    as_real,
    as_tuple,
    broadcast_shape,
    called_as,
    require_functions,
    require_known,
    whole_number,
)
from jaxcalc.core.tracing import is_staged

MESSAGES = {
    IntegralStatus.SUCCESS: "the error is at most max(epsabs, epsrel |value|), or the value is 0 up to rounding",
    IntegralStatus.LIMIT: "the limit of cells was reached before the tolerance",
    IntegralStatus.ROUNDING: "rounding keeps the error above the tolerance",
    IntegralStatus.DIVERGENT: "the integral diverges: the function falls too slowly, or grows too fast, towards an end",
    IntegralStatus.UNKNOWN: "whether the integral exists is not known: the function is singular or not finite inside "
    "the range, which `points` may mend, or it does not settle towards an end",
}


# What to write for the tolerances of other libraries.
TOLERANCES = {
    **dict.fromkeys(("rtol", "reltol", "tol_rel"), "write epsrel="),
    **dict.fromkeys(("atol", "abstol", "tol_abs"), "write epsabs="),
    **dict.fromkeys(("tol", "eps", "epsilon"), "write epsrel= for a relative error, epsabs= for an absolute one"),
    **dict.fromkeys(("n", "num", "maxiter", "maxfev", "subdivisions", "maxp1"), "write limit=, the most evaluations"),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Integral:
    """The value of an integral with an estimate of its error; a frozen pytree.

    Attributes:
        value: The integral. Its shape is the broadcast shape of the two ends, followed by the shape of f(x).
        error: A cautious estimate of |value - exact integral|, of the shape of value, as far as the integral exists;
            inf where that is not known, or where the integral diverges.
        status: For each pair of ends an integer code of `IntegralStatus`. SUCCESS 0: the error is at most max(epsabs,
            epsrel |value|), or value and error are 0 up to the rounding of the sum, 40 eps times the integral of |f|.
            LIMIT 1: all cells are in use. ROUNDING 2: cells that are bisected further give no better error. DIVERGENT
            3: f follows a power law without an integral towards an end, or grows until it overflows. UNKNOWN 4: whether
            the integral exists is not known.
        nfev: The number of points at which f was evaluated, for each pair of ends.
    """

    value: Array
    error: Array
    status: Array
    nfev: Array

    @property
    def success(self) -> Array:
        """True where the status is SUCCESS: the error is within the tolerance."""
        return self.status == IntegralStatus.SUCCESS

    @property
    def message(self) -> str:
        """The status in words, a line for each status that occurs; computed on the host."""
        require_known("message", self.status)
        return "\n".join(MESSAGES[IntegralStatus(int(code))] for code in np.unique(np.asarray(self.status)))


@called_as(
    "integrate(f, a, b)",
    **TOLERANCES,
    **dict.fromkeys(("lower", "upper", "bounds", "interval"), "the ends a and b are the second and the third argument"),
    **dict.fromkeys(("weight", "wvar"), "multiply f by the weight; singular points go into points="),
)
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
    """The definite integral of a function of one variable, by adaptive quadrature.

    The integral of f(x, *args) from a to b. Laws: integrate(f, a, a) is 0; integrate(f, b, a) == -integrate(f, a, b);
    it is additive in the range and linear in f; derivative(lambda x: integrate(f, a, x).value) == f. Works under `jit`,
    `vmap` and `grad`. Derivatives with respect to a, b, args and the arrays that f closes over follow Leibniz's rule;
    the integral of the derivative of f is adaptive too. Where f jumps at a place that depends on args, as
    where(x < c, 1, 3) does, the derivative counts the jump times the speed of its place. It is nan where that speed is
    not known: where an index such as argmax or the border of a domain decides, where jumps of two speeds meet, or where
    more than 256 places may be such. Where f holds a `while_loop`, as a nested
    integral does, no jump of f is counted, and nothing says so.

    The ends may be infinite, and f may be unbounded at the ends as long as the integral exists. List a singularity, a
    kink or a jump inside the range in `points`, which saves evaluations. Interval arithmetic on f finds jumps, kinks
    and narrow peaks between the samples. Peaks are found only where all operations of f have bounds over intervals.
    What happens inside of an operation without bounds, such as a `while_loop`, is judged by samples alone.

    Args:
        f: R -> R, or R -> an array of any shape for many integrands at once; it is given scalars x.
        a: The lower end of integration, an array of any shape, may be infinite.
        b: The upper end of integration; broadcasts against a, may be smaller than a.
        args: What f takes after x, a tuple of arrays or pytrees; anything else is wrapped into a tuple.
        epsabs: The absolute error to reach, by default 0.
        epsrel: The relative error to reach, by default 1e-12 in float64 and 1e-5 in float32.
        limit: The most cells that the range is cut into, a static whole number.
        points: Break points, shape (k,), sorted or not; a point outside of the range has no effect.

    Returns:
        The value with its error, status, success and nfev.

    Raises:
        TypeError: If a, b or the result of f is not real, or limit is not a whole number.
        ValueError: If a and b do not broadcast, points is not one-dimensional, a tolerance is negative, or limit is
            too small.

    Example:
        >>> import jax.numpy as jnp
        >>> result = integrate(lambda x: jnp.exp(-(x**2)), -jnp.inf, jnp.inf)
        >>> print(result.value.round(12), bool(result.success))
        1.772453850906 True

    Source: R. Piessens et al., QUADPACK (1983), for the rule and the adaptive scheme; H. Takahasi and M. Mori,
    Double exponential formulas (1974), for the ends; R. Moore, Interval Analysis (1966), for the narrow peaks.
    """
    require_functions([f], "f", several=False)
    a, b = as_real(a, "a"), as_real(b, "b")
    broadcast_shape("a and b", a.shape, b.shape)
    edges = jnp.zeros(0, jnp.result_type(a, b)) if points is None else as_real(points, "points")
    if edges.ndim != 1:
        raise ValueError(f"points must have shape (k,); it has shape {edges.shape}.")
    least = 2 * quadrature.initial_cell_count(edges.size + 1)
    return _integral(f, True, a[..., None], b[..., None], args, epsabs, epsrel, (limit, least), (edges,))


@called_as(
    "integrate_box(f, lower, upper)",
    **TOLERANCES,
    **dict.fromkeys(
        ("ranges", "bounds", "a", "b"), "the corners lower and upper are the second and the third argument"
    ),
)
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
    """The definite integral of a function of several variables over a box, by adaptive cubature.

    The integral of f(x, *args) over lower[k] <= x[k] <= upper[k], of at most four variables. Laws: it equals the nested
    integral in any order (Fubini, 1907); it is additive in the box and linear in f; each k with lower[k] > upper[k]
    changes its sign. Works under `jit`, `vmap` and `grad`. Derivatives with respect to lower and upper are integrals
    over the faces of the box; derivatives with respect to args are integrals of the derivative of f. In several
    variables these leave out what jumps at places that depend on args add, and nothing says so.

    The box may be infinite, and f may be singular on the faces. f is first sampled at 168 points along each axis in two
    variables, 63 in three and 42 in four: a peak much narrower than the distance of the samples may be missed. If the
    range of one variable depends on another variable, nest two calls of `integrate` instead, and give the inner call
    the smaller tolerance.

    Args:
        f: R^d -> R, or R^d -> an array of any shape for many integrands at once; it is given points x of shape (d,).
        lower: The lower ends of the box, (d,), may be infinite; (..., d) for many boxes.
        upper: The upper ends of the box; broadcasts against lower.
        args: What f takes after x, a tuple of arrays or pytrees; anything else is wrapped into a tuple.
        epsabs: The absolute error to reach, by default 0.
        epsrel: The relative error to reach, by default 1e-8 in float64 and 1e-4 in float32; for one variable 1e-12
            and 1e-5, as in `integrate`.
        limit: The most cells that the box is cut into, a static whole number; a cell takes 21^d evaluations. By default
            2048 for one and two variables, 512 for three, 64 for four.
        points: For each variable either None or an array (k,) of break points: f may have a kink or a jump on the
            planes where the variable takes these values.

    Returns:
        The value with its error, status, success and nfev.

    Raises:
        TypeError: If lower, upper or the result of f is not real, or limit is not a whole number.
        ValueError: If lower and upper do not broadcast, d is not from 1 to 4, points does not have one entry for each
            variable, a tolerance is negative, or limit is too small.

    Example:
        >>> import jax.numpy as jnp
        >>> result = integrate_box(lambda x: jnp.exp(-x[0] ** 2 - x[1]), [-jnp.inf, 0.0], [jnp.inf, jnp.inf])
        >>> print(result.value.round(9), bool(result.success))  # the root of pi
        1.772453851 True

    Source: A. Genz and A. Malik, An adaptive algorithm for numerical integration over an N-dimensional rectangular
    region (1980), for the adaptive scheme; R. Piessens et al., QUADPACK (1983), for the rule along each axis.
    """
    require_functions([f], "f", several=False)
    lower, upper = as_real(lower, "lower"), as_real(upper, "upper")
    shape = broadcast_shape("lower and upper", lower.shape, upper.shape)
    d = shape[-1] if shape else 0
    if not 1 <= d <= max(cubature.MOST_CELLS):
        raise ValueError(
            f"lower and upper must have shape (d,) or (..., d), d from 1 to {max(cubature.MOST_CELLS)}; they have "
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
    least = 2 * (quadrature.initial_cell_count(*pieces) if d == 1 else cubature.initial_cell_count(pieces))
    lower, upper = (jnp.broadcast_to(end, jnp.broadcast_shapes(end.shape, (d,))) for end in (lower, upper))
    most = max(cubature.MOST_CELLS[d], least) if limit is None else limit
    return _integral(f, False, lower, upper, args, epsabs, epsrel, (most, least), edges)


@called_as("antiderivative(f, at, constant)(x)")
def antiderivative(f: Callable, at: ArrayLike = 0.0, constant: ArrayLike = 0.0) -> Callable[[ArrayLike], Array]:
    """The antiderivative F of a function f of one variable, with F(at) = constant.

    F(x) = constant + the integral of f from at to x, elementwise. Laws: F(at) == constant exactly; derivative(F) == f,
    and computes no integral. Any two antiderivatives of f differ by a constant.

    Args:
        f: R -> R; it is given scalars.
        at: The point at which F takes the value `constant`.
        constant: The value of F at `at`, the "+ C" of the textbooks.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x. F(x) is the value of
        `integrate` even if that does not reach its tolerance; call `integrate` to see the error.

    Raises:
        TypeError: If at is complex; when called, if x is complex or f does not return a real number.

    Example:
        >>> F = antiderivative(lambda x: 2 * x, at=1.0, constant=5.0)  # x^2 + 4
        >>> print(F(1.0), F(3.0).round(12))
        5.0 13.0

    The fundamental theorem of calculus: I. Barrow, Lectiones Geometricae (1670).
    """
    require_functions([f], "f", several=False)
    at, constant = as_real(at, "at"), as_real(constant, "constant")

    @called_as("antiderivative(f)(x): f takes one number", 0)
    def antiderivative(x: ArrayLike) -> Array:
        return constant + integrate(f, at, as_real(x)).value

    return antiderivative


def _integral(
    f: Callable, scalar: bool, a: Array, b: Array, args: Any, epsabs: Any, epsrel: Any, cells: tuple, edges: tuple
) -> Integral:
    """Checks f, limit and the tolerances, and runs the program of the integral.

    Args:
        f: The integrand.
        scalar: Whether f takes a number x, or else a point x of shape (d,).
        a: The lower ends, (..., d).
        b: The upper ends, (..., d).
        args: What f takes after x.
        epsabs: The absolute error to reach, or None for 0.
        epsrel: The relative error to reach, or None for the default.
        cells: The limit as the user gave it, and the least that is possible with these break points.
        edges: For each of the d axes the break points, (k,).
    """
    limit, least = cells
    limit = whole_number(f"limit, with {sum(along.size for along in edges)} break points,", limit, least)
    tolerances = {"epsabs": 0.0 if epsabs is None else epsabs, "epsrel": math.nan if epsrel is None else epsrel}
    for name, tolerance in tolerances.items():
        if not isinstance(tolerance, float | Array):
            tolerances[name] = tolerance = as_real(tolerance, name)
        if not isinstance(tolerance, Tracer) and np.any(np.asarray(tolerance) < 0):
            raise ValueError(f"{name} must be at least 0; it is {tolerance!r}.")
    bounded = not scalar and not any(isinstance(end, Tracer) or np.isinf(end).any() for end in (a, b))
    args = arrays("args", as_tuple(args))
    options, operands = IntegralOptions(limit, scalar, bounded), (a, b, args, edges, *tolerances.values())
    if not is_staged():
        return Integral(*standalone_integrals(f, options, operands, numbers=False))
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(operands)):
        try:
            with eval_context():  # an integral of numbers is a program of its own, also while another is traced
                return Integral(*standalone_integrals(f, options, operands, numbers=True))
        except ClosesOverTracer:
            pass
    return Integral(*nested_integrals(f, options, operands))
