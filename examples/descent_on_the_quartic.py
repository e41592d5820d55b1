"""Gradient descent, step by step, on y = x (x - 1) (x - 2) (x - 3), with three learning rates.

x <- x - learning rate * f'(x), from 1.25 as in the text. A small rate arrives, a larger one arrives
sooner, and one that is too large never does. Run it with `python examples/descent_on_the_quartic.py`.
"""

import argparse
from pathlib import Path

import jax
from matplotlib.figure import Figure

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="take 30 steps, not 100")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise


# %%
def quartic(x):
    return x * (x - 1) * (x - 2) * (x - 3)


RATES, VALLEYS = (0.05, 0.15, 0.5), [(3 - 5**0.5) / 2, (3 + 5**0.5) / 2]

# %% The result holds all points of the path, with the value and the gradient at each.
path = jc.gradient_descent(quartic, 1.25, learning_rate=RATES[0], steps=30 if options.short else 100)
print("step         x      f(x)     f'(x)")
for k in [0, 1, 2, 3, 5, 10, 20, len(path.x) - 1]:
    print(f"{k:4d}  {path.x[k]:8.6f}  {path.fun[k]:8.5f}  {path.jac[k]:z8.5f}")
print(f"the minimum, (3 - sqrt 5) / 2, is {VALLEYS[0]:.6f}")

# %% Three learning rates. Near the minimum each step multiplies the distance by 1 - rate f'', and f'' is 10 there.
figure = Figure(figsize=(14, 4), dpi=110, layout="constrained")
for ax, rate in zip(figure.subplots(1, 3), RATES, strict=True):
    steps = jc.gradient_descent(quartic, 1.25, learning_rate=rate, steps=20)
    off = min(abs(float(steps.x[-1]) - valley) for valley in VALLEYS)
    words = f"{off:.1e} off after 20 steps" if off < 0.1 else "diverges"
    print(f"learning rate {rate}: {words}")
    title = f"learning rate {rate}: {words}"
    jc.plots.descent(quartic, steps.x, interval=(-0.3, 3.3), minima=VALLEYS, title=title, ax=ax)

# %%
figure.savefig(options.output / "descent.png")
print("picture:", options.output / "descent.png")
