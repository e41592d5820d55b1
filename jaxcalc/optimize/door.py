"""The checks at the door: what the caller gave, as arrays, or an error before anything of the caller's has run."""

import difflib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc import methods
from jaxcalc.methods.method import Method


def as_tuple(args: Any) -> tuple:
    """Returns args if it is a tuple, otherwise a tuple of it alone, as SciPy does."""
    return args if isinstance(args, tuple) else (args,)


def require_functions(functions: Sequence[Any]) -> None:
    """Raises a TypeError if one of them cannot be called."""
    for fun in functions:
        if not callable(fun):
            raise TypeError(f"fun must be a function, or a list of functions; it is a {type(fun).__name__}.")


def arrays(name: str, tree: Any) -> Any:
    """Returns the leaves as arrays; those of a start are real and there is at least one variable."""

    def convert(path, leaf):
        label = f"{name}{jax.tree_util.keystr(path)}"
        try:
            leaf = jnp.asarray(leaf)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{label} is a {type(leaf).__name__}, not a number or an array: {error}") from None
        if name.startswith("x0") and not (
            jnp.issubdtype(leaf.dtype, jnp.floating) or jnp.issubdtype(leaf.dtype, jnp.integer)
        ):
            raise TypeError(f"{label} has dtype {leaf.dtype}; a start is made of real numbers, floating or integer.")
        return leaf

    arrays = jax.tree_util.tree_map_with_path(convert, tree)
    if name.startswith("x0") and not jax.tree.leaves(arrays):
        raise ValueError(f"{name} has no variables: {tree!r} holds no arrays.")
    return arrays


def options(label: str, count: int | None, **given: Any) -> dict[str, Array]:
    """Returns the tolerances and caps that are given, each of one number or, for `count` problems, one for each."""
    return {name: _option(f"{name}{label}", value, count) for name, value in given.items() if value is not None}


def _option(name: str, value: Any, count: int | None) -> Array:
    array = jnp.asarray(value)
    if array.shape not in ((), (count,)):
        expected = "one number" if count is None else f"one number or shape ({count},), one for each problem"
        raise ValueError(f"{name} must be {expected}; it has shape {array.shape}.")
    if not isinstance(array, Tracer) and not np.all(np.asarray(array) >= 0):
        raise ValueError(f"{name} must be at least 0; it is {value!r}.")
    return array


def whole_number(name: str, value: Any, least: int) -> int:
    """Returns the value if it is an int of at least `least`."""
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; it is {value!r}.")
    return value


def chosen_method(method: Any) -> Method:
    """Returns the method of this name, the method itself, or an optimiser of Optax as a method."""
    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        import optax  # only who hands one over pays for the import

        if isinstance(method, optax.GradientTransformation):
            return methods.from_optax(method)
        raise TypeError(
            "method is a name, what a factory in jaxcalc.methods returns, or an optax.GradientTransformation, "
            f"not a {type(method).__name__}."
        )
    if method not in methods.REGISTRY:
        near = difflib.get_close_matches(method.lower().replace("-", "_"), methods.REGISTRY, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"there is no method {method!r}; there are {', '.join(map(repr, methods.REGISTRY))}.{hint}")
    return methods.REGISTRY[method]()


def refuse_bounds(bounds: Any) -> None:
    """Raises a NotImplementedError that says how to do without bounds."""
    if bounds is not None:
        raise NotImplementedError(
            "bounds are not supported yet. Until then minimise over a variable without bounds, for example "
            "x = lower + (upper - lower) * jax.nn.sigmoid(z), or x = lower + jnp.exp(z)."
        )
