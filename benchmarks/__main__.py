"""The command line: `python -m benchmarks [--only NAME ...] [--quick | --markdown FILE] [--json FILE]`.

`python -m benchmarks --compare BEFORE.json AFTER.json [--html FILE]` compares what two runs have written.
"""

import argparse
import importlib
import sys

from benchmarks import ENTRIES, markdown, summary, timing


def main(arguments: list[str] | None = None, name: str = "python -m benchmarks") -> int:
    """Runs the command line; `name` is what the user has called it by."""
    options = _options(arguments, name)
    if options.compare:
        from benchmarks import comparison

        return comparison.run(*options.compare, options.html)
    # XLA sizes its thread pool when it starts, so the process is pinned before JAX is imported.
    cores = timing.pin_to_one_core()
    import jax

    jax.config.update("jax_enable_x64", True)
    from benchmarks import report

    facts = report.machine(cores)
    report.show_heading(facts, options.quick)
    entries = []
    for name in options.only or ENTRIES:
        try:
            entries.append(importlib.import_module(ENTRIES[name]).run(options.quick))
        except ModuleNotFoundError as error:
            report.say(f"\n{name} is left out: {error.name} is not installed. Install the extra `bench`.")
            continue
        report.show(entries[-1])
        # After each entry: a long run that is cut short keeps what it has measured.
        if options.json:
            report.write(options.json, facts, entries, options.quick)
        if options.markdown:
            markdown.write(options.markdown, facts, entries[-1])
            summary.write(options.markdown)
    report.show_ratios(entries)
    return 0


def _options(arguments: list[str] | None, name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=name, description="Measures jaxcalc against its peers.")
    parser.add_argument("--only", action="append", choices=ENTRIES, metavar="NAME", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--json", metavar="FILE", help="also write every single timing to this file")
    # The figures of a quick run mean nothing, so they must not get into a page.
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not how fast")
    size.add_argument("--markdown", metavar="FILE", help="also write every table between its markers in this file")
    parser.add_argument("--compare", nargs=2, metavar=("BEFORE", "AFTER"), help="compare two files that --json wrote")
    parser.add_argument("--html", metavar="FILE", default="benchmarks.html", help="the page that --compare writes")
    options = parser.parse_args(arguments)
    if options.markdown:
        try:
            markdown.check(options.markdown, options.only or list(ENTRIES))
        except (OSError, ValueError) as error:
            parser.error(f"argument --markdown: {error}")
    return options


if __name__ == "__main__":
    sys.exit(main())
