"""Points of problems with constraints: whoever compares them asks for an exact penalty function instead of f.

The minima of f under constraints are those of

    f(x) + rho sum_j max(|violation_j(x)| - ctol, 0)

for every rho above the largest multiplier (Nocedal and Wright 2006, theorem 17.3), so that what tells minima of a
function apart tells these apart too: this function rises between two of them. Violations up to ctol, which SUCCESS
allows, cost nothing.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxcalc.core.programs import compiled, joined
from jaxcalc.engine import solve
from jaxcalc.engine.certificate import AT_ONCE, Certificate
from jaxcalc.engine.family.constrained import ConstrainedFamily, default_violation
from jaxcalc.methods.box import Box
from jaxcalc.methods.constrained.lagrangian import Constrained
from jaxcalc.methods.method import Method
from jaxcalc.optimize.constraints import checked, common_numbers, of_inputs, with_constraints
from jaxcalc.optimize.minimize import minimize_many
from jaxcalc.optimize.multistart.points import VALUES, Blocks, Data, Ends

# The penalty, in units of the largest multiplier that has been met.
PENALTY = 1e3
# The first barrier parameter of a descent that is to end near its start.
NEARBY_BARRIER = 1e-6


class ConstrainedBlocks(Blocks):
    """A function with constraints as functions of rows of points; values are those of the penalty function."""

    is_constrained = True

    def __init__(
        self, fun: Callable, data: Data, many: bool, box: Box, method: Method, tolerances: dict[str, Any],
        scale: Any = None, canonical: Callable | None = None, *, constraints: Any, ctol: Any = None,
    ):  # fmt: skip
        """Takes what `Blocks` takes, the constraints in the caller's form and the violation that is allowed."""
        super().__init__(fun, data, many, box, method, tolerances, scale, canonical)
        parts, several = checked(constraints)
        self._constraints = constraints
        # fun and the constraint functions are not kept alive by the function that is made of them.
        self._parts = [part.fun for part in parts]
        self._whole = with_constraints(fun, parts, several, False)
        self._common = common_numbers(parts, ctol)
        self._most = default_violation(self.lower.dtype) if ctol is None else float(ctol)
        self._largest = np.ones(self.problems)

    def options(self) -> dict[str, Any]:
        """Returns the arguments of `minimize_many` that all descents have."""
        most = {} if self._common["most_violation"] is None else {"ctol": self._most}
        return super().options() | {"constraints": self._constraints} | most

    def descend_nearby(self, x: np.ndarray, problem: np.ndarray) -> Ends:
        """Returns where descents from these rows end that stay where f is flat.

        Along a curve of minima the logarithms of the barrier pull to the middle of all bounds and inequalities. So the
        barrier is low from the start on, and gtol / 2 sum_i (x_i - start_i)^2 / scale_i is added to f: its gradient is
        at most gtol within the box, and larger than the barrier's.
        """
        return self.descend(x, problem, minimized=self._minimized_nearby)

    def _minimized_nearby(self, x: Any, problem: np.ndarray, data: Data, **options: Any) -> Any:
        own, shared = self._own_and_shared(problem, data)
        method: Any = self._method
        method = dataclasses.replace(method, first_barrier=NEARBY_BARRIER)
        width = self.upper - self.lower
        width = np.where(np.isfinite(width), width, 1)
        options = self.options() | {"method": method, "constraints": _ignoring_start(self._constraints)} | options
        shared = (*shared, float(self.tolerances["gtol"]) / width)
        return minimize_many(joined(_Tied, [self._fun]), x, (x, *own), shared=shared, **options)

    def judged(self, result: Any, problem: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the values of ends, nan where constraints are violated, and the violations; notes the multipliers."""
        size = max_of_rows(result.multipliers, len(problem))
        known = np.asarray(result.success) & np.isfinite(size)
        np.maximum.at(self._largest, problem[known], size[known])
        feasible = result.constraint_violation <= self._most
        return np.where(feasible, result.fun, np.nan), np.asarray(result.constraint_violation)

    def values(self, x: np.ndarray, problem: np.ndarray) -> np.ndarray:
        """Returns the penalty function's values at these rows, (K,)."""
        np.add.at(self.nfev, problem, 1)
        program = compiled(_penalised, [self._whole])
        most, rho = self._most, PENALTY * self._largest
        excess = self._by_blocks(VALUES, lambda x, own, shared: program(None, x, (None, *own), (*shared, self._common),
                                                                        most), x, problem)  # fmt: skip
        value, violation = excess
        with np.errstate(invalid="ignore", over="ignore"):
            return value + np.where(violation > 0, rho[problem] * violation, 0)

    def certify(self, x: np.ndarray, problem: np.ndarray) -> Certificate:
        """Returns the certificates of these rows on the tangent spaces of the constraints, as NumPy arrays."""
        box, gtol = jax.tree.map(lambda side: side[None], self._box), self.tolerances["gtol"]

        def certified(x: Any, own: tuple, shared: tuple) -> Certificate:
            return solve.certify(self._whole, ConstrainedFamily, x, (None, *own), (*shared, self._common), box, gtol)

        return self._by_blocks(AT_ONCE, certified, x, problem)


class _Tied:
    """(x, start, *inputs, weights) -> fun(x, *inputs) + sum_i weights_i (x_i - start_i)^2 / 2."""

    def __init__(self, references: Sequence[Callable]):
        (self._reference,) = references

    def __call__(self, x: Any, start: Any, *others: Any) -> Any:
        *inputs, weights = others
        way = ravel_pytree(x)[0] - ravel_pytree(start)[0]
        return self._reference()(x, *inputs) + 0.5 * jnp.sum(weights * way**2)


class _IgnoringStart:
    """(x, start, *inputs, weights) -> g(x, *inputs), or g(x) where g takes nothing else."""

    def __init__(self, references: Sequence[Callable]):
        (self._reference,) = references

    def __call__(self, x: Any, start: Any, *others: Any) -> Any:
        return of_inputs(self._reference(), x, others[:-1])


def _ignoring_start(constraints: Any) -> list[Any]:
    """Returns the constraints for what `_Tied` takes: only functions without arguments of their own are given it."""

    def ignoring(one: Any) -> Any:
        if isinstance(one, Mapping) and not one.get("args"):
            return {**one, "fun": joined(_IgnoringStart, [one["fun"]])}
        if isinstance(one, scipy.optimize.NonlinearConstraint):
            return scipy.optimize.NonlinearConstraint(joined(_IgnoringStart, [one.fun]), one.lb, one.ub)
        return one

    return [ignoring(one) for one in (constraints if isinstance(constraints, list | tuple) else [constraints])]


def max_of_rows(tree: Any, count: int) -> np.ndarray:
    """Returns the largest absolute entry of each of `count` rows of leaves (count, ...)."""
    leaves = [np.abs(np.asarray(leaf)).reshape(count, -1) for leaf in jax.tree.leaves(tree)]
    return np.max(np.concatenate(leaves, axis=1), axis=1, initial=0)


def _penalised(functions: list[Callable], _: None, x: Any, args: tuple, shared: tuple, most: Any) -> Any:
    """Returns the values of f, and the sums of the violations beyond `most`, (K,) each."""
    (whole,) = functions

    def one(x: Any, args: tuple) -> tuple[Array, Array]:
        output: Constrained = whole(x, *args, *shared)
        violations = jnp.concatenate([jnp.abs(output.equalities), -output.inequalities])
        excess = jnp.where(jnp.isnan(violations), jnp.inf, jnp.maximum(violations - most, 0))
        return output.value, jnp.sum(excess)

    return jax.vmap(one)(x, args)
