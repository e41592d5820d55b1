"""The method of Broyden, Fletcher, Goldfarb and Shanno (1970), with the inverse Hessian held as a matrix."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import require_option
from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import dot, symmetric_matvec, symmetric_update
from jaxcalc.methods.method import Iterate, Method, register
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.parts import line_search
from jaxcalc.methods.parts.descent_search import aim, move, with_short_first_step
from jaxcalc.methods.parts.initial_scaling import initial_scaling
from jaxcalc.methods.parts.line_search import LineSearch


class BFGSState(NamedTuple):
    """The inverse Hessian H, and the search along -H gradient."""

    iterate: Iterate
    direction: Array  # (n, L), -H gradient
    search: LineSearch
    H: Array  # (n, n, L)
    fresh: Array  # (L,) H is D: its scale is not known yet, the next pair (s, y) tells it
    D: Array  # (n, L) the initial scaling


@register
@dataclasses.dataclass(frozen=True)
class BFGS(Method):
    """BFGS; see `bfgs`."""

    takes = "gradients, n² numbers"
    suits = "up to some hundred variables"

    first_step: Array | float | None = None

    def init(self, x0: Array, box: Box) -> BFGSState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        iterate, H = Iterate.at_start(x0, has_model=True), jnp.zeros((len(x0), *x0.shape), x0.dtype)
        search, fresh = line_search.at_rest(iterate.value), jnp.ones(x0.shape[1], bool)
        return BFGSState(iterate, jnp.zeros_like(x0), search, H, fresh, jnp.ones_like(x0))

    def step(self, state: BFGSState, evaluation: Evaluation, box: Box) -> BFGSState:
        """Tests the trial; where it is accepted, updates H and begins a search along -H gradient."""
        moved = move(state, evaluation, box)
        at, s, y = moved.iterate, moved.s, moved.y
        D = initial_scaling(state.iterate.nit < 0, at.x, at.gradient, state.D)
        gradient = box.reduced(at.x, at.gradient)

        Hg = symmetric_matvec(state.H, gradient)
        # Without bounds H (g - y) = -direction: one product with the matrix serves both.
        Hy = symmetric_matvec(state.H, y) if box.is_bounded else Hg + state.direction
        yHy = dot(y, Hy)
        rho, growth, unknown = _pair(dot(s, y), yHy, state.fresh, state.search.step_length)
        w = _correction(s, Hy, growth, rho, yHy)
        downhill = _direction(Hg, growth, s, w, dot(s, gradient), dot(w, gradient))

        trial, direction, search, fresh, promise = aim(
            moved, downhill, unknown, state.direction, box, D=D, first_step=self.first_step
        )
        H = symmetric_update(state.H, *_unless_fresh(fresh, growth, D, w), s)
        iterate = at._replace(trial=trial, stalled=moved.exhausted & state.fresh, promise=promise)
        return BFGSState(iterate, direction, search, H, fresh, D)

    def staying_in_basin(self) -> "BFGS":
        """Returns the method with a short first step."""
        return with_short_first_step(self)


def bfgs(first_step: float | None = None) -> BFGS:
    """The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno.

    Steps along -H g to a point that satisfies the weak Wolfe conditions, with the inverse Hessian H learnt from the
    steps s and the changes y of the gradient along them,

        H <- (I - rho s y') H (I - rho y s') + rho s s',    rho = 1 / s'y,

    where H is first multiplied by max(1, t, sqrt(s'y / y'Hy)), t being the length of the step in units of H g: the
    first pair sets the scale along the steepest variable, and H has to grow along the others.

    It keeps n^2 numbers a problem and suits up to some hundred variables. The steps are the same when the function or
    the variables are multiplied by a constant.

    Args:
        first_step: The length of the first step in lengths of x; None: 0.01, and in a box, which keeps x where it
            belongs, 3, or 1 if every variable has both bounds. A short one ends in the basin of its start; most
            problems with bounds end at some of them.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> bool(jc.minimize(lambda x: (x - 3) ** 4, 0.0, method=jc.methods.bfgs()).success)
        True

    Source: J. Nocedal and S. Wright, Numerical Optimization, chapter 6 (2006); S. Oren and D. Luenberger,
    Self-scaling variable metric algorithms (1974).
    """
    if first_step is not None:
        require_option("first_step", first_step, strictly=True)
    return BFGS(first_step)


@kernel
def _pair(sy: Array, yHy: Array, fresh: Array, step_length: Array) -> tuple[Array, Array, Array]:
    """Returns rho = 1 / s'y, the factor by which H grows before its update, and where H is still unknown, (L,) each.

    A fresh H, which is D, takes the scale s'y / y'Hy of its first pair. Later H never shrinks, for an update by itself
    mends what is too large. The first pair lies along the steepest variable and sets the scale of all; where steps
    longer than -H g were needed, or y'Hy falls short of s'y, H is too small (Oren and Luenberger 1974; Al-Baali 1998).
    Without a usable pair rho = 0 leaves H as it is.
    """
    rho, scale = 1 / sy, sy / yHy
    usable = (sy > 0) & jnp.isfinite(rho) & (jnp.isfinite(scale) | ~fresh)
    shortfall = jnp.sqrt(scale)
    later = jnp.maximum(1, jnp.maximum(step_length, jnp.where(jnp.isfinite(shortfall), shortfall, 1)))
    growth = jnp.where(usable, jnp.where(fresh, scale, later), 1)
    return jnp.where(usable, rho, 0), growth, fresh & ~usable


@kernel
def _unless_fresh(fresh: Array, growth: Array, D: Array, w: Array) -> tuple[Array, Array, Array]:
    """Returns the factor of H, the diagonal and the w of H's update, which makes a fresh H the diagonal D."""
    return jnp.where(fresh, 0, growth), jnp.where(fresh, D, 0), jnp.where(fresh, 0, w)


@kernel
def _correction(s: Array, Hy: Array, growth: Array, rho: Array, yHy: Array) -> Array:
    """Returns w such that the update of H is s w' + w s'."""
    return 0.5 * rho * (1 + rho * growth * yHy) * s - rho * growth * Hy


@kernel
def _direction(Hg: Array, growth: Array, s: Array, w: Array, sg: Array, wg: Array) -> Array:
    return -(growth * Hg + sg * w + wg * s)
