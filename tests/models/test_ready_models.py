"""Ready curves: each against its formula, and its guess against a fit that starts at the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jaxcalc as jc
from jaxcalc import models

X = np.linspace(0.0, 10.0, 60)
PIXELS = np.stack([axis.ravel() for axis in np.meshgrid(np.arange(9.0), np.arange(9.0), indexing="ij")])
DOSES = np.concatenate([[0.0], np.geomspace(0.01, 100.0, 17)])


def draws(rng, n, *ranges):
    """Uniform parameters; of a range (low, high, "log") uniform in the logarithm, of (..., "sign") with either sign."""
    columns = []
    for low, high, *kind in ranges:
        column = np.exp(rng.uniform(np.log(low), np.log(high), n)) if "log" in kind else rng.uniform(low, high, n)
        columns.append(column * rng.choice([-1, 1], n) if "sign" in kind else column)
    return np.stack(columns, axis=1)


# The x, the ranges of the true parameters, and the noise as a share of the curve's range.
DRAWS = {
    "gaussian_1d": (X, [(1, 5, "sign"), (1, 9), (0.25, 2.0, "log"), (-3, 3)], 0.05),
    "gaussian_2d": (PIXELS, [(300, 800), (2, 6), (2, 6), (0.8, 2.2), (0.8, 2.2), (5, 50)], 0.08),
    "lorentzian": (X, [(1, 5, "sign"), (1, 9), (0.25, 1.5, "log"), (-3, 3)], 0.05),
    "voigt": (X, [(1, 5, "sign"), (2, 8), (0.3, 1.0, "log"), (0.1, 1.0, "log"), (-3, 3)], 0.03),
    "exponential_decay": (X, [(1, 5, "sign"), (0.15, 3.0, "log"), (-3, 3)], 0.05),
    "biexponential": (X, [(1, 5), (1.5, 6.0, "log"), (1, 5), (0.1, 0.4, "log")], 0.02),
    "damped_cosine": (X, [(1, 5), (0.15, 2.5), (0.0, 0.5), (-3, 3), (-3, 3)], 0.1),
    "power_law": (X + 0.2, [(0.5, 5, "log", "sign"), (-2.5, 2.5)], 0.05),
    "logistic": (X, [(-1, 1), (2, 6), (2, 8), (0.7, 6, "log", "sign")], 0.05),
    "logistic_5": (X, [(-1, 1), (2, 6), (3, 7), (1, 4, "log", "sign"), (0.4, 3, "log")], 0.02),
    "hill": (DOSES, [(-1, 1), (2, 6), (0.1, 10, "log"), (0.6, 3)], 0.05),
    "hill_5": (DOSES, [(-1, 1), (2, 6), (0.3, 3, "log"), (0.8, 3), (0.4, 3, "log")], 0.02),
    "michaelis_menten": (X[1:], [(1, 50, "log"), (0.3, 10, "log")], 0.05),
}  # fmt: skip


def test_every_model_is_tried():
    assert set(DRAWS) == {name for name in dir(models) if hasattr(getattr(models, name), "guess")}


def noisy(name, count, seed):
    model = getattr(models, name)
    x, ranges, share = DRAWS[name]
    rng = np.random.default_rng(seed)
    truth = draws(rng, count, *ranges)
    clean = np.asarray(jax.vmap(lambda p: model(jnp.asarray(x), *p))(truth))
    noise = share * np.ptp(clean, axis=1, keepdims=True) * rng.normal(size=clean.shape)
    return model, x, truth, clean + noise


def shares(name, count, seed=1, dtype=float):
    """The shares of draws on which the guess's fit is as good as the truth's, and on which it succeeds."""
    model, x, truth, y = noisy(name, count, seed)
    x, truth, y = (jnp.asarray(a, dtype) for a in (x, truth, y))
    with pytest.warns() if False else np.errstate():
        ours, best = (jc.curve_fit(model, x, y, p0).result for p0 in (None, truth))
    reached = ours.cost <= best.cost * (1 + 1e-4)
    return float(jnp.mean(reached)), float(jnp.mean(ours.success))


# The others take as long: what takes time is to compile a fit of each.
QUICK = {"exponential_decay"}


@pytest.mark.filterwarnings("ignore::scipy.optimize.OptimizeWarning")
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in DRAWS])
def test_a_fit_from_the_guess_reaches_what_a_fit_from_the_truth_reaches(name):
    assert shares(name, 300)[0] >= 0.99


FORMULAS = {
    "gaussian_1d": lambda x, a, c, w, o: a * np.exp(-((x - c) ** 2) / (2 * w**2)) + o,
    "lorentzian": lambda x, a, c, w, o: a * w**2 / ((x - c) ** 2 + w**2) + o,
    "voigt": lambda x, a, c, s, g, o: a * scipy.special.voigt_profile(x - c, s, g) + o,
    "exponential_decay": lambda x, a, k, o: a * np.exp(-k * x) + o,
    "biexponential": lambda x, a, k, b, j: a * np.exp(-k * x) + b * np.exp(-j * x),
    "damped_cosine": lambda x, a, f, k, p, o: a * np.exp(-k * x) * np.cos(2 * np.pi * f * x + p) + o,
    "power_law": lambda x, a, b: a * x**b,
    "logistic": lambda x, b, t, c, s: b + (t - b) / (1 + np.exp(-s * (x - c))),
    "logistic_5": lambda x, b, t, c, s, a: b + (t - b) / (1 + np.exp(-s * (x - c))) ** a,
    "hill": lambda x, b, t, h, n: b + (t - b) * x**n / (h**n + x**n),
    "hill_5": lambda x, b, t, h, n, a: b + (t - b) * (x**n / (h**n + x**n)) ** a,
    "michaelis_menten": lambda x, v, k: v * x / (k + x),
}  # fmt: skip


def test_formulas():
    for name, formula in FORMULAS.items():
        model = getattr(models, name)
        x, ranges, _ = DRAWS[name]
        assert len(model.names) == len(ranges)
        for p in draws(np.random.default_rng(0), 5, *ranges):
            np.testing.assert_allclose(model(jnp.asarray(x), *p), formula(x, *p), rtol=1e-11, atol=1e-12, err_msg=name)
    u, v = PIXELS
    expected = 3 * np.exp(-((u - 1) ** 2) / 8 - (v - 2) ** 2 / 18) + 4
    np.testing.assert_allclose(models.gaussian_2d(PIXELS, 3, 1, 2, 2, 3, 4), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [float, jnp.float32])
def test_the_error_of_the_voigt_profile(dtype):
    rng = np.random.default_rng(3)
    d, sigma, gamma = rng.normal(size=5000) * 10 ** rng.uniform(-2, 3, 5000), *10 ** rng.uniform(-3, 2, (2, 5000))
    ours = models.voigt(*(jnp.asarray(a, dtype) for a in (d, 1.0, 0.0, sigma, gamma, 0.0)))
    assert ours.dtype == dtype
    d, sigma, gamma = (np.asarray(jnp.asarray(a, dtype), float) for a in (d, sigma, gamma))
    error = np.abs(ours - scipy.special.voigt_profile(d, sigma, gamma)) * sigma * np.sqrt(2 * np.pi)
    assert error.max() <= (1e-13 if dtype is float else 1e-6)


def test_the_voigt_profile_has_its_own_derivatives():
    p, step = np.array([1.7, 0.3, 0.6, 0.4, 0.1]), 1e-6
    profile = lambda p: models.voigt(jnp.linspace(-3.0, 3.0, 7), *p)  # noqa: E731
    ours = jax.jit(jax.jacfwd(profile))(p)
    for k in range(5):
        up, down = (FORMULAS["voigt"](np.linspace(-3, 3, 7), *(p + s * step * np.eye(5)[k])) for s in (1, -1))
        np.testing.assert_allclose(ours[:, k], (up - down) / (2 * step), atol=1e-8)
    reverse = jax.jit(jax.jacrev(profile))(p)
    np.testing.assert_allclose(reverse, ours, rtol=1e-12, atol=1e-14)


def test_derivatives_at_a_dose_of_zero():
    for model in (models.hill, models.hill_5):
        p = jnp.array([1.0, 2.0, 3.0, 1.5, 0.8])[: len(model.names)]
        assert jnp.isfinite(jax.jacfwd(lambda p, model=model: model(jnp.array([0.0, 1.0]), *p))(p)).all()


def test_guesses_of_a_batch_are_those_of_its_fits():
    x, y = noisy("exponential_decay", 4, 5)[1::2]
    many = models.exponential_decay.guess(x, y)
    assert many.shape == (4, 3)
    # Sums in another order may choose a neighbour among equals, which these draws have not.
    np.testing.assert_allclose(models.exponential_decay.guess(np.tile(x, (4, 1)), y), many, rtol=1e-9)
    np.testing.assert_allclose(models.exponential_decay.guess(x, y[2]), many[2], rtol=1e-9)
    assert models.exponential_decay.guess(x.astype(np.float32), y.astype(np.float32)).dtype == jnp.float32
