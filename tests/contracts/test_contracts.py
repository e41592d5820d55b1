"""What every method of the registry promises, over the problems with known answers."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc import problems
from jaxcalc.methods import REGISTRY
from jaxcalc.problems import PROBLEMS
from tests.families import slow_but

METHODS = list(REGISTRY)
EASY = problems.tagged("easy")
FIXED_RATE = {name for name in METHODS if REGISTRY[name]().has_fixed_rate}
WITH_HESSIANS = {name for name in METHODS if REGISTRY[name]().needs.second_order}
FIRST_ORDER = {name for name in METHODS if not REGISTRY[name]().learns_curvature}
# An ordinary run tries every method in double precision, and in single precision one of each kind.
IN_SINGLE = ("bfgs", "lbfgs", "trust_region")
COVERED = [*((name, jnp.float64) for name in METHODS), *((name, jnp.float32) for name in IN_SINGLE)]


def by_name(items):
    return pytest.mark.parametrize("problem", items, ids=lambda problem: problem.name)


N = max(problem.x0.size for problem in PROBLEMS)
COUNT = 48


def padded(points):
    """Points of any problem, (count, *its shape), as N variables, of which the problem does not use the last."""
    flat = jnp.reshape(points, (len(points), -1))
    return jnp.pad(flat, ((0, 0), (0, N - flat.shape[1])), constant_values=0.5)


def own(problem, points):
    """The variables that the problem uses, (count, *its shape)."""
    return jnp.reshape(points[:, : problem.x0.size], (-1, *problem.x0.shape))


def any_problem(x, which):
    """One function of all problems: a method needs one program for all of them."""
    return jax.lax.switch(which, [lambda x, p=p: p.fun(x[: p.x0.size].reshape(p.x0.shape)) for p in PROBLEMS], x)


@jax.jit
@jax.vmap
def at(x, which):
    """The value, the largest component of the gradient and its rounding error.

    The last is eps times the curvature's and the gradient's own sizes.
    """
    value, gradient = jax.value_and_grad(any_problem)(x, which)
    largest, hessian = jnp.abs(gradient).max(), jnp.abs(jax.hessian(any_problem)(x, which)).max()
    return value, largest, 100 * jnp.finfo(x.dtype).eps * (hessian * (1 + jnp.abs(x).max()) + largest)


def recomputed(problem, points):
    """Returns what `at` gives of points with all variables, (48,) each."""
    return map(np.asarray, at(points, np.full(len(points), PROBLEMS.index(problem))))


def starts(problem, count=COUNT, dtype=float):
    """The customary start and others around it."""
    noise = np.random.default_rng(1).normal(size=(count, *problem.x0.shape)) * 0.2
    noise[0] = 0
    return jnp.asarray(problem.x0 + noise * (1 + np.abs(problem.x0)), dtype)


def cap(problem):
    return 3000 if problem in EASY else 500


@functools.cache
def all_solved(name, dtype):
    """One program a method and dtype serves several contracts."""
    x0 = jnp.concatenate([padded(starts(problem, dtype=dtype)) for problem in PROBLEMS])
    caps = np.repeat([cap(problem) for problem in PROBLEMS], COUNT)
    which = np.repeat(range(len(PROBLEMS)), COUNT)
    return jc.minimize_many(any_problem, x0, (which,), method=name, maxiter=caps, lanes=COUNT)


def solved(name, problem, dtype=float):
    """The result of the problem's starts, with all variables."""
    rows = slice(COUNT * PROBLEMS.index(problem), COUNT * (PROBLEMS.index(problem) + 1))
    return jax.tree.map(lambda leaf: leaf[rows], all_solved(name, dtype))


@by_name(PROBLEMS)
@pytest.mark.parametrize("name", METHODS)
def test_converges_to_a_known_minimum(name, problem):
    if name in FIRST_ORDER and problem not in EASY:
        pytest.skip("one rate for all directions is not made for this curvature")
    result = solved(name, problem)
    assert result.check() is result
    x, minima = np.asarray(own(problem, result.x)), np.asarray(problem.minima)
    distance = np.abs(x[:, None] - minima[None]).reshape(COUNT, len(minima), -1).max(-1)
    # The gradient decides: at a degenerate minimum x is known to the cube root of the gradient.
    assert np.all(distance.min(1) < (0.1 if "degenerate" in problem.tags else 1e-4))
    lowest, *_ = recomputed(problem, padded(minima[distance.argmin(1)]))
    np.testing.assert_allclose(result.fun, lowest, atol=1e-6)
    assert (result.x[:, problem.x0.size :] == 0.5).all()


@by_name(PROBLEMS)
@pytest.mark.parametrize(("name", "dtype"), slow_but(itertools.product(METHODS, [jnp.float32, jnp.float64]), COVERED))
def test_honest(name, dtype, problem):
    """SUCCESS means that the gradient, recomputed at the returned x, is small; the value is the value there."""
    result = solved(name, problem, dtype)
    assert result.x.dtype == result.jac.dtype == result.fun.dtype == dtype
    gtol = 1e-3 if dtype == jnp.float32 else 1e-5
    value, largest, rounding = recomputed(problem, result.x)
    success, status, nit, fun = map(np.asarray, (result.success, result.status, result.nit, result.fun))
    assert (largest <= 1.01 * gtol + rounding)[success].all()
    capped = status == jc.Status.MAX_ITERATIONS
    assert (nit[capped] == cap(problem)).all()
    assert (nit <= cap(problem)).all()
    finite, tolerance = np.isfinite(value), 1e3 * np.finfo(dtype).eps * (1 + np.abs(value))
    assert (np.abs(fun - value) <= tolerance)[finite].all()
    if name not in FIXED_RATE:
        at_start, *_ = recomputed(problem, padded(starts(problem, dtype=dtype)))
        assert (fun <= at_start).all()


@by_name(PROBLEMS)
@pytest.mark.parametrize("name", slow_but([name for name in METHODS if name not in FIRST_ORDER], IN_SINGLE))
def test_single_precision_converges_too(name, problem):
    result = solved(name, problem, jnp.float32)
    share = jnp.mean(result.success)
    # At a condition of 10^6 the gradient's own rounding error comes near gtol.
    assert share >= (0.9 if problem.name == "ellipsoid" else 0.98), result.message


@pytest.mark.parametrize("name", slow_but(METHODS, IN_SINGLE))
def test_single_precision_converges_as_often(name):
    """Beside double precision, with default settings, less 2 points; over all problems that suit single precision."""
    suited = [problem for problem in PROBLEMS if problem.name != "ellipsoid"]
    problems = [problem for problem in suited if name not in FIRST_ORDER or problem in EASY]
    single, double = (
        np.mean([solved(name, problem, dtype).success for problem in problems]) for dtype in (jnp.float32, jnp.float64)
    )
    assert single >= double - 0.02


@pytest.mark.parametrize("name", METHODS)
def test_counts_what_it_evaluates(name):
    calls = []

    def fun(x):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum((x - 1) ** 2) + jnp.sum(jnp.sin(x)) ** 2

    result = jc.minimize(fun, jnp.zeros(3), method=name, maxiter=50)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert len(calls) == result.nfev
    assert 0 < result.nit < result.nfev
    if name in WITH_HESSIANS:
        assert result.nit <= result.nhev <= result.nfev
        assert (result.nhev == result.nfev) == (name == "trust_region")
    else:
        assert result.nhev is None


@pytest.mark.parametrize("name", slow_but(METHODS, ["bfgs", "trust_region", "gradient_descent"]))
def test_the_function_runs_only_while_it_is_traced(name):
    calls = []

    def fun(x, a):
        calls.append(1)
        return jnp.sum((x - a) ** 2)

    first = jc.minimize_many(fun, jnp.zeros((30, 2)), jnp.ones((30, 2)), method=name, gtol=1e-5, maxiter=2000)
    traced = len(calls)
    assert traced > 0
    second = jc.minimize_many(fun, jnp.ones((30, 2)), jnp.zeros((30, 2)), method=name, gtol=1e-3, maxiter=10)
    third = jc.minimize_many(fun, jnp.ones((30, 2)), jnp.zeros((30, 2)), method=name, gtol=1e-4, maxiter=20)
    assert len(calls) == traced
    assert first.success.all()
    assert jnp.all(second.nit <= 10)
    assert jnp.all(third.nit <= 20)


# A single problem is one lane for every method; here are a matrix, Hessians and a fixed rate.
@by_name(EASY)
@pytest.mark.parametrize("name", slow_but(METHODS, ["bfgs", "trust_region", "gradient_descent"]))
def test_batch_equals_single(name, problem):
    x0, batch = padded(starts(problem)), solved(name, problem)
    for k in range(5):
        single = jc.minimize(any_problem, x0[k], (PROBLEMS.index(problem),), method=name, maxiter=3000)
        assert single.status == batch.status[k]
        np.testing.assert_allclose(single.x, batch.x[k], atol=1e-5)
        np.testing.assert_allclose(single.fun, batch.fun[k], atol=1e-8)


def in_units(x, of_value, of_x):
    """A valley in other units; these are numbers of the call, so that all of them share one program."""
    return of_value * PROBLEMS[1].fun(x / of_x)


def solved_in_units(name, of_value=1.0, of_x=1.0):
    gtol = 1e-6 * of_value / of_x
    return jc.minimize_many(in_units, of_x * starts(PROBLEMS[1]), shared=(of_value, of_x), method=name, gtol=gtol)


@pytest.mark.parametrize("power", slow_but([-6, -3, 3, 6], [-6, 3]))
@pytest.mark.parametrize("name", [name for name in METHODS if name not in FIXED_RATE])
def test_the_scale_of_the_value_changes_nothing(name, power):
    c = 2.0 ** round(power / np.log10(2))
    plain, scaled = solved_in_units(name), solved_in_units(name, of_value=c)
    np.testing.assert_array_equal(plain.status, scaled.status)
    np.testing.assert_array_equal(plain.nfev, scaled.nfev)
    np.testing.assert_allclose(plain.x, scaled.x, rtol=1e-9)


@pytest.mark.parametrize("power", slow_but([-6, -3, 3, 6], [-3, 6]))
@pytest.mark.parametrize("name", [name for name in METHODS if name not in FIXED_RATE])
def test_the_scale_of_the_variables_changes_nothing(name, power):
    c = 2.0 ** round(power / np.log10(2))
    plain, scaled = solved_in_units(name), solved_in_units(name, of_x=c)
    np.testing.assert_array_equal(plain.status, scaled.status)
    np.testing.assert_array_equal(plain.nfev, scaled.nfev)
    np.testing.assert_allclose(plain.x, scaled.x / c, rtol=1e-9)


@pytest.mark.parametrize("c", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in FIXED_RATE])
def test_any_scale_gives_the_same_minimum(name, c):
    result = solved_in_units(name, of_value=c, of_x=c).check()
    np.testing.assert_allclose(result.x / c, np.ones((COUNT, 2)), atol=1e-3)


AWKWARD = {
    "parabola": lambda x: jnp.sum(x**2),
    "logarithm": lambda x: jnp.sum(jnp.log(x)),
    "abyss": lambda x: jnp.where(x[0] < 5, -jnp.inf, x[0] ** 2),
    "constant": lambda x: 0 * x[0] + 3.0,
    "quartic": lambda x: jnp.sum((x - 3) ** 4),
}


def awkward(x, which):
    return jax.lax.switch(which, list(AWKWARD.values()), x)


@pytest.mark.parametrize(("name", "dtype"), slow_but(itertools.product(METHODS, [jnp.float32, jnp.float64]), COVERED))
def test_bad_values_are_statuses(name, dtype):
    def run(which, x0, maxiter=400):
        start = jnp.asarray(x0, dtype)
        return jc.minimize(awkward, start, list(AWKWARD).index(which), method=name, maxiter=maxiter)

    Status = jc.Status
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        assert run("parabola", [bad, 1.0]).status == Status.INVALID
    outside = run("logarithm", [-1.0, 1.0])
    assert outside.status == Status.INVALID
    assert not outside.success
    np.testing.assert_array_equal(outside.x, [-1.0, 1.0])
    assert run("abyss", [1.0, 1.0]).status == Status.UNBOUNDED
    constant = run("constant", [1.0, 2.0])
    assert constant.status == Status.SUCCESS
    assert (constant.nit, constant.nfev, constant.fun) == (0, 1, 3.0)
    capped = run("quartic", [0.0, 0.0], maxiter=2)
    assert (capped.status, capped.nit) == (Status.MAX_ITERATIONS, 2)
    assert run("quartic", [0.0, 0.0], maxiter=0).nit == 0


FALLING = {"parabola": lambda x: -jnp.sum(x**2), "cubic": lambda x: jnp.sum(x**3), "line": lambda x: x[0]}


def falling(x, which):
    return jax.lax.switch(which, list(FALLING.values()), x)


@pytest.mark.parametrize("name", METHODS)
def test_unbounded_functions_end_as_unbounded(name):
    # Where the slope is constant, steps of a fixed length get nowhere.
    labels = [label for label in FALLING if label != "line" or name not in FIXED_RATE]
    starts = np.tile([1.0, -1.0], (len(labels), 1))
    results = jc.minimize_many(falling, starts, (np.arange(len(labels)),), method=name)
    for label, status, value in zip(labels, results.status, results.fun, strict=True):
        assert status == jc.Status.UNBOUNDED, (label, results.message)
        assert value < -1e18


def test_an_exponential_falls_without_end():
    assert jc.minimize(lambda x: -jnp.exp(x[0]), jnp.array([1.0, -1.0])).status == jc.Status.UNBOUNDED


@pytest.mark.parametrize("name", METHODS)
def test_a_start_of_zero_gradient(name):
    """At a minimum it is one at once; at a saddle or a maximum only second derivatives tell."""

    def fun(x, curvature):
        return jnp.sum(curvature * x**2 + x**4)

    curvature = jnp.array([[1.0, 2.0], [1.0, -1.0], [-1.0, -2.0], [0.0, 0.0]])
    result = jc.minimize_many(fun, jnp.zeros((4, 2)), curvature, method=name).check()
    minimum = -jnp.sum(jnp.where(curvature < 0, curvature**2 / 4, 0), axis=1)
    if name in WITH_HESSIANS:
        np.testing.assert_allclose(result.fun, minimum, atol=1e-8)
        at_rest = minimum == 0
        assert (result.nit[~at_rest] > 0).all()
    else:
        at_rest = np.full(4, True)
    np.testing.assert_array_equal(result.x[at_rest], 0.0)
    np.testing.assert_array_equal(result.nit[at_rest], 0)
    if name != "trust_ncg":  # which looks at the curvature in both directions first
        np.testing.assert_array_equal(result.nfev[at_rest], 1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("factory", [jc.methods.bfgs, jc.methods.lbfgs])
def test_the_first_step_has_the_length_that_was_asked_for(factory, dtype):
    fun = lambda x: 0.5 * jnp.sum((x - 1) ** 2)  # noqa: E731
    for share in (0.1, np.float64(0.2)):  # whatever its own precision
        result = jc.minimize(fun, jnp.full(1, 2, dtype), method=factory(first_step=share), maxiter=1)
        assert result.x.dtype == dtype
        np.testing.assert_allclose(result.x, 2 - 2 * share, rtol=1e-6)


# A matrix of a thousand variables is tried in `test_bounds.py`.
@pytest.mark.parametrize(
    ("n", "name"),
    slow_but(
        itertools.product([1, 1000], METHODS),
        [*((1, name) for name in METHODS), (1000, "lbfgs"), (1000, "trust_region"), (1000, "momentum")],
    ),
)
def test_one_variable_and_a_thousand(name, n):
    def fun(x):
        return jnp.sum(jnp.cosh(x - 1)) + 0.1 * jnp.sum((x[1:] - x[:-1]) ** 2)

    result = jc.minimize(fun, jnp.linspace(-1, 2, n), method=name).check()
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4)


def test_a_rate_that_is_too_large_ends_with_the_last_finite_point():
    result = jc.minimize(
        lambda x: jnp.sum(x**4), jnp.array([3.0]), method=jc.methods.gradient_descent(learning_rate=1.0)
    )
    assert result.status == jc.Status.NON_FINITE
    assert jnp.isfinite(result.x).all()
    assert jnp.isfinite(result.fun)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in FIXED_RATE])
def test_a_step_out_of_the_domain_is_backed_out_of(name):
    """x - c sqrt(x): a NaN gradient at a rejected trial must not reach the matrix."""
    c = jnp.linspace(0.1, 3, 64)
    result = jc.minimize_many(
        lambda x, c: jnp.sum(x - c * jnp.sqrt(x)), jnp.full((64, 2), 4.0), (c,), gtol=1e-8, method=name
    )
    result.check()
    np.testing.assert_allclose(result.x[:, 0], c**2 / 4, rtol=1e-5)
