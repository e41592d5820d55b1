"""How a problem ends: every status with its code, its words and whether it is a success, in one place."""

import enum
import functools
import operator
from typing import Any

import numpy as np

# The code of a lane whose problem has not ended; no result ever holds it.
RUNNING = -1


class Status(enum.IntEnum):
    """How a problem ended.

    SUCCESS is a promise: the largest component of the gradient g, as evaluated at the returned x, is at most gtol; with
    bounds that of the projected gradient x - P(x - g), P being the projection on the box. A gradient has units: where
    the caller has not given gtol, SUCCESS also means that the method's own model of the function promises at most 1e-10
    of the fall so far, or a fall within the rounding error of the value, and that every component of g has fallen to
    1e-5 of its largest size on the way (in single precision 1.2e-4), or as far as the rounding of the value lets it be
    seen. A method without a model, of a fixed rate, also asks for a first-order change of f over the size of x that is
    a small share of the fall, and in single precision for 1e-3. CONVERGED_PRECISION is the same end where the gradient
    is above gtol, but no further fall can be represented, or the function's noise hides the falls that the method still
    expects: changes along short steps that its slopes do not explain.

    A start outside the box is first moved onto it, to the nearest point; INVALID is a start where fun or its gradient
    is not finite, a box whose lower bound is above its upper, and a scale that is not positive.

    Attributes:
        words: What the status says, for messages.
        is_success: Whether `result.success` is true.
    """

    words: str
    is_success: bool

    def __new__(cls, code: int, words: str = "", is_success: bool = False) -> "Status":
        """Makes a status an int that carries its words."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.words, member.is_success = words, is_success
        return member

    SUCCESS = 0, "the largest component of the gradient is at most gtol, with bounds of the projected gradient", True
    STALLED = 1, "no further decrease can be represented in this precision"
    MAX_ITERATIONS = 2, "maxiter was reached"
    NON_FINITE = 3, "the function or its gradient is not finite beyond x, the last finite point"
    UNBOUNDED = 4, "the function appears to fall without end"
    INVALID = 5, "the start, or the function or its gradient there, is not finite, or an option or a bound is wrong"
    CONVERGED_VALUE = 6, "the last step changed the value by at most ftol of its size", True
    CONVERGED_STEP = 7, "the last step changed x by at most xtol of its size", True
    MAX_EVALUATIONS = 8, "the cap on evaluations was reached"
    CONVERGED_PRECISION = 9, "the falls that the method still expects are hidden by the rounding of the function", True
    INFEASIBLE = 10, "the constraints are violated, and no x nearby violates them less"
    INTERRUPTED = 11, "the caller ended the call before the problem had ended, by Ctrl-C or from the callback"


def is_success(codes: Any) -> Any:
    """Returns where these codes, an array of NumPy or JAX of any shape, are those of successes."""
    return functools.reduce(operator.or_, [codes == status for status in Status if status.is_success])


def words_of(codes: Any) -> str:
    """Returns what these codes say; of several problems a line for each status that occurs. Runs on the host."""
    codes = np.asarray(codes)
    if codes.ndim == 0:
        return Status(int(codes)).words
    return "\n".join(
        f"{count} of {codes.size} {Status(code).name}: {Status(code).words}"
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True)
    )
