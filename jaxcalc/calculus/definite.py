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

from jaxcalc.calculus import cubature, quadrature
from jaxcalc.calculus.shards import varying_axes, varying_over

# What double and single precision can promise, of one variable and of several.
_EPSREL = {4: (1e-5, 1e-4), 8: (1e-12, 1e-8)}
# Limits that are integrated over side by side; a batch of more is worked off in blocks.
_BYTES_AT_ONCE = 2**27


class IntegralStatus(enum.IntEnum):
    """How an integration ended."""

    SUCCESS = 0
    LIMIT = 1
    ROUNDING = 2
    DIVERGENT = 3


class Form(NamedTuple):
    """What shapes the program: the most cells, and whether f takes a number instead of a point."""

    limit: int
    scalar: bool


class ClosesOverTracer(Exception):  # noqa: N818  it is an answer, not an error of the caller's
    """f depends on a value of a transformation that is under way, so that no program of its own can hold it."""


def definite_integrals(
    f: Callable,
    form: Form,
    a: Array,
    b: Array,
    args: tuple,
    points: tuple,
    epsabs: Any,
    epsrel: Any,
    *,
    alone: bool = False,
) -> tuple:
    """The integrals of f(x, *args) from a to b (..., d), as the fields of `Integral`; runs while a program is traced.

    f becomes a function of a point and of arrays alone. With `alone`, what f closes over must be known numbers.
    """
    d = a.shape[-1]
    axes = varying_axes((a, b, args, points, epsabs, epsrel))
    a, b, args, points = varying_over(axes, (a, b, args, points))
    start = varying_over(axes, jnp.zeros(() if form.scalar else (d,), jnp.result_type(a, b, *points)))
    traced, output = jax.make_jaxpr(f, return_shape=True)(start, *args)
    if closed_over := varying_axes(traced.consts) - axes:
        return definite_integrals(f, form, varying_over(closed_over, a), b, args, points, epsabs, epsrel)
    if alone and any(isinstance(const, Tracer) for const in traced.consts):
        raise ClosesOverTracer
    if not isinstance(output, jax.ShapeDtypeStruct) or jnp.issubdtype(output.dtype, jnp.complexfloating):
        raise TypeError(
            f"f must return real numbers, one or an array of them; it returned {output}. Integrate the real and the "
            "imaginary part of a complex function one by one."
        )
    dtype = jnp.result_type(start, output.dtype, jnp.float32)
    leaves = [jnp.asarray(leaf) for leaf in (*jax.tree.leaves(args), *traced.consts)]
    count = len(leaves) - len(traced.consts)
    smooth = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    parameters = [leaf for leaf, chosen in zip(leaves, smooth, strict=True) if chosen]
    others = [leaf for leaf, chosen in zip(leaves, smooth, strict=True) if not chosen]

    def flat(x, parameters, others):
        given = iter(parameters), iter(others)
        leaves = [next(given[0 if chosen else 1]) for chosen in smooth]
        x = x.astype(start.dtype).reshape(start.shape)
        (y,) = eval_jaxpr(traced.jaxpr, leaves[count:], x, *leaves[:count])
        return jnp.ravel(y).astype(dtype)

    default = _EPSREL[dtype.itemsize][d > 1]
    tolerances = jnp.asarray(epsabs, dtype), jnp.where(jnp.isnan(epsrel), default, epsrel).astype(dtype)
    points = tuple(jnp.asarray(along, dtype) for along in points)

    def one(limits):
        return _definite(flat, form.limit, output.size, *limits, parameters, others, points, *tolerances)

    limits = tuple(end.astype(dtype) for end in jnp.broadcast_arrays(a, b))
    batch = limits[0].shape[:-1]
    block = max(1, _BYTES_AT_ONCE // (_numbers(form.limit, output.size, points) * dtype.itemsize))
    flattened = tuple(end.reshape(-1, d) for end in limits)
    if not batch:
        found = one(limits)
    elif math.prod(batch) <= block:
        found = jax.vmap(one)(flattened)
    else:
        found = jax.lax.map(one, flattened, batch_size=block)
    shapes = (batch + output.shape,) * 2 + (batch,) * 2
    return tuple(part.reshape(shape) for part, shape in zip(found, shapes, strict=True))


def _numbers(limit: int, m: int, points: tuple) -> int:
    """About how many numbers one integral holds at a time: its cells, and what is evaluated in a turn."""
    d, pieces = len(points), [along.size + 1 for along in points]
    evaluated = quadrature.points_a_turn(*pieces) if d == 1 else cubature.points_a_turn(pieces)
    return limit * (4 * m + 3 * d + 1) + 4 * evaluated * (m + d)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _definite(f, limit, m, a, b, parameters, others, points, epsabs, epsrel):
    """The integral of f(x, parameters, others), R^d -> R^m, from a to b (d,): value, error, status, nfev.

    Args:
        f: The integrand, a function of a point (d,) and of what is below.
        limit: The most cells.
        m: How many integrals it is.
        a: Where each variable begins, (d,).
        b: Where each ends; reversed limits change the sign.
        parameters: A list of floating arrays, which the integral is differentiable in.
        others: A list of the arrays that it is not differentiable in.
        points: A tuple of the break points of each axis.
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach.
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
        found = quadrature.integral(lambda x: integrand(x[None]), m, limit, edges[0], epsabs, epsrel)
    else:
        found = cubature.integral(integrand, m, limit, edges, epsabs, epsrel)
    value, error, full, nfev = found
    value = jnp.where(jnp.prod(jnp.where(b < a, -1, 1)) < 0, -value, value)
    value = jnp.where(jnp.isnan(jnp.concatenate(edges)).any(), jnp.nan, value)
    error = jnp.where(jnp.isnan(value) | jnp.isnan(error), jnp.inf, error)
    failure = jnp.where(full, IntegralStatus.LIMIT, IntegralStatus.ROUNDING)
    failure = jnp.where(jnp.all(jnp.isfinite(error)), failure, IntegralStatus.DIVERGENT)
    reached = jnp.all(error <= jnp.maximum(epsabs, epsrel * jnp.abs(value)))
    status = jnp.where(reached, IntegralStatus.SUCCESS, failure).astype(jnp.int32)
    return value, error, status, nfev.astype(jnp.int32)


@functools.partial(_definite.defjvp, symbolic_zeros=True)
def _leibniz(f, limit, m, primals, tangents):
    """What moves at the ends, and the integral of what f changes; of which only what moves is computed."""
    a, b, parameters, others, *options = primals
    a_dot, b_dot, parameters_dot, *_ = tangents
    outcome = _definite(f, limit, m, a, b, parameters, others, *options)
    change = jnp.zeros_like(outcome[0])
    for end, end_dot, sign in ((b, b_dot, 1), (a, a_dot, -1)):
        if not isinstance(end_dot, SymbolicZero):
            for axis in range(a.size):
                change += sign * _face(f, limit, m, axis, end[axis], primals) * end_dot[axis]
    moving = [not isinstance(dot, SymbolicZero) for dot in parameters_dot]
    if any(moving):
        dots = [dot for dot, moves in zip(parameters_dot, moving, strict=True) if moves]
        slopes, dot = _sensitivity(f, limit, m, moving, primals), ravel_pytree(dots)[0].astype(change.dtype)
        change += jnp.matmul(slopes, dot, precision="highest")
    _, error, status, nfev = outcome
    still = tuple(zero_from_primal(part, symbolic_zeros=True) for part in (error, status, nfev))
    return outcome, (change, *still)


def _face(f, limit, m, axis: int, end: Array, primals) -> Array:
    """The integral over the face of the box where one variable is at its end; an infinite end does not move."""
    a, b, parameters, others, points, *tolerances = primals
    rest = np.array([k for k in range(a.size) if k != axis], int)
    finite = jnp.isfinite(end)

    def on_face(x, parameters, others):
        *parameters, end = parameters
        return f(jnp.concatenate([x[:axis], end[None], x[axis:]]), parameters, others)

    inner = [*parameters, jnp.where(finite, end, 0.0)], others, tuple(points[k] for k in rest), *tolerances
    return jnp.where(finite, _derivative(_definite(on_face, limit, m, a[rest], b[rest], *inner)), 0.0)


def _sensitivity(f, limit, m, moving: list[bool], primals) -> Array:
    """The integrals of df/dp for all parameters that move, (m, parameters)."""
    a, b, parameters, others, *options = primals
    theta, unravel = ravel_pytree([p for p, moves in zip(parameters, moving, strict=True) if moves])
    fixed = [p for p, moves in zip(parameters, moving, strict=True) if not moves]

    def slopes(x, parameters, others):
        theta, *fixed = parameters

        def at(theta):
            moved, still = iter(unravel(theta)), iter(fixed)
            return f(x, [next(moved if moves else still) for moves in moving], others)

        return jnp.ravel((jax.jacrev if m <= theta.size else jax.jacfwd)(at)(theta))

    found = _definite(slopes, limit, m * theta.size, a, b, [theta, *fixed], others, *options)
    return _derivative(found).reshape(m, theta.size)


def _derivative(found: tuple) -> Array:
    """The value of an integral that is a derivative, nan where it does not exist: there is no status to say so."""
    value, error, *_ = found
    return jnp.where(jnp.isfinite(error), value, jnp.nan)
