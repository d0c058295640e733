"""Intervals and tests over subjects: range, limits, enumeration, coverage, and tables of many rows."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from leukonb.evidence import clustered, intervals, metrics, paired
from leukonb.evidence.predictions import check_table
from leukonb.evidence.worlds import OneSetWorld, draw_one_set, population_score
from leukonb.files import Refusal
from scipy import stats

PEERS = SHARED / "peer-results"
BOUNDS = dict.fromkeys(metrics.SIGNED, (-1, 1))


def one_arm(seed=0, **world):
    return draw_one_set(OneSetWorld(**world), seed).query("arm == 'b'").reset_index(drop=True)


def two_arms(seed=0, **world):
    return paired.pair_arms(draw_one_set(OneSetWorld(**world), seed), "a", "b")


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=4, max_size=12),
    distance=st.floats(-1, 4),
    between=st.floats(0, 3),
    digits=st.integers(0, 3),
    seed=st.integers(0, 10**6),
)
def test_every_interval_contains_its_score_and_stays_in_its_range(sizes, distance, between, digits, seed):
    rng, n = np.random.default_rng(seed), len(sizes)
    who = np.repeat(np.arange(n), sizes)
    side = np.where(np.arange(n) % 2, -1.0, 1.0)
    logit = (side * distance + between * rng.standard_normal(n))[who] + rng.standard_normal(len(who))
    names = np.array([f"H{i}" if i % 2 else f"{i}" for i in range(n)])
    rows = {"subject": names[who], "label": np.where(side[who] > 0, "ALL", "HEM")}
    table = check_table(pd.DataFrame({**rows, "score": np.round(1 / (1 + np.exp(-logit)), digits)}))
    for found in (clustered.interval_scores(table, metrics.NAMES), clustered.score_subjects_once(table)):
        found = found[found.value.notna() & found.low.notna()]
        least = found.metric.map(lambda name: BOUNDS.get(name, (0, 1))[0])
        assert (found.low <= found.value + 1e-12).all() and (found.value <= found.high + 1e-12).all()
        assert (found.low >= least - 1e-12).all() and (found.high <= 1 + 1e-12).all()


def test_the_interval_of_an_order_does_not_depend_on_the_scale():
    table = one_arm(3)
    names = ["auroc", "average_precision"]
    plain, cubed = (
        clustered.interval_scores(t, names).set_index("metric")[["value", "low", "high"]]
        for t in (table, table.assign(score=table.score**3))
    )
    pd.testing.assert_frame_equal(plain, cubed, rtol=1e-9)


def test_classes_exchanged_exchange_sensitivity_and_specificity():
    table = one_arm(4)
    turned = table.assign(label=table.label.map({"ALL": "HEM", "HEM": "ALL"}), score=1 - table.score)
    as_is, other = (
        clustered.interval_scores(t).set_index("metric")[["low", "high"]] for t in (table, turned)
    )
    swap = {"sensitivity": "specificity", "specificity": "sensitivity"}
    assert np.allclose(as_is, other.rename(swap).loc[as_is.index])


def test_one_cell_of_each_subject_is_the_exact_interval_of_a_share():
    """Clopper & Pearson's, as R's binom.test and SciPy have it, where subjects have one cell."""
    rng = np.random.default_rng(0)
    who = [f"{i}" for i in range(40)] + [f"H{i}" for i in range(60)]
    rows = {"subject": who, "label": ["ALL"] * 40 + ["HEM"] * 60}
    table = check_table(pd.DataFrame({**rows, "score": np.round(rng.random(100), 2)}))
    found = clustered.interval_scores(table, ["sensitivity", "specificity"]).set_index("metric")
    for name, label, n in (("sensitivity", "ALL", 40), ("specificity", "HEM", 60)):
        own = table[table.label == label].score
        k = int(((own >= 0.5) == (label == "ALL")).sum())
        exact = stats.binomtest(k, n).proportion_ci()
        assert (found.low[name], found.high[name]) == pytest.approx(exact, abs=1e-9)


def one_class_with_errors(errors, people=14, cells=50, unequal=False):
    """A table: ALL subjects of whom a fifth of the cells is wrong, HEM subjects with few errors, or none."""
    rng, rows = np.random.default_rng(0), []
    for label in ("ALL", "HEM"):
        for i in range(people):
            n = int(rng.gamma(1.1, cells / 1.1)) + 3 if unequal else cells
            wrong = (
                rng.random(n) < rng.beta(0.67, 2.67) if label == "ALL" else np.arange(n) < errors * (i == 0)
            )
            rows.append(
                pd.DataFrame({"subject": f"{'H' * (label == 'HEM')}{i}", "label": label, "right": ~wrong})
            )
    table = pd.concat(rows, ignore_index=True)
    noise = rng.uniform(0, 0.05, len(table))
    return check_table(table.assign(score=np.where(table.right == (table.label == "ALL"), 0.9, 0.1) + noise))


def test_a_class_without_errors_does_not_blow_up_what_is_made_of_both():
    """An accuracy of .9 had the interval .08 to .95: the error of one class stretched the doubt about both."""
    for seed in range(3):
        table = one_class_with_errors(0, unequal=True)
        table = table[table.subject.isin(table.subject.unique()[seed:])]
        found = clustered.interval_scores(table, ["accuracy", "balanced_accuracy", "f1", "specificity"])
        wide = (found.high - found.low).set_axis(found.metric)
        assert wide[["accuracy", "balanced_accuracy", "f1"]].max() < wide["specificity"] + 0.04 < 0.3


def test_one_subject_with_most_cells_of_a_class_leaves_accuracy_an_interval():
    """An accuracy lies between both shares, and so does its interval; it was 0 to 1."""
    sizes, wrong = np.r_[300, np.repeat(10, 9)], np.r_[np.zeros(9), 10]
    well = [
        (f"H{i}", "HEM", 0.8 if j < w else 0.2)
        for i, (n, w) in enumerate(zip(sizes, wrong))
        for j in range(n)
    ]
    ill = [(f"A{i}", "ALL", 0.2 if j < 9 + i % 3 else 0.8) for i in range(14) for j in range(50)]
    table = pd.DataFrame(well + ill, columns=["subject", "label", "score"])
    names = ["accuracy", "f1", "mcc", "sensitivity", "specificity"]
    found = clustered.interval_scores(check_table(table), names).set_index("metric")
    lows, highs = (found.loc[["sensitivity", "specificity"], end] for end in ("low", "high"))
    assert lows.min() - 0.02 < found.low.accuracy < found.value.accuracy < found.high.accuracy < highs.max()
    assert found.low.f1 > 0.5 and found.low.mcc > 0


def arms_apart_in_few(seed):
    """Two arms that call alike but for some cells of one or two subjects, which one of them has wrong."""
    rng = np.random.default_rng(seed)
    sizes = {"ALL": int(rng.choice([7, 14, 30])), "HEM": int(rng.choice([4, 14, 30]))}
    first = check_table(one_arm(seed, **sizes, distance=float(rng.choice([1.5, 2.5])), cells=30))
    kind = rng.choice(["ALL", "HEM"])
    people = sorted(first.identity[first.label == kind].unique())
    few = rng.choice(people, rng.integers(1, 3), replace=False)
    cells = rng.permutation(first.index[first.identity.isin(few)])
    second = first.copy()
    second.loc[cells[: rng.integers(1, len(cells) + 1)], "score"] = 0.1 if kind == "ALL" else 0.9
    return paired.pair_arms(pd.concat([first.assign(arm="a"), second.assign(arm="b")]), "a", "b")


def count_differences(seeds=range(26, 46)):
    """The differences whose interval is without 0."""
    found = []
    for seed in seeds:
        tests = paired.permutation_test(
            arms_apart_in_few(seed), ("accuracy", "sensitivity", "specificity"), 99
        )
        found += [test for test in tests.values() if not test.low <= 1e-9 <= test.high + 2e-9]
    return len(found)


def test_arms_that_differ_in_one_or_two_subjects_alone_are_not_told_apart(monkeypatch):
    """So few say nothing of other subjects: each arm's own interval counts, as if they were independent."""
    assert count_differences() == 0
    monkeypatch.setattr(paired, "_count_apart", lambda *_: 99)
    assert count_differences() == 3


def test_errors_that_are_added_never_raise_the_lower_end():
    """One cell called wrongly made .75 to 1 into .99 to 1; ten of fifty, .97 to .998."""
    names = ["specificity", "balanced_accuracy", "accuracy", "f1", "mcc", "precision"]
    tables = [one_class_with_errors(n) for n in (0, 1, 2, 10, 25, 50)]
    found = [clustered.interval_scores(table, names).set_index("metric") for table in tables]
    lows, highs = (pd.DataFrame([getattr(rows, end) for rows in found]) for end in ("low", "high"))
    assert (lows.diff().iloc[1:] < 1e-9).all(axis=None) and (highs.diff().iloc[1:] < 0.005).all(axis=None)
    assert np.isclose(lows.specificity.iloc[0], stats.beta.ppf(0.025, 14, 1))
    whole = stats.beta.ppf([0.025, 0.975], [13, 14], [2, 1])
    assert np.allclose([lows.specificity.iloc[-1], highs.specificity.iloc[-1]], whole, atol=1e-5)
    assert "bounded mean over 28 identities" in found[1].method["specificity"]
    turned = tables[2].assign(score=1 - tables[2].score)
    mirrored = clustered.interval_scores(turned, ["specificity"]).iloc[0]
    assert np.allclose(
        [1 - mirrored.high, 1 - mirrored.low], found[2].loc["specificity", ["low", "high"]].tolist()
    )


@pytest.mark.parametrize("losses", [[], [0.02], [1.0], [1.0, 1.0], [0.5, 0.02], [1.7]])
def test_a_bounded_mean_is_the_quantile_of_its_definition(losses):
    """The closed form against a hundred thousand random weights."""
    weights = np.random.default_rng(0).dirichlet(np.ones(10), 100_000)
    lost = weights[:, 1:] @ np.r_[losses, np.zeros(9 - len(losses))]
    low, high = clustered.bounded_ends(losses, 9)
    assert low == pytest.approx(max(0, 1 - np.quantile(weights[:, 0] + lost, 0.975)), abs=0.004)
    assert high == pytest.approx(1 - np.quantile(lost, 0.025), abs=0.001)


def test_no_share_is_less_certain_than_if_all_cells_of_a_subject_were_alike():
    for seed in range(5):
        table = one_arm(seed, ALL=5, HEM=5, between=3.0)
        found = clustered.interval_scores(table, ["sensitivity", "specificity"]).set_index("metric")
        for name, label in (("sensitivity", "ALL"), ("specificity", "HEM")):
            sizes = table[table.label == label].groupby("subject").size()
            fewest = sizes.sum() ** 2 / (sizes**2).sum()
            widest = clustered.beta_ends(found.value[name], fewest)
            assert found.low[name] >= widest[0] - 1e-9 or "bounded" in found.method[name]


def test_over_cells_the_error_of_the_auroc_is_delongs():
    """DeLong's variance from its definition, a double sum over pairs, for a table with ties."""
    table = one_arm(1, cells=10).assign(score=lambda t: t.score.round(1))
    truth, score = (table.label == "ALL").to_numpy(), table.score.to_numpy()
    wins = np.sign(score[truth][:, None] - score[~truth]) / 2 + 0.5
    variance = wins.mean(1).var(ddof=1) / truth.sum() + wins.mean(0).var(ddof=1) / (~truth).sum()
    arm = clustered.linearise([table], np.arange(len(table)), table.label.to_numpy(), ["auroc"])
    assert sum(e.variance for e in arm.errors["auroc"]) == pytest.approx(variance, rel=1e-9)


def table_by_rule(low, high, healthy, wave):
    """Two arms of 8 ALL and 4 HEM subjects with 10 cells each, made by a rule, with ties."""
    i = np.arange(120)
    who, ill = i // 10, i < 80
    one, two = ((i * 37 + 11) % 101) / 101, ((i * 53 + 29) % 97) / 97
    one = np.where(ill, 0.25 + 0.75 * one, 0.75 * one) + 0.02 * np.sin(who)
    two = np.where(ill, low + high * two, healthy * two) + wave
    names = [f"{w}" if w < 8 else f"H{w}" for w in who]
    rows = {"subject": names, "cell": i.astype(str), "label": np.where(ill, "ALL", "HEM")}
    arms = [{**rows, "score": np.clip(np.round(s, 2), 0, 1), "arm": a} for s, a in ((one, "a"), (two, "b"))]
    return check_table(pd.concat(map(pd.DataFrame, arms), ignore_index=True))


WHO = np.arange(120) // 10
R_VALUES = [  # R 4.2.2, pROC 1.18.0 (roc, var, roc.test), coin 1.4.2 (symmetry_test, exact)
    (
        (0.12, 0.8, 0.88, 0.03 * np.cos(WHO)),
        {"auc": (0.764375, 0.64921875), "var": (0.00198748415186, 0.00293393519822)},
        {"statistic": 1.68593806050695, "p": 0.09180773013027},
        {"low": -0.01871705642908, "high": 0.24902955642908},
        0.015625,
    ),
    (
        (0.2, 0.8, 0.85, 0.09 * np.cos(2 * WHO)),
        {"auc": (0.764375, 0.74671875), "var": (0.00198748415186, 0.00223666348753)},
        {"statistic": 0.27108507592612, "p": 0.78632559965127},
        {"low": -0.10999966755212, "high": 0.14531216755212},
        0.8125,
    ),
]


@pytest.mark.parametrize(("rule", "areas", "test", "ends", "exact"), R_VALUES)
def test_areas_delong_and_exact_permutation_are_those_of_r(rule, areas, test, ends, exact):
    """Of one class with subjects of equal size the studentised permutation ranks as coin's does."""
    table = table_by_rule(*rule)
    for arm, area, variance in zip("ab", areas["auc"], areas["var"]):
        rows = table[table.arm == arm].reset_index(drop=True)
        found = clustered.linearise([rows], np.arange(120), rows.label.to_numpy(), ["auroc"])
        assert found.scores["auroc"] == pytest.approx(area, abs=1e-9)
        assert sum(e.variance for e in found.errors["auroc"]) == pytest.approx(variance, abs=1e-9)
    both = paired.pair_arms(table, "a", "b")
    delong = paired.delong_test(both)
    for name, value in {**test, **ends}.items():
        assert getattr(delong, name) == pytest.approx(value, abs=1e-6)
    swapped = paired.permutation_test(both, ["sensitivity"])["sensitivity"]
    assert swapped.p == pytest.approx(exact, abs=1e-6) and swapped.note.startswith("all 4096")


def covers(method, world, names, truth, seeds):
    """In how many worlds the interval of each score contains the truth."""
    held = dict.fromkeys(names, 0)
    for seed in seeds:
        table = draw_one_set(world, [77, seed]).query("arm == 'b'")
        for row in clustered.interval_scores(table, names, method=method, resamples=200).itertuples():
            held[row.metric] += row.low <= truth[row.metric] <= row.high
    return held


@pytest.mark.parametrize("distance", [0.7, 1.5])
def test_intervals_hold_in_a_small_world(distance):
    """Eleven subjects: with 150 worlds a coverage of 95 % falls below the bound once in 2,000 trials."""
    names = ["balanced_accuracy", "accuracy", "weighted_f1", "sensitivity"]
    world = OneSetWorld(ALL=6, HEM=5, cells=12, distance=distance)
    truth = {name: population_score(world, name) for name in names}
    least = stats.binom.ppf(0.0005, 150, 0.95)
    assert min(covers("default", world, names, truth, range(150)).values()) >= least


def test_the_percentile_bootstrap_does_not_hold_there():
    world, names = OneSetWorld(ALL=6, HEM=5, cells=12), ["balanced_accuracy"]
    truth = {name: population_score(world, name) for name in names}
    held = covers("percentile", world, names, truth, range(80))
    assert held["balanced_accuracy"] < stats.binom.ppf(0.01, 80, 0.95)


def test_the_more_cautious_of_two_effective_samples_counts():
    """One class hardly differs between subjects, the other much: each estimate is too bold for one of them."""
    spreads = {"ALL": 0.2, "HEM": 2.5}
    classes = [one_arm(1, between=s, cells=40).query("label == @k") for k, s in spreads.items()]
    table = pd.concat(classes, ignore_index=True)
    _, codes, labels = intervals.number_units(table, "cell", "identity")
    arm = clustered.linearise([table], codes, labels, ["auroc"])
    for name, error in zip(("sensitivity", "specificity"), arm.errors["calls"]):
        share, n = clustered.worth(name, arm.scores, arm.errors)
        one = error._replace(pooled=error.variance, pooled_df=error.df)
        other = error._replace(variance=error.pooled, df=error.pooled_df)
        each = [clustered.effective_cells(share, [e]) for e in (one, other)]
        assert n == pytest.approx(min(each)) and n < 0.7 * max(each)
        assert (each[0] < each[1]) == (name == "specificity")


def test_an_interval_of_a_calibration_error_contains_it():
    """The error of a classifier that is calibrated is all bias: nearly every draw of it lies above it."""
    table = one_arm(1, distance=0.2, between=0.3, cells=8)
    logit = np.log(table.score / (1 - table.score))
    table = table.assign(score=1 / (1 + np.exp(-0.4 * logit / 1.09)))
    rows, codes, labels = intervals.number_units(table, "cell", "identity")
    drawn = intervals.weighted_scores(rows, codes, ["ece"], 0.5, intervals.draw_units(labels, 300))["ece"]
    for method in ("percentile", "default"):
        found = clustered.interval_scores(table, ["ece"], method=method, resamples=300).iloc[0]
        assert found.value < intervals.percentile_ends(drawn)[0]
        assert found.low <= found.value < found.high


def test_repeating_every_cell_adds_no_subject():
    """Ten copies of each cell leave the subjects as they are, and nearly so the interval over them."""
    table = one_arm(5, cells=30)
    tenfold = pd.concat([table.assign(cell=table.cell + f" {i}") for i in range(10)], ignore_index=True)
    once, ten = (clustered.interval_scores(t).set_index("metric") for t in (table, tenfold))
    widths = (ten.high - ten.low) / (once.high - once.low)
    assert np.allclose(once.value, ten.value) and widths.between(0.9, 1.1).all()
    naive = clustered.interval_scores(tenfold, unit="cell").set_index("metric")
    assert ((naive.high - naive.low) < 0.4 * (ten.high - ten.low)).all()


def plain_studentised(first, second, truth, who, kind):
    """The difference of two scores over its standard error, by loops and from definitions."""
    ill, healthy = ([u for u in dict.fromkeys(who) if truth[who == u][0] == x] for x in (True, False))
    gap, variance = 0.0, 0.0
    for group, rivals in ((ill, healthy), (healthy, ill)):
        mine, theirs = np.isin(who, group), np.isin(who, rivals)
        sums, sizes = [], []
        for u in group:
            values = []
            for cell in np.flatnonzero(who == u):
                if kind == "accuracy":
                    right = [(arm[cell] >= 0.5) == truth[cell] for arm in (first, second)]
                else:
                    sign = 1 if truth[cell] else -1
                    right = [
                        (np.sign(sign * (arm[cell] - arm[theirs])) / 2 + 0.5).mean()
                        for arm in (first, second)
                    ]
                values.append(float(right[0]) - float(right[1]))
            sums.append(sum(values) / (len(who) if kind == "accuracy" else mine.sum()))
            sizes.append(len(values) / mine.sum())
        total = sum(sums)
        gap += total if kind == "accuracy" else total / 2
        away = [(s - share * total) / (1 - share) for s, share in zip(sums, sizes)]
        variance += (len(group) - 1) / len(group) * sum(x**2 for x in away)
    return 0.0 if abs(gap) < 1e-12 else gap / max(variance**0.5, 1e-9)


@pytest.mark.parametrize("kind", ["accuracy", "auroc"])
def test_with_few_subjects_the_permutation_is_the_enumeration_of_all_swaps(kind):
    both = two_arms(8, ALL=3, HEM=4, cells=4, gain=0.7, shared=0.3)
    who, truth = both.identity.to_numpy(), (both.label == "ALL").to_numpy()
    arms = (
        both.assign(**{k: both[k].rank() / len(both) for k in ("first", "second")})
        if kind == "auroc"
        else both
    )
    one, two = arms["first"].to_numpy(), arms.second.to_numpy()
    people, every = list(dict.fromkeys(who)), []
    for flips in itertools.product([False, True], repeat=len(people)):
        flip = np.isin(who, [u for u, turned in zip(people, flips) if turned])
        every.append(plain_studentised(np.where(flip, two, one), np.where(flip, one, two), truth, who, kind))
    p = np.mean(np.abs(every) >= abs(every[0]) - 1e-9)
    found = paired.permutation_test(both, [kind], permutations=1000)[kind]
    assert found.note.startswith("all 128 permutations")
    assert found.statistic == pytest.approx(every[0], rel=1e-6) and found.p == pytest.approx(p, abs=1e-9)


def test_turning_signs_and_counting_pairs_agree_for_many_subjects(monkeypatch):
    """More than 700 identities take the short way; at 240 both are at hand."""
    both = two_arms(2, ALL=120, HEM=120, cells=6, gain=0.12)
    long = paired.permutation_test(both, ["auroc"], 1000)["auroc"]
    monkeypatch.setattr(paired, "MOST_FOR_PAIRS", 0)
    short = paired.permutation_test(both, ["auroc"], 1000)["auroc"]
    assert short.difference == pytest.approx(long.difference, abs=1e-12)
    assert short.statistic == pytest.approx(long.statistic, rel=0.01)
    assert 0.002 < long.p < 0.5 and short.p == pytest.approx(long.p, abs=0.03)


def test_the_two_arms_exchanged_turn_the_interval_round():
    one, other = two_arms(6), two_arms(6)
    other = other.assign(first=one.second, second=one["first"])
    there, back = (paired.permutation_test(b, permutations=300) for b in (one, other))
    for name in paired.NAMES:
        assert there[name].p == back[name].p and there[name].statistic == pytest.approx(-back[name].statistic)
        assert [there[name].low, there[name].high] == pytest.approx(
            [-back[name].high, -back[name].low], abs=1e-12
        )
        assert there[name].low <= there[name].difference <= there[name].high


@pytest.mark.parametrize("compare", [paired.permutation_test, paired.bootstrap_difference])
def test_the_order_of_the_rows_changes_no_comparison(compare):
    both = two_arms(6)
    there, back = (compare(b, metrics.NAMES, 300) for b in (both, both.sample(frac=1, random_state=0)))
    for name in metrics.NAMES:
        assert there[name].p == back[name].p
        assert [back[name].low, back[name].high] == pytest.approx(
            [there[name].low, there[name].high], abs=1e-12
        )


def test_an_arm_beside_itself_has_an_interval_that_is_its_own_mirror_image():
    both = two_arms(6)
    same = paired.permutation_test(both.assign(second=both["first"]), permutations=200)
    assert all(test.low == -test.high for test in same.values())
    assert sum(paired._mirrored_ends((0.8, 40.0), (0.8, 40.0), 0.5, 0.95)) == 0


@pytest.mark.filterwarnings("error")
def test_a_score_that_a_constant_arm_does_not_have_is_not_compared():
    constant = two_arms(6).assign(second=0.7)
    for compare in (paired.permutation_test, paired.bootstrap_difference):
        found = compare(constant, ["mcc", "auroc"], 300)
        assert np.isnan([found["mcc"].p, found["mcc"].low, found["mcc"].difference]).all()
        assert found["mcc"].note == "no comparison: an arm has no such score" and found["auroc"].p < 0.05


@pytest.mark.filterwarnings("error")
def test_three_arms_that_call_alike_have_one_rank():
    table = draw_one_set(OneSetWorld(), 6).query("arm == 'a'")
    alike = pd.concat([table.assign(arm=arm, score=0.7) for arm in "abc"])
    found = paired.friedman_ranks(alike)
    assert found["p"] == 1 and found["chi2"] == 0 and set(found["ranks"]) == {2.0}


@pytest.mark.parametrize("gain", [0.0, 0.6])
def test_the_interval_of_a_difference_holds_and_equal_arms_are_rarely_told_apart(gain):
    names = ["balanced_accuracy", "auroc"]
    many = two_arms(0, ALL=4000, HEM=4000, cells=5, gain=gain)
    arms = [many.assign(score=many[arm], arm=arm, iteration=0) for arm in ("first", "second")]
    one, other = (metrics.compute_scores(arm) for arm in arms)
    truth = {name: one[name] - other[name] if gain else 0.0 for name in names}
    held, claimed, worlds = dict.fromkeys(names, 0), dict.fromkeys(names, 0), 120
    for seed in range(worlds):
        both = two_arms([78, seed], ALL=8, HEM=8, cells=12, gain=gain)
        for name, found in paired.permutation_test(both, names, permutations=199, seed=seed).items():
            held[name] += found.low <= truth[name] <= found.high
            claimed[name] += found.p < 0.05
    assert min(held.values()) >= stats.binom.ppf(0.001, worlds, 0.95)
    if gain == 0:
        assert max(claimed.values()) <= stats.binom.ppf(0.999, worlds, 0.05)
    else:
        assert min(claimed.values()) > stats.binom.ppf(0.999, worlds, 0.05)


def test_a_difference_stays_within_one():
    both = two_arms(1, ALL=4, HEM=4, cells=3)  # of 3 and 3 no swap is rarer than one in four
    ill = (both.label == "ALL").to_numpy()
    extreme = both.assign(first=np.where(ill, 0.9, 0.1), second=np.where(ill, 0.1, 0.9))
    for name, found in paired.permutation_test(extreme, [*paired.NAMES, "mcc"]).items():
        most = 2 if name in metrics.SIGNED else 1
        assert found.difference == pytest.approx(most) and 0 < found.low < most and found.high <= most


def test_each_subject_counts_once_whatever_its_cells():
    table = one_arm(7, cells=20)
    again = table[table.identity == table.identity.iloc[0]]
    copies = [again.assign(cell=again.cell + f" {i}") for i in range(30)]
    heavier = pd.concat([table, *copies], ignore_index=True)
    once, more = (clustered.score_subjects_once(t).set_index("metric") for t in (table, heavier))
    assert np.allclose(once.value, more.value)
    assert abs(once.pooled["sensitivity"] - more.pooled["sensitivity"]) > 0.01


def test_sizes_that_go_with_accuracy_are_found_and_others_no_more_often_than_said():
    rng, sizes = np.random.default_rng(0), np.arange(4, 44)
    who = np.repeat([f"{i}" for i in range(20)] + [f"H{i}" for i in range(20)], sizes)
    ill, n = np.repeat(np.arange(40) < 20, sizes), np.repeat(sizes, sizes)

    def tests(chance):
        right = rng.random(len(n)) < chance
        rows = {"subject": who, "identity": who, "label": np.where(ill, "ALL", "HEM")}
        table = pd.DataFrame({**rows, "score": np.where(right == ill, 0.9, 0.2)})
        return clustered.correlate_sizes(table, permutations=499)

    assert tests(0.5 + 0.0115 * n).p.min() < 0.01
    found = pd.concat([tests(0.7) for _ in range(60)]).p < 0.05
    assert found.sum() <= stats.binom.ppf(0.999, len(found), 0.05)


def studentised(x, y):
    """The studentised correlation of DiCiccio & Romano (2017), from its definition."""
    x, y = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
    return sum(a * b for a, b in zip(x, y)) / np.sqrt(sum((a * b) ** 2 for a, b in zip(x, y)))


def test_an_exact_test_of_sizes_is_the_enumeration_of_all_orders():
    x, y = np.array([3.0, 9, 5, 7, 2, 8]), np.array([0.2, 0.9, 0.3, 0.3, 0.1, 0.6])
    every = np.array([studentised(order, y) for order in itertools.permutations(x)])
    tails = [(every >= studentised(x, y) - 1e-12).mean(), (every <= studentised(x, y) + 1e-12).mean()]
    found = clustered._describe_sizes(x, y, 9999, 0)
    assert found["method"] == "all orders" and found["p"] == pytest.approx(
        min(1.0, 2 * min(tails)), abs=1e-12
    )
    assert found["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic)


def test_small_subjects_that_are_wholly_right_by_luck_are_no_reason_to_doubt_sizes():
    """Nothing goes with anything, but who has five cells has none wrong: ranks claim what is not there."""
    rng, claimed = np.random.default_rng(0), {"ranks": 0, "studentised": 0}
    for _ in range(100):
        sizes = np.maximum(3, rng.gamma(1.0, 98, 41)).astype(int)
        shares = rng.binomial(sizes, 1 / (1 + np.exp(-4.5 - rng.standard_normal(41)))) / sizes
        claimed["ranks"] += stats.spearmanr(sizes, shares).pvalue < 0.05
        claimed["studentised"] += clustered._describe_sizes(sizes.astype(float), shares, 199, 0)["p"] < 0.05
    assert claimed["ranks"] > 25 and claimed["studentised"] <= stats.binom.ppf(0.999, 100, 0.05)


def test_where_fewer_than_three_err_sizes_are_not_tested():
    sizes, shares = np.arange(10.0) + 5, np.r_[0.2, 0.5, np.ones(8)]
    found = clustered._describe_sizes(sizes, shares, 999, 0)
    assert np.isnan(found["p"]) and "fewer than 3" in found["method"] and found["pearson"] > 0.5


def test_draws_weighed_in_blocks_are_those_of_one_block():
    table = one_arm(2, cells=10)
    rows, codes, labels = intervals.number_units(table, "cell", "identity")
    truth, score = (rows.label == "ALL").to_numpy(), rows.score.to_numpy()
    times = intervals.draw_units(labels, 60)
    whole, blocks = (
        intervals._average_precision(truth, score, codes, times, room) for room in (10**9, 7 * len(rows))
    )
    assert np.array_equal(whole, blocks)


def test_thirty_thousand_cells_take_seconds_and_little_memory():
    """Drawing cells and pairing them took all the memory of a machine; a million rows take seconds now."""
    table = draw_one_set(OneSetWorld(ALL=300, HEM=300, cells=50), 1)
    one = table[table.arm == "b"].reset_index(drop=True)
    tracemalloc.start()
    for unit in ("identity", "cell"):
        clustered.interval_scores(one, metrics.NAMES, unit=unit)
    clustered.score_subjects_once(one)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(one) > 25_000 and most < 250e6
    with pytest.raises(Refusal, match="leave the method out"):
        intervals.bootstrap_scores(one, ["auroc"], unit="cell", resamples=5000)


@pytest.mark.skipif(not PEERS.exists(), reason="published results are not here")
def test_the_published_table_by_subject_and_by_cell():
    table = check_table(pd.read_csv(PEERS / "prellberg2019_preliminary.csv"))
    once, tests = clustered.score_subjects_once(table).set_index("metric"), clustered.correlate_sizes(table)
    assert round(once.pooled["specificity"], 3) == 0.798 and round(once.value["specificity"], 3) == 0.711
    assert round(once.value["balanced_accuracy"], 3) == 0.804 and "auroc" not in once.index
    assert round(tests.set_index("label").spearman["HEM"], 2) == 0.64
    assert tests.set_index("label").p["HEM"] < 0.03 and tests.set_index("label").p["ALL"] > 0.05
