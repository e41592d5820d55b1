"""Decays, oscillations and powers."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.models.guessing import best_of, extent, geometric, grid, with_guess

MOST_FREQUENCIES = 600


def _exponential_guess(x: Array, y: Array) -> Array:
    low, span, spacing = extent(x)
    rates = geometric(0.03 / span, 3 / spacing, 40)[:, None]
    # Decays from the first x on, so that no amplitude overflows on the way.
    (rate,), (amplitude, offset) = best_of(lambda c: [jnp.exp(-c[0] * (x - low)), jnp.ones_like(x)], rates, y)
    return jnp.stack([amplitude * jnp.exp(rate * low), rate, offset])


@with_guess(_exponential_guess)
def exponential_decay(x: Any, amplitude: Any, rate: Any, offset: Any) -> Array:
    """Returns amplitude exp(-rate x) + offset.

    Args:
        x: Where, an array.
        amplitude: The height above the offset at x = 0.
        rate: The inverse of the time in which the height falls to 1 / e.
        offset: What is left at last.
    """
    return amplitude * jnp.exp(-rate * x) + offset


def _biexponential_guess(x: Array, y: Array) -> Array:
    low, span, spacing = extent(x)
    rates = geometric(0.1 / span, 4 / spacing, 22)
    fast, slow = np.tril_indices(22, -1)
    (first, second), (a, b) = best_of(
        lambda c: [jnp.exp(-c[0] * (x - low)), jnp.exp(-c[1] * (x - low))],
        jnp.stack([rates[fast], rates[slow]], axis=1),
        y,
    )
    return jnp.stack([a * jnp.exp(first * low), first, b * jnp.exp(second * low), second])


@with_guess(_biexponential_guess)
def biexponential(x: Any, amplitude_1: Any, rate_1: Any, amplitude_2: Any, rate_2: Any) -> Array:
    """Returns amplitude_1 exp(-rate_1 x) + amplitude_2 exp(-rate_2 x).

    The guess gives the faster decay first; a fit may exchange the two.

    Args:
        x: Where, an array.
        amplitude_1: The height of the first decay at x = 0.
        rate_1: Its rate.
        amplitude_2: The height of the second decay at x = 0.
        rate_2: Its rate.
    """
    return amplitude_1 * jnp.exp(-rate_1 * x) + amplitude_2 * jnp.exp(-rate_2 * x)


def _cosine_guess(x: Array, y: Array) -> Array:
    low, span, _ = extent(x)
    # Three frequencies for each that the data can tell apart, up to Nyquist's, so that no phase is lost at the end.
    count = min(max(3 * x.size // 2, 8), MOST_FREQUENCIES)
    frequencies = jnp.arange(1, count + 1) / (3 * span)
    rates = jnp.asarray([0.0, 0.7, 2.0, 5.0, 12.0]) / span

    def columns(candidate: Array) -> list[Array]:
        angle, decay = 2 * jnp.pi * candidate[0] * (x - low), jnp.exp(-candidate[1] * (x - low))
        return [jnp.ones_like(x), decay * jnp.cos(angle), decay * jnp.sin(angle)]

    (frequency, rate), (offset, cosine, sine) = best_of(columns, grid(frequencies, rates), y)
    amplitude = jnp.hypot(cosine, sine) * jnp.exp(rate * low)
    phase = jnp.arctan2(-sine, cosine) - 2 * jnp.pi * frequency * low
    return jnp.stack([amplitude, frequency, rate, (phase + jnp.pi) % (2 * jnp.pi) - jnp.pi, offset])


@with_guess(_cosine_guess)
def damped_cosine(x: Any, amplitude: Any, frequency: Any, rate: Any, phase: Any, offset: Any) -> Array:
    """Returns amplitude exp(-rate x) cos(2 pi frequency x + phase) + offset.

    The guess looks for frequencies up to half of the mean rate of sampling, at most 200 periods in the data.

    Args:
        x: Where, an array.
        amplitude: The height of the oscillation at x = 0.
        frequency: Periods in a unit of x.
        rate: The rate at which the oscillation decays.
        phase: The angle at x = 0, in radians.
        offset: The mean.
    """
    return amplitude * jnp.exp(-rate * x) * jnp.cos(2 * jnp.pi * frequency * x + phase) + offset


def _power_guess(x: Array, y: Array) -> Array:
    logarithm = jnp.log(jnp.where(x > 0, x, 1))
    middle = jnp.mean(logarithm)
    exponents = jnp.linspace(-8, 8, 129)[:, None]
    # About the geometric mean of x, so that no power overflows.
    (exponent,), (amplitude,) = best_of(lambda c: [jnp.exp(c[0] * (logarithm - middle))], exponents, y)
    return jnp.stack([amplitude * jnp.exp(-exponent * middle), exponent])


@with_guess(_power_guess)
def power_law(x: Any, amplitude: Any, exponent: Any) -> Array:
    """Returns amplitude x^exponent, for x > 0.

    Args:
        x: Where, an array of positive numbers.
        amplitude: The value at x = 1.
        exponent: The slope in a picture with logarithmic axes; the guess looks for it between -8 and 8.
    """
    return amplitude * jnp.power(x, exponent)
