"""What dies, and what is lost: nothing that a chunk's line in `done` says is written."""

import concurrent.futures
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.streaming.executors import _one_process
from tests.streaming.functions import LANES, rosenbrock, rows, slow_rows
from tests.streaming.run_stream import CHUNK, COUNT

pytest.importorskip("zarr")
ROOT = Path(__file__).parents[2]
QUIET: dict[str, Any] = {"progress": False, "lanes": LANES, "workers": 2, "chunk_size": CHUNK, "count": COUNT}


def stream(path, **options: Any):
    options = QUIET | options
    return jc.minimize_stream(rosenbrock, slow_rows, path, **options)


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of an uninterrupted run."""
    path = tmp_path_factory.mktemp("whole") / "out.zarr"
    stream(path)
    return files(path)


def started(*command):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
    return subprocess.Popen([sys.executable, *map(str, command)], env=environment, cwd=ROOT, stderr=subprocess.PIPE)


def written(path):
    folder = path / "done" / "c"
    return len(list(folder.glob("*/0"))) if folder.exists() else 0


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_that_dies_is_replaced_and_its_task_done_again(tmp_path):
    marker = tmp_path / "died"
    with jc.streaming.processes(1) as executor:
        assert executor.submit(die_once, str(marker)).result(60) == "second"


@pytest.mark.slow
def test_a_task_that_kills_every_process_is_given_up():
    with jc.streaming.processes(1) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(os._exit, 3).result(120)
        assert executor.submit(abs, -2).result(60) == 2


def die_once(marker):
    if os.path.exists(marker):
        return "second"
    Path(marker).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_run_killed_at_random_moments_leaves_the_same_bytes(executor, tmp_path, whole):
    path, moments = tmp_path / "out.zarr", random.Random(5)
    kills = 0
    while kills < (10 if executor == "threads" else 3):
        before = written(path)
        run = started("-m", "tests.streaming.run_stream", path, executor)
        wait_for(lambda path=path, run=run, before=before: written(path) > before or run.poll() is not None)
        time.sleep(moments.uniform(0, 0.25))
        if run.poll() is not None:  # on a busy machine it may end between two looks: once more from nothing
            assert run.returncode == 0
            assert files(path) == whole
            path = path.with_stem(f"{path.stem}_again")
            continue
        children = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True).stdout.split()
        run.kill()
        run.wait()
        wait_for(lambda children=children: not any(alive(pid) for pid in children), 10)
        kills += 1
    run = started("-m", "tests.streaming.run_stream", path, executor)
    assert run.wait(300) == 0
    assert files(path) == whole


@pytest.mark.slow
def test_a_worker_killed_in_mid_chunk_loses_nothing(tmp_path, whole):
    path = tmp_path / "out.zarr"
    with jc.streaming.processes(2) as executor:
        killed = []

        def kill(progress):
            if len(killed) < 3 and progress.solved > 500 * (len(killed) + 1):
                killed.append(executor.pids()[0])
                os.kill(killed[-1], signal.SIGKILL)

        results = stream(path, executor=executor, progress=kill)
    assert len(set(killed)) == 3
    assert results.summary() == {"SUCCESS": COUNT}
    assert files(path) == whole


@pytest.mark.slow
def test_dask_with_a_worker_killed_in_mid_chunk(tmp_path, whole):
    distributed = pytest.importorskip("distributed")
    path = tmp_path / "out.zarr"
    environment = {"PYTHONPATH": str(ROOT)}
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None, env=environment) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        killed = []

        def kill(progress):
            if not killed and progress.solved > 500:
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        results = stream(path, executor=client.get_executor(), progress=kill)
    assert killed
    assert results.failed_chunks == {}
    assert files(path) == whole


@pytest.mark.slow
def test_any_executor(tmp_path, whole):
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        path = tmp_path / "threads.zarr"
        stream(path, executor=threads, workers=None)
    assert files(path) == whole
    with _one_process() as processes:
        path = tmp_path / "processes.zarr"
        stream(path, executor=processes)
        assert files(path) == whole
        processes.submit(os._exit, 1)
        wait_for(lambda: processes._broken)
        with pytest.raises(jc.streaming.StoreError, match="a worker died"):
            stream(tmp_path / "b.zarr", executor=processes)


@pytest.mark.slow
def test_a_full_disk(tmp_path):
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", path], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(jc.streaming.StoreError, match=r"No space left on device\. Make space and run again"):
            stream(path / "out.zarr")
        first = jc.open_results(path / "out.zarr").summary()
        assert 0 < first["SUCCESS"] < COUNT
        subprocess.run(["mount", "-o", "remount,size=8m", path], check=True)
        results = stream(path / "out.zarr")
        assert results.summary() == {"SUCCESS": COUNT}
        x0, args = rows(0, COUNT)
        assert np.array_equal(results.x[:], jc.minimize_many(rosenbrock, x0, args, lanes=LANES).x)
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_ctrl_c_stops_within_a_second_and_resumes(executor, tmp_path):
    path, data = tmp_path / "out.zarr", "tests.streaming.functions:slow_rows"
    command = ["-c", "from jaxcalc.command.cli import main; main()", "run", "tests.streaming.functions:rosenbrock"]
    command += ["--data", data, "--count", COUNT, "--store", path, "--chunk-size", CHUNK]
    run = started(*command, "--workers", 2, "--executor", executor)
    wait_for(lambda: written(path) > 3)
    with pytest.raises(jc.streaming.StoreError, match=f"in use by process {run.pid}"):
        stream(path)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    assert time.monotonic() - began < 1
    assert 0 < written(path) < COUNT // CHUNK
    assert started("-c", "from jaxcalc.command.cli import main; main()", "resume", path).wait(120) == 0
    assert jc.open_results(path).summary() == {"SUCCESS": COUNT}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_problems(tmp_path):
    script = """
import sys, resource, jax
jax.config.update("jax_enable_x64", True)
import jaxcalc as jc
from tests.streaming.functions import rosenbrock, rows
jc.minimize_stream(rosenbrock, rows, sys.argv[1], count=int(sys.argv[2]), chunk_size=10_000, progress=False)
"""
    peaks = []
    for count in (40_000, 400_000):
        run = started("-c", script, tmp_path / f"{count}.zarr", count)
        _, status, usage = os.wait4(run.pid, 0)
        assert status == 0
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < 1.1 * peaks[0]
