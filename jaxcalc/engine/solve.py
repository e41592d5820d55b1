"""The front of the engine, the only part of it that `optimize/` calls: problems in, results out.

Here a solve meets JAX's transformations: `custom_jvp` outside, `custom_vmap` inside, both inside the program that
`jax.jit` keeps for a function object, so that a second call runs no Python of the caller's.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcalc.core.platform import only_platform, traced_for
from jaxcalc.core.programs import compiled, compiled_by_cost
from jaxcalc.core.tracing import Traced, is_transformed, own_promotion, reverse_mode
from jaxcalc.engine.batching import closed_over, refilling
from jaxcalc.engine.certificate import Certificate, certificates
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.implicit import differentiable
from jaxcalc.engine.interruption import Interrupted
from jaxcalc.engine.lanes import Engine
from jaxcalc.engine.padding import first_rows, padded_queue
from jaxcalc.engine.problem import Options, Problem, Tolerances
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.spans import loop_options, solved_in_spans
from jaxcalc.engine.steps import solved_by_steps
from jaxcalc.engine.tangents import differentiable_in_reverse
from jaxcalc.methods.box import Box

# Certificates of more points are worth all of the compiler's optimisations.
FEW_POINTS = 1024


def solve_one(
    fun: Callable, problem: Problem, options: Options, callback: Callable[[OptimizeResult], Any] | None = None
) -> OptimizeResult:
    """Solves a queue of one problem whose x0 has no problem axis and whose args are all shared.

    The callback, see `solved_by_steps`, is for calls outside of transformations.
    """
    if is_transformed():
        if callback is not None:
            raise TypeError(
                "callback is called on the host after every iteration, which a traced program cannot do: leave it out "
                "under jax.jit, jax.vmap and jax.grad, or ask for the last values by history=."
            )
        with differentiable_in_reverse():
            return compiled(_solve_one, [fun])(options, problem)
    loop = compiled(_solve_one, [fun], compiler_options=loop_options(problem.method))
    problem = problem._replace(tolerances=problem.tolerances.in_one_form(1))
    result, plan = solved_by_steps(loop, fun, problem, options, single=True, callback=callback)
    if result is not None:
        return result
    if plan is None:
        return loop(options, problem)
    if not plan.is_quick:  # a long way, on which Ctrl-C is to be heard
        try:
            rows = solved_in_spans(plan.function, _queue_of_one(problem), 1, options, progress=False)
        except Interrupted as end:
            raise Interrupted(_first_row(end.result)) from None
        if rows is not None:
            return _first_row(rows)
    if plan.loop is None:
        plan.loop = jax.jit(_of_trace(plan.function, options), compiler_options=loop_options(problem.method))
    return plan.loop(problem)


def solve_all(
    functions: Sequence[Callable[..., Any]], problems: Sequence[Problem], options: Options, progress: bool = False
) -> list[OptimizeResult]:
    """Solves the queues of several functions, one after the other in one program.

    The queue of one function is solved step by step where it is small and new, and in spans otherwise; then `progress`
    shows how far it is.
    """
    if not functions:
        return []
    if is_transformed() or len(functions) > 1:
        loop = compiled(_solve_all, functions)
        if is_transformed():
            with differentiable_in_reverse():
                return loop(options, list(problems))
        results = loop(options, [padded_queue(problem) for problem in problems])
        return [first_rows(result, problem.rows) for result, problem in zip(results, problems, strict=True)]
    (fun,), (problem,) = functions, problems
    return [_solve_queue(fun, problem, options, progress)]


def _solve_queue(fun: Callable, problem: Problem, options: Options, progress: bool) -> OptimizeResult:
    """Solves a queue outside of all transformations."""
    loop, result, plan = compiled(_solve_all, [fun]), None, None
    if not progress and options.starts == 1:
        result, plan = solved_by_steps(loop, fun, problem, options, single=False)
    if result is None and problem.rows:
        function = fun if plan is None else plan.function
        result = solved_in_spans(function, padded_queue(problem, options.starts), problem.rows, options, progress)
    if result is None:
        return loop(
            options, [problem._replace(tolerances=problem.tolerances.in_one_form(problem.rows // options.starts))]
        )[0]
    if not options.certify:
        return result
    return dataclasses.replace(result, certificate=_certificates_of(fun, problem._replace(x0=result.x), options))


def solve_on_devices(fun: Callable, problem: Problem, options: Options, devices: tuple[Any, ...]) -> OptimizeResult:
    """Solves a queue in equal parts, one on each device, whose loops are separate: no part waits for another."""
    return compiled(_solve_on_devices, [fun])((options, devices), problem)


def certify(
    fun: Callable,
    family: type[Family],
    x: Any,
    args: tuple[Any, ...],
    shared: tuple[Any, ...],
    box: Box,
    gtol: Any,
) -> Certificate:
    """Returns the certificates of points, leaves (N, ...); see `certificates`."""
    problem = Problem(None, x, args, shared, box, tolerances=Tolerances(gtol))
    return _certificates_of(fun, problem, Options(family))


def _certificates_of(fun: Callable, problem: Problem, options: Options) -> Certificate:
    if is_transformed():
        return compiled(_certify, [fun])(options, problem)
    certify = compiled if problem.rows > FEW_POINTS else compiled_by_cost
    return first_rows(certify(_certify, [fun])(options, padded_queue(problem)), problem.rows)


def _of_trace(function: Traced, options: Options) -> Callable[[Problem], OptimizeResult]:
    def solve(problem: Problem) -> OptimizeResult:
        with own_promotion(), reverse_mode(), traced_for(only_platform()):
            return _solve_one([function], options, problem)

    return solve


def _solve_one(functions: Sequence[Callable], options: Options, problem: Problem) -> OptimizeResult:
    """Solves the problem in one lane; `problem.args` has no problem axis, so the lane shares it."""
    return _first_row(_solve(functions[0], options, _queue_of_one(problem)))


def _first_row(rows: OptimizeResult) -> OptimizeResult:
    return jax.tree.map(lambda leaf: leaf[0], rows)


def _queue_of_one(problem: Problem) -> Problem:
    return problem._replace(x0=jax.tree.map(lambda leaf: leaf[None], problem.x0), args=(), shared=problem.args)


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
    own = (True,) * len(problem.args) + (False,) * len(problem.shared)

    # The rules of `custom_jvp` and `custom_vmap` call it again with the same shapes, and find its trace.
    @functools.partial(jax.jit, static_argnums=0, inline=True)
    def solve(own, problem):
        return _run(options.family.for_queue(closed.with_own(own), problem, options.has_aux), options, problem)

    family = options.family.for_queue(closed.with_own(own), problem, options.has_aux)
    result = differentiable(refilling(solve, own), family, options.unconverged)(problem)
    certificate = _certificates(family, problem, result.x) if options.certify else None
    return dataclasses.replace(result, certificate=certificate)


def _run(family: Family, options: Options, problem: Problem) -> OptimizeResult:
    """Solves a queue as it is, without rules of its own under transformations."""
    engine = Engine.of(family, problem, options.history, options.starts)
    return engine.solve(options.lanes or engine.default_width()) if problem.rows else _no_results(engine)


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
