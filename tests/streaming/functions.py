"""Functions and problems for streams, in a module that worker processes import."""

import time

import jax.numpy as jnp
import numpy as np

LANES = 64


def rosenbrock(x, c):
    return jnp.sum(c * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def decay(x, y, t):
    return x[0] * jnp.exp(-x[1] * t) - y


def rows(start, stop):
    """Starts and curvatures, each a function of the problem's number alone."""
    i = np.arange(start, stop)
    return np.stack([3 * np.sin(1.1 * i), 3 * np.cos(0.7 * i)], axis=1), (10 ** (2 * np.abs(np.sin(i))),)


def slow_rows(start, stop):
    time.sleep(0.1)
    return rows(start, stop)


def raises_once_there(start, stop):
    if start <= 300 < stop:
        raise OSError("the disk is on fire")
    return rows(start, stop)
