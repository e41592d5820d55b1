"""The runs of one optimiser, and its row in the summary."""

import dataclasses
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Runs:
    """All runs of one optimiser, R learning rates x S seeds, of E epochs.

    Attributes:
        learning_rates: (R,); one NaN for a full-batch method, which has none.
        train: The cost on the training data at the start, then the mean over the batches of each epoch (for a
            full-batch method what it had reached), (R, S, E + 1).
        validation: The cost on the validation data at the start and after each epoch, (R, S, E + 1), or None.
        final: The cost after the last epoch by which the learning rate is chosen, (R, S).
        diverged: Whether a cost was not finite, or ended above where it began, (R, S).
        tests: Cost and metrics on the test data after the last epoch, (R, S) each.
        solutions: The parameters after the last epoch, each raveled to one vector, (R, S, n).
        steps: Gradient evaluations in an epoch: its batches, or one of all data.
        seconds: What all runs together took, without compiling.
        compile_seconds: What the first epoch took beyond the others.
    """

    learning_rates: np.ndarray
    train: np.ndarray
    validation: np.ndarray | None
    final: np.ndarray
    diverged: np.ndarray
    tests: dict[str, np.ndarray]
    solutions: np.ndarray
    steps: int
    seconds: float
    compile_seconds: float

    @property
    def epochs(self) -> int:
        """The epochs that were finished."""
        return self.train.shape[-1] - 1

    @property
    def judged(self) -> np.ndarray:
        """The curve by which optimisers are compared: validation if there is any, otherwise training, (R, S, E + 1)."""
        return self.train if self.validation is None else self.validation

    @property
    def medians(self) -> np.ndarray:
        """The median final cost over the seeds at each rate, diverged runs counting as infinite, (R,)."""
        return np.median(np.where(self.diverged, np.inf, self.final), axis=1)

    @property
    def chosen(self) -> int:
        """The row of the learning rate with the lowest median; the smallest of them where all diverge."""
        return int(np.argmin(self.medians))


class Row(NamedTuple):
    """An optimiser at its chosen learning rate, in the summary."""

    optimizer: str
    learning_rate: float
    at_edge: bool  # the best of the rates tried is the smallest or the largest: a wider range may do better
    loss: float  # median over the seeds
    lower: float  # quartiles over the seeds
    upper: float
    tests: dict[str, float]  # medians over the seeds
    steps_to_target: float  # gradient evaluations by which half of the seeds have reached it; inf where fewer ever do
    seconds_to_target: float  # the same in a run's share of the time that all runs together took
    good_rates: float  # the share of learning rates at which the loss falls at least 90 % as far as at the chosen one
    diverged: float  # the share of runs, at all rates
    epochs: int


def row(name: str, runs: Runs, target: float) -> Row:
    """Returns what an optimiser came to at its chosen learning rate; the time to reach the target is counted."""
    k = runs.chosen
    finals = np.where(runs.diverged[k], np.inf, runs.final[k])
    reached = (runs.judged[k] <= target) & np.isfinite(target)  # (S, E + 1); a NaN has not reached it
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)
    steps = runs.steps * float(np.quantile(first, 0.5, method="lower"))
    # Falls, not losses, are compared: what counts as good does not depend on where a cost has its zero.
    falls = np.median(runs.judged[:, :, 0], axis=1) - runs.medians
    return Row(
        optimizer=name,
        learning_rate=float(runs.learning_rates[k]),
        at_edge=len(runs.learning_rates) > 1 and k in (0, len(runs.learning_rates) - 1),
        loss=float(runs.medians[k]),
        lower=float(np.quantile(finals, 0.25, method="lower")),
        upper=float(np.quantile(finals, 0.75, method="higher")),
        tests={metric: float(np.median(values[k])) for metric, values in runs.tests.items()},
        steps_to_target=steps,
        seconds_to_target=steps * runs.seconds / max(1, runs.steps * runs.epochs * runs.final.size),
        good_rates=float(np.mean(np.isfinite(falls) & (falls >= 0.9 * falls[k]))),
        diverged=float(runs.diverged.mean()),
        epochs=runs.epochs,
    )
