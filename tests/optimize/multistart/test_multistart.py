"""The minima of a box: the known sets, honesty about what failed, counts, many problems, derivatives, and the door."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jaxcalc as jc
from jaxcalc import problems
from jaxcalc.optimize.multistart.multistart import ROUND
from jaxcalc.optimize.multistart.result import coverage
from jaxcalc.problems import GLOBAL_PROBLEMS
from tests.families import slow_but

BY_NAME = {problem.name: problem for problem in GLOBAL_PROBLEMS}
LISTED = [problem for problem in GLOBAL_PROBLEMS if problem.local is not None]
BOX = (jnp.full(2, -2.0), jnp.full(2, 2.0))
WELLS, HAIR, PLAIN, KINK, PARTLY, NOWHERE = range(6)


def wells(x, tilt):
    """Two minima, the one at x = (-1, 0) lower where tilt > 0, and a saddle between them."""
    return (x[0] ** 2 - 1) ** 2 + tilt * x[0] + (x[1] - tilt) ** 2


def landscape(x, kind, tilt):
    """One of several functions, so that they share a program."""
    forms = (
        wells,
        lambda x, _: (x[0] ** 2 - 0.01**2) ** 2 * 1e8 + x[1] ** 2,  # two minima a hair apart
        lambda x, _: jnp.maximum(jnp.sum(x**2) - 1, 0.0) ** 2,  # a plain
        # The lowest point is where the derivative jumps: no descent succeeds there.
        lambda x, _: jnp.where(x[0] > 0, (x[0] - 1) ** 2, 2 * jnp.abs(x[0] + 1) - 1) + x[1] ** 2,
        lambda x, _: jnp.sum(x - jnp.log(x)),  # not a number in three quarters of the box
        lambda x, _: jnp.log(-1 - jnp.sum(x**2)),  # nowhere a number
    )
    return jax.lax.switch(kind, forms, x, tilt)


def solved(kind: Any, tilt: Any = 0.2, **options: Any) -> Any:
    options = {"starts": 64} | options
    return jc.multistart(landscape, BOX, args=(kind, tilt), **options)


def recomputed(problem, minima):
    """What a result says of itself holds: ascending values, small gradients where it claims success."""
    values = jax.vmap(problem.fun)(minima.x)
    np.testing.assert_allclose(minima.fun, values, rtol=1e-9, atol=1e-9)
    assert np.all(np.diff(minima.fun) >= 0)
    gradient = jax.vmap(jax.grad(problem.fun))(minima.x)
    projected = np.clip(gradient, minima.x - problem.upper, minima.x - problem.lower)
    assert np.all(np.abs(projected).max(1)[np.asarray(minima.success)] <= 1.01e-5)
    assert np.all((minima.x >= problem.lower) & (minima.x <= problem.upper))
    assert np.all(np.asarray(minima.success)[1:])


@pytest.mark.parametrize(
    "problem", slow_but(LISTED[:3], [BY_NAME["six hump camel 2"]]), ids=lambda problem: problem.name
)
def test_exactly_the_known_minima(problem):
    minima = jc.multistart(problem.fun, (problem.lower, problem.upper))
    known = np.concatenate([problem.minima, problem.local])
    distance = np.abs(np.asarray(minima.x)[:, None] - known[None]).max(-1)
    assert len(minima.fun) == len(known)
    assert distance.min(0).max() < 1e-5
    assert set(minima.certificate.kind_name) == {"minimum"}
    assert int(minima.count.sum()) == int(minima.starts) == 1024
    assert int(minima.rounds) == 0
    assert float(minima.missed_probability) < 0.05
    assert float(minima.expected_minima) < len(known) + 0.5
    recomputed(problem, minima)


@pytest.mark.slow
def test_the_search_finds_what_the_sample_does_not():
    problem = BY_NAME["rastrigin 10"]
    box = problem.lower, problem.upper
    minima = jc.multistart(problem.fun, box, seed=3)
    assert float(minima.fun[0]) == pytest.approx(problem.value, abs=1e-6)
    assert int(minima.rounds) > 0
    assert int(minima.nfev) <= 200_000
    recomputed(problem, minima)
    unsearched = jc.multistart(problem.fun, box, seed=3, maxfev=0)
    assert float(unsearched.fun[0]) > problem.value + 1
    assert int(unsearched.rounds) == 0
    # There are 8^10 minima: no sample will do, and the estimates say so.
    auto = jc.multistart(problem.fun, box, seed=3, starts="auto", maxfev=80_000)
    assert int(auto.starts) == 2 * ROUND
    assert float(auto.missed_probability) > 0.999
    assert float(auto.unseen_share) > 0.9
    assert int(auto.nfev) < 85_000


@pytest.mark.slow
@pytest.mark.parametrize("problem", GLOBAL_PROBLEMS, ids=lambda problem: problem.name)
def test_global_minimum_of_every_problem(problem):
    for seed in range(2):
        minima = jc.multistart(problem.fun, (problem.lower, problem.upper), seed=seed)
        assert float(minima.fun[0]) <= problem.value + 1e-6
        recomputed(problem, minima)


def minima_of_shuberts_function():
    """Its minima inside the box and on its boundary: it is a product g(x_0) g(x_1), so the zeros of g' tell them."""
    i = np.arange(1, 6)
    g, slope, bend = (
        lambda t: np.sum(i * np.cos((i + 1) * t + i)),
        lambda t: -np.sum(i * (i + 1) * np.sin((i + 1) * t + i)),
        lambda t: -np.sum(i * (i + 1) ** 2 * np.cos((i + 1) * t + i)),
    )
    grid = np.linspace(-10, 10, 2001)
    cells = [cell for cell in itertools.pairwise(grid) if slope(cell[0]) * slope(cell[1]) < 0]
    zeros = [scipy.optimize.brentq(slope, *cell, xtol=1e-12) for cell in cells]
    inside = [(a, b) for a in zeros for b in zeros if bend(a) * g(b) > 0 and bend(b) * g(a) > 0]
    ends = (-10.0, 10.0)
    edges = [(a, b) for a in ends for b in zeros if a * slope(a) * g(b) < 0 and bend(b) * g(a) > 0]
    corners = [(a, b) for a in ends for b in ends if a * slope(a) * g(b) < 0 and b * slope(b) * g(a) < 0]
    return np.array(inside), np.array([*edges, *(edge[::-1] for edge in edges), *corners])


@pytest.mark.slow
def test_all_minima_of_shuberts_function():
    problem = BY_NAME["shubert 2"]
    minima = jc.multistart(problem.fun, (problem.lower, problem.upper), starts=2**15)
    assert int(np.sum(minima.fun < problem.value + 1e-6)) == 18
    found = {"minimum": [], "minimum at a bound": []}
    for x, kind in zip(np.asarray(minima.x), minima.certificate.kind_name, strict=True):
        found[kind].append(x)
    for of_kind, known, count in zip(found.values(), minima_of_shuberts_function(), (722, 39), strict=True):
        assert len(of_kind) == len(known) == count
        assert np.abs(np.array(of_kind)[:, None] - known).max(-1).min(0).max() < 1e-4


@pytest.mark.slow
def test_pytrees_and_one_number():
    def fun(x):
        return wells(jnp.array([x["a"], x["b"][0]]), 0.2) + (x["b"][1] - 0.5) ** 2

    lower = {"a": -2.0, "b": jnp.full(2, -2.0)}
    minima = jc.multistart(fun, (lower, {"a": 2.0, "b": 2.0}), starts=64)
    assert jax.tree.map(lambda leaf: leaf.shape, minima.x) == {"a": (2,), "b": (2, 2)}
    np.testing.assert_allclose(minima.x["b"], [[0.2, 0.5]] * 2, atol=1e-5)
    np.testing.assert_allclose(minima.x["a"], solved(WELLS).x[:, 0], atol=1e-5)
    quartic = jc.multistart(problems.quartic, (-1.0, 4.0), starts=64)
    np.testing.assert_allclose(np.sort(quartic.x), [(3 - 5**0.5) / 2, (3 + 5**0.5) / 2], atol=1e-5)


def test_a_seed_decides_everything_and_another_sample_finds_the_same():
    first, again, other = (solved(WELLS, seed=seed) for seed in (0, 0, 1))
    for left, right in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(first.x, other.x, atol=1e-5)
    assert not np.array_equal(first.x, other.x)
    box: Any = scipy.optimize.Bounds(np.full(2, -2.0), np.full(2, 2.0))  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.x, jc.multistart(landscape, box, args=(WELLS, 0.2), starts=64).x)


@pytest.mark.slow
def test_many_problems_in_one_run_are_those_of_single_runs():
    tilts = jnp.array([-0.3, 0.0, 0.2, 2.0])

    def solve(tilts, **options):
        return jc.multistart(wells, BOX, args=(tilts,), many=True, starts=64, **options)

    together = solve(tilts)
    assert [len(minima.fun) for minima in together] == [2, 2, 2, 1]
    for tilt, minima in zip(tilts, together, strict=True):
        single = solved(WELLS, tilt)
        np.testing.assert_allclose(minima.fun, single.fun, atol=1e-9)
        np.testing.assert_array_equal(np.sort(minima.count), np.sort(single.count))
        assert abs(int(minima.nfev) - int(single.nfev)) <= 0.05 * int(single.nfev)
    assert len(together) == 4
    assert together.number.tolist() == [2, 2, 2, 1]
    assert together.x.shape == (4, 2, 2)
    assert together.fun.shape == together.count.shape == together.certificate.kind.shape == (4, 2)
    assert together.starts.shape == together.expected_minima.shape == (4,)
    # The fourth problem has one minimum; its second row is none.
    assert jnp.isnan(together.x[3, 1]).all()
    assert jnp.isnan(together.fun[3, 1])
    assert int(together.count[3, 1]) == 0
    assert not together.success[3, 1]
    assert together.success.sum() == 7
    assert together.certificate.kind_name[3] == ["minimum at a bound", "not critical"]
    assert together[-1].x.shape == (1, 2)
    assert together[-1].certificate.kind_name == ["minimum at a bound"]
    assert together[1:3].number.tolist() == [2, 2]
    assert together["fun"] is together.fun
    assert together.message.splitlines()[3] == f"problem 3: {together[3].message}"
    np.testing.assert_array_equal(jax.jit(lambda minima: minima.fun[:, 0])(together), together.fun[:, 0])
    with pytest.raises(IndexError, match="no problem 4"):
        together[4]
    with pytest.raises(TypeError, match="one problem"):
        len(together[0])
    with pytest.raises(TypeError, match=r"jax\.jit"):
        jax.jit(lambda minima: minima[0].fun)(together)
    slopes = jax.grad(lambda tilts: sum(minima.fun[0] for minima in solve(tilts, gtol=1e-9)))(tilts)
    best = jnp.stack([minima.x[0] for minima in together])
    expected = best[:, 0] - 2 * (best[:, 1] - tilts)
    np.testing.assert_array_equal(best, together.x[:, 0])
    # At a tie rounding says which is the best, and may say otherwise at another gtol: the slopes there are 1 and -1.
    tie = tilts == 0
    np.testing.assert_allclose(slopes[~tie], expected[~tie], atol=1e-5)
    np.testing.assert_allclose(jnp.abs(slopes[tie]), jnp.abs(expected[tie]), atol=1e-5)


def test_a_saddle_does_not_join_the_minima_beside_it():
    starts = np.concatenate([np.zeros((2, 2)), np.random.default_rng(0).uniform(-2, 2, (62, 2))])
    minima = solved(WELLS, 0.0, starts=starts)
    np.testing.assert_allclose(np.sort(minima.x[:, 0]), [-1, 1], atol=1e-5)
    assert int(minima.count.sum()) == 64


def test_saddles_are_no_minima_and_ends_on_a_plain_are_one():
    to_saddle = np.stack([np.zeros(64), np.linspace(-2, 2, 64)], axis=1)
    only_saddle = solved(WELLS, 0.0, starts=to_saddle, maxfev=0)
    assert only_saddle.certificate.kind_name == ["saddle"]
    assert int(only_saddle.starts) == 64
    one_not = np.concatenate([to_saddle[1:], [[1.5, 0.3]]])
    minima = solved(WELLS, 0.0, starts=one_not, maxfev=0)
    np.testing.assert_allclose(minima.x, [[1.0, 0.0]], atol=1e-5)
    plain = solved(PLAIN, maxfev=0)
    assert plain.certificate.kind_name == ["degenerate"]


def test_minima_a_hair_apart_are_told_apart():
    np.testing.assert_allclose(np.sort(solved(HAIR).x[:, 0]), [-0.01, 0.01], atol=1e-5)


def test_the_lowest_value_is_kept_with_its_own_status():
    minima = solved(KINK)
    assert float(minima.fun[0]) == pytest.approx(-1, abs=1e-6)
    assert not minima.success[0]
    assert "did not succeed" in minima.message
    assert np.asarray(minima.success)[1:].all()
    nowhere = solved(NOWHERE)
    assert len(nowhere.fun) == 1
    assert jnp.isnan(nowhere.fun[0])
    assert nowhere.status[0] == jc.Status.INVALID
    partly = solved(PARTLY)
    np.testing.assert_allclose(partly.x, [[1.0, 1.0]], atol=1e-5)
    assert int(partly.count.sum()) < int(partly.starts)
    for found in (minima, partly):
        assert float(found.expected_minima) == pytest.approx(coverage(np.asarray(found.count)).expected_minima)


def test_starts_of_ones_own_need_no_box():
    starts = np.random.default_rng(0).normal(size=(30, 1)) * 3
    minima = jc.multistart(lambda x, a: a * (jnp.cos(x[0]) + 0.01 * x[0] ** 2), None, args=(1.0,), starts=starts)
    near_pi = minima.x[:2, 0]
    np.testing.assert_allclose(np.sort(np.abs(near_pi)), [near_pi.max()] * 2, atol=1e-4)
    assert np.pi > near_pi.max() > 3


def test_more_starts_until_few_minima_are_missing():
    problem = BY_NAME["six hump camel 2"]
    minima = jc.multistart(problem.fun, (problem.lower, problem.upper), starts="auto")
    assert (len(minima.fun), int(minima.starts), int(minima.rounds)) == (6, ROUND, 0)


def test_second_call_compiles_nothing(compilations):
    traced = []

    def fun(x, a):
        traced.append(1)
        return jnp.sum((x**2 - 1) ** 2) + a * jnp.sum(x)

    jc.multistart(fun, BOX, args=(0.1,), starts=64)
    before = len(traced)
    compilations.clear()
    jc.multistart(fun, BOX, args=(0.2,), starts=64, seed=1)
    assert len(traced) == before
    assert compilations == []


@pytest.mark.slow
def test_evaluations_are_counted():
    calls = []

    def fun(x):
        jax.debug.callback(lambda _: calls.append(1), x[0])
        return jnp.sum((x**2 - 1) ** 2)

    minima = jc.multistart(fun, BOX, starts=8, maxfev=0)
    jax.effects_barrier()
    # Idle lanes, padded rows and certificates evaluate too, uncounted.
    assert 8 * 3 < int(minima.nfev) < len(calls)


def test_another_number_of_starts_compiles_nothing_and_changes_no_descent(compilations):
    solved(WELLS, starts=1000)
    compilations.clear()
    found = {starts: solved(WELLS, starts=starts, maxfev=0) for starts in (999, 500, 64, 1)}
    assert compilations == []
    for starts, minima in found.items():
        assert int(minima.count.sum()) == int(minima.starts) == starts
    rows = np.array([[-1.5, 0.3], [1.9, 1.9]])
    together = solved(WELLS, starts=rows, maxfev=0)
    alone = [solved(WELLS, starts=rows[k : k + 1], maxfev=0) for k in range(2)]
    np.testing.assert_array_equal(together.x, np.concatenate([minima.x for minima in alone]))


@pytest.mark.slow
def test_derivatives_by_the_envelope_and_implicit_function_theorems():
    def best(tilt):
        return solved(WELLS, tilt, gtol=1e-9)

    x, h = best(0.3).x[0], 1e-4
    slope = jax.grad(lambda tilt: best(tilt).fun[0])(0.3)
    np.testing.assert_allclose(slope, x[0] - 2 * (x[1] - 0.3), atol=1e-8)
    np.testing.assert_allclose(slope, (best(0.3 + h).fun[0] - best(0.3 - h).fun[0]) / (2 * h), atol=1e-6)
    tangent = jax.jacfwd(lambda tilt: best(tilt).x[0])(0.3)
    np.testing.assert_allclose(tangent, (best(0.3 + h).x[0] - best(0.3 - h).x[0]) / (2 * h), atol=1e-6)


def test_single_precision():
    problem = BY_NAME["six hump camel 2"]
    box = (jnp.asarray(problem.lower, jnp.float32), jnp.asarray(problem.upper, jnp.float32))
    minima = jc.multistart(problem.fun, box, starts=256)
    assert minima.x.dtype == minima.fun.dtype == jnp.float32
    assert len(minima.fun) == 6
    np.testing.assert_allclose(minima.fun[:2], problem.value, atol=1e-5)


def two_sided(x):
    return jnp.sum(x**2)


ANYTHING: Any = 3
BAD = {
    "lower above upper": (lambda: jc.multistart(two_sided, (jnp.ones(2), -jnp.ones(2))), ValueError, "lower"),
    "no width": (lambda: jc.multistart(two_sided, (jnp.zeros(2), jnp.zeros(2))), ValueError, "below"),
    "infinite": (lambda: jc.multistart(two_sided, (jnp.zeros(2), jnp.full(2, jnp.inf))), ValueError, "finite box"),
    "one side missing": (lambda: jc.multistart(two_sided, (jnp.zeros(2), None)), TypeError, "starts of your own"),
    "no bounds": (lambda: jc.multistart(two_sided, None), TypeError, "starts of your own"),
    "pairs": (lambda: jc.multistart(two_sided, [(0, 1), (0, 1)]), TypeError, "pair"),
    "shapes": (lambda: jc.multistart(two_sided, (jnp.zeros(2), jnp.ones(3))), ValueError, "broadcast"),
    "complex": (lambda: jc.multistart(lambda x: jnp.sum(x) * 1j, BOX), TypeError, "real"),
    "vector": (lambda: jc.multistart(lambda x: x, BOX), TypeError, "one real number"),
    "method": (lambda: jc.multistart(two_sided, BOX, method="bgfs"), ValueError, "bfgs"),
    "starts": (lambda: jc.multistart(two_sided, BOX, starts=0), ValueError, "starts"),
    "word": (lambda: jc.multistart(two_sided, BOX, starts="all"), ValueError, "auto"),
    "maxfev": (lambda: jc.multistart(two_sided, BOX, maxfev=-1), ValueError, "maxfev"),
    "no args": (lambda: jc.multistart(two_sided, BOX, many=True), ValueError, "args"),
    "uneven args": (lambda: solved(jnp.ones(3, int), jnp.ones(2), many=True), ValueError, "leading axis"),
    "jit": (lambda: jax.jit(lambda a: jc.multistart(wells, BOX, args=(a,)).fun[0])(1.0), TypeError, "jax.jit"),
    "not a function": (lambda: jc.multistart(ANYTHING, BOX), TypeError, "function"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, words = BAD[name]
    with pytest.raises(error, match=words):
        call()


def test_coverage_is_the_posterior_of_boender_and_rinnooy_kan():
    """The chance that all are found, and the expected number, summed over all numbers of minima."""
    starts, seen = 40, 5
    k = np.arange(seen, 200_000)
    # P(seen | k, starts) times a flat prior, up to a factor: k! (k - 1)! / ((k - seen)! (starts + k - 1)!)
    from scipy.special import gammaln

    log = gammaln(k + 1) + gammaln(k) - gammaln(k - seen + 1) - gammaln(starts + k)
    posterior = np.exp(log - log.max())
    posterior /= posterior.sum()
    found = coverage(np.array([20, 10, 5, 4, 1]))
    np.testing.assert_allclose(1 - found.missed_probability, posterior[0], rtol=1e-6)
    np.testing.assert_allclose(found.expected_minima, np.sum(k * posterior), rtol=1e-6)
    assert found.unseen_share == max(1 / 40, 30 / (40 * 39))
    assert coverage(np.array([1])).missed_probability == 1
    assert not coverage(np.ones(30, int)).is_enough
    assert coverage(np.full(4, 256)).is_enough


@pytest.mark.slow
def test_shared_data_and_scales():
    """What problems share is not repeated; a scale is that of the descents; derivatives pass to both."""

    def wells(x, tilt, width):
        return jnp.sum(((x / width) ** 2 - 1) ** 2) + tilt * x[0] / width[0]

    width = jnp.array([1e-3, 1e3])
    box = (-2 * width, 2 * width)
    minima = jc.multistart(wells, box, 0.2, shared=(width,), starts=64, scale=width, gtol=1e-4)
    assert len(minima.fun) == 4
    np.testing.assert_allclose(np.abs(minima.x[:, 1] / width[1]), 1, atol=1e-3)
    tilts = jnp.array([0.2, -0.2])
    several = jc.multistart(wells, box, (tilts,), shared=(width,), starts=64, scale=width, many=True, gtol=1e-4)
    np.testing.assert_allclose([found.x[0, 0] / width[0] for found in several], [-1.024, 1.024], atol=1e-3)
    lowest = jax.grad(lambda w: jc.multistart(wells, box, 0.2, shared=(w,), starts=64, gtol=1e-4).fun[0])(width)
    assert jnp.isfinite(lowest).all()
