"""`jax.vmap` of `minimize`, and its gradient, beside `minimize_many` on the same 5,000 Rosenbrock-10 problems."""

import jax
import jax.numpy as jnp

import jaxcalc as jc
from benchmarks import timing
from benchmarks.entry import Entry, Row, times_faster
from benchmarks.fairness import GRADIENT, solved_share
from benchmarks.rosenbrock import skewed
from jaxcalc.problems import rosenbrock


def run(quick: bool = False) -> Entry:
    count, repeats = (48, 2) if quick else (5_000, 9)
    x0, (b,) = skewed(count, 10)
    solve = jax.vmap(lambda x0, b: jc.minimize(rosenbrock, x0, (b,), gtol=GRADIENT).x)
    contestants = {
        "minimize_many": lambda: jc.minimize_many(rosenbrock, x0, (b,), gtol=GRADIENT).x,
        "vmap of minimize": lambda: solve(x0, b),
        "gradient of vmap of minimize": lambda: jax.grad(lambda b: jnp.sum(solve(x0, b)))(b),
    }
    timings, results = timing.interleaved(contestants, repeats)
    many, mapped, gradient = (Row(name, count, taken) for name, taken in timings.items())
    exact = jax.grad(lambda b: jnp.sum(jc.minimize_many(rosenbrock, x0, (b,), gtol=GRADIENT).x))(b)
    # Where several minima are near, a start may lead the two programs to different ones.
    agree = jnp.isclose(results[gradient.name], exact, rtol=1e-2, atol=1e-6)
    rows = [
        Row(row.name, count, row.timing, solved_share(rosenbrock, results[row.name], (b,))) for row in (many, mapped)
    ]
    ratios = [
        times_faster(mapped, many, "mapped: vmap of minimize, times minimize_many", 0.8),
        times_faster(gradient, many, "mapped: its gradient, times minimize_many"),
    ]
    notes = [f"The gradient is that through minimize_many for {100 * float(jnp.mean(agree)):.2f} % of the problems."]
    return Entry("mapped", f"{count:,} Rosenbrock-10, as problems and by jax.vmap", [*rows, gradient], ratios, notes)
