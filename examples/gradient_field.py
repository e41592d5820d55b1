"""The gradient: one partial derivative for each variable, together the direction of the steepest ascent.

The text's function f(x, y, z) = x^2 y + x y z + z^2 has the gradient <2xy + yz, x^2 + xz, xy + 2z>.
Run it with `python examples/gradient_field.py`.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="accepted as by all examples; there is nothing to shorten")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise


# %% A partial derivative holds all other variables constant.
def f(x, y, z):
    return x**2 * y + x * y * z + z**2


point = (1.0, 2.0, 3.0)
partials = np.array([jc.partial_derivative(f, k)(*point) for k in range(3)])
x, y, z = point
print("partial derivatives at (1, 2, 3):", partials)
print("by the formulas of the text:     ", np.array([2 * x * y + y * z, x**2 + x * z, x * y + 2 * z]))

# %% The gradient is all of them at once. In its direction f rises the most, by its length.
slope = jc.gradient(lambda v: f(*v))(np.array(point))
rise = [jc.directional_derivative(lambda v: f(*v))(np.array(point), d / np.linalg.norm(d)) for d in np.eye(3)]
steepest = jc.directional_derivative(lambda v: f(*v))(np.array(point), slope / np.linalg.norm(slope))
print("rise along the axes:", *(f"{each:.4g}" for each in rise), f"along the gradient: {steepest:.4f}")

# %% The field of a function of two variables: arrows stand upright on the contours.
ax = jc.plots.gradient_field(jc.problems.himmelblau, (-5.0, -5.0), (5.0, 5.0), title="Himmelblau's four valleys")
ax.figure.savefig(options.output / "gradient_field.png")
print("picture:", options.output / "gradient_field.png")
