"""What a function takes from outside of its arguments, and whether it is still the same.

A traced program holds the values that its function had in closures and globals. Where such a name has been bound to
another value since, the program gives the answer of the old one. Therefore the values that a function names are part of
what tells its programs apart: numbers and strings by value, arrays and all other objects by identity.
"""

import cmath
import collections
import dis
import functools
import itertools
import os
import sysconfig
import types
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np

T = TypeVar("T")

# Programs of one function that differ in numbers or strings alone, and are kept for when the old numbers come back.
MOST_VERSIONS = 4
# Longer tuples, and other containers of more entries, are told apart by identity and not looked into.
MOST_ENTRIES = 32
# Functions and objects beyond so many are not looked into.
MOST_PLACES = 256

_NUMBERS = (bool, int, float, complex, str, bytes, type(None))
_ARRAYS = (jax.Array, np.ndarray, np.generic)
_NOT_FOLLOWED = (types.ModuleType, type, types.BuiltinFunctionType, types.CodeType, *_NUMBERS, *_ARRAYS)
_MISSING = object()
# Functions written in these folders belong to installed packages, the standard library or this package.
_FOLDERS = (
    Path(__file__).parent.parent,
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    *(Path(str(package.__file__)).parent.parent for package in (jax, np)),
)
_INSTALLED = ("<frozen ", *{f"{folder}{os.sep}" for folder in _FOLDERS})


class Change(Enum):
    """What has happened to the values that a function names."""

    NONE = auto()
    NUMBERS = auto()
    OBJECTS = auto()


class Captures:
    """The values that functions take from outside of their arguments, as they are when this object is made.

    These are, for a plain function: its closure's cells, the globals that its code names, its code and its defaults;
    and the same of the functions among these values. Of an object that is called, or whose method is called, or that is
    among these values: the attributes that the code names. Of a `functools.partial`: what it holds. Functions of
    installed packages are followed no further than their closures. Arrays and functions are held weakly.

    A change of a NumPy array, a list or a dict in place cannot be seen. Nor can JAX's own memory of traces be mended: a
    function under `jax.jit` or `jax.checkpoint`, or a body given to `jax.lax.scan` or `cond` that is not defined anew
    in each call, keeps what it has named when it was traced first.
    """

    def __init__(self, functions: Iterable[Any]):
        self._places: list[tuple[Callable[[], Any], Callable[[Any], Sequence[Any]]]] = []
        self._visited: set[Hashable] = set()
        self._dead: list[weakref.ref] = []
        self._ignored: set[int] = set()
        # The nearest first, so that a large graph of objects is followed as far as it matters most.
        self._pending: collections.deque[tuple[Any, tuple[str, ...]]] = collections.deque()
        self._pending.extend((function, ()) for function in functions)
        while self._pending and len(self._places) < MOST_PLACES:
            self._follow(*self._pending.popleft())
        del self._visited, self._pending
        values = self._values()
        self._ids = [*map(id, values)]
        self._known = [self._hold(value) for value in values]

    def change(self) -> Change:
        """Says whether the values are still the same."""
        if self._dead:
            return Change.OBJECTS
        values = self._values()
        ids = [*map(id, values)]
        return Change.NONE if ids == self._ids else self._compared(values, ids)

    def leave_out_changed(self) -> None:
        """Leaves out from now on what is not as it was; called when a trace ends, whose own doing that is.

        A function that counts its calls, or keeps a value for the next one, must not be traced anew for that.
        """
        values = self._values()
        if len(values) != len(self._ids):  # the next call finds that out
            return
        for k, value in enumerate(values):
            if id(value) != self._ids[k]:
                self._ids[k] = id(value)
                self._dead = [reference for reference in self._dead if reference is not self._known[k]]
                self._known[k] = None
                self._ignored.add(k)

    def _values(self) -> list[Any]:
        values = []
        for reference, read in self._places:
            if (owner := reference()) is not None:
                values += read(owner)
        return values

    def _compared(self, values: list[Any], ids: list[int]) -> Change:
        """Compares values one by one, and takes the identities of those that are equal."""
        if len(ids) != len(self._ids):
            return Change.OBJECTS
        change = Change.NONE
        for k, (value, known) in enumerate(zip(values, self._known, strict=True)):
            if ids[k] == self._ids[k] or k in self._ignored:
                continue
            if not _is_number(known):
                return Change.OBJECTS
            if not _are_equal(known, value):
                change = Change.NUMBERS
        if change is Change.NONE:
            self._ids = ids
            self._known = [now if _is_number(known) else known for known, now in zip(self._known, values, strict=True)]
        return change

    def _hold(self, value: Any) -> Any:
        """Returns the value if it is a number, else a reference that keeps its identity from being used again."""
        if _is_number(value):
            return value
        try:
            return weakref.ref(value, self._dead.append)
        except TypeError:  # lists, dicts, tuples
            return _Strong(value)

    def _follow(self, value: Any, attributes: tuple[str, ...]) -> None:
        """Adds the places where a value takes others from.

        Args:
            value: A value that a function names, or a function.
            attributes: The names of attributes that this function uses.
        """
        if isinstance(value, types.FunctionType):
            self._follow_function(value)
        elif isinstance(value, types.MethodType):
            self._follow_method(value.__func__, value.__self__)
        elif isinstance(value, functools.partial):
            names = _partial_attributes(value)
            self._add(value, "partial", _read_partial, names)
        elif isinstance(value, weakref.ref):
            self._follow(value(), attributes)
        elif isinstance(value, tuple | list | dict):
            if len(value) <= MOST_ENTRIES:
                entries = value.values() if isinstance(value, dict) else value
                self._pending.extend((entry, attributes) for entry in entries)
        elif not isinstance(value, _NOT_FOLLOWED):
            called = _attribute_of_type(type(value), "__call__")
            self._follow_method(called, value)
            self._follow_attributes(value, attributes)

    def _follow_function(self, function: types.FunctionType) -> None:
        names = _names(function.__code__)
        self._add(function, "function", names.read, names.attributes)

    def _follow_method(self, function: Any, owner: Any) -> None:
        """Follows a function that is called with an object as its first argument."""
        if isinstance(function, types.FunctionType):
            self._follow_function(function)
            self._follow_attributes(owner, _names(function.__code__).of_self)

    def _follow_attributes(self, owner: Any, attributes: tuple[str, ...]) -> None:
        if isinstance(owner, _NOT_FOLLOWED):
            return
        present = tuple(name for name in attributes if _attribute(owner, name) is not _MISSING)
        if not present or not self._add(owner, present, functools.partial(_read_attributes, present), attributes):
            return
        for name in present:
            # A method or a property takes attributes of the same object.
            function = _function_behind(_attribute(owner, name))
            if isinstance(function, types.FunctionType) and not _is_installed(function.__code__):
                self._pending.append((types.MethodType(function, owner), ()))

    def _add(self, owner: Any, kind: Hashable, read: Callable[[Any], Sequence[Any]], attributes: tuple) -> bool:
        """Adds a place, whose values are to be followed; says whether the place is new."""
        if (id(owner), kind) in self._visited:
            return False
        self._visited.add((id(owner), kind))
        self._places.append((self._reference(owner), read))
        self._pending.extend((value, attributes) for value in read(owner))
        return True

    def _reference(self, owner: Any) -> Callable[[], Any]:
        try:
            return weakref.ref(owner, self._dead.append)
        except TypeError:
            return _Strong(owner)


class Versions(Generic[T]):
    """What has been made of functions: one thing for each state of the values that the functions take from outside.

    Things that were made for other arrays or objects are dropped, since they may keep these alive. Of those made for
    other numbers or strings the last MOST_VERSIONS are kept.
    """

    def __init__(self):
        self._versions: list[tuple[Captures, T]] = []
        self.count: int = 0

    def current(self, functions: Sequence[Any], make: Callable[[Captures], T]) -> T:
        """Returns what `make` has made for the values of now; makes it where there is none.

        Args:
            functions: The functions, always the same ones.
            make: Takes the values of now.
        """
        versions = self._versions
        if versions and versions[0][0].change() is Change.NONE:
            return versions[0][1]
        kept = [(version, version[0].change()) for version in versions]
        same = [version for version, change in kept if change is Change.NONE]
        others = [version for version, change in kept if change is Change.NUMBERS]
        if not same:
            captures = Captures(functions)
            same = [(captures, make(captures))]
            self.count += 1
        self._versions = [*same, *others][:MOST_VERSIONS]
        return same[0][1]


def renewed(function: Callable) -> Callable[[], Callable]:
    """Returns () -> a function object that does as the function, and that is another one after its values change.

    JAX remembers traces by function object, as `jax.make_jaxpr` does, whatever the function names.
    """
    versions: Versions[Callable] = Versions()

    def make(captures: Captures) -> Callable:
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            captures.leave_out_changed()
            return result

        return call

    return lambda: versions.current([function], make)


class _Strong:
    """A reference to what cannot be referenced weakly."""

    def __init__(self, value: Any):
        self._value = value

    def __call__(self) -> Any:
        return self._value


class _Names(NamedTuple):
    """What a function's code takes from outside.

    Attributes:
        read: Takes the function; returns the values.
        attributes: The names of the attributes that the code uses of any object; empty for installed packages.
        of_self: The names of the attributes that the code uses of its first argument.
    """

    read: Callable[[types.FunctionType], Sequence[Any]]
    attributes: tuple[str, ...]
    of_self: tuple[str, ...]


_known_names: weakref.WeakKeyDictionary[types.CodeType, _Names] = weakref.WeakKeyDictionary()


def _names(code: types.CodeType) -> _Names:
    try:
        return _known_names[code]
    except KeyError:
        pass
    named, used = set(), set()
    for instruction in _instructions(code):
        if instruction.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")):
            named.add(instruction.argval)
        elif "ATTR" in instruction.opname or "METHOD" in instruction.opname:
            name = instruction.argval
            # `LOAD_SUPER_ATTR` may have more than the name.
            used.update([name] if isinstance(name, str) else [part for part in name if isinstance(part, str)])
    attributes = tuple(sorted(used))
    if _is_installed(code):
        names = _Names(_read_closure, (), attributes)
    else:
        names = _Names(functools.partial(_read_function, tuple(sorted(named))), attributes, attributes)
    _known_names[code] = names
    return names


def _is_installed(code: types.CodeType) -> bool:
    return code.co_filename.startswith(_INSTALLED)


def _instructions(code: types.CodeType) -> Iterator[dis.Instruction]:
    """Yields the instructions that name something, of the code and of the functions and classes defined in it."""
    yield from (instruction for instruction in dis.get_instructions(code) if instruction.opcode in _NAMING)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)


_NAMING = frozenset(dis.hasname) | {dis.opmap[name] for name in ("LOAD_METHOD", "LOAD_SUPER_ATTR") if name in dis.opmap}


def _read_function(names: tuple[str, ...], function: types.FunctionType) -> list[Any]:
    values = [function.__code__, *map(function.__globals__.get, names, itertools.repeat(_MISSING))]
    if function.__closure__:
        values += _read_closure(function)
    if function.__defaults__:
        values += function.__defaults__
    if function.__kwdefaults__:
        values += function.__kwdefaults__.values()
    return values


def _read_closure(function: types.FunctionType) -> list[Any]:
    return [_contents(cell) for cell in function.__closure__ or ()]


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name of an enclosing function that is not bound yet
        return _MISSING


def _read_partial(partial: functools.partial) -> list[Any]:
    return [partial.func, *partial.args, *partial.keywords.values()]


def _partial_attributes(partial: functools.partial) -> tuple[str, ...]:
    """Returns the names of attributes that the function inside uses, of what the partial holds."""
    function = getattr(partial.func, "__func__", partial.func)
    return _names(function.__code__).attributes if isinstance(function, types.FunctionType) else ()


def _read_attributes(names: tuple[str, ...], owner: Any) -> list[Any]:
    return [_attribute(owner, name) for name in names]


def _attribute(owner: Any, name: str) -> Any:
    """Returns an attribute without calling anything of the owner's class, which properties and the like would."""
    try:
        own = owner.__dict__
    except AttributeError:
        own = {}
    if name in own:
        return own[name]
    value = _attribute_of_type(type(owner), name)
    if isinstance(value, types.MemberDescriptorType):  # of `__slots__`
        return getattr(owner, name, _MISSING)
    return value


def _attribute_of_type(kind: type, name: str) -> Any:
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return _MISSING


def _function_behind(attribute: Any) -> Any:
    """Returns the function of a method or of a property."""
    if isinstance(attribute, property):
        return attribute.fget
    if isinstance(attribute, functools.cached_property):
        return attribute.func
    return getattr(attribute, "__func__", attribute) if isinstance(attribute, staticmethod | classmethod) else attribute


def _is_number(value: Any) -> bool:
    """Says whether a value is compared by value: a number, a string, or a short tuple of them."""
    if type(value) is tuple:
        return len(value) <= MOST_ENTRIES and all(map(_is_number, value))
    return type(value) in _NUMBERS or isinstance(value, np.generic)


def _are_equal(known: Any, value: Any) -> bool:
    """Says whether a program for a known number serves another value: 1, 1.0 and True make different programs."""
    if type(known) is not type(value):
        return False
    if isinstance(known, tuple):
        return len(known) == len(value) and all(map(_are_equal, known, value))
    if isinstance(known, np.generic):
        return known.dtype == value.dtype and known.tobytes() == value.tobytes()
    if isinstance(known, float | complex):
        return repr(known) == repr(value) if known == 0 or cmath.isnan(known) else known == value
    return known == value
