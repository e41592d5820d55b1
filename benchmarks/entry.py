"""What an entry hands to the report: rows (contestants as measured), ratios (figures with targets) and notes."""

import dataclasses

from benchmarks.timing import Timing


@dataclasses.dataclass(frozen=True)
class Row:
    """One contestant: how many problems it solved in each of its timed calls, and what else there is to know."""

    name: str
    problems: int
    timing: Timing
    solved: float | None = None
    evaluations: int | None = None  # of value and gradient, all problems together
    note: str = ""
    lanes: int | None = None  # None where the contestant chooses
    dtype: str | None = None
    median_evaluations: float | None = None
    occupancy: float | None = None  # share of running lanes in all evaluations
    overhead: float | None = None  # time of the run over that of its evaluations alone
    peak_bytes: int | None = None

    @property
    def per_second(self) -> float:
        """Problems a second, at the median time."""
        return self.problems / self.timing.median

    def of(self, workload: str) -> "Row":
        """Returns the row under the name of a workload, for an entry with several of them."""
        return dataclasses.replace(self, name=f"{workload}: {self.name}")

    @property
    def nanoseconds_per_evaluation(self) -> float | None:
        """Time for one evaluation in one lane, at the median time; None where evaluations are not counted."""
        return 1e9 * self.timing.median / self.evaluations if self.evaluations else None


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A figure of the run and what is wanted of it: at least the target, or at most; None is a figure without one."""

    name: str
    figure: float
    target: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the figure is on the right side of its target; None without one."""
        if self.target is None:
            return None
        return self.figure <= self.target if self.at_most else self.figure >= self.target


@dataclasses.dataclass
class Entry:
    """One table of the report."""

    name: str
    about: str
    rows: list[Row]
    ratios: list[Ratio] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def times_faster(ours: Row, theirs: Row, name: str, target: float | None = None) -> Ratio:
    """Returns how many times as many problems a second ours does, the medians compared."""
    return Ratio(name, ours.per_second / theirs.per_second, target)
