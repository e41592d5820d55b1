"""Integrals that are programs of their own, and compile once for integrands of one structure.

Outside of `jax.jit` an integral is such a program, also under `jax.grad` and `jax.vmap`. It takes the arrays that f
closes over as operands, and what it computes is known by its trace: another lambda of the same text, or f with another
array in the place of one that it closes over, compiles nothing.
"""

import collections
import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from jaxcalc.calculus.integration.definite import (
    IntegralOptions,
    Integrand,
    Slopes,
    Vary,
    definite_integrals,
    form_of_x,
    integrals_of,
    traced_integrand,
)
from jaxcalc.calculus.integration.from_host import integral_from_host
from jaxcalc.core.platform import quick_to_compile
from jaxcalc.core.programs import count_compilation, made_of, traced
from jaxcalc.core.shards import varying_axes
from jaxcalc.core.structure import structure_of
from jaxcalc.core.tracing import own_promotion, reverse_mode

# Integrands that are known by their structure, the last used last; so many are kept, with their programs.
MOST_STRUCTURES = 64
_by_structure: collections.OrderedDict[Hashable, Integrand] = collections.OrderedDict()


class ClosesOverTracer(Exception):  # noqa: N818  the caller of `standalone_integrals` catches it; users never see it
    """f closes over a tracer, so the integral can only be part of the program that is being traced."""


def standalone_integrals(
    f: Callable, options: IntegralOptions, operands: tuple[Any, ...], *, numbers: bool
) -> tuple[Any, ...]:
    """Integrates f in a program of its own; takes the operands of `definite_integrals`.

    Args:
        f: The integrand.
        options: The static options.
        operands: a, b, args, points, epsabs and epsrel.
        numbers: Whether f must not close over tracers.

    Raises:
        ClosesOverTracer: If it does all the same.
    """
    a, b, args, points, *tolerances = operands
    integrand, constants = _known(f, options, a, b, args, points)
    if numbers and any(isinstance(constant, Tracer) for constant in constants):
        raise ClosesOverTracer
    operands = (a, b, [*constants, *jax.tree.leaves(args)], points, *tolerances)
    if _hold_tracers(operands):
        return _differentiable(integrand, options, *operands)
    if a.shape == b.shape == (1,):
        return integral_from_host(integrand, options.limit, *operands)
    return _run(integrand, options, *operands)


def nested_integrals(f: Callable, options: IntegralOptions, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Integrates f in a part of the program that is being traced; takes the operands of `definite_integrals`.

    The part is a program for JAX too: where the caller's trace is evaluated at once, as by `derivative` outside of
    `jax.jit`, it compiles once.
    """
    a, b, args, points, *tolerances = operands
    with own_promotion() as callers:
        if not varying_axes(operands):
            integrand, constants = traced_integrand(callers(f), form_of_x(options, a, b, points), args)
            if not varying_axes(constants):
                leaves = [*constants, *jax.tree.leaves(args)]
                return _program(_shared(integrand), options, a.shape[-1], None, is_nested=True)(
                    a, b, leaves, points, *tolerances
                )
        return definite_integrals(callers(f), options, *operands)


def _hold_tracers(tree: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def _run(integrand: Integrand, options: IntegralOptions, *operands: Any, vary: Vary | None = None) -> tuple:
    return _program(integrand, options, operands[0].shape[-1], vary, is_nested=_hold_tracers(operands))(*operands)


_differentiable = jax.custom_jvp(_run, nondiff_argnums=(0, 1))


@functools.partial(_differentiable.defjvp, symbolic_zeros=True)
@own_promotion()
def _leibniz(integrand: Integrand, options: IntegralOptions, primals: tuple, tangents: tuple) -> tuple:
    """The rule of derivatives outside of `jax.jit`: one program integrates f and its derivatives.

    JAX allows no options of the compiler in what it differentiates itself, so the program is not differentiated.
    """
    a_dot, b_dot, leaves_dot, *_ = tangents
    floating = [jnp.issubdtype(jax.typeof(leaf).dtype, jnp.floating) for leaf in primals[2]]
    dots = [dot for dot, chosen in zip(leaves_dot, floating, strict=True) if chosen]
    known = [not isinstance(dot, SymbolicZero) for dot in (a_dot, b_dot, *dots)]
    vary = Vary(known[0], known[1], tuple(known[2:]))
    outcome, slopes = _run(integrand, options, *primals, vary=vary)
    dots = [dot for dot, chosen in zip(dots, vary.parameters, strict=True) if chosen]
    ends = [dot if chosen else None for dot, chosen in zip((a_dot, b_dot), known, strict=False)]
    value, error, status, nfev = outcome
    change = _change(status.shape, slopes, *ends, dots) if any(known) else jnp.zeros_like(value)
    zeros = tuple(zero_from_primal(part, symbolic_zeros=True) for part in (error, status, nfev))
    return outcome, (change.reshape(value.shape).astype(value.dtype), *zeros)


@functools.partial(jax.jit, static_argnums=0)
def _change(batch: tuple, slopes: Slopes, a_dot: Array | None, b_dot: Array | None, dots: list[Array]) -> Array:
    """Returns the change of all integrals, (integrals, m); their slopes have no axis where they are one."""

    def flat(dot: Array | None) -> Array | None:
        return None if dot is None else jnp.broadcast_to(dot, (*batch, dot.shape[-1])).reshape(-1, dot.shape[-1])

    each = slopes if batch else jax.tree.map(lambda leaf: leaf[None], slopes)
    return jax.vmap(lambda slopes, *ends: slopes.change(*ends, dots))(each, flat(a_dot), flat(b_dot))


def _known(f: Callable, options: IntegralOptions, a: Any, b: Any, args: tuple, points: tuple) -> tuple[Integrand, list]:
    """Returns the trace of f for arguments of this form, and the arrays that f closes over."""
    made = made_of(f)
    leaves, structure = jax.tree.flatten((a, b, args, points))
    key = (Integrand, options.scalar, structure, *map(jax.typeof, leaves), jax.config.jax_enable_x64)  # pyright: ignore
    if key in made:
        return made[key]
    with traced(f) as function:
        integrand, constants = traced_integrand(function, form_of_x(options, a, b, points), args)
    known = _shared(integrand), constants
    if known[0] is integrand:
        count_compilation(f)
    if not any(isinstance(constant, Tracer) for constant in constants):
        made[key] = known
    return known


def _shared(integrand: Integrand) -> Integrand:
    """Returns the integrand of the same structure that has been seen before, if there is one."""
    structure = structure_of(integrand.jaxpr)
    if structure is None:
        return integrand
    shared = _by_structure.setdefault((structure, integrand.start, integrand.output), integrand)
    _by_structure.move_to_end((structure, integrand.start, integrand.output))
    if len(_by_structure) > MOST_STRUCTURES:
        _by_structure.popitem(last=False)
    return shared


def _program(integrand: Integrand, options: IntegralOptions, d: int, vary: Vary | None, is_nested: bool) -> Callable:
    """Returns the program of (a, b, leaves, points, epsabs, epsrel) -> what `integrals_of` returns.

    Args:
        integrand: The trace of f, which keeps the program.
        options: The static options.
        d: The number of variables.
        vary: With respect to what the integrals are differentiated too; None for no derivatives.
        is_nested: Whether JAX transforms the program, which then can have no options of the compiler.
    """
    key = options, vary, is_nested
    if key not in integrand.programs:

        def program(*operands: Any) -> tuple:
            with own_promotion(), reverse_mode():
                return integrals_of(integrand, options, *operands, vary=vary)

        integrand.programs[key] = jax.jit(program, compiler_options=None if is_nested else _compiler_options(d))
    return integrand.programs[key]


def _compiler_options(d: int) -> dict[str, Any] | None:
    """Returns the compiler options for an integral of d variables that is a program of its own.

    In one and two variables compiling takes nearly all of the time: LLVM's optimiser saves 2 ms of 5 ms of running, and
    takes as long as all other compiling together. In three and four variables the optimised program runs three to
    twenty times faster.
    """
    return quick_to_compile() if d <= 2 else None
