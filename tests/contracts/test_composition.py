"""Every transformation of JAX around every way to solve and to integrate, against a formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jaxcalc as jc

MATRIX = jnp.array([[40.0, 10.0], [10.0, 20.0]])
POINTS = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2)))


def energy(x, a):
    return 0.5 * x @ MATRIX @ x - 20 * a @ x


def solution(a):
    return jnp.linalg.solve(MATRIX, 20 * a)


def by_minimize(method):
    return lambda a: jc.minimize(energy, jnp.zeros(2), (a,), method=method, gtol=1e-8).x


def by_minimize_many(method):
    def solve(a):
        several = jnp.stack([a, 2 * a, 3 * a])
        return jc.minimize_many(energy, jnp.zeros((3, 2)), (several,), method=method, gtol=1e-8).x.sum(0) / 6

    return solve


@jax.jit
def by_integrate(a):
    """A linear map; the parameters are arguments and what the integrand closes over."""
    return jc.integrate(lambda t, b: jnp.stack([b + a[1] * t, a[1] * jnp.exp(t)]), 0.0, 1.0, (a[0],)).value


def integral(a):
    return jnp.stack([a[0] + a[1] / 2, a[1] * (jnp.exp(1.0) - 1)])


@jax.jit
def by_antiderivative(a):
    """The limits move, and so does the integrand."""
    return jc.antiderivative(lambda t: jnp.cosh(t) + a[0] ** 2)(a)


def hyperbolic(a):
    return jnp.sinh(a) + a[0] ** 2 * a


def scanned(solve, a):
    def step(a, _):
        a = jnp.sin(solve(a))
        return a, a

    return jax.lax.scan(step, a, length=3)[1]


def bilevel(solve, target):
    """The argument for which the inner solution is the target."""
    upper = lambda a, target: 10 * jnp.sum((solve(a) - target) ** 2)  # noqa: E731
    return jc.minimize(upper, jnp.zeros(2), (target,), gtol=1e-8).x


def sharded(function):
    mesh, rows = Mesh(np.array(jax.devices()), "devices"), PartitionSpec("devices")
    return jax.shard_map(jax.vmap(function), mesh=mesh, in_specs=rows, out_specs=rows)


def squared(solve):
    return lambda a: jnp.sum(solve(a) ** 2)


COMPOSITIONS = {
    "jit": lambda solve: jax.jit(solve)(POINTS[0]),
    "vmap": lambda solve: jax.vmap(solve)(POINTS),
    "grad": lambda solve: jax.grad(squared(solve))(POINTS[0]),
    "jvp": lambda solve: jax.jvp(solve, (POINTS[0],), (POINTS[1],)),
    "hessian": lambda solve: jax.jit(jax.hessian(squared(solve)))(POINTS[0]),
    "jit of vmap of grad": lambda solve: jax.jit(jax.vmap(jax.grad(squared(solve))))(POINTS),
    "grad of vmap": lambda solve: jax.jit(jax.grad(lambda points: jnp.sum(jax.vmap(solve)(points) ** 3)))(POINTS),
    "scan": lambda solve: jax.jit(jax.jacrev(lambda a: scanned(solve, a)))(POINTS[0]),
    "checkpoint": lambda solve: jax.jit(jax.grad(jax.checkpoint(lambda a: jnp.sum(jnp.sin(solve(jnp.sin(a)))))))(
        POINTS[0]
    ),
    "shard_map": lambda solve: jax.jit(sharded(solve))(POINTS),
    "grad in shard_map": lambda solve: jax.jit(sharded(jax.grad(squared(solve))))(POINTS),
    "grad of shard_map": lambda solve: jax.jit(jax.grad(lambda points: jnp.sum(sharded(solve)(points) ** 2)))(POINTS),
    "bilevel": None,
}
# What is particular to a method are its state and its loops, which a program for several devices meets with all its
# rules; the derivatives of a solution belong to the engine, and know of a method whether it has second derivatives.
TELLING = ("jit of vmap of grad", "shard_map")
DIFFERENTIATED = ("bfgs", "trust_region")
# One method with a matrix, one with a history, one with Hessians and one of a fixed rate; bilevel compiles two solves.
ON_DEVICES = ("bfgs", "lbfgs", "trust_region", "gradient_descent")
# `minimize_many` differs from `minimize` in its door alone.
OF_THE_DOOR = (*TELLING, "vmap", "grad")
# The quick ones of the integral are one of each kind; what they leave out is a part of one of them.
OF_THE_INTEGRAL = (*TELLING, "jvp", "scan", "grad in shard_map")
SOLVERS = {"minimize": by_minimize, "minimize_many": by_minimize_many}
INTEGRALS = {"integrate": (by_integrate, integral), "antiderivative": (by_antiderivative, hyperbolic)}


def assert_equal(composition, solve, formula, atol=1e-7):
    assert len(jax.devices()) == 8
    if composition == "bilevel":
        ours = jax.jit(jax.jacrev(lambda target: bilevel(solve, target)))(formula(POINTS[0]))
        exact = jnp.linalg.inv(jax.jacobian(formula)(POINTS[0]))
    else:
        ours, exact = COMPOSITIONS[composition](solve), COMPOSITIONS[composition](formula)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), ours, exact)


def is_quick(method, solver, composition):
    if solver == "minimize_many":
        return method == "bfgs" and composition in OF_THE_DOOR
    if composition == "shard_map":
        return method in ON_DEVICES
    if method == "bfgs":
        return composition not in ("bilevel", "grad of vmap", "jit", "vmap")
    return method in DIFFERENTIATED and composition in TELLING


def cells():
    for method in jc.methods.REGISTRY:
        for solver in SOLVERS:
            for composition in COMPOSITIONS:
                marks = [] if is_quick(method, solver, composition) else [pytest.mark.slow]
                yield pytest.param(method, solver, composition, marks=marks, id=f"{composition}-{solver}-{method}")


@pytest.mark.parametrize(("method", "solver", "composition"), list(cells()))
def test_solutions(method, solver, composition):
    assert_equal(composition, SOLVERS[solver](method), solution)


def cells_of_integrals():
    for name in INTEGRALS:
        for composition in COMPOSITIONS:
            # An antiderivative is an integral and a constant; a solve inside of one compiles for half a minute.
            quick = composition in (OF_THE_INTEGRAL if name == "integrate" else ("jit of vmap of grad",))
            marks = [] if quick else [pytest.mark.slow]
            yield pytest.param(name, composition, marks=marks, id=f"{composition}-{name}")


@pytest.mark.parametrize(("name", "composition"), list(cells_of_integrals()))
def test_integrals(name, composition):
    assert_equal(composition, *INTEGRALS[name])


def test_a_mapped_closure_that_all_devices_share_is_refused_with_the_way_out():
    mesh, rows = Mesh(np.array(jax.devices()), "devices"), PartitionSpec("devices")

    def solve(points, scales, give):
        def each(scale):
            if give:
                return jc.minimize(lambda x, scale: energy(scale * x, points[0]), jnp.zeros(2), (scale,)).x
            return jc.minimize(lambda x, a: energy(scale * x, a), jnp.zeros(2), (points[0],)).x

        return jax.vmap(each)(scales)[None]

    def on_devices(give):
        specs = {"mesh": mesh, "in_specs": (rows, PartitionSpec()), "out_specs": rows}
        return jax.jit(jax.shard_map(lambda p, s: solve(p, s, give), **specs))(POINTS, jnp.array([1.0, 2.0]))

    with pytest.raises(TypeError, match="through args"):
        on_devices(give=False)
    np.testing.assert_allclose(on_devices(give=True)[:, 1], jax.vmap(solution)(POINTS) / 2, atol=1e-5)
