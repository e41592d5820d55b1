"""The losses of robust least squares, as SciPy defines them.

    cost = 1/2 C^2 sum_i w_i rho((r_i / C)^2)

with C the scale of the residuals (`f_scale`) and w_i the weight of point i. Residuals well below C count as in least
squares; those beyond C count less, so that outliers do not drag the fit along.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

# Values, first and second derivatives: (rho, rho', rho'').
Loss = Callable[[Array], tuple[Array, Array, Array]]


def _huber(z: Array) -> tuple[Array, Array, Array]:
    inside = z <= 1
    root = jnp.sqrt(jnp.where(inside, 1, z))
    return jnp.where(inside, z, 2 * root - 1), 1 / root, jnp.where(inside, 0, -0.5 / (root * root * root))


def _soft_l1(z: Array) -> tuple[Array, Array, Array]:
    root = jnp.sqrt(1 + z)
    # 2 (root - 1) without cancellation.
    return 2 * z / (1 + root), 1 / root, -0.5 / (root * root * root)


def _cauchy(z: Array) -> tuple[Array, Array, Array]:
    slope = 1 / (1 + z)
    return jnp.log1p(z), slope, -slope * slope


def _arctan(z: Array) -> tuple[Array, Array, Array]:
    slope = 1 / (1 + z * z)
    return jnp.arctan(z), slope, -2 * z * slope * slope


ROBUST: dict[str, Loss] = {"soft_l1": _soft_l1, "huber": _huber, "cauchy": _cauchy, "arctan": _arctan}
LOSSES = ("linear", *ROBUST)
