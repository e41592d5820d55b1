"""What every method promises to the last bit; `make test` compiles these programs as users compile them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.methods import REGISTRY
from tests.families import slow_but

METHODS = list(REGISTRY)
FIXED_RATE = {name for name in METHODS if REGISTRY[name]().has_fixed_rate}


def mixed(x, p):
    """By p: a healthy valley, one of NaN, one without end, one whose domain ends at zero."""
    kind, b = p
    branches = (
        lambda x: b * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
        lambda x: jnp.nan * x[0],
        lambda x: -(x[0] ** 3),
        lambda x: jnp.sum(x - jnp.log(x)),
    )
    return jax.lax.switch(kind, branches, x)


COUNT, LANES = 400, 32


@functools.cache
def queue(name):
    """Starts, curvatures and kinds; steps of a fixed length get nowhere in steep valleys."""
    random = np.random.default_rng(3)
    x0 = random.uniform(-2, 2, (COUNT, 2))
    b = 10 ** random.uniform(-2, 0 if name in FIXED_RATE else 3, COUNT)
    return x0, b, random.integers(0, 4, COUNT), random.permutation(COUNT)


def solve(name, which):
    x0, b, kind, _ = queue(name)
    data = ((kind[which], b[which]),)
    return jc.minimize_many(mixed, x0[which], data, method=name, lanes=LANES, maxiter=400)


@functools.cache
def together(name):
    return solve(name, np.arange(COUNT))


def assert_same(name, which):
    again = solve(name, which)
    for field in ("x", "fun", "jac", "status", "nit", "nfev"):
        np.testing.assert_array_equal(getattr(again, field), getattr(together(name), field)[which], err_msg=field)


@pytest.mark.parametrize("name", METHODS)
def test_neighbours_and_order_do_not_touch_a_result(name):
    """As many problems each time, so that one program serves all."""
    x0, _, kind, shuffled = queue(name)
    assert_same(name, shuffled)
    assert_same(name, np.resize(np.flatnonzero(kind == 0), COUNT))
    status = np.asarray(together(name).status)
    assert set(status[kind == 1]) == {jc.Status.INVALID}
    outside = (x0 < 0).any(1) & (kind == 3)
    assert set(status[outside]) == {jc.Status.INVALID}
    if name not in FIXED_RATE:
        assert set(status[kind == 0]) == {jc.Status.SUCCESS}
        # A saddle at zero is a point of rest from the left; from the right the cubic falls without end.
        assert jc.Status.UNBOUNDED in status[kind == 2]


# Another number of problems is another program, whose loop the engine makes, not the method.
@pytest.mark.parametrize("name", slow_but(METHODS, ["bfgs"]))
def test_the_number_of_problems_does_not_touch_a_result(name):
    assert_same(name, np.flatnonzero(queue(name)[2] == 0))
