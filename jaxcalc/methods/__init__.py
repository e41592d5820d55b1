"""How one step is taken: one file a method, and one line here, which registers it under its factory's name."""

import inspect

from jaxcalc.methods.bfgs import bfgs as bfgs
from jaxcalc.methods.gradient_descent import gradient_descent as gradient_descent

REGISTRY = {name: factory for name, factory in list(globals().items()) if inspect.isfunction(factory)}
