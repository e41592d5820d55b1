"""The syntax trees of expressions, what a refusal of one says, and expressions as Python source."""

import ast
import warnings

from jaxcalc.command.functions import CONSTANTS, FUNCTIONS

MOST_CHARACTERS = 1_000
# How many characters before and after the spot a message shows.
SHOWN = 60


class ExpressionError(ValueError):
    """An expression that is refused: what is wrong, and where.

    Attributes:
        reason: What is wrong and how to mend it, a sentence.
        text: The whole expression.
        spot: The index in `text` of the character to blame.
    """

    reason: str
    text: str
    spot: int

    def __init__(self, reason: str, text: str, spot: int):
        self.reason, self.text, self.spot = reason, text, spot
        start = max(0, spot - SHOWN)
        shown = text[start : spot + SHOWN]
        super().__init__(f"{reason}\n  {shown}\n  {' ' * (spot - start)}^")


def syntax_tree(text: str) -> ast.expr:
    """Returns the syntax tree; Python's parser builds it and executes nothing."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(
            f"an expression has at most {MOST_CHARACTERS:,} characters; this one has {len(text):,}.",
            text[:60] + " ...",
            60,
        )
    bare = text.lstrip()
    lead = len(text) - len(bare)
    if not bare:
        raise ExpressionError("the expression is empty.", text, 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(bare.rstrip(), mode="eval").body
    except SyntaxError as error:
        # The offset 0 stands for the end of the text.
        spot = min(error.offset - 1 if error.offset else len(bare.rstrip()), len(bare))
        reason = (error.msg or "this is no expression").rstrip(".")
        if reason.startswith(("invalid decimal literal", "invalid syntax", "invalid imaginary")):
            reason = "this cannot be read; a product is written with *, as 2*x, and a power with **"
        raise ExpressionError(f"{reason[0].lower()}{reason[1:]}.", text, lead + spot) from None
    except (RecursionError, MemoryError, ValueError):
        raise ExpressionError(
            "the expression is nested too deeply, or holds characters that it may not.", text, lead
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset = lead + _characters(bare, node.col_offset)
            node.end_col_offset = lead + _characters(bare, node.end_col_offset or 0)
    return tree


def _characters(text: str, offset: int) -> int:
    """Returns the number of characters before an offset in bytes, in which Python's syntax trees count."""
    return len(text.encode()[:offset].decode(errors="ignore"))


def as_python(text: str) -> str:
    """Returns an expression as Python source that uses `jax` and `jnp`."""
    return ast.unparse(_AsPython().visit(syntax_tree(text)))


class _AsPython(ast.NodeTransformer):
    """Writes functions and constants as Python names."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        known = FUNCTIONS.get(node.id)
        source = known.source if known else f"jnp.{node.id}" if node.id in CONSTANTS else node.id
        return ast.copy_location(ast.Name(source, node.ctx), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Writes a < b < c as (a < b) & (b < c), which arrays understand."""
        self.generic_visit(node)
        sides = [node.left, *node.comparators]
        each = [ast.Compare(a, [op], [b]) for a, op, b in zip(sides[:-1], node.ops, sides[1:], strict=True)]
        whole: ast.expr = each[0]
        for one in each[1:]:
            whole = ast.BinOp(whole, ast.BitAnd(), one)
        return whole
