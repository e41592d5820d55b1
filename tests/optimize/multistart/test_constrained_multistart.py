"""Several starts under constraints: only feasible points count, and minima beyond an obstacle are told apart."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.methods.box import Box
from jaxcalc.optimize.multistart.constrained_points import ConstrainedBlocks
from jaxcalc.optimize.multistart.points import Data

BOX = (jnp.full(2, -2.0), jnp.full(2, 2.0))


def test_minima_on_both_sides_of_an_obstacle():
    """Between the two minima lies a forbidden disc, in which f is lower than at one of them."""

    def fun(x):
        return x[0] ** 2 + 0.5 * x[1]

    outside = {"type": "ineq", "fun": lambda x: x[0] ** 2 + (x[1] - 0.2) ** 2 - 1}
    minima = jc.multistart(fun, BOX, constraints=outside, starts=16, maxfev=0)
    assert minima.success.all()
    np.testing.assert_allclose(minima.x, [[0, -2], [0, 1.2]], atol=1e-6)
    np.testing.assert_allclose(minima.fun, [-1, 0.6], atol=1e-6)
    assert jnp.asarray(minima.constraint_violation).max() <= 1e-6
    assert minima.certificate.kind_name == ["minimum at a bound", "minimum"]
    assert int(minima.count.sum()) == 16


@pytest.mark.slow
def test_minima_on_a_circle():
    def fun(x, a):
        return jnp.sin(5 * jnp.arctan2(x[1], x[0])) + a * x[0]

    circle = {"type": "eq", "fun": lambda x: x[0] ** 2 + x[1] ** 2 - 1}
    minima = jc.multistart(fun, BOX, (0.1,), constraints=circle, starts=64)
    assert len(minima.fun) == 5
    assert (np.diff(minima.fun) > 0).all()
    np.testing.assert_allclose(jnp.sum(minima.x**2, axis=1), 1, atol=1e-6)
    assert set(minima.certificate.kind_name) == {"minimum"}


@pytest.mark.slow
def test_no_feasible_point():
    """The row that is left is the end that violates least; its value is none, and its status no success."""
    minima = jc.multistart(
        lambda x: x[0] ** 2 + 0.5 * x[1], BOX, constraints={"type": "ineq", "fun": lambda x: x[0] - 3}, starts=8
    )
    assert len(minima.fun) == 1
    assert jnp.isnan(minima.fun[0])
    assert minima.status[0] == jc.Status.INFEASIBLE
    np.testing.assert_allclose(minima.x[0, 0], 2, atol=1e-6)
    np.testing.assert_allclose(jnp.asarray(minima.constraint_violation), 1, atol=1e-6)


@pytest.mark.slow
def test_a_circle_of_minima_is_one():
    """Along a circle on the sphere f is the same: its ends are one minimum, as those of a plain without constraints."""
    sphere = {"type": "eq", "fun": lambda x: jnp.sum(x**2) - 1}
    box = (jnp.full(3, -2.0), jnp.full(3, 2.0))
    minima = jc.multistart(lambda x: (x[2] - 0.5) ** 2, box, constraints=sphere, starts=64, maxfev=0)
    assert minima.certificate.kind_name == ["degenerate"]
    np.testing.assert_allclose(minima.fun, 0, atol=1e-12)
    assert int(minima.count[0]) > 16


@pytest.mark.slow
@pytest.mark.parametrize("tilt", [0.01, 0.0])
def test_two_circles_of_minima_are_two(tilt):
    """The circles are nearer to each other than the few ends on each of them; the constraint takes x alone."""
    sphere = {"type": "eq", "fun": lambda x: jnp.sum(x**2) - 1}

    def fun(x, tilt):
        return (x[2] ** 2 - 0.25) ** 2 + tilt * x[2]

    box = (jnp.full(3, -2.0), jnp.full(3, 2.0))
    minima = jc.multistart(fun, box, (tilt,), constraints=sphere, starts=64, maxfev=0)
    assert minima.certificate.kind_name == ["degenerate"] * 2
    np.testing.assert_allclose(np.sort(minima.x[:, 2]), [-0.5, 0.5], atol=0.01)
    assert int(minima.count.sum()) == 64


@pytest.mark.slow
def test_descents_nearby_stay_near():
    """From points near a curve of minima descents end beside their starts, wherever the middle of the box is."""
    sphere = {"type": "eq", "fun": lambda x: jnp.sum(x**2) - 1}
    side = jnp.full(3, 2.0)
    angle = np.linspace(0, 6, 8)
    x = 0.6 * np.column_stack([np.cos(angle), np.sin(angle), np.ones(8)])
    method, limits = jc.methods.interior_point(), {"gtol": 1e-5}
    blocks = ConstrainedBlocks(
        lambda x: (x[2] - 0.5) ** 2, Data(()), False, Box(-side, side), method, limits, constraints=sphere
    )
    ends = blocks.descend_nearby(x, np.zeros(8, int))
    assert ends.success.all()
    turned = np.arctan2(ends.x[:, 1], ends.x[:, 0]) - angle
    np.testing.assert_allclose(np.angle(np.exp(1j * turned)), 0, atol=0.02)


def test_the_door():
    with pytest.raises(ValueError, match="takes no constraints"):
        jc.multistart(lambda x: x[0], BOX, constraints={"type": "eq", "fun": lambda x: x[0]}, method="bfgs")
