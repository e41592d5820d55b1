"""The efficient frontier, with the error bars that a bootstrap gives: thousands of portfolios under constraints.

A portfolio x of ten assets has the variance x'Sx and the return m'x. The frontier holds, for each return that is
asked for, the portfolio of least variance whose shares sum to one, none of them negative. Mean and covariance are known
from a sample of returns only, so each is estimated anew from resampled days, and each sample has a frontier of its own.
Run it with `python examples/portfolio.py`.
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
parser.add_argument("--short", action="store_true", help="20 samples, not 1,000")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The data: resampled days, the first sample being the days themselves; means (N, 10) and covariances (N, 10, 10).
ASSETS, DAYS, LEVELS = 10, 250, 10
samples = 20 if options.short else 1_000
draw = np.random.default_rng(0)
market, own = draw.normal(size=(DAYS, 1)), draw.normal(size=(DAYS, ASSETS))
days = np.linspace(1e-4, 6e-4, ASSETS) + np.linspace(0.006, 0.02, ASSETS) * (0.6 * market + 0.8 * own)
picked = days[np.concatenate([np.arange(DAYS)[None], draw.integers(0, DAYS, (samples - 1, DAYS))])]
mean, centred = 250 * picked.mean(1), picked - picked.mean(1, keepdims=True)
covariance = 250 * np.einsum("nda,ndb->nab", centred, centred) / (DAYS - 1)


# %%
def variance(x, mean, covariance, target):
    return x @ covariance @ x


def promises(x, mean, covariance, target):
    """What has to be zero: the shares sum to one, and the return is the one that is asked for."""
    return jnp.stack([jnp.sum(x) - 1, (mean @ x - target) / 0.05])


# %% From the return of the mixture of all assets up to nearly that of the best asset.
low, high = mean.mean(1, keepdims=True), mean.max(1, keepdims=True)
targets = low + (high - low) * np.linspace(0, 0.95, LEVELS)
args = (np.repeat(mean, LEVELS, axis=0), np.repeat(covariance, LEVELS, axis=0), targets.ravel())
start, promise = np.full((targets.size, ASSETS), 1 / ASSETS), {"type": "eq", "fun": promises}
result = jc.minimize_many(variance, start, args, bounds=(0.0, None), constraints=promise)
risk = np.sqrt(np.asarray(result.fun)).reshape(targets.shape)
print(f"{int(result.success.sum())} of {result.success.size} portfolios, {result.nfev.mean():.1f} evaluations each")
print("return asked for   risk   90 % of the resampled risks at this level   assets held")
held = np.asarray(result.x > 1e-4).sum(1).reshape(targets.shape)
least, most = np.quantile(risk, [0.05, 0.95], axis=0)
for k in range(LEVELS):
    print(f"{targets[0, k]:16.3f} {risk[0, k]:6.3f} {least[k]:20.3f} to {most[k]:.3f} {held[0, k]:24d}")

# %%
ax = Figure(figsize=(6.5, 4.5), dpi=150, layout="constrained").add_subplot()
ax.plot(100 * risk[1:].T, 100 * targets[1:].T, color="tab:gray", alpha=min(1, 20 / samples), linewidth=0.8)
ax.plot(100 * risk[0], 100 * targets[0], color="tab:blue", marker="o", label="the sample itself")
ax.set(xlabel="risk [% a year, standard deviation]", ylabel="return [% a year]", title="Efficient frontiers, resampled")
ax.legend(frameon=False)
ax.figure.savefig(options.output / "frontier.png")
print("picture:", options.output / "frontier.png")
