"""What a table says and a judgement does not use is said or refused: networks in a column of their own, names that are none."""

import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import multiclass, oddities, predictions, tables
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal
from leukonb.verbs import evaluate


def test_set(**world):
    """One classifier on one test set, with names of cells."""
    drawn = draw_one_set(OneSetWorld(**{"ALL": 6, "HEM": 7, "cells": 9, **world}), 3).query("arm == 'a'")
    return drawn[["cell", "subject", "label", "score"]].reset_index(drop=True)


test_set.__test__ = False


def bare():
    return test_set().drop(columns="cell")


def several(table, column, values=("x", "y"), seed=0):
    """The same cells scored by several classifiers that a column of the table's own tells apart."""
    rng = np.random.default_rng(seed)
    each = [
        table.assign(**{column: v}, score=(table.score + rng.uniform(-0.2, 0.2, len(table))).clip(0, 1))
        for v in values
    ]
    return pd.concat(each, ignore_index=True)


def said_of(table, **options):
    return evaluate.read_judged(table, **options)[0].attrs["reading"]


def three_classes():
    world = multiclass.ClassWorld(classes=("blast", "lymphocyte", "other"), subjects=12, cells=8)
    drawn = multiclass.draw_class_world(world, 1)
    return drawn[["cell", "subject", "label", *(c for c in drawn if c.startswith("score_"))]]


@pytest.mark.parametrize(
    "column", ["model", "Network", "run_id", "cv-folds", "seeds", "checkpoint", "machine"]
)
@pytest.mark.parametrize("table", [test_set, bare], ids=["cells named", "cells unnamed"])
def test_a_column_of_classifiers_that_nobody_asked_for_is_refused(table, column):
    with pytest.raises(
        Refusal, match=rf"the column '{column}' is none of ours.* --map arm={column} \(class"
    ) as refused:
        evaluate.read_judged(several(table(), column))
    assert "stands twice" not in str(refused.value)


def test_a_classifier_that_missed_some_cells_is_still_seen():
    with pytest.raises(Refusal, match="--map arm=model"):
        evaluate.read_judged(several(bare(), "model")[:-30])


def test_mapped_columns_are_no_longer_refused():
    both = several(test_set(), "model")
    checked, _ = evaluate.read_judged(both, {"arm": "model"})
    assert set(checked.arm) == {"x", "y"} and not any("Not used" in said for said in checked.attrs["reading"])
    assert evaluate.read_judged(several(test_set(), "run", (1, 2, 3)), {"seed": "run"})[0].seed.nunique() == 3


def test_a_table_of_three_classes_has_its_classifiers_seen_as_well():
    table = three_classes()
    doubled = pd.concat([table.assign(model="x"), table.assign(model="y")], ignore_index=True)
    for rows in (doubled, doubled.drop(columns="cell")):
        with pytest.raises(Refusal, match="--map arm=model"):
            evaluate.read_judged(rows)
    assert "Not used: the column site." in said_of(table.assign(site="Delhi"))


def test_folds_that_test_everybody_once_and_other_columns_are_named_and_taken():
    table = bare()
    fold = table.subject.map({name: i % 3 for i, name in enumerate(table.subject.unique())})
    rows = table.assign(fold=fold, stain="MGG", logit=np.linspace(-3, 3, len(table)))
    assert "Not used: the columns fold, stain, logit." in said_of(rows)
    by_cell = test_set().assign(fold=np.arange(len(table)) % 5)  # each cell in one fold
    assert "Not used: the column fold." in said_of(by_cell)
    assert not any("Not used" in text for text in said_of(table))


def test_training_rows_under_another_name_than_split_are_not_judged():
    table = bare().assign(subset=lambda t: np.where(t.subject.isin(t.subject.unique()[:4]), "train", "test"))
    with pytest.raises(Refusal, match="^table, row 2: the column 'subset' says train.*--map split=subset"):
        evaluate.read_judged(table)
    assert set(evaluate.read_judged(table, {"split": "subset"})[0]["split"]) == {"train", "test"}


def test_a_doubled_cell_is_never_answered_with_a_view_alone():
    with pytest.raises(Refusal, match=r"arm \(another classifier\), seed .* or view"):
        evaluate.read_judged(pd.concat([test_set()] * 2))


@pytest.mark.parametrize("positive", ["HEM", "hem"])
def test_healthy_cells_cannot_be_the_positive_ones(positive):
    with pytest.raises(Refusal, match=f"--positive {positive}: healthy cells .* say --invert"):
        evaluate.read_judged(bare(), positive=positive)


@pytest.mark.parametrize(
    "labels", [{"ALL": "HEM", "HEM": "ALL"}, {"all": "HEM", "hem": "HEM"}, {"HEM": "ALL", "ALL": "ALL"}]
)
def test_labels_cannot_exchange_the_two_classes(labels):
    with pytest.raises(Refusal, match="the two classes would change their names; if the score .* --invert"):
        evaluate.read_judged(bare(), labels=labels)


def test_labels_that_are_numbers_may_mean_the_opposite():
    numbers = bare().assign(label=lambda t: (t.label == "HEM").astype(int))
    assert evaluate.read_judged(numbers, positive="0")[0].label.tolist() == bare().label.tolist()


def test_an_identity_never_divides_a_subject():
    table = test_set()
    table["identity"] = table.subject + "-" + (table.index % 2).astype(str)
    with pytest.raises(
        Refusal, match=r"^table, row 3: subject (\S+) has the identity \1-1 here and \1-0 above, and 13 of 13"
    ):
        evaluate.read_judged(table)
    joined = table.assign(identity=table.subject.replace({"1": "2"}))
    assert evaluate.read_judged(joined)[0].identity.nunique() == 12


@pytest.mark.parametrize("name", ["NA", "nan", "unknown", "None", "NULL", "?", "-", "missing", "N/A", "<NA>"])
def test_a_subject_called_as_what_is_missing_is_kept_and_said(name):
    table = test_set()
    of_one = table.subject == table.subject[0]
    table["subject"] = table.subject.where(~of_one, name)
    checked, _ = evaluate.read_judged(table)
    said = [text for text in checked.attrs["reading"] if f"called {name!r}" in text]
    assert (checked.subject == name).sum() == of_one.sum() and len(said) == 1
    assert said[0].startswith(f"{of_one.sum()} cells") and "--subjects" in said[0]


def test_cells_of_both_classes_without_a_name_are_refused_with_the_likely_reason():
    table = test_set()
    table.loc[table.index % 9 == 0, "subject"] = "nan"
    with pytest.raises(Refusal, match="subject nan has cells of both labels; .* missing name"):
        evaluate.read_judged(table)
    assert not predictions.is_no_name(pd.Series(["N1", "Nan Li", "nana", "H-1", "n", "NN"])).any()


def test_what_is_odd_of_a_table_of_several_classes_is_said():
    table = three_classes()
    copies = pd.concat([table.assign(seed=i) for i in range(3)], ignore_index=True)
    assert any("seed 1, 2 has the scores" in text for text in said_of(copies))
    unnamed = table.drop(columns="cell")
    assert any("Every row stands 2 times" in text for text in said_of(pd.concat([unnamed] * 2)))
    assert any("have the subject and the score" in t for t in said_of(pd.concat([unnamed, unnamed[:30]])))
    assert any(
        "called 'NA'" in text for text in said_of(table.replace({"subject": {table.subject[0]: "NA"}}))
    )
    assert oddities.find_oddities(multiclass.check_classes(table)) == []


@pytest.mark.parametrize("group", ["", "Delhi"])
def test_a_group_is_refused_with_the_row_of_its_file(group, tmp_path):
    table = test_set().assign(
        site=lambda t: np.where(t.subject.isin(t.subject.unique()[::2]), "Pune", "Agra")
    )
    table.loc[100, "site"] = group
    lines = table.to_csv(index=False).splitlines()
    text = ["# made by R", "# in May", lines[0], *lines[1:51], "", *lines[51:]]
    (tmp_path / "sites.csv").write_text("\n".join(text))
    at = 1 + text.index(lines[101])
    with pytest.raises(Refusal, match=rf"^sites.csv, row {at}: site") as refused:
        evaluate.plan_judgement(tmp_path / "sites.csv", tmp_path / "runs", group="site")
    assert at == 105 and "\n" not in str(refused.value) and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "said, change, row",
    [
        ("score is 2", {"score": 2}, 45),
        ("subject is empty", {"subject": ""}, 45),
        ("label is 'AML'", {"label": "AML"}, 45),
        ("long number", {"subject": "1.2E+11"}, 45),
        ("in training and", {"split": "train", "subject": "1"}, 4),
        ("train and nothing but", {"split": "train"}, 45),
        ("cell 0 stands twice", {"cell": "0", "subject": "1"}, 45),
    ],
)
def test_a_refused_row_is_counted_as_in_the_file_whatever_finds_the_fault(said, change, row, tmp_path):
    table = test_set().assign(split="test").astype({"score": object})
    table.loc[40, list(change)] = list(change.values())
    if "nothing but" in said:
        table, said = table.rename(columns={"split": "part"}), "'part' says train"
    if said.startswith("cell"):
        table.loc[40, "label"] = table.label[0]
    lines = table.to_csv(index=False).splitlines()
    (tmp_path / "odd.csv").write_text("\n".join(["# a", "", *lines[:9], "", *lines[9:]]))
    with pytest.raises(Refusal, match=rf"^odd.csv, row {row}: .*{said}"):
        evaluate.read_judged(tmp_path / "odd.csv")


def test_rows_that_are_counted_otherwise_than_a_frame_counts_them_are_found():
    table = test_set().set_index(np.array([f"r{i}" for i in range(len(test_set()))]))
    people = table[["cell", "subject"]].reset_index(drop=True)
    assert len(evaluate.read_judged(table.drop(columns="subject"), subjects=people)[0]) == len(table)
    assert tables.name_row([False, True], pd.Index([0, 7]), "x.csv") == "x.csv, row 9"


@pytest.mark.parametrize("again", [8, 60])
def test_rows_that_stand_twice_are_counted_where_cells_have_no_names(again):
    table = bare()
    twice = pd.concat([table, table.sample(again, random_state=1)], ignore_index=True)
    (said,) = [text for text in said_of(twice) if "of a row above" in text]
    assert said.startswith(f"{again} of {len(twice)} rows")


@pytest.mark.parametrize(
    "coarse", [lambda s: s.round(2), lambda s: s.round(4), lambda s: (s * 30).round() / 30]
)
def test_scores_that_are_tied_by_rounding_are_no_rows_that_stand_twice(coarse):
    table = bare().assign(score=lambda t: coarse(t.score))
    assert not any("row above" in text or "Every row" in text for text in said_of(table))


@pytest.mark.parametrize("folder", ["", "data/x/", "C:\\cells\\"])
def test_names_of_c_nmc_contradict_labels_in_whatever_folder(folder):
    table = test_set()
    table["cell"] = [
        f"{folder}UID_{s}_{i}_1_{'hem' if c == 'ALL' else 'all'}.bmp"
        for i, (s, c) in enumerate(zip(table.subject, table.label))
    ]
    assert any("have another label than the name says" in text for text in said_of(table))


def test_a_score_of_each_class_is_asked_about_by_name():
    table = bare().rename(columns={"score": "score_ALL"}).assign(score_HEM=lambda t: 1 - t.score_ALL)
    with pytest.raises(Refusal, match="score=NAME: score_ALL, or score_HEM if --invert is said as well"):
        evaluate.read_judged(table)
    of_all = evaluate.read_judged(table, {"score": "score_ALL"})[0].score
    of_hem = evaluate.read_judged(table, {"score": "score_HEM"}, invert=True)[0].score
    assert np.allclose(of_all, of_hem)


def test_two_hundred_thousand_rows_are_looked_through_for_columns_that_are_not_used():
    n, rng = 200_000, np.random.default_rng(0)
    table = pd.DataFrame({"subject": rng.integers(0, 2000, n).astype(str), "score": rng.random(n)})
    table["logit"], table["site"] = rng.normal(size=n), rng.integers(0, 3, n).astype(str)
    assert oddities.describe_unused(table) == ["Not used: the columns logit, site."]


@pytest.mark.parametrize("column", ["arm", "seed"])
def test_a_cell_of_one_class_here_and_another_there_is_refused(column):
    table = three_classes()
    both = pd.concat([table.assign(**{column: i}) for i in (0, 1)], ignore_index=True)
    both.loc[len(table), "label"] = "blast" if table.label[0] != "blast" else "other"
    with pytest.raises(
        Refusal, match=rf"^table, row {len(table) + 2}: cell .* and .* above; a cell is of one"
    ):
        evaluate.read_judged(both)


def test_own_subjects_of_a_table_of_classes_are_not_replaced_without_a_word():
    table = three_classes()
    people = table[["cell", "subject"]]
    own = table.assign(subject="P" + table.subject)
    assert any("Its own column subject was not used" in text for text in said_of(own, subjects=people))
    own.loc[0, "subject"] = own.subject.iloc[-1]
    with pytest.raises(Refusal, match="take the table of subjects away if the table is right"):
        evaluate.read_judged(own, subjects=people)


def test_rounded_scores_of_people_far_apart_are_no_rows_that_stand_twice():
    table = bare()
    number = table.subject.map({name: i for i, name in enumerate(table.subject.unique())})
    near = 0.05 + 0.07 * number + np.arange(len(table)) % 6 / 100  # tied within a person, and nowhere else
    assert not any("row above" in text for text in said_of(table.assign(score=near.round(2))))


def test_the_row_of_a_frame_is_counted_whatever_its_index_is():
    table = bare().assign(part="train").set_index(np.array([f"r{i}" for i in range(len(bare()))]))
    with pytest.raises(Refusal, match="^table, row 2: the column 'part' says train"):
        evaluate.read_judged(table)
