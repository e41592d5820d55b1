"""Forward mode where JAX allows it, and reverse mode instead for functions that define only their reverse mode.

A function with `jax.custom_vjp`, as `jax.experimental.ode.odeint` has, refuses forward mode. Its second derivatives are
then found by reverse mode over reverse mode, and a derivative along a direction by transposing reverse mode, which is
linear: J v = (v -> J'v)' v.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

from jaxcalc.core.tracing import is_staged

# What JAX says where a function refuses forward mode, and where its derivative by reverse mode does.
REFUSAL, REFUSAL_OF_PULLBACK = "forward-mode", "custom_lin"
REFUSED = (TypeError, NotImplementedError)
# How the primitives of functions that define only their reverse mode begin.
_ONLY_REVERSE_MODE = "custom_vjp_call"


def jvp(function: Callable, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """Returns function(*primals) and its derivative along the tangents, as `jax.jvp` does."""
    if not _refuses_later(function, *primals):
        try:
            return jax.jvp(function, primals, tangents)
        except REFUSED as error:
            require_refusal(error)
    output, pullback = jax.vjp(function, *primals)
    (tangent,) = jax.linear_transpose(pullback, output)(tuple(tangents))
    return output, tangent


def symmetric_jacobian(function: Callable, has_aux: bool = False) -> Callable:
    """Returns x -> the Jacobian of a function whose Jacobian is symmetric, such as a gradient; as `jax.jacfwd` does."""

    def jacobian(x):
        try:
            return jax.jacfwd(function, has_aux=has_aux)(x)
        except REFUSED as error:
            require_refusal(error)
        return jax.jacrev(function, has_aux=has_aux)(x)

    return jacobian


def symmetric_product(function: Callable, x: Any, direction: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Returns function(x) and the product of its Jacobian, which is symmetric, with a direction; as `jax.jvp` does."""
    if not _refuses_later(function, x):
        try:
            return jax.jvp(function, (x,), (direction,), has_aux=has_aux)
        except REFUSED as error:
            require_refusal(error)
    output, pullback, *aux = jax.vjp(function, x, has_aux=has_aux)
    return output, pullback(direction)[0], *aux


def has_only_reverse_mode(function: Callable, *x: Any) -> bool:
    """Says whether the trace of function(*x) holds a function that defines only its reverse mode."""
    return holds(jax.make_jaxpr(lambda *x: function(*x))(*x).jaxpr, _ONLY_REVERSE_MODE)


def holds(jaxpr: Any, beginning: str) -> bool:
    """Says whether a jaxpr, or one within it, holds a primitive whose name begins like this."""
    return any(
        equation.primitive.name.startswith(beginning)
        or any(holds(inner, beginning) for inner in jaxprs_in_params(equation.params))
        for equation in jaxpr.eqns
    )


def _refuses_later(function: Callable, *x: Any) -> bool:
    """Says whether JAX would hear a refusal of forward mode too late, when it compiles what it traces now."""
    return is_staged() and has_only_reverse_mode(function, *x)


def refuses_forward_mode(error: Exception) -> bool:
    """Says whether an error is that of a function which refuses forward mode."""
    return REFUSAL in str(error) or REFUSAL_OF_PULLBACK in str(error)


def require_refusal(error: Exception) -> None:
    """Raises the error again unless it says that a function refuses forward mode."""
    if not refuses_forward_mode(error):
        raise error
