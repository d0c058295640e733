"""The pages of a judgement: names as they were typed, refusals before anything is written, every interval with how well it holds."""

import json
from html import unescape

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from leukonb import api
from leukonb.draw.sections import escape_text
from leukonb.evidence import multiclass, predictions
from leukonb.evidence.multiclass import ClassWorld, draw_class_world
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal, write_json, write_table
from leukonb.runs.notebook import find_experiment, read_code
from leukonb.verbs import evaluate, people

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


def classes(arms=("A", "B"), **facts):
    """A table of four classes."""
    return draw_class_world(ClassWorld(**{"subjects": 8, "cells": 8, **facts}), 1, arms)


def lose(table, cell="3"):
    """The table without one row of its second arm."""
    return table[~((table.arm == "B") & (table.cell.astype(str) == cell))]


def numbered(table, **column):
    """The table several times over, with other numbers in a column, and one row lost."""
    ((name, values),) = column.items()
    return pd.concat([table[table.arm == "A"].assign(**{name: v}) for v in values])[1:]


def parted():
    """Two arms whose splits are called otherwise, but for one."""
    arms, table = {"A": (0, 1), "B": (1, 2)}, world()
    return pd.concat([table[table.arm == a].assign(iteration=i) for a, k in arms.items() for i in k])


@pytest.mark.parametrize(
    "table, said",
    [
        (lambda: lose(world()), "theirs.csv, row 5: cell 3 of arm A was not scored by arm B"),
        (lambda: lose(world()).drop(columns="cell"), "the table has no column cell, and subject 1"),
        (lambda: numbered(world(), seed=(0, 1)), "cell 0 of arm A, seed 1 was not scored by arm A, seed 0"),
        (lambda: lose(classes()), "theirs.csv, row 5: cell 3 of arm A was not scored by arm B"),
        (lambda: classes().assign(split="train"), "theirs.csv: arm A has no test rows, only"),
        (lambda: numbered(classes(), iteration=(0, 1)), "theirs.csv has 2 iterations"),
        (parted, "theirs.csv: A and B share 1 iterations"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_file_and_row_before_anything_is_written(tmp_path, table, said):
    table().to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(Refusal) as refused:
        api.evaluate(tmp_path / "theirs.csv", tmp_path / "out")
    assert said in str(refused.value) and not (tmp_path / "out").exists()


def test_a_run_that_is_refused_late_is_taken_back_whole(tmp_path):
    run = evaluate.plan_judgement(world(), tmp_path / "runs", resamples=100)
    other = tmp_path / "runs/evaluate/judge/other"
    (kept,) = (tmp_path / "runs/_tables").iterdir()
    error = {"output_type": "error", "ename": "KeyError", "evalue": "no", "traceback": []}
    for folder in (run.folder, other):
        write_json(folder / "run.json", run.manifest)
    write_json(run.notebook, {"cells": [{"cell_type": "code", "outputs": [error]}]})
    assert not evaluate.was_refused(run)
    write_json(run.notebook, {"cells": [{"cell_type": "code", "outputs": [{**error, "ename": "Refusal"}]}]})
    assert evaluate.was_refused(run)
    evaluate.take_back(run)
    assert not run.folder.exists() and other.is_dir() and kept.is_file()
    other.rename(run.folder)
    evaluate.take_back(run)
    assert not (tmp_path / "runs").exists()


def test_two_tables_that_ended_in_tracebacks_are_refused_in_one_line():
    doubled = pd.DataFrame([["c1", "7", "8"]], columns=["cell", "subject", "subject"])
    with pytest.raises(Refusal, match="row 1: the header has the column 'subject' 2 times"):
        people.read_people(doubled)
    with pytest.raises(Refusal, match="a score for each of 4 classes, and a study is planned for two"):
        api.plan(classes(), half_width=0.1)


def test_a_cell_that_the_second_table_has_only_by_its_base_name_is_refused():
    table = world().query("arm == 'A'").reset_index(drop=True)
    listed = table[["cell", "subject"]].assign(cell="a/" + table.cell + ".png")
    bare = table.drop(columns=["subject", "identity"]).assign(cell=listed.cell)
    assert evaluate.read_judged(bare, subjects=listed)[0].subject.tolist() == table.subject.tolist()
    both = pd.concat([bare, bare[:1].assign(cell="b/0.png")], ignore_index=True)
    with pytest.raises(Refusal, match="row .*: cell b/0.png is not in .* could be a/0.png, as could a/0.png"):
        evaluate.read_judged(both, subjects=listed)
