"""A builder that renders the root shows what has been run; real Quarto was not at hand, so smalldocs stands in for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from leukonb.verbs.site_page import outside_addresses
from test_site import run


@pytest.fixture
def checkout(nbs, monkeypatch):
    """A checkout with what a render of the root reads, known to git."""
    place = nbs.parent
    for name in ("index.qmd", ".gitignore", "leukonb/verbs/site.css", "leukonb/verbs/head.html"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=place, check=True)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return place


def rendered(checkout, verb="render", builder="smalldocs"):
    done = subprocess.run([builder, verb, "."], cwd=checkout, capture_output=True, text=True)
    changed = subprocess.run(["git", "diff", "--stat"], cwd=checkout, capture_output=True, text=True).stdout
    assert not changed, changed
    return done


def test_a_render_of_the_root_shows_what_has_been_run(nbs, checkout):
    run(nbs, "training", "<b>executed here</b>")
    (nbs.parents[1] / "runs").rename(checkout / "_runs")
    done = rendered(checkout)
    assert done.returncode == 0, done.stderr
    site = checkout / "_site"
    pages = {p.relative_to(site).as_posix(): p.read_text() for p in site.rglob("*.html")}
    assert "executed here" in pages["runs/quick/training-training.html"]
    assert "Nothing has been run" not in pages["index.html"] and (site / "menu.js").is_file()
    assert not any(outside_addresses(page) for page in pages.values())
    untracked = subprocess.run(
        ["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True
    ).stdout
    assert not [line for line in untracked.splitlines() if line.startswith("??")], untracked


def test_a_render_where_nothing_has_been_run_says_how(checkout):
    assert rendered(checkout).returncode == 0
    assert "make report" in (checkout / "_site/index.html").read_text()


def test_the_root_holds_nothing_that_smalldocs_does_not_know(checkout):
    done = rendered(checkout, "check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_quarto_adds_nothing_to_what_git_leaves_out():
    assert {"/.quarto/", "**/*.quarto_ipynb"} <= set((ROOT / ".gitignore").read_text().splitlines())


def test_every_notebook_that_the_order_names_is_there():
    sections = yaml.safe_load((ROOT / "nbs/library.yml").read_text())
    named = [name for section in sections for name in section["contents"]]
    assert len(named) == len(set(named)) and not [name for name in named if not (ROOT / name).is_file()]


@pytest.mark.skipif(
    not shutil.which("quarto"), reason="quarto is not on the PATH: nothing was rendered by it"
)
def test_quarto_renders_the_root_as_smalldocs_does(nbs, checkout):
    run(nbs, "training", "<b>executed here</b>")
    (nbs.parents[1] / "runs").rename(checkout / "_runs")
    done = rendered(checkout, builder="quarto")
    assert done.returncode == 0, done.stderr
    assert "executed here" in (checkout / "_site/runs/quick/training-training.html").read_text()
    assert not any(outside_addresses(p.read_text()) for p in (checkout / "_site").rglob("*.html"))
