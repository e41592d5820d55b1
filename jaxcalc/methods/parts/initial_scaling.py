"""The initial scaling: a diagonal D, read off the start, that compares variables before any curvature is known.

The variables of a research problem come in their own units: an amplitude of 500 beside a rate of 1e-4. Let x_i^2 / x'x
be a variable's share of the start and g_i^2 / g'g its share of the gradient. Where the first is far smaller than the
second, the variable is taken to be of the size u_i = |x_i|, and

    D_i = n u_i^2 / x'x times a factor,

the square of that size relative to a typical one; elsewhere D_i = 1. A small x_i alone says nothing, because some
variables of a start may lie near zero by chance. Nor do both where x_i is almost zero: what f would change by if every
variable changed by its own size, |g_i x_i|, does not depend on units, and where x_i is the size of its variable it is
not a billionth of the others'. So

    u_i = max(|x_i|, LEAST_EFFECT max_j |g_j x_j| / |g_i|).

Quasi-Newton methods start from H = D instead of H = I. Methods that learn no curvature would keep D to the end, and do
without it.
"""

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import only_where

# x_i is small where the root of its share is less than 1/3 of the root of g_i's; D allows it moves of 3 |x_i|.
EASE = 3.0
# The least change of f, as a share of the largest, for which a variable is taken to matter when it changes by its size.
LEAST_EFFECT = 1e-3
# The least root of D_i: a smaller share of x is zero up to rounding.
LEAST = 1e-8


def initial_scaling(at_start: Array, x: Array, gradient: Array, D: Array) -> Array:
    """Returns D, (n, L), from the start x and the gradient there, (n, L) each; after the start D as it was."""
    return only_where(at_start, lambda: _read_off(x, gradient), D)


def _read_off(x: Array, gradient: Array) -> Array:
    x_squared, g_squared = x * x, gradient * gradient
    xx, gg = jnp.sum(x_squared, axis=0), jnp.sum(g_squared, axis=0)
    effect = jnp.max(jnp.abs(x * gradient), axis=0)
    size = jnp.maximum(jnp.abs(x), LEAST_EFFECT * effect / jnp.abs(gradient))
    share = size * size * (EASE**2 / xx)
    small = (x != 0) & (share < g_squared * (1 / gg))
    return jnp.where(small, jnp.clip(len(x) * share, LEAST**2, 1), 1)
