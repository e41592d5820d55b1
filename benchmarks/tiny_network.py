"""Gradient descent of the text's kind: one tiny network, the whole data in every step, all steps in one scan."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxcalc as jc
from benchmarks import timing
from benchmarks.entry import Entry, Ratio, Row
from jaxcalc import network


def run(quick: bool = False) -> Entry:
    steps, repeats = (1_000, 2) if quick else (1_000_000, 7)
    x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = jnp.array([[0.0], [1.0], [1.0], [0.0]])
    net = network.mlp([2, 2, 1], "sigmoid", output="sigmoid")
    cost = network.supervised(net.apply, network.quadratic_cost)
    params = net.init(jax.random.key(0))
    optimizer = jc.sgd(0.5)

    def by_hand(params: Any) -> Any:
        return network.backpropagation(net, network.quadratic_cost, params, (x, y))[1]

    def descend(gradient_of: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(gradient_of(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0])

    gradients = {"jax.grad": jax.grad(lambda params: cost(params, (x, y))), "the chain rule by hand": by_hand}
    contestants = {name: functools.partial(descend(of), params) for name, of in gradients.items()}
    timings, results = timing.interleaved(contestants, repeats, time.process_time)
    rows = [
        Row(name, steps, timings[name], note=f"cost {float(cost(results[name], (x, y))):.2e}") for name in contestants
    ]
    ratios = [Ratio("steps a second of one tiny network", rows[0].per_second, 1_000_000)]
    return Entry(
        "tiny_network", f"steps of descent, 2-2-1 sigmoids on exclusive or, float64, {steps:,} in a scan", rows, ratios
    )
