"""Programs that train all learning rates and seeds of an optimiser at once; one call is one epoch.

A function of (functions, static, *operands) is a program for `jaxcalc.core.programs.compiled`. States and costs have
the leading axes (seeds S, rates R): the runs of a seed share their batches, which are drawn once. A diverged run
continues with NaN and affects no other run.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxcalc.core.arguments import function_name
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Method
from jaxcalc.methods.scalar.from_optax import ASKS_FOR_VALUE_FN, VALUE_FN, accepted
from jaxcalc.network.gradients import Computation, in_precision, value_and_gradient


class Plan(NamedTuple):
    """The static options of a training program: one program is compiled for each plan."""

    steps: int  # batches per epoch
    batch_size: int
    computation: Computation


def starts(functions: list[Callable[..., Any]], plan: None, keys: Array) -> Any:
    """Returns the parameters from which the runs of each seed start, leaves (S, ...)."""
    (init,) = functions
    return jax.vmap(lambda key: init(jax.random.fold_in(key, 0)))(keys)


def evaluate(functions: list[Callable[..., Any]], plan: None, params: Any, data: Any) -> Array:
    """Returns a cost or metric on all data, (S, R).

    The seeds are evaluated one after the other: the activations of all runs on all data may not fit into memory.
    """
    (cost,) = functions
    return jax.lax.map(jax.vmap(lambda params: cost(params, data)), params)


def begin(functions: list[Callable[..., Any]], plan: None, params: Any, rates: Array) -> tuple[Any, Any]:
    """Returns the parameters and the optimiser states before the first step, leaves (S, R, ...)."""
    (factory,) = functions
    state = lambda params, rate: before_first_step(factory, params, rate)  # noqa: E731
    return jax.vmap(jax.vmap(state, (None, 0)), (0, None))(params, rates)


def epoch(
    functions: list[Callable[..., Any]],
    plan: Plan,
    state: tuple[Any, Any],
    rates: Array,
    keys: Array,
    number: Array,
    data: Any,
) -> tuple[tuple[Any, Any], Array]:
    """Takes the steps of one epoch in all runs; returns the states and the mean of the batches' costs, (S, R)."""
    cost, factory = functions
    gradient_of = value_and_gradient(cost, plan.computation)

    def step(state: tuple[Any, Any], rate: Array, batch: Any) -> tuple[tuple[Any, Any], Array]:
        value, gradient = gradient_of(state[0], batch)
        return after_step(factory, rate, state, value, gradient), value

    all_runs = jax.vmap(jax.vmap(step, (0, 0, None)), (0, None, 0))

    def turn(state: Any, rows: Array) -> tuple[Any, Array]:
        return all_runs(state, rates, jax.tree.map(lambda leaf: leaf[rows], data))

    rows = jax.vmap(lambda key: batches(key, number, plan, data), out_axes=1)(keys)
    state, values = jax.lax.scan(turn, state, rows)
    return state, jnp.mean(values, axis=0)


def before_first_step(factory: Callable, params: Any, rate: Array) -> tuple[Any, Any]:
    """Returns parameters and optimiser state of one run, as arrays: a loop needs a state that keeps its dtypes."""
    return jax.tree.map(jnp.asarray, (params, _made(factory, rate).init(params)))


def after_step(factory: Callable, rate: Array, state: tuple[Any, Any], value: Array, gradient: Any) -> tuple[Any, Any]:
    """Returns parameters and optimiser state of one run after a step, of the cost and its gradient before the step."""
    params, memory = state
    update = _made(factory, rate).update
    try:
        updates, memory = update(gradient, memory, params, **accepted(update, value=value, grad=gradient))
    except TypeError as error:
        if VALUE_FN not in str(error):
            raise
        raise TypeError(
            f"{ASKS_FOR_VALUE_FN}; here a step takes one gradient of one batch. Leave the line search out, "
            'optax.lbfgs(rate, linesearch=None), or compare the full-batch method "lbfgs" of this library.'
        ) from error
    _require_same_types("state", state[1], memory)
    _require_same_types("updates", params, updates)
    return optax.apply_updates(params, updates), memory


def _made(factory: Callable, rate: Array) -> optax.GradientTransformation:
    made = factory(rate)
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(
            "an optimizer is a function learning_rate -> GradientTransformation, such as optax.adam itself; "
            f"{function_name(factory)} returned a {type(made).__name__}."
        )
    return made


def batches(key: Array, number: Array, plan: Plan, data: Any) -> Array:
    """Returns the sample indices of each batch of an epoch, (steps, B), shuffled by the key and the epoch's number.

    The last incomplete batch is left out.
    """
    count = len(jax.tree.leaves(data)[0])
    order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, 1), number), count)
    return order[: plan.steps * plan.batch_size].reshape(plan.steps, plan.batch_size)


def begin_full_batch(
    functions: list[Callable[..., Any]], computation: Computation, method: Method, params: Any, data: Any
) -> tuple[Any, Any]:
    """Returns the parameters, leaves (S, 1, ...), and the method's state, one lane per seed, before any evaluation."""
    objective = _objective(functions, computation, params, data)
    return jax.tree.map(lambda leaf: leaf[:, None], params), method.init(objective.ravel(params), Box())


def evaluation(
    functions: list[Callable[..., Any]], computation: Computation, method: Method, state: tuple[Any, Any], data: Any
) -> tuple[tuple[Any, Any], Array]:
    """Takes one evaluation of all data and one step in all runs; returns the states and the cost at x, (S, 1)."""
    objective = _objective(functions, computation, jax.tree.map(lambda leaf: leaf[:, 0], state[0]), data)
    found, _ = objective.evaluate(method.needs, state[1], (), (data,))
    after = method.step(state[1], found, Box())
    return (jax.tree.map(lambda leaf: leaf[:, None], objective.unravel(after.iterate.x)), after), after.iterate.value[
        :, None
    ]


def _objective(functions: list[Callable], computation: Computation, params: Any, data: Any) -> Scalar:
    cost = in_precision(functions[0], computation.compute_dtype)
    of_one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)
    return Scalar(cost, of_one, (), (data,))


def _require_same_types(what: str, before: Any, after: Any) -> None:
    """Raises a TypeError unless an optimiser's state, or its updates, have the structure, shapes and dtypes expected.

    Args:
        what: "state" or "updates". Updates may differ from the parameters in dtype.
        before: The state before the update; for updates, the parameters.
        after: The state after the update; for updates, the updates.
    """
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise TypeError(
            f"an update of the optimizer changes the structure of its {what}:\n  before: {jax.tree.structure(before)}"
            f"\n  after:  {jax.tree.structure(after)}"
        )
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        # `optax.apply_updates` keeps the dtypes of the parameters, whatever dtypes their updates have.
        dtype_fits = what == "updates" or jnp.result_type(old) == jnp.result_type(new)
        if jnp.shape(old) != jnp.shape(new) or not dtype_fits:
            place = jax.tree_util.keystr(path)
            raise TypeError(
                f"an update of the optimizer changes its {what}{place} from {jnp.shape(old)} {jnp.result_type(old)} to "
                f"{jnp.shape(new)} {jnp.result_type(new)}"
            )
