"""What lanes compute of a problem has the same bits, however many lanes there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.methods.lane_algebra import ordered_dot
from jaxcalc.methods.least_squares.factors import triangle

WIDTHS = (7, 16, 100, 256)
MOST = max(WIDTHS)


def ill_conditioned(rng, n, m, dtype):
    """Columns of length one, two of which are nearly parallel, with their products."""
    columns = rng.normal(size=(n, m, MOST))
    columns[1] = columns[0] + 1e-3 * columns[1]
    columns = (columns / np.linalg.norm(columns, axis=1, keepdims=True)).astype(dtype)
    r = rng.normal(size=(m, MOST)).astype(dtype)
    gram = np.einsum("imL,jmL->ijL", columns, columns)
    return columns, np.ones((n, MOST), dtype), r, gram, np.einsum("imL,mL->iL", columns, r)


def test_factors_and_products_have_the_same_bits_for_any_number_of_lanes():
    """Sums in the compiler's order differ in one lane of 60."""
    rng, dtype = np.random.default_rng(3), np.float32
    operands = ill_conditioned(rng, 4, 19, dtype)
    a, b = (rng.normal(size=(11, MOST)).astype(dtype) for _ in range(2))

    @jax.jit
    def computed(operands, a, b):
        reduced = triangle(*operands)
        return *reduced, ordered_dot(a, b)

    outcomes = [jax.tree.map(np.asarray, computed(tuple(x[..., :w] for x in operands), a[:, :w], b[:, :w]))
                for w in (16, 100, MOST)]  # fmt: skip
    for outcome in outcomes[:-1]:
        for few, many in zip(outcome, outcomes[-1], strict=True):
            np.testing.assert_array_equal(few, many[..., : few.shape[-1]])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fits_end_alike_for_any_number_of_lanes(dtype):
    """Starts so far away that many fits are damped, ill-conditioned, or fail."""
    rng = np.random.default_rng(5)
    t = jnp.linspace(0, 4, 23, dtype=dtype)
    curve = lambda p, t: p[0] * jnp.exp(-p[1] * t) + p[2] * jnp.exp(-p[3] * t)  # noqa: E731
    truth = np.array([3.0, 0.4, 2.0, 1.1]) * rng.uniform(0.7, 1.3, (3000, 4))
    y = jax.vmap(curve, (0, None))(jnp.asarray(truth), t) + 0.02 * rng.normal(size=(3000, 23))
    start = jnp.asarray(truth * rng.uniform(0.2, 3, truth.shape), dtype)
    misfit = lambda p, y, t: curve(p, t) - y  # noqa: E731
    results = [jc.least_squares_many(misfit, start, (jnp.asarray(y, dtype),), shared=(t,), lanes=lanes)
               for lanes in WIDTHS]  # fmt: skip
    for result in results[1:]:
        np.testing.assert_array_equal(result.status, results[0].status)
        np.testing.assert_array_equal(result.nfev, results[0].nfev)
        np.testing.assert_array_equal(result.x, results[0].x)
