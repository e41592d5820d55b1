"""The double-exponential change of variable x(t) (H. Takahasi and M. Mori, 1974).

x(t) maps -t_max <= t <= t_max to a range [lo, hi], whose ends may be infinite. dx/dt falls like exp(-exp(|t|)) towards
a finite end and grows like exp(exp(|t|)) towards an infinite end. Therefore f(x(t)) dx/dt is a smooth bell in t, even
where f is singular at an end or the range is infinite.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class MappedPoints(NamedTuple):
    """The points x(t) of a range [lo, hi]; every field has the shape of t.

    Attributes:
        x: The points.
        dx_dt: The derivative dx/dt.
        nearer_lo: Whether `distance` is measured from lo: lo is the nearer of two finite ends, or the only finite end.
        distance: The distance of x from the nearer finite end, free of the rounding of x; |x| if no end is finite.
        rounding: A bound of the error of x in units of eps: half a unit in the last place of x itself, and what the
            exponential makes of the rounding of its exponent.
    """

    x: Array
    dx_dt: Array
    nearer_lo: Array
    distance: Array
    rounding: Array


def t_max(lo: Array, hi: Array, exponent: Array | float) -> Array:
    """Returns the t at which x(t) is as near to an end as wanted.

    In a finite range the distance of x(t_max) from hi is about exp(-exponent) (hi - lo). In an infinite range the
    distance from the finite end runs from exp(-exponent) to exp(exponent), and |x| to about exp(exponent).
    """
    both_finite = jnp.isfinite(lo) & jnp.isfinite(hi)
    return jnp.arcsinh(exponent * jnp.where(both_finite, 1, 2) / math.pi).astype(lo.dtype)


def change_of_variable(lo: Array, hi: Array, t: Array) -> MappedPoints:
    """Returns x(t) in [lo, hi] with dx/dt; lo and hi broadcast against t.

    With u = (pi / 2) sinh(t):

        [lo, hi]        x = lo + (hi - lo) / (1 + exp(-2 u)), computed as a distance from the nearer end
        [lo, inf)       x = lo + exp(u)
        (-inf, hi]      x = hi - exp(-u)
        (-inf, inf)     x = sinh(u)
    """
    lo_finite, hi_finite = jnp.isfinite(lo), jnp.isfinite(hi)
    both_finite, both_infinite = lo_finite & hi_finite, ~lo_finite & ~hi_finite
    u, du_dt = (math.pi / 2) * jnp.sinh(t), (math.pi / 2) * jnp.cosh(t)
    # One exponential serves all four cases; each exponent has the sign that keeps small distances exact.
    exponent = jnp.where(both_finite, -2 * jnp.abs(u), jnp.where(lo_finite, u, jnp.where(hi_finite, -u, jnp.abs(u))))
    power = jnp.exp(exponent)
    fraction = power / (1 + power)
    distance = jnp.where(both_finite, (hi - lo) * fraction, power)
    dx_dt = jnp.where(both_finite, 2 * distance / (1 + power), distance) * du_dt
    nearer_lo = jnp.where(both_finite, t < 0, lo_finite)
    x = jnp.where(nearer_lo, lo + distance, hi - distance)
    sinh_u = jnp.where(jnp.abs(u) < 1, jnp.sinh(u), jnp.sign(t) * (power - 1 / power) / 2)
    x = jnp.where(both_infinite, sinh_u, x)
    dx_dt = jnp.where(both_infinite, (power + 1 / power) / 2 * du_dt, dx_dt)
    distance = jnp.where(both_infinite, jnp.abs(x), distance)
    return MappedPoints(x, dx_dt, nearer_lo, distance, jnp.abs(x) / 2 + distance * jnp.abs(exponent))


def rounds_to_end(lo: Array, hi: Array, x: Array) -> Array:
    """Returns whether x equals an end of [lo, hi] after rounding, or is so large that arithmetic on x overflows.

    At such an x a value of f that is not finite says nothing about f inside the range.
    """
    return (x <= lo) | (x >= hi) | (jnp.abs(x) > jnp.finfo(x.dtype).max / 1e4)


def without_rounding_of_t(points: MappedPoints, t_error: Array) -> Array:
    """Returns x + dx/dt t_error: x(t + t_error), where t_error is what rounding took from t, of the shape of t."""
    return points.x + points.dx_dt * t_error
