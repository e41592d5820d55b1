"""The standard comparison: ten optimisers teach a perceptron to read digits."""

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcalc.network.compare import compare_optimizers
from jaxcalc.network.comparison import Comparison
from jaxcalc.network.costs import accuracy, cross_entropy, supervised
from jaxcalc.network.data import Split
from jaxcalc.network.landscape import loss_landscape
from jaxcalc.network.mlp import mlp
from jaxcalc.network.range_test import learning_rate_range_test
from jaxcalc.network.sgd import sgd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST_RATE, HIGHEST_RATE = 1e-4, 2.0


def momentum(learning_rate: Any) -> optax.GradientTransformation:
    """Descent with a momentum of 0.9."""
    return sgd(learning_rate, momentum=0.9)


def nesterov(learning_rate: Any) -> optax.GradientTransformation:
    """Descent with Nesterov's momentum of 0.9."""
    return sgd(learning_rate, momentum=0.9, nesterov=True)


OPTIMIZERS: dict[str, Any] = {
    "sgd by hand": sgd,
    "Optax's sgd": optax.sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "rmsprop": optax.rmsprop,
    "adagrad": optax.adagrad,
    "lion": optax.lion,
    "L-BFGS": "lbfgs",
}


class Classifier(NamedTuple):
    """A perceptron in float32, its cost, and the share of samples that it gets right."""

    init: Callable
    cost: Callable
    accuracy: Callable


@functools.cache  # the same functions for the same sizes, so that nothing compiles again
def classifier(sizes: tuple[int, ...]) -> Classifier:
    """Returns the perceptron of these sizes with rectified linear units and the cross-entropy of its outputs."""
    net = mlp(sizes)

    def init(key: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), net.init(key))

    return Classifier(init, supervised(net.apply, cross_entropy), supervised(net.apply, accuracy))


def compare_on_images(
    split: Split,
    *,
    optimizers: Iterable[str] = tuple(OPTIMIZERS),
    hidden: tuple[int, ...] = (32,),
    rates: int = 8,
    seeds: int = 8,
    epochs: int = 30,
    batch_size: int = 32,
    progress: bool = True,
) -> Comparison:
    """Compares optimisers by name on images with labels, at rates from 0.0001 to 2 in equal factors.

    Args:
        split: Images and labels for training, choosing and testing.
        optimizers: Names in `OPTIMIZERS`.
        hidden: The sizes of the hidden layers.
        rates: How many learning rates.
        seeds: How many seeds.
        epochs: How often each run goes through the training images.
        batch_size: Images in a batch.
        progress: Whether to show a line with the time left.

    Raises:
        ValueError: If a name is not in `OPTIMIZERS`, and where `compare_optimizers` raises it.
    """
    unknown = [name for name in optimizers if name not in OPTIMIZERS]
    if unknown:
        raise ValueError(f"there is no optimizer {unknown[0]!r}; there are {', '.join(map(repr, OPTIMIZERS))}.")
    reader = reader_of(split, hidden)
    return compare_optimizers(
        reader.cost,
        reader.init,
        split.train,
        {name: OPTIMIZERS[name] for name in optimizers},
        learning_rates=np.geomspace(LOWEST_RATE, HIGHEST_RATE, rates),
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        validation=split.validation,
        test=split.test,
        metrics={"accuracy": reader.accuracy},
        progress=progress,
    )


def reader_of(split: Split, hidden: tuple[int, ...]) -> Classifier:
    """Returns the perceptron that reads these images, one output a class."""
    images, labels = split.train
    return classifier((images.shape[1], *hidden, int(labels.max()) + 1))


def closer_looks(
    comparison: Comparison, split: Split, *, hidden: tuple[int, ...] = (32,), batch_size: int = 32
) -> "dict[str, Figure]":
    """Draws the range test of descent by hand, and the validation loss around a solution of the best optimiser.

    Args:
        comparison: What `compare_on_images` returned.
        split: What it was given, as are the sizes.
        hidden: The sizes of the hidden layers.
        batch_size: Images in a batch.

    Returns:
        The figures by what they show.
    """
    reader, best = reader_of(split, hidden), comparison.summary()[0].optimizer
    test = learning_rate_range_test(reader.cost, reader.init, split.train, sgd, lowest=1e-4, batch_size=batch_size)
    solution = comparison.solution(best, comparison.seeds[0], reader.init(jax.random.key(0)))
    landscape = loss_landscape(reader.cost, solution, split.validation, dimensions=2, points=41)
    return {
        "Range test of descent by hand": test.plot(),
        f"The validation loss around a solution of {best}": landscape.plot(),
    }
