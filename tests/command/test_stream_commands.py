"""`jaxcalc run`, `status` and `resume`: what they print, their exit codes, and the store that they leave."""

import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.command import cli
from tests.streaming.functions import rows

typer_testing = pytest.importorskip("typer.testing")
zarr = pytest.importorskip("zarr")
FUNCTION = "tests.streaming.functions:rosenbrock"
N = 500


def command(*arguments):
    return typer_testing.CliRunner().invoke(cli.application(), list(map(str, arguments)))


def test_run_status_resume(tmp_path, monkeypatch):
    x0, (c,) = rows(0, N)
    group = zarr.create_group(tmp_path / "problems.zarr")
    group.create_array("x0", data=x0, chunks=(100, 2))
    group.create_array("c", data=c, chunks=(100,))
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "out.zarr"
    given = ("run", FUNCTION, "--data", "problems.zarr", "--store", "out.zarr", "--chunk-size", 256)
    result = command(*given, "--workers", 2, "--method", "bfgs")
    assert result.exit_code == 0, result.output
    assert "500 of 500 problems solved, 0 of 2 chunks to do" in result.output
    assert np.allclose(jc.open_results(store).x[:], 1, atol=1e-2)
    before = np.array(jc.open_results(store).x[:])
    (store / "x" / "c" / "1" / "0").write_bytes(b"torn")
    monkeypatch.chdir("/")
    result = command("resume", store)
    assert result.exit_code == 0, result.output
    assert np.array_equal(jc.open_results(store).x[:], before)
    result = command("status", store)
    assert result.exit_code == 0
    assert "tests.streaming.functions.rosenbrock, bfgs, chunks of 256 problems" in result.output
    assert "500 SUCCESS" in result.output
    result = command("run", FUNCTION, "--data", tmp_path / "problems.zarr", "--store", store, "--method", "lbfgs")
    assert result.exit_code == 2
    assert "method: the store has 'bfgs', this run 'lbfgs'" in result.output


def test_failed_chunks_are_told_and_give_1(tmp_path):
    store = tmp_path / "out.zarr"
    bad = "tests.streaming.functions:raises_once_there"
    result = command("run", FUNCTION, "--data", bad, "--count", N, "--store", store, "--chunk-size", 256)
    assert result.exit_code == 1, result.output
    assert "chunk 1, problems 256 to 499, failed: OSError: the disk is on fire" in result.output
    assert command("status", store).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nothing.py:f", "--data", "x.npy", "--store", "o"), "no file"),
        (("run", "tests.streaming.functions:nothing", "--data", "x.npy", "--store", "o"), "has no 'nothing'"),
        (("run", FUNCTION, "--data", "x.zarr", "--store", "o"), "there is no x.zarr"),
        (("run", FUNCTION, "--data", "x.npy", "--store", "o", "--solver", "sat"), "solver is minimize or least"),
        (("run", FUNCTION, "--store", "o"), "--data"),
        (("status", "nowhere"), "is no store of jaxcalc"),
        (("resume", "nowhere"), "is no store of jaxcalc"),
    ],
)
def test_a_wrong_use_gives_2_and_says_why(arguments, message):
    result = command(*arguments)
    assert result.exit_code == 2
    assert message in result.output
