"""Sites and other groups: the tests hold where nothing differs, find what was planted, and refuse mistakes."""

import numpy as np
import pandas as pd
import pytest
from scipy import special
from scipy.stats import binomtest

from leukonb.evidence import subgroups
from leukonb.evidence.predictions import check_table
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal


def drawn(world, seed):
    rows = draw_one_set(world, seed)
    return rows[rows.arm == "b"].reset_index(drop=True)


def with_sites(table, sites=2):
    return table.assign(site=[f"s{int(name.strip('H')) % sites}" for name in table.identity])


@pytest.fixture(scope="module")
def table():
    return with_sites(drawn(OneSetWorld(14, 14, 30), 1))


@pytest.fixture(scope="module")
def differing():
    parts = [drawn(OneSetWorld(12, 12, 30, far), [4, i]) for i, far in enumerate((1.8, 0.3))]
    named = [
        part.assign(**{c: f"{i} " + part[c] for c in ("subject", "identity", "cell")}, site=f"s{i}")
        for i, part in enumerate(parts)
    ]
    return pd.concat(named, ignore_index=True)


def test_what_is_no_group_is_refused(table):
    twice = table.site.where(table.index != 3, "elsewhere")
    empty = table.site.where(table.index != 5)
    for column, says in (
        (twice, r"row 5: site of subject 1 is elsewhere here and s1 above"),
        (empty, r"row 7: site is empty"),
        ("s0", "at least two"),
        (table.identity, "another value for each of 28 subjects"),
    ):
        with pytest.raises(Refusal, match=says):
            subgroups.place_subjects(table.assign(site=column))
    with pytest.raises(Refusal, match="hospital.csv has no column 'age'"):
        subgroups.place_subjects(table, "age", "hospital.csv")
    for ask in (subgroups.interaction_test, subgroups.compare_groups, subgroups.shift_groups):
        with pytest.raises(Refusal, match="50 permutations"):
            ask(table, permutations=50)
        with pytest.raises(Refusal, match="no column"):
            ask(table, "age")


def test_a_kept_column_divides_a_checked_table(table):
    checked = check_table(table, keep=("site",))
    assert subgroups.place_subjects(checked).nunique() == 2


def test_a_small_group_says_so_and_has_no_interval_and_no_test(differing):
    small = differing.identity.isin(["0 1", "0 2", "0 H13"])
    rows = differing.assign(site=np.where(small, "tiny", differing.site))
    scores = subgroups.score_groups(rows)
    tiny = scores[scores.group == "tiny"]
    assert tiny.low.isna().all() and tiny.value.notna().all()
    assert set(tiny.note) == {"too few subjects for an interval: 1 HEM"} and (tiny.ALL == 2).all()
    assert scores.low[scores.group != "tiny"].notna().all()
    compared = subgroups.compare_groups(rows, permutations=99)
    assert compared.p[compared.group == "tiny"].isna().all()
    assert compared.p[compared.group != "tiny"].notna().all()
    assert "tiny" in subgroups.interaction_test(rows, permutations=99).note[0]


def test_the_interaction_test_holds_and_so_does_that_of_a_shift():
    worlds, names = 200, ["sensitivity", "balanced_accuracy", "auroc"]
    found = []
    for seed in range(worlds):
        rows = with_sites(drawn(OneSetWorld(10, 9, 8), [1, seed]), 2)
        p = subgroups.interaction_test(rows, names=names, permutations=99).p.tolist()
        found.append([*p, *subgroups.shift_groups(rows, permutations=99).p_any.unique()[:1]])
    claims = (np.array(found) <= 0.05).sum(0)
    assert all(binomtest(int(n), worlds, 0.05).pvalue > 0.001 for n in claims), claims / worlds


def test_a_planted_difference_is_found(differing):
    tested = subgroups.interaction_test(differing, permutations=199)
    assert (tested.p <= 0.05).all()
    shift = subgroups.shift_groups(differing, permutations=199)
    assert (shift.p_any <= 0.05).all()
    compared = subgroups.compare_groups(differing, permutations=199).set_index(["metric", "group"])
    assert np.allclose(compared.p, compared.p_holm)
    row = compared.loc[("balanced_accuracy", "s0")]
    assert 0 < row.low < row.difference < row.high


def test_a_rank_test_does_not_depend_on_the_scale(differing):
    once, cubed = (
        subgroups.interaction_test(rows, names=["auroc"], permutations=99)
        for rows in (differing, differing.assign(score=differing.score**3))
    )
    assert np.isclose(once.statistic[0], cubed.statistic[0], rtol=0.02)


def test_a_table_of_calls_has_no_ranks_and_no_calibration(table):
    calls = table.assign(score=(table.score > 0.5) * 1.0)
    assert "auroc" not in set(subgroups.interaction_test(calls, permutations=99).metric)
    assert "auroc" not in set(subgroups.score_groups(calls).metric)
    with pytest.raises(Refusal, match="calls"):
        subgroups.measure_calibration(calls)


def test_holm_corrects_over_sites(differing):
    rows = differing.assign(site=differing.site + differing.identity.str[-1].isin(list("02468")).map(str))
    compared = subgroups.compare_groups(rows, names=["balanced_accuracy"], permutations=199)
    assert len(compared) == 4 and (compared.comparisons == 4).all()
    assert np.isclose(compared.p_holm.min(), min(1, 4 * compared.p.min()))


def calibrated(world, seed):
    rows = drawn(world, seed)
    odds = 2 * world.distance / (1 + world.between**2) * special.logit(rows.score)
    return rows.assign(score=special.expit(odds))


@pytest.mark.parametrize(("shift", "factor"), [(0.0, 1.0), (0.7, 2.0), (-0.4, 0.5)])
def test_planted_miscalibration_is_recovered(shift, factor):
    rows = calibrated(OneSetWorld(800, 800, 8, 0.8, 0.7), 2)
    rows = rows.assign(score=special.expit(shift + factor * special.logit(rows.score)))
    found = subgroups.measure_calibration(rows).set_index("metric")
    assert abs(found.value["slope"] - 1 / factor) < 0.1 / factor
    assert found.low["slope"] < found.value["slope"] < found.high["slope"]
    assert (found.value["in the large"] < 0) == (shift > 0) or abs(found.value["in the large"]) < 0.1


def test_separated_classes_have_no_slope(table):
    apart = table.assign(score=np.where(table.label == "ALL", 0.6 + table.score / 3, table.score / 3))
    found = subgroups.measure_calibration(apart, "site").set_index(["group", "metric"])
    assert np.isnan(found.value[("everyone", "slope")])
    assert "separate" in found.note[("everyone", "slope")]
    assert np.isfinite(found.low[("everyone", "in the large")])


def test_a_shift_is_over_people_and_not_over_cells():
    rows = drawn(OneSetWorld(6, 6, 200), 8)
    alike = with_sites(rows, 2)
    assert subgroups.shift_groups(alike, permutations=999).p.min() > 1 / 40  # 20 ways to divide six in half
    low = alike.assign(score=np.where(alike.site == "s0", alike.score / 10, alike.score))
    found = subgroups.shift_groups(low, permutations=999)
    assert (found.higher[found.group == "s0"] < 0.1).all()


def test_two_tables_are_compared_where_no_one_is_in_both(differing):
    one, other = (rows for _, rows in differing.groupby("site"))
    found = subgroups.shift_between(one.assign(arm="x"), other, ("ours", "theirs"), permutations=199)
    assert set(found.group) == {"ours", "theirs"} and (found.p <= 0.05).all()
    with pytest.raises(Refusal, match="is in both tables"):
        subgroups.shift_between(one, differing)


def test_a_site_is_left_out_only_where_it_is_in_no_other_part(differing):
    rows = differing.assign(split=np.where(differing.site == "s0", "test", "train"))
    found = subgroups.score_left_out(rows)
    assert set(found.group) == {"s0"} and set(found.trained_on) == {"s1"}
    validated = rows.assign(split=np.where(rows.identity == "0 1", "validation", rows.split))
    assert subgroups.score_left_out(validated).empty
    assert subgroups.score_left_out(differing).empty
