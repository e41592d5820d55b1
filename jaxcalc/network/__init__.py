"""Neural networks: their costs, stochastic gradient descent by hand, and the comparison of optimisers on them."""

from jaxcalc.core.public import show_names
from jaxcalc.network.costs import accuracy as accuracy
from jaxcalc.network.costs import cross_entropy as cross_entropy
from jaxcalc.network.costs import mean_squared_error as mean_squared_error
from jaxcalc.network.costs import quadratic_cost as quadratic_cost
from jaxcalc.network.costs import supervised as supervised
from jaxcalc.network.data import digits as digits
from jaxcalc.network.data import mnist as mnist
from jaxcalc.network.data import read_idx as read_idx
from jaxcalc.network.mlp import MLP as MLP
from jaxcalc.network.mlp import backpropagation as backpropagation
from jaxcalc.network.mlp import mlp as mlp

show_names(__name__)
