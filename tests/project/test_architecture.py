"""The house: its layers, its doors, and what an import costs."""

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcalc
from jaxcalc import methods
from jaxcalc.methods.method import Method
from tests.families import slow_but

PACKAGE = Path(jaxcalc.__file__).parent
# A module imports only from folders above its own in this list, and freely within its own.
LAYERS = [
    "_version",
    "core",
    "calculus",
    "methods",
    "engine",
    "optimize",
    "problems",
    "models",
    "plots",
    "network",
    "streaming",
    "command",
]
MODULES = sorted(
    module.name for module in pkgutil.walk_packages([str(PACKAGE)], "jaxcalc.") if not module.name.endswith("_version")
)


def imports(path: Path) -> list[tuple[str, ...]]:
    """Returns the jaxcalc modules that a file imports, as tuples of names below jaxcalc."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            base = tuple((node.module or "").split("."))
            found += [(*base, alias.name) for alias in node.names]
    return [name[1:] for name in found if name[0] == "jaxcalc" and len(name) > 1]


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module(name: tuple[str, ...]) -> tuple[str, ...] | None:
    """Returns the file that a name below jaxcalc stands in, as the parts of its path; None for the package itself."""
    for k in range(len(name), 0, -1):
        path = PACKAGE.joinpath(*name[:k])
        if path.with_suffix(".py").exists():
            return name[:k]
        if (path / "__init__.py").exists():
            return (*name[:k], "__init__")
    return None


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_folder_has_its_layer():
    assert {layer(path) for path in sources()} <= set(LAYERS)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_upwards(path):
    own = layer(path)
    for name in imports(path):
        if name[0] in LAYERS and name[0] != own:
            assert LAYERS.index(name[0]) < LAYERS.index(own), f"{path.name} imports jaxcalc.{'.'.join(name)}"


def test_no_circles_within_a_folder():
    graph = {}
    for path in sources():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        graph[parts] = {module(name) for name in imports(path)}

    def visit(node, trail):
        assert node not in trail, f"a circle: {' -> '.join('.'.join(n) for n in (*trail, node))}"
        for following in graph.get(node, ()):
            visit(following, (*trail, node))

    for node in graph:
        visit(node, ())


def test_a_public_import_is_lazy_and_changes_no_configuration():
    script = """
import json, sys
import jax
before = dict(jax.config.values)
import jaxcalc
for name in dir(jaxcalc):
    getattr(jaxcalc, name)
changed = [key for key, value in jax.config.values.items() if before.get(key) != value]
print(json.dumps([changed, sorted({name.split('.')[0] for name in sys.modules})]))
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    changed, loaded = json.loads(output)
    assert changed == []
    assert not {"equinox", "quadax", "matplotlib", "zarr", "optimistix", "sklearn", "typer"} & set(loaded)


def test_import_costs_what_jax_costs():
    script = "import sys, jaxcalc; print([m for m in ('jax', 'scipy', 'optax', 'tqdm') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


PUBLIC = sorted(
    name for name in dir(jaxcalc) if not name.startswith("_") and not inspect.ismodule(getattr(jaxcalc, name))
)


@pytest.mark.parametrize("name", [name for name in PUBLIC if callable(getattr(jaxcalc, name))])
def test_every_public_name_is_documented(name):
    thing = getattr(jaxcalc, name)
    text = inspect.getdoc(thing)
    assert text
    if inspect.isfunction(thing):
        assert [part for part in ("Args:", "Returns:", ">>>") if part not in text] == []
        assert re.search(r"\b(1[6-9]|20)\d\d\b", text), "no source: an author and a year"
        arguments = [p for p in inspect.signature(thing).parameters if not re.search(rf"^ +{p}: ", text, re.MULTILINE)]
        assert arguments == []


@pytest.mark.parametrize("part", ["methods", "models", "network", "plots", "problems", "rules", "streaming", "xarray"])
def test_completion_shows_public_names_only(part):
    module = getattr(jaxcalc, part)
    assert dir(module) == sorted(dir(module))
    for name in dir(module):
        thing = getattr(module, name)
        assert not name.startswith("_")
        if name == "xarray":  # a module that is public itself
            continue
        home = getattr(thing, "__module__", None)
        assert name.isupper() or str(home or type(thing).__module__).startswith("jaxcalc."), f"{part}.{name}"
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert inspect.getdoc(thing), f"{part}.{name}"


def test_completion_leaves_out_what_is_not_for_users():
    assert {"jax", "np", "Any", "pictures", "costs", "show_names"}.isdisjoint(dir(jaxcalc.network))
    assert dir(jaxcalc.rules) == ["chain", "power", "product", "quotient"]
    assert dir(jaxcalc.xarray) == ["curve_fit", "minimize"]
    assert dir(jaxcalc.streaming) == ["MemoryStore", "StoreError", "ZarrStore", "processes", "threads", "xarray"]
    assert "gaussian_1d" in dir(jaxcalc.models)
    assert "peaks" not in dir(jaxcalc.models)
    assert set(PUBLIC) <= set(dir(jaxcalc))


@pytest.mark.parametrize("name", dir(jaxcalc.plots))
def test_every_picture_is_documented(name):
    thing = getattr(jaxcalc.plots, name)
    text = inspect.getdoc(thing) or ""
    assert [part for part in ("Args:", "Returns:", "Raises:", ">>>") if part not in text] == []
    arguments = [p for p in inspect.signature(thing).parameters if not re.search(rf"^ +{p}: ", text, re.MULTILINE)]
    assert arguments == []


@pytest.mark.parametrize("name", list(methods.REGISTRY))
def test_every_method_is_documented_and_a_value(name):
    factory = methods.REGISTRY[name]
    text = inspect.getdoc(factory) or ""
    assert [part for part in ("Returns:", ">>>", "Source:") if part not in text] == []
    assert isinstance(factory(), Method)
    assert factory() == factory()
    assert hash(factory()) == hash(factory())


# Modules whose examples compile for seconds, and whose functions have tests that run in any case.
COMPILING = [
    "streaming.stream",
    "streaming.executors",
    "streaming.xarray",
    "models.peaks",
    "network.mlp",
    "network.compare",
]
COMPILING += ["methods.constrained.interior_point", "optimize.multistart.stationary_points"]


@pytest.mark.parametrize(
    "name", slow_but(MODULES, {name for name in MODULES if name.removeprefix("jaxcalc.") not in COMPILING})
)
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_functions_and_files_stay_readable():
    """Guides, not fences: what is longer than this is to be taken apart."""
    long = []
    for path in sources():
        text = path.read_text()
        if len(text.splitlines()) > 600:
            long.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
                if (node.end_lineno or 0) - start > 60:
                    long.append(f"{path.name}: {node.name}")
    assert long == []


def test_no_text_holds_the_marks_of_a_merge():
    root = PACKAGE.parent
    texts = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "examples").rglob("*.py")]
    marked = [path.name for path in texts if re.search(r"^(<{7} |={7}$|>{7} )", path.read_text(), re.MULTILINE)]
    assert len(texts) > 20
    assert marked == []
