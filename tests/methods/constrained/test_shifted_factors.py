"""Factors of shifted matrices: written out or looped, the shift is the first of its sequence that is large enough."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc.methods.constrained.interior_point import InteriorPoint
from jaxcalc.methods.constrained.linear_algebra import MOST_UNROLLED, shifted_factor

FIRST, GROWTH, LEAST = 1e-3, 4.0, 1e-7


def first_shift(matrix: np.ndarray, growth: np.ndarray) -> float:
    """Returns the first of 0, 1e-3, 4e-3, ... at which the matrix is positive definite, tried one by one."""
    shift = 0.0
    while np.linalg.eigvalsh(matrix + shift * np.diag(growth))[0] <= 0:
        shift = max(FIRST, GROWTH * shift)
    return shift


@pytest.mark.parametrize("n", [1, 4, MOST_UNROLLED + 1])
def test_no_smaller_shift_of_the_sequence_suffices(n):
    rng = np.random.default_rng(n)
    matrices = rng.normal(size=(40, n, n)) * rng.uniform(0.1, 10, (40, 1, 1))
    matrices = matrices + matrices.transpose(0, 2, 1) + rng.uniform(0, 3 * n, (40, 1, 1)) * np.eye(n)
    growth = np.abs(matrices).sum(axis=2)
    lanes = jnp.asarray(matrices.transpose(1, 2, 0))
    every, b = jnp.ones(40, bool), rng.normal(size=(n, 2, 40))
    factor = shifted_factor(lanes, jnp.asarray(growth.T), jnp.zeros(40), (FIRST, GROWTH), LEAST, every, 24)
    expected = np.array([first_shift(*pair) for pair in zip(matrices, growth, strict=True)])
    assert np.asarray(factor.regular).all()
    np.testing.assert_array_equal(factor.shift, expected)
    shifted = matrices + expected[:, None, None] * np.eye(n) * growth[:, None]
    solution = np.moveaxis(np.linalg.solve(shifted, np.moveaxis(b, -1, 0)), 0, -1)
    np.testing.assert_allclose(factor.solve(jnp.asarray(b)), solution, rtol=1e-6, atol=1e-9)


def test_small_problems_have_more_lanes():
    """How many lanes there are is a matter of shapes alone."""
    few, many = InteriorPoint(equalities=1, inequalities=1), InteriorPoint(equalities=20, inequalities=80)
    assert few.fewest_lanes(4) == 512
    assert many.fewest_lanes(50) <= 1
