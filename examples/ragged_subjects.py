"""Subjects with different numbers of trials, each fitted from many starts.

A learning curve is fitted for each subject. The rows are filled up to one length and `mask` says which points count;
every subject descends from several starts, and the best end is kept. Run it with
`python examples/ragged_subjects.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="20 subjects, not 2,000")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The data: between 15 and 60 trials a subject, a rate and an asymptote of learning each.
subjects, most = 20 if options.short else 2_000, 60
generator = np.random.default_rng(1)
counts = generator.integers(15, most + 1, subjects)
truth = np.stack([generator.uniform(0.05, 0.3, subjects), generator.uniform(0.7, 0.95, subjects)], axis=1)
trial = np.arange(most)
probability = 0.5 + (truth[:, 1:] - 0.5) * (1 - np.exp(-truth[:, :1] * trial))
correct = generator.binomial(20, probability) / 20
counts_here = trial < counts[:, None]  # (subjects, most): True where there is a trial


# %% The cost of one subject. What the mask leaves out is replaced before it is used, not only after.
def cost(p, answers, mask):
    rate, asymptote = jnp.exp(p[0]), jax.nn.sigmoid(p[1])
    model = jnp.clip(0.5 + (asymptote - 0.5) * (1 - jnp.exp(-rate * trial)), 1e-6, 1 - 1e-6)
    answers = jnp.where(mask, answers, 0.5)
    loss = -20 * (answers * jnp.log(model) + (1 - answers) * jnp.log1p(-model))
    return jnp.sum(jnp.where(mask, loss, 0.0))


# %% Eight starts of each subject: the best end is returned, and how many starts agreed on it.
starts = generator.uniform([-5.0, -1.0], [0.0, 3.0], (subjects, 8, 2))
fits = jc.minimize_many(cost, starts, (correct, counts_here), starts=8)
print(fits.message)
rates = np.exp(np.asarray(fits.x[:, 0]))
print(f"starts that agree with the best, of 8: {np.mean(fits.agreed):.1f} on average, at least {np.min(fits.agreed)}")
print(f"correlation of fitted and true logarithmic rates: {np.corrcoef(np.log(rates), np.log(truth[:, 0]))[0, 1]:.2f}")

# %%
ax = jc.plots.convergence(fits, title=f"{subjects} subjects, 15 to 60 trials each")
ax.figure.savefig(options.output / "subjects.png")
print("picture:", options.output / "subjects.png")
