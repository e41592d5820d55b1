"""Constraints at the door: SciPy's forms, and what is said of others."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, NonlinearConstraint

import jaxcalc as jc
from jaxcalc.optimize.constraints import checked, common_numbers, with_constraints


def total(x, a):
    return a * jnp.sum(x**2)


def sums(x):
    return jnp.stack([x[0] + x[1], x[1] - x[2]])


START = jnp.array([1.0, 2.0, 4.0])


def evaluated(constraints, fun=total, args: tuple = (3.0,)) -> Any:
    """Returns what the one function made of an objective and these constraints returns at START."""
    given, several = checked(constraints)
    whole = with_constraints(fun, given, several, False)
    return whole(START, None, *args, common_numbers(given, None))


def rows(output):
    return np.asarray(output.equalities).tolist(), np.asarray(output.inequalities).tolist()


def test_forms_that_say_the_same():
    matrix = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, -1.0]])
    same = [
        {"type": "ineq", "fun": sums},
        NonlinearConstraint(sums, 0, np.inf),
        LinearConstraint(matrix, 0, np.inf),
        [{"type": "ineq", "fun": lambda x: sums(x)[0]}, {"type": "ineq", "fun": lambda x, a: sums(x)[1] + 0 * a}],
    ]
    for constraints in same:
        assert rows(evaluated(constraints)) == ([], [3.0, -2.0])
    assert rows(evaluated({"type": "eq", "fun": sums})) == ([3.0, -2.0], [])
    assert rows(evaluated({"type": "ineq", "fun": lambda x, b: x[0] - b, "args": (5.0,)})) == ([], [-4.0])


def test_sides_by_component():
    """Equal sides are equalities, infinite ones are none; lower sides come before upper ones."""
    output = evaluated(NonlinearConstraint(sums, np.array([1.0, -np.inf]), np.array([1.0, 7.0])))
    assert rows(output) == ([2.0], [9.0])
    both = evaluated(NonlinearConstraint(sums, np.array([-1.0, -np.inf]), 5.0))
    assert rows(both) == ([], [4.0, 2.0, 7.0])
    assert rows(evaluated(NonlinearConstraint(sums, -np.inf, np.inf))) == ([], [])
    # Multipliers of upper sides are negative, in the form of the constraint.
    formed = both.layout.in_form(jnp.array([[1.0], [2.0], [3.0]]))
    assert formed[:, 0].tolist() == [1.0 - 2.0, -3.0]


def test_sides_that_are_traced():
    def inequalities(lb):
        return evaluated(NonlinearConstraint(sums, lb, jnp.inf)).inequalities

    # An infinite side is not known while it is traced: it holds nothing.
    assert jax.jit(inequalities)(jnp.array([1.0, -jnp.inf])).tolist() == [2.0, 1.0]
    assert jax.jacobian(inequalities)(jnp.array([1.0, -jnp.inf])).tolist() == [[-1.0, 0.0], [0.0, 0.0]]
    assert rows_of_equal(jnp.array(1.0)) == 2  # the same object is an equality


def rows_of_equal(side) -> int:
    def count(side):
        return evaluated(NonlinearConstraint(sums, side, side)).equalities

    return jax.eval_shape(count, side).shape[0]


def test_one_object_for_the_same_functions():
    """It is the key of the program; it is gone once a function is."""
    given, several = checked([{"type": "eq", "fun": sums}])
    whole = with_constraints(total, given, several, False)
    again, _ = checked([{"type": "eq", "fun": sums}])
    assert with_constraints(total, again, several, False) is whole
    assert with_constraints(total, checked([{"type": "ineq", "fun": sums}])[0], several, False) is not whole


@pytest.mark.parametrize(
    ("constraints", "error", "says"),
    [
        ({"type": "equal", "fun": sums}, ValueError, '"eq" or "ineq"'),
        ({"type": "eq"}, TypeError, r"dict with the keys \['type'\]; a constraint is"),
        ({"type": "eq", "fun": sums, "jac": sums}, TypeError, "leave jac out"),
        ({"type": "eq", "fun": 3.0}, TypeError, "must be a function; it is a float"),
        ([sums], TypeError, r"constraints\[0\] is a function; a constraint is"),
        (NonlinearConstraint(sums, 1.0, 0.0), ValueError, "lb must be at most ub"),
        (NonlinearConstraint(sums, np.nan, 0.0), ValueError, "not nan"),
        (NonlinearConstraint(sums, np.zeros(2), np.zeros(3)), ValueError, "must broadcast"),
        (NonlinearConstraint(sums, np.zeros(3), np.inf), ValueError, r"lb has shape \(3,\).*returns shape \(2,\)"),
        (LinearConstraint(np.ones((1, 2)), 0, 1), ValueError, r"A .* shape \(1, 2\), but x has 3 components"),
        (NonlinearConstraint(sums, 0, 1, keep_feasible=True), TypeError, "keep_feasible is not promised"),
        ({"type": "ineq", "fun": lambda x: x[0] > 0}, TypeError, "array of dtype bool.*not its sign"),
        ({"type": "ineq", "fun": lambda x: None}, TypeError, "it returned a NoneType"),
        ({"type": "ineq", "fun": lambda x: [x[0], x[1]]}, TypeError, "it returned a list.*jnp.stack"),
        ({"type": "eq", "fun": lambda x: x[0] + 1j}, TypeError, "complex"),
        (
            [{"type": "eq", "fun": lambda x, a, b: x[0] - a}],
            TypeError,
            r"constraints\[0\]: its fun is called with x and the 1 of args and shared.*x alone; it takes \(x, a, b\)",
        ),
        (
            {"type": "eq", "fun": lambda x, a: x[0] - a, "args": (1.0, 2.0)},
            TypeError,
            r"with x and the 2 of its own args.*it takes \(x, a\)",
        ),
    ],
)
def test_what_is_no_constraint(constraints, error, says):
    with pytest.raises(error, match=says):
        jc.minimize(total, START, (3.0,), constraints=constraints)


def test_methods_and_sizes():
    constraint = {"type": "eq", "fun": sums}
    for method in ("bfgs", "SLSQP"):
        with pytest.raises(ValueError, match=f"'{method}' takes no constraints; 'interior_point' does"):
            jc.minimize(total, START, (3.0,), constraints=constraint, method=method)
    with pytest.raises(TypeError, match="BFGS takes no constraints; 'interior_point' does"):
        jc.minimize(total, START, (3.0,), constraints=constraint, method=jc.methods.bfgs())
    with pytest.raises(ValueError, match="there is no method 'interior_point'"):
        jc.minimize(total, START, (3.0,), method="interior_point")
    with pytest.raises(ValueError, match=r"65 variables.*at most 64"):
        jc.minimize(total, jnp.ones(65), (3.0,), constraints=constraint)
    with pytest.raises(TypeError, match="call minimize_many for each function"):
        jc.minimize_many([total], [START[None]], constraints=constraint)
    with pytest.raises(ValueError, match=re.escape("ctol must be at least 0")):
        jc.minimize(total, START, (3.0,), constraints=constraint, ctol=-1.0)


def test_a_tolerance_of_no_constraints():
    for solve in (
        lambda: jc.minimize(total, START, (3.0,), ctol=1e-3),
        lambda: jc.minimize_many(total, START[None], (jnp.ones(1),), constraints=[], ctol=1e-3),
        lambda: jc.multistart(lambda x: jnp.sum(x**2), bounds=(-jnp.ones(2), jnp.ones(2)), ctol=1e-3),
    ):
        with pytest.raises(ValueError, match=r"ctol is 0.001, but there are no constraints"):
            solve()
