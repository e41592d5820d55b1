"""The rules of differentiation: power, chain, product, quotient, and the sigmoid by all of them.

Each rule of `jc.rules` computes the formula of the textbook; `jc.derivative` knows none of them and must agree.
Run it with `python examples/differentiation_rules.py`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="accepted as by all examples; there is nothing to shorten")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% d/dx x^n = n x^(n-1), and the other three.
f, g, x = jnp.sin, lambda x: x**2 + 1, jnp.linspace(-3.0, 3.0, 7)
pairs = {
    "power     x^5": (jc.rules.power(5), lambda x: x**5),
    "chain     sin(x)^3": (jc.rules.chain(f, 3), lambda x: f(x) ** 3),
    "product   sin(x) (x^2 + 1)": (jc.rules.product(f, g), lambda x: f(x) * g(x)),
    "quotient  sin(x) / (x^2 + 1)": (jc.rules.quotient(f, g), lambda x: f(x) / g(x)),
}
print("rule                            at x = 1   largest difference to jc.derivative")
differences = {}
for name, (rule, function) in pairs.items():
    differences[name] = float(jnp.abs(rule(x) - jc.derivative(function)(x)).max())
    print(f"{name:30} {rule(1.0):9.6f} {differences[name]:20.1e}")


# %% The sigmoid 1 / (1 + exp(-x)) is a quotient; its derivative is s (1 - s).
def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


slope = jc.rules.quotient(jnp.ones_like, lambda x: 1 + jnp.exp(-x))
print("sigmoid: largest difference to s (1 - s)", f"{jnp.abs(slope(x) - sigmoid(x) * (1 - sigmoid(x))).max():.1e}")

# %%
ax = jc.plots.curve(sigmoid, -6.0, 6.0, derivative=True, tangent=0.0, title="The sigmoid: steepest at 0, slope 1/4")
ax.figure.savefig(options.output / "sigmoid.png")
print("picture:", options.output / "sigmoid.png")
