"""Variables in units of their own: the methods work with z = x / scale, the caller sees x.

    df/dz = scale df/dx,    d2f/dz_i dz_j = scale_i scale_j d2f/dx_i dx_j

A scale is rounded to a power of two, which makes all these products exact: what the engine finds for z (that z lies in
the box, that the gradient there is small) then holds to the last bit for the x that the caller gets.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

Tree = TypeVar("Tree")


def power_of_two(scale: Tree) -> Tree:
    """Returns the powers of two nearest to these numbers, as ratios; nan for what is not positive and finite."""

    def nearest(scale: Array) -> Array:
        mantissa, exponent = jnp.frexp(scale)
        power = jnp.ldexp(jnp.ones_like(scale), jnp.where(mantissa < 0.5**0.5, exponent - 1, exponent))
        return jnp.where((scale > 0) & jnp.isfinite(scale), power, jnp.nan)

    return jax.tree.map(nearest, scale)


def to_scaled(x: Tree, scale: Array | None) -> Tree:
    """Returns points or boxes, (n, L) each, as those of z; a gradient of z as that of x."""
    return x if scale is None else jax.tree.map(lambda leaf: leaf / scale, x)


def from_scaled(z: Tree, scale: Array | None) -> Tree:
    """Returns points or boxes of z, (n, L) each, as the caller knows them."""
    return z if scale is None else jax.tree.map(lambda leaf: leaf * scale, z)
