"""The built site in a real browser: nothing asked for from outside, no error, and every run's page with its figures."""
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from leukonb.study import runs

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def _found():
    """A Chromium that is there: on the PATH, or Playwright's own."""
    from playwright.sync_api import sync_playwright
    if path := next(filter(None, map(shutil.which, NAMES)), None):
        return path
    with sync_playwright() as p:
        return p.chromium.executable_path if Path(p.chromium.executable_path).exists() else None


def chromium():
    """A Chromium, installed where there is none; the test is skipped, in one line, where that cannot be done."""
    if path := _found():
        return path
    apt = shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0
    tries = [["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]] if apt else []
    for command in [*tries, [sys.executable, "-m", "playwright", "install", *(["--with-deps"] if apt else []), "chromium"]]:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        except (OSError, subprocess.TimeoutExpired):
            pass
        if path := _found():
            return path
    pytest.skip("no Chromium here, and neither apt-get nor Playwright could install one: the site was not looked at in a browser")


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright
    path = chromium()
    with sync_playwright() as p:
        opened = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened.new_context()
        opened.close()


@pytest.fixture(scope="session")
def address(smoke):
    """The site served on this machine: its address."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(smoke[1])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def pages(site):
    return sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html"))


def opened(browser, base, name, width=1280):
    """A page in the browser with what went wrong while it opened, and what it asked for outside the site."""
    page, wrong = browser.new_page(), []
    page.set_viewport_size({"width": width, "height": 900})
    page.on("console", lambda m: wrong.append(f"{name}: console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(f"{name}: {e}"))
    page.on("requestfailed", lambda r: wrong.append(f"{name}: failed: {r.url}"))
    page.on("request", lambda r: None if r.url.startswith((base, "data:", "blob:")) else wrong.append(f"{name}: outside: {r.url}"))
    page.on("response", lambda r: wrong.append(f"{name}: {r.status}: {r.url}") if r.status >= 400 else None)
    page.goto(base + name, wait_until="load")
    return page, wrong


@pytest.mark.parametrize("way", ["served", "from the disk"])
def test_pages_open_without_an_error_and_ask_for_nothing_outside(browser, smoke, address, way):
    base = address if way == "served" else smoke[1].resolve().as_uri() + "/"
    trouble = []
    for name in pages(smoke[1]) if way == "served" else ["index.html", *(n for n in pages(smoke[1]) if n.startswith("runs/"))]:
        page, wrong = opened(browser, base, name)
        drawn = page.locator(".plotly-graph-div").count()
        if page.locator(".plotly-graph-div .main-svg").count() < drawn:
            wrong.append(f"{name}: a figure is not drawn")
        if page.evaluate("[...document.images].some(i => i.complete && !i.naturalWidth)"):
            wrong.append(f"{name}: an image is not shown")
        trouble += wrong
        page.close()
    assert not trouble, "\n".join(trouble)


def test_the_quick_study_has_its_pages(smoke):
    assert {r.experiment for r in runs.find(smoke[0]) if r.done} >= {"cohort", "training", "evaluation", "report"}
    assert set(pages(smoke[1])) >= {"index.html", "runs/index.html", *(f"runs/quick/{e}-{e}.html" for e in ("cohort", "training", "evaluation", "report"))}


@pytest.mark.parametrize("experiment", ["cohort", "training", "evaluation", "report"])
def test_a_runs_page_shows_figures_tables_and_where_they_come_from(browser, smoke, address, experiment):
    page, wrong = opened(browser, address, f"runs/quick/{experiment}-{experiment}.html")
    assert not wrong
    assert page.locator(".plotly-graph-div svg.main-svg, .plotly-graph-div canvas").count() > 0
    assert page.locator("main table.leukonb tbody tr").count() > 0
    said = page.locator("table#provenance").inner_text()
    run = next(r for r in runs.find(smoke[0], "quick") if r.experiment == experiment)
    assert run.key in said and "leukonb run quick" in said and (experiment == "report" or "synthetic" in said)
    assert "these figures say nothing about C-NMC" in page.locator("main").inner_text()
    if experiment in ("cohort", "evaluation"):
        assert page.locator(".cells img").count() > 3
    page.close()


def test_the_report_is_one_click_from_home_and_leads_to_the_runs(browser, smoke, address):
    page, wrong = opened(browser, address, "index.html")
    page.locator("main table a").first.click()
    page.wait_for_url("**/runs/quick/report-report.html")
    page.locator("main table.leukonb a").first.click()
    page.wait_for_url("**/runs/quick/*.html")
    assert not wrong
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen(browser, smoke, address, width):
    wide = []
    for name in ["index.html", *(n for n in pages(smoke[1]) if n.startswith("runs/"))]:
        page, _ = opened(browser, address, name, width)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(name)
        page.close()
    assert not wide


def test_search_finds_a_run(browser, smoke, address):
    page, wrong = opened(browser, address, "index.html")
    page.locator("input[type=search], #quarto-search input").first.fill("Training")
    page.wait_for_selector("text=Training on whole identities")
    assert not wrong
    page.close()
