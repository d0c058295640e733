"""Any table is read as it was meant or refused with the row that does not fit; what it cannot say itself is asked for."""

import gzip
import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, sources
from hypothesis import given, settings, strategies as st

from leukonb.data import release
from leukonb.evidence import judgement, metrics, predictions
from leukonb.evidence.tables import read_any_table
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal, canonical, digest, digest_table
from leukonb.verbs.evaluate import judge_predictions, plan_judgement, read_judged

CASES = SHARED / "cases/evaluate"
QUICK = {"resamples": 100, "permutations": 100}


def one_arm(seed=3, **world):
    """Predictions of one arm, with names of cells; healthy subjects are called as in C-NMC."""
    rows = draw_one_set(OneSetWorld(**{"ALL": 7, "HEM": 7, "cells": 15, **world}), seed)
    return rows[rows.arm == "a"][["cell", "subject", "label", "score"]].reset_index(drop=True)


def typed():
    """A small table as a spreadsheet holds it."""
    rows = {"subject": ["001", "1", "NA", "1E2"], "label": ["ALL", "ALL", "HEM", "HEM"]}
    return pd.DataFrame({**rows, "score": [0.9, 0.75, 0.1, 0.25]})


def with_decimal_commas(table):
    return table.assign(score=table.score.astype(str).str.replace(".", ",", regex=False))


def as_csv(table, encoding="utf-8", **how):
    return table.to_csv(index=False, **how).encode(encoding)


def as_excel(table):
    buffer = io.BytesIO()
    table.to_excel(buffer, index=False)
    return buffer.getvalue()


def as_parquet(table):
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


FILES = {
    "plain.csv": as_csv,
    "semicolons.csv": lambda t: as_csv(t, sep=";"),
    "european.csv": lambda t: as_csv(with_decimal_commas(t), sep=";", encoding="utf-8-sig"),
    "quoted commas.csv": lambda t: as_csv(with_decimal_commas(t)),
    "tabs.tsv": lambda t: as_csv(t, sep="\t"),
    "tabs, badly named.csv": lambda t: as_csv(t, sep="\t"),
    "bars.txt": lambda t: as_csv(t, sep="|"),
    "mark.csv": lambda t: as_csv(t, encoding="utf-8-sig"),
    "wide.csv": lambda t: as_csv(t, encoding="utf-16"),
    "wide without a mark.csv": lambda t: as_csv(t, encoding="utf-16-le"),
    "windows.csv": lambda t: as_csv(t.assign(note="Müller"), encoding="cp1252"),
    "line ends.csv": lambda t: as_csv(t, lineterminator="\r\n"),
    "old line ends.csv": lambda t: as_csv(t, lineterminator="\r"),
    "said.csv": lambda t: b"sep=;\r\n" + as_csv(t, sep=";"),
    "index.csv": lambda t: t.to_csv().encode(),
    "from R.txt": lambda t: t.set_axis(range(1, 5)).to_csv(index_label=False, sep=" ", quoting=2).encode(),
    "trailing.csv": lambda t: b"subject,label,score\n" + as_csv(t.assign(x=""), header=False),
    "blank lines.csv": lambda t: as_csv(t).replace(b"\n", b"\n\n,,\n"),
    "table.csv.gz": lambda t: gzip.compress(as_csv(t)),
    "packed without saying.csv": lambda t: gzip.compress(as_csv(t, sep=";")),
    "book.xlsx": as_excel,
    "book, badly named.csv": as_excel,
    "TABLE.PARQUET": as_parquet,
    "indexed.parquet": lambda t: as_parquet(t.set_index("subject")),
    "capitals.csv": lambda t: as_csv(t.rename(columns={"score": " SCORE", "label": "Label "})),
    "true.csv": lambda t: as_csv(t.assign(label=t.label == "ALL")),
    "numbers.csv": lambda t: as_csv(t.assign(label=(t.label == "ALL") * 1.0)),
    "true.xlsx": lambda t: as_excel(t.assign(label=t.label == "ALL")),
    "split.csv": lambda t: as_csv(t.assign(split="Test")),
    "blanks.csv": lambda t: as_csv(
        t.assign(subject=" " + t.subject + "  ", label=" all ").assign(label=t.label)
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_any_file_gives_the_same_table(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name](typed()))
    read = predictions.read_predictions(tmp_path / name)
    pd.testing.assert_frame_equal(read, predictions.check_table(typed()))
    assert read.subject.tolist() == ["001", "1", "NA", "1E2"]


def test_what_is_piped_in_is_a_table_too(monkeypatch):
    for name in ("semicolons.csv", "table.csv.gz", "book.xlsx", "TABLE.PARQUET"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FILES[name](typed()))))
        assert predictions.read_predictions("-").equals(predictions.check_table(typed()))
    percent = as_csv(times(100)(typed()), sep=";")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(percent)))
    with pytest.raises(Refusal, match="^standard input, row 2: score is 90.0; .* --scale percent"):
        read_judged(Path("-"))


NAMES = [
    "001",
    "1",
    "1.0",
    "1E2",
    "NA",
    "nan",
    "None",
    "True",
    "-0",
    "é",
    "中",
    'a"b',
    "a,b",
    "a;b",
    "a\tb",
    "x y",
    "2-1",
]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=12),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-16"]),
)
def test_names_stay_as_they_are_written(tmp_path_factory, names, separator, encoding):
    table = pd.DataFrame({"subject": names, "note": "x"})
    path = tmp_path_factory.mktemp("names") / "table"
    for data in (as_csv(table, encoding, sep=separator), as_parquet(table)):
        path.write_bytes(data)
        assert read_any_table(path).subject.tolist() == names


def test_names_stay_as_they_are_written_in_a_workbook(tmp_path):
    (tmp_path / "names.xlsx").write_bytes(
        as_excel(pd.DataFrame({"subject": [*NAMES, 57, 57.0, 0.5], "x": 1}))
    )
    read = predictions.as_text(read_any_table(tmp_path / "names.xlsx").subject)
    assert read.tolist() == [*NAMES, "57", "57", "0.5"]


def test_numbers_of_a_typed_file_are_names_without_a_fraction(tmp_path):
    rows = typed().assign(subject=[57.0, 57.0, 7.0, 7.0], site=[1.0, 2.0, 1.0, np.nan])
    (tmp_path / "t.parquet").write_bytes(as_parquet(rows))
    read = predictions.read_predictions(tmp_path / "t.parquet", keep=("site",))
    assert read.subject.tolist() == ["57", "57", "7", "7"] and read.site.tolist() == ["1", "2", "1", ""]


def at(row, **values):
    """A change of one row of the file, counted with its header."""

    def change(table):
        table = table.astype(object)
        for column, value in values.items():
            table.loc[row - 2, column] = value
        return table

    return change


def times(factor):
    return lambda table: table.assign(score=(table.score * factor).round(6))


def logits(table):
    return table.assign(score=np.log(table.score / (1 - table.score)))


@pytest.mark.parametrize(
    "change, said",
    [
        (at(4, score=""), "row 4: score is missing; a probability of ALL from 0 to 1"),
        (at(4, score="n/a"), "row 4: score is 'n/a'"),
        (at(5, score=1.0000001), "row 5: score is 1.0000001; a probability of ALL from 0 to 1 is wanted$"),
        (at(3, score="0,9"), "row 3: score is '0,9'; .* other scores have a decimal point"),
        (at(3, score="inf"), "row 3: score is 'inf'"),
        (times(100), "row 2: score is [0-9.]+; .* look like percentages: if they are, say --scale percent"),
        (lambda t: times(100)(t).astype({"score": str}).assign(score=lambda t: t.score + " %"), "--scale percent"),
        (logits, "row [0-9]+: score is -?[0-9.]+; .* look like log-odds: if they are, say --scale logit"),
        (at(3, label="AML"), "row 3: label is 'AML'; ALL or HEM .1 or 0. is wanted"),
        (lambda t: t.assign(label=t.label.map({"ALL": "cancer", "HEM": "normal"})), "which of cancer and normal is ALL .--positive NAME"),
        (lambda t: t.assign(label=t.label.map({"ALL": 1, "HEM": -1})), "which of 1 and -1 is ALL"),
        (at(4, subject=""), "row 4: subject is empty"),
        (lambda t: t.assign(split=["dev", *["test"] * (len(t) - 1)]), "row 2: split is 'dev'; train, validation or test"),
        (lambda t: t.assign(seed=["", *["0"] * (len(t) - 1)]), "row 2: seed is missing; a whole number"),
        (lambda t: t.rename(columns={"score": "p"}), "no column 'score'; it has cell, subject, label, p; map one to it with score=NAME"),
        (lambda t: t.assign(Score=0.5), "row 1: 'score' and 'Score' may both be the column 'score'"),
        (lambda t: t[:0], "has no rows"),
        (lambda t: pd.concat([t, t.tail(1).assign(cell="TOTAL", subject="TOTAL", label="")]), "label is missing"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_row_and_shows_the_value(tmp_path, change, said):
    for name, write in (("t.csv", as_csv), ("t.xlsx", as_excel)):
        (tmp_path / name).write_bytes(write(change(one_arm())))
        with pytest.raises(Refusal, match=f"^{name}.*{said}") as refusal:
            read_judged(tmp_path / name)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "data, said",
    [
        (b"subject,label,score\n57,ALL,0,93\n57,ALL,0,91\n", "row 2: '57,ALL,0,93' has 4 fields, the header 3; a decimal comma"),
        (b"subject,label,score\n57,ALL,0.9\n\nH1,HEM\n", "row 4: 'H1,HEM' has 2 fields, the header 3; it may be cut off"),
        (b"subject,label,score\n57,ALL,0.9\n\n\nH1,HEM,1.5\n", "row 5: score is 1.5"),
        (b'subject,label,score\n"57,ALL,0.9\n' + b"57,ALL,0.9\n" * 20000, "row [0-9]+: .*quote that is not closed"),
        (b"", "is empty; a table has a header"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "neither text nor Excel nor Parquet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old or a protected Excel file"),
        (b"PAR1" + bytes(50), "damaged"),
        (gzip.compress(b"subject,label,score\n" * 99)[:-9], "damaged"),
        (b"PK\3\4" + bytes(90), "damaged"),
    ],
    ids=["commas", "cut", "blank lines", "quote", "empty", "image", "old Excel", "Parquet", "gzip", "archive"],
)  # fmt: skip
def test_a_file_that_is_damaged_or_has_slipped_is_refused(tmp_path, data, said):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(Refusal, match=f"^t.csv.*{said}") as refusal:
        predictions.read_predictions(tmp_path / "t.csv")
    assert "\n" not in str(refusal.value)


def test_a_workbook_that_says_another_version_of_its_archive_is_refused(tmp_path):
    data = bytearray(as_excel(typed()))
    data[data.index(b"PK\1\2") + 6] = 200
    (tmp_path / "t.xlsx").write_bytes(data)
    with pytest.raises(
        Refusal, match="t.xlsx is damaged or is no table .zip file version 20.0.; write it anew"
    ):
        read_any_table(tmp_path / "t.xlsx")


def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path):
    draw, path = random.Random(1), tmp_path / "t"
    for name in ("wide.csv", "table.csv.gz", "book.xlsx", "TABLE.PARQUET"):
        for _ in range(25):
            data = bytearray(FILES[name](pd.concat([typed()] * 5)))
            for _ in range(draw.choice([1, 1, 5])):
                data[draw.randrange(len(data))] = draw.randrange(256)
            path.write_bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])
            try:
                read_any_table(path)
            except Refusal as refusal:
                assert "\n" not in str(refusal)


def test_workbooks_of_several_sheets_and_dates_are_refused(tmp_path):
    with pd.ExcelWriter(tmp_path / "two.xlsx") as book:
        typed().to_excel(book, sheet_name="cells", index=False)
        typed().to_excel(book, sheet_name="old", index=False)
    with pytest.raises(Refusal, match="two.xlsx has 2 sheets: cells, old; save the one to judge"):
        read_any_table(tmp_path / "two.xlsx")
    dated = at(3, subject=pd.Timestamp("2024-02-01").to_pydatetime())(typed())
    (tmp_path / "dates.xlsx").write_bytes(as_excel(dated))
    with pytest.raises(
        Refusal, match="dates.xlsx, row 3: subject is '2024-02-01.*a spreadsheet may have made"
    ):
        predictions.read_predictions(tmp_path / "dates.xlsx")
    with pd.ExcelWriter(tmp_path / "low.xlsx") as book:
        at(3, score=7)(typed()).to_excel(book, startrow=4, startcol=2, index=False)
    with pytest.raises(Refusal, match="low.xlsx, row 7: score is 7"):
        predictions.read_predictions(tmp_path / "low.xlsx")


@pytest.mark.parametrize(
    "change, options",
    [
        (times(100), {"scale": "percent"}),
        (lambda t: t.assign(score=(100 * t.score).round(6).astype(str) + "%"), {"scale": "percent"}),
        (lambda t: with_decimal_commas(times(100)(t)), {"scale": "percent"}),
        (logits, {"scale": "logit"}),
        (lambda t: t.assign(score=1 - t.score), {"invert": True}),
        (lambda t: logits(t.assign(score=1 - t.score)), {"scale": "logit", "invert": True}),
        (lambda t: t.assign(label=(t.label == "HEM") * 1), {"positive": "0"}),
        (lambda t: t.assign(label=t.label.map({"ALL": "Krebs", "HEM": "gesund"})), {"positive": "krebs"}),
        (lambda t: t.assign(label=t.label.map({"ALL": "blast", "HEM": "no"})), {"labels": {"blast": "ALL", "no": "HEM"}}),
    ],
)  # fmt: skip
def test_what_the_table_does_not_say_is_said_by_an_option(tmp_path, change, options):
    (tmp_path / "t.csv").write_bytes(as_csv(change(one_arm())))
    read, plain = (
        read_judged(tmp_path / "t.csv", **options)[0],
        predictions.check_table(one_arm()),
    )
    pd.testing.assert_frame_equal(read, plain, atol=1e-7, check_exact=False)
    assert read.attrs["reading"] and "reading" in plain.attrs


@pytest.mark.parametrize(
    "change, options, said",
    [
        (lambda t: t, {"scale": "percent"}, "all scores lie from 0 to 1, as probabilities do; leave out"),
        (lambda t: t, {"scale": "logit"}, "all scores lie from 0 to 1"),
        (times(300), {"scale": "percent"}, "a percentage from 0 to 100 is wanted"),
        (lambda t: t, {"scale": "odds"}, "no scale 'odds' of scores; say one of probability, percent, logit"),
        (lambda t: t, {"positive": "blast"}, "'blast' cannot be the positive one of two labels; the table has ALL, HEM"),
        (lambda t: t, {"positive": "ALL", "labels": {"ALL": "ALL"}}, "not both"),
        (at(2, label="AML"), {"positive": "ALL"}, "cannot be the positive one of two labels; the table has AML, ALL, HEM"),
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit_is_refused(change, options, said):
    with pytest.raises(Refusal, match=said):
        read_judged(change(one_arm()), **options)


def test_scores_that_tie_as_probabilities_are_said():
    table = one_arm().assign(score=lambda t: np.linspace(-60, 60, len(t)))
    said = read_judged(table, scale="logit")[0].attrs["reading"]
    assert any("too near to 0 or 1 to be told apart" in text for text in said)
    assert not any(
        "told apart" in text for text in read_judged(logits(one_arm()), scale="logit")[0].attrs["reading"]
    )


def test_columns_that_are_asked_for_are_kept_as_text_and_scores_of_classes_as_numbers(tmp_path):
    sites = typed().assign(site=["01", "1", "1", "01"], score_B=["0,5", "1", "0", "0,25"])
    (tmp_path / "t.csv").write_bytes(as_csv(sites, sep=";"))
    read, _ = read_judged(tmp_path / "t.csv", keep=("site", "score_B"))
    assert read.site.tolist() == ["01", "1", "1", "01"] and read.score_B.tolist() == [0.5, 1, 0, 0.25]
    assert predictions.merge_views(read.assign(view=0)).site.tolist() == read.site.tolist()
    run = plan_judgement(tmp_path / "t.csv", tmp_path / "runs", reading={"keep": ("site",)})
    (kept,) = (tmp_path / "runs/_tables").glob("*.parquet")
    assert pd.read_parquet(kept).site.tolist() == read.site.tolist()
    other = plan_judgement(sites.assign(site="1"), tmp_path / "runs", reading={"keep": ("site",)})
    assert run.manifest["inputs"]["data"] != other.manifest["inputs"]["data"]
    with pytest.raises(Refusal, match="no column 'ward' to keep; it has subject"):
        read_judged(tmp_path / "t.csv", keep=("ward",))


def test_a_table_read_in_another_way_is_another_run(tmp_path):
    table = one_arm()
    runs = [
        plan_judgement(table, tmp_path / "runs", reading=reading) for reading in ({}, {"invert": True}, {})
    ]
    numbers = table.assign(label=(table.label == "ALL").astype(int))
    turned = plan_judgement(numbers, tmp_path / "runs", reading={"positive": "0"})
    keys = [*(run.key for run in runs), turned.key]
    assert len(set(keys)) == 3 and keys[0] == keys[2]
    assert runs[0].manifest["inputs"]["parameters"]["reading"] == []
    (said,) = runs[1].manifest["inputs"]["parameters"]["reading"]
    assert said == "Its scores were probabilities of HEM; 1 less the score is used."


# The tables of shared/cases, and made-up ones with the same trouble.


def halves(table, change):
    """A table with every second subject's name changed."""
    odd = np.arange(len(table)) % 2 == 1
    return table.assign(subject=table.subject.where(~odd, table.subject.map(change)))


def two_arms(table):
    other = table.assign(score=(table.score * 0.8 + 0.1).round(6), arm="b")
    return pd.concat([table.assign(arm="a"), other], ignore_index=True)


def doubled_header(table):
    return table.assign(other=1 - table.score).set_axis([*table.columns, "score"], axis=1)


def disagreeing(table):
    table = two_arms(table)
    swap = {"1": "2", "2": "1"}
    return table.assign(subject=table.subject.where(table.arm == "a", table.subject.replace(swap)))


TROUBLE = {
    "15_label_keras_0ALL_1HEM_scorePHEM": lambda t: t.assign(label=(t.label == "HEM") * 1, score=1 - t.score),
    "20_score_PHEM": lambda t: t.assign(score=1 - t.score),
    "31_dup_header_PHEM_first": doubled_header,
    "42_subject_mixed_12_and_12.0": lambda t: halves(t.assign(subject=t.subject.str.strip("H")), "{}.0".format),
    "43_subject_mixed_7_and_007": lambda t: halves(t.assign(subject=t.subject.str.strip("H")), lambda s: s.zfill(3)),
    "44_subject_case_space": lambda t: halves(t, lambda s: f"{s.lower()} "),
    "4a_subject_is_cell": lambda t: t.assign(subject=t.cell),
    "50_two_arms_no_cell": lambda t: two_arms(t).drop(columns="cell"),
    "51_two_arms_no_cell_shuffled": lambda t: two_arms(t).drop(columns="cell").sort_values(["arm", "score"]),
    "56_arms_disagree_on_subject": disagreeing,
    "60_five_seeds": lambda t: pd.concat([t.assign(score=t.score**k, seed=k) for k in range(1, 6)]),
    "63_all_train": lambda t: t.assign(split="train"),
    "64_train_validation_no_test": lambda t: t.assign(split=np.where(t.subject.isin(["1", "H8"]), "validation", "train")),
    "70_arm_b_calls": lambda t: two_arms(t).assign(score=lambda t: t.score.where(t.arm == "a", (t.score > 0.5) * 1.0)),
    "73_perfect": lambda t: t.assign(score=np.where(t.label == "ALL", 0.9, 0.1)),
}  # fmt: skip


@pytest.fixture(scope="module", params=sources(CASES))
def trouble(request, tmp_path_factory):
    """Where the table of a case lies: {name}.csv."""
    if request.param == "real":
        return CASES / "tables"
    folder = tmp_path_factory.mktemp("tables")
    for name, change in TROUBLE.items():
        change(one_arm()).to_csv(folder / f"{name}.csv", index=False)
    return folder


def remarks_on(path, **options):
    read, _ = read_judged(path, **options)
    return metrics.find_caveats(read), metrics.compute_scores(read)["auroc"], read


def test_the_score_of_the_other_class_is_said_and_mended(trouble):
    said, area, _ = remarks_on(trouble / "20_score_PHEM.csv")
    assert area < 0.5 and "If the score is the probability of HEM, say --invert" in said[0]
    said, mended, _ = remarks_on(trouble / "20_score_PHEM.csv", invert=True)
    assert mended == pytest.approx(1 - area) and not any("--invert" in text for text in said)


def test_classes_in_the_order_of_their_names_are_said_and_mended(trouble):
    path = trouble / "15_label_keras_0ALL_1HEM_scorePHEM.csv"
    said, area, exchanged = remarks_on(path)
    assert "the classes are exchanged" in said[0] and "--positive 0" in said[0] and area > 0.5
    said, mended, right = remarks_on(path, positive="0", invert=True)
    assert not any("--positive" in text for text in said) and mended == pytest.approx(area)
    assert (right.label != exchanged.label).all()


def test_some_healthy_names_among_the_leukemic_are_said():
    table = one_arm()
    wrong = table.assign(label=table.label.where(table.subject != "H9", "ALL"))
    assert (
        "Of the subjects labelled ALL 1 have names" in metrics.find_caveats(predictions.check_table(wrong))[0]
    )


@pytest.mark.parametrize(
    "name", ["42_subject_mixed_12_and_12.0", "43_subject_mixed_7_and_007", "44_subject_case_space"]
)
def test_subjects_written_in_two_ways_are_said_with_both_counts(trouble, name):
    said, _, read = remarks_on(trouble / f"{name}.csv")
    written, meant = read.subject.nunique(), 28 if trouble.is_relative_to(SHARED) else 14
    (text,) = [text for text in said if "differ only in zeros" in text]
    assert written > meant and f"counted as {written}; if those are one each, they are {meant}," in text
    one_each = read.assign(identity=read.subject.str.lower().str.removesuffix(".0").str.lstrip("0"))
    assert not any("differ only" in text for text in metrics.find_caveats(one_each))


def test_names_of_cells_in_the_place_of_subjects_are_said(trouble):
    said, _, read = remarks_on(trouble / "4a_subject_is_cell.csv")
    (text,) = [text for text in said if "a single cell" in text]
    assert (
        f"Each of the {read.subject.nunique():,} subjects" in text
        and "--map cell=subject --subjects FILE" in text
    )
    counts = predictions.count_cells(read)
    assert (counts[["fewest", "median", "most"]] == 1).all(axis=None)


@pytest.mark.parametrize(
    "name, said",
    [
        (
            "31_dup_header_PHEM_first",
            "row 1: the header has the column 'score' 2 times; keep the one that is meant",
        ),
        (
            "56_arms_disagree_on_subject",
            r"row \d+: cell .* is of subject .* here .arm b. and of subject .* above",
        ),
        ("63_all_train", r"arm model has no test rows, only \d+ train; mark"),
        ("64_train_validation_no_test", r"arm model has no test rows, only \d+ \w+, \d+ \w+; mark"),
    ],
)
def test_a_table_that_cannot_be_judged_is_refused_before_anything_is_computed(trouble, name, said):
    with pytest.raises(Refusal, match=f"^{name}.csv.*{said}"):
        read_judged(trouble / f"{name}.csv")


def test_tables_that_need_care_are_judged_with_it(trouble):
    judged = {
        name[:2]: judgement.judge_table(read_judged(trouble / f"{name}.csv")[0], **QUICK)
        for name in TROUBLE
        if name[:2] in ("50", "51", "60", "70", "73")
    }
    pd.testing.assert_frame_equal(judged["50"].comparisons, judged["51"].comparisons)
    assert any("seeds" in text for text in judged["60"].remarks["model"])
    assert "auroc" not in set(judged["70"].comparisons.metric)
    perfect = judged["73"].scores.query("metric == 'accuracy'").iloc[0]
    assert perfect.value == perfect.high == 1 and 0.5 < perfect.low < 1


SMALL = {
    "scores": lambda t: as_csv(t),
    "inverted": lambda t: as_csv(t.assign(score=1 - t.score)),
    "semicolon": lambda t: as_csv(t, sep=";"),
    "leading-zeros": lambda t: as_csv(t.assign(subject=t.subject.factorize()[0]).assign(patient=lambda t: t.subject.map("{:03d}".format)).drop(columns="subject")),
}  # fmt: skip


@pytest.mark.parametrize("source", sources(CASES))
@pytest.mark.parametrize("name", SMALL)
def test_the_small_cases_are_read_as_they_were_meant(tmp_path, source, name):
    path = CASES / f"{name}.csv"
    if source == "made up":
        path = tmp_path / f"{name}.csv"
        path.write_bytes(SMALL[name](one_arm(ALL=12, HEM=12)))
    said, area, read = remarks_on(path, columns={"subject": "patient"} if name == "leading-zeros" else None)
    assert read.subject.nunique() == 24 and (area < 0.5) == (name == "inverted")
    assert any("--invert" in text for text in said) == (name == "inverted")
    if name == "leading-zeros":
        assert {"000", "001", "023"} <= set(read.subject)


# Subjects that stand in another table.


def people_of(table):
    return table[["cell", "subject"]].assign(identity="i" + table.subject)


def test_subjects_are_looked_up_by_the_names_of_cells(tmp_path):
    table = one_arm()
    table["cell"] = "c" + table.cell
    people = people_of(table).assign(cell=lambda t: "fold/" + t.cell + ".bmp").sample(frac=1, random_state=0)
    people.to_csv(tmp_path / "people.csv", index=False, sep=";")
    scored = table.drop(columns="subject").assign(cell=lambda t: "C:\\cells\\" + t.cell + ".png")
    read, _ = read_judged(scored, subjects=tmp_path / "people.csv")
    assert read.subject.tolist() == table.subject.tolist() and (read.identity == "i" + read.subject).all()
    assert "looked up in people.csv" in read.attrs["reading"][0]
    of_cells, _ = read_judged(scored.assign(subject=scored.cell), subjects=people)
    assert of_cells.subject.tolist() == table.subject.tolist()
    by_map, _ = read_judged(scored.rename(columns={"cell": "subject"}), {"cell": "subject"}, subjects=people)
    assert by_map.subject.tolist() == table.subject.tolist()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda p: p[p.cell != "c3"], "row 5: cell c3 is not in p.csv, which has .* 1 of [0-9]+ rows are of"),
        (
            lambda p: pd.concat([p, p[3:4].assign(subject="other")]),
            "row 5: cell c3 may be one of several in p.csv: c3 of subject 1 in row 5 and c3 of subject other",
        ),
        (lambda p: p.assign(label="HEM"), "row 2: label is ALL and, in p.csv, HEM; so are"),
        (lambda p: p.drop(columns="subject"), "p.csv needs the columns cell and subject"),
        (
            lambda p: p.assign(subject=p.subject.where(p.cell != "c1", "")),
            "p.csv, row 3: cell or subject is empty",
        ),
    ],
)
def test_a_second_table_that_does_not_fit_is_refused(tmp_path, change, said):
    table = one_arm()
    table["cell"] = "c" + table.cell
    change(people_of(table)).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(Refusal, match=said):
        read_judged(table.drop(columns="subject"), subjects=tmp_path / "p.csv")


def released(metadata):
    """The released label file, and scores of its cells."""
    labels = pd.read_csv(next(metadata.folder.glob("*_labels.csv")))
    scored = pd.DataFrame({"cell": labels.new_names, "label": labels.labels})
    return labels, scored.assign(score=np.where(labels.labels == 1, 0.8, 0.3))


def test_the_released_label_file_is_known_by_its_form(metadata):
    labels, scored = released(metadata)
    path = next(metadata.folder.glob("*_labels.csv"))
    people = release.read_names(labels)
    if people.groupby("label").subject.nunique().min() < 2:
        pytest.skip("the made-up release has too few subjects in its preliminary test")
    read, _ = read_judged(scored.sample(frac=1, random_state=0), subjects=path)
    expected = people.set_index("cell").subject[read.cell]
    assert read.subject.tolist() == expected.tolist()
    assert read_judged(scored.drop(columns="label"), subjects=path)[0].label.isin(["ALL", "HEM"]).all()


def test_the_packaged_names_are_made_from_the_release(metadata, tmp_path):
    remade = release.remake_names(metadata.folder, tmp_path / "preliminary.csv.xz").read_bytes()
    assert remade == release.pack_table(released(metadata)[0])
    if metadata.folder.is_relative_to(SHARED):
        assert remade == (Path(release.__file__).parent / "preliminary.csv.xz").read_bytes()


def test_cells_of_the_release_are_known_by_name_number_and_digest():
    people = release.released_names()[::11]
    scored = people.assign(score=np.linspace(0.9, 0.1, len(people)))[["cell", "label", "score"]]
    by_number, _ = read_judged(scored.assign(cell="data/" + scored.cell))
    assert by_number.subject.tolist() == people.subject.tolist()
    assert by_number.identity.tolist() == people.identity.tolist()
    assert "the released label file of C-NMC 2019" in by_number.attrs["reading"][0]
    named = pd.read_csv(
        io.BytesIO(
            release.lzma.decompress((Path(release.__file__).parent / "preliminary.csv.xz").read_bytes())
        )
    )
    by_name, _ = read_judged(scored.assign(cell=named.Patient_ID[::11].to_numpy()).drop(columns="label"))
    assert by_name.subject.tolist() == people.subject.tolist()
    table = release.released_table().query("part == 'preliminary'")[::13]
    by_digest, _ = read_judged(pd.DataFrame({"cell": table.cell, "score": 0.5}))
    assert by_digest.subject.tolist() == table.subject.tolist()


def test_numbers_that_may_be_another_laboratory_s_are_not_taken_for_the_release():
    people = release.released_names()[::11]
    scored = people.assign(score=0.5)[["cell", "label", "score"]]
    with pytest.raises(
        Refusal, match="as in the preliminary test of C-NMC: if they are that, say --subjects C-NMC"
    ):
        read_judged(scored.drop(columns="label"))
    assert (
        read_judged(scored.drop(columns="label"), subjects="C-NMC")[0].subject.tolist()
        == people.subject.tolist()
    )
    with pytest.raises(Refusal, match=r"label is \w+ and, in the released label file of C-NMC 2019"):
        read_judged(scored.assign(label=scored.label.sample(frac=1, random_state=0).to_numpy()))
    with pytest.raises(Refusal, match="no column 'subject'; it has cell, label, score"):
        read_judged(scored.assign(cell=scored.cell.str.replace(".bmp", ".png")))


# What is left behind, and how long it takes.


@pytest.mark.parametrize("column", ["subject", "identity"])
def test_a_person_in_validation_and_in_test_is_refused_before_the_run(column):
    table = one_arm()
    table["cell"] = "c" + table.cell
    before = table.assign(split="validation", cell="v" + table.cell)
    if column == "identity":
        table, before = (
            table.assign(identity=table.subject),
            before.assign(identity=before.subject, subject="v" + before.subject),
        )
    both = pd.concat([table.assign(split="test"), before], ignore_index=True)
    with pytest.raises(Refusal, match="table: identity .* is in validation and in test of one iteration"):
        read_judged(both)


def test_nothing_is_written_when_a_table_is_refused(tmp_path, monkeypatch, capsys):
    from leukonb import cli

    monkeypatch.chdir(tmp_path)
    times(100)(one_arm()).to_csv("percent.csv", index=False)
    one_arm().drop(columns="subject").to_csv("unknown.csv", index=False)
    one_arm().to_csv("plain.csv", index=False)
    Path("cut.xlsx").write_bytes(as_excel(one_arm())[:3000])
    before = sorted(tmp_path.iterdir())
    for words in (
        "percent.csv",
        "unknown.csv",
        "cut.xlsx",
        "none.csv",
        "plain.csv --scale percent",
        "plain.csv --positive blast",
        "unknown.csv --subjects plain.csv --subjects none.csv",
        "plain.csv --subjects percent.csv --map cell=label",
    ):
        for out in ([], ["--out", "out"]):
            assert cli.main(["evaluate", *words.split(), *out]) == 1
            said = capsys.readouterr()
            assert said.out == "" and said.err.startswith("leukonb: ") and said.err.count("\n") == 1, said
    assert sorted(tmp_path.iterdir()) == before


def test_the_facts_of_the_table_are_shown_and_recorded(tmp_path):
    times(100)(one_arm()).rename(columns={"score": "Percent"}).to_csv(
        tmp_path / "t.csv", index=False, sep=";"
    )
    evidence = judge_predictions(
        tmp_path / "t.csv", {"score": "percent"}, reading={"scale": "percent"}, resamples=100
    )
    found = evidence.record["table"]
    counts = one_arm().groupby("subject").cell.nunique()
    assert found["cells_of_subject"] == {
        "fewest": counts.min(),
        "median": counts.median(),
        "most": counts.max(),
    }
    assert found["reading"] == [
        "Its columns are parted by semicolons.",
        "Its columns were taken as follows: Percent for score.",
        "Its scores were percentages.",
    ]
    cells = f"a subject has {counts.min()} to {counts.max()} cells (median {counts.median():g})"
    assert cells in evidence.facts[0] and all(text in repr(evidence) for text in evidence.facts)


def test_many_rows_are_read_and_checked_in_little_time_and_memory(tmp_path):
    """A million rows of ten thousand subjects take 12 s of computing and 1 GB; this is a tenth of them."""
    n, draw = 100_000, np.random.default_rng(0)
    who = np.sort(draw.integers(0, 1000, n))
    table = {"cell": np.char.add("c", np.arange(n).astype(str)), "subject": np.char.add("P", who.astype(str))}
    table |= {"label": np.where(who % 2, "HEM", "ALL"), "score": draw.random(n)}
    pd.DataFrame(table).to_csv(tmp_path / "many.csv", index=False)
    code = """
import resource, sys, time
from pathlib import Path
from leukonb.evidence.predictions import read_predictions
from leukonb.files import digest_table
begun = time.process_time()
table = read_predictions(sys.argv[1])
read = time.process_time() - begun
digest_table(table, table.columns)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in bytes on a Mac
if (status := Path("/proc/self/status")).exists():  # there the figure above is at least the parent's
    peak = int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
print(len(table), read, peak)
"""
    said = subprocess.check_output([sys.executable, "-c", code, tmp_path / "many.csv"], text=True)
    rows, seconds, megabytes = map(float, said.split())
    assert rows == n and seconds < 1.2 and megabytes < 300


def test_the_digest_of_a_table_is_that_of_its_rows_one_by_one():
    table = pd.DataFrame({
        "text": ["x", 'é"\n', None, "x"],
        "score": [0.1, np.nan, -0.0, np.inf],
        "whole": [1, 2, 3, 4],
        "yes": [True, False, True, True],
        "mixed": [1, 1.0, "1", None],
        "missing": pd.array([1, None, 3, 4], dtype="Int64"),
        "kind": pd.Categorical(["u", "v", "u", None]),
    })  # fmt: skip
    plain = table.astype(object).where(table.notna(), None)
    lines = sorted(canonical(row) for row in plain.itertuples(index=False, name=None))
    assert digest_table(table, table.columns) == digest("\n".join([canonical(list(table)), *lines]).encode())
