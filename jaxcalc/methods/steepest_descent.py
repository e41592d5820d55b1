"""Gradient descent with a line search: no learning rate to choose (Barzilai and Borwein 1988; Raydan 1997)."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.methods import line_search
from jaxcalc.methods.descent_search import aim, judge
from jaxcalc.methods.lane_algebra import dot
from jaxcalc.methods.line_search import EXPANSION, LineSearch
from jaxcalc.methods.method import Evaluation, Method, register
from jaxcalc.programs import kernel

# A step may rise above the last value, but not above all of so many (Raydan 1997).
MEMORY = 10


class SteepestDescentState(NamedTuple):
    """What a search along -gradient needs, and no more."""

    trial: Array  # (n, L)
    x: Array  # (n, L)
    value: Array  # (L,)
    gradient: Array  # (n, L)
    nit: Array  # (L,)
    stalled: Array  # (L,)
    direction: Array  # (n, L)
    search: LineSearch
    fresh: Array  # (L,) the first length of the search is a guess from x alone
    values: Array  # (MEMORY, L) the values of the last iterates, the latest last


@register
@dataclasses.dataclass(frozen=True)
class SteepestDescent(Method):
    """Gradient descent with a line search; see `steepest_descent`."""

    def init(self, x0: Array, lower: Array | None, upper: Array | None) -> SteepestDescentState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        lanes = x0.shape[1]
        value, zeros = jnp.full(lanes, jnp.inf, x0.dtype), jnp.zeros_like(x0)
        never, nit = jnp.zeros(lanes, bool), jnp.full(lanes, -1, jnp.int32)
        search, values = line_search.at_rest(value), jnp.full((MEMORY, lanes), -jnp.inf, x0.dtype)
        return SteepestDescentState(x0, x0, value, zeros, nit, never, zeros, search, ~never, values)

    def step(
        self, state: SteepestDescentState, evaluation: Evaluation, lower: Array | None, upper: Array | None
    ) -> SteepestDescentState:
        """Judges the trial; where it is accepted, begins a search along -gradient."""
        reference = jnp.where(state.nit < 0, jnp.inf, jnp.max(state.values, axis=0))
        verdict = judge(state, evaluation, lower, upper, curvature=None, reference=reference)
        length, unknown = _spectral_length(dot(verdict.s, verdict.s), dot(verdict.s, verdict.y), state.search)
        trial, direction, search, fresh = aim(
            verdict, -verdict.gradient, unknown, state.direction, lower, upper, length
        )
        nit, stalled = state.nit + verdict.accepted, verdict.exhausted & state.fresh
        fresh = jnp.where(verdict.accepted | verdict.exhausted, fresh, state.fresh)
        x, value, gradient = verdict.x, verdict.value, verdict.gradient
        later = jnp.concatenate([state.values[1:], value[None]])
        values = jnp.where(verdict.accepted, later, state.values)
        return SteepestDescentState(trial, x, value, gradient, nit, stalled, direction, search, fresh, values)

    def default_maxiter(self, n: int) -> int:
        """Returns 10,000: the steps adapt to one curvature at a time, in any dimension."""
        return 10_000


def steepest_descent() -> SteepestDescent:
    """Gradient descent whose learning rate is found anew at every step.

        x <- x - t g,    t = s's / s'y,

    the inverse of the curvature along the last step s, over which the gradient changed by y. That is far faster than
    going to the minimum along each gradient, which zigzags, but the value may rise for a while; a step is shortened
    where the value would not fall sufficiently below the highest of the last 10.

    It keeps four vectors of n numbers a problem. Where n is small BFGS takes far fewer evaluations. The steps are the
    same when the function or the variables are multiplied by a constant.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> bool(jc.minimize(lambda x: (x - 3) ** 4, 0.0, method=jc.methods.steepest_descent()).success)
        True

    Source: J. Barzilai and J. Borwein, Two-point step size gradient methods (1988); M. Raydan, The Barzilai and Borwein
    gradient method for the large scale unconstrained minimization problem (1997); with bounds E. Birgin, J. Martínez
    and M. Raydan, Nonmonotone spectral projected gradient methods on convex sets (2000).
    """
    return SteepestDescent()


@kernel
def _spectral_length(ss: Array, sy: Array, search: LineSearch) -> tuple[Array, Array]:
    """Returns s's / s'y, a longer step than the last where the curvature is negative, and where neither is known."""
    length = jnp.where(sy > 0, ss / sy, EXPANSION * search.step_length)
    known = (ss > 0) & (length > 0) & jnp.isfinite(length)
    return jnp.where(known, length, 1), ~known
