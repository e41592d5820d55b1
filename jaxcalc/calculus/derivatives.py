"""Derivatives of pure functions: slopes, partial derivatives, gradients, Jacobians, Hessians and Taylor polynomials.

Every operator takes a JAX-traceable function and returns a function that works under `jit`, `vmap` and the operators
themselves. Integer arguments are promoted to the default float; floating arguments keep their dtype. The outputs of a
function are checked while JAX traces the function, so a check costs no evaluation and no time in compiled code.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcalc.calculus.checks import matching, promoted, real_valued, scalar_valued
from jaxcalc.calculus.modes import REFUSED, jvp, require_refusal, symmetric_jacobian, symmetric_product
from jaxcalc.core.arguments import (
    arrays,
    as_real,
    broadcast_shape,
    called_as,
    function_name,
    require_functions,
    whole_number,
)
from jaxcalc.core.tracing import reverse_mode

# What operators say to who gives more arguments than the point.
ONE_POINT = "x is one array or pytree; of several arguments there is partial_derivative(f, argnum)(*xs)"
ONE_VARIABLE = "f takes one number; of several arguments there is partial_derivative(f, argnum)(*xs)"


@called_as("secant_slope(f, a, b)")
def secant_slope(f: Callable, a: ArrayLike, b: ArrayLike) -> jax.Array:
    """The slope of the straight line through two points of a curve.

    (f(b) - f(a)) / (b - a), elementwise, with NumPy broadcasting between a and b. Law: the slope tends to the
    derivative of f at a as b tends to a; for a straight line f the slope is the derivative at any a and b. Where a
    equals b, the slope is nan.

    Args:
        f: R -> R; it is given scalars.
        a: The x of the first point, an array of any shape.
        b: The x of the second point; broadcasts against a.

    Returns:
        The slopes, of the broadcast shape.

    Raises:
        TypeError: If a or b is complex, or f does not return a real scalar.

    Example:
        The line y = 2x through (1, 2) and (4, 8) (Farley, 2019).

        >>> print(secant_slope(lambda x: 2 * x, 1, 4))
        2.0
    """
    require_functions([f], "f", several=False)
    curve = scalar_valued(f)
    a, b = as_real(a, "a"), as_real(b, "b")
    broadcast_shape("a and b", a.shape, b.shape)
    return jnp.vectorize(lambda a, b: (curve(b) - curve(a)) / (b - a))(a, b)


@called_as("derivative(f)(x), or derivative(f, order)(x)")
def derivative(f: Callable, order: int = 1) -> Callable[[ArrayLike], Any]:
    """The derivative of a function of one variable, of any order.

    x -> f^(order)(x), elementwise. Laws: derivative(f, 0) is f; derivative is linear in f;
    derivative(derivative(f, m), n) == derivative(f, m + n). The derivative is exact up to rounding: forward mode,
    nested `order` times, takes no finite differences. Forward mode also differentiates loops and conditions. Each
    further order makes tracing and compiling about three times as long.

    Args:
        f: R -> R; it is given scalars, so it need not be written for arrays.
        order: How many times to differentiate, a non-negative whole number.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x.

    Raises:
        TypeError: If order is not a whole number; when called, if x is complex or f does not return a real scalar.
        ValueError: If order is negative.

    Example:
        >>> print(derivative(lambda x: x**2)(3))
        6.0
        >>> print(derivative(lambda x: x**3, order=2)([1.0, 2.0]))
        [ 6. 12.]

    Griewank and Walther, "Evaluating Derivatives" (2008), chapter 3.
    """
    require_functions([f], "f", several=False)
    order = whole_number("order", order, mend=" The point comes later: derivative(f, order)(x).")
    if order == 0:
        return f
    slope = scalar_valued(f)
    for _ in range(order):
        slope = _forward_derivative(slope)

    @called_as(f"derivative(f)(x): {ONE_VARIABLE}", 0)
    def derivative(x: ArrayLike) -> jax.Array:
        return jnp.vectorize(slope)(as_real(x))

    return derivative


@called_as("partial_derivative(f, argnum)(*xs)")
def partial_derivative(f: Callable, argnum: int) -> Callable[..., jax.Array]:
    """The derivative of a function of several variables with respect to one variable, the others held constant.

    (x_0, ..., x_k) -> df/dx_argnum, elementwise, with NumPy broadcasting among the arguments. Law: a term of f that
    does not depend on x_argnum contributes 0.

    Args:
        f: R x ... x R -> R; it is given scalars by position.
        argnum: The position of x_argnum among the arguments, counted from 0.

    Returns:
        A function of the same arguments as f, by position or by name, whose result has their broadcast shape. Only
        x_argnum is promoted to a float; the other arguments keep their dtypes.

    Raises:
        TypeError: If argnum is not a whole number; when called, if x_argnum is complex or f does not return a real
            scalar.
        ValueError: If argnum is negative; when called, if there are no more than argnum arguments.

    Example:
        >>> f = lambda x, y, z: x**2 * y + x * y * z + z**2
        >>> print(partial_derivative(f, 0)(1.0, 2.0, 3.0))  # 2xy + yz
        10.0

    The example is Farley's (2019).
    """
    require_functions([f], "f", several=False)
    argnum = whole_number("argnum", argnum, mend=" The point comes later: partial_derivative(f, argnum)(*xs).")
    values = scalar_valued(f)

    def slope(*xs):
        return _forward_derivative(lambda x: values(*xs[:argnum], x, *xs[argnum + 1 :]))(xs[argnum])

    def partial(*xs: ArrayLike, **named: ArrayLike) -> jax.Array:
        xs = _by_position(f, xs, named) if named else xs
        if argnum >= len(xs):
            raise ValueError(f"argnum is {argnum}, but there are only {len(xs)} arguments; they are counted from 0")
        points = [(as_real if k == argnum else _array)(x, f"argument {k}") for k, x in enumerate(xs)]
        broadcast_shape("the arguments", *map(jnp.shape, points))
        return jnp.vectorize(slope)(*points)

    return partial


def _array(x: ArrayLike, name: str) -> jax.Array:
    array = arrays(name, x)
    return array if isinstance(array, jax.Array) else as_real(x, name)


def _by_position(f: Callable, xs: tuple, named: dict[str, Any]) -> tuple:
    """Returns the arguments of f in the order of its parameters; those between them get their defaults."""
    try:
        bound = inspect.signature(f).bind(*xs, **named)
    except ValueError:  # of a built-in function
        raise TypeError(f"{function_name(f)} does not tell the names of its arguments: give them by position") from None
    except TypeError as error:
        raise TypeError(f"{function_name(f)}: {error}") from None
    if bound.kwargs:
        bound.apply_defaults()
    if bound.kwargs:
        raise TypeError(
            f"{function_name(f)} takes {', '.join(bound.kwargs)} by name alone, but only arguments by position are "
            "differentiated and broadcast: bind the others first, with functools.partial"
        )
    return bound.args


@called_as("gradient(f)(x)")
def gradient(f: Callable) -> Callable[[Any], Any]:
    """The vector of all partial derivatives of a scalar function.

    x -> (df/dx_1, ..., df/dx_n), by reverse mode, which costs a small multiple of one evaluation of f for any n. Law:
    directional_derivative(f)(x, v) == <gradient(f)(x), v>.

    Args:
        f: A real scalar function of an array or a pytree.

    Returns:
        A function of x, whose result has the structure and shapes of x.

    Raises:
        TypeError: When called, if x is complex or f does not return a real scalar.

    Example:
        >>> f = lambda v: v[0] ** 2 * v[1] + v[0] * v[1] * v[2] + v[2] ** 2
        >>> print(gradient(f)(jnp.array([1.0, 2.0, 3.0])))  # <2xy + yz, x^2 + xz, xy + 2z>
        [10.  4.  8.]

    The example is Farley's (2019); the method is Linnainmaa's (1976).
    """
    require_functions([f], "f", several=False)
    slope = jax.grad(scalar_valued(f))

    @called_as(f"gradient(f)(x): {ONE_POINT}", 0)
    def gradient(x: Any) -> Any:
        with reverse_mode():
            return slope(promoted(x))

    return gradient


@called_as("directional_derivative(f)(x, v)")
def directional_derivative(f: Callable) -> Callable[[Any, Any], Any]:
    """The rate of change of a function along a vector.

    (x, v) -> d/dt f(x + t v) at t = 0, by forward mode. v is not normalised: the result is linear in v, and is the
    slope of f per unit length only if v has length 1.

    Args:
        f: A real function of an array or a pytree; its result may be any array or pytree.

    Returns:
        A function of x and v, where v has the structure and shapes of x; its result has those of f(x).

    Raises:
        TypeError: When called, if x, v or f(x) is not real.
        ValueError: When called, if v does not match x.

    Example:
        >>> print(directional_derivative(lambda x: x[0] * x[1])(jnp.array([2.0, 3.0]), jnp.array([1.0, 0.0])))
        3.0

    Griewank and Walther, "Evaluating Derivatives" (2008), chapter 3.
    """
    require_functions([f], "f", several=False)
    values = real_valued(f)

    @called_as(f"directional_derivative(f)(x, v): {ONE_POINT}", 0)
    def directional_derivative(x: Any, v: Any) -> Any:
        x = promoted(x)
        return jvp(values, (x,), (matching(v, x),))[1]

    return directional_derivative


@called_as("jacobian(F)(x)")
def jacobian(F: Callable) -> Callable[[Any], Any]:
    """The matrix of all first partial derivatives of a vector function.

    x -> J with J[i, j] = dF_i/dx_j. F is linearised once at x. The linear map then gives J column by column (forward
    mode) if x has no more entries than F(x), and row by row (reverse mode) otherwise.

    Args:
        F: A real function of an array or a pytree; its result may be any array or pytree.

    Returns:
        A function of x. For arrays its result has shape F(x).shape + x.shape; for pytrees it has the structure of F(x)
        with, at each leaf, the structure of x (the convention of `jax.jacobian`).

    Raises:
        TypeError: When called, if x or F(x) is not real.

    Example:
        >>> print(jacobian(lambda x: jnp.stack([x[0] * x[1], x[0] ** 2]))(jnp.array([2.0, 3.0])))
        [[3. 2.]
         [4. 0.]]

    Griewank and Walther, "Evaluating Derivatives" (2008), chapter 3.
    """
    require_functions([F], "F", several=False)
    values = real_valued(F)

    @called_as(f"jacobian(F)(x): {ONE_POINT}", 0)
    def jacobian(x: Any) -> Any:
        x = promoted(x)
        try:
            y, pushforward = jax.linearize(values, x)
            mode = jax.jacfwd if _size(x) <= _size(y) else jax.jacrev
            return mode(pushforward)(x)
        except REFUSED as error:
            require_refusal(error)
        return jax.jacrev(values)(x)

    return jacobian


@called_as("hessian(f)(x)")
def hessian(f: Callable) -> Callable[[Any], Any]:
    """The matrix of all second partial derivatives of a scalar function.

    x -> H with H[i, j] = d2f/dx_i dx_j, by forward over reverse mode. Law: H is symmetric wherever the second
    derivatives are continuous (Schwarz, 1873).

    Args:
        f: A real scalar function of an array or a pytree.

    Returns:
        A function of x. For an array its result has shape x.shape + x.shape; for a pytree the structure of x is nested
        in itself (the convention of `jax.hessian`).

    Raises:
        TypeError: When called, if x is complex or f does not return a real scalar.

    Example:
        >>> print(hessian(lambda x: x[0] ** 2 * x[1])(jnp.array([2.0, 3.0])))
        [[6. 4.]
         [4. 0.]]
    """
    require_functions([f], "f", several=False)
    curvature = symmetric_jacobian(jax.grad(scalar_valued(f)))

    @called_as(f"hessian(f)(x): {ONE_POINT}", 0)
    def hessian(x: Any) -> Any:
        with reverse_mode():
            return curvature(promoted(x))

    return hessian


@called_as("hessian_vector_product(f)(x, v)")
def hessian_vector_product(f: Callable) -> Callable[[Any, Any], Any]:
    """The Hessian times a vector, without the Hessian.

    (x, v) -> H(x) v = d/dt gradient(f)(x + t v) at t = 0, by forward over reverse mode, which costs a small multiple of
    one evaluation of f in time and in memory.

    Args:
        f: A real scalar function of an array or a pytree.

    Returns:
        A function of x and v, where v has the structure and shapes of x; so has the result.

    Raises:
        TypeError: When called, if x or v is complex or f does not return a real scalar.
        ValueError: When called, if v does not match x.

    Example:
        >>> print(hessian_vector_product(lambda x: x[0] ** 2 * x[1])(jnp.array([2.0, 3.0]), jnp.array([1.0, 1.0])))
        [10.  4.]

    Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    require_functions([f], "f", several=False)
    slope = jax.grad(scalar_valued(f))

    @called_as(f"hessian_vector_product(f)(x, v): {ONE_POINT}", 0)
    def hessian_vector_product(x: Any, v: Any) -> Any:
        with reverse_mode():
            x = promoted(x)
            return symmetric_product(slope, x, matching(v, x))[1]

    return hessian_vector_product


@called_as("taylor(f, x0, order)")
def taylor(f: Callable, x0: ArrayLike, order: int) -> jax.Array:
    """The coefficients of the Taylor polynomial of a function of one variable.

    c_k = f^(k)(x0) / k! for k = 0, ..., order, so that f(x0 + h) = sum_k c_k h^k + O(h^(order + 1)). One nested forward
    pass gives all orders, at the cost that `derivative` states. Law: if f is a polynomial of degree at most `order` and
    x0 is 0, then the c_k are the coefficients of f.

    Args:
        f: R -> R; it is given scalars.
        x0: The point to expand about, a scalar or an array of any shape.
        order: The degree of the Taylor polynomial, a non-negative whole number.

    Returns:
        The coefficients, of shape (order + 1,) + x0.shape, the constant term first.

    Raises:
        TypeError: If order is not a whole number, x0 is complex, or f does not return a real scalar.
        ValueError: If order is negative.

    Example:
        >>> print(taylor(lambda x: 1 / (1 - x), 0.0, 3))
        [1. 1. 1. 1.]

    Taylor, "Methodus incrementorum directa et inversa" (1715).
    """
    require_functions([f], "f", several=False)
    terms = jnp.vectorize(expansion(f, whole_number("order", order)))(as_real(x0, "x0"))
    return jnp.stack([term / float(math.factorial(k)) for k, term in enumerate(terms)])


def expansion(f: Callable, order: int) -> Callable[[jax.Array], tuple]:
    """Returns x -> (f(x), f'(x), ..., f^(order)(x)), for a scalar x, by one nested forward pass."""
    values = scalar_valued(f)

    def terms(x):
        return (values(x),)

    for _ in range(order):
        terms = _with_next_order(terms)
    return terms


def _size(x) -> int:
    """Returns the number of entries of a pytree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(x))


def _forward_derivative(f: Callable) -> Callable:
    """Returns f', R -> R, by one pass of forward mode, or of reverse mode where f refuses forward mode."""

    def derivative(x):
        try:
            return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]
        except REFUSED as error:
            require_refusal(error)
        y, pullback = jax.vjp(f, x)
        return pullback(jnp.ones_like(y))[0]

    return derivative


def _with_next_order(expansion: Callable) -> Callable:
    """Returns x -> (f, f', ..., f^(k + 1)), given x -> (f, f', ..., f^(k))."""

    def longer(x):
        try:
            terms, slopes = jax.jvp(expansion, (x,), (jnp.ones_like(x),))
            return (*terms, slopes[-1])
        except REFUSED as error:
            require_refusal(error)
        terms, pullback = jax.vjp(expansion, x)
        last = (*(jnp.zeros_like(term) for term in terms[:-1]), jnp.ones_like(terms[-1]))
        return (*terms, pullback(last)[0])

    return longer
