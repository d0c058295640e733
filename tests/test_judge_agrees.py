"""What the answer says of two arms is borne out by both the test and the interval."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from leukonb.evidence import utility
from leukonb.evidence.answers import describe_methods, state_answer
from leukonb.pages import judge_further as further

FOUND, NOT_FOUND = 0.0004, 0.21


def _judge(*rows: dict) -> dict:
    "A judgement of arms with these primary comparisons."
    people = {
        k: {"right": 9, "people": 14, "share": 9 / 14, "low": 0.35, "high": 0.87} for k in ("ALL", "HEM")
    }
    people["both"] = {"right": 18, "people": 28, "share": 18 / 28, "low": 0.44, "high": 0.81}
    arm = {"people": people, "shown": "one network", "scores": {}}
    named = {"metric": "balanced_accuracy", "test": "studentised permutation", "primary": True}
    rows = [named | row for row in rows]
    table = {"identities": 28, "cells": 1000, "iterations": 1, "by_class": {"ALL": 14, "HEM": 14}}
    return {
        "table": table,
        "arms": {name: arm for name in ("A", "B", "C")[: 1 + len(rows)]},
        "primary": rows,
        "comparisons": rows,
        "threshold": 0.5,
        "terms": {"level": 0.95, "permutations": 100, "resamples": 100, "seed": 1},
    }


def _row(low: float | None, high: float | None, p: float, b: str = "B") -> dict:
    return {"a": "A", "b": b, "difference": -0.07, "low": low, "high": high, "p_holm": p}


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (-0.144, -0.002, FOUND, "B is better than A"),
        (None, None, FOUND, "B is better than A"),
        (-0.144, 0.001, FOUND, "the test finds a difference, but the interval does not exclude"),
        (-0.144, 0.0, FOUND, "the test finds a difference, but the interval does not exclude"),
        (-0.144, -0.002, NOT_FOUND, "the test finds no difference, but the interval excludes"),
        (-0.144, 0.001, NOT_FOUND, "cannot be told from these people"),
    ],
)
def test_an_arm_is_better_only_where_test_and_interval_agree(low, high, p, said):
    answer = state_answer(_judge(_row(low, high, p)))[-1]
    assert said in answer
    assert ("B is better than A" in answer) == said.startswith("B is better")


def test_of_several_pairs_only_those_where_both_agree_are_told_apart():
    answer = state_answer(_judge(_row(-0.144, 0.001, FOUND), _row(-0.2, -0.05, FOUND, "C")))[-1]
    assert "1 can be told apart" in answer
    assert "C is better than A" in answer and "B is better" not in answer


def test_the_methods_say_why_test_and_interval_can_disagree():
    assert (
        "only where test and interval agreed" in describe_methods(_judge(_row(-0.1, 0.1, 0.3)))["paragraph"]
    )


def _find_cell(mark: str) -> str:
    "The cell of the page of a judgement that shows the part of this name."
    page = json.loads((Path(__file__).parents[1] / "nbs/experiments/judge.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in page["cells"] if cell["cell_type"] == "code"]
    (found,) = [cell for cell in cells if f'"{mark}")' in cell or f'"{mark}",' in cell]
    return found


def test_the_decision_curve_is_of_every_arm_that_its_section_names():
    cell = _find_cell("decision")
    assert 'open_section("benefit", f"{of_probable}' in cell
    assert "list_bands(arms, " in cell


def test_calibration_by_group_says_how_well_its_intervals_hold():
    assert "describe_holding_of(" in _find_cell("groups-calibration")


def test_scores_are_moved_to_the_prevalence_at_which_one_would_act():
    """Calibrated where half of the cells are ALL, a score is of use at any threshold where one in ten is, once moved."""
    rng, cells = np.random.default_rng(3), 24_000
    score = rng.beta(1, 1, cells)
    ill = rng.random(cells) < score
    table = pd.DataFrame(
        {"cell": np.arange(cells).astype(str), "label": np.where(ill, "ALL", "HEM"), "score": score}
    )
    table["identity"] = table["subject"] = table.label + (np.arange(cells) % 40).astype(str)
    table = table.assign(arm="a", iteration=0, seed=0, view=0, threshold=0.5, split="test")
    table.attrs["decisions"] = False
    found = further.list_bands({"a": {(0, 0): table}}, 0.1, 0.95)["a"]
    assert (found.model > found[["all", "none"]].max(axis=1) - 0.004).all()
    unmoved = utility.decision_band(table, 0.1)
    assert (unmoved.model < unmoved[["all", "none"]].max(axis=1) - 0.02).any()
