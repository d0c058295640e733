"""The pages of a judgement: names as they were typed, refusals before anything is written, every interval with how well it holds."""

import json
from html import unescape

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from leukonb.draw.sections import escape_text
from leukonb.evidence import multiclass, predictions
from leukonb.evidence.multiclass import ClassWorld, draw_class_world
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import write_table
from leukonb.runs.notebook import find_experiment, read_code

HOSTILE = "<img src=x onerror=alert({})> *b* %{{x}} $a$ & <b>"


def world(arms=("A", "B"), seed=3, **facts):
    """Two arms of few people."""
    table = draw_one_set(OneSetWorld(**{"ALL": 4, "HEM": 5, "cells": 6, **facts}), seed)
    return table.assign(arm=table.arm.map(dict(zip("ab", arms))))


def keep(table, folder, extra=()):
    """A checked table as the command keeps it for a run."""
    if multiclass.find_classes(table, None):
        return write_table(folder / "kept.parquet", multiclass.check_classes(table))
    checked = predictions.check_table(table, keep=list(extra))
    return predictions.write_predictions(folder / "kept.parquet", checked, list(extra))


def show_page(name, table, folder, monkeypatch, **parameters):
    """What the notebook of an experiment shows of a kept table, run here and now: the data of its outputs."""
    given = {"table": str(table), "resamples": 100, "permutations": 100, **parameters}
    monkeypatch.chdir(folder)
    InteractiveShell.instance()  # which captures what is shown
    space = {}
    with capture_output() as shown:
        for source, tags in read_code(find_experiment(name)):
            exec(source, space)
            space |= {k: v for k, v in given.items() if k in space} if "parameters" in tags else {}
    return [output.data for output in shown.outputs]


def texts_of(page):
    """The texts of every figure of a page, each as Plotly gets it."""

    def strings(part):
        if isinstance(part, str):
            yield part
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from strings(inner)

    figures = [
        data["application/vnd.plotly.v1+json"] for data in page if "application/vnd.plotly.v1+json" in data
    ]
    return [text for figure in figures for text in strings(json.loads(json.dumps(figure)))]


def sentences_of(page):
    """All that a page shows as plain text."""
    return "\n".join(data.get("text/plain", "") for data in page)


def check_names(page, names):
    """No name is live anywhere, and each is read as it was typed."""
    texts = texts_of(page)
    for data in page:
        assert "<img" not in data.get("text/html", "") and "<img" not in data.get("text/markdown", "")
    assert not [text for text in texts if "<img" in text or "$a$" in text or "%{x} " in text]
    for name in names:
        assert any(name in unescape(text) for text in texts), name


def test_no_name_of_an_arm_a_subject_or_a_site_is_live_on_a_page(tmp_path, monkeypatch):
    arms = [HOSTILE.format(i) for i in (1, 2)]
    table = world(arms)
    table["subject"] = table.identity = HOSTILE.format(3) + table.subject
    people = table.drop_duplicates("identity")
    place = people.groupby("label").cumcount() % 2
    sites = dict(zip(people.identity, place.map({0: HOSTILE.format(4), 1: HOSTILE.format(5)})))
    table["site"] = table.identity.map(sites)
    kept = keep(table, tmp_path, ["site"])
    page = show_page("judge", kept, tmp_path, monkeypatch, group="site", prevalence=0.2)
    check_names(page, [*arms, table.subject[0]])
    marked = "".join(data.get("text/markdown", "") for data in page)
    assert escape_text(arms[0]) in marked and "*b*" not in marked


def test_no_name_of_a_class_is_live_on_a_page(tmp_path, monkeypatch):
    table = draw_class_world(ClassWorld(subjects=8, cells=8), 1, ("A", HOSTILE.format(1)))
    first = next(c for c in table if c.startswith("score_"))
    name = HOSTILE.format(6)
    table = table.rename(columns={first: f"score_{name}"})
    table["label"] = table.label.replace(first.removeprefix("score_"), name)
    page = show_page("classes", keep(table, tmp_path), tmp_path, monkeypatch)
    check_names(page, [HOSTILE.format(1), name])
