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


def test_a_constant_operand_holds_for_every_row():
    """A quotient by a constant asks once whether the constant holds 0, for all rows."""
    with jax.enable_x64(True):
        program = Program(lambda x: (x / 3, 2 / x))
        lower, upper, broken = program.over(np.array([1.0, -1.0, 4.0]), np.array([2.0, 1.0, 5.0]))
    assert broken.tolist() == [False, True, False]
    np.testing.assert_allclose(lower, [[1 / 3, 1.0], [-1 / 3, -np.inf], [4 / 3, 0.4]])
    np.testing.assert_allclose(upper, [[2 / 3, 2.0], [1 / 3, np.inf], [5 / 3, 0.5]])


def test_arrays_take_fewer_rows_at_a_time_the_larger_they_are():
    with jax.enable_x64(True):
        small, large = (Program(lambda x, n=n: (jnp.mean(jnp.arange(n) * x),)) for n in (8, 4096))
        x = np.linspace(0, 1, 70)
        np.testing.assert_allclose(large.at(x)[:, 0], x * 4095 / 2)
    assert small._rows == 1024
    assert large._rows == 32
    assert large.cost > 100 * small.cost
