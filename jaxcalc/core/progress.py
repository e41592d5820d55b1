"""The line in the terminal that says how far a call is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_line(
    count: int | None, shown: bool, begun: int = 0, unit: str = "problems"
) -> Iterator[Callable[..., None]]:
    """Yields show(ended, converged, note=""), which draws how many problems have ended and which share has converged.

    Args:
        count: The number of problems; None if it is not known.
        shown: Whether the line is drawn.
        begun: How many problems had ended before; the share is of the others.
        unit: What is counted.
    """
    options = {"unit": f" {unit}", "unit_scale": True, "smoothing": 0.1, "disable": not shown}
    with tqdm(total=count, initial=begun, **options) as line:

        def show(ended: int, converged: int, note: str = "") -> None:
            fresh = ended - begun
            share = f"{100 * converged / fresh:.1f} % converged" if fresh else ""
            line.set_postfix_str(share + note, refresh=False)
            line.update(ended - line.n)

        yield show
