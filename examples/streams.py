"""Streams: more fits than fit in memory, read in chunks and written to a store that survives an interruption.

The store is a folder; a run that was stopped goes on where it was, and a finished run is not solved again.
Run it with `python examples/streams.py`; it needs `pip install "jaxcalc[store]"`.
"""

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="1,000 fits in chunks of 256, not 1,000,000")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The source: arrays, memory-mapped files, Zarr groups, or a function that makes rows first to last.
N = 1_000 if options.short else 1_000_000
t = np.linspace(0.0, 3.0, 20)


def problems(first, last):
    rows = np.arange(first, last)
    rates = 0.5 + 1.5 * rows / N
    noise = 0.02 * np.sin(37.0 * rows[:, None] + 11.0 * t)
    return np.ones((len(rows), 2)), np.exp(-rates[:, None] * t) + noise


def decay(t, size, rate):
    return size * jnp.exp(-rate * t)


# %% The results are read from the store as arrays are, a slice at a time.
with tempfile.TemporaryDirectory() as folder:
    store = Path(folder) / "fits.zarr"
    settings = {"xdata": t, "count": N, "chunk_size": 256 if options.short else None, "progress": False}
    results = jc.curve_fit_stream(decay, problems, store, **settings)
    print(f"{len(results):,} fits:", results.summary())
    again = jc.curve_fit_stream(decay, problems, store, **settings)  # finished: nothing is solved
    rates, errors = np.asarray(again.x[:, 1]), np.asarray(jc.open_results(store).stderr[:, 1])
    counts = {"status": results.status[:], "nfev": results.nfev[:], "nit": results.nit[:]}
off = (rates - (0.5 + 1.5 * np.arange(N) / N)) / errors
print(f"rates from {rates.min():.2f} to {rates.max():.2f}; {np.mean(abs(off) < 2):.0%} within two standard errors")

# %%
side = int(np.sqrt(N))
ax = jc.plots.parameter_map(rates[: side**2].reshape(side, side), name="rate", unit="1/s")
ax.figure.savefig(options.output / "streams.png")
print("picture:", options.output / "streams.png")
