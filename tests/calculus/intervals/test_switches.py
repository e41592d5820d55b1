"""Which parameters have a part in the switches of a function, and what crosses a border there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc.calculus.intervals.switches import Switches

# By name: f(x, p, q), and whether p and q move a switch.
SWITCHES = {
    "smooth": (lambda x, p, q: jnp.exp(p * x) * q, [False, False]),
    "an absolute value": (lambda x, p, q: jnp.abs(x - p) * q, [False, False]),
    "a maximum": (lambda x, p, q: jnp.maximum(x, p) + jnp.minimum(q, x), [False, False]),
    "a rectifier": (lambda x, p, q: jax.nn.relu(x - p), [False, False]),
    "the slope of a maximum": (jax.grad(lambda x, p, q: jnp.maximum(x, p) * q), [True, False]),
    "the slope of a rectifier": (jax.grad(lambda x, p, q: jax.nn.relu(x - p) * q), [True, False]),
    "a fixed place": (lambda x, p, q: jnp.where(x < 0.3, p, q), [False, False]),
    "parameters alone": (lambda x, p, q: jnp.where(p < q, x, 1.0), [False, False]),
    "equality": (lambda x, p, q: jnp.where(x == p, 0.0, jnp.sin(x - p) / q), [False, False]),
    "one of two": (lambda x, p, q: jnp.where(x * p < 0.3, 1.0, q), [True, False]),
    "both": (lambda x, p, q: jnp.floor(x * p + q), [True, True]),
    "an index": (lambda x, p, q: q * jnp.argmax(jnp.stack([x, p])), [True, False]),
    "a scan": (lambda x, p, q: jax.lax.scan(lambda s, _: (s + (x < p), None), 0, None, 3)[0] * q, [True, False]),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_which_parameters_move_a_switch(name):
    f, depend = SWITCHES[name]
    p = [jnp.array(0.4), jnp.array(2.0)]
    assert Switches(lambda x, p, _: f(x, *p), jnp.array(0.5), p, []).depend == depend


def test_sides_change_where_an_operand_is_0():
    f = lambda x, p, _: jnp.where(x * p[0] < 0.3, 1.0, 3.0) + jnp.sign(p[0] - x)  # noqa: E731
    p = [jnp.array(0.4)]
    switches = Switches(f, jnp.array(0.5), p, [])
    below, above = (np.asarray(switches.sides(jnp.array(0.75 + d), p, [])) for d in (-1e-9, 1e-9))
    np.testing.assert_array_equal(below != above, [True, False])
    np.testing.assert_allclose(switches.operands(jnp.array(0.5), p, []), [-0.1, -0.1], rtol=1e-12)


def test_none_is_looked_for_where_a_loop_would_run_for_each_side():
    def f(x, parameters, others):
        doubled = jax.lax.while_loop(lambda v: v < 10, lambda v: 2 * v, x + parameters[0])
        return jnp.where(x < parameters[0], doubled, 1.0)

    assert Switches(f, jnp.array(0.5), [jnp.array(0.3)], []).depend == [False]
