"""Checks of the functions that the operators take: what they are given and what they return.

All checks run while JAX traces the function; compiled code holds none of them. The checks of plain arguments, such as
an order or a real number, are those of `jaxcalc.core.arguments`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcalc.calculus.whole_powers import with_whole_powers
from jaxcalc.core.arguments import as_real, function_name, is_list_of_numbers, not_one_number
from jaxcalc.core.tracing import explained

# Operators take no args.
FIXED = "Fix what else {name} takes, lambda x: {name}(x, ...), or give partial_derivative({name}, argnum) all of it."
ONE_PER_VARIABLE = "a vector field returns one component per variable"


def promoted(x: Any) -> Any:
    """Returns the pytree x with every leaf as a real floating array; integers become the default float.

    A list of numbers, nested or not, is an array, as for NumPy.
    """
    if x is None:
        raise TypeError("x must be a real number, an array or a pytree of arrays; it is None.")
    return jax.tree.map(as_real, x, is_leaf=is_list_of_numbers)


def _real_output(y, f: Callable) -> jax.Array:
    """Returns an output of f as an array; raises a TypeError unless its dtype is real and floating."""
    if isinstance(y, str) or y is None:
        raise TypeError(f"{function_name(f)} returned {y!r:.60}, but must return real numbers.")
    array = jnp.asarray(float(y) if type(y) is int else y)  # lambda x: 3 is a function with a derivative, too
    if jnp.iscomplexobj(array):
        raise TypeError(
            f"{function_name(f)} returned dtype {array.dtype}, but must return real numbers; "
            "differentiate its real and its imaginary part one by one"
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{function_name(f)} returned dtype {array.dtype}, which has no derivative; "
            "keep the computation in floating point, or convert a constant with .astype(float)"
        )
    return array


def scalar_valued(f: Callable) -> Callable[..., jax.Array]:
    """Returns f with a check: a call raises a TypeError unless f returns one real number, an array of shape ().

    Powers with constant whole exponents become integer powers, whose derivatives are exact.
    """
    values = explained(f, FIXED)

    def scalar(*args):
        y = values(*args)
        y = _real_output(y, f) if jax.tree_util.all_leaves([y]) else y
        given = not_one_number(y)
        if given is not None:
            raise TypeError(
                f"{function_name(f)} returned {given}, but must return a real scalar; "
                "reduce an array, for example with jnp.sum, or use jacobian for several numbers"
            )
        return y

    return with_whole_powers(scalar)


def real_valued(F: Callable) -> Callable:
    """Returns F with a check: a call raises a TypeError unless F returns a pytree of at least one real array.

    Powers with constant whole exponents become integer powers, whose derivatives are exact.
    """
    values = explained(F, FIXED)

    def real(x):
        y = values(x)
        if not jax.tree.leaves(y):
            raise TypeError(
                f"{function_name(F)} returned a {type(y).__name__} without numbers; return an array or a pytree"
            )
        return jax.tree.map(lambda leaf: _real_output(leaf, F), y)

    return with_whole_powers(real)


def vector_field(F: Callable) -> Callable:
    """Returns F with a check: a call raises a ValueError unless F(x) has the structure and the shapes of x."""
    values = real_valued(F)

    def field(x):
        y = values(x)
        several = isinstance(y, list | tuple) and not isinstance(x, list | tuple)
        mend = ONE_PER_VARIABLE + (": return one array, made of the components by jnp.stack([...])" if several else "")
        _require_match(y, x, f"what {function_name(F)} returned", mend)
        return y

    return field


def matching(v: Any, x: Any) -> Any:
    """Returns v in the dtypes of x; raises a ValueError unless v has the structure and the shapes of x."""
    v = jax.tree.map(lambda leaf: as_real(leaf, "v"), v, is_leaf=is_list_of_numbers)
    _require_match(v, x, "v", "give v one entry per entry of x, for example with jnp.broadcast_to")
    return jax.tree.map(lambda v, x: v.astype(x.dtype), v, x)


def _require_match(y, x, name: str, mend: str) -> None:
    if jax.tree.structure(y) != jax.tree.structure(x):
        found, expected = jax.tree.structure(y), jax.tree.structure(x)
        raise ValueError(f"{name} has the structure {found}, but must have that of x, {expected}; {mend}")
    for leaf, like in zip(jax.tree.leaves(y), jax.tree.leaves(x), strict=True):
        if leaf.shape != like.shape:
            raise ValueError(f"{name} has shape {leaf.shape}, but must have that of x, {like.shape}; {mend}")
