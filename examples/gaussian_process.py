"""Gaussian processes: the hyperparameters of many series at once, each by its marginal likelihood, from three starts.

The unknowns are the logarithms of length scale, signal and noise; the objective contains a Cholesky factorisation,
which is differentiated as everything else. Run it with `python examples/gaussian_process.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="6 series, not 500")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The data: series of 25 irregular points, drawn from processes with length scales between 0.3 and 1.5.
series, m = (6 if options.short else 500), 25
generator = np.random.default_rng(4)
t = np.sort(generator.uniform(0, 5, (series, m)), axis=1)
lengths = generator.uniform(0.3, 1.5, series)
distance = t[:, :, None] - t[:, None, :]
factors = np.linalg.cholesky(np.exp(-((distance / lengths[:, None, None]) ** 2) / 2) + 1e-8 * np.eye(m))
y = np.einsum("nij,nj->ni", factors, generator.normal(size=(series, m))) + generator.normal(0, 0.1, (series, m))


# %% The negative logarithm of the marginal likelihood of one series.
def kernel(p, a, b):
    return jnp.exp(2 * p[1] - ((a[:, None] - b) / jnp.exp(p[0])) ** 2 / 2)


def cost(p, t, y):
    L = jnp.linalg.cholesky(kernel(p, t, t) + (jnp.exp(2 * p[2]) + 1e-8) * jnp.eye(m))
    z = jax.scipy.linalg.solve_triangular(L, y, lower=True)
    return z @ z / 2 + jnp.sum(jnp.log(jnp.diagonal(L)))


# %%
starts = np.log([[0.3, 1.0, 0.3], [1.0, 1.0, 0.1], [3.0, 0.5, 0.5]])
found = jc.minimize_many(cost, np.tile(starts, (series, 1, 1)), (t, y), bounds=(-5.0, 3.0), starts=3)
print(found.message)
ratio = np.exp(np.asarray(found.x[:, 0])) / lengths
print(f"fitted over true length scale: median {np.median(ratio):.2f}, from {ratio.min():.2f} to {ratio.max():.2f}")

# %% What the first process says between its points.
p, grid = found.x[0], jnp.linspace(0.0, 5.0, 200)
K = kernel(p, t[0], t[0]) + (jnp.exp(2 * p[2]) + 1e-8) * jnp.eye(m)
across = jnp.linalg.solve(K, kernel(p, t[0], grid))
mean, spread = (
    across.T @ y[0],
    2 * jnp.sqrt(jnp.maximum(jnp.exp(2 * p[1]) - jnp.sum(across * kernel(p, t[0], grid), 0), 0)),
)
ax = jc.plots.curve(lambda s: jnp.interp(s, grid, mean), 0.0, 5.0, name="t", title="A Gaussian process, two deviations")
ax.fill_between(grid, mean - spread, mean + spread, alpha=0.3)
ax.plot(t[0], y[0], "ko", markersize=4)
ax.set(ylabel="y", ylim=(float((mean - spread).min()) - 0.2, float((mean + spread).max()) + 0.2))
ax.figure.savefig(options.output / "gaussian_process.png")
print("picture:", options.output / "gaussian_process.png")
