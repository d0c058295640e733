"""Runs under faults, by real processes: nothing is reported as done that is not."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import pytest

from leukonb.files import read_json, refusal_line
from leukonb.runs.notebook import begun_cells, check_parameters
from leukonb.runs.process import execute_run
from leukonb.runs.record import make_run

LAST = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {'pid': 1})"


def write(folder, *cells, parameters="seed: int = 0", name="example"):
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)]), path)
    return path


def run_of(folder, notebook, **given):
    return make_run(folder / "study", "one", notebook, check_parameters(notebook, given), study="study")


DIVERGES = f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_training import NET, TrainingRecipe, cohort, split_of, training
cells, store = cohort()
training.train_network(NET, TrainingRecipe(batch=8, epochs=8, rate=1e30, peak=1e30, clip=0), store, split_of(cells), "checkpoints")"""


def breaks(fault, cell, status, says, promise=None, injected=None):
    """A case of a cell that ends its run badly, as a row of the table of faults."""
    mark = pytest.mark.fault(
        group="runs",
        fault=fault,
        injected=injected or cell.replace("\n", "; "),
        promise=promise or f"status {status} with the reason; the run is not done and the notebook is kept",
    )
    return pytest.param(cell, status, says, id=fault, marks=mark)


@pytest.mark.parametrize(
    "cell, status, says",
    [
        breaks("A cell raises an error", "raise ValueError('bad cell')", "failed", "ValueError: bad cell"),
        breaks(
            "A cell ends the kernel politely",
            "import sys; sys.exit(0)",
            "failed",
            "before its last cell|SystemExit",
        ),
        breaks(
            "A cell ends the kernel at once",
            "import os; os._exit(0)",
            "failed",
            "kernel died|before its last cell",
        ),
        breaks(
            "The kernel is killed",
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "failed",
            "kernel died|before its last cell",
        ),
        breaks(
            "A cell runs out of memory",
            "import numpy as np, resource\nresource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\nnp.ones(10**10)",
            "oom",
            "MemoryError: Unable to allocate",
        ),
        breaks(
            "A training diverges in a run",
            DIVERGES,
            "diverged",
            "^Diverged: .*lower the learning rate",
            injected="a learning rate of 1e30",
        ),
        breaks(
            "A cell refuses its input",
            "from leukonb.files import Refusal\nraise Refusal('size 7: too small')",
            "failed",
            "^size 7: too small$",
        ),
    ],
)
def test_a_run_that_ends_badly_is_never_done(tmp_path, cell, status, says):
    notebook = write(tmp_path, cell, LAST)
    run = run_of(tmp_path, notebook)
    ended = execute_run(run, notebook, limit=300)
    assert ended["status"] == status and re.search(says, ended["error"]) and ended["cell"] == 3
    assert not run.done and not (run.folder / "result.json").exists()
    kept = nbformat.read(run.notebook, 4)
    assert kept.cells[begun_cells(run.notebook)[-1]].source == cell


@pytest.mark.fault(
    group="runs",
    fault="A cell that never ends",
    injected="while True, with a limit of 12 s",
    promise="status timeout with the cell; the notebook is kept as far as it came; no process is left",
)
def test_an_endless_cell_meets_the_limit_and_leaves_no_process(tmp_path):
    notebook, limit = (
        write(
            tmp_path,
            "import os\nprint('so far')\nopen('pid', 'w').write(str(os.getpid()))",
            "while True: pass",
            LAST,
        ),
        12,
    )
    run = run_of(tmp_path, notebook)
    ended = execute_run(run, notebook, limit=limit)
    while ended.get("cell") != 4 and limit < 200:  # a busy machine had not come to the cell
        assert ended["status"] == "timeout"
        ended = execute_run(run, notebook, limit=(limit := 2 * limit))
    assert ended["status"] == "timeout" and not ended.get("gone") and ended["cell"] == 4
    assert not psutil.pid_exists(int((run.folder / "pid").read_text()))
    assert nbformat.read(run.notebook, 4).cells[2].outputs[0].text == "so far\n"
    assert {p.name for p in run.folder.iterdir()} == {
        ".lock",
        ".source.ipynb",
        "example.ipynb",
        "log.txt",
        "pid",
        "run.json",
        "status.json",
    }


@pytest.mark.fault(
    group="runs",
    fault="A run that failed is run again",
    injected="an error the first time only",
    promise="done the second time",
)
def test_a_failed_run_is_done_again_and_the_result_counts(tmp_path):
    notebook = write(
        tmp_path,
        "from pathlib import Path\nif not Path('once').exists():\n    Path('once').touch()\n    raise OSError('first time')",
        LAST,
    )
    run = run_of(tmp_path, notebook)
    assert execute_run(run, notebook)["status"] == "failed"
    assert execute_run(run, notebook)["status"] == "done"


@pytest.mark.fault(
    group="runs",
    fault="A result file of another run, or half a result file",
    injected="result.json overwritten",
    promise="the run is not done",
)
def test_a_result_of_another_run_does_not_count(tmp_path):
    notebook = write(tmp_path, LAST)
    run = run_of(tmp_path, notebook)
    execute_run(run, notebook)
    (run.folder / "result.json").write_text('{"run": "another"}')
    assert not run.done
    (run.folder / "result.json").write_text('{"run": ')
    assert not run.done


@pytest.mark.fault(
    group="runs",
    fault="Two processes on one run",
    injected="started together",
    promise="done once; both say so",
)
def test_two_processes_on_one_run_do_it_once(tmp_path):
    notebook = write(tmp_path, "import time\nopen('log', 'a').write('x')\ntime.sleep(2)", LAST)
    run = run_of(tmp_path, notebook)
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda _: execute_run(run, notebook)["status"], range(2)))
    assert (run.folder / "log").read_text() == "x"
    assert ends == ["done", "done"]


@pytest.mark.fault(
    group="runs",
    fault="The process that started a run dies with it",
    injected="SIGKILL to the whole family",
    promise="the run is failed, not running for ever, and can be taken up",
)
def test_a_dead_parent_leaves_a_run_that_can_be_taken_up(tmp_path):
    notebook = write(tmp_path, "import time\ntime.sleep(3)", LAST)
    run = run_of(tmp_path, notebook)
    code = "import sys; from pathlib import Path; from leukonb.runs.notebook import check_parameters; from leukonb.runs.record import make_run; from leukonb.runs.process import execute_run; n = Path(sys.argv[1]); r = make_run(Path(sys.argv[2]), 'one', n, check_parameters(n, {}), study='study'); execute_run(r, n)"
    parent = subprocess.Popen([sys.executable, "-c", code, str(notebook), str(tmp_path / "study")])
    while not run.folder.exists() or run.status["status"] != "running":
        time.sleep(0.1)
    family = [psutil.Process(parent.pid), *psutil.Process(parent.pid).children(recursive=True)]
    for member in family:
        member.send_signal(signal.SIGKILL)
    parent.wait()
    psutil.wait_procs(family, timeout=10)
    assert run.status["status"] == "failed" and "process is gone" in run.status["error"]
    assert execute_run(run, notebook)["status"] == "done"


@pytest.mark.fault(
    group="runs",
    fault="Eight runs at once",
    injected="eight kernels in eight threads",
    promise="each in its own folder with its own parameters",
)
def test_many_at_once_land_in_their_own_folders(tmp_path):
    notebook = write(
        tmp_path,
        "import os\nfrom pathlib import Path\nPath('here').write_text(str(seed) + ' ' + Path.cwd().name)",
        LAST,
    )
    made = [run_of(tmp_path, notebook, seed=s) for s in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda r: execute_run(r, notebook)["status"], made))
    assert ends == ["done"] * 8
    for seed, run in enumerate(made):
        assert (run.folder / "here").read_text() == f"{seed} {run.folder.name}"


@pytest.mark.fault(
    group="runs",
    fault="A run is asked to stop",
    injected="the study's stop event, while its kernel starts and while a cell works",
    promise="status preempted within 30 s",
)
@pytest.mark.parametrize("moment", ["status.json", "working"])
def test_asked_to_stop_a_run_is_preempted(tmp_path, moment):
    notebook = write(tmp_path, "open('working', 'w').close()\nimport time\ntime.sleep(600)", LAST)
    run, stop, asked = run_of(tmp_path, notebook), threading.Event(), []

    def follow(run):
        if (run.folder / moment).exists() and not asked:
            asked.append(time.monotonic())
            stop.set()

    ended = execute_run(run, notebook, stop=stop, follow=follow)
    taken, busy = time.monotonic() - asked[0], os.getloadavg()[0] > (os.cpu_count() or 1)
    assert ended["status"] == "preempted" and not run.done
    assert ended.get("cell") == (3 if moment == "working" else None)
    assert taken < (120 if busy else 30), f"{taken:.0f} s at a load of {os.getloadavg()[0]:.1f}"


@pytest.mark.fault(
    group="runs",
    fault="A notebook, a parameter or only an output is changed",
    injected="the notebook edited",
    promise="a new key where an input changed, the old one where only an output did",
)
def test_the_key_follows_inputs_and_nothing_else(tmp_path):
    notebook = write(tmp_path, LAST)
    key = run_of(tmp_path, notebook).key
    executed = nbformat.read(notebook, 4)
    executed.cells[1].outputs = [nbformat.v4.new_output("stream", text="seen")]
    nbformat.write(executed, notebook)
    assert run_of(tmp_path, notebook).key == key
    assert run_of(tmp_path, notebook, seed=1).key != key
    write(tmp_path, "1 + 1", LAST)
    assert run_of(tmp_path, notebook).key != key


@pytest.mark.parametrize("given", [{"sed": 1}, {"seed": "1"}, {"seed": 1.5}, {"seed": None}, {"seed": True}])
@pytest.mark.fault(
    group="runs",
    fault="An unknown or mistyped parameter",
    injected="such parameters given",
    promise="refused in one line before a kernel starts",
)
def test_unknown_and_mistyped_parameters_are_refused(tmp_path, given):
    notebook = write(tmp_path, LAST)
    line = refusal_line(check_parameters, notebook, given)
    assert len(line.splitlines()) == 1 and next(iter(given)) in line


def test_the_manifest_names_what_made_the_run(tmp_path):
    notebook = write(tmp_path, LAST)
    run = run_of(tmp_path, notebook, seed=5)
    execute_run(run, notebook)
    manifest = read_json(run.folder / "run.json")
    assert manifest["seeds"] == {"seed": 5} and manifest["inputs"]["versions"]["numpy"]
    assert manifest["environment"]["threads"] == os.cpu_count() and manifest["environment"]["device"]
