"""What the engine solves: a queue of problems of one function, and the options that shape its program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from jaxcalc.methods.box import Box

PyTree = Any

# The share of the fall so far that a method's model may still promise at a point that counts as solved by default.
PROMISE = 1e-10

# What the derivatives of a problem that did not succeed may be.
UNCONVERGED = ("nan", "implicit")


def default_gtol(dtype: DTypeLike) -> float:
    """Returns gtol in a work dtype: SciPy's 1e-5 in double precision, and 1e-3, which single precision can tell."""
    return 1e-5 if jnp.dtype(dtype).itemsize >= 8 else 1e-3


class Tolerances(NamedTuple):
    """When a problem ends; each a number, one for each problem (N,), or in the lanes (L,).

    None, and in arrays the most negative number, is what the caller has not given: then a default stands for gtol,
    maxiter and maxfev, and no step is too small for ftol and xtol. So one program serves whatever is given.

    A gradient has units, so a gtol that the caller has not chosen is not enough for SUCCESS: `promise` is then the
    share of the fall so far that the method's model may still promise. It is infinite where the caller has given gtol.
    """

    gtol: Any = None
    maxiter: Any = None
    maxfev: Any = None
    ftol: Any = None
    xtol: Any = None
    promise: Any = None

    def completed(self, dtype: DTypeLike, maxiter: int, evaluations: int) -> "Tolerances":
        """Returns them as arrays, with defaults where the caller has given no gtol, maxiter or maxfev.

        Args:
            dtype: The work dtype.
            maxiter: The default of maxiter.
            evaluations: The most evaluations that an iteration may reasonably take: maxfev is so many times maxiter.
        """
        gtol, ftol, xtol = (_number(number, dtype) for number in (self.gtol, self.ftol, self.xtol))
        promise = jnp.where(_is_given(gtol), jnp.inf, PROMISE).astype(dtype)
        gtol = jnp.where(_is_given(gtol), gtol, jnp.asarray(default_gtol(dtype), dtype))
        iterations, most = (_number(number, jnp.int32) for number in (self.maxiter, self.maxfev))
        iterations = jnp.where(_is_given(iterations), iterations, maxiter)
        largest = jnp.iinfo(jnp.int32).max // evaluations - 1
        usual = evaluations * (jnp.clip(iterations, -1, largest) + 1)
        return Tolerances(gtol, iterations, jnp.where(_is_given(most), most, usual), ftol, xtol, promise)

    def given(self) -> dict[str, Any]:
        """Returns those that are given, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def of_rows(self, row: Array) -> "Tolerances":
        """Returns those of these problems, (L,) each."""
        return jax.tree.map(lambda leaf: leaf[row] if leaf.ndim else jnp.broadcast_to(leaf, row.shape), self)

    def in_one_form(self, rows: int) -> "Tolerances":
        """Returns them as arrays (rows,), whatever the caller gave; rows past its end get the last ones."""
        if all(value is None or np.ndim(value) == 0 for value in self):
            numbers = tuple(None if value is None else float(value) for value in self)
            make = _same_for_all if rows <= KEPT_ROWS else _same_for_all.__wrapped__
            return make(rows, numbers, jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]

        def wide(value: Any, dtype: DTypeLike) -> np.ndarray:
            value = np.atleast_1d(np.asarray(_lowest(dtype) if value is None else value, dtype))
            return np.pad(value, (0, rows - len(value)), "edge")

        return jax.tree.map(wide, self, KINDS, is_leaf=lambda value: value is None)


# Of the tolerances' numbers.
KINDS = Tolerances(float, np.int32, np.int32, float, float, float)
# Tolerances that are the same for all problems of a queue of at most so many rows are kept for the next call.
KEPT_ROWS = 4096


@functools.lru_cache(maxsize=32)
def _same_for_all(rows: int, numbers: tuple[float | None, ...], x64: bool) -> Tolerances:
    """Returns arrays (rows,) of these numbers, None being those that the caller has not given."""

    def wide(number: float | None, dtype: Any) -> np.ndarray:
        return np.full(rows, _lowest(dtype) if number is None else number, dtype)

    return jax.device_put(Tolerances(*map(wide, numbers, KINDS)))


def _number(value: Any, dtype: DTypeLike) -> Array:
    return jnp.asarray(_lowest(dtype) if value is None else value, dtype)


def _lowest(dtype: DTypeLike) -> Any:
    """Returns the number of a dtype that stands for one that the caller has not given."""
    return np.int32(np.iinfo(np.int32).min) if jnp.issubdtype(dtype, jnp.integer) else -np.inf


def _is_given(number: Array) -> Array:
    return number != _lowest(number.dtype)


class Problem(NamedTuple):
    """A queue of N problems of one function.

    Attributes:
        method: How steps are taken; None where no steps are.
        x0: The starts, a pytree with leaves (N, ...).
        args: What each problem has of its own, a tuple of pytrees with leaves (N, ...).
        shared: What all problems have in common, a tuple of pytrees without a problem axis.
        box: The bounds, in the form of x0.
        scale: The sizes of the variables, in the form of x0 with leaves (N, ...) or (1, ...); None is 1.
        tolerances: When a problem ends.
        count: How many rows hold problems, N; those after them are never touched. None: all rows do.
    """

    method: Any
    x0: PyTree
    args: tuple[Any, ...] = ()
    shared: tuple[Any, ...] = ()
    box: Box = Box()
    scale: PyTree = None
    tolerances: Tolerances = Tolerances()
    count: Any = None

    @property
    def rows(self) -> int:
        """The number of rows: N, or more where the queue is padded."""
        return len(jax.tree.leaves(self.x0)[0])

    @property
    def end(self) -> Any:
        """The number of the row after the last problem's, N."""
        return self.rows if self.count is None else self.count


class Options(NamedTuple):
    """What shapes a program beside the functions and the arrays; static.

    Attributes:
        family: The class of the problems' family.
        lanes: How many problems are stepped side by side; None for what suits the device.
        history: How many of the last iterates' values a result holds.
        has_aux: Whether fun returns (output, anything).
        unconverged: What the derivatives of a problem that did not succeed are, of `UNCONVERGED`.
        certify: Whether results hold certificates.
        starts: How many rows of x0 belong to each problem; not under transformations.
    """

    family: type
    lanes: int | None = None
    history: int = 0
    has_aux: bool = False
    unconverged: str = "nan"
    certify: bool = False
    starts: int = 1
