"""One problem, or many of one function or of several, minimised in lanes."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from jax import Array

from jaxcalc.core.arguments import arrays, as_tuple, called_as, one_of, real_arrays, require_functions, whole_number
from jaxcalc.engine.family.constrained import ConstrainedResult
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.engine.problem import UNCONVERGED, Options, Problem
from jaxcalc.engine.result import OptimizeResult, X
from jaxcalc.engine.solve import solve_all, solve_one
from jaxcalc.methods.method import Method
from jaxcalc.optimize.arguments import (
    Constraints,
    K,
    Numbers,
    box,
    chosen_method,
    problem_count,
    scales,
    tolerances,
)
from jaxcalc.optimize.constrained import minimize_constrained, minimize_many_constrained
from jaxcalc.optimize.constraints import asks_for_nothing, require_no_tolerance
from jaxcalc.optimize.devices import as_devices, shared_out
from jaxcalc.optimize.scipy_keywords import as_scipy_calls, translated
from jaxcalc.optimize.starts import one_start, solve_queue
from jaxcalc.optimize.terms import split

if TYPE_CHECKING:
    import optax


# The result has the form of the start: numbers become an array, in a dict an array each, other pytrees stay themselves.
@overload
def minimize(
    fun: Callable, x0: Numbers, args: Any = (), *, constraints: Constraints, **options: Any
) -> ConstrainedResult[Array]: ...
@overload
def minimize(
    fun: Callable, x0: Mapping[K, Numbers], args: Any = (), *, constraints: Constraints, **options: Any
) -> ConstrainedResult[dict[K, Array]]: ...
@overload
def minimize(
    fun: Callable, x0: X, args: Any = (), *, constraints: Constraints, **options: Any
) -> ConstrainedResult[X]: ...
@overload
def minimize(
    fun: Callable, x0: Numbers, args: Any = (), *, method: "str | Method | optax.GradientTransformation | None" = None,
    bounds: Any = None, constraints: tuple[()] = (), terms: Any = None, scale: Any = None,
    gtol: float | Array | None = None, maxiter: int | Array | None = None, maxfev: int | Array | None = None,
    ftol: float | Array | None = None, xtol: float | Array | None = None, ctol: float | Array | None = None,
    history: int = 0, has_aux: bool = False, unconverged: str = "nan", callback: Callable | None = None, **scipy: Any,
) -> OptimizeResult[Array]: ...  # fmt: skip
@overload
def minimize(
    fun: Callable, x0: Mapping[K, Numbers], args: Any = (), **options: Any
) -> OptimizeResult[dict[K, Array]]: ...
@overload
def minimize(
    fun: Callable, x0: X, args: Any = (), *, method: "str | Method | optax.GradientTransformation | None" = None,
    bounds: Any = None, constraints: tuple[()] = (), terms: Any = None, scale: Any = None,
    gtol: float | Array | None = None, maxiter: int | Array | None = None, maxfev: int | Array | None = None,
    ftol: float | Array | None = None, xtol: float | Array | None = None, ctol: float | Array | None = None,
    history: int = 0, has_aux: bool = False, unconverged: str = "nan", callback: Callable | None = None, **scipy: Any,
) -> OptimizeResult[X]: ...  # fmt: skip
@called_as("minimize(fun, x0)")
def minimize(
    fun: Callable,
    x0: Any,
    args: Any = (),
    *,
    method: "str | Method | optax.GradientTransformation | None" = None,
    bounds: Any = None,
    constraints: Any = (),
    terms: Any = None,
    scale: Any = None,
    gtol: float | Array | None = None,
    maxiter: int | Array | None = None,
    maxfev: int | Array | None = None,
    ftol: float | Array | None = None,
    xtol: float | Array | None = None,
    ctol: float | Array | None = None,
    history: int = 0,
    has_aux: bool = False,
    unconverged: str = "nan",
    callback: Callable | None = None,
    **scipy: Any,
) -> OptimizeResult[Any]:
    """Minimises one function of one or many variables: one lane of the engine that `minimize_many` runs.

    Descends from x0 to an x at which the largest component of the gradient of f(x) = fun(x, *args) is at most gtol.

    Args:
        fun: A JAX-traceable function fun(x, *args) that returns one real number, an array of shape ().
        x0: The start, an array or a pytree of arrays of any shapes. fun receives x in this form and these dtypes
            (integers as the default float).
        args: What fun takes after x, a tuple of arrays or pytrees; anything else is wrapped into one.
        method: The name of a method, the object that its factory in `jaxcalc.methods` returns, or an optimiser of
            Optax, made once: an optimiser made anew on every call compiles again. By default "bfgs", and with
            constraints "interior_point", the one that takes them.
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`; each side is None, a number, an array or a pytree of
            the form of x0, infinite or None where a variable has no bound. Every method takes them. fun is never
            evaluated outside; a start outside is moved onto the box. lower = upper fixes a variable.
        constraints: What x has to obey besides, in SciPy's forms: {"type": "eq", "fun": g} for g(x) = 0 and "ineq" for
            g(x) >= 0, `scipy.optimize.NonlinearConstraint(g, lb, ub)`, `scipy.optimize.LinearConstraint(A, lb, ub)`, or
            a list of them. g takes what fun takes, or x alone, and returns a number or an array; with "args" in the
            dict it takes x and these. lb = ub is an equality, infinite sides are none. g may be evaluated where other
            constraints do not hold, never outside the bounds. Of at most 64 variables.
        terms: What is added to fun and has kinks: `jaxcalc.l1(penalty)`, with which variables end at exactly zero, or a
            list of such terms. `result.fun` includes them, `result.jac` is the gradient of fun alone.
        scale: The size of a typical change of each variable, in the forms of a side of the bounds, positive, None being
            1: the method works with x / scale, which helps where variables are of very different sizes. Rounded to a
            power of two. What gtol, bounds and the result mean does not change; xtol is about x / scale.
        gtol: The promise of SUCCESS, in units of f / x; by default 1e-5 in float64 and 1e-3 in float32.
        maxiter: The most iterations; by default the method's own, 200 times the number of variables for "bfgs".
        maxfev: The most evaluations; by default 50 times maxiter or more, which ends what no other test ends.
        ftol: If given, a step that changes the value by at most ftol times its size ends with CONVERGED_VALUE.
        xtol: If given, a step that changes x by at most xtol times its size, in the largest component, ends with
            CONVERGED_STEP.
        ctol: The violation of constraints that SUCCESS allows, in their own units; by default 1e-6 in float64 and 1e-3
            in float32.
        history: How many of the last iterates' values to keep, in `result.history`.
        has_aux: Whether fun returns (value, anything); the anything at x is then `result.aux`.
        unconverged: What the derivatives of the result are where the problem did not succeed: "nan", or "implicit" for
            those of the formula at the last point.
        callback: Called after every iteration, as in SciPy: with the result so far if its parameter is named
            intermediate_result, otherwise with x. If it raises StopIteration, the solve ends as INTERRUPTED. Not under
            transformations.
        scipy: SciPy's other keywords: `tol`, which is gtol, and `options`, a dict of gtol, maxiter and maxfev or
            maxfun. For the others the error says what to write.

    Returns:
        The result: x, fun, jac, status, success, message, nit, nfev; with constraints also multipliers,
        constraint_violation, optimality and bound_multipliers, see `ConstrainedResult`. Values that are not finite, or
        an option out of range under `jit`, are a status, never an exception; `result.check()` raises if the problem did
        not succeed.

    Raises:
        TypeError: If fun cannot be traced by JAX or does not return one real number, x0 is not made of real numbers, or
            a keyword is SciPy's and means something else here.
        ValueError: If the method does not exist or an option is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> rosenbrock = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        >>> result = jc.minimize(rosenbrock, jnp.array([-1.2, 1.0]))
        >>> bool(result.success), [round(float(v), 2) for v in result.x]
        (True, [1.0, 1.0])
        >>> whole = {"type": "eq", "fun": lambda x: jnp.sum(x) - 1}
        >>> shares = jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(4), constraints=whole)
        >>> shares.x.round(3).tolist(), round(float(shares.multipliers), 3)
        ([0.25, 0.25, 0.25, 0.25], 0.5)

    Source: J. Nocedal and S. Wright, Numerical Optimization (2006).
    """
    require_functions([fun], several=False)
    x0 = real_arrays("x0", x0)
    given = {"gtol": gtol, "maxiter": maxiter, "maxfev": maxfev, "ftol": ftol, "xtol": xtol}
    if scipy:
        given = translated("minimize", scipy, given)
    if not asks_for_nothing(constraints):
        arguments = {"args": args, "method": method, "bounds": bounds, "scale": scale, "ctol": ctol}
        options = _options(history, has_aux, unconverged)
        return minimize_constrained(fun, x0, constraints, options, callback=callback, terms=terms, **arguments, **given)
    require_no_tolerance(ctol)
    problem = Problem(
        method=chosen_method(method),
        x0=x0,
        args=arrays("args", as_tuple(args)),
        box=box("", bounds, x0, batch=False),
        scale=scales("", scale, x0, batch=False),
        tolerances=tolerances("", None, **given),
    )
    whole, problem, back = split(fun, problem, terms, has_aux=has_aux, batch=False, starts=None)
    options, calls = _options(history, has_aux, unconverged), as_scipy_calls(callback)
    return back(solve_one(whole, problem, options, calls and (lambda result: calls(back(result)))))


@overload
def minimize_many(
    fun: Sequence[Callable[..., Any]], x0: Sequence[Any], args: Any = (), **options: Any
) -> list[OptimizeResult[Any]]: ...
@overload
def minimize_many(
    fun: Callable[..., Any], x0: Numbers, args: Any = (), *, constraints: Constraints, **options: Any
) -> ConstrainedResult[Array]: ...
@overload
def minimize_many(
    fun: Callable[..., Any], x0: Mapping[K, Numbers], args: Any = (), *, constraints: Constraints, **options: Any
) -> ConstrainedResult[dict[K, Array]]: ...
@overload
def minimize_many(
    fun: Callable[..., Any], x0: X, args: Any = (), *, constraints: Constraints, **options: Any
) -> ConstrainedResult[X]: ...
@overload
def minimize_many(
    fun: Callable[..., Any], x0: Numbers, args: Any = (), *, shared: Any = (), method: Any = None, bounds: Any = None,
    constraints: tuple[()] = (), terms: Any = None, scale: Any = None, gtol: Any = None, maxiter: Any = None,
    maxfev: Any = None, ftol: Any = None, xtol: Any = None, ctol: Any = None, lanes: int | None = None,
    history: int = 0, has_aux: bool = False, unconverged: str = "nan", certify: bool = False, devices: Any = None,
    starts: int | None = None, progress: bool = False, **scipy: Any,
) -> OptimizeResult[Array]: ...  # fmt: skip
@overload
def minimize_many(
    fun: Callable[..., Any], x0: Mapping[K, Numbers], args: Any = (), **options: Any
) -> OptimizeResult[dict[K, Array]]: ...
@overload
def minimize_many(
    fun: Callable[..., Any], x0: X, args: Any = (), *, shared: Any = (), method: Any = None, bounds: Any = None,
    constraints: tuple[()] = (), terms: Any = None, scale: Any = None, gtol: Any = None, maxiter: Any = None,
    maxfev: Any = None, ftol: Any = None, xtol: Any = None, ctol: Any = None, lanes: int | None = None,
    history: int = 0, has_aux: bool = False, unconverged: str = "nan", certify: bool = False, devices: Any = None,
    starts: int | None = None, progress: bool = False, **scipy: Any,
) -> OptimizeResult[X]: ...  # fmt: skip
@called_as("minimize_many(fun, x0)")
def minimize_many(
    fun: Callable[..., Any] | Sequence[Callable[..., Any]],
    x0: Any,
    args: Any = (),
    *,
    shared: Any = (),
    method: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    terms: Any = None,
    scale: Any = None,
    gtol: Any = None,
    maxiter: Any = None,
    maxfev: Any = None,
    ftol: Any = None,
    xtol: Any = None,
    ctol: Any = None,
    lanes: int | None = None,
    history: int = 0,
    has_aux: bool = False,
    unconverged: str = "nan",
    certify: bool = False,
    devices: Any = None,
    starts: int | None = None,
    progress: bool = False,
    **scipy: Any,
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
            Optax, made once: an optimiser made anew on every call compiles again. By default "bfgs", and with
            constraints "interior_point", the one that takes them.
        bounds: A pair (lower, upper) or a `scipy.optimize.Bounds`; each side is None, a number, an array or a pytree of
            the form of x0, infinite or None where a variable has no bound; an array with the leading axis N holds
            bounds of each problem, one without it those of all. fun is never evaluated outside; a start outside is
            moved onto the box. lower = upper fixes a variable.
        constraints: What x has to obey besides, as in `minimize`, the same for all problems: g takes what fun takes, so
            that what differs between problems goes into args. Not with a list of functions.
        terms: What is added to fun and has kinks, as in `minimize`; not with a list of functions.
        scale: The size of a typical change of each variable, in the forms of a side of the bounds; see `minimize`.
        gtol: The promise of SUCCESS, in units of f / x, a number or one for each problem (N,); by default 1e-5 in
            float64 and 1e-3 in float32.
        maxiter: The most iterations, a number or one for each problem (N,); by default the method's own.
        maxfev: The most evaluations, a number or one for each problem (N,); by default 50 times maxiter or more.
        ftol: If given, a step that changes the value by at most ftol times its size ends with CONVERGED_VALUE; a
            number or one for each problem (N,).
        xtol: If given, a step that changes x by at most xtol times its size, in the largest component, ends with
            CONVERGED_STEP; a number or one for each problem (N,).
        ctol: The violation of constraints that SUCCESS allows, as in `minimize`; a number or one for each problem (N,).
        lanes: How many problems are stepped side by side; by default what suits the device.
        history: How many of the last iterates' values to keep, in `result.history`, (N, history).
        has_aux: Whether fun returns (value, anything); the anything at x is then `result.aux`.
        unconverged: What the derivatives of the result are where the problem did not succeed: "nan", or "implicit" for
            those of the formula at the last point.
        certify: Whether to say of every x what kind of point it is, as `certify` does, in `result.certificate`.
        devices: Devices to share the problems out to in equal parts, such as jax.devices(); each runs a loop of its
            own, with `lanes` lanes, and the result stays where it was computed. By default one device solves all.
        starts: If given, K: x0 holds K starts of each problem, leaves (N, K, ...); all descend in one queue, and the
            best end of each problem by value is its result, with `result.agreed` telling how many starts ended there.
            What problems have of their own is not repeated.
        progress: Whether a line in the terminal tells how many problems have ended and converged, problems per second
            and the time left. Of one function only.
        scipy: SciPy's other keywords, as in `minimize`.

    shared, method, bounds, scale, gtol, maxiter, maxfev, ftol and xtol may be lists of length k where fun is one; a
    tuple or an array is common to all.

    Returns:
        The result, every field with the leading axis N, in the order of the input; or a list of k results. A problem
        whose values are not finite has a status of its own and does not touch the others.

    Raises:
        Interrupted: At Ctrl-C, a KeyboardInterrupt whose `result` holds what has been solved.
        TypeError: If fun cannot be traced by JAX or does not return one real number, x0 is not made of real numbers, or
            a keyword is SciPy's and means something else here.
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
    options = _options(history, has_aux, unconverged)._replace(
        lanes=None if lanes is None else whole_number("lanes", lanes, 1), certify=bool(certify)
    )
    given = {"x0": x0, "args": args, "shared": shared, "method": method, "bounds": bounds, "scale": scale}
    given |= {"gtol": gtol, "maxiter": maxiter, "maxfev": maxfev, "ftol": ftol, "xtol": xtol}
    if scipy:
        given = translated("minimize_many", scipy, given)
    functions: list[Any] = list(fun) if isinstance(fun, list | tuple) else [fun]
    require_functions(functions)
    if not asks_for_nothing(constraints):
        if devices is not None:
            raise ValueError("devices do not share out problems with constraints; leave devices out.")
        extra = {"starts": starts, "progress": progress, "terms": terms}
        return minimize_many_constrained(fun, constraints, options, ctol=ctol, **extra, **given)
    require_no_tolerance(ctol)
    if terms is not None and (devices is not None or isinstance(fun, list | tuple)):
        raise ValueError("terms belong to one function on one device: leave devices out, and call for each function.")
    if devices is not None:
        if isinstance(fun, list | tuple):
            raise ValueError("devices share out the problems of one function; fun is a list of functions.")
        return shared_out(functions[0], _queue("", **given), options, as_devices(devices))
    if not isinstance(fun, list | tuple):
        queue = _queue("", starts, **given)
        whole, queue, back = split(functions[0], queue, terms, has_aux=options.has_aux, batch=True, starts=starts)
        return back(solve_queue(whole, queue, options, progress, starts))
    if starts is not None:
        raise ValueError("starts belong to the problems of one function; fun is a list of functions.")
    count = len(functions)
    each = {name: _per_function(name, value, count) for name, value in given.items()}
    queues = [_queue(f"[{k}]", **{name: values[k] for name, values in each.items()}) for k in range(count)]
    return solve_all(functions, queues, options)


def _options(history: int, has_aux: bool, unconverged: str) -> Options:
    return Options(
        family=Scalar,
        history=whole_number("history", history),
        has_aux=has_aux,
        unconverged=one_of("unconverged", unconverged, UNCONVERGED),
    )


def _queue(
    label: str,
    starts: int | None = None,
    *,
    x0: Any,
    args: Any,
    shared: Any,
    method: Any,
    bounds: Any,
    scale: Any,
    **given: Any,
) -> Problem:
    """Returns the queue of one function, checked before any code of the caller's runs.

    Args:
        label: What errors call the function, as "[2]".
        starts: As in `minimize_many`.
        x0: As in `minimize_many`, with args, shared, method, bounds and scale.
        args: See x0.
        shared: See x0.
        method: See x0.
        bounds: See x0.
        scale: See x0.
        given: The tolerances gtol, maxiter, maxfev, ftol and xtol.
    """
    x0, args = real_arrays(f"x0{label}", x0), arrays(f"args{label}", as_tuple(args))
    count, form = problem_count(label, x0, args), one_start(x0, starts)
    return Problem(
        method=chosen_method(method),
        x0=x0,
        args=args,
        shared=arrays(f"shared{label}", as_tuple(shared)),
        box=box(label, bounds, form, batch=True),
        scale=scales(label, scale, form, batch=True),
        tolerances=tolerances(label, count, **given),
    )


def _per_function(name: str, value: Any, count: int) -> list:
    """Returns the argument `name` of each of several functions: the items of a list, anything else for all of them."""
    if isinstance(value, list) or name == "x0" or (name == "args" and value != ()):
        if not isinstance(value, list | tuple) or len(value) != count:
            given = f"length {len(value)}" if isinstance(value, list | tuple) else type(value).__name__
            raise ValueError(f"fun is a list of {count} functions, so {name} must be a list of {count}, not {given}.")
        return list(value)
    return [value] * count
