"""The methods for constraints: a file each, and one line here, which registers its factory."""

from jaxcalc.methods.constrained.interior_point import interior_point as interior_point
from jaxcalc.methods.registry import registry_of

REGISTRY = registry_of(globals())
