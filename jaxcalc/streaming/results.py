"""The results of a stream: lazy arrays, a summary by status, the failures."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxcalc.core.arguments import called_as
from jaxcalc.engine.status import Status, is_success
from jaxcalc.streaming.store import FAILED, UNWRITTEN, WRITTEN, Store, ZarrStore
from jaxcalc.streaming.work import names_of


class StreamResults:
    """What a store holds of N problems, read where it is asked for.

    `results.x`, `results.fun`, `results.status` and the other fields of a result are arrays (N, ...) that are read
    from the store where they are sliced, `results.x[10:20]`; of a pytree x it is a dict of such arrays. `results.run`
    is 0 where the first run has solved a problem and k where the k-th rerun of failures has. Problems without a result
    have the status -1 and nan.

    Attributes:
        store: The store.
        count: The number of problems, N.
    """

    def __init__(self, store: Store):
        self.store = store
        self.count: int = store.layout().count

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "store":
            raise AttributeError(name)
        fields = self.store.layout().fields
        if name in fields:
            return self.store.array(name)
        nested = {field[len(name) + 1 :]: self.store.array(field) for field in fields if field.startswith(f"{name}.")}
        if not nested:
            raise AttributeError(f"the store has no {name!r}; it has {', '.join(fields)}.")
        return nested

    def __len__(self) -> int:
        return self.count

    @property
    def fields(self) -> list[str]:
        """The names of the arrays."""
        return list(self.store.layout().fields)

    @property
    def complete(self) -> bool:
        """True where every problem has a result."""
        return bool(np.all(self.store.done()[:, 0] == WRITTEN))

    @property
    def failed_chunks(self) -> dict[int, str]:
        """The chunks whose data or function raised, with the error's message."""
        return {int(k): self.store.error(int(k)) for k in np.flatnonzero(self.store.done()[:, 0] == FAILED)}

    @property
    def missing_chunks(self) -> int:
        """How many chunks nothing has been written of, because the run has not come to them."""
        return int(np.sum(self.store.done()[:, 0] == UNWRITTEN))

    def summary(self) -> dict[str, int]:
        """Returns how many problems ended with each status, by its name, and how many have no result ("UNSOLVED").

        Reads a line for each chunk, not the arrays.
        """
        done = self.store.done()
        counts = names_of(done[done[:, 0] == WRITTEN, 1:].sum(axis=0, dtype=np.int64))
        unsolved = self.count - sum(counts.values())
        return counts | ({"UNSOLVED": unsolved} if unsolved else {})

    def failures(self) -> np.ndarray:
        """Returns the indices of the problems that have a result and did not succeed, int64, in order."""
        found = [np.zeros(0, np.int64)]
        for start, status in self._statuses():
            found.append(start + np.flatnonzero(~is_success(status)))
        return np.concatenate(found)

    def _statuses(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the first problem and the status codes of each chunk that has a failure."""
        layout, done = self.store.layout(), self.store.done()
        good = is_success(np.arange(done.shape[1] - 1))
        failing = (done[:, 0] == WRITTEN) & (done[:, 1:] @ ~good > 0)
        for chunk in np.flatnonzero(failing).tolist():
            start, stop = layout.span(chunk)
            yield start, self.store.read("status", start, stop)

    def check(self) -> "StreamResults":
        """Returns the results themselves if every problem succeeded.

        Raises:
            RuntimeError: Naming how many problems have no result or did not succeed.
        """
        summary = self.summary()
        if not self.complete or set(summary) - {status.name for status in Status if status.is_success}:
            raise RuntimeError(f"not all of {self.count} problems succeeded: {self!r}")
        return self

    def to_xarray(self) -> Any:
        """Returns the arrays as an `xarray.Dataset` with the dimension "problem", read where they are asked for."""
        import xarray

        if isinstance(self.store, ZarrStore):
            dataset = xarray.open_zarr(self.store.path, consolidated=False)
            return dataset.drop_vars(["done", "errors"]).drop_attrs(deep=False)
        shapes = self.store.layout().fields
        return xarray.Dataset(
            {
                name: (("problem", *(f"{name}_{k + 1}" for k in range(len(shape)))), self.store.array(name))
                for name, (shape, _) in shapes.items()
            }
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{number:,} {name}" for name, number in self.summary().items())
        failed = self.failed_chunks
        lines = [f"StreamResults of {self.count:,} problems: {counts or 'none'}"]
        if failed:
            chunk, message = next(iter(failed.items()))
            start, stop = self.store.layout().span(chunk)
            lines.append(f"{len(failed)} chunks failed; chunk {chunk}, problems {start} to {stop - 1}: {message}")
        return "\n".join(lines)


@called_as("open_results(path)", 0)
def open_results(path: str | os.PathLike[str]) -> StreamResults:
    """Opens the results that `minimize_stream` or `least_squares_stream` has written, while it runs or afterwards.

    Args:
        path: The store's folder.

    Returns:
        The results: `results.x[10:20]` reads twenty problems' solutions, `results.summary()` counts the statuses,
        `results.failures()` are the indices of the problems that did not succeed.

    Raises:
        StoreError: If the folder holds no store.
        ImportError: If zarr is not installed.

    Example:
        >>> import tempfile
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> folder = tempfile.mkdtemp()
        >>> fun = lambda x, c: jnp.sum((x - c) ** 2)
        >>> problems = (jnp.zeros((5, 1)), jnp.arange(5.0)[:, None])
        >>> _ = jc.minimize_stream(fun, problems, f"{folder}/out.zarr", chunk_size=2, progress=False)
        >>> jc.open_results(f"{folder}/out.zarr").x[1:4].round(3).tolist()
        [[1.0], [2.0], [3.0]]

    Source: the format is Zarr 3 (A. Miles and others, 2024).
    """
    return StreamResults(ZarrStore(path))
