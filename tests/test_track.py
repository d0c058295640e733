"""Runs in MLflow: as it is installed where it is, else a stand-in that keeps what it is given."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

import leukonb
from leukonb.files import Refusal, write_json
from leukonb.runs import track
from leukonb.runs.record import make_run
from leukonb.runs.notebook import find_experiment
from leukonb.runs.study import PlannedRun
from leukonb.verbs.run import PreparedStudy, execute_study

RELEASED = find_experiment("released")


class Store:
    """What a client of MLflow was told."""

    def __init__(self):
        self.experiments, self.runs = {}, []

    def get_experiment_by_name(self, name):
        return self.experiments.get(name)

    def create_experiment(self, name, artifact_location):
        self.experiments[name] = SimpleNamespace(experiment_id=name, place=artifact_location)
        return name

    def search_runs(self, experiments, filter_string, max_results):
        wanted = [each.split("` = ") for each in filter_string.replace("tags.`", "").split(" and ")]
        fits = [r for r in self.runs if all(r.tags.get(name) == value.strip("'") for name, value in wanted)]
        return fits[:max_results]

    def create_run(self, experiment, start_time, tags, run_name):
        known = SimpleNamespace(run_id=len(self.runs))
        self.runs.append(SimpleNamespace(info=known, tags=tags, params={}, metrics=[], name=run_name))
        return self.runs[-1]

    def log_batch(self, run_id, metrics=(), params=()):
        assert len(metrics) <= 1000 and len(params) <= 100, "MLflow refuses more at once"
        self.runs[run_id].metrics += metrics
        self.runs[run_id].params |= dict(params)

    def set_terminated(self, run_id, status, end_time):
        self.runs[run_id].status = status


@pytest.fixture
def store(monkeypatch):
    """A stand-in for mlflow, whatever is installed."""
    kept = Store()
    tracking, entities, root = (
        ModuleType("mlflow.tracking"),
        ModuleType("mlflow.entities"),
        ModuleType("mlflow"),
    )
    root.__spec__ = importlib.util.spec_from_loader("mlflow", None)
    tracking.MlflowClient = lambda tracking_uri: vars(kept).update(uri=tracking_uri) or kept
    entities.Metric, entities.Param = lambda *words: words, lambda *words: words
    for module in (root, tracking, entities):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return kept


@pytest.fixture
def ended(tmp_path):
    """A run that is done, with two epochs."""
    run = make_run(
        tmp_path / "_runs" / "own", "one", RELEASED, {"least": 1}, study="own", command="leukonb run own"
    )
    write_json(run.folder / "run.json", run.manifest)
    result = {"run": run.key, "headline": {"AUROC": {"value": 0.9, "low": 0.8, "high": 1.0}}, "files": {}}
    write_json(run.folder / "result.json", result)
    write_json(run.folder / "status.json", {"status": "done", "started": 10.0, "finished": 12.5})
    (run.folder / "epochs.csv").write_text("epoch,loss\n1,0.7\n2,0.6\n")
    return run


def test_a_run_stands_in_the_store_once_with_parameters_epochs_and_results(store, ended, tmp_path):
    prepared = PreparedStudy(SimpleNamespace(), [PlannedRun(ended, RELEASED, [], limit=1)])
    ended.manifest["drawing"] = None  # it is done, and is not drawn anew
    for _ in range(2):
        assert execute_study(prepared, progress=False, track="mlflow")[0]["status"] == "done"
    (kept,) = store.runs
    assert store.uri == f"sqlite:///{tmp_path / 'mlflow.db'}" and list(store.experiments) == ["leukonb/own"]
    assert kept.params == {"least": "1"} and kept.status == "FINISHED"
    assert ("AUROC", 0.9, 12500, 0) in kept.metrics and ("epoch/loss", 0.6, 12500, 2) in kept.metrics
    assert kept.tags["leukonb.key"] == ended.key and kept.tags["leukonb.command"] == "leukonb run own"


def test_a_run_that_failed_is_there_as_failed_and_one_that_is_planned_is_not(store, ended, tmp_path):
    (ended.folder / "result.json").unlink()
    write_json(ended.folder / "status.json", {"status": "failed", "error": "no space", "finished": 3.0})
    assert track.track_run(ended, tmp_path / "_runs")
    assert store.runs[0].status == "FAILED" and store.runs[0].tags["leukonb.error"] == "no space"
    assert store.runs[0].metrics == []
    (ended.folder / "status.json").unlink()
    assert not track.track_run(ended, tmp_path / "_runs")


@pytest.mark.fault(
    group="sweep",
    fault="Runs shall be tracked where MLflow is not installed",
    injected="no mlflow to import",
    promise="refused before anything runs; the line says what to install",
)
def test_where_mlflow_is_not_installed_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(track, "find_spec", lambda name: None)
    with pytest.raises(Refusal, match=r"^--track mlflow needs MLflow: pip install 'leukonb\[mlflow\]'$"):
        track.check_tracker("mlflow")


@pytest.mark.extras
def test_mlflow_itself_reads_the_store(ended, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    assert track.track_run(ended, tmp_path / "_runs") and not track.track_run(ended, tmp_path / "_runs")
    client = tracking.MlflowClient(tracking_uri=track.find_store(tmp_path / "_runs"))
    experiment = client.get_experiment_by_name("leukonb/own")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.data.params == {"least": "1"} and kept.data.metrics["AUROC/high"] == 1.0
    assert [m.value for m in client.get_metric_history(kept.info.run_id, "epoch/loss")] == [0.7, 0.6]
    assert kept.info.status == "FINISHED" and kept.info.end_time == 12500


@pytest.mark.fault(
    group="sweep",
    fault="The store of MLflow refuses",
    injected="an error at every batch that is written",
    promise="a line names the run that is not in the store; the run is done as before",
)
def test_a_store_that_refuses_makes_no_run_less_done(store, ended, tmp_path, capsys):
    store.log_batch = lambda *words, **more: 1 / 0
    assert track.track_runs([ended], tmp_path / "_runs") == 0 and ended.done
    assert "is not in MLflow's store: ZeroDivisionError" in capsys.readouterr().err


def test_a_study_is_tracked_from_a_notebook_too(store, tmp_path, monkeypatch):
    def execute(prepared, *words, track, **more):
        return [{"status": "done", "to": told.append(track)} for _ in prepared.planned]

    told = []
    monkeypatch.setattr("leukonb.verbs.run.execute_study", execute)
    with pytest.raises(Refusal, match="did you mean 'mlflow'"):
        leukonb.run("released", out=tmp_path / "_runs", track="mlflo")
    assert not (tmp_path / "_runs").exists()
    assert list(leukonb.run("released", out=tmp_path / "_runs", track="mlflow").status) == ["done"]
    assert told == ["mlflow"]
