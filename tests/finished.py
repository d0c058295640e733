"""Finished runs made up by the hundred, as they lie on the disk when their notebooks have been executed."""

import json
import shutil
from pathlib import Path

import nbformat

from leukonb.files import digest_file
from leukonb.runs.record import Run, make_run
from leukonb.runs.seal import seal

TABLE = "<table><thead><tr><th scope='col'>arm</th></tr></thead><tbody><tr><td>{}</td></tr></tbody></table>"


def write_run(run: Run, notebook: Path, minute: int = 0) -> Run:
    """Write a run as one that took a second and found a figure, sealed."""
    run.folder.mkdir(parents=True)
    run.manifest["environment"] = {"threads": 1, "device": "none", "platform": "none", "commit": None}
    shutil.copy(notebook, run.folder / ".source.ipynb")
    executed = nbformat.read(notebook, 4)
    executed.cells[-1].outputs = [
        nbformat.v4.new_output("display_data", {"text/html": TABLE.format(run.name), "text/plain": "shown"})
    ]
    nbformat.write(executed, run.notebook)
    (run.folder / "loss.csv").write_text("epoch,loss\n1,0.5\n")
    ended = 1.7e9 + 60 * minute
    state = {"status": "done", "started": ended - 1, "finished": ended, "seconds": 1.0}
    files = {"loss.csv": digest_file(run.folder / "loss.csv")}
    result = {"run": run.key, "headline": {"auroc": 0.9}, "notes": ["Made up."], "files": files}
    for name, content in (("run.json", run.manifest), ("status.json", state), ("result.json", result)):
        (run.folder / name).write_text(json.dumps(content))
    seal(run.folder, run.experiment)
    return run


def write_runs(nbs: Path, out: Path, count: int, study: str = "quick", reports: int = 1) -> list[Run]:
    """Finished trainings of a study, and reports that need all of them."""
    facts = {"study": study, "size": "quick", "synthetic": True, "command": f"leukonb run {study}"}
    training, report = (nbs / "experiments" / f"{name}.ipynb" for name in ("training", "report"))
    made = []
    for seed in range(count):
        run = make_run(out / study, f"training-{seed}", training, {"seed": seed}, "ab" * 32, **facts)
        made.append(write_run(run, training, seed))
    keys = [run.key for run in made]
    for seed in range(reports):
        run = make_run(out / study, f"report-{seed}", report, {"seed": seed}, **facts)
        run.manifest["inputs"]["needs"] = {"trainings": keys}
        made.append(write_run(run, report, count + seed))
    return made
