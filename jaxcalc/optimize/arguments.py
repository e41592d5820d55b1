"""The checks of optimisation's own arguments: methods, tolerances, bounds and scales, before the caller's code runs."""

import numbers
import types
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcalc import methods
from jaxcalc.core.arguments import as_floating, as_real, function_name, real_arrays
from jaxcalc.core.public import did_you_mean
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.family.residual import Residual
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.engine.problem import Tolerances
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Method

# What becomes one array, for the type checker, and the names in a dict of such. Other forms of x stay as they are.
Numbers = ArrayLike | np.ndarray[Any, Any] | np.generic | list[float] | list[int] | list[list[float]] | list[list[int]]
K = TypeVar("K")
# Boxes of arrays, and constraints in SciPy's forms.
ArrayBox = scipy.optimize.Bounds | tuple[Numbers, Numbers]
DictBox = tuple[Mapping[K, Numbers], Mapping[K, Numbers] | Numbers]
Constraints = dict[str, Any] | scipy.optimize.NonlinearConstraint | scipy.optimize.LinearConstraint | list[Any]

# What to write for SciPy's names of methods that have another one here.
SCIPY_METHODS = {
    "l-bfgs-b": '"lbfgs", which takes bounds',
    "cg": '"conjugate_gradient"',
    "newton-cg": '"trust_ncg"',
    "trust-ncg": '"trust_ncg"',
    "trust-krylov": '"trust_ncg"',
    "trust-exact": '"trust_region"',
    "dogleg": '"trust_region"',
    "tnc": '"lbfgs" or "trust_ncg", which take bounds',
    "slsqp": '"bfgs" or "lbfgs", which take bounds; with constraints= leave method out',
    "trust-constr": '"trust_region", which takes bounds; with constraints= leave method out',
    "cobyla": "constraints=..., with method left out",
    "cobyqa": "constraints=..., with method left out",
    "differential_evolution": "jaxcalc.multistart(fun, bounds)",
    "basinhopping": "jaxcalc.multistart(fun, bounds)",
}
DERIVATIVE_FREE = ("nelder-mead", "powell", "cobyla", "cobyqa")
# The tolerances that are whole numbers.
CAPS = ("maxiter", "maxfev")
# The most entries of bounds that an error repeats.
MOST_SHOWN = 8


def tolerances(label: str, count: int | None, **given: Any) -> Tolerances:
    """Returns the tolerances and caps as arrays of one number or, for `count` problems, one for each; None stays None.

    Args:
        label: What errors call the function they belong to, as "[2]".
        count: The number of problems, or None for one problem.
        given: gtol, maxiter, maxfev, ftol and xtol.
    """
    return Tolerances(
        **{name: None if value is None else tolerance(f"{name}{label}", value, count) for name, value in given.items()}
    )


def tolerance(name: str, value: Any, count: int | None) -> Array | np.ndarray:
    """Returns a tolerance or a cap as an array of one number or, for `count` problems, one for each."""
    array = value if isinstance(value, Tracer) else np.asarray(value)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise TypeError(f"{name} must be a real number of at least 0; it is {value!r}.")
    if array.shape not in ((), (count,)):
        expected = "one number" if count is None else f"one number or shape ({count},), one for each problem"
        raise ValueError(f"{name} must be {expected}; it has shape {array.shape}.")
    if not isinstance(array, Tracer) and not np.all(np.asarray(array) >= 0):
        raise ValueError(f"{name} must be at least 0; it is {value!r}.")
    if name.startswith(CAPS) and not isinstance(array, Tracer):
        return np.minimum(array, np.iinfo(np.int32).max)  # a cap beyond any count, such as infinity, is none
    return array


def f_scales(f_scale: Any, count: int | None) -> Array:
    """Returns the scale of the residuals of a robust loss, one number or, for `count` problems, one for each."""
    array = f_scale if isinstance(f_scale, jax.Array) else jnp.asarray(as_real(f_scale, "f_scale"), float)
    if array.shape not in ((), (count,)):
        expected = "one number" if count is None else f"one number or shape ({count},), one for each problem"
        raise ValueError(f"f_scale must be {expected}; it has shape {array.shape}.")
    if not isinstance(array, Tracer) and not np.all(np.asarray(array) > 0):
        raise ValueError(f"f_scale must be positive; it is {f_scale!r}.")
    return array


def problem_count(label: str, x0: Any, args: tuple[Any, ...], one: str = "minimize") -> int:
    """Returns the number of problems, N; raises a ValueError unless every leaf of x0 and args has the axis N first.

    Args:
        label: What errors call the function they belong to, as "[2]".
        x0: The starts, as arrays.
        args: What problems have of their own.
        one: The name of the function for one problem, whose "_many" is that for many.
    """
    path, first = jax.tree_util.tree_leaves_with_path(x0)[0]
    if first.ndim == 0:
        raise ValueError(
            f"x0{label}{jax.tree_util.keystr(path)} is a single number; {one}_many takes starts with a leading "
            f"problem axis, shape (N, ...). For one problem use {one}, or x0[None]."
        )
    count = first.shape[0]
    for name, tree in (("x0", x0), ("args", args)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if leaf.shape[:1] != (count,):
                raise ValueError(
                    f"{name}{label}{jax.tree_util.keystr(path)} has shape {leaf.shape}, but x0 holds {count} problems: "
                    f"its leading axis must be {count}. What all problems have in common goes into shared."
                )
    return count


def chosen_method(method: Any, family: type[Family] = Scalar) -> Method:
    """Returns the family's method of this name, the method itself, or an optimiser of Optax as a method.

    None is "bfgs", or the first method of another family.
    """
    if method is None:
        method = "bfgs" if family is Scalar else next(iter(family.methods))
    if isinstance(method, Method):
        made_for = _families_of(method)
        if made_for and family not in made_for:
            raise TypeError(
                f"{type(method).__name__} is no method for this kind of problem; there are "
                f"{', '.join(map(repr, family.methods))}."
            )
        return method
    if not isinstance(method, str) and family is not Scalar:
        raise TypeError(f"method is one of {', '.join(map(repr, family.methods))}, not a {type(method).__name__}.")
    if not isinstance(method, str):
        import optax  # only who hands one over pays for the import

        if isinstance(method, optax.GradientTransformation):
            return methods.from_optax(method)
        call = f" Call it: {function_name(method)}(...) makes the method or optimiser." if callable(method) else ""
        raise TypeError(
            "method is a name, what a factory in jaxcalc.methods returns, or an optax.GradientTransformation, "
            f"not a {type(method).__name__}.{call}"
        )
    if method not in family.methods:
        hint = _instead_of(method, family)
        raise ValueError(f"there is no method {method!r}; there are {', '.join(map(repr, family.methods))}.{hint}")
    return family.methods[method]()


def _families_of(method: Method) -> list[type[Family]]:
    """Returns the families in whose registry a method stands; none for methods with options that have no default."""
    return [
        family for family in (Scalar, Residual) if type(method) in {type(make()) for make in family.methods.values()}
    ]


def _instead_of(name: str, family: type[Family]) -> str:
    """Returns a sentence on what to write instead of a name that is no method, empty where nothing is known."""
    known = name.lower()
    if known in SCIPY_METHODS:
        return f" For SciPy's {name} write {SCIPY_METHODS[known]}."
    if known in DERIVATIVE_FREE:
        return f" SciPy's {name} does without derivatives, which JAX makes exact here: leave method out."
    if is_of_optax(known):
        return f" An optimiser of Optax is handed over itself: method=optax.{known}(...), made once."
    return did_you_mean(known.replace("-", "_"), family.methods)


def is_of_optax(name: str) -> bool:
    """Returns whether Optax has an optimiser, or another function, of this name."""
    import optax  # only who needs it pays for the import

    return isinstance(getattr(optax, name, None), types.FunctionType)


def box(label: str, bounds: Any, x0: Any, batch: bool) -> Box:
    """Returns the bounds as a box in the form and dtypes of x0, leaves (N, ...) or, where shared, (1, ...).

    Args:
        label: What errors call the function they belong to, as "[2]".
        bounds: None, a pair (lower, upper) or a `scipy.optimize.Bounds`.
        x0: The starts, as arrays.
        batch: Whether the leaves of x0 have a leading problem axis.
    """
    if isinstance(bounds, scipy.optimize.Bounds):
        bounds = (bounds.lb, bounds.ub)
    _require_sides(label, bounds, x0)
    if bounds is None or not jax.tree.leaves(bounds):
        return Box()
    lower, upper = (
        in_form_of(f"bounds{label}[{k}]", side, infinite, x0, batch)
        for k, (side, infinite) in enumerate(zip(bounds, (-jnp.inf, jnp.inf), strict=True))
    )
    jax.tree_util.tree_map_with_path(partial(_check_order, label), lower, upper)
    return Box(lower, upper)


def _require_sides(label: str, bounds: Any, x0: Any) -> None:
    """Raises a TypeError that shows the mend unless bounds is None or has two sides, of the form of x."""
    is_pair = isinstance(bounds, tuple) and len(bounds) == 2
    # Where x is a pytree of tuples, a tuple may be a side.
    if bounds is None or (is_pair and not (_is_list_of_pairs(bounds) and isinstance(x0, jax.Array))):
        return
    if not _is_list_of_pairs(bounds):
        raise TypeError(
            f"bounds{label} is a pair (lower, upper) or a scipy.optimize.Bounds, not {_brief(bounds)}. A list of "
            "pairs, one for each variable, is turned into it by bounds=(numpy.array([low for low, _ in pairs]), "
            "numpy.array([high for _, high in pairs])), with -inf and inf where there is no bound."
        )
    by_variable = _as_code(zip(*bounds, strict=True))
    if len(bounds) == 2:
        raise TypeError(
            f"bounds{label} is {bounds!r}, which may be two pairs (low, high) or the two sides (lower, upper). For "
            f"pairs, as in SciPy, write bounds={by_variable}; for sides bounds={_as_code(bounds)}."
        )
    raise TypeError(
        f"bounds{label} is a pair (lower, upper) or a scipy.optimize.Bounds, not {_brief(bounds)}. For pairs "
        f"(low, high), one for each variable, write bounds={by_variable}."
    )


def _is_list_of_pairs(bounds: Any) -> bool:
    """Returns whether bounds are pairs (low, high) of numbers or None, as SciPy takes them, in a list or a tuple."""

    def is_pair(entry: Any) -> bool:
        return (
            isinstance(entry, tuple | list)
            and len(entry) == 2
            and all(end is None or isinstance(end, numbers.Real) for end in entry)
        )

    whole = isinstance(bounds, list) or (isinstance(bounds, tuple) and all(isinstance(pair, tuple) for pair in bounds))
    return whole and len(bounds) > 0 and all(map(is_pair, bounds))


def _as_code(sides: Iterable) -> str:
    """Returns Python that makes two arrays of these sides, None being no bound; long ones are cut short."""

    def array(side: Sequence, infinite: str) -> str:
        entries = [infinite if end is None else str(end) for end in side]
        return f"numpy.array([{', '.join(entries if len(entries) <= MOST_SHOWN else [*entries[:MOST_SHOWN], '...'])}])"

    lower, upper = sides
    return f"({array(lower, '-numpy.inf')}, {array(upper, 'numpy.inf')})"


def search_box(bounds: Any, starts: Any) -> Box:
    """Returns a box to search, in the form of x without a problem axis; finite unless starts, (K, ...), are given."""
    if starts is None:
        if isinstance(bounds, scipy.optimize.Bounds):
            bounds = (bounds.lb, bounds.ub)
        if _is_list_of_pairs(bounds):
            _require_sides("", bounds, jnp.zeros(len(bounds)))
        if not isinstance(bounds, tuple) or len(bounds) != 2 or any(side is None for side in bounds):
            raise TypeError(
                f"bounds is a pair (lower, upper) of arrays in the form of x, or a scipy.optimize.Bounds; it is "
                f"{_brief(bounds)}. Without a box, give starts of your own as an array (N, ...)."
            )
        sides = [np.asarray(side) if isinstance(side, list) else side for side in bounds]
        form = as_floating(real_arrays("x0 (bounds)", max(sides, key=lambda side: jax.tree.structure(side).num_nodes)))
        wide = [jax.tree.broadcast(side, form) for side in sides]
        form = jax.tree.map(lambda leaf, *sides: jnp.broadcast_arrays(leaf, *map(jnp.asarray, sides))[0], form, *wide)
        lower, upper = box("", tuple(sides), form, batch=False)
    else:
        form = jax.tree.map(lambda leaf: leaf[0], as_floating(starts))
        try:
            lower, upper = box("", (None, None) if bounds is None else bounds, form, batch=False)
        except (TypeError, ValueError) as error:
            shapes = ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(starts))
            raise type(error)(f"{error} Here x is a row of starts, which have the shape {shapes}.") from None
        if lower is None:
            lower, upper = (jax.tree.map(lambda x, b=b: jnp.full((1, *x.shape), b, x.dtype), form)
                            for b in (-jnp.inf, jnp.inf))  # fmt: skip
    lower, upper = (jax.tree.map(lambda leaf: leaf[0], side) for side in (lower, upper))
    for low, high in zip(jax.tree.leaves(lower), jax.tree.leaves(upper), strict=True):
        if not np.all(np.asarray(low) < np.asarray(high)):
            raise ValueError(f"bounds: every lower side must be below its upper one; got {low} and {high}.")
        if starts is None and not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError(
                f"the box is infinite, from {low} to {high}: starts cannot be spread over it. Give a finite box, "
                "or starts of your own, drawn from a distribution that suits: starts=rng.normal(size=(1024, n))."
            )
    return Box(lower, upper)


def scales(label: str, scale: Any, x0: Any, batch: bool) -> Any:
    """Returns the scale of the variables in the form and dtypes of x0, leaves (N, ...) or, where shared, (1, ...)."""
    if not jax.tree.leaves(scale):
        return None
    scale = in_form_of(f"scale{label}", scale, 1.0, x0, batch)

    def check(path, leaf):
        if len(leaf) == 1 and not isinstance(leaf, Tracer):
            values = np.asarray(leaf[0], float)
            if not np.all((values > 0) & (values < np.inf)):
                name = f"scale{label}{jax.tree_util.keystr(path)}"
                raise ValueError(f"{name} must be positive and finite; it is {values}.")

    jax.tree_util.tree_map_with_path(check, scale)
    return scale


def in_form_of(name: str, side: Any, missing: float, x0: Any, batch: bool) -> Any:
    """Returns a side of the bounds, or what is given like one, in the form of x0, leaves (N, ...) or (1, ...).

    None stands for `missing`, one number for all.
    """
    if isinstance(side, list | tuple) and isinstance(x0, jax.Array):
        side = jnp.asarray(side)
    try:
        side = jax.tree.broadcast(side, x0, is_leaf=lambda entry: entry is None)
    except ValueError as error:
        raise TypeError(f"{name} must be None, a number, an array, or of the form of x: {error}") from None

    def like_start(path, x, bound):
        bound = missing if bound is None else bound
        numpy: Any = jnp if isinstance(bound, Tracer) else np
        bound = numpy.asarray(bound)
        shape = x.shape if batch else (1, *x.shape)
        try:
            fits = jnp.broadcast_shapes(bound.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits or (bound.dtype.kind not in "biuf" and not jnp.issubdtype(bound.dtype, jnp.floating)):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} has shape {bound.shape} and dtype {bound.dtype}; it must be real "
                f"and broadcast against x, which has shape {x.shape}."
            )
        rows = bound.shape[0] if bound.ndim == len(shape) else 1
        return numpy.broadcast_to(bound.astype(jax.eval_shape(as_floating, x).dtype), (rows, *shape[1:]))

    return jax.tree_util.tree_map_with_path(like_start, x0, side)


def _check_order(label: str, path: tuple, lower: Array, upper: Array) -> None:
    """Raises a ValueError where shared bounds are known and contradict each other; per problem that is a status."""
    if len(lower) == len(upper) == 1 and not isinstance(lower, Tracer) and not isinstance(upper, Tracer):
        wrong = np.argwhere(~(np.asarray(lower[0]) <= np.asarray(upper[0])))
        if len(wrong):
            where = f"{jax.tree_util.keystr(path)}{wrong[0].tolist() or ''}"
            raise ValueError(
                f"bounds{label}: lower must be at most upper; at x{where} lower is {lower[0][tuple(wrong[0])]} and "
                f"upper is {upper[0][tuple(wrong[0])]}."
            )


def _brief(value: Any) -> str:
    return f"a {type(value).__name__} of length {len(value)}" if hasattr(value, "__len__") else repr(value)
