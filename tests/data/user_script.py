"""What a user writes, for the type checker: every result has its type, and a wrong use is seen."""

from typing import Any, NamedTuple, assert_type

import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxcalc as jc


def rosenbrock(x: Array, b: float = 100.0) -> Array:
    return b * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def line(t: Array, a: Array, b: Array) -> Array:
    return a + b * t


slope = jc.secant_slope(jnp.sin, 0.0, 1.0)
assert_type(slope, Array)
points = jc.critical_points(lambda x: x**3 - x, -2.0, 2.0)
assert_type(points, jc.CriticalPoints)
assert_type(points.kind, list[str])
assert_type(points.certain, bool)
integral = jc.integrate(jnp.sin, 0.0, 1.0)
assert_type(integral, jc.Integral)
assert_type(integral.value, Array)

one = jc.minimize(rosenbrock, jnp.zeros(2), args=(100.0,), method="bfgs", bounds=(0.0, None))
assert_type(one, jc.OptimizeResult)
assert_type(one.fun, Array)
assert_type(one.message, str)
assert_type(one.check(), jc.OptimizeResult)
fits = jc.least_squares_many(lambda p, y: p - y, np.zeros((5, 2)), (np.ones((5, 2)),))
assert_type(fits, jc.LeastSquaresResult)
assert_type(fits.status, Array)

t = jnp.linspace(0.0, 1.0, 8)
fit = jc.curve_fit(line, t, t, [1.0, 1.0])
assert_type(fit, jc.CurveFitResult)
popt, pcov = fit
assert_type(popt, Array)
assert_type(fit.stderr, Array)
assert_type(fit.predict(t).lower, Array)
assert_type(jc.models.gaussian_1d.guess(t, t), Array)
found = jc.multistart(rosenbrock, (jnp.zeros(2), jnp.ones(2)))
assert_type(found, jc.Minima)
ax = jc.plots.curve(jnp.sin, 0.0, 1.0, critical_points=points)
ax.set_title("a curve")
store = jc.streaming.MemoryStore()
results = jc.minimize_stream(rosenbrock, np.zeros((9, 2)), store, progress=False)
assert_type(results, jc.StreamResults)
assert_type(results.summary(), dict[str, int])


class Parameters(NamedTuple):
    weights: Array
    bias: Array


# The results have the form of the start: numbers are an array, in a dict an array each, other pytrees are themselves.
start = Parameters(jnp.zeros(2), jnp.zeros(()))
constraint = {"type": "eq", "fun": lambda x: x[0] - x[1]}
assert_type(one.x, Array)
assert_type(one.jac, Array)
assert_type(one.history, Array)
assert_type(jc.minimize(rosenbrock, np.zeros(2)).x, Array)
assert_type(jc.minimize(rosenbrock, [0.0, 1]).x, Array)
assert_type(jc.minimize(rosenbrock, 3).x, Array)
assert_type(jc.minimize(rosenbrock, {"a": 1.0, "b": np.zeros(3)}).x, dict[str, Array])
assert_type(jc.minimize(rosenbrock, {"a": {"b": jnp.zeros(3)}}).x, dict[str, dict[str, Array]])
assert_type(jc.minimize(rosenbrock, start).jac, Parameters)
assert_type(jc.minimize(rosenbrock, (jnp.zeros(2), jnp.ones(3))).x, tuple[Array, Array])
assert_type(jc.minimize(rosenbrock, start).check().where_success(0.0).x, Parameters)
constrained = jc.minimize(rosenbrock, np.zeros(2), constraints=constraint)
assert_type(constrained, jc.ConstrainedResult[Array])
assert_type(constrained.constraint_violation, Array)
assert_type(jc.minimize_many(rosenbrock, start, constraints=[constraint]).bound_multipliers, Parameters)
batch = jc.minimize_many(rosenbrock, {"a": np.zeros((5, 2))})
assert_type(batch, jc.OptimizeResult[dict[str, Array]])
assert_type(batch[0].x, dict[str, Array])
assert_type(next(iter(batch)).x, dict[str, Array])
assert_type(batch[np.arange(5) > 2].status, Array)
assert_type(jc.minimize_many(rosenbrock, np.zeros((5, 2)), lanes=8).x, Array)
assert_type(jc.minimize_many([rosenbrock, rosenbrock], [np.zeros((5, 2)), start]), list[jc.OptimizeResult[Any]])
assert_type(fits.x, Array)
assert_type(fits.cost, Array)
assert_type(jc.least_squares(rosenbrock, start).grad, Parameters)
assert_type(jc.least_squares(rosenbrock, start).jac, Array)
assert_type(jc.least_squares_many(rosenbrock, {"a": np.zeros((5, 2))})[2].grad, dict[str, Array])
assert_type(fit.result.x, Array)
assert_type(fit.confidence_interval().upper, Array)
assert_type(jc.gradient_descent(rosenbrock, [0.0, 1.0], 0.1, 5).x, Array)
assert_type(jc.gradient_descent(rosenbrock, start, 0.1, 5).x, Parameters)
assert_type(jc.bootstrap(fit).lower, Array)
assert_type(jc.bootstrap(rosenbrock, start, t).stderr, Parameters)
assert_type(jc.standard_errors(fit), Array)
assert_type(jc.standard_errors(jc.minimize(rosenbrock, start), rosenbrock), Parameters)
assert_type(jc.standard_errors(one, rosenbrock, covariance=True).covariance, Array)
assert_type(found.x, Array)
assert_type(jc.multistart(rosenbrock, (start, start)).x, Parameters)
assert_type(jc.multistart(rosenbrock, ({"a": 0.0}, {"a": 1.0}), many=True)[0].x, dict[str, Array])
assert_type(jc.multistart(rosenbrock, ({"a": 0.0}, 1.0)).x, dict[str, Array])
assert_type(jc.multistart(rosenbrock, (start, 1.0)).x, Parameters)
assert_type(jc.multistart(rosenbrock, (-1.0, 1.0)).certificate.kind, Array)
assert_type(jc.all_critical_points(rosenbrock, (jnp.zeros(2), np.ones(2))).x, Array)
assert_type(jc.certify(rosenbrock, one.x).min_eigenvalue, Array)
assert_type(points.x, np.ndarray)
