"""The loop of a run: gives chunks out as workers become free, tries failures again, counts receipts."""

import contextlib
import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from jaxcalc.core.progress import progress_line
from jaxcalc.streaming.executors import Processes, Threads, cores, processes, threads
from jaxcalc.streaming.problems import Maker, Table
from jaxcalc.streaming.store import StoreError
from jaxcalc.streaming.work import Receipt, Work, solve_chunk, stop_writing

# How often a chunk that raises is tried again.
RETRIES = 2
BROKEN = (
    "a worker died, and its pool takes no more tasks; what was written before is kept, and the same call goes on. "
    'executor="processes" starts a new worker in the place of one that dies.'
)
EXECUTORS: dict[str, Callable[[int | None], Threads | Processes]] = {"threads": threads, "processes": processes}
# How often, in seconds, the loop looks whether it is to stop; a wait without an end cannot be interrupted everywhere.
HEARTBEAT = 0.2


class Progress(NamedTuple):
    """How far a run has come, for a `progress` function.

    Attributes:
        solved: How many problems have a result.
        count: How many problems there are.
        successes: How many of those that this run has solved succeeded.
        failed_chunks: How many chunks raised.
    """

    solved: int
    count: int
    successes: int
    failed_chunks: int


@dataclasses.dataclass
class Workers:
    """An executor with what the loop has to know of it.

    Attributes:
        executor: Where chunks are solved.
        count: How many of them it solves at the same time.
        is_own: Whether the run has started it and ends it.
    """

    executor: Executor
    count: int
    is_own: bool

    @property
    def are_threads(self) -> bool:
        """Whether they share this process's memory."""
        return isinstance(self.executor, ThreadPoolExecutor)

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of a submission: Dask returns the result of an equal call where it is not told to call."""
        return {"pure": False} if type(self.executor).__module__.startswith("distributed") else {}

    def end(self, at_once: bool) -> None:
        """Ends workers that the run has started, after the chunks under way or at once."""
        if self.is_own:
            self.executor.shutdown(wait=not at_once, cancel_futures=True)


def as_workers(executor: Any, count: int | None) -> Workers:
    """Returns the workers that the caller asks for.

    Args:
        executor: None or "threads", "processes", or an executor.
        count: How many workers there are; None for one a core, or for as many as the executor says it has.
    """
    if executor is None or isinstance(executor, str):
        name = executor or "threads"
        if name not in EXECUTORS:
            raise ValueError(f"executor is {' or '.join(map(repr, EXECUTORS))} or an Executor; it is {name!r}.")
        made = EXECUTORS[name](count)
        return Workers(made, made.workers, True)
    if not isinstance(executor, Executor):
        mend = " Of a client of Dask give client.get_executor()." if hasattr(executor, "get_executor") else ""
        raise TypeError(f"executor is a concurrent.futures.Executor, not a {type(executor).__name__}.{mend}")
    known = getattr(executor, "workers", None) or getattr(executor, "_max_workers", None) or cores()
    return Workers(executor, count or known, False)


class Loop:
    """One run through the chunks that are to be solved.

    Args:
        work: The run.
        problems: Where rows come from.
        workers: Who solves them.
        solved: How many problems have a result before the loop begins.
        report: Called with `Progress` after each receipt.
    """

    work: Work
    problems: Table | Maker
    workers: Workers
    solved: int
    successes: int
    report: Callable[[Progress], Any]

    def __init__(
        self, work: Work, problems: Table | Maker, workers: Workers, solved: int, report: Callable[[Progress], Any]
    ):
        self.work, self.problems, self.workers, self.report = work, problems, workers, report
        self.solved, self.successes = solved, 0
        self.failed: dict[int, str] = {}
        self._attempts: dict[int, int] = {}
        self._under_way: dict[Future, int] = {}
        self._sends_rows = workers.are_threads or not problems.is_reference()
        self._sent = work if not self._sends_rows else dataclasses.replace(work, problems=None)

    def run(self, chunks: Iterable[int]) -> None:
        """Solves these chunks; those that raise again and again are marked as failed.

        Raises:
            StoreError: If the store cannot be written, or the executor has lost its workers for good.
            KeyboardInterrupt: On Ctrl-C; chunks that are written stay.
        """
        waiting, again = iter(chunks), deque()
        try:
            # Twice as many chunks as workers are under way: half of them are read while the others are computed.
            while True:
                while len(self._under_way) < 2 * self.workers.count:
                    chunk = again.popleft() if again else next(waiting, None)
                    if chunk is None:
                        break
                    self._give_out(chunk, again)
                if not self._under_way and not again:
                    return
                finished, _ = wait(self._under_way, HEARTBEAT, FIRST_COMPLETED)
                for future in finished:
                    self._take(future, self._under_way.pop(future), again)
        finally:
            stop_writing(self.work.token)
            for future in self._under_way:
                future.cancel()

    def _give_out(self, chunk: int, again: deque) -> None:
        """Submits a chunk, with its rows where workers do not read themselves."""
        rows = None
        if self._sends_rows:
            try:
                rows = self.problems.read(*self.work.layout.span(chunk))
            except Exception as error:
                return self._took_badly(chunk, f"{type(error).__name__}: {error}", again)
        slots = (self.workers.executor.slots,) if isinstance(self.workers.executor, Threads) else ()
        try:
            future = self.workers.executor.submit(solve_chunk, self._sent, chunk, rows, *slots, **self.workers.options)
        except BrokenExecutor as error:
            raise StoreError(BROKEN) from error
        self._under_way[future] = chunk

    def _take(self, future: Future, chunk: int, again: deque) -> None:
        """Counts a receipt, or has the chunk tried again."""
        try:
            receipt: Receipt = future.result()
        except StoreError:
            raise
        except BrokenExecutor as error:
            if not isinstance(self.workers.executor, Processes):
                raise StoreError(BROKEN) from error
            receipt = Receipt(chunk, 0, 0, "the process that solved it died again and again")
        except Exception as error:
            receipt = Receipt(chunk, 0, 0, f"{type(error).__name__}: {error}")
        if receipt.error:
            return self._took_badly(chunk, receipt.error, again)
        self.solved += 0 if self.work.rerun else receipt.solved
        self.successes += receipt.successes
        self._report()
        return None

    def _took_badly(self, chunk: int, message: str, again: deque) -> None:
        """Puts a chunk back, or marks it as failed after its last try; a rerun leaves what the store has."""
        self._attempts[chunk] = self._attempts.get(chunk, 0) + 1
        if self._attempts[chunk] <= RETRIES:
            again.append(chunk)
            return
        self.failed[chunk] = message
        if not self.work.rerun:
            self.work.store.fail(chunk, message)
        self._report()

    def _report(self) -> None:
        self.report(Progress(self.solved, self.work.layout.count, self.successes, len(self.failed)))


@contextlib.contextmanager
def reporting(progress: Any, count: int, solved: int) -> Iterator[Callable[[Progress], Any]]:
    """Returns a context in which progress is shown: by tqdm in a terminal, by the caller's function, or not at all.

    Args:
        progress: True, False or a function of `Progress`.
        count: The number of problems.
        solved: How many of them have a result already.
    """
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda _: None
        return
    shown = progress == "always" or sys.stderr.isatty()
    with progress_line(count, shown, solved) as line:

        def show(state: Progress) -> None:
            failed = f", {state.failed_chunks} chunks failed" if state.failed_chunks else ""
            line(state.solved, state.successes, failed)

        yield show
