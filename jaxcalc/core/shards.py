"""Values inside `jax.shard_map`, whose types say over which axes of devices they differ.

A loop may not change the type of what it carries, and a traced function accepts only the types that it was traced
with. Therefore everything that belongs to a solve or an integral differs over the same axes, from the start.
"""

from typing import Any

import jax
from jax import Array

PyTree = Any


def varying_axes(tree: PyTree) -> frozenset[Any]:
    """Returns the axes of devices over which an array of the tree differs; none outside of `jax.shard_map`."""
    return frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(tree)))


def varying_over(axes: frozenset[Any], tree: PyTree) -> PyTree:
    """Returns the tree as values that differ over these axes, those included over which they differ already."""

    def cast(leaf: Array) -> Array:
        missing = tuple(sorted(axes - varying_axes(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree)


def type_of_one(tree: PyTree) -> PyTree:
    """Returns the shapes and dtypes of one problem's arrays, from leaves with a leading problem axis."""

    def first(leaf: Array) -> jax.ShapeDtypeStruct:
        if not len(leaf):  # a queue of no problems has no first one, and none that will be evaluated
            return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
        return jax.eval_shape(lambda leaf: leaf[0], leaf)

    return jax.tree.map(first, tree)
