"""The gallery: every example is run in its short form; its page shows what it drew and printed, and its code."""

import ast
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = EXAMPLES.parent
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


def addresses() -> list[str]:
    """Returns the addresses of the gallery's pages: the overview and one for each example."""
    return ["gallery/index.md", *(f"gallery/{path.stem}.md" for path in sorted(EXAMPLES.glob("*.py")))]


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
    """Runs all examples and returns the gallery's pages and pictures by their addresses.

    Raises:
        RuntimeError: If an example fails.
    """
    made: dict[str, str | bytes] = {}
    cards = []
    for path in sorted(EXAMPLES.glob("*.py")):
        printed, pictures = _run(path)
        made |= {f"gallery/{path.stem}-{name}": content for name, content in pictures.items()}
        images = [f"![{path.stem.replace('_', ' ')}]({path.stem}-{name})" for name in pictures]
        about = ast.get_docstring(ast.parse(path.read_text())) or path.stem
        title, _, rest = about.partition("\n")
        made[f"gallery/{path.stem}.md"] = _page(path, title.rstrip("."), rest.strip(), images, printed)
        cards.append("\n\n".join(["<div markdown>", *images[:1], f"[{title.rstrip('.')}]({path.stem}.md)", "</div>"]))
    overview = "# Gallery\n\nEvery picture was drawn, and every line printed, when this site was built.\n\n"
    grid = '<div class="gallery" markdown>\n\n' + "\n\n".join(cards) + "\n\n</div>\n"
    return {"gallery/index.md": overview + grid} | made


def _page(path: Path, title: str, about: str, images: list[str], printed: str) -> str:
    output = f"``` {{ .text }}\n{printed.rstrip()}\n```" if printed.strip() else ""
    code = f"```` {{ .python }}\n{path.read_text().rstrip()}\n````"
    ran = f"`python examples/{path.name} --short` prints:" if output else ""
    return "\n\n".join(part for part in [f"# {title}", about, *images, ran, output, "## The code", code] if part) + "\n"


def _run(path: Path) -> tuple[str, dict[str, bytes]]:
    """Runs an example in an empty folder; returns what it printed, and its pictures by name."""
    with tempfile.TemporaryDirectory() as folder:
        takes_folder = ["--output", "."] if '"--output"' in path.read_text() else []
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "MPLBACKEND": "Agg",
            "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        }
        command = [sys.executable, str(path), "--short", *takes_folder]
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{path.name} fails:\n{run.stderr[-2000:]}")
        found = sorted(p for p in Path(folder).rglob("*") if p.suffix in (".png", ".svg"))
        return run.stdout, {p.name: p.read_bytes() for p in found}
