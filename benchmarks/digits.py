"""Ten optimisers, 8 learning rates and 8 seeds on the digits, against the same trainings one after the other."""

import importlib.util
import time
from functools import partial

from benchmarks import timing
from benchmarks.entry import Entry, Ratio, Row
from benchmarks.training_loops import TORCH_OPTIMIZERS, optax_loop, torch_loop
from jaxcalc.command import digit_comparison
from jaxcalc.network.data import digits

HAS_TORCH = importlib.util.find_spec("torch") is not None
HIDDEN, BATCH_SIZE, RATE = 32, 32, 0.01


def run(quick: bool = False) -> Entry:
    rates, epochs, repeats = (2, 1, 2) if quick else (8, 30, 5)
    split = digits()
    steps = len(split.train[1]) // BATCH_SIZE  # an epoch
    mini_batch = [name for name in digit_comparison.OPTIMIZERS if name != "L-BFGS"]
    sizes = {"hidden": (HIDDEN,), "rates": rates, "seeds": rates, "batch_size": BATCH_SIZE, "progress": False}
    reader = digit_comparison.classifier((64, HIDDEN, 10))
    contestants = {"ours": partial(digit_comparison.compare_on_images, split, epochs=epochs, **sizes)}
    if HAS_TORCH:
        common = list(TORCH_OPTIMIZERS)
        contestants["ours, those that PyTorch has"] = partial(
            digit_comparison.compare_on_images, split, optimizers=common, epochs=epochs, **sizes
        )
    for name in mini_batch:
        factory = digit_comparison.OPTIMIZERS[name]
        contestants[f"Optax, {name}"] = optax_loop(reader, factory, split, RATE, epochs, BATCH_SIZE)
        if HAS_TORCH and name in TORCH_OPTIMIZERS:
            make = TORCH_OPTIMIZERS[name]
            contestants[f"PyTorch, {name}"] = torch_loop(make, split, HIDDEN, RATE, epochs, BATCH_SIZE)
    timings, results = timing.interleaved(contestants, repeats, time.process_time)

    trainings = rates * rates
    counts = {name: trainings * epochs * steps * len(mini_batch) for name in contestants}
    counts |= {name: epochs * steps for name in contestants if not name.startswith("ours")}
    if HAS_TORCH:
        counts["ours, those that PyTorch has"] = trainings * epochs * steps * len(TORCH_OPTIMIZERS)
    rows = [Row(name, counts[name], timings[name]) for name in contestants]
    best = results["ours"].summary()[0]
    entry = Entry("digits", "steps of training a 64-32-10 network, batches of 32", rows)
    # What the loops would take for all runs: as often as the sample, a run of each optimiser.
    loops = {
        kind: trainings * sum(taken.median for name, taken in timings.items() if name.startswith(kind))
        for kind in ("Optax", "PyTorch")
    }
    entry.ratios.append(Ratio("the whole comparison, times the Optax loop", loops["Optax"] / timings["ours"].median, 8))
    if HAS_TORCH:
        ours = timings["ours, those that PyTorch has"].median
        entry.ratios.append(Ratio("the eight that PyTorch has, times its loop", loops["PyTorch"] / ours, 15))
    entry.ratios.append(Ratio("test accuracy of the tuned best", best.tests["test accuracy"], 0.97))
    entry.notes = [
        "Times are of this process on its core (see benchmarks/timing.py).",
        "ours counts the steps of the nine for batches; its time also holds L-BFGS, "
        f"{rates} runs of {epochs} evaluations.",
        f"The loops would take {loops['Optax']:.0f} s (Optax, nine optimisers) and {loops['PyTorch']:.0f} s (PyTorch, "
        f"eight) for all {trainings} runs of each, by a sample of one.",
        f"The tuned best is {best.optimizer} at {best.learning_rate:.2g}, validation loss {best.loss:.4f}.",
    ]
    return entry
