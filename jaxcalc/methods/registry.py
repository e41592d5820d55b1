"""The registry of a family's methods: made from the factories that its folder imports."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def registry_of(names: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Returns the functions among these names that need no argument, by name."""
    return {name: value for name, value in names.items() if _is_factory(name, value)}


def _is_factory(name: str, value: Any) -> bool:
    return (
        inspect.isfunction(value)
        and name == value.__name__
        and all(parameter.default is not parameter.empty for parameter in inspect.signature(value).parameters.values())
    )
