"""The two drivers of the engine, steps from the host and the loop in one program: same answers, few compilations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.engine import steps
from jaxcalc.engine.padding import padded_length

STARTS = np.random.default_rng(0).uniform(-2, 2, (20, 3))


def rosenbrock(x, b):
    return jnp.sum(b * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rates(x, t, y):
    return x[0] * jnp.exp(-x[1] * t) - y


def sum_of_fourths(x):
    return jnp.sum((x - 2) ** 4)


def in_the_loop(call):
    """Under `jax.jit` a call is always the loop."""
    return jax.jit(call)()


BOX = (np.full(3, -1.5), np.array([0.9, np.inf, 1.5]))


@pytest.mark.parametrize(
    ("bounds", "method"),
    [
        pytest.param(bounds, method, marks=[] if (method == "trust_region") == has_bounds else pytest.mark.slow)
        for bounds, has_bounds in ((None, False), (BOX, True))
        for method in ("bfgs", "trust_region", "conjugate_gradient")
    ],
)
def test_both_drivers_find_the_same(method, bounds):
    def call():
        return jc.minimize_many(rosenbrock, STARTS, shared=20.0, method=method, bounds=bounds, history=2)

    by_steps, by_loop = call(), in_the_loop(call)
    np.testing.assert_array_equal(by_steps.success, by_loop.success)
    np.testing.assert_allclose(by_steps.fun, by_loop.fun, atol=1e-9)
    np.testing.assert_allclose(by_steps.history[:, -1], by_steps.fun)
    assert np.median(np.abs(np.asarray(by_steps.nfev) - np.asarray(by_loop.nfev))) <= 2
    for one, other in zip(jax.tree.leaves(by_steps), jax.tree.leaves(by_loop), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype


def test_pytrees_aux_scales_and_caps():
    def fun(x, c):
        return jnp.sum((x["a"] - c) ** 2) + x["b"] ** 4, {"sum": jnp.sum(x["a"])}

    def call():
        x0 = {"a": jnp.zeros((2, 2), jnp.float32), "b": 1}
        return jc.minimize(fun, x0, 3.0, has_aux=True, scale={"a": 4.0, "b": 1.0}, maxiter=7)

    by_steps, by_loop = call(), in_the_loop(call)
    assert jax.tree.structure(by_steps) == jax.tree.structure(by_loop)
    for one, other in zip(jax.tree.leaves(by_steps), jax.tree.leaves(by_loop), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_least_squares_by_steps():
    t = np.linspace(0, 3, 12)
    y = np.outer([1.0, 2.0, 3.0], np.exp(-0.7 * t))

    def call():
        return jc.least_squares_many(rates, np.ones((3, 2)), (np.tile(t, (3, 1)), y))

    by_steps, by_loop = call(), in_the_loop(call)
    np.testing.assert_array_equal(by_steps.status, by_loop.status)
    np.testing.assert_allclose(by_steps.x, by_loop.x, atol=1e-9)


def test_a_problem_does_not_touch_its_neighbours():
    def noisy(x, a):
        return jnp.sum((x - a) ** 4) / a

    a = np.arange(1.0, 8.0)
    alone = jc.minimize_many(noisy, np.zeros((7, 2)), (a,))
    a[3] = np.nan
    other = jc.minimize_many(noisy, np.zeros((7, 2)), (a,))
    keep = np.arange(7) != 3
    jax.tree.map(lambda one, two: np.testing.assert_array_equal(one[keep], two[keep]), alone, other)
    assert other.status[3] == jc.Status.INVALID


def test_numbers_of_problems_and_tolerances_do_not_compile(compilations):
    def fun(x):
        return jnp.sum((x - 1) ** 4)

    starts = np.random.default_rng(0).uniform(-2, 2, (1000, 4))

    def calls():
        for count in (1000, 999, 500):
            jc.minimize_many(fun, starts[:count])
        jc.minimize_many(fun, starts, maxiter=7)
        jc.minimize_many(fun, starts, gtol=1e-3)
        jc.minimize_many(fun, starts, gtol=np.full(1000, 1e-3), ftol=1e-9)
        jc.minimize_many(fun, starts[:999], xtol=np.full(999, 1e-9), maxfev=8)

    jc.minimize_many(fun, starts)
    count = len(compilations)
    calls()
    assert len(compilations) == count
    assert padded_length(1000) == padded_length(999) == 1024
    assert padded_length(500) == 512
    jc.minimize_many(fun, starts)  # the loop takes over: a program for each of the two lengths
    calls()
    assert len(compilations) <= count + 2


def test_a_further_function_shares_the_program_of_the_step(compilations):
    one, other = (lambda x: jnp.sum((x - 1) ** 4)), (lambda x: jnp.sum(jnp.cosh(x - 1)))
    jc.minimize(one, np.zeros(5))
    count = len(compilations)
    np.testing.assert_allclose(jc.minimize(other, np.zeros(5)).x, 1, atol=1e-5)
    assert len(compilations) == count + 1


def test_a_long_way_goes_to_the_loop(monkeypatch):
    monkeypatch.setattr(steps, "MOST_STEPS", 3)
    assert jc.minimize(rosenbrock, STARTS[0], 100.0).success


def test_the_loop_takes_over_what_comes_back():
    def fun(x):
        return jnp.sum((x - 1) ** 4)

    results = [jc.minimize(fun, np.zeros(2)) for _ in range(steps.CALLS + 2)]
    assert all(result.success for result in results)
    np.testing.assert_allclose(results[0].x, results[-1].x, atol=1e-9)


def test_the_loop_takes_over_after_much_work(monkeypatch):
    driven, original = [], steps._driven
    monkeypatch.setattr(steps, "_driven", lambda *arguments: driven.append(1) or original(*arguments))
    monkeypatch.setattr(steps, "MOST_WORK", 1)
    results = [jc.minimize_many(lambda x, b: rosenbrock(x, b), STARTS, (np.full(20, 10.0),)) for _ in range(2)]
    assert len(driven) == 2  # of functions that are new
    fun = functools.partial(rosenbrock, b=10.0)
    results += [jc.minimize_many(fun, STARTS) for _ in range(3)]
    assert len(driven) == 3
    for result in results:
        assert result.success.all()
        np.testing.assert_allclose(result.x, 1, atol=1e-3)


def decay(t, a, k):
    return a * jnp.exp(-k * t)


def on_the_circle(x):
    return jnp.sum(x**2) - 1


T = np.linspace(0, 3, 8)
Y = (1.5 + STARTS[:, :1] / 4) * np.exp(-(1 + STARTS[:, 1:2] / 4) * T)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: jc.least_squares(rates, np.ones(2), (T, Y[0])), marks=pytest.mark.slow),
        lambda: jc.least_squares_many(rates, np.ones((20, 2)), (np.tile(T, (20, 1)), Y)),
        pytest.param(lambda: jc.curve_fit(decay, T, Y, np.ones((20, 2))).result, marks=pytest.mark.slow),
        lambda: jc.minimize(sum_of_fourths, STARTS[0], constraints={"type": "eq", "fun": on_the_circle}),
    ],
    ids=["least_squares", "least_squares_many", "curve_fit", "constraints"],
)
def test_the_loop_takes_over_in_every_family(call, monkeypatch):
    monkeypatch.setattr(steps, "CALLS", 1)
    first, *others = [call() for _ in range(3)]
    for later in others:
        np.testing.assert_array_equal(later.status, first.status)
        np.testing.assert_allclose(later.x, first.x, rtol=1e-4, atol=1e-6)
