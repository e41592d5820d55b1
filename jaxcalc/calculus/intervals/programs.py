"""Programs: a function of one variable and its derivatives as a list of elementary operations, run one by one.

A derivative of a traced function repeats most operations of the function. Here calls are inlined, an operation that was
made before is not made again, and what no result needs is left out. Each operation runs as a compiled program of its
own, over a whole batch of intervals or of points. Operations are compiled once for all functions that use them:
compiling the bounds of three derivatives of a function as one program takes seconds to minutes, running its operations
one by one takes milliseconds.
"""

import contextlib
import functools
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.extend.core import Literal

from jaxcalc.calculus.derivatives import expansion
from jaxcalc.calculus.intervals.arithmetic import Breaks, Interval
from jaxcalc.calculus.intervals.enclosures import (
    CALLS,
    any_break,
    equals_extreme,
    extended,
    extreme_behind,
    operands_of_extreme,
)
from jaxcalc.calculus.intervals.schedule import WIDTH, is_number, steps
from jaxcalc.calculus.whole_powers import whole_exponents
from jaxcalc.core.captures import Captures, Versions

# The rows of a batch, and of a batch of a long program, which would wait for the rows that a small batch does not use.
# Every operation compiles for these lengths alone.
ROWS, _ROWS_OF_LONG = 1024, 256
# Constants up to this size are compared by their numbers, larger ones by identity.
_SMALL = 64
# Integer powers up to this exponent are compiled one by one.
_OWN_POWER = 4
# Loops of up to this many operations are unrolled: the operations that do not depend on x are then made once.
_UNROLLED = 4000

_programs: weakref.WeakKeyDictionary[Callable, Versions["Program"]] = weakref.WeakKeyDictionary()


class Slot:
    """A value that is computed; `aval` is its shape and dtype."""

    def __init__(self, aval: Any):
        self.aval = aval


class Constant:
    """A value that is known."""

    def __init__(self, val: Any):
        self.val = val

    @property
    def key(self) -> Hashable:
        """What is the same for equal constants."""
        value = np.asarray(self.val)
        return (value.dtype, value.shape, value.tobytes()) if value.size <= _SMALL else id(self.val)


class Operation(NamedTuple):
    """An elementary operation, in the terms of a JAX equation."""

    primitive: Any
    params: dict[str, Any]
    invars: tuple[Any, ...]
    outvars: tuple[Any, ...]


class Program:
    """The operations that compute the results of a traced function of one number.

    Attributes:
        operations: In the order of their execution.
    """

    def __init__(self, f: Callable):
        """Traces f: R -> a tuple of numbers."""
        traced = jax.make_jaxpr(f)(jax.ShapeDtypeStruct((), float))
        self.operations: list[Operation] = []
        self._known: dict[Hashable, tuple] = {}
        self._input = Slot(traced.in_avals[0])
        self._results = self._inlined(traced.jaxpr, traced.consts, [self._input])
        self._drop_unused()
        self._steps = steps(self.operations, _key_of)
        self._rows = ROWS if len(self._steps) == len(self.operations) else _ROWS_OF_LONG
        self._producers = {slot: operation for operation in self.operations for slot in operation.outvars}

    def _inlined(self, jaxpr: Any, consts: Sequence, inputs: Sequence) -> list:
        """Appends the operations of a jaxpr; returns its results, each a Slot or a Constant."""
        values = dict(zip(jaxpr.constvars, map(Constant, consts), strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))

        def read(atom):
            return Constant(atom.val) if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            values.update(zip(equation.outvars, self._appended(equation, operands), strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _appended(self, equation: Any, operands: list) -> Sequence:
        """Returns the results of an equation of a jaxpr; appends an operation only if the results are not there yet."""
        primitive, params = equation.primitive, equation.params
        if primitive.name in CALLS:
            inner = params.get("jaxpr", params.get("call_jaxpr"))
            return self._inlined(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands)
        if primitive.name == "scan" and _is_short(params, operands):
            return self._unrolled(params, operands)
        if all(isinstance(operand, Constant) for operand in operands):
            results = primitive.bind(*(operand.val for operand in operands), **primitive.get_bind_params(params))
            return list(map(Constant, results if primitive.multiple_results else [results]))
        aval = equation.outvars[0].aval
        same = _unchanged(primitive.name, operands, aval)
        if same is not None:
            return [same]
        if primitive.name == "pow" and isinstance(operands[1], Constant) and operands[0].aval.shape == aval.shape:
            exponents = whole_exponents(operands[1].val)
            if len(exponents) == 1:
                primitive, params, operands = lax.integer_pow_p, {"y": exponents[0]}, operands[:1]
        if primitive is lax.integer_pow_p and abs(params["y"]) > _OWN_POWER:
            # An exponent that is an operand needs no program of its own.
            operands, primitive, params = [*operands, Constant(np.asarray(params["y"], aval.dtype))], lax.pow_p, {}
        key = (primitive, _hashable(params), tuple(getattr(operand, "key", operand) for operand in operands))
        if key not in self._known:
            self._known[key] = tuple(Slot(var.aval) for var in equation.outvars)
            self.operations.append(Operation(primitive, params, tuple(operands), self._known[key]))
        return self._known[key]

    def _unrolled(self, params: dict, operands: list) -> list:
        """Appends the operations of a loop, step by step; returns the values that the loop carries to its end."""
        split, carried = params["num_consts"], params["num_carry"]
        consts, carry, inputs = operands[:split], operands[split : split + carried], operands[split + carried :]
        steps = range(params["length"])
        for step in reversed(steps) if params["reverse"] else steps:
            row = [Constant(np.asarray(column.val)[step]) for column in inputs]
            carry = self._inlined(params["jaxpr"].jaxpr, params["jaxpr"].consts, [*consts, *carry, *row])
        return carry

    def _drop_unused(self) -> None:
        needed = {slot for slot in self._results if isinstance(slot, Slot)}
        kept = []
        for operation in reversed(self.operations):
            if needed.intersection(operation.outvars):
                needed.update(operand for operand in operation.invars if isinstance(operand, Slot))
                kept.append(operation)
        self.operations = kept[::-1]

    def at(self, x: np.ndarray) -> np.ndarray:
        """Returns the results at the points x (k,), as an array (k, results)."""

        def values(x):
            return (np.stack([np.broadcast_to(y, x.shape) for y in self._run(x, _values)], axis=1),)

        return _in_batches(values, self._rows, x)[0]

    def over(self, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns lower and upper bounds, each (k, results), over the intervals [lo, hi], each (k,).

        Returns:
            The bounds, and whether an operation may fail to be analytic on the interval, (k,).

        Raises:
            NoEnclosure: If an operation has no known extension to intervals.
        """

        def bounds(lo, hi):
            breaks: list[Any] = []
            results = self._run(Interval(lo, hi), functools.partial(_intervals, self._producers, breaks))
            pairs = [y if isinstance(y, Interval) else (y, y) for y in results]
            found = [np.asarray(row).reshape(-1, len(lo)) for row in breaks]
            broken = np.any(np.concatenate([np.zeros((1, len(lo)), bool), *found]), axis=0)
            return (*(np.stack([np.broadcast_to(pair[end], lo.shape) for pair in pairs], 1) for end in (0, 1)), broken)

        lower, upper, broken = _in_batches(bounds, self._rows, lo, hi)
        return lower, upper, broken

    def _run(self, start: Any, evaluated: Callable) -> list:
        """Returns the results, given those of the input, by `evaluated`(operations, values) of each step."""
        values: dict[Slot, Any] = {self._input: start}
        for step in self._steps:
            results = evaluated(step, values)
            if len(step) == 1:
                values.update(zip(step[0].outvars, results, strict=True))
                continue
            for column, result in enumerate(results):
                parts = _separated(result)
                values.update(zip((operation.outvars[column] for operation in step), parts, strict=False))
        return [values[result] if isinstance(result, Slot) else result.val for result in self._results]


def derivatives_of(f: Callable) -> Program:
    """Returns the program of f and its first three derivatives; the same for the same f, which it does not keep alive.

    Args:
        f: R -> R, JAX-traceable. Where it takes other values from its closure or globals, the program is made anew.
    """
    try:
        versions = _programs[f]
    except (KeyError, TypeError):
        versions = Versions()
    with contextlib.suppress(TypeError):  # a callable that cannot be a key, or cannot be referenced weakly
        _programs[f] = versions

    def make(captures: Captures) -> Program:
        program = Program(expansion(f, 3))
        captures.leave_out_changed()
        return program

    return versions.current([f], make)


def _values(step: tuple[Operation, ...], values: dict) -> Sequence:
    """Returns the results of equal operations at a row of points, one after the other."""
    operands, axes = _operands(step[0].invars, values) if len(step) == 1 else _stacked(step, values)
    return _point_kernel(_Signature(step[0]), axes)(*operands)


def _intervals(producers: dict, breaks: list, step: tuple[Operation, ...], values: dict) -> Sequence:
    """Returns the results of equal operations over a row of intervals, one after the other.

    Appends to `breaks` whether they may fail to be analytic there, unless they cannot. Nothing is read here, since the
    next operation can be dispatched before the result of this one is there.
    """
    operation = step[0]
    extreme = extreme_behind(operation, producers) if len(step) == 1 else None
    if len(step) == 1:
        operands, axes = _operands(operands_of_extreme(operation, extreme) if extreme else operation.invars, values)
    else:
        operands, axes = _stacked(step, values)
    results, found = _interval_kernel(_Signature(operation), axes, _Signature(extreme) if extreme else None)(*operands)
    if found is not None:
        breaks.append(found)
    return results


def _stacked(step: tuple[Operation, ...], values: dict) -> tuple[list, tuple]:
    """Returns the operands of equal operations, one after the other, and their axes; the last fills up to `WIDTH`."""
    rows = [*step, *step[-1:] * (WIDTH - len(step))]
    operands = []
    for atoms in zip(*(operation.invars for operation in rows), strict=True):
        column = [values[atom] if isinstance(atom, Slot) else np.full(_ROWS_OF_LONG, atom.val) for atom in atoms]
        operands.append(jax.tree.map(lambda *leaves: np.concatenate(leaves), *column))
    return operands, (0,) * len(operands)


def _separated(result: Any) -> list:
    """Returns the results of the operations whose operands `_stacked` put one after the other."""
    leaves, form = jax.tree.flatten(result)
    parts = [np.asarray(leaf).reshape(WIDTH, _ROWS_OF_LONG) for leaf in leaves]
    return [form.unflatten([part[k] for part in parts]) for k in range(WIDTH)]


def _key_of(operation: Operation) -> Hashable:
    """Returns what is the same for operations on numbers that one compiled program computes; None for all others."""
    if not all(map(is_number, (*operation.invars, *operation.outvars))):
        return None
    return _Signature(operation), tuple((isinstance(atom, Slot), is_number(atom)) for atom in operation.invars)


def _operands(atoms: Sequence, values: dict) -> tuple[list, tuple]:
    """Returns the values of operands, and the axis of each along which the rows lie, None for a constant."""
    operands = [values[atom] if isinstance(atom, Slot) else atom.val for atom in atoms]
    return operands, tuple(0 if isinstance(atom, Slot) else None for atom in atoms)


class _Signature:
    """An operation without its variables: what its compiled program depends on besides shapes and dtypes."""

    def __init__(self, operation: Operation):
        self.primitive, self.params = operation.primitive, operation.params
        self.equal = len(operation.invars) == 2 and operation.invars[0] is operation.invars[1]
        self._key = (self.primitive, _hashable(self.params), self.equal)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Signature) and self._key == other._key


@functools.lru_cache(maxsize=4096)
def _point_kernel(signature: _Signature, axes: tuple) -> Callable:
    primitive, params = signature.primitive, signature.params

    def results(*operands):
        found = primitive.bind(*operands, **primitive.get_bind_params(params))
        return found if primitive.multiple_results else [found]

    return jax.jit(jax.vmap(results, in_axes=axes))


@functools.lru_cache(maxsize=4096)
def _interval_kernel(signature: _Signature, axes: tuple, extreme: _Signature | None) -> Callable:
    def results(*operands):
        breaks = Breaks()
        if extreme is not None:
            return [equals_extreme(extreme, *operands)], None
        found = extended(signature.primitive, signature.params, list(operands), signature.equal, breaks)
        return found, any_break(breaks) if breaks else None

    return jax.jit(jax.vmap(results, in_axes=axes))


def _in_batches(run: Callable, length: int, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns the results of run(*rows) for all rows of the columns (k,), in batches of this length."""
    parts = []
    for first in range(0, max(len(columns[0]), 1), length):
        rows = [column[first : first + length] for column in columns]
        count = len(rows[0])
        padded = [np.concatenate([row, np.full(length - count, row[-1] if count else 1.0)]) for row in rows]
        parts.append([np.asarray(result)[:count] for result in run(*padded)])
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def _is_short(params: dict, operands: list) -> bool:
    """Returns whether a loop is short enough to unroll: it reads constants only, and carries all its results."""
    inputs = operands[params["num_consts"] + params["num_carry"] :]
    body = params["jaxpr"].jaxpr
    return (
        params["length"] * len(body.eqns) <= _UNROLLED
        and len(body.outvars) == params["num_carry"]
        and all(isinstance(column, Constant) for column in inputs)
    )


def _unchanged(name: str, operands: list, aval: Any) -> Any:
    """Returns the operand that an operation returns as it is: x + 0, 1 x, or x in the shape and dtype it has."""
    for operand, other in zip(operands, operands[::-1], strict=True):
        if not isinstance(operand, Slot) or (operand.aval.shape, operand.aval.dtype) != (aval.shape, aval.dtype):
            continue
        if name in ("convert_element_type", "broadcast_in_dim", "reshape", "copy", "copy_p"):
            return operand
        neutral = {"mul": 1, "add": 0, "add_any": 0}.get(name)
        if neutral is not None and isinstance(other, Constant) and np.all(np.asarray(other.val) == neutral):
            return operand
    return None


def _hashable(params: dict) -> Hashable:
    """Returns parameters of an operation as a key; those that cannot be hashed are told apart by identity."""
    key = tuple(sorted(params.items(), key=lambda item: item[0]))
    try:
        hash(key)
    except TypeError:
        return tuple((name, repr(value)) for name, value in key)
    return key
