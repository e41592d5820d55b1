"""The result of a solve: what lanes latch, what rows hold and what the caller gets is one class."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxcalc.engine.status import is_success, words_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OptimizeResult:
    """How one problem ended, or N problems: then every field has a leading axis N, in the order of the input.

    A frozen pytree, so that it passes through `jit` and `vmap`. `success`, `message` and `check` are made from it.
    Inside the engine the same class holds lanes, with the lanes as the last axis of every field.

    Attributes:
        x: The minimiser, in the form and dtypes of the start; the best answer there is where the problem failed.
        fun: The value at x, in the work dtype.
        jac: The gradient at x, in the form of x.
        status: An integer code of `Status`. SUCCESS promises that the largest component of `jac` is at most gtol,
            with bounds that of x - P(x - jac), P being the projection on the box.
        nit: Iterations: steps that were accepted.
        nfev: Evaluations of value and gradient together, rejected trials included.
        aux: What fun returned beside its value at x, with has_aux=True; otherwise None.
        history: The values of the last k iterates with history=k, the latest last and NaN before the start; otherwise
            None.
        nhev: How many of the evaluations held the Hessian, or a product with it, of methods that need one; otherwise
            None.
        certificate: What kind of point x is, a `Certificate`, with certify=True of `minimize_many`; otherwise None.
    """

    x: Any
    fun: Array
    jac: Any
    status: Array
    nit: Array
    nfev: Array
    aux: Any = None
    history: Any = None
    nhev: Any = None
    certificate: Any = None

    @property
    def success(self) -> Array:
        """True where the status is a success: SUCCESS, CONVERGED_VALUE or CONVERGED_STEP."""
        return is_success(self.status)

    @property
    def message(self) -> str:
        """What the status says in words; of a batch, a line for each status that occurs. Made on the host."""
        return words_of(self.status)

    def check(self) -> "OptimizeResult":
        """Returns the result itself if every problem succeeded.

        Raises:
            RuntimeError: Naming how many problems failed, why, and the first of them.
        """
        failed = np.flatnonzero(~np.atleast_1d(np.asarray(self.success)))
        if failed.size:
            first = "" if np.ndim(self.status) == 0 else f" (the first is problem {failed[0]})"
            total = np.size(self.status)
            raise RuntimeError(f"{failed.size} of {total} problems did not succeed{first}:\n{self.message}")
        return self

    def __repr__(self) -> str:
        fields = ("message", "fun", "x", "jac", "nit", "nfev", "nhev", "aux")
        values = ((name, getattr(self, name)) for name in fields)
        return "\n".join(f"{name:>7}: {value}" for name, value in values if value is not None)
