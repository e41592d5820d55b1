"""How the steps of a program run: elementary arithmetic on numbers by NumPy, every other operation by compiled kernels.

A call of a compiled kernel costs as much as the arithmetic of some thousand numbers, and its compilation as much as
that of some million. NumPy has neither price. A step is one operation, or equal operations side by side.
"""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcalc.calculus.intervals.arithmetic import Breaks, Interval
from jaxcalc.calculus.intervals.enclosures import (
    any_break,
    equals_extreme,
    extended,
    extreme_behind,
    operands_of_extreme,
)

# Kernels of operations on numbers compile for this length alone; longer rows are cut into parts of it.
LENGTH = 1024
# What NumPy computes on numbers, at points; on intervals it computes the extensions of these operations.
_ARITHMETIC: dict[str, Callable] = {
    **{"add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide},
    **{"neg": np.negative, "square": np.square},
}


class Slot:
    """A value that is computed; `aval` is its shape and dtype."""

    def __init__(self, aval: Any):
        self.aval = aval


class Constant:
    """A value that is known."""

    def __init__(self, val: Any):
        self.val = val


class Operation(NamedTuple):
    """An elementary operation, in the terms of a JAX equation."""

    primitive: Any
    params: dict[str, Any]
    invars: tuple[Any, ...]
    outvars: tuple[Any, ...]


class Signature:
    """An operation without its variables: what its compiled kernel depends on besides shapes and dtypes."""

    def __init__(self, operation: Operation):
        self.primitive, self.params = operation.primitive, operation.params
        self.equal = len(operation.invars) == 2 and operation.invars[0] is operation.invars[1]
        self._key = (self.primitive, hashable(self.params), self.equal)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and self._key == other._key


class Step:
    """One operation, or equal operations on numbers side by side.

    Attributes:
        operations: The operations.
        extreme: The maximum or minimum whose operand the operation compares with it, or None.
    """

    def __init__(self, operations: tuple[Operation, ...], producers: dict[Slot, Operation]):
        """Prepares a step, given the operation that computes each value."""
        first = operations[0]
        self.operations = operations
        self.extreme = extreme_behind(first, producers) if len(operations) == 1 else None
        self._columns = list(zip(*(operation.invars for operation in operations), strict=True))
        self._axes = _axes(first.invars) if len(operations) == 1 else (0,) * len(self._columns)
        self._signature = Signature(first)
        self._is_arithmetic, self._on_numbers = is_arithmetic(first), on_numbers(first)

    def at(self, values: dict[Slot, Any]) -> list:
        """Returns the results at points: of each result variable, one operation after the other."""
        operands = [self._operand(column, values) for column in self._columns]
        if self._is_arithmetic:
            return [_ARITHMETIC[self._signature.primitive.name](*operands)]
        return _mapped(_point_kernel(self._signature, self._axes), operands, self._axes, self._on_numbers)

    def over(self, values: dict[Slot, Any], breaks: list) -> list:
        """Returns the results over intervals: of each result variable, one operation after the other.

        Appends to `breaks` whether the operations may fail to be analytic, one after the other, unless they cannot.
        """
        columns, axes, signature = self._columns, self._axes, self._signature
        if self.extreme is not None:
            columns = [(atom,) for atom in operands_of_extreme(self.operations[0], self.extreme)]
            axes = _axes([atom for (atom,) in columns])
        operands = [self._operand(column, values) for column in columns]
        if self._is_arithmetic:
            found: Any = Breaks()
            results = extended(signature.primitive, signature.params, operands, signature.equal, found)
            # What happens at a constant operand happens in every row.
            breaks += [np.broadcast_to(row, results[0].lo.shape) for row in found]
            return results
        kernel = _interval_kernel(signature, axes, Signature(self.extreme) if self.extreme else None)
        results, found = _mapped(kernel, operands, axes, self._on_numbers)
        if found is not None:
            breaks.append(found)
        return results

    def _operand(self, column: tuple[Slot | Constant, ...], values: dict[Slot, Any]) -> Any:
        """Returns one operand of all operations, the rows of one after those of the other."""
        if len(column) == 1:
            return values[column[0]] if isinstance(column[0], Slot) else np.asarray(column[0].val)
        rows = [values[atom] for atom in column if isinstance(atom, Slot)]
        if not rows:
            count = next(len(jax.tree.leaves(values[slots[0]])[0]) for slots in self._columns if slots[0] in values)
            return np.repeat(np.stack([np.asarray(atom.val) for atom in column if isinstance(atom, Constant)]), count)
        if isinstance(rows[0], Interval):
            return Interval(*map(np.concatenate, zip(*rows, strict=True)))
        return np.concatenate(rows)


def is_arithmetic(operation: Operation) -> bool:
    """Returns whether NumPy evaluates an operation: elementary arithmetic on floating numbers of one dtype."""
    atoms = (*operation.invars, *operation.outvars)
    return operation.primitive.name in _ARITHMETIC and all(map(is_number, atoms)) and len(set(map(_dtype, atoms))) == 1


def on_numbers(operation: Operation) -> bool:
    """Returns whether all operands and results of an operation are single numbers or truth values."""
    return all(_shape(atom) == () for atom in (*operation.invars, *operation.outvars))


def is_number(atom: Slot | Constant) -> bool:
    """Returns whether an operand or a result is a single floating number."""
    return _shape(atom) == () and np.issubdtype(_dtype(atom), np.floating)


def key_of(operation: Operation) -> Hashable:
    """Returns what is the same for operations on numbers that can run side by side; None for all others."""
    atoms = (*operation.invars, *operation.outvars)
    if not all(map(is_number, atoms)):
        return None
    return Signature(operation), tuple((isinstance(atom, Slot), _dtype(atom)) for atom in atoms)


def separated(result: Any, count: int) -> list:
    """Returns the results of so many operations, which `result` holds one after the other."""
    leaves, form = jax.tree.flatten(result)
    return list(map(form.unflatten, zip(*(np.asarray(leaf).reshape(count, -1) for leaf in leaves), strict=True)))


def hashable(params: dict[str, Any]) -> Hashable:
    """Returns parameters of an operation as a key; those that cannot be hashed are told apart by identity."""
    key = tuple(sorted(params.items(), key=lambda item: item[0]))
    try:
        hash(key)
    except TypeError:
        return tuple((name, repr(value)) for name, value in key)
    return key


def _shape(atom: Slot | Constant) -> tuple[int, ...]:
    return atom.aval.shape if isinstance(atom, Slot) else np.shape(atom.val)


def _dtype(atom: Slot | Constant) -> Any:
    return atom.aval.dtype if isinstance(atom, Slot) else np.asarray(atom.val).dtype


def _axes(atoms: Sequence[Slot | Constant]) -> tuple:
    """Returns the axis of each operand along which the rows lie, None for a constant."""
    return tuple(0 if isinstance(atom, Slot) else None for atom in atoms)


def _mapped(kernel: Callable, operands: list, axes: tuple, in_parts: bool) -> Any:
    """Returns kernel(*operands) over all rows of the operands; in parts of `LENGTH` rows if so wanted."""
    if not in_parts:
        return kernel(*operands)
    count = next(len(jax.tree.leaves(x)[0]) for x, axis in zip(operands, axes, strict=True) if axis == 0)
    parts = []
    for first in range(0, count, LENGTH):
        part = functools.partial(_part, first=first)
        rows = [jax.tree.map(part, x) if axis == 0 else x for x, axis in zip(operands, axes, strict=True)]
        parts.append(kernel(*rows))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def _part(rows: np.ndarray, first: int) -> np.ndarray:
    """Returns `LENGTH` rows from `first` on; the last row fills up what is missing."""
    part = rows[first : first + LENGTH]
    return part if len(part) == LENGTH else np.pad(part, (0, LENGTH - len(part)), mode="edge")


@functools.lru_cache(maxsize=4096)
def _point_kernel(signature: Signature, axes: tuple) -> Callable:
    primitive, params = signature.primitive, signature.params

    def results(*operands):
        found = primitive.bind(*operands, **primitive.get_bind_params(params))
        return found if primitive.multiple_results else [found]

    return jax.jit(jax.vmap(results, in_axes=axes))


@functools.lru_cache(maxsize=4096)
def _interval_kernel(signature: Signature, axes: tuple, extreme: Signature | None) -> Callable:
    def results(*operands):
        breaks = Breaks()
        if extreme is not None:
            return [equals_extreme(extreme, *operands)], None
        found = extended(signature.primitive, signature.params, list(operands), signature.equal, breaks)
        return found, any_break(breaks) if breaks else None

    return jax.jit(jax.vmap(results, in_axes=axes))
