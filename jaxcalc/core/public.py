"""Which names of a module its users are shown."""

import inspect
import sys
from collections.abc import Callable


def public_names(module: str, *parts: str) -> Callable[[], list[str]]:
    """Returns the `__dir__` of a module, which completion by the tab key reads: its public names only.

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
                return home == module or (is_package and str(home).startswith("jaxcalc.") and thing is not public_names)
            return is_package and ((name.isupper() and name != "TYPE_CHECKING") or str(home).startswith("jaxcalc."))

        return sorted(name for name in namespace if is_public(name))

    return names
