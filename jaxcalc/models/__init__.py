"""Curves that are fitted again and again, each with the names of its parameters and a start for fits.

`curve_fit(models.gaussian_1d, x, y)` needs no p0: it takes `models.gaussian_1d.guess(x, y)`, (n,), or (N, n) for y of
shape (N, m). A guess is the best curve of a grid, works under `jit` and `vmap`, and reaches the minimum that a fit from
the truth reaches on 99 % of noisy draws or more (tests/models).

>>> from jaxcalc import models
>>> models.michaelis_menten.names
('v_max', 'k_m')
"""

from jaxcalc.core.public import show_names
from jaxcalc.models.decays import biexponential as biexponential
from jaxcalc.models.decays import damped_cosine as damped_cosine
from jaxcalc.models.decays import exponential_decay as exponential_decay
from jaxcalc.models.decays import power_law as power_law
from jaxcalc.models.peaks import gaussian_1d as gaussian_1d
from jaxcalc.models.peaks import gaussian_2d as gaussian_2d
from jaxcalc.models.peaks import lorentzian as lorentzian
from jaxcalc.models.peaks import voigt as voigt
from jaxcalc.models.saturation import hill as hill
from jaxcalc.models.saturation import hill_5 as hill_5
from jaxcalc.models.saturation import logistic as logistic
from jaxcalc.models.saturation import logistic_5 as logistic_5
from jaxcalc.models.saturation import michaelis_menten as michaelis_menten

show_names(__name__)
