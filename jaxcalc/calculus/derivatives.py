"""Derivatives of pure functions: slopes, partial derivatives, gradients, and the operators of vector calculus.

Every operator takes a JAX-traceable function and returns a function that can be jitted, mapped and differentiated
again. Integers are promoted to the default float, floats keep their precision. What a function returns is checked
while it is traced, so a check costs neither an evaluation nor time in compiled code.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

# Directions that `laplacian` and `divergence` push forward at once: all n of them would need the memory of the
# n x n matrix whose trace is wanted, one at a time would leave vector units idle.
_DIRECTIONS_AT_ONCE = 64


def secant_slope(f: Callable, a: ArrayLike, b: ArrayLike) -> jax.Array:
    """The slope of the straight line through two points of a curve.

    (f(b) - f(a)) / (b - a), elementwise, with NumPy broadcasting between a and b. For a straight line this is its
    derivative, whatever the two points; in general it tends to the derivative at a as b tends to a. Where a equals b
    there is no secant, and the slope is nan.

    Args:
        f: R -> R; it is given scalars.
        a: Where the secant meets the curve first, of any shape.
        b: Where it meets the curve again; broadcasts against a.

    Returns:
        The slopes, of the broadcast shape.

    Raises:
        TypeError: If a or b is complex, or f does not return a real scalar.

    Example:
        The line y = 2x through (1, 2) and (4, 8) (Farley, 2019).

        >>> print(secant_slope(lambda x: 2 * x, 1, 4))
        2.0
    """
    curve = _scalar_valued(f)
    return jnp.vectorize(lambda a, b: (curve(b) - curve(a)) / (b - a))(as_real(a, "a"), as_real(b, "b"))


def derivative(f: Callable, order: int = 1) -> Callable[[ArrayLike], Any]:
    """The derivative of a function of one variable, of any order.

    x -> f^(order)(x), elementwise. Laws: derivative(f, 0) is f; derivative is linear in f;
    derivative(derivative(f, m), n) == derivative(f, m + n). Computed exactly, not by differences, by forward mode
    nested `order` times. That differentiates whatever JAX can push forward, control flow included, while tracing and
    compiling take about three times as long for every further order.

    Args:
        f: R -> R; it is given scalars, so it need not be written for arrays.
        order: How many times to differentiate, a non-negative int.

    Returns:
        A function of x, a scalar or an array of any shape, whose result has the shape of x.

    Raises:
        TypeError: If order is not an int; when called, if x is complex or f does not return a real scalar.
        ValueError: If order is negative.

    Example:
        >>> print(derivative(lambda x: x**2)(3))
        6.0
        >>> print(derivative(lambda x: x**3, order=2)([1.0, 2.0]))
        [ 6. 12.]

    Griewank and Walther, "Evaluating Derivatives" (2008), chapter 3.
    """
    if _non_negative_int(order, "order") == 0:
        return f
    slope = _scalar_valued(f)
    for _ in range(order):
        slope = _forward(slope)
    return lambda x: jnp.vectorize(slope)(as_real(x))


def partial_derivative(f: Callable, argnum: int) -> Callable[..., jax.Array]:
    """The derivative of a function of several variables with respect to one, the others held constant.

    (x_0, ..., x_k) -> df/dx_argnum, elementwise, with NumPy broadcasting among the arguments. Law: a term without
    x_argnum contributes zero.

    Args:
        f: R x ... x R -> R; it is given scalars.
        argnum: The position of the variable, counted from 0.

    Returns:
        A function of the same arguments as f, whose result has their broadcast shape. Only the variable is promoted
        to a float; the other arguments keep their dtypes.

    Raises:
        TypeError: If argnum is not an int; when called, if the variable is complex or f does not return a real scalar.
        ValueError: If argnum is negative or, when called, there is no such argument.

    Example:
        >>> f = lambda x, y, z: x**2 * y + x * y * z + z**2
        >>> print(partial_derivative(f, 0)(1.0, 2.0, 3.0))  # 2xy + yz
        10.0

    The example is Farley's (2019).
    """
    _non_negative_int(argnum, "argnum")
    values = _scalar_valued(f)

    def along(*xs):
        return _forward(lambda x: values(*xs[:argnum], x, *xs[argnum + 1 :]))(xs[argnum])

    def partial(*xs: ArrayLike) -> jax.Array:
        if argnum >= len(xs):
            raise ValueError(
                f"argnum is {argnum}, but there are only {len(xs)} arguments; "
                "they are counted from 0 and must be given by position"
            )
        return jnp.vectorize(along)(*xs[:argnum], as_real(xs[argnum], f"argument {argnum}"), *xs[argnum + 1 :])

    return partial


def gradient(f: Callable) -> Callable[[Any], Any]:
    """The vector of all partial derivatives of a scalar function.

    x -> (df/dx_1, ..., df/dx_n), by reverse mode: a small multiple of one evaluation of f, whatever n. Law:
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
    slope = jax.grad(_scalar_valued(f))
    return lambda x: slope(_promote(x))


def directional_derivative(f: Callable) -> Callable[[Any, Any], Any]:
    """The rate of change of a function along a vector.

    (x, v) -> d/dt f(x + t v) at t = 0, by forward mode. v is taken as it is, not normalised: the result is linear in v,
    and is a slope per unit length only for a unit vector.

    Args:
        f: A real function of an array or a pytree; its result may be any array or pytree.

    Returns:
        A function of x and v, which have one structure and the same shapes; its result is shaped like f(x).

    Raises:
        TypeError: When called, if x, v or f(x) is not real.
        ValueError: When called, if v does not match x.

    Example:
        >>> print(directional_derivative(lambda x: x[0] * x[1])(jnp.array([2.0, 3.0]), jnp.array([1.0, 0.0])))
        3.0

    Griewank and Walther, "Evaluating Derivatives" (2008), chapter 3.
    """
    values = _real_valued(f)

    def along(x, v):
        x = _promote(x)
        return jax.jvp(values, (x,), (_matching(v, x),))[1]

    return along


def jacobian(F: Callable) -> Callable[[Any], Any]:
    """The matrix of all first partial derivatives of a vector function.

    x -> J with J[i, j] = dF_i/dx_j. F is linearised once; the linear map is then read off by columns where x has no
    more entries than F(x), by rows otherwise.

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
    values = _real_valued(F)

    def matrix(x):
        x = _promote(x)
        y, pushforward = jax.linearize(values, x)
        mode = jax.jacfwd if _size(x) <= _size(y) else jax.jacrev
        return mode(pushforward)(x)

    return matrix


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
    curvature = jax.jacfwd(jax.grad(_scalar_valued(f)))
    return lambda x: curvature(_promote(x))


def hessian_vector_product(f: Callable) -> Callable[[Any, Any], Any]:
    """The Hessian times a vector, without the Hessian.

    (x, v) -> H(x) v = d/dt gradient(f)(x + t v) at t = 0, by forward over reverse mode: a small multiple of one
    evaluation of f, in time and in memory.

    Args:
        f: A real scalar function of an array or a pytree.

    Returns:
        A function of x and v, which have one structure and the same shapes; so has its result.

    Raises:
        TypeError: When called, if x or v is complex or f does not return a real scalar.
        ValueError: When called, if v does not match x.

    Example:
        >>> print(hessian_vector_product(lambda x: x[0] ** 2 * x[1])(jnp.array([2.0, 3.0]), jnp.array([1.0, 1.0])))
        [10.  4.]

    Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    return directional_derivative(gradient(f))


def laplacian(f: Callable) -> Callable[[Any], jax.Array]:
    """The sum of the unmixed second derivatives of a scalar function.

    x -> sum_i d2f/dx_i^2, the trace of the Hessian, which is never formed: each term is the second derivative along one
    axis, by forward mode twice. Law: laplacian(f) == divergence(gradient(f)).

    Args:
        f: A real scalar function of an array of any shape or of a pytree.

    Returns:
        A function of x, whose result is a scalar.

    Raises:
        TypeError: When called, if x is complex or f does not return a real scalar.

    Example:
        >>> print(laplacian(lambda x: jnp.sum(x**2))(jnp.zeros(3)))
        6.0

    Schey, "Div, Grad, Curl, and All That" (2005).
    """
    values = _scalar_valued(f)

    def trace(x):
        flat, unravel = ravel_pytree(_promote(x))

        def along(i):
            axis = jnp.zeros_like(flat).at[i].set(1)
            slope = directional_derivative(lambda x: values(unravel(x)))
            return directional_derivative(lambda x: slope(x, axis))(flat, axis)

        return _sum_over_axes(along, flat)

    return trace


def divergence(F: Callable) -> Callable[[Any], jax.Array]:
    """The source density of a vector field.

    x -> sum_i dF_i/dx_i, the trace of the Jacobian, which is never formed. Laws: divergence(curl(F)) == 0;
    divergence(gradient(f)) == laplacian(f).

    Args:
        F: R^n -> R^n; a function of an array or a pytree whose result has the same structure and shapes.

    Returns:
        A function of x, whose result is a scalar.

    Raises:
        TypeError: When called, if x or F(x) is not real.
        ValueError: When called, if F(x) is not shaped like x.

    Example:
        >>> print(divergence(lambda x: x**2)(jnp.array([1.0, 2.0])))
        6.0

    Schey, "Div, Grad, Curl, and All That" (2005).
    """
    values = _field(F)

    def trace(x):
        flat, unravel = ravel_pytree(_promote(x))

        def along(i):
            axis = jnp.zeros_like(flat).at[i].set(1)
            return jax.jvp(lambda x: ravel_pytree(values(unravel(x)))[0], (flat,), (axis,))[1][i]

        return _sum_over_axes(along, flat)

    return trace


def curl(F: Callable) -> Callable[[ArrayLike], jax.Array]:
    """The rotation of a vector field in space or in the plane.

    In space x -> (dF_3/dx_2 - dF_2/dx_3, dF_1/dx_3 - dF_3/dx_1, dF_2/dx_1 - dF_1/dx_2); in the plane the last
    component alone, x -> dF_2/dx_1 - dF_1/dx_2, a scalar. Laws: curl(gradient(f)) == 0; divergence(curl(F)) == 0.

    Args:
        F: R^3 -> R^3 or R^2 -> R^2, a function of an array of shape (3,) or (2,) whose result has the same shape.

    Returns:
        A function of x, whose result has shape (3,) in space and () in the plane.

    Raises:
        TypeError: When called, if x or F(x) is not real.
        ValueError: When called, if x has another shape than (3,) or (2,), or F(x) is not shaped like x.

    Example:
        >>> print(curl(lambda x: jnp.stack([-x[1], x[0]]))(jnp.array([5.0, 7.0])))
        2.0

    Schey, "Div, Grad, Curl, and All That" (2005).
    """
    derivatives = jacobian(_field(F))

    def rotation(x):
        x = as_real(x)
        if x.shape not in ((2,), (3,)):
            raise ValueError(
                f"x has shape {x.shape}, but a curl needs shape (3,), or (2,) in the plane; "
                "for many points at once use jax.vmap(curl(F))"
            )
        J = derivatives(x)
        about_z = J[1, 0] - J[0, 1]
        return about_z if x.size == 2 else jnp.stack([J[2, 1] - J[1, 2], J[0, 2] - J[2, 0], about_z])

    return rotation


def taylor(f: Callable, x0: ArrayLike, order: int) -> jax.Array:
    """The coefficients of the Taylor polynomial of a function of one variable.

    c_k = f^(k)(x0) / k! for k = 0, ..., order, so that f(x0 + h) = sum_k c_k h^k + O(h^(order + 1)). All orders come
    from one nested forward pass; see `derivative` for its cost. Law: the coefficients of a polynomial of degree at most
    `order`, taken about 0, are its own.

    Args:
        f: R -> R; it is given scalars.
        x0: Where to expand, a scalar or an array of any shape.
        order: The degree of the polynomial, a non-negative int.

    Returns:
        The coefficients, of shape (order + 1,) + x0.shape, the constant term first.

    Raises:
        TypeError: If order is not an int, x0 is complex, or f does not return a real scalar.
        ValueError: If order is negative.

    Example:
        >>> print(taylor(lambda x: 1 / (1 - x), 0.0, 3))
        [1. 1. 1. 1.]

    Taylor, "Methodus incrementorum directa et inversa" (1715).
    """
    values = _scalar_valued(f)

    def expansion(x):
        return (values(x),)

    for _ in range(_non_negative_int(order, "order")):
        expansion = _with_next_order(expansion)
    terms = jnp.vectorize(expansion)(as_real(x0, "x0"))
    return jnp.stack([term / float(math.factorial(k)) for k, term in enumerate(terms)])


def as_real(x: ArrayLike, name: str = "x") -> jax.Array:
    """The array of a real argument, floats as they are and everything else as the default float.

    Args:
        x: A number or array of numbers, or what `jnp.asarray` makes one of.
        name: What the caller's signature calls it.

    Returns:
        The floating array. Python numbers stay weakly typed: they take the precision of what they meet.

    Raises:
        TypeError: If x is complex.

    Example:
        >>> print(as_real([1, 2]))
        [1. 2.]
    """
    array = jnp.asarray(float(x) if isinstance(x, int) else x)
    if jnp.iscomplexobj(array):
        raise TypeError(
            f"{name} has dtype {array.dtype}, but must be real; "
            "write the function in terms of the real and the imaginary part, two real arguments"
        )
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _promote(x):
    return jax.tree.map(as_real, x)


def _size(x) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(x))


def _non_negative_int(value, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be a non-negative int, such as 1, but is {value!r} of type {type(value).__name__}"
        )
    if value < 0:
        raise ValueError(f"{name} must be a non-negative int, such as 1, but is {value}")
    return int(value)


def _forward(f: Callable) -> Callable:
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def _with_next_order(expansion: Callable) -> Callable:
    def longer(x):
        terms, slopes = jax.jvp(expansion, (x,), (jnp.ones_like(x),))
        return (*terms, slopes[-1])

    return longer


def _sum_over_axes(along: Callable, flat: jax.Array) -> jax.Array:
    if flat.size == 0:
        return jnp.zeros((), flat.dtype)
    if flat.size <= _DIRECTIONS_AT_ONCE:
        return jnp.sum(jax.vmap(along)(jnp.arange(flat.size)))
    return jnp.sum(jax.lax.map(along, jnp.arange(flat.size), batch_size=_DIRECTIONS_AT_ONCE))


def _name(f: Callable) -> str:
    return getattr(f, "__name__", type(f).__name__)


def _real_output(y, f: Callable) -> jax.Array:
    array = jnp.asarray(float(y) if type(y) is int else y)  # a constant such as 3 is a function too
    if jnp.iscomplexobj(array):
        raise TypeError(
            f"{_name(f)} returned dtype {array.dtype}, but must return real numbers; "
            "differentiate its real and its imaginary part one by one"
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{_name(f)} returned dtype {array.dtype}, which has no derivative; "
            "keep the computation in floating point, or convert a constant with .astype(float)"
        )
    return array


def _scalar_valued(f: Callable) -> Callable[..., jax.Array]:
    def scalar(*args):
        y = f(*args)
        if not jax.tree_util.all_leaves([y]):
            raise TypeError(
                f"{_name(f)} returned a {type(y).__name__}, but must return a real scalar; "
                "return one number, or use jacobian for several"
            )
        y = _real_output(y, f)
        if y.shape:
            raise TypeError(
                f"{_name(f)} returned an array of shape {y.shape} and dtype {y.dtype}, but must return a real scalar; "
                "reduce it, for example with jnp.sum, or use jacobian for all its components"
            )
        return y

    return scalar


def _real_valued(F: Callable) -> Callable:
    def real(x):
        y = F(x)
        if not jax.tree.leaves(y):
            raise TypeError(f"{_name(F)} returned a {type(y).__name__} without numbers; return an array or a pytree")
        return jax.tree.map(lambda leaf: _real_output(leaf, F), y)

    return real


def _field(F: Callable) -> Callable:
    values = _real_valued(F)

    def field(x):
        y = values(x)
        _require_match(y, x, f"what {_name(F)} returned", "a vector field returns one component per variable")
        return y

    return field


def _matching(v, x):
    v = jax.tree.map(lambda leaf: as_real(leaf, "v"), v)
    _require_match(v, x, "v", "give v one entry per entry of x, for example with jnp.broadcast_to")
    return jax.tree.map(lambda v, x: v.astype(x.dtype), v, x)


def _require_match(y, x, name: str, mend: str) -> None:
    if jax.tree.structure(y) != jax.tree.structure(x):
        found, expected = jax.tree.structure(y), jax.tree.structure(x)
        raise ValueError(f"{name} has the structure {found}, but must have that of x, {expected}; {mend}")
    for leaf, like in zip(jax.tree.leaves(y), jax.tree.leaves(x), strict=True):
        if leaf.shape != like.shape:
            raise ValueError(f"{name} has shape {leaf.shape}, but must have that of x, {like.shape}; {mend}")
