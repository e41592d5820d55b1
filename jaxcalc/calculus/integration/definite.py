"""Definite integrals over boxes of any dimension, and their derivatives by Leibniz's rule."""

import enum
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import eval_jaxpr
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.flatten_util import ravel_pytree

from jaxcalc.calculus.integration import cubature, quadrature
from jaxcalc.calculus.integration.moving_jumps import change_by_jumps
from jaxcalc.calculus.integration.subdivision import Total
from jaxcalc.core.arguments import returning_arrays
from jaxcalc.core.shards import varying_axes, varying_over
from jaxcalc.core.tracing import own_promotion

# The default relative tolerance, by the bytes of a number: for one variable, and for several variables.
_EPSREL = {4: (1e-5, 1e-4), 8: (1e-12, 1e-8)}
# The memory for the integrals of a batch that are computed side by side; a larger batch is computed in blocks.
_BYTES_AT_ONCE = 2**27


class IntegralStatus(enum.IntEnum):
    """How an integration ended."""

    SUCCESS = 0
    LIMIT = 1
    ROUNDING = 2
    DIVERGENT = 3
    UNKNOWN = 4


class IntegralOptions(NamedTuple):
    """The static options of the program of an integral.

    Attributes:
        limit: The most cells.
        scalar: Whether f takes a number x, or else a point x of shape (d,).
        bounded: Whether all ends of a box are known to be finite, for which there is less to compile.
    """

    limit: int
    scalar: bool
    bounded: bool = False


class Integrand:
    """A trace of f without the arrays that it closes over: all that the program of an integral depends on.

    Attributes:
        jaxpr: The trace, a function of what f closes over, and of x and the leaves of args.
        start: The form of x, a number or a point.
        output: The form of f(x, *args).
        programs: What has been compiled for this integrand; whoever compiles keeps it here.
    """

    def __init__(self, jaxpr: Any, start: jax.ShapeDtypeStruct, output: jax.ShapeDtypeStruct):
        self.jaxpr: Any = jaxpr
        self.start: jax.ShapeDtypeStruct = start
        self.output: jax.ShapeDtypeStruct = output
        self.programs: dict[Any, Callable[..., Any]] = {}

    @property
    def dtype(self) -> Any:
        """The dtype of the integral."""
        return jnp.result_type(self.start, self.output.dtype, jnp.float32)

    def closed(self, leaves: list[Array]) -> tuple[Callable[..., Any], list[Array], list[Array]]:
        """Returns f as a function of (x, parameters, others) that closes over no array, with these two lists.

        Args:
            leaves: The arrays that f closes over, then the leaves of args.

        Returns:
            A function of a point x (d,), parameters and others, whose result is flat, (m,); the floating arrays, in
            which the integral is differentiable; and all other arrays.
        """
        floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
        parameters = [leaf for leaf, chosen in zip(leaves, floating, strict=True) if chosen]
        others = [leaf for leaf, chosen in zip(leaves, floating, strict=True) if not chosen]
        closed_over = len(self.jaxpr.constvars)

        def integrand(x, parameters, others):
            given = iter(parameters), iter(others)
            leaves = [next(given[0 if chosen else 1]) for chosen in floating]
            x = x.astype(self.start.dtype).reshape(self.start.shape)
            (y,) = eval_jaxpr(self.jaxpr, leaves[:closed_over], x, *leaves[closed_over:])
            return jnp.ravel(y).astype(self.dtype)

        return integrand, parameters, others


def tolerances_of(dtype: Any, d: int, epsabs: Any, epsrel: Any) -> tuple[Array, Array]:
    """Returns the tolerances in this dtype, with the default for d variables in the place of an epsrel of nan."""
    default = _EPSREL[dtype.itemsize][d > 1]
    return jnp.asarray(epsabs, dtype), jnp.where(jnp.isnan(epsrel), default, epsrel).astype(dtype)


class Vary(NamedTuple):
    """Which operands of an integral have tangents: a, b, and each of the parameters."""

    a: bool
    b: bool
    parameters: tuple[bool, ...]


class Slopes(NamedTuple):
    """The derivatives of m integrals; None where the operand does not vary.

    Attributes:
        lower: The integrals over the faces of the box on which x_k = a_k, (d, m).
        upper: The integrals over the faces of the box on which x_k = b_k, (d, m).
        parameters: With respect to the entries of all parameters that vary, (m, entries).
    """

    lower: Array | None
    upper: Array | None
    parameters: Array | None

    def change(self, a_dot: Array, b_dot: Array, parameters_dot: list[Array]) -> Array:
        """Leibniz's rule: sum_k upper_k db_k - lower_k da_k + dp . the integral of df/dp, (m,)."""
        change: Any = 0.0
        for faces, dot, sign in ((self.upper, b_dot, 1), (self.lower, a_dot, -1)):
            if faces is not None:
                change += sign * jnp.sum(faces * dot[:, None], axis=0)
        if self.parameters is not None:
            dot = ravel_pytree(parameters_dot)[0].astype(self.parameters.dtype)
            change += jnp.matmul(self.parameters, dot, precision="highest")
        return change


def form_of_x(options: IntegralOptions, a: Array, b: Array, points: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """Returns the form of what f takes, a number or a point."""
    return jax.ShapeDtypeStruct(() if options.scalar else a.shape[-1:], jnp.result_type(a, b, *points))


def traced_integrand(f: Callable, start: Any, args: tuple[Any, ...]) -> tuple[Integrand, list[Any]]:
    """Traces f(start, *args); returns the trace and the arrays that f closes over.

    Raises:
        TypeError: If f returns anything but real numbers.
    """
    traced, output = jax.make_jaxpr(returning_arrays("f", f), return_shape=True)(start, *args)
    if not isinstance(output, jax.ShapeDtypeStruct) or jnp.issubdtype(output.dtype, jnp.complexfloating):
        raise TypeError(f"f must return real numbers, one or an array of them; it returned {_of_wrong_kind(output)}.")
    return Integrand(traced.jaxpr, jax.ShapeDtypeStruct(start.shape, start.dtype), output), traced.consts


def _of_wrong_kind(output: Any) -> str:
    """Returns what an integrand returned instead of real numbers, and the mend."""
    if output is None:
        return "None: a function without a return statement does"
    if isinstance(output, jax.ShapeDtypeStruct):
        return (
            f"an array of shape {output.shape} and dtype {output.dtype}. Integrate the real and the imaginary part of "
            "a complex function one by one"
        )
    return f"a {type(output).__name__}. Of several integrands make one array by jnp.stack([...])"


def definite_integrals(
    f: Callable,
    options: IntegralOptions,
    a: Array,
    b: Array,
    args: tuple[Any, ...],
    points: tuple[Any, ...],
    epsabs: Any,
    epsrel: Any,
) -> tuple[Any, ...]:
    """Integrates f(x, *args) from a to b, for every pair of ends; runs while JAX traces a program.

    Args:
        f: The integrand.
        options: The static options.
        a: The lower ends, (..., d).
        b: The upper ends; broadcasts against a.
        args: What f takes after x.
        points: For each of the d axes the break points, (k,).
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach; nan for the default.

    Returns:
        The fields of `Integral`: value, error, status, nfev.

    Raises:
        TypeError: If f returns anything but real numbers.
    """
    axes = varying_axes((a, b, args, points, epsabs, epsrel))
    a, b, args, points = varying_over(axes, (a, b, args, points))
    form = form_of_x(options, a, b, points)
    integrand, constants = traced_integrand(f, varying_over(axes, jnp.zeros(form.shape, form.dtype)), args)
    if closed_over := varying_axes(constants) - axes:
        return definite_integrals(f, options, varying_over(closed_over, a), b, args, points, epsabs, epsrel)
    return integrals_of(integrand, options, a, b, [*constants, *jax.tree.leaves(args)], points, epsabs, epsrel)


def integrals_of(
    integrand: Integrand,
    options: IntegralOptions,
    a: Array,
    b: Array,
    leaves: list[Any],
    points: tuple[Any, ...],
    epsabs: Any,
    epsrel: Any,
    vary: Vary | None = None,
) -> tuple[Any, ...]:
    """Integrates a traced f from a to b, for every pair of ends; runs while JAX traces a program.

    Args:
        integrand: The trace of f.
        options: The static options.
        a: The lower ends, (..., d).
        b: The upper ends; broadcasts against a.
        leaves: The arrays that f closes over, then the leaves of args.
        points: For each of the d axes the break points, (k,).
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach; nan for the default.
        vary: With respect to what the integrals are to be differentiated too; None for no derivatives.

    Returns:
        The fields of `Integral`: value, error, status, nfev. With `vary` these and the `Slopes` of each pair of ends.
    """
    d, dtype, m = a.shape[-1], integrand.dtype, math.prod(integrand.output.shape)
    f, parameters, others = integrand.closed([jnp.asarray(leaf) for leaf in leaves])
    tolerances = tolerances_of(dtype, d, epsabs, epsrel)
    points = tuple(jnp.asarray(along, dtype) for along in points)

    def over_box(ends):
        operands = (*ends, parameters, others, points, *tolerances)
        outcome = _box_integral(f, options, m, *operands)
        return outcome if vary is None else (outcome, _slopes(f, options, m, vary, operands))

    ends = [end.astype(dtype) for end in jnp.broadcast_arrays(a, b)]
    batch = ends[0].shape[:-1]
    found = _mapped(over_box, ends, _numbers_per_integral(options.limit, m, points) * dtype.itemsize)
    outcome, slopes = (found, None) if vary is None else found
    shapes = (batch + integrand.output.shape,) * 2 + (batch,) * 2
    fields = tuple(part.reshape(shape) for part, shape in zip(outcome, shapes, strict=True))
    return fields if vary is None else (fields, slopes)


def _mapped(over_box: Callable, ends: list[Array], bytes_each: int) -> Any:
    """Applies over_box to every pair of ends, each (..., d), in blocks that fit into `_BYTES_AT_ONCE`."""
    *batch, d = ends[0].shape
    block = max(1, _BYTES_AT_ONCE // bytes_each)
    flattened = [end.reshape(-1, d) for end in ends]
    if not batch:
        return over_box(ends)
    if math.prod(batch) <= block:
        return jax.vmap(over_box)(flattened)
    return jax.lax.map(over_box, flattened, batch_size=block)


def _numbers_per_integral(limit: int, m: int, points: tuple) -> int:
    """Returns about how many numbers an integral keeps in memory: its cells, and the points of an iteration."""
    d, pieces = len(points), [along.size + 1 for along in points]
    evaluated = quadrature.points_per_iteration(*pieces) if d == 1 else cubature.points_per_iteration(pieces)
    return limit * (5 * m + 3 * d + 1) + 4 * evaluated * (m + d)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _box_integral(f, options, m, a, b, parameters, others, points, epsabs, epsrel):
    """Integrates f(x, parameters, others), R^d -> R^m, from a to b, both (d,).

    Args:
        f: The integrand, a function of a point (d,), parameters and others.
        options: The static options.
        m: The number of integrals.
        a: The lower end of each variable, (d,).
        b: The upper end of each variable, (d,). Each variable with b < a changes the sign of the integral.
        parameters: A list of floating arrays, in which the integral is differentiable.
        others: A list of arrays, in which the integral is not differentiable.
        points: A tuple of the break points of each axis.
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach.

    Returns:
        The value (m,), the error (m,), the status and the number of evaluations of f.
    """

    def integrand(x):
        return f(x, parameters, others)

    d = a.size
    if d == 0:
        return integrand(a), jnp.zeros(m, a.dtype), jnp.int32(IntegralStatus.SUCCESS), jnp.int32(1)
    edges = edges_of(a, b, points)
    if d == 1:
        total, diverges, nfev = quadrature.integral(
            lambda x: integrand(x[None]), m, options.limit, edges[0], epsabs, epsrel
        )
    else:
        total, diverges, nfev = cubature.integral(integrand, m, options.limit, edges, options.bounded, epsabs, epsrel)
    return outcome_of(total, diverges, nfev, a, b, edges)


def edges_of(a: Array, b: Array, points: tuple[Any, ...]) -> list[Array]:
    """Returns for each axis the ends of its pieces, ascending: the ends of the range and the break points in it."""
    lo, hi = jnp.minimum(a, b), jnp.maximum(a, b)
    return [
        jnp.concatenate([lo[k : k + 1], jnp.clip(jnp.sort(points[k]), lo[k], hi[k]), hi[k : k + 1]])
        for k in range(a.size)
    ]


def outcome_of(total: Total, diverges: Array, nfev: Array, a: Array, b: Array, edges: list[Array]) -> tuple[Any, ...]:
    """Returns the value (m,), the error (m,), the status and the number of evaluations of f."""
    value, error = total.value, total.error
    value = jnp.where(jnp.prod(jnp.where(b < a, -1, 1)) < 0, -value, value)
    value = jnp.where(jnp.isnan(jnp.concatenate(edges)).any(), jnp.nan, value)
    error = jnp.where(jnp.isnan(value) | jnp.isnan(error), jnp.inf, error)
    failure = jnp.where(total.singular, IntegralStatus.UNKNOWN, IntegralStatus.ROUNDING)
    failure = jnp.where(total.full, IntegralStatus.LIMIT, failure)
    infinite = jnp.where(diverges, IntegralStatus.DIVERGENT, IntegralStatus.UNKNOWN)
    failure = jnp.where(jnp.all(jnp.isfinite(error)), failure, infinite)
    reached = jnp.all(error <= total.tolerance)
    status = jnp.where(reached, IntegralStatus.SUCCESS, failure).astype(jnp.int32)
    return value, error, status, nfev.astype(jnp.int32)


@functools.partial(_box_integral.defjvp, symbolic_zeros=True)
@own_promotion()
def _leibniz(f, options, m, primals, tangents):
    """Leibniz's rule, see `Slopes`. Terms whose tangent is a symbolic zero are not computed."""
    a_dot, b_dot, parameters_dot, *_ = tangents
    known = [not isinstance(dot, SymbolicZero) for dot in parameters_dot]
    vary = Vary(not isinstance(a_dot, SymbolicZero), not isinstance(b_dot, SymbolicZero), tuple(known))
    dots = [dot for dot, chosen in zip(parameters_dot, known, strict=True) if chosen]
    outcome = _box_integral(f, options, m, *primals)
    slopes = _slopes(f, options, m, vary, primals)
    change = jnp.zeros_like(outcome[0]) + slopes.change(a_dot, b_dot, dots)
    _, error, status, nfev = outcome
    zeros = tuple(zero_from_primal(part, symbolic_zeros=True) for part in (error, status, nfev))
    return outcome, (change, *zeros)


def _slopes(f, options, m, vary: Vary, primals) -> Slopes:
    def faces(end: Array) -> Array:
        return jnp.stack([_face_integral(f, options, m, axis, end[axis], primals) for axis in range(end.size)])

    a, b, *_ = primals
    return Slopes(
        faces(a) if vary.a and a.size else None,
        faces(b) if vary.b and a.size else None,
        _parameter_jacobian(f, options, m, list(vary.parameters), primals) if any(vary.parameters) else None,
    )


def _face_integral(f, options, m, axis: int, end: Array, primals) -> Array:
    """Returns the integral (m,) over the face of the box on which x[axis] = end; 0 if the end is infinite."""
    a, b, parameters, others, points, *tolerances = primals
    rest = np.array([k for k in range(a.size) if k != axis], int)
    finite = jnp.isfinite(end)

    def on_face(x, parameters, others):
        *parameters, end = parameters
        return f(jnp.concatenate([x[:axis], end[None], x[axis:]]), parameters, others)

    inner = [*parameters, jnp.where(finite, end, 0.0)], others, tuple(points[k] for k in rest), *tolerances
    return jnp.where(finite, _value_or_nan(_box_integral(on_face, options, m, a[rest], b[rest], *inner)), 0.0)


def _parameter_jacobian(f, options, m, varies: list[bool], primals) -> Array:
    """Returns the derivatives with respect to the entries of all parameters that vary, (m, entries).

    They are the integrals of the derivatives of f, and in one variable what jumps add that move with a parameter.
    """
    a, b, parameters, others, *rest = primals
    theta, unravel = ravel_pytree([p for p, chosen in zip(parameters, varies, strict=True) if chosen])
    fixed = [p for p, chosen in zip(parameters, varies, strict=True) if not chosen]

    def slopes(x, parameters, others):
        theta, *fixed = parameters

        def at(theta):
            varying, constant = iter(unravel(theta)), iter(fixed)
            return f(x, [next(varying if chosen else constant) for chosen in varies], others)

        return jnp.ravel((jax.jacrev if m <= theta.size else jax.jacfwd)(at)(theta))

    found = _box_integral(slopes, options, m * theta.size, a, b, [theta, *fixed], others, *rest)
    jacobian = _value_or_nan(found).reshape(m, theta.size)
    if a.size != 1:
        return jacobian
    change = change_by_jumps(lambda x, *arrays: f(x[None], *arrays), a[0], b[0], parameters, others, varies, m)
    return jacobian if change is None else jacobian + change


def _value_or_nan(found: tuple) -> Array:
    """Returns the value of an integral, nan where its error is infinite: a derivative has no status to report that."""
    value, error, *_ = found
    return jnp.where(jnp.isfinite(error), value, jnp.nan)
