"""What is run for the site: the code of its pages and the examples, side by side in processes, and once.

What a text has shown is kept in `.cache/site` under the fingerprint of that text, of the library and of the versions
that it ran with. So a build after a change of words runs the changed pages only, and the tests of the pages find what
the build has run.
"""

import base64
import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import logging
import multiprocessing
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docs.build_site import blocks

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "site"
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
# What takes longer than half a minute in full, where a short run draws much the same.
LONG = {"streams"}
log = logging.getLogger("mkdocs.site")


def page(path: str) -> tuple[str, list[blocks.Shown]]:
    """Returns the text of a page with its values in place, and what its blocks have shown; runs them if need be.

    Args:
        path: The page's path under `docs`, such as how-to/lasso.md.

    Raises:
        blocks.PageError: If a block or an expression raises.
    """
    text = (DOCS / path).read_text()

    def run() -> dict[str, Any]:
        filled, shown = blocks.run(text, path)
        return {"text": filled, "shown": [[each.printed, each.title, each.svg] for each in shown]}

    # What reads the clock shows what compiling takes, so it must not find its programs compiled.
    kept = _kept(text, run if "perf_counter" not in text else functools.partial(_without_programs, run))
    return kept["text"], [blocks.Shown(*each) for each in kept["shown"]]


def example(name: str) -> tuple[str, dict[str, bytes], float]:
    """Returns what an example has printed, its pictures by name, and its processor time in s; runs it if need be.

    Raises:
        RuntimeError: If the example fails.
    """
    path = EXAMPLES / f"{name}.py"

    def run() -> dict[str, Any]:
        begin = time.process_time()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), _arguments(path, arguments(name)):
            printed = io.StringIO()
            try:
                with contextlib.redirect_stdout(printed), blocks.warnings_printed(printed):
                    runpy.run_path(str(path), run_name="__main__")
            except Exception as error:
                raise RuntimeError(f"{path.name} raises {type(error).__name__}: {error}") from error
            found = sorted(file for file in Path(folder).rglob("*") if file.suffix in (".png", ".svg"))
            pictures = {file.name: base64.b64encode(file.read_bytes()).decode() for file in found}
        return {"printed": printed.getvalue(), "pictures": pictures, "seconds": time.process_time() - begin}

    kept = _kept(path.read_text() + " ".join(arguments(name)), run)
    pictures = {picture: base64.b64decode(content) for picture, content in kept["pictures"].items()}
    return kept["printed"], pictures, kept["seconds"]


def arguments(name: str) -> list[str]:
    """Returns the arguments that an example is run with: in full unless that takes longer than half a minute."""
    return ["--short"] if name in LONG else []


def everything(pages: list[str], examples: list[str]) -> None:
    """Runs the pages and the examples that have not been run before, in as many processes as there are processors.

    Raises:
        blocks.PageError: If the code of a page raises.
        RuntimeError: If an example fails.
    """
    library()  # of the sources as they are now
    tasks = [(example, name) for name in examples] + [(page, path) for path in pages]
    spawned = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), spawned, prepared) as pool:
        futures = {pool.submit(_timed, function, name): name for function, name in tasks}
        try:
            for future in concurrent.futures.as_completed(futures):
                wall, processor = future.result()
                if wall > 1:
                    log.info("ran %s: %.0f s, %.0f s of processor time", futures[future], wall, processor)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def prepared() -> None:
    """Sets up JAX and matplotlib of this process as the pages and the examples expect them."""
    os.environ["MPLBACKEND"] = "Agg"
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@functools.cache
def library() -> str:
    """Returns a fingerprint of the library's sources, of what runs the code, and of the versions of the packages."""
    digest = hashlib.sha256()
    for source in [*sorted((ROOT / "jaxcalc").rglob("*.py*")), Path(blocks.__file__), Path(__file__)]:
        if source.suffix in (".py", ".pyi"):
            digest.update(str(source.relative_to(ROOT)).encode() + source.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "scipy", "matplotlib")]
    digest.update(repr([sys.version, versions, os.environ.get("XLA_FLAGS", "")]).encode())
    return digest.hexdigest()


def _timed(function: Callable[[str], object], name: str) -> tuple[float, float]:
    begin = time.perf_counter(), time.process_time()
    function(name)
    _forget()
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def _kept(text: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns what a text has shown when it was run last; runs it if need be, and keeps what it shows."""
    file = CACHE / f"{hashlib.sha256((library() + text).encode()).hexdigest()}.json"
    if not file.exists():
        shown = run()
        CACHE.mkdir(parents=True, exist_ok=True)
        whole = file.with_suffix(f".{os.getpid()}")
        whole.write_text(json.dumps(shown))
        whole.replace(file)
    return json.loads(file.read_text())


def _forget() -> None:
    """Drops the figures of this process and its compiled programs, of which Linux allows a process only so many."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def _without_programs(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Runs with no compiled program at hand, as a new process of a user has none."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    _forget()
    folder = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    try:
        return run()
    finally:
        jax.config.update("jax_compilation_cache_dir", folder)
        compilation_cache.reset_cache()


@contextlib.contextmanager
def _arguments(path: Path, given: list[str]) -> Iterator[None]:
    """Puts the command line of a script into this process; the pictures go into the folder that one is in."""
    before, sys.argv = sys.argv, [path.name, *given, *(["--output", "."] if '"--output"' in path.read_text() else [])]
    try:
        yield
    finally:
        sys.argv = before
