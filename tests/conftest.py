"""What the tests share: the real sample where it is at hand, and one smoke-size study with its site."""
import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("LEUKONB_SHARED", ROOT.parent / "shared"))


def _there(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def real_sample():
    """The folder of real C-NMC images."""
    return _there(Path(os.environ.get("LEUKONB_REAL", SHARED / "cnmc-sample")))


@pytest.fixture(scope="session")
def released_metadata():
    """The folder with the digests and labels of all released files."""
    return _there(Path(os.environ.get("LEUKONB_META", SHARED / "cnmc-meta")))


@pytest.fixture(scope="session")
def peer_results():
    """The folder with a published system's predictions."""
    return _there(SHARED / "peer-results")


def leukonb(*words, **options):
    """Run the command line as a user would; its finished process."""
    command = [str(Path(sys.executable).parent / "leukonb"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=options.pop("cwd", ROOT), **options)


SMOKE = ["--smoke"]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The quick study at smoke size and its site: (runs folder, site folder)."""
    place = tmp_path_factory.mktemp("smoke")
    ran = leukonb("run", "quick", *SMOKE, "--out", place / "runs")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    built = leukonb("site", "--out", place / "runs", "--to", place / "site")
    assert built.returncode == 0, built.stdout + built.stderr
    yield place / "runs", place / "site"
    shutil.rmtree(place, ignore_errors=True)


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


@contextlib.contextmanager
def address_of(site):
    """A site served on this machine: its address."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


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
