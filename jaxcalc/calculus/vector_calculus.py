"""The operators of vector calculus: Laplacian and divergence, without forming a matrix, and curl."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from jaxcalc.calculus.checks import promoted, scalar_valued, vector_field
from jaxcalc.calculus.derivatives import ONE_POINT, directional_derivative, hessian_vector_product, jacobian
from jaxcalc.calculus.modes import REFUSED, jvp, require_refusal
from jaxcalc.core.arguments import as_real, called_as, require_functions

# `laplacian` and `divergence` push this many of the n unit vectors forward at once: all n would need as much memory as
# the n x n matrix whose trace is computed, and a single one would leave vector units idle.
_DIRECTIONS_AT_ONCE = 64


@called_as("laplacian(f)(x)")
def laplacian(f: Callable) -> Callable[[Any], jax.Array]:
    """The sum of the unmixed second derivatives of a scalar function.

    x -> sum_i d2f/dx_i^2, the trace of the Hessian. The Hessian is never formed: each term is the second derivative
    along one axis, by forward mode twice. Law: laplacian(f) == divergence(gradient(f)).

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
    require_functions([f], "f", several=False)
    values = scalar_valued(f)

    @called_as(f"laplacian(f)(x): {ONE_POINT}", 0)
    def laplacian(x: Any) -> jax.Array:
        flat, unravel = ravel_pytree(promoted(x))

        def second_derivative(i):
            axis = jnp.zeros_like(flat).at[i].set(1)
            slope = directional_derivative(lambda x: values(unravel(x)))
            return directional_derivative(lambda x: slope(x, axis))(flat, axis)

        try:
            return _sum_over_axes(second_derivative, flat)
        except REFUSED as error:
            require_refusal(error)
        product = hessian_vector_product(lambda x: values(unravel(x)))
        return _sum_over_axes(lambda i: product(flat, jnp.zeros_like(flat).at[i].set(1))[i], flat)

    return laplacian


@called_as("divergence(F)(x)")
def divergence(F: Callable) -> Callable[[Any], jax.Array]:
    """The source density of a vector field.

    x -> sum_i dF_i/dx_i, the trace of the Jacobian. The Jacobian is never formed. Laws: divergence(curl(F)) == 0;
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
    require_functions([F], "F", several=False)
    values = vector_field(F)

    @called_as(f"divergence(F)(x): {ONE_POINT}", 0)
    def divergence(x: Any) -> jax.Array:
        flat, unravel = ravel_pytree(promoted(x))

        def diagonal_entry(i):
            axis = jnp.zeros_like(flat).at[i].set(1)
            return jvp(lambda x: ravel_pytree(values(unravel(x)))[0], (flat,), (axis,))[1][i]

        return _sum_over_axes(diagonal_entry, flat)

    return divergence


@called_as("curl(F)(x)")
def curl(F: Callable) -> Callable[[ArrayLike], jax.Array]:
    """The rotation of a vector field in space or in the plane.

    In space x -> (dF_3/dx_2 - dF_2/dx_3, dF_1/dx_3 - dF_3/dx_1, dF_2/dx_1 - dF_1/dx_2). In the plane x ->
    dF_2/dx_1 - dF_1/dx_2, a scalar. Laws: curl(gradient(f)) == 0; divergence(curl(F)) == 0.

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
    require_functions([F], "F", several=False)
    derivatives = jacobian(vector_field(F))

    @called_as(f"curl(F)(x): {ONE_POINT}", 0)
    def curl(x: ArrayLike) -> jax.Array:
        x = as_real(x)
        if x.shape not in ((2,), (3,)):
            raise ValueError(
                f"x has shape {x.shape}, but a curl needs shape (3,), or (2,) in the plane; "
                "for many points at once use jax.vmap(curl(F))"
            )
        J = derivatives(x)
        about_z = J[1, 0] - J[0, 1]
        return about_z if x.size == 2 else jnp.stack([J[2, 1] - J[1, 2], J[0, 2] - J[2, 0], about_z])

    return curl


def _sum_over_axes(term: Callable, flat: jax.Array) -> jax.Array:
    """Returns the sum of term(i) over the entries i of flat, a block of `_DIRECTIONS_AT_ONCE` terms at a time."""
    if flat.size == 0:
        return jnp.zeros((), flat.dtype)
    if flat.size <= _DIRECTIONS_AT_ONCE:
        return jnp.sum(jax.vmap(term)(jnp.arange(flat.size)))
    return jnp.sum(jax.lax.map(term, jnp.arange(flat.size), batch_size=_DIRECTIONS_AT_ONCE))
