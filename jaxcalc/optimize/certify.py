"""The certificate of given points: minimum, maximum, saddle, degenerate or no critical point."""

from collections.abc import Callable
from typing import Any

import jax

from jaxcalc.core.arguments import arrays, as_floating, as_tuple, called_as, real_arrays, require_functions
from jaxcalc.engine import solve
from jaxcalc.engine.certificate import Certificate
from jaxcalc.engine.family.constrained import ConstrainedFamily
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.optimize.arguments import box, tolerances
from jaxcalc.optimize.constraints import asks_for_nothing, checked, common_numbers, with_constraints


@called_as("certify(fun, x)", x0="write x=, the point", tol="write gtol=, about the gradient")
def certify(
    fun: Callable,
    x: Any,
    args: Any = (),
    bounds: Any = None,
    *,
    constraints: Any = (),
    many: bool = False,
    gtol: Any = None,
) -> Certificate:
    """Tells of a point whether it is a minimum, a maximum, a saddle, degenerate, or no critical point at all.

    With g and H the gradient and the Hessian of fun(x, *args): not critical if the projected gradient is above gtol;
    else by the signs of the eigenvalues of H, each of which must exceed a margin. With bounds H is restricted to the
    variables that none holds fast; one that a bound holds fast must be pressed against it by the gradient (Karush,
    Kuhn and Tucker). With constraints H is the Hessian of the Lagrangian on the tangent space of the constraints that
    hold x; where their gradients are linearly dependent x is degenerate. Works under `jit` and `vmap`.

    Args:
        fun: A JAX-traceable function fun(x, *args) that returns one real number, an array of shape ().
        x: The point, an array or a pytree; with many=True N points, leaves (N, ...).
        args: What fun takes after x, a tuple; anything else is wrapped into one. With many=True leaves are (N, ...).
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`, each side None, a number, or what broadcasts
            against x. A point outside is not critical.
        constraints: As in `minimize`.
        many: Whether x and args have a leading axis of points.
        gtol: What the gradient of a critical point is at most; by default 1e-5 in float64 and 1e-3 in float32.

    Returns:
        The certificate, one or a batch.

    Raises:
        TypeError: If fun does not return one real number, x is not made of real numbers, or bounds is not a pair.
        ValueError: If a lower bound is above an upper one, or gtol is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> certificate = jc.certify(lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2))
        >>> certificate.kind_name, int(certificate.index), float(certificate.min_eigenvalue)
        ('saddle', 1, -2.0)

    Source: J. Nocedal and S. Wright, Numerical Optimization (2006), chapters 2 and 12; for more than 100 variables
    C. Lanczos, An iteration method for the eigenvalue problem (1950).
    """
    require_functions([fun])
    if isinstance(x, OptimizeResult):
        raise TypeError("x is a result, which holds more than a point: write certify(fun, result.x, ...).")
    x, args = as_floating(real_arrays("x", x)), arrays("args", as_tuple(args))
    gtol = tolerances("", None, gtol=gtol).gtol
    sides = box("", bounds, x, batch=many)
    whole, family = fun, Scalar
    if not asks_for_nothing(constraints):
        given, several = checked(constraints)
        # The whole function does not keep fun alive, which therefore stays a name here.
        whole, family = with_constraints(fun, given, several, False), ConstrainedFamily
        args = (None, *args, common_numbers(given, None))
        if many:
            args, shared = args[:-1], args[-1:]
            return solve.certify(whole, family, x, args, shared, sides, gtol)
    if many:
        return solve.certify(whole, family, x, args, (), sides, gtol)
    point = jax.tree.map(lambda leaf: leaf[None], x)
    return jax.tree.map(lambda leaf: leaf[0], solve.certify(whole, family, point, (), args, sides, gtol))
