"""The calculator's commands: derivative, gradient, integrate, taylor, critical-points, minimize, fit, show, doctor.

They end with 0, with 1 where a computation did not succeed, and with 2 for a wrong use, which one message explains.
"""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import jax

from jaxcalc.command import answers, fits, minima
from jaxcalc.command.doctor import doctor as diagnosis
from jaxcalc.command.reports import Report
from jaxcalc.command.show import show as all_cards

if TYPE_CHECKING:
    from typer import Typer

WRONG_USE = 2
# An expression may begin with a minus, which is no option.
SETTINGS = {"ignore_unknown_options": True}


def add_commands(app: "Typer") -> None:
    """Adds the commands to the application."""
    _add_slopes(app)
    _add_ranges(app)
    _add_minimize(app)
    _add_fit(app)
    _add_show(app)


def answer(compute: Callable[[], Report], as_json: bool, double: bool = True) -> int:
    """Prints the answer of a computation, or why there is none; returns the exit code.

    Args:
        compute: Returns the answer.
        as_json: Whether to print JSON.
        double: Whether to compute in double precision.
    """
    from rich.console import Console

    try:
        # Of the context, so that a program that calls the command keeps its own precision.
        with jax.enable_x64(True) if double else contextlib.nullcontext():
            report = compute()
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    if as_json:
        print(report.json())
    else:
        report.print(Console())
    return report.code


def _options() -> tuple:
    """Returns what typer is told of the expression and of --json."""
    import typer

    expression = typer.Argument(help="The expression, as 'x**2*sin(x)'.")
    as_json = typer.Option("--json", help="Print JSON.")
    return expression, as_json


def _add_slopes(app: "Typer") -> None:
    import typer

    expression, as_json = _options()

    @app.command("derivative", context_settings=SETTINGS)
    def derivative(
        expr: Annotated[str, expression],
        at: Annotated[str, typer.Option(help="The point, as 1.5, pi/2 or x=1.5.")],
        order: Annotated[int, typer.Option(help="How many times to differentiate.")] = 1,
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """The derivative of an expression at a point."""
        raise typer.Exit(answer(lambda: answers.derivative(expr, at, order), json))

    @app.command("gradient", context_settings=SETTINGS)
    def gradient(
        expr: Annotated[str, expression],
        at: Annotated[str, typer.Option(help="The point, as x=1,y=2.")],
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """The partial derivatives of an expression at a point."""
        raise typer.Exit(answer(lambda: answers.gradient(expr, at), json))

    @app.command("taylor", context_settings=SETTINGS)
    def taylor(
        expr: Annotated[str, expression],
        at: Annotated[str, typer.Option(help="The point to expand about.")] = "0",
        order: Annotated[int, typer.Option(help="The degree of the polynomial.")] = 4,
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """The Taylor polynomial of an expression."""
        raise typer.Exit(answer(lambda: answers.taylor(expr, at, order), json))


def _add_ranges(app: "Typer") -> None:
    import typer

    expression, as_json = _options()
    start = typer.Option("--from", help="The lower end; -inf is allowed.")
    stop = typer.Option("--to", help="The upper end; inf is allowed.")
    picture = typer.Option(dir_okay=False, help="A file for a picture, as out.png.")

    @app.command("integrate", context_settings=SETTINGS)
    def integrate(
        expr: Annotated[str, expression],
        lower: Annotated[str, start],
        upper: Annotated[str, stop],
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """The definite integral of an expression."""
        raise typer.Exit(answer(lambda: answers.integrate(expr, lower, upper), json))

    @app.command("critical-points", context_settings=SETTINGS)
    def critical_points(
        expr: Annotated[str, expression],
        lower: Annotated[str, start] = "-inf",
        upper: Annotated[str, stop] = "inf",
        plot: Annotated[Path | None, picture] = None,
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """Every minimum, maximum and inflection of slope 0, and whether the list is proved complete."""
        raise typer.Exit(answer(lambda: answers.critical_points(expr, lower, upper, plot), json))


def _add_minimize(app: "Typer") -> None:
    import typer

    expression, as_json = _options()

    @app.command("minimize", context_settings=SETTINGS)
    def minimize(
        expr: Annotated[str, expression],
        starts: Annotated[int | None, typer.Option(help="From how many points of the box to descend.")] = None,
        box: Annotated[str | None, typer.Option(help="The box, as -2,2 or x=-2:2,y=0:1.")] = None,
        start: Annotated[str | None, typer.Option("--from", help="The one start, as x=1,y=2.")] = None,
        subject_to: Annotated[
            list[str] | None, typer.Option(help="A constraint with =, <= or >=, as 'x + y = 1'; may be repeated.")
        ] = None,
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """Minima of an expression, from one start or from many."""
        raise typer.Exit(answer(lambda: minima.minimize(expr, starts, box, start, subject_to or ()), json))


def _add_fit(app: "Typer") -> None:
    import typer

    _, as_json = _options()

    @app.command("fit")
    def fit(
        data: Annotated[Path, typer.Argument(help="A CSV file whose first line names its columns.")],
        model: Annotated[str, typer.Option(help=f"The curve: {', '.join(fits.MODELS)}.")],
        x: Annotated[str, typer.Option(help="The column of the curve's argument.")],
        y: Annotated[str, typer.Option(help="The column of the data.")],
        by: Annotated[str | None, typer.Option(help="The column that tells groups apart, one fit each.")] = None,
        sigma: Annotated[str | None, typer.Option(help="The column of the standard errors of the data.")] = None,
        output: Annotated[Path | None, typer.Option(dir_okay=False, help="A CSV file for the fits.")] = None,
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """A curve fitted to each group of a table, with standard errors and statuses."""
        raise typer.Exit(answer(lambda: fits.fit(data, model, x, y, by, sigma, output), json))


def _add_show(app: "Typer") -> None:
    import typer

    expression, as_json = _options()

    @app.command("show", context_settings=SETTINGS)
    def show(
        expr: Annotated[str, expression],
        lower: Annotated[str, typer.Option("--from", help="The lower end of the interval.")] = "-5",
        upper: Annotated[str, typer.Option("--to", help="The upper end of the interval.")] = "5",
        at: Annotated[str | None, typer.Option(help="The point of the derivatives.")] = None,
        order: Annotated[int, typer.Option(help="The degree of the Taylor polynomial.")] = 4,
        plot: Annotated[Path | None, typer.Option(dir_okay=False, help="A file for a picture.")] = None,
        page: Annotated[Path | None, typer.Option("--html", dir_okay=False, help="A file for an HTML page.")] = None,
        json: Annotated[bool, as_json] = False,
    ) -> None:
        """Everything about an expression: values, derivatives, critical points, area, Taylor polynomial."""
        raise typer.Exit(answer(lambda: all_cards(expr, lower, upper, at, order, plot, page), json))

    @app.command("doctor")
    def doctor(json: Annotated[bool, as_json] = False) -> None:
        """Versions, devices, precision, cache, and what the extras lack."""
        raise typer.Exit(answer(diagnosis, json, double=False))
