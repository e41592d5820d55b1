"""Bounds: projection, held variables and directions, and a box without sides."""

import jax.numpy as jnp
import numpy as np

from jaxcalc.methods.box import Box

LOWER, UPPER = jnp.array([[0.0], [0.0], [-1.0]]), jnp.array([[1.0], [1.0], [jnp.inf]])
BOX, EVERYWHERE = Box(LOWER, UPPER), Box()
X = jnp.array([[0.0], [1.0], [3.0]])


def test_projection():
    np.testing.assert_array_equal(BOX.project(jnp.array([[-1.0], [2.0], [9.0]])), [[0], [1], [9]])
    np.testing.assert_array_equal(EVERYWHERE.project(X), X)


def test_held_variables_are_pressed_against_their_bounds():
    pressed, leaving = jnp.array([[2.0], [-2.0], [1.0]]), jnp.array([[-2.0], [2.0], [1.0]])
    assert BOX.free(X, pressed)[:, 0].tolist() == [False, False, True]
    assert BOX.free(X, leaving)[:, 0].tolist() == [True, True, True]
    np.testing.assert_array_equal(BOX.reduced(X, pressed), [[0], [0], [1]])
    np.testing.assert_array_equal(BOX.reduced(X, pressed, X), [[0], [0], [3]])
    np.testing.assert_array_equal(BOX.projected_gradient(X, pressed), [[0], [0], [1]])
    np.testing.assert_array_equal(BOX.projected_gradient(X, leaving), [[-1], [1], [1]])
    assert EVERYWHERE.free(X, pressed).all()
    np.testing.assert_array_equal(EVERYWHERE.projected_gradient(X, pressed), pressed)


def test_directions_stop_at_bounds():
    outward = jnp.array([[-1.0], [1.0], [1.0]])
    np.testing.assert_array_equal(BOX.ahead(X, outward), [[0], [0], [1]])
    np.testing.assert_array_equal(BOX.feasible(X, -outward, outward), [[0], [0], [1]])
    np.testing.assert_array_equal(EVERYWHERE.feasible(X, -outward, outward), outward)


def test_scaling_keeps_the_kind_of_box():
    np.testing.assert_array_equal(BOX.scaled(2.0).upper, [[0.5], [0.5], [np.inf]])
    assert not EVERYWHERE.scaled(2.0).is_bounded
