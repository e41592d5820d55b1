"""Training runs, all learning rates and seeds of an optimiser at once, an epoch a call.

Every function here is a module-level program of (functions, static, *operands), for `jaxcalc.programs.compiled`. Runs
are the leading axes (seeds S, rates R): runs of one seed share their batches, which are then drawn once. A run that has
diverged goes on with its NaNs and harms no other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxcalc.engine.objective import Objective
from jaxcalc.methods.from_optax import accepted
from jaxcalc.methods.method import Method
from jaxcalc.network.gradients import Computation, in_precision, value_and_gradient


class Plan(NamedTuple):
    """What shapes a program beside the functions and the arrays."""

    steps: int  # an epoch
    batch_size: int
    computation: Computation


def starts(functions: list[Callable], plan: None, keys: Array) -> Any:
    """Returns the parameters that the runs of each seed start from, leaves (S, ...)."""
    (init,) = functions
    return jax.vmap(lambda key: init(jax.random.fold_in(key, 0)))(keys)


def evaluate(functions: list[Callable], plan: None, params: Any, data: Any) -> Array:
    """Returns a cost or metric on whole data, (S, R); seed after seed, because all runs at once may not fit."""
    (cost,) = functions
    return jax.lax.map(jax.vmap(lambda params: cost(params, data)), params)


def begin(functions: list[Callable], plan: None, params: Any, rates: Array) -> tuple[Any, Any]:
    """Returns parameters and optimiser states (S, R, ...) before the first step."""
    (factory,) = functions

    def state(params: Any, rate: Array) -> tuple[Any, Any]:
        # As arrays of a fixed dtype: what a loop carries keeps its type.
        return jax.tree.map(jnp.asarray, (params, factory(rate).init(params)))

    return jax.vmap(jax.vmap(state, (None, 0)), (0, None))(params, rates)


def epoch(
    functions: list[Callable], plan: Plan, state: tuple[Any, Any], rates: Array, keys: Array, number: Array, data: Any
) -> tuple[tuple[Any, Any], Array]:
    """Takes the steps of one epoch in all runs; returns the states and the mean cost of the batches, (S, R)."""
    cost, factory = functions
    gradient_of = value_and_gradient(cost, plan.computation)

    def step(state: tuple[Any, Any], rate: Array, batch: Any) -> tuple[tuple[Any, Any], Array]:
        params, memory = state
        value, gradient = gradient_of(params, batch)
        update = factory(rate).update
        updates, memory = update(gradient, memory, params, **accepted(update, value=value, grad=gradient))
        check_kept("state", state[1], memory)
        check_kept("updates", params, updates)
        return (optax.apply_updates(params, updates), memory), value

    all_runs = jax.vmap(jax.vmap(step, (0, 0, None)), (0, None, 0))

    def turn(state: Any, rows: Array) -> tuple[Any, Array]:
        return all_runs(state, rates, jax.tree.map(lambda leaf: leaf[rows], data))

    rows = jax.vmap(lambda key: batches(key, number, plan, data), out_axes=1)(keys)
    state, values = jax.lax.scan(turn, state, rows)
    return state, jnp.mean(values, axis=0)


def batches(key: Array, number: Array, plan: Plan, data: Any) -> Array:
    """Returns the rows of each batch of an epoch, (steps, B): a shuffling by key, without the incomplete last batch."""
    count = len(jax.tree.leaves(data)[0])
    order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, 1), number), count)
    return order[: plan.steps * plan.batch_size].reshape(plan.steps, plan.batch_size)


def begin_full_batch(
    functions: list[Callable], computation: Computation, method: Method, params: Any, data: Any
) -> tuple[Any, Any]:
    """Returns the parameters (S, 1, ...) and the method's states before the first evaluation."""
    objective = _objective(functions, computation, params, data)
    return jax.tree.map(lambda leaf: leaf[:, None], params), method.init(objective.ravel(params), None, None)


def evaluation(
    functions: list[Callable], computation: Computation, method: Method, state: tuple[Any, Any], data: Any
) -> tuple[tuple[Any, Any], Array]:
    """Takes one evaluation of all data and one step; returns the states and the cost reached, (S, 1)."""
    objective = _objective(functions, computation, jax.tree.map(lambda leaf: leaf[:, 0], state[0]), data)
    found, _ = objective.evaluate(state[1], (), (data,), method.needs)
    after = method.step(state[1], found, None, None)
    return (jax.tree.map(lambda leaf: leaf[:, None], objective.unravel(after.x)), after), after.value[:, None]


def _objective(functions: list[Callable], computation: Computation, params: Any, data: Any) -> Objective:
    cost = in_precision(functions[0], computation.compute_dtype)
    of_one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)
    return Objective(cost, of_one, (), (data,), False)


def check_kept(what: str, before: Any, after: Any) -> None:
    """Raises a TypeError where an optimiser's update changes the structure, a shape or a dtype; while it is traced."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise TypeError(
            f"an update of the optimizer changes the structure of its {what}:\n  before: {jax.tree.structure(before)}"
            f"\n  after:  {jax.tree.structure(after)}"
        )
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        # Parameters keep their dtype whatever their updates have.
        steady = what == "updates" or jnp.result_type(old) == jnp.result_type(new)
        if jnp.shape(old) != jnp.shape(new) or not steady:
            place = jax.tree_util.keystr(path)
            raise TypeError(
                f"an update of the optimizer changes its {what}{place} from {jnp.shape(old)} {jnp.result_type(old)} to "
                f"{jnp.shape(new)} {jnp.result_type(new)}"
            )
