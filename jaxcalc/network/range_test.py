"""The learning-rate range test: one run at rates that grow step by step."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxcalc.methods.from_optax import accepted
from jaxcalc.network import door, pictures, training
from jaxcalc.network.gradients import value_and_gradient
from jaxcalc.optimize.door import whole_number
from jaxcalc.programs import compiled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RangeTest(NamedTuple):
    """The cost of the batch before each step, at learning rates that grow.

    Attributes:
        learning_rate: (steps,).
        loss: (S, steps); NaN or infinite once a run has blown up.
        smooth: The median over the seeds, averaged over steps with weights that fade by 0.9 a step, (steps,).
    """

    learning_rate: np.ndarray
    loss: np.ndarray
    smooth: np.ndarray

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed cost is lowest: above it, it grows."""
        return float(self.learning_rate[np.nanargmin(np.where(np.isfinite(self.smooth), self.smooth, np.nan))])

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed cost is lowest: a rate to start from."""
        return self.lowest / 10

    def plot(self) -> "Figure":
        """Draws the cost against the rate, and the suggestion.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return pictures.range_test(self.learning_rate, self.loss, self.smooth, self.suggestion)


def learning_rate_range_test(
    cost: Callable,
    init: Callable,
    data: Any,
    optimizer: Callable,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
    seeds: int | Sequence[int] = 4,
    batch_size: int,
) -> RangeTest:
    """Trains at learning rates that grow from step to step, to see at which the cost falls and at which it grows.

    Step k of K, k = 0 .. K - 1, is taken at the rate lowest * (highest / lowest)^(k / (K - 1)). All seeds run in one
    compiled program, which new rates do not compile again.

    Args:
        cost: cost(params, batch) -> one real number, as for `compare_optimizers`.
        init: init(key) -> params.
        data: A pytree of arrays with a leading sample axis.
        optimizer: A function learning_rate -> optax.GradientTransformation; its state is carried from rate to rate.
        lowest: The first learning rate, positive.
        highest: The last one, above the first.
        steps: How many, K, at least 2.
        seeds: How many runs, or a list of seeds.
        batch_size: Samples in a batch, at most as many as there are.

    Returns:
        Rates and costs, a `suggestion`, and `plot()`.

    Raises:
        TypeError: If the cost is not one real number.
        ValueError: If an option is out of range or the data do not fit.

    Example:
        >>> import jax
        >>> import jaxcalc as jc
        >>> x = jax.random.normal(jax.random.key(0), (64, 3))
        >>> cost = jc.network.supervised(lambda w, x: x @ w, jc.network.mean_squared_error)
        >>> test = jc.learning_rate_range_test(
        ...     cost, lambda key: jax.numpy.zeros((3, 1)), (x, x[:, :1]), jc.sgd, lowest=1e-4, batch_size=16)
        >>> 0.01 < test.suggestion < 0.3
        True

    Source: L. Smith, Cyclical learning rates for training neural networks (2017).
    """
    data, count = door.samples("data", data)
    computation = door.computation(batch_size, count, 1, None, None)
    if not 0 < lowest < highest < np.inf:
        raise ValueError(f"the learning rates must be 0 < lowest < highest; they are {lowest!r} and {highest!r}.")
    keys = jax.vmap(jax.random.key)(jnp.asarray(door.list_of_seeds(seeds), jnp.uint32))
    params = door.start_of(init, keys[0])
    door.require_one_number("cost", cost, params, data)
    floating = jnp.result_type(*jax.tree.leaves(params))
    rates = np.geomspace(lowest, highest, whole_number("steps", steps, 2))
    plan = training.Plan(count // batch_size, batch_size, computation)
    loss = compiled(_growing_rates, [cost, init, optimizer])(plan, keys, jnp.asarray(rates, floating), data)
    loss = np.asarray(loss, float)
    return RangeTest(rates, loss, _smooth(np.median(loss, axis=0)))


def _growing_rates(functions: list[Callable], plan: training.Plan, keys: Array, rates: Array, data: Any) -> Array:
    """Returns the cost before each step, (S, steps)."""
    cost, init, factory = functions
    gradient_of = value_and_gradient(cost, plan.computation)

    def run(key: Array) -> Array:
        params = init(jax.random.fold_in(key, 0))
        epochs = jnp.arange(-(-len(rates) // plan.steps))
        rows = jax.vmap(lambda number: training.batches(key, number, plan, data))(epochs)
        rows = rows.reshape(-1, plan.batch_size)[: len(rates)]

        def step(state: tuple[Any, Any], at: tuple[Array, Array]) -> tuple[tuple[Any, Any], Array]:
            (params, memory), (rate, rows) = state, at
            value, gradient = gradient_of(params, jax.tree.map(lambda leaf: leaf[rows], data))
            update = factory(rate).update
            updates, memory = update(gradient, memory, params, **accepted(update, value=value, grad=gradient))
            return (optax.apply_updates(params, updates), memory), value

        start = jax.tree.map(jnp.asarray, (params, factory(rates[0]).init(params)))
        return jax.lax.scan(step, start, (rates, rows))[1]

    return jax.vmap(run)(keys)


def _smooth(values: np.ndarray, keep: float = 0.9) -> np.ndarray:
    """Returns running averages whose weights fade with the distance and add up to 1 from the first value on."""
    averages, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        averages.append(total / weight)
    return np.array(averages)
