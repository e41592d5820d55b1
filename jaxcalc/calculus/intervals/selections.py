"""Extensions to intervals of operations on whole numbers, of sorting, and of entries at an index that depends on x.

The whole numbers of a function of x come from roundings, comparisons and `argmax`, whose extensions record every jump
in `breaks`; the operations here need not record these jumps again.
"""

from collections.abc import Callable

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
    # Two keys may change places if the interval of one begins before another interval, begun earlier, has ended.
    begin, end = lax.sort((keys.lo, keys.hi), num_keys=1)
    ended = lax.cummax(end)[:-1]
    breaks.switch(jnp.any(begin[1:] < ended))
    decided = jnp.all(begin[1:] > ended) | jnp.all(keys.lo == keys.hi)
    carried = [
        Interval(
            jnp.where(decided, jnp.minimum(first, last), jnp.min(other.lo)),
            jnp.where(decided, jnp.maximum(first, last), jnp.max(other.hi)),
        )
        for other, first, last in zip(others, ends[0][1:], ends[1][1:], strict=True)
    ]
    return [Interval(ends[0][0], ends[1][0]), *carried]


def _hull_of_entries(x: Interval, first: Array, last: Array) -> Interval:
    """Returns the hull of x[..., k] over first <= k <= last; x (..., n), and first and last broadcast to (...)."""
    places = jnp.arange(x.lo.shape[-1])
    chosen = (first[..., None] <= places) & (places <= last[..., None])
    dtype = x.lo.dtype
    least, greatest = (-jnp.inf, jnp.inf) if jnp.issubdtype(dtype, jnp.floating) else (False, True)
    if jnp.issubdtype(dtype, jnp.integer):
        least, greatest = jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
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


# None stands for operations on whole numbers that are neither increasing nor decreasing: bit by bit.
OF_WHOLE_NUMBERS: dict[str, Callable | None] = {
    **{"div": _quotient, "rem": _remainder},
    **dict.fromkeys(("and", "or", "xor"), None),
}
# These return None for the cases that have no extension here.
SELECTIONS: dict[str, Callable] = {"sort": _sort, "dynamic_slice": _dynamic_slice, "gather": _gather}
