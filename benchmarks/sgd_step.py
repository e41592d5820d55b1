"""A step of the hand-written descent beside Optax's, with momentum, Nesterov's look ahead and weight decay."""

import functools
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxcalc as jc
from benchmarks import timing
from benchmarks.entry import Entry, Ratio, Row


def run(quick: bool = False) -> Entry:
    steps, repeats = (20, 2) if quick else (2_000, 15)
    params = {f"layer {k}": jnp.ones((64, 64), jnp.float32) for k in range(4)}
    optimizers = {
        "jaxcalc": jc.sgd(0.1, 0.9, nesterov=True, weight_decay=1e-3),
        "Optax": optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(0.1, 0.9, nesterov=True)),
    }

    def descend(optimizer: Any) -> Any:
        def step(_: Any, carry: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(params, state, params)  # the gradient of |x|^2 / 2
            return optax.apply_updates(params, updates), state

        return jax.jit(lambda params: jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params))))

    contestants = {name: functools.partial(descend(of), params) for name, of in optimizers.items()}
    timings, _ = timing.interleaved(contestants, repeats, time.process_time)
    rows = [Row(name, steps, timings[name]) for name in contestants]
    # The two compile to the same instructions, so beyond 1 there is only the noise of the clock.
    pairs = zip(timings["jaxcalc"].seconds, timings["Optax"].seconds, strict=True)
    ratio = Ratio("a step of sgd, over Optax's", statistics.median(a / b for a, b in pairs), 1.03, at_most=True)
    return Entry("sgd_step", "steps of descent on four arrays of 64 x 64, float32", rows, [ratio])
