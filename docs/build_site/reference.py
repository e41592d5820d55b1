"""The pages of the reference: every public name, under the part of the library that it comes from."""

import enum
import importlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

import jaxcalc as jc

# The folder of the library that a name comes from -> the page that it stands on.
PAGES = {
    "calculus.integration": "Integrals",
    "calculus.critical_points": "Critical points and certificates",
    "engine.certificate": "Critical points and certificates",
    "optimize.certify": "Critical points and certificates",
    "calculus": "Derivatives",
    "optimize.curve_fit": "Fits",
    "optimize.fitting": "Fits",
    "optimize.least_squares": "Fits",
    "optimize.least_squares_result": "Fits",
    "optimize.bootstrap": "Fits",
    "optimize.standard_errors": "Fits",
    "optimize.multistart": "Global minima",
    "optimize": "Minimisation",
    "engine": "Minimisation",
    "network": "Neural networks",
    "streaming": "Streams",
}
# The parts with names of their own: `jc.models.gaussian_1d`.
PARTS = {
    "rules": "Derivative rules",
    "methods": "Methods",
    "models": "Models",
    "network": "Neural networks: parts",
    "plots": "Plots",
    "problems": "Test problems",
    "streaming": "Streams: executors and stores",
    "xarray": "xarray",
}


def pages() -> dict[str, str]:
    """Returns the address of each page of the reference, such as reference/fits.md, and its Markdown."""
    titled: dict[str, list[str]] = {}
    for path in names():
        titled.setdefault(_title(path), []).append(path)
    for paths in titled.values():  # what is called first, then what is returned
        paths.sort(key=lambda path: (inspect.isclass(_object(path)[1]), path))
    written = {address(title): _page(title, paths) for title, paths in sorted(titled.items())}
    index = "\n".join(_listed(title, titled[title]) for title in sorted(titled))
    return {"reference/index.md": f"# Reference\n\nEvery public name, with a runnable example.\n\n{index}\n"} | written


def address(title: str) -> str:
    return f"reference/{title.lower().replace(':', '').replace(' ', '-')}.md"


def names() -> list[str]:
    """Returns the full name of everything public: what `import jaxcalc` offers, and what its parts do."""
    top = [f"jaxcalc.{name}" for name in dir(jc) if not name.startswith("_") and name not in PARTS]
    return top + [f"jaxcalc.{part}.{name}" for part in PARTS for name in _public(part)]


def undocumented() -> list[str]:
    """Returns the public names, with the public members of classes, that have no docstring."""
    return [path for path in names() for path in _with_members(path) if not (_object(path)[1].__doc__ or "").strip()]


def _object(path: str) -> tuple[Any, Any]:
    """Returns what holds the object of a full name, and the object."""
    holder, found = None, importlib.import_module("jaxcalc")
    for name in path.split(".")[1:]:
        holder, found = found, inspect.getattr_static(found, name, None) or getattr(found, name)
    return holder, found


def _public(part: str) -> Iterator[str]:
    """Yields the functions and classes of a part: those that a folder collects, or those that a file defines."""
    module = getattr(jc, part)
    origin = "jaxcalc." if hasattr(module, "__path__") else module.__name__
    for name in dir(module):
        found = getattr(module, name)
        if not name.startswith("_") and callable(found) and str(getattr(found, "__module__", "")).startswith(origin):
            yield name


def _with_members(path: str) -> Iterator[str]:
    yield path
    found = _object(path)[1]
    if inspect.isclass(found):
        for name, member in vars(found).items():
            if not name.startswith("_") and isinstance(member, types.FunctionType | property | classmethod):
                yield f"{path}.{name}"


def _title(path: str) -> str:
    part = path.split(".")[1]
    if path.count(".") > 1:
        return PARTS[part]
    origin = _object(path)[1].__module__.removeprefix("jaxcalc.")
    while origin not in PAGES:
        origin = origin.rpartition(".")[0]
    return PAGES[origin]


def _page(title: str, paths: list[str]) -> str:
    parts = [part for part, heading in PARTS.items() if heading == title]
    about = [f"::: {getattr(jc, part).__name__}\n    options:\n      members: false\n" for part in parts]
    return "\n".join([f"# {title}\n", *about, *map(_entry, paths)])


def _listed(title: str, paths: list[str]) -> str:
    """A page in the index, with links to its names."""
    names = ", ".join(f"[`{path.rpartition('.')[2]}`][{_identifier(path)}]" for path in paths)
    return f"* **[{title}]({address(title).removeprefix('reference/')})**: {names}"


def _identifier(path: str) -> str:
    """The name by which a page is linked: its origin's where the name is that of a module, too, as `methods.bfgs`."""
    origin, name = str(getattr(_object(path)[1], "__module__", "")), path.rpartition(".")[2]
    return f"{origin}.{name}" if path.count(".") > 1 and origin.endswith(f".{name}") else path


def _entry(path: str) -> str:
    """The directive of a name."""
    identifier = _identifier(path)
    if identifier != path:
        return f"::: {identifier}\n    options:\n      heading: {path}\n"
    if isinstance(_object(path)[1], enum.EnumType):  # the members' docstrings are their words
        return f"::: {path}\n    options:\n      show_if_no_docstring: true\n"
    return f"::: {path}\n"
