"""Peaks on a constant background."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.models.faddeeva import faddeeva
from jaxcalc.models.guessing import best_of, extent, geometric, grid, peak_centers, with_guess


def _peak_guess(shape: Callable[..., Array], *ratios: float) -> Callable[[Array, Array], Array]:
    """Returns a guess of amplitude, center, width, offset, for a shape(x, center, width).

    With `ratios` the shape takes a second width, that many times the first, which stands after it.
    """

    def guess(x: Array, y: Array) -> Array:
        _, span, spacing = extent(x)
        widths = geometric(0.4 * spacing, 0.7 * span, 12)
        axes = [peak_centers(x, y), widths]
        candidates = grid(*axes, jnp.asarray(ratios)) if ratios else grid(*axes)

        def columns(candidate: Array) -> list[Array]:
            center, width, *others = candidate
            return [shape(x, center, width, *(width * ratio for ratio in others)), jnp.ones_like(x)]

        (center, width, *others), (amplitude, offset) = best_of(columns, candidates, y)
        return jnp.stack([amplitude, center, width, *(width * ratio for ratio in others), offset])

    return guess


def _gaussian(x: Array, center: Any, width: Any) -> Array:
    return jnp.exp(-0.5 * ((x - center) / width) ** 2)


@with_guess(_peak_guess(_gaussian))
def gaussian_1d(x: Any, amplitude: Any, center: Any, width: Any, offset: Any) -> Array:
    """Returns amplitude exp(-(x - center)^2 / (2 width^2)) + offset.

    Args:
        x: Where, an array.
        amplitude: The height above the offset; negative for a dip.
        center: Where the peak stands.
        width: The standard deviation; its sign does not matter.
        offset: The background.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> x = jnp.linspace(-5.0, 5.0, 41)
        >>> fit = jc.curve_fit(jc.models.gaussian_1d, x, jc.models.gaussian_1d(x, 3.0, 1.0, 0.5, 2.0))
        >>> fit.popt.round(3).tolist()
        [3.0, 1.0, 0.5, 2.0]
    """
    return amplitude * _gaussian(x, center, width) + offset


def _lorentzian(x: Array, center: Any, width: Any) -> Array:
    return 1 / (1 + ((x - center) / width) ** 2)


@with_guess(_peak_guess(_lorentzian))
def lorentzian(x: Any, amplitude: Any, center: Any, width: Any, offset: Any) -> Array:
    """Returns amplitude / (1 + ((x - center) / width)^2) + offset.

    Args:
        x: Where, an array.
        amplitude: The height above the offset; negative for a dip.
        center: Where the peak stands.
        width: Half of the width at half of the height; its sign does not matter.
        offset: The background.
    """
    return amplitude * _lorentzian(x, center, width) + offset


def _voigt(x: Array, center: Any, sigma: Any, gamma: Any) -> Array:
    unit = jnp.sqrt(2.0).astype(jnp.result_type(x)) * jnp.abs(sigma)
    z = (x - center) / unit + 1j * (gamma / unit)
    return faddeeva(z).real / (float(np.sqrt(np.pi)) * unit)


@with_guess(_peak_guess(_voigt, 0.1, 0.7, 4.0))
def voigt(x: Any, area: Any, center: Any, sigma: Any, gamma: Any, offset: Any) -> Array:
    """Returns area V(x - center) + offset, V being the convolution of a Gaussian with a Lorentzian, of integral 1.

        V(d) = Re w((d + i gamma) / (sigma sqrt(2))) / (sigma sqrt(2 pi)),    w the Faddeeva function

    The error of V is below 1e-13 of 1 / (sigma sqrt(2 pi)) in double precision, 1e-6 in single precision.

    Args:
        x: Where, an array.
        area: The integral of the peak above the offset; negative for a dip.
        center: Where the peak stands.
        sigma: The standard deviation of the Gaussian; its sign does not matter, and it is not zero.
        gamma: Half of the Lorentzian's width at half of its height, at least 0. A fit may take it below zero where the
            data show no Lorentzian: bounds keep it at 0.
        offset: The background.

    Source: J. Weideman, Computation of the complex error function (1994).
    """
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    return area * _voigt(x, center, sigma, gamma) + offset


def _spot_guess(x: Array, y: Array) -> Array:
    """Returns the best of round spots, and around that the best of ellipses."""
    u, v = x
    (low_u, span_u, _), (low_v, span_v, _) = extent(u), extent(v)
    spacing = jnp.sqrt(span_u * span_v / y.size)
    top, bottom = jnp.argmax(y), jnp.argmin(y)
    share = jnp.linspace(0.05, 0.95, 7)
    centers = jnp.concatenate([
        grid(low_u + span_u * share, low_v + span_v * share), jnp.stack([x[:, top], x[:, bottom]]),
    ])  # fmt: skip
    widths = geometric(0.5 * spacing, 0.6 * jnp.maximum(span_u, span_v), 6)
    pairs = grid(jnp.arange(len(centers)), widths)
    round_spots = jnp.concatenate([centers[pairs[:, 0].astype(int)], pairs[:, 1:], pairs[:, 1:]], axis=1)

    def columns(candidate: Array) -> list[Array]:
        a, b, width_u, width_v = candidate
        return [_gaussian(u, a, width_u) * _gaussian(v, b, width_v), jnp.ones_like(u)]

    (a, b, width, _), _ = best_of(columns, round_spots, y)
    shift, factor = width * jnp.asarray([-0.7, 0.0, 0.7]), jnp.asarray([0.4, 0.63, 1.0, 1.6, 2.5])
    (a, b, width_u, width_v), (amplitude, offset) = best_of(
        columns, grid(a + shift, b + shift, width * factor, width * factor), y
    )
    return jnp.stack([amplitude, a, b, width_u, width_v, offset])


@with_guess(_spot_guess, dimensions=2)
def gaussian_2d(x: Any, amplitude: Any, x_center: Any, y_center: Any, x_width: Any, y_width: Any, offset: Any) -> Array:
    """Returns amplitude exp(-(u - x_center)^2 / (2 x_width^2) - (v - y_center)^2 / (2 y_width^2)) + offset.

    Args:
        x: Where: the two coordinates (u, v) of m points, (2, m). Pictures are flattened, with the coordinates of their
            pixels.
        amplitude: The height above the offset.
        x_center: The first coordinate of the centre.
        y_center: The second one.
        x_width: The standard deviation along the first; its sign does not matter.
        y_width: The standard deviation along the second.
        offset: The background.
    """
    u, v = x
    return amplitude * _gaussian(u, x_center, x_width) * _gaussian(v, y_center, y_width) + offset
