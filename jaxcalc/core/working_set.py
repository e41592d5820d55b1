"""How many bytes a function holds at once, read off its trace."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Literal


def working_set(function: Callable, *inputs: Any) -> int:
    """Returns the most bytes of arrays that a function of these inputs, of which shapes suffice, holds at one moment.

    The inputs count, what the function closes over does not. Operations are taken in the order of the trace, and each
    array lives from its operation to its last use; a compiler that fuses operations holds less.
    """
    return _most_alive(jax.make_jaxpr(function)(*inputs).jaxpr)


def bytes_of(tree: Any) -> int:
    """Returns the bytes of all arrays of a tree, of which shapes suffice."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _most_alive(jaxpr: Any) -> int:
    """Returns the peak of the arrays that are alive in a jaxpr, its inputs included."""
    last_use: dict[Any, int] = {}
    for place, equation in enumerate(jaxpr.eqns):
        last_use |= {variable: place for variable in equation.invars if not isinstance(variable, Literal)}
    last_use |= {variable: len(jaxpr.eqns) for variable in jaxpr.outvars if not isinstance(variable, Literal)}
    alive = sum(map(_bytes, jaxpr.invars))
    most, constants = alive, set(jaxpr.constvars)
    for place, equation in enumerate(jaxpr.eqns):
        made = sum(map(_bytes, equation.outvars))
        inside = [_most_alive(inner) - sum(map(_bytes, inner.invars)) for inner in _jaxprs(equation)]
        most = max(most, alive + max([made, *inside]))
        alive += made
        ends = {variable for variable in equation.invars if not isinstance(variable, Literal)} - constants
        unused = [variable for variable in equation.outvars if variable not in last_use]
        alive -= sum(_bytes(variable) for variable in (*ends, *unused) if last_use.get(variable, place) == place)
    return most


def _jaxprs(equation: Any) -> list[Any]:
    """Returns the jaxprs that an operation calls."""
    values = [value for parameter in equation.params.values() for value in _as_list(parameter)]
    closed = [getattr(value, "jaxpr", value) for value in values]
    return [inner for inner in closed if hasattr(inner, "eqns")]


def _as_list(parameter: Any) -> list[Any]:
    return list(parameter) if isinstance(parameter, list | tuple) else [parameter]


def _bytes(variable: Any) -> int:
    shaped = variable.aval
    return shaped.size * shaped.dtype.itemsize if hasattr(shaped, "size") and hasattr(shaped.dtype, "itemsize") else 0
