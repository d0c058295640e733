"""Evidence: any table is checked, any score agrees with scikit-learn, and published figures come out."""

import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings, strategies as st
from scipy.special import betainc
from scipy.stats import bootstrap
from sklearn import metrics as theirs

from leukonb.evidence import abstention, calibration, intervals, metrics, predictions, resampled
from leukonb.files import Refusal


def table(seed=0, subjects=12, cells=9, **columns):
    rng = np.random.default_rng(seed)
    label = np.where(np.arange(subjects) % 2, "HEM", "ALL")
    score = np.clip(
        rng.normal(np.where(label == "ALL", 0.62, 0.4)[:, None], 0.2, (subjects, cells)), 0, 1
    ).ravel()
    names = np.repeat([f"{'H' if i % 2 else ''}{i}" for i in range(subjects)], cells)
    return pd.DataFrame({"subject": names, "label": np.repeat(label, cells), "score": score, **columns})


@settings(max_examples=60, deadline=None)
@given(
    marks=st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=4, max_size=60),
    threshold=st.integers(0, 20),
)
def test_scores_are_those_of_scikit_learn(marks, threshold):
    truth, score = np.array([t for t, _ in marks]), np.array([s for _, s in marks]) / 20
    assume(truth.any() and not truth.all() and not set(score) <= {0.0, 1.0})
    rows = pd.DataFrame(
        {"subject": np.where(truth, "1", "H1"), "label": np.where(truth, "ALL", "HEM"), "score": score}
    )
    scores = metrics.compute_scores(predictions.check_table(rows), threshold / 20)
    called = score >= threshold / 20
    expected = {
        "accuracy": theirs.accuracy_score(truth, called),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, called),
        "weighted_f1": theirs.f1_score(truth, called, average="weighted", zero_division=0),
        "auroc": theirs.roc_auc_score(truth, score),
        "average_precision": theirs.average_precision_score(truth, score),
        "brier": theirs.brier_score_loss(truth, score),
    }
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value), name
    if called.any() and not called.all():
        assert scores["mcc"] == pytest.approx(theirs.matthews_corrcoef(truth, called))


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda t: t.drop(columns="score"), "no column 'score'"),
        (lambda t: t.assign(score=t.score * 2), "from 0 to 1"),
        (lambda t: t.assign(score=t.score.where(t.index != 4)), "row 6: score"),
        (lambda t: t.assign(label=t.label.where(t.index != 3, "AML")), "row 5: label is 'AML'"),
        (lambda t: t.assign(label="ALL"), "judged cells are ALL"),
        (lambda t: t.assign(subject=t.subject.where(t.index != 2, "")), "row 4: subject is empty"),
        (lambda t: t.assign(label=t.label.where(t.index != 0, "HEM")), "cells of both labels"),
        (lambda t: t.assign(cell="same"), "stands twice"),
        (lambda t: t.assign(split="later"), "split is 'later'"),
        (lambda t: t.assign(iteration=0.5), "iteration is 0.5"),
        (
            lambda t: pd.concat([t.assign(split="test"), t[:9].assign(split="train")]),
            "is in training and, here, in test",
        ),
        (lambda t: t[:0], "no rows"),
    ],
)
def test_what_cannot_be_judged_is_refused(change, line):
    with pytest.raises(Refusal, match=line) as refusal:
        predictions.check_table(change(table()), source="their.csv")
    assert str(refusal.value).startswith("their.csv") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_written_and_read_is_the_same(tmp_path, suffix):
    first = predictions.check_table(table(subjects=20))
    predictions.write_predictions(tmp_path / f"t{suffix}", first)
    pd.testing.assert_frame_equal(
        predictions.read_predictions(tmp_path / f"t{suffix}"), first, check_dtype=False
    )


def test_numbers_as_subjects_stay_themselves(tmp_path):
    table().assign(subject=lambda t: t.subject.str.strip("H")).to_csv(tmp_path / "n.csv", index=False)
    assert set(predictions.read_predictions(tmp_path / "n.csv").subject) == {str(i) for i in range(12)}


def test_the_published_system_gets_its_published_figures(published):
    rows = predictions.read_predictions(published.table)
    scores, resamples = metrics.compute_scores(rows), 4000
    over = intervals.bootstrap_scores(rows, resamples=resamples).set_index("metric")
    naive = intervals.bootstrap_scores(rows, resamples=resamples, unit="cell").set_index("metric")
    for name, value in published.values.items():
        assert round(scores[name], 4) == round(value, 4)
        for found, ends, unit in (
            (over, published.over_subjects, "subjects"),
            (naive, published.over_cells, "cells"),
        ):
            within = published.within[unit]
            assert (found.low[name], found.high[name]) == pytest.approx(ends[name], abs=within), (name, unit)
    assert np.isnan(scores["auroc"]) and "auroc" not in over.index


@pytest.mark.alone
def test_two_thousand_resamples_of_a_test_set_take_less_than_a_second():
    rows = predictions.check_table(table(subjects=28, cells=67))
    began = time.perf_counter()
    intervals.bootstrap_scores(rows, ("accuracy", "weighted_f1", "auroc", "brier", "mcc"), 2000)
    assert time.perf_counter() - began < 1


def test_bca_agrees_with_scipys_where_cells_are_independent():
    rows = predictions.check_table(table(subjects=200, cells=1))
    ours = intervals.bootstrap_scores(rows, ["sensitivity"], 8000, method="bca").iloc[0]
    right = (rows.score[rows.label == "ALL"] >= 0.5).to_numpy(float)
    scipys = bootstrap((right,), np.mean, n_resamples=8000, method="BCa", rng=np.random.default_rng(0))
    assert (ours.low, ours.high) == pytest.approx(tuple(scipys.confidence_interval), abs=0.015)


@settings(max_examples=50, deadline=None)
@given(j=st.integers(2, 200), ratio=st.floats(0.05, 1), shift=st.floats(-0.1, 0.1), seed=st.integers(0, 1000))
def test_the_corrected_t_is_an_independent_implementation_to_1e_10(j, ratio, shift, seed):
    rng = np.random.default_rng(seed)
    first = rng.normal(0.8, 0.05, j)
    second = first - rng.normal(shift, 0.03, j)
    ours = resampled.corrected_t_test(first, second, 1 / ratio, 1)
    d = [float(a) - float(b) for a, b in zip(first, second)]
    t = statistics.fmean(d) / math.sqrt((1 / j + ratio) * statistics.variance(d))
    assert ours.statistic == pytest.approx(t, rel=1e-10)
    assert ours.p == pytest.approx(betainc((j - 1) / 2, 0.5, (j - 1) / (j - 1 + t * t)), rel=1e-9)


def test_a_threshold_or_scaling_fitted_on_the_test_is_refused():
    rows = predictions.check_table(table(identity=table().subject, split="test"))
    for fit in (calibration.fit_scaling, calibration.choose_operating_point, abstention.calibrate_sets):
        with pytest.raises(Refusal, match="never fitted on the test part"):
            fit(rows)


def test_evidence_needs_no_deep_learning_library_and_no_other_room():
    modules = sorted(f.stem for f in Path(metrics.__file__).parent.glob("[!_]*.py"))
    heavy, rooms = {"tensorflow", "keras", "jax", "torch"}, {"model", "pages", "runs", "data", "verbs"}
    code = (
        f"import sys, {', '.join(f'leukonb.evidence.{name}' for name in modules)}\n"
        f"assert not {heavy} & set(sys.modules)\n"
        f"assert not {{f'leukonb.{{room}}' for room in {rooms}}} & set(sys.modules)"
    )
    assert len(modules) > 10 and subprocess.run([sys.executable, "-c", code]).returncode == 0
