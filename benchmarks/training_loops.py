"""The same trainings as they are written with Optax and with PyTorch: a Python loop around one step of one run.

Both loops slice NumPy or torch arrays by a shuffled index, which is quicker than the data loaders that their
documentation uses, average the training loss and look at the validation loss once an epoch, as this library does.
"""

from collections.abc import Callable

import jax
import numpy as np
import optax

from jaxcalc.command.digit_comparison import Classifier
from jaxcalc.network.data import Split

# PyTorch has no Lion and no L-BFGS for batches.
TORCH_OPTIMIZERS: dict[str, Callable] = {
    "sgd by hand": lambda torch, parameters, rate: torch.optim.SGD(parameters, rate),
    "Optax's sgd": lambda torch, parameters, rate: torch.optim.SGD(parameters, rate),
    "momentum": lambda torch, parameters, rate: torch.optim.SGD(parameters, rate, momentum=0.9),
    "nesterov": lambda torch, parameters, rate: torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=True),
    "adam": lambda torch, parameters, rate: torch.optim.Adam(parameters, rate),
    "adamw": lambda torch, parameters, rate: torch.optim.AdamW(parameters, rate, weight_decay=1e-4),
    "rmsprop": lambda torch, parameters, rate: torch.optim.RMSprop(parameters, rate, alpha=0.9),
    "adagrad": lambda torch, parameters, rate: torch.optim.Adagrad(parameters, rate, initial_accumulator_value=0.1),
}


def optax_loop(
    reader: Classifier, factory: Callable, split: Split, rate: float, epochs: int, batch_size: int
) -> Callable[[], float]:
    """Returns a call that trains one network, its step jitted once and for all, and gives the validation loss."""
    optimizer = factory(rate)
    images, labels = split.train

    @jax.jit
    def step(params, state, batch):
        cost, gradient = jax.value_and_grad(reader.cost)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, cost

    validate = jax.jit(reader.cost)

    def call() -> float:
        params = reader.init(jax.random.key(0))
        state, loss = optimizer.init(params), float("nan")
        for order in _orders(len(labels), epochs, batch_size):
            costs = []
            for rows in order:
                params, state, cost = step(params, state, (images[rows], labels[rows]))
                costs.append(cost)
            np.mean(jax.device_get(costs))
            loss = float(validate(params, split.validation))
        return loss

    return call


def torch_loop(
    optimizer: Callable, split: Split, hidden: int, rate: float, epochs: int, batch_size: int
) -> Callable[[], float]:
    """Returns a call that trains one network with PyTorch on one thread and gives the validation loss."""
    import torch

    torch.set_num_threads(1)
    images, labels = torch.tensor(split.train[0]), torch.tensor(split.train[1], dtype=torch.long)
    held, truth = torch.tensor(split.validation[0]), torch.tensor(split.validation[1], dtype=torch.long)
    criterion = torch.nn.CrossEntropyLoss()
    classes = int(labels.max()) + 1

    def call() -> float:
        torch.manual_seed(0)
        layers = [torch.nn.Linear(images.shape[1], hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes)]
        model, loss = torch.nn.Sequential(*layers), float("nan")
        update = optimizer(torch, model.parameters(), rate)
        for order in _orders(len(labels), epochs, batch_size):
            costs = []
            for rows in torch.from_numpy(order):
                update.zero_grad()
                cost = criterion(model(images[rows]), labels[rows])
                cost.backward()
                update.step()
                costs.append(cost.detach())
            torch.stack(costs).mean().item()
            with torch.no_grad():
                loss = criterion(model(held), truth).item()
        return loss

    return call


def _orders(count: int, epochs: int, batch_size: int):
    """Yields for each epoch the rows of its batches, without the incomplete last one."""
    random = np.random.default_rng(0)
    for _ in range(epochs):
        order = random.permutation(count)[: count // batch_size * batch_size]
        yield order.reshape(-1, batch_size)
