"""Runs on machines that are not as a run would like them: other kernels, drivers without use, odd folders."""

import json
import os
import sys

import nbformat
import pytest

from leukonb.runs import device, process
from leukonb.runs.record import Run, current_status, find_runs, list_facts
from leukonb.runs.study import load_study, plan_study
from leukonb.runs.sweep import execute_plan
from leukonb.verbs.run import own_experiments

TELL = """import sys, builtins
from leukonb.runs.record import this_run, finish
finish(this_run(), {'own': 1, 'startup': int(hasattr(builtins, 'mine'))}, notes=[sys.executable])"""


def put_program(folder, name, text="#!/bin/sh\nexit 1\n"):
    """A program on the path that is put before all others."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def fresh():
    """What is asked of the machine once is asked again, before and after."""
    process._list_uuids.cache_clear()
    yield
    process._list_uuids.cache_clear()


@pytest.mark.fault(
    group="runs",
    fault="Another Python is registered as python3; a driver names a GPU that nothing uses; braces in a folder's name",
    injected="a kernel of that name on JUPYTER_PATH, IPython's start-up files, an nvidia-smi that answers, {seed} [x]",
    promise="the run's own interpreter does it, without those files; the page names the processor; it is done",
)
def test_a_run_is_done_by_its_own_interpreter_and_names_what_it_used(tmp_path, monkeypatch, fresh):
    place = tmp_path / "{seed} [x] {}"
    studies = place / "nbs" / "experiments" / "studies"
    studies.mkdir(parents=True)
    first = nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]})
    cells = [first, nbformat.v4.new_code_cell(TELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), studies.parent / "tell.ipynb")
    (studies / "s [x].yml").write_text("title: T\nshows: S\nsize: smoke\nruns: {a: {experiment: tell}}\n")
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    words = ["/bin/false", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": words, "display_name": "P", "language": "python"})
    )
    start = tmp_path / "ipython" / "profile_default" / "startup"
    start.mkdir(parents=True)
    (start / "00.py").write_text("import builtins; builtins.mine = 1")
    driver = put_program(tmp_path / "bin", "nvidia-smi", "#!/bin/sh\necho 'Imaginary GPU, GPU-1'\n")
    for name, value in {
        "LEUKONB_NBS": studies.parents[1],
        "LEUKONB_GPU_LOCKS": tmp_path / "locks",
        "JUPYTER_PATH": kernel.parents[1],
        "IPYTHONDIR": tmp_path / "ipython",
        "PATH": f"{driver}{os.pathsep}{os.environ['PATH']}",
    }.items():
        monkeypatch.setenv(name, str(value))
    plan = plan_study(load_study("s [x]"), place / "_runs")
    assert execute_plan(plan)[0]["status"] == "done", plan[0].run.status
    run = Run.read(find_runs(place / "_runs", "s [x]")[0].folder)
    assert run.result["notes"] == [sys.executable] and run.result["headline"]["startup"] == 0
    assert run.status["gpu"] == "Imaginary" or "GPU" in run.status["gpu"]
    assert run.manifest["environment"]["device"] == device.name_processor() == list_facts(run)["device"]
    assert current_status(run)["status"] == "done"


def test_a_study_whose_folder_is_a_link_to_another_disk_finds_its_cohort_and_its_runs(tmp_path):
    studies = tmp_path / "nbs" / "experiments" / "studies"
    studies.mkdir(parents=True)
    for name, source in {"reads": "cohort: str = ''", "mean": "draws: list[str] = []"}.items():
        first = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[first]), studies.parent / f"{name}.ipynb")
    (studies / "s.yml").write_text(
        "title: T\nshows: S\nsize: smoke\n"
        "runs: {a: {experiment: reads}, b: {experiment: mean, needs: {draws: a}}}\n"
    )
    out, cohort = tmp_path / "_runs", tmp_path / "_runs" / "_cohorts" / "c"
    cohort.mkdir(parents=True)
    (tmp_path / "disk" / "deep" / "er").mkdir(parents=True)
    (out / "s").symlink_to(tmp_path / "disk" / "deep" / "er", target_is_directory=True)
    with own_experiments(tmp_path / "nbs"):
        reads, mean = (p.run for p in plan_study(load_study("s"), out, cohort, "digest"))
    for run in (reads, mean):
        run.folder.mkdir(parents=True)
    assert os.path.samefile(reads.folder / reads.manifest["paths"]["cohort"], cohort)
    assert os.path.samefile(mean.folder / mean.manifest["paths"]["draws"][0], reads.folder)


@pytest.mark.fault(
    group="runs",
    fault="nvidia-smi or git may not be started",
    injected="no program, a folder of that name, a file on the path, one that never ends, one that prints no text",
    promise="it is not there; nothing ends by it",
)
@pytest.mark.parametrize("kind", ["no program", "folder", "file on the path", "never ends", "no text"])
def test_a_program_that_may_not_be_started_is_not_there(tmp_path, monkeypatch, fresh, kind):
    from leukonb.runs import record
    from leukonb.runs.record import describe_environment

    place = tmp_path / "bin"
    for name in ("nvidia-smi", "git"):
        if kind == "file on the path":
            place.write_text("")
        elif kind == "folder":
            (place / name).mkdir(parents=True)
        else:
            texts = {"no program": "\x7fELF no", "no text": "#!/bin/sh\nprintf '\\377, \\376'\n"}
            put_program(place, name, texts.get(kind, "#!/bin/sh\nexec sleep 60\n"))
    monkeypatch.setenv(
        "PATH", str(place) + (f"{os.pathsep}/bin" if kind in ("never ends", "no text") else "")
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("LEUKONB_GPUS", raising=False)
    if kind == "never ends":
        monkeypatch.setattr(device.ask_program, "__defaults__", (0.2,))
    record._commit.cache_clear()
    environment = describe_environment(1)
    record._commit.cache_clear()
    assert environment["device"] == device.name_processor() and environment["commit"] in (
        None,
        "\ufffd, \ufffd+",
    )
    assert process.list_gpus() == (["\ufffd"] if kind == "no text" else [])


@pytest.mark.fault(
    group="runs",
    fault="A setting that decides numbers is another than it was",
    injected="floatx and backend in keras.json, oneDNN off, another instruction set, shorter floats",
    promise="another key; status and verify name the setting with both values",
)
@pytest.mark.parametrize(
    "name, value",
    [
        ("floatx", "float16"),
        ("backend", "numpy"),
        ("TF_ENABLE_ONEDNN_OPTS", "0"),
        ("ONEDNN_MAX_CPU_ISA", "SSE41"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
    ],
)
def test_what_decides_numbers_is_an_input_and_is_named_when_it_differs(tmp_path, monkeypatch, name, value):
    from leukonb.runs.key import digest_inputs, list_inputs
    from leukonb.runs.notebook import find_experiment
    from leukonb.runs.record import compare_libraries

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delenv(name, raising=False)
    notebook = find_experiment("released")
    usual = list_inputs(notebook, {"least": 1})
    if name.isupper():
        monkeypatch.setenv(name, value)
    else:
        (tmp_path / "keras.json").write_text(json.dumps({name: value}))
    unusual = list_inputs(notebook, {"least": 1})
    assert unusual["settings"][name] == value and digest_inputs(usual) != digest_inputs(unusual)
    made_before = Run(tmp_path, {"inputs": usual})
    [said] = compare_libraries(made_before)
    assert said.startswith(f"{name}: ") and said.endswith(f" then, {value} now")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    monkeypatch.delenv(name, raising=False)
    [said] = compare_libraries(Run(tmp_path, {"inputs": unusual}))
    assert said.startswith(f"{name}: {value} then, ")


def test_what_is_set_to_what_holds_anyway_changes_no_key(monkeypatch):
    from leukonb.runs.key import computing_settings

    usual = computing_settings()
    for value in ("1", "true", ""):
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", value)
        assert computing_settings() == usual


@pytest.mark.fault(
    group="data",
    fault="A subject, an arm or a column is called like a formula",
    injected="texts that begin with = + - @, a tabulator, or an apostrophe before these, in a run's tables",
    promise="no published CSV holds a formula; numbers and intervals stay; the suite reads back what was written",
)
def test_no_published_table_holds_a_formula(tmp_path, monkeypatch):
    import pandas as pd

    from leukonb.draw.look import show_table
    from leukonb.files import read_table

    names = ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "'=1", "p-1"]
    kept = ["-0.5", "-0.10 to 0.20", "-0.1 (-0.3 to 0.1)", "-", "+5", "1e-3", "plain"]
    table = pd.DataFrame({"subject": names, "=arm": kept, "score": [-0.5] * 7})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    show_table(table, "subjects")
    cells = pd.read_csv("subjects.csv", dtype=str)
    assert not any(text[0] in "=@\t\r" for text in [*cells.columns, *cells.subject, *cells["'=arm"]])
    assert cells.subject.tolist() == [*(f"'{name}" for name in names[:-1]), "p-1"]
    assert cells["'=arm"].tolist() == kept and set(cells.score) == {"-0.5"}
    assert read_table("subjects.csv").equals(table)


def test_verify_names_a_device_that_is_not_here_and_no_other(tmp_path, monkeypatch):
    from leukonb.runs.verify import compare_environment

    def differing(then):
        environment = {"device": then, "threads": 1}
        found = compare_environment(
            Run(tmp_path, {"experiment": "released", "environment": environment} | known)
        )
        return [line for line in found if line.startswith("device")]

    known = {"inputs": {"parameters": {}, "needs": {}, "notebook": "", "package": {}}}
    driver = put_program(tmp_path / "bin", "nvidia-smi", "#!/bin/sh\necho 'NVIDIA H100'\n")
    monkeypatch.setenv("PATH", f"{driver}{os.pathsep}{os.environ['PATH']}")
    assert not differing("NVIDIA H100") and not differing(device.name_processor())
    assert differing("NVIDIA L4") == [f"device: NVIDIA L4 then, {device.name_processor()} now"]


def test_a_relative_folder_of_keras_is_the_same_in_the_folder_of_a_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", "kc")
    assert process._child_environment("private", threads=1)["KERAS_HOME"] == str(tmp_path / "kc")
