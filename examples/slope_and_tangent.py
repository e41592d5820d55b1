"""Slope: of a line between any two points, of a curve in one point.

A secant through two points has the slope of a ratio of differences. As the second point moves to the first, the secant
becomes the tangent and its slope the derivative. Run it with `python examples/slope_and_tangent.py`.
"""

import argparse
from pathlib import Path

import jax

import jaxcalc as jc

# %%
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--short", action="store_true", help="accepted as by all examples; there is nothing to shorten")
parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
options, _ = parser.parse_known_args()
options.output.mkdir(parents=True, exist_ok=True)
jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise

# %% A line has one slope, which the ratio dy / dx shows between any two of its points.
print(f"y = 2 x: the slope between x = 1 and x = 4 is {jc.secant_slope(lambda x: 2 * x, 1.0, 4.0):g}")


# %% A curve has a slope in each point: what the slopes of secants tend to.
def curve(x):
    return x**3 / 4 - x + 1


at = 1.5
tangent_slope = jc.derivative(curve)(at)
print("    h   slope of the secant   off by")
for h in [1.0, 0.1, 0.01, 0.001]:
    slope = jc.secant_slope(curve, at, at + h)
    print(f"{h:5g} {slope:21.6f} {slope - tangent_slope:8.6f}")
print(f"The derivative is {tangent_slope:.6f}: 3/4 x^2 - 1 at x = {at}.")

# %% A continuous curve need not have a slope everywhere: |x| has none at 0, where its secants disagree.
left, right = (float(jc.secant_slope(abs, 0.0, h)) for h in (-0.001, 0.001))
print(f"|x| at 0: the slope of secants is {left:g} to the left and {right:g} to the right")

# %% The curve, its derivative and the tangent.
ax = jc.plots.curve(curve, -2.5, 2.5, derivative=True, tangent=at, title="A curve, its slope and a tangent")
ax.axline(
    (at, float(curve(at))), slope=jc.secant_slope(curve, at, at - 2), color="0.6", linestyle=":", label="a secant"
)
ax.legend()
ax.figure.savefig(options.output / "slope_and_tangent.png")
print("picture:", options.output / "slope_and_tangent.png")
