"""The lane engine: the queue, the order, memory, the cache of programs, dtypes, pytrees and several functions."""

import functools
import gc
import warnings
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcalc as jc
from jaxcalc.engine.family.scalar import Scalar
from jaxcalc.engine.lanes import Engine
from jaxcalc.engine.problem import Problem, Tolerances
from jaxcalc.problems import rosenbrock
from tests.families import slow_but


def any_value(value: Any) -> Any:
    """What a type checker would refuse, handed over all the same."""
    return value


def bowl(x, a):
    return jnp.sum((x - a) ** 2)


@pytest.mark.parametrize("count", [0, 1, 5, 16, 17, 31, 100])
def test_every_number_of_problems(count):
    a = jnp.arange(3.0 * count).reshape(count, 3)
    result = jc.minimize_many(bowl, jnp.zeros((count, 3)), (a,), lanes=16)
    np.testing.assert_allclose(result.x, a, atol=1e-5)
    assert result.status.shape == result.nit.shape == result.nfev.shape == result.fun.shape == (count,)
    assert result.jac.shape == (count, 3)
    assert result.success.all()


@pytest.mark.parametrize("count", slow_but([20_000, 1_000_000], [20_000]))
def test_many_problems_in_order(count):
    a = jnp.arange(float(count))
    result = jc.minimize_many(lambda x, a: (x - a) ** 2, jnp.zeros(count), (a,))
    assert result.success.all()
    np.testing.assert_allclose(result.x, a, atol=1e-5)


def test_memory_beside_inputs_and_outputs_does_not_grow():
    def scratch(count):
        start, args = jax.ShapeDtypeStruct((count, 4), float), (jax.ShapeDtypeStruct((count,), float),)
        one = (jax.ShapeDtypeStruct((4,), float), (jax.ShapeDtypeStruct((), float),))

        def run(x0, args):
            tolerances = Tolerances(1e-5, 100, 5_000).completed(float, 100, 50)
            queue = Problem(jc.methods.bfgs(), x0, args, tolerances=tolerances)
            return Engine(Scalar(rosenbrock, *one, ()), queue).solve(64)

        memory = jax.jit(run).lower(start, args).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    assert scratch(100_000) <= scratch(1_000) + 1_000


def test_pytrees_keep_their_form_and_dtypes():
    start = {"a": jnp.zeros((7, 2), jnp.float32), "b": (jnp.ones((7,)), jnp.zeros((7, 2, 2), jnp.int32)), "c": None}

    def fun(x, target):
        assert x["b"][1].dtype == jnp.float64
        return jnp.sum((x["a"] - target["t"]) ** 2) + x["b"][0] ** 2 + jnp.sum((x["b"][1] - 3) ** 2)

    result = jc.minimize_many(fun, start, ({"t": jnp.arange(14.0).reshape(7, 2)},))
    assert jax.tree.structure(result.x) == jax.tree.structure(start) == jax.tree.structure(result.jac)
    assert [leaf.dtype for leaf in jax.tree.leaves(result.x)] == [jnp.float32, jnp.float64, jnp.float64]
    assert result.fun.dtype == jnp.float64
    np.testing.assert_allclose(result.x["a"], np.arange(14.0).reshape(7, 2), atol=1e-4)
    np.testing.assert_allclose(result.x["b"][1], 3, atol=1e-4)


@pytest.mark.parametrize(
    ("start", "factor", "x_dtype", "fun_dtype"),
    [
        (jnp.float32, jnp.float32, jnp.float32, jnp.float32),
        (jnp.float32, jnp.float64, jnp.float32, jnp.float64),
        (jnp.float64, jnp.float32, jnp.float64, jnp.float64),
        (jnp.bfloat16, jnp.bfloat16, jnp.bfloat16, jnp.float32),
        (jnp.int32, jnp.float32, jnp.float64, jnp.float64),
    ],
)
def test_work_dtype(start, factor, x_dtype, fun_dtype):
    seen = []

    def fun(x, a):
        seen.append(x.dtype)
        return jnp.sum(a * (x - 2) ** 2)

    result = jc.minimize(fun, jnp.zeros(3, start), (jnp.ones(3, factor),))
    assert result.x.dtype == result.jac.dtype == x_dtype
    assert result.fun.dtype == fun_dtype
    assert set(seen) == {jnp.dtype(x_dtype)}
    assert result.success
    np.testing.assert_allclose(np.asarray(result.x, float), 2.0, atol=1e-2)


def test_success_holds_at_exactly_the_returned_x():
    """A start in single precision with data in double: the gradient is judged at the x that comes back."""
    a = jnp.asarray(np.random.default_rng(0).normal(size=(200, 3)) * 100)
    result = jc.minimize_many(bowl, jnp.zeros((200, 3), jnp.float32), (a,))
    gradient = jax.vmap(jax.grad(bowl))(result.x, a)
    assert jnp.all(jnp.where(result.success, jnp.abs(gradient).max(1) <= 1.01e-5 + 1e-4, True))
    ends = {jc.Status.SUCCESS, jc.Status.STALLED, jc.Status.CONVERGED_PRECISION}
    assert set(np.asarray(result.status)) <= ends


def test_arguments_of_any_kind():
    keys = jax.random.split(jax.random.key(0), 9)
    index = jnp.arange(9)
    mask = jnp.arange(9) % 2 == 0
    table = jnp.arange(10.0)

    def fun(x, key, i, m, table):
        return jnp.sum((x - jax.random.uniform(key)) ** 2) + jnp.where(m, table[i], 0.0)

    result = jc.minimize_many(fun, jnp.zeros((9, 2)), (keys, index, mask), shared=table)
    np.testing.assert_allclose(result.x[:, 0], jax.vmap(jax.random.uniform)(keys), atol=1e-5)
    np.testing.assert_allclose(result.fun, jnp.where(mask, index, 0), atol=1e-8)


def test_tolerances_and_caps_for_each_problem():
    gtol = jnp.array([1e-1, 1e-3, 1e-6])
    result = jc.minimize_many(rosenbrock, jnp.full((3, 4), -1.0), gtol=gtol, maxiter=jnp.array([500, 500, 3]))
    assert result.status.tolist() == [0, 0, 2]
    assert jnp.all(jnp.abs(result.jac).max(1)[:2] <= gtol[:2])
    assert result.nit[0] < result.nit[1]
    assert result.nit[2] == 3


def test_tolerances_on_the_value_and_on_x():
    x0 = jnp.full((4, 4), -1.0)
    plain = jc.minimize_many(rosenbrock, x0, gtol=0.0, maxiter=200)
    by_value = jc.minimize_many(rosenbrock, x0, gtol=0.0, ftol=1e-2, history=2)
    assert (by_value.status == jc.Status.CONVERGED_VALUE).all()
    assert by_value.success.all()
    fall = by_value.history[:, 0] - by_value.history[:, 1]
    assert jnp.all(fall <= 1e-2 * by_value.history[:, 0])
    by_x = jc.minimize_many(rosenbrock, x0, gtol=0.0, xtol=jnp.array([1e-1, 1e-3, 1e-6, 0.0]), maxiter=200)
    assert by_x.status[:3].tolist() == [jc.Status.CONVERGED_STEP] * 3
    assert by_x.status[3] == plain.status[3]
    assert by_x.nit[0] < by_x.nit[1] < by_x.nit[2]
    assert jc.minimize(rosenbrock, x0[0], gtol=1e-5, ftol=0.0).status == jc.Status.SUCCESS


@pytest.mark.parametrize("c", [2.0**-20, 2.0**20])
def test_the_tolerances_are_relative(c):
    options = {"gtol": 0.0, "ftol": 1e-3, "xtol": 1e-3, "maxiter": 100}
    plain = jc.minimize(rosenbrock, jnp.full(4, -1.0), **options)
    scaled = jc.minimize(lambda x: c * rosenbrock(x / c), c * jnp.full(4, -1.0), **options)
    assert (plain.status, plain.nfev) == (scaled.status, scaled.nfev)


def test_a_start_of_value_zero_that_rests_is_not_unbounded():
    optimizer = optax.sgd(lambda count: 0.1 * jnp.minimum(count, 1))
    result = jc.minimize(lambda x: jnp.sum((x - 1) ** 2) - 2, jnp.zeros(2), method=optimizer, ftol=0.0, xtol=0.0)
    assert result.status == jc.Status.SUCCESS
    np.testing.assert_allclose(result.fun, -2.0)


def test_the_history_of_the_value():
    path = jc.gradient_descent(rosenbrock, jnp.zeros(3), 1e-3, 5)
    starts = jnp.stack([jnp.zeros(3), jnp.ones(3)])
    result = jc.minimize_many(
        rosenbrock, starts, method=jc.methods.gradient_descent(1e-3), maxiter=5, history=4, lanes=2
    )
    np.testing.assert_allclose(result.history[0], path.fun[2:], rtol=1e-12)
    np.testing.assert_array_equal(result.history[1], [np.nan, np.nan, np.nan, 0.0])
    assert result.history[0, -1] == result.fun[0]
    assert jnp.shape(jc.minimize(rosenbrock, jnp.zeros(3), history=3).history) == (3,)
    assert jc.minimize_many(rosenbrock, jnp.zeros((0, 3)), history=3).history.shape == (0, 3)


def test_auxiliary_output_belongs_to_x():
    def fun(x, a):
        return bowl(x, a), {"twice": 2 * x, "number": jnp.int32(7)}

    a = jnp.arange(40.0).reshape(20, 2)
    result = jc.minimize_many(fun, jnp.zeros((20, 2)), (a,), has_aux=True)
    np.testing.assert_array_equal(result.aux["twice"], 2 * result.x)
    np.testing.assert_array_equal(result.aux["number"], np.full(20, 7))
    single = jc.minimize(fun, jnp.zeros(2), (a[3],), has_aux=True)
    np.testing.assert_array_equal(single.aux["twice"], 2 * single.x)


def test_auxiliary_output_of_a_stiff_valley_is_not_that_of_a_rejected_trial():
    result = jc.minimize_many(
        lambda x, b: (rosenbrock(x, b), x), jnp.full((30, 3), -1.0), (jnp.logspace(0, 4, 30),), has_aux=True, maxiter=20
    )
    np.testing.assert_array_equal(result.aux, result.x)


class TestManyFunctions:
    functions = (rosenbrock, lambda x, a: bowl(x, a), lambda x: jnp.sum(jnp.cosh(x["p"] - 1)))
    starts = (jnp.zeros((12, 4)), jnp.zeros((1, 2)), {"p": jnp.zeros((40, 3))})
    args = ((), (jnp.ones((1, 2)),), ())

    @pytest.mark.parametrize("which", slow_but(range(3), [2]))
    def test_each_gets_its_own_result(self, which):
        results = jc.minimize_many(list(self.functions), list(self.starts), args=list(self.args))
        assert [len(result.status) for result in results] == [12, 1, 40]
        fun = self.functions[which]
        alone = jax.jit(lambda x0, args: jc.minimize_many(fun, x0, args))(self.starts[which], self.args[which])
        jax.tree.map(np.testing.assert_array_equal, alone, results[which])
        for result in results:
            result.check()

    def test_options_for_each(self):
        results = jc.minimize_many(
            [bowl, bowl],
            [jnp.zeros((3, 2)), jnp.zeros((4, 2))],
            [(), ()],
            shared=[(jnp.ones(2),), (2 * jnp.ones(2),)],
            method=["bfgs", jc.methods.gradient_descent(0.1)],
            maxiter=[100, 2],
        )
        np.testing.assert_allclose(results[0].x, 1.0, atol=1e-6)
        assert (results[1].nit == 2).all()

    def test_no_functions(self):
        assert jc.minimize_many([], []) == []

    def test_one_program(self):
        calls = []

        def counted(x):
            calls.append(1)
            return jnp.sum(x**2)

        functions, starts = [counted, rosenbrock], [jnp.ones((3, 2)), jnp.ones((3, 3))]
        jc.minimize_many(functions, starts)
        traced = len(calls)
        jc.minimize_many(functions, starts)
        assert len(calls) == traced


class TestPrograms:
    def test_one_compilation_for_several_functions_and_none_for_the_next_call(self, compilations):
        functions = [lambda x: jnp.sum((x - 1) ** 2), lambda x, a: jnp.sum((x - a) ** 4), rosenbrock]
        starts, args = [jnp.zeros((5, 2)), jnp.zeros((7, 3)), jnp.zeros((2, 4))], [(), (jnp.ones((7, 3)),), ()]
        jax.block_until_ready((starts, args))
        compilations.clear()
        first = jc.minimize_many(functions, starts, args)
        assert len(compilations) == 1
        again = jc.minimize_many(functions, starts, args)
        assert len(compilations) == 1
        jax.tree.map(np.testing.assert_array_equal, first, again)

    def test_the_function_is_not_kept_alive(self):
        def fun(x):
            return jnp.sum((x - 1) ** 2)

        jc.minimize(fun, jnp.zeros(2))
        jc.minimize_many(fun, jnp.zeros((20, 2)))
        reference = weakref.ref(fun)
        del fun
        gc.collect()
        assert reference() is None

    def test_methods_partials_and_instances_are_functions(self):
        class Model:
            def __init__(self):
                self.calls = 0

            def cost(self, x):
                self.calls += 1
                return jnp.sum((x - 1) ** 2)

            __call__ = cost

        model = Model()
        for get in (lambda: model.cost, lambda: model):
            jc.minimize(get(), jnp.zeros(2))
            calls = model.calls
            np.testing.assert_allclose(jc.minimize(get(), jnp.ones(2)).x, 1.0)
            assert model.calls == calls
        partial = functools.partial(bowl, a=3.0)
        np.testing.assert_allclose(jc.minimize(partial, jnp.zeros(2)).x, 3.0, atol=1e-6)
        np.testing.assert_allclose(jc.minimize(jax.jit(model.cost), jnp.zeros(2)).x, 1.0, atol=1e-6)

    def test_a_new_lambda_on_every_call_is_warned_of_once(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for k in range(12):
                jc.minimize_many(lambda x, k=k: jnp.sum((x - k) ** 2), jnp.zeros((0, 2)))
        (warning,) = [w for w in caught if "compiled" in str(w.message)]
        assert "put the data into args" in str(warning.message)
        assert warning.filename == __file__

    def test_many_shapes_of_one_function_are_not_warned_of(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for n in range(1, 13):
                jc.minimize_many(bowl, jnp.zeros((0, n)), (jnp.zeros((0, n)),))


class TestInsideJax:
    def test_jit(self):
        @jax.jit
        def solve(a, gtol):
            return jc.minimize(bowl, jnp.zeros(3), (a,), gtol=gtol)

        np.testing.assert_allclose(solve(jnp.ones(3), 1e-6).x, 1.0, atol=1e-6)
        assert solve(jnp.ones(3), -1.0).status == jc.Status.INVALID
        assert solve(jnp.ones(3), jnp.nan).status == jc.Status.INVALID

    def test_vmap_and_closures_over_traced_values(self):
        solve = jax.jit(jax.vmap(lambda a: jc.minimize(lambda x: jnp.sum((x - a) ** 2), jnp.zeros(2)).x))
        np.testing.assert_allclose(solve(jnp.arange(4.0))[:, 0], np.arange(4.0), atol=1e-5)

    def test_results_pass_through_jit(self):
        result = jax.jit(lambda r: r)(jc.minimize(bowl, jnp.zeros(2), 1.0))
        assert result.success
        assert "at most gtol" in result.message


def test_messages_and_check():
    result = jc.minimize_many(
        lambda x, a: jnp.sum(a * x**2), jnp.ones((5, 2)), (jnp.array([1, 1, jnp.nan, 1, jnp.nan]),)
    )
    assert result.message.splitlines()[0].startswith("3 of 5 SUCCESS")
    assert result.message.splitlines()[1].startswith("2 of 5 INVALID")
    with pytest.raises(RuntimeError, match=r"2 of 5 problems did not succeed \(the first is problem 2\)"):
        result.check()
    assert "nfev" in repr(result)


class TestBadInput:
    """Nothing of the caller's is compiled or computed."""

    @pytest.mark.parametrize(
        ("call", "error", "says"),
        [
            (
                lambda: jc.minimize_many(bowl, jnp.zeros((5, 2)), (jnp.zeros((4, 2)),)),
                ValueError,
                r"args\[0\].*\(4, 2\).*5",
            ),
            (lambda: jc.minimize_many(bowl, jnp.zeros((5, 2)), (1.0,)), ValueError, r"args\[0\].*\(\).*shared"),
            (
                lambda: jc.minimize_many(bowl, {"u": jnp.zeros((5, 2)), "v": jnp.zeros((6, 2))}),
                ValueError,
                r"x0\['v'\].*\(6, 2\).*5",
            ),
            (lambda: jc.minimize_many(bowl, 1.0), ValueError, "leading problem axis"),
            (lambda: jc.minimize(lambda x: x, jnp.zeros(3)), TypeError, r"one real number.*\(3,\).*float64"),
            (lambda: jc.minimize(lambda x: 1j * x[0], jnp.zeros(3)), TypeError, "complex128"),
            (lambda: jc.minimize(lambda x: (x[0], 1), jnp.zeros(3)), TypeError, "tuple.*has_aux"),
            (lambda: jc.minimize(lambda x: x[0], jnp.zeros(3), has_aux=True), TypeError, "has_aux=True"),
            (lambda: jc.minimize(lambda x: jnp.int32(1), jnp.zeros(3)), TypeError, "int32"),
            (lambda: jc.minimize(lambda x: jnp.real(x[0]), jnp.zeros(3, complex)), TypeError, r"x0.*complex128"),
            (lambda: jc.minimize(lambda x: 0.0, {"a": "text"}), TypeError, r"x0\['a'\] is 'text', not a number"),
            (lambda: jc.minimize(lambda x: 0.0, {}), ValueError, "no variables"),
            (lambda: jc.minimize(lambda x: 0.0, jnp.zeros((0,))), ValueError, "no variables"),
            (
                lambda: jc.minimize(bowl, jnp.zeros(2), 1.0, method="bgfs"),
                ValueError,
                "'gradient_descent'.*mean 'bfgs'",
            ),
            (lambda: jc.minimize(bowl, jnp.zeros(2), 1.0, method=any_value(len)), TypeError, "jaxcalc.methods"),
            (lambda: jc.minimize(bowl, jnp.zeros(2), 1.0, gtol=-1.0), ValueError, "gtol"),
            (lambda: jc.minimize(bowl, jnp.zeros(2), 1.0, gtol=jnp.ones(2)), ValueError, "one number"),
            (lambda: jc.minimize_many(bowl, jnp.zeros((3, 2)), maxiter=jnp.ones(2)), ValueError, r"\(3,\)"),
            (lambda: jc.minimize_many(bowl, jnp.zeros((3, 2)), lanes=0), ValueError, "lanes"),
            (lambda: jc.minimize(any_value("text"), jnp.zeros(3)), TypeError, "str"),
            (lambda: jc.minimize_many([bowl, bowl], [jnp.zeros((3, 2))]), ValueError, "2 functions.*x0.*length 1"),
            (lambda: jc.gradient_descent(bowl, 0.0, 0.1, -1, 1.0), ValueError, "steps"),
            (lambda: jc.gradient_descent(lambda x: x, jnp.zeros(2), 0.1, 1), TypeError, "one real number"),
        ],
    )
    def test_is_refused_in_words(self, call, error, says):
        with pytest.raises(error, match=says):
            call()


class TestGradientDescentPath:
    @staticmethod
    def quartic(x):
        return x * (x - 1) * (x - 2) * (x - 3)

    def test_the_text_s_numbers(self):
        path = jc.gradient_descent(self.quartic, 1.25, 0.05, 200)
        assert path.x.shape == path.fun.shape == path.jac.shape == (201,)
        assert float(path.jac[0]) == 1.1875
        np.testing.assert_allclose(path.x[:2], [1.25, 1.190625], rtol=1e-15)
        np.testing.assert_allclose(path.x[-1], (3 - np.sqrt(5)) / 2, rtol=1e-12)

    def test_equals_the_method(self):
        path = jc.gradient_descent(rosenbrock, jnp.zeros(3), 1e-3, 30, (50.0,))
        for steps in (0, 1, 30):
            result = jc.minimize(
                rosenbrock, jnp.zeros(3), (50.0,), method=jc.methods.gradient_descent(1e-3), maxiter=steps
            )
            np.testing.assert_allclose(result.x, path.x[steps], rtol=1e-12)

    def test_new_rates_do_not_trace_again_and_pytrees_pass(self):
        calls = []

        def fun(x):
            calls.append(1)
            return jnp.sum(x["a"] ** 2)

        for rate in (0.1, 0.2, jnp.asarray(0.3)):
            path = jc.gradient_descent(fun, {"a": jnp.ones(2)}, rate, 3)
        assert path.x["a"].shape == (4, 2)
        assert len(calls) <= 4


def test_no_two_methods_pass_for_the_same():
    structures = [jax.tree.structure(factory()) for factory in jc.methods.REGISTRY.values()]
    for k, structure in enumerate(structures):
        assert [other == structure for other in structures].index(True) == k
    evaluations = {
        int(jc.minimize(rosenbrock, jnp.zeros(3), method=name, maxiter=50).nfev) for name in jc.methods.REGISTRY
    }
    assert len(evaluations) >= 4


def test_options_of_methods_are_values():
    descent = jc.methods.gradient_descent
    assert descent(0.1) == descent(0.1) != descent(0.2)
    assert hash(descent(0.1)) == hash(descent(0.1))
    calls = []

    def fun(x):
        calls.append(1)
        return jnp.sum(x**2)

    jc.minimize(fun, jnp.ones(2), method=descent(0.1))
    traced = len(calls)
    jc.minimize(fun, jnp.ones(2), method=descent(0.2))
    assert len(calls) == traced
