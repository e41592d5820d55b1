"""Programs: a function of one variable and its derivatives as a list of elementary operations, run one by one.

A derivative of a traced function repeats most operations of the function. Here calls are inlined, an operation that was
made before is not made again, and what no result needs is left out. Each operation runs as a compiled program of its
own, over a whole batch of intervals or of points. Operations are compiled once for all functions that use them:
compiling the bounds of three derivatives of a function as one program takes seconds to minutes, running its operations
one by one takes milliseconds.
"""

import contextlib
import functools
import math
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import Literal

from jaxcalc.calculus.derivatives import expansion
from jaxcalc.calculus.intervals.arithmetic import Interval
from jaxcalc.calculus.intervals.enclosures import CALLS
from jaxcalc.calculus.intervals.execution import (
    Constant,
    Operation,
    Slot,
    Step,
    hashable,
    key_of,
    on_numbers,
    separated,
)
from jaxcalc.calculus.intervals.schedule import steps
from jaxcalc.calculus.whole_powers import whole_exponents
from jaxcalc.core.captures import Captures, Versions

# The most rows of a batch, and the most numbers that all rows of one array hold. Operations on arrays compile for the
# number of rows that follows, and for no other.
ROWS, _NUMBERS = 1024, 2**17
# So many entries of an array cost as much as an operation on a number.
_ENTRIES = 8
# Constants up to this size are compared by their numbers, larger ones by identity.
_SMALL = 64
# Integer powers up to this exponent are compiled one by one.
_OWN_POWER = 4
# Loops of up to this many operations are unrolled: the operations that do not depend on x are then made once.
_UNROLLED = 4000

_programs: weakref.WeakKeyDictionary[Callable, Versions["Program"]] = weakref.WeakKeyDictionary()


class Program:
    """The operations that compute the results of a traced function of one number.

    Attributes:
        operations: In the order of their execution.
        cost: What one row costs, in operations on numbers.
    """

    def __init__(self, f: Callable):
        """Traces f: R -> a tuple of numbers."""
        traced = jax.make_jaxpr(f)(jax.ShapeDtypeStruct((), float))
        self.operations: list[Operation] = []
        self._known: dict[Hashable, tuple] = {}
        self._input = Slot(traced.in_avals[0])
        self._results = self._inlined(traced.jaxpr, traced.consts, [self._input])
        self._drop_unused()
        producers = {slot: operation for operation in self.operations for slot in operation.outvars}
        self._steps = steps(self.operations, key_of)
        self._prepared = [Step(step, producers) for step in self._steps]
        sizes = [math.prod(slot.aval.shape) for operation in self.operations for slot in operation.outvars]
        largest = max([1, *sizes])
        self.cost = 1 + sum(max(1, size / _ENTRIES) for size in sizes)
        self._rows = min(ROWS, 2 ** max(0, int(math.log2(_NUMBERS / largest))))
        self._pads = not all(map(on_numbers, self.operations))

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
        key = (primitive, hashable(params), tuple(map(_key, operands)))
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
            return (np.stack([np.broadcast_to(y, x.shape) for y in self._run(x, Step.at)], axis=1),)

        return self._in_batches(values, x)[0]

    def over(self, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns lower and upper bounds, each (k, results), over the intervals [lo, hi], each (k,).

        Returns:
            The bounds, and whether an operation may fail to be analytic on the interval, (k,).

        Raises:
            NoEnclosure: If an operation has no known extension to intervals.
        """

        def bounds(lo, hi):
            breaks: list[Any] = []
            results = self._run(Interval(lo, hi), functools.partial(Step.over, breaks=breaks))
            pairs = [y if isinstance(y, Interval) else (y, y) for y in results]
            found = [np.asarray(row).reshape(-1, len(lo)) for row in breaks]
            broken = np.any(np.concatenate([np.zeros((1, len(lo)), bool), *found]), axis=0)
            return (*(np.stack([np.broadcast_to(pair[end], lo.shape) for pair in pairs], 1) for end in (0, 1)), broken)

        lower, upper, broken = self._in_batches(bounds, lo, hi)
        return lower, upper, broken

    def _run(self, start: Any, evaluated: Callable) -> list:
        """Returns the results, given those of the input, by `evaluated`(step, values)."""
        values: dict[Slot, Any] = {self._input: start}
        for step in self._prepared:
            results = evaluated(step, values)
            if len(step.operations) == 1:
                values.update(zip(step.operations[0].outvars, results, strict=True))
                continue
            for column, result in enumerate(results):
                parts = separated(result, len(step.operations))
                values.update(zip((operation.outvars[column] for operation in step.operations), parts, strict=True))
        return [values[result] if isinstance(result, Slot) else result.val for result in self._results]

    def _in_batches(self, run: Callable, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the results of run(*rows) for all rows of the columns (k,), in batches.

        Where an operation works on arrays, whose kernels compile for each number of rows, all batches have one length.
        """
        parts = []
        for first in range(0, max(len(columns[0]), 1), self._rows):
            rows = [column[first : first + self._rows] for column in columns]
            count = len(rows[0])
            wanted = self._rows if self._pads else max(count, 1)
            padded = [np.concatenate([row, np.full(wanted - count, row[-1] if count else 1.0)]) for row in rows]
            parts.append([np.asarray(result)[:count] for result in run(*padded)])
        return tuple(map(np.concatenate, zip(*parts, strict=True)))


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


def _key(operand: Slot | Constant) -> Hashable:
    """Returns what is the same for equal constants; a value that is computed is its own key."""
    if isinstance(operand, Slot):
        return operand
    value = np.asarray(operand.val)
    return (value.dtype, value.shape, value.tobytes()) if value.size <= _SMALL else id(operand.val)


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
