"""Derivatives of solutions: against formulas, finite differences and unrolled loops, and nan where there is none."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import jaxcalc as jc
from jaxcalc.engine import linear_solves
from jaxcalc.problems import PROBLEMS
from tests.families import slow_but

RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(20, 4)))
Y = jnp.asarray(RANDOM.normal(size=20))
PENALTY = jnp.array([0.5, 1.0, 2.0, 4.0])


def ridge(w, penalty, X, y):
    return 0.5 * jnp.sum((X @ w - y) ** 2) + 0.5 * jnp.sum(penalty * w**2)


def ridge_of_y(w, y, penalty):
    return ridge(w, penalty, X, y)


def returned_twice(result):
    """What is differentiated, and the whole result beside it."""
    return dataclasses.replace(result, jac=None, status=None, nit=None, nfev=None), result


def fit(penalty, X=X, y=Y, **options):
    return jc.minimize(ridge, jnp.zeros(4), (penalty, X, y), gtol=1e-10, **options)


def formula(penalty, X=X, y=Y):
    return jnp.linalg.solve(X.T @ X + jnp.diag(penalty), X.T @ y)


class TestRidge:
    """The solution is a formula, and so are its derivatives."""

    @pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
    def test_every_argument_in_both_modes(self, mode):
        ours = jax.jit(mode(lambda *args: fit(*args).x, (0, 1, 2)))(PENALTY, X, Y)
        exact = mode(formula, (0, 1, 2))(PENALTY, X, Y)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), ours, exact)

    @pytest.mark.parametrize(
        ("outer", "inner"),
        slow_but(itertools.product([jax.jacfwd, jax.jacrev], repeat=2), [(jax.jacfwd, jax.jacrev)]),
    )
    def test_second_derivatives(self, outer, inner):
        ours = jax.jit(outer(inner(lambda p: fit(p).x @ jnp.arange(4.0))))(PENALTY)
        exact = jax.hessian(lambda p: formula(p) @ jnp.arange(4.0))(PENALTY)
        np.testing.assert_allclose(ours, exact, atol=1e-8)

    @pytest.mark.slow
    def test_the_value_and_its_second_derivative(self):
        value, gradient = jax.value_and_grad(lambda p: fit(p).fun)(PENALTY)
        np.testing.assert_allclose(value, ridge(formula(PENALTY), PENALTY, X, Y))
        np.testing.assert_allclose(gradient, 0.5 * formula(PENALTY) ** 2, atol=1e-9)
        ours = jax.jit(jax.hessian(lambda p: fit(p).fun))(PENALTY)
        exact = jax.hessian(lambda p: ridge(formula(p), p, X, Y))(PENALTY)
        np.testing.assert_allclose(ours, exact, atol=1e-8)

    def test_what_is_shared_and_what_is_each_problem_s(self):
        targets = jnp.stack([Y, 2 * Y, Y**2])

        def many(penalty, y):
            return jc.minimize_many(ridge_of_y, jnp.zeros((3, 4)), (y,), shared=penalty, gtol=1e-10).x

        ours = jax.jit(jax.jacrev(many, (0, 1)))(PENALTY, targets)
        exact = jax.jacrev(lambda p, t: jax.vmap(lambda y: formula(p, X, y))(t), (0, 1))(PENALTY, targets)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), ours, exact)

    @pytest.mark.slow
    def test_products_alone_lead_to_the_same(self, monkeypatch):
        monkeypatch.setattr(linear_solves, "MOST_DENSE", 0)
        fun = lambda w, penalty: ridge(w, penalty, X, Y)  # noqa: E731
        solve = lambda p: jc.minimize(fun, jnp.zeros(4), p, gtol=1e-10).x  # noqa: E731
        for mode in (jax.jacfwd, jax.jacrev):
            jacobian = jax.jit(mode(solve))
            np.testing.assert_allclose(jacobian(PENALTY), jax.jacrev(formula)(PENALTY), atol=1e-8)
        assert "cholesky" not in str(jax.make_jaxpr(jax.jacfwd(solve))(PENALTY))

    @pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
    def test_one_factorisation_for_all_parameters(self, mode):
        program = jax.make_jaxpr(mode(lambda *args: fit(*args).x, (0, 1, 2)))(PENALTY, X, Y)
        shapes = [equation.outvars[0].aval.shape for equation in equations(program.jaxpr, "cholesky")]
        assert [np.prod(shape) for shape in shapes] == [16] * len(shapes)
        assert len(shapes) == 1


def equations(jaxpr, name):
    """Returns the equations of this primitive in a program and all that it calls."""
    found = []
    for equation in jaxpr.eqns:
        found += [equation] if equation.primitive.name == name else []
        for inner in jaxprs_in_params(equation.params):
            found += equations(inner, name)
    return found


class TestAgainstFiniteDifferences:
    """The ten problems with a regular minimum, each tilted by t x: x and fun with respect to t."""

    problems = tuple(problem for problem in PROBLEMS if "degenerate" not in problem.tags)
    h = 1e-4

    def solutions(self, tilts):
        """Returns the result of every problem for its rows of t, and apart what belongs to row 0."""
        starts = [jnp.broadcast_to(p.minima[0], t.shape) for p, t in zip(self.problems, tilts, strict=True)]
        functions = [functools.partial(tilted, problem.fun) for problem in self.problems]
        results = jc.minimize_many(functions, starts, [(tilt,) for tilt in tilts], gtol=1e-8)
        return [(result.x[0], result.fun[0]) for result in results], results

    @pytest.mark.slow
    def test_ten_problems(self):
        assert len(self.problems) == 10
        tilts = []
        for problem in self.problems:
            # Row 0 is the problem itself, the others move one component of t up and down.
            n = problem.minima[0].size
            rows = np.concatenate([np.zeros((1, n)), self.h * np.eye(n), -self.h * np.eye(n)])
            tilts.append(jnp.asarray(rows.reshape(-1, *problem.minima[0].shape)))
        derivatives, results = jax.jit(jax.jacrev(self.solutions, has_aux=True))(tilts)
        for k, (result, derivative) in enumerate(zip(results, derivatives, strict=True)):
            n = self.problems[k].minima[0].size
            for field, by_tilt in zip((result.check().x, result.fun), derivative, strict=True):
                flat = np.asarray(field).reshape(1 + 2 * n, -1)
                differences = (flat[1 : n + 1] - flat[n + 1 :]) / (2 * self.h)
                ours = np.asarray(by_tilt[k]).reshape(-1, 1 + 2 * n, n)
                np.testing.assert_allclose(ours[:, 0].T, differences, atol=2e-3 * np.abs(differences).max() + 1e-6)
                np.testing.assert_array_equal(ours[:, 1:], 0)


def tilted(fun, x, t):
    return fun(x) + jnp.sum(t * x)


@pytest.mark.slow
def test_against_an_unrolled_loop():
    def cost(x, a):
        return jnp.sum(jnp.cosh(x - a)) + 0.1 * jnp.sum(x) ** 2

    def unrolled(a):
        return jax.lax.fori_loop(0, 200, lambda _, x: x - 0.3 * jax.grad(cost)(x, a), jnp.zeros(3))

    a = jnp.array([0.3, -0.2, 0.5])
    ours = jax.jacfwd(lambda a: jc.minimize(cost, jnp.zeros(3), a, gtol=1e-10).x)(a)
    np.testing.assert_allclose(ours, jax.jacfwd(unrolled)(a), atol=1e-9)


def test_the_start_does_not_matter():
    gradient = jax.grad(lambda x0: jnp.sum(jc.minimize(ridge, x0, (PENALTY, X, Y)).x))(jnp.ones(4))
    np.testing.assert_array_equal(gradient, np.zeros(4))
    program = jax.make_jaxpr(jax.jacfwd(lambda x0: jc.minimize(ridge, x0, (PENALTY, X, Y)).x))(jnp.ones(4))
    assert "cholesky" not in str(program)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_pytrees_auxiliary_output_and_dtypes(dtype):
    def cost(x, target):
        value = jnp.sum((x["p"] - target["t"]) ** 2) + (x["q"] - 2) ** 2
        return value, {"sum": jnp.sum(x["p"]) * target["t"][0], "count": jnp.int32(3)}

    def solve(target):
        start = {"p": jnp.zeros(2, dtype), "q": jnp.zeros((), dtype)}
        return jc.minimize(cost, start, (target,), has_aux=True)

    target = {"t": jnp.array([2.0, 5.0], dtype)}
    tangent = {"t": jnp.array([1.0, 10.0], dtype)}
    result, change = jax.jvp(solve, (target,), (tangent,))
    assert result.x["p"].dtype == change.x["p"].dtype == dtype
    np.testing.assert_allclose(change.x["p"], [1.0, 10.0], rtol=1e-5)
    np.testing.assert_allclose(change.x["q"], 0.0)
    # d((t0 + t1) t0) = 2 t0 dt0 + t1 dt0 + t0 dt1
    np.testing.assert_allclose(change.aux["sum"], 4 + 5 + 20, rtol=1e-3)
    assert change.aux["count"].dtype == jax.dtypes.float0


class TestWhatIsNotKnown:
    """A derivative that does not exist, or that a result does not tell, is nan."""

    @staticmethod
    def degenerate(x, a, case):
        quartic, along_one = jnp.sum((x - a) ** 4), (x[0] - a) ** 2 + (x[1] - x[0]) ** 4
        valley, fork = jnp.sum(x - a) ** 2, jnp.sum((x**2 - a) ** 2)
        saddle = (x[0] - a) ** 2 - (x[1] - 0.7) ** 2
        return jnp.stack([quartic, along_one, valley, fork, saddle])[case]

    # Products alone solve what is singular but consistent, and cannot see a saddle beside their way.
    @pytest.mark.parametrize(("most_dense", "cases"), [(256, [0, 1, 2, 3, 4]), (0, [0, 1, 3])])
    @pytest.mark.slow
    def test_degenerate_minima(self, most_dense, cases, monkeypatch):
        monkeypatch.setattr(linear_solves, "MOST_DENSE", most_dense)
        count = len(cases)
        fun = lambda x, a, case: self.degenerate(x, a, case)  # noqa: E731
        starts = jnp.broadcast_to(jnp.array([1.0, 0.7]), (count, 2))
        solve = lambda a: jc.minimize_many(fun, starts, (a, jnp.array(cases)))  # noqa: E731
        result, change = jax.jvp(solve, (jnp.zeros(count),), (jnp.ones(count),))
        result.check()
        assert jnp.isnan(change.x).all()
        # The value's derivative needs no Hessian: the envelope theorem holds all the same.
        assert jnp.isfinite(change.fun).all()
        assert jnp.isnan(jax.jit(jax.grad(lambda a: solve(a).x.sum()))(jnp.zeros(count))).all()

    @staticmethod
    def half_converged(penalty, **options):
        caps, targets = jnp.array([500, 2]), jnp.stack([Y, Y])
        return jc.minimize_many(ridge_of_y, jnp.zeros((2, 4)), (targets,), shared=penalty, maxiter=caps, **options)

    def test_a_problem_that_did_not_converge(self):
        both = jax.jit(jax.jacrev(lambda p: returned_twice(self.half_converged(p)), has_aux=True))
        jacobian, result = both(PENALTY)
        assert result.success.tolist() == [True, False]
        assert jnp.isnan(jacobian.x[1]).all()
        assert jnp.isnan(jacobian.fun[1]).all()
        np.testing.assert_allclose(jacobian.x[0], jax.jacrev(formula)(PENALTY), atol=1e-5)
        anyway = jax.jit(jax.jacrev(lambda p: self.half_converged(p, unconverged="implicit").x))(PENALTY)
        # The Hessian of a quadratic is the same everywhere.
        np.testing.assert_allclose(anyway[1], -jnp.linalg.inv(X.T @ X + jnp.diag(PENALTY)) * result.x[1], atol=1e-12)

    def test_what_a_loss_leaves_out_leaves_no_trace(self):
        def loss(penalty):
            result = self.half_converged(penalty)
            return jnp.sum(jnp.where(result.success[:, None], result.x, 0)) + jnp.sum(result.fun * result.success)

        exact = jax.grad(lambda p: jnp.sum(formula(p)) + ridge(formula(p), p, X, Y))(PENALTY)
        np.testing.assert_allclose(jax.grad(loss)(PENALTY), exact, atol=1e-4)

    def test_the_option_is_checked(self):
        with pytest.raises(ValueError, match=r"'nan' or 'implicit'.*'zero'"):
            fit(PENALTY, unconverged="zero")


def test_batch_and_single_agree():
    penalties = jnp.exp(jnp.asarray(RANDOM.normal(size=(7, 4))))
    fun = lambda w, penalty: ridge(w, penalty, X, Y)  # noqa: E731
    single = jnp.stack([*map(jax.jit(jax.jacrev(lambda p: jc.minimize(fun, jnp.zeros(4), p).x)), penalties)])
    batch = jax.jit(jax.jacrev(lambda p: jc.minimize_many(fun, jnp.zeros((7, 4)), (p,)).x))(penalties)
    for k in range(7):
        np.testing.assert_allclose(batch[k, :, k], single[k], rtol=1e-4, atol=1e-8)
        np.testing.assert_array_equal(np.delete(batch[k], k, axis=1), 0)


def one_of_two(x, kind, a):
    """With an index of each problem a switch between functions, which JAX maps but cannot then transpose."""
    return jax.lax.switch(kind, [lambda x: jnp.sum((x - a) ** 2), lambda x: jnp.sum(jnp.cosh(x - 2 * a))], x)


@pytest.mark.parametrize("mapped", slow_but([False, True], [True]))
def test_a_switch_on_an_index_of_each_problem(mapped):
    kinds, x0 = jnp.array([0, 1, 0]), jnp.ones((3, 2))

    def total(a):
        if mapped:
            solve = lambda x0, kind, a: jc.minimize(one_of_two, x0, (kind, a), gtol=1e-10)  # noqa: E731
            return jnp.sum(jax.vmap(solve)(x0, kinds, a).x ** 2)
        return jnp.sum(jc.minimize_many(one_of_two, x0, (kinds, a), gtol=1e-10).x ** 2)

    a = jnp.array([1.0, 2.0, 3.0])
    value, gradient = jax.jit(jax.value_and_grad(total))(a)
    np.testing.assert_allclose(value, jnp.sum(2 * a**2 * jnp.array([1, 4, 1])), rtol=1e-9)
    np.testing.assert_allclose(gradient, 4 * a * jnp.array([1, 4, 1]), rtol=1e-9)
    forward = jax.jit(lambda a: jax.jvp(total, (a,), (jnp.ones(3),))[1])(a)
    np.testing.assert_allclose(forward, gradient.sum(), rtol=1e-12)


def test_no_problems():
    jacobian = jax.jacrev(lambda p: jc.minimize_many(ridge, jnp.zeros((0, 4)), shared=(p, X, Y)).x)(PENALTY)
    assert jacobian.shape == (0, 4, 4)


class TestBounds:
    """A variable at its bound moves with the bound alone; the others are the minimum of what is left."""

    matrix = jnp.array([[3.0, 1.0, 0.5], [1.0, 2.0, 0.3], [0.5, 0.3, 1.0]])
    pull = jnp.array([1.0, 4.0, 0.2])

    @classmethod
    def energy(cls, x, a):
        return 0.5 * x @ cls.matrix @ x - a @ x

    @classmethod
    def solution(cls, a, bound, fixed=False):
        """The second variable is at most `bound`, or has that value."""
        upper = jnp.array([9.0, 0.0, 9.0]).at[1].set(bound)
        lower = jnp.full(3, -9.0).at[1].set(bound if fixed else -9.0)
        result = jc.minimize(cls.energy, jnp.zeros(3), (a,), bounds=(lower, upper), gtol=1e-10)
        return result.x, result.fun, result.jac

    @classmethod
    def formula(cls, a, bound):
        free = jnp.array([0, 2])
        x_free = jnp.linalg.solve(cls.matrix[jnp.ix_(free, free)], a[free] - cls.matrix[free, 1] * bound)
        x = jnp.zeros(3).at[free].set(x_free).at[1].set(bound)
        return x, cls.energy(x, a), jnp.zeros(3).at[1].set((cls.matrix @ x - a)[1])

    @pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
    def test_with_respect_to_args_and_bounds(self, mode):
        ours, exact = (jax.jit(mode(f, (0, 1)))(self.pull, 0.5) for f in (self.solution, self.formula))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-8), ours, exact)

    def test_second_derivatives(self):
        value = [lambda a, bound, f=f: f(a, bound)[1] for f in (self.solution, self.formula)]
        ours, exact = (jax.jit(jax.hessian(f, (0, 1)))(self.pull, 0.5) for f in value)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-8), ours, exact)

    def test_a_fixed_variable(self):
        """The profile of the minimum along one variable, on both sides of the minimum."""
        profile = jax.jit(jax.vmap(jax.value_and_grad(lambda bound: self.solution(self.pull, bound, fixed=True)[1])))
        exact = jax.vmap(jax.value_and_grad(lambda bound: self.formula(self.pull, bound)[1]))
        bounds = jnp.array([-1.0, 0.5, 4.0])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-8), profile(bounds), exact(bounds))
        assert profile(bounds)[1][0] < 0 < profile(bounds)[1][2]

    def test_a_bound_that_only_just_holds(self):
        """The minimum of (x - a)^2 for x >= 0 has a kink at a = 0; its derivative is that of one side."""
        fun = lambda x, a: jnp.sum((x - a) ** 2)  # noqa: E731
        clipped = lambda a: jc.minimize(fun, jnp.zeros(()), (a,), bounds=(0.0, None)).x  # noqa: E731
        slopes = jax.vmap(jax.grad(clipped))(jnp.array([-1.0, 0.0, 1.0]))
        np.testing.assert_allclose(slopes, [0, 0, 1], atol=1e-12)
