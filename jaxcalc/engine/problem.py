"""What the engine solves: a queue of problems of one function, and the options that shape its program."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Method

PyTree = Any

# The share of the fall so far that a method's model may still promise at a point that counts as solved by default.
PROMISE = 1e-10

# What the derivatives of a problem that did not succeed may be.
UNCONVERGED = ("nan", "implicit")


def default_gtol(dtype: DTypeLike) -> float:
    """Returns gtol in a work dtype: SciPy's 1e-5 in double precision, and 1e-3, which single precision can tell."""
    return 1e-5 if jnp.dtype(dtype).itemsize >= 8 else 1e-3


class Tolerances(NamedTuple):
    """When a problem ends; each a number, one for each problem (N,), or in the lanes (L,). None is not given.

    A gradient has units, so a gtol that the caller has not chosen is not enough for SUCCESS: `promise` is then the
    share of the fall so far that the method's model may still promise. It is None where the caller has given gtol.
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
        gtol = default_gtol(dtype) if self.gtol is None else self.gtol
        iterations = jnp.asarray(maxiter if self.maxiter is None else self.maxiter, jnp.int32)
        most = jnp.iinfo(jnp.int32).max // evaluations - 1
        maxfev = evaluations * (jnp.clip(iterations, -1, most) + 1) if self.maxfev is None else self.maxfev
        promise = PROMISE if self.gtol is None else None
        real = self._replace(gtol=gtol, maxiter=None, maxfev=None, promise=promise)
        real = jax.tree.map(lambda number: jnp.asarray(number, dtype), real)
        return real._replace(maxiter=iterations, maxfev=jnp.asarray(maxfev, jnp.int32))

    def given(self) -> dict[str, Any]:
        """Returns those that are given, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def of_rows(self, row: Array) -> "Tolerances":
        """Returns those of these problems, (L,) or a number for all."""
        return jax.tree.map(lambda leaf: leaf[row] if leaf.ndim else leaf, self)


class Problem(NamedTuple):
    """A queue of N problems of one function.

    Attributes:
        method: How steps are taken.
        x0: The starts, a pytree with leaves (N, ...).
        args: What each problem has of its own, a tuple of pytrees with leaves (N, ...).
        shared: What all problems have in common, a tuple of pytrees without a problem axis.
        box: The bounds, in the form of x0.
        scale: The sizes of the variables, in the form of x0 with leaves (N, ...) or (1, ...); None is 1.
        tolerances: When a problem ends.
    """

    method: Method
    x0: PyTree
    args: tuple = ()
    shared: tuple = ()
    box: Box = Box()
    scale: PyTree = None
    tolerances: Tolerances = Tolerances()

    @property
    def count(self) -> int:
        """The number of problems, N."""
        return len(jax.tree.leaves(self.x0)[0])


class Options(NamedTuple):
    """What shapes a program beside the functions and the arrays; static.

    Attributes:
        family: The class of the problems' family.
        lanes: How many problems are stepped side by side; None for what suits the device.
        history: How many of the last iterates' values a result holds.
        has_aux: Whether fun returns (output, anything).
        unconverged: What the derivatives of a problem that did not succeed are, of `UNCONVERGED`.
        certify: Whether results hold certificates.
    """

    family: type
    lanes: int | None = None
    history: int = 0
    has_aux: bool = False
    unconverged: str = "nan"
    certify: bool = False
