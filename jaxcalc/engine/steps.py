"""A small queue driven from the host: one program evaluates the user's function, another takes the step of all lanes.

    until every lane has ended:
        evaluation = evaluate(trial points)        # the user's function; compiled for each function
        lanes = advance(lanes, evaluation)         # compiled once for a method, a size and a dtype: functions share it

Compiling the loop of a method takes seconds, its step alone a fraction of one, and only once in a process. In turn each
step pays two calls of a program, some 0.1 ms, which the loop in one program does not. So the host drives a function
that is new, and the loop takes over one that comes back, or one that takes many steps.

Every problem has a lane of its own; nothing is refilled. What stands around the steps is done by NumPy, because every
small operation of JAX outside of a program is a program of its own.
"""

import contextlib
import contextvars
import dataclasses
import functools
import itertools
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.core.arguments import as_floating
from jaxcalc.core.kernels import inlined
from jaxcalc.core.platform import quick_to_compile
from jaxcalc.core.programs import is_cheap, traced
from jaxcalc.core.tracing import Traced, own_promotion, reverse_mode
from jaxcalc.core.working_set import bytes_of
from jaxcalc.engine.family.family import Family
from jaxcalc.engine.interruption import Interrupted, listening
from jaxcalc.engine.lanes import Lanes, Start, advanced, loaded
from jaxcalc.engine.latch import as_rows
from jaxcalc.engine.padding import is_at_hand
from jaxcalc.engine.problem import Options, Problem
from jaxcalc.engine.result import OptimizeResult
from jaxcalc.engine.scaling import power_of_two
from jaxcalc.engine.status import RUNNING, Status
from jaxcalc.methods.box import Box
from jaxcalc.methods.method import Method

PyTree = Any

# A queue gets the least of these numbers of lanes that holds it, so that most queues share their programs; a longer one
# gets the loop at once, as does one whose lanes hold more bytes.
WIDTHS, MOST_BYTES = (1, 16, 128, 1024), 2**23
# So many calls of a function with arguments of one form are driven from the host; then the loop is compiled. It is too
# once the steps have gone over so many bytes of state, which takes them about half as long as compiling the loop does.
CALLS, MOST_WORK = 8, 2**29
# A call that takes more steps is given to the loop, from its start.
MOST_STEPS = 2000


class Form:
    """A family without its function, as a static argument: what the step's program depends on, and no more."""

    family: Family

    def __init__(self, family: Family, like: PyTree):
        """Takes the family and the form of one problem's x."""
        self.family = family.of(None)
        leaves, structure = jax.tree.flatten((like, family.aux, family.output_type))
        self._key = (type(family), jnp.dtype(family.dtype), _kinds(leaves), structure)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Plan:
    """How the problems of one function and one form of its arguments are solved, and how often they were.

    Attributes:
        function: The function's trace, which all programs share: it runs once, whoever drives.
        form: The family without its function.
        like: The form of one problem's x.
        evaluate: (points, args, shared, scale) -> the evaluation and fun's auxiliary output; made for the first call.
        loop: The program that takes over; made by who needs it.
        calls: The calls that the host has driven.
        size: The bytes of state that a step of all lanes goes over.
        work: The bytes that all steps so far have gone over.
        is_quick: Whether the host may drive further ones.
    """

    function: Traced
    form: Form
    like: PyTree
    calls: int
    size: int
    work: int
    is_quick: bool

    def __init__(self, function: Traced, family: Family, like: PyTree, size: int):
        self.function, self.form, self.like, self.size = function, Form(family, like), like, size
        self.evaluate: Callable | None = None
        self.loop: Callable | None = None
        self.calls, self.work, self.is_quick = 0, 0, True

    @property
    def is_familiar(self) -> bool:
        """Whether calls so far have been so many, or so long, that compiling the loop pays."""
        return self.calls >= CALLS or self.work >= MOST_WORK


_loop_only: contextvars.ContextVar[bool] = contextvars.ContextVar("loop_only", default=False)
# Plans by the loop's program of a function, which lives as long as the function, and by the arguments' form.
_plans: weakref.WeakKeyDictionary[Callable, dict[Hashable, Plan]] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def loop_only() -> Iterator[None]:
    """Leaves every queue to the loop, so that results do not depend, to the last bit, on how many calls came before."""
    token = _loop_only.set(True)
    try:
        yield
    finally:
        _loop_only.reset(token)


def solved_by_steps(
    loop: Callable,
    fun: Callable,
    queue: Problem,
    options: Options,
    single: bool,
    callback: Callable[[OptimizeResult], Any] | None = None,
) -> tuple[OptimizeResult | None, Plan | None]:
    """Returns the results of a queue, or None where the loop in one program has to solve it; and the plan, if any.

    Args:
        loop: The program that otherwise solves queues of fun.
        fun: The user's function.
        queue: The problems, of arrays; of one problem without the problem axis.
        options: The options; certificates are not made here.
        single: Whether the queue is one problem, whose args are all shared.
        callback: Called with the result so far after every iteration; StopIteration ends the solve. Then, and only
            then, the host takes any number of steps, in any call.

    Raises:
        Interrupted: At Ctrl-C, with what has been solved.
    """
    if callback is None and (_loop_only.get() or options.lanes is not None):
        return None, None
    if not single and not 0 < queue.rows <= WIDTHS[-1]:
        return None, None
    plans, key = _plans.setdefault(loop, {}), _key(queue, options, single)
    plan = plans.get(key)
    if plan is not None and callback is None and (not plan.is_quick or plan.is_familiar):
        return None, plan
    if not all(map(is_at_hand, jax.tree.leaves(queue))):
        return None, None
    if plan is None:
        plan = plans[key] = _new_plan(fun, queue, options, single)
    if not plan.is_quick and callback is None:
        return None, plan
    plan.calls += callback is None
    if single:
        x0 = jax.tree.map(lambda leaf: np.asarray(leaf)[None], queue.x0)
        queue = queue._replace(x0=x0, args=(), shared=queue.args)
    return _driven(plan, queue, options, 0 if single else slice(queue.rows), callback), plan


def _key(queue: Problem, options: Options, single: bool) -> Hashable:
    """Returns what tells queues of different plans apart: of many problems the lanes, not their number."""
    own, structure = jax.tree.flatten((queue.x0, queue.args, queue.box, queue.scale, queue.shared, queue.method))
    kinds = _kinds(own)
    if not single:
        ranks = len(jax.tree.leaves((queue.x0, queue.args, queue.box, queue.scale)))
        kinds = (*((kind[0][1:], kind[1]) for kind in kinds[:ranks]), *kinds[ranks:], _width(queue.rows))
    return (options, single, structure, kinds, jax.config.jax_enable_x64)  # pyright: ignore


def _driven(
    plan: Plan, queue: Problem, options: Options, which: int | slice, callback: Callable | None
) -> OptimizeResult | None:
    """Returns the results when all lanes have ended; None if the steps become too many, but for a callback."""
    steps = itertools.islice(_steps(plan, queue, options), None if callback else MOST_STEPS)
    lanes: Lanes | None = None
    nit = 0
    try:
        with listening() as is_interrupted:
            for lanes in steps:
                plan.work += plan.size
                if is_interrupted():
                    raise KeyboardInterrupt
                if not np.any(np.asarray(lanes.result.status) == RUNNING):
                    return _result(plan, lanes, which)
                if callback is not None and (now := int(lanes.result.nit[0])) > nit:
                    nit = now
                    callback(_result(plan, lanes, which))
    except (StopIteration, KeyboardInterrupt) as end:
        if lanes is None:
            raise
        reached = _result(plan, lanes, which)
        if isinstance(end, StopIteration):
            return reached
        raise Interrupted(reached) from None
    plan.is_quick = False
    return None


def _new_plan(fun: Callable, queue: Problem, options: Options, single: bool) -> Plan:
    """Returns the plan of a function that has not been seen with these shapes; traces it once."""

    def of_one(leaf: Any) -> jax.ShapeDtypeStruct:
        weak = getattr(leaf, "weak_type", False)
        return jax.ShapeDtypeStruct(leaf.shape if single else leaf.shape[1:], leaf.dtype, weak_type=weak)

    x0, args = jax.tree.map(of_one, (queue.x0, queue.args))
    with traced(fun) as function:
        function = Traced(options.family.prepared(function), x0, args, queue.shared)
        family = options.family(function, x0, args, queue.shared, options.has_aux)
        method = family.sized(queue.method)
        lane = jax.eval_shape(lambda: method.init(jnp.zeros((family.n, 1), family.dtype), Box()))
        size = bytes_of(lane) * (1 if single else _width(queue.rows))
        plan = Plan(function, family, jax.eval_shape(as_floating, x0), size)
    plan.is_quick = single or size <= MOST_BYTES
    return plan


def _steps(plan: Plan, queue: Problem, options: Options) -> Iterator[Lanes]:
    """Yields the lanes after each step, without end."""
    family, method = plan.form.family, plan.form.family.sized(queue.method)
    start, occupied = _start(family, queue)
    with own_promotion():
        lanes = _loaded(plan.form, options.history, method, start, occupied)
        inputs = (start.args, queue.shared, lanes.scale)
        if plan.evaluate is None:
            plan.evaluate = _evaluation(plan, options, method, method.needs.points(lanes.state), *inputs)
    while True:
        with own_promotion():
            evaluation, aux = plan.evaluate(method.needs.points(lanes.state), *inputs)
            lanes = _advanced(plan.form, method, lanes, evaluation, aux)
        yield lanes


def _start(family: Family, queue: Problem) -> tuple[Start, np.ndarray]:
    """Returns the starts of a queue in lanes, as NumPy's arrays, and which lanes are occupied."""
    count = queue.rows
    lanes = _width(count)
    row = np.minimum(np.arange(lanes), count - 1)

    def of_lanes(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf[row] if len(leaf) > 1 else np.broadcast_to(leaf, (lanes, *leaf.shape[1:]))

    def on_lanes(leaf: Any) -> np.ndarray:
        return np.moveaxis(of_lanes(leaf), 0, -1)

    def flat(tree: PyTree) -> np.ndarray:
        leaves = [on_lanes(leaf).reshape(-1, lanes) for leaf in jax.tree.leaves(tree)]
        return np.concatenate(leaves).astype(family.dtype)

    sides = (None if side is None else flat(side) for side in queue.box)
    scale = None if queue.scale is None else flat(queue.scale)
    args = jax.tree.map(of_lanes if family.args_lead else on_lanes, queue.args)
    tolerances = queue.tolerances.in_one_form(lanes)
    return Start(np.arange(lanes), flat(queue.x0), args, Box(*sides), scale, tolerances), np.arange(lanes) < count


def _width(count: int) -> int:
    return next(width for width in WIDTHS if width >= count)


def _result(plan: Plan, lanes: Lanes, which: int | slice) -> OptimizeResult:
    """Returns the results of these lanes as rows; problems that have not ended are INTERRUPTED."""
    held = jax.tree.map(np.asarray, (lanes.result, lanes.scale, lanes.unit))
    status = np.where(held[0].status == RUNNING, Status.INTERRUPTED, held[0].status)
    held = (dataclasses.replace(held[0], status=status.astype(np.int32)), *held[1:])

    def in_form(flat: np.ndarray) -> PyTree:
        leaves, structure = jax.tree.flatten(plan.like)
        parts = np.split(flat, np.cumsum([leaf.size for leaf in leaves])[:-1])
        rows = [part.T.reshape(-1, *leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, rows)

    rows = as_rows(in_form, *held)
    return jax.device_put(jax.tree.map(lambda leaf: leaf[which], rows))


def _kinds(leaves: Any) -> tuple:
    """Returns what tells arrays of different programs apart; numbers of Python, as methods hold them, are all alike."""
    return tuple((leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else type(leaf) for leaf in leaves)


# The programs.


def _evaluation(plan: Plan, options: Options, method: Method, *operands: Any) -> Callable:
    """Returns the program that evaluates the function, compiled quickly where it has few operations."""
    function, family, like, needs = plan.function, plan.form.family, plan.like, method.needs

    def evaluate(points: tuple, args: PyTree, shared: tuple, scale: Array | None) -> tuple:
        with own_promotion(), reverse_mode():
            return family.of(function, like, options.has_aux).evaluate_at(needs, points, args, shared, scale)

    quick = jax.jit(evaluate, compiler_options=quick_to_compile())
    return quick if is_cheap(quick.lower(*operands)) else jax.jit(evaluate)


def _loaded(form: Form, history: int, method: Method, start: Start, occupied: np.ndarray) -> Lanes:
    """Returns lanes that are about to evaluate these starts, without the arguments of fun."""
    start = start._replace(args=None)
    return _step_programs()[0](form, history, method, start, occupied)


def _advanced(form: Form, method: Method, lanes: Lanes, evaluation: Any, aux: PyTree) -> Lanes:
    return _step_programs()[1](form, method, lanes, evaluation, aux)


@functools.cache
def _step_programs() -> tuple[Callable, Callable]:
    """Returns the programs that load lanes and take a step, which know nothing of the user's function."""

    def load(form: Form, history: int, method: Method, start: Start, occupied: Array) -> Lanes:
        family = form.family
        limits = method.default_maxiter(family.n), method.most_evaluations(family.n)
        completed = start.tolerances.completed(family.dtype, *limits)
        start = start._replace(scale=power_of_two(start.scale), tolerances=completed)
        with inlined():
            return loaded(family, method, start, occupied, history)

    def step(form: Form, method: Method, lanes: Lanes, evaluation: Any, aux: PyTree) -> Lanes:
        with inlined():
            return advanced(form.family, method, lanes, evaluation, aux)

    options = quick_to_compile()
    return (
        jax.jit(load, static_argnums=(0, 1), compiler_options=options),
        jax.jit(step, static_argnums=0, compiler_options=options),
    )
