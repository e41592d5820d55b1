"""A ridge penalty for each feature, chosen by minimising the cross-validated loss, differentiated through the fits.

The ten penalties of a regression on 442 patients cannot be searched on a grid: three values of each make 59,049
combinations. But the fits are differentiable with respect to the penalties. Run it with
`python examples/ridge_penalties.py`; it needs `pip install "jaxcalc[demo]"` for scikit-learn's data.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="stop after 10 iterations")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise
FOLDS = 5


# %%
def cost(w, training, penalty, X, y):
    """Half of the mean squared error over the training patients plus the penalties; training is 1 for them, else 0."""
    return (training @ (X @ w - y) ** 2 / training.sum() + penalty @ w**2) / 2


def validation(log_penalty, training, X, y):
    """The mean squared error over all patients, each predicted by the fit that was trained without its fold."""
    fits = jc.minimize_many(cost, jnp.zeros((FOLDS, X.shape[1])), (training,), shared=(jnp.exp(log_penalty), X, y))
    return jnp.sum((1 - training) * (X @ fits.x.T - y[:, None]).T ** 2) / len(y)


# %% The data: a quarter of the patients are kept for the test, the others are in five folds.
data = load_diabetes()
X, y = (jnp.asarray((array - array.mean(0)) / array.std(0)) for array in (data.data, data.target))
order = np.random.default_rng(0).permutation(len(y))
test, rest = order[:110], order[110:]
training = jnp.asarray(np.arange(len(rest)) % FOLDS != np.arange(FOLDS)[:, None], float)

# %%
start = jnp.full(X.shape[1], jnp.log(0.1))
maxiter = 10 if options.short else 100
chosen = jc.minimize(validation, start, (training, X[rest], y[rest]), gtol=1e-4, maxiter=maxiter)

# %% For comparison one penalty for all features, from a grid of as many values as the descent has evaluated.
grid = jnp.linspace(np.log(1e-4), np.log(1e2), int(chosen.nfev))
losses = jax.vmap(lambda p: validation(jnp.full(X.shape[1], p), training, X[rest], y[rest]))(grid)
common = jnp.full(X.shape[1], grid[jnp.argmin(losses)])

print(f"{int(chosen.nfev)} evaluations each     cross-validated   unseen patients")
for name, log_penalty in (("one penalty, on a grid", common), ("ten, by descent", chosen.x)):
    w = jc.minimize(cost, jnp.zeros(X.shape[1]), (jnp.ones(len(rest)), jnp.exp(log_penalty), X[rest], y[rest])).x
    unseen = jnp.mean((X[test] @ w - y[test]) ** 2)
    print(f"{name:25} {validation(log_penalty, training, X[rest], y[rest]):14.4f} {unseen:17.4f}")
for name, penalty in zip(data.feature_names, np.exp(chosen.x), strict=True):
    print(f"  {name:4} {penalty:10.2e}")

# %%
ax = Figure(figsize=(6.5, 4.2), dpi=150, layout="constrained").add_subplot()
ax.barh(data.feature_names, np.asarray(chosen.x) / np.log(10))
ax.axvline(float(common[0]) / np.log(10), color="black", linestyle=":", label="the best common penalty")
ax.set(xlabel="log10 of the penalty", ylabel="feature", title="A ridge penalty for each feature")
ax.legend(frameon=False)
ax.figure.savefig(options.output / "penalties.png")
print("picture:", options.output / "penalties.png")
