"""Test configuration: double precision, a compilation cache that outlives the run, and a compiler in a hurry.

Most of the tests' time goes into tracing and compiling. XLA's older emitters of fusions, with LLVM's optimiser off,
compile a loop in a fraction of the time, so all tests use them unless the environment says `AS_USERS_COMPILE=1`.
`make test` says so for the tests of what is promised to the last bit, `make test-all` for all tests.
"""

import gc
import os
from pathlib import Path

import jax
import pytest

# XLA reads its flags once in a process, before the first computation, and ends the process at unknown ones.
QUICK = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version__.startswith("0.10."):
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
if not os.environ.get("AS_USERS_COMPILE"):
    given = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag not in QUICK]
    os.environ["XLA_FLAGS"] = " ".join([*given, *QUICK])
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
# For `jax.shard_map`; whatever does not ask for more runs on the first.
jax.config.update("jax_num_cpu_devices", 8)
os.environ.setdefault("MPLBACKEND", "Agg")

# Every compiled program maps memory in pieces, of which Linux allows a process 65,530; XLA crashes for want of more.
MAPPINGS, MOST_MAPPINGS = Path("/proc/self/maps"), 30_000
# They are counted once in so many programs, since the kernel takes milliseconds to write so long a list.
PROGRAMS_BETWEEN_COUNTS = 500
COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: runs in `make test-all`"))


def pytest_collection_finish():
    """Spares the collector of garbage the modules, and most of its runs: traces are made of many small objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class _Programs:
    """Counts the programs that are compiled, and drops them before they map too much memory."""

    def __init__(self):
        self.since_the_last_count = 0
        jax.monitoring.register_event_duration_secs_listener(self.listen)

    def listen(self, event: str, duration_secs: float, **kwargs: str | int):
        self.since_the_last_count += event == COMPILE_EVENT

    def forget_in_time(self):
        if self.since_the_last_count < PROGRAMS_BETWEEN_COUNTS:
            return
        self.since_the_last_count = 0
        if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
            jax.clear_caches()
            gc.collect()


programs = _Programs()


@pytest.fixture(autouse=True)
def programs_are_forgotten_in_time():
    yield
    programs.forget_in_time()


@pytest.fixture
def compilations():
    """The number of programs that XLA has been asked for so far, as a list that grows."""
    seen = []

    def listen(event: str, duration_secs: float, **kwargs: str | int):
        if event == COMPILE_EVENT:
            seen.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)
