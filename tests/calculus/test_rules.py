"""The four differentiation rules: closed forms, laws, and automatic differentiation of the composed function."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from jaxcalc.calculus.derivatives import derivative
from jaxcalc.calculus.rules import chain, power, product, quotient

laws = settings(max_examples=20, deadline=None, derandomize=True)
numbers = st.floats(-2, 2, allow_subnormal=False)
X = jnp.linspace(0.2, 1.4, 7)  # inside the domain of every function, and of any power of the positive ones

FUNCTIONS = {
    "identity": lambda x: x,
    "constant": lambda x: 3,
    "cubic": lambda x: x**3 - 2 * x + 5,
    "reciprocal": lambda x: 1 / x,
    "sqrt": jnp.sqrt,
    "exp": jnp.exp,
    "log": lambda x: jnp.log(x + 1),
    "sin": jnp.sin,
    "tan": jnp.tan,
    "arctan": jnp.arctan,
    "cosh": jnp.cosh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "gaussian": lambda x: jnp.exp(-(x**2)),
    "erf": jax.lax.erf,
    "lgamma": lambda x: jax.lax.lgamma(x + 2),
    "loop": lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.sin(y) + x, x),
}
PAIRS = list(itertools.pairwise([*FUNCTIONS, "identity"])) + [(name, name) for name in FUNCTIONS]


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 7, -0.5, 0.0, 0.5, 1.0, 2.5, np.int64(3), np.float32(1.5)])
class TestPower:
    def test_equals_the_automatic_derivative(self, n):
        assert_allclose(power(n)(X), derivative(lambda x: x**n)(X), rtol=1e-13)

    def test_equals_the_formula(self, n):
        assert_allclose(power(n)(1.3), float(n) * 1.3 ** (float(n) - 1), rtol=1e-14)

    def test_keeps_float32(self, n):
        assert power(n)(X.astype(jnp.float32)).dtype == jnp.float32

    def test_is_differentiable_in_turn(self, n):
        assert_allclose(
            jax.vmap(jax.grad(power(n)))(X), n * (float(n) - 1) * X ** (float(n) - 2), rtol=1e-13, atol=1e-15
        )


class TestPowerAtTheEdge:
    @pytest.mark.parametrize(("n", "slope"), [(0, 0.0), (0.0, 0.0), (1, 1.0), (1.0, 1.0), (2, 0.0), (1.5, 0.0)])
    def test_at_zero(self, n, slope):
        assert power(n)(0.0) == slope

    @pytest.mark.parametrize("n", [0, 0.0, 1, 1.0, 2])
    def test_at_zero_the_next_derivative_is_finite(self, n):
        assert derivative(power(n))(0.0) == (2.0 if n == 2 else 0.0)

    @pytest.mark.parametrize("n", [-1, 0.5])
    def test_at_zero_without_a_derivative_is_infinite(self, n):
        assert jnp.isinf(power(n)(0.0))

    @pytest.mark.parametrize("n", [-2, 3, 4, 3.0])
    def test_of_negative_x(self, n):
        assert_allclose(power(n)(-2.0), n * (-2.0) ** (n - 1))

    def test_promotes_integers(self):
        assert power(-1)(2) == -0.25
        assert power(2)(jnp.array([1, 2])).dtype == jnp.float64

    @pytest.mark.parametrize("n", ["2", None, 1j, jnp.ones(2)])
    def test_rejects_other_exponents(self, n):
        with pytest.raises(TypeError, match=r"n must be a real number, such as 3 or 0\.5, but is"):
            power(n)
        with pytest.raises(TypeError, match="n must be a real number"):
            chain(jnp.sin, n)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("n", [-2, 0, 1, 3, 0.5])
def test_chain_equals_the_automatic_derivative(name, n):
    f = FUNCTIONS[name]
    base = (lambda x: f(x) ** 2 + 1.0) if n == 0.5 else f  # a root needs a positive base
    by_rule, expected = jax.jit(lambda x: (chain(base, n)(x), derivative(lambda x: base(x) ** n)(x)))(X)
    assert_allclose(by_rule, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_product_and_quotient_equal_the_automatic_derivative(first, second):
    f, g = FUNCTIONS[first], FUNCTIONS[second]
    assert_allclose(product(f, g)(X), derivative(lambda x: f(x) * g(x))(X), rtol=1e-12, atol=1e-13)
    assert_allclose(quotient(f, g)(X), derivative(lambda x: f(x) / g(x))(X), rtol=1e-11, atol=1e-12)


class TestClosedForms:
    @pytest.mark.parametrize("x", [-5.0, 0.0, 0.3, 8.0])
    def test_sigmoid_by_the_quotient_rule(self, x):
        s = jax.nn.sigmoid(x)
        assert_allclose(quotient(lambda x: 1.0, lambda x: 1 + jnp.exp(-x))(x), s * (1 - s), rtol=1e-12)

    @pytest.mark.parametrize("x", [-5.0, 0.0, 0.3, 8.0])
    def test_sigmoid_by_the_chain_rule(self, x):
        s = jax.nn.sigmoid(x)
        assert_allclose(chain(lambda x: 1 + jnp.exp(-x), -1)(x), s * (1 - s), rtol=1e-12)

    def test_the_missions_quartic_by_the_product_rule(self):
        slope = product(lambda x: x * (x - 1), lambda x: (x - 2) * (x - 3))
        assert_allclose(slope(1.25), 1.1875)
        roots = jnp.array([1.5, (3 - math.sqrt(5)) / 2, (3 + math.sqrt(5)) / 2])
        assert_allclose(slope(roots), 0.0, atol=1e-14)

    def test_tangent_by_the_quotient_rule(self):
        assert_allclose(quotient(jnp.sin, jnp.cos)(X), 1 / jnp.cos(X) ** 2)


class TestLaws:
    @given(numbers)
    @laws
    def test_product_commutes(self, x):
        f, g = jnp.sin, lambda x: x**3 + jnp.exp(x)
        assert_allclose(product(f, g)(x), product(g, f)(x), rtol=1e-14, atol=1e-14)

    @given(numbers)
    @laws
    def test_a_square_is_a_product(self, x):
        f = lambda x: jnp.cos(x) + x  # noqa: E731
        assert_allclose(chain(f, 2)(x), product(f, f)(x), rtol=1e-13, atol=1e-13)

    @given(numbers)
    @laws
    def test_a_quotient_is_a_product_with_the_inverse(self, x):
        f, g = jnp.sin, lambda x: 2 + jnp.cos(x)
        expected = derivative(f)(x) / g(x) + f(x) * chain(g, -1)(x)
        assert_allclose(quotient(f, g)(x), expected, rtol=1e-12, atol=1e-13)

    @given(numbers)
    @laws
    def test_chain_with_the_identity_is_the_power_rule(self, x):
        assert_allclose(chain(lambda x: x, 3)(x), power(3)(x), rtol=1e-14)


RULES = {
    "power": power(3),
    "chain": chain(jnp.sin, 3),
    "product": product(jnp.sin, jnp.exp),
    "quotient": quotient(jnp.sin, jnp.exp),
}


@pytest.mark.parametrize("name", RULES)
class TestEveryRule:
    @pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)])
    def test_keeps_the_shape(self, name, shape):
        x = jnp.linspace(0, 1, math.prod(shape)).reshape(shape)
        result = RULES[name](x)
        assert result.shape == shape
        assert_allclose(result.ravel(), [RULES[name](v) for v in x.ravel()], rtol=1e-14)

    def test_keeps_the_dtype_and_promotes_integers(self, name):
        assert RULES[name](X.astype(jnp.float32)).dtype == jnp.float32
        assert RULES[name](X).dtype == jnp.float64
        assert_allclose(RULES[name](2), RULES[name](2.0))

    def test_works_inside_jit_vmap_and_grad(self, name):
        rule = RULES[name]
        assert_allclose(jax.jit(rule)(X), rule(X), rtol=1e-13)
        assert_allclose(jax.vmap(rule)(X), rule(X), rtol=1e-13)
        assert_allclose(jax.grad(rule)(0.7), derivative(rule)(0.7), rtol=1e-13)
        assert_allclose(jax.grad(rule)(0.7), (rule(0.7 + 1e-6) - rule(0.7 - 1e-6)) / 2e-6, rtol=1e-7)

    def test_rejects_complex_arguments(self, name):
        with pytest.raises(TypeError, match="dtype complex128, but must be real"):
            RULES[name](1j)


@pytest.mark.parametrize("rule", [lambda f: chain(f, 2), lambda f: product(jnp.sin, f), lambda f: quotient(f, jnp.exp)])
def test_rejects_functions_that_are_not_scalar(rule):
    with pytest.raises(TypeError, match=r"<lambda> returned an array of shape \(2,\) and dtype float64"):
        rule(lambda x: x * jnp.ones(2))(1.0)


def test_each_function_runs_once():
    runs = []

    def f(x):
        runs.append(x)
        return jnp.sin(x)

    for rule, expected in ((chain(f, 2), 1), (product(f, jnp.exp), 1), (quotient(jnp.exp, f), 1), (product(f, f), 2)):
        runs.clear()
        rule(X)
        assert len(runs) == expected
