"""Adaptive subdivision into at most `limit` cells: the one loop of all integrals, of one and of several variables.

A cell is a box in the variables t of d axes. Every iteration of one compiled loop bisects the cells of the largest
errors, many at once, each along the axis that the quadrature rule has chosen, and applies the rule to the halves. This
is QUADPACK's globally adaptive scheme (Piessens et al., 1983), for hardware that evaluates many cells side by side.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.shards import varying_axes, varying_over

# The rounding error of a weighted sum of values of f, in units of eps times the integral of |f|.
SUM_ROUNDING = 10.0


class CellIntegrals(NamedTuple):
    """The integrals over each of k cells by a quadrature rule, with their errors.

    Attributes:
        value: The m integrals over each cell, (k, m).
        error: The estimated error of each value, (k, m), from the values of f at the nodes and from what a break (a
            jump or a kink) inside of the cell could do.
        hidden_error: The further error that a peak between the nodes could cause, (k, m).
        rounding_error: The error that rounding leaves in each value, (k, m); `error` does not fall below it. inf where
            the cell holds a singularity that rounding hides, so that the integral over the cell may not exist.
        size: The integrals of |f|, (k, m).
        split_axis: The axis along which to bisect each cell, (k,).
    """

    value: Array
    error: Array
    hidden_error: Array
    rounding_error: Array
    size: Array
    split_axis: Array


class Total(NamedTuple):
    """The sum over all cells.

    Attributes:
        value: The m integrals, (m,).
        error: The sum of the errors of the cells, (m,).
        tolerance: The largest error that counts as success, (m,).
        singular: Whether a cell holds a singularity that rounding hides.
        full: Whether all `limit` cells are in use.
        evaluated: The number of cells that the rule was applied to.
    """

    value: Array
    error: Array
    tolerance: Array
    singular: Array
    full: Array
    evaluated: Array


class State(NamedTuple):
    """The state of the loop.

    A row of the table holds one cell in 3 d + 5 m + 1 columns: for each of the d axes the number of the piece, then for
    each the lower end in t, then for each the upper end in t; m columns each of value, error, hidden_error,
    rounding_error and size; split_axis. The table is one array because every operation costs compile time, and one
    scatter then stores a cell. Unused rows are 0.
    """

    table: Array  # (limit, 3 d + 5 m + 1)
    count: Array  # the number of cells in use
    pending: Array  # (cells per iteration, 3 d), the cells to which the rule is applied next
    rows: Array  # (cells per iteration,), the row of the table of each pending cell; limit for none
    evaluated: Array  # the number of cells that the rule was applied to
    counts_hidden: Array  # whether hidden_error is part of the error


def subdivide(
    rule: Callable[[Array], CellIntegrals], m: int, limit: int, first: Array, used: Array, epsabs: Array, epsrel: Array
) -> Total:
    """Integrates over the first cells, bisecting the worst until the error of each of m integrals is within tolerance.

    Args:
        rule: Takes cells (k, 3 d): for all d axes the number of the piece, then the lower and the upper ends in t.
        m: The number of integrals.
        limit: The most cells.
        first: The initial cells, (k, 3 d). Every iteration evaluates k cells.
        used: Whether each initial cell is part of the range, (k,).
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach, of every component.
    """
    start = varying_over(varying_axes(first), first_state(m, limit, first, used))
    step = functools.partial(iterate, rule, m, epsabs, epsrel)
    return total_of(jax.lax.while_loop(is_going, step, start), m, epsabs, epsrel)


def first_state(m: int, limit: int, first: Array, used: Array) -> State:
    """Returns the state in which the first cells are pending; see `subdivide`."""
    if len(first) % 2:  # an iteration evaluates the two halves of k / 2 cells
        first, used = jnp.concatenate([first, first[:1]]), jnp.append(used, False)
    count, columns = first.shape
    table = jnp.zeros((limit, columns + 5 * m + 1), first.dtype)
    rows = jnp.where(used, jnp.arange(count), limit)
    return State(table, jnp.array(count), first, rows, jnp.array(0), jnp.array(True))


def is_going(state: State) -> Array:
    """Returns whether any cell is pending."""
    return jnp.any(state.rows < len(state.table))


def total_of(state: State, m: int, epsabs: Array, epsrel: Array) -> Total:
    """Returns the sum over all cells of the table."""
    value, error = _totals(state, m)
    tolerance = _tolerance(state, m, value, epsabs, epsrel)
    singular = jnp.any(jnp.isinf(_integrals(state, m)[3]))
    return Total(value, error, tolerance, singular, state.count >= len(state.table), state.evaluated)


def iterate(rule: Callable, m: int, epsabs: Array, epsrel: Array, state: State) -> State:
    """Applies the rule to the pending cells, stores them in the table, and bisects the worst cells of the table."""
    found = rule(state.pending)
    columns = (state.pending, *found[:5], found.split_axis[:, None].astype(state.pending.dtype))
    table = state.table.at[state.rows].set(jnp.concatenate(columns, axis=1), mode="drop")
    limit = len(table)
    evaluated = state.evaluated + jnp.sum(state.rows < limit)
    # An enclosure much wider than the range of f gives every cell a hidden error. Such an enclosure must not use up all
    # cells, so hidden errors count only until half of the table is full.
    counts_hidden = state.counts_hidden & (state.count <= limit // 2)
    state = state._replace(table=table, evaluated=evaluated, counts_hidden=counts_hidden)
    value, error = _totals(state, m)
    tolerance = _tolerance(state, m, value, epsabs, epsrel)
    errors, rounding_error = _errors(state, m), _integrals(state, m)[3]
    reducible = (errors > tolerance / (2 * state.count)) & (errors > 2 * rounding_error) & (error > tolerance)
    relative = errors / jnp.maximum(tolerance, jnp.finfo(table.dtype).tiny)
    priority = jnp.max(jnp.where(reducible, relative, 0.0), axis=1)
    _, lo, hi, split = _cells(table, m)
    least_width = 8 * jnp.finfo(lo.dtype).eps * jnp.maximum(jnp.abs(lo), jnp.abs(hi))
    priority = jnp.where(jnp.any(split & (hi - lo > least_width), axis=1), priority, 0.0)
    return _bisected(state, m, *jax.lax.top_k(priority, len(state.rows) // 2))


def _bisected(state: State, m: int, priority: Array, worst: Array) -> State:
    """Makes the halves of the worst cells pending: the lower half takes the parent's row, the upper half a free row."""
    limit = len(state.table)
    free = state.count + jnp.arange(len(worst))
    chosen = (priority > 0) & (free < limit)
    piece, lo, hi, split = _cells(state.table[worst], m)
    middle = (lo + hi) / 2
    lower = jnp.concatenate([piece, lo, jnp.where(split, middle, hi)], axis=1)
    upper = jnp.concatenate([piece, jnp.where(split, middle, lo), hi], axis=1)
    rows = jnp.where(jnp.tile(chosen, 2), jnp.concatenate([worst, free]), limit)
    pending = jnp.concatenate([lower, upper])
    return state._replace(count=state.count + jnp.sum(chosen), pending=pending, rows=rows)


def _cells(table: Array, m: int) -> tuple[Array, Array, Array, Array]:
    """Returns the number of the piece, lo, hi, and whether the axis is the one to bisect along, each (rows, d)."""
    d = (table.shape[1] - 5 * m - 1) // 3
    split = table[:, -1:] == jnp.arange(d)
    return table[:, :d], table[:, d : 2 * d], table[:, 2 * d : 3 * d], split


def _integrals(state: State, m: int) -> Array:
    """Returns value, error, hidden_error, rounding_error and size of every row of the table, (5, limit, m)."""
    parts = state.table[:, -5 * m - 1 : -1]
    return jnp.moveaxis(parts.reshape(len(parts), 5, m), 1, 0)


def _errors(state: State, m: int) -> Array:
    """Returns the error of every row of the table, with the hidden error as long as hidden errors count, (limit, m)."""
    _, error, hidden_error, *_ = _integrals(state, m)
    return error + jnp.where(state.counts_hidden, hidden_error, 0.0)


def _tolerance(state: State, m: int, value: Array, epsabs: Array, epsrel: Array) -> Array:
    """Returns max(epsabs, epsrel |value|), or the rounding error of a value that cannot be told from 0, (m,).

    The rounding error of the sum is r = 10 eps times the integral of |f|. No relative error of an integral that is 0
    can be reached: where |value| <= 2 r, an error of 4 r is all that the arithmetic can do.
    """
    rounding = SUM_ROUNDING * jnp.finfo(value.dtype).eps * jnp.sum(_integrals(state, m)[4], axis=0)
    of_zero = jnp.where((jnp.abs(value) <= 2 * rounding) & jnp.isfinite(rounding), 4 * rounding, 0.0)
    return jnp.maximum(jnp.maximum(epsabs, epsrel * jnp.abs(value)), of_zero)


def _totals(state: State, m: int) -> tuple[Array, Array]:
    """Returns the integrals and their errors, summed over all cells, each (m,)."""
    return jnp.sum(_integrals(state, m)[0], axis=0), jnp.sum(_errors(state, m), axis=0)
