"""The landscape of f on an interval: its points, the places where f may be lowest or highest, and the doubts."""

import dataclasses
import math

import numpy as np

from jaxcalc.calculus.critical.breaks import Break, resolved, simplest_number
from jaxcalc.calculus.critical.extremes import Values
from jaxcalc.calculus.critical.ground import SAME_POINT, Ground
from jaxcalc.calculus.critical.limits import limits_at_infinity
from jaxcalc.calculus.critical.pieces import Piece, pieces_of, regrouped
from jaxcalc.calculus.critical.roots import degenerate_root, roots
from jaxcalc.calculus.intervals.isolation import Cells, Jets, Kind

# f' touches 0 without a change of sign if its bounds are below this share of its values around.
_TOUCHES = 1e-14
# A zero of higher order is located if the bounds confine it to this share of the initial cell.
_LOCATED = 1e-3
# How many breaks or undecided pieces are looked at one by one, and how many times the operations of f that may take.
_MOST_PIECES = 400
_MOST_OPERATIONS = 10_000
# More doubts of one kind than this are reported in one sentence.
_MOST_DOUBTS = 4
KINDS = {(-1, 1): "minimum", (1, -1): "maximum", (1, 1): "inflection", (-1, -1): "inflection"}


@dataclasses.dataclass
class Landscape:
    """What is known of f on an interval.

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


class Survey:
    """Makes a `Landscape` from cells."""

    ground: Ground
    jets: Jets
    most: int
    pieces: list[Piece]

    def __init__(self, ground: Ground, cells: Cells):
        self.ground, self.jets = ground, ground.jets
        self.points: list[tuple[float, str, Values]] = []
        self.elsewhere: list[Values] = []
        self.reasons: list[str] = []
        self.doubtful: dict[str, list[tuple[float, float]]] = {}
        self.breaks: dict[Piece, Break] = {}
        self.most = min(_MOST_PIECES, int(_MOST_OPERATIONS / self.jets.operations))
        self.pieces = self._with_breaks(pieces_of(cells, ground.scale))

    def landscape(self) -> Landscape:
        """Returns what is known of f."""
        self._check_against_values()
        self._add_zeros([piece for piece in self.pieces if piece.kind == Kind.SIMPLE])
        self._add_stretches()
        looked_at = 0
        for k, piece in enumerate(self.pieces):
            if piece.kind == Kind.UNRESOLVED:
                looked_at += self._add_unresolved(k, piece, looked_at < self.most)
            elif piece.kind == Kind.BROKEN:
                self._add_break(k, piece)
        self._add_ends()
        self.points.sort(key=lambda point: point[0])
        x, kinds, values = (list(column) for column in zip(*self.points, strict=True)) if self.points else ([], [], [])
        reasons = [*self.reasons, *self._doubts()]
        if "degenerate" in kinds and not reasons:
            reasons.append("the sign of f' beside a point cannot be told from rounding")
        return Landscape(x, kinds, values, self.elsewhere, list(dict.fromkeys(reasons)))

    def _doubts(self) -> list[str]:
        """Returns a sentence for each doubtful stretch, or for each kind of doubt if there are many."""
        sentences = []
        for doubt, stretches in self.doubtful.items():
            stretches = list(dict.fromkeys(stretches))
            if len(stretches) <= _MOST_DOUBTS:
                sentences += [f"{doubt} {self.ground.stretch(lo, hi)}" for lo, hi in stretches]
            else:
                span = self.ground.stretch(stretches[0][0], stretches[-1][1])
                sentences.append(f"{doubt} in {len(stretches)} places {span}")
        return sentences

    def _doubt(self, doubt: str, lo: float, hi: float) -> None:
        self.doubtful.setdefault(doubt, []).append((lo, hi))

    def _with_breaks(self, pieces: list[Piece]) -> list[Piece]:
        """Returns the pieces with every broken one resolved; fills `breaks`."""
        result: list[Piece] = []
        count = sum(piece.kind == Kind.BROKEN for piece in pieces)
        if count > self.most:
            self.reasons.append(f"f has kinks, jumps or poles in {count} places, too many to look at one by one")
            return pieces
        for k, piece in enumerate(pieces):
            if piece.kind != Kind.BROKEN:
                result.append(piece)
                continue
            before = pieces[k - 1] if k else None
            after = pieces[k + 1] if k + 1 < len(pieces) else None
            parts, found = resolved(self.jets, piece, before, after, self.ground.scale)
            self.breaks[found.core] = found
            result += parts
        return regrouped(self._with_flats(result))

    def _with_flats(self, pieces: list[Piece]) -> list[Piece]:
        """Returns the pieces with those flat that break between flat ones without a change of f.

        A narrow flat piece between monotone ones is a zero of f' of high order, around which f' is too small for a
        floating number; it becomes undecided.
        """
        pieces = list(pieces)
        for k in range(1, len(pieces) - 1):
            piece, beside = pieces[k], {pieces[k - 1].kind, pieces[k + 1].kind}
            found = self.breaks.get(piece)
            if found and beside == {Kind.FLAT} and found.reason(turns=False, noisy=False) is None:
                pieces[k] = dataclasses.replace(piece, kind=Kind.FLAT)
            elif piece.kind == Kind.FLAT and beside == {Kind.MONOTONE} and self._is_located(piece):
                pieces[k] = dataclasses.replace(piece, kind=Kind.UNRESOLVED)
        return pieces

    def _is_located(self, piece: Piece) -> bool:
        return piece.width <= _LOCATED * self.ground.cell_width(piece.middle)

    def _add_zeros(self, pieces: list[Piece]) -> None:
        """Adds the simple zeros of f'. By the mean value theorem |x - c| <= |f'(c)| / min |f''| for the zero c."""
        if not pieces:
            return
        lo, hi = np.array([piece.lo for piece in pieces]), np.array([piece.hi for piece in pieces])
        x = roots(self.jets, lo, hi, 1)
        below, above, _ = self.jets.over(lo, hi)
        at_lo, at_hi, _ = self.jets.over(x, x)
        slopes = np.maximum(np.abs(at_lo[:, 0, 1]), np.abs(at_hi[:, 0, 1]))
        least = np.maximum(below[:, 0, 2], -above[:, 0, 2])
        for k, values in enumerate(self.ground.values_at(x)):
            distance = min(slopes[k] / least[k] if least[k] > 0 else math.inf, hi[k] - lo[k])
            reach = float(slopes[k] * distance)
            values = values._replace(bottom=values.bottom - reach, top=values.top + reach, error=values.error + reach)
            if self.ground.is_end(x[k]):
                self.elsewhere.append(values)
            else:
                self.points.append((float(x[k]), KINDS[-pieces[k].sign, pieces[k].sign], values))

    def _neighbour_signs(self, k: int) -> tuple[int, int]:
        """Returns the signs of f' just below and just above a piece, 0 where they are not known."""
        below = self.pieces[k - 1].sign_at_hi if k else 0
        above = self.pieces[k + 1].sign_at_lo if k + 1 < len(self.pieces) else 0
        return below, above

    def _add_unresolved(self, k: int, piece: Piece, may_look: bool) -> bool:
        """Adds a piece in which f' cannot be told from 0: a zero of f' if there must be one, otherwise a doubt.

        Returns:
            Whether the piece was looked at more closely.
        """
        signs = self._neighbour_signs(k)
        at_end = piece.lo == self.ground.lower or piece.hi == self.ground.upper
        looks = may_look and not at_end and 0 not in signs
        x = self._zero_of_higher_order(piece) if looks else piece.middle
        (values,) = self.ground.values_at(np.array([x])) if looks or may_look else (self._unknown(piece),)
        values = values._replace(bottom=piece.bottom, top=piece.top)
        is_point = looks and (signs[0] != signs[1] or self._touches(k, x))
        if is_point:
            self.points.append((x, KINDS[signs], values))
        else:
            self.elsewhere.append(values)
        around = self._run(k, (Kind.UNRESOLVED, Kind.BROKEN))
        beside_break = len(around) > 1 and piece.width <= SAME_POINT * self.ground.scale
        if not self._is_located(piece) or not (is_point or at_end or beside_break):
            undecided = [other for other in around if other.kind == Kind.UNRESOLVED]
            self._doubt("f' cannot be told from 0", undecided[0].lo, undecided[-1].hi)
        return looks

    def _unknown(self, piece: Piece) -> Values:
        return Values(piece.bottom, piece.top, math.nan, math.inf, 0.0)

    def _run(self, k: int, kinds: tuple[Kind, ...]) -> list[Piece]:
        """Returns the neighbouring pieces of these kinds around a piece, the piece itself among them."""
        first, last = k, k
        while first > 0 and self.pieces[first - 1].kind in kinds:
            first -= 1
        while last + 1 < len(self.pieces) and self.pieces[last + 1].kind in kinds:
            last += 1
        return self.pieces[first : last + 1]

    def _zero_of_higher_order(self, piece: Piece) -> float:
        """Returns the zero of f' in a piece: the simplest number if f' and f'' are computed to be exactly 0 there."""
        simple = np.array([simplest_number(piece.lo, piece.hi)])
        (jet,) = self.jets.at(simple)
        below, above, _ = self.jets.over(simple, simple)
        if below[0, 0, 1] == above[0, 0, 1] == 0 or jet[1] == jet[2] == 0:
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
            self.elsewhere.append(self._unknown(piece))
            return
        signs = self._neighbour_signs(k)
        finite = [side.limit for side in found.sides if math.isfinite(side.limit)]
        variation = self.ground.variation(found.x, finite[0] if finite else math.inf)
        places = found.places(variation)
        turns = signs[0] * signs[1] < 0
        rests = signs[0] * signs[1] > 0 and found.slope_is_zero and all(side.vanishing for side in found.sides)
        if found.is_continuous and (turns or rests) and not self.ground.is_end(found.x):
            bottom, top = min(place.bottom for place in places), max(place.top for place in places)
            values = Values(bottom, top, found.value, max(found.value - bottom, top - found.value), variation)
            self.points.append((found.x, KINDS[signs], values))
        else:
            self.elsewhere += places
        noisy = any(other.kind == Kind.UNRESOLVED for other in self.pieces[max(k - 1, 0) : k + 2])
        reason = found.reason(turns, noisy)
        if reason is not None and (not self.ground.is_end(found.x) or not found.is_one_sided or found.is_unknown):
            self.reasons.append(reason)

    def _add_stretches(self) -> None:
        """Adds the pieces on which f' is 0, f is not defined, overflows, or was not decided."""
        kinds = (Kind.FLAT, Kind.OPEN, Kind.OVERFLOWN, Kind.UNDEFINED)
        pieces = [piece for piece in self.pieces if piece.kind in kinds]
        values = self.ground.values_at(np.array([piece.middle for piece in pieces]))
        for piece, at_middle in zip(pieces, values, strict=True):
            is_tail = (piece.lo == self.ground.edges[0] and math.isinf(self.ground.lower)) or (
                piece.hi == self.ground.edges[-1] and math.isinf(self.ground.upper)
            )
            if piece.kind == Kind.UNDEFINED:
                self._doubt("f is not defined", piece.lo, piece.hi)
            elif piece.kind == Kind.OVERFLOWN:
                if not is_tail:
                    self._doubt("f overflows", piece.lo, piece.hi)
                    self.elsewhere.append(at_middle._replace(bottom=-math.inf, top=math.inf))
            else:
                self.elsewhere.append(at_middle._replace(bottom=piece.bottom, top=piece.top))
                if piece.kind == Kind.OPEN:
                    self._doubt("f' could not be told from 0, for more points than can be listed or for noise,",
                                piece.lo, piece.hi)  # fmt: skip
                elif not (is_tail and self._fades(piece)):
                    self._doubt("f' is 0 throughout", piece.lo, piece.hi)

    def _fades(self, piece: Piece) -> bool:
        """Returns whether a flat piece at an infinite end is one where f' becomes too small for a floating number."""
        k = self.pieces.index(piece)
        beside = [self.pieces[j] for j in (k - 1, k + 1) if 0 <= j < len(self.pieces)]
        return bool(beside) and all(other.kind == Kind.MONOTONE for other in beside)

    def _add_ends(self) -> None:
        """Adds the finite ends of the interval as points, and what f tends to at the infinite ones."""
        for end, step in ((self.ground.lower, 1), (self.ground.upper, -1)):
            if math.isinf(end):
                continue
            (values,) = self.ground.values_at(np.array([end]))
            if math.isnan(values.value):
                self.reasons.append(f"f is not finite at {end:.10g}")
                continue
            kind = {1: "endpoint minimum", -1: "endpoint maximum"}.get(self._sign_from_end(step) * step, "degenerate")
            self.points.append((end, kind, values))
        places, doubts = limits_at_infinity(self.ground)
        self.elsewhere += places
        self.reasons += doubts

    def _sign_from_end(self, step: int) -> int:
        """Returns the sign of f' beside the lower end (step 1) or the upper end (step -1), 0 if it is not known."""
        end = self.ground.lower if step > 0 else self.ground.upper
        for piece in self.pieces[::step]:
            near, far = (piece.lo, piece.hi)[::step]
            if piece.kind == Kind.SIMPLE:
                x = float(roots(self.jets, np.array([piece.lo]), np.array([piece.hi]), 1)[0])
                at_near, at_far = (piece.sign_at_lo, piece.sign_at_hi)[::step]
                return at_far if self.ground.is_end(x) else at_near
            if piece.kind == Kind.MONOTONE:
                return piece.sign
            beside = abs(far - end) <= _LOCATED * self.ground.cell_width(near)
            if piece.kind not in (Kind.UNRESOLVED, Kind.BROKEN) or not beside:
                return 0
        return 0

    def _check_against_values(self) -> None:
        """Adds a doubt where f at the ends of a monotone piece contradicts the sign of f', as computed by JAX."""
        pieces = [piece for piece in self.pieces if piece.kind == Kind.MONOTONE]
        at_lo = self.ground.values_at(np.array([piece.lo for piece in pieces]))
        at_hi = self.ground.values_at(np.array([piece.hi for piece in pieces]))
        for piece, first, last in zip(pieces, at_lo, at_hi, strict=True):
            falls, rises = last.top < first.bottom, last.bottom > first.top
            if (piece.sign > 0 and falls) or (piece.sign < 0 and rises):
                self._doubt("f' and the values of f contradict each other", piece.lo, piece.hi)
