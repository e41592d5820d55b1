"""The double-exponential change of variable (H. Takahasi and M. Mori, 1974), which smooths ends and draws in infinity.

A range [lo, hi], whose ends may be infinite, becomes -reach <= t <= reach. Towards its ends dx/dt falls so fast that an
integrand which grows there without bound, or lives on an infinite range, becomes a smooth bell in t.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Place(NamedTuple):
    """Where t lies in its range; all of the shape of t.

    Attributes:
        x: The point.
        slope: dx/dt.
        nearer_lo: Whether the lower end is the nearer one.
        distance: How far the nearer end is, without rounding; from 0 where both ends are infinite.
        rounding: How far x may be off, in units of eps: its own last place, and what the exponential makes of the last
            place of its exponent.
    """

    x: Array
    slope: Array
    nearer_lo: Array
    distance: Array
    rounding: Array


def reach(lo: Array, hi: Array, decades: Array | float) -> Array:
    """The t at which the distance from an end is exp(-decades) of the range; exp(decades) for an infinite end."""
    both = jnp.isfinite(lo) & jnp.isfinite(hi)
    return jnp.arcsinh(decades * jnp.where(both, 1, 2) / math.pi).astype(lo.dtype)


def place(lo: Array, hi: Array, t: Array) -> Place:
    """Where t lies in [lo, hi]; lo and hi broadcast against t."""
    lower, upper = jnp.isfinite(lo), jnp.isfinite(hi)
    both, whole = lower & upper, ~lower & ~upper
    twist, stretch = (math.pi / 2) * jnp.sinh(t), (math.pi / 2) * jnp.cosh(t)
    # Finite: the logistic function of 2 twist, from the nearer end, so that the distance stays exact. Half infinite:
    # exp(twist) from the end. Infinite: sinh(twist), written with the same exponential.
    exponent = jnp.where(both, -2 * jnp.abs(twist), jnp.where(lower, twist, jnp.where(upper, -twist, jnp.abs(twist))))
    small = jnp.exp(exponent)
    part = small / (1 + small)
    distance = jnp.where(both, (hi - lo) * part, small)
    slope = jnp.where(both, 2 * distance / (1 + small), distance) * stretch
    nearer_lo = jnp.where(both, t < 0, lower)
    x = jnp.where(nearer_lo, lo + distance, hi - distance)
    central = jnp.where(jnp.abs(twist) < 1, jnp.sinh(twist), jnp.sign(t) * (small - 1 / small) / 2)
    x = jnp.where(whole, central, x)
    slope = jnp.where(whole, (small + 1 / small) / 2 * stretch, slope)
    distance = jnp.where(whole, jnp.abs(x), distance)
    return Place(x, slope, nearer_lo, distance, jnp.abs(x) / 2 + distance * jnp.abs(exponent))


def at_an_end(lo: Array, hi: Array, x: Array) -> Array:
    """Where x cannot be told from an end, or is as good as infinite: a value that is not finite belongs to the end."""
    return (x <= lo) | (x >= hi) | (jnp.abs(x) > jnp.finfo(x.dtype).max / 1e4)


def unrounded(at: Place, moved: Array) -> Array:
    """X as it would be if the rounding of t, far from 0, had not moved t by so much."""
    return at.x + at.slope * moved
