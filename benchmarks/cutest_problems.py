"""The public CUTEst problems in JAX, from the package sif2jax, each loaded from the module that holds it.

Importing the package whole takes 80 to 100 seconds, because it builds every problem. So the packages are entered in
`sys.modules` without running them, and `cutest_problems.json` remembers which problems there are. Make it anew, when
the package has changed, with `python -m benchmarks.cutest_problems` (it needs about two minutes).
"""

import ast
import dataclasses
import functools
import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

CATALOGUE = Path(__file__).with_suffix(".json")
MOST_VARIABLES = 100
# Where the package lists its problems: folder, name of the tuple, kind.
LISTS = (
    ("_unconstrained_minimisation", "unconstrained_minimisation_problems", "unconstrained"),
    ("_bounded_minimisation", "bounded_minimisation_problems", "bounded"),
    ("_quadratic_problems", "bounded_quadratic_problems", "bounded"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """One problem over a flat vector; lower and upper are None where there are no bounds."""

    name: str
    fun: Callable
    x0: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None

    @property
    def kind(self) -> str:
        """The kind of problem: "unconstrained" or "bounded"."""
        return "unconstrained" if self.lower is None else "bounded"

    @functools.cached_property
    def _value_and_gradient(self) -> Callable:
        return jax.jit(jax.value_and_grad(self.fun))

    @functools.cached_property
    def _hessian(self) -> Callable:
        return jax.jit(jax.hessian(self.fun))

    def evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns value and gradient, from one program that all solvers that are called from Python share."""
        value, gradient = self._value_and_gradient(x)
        return float(value), np.array(gradient)

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """Returns the matrix of second derivatives."""
        return np.array(self._hessian(x))

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Returns the nearest point that respects the bounds."""
        return x if self.lower is None else np.clip(x, self.lower, self.upper)

    def projected(self, x: np.ndarray, gradient: np.ndarray) -> float:
        """Returns the largest component of the projected gradient, -g cut off where the bounds end."""
        step = gradient if self.lower is None else x - self.inside(x - gradient)
        return float(np.max(np.abs(step))) if np.all(np.isfinite(gradient)) else np.nan


def catalogue() -> dict[str, dict[str, Any]]:
    """Returns name -> kind, n, module of the problems that are small enough and evaluate in double precision."""
    return json.loads(CATALOGUE.read_text())["problems"]


def load(name: str, entry: dict[str, Any] | None = None) -> Problem:
    """Builds one problem; jax_enable_x64 must be on before."""
    entry = entry or catalogue()[name]
    _enter_packages()
    original = getattr(importlib.import_module(f"sif2jax.cutest.{entry['module']}"), name)()
    x0, unravel = ravel_pytree(original.y0)
    args = original.args

    def fun(x):
        return original.objective(unravel(x), args)

    if entry["kind"] == "unconstrained":
        return Problem(name, fun, np.asarray(x0, float))
    bounds = (ravel_pytree(jax.tree.map(lambda b, y: b + 0 * y, side, original.y0))[0] for side in original.bounds)
    return Problem(name, fun, np.asarray(x0, float), *(np.asarray(side, float) for side in bounds))


def listed() -> Iterator[tuple[str, str, str]]:
    """Reads name, kind and module off the source of the package, each name once."""
    seen = set()
    for folder, variable, kind in LISTS:
        tree = ast.parse((_root() / "cutest" / folder / "__init__.py").read_text())
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        modules = {alias.name: f"{folder}.{node.module}" for node in imports for alias in node.names}
        for name in _names(tree, variable):
            if name not in seen:
                seen.add(name)
                yield name, kind, modules[name]


def write_catalogue() -> None:
    """Builds every listed problem and keeps those that qualify; why the others do not is kept too."""
    problems, left_out = {}, {}
    for name, kind, module in listed():
        entry = {"kind": kind, "module": module}
        try:
            problem = load(name, entry)
            reason = _unfit(problem)
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0][:100]}" if str(error) else repr(error)
        if reason:
            left_out[name] = reason
        else:
            problems[name] = {"kind": kind, "n": problem.x0.size, "module": module}
        jax.clear_caches()
    CATALOGUE.write_text(_as_text(problems, left_out))


def _as_text(problems: dict, left_out: dict) -> str:
    """Returns the catalogue as JSON with one problem a line."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in problems.items())
    others = ",\n".join(f"  {json.dumps(name)}: {json.dumps(reason)}" for name, reason in left_out.items())
    package = json.dumps(f"sif2jax {metadata.version('sif2jax')}")
    return f'{{"package": {package},\n "problems": {{\n{lines}\n }},\n "left out": {{\n{others}\n }}}}\n'


def _unfit(problem: Problem) -> str | None:
    if problem.x0.size > MOST_VARIABLES:
        return f"n = {problem.x0.size}"
    output = jax.eval_shape(problem.fun, problem.x0)
    if output.dtype != np.float64 or output.shape != ():
        return f"a value of {output.dtype}{output.shape}"
    value, gradient = problem.evaluate(problem.inside(problem.x0))
    if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
        return "not finite at the start"
    return None


def _names(tree: ast.Module, variable: str) -> list[str]:
    """Returns the classes that the tuple of this name calls."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == variable:
            calls = node.value.elts if isinstance(node.value, ast.Tuple) else []
            return [call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)]
    raise ValueError(f"sif2jax lists nothing as {variable}; its layout has changed.")


@functools.cache
def _root() -> Path:
    spec = importlib.util.find_spec("sif2jax")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the CUTEst problems are in the package sif2jax: pip install sif2jax")
    return Path(spec.origin).parent


def _enter_packages() -> None:
    """Makes the modules importable one by one: their packages exist, but have not run."""
    for name in ("sif2jax", "sif2jax.cutest", *(f"sif2jax.cutest.{folder}" for folder, *_ in LISTS)):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [str(_root().joinpath(*name.split(".")[1:]))]
            sys.modules[name] = package


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    write_catalogue()
