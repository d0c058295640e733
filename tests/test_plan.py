"""Planning: the number of subjects that is printed gives the width, or the power, that was asked for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

import leukonb
from leukonb.cli import main
from leukonb.evidence import answers, assumptions, clustered, paired, protocol
from leukonb.evidence.pilot import fit_pilot
from leukonb.evidence.planning import Effort, find_size, make_plan
from leukonb.evidence.population import (
    Population,
    correlation_of_calls,
    draw_study,
    share_right,
    state_subjects,
)
from leukonb.evidence.predictions import read_predictions
from leukonb.evidence.rehearsal import Question, improve, measure_study
from leukonb.files import read_json
from leukonb.verbs import site

PRELLBERG = SHARED / "peer-results/prellberg2019_preliminary.csv"
POPULATION = Population(state_subjects(0.92, 0.1, 25, 0.7), state_subjects(0.85, 0.12, 25, 0.7), 0.7, 0.7)


def half_widths(plan, studies, seed):
    """Half-widths of fresh studies of a plan's size, by the judge's default interval and nothing of the search."""
    rng, widths = np.random.default_rng(seed), []
    for _ in range(studies):
        table = draw_study([plan.population], *plan.question.subjects(plan.n), rng.integers(2**60))
        row = clustered.interval_scores(table, [plan.question.score]).iloc[0]
        widths.append((row.high - row.low) / 2)
    return np.array(widths)


def holds(plan, widths):
    """Whether fresh studies keep the width as often as was asked for, and are about that wide."""
    aim, kept = plan.question.half_width, (widths <= plan.question.half_width).mean()
    chance = 3 * np.sqrt(0.95 * 0.05 * (1 / len(widths) + 1 / plan.effort.studies))
    return kept > plan.question.assured - chance and 0.6 * aim < widths.mean() < aim


@pytest.fixture(scope="module")
def pilot():
    table = draw_study([POPULATION], 14, 16, seed=3)
    return table.assign(cell=table.cell.astype(str))


def test_a_simulation_of_the_plan_gives_the_width_that_was_asked_for(pilot):
    question = Question("specificity", half_width=0.1)
    plan = make_plan(question, fit_pilot(pilot, "specificity"), Effort(studies=40, seed=1))
    assert holds(plan, half_widths(plan, 80, seed=77))
    assert protocol.describe_plan(plan)[0].startswith(
        f"An interval of ±0.1 for specificity needs about {plan.n} HEM"
    )


@pytest.mark.skipif(not PRELLBERG.is_file(), reason="the published table is not here")
def test_the_plan_from_the_published_table_gives_its_width():
    terms = assumptions.read_terms(score="specificity", half_width=0.05, studies=60)
    table = read_predictions(PRELLBERG)
    pilot, _ = assumptions.read_pilot(table, terms.question)
    question = Question("specificity", half_width=0.05, per_hem=13 / 15)
    n, curve = find_size(question, [pilot.population], terms.effort, (0.8, 1.0, 1.25))
    assert 50 < n < 150 and curve["mean"].is_monotonic_decreasing
    seen = table[table.label == "HEM"].assign(right=lambda t: t.score < 0.5)
    assert abs(share_right(pilot.population.HEM) - seen.right.mean()) < 0.04
    assert pilot.population.HEM.slope > 0.2  # its subjects with many cells are called better

    class Planned:
        population, effort = pilot.population, terms.effort

    Planned.question, Planned.n = question, n
    assert holds(Planned, half_widths(Planned, 80, seed=78))


def test_a_gain_is_found_as_often_as_was_asked_for():
    question = Question("sensitivity", gain=0.07)
    arms = improve(POPULATION, question)
    n, _ = find_size(question, arms, Effort(studies=50), (0.7, 1.0, 1.4))
    rng = np.random.default_rng(5)
    found = []
    for _ in range(80):
        both = draw_study(arms, *question.subjects(n), rng.integers(2**60))
        test = paired.permutation_test(both, ["sensitivity"], 499)["sensitivity"]
        row = {"a": "a", "b": "b", "metric": "sensitivity", **test.row(), "p_holm": test.p}
        found.append(answers.state_pair(row, 0.95, "people").startswith("a is better than b"))
    assert abs(np.mean(found) - 0.8) < 3 * np.sqrt(0.16 * (1 / 80 + 1 / 100))


def test_a_gain_is_found_only_where_the_interval_agrees_with_the_test():
    """In one study of ten of this size p is below .05 and the interval holds 0: `evaluate` calls that not settled."""
    question = Question("balanced_accuracy", gain=0.07)
    arms, unsettled = improve(POPULATION, question), 0
    for seed in [(0, 12, i) for i in range(60)]:
        both = draw_study(arms, *question.subjects(12), seed)
        test = paired.permutation_test(both, ["balanced_accuracy"], 499, seed[-1])["balanced_accuracy"]
        agrees = test.difference > 0 and (test.p < 0.05) == (test.low > 0)
        assert measure_study(question, arms, 12, seed) == (test.p if agrees else 1)
        unsettled += test.p < 0.05 and not test.low > 0
    assert unsettled > 0


def test_a_pilot_of_other_subjects_is_understood_on_average():
    models = [
        fit_pilot(draw_study([POPULATION], 12, 12, seed=(9, i)), "accuracy", draws=60) for i in range(12)
    ]
    icc = np.mean([correlation_of_calls(m.population.HEM) for m in models])
    share = np.mean([share_right(m.population.HEM) for m in models])
    assert abs(icc - 0.12) < 0.05 and abs(share - 0.85) < 0.03
    wide = [{round(share_right(p.HEM), 6) for p in m.plausible} for m in models]
    assert min(map(len, wide)) > 20  # what a pilot leaves open is kept


def test_more_alike_arms_need_fewer_subjects_and_a_larger_icc_more():
    from leukonb.evidence.planning import pick_ends
    from leukonb.evidence.rehearsal import formula_width

    loose, tight = (state_subjects(0.85, icc, 25, 0.7) for icc in (0.05, 0.3))
    widths = [formula_width(Population(m, m), "specificity", 30, 30) for m in (loose, tight)]
    assert widths[0] < widths[1]
    few, many = pick_ends(Question("specificity", 0.05), [Population(m, m) for m in (tight, loose)], (0, 1))
    assert few.HEM == loose and many.HEM == tight


def typed(capsys, *words):
    code = main(["plan", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--score", "luck", "--half-width", 0.05), "no plan for the score 'luck'; choose from accuracy"),
        (("--score", "specificity"), "say what is wanted: --half-width of an interval, or --gain"),
        (("--half-width", 0.05, "--gain", 0.03), "one of them"),
        (("--gain", 0.5, "--pilot", "pilot.csv"), "which no classifier of these subjects reaches"),
        (("--half-width", 0.05, "--pilot", "none.csv"), "none.csv"),
        (("--half-width", 0.05, "--pilot", "one.csv"), "at least"),
        (("--score", "auroc", "--half-width", 0.05, "--pilot", "calls.csv"), "the pilot holds calls"),
        (("--half-width", 0.05, "--pilot", "pilot.csv", "--icc", 0.1), "--icc goes without a pilot"),
        (
            ("--half-width", 0.05, "--pilot", "pilot.csv", "--arm", "x"),
            "the pilot has no such arm; it has model",
        ),
        (("--half-width", 0.05, "--sensitivity", 0.9, "--icc", 0.1, "--cells", 9), "needs --specificity"),
        (("--half-width", 0.05, "--invert"), "says how a pilot is read, and none is given"),
        (("--half-width", 0.05, "--studies", 3, "--icc", 0.1), "--studies 3: at least 20"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(pilot, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    pilot.to_csv("pilot.csv", index=False)
    pilot[(pilot.label == "ALL") | (pilot.subject == "HEM 1")].to_csv("one.csv", index=False)
    pilot.assign(score=(pilot.score >= 0.5).astype(int)).to_csv("calls.csv", index=False)
    code, out, err = typed(capsys, *words)
    assert code == 1 and says in err and err.count("\n") == 1 and not out, err
    assert {p.name for p in Path().iterdir()} == {"pilot.csv", "one.csv", "calls.csv"}


def test_what_is_out_of_reach_says_the_best_there_is(capsys):
    stated = ("--specificity", 0.85, "--icc", 0.2, "--cells", 10, "--studies", 20, "--most", 30)
    code, _, err = typed(capsys, "--score", "specificity", "--half-width", 0.02, *stated)
    assert code == 1 and "no interval of ±0.02 with up to 30 subjects of a class (--most)" in err
    best = float(err.split("at best ±")[1].split(";")[0])
    assert 0.1 < best < 0.4


def test_a_plan_is_made_alike_at_once_and_by_a_run_that_is_published(pilot, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    built = []  # the site itself is built by other tests
    monkeypatch.setattr(
        site, "build_site", lambda runs, to, whole: built.append((Path(runs), Path(to), whole))
    )
    pilot.to_csv("pilot.csv", index=False)
    words = ("--pilot", "pilot.csv", "--score", "specificity", "--half-width", 0.12, "--studies", 20)
    code, out, err = typed(capsys, *words, "--out", "plan")
    assert code == 0, err
    record = read_json("plan/plan.json")
    at_once = leukonb.plan(pd.read_csv("pilot.csv"), score="specificity", half_width=0.12, studies=20)
    assert at_once.record == record | {"source": "table"} and at_once.sentences == out.splitlines()[:-1]
    assert built == [(Path("plan/runs"), Path("plan/page"), False)]
    assert out.splitlines()[-1].endswith("the page is plan/page/runs/plan/plan-pilot.html")
    shown = json.dumps(read_json(next(Path("plan/runs/plan").rglob("plan.ipynb"))), ensure_ascii=False)
    assert all(sentence in shown for sentence in (*record["sentences"], record["methods"]))
    assert {"plan.json", "curve.csv", "growth.csv", "population.csv"} <= {
        p.name for p in Path("plan").iterdir()
    }
    code, _, err = typed(capsys, *words, "--out", "plan/plan.json")
    assert code == 1 and "is a file" in err


class StatedPlan:
    """What is read of a plan to say how well its interval or test holds."""

    def __init__(self, question, n):
        self.question, self.n = question, n


def test_a_plan_says_how_well_the_planned_interval_or_test_holds():
    width = protocol._held(StatedPlan(Question("specificity", half_width=0.05, per_hem=13 / 15), 15))
    assert width.startswith(
        "At 28 subjects (13 ALL, 15 HEM) an interval of specificity held the true value in "
    )
    gain = protocol._held(StatedPlan(Question("sensitivity", gain=0.05, per_hem=13 / 15), 15))
    assert "the test of sensitivity found a difference between equal arms in " in gain
    far = protocol._held(StatedPlan(Question("balanced_accuracy", half_width=0.02), 300))
    assert "the simulated size nearest to 300 ALL and 300 HEM," in far
