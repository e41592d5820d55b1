"""The gradient of a batch's cost: whole or in micro-batches, in mixed precision, on one device or many."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Computation(NamedTuple):
    """How a gradient is computed; part of what shapes a program."""

    micro_batches: int = 1
    compute_dtype: str | None = None
    mesh: Mesh | None = None  # of one axis, over which the samples of a batch are divided


def value_and_gradient(cost: Callable, computation: Computation) -> Callable[[Any, Any], tuple[Array, Any]]:
    """Returns (params, batch) -> the cost of the batch and its gradient in the dtypes of params.

    In micro-batches both are the means over equal parts, computed one after the other: the same, up to rounding, for a
    cost that is a mean over samples, in the memory of one part.
    """
    evaluate = jax.value_and_grad(in_precision(cost, computation.compute_dtype))

    def of_part(params: Any, batch: Any) -> tuple[Array, Any]:
        return evaluate(params, _divided(batch, computation.mesh))

    def in_parts(params: Any, batch: Any) -> tuple[Array, Any]:
        parts = computation.micro_batches
        # Every part takes each parts-th sample: no device has to hand a sample to another.
        split = jax.tree.map(lambda leaf: jnp.swapaxes(leaf.reshape(-1, parts, *leaf.shape[1:]), 0, 1), batch)

        def add(total, part):
            return jax.tree.map(jnp.add, total, of_part(params, part)), None

        nothing = jax.tree.map(
            lambda of: jnp.zeros(of.shape, of.dtype),
            jax.eval_shape(of_part, params, jax.tree.map(lambda leaf: leaf[0], split)),
        )
        total, _ = jax.lax.scan(add, nothing, split)
        return jax.tree.map(lambda leaf: leaf / parts, total)

    return of_part if computation.micro_batches == 1 else in_parts


def in_precision(cost: Callable, dtype: str | None) -> Callable:
    """Returns the cost computed in this dtype, as a float32; its gradients keep the dtypes of the parameters."""
    if dtype is None:
        return cost

    def lowered(tree: Any) -> Any:
        floating = lambda leaf: jnp.issubdtype(jnp.result_type(leaf), jnp.floating)  # noqa: E731
        return jax.tree.map(lambda leaf: leaf.astype(dtype) if floating(leaf) else leaf, tree)

    return lambda params, batch: cost(lowered(params), lowered(batch)).astype(jnp.float32)


def _divided(batch: Any, mesh: Mesh | None) -> Any:
    """Returns the batch with its samples divided over the devices."""
    if mesh is None:
        return batch
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), batch)
