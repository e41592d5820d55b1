"""The commands `jaxcalc run`, `jaxcalc status` and `jaxcalc resume`: streams of problems from a terminal.

They end with 0 where all is done, 1 where chunks have failed or are missing, 2 for a wrong use, a store of another run
included, and 130 where the user has interrupted them.
"""

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jax
import numpy as np

from jaxcalc.streaming.results import StreamResults, open_results
from jaxcalc.streaming.runs import Kind, Run, stream
from jaxcalc.streaming.store import StoreError, ZarrStore
from jaxcalc.streaming.stream import LEAST_SQUARES, MINIMIZE

if TYPE_CHECKING:
    from typer import Typer

DONE, UNFINISHED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
SOLVERS: dict[str, tuple[Kind, str, dict[str, Any]]] = {
    "minimize": (MINIMIZE, "bfgs", {"history": 0, "has_aux": False, "lanes": None}),
    "least-squares": (
        LEAST_SQUARES,
        "levenberg_marquardt",
        {
            "loss": "linear",
            "f_scale": 1.0,
            "weights": None,
            "lanes": None,
            "standard_errors": True,
            "covariance": False,
        },
    ),
}
NOT_GIVEN = dict.fromkeys(("bounds", "scale", "gtol", "maxiter", "maxfev", "ftol", "xtol"))


def add_commands(app: "Typer") -> None:
    """Adds the commands to the application."""
    import typer

    @app.command("run")
    def run(
        function: Annotated[str, typer.Argument(help="The function, as problem.py:objective or package.module:name.")],
        data: Annotated[
            str,
            typer.Option(help="The problems: a .zarr group or array, a .npy or .npz file, or problem.py:chunk."),
        ],
        store: Annotated[Path, typer.Option(help="The folder for the results; it may hold a part of them already.")],
        method: Annotated[str | None, typer.Option(help="The method, as lbfgs.")] = None,
        solver: Annotated[str, typer.Option(help=f"What to do: {' or '.join(SOLVERS)}.")] = "minimize",
        workers: Annotated[int | None, typer.Option(min=1, help="How many workers; by default one a core.")] = None,
        executor: Annotated[str, typer.Option(help="What workers are: threads or processes.")] = "threads",
        chunk_size: Annotated[int | None, typer.Option(min=1, help="Problems of a chunk.")] = None,
        count: Annotated[int | None, typer.Option(min=0, help="How many problems, if --data is a function.")] = None,
        gtol: Annotated[float | None, typer.Option(help="What SUCCESS promises of the gradient.")] = None,
        maxiter: Annotated[int | None, typer.Option(min=0, help="The most iterations of a problem.")] = None,
    ) -> None:
        """Solves all problems of a file into a store; the same command goes on where it was stopped."""
        note = {"function": _absolute(function), "data": _absolute(data), "method": method, "solver": solver}
        note |= {"count": count, "chunk_size": chunk_size, "gtol": gtol, "maxiter": maxiter}
        raise typer.Exit(_guarded(lambda: _run(note, store, executor, workers)))

    @app.command("resume")
    def resume(
        store: Annotated[Path, typer.Argument(help="The folder that `jaxcalc run` has begun.")],
        workers: Annotated[int | None, typer.Option(min=1, help="How many workers; by default one a core.")] = None,
        executor: Annotated[str, typer.Option(help="What workers are: threads or processes.")] = "threads",
        verify: Annotated[bool, typer.Option(help="Compare the checksums of all that is written first.")] = False,
    ) -> None:
        """Goes on with a run that was stopped, from what the store remembers of it."""

        def run() -> int:
            note = ZarrStore(store).about().get("command")
            if note is None:
                raise StoreError(f"{store} was not made by `jaxcalc run`: call the function that made it again.")
            return _run(note, store, executor, workers, verify)

        raise typer.Exit(_guarded(run))

    @app.command("status")
    def status(store: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
        """Says how far a run has come, and how its problems have ended."""

        def report() -> int:
            results = open_results(store)
            about = results.store.about()["run"]
            print(f"{about['function']}, {about['method']}, chunks of {results.store.layout().chunk_size:,} problems")
            return _report(results)

        raise typer.Exit(_guarded(report))


def _run(note: Mapping, store: Path, executor: str, workers: int | None, verify: bool = False) -> int:
    """Runs the stream that a note of the command line describes; returns the exit code."""
    if note["solver"] not in SOLVERS:
        raise ValueError(f"solver is {' or '.join(SOLVERS)}; it is {note['solver']!r}.")
    jax.config.update("jax_enable_x64", True)  # what is float32 in the data stays so
    kind, method, options = SOLVERS[note["solver"]]
    options = NOT_GIVEN | options | {"gtol": note["gtol"], "maxiter": note["maxiter"]}
    fun, problems = _attribute(note["function"], "the function"), _problems(note["data"])
    run = Run(note["count"], note["chunk_size"], executor, workers, True, None, verify, True, dict(note))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the report says which chunks failed
        results = stream(kind, fun, problems, store, (), note["method"] or method, options, run)
    return _report(results)


def _report(results: StreamResults) -> int:
    """Prints how far the run has come; returns the exit code."""
    layout, summary = results.store.layout(), results.summary()
    solved = results.count - summary.pop("UNSOLVED", 0)
    print(
        f"{solved:,} of {results.count:,} problems solved, {results.missing_chunks:,} of {layout.chunks:,} chunks to do"
    )
    for name, number in summary.items():
        print(f"{number:>16,} {name}")
    failed = results.failed_chunks
    for chunk, message in list(failed.items())[:10]:
        start, stop = layout.span(chunk)
        print(f"chunk {chunk}, problems {start} to {stop - 1}, failed: {message}")
    if len(failed) > 10:
        print(f"and {len(failed) - 10} further chunks")
    return DONE if results.complete else UNFINISHED


def _guarded(action: Callable[[], int]) -> int:
    """Returns the action's exit code, or that of what stopped it, which is printed."""
    try:
        return action()
    except KeyboardInterrupt:
        print("interrupted; what is written is kept, and `jaxcalc resume` goes on", file=sys.stderr)
        return INTERRUPTED
    except StoreError as error:
        print(error, file=sys.stderr)
        return UNFINISHED if isinstance(error.__cause__, OSError) else WRONG_USE
    except (TypeError, ValueError, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE


def _absolute(name: str) -> str:
    """Returns the name with its file's whole path, so that it can be resumed from another folder."""
    path, colon, attribute = name.partition(":")
    return f"{Path(path).absolute()}{colon}{attribute}" if Path(path).exists() else name


def _attribute(name: str, what: str) -> Any:
    """Returns what "file.py:name" or "package.module:name" stands for, from a module that workers can import as well.

    Raises:
        ValueError: If there is no such file, or nothing of this name in it.
    """
    place, colon, attribute = name.partition(":")
    if not colon or not attribute:
        raise ValueError(f"{what} is written file.py:name or package.module:name, not {name!r}.")
    if place.endswith(".py"):
        path = Path(place).absolute()
        if not path.exists():
            raise ValueError(f"there is no file {path}.")
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        place = path.stem
        loaded = getattr(sys.modules.get(place), "__file__", None)
        if loaded is not None and not os.path.samefile(loaded, path):
            raise ValueError(f"{path} has the name of the module {loaded}, which is imported already: rename it.")
    module = importlib.import_module(place)
    if not hasattr(module, attribute):
        raise ValueError(f"{module.__file__} has no {attribute!r}.")
    return getattr(module, attribute)


def _problems(data: str) -> Any:
    """Returns the problems that --data names: arrays that are not read yet, or a function."""
    if data.endswith(".npy"):
        return np.load(data, mmap_mode="r")
    if data.endswith(".npz"):
        return dict(np.load(data))
    if ":" in data:
        return _attribute(data, "--data as a function")
    if not Path(data).exists():
        raise ValueError(f"there is no {data}; --data is a .zarr folder, a .npy or .npz file, or file.py:function.")
    import zarr

    return zarr.open(data, mode="r")
