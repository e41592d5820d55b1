"""What a call that is ended from outside leaves behind."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what had been solved until then.

    Attributes:
        result: As the call would have returned it. Problems that had not ended have the status INTERRUPTED, and as x
            where they stood, or their start: the same call with `result.x` for x0 solves them, and ends at once at
            those that are solved.
    """

    def __init__(self, result: Any):
        super().__init__("interrupted; what has been solved is in the attribute result of this exception")
        self.result = result


@contextlib.contextmanager
def listening() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C has been pressed, which otherwise does nothing the first time.

    Python raises KeyboardInterrupt wherever it happens to be, and where that is a callback of the garbage collector the
    exception is lost. A second Ctrl-C raises it at once, and one that nobody has asked for is raised at the end. Only
    the main thread can listen, and only where no handler of the caller's does; elsewhere Ctrl-C does what it did.
    """
    pressed: list[int] = []
    heard = False
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield lambda: False
        return

    def handler(number: int, frame: Any) -> None:
        if pressed:
            signal.default_int_handler(number, frame)
        pressed.append(number)

    def is_interrupted() -> bool:
        nonlocal heard
        heard = bool(pressed)
        return heard

    signal.signal(signal.SIGINT, handler)
    try:
        yield is_interrupted
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed and not heard:
        raise KeyboardInterrupt
