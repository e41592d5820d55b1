"""The computations of `jaxcalc demo`: a textbook's examples, the bootstrap of a study, and basins of attraction.

The functions here compute and return; the command in `cli.py` prints and draws.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array
from tqdm import tqdm

from jaxcalc import problems
from jaxcalc.calculus import rules
from jaxcalc.calculus.derivatives import derivative, gradient, secant_slope
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.status import Status
from jaxcalc.optimize.minimize import minimize, minimize_many
from jaxcalc.optimize.path import gradient_descent

# Problems per call: few enough that the progress line moves often, enough that the overhead of a call does not show.
FITS_PER_CHUNK = 2_000
STARTS_PER_CHUNK = 32_768

FEATURES = (
    "mean radius",
    "mean texture",
    "mean smoothness",
    "mean compactness",
    "mean concavity",
    "mean symmetry",
)
# Smaller than the default 1e-5, so that the estimates of this library and of SciPy agree to more digits.
BOOTSTRAP_GTOL = 1e-8
SCIPY_FITS = 50  # the number of resamples that SciPy fits too

SQUARE = (-6.0, 6.0)  # the range of both variables in the picture of basins
HIMMELBLAU = next(problem for problem in problems.PROBLEMS if problem.name == "himmelblau")
SAME_MINIMUM = 1e-4  # the largest distance of a result from the minimum that it is assigned to


class WorkedExample(NamedTuple):
    """An example of the textbook with two answers."""

    name: str  # what is asked
    text: str  # the answer as the text prints it
    computed: np.ndarray  # the library's answer


def worked_examples() -> list[WorkedExample]:
    """Computes the worked examples of a first course in the calculus of neural networks, in the text's order.

    Source: A. Farley, The Calculus of Neural Networks (2019).
    """
    y, f, g = problems.quartic, lambda x: x**2 + 1, jnp.sin
    examples = [
        ("slope of y = 2x from (1, 2) to (4, 8)", "2", secant_slope(lambda x: 2 * x, 1.0, 4.0)),
        _rule("power rule: x^3", "3 x^2", rules.power(3), lambda x: x**3),
        _rule("chain rule: (x^2 + 1)^3", "3 f^2 f'", rules.chain(f, 3), lambda x: f(x) ** 3),
        _rule("product rule: (x^2 + 1) sin x", "f' g + f g'", rules.product(f, g), lambda x: f(x) * g(x)),
        _rule("quotient rule: (x^2 + 1) / sin x", "(f' g - f g') / g^2", rules.quotient(f, g), lambda x: f(x) / g(x)),
        _rule("sigmoid s", "s (1 - s)", lambda x: _sigmoid(x) * (1 - _sigmoid(x)), _sigmoid),
        (
            "gradient of x^2 y + x y z + z^2 at (1, 2, 3)",
            "<2xy + yz, x^2 + xz, xy + 2z> = 10, 4, 8",
            gradient(lambda v: v[0] ** 2 * v[1] + v[0] * v[1] * v[2] + v[2] ** 2)(jnp.array([1.0, 2.0, 3.0])),
        ),
        (
            "y' of y = x (x - 1) (x - 2) (x - 3) at 0, 1, 2, 3",
            "4x^3 - 18x^2 + 22x - 6 = -6, 2, -2, 6",
            derivative(y)(jnp.arange(4.0)),
        ),
        ("where y' = 0", "1.50, 0.38, 2.62", critical_points_of_the_quartic()),
        ("y' at 1.25", "1.1875", derivative(y)(1.25)),
        ("one step from there, learning rate 0.05", "1.25 - 0.059375 = 1.190625", descent_on_the_quartic(1)[-1]),
        ("where 100 steps lead", "(3 - sqrt 5) / 2 = 0.381966", descent_on_the_quartic(100)[-1]),
    ]
    return [WorkedExample(name, text, np.asarray(computed)) for name, text, computed in examples]


def critical_points_of_the_quartic() -> np.ndarray:
    """Returns the maximum, found as a minimum of -y, and the two minima of y = x (x - 1) (x - 2) (x - 3)."""
    starts = [jnp.array([1.25]), jnp.array([0.0, 3.0])]
    maximum, minima = minimize_many([_upside_down, problems.quartic], starts, gtol=1e-10)
    return np.concatenate([maximum.check().x, minima.check().x])


def descent_on_the_quartic(steps: int) -> np.ndarray:
    """Returns the points of gradient descent on the quartic from 1.25 with learning rate 0.05, (steps + 1,)."""
    return np.asarray(gradient_descent(problems.quartic, 1.25, learning_rate=0.05, steps=steps).x)


class Study(NamedTuple):
    """A study of m patients with a yes-or-no outcome."""

    design: np.ndarray  # a column of ones, for the intercept, and the standardised features, (m, n)
    outcome: np.ndarray  # 1 for yes, 0 for no, (m,)
    names: tuple[str, ...]  # of the columns of the design


class Bootstrap(NamedTuple):
    """The estimates of the study and of N resamples, and the time to fit the resamples here and with SciPy."""

    estimate: np.ndarray  # from the study itself, (n,)
    resampled: np.ndarray  # from each resample, (N, n)
    status: np.ndarray  # of the fit of each resample, (N,)
    seconds: float  # for all fits, without drawing the resamples and without compiling
    compile_seconds: float  # for the first call, which compiles and fits the first chunk
    scipy_resampled: np.ndarray  # SciPy's estimates from the first resamples, (at most `SCIPY_FITS`, n)
    scipy_seconds: float  # for SciPy's fits

    @property
    def interval(self) -> np.ndarray:
        """The 95 % percentile interval of each coefficient, (2, n), over the fits that converged."""
        return np.percentile(self.resampled[self.status == Status.SUCCESS], [2.5, 97.5], axis=0)

    @property
    def largest_difference(self) -> float:
        """The largest difference between a coefficient here and in SciPy's fit of the same resample."""
        return float(np.max(np.abs(self.scipy_resampled - self.resampled[: len(self.scipy_resampled)])))


def breast_cancer() -> Study:
    """Loads the breast-cancer study that scikit-learn ships: of 569 patients, whether the tumour was malignant.

    Raises:
        ImportError: If scikit-learn is not installed.

    Source: W. Street, W. Wolberg and O. Mangasarian, Nuclear feature extraction for breast tumor diagnosis (1993).
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError as error:
        raise ImportError('The bootstrap needs scikit-learn\'s data: pip install "jaxcalc[demo]"') from error
    data: Any = load_breast_cancer()
    features = data.data[:, [list(data.feature_names).index(name) for name in FEATURES]]
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    malignant = 1.0 - data.target  # in the data 1 is benign
    return Study(np.column_stack([np.ones(len(features)), features]), malignant, ("intercept", *FEATURES))


def logistic_cost(coefficients: Array, weights: Array, signed_design: Array) -> Array:
    """The average weighted negative log-likelihood of a logistic regression, with a ridge on all but the intercept.

        1/m sum_i w_i log(1 + exp(z_i)) + 1/(2m) sum_(j > 0) b_j^2,    z_i = (1 - 2 y_i) x_i . b

    The ridge is that of C = 1 in scikit-learn. With the ridge even a resample whose outcomes a plane separates has a
    minimum.

    Args:
        coefficients: The coefficients b, the intercept first, (n,).
        weights: The number of times that each patient was drawn, (m,); ones for the study itself.
        signed_design: The rows (1 - 2 y_i) x_i, (m, n).

    Returns:
        The cost, a number.
    """
    z = signed_design @ coefficients
    # The losses are log(1 + exp(z)), written so that nothing overflows. jax.nn.softplus computes two more exponentials
    # for the derivative and would double the time of a fit. max(z, 0) and |z| instead of `where` would be wrong: at
    # z = 0, where every fit from zero starts, JAX takes derivatives of them that cancel, and the start would pass for
    # a minimum.
    positive = z > 0
    losses = jnp.where(positive, z, 0) + jnp.log1p(jnp.exp(jnp.where(positive, -z, z)))
    return (weights @ losses + 0.5 * jnp.sum(coefficients[1:] ** 2)) / len(z)


def bootstrap(study: Study, resamples: int, seed: int) -> Bootstrap:
    """Fits the study and bootstrap resamples of it, and fits the first resamples with SciPy as well.

    A resample draws m patients with replacement. It is represented by m weights, the number of times that each patient
    was drawn: all fits share the data and differ in the weights only. Every fit starts at the estimate of the study.

    Args:
        study: The study.
        resamples: The number of resamples, N, at least 1.
        seed: The seed of NumPy's generator, which draws the resamples.

    Source: B. Efron, Bootstrap methods: another look at the jackknife (1979).
    """
    m, n = study.design.shape
    signed_design = jnp.asarray(study.design * (1 - 2 * study.outcome)[:, None])
    estimate = minimize(logistic_cost, jnp.zeros(n), (jnp.ones(m), signed_design), gtol=BOOTSTRAP_GTOL).check().x
    generator = np.random.default_rng(seed)
    size = chunk_size(resamples, FITS_PER_CHUNK)
    starts = jnp.tile(estimate, (size, 1))

    def draw() -> np.ndarray:
        return generator.multinomial(m, np.full(m, 1 / m), size=size).astype(float)

    def fit(weights: np.ndarray) -> OptimizeResult:
        own = (jnp.asarray(weights),)
        return minimize_many(logistic_cost, starts, own, shared=(signed_design,), gtol=BOOTSTRAP_GTOL)

    first = draw()
    compile_seconds = timed(fit, first)[1]
    # SciPy's fits are spread over the chunks, so that other work of the machine slows both alike.
    again = iter(np.array_split(first[: min(SCIPY_FITS, resamples)], -(-resamples // size)))
    results, seconds, scipy_results, scipy_seconds = [], 0.0, [], 0.0
    for rows in chunks(resamples, size, "bootstrap", "fits"):
        result, elapsed = timed(fit, draw() if rows.start else first)
        results.append((result.x, result.status))
        seconds += elapsed
        scipy_result, elapsed = timed(scipy_loop, np.asarray(signed_design), next(again), np.asarray(estimate))
        scipy_results.extend(scipy_result)
        scipy_seconds += elapsed
    resampled, status = (np.concatenate(field)[:resamples] for field in zip(*results, strict=True))
    return Bootstrap(
        estimate=np.asarray(estimate),
        resampled=resampled,
        status=status,
        seconds=seconds,
        compile_seconds=compile_seconds,
        scipy_resampled=np.array(scipy_results),
        scipy_seconds=scipy_seconds,
    )


def scipy_loop(signed_design: np.ndarray, weights: np.ndarray, start: np.ndarray) -> list[np.ndarray]:
    """Returns the estimates for each row of weights, (n,) each, fitted with SciPy's BFGS.

    The cost is written in NumPy: at this size NumPy computes it faster than a compiled JAX function can be called.
    """
    m = len(signed_design)

    def cost(b: np.ndarray, w: np.ndarray) -> tuple[Any, np.ndarray]:
        z = signed_design @ b
        slope = (w / (1 + np.exp(-z))) @ signed_design
        slope[1:] += b[1:]
        return (w @ np.logaddexp(0, z) + 0.5 * b[1:] @ b[1:]) / m, slope / m

    options = {"gtol": BOOTSTRAP_GTOL}
    return [scipy.optimize.minimize(cost, start, (w,), "BFGS", jac=True, options=options).x for w in weights]


class Basins(NamedTuple):
    """The minima of Himmelblau's function that are reached from a grid of starts, and the time of the solves."""

    labels: np.ndarray  # the row of `HIMMELBLAU.minima` that each start reaches, or -1, (grid, grid)
    status: np.ndarray  # of each start, (grid^2,)
    seconds: float  # without compiling
    compile_seconds: float  # for the first call, which compiles and solves the first chunk


def himmelblau_basins(grid: int) -> Basins:
    """Minimises Himmelblau's function from grid x grid starts, spread over the square `SQUARE`.

    A start reaches a minimum if its result lies within `SAME_MINIMUM` of the minimum. The rows of the labels go along
    the second variable, as `plots.basins` takes them.
    """
    axis = np.linspace(*SQUARE, grid)
    starts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    size = chunk_size(len(starts), STARTS_PER_CHUNK)

    def solve(first: int) -> OptimizeResult:
        # The last chunk is filled up with the last start: chunks of one shape share one program.
        return minimize_many(HIMMELBLAU.fun, starts[np.minimum(np.arange(first, first + size), len(starts) - 1)])

    compile_seconds = timed(solve, 0)[1]
    results, seconds = [], 0.0
    for rows in chunks(len(starts), size, "basins", "starts"):
        result, elapsed = timed(solve, rows.start)
        results.append((result.x, result.status))
        seconds += elapsed
    x, status = (np.concatenate(field)[: len(starts)] for field in zip(*results, strict=True))
    distance = np.linalg.norm(x[:, None] - HIMMELBLAU.minima, axis=-1)
    labels = np.where(distance.min(axis=1) <= SAME_MINIMUM, distance.argmin(axis=1), -1)
    labels = labels.reshape(grid, grid)
    return Basins(labels=labels, status=status, seconds=seconds, compile_seconds=compile_seconds)


def chunk_size(count: int, most: int) -> int:
    """Returns the size of each chunk if `count` items are split into as few equal chunks of at most `most` as possible.

    The last chunk may have fewer items than this size.
    """
    return -(-count // -(-count // most))


def chunks(count: int, size: int, name: str, unit: str) -> Iterator[range]:
    """Yields the range of rows of each chunk in turn, and shows a progress line."""
    with tqdm(total=count, desc=name, unit=f" {unit}", leave=False) as progress:
        for start in range(0, count, size):
            rows = range(start, min(start + size, count))
            yield rows
            progress.update(len(rows))


def timed(run: Callable, *inputs: Any) -> tuple[Any, float]:
    """Returns run(*inputs), once it is computed, and the seconds that it took."""
    began = time.perf_counter()
    return jax.block_until_ready(run(*inputs)), time.perf_counter() - began


def _rule(name: str, formula: str, rule: Callable, fun: Callable) -> tuple[str, str, Array]:
    """Returns the example of a rule at 0.5: its name, its formula with the value of `rule`, and the derivative of fun.

    `rule` is the derivative by the rule, `fun` the function that is differentiated.
    """
    return f"{name} at 0.5", f"{formula} = {float(rule(0.5)):.6f}", derivative(fun)(0.5)


def _upside_down(x: Array) -> Array:
    return -problems.quartic(x)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + jnp.exp(-x))
