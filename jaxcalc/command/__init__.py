"""The `jaxcalc` command: a calculator, the demo, the comparison of optimisers on handwritten digits, and streams."""
