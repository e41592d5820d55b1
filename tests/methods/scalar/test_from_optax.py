"""Optimisers of Optax as methods: each must take the steps that a loop written by hand takes."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcalc as jc
from jaxcalc.methods.scalar import from_optax

CURVATURE = jnp.asarray(np.random.default_rng(0).uniform(0.5, 3.0, (5, 3)))
CENTRE = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3)))
STARTS = jnp.asarray(np.random.default_rng(2).normal(size=(5, 3))) * 2
ITERATIONS = np.array([40, 1, 7, 0, 23])


def bowl(x, curvature, centre):
    return jnp.sum(curvature * (x - centre) ** 2) + 0.1 * jnp.sum((x - centre) ** 4)


def as_method(optimizer) -> Any:
    return optimizer


def transformation(init: Any, update: Any) -> optax.GradientTransformation:
    return optax.GradientTransformation(init, update)


def solve(optimizer, gtol=0.0, maxiter: Any = ITERATIONS):
    args = (CURVATURE, CENTRE)
    return jc.minimize_many(bowl, STARTS, args, method=optimizer, gtol=gtol, maxiter=maxiter, lanes=2)


def by_hand(optimizer, fun, passed=()):
    """The loop of Optax's documentation; `passed` says which of value and grad the update is given."""

    @jax.jit
    def step(x, state, args):
        value, grad = jax.value_and_grad(fun)(x, *args)
        extra = {name: {"value": value, "grad": grad}[name] for name in passed}
        updates, state = optimizer.update(grad, state, x, **extra)
        return optax.apply_updates(x, updates), state

    def run(x, iterations, *args):
        state = optimizer.init(x)
        for _ in range(iterations):
            x, state = step(x, state, args)
        return x

    return run


def warm_up():
    return optax.warmup_cosine_decay_schedule(init_value=0.0, peak_value=0.2, warmup_steps=5, decay_steps=40)


PLAIN = {
    "adam": optax.adam(0.1),
    "sgd with momentum": optax.sgd(0.02, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop(0.05),
    "lion": optax.lion(0.03),
    "adamw": optax.adamw(0.1, weight_decay=0.1),
    "inject_hyperparams": optax.inject_hyperparams(optax.adam)(learning_rate=optax.exponential_decay(0.2, 10, 0.5)),
    "chain": optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.1)),
    "a schedule that starts at zero": optax.sgd(warm_up()),
    "MultiSteps": optax.MultiSteps(optax.adam(0.1), 4, accumulator_dtype=float).gradient_transformation(),
    "noise of a typed key": optax.noisy_sgd(0.05, key=jax.random.key(7)),
}
WITH_VALUE = {
    "polyak_sgd": optax.polyak_sgd(max_learning_rate=0.1),
    "lbfgs": optax.lbfgs(0.5, memory_size=3, linesearch=None),
    "reduce_on_plateau": optax.chain(optax.clip(1.0), optax.sgd(0.3), optax.contrib.reduce_on_plateau(patience=2)),
}


@pytest.mark.parametrize("name", [*PLAIN, *WITH_VALUE])
def test_equals_a_loop_by_hand(name):
    """Problem by problem, each with its own number of iterations, in fewer lanes than problems."""
    optimizer = (PLAIN | WITH_VALUE)[name]
    result = solve(optimizer)
    np.testing.assert_array_equal(result.status, jc.Status.MAX_ITERATIONS)
    np.testing.assert_array_equal(result.nit, ITERATIONS)
    np.testing.assert_array_equal(result.nfev, ITERATIONS + 1)
    run = by_hand(optimizer, bowl, ("value", "grad") if name in WITH_VALUE else ())
    for k, iterations in enumerate(ITERATIONS):
        expected = run(STARTS[k], iterations, CURVATURE[k], CENTRE[k])
        np.testing.assert_allclose(result.x[k], expected, rtol=1e-9, err_msg=str(k))
        np.testing.assert_allclose(result.fun[k], bowl(expected, CURVATURE[k], CENTRE[k]), rtol=1e-9)


def test_the_same_optimiser_is_not_traced_again():
    traced = []
    adam = optax.adam(0.1)
    counting = transformation(adam.init, lambda *inputs: traced.append(1) or adam.update(*inputs))
    first = solve(counting)
    count = len(traced)
    assert count > 0
    again = solve(counting)
    wrapped = solve(from_optax(counting))
    solve(counting, maxiter=ITERATIONS // 2, gtol=1e-3)
    assert len(traced) == count
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.x, wrapped.x)
    assert from_optax(counting) == from_optax(counting)
    assert hash(from_optax(counting)) == hash(from_optax(counting))
    assert from_optax(optax.adam(0.1)) != from_optax(optax.adam(0.1))


def test_many_starts_converge_each_in_its_own_time():
    result = solve(PLAIN["adam"], gtol=1e-5, maxiter=2000)
    result.check()
    assert len(set(result.nit.tolist())) > 1
    np.testing.assert_allclose(result.x, CENTRE, atol=1e-4)
    gradient = jax.vmap(jax.grad(bowl))(result.x, CURVATURE, CENTRE)
    assert jnp.abs(gradient).max() <= 1.01e-5


class TestForms:
    """Pytrees: one flat vector by default, the form of x on request."""

    start: ClassVar = {"a": jnp.ones((2, 2)), "b": (jnp.full(2, 3.0), jnp.array(2.0))}
    labels: ClassVar = {"a": "fast", "b": ("slow", "fast")}

    @staticmethod
    def fun(x):
        return jnp.sum((x["a"] - 1.5) ** 2) + jnp.sum(x["b"][0] ** 4) + (x["b"][1] - x["a"][0, 0]) ** 2

    def check(self, method, optimizer):
        start = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.5]), self.start)
        # lanes=2 asks for the loop, which rounds as the run by hand does: a trust ratio divides by rounding errors.
        result = jc.minimize_many(self.fun, start, method=method, gtol=0.0, maxiter=[12, 30], lanes=2)
        assert jax.tree.structure(result.x) == jax.tree.structure(start)
        run = by_hand(optimizer, self.fun)
        for k, iterations in enumerate((12, 30)):
            expected = run(jax.tree.map(lambda leaf, k=k: leaf[k], start), iterations)
            jax.tree.map(
                lambda leaf, e, k=k: np.testing.assert_allclose(leaf[k], e, rtol=1e-9, atol=1e-12), result.x, expected
            )

    def test_a_flat_vector_is_the_same_to_what_treats_components_alike(self):
        self.check(PLAIN["chain"], PLAIN["chain"])

    def test_leaves_are_told_apart_on_request(self):
        optimizer = optax.chain(
            optax.partition({"fast": optax.sgd(0.1), "slow": optax.adam(0.01)}, self.labels),
            optax.scale_by_trust_ratio(),
        )
        self.check(from_optax(optimizer, like=self.start), optimizer)
        with pytest.raises(TypeError, match=r"cannot be a method.*like=x0"):
            jc.minimize(self.fun, self.start, method=as_method(optimizer))
        with pytest.raises(TypeError, match="x0 has 3 variables"):
            jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(3), method=from_optax(optimizer, like=self.start))


def test_bounds_cut_off_every_step():
    adam = PLAIN["adam"]
    lower, upper = jnp.full(3, -0.5), jnp.array([0.2, jnp.inf, 1.0])
    args = (CURVATURE[0], CENTRE[0])
    result = jc.minimize(bowl, STARTS[0], args, method=as_method(adam), gtol=0.0, maxiter=30, bounds=(lower, upper))
    x = jnp.clip(STARTS[0], lower, upper)
    state = adam.init(x)
    for _ in range(30):
        updates, state = adam.update(jax.grad(bowl)(x, *args), state, x)
        x = jnp.clip(jnp.asarray(optax.apply_updates(x, updates)), lower, upper)
    np.testing.assert_allclose(result.x, x, rtol=1e-9)


def test_single_precision():
    optimizer = PLAIN["inject_hyperparams"]
    args = (CURVATURE.astype(jnp.float32), CENTRE.astype(jnp.float32))
    start = STARTS.astype(jnp.float32)
    result = jc.minimize_many(bowl, start, args, method=optimizer, gtol=0.0, maxiter=ITERATIONS, lanes=2)
    assert result.x.dtype == result.fun.dtype == jnp.float32
    run = by_hand(optimizer, bowl)
    for k, iterations in enumerate(ITERATIONS):
        np.testing.assert_allclose(result.x[k], run(start[k], iterations, args[0][k], args[1][k]), rtol=1e-4, atol=1e-6)


def test_a_state_may_change_its_dtype():
    """Begun in single precision and carried on in double: a loop in Python would not mind."""

    def init(x):
        return {"sum": jnp.zeros(x.shape, jnp.float32), "count": 0, "nothing": None}

    def update(gradient, state, x=None):
        total = state["sum"] + gradient
        return -0.05 * total, {"sum": total, "count": state["count"] + 1, "nothing": None}

    optimizer = transformation(init, update)
    result = jc.minimize(bowl, STARTS[0], (CURVATURE[0], CENTRE[0]), method=as_method(optimizer), gtol=0.0, maxiter=9)
    expected = by_hand(optimizer, bowl)(STARTS[0], 9, CURVATURE[0], CENTRE[0])
    np.testing.assert_allclose(result.x, expected, rtol=1e-12)


def test_only_a_point_of_rest_is_stalled():
    """A step of zero ends a problem only where the optimiser's state does not change either."""

    def run(optimizer, maxiter=30):
        args = (CURVATURE[0], CENTRE[0])
        return jc.minimize(bowl, STARTS[0], args, method=as_method(optimizer), gtol=0.0, maxiter=maxiter)

    still = run(optax.set_to_zero())
    assert (still.status, still.nit, still.nfev) == (jc.Status.STALLED, 0, 1)
    np.testing.assert_array_equal(still.x, STARTS[0])
    counted = run(optax.sgd(lambda count: 0.0 * count))
    assert (counted.status, counted.nit) == (jc.Status.MAX_ITERATIONS, 30)
    # Descent that can no longer move x stalls, as the method gradient_descent does.
    assert run(optax.sgd(0.1), 5000).status == jc.Status.STALLED


def test_ends_with_the_last_finite_point():
    sgd = optax.sgd(1.0)
    result = jc.minimize(lambda x: jnp.sum(x**4), jnp.array([3.0]), method=as_method(sgd))
    assert result.status == jc.Status.NON_FINITE
    assert jnp.isfinite(result.x).all()
    assert jnp.isfinite(result.fun)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lbfgs(),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)),
        optax.chain(optax.adam(1.0), optax.scale_by_zoom_linesearch(max_linesearch_steps=5)),
    ],
    ids=["lbfgs", "backtracking", "zoom"],
)
def test_an_evaluation_inside_the_update_is_refused(optimizer):
    with pytest.raises(TypeError, match=r'value_fn.*method="lbfgs".*optax\.lbfgs\(\.\.\., linesearch=None\)'):
        jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(2), method=optimizer)


def test_what_is_no_optimiser_is_refused():
    with pytest.raises(TypeError, match=r"a name, .*optax\.GradientTransformation, not a function"):
        jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(2), method=as_method(optax.adam))
    with pytest.raises(TypeError, match=r"such as optax\.adam\(1e-2\), not a str"):
        from_optax(as_method("adam"))
    grows = transformation(lambda x: x, lambda g, s, x=None: (g, jnp.concatenate([s, g])))
    with pytest.raises(TypeError, match=r"cannot be a method.*shape \(2,\) before an update and \(4,\) after"):
        jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(2), method=as_method(grows))


def test_it_has_no_name_in_the_registry():
    assert "from_optax" not in jc.methods.REGISTRY
    assert "momentum" in jc.methods.REGISTRY
    with pytest.raises(ValueError, match="there is no method 'from_optax'"):
        jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(2), method="from_optax")


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_that_of_optax(nesterov):
    method = jc.methods.momentum(0.02, 0.8, nesterov)
    run = by_hand(optax.sgd(0.02, momentum=0.8, nesterov=nesterov), bowl)
    result = solve(method)
    for k, iterations in enumerate(ITERATIONS):
        np.testing.assert_allclose(result.x[k], run(STARTS[k], iterations, CURVATURE[k], CENTRE[k]), rtol=1e-9)
