"""Missing values: why a nan in the data poisons a gradient, and the two ways to leave it out.

The derivative of where(mask, f(x), 0) is 0 times the derivative of f(x), and 0 times nan is nan. So the nan has to be
replaced before f sees it: a where inside and a where outside. Run it with `python examples/masked_data.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="50 curves, not 5,000")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The data: saturation curves with a tenth of the points missing.
curves = 50 if options.short else 5_000
generator = np.random.default_rng(2)
dose = np.geomspace(0.1, 30.0, 16)
y = 10 * dose / (2 + dose) + generator.normal(0, 0.2, (curves, 16))
y[generator.random(y.shape) < 0.1] = np.nan


# %% One where is not enough: the value is right and the gradient is nan.
def once(p, y):
    return jnp.sum(jnp.where(jnp.isnan(y), 0.0, (p[0] * dose / (p[1] + dose) - y) ** 2))


def twice(p, y):
    known = ~jnp.isnan(y)
    misfit = p[0] * dose / (p[1] + dose) - jnp.where(known, y, 0.0)
    return jnp.sum(jnp.where(known, misfit**2, 0.0))


row = y[np.isnan(y).any(axis=1)][0]
p = jnp.array([8.0, 1.0])
print("        value   gradient by p    gradient by y, where it is missing")
for name, cost in {"once": once, "twice": twice}.items():
    by_y = jax.grad(cost, argnums=1)(p, row)[np.isnan(row)][0]
    print(f"{name:6} {cost(p, row):7.3f}   {np.round(jax.grad(cost)(p, row), 3)} {by_y:10}")

# %% `curve_fit` leaves out missing points by itself.
fit = jc.curve_fit(jc.models.michaelis_menten, dose, y, nan_policy="omit")
print(fit.result.message)
print("median of v_max and k_m:", np.median(fit.popt, axis=0).round(2), "(true: 10 and 2)")

# %%
ax = jc.plots.fit(fit, dose, y[0], index=0, names=("dose", "response"), units=("mg", "1/s"))
ax.figure.savefig(options.output / "masked.png")
print("picture:", options.output / "masked.png")
