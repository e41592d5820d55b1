"""What an evaluation of least squares holds: the residuals and their Jacobian, as the linear problem to be solved next.

A residual function of m points and n variables returns `Residuals`. An evaluation turns them into the residual r and
Jacobian J of an ordinary linear least-squares problem, min |r + J s|^2, whose cost, gradient and curvature are those of
the weighted and robust problem: with J_i the row of a point, z_i = (r_i / C)^2 and c_i = rho' + 2 z_i rho'',

    r_i <- sqrt(w_i / c_i) rho' r_i,    J_i <- sqrt(w_i c_i) J_i,    so that J'r is the gradient of the cost

and J'J its Hessian but for second derivatives of the residuals (Triggs, McLauchlan, Hartley and Fitzgibbon 2000).

In single precision squares of residuals of size 1e-30 vanish, and those of size 1e25 overflow. Lanes in which there are
such squares get units, powers of two: a for r, and b_j for a column of J / a.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.modes import refuses_forward_mode
from jaxcalc.core.kernels import kernel
from jaxcalc.core.lanes_last import lanes_last, largest, total
from jaxcalc.core.shards import varying_axes, varying_over
from jaxcalc.methods.least_squares.losses import ROBUST
from jaxcalc.methods.needs import Need, PyTree
from jaxcalc.methods.units import needs_units, power_near

# Beyond the turn of a loss c_i falls below zero, where it is no curvature of a linear problem; it is at least this
# share of rho'.
LEAST_CURVATURE = 0.1
# In single precision squares within these bounds are far enough from the ends of the range.
LEAST_SQUARE, MOST_SQUARE = 1e-20, 1e28


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Residuals:
    """What a residual function returns of one problem.

    Attributes:
        vector: The residuals of m points, (m,), real.
        weights: How often each point counts, (m,), at least 0; None is once. A point of weight 0 is missing: whatever
            its residual and derivatives are, NaN included, has no effect.
        f_scale: C, the scale of the residuals of a robust loss; None with the linear loss.
        loss: The name of the loss.
    """

    vector: Array
    weights: Array | None = None
    f_scale: Array | None = None
    loss: str = dataclasses.field(default="linear", metadata={"static": True})

    @property
    def is_present(self) -> Array | None:
        """Which points are not missing, (m,); None is all of them. A weight that is no number is not missing."""
        return None if self.weights is None else self.weights != 0

    @property
    def count(self) -> Array:
        """The number of points that are not missing, as a number of the residuals' dtype."""
        if self.is_present is None:
            return jnp.asarray(self.vector.size, self.vector.dtype)
        return jnp.sum(self.is_present, dtype=self.vector.dtype)

    @property
    def cost(self) -> Array:
        """The cost, whose derivative with respect to the weight of a point is half of its loss, missing or not."""
        r, weights = self.vector, self.weights
        if self.is_present is not None:
            r = jnp.where(self.is_present | jnp.isfinite(r), r, 0)
        scale: Any = self.f_scale
        terms = r * r if self.loss == "linear" else scale**2 * ROBUST[self.loss]((r / scale) ** 2)[0]
        return 0.5 * jnp.sum(terms if weights is None else weights * terms)

    def linear_problem(self, columns: Array) -> tuple[Array, Array, Array]:
        """Returns r and J by columns, see the module, and a vector whose square is twice the cost.

        Args:
            columns: The derivatives of `vector` with respect to each variable, (n, m).
        """
        return _linear_problem(self, columns)


class Linearization(NamedTuple):
    """An evaluation at `point`: the linear problem there, (L,) lanes last.

    The cost and its gradient are in the caller's units; what overflows is the largest number of the dtype there, since
    it is no sign of a point outside the domain.
    """

    value: Array  # (L,) the cost
    gradient: Array  # (n, L) that of the cost
    point: Array  # (n, L)
    residual: Array  # (m, L) r
    root: Array  # (m, L) with |root|^2 twice the cost: r itself with the linear loss
    jacobian: Array  # (n, m, L) J, a column after the other
    count: Array  # (L,) the number of points that are not missing
    correlation: Array  # (n, L) J_j'r / (a^2 b_j)
    square: Array  # (L,) |root|^2 / a^2
    unit: Array | None = None  # (L,) a; None is 1
    column_unit: Array | None = None  # (n, L) b; None is 1


class Jacobian(Need):
    """The residuals and their Jacobian, by forward mode, or by reverse mode if there are fewer points than variables.

    Functions that define only their reverse mode get reverse mode.
    """

    def evaluate(self, function: Callable, *points: Array) -> tuple[Linearization, PyTree]:
        """Returns the linear problem at x and fun's auxiliary output."""
        (x,) = points
        return linearized(function, x)

    def evaluate_in_lanes(self, function: Callable, args: PyTree, *points: Array) -> tuple[Linearization, PyTree]:
        """Returns the linear problems of all lanes; see `linearized_in_lanes`."""
        (x,) = points
        return linearized_in_lanes(function, args, x)

    def cost(self, n: int) -> int:
        """Returns n: forward mode takes a derivative for each variable."""
        return n


JACOBIAN = Jacobian()


def linearized(function: Callable[[Array], tuple[Residuals, PyTree]], x: Array) -> tuple[Linearization, PyTree]:
    """Returns the linear least-squares problem of a residual function at x, (n,), and its auxiliary output."""
    columns, (residuals, aux) = residual_jacobian(function, x)
    r, columns, root = residuals.linear_problem(columns)
    gradient, square = columns @ r, root @ root
    return Linearization(0.5 * square, gradient, x, r, root, columns, residuals.count, gradient, square), aux


def linearized_in_lanes(function: Callable, args: PyTree, x: Array) -> tuple[Linearization, PyTree]:
    """Returns what `linearized` returns, of all lanes; function(args, x) is of one problem, args and x have lanes last.

    Residuals and derivatives, the caller's arithmetic, are computed once, and the sums over them afterwards.
    """

    def of_one(args: PyTree, x: Array) -> tuple[tuple[Array, Array, Array, Array], PyTree]:
        columns, (residuals, aux) = residual_jacobian(lambda x: function(args, x), x)
        return (*residuals.linear_problem(columns), residuals.count), aux

    (r, columns, root, count), aux = kernel(lanes_last(of_one))(args, x)
    if not needs_units(r.dtype):
        gradient, square = _products(columns, r, root)
        return Linearization(0.5 * square, gradient, x, r, root, columns, count, gradient, square), aux
    correlation, square = _products(columns, r, root)
    outside = _out_of_range(columns, square, x)

    def in_units(_: None) -> tuple[Array, Array, Array, Array]:
        unit, column_unit = (jnp.where(outside, size, 1) for size in _units(columns, r, root, x))
        products = _products(columns / (unit * column_unit)[:, None], r / unit, root / unit)
        return unit, column_unit, jnp.where(outside, products[0], correlation), jnp.where(outside, products[1], square)

    def as_is(_: None) -> tuple[Array, Array, Array, Array]:
        return jnp.ones_like(square), jnp.ones_like(x), correlation, square

    unit, column_unit, correlation, square = jax.lax.cond(jnp.any(outside), in_units, as_is, None)
    gradient, value = _as_caller_knows(correlation, square, unit, column_unit)
    return Linearization(value, gradient, x, r, root, columns, count, correlation, square, unit, column_unit), aux


@kernel
def _products(columns: Array, r: Array, root: Array) -> tuple[Array, Array]:
    return jnp.stack([total(column * r) for column in columns]), total(root * root)


@kernel
def _out_of_range(columns: Array, square: Array, x: Array) -> Array:
    """Returns where a square, or its product with eps^2, may be out of the dtype's range, (L,)."""
    squares = jnp.stack([total(column * column) for column in columns])
    inside = (squares >= LEAST_SQUARE) & (squares <= MOST_SQUARE)
    inside &= jnp.sqrt(squares) * jnp.abs(x) <= MOST_SQUARE**0.5
    return ~(jnp.all(inside, axis=0) & (square >= LEAST_SQUARE) & (square <= MOST_SQUARE))


@kernel
def _units(columns: Array, r: Array, root: Array, x: Array) -> tuple[Array, Array]:
    """Returns the unit of r and those of the columns of J / a.

    The former is the size of its largest component, or of what a variable contributes to it if that is larger.
    """
    sizes = largest(columns, axis=1)
    parts = jnp.minimum(largest(sizes * x), jnp.finfo(r.dtype).max)
    unit = power_near(jnp.maximum(jnp.maximum(largest(r), largest(root)), parts))
    return unit, power_near(sizes / unit)


@kernel
def _as_caller_knows(correlation: Array, square: Array, unit: Array, column_unit: Array) -> tuple[Array, Array]:
    """Returns the gradient and the cost in the caller's units, or the largest numbers where they overflow."""
    most = jnp.finfo(square.dtype).max

    def within_range(value: Array, unknown: Array) -> Array:
        return jnp.where(jnp.isfinite(unknown), jnp.clip(value, -most, most), unknown)

    gradient = correlation * column_unit * unit * unit
    return within_range(gradient, correlation), within_range(0.5 * square * unit * unit, square)


def residual_jacobian(function: Callable, x: Array) -> tuple[Array, tuple[Residuals, PyTree]]:
    """Returns the derivatives of the residuals with respect to each variable, (n, m), and what the function returns."""

    def vector(x: Array) -> tuple[Array, tuple[Residuals, PyTree]]:
        residuals, aux = function(x)
        return residuals.vector, (residuals, aux)

    residuals = jax.eval_shape(function, x)[0]
    # In reverse mode a missing point whose derivative is NaN would touch all others.
    if residuals.vector.size >= x.size or residuals.weights is not None:
        try:
            push = lambda direction: jax.jvp(vector, (x,), (direction,), has_aux=True)[1:]  # noqa: E731
            directions = varying_over(varying_axes(x), jnp.eye(x.size, dtype=x.dtype))
            return jax.vmap(push, out_axes=(0, None))(directions)
        except TypeError as error:
            if not refuses_forward_mode(error):
                raise
    jacobian, output = jax.jacrev(vector, has_aux=True)(x)
    return jacobian.T, output


def _linear_problem(residuals: Residuals, columns: Array) -> tuple[Array, Array, Array]:
    """Returns r and J by columns, see the module, and a vector whose square is twice the cost."""
    r, weights, present = residuals.vector, residuals.weights, residuals.is_present
    if present is not None:
        r, columns = jnp.where(present, r, 0), jnp.where(present, columns, 0)
    often = None if weights is None else jnp.sqrt(weights)
    if residuals.loss == "linear":
        r, columns = (r, columns) if often is None else (often * r, often * columns)
        return r, columns, r
    scale: Any = residuals.f_scale
    z = (r / scale) ** 2
    rho, slope, second = ROBUST[residuals.loss](z)
    curvature = jnp.sqrt(jnp.maximum(slope + 2 * z * second, LEAST_CURVATURE * slope))
    ratio, root = slope / curvature, jnp.sign(r) * scale * jnp.sqrt(rho)
    if often is not None:
        curvature, ratio, root = often * curvature, often * ratio, often * root
    return ratio * r, curvature * columns, root
