"""`leukonb evaluate`: the published system's figures, anyone's table, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import leukonb

from leukonb.evidence.worlds import OneSetWorld, draw_one_set

pytestmark = pytest.mark.usefixtures("front_only")


def made(seed=1, **world):
    """A table as others write it: subject, label, score."""
    rows = draw_one_set(OneSetWorld(ALL=6, HEM=6, cells=15, **world), seed)
    return rows[rows.arm == "a"][["subject", "label", "score"]].reset_index(drop=True)


def judged(tmp_path, table, *words, call=leukonb):
    table.to_csv(tmp_path / "theirs.csv", index=False)
    ran = call(
        "evaluate",
        tmp_path / "theirs.csv",
        "--out",
        tmp_path / "out",
        "--resamples",
        200,
        *words,
        cwd=tmp_path,
    )
    return ran, tmp_path / "out"


def test_published_system(tmp_path, published):
    words = ("--method", "percentile")  # as the figures that it is held against were made
    ran = leukonb("evaluate", published.table, "--out", tmp_path / "out", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "out/evidence.json").read_text())
    for name, value in published.values.items():
        score, rough = found["scores"][name], found["naive"][name]
        assert round(score["value"], 4) == round(value, 4) and score["n_subjects"] == published.subjects
        ends, naive = [score["low"], score["high"]], [rough["low"], rough["high"]]
        np.testing.assert_allclose(ends, published.over_subjects[name], atol=published.within["subjects"])
        np.testing.assert_allclose(naive, published.over_cells[name], atol=published.within["cells"])
    rows = pd.read_csv(published.table)
    once = (rows.score < 0.5)[rows.label == "HEM"].groupby(rows.subject).mean().mean()
    assert found["once"]["specificity"]["value"] == pytest.approx(once)
    assert "auroc" not in found["scores"] and any("AUROC" in text for text in found["remarks"])
    page = (tmp_path / f"out/page/runs/evaluate/judge-{published.table.stem}.html").read_text()
    assert "withheld" in page and f"{published.values['accuracy']:.3f}" in page
    assert (tmp_path / "out/scores.csv").is_file() and not list(tmp_path.glob("_runs"))


def test_two_arms_with_validation_and_mapped_names(tmp_path):
    test, before = (
        draw_one_set(OneSetWorld(ALL=6, HEM=6, cells=15), 1),
        draw_one_set(OneSetWorld(ALL=12, HEM=12, cells=8), 2),
    )
    for column in ("cell", "subject", "identity"):
        before[column] = "v" + before[column]
    table = (
        pd.concat([test, before.assign(split="validation")])
        .rename(columns={"score": "p", "label": "truth"})
        .replace({"truth": {"ALL": "blast", "HEM": "normal"}})
    )
    ran, out = judged(
        tmp_path,
        table,
        "--map",
        "score=p",
        "--map",
        "label=truth",
        "--label",
        "blast=ALL",
        "--label",
        "normal=HEM",
        "--method",
        "bca",
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads((out / "evidence.json").read_text())
    assert set(found["arms"]) == {"a", "b"} and found["table"]["subjects"] == 12
    meant = "Its labels were taken as follows: blast for ALL, normal for HEM."
    assert found["table"]["reading"] == [
        "Its columns were taken as follows: truth for label, p for score.",
        meant,
    ]
    page = (out / "page/runs/evaluate/judge-theirs.html").read_text()
    assert meant in page and "the fewest, the median and the most cells of a subject" in page
    tests = {c["test"] for c in found["comparisons"]}
    assert {
        "bootstrap over identities",
        "studentised permutation of identities",
        "McNemar",
        "DeLong",
    } <= tests
    for row in found["comparisons"]:
        assert {"a", "b", "metric", "test", "difference", "low", "high", "statistic", "df", "p"} <= set(row)
    assert {"coverage.csv", "operating-points.csv", "calibration.csv"} <= {p.name for p in out.glob("*.csv")}


def test_a_process_refuses_in_one_line_too(tmp_path):
    ran, out = judged(tmp_path, made().drop(columns="subject"))
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1 and not out.exists(), ran.stderr


def test_many_splits(tmp_path):
    table = pd.concat(
        [draw_one_set(OneSetWorld(ALL=4, HEM=4, cells=10), i).assign(iteration=i) for i in range(5)]
    )
    ran, out = judged(tmp_path, table, "--train-subjects", 40)
    assert ran.returncode == 0, ran.stderr
    found = json.loads((out / "evidence.json").read_text())
    assert found["table"]["iterations"] == 5 and found["table"]["train_subjects"] == 40
    assert {"corrected resampled t", "naive paired t"} <= {c["test"] for c in found["comparisons"]}
    assert found["scores"]["auroc"]["low"] < found["scores"]["auroc"]["value"]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.drop(columns="subject"), "no column 'subject'"),
        (lambda t: t.assign(score=t.score.where(t.index != 5, 1.5)), "row 7: score is 1.5"),
        (lambda t: t.assign(score=t.score.where(t.index != 5)), "row 7: score is missing"),
        (lambda t: t.assign(label=t.label.where(t.index != 2, "AML")), "row 4: label is 'AML'"),
        (lambda t: t[t.label == "HEM"], "judged cells are HEM"),
        (lambda t: t[t.subject.isin(["1", "H7"])], "1 ALL and 1 HEM subjects"),
        (lambda t: t.assign(label=t.label.where(t.index != 0, "HEM")), "cells of both labels"),
        (lambda t: pd.concat([t.assign(cell=t.index), t[:1].assign(cell=0)]), "stands twice"),
    ],
)
def test_refused_in_one_line_with_nothing_written(tmp_path, change, said, at_once):
    ran, out = judged(tmp_path, change(made()), call=at_once)
    assert ran.returncode == 1 and said in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr
    assert not out.exists()
