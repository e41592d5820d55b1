"""A pure function in, a pure function out: the calculus that the optimisers stand on."""

from jaxcalc.calculus import rules as rules
