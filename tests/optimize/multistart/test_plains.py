"""Plains, on which f is flat along a line, a curve or a surface, are one minimum each; so are symmetric copies."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.engine.status import Status
from jaxcalc.optimize.multistart.merging import Lines
from jaxcalc.optimize.multistart.plains import merged_on_plains
from jaxcalc.optimize.multistart.points import Ends
from jaxcalc.optimize.multistart.result import coverage


def squared_length(x):
    return jnp.sum(x**2)


def ring(x):
    return (squared_length(x) - 1) ** 2


def steep_ring(x):
    return 1e4 * (3 * x[0] ** 2 + squared_length(x) - 1) ** 2 + 5


def bent(x):
    return (x[1] - jnp.sin(2 * x[0])) ** 2


def plateau(x):
    return jnp.maximum(squared_length(x) - 1, 0.0) ** 2


def slanting(x):
    return bent(x) + 1e-3 * (x[0] - 0.5) ** 2


def hyperbola(x):
    return (x[0] * x[1] - 1) ** 2


def line_beside_a_minimum(x):
    return jnp.minimum((x[0] + 1) ** 2, 0.5 + 4 * ((x[0] - 1) ** 2 + (x[1] - 1) ** 2))


def ring_around_a_minimum(x):
    return ring(x) * (squared_length(x) + 0.1)


def four_flat_minima(x):
    return jnp.sum((x[:2] ** 2 - 1) ** 4) + squared_length(x[2:])


# Each with its number of minima, those of one point included.
PLAINS = {
    ring: 1,
    steep_ring: 1,
    bent: 1,
    plateau: 1,
    slanting: 1,
    hyperbola: 2,
    line_beside_a_minimum: 2,
    ring_around_a_minimum: 2,
    four_flat_minima: 4,
}
SURFACES = {ring: 1, steep_ring: 1, plateau: 1}


def one_of(functions, x, kind):
    """One of several functions, so that they share a program."""
    return jax.lax.switch(kind, [lambda x, fun=fun: fun(x).astype(x.dtype) for fun in functions], x)


def a_plain(x, kind):
    return one_of(PLAINS, x, kind)


def a_surface(x, kind):
    return one_of(SURFACES, x, kind)


def agrees_with_its_counts(minima):
    known = coverage(np.asarray(minima.count))
    for name in ("missed_probability", "unseen_share", "expected_minima"):
        np.testing.assert_allclose(getattr(minima, name), getattr(known, name), rtol=1e-6)


@pytest.mark.parametrize(
    ("fun", "known", "size", "dtype"),
    [(a_plain, PLAINS, 2, jnp.float64), pytest.param(a_surface, SURFACES, 4, jnp.float32, marks=pytest.mark.slow)],
)
@pytest.mark.slow
def test_each_plain_is_one_minimum_and_estimates_follow_from_the_counts(fun, known, size, dtype):
    box = jnp.full(size, -2.0, dtype), jnp.full(size, 2.0, dtype)
    for kind, (form, expected) in enumerate(known.items()):
        for starts in (64, 300):
            minima = jc.multistart(fun, box, (kind,), starts=starts)
            assert len(minima.fun) == expected, form.__name__
            assert int(minima.count.sum()) <= starts
            # A search finds nothing here: no minimum is expected to be missing.
            assert int(minima.rounds) == 0
            agrees_with_its_counts(minima)


def mixture(x):
    """Two normal components of unit width and equal weight, by their means."""
    data = jnp.array([-2.1, -1.9, -2.0, 2.5, 2.4, 2.6])
    return -jnp.mean(jax.nn.logsumexp(-0.5 * (data[:, None] - x) ** 2, axis=1))


def even(x):
    return jnp.sum((x**2 - 1) ** 2) + 0.3 * x[0] * x[1]


def symmetric(x, kind):
    return one_of((mixture, even), x, kind)


MIXTURE, EVEN = range(2)
BOX = jnp.full(2, -4.0), jnp.full(2, 4.0)


def first_positive(x):
    return jnp.where(x[0] < 0, -x, x)


def cluster(x):
    """Lennard-Jones energy of three atoms in a plane."""
    distance = _pair_distances(x)
    return jnp.sum(distance**-12 - 2 * distance**-6)


def by_its_sides(x):
    """The triangle with the same sides whose first atom lies at 0, whose second on the axis, at the longest side."""
    a, b, c = jnp.sort(_pair_distances(x))
    along = (b**2 + c**2 - a**2) / (2 * c)
    height = jnp.sqrt(jnp.maximum(b**2 - along**2, 0))
    return jnp.array([[0, 0], [c, 0], [along, height]])


def _pair_distances(x):
    return jnp.array([jnp.linalg.norm(x[i] - x[j]) for i, j in ((0, 1), (0, 2), (1, 2))])


def test_symmetric_copies_are_merged_by_a_canonical_form():
    copies = jc.multistart(symmetric, BOX, (MIXTURE,), starts=64)
    one = jc.multistart(symmetric, BOX, (MIXTURE,), starts=64, canonical=jnp.sort)
    assert (len(copies.fun), len(one.fun)) == (2, 1)
    assert int(one.count[0]) == int(copies.count.sum())
    np.testing.assert_allclose(jnp.sort(one.x[0]), jnp.sort(copies.x[0]), atol=1e-4)
    agrees_with_its_counts(one)
    assert len(jc.multistart(symmetric, BOX, (EVEN,), starts=64).fun) == 4
    of_pairs = jc.multistart(symmetric, BOX, (EVEN,), starts=64, canonical=first_positive)
    assert len(of_pairs.fun) == 2
    # Listed are ends of descents, at which the gradient was evaluated.
    gradients = jax.vmap(jax.grad(even))(of_pairs.x)
    assert float(jnp.max(jnp.abs(gradients))) <= 1.01e-5
    together = jc.multistart(symmetric, BOX, (jnp.array([EVEN, EVEN]),), starts=64, canonical=first_positive, many=True)
    assert together.number.tolist() == [2, 2]


@pytest.mark.slow
def test_rotations_reflections_and_exchanges_of_a_cluster_are_one_minimum():
    box = jnp.full((3, 2), -1.0), jnp.full((3, 2), 1.0)
    triangle = jc.multistart(cluster, box, starts=64, canonical=by_its_sides)
    assert len(triangle.fun) == 1
    np.testing.assert_allclose(triangle.fun[0], -3, atol=1e-6)
    np.testing.assert_allclose(_pair_distances(triangle.x[0]), 1, atol=1e-4)


ANYTHING: Any = 3
BAD = {
    "another value": (jnp.abs, ValueError, "same value"),
    "another form": (jnp.sum, TypeError, "form of x"),
    "not a function": (ANYTHING, TypeError, "function"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_canonical_form_that_is_none(name):
    canonical, error, words = BAD[name]
    with pytest.raises(error, match=words):
        jc.multistart(symmetric, BOX, (EVEN,), starts=16, canonical=canonical)


@pytest.mark.parametrize("tilt", [0.0, 0.1])
def test_plains_side_by_side(tilt):
    """Four groups of ends on each of two circles, which are nearer to each other than the groups on one."""

    def on_circles(x):
        length = np.maximum(np.hypot(x[:, 0], x[:, 1]), 1e-9)[:, None]
        circle = np.column_stack([x[:, :2] / length, np.where(x[:, 2] > 0, 0.5, -0.5)])
        return Ends(
            circle, value(circle, None), np.full(len(x), Status.SUCCESS), np.zeros(len(x), int), np.ones(len(x), int),
            circle, np.zeros(len(x)),
        )  # fmt: skip

    def value(x, _):
        return (np.sum(x[:, :2] ** 2, axis=1) - 1) ** 2 + 16 * (x[:, 2] ** 2 - 0.25) ** 2 + tilt * x[:, 2]

    angle = (np.pi / 4 * np.array([1, 3, 5, 7])[:, None] + 1e-4 * np.arange(6)).ravel()
    ends = on_circles(
        np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]).repeat(2, 0) + np.array([[0, 0, -1], [0, 0, 1]] * 24)
    )
    lines = Lines(value, 1e-8, np.full(3, 4.0))
    label = merged_on_plains(ends, np.ones(48, bool), lines, lambda x, problem: on_circles(x))
    upper = ends.x[:, 2] > 0
    assert len(set(label[upper])) == len(set(label[~upper])) == 1
    assert len(set(label)) == 2
