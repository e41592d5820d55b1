"""Where descents start: spread over the box, and in further rounds where the minima found so far suggest."""

import dataclasses

import numpy as np
from scipy.stats import qmc

from jaxcalc.optimize.multistart.points import Blocks, Ends, joined

# How many of the best minima are parents, and how many distinct ends are remembered.
PARENTS, REMEMBERED = 64, 1024
# Ends closer than this share of the box count as one parent.
SAME = 1e-4
# The best parent is chosen most often: its rank goes with this power of a uniform number.
GREED = 1.5
# The search ends after so many rounds without a better minimum.
PATIENCE = 6
# What counts as better, as a share of the values.
BETTER = 1e-9


@dataclasses.dataclass(frozen=True)
class Region:
    """Where starts are drawn from, (n,) each; bounds of the problem may be wider."""

    lower: np.ndarray
    upper: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """The sides; 1 where a variable is fixed."""
        side = self.upper - self.lower
        return np.where(side > 0, side, 1.0)


def spread(region: Region, count: int, seed: int) -> np.ndarray:
    """Returns `count` points that fill the region evenly, (count, n).

    Source: I. Sobol, On the distribution of points in a cube (1967); scrambled as by A. Owen (1998).
    """
    sampler = qmc.Sobol(len(region.lower), rng=np.random.default_rng(seed))
    # Sobol's points are balanced in powers of two; the first of them are what is asked for.
    points = sampler.random_base2(max(count - 1, 0).bit_length())[:count]
    return region.lower + points * (region.upper - region.lower)


def search(blocks: Blocks, found: Ends, region: Region, going: np.ndarray, count: int, maxfev: int,
           rng: np.random.Generator) -> tuple[Ends, np.ndarray]:  # fmt: skip
    """Goes on in rounds of descents from starts that are made of the best minima, until these get no better.

    Returns the lowest of all distinct ends, at most `REMEMBERED` or as many as were found of each problem, and how
    many rounds each problem had.

    Args:
        blocks: The function and its problems.
        found: What was found so far.
        region: Where to draw from.
        going: Which problems are to be searched, (P,) booleans.
        count: How many starts a round has for each problem.
        maxfev: No round is begun by which a problem would come to have more evaluations.
        rng: Where chance comes from.
    """
    rounds, idle, cost = np.zeros(len(going), int), np.zeros(len(going), int), np.zeros(len(going), int)
    found = found[np.isfinite(found.value)]
    going = going & np.isin(np.arange(len(going)), found.problem)
    keep = max(REMEMBERED, np.bincount(found.problem, minlength=len(going)).max(initial=0))
    # A straggler is given up after as many iterations as the longest descent of the sample had evaluations.
    found, most = _lowest(found, region, keep), blocks.longest
    while True:
        going = going & (idle < PATIENCE) & (blocks.nfev + cost <= maxfev)
        problems = np.flatnonzero(going)
        if not len(problems):
            return found, rounds
        before = blocks.nfev.copy()
        best, size = _best(found, len(going))
        x = offspring(found, problems, region, count, rng)
        ends = dataclasses.replace(blocks.descend(x, problems.repeat(count), most), count=np.zeros(len(x), int))
        found = _lowest(joined(found, ends[np.isfinite(ends.value)]), region, keep)
        better = best - _best(found, len(going))[0] > BETTER * size
        idle = np.where(better, 0, idle + going)
        rounds += going
        cost = blocks.nfev - before


def offspring(found: Ends, problems: np.ndarray, region: Region, count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns new starts for these problems, `count` for each, (len(problems) count, n).

    Each takes a good minimum and changes some of its variables, chosen at random, in one of three ways: to those of
    another minimum (recombination), by the difference of two others or half of it, which knows how far apart minima
    lie (differential evolution), or by a normal step of a scale between a thousandth and half of the region (basin
    hopping). A variable that leaves the region is drawn anew.

    Source: Z. Ugray et al., Scatter search and local NLP solvers (2007); R. Storn and K. Price, Differential evolution
    (1997); D. Wales and J. Doye, Global optimization by basin-hopping (1997).
    """
    first = np.searchsorted(found.problem, problems)
    size = np.minimum(np.searchsorted(found.problem, problems, side="right") - first, PARENTS)
    first, size = first.repeat(count), size.repeat(count)
    total, n = len(first), found.x.shape[1]

    def parent(power: float = 1.0) -> np.ndarray:
        return found.x[first + (rng.random(total) ** power * size).astype(int)]

    x = parent(GREED)
    changes = rng.random((total, n)) < rng.random((total, 1))
    changes[np.arange(total), rng.integers(0, n, total)] = True
    way = rng.integers(0, 3, (total, 1))
    difference = rng.choice([0.5, 1.0], (total, 1)) * (parent() - parent())
    step = 10 ** rng.uniform(-3, np.log10(0.5), (total, 1)) * region.scale * rng.standard_normal((total, n))
    changed = np.where(way == 0, parent(), x + np.where(way == 1, difference, step))
    x = np.where(changes, changed, x)
    outside = (x < region.lower) | (x > region.upper)
    return np.where(outside, region.lower + rng.random((total, n)) * (region.upper - region.lower), x)


def _lowest(found: Ends, region: Region, keep: int) -> Ends:
    """Returns the lowest distinct ends, `keep` of each problem, sorted by problem and value."""
    found = found[np.lexsort((found.value, found.problem))]
    cells = np.column_stack([found.problem, np.round(found.place / (SAME * region.scale))])
    found = found[np.sort(np.unique(cells, axis=0, return_index=True)[1])]
    rank = np.arange(len(found)) - np.searchsorted(found.problem, found.problem)
    return found[rank < keep]


def _best(found: Ends, problems: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest value of each problem, and the size of its parents' values, (P,) each."""
    best, size = np.full(problems, np.inf), np.zeros(problems)
    present, first = np.unique(found.problem, return_index=True)
    end = np.searchsorted(found.problem, present, side="right")
    worst = found.value[np.minimum(first + PARENTS, end) - 1]
    best[present] = found.value[first]
    size[present] = np.maximum(np.abs(found.value[first]), worst - found.value[first])
    return best, size
