"""Variables and function in units of their own: methods work with z = x / scale and f / unit, the caller sees x and f.

    d(f/unit)/dz = scale/unit df/dx,    d2(f/unit)/dz_i dz_j = scale_i scale_j/unit d2f/dx_i dx_j

Scales and units are powers of two, which makes all these products exact: what the engine finds for z (that z lies in
the box, that the gradient there is small) then holds to the last bit for the x that the caller gets.

Methods take the same steps when f or x is multiplied by a constant, as long as the squares of their numbers neither
overflow nor vanish. In single precision only numbers from 1e-19 to 1e19 have squares. There the start is given the
scale of its largest component, where the caller gives none, and the function the unit of its first gradient, so that
both are of size one. In double precision numbers from 1e-154 to 1e154 have squares, and these passes over x and the
gradient are saved. Methods of a fixed rate, whose steps do depend on the units, get x and f as they are.
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
