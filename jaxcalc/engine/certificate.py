"""What kind of point a point is: the conditions of first and second order, with the margin of their rounding."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.calculus.derivatives import hessian, hessian_vector_product
from jaxcalc.calculus.modes import has_only_reverse_mode
from jaxcalc.core.arguments import require_known
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.problem import default_gtol
from jaxcalc.engine.tangent_certificate import OnTangentSpace, conditions
from jaxcalc.methods.box import Box

# The Hessian is formed up to this many variables; beyond, Lanczos' method takes this many products with vectors.
DENSE, KRYLOV = 100, 80
# The rounding error of the eigenvalues, in units of n eps times the largest.
ROUNDING = 10.0
# Second differences that grow by more than this factor, and again, while their step is halved have no limit.
GROWTH = 1.3
# Eigenvalues and second differences contradict each other where they differ by this share of the larger of both, after
# the error of the differences is allowed for.
DISAGREEMENT = 0.25
# Points that are certified at once: each holds a Hessian.
AT_ONCE = 64


class PointKind(enum.IntEnum):
    """The kinds of a point, as the codes of `Certificate.kind`; `words` is what messages call them."""

    words: str

    def __new__(cls, code: int, words: str = "") -> "PointKind":
        """Makes a kind an int that carries its words."""
        member = int.__new__(cls, code)
        member._value_, member.words = code, words
        return member

    MINIMUM = 0, "minimum"
    MAXIMUM = 1, "maximum"
    SADDLE = 2, "saddle"
    DEGENERATE = 3, "degenerate"
    NOT_CRITICAL = 4, "not critical"
    BOUND_MINIMUM = 5, "minimum at a bound"
    CONTRADICTORY = 6, "contradictory derivatives"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Certificate:
    """What the first and second derivatives say of a point, or of N points: then every field has the shape (N,).

    Derivatives are taken by automatic differentiation, whose rules can be wrong at single points: the norm of x has the
    gradient nan at 0. So the extreme eigenvalues are compared with second differences of the values along their
    eigenvectors, (f(x + hv) - 2 f(x) + f(x - hv)) / h^2, and a gradient that says that the point is not critical with
    central differences along itself; the kind is "contradictory derivatives" where both disagree beyond every error of
    such a difference, and where the gradient is nan although the value is finite.

    Attributes:
        kind: An integer code of `PointKind`.
        index: The number of eigenvalues below -margin, of directions in which f falls: 0 at a minimum, 1 at a mountain
            pass; beyond 100 variables a lower bound.
        min_eigenvalue: The least eigenvalue of the Hessian, of the variables that no bound holds.
        max_eigenvalue: The largest eigenvalue of the same matrix.
        margin: The error of the eigenvalues: by rounding, by the distance of the point from the critical point nearby,
            and by Lanczos' method where that is used. The sign of an eigenvalue within the margin is not known.
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
        """The kind as a word, or a list of words for N points, of lists for (P, m) points. Made on the host."""
        require_known("kind_name", self.kind)
        return jax.tree.map(lambda code: PointKind(code).words, np.asarray(self.kind).tolist())


def certificates(
    family: Family, x: Any, args: tuple[Any, ...], shared: tuple[Any, ...], box: Box, gtol: Array | float | None
) -> Certificate:
    """Returns the certificates of N points, a block of them at a time, since each holds a Hessian.

    Args:
        family: What the points are points of.
        x: The points, leaves (N, ...).
        args: Of each point, leaves (N, ...).
        shared: Common to all points.
        box: In the form of x, leaves (N, ...) or (1, ...).
        gtol: A number, one for each point (N,), or None for the default of the work dtype.
    """
    flat = family.ravel(x).T
    wide = box if box.is_bounded else Box(-jnp.inf, jnp.inf)
    lower, upper = (jnp.broadcast_to(family.ravel(side).T if box.is_bounded else side, flat.shape) for side in wide)
    gtol = default_gtol(family.dtype) if gtol is None else gtol
    points = (flat, lower, upper, jnp.broadcast_to(gtol, len(flat)).astype(family.dtype), args)

    def one(point):
        x, lower, upper, gtol, args = point
        restricted = family.restrictions(x, args, shared)
        if restricted is not None:
            allowed = restricted[2]

            def function(v):
                at_v: Any = family.restrictions(v, args, shared)
                return family.value(v, args, shared)[0], *at_v[:2]

            return of_conditions(conditions(function, x, lower, upper, gtol, allowed))
        return certificate(lambda v: family.value(v, args, shared)[0], x, Box(lower, upper), gtol)

    return jax.vmap(one)(points) if len(flat) <= AT_ONCE else jax.lax.map(one, points, batch_size=AT_ONCE)


def of_conditions(at: OnTangentSpace) -> Certificate:
    """Returns the certificate of a point under constraints; see `tangent_certificate`."""
    convex = (at.least > at.margin) | (at.dimension == 0)
    kinds = [
        (at.undefined, PointKind.CONTRADICTORY),
        (~at.critical, PointKind.NOT_CRITICAL),
        (~at.qualified | ~jnp.isfinite(at.margin), PointKind.DEGENERATE),
        (convex & at.at_bound, PointKind.BOUND_MINIMUM),
        (convex, PointKind.MINIMUM),
        ((at.most < -at.margin) & ~at.pressed, PointKind.MAXIMUM),
        (at.least < -at.margin, PointKind.SADDLE),
    ]
    kind = jnp.select(*map(list, zip(*kinds, strict=True)), default=int(PointKind.DEGENERATE)).astype(jnp.int32)
    return Certificate(kind, at.index.astype(jnp.int32), at.least, at.most, at.margin, at.residual)


def certificate(value: Callable, x: Array, box: Box, gtol: Array) -> Certificate:
    """Returns the certificate of a flat point x, (n,), of value, R^n -> R, in a box with sides (n,)."""
    gradient, (lower, upper) = jax.grad(value)(x), box
    # A variable at a bound is held if the gradient presses it against the bound by more than gtol.
    held = ((x <= lower) & (gradient > gtol)) | ((x >= upper) & (gradient < -gtol))
    free = ~held
    projected = jnp.where(free, gradient, 0.0)
    norm = jnp.max(jnp.abs(projected))
    spectrum = _dense_spectrum if x.size <= DENSE else _lanczos_spectrum
    least, most, index, margin, directions = spectrum(value, x, projected, free)
    # A held variable has a part in an eigenvector only where its eigenvalue is that of free ones.
    directions = jnp.where(free, directions, 0.0)
    contradictory = _contradicts(value, x, jnp.stack([least, most]), directions, margin)
    # A maximum may drop a nan on its way, so the gradient itself is asked.
    undefined = jnp.any(jnp.isnan(gradient)) & jnp.isfinite(value(x))
    least, most = (jnp.where(jnp.any(free), eigenvalue, 0.0) for eigenvalue in (least, most))
    at_bound = jnp.any((x <= lower) | (x >= upper))
    critical = jnp.isfinite(norm) & (norm <= gtol) & jnp.all((lower <= x) & (x <= upper))
    convex = (least > margin) | ~jnp.any(free)
    # Beyond a bound f may be another function.
    sloping = _slope_contradicts(value, x, projected, jnp.maximum(-least, most)) & ~at_bound
    kinds = [
        (jnp.where(critical, contradictory, sloping) | undefined, PointKind.CONTRADICTORY),
        (~critical, PointKind.NOT_CRITICAL),
        (~jnp.isfinite(margin), PointKind.DEGENERATE),
        (convex & at_bound, PointKind.BOUND_MINIMUM),
        (convex, PointKind.MINIMUM),
        ((most < -margin) & ~jnp.any(held), PointKind.MAXIMUM),
        # f rises from held variables into the box: if it falls in all others, the point is a saddle.
        ((least < -margin) & ((most > margin) | jnp.any(held)), PointKind.SADDLE),
    ]
    kind = jnp.select([chosen for chosen, _ in kinds], [jnp.int32(kind) for _, kind in kinds], PointKind.DEGENERATE)
    return Certificate(kind.astype(jnp.int32), index.astype(jnp.int32), least, most, margin, norm)


def _contradicts(value: Callable, x: Array, eigenvalues: Array, directions: Array, margin: Array) -> Array:
    """Returns whether second differences of value along these directions contradict these eigenvalues.

    Args:
        value: R^n -> R.
        x: The point, (n,).
        eigenvalues: The curvatures that the Hessian has along the directions, (k,).
        directions: (k, n), of any length; those of length zero are no evidence.
        margin: The error of the eigenvalues.
    """
    f, eps = value(x), jnp.finfo(x.dtype).eps
    steepest = jnp.max(jnp.abs(eigenvalues))

    def second_difference(v, h):
        return ((value(x + h * v) - f) - (f - value(x - h * v))) / h**2

    def along(eigenvalue, v):
        # f changes by its own size over the length sqrt(|f| / curvature); a share of it balances rounding and
        # truncation.
        v = v / jnp.maximum(jnp.linalg.norm(v), jnp.finfo(x.dtype).tiny)
        curvature = jnp.maximum(jnp.abs(eigenvalue), 0.01 * steepest)
        size = jnp.sum(jnp.abs(v * x))
        length = jnp.sqrt(jnp.abs(f) / curvature)
        # Where f is about 0 that length is lost in the rounding of x.
        h = jnp.maximum(eps**0.25 * length, 10 * eps**0.5 * size)
        h = jnp.where((h > 0) & jnp.isfinite(h), h, eps**0.25)
        nearer, near, far = (second_difference(v, length) for length in (h / 2, h, 2 * h))
        rounding = 64 * eps * jnp.abs(f) / h**2
        error = 4 * jnp.abs(near - far) + rounding + margin
        differ = jnp.abs(near - eigenvalue) > DISAGREEMENT * jnp.maximum(jnp.abs(near), jnp.abs(eigenvalue)) + error
        # At a kink second differences grow as 1 / h. Of a smooth f, terms of fourth order make the first ratio at most
        # 5/4 where the other is above 1.
        grows = (nearer > GROWTH * near) & (near > GROWTH * far) & (far > 0)
        grows |= (nearer < GROWTH * near) & (near < GROWTH * far) & (far < 0)
        grows &= (jnp.abs(nearer - near) > 32 * rounding) & (jnp.abs(eigenvalue) > margin)
        return (differ | grows) & jnp.any(v != 0)

    return jnp.any(jax.vmap(along)(eigenvalues, directions))


def _slope_contradicts(value: Callable, x: Array, gradient: Array, curvature: Array) -> Array:
    """Returns whether central differences of value along its gradient, (n,), contradict the gradient's length.

    They have to at every length of the step: one that is long crosses what bends f, one that is short is all rounding.

    Args:
        value: R^n -> R.
        x: The point, (n,).
        gradient: Of the free variables there, (n,).
        curvature: The largest there.
    """
    f, eps, length = value(x), jnp.finfo(x.dtype).eps, jnp.linalg.norm(gradient)
    v = gradient / jnp.maximum(length, jnp.finfo(x.dtype).tiny)
    # f changes by its own size over |f| / |gradient|; the third root balances rounding and truncation.
    h = jnp.maximum(eps ** (1 / 3) * jnp.abs(f) / length, 640 * eps**0.5 * jnp.sum(jnp.abs(v * x)))
    h = jnp.where((h > 0) & jnp.isfinite(h), h, eps ** (1 / 3))
    # The gradient is another one at a distance of its length over the curvature.
    h = jnp.where(curvature > 0, jnp.minimum(h, 0.1 * length / curvature), h)

    def differs(h):
        near, far = ((value(x + step * v) - value(x - step * v)) / (2 * step) for step in (h, 2 * h))
        error = 4 * jnp.abs(near - far) + 64 * eps * jnp.abs(f) / h
        return jnp.abs(near - length) > DISAGREEMENT * jnp.maximum(jnp.abs(near), length) + error

    return jnp.all(jax.vmap(differs)(h / jnp.array([1, 8, 64], x.dtype)))


def _dense_spectrum(value: Callable, x: Array, gradient: Array, free: Array):
    """Returns the extreme eigenvalues of the free part of the Hessian, how many are negative, the margin, eigenvectors.

    The eigenvectors, (2, n), are those of the extreme eigenvalues.
    """
    both = free[:, None] & free[None, :]
    whole = hessian(value)

    def reduced(x):
        return jnp.where(both, whole(x), 0.0)

    H = reduced(x)
    # Held variables get the mean of the eigenvalues of the others, which is never an extreme eigenvalue.
    mean = jnp.trace(H) / jnp.maximum(jnp.sum(free), 1)
    eigenvalues, vectors = jnp.linalg.eigh(H + jnp.diag(jnp.where(free, 0.0, mean)))
    along = vectors.T @ gradient
    step = vectors @ jnp.where(along == 0, 0.0, along / eigenvalues)
    # The critical point nearby is a Newton step away: the margin is twice the change of the Hessian on the way there.
    # A step of zero moves nothing, also where third derivatives do not exist.
    moved = jnp.where(jnp.any(step != 0), 2 * jnp.linalg.norm(_change(value, reduced, x, step)), 0)
    margin = moved + ROUNDING * x.size * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(eigenvalues))
    index = jnp.sum(eigenvalues < -margin) - jnp.where(mean < -margin, jnp.sum(~free), 0)
    return eigenvalues[0], eigenvalues[-1], index, margin, vectors[:, jnp.array([0, -1])].T


def _change(value: Callable, second: Callable, x: Array, step: Array) -> Array:
    """Returns the change of a second derivative of `value` on the way from x to x + step, to first order in the step.

    JAX cannot differentiate some functions that define only their reverse mode three times, `odeint` for one. For
    these functions the change is the difference between both ends.
    """
    if has_only_reverse_mode(value, x):
        return second(x + step) - second(x)
    return jax.jvp(second, (x,), (step,))[1]


def _lanczos_spectrum(value: Callable, x: Array, gradient: Array, free: Array):
    """Returns the same for many variables, by Lanczos' method: each vector is made orthogonal to all before it."""
    product = hessian_vector_product(value)
    steps = min(KRYLOV, x.size)

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
    # The start contains the gradient, so that the Krylov space contains the Newton step.
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
    # As above: twice the change of the Hessian, along the extreme directions, on the way of a Newton step.
    along = vectors.T @ (basis @ gradient)
    way = basis.T @ (vectors @ jnp.where(along == 0, 0.0, along / values))
    changes = jax.vmap(lambda v: _change(value, lambda x: product(x, v), x, way))((basis.T @ extreme).T)
    moved = jnp.where(jnp.any(way != 0), 2 * jnp.max(jnp.linalg.norm(jnp.where(free, changes, 0.0), axis=1)), 0)
    margin = residual + moved + ROUNDING * x.size * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(values))
    index = jnp.sum(values < -margin) - jnp.where(diagonal[0] < -margin, jnp.sum(~used), 0)
    return values[0], values[-1], index, margin, (basis.T @ extreme).T
