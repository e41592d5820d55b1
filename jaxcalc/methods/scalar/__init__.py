"""The methods that minimise a function of one value: a file each, and one line here, which registers its factory.

`REGISTRY` maps the name of every factory that can be called without arguments to the factory: only then can the name
stand for the method.
"""

from jaxcalc.methods.registry import registry_of as _registry_of
from jaxcalc.methods.scalar.bfgs import bfgs as bfgs
from jaxcalc.methods.scalar.conjugate_gradient import conjugate_gradient as conjugate_gradient
from jaxcalc.methods.scalar.from_optax import from_optax as from_optax
from jaxcalc.methods.scalar.gradient_descent import gradient_descent as gradient_descent
from jaxcalc.methods.scalar.lbfgs import lbfgs as lbfgs
from jaxcalc.methods.scalar.momentum import momentum as momentum
from jaxcalc.methods.scalar.steepest_descent import steepest_descent as steepest_descent
from jaxcalc.methods.scalar.trust_ncg import trust_ncg as trust_ncg
from jaxcalc.methods.scalar.trust_region import trust_region as trust_region

REGISTRY = _registry_of(globals())
