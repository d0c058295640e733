"""What could change a comparison is in the record and on the page, and stops where it would take too long."""

import json

import numpy as np
import pandas as pd
import pytest

from leukonb.draw.charts import draw_differences
from leukonb.evidence import answers, fragility, judgement, metrics, networks, predictions
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.pages import judge as page
from leukonb.pages import judge_further as further

QUICK = {"resamples": 100, "permutations": 100}


def world(seed=3, **facts):
    return draw_one_set(OneSetWorld(**{"ALL": 6, "HEM": 7, "cells": 9, **facts}), seed)


def seeds(table, n, start=0):
    """Networks of one recipe: each has errors of its own."""
    rng, odds = np.random.default_rng(start), np.log(table.score / (1 - table.score)).to_numpy()
    drawn = [1 / (1 + np.exp(-odds - rng.normal(0, 1.5, len(odds)))) for _ in range(n)]
    return pd.concat([table.assign(seed=s, score=x) for s, x in enumerate(drawn)], ignore_index=True)


def judge(table, **options):
    return judgement.judge_table(predictions.check_table(table), **{**QUICK, **options})


def gap(table, metric="balanced_accuracy"):
    """The mean score of the networks of arm a, less that of arm b."""
    each = {key: metrics.compute_scores(x)[metric] for key, x in table.groupby(["arm", "seed"])}
    means = pd.Series(each).groupby(level=0).mean()
    return means["a"] - means["b"]


@pytest.fixture(scope="module")
def of_seeds():
    table = world(gain=0.5)
    both = [seeds(table[table.arm == arm], 2, start) for start, arm in enumerate("ab")]
    table = pd.concat(both, ignore_index=True)
    return table, judgement.evidence_record(judge(table))


def test_the_record_holds_the_gap_without_each_subject_as_it_is_without_those_rows(of_seeds):
    table, record = of_seeds
    row = next(row for row in record["changes"]["moved"] if row["metric"] == "balanced_accuracy")
    alone = {who: gap(table[table.identity != who]) for who in table.identity.unique()}
    assert row["difference"] == pytest.approx(gap(table))
    assert row["without_lowest"] == min(alone, key=alone.get) and row["lowest"] == pytest.approx(
        min(alone.values())
    )
    assert row["highest"] == pytest.approx(max(alone.values()))
    first = next(x for x in record["changes"]["influential"] if x["metric"] == "balanced_accuracy")
    assert abs(first["change"]) == pytest.approx(max(abs(x - gap(table)) for x in alone.values()))
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_labels_that_are_named_turn_the_sign_when_they_are_wrong(of_seeds):
    table, record = of_seeds
    for row in record["changes"]["moved"]:
        turned = table.identity.isin(row["who"].split(", "))
        assert turned.any() and 0 < row["relabelled"] == len(row["who"].split(", "))
        other = table.assign(label=table.label.where(~turned, table.label.map({"ALL": "HEM", "HEM": "ALL"})))
        assert gap(other, row["metric"]) * row["difference"] <= 1e-12


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_page_says_who_and_how_many_of_every_pair():
    table = world(gain=0.6)
    third = table[table.arm == "b"].assign(
        arm="c", score=lambda x: x.score.sample(frac=1, random_state=1).to_numpy()
    )
    judged = judge(pd.concat([table, third], ignore_index=True))
    sentences = fragility.state_changes(judged.fragility, judgement.PRIMARY_SCORE)
    rows = further.tabulate_moved(judged.fragility)
    assert rows.pair.unique().tolist() == ["a - b", "a - c", "b - c"]
    main = judgement.primary_comparisons(judged.comparisons)
    ours = judged.fragility.swayed.merge(main, on=["a", "b", "metric"])
    assert len(ours) == len(main) and np.allclose(ours.difference_x, ours.difference_y)
    for said, (_, row) in zip(sentences, rows[rows.score == "balanced accuracy"].iterrows()):
        assert f"of {table.identity.nunique()} subjects" in said and row.who in said
        assert row.lowest.split(" without ")[1] in said and "by a mixed model" in said


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_that_hangs_on_one_subject_is_said_to(sign):
    """Two arms that are alike but for one subject, whom the one calls rightly and the other wrongly."""
    one = world(distance=4.0).query("arm == 'a'").reset_index(drop=True)
    who = one.identity[0]
    other = one.assign(arm="b", score=one.score.where(one.identity != who, 1 - (one.label == "ALL")))
    one = one.assign(score=one.score.where(one.identity != who, 1.0 * (one.label == "ALL")))
    arms = {"good": one.assign(arm="good"), "bad": other.assign(arm="bad")}
    names = list(arms)[::sign]
    by_arm = {name: networks.split_networks(arms[name], name) for name in names}
    found = fragility.find_fragility(by_arm)
    row = found.swayed.set_index("metric").loc["balanced_accuracy"]
    assert not row.same_sign and row.relabelled == 1 and row.who == who
    said = fragility.state_changes(found, "balanced_accuracy")[0]
    assert (
        "good is not always ahead" in said and f"if the label of 1 of 13 subjects was wrong ({who})" in said
    )
    assert found.odds.odds_ratio.isna().all() and "mixed model" not in said


def test_a_mixed_model_that_favours_the_other_arm_is_said_to():
    row = {"a": "one", "b": "two", "label": "both", "odds_ratio": 0.25, "low": 0.1, "high": 0.5, "p": 0.01}
    odds = pd.DataFrame([{**row, "identities": 9, "cells": 30}])
    moved = {"metric": "accuracy", "difference": 0.1, "same_sign": True, "relabelled": 2, "identities": 9}
    ends = {"lowest": 0.05, "without_lowest": "x", "highest": 0.2, "without_highest": "y", "who": "x, y"}
    found = fragility.Fragility(pd.DataFrame([{"a": "one", "b": "two", **moved, **ends}]), odds=odds)
    (said,) = fragility.state_changes(found, "accuracy")
    assert "the odds that it is two are 4.00 to 1" in said and "interval 2.00 to 10.00, p = .010" in said
    assert said.endswith("This points the other way than the difference.")


@pytest.mark.parametrize(
    "name, said", [("MOST_SUBJECTS", "13 subjects, and it stops at 5"), ("MOST_COMPARED", "stops at 5 cells")]
)
def test_beyond_a_size_nothing_is_computed_and_it_is_said(monkeypatch, name, said):
    monkeypatch.setattr(fragility, name, 5)
    found = judge(world()).fragility
    assert found.swayed.empty and found.odds.empty
    assert said in fragility.state_changes(found, judgement.PRIMARY_SCORE)[0]


def test_over_splits_and_of_one_arm_there_is_nothing_and_only_the_first_is_said():
    splits = pd.concat([world(i).assign(iteration=i) for i in (1, 2)])
    over, alone = (judge(x).fragility for x in (splits, world().query("arm == 'a'")))
    assert over.swayed.empty and "this table holds 2 splits" in over.said[0] and alone.said == ()


def test_cells_without_names_have_no_mixed_model_and_the_rest_is_there():
    found = judge(world().drop(columns="cell")).fragility
    assert len(found.swayed) == 6 and found.odds.empty
    assert "No mixed model of a and b" in fragility.state_changes(found, judgement.PRIMARY_SCORE)[-1]


# where test and interval disagree

ROWS = pd.DataFrame(
    {
        "name": ["both find it", "the test alone", "the interval alone", "neither", "no interval"],
        "difference": 0.1,
        "low": [0.01, -0.01, 0.01, -0.01, np.nan],
        "high": [0.2, 0.2, 0.2, 0.2, np.nan],
        "p_holm": [0.01, 0.01, 0.2, 0.2, 0.01],
    }
)
UNSETTLED = [False, True, True, False, False]


def test_the_figure_marks_by_shape_and_by_word_what_the_sentence_calls_not_settled():
    rows = page.mark_unsettled(ROWS.assign(p=ROWS.p_holm), 0.95)
    assert rows.unsettled.tolist() == UNSETTLED
    drawn = draw_differences(rows)
    texts, signs = drawn.layout.yaxis.ticktext, drawn.data[0].marker.symbol
    for row, text, sign in zip(rows.itertuples(), texts, signs, strict=True):
        said = answers.state_pair(
            {**row._asdict(), "a": "one", "b": "two", "metric": "accuracy"}, 0.95, "people"
        )
        assert ("not settled" in text) == (sign == "diamond-open") == ("not settled" in said) == row.unsettled


def test_the_table_names_what_disagrees_and_has_no_such_column_where_nothing_does():
    main = ROWS.assign(a="one", b="two", metric="accuracy", primary=False, p=ROWS.p_holm)
    shown = page.tabulate_comparisons(main)
    assert [text == "disagree" for text in shown["test and interval"]] == UNSETTLED
    assert "test and interval" not in page.tabulate_comparisons(main[~np.array(UNSETTLED)])
