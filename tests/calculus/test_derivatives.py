"""The calculus operators: the mission's numbers, closed forms, laws, structures, dtypes, transformations, messages.

Most tests compile the operators, which is quicker; the examples of the docstrings run every operator without `jit`.
Tests of messages trace under `eval_shape` where possible, because the checks run during tracing.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from numpy.testing import assert_allclose
from scipy.special import zeta

from jaxcalc.calculus.derivatives import (
    derivative,
    directional_derivative,
    gradient,
    hessian,
    hessian_vector_product,
    jacobian,
    partial_derivative,
    secant_slope,
    taylor,
)
from jaxcalc.calculus.vector_calculus import curl, divergence, laplacian

laws = settings(max_examples=15, deadline=None, derandomize=True)
numbers = st.floats(-2, 2, allow_subnormal=False)
points = st.tuples(numbers, numbers, numbers).map(jnp.array)


def mission_function(v):
    x, y, z = v
    return x**2 * y + x * y * z + z**2


def mission_gradient(v):
    x, y, z = v
    return np.array([2 * x * y + y * z, x**2 + x * z, x * y + 2 * z])


def mission_quartic(x):
    return x * (x - 1) * (x - 2) * (x - 3)


def potential(x):
    return jnp.sin(x[0] * x[1]) + jnp.exp(x[2] - x[0]) * x[1] ** 3 + x[0] * x[1] * x[2]


def field(x):
    return jnp.stack([jnp.sin(x[1] * x[2]), x[0] ** 2 * x[2], jnp.exp(x[0] - x[1]) + x[2] ** 3])


# Compiled once for all the examples that hypothesis draws.
SLOPE = jax.jit(directional_derivative(potential))
GRADIENT = jax.jit(gradient(potential))
GRADIENT_JACOBIAN = jax.jit(jacobian(gradient(potential)))
GRADIENT_DIVERGENCE = jax.jit(divergence(gradient(potential)))
GRADIENT_CURL = jax.jit(curl(gradient(potential)))
HESSIAN = jax.jit(hessian(potential))
HESSIAN_VECTOR_PRODUCT = jax.jit(hessian_vector_product(potential))
LAPLACIAN = jax.jit(laplacian(potential))
CURL_DIVERGENCE = jax.jit(divergence(curl(field)))


def counted(f):
    """The function, and the list that grows by one whenever its Python code runs."""
    runs = []

    def counting(*args):
        runs.append(args)
        return f(*args)

    return counting, runs


class TestMission:
    def test_slope_of_a_line_through_its_two_points(self):
        assert secant_slope(lambda x: 2 * x, 1, 4) == 2.0

    def test_speed_along_the_line_is_its_slope_everywhere(self):
        assert_allclose(derivative(lambda x: 2 * x)(jnp.linspace(-5, 5, 11)), 2.0)

    @given(points)
    @laws
    def test_gradient(self, v):
        assert_allclose(gradient(mission_function)(v), mission_gradient(v), atol=1e-14)

    @pytest.mark.parametrize("argnum", [0, 1, 2])
    def test_partial_derivatives_are_the_gradients_components(self, argnum):
        partial = partial_derivative(lambda *v: mission_function(v), argnum)
        assert_allclose(partial(1.5, -2.0, 0.7), mission_gradient([1.5, -2.0, 0.7])[argnum])

    def test_derivative_of_the_quartic_is_the_expanded_polynomial(self):
        x = np.linspace(-1, 4, 21)
        expected = 4 * x**3 - 18 * x**2 + 22 * x - 6
        assert_allclose(derivative(mission_quartic)(x), expected, atol=1e-13)
        assert_allclose(derivative(mission_quartic)(1.25), 1.1875)

    @pytest.mark.parametrize("root", [1.5, (3 - math.sqrt(5)) / 2, (3 + math.sqrt(5)) / 2])
    def test_derivative_of_the_quartic_vanishes_at_its_roots(self, root):
        assert abs(derivative(mission_quartic)(root)) < 1e-14

    @pytest.mark.parametrize("x", [-30.0, -1.0, 0.0, 2.0, 30.0])
    def test_derivative_of_the_sigmoid(self, x):
        s = 1 / (1 + math.exp(-x))
        assert_allclose(derivative(jax.nn.sigmoid)(x), s * (1 - s), rtol=1e-12, atol=1e-15)


CLOSED_FORMS = {  # name: (f, x, k -> f^(k)(x))
    "sin": (jnp.sin, 0.7, lambda k: math.sin(0.7 + k * math.pi / 2)),
    "exp(-2x)": (lambda x: jnp.exp(-2 * x), 0.4, lambda k: (-2) ** k * math.exp(-0.8)),
    "log": (jnp.log, 1.3, lambda k: (-1) ** (k - 1) * math.factorial(k - 1) / 1.3**k),
    "1/x": (lambda x: 1 / x, -0.8, lambda k: (-1) ** k * math.factorial(k) / (-0.8) ** (k + 1)),
    "x^4 at 0": (lambda x: x**4, 0.0, lambda k: 24.0 if k == 4 else 0.0),
    "sqrt": (jnp.sqrt, 0.9, lambda k: math.prod(0.5 - i for i in range(k)) * 0.9 ** (0.5 - k)),
    "x^2.5": (lambda x: x**2.5, 1.1, lambda k: math.prod(2.5 - i for i in range(k)) * 1.1 ** (2.5 - k)),
    "2^x": (lambda x: 2.0**x, 0.3, lambda k: math.log(2) ** k * 2**0.3),
    "x exp(x)": (lambda x: x * jnp.exp(x), 0.6, lambda k: (0.6 + k) * math.exp(0.6)),
    "tan at 0": (jnp.tan, 0.0, lambda k: [0, 1, 0, 2, 0, 16, 0][k]),
    "arctan at 0": (jnp.arctan, 0.0, lambda k: [0, 1, 0, -2, 0, 24, 0][k]),
    "tanh at 0": (jnp.tanh, 0.0, lambda k: [0, 1, 0, -2, 0, 16, 0][k]),
    "arcsin at 0": (jnp.arcsin, 0.0, lambda k: [0, 1, 0, 1, 0, 9, 0][k]),
    "arctan2": (lambda x: jnp.arctan2(x, 1.0), 0.0, lambda k: [0, 1, 0, -2, 0, 24, 0][k]),
    "erf at 0": (lax.erf, 0.0, lambda k: 2 / math.sqrt(math.pi) * [0, 1, 0, -2, 0, 12, 0][k]),
    "lgamma at 1": (
        lax.lgamma,
        1.0,
        lambda k: (-1) ** k * math.factorial(k - 1) * zeta(k) if k > 1 else -np.euler_gamma,
    ),
    "|x|^3": (lambda x: jnp.abs(x) ** 3, -0.5, lambda k: [0, -0.75, 3.0, -6.0, 0, 0, 0][k]),
    "where": (lambda x: jnp.where(x > 0, jnp.sin(x), x), 0.7, lambda k: math.sin(0.7 + k * math.pi / 2)),
    "cond": (lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x), 0.7, lambda k: math.sin(0.7 + k * math.pi / 2)),
    "fori_loop": (
        lambda x: lax.fori_loop(0, 5, lambda i, y: x * y + 1, 1.0),  # 1 + x + ... + x^5
        1.0,
        lambda k: sum(math.perm(j, k) for j in range(6)),
    ),
}


class TestDerivative:
    @pytest.mark.parametrize("order", [2, 6])
    @pytest.mark.parametrize("name", CLOSED_FORMS)
    def test_equals_the_closed_form(self, name, order):
        f, x, expected = CLOSED_FORMS[name]
        assert_allclose(jax.jit(derivative(f, order))(x), expected(order), rtol=1e-11, atol=1e-11)

    @pytest.mark.parametrize("order", range(7))
    def test_every_order_of_a_product_follows_leibniz(self, order):
        x = np.linspace(-1, 1, 5)
        expected = sum(math.comb(order, k) * np.sin(x + k * math.pi / 2) * np.exp(x) for k in range(order + 1))
        product = derivative(lambda x: jnp.sin(x) * jnp.exp(x), order)
        assert_allclose(jax.jit(product)(x), expected, atol=1e-12)

    @given(numbers, numbers, numbers)
    @laws
    def test_is_linear(self, a, b, x):
        combined = derivative(lambda x: a * jnp.sin(x) + b * x**3, 2)(x)
        assert_allclose(combined, a * derivative(jnp.sin, 2)(x) + b * derivative(lambda x: x**3, 2)(x), atol=1e-12)

    @given(numbers)
    @laws
    def test_obeys_the_product_and_chain_rules(self, x):
        f, g = jnp.sin, lambda x: jnp.exp(-x) + x**2
        product = derivative(f)(x) * g(x) + f(x) * derivative(g)(x)
        assert_allclose(derivative(lambda x: f(x) * g(x))(x), product, atol=1e-12)
        assert_allclose(derivative(lambda x: f(g(x)))(x), derivative(f)(g(x)) * derivative(g)(x), atol=1e-12)

    def test_orders_add(self):
        nested = derivative(derivative(jnp.exp, 2), 3)
        assert_allclose(nested(0.5), math.exp(0.5))

    def test_order_zero_is_the_function_itself(self):
        assert derivative(jnp.sin, 0) is jnp.sin

    @pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (0,), (2, 0, 3)])
    def test_keeps_the_shape_though_f_takes_scalars_only(self, shape):
        def scalars_only(x):
            assert x.shape == ()
            return lax.cond(x > 0.5, jnp.sin, jnp.cos, x)

        x = np.linspace(0, 1, math.prod(shape)).reshape(shape)
        result = jax.jit(derivative(scalars_only, 3))(x)
        assert result.shape == shape
        assert_allclose(result, np.where(x > 0.5, -np.cos(x), np.sin(x)))

    def test_takes_lists(self):
        assert_allclose(derivative(lambda x: x**2)([1, 2, 3]), [2.0, 4.0, 6.0])  # pyright: ignore[reportArgumentType]

    def test_lets_python_branch_on_a_concrete_scalar(self):
        assert derivative(lambda x: x**2 if x > 0 else -x)(3.0) == 6.0

    @pytest.mark.parametrize("constant", [3, 3.0, jnp.array(3.0)])
    def test_of_a_constant_is_zero(self, constant):
        assert_allclose(derivative(lambda x: constant)(jnp.ones(2)), [0.0, 0.0])

    @pytest.mark.parametrize("order", [1, 4])
    def test_runs_the_function_once(self, order):
        f, runs = counted(jnp.sin)
        derivative(f, order)(jnp.ones(3))
        assert len(runs) == 1


class TestSecantSlope:
    @given(numbers, numbers.filter(lambda h: abs(h) > 0.1))
    @laws
    def test_of_a_parabola_is_the_sum_of_the_ends(self, a, h):
        assert_allclose(secant_slope(lambda x: x**2, a, a + h), 2 * a + h, atol=1e-12)

    def test_tends_to_the_derivative(self):
        steps = np.array([1e-1, 1e-3, 1e-5])
        errors = np.abs(secant_slope(jnp.exp, 1.0, 1.0 + steps) - derivative(jnp.exp)(1.0))
        assert_allclose(errors, math.e * steps / 2, rtol=0.05)

    def test_broadcasts(self):
        assert secant_slope(jnp.sin, jnp.zeros((2, 1)), jnp.ones(3)).shape == (2, 3)

    def test_is_nan_without_a_secant(self):
        assert jnp.isnan(secant_slope(jnp.sin, 1.0, 1.0))


class TestPartialDerivative:
    def test_broadcasts_and_takes_scalars(self):
        def f(x, y):
            assert x.shape == y.shape == ()
            return lax.cond(y > 0, lambda: x**2 * y, lambda: x)

        x, y = jnp.arange(2.0)[:, None], jnp.array([-1.0, 1.0, 2.0])
        assert_allclose(partial_derivative(f, 0)(x, y), [[1, 0, 0], [1, 2, 4]])

    def test_leaves_the_constants_as_they_are(self):
        def f(x, n):
            assert jnp.issubdtype(n.dtype, jnp.integer)
            return x**n

        assert_allclose(partial_derivative(f, 0)(jnp.array([2, 3]), jnp.array([3, 2])), [12.0, 6.0])

    def test_mixed_partials_commute(self):
        f = lambda x, y: jnp.sin(x * y) + x**3 * y  # noqa: E731
        xy = partial_derivative(partial_derivative(f, 0), 1)(0.3, 0.8)
        assert_allclose(xy, partial_derivative(partial_derivative(f, 1), 0)(0.3, 0.8))
        assert_allclose(xy, math.cos(0.24) - 0.24 * math.sin(0.24) + 3 * 0.3**2)


class TestTaylor:
    @pytest.mark.parametrize("name", CLOSED_FORMS)
    def test_equals_the_derivatives_over_factorials(self, name):
        f, x, expected = CLOSED_FORMS[name]
        coefficients = jax.jit(lambda x: taylor(f, x, 4))(x)
        assert_allclose(coefficients[0], f(x))
        assert_allclose(
            coefficients[1:], [expected(k) / math.factorial(k) for k in range(1, 5)], rtol=1e-11, atol=1e-12
        )

    @given(st.lists(st.integers(-9, 9), min_size=1, max_size=5))
    @laws
    def test_of_a_polynomial_about_zero_are_its_own(self, coefficients):
        ascending = jnp.array(coefficients[::-1], float)
        order = len(coefficients) - 1
        assert_allclose(taylor(lambda x: jnp.polyval(jnp.array(coefficients, float), x), 0.0, order), ascending)

    def test_puts_the_coefficients_first(self):
        x0 = jnp.arange(6.0).reshape(2, 3)
        coefficients = taylor(jnp.exp, x0, 3)
        assert coefficients.shape == (4, 2, 3)
        for k in range(4):
            assert_allclose(coefficients[k], jnp.exp(x0) / math.factorial(k))

    def test_predicts_the_function_nearby(self):
        coefficients = taylor(jnp.sin, 0.5, 6)
        assert_allclose(jnp.polyval(coefficients[::-1], 0.01), math.sin(0.51), rtol=1e-15)

    def test_runs_the_function_once(self):
        f, runs = counted(jnp.sin)
        assert taylor(f, 1.0, 4).shape == (5,)
        assert len(runs) == 1


class TestMatrices:
    @given(points, points)
    @laws
    def test_directional_derivative_is_the_gradients_product_and_linear(self, x, v):
        assert_allclose(SLOPE(x, v), GRADIENT(x) @ v, rtol=1e-10, atol=1e-9)
        assert_allclose(SLOPE(x, 3 * v), 3 * SLOPE(x, v), rtol=1e-10, atol=1e-9)

    def test_directional_derivative_of_a_field_is_the_jacobians_product(self):
        x, v = jnp.array([0.1, 0.2, 0.3]), jnp.array([3, -1, 2])
        assert_allclose(jax.jit(directional_derivative(field))(x, v), jax.jit(jacobian(field))(x) @ v)

    @given(points)
    @laws
    def test_hessian_is_symmetric_and_the_gradients_jacobian(self, x):
        H = HESSIAN(x)
        assert_allclose(H, H.T, rtol=1e-10, atol=1e-9)
        assert_allclose(H, GRADIENT_JACOBIAN(x), rtol=1e-10, atol=1e-9)

    @given(points, points)
    @laws
    def test_hessian_vector_product(self, x, v):
        assert_allclose(HESSIAN_VECTOR_PRODUCT(x, v), HESSIAN(x) @ v, rtol=1e-10, atol=1e-9)

    def test_closed_forms(self):
        A = jnp.array([[2.0, 1.0], [1.0, 5.0]])
        assert_allclose(jax.jit(hessian(lambda x: x @ A @ x / 2))(jnp.ones(2)), A)
        assert_allclose(jax.jit(jacobian(lambda x: A[:1] @ x))(jnp.ones(2)), A[:1])
        assert_allclose(jax.jit(jacobian(lambda x: A @ x))(jnp.ones(2)), A)

    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_jacobian_is_jaxs_for_wide_square_and_tall(self, size):
        F = lambda x: jnp.sin(jnp.outer(jnp.arange(1.0, size + 1), x)).sum(1)[:, None]  # noqa: E731
        x = jnp.array([0.3, 0.5, 0.7])
        J = jax.jit(jacobian(F))(x)
        assert J.shape == (size, 1, 3)
        assert_allclose(J, jax.jit(jax.jacfwd(F))(x), rtol=1e-14)

    def test_jacobian_of_a_curve_is_one_column_and_needs_no_reverse_mode(self):
        def curve(t):
            return lax.while_loop(lambda y: y[0] < 3, lambda y: (y[0] + 1, y[1] * t), (0, jnp.arange(4.0)))[1]

        assert_allclose(jacobian(curve)(2.0), 12 * np.arange(4))

    def test_jacobian_of_many_variables_goes_by_rows(self):
        assert "[100,100]" not in str(jax.make_jaxpr(jacobian(lambda x: jnp.sum(x**2)))(jnp.ones(100)))

    def test_vectors_take_the_dtype_of_x(self):
        x, v = jnp.ones(3, jnp.float32), np.array([1, 0, 2])
        for vector in (v, v.astype(float)):
            assert jax.eval_shape(directional_derivative(potential), x, vector).dtype == jnp.float32
            assert jax.eval_shape(hessian_vector_product(potential), x, vector).dtype == jnp.float32

    def test_jacobian_runs_the_function_once(self):
        for rows in (1, 5):
            F, runs = counted(lambda x, rows=rows: jnp.ones((rows, 3)) @ x**2)
            jax.eval_shape(jacobian(F), jnp.ones(3))
            assert len(runs) == 1


class TestFields:
    @given(points)
    @laws
    def test_divergence_of_a_curl_vanishes(self, x):
        assert_allclose(CURL_DIVERGENCE(x), 0.0, atol=1e-11)

    @given(points)
    @laws
    def test_curl_of_a_gradient_vanishes(self, x):
        assert_allclose(GRADIENT_CURL(x), 0.0, atol=1e-9)

    @given(points)
    @laws
    def test_laplacian_is_the_gradients_divergence_and_the_hessians_trace(self, x):
        assert_allclose(LAPLACIAN(x), GRADIENT_DIVERGENCE(x), rtol=1e-10, atol=1e-9)
        assert_allclose(LAPLACIAN(x), jnp.trace(HESSIAN(x)), rtol=1e-10, atol=1e-9)

    def test_closed_forms_in_space(self):
        x, y, z = 0.3, -0.5, 0.9
        at = jnp.array([x, y, z])
        assert_allclose(jax.jit(divergence(field))(at), 3 * z**2)
        expected = [-math.exp(x - y) - x**2, y * math.cos(y * z) - math.exp(x - y), 2 * x * z - z * math.cos(y * z)]
        assert_allclose(jax.jit(curl(field))(at), expected)

    def test_newtons_potential_is_harmonic(self):
        assert_allclose(
            jax.jit(laplacian(lambda x: 1 / jnp.linalg.norm(x)))(jnp.array([0.5, 1.0, -2.0])), 0.0, atol=1e-14
        )

    def test_curl_in_the_plane_is_a_scalar(self):
        rotation = jax.jit(curl(lambda x: jnp.stack([-(x[1] ** 3), x[0] * x[1]])))(jnp.array([2.0, 3.0]))
        assert rotation.shape == ()
        assert rotation == 3.0 + 27.0

    @pytest.mark.parametrize("n", [1, 64, 65])
    def test_any_number_of_variables(self, n):
        x = jnp.linspace(0, 1, n)
        f, F = lambda x: jnp.sum(x**3) + x[0] * x[-1] * (n > 1), lambda x: x**2 + x.sum()
        assert_allclose(jax.jit(laplacian(f))(x), 6 * x.sum(), rtol=1e-13)
        assert_allclose(jax.jit(divergence(F))(x), 2 * x.sum() + n, rtol=1e-13)

    @pytest.mark.parametrize("operator", [laplacian(lambda x: jnp.sum(x**3)), divergence(lambda x: x**3)])
    def test_the_matrix_is_never_formed(self, operator):
        assert "[500,500]" not in str(jax.make_jaxpr(operator)(jnp.ones(500)))

    def test_no_variables(self):
        assert laplacian(lambda x: jnp.sum(x**2))(jnp.ones(0)) == 0.0
        assert divergence(lambda x: x)(jnp.ones(0)) == 0.0

    def test_laplacian_of_a_matrix_function(self):
        assert_allclose(jax.jit(laplacian(lambda X: jnp.trace(X @ X.T)))(jnp.ones((2, 3))), 12.0)

    def test_laplacian_through_a_loop_that_has_no_reverse_mode(self):
        def f(x):
            return lax.while_loop(lambda y: y[0] < 3, lambda y: (y[0] + 1, y[1] * x @ x), (0, 1.0))[1]  # |x|^6

        assert_allclose(laplacian(f)(jnp.array([1.0, 2.0])), 36 * 25)


class TestPytrees:
    x = {"a": jnp.array([1.0, 2.0]), "b": (jnp.array(3.0), jnp.ones((2, 1)))}  # noqa: RUF012

    @staticmethod
    def f(x):
        return jnp.sum(x["a"] ** 3) * x["b"][0] ** 2 + jnp.sum(x["b"][1] ** 2) * x["a"][0]

    def test_gradient_has_the_structure_of_x(self):
        expected = {"a": [29.0, 108.0], "b": (54.0, [[2.0], [2.0]])}
        jax.tree.map(
            assert_allclose, jax.jit(gradient(self.f))(self.x), jax.tree.map(jnp.asarray, expected, is_leaf=_is_list)
        )

    def test_hessian_and_jacobian_nest_as_jaxs(self):
        F = lambda x: {"u": x["a"] * x["b"][0], "v": self.f(x)}  # noqa: E731
        jax.tree.map(assert_allclose, jax.jit(hessian(self.f))(self.x), jax.jit(jax.hessian(self.f))(self.x))
        jax.tree.map(assert_allclose, jax.jit(jacobian(F))(self.x), jax.jit(jax.jacrev(F))(self.x))

    def test_products_with_vectors(self):
        v = jax.tree.map(jnp.cos, self.x)
        slopes = jax.tree.map(lambda g, v: np.sum(g * v), jax.jit(jax.grad(self.f))(self.x), v)
        assert_allclose(jax.jit(directional_derivative(self.f))(self.x, v), sum(jax.tree.leaves(slopes)))
        product, expected = hessian_vector_product(self.f), directional_derivative(jax.grad(self.f))
        jax.tree.map(assert_allclose, jax.jit(product)(self.x, v), jax.jit(expected)(self.x, v))

    def test_laplacian_and_divergence(self):
        expected = 6 * 3 * 9 + 2 * 9 + 2 * 2 * 1  # of a, of b[0], of b[1]
        assert_allclose(jax.jit(laplacian(self.f))(self.x), expected)
        assert_allclose(jax.jit(divergence(gradient(self.f)))(self.x), expected)


def _is_list(x):
    return isinstance(x, list)


AT_AN_ARRAY = {  # name: x -> result, for x of shape (3,)
    "gradient": gradient(potential),
    "directional_derivative": lambda x: directional_derivative(potential)(x, x),
    "jacobian": jacobian(field),
    "hessian": hessian(potential),
    "hessian_vector_product": lambda x: hessian_vector_product(potential)(x, x),
    "laplacian": laplacian(potential),
    "divergence": divergence(field),
    "curl": curl(field),
    "derivative": derivative(lambda x: x * jnp.sin(x), 2),
    "partial_derivative": lambda x: partial_derivative(lambda x, y: jnp.sin(x * y), 1)(x, x),
    "secant_slope": lambda x: secant_slope(jnp.sin, x, x + 1),
    "taylor": lambda x: taylor(jnp.sin, x, 2),
}


@pytest.mark.parametrize("name", AT_AN_ARRAY)
class TestEveryOperator:
    x = jnp.array([1.0, 2.0, 3.0]) / 4

    def test_keeps_floats_and_promotes_integers(self, name):
        for dtype, expected in (
            ("float32", "float32"),
            ("float64", "float64"),
            ("int32", "float64"),
            ("int64", "float64"),
        ):
            assert jax.eval_shape(AT_AN_ARRAY[name], self.x.astype(dtype)).dtype == expected

    def test_agrees_for_all_dtypes(self, name):
        operator, x = jax.jit(AT_AN_ARRAY[name]), jnp.array([1.0, 2.0, 3.0])
        assert_allclose(operator(x.astype(int)), operator(x), rtol=1e-14)
        assert_allclose(operator(x.astype(jnp.float32)), operator(x), rtol=1e-4, atol=1e-5)

    def test_works_inside_jit_and_vmap(self, name):
        operator, batch = jax.jit(AT_AN_ARRAY[name]), jnp.stack([self.x, 2 * self.x])
        expected = np.stack([operator(x) for x in batch])
        assert_allclose(jax.jit(jax.vmap(AT_AN_ARRAY[name]))(batch), expected, rtol=1e-12, atol=1e-14)

    def test_works_inside_grad(self, name):
        total = jax.jit(lambda x: jnp.sum(AT_AN_ARRAY[name](x)))
        direction, step = jnp.array([1.0, -2.0, 0.5]), 1e-6
        difference = (total(self.x + step * direction) - total(self.x - step * direction)) / (2 * step)
        assert_allclose(jax.jit(jax.grad(total))(self.x) @ direction, difference, rtol=1e-6)

    def test_rejects_complex_arguments(self, name):
        with pytest.raises(TypeError, match="dtype complex128, but must be real"):
            AT_AN_ARRAY[name](self.x + 1j)


def test_python_numbers_take_the_precision_of_the_function():
    for number in (3, 3.0):
        assert derivative(lambda x: x * jnp.float32(2))(number).dtype == jnp.float32


def test_without_x64_the_default_float_is_float32():
    with jax.enable_x64(False):
        assert derivative(lambda x: x**2)(3).dtype == jnp.float32
        assert gradient(lambda x: jnp.sum(x**2))(jnp.array([1, 2])).dtype == jnp.float32


@pytest.mark.parametrize("operator", [derivative, gradient, hessian, laplacian, lambda f: partial_derivative(f, 0)])
class TestScalarOutputs:
    def test_arrays_are_rejected(self, operator):
        with pytest.raises(TypeError, match=r"<lambda> returned an array of shape \(3,\) and dtype float64.*jnp.sum"):
            jax.eval_shape(operator(lambda x: x * jnp.ones(3)), 1.0)

    def test_structures_are_rejected(self, operator):
        with pytest.raises(TypeError, match="<lambda> returned a tuple, but must return a real scalar"):
            jax.eval_shape(operator(lambda x: (x, x)), 1.0)

    def test_a_forgotten_return_is_rejected(self, operator):
        with pytest.raises(TypeError, match="<lambda> returned a NoneType"):
            jax.eval_shape(operator(lambda x: None), 1.0)

    def test_complex_numbers_are_rejected(self, operator):
        with pytest.raises(TypeError, match=r"returned dtype complex128, but must return real numbers.*imaginary part"):
            jax.eval_shape(operator(lambda x: x * 1j), 1.0)

    def test_integers_are_rejected(self, operator):
        with pytest.raises(TypeError, match=r"returned dtype int64, which has no derivative.*astype\(float\)"):
            jax.eval_shape(operator(lambda x: x.astype(int)), 1.0)


class TestMessages:
    @pytest.mark.parametrize("order", [1.0, "2", True, None])
    def test_order_of_a_wrong_type(self, order):
        for call in (lambda: derivative(jnp.sin, order), lambda: taylor(jnp.sin, 0.0, order)):
            with pytest.raises(TypeError, match=r"order must be a non-negative int, such as 1, but is .* of type "):
                call()

    @pytest.mark.parametrize("integer", [int, np.int64, np.uint8])
    def test_order_and_argnum_may_be_whole_numbers_of_numpy(self, integer):
        assert derivative(jnp.sin, order=integer(2))(0.5) == derivative(jnp.sin, order=2)(0.5)
        assert_allclose(taylor(jnp.exp, 0.0, integer(2)), [1.0, 1.0, 0.5])
        assert partial_derivative(jnp.multiply, integer(1))(2.0, 3.0) == 2.0

    def test_negative_order(self):
        for call in (lambda: derivative(jnp.sin, -1), lambda: taylor(jnp.sin, 0.0, -1)):
            with pytest.raises(ValueError, match="order must be a non-negative int, such as 1, but is -1"):
                call()

    def test_argnum(self):
        with pytest.raises(TypeError, match=r"argnum must be a non-negative int, such as 1, but is 0\.0 of type float"):
            partial_derivative(jnp.sin, 0.0)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="argnum must be a non-negative int, such as 1, but is -1"):
            partial_derivative(jnp.sin, -1)
        with pytest.raises(ValueError, match="argnum is 2, but there are only 2 arguments; they are counted from 0"):
            partial_derivative(jnp.multiply, 2)(1.0, 2.0)

    def test_arguments_by_name(self):
        def f(x, y=2.0, z=5.0):
            return x * y**2 + z

        assert partial_derivative(f, 0)(1.0, y=3.0) == 9
        assert partial_derivative(f, 1)(x=2.0, y=3.0) == 12
        assert partial_derivative(f, 0)(1.0, z=3.0) == 4
        assert partial_derivative(f, 0)(jnp.ones(3), y=jnp.arange(3.0)).tolist() == [0, 1, 4]
        assert jax.jit(partial_derivative(f, 1))(2, y=3.0) == 12
        with pytest.raises(TypeError, match="f: got an unexpected keyword argument 'w'"):
            partial_derivative(f, 0)(1.0, w=3.0)
        with pytest.raises(TypeError, match="takes y by name alone"):
            partial_derivative(lambda x, *, y: x * y, 0)(1.0, y=3.0)

    @pytest.mark.parametrize("operator", [curl, divergence])
    @pytest.mark.parametrize("kind", [list, tuple])
    def test_fields_that_return_a_list(self, operator, kind):
        with pytest.raises(ValueError, match=r"made of the components by jnp\.stack"):
            operator(lambda x: kind([-x[1], x[0]]))(jnp.ones(2))

    @pytest.mark.parametrize("operator", [directional_derivative(potential), hessian_vector_product(potential)])
    def test_vectors_that_do_not_match(self, operator):
        with pytest.raises(ValueError, match=r"v has shape \(2,\), but must have that of x, \(3,\).*broadcast_to"):
            operator(jnp.ones(3), jnp.ones(2))
        with pytest.raises(ValueError, match=r"v has the structure .* but must have that of x"):
            operator(jnp.ones(3), {"a": jnp.ones(3)})
        with pytest.raises(TypeError, match="v has dtype complex128, but must be real"):
            operator(jnp.ones(3), jnp.ones(3) * 1j)

    @pytest.mark.parametrize("operator", [jacobian, divergence, curl])
    def test_fields_that_are_not_real(self, operator):
        with pytest.raises(TypeError, match="<lambda> returned dtype complex128, but must return real numbers"):
            operator(lambda x: x * 1j)(jnp.ones(3))
        with pytest.raises(TypeError, match="<lambda> returned dtype int64, which has no derivative"):
            operator(lambda x: x.astype(int))(jnp.ones(3))
        with pytest.raises(TypeError, match="<lambda> returned a NoneType without numbers; return an array"):
            operator(lambda x: None)(jnp.ones(3))

    @pytest.mark.parametrize("operator", [divergence, curl])
    def test_fields_that_are_not_square(self, operator):
        with pytest.raises(
            ValueError, match=r"what <lambda> returned has shape \(2,\), but must have that of x, \(3,\)"
        ):
            operator(lambda x: x[:2])(jnp.ones(3))
        with pytest.raises(ValueError, match=r"what <lambda> returned has the structure .*one component per variable"):
            operator(lambda x: (x[0], x[1], x[2]))(jnp.ones(3))

    @pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3)])
    def test_curl_in_the_wrong_dimension(self, shape):
        with pytest.raises(ValueError, match=r"but a curl needs shape \(3,\), or \(2,\) in the plane.*jax\.vmap"):
            curl(lambda x: x)(jnp.ones(shape))

    def test_come_from_inside_jit_too(self):
        with pytest.raises(TypeError, match="must return a real scalar"):
            jax.jit(gradient(lambda x: x))(jnp.ones(3))


@pytest.mark.parametrize(
    ("f", "coefficients"),
    [
        (lambda x: x**2.0, [0, 0, 1, 0, 0]),
        (lambda x: x**3.0, [0, 0, 0, 1, 0]),
        (lambda x: x**0.0, [1, 0, 0, 0, 0]),
        (lambda x: jnp.power(x, 2.0), [0, 0, 1, 0, 0]),
        (lambda x: jnp.sum(x ** jnp.arange(4.0)), [1, 1, 1, 1, 0]),
        (jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y + x**2.0, 0.0)), [0, 0, 3, 0, 0]),
        (lambda x: jax.lax.cond(x > -1, lambda x: x**2.0, lambda x: x, x), [0, 0, 1, 0, 0]),
        (jax.checkpoint(lambda x: (x - x**2.0) ** 1.0), [0, 1, -1, 0, 0]),
    ],
)
def test_whole_exponents_as_floats_are_exact(f, coefficients):
    np.testing.assert_array_equal(taylor(f, 0.0, 4), coefficients)


def test_other_exponents_are_as_before():
    np.testing.assert_allclose(derivative(lambda x: x**-2.0, 2)(2.0), 6 / 16)
    np.testing.assert_allclose(derivative(lambda x: x**0.5, 2)(4.0), -1 / 32)
    np.testing.assert_allclose(jax.jit(lambda y: derivative(lambda x: x**y, 2)(3.0))(2.0), 2.0)
    assert derivative(lambda x: x**2.0 if x > 0 else -x)(3.0) == 6.0
