"""Functions whose critical points are all known: who finds them all, and nothing else.

    python -m benchmarks.critical_points

This library, a grid of 1,000 cells with SciPy's brentq, and, if the package chebfun is installed (pip install chebfun),
the roots of the derivative of Chebfun's representation. Seconds are those of the processor, compiling included; the
second call is with the same function.
"""

import dataclasses
import functools
import importlib.util
import math
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

ACCURATE = 1e-10
GRID = 1_000
INFINITY = math.inf
PI = math.pi


@dataclasses.dataclass(frozen=True)
class Case:
    """A function, written for NumPy or jax.numpy, an interval, and the critical points inside it with their kinds.

    The kinds are one letter each, repeated as often as it takes: m a minimum, M a maximum, i an inflection.
    """

    name: str
    f: Callable  # f(np, x)
    lower: float
    upper: float
    points: np.ndarray
    pattern: str = "m"

    @property
    def kinds(self) -> list[str]:
        """The kinds as words."""
        words = {"m": "minimum", "M": "maximum", "i": "inflection"}
        return [words[self.pattern[k % len(self.pattern)]] for k in range(len(self.points))]


def _case(name: str, f: Callable, lower: float, upper: float, points, pattern: str = "m") -> Case:
    return Case(name, f, lower, upper, np.array(points, float), pattern)


def _spike(width: float, centre: float) -> list[float]:
    """The critical points of x^2 + exp(-((x - centre) / width)^2) beside 0, as roots in u = (x - centre) / width."""

    def slope(u):
        return width * (centre + width * u) - u * math.exp(-u * u)

    near = math.sqrt(math.log(1 / (width * centre)))
    return [
        centre + width * brentq(slope, *bracket, xtol=1e-300, rtol=1e-14) for bracket in ((0, 0.5), (0.8, near + 2))
    ]


def _waves() -> list[float]:
    def slope(x):
        return 100 / math.cosh(100 * x) ** 2 + 0.2 * math.cos(20 * x)

    guesses = [(k + 0.5) * PI / 20 for k in range(6)]
    right = [brentq(slope, guess - 0.03, guess + 0.03, xtol=1e-15, rtol=1e-14) for guess in guesses]
    return [-x for x in right[::-1]] + right


GOLDEN = [(3 - math.sqrt(5)) / 2, 1.5, (3 + math.sqrt(5)) / 2]
T10 = [512.0, 0, -1280, 0, 1120, 0, -400, 0, 50, 0, -1]
BATTERY = [
    _case("x (x - 1) (x - 2) (x - 3)", lambda n, x: x * (x - 1) * (x - 2) * (x - 3), -1, 4, GOLDEN, "mM"),
    _case("the same, whole line", lambda n, x: x * (x - 1) * (x - 2) * (x - 3), -INFINITY, INFINITY, GOLDEN, "mM"),
    _case("x^4", lambda n, x: x**4, -1, 2, [0], "m"),
    _case("x^3", lambda n, x: x**3, -1, 2, [0], "i"),
    _case("x^6", lambda n, x: x**6, -1, 2, [0], "m"),
    _case("(x - 0.3)^5", lambda n, x: (x - 0.3) ** 5, -1, 1, [0.3], "i"),
    _case("(x - 1)^4, expanded", lambda n, x: x**4 - 4 * x**3 + 6 * x**2 - 4 * x + 1, -1, 3, [1], "m"),
    _case("x^2 (x - 1)^3", lambda n, x: x**2 * (x - 1) ** 3, -1, 2, [0, 0.4, 1], "Mmi"),
    _case("x + sin x", lambda n, x: x + n.sin(x), -10, 10, [-3 * PI, -PI, PI, 3 * PI], "i"),
    _case("x - sin x", lambda n, x: x - n.sin(x), -1, 7, [0, 2 * PI], "i"),
    _case("x^3 / 3 - 1e-12 x", lambda n, x: x**3 / 3 - 1e-12 * x, -1, 1, [-1e-6, 1e-6], "Mm"),
    _case("x^3 / 3 + 1e-12 x", lambda n, x: x**3 / 3 + 1e-12 * x, -1, 1, []),
    _case("x^2 + spike of 1e-4", lambda n, x: x**2 + n.exp(-(((x - 0.3217) / 1e-4) ** 2)), -1, 1,
          [0, *_spike(1e-4, 0.3217)], "mMm"),
    _case("x^2 + spike of 1e-6", lambda n, x: x**2 + n.exp(-(((x - 0.3217) / 1e-6) ** 2)), -1, 1,
          [0, *_spike(1e-6, 0.3217)], "mMm"),
    _case("sin(50 x) exp(-x)", lambda n, x: n.sin(50 * x) * n.exp(-x), 0, 3,
          [(math.atan(50) + k * PI) / 50 for k in range(48)], "Mm"),
    _case("sin(1000 x)", lambda n, x: n.sin(1000 * x), 0, 1, [(k + 0.5) * PI / 1000 for k in range(318)], "Mm"),
    _case("tanh(100 x) + waves", lambda n, x: n.tanh(100 * x) + 0.01 * n.sin(20 * x), -1, 1, _waves(), "Mm"),
    _case("sin(x^2)", lambda n, x: n.sin(x**2), 0, 6, [math.sqrt((k + 0.5) * PI) for k in range(11)], "Mm"),
    _case("sin(1 / x)", lambda n, x: n.sin(1 / x), 0.02, 1, [1 / ((k + 0.5) * PI) for k in range(15, -1, -1)], "mM"),
    _case("exp(x) sin x", lambda n, x: n.exp(x) * n.sin(x), 0, 20, [(k + 0.75) * PI for k in range(6)], "Mm"),
    _case("sin x + sin(3 x) / 3", lambda n, x: n.sin(x) + n.sin(3 * x) / 3, 0, 2 * PI,
          [k * PI / 4 for k in (1, 2, 3, 5, 6, 7)], "Mm"),
    _case("Chebyshev's T10", lambda n, x: n.polyval(n.array(T10), x), -1, 1,
          [math.cos(k * PI / 10) for k in range(9, 0, -1)], "mM"),
    _case("Runge", lambda n, x: 1 / (1 + 25 * x**2), -1, 2, [0], "M"),
    _case("log x + 1 / x", lambda n, x: n.log(x) + 1 / x, 0.1, 10, [1], "m"),
    _case("x^x", lambda n, x: x**x, 0.05, 2, [1 / math.e], "m"),
    _case("cosh x", lambda n, x: n.cosh(x), -3, 4, [0], "m"),
    _case("exp(-x^2), whole line", lambda n, x: n.exp(-(x**2)), -INFINITY, INFINITY, [0], "M"),
    _case("arctan, whole line", lambda n, x: n.arctan(x), -INFINITY, INFINITY, []),
    _case("x exp(-x), half line", lambda n, x: x * n.exp(-x), 0, INFINITY, [1], "M"),
    _case("x / (1 + x^2), whole line", lambda n, x: x / (1 + x**2), -INFINITY, INFINITY, [-1, 1], "mM"),
]  # fmt: skip


def missing_and_spurious(case: Case, x: np.ndarray) -> tuple[int, int]:
    """How many known points have no found one, and how many found ones have no known one, each matched once."""
    scale = ACCURATE * np.maximum(np.abs(case.points), 1e-2)
    left = list(x)
    missing = 0
    for point, within in zip(case.points, scale, strict=True):
        near = [k for k, found in enumerate(left) if abs(found - point) <= within]
        if near:
            left.pop(near[0])
        else:
            missing += 1
    return missing, len(left)


def by_jaxcalc(case: Case, f: Callable | None = None):
    """The critical points that are not ends of the interval, their kinds, and whether they are certain."""
    import jax.numpy as jnp

    import jaxcalc as jc

    found = jc.critical_points(f or functools.partial(case.f, jnp), case.lower, case.upper)
    inner = [k for k, kind in enumerate(found.kind) if not kind.startswith("endpoint")]
    return found.x[inner], [found.kind[k] for k in inner], found.certain


def by_grid(case: Case) -> np.ndarray:
    """Sign changes of f' on a grid, polished by SciPy's brentq; an infinite side ends at 50."""
    import jax
    import jax.numpy as jnp

    slope = jax.jit(jax.grad(lambda x: case.f(jnp, x)))
    lower, upper = max(case.lower, -50.0), min(case.upper, 50.0)
    grid = np.linspace(lower, upper, GRID + 1)
    values = np.asarray(jax.vmap(slope)(grid))
    found = [grid[k] for k in range(1, GRID) if values[k] == 0]
    for k in np.flatnonzero(values[1:] * values[:-1] < 0):
        found.append(brentq(lambda x: float(slope(x)), grid[k], grid[k + 1], xtol=1e-15, rtol=1e-14, disp=False))
    return np.array(found)


def by_chebfun(case: Case) -> np.ndarray:
    """The roots of the derivative of a chebfun, ends left out; an infinite side ends at 50, as for the grid."""
    import chebpy

    lower, upper = max(case.lower, -50.0), min(case.upper, 50.0)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        roots = np.sort(chebpy.chebfun(functools.partial(case.f, np), [lower, upper]).diff().roots())
    return roots[(roots > lower) & (roots < upper)]


def main() -> int:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    peers = {"grid": by_grid} | ({"chebfun": by_chebfun} if importlib.util.find_spec("chebpy") else {})
    columns = "".join(f" | {name + ': missing':>16s} {'spurious':>8s}" for name in peers)
    print(f"{'':28s} {'points':>6s} | {'jaxcalc: missing':>16s} {'spurious':>8s} {'kinds':>6s} {'certain':>7s} "
          f"{'CPU s':>5s} {'again':>5s}{columns}")  # fmt: skip
    right = dict.fromkeys(["jaxcalc", *peers], 0)
    for case in BATTERY:
        f = functools.partial(case.f, jnp)
        (x, kinds, certain), seconds = _timed(lambda case=case, f=f: by_jaxcalc(case, f))
        _, again = _timed(lambda case=case, f=f: by_jaxcalc(case, f))
        ours = missing_and_spurious(case, x)
        theirs = {name: missing_and_spurious(case, run(case)) for name, run in peers.items()}
        right["jaxcalc"] += ours == (0, 0) and kinds == case.kinds
        for name, found in theirs.items():
            right[name] += found == (0, 0)
        verdict = "right" if kinds == case.kinds else "WRONG"
        columns = "".join(f" | {missing:16d} {spurious:8d}" for missing, spurious in theirs.values())
        print(f"{case.name:28s} {len(case.points):6d} | {ours[0]:16d} {ours[1]:8d} {verdict:>6s} {certain!s:>7s} "
              f"{seconds:5.2f} {again:5.2f}{columns}", flush=True)  # fmt: skip
    print(f"{sum(len(case.points) for case in BATTERY)} points in all")
    for name, count in right.items():
        print(f"{name}: {count} of {len(BATTERY)} functions wholly right")
    return 0


def _timed(run: Callable) -> tuple:
    start = time.process_time()
    return run(), time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
