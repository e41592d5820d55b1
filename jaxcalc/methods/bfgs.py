"""The method of Broyden, Fletcher, Goldfarb and Shanno (1970), with the inverse Hessian held as a matrix."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.methods import line_search
from jaxcalc.methods.lane_algebra import dot, kernel, symmetric_matvec, symmetric_update
from jaxcalc.methods.line_search import LineSearch
from jaxcalc.methods.method import Evaluation, Method, register

# The first step moves x by this share of its own length: too short is mended by the search in two trials, too long
# may leave the basin of the start.
FIRST_STEP = 0.01


class BFGSState(NamedTuple):
    """H stands for the inverse Hessian, s for a step and y for the change of the gradient along it."""

    trial: Array  # (n, L)
    x: Array  # (n, L)
    value: Array  # (L,)
    gradient: Array  # (n, L)
    nit: Array  # (L,)
    stalled: Array  # (L,)
    direction: Array  # (n, L), -H gradient
    search: LineSearch
    H: Array  # (n, n, L)
    fresh: Array  # (L,) H stands for the identity, of a scale that the next pair (s, y) tells


@register
@dataclasses.dataclass(frozen=True)
class BFGS(Method):
    """BFGS; see `bfgs`."""

    def init(self, x0: Array, lower: Array | None, upper: Array | None) -> BFGSState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        n, lanes = x0.shape
        value, zeros = jnp.full(lanes, jnp.inf, x0.dtype), jnp.zeros_like(x0)
        never, nit = jnp.zeros(lanes, bool), jnp.full(lanes, -1, jnp.int32)
        search, H = line_search.at_rest(value), jnp.zeros((n, n, lanes), x0.dtype)
        return BFGSState(x0, x0, value, zeros, nit, never, zeros, search, H, ~never)

    def step(self, state: BFGSState, evaluation: Evaluation, lower: Array | None, upper: Array | None) -> BFGSState:
        """Judges the trial; where it is accepted, updates H and begins a search along -H gradient."""
        slope = dot(evaluation.gradient, state.direction)
        search, accepted, exhausted = line_search.advance(state.search, state.value, evaluation.value, slope)
        value = jnp.where(accepted, evaluation.value, state.value)
        x, gradient, s, y = _move(state, evaluation, accepted)

        pair = _pair(dot(s, y), dot(y, y), state.fresh)
        Hg, Hy = _products(state, symmetric_matvec(state.H, gradient), gradient, y, pair.scale)
        w = _correction(s, Hy, pair.rho, dot(y, Hy))
        H = symmetric_update(state.H, pair.keep, pair.shift, s, w)
        downhill = _direction(Hg, s, w, dot(s, gradient), dot(w, gradient))

        slope, gg, xx = dot(gradient, downhill), dot(gradient, gradient), dot(x, x)
        begun, fresh, slope, step_length = _aim(accepted, exhausted, pair.fresh, value, slope, gg, xx)
        search = line_search.begin(search, begun, value, slope, step_length)
        direction, trial = _next_trial(x, gradient, downhill, state.direction, search.step_length, begun, fresh)
        nit, stalled = state.nit + accepted, exhausted & state.fresh
        return BFGSState(trial, x, value, gradient, nit, stalled, direction, search, H, fresh)


def bfgs() -> BFGS:
    """The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno.

    Steps along -H g to a point that satisfies the weak Wolfe conditions, with the inverse Hessian H learnt from the
    steps s and the changes y of the gradient along them,

        H <- (I - rho s y') H (I - rho y s') + rho s s',    rho = 1 / s'y.

    It keeps n^2 numbers a problem and suits up to some hundred variables. The steps are the same when the function or
    the variables are multiplied by a constant.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> bool(jc.minimize(lambda x: (x - 3) ** 4, 0.0, method=jc.methods.bfgs()).success)
        True

    Source: J. Nocedal and S. Wright, Numerical Optimization, chapter 6 (2006).
    """
    return BFGS()


class Pair(NamedTuple):
    """What the pair (s, y) says of H: H <- keep H + shift I + corrections of weight rho."""

    rho: Array
    scale: Array
    keep: Array
    shift: Array
    fresh: Array


@kernel
def _move(state: BFGSState, evaluation: Evaluation, accepted: Array):
    # The start has no step behind it. A rejected trial may hold NaN, which no factor of zero would remove.
    stepped = accepted & (state.nit >= 0)
    s = jnp.where(stepped, state.trial - state.x, 0)
    y = jnp.where(stepped, evaluation.gradient - state.gradient, 0)
    x = jnp.where(accepted, state.trial, state.x)
    gradient = jnp.where(accepted, evaluation.gradient, state.gradient)
    return x, gradient, s, y


@kernel
def _pair(sy: Array, yy: Array, fresh: Array) -> Pair:
    """Without a usable pair rho = 0 leaves H as it is; a fresh H takes the scale s'y / y'y of its first pair."""
    rho, scale = 1 / sy, sy / yy
    usable = (sy > 0) & jnp.isfinite(rho) & jnp.isfinite(scale)
    first = fresh & usable
    scale = jnp.where(first, scale, 1)
    return Pair(
        jnp.where(usable, rho, 0),
        scale,
        jnp.where(first, 0, 1).astype(sy.dtype),
        jnp.where(first, scale, 0),
        fresh & ~usable,
    )


@kernel
def _products(state: BFGSState, Hg: Array, gradient: Array, y: Array, scale: Array):
    """Returns H g and H y; since H (g - y) = -direction, one product with the matrix serves both."""
    Hg = jnp.where(state.fresh, scale * gradient, Hg)
    return Hg, jnp.where(state.fresh, scale * y, Hg + state.direction)


@kernel
def _correction(s: Array, Hy: Array, rho: Array, yHy: Array) -> Array:
    """Returns w such that the update of H is s w' + w s'."""
    return 0.5 * rho * (1 + rho * yHy) * s - rho * Hy


@kernel
def _direction(Hg: Array, s: Array, w: Array, sg: Array, wg: Array) -> Array:
    return -(Hg + sg * w + wg * s)


@kernel
def _aim(accepted: Array, exhausted: Array, fresh: Array, value: Array, slope: Array, gg: Array, xx: Array):
    """Says where a search begins, whether along -gradient since H failed or points uphill, its slope and first step."""
    fresh = fresh | exhausted | ~(slope < 0)
    # The length of a first step scales as x and f do (Hager and Zhang 2005, step I0).
    unit = 1 / gg
    by_value = jnp.square(FIRST_STEP * value) * unit
    first = jnp.sqrt(unit * jnp.where(xx > 0, FIRST_STEP**2 * xx, by_value))
    first = jnp.where((first > 0) & jnp.isfinite(first), first, jnp.sqrt(unit))
    return accepted | exhausted, fresh, jnp.where(fresh, -gg, slope), jnp.where(fresh, first, 1)


@kernel
def _next_trial(
    x: Array, gradient: Array, downhill: Array, direction: Array, step_length: Array, begun: Array, fresh: Array
):
    direction = jnp.where(begun, jnp.where(fresh, -gradient, downhill), direction)
    return direction, x + step_length * direction
