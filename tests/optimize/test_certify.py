"""Kinds of points: by eigenvalues with their margin, at bounds, batched, in many variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

KINDS = {
    "minimum": (lambda x: jnp.sum((x - 1) ** 2) + x[0] * x[1], jnp.array([2 / 3, 2 / 3]), "minimum", 0),
    "maximum": (lambda x: -jnp.sum(jnp.cosh(x)), jnp.zeros(3), "maximum", 3),
    "saddle of index 1": (lambda x: x[0] ** 2 - x[1] ** 2 + x[2] ** 2, jnp.zeros(3), "saddle", 1),
    "saddle of index 2": (lambda x: x[0] ** 2 - x[1] ** 2 - x[2] ** 2, jnp.zeros(3), "saddle", 2),
    "quartic": (lambda x: jnp.sum(x**4), jnp.zeros(2), "degenerate", 0),
    "quartic, near its minimum": (lambda x: jnp.sum(x**4), jnp.full(2, 1e-3), "degenerate", 0),
    "valley": (lambda x: x[0] ** 2 + 0 * x[1], jnp.zeros(2), "degenerate", 0),
    "falls in one direction, flat in another": (lambda x: -(x[0] ** 2) + x[1] ** 4, jnp.zeros(2), "degenerate", 1),
    "slope": (lambda x: x[0] + x[1] ** 2, jnp.zeros(2), "not critical", 0),
    "nan": (lambda x: jnp.sum(jnp.log(x)), -jnp.ones(2), "not critical", 0),
    "tiny curvatures": (lambda x: 1e-200 * jnp.sum(x**2), jnp.zeros(2), "minimum", 0),
}


@pytest.mark.parametrize("name", KINDS)
def test_kind(name):
    fun, x, kind, index = KINDS[name]
    found = jc.certify(fun, x)
    assert found.kind_name == kind
    if kind != "not critical":
        assert int(found.index) == index


def bowl(x, centre):
    return jnp.sum((x - centre) ** 2)


BOUNDS = {  # centre, x, bounds, kind
    "pressed against the lower": ([-1.0, 0.5], [0.0, 0.5], (0.0, 1.0), "minimum at a bound"),
    "pressed against the upper": ([2.0, 0.5], [1.0, 0.5], (0.0, 1.0), "minimum at a bound"),
    "a corner": ([2.0, -2.0], [1.0, 0.0], (0.0, 1.0), "minimum at a bound"),
    "wrong sign: it would leave the bound": ([0.5, 0.5], [0.0, 0.5], (0.0, 1.0), "not critical"),
    "inside": ([0.5, 0.5], [0.5, 0.5], (0.0, 1.0), "minimum"),
    "one side": ([-1.0, 0.5], [0.0, 0.5], (0.0, None), "minimum at a bound"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name):
    centre, x, bounds, kind = BOUNDS[name]
    assert jc.certify(bowl, jnp.array(x), (jnp.array(centre),), bounds).kind_name == kind


def test_a_held_variable_with_negative_curvature_inside_is_no_minimum():
    found = jc.certify(lambda x: x[0] - x[1] ** 2, jnp.zeros(2), bounds=(jnp.array([0.0, -1.0]), 1.0))
    assert found.kind_name == "saddle"
    assert int(found.index) == 1
    np.testing.assert_allclose([found.min_eigenvalue, found.max_eigenvalue], -2.0)


def test_eigenvalues_are_those_of_the_hessian_within_the_margin():
    A = np.random.default_rng(0).normal(size=(30, 30))
    A = A + A.T
    found = jc.certify(lambda x: 0.5 * x @ A @ x, jnp.zeros(30))
    exact = np.linalg.eigvalsh(A)
    assert abs(found.min_eigenvalue - exact[0]) <= found.margin
    assert abs(found.max_eigenvalue - exact[-1]) <= found.margin
    assert int(found.index) == np.sum(exact < 0)


@pytest.mark.parametrize(("least", "kind"), [(0.5, "minimum"), (-0.5, "saddle")])
def test_many_variables_by_lanczos(least, kind):
    weights = jnp.linspace(1.0, 3.0, 300).at[7].set(least)
    found = jc.certify(lambda x: 0.5 * jnp.sum(weights * x**2), jnp.zeros(300))
    assert found.kind_name == kind
    np.testing.assert_allclose([found.min_eigenvalue, found.max_eigenvalue], [least, 3.0], rtol=1e-6)


def test_lanczos_stops_when_the_hessian_has_few_eigenvalues():
    found = jc.certify(lambda x: jnp.sum(x**2), jnp.zeros(150))
    assert found.kind_name == "minimum"
    np.testing.assert_allclose([found.min_eigenvalue, found.max_eigenvalue], 2.0)


def test_lanczos_calls_a_quartic_near_its_minimum_degenerate():
    assert jc.certify(lambda x: jnp.sum(x**4), jnp.full(120, 1e-3)).kind_name == "degenerate"


def test_a_hundred_variables_are_dense():
    weights = jnp.concatenate([-jnp.ones(3), jnp.linspace(1.0, 2.0, 97)])
    found = jc.certify(lambda x: 0.5 * jnp.sum(weights * x**2), jnp.zeros(100))
    assert found.kind_name == "saddle"
    assert int(found.index) == 3


def test_outside_the_box_is_not_critical_and_bounds_may_differ_between_points():
    assert jc.certify(bowl, jnp.zeros(2), (jnp.zeros(2),), (1.0, 2.0)).kind_name == "not critical"
    x, centres = jnp.array([[0.0, 0.5], [1.0, 0.5]]), jnp.array([[-1.0, 0.5], [1.0, 0.5]])
    found = jc.certify(bowl, x, (centres,), (jnp.array([[0.0, 0.0], [-1.0, -1.0]]), None), many=True)
    assert found.kind_name == ["minimum at a bound", "minimum"]


def quartic(x):
    return x * (x - 1) * (x - 2) * (x - 3)


def test_batch_of_points_equals_single_ones_and_goes_through_jit():
    x = jnp.array([(3 - 5**0.5) / 2, 1.5, (3 + 5**0.5) / 2, 0.0])
    found = jc.certify(quartic, x, many=True)
    assert found.kind_name == ["minimum", "maximum", "minimum", "not critical"]
    assert jc.certify(quartic, x[1]).kind_name == "maximum"
    np.testing.assert_array_equal(jax.jit(lambda x: jc.certify(quartic, x, many=True).kind)(x), found.kind)


def test_certifies_the_ends_of_minimize_many():
    starts = jax.random.uniform(jax.random.key(0), (50, 2), minval=-5, maxval=5)
    himmelblau = next(problem for problem in jc.problems.PROBLEMS if problem.name == "himmelblau")
    ends = jc.minimize_many(himmelblau.fun, starts)
    assert set(jc.certify(himmelblau.fun, ends.x, many=True).kind_name) == {"minimum"}


def test_pytrees_and_single_precision():
    x = {"a": jnp.zeros(2, jnp.float32), "b": jnp.zeros((), jnp.float32)}
    found = jc.certify(lambda x: jnp.sum(x["a"] ** 2) + x["b"] ** 2, x, bounds=(x, None))
    assert found.kind_name == "minimum at a bound"
    assert found.margin.dtype == jnp.float32


def test_bad_input():
    with pytest.raises(TypeError, match="pair"):
        jc.certify(bowl, jnp.zeros(2), (jnp.zeros(2),), [(0, 1), (0, 1)])
    with pytest.raises(ValueError, match="at most"):
        jc.certify(bowl, jnp.zeros(2), (jnp.zeros(2),), (1.0, 0.0))
    with pytest.raises(TypeError, match="one real number"):
        jc.certify(lambda x: x, jnp.zeros(2))
    with pytest.raises(ValueError, match="gtol"):
        jc.certify(bowl, jnp.zeros(2), (jnp.zeros(2),), gtol=-1.0)


def test_minimize_many_attaches_certificates():
    def fun(x, a):
        return x[0] ** 2 - a * x[1] ** 2 + x[1] ** 4

    x0 = jnp.tile(jnp.array([[1.0, 0.0], [1.0, 0.3]]), (50, 1))  # the first of each pair descends to the saddle
    a = jnp.linspace(1, 2, 100)
    result = jc.minimize_many(fun, x0, (a,), bounds=(None, jnp.array([2.0, 0.9])), certify=True)
    assert result.certificate.kind_name[0::2] == ["saddle"] * 50
    assert result.certificate.kind_name[1] == "minimum"
    assert result.certificate.kind_name[-1] == "minimum at a bound"
    again = jc.certify(fun, result.x, (a,), (None, jnp.array([2.0, 0.9])), many=True)
    np.testing.assert_array_equal(result.certificate.kind, again.kind)
    np.testing.assert_allclose(result.certificate.min_eigenvalue, again.min_eigenvalue, rtol=1e-9)
    assert jc.minimize_many(fun, x0, (a,)).certificate is None


@pytest.mark.slow
def test_the_value_has_a_derivative_beside_certificates():
    def fun(x, a):
        return x[0] ** 2 - a * x[1] ** 2 + x[1] ** 4

    x0, a = jnp.tile(jnp.array([[1.0, 0.0], [1.0, 0.3]]), (50, 1)), jnp.linspace(1, 2, 100)
    slope = jax.grad(lambda a: jc.minimize_many(fun, x0, (a,), certify=True).fun.sum())(a)
    np.testing.assert_allclose(slope, -(jc.minimize_many(fun, x0, (a,)).x[:, 1] ** 2), atol=1e-4)


def test_third_derivatives_that_do_not_exist_matter_only_on_the_way():
    """The third derivative of x^2.0 is nan at 0 in JAX; where the Newton step is zero nothing is asked of it."""
    certificate = jc.certify(lambda v: v[0] ** 2.0 + v[1] ** 2.0, jnp.zeros(2))
    assert certificate.kind_name == "minimum"
    assert certificate.min_eigenvalue == certificate.max_eigenvalue == 2


@pytest.mark.slow
def test_derivatives_that_contradict_the_values_are_said():
    """JAX's rules are wrong at single points: beta's logarithm at (1, 1), sinc next to 0, the norm at 0."""

    def entropy(v):
        return jax.scipy.special.betaln(v[0], v[1]) + v[0] + v[1]

    assert jc.certify(entropy, jnp.array([1.0, 1.0])).kind_name == "contradictory derivatives"
    assert jc.certify(lambda v: -jnp.sinc(v[0]), jnp.array([1e-9])).kind_name == "contradictory derivatives"
    assert jc.certify(lambda v: jnp.linalg.norm(v) ** 2, jnp.zeros(2)).kind_name == "contradictory derivatives"
    # exp(-|x|) I0(x) has a kink and its maximum at 0; its rules give the slope 0 and the curvature 1/2.
    assert jc.certify(lambda v: jax.scipy.special.i0e(v[0]), jnp.zeros(1)).kind_name == "contradictory derivatives"
    # The same functions where the rules are right, and a point whose curvature is zero.
    assert jc.certify(lambda v: -jnp.sinc(v[0]), jnp.array([0.0])).kind_name == "minimum"
    assert jc.certify(lambda v: jnp.sum(v**4) + 1e3, jnp.zeros(2)).kind_name == "degenerate"
    # A gradient of 1 at the minimum.
    assert jc.certify(lambda v: jax.scipy.special.i0(v[0]), jnp.zeros(1)).kind_name == "contradictory derivatives"


@pytest.mark.slow
def test_a_slope_is_contradicted_by_values_alone():
    """Offsets, waves, steep and flat functions, poles and kinks nearby, in both precisions."""
    functions = [
        lambda v: 1e6 + jnp.sum(jnp.sin(v)),
        lambda v: jnp.sum(jnp.cos(1e3 * v)),
        lambda v: jnp.sum(jnp.exp(20 * v)),
        lambda v: 1e-12 * jnp.sum(v**3),
        lambda v: jnp.sum(1 / v),
        lambda v: jnp.sum(jnp.abs(v - 1e-3)) + jnp.sum(v) / 3,
        lambda v: jnp.prod(v),
    ]
    points = np.random.default_rng(0).normal(size=(50, 3))
    for dtype in (jnp.float32, jnp.float64):
        for f in functions:
            names = jc.certify(f, jnp.asarray(points, dtype), many=True, gtol=float(jnp.finfo(dtype).tiny)).kind_name
            assert set(names) == {"not critical"}
