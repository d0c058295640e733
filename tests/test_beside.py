"""Area alone and all plain cues beside a network: trained on its training cells, asked about its test cells, and the verdict."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from leukonb.data import splits
from leukonb.data.cohort import COLUMNS
from leukonb.evidence import predictions
from leukonb.files import Refusal
from leukonb.model import classical
from leukonb.pages import ablation, as_run, beside, beside_trained, challenge, folds, leakage
from leukonb.pages import monte_carlo, paper


def drawn(people=10, cells=6):
    "Cells of so many people of each class, and cues of which the area knows the class."
    rng = np.random.default_rng(0)
    subjects = [*(f"{i}" for i in range(people)), *(f"H{i}" for i in range(people))]
    rows = pd.DataFrame({"subject": np.repeat(subjects, cells)}, columns=list(COLUMNS))
    rows = rows.assign(cell=[f"{i:04}" for i in range(len(rows))], identity=rows.subject)
    rows["path"], rows["label"] = rows.cell, np.where(rows.subject.str.startswith("H"), "HEM", "ALL")
    is_all = (rows.label == "ALL").to_numpy()
    cues = {"size.area": is_all + rng.normal(0, 1, len(rows)), "texture.grain": rng.normal(size=len(rows))}
    return rows, pd.DataFrame(cues, index=pd.Index(rows.cell, name="cell"))


def test_plain_classifiers_have_the_networks_training_and_test(monkeypatch):
    rows, cues = drawn()
    split, learned = splits.split_monte_carlo(rows, 3, 0.5, 0.2, 0.3), []
    fit = classical.fit_classifier
    monkeypatch.setattr(classical, "fit_classifier", lambda *a: learned.append(set(a[1].cell)) or fit(*a))
    plain = beside.score_plain(cues, split)
    wanted = split[split.split == "train"].groupby("iteration").cell.agg(set)
    assert learned == [cells for cells in wanted for _ in range(2)]
    asked = split[split.split == "test"]
    for arm, table in plain.groupby("arm"):
        assert set(zip(table.iteration, table.cell)) == set(zip(asked.iteration, asked.cell)), arm


def test_copies_are_left_out_and_a_table_without_cues_has_no_baseline():
    rows, cues = drawn()
    split = splits.draw_split(rows, "copies", 0.5, 0.2, 0.3)
    assert not set(split.cell) <= set(cues.index)
    plain = beside.score_plain(cues, split)
    assert set(plain.cell) == set(split.cell[split.split == "test"]) & set(cues.index)
    assert beside.score_plain(cues[["texture.grain"]], split) is None


def test_the_split_of_a_training_is_drawn_again_or_refused():
    rows, cues = drawn()
    given = dict(unit="identity", train=0.5, validation=0.2, test=0.3, split_seed=4, iteration=2)
    given |= dict(copies=0.6, reserved=0.2, seed=0)
    rest, _ = splits.reserve_identities(rows, 0.2, 4, 2)
    split = splits.draw_split(rest, "identity", 0.5, 0.2, 0.3, 4, 2)
    test = split[split.split == "test"]
    table = predictions.tabulate_scores(test, np.full(len(test), 0.5), "a network", 2)
    assert set(beside.score_beside(rows, cues, given, table).cell) == set(test.cell)
    with pytest.raises(Refusal, match="give the cohort that it was trained on"):
        beside.score_beside(rows, cues, {**given, "split_seed": 5}, table)


@pytest.mark.parametrize(
    "gain, verdict", [(0.2, "scores more"), (-0.2, "scores less"), (0.0, "not told apart")]
)
def test_the_verdict_over_splits_follows_the_corrected_test(gain, verdict):
    rng = np.random.default_rng(0)
    plain = pd.DataFrame({"arm": "area alone", "iteration": range(20), "auroc": rng.normal(0.7, 0.02, 20)})
    network = plain.assign(arm="a network", auroc=plain.auroc + gain + rng.normal(0, 0.02, 20))
    found = beside.compare_plain_splits(pd.concat([network, plain]), (20, 10))
    assert found.verdict.tolist() == [verdict] and verdict in beside.describe_plain(found)[0]


def test_a_network_that_knows_the_class_scores_more_than_area_alone():
    rows, cues = drawn(people=16)
    split = splits.split_by_identity(rows, 0.4, 0.1, 0.5)
    plain = beside.score_plain(cues, split)
    area = plain[plain.arm == "area alone"]
    sure = np.where(area.label == "ALL", 0.9, 0.1) + np.random.default_rng(0).normal(0, 0.25, len(area))
    knows = area.assign(arm="a network", score=sure.clip(0, 1))
    found = beside.compare_plain(predictions.concatenate_tables([plain, knows])).set_index("beside")
    assert found.verdict["area alone"] == "scores more" and found.low["area alone"] > 0


PAGES = ["evaluation", "folds", "leakage", "monte-carlo", "ablation", "as-run", "challenge", "explanation"]


@pytest.mark.parametrize("name", [*PAGES, "trained-splits"])
def test_every_page_of_a_network_asks_the_plain_classifiers(name):
    text = (ROOT / "nbs" / "experiments" / f"{name}.ipynb").read_text()
    asks = ("beside.compare_plain", "leakage.score_plain_ways", "beside_trained.show_beside")
    assert any(call in text for call in (*asks, "beside_trained.compare_trained"))


def test_many_networks_on_one_split_have_one_baseline(monkeypatch):
    rows, cues = drawn()
    given = dict(unit="identity", train=0.5, validation=0.2, test=0.3, split_seed=0, iteration=0)
    given |= dict(copies=0.6, reserved=0.0, seed=0)
    split = splits.draw_split(rows, "identity", 0.5, 0.2, 0.3)
    test = split[split.split == "test"]
    scores, fitted, fit = np.random.default_rng(0).uniform(0, 1, (4, len(test))), [], classical.fit_classifier
    monkeypatch.setattr(classical, "fit_classifier", lambda *a: fitted.append(a) or fit(*a))
    arms = [("full", 0), ("full", 1), ("without a part", 0), ("without a part", 1)]
    trained = [
        ({**given, "seed": seed}, predictions.tabulate_scores(test, score, arm, 0, seed))
        for (arm, seed), score in zip(arms, scores)
    ]
    tables = beside_trained.gather_beside(
        [*trained, ({**given, "unit": "copies"}, trained[0][1])], rows, cues
    )
    assert len(fitted) == len(beside.choose_plain(cues)) and list(tables) == ["split 0 by identity"]
    compared = beside_trained.compare_trained(tables)
    assert len(compared) == 4 and set(compared.arm) == {"full", "without a part"}
    assert not beside_trained.gather_beside(trained, rows, cues[["texture.grain"]])
    checked = ablation.check_arms(predictions.concatenate_tables([table for _, table in trained]))
    differences = ablation.difference_from_reference(checked, permutations=100)
    less = ablation.difference_of_plain(checked, tables, permutations=100)
    figure = ablation.draw_ablation(differences, less)
    assert {"area alone", "all plain cues"} <= {arm for line in figure.data for arm in line.y}
    own = as_run.add_plain_rows(pd.DataFrame(columns=OWN), tables)
    assert list(own["split by"].unique()) == ["identity"] and len(own) == 6
    of_plain = ablation.score_of_plain(tables)
    field = challenge.compare_with_field(
        ablation.average_scores(checked).query("arm == 'full'"), "x", of_plain
    )
    assert {"area alone", "all plain cues"} <= set(field["whose figure"])


OWN = ["arm", "split by", "metric", "value", "low", "high", "identities"]


def test_every_figure_that_the_paper_prints_over_its_splits_stands_beside_ours():
    named = {"F1": "weighted_f1", "AUC": "auroc", "accuracy": "accuracy"}
    named |= {"precision": "weighted_precision", "recall": "weighted_recall"}
    for word, score in named.items():
        claim = monte_carlo.claimed_interval(score, monte_carlo.FIRST)
        printed = paper.printed_figure(f"Monte Carlo {word}") / 100
        assert claim.startswith(f"{printed:.4f} ± ") and score in monte_carlo.SHOWN
        assert ("[" in claim) == (f"Monte Carlo {word}, low" in paper.PRINTED)


def test_folds_are_scored_as_released_too_where_people_stand_in_both():
    rows, cues = drawn()
    rows["fold"] = [int(number) % 2 for number in rows.subject.str.removeprefix("H")]
    assert list(folds.split_ways(rows)) == ["fold 0 to fold 1", "fold 1 to fold 0", "every identity in turn"]
    rows["identity"] = rows.identity.replace({"1": "0"})
    ways = folds.split_ways(rows)
    apart, whole = (ways[f"fold 0 to fold 1{end}"][0] for end in ("", folds.RELEASED))
    both = rows[rows.identity == "0"]
    assert set(whole[whole.split == "test"].cell) - set(apart.cell) == set(both.cell[both.fold == 1])
    table = folds.score_splits([apart], {"cues": cues}, 0, beside.choose_plain(cues))
    released = folds.score_splits([whole], {"cues": cues}, 0, beside.choose_plain(cues))
    named = {"fold 0 to fold 1": table, f"fold 0 to fold 1{folds.RELEASED}": released}
    network = table[table.arm == "area alone"].assign(arm="a network")
    joined = folds.add_trained(named, [network])
    assert "a network" in set(joined["fold 0 to fold 1"].arm) and len(joined) == 2
    assert "a network" not in set(joined[f"fold 0 to fold 1{folds.RELEASED}"].arm)


def test_plain_classifiers_meet_every_way_to_split_and_stand_in_the_figure():
    rows, cues = drawn(people=12)
    how, units = leakage.Protocol(0.5, 0.2, 0.3, 0.25), ["copies", "image", "identity"]
    scored = leakage.score_plain_ways(rows, cues, how, 2, units)
    for own, new in scored.values():
        for iteration in range(2):
            split, apart = how.draw(rows, "image", iteration)
            for table, wanted in ((own, split[split.split == "test"]), (new, apart)):
                asked = table[(table.iteration == iteration) & (table.arm == "image")]
                assert set(asked.cell) == set(wanted.cell)
    plain = leakage.measure_plain(scored, resamples=100)
    assert set(plain.unit) == {"image", "identity"}
    bare = leakage.draw_leakage(plain[plain.classifier == "area alone"])
    marks = len(bare.data)
    shown = leakage.add_plain(bare, plain)
    assert [line.name.split(",")[0] for line in shown.data[marks:]] == ["area alone", "all plain cues"]


def test_kept_cues_that_were_changed_are_measured_anew(tmp_path, monkeypatch):
    cohort, measured = SimpleNamespace(measured=None, digest="0" * 64), []
    _, cues = drawn()
    monkeypatch.setattr(beside_trained.features, "cues_of_cohort", lambda *a: measured.append(a) or cues)
    for expected in (1, 1):
        pd.testing.assert_frame_equal(beside_trained.keep_cues(cohort, 96, tmp_path), cues)
        assert len(measured) == expected
    (kept,) = tmp_path.glob("cues-*.parquet")
    pd.read_parquet(kept).assign(**{"size.area": 10.0}).to_parquet(kept)
    pd.testing.assert_frame_equal(beside_trained.keep_cues(cohort, 96, tmp_path), cues)
    assert len(measured) == 2
