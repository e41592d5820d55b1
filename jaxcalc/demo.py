"""What `jaxcalc demo` computes: the textbook's examples, the bootstrap of a study, and the basins of four minima.

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
from jaxcalc.methods.method import Status
from jaxcalc.optimize.descent import gradient_descent
from jaxcalc.optimize.minimize import minimize, minimize_many

# Problems a call: few enough that the progress line moves, many enough that a call's overhead is not seen.
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
# Tighter than the default, for SciPy too: the estimates of the two are to be compared to more digits than 1e-5 gives.
BOOTSTRAP_GTOL = 1e-8
SCIPY_FITS = 50

SQUARE = (-6.0, 6.0)
HIMMELBLAU = next(problem for problem in problems.PROBLEMS if problem.name == "himmelblau")
SAME_MINIMUM = 1e-4


class WorkedExample(NamedTuple):
    """An example of the textbook: what is asked, the text's answer as it is printed there, and the library's."""

    name: str
    text: str
    computed: np.ndarray


def worked_examples() -> list[WorkedExample]:
    """Computes the worked examples of a first course in the calculus of neural networks.

    Returns:
        The examples in the text's order, each with the text's answer and the library's.

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
    """Finds the maximum and the two minima of x (x - 1) (x - 2) (x - 3), a maximum of y being a minimum of -y."""
    starts = [jnp.array([1.25]), jnp.array([0.0, 3.0])]
    maximum, minima = minimize_many([_upside_down, problems.quartic], starts, gtol=1e-10)
    return np.concatenate([maximum.check().x, minima.check().x])


def descent_on_the_quartic(steps: int) -> np.ndarray:
    """Returns the points of gradient descent from 1.25 with learning rate 0.05."""
    return np.asarray(gradient_descent(problems.quartic, 1.25, learning_rate=0.05, steps=steps).x)


class Study(NamedTuple):
    """A study with a yes-or-no outcome: an intercept and standardised features (m, n), the outcome (m,), and names."""

    design: np.ndarray
    outcome: np.ndarray
    names: tuple[str, ...]


class Bootstrap(NamedTuple):
    """The estimates of the study (n,) and of N resamples (N, n), how the fits ended, and how long they took.

    `seconds` is what all fits took, without drawing the resamples and without compiling, which is apart. SciPy fitted
    the first few resamples again.
    """

    estimate: np.ndarray
    resampled: np.ndarray
    status: np.ndarray
    seconds: float
    compile_seconds: float
    scipy_resampled: np.ndarray
    scipy_seconds: float

    @property
    def interval(self) -> np.ndarray:
        """The 95 % percentile interval of each coefficient, (2, n), over the fits that converged."""
        return np.percentile(self.resampled[self.status == Status.SUCCESS], [2.5, 97.5], axis=0)

    @property
    def largest_difference(self) -> float:
        """The largest difference between an estimate here and SciPy's."""
        return float(np.max(np.abs(self.scipy_resampled - self.resampled[: len(self.scipy_resampled)])))


def breast_cancer() -> Study:
    """Loads the breast-cancer study that scikit-learn ships: 569 patients, was the tumour malignant.

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

    The ridge is that of C = 1 in scikit-learn: even a resample that a plane separates has a minimum.

    Args:
        coefficients: b, the intercept first, (n,).
        weights: How often each patient was drawn, (m,); ones for the study itself.
        signed_design: The rows (1 - 2 y_i) x_i, (m, n).

    Returns:
        The cost, a number.
    """
    z = signed_design @ coefficients
    # log(1 + exp(z)) without overflow, and `where` rather than max(z, 0) and |z|: at z = 0, where every fit from zero
    # starts, their derivatives in JAX cancel, and the start would pass for the minimum.
    wrong = z > 0
    losses = jnp.where(wrong, z, 0) + jnp.log1p(jnp.exp(jnp.where(wrong, -z, z)))
    return (weights @ losses + 0.5 * jnp.sum(coefficients[1:] ** 2)) / len(z)


def bootstrap(study: Study, resamples: int, seed: int) -> Bootstrap:
    """Fits the study and bootstrap resamples of it, and the first of those once more with SciPy.

    A resample draws m patients with replacement; it is the vector of how often each was drawn. So all fits share the
    data, and a fit's own are m weights. Every fit starts at the estimate of the study itself.

    Args:
        study: The study.
        resamples: How many, at least 1.
        seed: Of NumPy's generator.

    Returns:
        The estimates, the statuses and the times.

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
    compile_seconds = _timed(fit, first)[1]
    # SciPy's fits are spread over the chunks, so that whatever else the machine does slows both alike.
    again = iter(np.array_split(first[: min(SCIPY_FITS, resamples)], -(-resamples // size)))
    results, seconds, scipy_results, scipy_seconds = [], 0.0, [], 0.0
    for rows in chunks(resamples, size, "bootstrap", "fits"):
        result, elapsed = _timed(fit, draw() if rows.start else first)
        results.append((result.x, result.status))
        seconds += elapsed
        scipy_result, elapsed = _timed(scipy_loop, np.asarray(signed_design), next(again), np.asarray(estimate))
        scipy_results.extend(scipy_result)
        scipy_seconds += elapsed
    resampled, status = (np.concatenate(field)[:resamples] for field in zip(*results, strict=True))
    scipy_resampled = np.array(scipy_results)
    return Bootstrap(np.asarray(estimate), resampled, status, seconds, compile_seconds, scipy_resampled, scipy_seconds)


def scipy_loop(signed_design: np.ndarray, weights: np.ndarray, start: np.ndarray) -> list[np.ndarray]:
    """Fits each row of weights with SciPy's BFGS and returns the estimates.

    The cost is in NumPy: at this size, calling a compiled JAX function takes longer than NumPy takes to compute.
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
    """Which minimum of Himmelblau's function is reached from each start of a grid, and how long that took."""

    labels: np.ndarray
    status: np.ndarray
    seconds: float
    compile_seconds: float


def himmelblau_basins(grid: int) -> Basins:
    """Minimises Himmelblau's function from grid x grid starts in the square from -6 to 6.

    Returns:
        For each start the row of `HIMMELBLAU.minima` that is reached within 1e-4, or -1, shape (grid, grid) as
        `plots.basins` takes it; the statuses, (grid^2,); and the times, compilation apart.
    """
    axis = np.linspace(*SQUARE, grid)
    starts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    size = chunk_size(len(starts), STARTS_PER_CHUNK)

    def solve(first: int) -> OptimizeResult:
        # The last chunk is filled up with the last start: one program serves chunks of one shape.
        return minimize_many(HIMMELBLAU.fun, starts[np.minimum(np.arange(first, first + size), len(starts) - 1)])

    compile_seconds = _timed(solve, 0)[1]
    results, seconds = [], 0.0
    for rows in chunks(len(starts), size, "basins", "starts"):
        result, elapsed = _timed(solve, rows.start)
        results.append((result.x, result.status))
        seconds += elapsed
    x, status = (np.concatenate(field)[: len(starts)] for field in zip(*results, strict=True))
    distance = np.linalg.norm(x[:, None] - HIMMELBLAU.minima, axis=-1)
    labels = np.where(distance.min(axis=1) <= SAME_MINIMUM, distance.argmin(axis=1), -1)
    return Basins(labels.reshape(grid, grid), status, seconds, compile_seconds)


def chunk_size(count: int, most: int) -> int:
    """Returns the size of the fewest equal chunks of at most `most`; together they may hold a few more than count."""
    return -(-count // -(-count // most))


def chunks(count: int, size: int, name: str, unit: str) -> Iterator[range]:
    """Yields the rows of each chunk in turn, with a progress line."""
    with tqdm(total=count, desc=name, unit=f" {unit}", leave=False) as progress:
        for start in range(0, count, size):
            rows = range(start, min(start + size, count))
            yield rows
            progress.update(len(rows))


def _timed(run: Callable, *inputs: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    return jax.block_until_ready(run(*inputs)), time.perf_counter() - began


def _rule(name: str, formula: str, rule: Callable, fun: Callable) -> tuple[str, str, Array]:
    """Returns a rule's example at 0.5: the formula with the value it gives, and the derivative without it."""
    return f"{name} at 0.5", f"{formula} = {float(rule(0.5)):.6f}", derivative(fun)(0.5)


def _upside_down(x: Array) -> Array:
    return -problems.quartic(x)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + jnp.exp(-x))
