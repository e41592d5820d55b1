"""The share of simulated fits whose 95 % intervals hold the truth: `python -m benchmarks.coverage`.

100,000 data sets of each of three models, with normal noise, and of one with counts; intervals by `confidence_interval`
with its default, in which Student's distribution allows for the estimated variance.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc
from jaxcalc import models

COUNT, LEVEL = 100_000, 0.95


class Case(NamedTuple):
    """A model with its true parameters, its points and the noise's standard deviation; None draws counts."""

    model: Any
    truth: tuple[float, ...]
    x: np.ndarray
    sigma: float | None


CASES = {
    "exponential decay, 40 points": Case(models.exponential_decay, (3.0, 0.8, 0.5), np.linspace(0, 5, 40), 0.05),
    "Gaussian, 30 points": Case(models.gaussian_1d, (5.0, 0.4, 1.2, 1.0), np.linspace(-5, 5, 30), 0.2),
    "logistic, 16 points": Case(models.logistic, (0.2, 4.0, 5.0, 1.3), np.linspace(0, 10, 16), 0.1),
    "exponential decay of counts": Case(models.exponential_decay, (300.0, 0.8, 50.0), np.linspace(0, 5, 40), None),
}


def coverage(case: Case, count: int = COUNT, seed: int = 0) -> tuple[np.ndarray, float]:
    """Returns the share of intervals that hold the truth, for each parameter, and the share of fits that succeeded."""
    rng = np.random.default_rng(seed)
    mean = np.asarray(case.model(jnp.asarray(case.x), *case.truth))
    if case.sigma is None:
        y, method = rng.poisson(mean, (count, len(mean))), "poisson"
    else:
        y, method = mean + case.sigma * rng.normal(size=(count, len(mean))), None
    fit = jc.curve_fit(case.model, case.x, y, case.truth, method=method)
    lower, upper = fit.confidence_interval(LEVEL)
    truth = np.asarray(case.truth)
    good = np.asarray(fit.success)
    held = (np.asarray(lower) <= truth) & (truth <= np.asarray(upper))
    return held[good].mean(axis=0), float(good.mean())


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, case in CASES.items():
        shares, success = coverage(case)
        words = ", ".join(f"{parameter} {share:.4f}" for parameter, share in zip(case.model.names, shares, strict=True))
        print(f"{name}: {words} (fits that succeeded: {success:.5f})", flush=True)
