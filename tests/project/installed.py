"""What `make release-check` runs with the installed wheel, outside of the tree: is it whole, does the README run."""

import importlib.metadata
import re
import sys
from pathlib import Path

import jaxcalc as jc


def main(tree: str) -> None:
    """Raises an AssertionError if the package is that of the tree, lacks a file, or the README's code fails."""
    package = Path(jc.__file__).parent
    assert not package.is_relative_to(Path(tree, "jaxcalc")), f"{package} is the tree, not the installed wheel"
    assert (package / "py.typed").exists()
    assert (package / "__init__.pyi").exists()
    for name in dir(jc):
        getattr(jc, name)
    files = [str(file) for file in importlib.metadata.files("jaxcalc") or []]
    assert not [file for file in files if file.startswith(("tests/", "benchmarks/", "examples/"))]
    code = "\n".join(re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL))
    exec(compile(code, "README.md", "exec"), {})
    print(f"jaxcalc {jc.__version__}: {len(files)} files installed; the README's examples ran")


if __name__ == "__main__":
    main(sys.argv[1])
