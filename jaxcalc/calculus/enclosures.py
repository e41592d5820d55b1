"""Bounds of a function over whole intervals: interval arithmetic on what JAX has traced.

Sampling says what a function does at points; an enclosure says what it cannot do between them. `integrate` uses it to
notice a peak that every sample has missed, `critical_points` to prove that an interval holds no further point. Every
elementary operation of the traced function is replaced by its extension to intervals, so the result contains the range
of the function (Moore, 1966); it may be wider than the range, and tends to it as the interval shrinks.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Literal

from jaxcalc.calculus.intervals import EXTENSIONS, OF_ONE_OPERAND, Interval, less_or_equal, outward, select
from jaxcalc.programs import kernel

# After so many operations what is known so far is computed once and for all: XLA on a CPU may fuse thousands of them
# into one loop, in which what is used twice is computed twice, and again in each of these, exponentially often.
UNIT = 64


class NoEnclosure(Exception):  # noqa: N818  it is an answer, not an error of the caller's
    """The function uses an operation whose extension to intervals is not known; its name is the argument."""


class Enclosure(NamedTuple):
    """What is known of f over an interval.

    Attributes:
        lo: No value is below it; nan where f is defined nowhere on the interval.
        hi: No value is above it.
        broken: Whether the interval may hold a place where f is not analytic: a switch between two expressions, a
            kink, a jump, a pole or the border of f's domain.
    """

    lo: Array
    hi: Array
    broken: Array


def enclosure(f: Callable) -> Callable[[Array, Array], Enclosure]:
    """Returns (lo, hi) -> bounds of f over [lo, hi], for scalars lo and hi; to be mapped with `jax.vmap`.

    Law: enclosure(f)(lo, hi) contains f(x) for every x in [lo, hi], and enclosure(f) of a smaller interval lies within
    that of a larger one.

    Args:
        f: R -> R or R -> R^m, JAX-traceable.

    Returns:
        A function of lo and hi, whose results have the shape of f(x).

    Raises:
        NoEnclosure: When called, if f uses an operation without a known extension, a `while_loop` for instance.

    Example:
        >>> bounds = enclosure(lambda x: x**2 - x)(jnp.array(0.0), jnp.array(1.0))
        >>> print(bounds.lo.round(6), bounds.hi.round(6))
        -1.0 1.0

    Moore, "Interval Analysis" (1966).
    """

    def bounds(lo: Array, hi: Array) -> Enclosure:
        traced, shape = jax.make_jaxpr(f, return_shape=True)(lo)
        breaks: list[Array] = []
        (result,) = _run(traced.jaxpr, traced.consts, [Interval(lo, hi)], breaks)
        result = _interval(result)
        broken = _any(breaks) | ~(jnp.all(jnp.isfinite(result.lo)) & jnp.all(jnp.isfinite(result.hi)))
        return Enclosure(result.lo.reshape(shape.shape), result.hi.reshape(shape.shape), broken)

    return bounds


def _run(jaxpr: Any, consts: Any, inputs: list, breaks: list[Array]) -> list:
    """Interprets the operations of a trace one after the other, on arrays and on intervals."""
    values: dict[Any, Any] = {}
    made: dict[Any, Any] = {}  # which operation made a variable

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    values.update(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))
    for place, equation in enumerate(jaxpr.eqns, start=1):
        operands = [read(atom) for atom in equation.invars]
        name, params = equation.primitive.name, equation.params
        if not any(isinstance(operand, Interval) for operand in operands):
            results = equation.primitive.bind(*operands, **params)
            results = results if equation.primitive.multiple_results else [results]
        elif name in _CALLS:
            results = _call(params, operands, breaks)
        elif name == "scan":
            results = _scan(params, operands, breaks)
        elif name == "cond":
            results = _cond(params, operands, breaks)
        elif name == "eq" and (origin := _extreme_of(equation, made)):
            # The derivative of max(x, y) asks whether x is the larger by asking whether it equals the result.
            results = [_run_comparison(origin, equation, read)]
        elif name in ("div", "rem") and not jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
            raise NoEnclosure(f"{name} of whole numbers that depend on x")
        elif name in EXTENSIONS:
            # A variable that occurs twice in an operation is one number, which the extension could not know.
            same = len(equation.invars) == 2 and equation.invars[0] is equation.invars[1]
            rule = OF_ONE_OPERAND.get(name, EXTENSIONS[name]) if same else EXTENSIONS[name]
            results = [rule(breaks, params, *map(_interval, operands))]
        elif name in _STRUCTURAL:
            if any(isinstance(operand, Interval) for operand in operands[_INDICES.get(name, slice(0))]):
                raise NoEnclosure(f"{name} at an index that depends on x")
            results = _structural(equation.primitive, params, operands)
        else:
            raise NoEnclosure(name)
        values.update(zip(equation.outvars, results, strict=True))
        made.update(dict.fromkeys(equation.outvars, equation))
        if place % UNIT == 0:
            values.update(_computed_once(values, jaxpr, place))
    return [read(atom) for atom in jaxpr.outvars]


def _computed_once(values: dict, jaxpr: Any, place: int) -> dict:
    """Returns the intervals that operations from this place on read, as results of a unit that is computed once."""
    read = {id(atom) for equation in jaxpr.eqns[place:] for atom in equation.invars} | set(map(id, jaxpr.outvars))
    live = {var: value for var, value in values.items() if isinstance(value, Interval) and id(var) in read}
    return dict(zip(live, _as_unit(list(live.values())), strict=True))


@kernel
def _as_unit(intervals: list[Interval]) -> list[Interval]:
    return intervals


def _extreme_of(equation: Any, made: dict) -> Any:
    """The max or min that made one operand of a comparison from the other, if there is one."""
    for result, operand in (equation.invars, equation.invars[::-1]):
        origin = None if isinstance(result, Literal) else made.get(result)
        if origin is not None and origin.primitive.name in ("max", "min") and any(v is operand for v in origin.invars):
            return origin
    return None


def _run_comparison(origin: Any, equation: Any, read: Callable) -> Interval:
    operand = next(v for v in equation.invars if any(v is other for other in origin.invars))
    other = origin.invars[1] if origin.invars[0] is operand else origin.invars[0]
    mine, theirs = _interval(read(operand)), _interval(read(other))
    if origin.primitive.name == "min":
        mine, theirs = theirs, mine
    return less_or_equal([], {}, theirs, mine)


def _interval(value: Any) -> Interval:
    if isinstance(value, Interval):
        return value
    # A literal stays NumPy's, so that a rule can still read it: the exponent of a power, for instance.
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    return Interval(array, array)


def _call(params: dict, operands: list, breaks: list[Array]) -> list:
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    consts = getattr(inner, "consts", ())
    return _run(getattr(inner, "jaxpr", inner), consts, operands, breaks)


def _scan(params: dict, operands: list, breaks: list[Array]) -> list:
    """A scan of intervals; what is carried and is the same number for the whole interval, a counter, stays a number."""
    split, carried = params["num_consts"], params["num_carry"]
    consts, carry, inputs = operands[:split], operands[split : split + carried], operands[split + carried :]
    ranges = [isinstance(value, Interval) for value in carry]

    def step(carry, row):
        found: list[Array] = []
        results = _run(params["jaxpr"].jaxpr, params["jaxpr"].consts, [*consts, *carry, *row], found)
        widened.append([isinstance(result, Interval) for result in results[:carried]])
        after = [_interval(value) if ranged else value for ranged, value in zip(ranges, results, strict=False)]
        return after, (results[carried:], _any(found))

    while True:
        start = [_interval(value) if ranged else value for ranged, value in zip(ranges, carry, strict=True)]
        widened: list[list[bool]] = []
        jax.eval_shape(step, start, jax.tree.map(lambda leaf: leaf[0], inputs))
        if all(before or not after for before, after in zip(ranges, widened[0], strict=True)):
            break
        ranges = [before or after for before, after in zip(ranges, widened[0], strict=True)]
    options = {"length": params["length"], "reverse": params["reverse"]}
    last, (rows, broken) = jax.lax.scan(step, jax.tree.map(jnp.asarray, start), inputs, **options)
    breaks.append(broken)
    return [*last, *rows]


def _any(breaks: list[Array]) -> Array:
    return functools.reduce(jnp.logical_or, [jnp.any(found) for found in breaks], jnp.array(False))


def _cond(params: dict, operands: list, breaks: list[Array]) -> list:
    index, *inputs = operands
    branches = [_call({"jaxpr": branch}, inputs, breaks) for branch in params["branches"]]
    return [select(breaks, {}, _interval(index), *map(_interval, cases)) for cases in zip(*branches, strict=True)]


def _structural(primitive: Any, params: dict, operands: list) -> list[Interval]:
    """Moves numbers about or adds them up: what grows with every operand acts on both ends alike."""
    lo, hi = (
        primitive.bind(*(operand[end] if isinstance(operand, Interval) else operand for operand in operands), **params)
        for end in (0, 1)
    )
    return list(map(outward, lo, hi)) if primitive.multiple_results else [outward(lo, hi)]


_CALLS = {"jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call"}
_STRUCTURAL = {
    *("reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose", "rev", "slice", "dynamic_slice", "copy"),
    *("concatenate", "stack", "split", "pad", "gather", "scatter", "scatter-add", "dynamic_update_slice", "copy_p"),
    *("reduce_sum", "reduce_max", "reduce_min", "cumsum", "cummax", "cummin", "convert_element_type", "add_any"),
    *("reduce_precision", "stop_gradient", "reduce_and", "reduce_or", "and", "or"),
}
# Operands of these that say where, which must be the same for the whole interval.
_INDICES = {
    **{"dynamic_slice": slice(1, None), "gather": slice(1, None)},
    **{"scatter": slice(1, 2), "scatter-add": slice(1, 2), "dynamic_update_slice": slice(2, None)},
}
