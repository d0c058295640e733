"""The page of a judgement begins with the answer, and no section is silently of one arm, one split or one seed."""

import json
import re
import resource
import time

import numpy as np
import pandas as pd
import pytest
from conftest import leukonb
from scipy import optimize, special, stats

from leukonb.draw import judged as pictures
from leukonb.evidence import (
    calibration,
    clustered,
    coverage,
    intervals,
    judgement,
    metrics,
    miscalibration,
    mixed,
    multiclass,
    networks,
    paired,
    predictions,
)
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal
from leukonb.numbers import name_score, state_p
from leukonb.pages import judge as page
from leukonb.pages import judge_further as further
from leukonb.verbs import evaluate

QUICK = {"resamples": 200, "permutations": 400}


def arms(seed=3, **world):
    return draw_one_set(OneSetWorld(**{"ALL": 7, "HEM": 7, "cells": 15, **world}), seed)


def seeds(table, n, scatter=2.0, start=0):
    """Networks of one recipe: each has errors of its own."""
    rng, odds = np.random.default_rng(start), np.log(table.score / (1 - table.score)).to_numpy()
    drawn = [1 / (1 + np.exp(-odds - rng.normal(0, scatter, len(odds)))) for _ in range(n)]
    return pd.concat([table.assign(seed=s, score=x) for s, x in enumerate(drawn)], ignore_index=True)


def splits(n=30, tested=(3, 2), seed=0, **world):
    """One group of people, tested again and again on a few of them, by networks that differ."""
    rng = np.random.default_rng(seed)
    cohort = draw_one_set(OneSetWorld(**{"ALL": 12, "HEM": 10, "cells": 5, **world}), seed)
    people = cohort.drop_duplicates("identity").groupby("label").identity.apply(list)
    tables = []
    for i in range(n):
        chosen = [x for k, label in zip(tested, ("ALL", "HEM")) for x in rng.choice(people[label], k, False)]
        rows = cohort[cohort.identity.isin(chosen)]
        odds = np.log(rows.score / (1 - rows.score)) + rng.normal(0, 0.6, len(rows))
        tables.append(rows.assign(iteration=i, score=1 / (1 + np.exp(-odds))))
    return pd.concat(tables, ignore_index=True)


def judge(table, **options):
    return judgement.judge_table(predictions.check_table(table), **{**QUICK, **options})


def test_five_seeds_are_printed_as_a_single_network_and_the_ensemble_by_name():
    table = seeds(arms(cells=30).query("arm == 'b'"), 5)
    judged = judge(table)
    each = [metrics.compute_scores(rows) for _, rows in table.groupby("seed")]
    found = judged.scores.set_index("metric")
    for name in ("accuracy", "auroc", "weighted_f1", "mcc"):
        values = [scores[name] for scores in each]
        assert found.value[name] == pytest.approx(np.mean(values))
        assert found.sd[name] == pytest.approx(np.std(values, ddof=1))
        assert (found.least[name], found.most[name]) == (min(values), max(values))
        assert found.low[name] < found.value[name] < found.high[name]
    together = metrics.compute_scores(judgement.select_arm(judged.table, "b"))
    beside = judged.ensembles.set_index("metric")
    assert set(beside.arm) == {"b, ensemble of 5 seeds"}
    assert (
        beside.value["auroc"] == pytest.approx(together["auroc"]) and together["auroc"] > found.most["auroc"]
    )
    record = judgement.evidence_record(judged)
    assert "mean over 5 seeds" in record["shown"] and "mean over 5 seeds" in record["methods"]["paragraph"]
    assert record["ensemble"]["auroc"]["value"] == pytest.approx(together["auroc"])
    assert "on average over 5 seeds" in record["answer"][1]
    assert any("ensemble of 5 seeds" in text for text in record["remarks"])


def test_arms_of_several_seeds_are_compared_as_single_networks():
    table = arms(cells=20, gain=0.4)
    both = pd.concat([seeds(table[table.arm == "a"], 3), seeds(table[table.arm == "b"], 3, start=1)])
    judged = judge(both)
    main = judgement.primary_comparisons(judged.comparisons).set_index("metric")
    for name in ("balanced_accuracy", "auroc", "weighted_f1"):
        means = judged.scores.set_index(["arm", "metric"]).value
        assert main.difference[name] == pytest.approx(means["a", name] - means["b", name])
        assert main.low[name] < main.difference[name] < main.high[name]
    together = paired.pair_arms(both, "a", "b")
    ensembles = paired.permutation_test(together, ["auroc"], 400)["auroc"].difference
    assert abs(main.difference["auroc"] - ensembles) > 0.003
    assert all("pairs of seeds" in note for note in judged.comparisons.note)


def test_seeds_that_scored_other_cells_are_refused():
    table = seeds(arms().query("arm == 'a'"), 2)
    with pytest.raises(Refusal, match="seeds 0 and 1 did not score the same cells"):
        judge(table[:-1])


def test_training_subjects_are_inferred_where_the_whole_group_is_seen_and_said_to_be():
    table = splits()
    inferred, told = judge(table), judge(table, train_subjects=17)
    assert inferred.sizes == (17.0, 5.0) and inferred.sizes_from == "inferred"
    pd.testing.assert_frame_equal(inferred.comparisons, told.comparisons)
    said = inferred.remarks["a"][0]
    assert "taken to be 17" in said and "the most it can be" in said and "--train-subjects" in said
    assert not any("taken to be" in text for text in told.remarks["a"])
    record = judgement.evidence_record(inferred)
    assert record["table"]["train_subjects_from"] == "inferred"
    assert "17 subjects in training (inferred)" in record["methods"]["paragraph"]


@pytest.mark.parametrize(
    "table",
    [
        splits(n=4),  # most people were tested once or never
        pd.concat([arms(seed=i).assign(iteration=i) for i in range(3)]),  # all are tested in each split
    ],
)
def test_nothing_is_inferred_where_the_group_is_not_seen_whole(table):
    judged = judge(table)
    assert judged.sizes[0] is None and judged.comparisons.empty
    assert "--train-subjects" in judged.remarks["a"][0]


def test_validation_subjects_are_not_taken_for_training_subjects():
    table = splits(n=40)
    rest = table.drop_duplicates("identity").identity.tolist()
    held = []
    for i, rows in table.groupby("iteration"):
        free = [x for x in rest if x not in set(rows.identity)]
        others = table[table.identity.isin(free[:1] + free[-1:])].drop_duplicates(["arm", "cell"])
        held.append(others.assign(iteration=i, split="validation"))
    with_validation = predictions.check_table(pd.concat([table, *held], ignore_index=True))
    assert judgement.infer_training_subjects(with_validation) == 15


def test_the_calibration_error_says_what_chance_gives_and_corrects_for_it():
    table = arms(ALL=14, HEM=14, cells=40).query("arm == 'a'")
    logit = np.log(table.score / (1 - table.score))
    calm = table.assign(score=1 / (1 + np.exp(-2 * 1.5 * logit / (0.9**2 + 1))))  # calibrated in this world
    record = judgement.evidence_record(judge(calm))
    found = record["scores"]["ece"]
    assert found["bins"] == 10 and "equal numbers" in found["binning"]
    assert 0.01 < found["by_chance"] < 0.1 and 0 <= found["corrected"] < found["value"]
    assert found["low"] <= found["value"] <= found["high"]
    assert (
        "The interval beside the ECE is of the error as it is computed, chance included."
        in evaluate.describe_error(record)[0]
    )
    off = calm.assign(score=np.where(calm.label == "ALL", 0.35, 0.2))
    wrong = calibration.correct_calibration_error(off)
    assert wrong["corrected"] > 0.9 * wrong["ece"] > 0.3


def test_what_chance_adds_to_the_calibration_error_is_taken_out_of_it():
    """One bin, where the correction can be written down; the deviation is that of leaving out each subject."""
    table = arms(ALL=9, HEM=9, cells=20).query("arm == 'a'").assign(score=lambda t: 0.4 * t.score + 0.4)
    off = table.score - (table.label == "ALL")
    variance = 0.0
    for _, own in table.groupby("label"):
        without = [off[table.identity != name].mean() for name in own.identity.unique()]
        variance += (len(without) - 1) * np.var(without)
    found, gap = calibration.correct_calibration_error(table, bins=1), abs(off.mean())
    assert found["ece"] == pytest.approx(gap)
    assert found["by chance"] == pytest.approx(np.sqrt(variance * 2 / np.pi), rel=0.01)
    real = (1 - variance / gap**2) * gap
    added = stats.foldnorm.mean(real / variance**0.5, scale=variance**0.5) - real
    assert 0.05 < found["corrected"] / found["ece"] < 0.95
    assert found["corrected"] == pytest.approx(gap - added, rel=0.01)


@pytest.mark.parametrize(("sureness", "error"), [(1.0, 0.024), (0.5, 0.02), (2.5, 0.02)])
def test_little_is_left_of_what_chance_adds_to_the_calibration_error(sureness, error):
    """Of .055 that a calibrated classifier has at 28 subjects, an earlier correction left .028 to .033."""
    rng = np.random.default_rng([1, 13, round(10 * sureness)])
    drawn = [miscalibration.draw_sure_scores(rng, 13, 15, sureness) for _ in range(120)]
    whole = miscalibration.draw_sure_scores(rng, 13 * 250, 15 * 250, sureness)
    truth = 0 if sureness == 1 else calibration.expected_calibration_error(whole)
    left = np.mean([calibration.correct_calibration_error(rows)["corrected"] for rows in drawn])
    assert abs(left - truth) < error


@pytest.mark.parametrize("cells", [21, 101])
def test_rounding_moves_no_cell_to_another_bin(cells):
    """Edges at the data: interpolated quantiles fall to either side of a score, and the error moves by .0007."""
    scores = np.arange(1, cells + 1) / (cells + 1)
    of = calibration.equal_mass_bins(scores)
    for change in (np.sqrt, lambda s: s / 2 + 0.5, lambda s: 1 - (1 - s)):
        np.testing.assert_array_equal(calibration.equal_mass_bins(change(scores)), of)
    assert np.ptp(np.bincount(of)) <= 1


def test_scores_that_are_better_the_lower_have_an_axis_of_their_own():
    judged = judge(arms())
    fig = pictures.draw_arm_scores(judged.scores)
    shown = {trace.xaxis: set(trace.customdata) for trace in fig.data}
    assert shown["x2"] == {"Brier score", "calibration error (10 bins)"} and "accuracy" in shown["x"]
    assert "lower" in fig.layout.xaxis2.title.text and {t.name for t in fig.data} == {"a", "b"}


@pytest.mark.parametrize("table", [splits(n=12), seeds(arms(), 3)])
def test_every_section_is_of_all_arms_and_all_their_networks(table):
    judged = judge(table, train_subjects=16)
    looked = page.list_arms(judged)
    per_arm = len(next(iter(looked.values())))
    assert re.search(rf"mean over ({per_arm} seeds|{judged.iterations} splits)", page.name_networks(looked))
    assert set(page.list_subject_calls(looked, 0.5)) == {"a", "b"}
    counted = {arm: rows.networks.max() for arm, rows in page.list_subject_calls(looked, 0.5).items()}
    assert min(counted.values()) > 1
    measured = page.tabulate_calibration(looked, {}, 10).set_index("arm")
    for arm, rows in looked.items():
        errors = [calibration.expected_calibration_error(x) for x in rows.values()]
        assert measured.ECE[arm] == pytest.approx(np.mean(errors))
    points = page.tabulate_points(looked, {}, 0.5).set_index("arm")
    calls = [(x.score >= 0.5)[x.label == "ALL"].mean() for x in looked["b"].values()]
    assert points.sensitivity["b"].startswith(f"{np.mean(calls):.3f}")
    curves = [page.list_reliability(looked, {}, 5), page.list_risks(looked, 0.5)]
    curves += [further.list_bands(looked, None, 0.95)]
    assert all(set(curve) == {"a", "b"} for curve in curves)
    assert set(page.tabulate_effects(judged).arm) == set(page.tabulate_heterogeneity(looked, 0.5).arm)


def test_one_arm_of_calls_is_named_where_probabilities_are_needed():
    table = arms()
    table["score"] = table.score.where(table.arm == "a", (table.score >= 0.5) * 1.0)
    looked = page.list_arms(judge(table))
    assert list(page.keep_probabilities(looked)) == ["a"]
    assert page.describe_calls(looked)[0].startswith("b: calls, 0 or 1")


def text_of(html):
    main = re.search(r"<main.*?</main>", html, re.S)[0]
    main = re.sub(r"<script.*?</script>|<pre.*?</pre>", " ", main, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


@pytest.mark.usefixtures("front_only")
def test_the_page_answers_first_heads_nothing_empty_and_gives_one_p_value(tmp_path):
    validation = arms(seed=9, ALL=10, HEM=10).assign(split="validation")
    for column in ("cell", "subject", "identity"):
        validation[column] = "v" + validation[column]
    table = pd.concat([arms(gain=0.3), validation], ignore_index=True)
    table["site"] = np.where(table.subject.str[-1].isin(list("13579")), "Delhi", "Kiel")
    table.to_csv(tmp_path / "two.csv", index=False)
    words = ("--resamples", 200, "--prevalence", 0.05, "--group", "site", "--level", 0.9)
    ran = leukonb("evaluate", tmp_path / "two.csv", "--out", tmp_path / "out", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = json.loads((tmp_path / "out/evidence.json").read_text())
    assert [line.strip() for line in ran.stdout.splitlines()][:1] == [record["answer"][0]]
    assert json.loads((tmp_path / "out/methods.json").read_text()) == record["methods"]
    assert record["terms"]["level"] == 0.9 and "90 %" in record["methods"]["paragraph"]
    html = (tmp_path / "out/page/runs/evaluate/judge-two.html").read_text()
    words = text_of(html)
    places = [words.index(sentence) for sentence in record["answer"]]
    assert places == sorted(places) and places[-1] < words.index("What is judged")
    assert record["methods"]["paragraph"][:80] in words
    heads = re.split(r"<h2[^>]*>", html[html.index("<main") :])[1:]
    assert len(heads) >= 13 and "<p class='none'>" not in html
    for part in heads:
        assert re.search(r"<table class='leukonb'|figure-|class='worth'", part), part[:200]
    shown = [part for part in heads if "Shown:" in part]
    assert len(shown) >= 10 and all("a, b, each one classifier" in part for part in shown)
    assert "<details class='folded'>" in html and "at a share of ALL of 5.0 %" in words
    left = {name: pd.read_csv(tmp_path / f"out/{name}.csv") for name in ("calibration", "coverage", "failed")}
    assert any(
        kind.startswith("mended") for kind in left["calibration"].scores
    )  # the model card asks for these
    assert "unsure" in left["coverage"] and "i2" in pd.read_csv(tmp_path / "out/heterogeneity.csv")
    for name in ("verdicts", "verdicts-2", "predictive-2", "left-out-2"):
        assert f'id="figure-{name}"' in html
    main = judgement.primary_comparisons(pd.read_csv(tmp_path / "out/comparisons.csv"))
    shown = pd.read_csv(tmp_path / "out/compared.csv")
    assert shown.score[0] == "balanced accuracy (primary)"
    np.testing.assert_allclose(shown.p, main.p)
    for name, p in zip(shown.score.str.removesuffix(" (primary)"), main.p):
        assert f"{name}<br>({state_p(p)}" in html.replace("\\u003c", "<")


def test_a_large_table_is_judged_in_little_time_and_memory():
    rng, people, cells = np.random.default_rng(0), 2000, 100_000
    who, level = rng.integers(0, people, cells), rng.normal(0, 0.9, people)
    side = np.where(np.arange(people) % 2, 1.5, -1.5)
    rows = {"cell": np.arange(cells), "subject": who, "label": np.where(side[who] > 0, "ALL", "HEM")}
    drawn = [1 / (1 + np.exp(-(side + level)[who] - rng.normal(0, 1, cells))) for _ in range(2)]
    table = pd.concat([pd.DataFrame(rows).assign(score=s, arm=a) for a, s in zip("ab", drawn)])
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    judged = judge(table)
    taken = time.process_time() - began
    assert {"accuracy", "auroc", "ece"} <= set(judged.scores.metric) and len(judged.comparisons)
    assert taken < 20, f"{taken:.0f} s of one core"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000


def test_a_section_that_costs_more_says_where_it_stops():
    few = networks.split_networks(arms().query("arm == 'a'"), "a")
    assert len(networks.average_verdicts(few, most=3).dropna()) == 3
    said = further.describe_stop(further.MOST_LEFT_OUT + 1)
    assert f"{further.MOST_LEFT_OUT:,}" in said and "was not computed" in said


def test_a_table_of_several_classes_is_judged_by_the_same_call(tmp_path):
    table = multiclass.draw_class_world(multiclass.ClassWorld(), 1)
    found = evaluate.judge_predictions(table)
    names = [c.removeprefix("score_") for c in table if c.startswith("score_")]
    called = table[[f"score_{name}" for name in names]].to_numpy().argmax(1)
    right = (np.array(names)[called] == table.label).mean()
    assert found.record["kind"] == "classes" and found.record["scores"]["accuracy"]["value"] == pytest.approx(
        right
    )
    assert len(found.answer) == 3 and "macro_f1" in set(evaluate.summarise_evidence(found.record).score)
    run = evaluate.plan_judgement(table, tmp_path, level=0.9)
    assert run.experiment == "classes" and run.manifest["inputs"]["parameters"]["level"] == 0.9
    for wrong, said in (({"threshold": 0.4}, "threshold"), ({"labels": {"blast": "ALL"}}, "--label")):
        with pytest.raises(Refusal, match=f"{said}.* tables of two"):
            evaluate.plan_judgement(table, tmp_path / "none", **wrong)
    assert not (tmp_path / "none").exists()


def test_under_the_intervals_stands_how_well_such_intervals_hold(monkeypatch):
    known = {"ALL": 7, "HEM": 7, "classifier": "good", "sizes": "unrelated", "worlds": 1000}
    rows = [
        {**known, "metric": name, "method": method, "coverage": held, "low": held - 0.02, "high": held + 0.02}
        for method, held in (("default", 0.94), ("once", 0.91), ("percentile", 0.8))
        for name in metrics.NAMES
    ]
    monkeypatch.setattr(coverage, "read_coverage", lambda: pd.DataFrame(rows))
    judged = judge(arms())
    shown = {method: page.describe_coverage(judged, method=method) for method in ("", "once")}
    assert "in 94 %." in shown[""][0] and "in 91 %." in shown["once"][0]
    said = set(shown[""][0].split("as follows: ")[1].removesuffix(" in 94 %.").split(", "))
    assert said == {name_score(name) for name in metrics.NAMES}
    assert "in 80 %." in page.describe_coverage(judge(arms(), method="percentile"))[0]
    assert "only at 95 %" in page.describe_coverage(judge(arms(), level=0.9))[0]
    assert page.describe_coverage(judge(splits(), train_subjects=17)) == [page.OVER_SPLITS]


def test_one_arm_with_a_bracket_in_its_name_has_a_paragraph_on_methods():
    table = arms().query("arm == 'a'").assign(arm="Prellberg & Kramer (2019) (preliminary)")
    record = judgement.evidence_record(judge(table))
    assert ", one network. A cell was called ALL" in record["methods"]["paragraph"]
    assert "preliminary" not in record["methods"]["paragraph"]


def fit_by_quadrature(right, cells):
    """Shares of the middle subject and on average in the mixed model of most likelihood, by a plain sum."""
    nodes = np.linspace(-8, 8, 1601)
    weights = stats.norm.pdf(nodes) * 0.01

    def loss(terms):
        odds = terms[0] + np.exp(terms[1]) * nodes
        logs = -right[:, None] * np.logaddexp(0, -odds) - (cells - right)[:, None] * np.logaddexp(0, odds)
        return -special.logsumexp(logs, 1, weights).sum()

    level, spread = optimize.minimize(loss, [1.0, 0.0], method="Nelder-Mead", tol=1e-8).x
    return special.expit(level), weights @ special.expit(level + np.exp(spread) * nodes)


def test_a_mixed_model_names_the_typical_subject_and_the_mean_over_subjects_rightly():
    table = arms(ALL=13, HEM=15, cells=30, between=1.6).query("arm == 'a'")
    counts, found = mixed.count_right(table), mixed.mixed_shares(table).set_index("label")
    for label, rows in counts.groupby("label"):
        typical, mean = fit_by_quadrature(rows.right.to_numpy(), rows.cells.to_numpy())
        assert typical - mean > 0.02
        assert found.typical[label] == pytest.approx(typical, abs=2e-3)
        assert found.value[label] == pytest.approx(mean, abs=2e-3)
        assert found.typical_low[label] < typical < found.typical_high[label]
    shown, _ = further.try_mixed(page.list_arms(judge(table)), 0.5, 0.95)
    for column, name in (("typical subject", "typical"), ("mean over subjects", "value")):
        assert float(shown[column][0].split(" (")[0]) == pytest.approx(found[name]["ALL"], abs=0.006)


def test_each_design_effect_says_what_it_is_of():
    judged = judge(arms(ALL=9, HEM=9, cells=25).query("arm == 'a'"))
    effects = page.tabulate_effects(judged).set_index("of")
    wide, narrow = (rows.set_index("metric").loc["accuracy"] for rows in (judged.scores, judged.naive))
    ratio = ((wide.high - wide.low) / (narrow.high - narrow.low)) ** 2
    assert effects["design effect"]["accuracy, by its intervals"] == pytest.approx(ratio)
    own = judged.table.query("label == 'HEM'")
    of_class = intervals.design_effect(own)
    assert effects["effective cells"]["calls of HEM cells"] == pytest.approx(of_class["effective cells"])
    assert effects["cells"]["calls of HEM cells"] == len(own) and len(effects) == 4


def perfect(table):
    """The table with every cell called rightly."""
    return table.assign(score=np.where(table.label == "ALL", 0.9, 0.1))


def test_splits_without_sizes_have_no_interval_but_the_exact_one_and_it_is_said():
    judged = judge(perfect(splits(n=4)))
    known = judged.scores[judged.scores.low.notna()]
    assert judged.sizes[0] is None and "accuracy" in set(known.metric)
    assert known.method.str.contains("exact interval").all()
    assert "except that of a score which is the same in every split" in judged.remarks["a"][0]
    said = judgement.evidence_record(judged)["methods"]["paragraph"]
    assert "most without intervals" in said and "0 or 1 in every split has the exact interval" in said


def test_sizes_that_are_not_tested_have_no_p():
    """Where fewer than three people err there is nothing to test: p = 1 would read as if nothing went with sizes."""
    table = perfect(arms())
    own = table[table.label == "ALL"].groupby("arm").head(1).index
    judged = judge(table.assign(score=table.score.mask(table.index.isin(own), 0.2)))
    said = page.describe_size_tests(judged)
    assert said and all("no test: fewer than 3 err" in text and "p =" not in text for text in said)


def test_whose_the_errors_are_is_remarked_where_they_are_of_one_or_two_people():
    table = perfect(arms())
    first = table[(table.arm == "b") & (table.label == "ALL")].index[0]
    table.loc[first, "score"] = 0.2
    judged = judge(table, level=0.9)
    said = [text for text in judged.remarks["b"] if "called wrongly" in text]
    assert said == clustered.describe_few(table[table.arm == "b"], 0.5, 0.9)
    assert "is of 1 of 7 people, none of them altogether" in said[0] and "No cell of 7 HEM" in said[1]
    assert all("No cell of 7" in text for text in judged.remarks["a"] if "called wrongly" in text)
    assert f"b: {said[0]}" in page.gather_remarks(judged)
    seeds = judge(pd.concat([table[table.arm == "b"].assign(seed=s) for s in range(2)]), level=0.9)
    assert said[0] in seeds.remarks["b"]
    assert judgement.evidence_record(judged)["arms"]["b"]["scores"]["ece"]["interval_of"] == "value"


def test_the_answer_says_what_it_is_of_where_another_test_finds_a_difference():
    main = pd.DataFrame({"a": ["x", "x", "y"], "b": ["y", "z", "z"], "primary": True, "p_holm": 0.9})
    pairs = pd.DataFrame(1.0, list("xyz"), list("xyz"))
    pairs.loc["x", "z"] = pairs.loc["z", "x"] = 0.004
    ranked = {"p": 0.005, "chi2": 10.57, "blocks": 35, "pairs": pairs}
    odds = pd.DataFrame({"a": ["x", "y"], "b": ["y", "z"], "label": ["both", "HEM"], "p": [0.009, 0.001]})
    said = page.describe_other_tests(main, ranked, odds)
    assert len(said) == 1 and "corrected for the number of pairs" in said[0]
    assert "rank alike (p = .005)" in said[0] and "(x - y, p = .009)" in said[0] and "y - z" not in said[0]
    assert page.describe_other_tests(main, ranked | {"p": 0.2}, odds.assign(p=0.5)) == []
    assert page.describe_other_tests(main.assign(p_holm=0.01), ranked, odds) == []
    ranks = page.describe_ranks(ranked)[0]
    assert "over 35 people" in ranks and "tells x from z" in ranks
    assert "tells no pair apart" in page.describe_ranks(ranked | {"pairs": pairs * 0 + 1})[0]
