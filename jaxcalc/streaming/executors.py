"""Workers for a stream: threads of this process, and processes that are started anew when one dies.

Any `concurrent.futures.Executor` will do as well, such as `client.get_executor()` of Dask.
"""

import itertools
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

import jax

from jaxcalc.core.arguments import whole_number
from jaxcalc.streaming import work

# How often a task is given to a new process after its process has died.
MOST_DEATHS = 3


class Threads(ThreadPoolExecutor):
    """Threads of this process: as many compute as there are `workers`, while as many again read and write.

    Attributes:
        workers: How many chunks are computed at the same time.
        slots: The semaphore that computing takes.
    """

    workers: int
    slots: "Slots"

    def __init__(self, workers: int, devices: list[Any]):
        super().__init__(2 * workers, "jaxcalc")
        self.workers, self.slots = workers, Slots(workers, devices)


class Slots:
    """A semaphore of so many slots, each with a device where there are several; a context."""

    def __init__(self, workers: int, devices: list[Any]):
        self._free: queue.SimpleQueue = queue.SimpleQueue()
        for _, device in zip(range(workers), itertools.cycle(devices or [None])):
            self._free.put(device)

    def __enter__(self) -> None:
        work.local.device = self._free.get()

    def __exit__(self, *error: object) -> None:
        self._free.put(work.local.device)


def threads(workers: int | None = None) -> Threads:
    """Returns workers that are threads of this process, by default one for each core or accelerator.

    Args:
        workers: How many chunks are computed at the same time.

    Returns:
        An executor, to be used as a context or shut down.

    Example:
        >>> with threads(2) as executor:
        ...     executor.workers
        2
    """
    accelerators = jax.local_devices() if jax.default_backend() != "cpu" else []
    if workers is None:
        workers = len(accelerators) or cores()
    return Threads(whole_number("workers", workers, 1), accelerators)


def processes(workers: int | None = None) -> "Processes":
    """Returns workers that are processes, by default one for each core, replaced when they die.

    They are spawned, not forked, since a fork of a process in which JAX has threads hangs. The function has to be one
    that they can import: defined at the top level of a module. The script that starts them needs the line
    `if __name__ == "__main__":`.

    Args:
        workers: How many processes there are.

    Returns:
        An executor, to be used as a context or shut down.

    Example:
        >>> with processes(1) as executor:
        ...     executor.submit(abs, -3).result()
        3
    """
    return Processes(cores() if workers is None else whole_number("workers", workers, 1))


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes(Executor):
    """Spawned processes, each with one task at a time, so that a process that dies loses no task but its own.

    The task of a process that died goes to a new process; after `MOST_DEATHS` deaths its future has the error.

    Attributes:
        workers: How many processes there are.
    """

    def __init__(self, workers: int):
        self.workers = workers
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, args=(k,), daemon=True) for k in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Returns the future of fn(*args, **kwargs), which runs in a process that is free."""
        if self._closed:
            raise RuntimeError("the processes have been shut down")
        future: Future = Future()
        self._tasks.put((future, fn, args, kwargs))
        return future

    def pids(self) -> list[int]:
        """Returns the ids of the processes that live."""
        return [pid for pool in list(self._pools.values()) for pid in list(pool._processes or ())]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more tasks and ends the processes: after their tasks, or at once with wait=False.

        Args:
            wait: Whether to wait for the tasks.
            cancel_futures: Whether tasks that have not begun are cancelled.
        """
        self._closed = True
        if cancel_futures:
            with suppress(queue.Empty):
                while (task := self._tasks.get_nowait()) is not None:
                    task[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if not wait:
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has but the latter
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self, index: int) -> None:
        """Hands tasks to one process, and starts a new one where that dies."""
        while (task := self._tasks.get()) is not None:
            future, fn, args, kwargs = task
            if not future.set_running_or_notify_cancel():
                continue
            for deaths in itertools.count(1):
                if index not in self._pools:
                    self._pools[index] = _one_process()
                try:
                    future.set_result(self._pools[index].submit(fn, *args, **kwargs).result())
                except BrokenProcessPool as error:
                    self._pools.pop(index).shutdown(wait=False)
                    if deaths < MOST_DEATHS and not self._closed:
                        continue
                    future.set_exception(error)
                except BaseException as error:
                    future.set_exception(error)
                break
        if index in self._pools:
            self._pools.pop(index).shutdown()


def _one_process() -> ProcessPoolExecutor:
    """Returns a pool of one spawned process."""
    spawn = multiprocessing.get_context("spawn")
    cache = getattr(jax.config, "jax_compilation_cache_dir")  # noqa: B009
    return ProcessPoolExecutor(1, spawn, _begin, (cache,))


def _begin(cache: str | None) -> None:
    """Prepares a process: Ctrl-C is its parent's to handle, and it ends when its parent does.

    Args:
        cache: The folder of the persistent compilation cache, or None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
