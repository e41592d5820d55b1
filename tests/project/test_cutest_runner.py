"""The rule by which solvers are scored on CUTEst, with problems and solvers made up for it; no sif2jax needed."""

import json
import os
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("rich", reason="the tables are in the extra `cli`")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the installed package

from benchmarks import cutest, cutest_score, cutest_solvers  # noqa: E402
from benchmarks.cutest_problems import Problem  # noqa: E402
from benchmarks.cutest_solvers import Outcome, Settings  # noqa: E402

CENTRE = np.array([1.0, 2.0])


def bowl(x):
    return jnp.sum((x - CENTRE) ** 2)


FREE = Problem("BOWL", bowl, np.zeros(2))
BOXED = Problem("BOXED", bowl, np.zeros(2), np.full(2, -1.0), np.array([0.5, np.inf]))


def row(solver="jaxcalc-bfgs", problem="P", value: float | None = 0.0, gradient=0.0, **more):
    figures = {"value": value, "gradient": gradient, "gradient at start": 9.0, "rounding": 0.0, "gtol": 1e-5}
    known = {"kind": "unconstrained", "n": 2, "evaluations": 5, "seconds": 0.1, "status": "SUCCESS", "claims": True}
    return {"problem": problem, "solver": solver} | known | figures | more


@pytest.mark.parametrize(
    ("value", "gradient", "best", "solved"),
    [
        (0.0, 0.99e-4, 0.0, True),  # allowed: 1e-5 (1 + 9)
        (0.0, 1.01e-4, 0.0, False),
        (0.9e-6, 0.0, 0.0, True),
        (1.1e-6, 0.0, 0.0, False),
        (100.00009, 0.0, 100.0, True),  # allowed: 1e-6 |best|
        (-99.9998, 0.0, -100.0, False),
        (None, None, 0.0, False),
    ],
)
def test_solved_is_flat_and_as_low_as_the_best(value, gradient, best, solved):
    assert cutest_score.is_solved(row(value=value, gradient=gradient), best) is solved


def test_row_of_a_solver_that_hung_is_not_solved():
    assert not cutest_score.is_solved({"problem": "P", "status": "hung"}, 0.0)


def test_best_is_over_all_solvers_and_finite_values():
    rows = [row(value=3.0), row("scipy-bfgs", value=-1.0, gradient=1.0), row("other", value=None), row(problem="Q")]
    assert cutest_score.best_values(rows) == {"P": -1.0, "Q": 0.0}


@pytest.mark.parametrize(
    ("more", "dishonest"),
    [
        ({"gradient": 1.009e-5}, False),
        ({"gradient": 1.02e-5}, True),
        ({"gradient": 1.02e-5, "rounding": 1e-6}, False),
        ({"gradient": 1.0, "claims": False}, False),
        ({"gradient": None}, True),
    ],
)
def test_a_claim_is_checked_against_the_recomputed_gradient(more, dishonest):
    assert cutest_score.is_dishonest(row(**more)) is dishonest


def test_projected_gradient_is_cut_off_at_the_bounds():
    x = np.array([0.5, 2.0])
    assert FREE.projected(x, FREE.evaluate(x)[1]) == 1.0
    assert BOXED.projected(x, BOXED.evaluate(x)[1]) == 0.0
    assert np.isnan(BOXED.projected(x, np.array([np.nan, 0.0])))
    assert (FREE.kind, BOXED.kind) == ("unconstrained", "bounded")


@pytest.mark.parametrize("name", ["jaxcalc-bfgs", "scipy-bfgs", "scipy-trust-exact"])
def test_solvers_solve_and_count(name):
    found = cutest.measured(FREE, name, 1e-5, 10.0)
    assert cutest_score.is_solved(found, 0.0)
    assert 2 <= found["evaluations"] <= 20
    assert not cutest_score.is_dishonest(found)
    assert json.loads(json.dumps(found)) == found


def test_bounded_solver_ends_inside_the_box():
    found = cutest.measured(BOXED, "scipy-lbfgs", 1e-5, 10.0)
    assert cutest_score.is_solved(found, 0.25)


def test_time_that_is_up_returns_the_best_point_seen(monkeypatch):
    outcome = cutest_solvers.run_scipy("BFGS", {}, "gtol", FREE, Settings(seconds=-1.0))
    assert (outcome.status, outcome.evaluations) == ("time is up", 0)
    np.testing.assert_array_equal(outcome.x, FREE.x0)


def test_false_claim_of_a_solver_is_found(monkeypatch):
    liar = (("unconstrained",), lambda problem, settings: Outcome(problem.x0, 1, 0.0, "SUCCESS", claims=True))
    monkeypatch.setitem(cutest_solvers.SOLVERS, "liar", liar)
    assert cutest_score.is_dishonest(cutest.measured(FREE, "liar", 1e-5, 1.0))


def test_profile_is_work_over_the_least_work(tmp_path):
    rows = [row(problem="P", evaluations=6, hessians=3), row("scipy-bfgs", "P", evaluations=4, hessians=0)]
    rows += [row(problem="Q", evaluations=5, hessians=0), row("scipy-bfgs", "Q", value=1.0, hessians=0)]
    rows += [row(problem="R", gradient=1.0, hessians=0), row("scipy-bfgs", "R", gradient=1.0, hessians=0)]
    found = cutest_score.profile(cutest_score.Score.of(rows, "unconstrained"))
    np.testing.assert_array_equal(found["jaxcalc-bfgs"], [12 / 4, 1, np.inf])  # n = 2 evaluations for each Hessian
    np.testing.assert_array_equal(found["scipy-bfgs"], [1, np.inf, np.inf])
    pytest.importorskip("matplotlib", reason="the picture is in the extra `plots`")
    cutest_score.draw_profile(rows, str(tmp_path / "profile.png"))
    assert (tmp_path / "profile.png").stat().st_size > 10_000


def test_score_medians_and_what_is_lost():
    rows = [row(problem=name, evaluations=k) for k, name in enumerate("PQR", 10)]
    rows += [row("scipy-bfgs", name, evaluations=k, value=-1.0 if name == "R" else 0.0) for k, name in enumerate("PQR")]
    score = cutest_score.Score.of(rows, "unconstrained")
    assert score.solved == {"jaxcalc-bfgs": {"P", "Q"}, "scipy-bfgs": {"P", "Q", "R"}}
    assert score.median("jaxcalc-bfgs", score.common("jaxcalc-bfgs", "scipy-bfgs")) == 10.5
    assert score.lost("jaxcalc-bfgs") == {"R": ["scipy-bfgs"]}
    assert cutest_score.Score.of(rows, "bounded").rows == {}


def test_file_of_an_interrupted_run_is_read_and_the_later_row_counts(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row()), json.dumps(row(evaluations=7)), json.dumps(row(problem="Q"))[:30]]
    path.write_text("\n".join(lines))
    assert [found["evaluations"] for found in cutest.read(str(path))] == [7]
    assert cutest.read(str(tmp_path / "none")) == []


def test_selection_by_name_kind_and_number():
    problems = {"A": {"kind": "bounded"}, "B": {"kind": "unconstrained"}, "C": {"kind": "bounded"}}
    assert list(cutest.selected(problems, None, "bounded", None)) == ["A", "C"]
    assert list(cutest.selected(problems, ["B", "C"], None, 1)) == ["B"]
    with pytest.raises(SystemExit, match="NOTHING"):
        cutest.selected(problems, ["NOTHING"], None, None)


def answer_or_fail(connection, cache):
    while True:
        task = connection.recv()[0]
        if task == "hang":
            time.sleep(60)
        if task == "die":
            os._exit(1)
        connection.send({"status": task})


def test_worker_survives_a_hang_and_a_crash():
    worker = cutest.Worker(None, answer_or_fail)
    try:
        assert worker.measure(("die",), 60)["status"] == "died"
        assert worker.measure(("fine",), 60)["status"] == "fine"
        assert worker.measure(("hang",), 0.1)["status"] == "hung"
    finally:
        worker.close()


def test_tables_are_printed(capsys):
    rows = [row(value=1.0), row("scipy-bfgs"), {**row("scipy-cg"), "value": None, "gradient": None}]
    cutest_score.show(rows)
    printed = capsys.readouterr().out
    assert "1 problems that SciPy solves" in printed
    assert "scipy-bfgs" in printed
