"""How the docstrings of the library are read as Markdown."""

import re

import griffe

# A docstring's example, which doctest runs: lines with the prompt, and what they print.
EXAMPLE = re.compile(r"((?:^>>> .*\n?(?:^(?!>>> )\S.*\n?)*)+)", re.MULTILINE)
# Two indices, as in work[s][p], which Markdown takes for a link; in code between backticks they are none.
INDICES = re.compile(r"\]\[(?=[^`\n]*(?:`[^`\n]*`[^`\n]*)*$)", re.MULTILINE)


class HouseStyle(griffe.Extension):
    """Names sections as Griffe knows them, and sets examples outside of sections as code."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrites the docstring of an object once it has been read."""
        if obj.docstring is None:
            return
        text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
        text = re.sub(r"^Sources?: ", "**Source**: ", text, flags=re.MULTILINE)
        pieces = EXAMPLE.split(text)  # prose, example, prose, ...
        pieces[::2] = ["\n".join(map(_without_links, prose.split("\n"))) for prose in pieces[::2]]
        pieces[1::2] = [f"```pycon\n{code.rstrip()}\n```\n" for code in pieces[1::2]]
        obj.docstring.value = "".join(pieces)


def _without_links(line: str) -> str:
    """Returns a line of prose whose indices stay indices; code of an example as it is."""
    return line if line.lstrip().startswith((">>> ", "... ")) else INDICES.sub(r"]\\[", line)
