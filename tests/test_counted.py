"""Tests of one class, odds ratios, bars of a subject and planned intervals: how well each holds was counted, and is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import claims, counted, networks, subjects, tested, worlds
from leukonb.evidence.fragility import find_fragility
from leukonb.evidence.judgement import PRIMARY_TESTS
from leukonb.files import digest_file, read_json
from leukonb.pages import holding, judge

ROOT = Path(__file__).resolve().parents[1]
SMALL = worlds.OneSetWorld(ALL=7, HEM=4, cells=8)


def record():
    """The published record of these counts."""
    (found,) = (ROOT / "nbs/_published/simulation/further-tests").glob("*/run.json")
    return found.parent


@pytest.mark.parametrize("name", ["further_claims.csv", "subject_bars.csv"])
def test_the_counts_are_those_of_the_published_record(name):
    assert digest_file(ROOT / "leukonb/evidence" / name) == digest_file(record() / name)


def test_every_count_is_of_as_many_studies_as_were_asked_for():
    asked = read_json(record() / "run.json")["inputs"]["parameters"]
    rows, bars = counted.read_further_claims(), counted.read_bars()
    assert list(rows.columns) == claims.COLUMNS and set(rows.subjects) == set(asked["subjects"])
    assert asked["worlds"] == 1000 == rows.worlds.max() == bars.worlds.min()
    # of few subjects whom both arms call alike there is no odds ratio
    assert (rows.worlds[~rows.metric.str.startswith("odds_ratio_of")] > 900).all()
    np.testing.assert_allclose(rows.error, np.sqrt(rows.claims * (1 - rows.claims) / rows.worlds), atol=2e-4)
    assert set(bars.cells) == set(asked["cells"]) and set(bars.classifier) == set(asked["classifiers"])


@pytest.mark.parametrize("people", [11, 28])
def test_the_tests_of_today_are_those_of_the_published_record(people):
    stated = pd.read_csv(record() / "first-studies.csv").query("subjects == @people and classifier == 'good'")
    asked = read_json(record() / "run.json")["inputs"]["parameters"]
    for kind, world in tested.list_kinds("good", people, asked["better"]).items():
        seed = (asked["seed"], 0)
        now = tested.class_tests(world, seed, asked["permutations"]) | tested.odds_ratios(world, seed)
        rows = stated[stated.world == kind]
        assert {(r.test, r.metric) for r in rows.itertuples()} == {(t, m) for t, m, _ in now}
        for r in rows.itertuples():
            found = [now[r.test, r.metric, what] for what in ("p", "low", "high")]
            said = f"{kind}, {r.metric}: leukonb computes other tests than the record's; run it again"
            np.testing.assert_allclose(found, [r.p, r.low, r.high], rtol=0, atol=1e-6, err_msg=said)


@pytest.mark.parametrize("metric", ["sensitivity", "specificity"])
def test_the_test_of_one_class_comes_with_its_count(metric):
    compared = pd.DataFrame({"metric": [metric], "test": PRIMARY_TESTS[0]})
    said, *_ = holding.describe_claims(worlds.draw_one_set(SMALL, 0), compared)
    rows = counted.read_further_claims().query("subjects == 11 and metric == @metric")
    usual = rows[(rows.classifier == "good") & (rows.world == "alike")].iloc[0]
    assert f"found a difference between equal arms in {100 * usual.claims:.1f} % of 1,000" in said
    assert f"held the true difference in {100 * usual['interval coverage']:.1f} %" in said


def test_the_odds_ratio_of_two_arms_comes_with_its_count_and_its_worst():
    table = worlds.draw_one_set(worlds.OneSetWorld(ALL=7, HEM=4, cells=40), 0)
    odds = find_fragility({arm: networks.split_networks(table, arm) for arm in "ab"}).odds
    (said,) = holding.describe_odds(table, odds)
    assert said.startswith("In 1,000 simulated studies of 11 subjects (7 ALL, 4 HEM) the interval held")
    for metric, of in (("odds_ratio", "both classes"), ("odds_ratio_of_HEM", "HEM")):
        rows = counted.read_further_claims().query("subjects == 11 and metric == @metric")
        usual = rows[(rows.classifier == "good") & (rows.world == "alike")].iloc[0]["interval coverage"]
        worst = rows["interval coverage"].min()
        assert f"of {of} in {100 * usual:.1f} %" in said
        assert worst >= usual or f"(at worst {100 * worst:.1f} %" in said
    assert "only at 95 %" in holding.describe_odds(table, odds, 0.9)[0]


def test_an_odds_ratio_that_does_not_hold_is_named():
    rows = counted.read_further_claims()
    held = rows.assign(**{"interval verdict": "holds"})
    narrow = held.copy()
    of_hem = narrow.metric == "odds_ratio_of_HEM"
    narrow.loc[of_hem, "interval verdict"] = "does not: holds .88"
    assert "in some studies: HEM; read those ends as rough." in counted.describe_odds(7, 4, narrow)
    assert "Too narrow" not in counted.describe_odds(7, 4, held)


def test_the_truth_that_odds_ratios_are_held_against_is_what_many_subjects_have():
    world = worlds.OneSetWorld(ALL=400, HEM=300, cells=300, distance=0.8, gain=0.25)
    both = tested.draw_disputed(world, (0, 5))
    first, second = ((both[arm] == (both.label == "ALL")) for arm in ("first", "second"))
    alone = [right.groupby(both.identity).sum() + 0.5 for right in (first & ~second, second & ~first)]
    middle = np.median(np.log(alone[0] / alone[1]))
    assert middle == pytest.approx(np.log(tested.true_odds(world)["odds_ratio"]), abs=0.12)


def test_a_bar_is_of_the_subjects_own_cells_and_its_count_stands_with_the_figure():
    table = worlds.draw_one_set(worlds.OneSetWorld(ALL=5, HEM=5, cells=6), 0).query("arm == 'a'")
    verdicts = {"a": networks.average_verdicts(networks.split_networks(table, "a"))}
    said = judge.describe_verdicts(verdicts)
    assert said[1] == counted.describe_bars() and "not on the number of subjects" in said[1]
    for r in counted.read_bars().itertuples():
        assert f"{100 * r.coverage:.0f} % with {r.cells} cells" in said[1]
    several = {"a": verdicts["a"].assign(networks=2)}
    assert not any("A bar promises" in text for text in judge.describe_verdicts(several))


def test_a_bar_is_the_same_however_many_other_subjects_there_are():
    table, truth = tested.draw_alike(worlds.cnmc_world(28), 40, 30)
    many = subjects.subject_verdicts(table).set_index("identity")
    assert ((many.low < truth) & (truth < many.high)).mean() > 0.7
    alone = subjects.subject_verdicts(table[table.identity == 0]).iloc[0]
    assert (alone.low, alone.high) == (many.low[0], many.high[0])
