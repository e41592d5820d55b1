"""The code of the pages runs, old and new lines give the same answers, every public name is in the reference."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import jaxcalc as jc
from docs.build_site import blocks, reference, runs

pytest.importorskip("matplotlib")

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = ("tutorial", "how-to", "explanation")
PAGES = sorted([DOCS / "index.md", *(path for folder in FOLDERS for path in (DOCS / folder).glob("*.md"))])
# These compile little; the others together take minutes.
QUICK = {"slope", "rules", "gradient"}
NEEDS = {
    "flax-and-equinox": ("equinox", "flax"),
    "network": ("optax",),
    "pixels-to-maps": ("xarray",),
    "streams": ("zarr", "dask.distributed"),
}
TABLES = {"from-scipy": "scipy", "from-jaxopt": "jaxopt"}


def named(path: Path):
    marks = () if path.stem in QUICK or not blocks.FENCE.search(path.read_text()) else pytest.mark.slow
    return pytest.param(path, id=str(path.relative_to(DOCS)), marks=marks)


@pytest.mark.parametrize("path", [named(path) for path in PAGES])
def test_the_code_of_the_page_runs(path):
    for module in NEEDS.get(path.stem, ()):
        pytest.importorskip(module)
    text, shown = runs.page(path.relative_to(DOCS).as_posix())
    assert len(shown) == len(re.findall("^```python", text, re.MULTILINE))
    assert "{{ " not in text


def rows(name: str):
    """Returns what the blocks of a page define, and its rows: what a line does, the old line, the new line."""
    text = (DOCS / "how-to" / f"{name}.md").read_text()
    namespace = {}
    blocks.run(text, name, namespace)
    return namespace, re.findall(r"^\| ([^|`]+?) \| `(.+)` \| `(.+)` \|$", text, re.MULTILINE)


@pytest.mark.slow
def test_each_line_of_scipy_gives_what_the_new_line_gives():
    namespace, found = rows("from-scipy")
    assert len(found) >= 20
    for what, old, new in found:
        before, after = eval(old, namespace), eval(new, namespace)
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=2e-4, err_msg=what)


@pytest.mark.slow
def test_each_new_line_for_jaxopt_runs_and_gives_what_the_old_line_gives():
    namespace, found = rows("from-jaxopt")
    assert len(found) >= 12
    jaxopt = importlib.import_module("jaxopt") if importlib.util.find_spec("jaxopt") else None
    namespace |= {"jaxopt": jaxopt, "optax": pytest.importorskip("optax")}
    for what, old, new in found:
        after = eval(new, namespace)
        assert np.isfinite(after).all(), what
        if jaxopt is not None:
            np.testing.assert_allclose(after, eval(old, namespace), rtol=1e-3, atol=2e-4, err_msg=what)


def test_the_tables_have_no_row_that_no_test_runs():
    for name in TABLES:
        text = (DOCS / "how-to" / f"{name}.md").read_text()
        lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| |")]
        run = re.findall(r"^\| ([^|`]+?) \| `(.+)` \| `(.+)` \|$", text, re.MULTILINE)
        assert len(lines) == len(run), name


def test_every_public_name_is_documented_and_stands_in_the_reference():
    assert reference.undocumented() == []
    text = "\n".join(reference.pages().values())
    for path in reference.names():
        assert re.search(rf"(::: |heading: ){re.escape(path)}$", text, re.MULTILINE), path


def test_a_block_that_fails_is_named_with_its_line():
    text = "# A page\n\n```python\nx = 1\n```\n\nWords.\n\n```python\nx / 0\n```\n"
    with pytest.raises(blocks.PageError, match=r"page:9 raises ZeroDivisionError"):
        blocks.run(text, "page")


def test_what_a_page_has_shown_is_kept_until_its_text_or_the_library_changes(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("```python\nwith open(path, 'a') as file:\n    file.write('ran ')\nprint('done')\n```\n")
    page.write_text(page.read_text().replace("path", repr(str(tmp_path / "runs.txt"))))
    monkeypatch.setattr(runs, "DOCS", tmp_path)
    monkeypatch.setattr(runs, "CACHE", tmp_path / "cache")

    def times():
        return (tmp_path / "runs.txt").read_text().count("ran")

    first = runs.page("page.md")
    assert runs.page("page.md") == first
    assert first[1][0].printed == "done\n"
    assert times() == 1
    page.write_text(page.read_text() + "More.\n")
    assert runs.page("page.md")[0].endswith("More.\n")
    assert times() == 2
    monkeypatch.setattr(runs, "library", lambda: "another")
    runs.page("page.md")
    assert times() == 3


def test_an_example_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "wrong.py").write_text("import sys\n\n1 / 0\n")
    monkeypatch.setattr(runs, "EXAMPLES", tmp_path)
    monkeypatch.setattr(runs, "CACHE", tmp_path / "cache")
    with pytest.raises(RuntimeError, match=r"wrong\.py raises ZeroDivisionError"):
        runs.example("wrong")
    (tmp_path / "right.py").write_text("import sys, warnings\n\nprint(sys.argv[1:])\nwarnings.warn('look')\n")
    printed, pictures, seconds = runs.example("right")
    assert printed == "[]\nUserWarning: look\n"
    assert pictures == {}
    assert seconds >= 0


def test_values_and_output_are_put_into_the_page():
    text = "```python\nx = 2\nprint(x)\n```\n\nTwice {{ x }} is {{ 2 * x }}.\n"
    filled, shown = blocks.run(text, "page")
    assert filled.endswith("Twice 2 is 4.\n")
    assert "``` { .text .printed }\n2\n```" in blocks.with_shown(filled, shown, picture=lambda svg, number: "")


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("how-to/choosing-a-method.md", [f"`{name}`" for name in jc.methods.REGISTRY]),
        ("explanation/promise.md", [status.name for status in jc.Status]),
    ],
)
def test_the_tables_of_methods_and_statuses_are_the_library_s(page, names):
    tables = [eval(found, {"jc": jc}) for found in blocks.VALUE.findall((DOCS / page).read_text()) if "|---|" in found]
    assert len(tables) == 1
    rows = [line.split(" | ") for line in tables[0].splitlines()[2:]]
    assert len(rows) == len(names)
    for row, name in zip(rows, names, strict=True):
        assert name in (row[0].removeprefix("| "), row[1])
