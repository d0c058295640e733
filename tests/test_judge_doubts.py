"""What would make the answer wrong stands before it."""

import numpy as np
import pandas as pd
import pytest
from leukonb import evaluate


def people(ALL=8, HEM=8, cells=6):
    g = np.random.default_rng(3)
    rows = []
    for i in range(ALL + HEM):
        label, mean = ("ALL", 1.2) if i < ALL else ("HEM", -1.2)
        for k, z in enumerate(mean + g.normal(0, 0.5) + g.normal(0, 0.7, cells)):
            rows.append((f"c{i}-{k}", str(i + 1), label, 1 / (1 + np.exp(-z))))
    return pd.DataFrame(rows, columns=["cell", "subject", "label", "score"])


def answer(table):
    return evaluate(table, resamples=100).answer


def test_a_plain_table_has_three_sentences():
    assert len(answer(people())) == 3


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (lambda t: t.assign(score=1 - t.score), "which class the scores are of"),
        (lambda t: t.assign(score=(t.score < 0.5).astype(float)), "which class the scores are of"),
        (lambda t: t.assign(subject=t.cell), "whether these are people"),
        (
            lambda t: t.assign(subject=np.where(t.label == "ALL", "H" + t.subject, t.subject)),
            "which label means ALL",
        ),
        (
            lambda t: t.assign(subject=np.where(t.index % 2, t.subject + ".0", t.subject)),
            "counted as 32 and may be 16",
        ),
    ],
)
def test_what_would_make_the_answer_wrong_stands_first(change, doubt):
    first, *rest = answer(change(people()))
    assert first.startswith("Settle first") and doubt in first and len(rest) == 3


def test_whose_mean_score_is_the_threshold_is_named():
    table = people()
    own = table.subject == "9"
    table.loc[own, "score"] = [0.25, 0.75] * 3
    said = evaluate(table, resamples=100).remarks
    assert any("the threshold, 0.5, itself counts as called ALL" in text and "of 9" in text for text in said)
    assert not any("itself counts" in text for text in evaluate(people(), resamples=100).remarks)


def test_a_naive_interval_is_called_so_once():
    naive = evaluate(people(), resamples=100).record["naive"]
    assert {str(score["method"]).count("naive") for score in naive.values()} == {1}
