"""What every method of the registry promises with bounds."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jaxcalc as jc
from jaxcalc.methods import REGISTRY
from tests.families import slow_but

METHODS = list(REGISTRY)
FIXED_RATE = {name for name in METHODS if jc.methods.REGISTRY[name]().has_fixed_rate}
SEARCHING = [name for name in METHODS if name not in FIXED_RATE]
DTYPES = [jnp.float32, jnp.float64]
# Every method in double precision; in single precision one with a history and one with Hessians.
COVERED = [(name, jnp.float64) for name in METHODS]
COVERED += [(name, jnp.float32) for name in ("lbfgs", "trust_region")]


def rosenbrock(x, b):
    return jnp.sum(b * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def boxes(count=64, n=6, dtype=float):
    rng = np.random.default_rng(5)
    lower = rng.uniform(-2, 0.5, (count, n))
    upper = lower + rng.uniform(0, 2, (count, n))
    lower[rng.uniform(size=lower.shape) < 0.2], upper[rng.uniform(size=upper.shape) < 0.2] = -np.inf, np.inf
    fixed = rng.uniform(size=lower.shape) < 0.1
    upper[fixed & np.isfinite(lower)] = lower[fixed & np.isfinite(lower)]
    start = rng.uniform(-3, 3, (count, n))
    return tuple(jnp.asarray(leaf, dtype) for leaf in (start, 10 ** rng.uniform(-1, 2, count), lower, upper))


def projected(x, gradient, lower, upper):
    return np.abs(x - np.clip(x - gradient, lower, upper)).max(-1)


@functools.cache
def solved(name, dtype=float):
    x0, b, lower, upper = boxes(dtype=dtype)
    rate = {"gradient_descent": 1e-4, "momentum": 1e-5}
    method = getattr(jc.methods, name)(learning_rate=rate[name]) if name in FIXED_RATE else name
    return b, lower, upper, jc.minimize_many(rosenbrock, x0, (b,), bounds=(lower, upper), method=method, maxiter=5000)


@pytest.mark.parametrize(("name", "dtype"), slow_but(itertools.product(METHODS, DTYPES), COVERED))
def test_honest_and_inside(name, dtype):
    b, lower, upper, result = solved(name, dtype)
    x = np.asarray(result.x)
    assert x.dtype == dtype
    assert ((x >= lower) & (x <= upper)).all()
    gradient = jax.vmap(jax.grad(rosenbrock))(result.x, b)
    gtol = 1e-3 if dtype == jnp.float32 else 1e-5
    rounding = 100 * jnp.finfo(dtype).eps * (1200 * b[:, None] * (1 + jnp.abs(result.x)) ** 2).max(-1)
    success = np.asarray(result.success)
    assert (projected(x, gradient, lower, upper)[success] <= (1.01 * gtol + rounding)[success]).all()
    np.testing.assert_allclose(
        result.fun, jax.vmap(rosenbrock)(result.x, b), rtol=1e-4 if dtype == jnp.float32 else 1e-9
    )


@pytest.mark.parametrize(("name", "dtype"), slow_but(itertools.product(SEARCHING, DTYPES), COVERED))
def test_converges(name, dtype):
    *_, result = solved(name, dtype)
    assert jnp.mean(result.success) >= (1 if dtype == jnp.float64 else 0.97), result.message


@pytest.mark.parametrize("name", SEARCHING)
def test_finds_what_scipy_finds(name):
    """From the ends of the other: whoever is at a local minimum stays there."""
    b, lower, upper, result = solved(name)
    for k in range(8):
        bounds = list(zip(np.asarray(lower[k]), np.asarray(upper[k]), strict=True))
        fun = jax.value_and_grad(lambda x, k=k: rosenbrock(x, b[k]))
        best = scipy.optimize.minimize(
            lambda x, fun=fun: [np.asarray(part) for part in fun(x)], result.x[k], jac=True, bounds=bounds
        )
        assert result.fun[k] <= best.fun + 1e-6 * max(1, abs(best.fun))


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_evaluated_outside(name):
    seen = []

    def fun(x, c):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x)
        return jnp.sum(x * jnp.log(x) - c * x) + 10 * (x[0] - x[1]) ** 2

    lower, upper = jnp.full(3, 1e-3), jnp.array([jnp.inf, 2.0, 0.5])
    result = jc.minimize(fun, jnp.array([5.0, -1.0, 0.1]), 2.0, bounds=(lower, upper), method=name, maxiter=300)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert len(seen) == result.nfev
    assert all((x >= lower).all() and (x <= upper).all() for x in seen)
    assert jnp.isfinite(result.fun)
    if name not in FIXED_RATE:
        result.check()
        assert result.x[2] == 0.5


def test_nothing_is_evaluated_outside_in_a_batch():
    """Idle lanes evaluate too."""
    seen = []

    def fun(x, a, lower):
        jax.debug.callback(lambda x, lower: seen.append((float(x), float(lower))), x, lower)
        return (x + 2) ** 2 * jnp.log(x + a)

    lower = jnp.arange(1.0, 22.0)
    result = jc.minimize_many(fun, jnp.zeros(21), (2 * lower, lower), bounds=(lower, lower + 3), lanes=8)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert len(seen) >= result.nfev.sum()
    assert all(low <= x <= low + 3 for x, low in seen)
    np.testing.assert_array_equal(result.check().x, lower)


@pytest.mark.parametrize("name", METHODS)
def test_without_end_inside_a_box(name):
    result = jc.minimize(lambda x: x[0] - x[1] ** 3, jnp.array([1.0, 2.0]), bounds=(0.0, None), method=name)
    assert result.status == jc.Status.UNBOUNDED


@pytest.mark.parametrize("name", METHODS)
def test_a_domain_that_ends_at_the_bound(name):
    """The derivative is infinite at the bound itself; the minimum lies within."""
    result = jc.minimize(
        lambda x: jnp.sum(x - jnp.sqrt(x)), jnp.full(2, 4.0), bounds=(0.0, None), method=name, maxiter=20_000
    )
    np.testing.assert_allclose(result.check().x, 0.25, atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_a_box_that_holds_everything_and_one_that_leaves_nothing(name):
    fixed = jnp.array([0.3, -0.2])
    result = jc.minimize(lambda x: jnp.sum((x - 1) ** 4), jnp.zeros(2), bounds=(fixed, fixed), method=name)
    assert (result.status, result.nit, result.nfev) == (jc.Status.SUCCESS, 0, 1)
    np.testing.assert_array_equal(result.x, fixed)
    free = jc.minimize(
        lambda x: jnp.sum((x - 1) ** 2),
        jnp.zeros(2),
        bounds=(-jnp.inf, jnp.full(2, jnp.inf)),
        method=name,
        maxiter=5000,
    )
    np.testing.assert_allclose(free.check().x, 1, atol=1e-4)


# The engine moves the start, not the method; `test_nothing_is_evaluated_outside` has a start outside for each method.
@pytest.mark.parametrize("name", slow_but(METHODS, ["bfgs"]))
def test_a_start_outside_is_moved_onto_the_box(name):
    seen = []

    def fun(x):
        jax.debug.callback(lambda x: seen.append(float(x)), x)
        return (x + 1.0) ** 2

    result = jc.minimize(fun, 7.0, bounds=(0.0, 2.0), method=name, maxiter=5000)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert seen[0] == 2.0
    assert result.check().x == pytest.approx(0, abs=1e-5)


# The engine tells empty boxes, not the method.
@pytest.mark.parametrize("name", slow_but(METHODS, ["bfgs", "trust_region"]))
def test_empty_boxes_are_a_status_that_touches_nobody(name):
    x0, b, lower, upper = boxes(40)
    wrong = np.arange(40) % 7 == 3
    bad = jnp.where(wrong[:, None] & (np.arange(6) == 2), upper + 1, lower)
    bad = bad.at[10].set(jnp.nan)
    wrong[10] = True
    some = jc.minimize_many(rosenbrock, x0, (b,), bounds=(bad, upper), method=name, maxiter=50, lanes=16)
    every = jc.minimize_many(rosenbrock, x0, (b,), bounds=(lower, upper), method=name, maxiter=50, lanes=16)
    # Where the upper bound is infinite, so is the wrong lower one.
    assert set(np.asarray(some.status)[wrong]) == {jc.Status.INVALID}
    for field in ("x", "fun", "status", "nfev"):
        np.testing.assert_array_equal(getattr(some, field)[~wrong], getattr(every, field)[~wrong])


def test_forms():
    def fun(x, a):
        return jnp.sum((x["u"] - a) ** 2) + jnp.sum((x["v"] - a) ** 2)

    x0 = {"u": jnp.zeros((5, 2)), "v": jnp.zeros(5)}
    a = jnp.arange(5.0)
    shared = {"u": jnp.array([1.0, 2.0]), "v": None}
    each = {"u": 3.0, "v": jnp.array([0.0, 0.5, 1.0, 1.5, 2.0])}
    result = jc.minimize_many(fun, x0, (a,), bounds=(shared, each)).check()
    np.testing.assert_allclose(result.x["u"], np.clip(a[:, None], [1, 2], 3), atol=1e-5)
    np.testing.assert_allclose(result.x["v"], np.minimum(a, each["v"]), atol=1e-5)
    for bounds in ((1.0, None), (1, jnp.inf), (1.0, {"u": None, "v": jnp.inf})):
        result = jc.minimize_many(fun, x0, (a,), bounds=bounds).check()
        np.testing.assert_allclose(result.x["v"], np.maximum(a, 1), atol=1e-5)

    def bowl(x):
        return jnp.sum((x - 1) ** 2)

    for bounds in (
        ([-1, -1], [0, 2]),
        scipy.optimize.Bounds(*np.array([[-1, -1], [0, 2]])),
        (None, np.array([0.0, 2.0])),
    ):
        np.testing.assert_allclose(jc.minimize(bowl, jnp.array([-1.0, 0.0]), bounds=bounds).x, [0, 1], atol=1e-5)
    assert jc.minimize(bowl, jnp.zeros(2), bounds=(None, None)).success
    several = jc.minimize_many([bowl, bowl], [jnp.zeros((1, 2)), jnp.zeros((2, 3))], bounds=[(2.0, None), None])
    assert [float(result.x[0, 0]) for result in several] == pytest.approx([2.0, 1.0])


def test_the_box_is_that_of_the_start_s_own_dtype():
    x0, a = jnp.zeros((8, 2), jnp.float32), jnp.full(8, 3.0)
    assert a.dtype == jnp.float64
    result = jc.minimize_many(lambda x, a: jnp.sum((x - a) ** 2), x0, (a,), bounds=(0, 0.1))
    assert result.x.dtype == jnp.float32
    assert (np.asarray(result.x) == np.float32(0.1)).all()


@pytest.mark.parametrize(
    ("bounds", "error", "match"),
    [
        ([(0, 1), (0, 1)], TypeError, "two pairs .low, high. or the two sides"),
        (((0, 1), (0, 1)), TypeError, "two pairs .low, high. or the two sides"),
        ([(0, 1)] * 3, TypeError, "pairs .low, high., one for each variable"),
        ((0, 1, 2), TypeError, "pair"),
        (0.0, TypeError, "pair"),
        ((jnp.zeros(3), None), ValueError, "broadcast"),
        ((jnp.zeros((4, 2)), None), ValueError, "broadcast"),
        ((1j, None), ValueError, "real"),
        ((jnp.array([0.0, 2.0]), 1.0), ValueError, r"x\[1\] lower is 2.0"),
        ((jnp.nan, None), ValueError, "lower is nan"),
        (({"a": 0.0}, None), TypeError, "form of x:"),
    ],
)
def test_bad_bounds_are_refused_at_the_door(bounds, error, match):
    with pytest.raises(error, match=match):
        jc.minimize(lambda x: jnp.sum(x**2), jnp.zeros(2), bounds=bounds)


def test_under_jit_a_wrong_order_is_a_status():
    solve = jax.jit(lambda upper: jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(2), bounds=(0.5, upper)).status)
    assert solve(1.0) == jc.Status.SUCCESS
    assert solve(0.0) == jc.Status.INVALID


def test_new_numbers_do_not_compile_again():
    traces = []

    def fun(x):
        traces.append(1)
        return jnp.sum((x - 1) ** 2)

    first = jc.minimize_many(fun, jnp.zeros((4, 2)), bounds=(jnp.full(2, -1.0), 0.5))
    traced = len(traces)
    second = jc.minimize_many(fun, jnp.zeros((4, 2)), bounds=(jnp.full(2, -3.0), 0.7))
    assert len(traces) == traced
    np.testing.assert_allclose([first.x[0, 0], second.x[0, 0]], [0.5, 0.7])


@pytest.mark.parametrize("name", slow_but(METHODS, ["bfgs", "lbfgs", "trust_region"]))
def test_a_thousand_variables(name):
    n = 1000
    centre = jnp.linspace(-2, 2, n)

    def fun(x):
        return jnp.sum(jnp.cosh(x - centre)) + 0.1 * jnp.sum((x[1:] - x[:-1]) ** 2)

    result = jc.minimize(fun, jnp.zeros(n), bounds=(-1.0, 1.0), method=name).check()
    held = jnp.abs(centre) > 1.1
    assert (jnp.abs(result.x[held]) == 1).all()
