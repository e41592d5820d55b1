"""5,000 Rosenbrock-10 problems of very different steepness: curvature 10^U(0, 4), starts U(-3, 3)."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.against_peers import OURS, SCIPY, best_peer, compare, fastest
from benchmarks.entry import Entry, times_faster
from jaxcalc.problems import rosenbrock


def skewed(count: int, n: int, seed: int = 0) -> tuple[Array, tuple[Array]]:
    """Returns starts (count, n) and curvatures (count,), float64."""
    random = np.random.default_rng(seed)
    return jnp.asarray(random.uniform(-3, 3, (count, n))), (jnp.asarray(10 ** random.uniform(0, 4, count)),)


def run(quick: bool = False) -> Entry:
    count, repeats, scipy_sample = (48, 2, 2) if quick else (5_000, 5, 40)
    rows, notes = compare(rosenbrock, *skewed(count, 10), repeats=repeats, scipy_sample=scipy_sample)
    ours, scipy = fastest(rows, OURS), fastest(rows, SCIPY)
    ratios = [times_faster(ours, scipy, "rosenbrock: times the SciPy loop", 300)]
    if peer := best_peer(rows):
        ratios.insert(0, times_faster(ours, peer, f"rosenbrock: times the best peer ({peer.name})", 3))
    return Entry("rosenbrock", f"{count:,} Rosenbrock-10, curvature 10^U(0,4), starts U(-3,3)", rows, ratios, notes)
