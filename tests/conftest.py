"""Test configuration: double precision, a compilation cache that outlives the run, and a compiler in a hurry.

Most of the tests' time is the compiler's. XLA's older emitters of fusions compile the loops in half of the time, so all
tests use them unless the environment says `AS_USERS_COMPILE=1`. `make test` says so for the tests of what is promised
to the last bit, `make test-all` for all tests.
"""

import os
from pathlib import Path

import jax
import pytest

# XLA reads its flags once in a process, before the first computation, and ends the process at unknown ones.
QUICK = "--xla_cpu_use_fusion_emitters=false"
if not os.environ.get("AS_USERS_COMPILE") and jax.__version__.startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '').replace(QUICK, '')} {QUICK}".strip()
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
# For `jax.shard_map`; whatever does not ask for more runs on the first.
jax.config.update("jax_num_cpu_devices", 8)
os.environ.setdefault("MPLBACKEND", "Agg")

# Every compiled program maps memory in pieces, of which Linux allows a process 65,530; XLA crashes for want of more.
MAPPINGS, MOST_MAPPINGS = Path("/proc/self/maps"), 30_000


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: runs in `make test-all`"))


@pytest.fixture(autouse=True)
def programs_are_forgotten_in_time():
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()


@pytest.fixture
def compilations():
    """The number of programs that XLA has been asked for so far, as a list that grows."""
    seen = []

    def listen(event: str, duration_secs: float, **kwargs: str | int):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)
