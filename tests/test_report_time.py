"""What keeps `make report` short: studies side by side, experiments without TensorFlow, kernels that do not linger."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
from conftest import ROOT

from leukonb import cli
from leukonb.runs.notebook import check_parameters
from leukonb.runs.process import execute_run
from leukonb.runs.record import make_run

# These build or train a network, or look into one, whatever the cohort is.
WITH_NETWORK = {
    "audit-of-the-paper",
    "benchmark",
    "benchmark-gpu",
    "explanation",
    "leakage",
    "paper-tables",
    "trained-splits",
    "training",
}
HEAVY = ("tensorflow", "keras", "jax", "torch", "dask")


def list_imports(notebook):
    """The import statements of an experiment's code."""
    cells = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    nodes = [node for source in cells for node in ast.parse(source).body]
    return [ast.unparse(node) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]


def test_light_experiments_load_no_network_library():
    notebooks = sorted((ROOT / "nbs" / "experiments").glob("*.ipynb"))
    light = [notebook for notebook in notebooks if notebook.stem not in WITH_NETWORK]
    assert {"monte-carlo", "ways", "shared-people", "shortcuts", "judge", "simulation"} <= {
        n.stem for n in light
    }
    lines = ["import sys"]
    for notebook in light:
        lines += list_imports(notebook)
        lines.append(f"print({notebook.stem!r}, *[name for name in {HEAVY} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [notebook.stem for notebook in light]


def test_studies_named_together_are_one_plan(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "released", "simulation", "--dry-run", "--shard", "1/2"]) == 0
    said = capsys.readouterr().out
    assert "What was released: 1 run\n" in said and "3 of all 5 runs in shard 1/2" in said
    assert "released/released" in said and "further-coverage/others" in said
    assert cli.main(["run", "released", "released"]) == 1
    assert "study released is named twice" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_make_report_is_one_command_over_its_studies():
    asked = subprocess.run(["make", "-n", "report", "WORKERS=2"], cwd=ROOT, capture_output=True, text=True)
    ran = [line for line in asked.stdout.splitlines() if "leukonb run" in line]
    assert len(ran) == 1 and ran[0].split()[1:7] == ["run", "real", "leakage", "quick", "--workers", "2"]


def test_a_kernel_is_ended_at_once_when_its_result_is_written(tmp_path):
    source = "import atexit\nfrom pathlib import Path\natexit.register(Path('left-slowly').absolute().touch)"
    ends = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {'seed': seed})"
    cells = [nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(text) for text in (source, ends)]
    notebook = Path(tmp_path / "helped.ipynb")
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    run = make_run(tmp_path / "runs/mine", "helped", notebook, check_parameters(notebook, {}))
    assert execute_run(run, notebook, threads=1)["status"] == "done"
    assert not list(run.folder.glob("kernel-ipc-*")) and not (run.folder / "left-slowly").exists()
