"""Checks of the arguments of trainings, made before anything is compiled."""

import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from jaxcalc import methods
from jaxcalc.core.arguments import (
    arrays,
    function_name,
    numpy_floats,
    require_arguments,
    require_one_number,
    whole_number,
)
from jaxcalc.core.public import did_you_mean
from jaxcalc.core.tracing import explained
from jaxcalc.network.gradients import Computation
from jaxcalc.network.training import Plan
from jaxcalc.optimize.arguments import is_of_optax
from jaxcalc.optimize.devices import as_devices


def samples(name: str, data: Any, like: Any = None) -> tuple[Any, int]:
    """Returns the data as arrays, and the number of samples: the length of the leading axis of every array.

    Args:
        name: The name of the argument in the caller's signature.
        data: A pytree of arrays with a leading sample axis.
        like: Data, already as arrays, that this data must equal in structure, shapes and dtypes, up to the number of
            samples.

    Raises:
        ValueError: If the arrays differ in their number of samples, hold none, or are not made like `like`.
    """
    data = arrays(name, data)
    leaves = jax.tree_util.tree_leaves_with_path(data)
    lengths = {f"{name}{jax.tree_util.keystr(path)}": jnp.shape(leaf)[:1] for path, leaf in leaves}
    if not leaves or () in lengths.values() or len(set(lengths.values())) > 1:
        raise ValueError(
            f"every array of {name} needs the same number of samples on its leading axis; found {lengths}."
        )
    if like is not None:
        own, expected = (jax.tree.map(lambda leaf: (leaf.shape[1:], str(leaf.dtype)), tree) for tree in (data, like))
        if own != expected:
            raise ValueError(
                f"{name} must be made like data, up to the number of samples: it has {own}, but data {expected}."
            )
    count = len(leaves[0][1])
    if count < 1:
        raise ValueError(f"{name} holds no samples.")
    return data, count


def list_of_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Returns the seeds as ints: those of a list as they are; for a number S the seeds 0, ..., S - 1."""
    if isinstance(seeds, numbers.Integral) or not np.iterable(seeds):
        return list(range(whole_number("seeds", seeds, 1)))
    given = seeds.tolist() if isinstance(seeds, np.ndarray | Array) else seeds
    listed = [whole_number(f"seeds[{k}]", seed) for k, seed in enumerate(given)]
    if not listed or len(set(listed)) < len(listed) or max(listed) >= 2**32:
        raise ValueError(
            f"seeds must be a number of at least 1, or different numbers from 0 to below 2^32; it is {seeds!r}."
        )
    return listed


def parameter_shapes(init: Callable, key: Array) -> Any:
    """Returns the shapes and dtypes of the parameters that init makes; raises unless all are floating arrays."""
    if not callable(init):
        raise TypeError(
            f"init is a function of a random key that returns parameters, not a {type(init).__name__}. For parameters "
            "that are there already, from which all seeds start, write init=lambda key: params, once."
        )
    require_arguments("init", init, "key")
    params = jax.eval_shape(explained(init), key)
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


def require_scalar_function(name: str, fun: Callable, params: Any, data: Any, kind: Any = jnp.floating) -> None:
    """Raises a TypeError unless fun(params, data) is one number of this kind.

    Only the parameters are traced: a cost may check the values of the data, as `cross_entropy` does with labels.
    """
    if not callable(fun):
        raise TypeError(f"{name} is a function of (params, batch), not a {type(fun).__name__}.")
    require_arguments(name, fun, "params", "batch")
    traced = explained(fun)
    output = jax.eval_shape(lambda params: traced(params, data), params)
    require_one_number(name, output, " Reduce over the samples of the batch with jnp.mean.", kind)


def require_factory(optimizer: Any, names: Iterable[str] = ()) -> None:
    """Raises unless this is a function learning_rate -> optax.GradientTransformation, as far as is seen.

    Args:
        optimizer: What the caller gave.
        names: What he may give as well: the names of methods.

    Raises:
        TypeError: If it is no such function.
        ValueError: If it is a name of another optimizer.
    """
    wanted = "an optimizer is a function learning_rate -> GradientTransformation, such as optax.adam itself"
    known = list(names)
    or_a_name = f", or the name of a method, {', '.join(map(repr, known))}" if known else ""
    if isinstance(optimizer, str):
        lower = optimizer.lower()
        mend = f" Write optax.{lower} for {optimizer!r}." if is_of_optax(lower) else did_you_mean(lower, known)
        raise ValueError(f"{wanted}{or_a_name}; it is {optimizer!r}.{mend}")
    if isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"{wanted}; this one has its rate already. Write optax.adam for optax.adam(1e-3), and for one with options "
            "lambda rate: optax.adam(rate, b1=0.8), once."
        )
    if not callable(optimizer):
        raise TypeError(f"{wanted}{or_a_name}; this is a {type(optimizer).__name__}.")
    if getattr(methods, function_name(optimizer), None) is optimizer:
        raise TypeError(
            f"a method of this library has no learning rate: call it, jaxcalc.methods.{function_name(optimizer)}(...), "
            "or give its name."
        )
    require_arguments("an optimizer", optimizer, "learning_rate")


def require_cost_of_data(name: str, data: Any, cost: np.ndarray) -> None:
    """Raises a ValueError where the cost at the start is NaN in every run, and the data themselves hold NaN."""
    if not np.all(np.isnan(cost)):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        bad = np.isnan(np.asarray(leaf, float)) if jnp.issubdtype(leaf.dtype, jnp.floating) else np.zeros(1, bool)
        if bad.any():
            rows = np.flatnonzero(bad.reshape(len(leaf), -1).any(axis=1))
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} holds nan, in {len(rows)} of {len(leaf)} samples (the first is "
                f"{rows[0]}), so that the cost is nan before the first step: leave these samples out."
            )


def training_plan(batch_size: int, count: int, micro_batches: int, compute_dtype: Any, devices: Any) -> Plan:
    """Returns the plan of epochs over `count` samples.

    Raises:
        TypeError: If a size is not a whole number.
        ValueError: If a batch is larger than the data, or does not divide evenly into micro-batches or over devices.
    """
    batch_size, micro_batches = (
        whole_number("batch_size", batch_size, 1),
        whole_number("micro_batches", micro_batches, 1),
    )
    if batch_size > count:
        raise ValueError(f"batch_size is {batch_size}, but there are {count} samples: it must be at most {count}.")
    if batch_size % micro_batches:
        raise ValueError(f"batch_size {batch_size} does not divide into {micro_batches} micro-batches.")
    mesh = None if devices is None else Mesh(np.array(as_devices(devices)), ("samples",))
    if mesh is not None and (batch_size // micro_batches) % mesh.size:
        raise ValueError(
            f"{batch_size // micro_batches} samples, a batch or micro-batch, do not divide over {mesh.size} devices."
        )
    dtype = None if compute_dtype is None else jnp.dtype(compute_dtype)
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f'compute_dtype must be floating, such as "bfloat16"; it is {compute_dtype!r}.')
    computation = Computation(micro_batches, None if dtype is None else dtype.name, mesh)
    return Plan(count // batch_size, batch_size, computation)


def rates(learning_rates: ArrayLike, params: Any) -> Array:
    """Returns the learning rates as an array (R,) in the parameters' dtype: a wider dtype would widen every step."""
    given = np.atleast_1d(numpy_floats(learning_rates, "learning_rates"))
    if given.ndim != 1 or not given.size or not np.all(np.isfinite(given) & (given > 0)):
        raise ValueError(f"learning_rates must be positive numbers, shape (R,); they are {learning_rates!r}.")
    return jnp.asarray(given, jnp.result_type(*jax.tree.leaves(params)))
