"""Functions whose local minima are known, with their customary starts."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array


@dataclasses.dataclass(frozen=True, eq=False)
class KnownProblem:
    """A function with its customary start and its known local minima.

    Attributes:
        name: The function's name in the literature; "rosenbrock 10" is the function in ten variables.
        fun: fun(x, *args) -> a number.
        x0: The customary start, a NumPy array in the shape of x.
        minima: The points where the local minima lie, (m, ...), the global minima first.
        value: The function's value at the global minima.
        args: The arguments that fun takes after x.
        tags: Properties, for `tagged`. On an "easy" problem gradient descent at the fixed learning rate 0.01 converges
            to a minimum.
    """

    name: str
    fun: Callable
    x0: np.ndarray
    minima: np.ndarray
    value: float
    args: tuple[Any, ...] = ()
    tags: frozenset[str] = frozenset()


def quartic(x: Array) -> Array:
    """x (x - 1) (x - 2) (x - 3): two global minima with a local maximum between them."""
    return x * (x - 1) * (x - 2) * (x - 3)


def rosenbrock(x: Array, b: Array | float = 100.0) -> Array:
    """A curved valley with walls of steepness b, in two or more variables (Rosenbrock 1960)."""
    return jnp.sum(b * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def himmelblau(x: Array) -> Array:
    """Four global minima, all of value 0 (Himmelblau 1972)."""
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def beale(x: Array) -> Array:
    """A flat valley between steep walls (Beale 1958)."""
    return (
        (1.5 - x[0] + x[0] * x[1]) ** 2 + (2.25 - x[0] + x[0] * x[1] ** 2) ** 2 + (2.625 - x[0] + x[0] * x[1] ** 3) ** 2
    )


def booth(x: Array) -> Array:
    """A quadratic function whose Hessian has condition number 9."""
    return (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2


def powell_singular(x: Array) -> Array:
    """A minimum at which the Hessian is singular, so that methods converge slowly (Powell 1962)."""
    return (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4


def wood(x: Array) -> Array:
    """Two coupled valleys, with a saddle point near the start (Colville 1968)."""
    return (
        100 * (x[1] - x[0] ** 2) ** 2
        + (1 - x[0]) ** 2
        + 90 * (x[3] - x[2] ** 2) ** 2
        + (1 - x[2]) ** 2
        + 10 * (x[1] + x[3] - 2) ** 2
        + 0.1 * (x[1] - x[3]) ** 2
    )


def helical_valley(x: Array) -> Array:
    """A valley that winds around an axis (Fletcher and Powell 1963)."""
    theta = jnp.arctan2(x[1], x[0]) / (2 * jnp.pi)
    return 100 * ((x[2] - 10 * theta) ** 2 + (jnp.hypot(x[0], x[1]) - 1) ** 2) + x[2] ** 2


def ellipsoid(x: Array) -> Array:
    """A quadratic function whose curvatures range from 1 to 10^6."""
    weights = jnp.logspace(0, 6, x.size).astype(x.dtype)
    return 0.5 * jnp.sum(weights * (x - 1) ** 2)


def log_barrier(x: Array) -> Array:
    """The sum over the components of x - log x: NaN where a component is negative."""
    return jnp.sum(x - jnp.log(x))


def _problem(name: str, fun: Callable, x0: list | float, minima: list, value: float = 0.0, *tags: str) -> KnownProblem:
    return KnownProblem(name, fun, np.array(x0, float), np.array(minima, float), value, tags=frozenset(tags))


HIMMELBLAU_MINIMA = [
    [3.0, 2.0],
    [-2.805118086952745, 3.131312518250573],
    [-3.779310253377747, -3.283185991286169],
    [3.584428340330492, -1.848126526964404],
]

# In four or more variables Rosenbrock's function has a second local minimum, near (-1, 1, ..., 1) (Shang and Qiu 2006).
ROSENBROCK_10_SECOND = [
    *(-0.993263372856369, 0.9966060394434352, 0.9982406113911125, 0.9989884337678007, 0.999226153439665),
    *(0.9990736481633443, 0.9984541774029088, 0.9970562516630377, 0.9941793752280661, 0.9883926301288679),
]

PROBLEMS = (
    _problem("quartic", quartic, 1.25, [(3 - 5**0.5) / 2, (3 + 5**0.5) / 2], -1.0, "multimodal", "easy"),
    _problem("rosenbrock 2", rosenbrock, [-1.2, 1.0], [[1.0] * 2], 0.0, "valley"),
    _problem("rosenbrock 10", rosenbrock, [-1.2, 1.0] * 5, [[1.0] * 10, ROSENBROCK_10_SECOND], 0.0, "valley"),
    _problem("himmelblau", himmelblau, [0.0, 0.0], HIMMELBLAU_MINIMA, 0.0, "multimodal", "easy"),
    _problem("beale", beale, [1.0, 1.0], [[3.0, 0.5]], 0.0, "valley"),
    _problem("booth", booth, [0.0, 0.0], [[1.0, 3.0]], 0.0, "quadratic", "easy"),
    _problem("powell singular", powell_singular, [3.0, -1.0, 0.0, 1.0], [[0.0] * 4], 0.0, "degenerate"),
    _problem("wood", wood, [-3.0, -1.0, -3.0, -1.0], [[1.0] * 4], 0.0, "valley"),
    _problem("helical valley", helical_valley, [-1.0, 0.0, 0.0], [[1.0, 0.0, 0.0]], 0.0, "valley"),
    _problem("ellipsoid", ellipsoid, [0.0] * 6, [[1.0] * 6], 0.0, "quadratic"),
    _problem("log barrier", log_barrier, [5.0] * 3, [[1.0] * 3], 3.0, "domain", "easy"),
)


def tagged(*tags: str) -> list[KnownProblem]:
    """Returns the problems of `PROBLEMS` that have all of these tags."""
    return [problem for problem in PROBLEMS if problem.tags.issuperset(tags)]
