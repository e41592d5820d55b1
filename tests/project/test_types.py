"""The package is typed: a user's script passes the type checker, whose complaints a wrong use gets."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcalc

SCRIPT = Path(__file__).parents[1] / "data" / "user_script.py"


def complaints(folder: Path, text: str) -> str:
    """What the type checker says of a script outside of the project."""
    tool = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("pyright is not installed")
    (folder / "script.py").write_text(text)
    package = Path(jaxcalc.__file__).parents[1]
    settings = f'{{"typeCheckingMode": "basic", "extraPaths": ["{package}"]}}'
    (folder / "pyrightconfig.json").write_text(settings)
    command = [tool, "--pythonpath", sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_the_package_says_that_it_is_typed():
    assert (Path(jaxcalc.__file__).parent / "py.typed").exists()


@pytest.mark.slow
def test_a_script_of_a_user_passes(tmp_path):
    assert complaints(tmp_path, SCRIPT.read_text()).strip().endswith("0 errors, 0 warnings, 0 informations")


@pytest.mark.slow
def test_a_wrong_use_is_seen(tmp_path):
    results = "\nfit.popt.nothing\nfound.x.nothing\njc.minimize(rosenbrock, start).x.nothing\n"
    calls = 'jc.minimize(rosenbrock, t, maxiter="ten")\njc.integrate(jnp.sin)\njc.plots.curve(jnp.sin, 0.0)\n'
    said = complaints(tmp_path, SCRIPT.read_text() + results + calls)
    assert "7 errors" in said, said


@pytest.mark.slow
def test_the_type_of_every_public_symbol_is_known(tmp_path):
    tool = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("pyright is not installed")
    # The checker finds the packages where the first Python on the path finds them.
    paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    paths["PYTHONPATH"] = str(Path(jaxcalc.__file__).parents[1])
    command = [tool, "--ignoreexternal", "--verifytypes", "jaxcalc"]
    said = subprocess.run(command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, check=False)
    assert "Type completeness score: 100%" in said.stdout, said.stdout[-3000:]
