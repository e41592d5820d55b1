"""What MkDocs calls while it builds the site: see `mkdocs.yml`.

The reference, the gallery, and the two pages at the root of the repository become pages; the code of the written pages
is run, and what the code prints and draws is put below it.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs.build_site import blocks, gallery, reference, runs

ROOT = Path(__file__).parents[2]
# The folders whose pages' code is run. The design quotes code that is no program.
RUN = ("index.md", "tutorial/", "how-to/", "explanation/")
FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./|docs/|examples/)[^)]*)\)")


def on_config(config: Any) -> Any:
    """Lists the generated pages in the navigation."""
    missing = reference.undocumented()
    if missing:
        raise PluginError(f"public names without a docstring: {', '.join(missing)}")
    folders = {"reference/": list(reference.pages()), "gallery/": gallery.navigation()}
    for entry in config.nav:
        for title, pages in entry.items():
            entry[title] = folders.get(pages, pages) if isinstance(pages, str) else pages
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Runs the code of the pages and the examples, and adds the pages that are made, not written."""
    written = [file.src_uri for file in files.documentation_pages() if file.src_uri.startswith(RUN)]
    try:
        runs.everything(written, [path.stem for path in sorted(gallery.EXAMPLES.glob("*.py"))])
    except (blocks.PageError, RuntimeError) as error:
        raise PluginError(str(error)) from error
    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    for path, source in FROM_ROOT.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_text()))
    for path, content in gallery.files().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Puts what the code of a page has shown below it; a link to a file that is no page becomes its text."""
    path = page.file.src_uri
    if not path.startswith(RUN):
        return LINK.sub(lambda link: _inside(link, path, files), markdown)

    def picture(svg: str, number: int) -> str:
        name = f"pictures/{path.removesuffix('.md').replace('/', '-')}-{number}.svg"
        files.append(File.generated(config, name, content=svg))
        return "../" * path.count("/") + name

    markdown = blocks.with_shown(*runs.page(path), picture) + gallery.link(path)
    return LINK.sub(lambda link: _inside(link, path, files), markdown)


def _inside(link: re.Match, path: str, files: Files) -> str:
    """Returns a link as the site has it: to a page of the site, or the words alone."""
    target = re.sub(r"^(?:docs/)", "", link[2])
    if not link[2].startswith("../"):
        return f"[{link[1]}]({target})" if files.get_file_from_path(target.partition("#")[0]) else link[1]
    leads_out = os.path.normpath(os.path.join(os.path.dirname(path), target)).startswith("..")
    return link[1] if leads_out else link[0]
