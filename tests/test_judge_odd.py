"""Tables that are in order row by row and wrong as a whole: each is refused in one line, or said."""

import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import judgement, miscalibration, multiclass, oddities, predictions
from leukonb.evidence.multiclass import ClassWorld, draw_class_world
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal
from leukonb.pictures import name_alone
from leukonb.verbs import evaluate


def world(**facts):
    """A classifier on twelve people."""
    drawn = draw_one_set(OneSetWorld(**{"ALL": 6, "HEM": 6, "cells": 8, **facts}), 3).query("arm == 'a'")
    return drawn[["cell", "subject", "label", "score"]].reset_index(drop=True)


def classes(**facts):
    """A table of three classes, a subject's cells of several."""
    return draw_class_world(ClassWorld(classes=("blast", "lymph", "mono"), subjects=8, cells=12, **facts), 1)


def said_of(table, threshold=0.5):
    """What is said of a table before its figures."""
    return " ".join(evaluate.read_judged(table, threshold=threshold)[0].attrs["reading"])


def as_dates(table):
    return table.assign(subject=table.subject.where(table.subject != table.subject[0], "3-Mar"))


def as_files(table):
    ends = np.where(table.label == "ALL", "hem", "all")
    return table.assign(cell=[f"UID_{i}_{i}_1_{end}.bmp" for i, end in enumerate(ends)])


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: pd.concat([t, t]).drop(columns="cell"), "Every row stands 2 times"),
        (lambda t: pd.concat([t.assign(arm=a) for a in ("Net", "net ")]), "taken for different classifiers"),
        (
            lambda t: pd.concat([t.assign(seed=s) for s in (0, 1)]),
            "has the scores of another seed in every cell",
        ),
        (
            lambda t: t.assign(score=t.score.round().where(t.index > 0, 0.4)),
            "all scores but 1 of 95 are 0 or 1",
        ),
        (lambda t: t.assign(score=t.score.where(t.index % 9 > 0, 0.5)), "are the threshold, 0.5, itself"),
        (lambda t: t.assign(score=np.maximum(t.score, 1 - t.score)), "no score is under 0.5"),
        (lambda t: t.assign(subject="fold_" + (t.index % 3).astype(str) + "_" + t.label), "and no people"),
        (as_dates, "1 of 12 subjects are called by a day, such as 3-Mar"),
        (as_files, "95 of 95 cells with file names of C-NMC have another label"),
    ],
)
def test_what_is_odd_about_a_table_is_said_and_of_a_plain_one_nothing(change, said):
    assert said in said_of(change(world()))
    assert said not in said_of(world()) and not oddities.find_oddities(predictions.check_table(world()), 0.5)


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda t: pd.concat([t.assign(iteration=i) for i in (0, 1)]),
            "call the column seed and not iteration",
        ),
        (
            lambda t: t.assign(subject=np.where(t.label == "ALL", "1.23457E+12", t.subject)),
            "row 2: subject 1.2",
        ),
    ],
)
def test_a_table_whose_figures_would_be_wrong_whatever_was_meant_is_refused(change, said):
    with pytest.raises(Refusal, match=said.replace("+", r"\+")):
        evaluate.read_judged(change(world()))
    of_classes = change(classes().drop(columns="arm"))
    if "iteration" in of_classes:
        with pytest.raises(Refusal, match=said):
            evaluate.read_judged(of_classes)


def test_splits_of_other_people_are_no_seeds():
    table = world()
    people = table.subject.unique()
    halves = [table[table.subject.isin(people[i::2])].assign(iteration=i) for i in (0, 1)]
    assert evaluate.read_judged(pd.concat(halves))[0].iteration.nunique() == 2


def test_leaving_one_subject_out_at_a_time_is_told_how_to_be_judged():
    table = world()
    alone = table.assign(iteration=table.subject.factorize()[0])
    with pytest.raises(Refusal, match="1 ALL and 0 HEM subjects.* leave the column iteration out"):
        evaluate.read_judged(alone)
    assert len(evaluate.read_judged(alone.drop(columns="iteration"))[0]) == len(table)


def test_two_classes_that_differ_by_a_hyphen_keep_their_labels():
    names = {"score_blast": "score_T-1", "score_lymph": "score_T1"}
    table = classes().rename(columns=names).replace({"label": {"blast": "T-1", "lymph": "T1"}})
    found = evaluate.judge_predictions(table).record
    assert found["scores"]["accuracy"] == evaluate.judge_predictions(classes()).record["scores"]["accuracy"]
    with pytest.raises(Refusal, match="label is 'T_1'"):
        evaluate.read_judged(table.replace({"label": {"T-1": "T_1"}}))


def test_several_classes_take_a_scale_and_a_table_of_subjects():
    plain, scores = classes(), [c for c in classes() if c.startswith("score_")]
    whose, expected = plain[["cell", "subject"]], evaluate.read_judged(plain)[0]
    for given, scale in ((100 * plain[scores], "percent"), (np.log(plain[scores]), "logit")):
        found, _ = evaluate.read_judged(plain.assign(**given), scale=scale)
        assert (
            np.allclose(found[scores], expected[scores]) and "Its scores were" in found.attrs["reading"][-1]
        )
        with pytest.raises(Refusal, match=f"say --scale {scale}"):
            evaluate.read_judged(plain.assign(**given))
    joined, _ = evaluate.read_judged(plain.drop(columns="subject"), subjects=whose)
    assert joined.subject.tolist() == plain.subject.tolist()
    with pytest.raises(Refusal, match="row 2: cell 0 is not in"):
        evaluate.read_judged(plain.drop(columns="subject"), subjects=whose[1:])
    with pytest.raises(Refusal, match="leave out the scale percent"):
        evaluate.read_judged(plain, scale="percent")


def test_the_way_to_one_class_against_the_rest_is_open_where_it_is_named():
    mixed = classes().assign(site="a")
    pure = mixed.assign(subject=mixed.subject + mixed.label)
    with pytest.raises(Refusal, match="so none can be set against the rest"):
        evaluate.read_judged(mixed, keep=["site"])
    with pytest.raises(
        Refusal, match="--group is for.* --map score=score_blast --label blast=ALL --label lymph=HEM"
    ):
        evaluate.read_judged(pure, keep=["site"])
    labels = {"blast": "ALL", "lymph": "HEM", "mono": "HEM"}
    found, _ = evaluate.read_judged(pure, {"score": "score_blast"}, labels, keep=["site"])
    assert (found.label == "ALL").sum() == (pure.label == "blast").sum() and set(found.site) == {"a"}
    with pytest.raises(Refusal, match="keep one iteration"):
        evaluate.read_judged(pd.concat([pure[:60].assign(iteration=0), pure[40:].assign(iteration=1)]))
    assert multiclass.find_classes(pure, {"score": "score_blast"}) == []


def test_the_corrected_calibration_error_has_an_interval_that_contains_it():
    found = evaluate.judge_predictions(world(cells=20), resamples=100)
    error = found.record["arms"]["model"]["scores"]["ece"]
    assert error["corrected_low"] <= error["corrected"] <= error["corrected_high"] < 1
    assert f"({error['corrected_low']:.3f} to {error['corrected_high']:.3f}) when corrected" in " ".join(
        found.facts
    )


def test_the_interval_of_the_corrected_error_holds_as_often_as_is_said():
    counts = miscalibration.read_counts()
    again = miscalibration.count_miscalibration(13, 15, 1.0, worlds=60, seed=1)
    (row,) = counts[(counts.ALL == 13) & (counts.sureness == 1)].itertuples()
    assert again["held"] * 60 >= 60 * row.held - 3 * (60 * row.held * (1 - row.held) + 1) ** 0.5
    assert f"{100 * row.held:.0f} % for a calibrated" in miscalibration.describe_miscalibration(13, 15)
    assert abs(again["corrected"] - row.corrected) < 0.012 and row.corrected < 0.4 * row.error
    left = f"truly 0, was {row.error:.3f} on average and {row.corrected:.3f} when corrected"
    assert left in miscalibration.describe_miscalibration(13, 15)


def test_pictures_of_nobody_known_are_not_called_people():
    table = world()
    table["subject"] = [name_alone(f"{i:064x}"[::-1]) for i in range(len(table))]
    judged = judgement.judge_table(evaluate.read_judged(table)[0])
    people, rightly, _ = judgement.evidence_record(judged)["answer"]
    assert f"{len(table)} pictures were judged" in people and "too narrow" in people
    assert f"of {len(table)} pictures were called rightly" in rightly and "people" not in rightly
