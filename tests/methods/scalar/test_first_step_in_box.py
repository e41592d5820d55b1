"""The first step in a box: where the bounds bend the step, f has to fall by half of what the slope promises."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Iterate
from jaxcalc.methods.parts import line_search
from jaxcalc.methods.parts.descent_search import move


class State(NamedTuple):
    """What a search along a direction of descent reads of a method's state."""

    iterate: Iterate
    direction: Array
    search: line_search.LineSearch
    fresh: Array


class Given(NamedTuple):
    """An evaluation whose numbers the test chooses."""

    value: Array
    gradient: Array


@jax.jit
def accepted(value, lower, share, nit):
    """Returns where a step from (1, 1) by -4 times the gradient (1, 0.2) is taken, with slopes of zero there."""
    lanes = len(share)
    x, slopes = jnp.ones((2, lanes)), jnp.array([[1.0], [0.2]]) * jnp.ones(lanes)
    box = Box(lower * jnp.ones((2, 1)), jnp.full((2, lanes), 100.0))
    trial = box.project(x - 4 * slopes)
    iterate = Iterate.at_start(x, has_model=True)._replace(trial=trial, value=value, gradient=slopes, nit=nit)
    rest, all_of_them = line_search.at_rest(value), jnp.ones(lanes, bool)
    search = line_search.begin(rest, all_of_them, value, jnp.full(lanes, -1.04), jnp.full(lanes, 4.0))
    change = jnp.sum(slopes * (trial - x), axis=0)
    at_trial = Given(value + share * change, jnp.zeros((2, lanes)))
    return move(State(iterate, -slopes, search, all_of_them), at_trial, box).accepted


def test_a_first_step_that_bounds_bend_needs_half_of_its_promise():
    # Slopes of zero at the trial, as beside a corner of the box, say nothing of what the step has gained. Bounds at
    # -100 bend no step, a later step is judged as usual, and rounding hides falls from values of 1e30.
    cases = [
        (5.0, 0.0, 0.4, 0, False),
        (5.0, 0.0, 0.6, 0, True),
        (5.0, 0.0, -0.1, 0, False),
        (5.0, -100.0, 0.4, 0, True),
        (5.0, 0.0, 0.4, 1, True),
        (1e30, 0.0, 0.4, 0, True),
    ]
    value, lower, share, nit, expected = (np.array(column) for column in zip(*cases, strict=True))
    np.testing.assert_array_equal(accepted(value, lower, share, nit.astype(np.int32)), expected)
