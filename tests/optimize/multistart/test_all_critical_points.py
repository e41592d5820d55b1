"""Minima, maxima and saddles of several variables: the known sets, and what their number must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.problems import himmelblau, shekel, six_hump_camel, styblinski_tang


def kinds(found):
    names = found.certificate.kind_name
    return {name: names.count(name) for name in set(names)}


def box(n, side):
    return jnp.full(n, -side), jnp.full(n, side)


def check(fun, found):
    gradient = jax.vmap(jax.grad(fun))(found.x)
    assert np.abs(gradient).max() <= 1e-5
    np.testing.assert_allclose(found.fun, jax.vmap(fun)(found.x), atol=1e-12)
    assert np.all(np.diff(found.fun) >= 0)
    np.testing.assert_array_equal(found.alternating_sum, np.sum((-1.0) ** np.asarray(found.certificate.index)))


def test_himmelblau_has_nine():
    found = jc.all_critical_points(himmelblau, box(2, 5.0), starts=256)
    assert kinds(found) == {"minimum": 4, "saddle": 4, "maximum": 1}
    assert (int(found.alternating_sum), found.expected_sum, found.consistent) == (1, 1, True)
    check(himmelblau, found)
    maximum = found.x[found.certificate.kind_name.index("maximum")]
    np.testing.assert_allclose(maximum, [-0.270844590667, -0.923038556480], atol=1e-9)


@pytest.mark.slow
def test_a_sum_of_functions_of_one_variable_has_the_product_of_their_points():
    found = jc.all_critical_points(styblinski_tang, box(3, 5.0), starts=256)
    assert kinds(found) == {"minimum": 8, "saddle": 18, "maximum": 1}
    single = np.sort(np.roots([4, 0, -32, 5]).real)
    grid = np.stack(np.meshgrid(single, single, single), axis=-1).reshape(-1, 3)
    distance = np.abs(np.asarray(found.x)[:, None] - grid[None]).max(-1)
    assert distance.min(0).max() < 1e-9
    index = np.sum(distance.argmin(1)[:, None] == np.arange(27), axis=0)
    np.testing.assert_array_equal(index, 1)
    assert found.consistent


def test_missing_points_are_noticed_and_a_boundary_without_a_sign_says_nothing():
    """With few starts: the sum is wrong. Turned upside down: the gradient points in, and the sum is (-1)^n."""

    def fun(x, sign):
        return sign * (jnp.sum((x**2 - 1) ** 2) + 0.3 * x[0])

    side = box(3, 2.0)
    found = jc.all_critical_points(fun, side, args=(1.0,), starts=64)
    assert len(found.fun) == 27
    assert found.consistent is True
    turned = jc.all_critical_points(fun, side, args=(-1.0,), starts=64)
    assert (int(turned.alternating_sum), turned.expected_sum, turned.consistent) == (-1, -1, True)
    assert kinds(turned) == {"minimum": 1, "saddle": 18, "maximum": 8}
    cut = jc.all_critical_points(fun, (jnp.full(3, -2.0), jnp.full(3, 0.5)), args=(1.0,), starts=64)
    assert (cut.expected_sum, cut.consistent) == (None, None)


@pytest.mark.slow
def test_too_few_starts_are_noticed():
    lower, upper = jnp.zeros(4), jnp.full(4, 10.0)
    found = jc.all_critical_points(shekel, (lower, upper), starts=8)
    assert found.expected_sum == 1
    assert found.consistent is False
    assert float(found.missed_probability) > 0.5
    check(shekel, found)


@pytest.mark.slow
def test_degenerate_points_none_at_all_and_pytrees():
    found = jc.all_critical_points(lambda x: x["a"] ** 2 + jnp.sum(x["b"]), ({"a": -1.0, "b": jnp.zeros(1)}, 1.0))
    assert found.fun.shape == (0,)
    assert found.x["b"].shape == (0, 1)
    valley = jc.all_critical_points(lambda x: x[0] ** 2 + x[1] ** 4, box(2, 1.0), starts=64)
    assert kinds(valley).keys() == {"degenerate"}
    assert valley.consistent is None


@pytest.mark.slow
def test_camel_and_shekel_whole():
    camel = jc.all_critical_points(six_hump_camel, (jnp.array([-3.0, -2.0]), jnp.array([3.0, 2.0])))
    assert kinds(camel) == {"minimum": 6, "saddle": 7, "maximum": 2}
    assert camel.consistent
    wells = jc.all_critical_points(shekel, (jnp.zeros(4), jnp.full(4, 10.0)))
    assert kinds(wells) == {"minimum": 10, "saddle": 11}
    assert wells.consistent


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ((jnp.ones(2), jnp.zeros(2)), ValueError),
        ((jnp.ones(2), jnp.full(2, jnp.inf)), ValueError),
        ([(0, 1), (0, 1)], TypeError),
        (None, TypeError),
    ],
)
def test_bad_boxes(bounds, error):
    with pytest.raises(error, match=r"bounds|box"):
        jc.all_critical_points(himmelblau, bounds)


def test_not_under_jit():
    with pytest.raises(TypeError, match="host"):
        jax.jit(lambda a: jc.all_critical_points(lambda x, a: a * x[0] ** 2, box(1, 1.0), args=(a,)).fun)(1.0)
