"""Every call ends, and at the best point that it has seen: hard ends, kind by kind, for every method."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc import methods
from jaxcalc.problems import rosenbrock
from tests.families import slow_but

METHODS = {name: factory() for name, factory in methods.REGISTRY.items()}
SEARCHING = [name for name, method in METHODS.items() if not method.has_fixed_rate]
BY_LINE = [name for name in SEARCHING if not METHODS[name].needs.second_order]
SECOND_ORDER = [name for name, method in METHODS.items() if method.needs.second_order]


class TestFallsWithoutEnd:
    @pytest.mark.parametrize("name", list(METHODS))
    def test_from_a_value_of_zero(self, name):
        result = jc.minimize(lambda x: 1 - jnp.exp(x), 0.0, method=name)
        assert result.status == jc.Status.UNBOUNDED
        assert result.fun < -1e20

    @pytest.mark.parametrize(
        ("n", "name"),
        slow_but(itertools.product([2, 40], SECOND_ORDER), [(2, "trust_region"), (2, "trust_ncg"), (40, "trust_ncg")]),
    )
    def test_where_the_model_overflows(self, name, n):
        result = jc.minimize(lambda x: -jnp.sum(jnp.exp(x**2)), jnp.full(n, 0.5), method=name)
        assert result.status == jc.Status.UNBOUNDED

    def test_one_such_problem_blocks_no_others(self):
        def fun(x, falls):
            return jnp.where(falls, 1 - jnp.exp(x), (x - 1) ** 2)

        falls = jnp.arange(20) == 7
        result = jc.minimize_many(fun, jnp.zeros(20), (falls,), method="trust_ncg", lanes=4)
        assert (result.status == jnp.where(falls, jc.Status.UNBOUNDED, jc.Status.SUCCESS)).all()


@pytest.mark.parametrize("name", list(METHODS))
def test_evaluations_are_capped(name):
    """Whatever a method does: a function made of noise lets no search end by itself."""

    def noise(x):
        return jnp.sum(jnp.sin(1e9 * x) * 1e-3 + jnp.abs(x) ** 0.1)

    result = jc.minimize_many(noise, jnp.asarray(np.random.default_rng(0).normal(size=(8, 3))), method=name, maxiter=20)
    most = 21 * METHODS[name].most_evaluations(3)
    assert (result.nfev <= most).all()
    assert (result.status != jc.Status.INVALID).all()


def test_the_cap_on_evaluations_has_a_status_of_its_own():
    result = jc.minimize(rosenbrock, jnp.full(4, -1.0), maxfev=7)
    assert result.status == jc.Status.MAX_EVALUATIONS
    assert result.nfev == 7
    assert not result.success
    assert "evaluations" in result.message
    several = jc.minimize_many(rosenbrock, jnp.full((3, 4), -1.0), maxfev=jnp.array([5, 900, 0]))
    assert several.status.tolist() == [8, 0, 8]
    assert several.nfev.tolist()[::2] == [5, 1]


def test_a_cap_beyond_any_count_is_none():
    """Infinity became the default, with a warning of NumPy's: beyond the largest whole number of 32 bits."""
    rate = methods.gradient_descent(1e-4)
    result = jc.minimize(lambda x: (x - 1) ** 2, 0.0, method=rate, maxiter=np.inf)  # pyright: ignore
    assert result.success
    assert result.nit > 10_000
    assert jc.minimize(rosenbrock, jnp.full(4, -1.0), maxiter=10**12, maxfev=1e20).success  # pyright: ignore


class TestTheBestPointSeenIsTaken:
    @pytest.mark.parametrize("name", SEARCHING)
    def test_before_a_wall(self, name):
        """The line search is bracketed by values that are infinite, and knows steps that go down."""
        result = jc.minimize(lambda t: jnp.where(t < 1.05, 8.35 - 4 * t, jnp.inf), 0.0, method=name)
        np.testing.assert_allclose(result.x, 1.05, atol=1e-6)
        np.testing.assert_allclose(result.fun, 4.15, atol=1e-5)
        assert not result.success

    @pytest.mark.parametrize("name", BY_LINE)
    def test_at_cusps(self, name):
        centre = jnp.array([1.0, 2.0, 3.0, 4.0])

        def cusps(v):
            return jnp.sum((v - centre) ** 2) + 5 * jnp.sum(jnp.abs(v) ** 0.3)

        result = jc.minimize(cusps, jnp.full(4, 0.4), method=name)
        assert result.fun < cusps(jnp.full(4, 0.4)) - 5
        assert jnp.isfinite(result.jac).all()


class TestInfiniteSlopes:
    @pytest.mark.parametrize("name", list(METHODS))
    def test_at_a_bound_that_holds(self, name):
        method = jc.methods.REGISTRY[name]()
        result = jc.minimize(lambda x: jnp.sum(jnp.sqrt(x)), jnp.array([1.0, 0.3]), bounds=(0.0, 10.0), method=method)
        assert result.success
        assert (result.x == 0).all()

    @pytest.mark.parametrize("name", SEARCHING)
    def test_beside_variables_that_go_on(self, name):
        def fun(x):
            return jnp.sqrt(x[0]) + (x[1] - 2) ** 2 + 0.1 * (x[2] + 1) ** 4

        result = jc.minimize(fun, jnp.array([0.5, 0.0, 0.0]), bounds=(jnp.array([0.0, -5.0, -5.0]), None), method=name)
        assert result.success
        assert result.x[0] == 0
        np.testing.assert_allclose(result.x[1], 2, atol=1e-4)

    def test_inside_the_box_they_are_no_success(self):
        result = jc.minimize(lambda x: jnp.sqrt(jnp.abs(x)), 0.0, bounds=(-1.0, 1.0))
        assert not result.success


@pytest.mark.parametrize(
    ("lower", "name"),
    slow_but(
        itertools.product([1.1, 1.3], [name for name in SEARCHING if METHODS[name].learns_curvature]),
        [(1.1, "bfgs"), (1.1, "trust_region"), (1.3, "lbfgs"), (1.3, "trust_ncg")],
    ),
)
def test_variables_that_bounds_hold_do_not_slow_the_others(name, lower):
    by_bfgs = jc.minimize(rosenbrock, jnp.full(5, 2.0), bounds=(lower, None), gtol=1e-8)
    result = jc.minimize(rosenbrock, jnp.full(5, 2.0), bounds=(lower, None), method=name)
    assert result.success
    assert result.nfev < 2_000
    np.testing.assert_allclose(result.fun, by_bfgs.fun, rtol=1e-6)


@pytest.mark.parametrize("name", SECOND_ORDER)
class TestCurvature:
    @pytest.mark.parametrize("bounds", [None, (-10.0, 10.0), (-0.3, 0.2), (-5.0, 1e-3)])
    def test_maxima_are_left_with_bounds_too(self, name, bounds):
        result = jc.minimize(lambda x: -(x**2) + x**4, 0.0, method=name, bounds=bounds)
        assert result.success
        assert result.fun < -0.08 if bounds == (-0.3, 0.2) else result.fun < -0.2499

    @pytest.mark.parametrize(
        ("fun", "start", "bounds", "value"),
        [
            (lambda x: -(x**2) + x**4, 0.0, (0.0, 10.0), -0.25),
            (lambda x: -(x**2) + x**4, 0.0, (-10.0, 0.0), -0.25),
            (lambda x: x[0] - x[1] ** 2 + x[1] ** 4 + x[2] ** 2, jnp.zeros(3), (0.0, 2.0), -0.25),
            (lambda x: -x[0] * x[1] + 0.1 * jnp.sum(x**4), jnp.zeros(2), (0.0, 3.0), -1.25),
            (lambda x: x[0] * x[1], jnp.zeros(2), (0.0, 3.0), 0.0),
        ],
    )
    def test_a_bound_holds_no_maximum_without_a_slope(self, name, fun, start, bounds, value):
        """At a bound with slope zero f falls into the box; where it falls only out of it the start is a minimum."""
        result = jc.minimize(fun, start, method=name, bounds=bounds)
        assert result.success
        assert result.nfev < 30
        np.testing.assert_allclose(result.fun, value, atol=1e-6)

    def test_a_model_that_has_overflowed_is_no_success(self, name):
        result = jc.minimize(lambda x: jnp.sum(jnp.cosh(x)), jnp.array([700.0, 1.0, -80.0]), method=name)
        assert not result.success

    def test_saddles_between_bounds(self, name):
        result = jc.minimize(
            lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, jnp.zeros(2), method=name, bounds=(-4.0, jnp.array([4.0, 3.0]))
        )
        assert result.success
        np.testing.assert_allclose(result.fun, -0.25, atol=1e-6)

    def test_variables_that_the_function_does_not_use_stay(self, name):
        result = jc.minimize(lambda v: (v[0] - 1) ** 2 + v[2] ** 4, jnp.array([2.0, 5.0, 1.0, -3.0]), method=name)
        assert result.success
        assert result.x[1] == 5
        assert result.x[3] == -3

    def test_beside_negative_curvature_they_stay_too(self, name):
        def fun(v):
            return v[0] ** 4 - v[0] ** 2 + jnp.cos(v[1])

        result = jc.minimize(fun, jnp.array([0.2, 0.3, 5.0, -3.0]), method=name)
        assert result.success
        np.testing.assert_allclose(result.fun, -1.25)
        assert result.x[2] == 5
        assert result.x[3] == -3

    def test_along_a_null_space_the_step_is_short(self, name):
        """The minimisers are a line; the start moves to a near one, not along it to the edge of the region."""
        result = jc.minimize(lambda v: (v[0] + v[1] - 1) ** 2, jnp.array([2.0, 5.0]), method=name)
        assert result.success
        start, nearest = jnp.array([2.0, 5.0]), jnp.array([-1.0, 2.0])
        assert jnp.linalg.norm(result.x - start) < 1.2 * jnp.linalg.norm(nearest - start)


@pytest.mark.parametrize(
    ("dtype", "name"),
    slow_but(
        itertools.product([jnp.float32, jnp.float64], SEARCHING),
        [
            *((jnp.float32, name) for name in ("bfgs", "trust_region")),
            *((jnp.float64, name) for name in ("lbfgs", "conjugate_gradient")),
        ],
    ),
)
def test_steps_do_not_depend_on_units_over_the_range_of_the_dtype(name, dtype):
    """In single precision the squares of these gradients and variables overflow or vanish."""
    start, gtol = jnp.array([-1.2, 1.0, 0.7], dtype), 1e-2

    def fun(x, factor, size):
        return factor * rosenbrock(x / size)

    factors = jnp.asarray([1, 1e-30, 1e-15, 1e15, 1e30, 1, 1, 1, 1], dtype)
    sizes = jnp.asarray([1, 1, 1, 1, 1, 1e-18, 1e-9, 1e9, 1e18], dtype)
    result = jc.minimize_many(
        fun, start * sizes[:, None], (factors, sizes), method=name, gtol=gtol * factors / sizes, lanes=16
    )
    assert result.success.all()
    if name != "steepest_descent":  # whose steps amplify the rounding of factors that are no powers of two
        assert (jnp.abs(result.nfev - result.nfev[0]) <= 0.3 * result.nfev[0]).all()
    np.testing.assert_allclose(result.x / sizes[:, None], jnp.ones((9, 3)), atol=0.1)


@pytest.mark.parametrize("name", slow_but(SEARCHING, ["bfgs", "conjugate_gradient", "trust_region"]))
def test_a_large_factor_in_single_precision(name):
    centre = jnp.arange(3, dtype=jnp.float32)
    result = jc.minimize(lambda x: 1e20 * jnp.sum((x - centre) ** 2), jnp.ones(3, jnp.float32), method=name)
    np.testing.assert_allclose(result.x, centre, atol=1e-5)
    if METHODS[name].learns_curvature:
        assert result.nfev < 200
