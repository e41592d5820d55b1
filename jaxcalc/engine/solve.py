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
from jaxcalc.core.tracing import is_transformed
from jaxcalc.engine.batching import closed_over, refilling
from jaxcalc.engine.certificate import Certificate, certificates
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.implicit import differentiable
from jaxcalc.engine.lanes import Engine
from jaxcalc.engine.padding import first_rows, padded_queue
from jaxcalc.engine.problem import Options, Problem, Tolerances
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.scaling import power_of_two
from jaxcalc.engine.steps import solved_by_steps
from jaxcalc.methods.box import Box


def solve_one(fun: Callable, problem: Problem, options: Options) -> OptimizeResult:
    """Solves a queue of one problem whose x0 has no problem axis and whose args are all shared."""
    loop = compiled(_solve_one, [fun])
    if is_transformed():
        return loop(options, problem)
    problem = problem._replace(tolerances=problem.tolerances.in_one_form(1))
    result = solved_by_steps(loop, fun, problem, options, single=True)
    return loop(options, problem) if result is None else result


def solve_all(functions: Sequence[Callable], problems: Sequence[Problem], options: Options) -> list[OptimizeResult]:
    """Solves the queues of several functions, one after the other in one program; a small one step by step."""
    if not functions:
        return []
    loop = compiled(_solve_all, functions)
    if is_transformed():
        return loop(options, list(problems))
    result = solved_by_steps(loop, functions[0], problems[0], options, single=False) if len(functions) == 1 else None
    if result is None:
        results = loop(options, [padded_queue(problem) for problem in problems])
        return [first_rows(result, problem.rows) for result, problem in zip(results, problems, strict=True)]
    if options.certify:
        points = problems[0]._replace(x0=result.x)
        result = dataclasses.replace(result, certificate=_certificates_of(functions[0], points, options))
    return [result]


def solve_on_devices(fun: Callable, problem: Problem, options: Options, devices: tuple) -> OptimizeResult:
    """Solves a queue in equal parts, one on each device, whose loops are separate: no part waits for another."""
    return compiled(_solve_on_devices, [fun])((options, devices), problem)


def certify(
    fun: Callable, family: type[Family], x: Any, args: tuple, shared: tuple, box: Box, gtol: Any
) -> Certificate:
    """Returns the certificates of points, leaves (N, ...); see `certificates`."""
    problem = Problem(None, x, args, shared, box, tolerances=Tolerances(gtol))
    return _certificates_of(fun, problem, Options(family))


def _certificates_of(fun: Callable, problem: Problem, options: Options) -> Certificate:
    queue = problem if is_transformed() else padded_queue(problem)
    return first_rows(compiled(_certify, [fun])(options, queue), problem.rows)


def _solve_one(functions: Sequence[Callable], options: Options, problem: Problem) -> OptimizeResult:
    """Solves the problem in one lane; `problem.args` has no problem axis, so the lane shares it."""
    queue = problem._replace(x0=jax.tree.map(lambda leaf: leaf[None], problem.x0), args=(), shared=problem.args)
    return jax.tree.map(lambda leaf: leaf[0], _solve(functions[0], options, queue))


def _solve_all(functions: Sequence[Callable], options: Options, problems: list[Problem]) -> list[OptimizeResult]:
    return [_solve(fun, options, problem) for fun, problem in zip(functions, problems, strict=True)]


def _solve_on_devices(functions: Sequence[Callable], static: tuple, problem: Problem) -> OptimizeResult:
    options, devices = static
    own, count = jax.P("problems"), problem.rows
    specs = jax.tree.map(lambda leaf: own if leaf.ndim and len(leaf) == count > 1 else jax.P(), problem)
    specs = specs._replace(
        method=jax.tree.map(lambda leaf: jax.P(), problem.method),
        x0=jax.tree.map(lambda leaf: own, problem.x0),
        args=jax.tree.map(lambda leaf: own, problem.args),
        shared=jax.tree.map(lambda leaf: jax.P(), problem.shared),
    )
    mesh = jax.sharding.Mesh(devices, ("problems",))

    def solve(queue: Problem) -> OptimizeResult:
        return _solve(functions[0], options, queue)

    return jax.shard_map(solve, mesh=mesh, in_specs=(specs,), out_specs=own)(problem)


def _certify(functions: Sequence[Callable], options: Options, problem: Problem) -> Certificate:
    family = options.family.for_queue(options.family.prepared(functions[0]), problem, options.has_aux)
    return _certificates(family, problem, problem.x0)


def _solve(fun: Callable, options: Options, problem: Problem) -> OptimizeResult:
    """Solves a queue, with rules of its own under `jax.vmap` and under differentiation; runs while that is traced."""
    closed, problem = closed_over(options.family.prepared(fun), problem)
    own = [True] * len(problem.args) + [False] * len(problem.shared)

    def solve(own, problem):
        return _run(options.family.for_queue(closed.with_own(own), problem, options.has_aux), options, problem)

    family = options.family.for_queue(closed.with_own(own), problem, options.has_aux)
    result = differentiable(refilling(solve, own), family, options.unconverged)(problem)
    certificate = _certificates(family, problem, result.x) if options.certify else None
    return dataclasses.replace(result, certificate=certificate)


def _run(family: Family, options: Options, problem: Problem) -> OptimizeResult:
    """Solves a queue as it is, without rules of its own under transformations."""
    method = family.sized(problem.method)
    tolerances = problem.tolerances.completed(
        family.dtype, method.default_maxiter(family.n), method.most_evaluations(family.n)
    )
    queue = problem._replace(method=method, scale=power_of_two(problem.scale), tolerances=tolerances)
    if not problem.rows:
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


def _certificates(family: Family, problem: Problem, x: Any) -> Certificate:
    """Returns the certificates of points x, which are constants to JAX, as statuses are."""
    gtol = problem.tolerances.completed(family.dtype, maxiter=0, evaluations=1).gtol
    return certificates(family, *jax.lax.stop_gradient((x, problem.args, problem.shared, problem.box, gtol)))
