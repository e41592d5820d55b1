"""The examples run in their short form, and their results are right."""

import ast
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="every example draws, with the extra `plots`")

EXAMPLES = Path(__file__).parents[2] / "examples"
# What takes longer cold than a few seconds is left to `make test-all`.
CHAPTERS = ("slope_and_tangent", "differentiation_rules", "area_and_antiderivative", "gradient_field")
CHAPTERS += ("peaks_and_valleys", "descent_on_the_quartic", "network_cost")
RESEARCH = (
    "arm_around_an_obstacle",
    "bootstrap",
    "gaussian_process",
    "lasso",
    "masked_data",
    "ode_parameters",
    "pixels_to_maps",
    "portfolio",
)
RESEARCH += ("ragged_subjects", "ridge_penalties", "streams", "ten_functions_at_once")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example in this process, whose compilation cache makes it quicker; returns its names and its output."""

    def ran(name):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--short", "--output", str(tmp_path)])
        names = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        printed = capsys.readouterr().out
        (picture,) = tmp_path.glob("*.png")
        assert picture.stat().st_size > 10_000
        assert printed.rstrip().endswith(f"picture: {picture}")
        return names, printed

    return ran


def test_all_examples_are_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*CHAPTERS, *RESEARCH}
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {*CHAPTERS, *RESEARCH} <= tests


@pytest.mark.parametrize("name", [*CHAPTERS, *RESEARCH])
def test_it_is_a_short_script_of_cells(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) < 80
    assert text.count("\n# %%") >= 3
    assert f"python examples/{name}.py" in (ast.get_docstring(ast.parse(text)) or "").replace("\n", " ")


def test_slope_and_tangent(run):
    names, printed = run("slope_and_tangent")
    assert names["tangent_slope"] == pytest.approx(0.75 * 1.5**2 - 1)
    assert "the slope between x = 1 and x = 4 is 2" in printed
    assert "-1 to the left and 1 to the right" in printed


def test_differentiation_rules(run):
    names, _ = run("differentiation_rules")
    assert max(names["differences"].values()) < 1e-12
    assert names["slope"](0.0) == 0.25


@pytest.mark.slow
def test_area_and_antiderivative(run):
    names, printed = run("area_and_antiderivative")
    np.testing.assert_allclose(names["area"].value, [-0.9, -19 / 30, 11 / 30, -19 / 30], atol=1e-12)
    assert names["bell"].value == pytest.approx(np.pi**0.5, abs=1e-12)
    assert "F(0) = 5 = C, F(3) = 11, F'(3) = 2" in printed


def test_gradient_field(run):
    names, _ = run("gradient_field")
    np.testing.assert_allclose(names["partials"], [10, 4, 8])
    np.testing.assert_allclose(names["slope"], [10, 4, 8])
    assert names["steepest"] == pytest.approx(180**0.5)


def test_peaks_and_valleys(run):
    names, printed = run("peaks_and_valleys")
    points = names["points"]
    assert points.kind == ["endpoint maximum", "minimum", "maximum", "minimum", "endpoint maximum"]
    np.testing.assert_allclose(points.x[1:4], [(3 - 5**0.5) / 2, 1.5, (3 + 5**0.5) / 2], atol=1e-12)
    assert points.certain
    assert "infimum -1, supremum inf" in printed
    assert "x^3 at 0: inflection" in printed


def test_descent_on_the_quartic(run):
    names, printed = run("descent_on_the_quartic")
    path = names["path"]
    assert path.jac[0] == 1.1875
    assert path.x[1] == 1.190625
    assert path.x[-1] == pytest.approx((3 - 5**0.5) / 2, abs=1e-6)
    assert "1.190625" in printed
    assert "learning rate 0.5: diverges" in printed
    assert printed.count("off after 20 steps") == 2


@pytest.mark.slow
def test_network_cost(run):
    names, _ = run("network_cost")
    for curve in names["curves"].values():
        assert np.median(curve[:, -1]) < np.median(curve[:, 0]) - 0.02
    assert names["value"] == pytest.approx(names["cost"](names["params"], (names["points"], names["inside"])))


def test_bootstrap(run):
    pytest.importorskip("sklearn")
    names, printed = run("bootstrap")
    fits = names["fits"]
    assert fits.success.all()
    assert np.abs(fits.jac).max() <= 1e-5
    # In every resample a larger radius makes a malignant tumour more probable.
    assert fits.x[:, 1].min() > 2
    assert "100 of 100 SUCCESS" in printed
    assert "mean radius        from +" in printed


@pytest.mark.slow
def test_gaussian_process(run):
    names, _ = run("gaussian_process")
    assert names["found"].success.all()
    assert 0.5 < np.median(names["ratio"]) < 2


def test_lasso(run):
    names, _ = run("lasso")
    assert names["path"].success.all()
    w, penalties, slope = names["w"], names["penalties"], names["slope"]
    assert (slope <= penalties[:, None] + 1e-4).all()
    held = w != 0
    np.testing.assert_allclose(slope[held], np.broadcast_to(penalties[:, None], w.shape)[held], atol=1e-4)
    assert not held[0].any()
    assert held[-1, :4].all()


@pytest.mark.slow
def test_masked_data(run):
    names, printed = run("masked_data")
    assert names["fit"].success.all()
    np.testing.assert_allclose(np.median(names["fit"].popt, axis=0), [10, 2], rtol=0.05)
    assert "[nan nan]" in printed


def test_ode_parameters(run):
    names, _ = run("ode_parameters")
    assert names["fits"].success.all()
    assert np.abs(names["off"]).max() < 0.15


@pytest.mark.slow
def test_pixels_to_maps(run):
    names, _ = run("pixels_to_maps")
    assert names["fit"].success.all()
    assert 0.85 < np.mean(np.abs(names["deviation"]) < 2) < 0.95  # 0.91 by Student's distribution


@pytest.mark.slow
def test_portfolio(run):
    names, printed = run("portfolio")
    result, risk, targets = names["result"], names["risk"], names["targets"]
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
    assert "200 of 200 portfolios" in printed


@pytest.mark.slow
def test_ragged_subjects(run):
    names, _ = run("ragged_subjects")
    assert names["fits"].success.all()
    assert np.corrcoef(np.log(names["rates"]), np.log(names["truth"][:, 0]))[0, 1] > 0.6


@pytest.mark.slow
def test_ridge_penalties(run):
    pytest.importorskip("sklearn")
    names, printed = run("ridge_penalties")
    # One common penalty is a special case of ten penalties, and the best of as many evaluations on a grid is higher.
    assert names["chosen"].fun < names["losses"].min() - 0.005
    assert len(names["losses"]) == names["chosen"].nfev
    assert "ten, by descent" in printed


@pytest.mark.slow
def test_streams(run):
    pytest.importorskip("zarr")
    names, printed = run("streams")
    assert "1,000 fits: {'SUCCESS': 1000}" in printed
    # The errors of the data are no random numbers here.
    assert np.abs(names["rates"] - (0.5 + 1.5 * np.arange(1000) / 1000)).max() < 0.05


@pytest.mark.slow
def test_ten_functions_at_once(run):
    names, printed = run("ten_functions_at_once")
    results = names["results"]
    lowest = [result.fun[result.success].min() for result in results]
    np.testing.assert_allclose(lowest, [-1, 0, 0, 0, 0, 0, 0, 0, 0, 3], atol=1e-8)
    rows = [row for row in printed.splitlines()[1:] if not row.startswith("picture")]
    assert [int(row[16:].split()[0]) for row in rows] == [1, 10, 2, 2, 2, 4, 4, 3, 6, 3]
    converged = [int(row[16:].split()[1]) for row in rows]
    assert converged == [int(result.success.sum()) for result in results]
    # Beale's function has valleys that lead to infinity; on the other functions every start converges.
    assert [count for k, count in enumerate(converged) if k != 3] == [20] * 9


@pytest.mark.slow
def test_arm_around_an_obstacle(run):
    names, printed = run("arm_around_an_obstacle")
    result = names["result"]
    assert result.success.all()
    assert result.constraint_violation.max() <= 1e-6
    assert (np.asarray(result.agreed) >= 1).all()
    assert "20 of 20 reached" in printed
