"""The queue's rows, one a problem: lanes gather their problems from rows and scatter their results into rows.

On a TPU the last axis of an array in memory is padded to 128, so that rows of 4 numbers take 32 times their size, and
gathering or scattering whole rows asks for that layout. There rows are gathered and scattered one column after the
other, so that the compiler may lay the problems along its vectors, which pads nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.platform import pads_the_last_axis

PyTree = Any


def gather(rows: PyTree, row: Array) -> PyTree:
    """Returns the rows with these numbers, leaves (L, ...)."""

    def by_columns(leaf: Array) -> Array:
        return _from_columns(jax.lax.map(lambda column: column[row], _columns(leaf)), leaf.shape[1:])

    return _by_device(by_columns, lambda leaf: leaf[row], rows)


def scatter(rows: PyTree, row: Array, new: PyTree) -> PyTree:
    """Returns the rows with those numbered `row` replaced by new ones, (L, ...); numbers past the end do nothing."""

    def by_rows(leaf: Array, new: Array) -> Array:
        return leaf.at[row].set(new, mode="drop")

    def by_columns(leaf: Array, new: Array) -> Array:
        replaced = jax.lax.map(lambda pair: by_rows(*pair), (_columns(leaf), _columns(new)))
        return _from_columns(replaced, leaf.shape[1:])

    return _by_device(by_columns, by_rows, rows, new)


def _by_device(by_columns: Callable, by_rows: Callable, *trees: PyTree) -> PyTree:
    """Returns the leaves mapped by columns where memory is padded; leaves of one number a row are never padded."""

    def of_leaf(*leaves: Array) -> Array:
        if leaves[0].ndim == 1 or jnp.issubdtype(leaves[0].dtype, jax.dtypes.extended):
            return by_rows(*leaves)
        return pads_the_last_axis(*leaves, where_so=by_columns, elsewhere=by_rows)

    return jax.tree.map(of_leaf, *trees)


def _columns(leaf: Array) -> Array:
    return jnp.moveaxis(leaf, 0, -1).reshape(-1, len(leaf))


def _from_columns(columns: Array, shape: tuple[int, ...]) -> Array:
    return jnp.moveaxis(columns.reshape(*shape, -1), -1, 0)
