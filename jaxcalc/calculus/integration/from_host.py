"""An integral of one variable driven from the host, so that a further integrand compiles no more than itself.

    until no cell is pending:
        found = evaluate(points, intervals)                         # f and its bounds: compiled for each integrand
        state, points, intervals = advance(state, found)            # compiled once, for all integrands of m components

The loop in one program takes most of a second to compile for each integrand, f with its bounds a fraction of that. In
turn each iteration pays two calls of a program; an integral takes a few iterations.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.calculus.integration import quadrature
from jaxcalc.calculus.integration.definite import Integrand, edges_of, outcome_of, tolerances_of
from jaxcalc.calculus.integration.quadrature import Bounds, Piece, apply_rule, bounds_over, pieces_between
from jaxcalc.calculus.integration.subdivision import State, first_state, is_going, iterate, total_of
from jaxcalc.core.kernels import inlined
from jaxcalc.core.platform import quick_to_compile
from jaxcalc.core.tracing import own_promotion, reverse_mode


class _Asked(NamedTuple):
    """Where f and its bounds are to be known next: the points x, and the intervals between lo and hi."""

    x: Array
    lo: Array
    hi: Array


class _Found(NamedTuple):
    """The values of f at the points, (points, m), and the bounds over the intervals, of one form for all integrands."""

    values: Array
    bounds: Bounds


class _Fixed(NamedTuple):
    """What stays the same from step to step.

    Attributes:
        ends: a and b, (1,) each.
        edges: The ends of the pieces, (pieces + 1,).
        tolerances: epsabs and epsrel.
        pieces: The pieces.
        tail_bound: A bound of the integral beyond the first and the last cell, (m,).
        diverges: Whether the integral of a component was shown to diverge, (m,).
    """

    ends: tuple[Array, Array]
    edges: Array
    tolerances: tuple[Array, Array]
    pieces: Piece
    tail_bound: Array
    diverges: Array


def integral_from_host(
    integrand: Integrand, limit: int, a: Array, b: Array, leaves: list[Any], points: tuple[Any, ...], epsabs: Any,
    epsrel: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """Integrates a traced f of one variable between one pair of ends; takes and returns what `integrals_of` does."""
    evaluate, m = _evaluation(integrand), int(np.prod(integrand.output.shape))
    with own_promotion():
        ends, edges, tolerances, asked = _programs().start(m, integrand.dtype, a, b, points, epsabs, epsrel)
        values = evaluate(asked, leaves).values
        fixed, state, asked = _programs().begin(m, limit, ends, edges, tolerances, values)
        going = True
        while going:
            state, asked, going, outcome = _programs().advance(m, limit, fixed, state, evaluate(asked, leaves))
    value, error, status, nfev = outcome
    shape = integrand.output.shape
    return _shaped(value, shape), _shaped(error, shape), status, nfev


def _shaped(flat: Array, shape: tuple[int, ...]) -> Array:
    """Returns the array in this shape; by NumPy, since a small operation of JAX is a program of its own."""
    return flat if flat.shape == shape else jax.device_put(np.asarray(flat).reshape(shape))


def _evaluation(integrand: Integrand) -> Callable[[_Asked, list], _Found]:
    """Returns the program that evaluates f and its bounds, which the integrand keeps."""
    if _evaluation not in integrand.programs:

        def evaluate(asked: _Asked, leaves: list) -> _Found:
            with own_promotion(), reverse_mode(), inlined():
                f, *arrays = integrand.closed([jnp.asarray(leaf) for leaf in leaves])

                def of_number(x: Array) -> Array:
                    return f(x[None], *arrays)

                values = jax.vmap(of_number)(asked.x)
                bounds = bounds_over(of_number, asked.lo, asked.hi)
                return _Found(values, _in_one_form(bounds, len(asked.lo), values))

        integrand.programs[_evaluation] = jax.jit(evaluate, compiler_options=quick_to_compile())
    return integrand.programs[_evaluation]


def _in_one_form(bounds: Bounds | None, intervals: int, values: Array) -> Bounds:
    """Returns the bounds with what is not known of f, or needs not be, as what changes no error."""
    shape = (intervals, values.shape[1])
    steepest = jnp.full(shape, jnp.inf, values.dtype) if bounds is None else bounds.steepest
    width = jnp.zeros(shape, values.dtype) if bounds is None or bounds.range is None else bounds.range
    switched = jnp.zeros(intervals, bool) if bounds is None or bounds.switched is None else bounds.switched
    return Bounds(steepest, width, switched)


class _Programs(NamedTuple):
    """The programs that know nothing of the integrand."""

    start: Callable
    begin: Callable
    advance: Callable


@functools.cache
def _programs() -> _Programs:
    def start(m: int, dtype: Any, a: Array, b: Array, points: tuple, *tolerances: Any) -> tuple:
        a, b = (jnp.asarray(end, dtype) for end in (a, b))
        (edges,) = edges_of(a, b, tuple(jnp.asarray(along, dtype) for along in points))
        x = _asked(m, lambda values, _: pieces_between(values, edges[:-1], edges[1:])).x
        cells = quadrature.initial_cell_count(len(edges) - 1)
        missing = quadrature.points_per_iteration(len(edges) - 1) - len(x)
        x = jnp.concatenate([x, jnp.broadcast_to(x[0], missing)])
        between = jnp.broadcast_to(x[0], cells)
        return (a, b), edges, tolerances_of(dtype, 1, *tolerances), _Asked(x, between, between)

    def begin(m: int, limit: int, ends: tuple, edges: Array, tolerances: tuple, values: Array) -> tuple:
        pieces, *tail = pieces_between(lambda x: values[: len(x)], edges[:-1], edges[1:])
        state = first_state(m, limit, *quadrature.initial_cells(pieces))
        fixed = _Fixed(ends, edges, tolerances, pieces, *tail)
        return fixed, _of_one_type(state), _asked_of_cells(m, fixed, state)

    def advance(m: int, limit: int, fixed: _Fixed, state: State, found: _Found) -> tuple:
        rule = functools.partial(apply_rule, lambda x: found.values, lambda lo, hi: found.bounds, fixed.pieces)
        state = iterate(rule, m, *fixed.tolerances, state)
        total = total_of(state, m, *fixed.tolerances)
        nfev = quadrature.evaluations(total, len(fixed.edges) - 1)
        total = total._replace(error=total.error + fixed.tail_bound)
        outcome = outcome_of(total, jnp.any(fixed.diverges), nfev, *fixed.ends, [fixed.edges])
        return _of_one_type(state), _asked_of_cells(m, fixed, state), is_going(state), outcome

    options = quick_to_compile()
    return _Programs(
        *(jax.jit(program, static_argnums=(0, 1), compiler_options=options) for program in (start, begin, advance))
    )


def _of_one_type(state: State) -> State:
    """Returns the state without weak types, by which JAX would tell the first step from later ones."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)


def _asked_of_cells(m: int, fixed: _Fixed, state: State) -> _Asked:
    return _asked(m, lambda values, bounds: apply_rule(values, bounds, fixed.pieces, state.pending))


def _asked(m: int, use: Callable[[Callable, Callable], Any]) -> _Asked:
    """Returns at which points and over which intervals `use` asks for values and bounds; what it does is left out."""
    points: list[Any] = [None, (None, None)]

    def values(x: Array) -> Array:
        points[0] = x
        return jnp.zeros((len(x), m), x.dtype)

    def bounds(lo: Array, hi: Array) -> Bounds:
        points[1] = lo, hi
        return Bounds(jnp.zeros((len(lo), m), lo.dtype), None, None)

    use(values, bounds)
    return _Asked(points[0], *points[1])
