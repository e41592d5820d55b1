"""The `jaxcalc` command: the demo, and the comparison of optimisers on handwritten digits."""
