"""The gallery: the page of an example shows what the example drew and printed, and its code."""

import ast
from functools import cache
from pathlib import Path

from docs.build_site import runs

EXAMPLES = Path(__file__).parents[2] / "examples"
# The written page -> the example about the same thing; other pages have the name of their example.
ABOUT = {
    "tutorial/slope": "slope_and_tangent",
    "tutorial/rules": "differentiation_rules",
    "tutorial/area": "area_and_antiderivative",
    "tutorial/gradient": "gradient_field",
    "tutorial/critical-points": "peaks_and_valleys",
    "tutorial/descent": "descent_on_the_quartic",
    "tutorial/network": "network_cost",
    "how-to/ragged-data": "ragged_subjects",
    "how-to/gaussian-processes": "gaussian_process",
    "how-to/standard-errors": "bootstrap",
    "how-to/bilevel": "ridge_penalties",
}


# A page without the list of its own sections, which leaves room for pictures and code.
WIDE = "---\nhide:\n  - toc\n---\n\n"


def navigation() -> list[str | dict[str, str]]:
    """Returns the gallery's pages as the navigation lists them: the overview, and each example by its short name."""
    paths = sorted(EXAMPLES.glob("*.py"))
    return ["gallery/index.md", *({_name(path): f"gallery/{path.stem}.md"} for path in paths)]


def link(page: str) -> str:
    """Returns a sentence that leads from a written page, such as how-to/lasso.md, to its example; "" without one."""
    page = page.removesuffix(".md")
    name = ABOUT.get(page, page.rpartition("/")[2].replace("-", "_"))
    exists = (EXAMPLES / f"{name}.py").exists()
    return (
        f"\n**In the gallery**: [{name.replace('_', ' ')}](../gallery/{name}.md), a whole script.\n" if exists else ""
    )


@cache
def files() -> dict[str, str | bytes]:
    """Returns the gallery's pages and pictures by their addresses.

    Raises:
        RuntimeError: If an example fails.
    """
    made: dict[str, str | bytes] = {}
    cards = []
    for path in sorted(EXAMPLES.glob("*.py")):
        printed, pictures, seconds = runs.example(path.stem)
        made |= {f"gallery/{path.stem}-{name}": content for name, content in pictures.items()}
        images = [f"![{path.stem.replace('_', ' ')}]({path.stem}-{name})" for name in pictures]
        about = ast.get_docstring(ast.parse(path.read_text())) or path.stem
        title, _, rest = about.partition("\n")
        made[f"gallery/{path.stem}.md"] = _page(path, title.rstrip("."), rest.strip(), images, printed, seconds)
        cards.append("\n\n".join(["<div markdown>", *images[:1], f"[{title.rstrip('.')}]({path.stem}.md)", "</div>"]))
    overview = f"{WIDE}# Gallery\n\nEvery picture was drawn, and every line printed, when this site was built.\n\n"
    grid = '<div class="gallery" markdown>\n\n' + "\n\n".join(cards) + "\n\n</div>\n"
    return {"gallery/index.md": overview + grid} | made


def _name(path: Path) -> str:
    words = path.stem.replace("_", " ").replace("ode ", "ODE ")
    return words[:1].upper() + words[1:]


def _page(path: Path, title: str, about: str, images: list[str], printed: str, seconds: float) -> str:
    output = f"``` {{ .text }}\n{printed.rstrip()}\n```" if printed.strip() else ""
    code = f"```` {{ .python }}\n{path.read_text().rstrip()}\n````"
    command = " ".join(["python", f"examples/{path.name}", *runs.arguments(path.stem)])
    ran = f"`{command}` took {seconds:.0f} s of processor time, compiling included, and printed:"
    return (
        "\n\n".join(part for part in [f"{WIDE}# {title}", about, *images, ran, output, "## The code", code] if part)
        + "\n"
    )
