"""One problem, or many of one function or of several, minimised in lanes."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.calculus.shards import of_one
from jaxcalc.engine import lanes as engine
from jaxcalc.engine.batching import closed_over, refilling
from jaxcalc.engine.implicit import differentiable
from jaxcalc.engine.judgement import Bounds, Limits
from jaxcalc.engine.objective import Objective
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.units import power_of_two
from jaxcalc.methods.method import Method
from jaxcalc.optimize.certify import certificate
from jaxcalc.optimize.door import (
    arrays,
    as_tuple,
    box,
    chosen_method,
    one_of,
    options,
    require_functions,
    units,
    whole_number,
)
from jaxcalc.programs import compiled

if TYPE_CHECKING:
    import optax


class Shape(NamedTuple):
    """What shapes a program beside the functions and the arrays."""

    lanes: int | None
    history: int
    has_aux: bool
    unconverged: str
    certify: bool = False


class Problem(NamedTuple):
    """What one function is minimised with: its queue of starts and args, what they share, and the limits given."""

    method: Method
    x0: Any
    args: tuple
    shared: tuple
    bounds: tuple[Any, Any]
    scale: Any
    limits: dict[str, Array]


# What the derivatives of a problem that did not succeed may be.
UNCONVERGED = ("nan", "implicit")
# SciPy's gtol, and what single precision can still tell.
GTOL = {4: 1e-3, 8: 1e-5}
# Points that are certified at once: each holds a Hessian.
CERTIFIED_AT_ONCE = 64


def minimize(
    fun: Callable,
    x0: Any,
    args: Any = (),
    *,
    method: "str | Method | optax.GradientTransformation" = "bfgs",
    bounds: Any = None,
    scale: Any = None,
    gtol: float | Array | None = None,
    maxiter: int | Array | None = None,
    ftol: float | Array | None = None,
    xtol: float | Array | None = None,
    history: int = 0,
    has_aux: bool = False,
    unconverged: str = "nan",
) -> OptimizeResult:
    """Minimises one function of one or many variables: one lane of the engine that `minimize_many` runs.

    Finds x such that the largest component of the gradient of f(x) = fun(x, *args) is at most gtol, below the start.

    Args:
        fun: A JAX-traceable function fun(x, *args) that returns one real number, an array of shape ().
        x0: The start, an array or a pytree of arrays of any shapes. fun receives x in this form and these dtypes
            (integers as the default float).
        args: What fun takes after x, a tuple of arrays or pytrees; anything else is wrapped into one.
        method: The name of a method, the object that its factory in `jaxcalc.methods` returns, or an optimiser of
            Optax, made once: an optimiser made anew on every call compiles again.
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`; each side is None, a number, an array or a pytree of
            the form of x0, infinite or None where a variable has no bound. Every method takes them. fun is never
            evaluated outside; a start outside is moved onto the box. lower = upper fixes a variable.
        scale: The size of a typical change of each variable, in the forms of a side of the bounds, positive, None being
            1: the method works with x / scale, which helps where variables are of very different sizes. Rounded to a
            power of two. What gtol, bounds and the result mean does not change; xtol is about x / scale.
        gtol: The promise of SUCCESS, in units of f / x; by default 1e-5 in float64 and 1e-3 in float32.
        maxiter: The most iterations; by default the method's own, 200 times the number of variables for "bfgs".
        ftol: If given, a step that changes the value by at most ftol times its size ends with CONVERGED_VALUE.
        xtol: If given, a step that changes x by at most xtol times its size, in the largest component, ends with
            CONVERGED_STEP.
        history: How many of the last iterates' values to keep, in `result.history`.
        has_aux: Whether fun returns (value, anything); the anything at x is then `result.aux`.
        unconverged: What the derivatives of the result are where the problem did not succeed: "nan", or "implicit" for
            those of the formula at the last point.

    Returns:
        The result: x, fun, jac, status, success, message, nit, nfev. Values that are not finite, or an option out of
        range under `jit`, are a status, never an exception; `result.check()` raises if the problem did not succeed.

    Raises:
        TypeError: If fun does not return one real number, or x0 is not made of real numbers.
        ValueError: If the method does not exist or an option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> rosenbrock = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        >>> result = jc.minimize(rosenbrock, jnp.array([-1.2, 1.0]))
        >>> bool(result.success), [round(float(v), 2) for v in result.x]
        (True, [1.0, 1.0])

    Source: J. Nocedal and S. Wright, Numerical Optimization (2006).
    """
    require_functions([fun])
    shape = Shape(None, whole_number("history", history, 0), has_aux, one_of("unconverged", unconverged, UNCONVERGED))
    limits = options("", None, gtol=gtol, maxiter=maxiter, ftol=ftol, xtol=xtol)
    x0 = arrays("x0", x0)
    bounds, scale = box("", bounds, x0, batch=False), units("", scale, x0, batch=False)
    problem = Problem(chosen_method(method), x0, (), arrays("args", as_tuple(args)), bounds, scale, limits)
    return compiled(_solve_single, [fun])(shape, problem)


def minimize_many(
    fun: Callable | Sequence[Callable],
    x0: Any,
    args: Any = (),
    *,
    shared: Any = (),
    method: Any = "bfgs",
    bounds: Any = None,
    scale: Any = None,
    gtol: Any = None,
    maxiter: Any = None,
    ftol: Any = None,
    xtol: Any = None,
    lanes: int | None = None,
    history: int = 0,
    has_aux: bool = False,
    unconverged: str = "nan",
    certify: bool = False,
) -> Any:
    """Minimises many problems at once, each to its own end: f_i(x) = fun(x, *args[i], *shared), i = 0 .. N - 1.

    A fixed number of lanes is stepped in one compiled loop; when a problem ends, its lane takes the next from the
    queue, so that no straggler holds up the others and memory beyond inputs and outputs does not grow with N. At one
    number of lanes a problem's result does not depend, to the last bit, on the other problems or on their order.

    With a list of k functions, k different functions of any sizes are minimised in one compiled program.

    Args:
        fun: A JAX-traceable function fun(x, *args, *shared) of one problem that returns one real number, shape ();
            or a list of k such functions. The function object is the key of the compiled program: define it once.
        x0: The starts, a pytree of arrays (N, ...), or a list of k of them. N may be 0.
        args: What differs between problems, a tuple of pytrees of arrays (N, ...); anything else is wrapped into one.
            With a list of functions a list of k of them, or () for none.
        shared: What all problems of a function share, without a problem axis, given to fun after args.
        method: The name of a method, the object that its factory in `jaxcalc.methods` returns, or an optimiser of
            Optax, made once: an optimiser made anew on every call compiles again.
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`; each side is None, a number, an array or a pytree of
            the form of x0, infinite or None where a variable has no bound; an array with the leading axis N holds
            bounds of each problem, one without it those of all. fun is never evaluated outside; a start outside is
            moved onto the box. lower = upper fixes a variable.
        scale: The size of a typical change of each variable, in the forms of a side of the bounds; see `minimize`.
        gtol: The promise of SUCCESS, in units of f / x, a number or one for each problem (N,); by default 1e-5 in
            float64 and 1e-3 in float32.
        maxiter: The most iterations, a number or one for each problem (N,); by default the method's own.
        ftol: If given, a step that changes the value by at most ftol times its size ends with CONVERGED_VALUE; a
            number or one for each problem (N,).
        xtol: If given, a step that changes x by at most xtol times its size, in the largest component, ends with
            CONVERGED_STEP; a number or one for each problem (N,).
        lanes: How many problems are stepped side by side; by default what suits the device.
        history: How many of the last iterates' values to keep, in `result.history`, (N, history).
        has_aux: Whether fun returns (value, anything); the anything at x is then `result.aux`.
        unconverged: What the derivatives of the result are where the problem did not succeed: "nan", or "implicit" for
            those of the formula at the last point.
        certify: Whether to say of every x what kind of point it is, as `certify` does, in `result.certificate`.

    shared, method, bounds, scale, gtol, maxiter, ftol and xtol may be lists of length k where fun is one; a tuple or an
    array is common to all.

    Returns:
        The result, every field with the leading axis N, in the order of the input; or a list of k results. A problem
        whose values are not finite has a status of its own and does not touch the others.

    Raises:
        TypeError: If fun does not return one real number, or x0 is not made of real numbers.
        ValueError: If a leaf of x0 or args lacks the leading axis N, the method does not exist, or an option is out
            of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> centres = jnp.arange(6.0).reshape(3, 2)
        >>> result = jc.minimize_many(lambda x, c: jnp.sum((x - c) ** 2), jnp.zeros((3, 2)), (centres,))
        >>> result.x.round(3).tolist()
        [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]

    Source: J. Nocedal and S. Wright, Numerical Optimization (2006), for the methods; the lanes are this library's.
    """
    lanes = None if lanes is None else whole_number("lanes", lanes, 1)
    shape = Shape(
        lanes,
        whole_number("history", history, 0),
        has_aux,
        one_of("unconverged", unconverged, UNCONVERGED),
        bool(certify),
    )
    several = isinstance(fun, list | tuple)
    functions: list[Any] = list(fun) if isinstance(fun, list | tuple) else [fun]
    require_functions(functions)
    each = {"x0": x0, "args": args, "shared": shared, "method": method, "bounds": bounds, "scale": scale}
    each |= {"gtol": gtol, "maxiter": maxiter, "ftol": ftol, "xtol": xtol}
    columns = {name: _per_function(name, value, len(functions)) if several else [value] for name, value in each.items()}
    problems = [
        _problem(label, *row)
        for label, row in zip(_labels(several, len(functions)), zip(*columns.values(), strict=True), strict=True)
    ]
    results = compiled(_solve_all, functions)(shape, problems) if functions else []
    return results if several else results[0]


def _solve_single(functions: list, shape: Shape, problem: Problem) -> OptimizeResult:
    """Solves one problem in one lane; its args have no problem axis, so the lane shares them."""
    queue = problem._replace(x0=jax.tree.map(lambda leaf: leaf[None], problem.x0))
    return jax.tree.map(lambda leaf: leaf[0], _solve(functions[0], shape, queue))


def _solve_all(functions: list, shape: Shape, problems: list[Problem]) -> list[OptimizeResult]:
    """Solves the queues of several functions one after the other in one program; runs while that is traced."""
    return [_solve(fun, shape, problem) for fun, problem in zip(functions, problems, strict=True)]


def _solve(fun: Callable, shape: Shape, problem: Problem) -> OptimizeResult:
    """Solves a queue, with rules of its own under `jax.vmap` and under differentiation; runs while that is traced."""
    closed, problem = closed_over(fun, problem)
    own = [True] * len(problem.args) + [False] * len(problem.shared)

    def solve(own, problem):
        return _run(_objective(closed.of(own), shape, problem), shape, problem)

    objective = _objective(closed.of(own), shape, problem)
    result = differentiable(refilling(solve, own), objective, shape.unconverged == "implicit")(problem)
    return _certified(objective, problem, result) if shape.certify else result


def _certified(objective: Objective, problem: Problem, result: OptimizeResult) -> OptimizeResult:
    """Returns the result with certificates of its points, which are constants to JAX, as statuses are."""
    x, args, shared, bounds, limits = jax.lax.stop_gradient(
        (result.x, problem.args, problem.shared, problem.bounds, problem.limits)
    )
    x, count = objective.ravel(x).T, len(result.fun)
    sides = (
        jnp.broadcast_to(infinite if side is None else objective.ravel(side).T, x.shape)
        for side, infinite in zip(bounds, (-jnp.inf, jnp.inf), strict=True)
    )
    gtol = jnp.broadcast_to(limits.get("gtol", GTOL[objective.dtype.itemsize]), count).astype(objective.dtype)

    def one(point):
        x, lower, upper, gtol, args = point
        return certificate(lambda v: objective.value(v, args, shared)[0], x, lower, upper, gtol)

    points = (x, *sides, gtol, args)
    if count <= CERTIFIED_AT_ONCE:
        return dataclasses.replace(result, certificate=jax.vmap(one)(points))
    return dataclasses.replace(result, certificate=jax.lax.map(one, points, batch_size=CERTIFIED_AT_ONCE))


def _objective(fun: Callable, shape: Shape, problem: Problem) -> Objective:
    x0, args = of_one((problem.x0, problem.args))
    return Objective(fun, x0, args, problem.shared, shape.has_aux)


def _run(objective: Objective, shape: Shape, problem: Problem) -> OptimizeResult:
    """Solves a queue as it is."""
    method, x0, args, shared, bounds, scale, limits = problem
    method = method.for_size(objective.n)
    default = {"gtol": GTOL[objective.dtype.itemsize], "maxiter": method.default_maxiter(objective.n)}
    dtypes = {"maxiter": jnp.int32}
    limits = {name: jnp.asarray(value, dtypes.get(name, objective.dtype)) for name, value in (default | limits).items()}
    queue = engine.Queue(x0, args, Limits(**limits), Bounds(*bounds), power_of_two(scale))
    count = len(jax.tree.leaves(x0)[0])
    if count == 0:
        return OptimizeResult(*engine.empty_results(method, objective, 0, shape.history))
    lanes = shape.lanes or engine.default_lanes(method, objective, queue, count)
    return OptimizeResult(*engine.solve(method, objective, queue, shared, lanes, shape.history))


def _problem(label: str, x0, args, shared, method, bounds, scale, gtol, maxiter, ftol, xtol) -> Problem:
    """Checks what belongs to one function at the door; nothing of the user's has run yet."""
    x0, args = arrays(f"x0{label}", x0), arrays(f"args{label}", as_tuple(args))
    path, first = jax.tree_util.tree_leaves_with_path(x0)[0]
    if first.ndim == 0:
        raise ValueError(
            f"x0{label}{jax.tree_util.keystr(path)} is a single number; minimize_many takes starts with a leading "
            "problem axis, shape (N, ...). For one problem use minimize, or x0[None]."
        )
    count = first.shape[0]
    for name, tree in (("x0", x0), ("args", args)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if leaf.shape[:1] != (count,):
                raise ValueError(
                    f"{name}{label}{jax.tree_util.keystr(path)} has shape {leaf.shape}, but x0 holds {count} problems: "
                    f"its leading axis must be {count}. What all problems have in common goes into shared."
                )
    limits = options(label, count, gtol=gtol, maxiter=maxiter, ftol=ftol, xtol=xtol)
    shared, bounds = arrays(f"shared{label}", as_tuple(shared)), box(label, bounds, x0, batch=True)
    return Problem(chosen_method(method), x0, args, shared, bounds, units(label, scale, x0, batch=True), limits)


def _per_function(name: str, value: Any, count: int) -> list:
    """Returns what each of several functions gets: of a list its items, anything else for all of them."""
    if isinstance(value, list) or name == "x0" or (name == "args" and value != ()):
        if not isinstance(value, list | tuple) or len(value) != count:
            given = f"length {len(value)}" if isinstance(value, list | tuple) else type(value).__name__
            raise ValueError(f"fun is a list of {count} functions, so {name} must be a list of {count}, not {given}.")
        return list(value)
    return [value] * count


def _labels(several: bool, count: int) -> list[str]:
    return [f"[{k}]" for k in range(count)] if several else [""]
