"""The learning-rate range test: a training whose learning rate grows with every step."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.core.arguments import called_as, require_option, whole_number
from jaxcalc.core.programs import compiled
from jaxcalc.network import arguments, training
from jaxcalc.network.gradients import value_and_gradient
from jaxcalc.plots.canvas import figure_of
from jaxcalc.plots.comparisons import range_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RangeTest(NamedTuple):
    """The result of `learning_rate_range_test`.

    Attributes:
        learning_rate: The learning rate of each step, (steps,).
        loss: The cost of the batch before each step, for each of S seeds, (S, steps); not finite once a run diverges.
        smooth: The median of `loss` over the seeds, in which NaN counts as infinite, averaged over the steps so far
            with weights that fall by the factor 0.9 from each step to the one before, (steps,).
    """

    learning_rate: np.ndarray
    loss: np.ndarray
    smooth: np.ndarray

    @property
    def lowest(self) -> float:
        """The learning rate at which the smoothed cost is lowest.

        Raises:
            ValueError: If it is finite at no rate.
        """
        if not np.any(np.isfinite(self.smooth)):
            raise ValueError(
                f"the cost is not finite in at least half of the {len(self.loss)} seeds from the first step on: it "
                "tells nothing of learning rates. Look for nan in the data and in what init returns."
            )
        return float(self.learning_rate[np.nanargmin(np.where(np.isfinite(self.smooth), self.smooth, np.nan))])

    @property
    def suggestion(self) -> float:
        """A learning rate to begin with: a tenth of the rate at which the smoothed cost is lowest."""
        return self.lowest / 10

    def plot(self) -> "Figure":
        """Draws the costs against the learning rate, and marks the suggestion.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return figure_of(range_test(self.learning_rate, self.loss, self.smooth, self.suggestion))


@called_as("learning_rate_range_test(cost, init, data, optimizer, batch_size=)", 0)
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
    """Trains with a learning rate that grows with every step, to find the rates at which the cost falls.

    Step k = 0, ..., K - 1 has the rate lowest * (highest / lowest)^(k / (K - 1)). All seeds run in one compiled
    program. A second call with another lowest or highest rate compiles nothing.

    Args:
        cost: cost(params, batch) -> one real number, as for `compare_optimizers`.
        init: init(key) -> params.
        data: A pytree of arrays with a leading sample axis.
        optimizer: A function learning_rate -> optax.GradientTransformation. The optimiser's state is kept when the rate
            grows.
        lowest: The learning rate of the first step, positive.
        highest: The learning rate of the last step, above `lowest`.
        steps: The number of steps, K, at least 2.
        seeds: The number of runs, S, each with a start and batches of its own, or a list of seeds.
        batch_size: The number of samples in a batch, at most the number of samples in the data.

    Returns:
        The rates and costs, with a `suggestion` and `plot()`.

    Raises:
        TypeError: If the cost does not return one real number, or steps or batch_size is not a whole number.
        ValueError: If an option is out of range, or arrays of the data differ in their number of samples.

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
    data, count = arguments.samples("data", data)
    plan = arguments.training_plan(batch_size, count, micro_batches=1, compute_dtype=None, devices=None)
    require_option("lowest", lowest, strictly=True)
    require_option("highest", highest, strictly=True)
    if not 0 < lowest < highest < np.inf:
        raise ValueError(f"the learning rates must be 0 < lowest < highest; they are {lowest!r} and {highest!r}.")
    keys = jax.vmap(jax.random.key)(jnp.asarray(arguments.list_of_seeds(seeds), jnp.uint32))
    params = arguments.parameter_shapes(init, keys[0])
    arguments.require_scalar_function("cost", cost, params, data)
    floating = jnp.result_type(*jax.tree.leaves(params))
    arguments.require_factory(optimizer)
    rates = np.geomspace(lowest, highest, whole_number("steps", steps, 2))
    loss = compiled(_growing_rates, [cost, init, optimizer])(plan, keys, jnp.asarray(rates, floating), data)
    loss = np.asarray(loss, float)
    # A run that has diverged counts as infinite, so that it does not stand for the others.
    return RangeTest(rates, loss, _smooth(np.median(np.where(np.isnan(loss), np.inf, loss), axis=0)))


def _growing_rates(functions: list[Callable], plan: training.Plan, keys: Array, rates: Array, data: Any) -> Array:
    """Returns the cost of the batch before each step, for all seeds, (S, steps)."""
    cost, init, factory = functions
    gradient_of = value_and_gradient(cost, plan.computation)

    def run(key: Array) -> Array:
        params = init(jax.random.fold_in(key, 0))
        epochs = jnp.arange(-(-len(rates) // plan.steps))
        rows = jax.vmap(lambda number: training.batches(key, number, plan, data))(epochs)
        rows = rows.reshape(-1, plan.batch_size)[: len(rates)]

        def step(state: tuple[Any, Any], at: tuple[Array, Array]) -> tuple[tuple[Any, Any], Array]:
            rate, rows = at
            value, gradient = gradient_of(state[0], jax.tree.map(lambda leaf: leaf[rows], data))
            return training.after_step(factory, rate, state, value, gradient), value

        start = training.before_first_step(factory, params, rates[0])
        return jax.lax.scan(step, start, (rates, rows))[1]

    return jax.vmap(run)(keys)


def _smooth(values: np.ndarray, keep: float = 0.9) -> np.ndarray:
    """Returns the averages s_k = sum_(j <= k) keep^(k - j) values_j / sum_(j <= k) keep^(k - j)."""
    averages, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        averages.append(total / weight)
    return np.array(averages)
