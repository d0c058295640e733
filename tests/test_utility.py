"""What a call is worth: refusals, other units, several networks, and limits that a notebook does not show."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from leukonb.evidence import calibration, metrics, utility
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal


@pytest.fixture(scope="module")
def table():
    return draw_one_set(OneSetWorld(), 5).query("arm == 'b'").reset_index(drop=True)


def by_metric(rows):
    return rows.set_index("metric")


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 20, float("nan")])
def test_a_prevalence_that_is_no_share_is_refused(table, prevalence):
    for ask in (utility.predictive_values, utility.decision_band):
        with pytest.raises(Refusal, match="prevalence = "):
            ask(table, prevalence)
    with pytest.raises(Refusal, match="prevalence = "):
        utility.predictive_curve(table, [0.1, prevalence])
    with pytest.raises(Refusal):
        calibration.decision_curve(table, prevalence=prevalence)


def test_what_cannot_be_judged_is_refused(table):
    calls = table.assign(score=(table.score > 0.5) * 1.0)
    with pytest.raises(Refusal, match="calls"):
        utility.operating_scores(calls)
    with pytest.raises(Refusal, match="specificity = 1"):
        utility.operating_scores(table, specificity=1)
    with pytest.raises(Refusal, match="iterations"):
        utility.predictive_values(table.assign(iteration=np.arange(len(table)) % 2), 0.1)
    with pytest.raises(Refusal, match="at least 2 of each class"):
        utility.predictive_values(table[(table.label == "ALL") | (table.identity == "H14")], 0.1)
    with pytest.raises(Refusal, match="between 0 and 1"):
        utility.decision_band(table, 0.1, [0.0, 0.5])
    uneven = pd.concat([table, table.iloc[1:].assign(seed=1)], ignore_index=True)
    with pytest.raises(Refusal, match="seeds of the table"):
        utility.predictive_values(uneven, 0.1)


@pytest.mark.parametrize("prevalence", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_predictive_values_are_bayes(table, prevalence, threshold):
    counted = metrics.compute_scores(table, threshold)
    se, sp = counted["sensitivity"], counted["specificity"]
    found = by_metric(utility.predictive_values(table, prevalence, threshold)).value
    positive, negative = prevalence * se, (1 - prevalence) * sp
    assert np.isclose(found["ppv"], positive / (positive + (1 - prevalence) * (1 - sp)))
    assert np.isclose(found["npv"], negative / (negative + prevalence * (1 - se)))
    assert np.isclose(found["called_all"], positive + (1 - prevalence) * (1 - sp))
    odds = threshold / (1 - threshold)
    assert np.isclose(found["net_benefit"], positive - (1 - prevalence) * (1 - sp) * odds)


def test_a_decision_band_holds_its_curve_and_is_that_of_the_table_at_its_share(table):
    share = (table.label == "ALL").mean()
    band, curve = utility.decision_band(table, share), calibration.decision_curve(table)
    pd.testing.assert_frame_equal(band[curve.columns], curve)
    one = utility.predictive_values(table, share, 0.3)
    row = band[np.isclose(band.threshold, 0.3)].iloc[0]
    single = by_metric(one).loc["net_benefit"]
    assert np.isclose(row.model, single.value)
    assert row.low <= single.low + 1e-12 and row.high >= single.high - 1e-12


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kept", [0.5, 0.8, 0.95])
def test_the_partial_area_is_that_of_scikit_learn(table, ties, kept):
    rows = table.assign(score=table.score.round(1)) if ties else table
    found = by_metric(utility.operating_scores(rows, kept, kept)).value
    truth = (rows.label == "ALL").to_numpy()
    theirs = roc_auc_score(truth, rows.score, max_fpr=1 - kept)
    mirrored = roc_auc_score(~truth, -rows.score, max_fpr=1 - kept)
    assert np.isclose(found[f"partial AUROC, specificity {kept:g} to 1"], theirs)
    assert np.isclose(found[f"partial AUROC, sensitivity {kept:g} to 1"], mirrored)


def test_operating_scores_do_not_change_with_the_scale_or_the_order_of_rows(table):
    once = utility.operating_scores(table)
    again = utility.operating_scores(table.assign(score=table.score**3).sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(once, again)


def test_several_networks_are_judged_by_their_mean_and_not_as_an_ensemble(table):
    other = table.assign(score=np.random.default_rng(0).permutation(table.score), seed=1)
    both = pd.concat([table, other.sample(frac=1, random_state=1)], ignore_index=True)
    for ask in (lambda rows: utility.predictive_values(rows, 0.1), utility.operating_scores):
        each = [by_metric(ask(rows)).value for rows in (table, other)]
        mean = by_metric(ask(both)).value
        for name in mean.index:
            if name not in ("ppv", "npv", "needed_to_review"):
                assert np.isclose(mean[name], (each[0][name] + each[1][name]) / 2), name


def test_people_can_be_counted_and_cells_alone_are_called_naive(table):
    people = by_metric(utility.predictive_values(table, 0.1, by="identity"))
    cells = by_metric(utility.predictive_values(table, 0.1, unit="cell"))
    own = by_metric(utility.predictive_values(table, 0.1))
    right = metrics.compute_scores(table, by="identity")
    assert np.isclose(people.value["sensitivity"], right["sensitivity"])
    assert "naive" in cells.method.iloc[0] and "naive" not in own.method.iloc[0]
    assert (cells.high - cells.low)["ppv"] < (own.high - own.low)["ppv"] / 2


def test_intervals_of_more_people_are_narrower():
    few, many = (
        draw_one_set(OneSetWorld(n, n, 30), 3).query("arm == 'b'").reset_index(drop=True) for n in (10, 160)
    )
    for ask in (lambda rows: utility.predictive_values(rows, 0.1), utility.operating_scores):
        wide, narrow = (by_metric(ask(rows)) for rows in (few, many))
        assert ((narrow.high - narrow.low) < (wide.high - wide.low)).all()


def test_scores_that_are_moved_keep_their_order_and_their_ends(table):
    moved = utility.move_scores(table, 0.02, made_for=0.6)
    assert (moved.score.rank() == table.score.rank()).all()
    assert (moved.score < table.score).all()
    ends = utility.move_scores(pd.DataFrame({"score": [0.0, 1.0]}), 0.02, made_for=0.6)
    assert ends.score.tolist() == [0, 1]


def test_a_band_knows_no_more_at_a_higher_threshold_than_at_a_lower_one(table):
    sure = table.assign(score=np.where(table.label == "ALL", 0.5 + table.score / 2, table.score))
    sure.loc[sure.label.eq("ALL") & (sure.score < 0.55), "score"] = 0.2
    band = utility.decision_band(sure, 0.5)
    quiet = band[band.threshold < 0.3]
    assert (np.diff(quiet.low) < 1e-9).all()


def test_predictive_values_change_places_where_the_classes_do(table):
    share = utility.predictive_values(table, 0.5)
    turned = table.assign(label=np.where(table.label == "ALL", "HEM", "ALL"), score=1 - table.score)
    mirrored = by_metric(utility.predictive_values(turned, 0.5, threshold=1 - 0.5 + 1e-12))
    assert np.isclose(by_metric(share).value["ppv"], mirrored.value["npv"])
    assert np.isclose(by_metric(share).low["ppv"], mirrored.low["npv"])
