"""`jax.vmap` of a solve: the mapped problems join one queue, so that lanes refill instead of waiting for the slowest.

A solve that is mapped would be a loop that runs until its slowest lane has finished. Here the mapped axis becomes
part of the problem axis: what is mapped among the things that problems share, then belongs to each problem, and one run
of the engine solves them all. Mapping what has been mapped does the same again.

For this a function must depend on nothing but its operands, so what it closes over is made an operand first.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.core
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.shards import of_one, varying_axes, varying_over
from jaxcalc.engine.objective import as_start

PyTree = Any
Problem = TypeVar("Problem", bound=NamedTuple)


class Closed:
    """A function of x and of a list of arrays, which are all that it depends on."""

    def __init__(self, jaxpr: Any, output: PyTree, constants: int):
        """Takes a jaxpr of x and the arrays but for the last ones, its constants, and the form of its output."""
        self._jaxpr, self._output, self._constants = jaxpr, jax.tree.structure(output), constants

    def of(self, own: Sequence[bool]) -> Callable:
        """Returns fun(x, *args, *shared) where the args are the arrays for which `own` holds, shared the others."""

        def fun(x, *arrays):
            given = iter(arrays[: sum(own)]), iter(arrays[sum(own) :])
            arrays = [next(given[0] if each else given[1]) for each in own]
            count = len(arrays) - self._constants
            inputs = [*jax.tree.leaves(x), *arrays[:count]]
            return jax.tree.unflatten(self._output, jax.core.eval_jaxpr(self._jaxpr, arrays[count:], *inputs))

        return fun


def closed_over(fun: Callable, problem: Any) -> tuple[Closed, Any]:
    """Returns the function with nothing closed over, and the problem with all that it depends on.

    The problem's args and shared then are tuples of arrays, the latter with the function's constants at its end.
    `jax.closure_convert` would hoist only what may be differentiated: no integers, masks or random keys.
    """
    problem = varying_over(varying_axes(problem), problem)
    x0, args = of_one((problem.x0, problem.args))
    traced, output = jax.make_jaxpr(fun, return_shape=True)(jax.eval_shape(as_start, x0), *args, *problem.shared)
    axes = varying_axes(traced.consts)
    if axes - varying_axes(problem):
        return closed_over(fun, varying_over(axes, problem))
    args, shared = jax.tree.leaves(problem.args), jax.tree.leaves(problem.shared)
    closed = Closed(traced.jaxpr, output, len(traced.consts))
    return closed, problem._replace(args=tuple(args), shared=(*shared, *traced.consts))


def refilling(solve: Callable[[Sequence[bool], Problem], PyTree], own: Sequence[bool]) -> Callable[[Problem], PyTree]:
    """Returns problem -> solve(own, problem), which under `jax.vmap` solves all mapped problems as one queue.

    Args:
        solve: Takes which arrays are a problem's own and a problem whose x0 and args have a leading axis N; its
            results have that axis too.
        own: Which arrays are a problem's own; see `Closed`.
    """

    @jax.custom_batching.custom_vmap
    def run(problem):
        return solve(own, problem)

    @run.def_vmap
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


def _joined(size: int, count: int, own: Sequence[bool], batched: Any, problem: Any) -> tuple[list[bool], Any]:
    """Returns the problem whose queue holds `size` queues of `count` problems, and which arrays are now their own."""

    def each(leaf: Array, is_batched: bool) -> Array:
        """Returns (size, count, ...) or (count, ...) as (size count, ...)."""
        leaf = leaf if is_batched else jnp.broadcast_to(leaf, (size, *leaf.shape))
        return leaf.reshape(size * count, *leaf.shape[2:])

    def repeated(leaf: Array) -> Array:
        """Returns (size, ...) as (size count, ...)."""
        return each(jnp.broadcast_to(leaf[:, None], (size, count, *leaf.shape[1:])), True)

    def limit(leaf: Array, is_batched: bool) -> Array:
        if leaf.ndim == is_batched:  # one number for all of a queue
            return repeated(leaf) if is_batched else leaf
        return each(leaf, is_batched)

    def side(leaf: Array, is_batched: bool) -> Array:
        """Returns a side of the bounds or a scale, which of a single row belongs to all problems of its queue."""
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
    return now_own, problem._replace(
        x0=jax.tree.map(each, problem.x0, batched.x0),
        args=tuple(now_args),
        shared=tuple(now_shared),
        bounds=jax.tree.map(side, problem.bounds, batched.bounds),
        scale=jax.tree.map(side, problem.scale, batched.scale),
        limits=jax.tree.map(limit, problem.limits, batched.limits),
    )
