"""Curves that rise from one level to another: growth, dose and response, enzymes."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.models.guessing import best_of, descended, extent, geometric, grid, with_guess

ASYMMETRIES = (0.2, 0.5, 1.0, 2.0, 5.0)
# From the best curve of each sign of the slope so many steps are taken.
STEPS = 60


def _step(x: Array, center: Any, slope: Any) -> Array:
    return jax.nn.sigmoid(slope * (x - center))


def _step_guess(x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Returns bottom, top, center and a positive slope."""
    low, span, spacing = extent(x)
    centers = low + span * jnp.linspace(-0.1, 1.1, 33)
    slopes = geometric(1 / span, 6 / spacing, 12)
    (center, slope), (rise, bottom) = best_of(
        lambda c: [_step(x, c[0], c[1]), jnp.ones_like(x)], grid(centers, slopes), y
    )
    return bottom, bottom + rise, center, slope


def _asymmetric_guess(x: Array, y: Array, signs: tuple[float, ...]) -> Array:
    """Returns bottom, top, center, slope and asymmetry, (5,); the center is that of the symmetric factor.

    Curves of either sign of the slope look alike, so that it is their minima that are compared.
    """
    low, span, spacing = extent(x)
    centers, slopes = low + span * jnp.linspace(-0.4, 1.4, 25), geometric(1 / span, 6 / spacing, 9)
    candidates = grid(centers, slopes, jnp.asarray(ASYMMETRIES))
    ends = []
    for sign in signs:

        def columns(candidate: Array, sign: float = sign) -> list[Array]:
            center, slope, asymmetry = candidate
            return [_asymmetric_step(sign * slope * (x - center), asymmetry), jnp.ones_like(x)]

        (center, slope, asymmetry), (rise, bottom) = best_of(columns, candidates, y)
        start = jnp.stack([bottom, bottom + rise, center, sign * slope, asymmetry])
        ends.append((start, jnp.zeros(())) if len(signs) == 1 else descended(partial(_growth, x), start, y, STEPS))
    return jnp.stack([end for end, _ in ends])[jnp.argmin(jnp.stack([square for _, square in ends]))]


def _growth(x: Array, p: Array) -> Array:
    bottom, top, center, slope, asymmetry = p
    # NaN where the asymmetry is not positive, so that no step leads there.
    return bottom + (top - bottom) * _asymmetric_step(
        slope * (x - center), jnp.where(asymmetry > 0, asymmetry, jnp.nan)
    )


def _asymmetric_step(z: Array, asymmetry: Any) -> Array:
    """Returns 1 / (1 + exp(-z))^asymmetry."""
    return jnp.exp(asymmetry * jax.nn.log_sigmoid(z))


@with_guess(lambda x, y: jnp.stack(_step_guess(x, y)))
def logistic(x: Any, bottom: Any, top: Any, center: Any, slope: Any) -> Array:
    """Returns bottom + (top - bottom) / (1 + exp(-slope (x - center))).

    Args:
        x: Where, an array.
        bottom: The level far to the left, for a positive slope.
        top: The level far to the right; it may be below the other.
        center: Where half of the way is made.
        slope: The steepness, positive in the guess; with its sign both levels change places.
    """
    return bottom + (top - bottom) * _step(x, center, slope)


@with_guess(lambda x, y: _asymmetric_guess(x, y, (1.0, -1.0)))
def logistic_5(x: Any, bottom: Any, top: Any, center: Any, slope: Any, asymmetry: Any) -> Array:
    """Returns bottom + (top - bottom) / (1 + exp(-slope (x - center)))^asymmetry.

    Args:
        x: Where, an array.
        bottom: The level far to the left, for a positive slope.
        top: The level far to the right.
        center: Where the symmetric curve, of asymmetry 1, is half way up.
        slope: The steepness.
        asymmetry: Positive; below 1 the curve leaves the bottom slowly, above 1 it reaches the top slowly.

    Source: F. Richards, A flexible growth function for empirical use (1959).
    """
    return bottom + (top - bottom) * _asymmetric_step(slope * (x - center), asymmetry)


def _logarithm(x: Array) -> tuple[Array, Array]:
    """Returns log(x) where x > 0, else 0, and where that is."""
    return jnp.log(jnp.where(x > 0, x, 1)), x > 0


def _dose_guess(x: Array, y: Array) -> tuple[Array, Array]:
    """Returns the doses' logarithms and the responses; a dose of 0 is one far below the others."""
    logarithm, positive = _logarithm(x)
    low = jnp.min(jnp.where(positive, logarithm, jnp.inf))
    low = jnp.where(jnp.isfinite(low), low, 0)
    return jnp.where(positive, logarithm, low - 2), y


def _hill_guess(x: Array, y: Array) -> Array:
    bottom, top, center, slope = _step_guess(*_dose_guess(x, y))
    return jnp.stack([bottom, top, jnp.exp(center), slope])


@with_guess(_hill_guess)
def hill(x: Any, bottom: Any, top: Any, half: Any, exponent: Any) -> Array:
    """Returns bottom + (top - bottom) x^exponent / (half^exponent + x^exponent), for x >= 0.

    Args:
        x: The dose, an array.
        bottom: The response without a dose.
        top: The response to a large dose; it may be below the other.
        half: The dose of half of the effect (EC50), positive.
        exponent: Hill's coefficient, positive.

    Source: A. Hill, The possible effects of the aggregation of the molecules of haemoglobin (1910).
    """
    logarithm, positive = _logarithm(jnp.asarray(x))
    return bottom + (top - bottom) * jnp.where(positive, _step(logarithm, jnp.log(half), exponent), 0)


def _hill_5_guess(x: Array, y: Array) -> Array:
    bottom, top, center, slope, asymmetry = _asymmetric_guess(*_dose_guess(x, y), (1.0,))
    return jnp.stack([bottom, top, jnp.exp(center), slope, asymmetry])


@with_guess(_hill_5_guess)
def hill_5(x: Any, bottom: Any, top: Any, half: Any, exponent: Any, asymmetry: Any) -> Array:
    """Returns bottom + (top - bottom) (x^exponent / (half^exponent + x^exponent))^asymmetry, for x >= 0.

    Args:
        x: The dose, an array.
        bottom: The response without a dose.
        top: The response to a large dose.
        half: The dose of half of the effect where the asymmetry is 1, positive.
        exponent: Hill's coefficient, positive.
        asymmetry: Positive; 1 is the symmetric curve.

    Source: P. Gottschalk and J. Dunn, The five-parameter logistic (2005).
    """
    logarithm, positive = _logarithm(jnp.asarray(x))
    step = _asymmetric_step(exponent * (logarithm - jnp.log(half)), asymmetry)
    return bottom + (top - bottom) * jnp.where(positive, step, 0)


def _enzyme_guess(x: Array, y: Array) -> Array:
    largest = jnp.max(jnp.abs(x))
    least = jnp.min(jnp.where(x > 0, x, largest))
    halves = geometric(0.02 * least, 50 * jnp.where(largest > 0, largest, 1), 60)[:, None]
    (half,), (rate,) = best_of(lambda c: [x / (c[0] + x)], halves, y)
    return jnp.stack([rate, half])


@with_guess(_enzyme_guess)
def michaelis_menten(x: Any, v_max: Any, k_m: Any) -> Array:
    """Returns v_max x / (k_m + x).

    Args:
        x: The concentration, an array, at least 0.
        v_max: The rate at a large concentration.
        k_m: The concentration of half of that rate, positive.

    Source: L. Michaelis and M. Menten, Die Kinetik der Invertinwirkung (1913).
    """
    return v_max * x / (k_m + x)
