"""The queue's rows, one a problem: how lanes take their problems from them and hand in their results.

On a TPU the last axis of an array in memory is padded to 128, so that rows of 4 numbers take 32 times their size, and
taking or writing whole rows wants them in just that order. There rows are taken and written one column after the other,
so that the compiler may lay the problems along its vectors, which pads nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

PyTree = Any


def taken(rows: PyTree, row: Array) -> PyTree:
    """Returns these rows, (L, ...)."""

    def by_columns(leaf: Array) -> Array:
        return _from_columns(jax.lax.map(lambda column: column[row], _columns(leaf)), leaf.shape[1:])

    return _by_device(by_columns, lambda leaf: leaf[row], rows)


def written(rows: PyTree, row: Array, new: PyTree) -> PyTree:
    """Returns the rows with those at `row` replaced by the new ones (L, ...); a row past the end is left out."""

    def by_rows(leaf: Array, new: Array) -> Array:
        return leaf.at[row].set(new, mode="drop")

    def by_columns(leaf: Array, new: Array) -> Array:
        replaced = jax.lax.map(lambda pair: by_rows(*pair), (_columns(leaf), _columns(new)))
        return _from_columns(replaced, leaf.shape[1:])

    return _by_device(by_columns, by_rows, rows, new)


def _by_device(on_tpu: Callable, elsewhere: Callable, *trees: PyTree) -> PyTree:
    """Returns the leaves mapped by the one or the other function; what is one number a row needs no care."""

    def of_leaf(*leaves: Array) -> Array:
        if leaves[0].ndim == 1 or jnp.issubdtype(leaves[0].dtype, jax.dtypes.extended):
            return elsewhere(*leaves)
        return jax.lax.platform_dependent(*leaves, tpu=on_tpu, default=elsewhere)

    return jax.tree.map(of_leaf, *trees)


def _columns(leaf: Array) -> Array:
    return jnp.moveaxis(leaf, 0, -1).reshape(-1, len(leaf))


def _from_columns(columns: Array, shape: tuple[int, ...]) -> Array:
    return jnp.moveaxis(columns.reshape(*shape, -1), -1, 0)
