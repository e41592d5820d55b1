"""The benchmark suite: `python -m benchmarks`, or `jaxcalc bench` in a checkout, or `make bench`.

An entry is a function `run(quick) -> Entry` in a file of its own and one line in `ENTRIES`; it measures with `timing`,
compares with `peers`, and leaves the console and the JSON file to `report`, the tables of docs/performance.md to
`markdown`. Its name is that of the line in `ENTRIES`.
"""

# Name -> module with a function `run`. Modules, not functions: JAX must not start before the process is pinned.
ENTRIES = {
    "rosenbrock": "benchmarks.rosenbrock",
    "stragglers": "benchmarks.stragglers",
    "mapped": "benchmarks.mapped",
    "many_functions": "benchmarks.many_functions",
    "dimensions": "benchmarks.dimensions",
    "digits": "benchmarks.digits",
    "tiny_network": "benchmarks.tiny_network",
    "sgd_step": "benchmarks.sgd_step",
    "least_squares": "benchmarks.least_squares",
    "constraints": "benchmarks.constraints",
    "objective_cost": "benchmarks.objective_cost",
    "first_result": "benchmarks.first_result",
    "sweep": "benchmarks.sweep",
}
