"""What kind of point a point is: the conditions of first and second order, with the margin of their rounding."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxcalc.calculus.derivatives import hessian, hessian_vector_product
from jaxcalc.engine.objective import as_start, check_value
from jaxcalc.optimize.door import arrays, as_tuple, box, options, require_functions
from jaxcalc.programs import compiled

# The Hessian is formed up to this many variables; beyond, Lanczos' method sees it through products with vectors.
DENSE = 100
_KRYLOV = 80
# Rounding of the eigenvalues, in units of n eps times the largest.
_ROUNDING = 10.0
_GTOL = {4: 1e-3, 8: 1e-5}


class PointKind(enum.IntEnum):
    """The kinds of a point, as the codes of `Certificate.kind`."""

    MINIMUM = 0
    MAXIMUM = 1
    SADDLE = 2
    DEGENERATE = 3
    NOT_CRITICAL = 4
    BOUND_MINIMUM = 5


NAMES = {
    PointKind.MINIMUM: "minimum",
    PointKind.MAXIMUM: "maximum",
    PointKind.SADDLE: "saddle",
    PointKind.DEGENERATE: "degenerate",
    PointKind.NOT_CRITICAL: "not critical",
    PointKind.BOUND_MINIMUM: "minimum at a bound",
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Certificate:
    """What the first and second derivatives say of a point, or of N points: then every field has the shape (N,).

    Attributes:
        kind: An integer code of `PointKind`.
        index: How many directions f falls in: the number of eigenvalues that are surely negative. 0 at a minimum, 1 at
            a mountain pass; beyond 100 variables a lower bound.
        min_eigenvalue: The least eigenvalue of the Hessian, of the variables that no bound holds fast.
        max_eigenvalue: The largest.
        margin: How far the eigenvalues may be off: by rounding, by the distance of the point from the critical point
            that it stands for, and by Lanczos' method where that is used. A sign within the margin is no sign.
        gradient_norm: The largest component of the projected gradient.
    """

    kind: Array
    index: Array
    min_eigenvalue: Array
    max_eigenvalue: Array
    margin: Array
    gradient_norm: Array

    @property
    def kind_name(self) -> Any:
        """The kind as a word, or a list of words for N points. Made on the host."""
        codes = np.asarray(self.kind)
        return NAMES[PointKind(int(codes))] if codes.ndim == 0 else [NAMES[PointKind(code)] for code in codes.tolist()]


def certify(
    fun: Callable, x: Any, args: Any = (), bounds: Any = None, *, many: bool = False, gtol: Any = None
) -> Certificate:
    """Tells of a point whether it is a minimum, a maximum, a saddle, degenerate, or no critical point at all.

    With g and H the gradient and the Hessian of fun(x, *args): not critical if the projected gradient is above gtol;
    else by the signs of the eigenvalues of H, each of which must exceed a margin. With bounds H is restricted to the
    variables that none holds fast; one that a bound holds fast must be pressed against it by the gradient (Karush,
    Kuhn and Tucker). Works under `jit` and `vmap`.

    Args:
        fun: A JAX-traceable function fun(x, *args) that returns one real number, an array of shape ().
        x: The point, an array or a pytree; with many=True N points, leaves (N, ...).
        args: What fun takes after x, a tuple; anything else is wrapped into one. With many=True leaves are (N, ...).
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`, each side None, a number, or what broadcasts
            against x. A point outside is not critical.
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
    x = as_start(arrays("x", x))
    lower, upper = _sides(bounds, x, many)
    limits = options("", None, gtol=gtol)
    return compiled(_certify, [fun])(many, x, arrays("args", as_tuple(args)), lower, upper, limits)


def certificate(value: Callable, x: Array, lower: Array, upper: Array, gtol: Array) -> Certificate:
    """The certificate of a flat point x (n,) of value, R^n -> R, between bounds (n,); to be mapped with `jax.vmap`."""
    gradient = jax.grad(value)(x)
    # Held fast: at a bound, and pressed against it.
    held = ((x <= lower) & (gradient > gtol)) | ((x >= upper) & (gradient < -gtol))
    free = ~held
    projected = jnp.where(free, gradient, 0.0)
    norm = jnp.max(jnp.abs(projected))
    spectrum = _dense_spectrum if x.size <= DENSE else _lanczos_spectrum
    least, most, index, margin = spectrum(value, x, projected, free)
    least, most = (jnp.where(jnp.any(free), eigenvalue, 0.0) for eigenvalue in (least, most))
    at_bound = jnp.any((x <= lower) | (x >= upper))
    critical = jnp.isfinite(norm) & (norm <= gtol) & jnp.all((lower <= x) & (x <= upper))
    convex = (least > margin) | ~jnp.any(free)
    kinds = [
        (~critical, PointKind.NOT_CRITICAL),
        (~jnp.isfinite(margin), PointKind.DEGENERATE),
        (convex & at_bound, PointKind.BOUND_MINIMUM),
        (convex, PointKind.MINIMUM),
        ((most < -margin) & ~jnp.any(held), PointKind.MAXIMUM),
        # Held variables rise into the box, so with them a point that falls in all others is a saddle too.
        ((least < -margin) & ((most > margin) | jnp.any(held)), PointKind.SADDLE),
    ]
    kind = jnp.select([chosen for chosen, _ in kinds], [jnp.int32(kind) for _, kind in kinds], PointKind.DEGENERATE)
    return Certificate(kind.astype(jnp.int32), index.astype(jnp.int32), least, most, margin, norm)


def _certify(functions: list[Callable], many: bool, x: Any, args: tuple, lower: Any, upper: Any, limits: dict):
    (fun,) = functions

    def one(x, args, lower, upper):
        check_value(jax.eval_shape(fun, x, *args))
        flat, unravel = ravel_pytree(x)
        least, most = ravel_pytree(lower)[0], ravel_pytree(upper)[0]
        gtol = jnp.asarray(limits.get("gtol", _GTOL.get(flat.dtype.itemsize, 1e-3)), flat.dtype)
        return certificate(lambda v: fun(unravel(v), *args), flat, least, most, gtol)

    return (jax.vmap(one) if many else one)(x, args, lower, upper)


def _dense_spectrum(value: Callable, x: Array, gradient: Array, free: Array) -> tuple[Array, Array, Array, Array]:
    """Extreme eigenvalues of the free part of the Hessian, how many are negative, and the margin."""
    both = free[:, None] & free[None, :]
    whole = hessian(value)

    def reduced(x):
        return jnp.where(both, whole(x), 0.0)

    H = reduced(x)
    # What a bound holds fast gets the mean of the eigenvalues of the others, which is never an extreme one.
    mean = jnp.trace(H) / jnp.maximum(jnp.sum(free), 1)
    eigenvalues, vectors = jnp.linalg.eigh(H + jnp.diag(jnp.where(free, 0.0, mean)))
    along = vectors.T @ gradient
    step = vectors @ jnp.where(along == 0, 0.0, along / eigenvalues)
    # The critical point that x stands for is a Newton step away: twice what the Hessian changes on the way there.
    moved = 2 * jnp.linalg.norm(jax.jvp(reduced, (x,), (step,))[1])
    margin = moved + _ROUNDING * x.size * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(eigenvalues))
    index = jnp.sum(eigenvalues < -margin) - jnp.where(mean < -margin, jnp.sum(~free), 0)
    return eigenvalues[0], eigenvalues[-1], index, margin


def _lanczos_spectrum(value: Callable, x: Array, gradient: Array, free: Array) -> tuple[Array, Array, Array, Array]:
    """The same for many variables, from products of the Hessian with vectors, each made orthogonal to all before it."""
    product = hessian_vector_product(value)
    steps = min(_KRYLOV, x.size)

    def apply(v):
        return jnp.where(free, product(x, jnp.where(free, v, 0.0)), 0.0)

    def step(k, state):
        basis, diagonal, beside, v = state
        basis = basis.at[k].set(v)
        w = apply(v)
        diagonal = diagonal.at[k].set(jnp.vdot(v, w))
        for _ in range(2):  # twice is enough (Parlett, 1980)
            w = w - basis.T @ (basis @ w)
        length = jnp.linalg.norm(w)
        # An invariant subspace: what is left of w is rounding.
        over = length <= 100 * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(diagonal))
        return basis, diagonal, beside.at[k].set(jnp.where(over, 0.0, length)), jnp.where(over, 0.0, w / length)

    tiny = jnp.finfo(x.dtype).tiny
    start = jnp.where(free, jax.random.normal(jax.random.key(0), x.shape, x.dtype), 0.0)
    # With the gradient in it, so that the Newton step lies in what the steps span.
    start = start / jnp.maximum(jnp.linalg.norm(start), tiny) + gradient / jnp.maximum(jnp.linalg.norm(gradient), tiny)
    start = start / jnp.maximum(jnp.linalg.norm(start), tiny)
    blank = jnp.zeros((steps, x.size), x.dtype), jnp.zeros(steps, x.dtype), jnp.zeros(steps, x.dtype), start
    basis, diagonal, beside, _ = jax.lax.fori_loop(0, steps, step, blank)
    used = jnp.any(basis != 0, axis=1)
    # Unused rows get a diagonal entry inside the spectrum, as held variables do above.
    filled = jnp.where(used, diagonal, diagonal[0])
    links = jnp.where(used[1:], beside[:-1], 0.0)
    values, vectors = jnp.linalg.eigh(jnp.diag(filled) + jnp.diag(links, 1) + jnp.diag(links, -1))
    extreme = vectors[:, jnp.array([0, -1])]
    residual = jnp.max(jnp.abs(beside[-1] * extreme[-1]))
    # As above: twice what the Hessian changes, along the extreme directions, on the way of a Newton step.
    along = vectors.T @ (basis @ gradient)
    way = basis.T @ (vectors @ jnp.where(along == 0, 0.0, along / values))
    changes = jax.vmap(lambda v: jax.jvp(lambda x: product(x, v), (x,), (way,))[1])((basis.T @ extreme).T)
    moved = 2 * jnp.max(jnp.linalg.norm(jnp.where(free, changes, 0.0), axis=1))
    margin = residual + moved + _ROUNDING * x.size * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(values))
    index = jnp.sum(values < -margin) - jnp.where(diagonal[0] < -margin, jnp.sum(~used), 0)
    return values[0], values[-1], index, margin


def _sides(bounds: Any, x: Any, many: bool) -> tuple[Any, Any]:
    """Lower and upper bounds in the form of x, infinite where there are none."""

    def like(side: Any, missing: float) -> Any:
        if side is None:
            return jax.tree.map(lambda leaf: jnp.full_like(leaf, missing), x)
        return jax.tree.map(lambda leaf, end: jnp.broadcast_to(end, leaf.shape) if many else end[0], x, side)

    lower, upper = box("", bounds, x, batch=many)
    return like(lower, -jnp.inf), like(upper, jnp.inf)
