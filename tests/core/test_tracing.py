"""What users are told whose functions JAX cannot trace, and that programs do not keep functions alive."""

import gc
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jaxcalc as jc
from jaxcalc.core import programs


def in_numpy(x):
    return np.exp(x).sum()


def in_scipy(x):
    return jnp.sum(scipy.special.gammaln(x + 2))


def in_math(x):
    return math.exp(x[0])


def in_python(x):
    return float(x[0]) ** 2


def branches(x):
    if x[0] > 0:
        return jnp.sum(x**2)
    return jnp.sum(x**4)


def counts(x):
    return sum(x[0] for _ in range(x[1].astype(int)))


def assigns(x):
    x[0] = 3.0
    return jnp.sum(x)


def fills(x):
    y = np.zeros(2)
    y[0] = x[0]
    return jnp.sum(y)


def masks(x):
    return jnp.sum(x[x > 0])


def calls_another(x):
    return 1 + in_numpy(x)


def never_ends(x):
    return jnp.sum(jax.lax.while_loop(lambda y: y[0] < 5, lambda y: 2 * y + 1, x))


CANNOT = [
    (in_numpy, "return np.exp", "jnp.exp for np.exp"),
    (in_scipy, "scipy.special.gammaln", "jax.scipy.special.gammaln"),
    (in_math, "math.exp", "jnp.exp for math.exp"),
    (in_python, "float", "x itself for float"),
    (branches, "if x", "jnp.where.*jax.lax.cond"),
    (counts, "range", "jax.lax.fori_loop with fixed counts"),
    (assigns, "x.0. = 3.0", "x.at.i..set"),
    (fills, "y.0. = x.0.", "jax.numpy"),
    (masks, "x > 0", "jnp.where.mask, x, 0"),
    (calls_another, "return np.exp", "jnp.exp for np.exp"),
]


@pytest.mark.parametrize(("fun", "line", "mend"), CANNOT)
def test_what_jax_cannot_trace_is_told_with_its_line(fun, line, mend):
    says = rf"(?s)^{fun.__name__}, at .*{Path(__file__).name}:\d+ \(.*{line}.*{mend}"
    with pytest.raises(TypeError, match=says) as told:
        jc.minimize(fun, jnp.zeros(2))
    assert told.value.__cause__ is not None


@pytest.mark.parametrize(
    "call",
    [
        lambda: jc.minimize_many([in_numpy, in_numpy], [jnp.zeros((3, 2))] * 2),
        lambda: jc.minimize(partial(in_numpy), jnp.zeros(2)),
        lambda: jax.jit(lambda x: jc.minimize(in_numpy, x).x)(jnp.zeros(2)),
        lambda: jc.certify(in_numpy, jnp.zeros(2)),
        lambda: jc.gradient_descent(in_numpy, jnp.zeros(2), 0.1, 2),
        lambda: jc.multistart(in_numpy, (jnp.zeros(2), jnp.ones(2)), starts=4),
        lambda: jc.gradient(in_numpy)(jnp.zeros(2)),
        lambda: jc.derivative(lambda x: np.sin(x))(1.0),
        lambda: jc.jacobian(lambda x: np.sin(x))(jnp.zeros(2)),
        lambda: jc.integrate(lambda x: np.sin(x), 0, 1),
        lambda: jax.jit(lambda b: jc.integrate(lambda x: np.sin(x), 0.0, b).value)(1.0),
        lambda: jc.critical_points(lambda x: np.sin(x), 0, 1),
    ],
)
def test_every_door_tells_it(call):
    with pytest.raises(TypeError, match=rf"{Path(__file__).name}:\d+ .*Use jax.numpy"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: jc.minimize(never_ends, jnp.ones(2)),
        lambda: jc.gradient(never_ends)(jnp.ones(2)),
        lambda: jc.hessian(never_ends)(jnp.ones(2)),
    ],
)
def test_loops_without_a_fixed_count(call):
    with pytest.raises(
        ValueError, match=rf"{Path(__file__).name}:\d+ .*jax.lax.scan, or jax.lax.fori_loop between two"
    ):
        call()


def test_errors_of_the_caller_s_own_stay_as_they_are():
    def refuses(x):
        raise TypeError("not today")

    with pytest.raises(TypeError, match=r"^not today"):
        jc.minimize(refuses, jnp.zeros(2))
    with pytest.raises(TypeError, match=r"positional argument: 'a'"):
        jc.minimize(lambda x, a: x, jnp.zeros(2))


def test_a_constant_is_a_function_too():
    assert jax.eval_shape(lambda: jc.minimize(lambda x: 3.0, jnp.zeros(2))).fun.shape == ()


def evaluate(functions, _, x):
    return functions[0](x)


def test_methods_of_objects_die_in_silence(monkeypatch):
    """An object and its class that are collected together, as at the interpreter's end."""
    heard: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)

    def solve():
        class Model:
            def cost(self, x):
                return jnp.sum((x - 1) ** 2)

        model: Any = Model()
        model.own = model.cost
        assert programs.compiled(evaluate, [model.cost])(None, jnp.ones(2)) == 0

    gc.collect()
    count = len(programs._programs)
    solve()
    jax.clear_caches()
    gc.collect()
    assert len(programs._programs) == count
    assert not heard
