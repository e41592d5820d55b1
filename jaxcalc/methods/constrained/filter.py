"""A filter: pairs of violation and merit that further points must not be dominated by (Fletcher and Leyffer 2002).

A point is acceptable if of every pair it has the lower violation or the lower merit. `PLACES` pairs are kept; when a
further one comes, the oldest goes.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxcalc.core.kernels import kernel

PLACES = 4
# By how much a point has to be better than a pair, of the violation.
LESS_VIOLATION, LESS_MERIT = 1e-5, 1e-8


class Filter(NamedTuple):
    """The pairs, the latest last; infinite violations are free places."""

    violation: Array  # (PLACES, L)
    merit: Array  # (PLACES, L)

    @classmethod
    def empty(cls, lanes: int, dtype: Any) -> "Filter":
        """Returns filters without pairs."""
        never = jnp.full((PLACES, lanes), jnp.inf, dtype)
        return cls(never, never)

    def emptied(self, where: Array) -> "Filter":
        """Returns the filters without pairs in these lanes, (L,)."""
        return self._replace(violation=jnp.where(where, jnp.inf, self.violation))

    def accepts(self, violation: Array, merit: Array) -> Array:
        """Returns where a point is acceptable, (L,)."""
        return jnp.all((violation <= self.violation) | (merit <= self.merit), axis=0)

    def with_pair(self, violation: Array, merit: Array, where: Array) -> "Filter":
        """Returns the filters with the pair that a point makes, in these lanes, without the pairs that it dominates."""
        return Filter(*_with_pair(self.violation, self.merit, violation, merit, where))


@kernel
def _with_pair(violations: Array, merits: Array, violation: Array, merit: Array, where: Array) -> tuple[Array, Array]:
    new = (1 - LESS_VIOLATION) * violation, merit - LESS_MERIT * violation
    dominated = (violations >= new[0]) & (merits >= new[1])
    kept = jnp.where(dominated, jnp.inf, violations)
    # The place that is given up: the first that is free, or the oldest pair's.
    free = jnp.isinf(kept)
    first_free = jnp.where(jnp.any(free, axis=0), jnp.argmax(free, axis=0), 0)
    places = jnp.arange(len(kept))[:, None]

    def pushed(old: Array, entry: Array) -> Array:
        # Places from the one given up on move up by one, and the pair takes the last place.
        moved = jnp.where(places >= first_free, jnp.roll(old, -1, axis=0), old)
        return jnp.where(places == len(old) - 1, entry, moved)

    return (
        jnp.where(where, pushed(kept, new[0]), violations),
        jnp.where(where, pushed(merits, new[1]), merits),
    )
