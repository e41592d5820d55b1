from . import methods as methods
from ._version import __version__ as __version__
from .engine.result import OptimizeResult as OptimizeResult
from .methods.method import Status as Status
from .optimize.descent import gradient_descent as gradient_descent
from .optimize.minimize import minimize as minimize
from .optimize.minimize import minimize_many as minimize_many
