"""The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno: the inverse Hessian as its last few updates."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.methods import line_search
from jaxcalc.methods.descent_search import aim, judge
from jaxcalc.methods.lane_algebra import dot, kernel
from jaxcalc.methods.line_search import LineSearch
from jaxcalc.methods.method import Evaluation, Method, register, static_field


class History(NamedTuple):
    """The last m pairs of steps s and changes of the gradient y, newest first; rho = 0 where there is none."""

    s: Array  # (m, n, L)
    y: Array  # (m, n, L)
    rho: Array  # (m, L), 1 / s'y
    scale: Array  # (L,), s'y / y'y of the newest pair


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
    fresh: Array  # (L,) the search is along -gradient and the history is to be forgotten


@register
@dataclasses.dataclass(frozen=True)
class LBFGS(Method):
    """L-BFGS; see `lbfgs`."""

    history: int = static_field(10)

    def init(self, x0: Array, lower: Array | None, upper: Array | None) -> LBFGSState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        n, lanes = x0.shape
        value, zeros = jnp.full(lanes, jnp.inf, x0.dtype), jnp.zeros_like(x0)
        never, nit = jnp.zeros(lanes, bool), jnp.full(lanes, -1, jnp.int32)
        pairs, numbers = jnp.zeros((self.history, n, lanes), x0.dtype), jnp.zeros((self.history, lanes), x0.dtype)
        history = History(pairs, pairs, numbers, jnp.ones(lanes, x0.dtype))
        return LBFGSState(x0, x0, value, zeros, nit, never, zeros, line_search.at_rest(value), history, ~never)

    def step(self, state: LBFGSState, evaluation: Evaluation, lower: Array | None, upper: Array | None) -> LBFGSState:
        """Judges the trial; where it is accepted, remembers the pair and begins a search along -H gradient."""
        verdict = judge(state, evaluation)
        history, fresh = _remember(state.history, state.fresh, verdict.s, verdict.y)
        downhill = _two_loops(history, verdict.gradient)
        trial, direction, search, fresh = aim(verdict, downhill, fresh, state.direction)
        nit, stalled = state.nit + verdict.accepted, verdict.exhausted & state.fresh
        x, value, gradient = verdict.x, verdict.value, verdict.gradient
        return LBFGSState(trial, x, value, gradient, nit, stalled, direction, search, history, fresh)


def lbfgs(history: int = 10) -> LBFGS:
    """The limited-memory quasi-Newton method: BFGS from the last few steps alone.

    Steps along -H g to a point that satisfies the weak Wolfe conditions. H is never formed: it is what the updates

        H <- (I - rho s y') H (I - rho y s') + rho s s',    rho = 1 / s'y,

    by the last `history` steps s and changes y of the gradient make of H = (s'y / y'y) I, of the newest pair, and
    H g follows from 2 `history` inner products. It keeps 2 n `history` numbers a problem and suits hundreds of
    variables and more. The steps are the same when the function or the variables are multiplied by a constant.

    Args:
        history: How many pairs (s, y) a problem remembers, at least 1. Static: another number compiles again.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> bool(jc.minimize(lambda x: (x - 3) ** 4, 0.0, method=jc.methods.lbfgs(history=5)).success)
        True

    Source: D. Liu and J. Nocedal, On the limited memory BFGS method for large scale optimization (1989).
    """
    if history < 1:
        raise ValueError(f"history is {history}; L-BFGS needs at least one pair: use history=1 or more.")
    return LBFGS(history)


def _remember(history: History, fresh: Array, s: Array, y: Array) -> tuple[History, Array]:
    """Returns the history with this pair in front where it is usable, and where no pair is known yet."""
    usable, rho, scale = _pair(dot(s, y), dot(y, y), history.scale)
    # Lanes accept at different times. That every lane's newest pair comes first costs a pass over the pairs; a ring
    # with a position of its own in every lane costs the same pass to write and a gather for every read.
    known = jnp.where(fresh, 0, history.rho)
    pairs = (_shift(history.s, s, usable), _shift(history.y, y, usable), _shift(known, rho, usable))
    return History(*pairs, scale), fresh & ~usable


@kernel
def _pair(sy: Array, yy: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Returns whether the pair shows positive curvature, its rho and the scale of H."""
    rho, new = 1 / sy, sy / yy
    usable = (sy > 0) & jnp.isfinite(rho) & jnp.isfinite(new)
    return usable, jnp.where(usable, rho, 0), jnp.where(usable, new, scale)


@kernel
def _shift(entries: Array, new: Array, usable: Array) -> Array:
    """Returns the entries with the new one before them and without the oldest, where it is usable."""
    return jnp.where(usable, jnp.concatenate([new[None], entries[:-1]]), entries)


def _two_loops(history: History, gradient: Array) -> Array:
    """Returns -H gradient by the two-loop recursion (Nocedal 1980); a pair of rho = 0 changes nothing."""
    s, y, rho, scale = history
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
    return -jax.lax.fori_loop(0, count, oldest_first, scale * q)
