"""A small `jaxcalc compare`: what it prints, the files that it writes, and its messages for wrong arguments."""

import csv
import re

import numpy as np
import pytest

import jaxcalc as jc
from jaxcalc.command import cli, digit_comparison
from jaxcalc.network.data import Split, digits
from tests.network.test_data import write_mnist

typer_testing = pytest.importorskip("typer.testing")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
ONE = ("--optimizers", "sgd by hand")
SMALL = ("--optimizers", "sgd by hand, L-BFGS", "--rates", "2", "--seeds", "2", "--epochs", "2")


def command(*arguments):
    return typer_testing.CliRunner().invoke(cli.application(), ["compare", *arguments])


def test_it_writes_the_table_the_pictures_and_one_page(tmp_path):
    folder = tmp_path / "new"
    result = command("--output", str(folder), *SMALL)
    assert result.exit_code == 0, result.output
    comparison = jc.Comparison.load(folder / "comparison.npz")
    assert str(comparison) in result.output
    assert list(comparison.runs) == ["sgd by hand", "L-BFGS"]
    with open(folder / "runs.csv", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 2 * 2 + 2
    assert float(records[0]["test_accuracy"]) == comparison.runs["sgd by hand"].tests["test accuracy"][0, 0]
    page = (folder / "comparison.html").read_text()
    for row in comparison.table()[1]:
        assert all(f"<td>{cell}</td>" in page for cell in row)
    assert page.count("<svg") == 3
    # The page needs no other file: the only addresses in it are the names of formats in the SVG figures.
    assert {re.sub(r"^https?://", "", address).split("/")[0] for address in re.findall(r'https?://[^"\s<]+', page)} <= {
        "www.w3.org",
        "matplotlib.org",
        "purl.org",
        "creativecommons.org",
    }
    assert not re.search(r'(src|href)="(?!#)', page.replace("xlink:href", "href").replace('href="http://www.w3', ""))
    from matplotlib.image import imread

    for name in ("comparison", "range_test", "landscape"):
        assert imread(folder / f"{name}.png")[..., :3].std() > 0.05


@pytest.mark.slow
def test_mnist_files_take_the_place_of_the_digits(tmp_path):
    write_mnist(tmp_path, train=10_040, test=20, packed=True)
    result = command("--mnist", str(tmp_path), "--output", str(tmp_path / "out"), "--batch-size", "8", *SMALL, *ONE)
    assert result.exit_code == 0, result.output
    assert "reads MNIST: 40 images to learn from, 10,000 to choose by, 20 for the test" in " ".join(
        result.output.split()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--optimizers", "sdg"), "there is no optimizer 'sdg'; there are 'sgd by hand', \"Optax's sgd\""),
        (("--batch-size", "2000"), "batch_size is 2000, but there are 1197 samples"),
    ],
)
def test_what_cannot_be_is_said(arguments, message, tmp_path):
    result = command("--output", str(tmp_path / "none"), *arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_the_tuned_best_reads_97_of_100_digits():
    found = digit_comparison.compare_on_images(digits(), progress=False)
    best = found.summary()[0]
    assert best.tests["test accuracy"] >= 0.97
    ours, theirs = found.runs["sgd by hand"], found.runs["Optax's sgd"]
    np.testing.assert_array_equal(ours.train, theirs.train)
    assert set(found.runs) == set(digit_comparison.OPTIMIZERS)
    assert {runs.final.shape for name, runs in found.runs.items() if name != "L-BFGS"} == {(8, 8)}


def test_the_classifier_is_made_once():
    split: Split = digits()
    sizes = (split.train[0].shape[1], 5, 10)
    assert digit_comparison.classifier(sizes) is digit_comparison.classifier(sizes)
