"""The calculator's commands: their numbers, their JSON, their Python lines, and what a wrong use says."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jaxcalc as jc
from jaxcalc.command import cli
from jaxcalc.command.minima import constraint

typer_testing = pytest.importorskip("typer.testing")


def command(*arguments, code=0):
    result = typer_testing.CliRunner().invoke(cli.application(), list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


def answer(*arguments, code=0):
    return json.loads(command(*arguments, "--json", code=code).stdout)


def pasted(found):
    """Returns the value of the last line of "as Python"."""
    *before, last = found["python"].replace("; ", "\n").split("\n")
    names = {}
    exec("\n".join(before), names)
    return eval(last, names)


def test_derivative():
    found = answer("derivative", "x**2*sin(x)", "--at", "pi/2", "--order", 2)
    x = np.pi / 2
    assert np.isclose(found["derivative"], 2 * np.sin(x) + 4 * x * np.cos(x) - x**2 * np.sin(x), rtol=1e-14)
    assert np.isclose(pasted(found), found["derivative"], rtol=1e-14)
    assert "3.151643664" in command("derivative", "x**2*sin(x)", "--at", "x=1.5").stdout
    assert answer("derivative", "-t**3", "--at", "-2")["derivative"] == -12.0
    assert pasted(answer("derivative", "7", "--at", "1")) == 0.0
    (note,) = answer("derivative", "abs(x) + x", "--at", 0)["notes"]
    assert "0 on the left and 2 on the right" in note
    for smooth, at in (("x**3", 0), ("sin(1000*x)", 0), ("cos(x)", 0), ("exp(50*x)", 1), ("x*abs(x)", 0)):
        assert answer("derivative", smooth, "--at", at)["notes"] == []
    assert answer("derivative", "log(x)", "--at", "0", code=1)["derivative"] == "inf"


def test_gradient():
    found = answer("gradient", "x**2*y + x*y*z + z**2", "--at", "z=3,x=1,y=2")
    assert found["gradient"] == {"x": 10.0, "y": 4.0, "z": 8.0}
    assert found["value"] == 17.0
    assert pasted(found).tolist() == [10.0, 4.0, 8.0]


def test_integrate():
    found = answer("integrate", "exp(-x**2)", "--from", "-inf", "--to", "inf")
    assert abs(found["value"] - np.sqrt(np.pi)) <= max(found["error"], 1e-15)
    assert found["success"]
    assert np.isclose(pasted(found).value, found["value"], rtol=1e-14)
    found = answer("integrate", "1/x", "--from", "0", "--to", "1", code=1)
    assert (found["success"], found["error"]) == (False, "inf")


def test_taylor():
    found = answer("taylor", "log(x)", "--at", "1", "--order", 3)
    assert np.allclose(found["coefficients"], [0, 1, -1 / 2, 1 / 3], atol=1e-15)
    assert found["polynomial"] == "(x - 1) - 0.5 (x - 1)^2 + 0.3333333333 (x - 1)^3"
    assert np.allclose(pasted(found), found["coefficients"], atol=1e-15)


def test_critical_points(tmp_path):
    picture = tmp_path / "out.png"
    found = answer("critical-points", "x*(x-1)*(x-2)*(x-3)", "--from", -1, "--to", 4, "--plot", picture)
    assert np.allclose(found["x"], [-1, 1.5 - np.sqrt(1.25), 1.5, 1.5 + np.sqrt(1.25), 4])
    assert found["kind"] == ["endpoint maximum", "minimum", "maximum", "minimum", "endpoint maximum"]
    assert found["certain"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = command("critical-points", "abs(t - 1)", "--from", 0, "--to", 3).stdout
    assert "Not proved" in text
    assert "- " in text.partition("Not proved")[2]


def test_minimize_from_one_start():
    found = answer("minimize", "(1-x)**2 + 100*(y-x**2)**2", "--from", "x=-1.2,y=1")
    assert found["success"]
    assert np.allclose(list(found["minima"][0]["x"].values()), 1, atol=1e-4)
    assert found["minima"][0]["kind"] == "minimum"
    assert np.allclose(pasted(found).x, 1, atol=1e-4)
    assert answer("minimize", "x**4 - x**2")["minima"][0]["kind"] == "minimum"
    assert answer("minimize", "x**4 - x**2", "--from", "x=0")["minima"][0]["kind"] == "maximum"
    assert answer("minimize", "a + b", "--from", "a=0,b=0", code=1)["success"] is False


def test_minimize_from_many_starts():
    found = answer("minimize", "(x**2 - 1)**2 + 0.2*x + y**2", "--starts", 64, "--box", "x=-2:2,y=-1:3")
    assert np.allclose([one["x"]["x"] for one in found["minima"]], [-1.024, 0.974], atol=1e-3)
    assert sum(one["count"] for one in found["minima"]) == 64


@pytest.mark.slow
def test_minimize_under_constraints():
    found = answer("minimize", "x**2 + y**2", "--subject-to", "x + y = 1", "--subject-to", "x >= 0.75")
    assert np.allclose(list(found["minima"][0]["x"].values()), [0.75, 0.25], atol=1e-6)
    assert np.allclose(found["multipliers"], [0.5, 1.0], atol=1e-4)
    assert np.allclose(pasted(found).x, [0.75, 0.25], atol=1e-6)
    found = answer("minimize", "x*y", "--starts", 16, "--box", "-2,2", "--subject-to", "x**2 + y**2 <= 1")
    best = found["minima"][0]
    assert np.isclose(best["fun"], -0.5, atol=1e-5)
    assert np.isclose(abs(best["x"]["x"]), np.sqrt(0.5), atol=1e-3)


@pytest.mark.parametrize(
    ("text", "lower", "upper", "at_2"),
    [("x = 1", 0, 0, 1), ("x**2 <= 3", -np.inf, 0, 1), ("3 >= x - 1", 0, np.inf, 2), ("x == -x", 0, 0, 4)],
)
def test_constraints(text, lower, upper, at_2):
    found = constraint(text)
    assert (found.lower, found.upper) == (lower, upper)
    assert float(found.difference.function()(2.0)) == at_2


def table(path):
    rng, truth = np.random.default_rng(0), {"b": (3.0, 1.0), "a": (2.0, -0.5), "short": (1.0, 0.0)}
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "subject", "signal"])
        for name, points in (("b", 40), ("a", 31), ("short", 3)):
            height, center = truth[name]
            for k, t in enumerate(np.linspace(-5, 5, points)):
                y = height * np.exp(-0.5 * ((t - center) / 0.8) ** 2) + 1 + 0.02 * rng.normal()
                writer.writerow([t, name, "" if k == 2 else y])
    return truth


def test_fit_of_groups_of_different_lengths(tmp_path):
    data, output = tmp_path / "data.csv", tmp_path / "fits.csv"
    truth = table(data)
    options = ("--model", "gaussian_1d", "--x", "time", "--y", "signal", "--by", "subject", "--output", output)
    found = answer("fit", data, *options)
    assert [(one["subject"], one["points"], one["status"]) for one in found["fits"]] == [
        ("b", 39, "SUCCESS"), ("a", 30, "SUCCESS"), ("short", 2, "INVALID"),
    ]  # fmt: skip
    for one in found["fits"][:2]:
        height, center = truth[one["subject"]]
        assert abs(one["amplitude"] - height) < 5 * one["amplitude_stderr"]
        assert abs(one["center"] - center) < 5 * one["center_stderr"]
    with open(output) as file:
        row = next(row for row in csv.DictReader(file) if row["subject"] == "a")
    with open(data) as file:
        points = [(float(t), float(y)) for t, subject, y in csv.reader(file) if subject == "a" and y]
    names = ("amplitude", "center", "width", "offset")
    popt, pcov = scipy.optimize.curve_fit(jc.models.gaussian_1d, *np.transpose(points), p0=(2, 0, 1, 1))
    assert np.allclose([float(row[name]) for name in names], popt, rtol=1e-5)
    assert np.allclose([float(row[f"{name}_stderr"]) for name in names], np.sqrt(np.diag(pcov)), rtol=1e-4)
    assert np.allclose(pasted(found).popt[1], popt, rtol=1e-5)
    assert "±" in command("fit", data, *options).stdout


def test_show(tmp_path):
    found = answer("show", "x**2*exp(-x)", "--from", 0, "--to", 4)
    assert np.allclose(found["critical_points"]["x"], [0, 2, 4])
    assert np.isclose(found["integral"]["value"], 2 - 26 * np.exp(-4.0))
    assert np.allclose(found["taylor"]["coefficients"], [0, 0, 1, -1, 0.5])
    text = command("show", "log(x)").stdout
    for card in ("f(x) = log(x)", "critical points", "the integral of", "derivatives at", "roved", "As Python"):
        assert card in text
    assert text.splitlines()[0] == "f(x) = log(x)"
    page = tmp_path / "page.html"
    command("show", "x**3 - x", "--html", page, "--plot", tmp_path / "curve.svg")
    written = page.read_text()
    assert written.count("<table>") == 4
    assert written.count("<svg") == 1
    assert "jc.critical_points(lambda x: x ** 3 - x, -5.0, 5.0)" in written
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    found = answer("show", "x**2 - y**2")
    assert (found["kind"], found["hessian"]) == ("saddle", [[2.0, 0.0], [0.0, -2.0]])


def test_doctor():
    found = answer("doctor")
    assert found["versions"]["jax"] == jax.__version__
    assert len(found["devices"]) == len(jax.devices())
    assert "extras" in command("doctor").stdout


def test_the_command_computes_in_double_precision_and_leaves_the_caller_alone():
    with jax.enable_x64(False):
        found = answer("derivative", "exp(x)", "--at", 1)
        assert jnp.zeros(1).dtype == jnp.float32
    assert abs(found["derivative"] - np.exp(1.0)) < 1e-14


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("derivative", "x^2", "--at", 1), "error: ^ is not allowed: a power is written **.\n  x^2\n   ^\n"),
        (("derivative", "__import__('os')", "--at", 1), "no function __import__"),
        (("derivative", "x*y", "--at", 1), "2 variables, x, y"),
        (("derivative", "x", "--at", "y=1"), "names no variable"),
        (("derivative", "x", "--at", "1+z"), "--at: a number is wanted here, without the variable z.\n  1+z\n    ^"),
        (("derivative", "x", "--at", 1, "--order", 99), "--order is 0 to 8"),
        (("derivative", "x"), "--at"),
        (("gradient", "x*y", "--at", "x=1"), "no value of y"),
        (("gradient", "x*y", "--at", "x=1,x=2"), "given twice"),
        (("gradient", "x*y", "--at", "1,2"), "name=number"),
        (("integrate", "x", "--from", "0", "--to", "b"), "--to:"),
        (("critical-points", "x", "--from", 1, "--to", 0), "lower"),
        (("show", "sqrt(x - 100)"), "choose another --from and --to"),
        (("minimize", "x", "--starts", 5), "--box"),
        (("minimize", "x", "--box", "2,1", "--starts", 5), "below"),
        (("minimize", "x + y", "--box", "x=0,6", "--starts", 5), "write -2,2 for all variables, or x=-2:2,y=-2:2"),
        (("minimize", "x", "--box", "-1,1", "--starts", 5, "--from", "x=0"), "one of the two"),
        (("minimize", "x", "--subject-to", "x + 1"), "one of =, <= and >="),
        (("minimize", "x", "--subject-to", "x = 2 + sin"), "--subject-to: sin is a function"),
        (("fit", "nowhere.csv", "--model", "gaussian_1d", "--x", "a", "--y", "b"), "nowhere.csv"),
        (("fit", "nowhere.csv", "--model", "gauss", "--x", "a", "--y", "b"), "no such model"),
    ],
)
def test_a_wrong_use_gives_2_and_says_why(arguments, words):
    assert words in command(*arguments, code=2).output


def test_a_wrong_table_says_where(tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("t,y\n0,1\n1,two\n")
    options = ("--model", "exponential_decay", "--x", "t", "--y")
    assert "line 3: y is 'two'" in command("fit", data, *options, "y", code=2).output
    assert "no column 'z'; it has 't', 'y'" in command("fit", data, *options, "z", code=2).output
