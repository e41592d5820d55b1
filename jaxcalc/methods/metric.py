"""How the variables compare before any curvature is known: a diagonal metric D, read off the start.

The variables of a research problem come in their own units: an amplitude of 500 beside a rate of 1e-4. Where x_i is a
far smaller share of the length of x than g_i is of the gradient's, the variable is taken to be of the size of x_i; the
methods start from H = D instead of H = I, D_i being the square of that size relative to a typical one. Elsewhere
D_i = 1: a small x_i alone says nothing, for a start may lie near zero in some of its variables by chance. Methods that
learn no curvature, and would keep D to the end, do without it.
"""

import jax.numpy as jnp
from jax import Array

from jaxcalc.programs import kernel

# How far the share of x_i may lie below that of g_i, and how far from zero a variable moves with ease in units of x_i.
EASE = 3.0
# The least size, relative to a typical one: less is zero up to rounding.
LEAST = 1e-8


@kernel
def starting_metric(at_start: Array, x: Array, gradient: Array, metric: Array) -> Array:
    """Returns D, (n, L), of the start x and the gradient there, (n, L) each; after the start the one before."""
    x_squared, g_squared = x * x, gradient * gradient
    xx, gg = jnp.sum(x_squared, axis=0), jnp.sum(g_squared, axis=0)
    share = x_squared * (EASE**2 / xx)
    other = (share > 0) & (share < g_squared * (1 / gg))
    return jnp.where(at_start, jnp.where(other, jnp.clip(len(x) * share, LEAST**2, 1), 1), metric)
