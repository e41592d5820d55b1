"""Problems with constraints, from the door to the result: what SUCCESS promises, recomputed, and how others end."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import NonlinearConstraint

import jaxcalc as jc

INF = np.inf
WEIGHTS = jnp.array([1.0, 2.0, 3.0])
BOX = (jnp.full(3, -2.0), jnp.array([INF, 1.0, 1.5]))


def cost(x, mean, total, rate):
    return jnp.sum(WEIGHTS.astype(x.dtype) * (x - mean) ** 2) + 0.1 * jnp.sum(x**4) + jnp.sum(jnp.log(rate))


def conditions(x, mean, total, rate):
    return jnp.stack([jnp.sum(x) - total, x[0] * x[1], jnp.sum(x**2)])


# An equality, an upper side, and both sides.
SIDES = NonlinearConstraint(conditions, np.array([0.0, -INF, 0.1]), np.array([0.0, 0.2, 8.0]))


def problems(count, seed=0):
    draw = np.random.default_rng(seed)
    mean, total = draw.normal(size=(count, 3)), draw.uniform(-1.0, 1.5, count)
    return jnp.asarray(draw.normal(size=(count, 3))), (jnp.asarray(mean), jnp.asarray(total), jnp.ones(count))


def solved(x0, args, bounds=BOX):
    return jc.minimize_many(cost, x0, args, constraints=SIDES, bounds=bounds, lanes=16, certify=True)


START, ARGS = problems(40)


@pytest.fixture(scope="module")
def batch():
    return solved(START, ARGS)


def test_what_success_promises_holds_at_exactly_the_returned_x(batch):
    assert batch.success.all()
    gradient, normals = jax.vmap(jax.grad(cost))(batch.x, *ARGS), jax.vmap(jax.jacobian(conditions))(batch.x, *ARGS)
    values = np.asarray(jax.vmap(conditions)(batch.x, *ARGS))
    np.testing.assert_allclose(batch.jac, gradient, rtol=1e-12)
    reduced = gradient - jnp.einsum("nm,nmk->nk", batch.multipliers, normals)
    projected = batch.x - jnp.clip(batch.x - reduced, *BOX)
    np.testing.assert_allclose(jnp.abs(projected).max(1), batch.optimality, atol=1e-12)
    assert batch.optimality.max() <= 1e-5
    low, high = values - np.asarray(SIDES.lb), np.asarray(SIDES.ub) - values
    violation = np.maximum(-low, -high).max(1)
    assert violation.max() <= 1e-6
    np.testing.assert_allclose(np.maximum(violation, 0), batch.constraint_violation, atol=1e-12)
    multipliers = np.asarray(batch.multipliers)
    assert (multipliers[:, 1] <= 0).all()
    # Of both sides the one that holds x has the multiplier.
    assert (np.where(multipliers > 0, low, high) * np.abs(multipliers) <= 1e-5)[:, 1:].all()
    assert (batch.x >= BOX[0]).all()
    assert (batch.x <= BOX[1]).all()


def test_certificates_and_counts(batch):
    assert set(batch.certificate.kind_name) <= {"minimum", "minimum at a bound"}
    assert (batch.nhev == batch.nfev).all()
    assert np.median(batch.nfev) <= 14


def test_failures_stay_alone(batch):
    """A problem that cannot be evaluated, one without a solution, and a start far outside."""
    mean, total, rate = ARGS
    starts = START.at[5].set(1e6)
    poisoned = solved(starts, (mean, total.at[7].set(50.0), rate.at[3].set(jnp.nan)))
    statuses = [jc.Status(int(code)).name for code in poisoned.status]
    assert statuses[3] == "INVALID"
    assert jnp.isnan(poisoned.constraint_violation[3])
    assert statuses[7] == "INFEASIBLE"
    assert poisoned.nfev[7] <= 50
    others = np.delete(np.arange(len(START)), [3, 5, 7])
    for field in ("x", "fun", "multipliers", "nfev", "status"):
        assert (np.asarray(getattr(poisoned, field))[others] == np.asarray(getattr(batch, field))[others]).all()
    assert poisoned.constraint_violation[7] > 1


def test_contradicting_constraints_are_told_from_hard_ones():
    """Sums that the ball of the upper side cannot reach, from starts inside and far outside of it."""
    mean, _, rate = ARGS
    total = jnp.asarray(np.random.default_rng(1).uniform(5, 60, len(START)))
    impossible = solved(START * jnp.linspace(0.1, 30, len(START))[:, None], (mean, total, rate))
    assert (impossible.status == jc.Status.INFEASIBLE).all()
    assert impossible.nfev.max() <= 50
    assert impossible.constraint_violation.min() > 0.1


def test_variables_that_are_fixed(batch):
    """The constraints depend on a variable whose bounds are equal; the multipliers are those of the others' problem."""
    fixed = solved(START, ARGS, (BOX[0].at[1].set(0.3), BOX[1].at[1].set(0.3)))
    assert fixed.success.all()
    assert (fixed.x[:, 1] == 0.3).all()
    assert fixed.nfev.mean() <= 1.5 * batch.nfev.mean()
    gradient, normals = jax.vmap(jax.grad(cost))(fixed.x, *ARGS), jax.vmap(jax.jacobian(conditions))(fixed.x, *ARGS)
    reduced = gradient - jnp.einsum("nm,nmk->nk", fixed.multipliers, normals)
    np.testing.assert_allclose(fixed.bound_multipliers[:, 1], reduced[:, 1], rtol=1e-9)
    free = fixed.x - jnp.clip(fixed.x - reduced, *BOX)
    assert jnp.abs(free.at[:, 1].set(0)).max() <= 1e-5


@pytest.mark.slow
def test_derivatives():
    """They are those of differences, by mean, by the total, and by the bounds; fun's by the total is a multiplier."""
    x0, args = START[:1], tuple(leaf[:1] for leaf in ARGS)

    def solution(mean, total, upper):
        return jc.minimize_many(
            cost, x0, (mean, total, args[2]), constraints=SIDES, bounds=(BOX[0], upper), gtol=1e-9, lanes=1
        )

    points = args[0], args[1], BOX[1]

    def fields(*points):
        result = solution(*points)
        return result.x, result.fun, result.multipliers, result.jac, result.bound_multipliers

    jacobian = jax.jacobian(fields, argnums=(0, 1))(*points)
    step = 1e-5
    for argument, directions in ((0, jnp.eye(3)), (1, jnp.ones((1, 1)))):
        for k, direction in enumerate(directions):
            move = step * direction.reshape(points[argument].shape)
            ends = [
                fields(*(point + sign * move if i == argument else point for i, point in enumerate(points)))
                for sign in (1, -1)
            ]
            for row, above, below in zip(jacobian, *ends, strict=True):
                found = row[argument].reshape(*above.shape, -1)[..., k]
                np.testing.assert_allclose(found, (above - below) / (2 * step), atol=2e-4)
    np.testing.assert_allclose(jacobian[1][1][0, 0], solution(*points).multipliers[0, 0], rtol=1e-6)


def test_the_public_contract():
    result: Any = jc.minimize(
        lambda x: jnp.sum((x - 2) ** 2), jnp.zeros(3), constraints={"type": "eq", "fun": lambda x: jnp.sum(x) - 1}
    )
    np.testing.assert_allclose(result.x, 1 / 3, atol=1e-5)
    np.testing.assert_allclose(result.multipliers, -10 / 3, atol=1e-5)
    assert result.multipliers.shape == ()


@pytest.mark.parametrize("start", [(0.08, 0.06, 0.0), (0.8, 0.6, 0.0)])
def test_full_steps_along_a_curved_constraint(start):
    """After full steps along the circle f and the violation are larger, although the ends are nearer the minimum."""
    result: Any = jc.minimize(
        lambda x: 10 * (x @ x - 1) - x[0], jnp.array(start), constraints={"type": "eq", "fun": lambda x: x @ x - 1}
    )
    assert result.success
    np.testing.assert_allclose(result.x, [1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(result.multipliers, 9.5, atol=1e-5)
    # Without second-order corrections these take 47 and 39 evaluations.
    assert result.nfev <= 25


@pytest.mark.slow
def test_single_precision():
    start, args = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (START, ARGS))
    low, high = (jnp.asarray(side, jnp.float32) for side in BOX)
    result = jc.minimize_many(cost, start, args, constraints=SIDES, bounds=(low, high), lanes=16)
    assert result.success.mean() >= 0.97
    assert result.constraint_violation[result.success].max() <= 1e-3


def test_starts_where_constraints_have_no_slope():
    # At zero each violation is stationary, and largest or a saddle; it is lower nearby.
    def constraint(x, which):
        branches = [
            lambda x: x @ x - 1,
            lambda x: x[0] * x[1] - 1,
            lambda x: jnp.cos(x[0]) + jnp.cos(x[1]),
            lambda x: x @ x + 1,
        ]
        return jax.lax.switch(which, branches, x)

    result = jc.minimize_many(
        lambda x, which: x[0] ** 2 + 2 * x[1] ** 2,
        np.zeros((4, 2)),
        (np.arange(4),),
        constraints={"type": "eq", "fun": constraint},
    )
    status = np.asarray(result.status).tolist()
    assert status == [jc.Status.SUCCESS] * 3 + [jc.Status.INFEASIBLE]
    np.testing.assert_allclose(result.fun[:2], [1, 2 * np.sqrt(2)], rtol=1e-5)
    violations = [abs(float(constraint(result.x[k], k))) for k in range(3)]
    assert max(violations) <= 1e-7
