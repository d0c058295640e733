"""Leaving out, relabelling and the mixed model: what brute force, closed forms and planted worlds say."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats

from leukonb.evidence import metrics, mixed, paired, robustness
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal

OTHER = {"ALL": "HEM", "HEM": "ALL"}


def table(seed=0, people=7, cells=6):
    """A small table with ties, and an identity of a single cell."""
    rng = np.random.default_rng(seed)
    who = np.r_[np.repeat(np.arange(people), rng.integers(1, cells, people)), people]
    names = np.array([f"{'H' if i % 2 else ''}{i}" for i in range(people + 1)])[who]
    rows = pd.DataFrame({"cell": np.arange(len(who)).astype(str), "subject": names, "identity": names})
    score = np.round(np.clip(rng.normal(0.5, 0.3, len(who)), 0, 1), 1)
    rows = rows.assign(label=np.where(who % 2, "HEM", "ALL"), score=score)
    return rows.assign(split="test", iteration=0, arm="model", seed=0)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.3, 0.5, 0.7]))
def test_leaving_out_is_scoring_the_table_without_the_identity(seed, threshold):
    rows = table(seed)
    names = [name for name in metrics.NAMES if name != "ece"]
    left_out = robustness.leave_each_out(rows, names, threshold).set_index(["metric", "identity"])
    for who in rows.identity.unique():
        plain = metrics.compute_scores(rows[rows.identity != who], threshold)
        ours = left_out.without.xs(who, level="identity")
        assert np.allclose(ours[names], [plain[name] for name in names], equal_nan=True)


def test_average_precision_stops_at_a_size_that_is_named(monkeypatch):
    monkeypatch.setattr(robustness, "_MOST", 100)
    with pytest.raises(Refusal, match="up to 100 cells times identities"):
        robustness.leave_each_out(table(), ["average_precision"])
    assert len(robustness.leave_each_out(table(), ["auroc"])) == table().identity.nunique()


def test_calls_have_no_area_without_anyone():
    rows = table().assign(score=lambda t: (t.score > 0.5) * 1.0)
    rows.attrs["decisions"] = True
    assert set(robustness.leave_each_out(rows).metric) == set(robustness.NAMES) - {"auroc"}
    assert "auroc" not in set(robustness.relabel_at_random(rows, draws=50).metric)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.1, 0.3, 0.5]))
def test_wrong_labels_are_those_of_a_table_that_says_so(seed, share):
    """All ways to exchange so many labels, one by one: mean, lowest and highest are those of the draws."""
    rows = table(seed, people=5)
    who = rows.identity.unique()
    count = max(1, round(share * len(who)))
    names = ["accuracy", "weighted_f1", "auroc", "brier"]
    every = []
    for wrong in itertools.combinations(who, count):
        label = rows.label.where(~rows.identity.isin(wrong), rows.label.map(OTHER))
        every.append(metrics.compute_scores(rows.assign(label=label)))
    every = pd.DataFrame(every)[names]
    noise = robustness.relabel_at_random(rows, [share], names, draws=600).set_index("metric")
    assert np.allclose(noise.lowest[names], every.min()) and np.allclose(noise.highest[names], every.max())
    assert np.allclose(noise["mean"][names], every.mean(), atol=0.05)


@pytest.mark.parametrize("unit", ["identity", "cell"])
def test_the_mean_accuracy_under_wrong_labels_has_a_closed_form(unit):
    rows = draw_one_set(OneSetWorld(cells=15), 3).query("arm == 'a'").reset_index(drop=True)
    noise = robustness.relabel_at_random(rows, [0.1, 0.25], ["accuracy"], unit=unit, draws=4000)
    expected = noise.value + noise.share * (1 - 2 * noise.value)
    assert np.allclose(noise["mean"], expected, atol=0.005)
    assert (noise.low <= noise["mean"]).all() and (noise.lowest <= noise.low).all()


def test_the_fewest_relabelled_for_accuracy_are_the_fewest_of_all_groups():
    rows = draw_one_set(OneSetWorld(ALL=6, HEM=5, cells=8), 2).query("arm == 'a'").reset_index(drop=True)
    codes, who = pd.factorize(rows.identity)
    is_right = (rows.score >= 0.5) == (rows.label == "ALL")
    right, cells = np.bincount(codes, is_right), np.bincount(codes)

    def accuracy(wrong):
        turned = np.isin(np.arange(len(who)), wrong)
        return np.where(turned, cells - right, right).sum() / cells.sum()

    bound = is_right.mean() - 0.35
    groups = (group for n in range(1, 6) for group in itertools.combinations(range(len(who)), n))
    fewest = next(len(group) for group in groups if accuracy(group) < bound)
    found = robustness.least_relabelled(rows, {"accuracy": bound}).iloc[0]
    assert found.exchanged == fewest > 1
    assert accuracy(np.flatnonzero(np.isin(who, found.who.split(", ")))) == pytest.approx(found.after)


def test_what_undoes_a_difference_undoes_it():
    both = paired.pair_arms(draw_one_set(OneSetWorld(gain=0.6), 7), "a", "b")
    for row in robustness.least_relabelled_of_both(both).itertuples():
        label = both.label.where(~both.identity.isin(row.who.split(", ")), both.label.map(OTHER))
        scores = [metrics.compute_scores(relabelled(both, label, arm)) for arm in ("first", "second")]
        gap = scores[0][row.metric] - scores[1][row.metric]
        assert gap == pytest.approx(row.after) and gap * row.value <= 0


def relabelled(both, label, arm):
    rows = both.assign(label=label, score=both[arm], arm="x")
    rows.attrs = {}
    return rows


def test_a_test_is_made_anew_after_each_exchange():
    both = paired.pair_arms(draw_one_set(OneSetWorld(gain=0.9), 5), "a", "b")
    seen = []

    def p_value(now, name):
        seen.append((now.label != both.label).sum())
        return [0.001, 0.01, 0.2][len(seen) - 1]

    found = robustness.least_relabelled_of_both(both, ["accuracy"], p_value=p_value).iloc[0]
    assert found.exchanged == 2 and found.p == 0.2
    assert seen[0] == 0 and seen[0] < seen[1] < seen[2]


def test_a_million_cells_are_few_sums():
    rng = np.random.default_rng(0)
    who = np.sort(rng.integers(0, 4000, 200_000))
    label = np.where(who % 2, "HEM", "ALL")
    score = np.clip(rng.normal(np.where(label == "ALL", 0.7, 0.3), 0.3), 0, 1)
    names = who.astype(str)
    rows = pd.DataFrame({"cell": np.arange(len(who)).astype(str), "subject": names, "identity": names})
    rows = rows.assign(label=label, score=score, split="test", iteration=0, arm="model", seed=0)
    left_out = robustness.leave_each_out(rows)
    noise = robustness.relabel_at_random(rows, draws=100)
    assert len(left_out) == 6 * rows.identity.nunique() and np.isfinite(left_out.without).all()
    assert np.isfinite(noise.low).all()


# the mixed model


LEVELS = np.arange(-9, 9.0001, 0.002)


def likelihood(right, cells, b, spread):
    """The log-likelihood by a plain sum over a fine grid of levels."""
    eta = b + spread * LEVELS
    logs = -right[:, None] * np.logaddexp(0, -eta) - (cells - right)[:, None] * np.logaddexp(0, eta)
    most = logs.max(1)
    return (most + np.log(np.exp(logs - most[:, None]) @ stats.norm.pdf(LEVELS) * 0.002)).sum()


def test_estimate_and_interval_are_those_of_the_likelihood():
    rng = np.random.default_rng(0)
    cells = rng.integers(5, 60, 9).astype(float)
    right = rng.binomial(cells.astype(int), special.expit(1.5 + rng.standard_normal(9))).astype(float)
    found = mixed._fit("odds", right, cells, 0.95)
    best = optimize.minimize(
        lambda x: -likelihood(right, cells, x[0], np.exp(x[1])), [1.5, 0.0], method="Nelder-Mead"
    )
    assert [found["value"], found["sd"]] == pytest.approx([best.x[0], np.exp(best.x[1])], abs=0.003)
    for end in ("low", "high"):
        at_end = optimize.minimize_scalar(
            lambda s, b=found[end]: -likelihood(right, cells, b, np.exp(s)),
            bounds=(-3, 2.5),
            method="bounded",
        )
        assert at_end.fun - best.fun == pytest.approx(stats.t.ppf(0.975, 8) ** 2 / 2, abs=0.005)


@pytest.mark.parametrize("spread", [0.4, 2.5])
def test_planted_shares_and_spreads_come_back(spread):
    """The mean of a dozen worlds of 60 subjects, where the estimate should hardly be biased."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        cells = np.maximum(3, rng.gamma(1.6, 25, 60)).astype(int)
        right = rng.binomial(cells, special.expit(2 + spread * rng.standard_normal(60)))
        found.append(mixed._fit("share", right.astype(float), cells.astype(float), 0.95))
    found = pd.DataFrame(found)
    truth = integrate.quad(lambda u: special.expit(2 + spread * u) * stats.norm.pdf(u), -9, 9)[0]
    ends = special.expit(found[["low", "high"]])
    assert special.expit(found.value).mean() == pytest.approx(truth, abs=0.015)
    assert found.sd.mean() == pytest.approx(spread, rel=0.15)
    assert ((ends.low <= truth) & (truth <= ends.high)).mean() > 0.8
    assert ((found.sd_low <= spread) & (spread <= found.sd_high)).mean() > 0.8


def test_many_subjects_narrow_the_interval_as_they_should():
    """Ten thousand subjects: a grid that were not laid again would have one point in the interval."""
    rng = np.random.default_rng(1)
    cells = np.full(10_000, 30.0)
    right = rng.binomial(30, special.expit(1.5 + rng.standard_normal(10_000))).astype(float)
    found = mixed._fit("share", right, cells, 0.95)
    shares = right / cells
    reach = 1.96 * shares.std() / 100
    ends = special.expit([found["low"], found["high"]])
    assert special.expit(found["value"]) == pytest.approx(shares.mean(), abs=0.002)
    assert (ends[1] - ends[0]) / 2 == pytest.approx(reach, rel=0.1)
    assert found["sd"] == pytest.approx(1.0, abs=0.04)


def test_equal_cells_of_few_or_of_very_many_say_the_same_of_other_subjects():
    """Above ten thousand cells of a subject only the subjects are uncertain."""
    shares = np.array([0.7, 0.8, 0.9, 0.95, 0.85])
    few, many = (mixed._fit("share", shares * n, np.full(5, n), 0.95) for n in (10_000.0, 1_000_000.0))
    assert few == pytest.approx(many)


def test_unnamed_cells_have_no_odds_ratio():
    both = paired.pair_arms(draw_one_set(OneSetWorld(), 1), "a", "b")
    both.attrs["named"] = False
    with pytest.raises(Refusal, match="no column cell"):
        mixed.mixed_odds_ratio(both)


def test_an_exchanged_pair_turns_the_odds_ratio_over():
    drawn = draw_one_set(OneSetWorld(gain=0.3), 2)
    one, other = (mixed.mixed_odds_ratio(paired.pair_arms(drawn, *arms)) for arms in ("ab", "ba"))
    assert np.allclose(one.odds_ratio * other.odds_ratio, 1, rtol=0.03)
    assert np.allclose(one.low * other.high, 1, rtol=0.05)
