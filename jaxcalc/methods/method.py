"""The contract between a method and the engine: the engine evaluates, the method decides.

A method never calls the user's function. The `trial` of its state is the point that it wants evaluated next, and `step`
takes exactly one evaluation, made at that point. Line-search trials and rejected steps are therefore part of the
state, so that no lane waits inside a step for another lane's search.

Everything is written for lanes, which are the last axis: with n variables and L lanes a point is an array (n, L), a
value is (L,), a Hessian is (n, n, L).
"""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.box import Box
from jaxcalc.methods.needs import GRADIENT, Evaluation, Need

T = TypeVar("T")


class Iterate(NamedTuple):
    """Where a method stands: the part of its state that the engine reads."""

    trial: Array  # (n, L), the points to evaluate next
    x: Array  # (n, L), points that have been evaluated; they move only to trial points
    value: Array  # (L,), the value at x
    gradient: Array  # (n, L), the gradient at x
    nit: Array  # (L,) int32, iterations so far; -1 before the start has been evaluated
    stalled: Array  # (L,), the method cannot go on from x
    # (L,), by how much the method's own model of f expects f to fall below the value at x: infinite where the model
    # knows no curvature yet or its step was cut short, None for a method without a model. Unlike a gradient, a promise
    # can be compared with falls of f, so that no test of it depends on units.
    promise: Any = None

    @classmethod
    def at_start(cls, x0: Array, has_model: bool = False) -> "Iterate":
        """Returns the iterate whose first trial is the start x0, (n, L), of a method that has a model of f or none."""
        lanes = x0.shape[1]
        value = jnp.full(lanes, jnp.inf, x0.dtype)
        nit, stalled = jnp.full(lanes, -1, jnp.int32), jnp.zeros(lanes, bool)
        return cls(x0, x0, value, jnp.zeros_like(x0), nit, stalled, value if has_model else None)

    def moved(self, accepted: Array, evaluation: Evaluation) -> "Iterate":
        """Returns the iterate with x at the trial point in the lanes where that is accepted, (L,)."""
        return self._replace(
            x=jnp.where(accepted, self.trial, self.x),
            value=jnp.where(accepted, evaluation.value, self.value),
            gradient=jnp.where(accepted, evaluation.gradient, self.gradient),
            nit=self.nit + accepted,
        )


class State(Protocol):
    """A method's state: the iterate, and whatever else the method has to remember."""

    @property
    def iterate(self) -> Iterate:
        """Where the method stands."""
        ...


class Method(abc.ABC):
    """One way of taking a step. Subclasses are frozen dataclasses registered with `register`.

    Fields that are numbers of the algorithm (a learning rate) are traced, so that a new number does not compile again;
    fields that shape the program (a history length) are marked `static_field` and are part of the cache key.
    """

    # What each evaluation has to hold.
    needs: ClassVar[Need] = GRADIENT
    # What an evaluation and the state cost, and which problems the method suits: the words of the site's table.
    takes: ClassVar[str] = "gradients"
    suits: ClassVar[str] = ""
    # Whether the caller sets the length of the steps: the method converges only where it suits the curvature.
    has_fixed_rate: ClassVar[bool] = False
    # Whether the method learns a curvature for each direction; otherwise it is slow where curvatures differ widely.
    learns_curvature: ClassVar[bool] = True
    # Whether the method's promise holds for variables of very different units; otherwise the promise may miss variables
    # along which the gradient is small because their unit is small.
    compares_variables: ClassVar[bool] = True
    # Whether a step is made of factors of small matrices, for which programs are compiled another way.
    factors_matrices: ClassVar[bool] = False

    @abc.abstractmethod
    def init(self, x0: Array, box: Box) -> Any:
        """Returns the state before the first evaluation, whose trial is x0, (n, L), a point of the box."""

    @abc.abstractmethod
    def step(self, state: Any, evaluation: Any, box: Box) -> Any:
        """Takes the evaluation at the state's trial and returns the next state; pure, with no branch on values.

        No trial may lie outside the box.
        """

    def fewest_lanes(self, n: int) -> int:
        """Returns below how many lanes a step's operations on n variables cost their number rather than their size."""
        return 1

    def for_size(self, n: int) -> "Method":
        """Returns the method that takes the steps where there are n variables: this one, unless another suits n."""
        return self

    def staying_in_basin(self) -> "Method":
        """Returns this method with first steps so short that a descent most likely ends in the basin of its start."""
        return self

    def has_negative_curvature(self, state: Any) -> Array | bool:
        """Returns where the method knows of negative curvature at x, (L,), along which it is about to move.

        There x is a saddle or a maximum, so a small gradient is no SUCCESS. Methods without Hessians never know.
        """
        return False

    def most_evaluations(self, n: int) -> int:
        """Returns the most evaluations that an iteration in n variables may reasonably take.

        The cap on evaluations is that many times the cap on iterations: it ends what no other test ends.
        """
        return 50

    def default_maxiter(self, n: int) -> int:
        """Returns the iterations that a problem of n variables gets when the caller does not say; SciPy's 200 n."""
        return 200 * max(n, 1)


def static_field(default: Any) -> Any:
    """Marks an option of a method that shapes its program."""
    return dataclasses.field(default=default, metadata={"static": True})


def register(cls: type[T]) -> type[T]:
    """Makes a frozen dataclass of a `Method` a pytree: its fields are traced, but for those marked static."""
    fields = dataclasses.fields(cast(Any, cls))
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
