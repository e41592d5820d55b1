"""The gradient of the cost of a batch: in one piece or in micro-batches, in mixed precision, on one device or many."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Computation(NamedTuple):
    """How the gradient of a batch is computed; static, so each value has a program of its own."""

    micro_batches: int = 1  # parts of a batch
    compute_dtype: str | None = None  # None: the dtypes of parameters and batch
    mesh: Mesh | None = None  # has one axis, over which the samples of a batch are divided


def value_and_gradient(cost: Callable, computation: Computation) -> Callable[[Any, Any], tuple[Array, Any]]:
    """Returns the function (params, batch) -> cost of the batch and its gradient, in the dtypes of params.

    With micro-batches, cost and gradient are the means over equal parts of the batch, computed one after the other in
    the memory of one part. For a cost that is a mean over samples they are, up to rounding, those of the whole batch.
    """
    evaluate = jax.value_and_grad(in_precision(cost, computation.compute_dtype))

    def of_part(params: Any, batch: Any) -> tuple[Array, Any]:
        return evaluate(params, _divided(batch, computation.mesh))

    def in_parts(params: Any, batch: Any) -> tuple[Array, Any]:
        parts = computation.micro_batches
        # Part k takes the samples k, k + parts, k + 2 parts, ...: so no sample moves from one device to another.
        split = jax.tree.map(lambda leaf: jnp.swapaxes(leaf.reshape(-1, parts, *leaf.shape[1:]), 0, 1), batch)

        def add(total, part):
            return jax.tree.map(jnp.add, total, of_part(params, part)), None

        zeros = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(of_part, params, jax.tree.map(lambda leaf: leaf[0], split)),
        )
        total, _ = jax.lax.scan(add, zeros, split)
        return jax.tree.map(lambda leaf: leaf / parts, total)

    return of_part if computation.micro_batches == 1 else in_parts


def in_precision(cost: Callable, dtype: str | None) -> Callable:
    """Returns cost computed in this dtype, with a float32 value; its gradients keep the dtypes of the parameters."""
    if dtype is None:
        return cost

    def lowered(tree: Any) -> Any:
        floating = lambda leaf: jnp.issubdtype(jnp.result_type(leaf), jnp.floating)  # noqa: E731
        return jax.tree.map(lambda leaf: leaf.astype(dtype) if floating(leaf) else leaf, tree)

    return lambda params, batch: cost(lowered(params), lowered(batch)).astype(jnp.float32)


def _divided(batch: Any, mesh: Mesh | None) -> Any:
    """Returns the batch with its samples divided over the devices of the mesh; without a mesh, the batch itself."""
    if mesh is None:
        return batch
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), batch)
