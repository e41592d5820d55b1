"""The comparison of `jaxcalc compare`: ten optimisers train a perceptron on images of digits."""

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
    """Stochastic gradient descent with momentum 0.9."""
    return sgd(learning_rate, momentum=0.9)


def nesterov(learning_rate: Any) -> optax.GradientTransformation:
    """Stochastic gradient descent with Nesterov's momentum 0.9."""
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
    """A perceptron with float32 parameters that classifies images."""

    init: Callable  # init(key) -> params
    cost: Callable  # cost(params, (images, labels)) -> cross-entropy
    accuracy: Callable  # accuracy(params, (images, labels)) -> share of images classified correctly


@functools.cache  # programs are compiled for function objects: equal sizes must give the same objects
def classifier(sizes: tuple[int, ...]) -> Classifier:
    """Returns the perceptron with rectified linear units and these numbers of units in its layers."""
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
    """Compares optimisers on images with labels, at learning rates from 0.0001 to 2, spaced by equal factors.

    Args:
        split: Images and labels for training, validation and test.
        optimizers: Names in `OPTIMIZERS`.
        hidden: The number of units in each hidden layer.
        rates: The number of learning rates.
        seeds: The number of seeds.
        epochs: The number of passes of each run through the training images.
        batch_size: The number of images in a batch.
        progress: Whether to show a progress line with the time left.

    Raises:
        ValueError: If a name is not in `OPTIMIZERS`, or `compare_optimizers` raises it.
    """
    unknown = [name for name in optimizers if name not in OPTIMIZERS]
    if unknown:
        raise ValueError(f"there is no optimizer {unknown[0]!r}; there are {', '.join(map(repr, OPTIMIZERS))}.")
    model = classifier_for(split, hidden)
    return compare_optimizers(
        model.cost,
        model.init,
        split.train,
        {name: OPTIMIZERS[name] for name in optimizers},
        learning_rates=np.geomspace(LOWEST_RATE, HIGHEST_RATE, rates),
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        validation=split.validation,
        test=split.test,
        metrics={"accuracy": model.accuracy},
        progress=progress,
    )


def classifier_for(split: Split, hidden: tuple[int, ...]) -> Classifier:
    """Returns the classifier with one input for each pixel of these images and one output for each class."""
    images, labels = split.train
    return classifier((images.shape[1], *hidden, int(labels.max()) + 1))


def closer_looks(
    comparison: Comparison, split: Split, *, hidden: tuple[int, ...] = (32,), batch_size: int = 32
) -> "dict[str, Figure]":
    """Draws the range test of `sgd`, and the validation loss around a solution of the best optimiser.

    Args:
        comparison: The result of `compare_on_images` for the following arguments.
        split: Images and labels for training, validation and test.
        hidden: The number of units in each hidden layer.
        batch_size: The number of images in a batch.

    Returns:
        The two figures, by their headings.
    """
    model, best = classifier_for(split, hidden), comparison.summary()[0].optimizer
    test = learning_rate_range_test(model.cost, model.init, split.train, sgd, lowest=1e-4, batch_size=batch_size)
    solution = comparison.solution(best, comparison.seeds[0], model.init(jax.random.key(0)))
    landscape = loss_landscape(model.cost, solution, split.validation, dimensions=2, points=41)
    return {
        "Range test of descent by hand": test.plot(),
        f"The validation loss around a solution of {best}": landscape.plot(),
    }
