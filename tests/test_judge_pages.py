"""The pages of a judgement: names as they were typed, refusals before anything is written, every interval with how well it holds."""

import json
import re
from html import unescape
from types import SimpleNamespace

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from leukonb import api
from leukonb.draw.sections import escape_text
from leukonb.evidence import clustered, coverage, metrics, miscalibration, multiclass, predictions
from leukonb.evidence.multiclass import ClassWorld, draw_class_world
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal, write_json, write_table
from leukonb.numbers import name_score, state_p
from leukonb.pages import judge as words
from leukonb.pages import judge_further as further
from leukonb.runs.notebook import find_experiment, read_code
from leukonb.verbs import evaluate, people, plan

HOSTILE = "<img src=x onerror=alert({})> *b* %{{x}} $a$ & <b>"


def world(arms=("A", "B"), seed=3, **facts):
    """Two arms of few people."""
    table = draw_one_set(OneSetWorld(**{"ALL": 4, "HEM": 5, "cells": 6, **facts}), seed)
    return table.assign(arm=table.arm.map(dict(zip("ab", arms))))


def keep(table, folder, extra=()):
    """A checked table as the command keeps it for a run."""
    if multiclass.find_classes(table, None):
        return write_table(folder / "kept.parquet", multiclass.check_classes(table))
    checked = predictions.check_table(table, keep=list(extra))
    return predictions.write_predictions(folder / "kept.parquet", checked, list(extra))


def show_page(name, table, folder, monkeypatch, **parameters):
    """What the notebook of an experiment shows of a kept table, run here and now: the data of its outputs."""
    given = {"table": str(table), "resamples": 100, "permutations": 100, **parameters}
    monkeypatch.chdir(folder)
    InteractiveShell.instance()  # which captures what is shown
    space = {}
    with capture_output() as shown:
        for source, tags in read_code(find_experiment(name)):
            exec(source, space)
            space |= {k: v for k, v in given.items() if k in space} if "parameters" in tags else {}
    return [output.data for output in shown.outputs]


def texts_of(page):
    """The texts of every figure of a page, each as Plotly gets it."""

    def strings(part):
        if isinstance(part, str):
            yield part
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from strings(inner)

    figures = [
        data["application/vnd.plotly.v1+json"] for data in page if "application/vnd.plotly.v1+json" in data
    ]
    return [text for figure in figures for text in strings(json.loads(json.dumps(figure)))]


def sentences_of(page):
    """All that a page shows as plain text."""
    return "\n".join(data.get("text/plain", "") for data in page)


def check_names(page, names):
    """No name is live anywhere, and each is read as it was typed."""
    texts = texts_of(page)
    for data in page:
        assert "<img" not in data.get("text/html", "") and "<img" not in data.get("text/markdown", "")
    assert not [text for text in texts if "<img" in text or "$a$" in text or "%{x} " in text]
    for name in names:
        assert any(name in unescape(text) for text in texts), name


def test_no_name_of_an_arm_a_subject_or_a_site_is_live_on_a_page(tmp_path, monkeypatch):
    arms = [HOSTILE.format(i) for i in (1, 2)]
    table = world(arms)
    table["subject"] = table.identity = HOSTILE.format(3) + table.subject
    people = table.drop_duplicates("identity")
    place = people.groupby("label").cumcount() % 2
    sites = dict(zip(people.identity, place.map({0: HOSTILE.format(4), 1: HOSTILE.format(5)})))
    table["site"] = table.identity.map(sites)
    kept = keep(table, tmp_path, ["site"])
    page = show_page("judge", kept, tmp_path, monkeypatch, group="site", prevalence=0.2)
    check_names(page, [*arms, table.subject[0]])
    marked = "".join(data.get("text/markdown", "") for data in page)
    assert escape_text(arms[0]) in marked and "*b*" not in marked


def test_no_name_of_a_class_is_live_on_a_page(tmp_path, monkeypatch):
    table = draw_class_world(ClassWorld(subjects=8, cells=8), 1, ("A", HOSTILE.format(1)))
    first = next(c for c in table if c.startswith("score_"))
    name = HOSTILE.format(6)
    table = table.rename(columns={first: f"score_{name}"})
    table["label"] = table.label.replace(first.removeprefix("score_"), name)
    page = show_page("classes", keep(table, tmp_path), tmp_path, monkeypatch)
    check_names(page, [HOSTILE.format(1), name])


def classes(arms=("A", "B"), **facts):
    """A table of four classes."""
    return draw_class_world(ClassWorld(**{"subjects": 8, "cells": 8, **facts}), 1, arms)


def lose(table, cell="3"):
    """The table without one row of its second arm."""
    return table[~((table.arm == "B") & (table.cell.astype(str) == cell))]


def numbered(table, **column):
    """The table several times over, with other numbers in a column, and one row lost."""
    ((name, values),) = column.items()
    return pd.concat([table[table.arm == "A"].assign(**{name: v}) for v in values])[1:]


def parted():
    """Two arms whose splits are called otherwise, but for one."""
    arms, table = {"A": (0, 1), "B": (1, 2)}, world()
    return pd.concat([table[table.arm == a].assign(iteration=i) for a, k in arms.items() for i in k])


@pytest.mark.parametrize(
    "table, said",
    [
        (lambda: lose(world()), "theirs.csv, row 5: cell 3 of arm A was not scored by arm B"),
        (lambda: lose(world()).drop(columns="cell"), "the table has no column cell, and subject 1"),
        (lambda: numbered(world(), seed=(0, 1)), "cell 0 of arm A, seed 1 was not scored by arm A, seed 0"),
        (lambda: lose(classes()), "theirs.csv, row 5: cell 3 of arm A was not scored by arm B"),
        (lambda: classes().assign(split="train"), "theirs.csv: arm A has no test rows, only"),
        (lambda: numbered(classes(), iteration=(0, 1)), "theirs.csv has 2 iterations"),
        (parted, "theirs.csv: A and B share 1 iterations"),
        (
            lambda: pd.concat([lose(world()).assign(iteration=i) for i in (0, 1)]),
            "theirs.csv, row 5, iteration 0: cell 3 of arm A was not scored by arm B",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_by_file_and_row_before_anything_is_written(tmp_path, table, said):
    table().to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(Refusal) as refused:
        api.evaluate(tmp_path / "theirs.csv", tmp_path / "out")
    assert said in str(refused.value) and not (tmp_path / "out").exists()


def test_training_subjects_that_the_table_contradicts_are_refused_before_anything_is_written(tmp_path):
    table = world(ALL=6, HEM=6)
    third = table.identity.str.strip("H").astype(int) % 3
    pd.concat([table[third == i].assign(iteration=i) for i in range(3)]).to_csv(tmp_path / "theirs.csv")
    with pytest.raises(Refusal, match="^theirs.csv: train_subjects = 9"):
        api.evaluate(tmp_path / "theirs.csv", tmp_path / "out", train_subjects=9)
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_refused_late_is_taken_back_whole(tmp_path):
    run = evaluate.plan_judgement(world(), tmp_path / "runs", resamples=100)
    other = tmp_path / "runs/evaluate/judge/other"
    (kept,) = (tmp_path / "runs/_tables").iterdir()
    error = {"output_type": "error", "ename": "KeyError", "evalue": "no", "traceback": []}
    for folder in (run.folder, other):
        write_json(folder / "run.json", run.manifest)
    write_json(run.notebook, {"cells": [{"cell_type": "code", "outputs": [error]}]})
    assert not evaluate.was_refused(run)
    write_json(run.notebook, {"cells": [{"cell_type": "code", "outputs": [{**error, "ename": "Refusal"}]}]})
    assert evaluate.was_refused(run)
    evaluate.take_back(run)
    assert not run.folder.exists() and other.is_dir() and kept.is_file()
    other.rename(run.folder)
    evaluate.take_back(run)
    assert not (tmp_path / "runs").exists()


def test_two_tables_that_ended_in_tracebacks_are_refused_in_one_line():
    doubled = pd.DataFrame([["c1", "7", "8"]], columns=["cell", "subject", "subject"])
    with pytest.raises(Refusal, match="row 1: the header has the column 'subject' 2 times"):
        people.read_people(doubled)
    with pytest.raises(Refusal, match="a score for each of 4 classes, and a study is planned for two"):
        api.plan(classes(), half_width=0.1)


def test_a_cell_that_the_second_table_has_only_by_its_base_name_is_refused():
    table = world().query("arm == 'A'").reset_index(drop=True)
    listed = table[["cell", "subject"]].assign(cell="a/" + table.cell + ".png")
    bare = table.drop(columns=["subject", "identity"]).assign(cell=listed.cell)
    assert evaluate.read_judged(bare, subjects=listed)[0].subject.tolist() == table.subject.tolist()
    both = pd.concat([bare, bare[:1].assign(cell="b/0.png")], ignore_index=True)
    with pytest.raises(Refusal, match="row .*: cell b/0.png is not in .* could be a/0.png, as could a/0.png"):
        evaluate.read_judged(both, subjects=listed)


def people_twice(table):
    """Every other row of each person under another spelling."""
    return table.assign(subject=table.subject.where(table.index % 2 == 0, "00" + table.subject + ".0"))


def turned(table):
    """The scores of the classes in another order."""
    columns = [c for c in table if c.startswith("score_")]
    return table.assign(**dict(zip(columns, table[[*columns[1:], columns[0]]].to_numpy().T)))


@pytest.mark.parametrize(
    "change, said",
    [
        (people_twice, "They are counted as 16; if those are one each, they are 8"),
        (lambda t: t.assign(subject=t.cell), "subjects has a single cell"),
        (turned, "Cells are mostly called by another class's name"),
    ],
)
def test_a_table_of_several_classes_has_the_caveats_of_one_of_two(change, said):
    table = classes(("A",), cells=40, distance=3.0)
    found = evaluate.judge_predictions(change(table))
    assert any(said in text for text in found.remarks)
    assert not any(said in text for text in evaluate.judge_predictions(table).remarks)


def test_seeds_of_several_classes_have_their_spread_and_their_ensemble():
    table = pd.concat([draw_class_world(ClassWorld(subjects=8, cells=9), 1).assign(seed=0)] * 2)
    table["seed"] = [0] * (len(table) // 2) + [1] * (len(table) // 2)
    columns = [c for c in table if c.startswith("score_")]
    table.loc[table.seed == 1, columns] = table.loc[table.seed == 1, [*columns[1:], columns[0]]].to_numpy()
    found = evaluate.judge_predictions(table).record
    score = found["scores"]["accuracy"]
    assert score["least"] < score["value"] < score["most"] and "ensemble" in found
    assert found["ensemble"]["accuracy"]["value"] != pytest.approx(score["value"])


def test_arms_of_several_classes_without_cells_are_compared_over_subjects_and_it_is_said():
    table = classes().drop(columns="cell")
    mixed = pd.concat([table[table.arm == "A"], table[table.arm == "B"].sample(frac=1, random_state=0)])
    one, two = (evaluate.judge_predictions(rows) for rows in (table, mixed))
    assert one.comparisons.p.tolist() == pytest.approx(two.comparisons.p.tolist())
    assert any("compared over subjects" in text for text in two.remarks)
    with pytest.raises(Refusal, match="--group is for"):
        evaluate.read_judged(table, keep=["site"])


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.assign(score=1 - t.score), "say --invert"),
        (lambda t: t.assign(subject=t.cell, identity=t.cell), "has a single cell"),
        (lambda t: people_twice(t).drop(columns="identity"), "Write each name in one way"),
    ],
)
def test_a_plan_says_what_is_odd_about_its_pilot(monkeypatch, change, said):
    pilot = change(world(ALL=8, HEM=8, cells=9, distance=2.0).query("arm == 'A'").reset_index(drop=True))
    made = SimpleNamespace(curve=pd.DataFrame())
    monkeypatch.setattr(plan.assumptions, "plan_from_terms", lambda table, terms: (made, ["as it was"]))
    monkeypatch.setattr(plan.protocol, "plan_record", lambda made, source: {"sentences": []})
    found = plan.plan_at_once(pilot, {}, score="sensitivity", half_width=0.2).sentences
    assert any(text.startswith("Of the pilot: ") and said in text for text in found)
    assert found[-1] == "as it was"


def section(shown, heading):
    """What a page shows under a heading, up to the next."""
    return shown.split(f"## {heading}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def one_arm(tmp_path_factory):
    """The page of one arm, made once for the tests below; it stops leaving people out at five."""
    folder, rows = tmp_path_factory.mktemp("page"), world(ALL=6, HEM=7, cells=12).query("arm == 'A'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(further, "MOST_LEFT_OUT", 5)
        return sentences_of(show_page("judge", keep(rows, folder), folder, patch))


def test_a_page_of_many_subjects_leaves_nobody_out_and_says_so(one_arm):
    assert "was not computed: the table has 13 subjects, and the page stops at 5." in one_arm
    assert words.SECTIONS["robustness"][0] not in one_arm and "without one subject" not in one_arm


@pytest.mark.parametrize(
    "heading, method, names",
    [
        ("Scores with their intervals", "default", metrics.NAMES),
        ("Each subject counted once", "once", clustered.ONCE),
    ],
)
def test_under_every_table_of_intervals_stands_how_well_each_of_them_holds(one_arm, heading, method, names):
    shown = section(one_arm, heading)
    held = shown.split("How often the interval of each score held the true value")[1].split("\nHow many ")[0]
    assert shown.count("1,000 simulated studies of 11 subjects (7 ALL, 4 HEM)") == 1
    for name in names:
        count = coverage.count_holding(name, method, 6, 7)
        alone = re.compile(rf"(^|, )\s*{re.escape(name_score(name))}[ ,]")
        (row,) = [line for line in held.splitlines() if alone.search(line)]
        assert f"{100 * count.held:.0f} % ({100 * count.low:.0f} %" in row, name
        assert f" {100 * count.worst:.0f} % " in row, name


def test_under_the_operating_points_stand_the_counts_of_both_rates(one_arm):
    shown = section(one_arm, "Operating points")
    for name in ("sensitivity", "specificity"):
        count = coverage.count_holding(name, "default", 6, 7)
        worst = f" ({100 * count.worst:.0f} % at worst)" if count.worst < count.held else ""
        assert f"{name} in {100 * count.held:.0f} %{worst}" in shown


@pytest.mark.parametrize(
    "heading, said",
    [
        ("Scores with their intervals", miscalibration.INTERVAL_OF_ERROR),
        ("Calibration", miscalibration.describe_miscalibration(6, 7)),
        (
            "Each subject counted once",
            "Share of cells called rightly against number of cells: ALL correlation",
        ),
        ("Each subject counted once", words.EFFECTS),
        ("Each subject counted once", "accuracy, by its intervals"),
        ("Subject by subject", words.EXACT),
        ("A second opinion", "typical subject"),
        ("A second opinion", "mean over subjects"),
    ],
)
def test_a_page_says_what_its_figures_are_of_where_they_stand(one_arm, heading, said):
    shown = section(one_arm, heading).removeprefix(words_of(heading))
    assert said in shown


def words_of(heading):
    """The words with which a section begins, which are no finding."""
    return next(text for head, text in words.SECTIONS.values() if head == heading)


def figure_of(page, holds):
    """The texts of the first figure that has one with a word in it."""
    figures = [texts_of([data]) for data in page]
    return next(texts for texts in figures if any(holds in text for text in texts))


def test_the_figure_of_several_pairs_has_the_p_of_the_answer(tmp_path, monkeypatch):
    table = world(ALL=5, HEM=5, gain=0.8)
    table = pd.concat([table, table[table.arm == "A"].assign(arm="C")])
    kept = keep(table, tmp_path)
    page = show_page("judge", kept, tmp_path, monkeypatch, permutations=400)
    rows = pd.read_csv(tmp_path / "comparisons.csv").query("metric == 'balanced_accuracy'")
    rows = rows[rows.test == "studentised permutation of identities"]
    row = rows[rows.p != rows.p_holm].iloc[0]
    said = section(sentences_of(page), "Comparison of the arms")
    words, table = said.split("Each score once", 1)
    assert (
        "p, Holm" in table
        and "corrected for the number of pairs (Holm), and the figure the corrected" in words
    )
    texts = figure_of(page, f"{row.a} - {row.b}, balanced accuracy")
    assert any(f"({state_p(row.p_holm)}" in text for text in texts if "balanced accuracy" in text)


def test_a_page_by_site_has_calibration_shift_and_the_sites_that_were_left_out(tmp_path, monkeypatch):
    table = world(ALL=6, HEM=6).query("arm == 'A'")
    number = table.identity.str.strip("H").astype(int) % 2
    table = table.assign(site=number.map({0: "Kiel", 1: "Ulm"}))
    seeds = pd.concat([table.assign(seed=s) for s in (0, 1)])
    page = show_page("judge", keep(seeds, tmp_path, ["site"]), tmp_path, monkeypatch, group="site")
    shown = sentences_of(page)
    assert "calibration in the large" in shown and "chance to score higher" in shown
    assert "Whether a score differs by site: studentised permutation" in shown
    assert re.search(r"Ulm, Kiel: in [\d,]+ simulated studies of 5 subjects", shown)
    assert "was left out of training" in shown


def test_a_page_of_splits_says_what_it_leaves_out_and_shows_the_sites_left_out(tmp_path, monkeypatch):
    table = world(ALL=6, HEM=6)
    number = table.identity.str.strip("H").astype(int) % 3
    table = table.assign(site=number.map({0: "Kiel", 1: "Ulm", 2: "Lyon"}))
    parted = [
        table.assign(iteration=i, split=(table.site == s).map({True: "test", False: "train"}))
        for i, s in enumerate(("Kiel", "Ulm", "Lyon"))
    ]
    kept = keep(pd.concat(parted), tmp_path, ["site"])
    shown = sentences_of(show_page("judge", kept, tmp_path, monkeypatch, group="site"))
    assert "Each site that was left out of training whole" in shown
    assert "this table holds 3 splits: they are not shown" in shown
    assert shown.count("simulated studies of a hundred splits of 28, 42 or 101 people") == 4
    assert "the range over networks, which is no interval" in shown


def test_of_one_arm_of_calls_and_one_of_probabilities_each_section_says_which(tmp_path, monkeypatch):
    table = world()
    called = (table.score > 0.5).astype(float)
    table = table.assign(score=table.score.where(table.arm == "A", called))
    page = show_page("judge", keep(table, tmp_path), tmp_path, monkeypatch)
    shown = sentences_of(page)
    for heading in ("Calibration", "Net benefit", "Abstention"):
        assert shown.split(f"## {heading}\n")[1].split("*Shown: ")[1].startswith("A"), heading
    assert "the partial area above it. A" in shown
    assert "subjects differ more in one arm than in the other" in shown
    for what in ("At a kept rate", "The band", "In a mixed model", "Intervals of the curve"):
        assert re.search(rf"{what}: in [\d,]+ simulated studies of 11 subjects", shown), what
