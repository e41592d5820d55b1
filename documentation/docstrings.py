"""How the docstrings of the library are read as Markdown."""

import re

import griffe

# A docstring's example, which doctest runs: lines with the prompt, and what they print.
EXAMPLE = re.compile(r"((?:^>>> .*\n?(?:^(?!>>> )\S.*\n?)*)+)", re.MULTILINE)


class HouseStyle(griffe.Extension):
    """Names sections as Griffe knows them, and sets examples outside of sections as code."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrites the docstring of an object once it has been read."""
        if obj.docstring is None:
            return
        text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
        text = re.sub(r"^Sources?: ", "**Source**: ", text, flags=re.MULTILINE)
        obj.docstring.value = EXAMPLE.sub(lambda code: f"```pycon\n{code[1].rstrip()}\n```\n", text)
