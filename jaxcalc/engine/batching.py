"""`jax.vmap` of a solve: the mapped problems join one queue, so that lanes refill instead of waiting for the slowest.

JAX alone would map the loop of a solve into one that runs until its slowest problem has finished. Here the mapped axis
becomes part of the problem axis instead, and one run of the engine solves all problems. An array that the problems of a
queue share, and that is mapped, becomes an array of each problem. Mapping twice does the same twice.

For this a function must depend on nothing but its operands, so whatever it closes over is made an operand first.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import as_floating
from jaxcalc.core.shards import type_of_one, varying_axes, varying_over
from jaxcalc.core.tracing import evaluated, own_promotion
from jaxcalc.engine.problem import Problem

PyTree = Any


class ClosedFunction:
    """A function of x and of a list of arrays that depends on nothing else."""

    def __init__(self, jaxpr: Any, output: PyTree, constants: int):
        """Takes a jaxpr of (constants, x, arrays), the output's form, and how many of the arrays are constants."""
        self._jaxpr, self._output, self._constants = jaxpr, jax.tree.structure(output), constants

    def with_own(self, own: Sequence[bool]) -> Callable:
        """Returns fun(x, *args, *shared): args are the arrays marked in `own`, shared the others, in their order."""

        def fun(x, *arrays):
            args, shared = iter(arrays[: sum(own)]), iter(arrays[sum(own) :])
            arrays = [next(args if is_own else shared) for is_own in own]
            count = len(arrays) - self._constants
            inputs = [*jax.tree.leaves(x), *arrays[:count]]
            return evaluated(self._jaxpr, arrays[count:], inputs, self._output)

        return fun


def closed_over(fun: Callable, problem: Problem) -> tuple[ClosedFunction, Problem]:
    """Returns fun with nothing closed over, and the problem with args and shared as tuples of arrays.

    The constants that fun closed over stand at the end of shared. `jax.closure_convert` would hoist only arrays that
    may be differentiated: no integers, masks or random keys.
    """
    problem = varying_over(varying_axes(problem), problem)
    x0, args = type_of_one((problem.x0, problem.args))
    traced, output = jax.make_jaxpr(fun, return_shape=True)(jax.eval_shape(as_floating, x0), *args, *problem.shared)
    axes = varying_axes(traced.consts)
    if axes - varying_axes(problem):
        return closed_over(fun, varying_over(axes, problem))
    args, shared = jax.tree.leaves(problem.args), jax.tree.leaves(problem.shared)
    closed = ClosedFunction(traced.jaxpr, output, len(traced.consts))
    return closed, problem._replace(args=tuple(args), shared=(*shared, *traced.consts))


def refilling(
    solve: Callable[[tuple[bool, ...], Problem], PyTree], own: tuple[bool, ...]
) -> Callable[[Problem], PyTree]:
    """Returns problem -> solve(own, problem), which under `jax.vmap` solves all mapped problems as one queue.

    Args:
        solve: Takes which arrays are args, and a problem; its results have the problem axis first.
        own: Which of the function's arrays are args, the others being shared; see `ClosedFunction`.
    """

    @jax.custom_batching.custom_vmap
    def run(problem):
        return solve(own, problem)

    @run.def_vmap
    @own_promotion()
    def mapped(size, batched, problem):
        (batched,) = batched
        if any(jax.tree.leaves(batched.method)):
            # A method's numbers are the same in all lanes; with several of them there are several runs, in lock-step.
            axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, batched)
            results = jax.vmap(lambda problem: solve(own, problem), in_axes=(axes,))(problem)
        else:
            count = jax.tree.leaves(problem.x0)[0].shape[int(jax.tree.leaves(batched.x0)[0])]
            now_own, joined = _joined(size, count, own, batched, problem)
            results = refilling(solve, now_own)(joined)
            results = jax.tree.map(lambda leaf: leaf.reshape(size, count, *leaf.shape[1:]), results)
        return results, jax.tree.map(lambda _: True, results)

    return run


def _joined(
    size: int, count: int, own: tuple[bool, ...], batched: Any, problem: Problem
) -> tuple[tuple[bool, ...], Problem]:
    """Returns the problem whose queue holds `size` queues of `count` problems, and which arrays now are args.

    `batched` has the problem's form, with whether each array is mapped in the place of the array.
    """

    def each(leaf: Array, is_batched: bool) -> Array:
        """Returns (size, count, ...) or (count, ...) as (size count, ...)."""
        leaf = leaf if is_batched else jnp.broadcast_to(leaf, (size, *leaf.shape))
        return leaf.reshape(size * count, *leaf.shape[2:])

    def repeated(leaf: Array) -> Array:
        """Returns (size, ...) as (size count, ...)."""
        return each(jnp.broadcast_to(leaf[:, None], (size, count, *leaf.shape[1:])), True)

    def tolerance(leaf: Array, is_batched: bool) -> Array:
        if leaf.ndim == is_batched:  # one number for all problems of a queue
            return repeated(leaf) if is_batched else leaf
        return each(leaf, is_batched)

    def side(leaf: Array, is_batched: bool) -> Array:
        """Returns a side of the box or a scale; a single row belongs to all problems of its queue."""
        if not is_batched:
            return leaf if len(leaf) == 1 else each(leaf, False)
        return each(jnp.broadcast_to(leaf, (size, count, *leaf.shape[2:])), True)

    args, shared = (
        iter(zip(problem.args, batched.args, strict=True)),
        iter(zip(problem.shared, batched.shared, strict=True)),
    )
    now_own, now_args, now_shared = [], [], []
    for is_own in own:
        leaf, is_batched = next(args if is_own else shared)
        now_own.append(is_own or is_batched)
        if is_own:
            now_args.append(each(leaf, is_batched))
        elif is_batched:
            if varying_axes(leaf) != varying_axes(problem.x0):
                raise TypeError(
                    "inside jax.shard_map, fun closes over a value that jax.vmap maps and that is the same on all "
                    "devices, while its other arguments differ between them. Give it to fun through args."
                )
            now_args.append(repeated(leaf))
        else:
            now_shared.append(leaf)
    return tuple(now_own), problem._replace(
        x0=jax.tree.map(each, problem.x0, batched.x0),
        args=tuple(now_args),
        shared=tuple(now_shared),
        box=jax.tree.map(side, problem.box, batched.box),
        scale=jax.tree.map(side, problem.scale, batched.scale),
        tolerances=jax.tree.map(tolerance, problem.tolerances, batched.tolerances),
    )
