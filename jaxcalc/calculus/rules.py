"""The power, chain, product and quotient rules as functions of functions.

Each rule computes the textbook formula from the values and slopes of f and g. The composed function, f g for instance,
is never differentiated, so each rule checks `derivative` independently. Farley, "The Calculus of Neural Networks"
(2019), states the four rules in this form.
"""

import numbers
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcalc.calculus.derivatives import taylor
from jaxcalc.core.arguments import as_real, called_as, require_functions
from jaxcalc.core.public import show_names

show_names(__name__)


@called_as("rules.power(n)(x)", 0)
def power(n: float) -> Callable[[ArrayLike], jax.Array]:
    """The derivative of x^n.

    x -> n x^(n - 1), elementwise. For n = 0 the result is 0 everywhere, also at x = 0.

    Args:
        n: The exponent, a real number: an int or a float, negative ones included.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x. Where x^n has no
        derivative, the result is that of IEEE arithmetic: inf at x = 0 for n < 1, nan at negative x for fractional n.

    Raises:
        TypeError: If n is not a real number; when called, if x is complex.

    Example:
        >>> print(power(3)(2.0))
        12.0
    """
    if not isinstance(n, numbers.Real):
        raise TypeError(f"n must be a real number, such as 3 or 0.5, but is {n!r} of type {type(n).__name__}")
    # JAX differentiates x**0 at x = 0 to 0, but x**0.0 to nan; and it computes powers of int exponents by products.
    exponent = int(n) if float(n).is_integer() else float(n)

    def slope(x: ArrayLike) -> jax.Array:
        x = as_real(x)
        return exponent * x ** (exponent - 1) if exponent else jnp.zeros_like(x)

    return slope


@called_as("rules.chain(f, n)")
def chain(f: Callable, n: float) -> Callable[[ArrayLike], jax.Array]:
    """The derivative of f(x)^n.

    x -> n f(x)^(n - 1) f'(x), elementwise. Law: chain(f, 1) == derivative(f).

    Args:
        f: R -> R; it is given scalars.
        n: The exponent, a real number.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x.

    Raises:
        TypeError: If n is not a real number; when called, if x is complex or f does not return a real scalar.

    Example:
        >>> print(chain(lambda x: x**2 + 1, 3)(1.0))  # 3 (x^2 + 1)^2 2x
        24.0
    """
    require_functions([f], "f", several=False)
    outer = power(n)

    def slope(x: ArrayLike) -> jax.Array:
        value, inner = taylor(f, x, 1)
        return outer(value) * inner

    return slope


@called_as("rules.product(f, g)", 2)
def product(f: Callable, g: Callable) -> Callable[[ArrayLike], jax.Array]:
    """The derivative of f(x) g(x).

    x -> f'(x) g(x) + f(x) g'(x), elementwise. Law: product(f, g) == product(g, f).

    Args:
        f: R -> R; it is given scalars.
        g: R -> R; it is given scalars.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x.

    Raises:
        TypeError: When called, if x is complex or f or g does not return a real scalar.

    Example:
        >>> print(product(lambda x: x**2, lambda x: x + 1)(2.0))  # 2x (x + 1) + x^2
        16.0
    """
    require_functions([f], "f", several=False)
    require_functions([g], "g", several=False)

    def slope(x: ArrayLike) -> jax.Array:
        (f_value, f_slope), (g_value, g_slope) = taylor(f, x, 1), taylor(g, x, 1)
        return f_slope * g_value + f_value * g_slope

    return slope


@called_as("rules.quotient(f, g)", 2)
def quotient(f: Callable, g: Callable) -> Callable[[ArrayLike], jax.Array]:
    """The derivative of f(x) / g(x).

    x -> (f'(x) g(x) - f(x) g'(x)) / g(x)^2, elementwise; infinite or nan where g is 0.

    Args:
        f: R -> R; it is given scalars.
        g: R -> R; it is given scalars.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x.

    Raises:
        TypeError: When called, if x is complex or f or g does not return a real scalar.

    Example:
        The sigmoid s(x) = 1 / (1 + exp(-x)) has the derivative s(x) (1 - s(x)).

        >>> print(quotient(lambda x: 1.0, lambda x: 1 + jnp.exp(-x))(0.0))
        0.25
    """
    require_functions([f], "f", several=False)
    require_functions([g], "g", several=False)

    def slope(x: ArrayLike) -> jax.Array:
        (f_value, f_slope), (g_value, g_slope) = taylor(f, x, 1), taylor(g, x, 1)
        return (f_slope * g_value - f_value * g_slope) / g_value**2

    return slope
