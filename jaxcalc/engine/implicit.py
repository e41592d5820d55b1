"""Derivatives of a solution with respect to what its problem is made of, by the implicit function theorem.

A solution x(theta) is a root of an optimality function, F(x, theta) = 0; of a minimum that is the gradient. Therefore

    (dF/dx) dx = -(dF/dtheta) dtheta,    dfun = (df/dtheta) dtheta,

whatever steps have led to x: nothing of the loop is differentiated, and nothing of it is kept. The value's derivative
has no term in dx, because the gradient is zero there (the envelope theorem).

A derivative that is not known is nan, never a number that happens to come out: that of a problem which has not
converged, and that of a degenerate minimum. A variable that a bound holds moves with its bound alone, the others are a
root of the reduced system; where a bound only just holds, with a gradient of zero, the solution has a kink and the
derivative is that of one side. What nobody asks for stays zero all the same, in both directions, so that problems which
a loss leaves out leave no trace in its gradient.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.flatten_util import ravel_pytree

from jaxcalc.calculus.shards import varying_axes
from jaxcalc.engine.objective import Objective
from jaxcalc.methods.box import is_free

PyTree = Any

# The most variables whose Hessian is formed and factored; beyond, it is only multiplied with vectors.
MOST_DENSE = 256
# A pivot of the Hessian, scaled to a unit diagonal, of so many n eps is zero but for rounding.
SMALLEST_PIVOT = 10
# The most by which the curvature may differ at the end of a Newton step from x, as a share.
MOST_CHANGE = 0.25


def differentiable(solve: Callable, objective: Objective, anyway: bool) -> Callable:
    """Returns problem -> solve(problem), an OptimizeResult, with derivatives with respect to args, shared and bounds.

    Those with respect to the start, the tolerances and the method's numbers are zero: they decide which minimum is
    found and how well, not where it lies.

    Args:
        solve: Takes a problem, whose args and shared are tuples of arrays.
        objective: fun(x, *args, *shared) of one problem.
        anyway: Whether problems that did not succeed have the derivatives of the formula at their last point.
    """

    @jax.custom_jvp
    def solution(problem):
        return solve(problem)

    def rule(primals, tangents):
        (problem,), (change,) = primals, tangents
        result = solution(problem)
        tangent = jax.tree.map(_no_change, result)
        operands = [jax.tree.leaves((of.args, of.shared, of.bounds)) for of in (problem, change)]
        if any(_moves(*operands)):
            x, value, gradient, aux = _change_of_result(objective, problem, change, result, anyway)
            tangent = dataclasses.replace(tangent, x=x, fun=value, jac=gradient, aux=aux)
        return result, tangent

    solution.defjvp(rule, symbolic_zeros=True)
    return solution


def change_of_root(optimality: Callable[[Array], Array], x: Array, drift: Array, known: Array, near: bool) -> Array:
    """Returns dx such that F(x) + drift is zero at x + dx, to first order; linear in the drift.

        (dF/dx) dx = -drift

    It is nan unless dF/dx is positive definite to working precision, and, if x is to be `near` a root, unless dF/dx
    hardly changes on the way there: at a minimum such as that of x^4 it vanishes with the distance.

    Args:
        optimality: F, from (n,) to (n,), whose derivative is symmetric.
        x: A root of F, (n,).
        drift: By how much F changes at x, (n,).
        known: Whether x is a root.
        near: Whether to ask that x is near a root.
    """

    def times(u: Array, at: Array = x) -> Array:
        return jax.jvp(optimality, (at,), (u,))[1]

    divide, regular = (_by_cholesky if x.size <= MOST_DENSE else _by_conjugate_gradients)(optimality, times, x)
    known = known & regular
    if near:
        step = divide(optimality(x))
        curvature = step @ times(step)
        known &= jnp.abs(curvature - step @ times(step, x - step)) <= MOST_CHANGE * curvature
    return jax.lax.custom_linear_solve(times, -drift, lambda _, b: _unless_unknown(divide(b), b, known), symmetric=True)


def _by_cholesky(optimality: Callable, times: Callable, x: Array) -> tuple[Callable, Array]:
    """Returns b -> (dF/dx)^-1 b, and whether that is known, from one factorisation for all b."""
    matrix = jax.lax.stop_gradient(jax.jacfwd(optimality)(x))
    diagonal = jnp.diagonal(matrix)
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    factor = jnp.linalg.cholesky(matrix / (size * size[:, None]), symmetrize_input=False)
    regular = jnp.all(jnp.diagonal(factor) ** 2 > SMALLEST_PIVOT * x.size * jnp.finfo(x.dtype).eps)
    factor = jnp.where(regular, factor, jnp.eye(x.size, dtype=x.dtype))
    return lambda b: jax.scipy.linalg.cho_solve((factor, True), b / size) / size, regular


def _by_conjugate_gradients(optimality: Callable, times: Callable, x: Array) -> tuple[Callable, Array]:
    """Returns the same from products alone; nan where these do not lead to a solution."""
    tolerance = float(jnp.finfo(x.dtype).eps) ** (2 / 3)

    def divide(b):
        u = jax.scipy.sparse.linalg.cg(times, b, tol=tolerance)[0]
        solved = jnp.linalg.norm(times(u) - b) <= 10 * tolerance * jnp.linalg.norm(b)
        return jnp.where(solved, u, jnp.nan)

    return divide, jnp.array(True)


def _change(function: Callable, x: tuple, dx: tuple) -> PyTree:
    """Returns what dx changes in function(*x), as one linear operation that is transposed as a whole.

    It is transposed as `jax.vjp` does it, before anything is mapped. Mapped first and then transposed step by step, as
    it would be otherwise, a `lax.switch` on an index of each problem is more than JAX can do.
    """
    if varying_axes((x, dx)):  # in `jax.shard_map` the parts of such an operation get types that JAX then refuses
        return jax.jvp(function, x, dx)[1]
    zero = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(function, *x))
    # One vector, for what is transposed must be linear in each of its parts.
    start, unravel = ravel_pytree((dx, zero))

    def add_change(sign: int, vector: Array) -> Array:
        dx, dy = unravel(vector)
        change = jax.jvp(function, x, dx)[1]
        return ravel_pytree((dx, jax.tree.map(lambda y, c: y + sign * c, dy, change)))[0]

    def add_cotangent(vector: Array) -> Array:
        dx, dy = unravel(vector)
        return ravel_pytree((jax.tree.map(jnp.add, dx, jax.vjp(function, *x)[1](dy)), dy))[0]

    # The matrix [I 0; -J I], whose inverse is [I 0; J I].
    matrix, inverse = functools.partial(add_change, -1), functools.partial(add_change, 1)
    solution = jax.lax.custom_linear_solve(matrix, start, lambda _, b: inverse(b), lambda _, b: add_cotangent(b))
    return unravel(solution)[1]


def _unless_unknown(change: Array, asked: Array, known: Array) -> Array:
    """Returns the change, or nan where it is not known, but zero where zero was asked for."""
    return jnp.where(jnp.all(asked == 0), 0, jnp.where(known, change, jnp.nan))


def _if_known(change: Array, known: Array) -> Array:
    """Returns a change as `_unless_unknown` does, as an operation that is linear in it, and so can be transposed."""
    return jax.lax.custom_linear_solve(lambda u: u, change, lambda _, b: _unless_unknown(b, b, known), symmetric=True)


def _change_of_result(objective: Objective, problem: Any, change: Any, result: Any, anyway: bool) -> tuple:
    """Returns the tangents of x, fun, jac and aux."""
    of_args, of_shared = _moves(problem.args, change.args), _moves(problem.shared, change.shared)
    shared_change = _chosen(change.shared, of_shared)

    def of_one(x, held, carried, known, args, args_change):
        moving = _chosen(args, of_args), _chosen(problem.shared, of_shared)
        moved = args_change, shared_change

        def value(x, moving):
            value, aux = objective.value(
                x, _with(args, of_args, moving[0]), _with(problem.shared, of_shared, moving[1])
            )
            return value, _inexact(aux)

        def value_and_gradient(x, moving):
            (value_at_x, _), gradient = jax.value_and_grad(value, has_aux=True)(x, moving)
            return value_at_x, gradient

        def optimality(u):
            # A variable that its bound holds stays where it is; the others are a minimum given that.
            return jnp.where(held, u - x, value_and_gradient(jnp.where(held, x, u), moving)[1])

        if carried is None:
            dvalue, drift = _change(lambda moving: value_and_gradient(x, moving), (moving,), (moved,))
        else:
            dvalue, drift = _change(value_and_gradient, (x, moving), (carried, moved))
        dx = change_of_root(optimality, x, jnp.where(held, 0, drift), known, not anyway)
        dx = dx if carried is None else dx + _if_known(carried, known)
        daux = _change(lambda x, moving: value(x, moving)[1], (x, moving), (dx, moved))
        djac = None
        if bounded:
            # What a bound holds has a multiplier, which changes; where the gradient is zero it stays so.
            _, dgradient = _change(value_and_gradient, (x, moving), (dx, moved))
            djac = jnp.where(held, dgradient, 0)
        return dx, _if_known(dvalue, known), djac, daux

    known = result.success | anyway
    bounded = problem.bounds[0] is not None
    x = objective.ravel(result.x)
    held, carried = _held(objective, problem, change, x, objective.ravel(result.jac))
    mapped = jax.vmap(of_one, in_axes=(-1, -1, -1, 0, 0, 0), out_axes=(-1, 0, -1, 0))
    dx, dvalue, djac, daux = mapped(x, held, carried, known, problem.args, _chosen(change.args, of_args))
    leaves, structure = jax.tree.flatten(result.aux)
    daux = iter(daux)
    daux = [next(daux) if _is_inexact(leaf) else _no_change(leaf) for leaf in leaves]
    djac = jax.tree.map(_no_change, result.jac) if djac is None else objective.unravel(djac)
    return objective.unravel(dx), dvalue, djac, jax.tree.unflatten(structure, daux)


def _held(objective: Objective, problem: Any, change: Any, x: Array, gradient: Array) -> tuple[Array, Array | None]:
    """Returns which variables a bound holds against the gradient, and how far it carries them, (n, N) each.

    The latter is zero for the other variables, and None where no bound moves.
    """
    if problem.bounds[0] is None:
        return jnp.zeros(x.shape, bool), None
    lower, upper = (jnp.broadcast_to(objective.ravel(side), x.shape) for side in problem.bounds)
    held = ~is_free(x, gradient, lower, upper)
    moves = [_moves(*map(jax.tree.leaves, sides)) for sides in zip(problem.bounds, change.bounds, strict=True)]
    if not any(map(any, moves)):
        return held, None

    def side_change(side: PyTree, change: PyTree) -> Array:
        there = jax.tree.map(lambda leaf, d: jnp.zeros_like(leaf) if isinstance(d, SymbolicZero) else d, side, change)
        return jnp.broadcast_to(objective.ravel(there), x.shape)

    lower_change, upper_change = map(side_change, problem.bounds, change.bounds)
    carried = jnp.where((x <= lower) & (gradient >= 0), lower_change, upper_change)
    return held, jnp.where(held, carried, 0)


def _moves(arrays: Sequence[Array], changes: Sequence[Any]) -> list[bool]:
    return [
        _is_inexact(array) and not isinstance(change, SymbolicZero)
        for array, change in zip(arrays, changes, strict=True)
    ]


def _chosen(arrays: Sequence[Any], which: Sequence[bool]) -> list[Any]:
    return [array for array, chosen in zip(arrays, which, strict=True) if chosen]


def _with(arrays: Sequence[Array], which: Sequence[bool], instead: Sequence[Array]) -> tuple[Array, ...]:
    """Returns the arrays with the chosen ones replaced."""
    others = iter(instead)
    return tuple(next(others) if chosen else array for array, chosen in zip(arrays, which, strict=True))


def _inexact(tree: PyTree) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if _is_inexact(leaf)]


def _is_inexact(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _no_change(leaf: Array) -> Any:
    return zero_from_primal(leaf, symbolic_zeros=True)
