"""The checks of arguments that every domain makes: what they accept, and what they say about the rest."""

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
