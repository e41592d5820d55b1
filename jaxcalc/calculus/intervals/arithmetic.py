"""Interval arithmetic: for each elementary operation of JAX its extension to intervals (R. Moore, 1966).

An extension is a function (breaks, params, *intervals) -> interval. The result contains every value that the operation
takes on numbers of the intervals, and is widened by a few units in the last place to cover rounding. `params` are the
parameters of the JAX primitive. To the list `breaks`, a `Breaks`, the extension appends a boolean array: whether the
operation may fail to be analytic somewhere on the intervals.

Where the operation is defined nowhere on the intervals, both ends of the result are nan.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

# Units in the last place by which a result is widened. Most of XLA's elementary functions are accurate to about two
# units; the others have larger figures below. All figures were measured against long double or mpmath.
_ULPS = 4
# A product of matrices of up to so many products of entries has the narrowest bounds.
_MOST_PRODUCTS = 1024


class Interval(NamedTuple):
    """All numbers from lo to hi, elementwise. Of truth values lo is "certainly true" and hi is "possibly true"."""

    lo: Any
    hi: Any


class Equality(Interval):
    """Whether x == y, or whether x != y, for floating numbers x and y.

    Two analytic functions that are equal on more than a set of measure 0 are equal everywhere. The truth value changes
    therefore at single points, which no integral needs to know of, or where x or y passes to another expression, which
    the operation that joins these expressions has recorded.
    """


class Unknown(Equality):
    """What an operation without an extension returns, or what was computed of that: nobody knows where it changes."""


class Breaks(list[Any]):
    """Boolean arrays: whether each operation may fail to be analytic somewhere on its intervals.

    Attributes:
        switches: Whether each operation may jump or bend inside of its intervals. These are operations that join
            several analytic expressions (comparisons, absolute values, maxima, roundings), and roots whose operand
            touches the border of their domain, as in sqrt((x - c)^2) = |x - c|. Poles are no switches.
        borders: Whether each operation may leave its domain on its intervals, where its result becomes nan.
        partial: Whether an operation without an extension has any result, instead of raising `NoEnclosure`.
        unknown: Whether an operation without an extension was met.
    """

    def __init__(self, partial: bool = False) -> None:
        super().__init__()
        self.switches: list[Array] = []
        self.borders: list[Array] = []
        self.partial = partial
        self.unknown = False

    def switch(self, found: Array) -> None:
        """Appends whether an operation may pass from one analytic expression to another."""
        self.append(found)
        self.switches.append(found)

    def certain(self, truth: Array) -> Array:
        """Returns where a comparison is certainly true: not where a compared number may be nan."""
        return functools.reduce(lambda truth, border: truth & ~jnp.any(border), self.borders, truth)


def _namespace(*ends: Any) -> Any:
    """Returns the module that computes with these numbers: `numpy` outside of compiled programs."""
    return np if all(isinstance(end, np.ndarray | np.generic) for end in ends) else jnp


def _has_no_nan(x: Any) -> bool:
    """Returns whether x is known to hold no nan; False in a compiled program."""
    return _namespace(x) is np and not np.isnan(x).any()


def round_outward(lo: Array, hi: Array, ulps: float = _ULPS, absolute: float = 0.0) -> Interval:
    """Returns [lo - error, hi + error] with error = eps (ulps |end| + absolute); integer and boolean ends as given."""
    if not jnp.issubdtype(lo.dtype, jnp.floating):
        return Interval(lo, hi)
    xp, info = _namespace(lo, hi), jnp.finfo(lo.dtype)
    below, above = ((ulps * info.eps) * xp.abs(end) for end in (lo, hi))
    if absolute:
        below, above = below + absolute * info.eps, above + absolute * info.eps
    # An infinite end has no rounding error, nor has 0: an interval that excludes negative numbers keeps excluding them.
    # An operation that overflows has a large result, not an infinite one: its quotients are small, but not 0.
    return Interval(xp.where(lo == jnp.inf, info.max, lo - below), xp.where(hi == -jnp.inf, -info.max, hi + above))


def _increasing(
    operation: Callable, bottom: float | None = None, top: float | None = None, ulps: float = _ULPS
) -> Callable:
    """Returns the extension of an increasing function.

    Args:
        operation: The function; nan outside of its domain.
        bottom: Its value or limit at the lower border of the domain; None if the domain has no lower border.
        top: Its value or limit at the upper border of the domain; None if the domain has no upper border.
        ulps: The rounding error of the function, in units in the last place.
    """

    def extension(breaks, params, x):
        lo, hi = operation(x.lo), operation(x.hi)
        # An interval with both ends outside of a domain either spans the domain, all of which hold 0, or misses it.
        beyond = jnp.isnan(lo) & jnp.isnan(hi)
        crosses = (jnp.isnan(lo) | jnp.isnan(hi)) & ~(jnp.isnan(x.lo) | jnp.isnan(x.hi))
        if bottom is not None or top is not None:
            inside = ~beyond | ((x.lo < 0) & (x.hi > 0))
            at_border = (lo == bottom if bottom is not None else False) | (hi == top if top is not None else False)
            breaks.append(crosses)
            breaks.switches.append((crosses & inside) | (at_border & (x.lo < x.hi)))
            breaks.borders.append(crosses & inside)
            lo = jnp.where(jnp.isnan(lo) & inside, -jnp.inf if bottom is None else bottom, lo)
            hi = jnp.where(jnp.isnan(hi) & inside, jnp.inf if top is None else top, hi)
        return round_outward(lo, hi, ulps)

    return extension


def _reflected(extension: Callable) -> Callable:
    """Returns the extension of f(-x), given the extension of f."""
    return lambda breaks, params, x: extension(breaks, params, Interval(-x.hi, -x.lo))


def _add(breaks, params, x, y):
    lo, hi = x.lo + y.lo, x.hi + y.hi
    if not jnp.issubdtype(lo.dtype, jnp.floating):
        # Beyond the greatest whole number they go on with the least.
        wraps = ((lo < x.lo) != (y.lo < 0)) | ((hi < x.hi) != (y.hi < 0))
        return _anywhere_if(wraps, lo, hi) if jnp.issubdtype(lo.dtype, jnp.integer) else Interval(lo, hi)
    xp = _namespace(lo, hi)
    if _has_no_nan(lo) and _has_no_nan(hi):
        return round_outward(lo, hi)
    # inf - inf may be any number. nan stays only where an operand is nan, that is, defined nowhere.
    exists = ~(xp.isnan(x.lo) | xp.isnan(y.lo))
    lo, hi = xp.where(xp.isnan(lo) & exists, -jnp.inf, lo), xp.where(xp.isnan(hi) & exists, jnp.inf, hi)
    return round_outward(lo, hi)


def _anywhere_if(where: Array, lo: Array, hi: Array) -> Interval:
    """Returns the interval, or all whole numbers of its dtype where `where` holds."""
    all_of = jnp.iinfo(lo.dtype)
    return Interval(jnp.where(where, all_of.min, lo), jnp.where(where, all_of.max, hi))


def _subtract(breaks, params, x, y):
    if jnp.issubdtype(x.lo.dtype, jnp.unsignedinteger):
        # Below 0 unsigned numbers continue with the greatest.
        return _anywhere_if(x.lo < y.hi, x.lo - y.hi, x.hi - y.lo)
    return _add(breaks, params, x, Interval(-y.hi, -y.lo))


def _negate(breaks, params, x):
    return Interval(-x.hi, -x.lo)


def _product(x: Array, y: Array) -> Array:
    product = x * y
    if _has_no_nan(product):
        return product
    # 0 inf is 0 here: an infinite end stands for arbitrarily large finite numbers, and 0 times each of these is 0.
    return _namespace(product).where((x == 0) | (y == 0), 0, product)


def _hull(*corners: Array) -> Interval:
    """Returns the smallest interval around these numbers, widened for rounding."""
    xp = _namespace(*corners)
    return round_outward(functools.reduce(xp.minimum, corners), functools.reduce(xp.maximum, corners))


def _multiply(breaks, params, x, y):
    if y.lo is y.hi:
        return _hull(_product(x.lo, y.lo), _product(x.hi, y.lo))
    if x.lo is x.hi:
        return _hull(_product(x.lo, y.lo), _product(x.lo, y.hi))
    return _hull(_product(x.lo, y.lo), _product(x.lo, y.hi), _product(x.hi, y.lo), _product(x.hi, y.hi))


def _divide(breaks, params, x, y):
    return _multiply(breaks, params, x, _reciprocal(breaks, params, y))


def _reciprocal(breaks, params, x):
    xp = _namespace(x.lo, x.hi)
    pole = (x.lo < 0) & (x.hi > 0)
    breaks.append((x.lo <= 0) & (x.hi >= 0))
    lo = xp.where(pole, -jnp.inf, xp.where(x.hi == 0, -jnp.inf, 1 / x.hi))
    hi = xp.where(pole, jnp.inf, xp.where(x.lo == 0, jnp.inf, 1 / x.lo))
    smallest = jnp.finfo(lo.dtype).tiny
    lo, hi = xp.where(x.lo == -jnp.inf, xp.minimum(lo, 0), lo), xp.where(x.hi == jnp.inf, xp.maximum(hi, 0), hi)
    # The reciprocal of the largest number is too small for a floating number, but not 0.
    lo = xp.where((lo == 0) & (x.hi < 0), -smallest, lo)
    return round_outward(lo, xp.where((hi == 0) & (x.lo > 0), smallest, hi))


def _mignitude(x: Interval) -> Array:
    """Returns the smallest |x| of an interval."""
    xp = _namespace(x.lo, x.hi)
    return xp.maximum(0, xp.maximum(x.lo, -x.hi))


def _absolute(breaks, params, x):
    breaks.switch((x.lo < 0) & (x.hi > 0))
    return Interval(_mignitude(x), jnp.maximum(-x.lo, x.hi))


def _square(breaks, params, x):
    return round_outward(_mignitude(x) ** 2, _namespace(x.lo, x.hi).maximum(x.lo**2, x.hi**2))


def _integer_power(breaks, params, x):
    return _whole_power(breaks, x, params["y"])


def _whole_power(breaks, x, exponent: int):
    if exponent < 0:
        return _reciprocal(breaks, {}, _whole_power(breaks, x, -exponent))
    if exponent % 2:
        return round_outward(x.lo**exponent, x.hi**exponent)
    return round_outward(_mignitude(x) ** exponent, jnp.maximum(jnp.abs(x.lo), jnp.abs(x.hi)) ** exponent)


def _power(breaks, params, x, y):
    constant = y.lo is y.hi and not isinstance(y.lo, Tracer) and y.lo.ndim == 0
    if constant and float(y.lo).is_integer():
        return _whole_power(breaks, x, int(y.lo))
    whole = (y.lo == y.hi) & (jnp.floor(y.lo) == y.lo)
    holds_zero = (x.lo <= 0) & (x.hi >= 0)
    breaks.append(holds_zero & ~(whole & (y.lo >= 0)))
    breaks.switches.append(holds_zero & ~whole & (x.lo < x.hi))
    breaks.borders.append(holds_zero & (x.lo < 0) & ~whole)
    x = Interval(jnp.where(holds_zero & ~whole, 0, x.lo), x.hi)
    lo, hi = _hull(x.lo**y.lo, x.lo**y.hi, x.hi**y.lo, x.hi**y.hi)
    pole = holds_zero & whole & (y.lo < 0)
    lo = jnp.where(pole, -jnp.inf, jnp.where(holds_zero & (y.lo >= 0), jnp.minimum(lo, 0), lo))
    return Interval(lo, jnp.where(pole, jnp.inf, hi))


def _cosine(breaks, params, x):
    period = 2 * math.pi
    slack = _ULPS * jnp.finfo(x.lo.dtype).eps * jnp.maximum(jnp.abs(x.lo), jnp.abs(x.hi)) / period

    def holds(offset: float) -> Array:  # whether the interval holds offset + 2 pi k for some whole k
        return jnp.floor((x.hi - offset) / period + slack) >= jnp.ceil((x.lo - offset) / period - slack)

    at_lo, at_hi = jnp.cos(x.lo), jnp.cos(x.hi)
    unknown = jnp.isinf(x.lo) | jnp.isinf(x.hi)
    lo = jnp.where(holds(math.pi) | unknown, -1, jnp.minimum(at_lo, at_hi))
    hi = jnp.where(holds(0.0) | unknown, 1, jnp.maximum(at_lo, at_hi))
    return Interval(*(jnp.clip(end, -1, 1) for end in round_outward(lo, hi)))


def _sine(breaks, params, x):
    quarter = math.pi / 2
    shifted = _cosine(breaks, params, Interval(x.lo - quarter, x.hi - quarter))
    at_lo, at_hi = jnp.sin(x.lo), jnp.sin(x.hi)
    finite = jnp.isfinite(x.lo) & jnp.isfinite(x.hi)
    ends = round_outward(jnp.minimum(at_lo, at_hi), jnp.maximum(at_lo, at_hi))
    # x - pi / 2 rounds. An end of the range that is no extremum is a sine of x.lo or x.hi, which needs no shift.
    lo = jnp.where((shifted.lo > -1) & finite, ends.lo, shifted.lo)
    hi = jnp.where((shifted.hi < 1) & finite, ends.hi, shifted.hi)
    return Interval(lo, hi)


def _tangent(breaks, params, x):
    slack = _ULPS * jnp.finfo(x.lo.dtype).eps * jnp.maximum(jnp.abs(x.lo), jnp.abs(x.hi))
    pole = jnp.floor((x.hi + slack) / math.pi - 0.5) != jnp.floor((x.lo - slack) / math.pi - 0.5)
    pole = pole | ~(jnp.isfinite(x.lo) & jnp.isfinite(x.hi))
    breaks.append(pole)
    ends = round_outward(jnp.tan(x.lo), jnp.tan(x.hi))
    return Interval(jnp.where(pole, -jnp.inf, ends.lo), jnp.where(pole, jnp.inf, ends.hi))


def _hyperbolic_cosine(breaks, params, x):
    return round_outward(jnp.cosh(_mignitude(x)), jnp.cosh(jnp.maximum(-x.lo, x.hi)), 1024)


def _stepwise(operation: Callable) -> Callable:
    """Returns the extension of an increasing function with jumps, such as sign and floor."""

    def extension(breaks, params, x):
        lo, hi = operation(x.lo), operation(x.hi)
        breaks.switch(lo != hi)
        return Interval(lo, hi)

    return extension


def _max_or_min(operation: Callable) -> Callable:
    """Returns the extension of the maximum or the minimum of two numbers."""

    def extension(breaks, params, x, y):
        breaks.switch((x.lo < y.hi) & (y.lo < x.hi))
        return Interval(operation(x.lo, y.lo), operation(x.hi, y.hi))

    return extension


def _clamp(breaks, params, lower, x, upper):
    capped = _max_or_min(jnp.minimum)(breaks, params, x, upper)
    return _max_or_min(jnp.maximum)(breaks, params, lower, capped)


def _less(breaks, params, x, y):
    return Interval(breaks.certain(x.hi < y.lo), x.lo < y.hi)


def less_or_equal(breaks: Breaks, params: dict[str, Any], x: Interval, y: Interval) -> Interval:
    """Returns the extension of x <= y."""
    return Interval(breaks.certain(x.hi <= y.lo), x.lo <= y.hi)


def _equal(breaks, params, x, y):
    kind = Equality if jnp.issubdtype(x.lo.dtype, jnp.floating) else Interval
    same = (x.lo == x.hi) & (y.lo == y.hi) & (x.lo == y.lo)
    return kind(breaks.certain(same), (x.lo <= y.hi) & (y.lo <= x.hi))


def _equal_to_itself(breaks, params, x, _):
    """x == x: whether x is not nan, which changes where an operation leaves its domain."""
    known = ~jnp.isnan(x.lo) if jnp.issubdtype(x.lo.dtype, jnp.floating) else jnp.ones(x.lo.shape, bool)
    return Interval(breaks.certain(known), known)


def _not(breaks, params, x):
    return type(x)(~x.hi, ~x.lo)


def _swapped(extension: Callable) -> Callable:
    """Returns the extension of f(y, x), given the extension of f(x, y)."""
    return lambda breaks, params, x, y: extension(breaks, params, y, x)


def _negated(extension: Callable) -> Callable:
    """Returns the extension of the logical negation of a comparison."""
    return lambda breaks, params, *xs: _not(breaks, params, extension(breaks, params, *xs))


def _exclusive_or(breaks, params, x, y):
    decided = (x.lo == x.hi) & (y.lo == y.hi)
    return Interval(decided & (x.lo ^ y.lo), ~decided | (x.lo ^ y.lo))


def select(breaks: Breaks, params: dict[str, Any], which: Interval, *cases: Interval) -> Interval:
    """Returns the hull of the cases that the index `which` may select; a break where it may select several cases."""
    record = breaks.append if isinstance(which, Equality) else breaks.switch
    record(which.lo != which.hi)
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


def _convert(breaks, params, x):
    """The conversion to another type: a truth value or a rounded number jumps where its operand changes."""
    if jnp.issubdtype(params["new_dtype"], jnp.bool_) and not jnp.issubdtype(x.lo.dtype, jnp.bool_):
        return _negated(_equal)(breaks, {}, x, Interval(jnp.zeros_like(x.lo), jnp.zeros_like(x.hi)))
    lo, hi = (lax.convert_element_type_p.bind(end, **params) for end in map(jnp.asarray, x))
    rounds = jnp.issubdtype(x.lo.dtype, jnp.floating) and not jnp.issubdtype(lo.dtype, jnp.floating)
    if rounds or (x.lo.dtype == bool and not isinstance(x, Equality)):
        breaks.switch(lo != hi)
    exact = jnp.promote_types(x.lo.dtype, lo.dtype) == lo.dtype
    if not exact and all(jnp.issubdtype(end.dtype, jnp.integer) for end in (x.lo, lo)):
        changed = [(end.astype(old.dtype) != old) | ((end < 0) != (old < 0)) for old, end in ((x.lo, lo), (x.hi, hi))]
        return _anywhere_if(changed[0] | changed[1], lo, hi)
    return Interval(lo, hi) if exact else round_outward(lo, hi)


def _extreme_of_axes(operation: Callable, sign: int) -> Callable:
    """Returns the extension of the largest number along axes, or of the smallest number for sign -1."""

    def extension(breaks, params, x):
        lo, hi = operation(x.lo, axis=params["axes"]), operation(x.hi, axis=params["axes"])
        # Where several entries may be the extreme, one may take over from another.
        may = x.hi >= jnp.expand_dims(lo, params["axes"]) if sign > 0 else x.lo <= jnp.expand_dims(hi, params["axes"])
        wide = jnp.any(x.lo != x.hi, axis=params["axes"])
        breaks.switch((jnp.sum(may, axis=params["axes"]) > 1) & wide)
        return Interval(lo, hi)

    return extension


def _running_extreme(operation: Callable) -> Callable:
    """Returns the extension of the largest, or of the smallest, number so far along an axis."""

    def extension(breaks, params, x):
        lo, hi = (operation(end, axis=params["axis"], reverse=params["reverse"]) for end in x)
        axis, size = params["axis"], x.lo.shape[params["axis"]]
        here, before = (slice(0, -1), slice(1, None)) if params["reverse"] else (slice(1, None), slice(0, -1))
        (x_lo, x_hi), (lo_before, hi_before) = (
            [lax.slice_in_dim(end, *part.indices(size)[:2], axis=axis) for end in ends]
            for ends, part in ((x, here), ((lo, hi), before))
        )
        breaks.switch((x_lo < hi_before) & (x_hi > lo_before))
        return Interval(lo, hi)

    return extension


def _remainder(breaks, params, x, y):
    """x - y trunc(x / y), a straight line in x as long as x / y passes no whole number."""
    first, last = jnp.trunc(x.lo / y.lo), jnp.trunc(x.hi / y.lo)
    jumps = (first != last) | (y.lo != y.hi) | ~(jnp.isfinite(first) & jnp.isfinite(last))
    breaks.switch(jumps)
    most = jnp.maximum(jnp.abs(y.lo), jnp.abs(y.hi))
    lo, hi = jnp.where(x.lo < 0, -most, 0), jnp.where(x.hi > 0, most, 0)
    # XLA computes the remainder without rounding; the line x - first y rounds.
    slack = 2 * jnp.finfo(x.lo.dtype).eps * jnp.maximum(jnp.abs(x.lo), jnp.abs(x.hi))
    return Interval(
        jnp.where(jumps, lo, jnp.maximum(lo, x.lo - first * y.lo - slack)),
        jnp.where(jumps, hi, jnp.minimum(hi, x.hi - first * y.lo + slack)),
    )


def _atan2(breaks, params, y, x):
    """atan2(y, x). Its branch cut is the negative x axis; away from the cut the extremes lie at corners of the box."""
    cut = (y.lo <= 0) & (y.hi >= 0) & (x.lo <= 0)
    breaks.switch(cut)
    hull = _hull(*(jnp.arctan2(b, a) for b in y for a in x))
    return Interval(jnp.where(cut, -math.pi, hull.lo), jnp.where(cut, math.pi, hull.hi))


def _is_finite(breaks, params, x):
    return Interval(breaks.certain(jnp.isfinite(x.lo) & jnp.isfinite(x.hi)), ~(jnp.isnan(x.lo) | jnp.isnan(x.hi)))


def _argmax(sign: int) -> Callable:
    """Returns the extension of argmax, or of argmin for sign -1.

    The index is at least that of the first entry that may be the largest. It is at most that of the last such entry,
    and of the first entry that is certainly the largest.
    """

    def extension(breaks, params, x):
        (axis,) = params["axes"]
        x = x if sign > 0 else _not(breaks, {}, x) if x.lo.dtype == bool else _negate(breaks, {}, x)
        may = x.hi >= jnp.max(x.lo, axis=axis, keepdims=True)
        must = x.lo >= jnp.max(x.hi, axis=axis, keepdims=True)
        last = x.lo.shape[axis] - 1 - jnp.argmax(jnp.flip(may, axis), axis=axis)
        last = jnp.where(jnp.any(must, axis=axis), jnp.minimum(last, jnp.argmax(must, axis=axis)), last)
        first = jnp.argmax(may, axis=axis)
        breaks.switch(first != last)
        return Interval(*(index.astype(params["index_dtype"]) for index in (first, last)))

    return extension


def _product_over_axes(breaks, params, x):
    for axis in sorted(params["axes"], reverse=True):
        parts = [Interval(*(jnp.take(end, k, axis=axis) for end in x)) for k in range(x.lo.shape[axis])]
        x = functools.reduce(lambda x, y: _multiply(breaks, {}, x, y), parts)
    return x


# The x > 0 of the minimum of log gamma(x), and the minimum.
_LOG_GAMMA_MINIMUM = 1.4616321449683623, -0.12148629053584961


def _positive_only(extension: Callable) -> Callable:
    """Returns an extension in the last operand x: that given where x > 0, elsewhere (-inf, inf) and a break."""

    def guarded(breaks, params, *operands):
        *before, x = operands
        inside = x.lo > 0
        breaks.append(~inside)
        result = extension(params, *before, Interval(jnp.where(inside, x.lo, 1), jnp.where(inside, x.hi, 1)))
        return Interval(jnp.where(inside, result.lo, -jnp.inf), jnp.where(inside, result.hi, jnp.inf))

    return guarded


def _log_gamma(params, x):
    at_lo, at_hi = lax.lgamma(x.lo), lax.lgamma(x.hi)
    minimiser, minimum = _LOG_GAMMA_MINIMUM
    lo = jnp.where((x.lo <= minimiser) & (x.hi >= minimiser), minimum, jnp.minimum(at_lo, at_hi))
    return round_outward(lo, jnp.maximum(at_lo, at_hi), 32, absolute=32)


def _digamma(params, x):
    return round_outward(lax.digamma(x.lo), lax.digamma(x.hi), 32, absolute=32)


def _polygamma(params, order, x):
    """polygamma(order, x) at x > 0, which decreases in x for odd orders and increases for even orders."""
    at_lo, at_hi = lax.polygamma(order.lo, x.lo), lax.polygamma(order.lo, x.hi)
    return round_outward(jnp.minimum(at_lo, at_hi), jnp.maximum(at_lo, at_hi), 64)


def _dot(breaks, params, x, y):
    """A product of matrices: a small one as the sum of all products of entries, which has the narrowest bounds."""
    (of_x, of_y), (batch, _) = params["dimension_numbers"]
    free = [[axis for axis in range(end.lo.ndim) if axis not in taken] for end, taken in ((x, of_x), (y, of_y))]
    shapes = [[end.lo.shape[axis] for axis in axes] for end, axes in zip((x, y), free, strict=True)]
    length = math.prod(x.lo.shape[axis] for axis in of_x)
    if batch or math.prod([*shapes[0], *shapes[1], length]) > _MOST_PRODUCTS:
        return _dot_of_midpoints(params, x, y)
    rows, columns = (
        Interval(*(jnp.transpose(end, (*axes, *taken)).reshape(-1, length) for end in operand))
        for operand, axes, taken in zip((x, y), free, (of_x, of_y), strict=True)
    )
    rows, columns = Interval(*(end[:, None] for end in rows)), Interval(*(end[None] for end in columns))
    return _sum_of(_multiply(breaks, {}, rows, columns), [*shapes[0], *shapes[1]])


def _dot_with_itself(breaks, params, x, _):
    """x . x of a vector, a sum of squares."""
    if x.lo.ndim != 1 or params["dimension_numbers"][0] != ((0,), (0,)):
        return _dot(breaks, params, x, x)
    return _sum_of(_square(breaks, {}, x), [])


def _sum_of(parts: Interval, shape: list[int]) -> Interval:
    """Returns the sum along the last axis, in this shape."""
    rounding = parts.lo.shape[-1] * jnp.finfo(parts.lo.dtype).eps
    lo = jnp.sum(parts.lo - rounding * jnp.abs(parts.lo), axis=-1)
    hi = jnp.sum(parts.hi + rounding * jnp.abs(parts.hi), axis=-1)
    exists = ~jnp.any(jnp.isnan(parts.lo) | jnp.isnan(parts.hi), axis=-1)
    # inf - inf may be any number.
    lo, hi = jnp.where(jnp.isnan(lo) & exists, -jnp.inf, lo), jnp.where(jnp.isnan(hi) & exists, jnp.inf, hi)
    return Interval(lo.reshape(shape), hi.reshape(shape))


def _dot_of_midpoints(params: dict, x: Interval, y: Interval) -> Interval:
    """A product of matrices, computed with midpoints and radii, so that it stays a product of matrices (Rump, 1999)."""
    middle = [(operand.lo + operand.hi) / 2 for operand in (x, y)]
    radius = [(operand.hi - operand.lo) / 2 for operand in (x, y)]
    product = functools.partial(lax.dot_general_p.bind, **params)
    spread = product(jnp.abs(middle[0]), radius[1]) + product(radius[0], jnp.abs(middle[1]) + radius[1])
    rounding = x.lo.size * jnp.finfo(spread.dtype).eps * product(jnp.abs(middle[0]), jnp.abs(middle[1]))
    centre = product(*middle)
    return round_outward(centre - spread - rounding, centre + spread + rounding)


_INCREASING = {
    **{"exp": jnp.exp, "expm1": jnp.expm1, "tanh": jnp.tanh, "cbrt": jnp.cbrt},
    **{"asinh": jnp.arcsinh, "atan": jnp.arctan, "erf": lax.erf, "logistic": jax.nn.sigmoid},
}
EXTENSIONS: dict[str, Callable[..., Any]] = {
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
    "acos": _reflected(_increasing(lambda x: jnp.arccos(-x), bottom=0.0, top=math.pi)),
    "erfc": _reflected(_increasing(lambda x: lax.erfc(-x), ulps=2048)),
    "rsqrt": _reflected(_increasing(lambda x: lax.rsqrt(-x), top=jnp.inf)),
    **{"add": _add, "add_any": _add, "sub": _subtract, "neg": _negate, "mul": _multiply, "div": _divide},
    "dot_general": _dot,
    **{"square": _square, "integer_pow": _integer_power, "pow": _power, "abs": _absolute},
    **{"cos": _cosine, "sin": _sine, "tan": _tangent, "cosh": _hyperbolic_cosine},
    **{"sign": _stepwise(jnp.sign), "floor": _stepwise(jnp.floor)},
    **{"ceil": _stepwise(jnp.ceil), "round": _stepwise(jnp.round)},
    **{"max": _max_or_min(jnp.maximum), "min": _max_or_min(jnp.minimum), "clamp": _clamp, "select_n": select},
    **{"lt": _less, "lt_to": _less, "le": less_or_equal, "le_to": less_or_equal},
    **{"gt": _swapped(_less), "ge": _swapped(less_or_equal)},
    **{"rem": _remainder, "atan2": _atan2, "is_finite": _is_finite, "reduce_prod": _product_over_axes},
    **{"argmax": _argmax(1), "argmin": _argmax(-1), "convert_element_type": _convert},
    **{"cummax": _running_extreme(lax.cummax), "cummin": _running_extreme(lax.cummin)},
    **{"reduce_max": _extreme_of_axes(jnp.max, 1), "reduce_min": _extreme_of_axes(jnp.min, -1)},
    **{"lgamma": _positive_only(_log_gamma), "digamma": _positive_only(_digamma)},
    "polygamma": _positive_only(_polygamma),
    **{"eq": _equal, "ne": _negated(_equal), "not": _not, "xor": _exclusive_or},
}
# Tighter extensions of operations whose two operands are one variable: x x, x - x, x != x and x == x.
EXTENSIONS_OF_EQUAL_OPERANDS: dict[str, Callable[..., Any]] = {
    "mul": lambda breaks, params, x, _: _square(breaks, params, x),
    "dot_general": _dot_with_itself,
    "sub": lambda breaks, params, x, _: Interval(*(_namespace(x.lo).zeros_like(x.lo),) * 2),
    "ne": _negated(_equal_to_itself),
    "eq": _equal_to_itself,
}
