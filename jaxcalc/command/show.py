"""`jaxcalc show`: everything about one expression, a card each."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxcalc.calculus.derivatives import derivative, hessian
from jaxcalc.command import answers
from jaxcalc.command.expressions import Expression
from jaxcalc.command.page import report_page
from jaxcalc.command.reports import Report, Table
from jaxcalc.optimize.certify import certify
from jaxcalc.plots.canvas import figure_of
from jaxcalc.plots.curves import Points, curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 9


def show(
    text: str,
    lower: str = "-5",
    upper: str = "5",
    at: str | None = None,
    order: int = 4,
    plot: Path | None = None,
    page: Path | None = None,
) -> Report:
    """Returns all cards of an expression.

    Of one variable: a table of values and slopes, the derivatives at a point, the critical points with what is proved
    of them, the area, and the Taylor polynomial. Of several: value, gradient, Hessian and the kind of the point.

    Args:
        text: The expression.
        lower: The lower end of the interval, may be infinite.
        upper: The upper end.
        at: The point of the derivatives and of the polynomial; by default 0, or the first value of the table at which
            the expression is finite.
        order: The degree of the polynomial.
        plot: The file for a picture.
        page: The file for all cards as one HTML page, with the picture in it.
    """
    if len(Expression(text).names) > 1:
        report, figure = _of_several(Expression(text), at), None
    else:
        report = _of_one(text, lower, upper, at, order)
        figure = _picture(text, report) if plot or page else None
    written = []
    if plot is not None and figure is not None:
        figure.savefig(plot)
        written.append(f"Picture: {plot}")
    if page is not None:
        page.write_text(report_page(report, text, figure), encoding="utf-8")
        written.append(f"Page: {page}")
    return dataclasses.replace(report, notes=[*report.notes, *written])


def _picture(text: str, report: Report) -> "Figure":
    """Draws the curve of a report on one variable."""
    expression, name = answers.one_variable(text)
    found = report.data["critical_points"]
    points = Points(found["x"], found["fun"], found["kind"])
    f = expression.function([name])
    return figure_of(curve(f, found["from"], found["to"], critical_points=points, title=text, name=name))


def _of_one(text: str, lower: str, upper: str, at: str | None, order: int) -> Report:
    """Returns the cards of an expression of one variable."""
    answers.checked_order(order)
    expression, name = answers.one_variable(text)
    f = expression.function([name])
    x = _grid(answers.bound(lower, "--from"), answers.bound(upper, "--to"))
    y, slopes = (np.asarray(each) for each in (jnp.vectorize(f)(x), derivative(f)(x)))
    if not np.any(np.isfinite(y)):
        raise ValueError(f"{text} is finite nowhere between {x[0]:g} and {x[-1]:g}: choose another --from and --to.")
    rows = [[float(each) for each in row] for row in zip(x, y, slopes, strict=True)]
    values = Table(f"f({name}) = {text}", [name, f"f({name})", f"f'({name})"], rows)
    place = at if at is not None else repr(_somewhere_finite(x, y, float(f(0.0))))
    taylor = answers.taylor(text, place, order)
    critical = answers.critical_points(text, lower, upper)
    area = answers.integrate(text, lower, upper)
    data: dict[str, Any] = {"expression": text, "variable": name, "values": {"x": x, "f": y, "derivative": slopes}}
    data |= {"critical_points": critical.data, "integral": area.data, "taylor": taylor.data}
    cards = [values, *critical.tables, *area.tables, _derivatives(taylor.data, name)]
    return Report(
        data, cards, [*critical.notes, *(f"integral: {note}" for note in area.notes), *taylor.notes], critical.python
    )


def _derivatives(taylor: dict[str, Any], name: str) -> Table:
    """Returns the derivatives at the point of a Taylor polynomial, whose coefficients they determine."""
    factorial, rows = 1.0, []
    for k, c in enumerate(np.asarray(taylor["coefficients"]).tolist()):
        factorial *= max(k, 1)
        rows.append([str(k), c * factorial, c])
    return Table(f"derivatives at {name} = {taylor['at']:g}", ["order", "derivative", "Taylor coefficient"], rows)


def _of_several(expression: Expression, at: str | None) -> Report:
    """Returns the cards of an expression of several variables, at a point that is the origin by default."""
    names = expression.names
    place = at if at is not None else ",".join(f"{name}=0" for name in names)
    slopes = answers.gradient(expression.text, place)
    point = jnp.asarray(answers.places(place, names))
    f = expression.of_vector()
    matrix, found = np.asarray(hessian(f)(point)), certify(f, point)
    rows = [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)]
    data = slopes.data | {"hessian": matrix, "kind": found.kind_name}
    data |= {"eigenvalues": [float(found.min_eigenvalue), float(found.max_eigenvalue)]}
    notes = [*slopes.notes, f"this point: {found.kind_name} (eigenvalues of the Hessian from "
             f"{data['eigenvalues'][0]:.8g} to {data['eigenvalues'][1]:.8g})"]  # fmt: skip
    return Report(data, [*slopes.tables, Table("second derivatives", ["", *names], rows)], notes, slopes.python)


def _grid(lower: float, upper: float) -> np.ndarray:
    """Returns the points of the table of values; on an infinite side it ends 10 from the other end, or from 0."""
    low = lower if np.isfinite(lower) else min(0.0, upper if np.isfinite(upper) else 0.0) - 10
    high = upper if np.isfinite(upper) else max(0.0, lower if np.isfinite(lower) else 0.0) + 10
    return np.linspace(low, high, ROWS)


def _somewhere_finite(x: np.ndarray, y: np.ndarray, at_zero: float) -> float:
    """Returns 0 if it is in the table's range and the value there is finite, else a point of the table."""
    if np.isfinite(at_zero) and x[0] <= 0 <= x[-1]:
        return 0.0
    finite = x[1:-1][np.isfinite(y[1:-1])]
    return float(finite[len(finite) // 2]) if finite.size else float(x[len(x) // 2])
