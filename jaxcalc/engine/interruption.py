"""What a call that is ended from outside leaves behind."""

from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what had been solved until then.

    Attributes:
        result: As the call would have returned it. Problems that had not ended have the status INTERRUPTED, and their
            start as x: the same call with `result.x` for x0 solves them, and ends at once at those that are solved.
    """

    def __init__(self, result: Any):
        super().__init__("interrupted; what has been solved is in the attribute result of this exception")
        self.result = result
