"""Results at the prompt: a field by name, a problem by number, short texts, tables, and what they say under `jit`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

CENTRES = jnp.arange(300.0).reshape(100, 3)


def bowl(x, centre):
    return jnp.sum((x - centre) ** 2)


@pytest.fixture(scope="module")
def batch():
    return jc.minimize_many(bowl, jnp.zeros((100, 3)), (CENTRES.at[4, 0].set(jnp.nan),), history=2)


def test_fields_by_name(batch):
    assert (batch["x"] == batch.x)[0].all()
    assert batch["success"].sum() == 99
    with pytest.raises(KeyError, match="no 'hess'; it has x, fun, jac"):
        batch["hess"]
    with pytest.raises(KeyError):
        batch["_names"]


def test_problems_by_number(batch):
    assert len(batch) == 100
    one = batch[7]
    assert isinstance(one, jc.OptimizeResult)
    np.testing.assert_array_equal(one.x, batch.x[7])
    assert one.message == jc.Status.SUCCESS.words
    assert batch[-1].fun == batch.fun[99]
    assert len(batch[10:20]) == 10
    assert len(batch[np.asarray(batch.success)]) == 99
    assert [int(result.status) for result in batch][3:6] == [0, 5, 0]
    for row in (100, -101):
        with pytest.raises(IndexError, match="the result holds 100"):
            batch[row]


def test_one_problem_has_no_length():
    result = jc.minimize(bowl, jnp.zeros(3), (CENTRES[1],))
    assert result
    assert result["x"].shape == (3,)
    with pytest.raises(TypeError, match="one problem"):
        len(result)
    with pytest.raises(TypeError, match="one problem"):
        result[0]


def test_an_empty_batch_is_still_a_result():
    empty = jc.minimize_many(bowl, jnp.zeros((0, 3)), (jnp.zeros((0, 3)),))
    assert empty
    assert list(empty) == []
    assert "fun" in repr(empty)


def test_texts_are_short_and_say_how_it_ended(batch):
    text = repr(batch)
    assert "99 of 100 SUCCESS" in text
    assert "1 of 100 INVALID" in text
    assert "shape (100, 3)" in text
    assert len(text.splitlines()) < 40
    one = repr(batch[4])
    assert "success: False" in one
    assert "INVALID" in one
    pytree = jc.minimize(lambda x: jnp.sum((x["a"] - 1) ** 2) + x["b"] ** 2, {"a": jnp.zeros(2), "b": 1.0})
    assert "'a'" in repr(pytree)


def test_failed_problems_are_filled(batch):
    filled = batch.where_success(-1.0)
    assert (filled.x[4] == -1).all()
    assert filled.fun[4] == -1
    assert (filled.x[5] == batch.x[5]).all()

    def loss(centres):
        result = jc.minimize_many(bowl, jnp.zeros((3, 3)), (centres,), maxiter=jnp.array([99, 0, 99]))
        return jnp.sum(result.where_success(0.0).x ** 2)

    gradient = jax.jit(jax.grad(loss))(CENTRES[1:4])
    np.testing.assert_allclose(gradient[0], 2 * CENTRES[1], rtol=1e-4)
    assert (gradient[1] == 0).all()


def test_a_table(batch):
    pytest.importorskip("pandas")
    table = batch.to_pandas()
    assert list(table.columns) == ["x[0]", "x[1]", "x[2]", "fun", "success", "status", "nit", "nfev"]
    assert len(table) == 100
    assert table["status"][4] == "INVALID"
    named = jc.minimize_many(lambda x: x["a"] ** 2 + jnp.sum(x["b"] ** 2), {"a": jnp.ones(3), "b": jnp.ones((3, 2))})
    assert list(named.to_pandas().columns)[:3] == ["x['a']", "x['b'][0]", "x['b'][1]"]


@pytest.mark.parametrize("ask", [lambda r: r.message, lambda r: r.check()])
def test_under_jit_it_says_why_not(ask):
    def solve(centre):
        ask(jc.minimize(bowl, jnp.zeros(3), (centre,)))

    with pytest.raises(TypeError, match=r"not known under jax\.jit"):
        jax.jit(solve)(CENTRES[0])


def test_text_under_jit():
    seen = []
    jax.jit(lambda c: seen.append(repr(jc.minimize(bowl, jnp.zeros(3), (c,)))))(CENTRES[0])
    assert "under a transformation" in seen[0]


@pytest.mark.parametrize(
    "masked",
    [
        lambda x: jnp.sum(jnp.where(x > 0, jnp.sqrt(x), 0)),
        lambda x: jnp.sum(jnp.where(x == 0, 1, jnp.sin(x) / x)),
    ],
)
def test_masks_that_poison_a_derivative(masked):
    """The value is finite at the start, and the derivative is nan."""
    result = jc.minimize_many(masked, jnp.zeros((2, 3)), lanes=2, maxiter=1)
    assert np.isfinite(result.fun).all()
    assert "2 of 2 INVALID" in result.message
    assert "let a where of its own keep the formula's argument inside the domain" in result.message


def test_other_ends_say_nothing_of_masks(batch):
    assert "where" not in batch.message
    assert "where" not in batch[0].message
    assert "success: 99 of 100" in repr(batch)


def test_certificates_and_integrals_under_jit():
    with pytest.raises(TypeError, match=r"kind_name needs .* not known under jax\.jit"):
        jax.jit(lambda x: jc.certify(bowl, x, (CENTRES[0],)).kind_name)(CENTRES[0])
    with pytest.raises(TypeError, match=r"message needs .* not known under jax\.jit"):
        jax.jit(lambda b: jc.integrate(jnp.sin, 0.0, b).message)(1.0)


def test_a_result_knows_the_names_of_its_fields():
    found = jc.minimize(lambda x: jnp.sum(x**2), jnp.ones(2))
    assert "x" in found
    assert "message" in found
    assert "hess_inv" not in found
    assert 0 not in found


def test_a_problem_that_stalls_in_single_precision_is_told_of_double():
    single, double = (
        jc.OptimizeResult(x=x, fun=x[0], jac=x, status=jnp.array(1), nit=jnp.array(1), nfev=jnp.array(1))
        for x in (jnp.zeros(2, jnp.float32), jnp.zeros(2, jnp.float64))
    )
    assert "jax_enable_x64" in single.message
    assert "jax_enable_x64" not in double.message


def test_lists_are_indices_of_problems():
    batch = jc.minimize_many(lambda x, c: (x - c) ** 2, jnp.zeros(3), jnp.arange(3.0))
    np.testing.assert_allclose(batch[[2, 0]].x, [2.0, 0.0], atol=1e-6)
    assert len(batch[[]]) == 0
    wrong: list[Any] = [("x", "fun"), 1.5, [0.5]]
    for key in wrong:
        with pytest.raises(TypeError, match="an index, a slice, a mask or indices, not by"):
            batch[key]
