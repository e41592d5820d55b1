"""Ten different functions of one to ten variables, each minimised from many starts, in one call.

Run it with `python examples/ten_functions_at_once.py`.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="use 20 starts of each function, not 1,000")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% Test problems with known minima, and starts around the usual one of each.
CHOSEN = ["quartic", "rosenbrock 10", "himmelblau", "beale", "booth", "powell singular"]
CHOSEN += ["wood", "helical valley", "ellipsoid", "log barrier"]
starts = 20 if options.short else 1_000
chosen = [problem for problem in jc.problems.PROBLEMS if problem.name in CHOSEN]
functions = [problem.fun for problem in chosen]
generator = np.random.default_rng(0)
x0 = [problem.x0 + generator.normal(size=(starts, *problem.x0.shape)) for problem in chosen]

# %% One program is compiled, in which each function has lanes and a queue of starts of its own.
results = jc.minimize_many(functions, x0)

print(f"{'function':16} variables  converged  lowest value  known lowest  evaluations a start")
for problem, result in zip(chosen, results, strict=True):
    converged, lowest = int(result.success.sum()), result.fun[result.success].min()
    print(
        f"{problem.name:16} {problem.x0.size:9d} {converged:10d} {lowest:13.2e} {problem.value:13.2e} "
        f"{result.nfev.mean():20.1f}"
    )

# %%
hardest = max(range(len(chosen)), key=lambda k: float(results[k].nfev.mean()))
ax = jc.plots.convergence(results[hardest], title=f"The hardest of the ten: {chosen[hardest].name}")
ax.figure.savefig(options.output / "ten_functions.png")
print("picture:", options.output / "ten_functions.png")
