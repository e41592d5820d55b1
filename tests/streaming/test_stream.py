"""Streams: the same results as in memory whatever the chunks, the store and the source, and what a store refuses."""

import json
import shutil
import sys
import threading
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import OptimizeWarning

import jaxcalc as jc
from jaxcalc.streaming import store as stores
from tests.streaming.functions import LANES, decay, raises_once_there, rosenbrock, rows

zarr = pytest.importorskip("zarr")
N = 700
X0, (C,) = rows(0, N)
FIELDS = ("x", "fun", "jac", "status", "nit", "nfev")
QUIET: dict[str, Any] = {"progress": False, "lanes": LANES, "workers": 2}


@pytest.fixture(params=["memory", "zarr"])
def store(request, tmp_path):
    return jc.streaming.MemoryStore() if request.param == "memory" else tmp_path / "out.zarr"


@pytest.fixture(scope="module")
def in_memory():
    return jc.minimize_many(rosenbrock, X0, (C,), lanes=LANES)


def same(results, expected, rows: Any = slice(None)):
    return all(np.array_equal(getattr(results, name)[:][rows], getattr(expected, name)[rows]) for name in FIELDS)


def files(path):
    """The bytes of every file below a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def stream(problems, store, **options: Any):
    options = QUIET | {"chunk_size": 256} | options
    return jc.minimize_stream(rosenbrock, problems, store, **options)


def test_results_are_those_in_memory_to_the_last_bit_whatever_the_chunks(store, in_memory):
    results = stream((X0, C), store)
    assert same(results, in_memory)
    assert results.complete
    assert len(results) == N
    assert results.summary() == {"SUCCESS": N}
    assert results.check() is results
    assert list(results.run[:5]) == [0] * 5
    reports = []
    stream((X0, C), store, progress=reports.append)
    assert reports == []  # a finished store is not solved again
    assert same(stream((X0, C), jc.streaming.MemoryStore(), chunk_size=333, workers=1), in_memory)


@pytest.mark.slow
def test_without_a_number_of_lanes_chunks_of_many_problems_give_the_same_bits():
    x0, args = rows(0, 1200)
    first, second = (
        jc.minimize_stream(rosenbrock, (x0, args), jc.streaming.MemoryStore(), chunk_size=size, progress=False)
        for size in (300, 600)
    )
    assert all(np.array_equal(getattr(first, name)[:], getattr(second, name)[:]) for name in FIELDS)


def test_every_kind_of_source(tmp_path, in_memory):
    np.save(tmp_path / "x0.npy", X0)
    group = zarr.create_group(tmp_path / "problems.zarr")
    group.create_array("x0", data=X0, chunks=(100, 2))
    group.create_array("c", data=C, chunks=(90,))
    kinds = {
        "map": (np.load(tmp_path / "x0.npy", mmap_mode="r"), C),
        "mapping": {"c": C, "x0": X0},
        "args": {"x0": jnp.asarray(X0), "args": (C,)},
        "group": group,
        "function": rows,
    }
    pandas = pytest.importorskip("pandas")
    kinds["table"] = (pandas.DataFrame(X0, index=np.arange(N) + 5), pandas.Series(C, index=np.arange(N)[::-1]))
    kinds["columns"] = pandas.DataFrame({"c": C, "x0": list(X0)})
    for name, problems in kinds.items():
        count = {"count": N} if callable(problems) else {}
        assert same(stream(problems, jc.streaming.MemoryStore(), **count), in_memory), name


@pytest.mark.parametrize("package", ["h5py", "polars", "pyarrow"])
def test_sources_of_other_packages(package, tmp_path, in_memory):
    module = pytest.importorskip(package)
    if package == "h5py":
        source = module.File(tmp_path / "problems.h5", "w")
        source["x0"], source["c"] = X0, C
    else:
        source = {"polars": "DataFrame", "pyarrow": "table"}[package]
        source = getattr(module, source)({"x0": X0.tolist(), "c": C})
    for problems in (source, (source["x0"], source["c"])):
        assert same(stream(problems, jc.streaming.MemoryStore()), in_memory)


def test_pytrees_and_options_of_each_problem():
    lower = np.where(np.arange(N) % 2, -np.inf, 1.5)
    results = jc.minimize_stream(
        lambda p, c: (p["a"] - c) ** 2 + jnp.sum((p["b"] - 1) ** 2),
        {"x0": {"a": C, "b": X0}, "c": C},
        jc.streaming.MemoryStore(),
        bounds=({"a": -np.inf, "b": lower[:, None] * np.ones(2)}, None),
        scale={"a": C, "b": 1.0},
        gtol=np.where(np.arange(N) < 300, 1e-9, 1e-5),
        chunk_size=512,
        **QUIET,
    )
    assert results.summary() == {"SUCCESS": N}
    assert np.allclose(results.x["a"][:300], C[:300], atol=1e-8)
    assert np.allclose(results.x["b"][:], np.where(lower == 1.5, 1.5, 1)[:, None] * np.ones(2), atol=1e-4)


def test_least_squares_with_standard_errors():
    from scipy.optimize import curve_fit

    t = np.linspace(0, 4, 20)
    noise = 0.05 * np.random.default_rng(3).normal(size=(40, 20))
    y = 3 * np.exp(-np.linspace(0.5, 3, 40)[:, None] * t) + noise
    weights = np.ones((40, 20))
    weights[7, 4:7] = 0
    y[7, 4:7] = np.nan
    store = jc.streaming.MemoryStore()
    results = jc.least_squares_stream(
        decay,
        (np.ones((40, 2)), y),
        store,
        shared=(t,),
        weights=weights,
        covariance=True,
        chunk_size=16,
        progress=False,
    )
    assert results.summary() == {"SUCCESS": 40}
    for k in (0, 7, 39):
        seen = weights[k] > 0
        popt, pcov = curve_fit(
            lambda t, a, b: a * np.exp(-b * t), t[seen], y[k, seen], p0=[1, 1], xtol=1e-12, ftol=1e-12
        )
        assert np.allclose(results.x[k], popt, rtol=1e-6)
        assert np.allclose(results.stderr[k], np.sqrt(np.diag(pcov)), rtol=1e-5)
        assert np.allclose(results.covariance[k], pcov[np.triu_indices(2)], rtol=1e-4)


@pytest.mark.slow
def test_curves_are_fitted_as_in_memory():
    t = np.linspace(0, 4, 20)
    y = 3 * np.exp(-np.linspace(0.5, 3, 40)[:, None] * t) + 0.05 * np.random.default_rng(3).normal(size=(40, 20))
    sigma = np.full((40, 20), 0.1)
    sigma[:, 10:] = 0.2
    y[5] = np.nan

    def model(t, size, rate):
        return size * jnp.exp(-rate * t)

    store, p0 = jc.streaming.MemoryStore(), np.broadcast_to([1.0, 1.0], (40, 2))
    options = {"sigma": sigma, "absolute_sigma": True, "lanes": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = jc.curve_fit_stream(
            model, (p0, y), store, xdata=t, covariance=True, chunk_size=16, progress=False, **options
        )
    with pytest.warns(OptimizeWarning):
        fit = jc.curve_fit(model, t, y, p0, **options)
    assert np.array_equal(results.x[:], fit.popt, equal_nan=True)
    assert np.array_equal(results.status[:], fit.result.status)
    assert np.allclose(results.stderr[:], fit.stderr, rtol=1e-12, equal_nan=True)
    assert np.allclose(results.covariance[3], fit.pcov[3][np.triu_indices(2)], rtol=1e-6)


def test_the_chunk_size_is_chosen_and_kept(tmp_path, in_memory):
    path = tmp_path / "out.zarr"
    assert same(stream((X0, C), path, chunk_size=None), in_memory)
    size = jc.open_results(path).store.layout().chunk_size
    before = files(path)
    stream((X0, C), path, chunk_size=None)
    assert files(path) == before
    assert 1 <= size <= N


def test_one_program_for_all_chunks(compilations):
    fun = lambda x, c: rosenbrock(x, c) + 1  # noqa: E731
    stream((X0, C), jc.streaming.MemoryStore())
    before = len(compilations)
    jc.minimize_stream(fun, (X0, C), jc.streaming.MemoryStore(), chunk_size=256, **QUIET)
    assert len(compilations) - before == 1


def test_a_chunk_that_raises_is_marked_and_can_be_run_again(store, in_memory):
    tries = []

    def problems(start, stop):
        tries.append(start)
        return raises_once_there(start, stop)

    with pytest.warns(RuntimeWarning, match=r"1 of 3 chunks failed.*problems 256 to 511.*the disk is on fire"):
        results = stream(problems, store, count=N)
    assert tries.count(256) == 3
    assert results.failed_chunks == {1: "OSError: the disk is on fire"}
    assert results.summary() == {"SUCCESS": N - 256, "UNSOLVED": 256}
    assert set(results.status[256:512]) == {-1}
    assert np.isnan(results.x[256:512]).all()
    assert "1 chunks failed" in repr(results)
    with pytest.raises(RuntimeError, match="256 UNSOLVED"):
        results.check()
    results = stream(rows, store, count=N)
    assert same(results, in_memory)
    assert results.failed_chunks == {}


def test_failures_are_rerun_into_the_same_store(store, in_memory):
    first = stream((X0, C), store, maxiter=20)
    failures = first.failures()
    assert np.array_equal(failures, np.flatnonzero(first.status[:] != 0))
    assert 0 < len(failures) < N
    before = np.array(first.x[:])
    results = stream((X0, C), store, rerun="failures", maxiter=500, chunk_size=None)
    assert same(results, in_memory, failures)
    others = np.setdiff1d(np.arange(N), failures)
    assert np.array_equal(results.x[:][others], before[others])
    assert np.array_equal(np.flatnonzero(results.run[:]), failures)
    assert results.summary() == {"SUCCESS": N}
    # The run that began the store still is the one that it belongs to, and finds nothing to do.
    assert np.array_equal(stream((X0, C), store, maxiter=20).run[:], results.run[:])


@pytest.mark.slow
def test_failures_are_rerun_by_another_method_from_other_starts(store):
    failures = stream((X0, C), store, maxiter=20).failures()
    for method in ("trust_region", "lbfgs"):
        results = stream((X0 / 2, C), store, rerun="failures", method=method, chunk_size=None)
    expected = jc.minimize_many(rosenbrock, X0 / 2, (C,), method="trust_region", lanes=LANES)
    assert same(results, expected, failures)
    assert len(results.store.about()["reruns"]) == 2


def test_a_different_run_is_refused_with_the_difference(store):
    stream((X0, C), store)
    shifted = 1.0

    def other(x, c):
        return rosenbrock(x, c) + shifted

    other.__module__, other.__qualname__ = rosenbrock.__module__, rosenbrock.__qualname__
    for options, message in [
        ({"method": "lbfgs"}, "method: the store has 'bfgs', this run 'lbfgs'"),
        ({"gtol": 1e-3}, "options, gtol: the store has nothing, this run 0.001"),
        ({"chunk_size": 100}, "chunk_size: the store has 256, this run 100"),
        ({"resume": False}, "exists"),
    ]:
        with pytest.raises(jc.streaming.StoreError, match=message):
            stream((X0, C), store, **options)
    for problems, message in [
        ((X0[:-1], C[:-1]), "N: the store has 700, this run 699"),
        ((X0 + 1, C), "the first problem's start or args have changed"),
        ((X0.astype(np.float32), C), "dtypes: the store has"),
    ]:
        with pytest.raises(jc.streaming.StoreError, match=message):
            stream(problems, store)
    with pytest.raises(jc.streaming.StoreError, match="code, or a value that it captures"):
        jc.minimize_stream(other, (X0, C), store, chunk_size=256, **QUIET)
    with pytest.raises(jc.streaming.StoreError, match="no failures to run again"):
        stream((X0, C), jc.streaming.MemoryStore(), rerun="failures")


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path):
    whole, path = tmp_path / "whole.zarr", tmp_path / "out.zarr"
    stream((X0, C), whole)
    seen = []

    def interrupt(progress):
        seen.append(progress)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream((X0, C), path, progress=interrupt, workers=1)
    assert 0 < seen[0].solved < N
    assert not path.with_name("out.zarr.lock").exists()
    assert jc.open_results(path).summary()["UNSOLVED"] > 0
    (path / "x" / "c" / "2").mkdir(exist_ok=True)
    (path / "x" / "c" / "2" / "0.abc.partial").write_bytes(b"torn")
    stream((X0, C), path)
    assert files(path) == files(whole)


@pytest.mark.parametrize("damage", ["truncated", "removed", "flipped"])
def test_damaged_chunks_are_found_and_solved_again(damage, tmp_path, in_memory):
    path = tmp_path / "out.zarr"
    stream((X0, C), path)
    before = files(path)
    file = path / "x" / "c" / "1" / "0"
    content = file.read_bytes()
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(content[:100] if damage == "truncated" else bytes([content[0] ^ 1]) + content[1:])
    if damage == "flipped":
        with pytest.raises(ValueError, match="checksum"):
            _ = jc.open_results(path).x[300]
    stream((X0, C), path, verify=damage == "flipped")
    assert files(path) == before


def test_a_full_disk_stops_the_run_with_what_to_do(tmp_path, monkeypatch, in_memory):
    path = tmp_path / "out.zarr"
    write, full = stores.ZarrStore.write, threading.Event()

    def write_until_full(self, chunk, rows):
        if full.is_set():
            with stores.writing(self.path):
                raise OSError(28, "No space left on device")
        full.set()
        write(self, chunk, rows)

    with monkeypatch.context() as patch:
        patch.setattr(stores.ZarrStore, "write", write_until_full)
        with pytest.raises(jc.streaming.StoreError, match=r"No space left on device. Make space and run again"):
            stream((X0, C), path, workers=1)
    assert jc.open_results(path).summary() == {"SUCCESS": 256, "UNSOLVED": N - 256}
    assert same(stream((X0, C), path), in_memory)


def test_a_second_run_on_a_store_is_refused(store):
    refused = []

    def second(_):
        with pytest.raises(jc.streaming.StoreError, match="in use by") as error:
            stream((X0, C), store)
        refused.append(error)

    stream((X0, C), store, progress=second)
    assert refused


def test_a_lock_of_a_dead_process_does_not_hold(tmp_path):
    (tmp_path / "out.zarr.lock").write_text("process 1 on elsewhere\n")
    assert stream((X0, C), tmp_path / "out.zarr").complete


def test_a_system_without_locks_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(jc.streaming.StoreError, match=r"Windows\?.*WSL, or give MemoryStore"):
        stream((X0, C), tmp_path / "out.zarr")


def test_the_store_is_plain_zarr_and_opens_in_xarray(tmp_path):
    xarray = pytest.importorskip("xarray")
    path = tmp_path / "out.zarr"
    results = stream((X0, C), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xarray.open_zarr(path, consolidated=False, chunks=None)
    assert dataset["x"].dims == ("problem", "x_1")
    assert np.array_equal(dataset["x"], results.x[:])
    assert np.array_equal(results.to_xarray()["nit"], results.nit[:])
    about = json.loads((path / "zarr.json").read_text())["attributes"]["jaxcalc"]["about"]["run"]
    assert about["function"] == "tests.streaming.functions.rosenbrock"
    assert b"pickle" not in b"".join(files(path).values())


def test_wrong_arguments(tmp_path):
    other = tmp_path / "letters"
    other.mkdir()
    (other / "a.txt").write_text("a")
    memory = jc.streaming.MemoryStore()
    for problems, store, options, error, message in [
        (rows, memory, {}, ValueError, "count, the number of problems, must be given"),
        ((X0, C), memory, {"count": 3}, ValueError, "count is 3, but the arrays of problems hold 700"),
        ((X0, C[:5]), memory, {}, ValueError, r"args\[0\] holds 5 problems, but x0 holds 700"),
        ({"c": C}, memory, {}, TypeError, "no 'x0'"),
        (3.0, memory, {}, TypeError, "cannot be sliced"),
        ((X0, C), 5, {}, TypeError, "store is a path"),
        ((X0, C), other, {}, jc.streaming.StoreError, "is no store of jaxcalc"),
        ((X0, C), memory, {"executor": "fork"}, ValueError, "'threads' or 'processes'"),
        ((X0, C), memory, {"executor": 3}, TypeError, "concurrent.futures.Executor"),
        ((X0, C), memory, {"executor": "processes"}, TypeError, "threads of this process only"),
        ((X0, C), memory, {"rerun": "all"}, ValueError, "rerun must be"),
        ((X0, C), memory, {"chunk_size": 0}, ValueError, "chunk_size must be"),
        (lambda a, b: X0, memory, {"count": N}, ValueError, r"must return the pair \(x0, args\)"),
        (lambda a, b: (X0, ()), memory, {"count": N}, ValueError, "must return 1 problems in every array"),
    ]:
        with pytest.raises(error, match=message):
            stream(problems, store, **options)
    with pytest.raises(TypeError, match="defined at the top level of a module"):
        jc.minimize_stream(lambda x: x @ x, X0, tmp_path / "out.zarr", executor="processes", workers=1, progress=False)
    shutil.rmtree(other)
    with pytest.raises(jc.streaming.StoreError, match="is no store of jaxcalc"):
        jc.open_results(tmp_path / "nothing.zarr")
