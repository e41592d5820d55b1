"""Fits and minimisations of labelled arrays: coordinates, missing values, dates, Dask."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

xr = pytest.importorskip("xarray")
T = np.sort(np.random.default_rng(2).uniform(0, 3, 24))


def harmonic(t, mean, slope, cosine, sine):
    return mean + slope * t + cosine * jnp.cos(2 * jnp.pi * t) + sine * jnp.sin(2 * jnp.pi * t)


@pytest.fixture
def scene():
    rng = np.random.default_rng(4)
    p = rng.normal(size=(4, 6, 5))
    design = np.stack([np.ones_like(T), T, np.cos(2 * np.pi * T), np.sin(2 * np.pi * T)])
    y = np.tensordot(design.T, p, axes=1) + 0.1 * rng.normal(size=(24, 6, 5))
    y[rng.uniform(size=y.shape) < 0.1] = np.nan
    y[3:, 2, 1] = np.nan  # fewer values than parameters
    coords = {"time": T, "y": np.arange(6) * 10.0, "x": list("abcde"), "height": ("y", np.arange(6))}
    return xr.DataArray(y, dims=("time", "y", "x"), coords=coords), design


def test_a_fit_keeps_coordinates_and_is_that_of_linear_least_squares(scene):
    da, design = scene
    fit = jc.xarray.curve_fit(da, "time", harmonic, dict.fromkeys(("mean", "slope", "cosine", "sine"), 0.0))
    assert fit.coefficients.dims == ("y", "x", "param")
    assert fit.covariance.dims == ("y", "x", "param_i", "param_j")
    assert list(fit.param.values) == ["mean", "slope", "cosine", "sine"]
    assert list(fit.x.values) == list("abcde")
    assert "height" in fit.coords
    for row, column in ((0, 0), (5, 4)):
        seen = np.isfinite(da.values[:, row, column])
        A, y = design.T[seen], da.values[seen, row, column]
        q, rest, *_ = np.linalg.lstsq(A, y, rcond=None)
        covariance = np.linalg.inv(A.T @ A) * rest / (seen.sum() - 4)
        assert np.allclose(fit.coefficients[row, column], q, atol=1e-8)
        assert np.allclose(fit.stderr[row, column], np.sqrt(np.diag(covariance)))
        assert np.allclose(fit.covariance[row, column], covariance, rtol=1e-5, atol=1e-8)
    assert np.isnan(fit.coefficients[2, 1]).all()
    assert fit.status[2, 1] == jc.Status.INVALID
    assert (fit.status.values == 0).sum() == 29


def test_dask_and_dates_are_lazy_and_the_same(scene):
    pytest.importorskip("dask")
    da, _ = scene
    start = [0.0, 0.0, 0.0, 0.0]
    dates = np.datetime64("2020-01-01") + (T * 86_400e6).astype("timedelta64[us]")
    lazy = jc.xarray.curve_fit(da.assign_coords(time=dates).chunk({"time": 7, "y": 4, "x": 2}), "time", harmonic, start)
    assert lazy.coefficients.chunks is not None
    assert lazy.coefficients.chunks[:2] == ((4, 2), (2, 2, 1))
    eager = jc.xarray.curve_fit(da.assign_coords(time=T - T[0]), "time", harmonic, start)
    assert np.allclose(lazy.coefficients.values, eager.coefficients, atol=1e-6, equal_nan=True)
    assert np.array_equal(lazy.status.values, eager.status)


def test_minimize_along_two_dimensions():
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    da = xr.DataArray(values, dims=("a", "b", "c"), coords={"b": [4, 3, 2, 1]})
    result = jc.xarray.minimize(da, ["a", "c"], lambda x, y, w: jnp.sum(w * (x - y) ** 2), [0.0], args=(2.0,))
    assert result.x.dims == ("b", "variable")
    assert result.x.dtype == np.float32
    assert np.allclose(result.x[:, 0], values.mean(axis=(0, 2)), atol=1e-3)
    assert list(result.b.values) == [4, 3, 2, 1]


def test_wrong_arguments(scene):
    da, _ = scene
    with pytest.raises(ValueError, match="no dimension 'when'"):
        jc.xarray.curve_fit(da, "when", harmonic, [0.0] * 4)
    with pytest.raises(ValueError, match="p0 is 4 numbers, for mean, slope, cosine, sine"):
        jc.xarray.curve_fit(da, "time", harmonic, [0.0] * 3)
    with pytest.raises(ValueError, match="p0 names mean, but the model's parameters are"):
        jc.xarray.curve_fit(da, "time", harmonic, {"mean": 0.0})
    with pytest.raises(TypeError, match=r"da is a xarray.DataArray, not a ndarray"):
        jc.xarray.minimize(da.values, "time", lambda x, y: x[0], [0.0])
