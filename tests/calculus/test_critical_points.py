"""Critical points: complete and certain on the battery, with the right kinds; uncertain, with reasons, elsewhere."""

import math
import sys
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


def test_bad_input():
    with pytest.raises(ValueError, match="below"):
        critical_points(jnp.sin, 1, 1)
    with pytest.raises(ValueError, match="below"):
        critical_points(jnp.sin, 0, math.nan)
    with pytest.raises(ValueError, match="no finite value"):
        critical_points(jnp.log, -2, -1)
    with pytest.raises(TypeError, match="complex"):
        critical_points(lambda x: x + 1j, 0, 1)
    with pytest.raises(TypeError, match="complex"):
        critical_points(jnp.sin, 0, 1j)  # pyright: ignore[reportArgumentType]
