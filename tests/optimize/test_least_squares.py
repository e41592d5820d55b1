"""Least squares against SciPy, formulas and its own promise: losses, bounds, missing points, units, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jaxcalc as jc

SLOW = pytest.mark.slow

T = jnp.linspace(0.0, 4.0, 20)
RANDOM = np.random.default_rng(0)
NOISE = jnp.asarray(RANDOM.normal(size=(6, 20)))
TRUTH = jnp.asarray([3.0, 0.8, 0.5]) * jnp.asarray(RANDOM.uniform(0.7, 1.4, (6, 3)))


def curve(p, t):
    return p[0] * jnp.exp(-p[1] * t) + p[2]


def misfit(p, y, t):
    return curve(p, t) - y


DATA = jax.vmap(curve, (0, None))(TRUTH, T) + 0.05 * NOISE
START = jnp.ones((6, 3))


def offset(x, y, t=T):
    """The relative offset of Bates and Watts, from x alone."""
    r, J = np.asarray(misfit(x, y, t), float), np.asarray(jax.jacfwd(misfit)(x, y, t), float)
    Q, _ = np.linalg.qr(J)
    promised = np.sum((Q.T @ r) ** 2)
    return np.sqrt(promised / J.shape[1] / ((r @ r - promised) / (len(r) - J.shape[1])))


def scipy_fit(row, **options):
    y, t = np.asarray(DATA[row]), np.asarray(T)
    fun = lambda p: p[0] * np.exp(-p[1] * t) + p[2] - y  # noqa: E731
    return scipy.optimize.least_squares(fun, np.ones(3), ftol=1e-14, xtol=1e-14, gtol=1e-14, **options)


class TestPromise:
    @pytest.mark.parametrize("dtype", [float, pytest.param(jnp.float32, marks=SLOW)])
    def test_success_can_be_recomputed(self, dtype):
        result = jc.least_squares_many(misfit, START.astype(dtype), (DATA.astype(dtype),), shared=(T.astype(dtype),))
        assert result.success.all()
        assert result.x.dtype == result.cost.dtype == dtype
        most = min(float(jnp.finfo(dtype).eps) ** 0.5, 3e-5)
        for row in range(6):
            # In single precision the sums of the test itself are rounded.
            assert offset(result.x[row].astype(float), DATA[row]) <= (1.01 if dtype is float else 2) * most
        residuals = jax.vmap(misfit, (0, 0, None))(result.x, DATA, T)
        np.testing.assert_allclose(result.cost, 0.5 * jnp.sum(residuals**2, axis=1), rtol=1e-5)

    @pytest.mark.parametrize("of_y", [1e-9, pytest.param(1e6, marks=SLOW)])
    @pytest.mark.parametrize("of_t", [1e-7, 1e5])
    def test_units_change_nothing(self, of_y, of_t):
        units = jnp.asarray([of_y, 1 / of_t, of_y])
        plain = jc.least_squares_many(misfit, START, (DATA,), shared=(T,))
        other = jc.least_squares_many(misfit, START * units, (DATA * of_y,), shared=(T * of_t,))
        assert (other.status == plain.status).all()
        assert (other.nfev == plain.nfev).all()
        np.testing.assert_allclose(other.x / units, plain.x, rtol=1e-9)

    # Squares of most of these residuals leave the range of single precision.
    @pytest.mark.parametrize("size", [1e-30, 1e-12, 1e-6, 1e3, 1e12, 1e25])
    def test_a_start_is_no_success_because_units_are_large_or_small(self, size):
        y, start = (size * DATA).astype(jnp.float32), (START * jnp.asarray([size, 1, size])).astype(jnp.float32)
        result = jc.least_squares_many(misfit, start, (y,), shared=(T.astype(jnp.float32),))
        assert (result.nit > 0).all()
        assert result.success.all()
        expected = jc.least_squares_many(misfit, START, (DATA,), shared=(T,)).x
        np.testing.assert_allclose(np.asarray(result.x, float) / [size, 1, size], expected, rtol=1e-4)

    def test_costs_out_of_range_are_infinite_or_zero(self):
        """The largest number of the dtype would be taken for a cost."""
        for size, cost in ((1e-30, 0), (1e25, jnp.inf)):
            y, start = (size * DATA).astype(jnp.float32), (START * jnp.asarray([size, 1, size])).astype(jnp.float32)
            result = jc.least_squares_many(misfit, start, (y,), shared=(T.astype(jnp.float32),))
            assert (result.cost == cost).all()

    def test_the_solution_as_start_is_success_at_once(self):
        found = jc.least_squares_many(misfit, START, (DATA,), shared=(T,)).x
        again = jc.least_squares_many(misfit, found, (DATA,), shared=(T,))
        assert again.success.all()
        assert (again.nit == 0).all()
        assert (again.nfev == 1).all()

    def test_residuals_of_zero(self):
        exact = jax.vmap(curve, (0, None))(TRUTH, T)
        result = jc.least_squares_many(misfit, START, (exact,), shared=(T,))
        assert result.success.all()
        np.testing.assert_allclose(result.x, TRUTH, rtol=1e-12)

    def test_what_is_not_determined_is_no_success(self):
        """Only the product of two parameters matters."""
        result = jc.least_squares(lambda p: p[0] * p[1] * T - DATA[0], jnp.ones(2))
        assert not result.success

    def test_tolerances_are_scipy_s(self):
        loose = {"ftol": 1e-2, "xtol": None}
        value = jc.least_squares(misfit, START[0], (DATA[0], T), **loose)
        assert value.status == jc.Status.CONVERGED_VALUE
        step = jc.least_squares(misfit, START[0], (DATA[0], T), xtol=1e-1)
        assert step.status == jc.Status.CONVERGED_STEP
        gradient = jc.least_squares(misfit, START[0], (DATA[0], T), gtol=1.0)
        assert gradient.status == jc.Status.SUCCESS
        assert 1e-6 < gradient.optimality <= 1.0


class TestAgainstScipy:
    @pytest.mark.parametrize(
        "loss", ["linear", "soft_l1", "cauchy", *(pytest.param(name, marks=SLOW) for name in ("huber", "arctan"))]
    )
    def test_losses(self, loss):
        data = DATA.at[:, 3].add(2.0).at[:, 11].add(-3.0)
        ours = jc.least_squares_many(misfit, START, (data,), shared=(T,), loss=loss, f_scale=0.1, residuals=True)
        assert ours.success.all()
        t = np.asarray(T)
        for row in range(6):
            y = np.asarray(data[row])
            theirs = scipy.optimize.least_squares(
                lambda p, y=y: p[0] * np.exp(-p[1] * t) + p[2] - y, np.asarray(ours.x[row]), loss=loss, f_scale=0.1,
                ftol=1e-15, xtol=1e-15, gtol=1e-15,
            )  # fmt: skip
            np.testing.assert_allclose(ours.x[row], theirs.x, rtol=1e-5)
            np.testing.assert_allclose(ours.cost[row], theirs.cost, rtol=1e-9)
            np.testing.assert_allclose(ours.fun[row], theirs.fun, atol=1e-5)

    def test_the_fields_of_one_problem(self):
        ours, theirs = jc.least_squares(misfit, START[0], (DATA[0], T)), scipy_fit(0)
        # The promise is about shares of the standard errors, which are a few per cent of x.
        np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-7)
        for name in ("cost", "fun", "jac"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(ours.grad, ours.jac.T @ ours.fun, atol=1e-12)
        assert ours.optimality == jnp.max(jnp.abs(ours.grad))
        assert "SUCCESS" in repr(ours)


def bent(x, A, y):
    return jnp.tanh(A @ x) + 0.2 * (A @ x) - y


class TestBounds:
    count, n, m = 200, 4, 9
    A, y = jnp.asarray(RANDOM.normal(size=(count, m, n))), jnp.asarray(RANDOM.normal(size=(count, m)))
    centre, half = RANDOM.normal(size=(count, n)), RANDOM.uniform(0.01, 1.0, (count, n))
    lower, upper = jnp.asarray(centre - half), jnp.asarray(centre + half)

    @pytest.mark.parametrize("dtype", [float, pytest.param(jnp.float32, marks=SLOW)])
    def test_no_worse_than_scipy_on_200_boxes(self, dtype):
        lower, upper, A, y = (a.astype(dtype) for a in (self.lower, self.upper, self.A, self.y))
        ours = jc.least_squares_many(bent, jnp.zeros((self.count, self.n), dtype), (A, y), bounds=(lower, upper))
        assert ours.success.mean() >= (1.0 if dtype is float else 0.99)
        assert ((lower <= ours.x) & (ours.x <= upper)).all()
        assert ((ours.x == lower) | (ours.x == upper)).any(1).mean() > 0.8
        assert float(jnp.max(ours.optimality)) <= (1e-6 if dtype is float else 1e-2)
        if dtype is float:
            costs = [
                scipy.optimize.least_squares(
                    lambda x, A=A, y=y: np.tanh(A @ x) + 0.2 * (A @ x) - y, np.clip(0, low, high), bounds=(low, high),
                    ftol=1e-12, xtol=1e-12, gtol=1e-12,
                ).cost
                for A, y, low, high in zip(*map(np.asarray, (A, y, lower, upper)), strict=True)
            ]  # fmt: skip
            # Where there are several minima either may find the better one.
            assert np.mean(np.asarray(ours.cost) <= np.asarray(costs) * (1 + 1e-7)) >= 0.97

    def test_equal_bounds_fix_a_variable(self):
        bounds = (jnp.array([-jnp.inf, 0.7, -jnp.inf]), jnp.array([jnp.inf, 0.7, jnp.inf]))
        result = jc.least_squares_many(misfit, START, (DATA,), shared=(T,), bounds=bounds)
        assert result.success.all()
        assert (result.x[:, 1] == 0.7).all()
        columns = jnp.stack([jnp.exp(-0.7 * T), jnp.ones_like(T)], 1)
        np.testing.assert_allclose(result.x[:, ::2], jnp.linalg.lstsq(columns, DATA.T)[0].T, rtol=1e-7)

    def test_all_fixed(self):
        result = jc.least_squares(misfit, START[0], (DATA[0], T), bounds=(1.0, 1.0))
        assert result.success
        assert result.nfev == 1


def with_holes(p, y, t):
    """NaN at missing points, in the residual and in its derivative."""
    return jnp.sqrt(jnp.where(jnp.isnan(y), -1.0, 1.0)) * p[0] * jnp.exp(-p[1] * t) + p[2] - y


class TestWeights:
    def test_missing_points_have_no_effect(self):
        present = jnp.arange(20) % 5 != 3
        y = jnp.where(present, DATA, jnp.nan)
        result = jc.least_squares_many(with_holes, START, (y,), shared=(T,), weights=present[None])
        expected = jc.least_squares_many(misfit, START, (DATA[:, present],), shared=(T[present],))
        assert result.success.all()
        np.testing.assert_allclose(result.x, expected.x, rtol=1e-9)
        assert (result.nfev == expected.nfev).all()

    def test_weights_count_points(self):
        weights = jnp.asarray(RANDOM.integers(0, 4, (6, 20)))
        ours = jc.least_squares_many(misfit, START, (DATA,), shared=(T,), weights=weights)
        for row in range(2):
            repeated = np.repeat(np.arange(20), weights[row])
            theirs = jc.least_squares(misfit, START[row], (DATA[row, repeated], T[repeated]))
            np.testing.assert_allclose(ours.x[row], theirs.x, rtol=1e-6)
            np.testing.assert_allclose(ours.cost[row], theirs.cost, rtol=1e-9)

    def test_complex_residuals(self):
        def oscillation(p, y):
            return p[0] * jnp.exp((1j * p[1] - p[2]) * T) - y

        y = oscillation(jnp.array([2.0, 1.5, 0.3]), 0) + 0.01 * (NOISE[0] + 1j * NOISE[1])
        result = jc.least_squares(oscillation, jnp.array([1.0, 1.3, 0.5]), (y,))
        assert result.success
        assert result.fun.dtype == complex
        assert result.jac.shape == (40, 3)
        np.testing.assert_allclose(result.cost, 0.5 * jnp.sum(jnp.abs(result.fun) ** 2))
        np.testing.assert_allclose(result.x, [2.0, 1.5, 0.3], atol=0.02)


class TestLanes:
    def test_results_do_not_depend_on_the_number_of_lanes_or_on_neighbours(self):
        y = DATA.at[2, 4].set(jnp.nan).at[4].set(jnp.inf)
        wide = jc.least_squares_many(misfit, START, (y,), shared=(T,))
        narrow = jc.least_squares_many(misfit, START, (y,), shared=(T,), lanes=2)
        assert (wide.status == narrow.status).all()
        assert [int(row) for row in jnp.flatnonzero(wide.status == jc.Status.INVALID)] == [2, 4]
        np.testing.assert_allclose(wide.x, narrow.x, rtol=1e-9)
        clean = jc.least_squares_many(misfit, START, (DATA,), shared=(T,))
        good = jnp.array([0, 1, 3, 5])
        assert (wide.x[good] == clean.x[good]).all()

    def test_pytrees_and_no_problems(self):
        def of_tree(p, y):
            return p["a"] * jnp.exp(-p["b"] * T) + p["c"] - y

        tree = {"a": jnp.ones(6), "b": jnp.ones(6), "c": jnp.ones(6)}
        result = jc.least_squares_many(of_tree, tree, (DATA,))
        assert result.success.all()
        assert result.grad["b"].shape == (6,)
        assert result.fun is None
        nothing = jc.least_squares_many(of_tree, jax.tree.map(lambda leaf: leaf[:0], tree), (DATA[:0],))
        assert len(nothing) == 0
        pytest.importorskip("pandas")
        frame = result.to_pandas()
        assert list(frame.columns[-5:]) == ["cost", "success", "status", "nit", "nfev"]

    @pytest.mark.slow
    def test_more_than_eight_variables_and_fewer_points_than_variables(self):
        A = jnp.asarray(RANDOM.normal(size=(3, 30, 12)))
        fit = jc.least_squares_many(lambda x, A, y: A @ x - y, jnp.zeros((3, 12)), (A, NOISE[:3, :1] + A[:, :, 0]))
        assert fit.success.all()
        np.testing.assert_allclose(fit.optimality, 0, atol=1e-10)
        few = jc.least_squares_many(lambda x, A: A @ x + jnp.sin(x[0]) - 1, jnp.zeros((3, 12)), (A[:, :5],))
        assert few.success.all()
        np.testing.assert_allclose(few.cost, 0, atol=1e-25)


BAD = {
    "a number": (lambda x: x @ x, {}, TypeError, "minimize"),
    "a list": (lambda x: [x[0], x[1]], {}, TypeError, "jnp.concatenate"),
    "a loss": (lambda x: x, {"loss": "tukey"}, ValueError, "soft_l1"),
    "a scale": (lambda x: x, {"loss": "huber", "f_scale": 0.0}, ValueError, "positive"),
    "weights": (lambda x: x, {"weights": -jnp.ones(2)}, ValueError, "at least 0"),
    "their shape": (lambda x: x, {"weights": jnp.ones(3)}, ValueError, "one weight for each residual"),
    "a method": (lambda x: x, {"method": "bfgs"}, ValueError, "levenberg_marquardt"),
    "an object": (lambda x: x, {"method": jc.methods.bfgs()}, TypeError, "levenberg_marquardt"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_at_the_door(name):
    fun, options, error, says = BAD[name]
    with pytest.raises(error, match=says):
        jc.least_squares(fun, jnp.ones(2), **options)


def test_what_else_is_refused():
    with pytest.raises(ValueError, match="least_squares"):
        jc.least_squares_many(misfit, 1.0)
    with pytest.raises(ValueError, match="leading axis"):
        jc.least_squares_many(misfit, START, (DATA,), shared=(T,), weights=jnp.ones((3, 20)))
    with pytest.raises(TypeError, match="bfgs"):
        jc.minimize(lambda x: x @ x, jnp.ones(2), method=jc.methods.levenberg_marquardt())
