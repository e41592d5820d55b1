"""The bootstrap against SciPy's and against formulas; the same seed, the same resamples."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxcalc as jc

SLOW = pytest.mark.slow
X = np.linspace(0.0, 3.0, 30)
Y = 2.0 + 1.5 * X + 0.3 * np.random.default_rng(1).normal(size=(2, 30))


def line(x, a, b):
    return a + b * x


def square(x, weights, y):
    return jnp.sum(weights * (y - x) ** 2)


@pytest.fixture(scope="module")
def fit():
    return jc.curve_fit(line, X, Y[0], [1.0, 1.0])


def test_cases_are_weights(fit):
    found = jc.bootstrap(fit, resamples=300, method="percentile", seed=4)
    assert found.success.all()
    counts = np.random.default_rng(4).multinomial(30, np.full(30, 1 / 30), size=300)
    columns = np.stack([np.ones(30), X], 1)
    for row in (0, 7, 299):
        drawn = np.repeat(np.arange(30), counts[row])
        np.testing.assert_allclose(found.x[row], np.linalg.lstsq(columns[drawn], Y[0][drawn])[0], rtol=1e-9)
    np.testing.assert_array_equal(jc.bootstrap(fit, resamples=300, method="percentile", seed=4).x, found.x)
    assert not np.array_equal(jc.bootstrap(fit, resamples=300, method="percentile", seed=5).x, found.x)
    np.testing.assert_allclose(found.lower, np.quantile(found.x, 0.025, axis=0))
    with pytest.raises(ValueError, match="jackknife"):
        found.confidence_interval(method="bca")


@pytest.mark.slow
def test_bca_is_scipy_s():
    """The mean of skewed data: with thousands of resamples both intervals agree up to the resampling's noise."""
    y = np.random.default_rng(0).exponential(size=40)
    found = jc.bootstrap(square, 1.0, y, resamples=4000)
    theirs = scipy.stats.bootstrap((y,), np.mean, n_resamples=20000, method="BCa", random_state=1)  # pyright: ignore[reportCallIssue]
    np.testing.assert_allclose([found.lower, found.upper], theirs.confidence_interval, atol=0.04)
    np.testing.assert_allclose(found.jackknife, (y.sum() - y) / 39, rtol=1e-6)
    np.testing.assert_allclose(found.stderr, theirs.standard_error, rtol=0.03)


@SLOW
def test_residuals_and_missing_points_of_several_fits():
    y = np.where(np.arange(30) % 7 == np.array([[2], [3]]), np.nan, Y)
    sigma = np.linspace(0.1, 0.3, 30)
    fits = jc.curve_fit(line, X, y, [1.0, 1.0], nan_policy="omit", sigma=sigma)

    def sandwich(row):
        """What cases estimate: errors of any size, one for each point."""
        keep = ~np.isnan(row)
        A, z = (np.stack([np.ones(30), X], 1) / sigma[:, None])[keep], (row / sigma)[keep]
        scores = A * (z - A @ np.linalg.lstsq(A, z)[0])[:, None]
        bread = np.linalg.inv(A.T @ A)
        return np.sqrt(np.diag(bread @ scores.T @ scores @ bread))

    for resampling in ("residual", "case"):
        found = jc.bootstrap(fits, resamples=1500, resampling=resampling)
        assert found.x.shape == (2, 1500, 2)
        expected = fits.stderr if resampling == "residual" else [sandwich(row) for row in y]
        np.testing.assert_allclose(found.stderr, expected, rtol=0.1 if resampling == "residual" else 0.25)
        np.testing.assert_array_equal(np.isnan(found.jackknife[..., 0]), np.isnan(y))


def test_bad_input(fit):
    with pytest.raises(TypeError, match="takes no gtol"):
        jc.bootstrap(fit, gtol=1e-3)
    with pytest.raises(ValueError, match="for curve fits"):
        jc.bootstrap(square, 1.0, Y[0], resampling="residual")
    with pytest.raises(TypeError, match="needs x0"):
        jc.bootstrap(square, None, Y[0])
    with pytest.raises(TypeError, match="observations"):
        jc.bootstrap(square, 1.0)
