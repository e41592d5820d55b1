"""One queue shared out over several devices: each steps the lanes of its own part, and none waits for another."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.solve import solve_on_devices


def as_devices(devices: Any) -> tuple[Any, ...]:
    """Returns the devices that the caller gives as a sequence, or a TypeError that says what to write."""
    if isinstance(devices, Sequence) and devices and all(isinstance(device, jax.Device) for device in devices):
        return tuple(devices)
    raise TypeError(f"devices is a list of devices, such as jax.devices(), not {devices!r}.")


def shared_out(fun: Callable, problem: Problem, options: Options, devices: tuple[Any, ...]) -> OptimizeResult:
    """Returns the results of a queue whose problems are dealt out to the devices in equal parts, in order.

    Problems without a start fill the last part, so that all parts are of one length.
    """
    count = problem.rows
    size = max(1, -(-count // len(devices))) * len(devices)
    result = solve_on_devices(fun, _lengthened(problem, size), options, devices)
    return result if size == count else jax.tree.map(lambda leaf: leaf[:count], result)


def _lengthened(problem: Problem, size: int) -> Problem:
    """Returns the queue with as many problems after its last as `size` asks for; nan is no start, and ends at once."""
    count = problem.rows
    missing = size - count

    def with_more(leaf: Array, fill: Any = 0) -> Array:
        return jnp.concatenate([leaf, jnp.full((missing, *leaf.shape[1:]), fill, leaf.dtype)])

    def of_start(leaf: Array) -> Array:
        return with_more(leaf, jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else 0)

    def of_option(leaf: Array) -> Array:
        # One row, or a number, is what all problems share; it stays so unless it is a queue of one problem.
        return with_more(leaf, 1) if leaf.ndim and len(leaf) == count and count > 1 else leaf

    box, scale, tolerances = jax.tree.map(of_option, (problem.box, problem.scale, problem.tolerances))
    return problem._replace(
        x0=jax.tree.map(of_start, problem.x0),
        args=jax.tree.map(with_more, problem.args),
        box=box,
        scale=scale,
        tolerances=tolerances,
    )
