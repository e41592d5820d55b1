"""Levenberg and Marquardt's method in a trust region (Moré 1978)."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.arguments import require_option
from jaxcalc.core.kernels import kernel
from jaxcalc.core.lanes_last import total
from jaxcalc.methods.box import Box
from jaxcalc.methods.lane_algebra import all_finite, norm, ordered_dot
from jaxcalc.methods.least_squares.box_step import best_inside, promised_fall
from jaxcalc.methods.least_squares.damping import damped_step
from jaxcalc.methods.least_squares.factors import back_substituted, product, squared, transposed_product
from jaxcalc.methods.least_squares.linearization import JACOBIAN, Linearization
from jaxcalc.methods.least_squares.model import Model, modelled
from jaxcalc.methods.method import Iterate, Method, register, static_field
from jaxcalc.methods.needs import Need
from jaxcalc.methods.units import needs_units

# A trial is accepted if the cost falls by this share of the model's prediction.
ACCEPTED = 1e-4
# The region shrinks where the ratio of actual to predicted fall is at most POOR, and grows where it is at least GOOD.
POOR, GOOD, GROWTH = 0.25, 0.75, 2.0
# A trial whose cost is this many times that at x says nothing about the curvature on the way.
HOPELESS = 100


class LastStep(NamedTuple):
    """The last step that was judged, (L,) each: what SciPy's tolerances are about."""

    fall: Array  # of |r|^2, in the unit that the model had before it
    ratio: Array  # of that to the predicted fall
    length: Array  # |step|
    square: Array  # |r|^2 before it


class LevenbergMarquardtState(NamedTuple):
    """The linear problem at x, how far it is trusted, and what it promises of the trial; |r|^2 is twice the cost.

    All but the iterate and the root are in the unit of the model.
    """

    iterate: Iterate
    model: Model
    root: Array  # (m, L) at x, with |root|^2 twice the cost
    D: Array  # (n, L) the scaling: the largest length that each column of the Jacobian has had
    radius: Array  # (L,) of the region |D s| <= radius
    damping: Array  # (L,) lambda of the last step
    length: Array  # (L,) |D s| of the last step
    predicted: Array  # (L,) the fall of |r|^2 that the model promises of the last step
    slope: Array  # (L,) minus half the derivative of |r|^2 along the step, at x
    last: LastStep


@register
@dataclasses.dataclass(frozen=True)
class LevenbergMarquardt(Method):
    """Levenberg and Marquardt's method; see `levenberg_marquardt`."""

    first_radius: float | Array = 10.0
    points: int = static_field(0)

    needs: ClassVar[Need] = JACOBIAN
    takes = "Jacobians of residuals"
    suits = "least squares"

    def for_points(self, m: int) -> "LevenbergMarquardt":
        """Returns this method for residual vectors of m components."""
        return dataclasses.replace(self, points=m)

    def init(self, x0: Array, box: Box) -> LevenbergMarquardtState:
        """Returns a state whose trial, the start, is accepted if it is finite."""
        n, lanes = x0.shape
        zero, zeros = jnp.zeros(lanes, x0.dtype), jnp.zeros_like(x0)
        never = jnp.full(lanes, jnp.inf, x0.dtype)
        model = Model(
            jnp.zeros((n, *x0.shape), x0.dtype), zeros, zeros, jnp.zeros(lanes, bool), never, zero, zero, zero, zero,
            never, jnp.ones_like(zero) if needs_units(x0.dtype) else None,
        )  # fmt: skip
        root = jnp.zeros((self.points, lanes), x0.dtype)
        return LevenbergMarquardtState(
            Iterate.at_start(x0), model, root, zeros, zero, zero, zero, zero, zero, LastStep(zero, zero, zero, zero)
        )

    def step(self, state: LevenbergMarquardtState, evaluation: Linearization, box: Box) -> LevenbergMarquardtState:
        """Judges the trial by the model, adapts the region and takes the damped step of the problem linear at x."""
        old = state.iterate._replace(trial=evaluation.point)
        new_model, column_lengths = modelled(evaluation, box)
        finite = jnp.isfinite(evaluation.value) & all_finite(evaluation.gradient) & all_finite(column_lengths)
        finite &= box.finite(old.trial, evaluation.gradient) if box.is_bounded else True
        unit = state.model.unit
        ratio = None if evaluation.unit is None or unit is None else _ratio(evaluation.unit, unit)
        actual = _actual_fall(state.root, evaluation.root, unit)
        judgement = _judged(state, actual, finite, evaluation.value)
        accepted = judgement.accepted
        at = old.moved(accepted, evaluation)
        model = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), new_model, state.model)
        root = jnp.where(accepted, evaluation.root, state.root)
        before, radius = (_in_unit_of(size, accepted, ratio) for size in (state.D, judgement.radius))
        D = _scaling(old.nit < 0, accepted, column_lengths, before)
        scaled_x = D * at.x
        first = _first_radius(ordered_dot(scaled_x, scaled_x), self.first_radius)
        radius = jnp.where(old.nit < 0, first, radius)
        aim = _aimed(at.x, model, D, judgement.damping, radius, box)
        last = LastStep(actual, judgement.ratio, norm(old.trial - old.x), state.model.square)
        stalled = (old.nit < 0) & ~accepted | aim.at_rest
        return LevenbergMarquardtState(
            at._replace(trial=aim.trial, stalled=stalled), model, root, D, radius, aim.damping, aim.length,
            aim.predicted, aim.slope, last,
        )  # fmt: skip

    def default_maxiter(self, n: int) -> int:
        """Returns SciPy's 100 n, at least 1,000: hard problems of few variables take hundreds."""
        return max(1000, 100 * n)

    def most_evaluations(self, n: int) -> int:
        """Returns 10: several trials in a row are seldom rejected."""
        return 10


def levenberg_marquardt(first_radius: float | Array = 10.0) -> LevenbergMarquardt:
    """Levenberg and Marquardt's method: Gauss and Newton's in a region where the linear model of residuals is trusted.

    Minimises |r + J s|^2 over |D s| <= radius at each x, r being the residuals and J their Jacobian: (J'J + lambda D^2)
    s = -J'r. The radius grows where the sum of squares falls as promised and shrinks where it does not. D holds the
    largest length that each column of J has had, so that the units of the variables do not matter. With bounds, steps
    are projected on the box and variables that a bound holds have no part in the model. Near a minimum of small
    residuals the steps are Gauss and Newton's and converge fast.

    Args:
        first_radius: The radius at the start, as a multiple of |D x|, above 0.

    Returns:
        The method, for `least_squares(..., method=...)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> t = jnp.arange(5.0)
        >>> decay = lambda x, y: x[0] * jnp.exp(-x[1] * t) - y
        >>> y = 2.0 * jnp.exp(-0.5 * t)
        >>> result = jc.least_squares(decay, jnp.ones(2), (y,), method=jc.methods.levenberg_marquardt(first_radius=1.0))
        >>> bool(result.success), result.x.round(4).tolist()
        (True, [2.0, 0.5])

    Source: J. Moré, The Levenberg-Marquardt algorithm: implementation and theory (1978).
    """
    require_option("first_radius", first_radius, strictly=True)
    return LevenbergMarquardt(first_radius)


class _Judgement(NamedTuple):
    """What the trial's evaluation says, (L,) each."""

    accepted: Array
    ratio: Array  # of actual to predicted fall
    radius: Array
    damping: Array


class _Aim(NamedTuple):
    """The next trial."""

    trial: Array  # (n, L)
    damping: Array
    length: Array
    predicted: Array
    slope: Array
    at_rest: Array  # the trial is x, for no smaller step can be represented


@kernel
def _actual_fall(root: Array, root_of_trial: Array, unit: Array | None) -> Array:
    """Returns the fall of twice the cost, in a unit, without cancellation."""
    if unit is not None:
        root, root_of_trial = root / unit, root_of_trial / unit
    return total((root - root_of_trial) * (root + root_of_trial))


@kernel
def _ratio(unit: Array, other: Array) -> Array:
    """Returns the ratio of two units, in the range of the dtype."""
    limits = jnp.finfo(unit.dtype)
    return jnp.clip(unit / other, limits.tiny, limits.max)


def _in_unit_of(sizes: Array, accepted: Array, ratio: Array | None) -> Array:
    """Returns sizes, (..., L), in the unit of the accepted trial."""
    return sizes if ratio is None else jnp.where(accepted, sizes / ratio, sizes)


def _judged(state: LevenbergMarquardtState, actual: Array, finite: Array, cost: Array) -> _Judgement:
    at = state.iterate
    return _judged_kernel(
        at.nit, actual, finite, cost, at.value, state.predicted, state.slope, state.length, state.radius,
        state.damping, state.model.rounding,
    )  # fmt: skip


@kernel
def _judged_kernel(
    nit: Array, actual: Array, finite: Array, cost: Array, old_cost: Array, predicted: Array, slope: Array,
    length: Array, radius: Array, damping: Array, rounding: Array,
) -> _Judgement:  # fmt: skip
    hopeless = ~finite | (cost > HOPELESS * old_cost)
    ratio = jnp.where(hopeless, -jnp.inf, jnp.where(predicted > 0, actual / predicted, 0))
    # Where |r|^2 is rounding, the model is trusted as long as damping has little part in the step.
    by_model = finite & (predicted <= rounding) & (jnp.abs(actual) <= 2 * rounding)
    by_model &= damping * length * length <= 0.1 * predicted
    accepted = finite & ((nit < 0) | (ratio >= ACCEPTED) | by_model)
    ratio = jnp.where(by_model & (ratio < ACCEPTED), 0.5, ratio)
    # Up to the first success the region is no longer than the step.
    radius = jnp.where((nit == 0) & (length < radius), length, radius)
    # The share at which a parabola through both values with the slope at x has its minimum.
    share = jnp.where(actual >= 0, 0.5, 0.5 * slope / (slope - 0.5 * actual))
    share = jnp.where(hopeless | ~(share >= 0.1), 0.1, jnp.minimum(share, 0.5))
    shrinks = ~(ratio > POOR)
    grows = ~shrinks & ((damping == 0) | (ratio >= GOOD))
    shrunk = share * jnp.where(10 * length < radius, 10 * length, radius)
    radius = jnp.where(shrinks, shrunk, jnp.where(grows, GROWTH * length, radius))
    damping = jnp.where(shrinks, damping / share, jnp.where(grows, 0.5 * damping, damping))
    first = nit < 0
    return _Judgement(accepted, ratio, radius, jnp.where(first, 0, damping))


@kernel
def _scaling(at_start: Array, accepted: Array, lengths: Array, D: Array) -> Array:
    """Returns the largest lengths that the columns have had; 1 for a column that is zero at the start."""
    first = jnp.where(lengths > 0, lengths, 1)
    return jnp.where(at_start, first, jnp.where(accepted, jnp.maximum(D, lengths), D))


@kernel
def _first_radius(square: Array, factor: Any) -> Array:
    return factor * jnp.where(square > 0, jnp.sqrt(square), 1)


def _aimed(x: Array, model: Model, D: Array, damping: Array, radius: Array, box: Box) -> _Aim:
    """Returns the next trial: the damped step in the region, in a box the best step there."""
    factor, inverse = model.factor, 1 / model.lengths
    unit, D2 = inverse, (D * inverse) ** 2
    gradient, gram = transposed_product(factor, model.q), squared(factor)
    newton = back_substituted(factor, -model.q)
    step = damped_step(factor, gram, gradient, newton, model.full_rank, D2, damping, radius)
    p, length = step.p, step.length
    # In these two nothing cancels.
    moved = product(factor, p)
    curved, resisted = ordered_dot(moved, moved), step.damping * length * length
    predicted, slope = curved + 2 * resisted, curved + resisted
    trial = x + unit * p
    if box.is_bounded:
        trial, p = best_inside(x, box, unit, factor, gram, gradient, D2, p, step.damping)
        length = jnp.sqrt(ordered_dot(D2 * p, p))
        predicted, slope = promised_fall(gradient, factor, p), -ordered_dot(gradient, p)
    known = jnp.isfinite(length) & all_finite(trial)
    trial = jnp.where(known, trial, x)
    at_rest = jnp.where(known, jnp.all(trial == x, axis=0), ~(radius > 0))
    return _Aim(trial, step.damping, length, jnp.where(known, predicted, jnp.nan), slope, at_rest)
