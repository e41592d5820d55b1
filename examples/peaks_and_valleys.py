"""Peaks and valleys of y = x (x - 1) (x - 2) (x - 3), every one of them, with a proof that none is missing.

Where the derivative 4 x^3 - 18 x^2 + 22 x - 6 is 0 the curve has a peak, a valley, or neither: x^3 at 0 has a zero
derivative and no extremum. Run it with `python examples/peaks_and_valleys.py`.
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


# %%
def quartic(x):
    return x * (x - 1) * (x - 2) * (x - 3)


points = jc.critical_points(quartic, -0.25, 3.25)
print("        x       f(x)     f''(x)   kind              lowest of all")
rows = zip(points.x, points.fun, points.second_derivative, points.kind, points.global_minimum, strict=True)
for x, value, curvature, kind, lowest in rows:
    print(f"{x:9.6f} {value:10.6f} {curvature:10.4f}   {kind:17} {'yes' if lowest else ''}")
print("proved complete:", points.certain)
print(f"The text says x = 3/2 and (3 -+ sqrt 5)/2, about 1.50, 0.38, 2.62: {(3 - 5**0.5) / 2:.6f}")

# %% Over the whole axis the two valleys are lowest, and there is no highest point.
whole = jc.critical_points(quartic, -float("inf"), float("inf"))
print(f"infimum {whole.infimum:g}, supremum {whole.supremum:g}")

# %% A zero derivative is not enough.
print("x^3 at 0:", jc.critical_points(lambda x: x**3, -1.0, 1.0).kind[1])

# %%
title = "Peaks and valleys of x (x - 1) (x - 2) (x - 3)"
ax = jc.plots.curve(quartic, -0.25, 3.25, critical_points=points, title=title)
ax.figure.savefig(options.output / "peaks_and_valleys.png")
print("picture:", options.output / "peaks_and_valleys.png")
