"""The trust-region method with conjugate gradients, from Hessian-vector products alone (Steihaug 1983)."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import dot
from jaxcalc.methods.method import Iterate, Method, register
from jaxcalc.methods.needs import HESSIAN_PRODUCT, Need, WithProduct
from jaxcalc.methods.parts.trust_radius import SHRINKAGE, adapted_radius, first_radius, kept_promise, reduction_ratio

# The model is minimised until its gradient is this share of f's gradient; near a minimum, more exactly.
FORCING = 0.5
# The first direction is -g plus this share of its length elsewhere: -g alone may miss all negative curvature.
DISTURBANCE = 1e-3
# p'Bp below -ROUNDING eps |p| |Bp| is negative whatever the rounding.
ROUNDING = 10


class TrustNCGState(NamedTuple):
    """The model m(s) = f + g's + s'Bs/2 at x, and the step s that conjugate gradients have reached so far."""

    iterate: Iterate  # its trial is x itself while s is sought
    direction: Array  # (n, L) p, whose product with B is to be evaluated; zero where a trial is
    radius: Array  # (L,), zero before the first product
    predicted: Array  # (L,)
    s: Array  # (n, L)
    Bs: Array  # (n, L)
    residual: Array  # (n, L) the model's gradient at s
    products: Array  # (L,) how many s has taken
    steepest: Array  # (L,) the longest gradient so far
    indefinite: Array  # (L,) negative curvature has been found at x


@register
@dataclasses.dataclass(frozen=True)
class TrustNCG(Method):
    """The trust-region method with conjugate gradients; see `trust_ncg`."""

    needs: ClassVar[Need] = HESSIAN_PRODUCT
    takes = "products of the Hessian with vectors"
    suits = "many variables, saddles"
    compares_variables = False

    def init(self, x0: Array, box: Box) -> TrustNCGState:
        """Returns a state whose trial, the start, is accepted if it is finite; its p serves where the gradient is 0."""
        lanes = x0.shape[1]
        zeros, zero = jnp.zeros_like(x0), jnp.zeros(lanes, x0.dtype)
        p = -_disturbed(zeros, zero, jnp.ones(lanes, bool))
        if box.is_bounded:  # at a bound p leads into the box
            p = jnp.where(box.lower < box.upper, jnp.where(x0 <= box.lower, -p, p), 0)
        return TrustNCGState(
            iterate=Iterate.at_start(x0, has_model=True),
            direction=p,
            radius=zero,
            predicted=zero,
            s=zeros,
            Bs=zeros,
            residual=-p,
            products=jnp.zeros(lanes, jnp.int32),
            steepest=zero,
            indefinite=jnp.zeros(lanes, bool),
        )

    def step(self, state: TrustNCGState, evaluation: WithProduct, box: Box) -> TrustNCGState:
        """Tests a trial, and begins anew where it is accepted; or takes one step of conjugate gradients."""
        old = state.iterate
        solving = jnp.any(state.direction != 0, axis=0) & (old.nit >= 0)
        before, after = box.reduced(old.x, old.gradient), box.reduced(old.trial, evaluation.gradient)
        ratio, accepted, lost = reduction_ratio(state, evaluation.value, before, after)
        accepted, lost = accepted & ~solving, lost & ~solving
        at, g = old.moved(accepted, evaluation), jnp.where(accepted, after, before)
        length = jnp.sqrt(dot(old.trial - old.x, old.trial - old.x))

        solving |= accepted & (old.nit < 0) & jnp.all(g == 0, axis=0)
        walk = _walk(state, before, _product(state, evaluation, box))
        radius = jnp.where(solving, walk.radius, adapted_radius(state, ratio, length, jnp.zeros_like(length)))
        first = _disturbed(g, dot(g, g), old.nit < 0)
        s, Bs, residual, direction = _choose(state, accepted & ~solving, solving, walk, first)
        direction = box.inward(at.x, g, direction)

        trying = jnp.where(solving, walk.done, ~accepted)
        trial, predicted = _aim(at.x, g, s, Bs, trying, box)
        stalled = lost | (trying & ((predicted <= 0) | jnp.all(trial == at.x, axis=0)))
        products = jnp.where(solving, state.products + 1, 0)
        steepest = jnp.maximum(state.steepest, jnp.sqrt(dot(g, g)))
        indefinite = jnp.where(solving, walk.indefinite, state.indefinite & ~accepted)
        promise = jnp.where(trying, predicted, jnp.inf)
        promise = kept_promise(old.promise, accepted, dot(s, s), radius, promise)
        iterate = at._replace(trial=trial, stalled=stalled, promise=promise)
        return TrustNCGState(iterate, direction, radius, predicted, s, Bs, residual, products, steepest, indefinite)

    def most_evaluations(self, n: int) -> int:
        """Returns 50 + n: an iteration takes up to n products."""
        return 50 + n

    def has_negative_curvature(self, state: TrustNCGState) -> Array:
        """Returns where negative curvature has been found, or is still looked for at a start of zero gradient."""
        return state.indefinite | ((state.steepest == 0) & jnp.any(state.direction != 0, axis=0))


def trust_ncg() -> TrustNCG:
    """The trust-region method with conjugate gradients: Newton's method from Hessian-vector products.

    Minimises the model m(s) = f + g's + s'Bs/2 of gradient g and Hessian B over |s| <= radius by conjugate gradients:
    from s = 0 along directions p of which only the products Bp are needed, until the model's gradient is a share of
    g that shrinks towards the minimum, or the edge of the region is reached, or a p of negative curvature, along which
    s then goes to the edge. A step along which f does not fall as promised is shortened.

    Each product is an evaluation, about three times the work of a gradient, and no matrix is kept: for hundreds of
    variables and more. Saddles are left, for conjugate gradients find negative curvature; a start of zero gradient is
    searched for it before it counts as a minimum. The steps are the same when the function or the variables are
    multiplied by a constant.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> saddle = lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4
        >>> result = jc.minimize(saddle, jnp.zeros(2), method="trust_ncg")
        >>> bool(result.success), round(abs(float(result.x[1])), 3)
        (True, 1.414)

    Source: T. Steihaug, The conjugate gradient method and trust regions in large scale optimization (1983); J. Nocedal
    and Y. Yuan, Combining trust region and line search techniques (1998), for the steps that are shortened.
    """
    return TrustNCG()


class Walk(NamedTuple):
    """Where one step of conjugate gradients on the model leads."""

    s: Array  # (n, L)
    Bs: Array  # (n, L)
    residual: Array  # (n, L)
    direction: Array  # (n, L)
    radius: Array  # (L,)
    done: Array  # (L,)
    indefinite: Array  # (L,)


def _product(state: TrustNCGState, evaluation: WithProduct, box: Box) -> Array:
    """Returns Bp of the model of variables that may move; without curvature where second derivatives do not exist."""
    product = jnp.where(jnp.isfinite(evaluation.product), evaluation.product, 0)
    return jnp.where(box.movable(state.iterate.x, state.iterate.gradient), product, 0)


@kernel
def _disturbed(g: Array, gg: Array, at_start: Array) -> Array:
    """Returns g; at the start plus a short vector without zeros, which has a share of every direction."""
    golden = (jnp.arange(1, len(g) + 1) * 0.6180339887498949) % 1
    anywhere = ((0.5 + golden) / jnp.linalg.norm(0.5 + golden)).astype(g.dtype)[:, None]
    share = jnp.where(at_start, jnp.where(gg > 0, DISTURBANCE * jnp.sqrt(gg), 1), 0)
    return g + share * anywhere


def _walk(state: TrustNCGState, g: Array, Bp: Array) -> Walk:
    """Takes one step along p, to where the model is least or to the edge of the region."""
    # A variable without slope and curvature, which f may not use at all, stays where it is.
    unused = (g == 0) & (Bp == 0)
    p, r = (jnp.where(unused, 0, vector) for vector in (state.direction, state.residual))
    s, gg = state.s, dot(g, g)
    pp, pBp, rr = dot(p, p), dot(p, Bp), dot(r, r)
    radius = jnp.where(state.radius > 0, state.radius, first_radius(dot(state.iterate.x, state.iterate.x), pp, pBp))
    length, to_edge = _step_length(rr, pBp, pp, dot(p, s), dot(s, s), radius, gg > 0)
    indefinite = pBp < -ROUNDING * jnp.finfo(p.dtype).eps * jnp.sqrt(pp * dot(Bp, Bp))
    s, Bs, residual = s + length * p, state.Bs + length * Bp, r + length * Bp
    # From x straight along p to the edge the model may fall further than by s: at a saddle s is zero.
    alone = jnp.where(dot(g, p) > 0, -1, 1) * radius / jnp.sqrt(pp)
    better = indefinite & (alone * (dot(g, p) + 0.5 * alone * pBp) < dot(g, s) + 0.5 * dot(s, Bs))
    s, Bs = jnp.where(better, alone * p, s), jnp.where(better, alone * Bp, Bs)
    left = dot(residual, residual)
    share = jnp.minimum(FORCING**2, jnp.sqrt(gg) / state.steepest)
    # Where g is zero the search is for negative curvature alone, and p is of length one.
    enough = jnp.where(gg > 0, share * gg, jnp.finfo(p.dtype).eps)
    done = to_edge | (left <= enough) | (state.products + 1 >= len(p))
    return Walk(s, Bs, residual, left / rr * p - residual, radius, done, indefinite)


@kernel
def _step_length(rr: Array, pBp: Array, pp: Array, ps: Array, ss: Array, radius: Array, bounded: Array):
    """Returns how far to go along p, and whether that is to the edge of the region.

    Where `bounded` is False the edge is no limit, unless p'Bp is negative.
    """
    gap = jnp.maximum((radius - jnp.sqrt(ss)) * (radius + jnp.sqrt(ss)), 0)
    root = jnp.sqrt(ps**2 + pp * gap)
    edge = jnp.where(pp > 0, jnp.where(ps > 0, gap / (ps + root), (root - ps) / pp), 0)
    least = rr / pBp
    to_edge = ~((pBp > 0) & ((least < edge) | ~bounded))
    return jnp.where(to_edge, edge, least), to_edge


def _choose(state: TrustNCGState, accepted: Array, solving: Array, walk: Walk, first: Array):
    """Returns s, Bs, the residual and p: zero at a new x, those of the walk, or a shorter s after a trial failed."""
    walking = solving & ~accepted
    s, Bs = (
        jnp.where(accepted, 0, jnp.where(walking, new, SHRINKAGE * old))
        for new, old in ((walk.s, state.s), (walk.Bs, state.Bs))
    )
    residual = jnp.where(accepted, first, walk.residual)
    direction = jnp.where(accepted, -first, jnp.where(walking & ~walk.done, walk.direction, 0))
    return s, Bs, residual, direction


def _aim(x: Array, g: Array, s: Array, Bs: Array, trying: Array, box: Box):
    """Returns the trial and the predicted fall there.

    The prediction is the model's. Where bounds bend s it is half of the slope along the bent step, and of its negative
    curvature, taken to be that of s.
    """
    aimed = x + s
    trial = jnp.where(trying, box.project(aimed), x)
    predicted = -(dot(g, s) + 0.5 * dot(s, Bs))
    if box.is_bounded:
        bent = jnp.any(trial != aimed, axis=0)
        share = dot(trial - x, trial - x) / dot(s, s)
        by_curvature = 0.5 * share * jnp.maximum(-dot(s, Bs), 0)
        predicted = jnp.where(bent, 0.5 * jnp.abs(dot(g, trial - x)) + by_curvature, predicted)
    return trial, jnp.where(trying, predicted, 0)
