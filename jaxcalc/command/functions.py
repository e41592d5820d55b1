"""The functions and constants that expressions of the command line may name."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Function(NamedTuple):
    """A function of an expression.

    Attributes:
        fun: What is called.
        source: Its name in Python.
        least: The fewest arguments.
        most: The most arguments.
    """

    fun: Callable
    source: str
    least: int = 1
    most: int = 1

    def usage(self, name: str) -> str:
        """Returns how the function is written, for messages."""
        if name == "where":
            return "where(x < 0, if_true, if_false)"
        return f"{name}({', '.join('abc'[: self.least]) if self.least > 1 else 'x'})"


def _table() -> dict[str, Function]:
    ours = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh"}
    ours |= {"atanh": "arctanh"}
    same = ["sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "log", "log2", "log10", "log1p"]
    same += ["sqrt", "cbrt", "abs", "sign", "floor", "ceil", "sinc"]
    table = {name: Function(getattr(jnp, name), f"jnp.{name}") for name in same}
    table |= {name: Function(getattr(jnp, numpy), f"jnp.{numpy}") for name, numpy in ours.items()}
    special = {"erf": "erf", "erfc": "erfc", "gamma": "gamma", "lgamma": "gammaln", "digamma": "digamma"}
    table |= {
        name: Function(getattr(jax.scipy.special, scipy), f"jax.scipy.special.{scipy}")
        for name, scipy in special.items()
    }
    table["sigmoid"] = Function(jax.nn.sigmoid, "jax.nn.sigmoid")
    pairs = {"atan2": "arctan2", "min": "minimum", "max": "maximum", "hypot": "hypot"}
    table |= {name: Function(getattr(jnp, numpy), f"jnp.{numpy}", 2, 2) for name, numpy in pairs.items()}
    table["where"] = Function(jnp.where, "jnp.where", 3, 3)
    return table


FUNCTIONS = _table()
CONSTANTS = {"pi": math.pi, "e": math.e}
# What other notations call these functions.
INSTEAD = {
    "ln": "log",
    "lg": "log10",
    "tg": "tan",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctg": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "fabs": "abs",
    "pow": "**",
    "sgn": "sign",
    "gammaln": "lgamma",
}
# Names of the Python lines that the command prints.
RESERVED = ("jax", "jnp", "jc")
