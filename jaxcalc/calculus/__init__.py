"""Calculus of pure functions: derivatives, the rules of differentiation, integrals, and critical points with bounds.

Every operator takes a pure function. Nothing in this folder knows of optimisation; the optimisers stand on it.
"""

from jaxcalc.calculus import rules as rules
