"""Errors that people meet: the likeliest mistakes with each public function, and their messages in full.

Every message says what was given, what was expected, and how to mend it. The mistakes are found at the door: nothing is
compiled. `python -m tests.project.test_mistakes` prints the list below with the messages of today.
"""
# ruff: noqa: E501

import math
import os
import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

xarray = pytest.importorskip("xarray")
pytest.importorskip("zarr")


def square(x):
    return x**2


def product(x, y):
    return x * y


def total(x):
    return jnp.sum(x**2)


def text(x):
    return "text"


def rosenbrock(x, b):
    return b * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def misfit(x):
    return jnp.stack([x[0] - 1, x[1] - 2, x[0] * x[1]])


def residual(x, y):
    return x - y


def line(x, a, b):
    return a + b * x


def sine(x):
    return math.sin(x)


def cost(p, data):
    return jnp.mean((p[0] - data) ** 2)


def init(key):
    return jnp.zeros(2)


def ended(status):
    zero, one = jnp.zeros(2), jnp.array(1)
    return jc.OptimizeResult(x=zero, fun=zero[0], jac=zero, status=jnp.array(status), nit=one, nfev=one)


def names() -> dict[str, Any]:
    """What the mistakes are made of."""
    t = np.linspace(0, 1, 8)
    rows, memory = np.ones((4, 8)), jc.streaming.MemoryStore
    study = {"learning_rates": [0.1], "seeds": 1, "epochs": 1, "batch_size": 4, "progress": False}
    labelled = xarray.DataArray(rows, dims=("pixel", "t"), coords={"t": t})
    own = {"t": t, "rows": rows, "table": np.ones((4, 2)), "x2": np.array([1.0, 2.0]), "x3": np.array([1.0, 2.0, 3.0])}
    own |= {"memory": memory, "study": study, "labelled": labelled, "found": ended(0), "failed": ended(2)}
    return globals() | own | {"with_nan": np.where(t == t[3], np.nan, t)}


MISTAKES = r"""
## secant_slope
>>> jc.secant_slope(3.0, 0.0, 1.0)
TypeError: f must be a function; it is a float.
>>> jc.secant_slope(square, 'a', 1.0)
TypeError: a must be a real number or an array of real numbers; it is 'a'.
>>> jc.secant_slope(square, 1j, 1.0)
TypeError: a has dtype complex128, but must be real; write the function in terms of the real and the imaginary part, two real arguments
>>> jc.secant_slope(square, None, 1.0)
TypeError: a must be a real number or an array of real numbers; it is None.
>>> jc.secant_slope(square, x3, x2)
ValueError: a and b must broadcast; they have shapes (3,) and (2,).

## derivative
>>> jc.derivative(3.0)
TypeError: f must be a function; it is a float.
>>> jc.derivative(square, order=-1)
ValueError: order must be a non-negative int, such as 1, but is -1.
>>> jc.derivative(square, order=1.5)
TypeError: order must be a non-negative int, such as 1, but is 1.5 of type float. The point comes later: derivative(f, order)(x).
>>> jc.derivative(square)('1')
TypeError: x must be a real number or an array of real numbers; it is '1'.
>>> jc.derivative(lambda x: jnp.stack([x, x]))(1.0)
TypeError: <lambda> returned an array of shape (2,) and dtype float64, but must return a real scalar; reduce an array, for example with jnp.sum, or use jacobian for several numbers
>>> jc.derivative(square, 1.0)
TypeError: order must be a non-negative int, such as 1, but is 1.0 of type float. The point comes later: derivative(f, order)(x).

## partial_derivative
>>> jc.partial_derivative(3.0, 0)
TypeError: f must be a function; it is a float.
>>> jc.partial_derivative(product, 'x')
TypeError: argnum must be a non-negative int, such as 1, but is 'x' of type str. The point comes later: partial_derivative(f, argnum)(*xs).
>>> jc.partial_derivative(product, 2)(1.0, 2.0)
ValueError: argnum is 2, but there are only 2 arguments; they are counted from 0
>>> jc.partial_derivative(product, 0)(1.0)
TypeError: product() missing 1 required positional argument: 'y'. It was called with 1 argument. Fix what else product takes, lambda x: product(x, ...), or give partial_derivative(product, argnum) all of it.
>>> jc.partial_derivative(product, 0)(1.0, '2')
TypeError: argument 1 is '2', not a number or an array.

## gradient
>>> jc.gradient(3.0)
TypeError: f must be a function; it is a float.
>>> jc.gradient(lambda x: x)(x3)
TypeError: <lambda> returned an array of shape (3,) and dtype float64, but must return a real scalar; reduce an array, for example with jnp.sum, or use jacobian for several numbers
>>> jc.gradient(total)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.
>>> jc.gradient(total)(1j * x3)
TypeError: x has dtype complex128, but must be real; write the function in terms of the real and the imaginary part, two real arguments
>>> jc.gradient(sine)(1.0)
TypeError: sine, at FILE:LINE: float(), int(), .item() and the functions of math ask for a number, which is not known while JAX traces. Use jax.numpy: jnp.exp for math.exp, and x itself for float(x).
>>> jc.gradient(square, 1.0)
TypeError: gradient() takes 1 positional argument but 2 were given. Write gradient(f)(x).
>>> jc.gradient(product)(1.0, 2.0)
TypeError: gradient() takes 1 positional argument but 2 were given. Write gradient(f)(x): x is one array or pytree; of several arguments there is partial_derivative(f, argnum)(*xs).

## directional_derivative
>>> jc.directional_derivative(3.0)
TypeError: f must be a function; it is a float.
>>> jc.directional_derivative(total)(x3)
TypeError: directional_derivative() missing 1 required positional argument: 'v'. Write directional_derivative(f)(x, v): x is one array or pytree; of several arguments there is partial_derivative(f, argnum)(*xs).
>>> jc.directional_derivative(total)(x3, x2)
ValueError: v has shape (2,), but must have that of x, (3,); give v one entry per entry of x, for example with jnp.broadcast_to
>>> jc.directional_derivative(total)(x3, 'v')
TypeError: v must be a real number or an array of real numbers; it is 'v'.
>>> jc.directional_derivative(lambda x: x)(x3, {'v': x3})
ValueError: v has the structure PyTreeDef({'v': *}), but must have that of x, PyTreeDef(*); give v one entry per entry of x, for example with jnp.broadcast_to

## jacobian
>>> jc.jacobian(3.0)
TypeError: F must be a function; it is a float.
>>> jc.jacobian(lambda x: 'text')(x3)
TypeError: <lambda> returned 'text', but must return real numbers.
>>> jc.jacobian(total)(None)
TypeError: x must be a real number, an array or a pytree of arrays; it is None.
>>> jc.jacobian(total)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.
>>> jc.jacobian(sine)(1.0)
TypeError: sine, at FILE:LINE: float(), int(), .item() and the functions of math ask for a number, which is not known while JAX traces. Use jax.numpy: jnp.exp for math.exp, and x itself for float(x).
>>> jc.jacobian(product)(1.0)
TypeError: product() missing 1 required positional argument: 'y'. It was called with 1 argument. Fix what else product takes, lambda x: product(x, ...), or give partial_derivative(product, argnum) all of it.

## hessian
>>> jc.hessian(3.0)
TypeError: f must be a function; it is a float.
>>> jc.hessian(lambda x: x)(x3)
TypeError: <lambda> returned an array of shape (3,) and dtype float64, but must return a real scalar; reduce an array, for example with jnp.sum, or use jacobian for several numbers
>>> jc.hessian(total)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.
>>> jc.hessian(total)(None)
TypeError: x must be a real number, an array or a pytree of arrays; it is None.
>>> jc.hessian(sine)(1.0)
TypeError: sine, at FILE:LINE: float(), int(), .item() and the functions of math ask for a number, which is not known while JAX traces. Use jax.numpy: jnp.exp for math.exp, and x itself for float(x).

## hessian_vector_product
>>> jc.hessian_vector_product(3.0)
TypeError: f must be a function; it is a float.
>>> jc.hessian_vector_product(total)(x3)
TypeError: hessian_vector_product() missing 1 required positional argument: 'v'. Write hessian_vector_product(f)(x, v): x is one array or pytree; of several arguments there is partial_derivative(f, argnum)(*xs).
>>> jc.hessian_vector_product(total)(x3, x2)
ValueError: v has shape (2,), but must have that of x, (3,); give v one entry per entry of x, for example with jnp.broadcast_to
>>> jc.hessian_vector_product(lambda x: x)(x3, x3)
TypeError: <lambda> returned an array of shape (3,) and dtype float64, but must return a real scalar; reduce an array, for example with jnp.sum, or use jacobian for several numbers
>>> jc.hessian_vector_product(total)(x3, 'v')
TypeError: v must be a real number or an array of real numbers; it is 'v'.

## laplacian
>>> jc.laplacian(3.0)
TypeError: f must be a function; it is a float.
>>> jc.laplacian(lambda x: x)(x3)
TypeError: <lambda> returned an array of shape (3,) and dtype float64, but must return a real scalar; reduce an array, for example with jnp.sum, or use jacobian for several numbers
>>> jc.laplacian(total)(1j)
TypeError: x has dtype complex128, but must be real; write the function in terms of the real and the imaginary part, two real arguments
>>> jc.laplacian(total)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.
>>> jc.laplacian(total)(None)
TypeError: x must be a real number, an array or a pytree of arrays; it is None.

## divergence
>>> jc.divergence(3.0)
TypeError: F must be a function; it is a float.
>>> jc.divergence(total)(x3)
ValueError: what total returned has shape (), but must have that of x, (3,); a vector field returns one component per variable
>>> jc.divergence(lambda x: x[:2])(x3)
ValueError: what <lambda> returned has shape (2,), but must have that of x, (3,); a vector field returns one component per variable
>>> jc.divergence(lambda x: x)(None)
TypeError: x must be a real number, an array or a pytree of arrays; it is None.
>>> jc.divergence(lambda x: x)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.

## curl
>>> jc.curl(3.0)
TypeError: F must be a function; it is a float.
>>> jc.curl(lambda x: x)(np.ones(4))
ValueError: x has shape (4,), but a curl needs shape (3,), or (2,) in the plane; for many points at once use jax.vmap(curl(F))
>>> jc.curl(total)(x3)
ValueError: what total returned has shape (), but must have that of x, (3,); a vector field returns one component per variable
>>> jc.curl(lambda x: x[:2])(x3)
ValueError: what <lambda> returned has shape (2,), but must have that of x, (3,); a vector field returns one component per variable
>>> jc.curl(lambda x: x)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.

## taylor
>>> jc.taylor(3.0, 0.0, 2)
TypeError: f must be a function; it is a float.
>>> jc.taylor(square, 0.0, -1)
ValueError: order must be a non-negative int, such as 1, but is -1.
>>> jc.taylor(square, 0.0, 2.5)
TypeError: order must be a non-negative int, such as 1, but is 2.5 of type float.
>>> jc.taylor(square, 'a', 2)
TypeError: x0 must be a real number or an array of real numbers; it is 'a'.
>>> jc.taylor(lambda x: 'text', 0.0, 2)
TypeError: <lambda> returned 'text', but must return real numbers.

## rules
>>> jc.rules.power('2')
TypeError: n must be a real number, such as 3 or 0.5, but is '2' of type str
>>> jc.rules.chain(3.0, 2)
TypeError: f must be a function; it is a float.
>>> jc.rules.product(square, 3.0)
TypeError: g must be a function; it is a float.
>>> jc.rules.quotient(3.0, square)
TypeError: f must be a function; it is a float.
>>> jc.rules.power(2)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.

## integrate
>>> jc.integrate(3.0, 0.0, 1.0)
TypeError: f must be a function; it is a float.
>>> jc.integrate(square, 0.0, 'b')
TypeError: b must be a real number or an array of real numbers; it is 'b'.
>>> jc.integrate(square, 0.0, 1.0, epsrel=-1.0)
ValueError: epsrel must be at least 0; it is -1.0.
>>> jc.integrate(square, 0.0, 1.0, limit=0)
ValueError: limit, with 0 break points, must be a whole number of at least 128, but is 0.
>>> jc.integrate(lambda x: None, 0.0, 1.0)
TypeError: f must return real numbers, one or an array of them; it returned None: a function without a return statement does.
>>> jc.integrate(lambda x: [x, x], 0.0, 1.0)
TypeError: f must return real numbers, one or an array of them; it returned a list. Of several integrands make one array by jnp.stack([...]).
>>> jc.integrate(square, x3, x2)
ValueError: a and b must broadcast; they have shapes (3,) and (2,).
>>> jc.integrate(square, 0.0, 1.0, rtol=1e-6)
TypeError: integrate() got an unexpected keyword argument 'rtol': write epsrel=.
>>> jc.integrate(square, (0.0, 1.0))
TypeError: integrate() missing 1 required positional argument: 'b'. Write integrate(f, a, b); keywords may follow.
>>> jc.integrate(0.0, 1.0, square)
TypeError: f is a float: the function comes first, integrate(f, a, b).
>>> jc.integrate(square, 0.0, 1.0, 1e-6)
TypeError: square() takes 1 positional argument but 2 were given. It was called with 2 arguments. What square takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: square(x, ...). Where square takes x alone, leave args out: tolerances and other options are given by name.

## integrate_box
>>> jc.integrate_box(3.0, [0.0, 0.0], [1.0, 1.0])
TypeError: f must be a function; it is a float.
>>> jc.integrate_box(total, 0.0, 1.0)
ValueError: lower and upper must have shape (d,) or (..., d), d from 1 to 4; they have shapes () and ().
>>> jc.integrate_box(total, [0.0, 0.0], [1.0, 1.0, 1.0])
ValueError: lower and upper must broadcast; they have shapes (2,) and (3,).
>>> jc.integrate_box(total, [0.0] * 5, [1.0] * 5)
ValueError: lower and upper must have shape (d,) or (..., d), d from 1 to 4; they have shapes (5,) and (5,).
>>> jc.integrate_box(total, [0.0, 0.0], [1.0, 1.0], epsrel=-1.0)
ValueError: epsrel must be at least 0; it is -1.0.
>>> jc.integrate_box(total, ([0.0, 0.0], [1.0, 1.0]))
TypeError: integrate_box() missing 1 required positional argument: 'upper'. Write integrate_box(f, lower, upper); keywords may follow.
>>> jc.integrate_box(total, [0.0, 0.0], [1.0, 1.0], atol=1e-6)
TypeError: integrate_box() got an unexpected keyword argument 'atol': write epsabs=.

## antiderivative
>>> jc.antiderivative(3.0)
TypeError: f must be a function; it is a float.
>>> jc.antiderivative(square, at='a')
TypeError: at must be a real number or an array of real numbers; it is 'a'.
>>> jc.antiderivative(square, constant='c')
TypeError: constant must be a real number or an array of real numbers; it is 'c'.
>>> jc.antiderivative(square)('x')
TypeError: x must be a real number or an array of real numbers; it is 'x'.
>>> jc.antiderivative(square)(1j)
TypeError: x has dtype complex128, but must be real; write the function in terms of the real and the imaginary part, two real arguments

## critical_points
>>> jc.critical_points(3.0, 0.0, 1.0)
TypeError: f must be a function; it is a float.
>>> jc.critical_points(square, 1.0, 0.0)
ValueError: lower must be below upper; they are 1.0 and 0.0.
>>> jc.critical_points(square, 0.0, math.nan)
ValueError: lower must be below upper; they are 0.0 and nan.
>>> jax.jit(lambda a: jc.critical_points(square, a, 2.0).x)(0.0)
TypeError: critical_points runs on the host, because how many points there are depends on the values of lower and upper, which are not known under jax.jit, jax.vmap and jax.grad. Call it outside of them.
>>> jc.critical_points(square, [0.0, 0.0], [1.0, 1.0])
TypeError: lower and upper must be one number each; they have the shapes (2,) and (2,). Of several variables use all_critical_points(f, (lower, upper)).
>>> jc.critical_points(lambda x: jnp.stack([x, x]), 0.0, 1.0)
TypeError: <lambda> returned an array of shape (2,) and dtype float64, but must return a real scalar; reduce an array, for example with jnp.sum, or use jacobian for several numbers
>>> jc.critical_points(square, bounds=(0.0, 1.0))
TypeError: critical_points() got an unexpected keyword argument 'bounds': lower and upper are two arguments.
>>> jc.critical_points(square, (0.0, 1.0))
TypeError: critical_points() missing 1 required positional argument: 'upper'. Write critical_points(f, lower, upper).

## certify
>>> jc.certify(3.0, x2)
TypeError: fun must be a function, or a list of functions; it is a float.
>>> jc.certify(lambda x: x, x2)
TypeError: fun must return one real number, an array of shape (); it returned an array of shape (2,) and dtype float64. Reduce a vector with jnp.sum or jnp.mean, a complex number with jnp.real or jnp.abs. (fun is written for one problem; the problem axis is not part of its x.)
>>> jc.certify(total, 'x')
TypeError: x is 'x', not a number or an array.
>>> jc.certify(total, x2, bounds=[(0, 1), (0, 1)])
TypeError: bounds is [(0, 1), (0, 1)], which may be two pairs (low, high) or the two sides (lower, upper). For pairs, as in SciPy, write bounds=(numpy.array([0, 0]), numpy.array([1, 1])); for sides bounds=(numpy.array([0, 1]), numpy.array([0, 1])).
>>> jc.certify(rosenbrock, x2)
TypeError: rosenbrock() missing 1 required positional argument: 'b'. It was called with 1 argument. What rosenbrock takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: rosenbrock(x, ...).
>>> jc.certify(x2, total)
TypeError: fun is a ndarray: the function comes first, certify(fun, x).
>>> jc.certify(total)
TypeError: certify() missing 1 required positional argument: 'x'. Write certify(fun, x); keywords may follow.

## minimize
>>> jc.minimize(3.0, x2)
TypeError: fun must be a function; it is a float.
>>> jc.minimize(lambda x: x, x2)
TypeError: fun must return one real number, an array of shape (); it returned an array of shape (2,) and dtype float64. Reduce a vector with jnp.sum or jnp.mean, a complex number with jnp.real or jnp.abs. (fun is written for one problem; the problem axis is not part of its x.)
>>> jc.minimize(total, x2, method='L-BFGS-C')
ValueError: there is no method 'L-BFGS-C'; there are 'bfgs', 'conjugate_gradient', 'gradient_descent', 'lbfgs', 'momentum', 'steepest_descent', 'trust_ncg', 'trust_region'. Did you mean 'lbfgs'?
>>> jc.minimize(total, x2, bounds=[(0, 1), (0, 1)])
TypeError: bounds is [(0, 1), (0, 1)], which may be two pairs (low, high) or the two sides (lower, upper). For pairs, as in SciPy, write bounds=(numpy.array([0, 0]), numpy.array([1, 1])); for sides bounds=(numpy.array([0, 1]), numpy.array([0, 1])).
>>> jc.minimize(rosenbrock, x2)
TypeError: rosenbrock() missing 1 required positional argument: 'b'. It was called with 1 argument. What rosenbrock takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: rosenbrock(x, ...).
>>> jc.minimize(total, x2, options={'disp': True, 'maxit': 3})
TypeError: options['disp'] is SciPy's: print the result, or its message.
>>> jc.minimize(total, x2, gtol=-1.0)
ValueError: gtol must be at least 0; it is -1.0.
>>> jc.minimize(total, ['a', 'b'])
TypeError: x0[0] is 'a', not a number or an array.
>>> jc.minimize(total, x2, jac=total)
TypeError: jac is SciPy's: jaxcalc differentiates fun by itself: leave jac out. For a derivative of your own give fun one by jax.custom_vjp or jax.custom_jvp.
>>> jc.minimize(lambda x: float(x[0]), x2)
TypeError: <lambda>, at FILE:LINE: float(), int(), .item() and the functions of math ask for a number, which is not known while JAX traces. Use jax.numpy: jnp.exp for math.exp, and x itself for float(x).
>>> jc.minimize(x2, total)
TypeError: fun is a ndarray: the function comes first, minimize(fun, x0).
>>> jc.minimize(total)
TypeError: minimize() missing 1 required positional argument: 'x0'. Write minimize(fun, x0); keywords may follow.
>>> jc.minimize(total, x2, learning_rate=0.1)
TypeError: minimize() got an unexpected keyword argument 'learning_rate': the rate belongs to the method: method=jaxcalc.methods.gradient_descent(learning_rate=...) or optax.NAME(...).
>>> jc.minimize(total, x2, rtol=1e-3)
TypeError: minimize() got an unexpected keyword argument 'rtol': ftol= and xtol= are relative, to the value and to x; gtol= is about the gradient.
>>> jc.minimize(total, (1.0, 2.0))
TypeError: total, at FILE:LINE: x is a tuple, since the start, or the point, is one, and a tuple is no array. Give it as one array, jnp.array([...]), or take the entries out of x: a, b = x.
>>> jc.minimize(total, {'a': 1.0})
TypeError: total, at FILE:LINE: x is a dict, since the start, or the point, is one, and a dict is no array. Give it as one array, jnp.array([...]), or take the entries out of x: x['name'].
>>> jc.minimize(total, x2, gtol='1e-3')
TypeError: gtol must be a real number of at least 0; it is '1e-3'.
>>> jc.minimize(total, x2, maxiter=True)
TypeError: maxiter must be a real number of at least 0; it is True.
>>> jc.minimize(total, x2, lanes=3)
TypeError: minimize() got an unexpected keyword argument 'lanes': it belongs to minimize_many, for many problems; one problem of it is x0[None], with args[None].
>>> jc.minimize(total, x2, certify=True)
TypeError: minimize() got an unexpected keyword argument 'certify': write jaxcalc.certify(fun, result.x, args).
>>> jc.minimize(total, x2, n_jobs=4)
TypeError: minimize() got an unexpected keyword argument 'n_jobs': lanes= says how many problems are stepped side by side, devices= on which devices.
>>> jc.minimize(total, x2, x2)
TypeError: total() takes 1 positional argument but 2 were given. It was called with 2 arguments. What total takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: total(x, ...). Where total takes x alone, leave args out: tolerances and other options are given by name.

## minimize_many
>>> jc.minimize_many(total, 1.0)
ValueError: x0 is a single number; minimize_many takes starts with a leading problem axis, shape (N, ...). For one problem use minimize, or x0[None].
>>> jc.minimize_many(rosenbrock, table, (x2,))
ValueError: args[0] has shape (2,), but x0 holds 4 problems: its leading axis must be 4. What all problems have in common goes into shared.
>>> jc.minimize_many(total, table, lanes=0)
ValueError: lanes must be a whole number of at least 1, but is 0.
>>> jc.minimize_many([total, total], table)
ValueError: fun is a list of 2 functions, so x0 must be a list of 2, not ndarray.
>>> jc.minimize_many(total, table, bounds=(np.zeros(5), None))
ValueError: bounds[0] has shape (5,) and dtype float64; it must be real and broadcast against x, which has shape (4, 2).
>>> jc.minimize_many(rosenbrock, table)
TypeError: rosenbrock() missing 1 required positional argument: 'b'. It was called with 1 argument. What rosenbrock takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: rosenbrock(x, ...).
>>> jc.minimize_many(total, table, starts=7)
ValueError: with starts=7 x0 holds 7 starts of each problem: its leaves have shape (N, 7, ...); x0 has shape (4, 2).
>>> jc.minimize_many(rosenbrock, x2, 1.0)
ValueError: args[0] has shape (), but x0 holds 2 problems: its leading axis must be 2. What all problems have in common goes into shared.
>>> jc.minimize_many(x2, total)
TypeError: fun is a ndarray: the function comes first, minimize_many(fun, x0).
>>> jc.minimize_many(lambda x: x[0] ** 2, x2)
TypeError: <lambda>, at FILE:LINE: a single number has no entries, such as x[0]. Functions of one variable, as in integrate, derivative, critical_points and solvers whose x0 is a number, are given single numbers: write x itself. Of several variables there are integrate_box, gradient and all_critical_points. To minimize_many an x0 of shape (n,) is n problems of one number each: one start of n numbers is x0[None].

## least_squares
>>> jc.least_squares(3.0, x2)
TypeError: fun must be a function; it is a float.
>>> jc.least_squares(text, x2)
TypeError: fun must return an array of residuals, one for each point; it returned a str. Join several arrays with jnp.concatenate; use jax.numpy in fun.
>>> jc.least_squares(misfit, x2, loss='lineal')
ValueError: loss must be 'linear' or 'soft_l1' or 'huber' or 'cauchy' or 'arctan'; it is 'lineal'.
>>> jc.least_squares(misfit, x2, method='bfgs')
ValueError: there is no method 'bfgs'; there are 'levenberg_marquardt'.
>>> jc.least_squares(misfit, x2, maxiter=-1)
ValueError: maxiter must be at least 0; it is -1.
>>> jc.least_squares(misfit, x2, weights=np.ones(7))
ValueError: weights have shape (7,) for each problem, but fun returns residuals of shape (3,): give one weight for each residual. What differs between problems has a leading problem axis N.
>>> jc.least_squares(x2, misfit)
TypeError: fun is a ndarray: the function comes first, least_squares(fun, x0).
>>> jc.least_squares(misfit, x2, tol=1e-3)
TypeError: least_squares() got an unexpected keyword argument 'tol': ftol= is about the cost, xtol= about x, gtol= about the gradient; the defaults suit most data.
>>> jc.least_squares(misfit, p0=x2)
TypeError: least_squares() missing 1 required positional argument: 'x0'. Write least_squares(fun, x0); keywords may follow.
>>> jc.least_squares(misfit, x2, loss='huber', f_scale='a')
TypeError: f_scale must be a real number or an array of real numbers; it is 'a'.

## least_squares_many
>>> jc.least_squares_many(misfit, 1.0)
ValueError: x0 is a single number; least_squares_many takes starts with a leading problem axis, shape (N, ...). For one problem use least_squares, or x0[None].
>>> jc.least_squares_many(misfit, table, loss='huber', f_scale=0.0)
ValueError: f_scale must be positive; it is 0.0.
>>> jc.least_squares_many(misfit, table, bounds=(1.0, 0.0))
ValueError: bounds: lower must be at most upper; at x[0] lower is 1.0 and upper is 0.0.
>>> jc.least_squares_many(misfit, table, weights=np.ones(7))
ValueError: weights have shape (7,), but there are 4 problems: the leading axis must be 4, or 1 for weights that all problems share, as weights[None].
>>> jc.least_squares_many(residual, table)
TypeError: residual() missing 1 required positional argument: 'y'. It was called with 1 argument. What residual takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: residual(x, ...).

## curve_fit
>>> jc.curve_fit(line, t, t[:3], [1.0, 1.0])
ValueError: model must return one value for each point: ydata has 3 points for each fit, but line(xdata, *p) returned an array of shape (8,).
>>> jc.curve_fit(line, t, t, [1.0])
ValueError: line has 2 parameters, a, b, but p0 has shape (1,): it must have shape (2,).
>>> jc.curve_fit(3.0, t, t)
TypeError: model must be a function; it is a float.
>>> jc.curve_fit(line, t, t, [1.0, 1.0], sigma=np.zeros(8))
ValueError: sigma must be positive; at point 0 it is 0.0. A point that shall not count is left out by mask; an exact one gets a sigma far below the others.
>>> jc.curve_fit(line, t, with_nan, [1.0, 1.0], nan_policy='drop')
ValueError: nan_policy must be 'propagate' or 'omit' or 'raise'; it is 'drop'.
>>> jc.curve_fit(line, t, t, [1.0, 1.0], method='lmm')
ValueError: there is no method 'lmm'; there are 'levenberg_marquardt'.
>>> jc.curve_fit(line, t, t, [1.0, 1.0], bounds=([0, 0, 0], [1, 1, 1]))
ValueError: bounds[0] has shape (3,) and dtype float64; it must be real and broadcast against x, which has shape (1, 2).
>>> jc.curve_fit(t, t, line)
TypeError: model is a ndarray: the function comes first, curve_fit(model, xdata, ydata, p0).
>>> jc.curve_fit(line, t, t, x0=[1.0, 1.0])
TypeError: curve_fit() got an unexpected keyword argument 'x0': the start is the p0 of curve_fit and the x0 of least_squares.
>>> jc.curve_fit(line, t, t, [1.0, 1.0], yerr=t)
TypeError: curve_fit() got an unexpected keyword argument 'yerr': write sigma=, the standard errors of the data.
>>> jc.curve_fit(lambda x, p: p[0] + p[1] * x, t, t, [1.0, 1.0])
ValueError: <lambda> has 1 parameter, p, but p0 has shape (2,): it must have shape (1,). A model is called as model(x, *p), x first; for a vector p write lambda x, *p: model(x, p).
>>> jc.curve_fit(line, t, t, [1.0, 1.0], mask=np.zeros(8, bool))
ValueError: there are 0 points that count, which cannot determine 2 parameters: give more data, or fix parameters by bounds with lower = upper.
>>> jc.curve_fit(line, t, t, [1.0, 1.0], mask='x')
ValueError: mask must be booleans in the shape of ydata or of one fit's, (8,), True for points that count; it has dtype <U1 and shape ().
>>> jc.curve_fit('gaussian_1d', t, t)
TypeError: model must be a function; it is 'gaussian_1d': ready curves are functions too, such as jaxcalc.models.gaussian_1d, without quotes.
>>> jc.curve_fit(lambda x: x, t, t, [1.0])
TypeError: <lambda> has no parameters to fit: a model is called as model(x, *p), x first, with a number for each parameter.
>>> jc.curve_fit(line, t, t, [1j, 1.0])
TypeError: p0 has dtype complex128, but must be real; write the function in terms of the real and the imaginary part, two real arguments
>>> jc.curve_fit(line, None, t, [1.0, 1.0])
TypeError: line, at FILE:LINE: argument 1 is None, which is no array. Give an array, or numbers one by one.
>>> jc.curve_fit(line, t, None, [1.0, 1.0])
TypeError: ydata must be an array of numbers; it is a NoneType.

## l1
>>> jc.minimize(total, x2, terms=0.1)
TypeError: terms is what jaxcalc.l1(penalty) returns, or a list of that; it is a float.
>>> jc.minimize(total, x2, terms=jc.l1(-0.1))
ValueError: the penalty of l1 must be at least 0 and finite; it is -0.1.
>>> jc.minimize(total, x2, terms=jc.l1([1.0, 2.0, 3.0]))
ValueError: the penalty of l1 has shape (3,) and dtype float64; it must be real and broadcast against x, which has shape (2,).
>>> jc.minimize(total, x2, terms=jc.l1(math.inf))
ValueError: the penalty of l1 must be at least 0 and finite; it is inf.
>>> jc.minimize_many(total, jnp.ones((2, 2)), terms=jc.l1("a"))
ValueError: the penalty of l1 has shape () and dtype <U1; it must be real and broadcast against x, which has shape (2, 2).

## standard_errors
>>> jc.standard_errors(x2, total)
TypeError: result is what minimize or minimize_many returned, not a ndarray.
>>> jc.standard_errors((x2, x2), total)
TypeError: result is what minimize or minimize_many returned, not a tuple.
>>> jc.standard_errors(found, 3.0)
TypeError: fun must be a function; it is a float.
>>> jc.standard_errors(found, lambda x: x)
TypeError: fun must return one real number, an array of shape (); it returned an array of shape (2,) and dtype float64. Reduce a vector with jnp.sum or jnp.mean, a complex number with jnp.real or jnp.abs. (fun is written for one problem; the problem axis is not part of its x.)
>>> jc.standard_errors(found, total, scores=3.0)
ValueError: scores must hold one gradient of length 2 for each observation, (m, 2), or be a function that returns the m terms of fun; for each problem they have shape ().
>>> jc.standard_errors(found, total, scores='a')
TypeError: scores is 'a', not a number or an array.

## bootstrap
>>> jc.bootstrap(3.0)
TypeError: fit is what curve_fit returned, or a function fun(x, weights, *shared); it is a float.
>>> jc.bootstrap(total, x2, n_resamples=10)
TypeError: bootstrap() got an unexpected keyword argument 'n_resamples': write resamples=.
>>> jc.bootstrap(total)
TypeError: bootstrap of a function needs x0, the start of its minimisation.
>>> jc.bootstrap(total, x2, (t,), resamples=0)
ValueError: resamples must be a whole number of at least 1, but is 0.
>>> jc.bootstrap(total, x2, (t,), level=95)
ValueError: level is a probability between 0 and 1, such as 0.95; it is 95.
>>> jc.bootstrap(total, x2, (t,), method='bcd')
ValueError: method must be 'bca' or 'percentile'; it is 'bcd'.
>>> jc.bootstrap(total, x2, (t,), resampling='cases')
ValueError: resampling must be 'case' or 'residual'; it is 'cases'.
>>> jc.bootstrap(found)
TypeError: fit is what curve_fit returned, or a function fun(x, weights, *shared); it is a OptimizeResult. The function is not in it: write bootstrap(fun, result.x, shared).
>>> jc.bootstrap(total, x2, (t,), seed='a')
TypeError: seed must be a non-negative int, such as 1, but is 'a' of type str.
>>> jc.bootstrap(total, x2, (t,), level='a')
ValueError: level is a probability between 0 and 1, such as 0.95; it is 'a'.

## gradient_descent
>>> jc.gradient_descent(3.0, x2, 0.1, 5)
TypeError: fun must be a function; it is a float.
>>> jc.gradient_descent(lambda x: x, x2, 0.1, 5)
TypeError: fun must return one real number, an array of shape (); it returned an array of shape (2,) and dtype float64. Reduce a vector with jnp.sum or jnp.mean, a complex number with jnp.real or jnp.abs. (fun is written for one problem; the problem axis is not part of its x.)
>>> jc.gradient_descent(total, x2, 0.1, -1)
ValueError: steps must be a non-negative int, such as 1, but is -1.
>>> jc.gradient_descent(total, x2, '0.1', 5)
TypeError: learning_rate must be a real number or an array of real numbers; it is '0.1'.
>>> jc.gradient_descent(total, x2, 0.1, 5.5)
TypeError: steps must be a non-negative int, such as 1, but is 5.5 of type float.
>>> jc.gradient_descent(total, x2, lr=0.1, steps=3)
TypeError: gradient_descent() got an unexpected keyword argument 'lr': write learning_rate=.
>>> jc.gradient_descent(total, x2, 0.1)
TypeError: gradient_descent() missing 1 required positional argument: 'steps'. Write gradient_descent(fun, x0, learning_rate, steps).

## multistart
>>> jc.multistart(total, (0.0, 1.0), starts='many')
ValueError: starts is a number of points, a whole number such as 1024, or 'auto', or the starts themselves, an array (N, ...) with a row for each; it is 'many'.
>>> jc.multistart(total, (0.0, 1.0), canonical=3)
TypeError: canonical must be a function; it is a int.
>>> jc.multistart(total, (0.0, 1.0), many=3)
TypeError: many is True or False, whether args have a leading axis of problems; it is 3.
>>> jc.multistart(3.0, (0.0, 1.0))
TypeError: fun must be a function; it is a float.
>>> jc.multistart(total, None)
TypeError: bounds is a pair (lower, upper) of arrays in the form of x, or a scipy.optimize.Bounds; it is None. Without a box, give starts of your own as an array (N, ...).
>>> jc.multistart(total, ([0.0, 0.0], [1.0, math.inf]))
ValueError: the box is infinite, from [0. 0.] to [ 1. inf]: starts cannot be spread over it. Give a finite box, or starts of your own, drawn from a distribution that suits: starts=rng.normal(size=(1024, n)).
>>> jc.multistart(total, [(0, 1), (0, 1), (0, 1)])
TypeError: bounds is a pair (lower, upper) or a scipy.optimize.Bounds, not a list of length 3. For pairs (low, high), one for each variable, write bounds=(numpy.array([0, 0, 0]), numpy.array([1, 1, 1])).
>>> jc.multistart(total, ([0.0, 0.0], [1.0, 1.0]), starts=10.5)
TypeError: starts is a number of points, a whole number such as 1024, or 'auto', or the starts themselves, an array (N, ...) with a row for each; it is 10.5.
>>> jc.multistart(total, ([0.0, 0.0], [1.0, 1.0]), starts=0)
ValueError: starts must be a whole number of at least 1, but is 0.
>>> jc.multistart(total, (-x2, x2), n_starts=64)
TypeError: multistart() got an unexpected keyword argument 'n_starts': write starts=.
>>> jc.multistart(total, (-x2, x2), seed=x2)
TypeError: seed is a whole number, such as 0; it is a ndarray. Nothing is drawn by jax.random.
>>> jc.multistart(total, (-x2, x2), 64)
TypeError: total() takes 1 positional argument but 2 were given. It was called with 2 arguments. What total takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: total(x, ...). Where total takes x alone, leave args out: tolerances and other options are given by name.
>>> jc.multistart((-x2, x2), total)
TypeError: fun is a tuple: the function comes first, multistart(fun, (lower, upper)).
>>> jc.multistart(total, (-x2, x2), starts=np.ones((4, 3)))
ValueError: bounds[0] has shape (2,) and dtype float64; it must be real and broadcast against x, which has shape (3,). Here x is a row of starts, which have the shape (4, 3).
>>> jc.multistart(total, (-x2, x2), starts=np.ones((0, 2)))
ValueError: starts is a number of points, a whole number such as 1024, or 'auto', or the starts themselves, an array (N, ...) with a row for each; it is array([], shape=(0, 2), dtype=float64).
>>> jc.multistart(total, (-x2, x2), seed=-1)
ValueError: seed must be a non-negative int, such as 1, but is -1.
>>> jc.multistart(total, (['a', 'b'], [1, 1]))
TypeError: x0 (bounds) is an array of dtype <U1, not of numbers; .astype(float) makes numbers of what stands for them.

## all_critical_points
>>> jc.all_critical_points(3.0, ([0.0], [1.0]))
TypeError: fun must be a function, or a list of functions; it is a float.
>>> jc.all_critical_points(total, None)
TypeError: bounds is a pair (lower, upper) of arrays in the form of x, or a scipy.optimize.Bounds; it is None. Without a box, give starts of your own as an array (N, ...).
>>> jc.all_critical_points(total, ([0.0, 0.0], [1.0, math.inf]))
ValueError: the box is infinite, from [0. 0.] to [ 1. inf]: starts cannot be spread over it. Give a finite box, or starts of your own, drawn from a distribution that suits: starts=rng.normal(size=(1024, n)).
>>> jc.all_critical_points(total, ([1.0], [0.0]))
ValueError: bounds: lower must be at most upper; at x[0] lower is 1.0 and upper is 0.0.
>>> jc.all_critical_points(total, ([0.0], [1.0]), starts=0)
ValueError: starts must be a whole number of at least 1, but is 0.

## minimize_stream
>>> jc.minimize_stream(total, table, memory(), chunk_size=0)
ValueError: chunk_size must be a whole number of at least 1, but is 0.
>>> jc.minimize_stream(3.0, table, memory())
TypeError: fun must be a function; it is a float.
>>> jc.minimize_stream(total, lambda first, last: table, memory())
ValueError: count, the number of problems, must be given where problems is a function.
>>> jc.minimize_stream(total, table, 3)
TypeError: store is a path, a ZarrStore or a MemoryStore, not a int.
>>> jc.minimize_stream(total, table, memory(), executor='process')
ValueError: executor is 'threads' or 'processes' or an Executor; it is 'process'.
>>> jc.minimize_stream(total, table)
TypeError: minimize_stream() missing 1 required positional argument: 'store'. Write minimize_stream(fun, problems, store); keywords may follow.
>>> jc.minimize_stream(total, [[1.0, 2.0], [3.0]], memory())
ValueError: problems holds a list with rows of different lengths, which is no array.
>>> jc.minimize_stream(total, np.array([['a', 'b']]), memory())
TypeError: problems hold an array of dtype <U1, not of numbers.
>>> jc.minimize_stream(total, lambda start: table, memory(), count=4)
TypeError: problems is called as problems(start, stop), but <lambda>(start) is not: too many positional arguments.
>>> jc.minimize_stream(rosenbrock, table, memory())
TypeError: rosenbrock() missing 1 required positional argument: 'b'. It was called with 1 argument. What rosenbrock takes after its first argument goes into args=(...), and what many problems have in common into shared=(...); where there is no args, fix it: lambda x: rosenbrock(x, ...).

## least_squares_stream
>>> jc.least_squares_stream(3.0, table, memory())
TypeError: fun must be a function; it is a float.
>>> jc.least_squares_stream(misfit, table, memory(), loss='lineal')
ValueError: loss must be 'linear' or 'soft_l1' or 'huber' or 'cauchy' or 'arctan'; it is 'lineal'.
>>> jc.least_squares_stream(misfit, table, memory(), workers=0)
ValueError: workers must be a whole number of at least 1, but is 0.
>>> jc.least_squares_stream(misfit, (table, t), memory())
ValueError: args[0] holds 8 problems, but x0 holds 4. What all problems have in common goes into shared.
>>> jc.least_squares_stream(misfit, 'no/such/file.npy', memory())
TypeError: problems is an array (N, ...) of starts, a tuple (x0, args), a mapping or a table with the entry 'x0', or a function chunk(start, stop) -> (x0, args); x0 is a str, which cannot be sliced by problem.

## curve_fit_stream
>>> jc.curve_fit_stream(3.0, (table, rows), memory(), xdata=t)
TypeError: model must be a function; it is a float.
>>> jc.curve_fit_stream(line, table, memory(), xdata=t)
TypeError: problems must be (p0, ydata), the starts (N, n) and the data (N, m), in the forms of minimize_stream; it is one array of shape (4, 2). One start for all is numpy.broadcast_to(p0, (N, n)).
>>> jc.curve_fit_stream(line, (table, rows[:3]), memory(), xdata=t)
ValueError: problems must be (p0, ydata), the starts (N, n) and the data (N, m) of equally many fits; they have the shapes (4, 2) and (3, 8). One start for all is numpy.broadcast_to(p0, (N, n)).
>>> jc.curve_fit_stream(line, (table, rows), memory(), xdata=t[:3])
ValueError: model must return one value for each point: ydata has 8 points for each fit, but line(xdata, *p) returned an array of shape (3,).
>>> jc.curve_fit_stream(line, (table, rows), memory(), xdata=t, rerun='all')
ValueError: rerun must be 'failures'; it is 'all'.
>>> jc.curve_fit_stream(line, (table, rows), memory())
TypeError: curve_fit_stream() missing 1 required keyword-only argument: 'xdata'. Write curve_fit_stream(model, (p0, ydata), store, xdata=xdata); keywords may follow.
>>> jc.curve_fit_stream(line, [table, rows], memory(), xdata=t)
TypeError: problems must be (p0, ydata), the starts (N, n) and the data (N, m), in the forms of minimize_stream; it is a list. One start for all is numpy.broadcast_to(p0, (N, n)).
>>> jc.curve_fit_stream(line, (table, rows), memory(), xdata='a')
TypeError: xdata is 'a', not a number or an array.

## open_results
>>> jc.open_results('no/such/store')
StoreError: FOLDER/no/such/store is no store of jaxcalc: it does not exist. A store is the folder that minimize_stream, least_squares_stream or curve_fit_stream was given as store.
>>> jc.open_results(3)
TypeError: expected str, bytes or os.PathLike object, not int
>>> jc.open_results('tests')
StoreError: FOLDER/tests is no store of jaxcalc: it holds something else. A store is the folder that minimize_stream, least_squares_stream or curve_fit_stream was given as store.
>>> jc.open_results('tests/data')
StoreError: FOLDER/tests/data is no store of jaxcalc: it holds something else. A store is the folder that minimize_stream, least_squares_stream or curve_fit_stream was given as store.
>>> jc.open_results('.')
StoreError: FOLDER is no store of jaxcalc: it holds something else. A store is the folder that minimize_stream, least_squares_stream or curve_fit_stream was given as store.

## sgd
>>> jc.sgd('0.1')
TypeError: learning_rate must be a number or a schedule, a function of the step; it is '0.1'.
>>> jc.sgd(None)
TypeError: learning_rate must be a number or a schedule, a function of the step; it is None.
>>> jc.sgd(0.1, momentum=-0.9)
ValueError: momentum must be at least 0; it is -0.9.
>>> jc.sgd(0.1, weight_decay=0.1).update(x2, jc.sgd(0.1).init(x2))
ValueError: weight_decay needs the parameters: call update(gradients, state, params).
>>> jc.sgd(0.1, weight_decay=-1.0)
ValueError: weight_decay must be at least 0; it is -1.0.

## compare_optimizers
>>> jc.compare_optimizers(3.0, init, t, {'sgd': jc.sgd}, **study)
TypeError: cost is a function of (params, batch), not a float.
>>> jc.compare_optimizers(cost, init, t, [jc.sgd], **study)
ValueError: optimizers must name at least one, as {'adam': optax.adam}, a function of the rate; not [<function sgd>].
>>> jc.compare_optimizers(cost, init, t, {'sgd': jc.sgd(0.1)}, **study)
TypeError: an optimizer is a function learning_rate -> GradientTransformation, such as optax.adam itself; this one has its rate already. Write optax.adam for optax.adam(1e-3), and for one with options lambda rate: optax.adam(rate, b1=0.8), once.
>>> jc.compare_optimizers(cost, init, t, {'sgd': jc.sgd}, **study | {'batch_size': 100})
ValueError: batch_size is 100, but there are 8 samples: it must be at most 8.
>>> jc.compare_optimizers(cost, init, t, {}, **study)
ValueError: optimizers must name at least one, as {'adam': optax.adam}, a function of the rate; not {}.
>>> jc.compare_optimizers(cost, init, t, {'sgd': jc.sgd}, lr=0.1)
TypeError: compare_optimizers() got an unexpected keyword argument 'lr': write learning_rates=, all that are to be tried.
>>> jc.compare_optimizers(lambda p: 0.0, init, t, {'sgd': jc.sgd}, **study)
TypeError: cost is called as cost(params, batch), but <lambda>(p) is not: too many positional arguments.
>>> jc.compare_optimizers(cost, lambda: 0.0, t, {'sgd': jc.sgd}, **study)
TypeError: init is called as init(key), but <lambda>() is not: too many positional arguments.
>>> jc.compare_optimizers(lambda p, data: p[0] - data, init, t, {'sgd': jc.sgd}, **study)
TypeError: cost must return one real number, an array of shape (); it returned an array of shape (8,) and dtype float64. Reduce over the samples of the batch with jnp.mean.
>>> jc.compare_optimizers(cost, init, t, {'adam': 'adam'}, **study)
ValueError: an optimizer is a function learning_rate -> GradientTransformation, such as optax.adam itself, or the name of a method, 'bfgs', 'conjugate_gradient', 'gradient_descent', 'lbfgs', 'momentum', 'steepest_descent', 'trust_ncg', 'trust_region'; it is 'adam'. Write optax.adam for 'adam'.

## learning_rate_range_test
>>> jc.learning_rate_range_test(3.0, init, t, jc.sgd, batch_size=2)
TypeError: cost is a function of (params, batch), not a float.
>>> jc.learning_rate_range_test(cost, init, t, jc.sgd(0.1), batch_size=2)
TypeError: an optimizer is a function learning_rate -> GradientTransformation, such as optax.adam itself; this one has its rate already. Write optax.adam for optax.adam(1e-3), and for one with options lambda rate: optax.adam(rate, b1=0.8), once.
>>> jc.learning_rate_range_test(cost, init, t, jc.sgd, batch_size=0)
ValueError: batch_size must be a whole number of at least 1, but is 0.
>>> jc.learning_rate_range_test(cost, init, t, jc.sgd, batch_size=2, steps=1)
ValueError: steps must be a whole number of at least 2, but is 1.
>>> jc.learning_rate_range_test(cost, init, t, jc.sgd, batch_size=2, lowest=1.0, highest=0.1)
ValueError: the learning rates must be 0 < lowest < highest; they are 1.0 and 0.1.
>>> jc.learning_rate_range_test(cost, init, t, 'sgd', batch_size=2)
ValueError: an optimizer is a function learning_rate -> GradientTransformation, such as optax.adam itself; it is 'sgd'. Write optax.sgd for 'sgd'.
>>> jc.learning_rate_range_test(cost, init, t, jc.sgd, batch_size=2, lowest='a')
TypeError: lowest must be one number above 0; it is 'a'.

## loss_landscape
>>> jc.loss_landscape(3.0, x2, t)
TypeError: cost must be a function; it is a float.
>>> jc.loss_landscape(cost, x2, t, dimensions=3)
ValueError: dimensions must be 1 or 2; it is 3.
>>> jc.loss_landscape(cost, table, t, points=1)
ValueError: points must be a whole number of at least 2, but is 1.
>>> jc.loss_landscape(cost, x2, t)
ValueError: params has no filters: none of its arrays has two dimensions or more. A direction is scaled by the lengths of filters, which are rows of matrices: give a vector of weights as weights[None].
>>> jc.loss_landscape(cost, table, t, span=-1.0)
ValueError: span must be one number above 0; it is -1.0.
>>> jc.loss_landscape(lambda p, data: p, table, t)
TypeError: cost must return one real number, an array of shape (); it returned an array of shape (4, 2) and dtype float64.
>>> jc.loss_landscape(cost, table, t, filter_axis='a')
TypeError: filter_axis is the number of an axis, such as 0 or -1; it is 'a'.

## network
>>> jc.network.accuracy(jnp.ones((4, 3)), jnp.array([0, 1, 2, 7]))
ValueError: labels must be classes from 0 to 2, one for each of the 3 logits; they run from 0 to 7.
>>> jc.network.accuracy(jnp.ones((2, 3)), jnp.array([0.5, 1.0]))
TypeError: labels are classes, which are integers; they have dtype float64: write labels.astype(int), or jnp.argmax(labels, axis=-1) where they are probabilities of the classes.
>>> jc.network.mlp((3,))
ValueError: sizes must be at least two whole numbers, of inputs and outputs; it is (3,).
>>> jc.network.mlp((3, 2), activation='rellu')
ValueError: activation is 'rellu'; it must be a function or one of 'relu', 'sigmoid', 'tanh', 'gelu', 'silu', 'softplus', 'identity'.
>>> jc.network.supervised(3.0, jc.network.cross_entropy)
TypeError: apply must be a function; it is a float.
>>> jc.network.cross_entropy(np.zeros((4, 3)), np.array([0, 1, 2, 3]))
ValueError: labels must be classes from 0 to 2, one for each of the 3 logits; they run from 0 to 3.
>>> jc.network.read_idx('no/such/file')
FileNotFoundError: [Errno 2] No such file or directory: 'no/such/file'
>>> jc.network.mlp((2, 1)).apply(x2, x2)
TypeError: params is an array: the parameters, as init(key) makes them, come first, apply(params, x).
>>> jc.network.mlp((2, 1)).init(0)
TypeError: key is a random key of JAX: init(jax.random.key(0)).
>>> jc.network.mean_squared_error('a', x2)
TypeError: outputs is 'a', not a number or an array.
>>> jc.network.supervised(cost, cost, l2='a')
TypeError: l2 must be one number of at least 0; it is 'a'.

## models
>>> jc.models.gaussian_1d.guess(t, t[:3])
ValueError: x and y must hold the same m points, x of shape (m,) and y of shape (m,) or (N, m); they have the shapes (8,) and (3,).
>>> jc.models.gaussian_1d.guess(t, rows[:, :3])
ValueError: x and y must hold the same m points, x of shape (m,) and y of shape (m,) or (N, m); they have the shapes (8,) and (4, 3).
>>> jc.curve_fit(jc.models.gaussian_1d, t[:2], t[:2])
ValueError: there are 2 points, which cannot determine 4 parameters: give more data, or fix parameters by bounds with lower = upper.
>>> jc.models.gaussian_1d(t, 1.0)
TypeError: gaussian_1d() missing 3 required positional arguments: 'center', 'width', and 'offset'
>>> jc.curve_fit(jc.models.gaussian_1d, t, t, [1.0])
ValueError: gaussian_1d has 4 parameters, amplitude, center, width, offset, but p0 has shape (1,): it must have shape (4,).
>>> jc.models.nothing
AttributeError: jaxcalc.models has no 'nothing'. dir(jaxcalc.models) lists its names.
>>> jc.models.gaussian_1d.guess(t)
TypeError: guess() missing 1 required positional argument: 'y'. Write model.guess(x, y).
>>> jc.models.gaussian_1d.guess('a', t)
TypeError: x must be a real number or an array of real numbers; it is 'a'.
>>> jc.models.gaussian_1d.guess([], [])
ValueError: x and y must hold the same m points, x of shape (m,) and y of shape (m,) or (N, m); they have the shapes (0,) and (0,).

## xarray
>>> jc.xarray.curve_fit(rows, 't', line, [1.0, 1.0])
TypeError: da is a xarray.DataArray, not a ndarray.
>>> jc.xarray.curve_fit(labelled, 'time', line, [1.0, 1.0])
ValueError: there is no dimension 'time'; the array has 'pixel', 't'.
>>> jc.xarray.curve_fit(labelled, 't', line, [1.0])
ValueError: p0 is 2 numbers, for a, b; it has shape (1,).
>>> jc.xarray.curve_fit(labelled, 't', 3.0, [1.0, 1.0])
TypeError: model must be a function; it is a float.
>>> jc.xarray.minimize(labelled, 'time', total, [1.0])
ValueError: there is no dimension 'time'; the array has 'pixel', 't'.

## methods
>>> jc.methods.lbfgs(history=0)
ValueError: history must be a whole number of at least 1, but is 0.
>>> jc.methods.gradient_descent(-0.1)
ValueError: learning_rate must be one number of at least 0; it is -0.1.
>>> jc.methods.gradient_descent('fast')
TypeError: learning_rate must be one number of at least 0; it is 'fast'.
>>> jc.methods.gradient_descent([0.1, 0.2])
TypeError: learning_rate must be one number of at least 0; it is [0.1, 0.2].
>>> jc.methods.momentum(decay=1.5)
ValueError: decay must be one number of at least 0 and below 1; it is 1.5.
>>> jc.methods.bfgs(first_step=0)
ValueError: first_step must be one number above 0; it is 0.
>>> jc.methods.levenberg_marquardt(math.nan)
ValueError: first_radius must be one number above 0; it is nan.
>>> jc.minimize(total, x2, method='gradient')
ValueError: there is no method 'gradient'; there are 'bfgs', 'conjugate_gradient', 'gradient_descent', 'lbfgs', 'momentum', 'steepest_descent', 'trust_ncg', 'trust_region'. Did you mean 'gradient_descent'?
>>> jc.minimize(total, x2, method=jc.methods.bfgs)
TypeError: method is a name, what a factory in jaxcalc.methods returns, or an optax.GradientTransformation, not a function. Call it: bfgs(...) makes the method or optimiser.
>>> jc.minimize(total, x2, method=jc.methods.levenberg_marquardt())
TypeError: LevenbergMarquardt is no method for this kind of problem; there are 'bfgs', 'conjugate_gradient', 'gradient_descent', 'lbfgs', 'momentum', 'steepest_descent', 'trust_ncg', 'trust_region'.
>>> jc.minimize(total, x2, method=3)
TypeError: method is a name, what a factory in jaxcalc.methods returns, or an optax.GradientTransformation, not a int.

## plots
>>> jc.plots.curve(3, 0, 1)
TypeError: f must be a function; it is a int.
>>> jc.plots.curve(square, 1, 0)
ValueError: lower must be less than upper; they are 1 and 0.
>>> jc.plots.curve(total, x2, x3)
ValueError: lower and upper must be numbers; they have the shapes (2,) and (3,).
>>> jc.plots.curve(square, 0, 1, ax=[1])
TypeError: ax must be one matplotlib Axes, such as plt.gca(); it is of type list.
>>> jc.plots.descent(x2, square)
TypeError: fun is a ndarray: the function comes first, plots.descent(fun, x).
>>> jc.plots.descent_on_contours(total, x3)
ValueError: x must be the points of one path in two variables, shape (steps + 1, 2); it has (3,).
>>> jc.plots.gradient_field(total, -1, 1)
ValueError: lower and upper must hold two numbers each, the smallest and the largest values of the two variables; they have the shapes () and ().
>>> jc.plots.convergence(x2)
TypeError: result must be what minimize_many or another solver returned, not a ndarray.
>>> jc.plots.parameter_map(x2)
ValueError: values must be an image of shape (rows, columns); it has shape (2,). Fits of all pixels in one axis become an image by popt[:, k].reshape(rows, columns).
>>> jc.plots.fit(x2, x2, x2)
TypeError: fit must be what curve_fit returns, a CurveFitResult; it is of type ndarray.
>>> jc.plots.curve(square, (0, 1))
TypeError: curve() missing 1 required positional argument: 'upper'. Write plots.curve(f, lower, upper); keywords may follow.
>>> jc.plots.curve(square, 0, 'a')
TypeError: upper must be a real number or an array of real numbers; it is 'a'.
>>> jc.plots.curve(sine, 0, 1)
TypeError: sine, at FILE:LINE: float(), int(), .item() and the functions of math ask for a number, which is not known while JAX traces. Use jax.numpy: jnp.exp for math.exp, and x itself for float(x).
>>> jc.plots.curve(lambda x: jnp.stack([x, x]), 0, 1)
TypeError: <lambda> must return one real number, an array of shape (); it returned an array of shape (2,) and dtype float64. A picture shows one number at each point.
>>> jc.plots.curve(square, 0, 1, area=0.5)
ValueError: area must be two numbers, (lower, upper); it has shape ().
>>> jc.plots.parameter_map('a')
TypeError: values must be a real number or an array of real numbers; it is 'a'.
>>> jc.plots.parameter_map(rows, limits=(0,))
ValueError: limits must be two numbers, (lower, upper); it has shape (1,).
>>> jc.plots.loss_curves([1.0, 2.0])
TypeError: losses must be a dict with a name for each entry; it is a list.
>>> jc.plots.losses_by_rate({'sgd': [1.0, 2.0, 3.0]})
ValueError: finals must hold a pair (rates, losses) for each optimiser.
>>> jc.plots.landscape(total, x2, x2)
TypeError: landscape() takes 2 positional arguments but 3 were given. Write plots.landscape(along, loss), what loss_landscape returns as its along and loss; keywords may follow.

## results
>>> found[1:3]
TypeError: this is the result of one problem, which has no length; minimize_many returns batches. Its fields have names: result.x, result.fun.
>>> failed.check()
RuntimeError: 1 of 1 problems did not succeed:
maxiter was reached
>>> found['hess']
KeyError: "a result has no 'hess'; it has x, fun, jac, status, nit, nfev, aux, history, nhev, certificate, agreed. Here hessian(fun)(result.x) computes it."
>>> found[0]
TypeError: this is the result of one problem, which has no length; minimize_many returns batches. Its fields have names: result.x, result.fun.
>>> jax.jit(lambda r: r.message)(found)
TypeError: message needs the values of the result, which are not known under jax.jit, jax.vmap and jax.grad. Return the result from the transformed function and ask there; inside, use its codes, such as status or kind.
>>> found.hess_inv
AttributeError: a result has no 'hess_inv'; it has x, fun, jac, status, nit, nfev, aux, history, nhev, certificate, agreed. Here standard_errors(result, fun, args) holds a covariance.
>>> found.njev
AttributeError: a result has no 'njev'; it has x, fun, jac, status, nit, nfev, aux, history, nhev, certificate, agreed. Here nfev counts evaluations of value and gradient together.
"""


def cases():
    """Pairs of a mistake and its message."""
    found = re.findall(r"^>>> (.*)\n((?:(?!>>>|##|\n).*\n)+)", MISTAKES, re.MULTILINE)
    return [(code, message.rstrip()) for code, message in found]


def message_of(code):
    """Returns the message of a mistake, without what differs from place to place."""
    try:
        done = eval(code, names())
    except Exception as error:
        said = f"{type(error).__name__}: {error}".replace(os.getcwd(), "FOLDER")
        said = re.sub(r" at 0x[0-9a-f]+", "", said)
        return re.sub(r", at \S+:\d+( \(.*?\))?:", ", at FILE:LINE:", said)
    return f"no error: {done!r:.80}"


@pytest.mark.parametrize(("code", "message"), cases(), ids=lambda value: value.replace("jc.", "", 1)[:60])
def test_the_message(code, message):
    assert message_of(code) == message


def test_every_public_function_has_its_five_mistakes():
    counts = dict.fromkeys(re.findall(r"^## (\w+)", MISTAKES, re.MULTILINE), 0)
    for block in MISTAKES.split("\n## ")[1:]:
        counts[block.split("\n")[0]] = block.count("\n>>> ")
    functions = {name for name in dir(jc) if callable(getattr(jc, name)) and not isinstance(getattr(jc, name), type)}
    assert functions <= set(counts)
    assert min(counts.values()) >= 5, {name: count for name, count in counts.items() if count < 5}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for head, _, block in (part.partition("\n") for part in MISTAKES.strip().split("\n\n")):
        print(head)
        for code in re.findall(r"^>>> (.*)$", block, re.MULTILINE):
            print(f">>> {code}\n{message_of(code)}", flush=True)
        print()
        sys.stdout.flush()
