"""Kernels: units of a program that take their arguments as the function does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc.core.kernels import kernel, only_where


@kernel
def scaled(x, scale=2.0, shift=0.0):
    return scale * x + shift


def test_arguments_by_name_count():
    assert scaled(1.0) == 2.0
    assert scaled(1.0, scale=5.0) == 5.0
    assert scaled(1.0, shift=1.0) == 3.0
    assert scaled(x=1.0, shift=1.0, scale=3.0) == 4.0
    assert jax.jit(lambda s: scaled(jnp.ones(3), scale=s))(4.0).tolist() == [4.0] * 3


def test_derivatives_and_maps_with_arguments_by_name():
    assert jax.grad(lambda s: scaled(3.0, scale=s))(5.0) == 3.0
    assert jax.vmap(lambda s: scaled(3.0, shift=s))(jnp.arange(2.0)).tolist() == [6.0, 7.0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError):
        scaled(1.0, **{"factor": 2.0})

    @kernel
    def by_name_only(x, *, scale=2.0):
        return scale * x

    with pytest.raises(TypeError, match="must not be keyword-only"):
        by_name_only(1.0, scale=3.0)


def test_nothing_is_computed_while_no_lane_asks():
    calls = []

    def counted(x):
        calls.append(1)
        return np.asarray(2 * x)

    @jax.jit
    def doubled(asked, x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return only_where(asked, lambda: jax.pure_callback(counted, shape, x), x)

    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(doubled(np.array([False, False, False]), x), x)
    assert not calls
    np.testing.assert_array_equal(doubled(np.array([False, True, False]), x), [1.0, 4.0, 3.0])
    assert len(calls) == 1
