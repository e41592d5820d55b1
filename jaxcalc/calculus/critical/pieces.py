"""Pieces: neighbouring cells of which the same is known, joined; together they cover the interval without gaps."""

import dataclasses

import numpy as np

from jaxcalc.calculus.intervals.isolation import Cells, Kind


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part [lo, hi] of the interval; the attributes are those of `Cells`."""

    lo: float
    hi: float
    kind: Kind
    sign: int
    bottom: float
    top: float
    steepest: float

    @property
    def width(self) -> float:
        """The width hi - lo."""
        return self.hi - self.lo

    @property
    def middle(self) -> float:
        """The point halfway between the ends."""
        return self.lo + self.width / 2

    @property
    def sign_at_lo(self) -> int:
        """The sign of f' at the lower end, 0 if it is not known."""
        return -self.sign if self.kind == Kind.SIMPLE else self.sign

    @property
    def sign_at_hi(self) -> int:
        """The sign of f' at the upper end, 0 if it is not known."""
        return self.sign


# Pieces farther apart than this share of their distance from 0, or of the scale, are not joined.
_NEAR = 1e-3


def pieces_of(cells: Cells, scale: float) -> list[Piece]:
    """Returns the pieces of the interval that the cells cover, in ascending order."""
    changes = (np.diff(cells.kind) != 0) | (np.diff(cells.sign) != 0)
    first = np.concatenate([[0], np.flatnonzero(changes) + 1])
    last = np.concatenate([first[1:] - 1, [len(cells.lo) - 1]])
    bottom, top = np.fmin.reduceat(cells.bottom, first), np.fmax.reduceat(cells.top, first)
    steepest = np.fmax.reduceat(cells.steepest, first)
    columns = (cells.lo[first], cells.hi[last], cells.kind[first], cells.sign[first], bottom, top, steepest)
    pieces = [
        Piece(lo, hi, Kind(kind), int(sign), *bounds) for lo, hi, kind, sign, *bounds in zip(*columns, strict=True)
    ]
    # Each joins neighbours of one kind, which the other then sees as one.
    pieces = _clustered(pieces, Kind.BROKEN, between={Kind.MONOTONE, Kind.FLAT, Kind.UNRESOLVED}, scale=scale)
    return _clustered(pieces, Kind.UNRESOLVED, between={Kind.MONOTONE}, scale=scale)


def regrouped(pieces: list[Piece]) -> list[Piece]:
    """Returns the pieces with neighbours of the same kind and sign joined, other than broken ones."""
    result: list[Piece] = []
    for piece in pieces:
        same = result and (result[-1].kind, result[-1].sign) == (piece.kind, piece.sign)
        if same and piece.kind not in (Kind.BROKEN, Kind.SIMPLE):
            result[-1] = joined([result[-1], piece], piece.kind)
        else:
            result.append(piece)
    return result


def joined(pieces: list[Piece], kind: Kind) -> Piece:
    """Returns one piece of this kind in place of neighbouring pieces."""
    bottoms, tops = [piece.bottom for piece in pieces], [piece.top for piece in pieces]
    return Piece(
        lo=pieces[0].lo,
        hi=pieces[-1].hi,
        kind=kind,
        sign=pieces[0].sign if kind == pieces[0].kind else 0,
        bottom=float(np.fmin.reduce(bottoms)),
        top=float(np.fmax.reduce(tops)),
        steepest=max(piece.steepest for piece in pieces),
    )


def _clustered(pieces: list[Piece], kind: Kind, between: set[Kind], scale: float) -> list[Piece]:
    """Returns the pieces with those of this kind joined whose gap is no wider than the wider of the two.

    The border of a piece whose bounds are rounding error is ragged: there decided and undecided cells take turns.
    """
    result: list[Piece] = []
    for piece in pieces:
        result.append(piece)
        if piece.kind != kind:
            continue
        start = len(result) - 2
        while start >= 0 and result[start].kind in between:
            start -= 1
        if start < 0 or result[start].kind != kind:
            continue
        gap = piece.lo - result[start].hi
        widest = max(piece.width, result[start].width)
        if gap <= min(widest, _NEAR * max(scale, abs(piece.lo))):
            result[start:] = [joined(result[start:], kind)]
    return result
