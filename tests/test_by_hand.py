"""What a notebook that somebody runs by hand leaves: in JupyterLab, or by papermill itself."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from papermill.inspection import inspect_notebook

from leukonb.files import Refusal, read_json, refusal_line, write_json
from leukonb.runs import by_hand, kernel, record, verify
from leukonb.runs.by_hand import NOTE, plan_by_hand
from leukonb.runs.facts import find_doubts
from leukonb.runs.notebook import find_experiment, find_named, read_parameters
from leukonb.runs.record import Run, find_runs, is_whole
from leukonb.runs.seal import seal
from leukonb.verbs.run import prepare_study

EXPERIMENTS = sorted(path for paths in find_named("*.ipynb").values() for path in paths)
FIRST = "from pathlib import Path\nfrom leukonb.runs.record import this_run, finish"
WRITES = "Path('sizes.csv').write_text(f'size\\n{sum(sizes)}\\n')"
CELLS = [FIRST, "run = this_run()", WRITES, "finish(run, {'sum': sum(sizes)})"]


@pytest.mark.parametrize("notebook", EXPERIMENTS, ids=lambda path: path.stem)
@pytest.mark.fault(
    group="runs",
    fault="Parameters that papermill does not see",
    injected="each experiment asked for its parameters as papermill --help-notebook does",
    promise="every parameter is listed, those that may be empty too",
)
def test_papermill_lists_every_parameter_of_every_experiment(notebook):
    known, listed = read_parameters(notebook), inspect_notebook(notebook)
    assert list(listed) == list(known), "papermill --help-notebook"
    assert all(each["help"].strip() for each in listed.values()), "and says what it is"


def test_images_can_be_named_to_every_experiment_that_reads_some():
    for notebook in EXPERIMENTS:
        known = read_parameters(notebook)
        assert ("cohort" in known) == any(p.is_by_hand and p.name == "data" for p in known.values()), notebook


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of runs by hand, and in it their cohort, as many cells of as many subjects, only smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(by_hand.DRAWN, "size", 48)
        yield tmp_path_factory.mktemp("drawn") / "_runs"


def test_every_experiment_that_splits_can_be_run_as_it_stands_on_the_cohort_that_is_drawn(drawn):
    planned = []
    for notebook in EXPERIMENTS:
        known = read_parameters(notebook)
        if {"cohort", "train"} <= known.keys():
            planned.append(plan_by_hand(notebook, {}, drawn))
    assert len(planned) > 5 and all(run.manifest["synthetic"] for run in planned)
    given = {"epochs": 1, "backbone": "small", "weights": "none", "size": 32}
    parameters = plan_by_hand(find_experiment("training"), given, drawn).manifest["inputs"]["parameters"]
    assert (parameters["train"], parameters["validation"], parameters["test"]) == (0.8, 0.1, 0.1)


@pytest.mark.fault(
    group="runs",
    fault="A notebook is given by hand what no run can be done with",
    injected="a split too small, a folder that is not there, no epochs, a dropout too few",
    promise="the refusal names the notebook's parameters, and no option of a command",
)
@pytest.mark.parametrize(
    "given, says",
    [
        (
            {"train": 0.9, "validation": 0.02, "test": 0.02},
            "; train, validation and test (0.6, 0.2, 0.2) will do",
        ),
        ({"data": "/nowhere"}, "data = /nowhere: there is no such folder or archive"),
        ({"epochs": 0}, "training, parameter epochs = 0: give 1 or more"),
        ({"head": "[64]"}, "give 2, one more than the layers of head = [64]"),
    ],
    ids=["split", "data", "epochs", "head"],
)
def test_a_refusal_by_hand_names_parameters_and_no_options(drawn, given, says):
    line = refusal_line(plan_by_hand, find_experiment("training"), given, drawn)
    assert says in line and "--" not in line, line


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An experiment of one's own that adds numbers up and leaves a table."""
    place = tmp_path / "own" / "experiments" / "adding.ipynb"
    place.parent.mkdir(parents=True)
    cells = [nbformat.v4.new_markdown_cell("# Adding\n\n> Numbers are added up.")]
    first = "sizes: list[int] = [1, 2]  # that are added"
    cells.append(nbformat.v4.new_code_cell(first, metadata={"tags": ["parameters"]}))
    kernel_of = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nb = nbformat.v4.new_notebook(
        cells=cells + [nbformat.v4.new_code_cell(c) for c in CELLS], metadata=kernel_of
    )
    nbformat.write(nb, place)
    monkeypatch.setenv("LEUKONB_NBS", str(place.parents[1]))
    monkeypatch.delenv("LEUKONB_RUN", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return place


class Shell:
    """As much of a kernel as this suite asks of it: cells are executed, and remembered."""

    def __init__(self, monkeypatch, **names):
        self.user_ns, self.callbacks = names, []
        self.history_manager = SimpleNamespace(input_hist_raw=[""])
        self.events = SimpleNamespace(
            register=lambda name, call: self.callbacks.append(call),
            unregister=lambda name, call: self.callbacks.remove(call),
        )
        monkeypatch.setattr(kernel, "_find_shell", lambda: self)

    def execute(self, *cells):
        for source in cells:
            self.history_manager.input_hist_raw.append(source)
            failed = None
            try:
                exec(source, self.user_ns)
            except Exception as error:
                failed = error
            for call in list(self.callbacks):
                call(SimpleNamespace(error_before_exec=None, error_in_exec=failed))
            if failed:
                raise failed


@pytest.mark.fault(
    group="runs",
    fault="All cells of a notebook are run by hand",
    injected="the cells executed one after another in a kernel, a list given as text",
    promise="a record with the key of a study, which says that the saved notebook is not digested; nothing loose",
)
def test_the_record_is_that_of_a_study_and_nothing_lies_about(own, monkeypatch, tmp_path):
    study = tmp_path / "adding.yml"
    study.write_text(
        "title: t\nshows: s\nsize: quick\nruns:\n  a: {experiment: adding, parameters: {sizes: [3, 4]}}\n"
    )
    wanted = prepare_study(str(study)).planned[0].run
    Shell(monkeypatch, sizes="[3, 4]").execute(*CELLS)
    assert os.listdir() == ["_runs"] and Path.cwd() == tmp_path / "work"
    (run,) = find_runs("_runs")
    assert run.key == wanted.key and run.manifest["inputs"] == wanted.manifest["inputs"]
    assert is_whole(run) and run.status["status"] == "done" and run.result["headline"] == {"sum": 7}
    assert set(run.result["ended"]) == {"started", "finished", "seconds"}, "under the seal"
    assert run.manifest["by_hand"] == NOTE and "no digest here covers it" in NOTE
    assert run.manifest["command"] == "papermill adding.ipynb out.ipynb -p sizes '[3, 4]'"
    assert not list(find_doubts(run))


@pytest.mark.fault(
    group="runs",
    fault="A number in the page of a run by hand is changed",
    injected="another number written into the notebook in the run's folder",
    promise="leukonb verify says that the page differs, and the run is not done any more",
)
def test_a_page_by_hand_is_what_its_files_make_and_verify_holds_it_to_that(own, monkeypatch):
    Shell(monkeypatch, sizes=[3]).execute(*CELLS)
    (run,) = find_runs("_runs")
    assert verify._compare_page(run, run) == ("equal", "")
    page = run.notebook.read_text()
    run.notebook.write_text(page.replace(">3<", ">4<"))
    assert run.notebook.read_text() != page
    assert verify._compare_page(run, run)[0] == "differs"
    assert run.status["status"] == "changed"


@pytest.mark.fault(
    group="runs",
    fault="A notebook is run by hand otherwise than it is saved",
    injected="a cell more, a cell left out, a cell executed twice",
    promise="no record; one line says what ran where something else is saved",
)
@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([*CELLS[:2], "sizes.append(100)", *CELLS[2:]], "ran where"),
        ([*CELLS[:2], CELLS[3]], "ran where"),
        ([*CELLS[:3], CELLS[2], CELLS[3]], "ran where"),
    ],
    ids=["a cell more", "a cell less", "a cell twice"],
)
def test_what_ran_otherwise_than_it_is_saved_leaves_no_record(own, monkeypatch, tmp_path, cells, why):
    with pytest.raises(Refusal, match=why):
        Shell(monkeypatch, sizes=[3]).execute(*cells)
    (run,) = find_runs(tmp_path / "work" / "_runs")
    assert not run.result and run.status["status"] == "failed"


DRAFTS = {
    "empty": "",
    "without cells": '{"cells": []}',
    "without code": '{"cells": [{"cell_type": "code", "source": [], "metadata": {}}]}',
    "a list": "[]",
    "of an earlier form": '{"worksheets": []}',
    "of bytes": "\udcff",
    "a folder": None,
    "half written": "{",
}


@pytest.mark.fault(
    group="runs",
    fault="An empty or half written draft among one's own experiments",
    injected="no byte, no cell, no code, another form, a folder of that name; parameters that are not Python",
    promise="other notebooks run, and a line names the draft; it is refused when it itself is asked for",
)
@pytest.mark.parametrize("draft", DRAFTS)
def test_a_draft_stops_no_other_notebook(own, monkeypatch, capsys, draft):
    place = own.with_name("draft.ipynb")
    if DRAFTS[draft] is None:
        place.mkdir()
    else:
        place.write_bytes(DRAFTS[draft].encode("utf-8", "surrogateescape"))
    cells = [nbformat.v4.new_code_cell("sizes: list[int] = [", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(f"import os\n{FIRST}"), nbformat.v4.new_code_cell(CELLS[1])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), own.with_name("broken.ipynb"))
    assert kernel.recognise(CELLS[:2], {"sizes": [1]}) == own
    (said,) = capsys.readouterr().err.splitlines()
    assert "passed over" in said and "draft.ipynb is" in said and str(own.parent) in said
    assert kernel.recognise(["run = 1", CELLS[1]], {}) is None
    assert "draft.ipynb is" in refusal_line(read_parameters, find_experiment("draft"))


def test_an_edited_notebook_that_is_not_saved_is_told_to_save_it(own, monkeypatch):
    with pytest.raises(Refusal, match=r"adding\.ipynb as it is saved; save it"):
        Shell(monkeypatch, sizes=[3]).execute(FIRST + "\nfactor = 2", *CELLS[1:])
    assert not os.listdir()


@pytest.mark.fault(
    group="runs",
    fault="A cell fails in JupyterLab",
    injected="a division by zero in the middle of the notebook",
    promise="the run is failed and says why; all cells run again make it done, and nothing falls outside its folder",
)
def test_a_failed_cell_ends_the_run_and_all_cells_begin_it_again(own, monkeypatch, tmp_path):
    shell = Shell(monkeypatch, sizes=[3])
    with pytest.raises(ZeroDivisionError):
        shell.execute(*CELLS[:2], "1 / 0")
    (run,) = find_runs(tmp_path / "work" / "_runs")
    assert run.status["status"] == "failed" and run.status["error"].startswith("ZeroDivisionError")
    shell.user_ns["sizes"] = [3]
    shell.execute(*CELLS)
    assert Run.read(run.folder).status["status"] == "done" and os.listdir() == ["_runs"]


@pytest.mark.fault(
    group="runs",
    fault="A run by hand meets the same run of another process",
    injected="the run's folder locked",
    promise="one line says so, and the folder is left alone",
)
def test_a_folder_that_another_process_has_is_left_alone(own, monkeypatch):
    run = plan_by_hand(own, {"sizes": [3]}, Path("_runs").absolute())
    monkeypatch.setattr(kernel, "is_locked", lambda folder: folder == run.folder)
    with pytest.raises(Refusal, match="another process"):
        Shell(monkeypatch, sizes=[3]).execute(*CELLS)


@pytest.mark.fault(
    group="runs",
    fault="A run by hand gets no earlier run, or one whose table was changed",
    injected="no folder of a training; another number in a table of one",
    promise="one line names the command that makes it, or the table that has changed",
)
def test_missing_runs_are_named_with_the_command_and_given_ones_are_in_the_key(own, monkeypatch):
    Shell(monkeypatch, sizes=[3]).execute(*CELLS)
    (made,) = find_runs("_runs")
    made.manifest["experiment"] = "training"
    evaluation, out = find_experiment("ablation"), Path("_runs").absolute()
    with pytest.raises(Refusal, match=r"-p trainings FOLDER.* papermill .*training\.ipynb"):
        plan_by_hand(evaluation, {}, out)
    run = plan_by_hand(evaluation, {"trainings": str(made.folder)}, out)
    assert run.manifest["inputs"]["needs"] == {"trainings": [made.key]}
    place = os.path.normpath(run.folder / run.manifest["paths"]["trainings"][0])
    assert Path(place) == made.folder.absolute()
    (made.folder / "sizes.csv").write_text("size\n99\n")
    with pytest.raises(Refusal, match=r"sizes\.csv has changed"):
        plan_by_hand(evaluation, {"trainings": [str(made.folder)]}, out)


@pytest.mark.fault(
    group="runs",
    fault="A notebook is run by papermill alone",
    injected="the program papermill in a folder of its own, with --inject-output-path and a list by -p",
    promise="the record lies beside the output, with the key of a study; the working folder stays empty",
)
def test_papermill_makes_a_record_beside_its_output(own, tmp_path):
    output = tmp_path / "results" / "out.ipynb"
    output.parent.mkdir()
    program = [str(Path(sys.executable).with_name("papermill")), "--no-progress-bar", "--inject-output-path"]
    typed = subprocess.run([*program, own, output, "-p", "sizes", "[3, 4]"], capture_output=True, text=True)
    assert typed.returncode == 0, typed.stderr
    (run,) = find_runs(output.parent / "_runs")
    assert run.result["headline"] == {"sum": 7}
    assert sorted(os.listdir(output.parent)) == ["_runs", "out.ipynb"] and not os.listdir()
    shown = output.read_text()
    assert run.key in shown and "no digest here covers it" in shown


@pytest.mark.fault(
    group="runs",
    fault="A notebook is given a folder of images by papermill",
    injected="-p data FOLDER, without a cohort",
    promise="the images are indexed, and the record has the key of the same run in a study",
)
def test_papermill_indexes_the_images_it_is_given(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEUKONB_NBS", "")
    given = {"data": str(good), "shown": 1}
    papermill.execute_notebook(find_experiment("cohort"), "out.ipynb", given, progress_bar=False)
    (run,) = find_runs("_runs")
    study = tmp_path / "own.yml"
    study.write_text(
        "title: t\nshows: s\nsize: quick\nruns:\n  a: {experiment: cohort, parameters: {shown: 1}}\n"
    )
    assert run.key == prepare_study(str(study), data=good).planned[0].run.key
    assert run.done and read_json(run.folder / "run.json")["synthetic"] is False
    assert (run.folder / "parameters.csv").is_file() and not list(tmp_path.glob("*.csv"))


def test_parameters_stand_in_the_order_of_a_study_run(own, monkeypatch):
    out = {}
    run = plan_by_hand(find_experiment("simulation"), {"worlds": 3}, Path("_runs").absolute())
    assert list(run.manifest["inputs"]["parameters"]) != sorted(run.manifest["inputs"]["parameters"])
    run.folder.mkdir(parents=True)
    write_json(run.folder / "run.json", run.manifest)
    for name, each in {"by hand": run, "of a study": Run.read(run.folder)}.items():
        monkeypatch.setattr(
            record, "show_table", lambda table, *words: out.update({name: list(table.parameter)})
        )
        record.show_parameters(each)
    assert out["by hand"] == out["of a study"], "verify compares the tables"


@pytest.mark.fault(
    group="runs",
    fault="A run by hand is given one run on real cells and one on drawn cells",
    injected="two trainings, the one on drawn cells second",
    promise="the record says that its figures come from drawn cells, too",
)
def test_one_run_on_drawn_cells_among_several_is_said(own, monkeypatch):
    made = []
    for sizes, synthetic in (([3], False), ([4], True)):
        Shell(monkeypatch, sizes=sizes).execute(*CELLS)
        run = next(r for r in find_runs("_runs") if r.folder not in [m.folder for m in made])
        monkeypatch.setitem(run.manifest, "synthetic", synthetic)
        run.manifest["experiment"] = "training"
        write_json(run.folder / "run.json", run.manifest)
        seal(run.folder, "adding")
        made.append(run)
    given = {"trainings": [str(run.folder) for run in made]}
    run = plan_by_hand(find_experiment("ablation"), given, Path("_runs").absolute())
    assert run.manifest["synthetic"] is True and "alone" not in run.manifest


@pytest.mark.fault(
    group="runs",
    fault="Names that look like numbers on the page of a notebook run by hand",
    injected="the subjects 001 and 004 in a table of the record",
    promise="they stay what they are",
)
def test_the_page_of_a_notebook_run_by_hand_keeps_names_as_they_are(tmp_path):
    (tmp_path / "subjects.csv").write_text("subject,cells\n001,4\n004,5\n")
    shown = kernel._show_tables(tmp_path)
    assert ">001<" in shown[0]["text/html"] and ">004<" in shown[0]["text/html"]
