"""Workloads in which the objective is the cost: mixtures' likelihoods, logistic regressions, arms of 7 joints."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.against_peers import OURS, SCIPY, best_peer, compare, fastest
from benchmarks.entry import Entry, times_faster
from benchmarks.first_step import LOWER, UPPER, hand

POINTS, ROWS = 80, 60


def mixture(p: Array, y: Array) -> Array:
    """The mean negative log-likelihood of two normal distributions: a weight, two means, two sizes."""
    weight = jnp.stack([jax.nn.log_sigmoid(p[0]), jax.nn.log_sigmoid(-p[0])])
    z = (y[:, None] - p[1:3]) * jnp.exp(-p[3:5])
    # A weak prior keeps the sizes from vanishing on a single point.
    prior = 0.01 * jnp.sum(p[3:5] ** 2) + 1e-3 * p[0] ** 2
    return prior - jnp.mean(jax.nn.logsumexp(weight - p[3:5] - 0.5 * z**2, axis=1))


def mixtures(count: int) -> tuple[Array, tuple[Array]]:
    random = np.random.default_rng(0)
    first = random.random((count, POINTS)) < random.uniform(0.3, 0.7, (count, 1))
    y = np.where(first, random.normal(-2, 1, first.shape), random.normal(2, 0.7, first.shape))
    starts = np.array([0.0, -1.0, 1.0, 0.0, 0.0]) + random.normal(0, 0.1, (count, 5))
    return jnp.asarray(starts), (jnp.asarray(y),)


def logistic(w: Array, design: Array, labels: Array) -> Array:
    """The mean cost of a logistic regression with a small ridge."""
    return jnp.mean(jax.nn.softplus(-labels * (design @ w))) + 1e-3 * jnp.sum(w**2)


def logistics(count: int) -> tuple[Array, tuple[Array, Array]]:
    random = np.random.default_rng(1)
    design, truth = random.normal(size=(count, ROWS, 6)), random.normal(size=(count, 6))
    chance = 1 / (1 + np.exp(-np.einsum("kij,kj->ki", design, truth)))
    labels = np.where(random.random((count, ROWS)) < chance, 1.0, -1.0)
    return jnp.zeros((count, 6)), (jnp.asarray(design), jnp.asarray(labels))


def arm(angles: Array, target: Array) -> Array:
    """The squared distance of the hand from a point, and a pull of the joints to the middle of their ranges."""
    rest = jnp.asarray((LOWER + UPPER) / 2)
    return jnp.sum((hand(angles) - target)[:3] ** 2) + 1e-3 * jnp.sum((angles - rest) ** 2)


def arms(count: int) -> tuple[Array, tuple[Array]]:
    random = np.random.default_rng(2)
    targets = jax.vmap(hand)(jnp.asarray(LOWER + (UPPER - LOWER) * random.random((count, 7))))
    return jnp.tile(jnp.asarray((LOWER + UPPER) / 2), (count, 1)), (targets,)


WORKLOADS: dict[str, tuple[Callable, Callable, int]] = {
    f"mixture of {POINTS} points": (mixture, mixtures, 3_000),
    f"logistic regression of {ROWS} rows": (logistic, logistics, 4_000),
    "arm of 7 joints": (arm, arms, 5_000),
}


def run(quick: bool = False) -> Entry:
    rows, ratios, notes = [], [], []
    for name, (fun, problems, count) in WORKLOADS.items():
        count, repeats, sample = (32, 2, 2) if quick else (count, 5, 40)
        found, said = compare(functools.partial(fun), *problems(count), repeats=repeats, scipy_sample=sample)
        ours, scipy, peer = fastest(found, OURS), fastest(found, SCIPY), best_peer(found)
        if peer:
            ratios.append(times_faster(ours, peer, f"{name}: times the best peer ({peer.name})", 2.5))
        ratios.append(times_faster(ours, scipy, f"{name}: times the SciPy loop"))
        rows += [row.of(name) for row in found]
        notes += [f"{name}: {line}" for line in said]
    return Entry("objective_cost", "Workloads in which the objective is the cost", rows, ratios, notes)
