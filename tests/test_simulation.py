"""Simulated studies: their true scores, how claims and coverage are counted, and the published record of them."""

import getpass
import re
import zipfile
from html import unescape
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import claims, clustered, coverage, metrics, simulate, worlds
from leukonb.evidence.judgement import PRIMARY_TESTS
from leukonb.files import digest_file, read_json, refusal_line, write_json
from leukonb.runs import published
from leukonb.runs.process import prepare_folder
from leukonb.runs.record import Run, make_run
from leukonb.runs.verify import find_run
from leukonb.verbs import site

ROOT = Path(__file__).resolve().parents[1]
RECORDS = sorted(path.parent for path in (ROOT / "nbs/_published").glob("*/*/*/run.json"))

MANY = {"ALL": 5000, "HEM": 3000, "cells": (12.0, 8.0), "shape": (1.1, 1.6)}
CHANGES = [{}, {"informative": 0.6}, {"spread": 2.5, "between": 0.6}, {"informative": 0.6, "gain": 0.5}]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("once", [False, True])
def test_the_truth_is_what_a_test_set_of_thousands_of_subjects_has(changes, once):
    world = worlds.OneSetWorld(**MANY, **changes)
    table = worlds.draw_one_set(world, 5)
    for arm in "ab":
        truth, rows = worlds.population_scores(world, arm, 60_000, once), table[table.arm == arm]
        found = metrics.compute_scores(rows)
        assert set(truth) == set(metrics.NAMES)
        if once:
            found = clustered.score_subjects_once(rows).set_index("metric").value
        for name, value in found.items():
            assert value == pytest.approx(truth[name], abs=0.02), (arm, name)


def test_arms_that_differ_in_spread_are_equally_good():
    world = worlds.cnmc_world(28, between=0.5, spread=3.0)
    gaps = simulate.true_gaps(world)
    assert abs(gaps["accuracy"]) < 0.003 and abs(gaps["auroc"]) < 0.003
    table = worlds.draw_one_set(worlds.OneSetWorld(ALL=500, HEM=500, between=0.5, spread=3.0), 1)
    logit = np.log(table.score / (1 - table.score))
    spread = logit.groupby([table.arm, table.label, table.subject]).mean().groupby(["arm", "label"]).std()
    assert spread["a"]["ALL"] > 2 * spread["b"]["ALL"] and spread["a"]["HEM"] > 2 * spread["b"]["HEM"]


def test_where_neither_arm_is_better_the_true_difference_is_zero():
    world = worlds.OneSetWorld(**MANY, informative=0.6)
    assert worlds.population_scores(world, "a", 20_000) == worlds.population_scores(world, "b", 20_000)


def drawn(ps, low=None, high=None):
    """What `simulate_arms` gives for one test in as many worlds as there are p-values."""
    columns = {("t", "accuracy", "p"): ps}
    columns[("t", "accuracy", "low")] = np.nan if low is None else low
    columns[("t", "accuracy", "high")] = np.nan if high is None else high
    return pd.DataFrame(columns, index=range(len(ps)))


@pytest.mark.parametrize(
    ("false", "verdict"),
    [(50, "holds"), (58, "holds within error"), (90, "does not: claims .09"), (0, "holds")],
)
def test_false_claims_are_counted(false, verdict):
    ps = np.r_[np.full(false, 0.0499), np.full(1000 - false, 0.05)]  # .05 itself is no claim
    row = simulate.arm_rates(drawn(ps), {"accuracy": 0.0}).iloc[0]
    assert row.claims == false / 1000 and row.verdict == verdict
    assert row.error == pytest.approx((row.claims * (1 - row.claims) / 1000) ** 0.5)


def test_an_interval_that_is_not_there_is_no_miss_and_none_that_touches_the_truth():
    low, high = np.array([0.1, 0.2, 0.5, np.nan]), np.array([0.2, 0.4, 0.6, np.nan])
    row = simulate.arm_rates(drawn(np.ones(4), low, high), {"accuracy": 0.2}).iloc[0]
    assert row["interval coverage"] == pytest.approx(2 / 3)
    simulated = drawn(np.ones(4), low, high).drop(columns=[("t", "accuracy", "p")])
    rates = simulate.coverage_rates(simulated, {("t", "accuracy"): 0.45}).iloc[0]
    assert (rates.worlds, rates.below, rates.above, rates.coverage) == (3, 2 / 3, 1 / 3, 0)


@pytest.mark.parametrize(
    ("held", "verdict"),
    [(950, "holds"), (940, "holds within error"), (900, "does not: holds .90"), (1000, "holds")],
)
def test_coverage_is_counted(held, verdict):
    ends = pd.DataFrame({("k", "auroc", "low"): [0.5] * held + [0.9] * (1000 - held)})
    ends["k", "auroc", "high"] = 1.0
    row = simulate.coverage_rates(ends, {("k", "auroc"): 0.8}).iloc[0]
    assert row.coverage == held / 1000 and row.verdict == verdict


def write_run(nbs, said="208 cells", seed=0):
    """A finished run of a small study, as it lies on the disk."""
    notebook = nbs / "experiments/training.ipynb"
    facts = {"study": "clinic", "size": "full", "synthetic": None, "command": "leukonb run clinic"}
    run = make_run(nbs.parents[1] / "runs/clinic", "cells", notebook, {"seed": seed}, **facts)
    prepare_folder(run, notebook, 1)
    executed = nbformat.read(notebook, 4)
    executed.metadata["papermill"] = {"output_path": str(run.folder)}
    executed.cells[-1].outputs = [nbformat.v4.new_output("stream", text=said)]
    nbformat.write(executed, run.notebook)
    (run.folder / "counts.csv").write_text("subject,cells\n57,208\n")
    (run.folder / "model.keras").write_bytes(b"weights")
    times = {"started": 1.8e9, "finished": 1.8e9 + 60, "seconds": 60.0, "host": "ward-3", "pid": 7}
    write_json(run.folder / "status.json", {"status": "done", **times})
    files = {"counts.csv": digest_file(run.folder / "counts.csv")}
    result = {"run": run.key, "headline": {"cells": 208}, "files": files, "notes": []}
    write_json(run.folder / "result.json", result)
    return run


def test_a_site_shows_a_published_record_beside_the_runs_made_here(nbs, monkeypatch):
    monkeypatch.setattr(site, "find_published", published.find_published)  # those of leukonb, too
    run = write_run(nbs)
    record = published.publish_run(run)
    built = site.build_site(nbs.parents[1] / "runs", nbs.parents[1] / "site")
    here, there = (built / f"{place}/clinic/training-cells.html" for place in ("runs", "published"))
    assert "Published record, made with leukonb" in unescape(there.read_text())
    assert "not made on this machine" in unescape(there.read_text())
    assert "Published record, made" not in unescape(here.read_text())
    home = (built / "index.html").read_text()
    assert "published/clinic/training-cells.html" in home and "runs/clinic/training-cells.html" in home
    listed = (built / "runs/index.html").read_text()
    assert "published, done" in listed
    (offered,) = (built / "files/published/clinic/training" / record.name).iterdir()
    held = {Path(name).name for name in zipfile.ZipFile(offered).namelist()}
    assert held == {
        "run.json",
        "result.json",
    }  # the notebook comes with leukonb, a table with the run made here
    own = (there.parent / p for p in re.findall(r"[^'\"]*files/clinic/[^'\"]*", there.read_text()))
    assert "counts.csv" in {p.resolve().name for p in own if p.is_file()}
    assert f"nbs/_published/clinic/training/{record.name}/training.ipynb" in there.read_text()
    for path in RECORDS:
        study, experiment, name = path.relative_to(ROOT / "nbs/_published").parts
        page = built / f"published/{study}/{experiment}-{name.rpartition('-')[0]}.html"
        assert "not made on this machine" in unescape(page.read_text()), page


def test_a_record_holds_nothing_bulky_and_nothing_of_its_machine(nbs):
    record = published.publish_run(write_run(nbs))
    assert not (record / "model.keras").exists()
    texts = " ".join(p.read_text() for p in record.rglob("*") if p.is_file())
    assert "ward-3" not in texts and str(nbs.parents[1]) not in texts
    assert "papermill" not in nbformat.read(record / "training.ipynb", 4).metadata
    told = write_run(nbs, f"208 cells in {nbs.parents[1]}/C-NMC/fold_0", seed=1)
    assert "names a place of this machine" in refusal_line(published.publish_run, told)
    assert [p.name for p in record.parent.iterdir()] == [record.name]


@pytest.mark.parametrize("name", ["result.json", "counts.csv", "training.ipynb", "status.json"])
def test_a_record_with_one_changed_number_is_refused(nbs, name):
    write_run(nbs)
    record = published.publish_run(write_run(nbs))
    text = (record / name).read_text()
    changed = re.sub("208|1800000060", lambda m: m[0][:-1] + "9", text, count=1)
    assert changed != text
    (record / name).write_text(changed)
    said = refusal_line(site.build_site, nbs.parents[1] / "runs", nbs.parents[1] / "site")
    assert f"{name} was changed in the published record clinic/training/cells-" in said
    assert not (nbs.parents[1] / "site").exists()


def test_a_published_record_is_found_by_name_where_no_run_here_has_it(nbs):
    run = write_run(nbs)
    published.publish_run(run)
    assert find_run("cells", nbs.parents[1] / "runs").folder == run.folder
    assert published.is_published(find_run("cells", nbs.parents[1] / "none"))


def test_only_a_finished_run_is_published(nbs):
    run = write_run(nbs)
    (run.folder / "result.json").unlink()
    assert "only a finished run is published" in refusal_line(published.publish_run, run)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_a_record_in_the_repository_is_whole_and_names_no_machine(record):
    run = published.check_published(Run.read(record))
    assert run.done and published.find_places(record) == []
    texts = [p.read_text(encoding="utf-8") for p in record.rglob("*") if p.is_file()]
    assert not any(f"/{getpass.getuser()}/" in text or str(Path.home()) + "/" in text for text in texts)
    earlier = {"status", "started", "finished", "seconds"}  # of a record made before stages were kept
    assert set(run.status) in (earlier, earlier | {"starting", "waited"})
    assert sum(p.stat().st_size for p in record.rglob("*") if p.is_file()) < 4e6


def intervals_record():
    """The published record of the intervals' coverage."""
    return next(path for path in RECORDS if path.parts[-2] == "coverage")


def test_the_table_that_pages_cite_is_that_of_the_published_record():
    record = intervals_record() / "coverage.csv"
    assert digest_file(ROOT / "leukonb/evidence/coverage.csv") == digest_file(record)
    table = coverage.read_coverage()
    assert list(table.columns) == coverage.COLUMNS
    assert {(7, 4), (13, 15), (30, 12), (60, 41)} == set(zip(table.ALL, table.HEM))
    assert set(table.metric) == set(metrics.NAMES) and set(table.method) == set(simulate.KINDS)
    most = read_json(intervals_record() / "run.json")["inputs"]["parameters"]["worlds"]
    assert table.worlds.max() == most and (table.worlds > 0.9 * most).all()
    near = np.sqrt(table.coverage * (1 - table.coverage) / table.worlds)
    np.testing.assert_allclose(table.error, near, atol=2e-4)
    assert ((table.coverage + table.below + table.above - 1).abs() < 3e-4).all()


def test_the_intervals_of_today_are_those_of_the_published_record():
    stated = pd.read_csv(intervals_record() / "first-studies.csv")
    seed = read_json(intervals_record() / "run.json")["inputs"]["parameters"]["seed"]
    for (subjects, classifier, sizes), rows in stated.groupby(["subjects", "classifier", "sizes"]):
        if subjects > 28:
            continue
        kinds = {"go with accuracy": {"informative": 0.6}, "some strange": {"strange": 0.05}}
        world = worlds.cnmc_world(subjects, classifier, **kinds.get(sizes, {}))
        now = simulate.simulate_intervals(world, (seed, 0), kinds=("default", "once"))
        for row in rows.itertuples():
            ends = [now[row.method, row.metric, end] for end in ("low", "high")]
            said = (
                f"{row.metric}, {row.method}: leukonb computes other intervals than the published record's; "
            )
            np.testing.assert_allclose(ends, [row.low, row.high], atol=1e-6, err_msg=said + "run it again")


def claims_record():
    """The published record of the tests' false claims."""
    return next(path for path in RECORDS if path.parts[-2] == "simulation")


def test_the_claims_that_pages_cite_are_those_of_the_published_record():
    assert digest_file(ROOT / "leukonb/evidence/claims.csv") == digest_file(claims_record() / "one-set.csv")
    table = claims.read_claims()
    assert list(table.columns) == claims.COLUMNS
    assert {(7, 4), (13, 15), (30, 12), (60, 41)} == set(zip(table.ALL, table.HEM))
    parameters = read_json(claims_record() / "run.json")["inputs"]["parameters"]
    assert parameters["worlds"] == 1000 and (table.worlds > 900).all()
    near = np.sqrt(table.claims * (1 - table.claims) / table.worlds)
    np.testing.assert_allclose(table.error, near, atol=2e-4)


def test_the_primary_test_keeps_its_level_where_its_assumption_holds():
    table = claims.read_claims()
    rows = table[(table.test == PRIMARY_TESTS[0]) & ~table.world.isin([claims.BETTER, "differ in spread"])]
    assert len(rows) == 64 and (rows.low < 0.05).all()
    wrong = table[(table.test == PRIMARY_TESTS[0]) & (table.world == "differ in spread")]
    assert (wrong.low > 0.05).all()  # so a page that names the primary test says what it assumes
