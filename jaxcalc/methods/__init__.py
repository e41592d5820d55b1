"""How one step is taken: one file a method, and one line here, which registers it under its factory's name."""

import inspect

from jaxcalc.methods.bfgs import bfgs as bfgs
from jaxcalc.methods.conjugate_gradient import conjugate_gradient as conjugate_gradient
from jaxcalc.methods.from_optax import from_optax as from_optax
from jaxcalc.methods.gradient_descent import gradient_descent as gradient_descent
from jaxcalc.methods.lbfgs import lbfgs as lbfgs
from jaxcalc.methods.momentum import momentum as momentum
from jaxcalc.methods.steepest_descent import steepest_descent as steepest_descent
from jaxcalc.methods.trust_ncg import trust_ncg as trust_ncg
from jaxcalc.methods.trust_region import trust_region as trust_region


def _is_complete(factory: object) -> bool:
    """Returns whether this makes a method without being told anything: only then can its name stand for it."""
    return inspect.isfunction(factory) and all(
        parameter.default is not parameter.empty for parameter in inspect.signature(factory).parameters.values()
    )


REGISTRY = {name: factory for name, factory in list(globals().items()) if _is_complete(factory)}
