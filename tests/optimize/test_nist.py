"""Nonlinear regressions with certified answers: Statistical Reference Datasets of NIST, 14 sets, two starts each.

The files are NIST's own (https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml, in the public domain): the model, two
starts, parameters and standard errors to 11 digits, the residual sum of squares, and the data.
"""

import functools
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc

FOLDER = Path(__file__).parent.parent / "data" / "nist_strd"


def enso(b, x):
    waves = [b[k + 1] * jnp.cos(2 * jnp.pi * x / p) + b[k + 2] * jnp.sin(2 * jnp.pi * x / p)
             for k, p in ((0, 12.0), (3, b[3]), (6, b[6]))]  # fmt: skip
    return b[0] + sum(waves)


MODELS = {
    "Chwirut1": lambda b, x: jnp.exp(-b[0] * x) / (b[1] + b[2] * x),
    "Chwirut2": lambda b, x: jnp.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "ENSO": enso,
    "Gauss1": lambda b, x: (
        b[0] * jnp.exp(-b[1] * x)
        + b[2] * jnp.exp(-(((x - b[3]) / b[4]) ** 2))
        + b[5] * jnp.exp(-(((x - b[6]) / b[7]) ** 2))
    ),
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos3": lambda b, x: b[0] * jnp.exp(-b[1] * x) + b[2] * jnp.exp(-b[3] * x) + b[4] * jnp.exp(-b[5] * x),
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH17": lambda b, x: b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4]),
    "Misra1a": lambda b, x: b[0] * (1 - jnp.exp(-b[1] * x)),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Nelson": lambda b, x: b[0] - b[1] * x[0] * jnp.exp(-b[2] * x[1]),
    "Rat42": lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)),
    "Thurber": lambda b, x: (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3),
}
# Terms of a sum that may change places, each a list of parameters.
TERMS = {"ENSO": [(3, 4, 5), (6, 7, 8)], "Gauss1": [(2, 3, 4), (5, 6, 7)], "Lanczos3": [(0, 1), (2, 3), (4, 5)],
    "MGH17": [(1, 3), (2, 4)]}  # fmt: skip


class Dataset(NamedTuple):
    starts: np.ndarray  # (2, n)
    certified: np.ndarray  # (n,)
    errors: np.ndarray  # (n,)
    x: np.ndarray  # (m,), or (k, m) of k predictors
    y: np.ndarray  # (m,)


def dataset(name):
    text = (FOLDER / f"{name}.dat").read_text()
    rows = re.findall(r"^ *b\d+ *= *(\S+) +(\S+) +(\S+) +(\S+)", text, re.MULTILINE)
    table = np.array(rows, float).T
    data = np.array([line.split() for line in re.split(r"^Data: .*y.*\n", text, flags=re.MULTILINE)[-1].splitlines()
                     if line.strip()], float).T  # fmt: skip
    y, x = data[0], data[1] if len(data) == 2 else data[1:]
    return Dataset(table[:2], table[2], table[3], x, np.log(y) if name == "Nelson" else y)


@functools.cache
def residual(name):
    return lambda b, x, y: MODELS[name](b, x) - y


def fitted(name, starts, dtype=float, **options):
    data = dataset(name)
    shared = (jnp.asarray(data.x, dtype), jnp.asarray(data.y, dtype))
    return jc.least_squares_many(
        residual(name), jnp.asarray(starts, dtype), shared=shared, residuals=True, lanes=len(starts), **options
    )


def digits(name, found, certified, other=None, other_certified=None):
    """The digits that agree in the worst parameter, with terms of a sum in their best order; those of `other` too."""
    orders = [np.arange(len(certified))]
    for permuted in itertools.permutations(TERMS.get(name, ())):
        order = np.arange(len(certified))
        for term, place in zip(permuted, TERMS.get(name, ()), strict=True):
            order[list(place)] = term
        orders.append(order)

    def agreeing(a, b, order):
        # The width of a Gaussian may have either sign.
        error = np.abs(np.abs(a[list(order)]) - np.abs(b)) / np.abs(b)
        return np.min(-np.log10(np.maximum(error, 1e-16)))

    best = max(orders, key=lambda order: agreeing(found, certified, order))
    first = agreeing(found, certified, best)
    return first if other is None else (first, agreeing(other, other_certified, best))


def standard_errors(result, row):
    J = np.asarray(result.jac[row], float)
    R = np.linalg.qr(J / np.linalg.norm(J, axis=0), mode="r")
    variance = 2 * float(result.cost[row]) / (len(J) - J.shape[1])
    return np.sqrt(variance * np.sum(np.linalg.inv(R) ** 2, axis=1)) / np.linalg.norm(J, axis=0)


def agreement(name, result, row):
    """The digits of the parameters and of their standard errors."""
    data = dataset(name)
    return digits(name, np.asarray(result.x[row], float), data.certified, standard_errors(result, row), data.errors)


# A program for each model takes seconds to compile: a hard and an easy one run always.
QUICK = ("MGH09", "Misra1a")


@pytest.mark.filterwarnings("ignore:10 function objects")
@pytest.mark.parametrize("name", [pytest.param(m, marks=[] if m in QUICK else [pytest.mark.slow]) for m in MODELS])
def test_certified_digits_from_both_starts(name):
    result = fitted(name, dataset(name).starts)
    assert result.success.all()
    for row in range(2):
        of_parameters, of_errors = agreement(name, result, row)
        assert of_parameters >= 6
        assert of_errors >= 4
