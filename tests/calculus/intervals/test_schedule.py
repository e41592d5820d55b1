"""Equal operations side by side: an order that respects the operands, and the results of one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc.calculus.intervals import schedule
from jaxcalc.calculus.intervals.programs import Program


def _sum_of_cosines(x):
    y = sum(jnp.cos(k * x) / k for k in range(1, 6))
    return y, y * jnp.abs(x - 0.3)


@pytest.fixture
def programs(monkeypatch):
    """The same function as a program that runs one by one, and as one that runs side by side."""
    with jax.enable_x64(True):
        alone = Program(_sum_of_cosines)
        monkeypatch.setattr(schedule, "_SHORTEST", 0)
        yield alone, Program(_sum_of_cosines)


def test_every_operation_runs_once_and_after_its_operands(programs):
    alone, together = programs
    assert [len(step) for step in alone._steps] == [1] * len(alone.operations)
    assert max(len(step) for step in together._steps) > 2
    done = {together._input}
    for step in together._steps:
        for operation in step:
            assert all(atom in done for atom in operation.invars if atom in _slots(together))
        done.update(slot for operation in step for slot in operation.outvars)
    assert sum(map(len, together._steps)) == len(together.operations)


def _slots(program):
    return {slot for operation in program.operations for slot in operation.outvars}


def test_results_are_those_of_one_by_one(programs):
    alone, together = programs
    lo = np.linspace(-2, 2, 300)
    np.testing.assert_allclose(together.at(lo), alone.at(lo), rtol=1e-13, atol=1e-14)
    for one, other in zip(alone.over(lo, lo + 0.02), together.over(lo, lo + 0.02), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-13, atol=1e-14)
