"""JAX's strict modes of promotion: the library works in them, and they go on checking the caller's functions."""

import contextlib

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxcalc as jc
from jaxcalc import network

# Arrays are of single precision while double precision is on: what the library makes by itself must fit to them.
X, CENTRES = jnp.ones((4, 3), jnp.float32), jnp.arange(12, dtype=jnp.float32).reshape(4, 3) / 8
SIDES = (jnp.zeros(3, jnp.float32), jnp.full(3, 0.75, jnp.float32))
DATA = (jnp.linspace(-1, 1, 16).reshape(8, 2), jnp.arange(8) % 3)
NET = network.mlp([2, 3, 3], "tanh")
COST = network.supervised(NET.apply, network.cross_entropy, l2=0.1)
ACCURACY = network.supervised(NET.apply, network.accuracy)


def distance(x, c):
    return jnp.sum((x - c) ** 2) + jnp.sum(x**4)


def distance_of_parts(x, c):
    return jnp.sum((x["a"] - c) ** 2) + (x["b"] - 1) ** 2


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


def of_method(method, **options):
    return lambda: jc.minimize_many(distance, X, CENTRES, method=method, bounds=SIDES, scale=SIDES[1], **options)


def solution(centre, upper):
    return jc.minimize(distance, X[0], centre, bounds=(SIDES[0], upper)).x


@contextlib.contextmanager
def strict(modes: str):
    rank, dtype = "raise" if "rank" in modes else "allow", "strict" if "dtype" in modes else "standard"
    with jax.numpy_rank_promotion(rank), jax.numpy_dtype_promotion(dtype):
        yield


# What promotes, promotes while it is traced.
TRACED = {
    "bfgs": lambda: of_method("bfgs", xtol=1e-3, ftol=1e-6, history=2)(),
    "conjugate gradients": lambda: of_method("conjugate_gradient")(),
    "trust region": lambda: of_method("trust_region")(),
    "products": lambda: of_method("trust_ncg")(),
    "optax": lambda: of_method(optax.adam(0.1))(),
    "pytrees": lambda: jc.minimize_many(
        distance_of_parts, {"a": X, "b": X[:, 0]}, shared=(CENTRES[0],), method="lbfgs", certify=True
    ).where_success(0.0),
    "derivatives": lambda: jax.jacobian(solution, (0, 1))(CENTRES[0], SIDES[1]),
    "vmap": lambda: jax.vmap(solution)(CENTRES, X),
    "path": lambda: jc.gradient_descent(wells, X[0], 0.1, 3),
    "certify": lambda: jc.certify(distance, X, CENTRES, SIDES, many=True),
    "integral": lambda: jax.grad(lambda b: jc.integrate(lambda x, b: jnp.exp(b * x), 0 * b, b, b).value)(X[0, 0]),
    "box": lambda: jc.integrate_box(lambda v: jnp.sum(v**2), X[:, :2] - 1, X[:, :2]),
    "operators": lambda: (
        jc.taylor(jnp.sin, X, 3),
        jc.derivative(jnp.exp, 2)(X),
        jc.hessian(wells)(X),
        jc.laplacian(wells)(X),
        jc.curl(jnp.sin)(X[0]),
        jc.secant_slope(jnp.sin, X, 2 * X),
        jc.partial_derivative(lambda x, y: x * y, 0)(X, y=X),
    ),
    "rules": lambda: (
        jc.rules.chain(jnp.sin, 3)(X),
        jc.rules.power(0.5)(X),
        jc.rules.product(jnp.sin, jnp.exp)(X),
        jc.rules.quotient(jnp.sin, jnp.exp)(X),
    ),
    "sgd": lambda: [
        optimizer.update(X, optimizer.init(X), X)
        for optimizer in (jc.sgd(0.1, momentum=0.9, nesterov=True, weight_decay=0.1), jc.sgd(0.1, decoupled=True))
    ],
    "networks": lambda: (
        network.backpropagation(NET, network.cross_entropy, NET.init(jax.random.key(0)), DATA),
        ACCURACY(NET.init(jax.random.key(0)), (DATA[0], DATA[1].astype(jnp.int8))),
        network.cross_entropy(X, jnp.eye(4, 3) > 0),
    ),
}
RUN = {
    "missing points with common errors": lambda: jc.curve_fit(
        lambda t, a: a * t, X[0, :3], CENTRES + 1, [1.0], sigma=X[0], nan_policy="omit", maxiter=0
    ),
    "critical_points": lambda: jc.critical_points(lambda x: x**4 - x, -2, 2),
    "multistart": lambda: jc.multistart(wells, (-2 * X[0, :2], 2 * X[0, :2]), starts=8, maxfev=0),
    "compare_optimizers": lambda: jc.compare_optimizers(
        COST, NET.init, DATA, {"sgd": jc.sgd}, learning_rates=0.1, seeds=1, epochs=1, batch_size=4, progress=False
    ),
}


@pytest.mark.parametrize("name", TRACED)
def test_everything_that_is_traced(name):
    with strict("rank and dtype"):
        jax.eval_shape(TRACED[name])


@pytest.mark.parametrize("name", RUN)
def test_host_functions(name):
    with strict("rank and dtype"):
        RUN[name]()


@pytest.mark.parametrize("modes", ["rank", "dtype", "rank and dtype"])
def test_programs_are_the_same(modes):
    usual = jax.jit(solution).lower(CENTRES[1], SIDES[1]).as_text()
    with strict(modes):
        assert jax.jit(solution).lower(CENTRES[1], SIDES[1]).as_text() == usual


def lines(x):
    return jnp.sum(x * jnp.ones((2, 3), x.dtype))


def precisions(x):
    return jnp.sum(x * jnp.ones(x.shape, jnp.float64))


@pytest.mark.parametrize(("modes", "fun", "says"), [("rank", lines, "broadcast"), ("dtype", precisions, "promotion")])
def test_the_caller_s_functions_are_still_checked(modes, fun, says):
    calls = (
        lambda: jc.minimize(fun, X[0]),
        lambda: jax.grad(lambda c: jc.minimize(lambda x: fun(x) + jnp.sum((x - c) ** 2), X[0]).fun)(X[1]),
        lambda: jc.certify(fun, X[0]),
        lambda: jc.gradient(fun)(X[0]),
        lambda: jc.integrate(lambda x: fun(x + X[0]), X[0, 0] - 1, X[0, 0]),
        lambda: jc.multistart(fun, (-X[0], X[0]), starts=8),
    )
    for call in calls:
        with strict(modes), pytest.raises((TypeError, ValueError), match=says):
            call()
