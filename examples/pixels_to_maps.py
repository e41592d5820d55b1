"""Pixels to maps: a decay fitted in every pixel of an image series, with the standard error of each.

An image is measured at eight echo times; in each pixel the signal decays as A exp(-t / T2). One call fits all pixels.
Run it with `python examples/pixels_to_maps.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="an image of 24 x 32 pixels, not 192 x 256")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The data: two discs with decay times of 40 and 80 ms in a background of 60 ms.
rows, columns = (24, 32) if options.short else (192, 256)
times = np.linspace(10.0, 160.0, 8)  # ms
y, x = np.mgrid[:rows, :columns] / rows
first, second = (np.hypot(y - row, x - column) < 0.2 for row, column in ((0.4, 0.35), (0.6, 0.95)))
truth = np.where(first, 40.0, np.where(second, 80.0, 60.0))
noise = np.random.default_rng(0).normal(0, 8.0, (rows, columns, 8))
series = 500 * (1 + 0.5 * x[..., None]) * np.exp(-times / truth[..., None]) + noise


# %% The model takes the times and its parameters. The pixels become rows, each row a fit.
def decay(t, amplitude, t2):
    return amplitude * jnp.exp(-t / t2)


pixels = series.reshape(-1, 8)
fit = jc.curve_fit(decay, times, pixels, [500.0, 50.0])
print(fit.result.message)

# %% Back to maps: the parameters and their errors.
t2, error = (np.asarray(each[:, 1]).reshape(rows, columns) for each in (fit.popt, fit.stderr))
deviation = (t2 - truth) / error
print(f"median error of T2: {np.median(error):.2f} ms; {np.mean(abs(deviation) < 2):.0%} of pixels within two errors")

# %%
maps = np.stack([np.asarray(fit.popt[:, 0]).reshape(rows, columns), t2, error], axis=-1)
failed = ~np.asarray(fit.success).reshape(rows, columns)
names, units = ["amplitude", "T2", "standard error of T2"], [None, "ms", "ms"]
axes = jc.plots.parameter_maps(maps, names=names, units=units, failed=failed)
axes[0].figure.savefig(options.output / "maps.png")
print("picture:", options.output / "maps.png")
