"""The cost of a neural network going down: the text's gradient descent, in as many dimensions as there are weights.

A network with two inputs learns which points lie inside a ring. Its weights are the variables, its error is the
function. Run it with `python examples/network_cost.py`.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="train for 15 epochs, not 100")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The data: points in the plane, and whether they lie in a ring.
generator = np.random.default_rng(0)
points = generator.uniform(-1, 1, (512, 2))
radius = np.linalg.norm(points, axis=1)
inside = ((radius > 0.4) & (radius < 0.8)).astype(int)

# %% The network and its cost, the mean cross entropy between its outputs and the labels.
network = jc.network.mlp((2, 16, 16, 2), activation="tanh")
cost = jc.network.supervised(network.apply, jc.network.cross_entropy)
params = network.init(jax.random.key(0))
weights = sum(leaf.size for leaf in jax.tree.leaves(params))
value, gradient = jc.network.backpropagation(network, jc.network.cross_entropy, params, (points, inside))
print(f"{weights} weights, cost {value:.4f} at the start; the gradient has a component for each of them")

# %% Gradient descent on batches, plain and with momentum, three seeds each.
comparison = jc.compare_optimizers(
    cost, network.init, (points, inside),
    {"descent": jc.sgd, "with momentum": lambda rate: jc.sgd(rate, momentum=0.9)},
    learning_rates=[0.1, 0.3, 1.0], seeds=3, epochs=15 if options.short else 100, batch_size=64, progress=False,
)  # fmt: skip
curves = {
    f"{name}, learning rate {runs.learning_rates[runs.chosen]:g}": runs.train[runs.chosen]
    for name, runs in comparison.runs.items()
}
for name, curve in curves.items():
    print(f"{name:34} from {np.median(curve[:, 0]):.4f} to {np.median(curve[:, -1]):.4f} in {comparison.epochs} epochs")

# %%
ax = jc.plots.loss_curves(curves, names=("epoch", "cost"), title=f"The cost of a network with {weights} weights")
ax.figure.savefig(options.output / "network_cost.png")
print("picture:", options.output / "network_cost.png")
