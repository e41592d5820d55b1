"""The landscape of f on an interval: its points, the places where f may be lowest or highest, and the doubts."""

import dataclasses
import math

import numpy as np

from jaxcalc.calculus.critical.breaks import NEAR_ZERO, Break, resolved, simplest_number
from jaxcalc.calculus.critical.extremes import Values
from jaxcalc.calculus.critical.limits import limits_at_infinity
from jaxcalc.calculus.critical.pieces import Piece, pieces_of, regrouped
from jaxcalc.calculus.critical.roots import degenerate_root, roots
from jaxcalc.calculus.intervals.isolation import Cells, Jets, Kind

# Two points whose relative difference is below this count as one point, a point as near to an end as that end.
_SAME_POINT = 64 * np.finfo(float).eps
# f' touches 0 without a change of sign if its bounds are below this share of its values around.
_TOUCHES = 1e-14
# A zero of higher order is located if the bounds confine it to this share of the initial cell.
_LOCATED = 1e-3
# More breaks or undecided pieces than this are not looked at one by one.
_MOST_PIECES = 500
_KINDS = {(-1, 1): "minimum", (1, -1): "maximum", (1, 1): "inflection", (-1, -1): "inflection"}


@dataclasses.dataclass
class Landscape:
    """What is known of f between `lower` and `upper`.

    Attributes:
        x: The points, ascending; the finite ends of the interval are among them.
        kinds: The kind of each.
        values: The values of f at each.
        elsewhere: The values of f in all other places where f may be lowest or highest.
        reasons: The doubts, a sentence each.
    """

    x: list[float]
    kinds: list[str]
    values: list[Values]
    elsewhere: list[Values]
    reasons: list[str]


def _stretch(lo: float, hi: float) -> str:
    """Returns the words for an interval; a number that stands for the neighbour of 0 is written as 0."""
    return "from {:.10g} to {:.10g}".format(*(0.0 if abs(end) <= NEAR_ZERO else end for end in (lo, hi)))


class Survey:
    """Makes a `Landscape` from cells."""

    def __init__(self, jets: Jets, cells: Cells, edges: np.ndarray, lower: float, upper: float):
        self.jets, self.edges, self.lower, self.upper = jets, edges, lower, upper
        self.scale = min(1.0, float(edges[-1] - edges[0]))
        self.points: list[tuple[float, str, Values]] = []
        self.elsewhere: list[Values] = []
        self.reasons: list[str] = []
        self.breaks: dict[Piece, Break] = {}
        self.pieces = self._with_breaks(pieces_of(cells))

    def landscape(self) -> Landscape:
        """Returns what is known of f."""
        self._check_against_values()
        self._add_zeros([piece for piece in self.pieces if piece.kind == Kind.SIMPLE])
        for k, piece in enumerate(self.pieces):
            if piece.kind == Kind.UNRESOLVED:
                self._add_unresolved(k, piece)
            elif piece.kind == Kind.BROKEN:
                self._add_break(k, piece)
            elif piece.kind not in (Kind.MONOTONE, Kind.SIMPLE):
                self._add_stretch(piece)
        self._add_open()
        self._add_ends()
        self.points.sort(key=lambda point: point[0])
        x, kinds, values = (list(column) for column in zip(*self.points, strict=True)) if self.points else ([], [], [])
        if "degenerate" in kinds and not self.reasons:
            self.reasons.append("the sign of f' beside a point cannot be told from rounding")
        return Landscape(x, kinds, values, self.elsewhere, list(dict.fromkeys(self.reasons)))

    def _with_breaks(self, pieces: list[Piece]) -> list[Piece]:
        """Returns the pieces with every broken one resolved; fills `breaks`."""
        result: list[Piece] = []
        count = sum(piece.kind == Kind.BROKEN for piece in pieces)
        if count > _MOST_PIECES:
            self.reasons.append(f"f has kinks, jumps or poles in {count} places, too many to look at one by one")
            return pieces
        for k, piece in enumerate(pieces):
            if piece.kind != Kind.BROKEN:
                result.append(piece)
                continue
            before = pieces[k - 1] if k else None
            after = pieces[k + 1] if k + 1 < len(pieces) else None
            parts, found = resolved(self.jets, piece, before, after, self.scale)
            self.breaks[found.core] = found
            result += parts
        return regrouped(self._without_breaks_of_constants(result))

    def _without_breaks_of_constants(self, pieces: list[Piece]) -> list[Piece]:
        """Returns the pieces with a break between two flat ones made flat, if f is the same on both sides."""
        for k in range(1, len(pieces) - 1):
            found = self.breaks.get(pieces[k])
            flat = pieces[k - 1].kind == pieces[k + 1].kind == Kind.FLAT
            if found and flat and found.reason(turns=False, noisy=False) is None:
                pieces[k] = dataclasses.replace(pieces[k], kind=Kind.FLAT)
        return pieces

    def _variation(self, x: float, value: float) -> float:
        """Returns how much f varies around x: to the ends of the next initial cells, which are not next to x."""
        left, right = np.searchsorted(self.edges, x, "left") - 1, np.searchsorted(self.edges, x, "right")
        ends = self.edges[[max(left, 0), min(right, len(self.edges) - 1)]]
        differences = np.abs(self.jets.at(ends)[:, 0] - value)
        differences = differences[np.isfinite(differences)]
        return float(max([*differences, abs(value) if math.isfinite(value) else 0.0]))

    def _cell_width(self, x: float) -> float:
        k = int(np.clip(np.searchsorted(self.edges, x), 1, len(self.edges) - 1))
        return float(self.edges[k] - self.edges[k - 1])

    def _is_end(self, x: float) -> bool:
        return any(
            math.isfinite(end) and abs(x - end) <= _SAME_POINT * max(abs(end), self.scale)
            for end in (self.lower, self.upper)
        )

    def _add_zeros(self, pieces: list[Piece]) -> None:
        """Adds the simple zeros of f'. By the mean value theorem |x - c| <= |f'(c)| / min |f''| for the zero c."""
        if not pieces:
            return
        lo, hi = np.array([piece.lo for piece in pieces]), np.array([piece.hi for piece in pieces])
        x = roots(self.jets, lo, hi, 1)
        below, above, _ = self.jets.over(lo, hi)
        at, value = self.jets.over(x, x), self.jets.at(x)[:, 0]
        for k, piece in enumerate(pieces):
            slope = max(abs(at[0][k, 0, 1]), abs(at[1][k, 0, 1]))
            least = max(below[k, 0, 2], -above[k, 0, 2], 0.0)
            error = slope * min(slope / least if least > 0 else math.inf, piece.width)
            values = Values(at[0][k, 0, 0] - error, at[1][k, 0, 0] + error, value[k], self._variation(x[k], value[k]))
            if self._is_end(x[k]):
                self.elsewhere.append(values)
            else:
                self.points.append((float(x[k]), _KINDS[-piece.sign, piece.sign], values))

    def _neighbour_signs(self, k: int) -> tuple[int, int]:
        """Returns the signs of f' just below and just above a piece, 0 where they are not known."""
        below = self.pieces[k - 1].sign_at_hi if k else 0
        above = self.pieces[k + 1].sign_at_lo if k + 1 < len(self.pieces) else 0
        return below, above

    def _add_unresolved(self, k: int, piece: Piece) -> None:
        """Adds a piece in which f' cannot be told from 0: a zero of f' if there must be one, otherwise a doubt."""
        signs = self._neighbour_signs(k)
        located = piece.width <= _LOCATED * self._cell_width(piece.middle)
        around = [other for other in self._run(k, (Kind.UNRESOLVED, Kind.BROKEN)) if other.kind == Kind.UNRESOLVED]
        doubt = f"f' cannot be told from 0 {_stretch(around[0].lo, around[-1].hi)}"
        at_end = piece.lo == self.lower or piece.hi == self.upper
        x = piece.middle if at_end or 0 in signs else self._zero_of_higher_order(piece)
        values = Values(piece.bottom, piece.top, float(self.jets.at(np.array([x]))[0, 0]), 0.0)
        values = values._replace(variation=self._variation(x, values.value))
        is_point = not at_end and 0 not in signs and (signs[0] != signs[1] or self._touches(k, x))
        if is_point:
            self.points.append((x, _KINDS[signs], values))
        else:
            self.elsewhere.append(values)
        beside_break = len(self._run(k, (Kind.UNRESOLVED, Kind.BROKEN))) > 1
        if not located or not (is_point or at_end or (beside_break and piece.width <= _SAME_POINT * self.scale)):
            self.reasons.append(doubt)

    def _run(self, k: int, kinds: tuple[Kind, ...]) -> list[Piece]:
        """Returns the neighbouring pieces of these kinds around a piece, the piece itself among them."""
        first, last = k, k
        while first > 0 and self.pieces[first - 1].kind in kinds:
            first -= 1
        while last + 1 < len(self.pieces) and self.pieces[last + 1].kind in kinds:
            last += 1
        return self.pieces[first : last + 1]

    def _zero_of_higher_order(self, piece: Piece) -> float:
        """Returns the zero of f' in a piece: the simplest number if f' is exactly 0 there."""
        simple = np.array([simplest_number(piece.lo, piece.hi)])
        below, above, _ = self.jets.over(simple, simple)
        if below[0, 0, 1] == above[0, 0, 1] == 0:
            return float(simple[0])
        x = degenerate_root(self.jets, piece.lo, piece.hi)
        return x if piece.lo <= x <= piece.hi else piece.middle

    def _touches(self, k: int, x: float) -> bool:
        """Returns whether f' is 0 at x to within a rounding error that is tiny against its values on both sides."""
        below, above, _ = self.jets.over(np.array([x]), np.array([x]))
        bound = max(abs(below[0, 0, 1]), abs(above[0, 0, 1]))
        around = []
        for side in (self.pieces[k - 1], self.pieces[k + 1]):
            slopes = np.abs(self.jets.at(np.linspace(side.lo, side.hi, 9))[:, 1])
            around.append(max(slopes[np.isfinite(slopes)], default=0.0))
        return bound <= _TOUCHES * min(around)

    def _add_break(self, k: int, piece: Piece) -> None:
        """Adds the values beside a break, and a point where f' changes sign through it."""
        found = self.breaks.get(piece)
        if found is None:
            self.elsewhere.append(Values(piece.bottom, piece.top, math.nan, 0.0))
            return
        signs = self._neighbour_signs(k)
        places = [Values(side.bottom, side.top, side.limit, 0.0) for side in found.sides]
        if not math.isnan(found.value) and (found.exact or math.isinf(found.value)):
            bounds = (found.value, found.value) if math.isnan(found.bounds[0]) else found.bounds
            places.append(Values(*bounds, found.value, 0.0))
        finite = [place.value for place in places if math.isfinite(place.value)]
        variation = self._variation(found.x, finite[0] if finite else math.inf)
        places = [place._replace(variation=variation) for place in places]
        smooth = math.isfinite(found.value) and len(found.sides) == 2 and not found.jumps and not found.has_pole
        contradiction = any(side.contradiction for side in found.sides)
        turns = signs[0] * signs[1] < 0
        rests = signs[0] * signs[1] > 0 and found.slope_is_zero and all(side.vanishing for side in found.sides)
        if smooth and not contradiction and (turns or rests) and not self._is_end(found.x):
            bottom, top = min(place.bottom for place in places), max(place.top for place in places)
            self.points.append((found.x, _KINDS[signs], Values(bottom, top, found.value, variation)))
        else:
            self.elsewhere += places
        noisy = any(other.kind == Kind.UNRESOLVED for other in self.pieces[max(k - 1, 0) : k + 2])
        reason = found.reason(turns, noisy)
        if reason is not None and (not self._is_end(found.x) or found.has_pole or "cannot" in reason):
            self.reasons.append(reason)

    def _add_stretch(self, piece: Piece) -> None:
        """Adds a piece on which f' is 0, f is not defined, overflows, or was not decided."""
        far = (
            piece.lo == self.edges[0] and math.isinf(self.lower),
            piece.hi == self.edges[-1] and math.isinf(self.upper),
        )
        stretch = _stretch(piece.lo, piece.hi)
        if piece.kind == Kind.UNDEFINED:
            self.reasons.append(f"f is not defined {stretch}")
            return
        value = float(self.jets.at(np.array([piece.middle]))[0, 0])
        if piece.kind == Kind.OVERFLOWN:
            if not any(far):
                self.reasons.append(f"f overflows {stretch}")
                self.elsewhere.append(Values(-math.inf, math.inf, value, 0.0))
            return
        self.elsewhere.append(Values(piece.bottom, piece.top, value, self._variation(piece.middle, value)))
        if piece.kind == Kind.FLAT and not (any(far) and self._fades(piece, far)):
            self.reasons.append(f"f' is 0 throughout {stretch}, where f is {value:.10g}")

    def _fades(self, piece: Piece, far: tuple[bool, bool]) -> bool:
        """Returns whether f' underflows to 0 towards an infinite end, where f has a limit, and is not 0 from a break."""
        k = self.pieces.index(piece)
        beside = (
            (self.pieces[k + 1] if far[0] else self.pieces[k - 1]) if len(self.pieces) > 1 and not all(far) else None
        )
        return beside is not None and beside.kind == Kind.MONOTONE

    def _add_open(self) -> None:
        opened = [piece for piece in self.pieces if piece.kind == Kind.OPEN]
        if opened:
            self.reasons.append(
                f"f' could not be told from 0 on too many cells between {opened[0].lo:.10g} and {opened[-1].hi:.10g}: "
                "more points than can be listed, or noise"
            )

    def _add_ends(self) -> None:
        """Adds the finite ends of the interval as points, and what f tends to at the infinite ones."""
        for end, step in ((self.lower, 1), (self.upper, -1)):
            if math.isinf(end):
                continue
            value = float(self.jets.at(np.array([end]))[0, 0])
            below, above, _ = self.jets.over(np.array([end]), np.array([end]))
            if not math.isfinite(value):
                self.reasons.append(f"f is not finite at {end:.10g}")
                if math.isinf(value):
                    self.elsewhere.append(Values(value, value, value, 0.0))
                continue
            sign = self._sign_from_end(step) * step
            kind = {1: "endpoint minimum", -1: "endpoint maximum"}.get(sign, "degenerate")
            values = Values(float(below[0, 0, 0]), float(above[0, 0, 0]), value, self._variation(end, value))
            self.points.append((end, kind, values))
        places, doubts = limits_at_infinity(self.jets, self.edges, self.lower, self.upper)
        self.elsewhere += places
        self.reasons += doubts

    def _sign_from_end(self, step: int) -> int:
        """Returns the sign of f' beside the lower end (step 1) or the upper end (step -1), 0 if it is not known."""
        end = self.lower if step > 0 else self.upper
        for piece in self.pieces[::step]:
            near, far = (piece.lo, piece.hi) if step > 0 else (piece.hi, piece.lo)
            if piece.kind == Kind.SIMPLE:
                x = float(roots(self.jets, np.array([piece.lo]), np.array([piece.hi]), 1)[0])
                at_near, at_far = (piece.sign_at_lo, piece.sign_at_hi)[::step]
                return at_far if self._is_end(x) else at_near
            if piece.kind == Kind.MONOTONE:
                return piece.sign
            beside = abs(far - end) <= _LOCATED * self._cell_width(near)
            if piece.kind not in (Kind.UNRESOLVED, Kind.BROKEN) or not beside:
                return 0
        return 0

    def _check_against_values(self) -> None:
        """Adds a doubt where f at the ends of a monotone piece contradicts the sign of f', as computed by JAX."""
        pieces = [piece for piece in self.pieces if piece.kind == Kind.MONOTONE]
        if not pieces:
            return
        ends = np.array([[piece.lo, piece.hi] for piece in pieces])
        below, above, _ = self.jets.over(ends.ravel(), ends.ravel())
        below, above = below[:, 0, 0].reshape(-1, 2), above[:, 0, 0].reshape(-1, 2)
        for k, piece in enumerate(pieces):
            falls, rises = above[k, 1] < below[k, 0], below[k, 1] > above[k, 0]
            if (piece.sign > 0 and falls) or (piece.sign < 0 and rises):
                self.reasons.append(f"f' and the values of f contradict each other {_stretch(piece.lo, piece.hi)}")
