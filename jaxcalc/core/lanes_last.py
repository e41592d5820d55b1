"""A function of one problem on lanes, with the lanes on the last axis of every array on the way.

`jax.vmap(fun, in_axes=-1, out_axes=-1)` puts the lanes last at both ends only: on the way, whatever meets an array that
all lanes share has the lanes first, so that arrays are transposed in memory, and sums run across lanes. Here the
function is traced once and evaluated operation by operation: arithmetic, broadcasting, slicing and sums keep the lanes
last, and any other operation is mapped by `jax.vmap`. Results are the same up to the order of sums.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Jaxpr, Literal, jaxpr_as_fun

PyTree = Any

# Operations that act number by number.
ELEMENTWISE = frozenset(
    [
        "abs",
        "acos",
        "acosh",
        "add",
        "add_any",
        "and",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "ceil",
        "clamp",
        "convert_element_type",
        "copy",
        "cos",
        "cosh",
        "digamma",
        "div",
        "eq",
        "erf",
        "erf_inv",
        "erfc",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "imag",
        "integer_pow",
        "is_finite",
        "le",
        "lgamma",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "nextafter",
        "not",
        "or",
        "pow",
        "real",
        "reduce_precision",
        "rem",
        "round",
        "rsqrt",
        "select_n",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "stop_gradient",
        "sub",
        "tan",
        "tanh",
        "xor",
    ]
)
# Operations whose operands, unlike those of others, have one shape even where some are numbers.
OF_ONE_SHAPE = frozenset(["select_n", "add_any", "clamp"])
# Operations that call a function, and the parameter that holds it.
CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr",
         "custom_vjp_call": "call_jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr"}  # fmt: skip
# Operations of which `jax.vmap` leaves the lanes where they are.
KEEPING = frozenset(["pad", "split", "stack", "unstack"])
# The terms of a sum that are added in one pass.
MOST_TERMS = 16


def lanes_last(fun: Callable) -> Callable:
    """Returns the function of arrays with lanes on their last axis; its outputs are arrays with lanes last, too."""
    return _on_lanes(fun, _with_lanes_last)


def in_its_layout(fun: Callable, first: int = 0) -> Callable:
    """Returns the function of arrays with lanes last, which keeps them last on the way where all operations can.

    A mixture's likelihood of 80 points then takes half as long as what `jax.vmap` makes of it. Products of matrices of
    which each lane has its own are faster with the lanes first, and `jax.vmap` maps a function that has any. Of such a
    function the matrices themselves should have the lanes first, see `is_mapped`.

    Args:
        fun: A function of one problem.
        first: How many of its arguments have the lanes on the first axis of their arrays instead.
    """

    def evaluated(traced: Any, leaves: list[Array], axes: list[int]) -> list[Array]:
        if is_mapped(traced, [True] * len(leaves)):
            return jax.vmap(jaxpr_as_fun(traced), in_axes=axes, out_axes=-1)(*leaves)
        return _with_lanes_last(traced, leaves, axes)

    return _on_lanes(fun, evaluated, first)


def is_mapped(traced: Any, has_lanes: Sequence[bool]) -> bool:
    """Returns whether a function is mapped by `jax.vmap` because an operation cannot keep the lanes last.

    Where it is, a product with a matrix of each lane takes half to nine tenths of the time if the lanes are the first
    axis of the matrices, since otherwise they are transposed in every evaluation.

    Args:
        traced: The function's trace for one problem, a closed jaxpr.
        has_lanes: Which of its inputs have lanes.
    """
    return _lanes_of(traced.jaxpr, has_lanes) is None


def _on_lanes(
    fun: Callable, evaluated: Callable[[Any, list[Array], list[int]], list[Array]], first: int = 0
) -> Callable:
    """Returns the function of arrays with lanes last, given how its trace for one lane is evaluated on all of them."""

    def on_lanes(*inputs: PyTree) -> PyTree:
        axes = [0] * len(jax.tree.leaves(inputs[:first])) + [-1] * len(jax.tree.leaves(inputs[first:]))
        leaves, structure = jax.tree.flatten(inputs)
        one = [
            jax.eval_shape(lambda leaf, axis=axis: leaf[0] if axis == 0 else leaf[..., 0], leaf)
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
        traced, shape = jax.make_jaxpr(fun, return_shape=True)(*jax.tree.unflatten(structure, one))
        return jax.tree.unflatten(jax.tree.structure(shape), evaluated(traced, leaves, axes))

    return on_lanes


def _with_lanes_last(traced: Any, leaves: list[Array], axes: list[int]) -> list[Array]:
    leaves = [jnp.moveaxis(leaf, axis, -1) if axis == 0 else leaf for leaf, axis in zip(leaves, axes, strict=True)]
    width = leaves[0].shape[-1]
    consts, inputs = (
        [(leaf, has_lanes) for leaf in some] for some, has_lanes in ((traced.consts, False), (leaves, True))
    )
    return [_on_all(value, has, width) for value, has in _evaluated(traced.jaxpr, consts, inputs, width)]


def _keeps_lanes_last(name: str, operands: list[bool]) -> bool:
    """Returns whether an operation can, on operands of which these have lanes."""
    if name == "dot_general":
        return not all(operands)
    return name in ELEMENTWISE or name in KEEPING or name in RULES


def _lanes_of(jaxpr: Any, inputs: Sequence[bool]) -> list[bool] | None:
    """Returns which outputs of a jaxpr have lanes, given which inputs have; None where an operation is to be mapped."""
    lanes: dict = dict.fromkeys(jaxpr.constvars, False) | dict(zip(jaxpr.invars, inputs, strict=True))

    def read(variables: Sequence) -> list[bool]:
        return [not isinstance(variable, Literal) and lanes[variable] for variable in variables]

    for equation in jaxpr.eqns:
        name, operands = equation.primitive.name, read(equation.invars)
        results: list[bool] | None = [any(operands)] * len(equation.outvars)
        if any(operands) and name in CALLS:
            called = equation.params[CALLS[name]]
            results = _lanes_of(getattr(called, "jaxpr", called), operands)
        elif any(operands) and not _keeps_lanes_last(name, operands):
            return None
        if results is None:
            return None
        lanes |= dict(zip(equation.outvars, results, strict=True))
    return read(jaxpr.outvars)


def total(terms: Array, axis: int = 0) -> Array:
    """Returns the sum over an axis that is not the last, added up along the lanes.

    A reduction over an axis in the middle is compiled for CPUs into a loop over the terms of one lane after the other;
    sums of whole rows run along vectors of lanes.
    """
    terms = jnp.moveaxis(terms, axis, 0)
    return _joined_rows(operator.add, terms) if len(terms) else jnp.zeros(terms.shape[1:], terms.dtype)


def largest(terms: Array, axis: int = 0) -> Array:
    """Returns the largest absolute value along an axis that is not the last, as `total` returns the sum.

    What it returns where there is a NaN is not defined.
    """
    return _joined_rows(jnp.maximum, jnp.abs(jnp.moveaxis(terms, axis, 0)))


def _joined_rows(join: Callable, terms: Array) -> Array:
    """Returns the rows, at least one, joined two by two by an operation whose order does not matter."""
    while len(terms) > MOST_TERMS:
        # Blocks of rows are added to each other, which leaves a block; fewer rows than that are left over.
        count = min(MOST_TERMS, -(-len(terms) // MOST_TERMS))
        rows = len(terms) // count
        blocks = functools.reduce(join, (terms[k * rows : (k + 1) * rows] for k in range(count)))
        left = terms[count * rows :]
        terms = jnp.concatenate([join(blocks[: len(left)], left), blocks[len(left) :]]) if len(left) else blocks
    return functools.reduce(join, (terms[k] for k in range(len(terms))))


def _evaluated(jaxpr: Any, consts: Sequence, inputs: Sequence, width: int) -> list[tuple[Array, bool]]:
    """Returns the outputs of a jaxpr; every value is a pair of an array and whether it has lanes."""
    values: dict = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> tuple[Any, bool]:
        return (variable.val, False) if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        operands = [read(variable) for variable in equation.invars]
        results = _applied(equation, operands, width)
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _applied(equation: Any, operands: list[tuple[Any, bool]], width: int) -> list[tuple[Array, bool]]:
    """Returns the outputs of one operation."""
    name, parameters = equation.primitive.name, equation.params
    if not any(has_lanes for _, has_lanes in operands):
        return [(output, False) for output in _bound(equation, [operand for operand, _ in operands])]
    if name in CALLS:
        called = parameters[CALLS[name]]
        consts = [(const, False) for const in getattr(called, "consts", ())]
        return _evaluated(getattr(called, "jaxpr", called), consts, operands, width)
    if name in ELEMENTWISE:
        shape = equation.outvars[0].aval.shape
        wide = [_wide(value, has, shape, width) for value, has in operands]
        if name in OF_ONE_SHAPE:
            wide = [jnp.broadcast_to(operand, (*shape, width)) for operand in wide]
        return [(equation.primitive.bind(*wide, **parameters), True)]
    rule = RULES.get(name)
    output = rule(equation, operands, width) if rule else None
    return _mapped(equation, operands) if output is None else [(output, True)]


def _bound(equation: Any, operands: Sequence[Any]) -> list[Array]:
    """Returns the outputs of an operation on other operands, of the shapes that it was traced with."""
    variables, given = [], []
    for variable, operand in zip(equation.invars, operands, strict=True):
        if not isinstance(variable, Literal) and variable not in variables:
            variables.append(variable)
            given.append(operand)
    alone = Jaxpr((), variables, list(equation.outvars), [equation], equation.effects, _of_nobody())
    return jax.core.eval_jaxpr(alone, (), *given)


@functools.cache
def _of_nobody() -> Any:
    """Returns what messages would say of a function that has no name; JAX asks for it."""
    return jax.make_jaxpr(lambda: ())().jaxpr.debug_info


def _mapped(equation: Any, operands: list[tuple[Any, bool]]) -> list[tuple[Array, bool]]:
    """Returns what `jax.vmap` makes of an operation."""
    axes = [-1 if has_lanes else None for _, has_lanes in operands]
    outputs = jax.vmap(lambda inputs: _bound(equation, inputs), in_axes=(axes,), out_axes=-1)(
        [operand for operand, _ in operands]
    )
    return [(output, True) for output in outputs]


def _on_all(value: Any, has_lanes: bool, width: int) -> Array:
    """Returns a value that all lanes share as an array with lanes."""
    return value if has_lanes else jnp.broadcast_to(jnp.asarray(value)[..., None], (*jnp.shape(value), width))


def _wide(value: Any, has_lanes: bool, shape: tuple, width: int) -> Any:
    """Returns an operand of arithmetic in the shape of the outcome with lanes; a number alone stays one."""
    rank = jnp.ndim(value) - has_lanes
    if not has_lanes and rank == 0:
        return value
    # A scalar may stand beside an array of any shape.
    axes = (*(range(len(shape)) if rank else ()), *((len(shape),) if has_lanes else ()))
    wide = (*shape, width)
    return value if jnp.shape(value) == wide else jax.lax.broadcast_in_dim(value, wide, axes)


def _broadcast(equation: Any, operands: list, width: int) -> Array | None:
    (value, _), *dynamic = operands
    if dynamic:
        return None
    shape, axes = (tuple(map(int, equation.params[key])) for key in ("shape", "broadcast_dimensions"))
    return jax.lax.broadcast_in_dim(value, (*shape, width), (*axes, len(shape)))


def _reshaped(equation: Any, operands: list, width: int) -> Array | None:
    if len(operands) > 1 or equation.params["dimensions"] is not None:
        return None
    return jnp.reshape(operands[0][0], (*equation.outvars[0].aval.shape, width))


def _squeezed(equation: Any, operands: list, width: int) -> Array:
    return jax.lax.squeeze(operands[0][0], equation.params["dimensions"])


def _sliced(equation: Any, operands: list, width: int) -> Array:
    starts, limits, strides = (equation.params[key] for key in ("start_indices", "limit_indices", "strides"))
    return jax.lax.slice(operands[0][0], (*starts, 0), (*limits, width), None if strides is None else (*strides, 1))


def _joined(equation: Any, operands: list, width: int) -> Array:
    return jax.lax.concatenate(
        [_on_all(value, has_lanes, width) for value, has_lanes in operands], equation.params["dimension"]
    )


def _transposed(equation: Any, operands: list, width: int) -> Array:
    permutation = equation.params["permutation"]
    return jnp.transpose(operands[0][0], (*permutation, len(permutation)))


def _summed(equation: Any, operands: list, width: int) -> Array:
    value = operands[0][0]
    for axis in sorted((int(axis) for axis in equation.params["axes"]), reverse=True):
        value = total(value, axis)
    return value


def _along_axes(equation: Any, operands: list, width: int) -> Array:
    return equation.primitive.bind(operands[0][0], **equation.params)


def _product(equation: Any, operands: list, width: int) -> Array | None:
    """Returns a product of an array that all lanes share with vectors on lanes, one product of matrices."""
    (left, left_has), (right, right_has) = operands
    (contracted, batched) = equation.params["dimension_numbers"]
    if (left_has and right_has) or any(batched):
        return None
    contracted = (tuple(contracted[0]), tuple(contracted[1]))
    if left_has:
        if left.ndim - 1 > len(contracted[0]):
            return None
        left, right, contracted = right, left, (contracted[1], contracted[0])
    keys = ("precision", "preferred_element_type")
    return jax.lax.dot_general(left, right, (contracted, ((), ())), **{key: equation.params[key] for key in keys})


RULES: dict[str, Callable[[Any, list[Any], int], Array | None]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshaped,
    "squeeze": _squeezed,
    "slice": _sliced,
    "concatenate": _joined,
    "transpose": _transposed,
    "reduce_sum": _summed,
    "dot_general": _product,
    **dict.fromkeys(
        ("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "cumsum", "rev"), _along_axes
    ),
}
