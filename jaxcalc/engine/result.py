"""The result of a solve: what lanes latch, what rows hold and what the caller gets is one class."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, SupportsIndex, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.core.arguments import require_known
from jaxcalc.engine.status import Status, is_success, words_of

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # The form of x: an array, a dict of arrays, any pytree. `OptimizeResult` alone is that of an array.
    X = TypeVar("X", default=Array)
else:
    from typing import TypeVar

    X = TypeVar("X")

# The default of fields whose types say what they hold once that is computed, or asked for: who asks for `history` need
# not tell the type checker that it is there.
NOT_YET: Any = None

ONE_PROBLEM = (
    "this is the result of one problem, which has no length; minimize_many returns batches. Its fields have names: "
    "result.x, result.fun."
)
# Where what other libraries' results hold is found.
ELSEWHERE = {
    **dict.fromkeys(("hess_inv", "cov", "covariance"), "standard_errors(result, fun, args) holds a covariance"),
    **dict.fromkeys(("njev", "fev"), "nfev counts evaluations of value and gradient together"),
    **dict.fromkeys(("hess", "hessian"), "hessian(fun)(result.x) computes it"),
    **dict.fromkeys(("value", "final_loss", "best_fun"), "the value at x is fun"),
    **dict.fromkeys(("params", "solution", "xopt", "best_x"), "the answer is x"),
    **dict.fromkeys(("grad", "gradient"), "the gradient at x is jac"),
    **dict.fromkeys(("iterations", "num_iters", "niter"), "iterations are nit"),
    **dict.fromkeys(("state", "stats", "result"), "status, nit and nfev say how it ended"),
}

# The cause, in most programs, of a derivative that is not finite where its value is.
POISONED = (
    "A finite value whose derivative is nan comes from jnp.where around a formula that has no derivative there, such "
    "as where(x > 0, sqrt(x), 0) at 0: let a where of its own keep the formula's argument inside the domain, "
    "where(x > 0, sqrt(where(x > 0, x, 1)), 0)."
)

# The cause, in most programs, of a problem that stalls in single precision.
SINGLE = (
    "In single precision fun's own rounding may hide what is left to gain, as that of an ODE solver does: "
    'jax.config.update("jax_enable_x64", True), before the first array is made, gives double precision.'
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OptimizeResult(Generic[X]):
    """How one problem ended, or N problems: then every field has a leading axis N, in the order of the input.

    A frozen pytree, so that it passes through `jit` and `vmap`. `success`, `message` and `check` are made from it.
    `result["x"]` is `result.x`; of a batch, `result[i]` is the result of problem i and `len(result)` is N.
    Inside the engine the same class holds lanes, with the lanes as the last axis of every field.

    Attributes:
        x: The minimiser, in the form and dtypes of the start; the best answer there is where the problem failed.
        fun: The value at x, in the work dtype.
        jac: The gradient at x, in the form of x.
        status: An integer code of `Status`. SUCCESS promises that the largest component of `jac` is at most gtol,
            with bounds that of x - P(x - jac), P being the projection on the box. Where gtol was not given it also
            says that the method expects no fall of fun that would move x noticeably.
        nit: Iterations: steps that were accepted.
        nfev: Evaluations of value and gradient together, rejected trials included.
        aux: What fun returned beside its value at x, with has_aux=True; otherwise None.
        history: The values of the last k iterates with history=k, the latest last and NaN before the start; otherwise
            None.
        nhev: How many of the evaluations held the Hessian, or a product with it, of methods that need one; otherwise
            None.
        certificate: What kind of point x is, a `Certificate`, with certify=True of `minimize_many`; otherwise None.
        agreed: How many of a problem's starts ended where the best one did, with starts=K; otherwise None.
    """

    x: X
    fun: Array
    jac: X
    status: Array
    nit: Array
    nfev: Array
    aux: Any = None
    history: Array = NOT_YET
    nhev: Array = NOT_YET
    certificate: Any = None
    agreed: Array = NOT_YET

    @property
    def success(self) -> Array:
        """True where the status is a success: SUCCESS or one of those that begin with CONVERGED.

        Under `jax.jit` it is not known yet: write jnp.where(result.success, a, b) for a if, or `where_success`.
        """
        return is_success(self.status)

    @property
    def message(self) -> str:
        """What the status says in words; of a batch, a line for each status that occurs. Made on the host.

        A SUCCESS at nit 0 is said, since it may mean that the start was the answer, or that gtol is too large for the
        units of the problem. Where the value is finite and its derivative is not, a further line says what the cause
        may be.
        """
        require_known("message", self.status)
        words = words_of(self.status)
        at_start = int(np.sum((np.asarray(self.status) == Status.SUCCESS) & (np.asarray(self.nit) == 0)))
        if at_start and np.ndim(self.status) == 0:
            words = f"{words}; x is the start, nit 0"
        elif at_start:
            words = f"{words}\n{at_start} of these SUCCESS: x is the start, nit 0"
        if np.any(np.asarray(self.status) == Status.STALLED) and jax.tree.leaves(self.x)[0].dtype == np.float32:
            words = f"{words}\n{SINGLE}"
        return f"{words}\n{POISONED}" if self._derivatives_fail() else words

    def check(self) -> Self:
        """Returns the result itself if every problem succeeded.

        Raises:
            RuntimeError: Naming how many problems failed, why, and the first of them.
        """
        require_known("check()", self.status)
        failed = np.flatnonzero(~np.atleast_1d(np.asarray(self.success)))
        if failed.size:
            first = "" if np.ndim(self.status) == 0 else f" (the first is problem {failed[0]})"
            total = np.size(self.status)
            raise RuntimeError(f"{failed.size} of {total} problems did not succeed{first}:\n{self.message}")
        return self

    def where_success(self, fill: Any) -> Self:
        """Returns the result with x, fun, jac and aux replaced by `fill` where a problem did not succeed.

        Works under `jit` and `vmap`; a loss made of it leaves failed problems out of its gradient. Integers in aux are
        left as they are.
        """
        return self._filled(fill, ("x", "fun", "jac", "aux"))

    def _filled(self, fill: Any, names: Sequence[str]) -> Self:
        """Returns the result with the numbers of these fields replaced where a problem did not succeed."""

        def replaced(leaf: Array) -> Array:
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                return leaf
            good = jnp.reshape(self.success, (*self.status.shape, *(1,) * (leaf.ndim - self.status.ndim)))
            return jnp.where(good, leaf, fill)

        fields = {name: jax.tree.map(replaced, getattr(self, name)) for name in names}
        return dataclasses.replace(self, **fields)

    def to_pandas(self) -> Any:
        """Returns a batch as a pandas DataFrame: a row for each problem, a column for each component of x.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas.") from error
        count = len(self)
        columns = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.x):
            rows = np.asarray(leaf).reshape(count, -1)
            for k in range(rows.shape[1]):
                index = f"[{k}]" if np.ndim(leaf) > 1 else ""
                columns[f"x{jax.tree_util.keystr(path)}{index}"] = rows[:, k]
        columns |= {"fun": np.asarray(self.fun), "success": np.asarray(self.success)}
        columns["status"] = [Status(code).name for code in np.asarray(self.status).tolist()]
        return pandas.DataFrame(columns | {"nit": np.asarray(self.nit), "nfev": np.asarray(self.nfev)})

    def __len__(self) -> int:
        """The number of problems of a batch."""
        if np.ndim(self.status) == 0:
            raise TypeError(ONE_PROBLEM)
        return self.status.shape[0]

    def __bool__(self) -> bool:
        """True for any result, as for other objects: ask `success` how a problem ended."""
        return True

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: SupportsIndex | slice | np.ndarray | Array | Sequence[int]) -> Self: ...
    def __getitem__(self, key: Any) -> Any:
        """The field of this name, as in SciPy, or the results of these problems of a batch: an index, slice or mask."""
        if isinstance(key, str):
            if key not in self:
                raise KeyError(self._lacks(key))
            return getattr(self, key)
        count = len(self)
        if isinstance(key, int | np.integer) and not -count <= key < count:
            raise IndexError(f"there is no problem {key}; the result holds {count}.")
        rows = np.asarray(key or np.zeros(0, int)) if isinstance(key, list | tuple) else key
        if isinstance(rows, float) or (isinstance(rows, np.ndarray) and rows.dtype.kind not in "biu"):
            raise TypeError(f"problems are taken by an index, a slice, a mask or indices, not by {key!r}.")
        return jax.tree.map(lambda leaf: leaf[rows], self)

    def __contains__(self, name: object) -> bool:
        """Whether the result has a field of this name, as in SciPy."""
        return isinstance(name, str) and name in dir(self) and not name.startswith("_")

    def __iter__(self) -> Iterator[Self]:
        """The results of a batch one by one."""
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        if isinstance(self.status, Tracer):
            return f"{type(self).__name__}(under a transformation, x={self.x}, status={self.status})"
        values = {name: getattr(self, name) for name in self._names() if name != "certificate"}
        lines = {"message": self.message.replace("\n", "\n" + " " * 9)}
        if np.ndim(self.status) == 0:
            lines |= {"success": bool(self.success), "status": Status(int(self.status)).name}
        else:
            lines["success"] = f"{np.count_nonzero(np.asarray(self.success))} of {np.size(self.status)}"
        values.pop("status")
        with np.printoptions(threshold=24, edgeitems=2):
            lines |= {name: _brief(value) for name, value in values.items() if value is not None}
        return "\n".join(f"{name:>7}: {text}" for name, text in lines.items())

    if not TYPE_CHECKING:  # a type checker is to know the fields

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(self._lacks(name), name=name, obj=self)

    def _lacks(self, name: str) -> str:
        """Returns what an error says where there is no field of this name."""
        return lacks("a result", name, self._names(), ELSEWHERE)

    def _names(self) -> list[str]:
        return [field.name for field in dataclasses.fields(self)]

    def _derivatives_fail(self) -> bool:
        """Returns whether some problem may have ended because a derivative is nan where its value is finite.

        Of NON_FINITE only the last finite point is known: there the cause may be either.
        """
        status = np.asarray(self.status)
        if np.any(status == Status.NON_FINITE):
            return True
        if not np.any(status == Status.INVALID):
            return False
        nan = [np.isnan(np.asarray(leaf, float)).reshape(*status.shape, -1) for leaf in jax.tree.leaves(self.jac)]
        without = np.any(np.concatenate(nan, axis=-1), axis=-1)
        return bool(np.any((status == Status.INVALID) & np.isfinite(np.asarray(self.fun, float)) & without))


def lacks(owner: str, name: str, known: Sequence[str], elsewhere: Mapping[str, str]) -> str:
    """Returns what an error says where a result has no field of this name: its fields, and where else that is found."""
    hint = f" Here {elsewhere[name]}." if name in elsewhere else ""
    return f"{owner} has no {name!r}; it has {', '.join(known)}.{hint}"


def _brief(value: Any) -> str:
    """Returns a field as text; the caller sets how long an array may be."""
    leaves = [leaf for _, leaf in jax.tree_util.tree_leaves_with_path(value)]
    if len(leaves) == 1 and value is leaves[0]:
        text = str(np.asarray(value)) if np.ndim(value) else f"{value}"
        return f"{text.replace(chr(10), chr(10) + ' ' * 9)}" + (f"  shape {value.shape}" if np.size(value) > 24 else "")
    return str(jax.tree.map(lambda leaf: np.asarray(leaf) if np.ndim(leaf) else leaf.item(), value))
