"""20,000 Rosenbrock-4 problems of curvature 1, but 10^6 for one in a hundred: who waits for the slowest?"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import peers
from benchmarks.against_peers import OURS, SCIPY, compare, fastest, optimistix
from benchmarks.entry import Entry, times_faster
from jaxcalc.problems import rosenbrock


def one_in_a_hundred(count: int, seed: int = 0) -> tuple[Array, tuple[Array]]:
    """Returns starts (count, 4) and curvatures (count,), float64; at least one straggler, anywhere in the queue."""
    random = np.random.default_rng(seed)
    curvature = np.ones(count)
    curvature[random.choice(count, max(1, count // 100), replace=False)] = 1e6
    return jnp.asarray(random.uniform(-3, 3, (count, 4))), (jnp.asarray(curvature),)


def run(quick: bool = False) -> Entry:
    count, repeats, scipy_sample = (48, 2, 2) if quick else (20_000, 5, 200)
    rows, notes = compare(rosenbrock, *one_in_a_hundred(count), repeats=repeats, scipy_sample=scipy_sample)
    ours, scipy = (fastest(rows, name) for name in (OURS, SCIPY))
    ratios = [times_faster(ours, scipy, "stragglers: times the SciPy loop")]
    if peers.HAS_OPTIMISTIX:
        vmap = fastest(rows, optimistix(None))
        blocks = fastest(rows, *map(optimistix, peers.blocks()))
        ratios = [
            times_faster(ours, vmap, "stragglers: times the vmapped peer", 40),
            times_faster(ours, blocks, f"stragglers: times its best blocks ({blocks.name})", 4),
            *ratios,
        ]
    return Entry("stragglers", f"{count:,} Rosenbrock-4, curvature 1, for 1 % of them 10^6", rows, ratios, notes)
