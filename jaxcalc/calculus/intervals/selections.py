"""Extensions to intervals of operations on whole numbers, of sorting, of entries at an index that depends on x.

At the end, what is known of operations without an extension.

The whole numbers of a function of x come from roundings, comparisons and `argmax`, whose extensions record every jump
in `breaks`; the operations here need not record these jumps again.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxcalc.calculus.intervals.arithmetic import Breaks, Interval


def _quotient(x: Interval, y: Interval) -> Interval:
    """The extension of x / y rounded towards 0, for one number y."""
    ends = lax.div(x.lo, y.lo), lax.div(x.hi, y.lo)
    return Interval(jnp.minimum(*ends), jnp.maximum(*ends))


def _remainder(x: Interval, y: Interval) -> Interval:
    """The extension of the remainder of `_quotient`, which has the sign of x, for one number y."""
    jumps = lax.div(x.lo, y.lo) != lax.div(x.hi, y.lo)
    most = (jnp.abs(y.lo) - 1).astype(x.lo.dtype)
    lo, hi = jnp.where(x.lo < 0, -most, 0), jnp.where(x.hi > 0, most, 0)
    return Interval(jnp.where(jumps, lo, lax.rem(x.lo, y.lo)), jnp.where(jumps, hi, lax.rem(x.hi, y.lo)))


def _sort(breaks: Breaks, params: dict, *operands: Interval) -> list[Interval] | None:
    """The extension of sorting a vector by its numbers; other operands are put into the same order."""
    keys, *others = operands
    if params["num_keys"] != 1 or keys.lo.ndim != 1:
        return None
    ends = [lax.sort(tuple(end), num_keys=1, is_stable=params["is_stable"]) for end in zip(*operands, strict=True)]
    begin, ended = _begin_and_end_before(keys)
    breaks.switch(jnp.any(begin < ended))
    decided = jnp.all(begin > ended) | jnp.all(keys.lo == keys.hi)
    carried = [
        Interval(
            jnp.where(decided, jnp.minimum(first, last), jnp.min(other.lo)),
            jnp.where(decided, jnp.maximum(first, last), jnp.max(other.hi)),
        )
        for other, first, last in zip(others, ends[0][1:], ends[1][1:], strict=True)
    ]
    return [Interval(ends[0][0], ends[1][0]), *carried]


def _begin_and_end_before(keys: Interval) -> tuple[Array, Array]:
    """Returns where each interval but the first along the last axis begins, and where the last begun before has ended.

    Two keys may change places in an order if the interval of one begins before another, begun earlier, has ended.
    """
    begin, end = lax.sort((keys.lo, keys.hi), num_keys=1)
    return begin[..., 1:], lax.cummax(end, axis=end.ndim - 1)[..., :-1]


def _hull_of_entries(x: Interval, first: Array, last: Array) -> Interval:
    """Returns the hull of x[..., k] over first <= k <= last; x (..., n), and first and last broadcast to (...)."""
    places = jnp.arange(x.lo.shape[-1])
    chosen = (first[..., None] <= places) & (places <= last[..., None])
    dtype = x.lo.dtype
    least, greatest = _range(dtype)
    return Interval(
        jnp.min(jnp.where(chosen, x.lo, jnp.asarray(greatest, dtype)), axis=-1),
        jnp.max(jnp.where(chosen, x.hi, jnp.asarray(least, dtype)), axis=-1),
    )


def _dynamic_slice(breaks: Breaks, params: dict, x: Interval, *indices: Interval) -> list[Interval] | None:
    """The extension of a slice of length 1 along every axis whose index is an interval."""
    start = []
    for axis, (index, size) in enumerate(zip(indices, params["slice_sizes"], strict=True)):
        start.append(index.lo)
        if index.lo is index.hi:
            continue
        if size != 1:
            return None
        # The operation moves an index outside of the array to the nearest end.
        first, last = (jnp.clip(end, 0, x.lo.shape[axis] - 1).astype(int) for end in index)
        found = _hull_of_entries(Interval(*(jnp.moveaxis(end, axis, -1) for end in x)), first, last)
        x = Interval(*(jnp.expand_dims(end, axis) for end in found))
        start[-1] = jnp.zeros_like(index.lo)
    return [Interval(*(lax.dynamic_slice(end, start, params["slice_sizes"]) for end in x))]


def _gather(breaks: Breaks, params: dict, x: Interval, indices: Interval) -> list[Interval] | None:
    """The extension of x[indices] for a vector x; other forms only at indices that are numbers, which gives None."""
    if indices.lo is indices.hi or x.lo.ndim != 1 or tuple(params["slice_sizes"]) != (1,):
        return None
    if params["dimension_numbers"].collapsed_slice_dims != (0,):
        return None
    first, last = (end[..., 0].astype(int) for end in indices)
    if params["mode"] == lax.GatherScatterMode.CLIP:
        first, last = (jnp.clip(end, 0, x.lo.shape[0] - 1) for end in (first, last))
    return [_hull_of_entries(x, first, last)]


def _bits(breaks: Breaks, params: dict, x: Interval) -> list[Interval] | None:
    """The extension of the bits of a floating number, as a whole number: a break where its exponent changes."""
    if not jnp.issubdtype(x.lo.dtype, jnp.floating) or x.lo.dtype.itemsize != jnp.dtype(params["new_dtype"]).itemsize:
        return None
    first, last = (lax.bitcast_convert_type_p.bind(end, **params) for end in x)
    one_sign = jnp.signbit(x.lo) == jnp.signbit(x.hi)
    breaks.switch(~one_sign | (jnp.frexp(x.lo)[1] != jnp.frexp(x.hi)[1]))
    least, greatest = (jnp.asarray(end, first.dtype) for end in _range(first.dtype))
    return [
        Interval(
            jnp.where(one_sign, jnp.minimum(first, last), least),
            jnp.where(one_sign, jnp.maximum(first, last), greatest),
        )
    ]


def _shift_right(breaks: Breaks, params: dict, x: Interval, by: Interval) -> list[Interval] | None:
    """The extension of a whole number divided by a power of two and rounded down."""
    if by.lo is not by.hi:
        return None
    return [Interval(*(lax.shift_right_arithmetic(end, by.lo) for end in x))]


# None stands for operations on whole numbers that are neither increasing nor decreasing: bit by bit.
OF_WHOLE_NUMBERS: dict[str, Callable[..., Any] | None] = {
    **{"div": _quotient, "rem": _remainder},
    **dict.fromkeys(("and", "or", "xor"), None),
}
# These return None for the cases that have no extension here.
SELECTIONS: dict[str, Callable[..., Any]] = {
    **{"sort": _sort, "dynamic_slice": _dynamic_slice, "gather": _gather},
    **{"bitcast_convert_type": _bits, "shift_right_arithmetic": _shift_right},
}


def unbounded(
    name: str, params: dict[str, Any], operands: list[Interval], avals: list[Any], breaks: Breaks
) -> list[Interval]:
    """Returns the intervals of all results that an operation without an extension can have.

    Such an operation counts as analytic, except that sorted numbers may change places. What a loop does inside of
    itself is not known.
    """
    if name in ("sort", "top_k"):
        axis = params.get("dimension", -1)
        begin, ended = _begin_and_end_before(Interval(*(jnp.moveaxis(end, axis, -1) for end in operands[0])))
        breaks.switch(jnp.any(begin < ended))
    limits = _LIMITS.get(name)
    return [
        Interval(*(jnp.full(aval.shape, end, aval.dtype) for end in limits or _range(aval.dtype))) for aval in avals
    ]


def _range(dtype: Any) -> tuple:
    """Returns the least and the greatest number of a dtype."""
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
    return (False, True) if jnp.issubdtype(dtype, jnp.bool_) else (-jnp.inf, jnp.inf)


# The least and the greatest value of special functions: of the Bessel functions exp(-|x|) I_0(x) and exp(-|x|) I_1(x)
# and of probabilities.
_LIMITS = {
    **{"bessel_i0e": (0.0, 1.0), "bessel_i1e": (-0.22, 0.22)},
    **dict.fromkeys(("igamma", "igammac", "regularized_incomplete_beta"), (0.0, 1.0)),
}
