"""Bounds of a function over whole intervals: interval arithmetic on the jaxpr of the function.

Samples show the values of a function at points; an enclosure excludes values everywhere between the points. `integrate`
uses the enclosure of f' to notice a peak between the samples, and `critical_points` to prove that an interval holds no
further zero of f'. The enclosure evaluates the jaxpr with the extension of every operation to intervals. The result
contains the range of the function (Moore, 1966); it may be wider than the range, and tends to the range as the interval
shrinks.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Literal

from jaxcalc.calculus.intervals.arithmetic import (
    EXTENSIONS,
    EXTENSIONS_OF_EQUAL_OPERANDS,
    Breaks,
    Equality,
    Interval,
    Unknown,
    less_or_equal,
    round_outward,
    select,
)
from jaxcalc.calculus.intervals.selections import OF_WHOLE_NUMBERS, SELECTIONS, unbounded
from jaxcalc.core.kernels import kernel

# XLA on a CPU may fuse thousands of operations into one loop. A value that is used twice in the loop is then computed
# twice, each of these computes its own operands twice, and so on. After every so many operations, the values so far are
# therefore results of a kernel, which is computed once.
_OPERATIONS_PER_KERNEL = 64


class NoEnclosure(Exception):  # noqa: N818  callers catch it and go on without bounds
    """The function uses an operation without a known extension to intervals; the argument names the operation."""


class Enclosure(NamedTuple):
    """Bounds of f over an interval.

    Attributes:
        lo: A lower bound of f(x), of the shape of f(x); nan where f is defined nowhere on the interval.
        hi: An upper bound of f(x), likewise.
        broken: Whether f may fail to be analytic somewhere on the interval, shape (): at a switch between two
            expressions, a kink, a jump, a pole or the border of the domain of f.
        switched: Whether f may pass from one expression to another on the interval, shape (): at a kink or a jump. None
            if f has no operation that could.
        is_complete: Whether all operations of f have an extension.
    """

    lo: Array
    hi: Array
    broken: Array
    switched: Array | None
    is_complete: bool


def enclosure(f: Callable, partial: bool = False) -> Callable[[Array, Array], Enclosure]:
    """Returns (lo, hi) -> bounds of f over [lo, hi], for single intervals; map the result with `jax.vmap`.

    Laws: enclosure(f)(lo, hi) contains f(x) for every x in [lo, hi]; if [a, b] lies within [lo, hi], then
    enclosure(f)(a, b) lies within enclosure(f)(lo, hi).

    Args:
        f: R -> R^m or R^d -> R^m, JAX-traceable; for points x of shape (d,) the interval [lo, hi] is a box.
        partial: Whether an operation without a known extension may have any value. The bounds are then wide or
            infinite, but `switched` still tells of the breaks that all other operations can cause.

    Returns:
        A function of lo and hi, which returns an `Enclosure`.

    Raises:
        NoEnclosure: When called, if f uses an operation without a known extension, a `while_loop` for instance, and
            partial is False.

    Example:
        >>> bounds = enclosure(lambda x: x**2 - x)(jnp.array(0.0), jnp.array(1.0))
        >>> print(bounds.lo.round(6), bounds.hi.round(6))
        -1.0 1.0

    Moore, "Interval Analysis" (1966).
    """

    def bounds(lo: Array, hi: Array) -> Enclosure:
        traced, shape = jax.make_jaxpr(f, return_shape=True)(lo)
        breaks: Breaks = Breaks(partial)
        (result,) = _interpret(traced.jaxpr, traced.consts, [Interval(lo, hi)], breaks)
        result = _as_interval(result)
        broken = any_break(breaks) | ~(jnp.all(jnp.isfinite(result.lo)) & jnp.all(jnp.isfinite(result.hi)))
        switched = any_break(breaks.switches) if breaks.switches else None
        return Enclosure(
            result.lo.reshape(shape.shape), result.hi.reshape(shape.shape), broken, switched, not breaks.unknown
        )

    return bounds


def _interpret(jaxpr: Any, consts: Any, inputs: list, breaks: Breaks) -> list:
    """Evaluates a jaxpr on arrays and intervals; appends to `breaks` where operations may fail to be analytic."""
    values: dict[Any, Any] = {}
    producers: dict[Any, Any] = {}  # the equation that computes each variable

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    values.update(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))
    for number, equation in enumerate(jaxpr.eqns, start=1):
        operands = [read(atom) for atom in equation.invars]
        if any(isinstance(operand, Interval) for operand in operands):
            results = _extended(equation, operands, producers, read, breaks)
        else:
            parameters = equation.primitive.get_bind_params(equation.params)
            results = equation.primitive.bind(*operands, **parameters)
            results = results if equation.primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results, strict=True))
        producers.update(dict.fromkeys(equation.outvars, equation))
        if number % _OPERATIONS_PER_KERNEL == 0:
            values.update(_results_of_kernel(values, jaxpr, number))
    return [read(atom) for atom in jaxpr.outvars]


def _extended(equation: Any, operands: list, producers: dict, read: Callable, breaks: Breaks) -> list:
    """Returns the results of one equation, of whose operands at least one is an interval."""
    extreme = extreme_behind(equation, producers)
    if extreme is not None:
        return [equals_extreme(extreme, *map(read, operands_of_extreme(equation, extreme)))]
    equal = len(equation.invars) == 2 and equation.invars[0] is equation.invars[1]
    if not breaks.partial or equation.primitive.name in CALLS | {"scan", "cond"}:
        return extended(equation.primitive, equation.params, operands, equal, breaks)
    return _of_partial(equation, operands, equal, breaks)


def _of_partial(equation: Any, operands: list, equal: bool, breaks: Breaks) -> list:
    """Returns the results of one operation, which are `Unknown` if it has no extension or works on what is unknown.

    Of what may be any number nobody knows whether it passes a place where an operation jumps; the truth values beside
    it still jump where they change.
    """
    found: Breaks = Breaks(partial=True)
    found.borders = breaks.borders
    intervals = list(map(_as_interval, operands))
    unknown, has_extension = any(isinstance(operand, Unknown) for operand in operands), True
    try:
        if _is_complex(equation):
            raise NoEnclosure(f"{equation.primitive.name} of complex numbers")
        results = extended(equation.primitive, equation.params, operands, equal, found)
    except NoEnclosure:
        avals = [var.aval for var in equation.outvars]
        results = unbounded(equation.primitive.name, equation.params, intervals, avals, found)
        has_extension, breaks.unknown = False, True
    switches = found.switches
    if unknown and equation.primitive.name != "select_n":
        switches = [x.lo != x.hi for x in intervals if x.lo.dtype == bool and not isinstance(x, Equality)]
    for switch in switches:
        breaks.switch(switch)
    return [Unknown(*_as_interval(result)) for result in results] if unknown or not has_extension else results


def _is_complex(equation: Any) -> bool:
    """Returns whether an operation has complex operands or results."""
    return any(jnp.issubdtype(var.aval.dtype, jnp.complexfloating) for var in (*equation.invars, *equation.outvars))


def extended(primitive: Any, params: dict[str, Any], operands: list[Any], equal: bool, breaks: Breaks) -> list[Any]:
    """Returns the results of one operation, of whose operands at least one is an interval.

    Args:
        primitive: The JAX primitive.
        params: Its parameters.
        operands: Intervals and numbers.
        equal: Whether two operands are one variable.
        breaks: Is told where the operation may fail to be analytic.

    Raises:
        NoEnclosure: If the operation has no known extension.
    """
    name = primitive.name
    if name in CALLS:
        return _call(params, operands, breaks)
    if name == "scan":
        return _scan(params, operands, breaks)
    if name == "cond":
        return _cond(params, operands, breaks)
    if name in OF_WHOLE_NUMBERS and jnp.issubdtype(_as_interval(operands[0]).lo.dtype, jnp.integer):
        of_whole_numbers = OF_WHOLE_NUMBERS[name]
        if of_whole_numbers is None or isinstance(operands[1], Interval):
            raise NoEnclosure(f"{name} of whole numbers that depend on x")
        return [of_whole_numbers(*map(_as_interval, operands))]
    if name in SELECTIONS:
        results = SELECTIONS[name](breaks, params, *map(_as_interval, operands))
        if results is not None:
            return results
    if name in EXTENSIONS:
        extension = EXTENSIONS_OF_EQUAL_OPERANDS.get(name, EXTENSIONS[name]) if equal else EXTENSIONS[name]
        return [extension(breaks, params, *map(_as_interval, operands))]
    if name in _NONDECREASING:
        if any(isinstance(operand, Interval) for operand in operands[_INDEX_OPERANDS.get(name, slice(0))]):
            raise NoEnclosure(f"{name} at an index that depends on x")
        return _applied_to_both_ends(primitive, params, operands)
    raise NoEnclosure(name)


def _results_of_kernel(values: dict, jaxpr: Any, number: int) -> dict:
    """Returns the intervals that the equations from this number on read, as results of a kernel."""
    read = {id(atom) for equation in jaxpr.eqns[number:] for atom in equation.invars} | set(map(id, jaxpr.outvars))
    live = {var: value for var, value in values.items() if isinstance(value, Interval) and id(var) in read}
    return dict(zip(live, _identity(list(live.values())), strict=True))


@kernel
def _identity(intervals: list[Interval]) -> list[Interval]:
    return intervals


def extreme_behind(equation: Any, producers: dict[Any, Any]) -> Any:
    """Returns the equation z = max(x, y) or z = min(x, y) behind a comparison x == z or z == x, or None."""
    if equation.primitive.name != "eq":
        return None
    for result, operand in (equation.invars, equation.invars[::-1]):
        extreme = None if isinstance(result, Literal) else producers.get(result)
        if (
            extreme is not None
            and extreme.primitive.name in ("max", "min")
            and any(v is operand for v in extreme.invars)
        ):
            return extreme
    return None


def operands_of_extreme(equation: Any, extreme: Any) -> tuple[Any, Any]:
    """Returns the variables x and y of a comparison x == max(x, y) or x == min(x, y)."""
    x = next(v for v in equation.invars if any(v is operand for operand in extreme.invars))
    return x, extreme.invars[1] if extreme.invars[0] is x else extreme.invars[0]


def equals_extreme(extreme: Any, x: Any, y: Any) -> Interval:
    """Returns x == max(x, y) as y <= x, and x == min(x, y) as x <= y.

    The derivative of max asks x == max(x, y), which the intervals of x and of the maximum cannot decide.
    """
    larger, smaller = _as_interval(x), _as_interval(y)
    if extreme.primitive.name == "min":
        larger, smaller = smaller, larger
    return less_or_equal(Breaks(), {}, smaller, larger)


def _as_interval(value: Any) -> Interval:
    """Returns a number as the interval of that number alone; an interval as given."""
    if isinstance(value, Interval):
        return value
    # A literal stays a NumPy array, so that an extension can read its value: the exponent of a power, for instance.
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    return Interval(array, array)


def _call(params: dict, operands: list, breaks: Breaks) -> list:
    """Evaluates a call of another jaxpr, such as a function under `jit` or with a derivative of its own."""
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    consts = getattr(inner, "consts", ())
    return _interpret(getattr(inner, "jaxpr", inner), consts, operands, breaks)


def _scan(params: dict, operands: list, breaks: Breaks) -> list:
    """Evaluates a scan. A carried value that does not depend on x, such as a counter, stays a number."""
    split, carried = params["num_consts"], params["num_carry"]
    consts, carry, inputs = operands[:split], operands[split : split + carried], operands[split + carried :]
    ranged = [isinstance(value, Interval) for value in carry]
    switches: list[bool] = []

    def step(carry, row):
        found: Breaks = Breaks(breaks.partial)
        found.borders = list(breaks.borders)
        results = _interpret(params["jaxpr"].jaxpr, params["jaxpr"].consts, [*consts, *carry, *row], found)
        ranged_after.append([isinstance(result, Interval) for result in results[:carried]])
        # The kind of an interval, such as `Equality`, must not change from step to step.
        after = [Interval(*_as_interval(v)) if wide else v for wide, v in zip(ranged, results, strict=False)]
        switches.append(bool(found.switches))
        breaks.unknown |= found.unknown
        return after, (results[carried:], any_break(found), any_break(found.switches), any_break(found.borders))

    # A step may turn a carried number into an interval, and that interval others in the next step.
    while True:
        start = [Interval(*_as_interval(v)) if wide else v for wide, v in zip(ranged, carry, strict=True)]
        ranged_after: list[list[bool]] = []
        jax.eval_shape(step, start, jax.tree.map(lambda leaf: leaf[0], inputs))
        if all(before or not after for before, after in zip(ranged, ranged_after[0], strict=True)):
            break
        ranged = [before or after for before, after in zip(ranged, ranged_after[0], strict=True)]
    options = {"length": params["length"], "reverse": params["reverse"]}
    last, (rows, broken, switched, borders) = jax.lax.scan(step, jax.tree.map(jnp.asarray, start), inputs, **options)
    breaks.append(broken)
    if any(switches):
        breaks.switches.append(switched)
        breaks.borders.append(borders)
    if any(isinstance(operand, Unknown) for operand in operands):
        return [Unknown(*_as_interval(result)) for result in (*last, *rows)]
    return [*last, *rows]


def any_break(breaks: list[Array]) -> Array:
    """Returns whether any operation may fail to be analytic, shape ()."""
    return functools.reduce(jnp.logical_or, [jnp.any(found) for found in breaks], jnp.array(False))


def _cond(params: dict, operands: list, breaks: Breaks) -> list:
    """Evaluates all branches of a condition, and selects the hull of those that may be taken."""
    index, *inputs = operands
    branches = [_call({"jaxpr": branch}, inputs, breaks) for branch in params["branches"]]
    return [select(breaks, {}, _as_interval(index), *map(_as_interval, cases)) for cases in zip(*branches, strict=True)]


def _applied_to_both_ends(primitive: Any, params: dict, operands: list) -> list[Interval]:
    """Returns the interval of the results at all lower and at all upper ends, for a nondecreasing operation."""
    lo, hi = (
        primitive.bind(*(operand[end] if isinstance(operand, Interval) else operand for operand in operands), **params)
        for end in (0, 1)
    )
    results = list(map(Interval, lo, hi)) if primitive.multiple_results else [Interval(lo, hi)]
    return [round_outward(*result) for result in results] if primitive.name in _ROUNDS else results


CALLS = {"jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call"}
# Operations that do not decrease in any operand other than indices: they move, add up or compare numbers.
_NONDECREASING = {
    *("reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose", "rev", "slice", "dynamic_slice", "copy"),
    *("concatenate", "stack", "split", "pad", "gather", "scatter", "scatter-add", "dynamic_update_slice", "copy_p"),
    *("reduce_sum", "cumsum"),
    *("reduce_precision", "stop_gradient", "reduce_and", "reduce_or", "and", "or"),
}
# Those of these operations that round; the others give the numbers as they are.
_ROUNDS = {"reduce_sum", "cumsum", "scatter-add", "reduce_precision"}
# The operands of these operations that are indices, and must be numbers: one index for the whole interval.
_INDEX_OPERANDS = {
    **{"dynamic_slice": slice(1, None), "gather": slice(1, None)},
    **{"scatter": slice(1, 2), "scatter-add": slice(1, 2), "dynamic_update_slice": slice(2, None)},
}
