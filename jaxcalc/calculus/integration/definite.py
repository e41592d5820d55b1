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
from jax.core import Tracer, eval_jaxpr
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.flatten_util import ravel_pytree

from jaxcalc.calculus.integration import cubature, quadrature
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
    """

    limit: int
    scalar: bool


class ClosesOverTracer(Exception):  # noqa: N818  a caller of `definite_integrals` catches it; users never see it
    """f closes over a tracer, so the integral can only be part of the program that is being traced."""


def definite_integrals(
    f: Callable,
    options: IntegralOptions,
    a: Array,
    b: Array,
    args: tuple[Any, ...],
    points: tuple[Any, ...],
    epsabs: Any,
    epsrel: Any,
    *,
    concrete: bool = False,
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
        concrete: Whether f must close over concrete arrays only.

    Returns:
        The fields of `Integral`: value, error, status, nfev.

    Raises:
        ClosesOverTracer: If `concrete` and f closes over a tracer.
        TypeError: If f returns anything but real numbers.
    """
    d = a.shape[-1]
    axes = varying_axes((a, b, args, points, epsabs, epsrel))
    a, b, args, points = varying_over(axes, (a, b, args, points))
    start = varying_over(axes, jnp.zeros(() if options.scalar else (d,), jnp.result_type(a, b, *points)))
    traced, output = jax.make_jaxpr(f, return_shape=True)(start, *args)
    if closed_over := varying_axes(traced.consts) - axes:
        return definite_integrals(f, options, varying_over(closed_over, a), b, args, points, epsabs, epsrel)
    if concrete and any(isinstance(const, Tracer) for const in traced.consts):
        raise ClosesOverTracer
    if not isinstance(output, jax.ShapeDtypeStruct) or jnp.issubdtype(output.dtype, jnp.complexfloating):
        raise TypeError(
            f"f must return real numbers, one or an array of them; it returned {output}. Integrate the real and the "
            "imaginary part of a complex function one by one."
        )
    dtype = jnp.result_type(start, output.dtype, jnp.float32)
    integrand, parameters, others = _closed(traced, start, args, dtype)
    default = _EPSREL[dtype.itemsize][d > 1]
    tolerances = jnp.asarray(epsabs, dtype), jnp.where(jnp.isnan(epsrel), default, epsrel).astype(dtype)
    points = tuple(jnp.asarray(along, dtype) for along in points)

    def over_box(ends):
        return _box_integral(integrand, options.limit, output.size, *ends, parameters, others, points, *tolerances)

    ends = [end.astype(dtype) for end in jnp.broadcast_arrays(a, b)]
    batch = ends[0].shape[:-1]
    found = _mapped(over_box, ends, _numbers_per_integral(options.limit, output.size, points) * dtype.itemsize)
    shapes = (batch + output.shape,) * 2 + (batch,) * 2
    return tuple(part.reshape(shape) for part, shape in zip(found, shapes, strict=True))


def _closed(traced: Any, start: Array, args: tuple, dtype: Any) -> tuple[Callable, list[Array], list[Array]]:
    """Returns a traced f as a function of (x, parameters, others) that closes over no array, with these two lists.

    Args:
        traced: The jaxpr of f(start, *args), which holds the arrays that f closes over.
        start: An x, a number or a point.
        args: What f takes after x.
        dtype: The dtype of the integral.

    Returns:
        A function of a point x (d,), parameters and others, whose result is flat, (m,); the floating arrays of args and
        of what f closes over, in which the integral is differentiable; and all other arrays.
    """
    leaves = [jnp.asarray(leaf) for leaf in (*jax.tree.leaves(args), *traced.consts)]
    from_args = len(leaves) - len(traced.consts)
    floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    parameters = [leaf for leaf, chosen in zip(leaves, floating, strict=True) if chosen]
    others = [leaf for leaf, chosen in zip(leaves, floating, strict=True) if not chosen]

    def integrand(x, parameters, others):
        given = iter(parameters), iter(others)
        leaves = [next(given[0 if chosen else 1]) for chosen in floating]
        x = x.astype(start.dtype).reshape(start.shape)
        (y,) = eval_jaxpr(traced.jaxpr, leaves[from_args:], x, *leaves[:from_args])
        return jnp.ravel(y).astype(dtype)

    return integrand, parameters, others


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
def _box_integral(f, limit, m, a, b, parameters, others, points, epsabs, epsrel):
    """Integrates f(x, parameters, others), R^d -> R^m, from a to b, both (d,).

    Args:
        f: The integrand, a function of a point (d,), parameters and others.
        limit: The most cells.
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
    lo, hi = jnp.minimum(a, b), jnp.maximum(a, b)
    edges = [
        jnp.concatenate([lo[k : k + 1], jnp.clip(jnp.sort(points[k]), lo[k], hi[k]), hi[k : k + 1]]) for k in range(d)
    ]
    if d == 1:
        total, diverges, nfev = quadrature.integral(lambda x: integrand(x[None]), m, limit, edges[0], epsabs, epsrel)
    else:
        total, diverges, nfev = cubature.integral(integrand, m, limit, edges, epsabs, epsrel)
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
def _leibniz(f, limit, m, primals, tangents):
    """Leibniz's rule: sum_k db_k face(b_k) - da_k face(a_k) + dp . the integral of df/dp.

    face(e) is the integral over the face of the box on which x_k = e, and p are the parameters. Terms whose tangent is
    a symbolic zero are not computed.
    """
    a, b, parameters, others, *rest = primals
    a_dot, b_dot, parameters_dot, *_ = tangents
    outcome = _box_integral(f, limit, m, a, b, parameters, others, *rest)
    change = jnp.zeros_like(outcome[0])
    for end, end_dot, sign in ((b, b_dot, 1), (a, a_dot, -1)):
        if not isinstance(end_dot, SymbolicZero):
            for axis in range(a.size):
                change += sign * _face_integral(f, limit, m, axis, end[axis], primals) * end_dot[axis]
    varies = [not isinstance(dot, SymbolicZero) for dot in parameters_dot]
    if any(varies):
        dots = [dot for dot, chosen in zip(parameters_dot, varies, strict=True) if chosen]
        slopes, dot = _parameter_jacobian(f, limit, m, varies, primals), ravel_pytree(dots)[0].astype(change.dtype)
        change += jnp.matmul(slopes, dot, precision="highest")
    _, error, status, nfev = outcome
    zeros = tuple(zero_from_primal(part, symbolic_zeros=True) for part in (error, status, nfev))
    return outcome, (change, *zeros)


def _face_integral(f, limit, m, axis: int, end: Array, primals) -> Array:
    """Returns the integral (m,) over the face of the box on which x[axis] = end; 0 if the end is infinite."""
    a, b, parameters, others, points, *tolerances = primals
    rest = np.array([k for k in range(a.size) if k != axis], int)
    finite = jnp.isfinite(end)

    def on_face(x, parameters, others):
        *parameters, end = parameters
        return f(jnp.concatenate([x[:axis], end[None], x[axis:]]), parameters, others)

    inner = [*parameters, jnp.where(finite, end, 0.0)], others, tuple(points[k] for k in rest), *tolerances
    return jnp.where(finite, _value_or_nan(_box_integral(on_face, limit, m, a[rest], b[rest], *inner)), 0.0)


def _parameter_jacobian(f, limit, m, varies: list[bool], primals) -> Array:
    """Returns the integrals of df/dp for the entries p of all parameters that vary, (m, entries)."""
    a, b, parameters, others, *rest = primals
    theta, unravel = ravel_pytree([p for p, chosen in zip(parameters, varies, strict=True) if chosen])
    fixed = [p for p, chosen in zip(parameters, varies, strict=True) if not chosen]

    def slopes(x, parameters, others):
        theta, *fixed = parameters

        def at(theta):
            varying, constant = iter(unravel(theta)), iter(fixed)
            return f(x, [next(varying if chosen else constant) for chosen in varies], others)

        return jnp.ravel((jax.jacrev if m <= theta.size else jax.jacfwd)(at)(theta))

    found = _box_integral(slopes, limit, m * theta.size, a, b, [theta, *fixed], others, *rest)
    return _value_or_nan(found).reshape(m, theta.size)


def _value_or_nan(found: tuple) -> Array:
    """Returns the value of an integral, nan where its error is infinite: a derivative has no status to report that."""
    value, error, *_ = found
    return jnp.where(jnp.isfinite(error), value, jnp.nan)
