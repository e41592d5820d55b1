"""How one step is taken: a folder of methods for each family of problems, and the parts that they are made of."""

from jaxcalc.methods.scalar import *  # noqa: F403
