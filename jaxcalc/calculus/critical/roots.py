"""Zeros of f' in brackets: simple ones by Newton's method, degenerate ones by the zeros of higher derivatives."""

import numpy as np

from jaxcalc.calculus.intervals.isolation import Jets

# Newton's steps of so few units in the last place are rounding error, and so are those that are larger than half of the
# step before.
_FEW_UNITS, _CALM = 4, 1e4


def roots(jets: Jets, lo: np.ndarray, hi: np.ndarray, order: int) -> np.ndarray:
    """Returns a zero of the derivative of this order in each cell [lo, hi], in which the derivative changes sign.

    Newton's method, with bisection of the bracket [lo, hi] where a Newton step leaves the bracket.
    """
    at_lo, at_hi = jets.at(lo)[:, order], jets.at(hi)[:, order]
    x = np.where(at_lo == 0, lo, np.where(at_hi == 0, hi, (lo + hi) / 2))
    done = (at_lo == 0) | (at_hi == 0)
    last_step = np.full(len(x), np.inf)
    for _ in range(200):
        jet = jets.at(x)
        value, slope = jet[:, order], (jet[:, order + 1] if order < 3 else np.zeros(len(x)))
        same = np.sign(value) == np.sign(at_lo)
        lo, hi = np.where(same, x, lo), np.where(same, hi, x)
        with np.errstate(all="ignore"):
            newton = x - value / slope
        inside = (newton > lo) & (newton < hi)
        trial = np.where(inside, newton, lo + (hi - lo) / 2)
        step, unit = np.abs(trial - x), np.spacing(np.abs(x))
        calm = (np.abs(newton - x) <= _FEW_UNITS * unit) | ((step <= _CALM * unit) & (step >= last_step / 2))
        trial = np.where(calm & ~inside, x, trial)
        settled = done | (value == 0) | (step <= unit) | (hi - lo <= 2 * unit) | calm
        last_step = step
        done |= value == 0
        x, done = np.where(done, x, trial), done | calm
        if np.all(settled):
            return x
    return x


def degenerate_root(jets: Jets, lo: float, hi: float) -> float:
    """Returns a zero of f' of higher order in [lo, hi]: the zero of the highest derivative that changes sign there."""
    wide = np.array([lo - (hi - lo)]), np.array([hi + (hi - lo)])
    ends = jets.at(np.concatenate(wide))
    half = 1.5 * (hi - lo)
    changes = np.sign(ends[0]) * np.sign(ends[1]) < 0
    for order in (1, 2):
        # If the next derivative explains the values at both ends, this derivative has a simple zero, whose location is
        # more accurate than that of a zero of a higher derivative, which may be noise.
        slope = np.abs(ends[:, order + 1]).min() * half
        if changes[order] and np.all(np.abs(ends[:, order]) < 3 * slope) and np.all(np.abs(ends[:, order]) > slope / 3):
            return float(roots(jets, *wide, order)[0])
    for order in (3, 2, 1):
        if changes[order]:
            return float(roots(jets, *wide, order)[0])
    return (lo + hi) / 2
