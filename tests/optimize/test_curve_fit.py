"""Curve fits against SciPy: parameters, covariances, bands, profiles, counts, missing points, bad input."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from scipy.optimize import OptimizeWarning

import jaxcalc as jc
from jaxcalc.optimize.fitting.data import data_of

SLOW = pytest.mark.slow
T = np.linspace(0.0, 4.0, 24)
RANDOM = np.random.default_rng(5)
TRUTH = np.array([3.0, 0.8, 0.5]) * RANDOM.uniform(0.8, 1.25, (4, 3))
START = [1.0, 1.0, 1.0]


def decay(t, a, k, c):
    return a * jnp.exp(-k * t) + c


def with_numpy(t, a, k, c):
    return a * np.exp(-k * t) + c


CLEAN = np.stack([with_numpy(T, *p) for p in TRUTH])
DATA = CLEAN + 0.05 * RANDOM.normal(size=CLEAN.shape)
SIGMA = 0.05 * RANDOM.uniform(0.5, 2.0, DATA.shape)


def scipy_fit(y, t=T, start=START, fun=with_numpy, **options):
    return scipy.optimize.curve_fit(fun, t, y, start, ftol=1e-14, xtol=1e-14, gtol=1e-14, **options)


def assert_close(pcov, expected):
    """Equal to 6 digits, covariances in units of the standard errors."""
    errors = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(pcov / np.outer(errors, errors), expected / np.outer(errors, errors), atol=1e-6)


class TestAgainstScipy:
    @pytest.mark.parametrize("absolute", [False, True])
    @pytest.mark.slow
    def test_standard_errors_of_each_point(self, absolute):
        fit = jc.curve_fit(decay, T, DATA, START, sigma=SIGMA, absolute_sigma=absolute)
        assert fit.success.all()
        for row in range(4):
            popt, pcov = scipy_fit(DATA[row], sigma=SIGMA[row], absolute_sigma=absolute)
            np.testing.assert_allclose(fit.popt[row], popt, rtol=1e-7)
            assert_close(fit.pcov[row], pcov)
        np.testing.assert_allclose(fit.stderr**2, np.diagonal(fit.pcov, axis1=1, axis2=2))
        np.testing.assert_allclose(fit.correlation[:, [0, 1, 2], [0, 1, 2]], 1)

    def test_one_fit_unpacks_as_in_scipy(self):
        popt, pcov = fit = jc.curve_fit(decay, list(T), list(DATA[0]), START)
        expected = scipy_fit(DATA[0])
        np.testing.assert_allclose(popt, expected[0], rtol=1e-7)
        assert_close(pcov, expected[1])
        assert len(fit) == 2
        assert (fit[0] == popt).all()
        assert (fit[1] == pcov).all()
        np.testing.assert_allclose(fit.result.fun, with_numpy(T, *popt) - DATA[0], atol=1e-12)
        assert fit.result.jac.shape == (24, 3)
        assert fit.names == ("a", "k", "c")
        assert "a" in repr(fit)
        # The interval, the band and the table of the same fit.
        t = scipy.stats.t.ppf(0.95, 21)
        np.testing.assert_allclose(fit.confidence_interval(0.9).upper - popt, t * fit.stderr, rtol=1e-9)
        at = np.array([-0.5, 1.0, 7.0])
        band = fit.predict(at, level=0.9)
        slopes = jax.jacfwd(lambda p: decay(at, *p))(popt)
        np.testing.assert_allclose(band.stderr, np.sqrt(np.einsum("ki,ij,kj->k", slopes, pcov, slopes)), rtol=1e-9)
        np.testing.assert_allclose(band.upper - band.value, t * band.stderr, rtol=1e-9)
        pytest.importorskip("pandas")
        table = fit.to_pandas(level=0.9)
        assert list(table.index) == ["a", "k", "c"]
        np.testing.assert_allclose(table["lower"], fit.confidence_interval(0.9).lower)

    @SLOW
    @pytest.mark.parametrize("absolute", [False, True])
    def test_a_covariance_of_the_data(self, absolute):
        covariance = np.diag(SIGMA[0] ** 2) + 0.001
        fit = jc.curve_fit(decay, T, DATA[0], START, sigma=covariance, absolute_sigma=absolute)
        popt, pcov = scipy_fit(DATA[0], sigma=covariance, absolute_sigma=absolute)
        np.testing.assert_allclose(fit.popt, popt, rtol=1e-7)
        assert_close(fit.pcov, pcov)
        missing = np.where(np.arange(24) == 7, np.nan, DATA[0])
        less = jc.curve_fit(decay, T, missing, START, sigma=covariance, nan_policy="omit", absolute_sigma=absolute)
        keep = np.arange(24) != 7
        popt, pcov = scipy_fit(DATA[0][keep], T[keep], sigma=covariance[keep][:, keep], absolute_sigma=absolute)
        np.testing.assert_allclose(less.popt, popt, rtol=1e-7)
        assert_close(less.pcov, pcov)

    def test_bounds(self):
        """A fixed parameter is known; the distribution of one at a bound is not, and the others are given it."""
        lower, upper = np.full((4, 3), -np.inf), np.full((4, 3), np.inf)
        lower[1, 2] = upper[1, 2] = 0.4
        lower[2, 2] = 0.9
        fit = jc.curve_fit(decay, T, DATA, [3.0, 0.8, 0.5], bounds=(lower, upper))
        assert fit.success.all()
        assert_close(fit.pcov[0], scipy_fit(DATA[0])[1])
        for row, value, held in ((1, 0.4, 0.0), (2, 0.9, np.nan)):
            fixed = lambda t, a, k, value=value: with_numpy(t, a, k, value)  # noqa: E731
            popt, pcov = scipy_fit(DATA[row], start=[1, 1], fun=fixed)
            np.testing.assert_allclose(fit.popt[row], [*popt, value], rtol=1e-6)
            assert_close(fit.pcov[row, :2, :2], pcov)
            np.testing.assert_array_equal(fit.pcov[row, 2], held)
            assert (fit.degrees[row], fit.degrees[0]) == (22, 21)
        assert np.isfinite(fit.predict(T).stderr).all()

    @SLOW
    @pytest.mark.parametrize("loss", ["huber", "soft_l1", "cauchy", "arctan"])
    def test_the_sandwich_of_robust_losses(self, loss):
        y, C = DATA[0] + 2.0 * (np.arange(24) == 5), 0.1
        fit = jc.curve_fit(decay, T, y, START, loss=loss, f_scale=C)
        derivative = jax.vmap(jax.grad(lambda r: 0.5 * C**2 * rho(loss, (r / C) ** 2)))
        r, J = decay(T, *fit.popt) - y, jax.jacfwd(lambda p: decay(T, *p))(fit.popt)
        curvature = jax.vmap(jax.grad(lambda r: derivative(r[None])[0]))(r)
        bread = np.linalg.inv(J.T @ (curvature[:, None] * J))
        meat = J.T @ (derivative(r)[:, None] ** 2 * J)
        np.testing.assert_allclose(fit.pcov, bread @ meat @ bread * 24 / 21, rtol=1e-6)
        with pytest.raises(ValueError, match="robust"):
            fit.confidence_interval(method="profile")


def rho(loss, z):
    return {
        "huber": lambda: jnp.where(z <= 1, z, 2 * jnp.sqrt(z) - 1),
        "soft_l1": lambda: 2 * (jnp.sqrt(1 + z) - 1),
        "cauchy": lambda: jnp.log1p(z),
        "arctan": lambda: jnp.arctan(z),
    }[loss]()


class TestProfiles:
    @pytest.mark.slow
    def test_at_the_ends_the_cost_has_risen_as_far_as_the_quantile_says(self):
        fit = jc.curve_fit(decay, T, DATA, START, sigma=SIGMA)
        interval = fit.confidence_interval(0.9, method="profile")
        t = scipy.stats.t.ppf(0.95, 21)
        for row, k, side in ((0, 0, "lower"), (1, 1, "upper"), (2, 2, "lower"), (3, 1, "lower")):
            value = float(getattr(interval, side)[row, k])

            def residuals(rest, row=row, k=k, value=value):
                return (with_numpy(T, *np.insert(rest, k, value)) - DATA[row]) / SIGMA[row]

            rest = np.delete(np.asarray(fit.popt[row]), k)
            cost = scipy.optimize.least_squares(residuals, rest, ftol=1e-14, xtol=1e-14, gtol=1e-14).cost
            least = float(fit.result.cost[row])
            assert np.sqrt((cost - least) / (least / 21)) == pytest.approx(t, rel=1e-5)
        wald = fit.confidence_interval(0.9)
        np.testing.assert_allclose(interval.upper - interval.lower, wald.upper - wald.lower, rtol=0.1)

    @SLOW
    def test_ends_at_infinity_and_at_bounds(self):
        """Where the data allow a rate of zero, a straight line, no upper end of the asymptote is known.

        Asymptotes far below the data allow it too, but lie beyond a barrier.
        """
        y = with_numpy(T, -2.0, 0.3, 2.0) + 0.2 * (-1.0) ** np.arange(24)
        fit = jc.curve_fit(decay, T, y, [-2.0, 0.2, 3.0])
        interval = fit.confidence_interval(method="profile")
        assert fit.success
        assert not np.isfinite(interval.upper[2])
        assert np.isfinite(interval.lower[2])
        bounded = jc.curve_fit(decay, T, y, [-2.0, 0.2, 3.0], bounds=([-10, 1e-3, -20], [0, 5, 20]))
        assert bounded.confidence_interval(method="profile").upper[2] <= 20


class TestCounts:
    def test_the_likelihood_is_maximised(self):
        mean = 12 * CLEAN
        counts = np.random.default_rng(2).poisson(mean)
        start = np.mean(12 * TRUTH, axis=0) / [1, 12, 1]
        fit = jc.curve_fit(decay, T, counts, start, method="poisson")
        assert fit.success.all()
        for row in range(4):
            mu = decay(T, *fit.popt[row])
            J = jax.jacfwd(lambda p: decay(T, *p))(fit.popt[row])
            # The score is zero, in units of its own standard deviation, and pcov the inverse of its covariance.
            information = J.T @ (J / mu[:, None])
            score = J.T @ (1 - counts[row] / mu)
            assert np.max(np.abs(score) / np.sqrt(np.diag(information))) < 1e-6
            np.testing.assert_allclose(fit.pcov[row], np.linalg.inv(information), rtol=1e-8)
            deviance = mu - counts[row] + scipy.special.xlogy(counts[row], counts[row] / mu)
            np.testing.assert_allclose(fit.result.cost[row], np.sum(deviance), rtol=1e-9)
        half = fit.confidence_interval().upper - fit.popt
        np.testing.assert_allclose(half, scipy.stats.norm.ppf(0.975) * fit.stderr, rtol=1e-9)

    def test_bad_counts(self):
        with pytest.raises(ValueError, match="neither sigma"):
            jc.curve_fit(decay, T, DATA[0], START, method="poisson", sigma=SIGMA[0])
        counts = np.random.default_rng(2).poisson(12 * CLEAN)
        counts[1, 3] = -1
        start = np.array([[30.0, 0.8, 6.0], [30.0, 0.8, 6.0], [-30.0, 0.8, 6.0], [30.0, 0.8, 6.0]])
        with pytest.warns(OptimizeWarning, match="2 of 4"):
            fit = jc.curve_fit(decay, T, counts, start, method="poisson")
        assert fit.success.tolist() == [True, False, False, True]


class TestMissingPoints:
    def test_masks_and_nan(self):
        y = DATA.copy()
        y[1, 5], y[2, 18:], y[3, 2:] = np.nan, np.nan, np.nan
        with pytest.warns(OptimizeWarning, match="1 of 4 fits did not succeed"):
            fit = jc.curve_fit(decay, T, y, START, nan_policy="omit")
        assert fit.status.tolist() == [0, 0, 0, jc.Status.INVALID]
        assert np.isnan(fit.pcov[3]).all()
        for row in range(3):
            keep = ~np.isnan(y[row])
            popt, pcov = scipy_fit(y[row][keep], T[keep])
            np.testing.assert_allclose(fit.popt[row], popt, rtol=1e-7)
            assert_close(fit.pcov[row], pcov)
            assert fit.degrees[row] == keep.sum() - 3
        with pytest.warns(OptimizeWarning):
            masked = jc.curve_fit(decay, T, np.ma.masked_invalid(y), START)
        np.testing.assert_array_equal(masked.popt, fit.popt)

    def test_without_a_policy_a_fit_with_nan_is_invalid_and_the_others_are_unharmed(self):
        y, sigma = DATA.copy(), SIGMA.copy()
        y[1, 5], sigma[3, 7] = np.nan, 0.0
        clean = jc.curve_fit(decay, T, DATA, START, sigma=SIGMA)
        with pytest.warns(OptimizeWarning, match="2 of 4"):
            fit = jc.curve_fit(decay, T, y, START, sigma=sigma)
        assert fit.status.tolist() == [0, jc.Status.INVALID, 0, jc.Status.INVALID]
        np.testing.assert_array_equal(fit.popt[::2], clean.popt[::2])
        np.testing.assert_array_equal(fit.pcov[::2], clean.pcov[::2])
        with pytest.raises(ValueError, match=r"ydata is not finite at \[1, 5\]"):
            jc.curve_fit(decay, T, y, START, check_finite=True)


def plane(x, a, b, c=0.0):
    return a * x[0] + b * x[1] ** 2 + c


class TestForms:
    def test_two_rows_are_the_x_of_two_fits_or_two_variables(self):
        x = np.stack([T, 1.3 * T])
        own, shared = (data_of(model, 3, x, DATA[:2], None, None, None, None) for model in (decay, plane))
        assert own.own.x is not None
        assert shared.own.x is None
        assert data_of(decay, 3, T, DATA[:2], None, None, None, None).own.x is None

    @SLOW
    def test_xdata_of_each_fit_and_of_several_variables(self):
        x = np.stack([T, 1.3 * T])
        curves = np.stack([with_numpy(x[k], *TRUTH[k]) for k in range(2)])
        np.testing.assert_allclose(jc.curve_fit(decay, x, curves, START).popt, TRUTH[:2], rtol=1e-9)
        planes = np.stack([x[0] - 2 * x[1] ** 2, 3 * x[0] + x[1] ** 2])
        np.testing.assert_allclose(jc.curve_fit(plane, x, planes, [1.0, 1.0]).popt, [[1, -2], [3, 1]], rtol=1e-9)

    @SLOW
    def test_transformations(self):
        fit = lambda y: jc.curve_fit(decay, T, y, START)  # noqa: E731
        plain = fit(DATA[0])
        for ours in (jax.jit(fit)(DATA[0]), jax.tree.map(lambda a: a[0], jax.vmap(fit)(DATA))):
            np.testing.assert_allclose(ours.pcov, plain.pcov, rtol=1e-9)
        np.testing.assert_allclose(
            jax.jit(lambda y: fit(y).confidence_interval())(DATA[0]).lower, plain.confidence_interval().lower, rtol=1e-9
        )
        slope = jax.jacfwd(lambda y: fit(y).stderr)(DATA[0])[:, 3]
        step = 1e-5 * (np.arange(24) == 3)
        np.testing.assert_allclose(slope, (fit(DATA[0] + step).stderr - fit(DATA[0] - step).stderr) / 2e-5, rtol=1e-4)

    @SLOW
    def test_single_precision(self):
        fit = jc.curve_fit(decay, T.astype(np.float32), DATA.astype(np.float32), START)
        assert fit.popt.dtype == fit.pcov.dtype == jnp.float32
        np.testing.assert_allclose(fit.stderr, jc.curve_fit(decay, T, DATA, START).stderr, rtol=1e-3)

    def test_what_is_not_determined(self):
        with pytest.warns(OptimizeWarning, match="could not be estimated"):
            fit = jc.curve_fit(decay, np.ones(24), DATA[0], START)
        assert np.isposinf(fit.pcov).all()


BAD = {
    "no p0": ({"p0": None}, ValueError, "3 parameters, a, k, c.*guess"),
    "a short p0": ({"p0": [1.0, 1.0]}, ValueError, r"3 parameters, a, k, c, but p0 has shape \(2,\)"),
    "few points": ({"xdata": T[:2], "ydata": DATA[0, :2]}, ValueError, "2 points, which cannot determine 3 parameters"),
    "a short model": ({"model": lambda t, a, k, c: decay(t[1:], a, k, c)}, ValueError, r"24 points.*shape \(23,\)"),
    "a model in NumPy": ({"model": with_numpy}, TypeError, "Use jax.numpy"),
    "open parameters": ({"model": lambda t, *p: t, "p0": None}, ValueError, "not known from its signature"),
    "zero sigma": ({"sigma": np.where(np.arange(24) == 4, 0.0, 1.0)}, ValueError, "positive; at point 4"),
    "short sigma": ({"sigma": np.ones(4)}, ValueError, r"sigma has shape \(4,\)"),
    "no covariance": ({"sigma": -np.eye(24)}, ValueError, "positive definite"),
    "ragged": ({"ydata": [DATA[0], DATA[1, :5]]}, ValueError, "Pad shorter data"),
    "a picture": ({"ydata": np.ones((2, 4, 6))}, ValueError, "flattened"),
    "a mask": ({"mask": np.ones(5, bool)}, ValueError, "mask must be booleans"),
    "a policy": ({"nan_policy": "drop"}, ValueError, "omit"),
    "nan": ({"ydata": np.full(24, np.nan), "nan_policy": "raise"}, ValueError, "not finite"),
    "full_output": ({"full_output": True}, TypeError, "fit.result"),
    "jac": ({"jac": lambda t, *p: t}, TypeError, "differentiated exactly"),
    "a typo": ({"sigmas": 1.0}, TypeError, "unexpected keyword"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_at_the_door(name):
    given, error, says = BAD[name]
    options = {"model": decay, "xdata": T, "ydata": DATA[0], "p0": START} | given
    with pytest.raises(error, match=says):
        jc.curve_fit(options.pop("model"), options.pop("xdata"), options.pop("ydata"), **options)


def test_keywords_of_scipy_that_ask_for_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = {"full_output": False, "jac": "2-point", "x_scale": "jac", "method": "trf"}
        fit = jc.curve_fit(decay, T, DATA, START, sigma=SIGMA, **options, check_finite=True)
    assert fit.success.all()


@SLOW
def test_coverage():
    """95 % intervals hold the truth in 95 % of the cases; `python -m benchmarks.coverage` counts 100,000."""
    rng = np.random.default_rng(3)
    y = CLEAN[0] + 0.05 * rng.normal(size=(20000, 24))
    lower, upper = jc.curve_fit(decay, T, y, TRUTH[0]).confidence_interval()
    share = np.mean((lower <= TRUTH[0]) & (TRUTH[0] <= upper), axis=0)
    np.testing.assert_allclose(share, 0.95, atol=0.006)


def test_names_of_other_libraries_fits():
    fit = jc.curve_fit(decay, T, DATA[0], START)
    for name, says in (("params", "the parameters are popt"), ("perr", "are stderr"), ("nfev", "result.nfev holds it")):
        with pytest.raises(AttributeError, match=rf"a fit has no {name!r}; it has popt, .* {says}"):
            getattr(fit, name)
