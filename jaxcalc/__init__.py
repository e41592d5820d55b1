"""Differentiable optimisation in JAX: derivatives, and many problems minimised in lanes that refill."""

import lazy_loader

from jaxcalc.core.public import lacks

_attached, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise lacks(__name__, name, __all__)
    return _attached(name)
