"""The site, built and opened from its folder in a headless browser that reaches no network."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
BROKEN = "[...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src)"
UNSET = "[...document.querySelectorAll('.arithmatex')].filter(f => !f.querySelector('.katex')).length"
CHAPTERS = ["slope", "rules", "area", "gradient", "critical-points", "descent", "network"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site: built here, or the one that the variable JAXCALC_SITE names."""
    if "JAXCALC_SITE" in os.environ:
        return Path(os.environ["JAXCALC_SITE"]).resolve()
    missing = [name for name in ("mkdocs", "material", "mkdocstrings") if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    assert "WARNING" not in built.stderr
    return folder


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium or Chrome is installed")
    with Browser() as opened:
        yield opened


def is_whole(browser: Browser) -> None:
    """Asserts that the page in the browser has a title, all its pictures and formulas, and nothing to complain of."""
    place = browser.evaluate("location.href")
    assert browser.evaluate("document.querySelector('h1').textContent.trim()"), place
    assert browser.evaluate(BROKEN) == [], place
    assert browser.evaluate(UNSET) == 0, place
    assert browser.errors == [], place


def test_every_page_is_whole(site, browser):
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    assert len(pages) > 50
    for page in pages:
        browser.open(page.as_uri())
        is_whole(browser)


def test_the_search_finds_a_page_and_opens_it(site, browser):
    browser.open((site / "index.html").as_uri())
    browser.evaluate("document.querySelector('label[for=__search]').click()")
    browser.evaluate("document.querySelector('.md-search__input').focus()")
    browser.type("sandwich")
    browser.wait_for("document.querySelector('.md-search-result__link') !== null")
    found = browser.evaluate("[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)")
    assert any("how-to/standard-errors.html" in address for address in found), found
    browser.evaluate("document.querySelector('.md-search-result__link').click()")
    browser.wait_for("!location.pathname.endsWith('/index.html') && document.readyState == 'complete'")
    is_whole(browser)


def test_the_tutorial_leads_from_chapter_to_chapter(site, browser):
    browser.open((site / "index.html").as_uri())
    browser.evaluate("[...document.querySelectorAll('article a')].find(a => a.textContent == 'Tutorial').click()")
    browser.wait_for("location.pathname.endsWith('tutorial/index.html') && document.readyState == 'complete'")
    for chapter in CHAPTERS:
        browser.evaluate("document.querySelector('a.md-footer__link--next').click()")
        browser.wait_for(f"location.pathname.endsWith('tutorial/{chapter}.html') && document.readyState == 'complete'")
        is_whole(browser)
        printed = browser.evaluate(
            "[...document.querySelectorAll('.printed')].map(block => block.textContent).join('')"
        )
        assert printed.strip(), chapter
    assert browser.evaluate("document.querySelectorAll('article img').length") >= 1


def test_an_error_in_the_console_and_a_request_are_seen(tmp_path, browser):
    (tmp_path / "bad.html").write_text(
        '<h1>Bad</h1><img src="none.png"><script src="https://example.org/x.js"></script><script>nothing()</script>'
    )
    browser.open((tmp_path / "bad.html").as_uri())
    time.sleep(0.2)
    assert browser.evaluate(BROKEN) != []
    seen = "\n".join(browser.errors)
    assert "network: https://example.org/x.js" in seen
    assert "nothing is not defined" in seen
