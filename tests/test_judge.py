"""A judgement is never wrong without saying so: tables with known trouble give the right value or one clear line."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from leukonb.evidence import intervals, judgement, metrics, paired, predictions, resampled
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal

QUICK = {"resamples": 200, "permutations": 400}


def arms(seed=3, **world):
    """Two arms on one test set, with names of cells."""
    return draw_one_set(OneSetWorld(**{"ALL": 7, "HEM": 7, "cells": 15, **world}), seed)


def judge(table, **options):
    return judgement.judge_table(predictions.check_table(table), **{**QUICK, **options})


def reordered(table):
    """The same predictions, the second arm's rows sorted by score."""
    return pd.concat(
        [table[table.arm == "a"], table[table.arm == "b"].sort_values("score")], ignore_index=True
    )


def test_without_cells_the_order_of_an_arm_changes_no_comparison():
    unnamed = arms().drop(columns="cell")
    first, second = judge(unnamed), judge(reordered(unnamed))
    named = judge(arms()).comparisons
    assert not first.comparisons.test.isin(["McNemar", "DeLong"]).any() and named.test.isin(["DeLong"]).any()
    assert any("no column cell" in text for text in first.remarks["a"] + first.remarks["b"])
    pd.testing.assert_frame_equal(first.comparisons, second.comparisons)
    whole = named[named.test.isin(first.comparisons.test)].reset_index(drop=True)
    pd.testing.assert_frame_equal(first.comparisons, whole)


def test_arms_without_cells_are_refused_where_they_hold_other_numbers_of_rows():
    unnamed = arms().drop(columns="cell")
    with pytest.raises(
        Refusal, match=r"cells have no name, and subject H14 has (\d+) rows in 'a' and \d+ in 'b'"
    ):
        judge(unnamed[:-1])
    with pytest.raises(Refusal, match="more than one seed of an arm and no column 'cell'"):
        judge(pd.concat([unnamed, unnamed.assign(seed=1)]))


@pytest.mark.parametrize("column, value", [("subject", "2"), ("identity", "2"), ("label", "HEM")])
def test_an_arm_that_gives_a_cell_to_someone_else_is_not_paired(column, value):
    table = arms()
    table.loc[(table.arm == "b") & (table.cell == "0"), column] = value
    with pytest.raises(Refusal, match=f"cell 0 has the {column} .* in 'a' and {value} in 'b'"):
        paired.pair_arms(table, "a", "b")


@pytest.mark.parametrize("change", [lambda s: s**3, lambda s: 1 / (1 + np.exp(-1.5) * (1 - s) / s), np.sqrt])
def test_a_monotone_change_of_one_arm_changes_no_comparison_of_ranks(change):
    table = arms(gain=0.6)
    other = table.assign(score=np.where(table.arm == "b", change(table.score), table.score))
    names = ("auroc", "average_precision")
    before, after = (
        paired.compare_arms(t, "a", "b", names, resamples=200, permutations=400).query("metric in @names")
        for t in (table, other)
    )
    assert set(before.test) == {
        "bootstrap over identities",
        "studentised permutation of identities",
        "DeLong",
    }
    pd.testing.assert_frame_equal(before, after)


def test_the_permutation_test_finds_a_better_ranking_on_another_scale():
    """With scores as they are, a shift of 1.5 logits took the power from 64 % to none."""
    table = arms(seed=5, ALL=14, HEM=14, gain=1.0)
    logit = np.log(table.score / (1 - table.score)) + np.where(table.arm == "b", 1.5, 0)
    both = paired.pair_arms(table.assign(score=1 / (1 + np.exp(-logit))), "a", "b")
    unmoved = paired.permutation_test(paired.pair_arms(table, "a", "b"), ["auroc"], 1000)["auroc"]
    assert paired.permutation_test(both, ["auroc"], 1000)["auroc"].p == unmoved.p < 0.05


@pytest.mark.parametrize("of_calls", ["a", "b"])
def test_an_arm_of_calls_has_no_auroc_in_scores_and_in_comparisons(of_calls):
    table = arms()
    table["score"] = table.score.where(table.arm != of_calls, (table.score >= 0.5) * 1.0)
    judged = judge(table)
    other = {"a": "b", "b": "a"}[of_calls]
    assert set(judged.scores[judged.scores.metric == "auroc"].arm) == {other}
    assert "auroc" not in set(judged.comparisons.metric) and "DeLong" not in set(judged.comparisons.test)
    assert "accuracy" in set(judged.comparisons.metric)


@pytest.mark.parametrize(
    "split, counts",
    [
        ("train", r"\d+ train"),
        ("validation", r"\d+ validation"),
        (["train", "validation"], r"\d+ train, \d+ validation"),
    ],
)
def test_rows_that_are_not_of_the_test_are_not_judged_as_such(split, counts):
    table = arms().query("arm == 'a'").drop(columns="arm")
    table["split"] = (
        np.where(table.subject.isin(["1", "2", "H8", "H9"]), split[-1], split[0])
        if isinstance(split, list)
        else split
    )
    table["identity"] = table.subject
    for look in (judge, lambda t: judgement.check_subjects(predictions.check_table(t), "table")):
        with pytest.raises(
            Refusal, match=f"^table: arm model has no test rows, only {counts}; mark"
        ) as refusal:
            look(table)
        assert "\n" not in str(refusal.value)


def test_an_arm_without_test_rows_is_not_dropped_without_a_word():
    table = arms()
    table["split"] = np.where(table.arm == "b", "validation", "test")
    with pytest.raises(Refusal, match="arm b has no test rows"):
        judge(table)


def nested_subjects(rng, sizes, icc, right=0.8):
    """Subjects of both classes whose cells are right with a chance of their own, drawn from a beta distribution."""
    a = right * (1 / icc - 1)
    who = np.repeat(np.arange(len(sizes)), sizes)
    is_right = rng.random(len(who)) < rng.beta(a, a / right - a, len(sizes))[who]
    label = np.where(who % 2, "HEM", "ALL")
    return pd.DataFrame(
        {"identity": who, "label": label, "score": np.where(is_right == (label == "ALL"), 0.9, 0.1)}
    )


@pytest.mark.parametrize("sizes", [(400, 400, *[10] * 10), (300, 300, 80, 60, 20, 20, 8, 8, 6, 6, 4, 4)])
def test_the_intraclass_correlation_is_found_in_subjects_nested_in_classes(sizes):
    """The constant of a single class gives .17 and .23 on average."""
    rng = np.random.default_rng(1)
    found = [intervals.design_effect(nested_subjects(rng, sizes, 0.30))["icc"] for _ in range(200)]
    assert abs(np.mean(found) - 0.30) < 0.04


def test_a_name_that_stands_twice_in_the_header_is_refused(tmp_path):
    rows = arms().query("arm == 'a'")[["subject", "label", "score"]].assign(other=lambda t: 1 - t.score)
    rows.to_csv(tmp_path / "two.csv", index=False, header=["subject", "label", "score", "score"])
    with pytest.raises(Refusal, match="^two.csv, row 1: the header has the column 'score' 2 times; keep"):
        predictions.read_predictions(tmp_path / "two.csv")
    with pytest.raises(Refusal, match="column 'label' 2 times"):
        predictions.check_table(rows.set_axis(["subject", "label", "score", "label"], axis=1))
    rows.to_csv(tmp_path / "notes.csv", index=False)
    mapped = predictions.read_predictions(tmp_path / "notes.csv", {"score": "other"})
    np.testing.assert_allclose(mapped.score, rows.other)


def test_a_mapped_subject_keeps_its_leading_zeros(tmp_path):
    rows = arms().query("arm == 'a'")[["subject", "label", "score"]]
    rows["subject"] = rows.subject.str.strip("H").replace({"14": "07"}).map("0{}".format)
    rows.rename(columns={"subject": "patient"}).to_csv(tmp_path / "zeros.csv", index=False)
    read = predictions.read_predictions(tmp_path / "zeros.csv", {"subject": "patient"})
    assert set(read.subject) == set(rows.subject) and "007" in set(read.subject)


def test_a_cell_under_two_subjects_is_refused_with_its_row():
    table = arms()
    at = table.index[(table.arm == "b") & (table.subject == "1")][0]
    table.loc[at, ["subject", "identity"]] = "2"
    with pytest.raises(
        Refusal, match=f"row {at + 2}: cell .* is of subject 2 here .arm b. and of subject 1 above"
    ):
        judge(table)


def test_a_perfect_table_gets_an_exact_interval_over_subjects():
    who = [*"0123456", *(f"H{i}" for i in range(9))]
    table = pd.DataFrame({"subject": np.repeat(who, 10)})
    table["label"] = np.where(table.subject.str.startswith("H"), "HEM", "ALL")
    table["score"] = np.where(table.label == "ALL", 0.9, 0.1)
    found = judge(table).scores.set_index("metric")
    expected = {
        "accuracy": 0.025 ** (1 / 16),
        "sensitivity": 0.025 ** (1 / 7),
        "specificity": 0.025 ** (1 / 9),
    }
    for name, low in expected.items():
        assert found.low[name] == pytest.approx(low, abs=1e-9) and found.high[name] == 1
        assert found.method[name].startswith("exact")
    for name in ("balanced_accuracy", "precision", "f1", "weighted_f1", "mcc", "auroc", "average_precision"):
        assert 0 < found.low[name] < 0.9 and found.high[name] == 1
    losses = found.loc[["brier", "ece"]]
    assert losses.value.tolist() == pytest.approx([0.01, 0.1])
    assert (losses.high > 0.2).all() and (losses.high < 0.4).all() and (losses.low < losses.value).all()


def test_a_class_without_an_error_gets_an_exact_interval_and_the_rest_is_drawn():
    table = arms(cells=20).query("arm == 'a'")
    table = table.assign(score=table.score.where(table.label == "HEM", 0.9))
    found = judge(table).scores.set_index("metric")
    assert found.low["sensitivity"] == pytest.approx(0.025 ** (1 / 7)) and found.high["sensitivity"] == 1
    assert found.method["specificity"].startswith("effective") and found.low["specificity"] < 1
    wrong = judge(table.assign(score=table.score.where(table.label == "HEM", 0.1))).scores.set_index("metric")
    assert wrong.low["sensitivity"] == 0
    assert wrong.high["sensitivity"] == pytest.approx(1 - 0.025 ** (1 / 7))


def test_intervals_over_splits_stay_within_what_a_score_can_be():
    """Two arms that are nearly perfect: the t interval of the first accuracy reaches beyond 1."""
    splits = [arms(seed=i, ALL=4, HEM=4, distance=3.0, between=1.2) for i in range(6)]
    judged = judge(pd.concat([t.assign(iteration=i) for i, t in enumerate(splits)]), train_subjects=16)
    each = judgement.scores_by_split(judged).query("arm == 'a'").accuracy
    plain = resampled.corrected_t_test(each, 0.0, 16, 8)
    found = judged.scores.query("arm == 'a'").set_index("metric").loc["accuracy"]
    assert plain.high > 1 and found.low < plain.low < found.value < found.high <= 1
    assert "arcsine scale" in found.method
    known = judged.scores[judged.scores.low.notna()]
    assert (known.high <= 1).all() and (known.low >= np.where(known.metric.isin(metrics.SIGNED), -1, 0)).all()


@settings(max_examples=60, deadline=None)
@given(scores=st.lists(st.floats(0, 1), min_size=2, max_size=30), ratio=st.floats(0.05, 2))
def test_no_interval_of_a_mean_leaves_its_range(scores, ratio):
    for shown, bounds in ((np.array(scores), (0.0, 1.0)), (2 * np.array(scores) - 1, (-1.0, 1.0))):
        found = resampled.summarise_splits(shown, 1 / ratio, 1, bounds)
        low, high = found["interval of the mean, low"], found["interval of the mean, high"]
        if np.ptp(shown) < 1e-10:
            assert np.isnan([low, high]).all()
            continue
        assert (
            bounds[0] - 1e-9 <= low <= found["mean"] + 1e-9
            and found["mean"] - 1e-9 <= high <= bounds[1] + 1e-9
        )


def test_each_score_has_one_p_value_that_of_the_primary_test():
    one_set, splits = judge(arms(gain=0.4)), pd.concat([arms(seed=i).assign(iteration=i) for i in range(4)])
    many = judge(splits, train_subjects=60)
    tests = ("studentised permutation of identities", "corrected resampled t")
    for judged, test in zip((one_set, many), tests):
        main = judgement.primary_comparisons(judged.comparisons)
        of_test = judged.comparisons[judged.comparisons.test == test].set_index("metric")
        assert (
            main.metric.is_unique and set(main.test) == {test} and main.metric[0] == judgement.PRIMARY_SCORE
        )
        assert main.p.tolist() == of_test.p[main.metric].tolist()
        assert ((main.low <= main.difference) & (main.difference <= main.high)).all()
    record = judgement.evidence_record(one_set)
    assert record["primary"][0]["p"] == pytest.approx(record_p(one_set, "balanced_accuracy"))
    assert judgement.evidence_record(judge(arms().query("arm == 'a'")))["primary"] == []


def record_p(judged, metric):
    rows = judged.comparisons.query("metric == @metric and test == 'studentised permutation of identities'")
    return rows.p.item()


def test_the_naive_test_of_splits_never_stands_alone():
    splits = pd.concat([arms(seed=i).assign(iteration=i) for i in range(4)])
    untold, told = judge(splits), judge(splits, train_subjects=60)
    assert untold.comparisons.empty and untold.scores.low.isna().all()
    assert all("--train-subjects" in untold.remarks[arm][0] for arm in "ab")
    assert {"naive paired t", "corrected resampled t"} <= set(told.comparisons.test)
    assert not any("--train-subjects" in text for text in told.remarks["a"])
    learnt = splits.assign(split="train", subject="t" + splits.subject, identity="t" + splits.identity)
    learnt["cell"] = "t" + learnt.cell
    with_training = judge(pd.concat([splits, learnt]))
    assert with_training.sizes == (14.0, 14.0) and len(with_training.comparisons) == len(told.comparisons)
    assert judgement.evidence_record(untold)["comparisons"] == []


def test_the_score_of_the_other_class_and_exchanged_classes_are_said():
    table = arms().query("arm == 'a'").reset_index(drop=True)
    plain, of_hem = judge(table), judge(table.assign(score=1 - table.score))
    alphabet = table.assign(label=(table.label == "HEM") * 1, score=1 - table.score)
    exchanged = judge(alphabet)
    assert not any("--positive" in text or "--invert" in text for text in plain.remarks["a"])
    assert "If the score is the probability of HEM, say --invert" in of_hem.remarks["a"][0]
    assert "the classes are exchanged" in exchanged.remarks["a"][0]
    assert "--positive 0" in exchanged.remarks["a"][0]
    mended = predictions.check_table(alphabet, positive="0", invert=True)
    pd.testing.assert_frame_equal(judgement.judge_table(mended, **QUICK).scores, plain.scores)


def test_one_image_under_two_subjects_of_one_identity_is_no_fault():
    table = arms()
    table["identity"] = table.identity.replace({"2": "1"})
    at = table.index[(table.arm == "b") & (table.subject == "1")][0]
    table.loc[at, "subject"] = "2"
    assert len(predictions.check_table(table)) == len(table)
