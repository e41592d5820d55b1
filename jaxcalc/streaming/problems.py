"""Where the problems of a stream come from: arrays that are sliced by problem, or a function that makes rows."""

import dataclasses
import inspect
import mmap
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcalc.core.arguments import as_tuple, is_list_of_numbers, require_arguments, whole_number

PyTree = Any

FORMS = (
    "problems is an array (N, ...) of starts, a tuple (x0, args), a mapping or a table with the entry 'x0', or a "
    "function chunk(start, stop) -> (x0, args)"
)
# A function or a reference whose pickle is longer than this holds data, which the workers are then sent row by row.
MOST_BYTES_OF_A_REFERENCE = 100_000


class Rows(NamedTuple):
    """The problems start .. stop - 1 of a stream, in NumPy arrays.

    Attributes:
        x0: Their starts, a pytree with leaves (stop - start, ...).
        args: What each has of its own, a tuple of pytrees with leaves (stop - start, ...).
        own: The entries of options that each problem has of its own, arrays (stop - start, ...).
    """

    x0: PyTree
    args: tuple[Any, ...]
    own: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """Problems in arrays of any kind that can be sliced by problem.

    Attributes:
        rows: The arrays, leaves of the form (count, ...).
        count: The number of problems, N.
    """

    rows: Rows
    count: int

    def read(self, start: int, stop: int) -> Rows:
        """Returns the rows start .. stop - 1, read into memory."""
        return jax.tree.map(lambda leaf: sliced(leaf, start, stop), self.rows)

    def is_reference(self) -> bool:
        """Returns whether all arrays are files that another process can open, so that no rows have to be sent."""
        return all(_opens_elsewhere(leaf) for leaf in jax.tree.leaves(self.rows))

    def __getstate__(self) -> dict[str, Any]:
        opened = jax.tree.map(lambda leaf: MappedFile.of(leaf) if _is_whole_map(leaf) else leaf, self.rows)
        return {"rows": opened, "count": self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        is_file = lambda leaf: isinstance(leaf, MappedFile)  # noqa: E731
        rows = jax.tree.map(lambda leaf: leaf.open() if is_file(leaf) else leaf, state["rows"], is_leaf=is_file)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "count", state["count"])


@dataclasses.dataclass(frozen=True)
class Maker:
    """Problems that a function makes.

    Attributes:
        chunk: (start, stop) -> (x0, args), the rows of these problems.
        count: The number of problems, N.
        own: The entries of options that each problem has of its own, arrays (count, ...).
    """

    chunk: Callable
    count: int
    own: tuple[Any, ...] = ()

    def read(self, start: int, stop: int) -> Rows:
        """Returns the rows start .. stop - 1 as the function makes them.

        Raises:
            ValueError: If the function returns no pair, or a leaf does not hold stop - start problems.
        """
        made = self.chunk(start, stop)
        if not isinstance(made, tuple) or len(made) != 2:
            given = f"a tuple of length {len(made)}" if isinstance(made, tuple) else f"a {type(made).__name__}"
            raise ValueError(
                f"problems({start}, {stop}) must return the pair (x0, args), args being a tuple of arrays or () for "
                f"none; it returned {given}."
            )
        own = tuple(sliced(leaf, start, stop) for leaf in self.own)
        x0, args = jax.tree.map(np.asarray, (made[0], as_tuple(made[1])))
        rows = Rows(x0, args, own)
        for path, leaf in jax.tree_util.tree_leaves_with_path((rows.x0, rows.args)):
            if leaf.shape[:1] != (stop - start,):
                raise ValueError(
                    f"problems({start}, {stop}) must return {stop - start} problems in every array; the array at "
                    f"{jax.tree_util.keystr(path)} of the pair has shape {leaf.shape}."
                )
        return rows

    def is_reference(self) -> bool:
        """Returns whether another process can import the function, so that no rows have to be sent."""
        try:
            return not self.own and len(pickle.dumps(self.chunk)) <= MOST_BYTES_OF_A_REFERENCE
        except Exception:
            return False


class MappedFile(NamedTuple):
    """What it takes to map a file's array into the memory of another process."""

    path: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    order: str

    @classmethod
    def of(cls, array: np.memmap) -> "MappedFile":
        """Returns the reference to a whole map."""
        order = "C" if array.flags.c_contiguous else "F"
        return cls(str(array.filename), array.dtype, array.offset, array.shape, order)

    def open(self) -> np.memmap:
        """Maps the file for reading."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)  # type: ignore[call-overload]


def as_problems(given: Any, fun: Callable, count: int | None, own: Sequence[Any] = ()) -> Table | Maker:
    """Returns the source of what the caller gave as problems.

    Args:
        given: An array of starts, a tuple (x0, args) or (x0, a, b, ...), a mapping, a group of Zarr or HDF5 or a
            table with the entry "x0", or a function chunk(start, stop).
        fun: The user's function, whose parameters' names tell in which order it takes the entries of a mapping.
        count: The number of problems, which only a function needs.
        own: The entries of options that each problem has of its own.

    Raises:
        TypeError: If the problems have none of these forms.
        ValueError: If arrays differ in the number of problems, or it is not known.
    """
    if callable(given) and not hasattr(given, "shape"):
        if count is None:
            raise ValueError("count, the number of problems, must be given where problems is a function.")
        require_arguments("problems", given, "start", "stop")
        return Maker(given, whole_number("count", count), tuple(own))
    if (names := _names(given)) is not None:
        rows = _of_mapping(given, names, fun)
    elif isinstance(given, tuple) and given and not hasattr(given, "_fields"):
        x0, *others = given
        rows = Rows(x0, as_tuple(others[0]) if len(others) == 1 else tuple(others))
    else:
        rows = Rows(given, ())
    rows = jax.tree.map(_as_array, rows, is_leaf=is_list_of_numbers)._replace(own=tuple(own))
    leaves = jax.tree_util.tree_leaves_with_path((rows.x0, rows.args))
    for path, leaf in leaves:
        if not hasattr(leaf, "__getitem__") or _length(leaf) is None or isinstance(leaf, str | bytes):
            raise TypeError(f"{FORMS}; {_label(path)} is a {type(leaf).__name__}, which cannot be sliced by problem.")
    if not jax.tree.leaves(rows.x0):
        raise TypeError(f"{FORMS}; it holds no starts.")
    total = _length(leaves[0][1]) or 0
    for path, leaf in leaves:
        if _length(leaf) != total:
            raise ValueError(
                f"{_label(path)} holds {_length(leaf)} problems, but {_label(leaves[0][0])} holds {total}. What all "
                "problems have in common goes into shared."
            )
    if count not in (None, total):
        raise ValueError(f"count is {count}, but the arrays of problems hold {total}; leave it out.")
    return Table(rows, total)


def _as_array(leaf: Any) -> Any:
    """Returns a list of numbers, nested or not, as an array, and anything else as it is."""
    if not is_list_of_numbers(leaf):
        return leaf
    try:
        return np.asarray(leaf)
    except ValueError:
        raise ValueError("problems holds a list with rows of different lengths, which is no array.") from None


def is_per_problem(leaf: Any, dimensions: int, count: int) -> bool:
    """Returns whether an option is an array with a leading problem axis: so many dimensions, the first of size N."""
    shape = getattr(leaf, "shape", None)
    return shape is not None and len(shape) == dimensions and dimensions > 0 and shape[0] == count


def sliced(leaf: Any, start: int, stop: int) -> np.ndarray:
    """Returns the rows start .. stop - 1 of an array, a column or a table as a NumPy array of their own."""
    part = (leaf.iloc if hasattr(leaf, "iloc") else leaf)[start:stop]
    array = np.array(part)
    # Columns of lists, as pandas and Arrow have them, are arrays of objects.
    array = np.stack([np.asarray(entry) for entry in array]) if array.dtype == object and len(array) else array
    if array.dtype.kind in "OSU":
        raise TypeError(f"problems hold an array of dtype {array.dtype}, not of numbers.")
    return array


def _length(leaf: Any) -> int | None:
    """Returns how many problems an array holds, None for what is no array; arrays of Zarr have a shape only."""
    shape = getattr(leaf, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(leaf) if hasattr(leaf, "__len__") else None


def _names(given: Any) -> list[str] | None:
    """Returns the names of the arrays in a dict, a group of Zarr or HDF5, or a table with the column x0; else None."""
    if isinstance(given, Mapping) or (hasattr(given, "keys") and not hasattr(given, "shape")):
        return list(map(str, given.keys()))
    # Columns are named by Arrow's `column_names`, and by the `columns` of pandas and polars.
    columns = getattr(given, "column_names", getattr(given, "columns", None))
    names = None if columns is None or callable(columns) else list(map(str, columns))
    return names if names and "x0" in names else None


def _of_mapping(given: Any, names: list[str], fun: Callable) -> Rows:
    """Returns the rows of a mapping: "args" after "x0", or what fun's parameters of the same names take."""
    if "x0" not in names:
        raise TypeError(f"{FORMS}; the mapping has the entries {', '.join(names)}, but no 'x0'.")
    others = [name for name in names if name != "x0"]
    if others == ["args"]:
        return Rows(given["x0"], as_tuple(given["args"]))
    parameters = _parameters(fun)
    if set(others) <= set(parameters):
        others = [name for name in parameters if name in others]
    elif not isinstance(given, dict):
        raise TypeError(
            f"the group or table of problems has {', '.join(others)} beside x0, but fun's parameters after x are "
            f"{', '.join(parameters) or 'none'}: the names must be those of parameters, whose order decides."
        )
    return Rows(given["x0"], tuple(given[name] for name in others))


def _parameters(fun: Callable) -> list[str]:
    """Returns the names of what a function takes after its first argument."""
    try:
        return list(inspect.signature(fun).parameters)[1:]
    except (TypeError, ValueError):
        return []


def _label(path: tuple) -> str:
    """Returns what errors call an array of the pair (x0, args)."""
    return ("x0", "args")[path[0].idx] + jax.tree_util.keystr(path[1:])


def _is_whole_map(leaf: Any) -> bool:
    """Returns whether an array is all of a mapped file; a part of one does not know where in the file it begins."""
    return isinstance(leaf, np.memmap) and isinstance(leaf.base, mmap.mmap) and leaf.filename is not None


def _opens_elsewhere(leaf: Any) -> bool:
    """Returns whether the pickle of an array is a reference to a file: a map, or an array of Zarr in a folder."""
    if isinstance(leaf, np.memmap):
        return _is_whole_map(leaf)
    return type(leaf).__module__.startswith("zarr") and type(getattr(leaf, "store", None)).__name__ == "LocalStore"
