"""Nodes and weights of the Gauss-Kronrod pair of 10 and 21 points on [-1, 1] (R. Piessens et al., QUADPACK, 1983)."""

import numpy as np

# The nodes x >= 0 in descending order; `NODES` adds their negatives in front.
_NODES = [
    *(0.995657163025808080735527280689003, 0.973906528517171720077964012084452, 0.930157491355708226001207180059508),
    *(0.865063366688984510732096688423493, 0.780817726586416897063717578345042, 0.679409568299024406234327365114874),
    *(0.562757134668604683339000099272694, 0.433395394129247190799265943165784, 0.294392862701460198131126603103866),
    *(0.148874338981631210884826001129720, 0.0),
]
_KRONROD = [
    *(0.011694638867371874278064396062192, 0.032558162307964727478818972459390, 0.054755896574351996031381300244580),
    *(0.075039674810919952767043140916190, 0.093125454583697605535465065083366, 0.109387158802297641899210590325805),
    *(0.123491976262065851077958109831074, 0.134709217311473325928054001771707, 0.142775938577060080797094273138717),
    *(0.147739104901338491374841515972068, 0.149445554002916904665936468389821),
]
_GAUSS = [
    *(0.0, 0.066671344308688137593568809893332, 0.0, 0.149451349150580593145776339657697),
    *(0.0, 0.219086362515982043995534934228163, 0.0, 0.269266719309996355091226921569469),
    *(0.0, 0.295524224714752870173892994651338, 0.0),
]
NODES = np.array([-x for x in _NODES] + _NODES[-2::-1])
KRONROD = np.array(_KRONROD + _KRONROD[-2::-1])
GAUSS = np.array(_GAUSS + _GAUSS[-2::-1])


def _values_at(x: float) -> np.ndarray:
    """Returns the weights by which values at the nodes give their polynomial at x."""
    factors = (x - NODES) / (NODES[:, None] - NODES + np.eye(len(NODES)))
    np.fill_diagonal(factors, 1.0)
    return np.prod(factors, axis=1)


# Values at the nodes continued to both ends, (2, nodes), and the distance from an end to the outermost node. A jump or
# a kink between these two changes no rule; the value at the end then differs from the continuation, and this
# difference times the distance bounds what the break changes in the integral.
CONTINUATION = np.stack([_values_at(-1.0), _values_at(1.0)])
GAP = float(1.0 - NODES[-1])
