"""The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno: the inverse Hessian as its last few updates."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods import line_search
from jaxcalc.methods.box import reduced
from jaxcalc.methods.descent_search import aim, judge
from jaxcalc.methods.lane_algebra import dot
from jaxcalc.methods.line_search import LineSearch
from jaxcalc.methods.method import Evaluation, Method, register, static_field
from jaxcalc.methods.metric import starting_metric
from jaxcalc.programs import kernel


class History(NamedTuple):
    """The last m pairs of steps s and changes of the gradient y, newest first; rho = 0 where there is none."""

    s: Array  # (m, n, L)
    y: Array  # (m, n, L)
    rho: Array  # (m, L), 1 / s'y


class LBFGSState(NamedTuple):
    """The history stands for the inverse Hessian."""

    trial: Array  # (n, L)
    x: Array  # (n, L)
    value: Array  # (L,)
    gradient: Array  # (n, L)
    nit: Array  # (L,)
    stalled: Array  # (L,)
    direction: Array  # (n, L)
    search: LineSearch
    history: History
    fresh: Array  # (L,) the search is along -D gradient and the history is to be forgotten
    metric: Array  # (n, L) D, what H is made of


@register
@dataclasses.dataclass(frozen=True)
class LBFGS(Method):
    """L-BFGS; see `lbfgs`."""

    history: int = static_field(10)
    first_step: Array | float | None = None

    def init(self, x0: Array, lower: Array | None, upper: Array | None) -> LBFGSState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        n, lanes = x0.shape
        value, zeros = jnp.full(lanes, jnp.inf, x0.dtype), jnp.zeros_like(x0)
        never, nit = jnp.zeros(lanes, bool), jnp.full(lanes, -1, jnp.int32)
        pairs, numbers = jnp.zeros((self.history, n, lanes), x0.dtype), jnp.zeros((self.history, lanes), x0.dtype)
        history = History(pairs, pairs, numbers)
        search, metric = line_search.at_rest(value), jnp.ones_like(x0)
        return LBFGSState(x0, x0, value, zeros, nit, never, zeros, search, history, ~never, metric)

    def step(self, state: LBFGSState, evaluation: Evaluation, lower: Array | None, upper: Array | None) -> LBFGSState:
        """Judges the trial; where it is accepted, remembers the pair and begins a search along -H gradient."""
        verdict = judge(state, evaluation, lower, upper)
        metric = starting_metric(state.nit < 0, verdict.x, verdict.gradient, state.metric)
        history, metric, fresh = _remember(state.history, metric, state.fresh, verdict.s, verdict.y)
        downhill = _two_loops(history, metric, reduced(verdict.x, verdict.gradient, lower, upper))
        trial, direction, search, fresh = aim(
            verdict, downhill, fresh, state.direction, lower, upper, metric=metric, first_step=self.first_step
        )
        nit, stalled = state.nit + verdict.accepted, verdict.exhausted & state.fresh
        x, value, gradient = verdict.x, verdict.value, verdict.gradient
        return LBFGSState(trial, x, value, gradient, nit, stalled, direction, search, history, fresh, metric)


def lbfgs(history: int = 10, first_step: float | None = None) -> LBFGS:
    """The limited-memory quasi-Newton method: BFGS from the last few steps alone.

    Steps along -H g to a point that satisfies the weak Wolfe conditions. H is never formed: it is what the updates

        H <- (I - rho s y') H (I - rho y s') + rho s s',    rho = 1 / s'y,

    by the last `history` steps s and changes y of the gradient make of a diagonal D, and H g follows from 2 `history`
    inner products. D remembers, variable by variable, what has left the history: its inverse is the diagonal of the
    update that it would make of itself. It keeps 2 n `history` numbers a problem and suits hundreds of variables and
    more. The steps are the same when the function or the variables are multiplied by a constant.

    Args:
        history: How many pairs (s, y) a problem remembers, at least 1. Static: another number compiles again.
        first_step: The length of the first step in lengths of x; None: 0.01, and in a box, which keeps x where it
            belongs, 3. A short one ends in the basin of its start; most problems with bounds end at some of them.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> bool(jc.minimize(lambda x: (x - 3) ** 4, 0.0, method=jc.methods.lbfgs(history=5)).success)
        True

    Source: D. Liu and J. Nocedal, On the limited memory BFGS method for large scale optimization (1989); J. Gilbert
    and C. Lemaréchal, Some numerical experiments with variable-storage quasi-Newton algorithms (1989), for D.
    """
    if history < 1:
        raise ValueError(f"history is {history}; L-BFGS needs at least one pair: use history=1 or more.")
    return LBFGS(history, first_step)


def _remember(history: History, metric: Array, fresh: Array, s: Array, y: Array) -> tuple[History, Array, Array]:
    """Returns the history with this pair in front and D, where it is usable, and where no pair is known yet."""
    sy, yy = dot(s, y), dot(y, y)
    usable, rho, scale = _pair(sy, dot(y, metric * y))
    metric = _learn(metric, rho, scale, sy / yy, s, y, dot(s, s / metric))
    # Lanes accept at different times. That every lane's newest pair comes first costs a pass over the pairs; a ring
    # with a position of its own in every lane costs the same pass to write and a gather for every read.
    known = jnp.where(fresh, 0, history.rho)
    pairs = (_shift(history.s, s, usable), _shift(history.y, y, usable), _shift(known, rho, usable))
    return History(*pairs), metric, fresh & ~usable


@kernel
def _pair(sy: Array, yDy: Array) -> tuple[Array, Array, Array]:
    """Returns whether the pair shows positive curvature, its rho and the scale of D that it tells."""
    rho, scale = 1 / sy, sy / yDy
    usable = (sy > 0) & jnp.isfinite(rho) & jnp.isfinite(scale)
    return usable, jnp.where(usable, rho, 0), jnp.where(usable, scale, 1)


@kernel
def _learn(metric: Array, rho: Array, scale: Array, mean: Array, s: Array, y: Array, sBs: Array) -> Array:
    """Returns D at the scale of the pair, and then with its inverse B as the diagonal of what BFGS makes of it.

    B <- B + y y' / s'y - B s s'B / s'Bs. No entry goes further from s'y / y'y than rounding could still tell.
    """
    B = 1 / (scale * metric)
    learnt = 1 / (B + rho * y**2 - (B * s) ** 2 * scale / sBs)
    learnt = jnp.where((learnt > 0) & jnp.isfinite(learnt), learnt, scale * metric)
    most = jnp.finfo(s.dtype).eps ** -0.5
    return jnp.where(rho > 0, jnp.clip(learnt, mean / most, mean * most), metric)


@kernel
def _shift(entries: Array, new: Array, usable: Array) -> Array:
    """Returns the entries with the new one before them and without the oldest, where it is usable."""
    return jnp.where(usable, jnp.concatenate([new[None], entries[:-1]]), entries)


def _two_loops(history: History, metric: Array, gradient: Array) -> Array:
    """Returns -H gradient by the two-loop recursion (Nocedal 1980); a pair of rho = 0 changes nothing."""
    s, y, rho = history
    count = len(rho)

    def newest_first(k, carry):
        q, weights = carry
        weight = rho[k] * dot(s[k], q)
        return q - weight * y[k], weights.at[k].set(weight)

    def oldest_first(turn, r):
        k = count - 1 - turn
        return r + (weights[k] - rho[k] * dot(y[k], r)) * s[k]

    # Loops, not unrolled: the same speed, and half the time to compile.
    q, weights = jax.lax.fori_loop(0, count, newest_first, (gradient, jnp.zeros_like(rho)))
    return -jax.lax.fori_loop(0, count, oldest_first, metric * q)
