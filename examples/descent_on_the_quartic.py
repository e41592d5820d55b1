"""Gradient descent, step by step, on y = x (x - 1) (x - 2) (x - 3), and a picture of it.

Run it with `python examples/descent_on_the_quartic.py`; it needs `pip install "jaxcalc[plots]"`.
"""

import argparse
from pathlib import Path

import jax

import jaxcalc as jc
from jaxcalc import plots

jax.config.update("jax_enable_x64", True)  # JAX computes in single precision unless told otherwise


def quartic(x):
    return x * (x - 1) * (x - 2) * (x - 3)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="take 30 steps, not 100")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where the picture goes")
    options = parser.parse_args(arguments)

    # x <- x - 0.05 f'(x), from 1.25. The result holds all points of the path, with the value and the gradient at each.
    path = jc.gradient_descent(quartic, 1.25, learning_rate=0.05, steps=30 if options.short else 100)

    print("step         x      f(x)     f'(x)")
    for k in [0, 1, 2, 3, 5, 10, 20, len(path.x) - 1]:
        print(f"{k:4d}  {path.x[k]:8.6f}  {path.fun[k]:8.5f}  {path.jac[k]:z8.5f}")
    print(f"the minimum, (3 - sqrt 5) / 2, is {(3 - 5**0.5) / 2:.6f}")

    ax = plots.descent(quartic, path.x[:21], interval=(-0.25, 3.25), title="Gradient descent, learning rate 0.05")
    options.output.mkdir(parents=True, exist_ok=True)
    ax.figure.savefig(options.output / "descent.png")
    print("picture:", options.output / "descent.png")
    return path


if __name__ == "__main__":
    main()
