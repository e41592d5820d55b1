"""A batch shared out over several devices: the results of one device, no collectives, one loop for each part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

N, LANES = 45, 8
START = np.random.default_rng(1).uniform(-2, 2, (N, 2))
CURVATURES = np.geomspace(1, 300, N)
FIELDS = ("x", "fun", "jac", "status", "nit", "nfev")


def rosenbrock(x, c, top):
    return c * (x[1] - x[0] ** 2) ** 2 + (top - x[0]) ** 2


BOUNDS = (np.where(np.arange(N)[:, None] % 2, -1.0, -3.0), 0.7)


def solve(devices=None, start=START):
    options = {"shared": (1.0,), "lanes": LANES, "bounds": BOUNDS, "gtol": np.full(N, 1e-6)}
    return jc.minimize_many(rosenbrock, start, (CURVATURES,), devices=devices, **options)


def test_results_are_those_of_one_device_to_the_last_bit():
    devices = jax.devices()
    assert len(devices) == 8
    alone, shared = solve(), solve(devices)  # 45 problems in parts of 6
    for name in FIELDS:
        assert np.array_equal(getattr(alone, name), getattr(shared, name)), name


def test_no_part_talks_to_another():
    program = jax.jit(lambda start: solve(jax.devices()[:3], start)).lower(jnp.asarray(START)).as_text()
    assert "manual_computation" in program or "shard_map" in program
    for word in ("all_reduce", "all_gather", "all_to_all", "collective", "reduce_scatter"):
        assert word not in program


def test_wrong_devices():
    with pytest.raises(TypeError, match="devices is a list of devices"):
        solve("cpu")
    with pytest.raises(ValueError, match="fun is a list of functions"):
        jc.minimize_many([rosenbrock], [START], [(CURVATURES,)], shared=(1.0,), devices=jax.devices())
