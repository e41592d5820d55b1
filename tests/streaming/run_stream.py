"""A run in a process of its own, to be killed: python -m tests.streaming.run_stream STORE EXECUTOR."""

import sys

import jax

import jaxcalc as jc
from tests.streaming.functions import LANES, rosenbrock, slow_rows

COUNT, CHUNK = 4000, 100


def main():
    jax.config.update("jax_enable_x64", True)
    store, executor = sys.argv[1:]
    options = {"lanes": LANES, "chunk_size": CHUNK, "workers": 2, "progress": False}
    jc.minimize_stream(rosenbrock, slow_rows, store, count=COUNT, executor=executor, **options)


if __name__ == "__main__":
    main()
