"""Newton's method in a region of trust, with second derivatives and an exact step (Moré and Sorensen 1983)."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.box import is_free, reduced
from jaxcalc.methods.lane_algebra import cholesky, dot, symmetric_matvec
from jaxcalc.methods.method import Evaluation, Method, register
from jaxcalc.methods.metric import starting_metric
from jaxcalc.methods.region import adapted_radius, first_radius, judge
from jaxcalc.methods.subproblem import norm_bound, solve_subproblem
from jaxcalc.methods.trust_ncg import trust_ncg
from jaxcalc.programs import kernel

# The most variables whose Hessian is formed and factored.
MOST_DENSE = 32
# Curvature below this many n eps of the Hessian's size is surely negative.
ROUNDING = 10


class TrustRegionState(NamedTuple):
    """The model m(s) = f + g's + s'Bs/2 at x, and how far it is trusted."""

    trial: Array  # (n, L)
    x: Array  # (n, L)
    value: Array  # (L,)
    gradient: Array  # (n, L)
    nit: Array  # (L,)
    stalled: Array  # (L,)
    hessian: Array  # (n, n, L)
    radius: Array  # (L,)
    shift: Array  # (L,) lambda of the last step
    predicted: Array  # (L,) m(0) - m(trial - x), at least 0
    indefinite: Array  # (L,) the Hessian of the free variables is
    metric: Array  # (n, L) D; the region is a ball in units of its roots


@register
@dataclasses.dataclass(frozen=True)
class TrustRegion(Method):
    """Newton's method in a region of trust; see `trust_region`."""

    needs: ClassVar[str] = "hessian"

    def init(self, x0: Array, lower: Array | None, upper: Array | None) -> TrustRegionState:
        """Returns a state whose trial, the start, is accepted if it is finite."""
        n, lanes = x0.shape
        value, zeros = jnp.full(lanes, jnp.inf, x0.dtype), jnp.zeros(lanes, x0.dtype)
        never, nit = jnp.zeros(lanes, bool), jnp.full(lanes, -1, jnp.int32)
        hessian = jnp.zeros((n, n, lanes), x0.dtype)
        at = (x0, x0, value, jnp.zeros_like(x0), nit, never)
        return TrustRegionState(*at, hessian, zeros, zeros, zeros, never, jnp.ones_like(x0))

    def step(
        self, state: TrustRegionState, evaluation: Evaluation, lower: Array | None, upper: Array | None
    ) -> TrustRegionState:
        """Judges the trial by what the model promised, adapts the radius and solves the model in the new region."""
        before = reduced(state.x, state.gradient, lower, upper)
        after = reduced(state.trial, evaluation.gradient, lower, upper)
        ratio, accepted, lost = judge(state, evaluation, dot(before, before), dot(after, after))
        x = jnp.where(accepted, state.trial, state.x)
        value = jnp.where(accepted, evaluation.value, state.value)
        gradient = jnp.where(accepted, evaluation.gradient, state.gradient)
        hessian = jnp.where(accepted, _finite(jnp.asarray(evaluation.hessian)), state.hessian)

        # In units of the variables' sizes: powers of two, so that no bound is missed by rounding.
        metric = starting_metric(state.nit < 0, x, gradient, state.metric)
        unit = jax.lax.reduce_precision(jnp.sqrt(metric), jnp.finfo(x.dtype).nexp, 0)
        z, bounds = x / unit, tuple(None if side is None else side / unit for side in (lower, upper))
        g, model = _reduced_model(z, *_in_units(unit, gradient, hessian), *bounds)
        first = first_radius(dot(z, z), dot(g, g), dot(g, symmetric_matvec(model, g)))
        step = (state.trial - state.x) / unit
        radius = adapted_radius(state, ratio, jnp.sqrt(dot(step, step)), first)
        s, shift = solve_subproblem(model, g, radius, state.shift)
        aimed, predicted = _best_inside(z, g, model, s, radius, shift, bounds)
        trial = unit * aimed
        stalled = lost | jnp.all(trial == x, axis=0)
        nit, indefinite = state.nit + accepted, _is_indefinite(model)
        at = (trial, x, value, gradient, nit, stalled)
        return TrustRegionState(*at, hessian, radius, shift, predicted, indefinite, metric)

    def for_size(self, n: int) -> Method:
        """Returns conjugate gradients in the same region where the Hessian would be large."""
        return self if n <= MOST_DENSE else trust_ncg()

    def leaving(self, state: TrustRegionState) -> Array:
        """Returns where there is negative curvature, which the model's exact solution follows."""
        return state.indefinite


def trust_region() -> TrustRegion:
    """Newton's method, with the Hessian, in a region where its model is trusted.

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
    """Returns where an eigenvalue is negative beyond rounding, (L,)."""
    norm = norm_bound(model)
    _, positive = cholesky(model, ROUNDING * len(model) * jnp.finfo(model.dtype).eps * norm)
    return ~positive & (norm > 0)


@kernel
def _finite(hessian: Array) -> Array:
    # A model without curvature is of use where second derivatives do not exist.
    return jnp.where(jnp.isfinite(hessian), hessian, 0)


@kernel
def _in_units(unit: Array, gradient: Array, hessian: Array) -> tuple[Array, Array]:
    """Returns gradient and Hessian with respect to x / unit."""
    return unit * gradient, unit[:, None] * unit[None, :] * hessian


def _reduced_model(x: Array, gradient: Array, hessian: Array, lower: Array | None, upper: Array | None):
    """Returns gradient and Hessian of f as a function of the free variables."""
    if lower is None or upper is None:
        return gradient, hessian
    free = is_free(x, gradient, lower, upper)
    return jnp.where(free, gradient, 0), _free_block(hessian, free, norm_bound(hessian))


@kernel
def _free_block(hessian: Array, free: Array, norm: Array) -> Array:
    """Returns the Hessian of the free variables, of curvature `norm` along the frozen ones."""
    eye = jnp.eye(len(free), dtype=hessian.dtype)[:, :, None]
    return jnp.where(free[:, None] & free[None, :], hessian, norm * eye)


def _best_inside(x: Array, g: Array, model: Array, s: Array, radius: Array, shift: Array, bounds: tuple):
    """Returns the trial and what the model promises there.

    That is x + s. With bounds it is the best of three steps projected on the box: s; s for the variables that it takes
    to their bounds, with the model's best answer by the others; and one along -g.
    """
    if bounds[0] is None:
        return x + s, _promise(g, model, s)
    held = jnp.clip(x + s, *bounds) - x
    held = jnp.where(held == s, 0, held)
    free = held == 0
    rest = jnp.where(free, g + symmetric_matvec(model, held), 0)
    answer, _ = solve_subproblem(_free_block(model, free, norm_bound(model)), rest, radius, shift)
    steepest = -_cauchy(radius, dot(g, g), dot(g, symmetric_matvec(model, g))) * g
    best, promised = _projected(x, g, model, s, bounds)
    for step in (held + answer, steepest):
        other, promise = _projected(x, g, model, step, bounds)
        best, promised = jnp.where(promise > promised, other, best), jnp.maximum(promise, promised)
    return jnp.clip(x + best, *bounds), promised


def _projected(x: Array, g: Array, model: Array, s: Array, bounds: tuple) -> tuple[Array, Array]:
    """Returns the step to the projection of x + s, no longer than the model falls along it, and what that promises."""
    s = jnp.clip(x + s, *bounds) - x
    s = _shortened(s, dot(g, s), dot(s, symmetric_matvec(model, s)))
    return s, _promise(g, model, s)


@kernel
def _shortened(s: Array, slope: Array, curvature: Array) -> Array:
    return jnp.where(slope < 0, jnp.where(curvature > -slope, -slope / curvature, 1), 0) * s


def _promise(g: Array, model: Array, s: Array) -> Array:
    return -(dot(g, s) + 0.5 * dot(s, symmetric_matvec(model, s)))


@kernel
def _cauchy(radius: Array, gg: Array, gBg: Array) -> Array:
    """Returns the step length to the least value of the model along -g in the region."""
    to_edge = radius / jnp.sqrt(gg)
    return jnp.where(gg > 0, jnp.where(gBg > 0, jnp.minimum(gg / gBg, to_edge), to_edge), 0)
