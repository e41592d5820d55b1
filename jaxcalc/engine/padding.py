"""Queues of a few lengths, so that another number of problems compiles nothing.

A program is compiled for the shapes of its arrays. Therefore a queue of N problems is filled up with copies of its last
one to a length that serves other N too; the number of problems is an operand (`Problem.count`), and the copies are
never solved. Four lengths lie between two powers of two, each at most 1.25 times the one before.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxcalc.core.platform import shares_memory_with_host
from jaxcalc.engine.problem import Problem

Tree = TypeVar("Tree")

# Whole vectors of lanes.
VECTOR = 16
# A queue of more bytes is not copied: a program for its own length costs less than the memory.
MOST_BYTES = 2**26


def padded_length(count: int) -> int:
    """Returns the length of the queue, at least `count`, that serves `count` problems."""
    if count <= VECTOR:
        return 2 ** (count - 1).bit_length()
    step = max(VECTOR, 2 ** (count - 1).bit_length() // 8)
    return -(-count // step) * step


def padded_queue(problem: Problem) -> Problem:
    """Returns the queue filled up with copies of its last problem, and tolerances in one form."""
    count = problem.rows
    leaves = jax.tree.leaves((problem.x0, problem.args, problem.box, problem.scale))
    if not count or any(_stays(leaf) for leaf in leaves) or sum(leaf.nbytes for leaf in leaves) > MOST_BYTES:
        return problem._replace(tolerances=problem.tolerances.in_one_form(count))
    length = padded_length(count)

    def padded(leaf: Any) -> Any:
        if len(leaf) == length or len(leaf) != count:  # what all problems share has one row
            return leaf
        return np.pad(np.asarray(leaf), [(0, length - count)] + [(0, 0)] * (leaf.ndim - 1), "edge")

    x0, args, box, scale = jax.tree.map(padded, (problem.x0, problem.args, problem.box, problem.scale))
    tolerances = problem.tolerances.in_one_form(length)
    return problem._replace(x0=x0, args=args, box=box, scale=scale, tolerances=tolerances, count=np.int32(count))


def first_rows(tree: Tree, count: int) -> Tree:
    """Returns the first `count` rows of results, without compiling a program for it where memory is the host's."""

    def cut(leaf: Any) -> Any:
        if len(leaf) == count:
            return leaf
        if not shares_memory_with_host() or _stays(leaf):
            return leaf[:count]
        return jax.device_put(np.asarray(leaf)[:count].copy())

    return jax.tree.map(cut, tree)


def _stays(leaf: Any) -> bool:
    """Returns whether an array must not pass through NumPy: it lies on several devices, or holds random keys."""
    if not isinstance(leaf, jax.Array):
        return False
    return leaf.devices() != {jax.devices()[0]} or jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
