"""The loop in spans: what Ctrl-C leaves, progress, callbacks, and several starts of each problem."""

import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.engine import interruption, spans

STARTS = np.random.default_rng(0).uniform(-2, 2, (2000, 3))


def rosenbrock(x):
    return jnp.sum(50.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def hilly(x):
    return jnp.sum(jnp.sin(9 * x) + x**2)


def test_where_spans_end_changes_no_bit(monkeypatch):
    whole = jc.minimize_many(rosenbrock, STARTS, lanes=64)
    monkeypatch.setattr(spans, "SPAN", 1e-5)
    in_steps = jc.minimize_many(rosenbrock, STARTS[:200], lanes=64)
    jax.tree.map(lambda one, other: np.testing.assert_array_equal(one[:200], other), whole, in_steps)


def test_progress_is_shown(capsys):
    assert jc.minimize_many(rosenbrock, STARTS, lanes=64, progress=True).success.all()
    assert "100.0 % converged" in capsys.readouterr().err


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt; a process in the background may have begun without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def press_in_span(monkeypatch, ctrl_c):
    """A function that has Ctrl-C pressed before the span of this number, counted over all calls from now on."""
    has_ended = spans._has_ended

    def press(number):
        begun = []

        def pressing(carry, count):
            begun.append(1)
            if len(begun) == number:
                os.kill(os.getpid(), signal.SIGINT)
            return has_ended(carry, count)

        monkeypatch.setattr(spans, "_has_ended", pressing)

    return press


def test_ctrl_c_loses_nothing_that_is_solved(press_in_span, monkeypatch):
    monkeypatch.setattr(spans, "SPAN", 0.005)
    press_in_span(4)
    many = np.tile(STARTS, (8, 1))
    with pytest.raises(jc.Interrupted) as caught:
        jc.minimize_many(rosenbrock, many, lanes=64)
    result = caught.value.result
    left = np.asarray(result.status == jc.Status.INTERRUPTED)
    assert result.status.shape == (len(many),)
    waits = left & np.asarray(result.nfev == 0)
    assert waits.any()
    np.testing.assert_array_equal(result.x[waits], many[waits])
    under_way = left & ~waits
    assert 0 < under_way.sum() <= 64
    np.testing.assert_allclose(result.fun[under_way], jax.vmap(rosenbrock)(result.x[under_way]), rtol=1e-6, atol=1e-12)
    assert result.success[~left].all()
    assert jc.minimize_many(rosenbrock, many, lanes=64).success.all(), "the process is as healthy as before"


def test_ctrl_c_is_heard_on_the_long_way_of_one_problem(press_in_span):
    def run(maxiter):
        return jc.minimize(rosenbrock, STARTS[0], method=jc.methods.gradient_descent(1e-9), maxiter=maxiter)

    assert run(3000).nit == 3000
    press_in_span(3)
    with pytest.raises(jc.Interrupted) as caught:
        run(10**7)
    result = caught.value.result
    assert result.status == jc.Status.INTERRUPTED
    assert result.x.shape == (3,)
    assert result.fun < rosenbrock(STARTS[0])


def test_ctrl_c_that_nobody_asks_for_is_not_lost(ctrl_c):
    def press():
        with interruption.listening():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        press()


def test_ctrl_c_in_a_search_for_all_minima_returns_the_descents_so_far(press_in_span):
    press_in_span(4)
    with pytest.raises(jc.Interrupted) as caught:
        jc.multistart(hilly, (-2 * np.ones(3), 2 * np.ones(3)), starts=5000)
    result = caught.value.result
    assert result.x.shape[1:] == (3,)
    assert 0 < len(result.status) < 5000
    lowest = result.fun[result.success]
    assert (lowest[1:] >= lowest[:-1]).all()


class TestCallback:
    """`callback=` is SciPy's: after every iteration, with the result so far or with x."""

    def test_it_sees_every_iteration(self):
        seen = []
        result = jc.minimize(rosenbrock, STARTS[0], callback=lambda x: seen.append(np.asarray(x)))
        assert result.success
        assert len(seen) == result.nit - 1  # none after the last
        assert all(x.shape == (3,) for x in seen)

    def test_stop_iteration_ends_it(self):
        def stop(intermediate_result):
            if intermediate_result.nit >= 3:
                raise StopIteration

        result = jc.minimize(rosenbrock, STARTS[0], callback=stop)
        assert result.status == jc.Status.INTERRUPTED
        assert result.nit == 3
        assert result.fun < rosenbrock(STARTS[0])

    def test_errors(self):
        with pytest.raises(TypeError, match="callback must be a function"):
            jc.minimize(rosenbrock, STARTS[0], callback=3)  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="cannot do: leave it out"):
            jax.jit(lambda x: jc.minimize(rosenbrock, x, callback=print).x)(STARTS[0])


def bumpy(x, centre):
    return jnp.sum((x - centre) ** 2 + 2 * (1 - jnp.cos(3 * (x - centre))))


class TestStarts:
    """`starts=K`: the best end of K starts of each problem, without repeated data."""

    centres = np.random.default_rng(1).uniform(-1, 1, (5, 2))
    x0 = centres[:, None] + np.random.default_rng(2).uniform(-3, 3, (5, 8, 2))

    def test_the_best_end_of_each(self):
        best = jc.minimize_many(bumpy, self.x0, (self.centres,), starts=8)
        flat = jc.minimize_many(bumpy, self.x0.reshape(-1, 2), (np.repeat(self.centres, 8, axis=0),))
        values = np.asarray(flat.fun).reshape(5, 8)
        np.testing.assert_allclose(best.fun, values.min(1), atol=1e-9)
        near = np.abs(values - values.min(1, keepdims=True)) < 1e-5
        np.testing.assert_array_equal(best.agreed, near.sum(1))

    def test_bounds_for_each_and_jit(self):
        bounds = (self.centres - 1, self.centres + 1)
        best = jc.minimize_many(bumpy, self.x0, (self.centres,), starts=8, bounds=bounds)
        np.testing.assert_allclose(best.x, self.centres, atol=1e-4)
        traced = jax.jit(lambda x0: jc.minimize_many(bumpy, x0, (self.centres,), starts=8, bounds=bounds))(self.x0)
        np.testing.assert_allclose(traced.fun, best.fun, atol=1e-9)

    def test_least_squares(self):
        t = np.linspace(0, 3, 10)
        y = np.outer([1.0, 2.0], np.exp(-0.5 * t))
        x0 = np.random.default_rng(0).uniform(0.3, 2, (2, 4, 2))
        fit = jc.least_squares_many(lambda p, y: p[0] * jnp.exp(-p[1] * t) - y, x0, (y,), starts=4)
        np.testing.assert_allclose(fit.x, [[1.0, 0.5], [2.0, 0.5]], atol=1e-6)
        assert (fit.agreed == 4).all()

    def test_errors(self):
        with pytest.raises(ValueError, match=r"shape \(N, 3, ...\)"):
            jc.minimize_many(bumpy, self.x0, (self.centres,), starts=3)
        with pytest.raises(ValueError, match="one function"):
            jc.minimize_many([bumpy], [self.x0], [(self.centres,)], starts=8)
