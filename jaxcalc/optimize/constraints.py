"""Constraints in SciPy's forms: their checks, and the one function that is made of them and of the objective."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from jaxcalc.core.arguments import arrays, as_tuple
from jaxcalc.core.programs import joined
from jaxcalc.engine.family.constrained import ConstrainedFamily, Layout
from jaxcalc.engine.family.scalar import require_value
from jaxcalc.methods.constrained.lagrangian import Constrained
from jaxcalc.methods.method import Method
from jaxcalc.optimize.arguments import chosen_method

FORMS = (
    '{"type": "eq", "fun": g} for g(x) = 0, {"type": "ineq", "fun": g} for g(x) >= 0, a '
    "scipy.optimize.NonlinearConstraint(g, lb, ub) or LinearConstraint(A, lb, ub), or a list of them"
)
KEYS = ("type", "fun", "args", "jac")


class Sides(NamedTuple):
    """Which sides of a constraint there are, as hashable pairs of a shape and booleans; static."""

    shape: tuple[int, ...]
    equal: tuple[bool, ...]
    lower: tuple[bool, ...]
    upper: tuple[bool, ...]

    def components(self, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Returns the indices, in a flat array of a shape, of equalities, lower and upper sides."""
        masks = (np.reshape(np.asarray(mask, bool), self.shape) for mask in (self.equal, self.lower, self.upper))
        return tuple(np.flatnonzero(np.broadcast_to(mask, shape)) for mask in masks)


class Given(NamedTuple):
    """One constraint: its function, what shapes the program, and its numbers."""

    fun: Callable
    sides: Sides
    has_own_args: bool
    numbers: dict[str, Any]  # lb and ub, and args, the function's own arguments where it has some


def checked(constraints: Any) -> tuple[list[Given], bool]:
    """Returns the constraints, and whether they were given as a list.

    Raises:
        TypeError: If one has none of SciPy's forms.
        ValueError: If its sides contradict each other.
    """
    several = isinstance(constraints, list | tuple)
    each = constraints if several else [constraints]
    return [_given(f"constraints[{k}]" if several else "constraints", one) for k, one in enumerate(each)], several


def asks_for_nothing(constraints: Any) -> bool:
    """Returns whether these are no constraints: None, as an empty list."""
    return constraints is None or (isinstance(constraints, list | tuple | dict) and not constraints)


def require_no_tolerance(ctol: Any) -> None:
    """Raises a ValueError where ctol is given to a problem without constraints, which has no use for it."""
    if ctol is not None:
        raise ValueError(
            f"ctol is {ctol}, but there are no constraints whose violation it could allow: leave ctol out, or give "
            "constraints. Bounds are none: x never leaves them."
        )


def constrained_method(method: Any) -> Method:
    """Returns the method, by default the interior-point method; errors say which methods take constraints."""
    able = ", ".join(map(repr, ConstrainedFamily.methods))
    if isinstance(method, str) and method not in ConstrainedFamily.methods:
        raise ValueError(f"the method {method!r} takes no constraints; {able} does, and is what method is without.")
    if not isinstance(method, str | Method | None):
        raise TypeError(f"with constraints method is {able}, not a {type(method).__name__}.")
    if isinstance(method, Method) and type(method) not in {type(make()) for make in ConstrainedFamily.methods.values()}:
        raise TypeError(f"{type(method).__name__} takes no constraints; {able} does, and is what method is without.")
    return chosen_method(method, ConstrainedFamily)


def with_constraints(fun: Callable, given: Sequence[Given], several: bool, has_aux: bool) -> Callable:
    """Returns (x, own, *args, *shared, common) -> `Constrained`, the same object for the same functions.

    own is a problem's most violation or None, common those of all problems and the constraints' numbers, as
    `common_numbers` returns them.
    """
    shapes = tuple((one.sides, one.has_own_args) for one in given)
    return joined(_WithConstraints, [fun, *(one.fun for one in given)], shapes, several, has_aux)


def common_numbers(given: Sequence[Given], most_violation: Any) -> dict[str, Any]:
    """Returns what the function of `with_constraints` takes as its last argument."""
    return {"each": [one.numbers for one in given], "most_violation": most_violation}


class _WithConstraints:
    """An objective and its constraints as one function; see `with_constraints`."""

    def __init__(self, references: Sequence[Callable], shapes: tuple, several: bool, has_aux: bool):
        self._references, self._shapes, self._several, self._has_aux = references, shapes, several, has_aux
        self.__name__ = getattr(references[0](), "__name__", "fun")

    def __call__(self, x: Any, own: Any, *inputs: Any) -> Any:
        *others, common = inputs
        fun, *functions = (reference() for reference in self._references)
        output = fun(x, *others)
        value, aux = self._value(output)
        names = [f"constraints[{k}]" if self._several else "constraints" for k in range(len(functions))]
        values = [
            _evaluated(name, g, has_own_args, numbers, x, others)
            for name, g, (_, has_own_args), numbers in zip(names, functions, self._shapes, common["each"], strict=True)
        ]
        rows = [
            _rows(name, value, sides, numbers)
            for name, value, (sides, _), numbers in zip(names, values, self._shapes, common["each"], strict=True)
        ]
        equal, lower, upper = (jnp.concatenate([row[k] for row in rows]) for k in range(3))
        most = common["most_violation"] if own is None else own
        most = None if most is None else jnp.asarray(most, jnp.result_type(value, jnp.float32))
        layout = self._layout([np.shape(value) for value in values])
        output = Constrained(value, equal, jnp.concatenate([lower, upper]), most, layout)
        return (output, aux) if self._has_aux else output

    def _value(self, output: Any) -> tuple[Any, Any]:
        if self._has_aux and not (isinstance(output, tuple) and len(output) == 2):
            raise TypeError(f"with has_aux=True fun must return (value, anything); it returned {output}.")
        value, aux = output if self._has_aux else (output, None)
        require_value(jax.eval_shape(lambda: value))
        return jnp.asarray(value), aux

    def _layout(self, shapes: Sequence[tuple[int, ...]]) -> Layout:
        components: list[list[int]] = [[], [], []]
        start = 0
        for shape, (sides, _) in zip(shapes, self._shapes, strict=True):
            for found, own in zip(components, sides.components(shape), strict=True):
                found += [start + int(index) for index in own]
            start += int(np.prod(shape))
        equal, lower, upper = map(tuple, components)
        return Layout(tuple(shapes), equal, lower, upper, self._several)


def linear(x: Any, A: Array) -> Array:
    """Returns A times the variables."""
    flat = ravel_pytree(x)[0]
    if A.shape[1] != flat.size:
        raise ValueError(f"A of a LinearConstraint has shape {A.shape}, but x has {flat.size} components.")
    return A.astype(flat.dtype) @ flat


def _evaluated(name: str, g: Callable, has_own_args: bool, numbers: dict, x: Any, others: Sequence[Any]) -> Array:
    """Returns what a constraint function returns: of x and its own arguments, of what fun takes, or of x alone."""
    value = _of_own(name, g, x, numbers["args"]) if has_own_args else of_inputs(g, x, others, name)
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        array = None
    if array is None or isinstance(value, list | tuple) or not jnp.issubdtype(array.dtype, jnp.number):
        what = f"an array of dtype {value.dtype}" if isinstance(value, jax.Array) else f"a {type(value).__name__}"
        raise TypeError(
            f"{name}: its fun must return a real number or an array of real numbers; it returned {what}. "
            'Write g(x) >= 0 as {"type": "ineq", "fun": g} with g itself, not its sign, and join several numbers with '
            "jnp.stack."
        )
    if not array.size:
        raise ValueError(
            f"{name}: its fun returned an empty array, which constrains nothing: leave the constraint out."
        )
    if jnp.iscomplexobj(array):
        raise TypeError(f"{name}: its fun must return real numbers; it returned complex ones.")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def of_inputs(g: Callable, x: Any, inputs: Sequence[Any], name: str = "constraints") -> Any:
    """Returns g of x and what fun takes besides, or of x alone where g takes nothing else.

    Raises:
        TypeError: If g takes neither.
    """
    if _takes(g, 1 + len(inputs)):
        return g(x, *inputs)
    if _takes(g, 1):
        return g(x)
    besides = f"with x and the {len(inputs)} of args and shared, as the objective is, or " if inputs else ""
    raise TypeError(
        f"{name}: its fun is called {besides}with x alone; it takes {inspect.signature(g)}. Other numbers go into "
        'args, which the objective takes too, or are its own: {"type": "eq", "fun": g, "args": (...)}.'
    )


def _of_own(name: str, g: Callable, x: Any, own: tuple) -> Any:
    """Returns g of x and its own arguments."""
    if not _takes(g, 1 + len(own)):
        raise TypeError(
            f"{name}: its fun is called with x and the {len(own)} of its own args, and not with those of the "
            f"objective; it takes {inspect.signature(g)}."
        )
    return g(x, *own)


def _takes(g: Callable, count: int) -> bool:
    """Returns whether a function can be called with so many arguments; True where that is not known."""
    try:
        inspect.signature(g).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _rows(name: str, value: Array, sides: Sides, numbers: dict) -> list[Array]:
    """Returns the equalities, lower and upper inequalities of a constraint, a vector each."""
    for side in ("lb", "ub"):
        try:
            fits = jnp.broadcast_shapes(numbers[side].shape, value.shape) == value.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"{name}: {side} has shape {numbers[side].shape}, but its fun returns shape {value.shape}, "
                "against which lb and ub must broadcast. What differs between problems goes into args, which fun takes."
            )
    lb, ub = (jnp.broadcast_to(numbers[side].astype(value.dtype), value.shape).reshape(-1) for side in ("lb", "ub"))
    equal, lower, upper = sides.components(value.shape)
    flat = value.reshape(-1)

    def inequality(distance: Callable[[Array], Array], bound: Array) -> Array:
        # A side that turns out to be infinite holds nothing.
        known = jnp.isfinite(bound) | jnp.isnan(bound)
        return jnp.where(known, distance(jnp.where(known, bound, 0)), 1)

    return [
        flat[equal] - lb[equal],
        inequality(lambda bound: flat[lower] - bound, lb[lower]),
        inequality(lambda bound: bound - flat[upper], ub[upper]),
    ]


def _given(name: str, one: Any) -> Given:
    if isinstance(one, Mapping):
        return _of_dict(name, one)
    if isinstance(one, scipy.optimize.NonlinearConstraint):
        _require_exact(name, one)
        return Given(_function(name, one.fun), *_sides(name, one.lb, one.ub))
    if isinstance(one, scipy.optimize.LinearConstraint):
        _require_exact(name, one)
        A: Any = one.A
        sided = _sides(name, one.lb, one.ub)
        matrix = jnp.asarray(A.toarray() if hasattr(A, "toarray") else A)
        return Given(linear, sided[0], True, sided[2] | {"args": (jnp.atleast_2d(matrix),)})
    raise TypeError(f"{name} is a {type(one).__name__}; a constraint is {FORMS}.")


def _of_dict(name: str, one: Mapping) -> Given:
    unknown = [key for key in one if key not in KEYS]
    if unknown or "type" not in one or "fun" not in one:
        raise TypeError(f"{name} is a dict with the keys {list(one)}; a constraint is {FORMS}.")
    if one.get("jac") is not None:
        raise TypeError(f"{name}: jaxcalc differentiates fun by itself: leave jac out.")
    kind = one["type"]
    if not isinstance(kind, str) or kind.lower() not in ("eq", "ineq"):
        raise ValueError(f'{name}: its type must be "eq" or "ineq"; it is {kind!r}.')
    sides, _, numbers = _sides(name, 0.0, 0.0 if kind.lower() == "eq" else np.inf)
    own = one.get("args")
    if own is None or (isinstance(own, tuple) and not own):
        return Given(_function(name, one["fun"]), sides, False, numbers)
    return Given(_function(name, one["fun"]), sides, True, numbers | {"args": arrays(f"{name} args", as_tuple(own))})


def _function(name: str, fun: Any) -> Callable:
    if not callable(fun):
        raise TypeError(f"{name}: its fun must be a function; it is a {type(fun).__name__}.")
    return fun


def _require_exact(name: str, one: Any) -> None:
    if np.any(one.keep_feasible):
        raise TypeError(
            f"{name}: keep_feasible is not promised, since the way to a solution may leave the constraints. What must "
            "hold wherever fun is evaluated goes into bounds."
        )
    for derivative in ("jac", "hess"):
        if callable(getattr(one, derivative, None)):
            raise TypeError(f"{name}: jaxcalc differentiates fun by itself: leave {derivative} out.")


def _sides(name: str, lb: Any, ub: Any) -> tuple[Sides, bool, dict[str, Any]]:
    """Returns which sides there are, False for a function without arguments of its own, and lb and ub as arrays.

    Sides that are traced have no values yet: they are inequalities, or equalities where lb is ub.
    """
    same = lb is ub
    # Inside a trace an array made of a known number counts as traced, too: the number itself tells.
    known = [not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(side)) for side in (lb, ub)]
    low, high = (np.asarray(side, float) if is_known else None for side, is_known in zip((lb, ub), known, strict=True))
    lb, ub = jnp.asarray(lb), jnp.asarray(ub)
    for side, array in (("lb", lb), ("ub", ub)):
        if jnp.iscomplexobj(array) or not jnp.issubdtype(array.dtype, jnp.number):
            raise TypeError(f"{name}: {side} must be real; it has dtype {array.dtype}.")
    lb, ub = (array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float) for array in (lb, ub))
    try:
        shape = np.broadcast_shapes(lb.shape, ub.shape)
    except ValueError:
        raise ValueError(f"{name}: lb has shape {lb.shape} and ub {ub.shape}; they must broadcast.") from None
    low, high = (None if side is None else np.broadcast_to(side, shape) for side in (low, high))
    if low is not None and high is not None:
        if not np.all(low <= high) or np.any(low == np.inf) or np.any(high == -np.inf):
            raise ValueError(f"{name}: lb must be at most ub, not nan and not infinite on the wrong side; "
                             f"lb is {lb} and ub is {ub}.")  # fmt: skip
        equal = low == high
    else:
        equal = np.full(shape, same)
    lower = ~equal & (True if low is None else low > -np.inf)
    upper = ~equal & (True if high is None else high < np.inf)
    masks = (tuple(np.ravel(np.broadcast_to(mask, shape)).tolist()) for mask in (equal, lower, upper))
    return Sides(shape, *masks), False, {"lb": lb, "ub": ub}
