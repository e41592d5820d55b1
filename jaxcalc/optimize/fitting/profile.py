"""Intervals by profiles: how far a parameter can move, all others refitted, until the cost has risen too far.

With c(v) the least cost at which a parameter has the value v, and c the minimum, let

    tau(v) = sign(v - popt) sqrt(2 (c(v) - c) / s^2).

tau is nearly a straight line, and the ends of the interval are where it is +t and -t. Newton's method finds them from
the ends of the symmetric interval: the slope of c is the gradient's component of the parameter that is held at v.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.core.arguments import require_known
from jaxcalc.engine.family.residual import Residual
from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.solve import solve_all
from jaxcalc.engine.status import Status
from jaxcalc.methods.box import Box

# Rounds of refits; an end that lies at infinity takes them all.
MOST_ROUNDS = 14
# By how much an end that is not yet enclosed may move away from popt in a round.
GROWTH = 4.0


class _Search(NamedTuple):
    """The search for K ends, in units of the distance from popt, (K,) each."""

    distance: np.ndarray  # |v - popt| of the next refit
    inside: np.ndarray  # the largest distance known to lie inside the interval
    outside: np.ndarray  # the least distance known to lie outside; infinite where none is
    found: np.ndarray
    at_bound: np.ndarray


def profile_ends(
    model: Callable,
    family: type[Residual],
    problem: Problem,
    popt: Array,
    pcov: Array,
    cost: Array,
    variance: Array,
    quantile: Array,
    success: Array,
) -> tuple[Array, Array]:
    """Returns the lower and the upper ends of the intervals of all parameters of N fits, (N, n) each.

    Args:
        model: The model.
        family: The family of the problem.
        problem: The queue of N fits.
        popt: What was found, (N, n).
        pcov: Its covariance, (N, n, n).
        cost: The minima, (N,).
        variance: s^2, (N,).
        quantile: t, (N,).
        success: Which fits succeeded, (N,).
    """
    require_known("confidence_interval(method='profile')", popt)
    count, n = popt.shape
    row, j, sign = (a.ravel() for a in np.meshgrid(np.arange(count), np.arange(n), [-1.0, 1.0], indexing="ij"))
    known = np.where(np.isnan(pcov), 0, np.asarray(pcov, float))
    stderr = np.sqrt(known[row, j, j])
    t, s2, least = (np.asarray(a, float)[row] for a in (quantile, variance, cost))
    best = np.asarray(popt, float)[row]
    lower, upper = _sides(problem.box, best, row)
    room = np.where(sign > 0, upper[np.arange(len(j)), j] - best[np.arange(len(j)), j],
                    best[np.arange(len(j)), j] - lower[np.arange(len(j)), j])  # fmt: skip
    usable = np.asarray(success)[row] & (stderr > 0) & np.isfinite(stderr)
    # Others move along with the parameter as the linear model says.
    along = known[row, :, j] / np.where(usable, stderr**2, 1)[:, None]
    start = np.where(usable, np.minimum(t * stderr, room), 0)
    zero = np.zeros(len(j))
    search = _Search(start, zero, zero + np.inf, ~usable, zero > 0)
    x, precise = best + sign[:, None] * start[:, None] * along, float(jnp.finfo(popt.dtype).eps) ** 0.4
    queue = _queue(problem, row)
    for _ in range(MOST_ROUNDS):
        if search.found.all():
            break
        value = best[np.arange(len(j)), j] + sign * search.distance
        refit = _refit(model, family, queue, x, j, value, lower, upper, popt.dtype)
        x, search = _advanced(search, refit, j, sign, t, s2, least, room, precise)
        moved = best[np.arange(len(j)), j] + sign * search.distance - x[np.arange(len(j)), j]
        x = x + moved[:, None] * along
    return _ends(search, usable, best[np.arange(len(j)), j], sign, precise, (count, n, 2), popt.dtype)


def _sides(box: Box, best: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not box.is_bounded:
        return np.full_like(best, -np.inf), np.full_like(best, np.inf)
    sides = (np.asarray(side, float) for side in box)
    lower, upper = (side[row] if len(side) > 1 else np.broadcast_to(side, best.shape) for side in sides)
    return lower, upper


def _queue(problem: Problem, row: np.ndarray) -> Problem:
    """Returns the queue with the fits of these rows, (K,)."""
    rows = jax.tree.map(lambda leaf: leaf[row], (problem.x0, problem.args))
    scale, tolerances = jax.tree.map(
        lambda leaf: leaf[row] if leaf.ndim and len(leaf) == problem.rows else leaf,
        (problem.scale, problem.tolerances),
    )
    return problem._replace(x0=rows[0], args=rows[1], scale=scale, tolerances=tolerances)


def _refit(
    model: Callable, family: type[Residual], queue: Problem, x: np.ndarray, j: np.ndarray, value: np.ndarray,
    lower: np.ndarray, upper: np.ndarray, dtype: jnp.dtype,
) -> OptimizeResult:  # fmt: skip
    """Returns the fits in which parameter j[k] of problem k is held at value[k]."""
    held = np.arange(x.shape[1]) == j[:, None]
    start, *sides = (jnp.asarray(np.where(held, value[:, None], a), dtype) for a in (x, lower, upper))
    return solve_all([model], [queue._replace(x0=start, box=Box(*sides))], Options(family=family))[0]


def _advanced(
    search: _Search, refit: OptimizeResult, j: np.ndarray, sign: np.ndarray, t: np.ndarray, s2: np.ndarray,
    least: np.ndarray, room: np.ndarray, precise: float,
) -> tuple[np.ndarray, _Search]:  # fmt: skip
    """Returns where the refits ended and the search after them."""
    x, gradient = np.asarray(refit.x, float), np.asarray(refit.jac, float)[np.arange(len(j)), j]
    rise, status = 2 * (np.asarray(refit.fun, float) - least) / s2, np.asarray(refit.status)
    minimised = np.asarray(refit.success) | (status == Status.STALLED)
    tau = np.where(minimised, np.sqrt(np.maximum(rise, 0)), np.nan)
    # Where the cost falls with the distance, a barrier has been passed, and the end lies on this side of it.
    within = (tau < t) & ((sign * gradient > 0) | (tau < precise * t))
    found = search.found | ((np.abs(tau - t) <= precise * t) & (sign * gradient > 0))
    at_bound = search.at_bound | (~found & within & (search.distance >= room))
    found |= at_bound
    inside = np.where(within & ~found, np.maximum(search.inside, search.distance), search.inside)
    outside = np.where(~within & ~found, np.minimum(search.outside, search.distance), search.outside)
    with np.errstate(all="ignore"):
        newton = search.distance + (t - tau) * tau * s2 / (sign * gradient)
        widest = np.where(np.isfinite(outside), outside, GROWTH * search.distance)
        middle = np.where(np.isfinite(outside), 0.5 * (inside + outside), widest)
    usable = np.isfinite(newton) & (newton > inside) & (newton < widest)
    following = np.minimum(np.where(usable, newton, middle), room)
    return x, _Search(np.where(found, search.distance, following), inside, outside, found, at_bound)


def _ends(
    search: _Search, usable: np.ndarray, best: np.ndarray, sign: np.ndarray, precise: float, shape: tuple,
    dtype: jnp.dtype,
) -> tuple[Array, Array]:  # fmt: skip
    """Returns the ends: infinite where none is enclosed, NaN where one is enclosed but not found."""
    lost = np.where(np.isfinite(search.outside), np.nan, np.inf)
    close = search.outside - search.inside <= precise * search.outside
    distance = np.where(usable, np.where(search.found | close, search.distance, lost), np.nan)
    ends = jnp.asarray((best + sign * distance).reshape(shape), dtype)
    return ends[..., 0], ends[..., 1]
