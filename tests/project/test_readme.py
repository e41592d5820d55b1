"""What the README shows runs, and prints what it says."""

import re
from pathlib import Path

import jaxcalc as jc

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_code_runs_and_says_what_it_says(capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "5000 of 5000 SUCCESS: the largest component of the gradient is at most gtol" in printed
    assert "0.38196601125" in printed
    assert "[True, True]" in printed
    assert "[1.2   0.002]" in printed
    assert "[10.  4.  8.]" in printed
    assert re.search(r"optimiser +learning rate +validation loss", printed)
    assert "3.5449077018" in printed
    assert "['minimum', 'maximum', 'minimum'] -1.0 inf True" in printed
    assert printed.endswith("saddle\n")


def test_the_table_of_statuses_is_the_library_s():
    rows = dict(re.findall(r"^\| ([A-Z_]+) \| (.*?) \|$", README, re.MULTILINE))
    assert list(rows) == [status.name for status in jc.Status]
    for status in jc.Status:
        assert status.words.startswith(rows[status.name])


def test_the_table_of_methods_is_the_registry_s():
    rows = re.findall(r"^\| `(\w+)`(?: \(default\))? \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    methods = {name: factory() for name, factory in jc.methods.REGISTRY.items()}
    assert sorted(rows) == sorted((name, method.takes, method.suits) for name, method in methods.items())


def test_the_commands_exist():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    for command in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
