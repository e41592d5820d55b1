"""Adaptive subdivision in a fixed number of cells: the one loop underneath every integral.

A cell is a box in the variables t of some axes. Every turn of one compiled loop halves the worst cells, many at once,
each along the axis that its rule says is the worst, and applies the rule to the halves (QUADPACK's global adaption,
Piessens et al., 1983, for a machine that works on many cells side by side).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.shards import varying_axes, varying_over


class Findings(NamedTuple):
    """What a rule says of k cells.

    Attributes:
        value: The m integrals over each cell, (k, m).
        error: How far they may be off by what the rule has seen, (k, m).
        hidden: How far by what it may not have seen, (k, m).
        floor: What rounding leaves of the error at best, (k, m).
        axis: The axis that each cell is to be halved along, (k,).
    """

    value: Array
    error: Array
    hidden: Array
    floor: Array
    axis: Array


class Outcome(NamedTuple):
    """value (m,), error (m,), whether cells ran out, and how many were evaluated."""

    value: Array
    error: Array
    full: Array
    evaluated: Array


class _State(NamedTuple):
    """The loop: the cells, how many are in use, and those to be evaluated next with their places.

    Each row of the table is a cell: for its d axes the number of the piece, then lo, then hi in t; m columns each of
    value, error, hidden and floor; the axis. One array, so that a cell is put into its place by one operation, each of
    which costs compile time. What is not in use yet is 0.
    """

    table: Array  # (limit, 3 d + 4 m + 1)
    count: Array
    pending: Array  # (cells a turn, 3 d)
    slots: Array  # (cells a turn,), limit where there is none
    evaluated: Array
    doubted: Array  # whether what is hidden still counts


def subdivide(
    rule: Callable[[Array], Findings], m: int, limit: int, first: Array, used: Array, epsabs: Array, epsrel: Array
) -> Outcome:
    """Integrates over the first cells, halving the worst until the error of each of m integrals is within tolerance.

    Args:
        rule: Takes cells (k, 3 d): the number of the piece, lo and hi, each for all d axes.
        m: The number of integrals.
        limit: The most cells.
        first: The cells to begin with, (k, 3 d); as many are evaluated in every turn.
        used: Which of them there are, (k,).
        epsabs: The absolute error to reach.
        epsrel: The relative error to reach, of every component.
    """
    if len(first) % 2:  # every turn evaluates pairs of halves
        first, used = jnp.concatenate([first, first[:1]]), jnp.append(used, False)
    count, columns = first.shape
    table = jnp.zeros((limit, columns + 4 * m + 1), first.dtype)
    slots = jnp.where(used, jnp.arange(count), limit)
    start = _State(table, jnp.array(count), first, slots, jnp.array(0), jnp.array(True))
    start = varying_over(varying_axes(first), start)
    turn = functools.partial(_turn, rule, m, epsabs, epsrel)
    state = jax.lax.while_loop(lambda state: jnp.any(state.slots < limit), turn, start)
    value, error = _totals(state, m)
    return Outcome(value, error, state.count >= limit, state.evaluated)


def _turn(rule: Callable, m: int, epsabs: Array, epsrel: Array, state: _State) -> _State:
    """Evaluates the pending cells, puts them in their places, and halves the worst."""
    found = rule(state.pending)
    columns = (state.pending, *found[:4], found.axis[:, None].astype(state.pending.dtype))
    table = state.table.at[state.slots].set(jnp.concatenate(columns, axis=1), mode="drop")
    limit = len(table)
    evaluated = state.evaluated + jnp.sum(state.slots < limit)
    # Bounds that are too wide to say anything doubt every cell: past half of the room they are not heard.
    doubted = state.doubted & (state.count <= limit // 2)
    state = state._replace(table=table, evaluated=evaluated, doubted=doubted)
    value, error = _totals(state, m)
    tolerance = jnp.maximum(epsabs, epsrel * jnp.abs(value))
    errors, floor = _errors(state, m), _results(state, m)[3]
    worth = (errors > tolerance / (2 * state.count)) & (errors > 2 * floor) & (error > tolerance)
    weight = jnp.max(jnp.where(worth, errors / jnp.maximum(tolerance, jnp.finfo(table.dtype).tiny), 0.0), axis=1)
    _, lo, hi, along = _places(table, m)
    fine = 8 * jnp.finfo(lo.dtype).eps * jnp.maximum(jnp.abs(lo), jnp.abs(hi))
    weight = jnp.where(jnp.any(along & (hi - lo > fine), axis=1), weight, 0.0)
    return _halved(state, m, *jax.lax.top_k(weight, len(state.slots) // 2))


def _halved(state: _State, m: int, weights: Array, worst: Array) -> _State:
    """Makes the halves of the worst cells pending: the left takes its parent's place, the right the next free one."""
    limit = len(state.table)
    free = state.count + jnp.arange(len(worst))
    chosen = (weights > 0) & (free < limit)
    piece, lo, hi, along = _places(state.table[worst], m)
    middle = (lo + hi) / 2
    left = jnp.concatenate([piece, lo, jnp.where(along, middle, hi)], axis=1)
    right = jnp.concatenate([piece, jnp.where(along, middle, lo), hi], axis=1)
    slots = jnp.where(jnp.tile(chosen, 2), jnp.concatenate([worst, free]), limit)
    pending = jnp.concatenate([left, right])
    return state._replace(count=state.count + jnp.sum(chosen), pending=pending, slots=slots)


def _places(table: Array, m: int) -> tuple[Array, Array, Array, Array]:
    """Piece, lo, hi, and which axis is the one to be halved, each (k, d)."""
    d = (table.shape[1] - 4 * m - 1) // 3
    along = table[:, -1:] == jnp.arange(d)
    return table[:, :d], table[:, d : 2 * d], table[:, 2 * d : 3 * d], along


def _results(state: _State, m: int) -> Array:
    """Value, error, hidden and floor, (4, limit, m)."""
    parts = state.table[:, -4 * m - 1 : -1]
    return jnp.moveaxis(parts.reshape(len(parts), 4, m), 1, 0)


def _errors(state: _State, m: int) -> Array:
    _, error, hidden, _ = _results(state, m)
    return error + jnp.where(state.doubted, hidden, 0.0)


def _totals(state: _State, m: int) -> tuple[Array, Array]:
    return jnp.sum(_results(state, m)[0], axis=0), jnp.sum(_errors(state, m), axis=0)
