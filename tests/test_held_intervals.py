"""What a page gives an interval for beside the scores: how well it holds was counted, and is said where it stands."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import coverage, held, miscalibration, multiclass, simulate, utility, worlds
from leukonb.files import digest_file, read_json
from leukonb.pages import holding

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = {  # tables that have no interval of their own
    "judge": "judged held held-once design-effect failed heterogeneity brier coverage interaction groups-shift "
    "left-out relabelled changes changes-influential",
    "classes": "judged",
}
ELSEWHERE = {  # tables whose intervals are those of a score, of which the section says how well they hold
    "judge": "seeds all-tests",
    "classes": "all-classes seeds",
}
SAYS = (
    "describe_coverage(",
    "describe_holding_of(",
    "describe_groups(",
    "describe_claims(",
    "describe_odds(",
    "describe_held(",
)
SAYS += ("describe_corrected(", "OVER_SPLITS", "EXACT", "LEFT_GROUPS")


@pytest.mark.parametrize("page", ["judge", "classes"])
def test_each_table_of_intervals_stands_with_how_well_they_hold(page):
    cells = json.loads((ROOT / f"nbs/experiments/{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    exempt, shown = {*WITHOUT[page].split(), *ELSEWHERE[page].split()}, set()
    for cell in cells:
        text = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
        for name in re.findall(r'show_table\((?:.|\n)*?"([a-z-]+)"(?=, )', text):
            shown.add(name)
            assert name in exempt or any(call in text for call in SAYS), f"{page}: {name}"
    assert exempt <= shown


@pytest.mark.parametrize("mark", ["reliability", "decision", "predictive"])
def test_each_figure_with_a_band_stands_with_how_well_it_holds(mark):
    cells = json.loads((ROOT / "nbs/experiments/judge.ipynb").read_text(encoding="utf-8"))["cells"]
    (text,) = [t for c in cells if f'"{mark}")' in (t := "".join(c["source"]))]
    assert "describe_holding_of(" in text


def test_every_kind_of_interval_that_a_page_names_was_counted():
    table = worlds.draw_one_set(worlds.OneSetWorld(ALL=7, HEM=4, cells=5), 0)
    text = (ROOT / "nbs/experiments/judge.ipynb").read_text(encoding="utf-8")
    named = re.findall(r'describe_holding_of\(judged, [^)]*?, \\"([a-z]+)\\"\)', text)
    assert set(named) == {"curve", "kept", "band", "prevalence", "calibration", "mixed"}
    for kind in named:
        (said,) = holding.describe_kind(table, kind, "Here")
        assert said.startswith("Here: in ") and "simulated studies of 11 subjects (7 ALL, 4 HEM)" in said
        shares = [coverage.count_holding(name, kind, 7, 4).held for name in coverage.list_counted(kind)]
        assert f"{100 * min(shares):.0f}" in said and f"{100 * max(shares):.0f} %" in said


def test_intervals_that_are_too_narrow_are_named(monkeypatch):
    rows = coverage.read_further().assign(coverage=0.97, high=0.98, worlds=1000)
    rows.loc[rows.metric == "slope", ["coverage", "high"]] = 0.81, 0.84
    monkeypatch.setattr(coverage, "read_further", lambda: rows)
    table = worlds.draw_one_set(worlds.OneSetWorld(ALL=7, HEM=4, cells=5), 0)
    (said,) = holding.describe_kind(table, "calibration", "Calibration")
    assert "in 81 % to 97 %" in said and "Too narrow at this size: slope (81 %); read their ends" in said
    assert "Too narrow" not in holding.describe_kind(table, "kept", "Here")[0]


def record():
    """The published record of these counts."""
    (found,) = (ROOT / "nbs/_published/simulation/further-coverage").glob("*/run.json")
    return found.parent


def test_the_counts_are_those_of_the_published_record():
    assert digest_file(ROOT / "leukonb/evidence/further_coverage.csv") == digest_file(
        record() / "further_coverage.csv"
    )
    rows = coverage.read_further()
    assert list(rows.columns) == coverage.COLUMNS and rows.coverage.between(0, 1).all()
    asked = read_json(record() / "run.json")["inputs"]["parameters"]
    assert rows.worlds.max() == asked["worlds"] and set(rows.subjects) == set(asked["subjects"])
    assert ((rows.coverage + rows.below + rows.above - 1).abs() < 3e-4).all()


def test_the_intervals_of_today_are_those_of_the_published_record():
    stated = pd.read_csv(record() / "first-studies.csv")
    asked = read_json(record() / "run.json")["inputs"]["parameters"]
    for subjects in (11, 28):
        key = (subjects, "good")
        rates = held.rate_intervals(worlds.cnmc_world(*key), (asked["seed"], 0), asked["resamples"])
        now = rates | held.mixed_intervals(worlds.cnmc_world(*key), (asked["seed"], 0))
        now |= held.class_intervals(held.class_world(*key), (asked["seed"], 0))
        of = (stated.subjects == subjects) & (stated.classifier == "good") & (stated.sizes == "unrelated")
        rows = stated[of & (stated.method != "splits")]
        assert {(r.method, r.metric) for r in rows.itertuples()} == {(k, m) for k, m, _ in now}
        for r in rows.itertuples():
            ends = [now[r.method, r.metric, end] for end in ("low", "high")]
            said = f"{r.method}, {r.metric}: leukonb computes other intervals than the record's; run it again"
            np.testing.assert_allclose(ends, [r.low, r.high], rtol=0, atol=1e-6, err_msg=said)


@pytest.mark.parametrize("changes", [{}, {"informative": 0.6}], ids=str)
def test_the_truth_is_what_thousands_of_subjects_have(changes):
    world = worlds.OneSetWorld(ALL=3000, HEM=2000, cells=(12.0, 8.0), shape=(1.1, 1.6), **changes)
    table = worlds.draw_one_set(world, 7)
    table, truths = table[table.arm == "b"], held.true_rates(world)
    kept = utility.operating_scores(table, held.KEPT, held.KEPT).set_index("metric").value
    valued = utility.predictive_values(table, held.PREVALENCE).set_index("metric").value
    for kind, values in (("kept", kept), ("prevalence", valued)):
        for (of, name), truth in truths.items():
            if of == kind:
                assert values[name] == pytest.approx(truth, rel=0.06, abs=0.02), name
    curve = miscalibration.interval_curve(table).observed
    assert np.allclose(curve, [truths["curve", f"tenth {i + 1}"] for i in range(10)], atol=0.05)


def test_where_the_bootstrap_of_a_curve_gives_no_interval_the_effective_sample_does():
    world = worlds.cnmc_world(28, "nearly perfect")
    truths, ends = (
        held.true_rates(world),
        pd.DataFrame([held.rate_intervals(world, (0, i), 100) for i in range(6)]),
    )
    ends.columns = pd.MultiIndex.from_tuples(ends.columns)
    rates = simulate.coverage_rates(ends, truths).groupby("method").coverage.mean()
    assert rates["curve by bootstrap"] < 0.7 < 0.9 < rates["curve"]


def test_studies_of_several_classes_are_counted_by_people():
    count = coverage.count_holding("kappa", "classes", 30, 0)
    assert (count.ALL, count.HEM) == (28, 0) and coverage.name_size(count, 28, 0) == "28 subjects"
    table = multiclass.draw_class_world(multiclass.ClassWorld(subjects=24, cells=9.0), 0)
    (said,) = holding.describe_kind(table.assign(identity=table.subject), "classes", "Of all")
    assert "28 subjects, the simulated size nearest to 24, such intervals" in said
    assert coverage.count_holding("accuracy", "default", 13, 15).HEM == 15
