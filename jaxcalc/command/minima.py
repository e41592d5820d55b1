"""`jaxcalc minimize`: an expression minimised from one start or from many, with and without constraints."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.optimize
from scipy.stats import qmc

from jaxcalc.command.answers import array_source, bound, places
from jaxcalc.command.expressions import Expression, ExpressionError, natural
from jaxcalc.command.reports import Report, Table
from jaxcalc.engine.status import Status
from jaxcalc.optimize.certify import certify
from jaxcalc.optimize.minimize import minimize as minimize_one
from jaxcalc.optimize.minimize import minimize_many
from jaxcalc.optimize.multistart.multistart import multistart

MOST_STARTS = 1_000_000
# Ends of constrained descents nearer to each other than this share of the box count as one.
SAME = 1e-4


class Constraint(NamedTuple):
    """left relation right, as left - right compared with 0."""

    text: str
    difference: Expression
    lower: float
    upper: float


class Search(NamedTuple):
    """What is minimised: an expression in its variables, a box or None, and constraints."""

    expression: Expression
    names: tuple[str, ...]
    box: tuple[np.ndarray, np.ndarray] | None
    constraints: list[Constraint]

    def scipy_constraints(self) -> list[Any]:
        """Returns the constraints in SciPy's form."""
        return [
            scipy.optimize.NonlinearConstraint(one.difference.of_vector(self.names), one.lower, one.upper)
            for one in self.constraints
        ]

    def keywords(self) -> str:
        """Returns bounds and constraints as Python source."""
        words = "" if self.box is None else f", bounds=({array_source(self.box[0])}, {array_source(self.box[1])})"
        return words + self.constraint_source()

    def constraint_source(self) -> str:
        """Returns the constraints as Python source."""
        each = []
        for one in self.constraints:
            source = one.difference.vector_python(self.names)
            if one.lower == 0:
                each.append(f'{{"type": "{"eq" if one.upper == 0 else "ineq"}", "fun": {source}}}')
            else:
                each.append(f'{{"type": "ineq", "fun": lambda v: -({source})(v)}}')
        return f", constraints=[{', '.join(each)}]" if each else ""


def minimize(
    text: str,
    starts: int | None = None,
    box: str | None = None,
    start: str | None = None,
    subject_to: Sequence[str] = (),
) -> Report:
    """Returns the minima of an expression that one descent or many find.

    Args:
        text: The expression.
        starts: From how many points of the box to descend.
        box: The box, "-2,2" for all variables or "x=-2:2,y=0:1".
        start: The one start, "x=1,y=2"; by default a point of the box, or of 0 to 1.
        subject_to: Constraints, such as "x + y = 1" and "x**2 + y**2 <= 1".

    Raises:
        ExpressionError: If an expression is refused.
        ValueError: If options contradict each other, or do not fit the variables.
    """
    expression = Expression(text)
    constraints = [constraint(each) for each in subject_to]
    everything = {*expression.names, *(name for one in constraints for name in one.difference.names)}
    names = tuple(sorted(everything, key=natural))
    if not names:
        raise ExpressionError("this has no variables to minimise over.", expression.text, 0)
    search = Search(expression, names, None if box is None else _box(box, names), constraints)
    if starts is not None and start is not None:
        raise ValueError("--starts draws the starts from the box, --from is one start: give one of the two.")
    if starts is None:
        return _from_one(search, start)
    if search.box is None:
        raise ValueError("--starts needs --box, from which the starts are drawn: for example --box -2,2.")
    if not 1 <= starts <= MOST_STARTS:
        raise ValueError(f"--starts is 1 to {MOST_STARTS:,}; it is {starts:,}.")
    return _constrained_starts(search, starts) if constraints else _free_starts(search, starts)


def constraint(text: str) -> Constraint:
    """Returns the constraint that a text such as "x + y = 1" states.

    Raises:
        ExpressionError: If there is not exactly one of =, <= and >=, or a side is refused.
    """
    signs = list(re.finditer(r"<=|>=|==|=|<|>", text))
    if len(signs) != 1:
        spot = signs[1].start() if len(signs) > 1 else len(text)
        raise ExpressionError("a constraint holds one of =, <= and >=, as x + y <= 1.", text, spot)
    (sign,) = signs
    left, right = text[: sign.start()], text[sign.end() :]
    for side, shift in ((left, 0), (right, sign.end())):
        try:
            Expression(side)
        except ExpressionError as error:
            raise ExpressionError(f"--subject-to: {error.reason}", text, error.spot + shift) from None
    lower = -np.inf if sign.group().startswith("<") else 0.0
    upper = np.inf if sign.group().startswith(">") else 0.0
    return Constraint(text, Expression(f"({left.strip()})-({right.strip()})"), lower, upper)


def _box(text: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns both corners of the box that an option gives."""
    mend = f"write -2,2 for all variables, or {','.join(f'{name}=-2:2' for name in names)}."
    if "=" in text:
        named = [side.partition("=")[0].strip() for side in text.split(",")]
        if not all(side.count("=") == side.count(":") == 1 for side in text.split(",")) or set(named) != set(names):
            raise ValueError(f"--box {text}: {mend}")
        lower = places(re.sub(r":[^,]*", "", text), names, "--box")
        upper = places(re.sub(r"=[^,:]*:", "=", text), names, "--box")
    else:
        sides = text.split(",")
        if len(sides) != 2:
            raise ValueError(f"--box {text}: {mend}")
        lower, upper = (np.full(len(names), bound(side, "--box")) for side in sides)
    if not np.all(np.isfinite(lower) & np.isfinite(upper) & (lower < upper)):
        raise ValueError(f"--box {text}: each lower side must be below its upper side, and both finite.")
    return lower, upper


def _from_one(search: Search, start: str | None) -> Report:
    if start is not None:
        x0 = places(start, search.names, "--from")
    else:
        x0 = _away_from_symmetry(*(search.box or (np.zeros(len(search.names)), np.ones(len(search.names)))))
    f, constraints = search.expression.of_vector(search.names), search.scipy_constraints()
    result: Any = minimize_one(f, jnp.asarray(x0), bounds=search.box, constraints=constraints)
    found = certify(f, result.x, bounds=search.box, constraints=constraints)
    rows = [_row(result.x, result.fun, found.kind_name, "")]
    data = _data(search, rows) | {"start": x0, "status": Status(int(result.status)).name, "message": result.message}
    data |= {"success": bool(result.success), "nit": int(result.nit), "nfev": int(result.nfev)}
    notes = [
        f"{data['status']}: {result.message}",
        f"{data['nit']} iteration{'s' * (data['nit'] != 1)} from {_point(search.names, x0)}",
    ]
    if constraints:
        violation = float(result.constraint_violation)
        data |= {"constraint_violation": violation, "multipliers": [float(m) for m in result.multipliers]}
        notes += [
            f"multiplier {float(m):.8g} of {c.text}"
            for m, c in zip(result.multipliers, search.constraints, strict=True)
        ]
        notes += [f"largest violation of a constraint: {violation:.2g}"]
    notes.append("A descent finds one local minimum; --starts 1000 --box -2,2 looks for all of them in a box.")
    source = search.expression.vector_python(search.names)
    python = f"jc.minimize({source}, {array_source(x0)}{search.keywords()})"
    return Report(data, [_table(search, rows)], notes, python, 0 if data["success"] else 1)


def _away_from_symmetry(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Returns a point of a box with another share of each side: at 0 and in the middle, slopes are often 0."""
    golden = (math.sqrt(5) - 1) / 2
    return lower + (upper - lower) * (np.arange(1, len(lower) + 1) * golden % 1)


def _free_starts(search: Search, starts: int) -> Report:
    assert search.box is not None
    f = search.expression.of_vector(search.names)
    lower, upper = search.box
    found = multistart(f, (jnp.asarray(lower), jnp.asarray(upper)), starts=starts)
    kinds = found.certificate.kind_name
    counts = np.asarray(found.count).tolist()
    rows = [_row(x, fun, kind, count) for x, fun, kind, count in zip(found.x, found.fun, kinds, counts, strict=True)]
    data = _data(search, rows) | {"starts": int(found.starts), "success": bool(found.success[0])}
    data |= {"message": found.message, "missed_probability": float(found.missed_probability), "nfev": int(found.nfev)}
    source = search.expression.vector_python(search.names)
    python = f"jc.multistart({source}, ({array_source(lower)}, {array_source(upper)}), starts={starts})"
    return Report(data, [_table(search, rows)], [found.message], python, 0 if data["success"] else 1)


def _constrained_starts(search: Search, starts: int) -> Report:
    """Descends from Sobol points of the box, since `multistart` takes no constraints, and merges equal ends."""
    assert search.box is not None
    lower, upper = search.box
    f, constraints = search.expression.of_vector(search.names), search.scipy_constraints()
    unit = qmc.Sobol(len(lower), rng=np.random.default_rng(0)).random_base2(max(starts - 1, 0).bit_length())[:starts]
    x0 = lower + (upper - lower) * unit
    result: Any = minimize_many(f, jnp.asarray(x0), bounds=search.box, constraints=constraints)
    success, x, fun = (np.asarray(each) for each in (result.success, result.x, result.fun))
    firsts, counts = _distinct(x[success], fun[success], (upper - lower) * SAME)
    chosen = np.flatnonzero(success)[firsts]
    kinds = (
        certify(f, jnp.asarray(x[chosen]), bounds=search.box, constraints=constraints, many=True).kind_name
        if len(chosen)
        else []
    )
    rows = [_row(x[k], fun[k], kind, count) for k, kind, count in zip(chosen, kinds, counts, strict=True)]
    statuses = {
        Status(int(code)).name: int(number)
        for code, number in zip(*np.unique(result.status, return_counts=True), strict=True)
    }
    data = _data(search, rows) | {"starts": starts, "success": bool(success.any()), "statuses": statuses}
    notes = [f"{starts:,} starts: " + ", ".join(f"{number:,} {name}" for name, number in statuses.items())]
    source = search.expression.vector_python(search.names)
    sides = f"minval={array_source(lower)}, maxval={array_source(upper)}"
    drawn = f"jax.random.uniform(jax.random.key(0), {x0.shape}, {sides})"
    python = f"jc.minimize_many({source}, {drawn}{search.keywords()})"
    return Report(data, [_table(search, rows)], notes, python, 0 if data["success"] else 1)


def _distinct(x: np.ndarray, fun: np.ndarray, near: np.ndarray) -> tuple[list[int], list[int]]:
    """Returns the index of each distinct point, the lowest value first, and how many points lie near it."""
    left, firsts, counts = np.argsort(fun), [], []
    while left.size:
        same = np.all(np.abs(x[left] - x[left[0]]) <= near, axis=1)
        firsts.append(int(left[0]))
        counts.append(int(same.sum()))
        left = left[~same]
    return firsts, counts


def _row(x: Any, fun: Any, kind: str, count: Any) -> list:
    return [*np.asarray(x, float).tolist(), float(fun), kind, count]


def _table(search: Search, rows: list) -> Table:
    title = f"minimise {search.expression.text}"
    title += ", subject to " * bool(search.constraints) + " and ".join(one.text for one in search.constraints)
    if any(row[-1] for row in rows):
        return Table(title, [*search.names, "f", "kind", "starts"], rows)
    return Table(title, [*search.names, "f", "kind"], [row[:-1] for row in rows])


def _data(search: Search, rows: list) -> dict[str, Any]:
    minima = [
        {"x": dict(zip(search.names, row, strict=False)), "fun": row[-3], "kind": row[-2], "count": row[-1] or None}
        for row in rows
    ]
    return {
        "expression": search.expression.text,
        "subject_to": [one.text for one in search.constraints],
        "minima": minima,
    }


def _point(names: Sequence[str], x: np.ndarray) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in zip(names, x, strict=True))
