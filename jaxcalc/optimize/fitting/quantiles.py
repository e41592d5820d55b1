"""Quantiles of the distributions that intervals are made of."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import Array
from jax.core import Tracer


def two_sided(level: float, degrees: Array | None) -> Array:
    """Returns t with P(|T| <= t) = level, T having Student's distribution; of None degrees the normal one.

    Args:
        level: The probability, between 0 and 1.
        degrees: The degrees of freedom, of any shape; the quantile is NaN where they are not positive.
    """
    level = checked_level(level)
    if degrees is None:
        return jnp.asarray(scipy.special.ndtri(0.5 + level / 2))
    if isinstance(degrees, Tracer):
        return _by_bisection(level, degrees)
    exact = np.asarray(degrees, float)
    quantile = scipy.special.stdtrit(np.where(exact > 0, exact, np.nan), 0.5 + level / 2)
    return jnp.asarray(quantile, degrees.dtype)


def checked_level(level: Any) -> float:
    """Returns a level of confidence as a number of Python; raises a ValueError unless 0 < level < 1."""
    if not isinstance(level, numbers.Real) or not 0 < float(level) < 1:
        raise ValueError(f"level is a probability between 0 and 1, such as 0.95; it is {level!r}.")
    return float(level)


def _by_bisection(level: float, degrees: Array) -> Array:
    """Returns the same while degrees are traced: P(|T| > t) = I_z(degrees / 2, 1/2), z = degrees / (degrees + t^2)."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        # In the logarithm of t, which may be large where degrees are few.
        outside = jax.scipy.special.betainc(degrees / 2, 0.5, degrees / (degrees + jnp.exp(2 * middle)))
        beyond = outside < 1 - level
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    ends = jax.lax.fori_loop(0, 60, halve, (jnp.full_like(degrees, -12), jnp.full_like(degrees, 12)))
    return jnp.where(degrees > 0, jnp.exp(0.5 * (ends[0] + ends[1])), jnp.nan)
