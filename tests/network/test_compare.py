"""`compare_optimizers`: it trains as a loop does, chooses rates fairly, compiles once and checks arguments first."""

import contextlib
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcalc as jc
from jaxcalc import methods
from jaxcalc.methods.needs import GRADIENT, HESSIAN, HESSIAN_PRODUCT
from jaxcalc.network import training
from tests.families import slow_but

NET = jc.network.mlp([4, 6, 3], "tanh")
COST = jc.network.supervised(NET.apply, jc.network.cross_entropy)
ACCURACY = jc.network.supervised(NET.apply, jc.network.accuracy)
OPTIMIZERS = {"sgd": jc.sgd, "adam": optax.adam, "lbfgs": "lbfgs"}


def flowers(count, seed=0):
    """Three clouds of points in four dimensions."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    return jnp.asarray(random.normal(size=(count, 4)) + 2 * np.eye(4)[labels], jnp.float32), jnp.asarray(labels)


DATA, VALIDATION, TEST = flowers(70), flowers(40, 1), flowers(50, 2)
SETTING: dict[str, Any] = {
    "learning_rates": [0.01, 0.1, 1.0],
    "seeds": 2,
    "epochs": 3,
    "batch_size": 16,
    "progress": False,
}


def init(key):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), NET.init(key))


def compared(optimizers=None, data=DATA, cost=COST, init=init, **options) -> jc.Comparison:
    return jc.compare_optimizers(cost, init, data, optimizers or OPTIMIZERS, **(SETTING | options))


@pytest.fixture(scope="module")
def whole():
    return compared(validation=VALIDATION, test=TEST, metrics={"accuracy": ACCURACY})


@contextlib.contextmanager
def compilations():
    """Yields a list of the programs compiled inside the context, by name; `jaxcalc.core.programs` compiles lambdas."""
    names = []

    def note(event: str, duration_secs: float, **facts: str | int):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(facts.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def by_hand(factory, rate, seed, epochs=3, batch_size=16):
    """Returns the parameters after a training that is written as in Optax's documentation."""
    key = jax.random.key(seed)
    params: Any = init(jax.random.fold_in(key, 0))
    optimizer = factory(rate)
    state = optimizer.init(params)
    plan = training.Plan(len(DATA[0]) // batch_size, batch_size, training.Computation())
    for epoch in range(epochs):
        for rows in training.batches(key, jnp.asarray(epoch), plan, DATA):
            gradient = jax.grad(COST)(params, (DATA[0][rows], DATA[1][rows]))
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("name", "factory"), [("sgd", jc.sgd), pytest.param("adam", optax.adam, marks=pytest.mark.slow)]
)
def test_a_run_is_the_training_that_a_loop_makes(whole, name, factory):
    runs = whole.runs[name]
    for k, s in ((0, 1), (2, 0)):
        params = by_hand(factory, SETTING["learning_rates"][k], s)
        np.testing.assert_allclose(runs.final[k, s], COST(params, VALIDATION), rtol=1e-4)
        np.testing.assert_allclose(runs.tests["test accuracy"][k, s], ACCURACY(params, TEST), atol=0.03)
        flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
        assert np.linalg.norm(runs.solutions[k, s] - flat) < 1e-4 * np.linalg.norm(flat)


def test_all_start_alike_and_are_judged_on_the_data_that_was_given(whole):
    starts = [runs.validation[:, :, 0] for runs in whole.runs.values()]
    for s in range(2):
        expected = COST(init(jax.random.fold_in(jax.random.key(s), 0)), VALIDATION)
        for start in starts:
            np.testing.assert_allclose(start[:, s], expected, rtol=1e-5)
    for runs in whole.runs.values():
        np.testing.assert_array_equal(runs.final, runs.validation[:, :, -1])
        assert runs.chosen == np.argmin(np.median(runs.final, axis=1))
    assert whole.judged_by == "validation"


def test_shuffling_uses_every_sample_at_most_once_an_epoch():
    plan = training.Plan(4, 16, training.Computation())
    rows = [np.asarray(training.batches(jax.random.key(0), jnp.asarray(epoch), plan, DATA)) for epoch in range(2)]
    for of_epoch in rows:
        assert of_epoch.shape == (4, 16)
        assert len(np.unique(of_epoch)) == 64
    assert (rows[0] != rows[1]).any()


@pytest.mark.slow
def test_sgd_by_hand_and_optax_s_give_the_same_curves():
    both = compared({"by hand": lambda rate: jc.sgd(rate, 0.9, True), "optax": lambda rate: optax.sgd(rate, 0.9, True)})
    np.testing.assert_array_equal(both.runs["by hand"].train, both.runs["optax"].train)


def test_a_full_batch_method_spends_one_evaluation_an_epoch():
    evaluations = []

    def counted(params, batch):
        # The length of the batch shows whether all data was evaluated.
        jax.debug.callback(lambda: evaluations.append(len(batch[1])))
        return COST(params, batch)

    runs = compared({"lbfgs": jc.methods.lbfgs(history=5)}, cost=counted, seeds=1, epochs=12).runs["lbfgs"]
    jax.effects_barrier()
    # One evaluation for each epoch, one before the first and one after the last for the table.
    assert evaluations == [70] * 14
    assert runs.train[0, 0, -1] < 0.5 * runs.train[0, 0, 0]
    assert (np.diff(runs.train[0, 0, 1:]) <= 0).all()
    assert np.isnan(runs.learning_rates).all()


# What a method spends follows from its need: here are all three needs, and a fixed rate.
@pytest.mark.parametrize("name", slow_but(methods.REGISTRY, ["bfgs", "trust_region", "trust_ncg", "gradient_descent"]))
def test_every_method_of_the_library_spends_what_it_was_given(name):
    quadratic = jc.network.supervised(lambda w, x: x @ w, jc.network.quadratic_cost)
    evaluated = []

    def cost(w, batch):
        jax.debug.callback(lambda: evaluated.append(1))
        return quadratic(w, batch)

    start = lambda key: jnp.zeros((2, 1))  # noqa: E731
    x = DATA[0][:, :2]
    data = (x, x @ jnp.array([[3.0], [-1.0]]))
    runs = compared({name: name}, data=data, cost=cost, init=start, seeds=1, epochs=12).runs[name]
    jax.effects_barrier()
    period = {GRADIENT: 1, HESSIAN_PRODUCT: 2, HESSIAN: 3}[methods.REGISTRY[name]().needs]
    # Two evaluations are for the table. One with the Hessian of two parameters costs as much as three gradients.
    if period == 1:
        assert len(evaluated) == 2 + 12
    else:
        moved = np.flatnonzero(np.diff(runs.train[0, 0]))
        assert len(moved) >= 1
        assert ((moved + 1) % period == 0).all()
    assert runs.train[0, 0, -1] < runs.train[0, 0, 0]
    assert not runs.diverged.any()


def test_without_validation_the_training_loss_chooses_and_it_says_so():
    found = compared({"sgd": jc.sgd})
    runs = found.runs["sgd"]
    params = found.solution("sgd", 1, init(jax.random.key(9)))
    np.testing.assert_allclose(runs.final[runs.chosen, 1], COST(params, DATA), rtol=1e-5)
    assert runs.validation is None
    assert found.judged_by == "training"
    assert "no validation data" in str(found)


@pytest.mark.slow
def test_a_run_that_diverges_is_recorded_and_harms_no_other():
    cost = jc.network.supervised(NET.apply, jc.network.cross_entropy, l2=0.01)  # the squares overflow
    alone = compared({"sgd": jc.sgd}, cost=cost, learning_rates=[0.01, 0.1])
    beside = compared({"sgd": jc.sgd}, cost=cost, learning_rates=[0.01, 0.1, 1e30], seeds=2)
    runs = beside.runs["sgd"]
    assert runs.diverged.tolist() == [[False, False], [False, False], [True, True]]
    assert not np.isfinite(runs.train[2]).all()
    np.testing.assert_allclose(runs.train[:2], alone.runs["sgd"].train, rtol=1e-5)
    (row,) = beside.summary()
    assert row.diverged == pytest.approx(1 / 3)
    assert row.learning_rate < 1


def climb(rate):
    return jc.sgd(-rate)


def test_a_run_that_ends_above_its_start_has_diverged():
    ascent = compared({"ascent": climb})
    assert ascent.runs["ascent"].diverged.all()
    assert np.isinf(ascent.summary()[0].loss)
    assert "never" in str(ascent)


def test_a_second_call_compiles_nothing_and_traces_no_training():
    traced = []

    def cost(params, batch):
        traced.append(batch[0].shape[0])
        return COST(params, batch)

    call = lambda rates: compared(cost=cost, learning_rates=rates, validation=VALIDATION)  # noqa: E731
    call([0.01, 0.1])
    traced.clear()
    with compilations() as compiled:
        again = call([0.02, 0.2])
    assert compiled == []
    assert traced == [70, 40]  # by the checks of the arguments alone
    np.testing.assert_allclose(again.runs["sgd"].learning_rates, [0.02, 0.2])


def test_summary_counts_steps_to_the_target(whole):
    runs = whole.runs["sgd"]
    curve = runs.validation[runs.chosen]
    row = next(row for row in whole.summary(target=float(np.max(curve[:, 2]))) if row.optimizer == "sgd")
    first = [int(np.argmax(own <= np.max(curve[:, 2]))) for own in curve]
    assert row.steps_to_target == 4 * min(first)  # one of two seeds is half of them
    assert row.seconds_to_target == pytest.approx(min(first) / 3 * runs.seconds / 6)
    assert [row.loss for row in whole.summary()] == sorted(row.loss for row in whole.summary())
    assert {row.optimizer for row in whole.summary()} == set(OPTIMIZERS)
    assert next(row for row in whole.summary(target=0.0) if row.optimizer == "adam").steps_to_target == np.inf


def test_records_are_tidy(whole):
    records = whole.records()
    assert len(records) == 3 * 2 * 2 + 2
    assert sum(record["chosen"] for record in records) == 3 * 2
    assert len(whole.curves()) == len(records) * 4
    pandas = pytest.importorskip("pandas")
    frame = whole.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    best = frame[frame.chosen & (frame.optimizer == "adam")]
    runs = whole.runs["adam"]
    np.testing.assert_allclose(best.validation_loss_at_end, runs.final[runs.chosen])
    assert set(whole.to_pandas(curves=True).epoch) == {0, 1, 2, 3}


def test_it_is_read_as_it_was_written(whole, tmp_path):
    path = tmp_path / "without a suffix"
    whole.save(path)
    read = jc.Comparison.load(path)
    assert str(read) == str(whole)
    assert read.records() == whole.records() or np.isnan(read.records()[-1]["learning_rate"])
    for name, runs in whole.runs.items():
        for field in vars(runs):
            np.testing.assert_equal(getattr(read.runs[name], field), getattr(runs, field))


def test_an_interrupt_keeps_what_there_is(monkeypatch, tmp_path):
    epochs = []

    def tell(self, count=1):
        epochs.append(count)
        if len(epochs) == 5:
            signal.raise_signal(signal.SIGINT)  # what Ctrl-C sends

    monkeypatch.setattr("jaxcalc.network.compare.tqdm.update", tell)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    found = compared(validation=VALIDATION)
    signal.signal(signal.SIGINT, before)
    assert list(found.runs) == ["sgd", "adam"]
    assert [runs.epochs for runs in found.runs.values()] == [3, 2]
    assert found.runs["adam"].judged.shape == (3, 2, 3)
    assert "adam (2 epochs)" in str(found)
    assert "interrupted before the end of adam, lbfgs" in str(found)
    found.save(tmp_path / "found.npz")
    assert str(jc.Comparison.load(tmp_path / "found.npz")) == str(found)


def test_an_interrupt_before_there_is_anything_goes_on(monkeypatch):
    def interrupt(*ignored):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxcalc.network.compare._train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compared()


def test_bad_input_is_refused_before_anything_is_compiled():
    x, y = DATA
    wrong: list[tuple[dict, type, str]] = [
        ({"data": (x, y.at[3].set(3))}, ValueError, "labels must be classes from 0 to 2.*run from 0 to 3"),
        ({"data": (x, y[:-1])}, ValueError, r"same number of samples.*\(70,\).*\(69,\)"),
        ({"validation": (x, y - 1)}, ValueError, "run from -1 to 1"),
        ({"validation": (x[:, :2], y)}, ValueError, "validation must be made like data"),
        ({"batch_size": 71}, ValueError, "batch_size is 71, but there are 70 samples"),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1"),
        ({"epochs": 0}, ValueError, "epochs must be a whole number"),
        ({"learning_rates": [0.1, -1.0]}, ValueError, "learning_rates must be positive"),
        ({"learning_rates": []}, ValueError, "learning_rates must be positive"),
        ({"seeds": 0}, ValueError, "seeds must be"),
        ({"seeds": [1, 1]}, ValueError, "seeds must be"),
        ({"seeds": True}, TypeError, "seeds must be a whole number"),
        ({"seeds": [0, 0.5]}, TypeError, r"seeds\[1\] must be"),
        ({"seeds": [0, -1]}, ValueError, r"seeds\[1\] must be"),
        ({"seeds": [2**32]}, ValueError, "below 2\\^32"),
        ({"batch_size": 16.0}, TypeError, "batch_size must be a whole number"),
        ({"metrics": {"accuracy": ACCURACY}}, ValueError, "give test="),
        ({"micro_batches": 3}, ValueError, "does not divide into 3 micro-batches"),
        ({"cost": lambda params, batch: batch[0]}, TypeError, "cost must return one real number"),
        ({"init": lambda key: {}}, ValueError, "init returned no parameters"),
        (
            {"init": lambda key: {"w": jnp.zeros(3, int)}},
            TypeError,
            r"init must return floating.*\['w'\] has dtype int",
        ),
        (
            {"test": TEST, "metrics": {"all": lambda params, batch: batch[1]}},
            TypeError,
            r"metrics\['all'\] must return",
        ),
        ({"compute_dtype": "int8"}, ValueError, "compute_dtype must be floating"),
        ({"optimizers": {"newton": "trust_region"}, "epochs": 1}, ValueError, "as much as 2 gradients.*budget is 1"),
        ({"optimizers": {"adam": optax.adam(0.1)}}, TypeError, "function learning_rate -> GradientTransformation"),
        ({"optimizers": {"adam": optax.adam(0.1)}}, TypeError, r"has its rate already. Write optax.adam for"),
        ({"optimizers": {"lbfgs": optax.lbfgs}}, TypeError, 'asks for value_fn.*linesearch=None.*method "lbfgs"'),
        ({"optimizers": {"bfgs": methods.bfgs}}, TypeError, r"call it, jaxcalc.methods.bfgs\(...\)"),
        ({"optimizers": {"none": None}}, TypeError, "or the name of a method, .*; this is a NoneType"),
        ({"optimizers": {"adam": lambda: optax.adam(0.1)}}, TypeError, r"is called as an optimizer\(learning_rate\)"),
        ({"optimizers": {"adam": lambda rate: rate}}, TypeError, "GradientTransformation.*<lambda> returned a "),
        ({"learning_rates": "a"}, TypeError, "learning_rates must be a real number or an array"),
        ({"devices": "cpu"}, TypeError, "devices is a list of devices"),
        ({"optimizers": {"lbgfs": "lbgfs"}}, ValueError, "Did you mean 'lbfgs'"),
        ({"optimizers": {"adam": "Adam"}}, ValueError, r"it is 'Adam'. Write optax.adam for 'Adam'\."),
        ({"init": init(jax.random.key(0))}, TypeError, "init is a function of a random key.*init=lambda key: params"),
        ({"cost": 1.0}, TypeError, r"cost is a function of \(params, batch\)"),
        ({"cost": lambda params, batch: jnp.sum(np.exp(params[0]["bias"]))}, TypeError, "Use jax.numpy"),
    ]
    with compilations() as compiled:
        for options, kind, message in wrong:
            with pytest.raises(kind, match=message):
                compared(**options)
    assert [name for name in compiled if "lambda" in name or name == "?"] == []
    with pytest.raises(ValueError, match="optimizers must name at least one"):
        jc.compare_optimizers(COST, init, DATA, {}, **SETTING)


@pytest.mark.parametrize("name", ["data", "validation"])
def test_nan_in_the_data_is_no_divergence(name):
    x, y = VALIDATION
    with pytest.raises(ValueError, match=rf"{name}\[0\] holds nan, in 2 of 40 samples \(the first is 5\)"):
        compared({"sgd": jc.sgd}, **{name: (x.at[jnp.array([5, 7]), 0].set(jnp.nan), y)})


def test_whole_numbers_may_be_those_of_numpy(tmp_path):
    sizes = {"epochs": np.int64(1), "batch_size": np.int64(16)}
    found = compared({"sgd": jc.sgd}, seeds=np.arange(2), **sizes)
    found.save(tmp_path / "found.npz")
    assert jc.Comparison.load(tmp_path / "found.npz").seeds == (0, 1)
    np.testing.assert_array_equal(
        found.runs["sgd"].final, compared({"sgd": jc.sgd}, seeds=np.int64(2), **sizes).runs["sgd"].final
    )


def test_an_optimiser_that_changes_a_structure_is_refused():
    def loses_a_layer(rate):
        return optax.GradientTransformation(lambda params: (), lambda updates, state, params=None: (updates[:1], state))

    def grows(rate):
        return optax.GradientTransformation(lambda params: (), lambda updates, state, params=None: (updates, (state,)))

    def widens(rate):
        return optax.GradientTransformation(
            lambda params: jnp.zeros(1), lambda updates, state, params=None: (updates, jnp.zeros(2))
        )

    for factory, message in (
        (loses_a_layer, "changes the structure of its updates"),
        (grows, "changes the structure of its state"),
        (widens, r"changes its state from \(1,\)"),
    ):
        with compilations() as compiled, pytest.raises(TypeError, match=message) as caught:
            compared({"sgd": jc.sgd, "odd": factory})
        assert [name for name in compiled if "lambda" in name or name == "?"] == []
        assert "This is about optimizers['odd']." in caught.value.__notes__


def test_micro_batches_give_the_same_training(whole):
    for parts in (2, 4):
        runs = compared({"adam": optax.adam}, micro_batches=parts, validation=VALIDATION).runs["adam"]
        np.testing.assert_allclose(runs.judged, whole.runs["adam"].judged, rtol=1e-4)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32():
    seen = set()

    def cost(params, batch):
        seen.update(str(leaf.dtype) for leaf in jax.tree.leaves((params, batch)))
        return COST(params, batch)

    mixed = compared({"sgd": jc.sgd, "lbfgs": "lbfgs"}, cost=cost, compute_dtype="bfloat16")
    assert {"bfloat16", "int64"} <= seen
    full = compared({"sgd": jc.sgd, "lbfgs": "lbfgs"})
    for name, runs in mixed.runs.items():
        assert runs.solutions.dtype == np.float32
        np.testing.assert_allclose(runs.train, full.runs[name].train, rtol=0.1)
        assert (runs.train != full.runs[name].train).any()
