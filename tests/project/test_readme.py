"""What the README shows runs, and prints what it says; its table is the suite's; its links lead somewhere."""

import re
from pathlib import Path

import jax.numpy as jnp

import jaxcalc as jc
from benchmarks import markdown, summary

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_code_runs_and_says_what_it_says(capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    exec(compile(code, "README.md", "exec"), {})
    fits, many, slope, points = capsys.readouterr().out.splitlines()
    assert fits == "768 fits succeed; their errors are right to a factor of 1.04"
    assert many.startswith("5000 of 5000 SUCCESS: the largest component of the gradient is at most gtol")
    assert slope == "[-0.25 -0.25]"
    assert points == "[0.381966 1.5      2.618034] ['minimum', 'maximum', 'minimum'] True"


def test_numbers_that_the_readme_once_showed_still_hold():
    quartic = lambda x: x * (x - 1) * (x - 2) * (x - 3)  # noqa: E731
    assert f"{float(jc.minimize(quartic, 1.25, gtol=1e-10).x):.11f}" == "0.38196601125"
    t, units = jnp.linspace(0.0, 3_000.0, 50), jnp.array([1.0, 1e-3])
    decay = lambda p, t, y: jnp.mean((p[0] * jnp.exp(-p[1] * t) - y) ** 2)  # noqa: E731
    data, bounds = (t, 1.2 * jnp.exp(-2e-3 * t)), (0.0, jnp.array([jnp.inf, 0.01]))
    fit = jc.minimize(decay, jnp.array([0.5, 5e-3]), data, bounds=bounds, scale=units)
    assert str(fit.x.round(6)) == "[1.2   0.002]"
    gradient = jc.gradient(lambda v: v[0] ** 2 * v[1] + v[0] * v[1] * v[2] + v[2] ** 2)
    assert str(gradient(jnp.array([1.0, 2.0, 3.0]))) == "[10.  4.  8.]"
    bell = jc.integrate(lambda x, width: jnp.exp(-((x / width) ** 2)), -jnp.inf, jnp.inf, 2.0)
    assert f"{float(bell.value):.10f}" == "3.5449077018"
    points = jc.critical_points(quartic, -jnp.inf, jnp.inf)
    assert (round(points.infimum, 6), points.supremum, points.certain) == (-1.0, float("inf"), True)
    assert jc.certify(lambda v: v[0] ** 2 - v[1] ** 2, jnp.zeros(2)).kind_name == "saddle"


def test_pixels_become_maps_with_errors_in_fifteen_lines():
    first = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert first is not None
    assert len([line for line in first[1].splitlines() if line.strip()]) <= 15
    assert ".popt" in first[1]
    assert ".stderr" in first[1]


def test_the_table_against_peers_is_the_suite_s():
    table = summary.table()
    assert markdown.with_section(README, "summary", table) == README, "run `python -m benchmarks.summary`"
    assert len(table.splitlines()) >= 4


def test_the_table_is_made_of_rows_with_peers():
    head = "| contestant | problems | problems/s |\n| --- | --- | --- |\n"
    page = "<!-- suite: rosenbrock -->\nmachine\n\nSome work:\n\n" + head
    page += (
        "| jaxcalc, lanes | 9 | 1,000 |\n| one, vmap | 9 | 20.5 |\n| two, blocks | 9 | 300 |\n| scipy, loop | 1 | 2 |\n"
    )
    page += "<!-- end of suite -->\n<!-- suite: stragglers -->\n<!-- end of suite -->\n"
    assert summary.table(page).splitlines()[2:] == ["| Some work | 1,000 | 300 (two, blocks) | 2 |"]


def test_the_links_lead_to_files():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    for command in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
