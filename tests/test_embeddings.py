"""Tables of features that others have made: what is taken for what, and what is refused with its row."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import leukonb
from PIL import Image

from leukonb.data.measured import read_measured, write_measured
from leukonb.draw import look
from leukonb.files import Refusal
from leukonb.model.embeddings import form_measured, read_features
from leukonb.runs.record import find_runs
from leukonb.verbs.run import prepare_study


@pytest.fixture
def table():
    """Twelve cells of six people, four features."""
    people = [("1", "ALL"), ("01", "ALL"), ("2", "ALL"), ("H1", "HEM"), ("H2", "HEM"), ("NA", "HEM")]
    rows = [(f"{i}.png", s, label) for i, (s, label) in enumerate(people * 2)]
    numbers = np.random.default_rng(0).normal(size=(12, 4))
    return pd.DataFrame(rows, columns=["cell", "subject", "label"]).join(
        pd.DataFrame(numbers, columns=["f0", "f1", "f2", "f3"])
    )


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".xlsx", ".parquet"])
def test_a_table_is_the_same_from_every_kind_of_file(table, tmp_path, ending):
    path = tmp_path / f"features{ending}"
    {".xlsx": table.to_excel, ".parquet": table.to_parquet}.get(ending, table.to_csv)(path, index=False)
    read = read_features(path)
    assert sorted(read.cells.subject.unique()) == ["01", "1", "2", "H1", "H2", "NA"]
    np.testing.assert_allclose(read.embedding, table[["f0", "f1", "f2", "f3"]], rtol=1e-5)
    assert list(read.cells.cell) == list(table.cell) and not read.cues.shape[1]


def test_a_column_of_vectors_is_the_same_as_columns_of_numbers(table, tmp_path):
    packed = table[["cell", "subject", "label"]].assign(vector=list(table.filter(like="f").to_numpy()))
    packed.to_parquet(tmp_path / "packed.parquet")
    found = read_features(tmp_path / "packed.parquet").embedding
    np.testing.assert_array_equal(found, form_measured(table).embedding)


def test_features_are_kept_to_the_last_bit(table, tmp_path):
    made = form_measured(table, "x")
    kept = read_measured(write_measured(tmp_path / "kept.parquet", made, exact=True))
    np.testing.assert_array_equal(kept.embedding, made.embedding)
    pd.testing.assert_frame_equal(kept.cells, made.cells)


def test_folds_are_carried_and_other_columns_are_said(table):
    made = form_measured(table.assign(fold=[0, 1] * 6, age=40))
    assert list(made.cells.fold) == [0, 1] * 6 and made.embedding.shape == (12, 4)
    assert "Columns left out: age." in made.facts["reading"]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.drop(columns="subject"), "has no column 'subject'"),
        (lambda t: t.assign(label=["ALL", *["HEM"] * 11]), "row 2: subject 1 has cells of both labels"),
        (lambda t: t.assign(f2=[0.5] * 11 + [np.nan]), "row 13, column f2: 'nan'"),
        (lambda t: t.assign(f1=[*[0.5] * 4, np.inf, *[1.0] * 7]), "row 6, column f1: 'inf'"),
        (lambda t: t.drop(columns=["f0", "f1", "f2", "f3"]), "has no column of features"),
        (lambda t: t.assign(patient=t.subject, subject_id=t.subject).drop(columns="subject"), "may both be"),
        (lambda t: t.assign(cell="a"), "row 3: cell a stands twice"),
        (lambda t: t.assign(label="ALL"), "judged cells are ALL"),
        (lambda t: t.assign(fold=[0.5] * 12), "the fold 0.5 is no whole number"),
        (lambda t: t.assign(subject=[None, *t.subject[1:]]), "row 2"),
        (lambda t: t.iloc[:0], "no rows"),
        (
            lambda t: t.assign(label=["Blast", "blast "] * 6),
            "row 3, column label: the class 'blast ' differs",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_place(table, change, said):
    with pytest.raises(Refusal) as refused:
        form_measured(change(table), "scan.csv")
    assert said in str(refused.value) and "scan.csv" in str(refused.value) and "\n" not in str(refused.value)


TWO_LENGTHS = [[0.1, 0.2], [0.3, 0.4], [0.5], *[[0.6, 0.7]] * 9]


@pytest.mark.parametrize(
    "ending, change, said",
    [
        (".parquet", dict(vector=TWO_LENGTHS), ("row 4, column vector: a vector of 1", "measure them anew")),
        (".parquet", dict(label=["Blast", "blast "] * 6), ("row 3, column label", "by two names")),
        (".csv", dict(label=["Blast", "blast"] * 6), ("row 3, column label", "by two names")),
        (".csv", dict(label=["blast", *["Blast"] * 5, *["normal"] * 6]), ("row 3, column label", "(")),
    ],
)
def test_vectors_of_two_lengths_and_classes_that_collide_write_nothing(table, tmp_path, ending, change, said):
    base = table[["cell", "subject", "label"]] if "vector" in change else table
    path, out = tmp_path / f"scan{ending}", tmp_path / "runs"
    rows = base.assign(**change)
    rows.to_parquet(path) if ending == ".parquet" else rows.to_csv(path, index=False)
    with pytest.raises(Refusal) as refused:
        positive = "Blast" if "label" in change else None
        prepare_study("monte-carlo", out, features=path, positive=positive, smoke=True)
    line = str(refused.value)
    assert path.name in line and all(words in line for words in said) and "\n" not in line
    assert not out.exists()


@pytest.mark.parametrize("names, row", [(("Blast", "blast "), 3), (("normal", "Blast", "blast"), 4)])
def test_class_folders_and_label_columns_that_collide_write_nothing(tmp_path, names, row):
    for number, name in enumerate(names):
        (tmp_path / "set" / name).mkdir(parents=True)
        shade = np.full((40, 40, 3), 40 * number + 60, np.uint8)
        Image.fromarray(shade).save(tmp_path / "set" / name / f"P{number}_1.png")
    paths = [f"set/{name}/P{number}_1.png" for number, name in enumerate(names)]
    cells = pd.DataFrame({"path": paths, "label": names, "subject": paths})
    cells.to_csv(tmp_path / "cells.csv", index=False)
    for data, place in ((tmp_path / "set", "folder "), (tmp_path / "cells.csv", f"cells.csv, row {row}")):
        with pytest.raises(Refusal) as refused:
            prepare_study("shortcuts", tmp_path / "runs", data, subject_pattern=r"(P\d)_", positive="blast")
        line = str(refused.value)
        assert place in line and "only in capitals or blanks" in line and "\n" not in line, line
    assert not (tmp_path / "runs").exists()


def test_annotated_data_are_read_where_the_library_is_there(table, tmp_path):
    anndata = pytest.importorskip("anndata")
    features = table.filter(like="f").to_numpy(np.float32)
    obs = table[["cell", "subject", "label"]].set_index("cell")
    anndata.AnnData(features, obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(read_features(tmp_path / "cells.h5ad").embedding, features)


def test_annotated_data_without_the_library_name_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "anndata", None)
    (tmp_path / "cells.h5ad").write_bytes(b"")
    with pytest.raises(Refusal, match="pip install anndata"):
        read_features(tmp_path / "cells.h5ad")


def test_a_study_runs_on_anyone_s_features(table, tmp_path):
    rng = np.random.default_rng(1)
    people = [(f"p{i}", "blast" if i % 2 else "normal") for i in range(30)]
    rows = pd.DataFrame(
        [(f"{s}_{k}", s, c) for s, c in people for k in range(4)],
        columns=["cell", "Metadata_Subject", "Metadata_Label"],
    )
    seen = rng.normal(size=(120, 6)) + (rows.Metadata_Label == "blast").to_numpy()[:, None]
    rows.join(pd.DataFrame(seen, columns=[f"f{i}" for i in range(6)])).to_parquet(tmp_path / "scan.parquet")
    command = ["run", "monte-carlo", "--smoke", "--threads", 1, "--out", tmp_path / "runs"]
    command += ["--features", tmp_path / "scan.parquet", "--split", "0.6/0.2/0.2"]
    asked = leukonb(*command)
    assert asked.returncode == 1 and "--positive" in asked.stderr and not list(tmp_path.glob("runs/mon*"))
    ran = leukonb(*command, "--positive", "blast")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (run,) = find_runs(tmp_path / "runs", "monte-carlo")
    given = run.manifest["inputs"]["parameters"]
    assert run.done and not run.manifest["synthetic"] and (given["train"], given["test"]) == (0.6, 0.2)
    assert "30 subjects" in ran.stdout and "--positive blast" in run.manifest["command"]
    assert run.manifest["inputs"]["classes"] == {"ALL": "blast", "HEM": "normal"}
    words = find_class_words(run)
    assert not words & {"ALL", "HEM"} and {"blast", "normal"} <= words


def find_class_words(run):
    """Which names of classes a reader meets on an executed page: in its prose, tables, sentences and figures."""
    seen = set()
    for cell in nbformat.read(run.notebook, 4).cells:
        shown = [output.get("data", {}) for output in cell.get("outputs", [])]
        texts = [cell.source] if cell.cell_type == "markdown" else [json.dumps(data) for data in shown]
        seen |= {word for text in texts for word in re.findall(r"\b(ALL|HEM|blast|normal)\b", text)}
    return seen


def test_figures_tables_and_sentences_speak_of_the_cohort_s_own_classes(tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("IPython.display.publish_display_data", shown.append)
    (tmp_path / "run.json").write_text(
        json.dumps({"inputs": {"classes": {"ALL": "blast", "HEM": "<normal>"}}})
    )
    rows = pd.DataFrame({"label": ["ALL", "HEM"], "ALL": [1, 2], "HEM": [3, 4]})
    look.show_table(rows, "counts", "Cells called ALL")
    look.show_sentences(["2 ALL and 3 HEM people"])
    fig = look.blank_figure().update_xaxes(title="share of ALL")
    look.show(fig.add_bar(x=["ALL", "HEM"], y=[1, 2], name="HEM"), "bars")
    text = json.dumps(shown)
    assert (
        not re.search(r"\b(ALL|HEM)\b", text) and "blast" in text and "<th scope='col'><normal>" not in text
    )
    assert list(pd.read_csv("counts.csv").columns) == list(rows)
    assert "blast" in Path("figures/bars.json").read_text()


@pytest.mark.parametrize(
    "words, said",
    [
        (["quick", "--features", "{table}"], "these need images"),
        (["monte-carlo", "--features", "{table}", "--data", "{table}"], "two cohorts"),
        (["monte-carlo", "--positive", "x"], "--positive goes with --features"),
        (["monte-carlo", "--split", "0.9/0.2/0.2"], "write the shares of training, validation and test"),
        (["monte-carlo", "--features", "nowhere.csv"], "nowhere.csv is not a file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(table, tmp_path, words, said):
    table.to_csv(tmp_path / "table.csv", index=False)
    words = [word.format(table=tmp_path / "table.csv") for word in words]
    ran = leukonb("run", *words, "--smoke", "--out", tmp_path / "runs")
    assert ran.returncode == 1 and said in ran.stderr and len(ran.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("runs/*/*/*/run.json"))
