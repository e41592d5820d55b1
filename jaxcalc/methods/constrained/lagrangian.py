"""What an evaluation of a constrained problem holds: values, first derivatives, and the Hessian of the Lagrangian.

    minimise f(x)    subject to    c_E(x) = 0,    c_I(x) >= 0

with the Lagrangian L = sigma f - lambda'c, whose second derivatives one evaluation takes together with all the rest.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.modes import require_refusal
from jaxcalc.methods.needs import Need, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Constrained:
    """What a constrained problem's function returns of one problem.

    Attributes:
        value: The number that is minimised.
        equalities: c_E, (m_E,), which are to be zero.
        inequalities: c_I, (m_I,), which are to be at least zero.
        most_violation: The violation up to which a point counts as feasible; None is the default of the work dtype.
        layout: Of which of the caller's constraints the rows are; whatever it is, it compares by value.
    """

    value: Array
    equalities: Array
    inequalities: Array
    most_violation: Array | None = None
    layout: Any = dataclasses.field(default=None, metadata={"static": True})

    @property
    def constraints(self) -> Array:
        """All constraints, (m,): the equalities, then the inequalities."""
        return jnp.concatenate([self.equalities, self.inequalities])


class Linearized(NamedTuple):
    """An evaluation, (L,) lanes last, with m constraints: first the equalities, then the inequalities."""

    value: Array  # (L,) f; nan where a constraint, or a derivative of first order, is not finite
    gradient: Array  # (n, L) that of f
    constraints: Array  # (m, L)
    jacobian: Array  # (m, n, L), a constraint's gradient after the other
    hessian: Array  # (n, n, L) of the Lagrangian
    most_violation: Any  # (L,) or None
    scale: Any  # (n, L), x being scale times the points at which derivatives are taken; None is 1


class LagrangianHessian(Need):
    """Values, the Jacobian of f and c, and the Hessian of the Lagrangian, by forward mode over reverse mode.

    Functions that define only their reverse mode get reverse mode.
    """

    second_order = True

    def evaluate(self, function: Callable, *points: Array) -> tuple[Linearized, PyTree]:
        """Returns the evaluation of one problem: the points are x, the multipliers lambda, (m,), and sigma, ()."""
        x, multipliers, weight = points

        def lagrangian(x: Array) -> tuple[Array, tuple]:
            output, aux = function(x)
            values = jnp.concatenate([output.value[None], output.constraints])
            return weight * output.value - multipliers @ output.constraints, (values, output.most_violation, aux)

        def first(x: Array) -> tuple[tuple[Array, Array], tuple]:
            (_, others), gradient = jax.value_and_grad(lagrangian, has_aux=True)(x)
            return (gradient, others[0]), others

        try:
            (hessian, rows), (values, most, aux) = jax.jacfwd(first, has_aux=True)(x)
        except (TypeError, NotImplementedError) as error:
            require_refusal(error)
            hessian = jax.jacrev(lambda x: first(x)[0][0])(x)
            rows = jax.jacrev(lambda x: lagrangian(x)[1][0])(x)
            values, most, aux = lagrangian(x)[1]
        finite = jnp.all(jnp.isfinite(values)) & jnp.all(jnp.isfinite(rows))
        value = jnp.where(finite, values[0], jnp.nan)
        return Linearized(value, rows[0], values[1:], rows[1:], hessian, most, None), aux

    def cost(self, n: int) -> int:
        """Returns 1 + n: forward mode takes a derivative of the gradient for each variable."""
        return 1 + n

    def points(self, state: Any) -> tuple[Array, ...]:
        """Returns the trial points, the multipliers and the weights of the objective, in the caller's units."""
        memory = state.memory
        return state.iterate.trial, memory.multipliers, memory.weight


LAGRANGIAN_HESSIAN = LagrangianHessian()
