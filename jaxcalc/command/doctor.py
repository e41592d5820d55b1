"""`jaxcalc doctor`: versions, devices, precision, the cache of compiled programs, and what extras lack."""

import importlib.metadata
import platform
import re
from typing import Any

import jax

from jaxcalc._version import __version__
from jaxcalc.command.reports import Report, Table

CORE = ("jax", "jaxlib", "optax", "scipy", "numpy", "lazy_loader", "tqdm")
# Extras for those who work on the library itself.
FOR_DEVELOPERS = ("bench", "cutest", "docs", "test", "dev")


def doctor() -> Report:
    """Returns what is installed and what is missing."""
    versions = {"jaxcalc": __version__, "python": platform.python_version()}
    versions |= {name: _version(name) or "missing" for name in CORE}
    devices = [f"{device.platform}: {device.device_kind}" for device in jax.devices()]
    cache = jax.config.values["jax_compilation_cache_dir"]
    settings = {
        "double precision in Python": "on"
        if jax.config.values["jax_enable_x64"]
        else 'off; jax.config.update("jax_enable_x64", True)',
        "double precision in this command": "on",
        "cache of compiled programs": cache or "none; set JAX_COMPILATION_CACHE_DIR to keep programs between runs",
    }
    extras = missing_of_extras()
    lines = {name: f"missing: {', '.join(lacks)}" if lacks else "complete" for name, lacks in extras.items()}
    tables = [
        Table("versions", ["package", "version"], list(versions.items())),
        Table("devices", ["number", "device"], [[str(k), device] for k, device in enumerate(devices)]),
        Table("settings", ["setting", "value"], list(settings.items())),
        Table("extras", ["extra", "state"], list(lines.items())),
    ]
    lacking = [name for name, lacks in extras.items() if lacks]
    notes = [f'pip install "jaxcalc[{name}]" installs what the extra {name} lacks.' for name in lacking]
    broken = [name for name in CORE if _version(name) is None]
    data: dict[str, Any] = {
        "versions": versions,
        "devices": devices,
        "double_precision": bool(jax.config.values["jax_enable_x64"]),
    }
    return Report(data | {"cache": cache, "extras": extras}, tables, notes, code=1 if broken else 0)


def missing_of_extras() -> dict[str, list[str]]:
    """Returns for each extra the requirements that are not met; empty if the package itself is not installed."""
    try:
        about = importlib.metadata.metadata("jaxcalc")
    except importlib.metadata.PackageNotFoundError:
        return {}
    requirements = about.get_all("Requires-Dist") or []
    needs: dict[str, list[str]] = {name: [] for name in about.get_all("Provides-Extra") or []}
    for requirement in requirements:
        bare, _, marker = requirement.partition(";")
        found = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if found:
            needs.setdefault(found.group(1), []).append(bare.strip())
    return {
        name: sorted({each for each in _with_nested(name, needs, ()) if not _is_met(each)})
        for name in needs
        if name not in FOR_DEVELOPERS
    }


def _with_nested(name: str, needs: dict[str, list[str]], trail: tuple[str, ...]) -> list[str]:
    """Returns the requirements of an extra; one such as jaxcalc[cli,plots] stands for those of other extras."""
    found = []
    for requirement in needs.get(name, ()) if name not in trail else ():
        nested = re.match(r"jaxcalc\[([^]]+)\]", requirement)
        if nested is None:
            found.append(requirement)
            continue
        for other in nested.group(1).split(","):
            found += _with_nested(other.strip(), needs, (*trail, name))
    return found


def _is_met(requirement: str) -> bool:
    """Returns whether a requirement such as "zarr>=3.1" is met."""
    found = re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*(?:>=\s*([\d.]+))?", requirement)
    if found is None:
        return True
    version, least = _version(found.group(1)), found.group(2)
    return version is not None and (least is None or _numbers(version) >= _numbers(least))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
