"""Problems whose function returns a number that is minimised, and constraints that its x has to obey."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.engine.family.family import Family, PyTree
from jaxcalc.engine.linear_solves import Matvec
from jaxcalc.engine.problem import Tolerances
from jaxcalc.engine.result import NOT_YET, OptimizeResult, X
from jaxcalc.engine.status import Status
from jaxcalc.methods import constrained
from jaxcalc.methods.box import Box
from jaxcalc.methods.constrained.interior_point import MOST_VARIABLES
from jaxcalc.methods.constrained.lagrangian import Constrained
from jaxcalc.methods.method import Iterate, Method


class Layout(NamedTuple):
    """Which rows of c_E and c_I belong to which components of the caller's constraints; hashable.

    Attributes:
        shapes: What each constraint function returns.
        equal: The component, counted through all constraints, of each equality.
        lower: The component of each inequality that keeps it above its lower side; these come first in c_I.
        upper: The same for the upper side.
        several: Whether the caller gave a list.
    """

    shapes: tuple[tuple[int, ...], ...]
    equal: tuple[int, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    several: bool

    def in_form(self, rows: Array) -> Any:
        """Returns numbers of the rows, (m, L), in the form of the constraints, lanes last; of upper sides negated."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        below = len(self.equal) + len(self.lower)
        # A component has one row at most that adds to it and one that is taken off; the row past the end is zero.
        plus, minus = (np.full(sum(sizes), len(rows)) for _ in range(2))
        plus[[*self.equal, *self.lower]] = np.arange(below)
        minus[list(self.upper)] = np.arange(below, len(rows))
        padded = jnp.concatenate([rows, jnp.zeros_like(rows[:1]) if len(rows) else jnp.zeros((1, *rows.shape[1:]))])
        flat = padded[plus] - padded[minus] if self.upper else padded[plus]
        parts = jnp.split(flat, np.cumsum(sizes)[:-1])
        formed = [part.reshape(*shape, *rows.shape[1:]) for part, shape in zip(parts, self.shapes, strict=True)]
        return formed if self.several else formed[0]

    def rows(self, form: Any, count: int) -> Array:
        """Returns what `in_form` made of rows, leaves (N, ...), as rows (m, N) again."""
        leaves = form if self.several else [form]
        flat = jnp.concatenate([leaf.reshape(count, -1) for leaf in leaves], axis=1).T
        equal, lower, upper = (flat[np.asarray(component, int)] for component in (self.equal, self.lower, self.upper))
        return jnp.concatenate([equal, jnp.maximum(lower, 0), jnp.maximum(-upper, 0)])


SUCCESS_WORDS = (
    "the constraints hold to ctol, and the largest component of the gradient of the Lagrangian, with bounds of the "
    "projected gradient, is at most gtol"
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class ConstrainedResult(OptimizeResult[X]):
    """How one constrained problem ended, or N: then every field has a leading axis N, in the order of the input.

    At a solution, with g the caller's constraint functions and nu the multipliers of the bounds of x,

        jac = sum_j multipliers_j dg_j/dx + nu,

    where multipliers are at least 0 at lower sides ("ineq" included), at most 0 at upper ones and 0 at constraints that
    do not hold x; so a multiplier is the derivative of `fun` with respect to its constraint's bound.

    Attributes:
        multipliers: One for each component of the constraints, in their form: an array in the shape of what the
            constraint function returns, or a list of them where constraints is a list.
        constraint_violation: By how much x violates the constraint that it violates most; 0 if none, nan where the
            problem is INVALID.
        optimality: The largest component of x - P(x - (jac - sum_j multipliers_j dg_j/dx)), P being the projection on
            the bounds of x.
        bound_multipliers: nu in the form of x, at least 0 at lower bounds and at most 0 at upper ones.
    """

    multipliers: Any = NOT_YET
    constraint_violation: Array = NOT_YET
    optimality: Array = NOT_YET
    bound_multipliers: X = NOT_YET

    @property
    def message(self) -> str:
        """What the status says in words; of a batch, a line for each status that occurs. Made on the host."""
        return super().message.replace(Status.SUCCESS.words, SUCCESS_WORDS)

    def where_success(self, fill: Any) -> Self:
        """Returns the result with its floating fields replaced by `fill` where a problem did not succeed."""
        return self._filled(fill, ("x", "fun", "jac", "aux", "multipliers", "bound_multipliers", "optimality"))


# The share of gtol up to which the error of the scaled conditions counts as none, by precision, and the least of them.
ERROR_SHARE = {8: (1e-3, 1e-9), 4: (1e-1, 1e-5)}
# SUCCESS asks for this share of the violation that is allowed.
VIOLATION_SHARE = 0.1
# Once the method has stalled, conditions that hold up to this share of their terms are as good as they get: of the
# gradients that add up to zero, and of the largest multiplier.
PRECISION = {8: 1e-6, 4: 1e-3}


# A constraint holds x where its multiplier is so many times its distance, and does not where the reverse is true.
COMPLEMENTARITY = {8: 100.0, 4: 10.0}
# The system of the derivatives is regular where its eigenvalues, scaled, exceed this many (n + m) eps^(3/4).
SINGULAR = 10.0


def default_violation(dtype: Any) -> float:
    """Returns the violation that SUCCESS allows in a work dtype by default."""
    return 1e-6 if jnp.dtype(dtype).itemsize >= 8 else 1e-3


class ConstrainedFamily(Family):
    """fun(x, *args, *shared) -> `Constrained`: f is minimised under c_E = 0 and c_I >= 0."""

    methods: ClassVar[Mapping[str, Callable[[], Method]]] = constrained.REGISTRY
    result_type: ClassVar[type[OptimizeResult]] = ConstrainedResult

    @staticmethod
    def check_output(output: PyTree) -> None:
        """Does nothing: who joined the functions has checked what they return."""

    def objective(self, output: Constrained) -> Array:
        """Returns f."""
        return output.value

    def sized(self, method: Method) -> Method:
        """Returns the method for this number of constraints."""
        if self.n > MOST_VARIABLES:
            raise ValueError(
                f"there are {self.n} variables, and problems with constraints are solved in at most {MOST_VARIABLES}: "
                "each step factors matrices of all variables. Larger problems want a sparse solver, such as IPOPT."
            )
        sized: Any = super().sized(method)
        return sized.for_constraints(self.output_type.equalities.size, self.output_type.inequalities.size)

    def evaluate_at(
        self,
        needs: Any,
        points: tuple[Array, ...],
        args: tuple[Any, ...],
        shared: tuple[Any, ...],
        scale: Array | None = None,
    ) -> Any:
        """Returns the evaluation and fun's auxiliary output; as in `Family.evaluate_at`."""
        evaluation, aux = super().evaluate_at(needs, points, args, shared, scale)
        return evaluation._replace(scale=scale), aux

    def conclusions(self, state: Any, at: Iterate, box: Box, tolerances: Tolerances) -> Sequence[tuple[Status, Array]]:
        """Returns SUCCESS where the conditions of first order hold in the caller's units, and how problems fail."""
        memory, size = state.memory, jnp.dtype(self.dtype).itemsize
        kkt = memory.kkt
        share, least = ERROR_SHARE[size]
        feasible = kkt.violation <= VIOLATION_SHARE * memory.most_violation
        solved = (memory.whole_error <= jnp.maximum(share * tolerances.gtol, least)) & feasible
        solved &= (kkt.optimality <= tolerances.gtol) & (kkt.product <= tolerances.gtol)
        exact = PRECISION[size]
        spent = at.stalled & (kkt.violation <= memory.most_violation)
        spent &= (kkt.optimality <= exact * kkt.terms) & (kkt.product <= exact * kkt.largest)
        return [
            (Status.SUCCESS, solved),
            (Status.INFEASIBLE, memory.infeasible),
            (Status.UNBOUNDED, memory.unbounded),
            (Status.CONVERGED_PRECISION, spent),
        ]

    def fields(self, state: Any) -> dict[str, Any]:
        """Returns the multipliers in the form of the constraints, the violation and the optimality."""
        kkt = state.memory.kkt
        # Of a start that cannot be evaluated nothing is known.
        known = state.iterate.nit >= 0
        unraveled = jax.vmap(self._unravel, in_axes=-1, out_axes=-1)(kkt.bound_multipliers.astype(self._flat_dtype))
        return {
            "multipliers": self.layout.in_form(kkt.multipliers),
            "constraint_violation": jnp.where(known, kkt.violation, jnp.nan),
            "optimality": jnp.where(known, kkt.optimality, jnp.nan),
            "bound_multipliers": unraveled,
        }

    def restrictions(self, x: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> tuple[Array, Array, Any]:
        """Returns c_E and c_I at x, which of them are equalities, and the violation that is allowed."""
        output = self.output(x, args, shared)[0]
        most = default_violation(self.dtype) if output.most_violation is None else output.most_violation
        return output.constraints, jnp.arange(output.constraints.size) < output.equalities.size, most

    # Derivatives of solutions: the unknowns are x and the multipliers of all rows.

    @property
    def layout(self) -> Layout:
        """How the rows belong to the caller's constraints."""
        return self.output_type.layout

    def unknowns(self, result: Any) -> Array:
        """Returns x and the multipliers, (n + m, N)."""
        return jnp.concatenate([self.ravel(result.x), self.layout.rows(result.multipliers, len(result.status))])

    def stationary(self, u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> tuple[Array, PyTree]:
        """Returns f - y'c over the constraints that hold x, and fun's auxiliary output.

        An inequality that does not hold x adds -y_i^2 / 2, so that its multiplier stays zero. Where it cannot be told
        whether it does, it adds nothing, so that the system of the derivatives is singular: they are not known there.
        """
        output, aux = self.output(u[: self.n], args, shared)
        equalities = output.equalities.size
        y, values = u[self.n :], output.inequalities
        size, distance = jax.lax.stop_gradient((y[equalities:], jnp.abs(values)))
        ratio = COMPLEMENTARITY[jnp.dtype(self.dtype).itemsize]
        holds, free = size > ratio * distance, distance > ratio * size
        terms = jnp.where(holds, y[equalities:] * values, jnp.where(free, 0.5 * y[equalities:] ** 2, 0))
        return output.value - y[:equalities] @ output.equalities - jnp.sum(terms), aux

    def slope(self, u: Array, args: tuple[Any, ...], shared: tuple[Any, ...]) -> Array:
        """Returns the gradient of f."""
        return jax.grad(lambda x: self.value(x, args, shared)[0])(u[: self.n])

    def held(self, result: Any, box: Box) -> Array:
        """Returns which variables a bound holds, (n + m, N): it is nearer than its multiplier is large."""
        nu, x = self.ravel(result.bound_multipliers), self.ravel(result.x)
        held = (nu > x - box.lower) | (-nu > box.upper - x) | (box.lower >= box.upper)
        rows = self.layout.rows(result.multipliers, len(result.status))
        return jnp.concatenate([held, jnp.zeros(rows.shape, bool)])

    def held_at_lower(self, result: Any, box: Box) -> Array:
        """Returns which held variables stand at their lower bounds: those whose multiplier is positive."""
        return self.ravel(result.bound_multipliers) >= 0

    def tangents(self, du: Array, dgradient: Array | None, dslope: Array | None = None) -> dict[str, PyTree]:
        """Returns the tangents of x, of its gradient and of the multipliers."""
        formed = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), self.layout.in_form(du[self.n :]))
        moved = {"x": self.unravel(du[: self.n]), "multipliers": formed}
        if dgradient is not None:
            moved["bound_multipliers"] = self.unravel(dgradient[: self.n])
        return moved | ({} if dslope is None else {"jac": self.unravel(dslope)})

    def linear_solve(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, root: Callable, matvec: Matvec, u: Array, near: bool
    ) -> tuple[Callable[..., Any], Array]:
        """Solves the system of Karush, Kuhn and Tucker where that is regular and x a minimum on the tangent space.

        It is one where the matrix has as many negative eigenvalues as there are constraints (Gould 1985).
        """
        matrix = jax.lax.stop_gradient(jax.jacfwd(root)(u))
        size = jnp.max(jnp.abs(matrix), axis=1)
        unit = jax.lax.rsqrt(jnp.where(size > 0, size, 1))
        eigenvalues, vectors = jnp.linalg.eigh(jnp.where(jnp.isfinite(matrix), matrix, 0) * unit * unit[:, None])
        least = SINGULAR * u.size * float(jnp.finfo(u.dtype).eps) ** 0.75
        regular = jnp.all(jnp.isfinite(matrix)) & jnp.all(jnp.abs(eigenvalues) > least)
        regular &= jnp.sum(eigenvalues < 0) == u.size - self.n
        inverse = 1 / jnp.where(jnp.abs(eigenvalues) > least, eigenvalues, 1)
        return lambda b: unit * (vectors @ (inverse * (vectors.T @ (unit * b)))), regular
