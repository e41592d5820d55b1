"""The maps of `jaxcalc demo`: a stack of pictures, a decay in each pixel, its amplitude and its rate with errors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.command.demo import timed
from jaxcalc.optimize.curve_fit import curve_fit

TIMES = np.linspace(0.0, 4.0, 20)
NOISE = 0.05
PARAMETERS = ("amplitude", "rate", "standard error of the rate")


class Maps(NamedTuple):
    """What is known and what is fitted of each pixel of a square, and the time of all fits."""

    truth: np.ndarray  # the rate, (side, side)
    fitted: np.ndarray  # the `PARAMETERS`, (side, side, 3)
    covered: float  # the share of 95 % intervals that hold the true rate
    status: np.ndarray  # (side^2,)
    seconds: float  # without compiling
    compile_seconds: float  # for the first call, which compiles


def decay(t: Any, amplitude: Any, rate: Any) -> Array:
    """The decay amplitude exp(-rate t)."""
    return amplitude * jnp.exp(-rate * t)


def decay_maps(side: int, seed: int) -> Maps:
    """Fits a decay to each pixel of a stack of side x side pictures with noise.

    The amplitude is 2. The rate grows from 0.5 to 1.5 along the columns, and is larger by a quarter in a disc.
    """
    row, column = np.meshgrid(*2 * [np.linspace(-1, 1, side)], indexing="ij")
    truth = (1 + column / 2) * np.where(row**2 + column**2 < 0.36, 1.25, 1)
    exact = decay(TIMES, 2.0, jnp.asarray(truth.reshape(-1, 1)))
    stack = np.asarray(exact) + np.random.default_rng(seed).normal(0, NOISE, exact.shape)

    def fit() -> Any:
        found = curve_fit(decay, TIMES, stack, p0=(1.0, 1.0))
        jax.block_until_ready(found.result)
        return found

    first = timed(fit)[1]
    found, seconds = timed(fit)
    rate, error = found.popt[:, 1], found.stderr[:, 1]
    low, high = (np.asarray(side)[:, 1] for side in found.confidence_interval(0.95))
    covered = np.mean((low <= truth.ravel()) & (truth.ravel() <= high))
    fitted = np.stack([found.popt[:, 0], rate, error], axis=-1).reshape(side, side, 3)
    status = np.asarray(found.result.status)
    return Maps(truth, fitted, float(covered), status, seconds, first - seconds)
