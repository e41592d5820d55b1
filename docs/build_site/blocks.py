"""The Python code of a page: found, run in order in one namespace, and followed by what it printed and drew.

A block that binds the name `figure` to a matplotlib figure, or to Axes, shows that figure. In the text, the value of an
expression after the blocks above stands in for `{{ expression }}`: so the numbers of a page come from its own run.
"""

import contextlib
import dataclasses
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
VALUE = re.compile(r"\{\{ (.+?) \}\}")


@dataclasses.dataclass
class Shown:
    """What a block leaves behind: the text that it printed; the title and the SVG of the figure that it drew, or ""."""

    printed: str
    title: str = ""
    svg: str = ""


class PageError(Exception):
    """A block or an expression of a page has raised; the message names the page and the line."""


def run(text: str, name: str, namespace: dict[str, Any] | None = None) -> tuple[str, list[Shown]]:
    """Runs the blocks of a page and fills in its values.

    Args:
        text: The page in Markdown.
        name: The page's name, for messages.
        namespace: What the blocks run in; they leave their names there. By default a new one.

    Returns:
        The text with its values in place, and what each block has shown, in order.

    Raises:
        PageError: If a block or an expression raises.
    """
    namespace = {} if namespace is None else namespace
    namespace.setdefault("__name__", name)
    pieces, shown, end = [], [], 0
    for block in FENCE.finditer(text):
        pieces += [_filled(text[end : block.start()], name, namespace), block[0]]
        line = text.count("\n", 0, block.start()) + 1
        shown.append(_run_block("\n" * line + block[1], f"{name}:{line}", namespace))
        end = block.end()
    pieces.append(_filled(text[end:], name, namespace))
    return "".join(pieces), shown


def with_shown(text: str, shown: list[Shown], picture: Callable[[str, int], str]) -> str:
    """Returns the page with each block followed by what it has shown.

    Args:
        text: The page in Markdown.
        shown: What each block has shown, as from `run`.
        picture: Stores a picture and returns its address: picture(svg, number of the block).
    """
    numbers = iter(range(len(shown)))

    def followed(block: re.Match) -> str:
        number = next(numbers)
        parts = [block[0]]
        if shown[number].printed.strip():
            parts.append(f"``` {{ .text .printed }}\n{shown[number].printed.rstrip()}\n```")
        if shown[number].svg:
            parts.append(f"![{shown[number].title}]({picture(shown[number].svg, number)})")
        return "\n\n".join(parts)

    return FENCE.sub(followed, text)


@contextlib.contextmanager
def warnings_printed(printed: io.StringIO) -> Iterator[None]:
    """Puts the warnings of what runs inside below what it has printed."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        yield
    printed.writelines(f"{warning.category.__name__}: {warning.message}\n" for warning in warned)


def _run_block(code: str, place: str, namespace: dict[str, Any]) -> Shown:
    before = namespace.get("figure")
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), warnings_printed(printed):
            exec(compile(code, place, "exec"), namespace)
    except Exception as error:
        raise PageError(f"the block at {place} raises {type(error).__name__}: {error}") from error
    drawn = namespace.get("figure")
    figure = None if drawn is before else getattr(drawn, "figure", None)
    return Shown(printed.getvalue()) if figure is None else Shown(printed.getvalue(), _title(figure), _svg(figure))


def _filled(text: str, name: str, namespace: dict[str, Any]) -> str:
    def value(found: re.Match) -> str:
        try:
            return str(eval(found[1], namespace))
        except Exception as error:
            raise PageError(f"{found[0]} in {name} raises {type(error).__name__}: {error}") from error

    return VALUE.sub(value, text)


def _svg(figure: Any) -> str:
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", bbox_inches="tight")
    return drawn.getvalue()


def _title(figure: Any) -> str:
    """The title of a figure, as the words for those who do not see the picture."""
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    return next((title for title in titles if title), "What the code above draws").replace("\n", " ")
