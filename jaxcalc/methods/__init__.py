"""How one step is taken: a folder of methods for each family of problems, and the parts that they are made of."""

from jaxcalc.core.public import show_names
from jaxcalc.methods.constrained import interior_point as interior_point
from jaxcalc.methods.least_squares import levenberg_marquardt as levenberg_marquardt
from jaxcalc.methods.scalar import *  # noqa: F403

show_names(__name__)
