"""The first result of a fresh process, and that of a further function: processor seconds, imports not counted.

Each figure is that of a process of its own, without a persistent cache of compilations: a Rosenbrock function is
minimised, and then another function of the same variables.
"""

import json
import os
import subprocess
import sys

from benchmarks import peers
from benchmarks.entry import Entry, Ratio, Row
from benchmarks.timing import Timing

SIZES, MANY = (2, 10, 30), 1_000
SCRIPT = """
import json, sys, time
contestant, count, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
import jax
import jax.numpy as jnp
import numpy as np
jax.config.update("jax_enable_x64", True)
def rosenbrock(x, a):
    return jnp.sum(a * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
def another(x, a):
    return jnp.sum(jnp.cosh(x - 0.3)) + a * jnp.sum((x[1:] - x[:-1]) ** 2) / 100
x0 = np.random.default_rng(0).uniform(-1.5, 1.5, (count, n))
a = np.full(count, 100.0)
if contestant == "jaxcalc":
    import jaxcalc as jc
    jc.minimize, jc.minimize_many
    def solve(fun):
        return jc.minimize(fun, x0[0], (a[0],)).x if count == 1 else jc.minimize_many(fun, x0, (a,)).x
else:
    import optimistix as optx
    def solve(fun):
        solver = optx.BFGS(rtol=1e-8, atol=1e-8)
        def one(x0, a):
            run = optx.minimise(lambda x, a: fun(x, a), solver, x0, args=a, max_steps=20_000, throw=False)
            return run.value
        return jax.jit(one)(x0[0], a[0]) if count == 1 else jax.jit(jax.vmap(one))(x0, a)
times = []
for fun in (rosenbrock, another):
    start = time.process_time()
    jax.block_until_ready(solve(fun))
    times.append(time.process_time() - start)
print(json.dumps(times))
"""


def run(quick: bool = False) -> Entry:
    sizes, many, repeats = ((2,), 8, 2) if quick else (SIZES, MANY, 3)
    cases = {f"minimize, n = {n}": (1, n) for n in sizes} | {f"minimize_many, N = {many:,}, n = 10": (many, 10)}
    contestants = ("jaxcalc", "optimistix") if peers.HAS_OPTIMISTIX else ("jaxcalc",)
    seconds: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(repeats):  # in turn, so that a slow minute falls on all
        for name, case in cases.items():
            for contestant in contestants:
                seconds.setdefault((name, contestant), []).append(_fresh_process(contestant, *case))
    rows, ratios = [], []
    for name, (count, _) in cases.items():
        for k, which in enumerate(("first", "a further function")):
            timings = [[times[k] for times in seconds[name, contestant]] for contestant in contestants]
            found = [
                Row(f"{name}, {which}, {contestant}", count, Timing(taken[0], taken))
                for contestant, taken in zip(contestants, timings, strict=True)
            ]
            rows += found
            if len(found) == 2:
                ours, theirs = (row.timing.median for row in found)
                ratios.append(Ratio(f"{name}, {which}: times Optimistix's", ours / theirs, _target(count, k), True))
    about = "The first result of a fresh process and that of a further function, processor seconds"
    return Entry("first_result", about, rows, ratios)


def _target(count: int, which: int) -> float | None:
    if count > 1:
        return (1.0, None)[which]
    return (0.8, 0.25)[which]


def _fresh_process(contestant: str, count: int, n: int) -> list[float]:
    """Returns the processor seconds of the first result and of that of a further function."""
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, "-c", SCRIPT, contestant, str(count), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"a fresh process of {contestant} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
