"""Every picture: on its own figure, on Axes that are given, and beside the image of it that is stored.

`python tests/plots/test_plots.py` draws the stored images anew. They hold no text, so that fonts do not matter.
"""

import inspect
import io
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcalc import plots
from jaxcalc.optimize.fitting.result import CurveFitResult
from jaxcalc.plots.canvas import figure_of
from jaxcalc.plots.curves import Points

pytest.importorskip("matplotlib", reason="pictures are in the extra `plots`")
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

BASELINES = Path(__file__).parents[1] / "data" / "plots"
# The root of the mean squared difference of two images, of colours from 0 to 1. Leaving out a line makes 0.05 or more.
TOLERANCE = 0.03
ROOT = 5**0.5
VALLEYS = [(3 - ROOT) / 2, (3 + ROOT) / 2]
STEPS = np.linspace(-1.0, 1.0, 21)


class Ended(NamedTuple):
    """What `convergence` reads of a result."""

    status: Any
    nfev: Any
    nit: Any


def quartic(x):
    return x * (x - 1) * (x - 2) * (x - 3)


def bowl(x):
    return x[0] ** 2 + 4 * x[1] ** 2 + x[0] * x[1]


def path(fun, start, rate, steps):
    """The points of a descent, (steps + 1, ...)."""
    points = [jnp.asarray(start, float)]
    for _ in range(steps):
        points.append(points[-1] - rate * jax.grad(fun)(points[-1]))
    return np.array(points)


def line(x, a, b):
    return a + b * x


def lines():
    """The fits of three lines, as `curve_fit` returns them, which would have to be compiled; and their data."""
    x = np.linspace(0, 4, 15)
    y = np.stack([1 + k * x + 0.1 * np.sin(9 * x) for k in (1, 2, 3)])
    X = np.stack([np.ones(15), x], axis=1)
    inverse = np.linalg.inv(X.T @ X)
    popt = y @ X @ inverse
    variance = ((y - popt @ X.T) ** 2).sum(axis=1) / 13
    known = {"popt": jnp.asarray(popt), "pcov": jnp.asarray(variance[:, None, None] * inverse)}
    known |= {"degrees": jnp.full(3, 13.0), "model": line, "names": ("a", "b"), "is_absolute": False, "is_batch": True}
    return CurveFitResult(**known, result=None, problem=None, family=None), x, y  # type: ignore


def draw_fit(ax=None):
    fits, x, y = lines()
    return plots.fit(fits, x, y[0], sigma=0.1, index=0, names=("time", "signal"), units=("s", "mV"), ax=ax)


def batch():
    generator = np.random.default_rng(0)
    status = generator.choice([0, 0, 0, 0, 2, 3, 9], 500)
    return Ended(status=status, nfev=10 + generator.poisson(8 + 5 * (status == 2)), nit=np.full(500, 7))


def image_of(rows=18, columns=24):
    y, x = np.mgrid[:rows, :columns]
    return np.stack([40 + x + 8.0 * np.sin(y / 3), np.exp(-((x - 12) ** 2 + (y - 9) ** 2) / 40)], axis=-1)


def losses():
    epochs, seeds = np.arange(16), 1 + 0.2 * np.arange(3)[:, None]
    return {name: seeds * np.exp(-rate * epochs) + 0.02 for name, rate in (("sgd", 0.1), ("adam", 0.4))}


def finals():
    rates = np.geomspace(1e-3, 1, 7)
    table = np.stack([0.1 + (np.log10(rates) + 1) ** 2 * factor for factor in (0.5, 0.6)], axis=1)
    return {"sgd": (rates, np.where(rates[:, None] > 0.5, np.inf, table)), "L-BFGS": ([np.nan], [[0.2, 0.3]])}


PICTURES = {
    "curve": lambda ax=None: plots.curve(
        quartic, -0.2, 3.2, tangent=1.25, critical_points=True, area=(0.0, 2.0), title="peaks and valleys", ax=ax
    ),
    "curve_and_derivative": lambda ax=None: plots.curve(jnp.sin, -4.0, 4.0, derivative=True, name="t", ax=ax),
    "pole": lambda ax=None: plots.curve(
        lambda x: x + 1 / x, -4.0, 4.0, critical_points=Points([-1, 1], [-2, 2], ["maximum", "minimum"]), ax=ax
    ),
    "gradient_field": lambda ax=None: plots.gradient_field(bowl, (-2, -1), (2, 1), ax=ax),
    "descent": lambda ax=None: plots.descent(quartic, path(quartic, 1.25, 0.05, 20), minima=VALLEYS[:1], ax=ax),
    "diverging_descent": lambda ax=None: plots.descent(
        quartic, path(quartic, 3.4, 0.3, 4), interval=(-0.5, 3.5), minima=VALLEYS, ax=ax
    ),
    "descent_on_contours": lambda ax=None: plots.descent_on_contours(
        bowl, path(bowl, [2.0, 1.0], 0.1, 15), minima=[[0, 0]], ax=ax
    ),
    "basins": lambda ax=None: plots.basins(
        np.where(np.add.outer(STEPS, STEPS**2) > 0.3, 1, 0) - np.eye(21, dtype=int), (-1, -1), (1, 1),
        [[-0.6, -0.5], [0.5, 0.6]], ax=ax,
    ),
    "landscape": lambda ax=None: plots.landscape(STEPS, STEPS**2 + 0.1, ax=ax),
    "square_landscape": lambda ax=None: plots.landscape(STEPS, STEPS[:, None] ** 2 + 2 * STEPS**2 + 0.1, ax=ax),
    "convergence": lambda ax=None: plots.convergence(batch(), ax=ax),
    "fit": draw_fit,
    "parameter_map": lambda ax=None: plots.parameter_map(
        image_of()[..., 0], name="T2", unit="ms", failed=image_of()[..., 1] > 0.9, ax=ax
    ),
    "performance_profile": lambda ax=None: plots.performance_profile(
        {"ours": 1.5 ** np.arange(20.0), "theirs": np.where(np.arange(20) % 4 == 0, np.inf, 1.4 ** np.arange(20) * 3)},
        of="evaluations", ax=ax,
    ),
    "loss_curves": lambda ax=None: plots.loss_curves(losses(), ax=ax),
    "losses_by_rate": lambda ax=None: plots.losses_by_rate(finals(), ax=ax),
    "range_test": lambda ax=None: plots.range_test(
        np.geomspace(1e-3, 1, 30), (2 - STEPS.repeat(2)[:30] + 0.1 * np.cos(np.arange(30)))[None],
        2 - STEPS.repeat(2)[:30], 0.1, ax=ax,
    ),
}  # fmt: skip
ALONE = {"parameter_maps"}  # several Axes: tested below


def small(name):
    """Draws a picture of 200 x 150 pixels without text, as an array of colours (150, 200, 3)."""
    figure = Figure(figsize=(2.0, 1.5), dpi=100)
    PICTURES[name](figure.add_subplot())
    for ax in figure.axes:
        if legend := ax.get_legend():
            legend.remove()
    for text in figure.findobj(Text):
        text.set_visible(False)
    for ax in figure.axes:
        ax.tick_params(labelbottom=False, labelleft=False, labelright=False, which="both")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    file.seek(0)
    return image.imread(file)[..., :3]


def difference(drawn, stored):
    return float(np.sqrt(np.mean((drawn - stored) ** 2)))


def test_every_public_picture_is_tested():
    tested = {"curve" if name in ("curve_and_derivative", "pole") else name for name in PICTURES}
    tested = (tested | ALONE) - {"diverging_descent", "square_landscape"}
    assert tested == set(dir(plots))
    assert all("ax" in inspect.signature(getattr(plots, name)).parameters for name in dir(plots))


@pytest.mark.parametrize("name", PICTURES)
def test_it_looks_like_the_stored_image(name):
    stored = image.imread(BASELINES / f"{name}.png")[..., :3]
    assert difference(small(name), stored) < TOLERANCE


@pytest.mark.parametrize(
    "name", ["curve", "descent_on_contours", "basins", "convergence", "fit", "parameter_map", "losses_by_rate"]
)
def test_nothing_is_cut_off_and_axes_have_names(name):
    ax = PICTURES[name]()
    assert isinstance(ax, Axes)
    figure = figure_of(ax)
    figure.draw_without_rendering()
    inside, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(inside.x0, inside.y0, width - inside.x1, height - inside.y1) > -0.01
    assert ax.get_ylabel()
    assert any(each.get_xlabel() for each in figure.axes)


def test_the_tolerance_sees_a_line_that_is_missing():
    full = small("curve")
    figure = Figure(figsize=(2.0, 1.5), dpi=100)
    ax = plots.curve(quartic, -0.2, 3.2, critical_points=True, area=(0.0, 2.0), ax=figure.add_subplot())
    legend = ax.get_legend()
    assert legend
    legend.remove()
    for text in figure.findobj(Text):
        text.set_visible(False)
    ax.tick_params(labelbottom=False, labelleft=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    file.seek(0)
    assert difference(full, image.imread(file)[..., :3]) > 2 * TOLERANCE


@pytest.mark.parametrize("name", ["fit", "basins"])
def test_it_returns_the_axes_that_it_was_given(name):
    figure = Figure(layout="constrained")
    ax = figure.subplots(1, 2)[1]
    assert PICTURES[name](ax) is ax
    figure.draw_without_rendering()


def test_maps_of_all_parameters_have_axes_each():
    values = image_of()
    axes = plots.parameter_maps(values, names=["T2", "amplitude"], units=["ms", None])
    assert [ax.get_title() for ax in axes] == ["T2", "amplitude"]
    assert [ax.child_axes[0].get_ylabel() for ax in axes] == ["T2 [ms]", "amplitude"]
    own = Figure().subplots(2)
    assert list(plots.parameter_maps(values, ax=own)) == list(own)
    values[2, 3, 0] = np.nan
    ax = plots.parameter_map(values[..., 0], failed=values[..., 1] > 0.99)
    assert ax.get_xlabel() == "column (grey: 2 of 432 without a value)"


def test_shares_of_statuses_are_never_rounded_to_all_or_none():
    status = np.zeros(30_000, int)
    status[7] = 2
    ax = plots.convergence(Ended(status=status, nfev=status + 5, nit=status))
    words = ax.get_legend_handles_labels()[1]
    assert words == ["SUCCESS > 99.9 %", "MAX_ITERATIONS < 0.01 %", "median 5"]


def test_one_fit_of_many_is_drawn_by_its_index():
    fits, x, y = lines()
    ax = plots.fit(fits, x, y[2], index=2, residuals=False)
    assert ax.get_title().partition("b = ")[2].startswith("2.994 ± ")
    with pytest.raises(ValueError, match=r"fit holds 3 fits: say by index=, 0 to 2, which one to draw; it is None"):
        plots.fit(fits, x, y[2])
    with pytest.raises(ValueError, match=r"Of N data sets give one, ydata\[i\], and index=i"):
        plots.fit(fits, x, y, index=2)


REFUSED = {
    "lower must be less than upper; they are 3 and 1": lambda: plots.curve(quartic, 3, 1),
    "lower and upper must hold two numbers each": lambda: plots.gradient_field(bowl, -1, 1),  # type: ignore
    "lower and upper must be finite numbers with lower < upper; they are 1 and -1": lambda: plots.gradient_field(
        bowl, (1, -1), (-1, 1)
    ),
    r"shape \(steps \+ 1, 2\); it has \(4,\)": lambda: plots.descent_on_contours(bowl, np.zeros(4)),
    "count must be": lambda: plots.convergence(batch(), count="time"),
    "result holds no problems": lambda: plots.convergence(Ended(status=[], nfev=[], nit=[])),
    r"become an image by popt\[:, k\].reshape": lambda: plots.parameter_map(np.zeros(9)),
    r"failed must have the shape of values, \(2, 3\); it has \(3,\)": lambda: plots.parameter_map(
        np.zeros((2, 3)), failed=np.zeros(3)
    ),
    "2 parameters, but there are 1 names": lambda: plots.parameter_maps(np.zeros((2, 3, 2)), names=["a"]),
    "A failure is infinite, not zero": lambda: plots.performance_profile({"a": [0.0, 1.0]}),
    "one array of shape": lambda: plots.performance_profile({"a": [1.0, 2.0], "b": [1.0]}),
    "losses must hold an array": lambda: plots.loss_curves({}),
    r"sgd must have rates \(R,\) and losses": lambda: plots.losses_by_rate({"sgd": ([0.1, 1.0], [3.0])}),
    r"\(points,\) or \(points, points\)": lambda: plots.landscape(STEPS, np.zeros(4)),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_drawn_is_refused(words):
    with pytest.raises(ValueError, match=words):
        REFUSED[words]()


def test_axes_that_are_none_are_refused():
    with pytest.raises(TypeError, match=r"ax must be one matplotlib Axes, such as plt.gca\(\); it is of type ndarray"):
        plots.curve(quartic, 0, 3, ax=Figure().subplots(2))
    with pytest.raises(TypeError, match="fit must be what curve_fit returns, a CurveFitResult; it is of type tuple"):
        plots.fit((np.ones(2), np.eye(2)), STEPS, STEPS)  # type: ignore


@pytest.mark.parametrize("name", ["curve", "gradient_field", "descent", "convergence", "loss_curves", "fit"])
def test_without_matplotlib_it_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'Pictures need matplotlib: pip install "jaxcalc\[plots\]"'):
        PICTURES[name]()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:] or PICTURES:
        image.imsave(BASELINES / f"{name}.png", small(name))
