"""Which names of a module its users are shown."""

import difflib
import inspect
import sys
from collections.abc import Iterable


def show_names(module: str, *parts: str) -> None:
    """Gives a module the `__dir__` of its public names, and a `__getattr__` that suggests them for a name it lacks.

    Completion by the tab key reads `__dir__`. Type checkers see neither: to them a name that is missing is an error.

    Public are the functions and classes that the module defines or, if the module is a package, that its `__init__`
    takes from the package's own modules; constants in capitals of a package; and the modules that are named here. Not
    public is what a module imports for its own use.

    Args:
        module: The module's `__name__`.
        parts: The names of the public modules of a package.

    Example:
        >>> from jaxcalc import models
        >>> "peaks" in dir(models), "gaussian_1d" in dir(models)
        (False, True)
        >>> models.voight
        Traceback (most recent call last):
            ...
        AttributeError: jaxcalc.models has no 'voight'. Did you mean 'voigt'?
    """

    def names() -> list[str]:
        namespace = vars(sys.modules[module])
        is_package = "__path__" in namespace

        def is_public(name: str) -> bool:
            thing = namespace[name]
            if name.startswith("_") or inspect.ismodule(thing):
                return name in parts
            home = getattr(thing, "__module__", None)
            if inspect.isroutine(thing) or inspect.isclass(thing):
                return home == module or (is_package and str(home).startswith("jaxcalc.") and thing is not show_names)
            return is_package and ((name.isupper() and name != "TYPE_CHECKING") or str(home).startswith("jaxcalc."))

        return sorted(name for name in namespace if is_public(name))

    def lacking(name: str) -> object:
        raise lacks(module, name, names())

    vars(sys.modules[module]).update(__dir__=names, __getattr__=lacking)


def lacks(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """Returns the error of a name that a module does not have, with the names that it may stand for."""
    mend = did_you_mean(name, known, most=3) or f" dir({module}) lists its names."
    return AttributeError(f"{module} has no {name!r}.{mend}")


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Returns a sentence with the nearest of the known names, a space before it; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), n=most)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
