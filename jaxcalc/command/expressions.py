"""Mathematical expressions as text, read by a whitelist: a syntax tree is walked, and no text is ever executed.

    expression := number | name | pi | e | -expression | (expression) | function(expression, ...)
                | expression (+ | - | * | / | **) expression
    condition  := expression (< | <= | > | >=) expression ..., as the first argument of `where`

A name that is neither a function nor a constant is a variable. Everything else is refused, and the refusal shows the
expression with a caret under the spot.
"""

import ast
import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcalc.command.functions import CONSTANTS, FUNCTIONS, INSTEAD, RESERVED, Function
from jaxcalc.command.syntax import ExpressionError, as_python, syntax_tree

DEEPEST, MOST_NODES = 200, 1_000
# Beyond this size a whole exponent is a float: XLA would write out the products of x**n for an integer n.
LARGEST_WHOLE_EXPONENT = 1_000

OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
RELATIONS: dict[type, Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
# A part of an expression: a number, or a function of the variables' values by name.
Part = float | Callable[[Mapping[str, Any]], Any]


class Expression:
    """An expression that has been read: a function of its variables that JAX can trace.

    Attributes:
        text: The expression.
        names: The variables, in alphabetical order; x2 stands before x10.

    Example:
        >>> expression = Expression("x**2*y + sin(0)")
        >>> expression.names, float(expression.function()(3.0, 2.0))
        (('x', 'y'), 18.0)
    """

    def __init__(self, text: str):
        """Reads the expression.

        Args:
            text: The expression, at most 1,000 characters.

        Raises:
            ExpressionError: If the text holds anything but what the grammar of this module allows.
        """
        self.text: str = re.sub(r"\s", " ", text)
        tree = syntax_tree(self.text)
        reader = _Reader(self.text)
        self._part = reader.part(tree)
        self._tree = tree
        self.names: tuple[str, ...] = tuple(sorted(reader.names, key=natural))

    def function(self, names: Sequence[str] | None = None) -> Callable[..., Array]:
        """Returns f(*values) of these variables, by default the expression's own, in the order of the names."""
        names = tuple(self.names if names is None else names)

        def f(*values: Any) -> Array:
            arrays = [jnp.asarray(value) for value in values]
            shape = jnp.broadcast_shapes(*(array.shape for array in arrays))
            return jnp.broadcast_to(_value(self._part, dict(zip(names, arrays, strict=True))), shape)

        return f

    def of_vector(self, names: Sequence[str] | None = None) -> Callable[[Array], Array]:
        """Returns f(x) of the vector x of these variables, (n,)."""
        f = self.function(names)
        return lambda x: f(*x)

    def spot_of(self, name: str) -> int:
        """Returns where a variable stands first in the text."""
        return min(
            (node.col_offset for node in ast.walk(self._tree) if isinstance(node, ast.Name) and node.id == name),
            default=0,
        )

    def python(self, names: Sequence[str] | None = None) -> str:
        """Returns the function of these variables as Python source that uses `jax` and `jnp`."""
        names = self.names if names is None else names
        body = as_python(self.text)
        # A number alone is no array; with a variable times 0 it is.
        return f"lambda {', '.join(names)}: {body if self.names else f'{body} + 0 * {names[0]}'}"

    def vector_python(self, names: Sequence[str] | None = None) -> str:
        """Returns the function of the vector of these variables as Python source that uses `jax` and `jnp`."""
        return f"lambda v: ({self.python(names)})(*v)"


def constant(text: str) -> float:
    """Returns the number that an expression without variables stands for; "inf" and "-inf" are allowed.

    Raises:
        ExpressionError: If the text is no expression, or has variables.

    Example:
        >>> constant("2*pi"), constant("-inf")
        (6.283185307179586, -inf)
    """
    bare = text.strip().lower()
    if bare.lstrip("+-") in ("inf", "infinity") and len(bare) - len(bare.lstrip("+-")) <= 1:
        return -math.inf if bare.startswith("-") else math.inf
    expression = Expression(text)
    if expression.names:
        name = expression.names[0]
        reason = f"a number is wanted here, without the variable {name}."
        raise ExpressionError(reason, expression.text, expression.spot_of(name))
    with jax.enable_x64(True):
        return float(expression.function()())


def natural(name: str) -> list[Any]:
    """Returns a key that sorts x2 before x10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", name) if part]


def _value(part: Part, values: Mapping[str, Any]) -> Any:
    return part(values) if callable(part) else part


class _Reader:
    """Turns the nodes of a syntax tree into parts, and refuses every node that the grammar does not name."""

    def __init__(self, text: str):
        self.text = text
        self.names: set[str] = set()
        self._nodes = 0

    def part(self, node: ast.expr, depth: int = 0) -> Part:
        """Returns the part that a node stands for."""
        self._nodes += 1
        if depth > DEEPEST or self._nodes > MOST_NODES:
            raise self._refusal(node, f"the expression has more than {MOST_NODES:,} terms or {DEEPEST} levels.")
        if isinstance(node, ast.Constant):
            return self._number(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            return self._signed(node, depth)
        if isinstance(node, ast.BinOp):
            return self._operation(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        raise self._refusal(node, self._why_not(node))

    def _number(self, node: ast.Constant) -> float:
        number = node.value
        # Not isinstance: True is an int.
        if type(number) is not int and type(number) is not float:
            kinds = {complex: "an imaginary number", str: "a text", bytes: "a text"}
            what = kinds.get(type(number), repr(number))
            raise self._refusal(node, f"{what} is not allowed; an expression holds real numbers.")
        try:
            value = float(cast(float, number))
        except OverflowError:
            value = math.inf
        if math.isinf(value):
            raise self._refusal(node, "this number is too large for double precision.")
        return value

    def _name(self, node: ast.Name) -> Part:
        name = node.id
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in FUNCTIONS:
            raise self._refusal(node, f"{name} is a function: write {name}(...).")
        if name.startswith("_") or name in RESERVED:
            raise self._refusal(node, f"{name} is not allowed as the name of a variable.")
        self.names.add(name)
        return lambda values: values[name]

    def _signed(self, node: ast.UnaryOp, depth: int) -> Part:
        inner = self.part(node.operand, depth + 1)
        if isinstance(node.op, ast.UAdd):
            return inner
        return (lambda values: -inner(values)) if callable(inner) else -inner

    def _operation(self, node: ast.BinOp, depth: int) -> Part:
        if type(node.op) not in OPERATORS:
            spot, sign = self._sign_between(node)
            mend = {"^": "a power is written **", "//": "a quotient is written /"}.get(sign, "there are + - * / and **")
            raise ExpressionError(f"{sign} is not allowed: {mend}.", self.text, spot)
        left, right = self.part(node.left, depth + 1), self.part(node.right, depth + 1)
        combine = OPERATORS[type(node.op)]
        if not callable(left) and not callable(right):
            with np.errstate(all="ignore"):
                value = float(combine(np.float64(left), np.float64(right)))
            if not math.isfinite(value):
                raise ExpressionError("this is not a finite real number.", self.text, self._sign_between(node)[0])
            return value
        if (
            isinstance(node.op, ast.Pow)
            and not callable(right)
            and right == int(right)
            and abs(right) <= LARGEST_WHOLE_EXPONENT
        ):
            whole = int(right)
            return lambda values: _value(left, values) ** whole
        return lambda values: combine(_value(left, values), _value(right, values))

    def _call(self, node: ast.Call, depth: int) -> Part:
        if not isinstance(node.func, ast.Name):
            if isinstance(node.func, ast.Constant | ast.BinOp | ast.UnaryOp | ast.Call):
                spot = self.text.find("(", node.func.end_col_offset or 0)
                raise ExpressionError("a product is written with *, as 2*(x + 1).", self.text, spot)
            raise self._refusal(node.func, self._why_not(node.func))
        name = node.func.id
        if name not in FUNCTIONS:
            raise self._refusal(node.func, _no_function(name))
        function = FUNCTIONS[name]
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self._refusal(node, f"{name} takes expressions only: {function.usage(name)}.")
        if not function.least <= len(node.args) <= function.most:
            raise self._refusal(node, f"{name} is given {len(node.args)} arguments; write {function.usage(name)}.")
        first = self._condition if name == "where" else self.part
        parts = [first(node.args[0], depth + 1), *(self.part(argument, depth + 1) for argument in node.args[1:])]
        return _application(function, parts)

    def _condition(self, node: ast.expr, depth: int) -> Part:
        if not isinstance(node, ast.Compare) or any(type(op) not in RELATIONS for op in node.ops):
            raise self._refusal(node, "the first argument of where is a comparison, such as x < 0 or 0 <= x <= 1.")
        sides = [self.part(side, depth + 1) for side in (node.left, *node.comparators)]
        relations = [RELATIONS[type(op)] for op in node.ops]

        def holds(values: Mapping[str, Any]) -> Any:
            each = [_value(side, values) for side in sides]
            tests = [relation(a, b) for relation, a, b in zip(relations, each[:-1], each[1:], strict=True)]
            result = jnp.asarray(tests[0])
            for test in tests[1:]:
                result = result & test
            return result

        return holds

    def _sign_between(self, node: ast.BinOp) -> tuple[int, str]:
        """Returns where the sign of an operation stands, and the sign."""
        start, stop = node.left.end_col_offset or 0, node.right.col_offset
        found = re.search(r"[^\s()]+", self.text[start:stop])
        return (start, "?") if found is None else (start + found.start(), found.group())

    def _why_not(self, node: ast.AST) -> str:
        """Returns why a kind of node is refused, and what to write instead."""
        if isinstance(node, ast.Compare):
            return "a comparison stands in where(...) only, as in where(x < 0, -x, x)."
        if isinstance(node, ast.IfExp | ast.BoolOp):
            return "conditions are written where(x < 0, -x, x)."
        if isinstance(node, ast.UnaryOp):
            return "of signs before an expression there is the minus only."
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).lower()
        return f"this ({words}) is not allowed: there are numbers, variables, + - * / **, and functions such as sin(x)."

    def _refusal(self, node: ast.expr, reason: str) -> ExpressionError:
        return ExpressionError(reason, self.text, self._spot(node))

    def _spot(self, node: ast.expr) -> int:
        """Returns the place of a node: of an attribute that of its dot, elsewhere that of the first character."""
        if isinstance(node, ast.Attribute):
            return self.text.find(".", node.value.end_col_offset or 0)
        return node.col_offset


def _application(function: Function, parts: Sequence[Part]) -> Part:
    return lambda values: function.fun(*(_value(part, values) for part in parts))


def _no_function(name: str) -> str:
    """Returns why a name that is called is refused."""
    near = [INSTEAD[name]] if name in INSTEAD else difflib.get_close_matches(name, FUNCTIONS, 1, 0.7)
    if near:
        return f"there is no function {name}; is it {near[0]}?"
    if len(name) <= 2:
        return f"{name} is no function; a product is written {name}*(...)."
    return f"there is no function {name}; there are {', '.join(FUNCTIONS)}."
