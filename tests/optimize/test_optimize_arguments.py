"""Manners at the door of optimisation: what users of SciPy and Optax write, and what they are told."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcalc as jc
from jaxcalc.problems import rosenbrock


def test_a_list_of_numbers_is_an_array():
    result = jc.minimize(rosenbrock, [-1.2, 1.0])
    assert result.x.shape == (2,)
    np.testing.assert_allclose(result.x, 1, atol=1e-4)
    many = jc.minimize_many(lambda x, a: jnp.sum((x - a) ** 2), [[0, 1], [2, 3], [4, 5]], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(many.x, [[1, 1], [2, 2], [3, 3]], atol=1e-5)
    assert jc.certify(lambda x: x @ x, [0.0, 0.0]).kind_name == "minimum"
    assert jc.gradient_descent(rosenbrock, [1, 1], 0.1, 2).x.shape == (3, 2)
    named = jc.minimize(lambda x: jnp.sum((x["a"] - 1) ** 2), {"a": [0.0, 5.0]})
    assert named.x["a"].shape == (2,)


def test_a_list_of_arrays_stays_a_list():
    result = jc.minimize(lambda x: jnp.sum(x[0] ** 2) + x[1] ** 2, [jnp.ones(2), jnp.ones(())])
    assert isinstance(result.x, list)
    assert result.x[0].shape == (2,)


@pytest.mark.parametrize(
    ("method", "error", "says"),
    [
        ("CG", ValueError, 'SciPy.s CG write "conjugate_gradient"'),
        ("L-BFGS-B", ValueError, '"lbfgs"'),
        ("Newton-CG", ValueError, '"trust_ncg"'),
        ("trust-exact", ValueError, '"trust_region"'),
        ("Nelder-Mead", ValueError, "leave method out"),
        ("adam", ValueError, r"method=optax.adam\(...\)"),
        ("SLSQP", ValueError, "bounds; with constraints= leave method out"),
        ("trust-constr", ValueError, '"trust_region", which takes bounds'),
        ("basinhopping", ValueError, "jaxcalc.multistart"),
        ("BFGS", ValueError, "mean 'bfgs'"),
        (optax.adam, TypeError, r"Call it: adam\(...\)"),
        (jc.methods.lbfgs, TypeError, r"Call it: lbfgs\(...\)"),
    ],
)
def test_methods_of_other_libraries(method, error, says):
    with pytest.raises(error, match=says):
        jc.minimize(rosenbrock, jnp.zeros(2), method=method)


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (((0, 1), (-5, 5), (None, 2)), r"numpy.array\(\[0, -5, -numpy.inf\]\), numpy.array\(\[1, 5, 2\]\)"),
        ([(0, 1), (-5, 5), (None, 2)], r"numpy.array\(\[0, -5, -numpy.inf\]\), numpy.array\(\[1, 5, 2\]\)"),
        (((0.5, 1),), r"bounds=\(numpy.array\(\[0.5\]\), numpy.array\(\[1\]\)\)"),
        (((0, 1), (-5, None)), r"pairs.*\[0, -5\].*\[1, numpy.inf\].*for sides.*\[0, 1\].*\[-5, numpy.inf\]"),
        ([[0, 1], [-5, 5]], r"pairs.*\[0, -5\].*for sides.*\[0, 1\]"),
        ([(k, k + 1) for k in range(100)], r"7, \.\.\.\]\)"),
        (np.array([[0, 1], [0, 1], [0, 1]]), "a ndarray of length 3. A list of pairs"),
        ([0, 1], "A list of pairs"),
        (3, "not 3"),
    ],
)
def test_pairs_of_bounds(bounds, says):
    for call in (jc.minimize, jc.certify):
        with pytest.raises(TypeError, match=says):
            call(rosenbrock, jnp.zeros(2), bounds=bounds)
    with pytest.raises(TypeError, match=r"pair \(lower, upper\)|two pairs"):
        jc.multistart(rosenbrock, bounds)


def test_tuples_as_sides():
    """Of three numbers each they cannot be pairs, and of a pytree of tuples they are sides."""
    three = jax.eval_shape(lambda: jc.minimize(lambda x: x @ x, jnp.ones(3), bounds=((0, 0, 0), (1, 1, 1))))
    assert three.x.shape == (3,)
    tree = jax.eval_shape(lambda: jc.minimize(lambda x: x[0] ** 2 + x[1] ** 2, (1.0, 2.0), bounds=((0.5, 0), (1, 1))))
    assert [leaf.shape for leaf in tree.x] == [(), ()]


def fails(call, says):
    with pytest.raises(TypeError, match=says):
        call()


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"jac": True}, "let it return the value alone.*has_aux=True"),
        ({"jac": lambda x: x}, "leave jac out.*jax.custom_vjp or jax.custom_jvp"),
        ({"jac": "2-point"}, "leave jac out"),
        ({"hess": lambda x: x}, 'leave hess out; method="trust_region"'),
        ({"hessp": lambda x, p: x}, "trust_ncg"),
        ({"constraints": [{"type": "eq"}]}, r"constraints\[0\] is a dict with the keys \['type'\]"),
        ({"options": {"maxcor": 5}}, r"jaxcalc.methods.lbfgs\(history"),
        ({"options": {"ftol": 1e-9}}, "write ftol="),
        ({"options": {"disp": True}}, "print the result"),
        ({"options": {"stepmx": 1}}, "no counterpart; there are gtol, maxfev, maxfun, maxiter"),
        ({"options": [("gtol", 1)]}, "options is a dict"),
        ({"tol": 1e-3, "gtol": 1e-3}, "tol is another name of gtol"),
        ({"options": {"maxfun": 3}, "maxfev": 4}, "options.'maxfun'. is another name of maxfev"),
        ({"options": {"maxfun": 3, "maxfev": 4}}, "is another name of maxfev"),
        ({"max_iter": 3}, r"minimize\w*\(\) got an unexpected keyword argument 'max_iter'. Did you mean 'maxiter'"),
        ({"nonsense": 3}, "unexpected keyword argument 'nonsense'"),
    ],
)
def test_keywords_of_scipy_that_mean_something_else(keywords, says):
    given: dict[str, Any] = keywords
    fails(lambda: jc.minimize(rosenbrock, jnp.zeros(2), **given), says)
    fails(lambda: jc.minimize_many(rosenbrock, jnp.zeros((3, 2)), **given), says)


def test_keywords_of_scipy_that_mean_the_same():
    start = jnp.array([-1.2, 1.0])
    nothing: dict[str, Any] = {"jac": None, "hess": None, "callback": None, "constraints": ()}
    usual = jc.minimize(rosenbrock, start, gtol=1e-2, maxiter=30, maxfev=80)
    options = {"gtol": 1e-2, "maxiter": 30, "maxfun": 80, "disp": False, "norm": np.inf}
    mixed = {"tol": 1e-2, "maxiter": 30, "options": {"maxfev": 80, "return_all": False}}
    ways: list[dict[str, Any]] = [{"options": options}, mixed]
    for keywords in ways:
        result = jc.minimize(rosenbrock, start, **nothing, **keywords)
        assert jax.tree.all(jax.tree.map(np.array_equal, result, usual))
    sides: Any = (-jnp.ones(2), jnp.ones(2))
    fails(lambda: jc.minimize_many(rosenbrock, start[None], callback=print), "for one problem, takes callback=")
    fails(lambda: jc.multistart(rosenbrock, sides, jac=True), "value alone")
    fails(lambda: jc.multistart(rosenbrock, sides, workers=3), "unexpected keyword argument")


def test_keywords_of_scipys_least_squares():
    def residuals(x):
        return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    start: Any = [-1.2, 1.0]
    nothing: dict[str, Any] = {"jac": "3-point", "diff_step": None, "tr_solver": None, "verbose": 0, "kwargs": {}}
    usual = jc.least_squares(residuals, start, maxfev=50)
    result = jc.least_squares(residuals, start, method="trf", x_scale="jac", max_nfev=50, **nothing)
    assert jax.tree.all(jax.tree.map(np.array_equal, result, usual))
    ways: list[tuple[dict[str, Any], str]] = [
        ({"jac": jax.jacobian(residuals)}, "leave jac out"),
        ({"diff_step": 1e-3}, "derivatives are exact here"),
        ({"kwargs": {"a": 1}}, "close over"),
        ({"max_nfev": 3, "maxfev": 4}, "another name of maxfev"),
        ({"verbose": 2}, "print the result"),
        ({"max_iter": 3}, r"\(\) got an unexpected keyword argument 'max_iter'. Did you mean 'maxiter'"),
    ]
    for keywords, says in ways:
        given = keywords
        fails(lambda given=given: jc.least_squares(residuals, start, **given), says)
        fails(lambda given=given: jc.least_squares_many(residuals, jnp.zeros((2, 2)), **given), says)


@jax.tree_util.register_pytree_node_class
class Module:
    """What an Equinox module is to JAX: a pytree with functions among its leaves."""

    def __init__(self, weights, activation):
        self.weights, self.activation = weights, activation

    def tree_flatten(self):
        return (self.weights, self.activation), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu, lambda x: x])
def test_modules(activation):
    module = Module(jnp.ones(2), activation)
    for call in (
        lambda: jc.minimize(lambda m: m.activation(m.weights) @ m.weights, module),
        lambda: jc.minimize(lambda x, m: m.activation(x) @ m.weights, jnp.ones(2), module),
        lambda: jc.minimize_many(lambda m: m.activation(m.weights) @ m.weights, module),
        lambda: jc.certify(lambda m: m.activation(m.weights) @ m.weights, module),
    ):
        fails(call, r"eqx.partition.*eqx.combine")


def test_one_function_and_no_list():
    functions: Any = [rosenbrock]
    fails(lambda: jc.minimize(functions, jnp.zeros(2)), "fun must be a function; it is a list")
