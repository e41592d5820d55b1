"""Problems with constraints whose lowest values are known, by their numbers in the collection that they come from.

Source: W. Hock and K. Schittkowski, Test Examples for Nonlinear Programming Codes (1981).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

ROOT2, ROOT3, ROOT7 = 2**0.5, 3**0.5, 7**0.5


@dataclasses.dataclass(frozen=True, eq=False)
class ConstrainedProblem:
    """minimise fun(x) subject to equalities(x) = 0, inequalities(x) >= 0 and bounds.

    Attributes:
        name: The number in the collection, as "HS71".
        fun: x (n,) -> the value.
        x0: The start, (n,).
        value: The lowest value, to the digits that the collection states.
        equalities: x -> what has to be zero; None if nothing has.
        inequalities: x -> what has to be at least zero; None if nothing has.
        bounds: A pair (lower, upper) of arrays (n,), or None.
    """

    name: str
    fun: Callable[[Array], Array]
    x0: np.ndarray
    value: float
    equalities: Callable[[Array], Array] | None = None
    inequalities: Callable[[Array], Array] | None = None
    bounds: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def constraints(self) -> list[dict[str, Any]]:
        """The constraints as `minimize` takes them."""
        kinds = (("eq", self.equalities), ("ineq", self.inequalities))
        return [{"type": kind, "fun": fun} for kind, fun in kinds if fun is not None]


def _problem(
    number: int, value: float, x0: list[float], fun: Callable, eq: Callable | None = None, ineq: Callable | None = None,
    lower: Any = None, upper: Any = None,
) -> ConstrainedProblem:  # fmt: skip
    bounds = None
    if lower is not None or upper is not None:
        low, high = (-np.inf if lower is None else lower), (np.inf if upper is None else upper)
        low, high = (np.broadcast_to(np.asarray(side, float), (len(x0),)) for side in (low, high))
        bounds = low, high
    return ConstrainedProblem(f"HS{number}", fun, np.array(x0, float), value, _stacked(eq), _stacked(ineq), bounds)


def _stacked(fun: Callable | None) -> Callable | None:
    return None if fun is None else lambda x: jnp.stack([jnp.asarray(entry) for entry in fun(*x)])


def _of(fun: Callable) -> Callable:
    return lambda x: fun(*x)


def _hs43(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, ...]:
    return (
        8 - a**2 - b**2 - c**2 - d**2 - a + b - c + d,
        10 - a**2 - 2 * b**2 - c**2 - 2 * d**2 + a + d,
        5 - 2 * a**2 - b**2 - c**2 - 2 * a + b + d,
    )


def _hs78(a: Array, b: Array, c: Array, d: Array, e: Array) -> tuple[Array, ...]:
    return a**2 + b**2 + c**2 + d**2 + e**2 - 10, b * c - 5 * d * e, a**3 + b**3 + 1


def _hs100(a: Array, b: Array, c: Array, d: Array, e: Array, f: Array, g: Array) -> tuple[Array, ...]:
    return (
        127 - 2 * a**2 - 3 * b**4 - c - 4 * d**2 - 5 * e,
        282 - 7 * a - 3 * b - 10 * c**2 - d + e,
        196 - 23 * a - b**2 - 6 * f**2 + 8 * g,
        -4 * a**2 - b**2 + 3 * a * b - 2 * c**2 - 5 * f + 11 * g,
    )


CONSTRAINED_PROBLEMS = (
    _problem(6, 0.0, [-1.2, 1], _of(lambda a, b: (1 - a) ** 2), lambda a, b: (10 * (b - a**2),)),
    _problem(7, -ROOT3, [2, 2], _of(lambda a, b: jnp.log(1 + a**2) - b), lambda a, b: ((1 + a**2) ** 2 + b**2 - 4,)),
    _problem(10, -1.0, [-10, 10], _of(lambda a, b: a - b), None, lambda a, b: (-3 * a**2 + 2 * a * b - b**2 + 1,)),
    _problem(12, -30.0, [0, 0], _of(lambda a, b: a**2 / 2 + b**2 - a * b - 7 * a - 7 * b), None,
             lambda a, b: (25 - 4 * a**2 - b**2,)),
    _problem(14, 9 - 2.875 * ROOT7, [2, 2], _of(lambda a, b: (a - 2) ** 2 + (b - 1) ** 2),
             lambda a, b: (a - 2 * b + 1,), lambda a, b: (-(a**2) / 4 - b**2 + 1,)),
    _problem(15, 306.5, [-2, 1], _of(lambda a, b: 100 * (b - a**2) ** 2 + (1 - a) ** 2), None,
             lambda a, b: (a * b - 1, a + b**2), upper=[0.5, np.inf]),
    _problem(21, -99.96, [-1, -1], _of(lambda a, b: 0.01 * a**2 + b**2 - 100), None, lambda a, b: (10 * a - b - 10,),
             [2, -50], [50, 50]),
    _problem(22, 1.0, [2, 2], _of(lambda a, b: (a - 2) ** 2 + (b - 1) ** 2), None,
             lambda a, b: (2 - a - b, b - a**2)),
    _problem(24, -1.0, [1, 0.5], _of(lambda a, b: ((a - 3) ** 2 - 9) * b**3 / (27 * ROOT3)), None,
             lambda a, b: (a / ROOT3 - b, a + ROOT3 * b, 6 - a - ROOT3 * b), 0.0),
    _problem(28, 0.0, [-4, 1, 1], _of(lambda a, b, c: (a + b) ** 2 + (b + c) ** 2),
             lambda a, b, c: (a + 2 * b + 3 * c - 1,)),
    _problem(29, -16 * ROOT2, [1, 1, 1], _of(lambda a, b, c: -a * b * c), None,
             lambda a, b, c: (48 - a**2 - 2 * b**2 - 4 * c**2,)),
    _problem(35, 1 / 9, [0.5, 0.5, 0.5], _of(lambda a, b, c: 9 - 8 * a - 6 * b - 4 * c + 2 * a**2 + 2 * b**2 + c**2
             + 2 * a * b + 2 * a * c), None, lambda a, b, c: (3 - a - b - 2 * c,), 0.0),
    _problem(39, -1.0, [2, 2, 2, 2], _of(lambda a, b, c, d: -a),
             lambda a, b, c, d: (b - a**3 - c**2, a**2 - b - d**2)),
    _problem(40, -0.25, [0.8] * 4, _of(lambda a, b, c, d: -a * b * c * d),
             lambda a, b, c, d: (a**3 + b**2 - 1, a**2 * d - c, d**2 - b)),
    _problem(43, -44.0, [0] * 4, _of(lambda a, b, c, d: a**2 + b**2 + 2 * c**2 + d**2 - 5 * a - 5 * b - 21 * c + 7 * d),
             None, _hs43),
    _problem(48, 0.0, [3, 5, -3, 2, -2], _of(lambda a, b, c, d, e: (a - 1) ** 2 + (b - c) ** 2 + (d - e) ** 2),
             lambda a, b, c, d, e: (a + b + c + d + e - 5, c - 2 * (d + e) + 3)),
    _problem(65, 0.9535288567, [-5, 5, 0], _of(lambda a, b, c: (a - b) ** 2 + (a + b - 10) ** 2 / 9 + (c - 5) ** 2),
             None, lambda a, b, c: (48 - a**2 - b**2 - c**2,), [-4.5, -4.5, -5], [4.5, 4.5, 5]),
    _problem(71, 17.0140173, [1, 5, 5, 1], _of(lambda a, b, c, d: a * d * (a + b + c) + c),
             lambda a, b, c, d: (a**2 + b**2 + c**2 + d**2 - 40,), lambda a, b, c, d: (a * b * c * d - 25,), 1.0, 5.0),
    _problem(76, -4.681818181, [0.5] * 4, _of(lambda a, b, c, d: a**2 + b**2 / 2 + c**2 + d**2 / 2 - a * c + c * d - a
             - 3 * b + c - d), None,
             lambda a, b, c, d: (5 - a - 2 * b - c - d, 4 - 3 * a - b - 2 * c + d, b + 4 * c - 1.5), 0.0),
    _problem(77, 0.24150513, [2] * 5, _of(lambda a, b, c, d, e: (a - 1) ** 2 + (a - b) ** 2 + (c - 1) ** 2
             + (d - 1) ** 4 + (e - 1) ** 6),
             lambda a, b, c, d, e: (a**2 * d + jnp.sin(d - e) - 2 * ROOT2, b + c**4 * d**2 - 8 - ROOT2)),
    _problem(78, -2.91970041, [-2, 1.5, 2, -1, -1], _of(lambda a, b, c, d, e: a * b * c * d * e), _hs78),
    _problem(80, 0.0539498478, [-2, 2, 2, -1, -1], _of(lambda a, b, c, d, e: jnp.exp(a * b * c * d * e)), _hs78, None,
             [-2.3, -2.3, -3.2, -3.2, -3.2], [2.3, 2.3, 3.2, 3.2, 3.2]),
    _problem(100, 680.6300573, [1, 2, 0, 4, 0, 1, 1], _of(lambda a, b, c, d, e, f, g: (a - 10) ** 2 + 5 * (b - 12) ** 2
             + c**4 + 3 * (d - 11) ** 2 + 10 * e**6 + 7 * f**2 + g**4 - 4 * f * g - 10 * f - 8 * g), None, _hs100),
)  # fmt: skip
