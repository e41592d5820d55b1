"""A mapped solve is one queue with refill, whatever it closes over."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.problems import rosenbrock

COUNT = 40
STARTS = jax.random.uniform(jax.random.key(0), (COUNT, 4), minval=-3, maxval=3)
STEEPNESS = 10 ** jax.random.uniform(jax.random.key(1), (COUNT,), maxval=4)


def solve(x0, b):
    return jc.minimize(rosenbrock, x0, (b,))


class TestOneQueue:
    """At one number of lanes a problem's result is the same to the last bit: so the mapped solve is that very run.

    Inside `jax.jit` a queue is always solved by the loop in one program, as a mapped solve is.
    """

    @staticmethod
    def many(x0=STARTS):
        return jax.jit(lambda x0, b: jc.minimize_many(rosenbrock, x0, (b,)))(x0, STEEPNESS)

    def test_over_starts_and_arguments(self):
        expected = self.many()
        for mapped in (jax.vmap(solve), jax.jit(jax.vmap(solve))):
            jax.tree.map(np.testing.assert_array_equal, mapped(STARTS, STEEPNESS), expected)

    def test_over_one_of_them(self):
        by_argument = jax.vmap(solve, (None, 0))(STARTS[0], STEEPNESS)
        expected = self.many(jnp.broadcast_to(STARTS[0], STARTS.shape))
        jax.tree.map(np.testing.assert_array_equal, by_argument, expected)
        by_start = jax.vmap(solve, (-1, None))(STARTS.T, 7.0)
        np.testing.assert_allclose(by_start.fun, jc.minimize_many(rosenbrock, STARTS, shared=(7.0,)).fun, atol=1e-9)

    def test_nested(self):
        nested = jax.vmap(jax.vmap(solve))(STARTS.reshape(5, 8, 4), STEEPNESS.reshape(5, 8))
        flat = jax.tree.map(lambda leaf: leaf.reshape(COUNT, *leaf.shape[2:]), nested)
        jax.tree.map(np.testing.assert_array_equal, flat, self.many())
        crossed = jax.vmap(jax.vmap(solve, (0, None)), (None, 0))(STARTS[:8], STEEPNESS[:5])
        assert crossed.x.shape == (5, 8, 4)
        assert crossed.success.all()

    def test_a_queue_in_every_turn(self):
        def many(b, gtol, maxiter):
            return jc.minimize_many(rosenbrock, STARTS[:8], shared=b, gtol=gtol, maxiter=maxiter)

        gtol, caps = jnp.logspace(-2, -6, 5), jnp.full((5, 8), 500).at[2, 3].set(1)
        results = jax.vmap(many)(STEEPNESS[:5], gtol, caps)
        assert results.x.shape == (5, 8, 4)
        assert (np.argwhere(~np.asarray(results.success)) == [[2, 3]]).all()
        assert jnp.all(jnp.where(results.success, jnp.abs(results.jac).max(2) <= gtol[:, None], True))

    def test_several_rates_of_one_method(self):
        def descend(rate, a):
            return jc.minimize(lambda x: jnp.sum((x - a) ** 2), jnp.zeros(2), method=jc.methods.gradient_descent(rate))

        results = jax.jit(jax.vmap(descend))(jnp.array([0.1, 0.4]), jnp.array([1.0, 2.0]))
        np.testing.assert_allclose(results.x, [[1, 1], [2, 2]], atol=1e-4)
        assert results.nit[0] > results.nit[1]

    def test_no_problems(self):
        assert jax.vmap(solve)(jnp.zeros((0, 4)), jnp.zeros(0)).x.shape == (0, 4)


class TestWhatAFunctionClosesOver:
    keys = jax.random.split(jax.random.key(0), 6)
    inputs = (jnp.arange(6.0), jnp.arange(6) % 5, jnp.arange(6) % 2 == 0, keys)

    @staticmethod
    def solve(a, index, mask, key):
        table = jnp.arange(5.0)

        def fun(x):
            target = a + table[index] + jnp.where(mask, 7.0, 0.0) + jax.random.uniform(key)
            return jnp.sum((x - target) ** 2)

        return jc.minimize(fun, jnp.zeros(2)).x[0]

    @staticmethod
    def formula(a, index, mask, key):
        return a + jnp.arange(5.0)[index] + jnp.where(mask, 7.0, 0.0) + jax.random.uniform(key)

    def test_eager_and_jitted_and_nested(self):
        expected = jax.vmap(self.formula)(*self.inputs)
        np.testing.assert_allclose(jax.vmap(self.solve)(*self.inputs), expected, atol=1e-6)
        np.testing.assert_allclose(jax.jit(jax.vmap(self.solve))(*self.inputs), expected, atol=1e-6)
        nested = [jax.vmap(jax.vmap(f, (None, 0, 0, 0)), (0, None, None, None)) for f in (self.solve, self.formula)]
        np.testing.assert_allclose(jax.jit(nested[0])(*self.inputs), nested[1](*self.inputs), atol=1e-6)

    @pytest.mark.slow
    def test_differentiated(self):
        each = jax.vmap(jax.grad(lambda a, *others: self.solve(a, *others) ** 2))(*self.inputs)
        together = jax.grad(lambda a, *others: jnp.sum(jax.vmap(self.solve)(a, *others) ** 2))(*self.inputs)
        np.testing.assert_allclose(each, 2 * jax.vmap(self.formula)(*self.inputs), rtol=1e-6)
        np.testing.assert_allclose(together, each, rtol=1e-6)


@pytest.mark.slow
def test_derivatives_of_the_mapped_solve():
    def mapped(b):
        return jax.vmap(lambda x0, b: solve(x0, b).fun)(STARTS, b)

    expected = jax.grad(lambda b: jc.minimize_many(rosenbrock, STARTS, (b,)).fun.sum())(STEEPNESS)
    np.testing.assert_allclose(jax.grad(lambda b: mapped(b).sum())(STEEPNESS), expected, atol=1e-12)
    each = jax.vmap(jax.grad(lambda b, x0: solve(x0, b).fun))(STEEPNESS, STARTS)
    np.testing.assert_allclose(each, expected, atol=1e-12)


def test_a_second_call_does_not_run_the_function():
    calls = []

    def fun(x, a):
        calls.append(1)
        return jnp.sum((x - a) ** 2)

    jc.minimize(fun, jnp.zeros(2), 1.0)
    jc.minimize_many(fun, jnp.zeros((3, 2)), shared=1.0)
    traced = len(calls)
    jc.minimize(fun, jnp.ones(2), 2.0)
    jc.minimize_many(fun, jnp.ones((3, 2)), shared=2.0)
    assert 1 <= traced <= 4, "each of the two doors reads the shapes off the function, and compiles it"
    assert len(calls) == traced


@pytest.mark.slow
def test_throughput_under_vmap():
    count = 5000
    x0 = jax.random.uniform(jax.random.key(0), (count, 10), minval=-3, maxval=3)
    b = 10 ** jax.random.uniform(jax.random.key(1), (count,), maxval=4)
    runs = {
        "many": lambda: jc.minimize_many(rosenbrock, x0, (b,)).x,
        "mapped": lambda: jax.vmap(lambda x0, b: solve(x0, b).x)(x0, b),
        "gradient": lambda: jax.grad(lambda b: jnp.sum(jax.vmap(lambda x0, b: solve(x0, b).x)(x0, b)))(b),
    }
    seconds = {name: [] for name in runs}
    for _ in range(8):
        for name, run in runs.items():
            begin = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    assert medians["many"] / medians["mapped"] >= 0.8, medians
    assert medians["many"] / medians["gradient"] >= 0.7, medians
