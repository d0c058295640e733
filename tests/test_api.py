"""From a notebook and from an installation without Keras: the functions of the front page, and the command line on them."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from conftest import ROOT
from test_cohort import encoded

import leukonb
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import read_json, refusal_line
from leukonb.runs.notebook import notebooks_folder
from leukonb.verbs.site import list_library

HEAVY = ("tensorflow", "keras", "keras_cv", "dask", "distributed")
PATTERN = r"(person[0-9]+)-"

CALLS = """
import sys
import pandas as pd
from leukonb.files import Refusal, refusal_line
for name in ("audit", "evaluate", "features", "plan", "predict", "run"):
    assert type(getattr(leukonb, name)).__name__ == "function", name
assert leukonb.audit("images", subject_pattern=r"(person[0-9]+)-").record["subjects"] == 4
assert leukonb.evaluate("table.csv", resamples=100).arms == ["a"]
assert leukonb.evaluate(pd.read_csv("table.csv"), resamples=100).scores.value.between(-1, 1).all()
assert "nowhere" in refusal_line(leukonb.predict, "model.keras", "nowhere")
assert "--half-width" in refusal_line(leukonb.plan, "table.csv")
assert leukonb.run("released", dry_run=True).status.tolist() == ["planned"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images of four people that are named in another way, and a table of predictions."""
    to = tmp_path_factory.mktemp("api")
    for n in range(12):
        person, label = n % 4, ("all", "hem")[n % 2]
        (to / "images" / label).mkdir(parents=True, exist_ok=True)
        (to / "images" / label / f"site{n % 2}-person{person}-{n}.bmp").write_bytes(encoded(n, 64))
    rows = draw_one_set(OneSetWorld(ALL=6, HEM=6, cells=15), 1)
    rows[rows.arm == "a"].to_csv(to / "table.csv", index=False)
    return to


def ran(cwd, *words, **variables):
    """A finished process of this Python, run on this checkout."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True)


def typed(cwd, *words, **variables):
    return ran(
        cwd, "-c", "import sys; from leukonb.cli import main; sys.exit(main())", *map(str, words), **variables
    )


@pytest.mark.parametrize(
    "imports",
    [
        "import leukonb",
        "import leukonb.data.audit, leukonb.verbs.audit, leukonb.verbs.evaluate, leukonb.verbs.predict, leukonb.verbs.run",
        "from leukonb.verbs import evaluate, audit\nfrom leukonb.data import audit\nimport leukonb.cli",
        "import leukonb\nleukonb.run('released', dry_run=True)\nimport leukonb.runs.study, leukonb.api, leukonb.verbs.audit",
    ],
)
def test_the_front_page_works_whatever_was_imported_before(place, imports):
    done = ran(place, "-c", imports + CALLS)
    assert done.returncode == 0, done.stderr


def test_no_module_takes_a_name_of_the_front_page(place):
    every = "import pkgutil, leukonb\nfor m in pkgutil.walk_packages(leukonb.__path__, 'leukonb.'): __import__(m.name)\n"
    check = "print(*(type(getattr(leukonb, n)).__name__ for n in leukonb.__all__))"
    done = ran(place, "-c", every + check)
    assert done.stdout.split() == ["function"] * 6, done.stderr


def test_importing_leukonb_imports_nothing_large():
    large = "print(*sorted({'numpy', 'pandas', 'keras', 'dataclasses', 'typing'} & set(sys.modules)))"
    before, after = (
        ran(ROOT, "-S", "-c", f"import sys; {line}{large}").stdout for line in ("", "import leukonb; ")
    )
    assert before == after


@pytest.fixture(scope="module")
def model(place):
    from leukonb.model import network

    network.save_model(
        network.build_network(network.Network(backbone="small", size=32)), place / "model.keras"
    )
    return place / "model.keras"


def test_images_are_scored_by_function_and_by_command_alike(place, model, monkeypatch):
    monkeypatch.chdir(place)
    scored = leukonb.predict(model, "images", progress=False)
    assert len(scored) == 12 and scored.score.between(0, 1).all()
    assert typed(place, "predict", "model.keras", "images", "--out", "scores.csv").returncode == 0
    written = pd.read_csv(place / "scores.csv")
    assert written.path.tolist() == scored.path.tolist()
    assert (written.score - scored.score).abs().max() < 1e-6


@pytest.mark.usefixtures("front_only")
def test_a_page_is_made_where_one_is_wanted(place):
    drawn = pd.read_csv(place / "table.csv")
    at_once = leukonb.evaluate(drawn, resamples=100)
    assert at_once.page is None and at_once.run is None and "0." in at_once._repr_html_()
    evidence = leukonb.evaluate(drawn, place / "evidence", resamples=100)
    assert evidence.record == at_once.record == read_json(place / "evidence/evidence.json")
    assert evidence.page.is_file() and evidence.page.is_relative_to(place / "evidence/page")
    assert not (place / "evidence/page/licences.html").exists()  # the page of a result, not the whole site
    assert evidence.run.manifest["command"].startswith("leukonb.evaluate(table, threshold=0.5")
    pd.testing.assert_frame_equal(evidence.scores, at_once.scores, check_dtype=False)


def test_a_study_is_run_by_a_function(tmp_path):
    for _ in range(2):  # the second time it is done
        table = leukonb.run("released", settings={"released.least": 2}, out=tmp_path, progress=False)
        assert table.status.tolist() == ["done"] and (table.folder[0] / "result.json").is_file()
    manifest = read_json(table.folder[0] / "run.json")
    assert manifest["inputs"]["parameters"] == {"least": 2}
    assert manifest["command"] == "leukonb.run('released', settings={'released.least': 2})"
    assert "workers = 0" in refusal_line(leukonb.run, "released", workers=0)


def test_a_study_takes_the_subject_pattern_that_its_images_need(place, tmp_path):
    study = tmp_path / "counts.yml"
    study.write_text("title: C\nshows: S\nsize: quick\nruns: {cohort: {experiment: cohort}}\n")
    words = ("run", study, "--data", place / "images", "--out", tmp_path / "runs", "--dry-run")
    bare = typed(tmp_path, *words)
    assert bare.returncode == 1 and "subject pattern" in bare.stderr and bare.stderr.count("\n") == 1
    by_person, by_site = (typed(tmp_path, *words, "--subject-pattern", p) for p in (PATTERN, "(site[01])-"))
    assert "12 cells of 4 subjects" in by_person.stdout and "12 cells of 2 subjects" in by_site.stdout
    assert len(list((tmp_path / "runs/_cohorts").iterdir())) == 2
    table = leukonb.run(
        study, place / "images", subject_pattern=PATTERN, out=tmp_path / "runs", progress=False
    )
    assert table.status.tolist() == ["done"]
    assert "goes with --data" in typed(tmp_path, "run", study, "--subject-pattern", PATTERN).stderr


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_make_report_hands_the_pattern_on():
    words = ["make", "-n", "report", "DATA=my images", f"PATTERN={PATTERN}"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout
    assert f"""--data "my images" --subject-pattern '{PATTERN}'""" in said


@pytest.fixture
def lab(tmp_path):
    """A folder of one's own with an experiment and a study of it, and of one that leukonb has."""
    to = tmp_path / "lab/experiments"
    (to / "studies").mkdir(parents=True)
    code = "from leukonb.runs.record import finish, this_run\nfinish(this_run(), {'stains': float(stains)})"
    cells = [
        nbformat.v4.new_markdown_cell("# Stains\n\n> How many stains there are."),
        nbformat.v4.new_code_cell("stains: int = 3  # that are counted", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), to / "stains.ipynb")
    head = "title: Our stains\nshows: Stains of our own.\nsize: quick\n"
    runs = "runs:\n  ours: {experiment: stains}\n  theirs: {experiment: released}\n"
    (to / "studies/our-stains.yml").write_text(head + runs)
    return to.parent


def test_experiments_of_ones_own_are_run_beside_those_of_leukonb(lab, front, tmp_path):
    runs = ("--out", tmp_path / "runs", "--nbs", lab)
    assert "unknown study 'our-stains'" in typed(tmp_path, "run", "our-stains").stderr
    done = typed(tmp_path, "run", "our-stains", *runs)
    assert done.returncode == 0 and "Our stains: 2 runs" in done.stdout, done.stderr
    listed = json.loads(typed(tmp_path, "status", "--json", *runs).stdout)
    assert [row["status"] for row in listed] == ["done", "done"], listed
    before = typed(tmp_path, "--nbs", lab, "status", "--json", "--out", tmp_path / "runs")
    assert json.loads(before.stdout) == listed
    assert typed(tmp_path, "verify", "ours", *runs).returncode == 0
    shutil.copy(
        front / "index.ipynb", lab
    )  # a front page of one's own, and so a site without leukonb's library
    shutil.copy(front.parent / "_quarto.yml", lab)
    built = typed(tmp_path, "site", "--to", tmp_path / "site", *runs)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "site/runs/our-stains/stains-ours.html").read_text()
    assert "How many stains there are" in page and "since then changed" not in page
    assert (tmp_path / "site/index.html").is_file() and "LEUKONB_NBS" not in os.environ


def test_the_front_page_and_the_library_are_ones_own_where_there_are_any(lab, front, monkeypatch):
    monkeypatch.setenv("LEUKONB_NBS", str(lab))
    assert notebooks_folder() == ROOT / "nbs" and len(list_library(notebooks_folder())) > 100
    shutil.copy(front / "index.ipynb", lab)
    assert notebooks_folder() == lab.resolve() and list_library(notebooks_folder()) == {}


def test_a_function_takes_a_folder_of_ones_own(lab, tmp_path):
    table = leukonb.run(
        "our-stains", settings={"ours.stains": 5}, nbs=lab, out=tmp_path / "runs", progress=False
    )
    assert table.status.tolist() == ["done", "done"]
    assert read_json(table.folder[0] / "result.json")["headline"] == {"stains": 5.0}
    assert "holds no folder experiments" in refusal_line(leukonb.run, "our-stains", nbs=tmp_path)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Variables under which Python finds none of the large libraries, in processes that it starts too."""
    to = tmp_path_factory.mktemp("base")
    (to / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({HEAVY}))\n")
    return {"PYTHONPATH": f"{to}:{ROOT}"}


def test_auditing_and_judging_need_no_network_library(place, base, tmp_path):
    assert "audit" in typed(tmp_path, "--help", **base).stdout
    audited = typed(tmp_path, "audit", place / "images", "--subject-pattern", PATTERN, **base)
    assert audited.returncode == 0, audited.stderr
    judged = typed(tmp_path, "evaluate", place / "table.csv", "--out", "out", "--resamples", 100, **base)
    assert judged.returncode == 0, judged.stderr
    assert read_json(tmp_path / "out/evidence.json")["arms"] and list(
        (tmp_path / "out/page").rglob("judge-*.html")
    )
    counted = typed(tmp_path, "run", "released", **base)
    assert counted.returncode == 0, counted.stderr


@pytest.mark.parametrize(
    "words, says",
    [
        (["run", "quick", "--smoke"], "training needs TensorFlow and Keras: pip install 'leukonb[train]'"),
        (["predict", "{model}", "{images}", "--out", "a.csv"], "pip install 'leukonb[train]'"),
        (["run", "released", "--cluster", "local"], "a cluster needs Dask: pip install 'leukonb[cluster]'"),
    ],
)
def test_what_needs_more_says_what_to_install(place, model, base, tmp_path, words, says):
    words = [w.format(model=model, images=place / "images") for w in words]
    done = typed(tmp_path, *words, **base)
    assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())
