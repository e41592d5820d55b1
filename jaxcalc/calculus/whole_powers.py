"""Powers with whole exponents that are written as floats, such as x**2.0, differentiated as exactly as x**2.

JAX differentiates x**y with a floating y as y x**(y - 1). At x = 0 the rule multiplies 0 by an infinity as soon as the
exponent is used up: the third derivative of x**2.0 at 0 comes out as nan. `lax.integer_pow` has a rule without this
fault. Its exponent is a part of the program, so a power can become an integer power where its exponent is a constant.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from jaxcalc.core.captures import renewed

# `lax.integer_pow` multiplies, with an error that grows with the exponent; larger exponents keep the power function.
_LARGEST_EXPONENT = 1024
# An array of more different exponents than this keeps the power function, which then is one operation instead of many.
_MOST_EXPONENTS = 16
# Calls without a derivative rule of their own, which can be replaced by what they call.
_CALLS = {"jit", "pjit", "closed_call", "core_call"}
# Operations that are kept, with the programs inside them replaced.
_BODIES = {"scan", "while", "cond", "remat2", "checkpoint"}
# Operations by which an exponent may be computed from constants.
_ARITHMETIC = {"convert_element_type", "broadcast_in_dim", "reshape", "iota", "add", "sub", "mul", "neg"}


def with_whole_powers(f: Callable) -> Callable:
    """Returns f with every power whose exponent is a constant whole number as an integer power.

    The values are those of f up to rounding. A function that Python must see numbers for, as in `if x > 0`, cannot be
    traced ahead, and is returned unchanged; so is a power inside of a function with a derivative rule of its own.

    Args:
        f: A JAX-traceable function of arrays and pytrees.

    Returns:
        A function with the arguments and results of f.

    Example:
        >>> print(jax.jit(jax.grad(jax.grad(jax.grad(with_whole_powers(lambda x: x**2.0)))))(0.0))
        0.0
    """
    current = renewed(f)

    def exact(*args):
        try:
            traced, shape = jax.make_jaxpr(current(), return_shape=True)(*args)
        except TypeError:  # JAX's errors of values that are not known yet are among these
            return f(*args)
        evaluated = functools.partial(_evaluated, traced.jaxpr, traced.consts)
        results = (evaluated if _has_power(traced.jaxpr) else _as_traced(traced))(jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), [jnp.asarray(result) for result in results])

    return exact


def _as_traced(traced: ClosedJaxpr) -> Callable:
    return lambda inputs: jaxpr_as_fun(traced)(*inputs)


def whole_exponents(y: Any) -> list[int]:
    """Returns the different entries of an exponent y if y is a constant of whole numbers; otherwise an empty list.

    Several entries must not be negative: the derivative of a negative power at 0, which is infinite, would turn the
    derivatives of its neighbours to nan.
    """
    if isinstance(y, Tracer) or np.size(y) == 0:
        return []
    entries = np.unique(np.asarray(y))
    whole = np.all((entries == np.floor(entries)) & (np.abs(entries) <= _LARGEST_EXPONENT))
    many = len(entries) > 1 and (entries[0] < 0 or len(entries) > _MOST_EXPONENTS)
    return [int(entry) for entry in entries] if whole and not many else []


def _has_power(jaxpr: Any) -> bool:
    """Returns whether a jaxpr holds a power outside of functions with derivative rules of their own."""
    replaced = (equation for equation in jaxpr.eqns if equation.primitive.name in _CALLS | _BODIES)
    inner = (value for equation in replaced for value in equation.params.values())
    return any(equation.primitive.name == "pow" for equation in jaxpr.eqns) or any(map(_has_power, _bodies(inner)))


def _bodies(values: Any) -> list:
    """Returns the jaxprs among the parameters of an operation."""
    found = []
    for value in values:
        for part in value if isinstance(value, tuple | list) else [value]:
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                found.append(part)
    return found


def _evaluated(jaxpr: Any, consts: Sequence, inputs: Sequence) -> list:
    """Evaluates a jaxpr, with integer powers in place of powers whose exponent is a constant whole number."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))
    for equation in jaxpr.eqns:
        operands = [atom.val if isinstance(atom, Literal) else values[atom] for atom in equation.invars]
        values.update(zip(equation.outvars, _operation(equation, operands), strict=True))
    return [atom.val if isinstance(atom, Literal) else values[atom] for atom in jaxpr.outvars]


def _operation(equation: Any, operands: list) -> Sequence:
    primitive, params = equation.primitive, equation.params
    if primitive.name == "pow" and (exponents := whole_exponents(operands[1])):
        return [_whole_power(jnp.broadcast_to(operands[0], equation.outvars[0].aval.shape), operands[1], exponents)]
    is_known = not any(isinstance(operand, Tracer) for operand in operands)
    if primitive.name in _CALLS and (is_known or any(map(_has_power, _bodies(params.values())))):
        inner = params.get("jaxpr", params.get("call_jaxpr"))
        return _evaluated(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands)
    if primitive.name in _BODIES:
        params = {name: _with_exact_bodies(value) for name, value in params.items()}
    if primitive.name in _ARITHMETIC and is_known:
        with jax.ensure_compile_time_eval():  # an exponent that is computed from constants stays a constant
            results = primitive.bind(*operands, **primitive.get_bind_params(params))
    else:
        results = primitive.bind(*operands, **primitive.get_bind_params(params))
    return results if primitive.multiple_results else [results]


def _whole_power(x: jax.Array, y: Any, exponents: list[int]) -> jax.Array:
    """Returns x**y, where the entries of y are these whole numbers."""
    result = lax.integer_pow(x, exponents[0])
    for exponent in exponents[1:]:
        result = jnp.where(y == exponent, lax.integer_pow(x, exponent), result)
    return result


def _with_exact_bodies(value: Any) -> Any:
    """Returns a parameter of a loop or a condition with integer powers in its jaxprs."""
    if isinstance(value, tuple):
        return tuple(map(_with_exact_bodies, value))
    if isinstance(value, Jaxpr) and not value.constvars:
        return _with_exact_bodies(ClosedJaxpr(value, ())).jaxpr
    if not isinstance(value, ClosedJaxpr) or not _has_power(value.jaxpr):
        return value
    inputs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in value.in_avals]
    return jax.make_jaxpr(lambda *operands: _evaluated(value.jaxpr, value.consts, operands))(*inputs)
