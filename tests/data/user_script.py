"""What a user writes, for the type checker: every result has its type, and a wrong use is seen."""

from typing import assert_type

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
