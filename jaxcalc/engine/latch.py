"""What lanes remember of their problems: a result of each, lanes last, which stays when its problem has ended.

A new field of a result is defined in `OptimizeResult` and computed here: its start in `at_start`, its value after a
step in `after_step`. A field of one family is computed by `Family.fields` alone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel
from jaxcalc.engine.convergence import Outcome
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.result import NOT_YET, OptimizeResult
from jaxcalc.engine.scaling import from_scaled, to_scaled
from jaxcalc.engine.status import RUNNING, Status
from jaxcalc.methods.lane_algebra import all_finite
from jaxcalc.methods.method import Method
from jaxcalc.methods.needs import Evaluation

PyTree = Any


class Step(NamedTuple):
    """One step of all lanes."""

    before: Any  # the method's state that named the trial points
    evaluation: Evaluation
    aux: PyTree  # what fun returned beside its output at the trial points
    after: Any  # the state after the step
    outcome: Outcome


def at_start(family: Family, method: Method, state: Any, history: int, occupied: Array) -> OptimizeResult:
    """Returns the results of lanes whose starts have not been evaluated, with x the start.

    A start that is not finite ends its problem at once, as INVALID without an evaluation: fun may not depend on the
    variable that is not a number. Lanes that are not occupied, (L,), count as ended.
    """
    x0 = state.iterate.trial
    lanes = x0.shape[1]
    status = jnp.where(all_finite(x0), RUNNING, Status.INVALID)
    counter = jnp.zeros(lanes, jnp.int32)
    return family.result_type(
        x=x0,
        fun=jnp.full(lanes, jnp.nan, family.dtype),
        jac=jnp.full_like(x0, jnp.nan),
        status=jnp.where(occupied, status, Status.SUCCESS).astype(jnp.int32),
        nit=counter,
        nfev=counter,
        aux=jax.tree.map(lambda leaf: jnp.zeros((*leaf.shape, lanes), leaf.dtype), family.aux),
        history=jnp.full((history, lanes), jnp.nan, family.dtype) if history else NOT_YET,
        nhev=counter if method.needs.second_order else NOT_YET,
        **family.fields(state),
    )


def after_step(family: Family, method: Method, result: OptimizeResult, step: Step) -> OptimizeResult:
    """Returns what each running problem has reached after a step; the results of ended problems stay."""
    running = result.status == RUNNING
    moved, at_trial = running & step.outcome.moved, step.outcome.at_trial
    at, trial, evaluation = step.after.iterate, step.before.iterate.trial, step.evaluation

    def where_running(new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), new, old)

    fields = family.fields(step.after)
    return family.result_type(
        x=_reached(running, at_trial, trial, at.x, result.x),
        fun=_reached(running, at_trial, evaluation.value, at.value, result.fun),
        jac=_reached(running, at_trial, evaluation.gradient, at.gradient, result.jac),
        status=jnp.where(running, step.outcome.status, result.status),
        nit=jnp.where(running, at.nit, result.nit),
        nfev=result.nfev + running,
        aux=jax.tree.map(lambda new, old: jnp.where(moved, new, old), step.aux, result.aux),
        history=_shifted(result.history, at.value, moved),
        nhev=NOT_YET if result.nhev is None else result.nhev + (running & method.needs.is_second_order_at(step.before)),
        **where_running(fields, {name: getattr(result, name) for name in fields}),
    )


def as_rows(unravel: Callable[[Any], PyTree], result: OptimizeResult, scale: Any, unit: Any) -> OptimizeResult:
    """Returns the lanes' results with lanes first, and x, fun and jac in the form and the units of the caller.

    Args:
        unravel: Makes vectors (n, L) a pytree of leaves (L, ...).
        result: Latched, lanes last, of arrays of JAX or of NumPy.
        scale: Of the variables, with the unit of the function.
        unit: See scale.
    """
    fun, jac, history = from_scaled((result.fun, result.jac, result.history), unit)
    result = dataclasses.replace(result, fun=fun, jac=jac, history=history)

    def lanes_first(leaf: Array) -> Array:
        return leaf.transpose(leaf.ndim - 1, *range(leaf.ndim - 1))

    first = jax.tree.map(lanes_first, dataclasses.replace(result, x=None, jac=None))
    x, jac = unravel(from_scaled(result.x, scale)), unravel(to_scaled(result.jac, scale))
    return dataclasses.replace(first, x=x, jac=jac, nit=first.nit.clip(0))


def _shifted(history: Array | None, value: Array, moved: Array) -> Array:
    """Returns the history, (k, L), with the value at its end and without its first row, where x has moved."""
    return NOT_YET if history is None else jnp.where(moved, jnp.concatenate([history[1:], value[None]]), history)


@kernel
def _reached(running: Array, at_trial: Array, trial: Array, reached: Array, before: Array) -> Array:
    return jnp.where(running, jnp.where(at_trial, trial, reached), before)
