"""Which run a store belongs to: what its results depend on, as JSON, and the difference from another run."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxcalc._version import __version__
from jaxcalc.core.arguments import function_name
from jaxcalc.core.tracing import explained
from jaxcalc.streaming.problems import Rows
from jaxcalc.streaming.work import Own

PyTree = Any

# The most entries of an array that the identity shows; of longer ones it holds a fingerprint.
MOST_SHOWN = 8
# What a rerun of failures may do differently from the run that made the store.
MAY_DIFFER = ("method", "options", "problems")


def identity(
    solver: str,
    fun: Callable,
    traced: Callable,
    method: Any,
    options: Mapping[str, Any],
    shared: tuple[Any, ...],
    one: Rows,
    modes: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns what the results of a run depend on beside N and the chunks.

    Args:
        solver: The name of the function that solves a chunk, as "minimize_many".
        fun: The user's function.
        traced: The function, of (x, *args, *shared). Its fingerprint is that of its trace at one problem, which holds
            all that it calls and all that it captures.
        method: The method, or its name.
        options: The keyword arguments.
        shared: What all problems share.
        one: The first problem.
        modes: The values of JAX's configuration that results depend on.
    """
    return {
        "solver": solver,
        "function": f"{getattr(fun, '__module__', None)}.{getattr(fun, '__qualname__', function_name(fun))}",
        "code": fingerprint_of_function(traced, one, shared),
        "method": _without_addresses(method if isinstance(method, str) else repr(method)),
        "options": {name: _described(value, one) for name, value in options.items() if value is not None},
        "shared": _described(shared, one),
        "problems": _fingerprint(jax.tree.leaves((one.x0, one.args))),
        "dtypes": [f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in jax.tree.leaves((one.x0, one.args))],
        "configuration": dict(modes),
        "platform": jax.default_backend(),
        "versions": {"jaxcalc": __version__, "jax": jax.__version__},
    }


def fingerprint_of_function(fun: Callable, one: Rows, shared: tuple[Any, ...]) -> str:
    """Returns the hash of the function's trace at one problem, and of the arrays that it captures."""
    problem = jax.tree.map(lambda leaf: np.asarray(leaf[0]), (one.x0, one.args))
    floats = jax.tree.map(
        lambda leaf: leaf if np.issubdtype(leaf.dtype, np.floating) else leaf.astype(float), problem[0]
    )
    closed = jax.make_jaxpr(explained(fun))(floats, *problem[1], *shared)
    text = _without_addresses(str(closed.jaxpr))
    return hashlib.sha256((text + _fingerprint([np.asarray(const) for const in closed.consts])).encode()).hexdigest()


def differences(stored: Mapping[str, Any], current: Mapping[str, Any], ignored: tuple[str, ...] = ()) -> list[str]:
    """Returns a line for each entry in which two identities differ, with both values."""
    lines = []
    for name in {**stored, **current}:
        old, new = stored.get(name), current.get(name)
        if name in ignored or old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += [f"{name}, {line}" for line in differences(old, new)]
        elif name == "code":
            lines.append("the function's code, or a value that it captures, has changed")
        elif name == "problems":
            lines.append("the first problem's start or args have changed")
        else:
            lines.append(f"{name}: the store has {_short(old)}, this run {_short(new)}")
    return lines


def _described(value: PyTree, one: Rows) -> Any:
    """Returns an option as JSON: short values as they are, arrays by their shape and fingerprint."""
    if isinstance(value, Own):
        return {"of the first problem": _described(one.own[value.index][0], one)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _described(entry, one) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_described(entry, one) for entry in value]
    if not hasattr(value, "shape"):
        return _without_addresses(repr(value))
    array = np.asarray(value)
    if array.size <= MOST_SHOWN:
        return _finite(array.tolist())
    return f"{array.dtype}{list(array.shape)} {_fingerprint([array])[:16]}"


def _finite(value: Any) -> Any:
    """Returns nested lists of numbers with words in the place of what JSON has no number for."""
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return value if not isinstance(value, float) or np.isfinite(value) else repr(value)


def _fingerprint(arrays: list) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _without_addresses(text: str) -> str:
    """Returns the text of an object without addresses in memory, which differ from process to process."""
    return re.sub(r" ?(at )?0x[0-9a-f]+", "", text)


def _short(value: Any) -> str:
    return "nothing" if value is None else repr(value)
