"""Gradient descent as the textbook has it, with the whole path."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, overload

import jax
from jax import Array

from jaxcalc.core.arguments import (
    arrays,
    as_floating,
    as_real,
    as_tuple,
    called_as,
    real_arrays,
    require_functions,
    whole_number,
)
from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.scalar import require_value
from jaxcalc.engine.result import X
from jaxcalc.methods.scalar.gradient_descent import descend
from jaxcalc.optimize.arguments import K, Numbers


class Path(NamedTuple, Generic[X]):
    """The points of a descent, its start first: x, fun and jac, each with a leading axis steps + 1."""

    x: X
    fun: Array
    jac: X


@overload
def gradient_descent(
    fun: Callable, x0: Numbers, learning_rate: float | Array, steps: int, args: Any = ()
) -> Path[Array]: ...
@overload
def gradient_descent(
    fun: Callable, x0: Mapping[K, Numbers], learning_rate: float | Array, steps: int, args: Any = ()
) -> Path[dict[K, Array]]: ...
@overload
def gradient_descent(fun: Callable, x0: X, learning_rate: float | Array, steps: int, args: Any = ()) -> Path[X]: ...
@called_as(
    "gradient_descent(fun, x0, learning_rate, steps)",
    **dict.fromkeys(("lr", "rate", "step_size", "stepsize", "eta"), "write learning_rate="),
    **dict.fromkeys(("maxiter", "num_steps", "n_steps", "niter", "iterations", "epochs"), "write steps="),
    **dict.fromkeys(("tol", "gtol", "bounds"), 'nothing is tested here: use minimize(..., method="gradient_descent")'),
)
def gradient_descent(fun: Callable, x0: Any, learning_rate: float | Array, steps: int, args: Any = ()) -> Path[Any]:
    """Steps against the gradient a given number of times and returns the whole path.

    x_{k+1} = x_k - learning_rate * grad f(x_k),    f(x) = fun(x, *args)

    Nothing is tested and nothing is stopped: a learning rate that is too large is seen to diverge. To descend until
    the gradient is small, or many functions at once, use `minimize_many(..., method="gradient_descent")`.

    Args:
        fun: A JAX-traceable function fun(x, *args) that returns one real number, an array of shape ().
        x0: The start, an array or a pytree of real numbers; integers are promoted to the default float.
        learning_rate: The factor of the gradient, in units of x^2 / f. Traced: new numbers do not compile again.
        steps: How many steps to take, at least 0.
        args: What fun takes after x, a tuple; anything else is wrapped into one.

    Returns:
        x (steps + 1, ...) in the form and dtypes of x0, fun (steps + 1,) and jac, the gradients, in the form of x.

    Raises:
        TypeError: If fun does not return one real number, or x0 is not made of real numbers.
        ValueError: If steps is negative or not a whole number.

    Example:
        >>> import jaxcalc as jc
        >>> quartic = lambda x: x * (x - 1) * (x - 2) * (x - 3)
        >>> path = jc.gradient_descent(quartic, 1.25, learning_rate=0.05, steps=1)
        >>> float(path.jac[0]), round(float(path.x[1]), 6)
        (1.1875, 1.190625)

    Source: A. Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées (1847).
    """
    require_functions([fun], several=False)
    x0, rate = as_floating(real_arrays("x0", x0)), as_real(learning_rate, "learning_rate")
    return compiled(_path, [fun])(whole_number("steps", steps), x0, rate, arrays("args", as_tuple(args)))


def _path(functions: list[Callable], steps: int, x0: Any, learning_rate: Array, args: tuple) -> Path:
    (fun,) = functions
    require_value(jax.eval_shape(fun, x0, *args))
    evaluate = jax.value_and_grad(fun)

    def step(x, _):
        value, gradient = evaluate(x, *args)
        return descend(x, gradient, learning_rate), Path(x, value, gradient)

    return jax.lax.scan(step, x0, length=steps + 1)[1]
