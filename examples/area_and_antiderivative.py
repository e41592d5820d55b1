"""The integral: the area under a curve, and the function whose derivative the curve is.

Areas below the axis count negatively. The antiderivative has a constant that differentiation forgets.
Run it with `python examples/area_and_antiderivative.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="accepted as by all examples; there is nothing to shorten")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% The integral of the constant 2 is 2 x + C: C is what no derivative shows.
F = jc.antiderivative(lambda x: 2.0 + 0 * x, at=0.0, constant=5.0)
print(f"F(0) = {F(0.0):g} = C, F(3) = {F(3.0):g}, F'(3) = {jc.derivative(F)(3.0):g} whatever C is")


# %% The area under y = x (x - 1) (x - 2) (x - 3) between 0 and 3.
def quartic(x):
    return x * (x - 1) * (x - 2) * (x - 3)


area = jc.integrate(quartic, np.array([0.0, 0.0, 1.0, 2.0]), np.array([3.0, 1.0, 2.0, 3.0]))
print(f"from 0 to 3: {area.value[0]:.9f} (exactly -9/10), error at most {area.error[0]:.1e}")
print("of which", ", ".join(f"{part:+.6f} from {a} to {a + 1}" for a, part in enumerate(area.value[1:])))

# %% An integral over the whole axis, which no table of antiderivatives has: exp(-x^2), the square root of pi.
bell = jc.integrate(lambda x: jnp.exp(-(x**2)), -np.inf, np.inf)
print(f"exp(-x^2) over all x: {bell.value:.12f}, its square {bell.value**2:.12f} is pi")

# %%
ax = jc.plots.curve(quartic, -0.3, 3.3, area=(0.0, 3.0), title="The area from 0 to 3 is -0.9")
ax.figure.savefig(options.output / "area.png")
print("picture:", options.output / "area.png")
