"""The benchmark suite runs, and what makes it fair does what it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("optimistix", reason="the peers are in the extra `bench`")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the installed package

from benchmarks import ENTRIES, __main__, entry, fairness, markdown, measures, timing  # noqa: E402
from jaxcalc.plots import comparisons  # noqa: E402
from jaxcalc.problems import rosenbrock  # noqa: E402


def quadratic(x, centre):
    return jnp.sum((x - centre) ** 2)


def test_share_solved_is_recomputed_at_x():
    centre = jnp.arange(4.0)
    # The gradient is 2 (x - centre): solved, just solved, just not solved, NaN.
    x = (centre + jnp.array([0.0, 0.5e-5, 0.6e-5, jnp.nan]))[:, None]
    assert fairness.solved_share(quadratic, x, (centre,)) == 0.5
    assert fairness.solved_share(quadratic, x, (centre,), gradient=1e-4) == 0.75


def test_every_component_of_the_gradient_counts():
    x = jnp.array([[0.0, 0.0, 1e-3]])
    assert fairness.solved_share(quadratic, x, (jnp.zeros(1),)) == 0.0


def test_peer_and_scipy_solve_what_they_are_given():
    from benchmarks import peers

    x0, centre = jnp.zeros((5, 2)), jnp.arange(5.0)
    for block in (None, 2):
        x = peers.optimistix_bfgs(quadratic, block)(x0, (centre,), 1e-8)
        np.testing.assert_allclose(x, jnp.stack([centre, centre], axis=1), atol=1e-6)
    x = peers.scipy_bfgs(quadratic, x0, (centre,))()
    np.testing.assert_allclose(x, jnp.stack([centre, centre], axis=1), atol=1e-5)


def test_search_stops_at_the_loosest_tolerance_that_solves_enough():
    asked = []

    def share(tolerance):
        asked.append(tolerance)
        return {1e-3: 0.2, 1e-4: 0.95, 1e-5: 0.9, 1e-6: 1.0}[tolerance]

    found = fairness.loosest_tolerance(share, 0.9, (1e-6, 1e-3, 1e-5, 1e-4))
    assert (found.tolerance, found.share, found.enough) == (1e-4, 0.95, True)
    assert asked == [1e-3, 1e-4] == list(found.tried)


def test_search_that_never_gets_there_says_so_and_takes_the_loosest_of_the_best():
    shares = {1e-3: 0.2, 1e-4: 0.8, 1e-5: 0.8, 1e-6: 0.7}
    found = fairness.loosest_tolerance(shares.__getitem__, 0.9, tuple(shares))
    assert (found.tolerance, found.share, found.enough) == (1e-4, 0.8, False)


def test_tolerances_are_half_decades_from_loose_to_tight():
    steps = np.diff(np.log10(fairness.TOLERANCES))
    np.testing.assert_allclose(steps, -0.5)
    assert fairness.TOLERANCES[0] == 1e-3


def test_contestants_run_in_turn_and_first_calls_apart():
    calls = []
    contestants = {name: lambda name=name: calls.append(name) for name in "AB"}
    timings, _ = timing.interleaved(contestants, 3)
    assert calls == list("ABABABAB")
    assert all(len(taken.seconds) == 3 for taken in timings.values())


@pytest.mark.parametrize(("at_most", "target", "reached"), [(False, 3, True), (True, 3, False), (False, None, None)])
def test_ratio_knows_whether_its_target_is_reached(at_most, target, reached):
    assert entry.Ratio("a figure", 4.0, target, at_most).reached is reached


def test_times_faster_compares_medians_of_problems_per_second():
    ours = entry.Row("ours", 100, timing.Timing(9.0, [1.0, 1.0, 50.0]))
    theirs = entry.Row("theirs", 10, timing.Timing(9.0, [2.0, 2.0, 2.0]))
    assert entry.times_faster(ours, theirs, "a figure").figure == 20.0


def test_unknown_entry_is_refused():
    with pytest.raises(SystemExit):
        __main__.main(["--only", "nothing"])


FACTS = {
    "device": "cpu: cpu",
    "processor": "A Processor",
    "cores pinned": [1],
    "load": 0.5,
    "dtype": "float64",
    "python": "3.11.7",
    "versions": {"jaxcalc": "1.0", "jax": "0.10.2"},
    "date": "2026-11-25T12:00:00+00:00",
}
ROWS = [
    entry.Row("ours", 2_000, timing.Timing(3.0, [0.5, 0.25, 1.0]), solved=0.9996),
    entry.Row("theirs", 40, timing.Timing(0.125, [2.0, 2.0, 2.0])),
]
RATIOS = [entry.Ratio("times as fast", 200.0, 300), entry.Ratio("first call", 24.0)]
MADE_UP = entry.Entry("digits", "2,000 problems", ROWS, RATIOS, ["Theirs is a sample."])
SECTION = """\
cpu: cpu (A Processor), pinned to core [1], float64; \
Python 3.11.7, jaxcalc 1.0, jax 0.10.2; load average 0.5 at the start, 2026-11-25T12:00:00+00:00

2,000 problems:

| contestant | problems | first call s | median s | problems/s | solved % |
| --- | --- | --- | --- | --- | --- |
| ours | 2,000 | 3.00 | 0.5000 | 4,000 | 99.96 |
| theirs | 40 | 0.12 | 2.0000 | 20 |  |

| figure | measured | target | reached |
| --- | --- | --- | --- |
| times as fast | 200.00 | at least 300 | NO |
| first call | 24.00 |  |  |

* Theirs is a sample."""
PAGE = """\
# A page

<!-- suite: mapped -->
An old table of mapped.
<!-- end of suite -->

Text between.

<!-- suite: digits -->

An old table of digits.
<!-- end of suite -->
The last line"""


def test_section_has_the_machine_the_rows_the_figures_and_the_notes():
    assert markdown.section(FACTS, MADE_UP) == SECTION


def test_section_without_ratios_and_notes_is_the_machine_and_the_rows():
    alone = entry.Entry("digits", "2,000 problems", ROWS)
    assert markdown.section(FACTS, alone) == SECTION.partition("\n\n| figure")[0]


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown.table([{"figure": "|x|"}]).splitlines()[-1] == r"| \|x\| |"


def test_written_section_replaces_that_between_its_markers_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for _ in range(2):  # the second time changes nothing
        markdown.write(str(page), FACTS, MADE_UP)
        assert page.read_text() == PAGE.replace("\nAn old table of digits.", SECTION)


def test_missing_markers_are_appended_under_a_heading():
    text = markdown.with_section(PAGE, "sgd_step", "A table.")
    assert text == f"{PAGE}\n\n## sgd_step\n\n<!-- suite: sgd_step -->\nA table.\n<!-- end of suite -->\n"
    assert markdown.with_section("", "sgd_step", "A table.") == text.removeprefix(f"{PAGE}\n\n")


@pytest.mark.parametrize("page", [PAGE.rpartition("<!-- end")[0], PAGE.replace("<!-- end of suite -->", "", 1)])
def test_section_without_an_end_is_refused_before_the_run(page, tmp_path, capsys):
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(SystemExit):
        __main__.main(["--markdown", str(path)])
    assert "has no end; add the line <!-- end of suite -->" in capsys.readouterr().err
    assert path.read_text() == page


def test_file_that_cannot_be_written_is_refused_before_the_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--markdown", str(tmp_path / "nowhere" / "page.md")])
    assert "argument --markdown: " in capsys.readouterr().err


def test_figures_of_a_quick_run_are_not_written_into_a_page(tmp_path, capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--quick", "--markdown", str(tmp_path / "page.md")])
    assert "argument --markdown: not allowed with argument --quick" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_performance_page_has_a_section_for_every_entry():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert sorted(re.findall("<!-- suite: (.*) -->", text)) == sorted(ENTRIES)
    for name in ENTRIES:
        markdown.with_section(text, name, "")  # raises where a section has no end


def test_stragglers_are_one_in_a_hundred():
    from benchmarks.stragglers import one_in_a_hundred

    x0, (curvature,) = one_in_a_hundred(1_000)
    assert x0.shape == (1_000, 4)
    assert int(jnp.sum(curvature == 1e6)) == 10
    assert float(rosenbrock(x0[0], curvature[0])) > 0


def occupancy_by_hand(evaluations, width):
    """The engine's loop, one evaluation after the other."""
    idle, queue, left, made = max(1, int(0.08 * width)), list(evaluations), [0] * width, 0
    while queue or any(left):
        for lane in range(width):
            if not left[lane] and queue:
                left[lane] = queue.pop(0)
        enough = width - idle if queue else 0
        while sum(map(bool, left)) > enough:
            left, made = [max(0, k - 1) for k in left], made + width
    return sum(evaluations) / made


@pytest.mark.parametrize(("count", "width"), [(1, 4), (7, 8), (40, 4), (100, 16), (300, 64)])
def test_occupancy_is_that_of_the_loop_of_the_engine(count, width):
    evaluations = np.random.default_rng(count).integers(1, 50, count)
    assert measures.occupancy(evaluations, width) == pytest.approx(occupancy_by_hand(evaluations, width))


def test_performance_profile():
    profiles = comparisons.profile({"A": [1.0, 2.0, 4.0], "B": [2.0, 1.0, float("inf")]})
    assert profiles == {"A": ([1, 1, 2], [1 / 3, 2 / 3, 1]), "B": ([1, 2], [1 / 3, 2 / 3])}


@pytest.mark.slow
def test_a_tiny_sweep_by_the_command_and_its_comparison(tmp_path, monkeypatch, capsys):
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from jaxcalc.command import cli

    monkeypatch.setattr(timing, "pin_to_one_core", lambda: None)
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    command = ["bench", "--quick", "--only", "sweep", "--json", str(files[0])]
    done = CliRunner().invoke(cli.application(), command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    content = json.loads(files[0].read_text())
    assert content["machine"]["device"].startswith("cpu")
    rows = content["entries"][0]["rows"]
    assert {(row["dtype"], row["problems"], row["lanes"]) for row in rows} == {
        (dtype, 16, lanes) for dtype in ("float32", "float64") for lanes in (None, 8)
    }
    for row in rows:
        assert row["solved"] > 0.9
        assert row["median_evaluations"] > 5
        assert row["overhead"] > 0
        assert row["peak_bytes"] > 2**20
        assert (row["occupancy"] is None) if row["lanes"] is None else (0.2 < row["occupancy"] <= 1)
        row["problems per second"] *= 2
    files[1].write_text(json.dumps(content))
    page = tmp_path / "page.html"
    assert __main__.main(["--compare", *map(str, files), "--html", str(page)]) == 0
    assert capsys.readouterr().out.count("2.00") >= len(rows)
    text = page.read_text()
    assert text.count("<svg") == 3
    assert text.count("<tr>") == 1 + len(rows)


def test_comparing_what_is_no_run_is_refused(tmp_path, capsys):
    (tmp_path / "other.json").write_text("{}")
    assert __main__.main(["--compare", str(tmp_path / "other.json"), str(tmp_path / "none.json")]) == 2
    assert "no file that --json wrote" in capsys.readouterr().out


@pytest.mark.slow
def test_suite_runs_end_to_end(tmp_path):
    path = tmp_path / "timings.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    content = json.loads(path.read_text())
    assert [measured["name"] for measured in content["entries"]] == list(ENTRIES)
    for measured in content["entries"]:
        for row in measured["rows"]:
            assert len(row["timing"]["seconds"]) >= 2
            assert row["timing"]["first"] > 0
    for ratio in (ratio for measured in content["entries"] for ratio in measured["ratios"]):
        assert ratio["figure"] > 0
        assert ratio["name"] in done.stdout
