"""Optimisers compared on one cost: the loop on the host over optimisers and epochs."""

import functools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from numpy.typing import ArrayLike
from tqdm import tqdm

from jaxcalc.methods.method import Method
from jaxcalc.network import door, training
from jaxcalc.network.comparison import Comparison
from jaxcalc.network.runs import Runs
from jaxcalc.optimize.door import chosen_method, whole_number
from jaxcalc.programs import compiled

# What an evaluation of a full-batch method costs in gradients, of n parameters: a Hessian is n products with it.
GRADIENTS: dict[str, Callable[[int], int]] = {
    "gradient": lambda n: 1,
    "product": lambda n: 2,
    "hessian": lambda n: 1 + n,
}


class Task(NamedTuple):
    """What all optimisers share."""

    cost: Callable
    plan: training.Plan
    epochs: int
    data: Any
    judged: Any  # the data that the choice of the learning rate rests on
    params: Any  # the starts, (S, ...)
    keys: Array  # (S,)
    rates: Array  # (R,)


class Contestant(NamedTuple):
    """An optimiser as two programs: begin() -> state, advance(state, epoch) -> (state, cost in that epoch (S, R)).

    It advances in every `period`-th epoch; in the others it saves its gradients up.
    """

    begin: Callable
    advance: Callable
    learning_rates: np.ndarray
    steps: int  # an epoch
    period: int = 1


def compare_optimizers(
    cost: Callable,
    init: Callable,
    data: Any,
    optimizers: Mapping[str, Any],
    *,
    learning_rates: ArrayLike,
    seeds: int | Sequence[int],
    epochs: int,
    batch_size: int,
    validation: Any = None,
    test: Any = None,
    metrics: Mapping[str, Callable] | None = None,
    micro_batches: int = 1,
    compute_dtype: str | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
) -> Comparison:
    """Trains with every optimiser, at every learning rate, from every seed, and compares the costs.

    All learning rates and seeds of an optimiser train side by side in one compiled program. A seed gives them all the
    same start init(key) and the same batches: every epoch shuffles the samples anew and leaves out the last incomplete
    batch. A run whose cost is not finite, or ends above where it began, is recorded as diverged and harms no other.

    The rule: each optimiser's learning rate is the one whose median over the seeds of the cost on the validation data,
    after the last epoch, is lowest (diverged runs count as infinite). Without validation data it is the cost on the
    training data, and the result says so. The test data takes no part in any choice. All have the same budget: every
    sample's gradient once an epoch. A full-batch method spends it on one evaluation an epoch, a rejected trial of its
    line search included. A product with the Hessian of n parameters counts as one gradient, the whole Hessian as n, so
    that methods with second derivatives take an evaluation every 2 or n + 1 epochs.

    A second call with the same cost, init, factories and shapes compiles nothing. Interrupted (Ctrl-C), it returns what
    it has, once there is anything.

    Args:
        cost: cost(params, batch) -> one real number, the mean over the samples of the batch; JAX-traceable.
        init: init(key) -> params, a pytree of floating arrays; JAX-traceable.
        data: The training data, a pytree of arrays with a leading sample axis N; cost sees it with B samples.
        optimizers: For each name a function learning_rate -> optax.GradientTransformation, such as `optax.adam`; or a
            method of this library, a name such as "lbfgs" or what its factory returns, which takes whole batches and
            no learning rate. Define the functions once: a lambda made anew compiles anew.
        learning_rates: The rates that every optimiser tries, positive, (R,).
        seeds: How many seeds, or a list of them, (S,).
        epochs: How often each run goes through the data, at least 1.
        batch_size: Samples in a batch, B, at most N.
        validation: Data like `data`, for the choice of the learning rates.
        test: Data like `data`, on which cost and metrics are evaluated after the last epoch.
        metrics: For each name a function metric(params, test) -> a number, such as an accuracy.
        micro_batches: In how many equal parts a batch is computed, one after the other, to save memory; full-batch
            methods take all data at once.
        compute_dtype: For example "bfloat16": cost and gradient are computed in it, on copies; parameters and
            optimiser states stay in their own dtype.
        devices: Devices over which the samples of each batch are divided; by default, and for full-batch methods, one
            device does it all.
        progress: Whether to show a line with the time left.

    Returns:
        The comparison: `summary()`, `records()`, `plot()`, `save(path)` and more.

    Raises:
        TypeError: If the cost or a metric is not one real number, a parameter is not floating, an optimiser is none, or
            its update changes the structure of the parameters or of its state. Raised, like what follows, before
            anything is compiled.
        ValueError: If lengths disagree, an option is out of range, a method with Hessians would not take a single step,
            or, with `cross_entropy`, a label is not a class.

    Example:
        >>> import jax
        >>> import optax
        >>> import jaxcalc as jc
        >>> net = jc.network.mlp([2, 4, 1], "tanh")
        >>> cost = jc.network.supervised(net.apply, jc.network.mean_squared_error)
        >>> x = jax.random.normal(jax.random.key(0), (64, 2))
        >>> comparison = jc.compare_optimizers(
        ...     cost, net.init, (x, x[:, :1] * x[:, 1:]), {"sgd": jc.sgd, "adam": optax.adam, "L-BFGS": "lbfgs"},
        ...     learning_rates=[0.001, 0.01, 0.1], seeds=2, epochs=20, batch_size=16, progress=False)
        >>> len(comparison.records()), comparison.judged_by  # 2 x 3 rates x 2 seeds and L-BFGS from 2 seeds
        (14, 'training')

    Source: F. Schneider, L. Balles and P. Hennig, DeepOBS: a deep learning optimizer benchmark suite (2019); D. Choi et
    al., On empirical comparisons of optimizers for deep learning (2019).
    """
    data, count = door.samples("data", data)
    computation = door.computation(batch_size, count, micro_batches, compute_dtype, devices)
    if metrics and test is None:
        raise ValueError("metrics are evaluated on the test data: give test=, or leave metrics out.")
    validation, test = (
        None if held is None else door.samples(name, held, data)[0]
        for name, held in (("validation", validation), ("test", test))
    )
    epochs, seeds = whole_number("epochs", epochs, 1), door.list_of_seeds(seeds)
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    params = door.start_of(init, keys[0])
    for held in (data, validation, test):
        if held is not None:
            door.require_one_number("cost", cost, params, held)
    for name, metric in (metrics or {}).items():
        door.require_one_number(f"metrics[{name!r}]", metric, params, test, jnp.number)
    judged = data if validation is None else validation
    plan = training.Plan(count // batch_size, batch_size, computation)
    rates = door.rates(learning_rates, params)
    begin = compiled(training.starts, [init])
    task = Task(cost, plan, epochs, data, judged, jax.eval_shape(lambda: begin(None, keys)), keys, rates)
    contestants = _contestants(task, optimizers)
    evaluations = {"test loss": cost, **{f"test {name}": metric for name, metric in (metrics or {}).items()}}
    task, runs = task._replace(params=begin(None, keys)), {}
    with tqdm(total=epochs * len(contestants), unit=" epochs", disable=not progress, leave=False) as line:
        try:
            for name, make in contestants.items():
                line.set_description(name)
                runs[name] = _train(task, make(task), line, {} if test is None else evaluations, test)
                if runs[name].epochs < epochs:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            if not runs:
                raise
            line.write("Interrupted: what was reached until here is kept.", file=sys.stderr)
    judged_by = "training" if validation is None else "validation"
    interrupted = [name for name in contestants if name not in runs or runs[name].epochs < epochs]
    return Comparison(runs, tuple(seeds), epochs, batch_size, judged_by, tuple(interrupted))


def _train(task: Task, contestant: Contestant, line: Any, evaluations: dict, test: Any) -> Runs:
    """Trains all runs of one optimiser, until the end or an interrupt: the epochs that it got are in the runs."""
    began = time.perf_counter()
    state = contestant.begin(task.params)
    judge = compiled(training.evaluate, [task.cost])
    costs = [np.asarray(judge(None, state[0], task.data))]
    judged = [costs[0] if task.judged is task.data else np.asarray(judge(None, state[0], task.judged))]
    seconds = [time.perf_counter() - began]
    try:
        for number in range(task.epochs):
            began = time.perf_counter()
            following, cost = state, costs[-1]
            if (number + 1) % contestant.period == 0:
                following, cost = contestant.advance(state, number)
            if task.judged is not task.data:
                judged.append(np.asarray(judge(None, following[0], task.judged)))
            costs.append(np.asarray(cost))
            state = following
            seconds.append(time.perf_counter() - began)
            line.update()
    except KeyboardInterrupt:
        pass
    final = judged[len(costs) - 1] if task.judged is not task.data else np.asarray(judge(None, state[0], task.data))
    tests = {
        name: np.asarray(compiled(training.evaluate, [metric])(None, state[0], test)).T
        for name, metric in evaluations.items()
    }
    return _runs(task, contestant, state[0], costs, judged, final, seconds, tests)


def _runs(
    task: Task, contestant: Contestant, params: Any, costs: list, judged: list, final: Any, seconds: list, tests: dict
) -> Runs:
    """Returns what the runs came to, rates first."""
    epochs = len(costs) - 1
    curve = np.stack(costs).T
    # The first epoch compiles. What it took beyond the others is that.
    steady = epochs * statistics.median(seconds[2 : epochs + 1]) if epochs > 1 else sum(seconds[1:])
    solutions = jax.vmap(jax.vmap(lambda one: ravel_pytree(one)[0]))(params)
    diverged = ~np.all(np.isfinite(curve), axis=-1) | ~np.isfinite(final.T) | ~(final.T <= judged[0].T)
    return Runs(
        learning_rates=contestant.learning_rates,
        train=curve,
        validation=None if task.judged is task.data else np.stack(judged[: epochs + 1]).T,
        final=final.T,
        diverged=diverged,
        tests=tests,
        solutions=np.swapaxes(np.asarray(solutions), 0, 1),
        steps=contestant.steps,
        seconds=steady,
        compile_seconds=max(0.0, sum(seconds) - steady),
    )


def _contestants(task: Task, optimizers: Mapping[str, Any]) -> dict[str, Callable]:
    """Returns for each optimiser what makes it a contestant of the task, all of them traced once without a start."""
    if not isinstance(optimizers, Mapping) or not optimizers:
        raise ValueError(
            f"optimizers must name at least one, as {{'adam': optax.adam}}, a function of the rate; not {optimizers!r}."
        )
    makers = {}
    for name, optimizer in optimizers.items():
        make: Callable = _full_batch if isinstance(optimizer, str | Method) else _mini_batch
        makers[name] = lambda task, make=make, optimizer=optimizer: make(task, optimizer)
        try:
            if make is _mini_batch and not callable(optimizer):
                raise TypeError(
                    "an optimizer is a function learning_rate -> GradientTransformation, such as optax.adam itself, or "
                    f"the name of a method; this is a {type(optimizer).__name__}."
                )
            contestant = makers[name](task)
            jax.eval_shape(functools.partial(_first_step, contestant), task.params)
        except Exception as error:
            error.add_note(f"This is about optimizers[{name!r}].")
            raise
    return makers


def _first_step(contestant: Contestant, params: Any) -> Any:
    return contestant.advance(contestant.begin(params), contestant.period - 1)


def _mini_batch(task: Task, factory: Callable) -> Contestant:
    begin, advance = compiled(training.begin, [factory]), compiled(training.epoch, [task.cost, factory])
    return Contestant(
        lambda params: begin(None, params, task.rates),
        lambda state, number: advance(task.plan, state, task.rates, task.keys, number, task.data),
        np.asarray(task.rates, float),
        task.plan.steps,
    )


def _full_batch(task: Task, method: Any) -> Contestant:
    n = sum(leaf.size for leaf in jax.tree.leaves(task.params)) // len(task.keys)
    method = chosen_method(method).for_size(n)
    if method.needs not in GRADIENTS:
        raise TypeError(f"a method that needs a {method.needs} of a cost cannot be compared on it.")
    period = GRADIENTS[method.needs](n)
    if period > task.epochs:
        raise ValueError(
            f"an evaluation with second derivatives in {n} parameters costs as much as {period} gradients of all data, "
            f"and the budget is {task.epochs}, one an epoch: give more epochs, or a method that takes gradients alone."
        )
    begin, advance = (compiled(run, [task.cost]) for run in (training.begin_full_batch, training.evaluation))
    computation = task.plan.computation
    return Contestant(
        lambda params: begin(computation, method, params, task.data),
        lambda state, number: advance(computation, method, state, task.data),
        np.array([np.nan]),
        1,
        period,
    )
