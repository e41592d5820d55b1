"""Compiles the engine ahead of time for devices that are not there, and says what the compilers made of it.

`make accelerators` runs this once for CUDA and once for TPU, each in an environment of its own. It shows that the
programs compile, how much memory they ask for, and that they neither talk to the host nor, on four devices under
`jax.shard_map`, to each other. It says nothing of speed or of numbers: nothing runs.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import jaxcalc as jc
from jaxcalc.core.platform import lane_budget
from jaxcalc.problems import rosenbrock

COUNT = 65_536
SIZES = (4, 16)
H100 = Path(__file__).parent / "h100_target_config.textproto"
# What a compiled program must not hold: traffic between devices, or with the host.
TRAFFIC = re.compile(
    r"(all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+|infeed|outfeed|"
    r"send|recv|custom-call.*(callback|MoveToHost|MoveToDevice))(-start|-done)?\("
)
MOST_SECONDS = 60
MOST_BYTES = 2048  # of scratch memory a problem, in 4 variables


def targets(platform):
    """Yields the name of each device kind and its devices."""
    if platform == "cuda":
        options = {"target_config": H100.read_text(), "topology": "1x1x4"}
        yield "H100", topologies.get_topology_desc("", platform="cuda", **options).devices
        return
    for kind in ("v5e:2x2", "v5p:2x2x1"):
        yield f"TPU {kind}", topologies.get_topology_desc(kind, platform="tpu").devices


def compiled(method, n, devices):
    """Returns the program for all problems, divided among the devices, and the processor's seconds that it took."""

    def run(x0, b):
        # As many lanes as the library would choose there; here it would choose for a CPU.
        lanes = min(len(x0), lane_budget("tpu" if devices[0].platform == "tpu" else "gpu").lanes)
        return jc.minimize_many(rosenbrock, x0, (b,), method=method, lanes=lanes)

    sharding = SingleDeviceSharding(devices[0])
    if len(devices) > 1:
        mesh, rows = Mesh(devices, "problems"), PartitionSpec("problems")
        run, sharding = jax.shard_map(run, mesh=mesh, in_specs=rows, out_specs=rows), NamedSharding(mesh, rows)
    x0 = jax.ShapeDtypeStruct((COUNT, n), jnp.float32, sharding=sharding)
    b = jax.ShapeDtypeStruct((COUNT,), jnp.float32, sharding=sharding)
    begin = time.process_time()
    program = jax.jit(run).lower(x0, b).compile()
    return program, time.process_time() - begin


def check(label, name, n, devices):
    """Compiles one program, prints its line and returns what is wrong with it."""
    program, seconds = compiled(name, n, devices)
    memory = program.memory_analysis().temp_size_in_bytes / (COUNT / len(devices))
    traffic = sorted({found.group(1) for found in TRAFFIC.finditer(program.as_text())})
    print(
        f"{label:14} {len(devices)}  {name:20} {n:3} {seconds:8.1f} s {memory:10.0f} bytes  {' '.join(traffic) or '-'}",
        flush=True,
    )
    wrong = [f"holds {what}" for what in traffic]
    wrong += [f"took {seconds:.0f} s to compile"] if seconds > MOST_SECONDS else []
    wrong += [f"asks for {memory:.0f} bytes of scratch memory a problem"] if n == 4 and memory > MOST_BYTES else []
    return [f"{label}, {len(devices)} devices, {name}, n = {n}: {reason}" for reason in wrong]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("platform", choices=["cuda", "tpu"])
    parser.add_argument("methods", nargs="*", help="all of them where none is named")
    parser.add_argument("--quick", action="store_true", help="one program of each method, and the first one's for four")
    arguments = parser.parse_args()
    print(
        f"{COUNT} problems, float32, JAX {jax.__version__}: devices, method, variables, compilation, scratch a problem"
    )
    wrong = []
    for label, devices in targets(arguments.platform):
        names = arguments.methods or list(jc.methods.REGISTRY)
        for name in names:
            for n in SIZES[:1] if arguments.quick else SIZES:
                wrong += check(label, name, n, devices[:1])
            if name == names[0] or not arguments.quick:
                wrong += check(label, name, SIZES[0], devices)
    print("\n".join(wrong) or "all of them as promised")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
