"""More than two classes: scikit-learn's figures, tables that are refused by their row, and people as units."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from leukonb.evidence import class_judgement, multiclass
from leukonb.evidence.multiclass import ALL_CLASSES, ClassWorld, check_classes, draw_class_world
from leukonb.files import Refusal

WORLD = ClassWorld(classes=("B-ALL", "T-ALL", "HEM"), subjects=9, cells=12)
SCORES = ["score_B-ALL", "score_T-ALL", "score_HEM"]


def drawn(seed=1, **columns):
    return draw_class_world(WORLD, seed).assign(**columns)


def called(rows):
    return np.array(multiclass.list_classes(rows))[rows[SCORES].to_numpy().argmax(1)]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6), n=st.integers(1, 80))
def test_scores_of_calls_are_those_of_scikit_learn(seed, classes, n):
    rng = np.random.default_rng(seed)
    true, call = rng.integers(0, classes, (2, n))
    counts = theirs.confusion_matrix(true, call, labels=range(classes))
    found = multiclass.scores_from_confusion(counts)
    known = np.unique(true)
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(true, call))
    assert found["balanced_accuracy"] == pytest.approx(
        np.mean([(call[true == c] == c).mean() for c in known])
    )
    assert found["macro_f1"] == pytest.approx(theirs.f1_score(true, call, average="macro"))
    assert found["weighted_f1"] == pytest.approx(theirs.f1_score(true, call, average="weighted"))
    kappa = theirs.cohen_kappa_score(true, call, labels=range(classes)) if len({*true, *call}) > 1 else np.nan
    assert found["kappa"] == pytest.approx(kappa, nan_ok=True)
    for c in known:
        rest = true != c
        assert found["sensitivity"][c] == pytest.approx((call[~rest] == c).mean())
        if rest.any():
            assert found["specificity"][c] == pytest.approx((call[rest] != c).mean())


def test_areas_are_those_of_scikit_learn_and_ties_count_half():
    raw = drawn()
    coarse = np.floor(raw[SCORES] * 10) / 10
    rows = check_classes(
        raw.assign(**coarse).assign(score_HEM=1 - coarse["score_B-ALL"] - coarse["score_T-ALL"])
    )
    found = multiclass.interval_classes(rows).set_index(["of", "metric"]).value
    for c in WORLD.classes:
        area = theirs.roc_auc_score(rows.label == c, rows[f"score_{c}"])
        assert found[c, "auroc"] == pytest.approx(area)
    names = sorted(WORLD.classes)
    shares = rows[[f"score_{c}" for c in names]]
    whole = theirs.roc_auc_score(rows.label, shares, multi_class="ovr", labels=names)
    assert found[ALL_CLASSES, "macro_auroc"] == pytest.approx(whole)


def test_the_error_over_people_is_the_jackknife_s():
    """Leaving out each person by brute force gives the error that the linearised one stands for."""
    rows = check_classes(draw_class_world(ClassWorld(subjects=40, cells=15), 3))
    found = multiclass.interval_classes(rows).set_index(["of", "metric"])
    people = rows.identity.unique()
    left_out = pd.DataFrame(
        {
            who: multiclass.interval_classes(rows[rows.identity != who]).set_index(["of", "metric"]).value
            for who in people[:40]
        }
    )
    scale = np.sqrt((39 / 40) * left_out.sub(left_out.mean(axis=1), axis=0).pow(2).sum(axis=1))
    for name in multiclass.OF_ALL:
        row = found.loc[(ALL_CLASSES, name)]
        assert 1.7 * scale[ALL_CLASSES, name] < (row.high - row.low) / 2 < 2.9 * scale[ALL_CLASSES, name], (
            name
        )


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda t: t.assign(**{"score_HEM": 0.0}), r"row 2: the scores sum to 0\.\d+; probabilities"),
        (lambda t: t.assign(**np.log(t[SCORES])), "row 2: score_B-ALL is -.*logits"),
        (
            lambda t: t.assign(**100 * t[SCORES]),
            "row 2: score_B-ALL is .*if they are percentages, say --scale percent",
        ),
        (lambda t: t.assign(**{"score_HEM": "?"}), "row 2: score_HEM is missing or no number"),
        (lambda t: t.assign(label=t.label.where(t.index != 4, "AML")), "row 6: label is 'AML'.*score_AML"),
        (lambda t: t.assign(label=t.label.where(t.index != 4, None)), "row 6: label is missing"),
        (lambda t: t.drop(columns="subject"), "has no column 'subject'"),
        (lambda t: t[:0], "has no rows"),
        (lambda t: t.assign(score=0.5), "no column score"),
        (lambda t: t.assign(subject="7"), "of one person"),
        (lambda t: t.assign(cell="a"), "stands twice"),
        (
            lambda t: pd.concat([t, t.assign(split="train")]).fillna({"split": "test"}),
            "is in training and, here, in test",
        ),
        (lambda t: t.assign(**{"Score_hem": 0.1}), "the class .* twice"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_its_row(change, line):
    with pytest.raises(Refusal, match=f"^smears.csv.*{line}"):
        check_classes(change(drawn()), None, "smears.csv")


def test_two_classes_stay_two():
    two = pd.DataFrame({"subject": ["1"], "label": ["ALL"], "score_ALL": [0.9], "score_HEM": [0.1]})
    assert multiclass.find_classes(two) == [] == multiclass.find_classes(two.assign(score=0.9))
    assert multiclass.find_classes(drawn()) == list(WORLD.classes)
    assert multiclass.find_classes(drawn().rename(columns=str.upper)) == ["B-ALL", "T-ALL", "HEM"]


def test_rounded_scores_and_loose_labels_are_read():
    raw = drawn()
    loose = raw.assign(label=raw.label.str.lower().str.replace("-", " "), **raw[SCORES].mul(0.9995))
    assert check_classes(loose).label.tolist() == raw.label.tolist()


def test_a_subject_of_several_classes_is_one_person_and_a_joined_identity_too():
    raw = drawn(identity=lambda t: t.subject.replace({"1": "2"}))
    rows = check_classes(raw)
    assert rows.groupby("identity").label.nunique().max() > 1
    assert set(multiclass.interval_classes(rows).query("of == 'all classes'").n_subjects) == {8}


def test_a_row_stands_where_the_file_has_it():
    """Rows are numbered by the file, also where it had empty lines."""
    raw = drawn()
    raw.index = [0, *range(3, len(raw) + 2)]
    raw.attrs["numbered"] = True
    bad = raw.assign(label=raw.label.where(raw.index != 7, "AML"))
    bad.attrs["numbered"] = True
    with pytest.raises(Refusal, match="row 9: label is 'AML'"):
        check_classes(bad)


def test_cells_that_are_copied_into_a_subject_do_not_narrow_the_interval():
    """Ten copies of every cell know no more of other people; cells taken for independent think they do."""
    rows = check_classes(drawn())
    copies = pd.concat([rows.assign(cell=rows.cell + f" {i}") for i in range(10)], ignore_index=True)
    once, often = (multiclass.interval_classes(t).query("of == 'all classes'") for t in (rows, copies))
    naive = multiclass.interval_classes(copies, unit="cell").query("of == 'all classes'")
    width = (once.high - once.low).to_numpy()
    assert ((often.high - often.low).to_numpy() > 0.8 * width).all()
    assert ((naive.high - naive.low).to_numpy() < 0.5 * width).all()


def test_the_bootstrap_agrees_where_it_should():
    """With many people of equal cells the percentile interval and the default one are nearly the same."""
    rows = check_classes(draw_class_world(ClassWorld(subjects=150, cells=12, between=0.3), 2))
    default, drawn_ = (
        multiclass.interval_classes(rows, method=m).query("of == 'all classes'") for m in multiclass.METHODS
    )
    ratio = (default.high - default.low).to_numpy() / (drawn_.high - drawn_.low).to_numpy()
    assert ((0.85 < ratio) & (ratio < 1.25)).all(), ratio
    assert np.allclose(default.low, drawn_.low, atol=0.02)


def test_calls_have_no_area():
    raw = drawn()
    calls = raw.assign(**{c: (raw[SCORES].idxmax(axis=1) == c) * 1.0 for c in SCORES})
    judged = class_judgement.judge_classes(check_classes(calls))
    assert not set(judged.scores.metric) & {"auroc", "macro_auroc"}
    assert "withheld" in " ".join(judged.remarks["model"])
    assert judged.scores.value[0] == pytest.approx(theirs.accuracy_score(raw.label, called(raw)))


def test_a_class_without_a_cell_is_said_and_left_out_of_means():
    raw = drawn()
    judged = class_judgement.judge_classes(check_classes(raw[raw.label != "T-ALL"]))
    rows = judged.scores.set_index(["of", "metric"]).value
    assert ("T-ALL", "sensitivity") not in rows.index and ("T-ALL", "specificity") in rows.index
    assert rows[ALL_CLASSES, "balanced_accuracy"] == pytest.approx(
        (rows["B-ALL", "sensitivity"] + rows["HEM", "sensitivity"]) / 2
    )
    assert "No judged cell is of T-ALL" in " ".join(judged.remarks["model"])


def test_only_the_test_part_is_judged():
    raw = drawn()
    learnt = raw.assign(subject="t" + raw.subject, cell="t" + raw.cell, split="train")
    both = check_classes(pd.concat([learnt, raw.assign(split="test")], ignore_index=True))
    alone = class_judgement.judge_classes(check_classes(raw))
    assert class_judgement.judge_classes(both).scores.equals(alone.scores)
    with pytest.raises(Refusal, match="no test rows"):
        class_judgement.judge_classes(check_classes(learnt))


def test_two_arms_in_any_order_of_rows_are_compared_cell_by_cell():
    arms = draw_class_world(ClassWorld(subjects=15, gain=0.9), 4, ("a", "b"))
    one = multiclass.compare_classes(check_classes(arms), "b", "a")
    other = multiclass.compare_classes(check_classes(arms.sample(frac=1, random_state=0)), "b", "a")
    pd.testing.assert_frame_equal(one, other)
    scores = (
        class_judgement.judge_classes(check_classes(arms)).scores.set_index(["arm", "of", "metric"]).value
    )
    gaps = [scores["b", ALL_CLASSES, name] - scores["a", ALL_CLASSES, name] for name in one.metric]
    assert np.allclose(one.difference, gaps)
    assert (one.p > 0).all() and one.p.min() < 0.05


def test_seeds_are_judged_one_by_one():
    two = draw_class_world(WORLD, 1, ("0", "1"))
    rows = check_classes(two.assign(seed=two.arm.astype(int), arm="model"))
    alone = [
        multiclass.interval_classes(check_classes(own)).set_index(["of", "metric"]).value
        for _, own in two.groupby("arm")
    ]
    together = multiclass.interval_classes(rows).set_index(["of", "metric"]).value
    assert np.allclose(together, (alone[0] + alone[1])[together.index] / 2)
    assert "2 networks" in " ".join(class_judgement.find_class_caveats(rows))


def test_the_record_is_json_and_its_digest_knows_one_score(tmp_path):
    rows = check_classes(drawn())
    judged = class_judgement.judge_classes(rows)
    record = json.loads(class_judgement.write_classes(judged, tmp_path, "smears.csv", ["said"]).read_text())
    assert record["kind"] == "classes" and record["table"]["reading"] == ["said"]
    assert record["table"]["by_class"].keys() == set(WORLD.classes)
    assert sum(map(sum, record["confusion"])) == len(rows)
    shuffled = class_judgement.class_record(class_judgement.judge_classes(rows[::-1]))
    assert shuffled["table"]["digest"] == record["table"]["digest"]
    scores = rows[SCORES].to_numpy().copy()
    scores[0] = [0.2, 0.3, 0.5]
    other = rows.assign(**dict(zip(SCORES, scores.T)))
    assert (
        class_judgement.class_record(class_judgement.judge_classes(other))["table"]["digest"]
        != record["table"]["digest"]
    )
