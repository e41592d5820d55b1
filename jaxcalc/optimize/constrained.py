"""One problem with constraints, or many in lanes: what `minimize` and `minimize_many` do with `constraints=`."""

from collections.abc import Callable
from typing import Any

from jaxcalc.core.arguments import arrays, as_tuple, real_arrays
from jaxcalc.engine.family.constrained import ConstrainedFamily, ConstrainedResult
from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.solve import solve_one
from jaxcalc.optimize.arguments import box, problem_count, scales, tolerance, tolerances
from jaxcalc.optimize.constraints import checked, common_numbers, constrained_method, with_constraints
from jaxcalc.optimize.scipy_keywords import as_scipy_calls
from jaxcalc.optimize.starts import one_start, solve_queue
from jaxcalc.optimize.terms import split


def minimize_constrained(
    fun: Callable, x0: Any, constraints: Any, options: Options, *, args: Any, method: Any, bounds: Any, scale: Any,
    ctol: Any, callback: Any = None, terms: Any = None, **given: Any,
) -> ConstrainedResult:  # fmt: skip
    """Minimises one function under constraints; the arguments are those of `minimize`, x0 as arrays."""
    parts, several = checked(constraints)
    own = None if ctol is None else tolerance("ctol", ctol, None)
    problem = Problem(
        method=constrained_method(method),
        x0=x0,
        args=(None, *arrays("args", as_tuple(args)), common_numbers(parts, own)),
        box=box("", bounds, x0, batch=False),
        scale=scales("", scale, x0, batch=False),
        tolerances=tolerances("", None, **given),
    )
    whole = with_constraints(fun, parts, several, options.has_aux)
    options = options._replace(family=ConstrainedFamily)
    calls = as_scipy_calls(callback)
    whole, problem, back = split(whole, problem, terms, has_aux=options.has_aux, batch=False, starts=None)
    return back(solve_one(whole, problem, options, calls and (lambda result: calls(back(result)))))


def minimize_many_constrained(
    fun: Any, constraints: Any, options: Options, *, x0: Any, args: Any, shared: Any, method: Any, bounds: Any,
    scale: Any, ctol: Any, starts: Any = None, progress: bool = False, terms: Any = None, **given: Any,
) -> ConstrainedResult:  # fmt: skip
    """Minimises many problems of one function under constraints; the arguments are those of `minimize_many`."""
    if isinstance(fun, list | tuple):
        raise TypeError(
            "constraints belong to one function: call minimize_many for each function of the list with its constraints."
        )
    x0, args = real_arrays("x0", x0), arrays("args", as_tuple(args))
    count = problem_count("", x0, args)
    parts, several = checked(constraints)
    most = None if ctol is None else tolerance("ctol", ctol, count)
    own = most if most is not None and most.ndim else None
    problem = Problem(
        method=constrained_method(method),
        x0=x0,
        args=(own, *args),
        shared=(*arrays("shared", as_tuple(shared)), common_numbers(parts, None if own is not None else most)),
        box=box("", bounds, one_start(x0, starts), batch=True),
        scale=scales("", scale, one_start(x0, starts), batch=True),
        tolerances=tolerances("", count, **given),
    )
    whole = with_constraints(fun, parts, several, options.has_aux)
    options = options._replace(family=ConstrainedFamily)
    whole, problem, back = split(whole, problem, terms, has_aux=options.has_aux, batch=True, starts=starts)
    return back(solve_queue(whole, problem, options, progress, starts))
