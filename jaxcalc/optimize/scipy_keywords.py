"""The keywords of three of SciPy's doors: those that mean the same here, and what to write for the others."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxcalc.core.arguments import unexpected_keyword

# SciPy's names of options that mean the same, with their names here.
SAME = {"gtol": "gtol", "maxiter": "maxiter", "maxfev": "maxfev", "maxfun": "maxfev"}
# What SciPy's options have for a counterpart.
INSTEAD_OF_OPTION = {
    "ftol": "ftol= is relative to |f| here, where SciPy's is to max(|f|, 1): write ftol=... itself",
    "fatol": "ftol= is relative to |f| here: write ftol=... itself",
    "xtol": "xtol= is relative to |x| here: write xtol=... itself",
    "xrtol": "write xtol=... itself, which is about the largest component of x",
    "xatol": "xtol= is relative to |x| here: write xtol=... itself",
    "maxcor": "write method=jaxcalc.methods.lbfgs(history=...)",
    "eps": "derivatives are exact here: leave it out",
    "finite_diff_rel_step": "derivatives are exact here: leave it out",
    "disp": "print the result, or its message",
    "return_all": "history=k keeps the last k values; gradient_descent returns its whole path",
    "norm": "gtol is about the largest component of the gradient, as with SciPy's norm=inf: leave it out",
}
# The values of options that ask for nothing.
NOTHING: dict[str, tuple[Any, ...]] = {
    "disp": (None, False, 0, -1),
    "iprint": (-1,),
    "return_all": (False,),
    "norm": (np.inf,),
}
# What SciPy's keywords have for a counterpart.
INSTEAD = {
    "jac": "jaxcalc differentiates fun by itself: leave jac out. For a derivative of your own give fun one by "
    "jax.custom_vjp or jax.custom_jvp",
    "hess": 'jaxcalc differentiates fun by itself: leave hess out; method="trust_region" takes Hessians',
    "hessp": 'jaxcalc differentiates fun by itself: leave hessp out; method="trust_ncg" takes such products',
    "callback": "a loop over many problems calls no Python: history=k keeps the last k values, and minimize, for one "
    "problem, takes callback=",
    "constraints": "minimize and minimize_many take constraints=, here there are bounds= alone: write others into "
    "fun as a penalty, or choose variables that obey them",
}
# What the keywords of other optimisers have for a counterpart (Optax, JAXopt, Optimistix, PyTorch).
METHOD = "write method=: a name, what jaxcalc.methods.NAME(...) returns, or optax.NAME(...), made once"
RATE = "the rate belongs to the method: method=jaxcalc.methods.gradient_descent(learning_rate=...) or optax.NAME(...)"
STEPS = "write maxiter=, the most iterations"
QUIET = "print the result, or its message"
STARTS = "multistart(fun, bounds, starts=...) and minimize_many(..., starts=K) take several starts"
CHANCE = "nothing is drawn at random here: leave it out"
DIFFERENTIATED = "jaxcalc differentiates fun by itself: leave it out"
START = "the start is x0, the second argument"
BOX = "write bounds=(lower, upper)"
LANES = "lanes= says how many problems are stepped side by side, devices= on which devices"
RELATIVE = "ftol= and xtol= are relative, to the value and to x; gtol= is about the gradient"
OF_OTHERS = {
    **dict.fromkeys(("optimizer", "optimiser", "solver", "algorithm"), METHOD),
    **dict.fromkeys(("lr", "learning_rate", "step_size", "stepsize"), RATE),
    **dict.fromkeys(("steps", "num_steps", "max_steps", "niter", "n_iter", "num_iters", "iterations", "epochs"), STEPS),
    **dict.fromkeys(("verbose", "disp", "display", "full_output"), QUIET),
    **dict.fromkeys(("n_starts", "num_starts", "nstarts", "restarts", "n_restarts"), STARTS),
    **dict.fromkeys(("key", "rng", "random_state"), CHANCE),
    **dict.fromkeys(("value_and_grad", "grad", "gradient", "fprime"), DIFFERENTIATED),
    **dict.fromkeys(("params", "init", "init_params", "initial_guess", "p0"), START),
    **dict.fromkeys(("lower", "upper", "lb", "ub"), BOX),
    **dict.fromkeys(("n_jobs", "workers", "batch_size", "chunk_size", "parallel"), LANES),
    **dict.fromkeys(("rtol", "atol"), RELATIVE),
    "x_scale": "write scale=, the size of a typical change of each variable",
    "jit": "everything is compiled: leave it out",
}
MANY = "it belongs to minimize_many, for many problems; one problem of it is x0[None], with args[None]"
CERTIFY = "write jaxcalc.certify(fun, result.x, args)"
# What they have at one door alone.
OF_THE_DOOR = {
    "minimize": {
        **dict.fromkeys(("lanes", "shared", "starts", "devices", "progress"), MANY),
        **dict.fromkeys(("certify", "certificate"), CERTIFY),
    },
    "minimize_many": {"certify": CERTIFY},
    "bootstrap": {
        **dict.fromkeys(("n_resamples", "n_bootstraps", "num_samples", "B"), "write resamples="),
        **dict.fromkeys(("confidence_level", "alpha"), "write level=, the probability of the interval, such as 0.95"),
        **dict.fromkeys(("random_state", "rng", "key"), "write seed=, a whole number"),
    },
    "multistart": {
        **dict.fromkeys(("n_starts", "num_starts", "nstarts", "restarts", "n_restarts"), "write starts="),
        **dict.fromkeys(("n", "num_samples", "n_samples", "popsize"), "write starts="),
        **dict.fromkeys(("key", "rng", "random_state"), "write seed=, a whole number"),
        "x0": "write starts=, an array of starts (N, ...); the second argument is the box",
        "workers": "all descents run side by side: leave it out",
    },
}
# What the keywords of SciPy's `least_squares` and `curve_fit` have for a counterpart.
INSTEAD_FOR_SQUARES = {
    "full_output": "what SciPy returns beside popt and pcov is in fit.result: fun, nfev, status, message",
    "jac": "the model is differentiated exactly: leave jac out",
    "Dfun": "the model is differentiated exactly: leave Dfun out",
    "epsfcn": "derivatives are exact here: leave it out",
    "diff_step": "derivatives are exact here: leave it out",
    "col_deriv": "derivatives are exact here: leave it out",
    "diag": "write scale=, the size of a typical change of each parameter",
    "factor": "write method=jaxcalc.methods.levenberg_marquardt(first_radius=...)",
    "tr_solver": "leave it out: problems are solved by a factorisation of their own",
    "tr_options": "leave it out: problems are solved by a factorisation of their own",
    "jac_sparsity": "leave it out: problems of many parameters are for other programs",
    "verbose": "print the result, or its message",
    "args": "let the function close over them",
    "kwargs": "let the function close over them",
    "callback": "a loop over many problems calls no Python; minimize, for one problem, takes callback=",
    "workers": "derivatives are exact here: leave it out",
}
# What other names at the doors of least squares stand for.
ERRORS = "write sigma=, the standard errors of the data"
OF_SQUARES = {
    **dict.fromkeys(("yerr", "dy", "err", "errors", "y_err"), ERRORS),
    **dict.fromkeys(
        ("x0", "params", "init", "initial_guess", "guess"),
        "the start is the p0 of curve_fit and the x0 of least_squares",
    ),
    "tol": "ftol= is about the cost, xtol= about x, gtol= about the gradient; the defaults suit most data",
}
# The values with which they ask for nothing here.
NOTHING_FOR_SQUARES = (0, "2-point", "3-point", "cs")
# SciPy's names of algorithms that minimise the same sum of squares.
SQUARES_METHODS = ("lm", "trf", "dogbox")
RETURNS_BOTH = (
    "jac=True says that fun returns (value, gradient): let it return the value alone, which jaxcalc differentiates. "
    "has_aux=True is for fun that returns (value, anything else)."
)


def translated(door: str, keywords: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Returns the door's own arguments with what SciPy's keywords say; None and empty keywords ask for nothing.

    Args:
        door: The name of the function that was called.
        keywords: What it was given beyond its own parameters.
        given: Its own arguments by name, None where the caller gave none.

    Raises:
        TypeError: If a keyword is not known, means something else here, or says what another has said already.
    """
    options = keywords.get("options")
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f'options is a dict, such as {{"maxiter": 100}}, not a {type(options).__name__}.')
    given = dict(given)
    for name, value in keywords.items():
        if name == "tol":
            _set(given, "gtol", value, "tol")
        elif name == "jac" and value is True:
            raise TypeError(RETURNS_BOTH)
        elif name in INSTEAD:
            if not _asks_for_nothing(value):
                raise TypeError(f"{name} is SciPy's: {INSTEAD[name]}.")
        elif name != "options":
            known = [*given, *INSTEAD, "tol", "options"]
            raise unexpected_keyword(door, name, known, OF_OTHERS | OF_THE_DOOR.get(door, {}))
    for name, value in (options or {}).items():
        if name in SAME:
            _set(given, SAME[name], value, f"options[{name!r}]")
        elif not any(value is nothing or value == nothing for nothing in NOTHING.get(name, ())):
            instead = INSTEAD_OF_OPTION.get(name, f"it has no counterpart; there are {', '.join(sorted(SAME))}")
            raise TypeError(f"options[{name!r}] is SciPy's: {instead}.")
    return given


def translated_for_squares(door: str, keywords: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a door of least squares with what SciPy's keywords say, as `translated` does.

    Raises:
        TypeError: If a keyword is not known, means something else here, or says what another has said already.
    """
    given = dict(given)
    for name, value in keywords.items():
        if name == "max_nfev":
            _set(given, "maxfev", value, "max_nfev")
        elif name == "x_scale":
            # "jac" scales variables by the Jacobian's columns, as the default method does.
            _set(given, "scale", None if isinstance(value, str) else value, "x_scale")
        elif name not in INSTEAD_FOR_SQUARES:
            raise unexpected_keyword(door, name, [*given, *INSTEAD_FOR_SQUARES], OF_OTHERS | OF_SQUARES)
        elif not (_asks_for_nothing(value) or (np.ndim(value) == 0 and value in NOTHING_FOR_SQUARES)):
            raise TypeError(f"{name} is SciPy's: {INSTEAD_FOR_SQUARES[name]}.")
    return given


def squares_method(method: Any) -> Any:
    """Returns the method, None, the default, where it is SciPy's name of an algorithm for the same sum of squares."""
    return None if isinstance(method, str) and method in SQUARES_METHODS else method


def _set(given: dict[str, Any], name: str, value: Any, source: str) -> None:
    if value is None:
        return
    if given.get(name) is not None:
        raise TypeError(f"{source} is another name of {name}, which is given too: give one of them.")
    given[name] = value


def _asks_for_nothing(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, tuple | list | dict) and not value)


def as_scipy_calls(callback: Callable | None) -> Callable[[Any], Any] | None:
    """Returns result -> a call of the callback as SciPy makes it: with the result, or with x alone.

    Raises:
        TypeError: If the callback cannot be called.
    """
    if callback is None:
        return None
    if not callable(callback):
        raise TypeError(f"callback must be a function of the result so far; it is a {type(callback).__name__}.")
    if "intermediate_result" in inspect.signature(callback).parameters:
        return lambda result: callback(intermediate_result=result)
    return lambda result: callback(result.x)
