"""Parts of a program that are computed once, where a compiler would otherwise compute them for each of their uses."""

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata

from jaxcalc.core.platform import platform_of_trace, recomputes_cheap_operations, traced_for
from jaxcalc.core.shards import varying_axes, varying_over

P = ParamSpec("P")
T = TypeVar("T")


_are_inlined = contextvars.ContextVar("_are_inlined", default=False)


@contextlib.contextmanager
def inlined() -> Iterator[None]:
    """Traces kernels as plain functions: each costs some milliseconds to trace, more than a program run once saves."""
    before = _are_inlined.set(True)
    try:
        yield
    finally:
        _are_inlined.reset(before)


def are_inlined() -> bool:
    """Returns whether kernels are traced as plain functions: then operations count for more than the work in them."""
    return _are_inlined.get()


def kernel(fun: Callable[P, T]) -> Callable[P, T]:
    """Compiles fun as a unit whose results are computed once.

    On a CPU, XLA copies cheap operations into every fusion that uses their result: a formula for one number a lane is
    then evaluated anew for each of the n^2 entries that it scales. `lax.optimization_barrier` does not help, because it
    is removed there before operations are fused. A call that must not be inlined stays. Other compilers fuse several
    results into one kernel by themselves, so there the function is called as it is.

    Arguments may be given by name; they are all operands of the unit, so a traced number never compiles again.
    """
    signature = inspect.signature(fun)

    # `jax.jit` keeps a function's trace, and what is traced for one platform must not serve another.
    @functools.cache
    def unit(platform: str | None) -> Callable:
        @jax.jit
        @functools.wraps(fun)
        def traced(*operands):
            with set_xla_metadata(inlineable=None), traced_for(platform):
                return fun(*operands)  # pyright: ignore[reportCallIssue]

        return traced

    def call(*operands):
        with set_xla_metadata(inlineable="false"):
            return unit(platform_of_trace())(*operands)

    @functools.wraps(fun)
    def on_platform(*args: P.args, **kwargs: P.kwargs) -> T:
        if kwargs:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            if bound.kwargs:
                raise TypeError(
                    f"{fun.__name__} is a kernel, whose operands have an order: its parameters "
                    f"{', '.join(bound.kwargs)} must not be keyword-only."
                )
            args = bound.args  # pyright: ignore[reportAssignmentType]
        if _are_inlined.get():
            return fun(*args)  # pyright: ignore[reportCallIssue]
        return recomputes_cheap_operations(*args, where_so=call, elsewhere=fun)

    return on_platform


def only_where(asked: Array, compute: Callable[[], T], otherwise: T) -> T:
    """Returns what `compute` gives in the lanes that ask for it, and `otherwise` in the others.

    On a CPU nothing is computed while no lane asks. Other devices would have to tell the host first, so there all lanes
    compute in every step.

    Args:
        asked: Which lanes ask, (L,), or one answer for all of them, ().
        compute: Returns a pytree of arrays with lanes last.
        otherwise: A pytree of the same form.
    """
    otherwise = varying_over(varying_axes(asked), otherwise)

    def selected() -> T:
        return jax.tree.map(lambda new, old: jnp.where(asked, new, old), compute(), otherwise)

    def conditional() -> T:
        return jax.lax.cond(jnp.any(asked), selected, lambda: otherwise)

    return selected() if _are_inlined.get() else recomputes_cheap_operations(where_so=conditional, elsewhere=selected)
