"""Checks of what a function is given and of what it returns, all while it is traced: none costs time when compiled."""

import numbers
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def as_real(x: ArrayLike | Sequence[float], name: str = "x") -> jax.Array:
    """The array of a real argument, floats as they are and everything else as the default float.

    Args:
        x: A number or array of numbers, or what `jnp.asarray` makes one of.
        name: What the caller's signature calls it.

    Returns:
        The floating array. Python numbers stay weakly typed: they take the precision of what they meet.

    Raises:
        TypeError: If x is complex.

    Example:
        >>> print(as_real([1, 2]))
        [1. 2.]
    """
    array = jnp.asarray(float(x) if isinstance(x, int) else x)
    if jnp.iscomplexobj(array):
        raise TypeError(
            f"{name} has dtype {array.dtype}, but must be real; "
            "write the function in terms of the real and the imaginary part, two real arguments"
        )
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def promoted(x):
    """Returns a pytree with its leaves as real arrays."""
    return jax.tree.map(as_real, x)


def non_negative_int(value, name: str) -> int:
    """Returns the value if it is a non-negative int."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be a non-negative int, such as 1, but is {value!r} of type {type(value).__name__}"
        )
    if value < 0:
        raise ValueError(f"{name} must be a non-negative int, such as 1, but is {value}")
    return int(value)


def _name(f: Callable) -> str:
    return getattr(f, "__name__", type(f).__name__)


def _real_output(y, f: Callable) -> jax.Array:
    array = jnp.asarray(float(y) if type(y) is int else y)  # a constant such as 3 is a function too
    if jnp.iscomplexobj(array):
        raise TypeError(
            f"{_name(f)} returned dtype {array.dtype}, but must return real numbers; "
            "differentiate its real and its imaginary part one by one"
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{_name(f)} returned dtype {array.dtype}, which has no derivative; "
            "keep the computation in floating point, or convert a constant with .astype(float)"
        )
    return array


def scalar_valued(f: Callable) -> Callable[..., jax.Array]:
    """Returns f, whose result must be one real number."""

    def scalar(*args):
        y = f(*args)
        if not jax.tree_util.all_leaves([y]):
            raise TypeError(
                f"{_name(f)} returned a {type(y).__name__}, but must return a real scalar; "
                "return one number, or use jacobian for several"
            )
        y = _real_output(y, f)
        if y.shape:
            raise TypeError(
                f"{_name(f)} returned an array of shape {y.shape} and dtype {y.dtype}, but must return a real scalar; "
                "reduce it, for example with jnp.sum, or use jacobian for all its components"
            )
        return y

    return scalar


def real_valued(F: Callable) -> Callable:
    """Returns F, whose result must be a pytree of real arrays."""

    def real(x):
        y = F(x)
        if not jax.tree.leaves(y):
            raise TypeError(f"{_name(F)} returned a {type(y).__name__} without numbers; return an array or a pytree")
        return jax.tree.map(lambda leaf: _real_output(leaf, F), y)

    return real


def field(F: Callable) -> Callable:
    """Returns F, whose result must be shaped like its argument."""
    values = real_valued(F)

    def field(x):
        y = values(x)
        _require_match(y, x, f"what {_name(F)} returned", "a vector field returns one component per variable")
        return y

    return field


def matching(v, x):
    """Returns v in the dtypes of x, which it must be shaped like."""
    v = jax.tree.map(lambda leaf: as_real(leaf, "v"), v)
    _require_match(v, x, "v", "give v one entry per entry of x, for example with jnp.broadcast_to")
    return jax.tree.map(lambda v, x: v.astype(x.dtype), v, x)


def _require_match(y, x, name: str, mend: str) -> None:
    if jax.tree.structure(y) != jax.tree.structure(x):
        found, expected = jax.tree.structure(y), jax.tree.structure(x)
        raise ValueError(f"{name} has the structure {found}, but must have that of x, {expected}; {mend}")
    for leaf, like in zip(jax.tree.leaves(y), jax.tree.leaves(x), strict=True):
        if leaf.shape != like.shape:
            raise ValueError(f"{name} has shape {leaf.shape}, but must have that of x, {like.shape}; {mend}")
