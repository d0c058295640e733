"""Study files as editors and people really leave them, and settings as people really type them."""

import codecs
import json

import nbformat
import pytest

from leukonb.files import refusal_line
from leukonb.runs.notebook import check_parameters, find_named, read_parameters
from leukonb.runs.ranges import find_limits, find_unfit
from leukonb.runs.study import apply_settings, list_studies, load_study, plan_study

HEAD = "title: T\nshows: S\nsize: smoke\n"
FINISH = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {'seed': 1})"
DRAW = """seed: int = 0
rate: float = 0.1  # of learning
steps: list[float] = [0.1]
weights: str | None = 'imagenet'  # file: 'imagenet', a local file, or none
schedule: str = 'one-cycle'  # of the rate: one of 'one-cycle', 'constant'
recipe: str = 'paper'  # any name
draws: list[str] = []"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A folder of one small experiment, and a place for studies of it."""
    place = tmp_path / "nbs" / "experiments"
    (place / "studies").mkdir(parents=True)
    first = nbformat.v4.new_code_cell(DRAW, metadata={"tags": ["parameters"]})
    cells = [first, nbformat.v4.new_code_cell(FINISH)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place / "draw.ipynb")
    monkeypatch.setenv("LEUKONB_NBS", str(place.parent))
    return place


def write(place, content, name="s.yml"):
    file = place / "studies" / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def study(place, runs, name="s.yml"):
    return write(place, f"{HEAD}runs:\n{runs}", name)


ONE = "  a: {experiment: draw}\n"


@pytest.mark.fault(
    group="runs",
    fault="A study file that nobody meant to write so",
    injected="an alias bomb, a circle, 3,000 levels, Latin-1, a folder; odd run names, needs, limits, smoke sizes",
    promise="each is refused in one line that says what to do, before anything is written",
)
@pytest.mark.parametrize(
    "content, says",
    [
        (HEAD + "runs: &r\n  a: *r\n", "too large or too deep"),
        (HEAD + "runs: " + "[" * 3000, "too large or too deep"),
        (HEAD + "runs: " + "{a: " * 80 + "1" + "}" * 80, "too large or too deep"),
        ((HEAD + "runs:\n" + ONE + "# Zählung").encode("latin-1"), "line 6: not text in UTF-8"),
        (HEAD + "runs:\n  1: {experiment: draw}\n", "put it in quotes"),
        (HEAD + "runs:\n  yes: {experiment: draw}\n", "put it in quotes"),
        (HEAD + f"runs:\n  {'x' * 300}: {{experiment: draw}}\n", "300 letters; 180 are allowed"),
        (
            HEAD + f"runs:\n  a: {{experiment: draw, grid: {{recipe: [{'x' * 300}]}}}}\n",
            "180 are allowed: shorten the values",
        ),
        (HEAD + "runs:\n  a: {experiment: draw, needs: {draws: [[b]]}}\n", "a run's name or a list of them"),
        (HEAD + "runs:\n  a: {experiment: draw, needs: {draws: {b: 1}}}\n", "a run's name or a list of them"),
        (HEAD + "limit: 0\nruns:\n" + ONE, "more than none"),
        (HEAD + "limit: true\nruns:\n" + ONE, "a number is wanted"),
        (HEAD + "smoke: [1]\nruns:\n" + ONE, "a list of texts"),
        (HEAD + "runs:\n" + ONE + "\x00", "not readable YAML"),
    ],
)
def test_an_odd_study_is_refused_in_one_line(suite, tmp_path, content, says):
    def plan():
        return plan_study(load_study(write(suite, content)), tmp_path / "out")

    line = refusal_line(plan)
    assert says in line and "s.yml" in line and "\n" not in line and len(line) < 250, line
    assert not (tmp_path / "out").exists()


def test_nine_lines_that_stand_for_a_thousand_million_values_are_refused_at_once(suite):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefgh", "bcdefghi"):
        bomb += f"{name}: &{name} [{', '.join(9 * [f'*{before}'])}]\n"
    assert "too large or too deep" in refusal_line(load_study, write(suite, HEAD + bomb))
    assert "too large or too deep" in refusal_line(
        apply_settings, load_study(study(suite, ONE)), ["draw.seed=" + "[" * 3000]
    )


@pytest.mark.parametrize("name", ["_hidden.yml", ".hidden.yml", "x" * 200 + ".yml", "two\nlines.yml"])
def test_a_study_whose_runs_no_list_would_show_is_refused(suite, name):
    assert "rename the file" in refusal_line(load_study, study(suite, ONE, name))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-16-le"])
def test_a_study_is_read_as_any_editor_saves_it(suite, encoding):
    text = f"title: Zählung\nshows: S\nsize: smoke\nruns:\n{ONE}"
    mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b""
    read = load_study(write(suite, mark + text.encode(encoding)))
    assert read.title == "Zählung" and read.at("runs", "a") == "s.yml, line 5: "


@pytest.mark.fault(
    group="runs",
    fault="A study file in UTF-16 without its mark, or in UTF-32; a number of thousands of digits",
    injected="each of them, with and without letters beyond ASCII; a seed of 5,000 digits",
    promise="one line names the file and what it is, and what to do; no word of Python's own",
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("title", ["Zählung", "Count"])
def test_a_study_in_an_encoding_that_is_not_read_is_named(suite, encoding, title):
    text = f"title: {title}\nshows: S\nsize: smoke\nruns:\n{ONE}"
    line = refusal_line(load_study, write(suite, text.encode(encoding)))
    assert line == "s.yml, line 1: not text in UTF-8 but UTF-16 or UTF-32; save the file as UTF-8"
    runs = f"  a: {{experiment: draw, parameters: {{seed: {'9' * 5000}}}}}\n"
    line = refusal_line(load_study, study(suite, runs))
    assert line.startswith("s.yml: ") and "4,300 digits; write a shorter one" in line and "sys." not in line


def plan_with(place, out, *settings, runs=ONE):
    return plan_study(apply_settings(load_study(study(place, runs)), settings), out)


def test_a_value_is_taken_as_its_parameter_means_it(suite, tmp_path):
    set_all = (
        "draw.rate=1e-4",
        "draw.weights=none",
        "draw.recipe=none",
        "draw.steps=[1e-3, 2]",
        "draw.seed=1e2",
    )
    given = plan_with(suite, tmp_path, *set_all)[0].run.manifest["inputs"]["parameters"]
    wanted = {"rate": 0.0001, "weights": None, "recipe": "none", "steps": [0.001, 2.0], "seed": 100}
    assert {name: given[name] for name in wanted} == wanted
    written = "  a: {experiment: draw, grid: {rate: [1e-4, 1e-3]}}\n"
    rates = [p.run.manifest["inputs"]["parameters"]["rate"] for p in plan_with(suite, tmp_path, runs=written)]
    assert rates == [0.0001, 0.001]


@pytest.mark.fault(
    group="runs",
    fault="A setting that no run can take",
    injected="--set of an unknown name, a wrong type, or what the study fills in",
    promise="refused in one line that names the setting itself",
)
@pytest.mark.parametrize(
    "setting, says",
    [
        ("draw.rate=much", "--set draw.rate=much: experiment draw, parameter rate = 'much': float is wanted"),
        ("draw.seed=1.5e-1", "parameter seed = 0.15: int is wanted"),
        ("draw.sed=1", "--set draw.sed=1: experiment draw has no parameter 'sed' (did you mean 'seed'?)"),
        ("draw.weights=b3.h5", "--set draw.weights=b3.h5: experiment draw, parameter weights"),
        ("draw.schedule=cosine", "'cosine'; choose one of one-cycle, constant"),
        ("a.draws=[x]", "--set a.draws=[x]: the study fills in draws"),
    ],
)
def test_a_refused_setting_is_named_and_not_a_line_of_the_file(suite, tmp_path, setting, says):
    runs = "  b: {experiment: draw}\n  a: {experiment: draw, needs: {draws: b}}\n"
    line = refusal_line(plan_with, suite, tmp_path, setting, runs=runs)
    assert line.startswith("--set") and says in line, line


def test_a_setting_of_a_smoke_size_is_named_with_its_line(suite):
    from leukonb.runs.study import shrink_to_smoke

    small = shrink_to_smoke(load_study(write(suite, HEAD + "smoke: [draw.rate=much]\nruns:\n" + ONE)))
    assert refusal_line(plan_study, small, suite / "out").startswith("s.yml, line 4: draw.rate=much: ")


def test_every_network_that_a_plan_takes_unseen_is_there():
    from leukonb.model.backbones import BACKBONES
    from leukonb.verbs import run

    assert run._NETWORKS <= set(BACKBONES)


@pytest.mark.fault(
    group="runs",
    fault="A study asks for a backbone, an augmentation or a schedule that there is none of",
    injected="such a name by --set",
    promise="--dry-run refuses it with what there is; nothing is written",
)
@pytest.mark.parametrize(
    "setting, says",
    [
        ("training.backbone=EfficientNetV2-B3", "is unknown; the nearest are EfficientNetV2B3"),
        ("training.backbone=no_module:NET", "cannot be imported"),
        ("training.augmentation=papier", "is unknown; choose one of none, paper"),
        ("training.schedule=cosine", "choose one of one-cycle, constant"),
        ("training.selection=last", "choose one of paper, best"),
        ("training.cohort=/etc", "name images with --data"),
        ("training.rate=.inf", "a record keeps finite numbers"),
        ("training.rate=-.inf", "a record keeps finite numbers"),
        ("training.rate=.nan", "a record keeps finite numbers"),
    ],
)
def test_a_dry_run_refuses_what_there_is_not(tmp_path, setting, says):
    from leukonb.verbs.run import prepare_study

    line = refusal_line(prepare_study, "quick", tmp_path / "out", smoke=True, settings=[setting])
    assert line.startswith(f"--set {setting}: ") and says in line, line
    assert not (tmp_path / "out").exists()


OUT_OF_RANGE = {
    "training": "rate=-1 epochs=0 batch=0 alpha=5 views=3 reduction=0 dropouts=[2,2,2] dropouts=[] dropouts=[2] "
    "head=[0] head=[-5,3,2] head=[64] size=31 size=100000 copies=0 copies=101 rising=2 gamma=-2 clip=-1 seed=-1 "
    "pretraining=foo pretraining=in1k depth=1 iteration=-1 backbone=small",
    "judge": "resamples=0 bins=0 permutations=0",
    "simulation": "worlds=0 worlds=1 subjects=[12] subjects=[]",
    "monte-carlo": "units=[0] units=[] dropouts=[0.1] reduction=0",
    "leakage": "epochs=0 resamples=99 head=[16,16,16,16]",
    "explanation": "worst=-1 shuffles=0",
    **{"classical": "size=0", "shortcuts": "iterations=0", "evaluation": "cue_size=0", "folds": "parts=1"},
}


def first_study_of(experiment):
    """The first study that holds runs of an experiment."""
    held = (load_study(name) for name in list_studies())
    return next(s for s in held if experiment in {run["experiment"] for run in s.runs.values()})


@pytest.mark.fault(
    group="runs",
    fault="A number that no run can be done with: no epochs, a share of 5, a dropout too few",
    injected="such values by --set, in ten experiments",
    promise="the plan refuses it, and names the run, the parameter, the value and what may be given",
)
@pytest.mark.parametrize(
    "setting", [f"{name}.{value}" for name, values in OUT_OF_RANGE.items() for value in values.split()]
)
def test_a_plan_refuses_a_number_out_of_its_range(tmp_path, setting):
    study = apply_settings(first_study_of(setting.partition(".")[0]), [setting])
    line, name = refusal_line(plan_study, study, tmp_path), setting.partition(".")[2].partition("=")[0]
    beside = {"head": "dropouts", "backbone": "weights"}.get(name, name)  # what does not go with it
    assert line.startswith(f"--set {setting}: run "), line
    assert f", parameter {name} = " in line or f", parameter {beside} = " in line, line
    assert "give " in line or "leave " in line, line


def test_a_plan_asks_a_backbone_of_ones_own_how_small_an_input_may_be(tmp_path, monkeypatch):
    from leukonb.verbs.run import check_records

    (tmp_path / "own_small.py").write_text(
        "from dataclasses import replace\nfrom leukonb.model.backbones import BACKBONES\n"
        "NET = replace(BACKBONES['small'], name='own', least=200)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def ask(size, weights):
        settings = [f"training.size={size}", f"training.weights={weights}", "training.backbone=own_small:NET"]
        changed = apply_settings(load_study("quick"), settings)
        return check_records(changed, plan_study(changed, tmp_path / "out"))

    assert ask(200, "none") is None
    assert "takes inputs of at least 200 pixels, and size is 199" in refusal_line(ask, 199, "none")
    assert "NET has no weights 'imagenet'" in refusal_line(ask, 200, "imagenet")


def test_a_number_out_of_its_range_is_named_with_its_line_in_a_study(suite):
    run = "  a:\n    experiment: classical\n    grid:\n      size: [96, 0]\n"
    line = refusal_line(plan_study, load_study(study(suite, run)), suite / "out")
    assert line == "s.yml, line 8: run a, parameter size = 0: give from 1 to 4,096"


def test_every_count_of_every_experiment_has_a_range_and_experiments_of_ones_own_have_none(suite):
    shipped = [path for paths in find_named("*.ipynb").values() for path in paths if path.parent != suite]
    assert len(shipped) > 30
    for notebook in shipped:
        known = read_parameters(notebook)
        assert find_unfit(notebook.stem, {name: p.default for name, p in known.items()}) is None
        counts = [name for name, p in known.items() if p.type in (int, int | None, list[int])]
        assert all(find_limits(notebook.stem, name) for name in counts), (notebook.stem, counts)
    plan_study(load_study(study(suite, ONE.replace("draw}", "draw, parameters: {seed: -1}}"))), suite / "out")


def test_a_plan_of_known_names_does_not_load_the_network_library(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; from leukonb.runs.study import load_study, plan_study; from leukonb.verbs import run\n"
        "study = load_study('quick'); run.check_records(study, plan_study(study, 'out'))\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    assert not subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode


@pytest.mark.fault(
    group="runs",
    fault="Standard output cannot hold the letters of a name",
    injected="an output of ASCII, a study with umlauts",
    promise="the letters are spelt out; nothing ends by it",
)
def test_what_cannot_be_written_in_the_letters_of_a_log_is_spelt_out(tmp_path, monkeypatch):
    import io
    import sys

    from leukonb.cli import main

    narrow = io.TextIOWrapper(io.BytesIO(), "ascii")
    for part in ("result", "status"):
        (tmp_path / "_runs/Zählung/draw/a-1").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"_runs/Zählung/draw/a-1/{part}.json").write_text("{}")
    inputs = {"parameters": {}, "needs": {}, "notebook": "", "package": {}}
    (tmp_path / "_runs/Zählung/draw/a-1/run.json").write_text(
        json.dumps({"key": "1", "name": "a", "experiment": "draw", "study": "Zählung", "inputs": inputs})
    )
    monkeypatch.setattr(sys, "stdout", narrow)
    assert main(["status", "--out", str(tmp_path / "_runs")]) == 0
    narrow.flush()
    assert rb"Z\xe4hlung" in narrow.buffer.getvalue()


@pytest.mark.fault(
    group="runs",
    fault="A parameters cell holds a program in the place of a type or a default",
    injected="an annotation, and a default, that would write a file",
    promise="it is refused with its line, and not run",
)
@pytest.mark.parametrize("line", ["seed: {} = 0", "seed: int = {}", "seed: list[{}] = []", "seed: '{}' = 0"])
def test_a_parameters_cell_is_read_and_never_run(suite, tmp_path, line):
    program = f"[open({str(tmp_path / 'ran')!r}, 'w')]"
    if "'{}'" in line:
        program = program.replace("'", '"')
    cell = nbformat.v4.new_code_cell(line.format(program), metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), suite / "draw.ipynb")
    assert "draw.ipynb, parameters cell, line 1" in refusal_line(plan_with, suite, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.fault(
    group="runs",
    fault="The type of a notebook's parameter cannot be parsed, or is none",
    injected="a quoted text that is no type, brackets without end, a function, an unknown name",
    promise="one line names the notebook, the line, the parameter and its type; the default is not blamed",
)
@pytest.mark.parametrize(
    "kind", ["'int or'", "'list['", "'" + "[" * 5000 + "'", "lambda: 3", "Seed", "dict[int, Seed]"]
)
def test_a_type_that_is_none_is_named(suite, tmp_path, kind):
    cell = nbformat.v4.new_code_cell(
        f"rate: float = 1.0\nseed: {kind} = 0", metadata={"tags": ["parameters"]}
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), suite / "draw.ipynb")
    line = refusal_line(plan_with, suite, tmp_path / "out")
    assert "draw.ipynb, parameters cell, line 2, seed: the type " in line and "known: int, float" in line
    assert "default" not in line and "\n" not in line and len(line) < 300


UNREADABLE = [
    "x: dict = {[1]: 2}",
    "x: list = [b'1']",
    "x: dict = {1: 1j}",
    "x: list = [...]",
    "x: str = '\\ud800'",
]
UNREADABLE += ["x: int = " + "-" * 3000 + "1", "x: " + " | ".join(["int"] * 3000) + " = 1"]


@pytest.mark.fault(
    group="runs",
    fault="A parameters cell holds what no record can keep",
    injected="a key of a list, bytes, a complex number, half a letter, nesting of 3,000",
    promise="one line that names the parameter or the cell",
)
@pytest.mark.parametrize("source", UNREADABLE, ids=lambda text: text[:18])
def test_a_parameter_that_no_record_can_keep_is_refused(suite, source):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), suite / "draw.ipynb")
    line = refusal_line(check_parameters, suite / "draw.ipynb", {})
    assert "draw" in line and "\n" not in line and len(line) < 400
