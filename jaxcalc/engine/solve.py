"""The front of the engine, the only part of it that `optimize/` calls: problems in, results out.

Here a solve meets JAX's transformations: `custom_jvp` outside, `custom_vmap` inside, both inside the program that
`jax.jit` keeps for a function object, so that a second call runs no Python of the caller's.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.programs import compiled
from jaxcalc.core.shards import type_of_one
from jaxcalc.engine.batching import closed_over, refilling
from jaxcalc.engine.certificate import Certificate, certificates
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.implicit import differentiable
from jaxcalc.engine.lanes import Engine
from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.scaling import power_of_two
from jaxcalc.methods.box import Box


def solve_one(fun: Callable, problem: Problem, options: Options) -> OptimizeResult:
    """Solves a queue of one problem whose x0 has no problem axis and whose args are all shared."""
    return compiled(_solve_one, [fun])(options, problem)


def solve_all(functions: Sequence[Callable], problems: Sequence[Problem], options: Options) -> list[OptimizeResult]:
    """Solves the queues of several functions, one after the other in one program."""
    return compiled(_solve_all, functions)(options, list(problems)) if functions else []


def solve_on_devices(fun: Callable, problem: Problem, options: Options, devices: tuple) -> OptimizeResult:
    """Solves a queue in equal parts, one on each device, whose loops are separate: no part waits for another."""
    return compiled(_solve_on_devices, [fun])((options, devices), problem)


def certify(
    fun: Callable, family: type[Family], x: Any, args: tuple, shared: tuple, box: Box, gtol: Array | None
) -> Certificate:
    """Returns the certificates of points, leaves (N, ...); see `certificates`."""
    return compiled(_certify, [fun])(family, x, args, shared, box, gtol)


def _solve_one(functions: Sequence[Callable], options: Options, problem: Problem) -> OptimizeResult:
    """Solves the problem in one lane; `problem.args` has no problem axis, so the lane shares it."""
    queue = problem._replace(x0=jax.tree.map(lambda leaf: leaf[None], problem.x0), args=(), shared=problem.args)
    return jax.tree.map(lambda leaf: leaf[0], _solve(functions[0], options, queue))


def _solve_all(functions: Sequence[Callable], options: Options, problems: list[Problem]) -> list[OptimizeResult]:
    return [_solve(fun, options, problem) for fun, problem in zip(functions, problems, strict=True)]


def _solve_on_devices(functions: Sequence[Callable], static: tuple, problem: Problem) -> OptimizeResult:
    options, devices = static
    own, count = jax.P("problems"), problem.count
    specs = jax.tree.map(lambda leaf: own if leaf.ndim and len(leaf) == count > 1 else jax.P(), problem)
    specs = specs._replace(
        method=jax.tree.map(lambda leaf: jax.P(), problem.method),
        x0=jax.tree.map(lambda leaf: own, problem.x0),
        args=jax.tree.map(lambda leaf: own, problem.args),
        shared=jax.tree.map(lambda leaf: jax.P(), problem.shared),
    )
    mesh = jax.sharding.Mesh(devices, ("problems",))
    solve = lambda queue: _solve(functions[0], options, queue)  # noqa: E731
    return jax.shard_map(solve, mesh=mesh, in_specs=(specs,), out_specs=own)(problem)


def _certify(
    functions: Sequence[Callable], family: type[Family], x: Any, args: tuple, shared: tuple, box: Box, gtol: Any
) -> Certificate:
    shapes = type_of_one((x, args))
    return certificates(family(functions[0], shapes[0], shapes[1], shared), x, args, shared, box, gtol)


def _solve(fun: Callable, options: Options, problem: Problem) -> OptimizeResult:
    """Solves a queue, with rules of its own under `jax.vmap` and under differentiation; runs while that is traced."""
    closed, problem = closed_over(options.family.prepared(fun), problem)
    own = [True] * len(problem.args) + [False] * len(problem.shared)

    def solve(own, problem):
        return _run(options.family.for_queue(closed.with_own(own), problem, options.has_aux), options, problem)

    family = options.family.for_queue(closed.with_own(own), problem, options.has_aux)
    result = differentiable(refilling(solve, own), family, options.unconverged)(problem)
    return _certified(family, problem, result) if options.certify else result


def _run(family: Family, options: Options, problem: Problem) -> OptimizeResult:
    """Solves a queue as it is, without rules of its own under transformations."""
    method = family.sized(problem.method)
    tolerances = problem.tolerances.completed(
        family.dtype, method.default_maxiter(family.n), method.most_evaluations(family.n)
    )
    queue = problem._replace(method=method, scale=power_of_two(problem.scale), tolerances=tolerances)
    if not problem.count:
        return _no_results(Engine(family, queue, options.history))
    engine = Engine(family, queue, options.history)
    return engine.solve(options.lanes or engine.default_width())


def _no_results(engine: Engine) -> OptimizeResult:
    """Returns the results of an empty queue, of the shapes that those of a queue of one problem have."""
    problem = engine.problem
    queue = (problem.x0, problem.args, problem.box, problem.scale, problem.tolerances)

    def of_one(leaf: Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, *leaf.shape[1:]) if leaf.shape[:1] == (0,) else leaf.shape, leaf.dtype)

    def solve(queue: tuple) -> OptimizeResult:
        x0, args, box, scale, tolerances = queue
        filled = problem._replace(x0=x0, args=args, box=box, scale=scale, tolerances=tolerances)
        return engine._replace(problem=filled).solve(1)

    rows = jax.eval_shape(solve, jax.tree.map(of_one, queue))
    return jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape[1:]), leaf.dtype), rows)


def _certified(family: Family, problem: Problem, result: OptimizeResult) -> OptimizeResult:
    """Returns the result with certificates of its points, which are constants to JAX, as statuses are."""
    constants = (result.x, problem.args, problem.shared, problem.box, problem.tolerances.gtol)
    return dataclasses.replace(result, certificate=certificates(family, *jax.lax.stop_gradient(constants)))
