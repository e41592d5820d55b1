"""Every status stands in one place: its code, its words and whether it is a success."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.engine import status as statuses
from jaxcalc.engine.status import Status, is_success, words_of


def result_with(codes):
    blank = jnp.zeros(len(codes))
    return jc.OptimizeResult(x=blank, fun=blank, jac=blank, status=jnp.asarray(codes), nit=blank, nfev=blank)


def test_codes_are_fixed():
    names = ["SUCCESS", "STALLED", "MAX_ITERATIONS", "NON_FINITE", "UNBOUNDED", "INVALID"]
    later = ["MAX_EVALUATIONS", "CONVERGED_PRECISION", "INFEASIBLE", "INTERRUPTED"]
    assert [status.name for status in Status] == [*names, "CONVERGED_VALUE", "CONVERGED_STEP", *later]
    assert [int(status) for status in Status] == list(range(12))
    assert len({status.words for status in Status}) == 12
    assert jc.Status is Status


@pytest.mark.parametrize("make", [jnp.asarray, np.asarray])
def test_success_follows_the_definition(make):
    expected = [status.is_success for status in Status]
    assert is_success(make(list(Status))).tolist() == expected
    assert result_with([int(status) for status in Status]).success.tolist() == expected
    assert expected == [True, False, False, False, False, False, True, True, False, True, False, False]


def test_another_success_counts_at_once(monkeypatch):
    """`success` asks the enum; a list of positions kept elsewhere would miss a success that is added later."""
    monkeypatch.setattr(Status.STALLED, "is_success", True)
    assert result_with([0, 1, 2]).success.tolist() == [True, True, False]
    monkeypatch.setattr(Status.SUCCESS, "is_success", False)
    assert result_with([0, 1, 2]).success.tolist() == [False, True, False]


def test_words_are_those_of_the_definition():
    assert words_of(np.int32(3)) == Status.NON_FINITE.words
    lines = result_with([0, 5, 0, 7]).message.splitlines()
    assert lines[0] == f"2 of 4 SUCCESS: {Status.SUCCESS.words}"
    assert lines[2] == f"1 of 4 CONVERGED_STEP: {Status.CONVERGED_STEP.words}"
    assert statuses.RUNNING not in list(Status)
