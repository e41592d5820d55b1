"""Manners at the door of optimisation: what users of SciPy and Optax write, and what they are told."""

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
        ("BFGS", ValueError, "mean 'bfgs'"),
        (optax.adam, TypeError, r"Call it: adam\(...\)"),
        (jc.methods.lbfgs, TypeError, r"Call it: lbfgs\(...\)"),
    ],
)
def test_methods_of_other_libraries(method, error, says):
    with pytest.raises(error, match=says):
        jc.minimize(rosenbrock, jnp.zeros(2), method=method)
