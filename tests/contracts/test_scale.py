"""scale=: the methods work with x / scale, and nothing that the caller is promised changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.methods import REGISTRY
from jaxcalc.problems import rosenbrock
from tests.families import slow_but

SIZES = jnp.array([1e-6, 1.0, 1e5, 1e-2])
SEARCHING = [name for name in REGISTRY if not REGISTRY[name]().has_fixed_rate]
STARTS = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (32, 4)))


def badly_scaled(x, sizes):
    """Rosenbrock's function of x / sizes."""
    return rosenbrock(x / sizes)


def largest_gradient(result, sizes):
    return jnp.abs(jax.vmap(jax.grad(badly_scaled), in_axes=(0, None))(result.x, sizes)).max(1)


@pytest.mark.parametrize("name", slow_but(SEARCHING, ["bfgs", "trust_region", "steepest_descent"]))
def test_undoes_bad_units(name):
    """With the right scale the steps are those of the well-scaled function, up to rounding."""
    sizes = 2.0 ** jnp.round(jnp.log2(SIZES))
    plain = jc.minimize_many(rosenbrock, STARTS, method=name, gtol=0.0, maxiter=8)
    scaled = jc.minimize_many(
        badly_scaled, STARTS * sizes, shared=sizes, method=name, gtol=0.0, maxiter=8, scale=sizes * 1.3
    )
    np.testing.assert_array_equal(scaled.nfev, plain.nfev)
    np.testing.assert_allclose(scaled.x / sizes, plain.x, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(scaled.jac * sizes, plain.jac, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", slow_but(SEARCHING, ["bfgs", "lbfgs", "trust_ncg"]))
def test_gtol_is_about_the_caller_s_gradient(name):
    gtol = jnp.logspace(-4, 2, 32)
    result = jc.minimize_many(
        badly_scaled, STARTS * SIZES, shared=SIZES, method=name, gtol=gtol, maxiter=5000, scale=SIZES
    )
    largest = largest_gradient(result, SIZES)
    # The gradient by the smallest variable is 1e6 times that of a function without units, and so is its rounding.
    assert jnp.all(jnp.where(result.success, largest <= 1.01 * gtol + 1e-6, True))
    assert jnp.mean(result.success) > 0.9, result.message
    np.testing.assert_allclose(result.jac, jax.vmap(jax.grad(badly_scaled), (0, None))(result.x, SIZES), atol=1e-5)


@pytest.mark.parametrize("name", slow_but(REGISTRY, ["conjugate_gradient", "gradient_descent", "trust_region"]))
def test_the_box_is_the_caller_s(name):
    seen = []

    def fun(x):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x)
        return badly_scaled(x, SIZES)

    lower, upper = jnp.array([-1e-6, 0.1, -3e5, 0.003]), jnp.array([0.7e-6, jnp.inf, 0.3e5, 0.003])
    result = jc.minimize(fun, SIZES * 4, bounds=(lower, upper), scale=SIZES, method=name, maxiter=100)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert len(seen) == result.nfev
    assert all((x >= lower).all() and (x <= upper).all() for x in seen)
    assert result.x[3] == 0.003
    assert result.x[0] == lower[0] or result.x[0] == upper[0] or lower[0] < result.x[0] < upper[0]


def test_forms():
    def fun(x, a):
        return jnp.sum((x["u"] * 1e4 - a) ** 2) + (x["v"] - a) ** 4

    x0, a = {"u": jnp.zeros((5, 2)), "v": jnp.zeros(5)}, jnp.arange(5.0)
    for scale in (
        1e-4,
        {"u": 1e-4, "v": None},
        {"u": jnp.array([1e-4, 1e-3]), "v": jnp.ones(5)},
        {"u": jnp.full((5, 2), 1e-4), "v": 2},
    ):
        result = jc.minimize_many(fun, x0, (a,), scale=scale).check()
        np.testing.assert_allclose(result.x["u"] * 1e4, jnp.broadcast_to(a[:, None], (5, 2)), atol=1e-6)
    assert jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(2), scale=[1, 2]).success
    several = jc.minimize_many(
        [rosenbrock, rosenbrock], [jnp.zeros((1, 2)), jnp.zeros((2, 3))], scale=[jnp.array([1.0, 2.0]), None]
    )
    assert all(result.success.all() for result in several)


@pytest.mark.parametrize(
    ("scale", "error", "match"),
    [
        (0.0, ValueError, "positive"),
        (jnp.array([1.0, -1.0]), ValueError, "positive"),
        (jnp.nan, ValueError, "positive"),
        (jnp.inf, ValueError, "positive"),
        (jnp.ones(3), ValueError, "broadcast"),
        ({"a": 1.0}, TypeError, "form of x:"),
    ],
)
def test_what_is_no_scale_is_refused(scale, error, match):
    with pytest.raises(error, match=match):
        jc.minimize(lambda x: jnp.sum(x**2), jnp.zeros(2), scale=scale)


@pytest.mark.slow
def test_a_bad_scale_of_one_problem_is_its_status():
    scale = jnp.ones((6, 4)).at[2, 1].set(-1.0).at[4, 0].set(jnp.nan)
    # The last one does not depend on the variable without a scale.
    for fun in (rosenbrock, lambda x: jnp.sum((x[2:] - 1) ** 2), lambda x: 0 * x[2] + 1):
        some = jc.minimize_many(fun, STARTS[:6], scale=scale, lanes=4)
        every = jc.minimize_many(fun, STARTS[:6], lanes=4)
        bad = np.array([2, 4])
        np.testing.assert_array_equal(some.status[bad], jc.Status.INVALID)
        np.testing.assert_array_equal(some.nfev[bad], 0)
        assert np.isnan(np.asarray(some.fun)[bad]).all()
        good = np.array([0, 1, 3, 5])
        np.testing.assert_allclose(some.x[good], every.x[good], atol=1e-6)
    solve = jax.jit(lambda scale: jc.minimize(rosenbrock, jnp.zeros(2), scale=scale).status)
    assert (solve(2.0), solve(0.0), solve(jnp.inf)) == (jc.Status.SUCCESS, jc.Status.INVALID, jc.Status.INVALID)


def test_new_numbers_do_not_compile_again():
    traces = []

    def fun(x):
        traces.append(1)
        return jnp.sum((x - 1) ** 2)

    for scale in (jnp.array([1.0, 2.0]), jnp.array([1e-3, 7.0])):
        jc.minimize(fun, jnp.zeros(2), scale=scale).check()
    assert len(set(traces)) == 1
    traced = len(traces)
    jc.minimize(fun, jnp.zeros(2), scale=jnp.array([5.0, 5.0]))
    assert len(traces) == traced


def test_single_precision():
    result = jc.minimize_many(
        badly_scaled,
        (STARTS * SIZES).astype(jnp.float32),
        shared=SIZES.astype(jnp.float32),
        scale=SIZES,
        gtol=jnp.float32(1e-2) / SIZES.min(),
    )
    assert result.x.dtype == jnp.float32
    assert result.success.all()


@pytest.mark.slow
def test_derivatives_and_vmap():
    def fun(x, a):
        return jnp.sum((x * jnp.array([1e3, 1.0]) - a) ** 2) + jnp.sum(x**4)

    def solution(a, scale):
        return jc.minimize(fun, jnp.zeros(2), (a,), bounds=(None, jnp.array([jnp.inf, 0.4])), scale=scale, gtol=1e-8).x

    a, scale = jnp.array([1.0, 2.0]), jnp.array([1e-3, 1.0])
    change = jax.jacobian(solution)(a, scale)
    np.testing.assert_allclose(change, jax.jacobian(solution)(a, None), rtol=1e-6, atol=1e-12)
    assert (change[1] == 0).all()
    assert change[0, 0] == pytest.approx(1e-3, rel=1e-4)
    np.testing.assert_array_equal(jax.jacobian(solution, 1)(a, scale), 0.0)
    many, scales = jnp.stack([a, 2 * a, -a]), scale * jnp.array([[1.0], [4.0], [16.0]])
    both = jax.vmap(solution)(many, scales)
    for k in range(3):
        np.testing.assert_allclose(both[k], solution(many[k], scales[k]), atol=1e-8)
    np.testing.assert_allclose(jax.vmap(solution, (0, None))(many, scale), both, atol=1e-8)
    np.testing.assert_allclose(jax.vmap(solution, (None, 0))(a, scales), jnp.broadcast_to(both[0], (3, 2)), atol=1e-8)
