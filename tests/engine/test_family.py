"""Two families made here: residuals, and equality constraints with multipliers; the engine is not told of either."""

import dataclasses
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import jaxcalc as jc
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.problem import Options, Problem, Tolerances
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.solve import solve_all
from jaxcalc.methods.lane_algebra import all_finite, cholesky, max_norm, solve_lower, solve_upper
from jaxcalc.methods.method import Iterate, Method, register
from jaxcalc.methods.needs import Need


class WithJacobian(NamedTuple):
    value: Array
    gradient: Array
    jacobian: Array


class Jacobian(Need):
    def evaluate(self, function, *points):
        def residual(x):
            r, aux = function(x)
            return r, (r, aux)

        jacobian, (r, aux) = jax.jacfwd(residual, has_aux=True)(*points)
        return WithJacobian(0.5 * r @ r, r @ jacobian, jacobian), aux

    def cost(self, n):
        return n


class DampedState(NamedTuple):
    iterate: Iterate
    jacobian: Array
    damping: Array


@register
@dataclasses.dataclass(frozen=True)
class GaussNewton(Method):
    needs = Jacobian()

    def init(self, x0, box):
        blank = jax.vmap(lambda x: jnp.zeros((4, 2), x.dtype), in_axes=-1, out_axes=-1)(x0)
        return DampedState(Iterate.at_start(x0), blank, jnp.ones(x0.shape[1], x0.dtype))

    def step(self, state, evaluation, box):
        old = state.iterate
        accepted = all_finite(evaluation.gradient) & (evaluation.value < old.value)
        at, jacobian = old.moved(accepted, evaluation), jnp.where(accepted, evaluation.jacobian, state.jacobian)
        damping = jnp.where(accepted, 0.2, 4) * state.damping
        factor, _ = cholesky(jnp.sum(jacobian[:, :, None] * jacobian[:, None], axis=0), damping)
        step = solve_upper(factor, solve_lower(factor, -at.gradient))
        stalled = (damping > 1e12) | ((old.nit < 0) & ~accepted)
        return DampedState(at._replace(trial=box.project(at.x + step), stalled=stalled), jacobian, damping)


class Residual(Family):
    methods = MappingProxyType({"gauss_newton": GaussNewton})

    @staticmethod
    def check_output(output):
        if output.shape != (4,):
            raise TypeError("four residuals")

    def objective(self, output):
        return 0.5 * output @ output

    def conclusions(self, state, at, box, tolerances):
        return [(jc.Status.SUCCESS, max_norm(box.projected_gradient(at.x, at.gradient)) <= tolerances.gtol)]


TIMES = jnp.arange(4.0)


def decay(x, y):
    return x[0] * jnp.exp(-x[1] * TIMES) - y


def fitted(y, **options):
    queue = Problem(
        GaussNewton(), jnp.tile(jnp.array([1.0, 1.0]), (len(y), 1)), (y,), tolerances=Tolerances(jnp.asarray(1e-10))
    )
    return solve_all([decay], [queue], Options(Residual, **options))[0]


class TestResiduals:
    y = 3 * jnp.exp(-jnp.array([0.5, 0.7, 2.0])[:, None] * TIMES) + jnp.array([[0.01, -0.02, 0.01, 0.03]])

    def test_lanes_refill(self):
        result = fitted(self.y, lanes=2, history=2)
        assert result.success.all()
        r, J = jax.vmap(decay)(result.x, self.y), jax.vmap(jax.jacfwd(decay))(result.x, self.y)
        assert jnp.abs(jnp.einsum("nmk,nm->nk", J, r)).max() <= 1e-10
        np.testing.assert_allclose(result.fun, 0.5 * jnp.sum(r**2, axis=1), rtol=1e-12)
        assert result.nhev is None
        assert (result.history[:, -1] == result.fun).all()

    def test_the_same_minimum_as_that_of_half_the_square(self):
        scalar = jc.minimize_many(lambda x, y: 0.5 * jnp.sum(decay(x, y) ** 2), fitted(self.y).x, (self.y,), gtol=1e-10)
        np.testing.assert_allclose(fitted(self.y).x, scalar.x, atol=1e-8)

    def test_derivatives_of_the_fit(self):
        """They are those of the full Hessian, not of Gauss and Newton's."""
        J = jax.jacobian(lambda y: fitted(y).x)(self.y)
        h = 1e-4
        for k in range(4):
            change = (fitted(self.y.at[1, k].add(h)).x - fitted(self.y.at[1, k].add(-h)).x) / (2 * h)
            np.testing.assert_allclose(J[:, :, 1, k], change, atol=1e-6)

    def test_under_vmap(self):
        several = jax.vmap(lambda y: fitted(y).x)(jnp.stack([self.y, self.y[::-1]]))
        np.testing.assert_allclose(several[1], several[0][::-1], atol=1e-10)

    def test_what_the_function_returns_is_checked(self):
        with pytest.raises(TypeError, match="four residuals"):
            solve_all([lambda x: x], [Problem(GaussNewton(), jnp.ones((1, 2)))], Options(Residual))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WithMultipliers(OptimizeResult):
    multipliers: Any = None


class Constrained(NamedTuple):
    value: Array
    gradient: Array
    constraint: Array  # (1, L)
    normal: Array  # (n, L)
    hessian: Array  # (n, n, L), of the Lagrangian


class Lagrangian(Need):
    second_order = True

    def points(self, state):
        return state.iterate.trial, state.multipliers

    def evaluate(self, function, *points):
        x, multipliers = points

        def lagrangian(x):
            (f, c), aux = function(x)
            return f + multipliers @ c, (f, c, aux)

        f, c, aux = lagrangian(x)[1]
        gradient, normal = jax.grad(lambda x: function(x)[0][0])(x), jax.grad(lambda x: function(x)[0][1][0])(x)
        hessian = jax.jacrev(jax.grad(lambda x: lagrangian(x)[0]))(x)
        return Constrained(f, gradient, c, normal, hessian), aux

    def cost(self, n):
        return n + 3


class NewtonState(NamedTuple):
    iterate: Iterate
    multipliers: Array  # (1, L)
    violation: Array  # (L,)
    stationarity: Array  # (L,)


@register
@dataclasses.dataclass(frozen=True)
class LagrangeNewton(Method):
    """Full steps of Newton's method on the conditions of Karush, Kuhn and Tucker."""

    needs = Lagrangian()

    def init(self, x0, box):
        blank = jnp.full(x0.shape[1], jnp.inf, x0.dtype)
        return NewtonState(Iterate.at_start(x0), jnp.zeros((1, x0.shape[1]), x0.dtype), blank, blank)

    def step(self, state, evaluation, box):
        at = state.iterate.moved(all_finite(evaluation.gradient), evaluation)
        residual = evaluation.gradient + state.multipliers * evaluation.normal

        def solve(H, a, right):
            matrix = jnp.block([[H, a[:, None]], [a[None], jnp.zeros((1, 1))]])
            return jnp.linalg.solve(matrix, right)

        right = -jnp.concatenate([residual, evaluation.constraint])
        step = jax.vmap(solve, in_axes=-1, out_axes=-1)(evaluation.hessian, evaluation.normal, right)
        stationarity, violation = max_norm(residual), max_norm(evaluation.constraint)
        solved = (stationarity <= 1e-10) & (violation <= 1e-10)
        return NewtonState(
            at._replace(trial=jnp.where(solved, at.x, at.x + step[:-1])),
            jnp.where(solved, state.multipliers, state.multipliers + step[-1:]),
            violation,
            stationarity,
        )


class Equality(Family):
    """fun returns (f, c), and c = 0 is asked for."""

    methods = MappingProxyType({"lagrange_newton": LagrangeNewton})
    result_type = WithMultipliers

    @staticmethod
    def check_output(output):
        assert output[1].shape == (1,)

    def objective(self, output):
        return output[0]

    def conclusions(self, state, at, box, tolerances):
        solved = (state.stationarity <= tolerances.gtol) & (state.violation <= tolerances.gtol)
        return [(jc.Status.SUCCESS, solved)]

    @staticmethod
    def linear_solve(root, matvec, u, near):
        matrix = jax.vmap(matvec)(jnp.eye(u.size))
        return lambda b: jnp.linalg.solve(matrix, b), jnp.linalg.cond(matrix) < 1e12

    def fields(self, state):
        return {"multipliers": state.multipliers}

    def unknowns(self, result: Any):
        return jnp.concatenate([self.ravel(result.x), result.multipliers.T])

    def stationary(self, u, args, shared):
        (f, c), aux = self.output(u[: self.n], args, shared)
        return f + u[self.n :] @ c, aux

    def held(self, result: Any, box):
        return jnp.concatenate([super().held(result, box), jnp.zeros_like(result.multipliers.T, bool)])

    def tangents(self, du, dgradient):
        return super().tangents(du[: self.n], None) | {"multipliers": du[self.n :].T}


def weights(x, mean, total):
    return 0.5 * x @ x - mean @ x + 0.1 * jnp.sum(x**4), jnp.sum(x, keepdims=True) - total


@jax.custom_vjp
def fourth_power(x):
    return x**4


fourth_power.defvjp(lambda x: (x**4, x), lambda x, cotangent: (4 * x**3 * cotangent,))


def weights_in_reverse(x, mean, total):
    return 0.5 * x @ x - mean @ x + 0.1 * jnp.sum(fourth_power(x)), jnp.sum(x, keepdims=True) - total


def allocated(mean, total, weights=weights) -> Any:
    queue = Problem(
        LagrangeNewton(), jnp.zeros_like(mean), (mean,), (total,), tolerances=Tolerances(jnp.asarray(1e-9), 50)
    )
    return solve_all([weights], [queue], Options(Equality, lanes=2))[0]


class TestEqualityConstraints:
    mean = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))

    def test_multipliers_are_a_field_of_the_result(self):
        result = allocated(self.mean, 1.0)
        assert result.success.all()
        assert result.multipliers.shape == (5, 1)
        np.testing.assert_allclose(result.x.sum(1), 1.0, atol=1e-9)
        gradient = result.x - self.mean + 0.4 * result.x**3
        np.testing.assert_allclose(gradient, -result.multipliers * np.ones(3), atol=1e-8)
        assert (result.nhev == result.nfev).all()

    def test_derivatives_of_x_the_multipliers_and_the_value(self):
        h = 1e-5
        tangent = jax.jvp(lambda total: allocated(self.mean, total), (1.0,), (1.0,))[1]
        above, below = allocated(self.mean, 1 + h), allocated(self.mean, 1 - h)
        for name in ("x", "multipliers", "fun"):
            expected = (getattr(above, name) - getattr(below, name)) / (2 * h)
            np.testing.assert_allclose(getattr(tangent, name), expected, atol=1e-6)
        # The envelope theorem: the value changes by the multiplier.
        np.testing.assert_allclose(tangent.fun, -allocated(self.mean, 1.0).multipliers[:, 0], atol=1e-8)

    def test_under_vmap_and_reverse_mode(self):
        totals = jnp.array([0.5, 1.0, 2.0])
        gradients = jax.vmap(jax.grad(lambda total: allocated(self.mean, total).fun.sum()))(totals)
        expected = [-allocated(self.mean, total).multipliers.sum() for total in totals]
        np.testing.assert_allclose(gradients, expected, atol=1e-8)

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
    def test_a_function_that_defines_only_its_reverse_mode(self, mode):
        def found(weights):
            def solve(mean, total):
                result = allocated(mean, total, weights)
                return result.x, result.multipliers, result.fun

            return mode(solve, (0, 1))(self.mean, jnp.asarray(1.0))

        jax.tree.map(
            lambda ours, expected: np.testing.assert_allclose(ours, expected, atol=1e-8),
            found(weights_in_reverse),
            found(weights),
        )


def test_an_empty_queue_has_the_shapes_of_the_family():
    result = allocated(jnp.zeros((0, 3)), 1.0)
    assert result.multipliers.shape == (0, 1)
    assert isinstance(result, WithMultipliers)
