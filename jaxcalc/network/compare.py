"""`compare_optimizers`: checks, then a Python loop over optimisers and epochs around compiled programs."""

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

from jaxcalc.core.arguments import called_as, whole_number
from jaxcalc.core.programs import compiled
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.methods.method import Method
from jaxcalc.network import arguments, training
from jaxcalc.network.comparison import Comparison
from jaxcalc.network.runs import Runs
from jaxcalc.optimize.arguments import chosen_method


class Task(NamedTuple):
    """The training problem that all optimisers share: cost, data, starts, learning rates and budget."""

    cost: Callable
    plan: training.Plan
    epochs: int
    data: Any  # training data
    selection: Any  # the data whose cost chooses the learning rate: the validation data or, without any, `data`
    params: Any  # parameters at the start, one per seed: leaves (S, ...)
    keys: Array  # random keys of the seeds, (S,)
    rates: Array  # learning rates, (R,)


class Contestant(NamedTuple):
    """An optimiser as two programs that train all its runs side by side.

    begin(params) -> state; advance(state, epoch) -> (state, cost of that epoch (S, R)). A state is a pair (parameters,
    memory of the optimiser). `advance` is called in every `period`-th epoch: an evaluation that costs as much as
    `period` gradients of all data uses up the budget of `period` epochs.
    """

    begin: Callable
    advance: Callable
    learning_rates: np.ndarray  # (R,)
    steps: int  # gradient evaluations per epoch
    period: int = 1


@called_as(
    "compare_optimizers(cost, init, data, optimizers, learning_rates=, seeds=, epochs=, batch_size=)",
    2,
    **dict.fromkeys(("lr", "lrs", "learning_rate", "rates"), "write learning_rates=, all that are to be tried"),
    **dict.fromkeys(("seed", "n_seeds", "num_seeds", "key", "keys", "rng"), "write seeds=, a number of them or a list"),
    **dict.fromkeys(("steps", "num_steps", "n_epochs", "num_epochs", "maxiter"), "write epochs="),
    **dict.fromkeys(("val", "validation_data", "val_data", "validation_split"), "write validation=, data like data"),
    **dict.fromkeys(("params", "model", "x0"), "write init=, a function of a random key that returns parameters"),
    **dict.fromkeys(("loss", "loss_fn", "fun"), "write cost=, a function of (params, batch)"),
    **dict.fromkeys(("verbose", "disp"), "write progress="),
    **dict.fromkeys(("optimizer", "optims"), "write optimizers=, a dict such as {'adam': optax.adam}"),
)
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
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    micro_batches: int = 1,
    compute_dtype: str | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
) -> Comparison:
    """Trains with every optimiser, at every learning rate, from every seed, and compares the costs.

    All learning rates and seeds of an optimiser train side by side in one compiled program. All runs of a seed, of all
    optimisers, begin at the same parameters init(key) and see the same batches: every epoch shuffles the samples anew
    and leaves out the last incomplete batch. A run has diverged if its cost was not finite, or ended above the cost at
    its start; a diverged run is recorded as such and affects no other run.

    Choice of the learning rate: each optimiser gets the rate at which the cost on the validation data after the last
    epoch, as the median over the seeds, is lowest (the cost of a diverged run counts as infinite). Without validation
    data the cost on the training data chooses, and the result says so. The test data takes no part in any choice.

    Budget: all optimisers may compute the gradient of every sample once per epoch. A full-batch method spends this
    budget on one evaluation per epoch, also where its line search rejects the trial. A product with the Hessian of n
    parameters counts as one gradient and the whole Hessian as n, so that methods with second derivatives take one
    evaluation every 2 or n + 1 epochs.

    A second call with the same cost, init, factories and shapes compiles nothing. An interrupt (Ctrl-C) ends the
    training, and the call returns the comparison of the epochs so far, unless no optimiser has begun to train.

    Args:
        cost: cost(params, batch) -> one real number, the mean over the samples of the batch; JAX-traceable.
        init: init(key) -> params, a pytree of floating arrays; JAX-traceable.
        data: The training data, a pytree of arrays with a leading sample axis of length N. Cost sees batches of it,
            with B samples.
        optimizers: For each name a function learning_rate -> optax.GradientTransformation, such as `optax.adam`; or a
            full-batch method of this library, by its name such as "lbfgs" or as its factory returns it, which has no
            learning rate. Define the functions once: every new lambda compiles anew.
        learning_rates: The rates that every optimiser tries, positive, (R,).
        seeds: The number of seeds, S, or a list of seeds, (S,).
        epochs: The number of passes of each run through the data, at least 1.
        batch_size: The number of samples in a batch, B, at most N.
        validation: Data like `data`, for the choice of the learning rates.
        test: Data like `data`, on which cost and metrics are evaluated after the last epoch.
        metrics: For each name a function metric(params, test) -> a number, such as an accuracy.
        micro_batches: The number of equal parts into which a batch is split. The gradients of the parts are computed
            one after the other, to save memory. Full-batch methods take all data at once.
        compute_dtype: A floating dtype such as "bfloat16". Cost and gradient are computed in this dtype, on copies;
            parameters and optimiser states keep their own dtypes.
        devices: Devices over which the samples of each batch are divided. By default one device computes whole
            batches; full-batch methods always run on one device.
        progress: Whether to show a progress line with the time left.

    Returns:
        The comparison, with `summary()`, `records()`, `plot()`, `save(path)` and more.

    Raises:
        TypeError: If the cost or a metric does not return one real number, a parameter is not floating, an entry of
            `optimizers` is no optimiser, or an update changes the structure of the parameters or of the optimiser's
            state. This and the next error are raised before anything is compiled.
        ValueError: If lengths disagree, an option is out of range, the budget does not suffice for a single step of a
            method with second derivatives, the data hold NaN that makes every cost NaN, or, with `cross_entropy`, a
            label is not a class.

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
    data, count = arguments.samples("data", data)
    plan = arguments.training_plan(batch_size, count, micro_batches, compute_dtype, devices)
    if metrics and test is None:
        raise ValueError("metrics are evaluated on the test data: give test=, or leave metrics out.")
    validation, test = (
        None if held is None else arguments.samples(name, held, data)[0]
        for name, held in (("validation", validation), ("test", test))
    )
    epochs, seeds = whole_number("epochs", epochs, 1), arguments.list_of_seeds(seeds)
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    params = arguments.parameter_shapes(init, keys[0])
    for held in (data, validation, test):
        if held is not None:
            arguments.require_scalar_function("cost", cost, params, held)
    for name, metric in (metrics or {}).items():
        arguments.require_scalar_function(f"metrics[{name!r}]", metric, params, test, jnp.number)
    rates = arguments.rates(learning_rates, params)
    selection = data if validation is None else validation
    begin = compiled(training.starts, [init])
    task = Task(cost, plan, epochs, data, selection, jax.eval_shape(lambda: begin(None, keys)), keys, rates)
    contestants = _contestants(task, optimizers)
    evaluations = {"test loss": cost, **{f"test {name}": metric for name, metric in (metrics or {}).items()}}
    task = task._replace(params=begin(None, keys))
    runs = _train_all(task, contestants, {} if test is None else evaluations, test, progress)
    judged_by = "training" if validation is None else "validation"
    interrupted = [name for name in contestants if name not in runs or runs[name].epochs < epochs]
    return Comparison(runs, tuple(seeds), epochs, plan.batch_size, judged_by, tuple(interrupted))


def _train_all(
    task: Task, contestants: dict[str, Callable], evaluations: dict, test: Any, progress: bool
) -> dict[str, Runs]:
    """Trains the optimisers one after the other; after an interrupt it returns the runs of those that have begun."""
    runs = {}
    with tqdm(total=task.epochs * len(contestants), unit=" epochs", disable=not progress, leave=False) as line:
        try:
            for name, make in contestants.items():
                line.set_description(name)
                runs[name] = _train(task, make(task), line, evaluations, test)
                if runs[name].epochs < task.epochs:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            if not runs:
                raise
            line.write("Interrupted: the epochs trained so far are kept.", file=sys.stderr)
    return runs


def _train(task: Task, contestant: Contestant, line: Any, evaluations: dict, test: Any) -> Runs:
    """Trains all runs of one optimiser; after an interrupt it returns the epochs that were finished."""
    began = time.perf_counter()
    state = contestant.begin(task.params)
    evaluate = compiled(training.evaluate, [task.cost])
    costs = [np.asarray(evaluate(None, state[0], task.data))]
    selection = [costs[0] if task.selection is task.data else np.asarray(evaluate(None, state[0], task.selection))]
    for kind, held, cost in (("data", task.data, costs[0]), ("validation", task.selection, selection[0])):
        arguments.require_cost_of_data(kind, held, cost)
    seconds = [time.perf_counter() - began]
    try:
        for number in range(task.epochs):
            began = time.perf_counter()
            following, cost = state, costs[-1]
            if (number + 1) % contestant.period == 0:
                following, cost = contestant.advance(state, number)
            if task.selection is not task.data:
                selection.append(np.asarray(evaluate(None, following[0], task.selection)))
            costs.append(np.asarray(cost))
            state = following
            seconds.append(time.perf_counter() - began)
            line.update()
    except KeyboardInterrupt:
        pass
    if task.selection is task.data:
        final = np.asarray(evaluate(None, state[0], task.data))  # the curve holds the means over batches
    else:
        final = selection[len(costs) - 1]
    tests = {
        name: np.asarray(compiled(training.evaluate, [metric])(None, state[0], test)).T
        for name, metric in evaluations.items()
    }
    return _runs(task, contestant, state[0], costs, selection, final, seconds, tests)


def _runs(
    task: Task,
    contestant: Contestant,
    params: Any,
    costs: list,
    selection: list,
    final: Any,
    seconds: list,
    tests: dict,
) -> Runs:
    """Returns the runs of one optimiser, with the learning rates as the first axis and the seeds as the second.

    Args:
        task: What was trained.
        contestant: The optimiser.
        params: The parameters after the last epoch, leaves (S, R, ...).
        costs: The cost on the training data at the start and the cost of each epoch, arrays (S, R).
        selection: The cost on the selection data at the start and, if these are validation data, after each epoch;
            one entry longer than `costs` where an interrupt came between the two.
        final: The cost on the selection data after the last epoch, (S, R).
        seconds: The time for the start and for each epoch.
        tests: Cost and metrics on the test data, (R, S) each.
    """
    epochs = len(costs) - 1
    curve = np.stack(costs).T
    # The first epoch compiles; its time beyond the median of the later epochs counts as compiling.
    steady = epochs * statistics.median(seconds[2 : epochs + 1]) if epochs > 1 else sum(seconds[1:])
    solutions = jax.vmap(jax.vmap(lambda one: ravel_pytree(one)[0]))(params)
    diverged = ~np.all(np.isfinite(curve), axis=-1) | ~np.isfinite(final.T) | ~(final.T <= selection[0].T)
    return Runs(
        learning_rates=contestant.learning_rates,
        train=curve,
        validation=None if task.selection is task.data else np.stack(selection[: epochs + 1]).T,
        final=final.T,
        diverged=diverged,
        tests=tests,
        solutions=np.swapaxes(np.asarray(solutions), 0, 1),
        steps=contestant.steps,
        seconds=steady,
        compile_seconds=max(0.0, sum(seconds) - steady),
    )


def _contestants(task: Task, optimizers: Mapping[str, Any]) -> dict[str, Callable]:
    """Returns for each name a function task -> Contestant, after a trial that traces one step of each optimiser.

    The trial raises the errors of all optimisers before the first of them compiles or trains.
    """
    if not isinstance(optimizers, Mapping) or not optimizers:
        raise ValueError(
            f"optimizers must name at least one, as {{'adam': optax.adam}}, a function of the rate; not {optimizers!r}."
        )
    makers = {}
    for name, optimizer in optimizers.items():
        is_method = isinstance(optimizer, Method) or (isinstance(optimizer, str) and optimizer in Scalar.methods)
        make: Callable = _full_batch if is_method else _mini_batch
        makers[name] = lambda task, make=make, optimizer=optimizer: make(task, optimizer)
        try:
            if make is _mini_batch:
                arguments.require_factory(optimizer, Scalar.methods)
            contestant = makers[name](task)
            jax.eval_shape(functools.partial(_first_step, contestant), task.params)
        except Exception as error:
            error.add_note(f"This is about optimizers[{name!r}].")
            raise
    return makers


def _first_step(contestant: Contestant, params: Any) -> Any:
    """Returns the state and cost after the first epoch in which the optimiser advances."""
    return contestant.advance(contestant.begin(params), contestant.period - 1)


def _mini_batch(task: Task, factory: Callable) -> Contestant:
    """Returns the contestant of an optimiser of Optax, factory(rate)."""
    begin, advance = compiled(training.begin, [factory]), compiled(training.epoch, [task.cost, factory])
    return Contestant(
        lambda params: begin(None, params, task.rates),
        lambda state, number: advance(task.plan, state, task.rates, task.keys, number, task.data),
        np.asarray(task.rates, float),
        task.plan.steps,
    )


def _full_batch(task: Task, method: Any) -> Contestant:
    """Returns the contestant of a method of this library, which evaluates all data at once."""
    n = sum(leaf.size for leaf in jax.tree.leaves(task.params)) // len(task.keys)
    method = chosen_method(method).for_size(n)
    period = method.needs.cost(n)
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
