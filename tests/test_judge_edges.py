"""Tables at the edge of what can be judged: nobody departs, nothing is told apart, splits that do not fit."""

import re

import numpy as np
import pandas as pd
import pytest
from leukonb.evidence import clustered, intervals, paired, resampled
from leukonb.evidence.predictions import check_table
from leukonb.files import Refusal
from leukonb.verbs.evaluate import judge_predictions
from scipy import stats

QUICK = {"resamples": 200, "permutations": 199}


def draw_table(ALL=13, HEM=15, seed=0, distance=1.5, arms=("model",), cells=20):
    """Subjects of 3 to `cells` cells; each arm sees the same cells with a noise of its own."""
    rng, rows = np.random.default_rng(seed), []
    for label, people in (("ALL", ALL), ("HEM", HEM)):
        side = 1 if label == "ALL" else -1
        for i in range(people):
            name, n = (f"{i + 1}" if label == "ALL" else f"H{i + 1}"), int(rng.integers(3, cells))
            logit = side * distance + 0.8 * rng.normal() + rng.normal(size=n)
            for arm in arms:
                score = 1 / (1 + np.exp(-(logit + 0.7 * rng.normal(size=n))))
                names = [f"{name} c{k}" for k in range(n)]
                rows.append(
                    pd.DataFrame({"cell": names, "subject": name, "label": label, "score": score, "arm": arm})
                )
    return pd.concat(rows, ignore_index=True)


def make_perfect(table):
    """Every cell on the right side, ranked perfectly."""
    return table.assign(score=np.where(table.label == "ALL", 0.75, 0.25) + 0.2 * (table.score - 0.5))


def draw_splits(splits=8, arms=("A", "B"), seed=5, test=5, train=False):
    """Splits of 20 + 20 subjects, of each class `test` tested and the others trained on."""
    table, rows = draw_table(20, 20, seed, arms=arms), []
    people = table.drop_duplicates("subject")
    for i in range(splits):
        tested = people.groupby("label").sample(test, random_state=i).subject
        here = table.subject.isin(tested)
        rows.append(table[here].assign(iteration=i, split="test"))
        if train:
            rows.append(table[~here].assign(iteration=i, split="train"))
    return pd.concat(rows, ignore_index=True)


def remarks_of(found, arm=None):
    """What is said before the figures of an arm, the first one unless named."""
    arms = found.record["arms"]
    return arms[arm or next(iter(arms))]["remarks"]


def has_width(rows):
    """Whether every interval that is given is wider than rounding."""
    known = rows[rows.low.notna()]
    return (known.high - known.low > 1e-6).all()


@pytest.mark.parametrize("seeds", [1, 6])
def test_perfect_seeds_have_the_interval_of_a_perfect_one(seeds):
    table = make_perfect(draw_table())
    table = pd.concat([table.assign(seed=i) for i in range(seeds)])
    found = judge_predictions(table, **QUICK)
    scores = found.scores.set_index("metric")
    kept = min((1 - np.array(intervals._unseen_shares(13, 15))).prod(0))
    assert scores.value["auroc"] == 1 and scores.high["auroc"] == 1
    assert scores.low["auroc"] == pytest.approx(kept, abs=1e-9) and kept < 0.8
    assert scores.low["average_precision"] < 0.85 and has_width(found.scores)


@pytest.mark.parametrize("people", [2, 5, 11, 13, 28])
def test_each_subject_counted_once_has_the_exact_interval_where_all_are_right(people):
    table = check_table(make_perfect(draw_table(people, people, seed=people)))
    once = clustered.score_subjects_once(table).set_index("metric")
    for name, n in (("sensitivity", people), ("specificity", people), ("accuracy", 2 * people)):
        assert once.value[name] == 1 and once.high[name] == 1
        assert once.low[name] == pytest.approx(stats.beta.ppf(0.025, n, 1), abs=1e-9)
    assert once.method.str.startswith("exact").all()


@pytest.mark.parametrize("seeds", [1, 6])
def test_two_perfect_arms_may_yet_differ(seeds):
    table = make_perfect(draw_table(arms=("A", "B")))
    found = judge_predictions(pd.concat([table.assign(seed=i) for i in range(seeds)]), **QUICK)
    rows = found.comparisons.set_index(["test", "metric"])
    swapped = rows.loc["studentised permutation of identities"]
    assert has_width(found.comparisons) and (swapped.p == 1).all()
    own = found.scores[found.scores.arm == "A"].set_index("metric").low
    for name in ("accuracy", "auroc"):
        assert swapped.high[name] == pytest.approx(1 - own[name]) == -swapped.low[name]
    same = rows.loc["equivalence within 0.02 over identities"].iloc[0]
    assert same.p == pytest.approx(0.98**28) and same.low < -0.05 < 0.05 < same.high


def test_a_difference_that_is_the_same_for_each_subject_has_an_interval():
    rows = [("H" * (s < 4) + f"{s}", "HEM" if s < 4 else "ALL", s) for s in range(10)]
    shares = [1, 1, 0.4, 1, *[0.8] * 3, *[1] * 3]
    table = []
    for (name, label, s), share in zip(rows, shares):
        for arm, order in (("A", 1), ("B", -1)):
            right = (np.arange(5) < round(5 * share))[::order]
            score = np.where(right == (label == "ALL"), 0.9, 0.1)
            table.append(
                pd.DataFrame({"cell": [f"{name}-{k}" for k in range(5)], "subject": name, "label": label})
            )
            table[-1] = table[-1].assign(score=score + 0.01 * np.arange(5), arm=arm)
    both = paired.pair_arms(check_table(pd.concat(table)), "A", "B")
    found = paired.permutation_test(both, ["specificity"], 199)["specificity"]
    assert found.difference == 0 and found.low < -0.1 < 0.1 < found.high


@pytest.mark.parametrize("known", [None, 30])
def test_a_perfect_recipe_over_splits_has_no_interval_of_no_width(known):
    table = make_perfect(draw_splits())
    wave = np.where(table.label == "ALL", 0.9, 0.1)
    found = judge_predictions(table.assign(score=wave), train_subjects=known, **QUICK)
    scores = found.scores[found.scores.arm == "A"].set_index("metric")
    assert has_width(found.scores) and has_width(found.comparisons)
    assert scores.low["sensitivity"] == pytest.approx(
        stats.beta.ppf(0.025, table[table.label == "ALL"].subject.nunique(), 1)
    )
    assert scores[["low", "high"]].loc[["brier", "ece"]].isna().all(axis=None)
    if known:
        first = found.comparisons.set_index(["metric", "test"]).loc[
            ("balanced_accuracy", "corrected resampled t")
        ]
        assert first.p == 1 and first.low < -0.05 < 0.05 < first.high
        assert "0.000 to 0.000" not in " ".join(found.answer)


def test_a_difference_that_is_the_same_in_all_splits_is_not_tested():
    a, b = np.array([0.8, 0.9, 0.7]), np.array([0.7, 0.8, 0.6])
    for test in (
        resampled.corrected_t_test(a, b, 30, 10),
        resampled.corrected_equivalence_test(a, b, 30, 10, 0.2),
    ):
        assert np.isnan([test.p, test.low, test.high]).all()


@pytest.mark.parametrize("invert", [False, True])
def test_a_constant_score_has_the_same_interval_both_ways(invert):
    table = draw_table().assign(score=0.7)
    found = judge_predictions(table, reading={"invert": invert}, **QUICK).scores.set_index("metric")
    low, value, high = found.loc["auroc", ["low", "value", "high"]]
    assert value == 0.5 and low + high == pytest.approx(1) and 0.3 < low < 0.45


def test_a_perfectly_wrong_score_mirrors_a_perfect_one():
    table = make_perfect(draw_table())
    right, wrong = (
        judge_predictions(t, **QUICK).scores.set_index("metric").loc[["auroc", "accuracy"], ["low", "high"]]
        for t in (table, table.assign(score=1 - table.score))
    )
    assert np.allclose(wrong.low, 0) and np.allclose(wrong.high, 1 - right.low) and (right.low < 0.9).all()


def shift(table, arm, by, splits):
    """The table with the splits of one arm numbered otherwise."""
    other = table.arm == arm
    return table.assign(iteration=table.iteration.where(~other, (table.iteration + by) % splits))


def test_arms_whose_splits_are_numbered_otherwise_are_refused():
    table = draw_splits()
    with pytest.raises(Refusal, match=r"row \d+, iteration 0: cell .* of arm A was not scored by arm B"):
        judge_predictions(shift(table, "B", 3, 8), train_subjects=30, **QUICK)


def test_arms_tested_on_other_people_or_cells_of_a_split_are_refused():
    table = draw_splits()
    second = table.arm == "B"
    few = table[~(second & table.subject.isin(["1", "2", "H1"]))]
    fewer_cells = table.drop(index=table[second].index[0])
    strangers = table.assign(
        subject=table.subject.where(~second, table.subject + "x"),
        cell=table.cell.where(~second, table.cell + "x"),
    )
    for odd in (few, fewer_cells, strangers):
        with pytest.raises(Refusal, match=r"row \d+, iteration \d: cell .* was not scored by arm"):
            judge_predictions(odd, train_subjects=30, **QUICK)


def test_an_arm_that_lacks_splits_is_said():
    table = draw_splits()
    found = judge_predictions(table[(table.arm == "A") | (table.iteration > 3)], train_subjects=30, **QUICK)
    assert any("A has 8, B has 4" in text for text in remarks_of(found, "B"))
    assert found.record["arms"]["B"]["splits"] == 4
    assert not any(
        "same splits" in text
        for text in remarks_of(judge_predictions(table, train_subjects=30, **QUICK), "B")
    )


@pytest.mark.parametrize(
    ("told", "train", "numbers"), [(100_000, False, "leaves 30 people"), (5, True, "hold 30 ")]
)
def test_training_subjects_that_contradict_the_table_are_refused(told, train, numbers):
    with pytest.raises(Refusal, match=f"train_subjects = {told}, .*{numbers}"):
        judge_predictions(draw_splits(30, ("A",), train=train), train_subjects=told, **QUICK)


def test_training_subjects_of_one_test_set_are_said_to_be_unused():
    found = judge_predictions(draw_table(), train_subjects=5, **QUICK)
    assert "is not used" in remarks_of(found, "model")[0]


def test_differences_over_few_splits_stay_within_one():
    table = draw_splits(3)
    turned = (table.arm == "B") & (table.iteration == 1)
    table["score"] = table.score.where(~turned, 1 - table.score)
    found = judge_predictions(table, train_subjects=6, **QUICK)
    rows = found.comparisons[found.comparisons.low.notna()]
    assert rows.low.min() == -1 and rows.high.max() == 1 and rows.note.str.contains("cut at 1").any()
    assert "-1.000 to 1.000, all that a difference can be" in found.answer[-1]


def test_a_cell_has_one_subject_in_all_splits():
    table = draw_splits(6, ("A",))
    late = (table.iteration > 3) & (table.subject == table.subject.iloc[-1])
    with pytest.raises(Refusal, match="cell .* in iteration .*; a cell has one"):
        check_table(
            table.assign(subject=table.subject.where(~late, "X1"), label=table.label.where(~late, "ALL"))
        )
    numbered = table.assign(cell=table.groupby("iteration").cumcount())
    assert any("numbered anew" in said for said in check_table(numbered).attrs["reading"])


def test_seeds_of_calls_have_no_ranking_alone_or_together():
    table = draw_table(arms=("A", "B"))
    rng = np.random.default_rng(0)
    seeds = pd.concat(
        [
            table.assign(seed=s, score=np.clip(table.score + rng.normal(0, 0.3, len(table)), 0.01, 0.99))
            for s in range(3)
        ]
    )
    called = seeds.arm == "B"
    seeds["score"] = seeds.score.where(~called, (seeds.score > 0.5) * 1.0)
    found = judge_predictions(seeds, **QUICK)
    assert any(text.startswith("The scores are calls") for text in remarks_of(found, "B"))
    assert (
        "auroc" not in found.record["arms"]["B"]["ensemble"]
        and "auroc" in found.record["arms"]["A"]["ensemble"]
    )
    assert "auroc" not in set(found.comparisons.metric)


def test_splits_of_calls_among_splits_of_probabilities_are_said():
    table = draw_splits(6, ("A",))
    table["score"] = table.score.where(table.iteration > 2, (table.score > 0.5) * 1.0)
    found = judge_predictions(table, train_subjects=30, **QUICK)
    assert any("3 of 6 networks (iteration 0 first) hold calls" in text for text in remarks_of(found, "A"))
    assert "auroc" not in set(found.scores.metric)


@pytest.mark.parametrize("column", ["seed", "iteration"])
def test_one_network_that_ranks_the_other_way_is_said(column):
    table = (
        draw_splits(6, ("A",))
        if column == "iteration"
        else pd.concat([draw_table().assign(seed=s) for s in range(6)])
    )
    turned = table.assign(score=table.score.where(table[column] != 2, 1 - table.score))
    for rows, said in ((table, False), (turned, True)):
        remarks = remarks_of(judge_predictions(rows, **QUICK))
        assert any(f"1 of 6 networks ({column} 2 first) rank HEM cells" in text for text in remarks) == said


@pytest.mark.parametrize("rename", [lambda s: s.replace("H3", "H3b"), lambda s: "UID_" + s])
def test_exchanged_classes_are_said_whatever_else_the_names_hold(rename):
    table = draw_table()
    swapped = table.assign(label=table.label.map({"ALL": "HEM", "HEM": "ALL"}), score=1 - table.score)
    swapped["subject"] = swapped.subject.map(rename)
    assert any(
        "the classes are exchanged" in text
        for text in remarks_of(judge_predictions(swapped, **QUICK), "model")
    )
    renamed = table.assign(subject=table.subject.map(rename))
    assert not any("exchanged" in text for text in remarks_of(judge_predictions(renamed, **QUICK), "model"))


def test_the_advice_for_one_arm_of_several_does_not_turn_the_others():
    table = draw_table(arms=("A", "B", "C"))
    turned = table.assign(score=table.score.where(table.arm != "C", 1 - table.score))
    found = judge_predictions(turned, **QUICK)
    assert any("write 1 - score for this arm" in text for text in remarks_of(found, "C"))
    assert not any("score higher" in text for text in remarks_of(found, "A"))


def test_people_who_are_ranked_the_wrong_way_are_said_where_cells_hide_it():
    table = draw_table(cells=9)
    people = table.groupby("subject").score.transform("mean")
    noise = np.random.default_rng(0).normal(0, 3, len(table))
    table["score"] = 1 / (1 + np.exp(noise + 2 * (people - 0.5)))
    cells = judge_predictions(table, **QUICK)
    assert cells.scores.set_index("metric").value["auroc"] > 0.35
    assert any("HEM subjects by their mean score higher" in text for text in remarks_of(cells))


def test_what_very_many_people_leave_out_is_said(monkeypatch):
    table = draw_table(8, 8, arms=("A", "B"))
    usual = judge_predictions(table, **QUICK)
    monkeypatch.setattr(paired, "MOST_FOR_PAIRS", 15)
    found = judge_predictions(table, **QUICK)
    assert any("(here 16) the bootstrap of differences" in text for text in remarks_of(found, "A"))
    assert "199 permutations were drawn" in found.record["methods"]["paragraph"]
    assert "199 permutations and 200 resamples" in usual.record["methods"]["paragraph"]


def test_refusals_name_the_row_and_the_value():
    table = draw_table(3, 3).drop(columns="arm")
    train = table.assign(split="train", cell=table.cell + "t", subject=table.subject + "t")
    leak = pd.concat([train, train.iloc[:2].assign(split="test"), table.assign(split="test")])
    cases = {
        f"table, row {len(train) + 2}: identity 1t is in training and, here, in test": leak,
        "table, row 9: cell is empty; name it, or leave the column out": table.assign(
            cell=table.cell.where(np.arange(len(table)) != 7, "")
        ),
        "table, row 2: from there on all 43 judged cells are ALL": table[table.label == "ALL"],
        "look like log-probabilities": table.assign(score=np.log(table.score)),
    }
    for words, odd in cases.items():
        with pytest.raises(Refusal, match=re.escape(words)):
            check_table(odd)
