"""The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno: the inverse Hessian as its last few updates."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import require_option, whole_number
from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import dot
from jaxcalc.methods.method import Iterate, Method, register, static_field
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.parts import line_search
from jaxcalc.methods.parts.descent_search import aim, move, with_short_first_step
from jaxcalc.methods.parts.initial_scaling import initial_scaling
from jaxcalc.methods.parts.line_search import LineSearch


class History(NamedTuple):
    """The last m pairs of steps s and changes of the gradient y, newest first; rho = 0 where there is none."""

    s: Array  # (m, n, L)
    y: Array  # (m, n, L)
    rho: Array  # (m, L), 1 / s'y


class LBFGSState(NamedTuple):
    """The inverse Hessian H as a history of pairs and a diagonal D, and the search along -H gradient."""

    iterate: Iterate
    direction: Array  # (n, L)
    search: LineSearch
    history: History
    fresh: Array  # (L,) the search is along -D gradient and the history is to be forgotten
    D: Array  # (n, L) what the pairs of the history update to H


@register
@dataclasses.dataclass(frozen=True)
class LBFGS(Method):
    """L-BFGS; see `lbfgs`."""

    takes = "gradients, 20 n numbers"
    suits = "hundreds of variables and more"
    compares_variables = False

    history: int = static_field(10)
    first_step: Array | float | None = None

    def init(self, x0: Array, box: Box) -> LBFGSState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        (n, lanes), iterate = x0.shape, Iterate.at_start(x0, has_model=True)
        pairs, numbers = jnp.zeros((self.history, n, lanes), x0.dtype), jnp.zeros((self.history, lanes), x0.dtype)
        history, search = History(pairs, pairs, numbers), line_search.at_rest(iterate.value)
        fresh = jnp.ones(lanes, bool)
        return LBFGSState(iterate, jnp.zeros_like(x0), search, history, fresh, jnp.ones_like(x0))

    def step(self, state: LBFGSState, evaluation: Evaluation, box: Box) -> LBFGSState:
        """Tests the trial; where it is accepted, remembers the pair and begins a search along -H gradient."""
        moved = move(state, evaluation, box)
        at = moved.iterate
        D = initial_scaling(state.iterate.nit < 0, at.x, at.gradient, state.D)
        history, D, fresh = _remember(state.history, D, state.fresh, moved.s, moved.y)
        downhill = _two_loops(history, D, box.reduced(at.x, at.gradient))
        trial, direction, search, fresh, promise = aim(
            moved, downhill, fresh, state.direction, box, D=D, first_step=self.first_step
        )
        iterate = at._replace(trial=trial, stalled=moved.exhausted & state.fresh, promise=promise)
        return LBFGSState(iterate, direction, search, history, fresh, D)

    def staying_in_basin(self) -> "LBFGS":
        """Returns the method with a short first step."""
        return with_short_first_step(self)


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
            belongs, 3, or 1 if every variable has both bounds. A short one ends in the basin of its start; most
            problems with bounds end at some of them.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> bool(jc.minimize(lambda x: (x - 3) ** 4, 0.0, method=jc.methods.lbfgs(history=5)).success)
        True

    Source: D. Liu and J. Nocedal, On the limited memory BFGS method for large scale optimization (1989); J. Gilbert
    and C. Lemaréchal, Some numerical experiments with variable-storage quasi-Newton algorithms (1989), for D.
    """
    if first_step is not None:
        require_option("first_step", first_step, strictly=True)
    return LBFGS(whole_number("history", history, 1), first_step)


def _remember(history: History, D: Array, fresh: Array, s: Array, y: Array) -> tuple[History, Array, Array]:
    """Returns the history with the pair (s, y) in front where it is usable, D after it, and where no pair is known."""
    sy, yy = dot(s, y), dot(y, y)
    usable, rho, scale = _pair(sy, dot(y, D * y))
    D = _learn(D, rho, scale, sy / yy, s, y, dot(s, s / D))
    # Lanes accept at different times. That every lane's newest pair comes first costs a pass over the pairs; a ring
    # with a position of its own in every lane costs the same pass to write and a gather for every read.
    known = jnp.where(fresh, 0, history.rho)
    pairs = (_shift(history.s, s, usable), _shift(history.y, y, usable), _shift(known, rho, usable))
    return History(*pairs), D, fresh & ~usable


@kernel
def _pair(sy: Array, yDy: Array) -> tuple[Array, Array, Array]:
    """Returns whether the pair shows positive curvature, rho = 1 / s'y, and the factor s'y / y'Dy for D."""
    rho, scale = 1 / sy, sy / yDy
    usable = (sy > 0) & jnp.isfinite(rho) & jnp.isfinite(scale)
    return usable, jnp.where(usable, rho, 0), jnp.where(usable, scale, 1)


@kernel
def _learn(D: Array, rho: Array, scale: Array, mean: Array, s: Array, y: Array, sBs: Array) -> Array:
    """Returns D after the pair (s, y): D is scaled, and its inverse B becomes the diagonal of BFGS' update of B.

        B <- B + y y' / s'y - B s s'B / s'Bs

    No entry of D leaves the range of s'y / y'y times and over eps^-1/2, beyond which rounding hides it.
    """
    B = 1 / (scale * D)
    learnt = 1 / (B + rho * y**2 - (B * s) ** 2 * scale / sBs)
    learnt = jnp.where((learnt > 0) & jnp.isfinite(learnt), learnt, scale * D)
    most = jnp.finfo(s.dtype).eps ** -0.5
    return jnp.where(rho > 0, jnp.clip(learnt, mean / most, mean * most), D)


@kernel
def _shift(entries: Array, new: Array, usable: Array) -> Array:
    """Returns the entries with the new one before them and without the oldest, where it is usable."""
    return jnp.where(usable, jnp.concatenate([new[None], entries[:-1]]), entries)


def _two_loops(history: History, D: Array, gradient: Array) -> Array:
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
    return -jax.lax.fori_loop(0, count, oldest_first, D * q)
