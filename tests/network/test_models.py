"""Models of Flax and Equinox, written as in their documentation, and batches divided over devices."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

import jaxcalc as jc
from jaxcalc.network import training
from jaxcalc.network.gradients import Computation

SETTING: dict[str, Any] = {"learning_rates": [0.01, 0.1], "seeds": 2, "epochs": 8, "batch_size": 16, "progress": False}


def wave():
    x = jnp.linspace(-1, 1, 64, dtype=jnp.float32)[:, None]
    return x, 0.8 * x**2 + 0.1


def assert_it_learns(found: jc.Comparison):
    for runs in found.runs.values():
        best = runs.judged[runs.chosen]
        assert not runs.diverged[runs.chosen].any()
        assert (best[:, -1] < 0.5 * best[:, 0]).all()


@pytest.mark.slow
def test_a_flax_nnx_model():
    nnx = pytest.importorskip("flax.nnx")

    class MLP(nnx.Module):
        def __init__(self, din: int, dmid: int, dout: int, *, rngs):
            self.linear1 = nnx.Linear(din, dmid, rngs=rngs)
            self.dropout = nnx.Dropout(rate=0.1, rngs=rngs)
            self.bn = nnx.BatchNorm(dmid, rngs=rngs)
            self.linear2 = nnx.Linear(dmid, dout, rngs=rngs)

        def __call__(self, x):
            x = nnx.gelu(self.dropout(self.bn(self.linear1(x))))
            return self.linear2(x)

    graph, _, rest = nnx.split(MLP(1, 16, 1, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def init(key):
        return nnx.split(MLP(1, 16, 1, rngs=nnx.Rngs(key)), nnx.Param, ...)[1]

    def cost(params, batch):
        x, y = batch
        model = nnx.merge(graph, params, rest, copy=True)  # a copy, because the call changes its running averages
        return jnp.mean((model(x) - y) ** 2)

    found = jc.compare_optimizers(cost, init, wave(), {"sgd": jc.sgd, "adam": optax.adam, "lbfgs": "lbfgs"}, **SETTING)
    assert_it_learns(found)
    params = found.solution("adam", 1, init(jax.random.key(0)))
    np.testing.assert_allclose(cost(params, wave()), found.runs["adam"].final[found.runs["adam"].chosen, 1], rtol=1e-4)


@pytest.mark.slow
def test_an_equinox_model():
    eqx = pytest.importorskip("equinox")

    class NeuralNetwork(eqx.Module):
        layers: list
        extra_bias: jax.Array

        def __init__(self, key):
            key1, key2 = jax.random.split(key)
            self.layers = [eqx.nn.Linear(1, 16, key=key1), jax.nn.relu, eqx.nn.Linear(16, 1, key=key2)]
            self.extra_bias = jnp.ones(1)

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x + self.extra_bias

    _, static = eqx.partition(NeuralNetwork(jax.random.key(0)), eqx.is_inexact_array)

    def init(key):
        return eqx.filter(NeuralNetwork(key), eqx.is_inexact_array)

    def cost(params, batch):
        model, (x, y) = eqx.combine(params, static), batch
        return jnp.mean((jax.vmap(model)(x) - y) ** 2)

    found = jc.compare_optimizers(cost, init, wave(), {"sgd": jc.sgd, "adam": optax.adam, "lbfgs": "lbfgs"}, **SETTING)
    assert_it_learns(found)
    # In Equinox the units are the first axis of a weight array, and leaves that are not arrays are None.
    slice_ = jc.loss_landscape(
        cost, found.solution("adam", 0, init(jax.random.key(0))), wave(), filter_axis=0, points=3
    )
    assert slice_.loss.argmin() == 1


NET = jc.network.mlp([8, 16, 4])
COST = jc.network.supervised(NET.apply, jc.network.cross_entropy, l2=1e-3)


def clouds():
    random = np.random.default_rng(0)
    return random.normal(size=(200, 8)).astype("float32"), random.integers(0, 4, 200)


@pytest.mark.slow
def test_eight_devices_give_the_losses_of_one():
    devices = jax.devices()
    assert len(devices) == 8
    setting: dict[str, Any] = SETTING | {"epochs": 3, "batch_size": 32}
    losses = []
    divided: list[dict[str, Any]] = [{}, {"devices": devices}, {"devices": devices[:4], "micro_batches": 2}]
    for options in divided:
        found = jc.compare_optimizers(COST, NET.init, clouds(), {"adam": optax.adam}, **setting, **options)
        losses.append(found.runs["adam"].train)
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    np.testing.assert_allclose(losses[2], losses[0], rtol=2e-5)
    setting["batch_size"] = 30
    with pytest.raises(ValueError, match="30 samples, a batch or micro-batch, do not divide over 8 devices"):
        jc.compare_optimizers(COST, NET.init, clouds(), {"adam": optax.adam}, **setting, devices=devices)


def test_the_batch_is_divided_and_the_gradients_are_added_up():
    plan = training.Plan(4, 48, Computation(mesh=Mesh(np.array(jax.devices()), ("samples",))))
    keys, rates = jax.vmap(jax.random.key)(jnp.arange(2, dtype=jnp.uint32)), jnp.array([0.01, 0.1])
    state = training.begin([jc.sgd], None, jax.vmap(NET.init)(keys), rates)
    data = jax.tree.map(jnp.asarray, clouds())
    run = jax.jit(lambda *operands: training.epoch([COST, jc.sgd], plan, *operands))
    program = str(run.lower(state, rates, keys, jnp.asarray(0), data).compile().as_text())
    shapes = set(re.findall(r"f64\[([0-9,]+)\]", program))
    assert "2,6,8" in shapes  # each device holds 6 of the 48 samples of a batch, for two seeds
    assert "2,48,8" not in shapes  # no device holds all samples of a batch
    assert "all-reduce" in program
