"""Power laws near the ends of a range: how much of an integral lies beyond the last sample.

The law |f| ~ distance^power through three samples gives the integral from a sample to the end, |f| distance / margin,
where the margin is what the power has above that of the least power law without an integral.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

# A margin of the exponent below this, from samples whose exponents agree as well, is 0: the integral diverges. Where x
# resolves the distance from the end, the rounding of f alone decides, in units of eps.
LEAST_MARGIN, _LEAST_RESOLVED_MARGIN = 1e-6, 4096
# The least factor between the integrals of a power law and of one whose exponent drifts at which the latter is known.
_LEAST_FACTOR = 1 / 3
# A law that replaces f counts as one whose exponent drifts on towards the end above this share of its integral.
_LEAST_DRIFT = 1 / 32


class Laws(NamedTuple):
    """Laws |f| ~ distance^power near the ends of the pieces, each from three samples; all fields (..., pieces, 2, m).

    Attributes:
        power: The exponent between the first two samples.
        change: The exponent less that of the last two samples.
        margin: What the exponent has above that of the least power law without an integral.
        excess: The share by which the integral from the sample to the end may exceed that of the law, see `_excess`.
        size: The integral of the law from the first sample to the end, (..., pieces, 2, m).
    """

    power: Array
    change: Array
    margin: Array
    excess: Array
    size: Array


def laws_towards(samples: Array, distances: Array, finite: Array, resolved: Array, step: Array) -> Laws:
    """Returns the laws through three samples (3, ..., m) at the distances times 1, step and step^2 from the ends.

    Args:
        samples: Values of f, (3, ..., m).
        distances: The distance of the first sample from the end, (...,).
        finite: Whether the end is finite.
        resolved: Whether x resolves distances from the end to their own precision.
        step: The factor from one distance to the next.
    """
    power, change = _power_law(samples, jnp.log(step)[..., None])
    # The integral of |f| from the sample to the end is |f| distance / margin; with margin <= 0 the integral diverges.
    finite = finite[..., None]
    margin = jnp.where(finite, power + 1, -(power + 1))
    of_rounding = min(LEAST_MARGIN, _LEAST_RESOLVED_MARGIN * float(jnp.finfo(samples.dtype).eps))
    least = jnp.where(resolved[..., None], of_rounding, LEAST_MARGIN)
    margin = jnp.where(jnp.abs(margin) <= least, 0.0, margin)
    excess = _excess(margin, jnp.where(finite, change, -change), jnp.abs(jnp.log(step))[..., None])
    size = jnp.abs(samples[0]) * distances[..., None] / jnp.maximum(margin, 0)
    return Laws(power, change, margin, excess, size)


def _power_law(samples: Array, log_step: Array) -> tuple[Array, Array]:
    """Returns p of |f| ~ distance^p through the first two of three samples, and p less that of the last two.

    The distances of the samples (3, ...) from the end grow by the factor exp(log_step). Where a sample is 0 or not
    finite, p is 0 and the difference 1.
    """
    size = jnp.abs(samples)
    ratio = size[1:] / size[:-1]
    # Rounding leaves more in a difference of logarithms, which in turn does not overflow.
    growth = jnp.where((ratio > 0) & jnp.isfinite(ratio), jnp.log(ratio), jnp.log(size[1:]) - jnp.log(size[:-1]))
    first, second = growth / log_step
    known = jnp.isfinite(first) & jnp.isfinite(second)
    return jnp.where(known, first, 0.0), jnp.where(known, first - second, 1.0)


def _excess(margin: Array, growth: Array, log_step: Array) -> Array:
    """Returns twice the share by which the integral of |f| towards an end exceeds that of the law of this margin.

    Let L be the logarithm of the distance, growing towards the end, and |f| distance = exp(-h(L)); the margin is h'.
    The integral from L to the end is exp(-h) / h' where h'' = 0, and exp(-h) / (h' (1 + h'' / h'^2)) where h' = k / L,
    as of 1 / (x log(x)^(k + 1)). Twice, since h' may fall otherwise. Where the factor (1 + h'' / h'^2) is small the
    integral is not known, as of 1 / (x log(x)), and the share is inf.

    Args:
        margin: h' between the first two samples.
        growth: By how much h' has grown from the last two samples to the first two.
        log_step: The distance between two samples in L.
    """
    at_end = margin + jnp.minimum(growth, 0) / 2
    factor = 1 + growth / log_step / at_end**2
    share = 2 * (margin / (at_end * factor) - 1)
    return jnp.where((factor >= _LEAST_FACTOR) & (at_end > 0), share, jnp.inf)


def error_of_law(laws: Laws) -> Array:
    """Returns the relative error of the integral of a law that replaces f: by the change of the exponent.

    A change that dies out towards the end, as that of a power times a smooth function, matters over one step. A drift
    that goes on matters all the way to the end.
    """
    of_change = jnp.abs(laws.change) / jnp.maximum(laws.margin, 0)
    return jnp.maximum(of_change, jnp.where(jnp.abs(laws.excess) > _LEAST_DRIFT, jnp.abs(laws.excess), 0.0))


def vanished_tail(samples: Array, laws: Laws, distances: Array, best: Array) -> Array:
    """Returns a bound (pieces, 2, m) of the integrals towards ends where the samples underflow to 0.

    The law of the farthest samples that do not underflow gives the margin. At the next distance |f| is below the least
    floating number. Where all samples are 0 the bound is 0.
    """
    tiny = jnp.finfo(samples.dtype).tiny
    row = jnp.arange(samples.shape[1])[:, None, None, None]
    usable = jnp.all(jnp.isfinite(samples) & (jnp.abs(samples) >= tiny), axis=0) & (row >= best[:, None, None])
    last = jnp.argmax(usable, axis=0)[None]
    margin, excess, size = (
        jnp.take_along_axis(part, last, axis=0)[0] for part in (laws.margin, laws.excess, laws.size)
    )
    next_distance = jnp.take_along_axis(distances[..., None], jnp.maximum(last - 1, 0), axis=0)[0]
    longer = 1 + jnp.maximum(excess, 0)
    bound = jnp.minimum(size * longer, tiny * next_distance * longer / jnp.maximum(margin, 0))
    return jnp.where(jnp.any(usable, axis=0), jnp.where(jnp.isnan(bound), jnp.inf, bound), 0.0)
