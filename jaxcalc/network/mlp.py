"""The multilayer perceptron, with its parameters in a plain pytree, and backpropagation through it by hand."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.derivatives import derivative, gradient
from jaxcalc.core.arguments import arrays, called_as, whole_number

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "identity": lambda z: z,
}
# The variance of a weight, from the numbers of units before and after it.
INITIALIZATIONS: dict[str, Callable[..., Any]] = {
    "he": lambda before, after: 2 / before,
    "glorot": lambda before, after: 2 / (before + after),
}

Params = list[dict[str, Array]]


class MLP(NamedTuple):
    """A multilayer perceptron: the pure functions `init` and `apply`, and the sizes and activations they use."""

    init: Callable[[Array], Params]
    apply: Callable[[Params, Array], Array]
    sizes: tuple[int, ...]
    activation: Callable
    output: Callable


def mlp(
    sizes: Sequence[int],
    activation: str | Callable = "relu",
    *,
    output: str | Callable = "identity",
    initialization: str | None = None,
) -> MLP:
    """A multilayer perceptron: each unit is the activation of a weighted sum of all units of the layer before.

        a_0 = x,    z_k = W_k a_(k-1) + b_k,    a_k = activation(z_k),    a_K = output(z_K)

    Weights are drawn from a normal distribution of mean 0 and variance 2 / n_in ("he") or 2 / (n_in + n_out)
    ("glorot"); biases start at 0.

    Args:
        sizes: The number of units in each layer, the inputs first and the outputs last: at least two numbers.
        activation: The activation of the hidden layers: "relu", "sigmoid", "tanh", "gelu", "silu", "softplus" or
            "identity", or a JAX-traceable function that acts on each number alone.
        output: The activation of the last layer, given in the same way; "identity" for `cross_entropy`, which takes
            logits.
        initialization: "he" or "glorot"; by default "he" for "relu", "gelu", "silu" and "softplus", otherwise "glorot".

    Returns:
        init(key) -> params, a list of {"weights": (n_out, n_in), "bias": (n_out,)} in the default float dtype; and
        apply(params, x) -> outputs (..., n_K) of inputs (..., n_0).

    Raises:
        TypeError: If a size is not a whole number.
        ValueError: If there are fewer than two sizes, one is below 1, or a name is not one of the above.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxcalc import network
        >>> net = network.mlp([2, 8, 1], "tanh")
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.ones((5, 2))).shape
        (5, 1)

    Source: D. Rumelhart, G. Hinton and R. Williams, Learning representations by back-propagating errors (1986);
    X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward neural networks (2010); K. He,
    X. Zhang, S. Ren and J. Sun, Delving deep into rectifiers (2015).
    """
    if isinstance(sizes, int):
        raise TypeError(f"sizes is one number for each layer, such as ({sizes}, 16, 1); it is {sizes}.")
    sizes = tuple(whole_number(f"sizes[{k}]", size, 1) for k, size in enumerate(sizes))
    if len(sizes) < 2:
        raise ValueError(f"sizes must be at least two whole numbers, of inputs and outputs; it is {sizes}.")
    if initialization is None:
        initialization = "he" if activation in ("relu", "gelu", "silu", "softplus") else "glorot"
    variance = _named("initialization", initialization, INITIALIZATIONS)
    hidden, last = _named("activation", activation, ACTIVATIONS), _named("output", output, ACTIVATIONS)

    def init(key: Array) -> Params:
        if isinstance(key, int):
            raise TypeError(f"key is a random key of JAX: init(jax.random.key({key})).")
        layers = []
        for before, after, own in zip(sizes, sizes[1:], jax.random.split(key, len(sizes) - 1), strict=False):
            weights = jax.random.normal(own, (after, before)) * variance(before, after) ** 0.5
            layers.append({"weights": weights, "bias": jnp.zeros(after)})
        return layers

    @called_as("apply(params, x)", 0)
    def apply(params: Params, x: Array) -> Array:
        if hasattr(params, "shape"):
            raise TypeError(
                "params is an array: the parameters, as init(key) makes them, come first, apply(params, x)."
            )
        x = arrays("x", x)
        if x.shape[-1:] != sizes[:1]:
            raise ValueError(f"x must have shape (..., {sizes[0]}), the inputs of this network; it has {x.shape}.")
        # Units first and samples last: in this order a product for many networks at once copies no weights.
        a, functions = jnp.moveaxis(x, -1, 0), [hidden] * (len(params) - 1) + [last]
        for layer, function in zip(params, functions, strict=True):
            a = function(jnp.tensordot(layer["weights"], a, 1) + _along_first(layer["bias"], a))
        # Without the barrier XLA moves the transposition into the products of the backward pass. Its CPU compiler has
        # no fast product in that order: a step of 64 small networks would take a fifth longer.
        return jnp.moveaxis(jax.lax.optimization_barrier(a), 0, -1)

    return MLP(init, apply, sizes, hidden, last)


def backpropagation(network: MLP, loss: Callable, params: Params, batch: tuple[Array, Any]) -> tuple[Array, Params]:
    """The cost of a batch and its gradient, by the chain rule from the last layer to the first.

    With z_k and a_k of `mlp`, one column per sample, C = loss(a_K, targets) and the error of a layer d_k = dC/dz_k:

        d_K = dC/da_K * output'(z_K),    d_k = W_(k+1)^T d_(k+1) * activation'(z_k)
        dC/dW_k = d_k a_(k-1)^T,         dC/db_k = the sum of d_k over the batch

    Up to rounding the result is that of `jax.value_and_grad`; this function is written out to be read.

    Args:
        network: A perceptron that `mlp` has made.
        loss: loss(outputs, targets) -> a number, such as `quadratic_cost`.
        params: The parameters, a pytree like that of `network.init`.
        batch: A pair of inputs (B, n_0) and targets.

    Returns:
        The cost, a number, and its gradient, a pytree like params.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxcalc import network
        >>> net = network.mlp([2, 3, 1], "sigmoid", output="sigmoid")
        >>> params, x, y = net.init(jax.random.key(0)), jnp.array([[0.0, 1.0]]), jnp.array([[1.0]])
        >>> cost, gradient = network.backpropagation(net, network.quadratic_cost, params, (x, y))
        >>> expected = jax.grad(lambda params: network.quadratic_cost(net.apply(params, x), y))(params)
        >>> bool(jnp.allclose(gradient[0]["weights"], expected[0]["weights"]))
        True

    Source: D. Rumelhart, G. Hinton and R. Williams, Learning representations by back-propagating errors (1986).
    """
    x, targets = batch
    functions = [network.activation] * (len(params) - 1) + [network.output]
    activations, sums = [x.T], []
    for layer, function in zip(params, functions, strict=True):
        sums.append(layer["weights"] @ activations[-1] + layer["bias"][:, None])
        activations.append(function(sums[-1]))

    outputs = activations[-1].T
    slope = gradient(lambda outputs: loss(outputs, targets))(outputs).T  # dC/da_k, first for the last layer
    layers = []
    for layer, function, z, before in zip(*map(reversed, (params, functions, sums, activations[:-1])), strict=True):
        error = slope * derivative(function)(z)
        layers.append({"weights": error @ before.T, "bias": jnp.sum(error, axis=1)})
        slope = layer["weights"].T @ error
    return loss(outputs, targets), layers[::-1]


def _along_first(vector: Array, like: Array) -> Array:
    """Returns the vector with as many axes as `like`, of which all but the first have length 1."""
    return vector.reshape(-1, *[1] * (like.ndim - 1))


def _named(kind: str, given: str | Callable, known: dict[str, Callable]) -> Callable:
    """Returns the function that is given, by itself or by its name in `known`."""
    if callable(given):
        return given
    if given not in known:
        raise ValueError(f"{kind} is {given!r}; it must be a function or one of {', '.join(map(repr, known))}.")
    return known[given]
