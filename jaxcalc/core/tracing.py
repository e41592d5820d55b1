"""The caller's function while JAX traces it: its modes of promotion are the caller's, and its errors say the mend.

`jax_numpy_rank_promotion="raise"` and `jax_numpy_dtype_promotion="strict"` find broadcasts and dtypes that a caller did
not mean. The library's own formulas broadcast and promote on purpose: a number of each lane, (L,), multiplies vectors
(n, L). Therefore the library traces its own code in JAX's default modes, and the caller's functions in the caller's.
"""

import concurrent.futures
import contextlib
import functools
import linecache
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import jaxlib
import numpy as np
import scipy
from jax.extend.core import get_opaque_trace_state

from jaxcalc.core.arguments import as_floating, function_name, returning_arrays

# What JAX raises where a function asks a traced array for its values, and what the function is to do instead. The first
# class that fits counts: the third is a subclass of the last.
MENDS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        jax.errors.TracerArrayConversionError,
        "NumPy and SciPy know no arrays that JAX traces",
        "Use jax.numpy and jax.scipy: jnp.exp for np.exp, jax.scipy.special.gammaln for scipy.special.gammaln.",
    ),
    (
        jax.errors.NonConcreteBooleanIndexError,
        "the shape of x[mask] depends on values, which are not known while JAX traces",
        "Use jnp.where(mask, x, 0).",
    ),
    (
        jax.errors.TracerBoolConversionError,
        "if, while, and, or, not, min and max ask for a truth value, which is not known while JAX traces",
        "Use jnp.where(condition, a, b), jax.lax.cond, jnp.minimum or jnp.maximum.",
    ),
    (
        jax.errors.TracerIntegerConversionError,
        "range and the indices of lists ask for an integer, which is not known while JAX traces",
        "Use jax.lax.fori_loop with fixed counts, or an index of a jax.numpy array.",
    ),
    (
        jax.errors.ConcretizationTypeError,
        "float(), int(), .item() and the functions of math ask for a number, which is not known while JAX traces",
        "Use jax.numpy: jnp.exp for math.exp, and x itself for float(x).",
    ),
)
# Where a function's further arguments come from, with its name.
FROM_ARGS = (
    "What {name} takes after its first argument goes into args=(...), and what many problems have in common into "
    "shared=(...); where there is no args, fix it: lambda x: {name}(x, ...)."
)
NO_AXES = "array is 0-dimensional"
IN_PLACE = "in-place item assignment"
NO_REVERSE_MODE = "Reverse-mode differentiation does not work for lax.while_loop"

# Frames of code in these folders are not the caller's.
_PACKAGES = (jax, jaxlib, np, scipy)
_NOT_CALLERS = (
    *(str(Path(str(package.__file__)).parent) for package in _PACKAGES),
    str(Path(__file__).parent.parent),
    *(str(Path(sysconfig.get_path("stdlib")) / name) for name in ("contextlib.py", "functools.py")),
)


def is_transformed() -> bool:
    """Returns whether the caller's code runs under a transformation of JAX, such as `jax.jit` or `jax.vmap`."""
    return get_opaque_trace_state() != _state_outside()


def is_staged() -> bool:
    """Returns whether operations become part of a program that is being traced, as under `jax.jit`.

    Under `jax.grad` and `jax.vmap` alone they are computed at once.
    """
    return is_transformed() and isinstance(jax.lax.neg(np.float32(1)), jax.core.Tracer)


@functools.cache
def _state_outside() -> Any:
    """Returns the state outside of all transformations; a new thread is under none."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(get_opaque_trace_state).result()


@contextlib.contextmanager
def own_promotion() -> Iterator[Callable[[Callable], Callable]]:
    """Traces what is in the context in JAX's default modes of promotion; also a decorator of functions.

    Yields:
        A function that takes a function of the caller's and returns it as it was outside: called in the modes that
        held there, with errors that say the mend, as `explained` has them.
    """
    rank, dtype = (getattr(jax.config, name) for name in ("jax_numpy_rank_promotion", "jax_numpy_dtype_promotion"))

    def callers(fun: Callable) -> Callable:
        if isinstance(fun, Traced):
            return fun
        fun = explained(fun)

        @_named_like(fun)
        def call(*args, **kwargs):
            with jax.numpy_rank_promotion(rank), jax.numpy_dtype_promotion(dtype):
                return fun(*args, **kwargs)

        return call

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield callers


class Traced:
    """A function as its trace: calling it runs no code of the user's, in no modes but those of its trace."""

    def __init__(self, function: Callable, x0: Any, args: tuple[Any, ...], shared: tuple[Any, ...]):
        """Traces the function at the shapes of one problem."""
        trace = jax.make_jaxpr(returning_arrays("fun", function), return_shape=True)
        self._closed, output = trace(jax.eval_shape(as_floating, x0), *args, *shared)
        self._output = jax.tree.structure(output)

    def __call__(self, *inputs: Any) -> Any:
        """Evaluates the trace."""
        return evaluated(self._closed.jaxpr, self._closed.consts, jax.tree.leaves(inputs), self._output)


def evaluated(jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Any], output: Any) -> Any:
    """Returns what a jaxpr computes of flat inputs, as arrays in the structure `output`."""
    # An output that is a constant is no array yet.
    return jax.tree.unflatten(output, map(jnp.asarray, jax.core.eval_jaxpr(jaxpr, constants, *inputs)))


def explained(fun: Callable, further: str = FROM_ARGS) -> Callable:
    """Returns the caller's function with errors that say what JAX cannot trace, in which line, and what to write.

    The errors are those of NumPy, SciPy and math on traced arrays, of branches and loops on traced values, and of
    assignments to entries of an array. They are raised as TypeErrors, each with JAX's own error as its cause.

    Args:
        fun: The caller's function.
        further: Where its arguments after the first come from, with `{name}` for its name.
    """

    @_named_like(fun)
    def call(*args, **kwargs):
        try:
            return fun(*args, **kwargs)
        except (TypeError, IndexError, ValueError) as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                raise _called_wrongly(fun, len(args), further, error) from None
            said = _cannot_be_traced(error) or _has_no_arithmetic(error, args)
            if said is None:
                shapes = ", ".join(str(np.shape(leaf)) for leaf in jax.tree.leaves((args, kwargs)))
                called = f"{function_name(fun)} was called with arrays of the shapes {shapes}"
                error.add_note(f"{called}: it is written for one problem, or one point.")
                raise
            reason, mend = said
            raise TypeError(f"{_place(function_name(fun), error)}: {reason}. {mend}") from error

    return call


def _called_wrongly(fun: Callable, given: int, further: str, error: Exception) -> Exception:
    """Returns the error of a call that did not reach the function's body, and how its arguments are given."""
    if not isinstance(error, TypeError) or "argument" not in str(error):
        return error
    name = function_name(fun)
    return TypeError(
        f"{error}. It was called with {given} argument{'s' * (given != 1)}. {further.format(name=name)}"
        + (
            f" Where {name} takes x alone, leave args out: tolerances and other options are given by name."
            if further is FROM_ARGS and "were given" in str(error)
            else ""
        )
    )


@contextlib.contextmanager
def reverse_mode() -> Iterator[None]:
    """Explains JAX's refusal to differentiate a loop without a fixed count in reverse mode; also a decorator."""
    try:
        yield
    except ValueError as error:
        if NO_REVERSE_MODE not in str(error):
            raise
        raise ValueError(
            f"{_place('the function', error.__cause__ or error)}: gradients are made in reverse mode, which cannot go "
            "back through jax.lax.while_loop, nor through jax.lax.fori_loop with counts that are not fixed. Use "
            "jax.lax.scan, or jax.lax.fori_loop between two numbers of Python; a loop that ends early goes on without "
            "a change: jnp.where(done, old, new)."
        ) from error


def _named_like(fun: Callable) -> Callable[[Callable], Callable]:
    """Returns a decorator that gives a function the name and the signature of fun."""

    def named(call: Callable) -> Callable:
        call = functools.update_wrapper(call, fun, updated=())
        call.__name__ = function_name(fun)
        return call

    return named


def _cannot_be_traced(error: Exception) -> tuple[str, str] | None:
    """Returns what JAX cannot trace and what to write instead; None if the error is of another kind."""
    for kind, reason, mend in MENDS:
        if isinstance(error, kind):
            return reason, mend
    if isinstance(error, TypeError) and IN_PLACE in str(error):
        return "arrays of JAX do not change", "Use x = x.at[i].set(value) for x[i] = value, and .add for +=."
    if isinstance(error, IndexError) and NO_AXES in str(error):
        return (
            "a single number has no entries, such as x[0]",
            "Functions of one variable, as in integrate, derivative, critical_points and solvers whose x0 is a number, "
            "are given single numbers: write x itself. Of several variables there are integrate_box, gradient and "
            "all_critical_points. To minimize_many an x0 of shape (n,) is n problems of one number each: one start of "
            "n numbers is x0[None].",
        )
    # An entry of NumPy's array takes no traced number.
    if error.__cause__ is not None and isinstance(error.__cause__, Exception):
        return _cannot_be_traced(error.__cause__)
    return None


def _has_no_arithmetic(error: Exception, args: tuple[Any, ...]) -> tuple[str, str] | None:
    """Returns what is wrong and the mend where an argument is a container, or None, and is used as an array."""
    forms = [type(arg).__name__ if isinstance(arg, tuple | list | dict | None) else "" for arg in args]
    said = str(error)
    wrong = [f and any(words in said for words in (f"{f!r} and", f"and {f!r}", f"<class {f!r}>")) for f in forms]
    if not any(wrong):
        return None
    number = wrong.index(True) + 1
    form = forms[number - 1]
    if number > 1 or form == "NoneType":
        given = "None" if form == "NoneType" else f"a {form}"
        return f"argument {number} is {given}, which is no array", "Give an array, or numbers one by one."
    parts = "x['name']" if form == "dict" else "a, b = x"
    return (
        f"x is a {form}, since the start, or the point, is one, and a {form} is no array",
        f"Give it as one array, jnp.array([...]), or take the entries out of x: {parts}.",
    )


def _place(name: str, error: BaseException) -> str:
    """Returns the function's name with the caller's innermost line that the error came through."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    callers = [(file, line) for file, line in frames if not file.startswith(_NOT_CALLERS)]
    if not callers:
        return name
    file, line = callers[-1]
    source = linecache.getline(file, line).strip()
    return f"{name}, at {file}:{line}" + (f" ({source})" if source else "")
