"""A small `jaxcalc demo`: its results, its figures, and its messages where an optional package is missing."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc import __version__, plots
from jaxcalc.command import cli, demo, maps

typer_testing = pytest.importorskip("typer.testing")
pytest.importorskip("matplotlib")
linear_model = pytest.importorskip("sklearn.linear_model")

RESAMPLES = 60


@pytest.fixture(scope="module")
def study():
    return demo.breast_cancer()


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: typer_testing.CliRunner().invoke(cli.application(), list(arguments))


def is_a_picture(path) -> bool:
    """Returns whether the file is an image of more than 500 pixels a side, not of one colour only."""
    from matplotlib.image import imread

    pixels = imread(path)
    return min(pixels.shape[:2]) > 500 and pixels[..., :3].std() > 0.05


def test_the_demo_prints_and_saves_what_it_promises(command, tmp_path):
    folder = tmp_path / "new" / "folder"
    result = command("demo", "--output", str(folder), "--resamples", str(RESAMPLES), "--grid", "16", "--seed", "3")
    assert result.exit_code == 0, result.output
    for number in ("1.5, 0.381966, 2.618034", "1.1875", "1.190625", "10, 4, 8", "-6, 2, -2, 6", "0.235004"):
        assert number in result.output
    assert f"Converged: {RESAMPLES} of {RESAMPLES} ({RESAMPLES} SUCCESS)" in result.output
    assert "Converged: 256 of 256 (256 SUCCESS)" in result.output
    assert "fits per second" in result.output
    assert "256 decays of 20 points" in result.output
    assert "Largest difference between the two's estimates" in result.output
    assert result.output.rstrip().endswith(str(folder.resolve()))
    assert is_a_picture(folder / "descent.png")
    assert is_a_picture(folder / "basins.png")
    assert is_a_picture(folder / "maps.png")
    saved = np.load(folder / "bootstrap.npz")
    assert saved["resampled"].shape == (RESAMPLES, 7)
    assert list(saved["names"]) == ["intercept", *demo.FEATURES]


def test_the_maps_and_their_errors_are_true():
    result = maps.decay_maps(24, seed=0)
    assert (result.status == 0).all()
    deviation = (result.fitted[..., 1] - result.truth) / result.fitted[..., 2]
    assert 0.9 < deviation.std() < 1.1
    assert 0.92 < result.covered < 0.98


def test_version(command):
    assert command("--version").output.strip() == f"jaxcalc {__version__}"


def test_the_worked_examples_have_the_values_of_the_text():
    computed = {example.name: example.computed for example in demo.worked_examples()}
    sigmoid = 1 / (1 + np.exp(-0.5))
    expected = {
        "slope of y = 2x from (1, 2) to (4, 8)": 2,
        "sigmoid s at 0.5": sigmoid * (1 - sigmoid),
        "gradient of x^2 y + x y z + z^2 at (1, 2, 3)": [10, 4, 8],
        "y' of y = x (x - 1) (x - 2) (x - 3) at 0, 1, 2, 3": [-6, 2, -2, 6],
        "where y' = 0": [1.5, (3 - 5**0.5) / 2, (3 + 5**0.5) / 2],
        "y' at 1.25": 1.1875,
        "one step from there, learning rate 0.05": 1.190625,
        "where 100 steps lead": (3 - 5**0.5) / 2,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(computed[name], value, rtol=1e-9, err_msg=name)


def test_a_rule_of_the_text_gives_what_differentiation_gives():
    rules = [example for example in demo.worked_examples() if "rule" in example.name]
    assert len(rules) == 4
    for example in rules:
        assert float(example.text.rpartition("= ")[2]) == pytest.approx(float(example.computed), abs=1e-6)


def test_the_estimates_are_those_of_scikit_learn(study):
    result = demo.bootstrap(study, RESAMPLES, seed=0)
    assert (result.status == 0).all()
    assert result.largest_difference < 1e-5
    assert len(result.scipy_resampled) == demo.SCIPY_FITS
    model = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
    features = study.design[:, 1:]
    model.fit(features, study.outcome)
    np.testing.assert_allclose(result.estimate, [*model.intercept_, *model.coef_[0]], atol=1e-5)
    m = len(features)
    drawn = np.repeat(np.arange(m), np.random.default_rng(0).multinomial(m, np.full(m, 1 / m)))
    model.fit(features[drawn], study.outcome[drawn])
    np.testing.assert_allclose(result.resampled[0], [*model.intercept_, *model.coef_[0]], atol=1e-5)


def test_the_estimates_do_not_depend_on_the_chunks(study, monkeypatch):
    whole = demo.bootstrap(study, RESAMPLES, seed=1)
    monkeypatch.setattr(demo, "FITS_PER_CHUNK", 14)
    parts = demo.bootstrap(study, RESAMPLES, seed=1)
    assert parts.resampled.shape == (RESAMPLES, 7)
    np.testing.assert_allclose(parts.resampled, whole.resampled, atol=1e-5)


def test_the_cost_of_a_fit_has_its_slope_at_zero(study):
    from jaxcalc.calculus.derivatives import gradient

    signed = study.design * (1 - 2 * study.outcome)[:, None]
    slope = gradient(lambda b: demo.logistic_cost(b, jnp.ones(len(signed)), jnp.asarray(signed)))(jnp.zeros(7))
    np.testing.assert_allclose(slope, 0.5 * signed.mean(axis=0), rtol=1e-12)


def test_chunks_cover_all_rows_once():
    for count in (1, 9, 10, 11, 25):
        size = demo.chunk_size(count, 10)
        assert size <= 10
        assert [row for rows in demo.chunks(count, size, "", "") for row in rows] == list(range(count))


def test_labels_of_basins_are_drawn_where_the_starts_are(tmp_path):
    labels = np.array([[0, 0, 1], [0, -1, 1]])
    ax = plots.basins(labels, (0, 0), (2, 1), [[0, 0], [2, 1]], names=["left", "right"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [  # pyright: ignore[reportOptionalMemberAccess]
        "left from 3",
        "right from 2",
        "elsewhere from 1",
    ]
    (image,) = ax.images
    assert image.get_extent() == [-0.5, 2.5, -0.5, 1.5]
    ax.figure.savefig(tmp_path / "basins.png")  # pyright: ignore[reportAttributeAccessIssue]
    assert is_a_picture(tmp_path / "basins.png")


def test_a_path_that_stays_where_it_is_can_be_drawn(tmp_path):
    plots.descent(lambda x: x**2, [0.0]).figure.savefig(tmp_path / "descent.png")  # pyright: ignore[reportAttributeAccessIssue]
    assert is_a_picture(tmp_path / "descent.png")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"shape \(steps \+ 1,\); it has \(3, 2\)"):
        plots.descent(jnp.sum, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="runs from 0 to 2"):
        plots.basins([[0, 2]], (0, 0), (1, 1), [[0, 0], [1, 1]])


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_the_command_without_its_extra_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit, match=r'pip install "jaxcalc\[cli\]"'):
        cli.main()


def test_the_demo_without_scikit_learn_says_what_to_install(monkeypatch, command, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    result = command("demo", "--output", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert 'pip install "jaxcalc[demo]"' in result.output
    assert not (tmp_path / "none").exists()


def test_a_picture_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "jaxcalc\[plots\]"'):
        plots.descent(lambda x: x**2, [1.0, 0.0])
