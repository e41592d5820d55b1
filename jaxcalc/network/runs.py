"""The runs of one optimiser, and the row of the summary that is computed from them."""

import dataclasses
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Runs:
    """All runs of one optimiser: R learning rates x S seeds, trained for E epochs.

    Attributes:
        learning_rates: The learning rates, (R,); a single NaN for a full-batch method, which has no learning rate.
        train: The cost on the training data at the start, followed for each epoch by the mean cost of its batches or,
            for a full-batch method, by the cost at the point that the method has reached, (R, S, E + 1).
        validation: The cost on the validation data at the start and after each epoch, (R, S, E + 1), or None.
        final: The cost after the last epoch on the data that chooses the learning rate, (R, S).
        diverged: Whether a run's cost was not finite, or ended above the cost at the start, (R, S).
        tests: The cost and the metrics on the test data after the last epoch, (R, S) each.
        solutions: The parameters after the last epoch, raveled to one vector for each run, (R, S, n).
        steps: The number of gradient evaluations per epoch: one for each batch, or one of all data.
        seconds: The time of all runs together, without compiling.
        compile_seconds: The time of compiling: that of the first epoch beyond the median of the others.
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
        """The number of epochs that were finished."""
        return self.train.shape[-1] - 1

    @property
    def judged(self) -> np.ndarray:
        """The losses by which optimisers are compared: `validation` or, without any, `train`, (R, S, E + 1)."""
        return self.train if self.validation is None else self.validation

    @property
    def medians(self) -> np.ndarray:
        """The median over the seeds of the final cost at each rate, (R,); that of a diverged run counts as infinite."""
        return np.median(np.where(self.diverged, np.inf, self.final), axis=1)

    @property
    def chosen(self) -> int:
        """The index of the learning rate with the lowest median; 0, the first rate, if all medians are infinite."""
        return int(np.argmin(self.medians))


class Row(NamedTuple):
    """The row of the summary for one optimiser at its chosen learning rate."""

    optimizer: str
    learning_rate: float
    at_edge: bool  # the chosen rate is the smallest or the largest of those tried: a wider range may do better
    loss: float  # final loss, median over the seeds
    lower: float  # lower quartile of the final loss over the seeds
    upper: float  # upper quartile
    tests: dict[str, float]  # medians over the seeds
    steps_to_target: float  # gradient evaluations until half of the seeds have reached the target; inf if they never do
    seconds_to_target: float  # the time of these steps, from the average time of a step of one run
    good_rates: float  # the share of rates at which the loss falls at least 90 % as far as at the chosen rate
    diverged: float  # the share of diverged runs, over all rates
    epochs: int


def row(name: str, runs: Runs, target: float) -> Row:
    """Returns the row of the summary for an optimiser; the target is a loss, for the steps and seconds to reach it."""
    k = runs.chosen
    finals = np.where(runs.diverged[k], np.inf, runs.final[k])
    reached = (runs.judged[k] <= target) & np.isfinite(target)  # (S, E + 1); False where the loss is NaN
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)
    steps = runs.steps * float(np.quantile(first, 0.5, method="lower"))
    # Falls are compared, not losses: a constant added to the cost changes no fall.
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
