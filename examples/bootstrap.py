"""Thousands of logistic regressions at once: bootstrap intervals for a study of 569 patients.

Run it with `python examples/bootstrap.py`; it needs `pip install "jaxcalc[demo]"` for scikit-learn's data.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc
from jaxcalc.command.demo import breast_cancer

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="draw 100 resamples, not 5,000")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% X has a column of ones and six standardised features, y is 1 for a malignant tumour and 0 for a benign one.
X, y, names = breast_cancer()
m, n = X.shape


def cost(b, weights, X, y):
    """The weighted negative log-likelihood of a logistic regression, with a small ridge, per patient."""
    z = X @ b
    return (weights @ (jax.nn.softplus(z) - y * z) + 0.5 * b[1:] @ b[1:]) / len(y)


# %% The weights of a resample are the numbers of times that it draws each patient. All fits share X and y.
resamples = 100 if options.short else 5_000
weights = np.random.default_rng(0).multinomial(m, np.full(m, 1 / m), size=resamples).astype(float)
fits = jc.minimize_many(cost, jnp.zeros((resamples, n)), (weights,), shared=(X, y))
print(fits.message)

lower, upper = np.percentile(fits.check().x, [2.5, 97.5], axis=0)
for name, low, high in zip(names, lower, upper, strict=True):
    print(f"{name:18} from {low:+.3f} to {high:+.3f}")

# %%
ax = jc.plots.convergence(fits, title=f"{resamples:,} resamples of 569 patients")
ax.figure.savefig(options.output / "bootstrap.png")
print("picture:", options.output / "bootstrap.png")
