"""Records, tables and pages that were changed after they were written: each is found, named, and does no harm."""

import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from test_cohort import encoded
from test_runs import write

from leukonb.files import digest_file, digest_table, read_json, refusal_line, write_json, write_table
from leukonb.runs.keep import check_as_written
from leukonb.runs.process import execute_run
from leukonb.runs.record import is_whole, make_run
from leukonb.runs.study import PlannedRun
from leukonb.runs.sweep import execute_plan
from leukonb.verbs import evaluate, predict


@pytest.mark.fault(
    group="models",
    fault="Images to be scored that cannot be read",
    injected="a folder without permissions, two damaged files, a path that is not there, beside good images",
    promise="all of them are named in one line and nothing is scored",
)
def test_all_that_cannot_be_scored_is_named_at_once(tmp_path):
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    for n, name in enumerate(("a/good.bmp", "b/hidden.bmp", "cut.bmp")):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_bytes(encoded(n, 64))
    (home / "cut.bmp").write_bytes((home / "cut.bmp").read_bytes()[:99])
    (home / "text.png").write_text("<html>")
    (home / "b").chmod(0)
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)
        whole = refusal_line(predict.list_images, [home, home / "nowhere"])
        part = refusal_line(predict.list_images, home / "b")
    finally:
        os.seteuid(was)
        (home / "b").chmod(0o755)
    assert all(f"{home}/{name}" in whole for name in ("b ", "cut.bmp", "text.png", "nowhere"))
    assert "good.bmp" not in whole and "permissions" in part and "\n" not in whole
    (home / "cut.bmp").unlink()
    (home / "text.png").unlink()
    assert len(predict.list_images(home)) == 2
    shutil.rmtree(home)


@pytest.fixture
def table(tmp_path):
    """Predictions of eight subjects, half of them right."""
    rows = [(f"p{n % 8}", n % 2, (n * 7 % 10) / 10) for n in range(80)]
    return pd.DataFrame(rows, columns=["subject", "label", "score"])


@pytest.mark.fault(
    group="runs",
    fault="The kept copy of a judged table was changed",
    injected="other scores, a file cut off, a table without columns of ours",
    promise="made anew from the table that is judged",
)
@pytest.mark.parametrize("way", ["other scores", "cut off", "other columns"])
def test_a_kept_table_that_was_changed_is_made_anew(table, tmp_path, way):
    evaluate.plan_judgement(table, tmp_path)
    (kept,) = (tmp_path / "_tables").iterdir()
    right = kept.read_bytes()
    if way == "other scores":
        pd.read_parquet(kept).assign(score=1.0).to_parquet(kept)
    elif way == "cut off":
        kept.write_bytes(right[:100])
    else:
        pd.DataFrame({"a": [1]}).to_parquet(kept)
    evaluate.plan_judgement(table, tmp_path)
    fresh = pd.read_parquet(kept)
    assert len(fresh) == 80 and sorted(fresh.score) == sorted(table.score)
    stamp = kept.stat().st_mtime_ns
    evaluate.plan_judgement(table, tmp_path)
    assert kept.stat().st_mtime_ns == stamp, "a sound one is left alone"


SCORES = """from pathlib import Path
import pandas as pd
from leukonb.runs.record import this_run, finish
pd.DataFrame({"cell": ["a", "b"], "score": [0.25, 0.75]}).to_parquet("scores.parquet")
print("the sum is 1.00")
finish(this_run(), {"sum": 1.0}, ["Two scores."])"""
MEAN = """import pandas as pd
from leukonb.runs.record import this_run, finish
mean = float(pd.read_parquet(f"{scores}/scores.parquet").score.mean())
pd.DataFrame({"mean": [mean]}).to_csv("mean.csv", index=False)
finish(this_run(), {"mean": mean})"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a run that scores, done once for all tests."""
    place = tmp_path_factory.mktemp("made")
    planned = plan_two(place)[0]
    assert execute_run(planned.run, planned.notebook, threads=1)["status"] == "done"
    return place


def plan_two(place):
    """A run that scores and one that reads its scores."""
    first = write(place, SCORES, name="first")
    second = write(place, MEAN, name="second", parameters="scores: str = ''")
    scored = make_run(place / "runs/study", "first", first, {"seed": 0}, study="study")
    read = make_run(place / "runs/study", "second", second, {}, needs={"scores": [scored]}, study="study")
    return [PlannedRun(scored, first, [], 300), PlannedRun(read, second, [0], 300)]


@pytest.fixture
def two(made, tmp_path):
    """The two runs, the first of them done."""
    return plan_two(shutil.copytree(made, tmp_path / "copy"))


def rescore(run):
    """Put another score into a run's table: a valid file, that states another finding."""
    file = run.folder / "scores.parquet"
    pd.read_parquet(file).assign(score=[0.25, 0.35]).to_parquet(file)


@pytest.mark.fault(
    group="runs",
    fault="A score of an earlier run was changed",
    injected="a valid table with another score, while the run that reads it is still to be done",
    promise="the run that reads it is refused with the file's name, by itself; by its study the earlier run is made again",
)
def test_a_changed_score_reaches_no_later_run(two):
    scored, read = (planned.run for planned in two)
    right = read_json(scored.folder / "result.json")["files"]["scores.parquet"]
    rescore(scored)
    assert not scored.done and scored.status["status"] == "changed"
    assert "scores.parquet has changed" in scored.status["error"]
    ended = execute_run(read, two[1].notebook, threads=1)
    assert ended["status"] == "failed" and "scores.parquet has changed" in ended["error"]
    assert [state["status"] for state in execute_plan(two)] == ["done", "done"]
    assert is_whole(scored) and scored.result["files"]["scores.parquet"] == right
    assert read.result["headline"] == {"mean": 0.5}


@pytest.mark.fault(
    group="runs",
    fault="A table that a run reads was changed after it was planned",
    injected="another score in the table, which stays a valid file",
    promise="refused before the notebook starts, with the table's name; put back, it is read",
)
def test_a_changed_table_is_not_read(tmp_path):
    scores = write_table(tmp_path / "t.parquet", pd.DataFrame({"cell": ["a", "b"], "score": [0.25, 0.75]}))
    right, data = scores.read_bytes(), digest_table(pd.read_parquet(scores), ["cell", "score"])
    read = MEAN.replace('f"{scores}/scores.parquet"', "table")
    notebook = write(tmp_path, read, name="third", parameters="table: str = ''")
    run = make_run(tmp_path / "runs/study", "third", notebook, {}, data, links={"table": scores})
    pd.read_parquet(scores).assign(score=[0.25, 0.35]).to_parquet(scores)
    ended = execute_run(run, notebook, threads=1)
    assert ended["status"] == "failed" and "t.parquet is another table" in ended["error"]
    assert not run.notebook.exists()
    scores.write_bytes(right)
    assert execute_run(run, notebook, threads=1)["status"] == "done"
    assert run.result["headline"] == {"mean": 0.5}


@pytest.mark.fault(
    group="runs",
    fault="A file of a finished run was changed and given its old time",
    injected="another score in a table, the executed notebook edited, a table removed, notes exchanged",
    promise="the run is not done, the file is named; asked for again, the run is made again",
)
@pytest.mark.parametrize(
    "what", ["scores.parquet", "first.ipynb", ".source.ipynb", "run.json", "result.json", "gone"]
)
def test_a_run_that_does_not_fit_its_files_is_made_again(two, what):
    run = two[0].run
    file = run.folder / ("scores.parquet" if what == "gone" else what)
    assert is_whole(run)
    time = file.stat()
    if what == "gone":
        file.unlink()
    elif what == "scores.parquet":
        rescore(run)
    elif what == "result.json":
        write_json(file, {**read_json(file), "notes": ["Validated on 1,000 patients."]})
    elif what == "run.json":
        write_json(file, {**read_json(file), "synthetic": False})
    else:
        file.write_text(file.read_text().replace("the sum is 1.00", "the sum is 1.99"))
    if file.exists():
        os.utime(file, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert not is_whole(run) and file.name in run.status["error"] and run.status["status"] == "changed"
    if what == "first.ipynb":
        os.utime(run.folder / "result.json", (4e9, 4e9))
        assert not run.done, "a result that was touched later hides nothing"
        assert [state["status"] for state in execute_plan(two[:1])] == ["done"] and is_whole(run)
        assert "1.99" not in file.read_text() and run.result["notes"] == ["Two scores."]


@pytest.mark.fault(
    group="runs",
    fault="Predictions changed after the run that wrote them",
    injected="other scores in the table of a run's folder, then `evaluate` and `predict --abstain`",
    promise="refused by both, with the file's name; a copy elsewhere is judged as anyone's table",
)
def test_a_table_changed_since_its_run_is_neither_judged_nor_abstained_by(tmp_path):
    table = tmp_path / "predictions.parquet"
    rows = {
        "cell": [*"abcd"],
        "subject": [*"1234"],
        "label": ["ALL", "HEM"] * 2,
        "score": [0.9, 0.2, 0.8, 0.3],
    }
    write_table(table, pd.DataFrame(rows))
    write_json(tmp_path / "result.json", {"files": {table.name: digest_file(table)}})
    check_as_written(table)
    write_table(table, pd.DataFrame(rows).assign(score=[1.0, 0.0, 1.0, 0.0]))
    for refused in (
        evaluate.read_judged,
        lambda place: predict.calibrated_sets(place.with_name("m.keras"), 0.1),
    ):
        assert "predictions.parquet has changed since the run beside it wrote it" in refusal_line(
            refused, table
        )
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(table, tmp_path / "elsewhere")
    assert len(evaluate.read_judged(copy)[0]) == 4
