"""The checks of arguments that every domain makes: what they accept, and what they say about the rest."""

import inspect
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.core.arguments import not_one_number, real_arrays, whole_number


def square(x):
    return jnp.sum(x**2)


def any_value(value: Any) -> Any:
    """What a type checker would refuse, handed over all the same."""
    return value


@pytest.mark.parametrize("value", [5, np.int64(5), np.uint8(5)])
def test_whole_numbers_of_python_and_numpy(value):
    assert whole_number("lanes", value, 1) == 5
    assert type(whole_number("lanes", value, 1)) is int


@pytest.mark.parametrize("value", [True, False, 5.0, np.float64(5), "5", None, np.bool_(True)])
def test_what_is_no_whole_number(value):
    with pytest.raises(TypeError, match="lanes must be a whole number of at least 1, but is"):
        whole_number("lanes", value, 1)


def test_a_whole_number_that_is_too_small():
    with pytest.raises(ValueError, match="lanes must be a whole number of at least 1, but is 0"):
        whole_number("lanes", np.int32(0), 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda number: jc.minimize_many(square, jnp.ones((3, 2)), lanes=number),
        lambda number: jc.minimize(square, jnp.ones(2), history=number),
        lambda number: jc.gradient_descent(square, jnp.ones(2), 0.1, number),
        lambda number: jc.derivative(jnp.sin, order=number)(1.0),
        lambda number: jc.taylor(jnp.sin, 0.0, number),
        pytest.param(
            lambda number: jc.multistart(square, (-jnp.ones(2), jnp.ones(2)), starts=8, maxfev=number),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_door_takes_numpy_s_numbers_and_no_truth_values(call):
    call(np.int64(2))
    with pytest.raises(TypeError, match=r"True of type bool"):
        call(any_value(True))


def functions_of_users():
    """Every function of the package's front and of its pictures."""
    for module in (jc, jc.plots, jc.rules):
        for name in dir(module):
            if inspect.isfunction(getattr(module, name)):
                yield pytest.param(getattr(module, name), id=name)


@pytest.mark.parametrize("function", list(functions_of_users()))
def test_a_call_without_arguments_is_told_how_to_write_it(function):
    with pytest.raises(TypeError, match=rf"Write .*{function.__name__}\("):
        function()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: any_value(jc.gradient)(square, 1.0), r"2 were given. Write gradient\(f\)\(x\)\."),
        (
            lambda: any_value(jc.derivative)(square, 1.0, 2),
            r"derivative\(f\)\(x\), or derivative\(f, order\)\(x\)",
        ),
        (
            lambda: jc.derivative(square, any_value(1.0)),
            r"float. The point comes later: derivative\(f, order",
        ),
        (
            lambda: any_value(jc.gradient(square))(1.0, 2.0),
            r"gradient\(f\)\(x\): x is one array or pytree; of sev",
        ),
        (lambda: jc.jacobian(lambda x, y: x * y)(1.0), r"Fix what else <lambda> takes, lambda x: <lambda>\(x, ...\)"),
        (
            lambda: jc.integrate(square, 0.0, 1.0, 1e-6),
            "leave args out: tolerances and other options are given",
        ),
        (lambda: jc.integrate(square, 0.0, 1.0, epsrel=any_value("a")), "epsrel must be a real number.*it is 'a'"),
        (lambda: jc.integrate(square, 0.0, 1.0, "a"), r"args\[0\] is 'a', not a number"),
        (lambda: jc.integrate(lambda x: "a", 0.0, 1.0), "f must return numbers and arrays alone; it returned 'a'"),
        (
            lambda: jc.minimize(any_value(lambda x: {1, 2}), 1.0),
            "fun must return numbers and arrays alone; it .* a set",
        ),
        (
            lambda: jc.minimize(square, np.array([1.0, 2.0], object)),
            r"dtype object, not of numbers; .astype\(float\)",
        ),
        (lambda: jc.minimize(lambda x, p: x * p, 1.0, {"p": 1.0}), "argument 2 is a dict, which is no array"),
        (lambda: jc.minimize(lambda x, p: x * p, 1.0, (None,)), "argument 2 is None, which is no array"),
        (lambda: jc.partial_derivative(lambda x, y: x * y, 0)(1.0, "a"), "argument 1 is 'a', not a number"),
    ],
)
def test_what_users_of_other_libraries_write(call, says):
    with pytest.raises(TypeError, match=says):
        call()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("models.gausian", "jaxcalc.models has no 'gausian'. Did you mean 'gaussian_.d' or 'gaussian_.d'?"),
        ("models.nothing", r"jaxcalc.models has no 'nothing'. dir\(jaxcalc.models\) lists its names."),
        ("minimise", "jaxcalc has no 'minimise'. Did you mean 'minimize' or"),
        ("streaming.Store", "Did you mean .*'MemoryStore'"),
        ("rules.quotiont", "Did you mean 'quotient'"),
    ],
)
def test_a_name_that_is_not_there(name, says):
    with pytest.raises(AttributeError, match=says):
        operator.attrgetter(name)(jc)
    assert not hasattr(jc.models, "__wrapped__")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (jax.ShapeDtypeStruct((), float), None),
        (jax.ShapeDtypeStruct((3,), float), r"an array of shape \(3,\) and dtype float64"),
        (jax.ShapeDtypeStruct((), complex), "complex128"),
        (jax.ShapeDtypeStruct((), int), "int64"),
        ((jax.ShapeDtypeStruct((), float), 1), "a tuple"),
        (None, "a NoneType"),
        ([], "a list"),
    ],
)
def test_one_real_number(output, says):
    given = not_one_number(output)
    if says is None:
        assert given is None
    else:
        with pytest.raises(ValueError, match=says):
            raise ValueError(given)


@pytest.mark.parametrize("point", [jnp.ones(2) + 1j, {"a": jnp.ones(2, complex)}, jnp.array([True]), 1j])
def test_points_are_made_of_real_numbers(point):
    with pytest.raises(TypeError, match=r"x0.* has dtype .*real numbers"):
        real_arrays("x0", point)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: jc.certify(square, x),
        lambda x: jc.certify(square, x[None], many=True),
        lambda x: jc.minimize(square, x),
        lambda x: jc.minimize_many(square, x[None]),
        lambda x: jc.gradient_descent(square, x, 0.1, 1),
    ],
)
def test_no_door_takes_a_complex_point(call):
    with pytest.raises(TypeError, match="complex128"):
        call(jnp.array([1 + 2j, 0.0]))
