"""The look and the words: numbers by kind, classes told apart by everybody, a first page from the records of runs."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from leukonb.draw import charts, figures, look
from leukonb.numbers import format_column, kind_of, name_column, name_score, name_words
from leukonb.verbs import home, menu

ROOT = Path(__file__).parents[1]
# what is left of linear red, green and blue where one kind of cone is missing:
# Machado, Oliveira & Fernandes 2009, IEEE TVCG 15, 1291, severity 1
SEEN = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "three kinds of cones": np.eye(3),
}


def as_seen(colour, cones):
    """A colour in CIE L*a*b* as an eye with these cones sees it."""
    coded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    light = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SEEN[cones]) @ light, 0, 1)
    again = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return rgb2lab(again[None, None])[0, 0]


def apart(first, second, cones):
    """CIEDE2000 of two colours as seen."""
    return float(deltaE_ciede2000(as_seen(first, cones), as_seen(second, cones)))


@pytest.mark.parametrize("cones", SEEN)
def test_the_classes_are_told_apart_by_every_eye(cones):
    assert apart(look.COLOURS["ALL"], look.COLOURS["HEM"], cones) > 40
    former = apart("#a3266f", "#1b7f8c", "deuteranopia")
    assert 8 < former < 10, "the measure is the one by which the former pair was found wanting"


def test_the_colours_of_the_classes_mean_the_classes_only():
    own = [look.COLOURS["ALL"], look.COLOURS["HEM"]]
    others = [
        *look.blank_figure().layout.template.layout.colorway,
        look.ALARM,
        *list(look.COLOURS.values())[2:],
    ]
    assert min(apart(a, b, "three kinds of cones") for a in own for b in others) > 15
    named = {
        path.name
        for path in (ROOT / "leukonb").rglob("*.py")
        if any(colour in path.read_text(encoding="utf-8").lower() for colour in [*own, "#a3266f", "#1b7f8c"])
    }
    assert named == {"look.py"}


def test_series_of_a_chart_differ_for_every_eye():
    colours = look.blank_figure().layout.template.layout.colorway[:5]
    for cones in SEEN:
        assert min(apart(a, b, cones) for a, b in combinations(colours, 2)) > 9, cones


@pytest.mark.parametrize("room", ["draw", "pages"])
def test_the_titles_of_axes_fit_a_phone(room):
    titles = [
        title
        for path in (ROOT / "leukonb" / room).glob("*.py")
        for title in re.findall(
            r"update_[xy]axes\((?:[^()]*, )?title=\"([^\"]*)\"", path.read_text(encoding="utf-8")
        )
    ]
    assert len(titles) > 8 and max(map(len, titles)) <= 46, max(titles, key=len)


def test_a_class_has_a_shape_besides_its_colour():
    cells = pd.DataFrame(
        {
            "subject": list("aabb"),
            "label": ["ALL"] * 2 + ["HEM"] * 2,
            "cell": range(4),
            "score": [0.9, 0.8, 0.1, 0.3],
        }
    )
    of = {
        label: {t.marker.symbol for t in figures.draw_scores_by_subject(cells).data if t.name.endswith(label)}
        for label in look.SYMBOLS
    }
    assert not of["ALL"] & of["HEM"]
    for drawn in (figures.draw_subjects(cells), figures.draw_scores_by_cell(cells)):
        assert len({bar.marker.pattern.shape for bar in drawn.data}) == 2
    rows = (
        cells.groupby(["subject", "label"]).agg(mean=("score", "mean"), cells=("cell", "size")).reset_index()
    )
    rows = rows.assign(low=rows["mean"], high=rows["mean"], vote=1.0, right=[True, True])
    assert len({t.marker.symbol for t in charts.draw_verdicts(rows).data}) == 2


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("subjects", [62.0, 7108, 18.44], ["62", "7,108", "18.4"]),
        ("year", [2022, 2019], ["2022", "2019"]),
        ("share right", [0.9789, 1.0], ["97.9 %", "100.0 %"]),
        ("p, Holm", [6.3e-9, 0.003, 0.42], ["< .001", ".003", ".420"]),
        ("p_holm", [0.99999], ["1.000"]),
        ("AUROC", [0.82311, 1.0], ["0.823", "1.000"]),
        ("right", [26.0, 9.0], ["26", "9"]),
        ("seconds", [3.43, 72.4], ["3.4 s", "72 s"]),
        ("effective cells", [25.882], ["25.9"]),
        ("rest", [1.1e-5, -0.00046, 0.2], ["0.000", "0.000", "0.200"]),
        ("area", [41939.971], ["41,940"]),
        ("subject", [1076], ["1076"]),
    ],
)
def test_a_number_is_written_as_what_it_is(name, values, shown):
    assert format_column(pd.Series(values, name=name, dtype=object)) == shown


def test_no_number_is_written_with_a_power_of_ten():
    rng = np.random.default_rng(0)
    for name in ("p", "value", "share", "seconds", "cells", "subject", "rate", "low"):
        values = pd.Series(10 ** rng.uniform(-12, 0, 50), name=name)
        assert not any(re.search(r"\de[-+]\d", text) for text in format_column(values)), name


def test_a_unit_beside_a_number_decides():
    rows = pd.DataFrame(
        {"name": list("abc"), "value": [62.0, 0.5, 964.0], "unit": ["subjects", "%", "images"]}
    )
    html = look.table_html(rows)
    assert ">62<" in html and ">0.50<" in html and ">964<" in html and "62.000" not in html


def test_scores_have_the_names_that_people_use():
    rows = pd.DataFrame({"metric": ["balanced_accuracy", "weighted_f1", "auroc"], "p_holm": [0.1, 0.2, 0.3]})
    html = look.table_html(rows, "test auroc and balanced_accuracy")
    assert "_" not in html and "auroc" not in html and "balanced accuracy" in html and "weighted F1" in html
    assert name_column("val_auroc") == "validation AUROC" and name_score("mcc") == "MCC"
    assert name_words("a piece of the icebox") == "a piece of the icebox"


def test_a_table_shows_no_row_and_no_column_in_which_nothing_stands():
    rows = pd.DataFrame({"run": ["a", "b"], "error": ["", None]})
    assert "error" not in look.table_html(rows) and "<th scope='col'>run</th>" in look.table_html(rows)
    assert "<table" not in look.table_html(rows.head(0), "Runs") and "Runs: none." in look.table_html(
        rows.head(0), "Runs"
    )
    linked = look.table_html(
        rows.assign(to=[None, "x"])[["error", "run", "to"]], links={"run": ["a.html", None]}
    )
    assert "<a href='a.html'>a</a>" in linked


def test_a_share_in_a_column_of_counts_is_none():
    assert kind_of("right", [0.2, 0.9]) == "share" and kind_of("right", [3.0, 0.9]) == "measure"
    assert kind_of("p", [2.0, 0.1]) != "p"


class Recorded:
    """A run as the first page reads it."""

    def __init__(self, experiment, headline, synthetic=False, place="runs", finished=1.0, notes=()):
        self.experiment, self.name, self.done, self.key = experiment, experiment, True, "0" * 16
        self.folder = Path("/", place, "real", experiment, str(finished))
        self.manifest, self.status = {"synthetic": synthetic}, {"finished": finished}
        self.result = {"headline": headline, "notes": list(notes)}


def interval(value, low, high):
    return {"value": value, "low": low, "high": high}


def leak(low, **more):
    names = {"claimed": interval(0.912, 0.87, 0.93), "honest": interval(0.801, 0.74, 0.85)}
    names["given away"] = interval(0.111, low, 0.16)
    return Recorded("leakage", {f"AUROC {what}, split by image": n for what, n in names.items()}, **more)


@pytest.fixture(autouse=True)
def published(monkeypatch):
    monkeypatch.setattr(home, "is_published", lambda run: "published" in run.folder.parts)


def test_every_number_of_the_first_page_is_of_a_run():
    run = leak(0.05)
    page = "".join(home.describe_home([run], {run.folder: "runs/real/leakage.html"}))
    assert "A split by image overstates AUROC by 0.111" in page and "0.912 (0.870 to 0.930)" in page
    assert page.count("runs/real/leakage.html") == 2
    undecided = "".join(home.describe_home([leak(-0.01)], {}))
    assert "which may be chance" in undecided and "overstates" not in undecided


def test_without_a_run_the_first_page_has_no_number_and_says_how_it_is_made():
    for runs in ([], [leak(0.05, synthetic=True)]):
        page = "".join(home.describe_home(runs, {}))
        measured = page.replace("An AUROC of 0.5 is guessing", "")
        assert "leukonb run real" in page and not re.search(r"\b0\.\d", measured)


def test_pages_on_one_leak_name_each_other_and_say_that_their_power_differs(tmp_path):
    few, many = leak(-0.01, finished=1.0), leak(0.05, finished=2.0)
    many.folder, many.manifest["title"] = tmp_path / "leakage/leakage/leakage-0", "Heads <alone>"
    many.folder.mkdir(parents=True)
    (many.folder / "asked.csv").write_text("unit,part,people\n,all,200 people\nimage,no part,50 people\n")
    links = {few.folder: "few.html", many.folder: "many.html"}
    of_few, of_many = (home.tell_other_leaks(run, [few, many], links) for run in (few, many))
    assert "<a href='many.html'>Heads &lt;alone&gt;</a>" in of_few and "200 people" in of_few
    assert "overstates AUROC by 0.111" in of_few and "power" in of_few and "few.html" not in of_few
    assert "href='few.html'" in of_many and "which may be chance" in of_many
    assert of_many.startswith("<p class='worth other-leaks'>This page has cells of 200 people.")
    alone = home.tell_other_leaks(few, [few], links)
    assert "the study <code>leakage</code>, not in this site" in alone
    published = leak(0.02)  # of the same study
    published.folder = few.folder.parents[2] / few.folder.parts[-3] / "leakage/leakage-1"
    assert home.tell_other_leaks(few, [few, published], {**links, published.folder: "same.html"}) == alone
    assert home.tell_other_leaks(Recorded("folds", {}), [few], links) == ""


def test_the_first_page_says_of_how_many_people_its_plain_cues_are(tmp_path):
    headline = {
        f"AUROC of {arm}, every identity in turn": interval(0.9, 0.8, 0.95)
        for arm in ("all plain cues", "a frozen network")
    }
    run = Recorded("folds", headline)
    assert "With every person held out in turn" in home.find_cues({"folds": run}).sentence
    run.folder = tmp_path
    (tmp_path / "scores.csv").write_text(
        "held out,arm,ALL,HEM\nevery identity in turn,all plain cues,25,10\n"
    )
    assert (
        "With each of 35 people (25 ALL, 10 HEM) held out in turn" in home.find_cues({"folds": run}).sentence
    )


def test_ones_own_run_comes_before_a_published_one_and_the_newest_before_others():
    runs = [leak(0.05, finished=2.0), leak(0.04, finished=3.0), leak(0.03, finished=9.0, place="published")]
    assert home.pick_runs(runs)["leakage"] is runs[1] and home.pick_runs(runs[2:])["leakage"] is runs[2]


def test_a_later_record_of_another_study_does_not_displace_one_of_the_real_cells():
    first, later = (Recorded("folds", {}, finished=at, place="published") for at in (1.0, 9.0))
    later.folder = Path("/published/real-images/folds/9")
    assert home.pick_runs([first, later])["folds"] is first
    later.manifest["inputs"] = {"needs": {"trainings": ["0" * 16]}}
    picked = home.pick_runs([first, later])
    assert picked["folds"] is first and picked[home.NETWORKS] is later


def test_the_menu_has_what_people_look_for():
    rooms = [
        {
            "section": "Evidence",
            "contents": ["library/evidence/calibration.ipynb", "library/evidence/abstention.ipynb"],
        },
        {"section": "Model", "contents": ["library/model/network.ipynb"]},
        {"section": "Foundation", "contents": ["library/glossary.ipynb", "library/files.ipynb"]},
        {"section": "Explore", "contents": ["explore/own_data.ipynb", "explore/cells.ipynb"]},
    ]
    named = [
        ("leakage", "leakage", "a.ipynb"),
        ("ablation", "ablation", "b.ipynb"),
        ("shortcuts", "s", "c.ipynb"),
    ]
    results = [{"section": "Real cells", "contents": menu.name_runs(named)}]
    entries = menu.arrange_menu(
        results, rooms, {"report": "r.ipynb", "reliability": "q.ipynb", "speed": "s.ipynb"}
    )
    order = [entry.get("text") or entry["section"] for entry in entries]
    assert order == [
        *("Home", "Report", "Results", "Evidence", "Your own data", "Explore", "Library"),
        *("Reliability", "Speed", "Cite", "Licences", "Glossary"),
    ]
    assert [e["text"] for e in results[0]["contents"]] == ["Leakage", "Ablation", "Baselines: plain cues"]
    assert "Abstention" in str(entries) and "Calibration" in str(entries)


def test_no_two_experiments_have_one_word_in_the_menu():
    named = menu.name_runs(
        [(path.stem, "a", path.name) for path in sorted((ROOT / "nbs/experiments").glob("*.ipynb"))]
    )
    assert len({entry["text"] for entry in named}) == len(named) > 20
    several = menu.name_runs([("training", name, name) for name in ("svm", "with SE")])
    assert [entry["text"] for entry in several] == ["Training: svm", "Training: with SE"]


def test_bibtex_is_what_the_citation_file_says():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    entry, said = home.write_bibtex(text), home.yaml.safe_load(text)
    assert said["title"] in entry and said["repository-code"] in entry and str(said["version"]) in entry
    assert entry.count("{") == entry.count("}")
    assert any(said["version"] in part for part in home.describe_citation(text))
