"""The examples run in their short form, and their results are right."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str):
    """Runs the main function of an example in this process, whose compilation cache makes it quicker."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main([*arguments, "--short"])


def test_all_examples_are_tested():
    tested = {
        "arm_around_an_obstacle",
        "bootstrap",
        "descent_on_the_quartic",
        "portfolio",
        "ridge_penalties",
        "ten_functions_at_once",
    }
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_descent_on_the_quartic(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = run("descent_on_the_quartic", "--output", str(tmp_path))
    assert path.jac[0] == 1.1875
    assert path.x[1] == 1.190625
    assert path.x[-1] == pytest.approx((3 - 5**0.5) / 2, abs=1e-6)
    printed = capsys.readouterr().out
    assert "1.190625" in printed
    assert str(tmp_path / "descent.png") in printed
    assert (tmp_path / "descent.png").stat().st_size > 10_000


def test_bootstrap(capsys):
    pytest.importorskip("sklearn")
    fits = run("bootstrap")
    assert fits.success.all()
    assert np.abs(fits.jac).max() <= 1e-5
    # In every resample a larger radius makes a malignant tumour more probable.
    assert fits.x[:, 1].min() > 2
    printed = capsys.readouterr().out
    assert "100 of 100 SUCCESS" in printed
    assert "mean radius        from +" in printed


def test_ridge_penalties(capsys):
    pytest.importorskip("sklearn")
    chosen, losses = run("ridge_penalties")
    # One common penalty is a special case of ten penalties, and the best of as many evaluations on a grid is higher.
    assert chosen.fun < losses.min() - 0.005
    assert len(losses) == chosen.nfev
    assert "ten, by descent" in capsys.readouterr().out


def test_ten_functions_at_once(capsys):
    results = run("ten_functions_at_once")
    lowest = [result.fun[result.success].min() for result in results]
    np.testing.assert_allclose(lowest, [-1, 0, 0, 0, 0, 0, 0, 0, 0, 3], atol=1e-8)
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [int(row[16:].split()[0]) for row in rows] == [1, 10, 2, 2, 2, 4, 4, 3, 6, 3]
    converged = [int(row[16:].split()[1]) for row in rows]
    assert converged == [int(result.success.sum()) for result in results]
    # Beale's function has valleys that lead to infinity; on the other functions every start converges.
    assert [count for k, count in enumerate(converged) if k != 3] == [20] * 9


def test_portfolio(capsys):
    result, risk, targets = run("portfolio")
    assert result.success.all()
    np.testing.assert_allclose(result.x.sum(1), 1, atol=1e-6)
    assert result.x.min() >= 0
    # The multiplier of the return is the slope of the variance, which is convex: between two levels the variance rises
    # by more than the first slope says and by less than the second.
    slopes = np.asarray(result.multipliers)[:, 1].reshape(risk.shape) / 0.05
    assert (np.diff(risk, axis=1)[slopes[:, :-1] >= 0] >= -1e-6).all()
    between, slack = np.diff(risk**2, axis=1) / np.diff(targets, axis=1), 1e-3 * np.abs(slopes).max()
    assert (slopes[:, :-1] - slack <= between).all()
    assert (between <= slopes[:, 1:] + slack).all()
    assert "200 of 200 portfolios" in capsys.readouterr().out


@pytest.mark.slow
def test_arm_around_an_obstacle(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    result, targets = run("arm_around_an_obstacle", "--output", str(tmp_path))
    assert result.success.all()
    assert result.constraint_violation.max() <= 1e-6
    assert (np.asarray(result.agreed) >= 1).all()
    assert np.isfinite(targets).all()
    assert "20 of 20 reached" in capsys.readouterr().out
    assert (tmp_path / "arm.png").stat().st_size > 10_000
