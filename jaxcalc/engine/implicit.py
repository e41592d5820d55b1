"""Derivatives of a solution with respect to what its problem is made of, by the implicit function theorem.

A solution u(theta) is a root, F(u, theta) = 0, of the gradient of a function s(u, theta): for a minimum u is x and s is
f; a family of problems says what they are. Therefore

    (dF/du) du = -(dF/dtheta) dtheta,    dfun = (ds/dtheta) dtheta,

whatever steps have led to u: nothing of the loop is differentiated, and nothing of it is kept. The value's derivative
has no term in du, because the gradient is zero there (the envelope theorem). A function that defines only its reverse
mode is differentiated by reverse mode over reverse mode, in both directions.

A derivative that is not known is nan, never a number that happens to come out: that of a problem which has not
converged, and that of a degenerate minimum. A variable that a bound holds moves with its bound alone, and the others
are a root of the reduced system. Where a bound only just holds, with a gradient of zero, the solution has a kink, and
the derivative is that of one side. A tangent or cotangent of zero gives zero all the same, so that problems which a
loss leaves out leave no nan in its gradient.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from jaxcalc.core.tracing import own_promotion
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.linear_solves import LinearSolve
from jaxcalc.engine.problem import Problem
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.tangents import Mode, mode_of

PyTree = Any


def differentiable(
    solve: Callable[[Problem], OptimizeResult], family: Family, unconverged: str
) -> Callable[[Problem], OptimizeResult]:
    """Returns problem -> solve(problem) with derivatives with respect to args, shared and bounds.

    The derivatives with respect to the start, the tolerances and the method's numbers are zero: they decide which
    minimum is found and how well, not where it lies.

    Args:
        solve: Takes a problem, whose args and shared are tuples of arrays.
        family: Of the problems.
        unconverged: The derivatives of problems that did not succeed: "nan", or "implicit" for those of the formula at
            the last point.
    """

    @jax.custom_jvp
    def solution(problem):
        return solve(problem)

    @own_promotion()
    def rule(primals, tangents):
        (problem,), (tangent,) = primals, tangents
        result = solution(problem)
        zero = jax.tree.map(_zero_tangent, result)
        differentiated = [(part.args, part.shared, part.box) for part in (problem, tangent)]
        if not any(_moving(*map(jax.tree.leaves, differentiated))):
            return result, zero
        moved = _tangent_of_result(family, problem, tangent, result, unconverged == "implicit")
        return result, dataclasses.replace(zero, **moved)

    solution.defjvp(rule, symbolic_zeros=True)
    return solution


def tangent_of_root(
    root: Callable[[Array], Array],
    u: Array,
    right_side: Array,
    known: Array,
    near: bool,
    linear_solve: LinearSolve,
    mode: type[Mode],
) -> Array:
    """Returns du with (dF/du) du = -right_side; linear in the right side, and nan where du is not known.

    Args:
        root: F, from (m,) to (m,), whose derivative is symmetric.
        u: A root of F, (m,).
        right_side: The tangent of F at fixed u, (m,).
        known: Whether u is a root.
        near: Whether u must be shown to be near a root.
        linear_solve: Solves the system, or says that dF/du is not regular.
        mode: Makes the products with dF/du.
    """

    def matvec(v: Array, at: Array = u) -> Array:
        return mode.product(root, at, v)

    solve, regular = linear_solve(root, matvec, u, near)
    known = known & regular

    def solve_if_known(_: Callable, b: Array) -> Array:
        return _zero_or_known(solve(b), b, known)

    return jax.lax.custom_linear_solve(matvec, -right_side, solve_if_known, symmetric=True)


def _tangent_of_result(
    family: Family, problem: Problem, tangent: Any, result: OptimizeResult, anyway: bool
) -> dict[str, PyTree]:
    """Returns the tangents of x, fun, jac, aux and the family's fields."""
    of_args, of_shared = _moving(problem.args, tangent.args), _moving(problem.shared, tangent.shared)
    shared_tangent = _chosen(tangent.shared, of_shared)
    bounded = problem.box.is_bounded

    def of_one(u, held, carried, known, args, args_tangent):
        moving = _chosen(args, of_args), _chosen(problem.shared, of_shared)
        moved = args_tangent, shared_tangent

        def stationary(u, moving):
            own, shared = _replaced(args, of_args, moving[0]), _replaced(problem.shared, of_shared, moving[1])
            number, aux = family.stationary(u, own, shared)
            return number, _inexact(aux)

        def slope(u, moving):
            own, shared = _replaced(args, of_args, moving[0]), _replaced(problem.shared, of_shared, moving[1])
            return family.slope(u, own, shared)

        has_slope = jax.eval_shape(slope, u, moving) is not None

        def root(v):
            # A held unknown stays where it is; the others are a root given that.
            gradient, _ = jax.grad(stationary, has_aux=True)(jnp.where(held, u, v), moving)
            return jnp.where(held, v - u, gradient)

        mode = mode_of(stationary, u, moving)
        dfun, right_side = mode.number_and_gradient(stationary, (u, moving), (carried, moved))
        right_side = jnp.where(held, 0, right_side)
        du = tangent_of_root(root, u, right_side, known, not anyway, family.linear_solve, mode)
        du = du if carried is None else du + _if_known(carried, known)
        daux = mode.tangent(lambda u, moving: stationary(u, moving)[1], (u, moving), (du, moved))
        dgradient = None
        if bounded:
            # The gradient at a held variable is its multiplier, which changes; elsewhere the gradient stays zero.
            _, dgradient = mode.number_and_gradient(stationary, (u, moving), (du, moved))
            dgradient = jnp.where(held, dgradient, 0)
        dslope = None
        if has_slope:
            dslope = mode.tangent(slope, (u, moving), (du, moved))
        return du, _if_known(dfun, known), dgradient, dslope, daux

    u, known = family.unknowns(result), result.success | anyway
    held = family.held(result, _box_in_lanes(family, problem)) if bounded else jnp.zeros(u.shape, bool)
    carried = _carried(family, problem, tangent, result, held)
    mapped = jax.vmap(of_one, in_axes=(-1, -1, -1, 0, 0, 0), out_axes=(-1, 0, -1, -1, 0))
    du, dfun, dgradient, dslope, daux = mapped(u, held, carried, known, problem.args, _chosen(tangent.args, of_args))
    leaves, structure = jax.tree.flatten(result.aux)
    daux = iter(daux)
    daux = [next(daux) if _is_inexact(leaf) else _zero_tangent(leaf) for leaf in leaves]
    moved = family.tangents(du, dgradient) if dslope is None else family.tangents(du, dgradient, dslope)
    return moved | {"fun": dfun, "aux": jax.tree.unflatten(structure, daux)}


def _box_in_lanes(family: Family, problem: Problem) -> Any:
    """Returns the box of all problems, sides (n, N)."""
    sides = (jnp.broadcast_to(family.ravel(side), (family.n, problem.rows)) for side in problem.box)
    return type(problem.box)(*sides)


def _carried(family: Family, problem: Problem, tangent: Any, result: OptimizeResult, held: Array) -> Array | None:
    """Returns how far bounds that move carry the variables that they hold, (m, N), else zero; None if none moves."""
    if not problem.box.is_bounded:
        return None
    moving = [_moving(*map(jax.tree.leaves, sides)) for sides in zip(problem.box, tangent.box, strict=True)]
    if not any(map(any, moving)):
        return None
    at_lower = family.held_at_lower(result, _box_in_lanes(family, problem))

    def side_tangent(side: PyTree, tangent: PyTree) -> Array:
        filled = jax.tree.map(lambda leaf, d: jnp.zeros_like(leaf) if isinstance(d, SymbolicZero) else d, side, tangent)
        return jnp.broadcast_to(family.ravel(filled), at_lower.shape)

    lower_tangent, upper_tangent = map(side_tangent, problem.box, tangent.box)
    carried = jnp.where(at_lower, lower_tangent, upper_tangent)
    others = jnp.zeros((len(held) - len(carried), carried.shape[1]), carried.dtype)  # multipliers are not carried
    return jnp.where(held, jnp.concatenate([carried, others]) if len(others) else carried, 0)


def _zero_or_known(tangent: Array, right_side: Array, known: Array) -> Array:
    """Returns the tangent, nan where it is not known, and zero where the right side is zero all the same."""
    return jnp.where(jnp.all(right_side == 0), 0, jnp.where(known, tangent, jnp.nan))


def _if_known(tangent: Array, known: Array) -> Array:
    """Returns the tangent, or nan, as `_zero_or_known` does, as a linear operation, which can be transposed."""
    return jax.lax.custom_linear_solve(lambda v: v, tangent, lambda _, b: _zero_or_known(b, b, known), symmetric=True)


def _moving(arrays: Sequence[Array], tangents: Sequence[Any]) -> list[bool]:
    """Returns which arrays have a tangent that is not symbolically zero."""
    return [
        _is_inexact(array) and not isinstance(tangent, SymbolicZero)
        for array, tangent in zip(arrays, tangents, strict=True)
    ]


def _chosen(arrays: Sequence[Any], which: Sequence[bool]) -> list[Any]:
    return [array for array, chosen in zip(arrays, which, strict=True) if chosen]


def _replaced(arrays: Sequence[Array], which: Sequence[bool], new: Sequence[Array]) -> tuple[Array, ...]:
    """Returns the arrays with the chosen ones replaced by the new ones."""
    replacements = iter(new)
    return tuple(next(replacements) if chosen else array for array, chosen in zip(arrays, which, strict=True))


def _inexact(tree: PyTree) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if _is_inexact(leaf)]


def _is_inexact(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _zero_tangent(leaf: Array) -> Any:
    return zero_from_primal(leaf, symbolic_zeros=True)
