"""Loss landscapes: the cost around a solution, along random directions that are normalised filter by filter."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.core.arguments import (
    arrays,
    called_as,
    require_functions,
    require_one_number,
    require_option,
    whole_number,
)
from jaxcalc.core.programs import compiled
from jaxcalc.core.tracing import explained
from jaxcalc.plots.canvas import figure_of
from jaxcalc.plots.planes import landscape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Landscape(NamedTuple):
    """The cost on a line or a square around a solution.

    Attributes:
        along: The steps t along a direction, in units of its length, (points,).
        loss: On a line the cost at params + t_k * first, (points,). On a square the cost at params + t_j * first +
            t_i * second in row i and column j, (points, points).
    """

    along: np.ndarray
    loss: np.ndarray

    def plot(self) -> "Figure":
        """Draws the cost as a curve along the line, or as contours on the square.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return figure_of(landscape(self.along, self.loss))


@called_as("loss_landscape(cost, params, data)")
def loss_landscape(
    cost: Callable,
    params: Any,
    data: Any,
    *,
    dimensions: int = 1,
    span: float = 1.0,
    points: int = 51,
    seed: int = 0,
    filter_axis: int = 0,
) -> Landscape:
    """The cost on a line or a square through a solution, along random filter-normalised directions.

    A filter is the weights that lead into one unit. A direction is drawn from a normal distribution; each of its
    filters is then scaled to the length of the same filter of the solution, and its entries for arrays of fewer than
    two dimensions, such as biases, are zero. Without this scaling a network with larger weights would look flatter,
    although it may be the same function.

    Args:
        cost: cost(params, data) -> one real number.
        params: The solution, a pytree of floating arrays.
        data: The data that the cost takes after params. Every point is evaluated on all data.
        dimensions: 1 for a line, 2 for a square.
        span: The largest step to either side, in units of the length of the solution's filters.
        points: The number of points along each direction, at least 2; with an odd number the middle point is the
            solution.
        seed: The seed of the random directions.
        filter_axis: The axis of a weight array that counts the units it leads into: 0 for `mlp` and Equinox, -1 for
            Flax.

    Returns:
        The steps and the cost at each, with `plot()`.

    Raises:
        TypeError: If dimensions or points is not a whole number.
        ValueError: If an option is out of range, or no leaf of params has two dimensions or more.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> slice_ = jc.loss_landscape(lambda w, _: jnp.sum((w - 1) ** 2), jnp.ones((3, 2)), (), points=3)
        >>> slice_.loss.round(6).tolist()  # the filters have length sqrt 2 each
        [6.0, 0.0, 6.0]

    Source: H. Li, Z. Xu, G. Taylor, C. Studer and T. Goldstein, Visualizing the loss landscape of neural nets (2018).
    """
    require_functions([cost], "cost", several=False)
    if whole_number("dimensions", dimensions) not in (1, 2):
        raise ValueError(f"dimensions must be 1 or 2; it is {dimensions!r}.")
    require_option("span", span, strictly=True)
    params, data = arrays("params", params), arrays("data", data)
    if not any(jnp.ndim(leaf) > 1 for leaf in jax.tree.leaves(params)):
        raise ValueError(
            "params has no filters: none of its arrays has two dimensions or more. A direction is scaled by the "
            "lengths of filters, which are rows of matrices: give a vector of weights as weights[None]."
        )
    if isinstance(filter_axis, bool) or not isinstance(filter_axis, int | np.integer):
        raise TypeError(f"filter_axis is the number of an axis, such as 0 or -1; it is {filter_axis!r}.")
    along = np.linspace(-span, span, whole_number("points", points, 2))
    keys = jax.random.split(jax.random.key(whole_number("seed", seed)), 2)[:dimensions]
    traced = explained(cost)
    require_one_number("cost", jax.eval_shape(lambda params: traced(params, data), params))
    loss = compiled(_slice, [cost])((dimensions, filter_axis), params, data, jnp.asarray(along), keys)
    return Landscape(along, np.asarray(loss))


def filter_normalized(key: Array, params: Any, filter_axis: int) -> Any:
    """Returns a random direction, a pytree like params, whose filters have the lengths of the filters of params."""
    leaves, structure = jax.tree.flatten(params)

    def direction(key: Array, leaf: Array) -> Array:
        if leaf.ndim < 2:
            return jnp.zeros_like(leaf)
        drawn = jax.random.normal(key, leaf.shape, leaf.dtype)
        others = tuple(axis for axis in range(leaf.ndim) if axis != filter_axis % leaf.ndim)
        lengths = lambda weights: jnp.sqrt(jnp.sum(weights**2, axis=others, keepdims=True))  # noqa: E731
        return drawn * lengths(leaf) / lengths(drawn)

    keys = jax.random.split(key, len(leaves))
    return structure.unflatten([direction(key, leaf) for key, leaf in zip(keys, leaves, strict=True)])


def _slice(
    functions: list[Callable], options: tuple[int, int], params: Any, data: Any, along: Array, keys: Array
) -> Array:
    """Returns the cost at every point; the points are evaluated one after the other, each on all data."""
    (cost,), (dimensions, filter_axis) = functions, options
    directions = [filter_normalized(key, params, filter_axis) for key in keys]
    grid = jnp.stack(jnp.meshgrid(*[along] * dimensions), axis=-1).reshape(-1, dimensions)

    def at(steps: Array) -> Array:
        moved = params
        for step, direction in zip(steps, directions, strict=True):
            moved = jax.tree.map(lambda x, d, step=step: x + step.astype(x.dtype) * d, moved, direction)
        return cost(moved, data)

    return jax.lax.map(at, grid).reshape((len(along),) * dimensions)
