"""What makes a comparison fair: who solved how much, recomputed, and the loosest tolerance that solves as much."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

GRADIENT = 1e-5
# Half-decades, loosest first. Below the last one nothing is left to tell in double precision.
TOLERANCES = tuple(10 ** (-k / 2) for k in range(6, 31))


@dataclasses.dataclass(frozen=True)
class Found:
    """The end of a search over tolerances: where it stopped, the share solved there, and whether that is enough."""

    tolerance: float
    share: float
    enough: bool
    tried: dict[float, float]


def solved_share(fun: Callable, x: Array, args: tuple, gradient: float = GRADIENT) -> float:
    """Returns the share of problems whose gradient, recomputed at x (N, n), is at most `gradient` in every component.

    One per cent is allowed for the rounding of the recomputation, to everybody. NaN is not solved.
    """
    largest = jnp.max(jnp.abs(jax.jit(jax.vmap(jax.grad(fun)))(x, *args)), axis=-1)
    return float(jnp.mean(largest <= 1.01 * gradient))


def loosest_tolerance(
    share_at: Callable[[float], float], wanted: float, tolerances: Sequence[float] = TOLERANCES
) -> Found:
    """Searches from loose to tight for the first tolerance that solves the share wanted.

    If none does, it is the loosest at which the best share is reached, and `enough` is False.
    """
    tried: dict[float, float] = {}
    for tolerance in sorted(tolerances, reverse=True):
        tried[tolerance] = share_at(tolerance)
        if tried[tolerance] >= wanted:
            return Found(tolerance, tried[tolerance], True, tried)
    best = max(tried.values())
    tolerance = max(tolerance for tolerance, share in tried.items() if share == best)
    return Found(tolerance, best, False, tried)
