"""Whether a problem was solved where it began, for methods that cannot tell by the fall of f: there is none."""

import jax.numpy as jnp
from jax import Array

from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Iterate
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.parts.descent_search import CONFIRMED, is_on_slope
from jaxcalc.methods.parts.line_search import VALUE_ROUNDING

# A start is a solution if the minimum along the first step changes every variable by at most this share of its size,
# as `descent_search.NEARNESS` of a first step of a hundredth of x does.
NEAR = 1e-5


def began_at_solution(box: Box, evaluation: Evaluation, old: Iterate) -> Array:
    """Returns where the first step from the start shows that a minimum is as near as nothing, (L,).

    A parabola with the slopes f'(0) and f'(1) along the step s has its minimum at f'(0) / (f'(0) - f'(1)) of s. Both
    slopes explain the change of f, or this is lost in rounding. That is compared with the size of each variable, |x_i|,
    so that it depends on no unit.

    Args:
        box: The bounds.
        evaluation: At the trial of the first step, (L,), whether it was accepted or not.
        old: At the start.
    """
    step = old.trial - old.x
    slope, later = box.slope(old.x, old.gradient, step), box.slope(old.trial, evaluation.gradient, step)
    share = jnp.max(jnp.where(step == 0, 0, jnp.abs(step) / jnp.abs(old.x)), axis=0)
    change, explained = evaluation.value - old.value, 0.5 * (slope + later)
    rounding = VALUE_ROUNDING * jnp.finfo(old.value.dtype).eps * jnp.abs(old.value)
    confirmed = jnp.abs(change - explained) <= CONFIRMED * jnp.abs(explained) + rounding
    near = (slope < 0) & (later > slope) & (-slope * share <= NEAR * (later - slope))
    return (old.nit == 0) & confirmed & near & ~is_on_slope(old, box)
