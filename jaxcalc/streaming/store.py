"""Where the results of a stream are kept: in a folder that is a Zarr 3 group, or in memory.

A store has four operations: `create`, `write` (one chunk), `read` (problems of one field) and `done` (which chunks are
written). A chunk's line in `done` is written last, so that a run that dies leaves whole chunks and unwritten ones.
"""

import dataclasses
import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from jaxcalc.engine.status import Status

MISSING_ZARR = 'a store on disk needs zarr: pip install "jaxcalc[store]"; MemoryStore() needs nothing'
NO_LOCKS = (
    "a store on disk is locked by flock while a run writes into it, and this system (Windows?) has none: run under "
    "Linux, macOS or WSL, or give MemoryStore() for results that fit in memory"
)
# The numbers of a chunk in `done`: its state, then how many problems ended with each status code, room for more.
COLUMNS = 16
UNWRITTEN, WRITTEN, FAILED = 0, 1, 2
# The most bytes of the message of a failed chunk.
MOST_OF_A_MESSAGE = 2048
DONE, ERRORS, ATTRIBUTE = "done", "errors", "jaxcalc"
# Bytes that the checksum of a chunk's file takes.
CHECKSUM_BYTES = 4


class StoreError(RuntimeError):
    """A store cannot be written or read, belongs to another run, or is in use; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a store holds.

    Attributes:
        count: The number of problems, N.
        chunk_size: The number of problems of a chunk; the last one may have fewer.
        fields: The name of each field with the shape and the dtype of one problem's entry.
    """

    count: int
    chunk_size: int
    fields: dict[str, tuple[tuple[int, ...], str]]

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return -(-self.count // self.chunk_size)

    def span(self, chunk: int) -> tuple[int, int]:
        """Returns the first problem of a chunk, and the one after its last."""
        return chunk * self.chunk_size, min((chunk + 1) * self.chunk_size, self.count)

    def as_json(self) -> dict[Any, Any]:
        """Returns the layout as what JSON can hold."""
        fields = {name: [list(shape), dtype] for name, (shape, dtype) in self.fields.items()}
        return {"count": self.count, "chunk_size": self.chunk_size, "fields": fields}

    @classmethod
    def from_json(cls, text: Mapping[Any, Any]) -> "Layout":
        """Returns the layout that `as_json` has made the text of."""
        fields = {name: (tuple(shape), dtype) for name, (shape, dtype) in text["fields"].items()}
        return cls(text["count"], text["chunk_size"], fields)


class Store(Protocol):
    """What a run needs of a store; `MemoryStore` and `ZarrStore` have it."""

    # Whether workers in other processes can write into the store.
    is_shared: bool

    def exists(self) -> bool:
        """Returns whether `create` has been called before, in this process or another."""
        ...

    def create(self, layout: Layout, about: Mapping[Any, Any]) -> None:
        """Makes an empty store of this layout; `about` is JSON that says which run the store belongs to."""
        ...

    def layout(self) -> Layout:
        """Returns the layout."""
        ...

    def about(self) -> dict[Any, Any]:
        """Returns what the store says of its run."""
        ...

    def describe(self, about: Mapping[Any, Any]) -> None:
        """Replaces what the store says of its run."""
        ...

    def write(self, chunk: int, rows: Mapping[str, np.ndarray]) -> None:
        """Writes all fields of a chunk, then its line in `done`."""
        ...

    def fail(self, chunk: int, message: str) -> None:
        """Marks a chunk as failed, with the error's message."""
        ...

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Returns a field of the problems start .. stop - 1."""
        ...

    def array(self, name: str) -> Any:
        """Returns a field as an array that is read where it is sliced."""
        ...

    def done(self) -> np.ndarray:
        """Returns the lines of all chunks, (chunks, COLUMNS): the state, then the count of each status code."""
        ...

    def error(self, chunk: int) -> str:
        """Returns the message of a failed chunk."""
        ...

    def recover(self, every_byte: bool = False) -> None:
        """Removes what a run that died has left unfinished, and forgets written chunks whose data is damaged.

        Data is damaged where a file is missing or cut short or, if every byte is to be read, has a wrong checksum.
        """
        ...

    def forget(self, chunk: int) -> None:
        """Marks a chunk as unwritten."""
        ...

    def lock(self) -> Any:
        """Returns a context in which no other run can write into the store."""
        ...


def line_of(status: np.ndarray) -> np.ndarray:
    """Returns a written chunk's line in `done`, from the status codes of its problems."""
    return np.concatenate([[WRITTEN], np.bincount(status, minlength=COLUMNS - 1)]).astype(np.int32)


class MemoryStore:
    """A store in the memory of this process, for workers that are threads: for tests and for results that fit.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxcalc as jc
        >>> store = jc.streaming.MemoryStore()
        >>> fun = lambda x: jnp.sum(x**2)
        >>> results = jc.minimize_stream(fun, jnp.ones((10, 2)), store, chunk_size=4, progress=False)
        >>> results.summary()
        {'SUCCESS': 10}
    """

    is_shared = False

    def __init__(self):
        self._fields: dict[str, np.ndarray] = {}
        self._layout: Layout | None = None
        self._about: dict[Any, Any] = {}
        self._errors: dict[int, str] = {}
        self._running = threading.Lock()

    def exists(self) -> bool:
        """Returns whether `create` has been called before."""
        return self._layout is not None

    def create(self, layout: Layout, about: Mapping[Any, Any]) -> None:
        """Makes an empty store of this layout; `about` is JSON that says which run the store belongs to."""
        for name, (shape, dtype) in layout.fields.items():
            self._fields[name] = np.full((layout.count, *shape), _fill(name, dtype), dtype)
        self._done = np.zeros((layout.chunks, COLUMNS), np.int32)
        self._layout, self._about = layout, dict(about)

    def layout(self) -> Layout:
        """Returns the layout."""
        if self._layout is None:
            raise StoreError("this MemoryStore is empty: no run has written into it.")
        return self._layout

    def about(self) -> dict[Any, Any]:
        """Returns what the store says of its run."""
        return self._about

    def describe(self, about: Mapping[Any, Any]) -> None:
        """Replaces what the store says of its run."""
        self._about = dict(about)

    def write(self, chunk: int, rows: Mapping[str, np.ndarray]) -> None:
        """Writes all fields of a chunk, then its line in `done`."""
        self.forget(chunk)
        start, stop = self.layout().span(chunk)
        for name, values in rows.items():
            self._fields[name][start:stop] = values
        self._done[chunk] = line_of(rows["status"])

    def fail(self, chunk: int, message: str) -> None:
        """Marks a chunk as failed, with the error's message."""
        self._errors[chunk] = message
        self._done[chunk] = 0
        self._done[chunk, 0] = FAILED

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Returns a field of the problems start .. stop - 1."""
        return self._fields[name][start:stop]

    def array(self, name: str) -> np.ndarray:
        """Returns a field."""
        return self._fields[name]

    def done(self) -> np.ndarray:
        """Returns the lines of all chunks, (chunks, COLUMNS): the state, then the count of each status code."""
        return self._done.copy()

    def error(self, chunk: int) -> str:
        """Returns the message of a failed chunk."""
        return self._errors.get(chunk, "")

    def recover(self, every_byte: bool = False) -> None:
        """Does nothing: memory is not cut short, and a run that dies takes it along."""

    def forget(self, chunk: int) -> None:
        """Marks a chunk as unwritten."""
        self._errors.pop(chunk, None)
        self._done[chunk] = 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Returns a context in which no other run can write into the store."""
        if not self._running.acquire(blocking=False):
            raise StoreError("this MemoryStore is in use by another run; wait until it has ended.")
        try:
            yield
        finally:
            self._running.release()


class ZarrStore:
    """A store in a folder, a group of Zarr 3 that xarray opens as it is.

    Each field is an array (N, ...) whose chunks are the run's chunks, uncompressed and with a checksum (CRC-32C) in
    each file that every reader of Zarr compares. Files are replaced as wholes, and a chunk's line in the array `done`
    is written last.

    Args:
        path: The folder, which need not exist.

    Raises:
        ImportError: If zarr is not installed.
    """

    is_shared = True

    def __init__(self, path: str | os.PathLike[str]):
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise ImportError(MISSING_ZARR) from error
        self.path: Path = Path(path).absolute()
        self._arrays: dict[tuple[str, str], Any] = {}
        self._layout: Layout | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self.__init__(state["path"])

    def exists(self) -> bool:
        """Returns whether `create` has been called before, in this process or another.

        Raises:
            StoreError: If the folder holds something else.
        """
        if (self.path / "zarr.json").exists():
            return True
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise StoreError(f"{self.path} exists and is no store of jaxcalc: choose another path.")
        return False

    def create(self, layout: Layout, about: Mapping[Any, Any]) -> None:
        """Makes an empty store of this layout; `about` is JSON that says which run the store belongs to.

        The store is made beside its path and moved there, so that an interrupted creation leaves nothing.
        """
        import zarr

        beside = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with writing(self.path):
            group = zarr.create_group(beside, zarr_format=3, attributes={ATTRIBUTE: _as_attribute(layout, about)})
            for name, (shape, dtype) in layout.fields.items():
                _add_array(group, name, (layout.count, *shape), layout.chunk_size, dtype, "problem")
            _add_array(group, DONE, (layout.chunks, COLUMNS), 1, "int32", "chunk")
            _add_array(group, ERRORS, (layout.chunks, MOST_OF_A_MESSAGE), 1, "uint8", "chunk")
            with suppress(FileNotFoundError):
                self.path.rmdir()  # an empty folder
            beside.rename(self.path)

    def layout(self) -> Layout:
        """Returns the layout."""
        if self._layout is None:
            self._layout = Layout.from_json(self._attribute()["layout"])
        return self._layout

    def about(self) -> dict[Any, Any]:
        """Returns what the store says of its run."""
        return self._attribute()["about"]

    def describe(self, about: Mapping[Any, Any]) -> None:
        """Replaces what the store says of its run."""
        import zarr

        with writing(self.path):
            group = zarr.open_group(self.path, mode="r+")
            group.attrs[ATTRIBUTE] = _as_attribute(self.layout(), about)

    def write(self, chunk: int, rows: Mapping[str, np.ndarray]) -> None:
        """Writes all fields of a chunk, then its line in `done`.

        Raises:
            StoreError: If a file cannot be written, as on a full disk; chunks written before are kept.
        """
        start, stop = self.layout().span(chunk)
        with writing(self.path):
            self.forget(chunk)
            for name, values in rows.items():
                self._open(name, "r+")[start:stop] = values
            self._open(DONE, "r+")[chunk] = line_of(rows["status"])

    def fail(self, chunk: int, message: str) -> None:
        """Marks a chunk as failed, with the error's message."""
        text = np.frombuffer(message.encode()[:MOST_OF_A_MESSAGE].ljust(MOST_OF_A_MESSAGE, b"\0"), np.uint8)
        line = np.zeros(COLUMNS, np.int32)
        line[0] = FAILED
        with writing(self.path):
            self.forget(chunk)
            self._open(ERRORS, "r+")[chunk] = text
            self._open(DONE, "r+")[chunk] = line

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Returns a field of the problems start .. stop - 1; a wrong checksum is an error."""
        return np.asarray(self.array(name)[start:stop])

    def array(self, name: str) -> Any:
        """Returns a field as an array of Zarr, which is read where it is sliced."""
        return self._open(name, "r")

    def _open(self, name: str, mode: Literal["r", "r+"]) -> Any:
        """Returns an array of Zarr, opened once."""
        if (name, mode) not in self._arrays:
            import zarr

            # A chunk of zeros is a file, too: a missing file then is damage.
            array = zarr.open_array(self.path / name, mode=mode)
            self._arrays[name, mode] = array.with_config({"write_empty_chunks": True})
        return self._arrays[name, mode]

    def done(self) -> np.ndarray:
        """Returns the lines of all chunks, (chunks, COLUMNS): the state, then the count of each status code.

        Reads the files themselves, since ten thousand small chunks take Zarr several seconds.
        """
        lines = np.zeros((self.layout().chunks, COLUMNS), np.int32)
        folder = self.path / DONE / "c"
        for name in os.listdir(folder) if folder.exists() else ():
            whole = _content(f"{folder}{os.sep}{name}{os.sep}0", 2 * lines[0].nbytes)
            if name.isdigit() and len(whole) == lines[0].nbytes + CHECKSUM_BYTES:
                lines[int(name)] = np.frombuffer(whole[:-CHECKSUM_BYTES], "<i4")
        return lines

    def error(self, chunk: int) -> str:
        """Returns the message of a failed chunk."""
        return bytes(self.read(ERRORS, chunk, chunk + 1)[0]).rstrip(b"\0").decode(errors="replace")

    def recover(self, every_byte: bool = False) -> None:
        """Removes what a run that died has left unfinished, and forgets written chunks whose data is damaged."""
        state = self.done()[:, 0]
        self._remove_unfinished_files(np.flatnonzero(state != WRITTEN).tolist())
        for chunk in self._damaged(np.flatnonzero(state == WRITTEN).tolist(), every_byte):
            self.forget(chunk)

    def _damaged(self, chunks: list[int], every_byte: bool) -> set[int]:
        """Returns those of the chunks with a file that is missing or short or, on request, has a wrong checksum."""
        layout, found = self.layout(), set()
        for name, (shape, dtype) in layout.fields.items():
            size = layout.chunk_size * int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize + CHECKSUM_BYTES
            root, tail = f"{self.path / name}{os.sep}c{os.sep}", f"{os.sep}0" * len(shape)
            for chunk in chunks:
                try:
                    whole = os.stat(f"{root}{chunk}{tail}").st_size == size
                    if whole and every_byte:
                        self.read(name, *layout.span(chunk))
                except (OSError, ValueError):
                    whole = False
                if not whole:
                    found.add(chunk)
        return found

    def forget(self, chunk: int) -> None:
        """Marks a chunk as unwritten."""
        for name in (DONE, ERRORS):
            (self.path / name / "c" / str(chunk) / "0").unlink(missing_ok=True)

    def _remove_unfinished_files(self, unwritten: list[int]) -> None:
        """Removes the files that Zarr had begun, but not yet moved to their places, when a run died."""
        names = {name: bool(shape) for name, (shape, _) in self.layout().fields.items()} | {DONE: True, ERRORS: True}
        for name, is_nested in names.items():
            root = self.path / name / "c"
            folders = [root] if not is_nested else [root / str(chunk) for chunk in unwritten]
            for folder in folders:
                with suppress(FileNotFoundError):
                    for entry in os.scandir(folder):
                        if entry.name.endswith(".partial"):
                            os.unlink(entry.path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Returns a context in which no other run can write into the store; a lock of a dead process does not hold.

        Raises:
            StoreError: If another process runs on the store, or the system has no locks of this kind.
        """
        try:
            import fcntl
        except ImportError as error:
            raise StoreError(NO_LOCKS) from error

        path = self.path.with_name(f"{self.path.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = open(path, "a+")  # noqa: SIM115
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                owner = file.read().strip() or "another process"
                file.close()
                raise StoreError(
                    f"{self.path} is in use by {owner}: wait until that run has ended, or stop it and resume."
                ) from None
            # The run before may have removed the file between the two calls.
            with suppress(FileNotFoundError):
                if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                    break
            file.close()
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
            file.flush()
            yield
        finally:
            path.unlink(missing_ok=True)
            file.close()

    def _attribute(self) -> dict[Any, Any]:
        try:
            attributes = json.loads((self.path / "zarr.json").read_text())["attributes"]
            return attributes[ATTRIBUTE]
        except (OSError, KeyError, ValueError):
            why = "holds something else" if self.path.exists() else "does not exist"
            raise StoreError(
                f"{self.path} is no store of jaxcalc: it {why}. A store is the folder that minimize_stream, "
                "least_squares_stream or curve_fit_stream was given as store."
            ) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises a StoreError that says the mend where the files of a store cannot be written."""
    try:
        yield
    except OSError as error:
        mend = "Make space and run again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Mend this and run again"
        raise StoreError(
            f"the store {path} cannot be written: {error.strerror or error}. {mend}: what was written before is kept, "
            "and a run with resume=True goes on from there."
        ) from error


def _content(path: str, most: int) -> bytes:
    """Returns the first bytes of a file, none where there is no such file; for very many small files."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, most)
    finally:
        os.close(file)


def _as_attribute(layout: Layout, about: Mapping[Any, Any]) -> dict[Any, Any]:
    return {"layout": layout.as_json(), "about": dict(about)}


def _add_array(group: Any, name: str, shape: tuple[int, ...], rows: int, dtype: str, axis: str) -> None:
    """Adds an array of `rows` rows a chunk, whose first dimension is named `axis` and the others after the array."""
    from zarr.codecs import Crc32cCodec

    group.create_array(
        name,
        shape=shape,
        chunks=(max(rows, 1), *(max(size, 1) for size in shape[1:])),
        dtype=dtype,
        fill_value=_fill(name, dtype),
        compressors=[Crc32cCodec()],
        filters=[],
        dimension_names=(axis, *(f"{name}_{k}" for k in range(1, len(shape)))),
    )


def _fill(name: str, dtype: str) -> Any:
    """Returns what an unsolved problem has: nan, and the status -1, which is none of `Status`."""
    assert -1 not in set(Status)
    if name == "status":
        return -1
    return np.nan if np.issubdtype(np.dtype(dtype), np.inexact) else 0
