"""Critical points: complete and certain on the battery, with the right kinds; uncertain, with reasons, elsewhere."""

import math
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcalc.calculus.critical_points import critical_points

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks/ is not part of the installed package

from benchmarks.critical_points import BATTERY, by_jaxcalc, missing_and_spurious


@pytest.mark.parametrize("case", BATTERY, ids=lambda case: case.name)
def test_battery_is_complete_and_certain(case):
    x, kinds, certain = by_jaxcalc(case)
    assert missing_and_spurious(case, x) == (0, 0)
    assert kinds == case.kinds
    assert certain


def square_by_a_loop(x):
    return lax.while_loop(lambda state: state[1] < 1, lambda state: (state[0] * x, state[1] + 1), (x, 0))[0]


UNCERTAIN = {  # f, interval, points inside with kinds, a word of the reason
    "kink": (jnp.abs, (-1, 2), [(0.0, "minimum")], "kink"),
    "pole": (lambda x: 1 / x, (-1, 2), [], "pole"),
    "jump": (lambda x: jnp.where(x > 0.5, x - 1, x), (0, 1), [], "jump"),
    "constant": (lambda x: 3.0 + 0 * x, (0, 1), [], "throughout"),
    "constant in part": (lambda x: jnp.maximum(x, 0.0) ** 2, (-1, 1), [], "throughout"),
    "domain": (jnp.sqrt, (-1, 1), [], "not defined"),
    "no bounds": (lambda x: jax.scipy.special.i0(x - 0.5), (-1, 3), [(0.5, "minimum")], "bessel"),
    "a loop": (lambda x: square_by_a_loop(x - 0.3), (-1, 2), [(0.3, "minimum")], "while"),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_says_why_it_is_not_certain(name):
    f, interval, points, word = UNCERTAIN[name]
    found = critical_points(f, *interval)
    assert not found.certain
    assert any(word in reason for reason in found.reasons), found.reasons
    inner = [k for k, kind in enumerate(found.kind) if kind in ("minimum", "maximum", "inflection")]
    np.testing.assert_allclose(found.x[inner], [x for x, _ in points], atol=1e-10)
    assert [found.kind[k] for k in inner] == [kind for _, kind in points]


KINK = ", where f' changes sign"
KINDS = {  # f, interval, points inside with kinds, infimum, supremum, numbers of global points, the reason
    "repeated zeros, whole line": (lambda x: (x**2 - 1) ** 4, (-math.inf, math.inf),
        [(-1, "minimum"), (0, "maximum"), (1, "minimum")], (0, math.inf), (2, 0), ""),
    "four equal minima": (lambda x: (x**2 - 1) ** 4 * (x**2 - 2) ** 4, (-10, 10),
        [(-math.sqrt(2), "minimum"), (-math.sqrt(1.5), "maximum"), (-1, "minimum"), (0, "maximum"), (1, "minimum"),
         (math.sqrt(1.5), "maximum"), (math.sqrt(2), "minimum")], (0, 98**4 * 99**4), (4, 2), ""),
    "minima that differ by 2e-7": (lambda x: (x**2 - 1) ** 2 + 1e-7 * x, (-2, 2),
        [(-1 - 1.25e-8, "minimum"), (2.5e-8, "maximum"), (1 - 1.25e-8, "minimum")],
        (-1e-7 - 6.25e-16, 9 + 2e-7), (1, 1), ""),
    "high order, too small for floats": (lambda x: x**40, (-1, 1), [(0, "minimum")], (0, 1), (1, 2), ""),
    "a float as a whole exponent": (lambda x: x**2.0, (-1, 2), [(0, "minimum")], (0, 4), (1, 1), ""),
    "no point of a removable singularity": (lambda x: (1 - jnp.cos(x)) / x, (-1, 2), [], (math.nan, math.nan), (0, 0),
        "f' cannot be told from 0 from -4.2"),
    "values beside a jump": (lambda x: x - jnp.sign(x), (-1, 1), [], (-1, 1), (0, 0), "f jumps near 0"),
    "a jump at no short number": (lambda x: jnp.where(x > math.pi, x - 4, x), (0, 5), [], (math.pi - 4, math.pi),
        (0, 0), "f jumps near 3.141592654"),
    "a flat bottom": (lambda x: jnp.maximum(jnp.abs(x), 0.5), (-3, 3), [], (0.5, 3), (0, 2),
        "throughout from -0.5 to 0.5"),
    "a flat side": (lambda x: jax.nn.relu(-x), (-1, 1), [], (0, 1), (1, 1), "f has a kink near 0"),
    "poles of a logarithm": (lambda x: -jnp.log(jnp.abs(jnp.cos(x))), (0, 5), [(math.pi, "minimum")], (0, math.inf),
        (2, 0), "f has a pole near 1.570796327"),
    "a cusp": (lambda x: jnp.abs(x) ** (2 / 3), (-1, 1), [(0, "minimum")], (0, 1), (1, 2), "kink near 0" + KINK),
    "a kink at no short number": (lambda x: jnp.abs(x - math.pi), (0, 4), [(math.pi, "minimum")], (0, math.pi), (1, 1),
        "kink near 3.141592654" + KINK),
    "kinks that rounding spreads": (lambda x: jnp.abs(x**3 - x), (-1.5, 1.5), [(-1, "minimum"),
        (-1 / math.sqrt(3), "maximum"), (0, "minimum"), (1 / math.sqrt(3), "maximum"), (1, "minimum")], (0, 1.875),
        (3, 2), "kink near -1" + KINK),
    "an isolated value": (lambda x: jnp.where(x == 0.5, 9.0, x**2), (-1, 1), [(0, "minimum")], (0, 9), (1, 0),
        "jumps near 0.5"),
    "more points than can be listed": (jnp.sin, (-math.inf, math.inf), None, (-1, 1), None,
        "more points than can be listed"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_facts_of_every_kind(name):
    f, interval, points, bounds, count, reason = KINDS[name]
    found = critical_points(f, *interval)
    np.testing.assert_allclose([found.infimum, found.supremum], bounds, rtol=1e-12, atol=1e-15)
    assert found.certain == (not reason)
    assert any(reason in sentence for sentence in found.reasons or [""]), found.reasons
    if points is None:
        return
    inner = [k for k, kind in enumerate(found.kind) if kind in ("minimum", "maximum", "inflection")]
    np.testing.assert_allclose(found.x[inner], [x for x, _ in points], rtol=1e-10, atol=1e-10)
    assert [found.kind[k] for k in inner] == [kind for _, kind in points]
    assert (found.global_minimum.sum(), found.global_maximum.sum()) == count


def test_a_derivative_that_contradicts_the_values_is_said():
    @jax.custom_jvp
    def square(x):
        return x**2

    square.defjvp(lambda primals, tangents: (primals[0] ** 2, -2 * primals[0] * tangents[0]))
    found = critical_points(square, -1, 2)
    assert any("contradict" in reason for reason in found.reasons)


@pytest.mark.slow
def test_a_sum_of_a_hundred_powers_is_fast():
    coefficients = np.random.default_rng(0).normal(size=100)
    start = time.process_time()
    found = critical_points(lambda x: sum(float(c) * x**k for k, c in enumerate(coefficients)), -1, 1)
    assert found.certain
    assert time.process_time() - start < 20


def test_the_minimum_of_the_gamma_function_is_certain():
    found = critical_points(jax.scipy.special.gammaln, 0.5, 3)
    assert found.certain
    np.testing.assert_allclose(found.x[1], 1.4616321449683623, rtol=1e-10)


def test_the_function_is_traced_once():
    calls = []

    def f(x):
        calls.append(x)
        return x**2 + jnp.sin(x)

    critical_points(f, -1, 1)
    first = len(calls)
    assert critical_points(f, -2, 3).certain
    assert len(calls) == first > 0


def test_noise_is_not_passed_off_as_certain():
    noisy = lambda x: x**2 + 1e-3 * (jnp.sin(1e5 * x) * 43758.5453 - jnp.floor(jnp.sin(1e5 * x) * 43758.5453))  # noqa: E731
    assert not critical_points(noisy, -1, 1).certain


def test_global_points_and_ends():
    found = critical_points(lambda x: x * (x - 1) * (x - 2) * (x - 3), -1, 4)
    assert found.kind == ["endpoint maximum", "minimum", "maximum", "minimum", "endpoint maximum"]
    assert found.global_minimum.tolist() == [False, True, False, True, False]
    assert found.global_maximum.tolist() == [True, False, False, False, True]
    np.testing.assert_allclose([found.infimum, found.supremum], [-1, 24], rtol=1e-14)
    np.testing.assert_allclose(found.second_derivative, [70, 10, -5, 10, 70], rtol=1e-12)
    np.testing.assert_allclose(found.fun[1:4], [-1, 0.5625, -1], rtol=1e-12)


def test_a_critical_end_is_an_end():
    found = critical_points(lambda x: x**2, 0, 1)
    assert found.kind == ["endpoint minimum", "endpoint maximum"]
    assert found.x.tolist() == [0, 1]


INFINITE = {  # f, interval, infimum, supremum
    "quartic": (lambda x: x * (x - 1) * (x - 2) * (x - 3), (-math.inf, math.inf), -1.0, math.inf),
    "cubic": (lambda x: x**3 - x, (-math.inf, math.inf), -math.inf, math.inf),
    "expanded": (lambda x: x**4 - 10 * x**3, (-math.inf, math.inf), -1054.6875, math.inf),
    "bell": (lambda x: jnp.exp(-(x**2)), (-math.inf, math.inf), 0.0, 1.0),
    "arctan": (jnp.arctan, (-math.inf, math.inf), -math.pi / 2, math.pi / 2),
    "log": (jnp.log, (1, math.inf), 0.0, math.inf),
    "exp": (jnp.exp, (-math.inf, 1), 0.0, math.e),
}


@pytest.mark.parametrize("name", INFINITE)
def test_infinite_intervals_report_what_f_tends_to(name):
    f, interval, infimum, supremum = INFINITE[name]
    found = critical_points(f, *interval)
    assert found.certain
    np.testing.assert_allclose([found.infimum, found.supremum], [infimum, supremum], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("f", "sign"),
    [
        (lambda x: jax.nn.softplus(x) - 0.5 * x, 1),  # written with |x|, and yet smooth at 0
        (lambda x: -jnp.logaddexp(x, -x), -1),
        (lambda x: jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))), 1),
    ],
)
def test_a_zero_at_a_break_of_the_formula_is_one_point(f, sign):
    """Rounding hides f' on both sides of 0, where each side sees the zero."""
    found = critical_points(f, -1, 2)
    assert found.x.tolist() == [-1, 0, 2]
    assert found.kind[1] == ("minimum" if sign > 0 else "maximum")
    assert found.certain


def test_bad_input():
    with pytest.raises(ValueError, match="below"):
        critical_points(jnp.sin, 1, 1)
    with pytest.raises(ValueError, match="below"):
        critical_points(jnp.sin, 0, math.nan)
    with pytest.raises(ValueError, match="no finite value"):
        critical_points(jnp.log, -2, -1)
    with pytest.raises(TypeError, match="single number has no entries"):
        critical_points(lambda x: x[0] ** 2, 0, 1)
    with pytest.raises(TypeError, match="complex"):
        critical_points(lambda x: x + 1j, 0, 1)
    with pytest.raises(TypeError, match="complex"):
        critical_points(jnp.sin, 0, 1j)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "f",
    [
        pytest.param(
            lambda x: jax.scipy.special.betaln(1 + x, 1 - x), marks=pytest.mark.slow
        ),  # 0 where both are equal
        lambda x: jnp.linalg.norm(jnp.stack([x, 2 * x])) ** 2,  # nan at 0
        lambda x: jnp.maximum(1 + x, 1 - x) ** 2 + jnp.minimum(1 + x, 1 - x) ** 2,  # 0 where both are equal
    ],
)
def test_a_second_derivative_that_contradicts_the_first_is_said(f):
    points = critical_points(f, -0.75, 0.75)
    (middle,) = np.flatnonzero(np.abs(points.x) < 1e-6)
    assert points.kind[middle] == "minimum"
    assert np.isnan(points.second_derivative[middle])
    assert any("contradict" in reason for reason in points.reasons)


def test_a_zero_of_high_order_at_a_plain_number_has_its_exact_value():
    points = critical_points(lambda x: (x**2 - 1) ** 4, -math.inf, math.inf)
    assert points.x.tolist() == [-1.0, 0.0, 1.0]
    assert points.infimum == 0.0


def test_a_table_bends_at_its_entries():
    """The search in a table subtracts unsigned numbers below 0: its bounds were those of one wrong entry, a jump."""
    table = jnp.array([0.0, 0.3, 0.7, 1.0]), jnp.array([0.0, 1.0, -2.0, 3.0])
    found = critical_points(lambda x: jnp.interp(x, *table), 0, 1)
    np.testing.assert_allclose(found.x, table[0], atol=1e-12)
    assert (found.infimum, found.supremum) == (-2, 3)
    assert all("kink" in reason for reason in found.reasons)
