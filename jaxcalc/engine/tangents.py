"""Tangents of a family's function, each one linear operation: in forward mode, or in reverse mode alone.

A function with `jax.custom_vjp` refuses forward mode. Its second derivatives come from reverse mode over reverse mode:
with G the gradient of a number s with respect to all that moves, the product of its Jacobian H with a direction is
G' v, what `jax.vjp` gives, since H is symmetric; and ds = G . v. The derivative of any other function along a direction
is that of its pullback, which is linear: J v = d(w -> J'w)' v.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxcalc.calculus.modes import REFUSED, has_only_reverse_mode, require_refusal
from jaxcalc.core.shards import varying_axes

PyTree = Any


class Mode(Protocol):
    """A way to differentiate s(u, moving) -> (number, aux), where moving is a pytree.

    The tangents are linear in their directions, and can be transposed. A direction of u may be None, which is zero.
    """

    @staticmethod
    def product(gradient: Callable, u: Array, v: Array) -> Array:
        """Returns the product of the Jacobian at u of a function whose Jacobian is symmetric, with v."""
        ...

    @staticmethod
    def number_and_gradient(s: Callable, x: tuple[Any, ...], dx: tuple[Any, ...]) -> tuple[Array, Array]:
        """Returns the tangents along dx, at x = (u, moving), of the number and of its gradient with respect to u."""
        ...

    @staticmethod
    def tangent(function: Callable, x: tuple[Any, ...], dx: tuple[Any, ...]) -> PyTree:
        """Returns the tangent of function(*x) along dx."""
        ...


class Forward:
    """Forward mode over reverse mode."""

    @staticmethod
    def product(gradient: Callable, u: Array, v: Array) -> Array:
        """As `Mode.product`."""
        return jax.jvp(gradient, (u,), (v,))[1]

    @staticmethod
    def number_and_gradient(s: Callable, x: tuple[Any, ...], dx: tuple[Any, ...]) -> tuple[Array, Array]:
        """As `Mode.number_and_gradient`."""

        def number_and_gradient(u, moving):
            (number, _), gradient = jax.value_and_grad(s, has_aux=True)(u, moving)
            return number, gradient

        if dx[0] is None:
            return Forward.tangent(lambda moving: number_and_gradient(x[0], moving), x[1:], dx[1:])
        return Forward.tangent(number_and_gradient, x, dx)

    @staticmethod
    def tangent(function: Callable, x: tuple[Any, ...], dx: tuple[Any, ...]) -> PyTree:
        """As `Mode.tangent`."""
        return _linear(
            lambda dx: jax.jvp(function, x, dx)[1],
            lambda dy: jax.vjp(function, *x)[1](dy),
            x,
            dx,
            jax.eval_shape(function, *x),
        )


class Reverse:
    """Reverse mode over reverse mode."""

    @staticmethod
    def product(gradient: Callable, u: Array, v: Array) -> Array:
        """As `Mode.product`."""
        return jax.vjp(gradient, u)[1](v)[0]

    @staticmethod
    def number_and_gradient(s: Callable, x: tuple[Any, ...], dx: tuple[Any, ...]) -> tuple[Array, Array]:
        """As `Mode.number_and_gradient`."""
        direction = (jnp.zeros_like(x[0]), *dx[1:]) if dx[0] is None else dx

        def gradients(*x):
            return jax.grad(s, (0, 1), has_aux=True)(*x)[0]

        def product(vector):
            """Returns the product with [H G; G' 0]."""
            v, c = vector
            of_all, pullback = jax.vjp(gradients, *x)
            along = jax.tree.map(lambda g, d: jnp.sum(g * d), of_all, v)
            return jax.tree.map(lambda h, g: h + c * g, pullback(v), of_all), jax.tree.reduce(jnp.add, along)

        number = jax.eval_shape(s, *x)[0]
        (du, _), tangent = _symmetric(product, x, (direction, jnp.zeros((), number.dtype)))
        return tangent, du

    @staticmethod
    def tangent(function: Callable, x: tuple[Any, ...], dx: tuple[Any, ...]) -> PyTree:
        """As `Mode.tangent`."""

        def product(vector):
            """Returns the product with [0 J'; J 0]."""
            v, w = vector
            y, pullback = jax.vjp(function, *x)
            return pullback(w), jax.vjp(pullback, jax.tree.map(jnp.zeros_like, y))[1](v)[0]

        shapes = jax.eval_shape(function, *x)
        return _symmetric(product, x, (dx, jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), shapes)))[1]


def mode_of(function: Callable, *x: PyTree) -> type[Mode]:
    """Returns the mode that the function allows: reverse alone where its trace holds a function with only that."""
    return Reverse if has_only_reverse_mode(function, *x) else Forward


def with_forward_mode(function: Callable) -> Callable:
    """Returns the function, with forward mode by reverse mode where its trace holds a function with only that."""

    def both_modes(*x: PyTree) -> PyTree:
        if not has_only_reverse_mode(function, *x):
            return function(*x)
        # Arrays that the function closes over move too.
        closed, captured = jax.closure_convert(function, *x)
        parts, joined = _by_kind((x, captured))
        # Whole numbers have no tangents; nothing that is computed for them is differentiated.
        (_, fixed), joined_output = _by_kind(closed(*jax.lax.stop_gradient((*x, *captured))))

        def plain(moving: list[Array], others: list[Array]) -> list[Array]:
            x, captured = joined(moving, others)
            return _by_kind(closed(*x, *captured))[0][0]

        numbers = jax.custom_jvp(plain)

        @numbers.defjvp
        def rule(x: tuple[Any, ...], dx: tuple[Any, ...]) -> tuple[list[Array], list[Array]]:
            moving, others = x
            return numbers(*x), Reverse.tangent(lambda moving: plain(moving, others), (moving,), dx[:1])

        return joined_output(numbers(*parts), fixed)

    return both_modes


@contextlib.contextmanager
def differentiable_in_reverse() -> Iterator[None]:
    """Explains JAX's refusal of forward mode over the derivative of a solution that has reverse mode alone."""
    try:
        yield
    except REFUSED as error:
        require_refusal(error)
        raise TypeError(
            "the function that was minimised defines only its reverse mode (jax.custom_vjp, as odeint does), and so "
            "does the derivative of its solution: forward-mode differentiation refuses it. In place of jax.hessian and "
            "jax.jacfwd take jaxcalc.hessian, or jax.jacrev of jax.jacrev."
        ) from error


def _by_kind(tree: PyTree) -> tuple[tuple[list[Array], list[Array]], Callable[[list[Array], list[Array]], PyTree]]:
    """Returns the leaves of a tree, those of inexact dtypes and the others, and what joins such leaves to a tree."""
    leaves, structure = jax.tree.flatten(tree)
    inexact = [bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)) for leaf in leaves]

    def joined(*parts: list[Array]) -> PyTree:
        numbers, others = map(iter, parts)
        return jax.tree.unflatten(structure, [next(numbers if number else others) for number in inexact])

    pairs = list(zip(leaves, inexact, strict=True))
    return ([leaf for leaf, number in pairs if number], [leaf for leaf, number in pairs if not number]), joined


def _linear(along: Callable, transposed: Callable, x: PyTree, dx: PyTree, shapes: PyTree) -> PyTree:
    """Returns along(dx), as one linear operation that is transposed as a whole, by `transposed`.

    It is transposed as `jax.vjp` does it, before anything is mapped. Mapped first and then transposed step by step, as
    it would be otherwise, a `lax.switch` on an index of each problem is more than JAX can do.

    Args:
        along: dx -> dy = J dx.
        transposed: dy -> J' dy.
        x: Where, which J depends on.
        dx: The direction.
        shapes: Of dy.
    """
    if varying_axes((x, dx)):  # in `jax.shard_map` the parts of such an operation get types that JAX then refuses
        return along(dx)
    zero = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), shapes)
    # One vector, for what is transposed must be linear in each of its parts.
    start, unravel = ravel_pytree((dx, zero))

    def add_tangent(sign: int, vector: Array) -> Array:
        dx, dy = unravel(vector)
        return ravel_pytree((dx, jax.tree.map(lambda y, t: y + sign * t, dy, along(dx))))[0]

    def add_cotangent(vector: Array) -> Array:
        dx, dy = unravel(vector)
        return ravel_pytree((jax.tree.map(jnp.add, dx, transposed(dy)), dy))[0]

    # The matrix [I 0; -J I], whose inverse is [I 0; J I].
    matrix, inverse = functools.partial(add_tangent, -1), functools.partial(add_tangent, 1)
    solution = jax.lax.custom_linear_solve(matrix, start, lambda _, b: inverse(b), lambda _, b: add_cotangent(b))
    return unravel(solution)[1]


def _symmetric(product: Callable, x: PyTree, v: PyTree) -> PyTree:
    """Returns product(v), as one linear operation that is its own transpose: a function of v with a symmetric matrix K.

    Nothing in it is transposed by JAX, which cannot transpose what defines only its reverse mode.

    Args:
        product: v -> K v.
        x: Where, which K depends on.
        v: A pytree.
    """
    if varying_axes((x, v)):
        return product(v)
    flat, unravel = ravel_pytree(v)

    def matvec(ac: Array) -> Array:
        a, c = jnp.split(ac, 2)
        return jnp.concatenate([c - ravel_pytree(product(unravel(a)))[0], a])

    def solve(_: Callable, b: Array) -> Array:
        above, below = jnp.split(b, 2)
        return jnp.concatenate([below, above + ravel_pytree(product(unravel(below)))[0]])

    # The matrix [-K I; I 0], whose inverse is [0 I; I K].
    start = jnp.concatenate([jnp.zeros_like(flat), flat])
    return unravel(jnp.split(jax.lax.custom_linear_solve(matvec, start, solve, symmetric=True), 2)[1])
