"""The checks of what the caller gave, made before anything is compiled."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from jaxcalc.network.gradients import Computation
from jaxcalc.optimize.door import arrays, whole_number


def samples(name: str, data: Any, like: Any = None) -> tuple[Any, int]:
    """Returns the data as arrays and the number of samples, the length of the leading axis of every leaf."""
    data = arrays(name, data)
    leaves = jax.tree_util.tree_leaves_with_path(data)
    lengths = {f"{name}{jax.tree_util.keystr(path)}": jnp.shape(leaf)[:1] for path, leaf in leaves}
    if not leaves or () in lengths.values() or len(set(lengths.values())) > 1:
        raise ValueError(
            f"every array of {name} needs the same number of samples on its leading axis; found {lengths}."
        )
    if like is not None:
        one, other = (jax.tree.map(lambda leaf: (leaf.shape[1:], str(leaf.dtype)), tree) for tree in (data, like))
        if one != other:
            raise ValueError(f"{name} must be made like data, up to the number of samples: {one}, but data {other}.")
    count = len(leaves[0][1])
    if count < 1:
        raise ValueError(f"{name} holds no samples.")
    return data, count


def list_of_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Returns the seeds: as they are, or the first so many."""
    listed = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not listed or len(set(listed)) < len(listed) or not 0 <= min(listed) <= max(listed) < 2**32:
        raise ValueError(
            f"seeds must be a number of at least 1, or different numbers from 0 to below 2^32; it is {seeds!r}."
        )
    return listed


def start_of(init: Callable, key: Array) -> Any:
    """Returns the form of one start; raises unless it is made of floating arrays."""
    params = jax.eval_shape(init, key)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError("init returned no parameters: a pytree without arrays.")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"init must return floating arrays, which have a gradient; its leaf {jax.tree_util.keystr(path)} has "
                f"dtype {leaf.dtype}."
            )
    return params


def require_one_number(name: str, fun: Callable, params: Any, data: Any, kind: Any = jnp.floating) -> None:
    """Raises a TypeError unless fun(params, data) is one number of this kind.

    Only the parameters are traced: a cost may look at the values of the data, as `cross_entropy` does.
    """
    value = jax.eval_shape(lambda params: fun(params, data), params)
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape or not jnp.issubdtype(value.dtype, kind):
        raise TypeError(f"{name} must return one real number, an array of shape (); it returned {value}.")


def computation(batch_size: int, count: int, micro_batches: int, compute_dtype: Any, devices: Any) -> Computation:
    """Returns how gradients are computed; raises unless batches divide as they are to be divided."""
    if whole_number("batch_size", batch_size, 1) > count:
        raise ValueError(f"batch_size is {batch_size}, but there are {count} samples: it must be at most {count}.")
    if batch_size % whole_number("micro_batches", micro_batches, 1):
        raise ValueError(f"batch_size {batch_size} does not divide into {micro_batches} micro-batches.")
    mesh = None if devices is None else Mesh(np.array(devices), ("samples",))
    if mesh is not None and (batch_size // micro_batches) % mesh.size:
        raise ValueError(
            f"{batch_size // micro_batches} samples, a batch or micro-batch, do not divide over {mesh.size} devices."
        )
    dtype = None if compute_dtype is None else jnp.dtype(compute_dtype)
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f'compute_dtype must be floating, such as "bfloat16"; it is {compute_dtype!r}.')
    return Computation(micro_batches, None if dtype is None else dtype.name, mesh)


def rates(learning_rates: ArrayLike, params: Any) -> Array:
    """Returns the rates in the parameters' dtype: a wider one would widen every step."""
    given = np.atleast_1d(np.asarray(learning_rates, float))
    if given.ndim != 1 or not given.size or not np.all(np.isfinite(given) & (given > 0)):
        raise ValueError(f"learning_rates must be positive numbers, shape (R,); they are {learning_rates!r}.")
    return jnp.asarray(given, jnp.result_type(*jax.tree.leaves(params)))
