"""Gradient descent with a line search: no learning rate to choose (Barzilai and Borwein 1988; Raydan 1997)."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import dot
from jaxcalc.methods.method import Iterate, Method, register
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.parts import line_search
from jaxcalc.methods.parts.descent_search import aim, move
from jaxcalc.methods.parts.line_search import EXPANSION, LineSearch

# A step may raise the value, but not above the highest of this many last values (Raydan 1997).
MEMORY = 10


class SteepestDescentState(NamedTuple):
    """The search along -gradient, and the values of the last iterates."""

    iterate: Iterate
    direction: Array  # (n, L)
    search: LineSearch
    fresh: Array  # (L,) the first length of the search is a guess from x alone
    values: Array  # (MEMORY, L) the values of the last iterates, the latest last


@register
@dataclasses.dataclass(frozen=True)
class SteepestDescent(Method):
    """Gradient descent with a line search; see `steepest_descent`."""

    takes = "gradients, 4 n numbers"
    suits = "easy problems, no learning rate to choose"
    learns_curvature = False
    compares_variables = False

    def init(self, x0: Array, box: Box) -> SteepestDescentState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        lanes, iterate = x0.shape[1], Iterate.at_start(x0, has_model=True)
        search, values = line_search.at_rest(iterate.value), jnp.full((MEMORY, lanes), -jnp.inf, x0.dtype)
        fresh = jnp.ones(lanes, bool)
        return SteepestDescentState(iterate, jnp.zeros_like(x0), search, fresh, values)

    def step(self, state: SteepestDescentState, evaluation: Evaluation, box: Box) -> SteepestDescentState:
        """Tests the trial; where it is accepted, begins a search along -gradient."""
        reference = jnp.where(state.iterate.nit < 0, jnp.inf, jnp.max(state.values, axis=0))
        moved = move(state, evaluation, box, curvature=None, reference=reference)
        at = moved.iterate
        length, unknown = _spectral_length(dot(moved.s, moved.s), dot(moved.s, moved.y), state.search)
        trial, direction, search, fresh, promise = aim(moved, -at.gradient, unknown, state.direction, box, length)
        iterate = at._replace(trial=trial, stalled=moved.exhausted & state.fresh, promise=promise)
        fresh = jnp.where(moved.accepted | moved.exhausted, fresh, state.fresh)
        later = jnp.concatenate([state.values[1:], at.value[None]])
        values = jnp.where(moved.accepted, later, state.values)
        return SteepestDescentState(iterate, direction, search, fresh, values)

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
    """Returns the length s's / s'y, or a multiple of the last one where s'y <= 0, and where there is no such length."""
    length = jnp.where(sy > 0, ss / sy, EXPANSION * search.step_length)
    known = (ss > 0) & (length > 0) & jnp.isfinite(length)
    return jnp.where(known, length, 1), ~known
