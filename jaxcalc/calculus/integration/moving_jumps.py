"""What jumps whose place depends on a parameter add to the derivative of an integral.

    d/dp int f(x, p) dx = int f_p dx + sum over the jumps x_j(p) of (f(x_j - 0) - f(x_j + 0)) dx_j/dp

The integral of where(x < c, 1, 3) over [0, 1] is 3 - 2 c, the integral of its derivative is 0. Interval arithmetic
excludes switches from cells, and bisection narrows the other cells to the last digits of x; the implicit function
theorem on what switches there gives the speed. A kink, as of |x - c|, adds nothing.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxcalc.calculus import modes
from jaxcalc.calculus.intervals.enclosures import enclosure
from jaxcalc.calculus.intervals.switches import Switches

# The most cells that may hold a switch at one time.
_CELLS = 256
# A cell is the last once it is so many eps |x| wide, since interval arithmetic rounds by a few.
_WIDTH = 8
# After so many bisections beyond the digits of x a cell is the last, too: next to 0.
_NEXT_TO_ZERO = 64


def change_by_jumps(
    f: Callable, a: Array, b: Array, parameters: list[Array], others: list[Array], varies: list[bool], m: int
) -> Array | None:
    """Returns what jumps add to the derivatives of the integrals of f(x, parameters, others) from a to b, (m, entries).

    It is nan where f jumps and the speed is not known: where the switch has no operand, as that of argmax, and where
    several switch at one place and differ in speed; or if more than `_CELLS` cells may hold switches.

    Args:
        f: The integrand, of a number x, whose result has shape (m,).
        a: The lower end, ().
        b: The upper end, (); both may be infinite.
        parameters: A list of floating arrays.
        others: A list of other arrays.
        varies: Which of the parameters vary; the entries are those of these parameters.
        m: The number of integrals.

    Returns:
        None if no switch of f depends on x and on a parameter that varies.
    """
    switches = Switches(f, a, parameters, others)
    leaves = zip(parameters, switches.depend, varies, strict=True)
    moving = np.concatenate([np.full(p.size, depends) for p, depends, chosen in leaves if chosen])
    if not moving.any():
        return None
    fixed = lax.stop_gradient((a, b, parameters))
    edges, lo, hi, left_out = _last_cells(switches, *fixed, others)
    switched = jax.vmap(lambda lo, hi: _switched(switches, lo, hi, fixed[2], others))(lo, hi)  # (cells, k)
    found, last = jnp.any(switched, axis=1), switched.shape[1] - 1
    chosen = jnp.argmax(switched, axis=1), last - jnp.argmax(switched[:, ::-1], axis=1)
    # Derivatives are taken everywhere at places that were found: nan times 0 is nan.
    lo, hi = (jnp.where(found, end, end[jnp.argmax(found)]) for end in (lo, hi))
    jacobian = jax.jacrev if m <= moving.size else jax.jacfwd

    def at_cell(lo: Array, hi: Array, chosen: tuple[Array, Array]) -> tuple[Array, ...]:
        below = _moved(switches.operands, chosen[0], lo, parameters, others)
        speeds = [_speed(switches.operands, k, below, parameters, others, varies, jacobian) for k in chosen]
        return f(below, parameters, others), f(below + (hi - lo), parameters, others), *speeds

    below, above, speed, same = jax.vmap(at_cell)(lo, hi, chosen)
    samples = jnp.concatenate([jax.vmap(lambda x: f(x, fixed[2], others))(edges), below, above])
    size = jnp.max(jnp.where(jnp.isfinite(samples), jnp.abs(samples), 0.0), axis=0)
    least = switches.eps**0.5
    jump, of_cell = jnp.where(found[:, None], below - above, 0.0), (found[:, None] & moving)[:, None]
    known = (jnp.abs(speed - same) <= least * jnp.abs(speed))[:, None]
    change = jnp.sum(jnp.where(of_cell & known, jump[:, :, None] * speed[:, None], 0.0), axis=0)
    unknown = jnp.any(of_cell & ~known & ~(jnp.abs(jump) <= least * size)[:, :, None], axis=0) | (left_out & moving)
    # The product, unlike a choice, makes derivatives nan, too.
    return jnp.where(b < a, -change, change) * jnp.where(unknown, jnp.nan, 1.0)


def _switched(switches: Switches, lo: Array, hi: Array, parameters: list[Array], others: list[Array]) -> Array:
    """Returns which switches change their side between lo and hi, (k,), but for those that another one switches.

    What is constant beside the place crosses nothing there: it jumps itself.
    """
    sides = [switches.sides(x, parameters, others) for x in (lo, hi)]
    operand, slope = modes.jvp(lambda x: switches.operands(x, parameters, others), (lo,), (jnp.ones_like(lo),))
    return (sides[0] != sides[1]) & ((slope != 0) | jnp.isnan(operand))


def _last_cells(
    switches: Switches, a: Array, b: Array, parameters: list[Array], others: list[Array]
) -> tuple[Array, Array, Array, Array]:
    """Returns the edges of the first cells, the ends of the last, (cells,) each, and whether some were left out."""
    bounds = enclosure(lambda x: switches.sides(x, parameters, others), partial=True)

    def may_switch(lo: Array, hi: Array) -> Array:
        found = bounds(lo, hi)
        if found.is_complete:
            return jnp.any(found.lo < found.hi)
        return jnp.any(switches.sides(lo, parameters, others) != switches.sides(hi, parameters, others))

    info = jnp.finfo(a.dtype)
    ends = jnp.clip(jnp.stack([jnp.minimum(a, b), jnp.maximum(a, b)]), -info.max / 8, info.max / 8)
    first, last = jnp.arcsinh(ends)
    between = jnp.sinh(first + (last - first) / _CELLS * jnp.arange(1, _CELLS, dtype=a.dtype))
    edges = jnp.concatenate([ends[:1], jnp.clip(between, *ends), ends[1:]])

    def halved(state: tuple[Array, ...]) -> tuple[Array, ...]:
        count, lo, hi, wide, left_out = state
        middle = jnp.where(wide, _middle(lo, hi), hi)
        lo, hi = jnp.concatenate([lo, middle]), jnp.concatenate([middle, hi])
        may = jax.vmap(may_switch)(lo, hi) & (lo < hi)
        left_out |= jnp.sum(may) > _CELLS
        may, kept = lax.top_k(may.astype(jnp.int32), _CELLS)
        lo, hi = lo[kept], jnp.where(may > 0, hi[kept], lo[kept])
        return count + 1, lo, hi, hi - lo > _WIDTH * switches.eps * jnp.maximum(jnp.abs(lo), jnp.abs(hi)), left_out

    def going(state: tuple[Array, ...]) -> Array:
        return jnp.any(state[3]) & (state[0] < info.nmant + _NEXT_TO_ZERO)

    start = jnp.array(0), edges[:-1], edges[1:], edges[1:] > edges[:-1], a != a
    _, lo, hi, _, left_out = lax.while_loop(going, halved, start)
    return edges, lo, hi, left_out


def _middle(lo: Array, hi: Array) -> Array:
    """Returns the middle in x of a narrow cell, else that in arsinh x, which reaches the ends of the line."""
    narrow = hi - lo < jnp.abs(lo + hi) / 8
    return jnp.where(narrow, lo + (hi - lo) / 2, jnp.clip(jnp.sinh((jnp.arcsinh(lo) + jnp.arcsinh(hi)) / 2), lo, hi))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moved(operands: Callable, k: Array, x: Array, parameters: list[Array], others: list[Array]) -> Array:
    """Returns x, which moves with the parameters as the place does at which operand k crosses a border."""
    return x


@_moved.defjvp
def _implicit(operands: Callable, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    k, x, parameters, others = primals
    x = _moved(operands, k, x, parameters, others)
    _, change = modes.jvp(lambda p: operands(x, p, others)[k], (parameters,), (tangents[2],))
    return x, -change / _slope(operands, k, x, parameters, others)


def _slope(operands: Callable, k: Array, x: Array, parameters: list[Array], others: list[Array]) -> Array:
    """Returns the slope of operand k in x; nan in the place of 0, the slope of what is not known."""
    _, slope = modes.jvp(lambda x: operands(x, parameters, others)[k], (x,), (jnp.ones_like(x),))
    return jnp.where(slope == 0, jnp.nan, slope)


def _speed(
    operands: Callable, k: Array, x: Array, parameters: list[Array], others: list[Array], varies: list[bool],
    jacobian: Callable[..., Any],
) -> Array:  # fmt: skip
    """Returns the derivative of the place x with respect to the entries of the parameters that vary, (entries,)."""

    def operand(varying: list[Array]) -> Array:
        given = iter(varying)
        every = [next(given) if chosen else p for p, chosen in zip(parameters, varies, strict=True)]
        return operands(x, every, others)[k]

    slopes = jacobian(operand)([p for p, chosen in zip(parameters, varies, strict=True) if chosen])
    flat = jnp.concatenate([jnp.ravel(slope) for slope in slopes])
    return -flat / _slope(operands, k, x, parameters, others)
