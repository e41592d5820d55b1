"""A function whose globals, closure or object have been bound to other values is compiled anew, and only then."""

import functools
import gc
import math
import timeit
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.core import programs
from jaxcalc.core.captures import MOST_VERSIONS, Captures, Change

CELL = """
data = {data}
def residuals(p):
    return p - data
def objective(p):
    return jnp.sum(residuals(p) ** 2)
"""


def evaluate(functions, _, x):
    return functions[0](x)


def value(fun, x: Any = 1.0):
    """Returns fun(x) from the program that the library keeps for fun."""
    return np.asarray(programs.compiled(evaluate, [fun])(None, x)).tolist()


class Traced:
    """A list of names, one for each time that the function called so is traced."""

    def __init__(self):
        self.names = []

    def __call__(self, name):
        self.names.append(name)


@pytest.fixture
def namespace():
    """The globals of a notebook."""
    return {"jnp": jnp, "jax": jax, "np": np, "traced": Traced(), "functools": functools}


def run(source, namespace):
    exec(compile(source, "<cell>", "exec"), namespace)


@pytest.mark.parametrize("data", ["np.array([{}, 2.0])", "{}"])
def test_a_cell_of_a_notebook_that_is_run_again(namespace, data):
    run(CELL.format(data=data.replace("{}", "1.0")), namespace)
    objective = namespace["objective"]
    assert float(jc.minimize(objective, jnp.zeros(2)).x[0]) == pytest.approx(1)
    run(f"data = {data.replace('{}', '5.0')}", namespace)
    assert float(jc.minimize(objective, jnp.zeros(2)).x[0]) == pytest.approx(5)
    many = jc.minimize_many(objective, jnp.zeros((3, 2)))
    np.testing.assert_allclose(many.x[:, 0], 5)


def test_a_helper_that_is_defined_again_and_helpers_of_helpers(namespace):
    run(
        """
scale = 2.0
def inner(x): return scale * x
def helper(x): return inner(x)
def f(x): traced("f"); return (lambda y: helper(y))(x)
""",
        namespace,
    )
    f = namespace["f"]
    assert value(f) == 2
    run("scale = 3.0", namespace)
    assert value(f) == 3
    run("def inner(x): return 10 * x", namespace)
    assert value(f) == 10
    run("scale = 4.0", namespace)  # nothing names it any more
    assert value(f) == 10
    assert len(namespace["traced"].names) == 3


def test_names_that_are_bound_and_unbound_later(namespace):
    run("def f(x): return sum([x, x])", namespace)
    assert value(namespace["f"]) == 2
    run("def sum(x): return 7 * x[0]", namespace)
    assert value(namespace["f"]) == 7
    run("del sum", namespace)
    assert value(namespace["f"]) == 2


@pytest.mark.filterwarnings("ignore:f has been compiled")
def test_numbers_count_by_value(namespace):
    run("def f(x): traced('f'); return x * a", namespace)
    f, traced = namespace["f"], namespace["traced"].names
    numbers = [1.5, 2, 2.0, True, 1, 0.0, -0.0, 1 + 2j, np.float32(2), np.float64(2), float("nan")]
    for count, number in enumerate(numbers, 1):
        for equal in (number, eval(repr(number), {"np": np, "nan": math.nan})):
            namespace["a"] = equal
            value(f)
            assert len(traced) == count
    namespace["a"] = 10**400 // 10**399
    assert value(f) == 10
    assert len(traced) == len(numbers) + 1


def test_strings_and_short_tuples_count_by_value(namespace):
    run("def f(x): traced('f'); return x * (2 if mode == 'twice' else 1) + sum(shift[0])", namespace)
    f, traced = namespace["f"], namespace["traced"].names
    for mode, shift, result, count in [
        ("twice", ((1, 2.0), None), 5, 1),
        ("".join(["tw", "ice"]), (eval("1, 2.0"), None), 5, 1),
        ("once", ((1, 2.0), None), 4, 2),
        ("once", ((1, 3.0), None), 5, 3),
        ("once", ((1, 3.0), "a"), 5, 4),
    ]:
        namespace.update(mode=mode, shift=shift)
        assert value(f) == result
        assert len(traced) == count


@pytest.mark.filterwarnings("ignore:f has been compiled")
def test_arrays_count_by_identity(namespace):
    run("def f(x): traced('f'); return jnp.sum(x * a)", namespace)
    f, traced = namespace["f"], namespace["traced"].names
    first = namespace["a"] = np.ones(2)
    assert [value(f), value(f)] == [2, 2]
    assert len(traced) == 1
    namespace["a"] = first.copy()  # equal, and another object
    value(f)
    assert len(traced) == 2
    namespace["a"][0] = 7  # in place: cannot be seen
    assert value(f) == 2
    for size in range(20):  # arrays that die, so that others get their place in memory
        namespace["a"] = jnp.full(3, size) if size % 2 else np.full(3, size)
        assert value(f) == 3 * size


@pytest.mark.filterwarnings("ignore:f has been compiled")
def test_lists_and_dicts_count_by_identity_even_where_one_takes_the_place_of_another(namespace):
    run("def f(x): return x * a[0]", namespace)
    for number in range(20):
        namespace["a"] = None
        namespace["a"] = [number] if number % 3 else {0: number}
        assert value(namespace["f"]) == number


def test_cells_of_a_closure():
    scale, offset = 2.0, jnp.zeros(())

    def helper(x):
        return x * scale

    def f(x):
        return helper(x) + offset

    def bind(new_scale, new_offset):
        nonlocal scale, offset
        scale, offset = new_scale, new_offset

    assert value(f) == 2
    bind(3.0, offset)
    assert value(f) == 3
    bind(3.0, jnp.ones(()))
    assert value(f) == 4


class Inner:
    __slots__ = ("weight",)


class Model:
    power = 2

    def __init__(self):
        self.centre, self.unrelated, self.shift, self.inner = jnp.ones(2), 0, 0, Inner()
        self.inner.weight = 1.0

    @property
    def target(self):
        return self.shifted(self.centre)

    def shifted(self, x):
        return x + self.shift

    def cost(self, x):
        return self.inner.weight * jnp.sum((x - self.target) ** self.power)

    def __call__(self, x):
        return self.cost(x)


@pytest.mark.parametrize(
    "of", [lambda model: model.cost, lambda model: model, lambda m: functools.partial(Model.cost, m)]
)
def test_attributes_of_the_object(of):
    model: Any = Model()
    fun = of(model)
    assert value(fun, jnp.zeros(2)) == 2
    model.centre = jnp.full(2, 2.0)
    assert value(fun, jnp.zeros(2)) == 8
    model.inner.weight = 0.5
    assert value(fun, jnp.zeros(2)) == 4
    model.power = 4
    assert value(fun, jnp.zeros(2)) == 16
    model.inner = Inner()
    model.inner.weight = 2.0
    assert value(fun, jnp.zeros(2)) == 64


def test_attributes_that_are_not_named_and_methods_made_anew_change_nothing():
    model: Any = Model()
    program = programs.compiled(evaluate, [model.cost])
    model.unrelated = 1
    assert programs.compiled(evaluate, [model.cost]) is program


def test_an_attribute_of_an_object_that_is_a_global(namespace):
    run(
        """
class Settings: pass
settings = Settings()
settings.rate = 2.0
def f(x): return x * settings.rate
""",
        namespace,
    )
    assert value(namespace["f"]) == 2
    namespace["settings"].rate = 5.0
    assert value(namespace["f"]) == 5


def test_partial_functions_hold_what_their_function_names(namespace):
    run("def g(x, a, *, b): return a * x + b + c\nc = 0.0\nf = functools.partial(g, a=2.0, b=1.0)", namespace)
    f = namespace["f"]
    assert value(f) == 3
    namespace["c"] = 10.0
    assert value(f) == 13
    f.keywords["b"] = 2.0
    assert value(f) == 14
    nested = functools.partial(functools.partial(namespace["g"], a=1.0), b=0.0)
    assert value(nested) == 11
    namespace["c"] = 0.0
    assert value(nested) == 1


def test_defaults_and_code_that_are_replaced():
    def f(x, scale=2.0, *, shift=0.0):
        return scale * x + shift

    assert value(f) == 2
    f.__defaults__ = (3.0,)
    assert value(f) == 3
    f.__kwdefaults__ = {"shift": 1.0}
    assert value(f) == 4
    f.__code__ = (lambda x, scale, *, shift: x - scale).__code__
    assert value(f) == -2


def test_functions_that_call_each_other(namespace):
    run(
        """
def even(x, n): return x if n == 0 else odd(x, n - 1)
def odd(x, n): return weight * even(x, n - 1)
def f(x): return even(x, 4)
weight = 2.0
""",
        namespace,
    )
    assert value(namespace["f"]) == 4
    namespace["weight"] = 3.0
    assert value(namespace["f"]) == 9


def test_wrapped_functions(namespace):
    run(
        """
@jax.custom_vjp
def square(x): return weight * x**2
square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * weight * x * g,))
each = jax.vmap(lambda x: weight * x)
@functools.lru_cache
def cached(n): return n
def f(x): return square(x) + jnp.sum(each(jnp.ones(2))) + cached(1)
weight = 1.0
""",
        namespace,
    )
    assert value(namespace["f"], 2.0) == 7
    namespace["weight"] = 2.0
    assert value(namespace["f"], 2.0) == 13


@pytest.mark.parametrize("fun", [jnp.sin, jax.jit(jnp.cos), jc.problems.quartic, functools.partial(jnp.maximum, 0.25)])
def test_functions_of_packages_and_without_code(fun):
    assert value(fun, 0.5) == pytest.approx(float(fun(0.5)), rel=1e-15)
    assert programs.compiled(evaluate, [fun]) is programs.compiled(evaluate, [fun])


def test_what_a_function_changes_itself_is_no_reason_to_trace_again(namespace):
    run("def f(x):\n    global calls\n    calls += 1; seen.append(x); return x * calls\ncalls, seen = 0, []", namespace)
    model: Any = Model()
    model.calls, model.last = 0, None

    def counts(x):
        model.calls += 1
        model.last = jnp.ones(3)
        return jnp.sum(x * model.last) + model.cost(x)

    for _ in range(3):
        assert value(namespace["f"]) == 1
        value(counts, jnp.zeros(2)[:1])
        value(counts, jnp.zeros(()))
    assert (namespace["calls"], model.calls) == (1, 2)
    model.centre = jnp.full(2, 3.0)
    assert value(counts, jnp.zeros(1)) == 18


def test_many_compilations_for_other_values_are_said(namespace):
    run("def f(x): return x * a", namespace)
    for number in range(programs.MANY_COMPILATIONS - 1):
        namespace["a"] = float(number)
        value(namespace["f"])
    namespace["a"] = 0.5
    with pytest.warns(UserWarning, match="f has been compiled 10 times.*Put what changes into args") as told:
        value(namespace["f"])
    assert told[0].filename == __file__


@pytest.mark.filterwarnings("ignore:f has been compiled")
def test_programs_for_old_values_do_not_pile_up(namespace):
    run("def f(x): traced('f'); return jnp.sum(x * a)", namespace)
    f, traced, count = namespace["f"], namespace["traced"].names, len(programs._programs)
    arrays = []
    for number in range(30):
        namespace["a"] = np.full(2, number)
        arrays.append(weakref.ref(namespace["a"]))
        value(f)
    versions = next(versions for key, (versions, _) in programs._programs.items() if id(f) in key)
    assert len(programs._programs) == count + 1
    assert len(versions._versions) == 1
    jax.clear_caches()
    gc.collect()
    assert sum(array() is not None for array in arrays) == 1
    for number in range(2 * MOST_VERSIONS):
        namespace["a"] = number
        value(f)
    assert len(versions._versions) == MOST_VERSIONS
    before = len(traced)
    for number in range(MOST_VERSIONS, 2 * MOST_VERSIONS):  # the last numbers are remembered
        namespace["a"] = number
        assert value(f) == number
    assert len(traced) == before


def test_a_function_that_names_itself_dies():
    def made():
        def f(x, n=3):
            return x if n == 0 else f(x, n - 1)

        data = np.ones(3)

        def g(x):
            return jnp.sum(x * data) + f(x)

        value(g)
        (key,) = [key for key in programs._programs if id(g) in key]
        return key, [weakref.ref(f), weakref.ref(g), weakref.ref(data)]

    key, dead = made()
    jax.clear_caches()
    gc.collect()
    assert [reference() for reference in dead] == [None] * 3
    assert key not in programs._programs


def test_integrals_and_critical_points_see_it_too(namespace):
    run("def f(x): return (x - a) ** 2 * b\na, b = 1.0, 3.0", namespace)
    f = namespace["f"]
    slope = jc.derivative(f)
    assert value(slope, 2.0) == 6
    assert float(jc.integrate(f, 0.0, 1.0).value) == pytest.approx(1)
    assert jc.critical_points(f, -4.0, 4.0).x[1] == pytest.approx(1)
    namespace.update(a=0.0, b=6.0)
    assert value(slope, 2.0) == 24
    assert float(jc.integrate(f, 0.0, 1.0).value) == pytest.approx(2)
    assert jc.critical_points(f, -4.0, 4.0).x[1] == pytest.approx(0)


def test_looking_costs_little(namespace):
    run(
        """
a, b, c, d, e = 1.0, 2, "three", np.ones(3), jnp.ones(3)
def first(x): return jnp.sum(x) * a + b
def second(x): return first(x) + i * d
f, g, h, i, j = (1, 2), [1, 2], {"a": 1}, np.float64(2), jnp.float32(1)
def fun(x): return (first(x) + second(x)) * a * b * len(c) * d * e * f[0] * g[0] * h["a"] * i * j
""",
        namespace,
    )
    captures = Captures([namespace["fun"]])
    assert captures.change() is Change.NONE
    seconds = min(timeit.repeat(captures.change, number=1000, repeat=5)) / 1000
    assert seconds < 20e-6
