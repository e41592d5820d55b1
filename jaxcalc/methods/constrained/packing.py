"""Many small arrays of lanes as a few large ones.

A state is copied, chosen and refilled array by array, and each of these is an operation to be compiled. Packed, the
numbers of a lane are rows of one array; matrices, which are large, stay as they are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

PyTree = Any


@jax.tree_util.register_pytree_node_class
class Packed:
    """A pytree of arrays with lanes last, in one array for each dtype and each matrix."""

    rows: dict[str, Array]
    matrices: list[Array]
    form: tuple[Any, ...]

    def __init__(self, rows: dict[str, Array], matrices: list[Array], form: tuple[Any, ...]):
        """Takes the rows by dtype, the arrays of more than two axes, and the structure and shapes of the tree."""
        self.rows, self.matrices, self.form = rows, matrices, form

    @classmethod
    def of(cls, tree: PyTree) -> "Packed":
        """Returns a pytree packed; booleans are kept as integers."""
        leaves, structure = jax.tree.flatten(tree)
        lists: dict[str, list[Array]] = {}
        for leaf in leaves:
            if leaf.ndim <= 2:
                kept = leaf.astype(jnp.int32) if leaf.dtype == bool else leaf
                lists.setdefault(str(kept.dtype), []).append(kept if leaf.ndim == 2 else kept[None])
        rows = {dtype: jnp.concatenate(parts) for dtype, parts in lists.items()}
        form = structure, tuple((leaf.shape[:-1], str(leaf.dtype)) for leaf in leaves)
        return cls(rows, [leaf for leaf in leaves if leaf.ndim > 2], form)

    def unpacked(self) -> PyTree:
        """Returns the pytree."""
        structure, shapes = self.form
        matrices, start, leaves = iter(self.matrices), dict.fromkeys(self.rows, 0), []
        for shape, dtype in shapes:
            if len(shape) > 1:
                leaves.append(next(matrices))
                continue
            key, size = "int32" if dtype == "bool" else dtype, shape[0] if shape else 1
            part = self.rows[key][start[key] : start[key] + size]
            start[key] += size
            part = part if shape else part[0]
            leaves.append(part != 0 if dtype == "bool" else part)
        return jax.tree.unflatten(structure, leaves)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Returns the arrays, and what is static."""
        return (self.rows, self.matrices), self.form

    @classmethod
    def tree_unflatten(cls, form: tuple[Any, ...], children: tuple[Any, ...]) -> "Packed":
        """Returns the object that `tree_flatten` took apart."""
        rows, matrices = children
        return cls(rows, matrices, form)


def chosen(cases: list[tuple[Array, PyTree]], otherwise: PyTree) -> PyTree:
    """Returns, in each lane, the pytree of the first case that holds there, (L,), and else the last."""
    packed = Packed.of(otherwise)
    for where, tree in reversed(cases):
        packed = jax.tree.map(lambda new, old, where=where: jnp.where(where, new, old), Packed.of(tree), packed)
    return packed.unpacked()
