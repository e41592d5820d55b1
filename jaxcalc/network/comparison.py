"""`Comparison`, the result of `compare_optimizers`: its records, summary, pictures and files."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxcalc.network import pictures, table
from jaxcalc.network.runs import Row, Runs, row

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of `compare_optimizers`.

    Attributes:
        runs: The `Runs` of each optimiser, by its name.
        seeds: The seeds, (S,).
        epochs: The number of epochs asked for; after an interrupt an optimiser may have fewer.
        batch_size: The number of samples in a batch.
        judged_by: "validation" or "training": the data whose cost chooses the learning rates.
        interrupted: The names of the optimisers that did not finish their epochs because of an interrupt.
    """

    runs: dict[str, Runs]
    seeds: tuple[int, ...]
    epochs: int
    batch_size: int
    judged_by: str
    interrupted: tuple[str, ...] = ()

    @property
    def target(self) -> float:
        """The median over the optimisers of their loss at the chosen learning rate: at least half of them reach it."""
        return float(np.median([runs.medians[runs.chosen] for runs in self.runs.values()]))

    def summary(self, target: float | None = None) -> list[Row]:
        """Returns one row for each optimiser at its chosen learning rate, in the order of increasing loss.

        Args:
            target: The loss for which the steps and the time to reach it are reported; by default `self.target`.
        """
        target = self.target if target is None else target
        rows = [row(name, runs, target) for name, runs in self.runs.items()]
        return sorted(rows, key=lambda row: (row.loss, row.optimizer))

    def records(self) -> list[dict[str, Any]]:
        """Returns one record for each run: optimizer, learning_rate, seed, chosen, losses, tests, diverged."""
        return [
            {
                "optimizer": name,
                "learning_rate": float(rate),
                "seed": seed,
                "chosen": k == runs.chosen,
                "train_loss": float(runs.train[k, s, -1]),
                f"{self.judged_by}_loss_at_end": float(runs.final[k, s]),
                **{metric.replace(" ", "_"): float(values[k, s]) for metric, values in runs.tests.items()},
                "diverged": bool(runs.diverged[k, s]),
                "epochs": runs.epochs,
            }
            for name, runs in self.runs.items()
            for k, rate in enumerate(runs.learning_rates)
            for s, seed in enumerate(self.seeds)
        ]

    def curves(self) -> list[dict[str, Any]]:
        """Returns one record for each run and epoch: optimizer, learning_rate, seed, epoch and losses."""
        return [
            {
                "optimizer": name,
                "learning_rate": float(rate),
                "seed": seed,
                "epoch": epoch,
                "train_loss": float(runs.train[k, s, epoch]),
                **({} if runs.validation is None else {"validation_loss": float(runs.validation[k, s, epoch])}),
            }
            for name, runs in self.runs.items()
            for k, rate in enumerate(runs.learning_rates)
            for s, seed in enumerate(self.seeds)
            for epoch in range(runs.epochs + 1)
        ]

    def to_pandas(self, curves: bool = False) -> "pandas.DataFrame":
        """Returns the records, or the curves, as a pandas DataFrame; pandas is an optional package.

        Args:
            curves: Whether the table has one row for each run and epoch, as `curves()`, or one for each run.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas. records() does without.") from error
        return pandas.DataFrame(self.curves() if curves else self.records())

    def solution(self, optimizer: str, seed: int, like: Any) -> Any:
        """Returns the parameters after the last epoch of the run of a seed at the chosen learning rate.

        Args:
            optimizer: The name of the optimiser.
            seed: One of `self.seeds`.
            like: Parameters in the same pytree, such as init(key).

        Raises:
            ValueError: If `like` has another number of parameters than the runs.
        """
        runs = self.runs[optimizer]
        flat, unravel = ravel_pytree(like)
        reached = runs.solutions[runs.chosen, self.seeds.index(seed)]
        if flat.shape != reached.shape:
            raise ValueError(f"like has {flat.size} parameters, but the runs have {reached.size}.")
        return unravel(jax.numpy.asarray(reached, flat.dtype))

    def plot(self) -> "Figure":
        """Draws the loss of each optimiser against the epoch, at its chosen rate, and its final loss against the rate.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return pictures.comparison(self.runs, self.judged_by)

    def save(self, path: str | Path) -> None:
        """Writes the comparison to one file in NumPy's format .npz."""
        arrays, facts = {}, []
        for k, (name, runs) in enumerate(self.runs.items()):
            fields = {key: value for key, value in vars(runs).items() if isinstance(value, np.ndarray)}
            fields |= {f"tests/{metric}": value for metric, value in runs.tests.items()}
            arrays |= {f"{k}/{key}": value for key, value in fields.items()}
            numbers = {"steps": runs.steps, "seconds": runs.seconds, "compile_seconds": runs.compile_seconds}
            facts.append({"name": name, "tests": list(runs.tests), **numbers})
        shared = {
            "seeds": self.seeds,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "judged_by": self.judged_by,
            "interrupted": self.interrupted,
        }
        with open(path, "wb") as file:  # to a path, NumPy would append .npz
            np.savez_compressed(file, facts=np.array(json.dumps({"optimizers": facts, **shared})), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Comparison":
        """Reads a comparison from a file that `save` has written."""
        with np.load(path) as file:
            facts = json.loads(str(file["facts"]))
            runs = {}
            for k, own in enumerate(facts["optimizers"]):
                name = own.pop("name")
                own["tests"] = {metric: file[f"{k}/tests/{metric}"] for metric in own["tests"]}
                names = ("learning_rates", "train", "final", "diverged", "solutions")
                own |= {key: file[f"{k}/{key}"] for key in names}
                own["validation"] = file.get(f"{k}/validation")
                runs[name] = Runs(**own)
        shared = {key: facts[key] for key in ("epochs", "batch_size", "judged_by")}
        return cls(runs, tuple(facts["seeds"]), **shared, interrupted=tuple(facts["interrupted"]))

    def table(self, target: float | None = None) -> tuple[list[str], list[list[str]]]:
        """Returns the summary as text: the heads of the columns, and a list of cells for each optimiser."""
        return table.cells(self.summary(target), self.judged_by, self.epochs)

    def notes(self, target: float | None = None) -> list[str]:
        """Returns the sentences that explain the columns of the table and the limits of the comparison."""
        target = self.target if target is None else target
        sentences = [
            f"Each optimiser at the rate with the lowest median {self.judged_by} loss over {len(self.seeds)} "
            "seeds after the last epoch; the test data takes no part in the choice.",
            f"Target: a {self.judged_by} loss of {target:.4g}, by half of the seeds. A step is one gradient: of "
            f"{self.batch_size} samples, or of all for a full-batch method. Time is a run's share of what all took.",
            "Good rates: the share of those tried at which the loss falls at least 90 % as far as at the chosen one.",
        ]
        if self.judged_by == "training":
            sentences.append(
                "There were no validation data: the losses are of the training data and favour what overfits."
            )
        if any(row.at_edge for row in self.summary(target)):
            sentences.append("* The best learning rate is at the edge of those tried: a wider range may do better.")
        if self.interrupted:
            sentences.append(f"The comparison was interrupted before the end of {', '.join(self.interrupted)}.")
        return sentences

    def __str__(self) -> str:
        return table.as_text(*self.table(), self.notes())
