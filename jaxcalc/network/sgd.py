"""Stochastic gradient descent, written out by hand as a transformation of Optax, on pytrees of parameters."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.core.arguments import called_as

if TYPE_CHECKING:
    import optax


class SgdState(NamedTuple):
    """The state of `sgd` between two steps."""

    velocity: Any  # a pytree like the parameters, zero at the start; None without momentum
    count: Array | None  # number of steps taken, int32; None unless the learning rate is a schedule


@called_as("sgd(learning_rate)", 0)
def sgd(
    learning_rate: "float | Array | optax.Schedule",
    momentum: float | Array = 0.0,
    nesterov: bool = False,
    weight_decay: float | Array = 0.0,
    *,
    decoupled: bool = False,
) -> "optax.GradientTransformation":
    """Stochastic gradient descent with momentum and weight decay, for any pytree of parameters.

        g <- gradient + weight_decay * x
        v <- momentum * v + g
        x <- x - learning_rate * v                      or, with nesterov, x - learning_rate * (g + momentum * v)

    With decoupled=True the decay does not enter the velocity: g is the gradient, and the last line subtracts
    learning_rate * (v + weight_decay * x). Without momentum, coupled and decoupled decay take the same steps. The steps
    equal those of `optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(...))` to the last bit.

    Args:
        learning_rate: The factor of the step, in units of x^2 / f: a number, a traced value or a schedule, which is a
            function of the number of steps taken.
        momentum: The factor of the velocity from step to step, from 0 to below 1. With the number 0 no velocity is
            stored.
        nesterov: Whether to take Nesterov's step, as in the last line above.
        weight_decay: The factor of the parameters that is added to the gradient. Unless it is the number 0, the update
            needs the parameters.
        decoupled: Whether the decay is added to the step instead of to the gradient.

    Returns:
        An `optax.GradientTransformation` (init, update), for `optax.apply_updates`, `optax.chain`, masks and
        `optax.inject_hyperparams`. Its updates have the dtypes of the gradients, or the wider dtype of a learning rate,
        momentum or decay that is an array.

    Raises:
        TypeError: If the learning rate is neither a number nor a function.
        ValueError: If momentum or weight_decay is a negative number; from the update, if there is a weight decay and
            the parameters are not given.

    Example:
        >>> import jax
        >>> import optax
        >>> import jaxcalc as jc
        >>> optimizer = jc.sgd(0.1, momentum=0.5)
        >>> x, gradient = 2.0, jax.grad(lambda x: x**2)
        >>> state = optimizer.init(x)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(gradient(x), state, x)
        ...     x = optax.apply_updates(x, updates)
        >>> round(float(x), 6)  # 2 - 0.1 * 4 - 0.1 * (0.5 * 4 + 3.2)
        1.08

    Source: H. Robbins and S. Monro, A stochastic approximation method (1951); B. Polyak, Some methods of speeding up
    the convergence of iteration methods (1964); I. Sutskever, J. Martens, G. Dahl and G. Hinton, On the importance of
    initialization and momentum in deep learning (2013), for Nesterov's; I. Loshchilov and F. Hutter, Decoupled weight
    decay regularization (2019).
    """
    from optax import GradientTransformation

    rate: Any = learning_rate
    scheduled = callable(rate)
    if not scheduled and not isinstance(learning_rate, int | float | np.number | np.ndarray | Array):
        raise TypeError(
            f"learning_rate must be a number or a schedule, a function of the step; it is {learning_rate!r}."
        )
    for name, value in (("momentum", momentum), ("weight_decay", weight_decay)):
        if isinstance(value, int | float | np.number) and value < 0:
            raise ValueError(f"{name} must be at least 0; it is {value!r}.")
    has_velocity, has_decay = not _is_zero(momentum), not _is_zero(weight_decay)

    def init(params: Any) -> Any:
        velocity = jax.tree.map(jnp.zeros_like, params) if has_velocity else None
        return SgdState(velocity, jnp.zeros((), jnp.int32) if scheduled else None)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if has_decay and params is None:
            raise ValueError("weight_decay needs the parameters: call update(gradients, state, params).")
        velocity, step = state.velocity, updates
        if has_decay and not decoupled:
            step = _each(lambda g, x: g + weight_decay * x, step, params)
        if has_velocity:
            velocity = _each(lambda g, v: g + momentum * v, step, velocity)
            step = _each(lambda g, v: g + momentum * v, step, velocity) if nesterov else velocity
        if has_decay and decoupled:
            step = _each(lambda v, x: v + weight_decay * x, step, params)
        if scheduled:
            # Schedules return float32; without the conversion, updates of a narrower dtype would become float32.
            step = _each(lambda v: jnp.asarray(-1 * rate(state.count), v.dtype) * v, step)
            return step, SgdState(velocity, _following(state.count))
        return _each(lambda v: -1 * rate * v, step), SgdState(velocity, None)

    return GradientTransformation(init, update)


def _each(fun: Callable, first: Any, *others: Any) -> Any:
    """Applies fun leaf by leaf; where the first tree has None instead of a leaf, the result has None."""

    def apply(leaf, *rest):
        return None if leaf is None else fun(leaf, *rest)

    return jax.tree.map(apply, first, *others, is_leaf=lambda leaf: leaf is None)


def _is_zero(number: Any) -> bool:
    """Returns whether this is the Python number 0; an array may be traced, so its value cannot shape the program."""
    return isinstance(number, int | float) and number == 0


def _following(count: Any) -> Array:
    """Returns count + 1, or the largest int32 if count is that already, instead of a negative number."""
    return jnp.where(count < jnp.iinfo(jnp.int32).max, count + 1, count)
