"""What a method needs of an evaluation: how the user's function is differentiated, and what that costs.

A method names one of these objects in `Method.needs`. The engine calls it on every lane; it knows no more of a method's
state than the points that `points` reads from it.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.modes import symmetric_jacobian, symmetric_product

PyTree = Any


class Evaluation(Protocol):
    """What every evaluation holds: the number that is minimised, (L,), and its gradient, (n, L), at the trial points.

    A need whose evaluations hold more has a tuple of its own.
    """

    @property
    def value(self) -> Array:
        """The number that is minimised, (L,)."""
        ...

    @property
    def gradient(self) -> Array:
        """Its gradient, (n, L)."""
        ...


class Need(abc.ABC):
    """How an evaluation is made; each subclass is one kind of derivatives."""

    # Whether an evaluation holds second derivatives, which the result counts as `nhev`.
    second_order: ClassVar[bool] = False

    @abc.abstractmethod
    def evaluate(self, function: Callable[[Array], tuple[Any, PyTree]], *points: Array) -> tuple[Any, PyTree]:
        """Returns the evaluation of one problem and what the user's function returns beside its output.

        Args:
            function: x -> (what the user's function returns, its auxiliary output), for x of shape (n,).
            points: What `points` returns, of this problem.
        """

    @abc.abstractmethod
    def cost(self, n: int) -> int:
        """Returns the work of an evaluation in n variables, in evaluations of the gradient."""

    def points(self, state: Any) -> tuple[Array, ...]:
        """Returns the parts of a method's state that an evaluation takes, (n, L) each: the trial points first."""
        return (state.iterate.trial,)

    def is_second_order_at(self, state: Any) -> Array | bool:
        """Returns in which lanes the evaluation of this state holds second derivatives, (L,) or one for all."""
        return self.second_order


class ValueAndGradient(NamedTuple):
    """An evaluation of first order."""

    value: Array  # (L,)
    gradient: Array  # (n, L)


class WithHessian(NamedTuple):
    """An evaluation that holds the Hessian."""

    value: Array  # (L,)
    gradient: Array  # (n, L)
    hessian: Array  # (n, n, L)


class WithProduct(NamedTuple):
    """An evaluation that holds a Hessian-vector product."""

    value: Array  # (L,)
    gradient: Array  # (n, L)
    product: Array  # (n, L), the Hessian times `state.direction`


class Gradient(Need):
    """The value and the gradient, by reverse mode."""

    def evaluate(self, function: Callable, *points: Array) -> tuple[ValueAndGradient, PyTree]:
        """Returns the value and the gradient at x."""
        (value, aux), gradient = jax.value_and_grad(function, has_aux=True)(*points)
        return ValueAndGradient(value, gradient), aux

    def cost(self, n: int) -> int:
        """Returns 1, the unit."""
        return 1


class Hessian(Need):
    """The Hessian too, by forward mode over the gradient, or by reverse mode where fun refuses forward mode."""

    second_order = True

    def evaluate(self, function: Callable, *points: Array) -> tuple[WithHessian, PyTree]:
        """Returns value, gradient and Hessian at x."""

        def gradient_of(x):
            evaluation, aux = GRADIENT.evaluate(function, x)
            return evaluation.gradient, (evaluation, aux)

        hessian, (evaluation, aux) = symmetric_jacobian(gradient_of, has_aux=True)(*points)
        return WithHessian(evaluation.value, evaluation.gradient, hessian), aux

    def cost(self, n: int) -> int:
        """Returns 1 + n: the gradient, and a Hessian-vector product for every variable."""
        return 1 + n


class HessianProduct(Need):
    """The Hessian times `state.direction` too, by one forward derivative of the gradient."""

    second_order = True

    def evaluate(self, function: Callable, *points: Array) -> tuple[WithProduct, PyTree]:
        """Returns value, gradient and product at x, of the direction p: the points are x and p."""
        x, direction = points

        def gradient_of(x):
            evaluation, aux = GRADIENT.evaluate(function, x)
            return evaluation.gradient, (evaluation, aux)

        _, product, (evaluation, aux) = symmetric_product(gradient_of, x, direction, has_aux=True)
        return WithProduct(evaluation.value, evaluation.gradient, product), aux

    def cost(self, n: int) -> int:
        """Returns 2: the gradient and its derivative along one direction."""
        return 2

    def points(self, state: Any) -> tuple[Array, ...]:
        """Returns the trial points and the directions p."""
        return state.iterate.trial, state.direction

    def is_second_order_at(self, state: Any) -> Array:
        """Returns where a product is asked for: where the direction is not zero."""
        return jnp.any(state.direction != 0, axis=0)


GRADIENT, HESSIAN, HESSIAN_PRODUCT = Gradient(), Hessian(), HessianProduct()
