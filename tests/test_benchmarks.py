"""The benchmark suite runs, and what makes it fair does what it says."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("optimistix", reason="the peers are in the extra `bench`")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the installed package

from benchmarks import ENTRIES, __main__, entry, fairness, timing  # noqa: E402
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


def test_stragglers_are_one_in_a_hundred():
    from benchmarks.stragglers import one_in_a_hundred

    x0, (curvature,) = one_in_a_hundred(1_000)
    assert x0.shape == (1_000, 4)
    assert int(jnp.sum(curvature == 1e6)) == 10
    assert float(rosenbrock(x0[0], curvature[0])) > 0


@pytest.mark.slow
def test_suite_runs_end_to_end(tmp_path):
    path = tmp_path / "timings.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    content = json.loads(path.read_text())
    assert len(content["entries"]) == len(ENTRIES)
    for measured in content["entries"]:
        for row in measured["rows"]:
            assert len(row["timing"]["seconds"]) >= 2
            assert row["timing"]["first"] > 0
    for ratio in (ratio for measured in content["entries"] for ratio in measured["ratios"]):
        assert ratio["figure"] > 0
        assert ratio["name"] in done.stdout
