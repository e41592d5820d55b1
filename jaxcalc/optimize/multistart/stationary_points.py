"""Minima, maxima and saddles of a function of several variables in a box, and whether their number can be right."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from jaxcalc.calculus.modes import symmetric_jacobian
from jaxcalc.core.arguments import arrays, as_tuple, at_least_single, called_as, require_functions, whole_number
from jaxcalc.core.programs import compiled
from jaxcalc.engine.certificate import Certificate, PointKind
from jaxcalc.engine.problem import default_gtol
from jaxcalc.engine.result import X
from jaxcalc.engine.status import Status
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Method
from jaxcalc.optimize.arguments import ArrayBox, DictBox, K, Numbers, chosen_method, search_box, tolerances
from jaxcalc.optimize.minimize import minimize_many
from jaxcalc.optimize.multistart.merging import Lines, merged, representatives
from jaxcalc.optimize.multistart.points import ROUND, Blocks, Data, Ends, blocks_of, joined
from jaxcalc.optimize.multistart.result import coverage
from jaxcalc.optimize.multistart.search import Region, spread

if TYPE_CHECKING:
    import optax

# Newton steps after each descent.
NEWTON = 8
# What is descended on from every start: f, -f, and half the square of the gradient.
WEIGHTS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
# How often the sample is doubled where the number of the points shows that one is missing.
DOUBLINGS = 3
# Points of each face of the box at which the gradient is looked at.
ON_A_FACE = 256


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CriticalSet(Generic[X]):
    """The critical points found in a box, m of them, the lowest first.

    Attributes:
        x: Where they lie, in the form of the bounds, leaves (m, ...).
        fun: The values there, (m,).
        certificate: What each is: `certificate.kind_name`, and in `certificate.index` the number of directions in which
            f falls.
        count: How many starts ended in each, (m,).
        missed_probability: The estimated chance that one was missed, as in `Minima`.
        alternating_sum: The sum of (-1)^index over the points.
        expected_sum: What that sum is if no point is missing (Poincaré, Hopf and Morse): 1 where the gradient points
            out of the box on all of its boundary, (-1)^n where it points into the box; None where it does neither,
            which is tested at 256 points of each face.
        consistent: Whether the two are equal; False proves that a point is missing, True does not prove the contrary,
            None where there is no expected sum, or a point is degenerate.
        nfev: Evaluations of fun's gradient and its derivative.
    """

    x: X
    fun: Array
    certificate: Certificate
    count: Array
    missed_probability: Array
    alternating_sum: Array
    nfev: Array
    expected_sum: int | None = dataclasses.field(metadata={"static": True})
    consistent: bool | None = dataclasses.field(metadata={"static": True})


@overload
def all_critical_points(
    fun: Callable, bounds: ArrayBox, *, args: Any = (), starts: int = 1024, seed: int = 0,
    method: "str | Method | optax.GradientTransformation" = "trust_region", gtol: float | None = None,
    maxiter: int | None = None,
) -> CriticalSet[Array]: ...  # fmt: skip
@overload
def all_critical_points(
    fun: Callable, bounds: DictBox[K], *, args: Any = (), starts: int = 1024, seed: int = 0,
    method: "str | Method | optax.GradientTransformation" = "trust_region", gtol: float | None = None,
    maxiter: int | None = None,
) -> CriticalSet[dict[K, Array]]: ...  # fmt: skip
@overload
def all_critical_points(
    fun: Callable, bounds: tuple[X, X | Numbers], *, args: Any = (), starts: int = 1024, seed: int = 0,
    method: "str | Method | optax.GradientTransformation" = "trust_region", gtol: float | None = None,
    maxiter: int | None = None,
) -> CriticalSet[X]: ...  # fmt: skip
@called_as("all_critical_points(fun, (lower, upper))")
def all_critical_points(
    fun: Callable,
    bounds: Any,
    *,
    args: Any = (),
    starts: int = 1024,
    seed: int = 0,
    method: "str | Method | optax.GradientTransformation" = "trust_region",
    gtol: float | None = None,
    maxiter: int | None = None,
) -> CriticalSet[Any]:
    """Finds points of a box where the gradient of fun(x, *args) is zero, by sampling, so that some may be missed.

    Minima, maxima and saddles of any index are looked for, and their number is compared with what the boundary of the
    box demands; nothing proves that all are found. For a function of one number `critical_points` does prove it, by
    bounds over whole intervals.

    From every point of a Sobol sample of the box three descents begin: of f, of -f and of |grad f|^2 / 2, whose zeros
    are the saddles too. Steps of Newton's method on the gradient follow; what ends at a gradient above gtol is no
    critical point. Two ends are the same point if the gradient vanishes between them. Where their number shows that one
    is missing, the sample is doubled, up to three times.

    Args:
        fun: A JAX-traceable function fun(x, *args) that returns one real number, twice differentiable.
        bounds: The box, (lower, upper) or a `scipy.optimize.Bounds`: finite arrays or pytrees in the form of x.
        args: What fun takes after x, a tuple; anything else is wrapped into one.
        starts: How many points are sampled at first.
        seed: Of the sample.
        method: The method of the descents, as in `minimize`.
        gtol: The largest component of the gradient of a critical point; by default 1e-5 in float64 and 1e-3 in float32.
        maxiter: The most iterations of each descent; by default the method's own.

    Returns:
        A `CriticalSet`. A host function: how many points there are depends on the data.

    Raises:
        TypeError: If fun does not return one real number, bounds is not a pair of real arrays, or an array is traced.
        ValueError: If a lower bound is not below its upper one, the box is infinite, or an option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> wells = lambda x: (x[0] ** 2 - 1) ** 2 + (x[1] ** 2 - 1) ** 2
        >>> found = jc.all_critical_points(wells, (jnp.full(2, -2.0), jnp.full(2, 2.0)), starts=256)
        >>> sorted(found.certificate.kind_name), int(found.alternating_sum), found.consistent
        (['maximum', 'minimum', 'minimum', 'minimum', 'minimum', 'saddle', 'saddle', 'saddle', 'saddle'], 1, True)

    Source: J. Milnor, Morse theory (1963), for the sum; J. McIver and A. Komornicki, Structure of transition states in
    organic reactions (1972), for descents of the gradient's norm.
    """
    require_functions([fun])
    args, chosen = arrays("args", as_tuple(args)), chosen_method(method)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, bounds))):
        raise TypeError("all_critical_points runs on the host; call it outside of jax.jit, jax.vmap and jax.grad.")
    box = search_box(bounds, None)
    given = tolerances("", None, gtol=gtol, maxiter=maxiter)
    dtype = at_least_single(*jax.tree.leaves(box.lower))
    accuracy = default_gtol(dtype) if given.gtol is None else float(given.gtol)
    everywhere = (jax.tree.map(lambda side, b=b: jnp.full_like(side, b), box.lower) for b in (-jnp.inf, jnp.inf))
    blocks = Blocks(fun, Data(args), False, Box(*everywhere), chosen, {"gtol": np.asarray(accuracy)})
    region = Region(*(np.asarray(ravel_pytree(side)[0]) for side in box))
    field = GradientField(fun, args, blocks, chosen, region, given.maxiter)
    expected, count, found = field.expected_sum(seed), whole_number("starts", starts, 1), field.no_points
    for k in range(DOUBLINGS + 1):
        seen, count = (0, count) if k == 0 else (count, 2 * count)
        found = field.zeros(spread(region, count, seed)[seen:], accuracy, found)
        certificate = blocks.certify(found.x, found.problem)
        total = int(np.sum((-1.0) ** certificate.index))
        unclear = np.isin(certificate.kind, (PointKind.DEGENERATE, PointKind.CONTRADICTORY))
        regular = expected is not None and not unclear.any()
        if not regular or total == expected:
            break
    value = blocks.values(found.x, found.problem)
    order = np.argsort(value)
    found, value, certificate = found[order], value[order], jax.tree.map(lambda leaf: leaf[order], certificate)
    missed = coverage(found.count).missed_probability
    on_device = jax.device_put(
        {
            "x": blocks.as_x(found.x),
            "fun": value,
            "certificate": certificate,
            "count": found.count,
            "missed_probability": missed,
            "alternating_sum": total,
        }
    )
    return CriticalSet(
        **on_device,
        nfev=jnp.asarray(field.nfev),
        expected_sum=expected,
        consistent=total == expected if regular else None,
    )


@dataclasses.dataclass(frozen=True)
class LevelLines(Lines):
    """Tells of pairs of points whether the gradient is zero between them, from |grad f|^2 / 2."""

    def slack(self, ends: Ends, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns the largest |grad f|^2 / 2 of a gradient whose components are at most gtol."""
        return np.full(len(first), 0.5 * ends.x.shape[1] * self.gtol**2)


@dataclasses.dataclass
class GradientField:
    """The gradient of a function in a box; counts the evaluations of fun's gradient and its derivative."""

    fun: Callable
    args: tuple[Any, ...]
    blocks: Blocks
    method: Method
    region: Region
    maxiter: Any
    nfev: int = 0

    @property
    def no_points(self) -> Ends:
        """No points."""
        none, nowhere = np.zeros(0, int), np.zeros((0, len(self.region.lower)))
        return Ends(nowhere, np.zeros(0), none, none, none, nowhere, np.zeros(0))

    def zeros(self, x: np.ndarray, gtol: float, before: Ends) -> Ends:
        """Returns the critical points known before and those reached from these starts, with how often each was."""
        program, ends = compiled(_critical, [self.fun]), []
        most = self.method.default_maxiter(x.shape[1]) if self.maxiter is None else self.maxiter
        box = (self.region.lower, self.region.upper)
        weights = WEIGHTS.repeat(len(x), axis=0)
        x = np.tile(x, (len(WEIGHTS), 1))
        for rows, padded in blocks_of(len(x), ROUND):
            # Where grad f is known up to gtol, the gradient of |grad f|^2 / 2 is known up to gtol^2 or so.
            limits = {"gtol": np.where(weights[rows, 1] > 0, gtol**2, gtol)}
            limits["maxiter"] = np.where(padded, 0, most).astype(np.int32)
            start = self.blocks.as_x(x[rows])
            result = program(None, self.method, start, weights[rows].astype(x.dtype), self.args, box, limits)
            flat, square, largest, nfev = (leaf[~padded] for leaf in jax.device_get(result))
            inside = np.all((flat >= self.region.lower) & (flat <= self.region.upper), axis=1)
            chosen = inside & (largest <= gtol)
            zeros, ones = np.zeros(chosen.sum(), int), np.ones(chosen.sum(), int)
            success = zeros + int(Status.SUCCESS)
            ends.append(Ends(flat[chosen], square[chosen], success, zeros, ones, flat[chosen], 0.0 * zeros))
            self.nfev += int(nfev.sum())
        found = joined(before, *ends)
        if not len(found):
            return found
        lines = LevelLines(self.squares, gtol, self.region.scale)
        first, member = representatives(found, merged(found, lines), lines)
        return dataclasses.replace(found[first], count=np.bincount(member, weights=found.count).astype(int))

    def squares(self, x: np.ndarray, problem: np.ndarray) -> np.ndarray:
        """Returns |grad f|^2 / 2 at these rows."""
        return 0.5 * np.sum(self.gradients(x) ** 2, axis=1)

    def gradients(self, x: np.ndarray) -> np.ndarray:
        """Returns the gradient at these rows, (K, n)."""
        program, results = compiled(_gradients, [self.fun]), []
        self.nfev += len(x)
        for rows, padded in blocks_of(len(x), 1024):
            results.append(np.asarray(program(None, self.blocks.as_x(x[rows]), self.args))[~padded])
        return np.concatenate(results)

    def expected_sum(self, seed: int) -> int | None:
        """Returns the sum of (-1)^index that the gradient on the boundary asks for; None if it says nothing."""
        n = len(self.region.lower)
        points = spread(self.region, ON_A_FACE, seed + 1)
        outward = []
        for k in range(n):
            for side, sign in ((self.region.lower, -1), (self.region.upper, 1)):
                face = points.copy()
                face[:, k] = side[k]
                outward.append(sign * self.gradients(face)[:, k])
        outward = np.stack(outward)
        return 1 if np.all(outward > 0) else (-1) ** n if np.all(outward < 0) else None


class WeightedObjective:
    """The objective of a descent: f, -f or |grad f|^2 / 2 of a flat x, by the weights of `WEIGHTS`."""

    def __init__(self, fun: Callable):
        """Takes fun(x, *args)."""
        self._fun = fun

    def __call__(self, x: Array, weights: Array, *args: Any) -> Array:
        """Returns the sum of weights[0] fun and weights[1] |grad fun|^2 / 2 at x."""
        value, gradient = jax.value_and_grad(self._fun)(x, *args)
        return weights[0] * value + weights[1] * 0.5 * jnp.sum(gradient**2)


def _critical(
    functions: list[Callable], _: None, method: Method, x: Any, weights: Array, args: tuple, box: tuple, limits: dict
) -> tuple:
    """Returns the ends of the descents after Newton steps, |grad f|^2 / 2 and max |grad f| there, and nfev."""
    fun = _flat(functions[0], x)
    rows = jax.vmap(lambda x: ravel_pytree(x)[0])(x)
    objective = WeightedObjective(fun)
    result = minimize_many(objective, rows, (weights,), shared=args, method=method, bounds=box, **limits)
    gradient = jax.grad(fun)

    def polished(x):
        def step(_, state):
            x, g = state
            new = x - jnp.linalg.solve(symmetric_jacobian(lambda x: gradient(x, *args))(x), g)
            g_new = gradient(new, *args)
            better = jnp.sum(g_new**2) < jnp.sum(g**2)  # never where it is not a number
            return jnp.where(better, new, x), jnp.where(better, g_new, g)

        return jax.lax.fori_loop(0, NEWTON, step, (x, gradient(x, *args)))

    x, g = jax.vmap(polished)(result.x)
    return x, 0.5 * jnp.sum(g**2, axis=1), jnp.max(jnp.abs(g), axis=1), result.nfev + NEWTON


def _gradients(functions: list[Callable], _: None, x: Any, args: tuple) -> Array:
    gradient = jax.grad(_flat(functions[0], x))
    return jax.vmap(lambda x: gradient(ravel_pytree(x)[0], *args))(x)


def _flat(fun: Callable, x: Any) -> Callable:
    """Returns fun as a function of a flat vector in place of an x in the form of these, leaves (K, ...)."""
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], x))[1]
    return lambda flat, *args: fun(unravel(flat), *args)
