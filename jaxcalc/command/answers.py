"""The calculus of expressions: each function takes what the command line gives, and returns a `Report`."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcalc.calculus.critical_points import CriticalPoints
from jaxcalc.calculus.critical_points import critical_points as all_critical_points
from jaxcalc.calculus.derivatives import derivative as derivative_of
from jaxcalc.calculus.derivatives import gradient as gradient_of
from jaxcalc.calculus.derivatives import taylor as taylor_coefficients
from jaxcalc.calculus.integration.definite import IntegralStatus
from jaxcalc.calculus.integration.integrals import integrate as integral_of
from jaxcalc.command.expressions import Expression, ExpressionError, constant
from jaxcalc.command.reports import Report, Table
from jaxcalc.plots.canvas import figure_of
from jaxcalc.plots.curves import curve

# Tracing and compiling take three times as long for each further order.
HIGHEST_ORDER = 8
# At which distances beside a point, as shares of its size, a jump of the derivative is looked for.
NEAR, FAR = 1e-7, 1e-5


def derivative(text: str, at: str, order: int = 1) -> Report:
    """Returns the derivative of an expression of one variable at a point."""
    expression, name = one_variable(text)
    x = place(at, name)
    f = expression.function([name])
    value, slope = float(f(x)), float(derivative_of(f, checked_order(order))(x))
    head = f"f{_primes(order)}({name})"
    python = f"jc.derivative({expression.python([name])}, order={order})({number_source(x)})"
    data = {"expression": text, "variable": name, "at": x, "order": order, "value": value, "derivative": slope}
    row = [x, value, slope] if order else [x, value]
    columns = [name, f"f({name})", head] if order else [name, f"f({name})"]
    undefined = _undefined(value, slope)
    notes = undefined or _kink(f, x, order)
    return Report(data, [Table(f"f({name}) = {text}", columns, [row])], notes, python, 1 if undefined else 0)


def gradient(text: str, at: str) -> Report:
    """Returns the gradient of an expression at a point that names every variable."""
    expression = Expression(text)
    if not expression.names:
        raise ExpressionError("this has no variables to differentiate with respect to.", expression.text, 0)
    point = places(at, expression.names)
    f = expression.of_vector()
    value, slopes = float(f(jnp.asarray(point))), np.asarray(gradient_of(f)(jnp.asarray(point)))
    names = expression.names
    rows = [[name, float(x), float(slope)] for name, x, slope in zip(names, point, slopes, strict=True)]
    data = {"expression": text, "at": dict(zip(names, point, strict=True)), "value": value}
    data |= {"gradient": dict(zip(names, slopes, strict=True)), "norm": float(np.linalg.norm(slopes))}
    undefined = _undefined(value, *slopes)
    notes = [f"value {value:.12g}, length of the gradient {data['norm']:.12g}", *undefined]
    python = f"jc.gradient({expression.vector_python()})({array_source(point)})"
    table = Table(f"f({', '.join(names)}) = {text}", ["variable", "at", "partial derivative"], rows)
    return Report(data, [table], notes, python, 1 if undefined else 0)


def integrate(text: str, lower: str, upper: str) -> Report:
    """Returns the integral of an expression of one variable."""
    expression, name = one_variable(text)
    a, b = bound(lower, "--from"), bound(upper, "--to")
    result = integral_of(expression.function([name]), a, b)
    value, error, success = float(result.value), float(result.error), bool(result.success)
    status = IntegralStatus(int(result.status)).name
    data = {"expression": text, "variable": name, "from": a, "to": b, "value": value, "error": error}
    data |= {"success": success, "status": status, "message": result.message, "nfev": int(result.nfev)}
    row = [value, f"{error:.2g}", status]
    title = f"the integral of {text} over {name} from {a:g} to {b:g}"
    python = f"jc.integrate({expression.python([name])}, {number_source(a)}, {number_source(b)})"
    table = Table(title, ["value", "estimated error", "status"], [row])
    return Report(data, [table], [] if success else [result.message], python, 0 if success else 1)


def taylor(text: str, at: str, order: int) -> Report:
    """Returns the Taylor polynomial of an expression of one variable."""
    expression, name = one_variable(text)
    x = place(at, name)
    coefficients = np.asarray(taylor_coefficients(expression.function([name]), x, checked_order(order)))
    polynomial = polynomial_text(coefficients, name, x)
    data = {"expression": text, "variable": name, "at": x, "order": order, "coefficients": coefficients}
    base = _base(name, x)
    rows = [[f"{base}^{k}" if k else "1", float(c)] for k, c in enumerate(coefficients)]
    python = f"jc.taylor({expression.python([name])}, {number_source(x)}, {order})"
    undefined = _undefined(*coefficients)
    notes = undefined or [f"{text} = {polynomial} + O({base}^{order + 1})"]
    table = Table(f"Taylor polynomial of {text} about {name} = {x:g}", ["term", "coefficient"], rows)
    return Report(data | {"polynomial": polynomial}, [table], notes, python, 1 if undefined else 0)


def critical_points(text: str, lower: str, upper: str, plot: Path | None = None) -> Report:
    """Returns every critical point of an expression of one variable on an interval, and what is proved of them."""
    expression, name = one_variable(text)
    a, b = bound(lower, "--from"), bound(upper, "--to")
    f = expression.function([name])
    points = all_critical_points(f, a, b)
    rows = [list(row) for row in zip(
        map(float, points.x), map(float, points.fun), map(float, points.second_derivative), points.kind,
        _global_words(points), strict=True,
    )]  # fmt: skip
    data: dict[str, Any] = {"expression": text, "variable": name, "from": a, "to": b, "x": points.x, "fun": points.fun}
    data |= {"second_derivative": points.second_derivative, "kind": points.kind, "infimum": points.infimum}
    data |= {"global_minimum": points.global_minimum, "global_maximum": points.global_maximum}
    data |= {"supremum": points.supremum, "certain": points.certain, "reasons": list(points.reasons)}
    notes = proof_notes(points)
    if plot is not None:
        figure_of(curve(f, a, b, critical_points=points, title=text, name=name)).savefig(plot)
        data, notes = data | {"plot": str(plot)}, [*notes, f"Picture: {plot}"]
    title = f"critical points of {text} on [{a:g}, {b:g}]"
    columns = [name, f"f({name})", f"f''({name})", "kind", "global"]
    python = f"jc.critical_points({expression.python([name])}, {number_source(a)}, {number_source(b)})"
    return Report(data, [Table(title, columns, rows)], notes, python)


def proof_notes(points: CriticalPoints) -> list[str]:
    """Returns what is proved of critical points, and what is not, as sentences."""
    range_note = f"infimum {points.infimum:.12g}, supremum {points.supremum:.12g}"
    if points.certain:
        return [
            range_note,
            "Proved: the list is complete and the kinds are right (interval bounds, rounding included).",
        ]
    return [
        range_note,
        "Not proved that the list is complete and the kinds are right:",
        *(f"- {r}" for r in points.reasons),
    ]


def one_variable(text: str) -> tuple[Expression, str]:
    """Returns an expression of one variable and the variable, which is x if the expression is a number.

    Raises:
        ExpressionError: If there are several variables.
    """
    expression = Expression(text)
    if len(expression.names) > 1:
        listed = ", ".join(expression.names)
        reason = f"this has {len(expression.names)} variables, {listed}, and one is wanted; see gradient and minimize."
        raise ExpressionError(reason, expression.text, expression.spot_of(expression.names[1]))
    return expression, expression.names[0] if expression.names else "x"


def bound(text: str, option: str) -> float:
    """Returns the number of an option, may be infinite.

    Raises:
        ExpressionError: If the text is no number; the reason names the option.
    """
    try:
        return constant(text)
    except ExpressionError as error:
        raise ExpressionError(f"{option}: {error.reason}", error.text, error.spot) from None


def place(text: str, name: str) -> float:
    """Returns the point that --at names, as "1.5" or "x=1.5"."""
    return float(places(text, [name])[0]) if "=" in text else bound(text, "--at")


def places(text: str, names: Sequence[str], option: str = "--at") -> np.ndarray:
    """Returns the values of the variables that an option such as "x=1,y=2" gives, in the order of the names.

    Raises:
        ValueError: If a variable is missing, unknown, or given twice.
    """
    given: dict[str, float] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or name not in names or name in given:
            what = "is given twice" if name in given else "is not one of the form name=number"
            what = f"names no variable of the expression, {', '.join(names)}" if sign and name not in names else what
            raise ValueError(f"{option} {text}: {part.strip()!r} {what}; write {_form(names)}.")
        given[name] = bound(value, option)
    missing = [name for name in names if name not in given]
    if missing:
        raise ValueError(f"{option} {text}: there is no value of {', '.join(missing)}; write {_form(names)}.")
    return np.array([given[name] for name in names])


def checked_order(order: int) -> int:
    """Returns the order; raises a ValueError if it is negative or too high."""
    if not 0 <= order <= HIGHEST_ORDER:
        raise ValueError(
            f"--order is 0 to {HIGHEST_ORDER}; it is {order}. Compiling takes three times as long for each."
        )
    return order


def number_source(x: float) -> str:
    """Returns a number as Python source."""
    return ("-" if x < 0 else "") + "jnp.inf" if math.isinf(x) else repr(float(x))


def array_source(x: Any) -> str:
    """Returns a vector as Python source."""
    return f"jnp.array([{', '.join(map(number_source, np.asarray(x).tolist()))}])"


def polynomial_text(coefficients: Any, name: str, x: float) -> str:
    """Returns sum_k c_k (name - x)^k in words, without terms that are 0."""
    base, words = _base(name, x), ""
    for k, c in enumerate(np.asarray(coefficients).tolist()):
        if c == 0:
            continue
        factor = "" if abs(c) == 1 and k else f"{abs(c):.10g}" + (" " if k else "")
        power = "" if k == 0 else base if k == 1 else f"{base}^{k}"
        sign = (" - " if c < 0 else " + ") if words else ("-" if c < 0 else "")
        words += f"{sign}{factor}{power}"
    return words or "0"


def _base(name: str, x: float) -> str:
    return name if x == 0 else f"({name} {'-' if x > 0 else '+'} {abs(x):.10g})"


def _primes(order: int) -> str:
    return "'" * order if order <= 3 else f"^({order})"


def _form(names: Sequence[str]) -> str:
    return ",".join(f"{name}={k + 1}" for k, name in enumerate(names))


def _global_words(points: CriticalPoints) -> list[str]:
    pairs = zip(points.global_minimum, points.global_maximum, strict=True)
    return [" and ".join(w for w, holds in (("minimum", low), ("maximum", high)) if holds) for low, high in pairs]


def _kink(f: Callable, x: float, order: int) -> list[str]:
    """Returns a note if a derivative seems to jump at a point.

    The difference of a smooth derivative between both sides shrinks with the distance; a jump remains.
    """
    slope, unit = derivative_of(f, order), max(1.0, abs(x))
    left, right, far_left, far_right = np.asarray(slope(x + unit * np.array([-NEAR, NEAR, -FAR, FAR])))
    jump, size = abs(right - left), abs(left) + abs(right)
    if not jump > max(0.5 * abs(far_right - far_left), 1e-6 * size):
        return []
    return [f"Beside this point it is {left:.6g} on the left and {right:.6g} on the right: there may be no derivative."]


def _undefined(*values: float) -> list[str]:
    """Returns a note if a value is not finite."""
    return [] if np.all(np.isfinite(values)) else ["The expression or its derivative is not finite there."]
