"""Test problems with known answers, for tests, benchmarks and examples.

`PROBLEMS` are functions whose local minima are known, with a start each; `GLOBAL_PROBLEMS` are multimodal functions in
boxes, whose global minima are known; `CONSTRAINED_PROBLEMS` have constraints, and lowest values that are known.

>>> from jaxcalc import problems
>>> [problem.name for problem in problems.tagged("multimodal")]
['quartic', 'himmelblau']
"""

from jaxcalc.core.public import show_names
from jaxcalc.problems.constrained import CONSTRAINED_PROBLEMS as CONSTRAINED_PROBLEMS
from jaxcalc.problems.constrained import ConstrainedProblem as ConstrainedProblem
from jaxcalc.problems.local import PROBLEMS as PROBLEMS
from jaxcalc.problems.local import KnownProblem as KnownProblem
from jaxcalc.problems.local import beale as beale
from jaxcalc.problems.local import booth as booth
from jaxcalc.problems.local import ellipsoid as ellipsoid
from jaxcalc.problems.local import helical_valley as helical_valley
from jaxcalc.problems.local import himmelblau as himmelblau
from jaxcalc.problems.local import log_barrier as log_barrier
from jaxcalc.problems.local import powell_singular as powell_singular
from jaxcalc.problems.local import quartic as quartic
from jaxcalc.problems.local import rosenbrock as rosenbrock
from jaxcalc.problems.local import tagged as tagged
from jaxcalc.problems.local import wood as wood
from jaxcalc.problems.multimodal import GLOBAL_PROBLEMS as GLOBAL_PROBLEMS
from jaxcalc.problems.multimodal import GlobalProblem as GlobalProblem
from jaxcalc.problems.multimodal import ackley as ackley
from jaxcalc.problems.multimodal import branin as branin
from jaxcalc.problems.multimodal import easom as easom
from jaxcalc.problems.multimodal import eggholder as eggholder
from jaxcalc.problems.multimodal import goldstein_price as goldstein_price
from jaxcalc.problems.multimodal import griewank as griewank
from jaxcalc.problems.multimodal import hartmann as hartmann
from jaxcalc.problems.multimodal import langermann as langermann
from jaxcalc.problems.multimodal import levy as levy
from jaxcalc.problems.multimodal import michalewicz as michalewicz
from jaxcalc.problems.multimodal import rastrigin as rastrigin
from jaxcalc.problems.multimodal import schaffer as schaffer
from jaxcalc.problems.multimodal import schwefel as schwefel
from jaxcalc.problems.multimodal import shekel as shekel
from jaxcalc.problems.multimodal import shubert as shubert
from jaxcalc.problems.multimodal import six_hump_camel as six_hump_camel
from jaxcalc.problems.multimodal import styblinski_tang as styblinski_tang
from jaxcalc.problems.multimodal import trefethen as trefethen

show_names(__name__)
