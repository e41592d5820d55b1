"""Linear algebra over lanes: one vector (n,) or matrix (n, n) a lane, the lanes on the last axis.

Every operation runs along contiguous lanes, so that a processor's vector units and a GPU's threads each hold different
problems; `jnp.einsum` and `vmap` would move the lanes to the front and transpose on the way.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata

P = ParamSpec("P")
T = TypeVar("T")


def kernel(fun: Callable[P, T]) -> Callable[P, T]:
    """Compiles fun as a unit whose results are computed once.

    On a CPU, XLA copies cheap operations into every fusion that uses their result: a formula for one number a lane is
    then evaluated anew for each of the n^2 entries that it scales. `lax.optimization_barrier` does not help, for it is
    removed there before operations are fused; a call that must not be inlined stays. Other compilers fuse several
    results into one kernel by themselves and are left alone.
    """

    @jax.jit
    @functools.wraps(fun)
    def unit(*args):
        with set_xla_metadata(inlineable=None):
            return fun(*args)  # pyright: ignore[reportCallIssue]

    def called(*args):
        with set_xla_metadata(inlineable="false"):
            return unit(*args)

    @functools.wraps(fun)
    def on_platform(*args: P.args, **kwargs: P.kwargs) -> T:
        return jax.lax.platform_dependent(*args, cpu=called, default=fun)

    return on_platform


@kernel
def dot(a: Array, b: Array) -> Array:
    """Returns the inner product of (n, L) with (n, L), as (L,)."""
    return jnp.sum(a * b, axis=0)


@kernel
def max_norm(a: Array) -> Array:
    """Returns the largest absolute component of (n, L), as (L,); for finite components only.

    XLA may drop a NaN on the way to a maximum.
    """
    return jnp.max(jnp.abs(a), axis=0, initial=0)


@kernel
def all_finite(a: Array) -> Array:
    """Returns whether every component of (n, L) is finite, as (L,)."""
    return jnp.all(jnp.isfinite(a), axis=0)


@kernel
def symmetric_matvec(matrix: Array, vector: Array) -> Array:
    """Returns the product of a symmetric (n, n, L) with (n, L), as (n, L)."""

    # Row by row, not a sum over an axis: each turn reads one contiguous (n, L) block.
    def add_row(j, total):
        return total + matrix[j] * vector[j]

    start = matrix[0] * vector[0]
    if len(vector) > 32:
        return jax.lax.fori_loop(1, len(vector), add_row, start)
    return functools.reduce(lambda total, j: add_row(j, total), range(1, len(vector)), start)


@kernel
def symmetric_update(matrix: Array, keep: Array, shift: Array, a: Array, b: Array) -> Array:
    """Returns keep M + shift I + a b' + b a' for a symmetric M (n, n, L), scalars (L,) and vectors (n, L)."""
    eye = jnp.eye(len(a), dtype=a.dtype)[:, :, None]
    return keep * matrix + shift * eye + a[:, None] * b[None, :] + b[:, None] * a[None, :]
