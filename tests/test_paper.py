"""The paper's figures: each contradiction recomputed, the ablation's differences, and no claim shown as a result."""

import re

import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import clustered, metrics, paired, predictions
from leukonb.files import refusal_line
from leukonb.pages import ablation, paper
from leukonb.runs.notebook import notebooks_folder
from leukonb.runs.record import Run
from leukonb.runs.demands import check_cohort
from leukonb.runs.study import apply_settings, load_study, plan_study, shrink_to_smoke


@pytest.fixture(scope="module")
def checks():
    """Every check, by claim."""
    return paper.recompute_all(14_149_024).set_index("claim")


def test_the_scores_agree_with_scikit_learn_on_the_printed_confusion():
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    truth = np.repeat([0, 1], [964 + 18, 26 + 1076])
    said = np.repeat([0, 1, 0, 1], [964, 18, 26, 1076])
    precision, recall, f1, _ = precision_recall_fscore_support(truth, said, average="weighted")
    found = [float(x) for x in re.findall(r"\d+\.\d+", paper.check_scores()["recomputed"])]
    assert np.allclose(
        found, np.round(100 * np.array([accuracy_score(truth, said), precision, recall, f1]), 2)
    )


@pytest.mark.parametrize(
    "claim, says",
    [
        ("The test AUC and the confusion matrix belong to one score and one threshold", "at least 95.85 %"),
        ("The test AUC is one of those that the Monte Carlo splits give", "86 standard deviations below"),
        ("Abstract and body speak of the same patients", "101 in the body"),
        ("The split table shares out the original images", "551 and 461 fewer"),
        ("HEM outnumber ALL, as one passage says", "8,491 ALL and 4,037 HEM"),
        (
            "The subjects are split alike in the two places that state it",
            "80 / 10 / 11 subjects are 79 / 10 / 11 %",
        ),
        ("The differences of the ablation are taken from the full model", "97.27"),
        ("Gains of up to 4.67 points over baselines, with p < 0.001", "4.39"),
        ("The interval is a 95 % interval of the mean", "3.9 standard deviations of single splits wide"),
        ("The network has 15.2 million parameters", "14,149,024"),
        ("The attention shows where in the cell the network looks", "not pixels"),
    ],
)
def test_each_contradiction_comes_out_of_the_printed_figures(checks, claim, says):
    assert checks.holds[claim] is False and says in checks.recomputed[claim], checks.recomputed[claim]


def test_what_cannot_be_recomputed_is_left_open(checks):
    assert checks.holds.isna().sum() == 4
    assert [c for c in checks.index if checks.holds[c] is True] == [
        "The scores follow from the confusion matrix",
        "89 % fewer parameters than VGG16",
    ]


def test_a_saving_is_judged_by_the_counts_that_are_printed_and_that_of_the_network_is_told(checks):
    said = checks.recomputed["89 % fewer parameters than VGG16"]
    assert said == "89.8 % for the network as built, 89.0 % for the count printed"
    assert paper.check_saving(1_000)["holds"] is True


def test_no_roc_through_the_confusion_has_a_smaller_area_than_the_bound():
    """The least favourable score: every wrong cell on the worst side of the threshold."""
    tp, fn, fp, tn = 1076, 26, 18, 964
    truth = np.repeat([True, True, False, False], [tp, fn, fp, tn])
    score = np.repeat([0.6, 0.1, 0.9, 0.4], [tp, fn, fp, tn])
    worst = metrics.auroc(truth, score)
    bound = tp / (tp + fn) * tn / (fp + tn)
    assert np.isclose(worst, bound) and worst > paper.printed_figure("test AUC") / 100


def test_the_built_network_has_the_parameters_that_the_checks_are_given():
    from leukonb.model import network

    assert network.build_network(network.Network()).count_params() == 14_149_024


def table(arms=("full", "without attention", "attention alone"), seeds=(0, 1), subjects=14, cells=8):
    rows = []
    for a, arm in enumerate(arms):
        for seed in seeds:
            rng = np.random.default_rng([a, seed])
            label = np.repeat(np.where(np.arange(subjects) % 2, "ALL", "HEM"), cells)
            logit = np.where(label == "ALL", 1.5, -1.5) * (1 - 0.3 * a) + rng.normal(0, 1.5, len(label))
            rows.append(
                pd.DataFrame(
                    {
                        "cell": [f"{i:064x}" for i in range(len(label))],
                        "subject": np.repeat(np.arange(subjects), cells),
                        "label": label,
                        "score": 1 / (1 + np.exp(-logit)),
                        "arm": arm,
                        "seed": seed,
                    }
                )
            )
    return predictions.concatenate_tables(rows)


def test_differences_average_over_seeds_what_each_pair_of_networks_differs_by():
    rows = ablation.check_arms(table())
    found = ablation.difference_from_reference(rows, permutations=200).set_index("arm")
    each = [
        paired.permutation_test(
            paired.pair_arms(rows[rows.seed == s], "without attention", "full"), ["weighted_f1"], 200
        )["weighted_f1"].difference
        for s in (0, 1)
    ]
    assert np.isclose(found.difference["without attention"], np.mean(each))
    assert (found.p_holm >= found.p).all() and (found.comparisons == 2).all()
    assert (found.low <= found.difference).all() and (found.difference <= found.high).all()


def test_an_arm_of_one_seed_has_the_interval_that_the_judge_gives():
    rows = ablation.check_arms(table(seeds=(0,)))
    found = ablation.average_scores(rows).query("arm == 'full'").set_index("metric")
    known = clustered.interval_scores(rows[rows.arm == "full"], ablation.NAMES).set_index("metric")
    for column in ("value", "low", "high"):
        assert np.allclose(found[column].loc[known.index], known[column])


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda t: t[t.arm != "full"], "no training has the arm 'full'"),
        (lambda t: t[t.arm == "full"], "needs an arm beside 'full'"),
        (lambda t: t.assign(iteration=t.seed), "2 splits"),
        (lambda t: t.iloc[:-3], "scored other cells"),
    ],
)
def test_an_ablation_of_unlike_trainings_is_refused(change, says):
    assert says in refusal_line(ablation.check_arms, change(table()))


def trained(folder=None):
    facts = {
        "key": "0",
        "name": "training",
        "experiment": "training",
        "seeds": {"seed": 0},
        "size": "smoke",
        "synthetic": True,
        "command": "leukonb run paper --smoke",
        "inputs": {"data": "ab" * 32, "parameters": {}},
    }
    return Run(folder, facts)


def test_an_unmeasured_figure_is_said_to_be_so_and_never_filled_from_the_claim():
    rows = pd.DataFrame({"figure": list(paper.PRINTED), "claimed": list(paper.PRINTED), "ours": None})
    shown = paper.set_beside(rows)
    assert (shown[paper.OURS] == paper.UNMEASURED).all()
    said = paper.caption_measured("A table", [trained()])
    assert all(
        word in said
        for word in ("leukonb run paper --smoke", "synthetic, abab", "size: smoke", "seeds: seed 0")
    )


def test_the_claimed_column_is_the_paper_s_and_ours_is_measured():
    rows = ablation.check_arms(table())
    scores = ablation.average_scores(rows)
    differences = ablation.difference_from_reference(rows, permutations=200)
    shown = ablation.tabulate_ablation(scores, differences).set_index("arm, weighted F1")
    assert shown[paper.CLAIMED].to_dict() == {
        "full": "97.89 %",
        "without attention": "94.93 %",
        "attention alone": "not printed",
    }
    measured = 100 * scores[scores.metric == "weighted_f1"].set_index("arm").value
    assert all(shown[paper.OURS][a].startswith(f"{m:.2f} %") for a, m in measured.items())


def test_the_literature_says_whose_each_figure_is():
    rows = paper.literature_rows(paper.format_percent(0.9), "here").set_index("work")
    assert rows["whose figure"]["this run"] == paper.OURS and rows.F1["this run"] == "90.00 %"
    assert (rows["whose figure"].drop("this run") != paper.OURS).all()


def test_no_experiment_writes_a_printed_figure_of_its_own():
    """Printed scores live in leukonb.pages.paper alone; a notebook that typed one could show it as a result."""
    scores = {f"{p.value:.2f}" for p in paper.PRINTED.values() if p.unit == "%" and p.value % 1} - {
        "0.41",
        "0.07",
    }
    for notebook in (notebooks_folder() / "experiments").glob("*.ipynb"):
        import nbformat

        code = "\n".join(c.source for c in nbformat.read(notebook, 4).cells if c.cell_type == "code")
        assert not [s for s in scores if re.search(rf"(?<![\d.]){re.escape(s)}(?!\d)", code)], notebook.name


@pytest.mark.parametrize("name, count", [("paper", 13), ("ablation", 50), ("as-run", 6)])
def test_the_studies_plan_at_full_and_at_smoke_size(tmp_path, name, count):
    assert len(plan_study(load_study(name), tmp_path)) == count
    small = plan_study(shrink_to_smoke(load_study(name)), tmp_path)
    assert all(p.run.manifest["size"] == "smoke" for p in small) and len(small) <= 13


def test_the_recipe_of_the_study_is_the_paper_s(tmp_path):
    training, *others = [
        p.run for p in plan_study(load_study("paper"), tmp_path) if p.run.experiment == "training"
    ]
    given = training.manifest["inputs"]["parameters"]
    wanted = dict(
        backbone="EfficientNetV2B3",
        weights="imagenet",
        size=384,
        attention=True,
        augmentation="paper",
        gamma=2.0,
        alpha=0.25,
        batch=8,
        epochs=100,
        patience=10,
        rate=1e-4,
        peak=1e-3,
        schedule="one-cycle",
        unit="identity",
    )
    assert {k: given[k] for k in wanted} == wanted
    arms = {
        o.manifest["inputs"]["parameters"]["arm"]: {
            k for k, v in o.manifest["inputs"]["parameters"].items() if v != given[k]
        }
        - {"arm"}
        for o in others
    }
    assert arms == {
        "without augmentation": {"augmentation", "balance"},
        "without attention": {"attention"},
        "without focal loss": {"gamma", "alpha"},
    }
    assert paper.check_shares()["recomputed"].startswith("80 / 10 / 11")


def test_each_arm_of_the_ablation_differs_from_the_full_recipe_in_what_it_says(tmp_path):
    found = {
        p.run.manifest["inputs"]["parameters"]["arm"]: p.run.manifest["inputs"]["parameters"]
        for p in plan_study(load_study("ablation"), tmp_path)
        if p.run.experiment == "training"
    }
    full = found["full"]
    changed = {
        arm: {k for k in full if given[k] != full[k]} - {"arm", "seed"} for arm, given in found.items()
    }
    assert (
        changed["without attention"] == {"attention"}
        and changed["without focal loss"] == {"gamma", "alpha"}
        and changed["without augmentation"] == {"augmentation"}
    )
    assert changed["without balancing"] == {"augmentation", "balance"} and changed["none of the parts"] == {
        "attention",
        "augmentation",
        "balance",
        "gamma",
        "alpha",
    }
    assert changed["attention alone"] == changed["none of the parts"] - {"attention"}


@pytest.mark.parametrize(
    "settings, said",
    [
        (
            ["monte-carlo.batch=128"],
            "monte-carlo/monte-carlo: 8[0-9] training cells do not fill a batch of 128",
        ),
        (["training.batch=400"], "training/training.*: 8[0-9] training cells do not fill a batch of 400"),
        (["training.batch=96"], None),  # the rarer class is repeated to 1:1
        (
            ["monte-carlo.test=0.05"],
            "monte-carlo/monte-carlo: the test part would hold 1 ALL and 1 HEM identities",
        ),
    ],
)
def test_a_cohort_too_small_for_a_run_is_refused_before_anything_runs(tmp_path, settings, said):
    people = [(f"s{i}", "ALL" if i < 24 else "HEM") for i in range(40)]
    cells = pd.DataFrame(
        [
            {"cell": f"{s}-{k}", "subject": s, "identity": s, "label": label, "path": f"{s}-{k}.bmp"}
            for s, label in people
            for k in range(4)
        ]
    )
    study = apply_settings(
        load_study("paper"),
        [
            "training.train=0.5",
            "training.validation=0.25",
            "training.test=0.25",
            "monte-carlo.train=0.5",
            "monte-carlo.validation=0.25",
            "monte-carlo.test=0.25",
            "monte-carlo.batch=16",
            *settings,
        ],
    )
    planned = plan_study(study, tmp_path, cohort=tmp_path, data="d")
    if said is None:
        assert check_cohort(planned, cells) == {}
        return
    assert re.search(said, refusal_line(check_cohort, planned, cells))
