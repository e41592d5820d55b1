"""What a trace computes, as a value: two traces of equal structure compute the same of the same operands."""

import enum
import sys
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

_COMPARED = (bool, int, str, bytes, type(None), enum.Enum, np.dtype, type)

# Modules of JAX whose objects are equal where they mean the same, and hold no functions of the user's.
_COMPARED_OF_JAX = tuple(
    f"jax._src.{name}" for name in ("core", "dtypes", "lax.", "layout", "mesh", "named_sharding", "partition_spec",
                                    "random.prng", "prng", "sharding_impls")
)  # fmt: skip


class _Unknown(Exception):  # noqa: N818  `structure_of` catches it; users never see it
    """A trace holds something that cannot be compared by value, such as a function."""


def structure_of(jaxpr: Jaxpr) -> Hashable | None:
    """Returns a key that is equal for traces of equal structure; None where a trace holds what has no value.

    The key holds the operations with their parameters, the shapes and dtypes of what they compute, and which result is
    whose operand. Rules of derivatives (`jax.custom_jvp`) of JAX's own functions, such as relu, are compared by
    identity. Those that a user has defined, and callbacks, are functions whose surroundings may change: they have no
    value.
    """
    try:
        return _of_jaxpr(jaxpr)
    except _Unknown:
        return None


def _of_jaxpr(jaxpr: Jaxpr) -> Hashable:
    numbers: dict[Any, int] = {}

    def made(variables: Any) -> tuple:
        for variable in variables:
            numbers[variable] = len(numbers)
        return tuple(variable.aval for variable in variables)

    def used(atoms: Any) -> tuple:
        return tuple(_of_literal(atom) if isinstance(atom, Literal) else numbers[atom] for atom in atoms)

    operands = made(jaxpr.constvars), made(jaxpr.invars)
    operations = []
    for equation in jaxpr.eqns:
        inputs = used(equation.invars)
        operations.append((equation.primitive, inputs, _of_value(equation.params), made(equation.outvars)))
    return operands, tuple(operations), used(jaxpr.outvars)


def _of_literal(literal: Literal) -> Hashable:
    return literal.aval, _of_value(literal.val)


def _of_value(value: Any) -> Hashable:
    """Returns a key that is equal for equal values of one type."""
    if isinstance(value, ClosedJaxpr):
        return _of_jaxpr(value.jaxpr), _of_value(list(value.consts))
    if isinstance(value, Jaxpr):
        return _of_jaxpr(value)
    if isinstance(value, Mapping):
        rule = {name: _of_rule(part) for name, part in value.items() if name == "jvp_jaxpr_fun"}
        return tuple((name, rule[name] if name in rule else _of_value(part)) for name, part in value.items())
    if isinstance(value, tuple | list):
        return type(value), tuple(map(_of_value, value))
    if isinstance(value, float | complex):
        return type(value), repr(value)  # 0.0 is not -0.0, and nan is nan
    if isinstance(value, _COMPARED):
        return type(value), value
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, Tracer) and value.size <= 1:
        return str(value.dtype), value.shape, value.tobytes()
    if type(value).__module__.startswith(_COMPARED_OF_JAX):
        stateless = not getattr(value, "__dict__", None) and type(value).__eq__ is object.__eq__
        return type(value), None if stateless else value
    if _is_of_jax(value):
        return id(value)
    raise _Unknown(type(value))


def _is_of_jax(value: Any) -> bool:
    """Returns whether an object is what one of JAX's modules calls by its name; then it lives as long as the module."""
    module, name = (getattr(value, attribute, "") for attribute in ("__module__", "__qualname__"))
    if not str(module).startswith("jax."):
        return False
    return getattr(sys.modules.get(module), name, None) is value


def _of_rule(rule: Any) -> Hashable:
    """Returns a key of a rule of derivatives (`jax.custom_jvp`) as a jaxpr holds it: the function that defines it.

    JAX wraps that function anew at every trace, in `_memoize`, a thunk and `_flatten_jvp`. A rule that is wrapped in
    another way is unknown.
    """
    flattened = _captured(_captured(getattr(rule, "f", None), "fn"), "jvp")
    defined: Any = getattr(flattened, "f", None)
    transforms: Any = getattr(flattened, "transforms", ())
    if not (_is_defined_by_jax(defined) and [step.__name__ for step, _ in transforms] == ["_flatten_jvp"]):
        raise _Unknown(rule)
    return defined, *(part for part in transforms[0][1] if not callable(part))


def _captured(function: Any, name: str) -> Any:
    """Returns the variable of this name that a function closes over; None if there is none."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    return function.__closure__[names.index(name)].cell_contents if name in names else None


def _is_defined_by_jax(function: Any) -> bool:
    """Returns whether a module of JAX defines a function and all functions that it closes over."""
    if not str(getattr(function, "__module__", "")).startswith("jax."):
        return False
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    parts = [part for cell in cells for part in (cell if isinstance(cell, tuple | list) else [cell])]
    return all(_is_defined_by_jax(part) for part in parts if callable(part))
