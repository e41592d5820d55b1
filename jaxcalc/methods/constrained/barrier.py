"""The barrier problem of an interior-point method: its parts at a point, its merit, and the error of its conditions.

With slacks s of the inequalities, bounds l <= x <= u and a barrier parameter mu > 0 that goes to zero,

    minimise f(x) - mu (sum log(x - l) + sum log(u - x) + sum log(s - s_min))    subject to    c_E(x) = 0, c_I(x) = s.

s_min is -`SLACK` instead of zero, so that two inequalities that make an equality keep an interior. f and c are scaled
by `Units`; every sum is of the bounds that exist. Where a variable or a slack has one bound only, kappa mu times its
distance is added, which keeps it from running away where f is flat (Wächter and Biegler 2006, section 3.7).
"""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.methods.box import Box
from jaxcalc.methods.constrained.linear_algebra import transposed_product
from jaxcalc.methods.lane_algebra import max_norm

# f and every constraint are scaled down so that their gradients at the start are at most MOST_GRADIENT.
MOST_GRADIENT, LEAST_UNIT = 100.0, 1e-4
# The slope of the barrier problem, in mu, where a variable has one bound only.
ONE_SIDED = 1e-5
# A start is pushed inside by this share of max(1, |bound|) and of the distance of both bounds.
FIRST_PUSH = 1e-2
# Multipliers stay within this factor of mu / distance.
SAFEGUARD = 1e10
# Errors count in units of the multipliers' mean size above this.
ORDINARY_MULTIPLIER = 100.0


class Numbers(NamedTuple):
    """The constants that depend on the precision."""

    tolerance: float  # of the error, in scaled units
    relaxation: float  # -s_min in scaled units
    penalty: float  # of the equalities in the matrix that is factored
    regularisation: float  # of the equations of the equalities' multipliers
    least_pivot: float
    eps: float
    infeasible: float  # the least violation that counts as one
    patience: int  # evaluations without progress
    feasible: float  # a sum of violations that counts as none
    restorable: float  # a sum of violations below this is not worth a restoration
    shave: float  # a curvature within this share of zero counts as positive
    least_barrier: float  # mu never falls below this


DOUBLE = Numbers(1e-8, 1e-8, 1e4, 1e-10, 1e-7, 2.2e-16, 1e-6, 150, 1e-8, 1e-6, 1e-12, 1e-14)
SINGLE = Numbers(1e-4, 1e-6, 1e2, 1e-6, 3e-4, 1.2e-7, 1e-3, 60, 1e-5, 1e-4, 1e-6, 1e-6)


def numbers_of(dtype: Any) -> Numbers:
    """Returns the constants of a work dtype."""
    return DOUBLE if jnp.dtype(dtype).itemsize >= 8 else SINGLE


class Sides(NamedTuple):
    """The bounds of the variables, (n, L) each; a variable whose bounds are equal is fixed and has none."""

    lower: Array  # 0 where there is none
    upper: Array
    has_lower: Array
    has_upper: Array
    fixed: Array

    @classmethod
    def of_box(cls, box: Box, like: Array) -> "Sides":
        """Returns the sides of a box of points like these."""
        if not box.is_bounded:
            never, zero = jnp.zeros(like.shape, bool), jnp.zeros_like(like)
            return cls(zero, zero, never, never, never)
        fixed = box.lower >= box.upper
        has_lower, has_upper = jnp.isfinite(box.lower) & ~fixed, jnp.isfinite(box.upper) & ~fixed
        return cls(jnp.where(has_lower, box.lower, 0), jnp.where(has_upper, box.upper, 0), has_lower, has_upper, fixed)

    def above_lower(self, x: Array) -> Array:
        """Returns x - l, 1 where there is no bound."""
        return jnp.where(self.has_lower, x - self.lower, 1)

    def below_upper(self, x: Array) -> Array:
        """Returns u - x, 1 where there is no bound."""
        return jnp.where(self.has_upper, self.upper - x, 1)

    @property
    def one_sided(self) -> Array:
        """1 where a variable has a lower bound only, -1 where it has an upper bound only, else 0."""
        return 1.0 * (self.has_lower & ~self.has_upper) - 1.0 * (self.has_upper & ~self.has_lower)

    def inside(self, x: Array, share: float, of_width: float) -> Array:
        """Returns x, at least min(share max(1, |bound|), of_width (upper - lower)) away from every bound."""
        width = of_width * jnp.where(self.has_lower & self.has_upper, self.upper - self.lower, jnp.inf)
        low = self.lower + jnp.minimum(share * jnp.maximum(1, jnp.abs(self.lower)), width)
        high = self.upper - jnp.minimum(share * jnp.maximum(1, jnp.abs(self.upper)), width)
        x = jnp.where(self.has_lower, jnp.maximum(x, low), x)
        return jnp.where(self.has_upper, jnp.minimum(x, high), x)


class Units(NamedTuple):
    """What the caller's f and c are multiplied by, at least `LEAST_UNIT`, and the scale of the variables."""

    value: Array  # (L,)
    constraints: Array  # (m, L)
    scale: Array  # (n, L)

    def least_slack(self, equalities: int, numbers: Numbers) -> Array:
        """Returns s_min, (m_I, L)."""
        return -numbers.relaxation * self.constraints[equalities:]


class Point(NamedTuple):
    """An evaluated point, f and c in `Units`."""

    x: Array  # (n, L)
    slack: Array  # (m_I, L)
    value: Array  # (L,)
    gradient: Array  # (n, L)
    constraints: Array  # (m, L)
    jacobian: Array  # (m, n, L)
    hessian: Array  # (n, n, L) of the Lagrangian, or of the violation's curved part in a restoration


class Duals(NamedTuple):
    """The multipliers, in `Units`: gradient = J'y + z_lower - z_upper at a solution."""

    y: Array  # (m, L)
    lower: Array  # (n, L)
    upper: Array  # (n, L)
    slack: Array  # (m_I, L)


@kernel
def merit(value: Array, x: Array, slack: Array, mu: Array, least_slack: Array, sides: Sides) -> Array:
    """Returns the barrier problem's objective, (L,)."""
    low, high, room = sides.above_lower(x), sides.below_upper(x), slack - least_slack
    barrier = _sum_of_logs(jnp.concatenate([low, high, room]))
    one = sides.one_sided
    linear = jnp.sum(jnp.where(one > 0, low, jnp.where(one < 0, high, 0)), axis=0) + jnp.sum(room, axis=0)
    return value + mu * (ONE_SIDED * linear - barrier)


def _sum_of_logs(values: Array) -> Array:
    """Returns the sum of the logarithms of (k, L), as (L,): those of products of a few, which cost less and fit."""
    several = 8 if values.dtype.itemsize >= 8 else 2
    groups = [values[first : first + several] for first in range(0, len(values), several)]
    return functools.reduce(jnp.add, [jnp.log(jnp.prod(group, axis=0)) for group in groups])


def residuals(constraints: Array, slack: Array) -> Array:
    """Returns c_E and c_I - s, (m, L); the equalities come first."""
    equalities = len(constraints) - len(slack)
    return jnp.concatenate([constraints[:equalities], constraints[equalities:] - slack])


@kernel
def violation_sum(constraints: Array, slack: Array) -> Array:
    """Returns |c_E| + |c_I - s| summed, (L,); the equalities come first."""
    equalities = len(constraints) - len(slack)
    return jnp.sum(jnp.abs(constraints[:equalities]), axis=0) + jnp.sum(
        jnp.abs(constraints[equalities:] - slack), axis=0
    )


class Errors(NamedTuple):
    """The conditions of the barrier problem at a point for mu = 0, so summed up that those of any mu follow, (L,) each.

    With r = gradient - J'y - z_lower + z_upper the condition is r_i + kappa mu o_i = 0, o_i being 1 if a variable has
    a lower bound only, -1 where it has an upper bound only and 0 elsewhere; y_I - z_slack + kappa mu = 0 is of the
    first kind. For products of distances and multipliers it is p_i = mu.
    """

    plus: Array  # (2, L) the largest and the least r_i with o_i = 1
    minus: Array  # (2, L) the same with o_i = -1
    other: Array  # the largest |r_i| with o_i = 0
    primal: Array  # the largest violation
    products: Array  # (2, L) the largest and the least product
    dual_unit: Array
    product_unit: Array


@kernel
def errors(point: Point, duals: Duals, least_slack: Array, sides: Sides, transposed: Array) -> Errors:
    """Returns the errors of the conditions at a point; `transposed` is J'y."""
    equalities = len(point.constraints) - len(point.slack)
    r = jnp.where(sides.fixed, 0, point.gradient - transposed - duals.lower + duals.upper)
    slack_dual = duals.y[equalities:] - duals.slack
    one = sides.one_sided

    def extremes(*parts: tuple[Array, Array | bool]) -> Array:
        high = [jnp.max(jnp.where(mask, part, -jnp.inf), axis=0, initial=-jnp.inf) for part, mask in parts]
        low = [jnp.min(jnp.where(mask, part, jnp.inf), axis=0, initial=jnp.inf) for part, mask in parts]
        return jnp.stack([functools.reduce(jnp.maximum, high), functools.reduce(jnp.minimum, low)])

    primal = residuals(point.constraints, point.slack)
    bounds = jnp.sum(1.0 * sides.has_lower + sides.has_upper, axis=0).astype(r.dtype) + len(point.slack)
    of_bounds = jnp.sum(duals.lower + duals.upper, axis=0) + jnp.sum(duals.slack, axis=0)
    both = of_bounds + jnp.sum(jnp.abs(duals.y), axis=0)
    dual_mean = both / jnp.maximum(1, len(primal) + bounds)
    product_mean = of_bounds / jnp.maximum(1, bounds)
    return Errors(
        extremes((r, one > 0), (slack_dual, True)),
        extremes((r, one < 0)),
        max_norm(jnp.where(one == 0, r, 0)),
        max_norm(primal),
        extremes(
            (sides.above_lower(point.x) * duals.lower, sides.has_lower),
            (sides.below_upper(point.x) * duals.upper, sides.has_upper),
            ((point.slack - least_slack) * duals.slack, True),
        ),
        jnp.maximum(1, dual_mean / ORDINARY_MULTIPLIER),
        jnp.maximum(1, product_mean / ORDINARY_MULTIPLIER),
    )


@kernel
def barrier_error(at: Errors, mu: Array) -> Array:
    """Returns the largest error of the barrier problem's conditions, (L,)."""
    shift = ONE_SIDED * mu
    dual = jnp.maximum(at.other, jnp.maximum(at.plus[0] + shift, -at.plus[1] - shift))
    dual = jnp.maximum(dual, jnp.maximum(at.minus[0] - shift, shift - at.minus[1]))
    products = jnp.maximum(at.products[0] - mu, mu - at.products[1])
    return jnp.maximum(jnp.maximum(dual / at.dual_unit, at.primal), products / at.product_unit)


@kernel
def safeguarded(duals: Duals, x: Array, slack: Array, mu: Array, least_slack: Array, sides: Sides) -> Duals:
    """Returns the multipliers of bounds and slacks, kept near mu / distance."""

    def near(z: Array, distance: Array) -> Array:
        return jnp.clip(z, mu / SAFEGUARD / distance, SAFEGUARD * mu / distance)

    return duals._replace(
        lower=jnp.where(sides.has_lower, near(duals.lower, sides.above_lower(x)), 0),
        upper=jnp.where(sides.has_upper, near(duals.upper, sides.below_upper(x)), 0),
        slack=near(duals.slack, slack - least_slack),
    )


class Kkt(NamedTuple):
    """The conditions of Karush, Kuhn and Tucker at a point, in the caller's units."""

    multipliers: Array  # (m, L), those of inequalities at least zero
    bound_multipliers: Array  # (n, L): gradient - J'multipliers where it presses against a bound
    optimality: Array  # (L,) the largest component of the projected gradient of the Lagrangian
    violation: Array  # (L,) the largest violation of a constraint
    product: Array  # (L,) the largest product of an inequality and its multiplier
    largest: Array  # (L,) the largest multiplier, at least 1
    terms: Array  # (L,) the largest component of |gradient| + |J|'|multipliers|, whose signed sum is zero at a solution


@kernel
def worst_violation(constraints: Array, units: Array, equalities: int) -> Array:
    """Returns the largest violation of a constraint in the caller's units, (L,)."""
    raw = constraints / units
    is_equality = jnp.arange(len(raw))[:, None] < equalities
    return max_norm(jnp.where(is_equality, raw, jnp.minimum(raw, 0)))


def kkt(point: Point, duals: Duals, units: Units, box: Box, worst: Array) -> Kkt:
    """Returns how far a point is from a solution of the caller's problem, `worst` being the largest violation."""
    equalities = len(point.constraints) - len(point.slack)
    is_equality = jnp.arange(len(duals.y))[:, None] < equalities
    y = jnp.where(is_equality, duals.y, jnp.maximum(duals.y, 0))
    transposed = transposed_product(point.jacobian, y)
    terms = jnp.abs(point.gradient) + transposed_product(jnp.abs(point.jacobian), jnp.abs(y))
    lower, upper = box if box.is_bounded else (jnp.full_like(point.x, -jnp.inf), jnp.full_like(point.x, jnp.inf))
    return _kkt(
        point.x, point.gradient - transposed, terms, y, point.constraints, duals.lower + duals.upper, units, lower,
        upper, worst, is_equality,
    )  # fmt: skip


@kernel
def _kkt(
    x: Array, reduced: Array, terms: Array, y: Array, constraints: Array, of_bounds: Array, units: Units, lower: Array,
    upper: Array, worst: Array, is_equality: Array,
) -> Kkt:  # fmt: skip
    scale = units.value * units.scale
    reduced = reduced / scale
    projected = jnp.clip(reduced, (x - upper) * units.scale, (x - lower) * units.scale)
    multipliers = y * units.constraints / units.value
    product = max_norm(jnp.where(is_equality, 0, multipliers * jnp.maximum(constraints, 0) / units.constraints))
    bound = jnp.where(jnp.isfinite(lower) | jnp.isfinite(upper), reduced, 0)
    largest = jnp.maximum(jnp.maximum(1, max_norm(multipliers)), max_norm(of_bounds / scale))
    return Kkt(multipliers, bound, max_norm(projected), worst, product, largest, max_norm(terms / scale))
