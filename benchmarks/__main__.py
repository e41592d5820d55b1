"""The command line: `python -m benchmarks [--only NAME ...] [--quick] [--json FILE]`."""

import argparse
import importlib
import sys

from benchmarks import ENTRIES, timing


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures jaxcalc against its peers.")
    parser.add_argument("--only", action="append", choices=ENTRIES, metavar="NAME", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not how fast")
    parser.add_argument("--json", metavar="FILE", help="also write every single timing to this file")
    options = parser.parse_args(arguments)

    # XLA sizes its thread pool when it starts, so the process is pinned before JAX is imported.
    cores = timing.pin_to_one_core()
    import jax

    jax.config.update("jax_enable_x64", True)
    from benchmarks import report

    facts = report.machine(cores)
    report.show_heading(facts, options.quick)
    entries = []
    for name in options.only or ENTRIES:
        entries.append(importlib.import_module(ENTRIES[name]).run(options.quick))
        report.show(entries[-1])
        if options.json:  # after each entry: a long run that is cut short keeps what it has measured
            report.write(options.json, facts, entries, options.quick)
    report.show_ratios(entries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
