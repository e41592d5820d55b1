"""The multilayer perceptron, the costs of its outputs, and backpropagation through it."""

import itertools
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcalc import network
from tests.families import slow_but

COSTS = {
    "mean_squared_error": lambda outputs, targets: np.mean((outputs - targets) ** 2),
    "quadratic_cost": lambda outputs, targets: np.sum((outputs - targets) ** 2) / (2 * len(outputs)),
}


def batch(count=7, inputs=3, outputs=2):
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(count, inputs))), jnp.asarray(random.uniform(size=(count, outputs)))


def test_a_layer_is_an_activation_of_a_weighted_sum():
    net = network.mlp([3, 4, 2], "tanh", output="sigmoid")
    first, second = params = net.init(jax.random.key(0))
    x, _ = batch()
    hidden = np.tanh(x @ first["weights"].T + first["bias"])
    expected = 1 / (1 + np.exp(-(hidden @ second["weights"].T + second["bias"])))
    np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-12)
    np.testing.assert_allclose(net.apply(params, x[0]), expected[0], rtol=1e-12)
    np.testing.assert_allclose(net.apply(params, x[None, :, None]), expected[None, :, None], rtol=1e-12)


@pytest.mark.parametrize(("name", "variance"), [("he", 2 / 300), ("glorot", 2 / 500)])
def test_weights_have_the_variance_of_their_initialization(name, variance):
    first, _ = network.mlp([300, 200, 1], initialization=name).init(jax.random.key(1))
    np.testing.assert_allclose(np.var(first["weights"]), variance, rtol=0.03)
    assert not first["bias"].any()


def test_the_initialization_follows_the_activation():
    def weights(activation, initialization):
        return network.mlp([5, 4], activation, initialization=initialization).init(jax.random.key(0))[0]["weights"]

    for activation, name in (("relu", "he"), ("tanh", "glorot")):
        np.testing.assert_array_equal(weights(activation, None), weights(activation, name))


@pytest.mark.parametrize("name", COSTS)
def test_costs_are_their_formulas(name):
    outputs, targets = batch(inputs=2)
    np.testing.assert_allclose(getattr(network, name)(outputs, targets), COSTS[name](outputs, targets))


def test_cross_entropy_is_optax_s_and_stays_finite():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(9, 4)) * 5)
    labels = jnp.arange(9) % 4
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    np.testing.assert_allclose(network.cross_entropy(logits, labels), expected, rtol=1e-12)
    np.testing.assert_allclose(network.cross_entropy(logits, jax.nn.one_hot(labels, 4)), expected, rtol=1e-12)
    assert np.isfinite(jax.grad(network.cross_entropy)(1e6 * logits, labels)).all()


def test_the_penalty_is_on_weights_and_not_on_biases():
    net = network.mlp([3, 2])
    params = [{"weights": jnp.full((2, 3), 2.0), "bias": jnp.full(2, 5.0)}]
    plain, penalised = (network.supervised(net.apply, network.mean_squared_error, l2) for l2 in (0.0, 0.5))
    assert float(penalised(params, batch()) - plain(params, batch())) == pytest.approx(0.25 * 6 * 4)


@pytest.mark.parametrize(
    ("activation", "output", "loss"),
    slow_but(
        itertools.product(["relu", "tanh", "gelu"], ["identity", "sigmoid"], [*COSTS, "cross_entropy"]),
        [
            ("relu", "identity", "cross_entropy"),
            ("tanh", "sigmoid", "mean_squared_error"),
            ("gelu", "identity", "quadratic_cost"),
            ("gelu", "sigmoid", "cross_entropy"),
        ],
    ),
)
def test_the_chain_rule_by_hand_is_the_gradient(activation, output, loss):
    net = network.mlp([3, 5, 4, 2], activation, output=output)
    cost: Any = getattr(network, loss)
    params, (x, y) = net.init(jax.random.key(2)), batch()
    y = jnp.arange(7) % 2 if loss == "cross_entropy" else y
    value, gradient = network.backpropagation(net, cost, params, (x, y))
    expected_value, expected = jax.value_and_grad(lambda params: cost(net.apply(params, x), y))(params)
    np.testing.assert_allclose(value, expected_value, rtol=1e-12)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13), gradient, expected)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least two whole numbers"):
        network.mlp([3])
    with pytest.raises(TypeError, match=r"sizes\[1\] must be a whole number of at least 1"):
        network.mlp([3, 2.0])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="activation is 'rely'; it must be a function or one of 'relu'"):
        network.mlp([3, 2], "rely")
    with pytest.raises(ValueError, match="initialization is 'zeros'"):
        network.mlp([3, 2], initialization="zeros")
    with pytest.raises(ValueError, match="they run from 0 to 4"):
        network.cross_entropy(jnp.zeros((5, 4)), jnp.arange(5))
    with pytest.raises(ValueError, match=r"labels have shape \(5, 1\)"):
        network.cross_entropy(jnp.zeros((5, 4)), jnp.zeros((5, 1), int))
    with pytest.raises(ValueError, match=r"outputs have shape \(5, 1\), but targets \(5,\)"):
        network.mean_squared_error(jnp.zeros((5, 1)), jnp.zeros(5))
    with pytest.raises(ValueError, match="l2 must be one number of at least 0"):
        network.supervised(network.mlp([1, 1]).apply, network.mean_squared_error, -1.0)


def test_a_traced_label_that_is_no_class_gives_nan():
    assert np.isnan(jax.jit(network.cross_entropy)(jnp.zeros((2, 4)), jnp.array([0, 7])))


def test_second_derivatives_go_through():
    net, (x, y) = network.mlp([3, 4, 2], "tanh"), batch()
    flat, unravel = jax.flatten_util.ravel_pytree(net.init(jax.random.key(0)))
    cost = lambda flat: network.quadratic_cost(net.apply(unravel(flat), x), y)  # noqa: E731
    along, step = jnp.ones_like(flat), 1e-5
    expected = (jax.grad(cost)(flat + step * along) - jax.grad(cost)(flat - step * along)) / (2 * step)
    np.testing.assert_allclose(jax.hessian(cost)(flat) @ along, expected, rtol=1e-6, atol=1e-8)


def test_a_class_that_is_excluded_costs_nothing():
    """0 log 0 is 0: a logit of -inf is no part of the cost, nor of its derivatives, where its probability is 0."""
    logits = jnp.array([[0.0, 1.0, -jnp.inf], [-jnp.inf, 0.5, 0.0]])
    labels, classes = jnp.array([0, 2]), jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    value, gradient = jax.value_and_grad(network.cross_entropy)(logits, classes)
    expected, slope = jax.value_and_grad(network.cross_entropy)(logits, labels)
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(gradient, slope, atol=1e-15)
    np.testing.assert_allclose(network.cross_entropy(logits[:1], classes[:1]), np.log1p(np.e))
    assert np.isfinite(jax.grad(network.cross_entropy, 1)(logits, classes)).all()
    assert network.cross_entropy(logits, jnp.ones((2, 3)) / 3) == jnp.inf
    # A finite logit keeps its part in the derivative with respect to a probability of 0.
    finite = jnp.array([[0.3, 1.0, -2.0]])
    slope = jax.grad(network.cross_entropy, 1)(finite, classes[:1])
    np.testing.assert_allclose(slope, jax.nn.logsumexp(finite) - finite)


@pytest.mark.parametrize("kind", [list, np.int8, np.uint32, bool])
def test_labels_in_any_form(kind):
    logits, labels = jax.random.normal(jax.random.key(0), (5, 300)), np.array([1, 44, 45, 7, 0])
    given: Any = {list: labels.tolist(), bool: labels[:, None] == np.arange(300)}.get(kind)
    expected = -np.mean(jax.nn.log_softmax(logits)[np.arange(5), labels])
    given = labels.astype(kind) if given is None else given
    np.testing.assert_allclose(network.cross_entropy(logits, given), expected)
    if kind is not bool:
        assert network.accuracy(logits.at[1, 300 - 256].set(99), given) == 0.2


def test_labels_that_are_no_integers():
    with pytest.raises(TypeError, match=r"are classes, which are integers; they have dtype float64.*astype\(int\)"):
        network.cross_entropy(jnp.zeros((5, 4)), jnp.arange(5.0))
    with pytest.raises(ValueError, match=r"probabilities of the same shape, or classes as integers of shape \(5,\)"):
        network.cross_entropy(jnp.zeros((5, 4)), jnp.zeros((5, 1)))
