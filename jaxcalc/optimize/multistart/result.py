"""The result of a multistart, and what the counts of its basins tell about minima that it has not seen."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, Self, SupportsIndex, overload

import jax
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxcalc.engine.certificate import Certificate
from jaxcalc.engine.result import X
from jaxcalc.engine.status import RUNNING, is_success, words_of

# Of how many problems of a batch the message speaks.
SPOKEN_OF = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Minima(Generic[X]):
    """The distinct local minima that a multistart has found, m of them, the best first.

    Row 0 is always the lowest value found. The other rows are ends of descents that succeeded and that the second
    derivatives do not show to be anything else than a minimum. Should the lowest end have failed, its status says how,
    and `message` says so too.

    With many=True one `Minima` holds P problems: every field has a leading axis P, and m is the largest number of
    minima of a problem. Problems with fewer are filled up with rows that are none: x and fun nan, count 0, status -1, a
    certificate "not critical". `minima[i]` is the `Minima` of problem i without such rows, `len(minima)` is P, and a
    loop over `minima` goes over the problems. `minima["x"]` is `minima.x`.

    Attributes:
        x: Where they lie, in the form of the bounds, leaves (m, ...).
        fun: Their values, (m,), ascending.
        count: How many of the sampled starts ended in each, (m,); 0 is one that only the search rounds have found.
        status: How the descent to each ended, (m,) codes of `Status`.
        certificate: What kind of point each is, a `Certificate` with the axis (m,). A plain, on which f is flat along a
            line or a surface, is one minimum of the kind "degenerate".
        missed_probability: The estimated chance that the sampled starts have missed a minimum, however small its
            basin: 1 - prod_{i=1}^{w} (N - 1 - i) / (N - 1 + i), where w is the number of rows with a count, and N the
            sum of their counts. Near 1 it says that there are many more minima, not that the best one is wrong.
        unseen_share: The estimated share of the starts' volume in basins that no sampled start has seen: the larger of
            Good's and Turing's (number of minima seen once) / N, and w (w + 1) / (N (N - 1)).
        expected_minima: The estimated number of all minima, w (N - 1) / (N - w - 2); infinite where N <= w + 2.
        starts: How many starts were sampled; N is less where descents failed or ended in saddles.
        rounds: How many search rounds followed.
        nfev: Evaluations of fun: with its gradient in the descents, without on the lines between their ends. The
            certificates take one Hessian for each end that is distinct.
        constraint_violation: With constraints, by how much each violates the one that it violates most, (m,); else
            None.
    """

    x: X
    fun: Array
    count: Array
    status: Array
    certificate: Certificate
    missed_probability: Array
    unseen_share: Array
    expected_minima: Array
    starts: Array
    rounds: Array
    nfev: Array
    constraint_violation: Array | None = None

    @property
    def success(self) -> Array:
        """Where the descent succeeded, (m,) booleans; false in row 0 at most, and where many=True filled up."""
        return is_success(self.status)

    @property
    def number(self) -> Array:
        """How many minima are listed, () or with many=True (P,)."""
        return (self.status != RUNNING).sum(-1)

    @property
    def message(self) -> str:
        """What was found, in a sentence; with many=True a line for each of the first problems. Made on the host."""
        if np.ndim(self.starts) == 1:
            lines = [f"problem {i}: {self[i].message}" for i in range(min(len(self), SPOKEN_OF))]
            more = len(self) - SPOKEN_OF
            return "\n".join(lines + [f"and {more} more problems"] * (more > 0))
        found = f"{self.fun.shape[0]} distinct, the lowest {float(self.fun[0]):.10g}: "
        if self.success[0]:
            found += self.certificate.kind_name[0]
        else:
            found += f"its descent did not succeed, {words_of(self.status[0])}"
        expected = float(self.expected_minima)
        estimate = f"about {expected:.0f}" if np.isfinite(expected) else "far more than were seen"
        return (
            f"{found}. Estimated number of minima: {estimate} (missed_probability {float(self.missed_probability):.2g})"
        )

    def __len__(self) -> int:
        """The number of problems, with many=True."""
        if np.ndim(self.starts) == 0:
            raise TypeError(
                "these are the minima of one problem, of which there are len(minima.fun); multistart(..., many=True) "
                "returns those of several problems."
            )
        return self.starts.shape[0]

    def __bool__(self) -> bool:
        """True for any result, as for other objects."""
        return True

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: SupportsIndex | slice | np.ndarray | Array) -> Self: ...
    def __getitem__(self, key: Any) -> Any:
        """The field of this name, or with many=True the minima of these problems: an index, a slice or a mask."""
        if isinstance(key, str):
            if key not in dir(self) or key.startswith("_"):
                names = ", ".join(field.name for field in dataclasses.fields(self))
                raise KeyError(f"there is no {key!r} in the minima; there are {names}.")
            return getattr(self, key)
        problems = len(self)
        if not isinstance(key, int | np.integer):
            return jax.tree.map(lambda leaf: leaf[key], self)
        if not -problems <= key < problems:
            raise IndexError(f"there is no problem {key}; there are {problems}.")
        if isinstance(self.status, Tracer):
            raise TypeError(
                "how many minima a problem has is not known under jax.jit and jax.vmap: take minima[i] outside, or use "
                "the rows of minima.fun[i] in which minima.success[i] is true."
            )
        one = jax.tree.map(lambda leaf: leaf[key], self)
        rows = slice(int(one.number))
        names = ("x", "fun", "count", "status", "certificate", "constraint_violation")
        listed = {name: getattr(one, name) for name in names}
        return dataclasses.replace(one, **jax.tree.map(lambda leaf: leaf[rows], listed))

    def __iter__(self) -> Iterator[Self]:
        """The minima of each problem, with many=True."""
        return (self[problem] for problem in range(len(self)))


class Coverage(NamedTuple):
    """What starts that ended in `seen` different minima tell of those not seen; see `Minima` for the estimates."""

    seen: int
    missed_probability: float
    unseen_share: float
    expected_minima: float

    @property
    def is_enough(self) -> bool:
        """The stopping rule: fewer than half a minimum is expected to be missing."""
        return self.expected_minima < self.seen + 0.5


def coverage(counts: np.ndarray) -> Coverage:
    """Returns the estimates, from how many starts ended in each minimum.

    Before any start, every division of the volume among any number of minima is taken as equally likely.

    Source: C. Boender and A. Rinnooy Kan, Bayesian stopping rules for multistart global optimization methods (1987);
    I. Good, The population frequencies of species and the estimation of population parameters (1953).
    """
    counts = counts[counts > 0]
    seen, starts = len(counts), int(counts.sum())
    if starts < 2:
        return Coverage(seen, 1.0, 1.0, np.inf)
    i = np.arange(1, seen + 1)
    all_found = np.prod(np.maximum(starts - 1 - i, 0) / (starts - 1 + i))
    unseen = max(np.sum(counts == 1) / starts, seen * (seen + 1) / (starts * (starts - 1)))
    expected = seen * (starts - 1) / (starts - seen - 2) if starts > seen + 2 else np.inf
    return Coverage(seen, float(1 - all_found), float(min(unseen, 1.0)), float(expected))
