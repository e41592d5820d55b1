"""Whether a method still expects anything, and whether what it says of that can be believed: tests without units."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel, only_where
from jaxcalc.engine.family.family import Family
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Iterate, Method
from jaxcalc.methods.needs import Evaluation
from jaxcalc.methods.parts.line_search import VALUE_ROUNDING

# A promised fall of at most this many eps |f| cannot be represented. Once the method has stalled neither can one of at
# most VALUE_ROUNDING eps of the largest value that was met.
UNREPRESENTABLE = 2
# A fall that is lost in rounding counts as none if the relative gradient is at most this share of the fall so far.
RELATIVE_CHANGE = 0.02
# The relative gradient of a method that does not compare variables has to be this many roots of the promise's share of
# the fall. An error e along a direction of 1/k of the largest curvature makes the relative gradient e / k of the fall.
RELATIVE_SHARE = 0.3
# Each component of the gradient has to have fallen to this share of its largest size on the way, or to so many eps of
# the dtype if that is more; without a model of f to the second count of eps. A method stalls within a few shares of
# what the rounding of f hides: so many of them may be left, but never more than the last share.
LEFT, LEFT_IN_EPS, LEFT_WITHOUT_MODEL = 1e-5, 1_000, 10_000
HIDDEN_SHARES, MOST_LEFT = 2, 1e-3
# A component of at most so many eps of the largest one met, which a step changes by this share of itself, is rounding
# if f has hardly fallen in this step: a long step changes true slopes, too.
NOISE, INCOHERENT = 10, 0.1
# After so many steps f has to be lower than at the last landmark, or the relative gradient at most this share of that.
LANDMARK, HALVED = 64, 0.5
# Noise of f, seen in a method's last step, tells where it has stalled if it is at most so many eps of the fall.
NOISIEST = 10_000


class Record(NamedTuple):
    """What is remembered of a lane's way, for tests of the gradient that depend on no unit."""

    start: Array  # (n, L)
    steepest: Array  # (n, L) the largest size so far of each component of the free variables' gradient
    value: Array  # (L,) at the last landmark, of which the start is the first
    change: Array  # (L,) there: the relative gradient

    @classmethod
    def of(cls, family: Family, x0: Array) -> "Record | None":
        """Returns the record of lanes that are about to start at x0, (n, L); None where no gradient is tested."""
        nothing = jnp.full(x0.shape[1:], jnp.inf, x0.dtype)
        return cls(x0, jnp.zeros_like(x0), nothing, nothing) if family.is_judged_by_gradient else None

    def after(self, x: Array, gradient: Array, box: Box) -> "Record":
        """Returns the record after a step to x, where f has this gradient."""
        return self._replace(steepest=jnp.maximum(self.steepest, jnp.abs(box.reduced(x, gradient))))

    def size(self, x: Array) -> Array:
        """Returns the size of each variable, (n, L): |x_i| or its way from the start, whichever is larger."""
        return jnp.maximum(jnp.abs(x), jnp.abs(x - self.start))


def past_landmark(
    record: Record, box: Box, at: Iterate, begun: Array, moved: Array, asked: Array
) -> tuple[Record, Array]:
    """Returns the record after a landmark, and where nothing has come of the steps since the last one, (L,).

    Where no fall of f can be represented, steps that its gradient alone leads may still lower the gradient, but what
    they leave of it after so many is noise.

    Args:
        record: Of the way so far.
        box: The bounds.
        at: Where the method stands.
        begun: Where that is the start, (L,).
        moved: Where the step has moved x, (L,).
        asked: Where landmarks count, (L,).
    """
    passes = asked & (begun | (moved & (at.nit % LANDMARK == 0)))

    def compared() -> tuple[Array, Array, Array]:
        change = jnp.sum(jnp.abs(box.reduced(at.x, at.gradient)) * record.size(at.x), axis=0)
        rounding = VALUE_ROUNDING * jnp.finfo(change.dtype).eps * jnp.abs(at.value)
        return at.value, change, (at.value >= record.value - rounding) & (change >= HALVED * record.change)

    value, change, fruitless = only_where(passes, compared, (record.value, record.change, passes & False))
    return record._replace(value=value, change=change), fruitless


def is_hidden(record: Record, box: Box, first: Array, evaluation: Evaluation, old: Iterate, at: Iterate) -> Array:
    """Returns where the noise of f hides what the method promises and what is left of the gradient, (L,).

    Of the change of a smooth f along a step the trapezoidal rule explains all but a share that vanishes with the step,
    and a method shortens its steps before it stalls. What it leaves unexplained of a small change is noise, as a sum of
    terms that cancel has, or a factorisation of an ill-conditioned matrix (Moré and Wild 2011). Near a minimum the
    gradient grows with the distance, and the fall with the distance squared: the noise hides a gradient of the root of
    its share of the fall.

    Args:
        record: Of the way so far.
        box: The bounds.
        first: The value at the start, (L,).
        evaluation: At the last trial, which was refused.
        old: Where the method stood before the step.
        at: Where the method stands, with its promise.
    """
    step, change, fall = old.trial - old.x, evaluation.value - old.value, first - at.value
    slopes = box.slope(old.x, old.gradient, step), box.slope(old.trial, evaluation.gradient, step)
    noise = jnp.abs(change - 0.5 * (slopes[0] + slopes[1]))
    is_noise = (noise > jnp.abs(slopes[0]) + jnp.abs(slopes[1])) & (at.nit == old.nit) & (at.nit > 0)
    limit = NOISIEST * jnp.finfo(fall.dtype).eps * fall
    is_noise &= (noise <= limit) & (jnp.abs(change) <= limit)
    steepness = jnp.abs(box.reduced(at.x, at.gradient))
    small = jnp.all(steepness <= jnp.maximum(LEFT, _hidden_share(noise, fall)) * record.steepest, axis=0)
    return is_noise & small & (at.promise <= noise)


def _hidden_share(noise: Array, fall: Array) -> Array:
    """Returns the share of a gradient's largest size that noise of f hides: the root of its share of the fall."""
    return jnp.sqrt(noise / jnp.maximum(fall, 0))


def outlook(
    method: Method, record: Record, first: Array, before: Iterate, at: Iterate, share: Array, fruitless: Array
) -> tuple[Array, Array]:
    """Returns where no fall worth a step is promised, and where the method has nothing left to do besides, (L,) each.

    Args:
        method: The method.
        record: Of the way so far.
        first: The value at the start, (L,).
        before: Where the method stood before the step, with the gradient of the free variables.
        at: Where the method stands, likewise, with its promise.
        share: The share of the fall so far, first - value, that may still be promised.
        fruitless: Where nothing has come of many steps, (L,).
    """
    of_x, compares = record.size(at.x), method.compares_variables
    sizes = [jnp.abs(one.x) if compares else record.size(one.x) for one in (before, at)]
    changes = [jnp.sum(jnp.abs(one.gradient) * size, axis=0) for one, size in zip((before, at), sizes, strict=True)]
    # Without a model nothing is promised, and the other tests decide alone.
    promise = jnp.zeros_like(at.value) if at.promise is None else at.promise
    settled, spent = _compared(at.nit, promise, changes[1], first, at.value, share)
    # What a method promises that does not compare variables says little, so its gradient has to be small beside f.
    fall = first - at.value if compares else jnp.zeros_like(at.value)
    idle = _idle(at.nit > before.nit, fall, before.value, at.value, *changes)
    if not compares:
        settled, spent = _compared_too(at.nit, settled, spent, changes[1], first, at.value, share)
    declined = _has_declined(record, before, at, of_x, first, fruitless)
    if at.promise is None:
        return settled & declined, spent & False
    done = spent & (at.stalled | idle) & declined
    return (settled & declined) | done, done


def _has_declined(record: Record, before: Iterate, at: Iterate, size: Array, first: Array, fruitless: Array) -> Array:
    """Returns where every component of the gradient is small beside its largest size on the way, (L,).

    In another unit of x_i or of f the component g_i is multiplied by a constant, so its decline depends on no unit. A
    variable that has hardly moved, because the steps are too short for its unit, shows by a g_i that is what it was.
    At the start, where nothing has declined, a method without a model knows no unit of a variable of size zero.
    """
    eps, steepness = jnp.finfo(size.dtype).eps, jnp.abs(at.gradient)
    share = max(LEFT, (LEFT_WITHOUT_MODEL if at.promise is None else LEFT_IN_EPS) * eps)
    if at.promise is not None:
        hidden = _hidden_share(VALUE_ROUNDING * eps * jnp.abs(at.value), first - at.value)
        share = jnp.clip(HIDDEN_SHARES * hidden, share, MOST_LEFT)
    # What is left of a slope whose terms cancel, as by symmetry, never declines, but no two points agree about it.
    # Where nothing comes of many steps, a slope about which two points do not agree is noise of any size.
    noise = (steepness <= NOISE * eps * jnp.max(record.steepest, axis=0)) | fruitless
    noise &= jnp.abs(at.gradient - before.gradient) >= INCOHERENT * steepness
    noise &= before.value - at.value <= eps**0.5 * (first - at.value)
    declined = (steepness <= share * record.steepest) | noise
    has_size = (steepness == 0) | (size > 0) | (at.promise is not None)
    return jnp.all(jnp.where(at.nit > 0, declined, has_size), axis=0)


@kernel
def _idle(moved: Array, fall: Array, old_value: Array, value: Array, old_change: Array, change: Array) -> Array:
    """Returns where a step has lowered neither the value nor the relative gradient, which is small, (L,).

    A step is accepted although f has not fallen where rounding may hide its fall. Where no fall of its size can be
    represented, such steps lead from one of the nearest points of the minimum to another, without end.
    """
    return moved & (value >= old_value) & (change >= old_change) & _is_small(change, value, fall)


def _is_small(change: Array, value: Array, fall: Array) -> Array:
    """Returns where the relative gradient is small beside the value or its fall, as seen through rounding, (L,)."""
    root = (VALUE_ROUNDING * jnp.finfo(value.dtype).eps) ** 0.5
    return change <= root * jnp.maximum(jnp.abs(value), fall)


@kernel
def _compared(
    nit: Array, promise: Array, change: Array, first: Array, value: Array, share: Array
) -> tuple[Array, Array]:
    """Returns where the promise is negligible, and where no fall of its size can be represented.

    A promise that is only lost in rounding may be too small where curvatures have not been learnt yet. It counts if the
    relative gradient agrees: `change` is the sum of |g_i x_i|, by how much f would change to first order if every
    variable changed by its own size (Dennis and Schnabel 1983, section 7.2).
    """
    eps, size, fall = jnp.finfo(value.dtype).eps, jnp.abs(value), first - value
    in_rounding = (promise <= UNREPRESENTABLE * eps * size) & ((nit <= 0) | (change <= RELATIVE_CHANGE * fall))
    return (promise <= share * fall) | in_rounding, promise <= VALUE_ROUNDING * eps * jnp.maximum(size, jnp.abs(first))


@kernel
def _compared_too(
    nit: Array, settled: Array, spent: Array, change: Array, first: Array, value: Array, share: Array
) -> tuple[Array, Array]:
    """Returns the answers of a method that does not compare variables: by the relative gradient.

    `change`, as above, is free of any model. A relative error e of x makes it about 2 e of the fall, and the promise
    e^2 of the fall: so it is compared with the root of the share, or with what rounding hides. At the start, from
    which f has not fallen yet, it is compared with the value.
    """
    eps, fall = jnp.finfo(value.dtype).eps, first - value
    unseen = UNREPRESENTABLE * eps * jnp.abs(value)
    small = _is_small(change, value, fall) & (
        (nit <= 0) | _is_small(change, fall, fall) | (change <= jnp.sqrt(unseen) * jnp.sqrt(jnp.maximum(fall, 0)))
    )
    by_change = (change <= jnp.maximum(RELATIVE_SHARE * jnp.sqrt(share), 1_000 * eps) * fall) | (settled & small)
    return jnp.where(nit > 0, by_change, settled & small), spent & small
