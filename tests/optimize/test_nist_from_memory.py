"""More of NIST's certified regressions, whose data are short enough to stand here; see test_nist.py.

A test of the data themselves compares the sum of squares at the certified parameters with NIST's.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcalc as jc


class Case(NamedTuple):
    model: Any
    x: Any
    y: Any
    starts: Any
    certified: Any
    errors: Any
    square: float


MISRA_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
MISRA_Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
LANCZOS_X = np.arange(24) * 0.05
LANCZOS = 0.0951 * np.exp(-LANCZOS_X) + 0.8607 * np.exp(-3 * LANCZOS_X) + 1.5576 * np.exp(-5 * LANCZOS_X)
LANCZOS_STARTS = [[1.2, 0.3, 5.6, 5.5, 6.5, 7.6], [0.5, 0.7, 3.6, 4.2, 4.0, 6.3]]

CASES = {
    "Misra1b": Case(
        lambda x, a, b: a * (1 - (1 + b * x / 2) ** -2), MISRA_X, MISRA_Y, [[500, 1e-4], [300, 2e-4]],
        [3.3799746163e02, 3.9039091287e-04], [3.1643950207e00, 4.2547321834e-06], 7.5464681533e-02,
    ),
    "Misra1d": Case(
        lambda x, a, b: a * b * x / (1 + b * x), MISRA_X, MISRA_Y, [[500, 1e-4], [450, 3e-4]],
        [4.3736970754e02, 3.0227324449e-04], [3.6489174345e00, 2.9334354479e-06], 5.6419295283e-02,
    ),
    "BoxBOD": Case(
        lambda x, a, b: a * (1 - jnp.exp(-b * x)), [1, 2, 3, 5, 7, 10], [109, 149, 149, 191, 213, 224],
        [[1, 1], [100, 0.75]], [2.1380940889e02, 5.4723748542e-01], [1.2354515176e01, 1.0455993237e-01],
        1.1680088766e03,
    ),
    "MGH10": Case(
        lambda x, a, b, c: a * jnp.exp(b / (x + c)), np.arange(50, 126, 5),
        [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872],
        [[2, 400000, 25000], [0.02, 4000, 250]], [5.6096364710e-03, 6.1813463463e03, 3.4522363462e02],
        [1.5687892471e-04, 2.3309021107e01, 7.8486103508e-01], 8.7945855171e01,
    ),
    "Eckerle4": Case(
        lambda x, a, b, c: a / b * jnp.exp(-0.5 * ((x - c) / b) ** 2),
        [*range(400, 436, 5), *np.arange(436.5, 464, 1.5), *range(465, 501, 5)],
        [0.0001575, 0.0001699, 0.0002350, 0.0003102, 0.0004917, 0.0008710, 0.0017418, 0.0046400, 0.0065895, 0.0097302,
         0.0149002, 0.0237310, 0.0401683, 0.0712559, 0.1264458, 0.2073413, 0.2902366, 0.3445623, 0.3698049, 0.3668534,
         0.3106727, 0.2078154, 0.1164354, 0.0616764, 0.0337200, 0.0194023, 0.0117831, 0.0074357, 0.0022732, 0.0008800,
         0.0004579, 0.0002345, 0.0001586, 0.0001143, 0.0000710],
        [[1, 10, 500], [1.5, 5, 450]], [1.5543827178e00, 4.0888321754e00, 4.5154121844e02],
        [1.5408051163e-02, 4.6803020753e-02, 4.6800518816e-02], 1.4635887487e-03,
    ),
    "Rat43": Case(
        lambda x, a, b, c, d: a / (1 + jnp.exp(b - c * x)) ** (1 / d), np.arange(1, 16),
        [16.08, 33.83, 65.80, 97.20, 191.55, 326.20, 386.87, 520.53, 590.03, 651.92, 724.93, 699.56, 689.96, 637.56,
         717.41],
        [[100, 10, 1, 1], [700, 5, 0.75, 1.3]],
        [6.9964151270e02, 5.2771253025e00, 7.5962938329e-01, 1.2792483859e00],
        [1.6302297817e01, 2.0828735829e00, 1.9566123451e-01, 6.8761936385e-01], 8.7864049080e03,
    ),
    "Roszman1": Case(
        lambda x, a, b, c, d: a - b * x - jnp.arctan(c / (x - d)) / jnp.pi,
        [-4868.68, -4868.09, -4867.41, -3375.19, -3373.14, -3372.03, -2473.74, -2472.35, -2469.45, -1894.65, -1893.40,
         -1497.24, -1495.85, -1493.41, -1208.68, -1206.18, -1206.04, -997.92, -996.61, -996.31, -834.94, -834.66,
         -710.03, -530.16, -464.17],
        [0.252429, 0.252141, 0.251809, 0.297989, 0.296257, 0.295319, 0.339603, 0.337731, 0.333820, 0.389510, 0.386998,
         0.438864, 0.434887, 0.427893, 0.471568, 0.461699, 0.461144, 0.513532, 0.506641, 0.505062, 0.535648, 0.533726,
         0.568064, 0.612886, 0.624169],
        [[0.1, -1e-5, 1000, -100], [0.2, -5e-6, 1200, -150]],
        [2.0196866396e-01, -6.1953516256e-06, 1.2044556708e03, -1.8134269537e02],
        [1.9172666023e-02, 3.2058931691e-06, 7.4050983057e01, 4.9573513849e01], 4.9484847331e-04,
    ),
    "Lanczos2": Case(
        lambda x, a, b, c, d, e, f: a * jnp.exp(-b * x) + c * jnp.exp(-d * x) + e * jnp.exp(-f * x), LANCZOS_X,
        [float(f"{y:.5e}") for y in LANCZOS], LANCZOS_STARTS,
        [9.6251029939e-02, 1.0057332849e00, 8.6424689056e-01, 3.0078283915e00, 1.5529016879e00, 5.0028798100e00],
        [6.6770575477e-04, 3.3989646176e-03, 1.7185846685e-03, 4.1707005856e-03, 2.3744381417e-03, 1.3958787284e-03],
        2.2299428125e-11,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_certified_digits_from_both_starts(name):
    case = CASES[name]
    x, y, certified = (np.asarray(values, float) for values in (case.x, case.y, case.certified))
    square = np.sum((np.asarray(case.model(x, *certified)) - y) ** 2)
    np.testing.assert_allclose(square, case.square, rtol=1e-6)
    for start in case.starts:
        fit = jc.curve_fit(case.model, x, y, np.asarray(start, float))
        assert fit.success
        np.testing.assert_allclose(fit.popt, certified, rtol=1e-6)
        np.testing.assert_allclose(fit.stderr, case.errors, rtol=1e-4)
