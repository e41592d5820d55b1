"""Compiled programs by function object: the same function never compiles twice, and is not kept alive.

The key is the identity of the user's functions, and the values that they take from closures and globals: see
`captures`. A program holds the functions weakly, and is dropped when one of them is collected. What else shapes a
program (dtypes, shapes, static options) is told apart by `jax.jit` underneath.
"""

import contextlib
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax

from jaxcalc.core.arguments import function_name
from jaxcalc.core.captures import Captures, Versions
from jaxcalc.core.platform import only_platform, quick_to_compile, traced_for
from jaxcalc.core.tracing import is_transformed, own_promotion, reverse_mode

PACKAGE = __name__.partition(".")[0]
MANY_COMPILATIONS = 10
# A program of more operations is compiled with all of the compiler's optimisations.
CHEAP_OPERATIONS = 5e6

T = TypeVar("T")

_joined: dict[tuple, Any] = {}
# By a program of few optimisations, which forms of operands it serves.
_cheap_forms: weakref.WeakKeyDictionary[Callable, dict[Hashable, bool]] = weakref.WeakKeyDictionary()
_function_objects: weakref.WeakKeyDictionary[types.CodeType, int] = weakref.WeakKeyDictionary()


class _Version(NamedTuple):
    """What has been compiled of functions while the values were the same that they take from outside."""

    captures: Captures
    programs: dict[tuple, Any]


# Versions by functions, with references to these.
_programs: dict[tuple, tuple[Versions[_Version], list[Callable]]] = {}


def compiled(run: Callable, functions: Sequence[Callable[..., Any]], **options: Any) -> Callable:
    """Returns (static, *operands) -> run(functions, static, *operands), jitted.

    Args:
        run: A module-level function of (functions, static, *operands).
        functions: The user's functions. Two calls with the same objects get the same program, as long as the values
            are the same that these functions take from closures and globals.
        options: Of `jax.jit`.
    """
    captures, programs = _current(functions)
    # Outside of transformations nobody but this process runs the program, under `jax.export` others may.
    platform = None if is_transformed() else only_platform()
    key = (run, repr(options), platform)
    if key not in programs:
        references = _programs[_key(functions)][1]

        # The closure holds no function strongly: the caller does, while a call traces.
        def program(static, *operands):
            with own_promotion() as callers, reverse_mode(), traced_for(platform):
                result = run([callers(reference()) for reference in references], static, *operands)
            captures.leave_out_changed()
            return result

        programs[key] = jax.jit(program, static_argnums=0, **options)
    return programs[key]


def compiled_by_cost(run: Callable, functions: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """Returns what `compiled` returns, whose programs of few operations compile quickly and run slower.

    The operations are counted once for each form of the operands. Only outside of transformations.
    """
    quick, whole = compiled(run, functions, compiler_options=quick_to_compile()), compiled(run, functions)
    cheap = _cheap_forms.setdefault(quick, {})

    def call(static, *operands):
        leaves, structure = jax.tree.flatten(operands)
        form = static, structure, tuple(map(jax.typeof, leaves)), jax.config.jax_enable_x64  # pyright: ignore
        if form not in cheap:
            cheap[form] = is_cheap(quick.lower(static, *operands))
        return (quick if cheap[form] else whole)(static, *operands)

    return call


def is_cheap(program: jax.stages.Lowered) -> bool:
    """Returns whether a program has so few operations that compiling it takes longer than running it."""
    return (program.cost_analysis() or {}).get("flops", 0) <= CHEAP_OPERATIONS


def made_of(function: Callable) -> dict[Any, Any]:
    """Returns where to keep what is made of a function: as long as it lives and takes the same values from outside."""
    return _current([function], counts=False).programs


@contextlib.contextmanager
def traced(function: Callable) -> Iterator[Callable]:
    """Yields the function to be traced outside of a program; what tracing itself changes does not compile anew."""
    captures = _current([function]).captures
    with own_promotion() as callers, reverse_mode():
        yield callers(function)
    captures.leave_out_changed()


def _current(functions: Sequence[Callable], counts: bool = True) -> _Version:
    """Returns the version of these functions that holds for the values of now; counts those that are new."""
    key = _key(functions)
    if key not in _programs:
        programs = _programs  # at the interpreter's end objects may outlive the names of this module
        references = [_reference(fun, lambda _: programs.pop(key, None)) for fun in functions]
        for fun in functions:
            if counts and not any(_identity(fun) in known for known in _programs):
                count_compilation(fun)
        _programs[key] = Versions(), references
    versions, references = _programs[key]

    def make(captures: Captures) -> _Version:
        if versions.count + 1 == MANY_COMPILATIONS:
            _warn_of_other_values(functions)
        return _Version(captures, {})

    return versions.current(functions, make)


def _key(functions: Sequence[Callable]) -> tuple:
    return tuple(map(_identity, functions))


def _identity(fun: Callable) -> Hashable:
    """Returns what is the same for the same function; a bound method is made anew at every access."""
    if isinstance(fun, types.MethodType):
        return id(fun.__self__), id(fun.__func__)
    return id(fun)


def _reference(fun: Any, on_death: Callable) -> Callable[[], Any]:
    """Returns () -> fun, which does not keep fun alive; on_death is called when it is collected."""
    if isinstance(fun, types.MethodType):
        # `weakref.WeakMethod` fails in Python 3.11 where an object and its class are collected together.
        owner, function = (_reference(part, on_death) for part in (fun.__self__, fun.__func__))
        return lambda: types.MethodType(function(), owner())
    try:
        return weakref.ref(fun, on_death)
    except TypeError:  # the few callables that cannot be referenced weakly, such as built-in functions' kin
        return lambda: fun


def count_compilation(fun: Callable) -> None:
    """Warns when one piece of source has made many function objects, each of which compiles."""
    while hasattr(fun, "func"):  # functools.partial
        fun = fun.func
    code = getattr(fun, "__code__", None)
    if code is None:
        return
    _function_objects[code] = _function_objects.get(code, 0) + 1
    if _function_objects[code] == MANY_COMPILATIONS:
        warnings.warn(
            f"{MANY_COMPILATIONS} function objects made at {code.co_filename}:{code.co_firstlineno} have each been "
            "compiled. A new lambda or inner function on every call compiles every time: define the function once and "
            "put the data into args.",
            stacklevel=_frames_inside_the_package() + 1,
        )


def _warn_of_other_values(functions: Sequence[Callable]) -> None:
    """Warns when the same functions have been compiled for many values that they take from outside."""
    names = " and ".join(function_name(fun) for fun in functions)
    warnings.warn(
        f"{names} has been compiled {MANY_COMPILATIONS} times, because a global, a closure's variable or an attribute "
        "that it names has been bound to another value each time. Put what changes into args.",
        stacklevel=_frames_inside_the_package() + 1,
    )


def _frames_inside_the_package() -> int:
    """Returns how many frames lie between the caller of this function and the first frame outside the package."""
    frame, count = sys._getframe(1), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, count = frame.f_back, count + 1
    return count


def joined(kind: Callable[..., T], functions: Sequence[Callable[..., Any]], *options: Hashable) -> T:
    """Returns kind(references, *options), one function made of several: the same object for the same functions.

    It may so be the key of a program. It does not keep the functions alive, and is dropped when one of them is
    collected; meanwhile each of its references, () -> function, returns one of them.

    Args:
        kind: A class whose instances are callable.
        functions: The user's functions.
        options: What else tells one from another.
    """
    key = (kind, options, *map(_identity, functions))
    if key not in _joined:
        known = _joined  # at the interpreter's end objects may outlive the names of this module
        references = [_reference(fun, lambda _: known.pop(key, None)) for fun in functions]
        for fun in functions:
            if not any(_identity(fun) in others[2:] for others in _joined):
                count_compilation(fun)
        _joined[key] = kind(references, *options)
    return _joined[key]
