"""The range test finds the largest stable rate; loss landscapes are scaled to the filters of the solution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcalc as jc
from jaxcalc.network import landscape, range_test

NET = jc.network.mlp([3, 5, 2])
COST = jc.network.supervised(NET.apply, jc.network.mean_squared_error)


def data(count=32):
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(count, 3))), jnp.asarray(random.normal(size=(count, 2)))


def bowl(x, batch):
    """A cost of curvature 2, so that gradient descent is stable up to the learning rate 1."""
    return jnp.sum(x**2) + 0 * jnp.sum(batch)


def ones(key):
    return jnp.ones(2)


def test_the_range_test_steps_through_the_rates():
    test = jc.learning_rate_range_test(
        bowl, ones, jnp.zeros(8), jc.sgd, lowest=0.01, highest=100.0, steps=40, seeds=2, batch_size=4
    )
    x, expected = np.ones(2), []
    for rate in np.geomspace(0.01, 100, 40):
        expected.append(np.sum(x**2))
        x = x - rate * 2 * x
    np.testing.assert_allclose(test.loss, np.tile(expected, (2, 1)), rtol=1e-6)
    assert test.lowest > 1  # the smoothed cost is lowest a little above the largest stable rate
    assert 0.1 < test.suggestion < 1  # the suggestion is stable


def test_a_run_that_blows_up_does_not_hide_the_best_rate():
    test = jc.learning_rate_range_test(
        COST, NET.init, data(), optax.sgd, lowest=1e-3, highest=1e8, steps=60, batch_size=8
    )
    assert not np.isfinite(test.loss).all()
    assert 1e-3 < test.suggestion < 1


def test_smoothing_gives_all_weight_to_the_first():
    np.testing.assert_allclose(range_test._smooth(np.array([4.0, 1.0]), 0.5), [4.0, (2 + 1) / 1.5])


def test_filters_have_the_lengths_of_the_solution_s():
    params = {"weights": jax.random.normal(jax.random.key(0), (3, 3, 4, 5)), "bias": jnp.ones(5)}
    for axis in (-1, 0):
        direction = landscape.filter_normalized(jax.random.key(1), params, axis)
        others = (0, 1, 2) if axis == -1 else (1, 2, 3)
        lengths = [
            np.linalg.norm(
                np.moveaxis(np.asarray(tree["weights"]), axis, 0).reshape(
                    -1, np.prod([params["weights"].shape[k] for k in others])
                ),
                axis=1,
            )
            for tree in (direction, params)
        ]
        np.testing.assert_allclose(*lengths, rtol=1e-6)
        assert not direction["bias"].any()


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.slow
def test_a_slice_is_the_cost_along_its_directions(dimensions):
    params, batch = NET.init(jax.random.key(0)), data()
    slice_ = jc.loss_landscape(COST, params, batch, dimensions=dimensions, points=5, span=0.5)
    assert slice_.loss.shape == (5,) * dimensions
    np.testing.assert_allclose(slice_.loss[(2,) * dimensions], COST(params, batch), rtol=1e-6)
    keys = jax.random.split(jax.random.key(0), 2)
    first, second = (landscape.filter_normalized(key, params, 0) for key in keys)
    moved = jax.tree.map(lambda x, d: x + 0.5 * d, params, first)
    if dimensions == 2:
        moved = jax.tree.map(lambda x, d: x - 0.25 * d, moved, second)
    at = (4,) if dimensions == 1 else (1, 4)
    np.testing.assert_allclose(slice_.loss[at], COST(moved, batch), rtol=1e-6)


def test_scaling_a_layer_up_and_the_next_down_changes_no_slice():
    params, batch = NET.init(jax.random.key(0)), data()
    scaled = [
        {"weights": 8 * params[0]["weights"], "bias": params[0]["bias"]},
        {**params[1], "weights": params[1]["weights"] / 8},
    ]
    slices = [jc.loss_landscape(COST, solution, batch, points=7).loss for solution in (params, scaled)]
    np.testing.assert_allclose(*slices, rtol=1e-6)


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    params, batch = NET.init(jax.random.key(0)), data()
    pictures = {
        "range": jc.learning_rate_range_test(COST, NET.init, batch, jc.sgd, steps=30, batch_size=8).plot(),
        "line": jc.loss_landscape(COST, params, batch, points=11).plot(),
        "square": jc.loss_landscape(COST, params, batch, points=11, dimensions=2).plot(),
        "flat": jc.loss_landscape(lambda w, _: jnp.sum(0 * w) + 1, jnp.ones((2, 2)), (), points=3, dimensions=2).plot(),
    }
    for name, figure in pictures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert imread(tmp_path / f"{name}.png")[..., :3].std() > 0.02


def test_a_seed_of_nan_does_not_hide_the_others():
    def some(key):
        return jnp.where(jax.random.uniform(key) < 0.3, jnp.nan, ones(key))

    options: dict[str, Any] = {"steps": 40, "seeds": 8, "batch_size": 4}
    test = jc.learning_rate_range_test(bowl, some, jnp.zeros(8), jc.sgd, **options)
    assert 1 <= np.isnan(test.loss[:, 0]).sum() < 4
    assert 0.01 < test.suggestion < 1
    nothing = test._replace(smooth=np.full(40, np.inf))
    with pytest.raises(ValueError, match=r"at least half of the 8 seeds .* what init returns"):
        nothing.suggestion  # noqa: B018
    params: Any = jnp.ones(2)
    with pytest.raises(TypeError, match="init=lambda key: params"):
        jc.learning_rate_range_test(bowl, params, jnp.zeros(8), jc.sgd, **options)
    with pytest.raises(TypeError, match="asks for value_fn"):
        jc.learning_rate_range_test(bowl, ones, jnp.zeros(8), optax.lbfgs, **options)


def test_what_cannot_be_is_refused():
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"lowest": 1.0, "highest": 0.1}, "0 < lowest < highest"),
        ({"steps": 1}, "steps must be a whole number of at least 2"),
        ({"batch_size": 33}, "batch_size is 33, but there are 32 samples"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            jc.learning_rate_range_test(COST, NET.init, data(), jc.sgd, **({"batch_size": 8} | options))
    params = NET.init(jax.random.key(0))
    wrong = [
        ({"dimensions": 3}, "dimensions must be 1 or 2"),
        ({"span": 0.0}, "span must be one number above 0"),
        ({"points": 1}, "points must be a whole number of at least 2"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            jc.loss_landscape(COST, params, data(), **options)
    with pytest.raises(ValueError, match="no filters"):
        jc.loss_landscape(bowl, jnp.ones(3), jnp.zeros(1))
