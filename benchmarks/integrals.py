"""Integrals with known values: who reaches the tolerance, and who only says so.

    python -m benchmarks.integrals

Thirty of one variable to 1e-10, by this library, SciPy's quad and, if it is installed, quadax's quadgk; the families
are those of QUADPACK (Piessens et al. 1983), Kahaner (1971) and Genz (1984), with narrow peaks added. Then boxes of two
and three variables to 1e-8, beside SciPy's cubature: Genz's six families, singular corners, infinite and curved ranges.
Seconds are those of the processor in the first call, compiling included.
"""

import dataclasses
import functools
import importlib.util
import itertools
import math
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

ACCURATE = 1e-10
ROOT_PI = math.sqrt(math.pi)


@dataclasses.dataclass(frozen=True)
class Case:
    """An integrand, written for NumPy or jax.numpy, with its range and the exact value."""

    name: str
    f: Callable  # f(np, x)
    a: float
    b: float
    exact: float


def _kahaner_peaks() -> float:
    """Three powers of sech have antiderivatives in tanh."""
    forms = {2: lambda t: t, 4: lambda t: t - t**3 / 3, 6: lambda t: t - 2 * t**3 / 3 + t**5 / 5}
    peaks = ((2, 10, 0.2), (4, 100, 0.4), (6, 1000, 0.6))
    return sum((forms[p](math.tanh(k * (1 - c))) - forms[p](math.tanh(-k * c))) / k for p, k, c in peaks)


def _lorentz(width: float, centre: float) -> float:
    return math.atan((1 - centre) / width) + math.atan(centre / width)


INFINITY = math.inf
BATTERY = [
    Case("exp x", lambda n, x: n.exp(x), 0, 1, math.e - 1),
    Case("sqrt x", lambda n, x: n.sqrt(x), 0, 1, 2 / 3),
    Case("x^1.5", lambda n, x: x**1.5, 0, 1, 0.4),
    Case("1 / (1 + x)", lambda n, x: 1 / (1 + x), 0, 1, math.log(2)),
    Case("1 / (1 + exp x)", lambda n, x: 1 / (1 + n.exp(x)), 0, 1, 1 + math.log(2) - math.log(1 + math.e)),
    Case("1 / sqrt x", lambda n, x: 1 / n.sqrt(x), 0, 1, 2.0),
    Case("x^-0.9", lambda n, x: x**-0.9, 0, 1, 10.0),
    Case("log x", lambda n, x: n.log(x), 0, 1, -1.0),
    Case("log x / sqrt x", lambda n, x: n.log(x) / n.sqrt(x), 0, 1, -4.0),
    Case("log(1 / x)^1.5 x^0.3", lambda n, x: x**0.3 * n.log(1 / x) ** 1.5, 0, 1, math.gamma(2.5) / 1.3**2.5),
    Case("sqrt(1 - x^2)", lambda n, x: n.sqrt(1 - x * x), -1, 1, math.pi / 2),
    Case("log(1 - x)", lambda n, x: n.log1p(-x), 0, 1, -1.0),
    Case("log log(1 / x)", lambda n, x: n.log(n.log(1 / x)), 0, 1, -np.euler_gamma),
    Case("cos(100 sin x)", lambda n, x: n.cos(100 * n.sin(x)), 0, math.pi, 0.06278740049149267),
    Case("sin(50 pi x)^2", lambda n, x: n.sin(50 * math.pi * x) ** 2, 0, 1, 0.5),
    Case("exp(x) cos(60 x)", lambda n, x: n.exp(x) * n.cos(60 * x), 0, 1,
         (math.e * (math.cos(60) + 60 * math.sin(60)) - 1) / 3601),
    Case("50 / (pi (2500 x^2 + 1))", lambda n, x: 50 / math.pi / (2500 * x * x + 1), 0, 10, math.atan(500) / math.pi),
    Case("1 / (1 + x^4)", lambda n, x: 1 / (1 + x**4), 0, 1,
         (math.pi + 2 * math.log(1 + math.sqrt(2))) / 4 / math.sqrt(2)),
    Case("|x - 1/3|", lambda n, x: abs(x - 1 / 3), 0, 1, 5 / 18),
    Case("step at 0.3", lambda n, x: n.where(x > 0.3, 1.0, 0.0), 0, 1, 0.7),
    Case("exp(-10 |x - 0.4|)", lambda n, x: n.exp(-10 * abs(x - 0.4)), 0, 1, (2 - math.exp(-4) - math.exp(-6)) / 10),
    Case("Kahaner's three peaks", lambda n, x: n.cosh(10 * (x - 0.2)) ** -2.0 + n.cosh(100 * (x - 0.4)) ** -4.0
         + n.cosh(1000 * (x - 0.6)) ** -6.0, 0, 1, _kahaner_peaks()),
    Case("Lorentz peak, width 1e-6", lambda n, x: 1e-6 / ((x - 0.3217) ** 2 + 1e-12), 0, 1, _lorentz(1e-6, 0.3217)),
    Case("Gauss peak, width 1e-6", lambda n, x: n.exp(-(((x - 0.3217) / 1e-6) ** 2)), 0, 1, 1e-6 * ROOT_PI),
    Case("x + Gauss peak, width 1e-6", lambda n, x: x + n.exp(-(((x - 0.7311) / 1e-6) ** 2)), 0, 1,
         0.5 + 1e-6 * ROOT_PI),
    Case("exp(-x^2), whole line", lambda n, x: n.exp(-x * x), -INFINITY, INFINITY, ROOT_PI),
    Case("1 / (1 + x^2), whole line", lambda n, x: 1 / (1 + x * x), -INFINITY, INFINITY, math.pi),
    Case("exp(-x) / sqrt x, half line", lambda n, x: n.exp(-x) / n.sqrt(x), 0, INFINITY, ROOT_PI),
    Case("log x / (1 + 100 x^2), half line", lambda n, x: n.log(x) / (1 + 100 * x * x), 0, INFINITY,
         -math.pi * math.log(10) / 20),
    Case("x^3 / (exp x - 1), half line", lambda n, x: x**3 / n.expm1(x), 0, INFINITY, math.pi**4 / 15),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an integrator returned."""

    value: float
    error: float
    success: bool
    nfev: int
    seconds: float
    within: float = ACCURATE

    def verdict(self, exact: float) -> str:
        """Whether the value is right, and whether a wrong one was passed off as right."""
        if abs(self.value - exact) <= self.within * abs(exact):
            return "right"
        return "FALSE SUCCESS" if self.success else "missed"


def by_jaxcalc(case: Case) -> Answer:
    import jax.numpy as jnp

    import jaxcalc as jc

    start = time.process_time()
    found = jc.integrate(functools.partial(case.f, jnp), case.a, case.b)
    value, error, success, nfev = float(found.value), float(found.error), bool(found.success), int(found.nfev)
    return Answer(value, error, success, nfev, time.process_time() - start)


def by_quad(case: Case) -> Answer:
    """SciPy's quad at the relative tolerance of 1e-12 and 200 intervals; success is the absence of a warning."""
    from scipy.integrate import quad

    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = quad(lambda x: float(case.f(np, np.float64(x))), case.a, case.b, epsabs=0, epsrel=1e-12, limit=200,
                      full_output=1)  # fmt: skip
    nfev = result[2]["neval"]
    return Answer(result[0], result[1], len(result) == 3, nfev, time.process_time() - start)


def by_quadax(case: Case) -> Answer:
    """Quadax's quadgk at the relative tolerance of 1e-12 and 200 intervals."""
    import jax
    import jax.numpy as jnp
    import quadax

    start = time.process_time()
    run = jax.jit(lambda: quadax.quadgk(lambda x: case.f(jnp, x), [case.a, case.b], epsabs=0, epsrel=1e-12,
                                        max_ninter=200))  # fmt: skip
    value, info = run()
    found = float(value), float(info.err), int(info.status) == 0, int(info.neval)
    return Answer(*found, time.process_time() - start)


@dataclasses.dataclass(frozen=True)
class BoxCase:
    """An integrand of a point whose first axis is that of the variables, a box, and the exact value.

    `smooth` is false where f jumps or bends, along a curve or in three variables, so that no product rule reaches the
    tolerance with so many cells: there the right answer is to say so.
    """

    name: str
    f: Callable  # f(np, x)
    lower: list[float]
    upper: list[float]
    exact: float
    smooth: bool = True


def _along(x, a):
    return sum(weight * x[k] for k, weight in enumerate(a))


def _genz(d: int) -> list[BoxCase]:
    """The six families of Genz (1984) on the unit cube, of a fixed difficulty."""
    a, u = [1.7, 2.3, 1.1][:d], [0.31, 0.64, 0.47][:d]
    wave = complex(math.cos(2 * math.pi * u[0]), math.sin(2 * math.pi * u[0]))
    for w in a:
        wave *= (complex(math.cos(3 * w), math.sin(3 * w)) - 1) / (3j * w)
    vertices = list(itertools.product((0, 1), repeat=d))
    corner = sum((-1) ** sum(v) / (1 + _along(v, a)) for v in vertices) / math.factorial(d) / math.prod(a)
    pairs = list(zip(a, u, strict=True))
    sharp = [(6 * w, c) for w, c in pairs]
    return [
        BoxCase(f"Genz {d}, oscillatory", lambda n, x: n.cos(2 * math.pi * u[0] + 3 * _along(x, a)), [0] * d, [1] * d,
                wave.real),
        BoxCase(f"Genz {d}, product peak",
                lambda n, x: math.prod(1 / (w**-2 + (x[k] - c) ** 2) for k, (w, c) in enumerate(sharp)),
                [0] * d, [1] * d,
                math.prod(w * (math.atan(w * (1 - c)) + math.atan(w * c)) for w, c in sharp)),
        BoxCase(f"Genz {d}, corner peak", lambda n, x: (1 + _along(x, a)) ** -(d + 1.0), [0] * d, [1] * d, corner),
        BoxCase(f"Genz {d}, Gaussian",
                lambda n, x: n.exp(-sum((w * (x[k] - c)) ** 2 for k, (w, c) in enumerate(pairs))),
                [0] * d, [1] * d,
                math.prod(ROOT_PI / 2 / w * (math.erf(w * (1 - c)) + math.erf(w * c)) for w, c in pairs)),
        BoxCase(f"Genz {d}, continuous", lambda n, x: n.exp(-sum(w * abs(x[k] - c) for k, (w, c) in enumerate(pairs))),
                [0] * d, [1] * d,
                math.prod((2 - math.exp(-w * c) - math.exp(-w * (1 - c))) / w for w, c in pairs), smooth=d == 2),
        BoxCase(f"Genz {d}, discontinuous",
                lambda n, x: n.where((x[0] < u[0]) & (x[1] < u[1]), n.exp(_along(x, a)), 0.0), [0] * d, [1] * d,
                math.prod((math.exp(w * (c if k < 2 else 1)) - 1) / w for k, (w, c) in enumerate(pairs)),
                smooth=d == 2),
    ]  # fmt: skip


BOX_BATTERY = [
    *_genz(2),
    *_genz(3),
    BoxCase("exp(x y)", lambda n, x: n.exp(x[0] * x[1]), [0, 0], [1, 1], 1.3179021514544038),
    BoxCase("1 / sqrt(x y)", lambda n, x: 1 / n.sqrt(x[0] * x[1]), [0, 0], [1, 1], 4.0),
    BoxCase("log(x + y)", lambda n, x: n.log(x[0] + x[1]), [0, 0], [1, 1], 2 * math.log(2) - 1.5),
    BoxCase("1 / r, at a corner", lambda n, x: 1 / n.sqrt(x[0] ** 2 + x[1] ** 2), [0, 0], [1, 1],
            2 * math.log(1 + math.sqrt(2))),
    BoxCase("log(x) sqrt(y z)", lambda n, x: n.log(x[0]) * n.sqrt(x[1] * x[2]), [0, 0, 0], [1, 1, 1], -4 / 9),
    BoxCase("exp(-r^2), the plane", lambda n, x: n.exp(-(x[0] ** 2 + x[1] ** 2)), [-INFINITY] * 2, [INFINITY] * 2,
            math.pi),
    BoxCase("exp(-r^2), all of space", lambda n, x: n.exp(-(x[0] ** 2 + x[1] ** 2 + x[2] ** 2)), [-INFINITY] * 3,
            [INFINITY] * 3, math.pi**1.5),
    BoxCase("exp(-x - y) / sqrt x", lambda n, x: n.exp(-x[0] - x[1]) / n.sqrt(x[0]), [0, 0], [INFINITY] * 2, ROOT_PI),
    BoxCase("half of a square", lambda n, x: n.where(x[0] + x[1] > 1, 1.0, 0.0), [0, 0], [1, 1], 0.5, smooth=False),
    BoxCase("hemisphere", lambda n, x: n.sqrt(n.maximum(1 - x[0] ** 2 - x[1] ** 2, 0.0)), [-1, -1], [1, 1],
            2 * math.pi / 3, smooth=False),
    BoxCase("ball", lambda n, x: n.where(x[0] ** 2 + x[1] ** 2 + x[2] ** 2 < 1, 1.0, 0.0), [-1] * 3, [1] * 3,
            4 * math.pi / 3, smooth=False),
]  # fmt: skip
WITHIN_BOX = 1e-8


def box_by_jaxcalc(case: BoxCase) -> Answer:
    import jax.numpy as jnp

    import jaxcalc as jc

    start = time.process_time()
    found = jc.integrate_box(functools.partial(case.f, jnp), jnp.array(case.lower, float), jnp.array(case.upper, float))
    value, error, success, nfev = float(found.value), float(found.error), bool(found.success), int(found.nfev)
    return Answer(value, error, success, nfev, time.process_time() - start, WITHIN_BOX)


def by_cubature(case: BoxCase) -> Answer:
    """SciPy's cubature at its default relative tolerance of 1e-8, with as many cells as this library has."""
    from scipy.integrate import cubature

    evaluated = [0]

    def f(x):
        evaluated[0] += len(x)
        return case.f(np, x.T)

    start = time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = cubature(f, np.array(case.lower, float), np.array(case.upper, float),
                         max_subdivisions=2048 if len(case.lower) == 2 else 512)  # fmt: skip
    success = found.status == "converged"
    return Answer(
        float(found.estimate), float(found.error), success, evaluated[0], time.process_time() - start, WITHIN_BOX
    )


def main() -> int:
    import jax

    jax.config.update("jax_enable_x64", True)
    one = {"jaxcalc": by_jaxcalc, "SciPy quad": by_quad}
    if importlib.util.find_spec("quadax"):
        one["quadax quadgk"] = by_quadax
    _compare(BATTERY, one)
    _compare(BOX_BATTERY, {"jaxcalc": box_by_jaxcalc, "SciPy cubature": by_cubature})
    return 0


def _compare(battery: list, contestants: dict[str, Callable]) -> None:
    heading = f"{'rel. error':>10s} {'estimate':>9s} {'nfev':>8s} {'verdict':>14s} {'CPU s':>6s}"
    print(f"{'':34s} " + " | ".join(f"{name:>51s}" for name in contestants))
    print(f"{'':34s} " + " | ".join([heading] * len(contestants)))
    totals: dict[str, list] = {name: [] for name in contestants}
    for case in battery:
        answers = {name: run(case) for name, run in contestants.items()}
        print(f"{case.name:34s} " + " | ".join(_row(answer, case.exact) for answer in answers.values()), flush=True)
        for name, answer in answers.items():
            totals[name].append((answer, case.exact))
    for name, found in totals.items():
        verdicts = [answer.verdict(exact) for answer, exact in found]
        # Below the rounding of the exact value as a float there is nothing to tell.
        under = sum(abs(answer.value - exact) > answer.error + 8 * np.spacing(abs(exact)) for answer, exact in found)
        seconds = [answer.seconds for answer, _ in found]
        print(f"{name}: {verdicts.count('right')} of {len(battery)} right, {verdicts.count('FALSE SUCCESS')} false "
              f"successes, {under} errors understated; first call {seconds[0]:.2f} s, "
              f"median {np.median(seconds):.2f} s")  # fmt: skip


def _row(answer: Answer, exact: float) -> str:
    scale = abs(exact)
    wrong = abs(answer.value - exact) / scale
    verdict = answer.verdict(exact) + ("" if answer.success else "*")
    return f"{wrong:10.1e} {answer.error / scale:9.1e} {answer.nfev:8d} {verdict:>14s} {answer.seconds:6.2f}"


if __name__ == "__main__":
    sys.exit(main())
