"""What the pages of experiments say holds for whatever was judged, and no page ends a cell in Python's own words."""

import ast
import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukonb.draw import judged, look
from leukonb.pages import (
    beside,
    checklists,
    dataset,
    folds,
    holding,
    judge,
    leakage,
    monte_carlo,
    shared_people,
    shortcuts,
    transfer,
    ways,
)

ROOT = Path(__file__).parents[1]
SHOWN = ("None", "'Markdown'", "'HTML'")  # nothing, or what was made to be looked at


@lru_cache
def shown_by(module: str, function: str) -> str:
    """What a function of leukonb says that it returns, read from its source."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in defined:
        return "not known"
    return ast.unparse(defined[function].returns or ast.Constant("unsaid"))


def last_values(path: Path):
    """The call that ends each cell of a notebook, with what it returns."""
    names: dict[str, str] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        tree = ast.parse("".join(cell["source"])) if cell["cell_type"] == "code" else ast.Module([], [])
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        if not tree.body or not isinstance(tree.body[-1], ast.Expr):
            continue
        ending = tree.body[-1].value
        assert isinstance(ending, ast.Call), f"{path.name}: {ast.unparse(ending)}"
        first, *rest = ast.unparse(ending.func).split(".")
        module, _, function = ".".join([names.get(first, first), *rest]).rpartition(".")
        yield ast.unparse(ending), shown_by(module, function)


def test_no_cell_of_an_experiment_ends_in_a_value_that_python_would_print():
    printed = {
        path.stem: ending
        for path in sorted((ROOT / "nbs" / "experiments").glob("*.ipynb"))
        for ending, what in last_values(path)
        if what not in SHOWN and not ending.startswith("written.write(")
    }
    assert not printed


def compared(low: float, high: float, p: float) -> str:
    row = ["a network", "area alone", (low + high) / 2, low, high, p, "not told apart"]
    columns = ["arm", "beside", "difference", "low", "high", "p", "verdict"]
    return beside.describe_plain(pd.DataFrame([row], columns=columns))[0]


def test_an_interval_and_a_test_that_disagree_are_both_stated():
    assert "the interval holds 0, the test alone has p = .014" in compared(-0.109, 0.056, 0.014)
    assert "the interval does not hold 0, the test has p = .080" in compared(0.01, 0.1, 0.08)
    assert "holds" not in compared(-0.1, 0.1, 0.5) and "hold" not in compared(0.1, 0.2, 0.01)


def test_a_plain_baseline_says_at_how_many_pixels_and_on_whom_it_was_trained():
    rows = pd.DataFrame({"cell": list("abcdef"), "identity": list("112345"), "label": ["ALL"] * 5 + ["HEM"]})
    whole = rows.assign(split=["train"] * 4 + ["test"] * 2)
    apart = rows.assign(split=["train"] * 3 + ["validation", "test", "test"])
    said = beside.describe_given(225, whole), beside.describe_given(450, apart)
    assert "at 225 pixels and trained on 4 cells of 3 people" in said[0] and "no cell is set apart" in said[0]
    assert "at 450 pixels and trained on 3 cells of 2 people" in said[1]
    assert "set apart for validation, and not among them: 1" in said[1]
    assert "on average over the splits" in beside.describe_given(225, [whole, apart])
    assert said[0].endswith("Asked about: 2 cells of 2 people (1 ALL, 1 HEM).")
    assert "on average over 2 splits" in beside.describe_given(225, [whole, apart])
    turned = [
        rows.assign(split=["test"] * 3 + ["train"] * 3),
        rows.assign(split=["train"] * 3 + ["test"] * 3),
    ]
    once = beside.describe_given(225, turned)
    assert once.endswith("Asked about: 6 cells of 5 people (4 ALL, 1 HEM), each in the test once.")


def test_every_figure_of_a_plain_baseline_says_of_how_many_people_it_is():
    rows = pd.DataFrame(
        {"cell": list("abcdef"), "identity": list("112345"), "label": ["ALL"] * 4 + ["HEM"] * 2}
    )
    twice = pd.concat([rows.assign(iteration=0), rows.head(2).assign(iteration=1)])
    assert folds.count_people(rows) == "5 people (3 ALL, 2 HEM)"
    assert folds.count_people(twice) == "3 people (2 ALL, 1 HEM)"
    assert folds.count_people(rows.head(1)) == "1 person (1 ALL)"
    said = shortcuts.describe_asked({"identity": twice}, 225)[0]
    assert "each of 2 splits asks about 4 cells of 3 people (2 ALL, 1 HEM)" in said and "225 pixels" in said
    own = pd.concat([rows.assign(iteration=0, arm=unit) for unit in ("image", "identity")])
    asked = leakage.count_asked(leakage.tabulate_asked(rows, own, own.groupby("arm").head(1)))
    assert asked.startswith("of 5 people (3 ALL, 2 HEM); in no part of a split, 1 person (1 ALL); ")
    assert "by identity, 5 people (3 ALL, 2 HEM)" in asked
    found = pd.DataFrame(
        {"direction": "fold 0 to fold 1", "classifier": "area alone", "with": [0.9, 0.8]}
        | {"scored": [shared_people.SHARED, shared_people.REST], "asked": ["3 people", "11 people"]}
    )
    assert "0.900 on the shared people's cells, of 3 people, and" in shared_people.describe_hardness(found)[0]
    assert "everybody else, 11 people" in shared_people.list_asked(found)


@pytest.mark.parametrize("name", ["ways", "shortcuts", "monte-carlo", "rivals", "transfer", "leakage"])
def test_a_page_that_scores_plain_cues_counts_the_people_in_the_table_s_caption(name):
    cells = json.loads((ROOT / f"nbs/experiments/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells)
    counted = ("folds.count_people", "leakage.count_asked", "shortcuts.describe_asked")
    assert any(word in source for word in counted)


def test_area_alone_is_not_called_a_network():
    looked = {arm: {(0, 0): pd.DataFrame()} for arm in ("area alone", "a frozen network")}
    assert judge.name_networks(looked) == "area alone, a frozen network, each one classifier"
    assert judge.name_networks({"area alone": looked["area alone"]}) == ""


def test_each_claim_names_its_test():
    rows = pd.DataFrame({"identity": list("abcdefgh"), "label": ["ALL"] * 4 + ["HEM"] * 4})
    tests = ["studentised permutation of identities", "DeLong"]
    said = holding.describe_claims(rows, pd.DataFrame({"metric": "auroc", "test": tests}), assumed=False)
    assert [line.split(":")[0] for line in said] == [f"AUROC, tested by {test}" for test in tests]


def test_the_background_is_judged_by_its_rule_under_every_split():
    cues = ["size", "background"] * 2
    rows = pd.DataFrame({"cue": cues, "split by": ["identity"] * 2 + ["image"] * 2, "value": 0.6})
    rows = rows.assign(low=[0.6, 0.4, 0.6, 0.607], high=[0.8, 0.6, 0.8, 0.651])
    of_identity, of_image, _ = shortcuts.describe_cues(rows)
    assert "split by identity" in of_identity and "as it should" in of_identity
    assert "split by image" in of_image and "does not hold chance" in of_image


def test_a_gain_is_not_a_negative_loss_and_nothing_has_no_minus():
    names = dict(direction="fold 0 to fold 1", arm="area alone", change="stain 0.2", auroc=0.9)
    losses = pd.DataFrame([{**names, "lost": -0.086, "low": -0.1, "high": 0.01}])
    assert "gained 0.086 (-0.010 to +0.100) and has 0.900" in transfer.describe_losses(losses)[0]
    step = dict(arm="boosted trees", more="image", less="cell", value=-0.0002, low=-0.001, high=-0.0001)
    said = ways.describe_ways(pd.DataFrame([step]))[0]
    assert "+0.000 (-0.001 to +0.000) split by image rather than by cell" in said and "-0.000" not in said


def test_people_are_named_by_numbers_that_the_table_holds():
    subjects, identities = ["H6", "H7", "H10", "43", "44"], ["H2", "H2", "H3", "43", "43"]
    table = pd.DataFrame({"subject": subjects, "identity": identities})
    named, said = judge.name_people(table)
    assert named.identity.tolist() == ["H6+H7", "H6+H7", "H10", "43", "43"]
    assert "H6+H7 is the person also known as H2; H10 is the person also known as H3" in said[0]
    assert judge.name_people(named.assign(subject=named.identity))[1] == judge.name_people(table[3:])[1] == []


def test_files_pictures_and_cells_are_told_apart_where_they_differ():
    rows = pd.DataFrame({"cell": list("aabcd"), "shown": list("aabbd")})
    said = folds.describe_counting(rows)[0]
    assert "5 files are 4 different pictures" in said and "show 3 cells" in said and "are pictures" in said
    assert "4 different pictures show 3 cells" in folds.describe_counting(rows[1:])[0]
    assert folds.describe_counting(rows.assign(shown=range(5))) == []


def test_a_page_without_images_promises_no_change_of_stain():
    text = (ROOT / "nbs/experiments/transfer.ipynb").read_text(encoding="utf-8")
    assert "transfer.NO_IMAGES" in text and "## Other stain" not in text and "all of it" not in text
    assert transfer.NO_IMAGES.count(".") == 1 and "`leukonb run real-images --data DIR`" in transfer.NO_IMAGES


FIRST_READ = ("training", "evaluation", "folds", "shortcuts", "explanation", "dataset")


@pytest.mark.parametrize("name", FIRST_READ)
def test_what_stands_first_under_a_heading_is_what_the_run_found(name):
    cells = json.loads((ROOT / f"nbs/experiments/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    headed = [i for i, cell in enumerate(cells) if "\n## " in "\n" + "".join(cell["source"])]
    assert headed
    for i in headed:
        heading, below = "".join(cells[i]["source"]).strip(), "".join(cells[i + 1]["source"])
        assert heading.count("\n") == 0 and cells[i + 1]["cell_type"] == "code", heading
        shown = re.findall(r"^ *(?:\w+\.)?(show\w*)\(", below, re.M)
        assert shown and shown[0] in ("show_sentences", "show_beside"), heading


def test_a_section_of_a_judgement_begins_with_its_number(monkeypatch):
    shown = []
    monkeypatch.setattr(judge, "show_section", lambda *parts: shown.append(parts))
    judge.open_section("calibration", "two arms", "The error is 0.1.")
    heading, text, of = shown[0]
    assert (
        heading == "Calibration" and text.startswith("The error is 0.1.\n\nOf the cells") and of == "two arms"
    )
    cells = json.loads((ROOT / "nbs/experiments/judge.ipynb").read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells)
    for name in ("table", "scores", "once", "comparison", "subjects", "calibration", "points"):
        (call,) = re.findall(rf'open_section\("{name}", (\w+, .+)\)', source)
        assert call


def test_a_long_table_says_how_many_rows_stand_in_its_file():
    rows = pd.DataFrame({"pair": range(50)})
    html = look.table_html(rows, "Pairs", most=20)
    assert (
        html.count("<tr>") == 21
        and "the other 30 are in the run&#x27;s CSV" in html
        and "Pairs. The first 20" in html
    )
    cells = json.loads((ROOT / "nbs/experiments/dataset.ipynb").read_text(encoding="utf-8"))["cells"]
    assert 'show_table(dataset.list_pairs(same), "copies", caption, most=20)' in str(cells)


def test_the_map_of_all_cells_is_small_and_says_what_it_leaves_out():
    n = dataset.MOST_ON_MAP + 1000
    rows = pd.DataFrame({"subject": "1", "label": ["ALL", "HEM"] * (n // 2), "fold": 0, "part": "training"})
    rng = np.random.default_rng(0)
    fig = dataset.draw_layout(rng.normal(size=(n, 2)), rows, np.arange(n) < 9)
    assert len(fig.to_json()) < 350_000
    assert f"{dataset.MOST_ON_MAP:,} of the {n:,} cells" in dataset.describe_map("PCA", n)
    assert "Drawn are" not in dataset.describe_map("PCA", 50)


def test_text_on_bars_can_be_read():
    fills = [*look.COLOURS.values(), *checklists._COLOURS.values(), look.ACCENT, "#c9ced6", "#d08a1d"]
    assert min(look.contrast(look.ink_on(colour), colour) for colour in fills) >= 4.5
    drawn = monte_carlo.draw_posteriors(pd.DataFrame({"score": ["F1"], "a": [0.3], "b": [0.3], "c": [0.4]}))
    for trace in (*drawn.data, *checklists.draw_statuses(statuses()).data):
        assert look.contrast(trace.insidetextfont.color, trace.marker.color) >= 4.5
    rows = pd.DataFrame({"arm": "a", "label": ["ALL", "HEM"], "right": 8, "people": 9, "share": 0.89})
    (bars,) = judged.draw_people_right(rows.assign(low=0.5, high=1.0)).data
    assert bars.textposition == "none" and list(bars.y) == ["ALL: 8 of 9", "HEM: 8 of 9"]


def statuses() -> pd.DataFrame:
    """Two items of each status."""
    return pd.DataFrame([{"checklist": "TRIPOD", **dict.fromkeys(checklists.STATUSES, 2)}])


def test_a_score_in_a_sentence_has_its_zero():
    rows = pd.DataFrame(
        {"cue": "background", "split by": "identity", "value": 0.5, "low": [0.4], "high": [0.6]}
    )
    whole = pd.concat([rows, rows.assign(cue="size")])
    assert "it holds chance, 0.5, as it should" in shortcuts.describe_cues(whole)[0]
    bare = re.compile(r"(?:AUROC|chance|guessing|score|threshold)\b[^.\"]{0,20}[ (]\.\d")
    for path in sorted([*ROOT.glob("leukonb/pages/*.py"), *ROOT.glob("nbs/experiments/*.ipynb")]):
        found = bare.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.name}: {found[0]}"


def test_a_notebook_to_explore_works_on_the_measured_real_cells():
    source = (ROOT / "nbs/explore/operating_point.ipynb").read_text(encoding="utf-8")
    assert 'shipped_table(\\"cnmc\\")' in source and "simulat" not in source and "OneSetWorld" not in source


def test_the_caption_of_a_narrow_table_is_as_wide_as_the_text():
    style = (ROOT / "leukonb/verbs/site.css").read_text(encoding="utf-8")
    caption, heads = (
        re.search(rf"main table {part} {{([^}}]*)}}", style)[1] for part in ("caption", "thead th")
    )
    assert "width: min(46rem, 100cqw)" in caption and "margin-right: calc(-1 *" in caption
    assert "nowrap" not in heads
