"""The `jaxcalc` command. It needs the extra `cli`, and its command `demo` the extra `demo`.

typer and rich are imported when the command runs: without them, `main` says what to install.
"""

import csv
import importlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jax
import numpy as np

from jaxcalc import plots, problems
from jaxcalc._version import __version__
from jaxcalc.command import calculator, demo, digit_comparison, maps, streams
from jaxcalc.command.page import page
from jaxcalc.core.platform import device_name
from jaxcalc.engine.status import Status, is_success
from jaxcalc.network.comparison import Comparison
from jaxcalc.network.data import Split, digits
from jaxcalc.network.data import mnist as mnist_files
from jaxcalc.plots.canvas import figure_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from typer import Typer

NO_BENCHMARKS = (
    "The benchmarks are not part of the installed package. Run this command in a checkout that is installed with "
    'pip install -e ".[bench]".'
)
MOST_PIXELS = 192  # a side of the demo's maps
MISSING = 'The jaxcalc command needs typer and rich: pip install "jaxcalc[cli]"'


def main() -> None:
    """Runs the command; the package's script `jaxcalc` calls this function."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        sys.exit(MISSING)
    try:
        application()()
    except SystemExit as end:
        if end.code != streams.INTERRUPTED:
            raise
        # An ordinary end would wait for the threads that still compute.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(streams.INTERRUPTED)


def application() -> "Typer":
    """Returns the command as an application of typer: the demo, comparisons, streams and the calculator."""
    import typer
    from rich.console import Console

    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

    def print_version(wanted: bool) -> None:
        if wanted:
            print(f"jaxcalc {__version__}")
            raise typer.Exit

    @app.callback()
    def jaxcalc(
        version: Annotated[
            bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
        ] = False,
    ) -> None:
        """Differentiable optimisation in JAX: many small problems minimised at once."""

    @app.command("demo")
    def run(
        output: Annotated[
            Path, typer.Option(file_okay=False, help="The folder for the pictures and estimates.")
        ] = Path("jaxcalc-demo"),
        resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples of the breast-cancer study.")] = 20_000,
        grid: Annotated[int, typer.Option(min=2, help="Starts along each side of the picture of basins.")] = 512,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples and of the noise.")] = 0,
    ) -> None:
        """A textbook's examples, the bootstrap of a real study, maps of pixels, a picture of basins of attraction."""
        jax.config.update("jax_enable_x64", True)
        console, began = Console(), time.perf_counter()
        try:
            study = demo.breast_cancer()
            output.mkdir(parents=True, exist_ok=True)
            _worked_examples(console, output)
            _bootstrap(console, output, study, resamples, seed)
            _maps(console, output, min(grid, MOST_PIXELS), seed)
            _basins(console, output, grid)
            _network(console, output)
        except ImportError as error:
            console.print(str(error), markup=False)
            raise typer.Exit(1) from None
        console.print(
            f"\nDone in {time.perf_counter() - began:.0f} s. Everything is in {output.resolve()}",
            soft_wrap=True,
            markup=False,
        )

    _add_compare(app)
    _add_bench(app)
    streams.add_commands(app)
    calculator.add_commands(app)
    return app


def _add_bench(app: "Typer") -> None:
    """Adds the command `bench` to the application; its options are those of `python -m benchmarks`."""
    import typer

    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True}

    @app.command("bench", context_settings=passed_on, add_help_option=False)
    def bench(context: typer.Context) -> None:
        """The benchmarks of a checkout: --help lists their options, among them --only, --json and --compare."""
        raise typer.Exit(_benchmarks().main(context.args, "jaxcalc bench"))


def _benchmarks() -> Any:
    """Returns the command line of the benchmarks, which are part of a checkout and not of the installed package."""
    checkout = Path(__file__).parents[2]
    if not (checkout / "benchmarks" / "__main__.py").exists():
        sys.exit(NO_BENCHMARKS)
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return importlib.import_module("benchmarks.__main__")


def _add_compare(app: "Typer") -> None:
    """Adds the command `compare` to the application."""
    import typer
    from rich.console import Console

    @app.command("compare")
    def compare(
        output: Annotated[
            Path, typer.Option(file_okay=False, help="The folder for the table, the pictures and the page.")
        ] = Path("jaxcalc-compare"),
        mnist: Annotated[
            Path | None, typer.Option(exists=True, file_okay=False, help="A folder with the four IDX files of MNIST.")
        ] = None,
        optimizers: Annotated[str, typer.Option(help="Which to compare, names with commas between.")] = ",".join(
            digit_comparison.OPTIMIZERS
        ),
        hidden: Annotated[int, typer.Option(min=1, help="Units of the hidden layer.")] = 32,
        rates: Annotated[int, typer.Option(min=1, help="Learning rates, from 0.0001 to 2.")] = 8,
        seeds: Annotated[int, typer.Option(min=1, help="Seeds, each a start and a shuffling.")] = 8,
        epochs: Annotated[int, typer.Option(min=1, help="Passes through the training images.")] = 30,
        batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 32,
    ) -> None:
        """Optimisers compared on handwritten digits: all learning rates and seeds of each in one compiled run."""
        console = Console()
        sizes = {"hidden": (hidden,), "rates": rates, "seeds": seeds, "epochs": epochs, "batch_size": batch_size}
        try:
            split = digits() if mnist is None else mnist_files(mnist)
            chosen = [name.strip() for name in optimizers.split(",")]
            _compare(console, output, split, chosen, "digits" if mnist is None else "MNIST", sizes)
        except (ImportError, ValueError, FileNotFoundError) as error:
            console.print(str(error), markup=False)
            raise typer.Exit(1) from None


def _compare(console: "Console", output: Path, split: Split, names: list[str], data: str, sizes: dict) -> None:
    """Compares the named optimisers, prints the table, and writes the comparison, its figures and its page.

    Args:
        console: Where to print.
        output: The folder for the files.
        split: The images.
        names: The optimisers, keys of `digit_comparison.OPTIMIZERS`.
        data: The name of the data set, for headings.
        sizes: Keyword arguments of `digit_comparison.compare_on_images`.
    """
    began = time.perf_counter()
    comparison = digit_comparison.compare_on_images(split, optimizers=names, **sizes)
    elapsed = time.perf_counter() - began
    console.print(str(comparison), soft_wrap=True, markup=False, highlight=False)
    runs = sum(runs.final.size for runs in comparison.runs.values())
    seconds = sum(runs.seconds for runs in comparison.runs.values())
    most = "at most " if comparison.interrupted else ""
    pixels, layers = split.train[0].shape[1], "-".join(map(str, sizes["hidden"]))
    about = (
        f"A perceptron of {pixels}-{layers}-{int(split.train[1].max()) + 1} units reads {data}: "
        f"{len(split.train[1]):,} images to learn from, {len(split.validation[1]):,} to choose by, "
        f"{len(split.test[1]):,} for the test. {runs:,} trainings of {most}{comparison.epochs} epochs took "
        f"{seconds:.1f} s ({device_name()}), with compiling {elapsed:.1f} s."
    )
    console.print(about, soft_wrap=True, markup=False)
    output.mkdir(parents=True, exist_ok=True)
    comparison.save(output / "comparison.npz")
    _write_records(comparison, output / "runs.csv")
    _save(console, comparison.plot(), output / "comparison.png")
    # After an interrupt the user waits no longer than needed: the further trainings of `closer_looks` are left out.
    options = {key: sizes[key] for key in ("hidden", "batch_size")}
    looks = {} if comparison.interrupted else digit_comparison.closer_looks(comparison, split, **options)
    for figure, name in zip(looks.values(), ("range_test.png", "landscape.png"), strict=False):
        _save(console, figure, output / name)
    text = page(comparison, f"Optimisers compared on {data}", about, looks)
    (output / "comparison.html").write_text(text, encoding="utf-8")
    console.print(f"Page: {output / 'comparison.html'}", soft_wrap=True, markup=False)


def _write_records(comparison: Comparison, path: Path) -> None:
    """Writes the records of the comparison as a CSV file, one line for each run."""
    records = comparison.records()
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _network(console: "Console", output: Path) -> None:
    """Compares three optimisers on the digits, prints the table and saves its figure."""
    console.rule("The cost of a neural network, by optimiser")
    names = ["sgd by hand", "adam", "L-BFGS"]
    comparison = digit_comparison.compare_on_images(digits(), optimizers=names, rates=4, seeds=4, epochs=10)
    console.print(str(comparison), soft_wrap=True, markup=False, highlight=False)
    console.print("In full, with ten optimisers: jaxcalc compare", markup=False)
    _save(console, comparison.plot(), output / "optimizers.png")


def _worked_examples(console: "Console", output: Path) -> None:
    """Prints the textbook's examples and saves a figure of gradient descent."""
    console.rule("The calculus of neural networks: the text's numbers")
    rows = [
        (name, text, ", ".join(f"{value:.7g}" for value in np.atleast_1d(computed)))
        for name, text, computed in demo.worked_examples()
    ]
    _table(console, ("example", "the text", "jaxcalc"), rows, numbers=())
    path = demo.descent_on_the_quartic(20)
    ax = plots.descent(
        problems.quartic,
        path,
        interval=(-0.25, 3.25),
        minima=demo.critical_points_of_the_quartic()[1:],
        title="Gradient descent on x(x - 1)(x - 2)(x - 3), learning rate 0.05",
    )
    _save(console, figure_of(ax), output / "descent.png")


def _bootstrap(console: "Console", output: Path, study: demo.Study, resamples: int, seed: int) -> None:
    """Bootstraps the study, prints intervals and speed, and saves the estimates."""
    m, n = study.design.shape
    console.rule("The bootstrap of a study")
    console.print(
        f"{resamples:,} logistic regressions with a ridge, each on {m} patients drawn with replacement from the {m} "
        f"of scikit-learn's breast-cancer data: was the tumour malignant, from {n - 1} standardised features?"
    )
    result = demo.bootstrap(study, resamples, seed)
    lower, upper = result.interval
    rows = [
        (name, f"{estimate:+.4f}", f"{low:+.4f}", f"{high:+.4f}")
        for name, estimate, low, high in zip(study.names, result.estimate, lower, upper, strict=True)
    ]
    _table(console, ("coefficient", "estimate", "2.5 %", "97.5 %"), rows)
    _print_statuses(console, result.status)
    pace, scipy_pace = resamples / result.seconds, len(result.scipy_resampled) / result.scipy_seconds
    rows = [
        ("jaxcalc.minimize_many", f"{resamples:,}", f"{result.seconds:.2f}", f"{pace:,.0f}"),
        (
            "a loop of SciPy's BFGS",
            f"{len(result.scipy_resampled)}",
            f"{result.scipy_seconds:.2f}",
            f"{scipy_pace:,.0f}",
        ),
    ]
    _table(console, ("", "fits", "seconds", "fits per second"), rows)
    console.print(
        f"{pace / scipy_pace:.0f} times as fast ({device_name()}); the first call, which compiles, took "
        f"{result.compile_seconds:.1f} s more. Largest difference between the two's estimates: "
        f"{result.largest_difference:.1e}. Both stop where the gradient is at most {demo.BOOTSTRAP_GTOL:g}."
    )
    np.savez(
        output / "bootstrap.npz",
        names=study.names,
        estimate=result.estimate,
        resampled=result.resampled,
        status=result.status,
    )


def _maps(console: "Console", output: Path, side: int, seed: int) -> None:
    """Fits a decay to each pixel of a stack of pictures, prints speed and coverage, and saves the maps."""
    console.rule("From a stack of pictures to maps with errors")
    result = maps.decay_maps(side, seed)
    count = result.truth.size
    console.print(
        f"{count:,} decays of {len(maps.TIMES)} points, one for each pixel, in {result.seconds:.2f} s, "
        f"{count / result.seconds:,.0f} a second; the first call took {result.compile_seconds:.1f} s more."
    )
    _print_statuses(console, result.status)
    console.print(f"The true rate lies in the 95 % interval of {100 * result.covered:.1f} % of the pixels.")
    failed = ~is_success(result.status).reshape(result.truth.shape)
    axes = plots.parameter_maps(result.fitted, names=maps.PARAMETERS, failed=failed)
    _save(console, figure_of(axes[0]), output / "maps.png")


def _basins(console: "Console", output: Path, grid: int) -> None:
    """Computes the basins of attraction of Himmelblau's minima, prints their sizes and saves their picture."""
    console.rule("Which minimum is reached from where")
    result = demo.himmelblau_basins(grid)
    console.print(
        f"{grid} x {grid} starts on Himmelblau's function in {result.seconds:.2f} s, "
        f"{result.labels.size / result.seconds:,.0f} a second; the first call took {result.compile_seconds:.1f} s more."
    )
    rows = [
        (f"({a:.6f}, {b:.6f})", f"{np.sum(result.labels == k):,}") for k, (a, b) in enumerate(demo.HIMMELBLAU.minima)
    ]
    rows.append(("elsewhere, such as a saddle", f"{np.sum(result.labels < 0):,}"))
    _table(console, ("minimum", "starts that reach it"), rows)
    _print_statuses(console, result.status)
    (low, high) = demo.SQUARE
    title = f"BFGS on Himmelblau's function from {grid} x {grid} starts"
    ax = plots.basins(result.labels, (low, low), (high, high), demo.HIMMELBLAU.minima, title=title)
    _save(console, figure_of(ax), output / "basins.png")


def _print_statuses(console: "Console", status: np.ndarray) -> None:
    """Prints how many solves have converged, and how many ended with each status."""
    codes, counts = np.unique(status, return_counts=True)
    named = ", ".join(f"{count:,} {Status(code).name}" for code, count in zip(codes, counts, strict=True))
    console.print(f"Converged: {np.sum(status == Status.SUCCESS):,} of {status.size:,} ({named}).")


def _table(console: "Console", columns: tuple, rows: list, numbers: tuple | None = None) -> None:
    """Prints a table.

    Args:
        console: Where to print.
        columns: The heads of the columns.
        rows: The cells of each row, as strings.
        numbers: The indices of the columns to align on the right; by default all but the first.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    numbers = tuple(range(1, len(columns))) if numbers is None else numbers
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _save(console: "Console", figure: "Figure", path: Path) -> None:
    """Writes the figure to the file and prints its path."""
    figure.savefig(path)
    console.print(f"Picture: {path}", soft_wrap=True, markup=False)
