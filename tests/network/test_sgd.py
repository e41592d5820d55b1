"""`sgd`: its steps are those of Optax to the last bit, it works inside Optax's wrappers, and it is no slower."""

import itertools
import re
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcalc as jc

RATES = {
    "number": lambda: 0.1,
    "array": lambda: jnp.float32(0.1),
    "schedule": lambda: optax.cosine_decay_schedule(0.1, 900),
}
DECAYS = {"none": (0.0, False), "coupled": (0.01, False), "decoupled": (0.01, True)}
MOMENTA = {"plain": (0.0, False), "momentum": (0.9, False), "nesterov": (0.9, True)}


def odd_tree():
    """Returns a pytree of several containers, with every precision, a scalar, an empty array and None."""
    random = np.random.default_rng(0)
    return {
        "single": jnp.asarray(random.normal(size=(5, 3)), jnp.float32),
        "half": (jnp.asarray(random.normal(size=17), jnp.bfloat16), None),
        "double": [jnp.asarray(random.normal(size=4), jnp.float64), jnp.asarray(random.normal())],
        "empty": jnp.zeros((0, 3)),
        "nothing": {},
    }


def gradients(tree: Any) -> Any:
    """Returns the gradient of a cost with many minima, under which a difference in one bit grows."""
    return jax.tree.map(lambda x: x + 2 * jnp.sin(3 * x), tree)


def optax_equivalent(rate, momentum, nesterov, decay, decoupled):
    decay = optax.add_decayed_weights(decay)
    if not decoupled:
        return optax.chain(decay, optax.sgd(rate, momentum or None, nesterov))
    trace = optax.trace(momentum, nesterov) if momentum else optax.identity()
    return optax.chain(trace, decay, optax.scale_by_learning_rate(rate))


def trained(optimizer, params, steps=1_000) -> Any:
    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(gradients(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0])
    return run(params)[0]


def assert_same_bits(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(np.asarray(one, float), np.asarray(other, float))


@pytest.mark.parametrize(("rate", "momentum", "decay"), list(itertools.product(RATES, MOMENTA, DECAYS)))
def test_a_thousand_steps_are_those_of_optax_to_the_last_bit(rate, momentum, decay):
    (strength, nesterov), (weight_decay, decoupled) = MOMENTA[momentum], DECAYS[decay]
    ours = jc.sgd(RATES[rate](), strength, nesterov, weight_decay, decoupled=decoupled)
    params = odd_tree()
    after = trained(ours, params)
    assert_same_bits(
        after, trained(optax_equivalent(RATES[rate](), strength, nesterov, weight_decay, decoupled), params)
    )
    assert np.abs(after["single"] - params["single"]).min() > 0


@pytest.mark.parametrize("rate", RATES)
def test_a_compiled_step_has_the_instructions_of_optax_s(rate):
    def instructions(optimizer: Any) -> list[str]:
        params = odd_tree()
        program: Any = jax.jit(optimizer.update).lower(params, optimizer.init(params), params).compile()
        return sorted(re.findall(r" = \S+ ([a-z-]+)\(", program.as_text()))

    ours = instructions(jc.sgd(RATES[rate](), 0.9, True, 0.01))
    assert ours == instructions(optax_equivalent(RATES[rate](), 0.9, True, 0.01, False))
    assert len(ours) > 20


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
def test_injected_and_scheduled_it_takes_a_thousand_steps_of_optax(dtype):
    options = {"learning_rate": optax.linear_schedule(0.1, 0.01, 900), "momentum": 0.9, "nesterov": True}
    ours, theirs = (optax.inject_hyperparams(factory)(**options) for factory in (jc.sgd, optax.sgd))
    params = {"some": jnp.linspace(-1, 2, 7, dtype=dtype), "one": jnp.asarray(0.5, dtype)}
    assert_same_bits(trained(ours, params), trained(theirs, params))


def test_three_steps_by_hand():
    optimizer: Any = jc.sgd(0.5, momentum=0.5, nesterov=True, weight_decay=1.0)
    x: Any = jnp.asarray(1.0)
    state = optimizer.init(x)
    v, expected = 0.0, 1.0
    for _ in range(3):
        g = 2 * expected + expected
        v = 0.5 * v + g
        expected -= 0.5 * (g + 0.5 * v)
        updates, state = optimizer.update(2 * x, state, x)
        x = optax.apply_updates(x, updates)
    assert float(x) == expected


def test_it_takes_the_places_that_optax_gives():
    params = {"weights": jnp.ones(3), "bias": jnp.ones(2)}
    grads = jax.tree.map(lambda leaf: 100 * leaf, params)
    chained: Any = optax.chain(optax.clip(1.0), jc.sgd(0.1, momentum=0.9))
    updates, _ = chained.update(grads, chained.init(params), params)
    np.testing.assert_allclose(updates["weights"], -0.1)

    masked: Any = optax.masked(jc.sgd(0.1, 0.9, weight_decay=0.5), {"weights": True, "bias": False})
    updates, _ = masked.update(grads, masked.init(params), params)
    np.testing.assert_allclose(updates["weights"], -0.1 * 100.5)
    np.testing.assert_array_equal(updates["bias"], grads["bias"])

    injected: Any = optax.inject_hyperparams(jc.sgd)(learning_rate=0.1, momentum=0.5, weight_decay=0.0)
    state = injected.init(params)
    state.hyperparams["learning_rate"] = jnp.asarray(0.2)
    updates, state = injected.update(grads, state, params)
    np.testing.assert_allclose(updates["bias"], -20.0)
    updates, state = injected.update(grads, state, params)
    np.testing.assert_allclose(updates["bias"], -30.0)

    scheduled: Any = optax.inject_hyperparams(jc.sgd)(learning_rate=optax.linear_schedule(1.0, 0.0, 2))
    state = scheduled.init(params)
    for expected in (-100.0, -50.0, 0.0):
        updates, state = scheduled.update(grads, state, params)
        np.testing.assert_allclose(updates["bias"], expected)


def test_gradients_that_are_none_stay_none():
    params = {"trained": jnp.ones(2), "frozen": jnp.ones(3)}
    optimizer: Any = jc.sgd(0.1, 0.9, True, 0.1)
    updates, _ = optimizer.update({"trained": jnp.ones(2), "frozen": None}, optimizer.init(params), params)
    assert updates["frozen"] is None


def test_learning_rates_may_be_mapped_and_differentiated():
    def after(rate) -> Any:
        optimizer: Any = jc.sgd(rate)
        updates, _ = optimizer.update(jnp.asarray(3.0), optimizer.init(jnp.asarray(1.0)))
        return 1.0 + updates

    np.testing.assert_allclose(jax.vmap(after)(jnp.array([0.1, 0.2])), [0.7, 0.4])
    assert float(jax.grad(after)(0.1)) == -3.0


def test_a_rate_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="a number or a schedule"):
        jc.sgd("0.1")  # pyright: ignore[reportArgumentType]


def test_weight_decay_without_parameters_says_what_to_do():
    optimizer: Any = jc.sgd(0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match=r"call update\(gradients, state, params\)"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


def test_the_count_of_a_schedule_does_not_turn_negative():
    optimizer: Any = jc.sgd(lambda count: 1.0 / count)
    state = optimizer.init(jnp.ones(2))._replace(count=jnp.asarray(2**31 - 1, jnp.int32))
    assert int(optimizer.update(jnp.ones(2), state)[1].count) == 2**31 - 1


@pytest.mark.slow
def test_a_step_takes_no_longer_than_optax_s():
    params = {f"layer {k}": jnp.ones((64, 64), jnp.float32) for k in range(4)}

    def timed(optimizer):
        run = jax.jit(
            lambda params: jax.lax.fori_loop(
                0, 2_000, lambda _, carry: step(optimizer, *carry), (params, optimizer.init(params))
            )
        )
        jax.block_until_ready(run(params))

        def call():
            began = time.perf_counter()
            jax.block_until_ready(run(params))
            return time.perf_counter() - began

        return call

    def step(optimizer, params, state):
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    ours, theirs = timed(jc.sgd(0.1, 0.9, True, 1e-3)), timed(optax_equivalent(0.1, 0.9, True, 1e-3, False))
    ratio = statistics.median(ours() / theirs() for _ in range(15))
    assert ratio < 1.1
