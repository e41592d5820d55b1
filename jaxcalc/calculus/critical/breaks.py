"""Breaks: places where f may have a kink, a jump, a pole, or the border of its domain, and what f does beside them."""

import dataclasses
import math
from typing import Any

import numpy as np

from jaxcalc.calculus.critical.extremes import Values
from jaxcalc.calculus.critical.pieces import Piece, joined, pieces_of
from jaxcalc.calculus.critical.sides import Side, side_of
from jaxcalc.calculus.intervals.isolation import Jets, Kind, classified

# The neighbours of 0, from which a break at 0 is told. The fourth power of the first is a floating number; the second
# is tried if the first is too small. The neighbours of another number are one unit in the last place away.
_NEAR_ZERO = (1e-75, 1e-30)
# How often a cell with a break is cut into how many parts.
_NARROWINGS, _PARTS = 3, 32
# Of so few numbers in a cell, each is tried as the place of the break.
_FEW = 16
# A relative difference that rounding beside a break may explain, of values and of slopes.
_SAME_VALUE, _SAME_SLOPE = 1e-9, 1e-4


@dataclasses.dataclass(frozen=True)
class Break:
    """A break with what is known around it.

    Attributes:
        x: The position.
        core: The piece that holds the break.
        exact: Whether x is shown to be the only break in the cells around it.
        value: f(x); nan if f is not defined at x.
        bounds: Bounds of f(x), (lower, upper); nan if f is not defined at x or x is not exact.
        slope_is_zero: Whether f'(x) is exactly 0.
        left: What f does on the left; None if f is not defined there.
        right: What f does on the right; None if f is not defined there.
    """

    x: float
    core: Piece
    exact: bool
    value: float
    bounds: tuple[float, float]
    slope_is_zero: bool
    left: Side | None
    right: Side | None

    @property
    def sides(self) -> list[Side]:
        """The sides on which f is defined."""
        return [side for side in (self.left, self.right) if side is not None]

    @property
    def jumps(self) -> bool:
        """Whether the limits from both sides, and the value between them, differ."""
        bounds = [(side.bottom, side.top) for side in self.sides if math.isfinite(side.limit)]
        if self.exact and not math.isnan(self.value):
            bounds.append(self.bounds)
        if not bounds:
            return False
        gap = max(bottom for bottom, _ in bounds) - min(top for _, top in bounds)
        # What the slopes explain between the neighbours of the break is no jump.
        explained = sum(4 * abs(side.slope) * side.distance for side in self.sides if math.isfinite(side.slope))
        return gap > _SAME_VALUE * max(abs(end) for pair in bounds for end in pair) + explained

    @property
    def has_pole(self) -> bool:
        """Whether f tends to an infinity."""
        return any(math.isinf(side.limit) for side in self.sides) or math.isinf(self.value)

    @property
    def is_smooth(self) -> bool:
        """Whether f' continues through the break, as far as samples tell."""
        if self.left is None or self.right is None:
            return False
        if self.left.vanishing and self.right.vanishing:
            return True
        slopes = self.left.slope, self.right.slope
        return abs(slopes[0] - slopes[1]) <= _SAME_SLOPE * max(map(abs, slopes))

    @property
    def is_one_sided(self) -> bool:
        """Whether f is defined on one side alone."""
        return len(self.sides) == 1

    @property
    def is_unknown(self) -> bool:
        """Whether f is not known to be bounded beside the break."""
        return not all(math.isfinite(side.limit) for side in self.sides)

    @property
    def is_continuous(self) -> bool:
        """Whether f is defined at the break and on both sides, and does not jump; not if its derivative is wrong."""
        contradicts = any(side.contradiction for side in self.sides)
        whole = len(self.sides) == 2 and math.isfinite(self.value)
        return whole and not (contradicts or self.jumps or self.has_pole or self.is_unknown)

    def places(self, variation: float) -> list[Values]:
        """Returns the values of f beside the break and at the break."""
        found = [
            Values(side.bottom, side.top, side.limit, side.top - side.bottom, variation)
            if math.isfinite(side.limit)
            else Values(side.bottom, side.top, side.limit, math.inf if math.isnan(side.limit) else 0.0, variation)
            for side in self.sides
        ]
        if math.isinf(self.value):
            found.append(Values(self.value, self.value, self.value, 0.0, variation))
        elif self.exact and not math.isnan(self.value):
            found.append(Values(*self.bounds, self.value, self.bounds[1] - self.bounds[0], variation))
        if not self.exact and math.isfinite(self.core.bottom) and math.isfinite(self.core.top):
            found.append(Values(self.core.bottom, self.core.top, math.nan, math.inf, variation))
        return found

    def reason(self, turns: bool, noisy: bool) -> str | None:
        """Returns the doubt to report, a sentence; None if f is smooth there to within rounding.

        Args:
            turns: Whether f' changes sign through the break.
            noisy: Whether rounding hides f' beside the break.
        """
        x = f"{self.x:.10g}"
        if any(side.contradiction for side in self.sides):
            return f"f' and the values of f contradict each other near {x}"
        if self.has_pole:
            return f"f has a pole near {x}"
        if any(math.isnan(side.limit) for side in self.sides):
            return f"what f tends to near {x} cannot be told"
        if not self.sides:
            return f"f is not finite near {x}"
        if self.jumps:
            return f"f jumps near {x}"
        if self.left is None or self.right is None:
            return None
        if self.exact and math.isnan(self.value):
            return f"f is not finite at {x}"
        if self.is_smooth or noisy:
            return None
        return f"f has a kink near {x}" + (", where f' changes sign without being 0" if turns else "")


def simplest_number(lo: float, hi: float) -> float:
    """Returns the number in [lo, hi] with the fewest decimal digits.

    Example:
        >>> simplest_number(0.2999999999999, 0.3000000000001), simplest_number(-1e-15, 2e-14)
        (0.3, 0.0)
    """
    if lo <= 0 <= hi:
        return 0.0
    middle = lo + (hi - lo) / 2
    rounded = (float(f"{middle:.{digits}g}") for digits in range(1, 18))
    return next((number for number in rounded if lo <= number <= hi), middle)


def resolved(
    jets: Jets, piece: Piece, before: Piece | None, after: Piece | None, scale: float
) -> tuple[list[Any], Break]:
    """Returns the pieces that take the place of a broken piece, and the break.

    If the simplest number in the piece is shown to be the only break, the cells on both sides of it are classified.

    Args:
        jets: f and its derivatives.
        piece: The piece, a few units in the last place wide.
        before: The piece to its left; None if it lies at the lower end of the interval.
        after: The piece to its right; None if it lies at the upper end of the interval.
        scale: The width of the interval, or 1 if that is less.
    """
    ends = [end for end, neighbour in ((piece.lo, before), (piece.hi, after)) if neighbour is None]
    x, below, above = _exact_place(jets, piece, piece.lo, piece.hi, ends)
    if math.isnan(x):
        below, above = _narrowed(jets, piece.lo, piece.hi)
        x, *neighbours = _exact_place(jets, piece, below, above, [])
        below, above = (below, above) if math.isnan(x) else neighbours
    exact = not math.isnan(x)
    x = x if exact else simplest_number(below, above)
    (jet,) = jets.at(np.array([x]))
    (around_lo, lo), (around_hi, hi), _ = jets.over(np.array([below, x]), np.array([above, x]))
    core = Piece(below, above, Kind.BROKEN, 0, float(around_lo[0, 0]), float(around_hi[0, 0]), math.inf)
    # A pole at x shows at x. Where f(x) is finite, the pole lies between x and a neighbour.
    exact = exact and bool(np.isfinite(core.top - core.bottom) or not np.isfinite(jet[0]))
    left, right = _towards(jets, x, piece.lo, below, scale), _towards(jets, x, piece.hi, above, scale)
    left, core, right = _with_wider_core(left, core, right)
    rooms = (x - before.lo if before else 0.0, after.hi - x if after else 0.0)
    sides = [
        None if room == 0 else side_of(jets, core, x, exact, sign, min(room / 2, 0.01 * max(scale, abs(x))))
        for room, sign in zip(rooms, (-1, 1), strict=True)
    ]
    found = Break(
        x=x,
        core=core,
        exact=exact,
        value=float(jet[0]),
        bounds=(float(lo[0, 0]), float(hi[0, 0])) if exact and math.isfinite(jet[0]) else (math.nan, math.nan),
        slope_is_zero=exact and lo[0, 1] == hi[0, 1] == 0,
        left=sides[0],
        right=sides[1],
    )
    return [*left, core, *right], found


def _exact_place(jets: Jets, piece: Piece, lo: float, hi: float, ends: list[float]) -> tuple[float, float, float]:
    """Returns a number in [lo, hi] that is shown to be the only break in a piece, and its neighbours, or nan.

    Args:
        jets: f and its derivatives.
        piece: The piece; its breaks lie in [lo, hi].
        lo: The lower end of the candidates.
        hi: The upper end of the candidates.
        ends: The ends of the interval in [lo, hi]. They have one neighbour, and are tried first.
    """
    unit = float(np.spacing(max(abs(lo), abs(hi))))
    every = np.arange(lo, hi + unit / 2, unit) if lo * hi > 0 and hi - lo <= _FEW * unit else []
    candidates = list(dict.fromkeys([*ends, simplest_number(lo, hi), *map(float, every)]))
    for near_zero in _NEAR_ZERO if 0.0 in candidates else _NEAR_ZERO[:1]:
        steps = [near_zero if x == 0 else float(np.spacing(abs(x))) for x in candidates]
        x = np.array(candidates)
        below, above = np.maximum(x - steps, piece.lo), np.minimum(x + steps, piece.hi)
        broken = jets.over(np.concatenate([np.full(len(x), piece.lo), above]),
                           np.concatenate([below, np.full(len(x), piece.hi)]))[2]  # fmt: skip
        # A side without width proves nothing, except at an end of the interval, which has no such side.
        left = (~broken[: len(x)] & (below > piece.lo)) | ((x == piece.lo) & np.isin(x, ends))
        right = (~broken[len(x) :] & (above < piece.hi)) | ((x == piece.hi) & np.isin(x, ends))
        if np.any(left & right):
            k = int(np.argmax(left & right))
            return candidates[k], float(below[k]), float(above[k])
    return math.nan, math.nan, math.nan


def _narrowed(jets: Jets, lo: float, hi: float) -> tuple[float, float]:
    """Returns the part of [lo, hi] in which f may break, as narrow as cells of a unit in the last place show it."""
    for _ in range(_NARROWINGS):
        edges = np.unique(np.linspace(lo, hi, _PARTS + 1))
        broken = np.flatnonzero(jets.over(edges[:-1], edges[1:])[2])
        if not len(broken) or len(edges) == 2:
            break
        lo, hi = float(edges[broken[0]]), float(edges[broken[-1] + 1])
    return lo, hi


def _towards(jets: Jets, x: float, far: float, near: float, scale: float) -> list[Piece]:
    """Returns the pieces between `far` and `near`, whose cells halve in width towards a break at x."""
    start, end = abs(far - x), max(abs(near - x), float(np.spacing(abs(x))))
    if start <= end:
        return []
    count = max(1, math.ceil(math.log2(start / end)))
    edges = x + (far - x) * (end / start) ** (np.arange(count + 1) / count)
    edges[0], edges[-1] = far, near
    edges = np.unique(np.clip(edges, min(far, near), max(far, near)))
    cells = classified(jets, edges[:-1], edges[1:], scale)
    kind = np.select([cells.kind == Kind.OPEN, cells.kind == Kind.COARSE], [Kind.UNRESOLVED, Kind.BROKEN], cells.kind)
    return _without_zero_at(jets, near, pieces_of(cells._replace(kind=kind), scale))


def _with_wider_core(left: list[Piece], core: Piece, right: list[Piece]) -> tuple[list[Piece], Piece, list[Piece]]:
    """Returns the pieces of both sides and the core, with the broken pieces next to the core as parts of the core.

    Rounding does not tell in which of these pieces the break lies. Where f' is known up to the core it then shows
    whether f turns there. Broken pieces farther away are undecided ones.
    """
    parts = [core]
    if left and left[-1].kind == Kind.BROKEN:
        left, parts = left[:-1], [left[-1], *parts]
    if right and right[0].kind == Kind.BROKEN:
        right, parts = right[1:], [*parts, right[0]]
    left, right = (
        [dataclasses.replace(part, kind=Kind.UNRESOLVED) if part.kind == Kind.BROKEN else part for part in side]
        for side in (left, right)
    )
    return left, joined(parts, Kind.BROKEN), right


def _without_zero_at(jets: Jets, near: float, pieces: list[Piece]) -> list[Piece]:
    """Returns the pieces beside a break, without a simple zero that rounding moves across their end `near`.

    Where the bounds of f' at that end hold 0, the pieces on both sides of the break would each count the same zero.
    There f' keeps the sign that it has away from the break, and its change of sign is one through the break.
    """
    below, above, _ = jets.over(np.array([near]), np.array([near]))
    if not below[0, 0, 1] <= 0 <= above[0, 0, 1]:
        return pieces
    return [
        dataclasses.replace(piece, kind=Kind.MONOTONE, sign=piece.sign_at_lo if piece.hi == near else piece.sign_at_hi)
        if piece.kind == Kind.SIMPLE and near in (piece.lo, piece.hi)
        else piece
        for piece in pieces
    ]
