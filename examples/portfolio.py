"""The efficient frontier, with the error bars that a bootstrap gives: thousands of portfolios under constraints.

A portfolio x of ten assets has the variance x'Sx and the return m'x. The frontier holds, for each return that is
asked for, the portfolio of least variance whose shares sum to one, none of them negative. Mean and covariance are known
from a sample of returns only, so each is estimated anew from resampled days, and each sample has a frontier of its own.
Run it with `python examples/portfolio.py`; `--output folder` draws the picture, for which it needs matplotlib.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

jax.config.update("jax_enable_x64", True)
ASSETS, DAYS, LEVELS = 10, 250, 10


def variance(x, mean, covariance, target):
    return x @ covariance @ x


def promises(x, mean, covariance, target):
    """What has to be zero: the shares sum to one, and the return is the one that is asked for."""
    return jnp.stack([jnp.sum(x) - 1, (mean @ x - target) / 0.05])


def sampled(samples, seed=0):
    """Returns yearly means (N, 10) and covariances (N, 10, 10) of resampled days, the first of the days themselves."""
    draw = np.random.default_rng(seed)
    market, own = draw.normal(size=(DAYS, 1)), draw.normal(size=(DAYS, ASSETS))
    spread = np.linspace(0.006, 0.02, ASSETS)
    days = np.linspace(1e-4, 6e-4, ASSETS) + spread * (0.6 * market + 0.8 * own)
    rows = np.concatenate([np.arange(DAYS)[None], draw.integers(0, DAYS, (samples - 1, DAYS))])
    picked = days[rows]
    centred = picked - picked.mean(1, keepdims=True)
    return 250 * picked.mean(1), 250 * np.einsum("nda,ndb->nab", centred, centred) / (DAYS - 1)


def frontiers(mean, covariance):
    """Returns the results of all samples and levels, (N LEVELS), and the returns that were asked for, (N, LEVELS)."""
    # From the return of the mixture of all assets up to nearly that of the best asset.
    low, high = mean.mean(1, keepdims=True), mean.max(1, keepdims=True)
    targets = low + (high - low) * np.linspace(0, 0.95, LEVELS)
    own = [np.repeat(leaf, LEVELS, axis=0) for leaf in (mean, covariance)]
    start = np.full((targets.size, ASSETS), 1 / ASSETS)
    result = jc.minimize_many(
        variance, start, (*own, targets.reshape(-1)), bounds=(0.0, None), constraints={"type": "eq", "fun": promises}
    )
    return result, targets


def main(arguments=None):
    parser = argparse.ArgumentParser(description="The efficient frontier, resampled.")
    parser.add_argument("--short", action="store_true", help="20 samples instead of 1,000")
    parser.add_argument("--output", type=Path, help="a folder for frontier.png")
    options = parser.parse_args(arguments)

    mean, covariance = sampled(20 if options.short else 1000)
    result, targets = frontiers(mean, covariance)
    risk = np.sqrt(np.asarray(result.fun)).reshape(targets.shape)
    print(f"{int(result.success.sum())} of {result.success.size} portfolios, {result.nfev.mean():.1f} evaluations each")
    print("return asked for   risk   90 % of the resampled risks at this level   assets held")
    held = np.asarray(result.x > 1e-4).sum(1).reshape(targets.shape)
    low, high = np.quantile(risk, [0.05, 0.95], axis=0)
    for k in range(LEVELS):
        print(f"{targets[0, k]:16.3f} {risk[0, k]:6.3f} {low[k]:20.3f} to {high[k]:.3f} {held[0, k]:24d}")
    if options.output:
        draw(options.output, risk, targets)
    return result, risk, targets


def draw(folder, risk, targets):
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot(risk[1:].T, targets[1:].T, color="tab:gray", alpha=min(1, 20 / len(risk)), linewidth=0.8)
    axes.plot(risk[0], targets[0], color="tab:blue", marker="o", label="the sample itself")
    axes.set(xlabel="risk (yearly standard deviation)", ylabel="yearly return", title="Efficient frontiers, resampled")
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "frontier.png", dpi=150, bbox_inches="tight")
    pyplot.close(figure)
    print(f"drawn: {folder / 'frontier.png'}")


if __name__ == "__main__":
    main()
