"""What the README shows runs, and prints what it says."""

import re
from pathlib import Path

import jaxcalc as jc
from jaxcalc.engine.result import MESSAGES

README = (Path(__file__).parent.parent / "README.md").read_text()


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
    for name, text in rows.items():
        assert MESSAGES[jc.Status[name]].startswith(text)
    assert len(rows) == 6


def test_the_commands_exist():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    for command in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
