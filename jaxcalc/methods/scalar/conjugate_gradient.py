"""Nonlinear conjugate gradients, after Polak and Ribière (1969) with the restarts of Powell (1977)."""

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
from jaxcalc.methods.parts.line_search import LineSearch

# How exact a search is: |f'(t)| <= 0.2 |f'(0)|. Directions are conjugate only after searches to a minimum; of 0.1 to
# 0.5 this took the fewest evaluations, and without a bound on the rise several problems were not solved at all.
CURVATURE = 0.2
# Successive gradients are orthogonal where directions are conjugate; from this share of g'g on it begins again (Powell
# 1977). Without it, the rounding of float32 pollutes the directions near the minimum of an ill-conditioned quadratic.
OVERLAP = 0.2


class ConjugateGradientState(NamedTuple):
    """The search along a direction."""

    iterate: Iterate
    direction: Array  # (n, L)
    search: LineSearch
    fresh: Array  # (L,) the search is along -gradient


@register
@dataclasses.dataclass(frozen=True)
class ConjugateGradient(Method):
    """Nonlinear conjugate gradients; see `conjugate_gradient`."""

    takes = "gradients, 4 n numbers"
    suits = "the largest problems"
    compares_variables = False

    def init(self, x0: Array, box: Box) -> ConjugateGradientState:
        """Returns a state whose search, of length zero along zero, accepts the start if it is finite."""
        iterate, fresh = Iterate.at_start(x0, has_model=True), jnp.ones(x0.shape[1], bool)
        search = line_search.at_rest(iterate.value)
        return ConjugateGradientState(iterate, jnp.zeros_like(x0), search, fresh)

    def step(self, state: ConjugateGradientState, evaluation: Evaluation, box: Box) -> ConjugateGradientState:
        """Tests the trial; where it is accepted, begins a search along a direction conjugate to the last."""
        moved, before = move(state, evaluation, box, CURVATURE, CURVATURE), state.iterate
        at = moved.iterate
        gradient = box.reduced(at.x, at.gradient)
        gradient_old = box.reduced(before.x, before.gradient)
        gg, gg_old = dot(gradient, gradient), dot(gradient_old, gradient_old)
        beta = _beta(dot(gradient, moved.y), gg, gg_old)
        downhill = _direction(gradient, beta, state.direction)
        step_length = _first_length(state.search, dot(gradient, downhill))
        trial, direction, search, fresh, promise = aim(
            moved, downhill, before.nit < 0, state.direction, box, step_length
        )
        iterate = at._replace(trial=trial, stalled=moved.exhausted & state.fresh, promise=promise)
        fresh = jnp.where(moved.accepted | moved.exhausted, fresh, state.fresh)
        return ConjugateGradientState(iterate, direction, search, fresh)


def conjugate_gradient() -> ConjugateGradient:
    """Nonlinear conjugate gradients.

    Steps along d to a point that satisfies the strong Wolfe conditions; then

        d <- beta d - g,    beta = max(0, g'(g - g_old) / g_old'g_old),

    so that on a quadratic, with exact searches, each direction is conjugate to all before it. Where successive
    gradients overlap, |g'g_old| >= 0.2 g'g, or d would not point downhill, it begins again along -g. It keeps four
    vectors of n numbers a problem and no matrix, and suits the largest problems; where n is small BFGS takes far fewer
    evaluations. The steps are the same when the function or the variables are multiplied by a constant.

    Returns:
        The method, for `minimize(..., method=...)`.

    Example:
        >>> import jaxcalc as jc
        >>> bool(jc.minimize(lambda x: (x - 3) ** 4, 0.0, method=jc.methods.conjugate_gradient()).success)
        True

    Source: J. Nocedal and S. Wright, Numerical Optimization, section 5.2 (2006); J. Gilbert and J. Nocedal, Global
    convergence properties of conjugate gradient methods for optimization (1992); M. Powell, Restart procedures for
    the conjugate gradient method (1977).
    """
    return ConjugateGradient()


@kernel
def _beta(gy: Array, gg: Array, gg_old: Array) -> Array:
    overlapping = jnp.abs(gg - gy) >= OVERLAP * gg
    return jnp.where(overlapping, 0, jnp.maximum(gy / gg_old, 0))


@kernel
def _direction(gradient: Array, beta: Array, direction: Array) -> Array:
    return beta * direction - gradient


@kernel
def _first_length(search: LineSearch, slope: Array) -> Array:
    """Returns the length that promises the same first change of f as the last step did."""
    return search.step_length * search.slope / slope
