"""Differentiable optimisation in JAX: derivatives, and many problems minimised in lanes that refill."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
