"""Several starts of each of many problems, in one queue, of which the best ends count."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import whole_number
from jaxcalc.core.tracing import is_transformed
from jaxcalc.engine.interruption import Interrupted
from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.solve import solve_all

# Ends are the same where their values differ by at most this share of their size, or no component of x by more.
SAME_VALUE, SAME_PLACE = 1e-6, 1e-4


def one_start(x0: Any, starts: Any) -> Any:
    """Returns the form of x0 with one start of each problem, leaves (N, ...), which bounds and scales are given for."""
    return x0 if starts is None or not number_of_starts(starts, x0) else jax.tree.map(lambda leaf: leaf[:, 0], x0)


def number_of_starts(starts: Any, x0: Any) -> int:
    """Returns K, or 1 if starts is None; raises unless every leaf of x0 then has the axes (N, K, ...)."""
    if starts is None:
        return 1
    number = whole_number("starts", starts, 1)
    for path, leaf in jax.tree_util.tree_leaves_with_path(x0):
        if leaf.shape[1:2] != (number,):
            raise ValueError(
                f"with starts={number} x0 holds {number} starts of each problem: its leaves have shape (N, {number}, "
                f"...); x0{jax.tree_util.keystr(path)} has shape {leaf.shape}."
            )
    return number


def solve_queue(
    fun: Callable, problem: Problem, options: Options, progress: bool = False, starts: Any = None
) -> OptimizeResult:
    """Returns the results of a queue; with K starts, x0 leaves (N, K, ...), the best of each problem's.

    The arguments of a problem are not repeated: its starts take the same row.
    """
    if starts is None:
        return solve_all([fun], [problem], options, progress)[0]
    number = number_of_starts(starts, problem.x0)
    if is_transformed():
        problem = problem._replace(
            args=_repeated(problem.args, number),
            box=_repeated(problem.box, number),
            scale=_repeated(problem.scale, number),
            tolerances=_repeated(problem.tolerances, number),
        )
    else:
        options = options._replace(starts=number)
    x0 = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), problem.x0)
    queue, certify = problem._replace(x0=x0), options.certify
    if certify:
        raise ValueError("certify=True with starts is not offered: call jaxcalc.certify at result.x.")
    try:
        return _best(solve_all([fun], [queue], options, progress)[0], number)
    except Interrupted as interrupted:
        raise Interrupted(_best(interrupted.result, number)) from None


def _repeated(tree: Any, number: int) -> Any:
    """Returns rows of problems as rows of starts; single rows and numbers belong to all."""

    def repeated(leaf: Array) -> Array:
        return jnp.repeat(leaf, number, axis=0) if jnp.ndim(leaf) and len(leaf) > 1 else leaf

    return jax.tree.map(repeated, tree)


@jax.jit(static_argnums=1)
def _best(result: OptimizeResult, number: int) -> OptimizeResult:
    """Returns the best of each `number` rows: the least value of those that succeeded, or else of all."""
    result = jax.tree.map(lambda leaf: leaf.reshape(-1, number, *leaf.shape[1:]), result)
    value = jnp.where(jnp.isnan(result.fun), jnp.inf, result.fun)
    any_success = jnp.any(result.success, axis=1, keepdims=True)
    best = jnp.argmin(jnp.where(result.success | ~any_success, value, jnp.inf), axis=1)

    def taken(leaf: Array) -> Array:
        return jax.vmap(lambda rows, row: rows[row])(leaf, best)

    chosen = jax.tree.map(taken, result)
    size = jnp.maximum(jnp.abs(value), jnp.abs(chosen.fun)[:, None])
    same_value = jnp.abs(value - chosen.fun[:, None]) <= SAME_VALUE * size
    same_place = jnp.all(
        jnp.stack([_near(all_x, x) for all_x, x in zip(*map(jax.tree.leaves, (result.x, chosen.x)), strict=True)]),
        axis=0,
    )
    agreed = jnp.sum(result.success & (same_value | same_place), axis=1)
    return dataclasses.replace(chosen, agreed=agreed)


def _near(rows: Array, best: Array) -> Array:
    """Returns which of the rows (N, K, ...) are near the best one (N, ...), (N, K)."""
    best = best[:, None]
    near = jnp.abs(rows - best) <= SAME_PLACE * jnp.maximum(jnp.abs(rows), jnp.abs(best))
    return jnp.all(near.reshape(*rows.shape[:2], -1), axis=2)
