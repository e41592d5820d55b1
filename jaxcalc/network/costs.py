"""Costs of a network's outputs, given their targets: one number for a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.core.arguments import arrays, require_functions, require_option


def mean_squared_error(outputs: Array, targets: Array) -> Array:
    """The mean of (output - target)^2 over all samples and outputs.

    Args:
        outputs: (..., k).
        targets: An array of the same shape; other shapes are not broadcast.

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
    outputs, targets = _same_shape(outputs, targets)
    return jnp.mean((outputs - targets) ** 2)


def quadratic_cost(outputs: Array, targets: Array) -> Array:
    """Half the squared distance between outputs and targets, averaged over the samples: the textbooks' cost.

        C = 1/(2m) sum_i |targets_i - outputs_i|^2

    Args:
        outputs: (m, k), or (k,) for one sample.
        targets: An array of the same shape.

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
    outputs, targets = _same_shape(outputs, targets)
    return jnp.mean(jnp.sum((outputs - targets) ** 2, axis=-1)) / 2


def cross_entropy(logits: Array, labels: Array) -> Array:
    """The mean of -log p(label), with p = softmax(logits), in nats.

    Args:
        logits: One logit for each of k classes, (..., k).
        labels: Classes as integers from 0 to k - 1, (...), or the probabilities of the classes, (..., k).

    Returns:
        A number. A class of probability 0 costs nothing, also where its logit is -inf.

    Raises:
        TypeError: If labels (...) are not integers.
        ValueError: If the shapes do not fit, or a label is not one of the classes. Labels are checked unless they are
            traced; a traced label that is not one of the classes makes the cost NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(cross_entropy(jnp.zeros((3, 10)), jnp.array([1, 0, 9]))), 6)  # log 10
        2.302585

    Source: J. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990).
    """
    logits, labels = arrays("logits", logits), arrays("labels", labels)
    shift = jax.nn.logsumexp(logits, axis=-1)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        _require_probabilities(labels, logits)
        labels = labels.astype(logits.dtype) if labels.dtype == bool else labels
        # 0 times -inf is NaN; a finite logit keeps its part in the derivative with respect to the probability.
        excluded = (labels == 0) & (logits == -jnp.inf)
        terms = labels * jnp.where(excluded, 0, logits)
        return jnp.mean(shift * jnp.sum(labels, axis=-1) - jnp.sum(terms, axis=-1))
    labels, classes = _wide(labels), logits.shape[-1]
    _require_classes(labels, logits)
    # Compared with every class, because on a CPU that is faster than to gather logits by label.
    own = labels[..., None] == jnp.arange(classes, dtype=labels.dtype).reshape(*[1] * labels.ndim, -1)
    chosen = jnp.sum(jnp.where(own, logits, 0), axis=-1)
    return jnp.mean(jnp.where((labels >= 0) & (labels < classes), shift - chosen, jnp.nan))


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of samples whose largest logit is the logit of their label.

    Args:
        logits: One logit for each of k classes, (..., k).
        labels: Classes as integers from 0 to k - 1, (...).

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If the shapes do not fit, or a label that is not traced is not one of the classes.

    Example:
        >>> import jax.numpy as jnp
        >>> float(accuracy(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.array([1, 1])))
        0.5

    Source: T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning (2009).
    """
    logits, labels = arrays("logits", logits), arrays("labels", labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"labels are classes, which are integers; they have dtype {labels.dtype}: write labels.astype(int), or "
            "jnp.argmax(labels, axis=-1) where they are probabilities of the classes."
        )
    labels = _wide(labels)
    _require_classes(labels, logits)
    return jnp.mean(jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels)


def supervised(apply: Callable, loss: Callable, l2: float = 0.0) -> Callable[[Any, tuple], Array]:
    """Returns the cost of parameters on a batch (x, y), made of a network and a loss of its outputs.

        cost(params, (x, y)) = loss(apply(params, x), y) + l2 / 2 * the sum of the squares of all weights

    Weights are the arrays of two or more dimensions; biases are not penalised. Call `supervised` once for each cost:
    every call returns a new function, for which programs compile anew.

    Args:
        apply: apply(params, x) -> outputs.
        loss: loss(outputs, targets) -> a number, such as `cross_entropy`; or a metric such as `accuracy`.
        l2: The strength of the penalty, at least 0.

    Returns:
        The function cost(params, batch), for `compare_optimizers`.

    Raises:
        ValueError: If l2 is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> cost = supervised(lambda w, x: x @ w, mean_squared_error, l2=0.5)
        >>> float(cost(jnp.ones((1, 1)), (jnp.ones((2, 1)), jnp.zeros((2, 1)))))
        1.25

    Source: A. Tikhonov, On the stability of inverse problems (1943), for the penalty.
    """
    require_functions([apply], "apply", several=False)
    require_functions([loss], "loss", several=False)
    require_option("l2", l2)

    def cost(params: Any, batch: tuple) -> Array:
        inputs, targets = batch
        value = loss(apply(params, inputs), targets)
        if l2:
            value += l2 / 2 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if jnp.ndim(leaf) > 1)
        return value

    return cost


def _require_classes(labels: Array, logits: Array) -> None:
    if labels.shape != logits.shape[:-1]:
        raise ValueError(f"labels have shape {labels.shape}, but logits {logits.shape} need {logits.shape[:-1]}.")
    if isinstance(labels, Tracer) or not labels.size:
        return
    known, classes = np.asarray(labels), logits.shape[-1]
    if not 0 <= known.min() <= known.max() < classes:
        raise ValueError(
            f"labels must be classes from 0 to {classes - 1}, one for each of the {classes} logits; they run from "
            f"{known.min()} to {known.max()}."
        )


def _wide(labels: Array) -> Array:
    """Returns labels in a dtype that has a number for every class: those of 8 or 16 bits as int32."""
    return labels.astype(jnp.int32) if labels.dtype.itemsize < 4 else labels


def _require_probabilities(labels: Array, logits: Array) -> None:
    if labels.shape == logits.shape[:-1] != logits.shape:
        raise TypeError(
            f"labels of shape {labels.shape} are classes, which are integers; they have dtype {labels.dtype}: write "
            f"labels.astype(int). Probabilities of the classes have the shape {logits.shape} of the logits."
        )
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels have shape {labels.shape} and dtype {labels.dtype}; logits {logits.shape} need probabilities of "
            f"the same shape, or classes as integers of shape {logits.shape[:-1]}."
        )


def _same_shape(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Returns both as arrays; raises a ValueError if their shapes differ."""
    outputs, targets = arrays("outputs", outputs), arrays("targets", targets)
    if outputs.shape != targets.shape:
        raise ValueError(f"outputs have shape {outputs.shape}, but targets {targets.shape}: they must agree.")
    return outputs, targets
