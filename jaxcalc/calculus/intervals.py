"""Interval arithmetic: the extension of every elementary operation of JAX to intervals (R. Moore, 1966).

An extension takes intervals and returns one that contains every value of the operation on them. `breaks` collects
where the result need not be analytic. Rounding is covered by widening each result by a few units in the last place.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer

# Units in the last place by which a result is widened. Most of XLA's elementary functions are accurate to about two;
# those that are not have figures of their own below, all measured against long double or mpmath.
_ULPS = 4


class Interval(NamedTuple):
    """All numbers from lo to hi, elementwise; of truth values lo is "surely" and hi is "possibly"."""

    lo: Any
    hi: Any


def outward(lo: Array, hi: Array, ulps: float = _ULPS, absolute: float = 0.0) -> Interval:
    """The interval widened by what rounding may have done to its ends, absolute being in units of eps."""
    if not jnp.issubdtype(lo.dtype, jnp.floating):
        return Interval(lo, hi)
    eps = jnp.finfo(lo.dtype).eps
    # Only finite ends have a rounding error, and 0 has none, so that a sign that is certain stays certain.
    below, above = (eps * (ulps * jnp.abs(end) + absolute) for end in (lo, hi))
    return Interval(jnp.where(jnp.isinf(lo), lo, lo - below), jnp.where(jnp.isinf(hi), hi, hi + above))


def _increasing(
    operation: Callable, bottom: float | None = None, top: float | None = None, ulps: float = _ULPS
) -> Callable:
    """The extension of a function that grows, from bottom to top at the borders of its domain, if it has borders."""

    def extension(breaks, params, x):
        lo, hi = operation(x.lo), operation(x.hi)
        # Beyond one border the function does not exist; if both ends do not, there is nothing on the interval.
        beyond = jnp.isnan(lo) & jnp.isnan(hi)
        crosses = (jnp.isnan(lo) | jnp.isnan(hi)) & ~(jnp.isnan(x.lo) | jnp.isnan(x.hi))
        if bottom is not None or top is not None:
            breaks.append(crosses)
            inside = ~beyond | ((x.lo < 0) & (x.hi > 0))
            lo = jnp.where(jnp.isnan(lo) & inside, -jnp.inf if bottom is None else bottom, lo)
            hi = jnp.where(jnp.isnan(hi) & inside, jnp.inf if top is None else top, hi)
        return outward(lo, hi, ulps)

    return extension


def _flipped(extension: Callable) -> Callable:
    """The extension of f(-x), from that of f."""
    return lambda breaks, params, x: extension(breaks, params, Interval(-x.hi, -x.lo))


def _add(breaks, params, x, y):
    lo, hi = x.lo + y.lo, x.hi + y.hi
    # The difference of two infinite ends can be anything; nan is kept for where there is no function.
    exists = ~(jnp.isnan(x.lo) | jnp.isnan(y.lo))
    return outward(jnp.where(jnp.isnan(lo) & exists, -jnp.inf, lo), jnp.where(jnp.isnan(hi) & exists, jnp.inf, hi))


def _subtract(breaks, params, x, y):
    return _add(breaks, params, x, Interval(-y.hi, -y.lo))


def _negate(breaks, params, x):
    return Interval(-x.hi, -x.lo)


def _product(x: Array, y: Array) -> Array:
    return jnp.where((x == 0) | (y == 0), 0, x * y)  # 0 times what is unbounded is 0: both are limits from inside


def _hull(*corners: Array) -> Interval:
    return outward(functools.reduce(jnp.minimum, corners), functools.reduce(jnp.maximum, corners))


def _multiply(breaks, params, x, y):
    return _hull(_product(x.lo, y.lo), _product(x.lo, y.hi), _product(x.hi, y.lo), _product(x.hi, y.hi))


def _divide(breaks, params, x, y):
    return _multiply(breaks, params, x, _reciprocal(breaks, params, y))


def _reciprocal(breaks, params, x):
    pole = (x.lo < 0) & (x.hi > 0)
    breaks.append((x.lo <= 0) & (x.hi >= 0))
    lo = jnp.where(pole, -jnp.inf, jnp.where(x.hi == 0, -jnp.inf, 1 / x.hi))
    hi = jnp.where(pole, jnp.inf, jnp.where(x.lo == 0, jnp.inf, 1 / x.lo))
    return outward(lo, hi)


def _absolute(breaks, params, x):
    breaks.append((x.lo < 0) & (x.hi > 0))
    return Interval(jnp.maximum(0, jnp.maximum(x.lo, -x.hi)), jnp.maximum(-x.lo, x.hi))


def _square(breaks, params, x):
    least = jnp.maximum(0, jnp.maximum(x.lo, -x.hi))
    return outward(least**2, jnp.maximum(x.lo**2, x.hi**2))


def _integer_power(breaks, params, x):
    return _whole_power(breaks, x, params["y"])


def _whole_power(breaks, x, exponent: int):
    if exponent < 0:
        return _reciprocal(breaks, {}, _whole_power(breaks, x, -exponent))
    if exponent % 2:
        return outward(x.lo**exponent, x.hi**exponent)
    least = jnp.maximum(0, jnp.maximum(x.lo, -x.hi))
    return outward(least**exponent, jnp.maximum(jnp.abs(x.lo), jnp.abs(x.hi)) ** exponent)


def _power(breaks, params, x, y):
    fixed = y.lo is y.hi and not isinstance(y.lo, Tracer) and y.lo.ndim == 0
    if fixed and float(y.lo).is_integer():
        return _whole_power(breaks, x, int(y.lo))
    whole = (y.lo == y.hi) & (jnp.floor(y.lo) == y.lo)
    holds_zero = (x.lo <= 0) & (x.hi >= 0)
    breaks.append(holds_zero & ~(whole & (y.lo >= 0)))
    x = Interval(jnp.where(holds_zero & ~whole, 0, x.lo), x.hi)
    lo, hi = _hull(x.lo**y.lo, x.lo**y.hi, x.hi**y.lo, x.hi**y.hi)
    pole = holds_zero & whole & (y.lo < 0)
    lo = jnp.where(pole, -jnp.inf, jnp.where(holds_zero & (y.lo >= 0), jnp.minimum(lo, 0), lo))
    return Interval(lo, jnp.where(pole, jnp.inf, hi))


def _cosine(breaks, params, x):
    turn = 2 * math.pi
    slack = _ULPS * jnp.finfo(x.lo.dtype).eps * jnp.maximum(jnp.abs(x.lo), jnp.abs(x.hi)) / turn

    def reaches(offset: float) -> Array:
        return jnp.floor((x.hi - offset) / turn + slack) >= jnp.ceil((x.lo - offset) / turn - slack)

    at_lo, at_hi = jnp.cos(x.lo), jnp.cos(x.hi)
    unknown = jnp.isinf(x.lo) | jnp.isinf(x.hi)
    lo = jnp.where(reaches(math.pi) | unknown, -1, jnp.minimum(at_lo, at_hi))
    hi = jnp.where(reaches(0.0) | unknown, 1, jnp.maximum(at_lo, at_hi))
    return Interval(*(jnp.clip(end, -1, 1) for end in outward(lo, hi)))


def _sine(breaks, params, x):
    quarter = math.pi / 2
    shifted = _cosine(breaks, params, Interval(x.lo - quarter, x.hi - quarter))
    at_lo, at_hi = jnp.sin(x.lo), jnp.sin(x.hi)
    finite = jnp.isfinite(x.lo) & jnp.isfinite(x.hi)
    ends = outward(jnp.minimum(at_lo, at_hi), jnp.maximum(at_lo, at_hi))
    # The shift rounds; where no extremum is inside, the ends themselves are exact.
    lo = jnp.where((shifted.lo > -1) & finite, ends.lo, shifted.lo)
    hi = jnp.where((shifted.hi < 1) & finite, ends.hi, shifted.hi)
    return Interval(lo, hi)


def _tangent(breaks, params, x):
    pole = jnp.floor(x.hi / math.pi - 0.5) != jnp.floor(x.lo / math.pi - 0.5)
    pole = pole | ~(jnp.isfinite(x.lo) & jnp.isfinite(x.hi))
    breaks.append(pole)
    ends = outward(jnp.tan(x.lo), jnp.tan(x.hi))
    return Interval(jnp.where(pole, -jnp.inf, ends.lo), jnp.where(pole, jnp.inf, ends.hi))


def _hyperbolic_cosine(breaks, params, x):
    least = jnp.maximum(0, jnp.maximum(x.lo, -x.hi))
    return outward(jnp.cosh(least), jnp.cosh(jnp.maximum(-x.lo, x.hi)), 1024)


def _step(operation: Callable) -> Callable:
    """The extension of a function that grows by jumps: sign, floor and their kin."""

    def extension(breaks, params, x):
        lo, hi = operation(x.lo), operation(x.hi)
        breaks.append(lo != hi)
        return Interval(lo, hi)

    return extension


def _extreme(operation: Callable) -> Callable:
    def extension(breaks, params, x, y):
        breaks.append((x.lo < y.hi) & (y.lo < x.hi))
        return Interval(operation(x.lo, y.lo), operation(x.hi, y.hi))

    return extension


def _clamp(breaks, params, least, x, most):
    capped = _extreme(jnp.minimum)(breaks, params, x, most)
    return _extreme(jnp.maximum)(breaks, params, least, capped)


def _less(breaks, params, x, y):
    return Interval(x.hi < y.lo, x.lo < y.hi)


def less_or_equal(breaks, params, x, y):
    """The extension of x <= y."""
    return Interval(x.hi <= y.lo, x.lo <= y.hi)


def _equal(breaks, params, x, y):
    return Interval((x.lo == x.hi) & (y.lo == y.hi) & (x.lo == y.lo), (x.lo <= y.hi) & (y.lo <= x.hi))


def _not(breaks, params, x):
    return Interval(~x.hi, ~x.lo)


def _swapped(extension: Callable) -> Callable:
    return lambda breaks, params, x, y: extension(breaks, params, y, x)


def _negated(extension: Callable) -> Callable:
    return lambda breaks, params, *xs: _not(breaks, params, extension(breaks, params, *xs))


def _exclusive_or(breaks, params, x, y):
    decided = (x.lo == x.hi) & (y.lo == y.hi)
    return Interval(decided & (x.lo ^ y.lo), ~decided | (x.lo ^ y.lo))


def select(breaks, params, which, *cases):
    """The hull of the cases that may be chosen, and a break where that is more than one."""
    breaks.append(which.lo != which.hi)
    first, last = which.lo.astype(jnp.int32), which.hi.astype(jnp.int32)
    lo = hi = None
    for index, case in enumerate(cases):
        chosen = (first <= index) & (index <= last)
        if lo is None or hi is None:
            lo, hi = case
        else:
            lo = jnp.where(chosen, jnp.where(first < index, jnp.minimum(lo, case.lo), case.lo), lo)
            hi = jnp.where(chosen, jnp.where(first < index, jnp.maximum(hi, case.hi), case.hi), hi)
    assert lo is not None
    assert hi is not None
    return Interval(lo, hi)


def _remainder(breaks, params, x, y):
    """X - y trunc(x / y): a straight line for as long as the quotient does not pass a whole number."""
    first, last = jnp.trunc(x.lo / y.lo), jnp.trunc(x.hi / y.lo)
    jumps = (first != last) | (y.lo != y.hi) | ~(jnp.isfinite(first) & jnp.isfinite(last))
    breaks.append(jumps)
    most = jnp.maximum(jnp.abs(y.lo), jnp.abs(y.hi))
    lo, hi = jnp.where(x.lo < 0, -most, 0), jnp.where(x.hi > 0, most, 0)
    # The remainder is computed without rounding, the line here is not.
    slack = 2 * jnp.finfo(x.lo.dtype).eps * jnp.maximum(jnp.abs(x.lo), jnp.abs(x.hi))
    return Interval(
        jnp.where(jumps, lo, jnp.maximum(lo, x.lo - first * y.lo - slack)),
        jnp.where(jumps, hi, jnp.minimum(hi, x.hi - first * y.lo + slack)),
    )


def _angle(breaks, params, y, x):
    """atan2, whose cut is the negative half of the x axis; away from it the extremes lie at corners."""
    cut = (y.lo <= 0) & (y.hi >= 0) & (x.lo <= 0)
    breaks.append(cut)
    hull = _hull(*(jnp.arctan2(b, a) for b in y for a in x))
    return Interval(jnp.where(cut, -math.pi, hull.lo), jnp.where(cut, math.pi, hull.hi))


def _finite(breaks, params, x):
    return Interval(jnp.isfinite(x.lo) & jnp.isfinite(x.hi), ~(jnp.isnan(x.lo) | jnp.isnan(x.hi)))


def _first_of_most(sign: int) -> Callable:
    """The extension of argmax, or for sign -1 argmin: from the first that may be chosen to the first that must be."""

    def extension(breaks, params, x):
        (axis,) = params["axes"]
        x = x if sign > 0 else _not(breaks, {}, x) if x.lo.dtype == bool else _negate(breaks, {}, x)
        may = x.hi >= jnp.max(x.lo, axis=axis, keepdims=True)
        must = x.lo >= jnp.max(x.hi, axis=axis, keepdims=True)
        last = x.lo.shape[axis] - 1 - jnp.argmax(jnp.flip(may, axis), axis=axis)
        last = jnp.where(jnp.any(must, axis=axis), jnp.minimum(last, jnp.argmax(must, axis=axis)), last)
        return Interval(*(index.astype(params["index_dtype"]) for index in (jnp.argmax(may, axis=axis), last)))

    return extension


def _product_over_axes(breaks, params, x):
    for axis in sorted(params["axes"], reverse=True):
        parts = [Interval(*(jnp.take(end, k, axis=axis) for end in x)) for k in range(x.lo.shape[axis])]
        x = functools.reduce(lambda x, y: _multiply(breaks, {}, x, y), parts)
    return x


# Where the logarithm of the gamma function is least on the positive numbers, and its value there.
_GAMMA_LEAST = 1.4616321449683623, -0.12148629053584961


def _positive_only(extension: Callable) -> Callable:
    """The extension where x is positive; elsewhere nothing is known."""

    def guarded(breaks, params, *operands):
        *before, x = operands
        inside = x.lo > 0
        breaks.append(~inside)
        result = extension(params, *before, Interval(jnp.where(inside, x.lo, 1), jnp.where(inside, x.hi, 1)))
        return Interval(jnp.where(inside, result.lo, -jnp.inf), jnp.where(inside, result.hi, jnp.inf))

    return guarded


def _log_gamma(params, x):
    at_lo, at_hi = lax.lgamma(x.lo), lax.lgamma(x.hi)
    where, least = _GAMMA_LEAST
    lo = jnp.where((x.lo <= where) & (x.hi >= where), least, jnp.minimum(at_lo, at_hi))
    return outward(lo, jnp.maximum(at_lo, at_hi), 32, absolute=32)


def _digamma(params, x):
    return outward(lax.digamma(x.lo), lax.digamma(x.hi), 32, absolute=32)


def _polygamma(params, order, x):
    """Of odd order it falls, of even order it grows, towards 0."""
    at_lo, at_hi = lax.polygamma(order.lo, x.lo), lax.polygamma(order.lo, x.hi)
    return outward(jnp.minimum(at_lo, at_hi), jnp.maximum(at_lo, at_hi), 64)


def _dot(breaks, params, x, y):
    """Midpoints and radii, so that the product stays a product of matrices (Rump, 1999)."""
    middle = [(operand.lo + operand.hi) / 2 for operand in (x, y)]
    radius = [(operand.hi - operand.lo) / 2 for operand in (x, y)]
    product = functools.partial(lax.dot_general_p.bind, **params)
    spread = product(jnp.abs(middle[0]), radius[1]) + product(radius[0], jnp.abs(middle[1]) + radius[1])
    rounding = x.lo.size * jnp.finfo(spread.dtype).eps * product(jnp.abs(middle[0]), jnp.abs(middle[1]))
    centre = product(*middle)
    return outward(centre - spread - rounding, centre + spread + rounding)


_INCREASING = {
    **{"exp": jnp.exp, "expm1": jnp.expm1, "tanh": jnp.tanh, "cbrt": jnp.cbrt},
    **{"asinh": jnp.arcsinh, "atan": jnp.arctan, "erf": lax.erf, "logistic": jax.nn.sigmoid},
}
EXTENSIONS: dict[str, Callable] = {
    **{name: _increasing(operation) for name, operation in _INCREASING.items()},
    "log": _increasing(jnp.log, bottom=-jnp.inf),
    "log1p": _increasing(jnp.log1p, bottom=-jnp.inf, ulps=160),
    "exp2": _increasing(jnp.exp2, ulps=1024),
    "sinh": _increasing(jnp.sinh, ulps=1024),
    "sqrt": _increasing(jnp.sqrt, bottom=0.0),
    "acosh": _increasing(jnp.arccosh, bottom=0.0),
    "asin": _increasing(jnp.arcsin, bottom=-math.pi / 2, top=math.pi / 2),
    "atanh": _increasing(jnp.arctanh, bottom=-jnp.inf, top=jnp.inf, ulps=160),
    "erf_inv": _increasing(lax.erf_inv, bottom=-jnp.inf, top=jnp.inf, ulps=64),
    "acos": _flipped(_increasing(lambda x: jnp.arccos(-x), bottom=0.0, top=math.pi)),
    "erfc": _flipped(_increasing(lambda x: lax.erfc(-x), ulps=2048)),
    "rsqrt": _flipped(_increasing(lambda x: lax.rsqrt(-x), top=jnp.inf)),
    **{"add": _add, "sub": _subtract, "neg": _negate, "mul": _multiply, "div": _divide, "dot_general": _dot},
    **{"square": _square, "integer_pow": _integer_power, "pow": _power, "abs": _absolute},
    **{"cos": _cosine, "sin": _sine, "tan": _tangent, "cosh": _hyperbolic_cosine},
    **{"sign": _step(jnp.sign), "floor": _step(jnp.floor), "ceil": _step(jnp.ceil), "round": _step(jnp.round)},
    **{"max": _extreme(jnp.maximum), "min": _extreme(jnp.minimum), "clamp": _clamp, "select_n": select},
    **{"lt": _less, "le": less_or_equal, "gt": _swapped(_less), "ge": _swapped(less_or_equal)},
    **{"rem": _remainder, "atan2": _angle, "is_finite": _finite, "reduce_prod": _product_over_axes},
    **{"argmax": _first_of_most(1), "argmin": _first_of_most(-1)},
    **{"lgamma": _positive_only(_log_gamma), "digamma": _positive_only(_digamma)},
    "polygamma": _positive_only(_polygamma),
    **{"eq": _equal, "ne": _negated(_equal), "not": _not, "xor": _exclusive_or},
}
OF_ONE_OPERAND: dict[str, Callable] = {
    "mul": lambda breaks, params, x, _: _square(breaks, params, x),
    "sub": lambda breaks, params, x, _: Interval(jnp.zeros_like(x.lo), jnp.zeros_like(x.lo)),
    "ne": lambda breaks, params, x, _: Interval(jnp.zeros(x.lo.shape, bool), jnp.zeros(x.lo.shape, bool)),
    "eq": lambda breaks, params, x, _: Interval(jnp.ones(x.lo.shape, bool), jnp.ones(x.lo.shape, bool)),
}
