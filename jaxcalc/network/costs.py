"""Costs of a network's outputs against their targets, with one number for a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer


def mean_squared_error(outputs: Array, targets: Array) -> Array:
    """The mean of (output - target)^2 over all samples and outputs.

    Args:
        outputs: (..., k).
        targets: Of the same shape: another shape is an error, never broadcast.

    Returns:
        A number, in units of the outputs squared.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> float(mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
        2.0

    Source: C. Gauss, Theoria combinationis observationum (1823).
    """
    _same_shape(outputs, targets)
    return jnp.mean((outputs - targets) ** 2)


def quadratic_cost(outputs: Array, targets: Array) -> Array:
    """The textbook's cost: half the squared distance of outputs and targets, averaged over the samples.

    C = 1/(2m) sum_i |targets_i - outputs_i|^2

    Args:
        outputs: (m, k), or (k,) for one sample.
        targets: Of the same shape.

    Returns:
        A number, in units of the outputs squared.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> float(quadratic_cost(jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]])))
        2.0

    Source: M. Nielsen, Neural Networks and Deep Learning (2015); A. Farley, The Calculus of Neural Networks (2019).
    """
    _same_shape(outputs, targets)
    return jnp.mean(jnp.sum((outputs - targets) ** 2, axis=-1)) / 2


def cross_entropy(logits: Array, labels: Array) -> Array:
    """The mean of -log p(label), with p = softmax(logits), in nats.

    Args:
        logits: (..., k), one for each class.
        labels: Classes from 0 to k - 1 as integers (...), or the classes' probabilities (..., k), which add up to 1.

    Returns:
        A number.

    Raises:
        ValueError: If the shapes do not fit, or a label is not one of the classes. The latter is seen where the labels
            are not traced, as in the checks of `compare_optimizers`; traced, the cost of such a batch is NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(cross_entropy(jnp.zeros((3, 10)), jnp.array([1, 0, 9]))), 6)  # log 10
        2.302585

    Source: J. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990).
    """
    shift = jax.nn.logsumexp(logits, axis=-1)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        _same_shape(logits, labels)
        return jnp.mean(shift * jnp.sum(labels, axis=-1) - jnp.sum(labels * logits, axis=-1))
    classes = logits.shape[-1]
    if labels.shape != logits.shape[:-1]:
        raise ValueError(f"labels have shape {labels.shape}, but logits {logits.shape} need {logits.shape[:-1]}.")
    if not isinstance(labels, Tracer):
        _require_classes(np.asarray(labels), classes)
    # A comparison with every class: faster on a CPU than to gather, and a label that is no class gives a NaN.
    own = labels[..., None] == jnp.arange(classes)
    chosen = jnp.sum(jnp.where(own, logits, 0), axis=-1)
    return jnp.mean(jnp.where((labels >= 0) & (labels < classes), shift - chosen, jnp.nan))


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of samples whose largest logit is that of their label.

    Args:
        logits: (..., k), one for each class.
        labels: Classes from 0 to k - 1, integers (...).

    Returns:
        A number from 0 to 1.

    Example:
        >>> import jax.numpy as jnp
        >>> float(accuracy(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.array([1, 1])))
        0.5

    Source: T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning (2009).
    """
    return jnp.mean(jnp.argmax(logits, axis=-1) == labels)


def supervised(apply: Callable, loss: Callable, l2: float = 0.0) -> Callable[[Any, tuple], Array]:
    """Makes the cost of parameters and a batch (inputs, targets) from a network and a loss of its outputs.

    cost(params, (x, y)) = loss(apply(params, x), y) + l2 / 2 * the sum of the squares of all weights

    Weights are the leaves of two dimensions and more; biases are left alone. Make it once: the function is the key of
    the compiled programs.

    Args:
        apply: apply(params, x) -> outputs.
        loss: loss(outputs, targets) -> a number, such as `cross_entropy`; or a metric such as `accuracy`.
        l2: The strength of the penalty, at least 0.

    Returns:
        cost(params, batch), for `compare_optimizers`.

    Example:
        >>> import jax.numpy as jnp
        >>> cost = supervised(lambda w, x: x @ w, mean_squared_error, l2=0.5)
        >>> float(cost(jnp.ones((1, 1)), (jnp.ones((2, 1)), jnp.zeros((2, 1)))))
        1.25

    Source: A. Tikhonov, On the stability of inverse problems (1943), for the penalty.
    """
    if l2 < 0:
        raise ValueError(f"l2 must be at least 0; it is {l2!r}.")

    def cost(params: Any, batch: tuple) -> Array:
        inputs, targets = batch
        value = loss(apply(params, inputs), targets)
        if l2:
            value += l2 / 2 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if jnp.ndim(leaf) > 1)
        return value

    return cost


def _require_classes(labels: np.ndarray, classes: int) -> None:
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be classes from 0 to {classes - 1}, one for each of the {classes} logits; they run from "
            f"{labels.min()} to {labels.max()}."
        )


def _same_shape(outputs: Array, targets: Array) -> None:
    if jnp.shape(outputs) != jnp.shape(targets):
        raise ValueError(f"outputs have shape {jnp.shape(outputs)}, but targets {jnp.shape(targets)}: they must agree.")
