"""Counts with a Poisson distribution, whose likelihood is maximised by the steps of least squares.

With y_i the count and mu_i > 0 the mean of point i, minus the logarithm of the likelihood is, up to a constant, half of
the deviance

    D = 2 sum_i (mu_i - y_i + y_i log(y_i / mu_i)).

The linear problem of a step has r_i = (mu_i - y_i) / sqrt(mu_i) and J_i = mu_i' / sqrt(mu_i): J'r is the gradient of
D / 2, and J'J its expected Hessian, the Fisher information (Nelder and Wedderburn 1972, Fisher's scoring). Whether a
step is taken is judged by D itself, as the sum of squares of the deviance residuals.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.least_squares.linearization import Residuals

# Below this |t| the series of t - log(1 + t) is summed: its terms to t^10 leave a share of 1e-14.
SMALL = 0.03


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Counts(Residuals):
    """What a model of counts returns of one problem; `vector` are the means, (m,), positive.

    Attributes:
        counts: The counts, (m,), at least 0. Where one of them is negative, or a mean is not positive, the cost is NaN.
    """

    counts: Any = None

    @property
    def cost(self) -> Array:
        """Half of the deviance."""
        mean, counts = self.vector, self.counts
        if self.is_present is not None:
            mean, counts = jnp.where(self.is_present, mean, 1), jnp.where(self.is_present, counts, 1)
        terms = _half_deviances(mean, counts)
        return jnp.sum(terms if self.weights is None else self.weights * terms)

    def linear_problem(self, columns: Array) -> tuple[Array, Array, Array]:
        """Returns r and J by columns, see the module, and the deviance residuals."""
        mean, counts = self.vector, self.counts
        if self.is_present is not None:
            mean, counts = jnp.where(self.is_present, mean, 1), jnp.where(self.is_present, counts, 1)
            columns = jnp.where(self.is_present, columns, 0)
        inverse = jax.lax.rsqrt(mean)
        r, columns = (mean - counts) * inverse, columns * inverse
        root = jnp.sign(mean - counts) * jnp.sqrt(2 * _half_deviances(mean, counts))
        if self.weights is None:
            return r, columns, root
        often = jnp.sqrt(self.weights)
        return often * r, often * columns, often * root


def _half_deviances(mean: Array, counts: Array) -> Array:
    """Returns mu - y + y log(y / mu) without cancellation; NaN outside the domain."""
    some = counts > 0
    y = jnp.where(some, counts, 1)
    t = jnp.where(some, (mean - y) / y, 0)
    near = jnp.abs(t) < SMALL
    small, large = jnp.where(near, t, 0), jnp.where(near, 1, t)
    series = jnp.zeros_like(t)
    for k in range(10, 1, -1):
        series = (-1) ** k / k + small * series
    terms = y * jnp.where(near, small * small * series, large - jnp.log1p(large))
    inside = (mean > 0) & (counts >= 0)
    return jnp.where(inside, jnp.where(some, terms, mean), jnp.nan)
