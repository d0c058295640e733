"""Tables at the edge of what can be judged: nobody departs, nothing is told apart, splits that do not fit."""

import numpy as np
import pandas as pd
import pytest
from leukonb.evidence import clustered, intervals, paired, resampled
from leukonb.evidence.predictions import check_table
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


def has_width(rows):
    """Whether every interval that is given is wider than rounding."""
    known = rows[rows.low.notna()]
    return (known.high - known.low > 1e-6).all()


@pytest.mark.parametrize("seeds", [1, 3, 6, 7, 10])
def test_perfect_seeds_have_the_interval_of_a_perfect_one(seeds):
    table = make_perfect(draw_table())
    table = pd.concat([table.assign(seed=i) for i in range(seeds)])
    found = judge_predictions(table, **QUICK)
    scores = found.scores.set_index("metric")
    kept = min((1 - np.array(intervals._unseen_shares(13, 15))).prod(0))
    assert scores.value["auroc"] == 1 and scores.high["auroc"] == 1
    assert scores.low["auroc"] == pytest.approx(kept, abs=1e-9) and kept < 0.8
    assert scores.low["average_precision"] < 0.85 and has_width(found.scores)


@pytest.mark.parametrize("people", [*range(2, 14), 19, 28])
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
    for test in (resampled.corrected_t_test(a, b, 30, 10), resampled.equivalence_test(a, b, 30, 10, 0.2)):
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
