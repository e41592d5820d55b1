"""What MkDocs calls while it builds the site: see `mkdocs.yml`.

The reference, the gallery, and the two pages at the root of the repository become pages; the code of the written pages
is run, and what it prints and draws is put below it.
"""

import io
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs.build_site import blocks, gallery, reference

ROOT = Path(__file__).parents[2]
# The folders whose pages' code is run. The design quotes code that is no program.
RUN = ("index.md", "tutorial/", "how-to/", "explanation/")
FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./|docs/|examples/)[^)]*)\)")


def on_config(config: Any) -> Any:
    """Prepares JAX for the pages, and lists the generated pages in the navigation."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    missing = reference.undocumented()
    if missing:
        raise PluginError(f"public names without a docstring: {', '.join(missing)}")
    folders = {"reference/": list(reference.pages()), "gallery/": list(gallery.addresses())}
    for entry in config.nav:
        for title, pages in entry.items():
            entry[title] = folders.get(pages, pages) if isinstance(pages, str) else pages
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the pages that are made, not written."""
    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    for path, source in FROM_ROOT.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_text()))
    for path, content in gallery.files().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Runs the code of a written page; a link to a file that is no page becomes its text."""
    path = page.file.src_uri
    markdown = LINK.sub(lambda link: _inside(link, path, files), markdown)
    if not path.startswith(RUN):
        return markdown

    def picture(figure: Any, number: int) -> str:
        name = f"pictures/{path.removesuffix('.md').replace('/', '-')}-{number}.svg"
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", bbox_inches="tight")
        files.append(File.generated(config, name, content=drawn.getvalue()))
        return "../" * path.count("/") + name

    try:
        text, shown = blocks.run(markdown, path)
    except blocks.PageError as error:
        raise PluginError(str(error)) from error
    return blocks.with_shown(text, shown, picture) + gallery.link(path)


def _inside(link: re.Match, path: str, files: Files) -> str:
    """Returns a link as the site has it: to a page of the site, or the words alone."""
    target = re.sub(r"^(?:docs/)", "", link[2])
    if not link[2].startswith("../"):
        return f"[{link[1]}]({target})" if files.get_file_from_path(target.partition("#")[0]) else link[1]
    leads_out = os.path.normpath(os.path.join(os.path.dirname(path), target)).startswith("..")
    return link[1] if leads_out else link[0]
