"""Powers of two near the sizes of numbers: units in which squares neither overflow nor vanish."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxcalc.core.kernels import kernel


def needs_units(dtype: DTypeLike) -> bool:
    """Returns whether numbers of everyday size may have squares outside the range of the dtype."""
    return jnp.finfo(dtype).maxexp < 512


def power_near(sizes: Array) -> Array:
    """Returns the power of two near each size, an array of any shape; 1 for zero and what is not finite.

    The power stays so far inside the range of the dtype that its inverse is a normal number.
    """
    limits = jnp.finfo(sizes.dtype)
    power = jax.lax.reduce_precision(jnp.clip(sizes, 16 * limits.tiny, limits.max / 16), limits.nexp, 0)
    return jnp.where((sizes > 0) & jnp.isfinite(sizes), power, 1)


@kernel
def size_of(vectors: Array) -> Array:
    """Returns the power of two near the largest component of each vector, (n, L) -> (L,); see `power_near`."""
    return power_near(jnp.max(jnp.abs(vectors), axis=0))
