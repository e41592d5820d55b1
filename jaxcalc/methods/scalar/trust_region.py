"""The trust-region method with second derivatives and an exact step (Moré and Sorensen 1983)."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import cholesky, dot, symmetric_matvec
from jaxcalc.methods.method import Iterate, Method, register
from jaxcalc.methods.needs import HESSIAN, Need, WithHessian
from jaxcalc.methods.parts.initial_scaling import initial_scaling
from jaxcalc.methods.parts.subproblem import norm_bound, solve_subproblem
from jaxcalc.methods.parts.trust_radius import (
    adapted_radius,
    first_radius,
    kept_promise,
    reduction_ratio,
    seen_radius,
)
from jaxcalc.methods.scalar.trust_ncg import trust_ncg

# The most variables whose Hessian is formed and factored.
MOST_DENSE = 32
# An eigenvalue below -ROUNDING n eps times the Hessian's norm is negative whatever the rounding.
ROUNDING = 10


class TrustRegionState(NamedTuple):
    """The model m(s) = f + g's + s'Bs/2 at x, and how far it is trusted."""

    iterate: Iterate
    hessian: Array  # (n, n, L)
    radius: Array  # (L,)
    shift: Array  # (L,) lambda of the last step
    predicted: Array  # (L,) m(0) - m(trial - x), at least 0
    indefinite: Array  # (L,) the Hessian of the free variables has a negative eigenvalue
    widened: Array  # (L,) the region at x has been widened to where a fall would be seen
    D: Array  # (n, L) the initial scaling; the region is |s / root of D| <= radius


@register
@dataclasses.dataclass(frozen=True)
class TrustRegion(Method):
    """The trust-region method with Hessians; see `trust_region`."""

    needs: ClassVar[Need] = HESSIAN
    takes = "Hessians; above 32 variables products with them"
    factors_matrices = True
    suits = "the hardest problems, the fewest evaluations; leaves saddles"

    def init(self, x0: Array, box: Box) -> TrustRegionState:
        """Returns a state whose trial, the start, is accepted if it is finite."""
        lanes = x0.shape[1]
        zeros, hessian = jnp.zeros(lanes, x0.dtype), jnp.zeros((len(x0), *x0.shape), x0.dtype)
        never = jnp.zeros(lanes, bool)
        return TrustRegionState(
            Iterate.at_start(x0, has_model=True), hessian, zeros, zeros, zeros, never, never, D=jnp.ones_like(x0)
        )

    def step(self, state: TrustRegionState, evaluation: WithHessian, box: Box) -> TrustRegionState:
        """Tests the trial by the model's prediction, adapts the radius and minimises the model in the new region."""
        old = state.iterate
        before, after = box.reduced(old.x, old.gradient), box.reduced(old.trial, evaluation.gradient)
        ratio, accepted, lost = reduction_ratio(state, evaluation.value, before, after)
        at = old.moved(accepted, evaluation)
        hessian = jnp.where(accepted, _finite(evaluation.hessian), state.hessian)

        # The model is that of z = x / unit; units are powers of two, so that no bound is missed by rounding.
        D = initial_scaling(old.nit < 0, at.x, at.gradient, state.D)
        unit = jax.lax.reduce_precision(jnp.sqrt(D), jnp.finfo(at.x.dtype).nexp, 0)
        z, box = at.x / unit, box.scaled(unit)
        g, model = _reduced_model(z, *_in_units(unit, at.gradient, hessian), box)
        first = first_radius(dot(z, z), dot(g, g), dot(g, symmetric_matvec(model, g)))
        step = (old.trial - old.x) / unit
        radius = adapted_radius(state, ratio, jnp.sqrt(dot(step, step)), first)
        radius, unseen = seen_radius(state, lost, evaluation.value, radius)
        lost, widened = lost & ~unseen, (state.widened | unseen) & ~accepted
        s, shift = solve_subproblem(model, g, radius, state.shift)
        aimed, predicted = _best_inside(z, g, model, s, radius, shift, box)
        promise = kept_promise(old.promise, accepted, dot(s, s), radius, predicted)
        trial = unit * aimed
        # A model that has overflowed promises nothing that is known.
        promise = jnp.where(jnp.isfinite(norm_bound(model)) & jnp.isfinite(dot(g, g)), promise, jnp.inf)
        iterate = at._replace(trial=trial, stalled=lost | jnp.all(trial == at.x, axis=0), promise=promise)
        return TrustRegionState(iterate, hessian, radius, shift, predicted, _is_indefinite(model), widened, D)

    def for_size(self, n: int) -> Method:
        """Returns conjugate gradients in the same region where the Hessian would be large."""
        return self if n <= MOST_DENSE else trust_ncg()

    def has_negative_curvature(self, state: TrustRegionState) -> Array:
        """Returns where the Hessian of the free variables is indefinite: the model's minimiser moves along it."""
        return state.indefinite


def trust_region() -> TrustRegion:
    """The trust-region method: Newton's method with the Hessian, in a region where its model is trusted.

    Minimises the model m(s) = f + g's + s'Bs/2 of gradient g and Hessian B exactly over |s| <= radius, whatever the
    signs of B's eigenvalues: (B + lambda I) s = -g with B + lambda I positive semidefinite. The radius grows where f
    falls as promised and shrinks where it does not. Directions of negative curvature are followed, so that saddles are
    left, also by a start that lies on one: a small gradient is SUCCESS only where B has no eigenvalue below zero beyond
    rounding, or f does not fall as it says. Near a minimum the steps are Newton's and converge quadratically.

    Each evaluation includes the Hessian, n times the work of a gradient, and each step some factorisations of it: the
    most robust choice, and the one with the fewest evaluations, up to some dozens of variables. Above 32 variables it
    is `trust_ncg`, which needs products of the Hessian alone. The steps are the same when the function or the variables
    are multiplied by a constant.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> saddle = lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4
        >>> result = jc.minimize(saddle, jnp.zeros(2), method="trust_region")
        >>> bool(result.success), round(abs(float(result.x[1])), 4)
        (True, 1.4142)

    Source: J. Moré and D. Sorensen, Computing a trust region step (1983); A. Conn, N. Gould and Ph. Toint, Trust-region
    methods, chapters 6, 7 and 17 (2000).
    """
    return TrustRegion()


def _is_indefinite(model: Array) -> Array:
    """Returns where the model has an eigenvalue that is negative beyond rounding, (L,)."""
    norm = norm_bound(model)
    _, positive = cholesky(model, ROUNDING * len(model) * jnp.finfo(model.dtype).eps * norm)
    return ~positive & (norm > 0)


@kernel
def _finite(hessian: Array) -> Array:
    # Where second derivatives do not exist the model does without curvature.
    return jnp.where(jnp.isfinite(hessian), hessian, 0)


@kernel
def _in_units(unit: Array, gradient: Array, hessian: Array) -> tuple[Array, Array]:
    """Returns gradient and Hessian with respect to x / unit."""
    return unit * gradient, unit[:, None] * unit[None, :] * hessian


def _reduced_model(x: Array, gradient: Array, hessian: Array, box: Box):
    """Returns gradient and Hessian of f as a function of the variables that may move."""
    if not box.is_bounded:
        return gradient, hessian
    free = box.movable(x, gradient)
    return jnp.where(free, gradient, 0), _free_block(hessian, free, norm_bound(hessian))


@kernel
def _free_block(hessian: Array, free: Array, norm: Array) -> Array:
    """Returns the Hessian of the free variables; along held variables its curvature is `norm`."""
    eye = jnp.eye(len(free), dtype=hessian.dtype)[:, :, None]
    return jnp.where(free[:, None] & free[None, :], hessian, norm * eye)


def _best_inside(x: Array, g: Array, model: Array, s: Array, radius: Array, shift: Array, box: Box):
    """Returns the trial and the model's predicted fall there.

    Without bounds the trial is x + s. With bounds it is the best of four steps projected on the box: s; s for the
    variables that s takes to their bounds, with the model's minimiser given these for the others; one along -g; and -s,
    which matters where there is no slope and s leads out of the box along negative curvature.
    """
    if not box.is_bounded:
        return x + s, _predicted_fall(g, model, s)
    held = box.project(x + s) - x
    held = jnp.where(held == s, 0, held)
    free = held == 0
    rest = jnp.where(free, g + symmetric_matvec(model, held), 0)
    answer, _ = solve_subproblem(_free_block(model, free, norm_bound(model)), rest, radius, shift)
    steepest = -_cauchy(radius, dot(g, g), dot(g, symmetric_matvec(model, g))) * g
    best, predicted = _projected(x, g, model, s, box)
    for step in (held + answer, steepest, -s):
        other, fall = _projected(x, g, model, step, box)
        best, predicted = jnp.where(fall > predicted, other, best), jnp.maximum(fall, predicted)
    return box.project(x + best), predicted


def _projected(x: Array, g: Array, model: Array, s: Array, box: Box) -> tuple[Array, Array]:
    """Returns the step to the projection of x + s, cut where the model would rise along it, and the model's fall."""
    s = box.project(x + s) - x
    s = _shortened(s, dot(g, s), dot(s, symmetric_matvec(model, s)))
    return s, _predicted_fall(g, model, s)


@kernel
def _shortened(s: Array, slope: Array, curvature: Array) -> Array:
    # At a saddle or a maximum the slope is zero, and the model falls by its curvature alone.
    falls = (slope < 0) | ((slope <= 0) & (curvature < 0))
    return jnp.where(falls, jnp.where(curvature > -slope, -slope / curvature, 1), 0) * s


def _predicted_fall(g: Array, model: Array, s: Array) -> Array:
    return -(dot(g, s) + 0.5 * dot(s, symmetric_matvec(model, s)))


@kernel
def _cauchy(radius: Array, gg: Array, gBg: Array) -> Array:
    """Returns the step length to the least value of the model along -g in the region."""
    to_edge = radius / jnp.sqrt(gg)
    return jnp.where(gg > 0, jnp.where(gBg > 0, jnp.minimum(gg / gBg, to_edge), to_edge), 0)
