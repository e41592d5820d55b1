"""The lasso: regressions whose small coefficients become exactly 0, a whole path of penalties at once.

|w| has no derivative at 0. `jc.l1` tells the solver so: it splits w = u - v with u, v >= 0, and |w| is u + v.
Run it with `python examples/lasso.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="20 penalties, not 100")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The data: 100 observations of 12 features, of which four matter.
generator = np.random.default_rng(3)
X = generator.normal(size=(100, 12))
truth = np.array([3.0, -2.0, 1.0, 0.5] + [0.0] * 8)
y = X @ truth + generator.normal(0, 1.0, 100)


# %% A penalty is each problem's own: a column of numbers. The data are shared.
def cost(w, X, y):
    return jnp.mean((X @ w - y) ** 2) / 2


penalties = np.geomspace(3.0, 0.003, 20 if options.short else 100)
starts = np.zeros((len(penalties), 12))
path = jc.minimize_many(cost, starts, shared=(X, y), terms=jc.l1(penalties[:, None]))
print(path.message)
w = np.asarray(path.x)

# %% The conditions of optimality: |slope| equals the penalty where w is not 0, and is at most the penalty where w is 0.
slope = np.abs(path.jac)  # of the cost without the penalty
print(f"largest violation of the conditions: {np.maximum(slope - penalties[:, None], 0).max():.1e}")
print("penalty   coefficients that are not 0")
for k in range(0, len(penalties), len(penalties) // 5):
    print(f"{penalties[k]:7.3f}   {np.flatnonzero(w[k])}")

# %%
ax = Figure(figsize=(6.5, 4.5), dpi=150, layout="constrained").add_subplot(title="The path of the lasso")
for k, coefficients in enumerate(w.T):
    ax.plot(penalties, coefficients, linewidth=1.8 if k < 4 else 0.8, label=f"w{k}" if k < 4 else None)
ax.set(xscale="log", xlabel="penalty", ylabel="coefficient")
ax.legend(frameon=False)
ax.figure.savefig(options.output / "lasso.png")
print("picture:", options.output / "lasso.png")
