"""The contract between a method and the engine: the engine evaluates, the method decides.

A method never calls the user's function. Its state names the point that it wants evaluated next (`trial`), and `step`
takes exactly one evaluation, made at that point. Line-search trials and rejected steps are therefore part of the
state, so that no lane waits inside a step for another lane's search.

Everything is written for lanes, which are the last axis: with n variables and L lanes a point is an array (n, L), a
value is (L,), a Hessian is (n, n, L).
"""

import abc
import dataclasses
import enum
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
from jax import Array


class Status(enum.IntEnum):
    """How a problem ended.

    SUCCESS is a promise: the largest component of the gradient g, as evaluated at the returned x, is at most gtol; with
    bounds that of the projected gradient x - P(x - g), P being the projection on the box. A start outside the box is
    first moved onto it, to the nearest point; INVALID is a start where fun or its gradient is not finite, a box whose
    lower bound is above its upper, and a scale that is not positive.
    """

    SUCCESS = 0
    STALLED = 1
    MAX_ITERATIONS = 2
    NON_FINITE = 3
    UNBOUNDED = 4
    INVALID = 5
    CONVERGED_VALUE = 6
    CONVERGED_STEP = 7


class Evaluation(NamedTuple):
    """What the engine found at the trial points."""

    value: Array  # (L,)
    gradient: Array  # (n, L)
    hessian: Array | None = None  # (n, n, L), for methods that need it
    product: Array | None = None  # (n, L), the Hessian times the state's direction, for methods that need it


class State(Protocol):
    """What the engine reads of a method's state; a method adds what else it has to remember.

    Attributes:
        trial: The points to evaluate next, (n, L).
        x: The iterates, (n, L): points that have been evaluated, which move only to the trial points.
        value: The value at x, (L,).
        gradient: The gradient at x, (n, L).
        nit: Iterations so far, (L,) int32; -1 before the start has been evaluated.
        stalled: Whether the method cannot go on from x, (L,).
    """

    trial: Array
    x: Array
    value: Array
    gradient: Array
    nit: Array
    stalled: Array


class Method(abc.ABC):
    """One way of taking a step. Subclasses are frozen dataclasses registered with `register`.

    Fields that are numbers of the algorithm (a learning rate) are traced, so that a new number does not compile again;
    fields that shape the program (a history length) are marked `static_field` and are part of the cache key.
    """

    # What an evaluation has to hold: "gradient", beside it the "hessian", or its "product" with `state.direction`.
    needs: ClassVar[str] = "gradient"

    @abc.abstractmethod
    def init(self, x0: Array, lower: Array | None, upper: Array | None) -> Any:
        """Returns the state before the first evaluation, whose `trial` is x0 (n, L), a point of the box."""

    @abc.abstractmethod
    def step(self, state: Any, evaluation: Evaluation, lower: Array | None, upper: Array | None) -> Any:
        """Takes the evaluation at `state.trial` and returns the next state; pure, with no branch on values.

        No trial may lie outside the box: lower and upper are (n, L), infinite where there is no bound, or both None.
        """

    def for_size(self, n: int) -> "Method":
        """Returns the method that takes the steps where there are n variables: this one, unless another suits n."""
        return self

    def leaving(self, state: Any) -> Array | bool:
        """Returns where the method knows of negative curvature at x, (L,), along which it is about to leave.

        There a small gradient is no SUCCESS yet: x is a saddle or a maximum. Methods without Hessians never know.
        """
        return False

    def default_maxiter(self, n: int) -> int:
        """Returns the iterations that a problem of n variables gets when the caller does not say; SciPy's 200 n."""
        return 200 * max(n, 1)


def static_field(default: Any) -> Any:
    """Marks an option of a method that shapes its program."""
    return dataclasses.field(default=default, metadata={"static": True})


def register(cls: type) -> type:
    """Makes a frozen dataclass of a `Method` a pytree: its fields are traced, but for those marked static."""
    fields = dataclasses.fields(cls)
    static = [field.name for field in fields if field.metadata.get("static")]
    traced = [field.name for field in fields if not field.metadata.get("static")]

    def flatten(method):
        # The class is part of what is compared: `jax.tree_util.register_dataclass` leaves it out (JAX 0.10.2), so that
        # two methods of equal options would pass for the same and share a compiled program.
        options = tuple(getattr(method, name) for name in static)
        return [getattr(method, name) for name in traced], (cls, options)

    def unflatten(kind, numbers):
        return cls(**dict(zip(static, kind[1], strict=True)), **dict(zip(traced, numbers, strict=True)))

    jax.tree_util.register_pytree_node(cls, flatten, unflatten)
    return cls
