"""What expressions mean, and what is refused, with the caret under the spot."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.command.expressions import Expression, constant
from jaxcalc.command.functions import CONSTANTS, FUNCTIONS
from jaxcalc.command.syntax import MOST_CHARACTERS, ExpressionError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x**2*y", 1.3**2 * 0.7),
        ("-x**2", -(1.3**2)),
        ("(-x)**2 - -y", 1.3**2 + 0.7),
        ("2**-x", 2**-1.3),
        ("x**y**2", 1.3 ** (0.7**2)),
        ("x - y - 1", 1.3 - 0.7 - 1),
        ("+x/2/y", 1.3 / 2 / 0.7),
        ("1e-3*x + .5", 1.3e-3 + 0.5),
        ("  sin( pi*x )\n+ e", math.sin(math.pi * 1.3) + math.e),
        ("atan2(y, x) + hypot(x, y)", math.atan2(0.7, 1.3) + math.hypot(0.7, 1.3)),
        ("gamma(x) + lgamma(y) + erf(x)", math.gamma(1.3) + math.lgamma(0.7) + math.erf(1.3)),
        ("where(x < 1, x, where(0.5 <= y < 1, y, 9))", 0.7),
        ("max(x, y) - min(x, y)", 0.6),
        ("2**0.5 * 10**-2", math.sqrt(2) / 100),
    ],
)
def test_an_expression_means_what_it_says(text, expected):
    f = Expression(text).function(["x", "y"])
    assert np.isclose(float(f(1.3, 0.7)), expected, rtol=1e-14)


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_every_function_is_the_one_that_its_python_source_names(name):
    arguments = {1: "x", 2: "x, y", 3: "x < y, x, y"}[FUNCTIONS[name].least]
    expression = Expression(f"{name}({arguments})")
    for values in ((0.3, 0.6), (0.9, 0.2)):
        named = dict(zip(expression.names, values, strict=False))
        copied = eval(expression.python(), {"jax": jax, "jnp": jnp})  # made by the test, of its own text
        assert np.array_equal(expression.function()(*named.values()),
                              copied(*named.values()), equal_nan=True)  # fmt: skip


def test_variables_are_in_natural_order_and_constants_are_none():
    assert Expression("x10*x2 + pi*b - e + a").names == ("a", "b", "x2", "x10")
    assert set(CONSTANTS) == {"pi", "e"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_an_expression_is_a_function_for_jax(dtype):
    f = Expression("x**3 - 2*x*y + 4").of_vector()
    x = jnp.array([1.5, -0.5], dtype)
    slopes = jax.jit(jc.gradient(f))(x)
    assert slopes.dtype == dtype
    assert np.allclose(slopes, [3 * 1.5**2 + 1, -3], rtol=1e-6)
    assert np.allclose(jax.vmap(f)(jnp.stack([x, 2 * x])), [8.875, 37.0], rtol=1e-6)


def test_an_expression_without_variables_has_the_shape_of_its_arguments():
    assert Expression("2*3").function(["x"])(jnp.zeros(4)).tolist() == [6.0] * 4


@pytest.mark.parametrize(
    ("text", "spot", "words"),
    [
        ("x^2 + 1", 1, r"\^ is not allowed: a power is written \*\*"),
        ("2*(x + 1)^3", 9, "power"),
        ("é + x^2", 5, "power"),
        ("__import__('os').system('ls')", 16, "attribute"),
        ("__import__('os')", 0, "no function __import__"),
        ("x + __builtins__", 4, "not allowed as the name"),
        ("x.real", 1, "attribute"),
        ("(1).__class__", 3, "attribute"),
        ("lambda x: x", 0, "lambda"),
        ("x + 'abc'", 4, "a text"),
        ("f'{x}'", 0, "not allowed"),
        ("[x for x in y]", 0, "list comp"),
        ("x[0]", 0, "subscript"),
        ("(x := 2)", 1, "named expr"),
        ("x if x < 1 else 2", 0, "where"),
        ("x + (x < 1)", 5, "where"),
        ("where(x, 1, 2)", 6, "comparison"),
        ("not x", 0, "minus"),
        ("x and y", 0, "where"),
        ("x // 2", 2, "quotient"),
        ("x % 2", 2, "% is not allowed"),
        ("True + x", 0, "True"),
        ("2j*x", 0, "imaginary"),
        ("x + 1e999", 4, "too large"),
        ("9" * 400, 0, "too large"),
        ("10**10**10", 2, "finite"),
        ("9**9**9**9", 4, "finite"),
        ("1/0", 1, "finite"),
        ("(-1)**0.5", 4, "finite"),
        ("sin", 0, r"sin\(...\)"),
        ("sin(x, 2)", 0, r"2 arguments"),
        ("atan2(x)", 0, r"atan2\(a, b\)"),
        ("sin(x=1)", 0, "expressions only"),
        ("sin(*x)", 0, "expressions only"),
        ("ln(x)", 0, "log"),
        ("x + sine(x)", 4, "is it sin"),
        ("exec(x)", 0, "no function exec"),
        ("x*(x-1)(x-2)", 7, "product"),
        ("x(x - 1)", 0, r"x\*\(...\)"),
        ("2(x + 1)", 1, "product"),
        ("2x", 0, r"2\*x"),
        ("x*y + ", 5, "cannot be read"),
        ("(x + )", 5, "cannot be read"),
        ("x y", 2, "cannot be read"),
        ("x; y", 1, "cannot be read"),
        ("x = 2", 2, "cannot be read"),
        ("sin(x", 3, "never closed"),
        ("x))", 1, "unmatched"),
        ("x \u2212 1", 2, "invalid character"),
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("import os", 0, "cannot be read"),
        ("jnp + x", 0, "not allowed as the name"),
    ],
)
def test_a_refusal_says_why_and_where(text, spot, words):
    with pytest.raises(ExpressionError, match=words) as refused:
        Expression(text)
    assert refused.value.spot == spot
    *_, shown, caret = str(refused.value).split("\n")
    assert caret.index("^") - 2 == min(spot, 60)
    assert shown[2:].startswith(text[:40])


@pytest.mark.parametrize(
    "text",
    [
        "(" * 400 + "x" + ")" * 400,
        "-" * 900 + "x",
        "sin(" * 240 + "x" + ")" * 240,
        "x" * (MOST_CHARACTERS + 1),
        "x" + "**x" * 300,
        "\x00",
        "x" + "+x" * 499,
        "where(" * 160 + "x",
    ],
)
def test_what_is_long_deep_or_broken_is_refused(text):
    with pytest.raises(ExpressionError):
        Expression(text)


@pytest.mark.parametrize("text", ["x**10**9", "x**-100000", "x**1e300", "2**(x*1e9)", "x**(10**15)**2"])
def test_large_exponents_are_harmless(text):
    f = Expression(text).function()
    assert jax.make_jaxpr(jax.grad(f))(0.5).jaxpr.eqns.__len__() < 100
    assert float(f(1.0)) in (1.0, math.inf)


def test_powers_of_negative_numbers_have_derivatives():
    assert float(jc.derivative(Expression("x**3").function(), 2)(-2.0)) == -12.0
    assert np.isclose(float(jc.derivative(Expression("x**2001").function())(-1.0)), 2001)


@pytest.mark.parametrize(
    ("text", "value"),
    [("inf", math.inf), ("-inf", -math.inf), (" +Inf ", math.inf), ("-pi/2", -math.pi / 2), ("3", 3.0)],
)
def test_constants(text, value):
    assert constant(text) == value


@pytest.mark.parametrize("text", ["x", "--inf", "nan", "infx"])
def test_what_is_no_constant(text):
    with pytest.raises(ExpressionError):
        constant(text)
