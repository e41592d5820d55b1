"""The checks of arguments that every domain makes: what the caller gave, as arrays, or an error that says the mend.

A domain's own checks stand beside it: `calculus/checks.py`, `optimize/arguments.py` and `network/arguments.py`.
"""

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcalc.core.public import did_you_mean

PyTree = Any
P = ParamSpec("P")
R = TypeVar("R")

# What to do with the leaves of a pytree that are no arrays.
PARTITION = (
    ". Give the arrays alone and let fun close over the rest. An Equinox module is parted by params, static = "
    "eqx.partition(module, eqx.is_inexact_array) and put together inside fun by eqx.combine(params, static)."
)


def as_tuple(args: Any) -> tuple[Any, ...]:
    """Returns args if it is a tuple, otherwise a tuple of it alone, as SciPy does."""
    return args if isinstance(args, tuple) else (args,)


def require_functions(functions: Sequence[Any], name: str = "fun", several: bool = True) -> None:
    """Raises a TypeError if one of these arguments cannot be called; `several` says whether a list would do as well."""
    for fun in functions:
        if not callable(fun):
            wanted = "a function, or a list of functions" if several else "a function"
            raise TypeError(f"{name} must be {wanted}; it is a {type(fun).__name__}.")


def called_as(usage: str, functions: int = 1, /, **instead: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Returns a decorator of a public function: a call that does not fit its signature is told how to write it.

    Args:
        usage: A call with the arguments that have no default, the function first, as "integrate(f, a, b)".
        functions: How many of the first arguments are functions; of 0 nothing is said about their order.
        instead: What to write for keywords that other libraries, or other functions of this one, have.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **keywords: P.kwargs) -> R:
            if functions and args and not callable(args[0]) and any(map(callable, args[functions:])):
                first = next(iter(inspect.signature(function).parameters))
                raise TypeError(f"{first} is a {type(args[0]).__name__}: the function comes first, {usage}.")
            try:
                return function(*args, **keywords)
            except TypeError as error:
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise  # it comes from the function's body
                raise _misfit(function, usage, keywords, instead, error) from None

        return call

    return decorated


def _misfit(
    function: Callable, usage: str, keywords: Iterable[str], instead: Mapping[str, str], error: TypeError
) -> TypeError:
    """Returns the error of a call that does not fit the signature of a public function; `error` is Python's."""
    known = inspect.signature(function).parameters
    kinds = {parameter.kind for parameter in known.values()}
    others = [name for name in keywords if name not in known]
    if others and inspect.Parameter.VAR_KEYWORD not in kinds:
        return unexpected_keyword(function.__name__, others[0], known, instead)
    more = "; keywords may follow" * bool(kinds & {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD})
    said = str(error).replace(function.__qualname__, function.__name__)
    return TypeError(f"{said}. Write {usage}{more}.")


def unexpected_keyword(door: str, name: str, known: Iterable[str], instead: Mapping[str, str]) -> TypeError:
    """Returns the error of a keyword that a public function does not have, with what to write in its place."""
    hint = f": {instead[name]}." if name in instead else f".{did_you_mean(name, known)}"
    return TypeError(f"{door}() got an unexpected keyword argument {name!r}{hint}")


def whole_number(name: str, value: Any, least: int = 0, mend: str = "") -> int:
    """Returns the value as an int if it is a whole number of at least `least`, of Python or of NumPy.

    Args:
        name: What the caller's signature calls it.
        value: What the caller gave.
        least: The least that it may be.
        mend: What the error says to somebody who meant something else by what is no whole number.

    Raises:
        TypeError: If it is no whole number; True and False are none.
        ValueError: If it is too small.
    """
    wanted = f"a whole number of at least {least}" if least else "a non-negative int, such as 1"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {wanted}, but is {value!r} of type {type(value).__name__}.{mend}")
    if value < least:
        raise ValueError(f"{name} must be {wanted}, but is {value}.")
    return int(value)


def require_option(name: str, value: Any, least: float = 0, below: float = math.inf, strictly: bool = False) -> None:
    """Raises unless an option of a method is one real number in its range, where that can be seen.

    Args:
        name: What the caller's signature calls it.
        value: What the caller gave; of a traced number only the shape is known.
        least: The least value of the option.
        below: The option has to be below this number.
        strictly: Whether the least value itself is too small.

    Raises:
        TypeError: If it is not one real number.
        ValueError: If it is not in the range.
    """
    wanted = f"one number {'above' if strictly else 'of at least'} {least}" + f" and below {below}" * (below < math.inf)
    if not isinstance(value, Tracer):
        array = None if isinstance(value, str) else np.asarray(value)
        if array is None or array.shape or array.dtype.kind == "c" or not isinstance(array.item(), numbers.Real):
            raise TypeError(f"{name} must be {wanted}; it is {value!r}.")
        number = float(array)
        if not ((least < number if strictly else least <= number) and number < below):
            raise ValueError(f"{name} must be {wanted}; it is {value!r}.")
    elif value.shape:
        raise TypeError(f"{name} must be {wanted}; it has shape {value.shape}.")


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    """Returns the value if it is one of these words."""
    if value not in known:
        raise ValueError(f"{name} must be {' or '.join(map(repr, known))}; it is {value!r}.")
    return value


def as_real(x: ArrayLike | Sequence[float], name: str = "x") -> Array:
    """The array of a real argument, floats as they are and everything else as the default float.

    Args:
        x: A number or array of numbers, or what `jnp.asarray` makes one of.
        name: What the caller's signature calls it.

    Returns:
        The floating array. Python numbers stay weakly typed: they take the precision of what they meet.

    Raises:
        TypeError: If x is complex, or no array of numbers.

    Example:
        >>> print(as_real([1, 2]))
        [1. 2.]
    """
    try:
        array = jnp.asarray(float(x) if isinstance(x, int) else x)
    except (TypeError, ValueError):
        raise _no_numbers(name, x) from None
    if jnp.iscomplexobj(array):
        raise TypeError(
            f"{name} has dtype {array.dtype}, but must be real; "
            "write the function in terms of the real and the imaginary part, two real arguments"
        )
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def numpy_floats(x: Any, name: str = "x") -> np.ndarray:
    """Returns real numbers as an array of NumPy in double precision; raises a TypeError that names what is none."""
    try:
        return np.asarray("" if x is None else x, float)
    except (TypeError, ValueError):
        raise _no_numbers(name, x) from None


def _no_numbers(name: str, x: Any) -> TypeError:
    given = f"{x!r:.60}" if isinstance(x, str) or x is None else f"a {type(x).__name__}"
    given += f" of dtype {x.dtype}" if isinstance(x, np.ndarray) else ""
    return TypeError(f"{name} must be a real number or an array of real numbers; it is {given}.")


def broadcast_shape(names: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape that these shapes broadcast to; raises a ValueError that names what does not fit together."""
    try:
        return jnp.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{names} must broadcast; they have shapes {' and '.join(map(str, shapes))}.") from None


def arrays(name: str, tree: PyTree) -> PyTree:
    """Returns the leaves of a pytree as arrays; raises a TypeError that names a leaf which is none.

    A list of numbers, nested or not, is an array, as for NumPy.
    """

    def convert(path, leaf):
        try:
            if isinstance(leaf, np.ndarray | np.generic):
                return jax.device_put(leaf.copy())  # `jnp.asarray` compiles a program for every shape
            return leaf if isinstance(leaf, Array) else jnp.asarray(leaf)
        except (TypeError, ValueError) as error:
            label = f"{name}{jax.tree_util.keystr(path)}"
            if isinstance(leaf, np.ndarray | np.generic):
                raise TypeError(
                    f"{label} is an array of dtype {leaf.dtype}, not of numbers; .astype(float) makes numbers of "
                    "what stands for them."
                ) from None
            given = f"{leaf!r:.60}" if isinstance(leaf, str) else f"a {type(leaf).__name__}"
            mend = PARTITION if callable(leaf) else "." if isinstance(leaf, str) else f": {error}"
            raise TypeError(f"{label} is {given}, not a number or an array{mend}") from None

    return jax.tree_util.tree_map_with_path(convert, tree, is_leaf=is_list_of_numbers)


def is_list_of_numbers(value: Any) -> bool:
    """Returns whether this is a list of numbers, nested or not, which stands for an array."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(entry, numbers.Number) or is_list_of_numbers(entry) for entry in value)
    )


def real_arrays(name: str, tree: PyTree) -> PyTree:
    """Returns the leaves of a point as arrays of real numbers, floating or integer; there is at least one leaf."""
    converted = arrays(name, tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(converted):
        if not (jnp.issubdtype(leaf.dtype, jnp.floating) or jnp.issubdtype(leaf.dtype, jnp.integer)):
            label = f"{name}{jax.tree_util.keystr(path)}"
            raise TypeError(f"{label} has dtype {leaf.dtype}; a start is made of real numbers, floating or integer.")
    if not jax.tree.leaves(converted):
        raise ValueError(f"{name} has no variables: {tree!r} holds no arrays.")
    return converted


def require_known(what: str, value: Any) -> None:
    """Raises a TypeError where an array of a result, which `what` is made from, is traced and has no value yet."""
    if isinstance(value, Tracer):
        raise TypeError(
            f"{what} needs the values of the result, which are not known under jax.jit, jax.vmap and jax.grad. Return "
            "the result from the transformed function and ask there; inside, use its codes, such as status or kind."
        )


def as_floating(x: PyTree) -> PyTree:
    """Returns arrays in the dtypes in which a function receives them: their own, of integers the default float."""

    def convert(leaf):
        return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.astype(jnp.result_type(float))

    return jax.tree.map(convert, x)


def at_least_single(*arrays: Any) -> Any:
    """Returns the dtype that holds the numbers of all these arrays, float32 at least, in all modes of promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*arrays, jnp.float32)


def not_one_number(output: PyTree, kind: Any = jnp.floating) -> str | None:
    """Says what a function's output is instead of one number of this kind, an array of shape (); None if it is one."""
    if not jax.tree_util.all_leaves([output]) or not hasattr(output, "dtype"):
        return f"a {type(output).__name__}"
    if output.shape != () or not jnp.issubdtype(output.dtype, kind):
        return f"an array of shape {output.shape} and dtype {output.dtype}"
    return None


def returning_arrays(name: str, fun: Callable[..., R]) -> Callable[..., R]:
    """Returns a function for JAX to trace, with a TypeError unless it returns numbers and arrays.

    Args:
        name: What the caller's signature calls it.
        fun: The caller's function.
    """

    def call(*inputs: Any) -> R:
        output = fun(*inputs)
        for leaf in jax.tree.leaves(output):
            if not isinstance(leaf, Array | np.ndarray | np.generic | numbers.Number):
                given = repr(leaf) if isinstance(leaf, str) else f"a {type(leaf).__name__}"
                inside = "" if leaf is output else f", in a {type(output).__name__}"
                raise TypeError(f"{name} must return numbers and arrays alone; it returned {given}{inside}.")
        return output

    return call


def require_one_number(name: str, output: PyTree, mend: str = "", kind: Any = jnp.floating) -> None:
    """Raises a TypeError unless the traced output of the function `name` is one number of this kind."""
    given = not_one_number(output, kind)
    if given is not None:
        raise TypeError(f"{name} must return one real number, an array of shape (); it returned {given}.{mend}")


def require_arguments(name: str, fun: Callable, *arguments: str) -> None:
    """Raises a TypeError where the signature of fun, as far as it is known, does not take these arguments."""
    try:
        signature = inspect.signature(fun)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        usage = f"{name}({', '.join(arguments)})"
        raise TypeError(f"{name} is called as {usage}, but {function_name(fun)}{signature} is not: {error}.") from None


def function_name(fun: Callable) -> str:
    """Returns what messages call a function: its own name, or that of its class."""
    return getattr(fun, "__name__", type(fun).__name__)
