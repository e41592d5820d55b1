"""Enclosures: they hold every sample, tighten with the interval, and name an operation without an extension."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax import lax

from jaxcalc.calculus.derivatives import derivative
from jaxcalc.calculus.intervals.enclosures import NoEnclosure, enclosure
from jaxcalc.core.platform import quick_to_compile
from tests.families import slow_but

FUNCTIONS = {
    "powers": lambda x: x**4 - x + (x - 0.3) ** 3 + x**-2.0 + x**-1,
    "roots": lambda x: jnp.sqrt(x) + x**1.5 + jnp.log(x) + lax.rsqrt(x) + jnp.cbrt(x),
    "waves": lambda x: jnp.sin(x) * jnp.cos(3 * x) + jnp.tan(x / 4),
    "inverses": lambda x: jnp.arctan(x) + jnp.arcsin(x / 4) + jnp.arccos(x / 3) + jnp.arcsinh(x),
    "hyperbolic": lambda x: jnp.tanh(x) + jnp.cosh(x) - jnp.sinh(x) + jax.nn.sigmoid(x),
    "errors": lambda x: lax.erf(x) + lax.erfc(x) + jnp.expm1(x) + jnp.log1p(x / 4),
    "pieces": lambda x: jnp.where(x > 0.2, x**2, jnp.abs(x)) + jnp.maximum(x, 1 - x) + jnp.floor(x) + jnp.clip(x, 0, 1),
    "softplus": lambda x: jax.nn.softplus(x) + jnp.logaddexp(x, 2 * x),
    "quotient": lambda x: jnp.arctan(x) / (1 + x * x) + 1 / (x - 0.1),
    "arrays": lambda x: jnp.sum(jnp.array([[1.0, 2.0], [3.0, 4.0]]) @ jnp.stack([x, x**2])),
    "polyval": lambda x: jnp.polyval(jnp.array([1.0, -2, 3, -0.5]), x),
    "cond": lambda x: lax.cond(x > 0.5, jnp.sin, jnp.cos, x),
    "loop": lambda x: lax.fori_loop(0, 5, lambda i, y: x * y + i, 1.0),
    "counter": lambda x: lax.fori_loop(0, 4, lambda i, y: y + jnp.arange(4.0)[i] * x**2, 0.0),
    "x^x": lambda x: x**x,
    "remainder": lambda x: jnp.mod(x, 0.7) * x + jnp.fmod(2 * x, 1.0),
    "piecewise": lambda x: jnp.piecewise(x, [x < -1, x < 1], [jnp.cos, jnp.sin, lambda x: x]),
    "select": lambda x: jnp.select([x < -1, x < 1], [x**2, x], jnp.exp(-x)),
    "products": lambda x: jnp.prod(jnp.stack([x, x + 1, jnp.sin(x)])) + jnp.sum(jnp.zeros(3).at[1].set(x) ** 2),
    "angle": lambda x: jnp.arctan2(x, 1.0 + x),
    "logsumexp": lambda x: jax.scipy.special.logsumexp(jnp.stack([x, -2 * x, 1.0])),
    "gamma": lambda x: lax.lgamma(x) + lax.digamma(x),
    "beta": lambda x: jax.scipy.special.betaln(x, 2.0),
    "inverse error function": lambda x: lax.erf_inv(x / 3) + jnp.exp2(x) + jnp.arctanh(x / 3),
    "split": lambda x: sum(part.sum() for part in jnp.split(jnp.stack([x, x**2]), 2)),
}


# The cases of an ordinary run; `test_covers_rounding` has every operation by itself.
BRIEF = (
    "powers",
    "waves",
    "pieces",
    "quotient",
    "arrays",
    "polyval",
    "cond",
    "loop",
    "counter",
    "x^x",
    "select",
    "gamma",
)


@pytest.mark.parametrize("name", slow_but(FUNCTIONS, BRIEF))
def test_contains_every_sample_of_the_function_and_two_derivatives(name):
    f = lambda x: jnp.stack([jnp.asarray(derivative(FUNCTIONS[name], order)(x), float) for order in range(3)])  # noqa: E731
    draw = np.random.default_rng(0)
    lo = draw.uniform(-3, 3, 300)
    hi = lo + 10 ** draw.uniform(-9, 0.5, 300)
    bounds = jax.jit(jax.vmap(enclosure(f)))(lo, hi)
    x = np.clip(lo + (hi - lo) * np.linspace(0, 1, 41)[:, None], lo, hi)
    y = np.asarray(jax.jit(jax.vmap(f))(x.ravel())).reshape(*x.shape, 3)
    seen = np.isfinite(y)
    inside = (y >= np.asarray(bounds.lo)) & (y <= np.asarray(bounds.hi))
    assert np.all(inside[seen])
    assert seen.any(axis=(0, 1)).all()


def test_a_long_chain_is_computed_once():
    """Without kernels, XLA on a CPU fuses the chain into one loop and evaluates its early links many times: 0.2 s."""

    def chain(x):
        for _ in range(40):
            x = jnp.sin(x) * (1 - x)
        return x

    lo = jnp.linspace(0, 1, 50)
    bounds = jax.jit(jax.vmap(enclosure(chain)))
    found, seconds = bounds(lo, lo + 1e-3), []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(bounds(lo, lo + 1e-3))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.02
    inside = jax.vmap(chain)(lo + 5e-4)
    assert np.all((found.lo <= inside) & (inside <= found.hi))


LONG = np.longdouble
REFERENCES = {  # the operation in JAX, in long double or by SciPy, and the range to test
    **{name: (getattr(jnp, name), getattr(np, name), -20, 20) for name in ("exp", "exp2", "sin", "cos", "tan", "tanh")},
    **{name: (getattr(jnp, name), getattr(np, name), -20, 20) for name in ("sinh", "cosh", "arctan", "arcsinh")},
    **{name: (getattr(jnp, name), getattr(np, name), -0.99, 0.99) for name in ("arctanh", "log1p", "expm1", "arcsin")},
    **{name: (getattr(jnp, name), getattr(np, name), 1e-3, 50) for name in ("log", "sqrt", "cbrt")},
    **{name: (getattr(lax, name), getattr(scipy.special, name), -5, 15) for name in ("erf", "erfc")},
    "lgamma": (lax.lgamma, scipy.special.gammaln, 0.05, 30),
    "digamma": (lax.digamma, scipy.special.digamma, 0.05, 30),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_covers_rounding(name):
    f, reference, lo, hi = REFERENCES[name]
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.uniform(lo, hi, 2000), np.clip(10 ** draw.uniform(-9, 0, 200), lo, hi)])
    bounds = jax.jit(jax.vmap(enclosure(f)))(x, x)
    exact = reference(x.astype(LONG) if hasattr(np, name) else x)
    # SciPy's own functions are accurate to one or two units in the last place.
    slack = 0 if exact.dtype == LONG else 4 * np.spacing(np.abs(exact))
    assert np.all(np.asarray(bounds.lo) - slack <= exact)
    assert np.all(exact <= np.asarray(bounds.hi) + slack)


def test_tightens_as_the_interval_shrinks():
    bounds = jax.vmap(enclosure(lambda x: jnp.sin(x) * x))(jnp.array([1.0, 1.0, 1.0]), jnp.array([2.0, 1.1, 1.001]))
    width = np.asarray(bounds.hi - bounds.lo)
    assert np.all(width[1:] < width[:-1] / 5)
    assert not bounds.broken.any()


@pytest.mark.parametrize(
    ("f", "lo", "hi"),
    [
        (jnp.abs, -1.0, 1.0),
        (lambda x: 1 / x, -1.0, 1.0),
        (jnp.sqrt, -1.0, 1.0),
        (jnp.floor, 0.5, 1.5),
        (jnp.tan, 1.0, 2.0),
    ],
)
def test_says_where_f_may_not_be_smooth(f, lo, hi):
    assert enclosure(f)(jnp.array(lo), jnp.array(hi)).broken
    middle = jnp.array(lo + (hi - lo) * 0.9)
    assert not enclosure(f)(middle, middle + 1e-3).broken


def test_products_of_vectors_have_the_narrowest_bounds():
    lo, hi = jnp.array([1e-9, 2.0]), jnp.array([1e9, 3.0])
    of_itself = enclosure(lambda v: v @ v)(lo, hi)
    np.testing.assert_allclose([of_itself.lo, of_itself.hi], [4, 1e18 + 9], rtol=1e-14)
    weights = jnp.array([[2.0, -1.0], [0.5, 0.0]])
    of_matrix = enclosure(lambda v: weights @ v)(-lo[::-1], hi)
    np.testing.assert_allclose(of_matrix.lo, [-4 - 3, -1], rtol=1e-14)
    np.testing.assert_allclose(of_matrix.hi, [2e9 + 1e-9, 5e8], rtol=1e-14)


def test_is_nan_where_f_does_not_exist():
    bounds = enclosure(jnp.log)(jnp.array(-2.0), jnp.array(-1.0))
    assert jnp.isnan(bounds.lo)


def test_an_operation_without_bounds_is_named():
    with pytest.raises(NoEnclosure, match="bessel_i0e"):
        enclosure(jax.scipy.special.i0)(jnp.array(1.0), jnp.array(2.0))
    with pytest.raises(NoEnclosure, match="while"):
        enclosure(lambda x: lax.while_loop(lambda y: y < 3, lambda y: y + 1, x))(jnp.array(1.0), jnp.array(2.0))
    with pytest.raises(NoEnclosure, match="whole numbers"):
        enclosure(lambda x: x * (7 % jnp.floor(x).astype(int)))(jnp.array(1.0), jnp.array(2.0))
    with pytest.raises(NoEnclosure, match="whole numbers"):
        enclosure(lambda x: x * (jnp.floor(x).astype(int) & 1))(jnp.array(1.0), jnp.array(2.0))
    with pytest.raises(NoEnclosure, match="index"):
        enclosure(lambda x: jnp.ones((9, 2))[jnp.stack([jnp.int32(x), 1])].sum())(jnp.array(1.0), jnp.array(2.0))


# f, which switches at 0.3 (and nowhere else in [-0.6, 1]), in ways that no comparison shows.
SWITCHES = {
    "abs": lambda x: jnp.exp(jnp.abs(x - 0.3)),
    "root of a square": lambda x: jnp.sqrt((x - 0.3) ** 2),
    "power of a square": lambda x: jnp.square(x - 0.3) ** 0.5,
    "norm": lambda x: jnp.linalg.norm(jnp.stack([x - 0.3, 0.0])),
    "arccos(cos)": lambda x: jnp.arccos(jnp.cos(x - 0.3)),
    "truth value": lambda x: x * (x > 0.3),
    "equal truth values": lambda x: jnp.where((x > 0.3) == (x > -2), 1.0, x),
    "maximum of many": lambda x: jnp.max(jnp.stack([x, 0.3])),
    "argmax": lambda x: jnp.where(jnp.argmax(jnp.stack([x, 0.3])) == 0, x, 2.0),
    "sort": lambda x: jnp.sort(jnp.stack([x, 0.3]))[0],
    "median": lambda x: jnp.median(jnp.stack([x, 0.3, 5.0])),
    "entry of a table": lambda x: jnp.arange(9.0)[jnp.floor(x - 0.3).astype(int) + 4],
    "row of a table": lambda x: jnp.eye(9)[jnp.int32(x + 3.7), jnp.int32(4)],
    "taken": lambda x: jnp.take(jnp.arange(9.0), (x + 3.7).astype(int)),
    "interpolation": lambda x: jnp.interp(x, jnp.array([-3.0, 0.3, 2]), jnp.array([1.0, 2.0, -1.0])),
    "interpolation in one of many": lambda x: jnp.interp(x, 2.3 - 2 * jnp.array([3, 2, 1.0]), jnp.array([1.0, 2, 5])),
    "odd whole numbers": lambda x: x * ((jnp.floor(x - 0.3).astype(int) + 8) % 2),
    "half of a whole number": lambda x: x * ((jnp.ceil(x - 0.3).astype(int) + 5) // 2),
    "digitize": lambda x: x * jnp.digitize(x, jnp.array([-4, 0.3, 5])),
    "in a loop": lambda x: lax.fori_loop(0, 3, lambda i, y: y + i * jnp.abs(x - 0.3), 1.0),
    "cummax": lambda x: lax.cummax(jnp.stack([0.3, x, -2.0])).sum(),
    "whole number as a truth value": lambda x: x * (jnp.floor(x - 0.3).astype(int) + 1).astype(bool),
    "not a number": lambda x: jnp.where(jnp.isnan(jnp.log(x - 0.3)), x, 2.0),
    "comparison of what may be nan": lambda x: jnp.where(jnp.sqrt(x - 0.3) >= 0, x, 2.0),
    "finite": lambda x: jnp.where(jnp.isfinite((x - 0.3) ** 0.5), x, 2.0),
}


def test_says_where_f_switches():
    lo, hi = jnp.array([-0.6, 0.29, 0.2, 0.3 + 1e-6]), jnp.array([0.3 - 1e-6, 0.3 + 1e-12, 1.0, 0.9])
    x = lo + (hi - lo) * np.linspace(0, 1, 41)[:, None]
    bounds = lambda lo, hi: {name: enclosure(f)(lo, hi) for name, f in SWITCHES.items()}  # noqa: E731
    values = lambda x: {name: f(x) for name, f in SWITCHES.items()}  # noqa: E731
    both = lambda: (jax.vmap(bounds)(lo, hi), jax.vmap(jax.vmap(values))(x))  # noqa: E731
    found, y = jax.jit(both, compiler_options=quick_to_compile())()
    for name, of_f in found.items():
        assert of_f.switched.tolist() == [False, True, True, False], name
        assert np.all((of_f.lo <= y[name]) & (y[name] <= of_f.hi)), name


def test_smooth_functions_have_no_switches():
    for f in (jnp.sinc, lambda x: jnp.where(x == 0, 1.0, jnp.sin(x) / x), lambda x: jnp.exp(x) * (x != 0.2)):
        found = enclosure(f)(jnp.array(-1.0), jnp.array(2.0))
        assert found.switched is None or not found.switched


# f, which switches at 0.3, with operations that have no extension.
PARTIAL = {
    "special function": lambda x: jnp.where(x < 0.3, jax.scipy.special.i0(x), 2.0),
    "loop": lambda x: jnp.where(x < 0.3, lax.while_loop(lambda y: y < 1, lambda y: y + x, x), 2.0),
    "complex numbers": lambda x: jnp.where(x < 0.3, jnp.real(jnp.exp(1j * x)), 2.0),
    "linear equations": lambda x: jnp.where(x < 0.3, jnp.linalg.solve(jnp.eye(2) * (1 + x), jnp.ones(2))[0], 2.0),
    "largest": lambda x: lax.top_k(jnp.stack([x, 0.3, 0.0]), 2)[0][0],
    "sorted rows": lambda x: jnp.sort(jnp.stack([jnp.stack([x, 0.3])]), axis=1)[0, 0],
    "single bits": lambda x: x * (jnp.floor(x + 0.7).astype(int) & 1),
    "bits of the sign": lambda x: jnp.copysign(x, x - 0.3),
    "sum and truth value": lambda x: jax.scipy.special.i1(x) + (x > 0.3),
}


@pytest.mark.parametrize("name", PARTIAL)
def test_operations_without_bounds_do_not_hide_the_switches_of_others(name):
    f = PARTIAL[name]
    for lo, hi, switched in ((0.12, 0.16, False), (0.29, 0.31, True)):
        found = enclosure(f, partial=True)(jnp.array(lo), jnp.array(hi))
        assert bool(found.switched) == switched
        y = jax.vmap(f)(jnp.linspace(lo, hi, 9))
        assert np.all((found.lo <= y) & (y <= found.hi))
