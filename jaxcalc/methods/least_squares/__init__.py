"""The methods of least squares: a file each, and one line here, which registers its factory."""

from jaxcalc.methods.least_squares.levenberg_marquardt import levenberg_marquardt as levenberg_marquardt
from jaxcalc.methods.registry import registry_of

REGISTRY = registry_of(globals())
