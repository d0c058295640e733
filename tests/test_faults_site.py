"""The whole way from files with hostile names to pages in a browser, and a site whose making is interrupted."""

import csv
import signal
import subprocess
import sys
import time

import pytest
from conftest import address_of, leukonb, opened
from test_cohort import encoded
from test_site import built, run

from leukonb.verbs import site

HOSTILE = [
    "<img src=x onerror=document.title='hit'>",
    "<script>document.title='hit'<!--",
    "`*b*` {{< pagebreak >}} [a](javascript:alert)",
    "\"'><svg onload=document.title='hit'>",
    "a &amp; b | c",
    "$x$ ::: {.hidden}",
]


@pytest.mark.long
@pytest.mark.fault(
    group="site",
    fault="Subjects and files whose names are HTML, scripts or Markdown",
    injected="a cohort with such names, its run, its site, opened in Chromium",
    promise="shown letter by letter; nothing of them is run, loaded or read as markup",
)
def test_hostile_names_from_the_disk_to_the_browser(browser, tmp_path):
    (tmp_path / "images").mkdir()
    with open(tmp_path / "images" / "cells.csv", "w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["path", "subject", "label"])
        for n, (name, label) in enumerate((name, label) for name in HOSTILE for label in ("ALL", "HEM")):
            (tmp_path / "images" / f"{label} {name}.bmp").write_bytes(encoded(n, 64))
            rows.writerow([f"{label} {name}.bmp", f"{label} {name}", label])
    study = tmp_path / "names.yml"
    study.write_text("title: <i>Names</i>\nshows: S\nsize: quick\nruns: {cohort: {experiment: cohort}}\n")
    ran = leukonb("run", study, "--data", tmp_path / "images/cells.csv", "--out", tmp_path / "runs")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = leukonb("site", "--out", tmp_path / "runs", "--to", tmp_path / "site")
    assert made.returncode == 0, made.stdout + made.stderr
    with address_of(tmp_path / "site") as base:
        for name in ("runs/names/cohort-cohort.html", "runs/index.html", "index.html"):
            page, wrong = opened(browser, base, name)
            page.wait_for_timeout(300)
            assert page.title() != "hit" and not wrong, (name, page.title(), wrong)
            assert page.locator("img[src=x], svg[onload], td i").count() == 0, name
            if "cohort" in name:
                said = page.inner_text("body")
                assert all(text.upper() in said.upper() for text in HOSTILE[:2]), said
            page.close()


BUILD = "import sys; from pathlib import Path; from leukonb.verbs import site; site.build_site(Path(sys.argv[1]), Path(sys.argv[2]))"


@pytest.mark.fault(
    group="site",
    fault="The making of a site is killed",
    injected="SIGKILL at 3 seeded moments while an earlier site stands",
    promise="each page is whole, the earlier one until the new one takes its place; the next build ends what was begun",
)
def test_a_killed_build_leaves_the_earlier_site(nbs, moments):
    run(nbs)
    place = built(nbs)

    def pages(folder):
        found = (p for p in folder.rglob("*") if p.is_file() and ".leukonb" not in str(p))
        return {p.relative_to(folder): p.read_bytes() for p in found}

    earlier = pages(place)
    run(nbs, "report")
    site.build_site(nbs.parents[1] / "runs", nbs.parents[1] / "other")
    whole, struck = pages(nbs.parents[1] / "other"), 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD, nbs.parents[1] / "runs", place],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=nbs,
        )
        time.sleep(moments.uniform(0.5, 3))
        process.send_signal(signal.SIGKILL)
        struck += process.wait() == -signal.SIGKILL
        now = pages(place)
        assert set(now) >= set(earlier) & set(whole), "a page is gone"
        assert all(text in (earlier.get(name), whole.get(name)) for name, text in now.items()), "half a page"
    assert struck, "no kill met a build"
    assert pages(built(nbs)) == whole


def test_the_record_speaks_of_the_code_that_the_page_reaches():
    from leukonb.pages import faults
    from leukonb.runs.key import modules_reached, package_folder
    from leukonb.runs.notebook import find_experiment

    reached, package = set(modules_reached(find_experiment("faults"))), package_folder()
    covered = {name for _, names in faults.GROUPS.values() for name in names}
    assert all((package / name).is_file() for name in covered) and covered <= reached, covered - reached
    assert "pages/faults.json" in reached or not faults.record_place().exists()
