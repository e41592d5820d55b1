"""Multimodal functions in boxes, for global search."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.problems.local import HIMMELBLAU_MINIMA, himmelblau


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalProblem:
    """A multimodal function in a box, with its known global minima.

    Attributes:
        name: The function's name in the literature, and the number of variables.
        fun: fun(x) -> a number.
        lower: The lower bounds of the box, (n,).
        upper: The upper bounds of the box, (n,).
        minima: The points where the global minima lie, (m, n).
        value: The function's value at the global minima.
        local: The points where all other local minima lie, (k, n); None where there are too many to list.
        tags: Properties. "kink": the derivative of the function jumps somewhere. "cusp": the derivative jumps at the
            global minimum. "boundary": the global minimum lies on the boundary of the box.
    """

    name: str
    fun: Callable
    lower: np.ndarray
    upper: np.ndarray
    minima: np.ndarray
    value: float
    local: np.ndarray | None
    tags: frozenset[str]


def branin(x: Array) -> Array:
    """Three minima, all of them global (Branin 1972)."""
    return (x[1] - 5.1 / (4 * np.pi**2) * x[0] ** 2 + 5 / np.pi * x[0] - 6) ** 2 + (
        10 * (1 - 1 / (8 * np.pi)) * jnp.cos(x[0]) + 10
    )


def six_hump_camel(x: Array) -> Array:
    """Six minima, two of them global (Branin 1972)."""
    return (4 - 2.1 * x[0] ** 2 + x[0] ** 4 / 3) * x[0] ** 2 + x[0] * x[1] + (4 * x[1] ** 2 - 4) * x[1] ** 2


def goldstein_price(x: Array) -> Array:
    """Four minima, of values from 3 to 840 (Goldstein and Price 1971)."""
    a, b = x[0], x[1]
    first = 1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)
    return first * (30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2))


def shubert(x: Array) -> Array:
    """722 minima inside the box and 39 on its boundary, 18 of them global (Shubert 1972)."""
    i = np.arange(1, 6)
    return jnp.prod(jnp.sum(i * jnp.cos((i + 1) * x[:, None] + i), axis=1))


def easom(x: Array) -> Array:
    """A small basin of attraction in a wide plain (Easom 1990)."""
    return -jnp.cos(x[0]) * jnp.cos(x[1]) * jnp.exp(-((x[0] - np.pi) ** 2) - (x[1] - np.pi) ** 2)


def eggholder(x: Array) -> Array:
    """Many minima of similar values, the global one on the boundary (Whitley et al. 1996)."""
    a, b = x[0], x[1] + 47
    return -b * jnp.sin(jnp.sqrt(jnp.abs(b + a / 2))) - a * jnp.sin(jnp.sqrt(jnp.abs(a - b)))


def schaffer(x: Array) -> Array:
    """Rings of minima around the global minimum, F6 of Schaffer et al. (1989)."""
    square = jnp.sum(x**2)
    sine = jnp.where(square > 0, jnp.sin(jnp.sqrt(jnp.where(square > 0, square, 1))), 0)
    return 0.5 + (sine**2 - 0.5) / (1 + 0.001 * square) ** 2


def trefethen(x: Array) -> Array:
    """Thousands of minima; a problem of the hundred-digit challenge (Trefethen 2002)."""
    wave = jnp.exp(jnp.sin(50 * x[0])) + jnp.sin(60 * jnp.exp(x[1])) + jnp.sin(70 * jnp.sin(x[0]))
    return wave + jnp.sin(jnp.sin(80 * x[1])) - jnp.sin(10 * (x[0] + x[1])) + (x[0] ** 2 + x[1] ** 2) / 4


def langermann(x: Array) -> Array:
    """Waves around five centres (Langermann; Bersini et al. 1996)."""
    squares = jnp.sum((x - np.array([[3, 5], [5, 2], [2, 1], [1, 4], [7, 9]])) ** 2, axis=1)
    return -jnp.sum(np.array([1, 2, 5, 2, 3]) * jnp.exp(-squares / np.pi) * jnp.cos(np.pi * squares))


def shekel(x: Array) -> Array:
    """Ten wells of different depths (Shekel 1971)."""
    pairs = np.array([[4, 4], [1, 1], [8, 8], [6, 6], [3, 7], [2, 9], [5, 5], [8, 1], [6, 2], [7, 3.6]])
    wells = np.hstack([pairs, np.where(pairs == 5, 3, pairs)])
    depths = np.array([1, 2, 2, 4, 4, 6, 3, 7, 5, 5]) / 10
    return -jnp.sum(1 / (jnp.sum((x - wells) ** 2, axis=1) + depths))


_HARTMANN_HEIGHTS = np.array([1, 1.2, 3, 3.2])
_HARTMANN_3 = (
    np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]]),
    1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381.5, 5743, 8828]]),
)
_HARTMANN_6 = (
    np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    ),
    1e-4
    * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    ),
)


def hartmann(x: Array) -> Array:
    """Four Gaussian wells in 3 or 6 variables (Hartman 1973)."""
    steepness, centres = _HARTMANN_3 if x.shape[0] == 3 else _HARTMANN_6
    return -jnp.sum(_HARTMANN_HEIGHTS * jnp.exp(-jnp.sum(steepness * (x - centres) ** 2, axis=1)))


def styblinski_tang(x: Array) -> Array:
    """2^n minima (Styblinski and Tang 1990)."""
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


def michalewicz(x: Array) -> Array:
    """n! narrow valleys in a plain (Michalewicz 1992)."""
    i = np.arange(1, x.shape[0] + 1)
    return -jnp.sum(jnp.sin(x) * jnp.sin(i * x**2 / np.pi) ** 20)


def rastrigin(x: Array) -> Array:
    """A minimum near every point whose coordinates are whole numbers (Rastrigin 1974)."""
    return 10 * x.shape[0] + jnp.sum(x**2 - 10 * jnp.cos(2 * np.pi * x))


def ackley(x: Array) -> Array:
    """Many minima on the walls of a funnel that ends in a cusp (Ackley 1987)."""
    square = jnp.mean(x**2)
    distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return 20 + np.e - 20 * jnp.exp(-0.2 * distance) - jnp.exp(jnp.mean(jnp.cos(2 * np.pi * x)))


def griewank(x: Array) -> Array:
    """Thousands of shallow minima in a wide bowl (Griewank 1981)."""
    return 1 + jnp.sum(x**2) / 4000 - jnp.prod(jnp.cos(x / np.sqrt(np.arange(1, x.shape[0] + 1))))


def schwefel(x: Array) -> Array:
    """Many minima, the second lowest far away from the lowest (Schwefel 1981)."""
    return 418.9828872724338 * x.shape[0] - jnp.sum(x * jnp.sin(jnp.sqrt(jnp.abs(x))))


def levy(x: Array) -> Array:
    """Waves on two scales (Levy and Montalvo 1985)."""
    w = 1 + (x - 1) / 4
    middle = jnp.sum((w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(np.pi * w[:-1] + 1) ** 2))
    return jnp.sin(np.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + jnp.sin(2 * np.pi * w[-1]) ** 2)


CAMEL_MINIMA = np.array([[0.08984201310031806, -0.7126564030207396]]) * [[1], [-1]]
CAMEL_LOCAL = np.array([[1.703606714969981, -0.7960835686726252], [1.6071047529201976, 0.5686514548841314]]).repeat(
    2, axis=0
) * [[1], [-1], [1], [-1]]
# Shubert's function is g(x_0) g(x_1), and g has its global minima at _SHUBERT_LOW and its global maxima at
# _SHUBERT_HIGH: the product is lowest where one coordinate is a minimum of g and the other a maximum.
_SHUBERT_LOW = np.array([-7.708313735499347, -1.425128428319761, 4.858056878859825])
_SHUBERT_HIGH = np.array([-7.0835064076515595, -0.8003211004719731, 5.482864206707613])
_SHUBERT_PAIRS = np.stack(np.meshgrid(_SHUBERT_LOW, _SHUBERT_HIGH), axis=-1).reshape(-1, 2)
SHEKEL_10_MINIMUM = [4.000746531592046, 4.000592934138532, 3.9996633980403224, 3.9995098005868077]
HARTMANN_3_MINIMUM = [0.11461433858967197, 0.5556488499718569, 0.8525469535208658]
HARTMANN_6_MINIMUM = [
    *(0.20168951100670543, 0.15001069182345797, 0.47687397422189703),
    *(0.2753324304940561, 0.31165161660011326, 0.6573005340656204),
]
MICHALEWICZ_10_MINIMUM = [
    *(2.2029055201726093, 1.5707963267948966, 1.2849915705529242, 1.9230584698663629, 1.720469772565841),
    *(1.5707963267948966, 1.4544139713623792, 1.7560865209450265, 1.655717416821029, 1.5707963267948966),
]


def _in_box(
    fun: Callable, n: int, box: tuple, minima: Any, value: float, *tags: str, local: Any = None
) -> GlobalProblem:
    lower, upper = (np.full(n, side, float) for side in box)
    local = None if local is None else np.array(local, float).reshape(-1, n)
    name = f"{fun.__name__.replace('_', ' ')} {n}"
    minima = np.array(minima, float).reshape(-1, n)
    return GlobalProblem(name, fun, lower, upper, minima, value, local, frozenset(tags))


GLOBAL_PROBLEMS = (
    _in_box(branin, 2, ([-5, 0], [10, 15]), [[-np.pi, 12.275], [np.pi, 2.275], [3 * np.pi, 2.475]], 1.25 / np.pi,
            local=[]),
    _in_box(six_hump_camel, 2, ([-3, -2], [3, 2]), CAMEL_MINIMA, -1.0316284534898774, local=CAMEL_LOCAL),
    _in_box(himmelblau, 2, (-5, 5), HIMMELBLAU_MINIMA, 0.0, local=[]),
    _in_box(goldstein_price, 2, (-2, 2), [0, -1], 3.0, local=[[-0.6, -0.4], [1.8, 0.2], [1.2, 0.8]]),
    _in_box(shubert, 2, (-10, 10), [_SHUBERT_PAIRS, _SHUBERT_PAIRS[:, ::-1]], -186.73090883102384),
    _in_box(easom, 2, (-100, 100), [np.pi, np.pi], -1.0),
    _in_box(eggholder, 2, (-512, 512), [512, 404.2318051137578], -959.6406627208507, "kink", "boundary"),
    _in_box(schaffer, 2, (-50, 100), [0, 0], 0.0),
    _in_box(trefethen, 2, (-1, 1), [-0.024403079694375173, 0.21061242715535575], -3.306868647475236),
    _in_box(langermann, 2, (0, 10), [2.0029921199344654, 1.0060959402921885], -5.162126159963981),
    _in_box(hartmann, 3, (0, 1), HARTMANN_3_MINIMUM, -3.862782147820755),
    _in_box(shekel, 4, (0, 10), SHEKEL_10_MINIMUM, -10.536409816692041),
    _in_box(styblinski_tang, 5, (-5, 5), [-2.903534027771177] * 5, -39.16616570377141 * 5),
    _in_box(hartmann, 6, (0, 1), HARTMANN_6_MINIMUM, -3.322368011415515),
    _in_box(michalewicz, 10, (0, np.pi), MICHALEWICZ_10_MINIMUM, -9.660151715641343),
    _in_box(rastrigin, 10, (-2.56, 5.12), [0] * 10, 0.0),
    _in_box(ackley, 10, (-15, 30), [0] * 10, 0.0, "cusp"),
    _in_box(griewank, 10, (-300, 600), [0] * 10, 0.0),
    _in_box(schwefel, 10, (-500, 500), [420.968746359982] * 10, 0.0, "kink"),
    _in_box(levy, 10, (-10, 10), [1] * 10, 0.0),
)  # fmt: skip
