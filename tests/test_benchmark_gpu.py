"""The GPU benchmark: parts by name, each in its process and its time, and calls that join into one record."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from leukonb import cli
from leukonb.data import cohort, phantom
from leukonb.files import Refusal
from leukonb.pages import gpu_benchmark
from leukonb.pages.gpu_parts import MEASURES
from leukonb.pages.gpu_rates import SMALLEST
from leukonb.verbs.site_guides import describe_speed, list_unmeasured

JAX = Path(sys.prefix) / "jax"  # a folder of its own (Makefile)

STAND_IN = """import json, os, pathlib, sys, time
place = pathlib.Path(sys.argv[1])
job = json.loads((place / "job.json").read_text())
note = pathlib.Path(job["setting"]["rival"])
def say(what):
    with note.open("a") as file: file.write(f"{job['part']} {what} {time.monotonic()}\\n")
say("compiles")
time.sleep(0.15)
say("compiled")
(place / "ready").touch()
while not (place / "go").exists(): time.sleep(0.005)
say("begins")
if job["setting"].get("seed") == 7: time.sleep(15)
time.sleep(0.1)
say("ends")
row = {"what": job["part"], "unit": "images/s", "value": 1.0, "low": 1.0, "high": 1.0, "repeats": 1}
end = {"state": "measured", "said": "", "rows": [row], "seconds": 1.0, "memory": 1, "memory_of": "the card"}
where = {"card": "NVIDIA H200", "driver": "580", "backend": "jax", "precision": "mixed_bfloat16"}
(place / "result.json").write_text(json.dumps({**end, **where}))
"""


def measure(place, texts, monkeypatch, **terms):
    """A call of stand-ins: how its parts ended, and what they noted while they were at work."""
    monkeypatch.setattr(gpu_benchmark, "_RUN", STAND_IN)
    note = place / f"{len(list(place.iterdir()))}.txt"
    setting = {"cohort": "c", "rival": str(note), **terms.pop("setting", {})}
    jobs = gpu_benchmark.read_parts(texts, 32, 8)
    ended = gpu_benchmark.measure_parts(jobs, setting, place / "call/parts", **terms)
    rows = [line.split() for line in note.read_text().splitlines()] if note.is_file() else []
    return ended, pd.DataFrame(rows, columns=["part", "what", "at"]).astype({"at": float})


def test_two_compile_at_a_time_and_each_is_timed_while_nothing_else_works(tmp_path, monkeypatch):
    ended, notes = measure(tmp_path, ["pipeline", "bare", "keras", "inference"], monkeypatch)
    assert [part["state"] for part in ended] == ["measured"] * 5
    at = notes.pivot(index="part", columns="what", values="at")
    for part, own in at.iterrows():
        others = at.drop(part)
        assert not ((others.compiles < own.ends) & (others.compiled > own.begins)).any(), part
        assert not ((others.begins < own.ends) & (others.ends > own.begins)).any(), part
        assert ((others.compiles <= own.compiles) & (others.compiled > own.compiles)).sum() <= 2, part
    first = at.compiles.loc[["card", "pipeline", "bare"]].max()
    assert (
        at.compiles.loc[["keras", "inference"]].min()
        > at.ends.loc[["card", "pipeline", "bare"]].max()
        > first
    )


def test_a_call_ends_within_its_minutes_and_says_what_it_left(tmp_path, monkeypatch):
    began = time.monotonic()
    slow = {"setting": {"seed": 7}, "minutes": 1.5 / 60}
    ended, _ = measure(tmp_path, ["pipeline", "bare", "keras"], monkeypatch, **slow)
    assert time.monotonic() - began < 10
    states = {part["part"]: (part["state"], part["said"]) for part in ended}
    assert states["card"] == ("out of time", "the call's time was over")
    assert states["keras"] == ("not started", "no time was left in this call")
    parts = gpu_benchmark.join_calls(tmp_path / "call")
    assert gpu_benchmark.tell_rest(parts) == "leukonb run benchmark-gpu --parts keras@32/8"


def test_a_part_that_nobody_waits_for_ends_by_itself(tmp_path):
    lines = [
        "import subprocess, sys, pathlib",
        "code = 'import pathlib, sys; from leukonb.pages import gpu_parts; '",
        "code += 'gpu_parts._wait_for_turn(pathlib.Path(sys.argv[1]))'",
        "child = subprocess.Popen([sys.executable, '-c', code, sys.argv[1]], stdout=subprocess.DEVNULL)",
        "print(child.pid, flush=True)",
        "while not pathlib.Path(sys.argv[1], 'ready').exists(): pass",
    ]
    starter = subprocess.run([sys.executable, "-c", "\n".join(lines), str(tmp_path)], stdout=subprocess.PIPE)
    child, end = int(starter.stdout), time.monotonic() + 10
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    (tmp_path / "go").touch()  # so that nothing stays behind where this fails
    assert time.monotonic() < end


def is_alive(pid):
    """Whether a process is there and is more than a row in the table."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_every_part_of_the_list_is_measured_by_something():
    assert list(gpu_benchmark.PARTS) == list(MEASURES)


def test_parts_are_asked_for_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = {}

    def prepare(name, out, data, settings, *rest, **terms):
        seen["settings"] = settings
        raise Refusal("enough is known")

    monkeypatch.setattr("leukonb.verbs.run.prepare_study", prepare)
    words = ["--parts", "bare,pipeline@384/8", "--set", "benchmark-gpu.again=1"]
    assert cli.main(["run", "benchmark-gpu", *words]) == 1
    assert "enough is known" in capsys.readouterr().err
    assert seen["settings"] == ["benchmark-gpu.again=1", "benchmark-gpu.parts=[bare,pipeline@384/8]"]


def test_parts_of_another_study_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "released", "--parts", "bare"]) == 1
    assert "benchmark-gpu" in capsys.readouterr().err


def test_the_page_on_speed_shows_a_record_of_a_card(tmp_path, monkeypatch):
    folder = tmp_path / "benchmark-gpu" / "card-ab"
    folder.mkdir(parents=True)
    row = {"value": 90.0, "low": 80.0, "high": 100.0, "unit": "images/s", "repeats": 3}
    where = {"card": "NVIDIA H200", "driver": "580.1", "backend": "jax 0.1", "precision": "mixed_bfloat16"}
    part = {"part": "pipeline", "size": 300, "batch": 64, "state": "measured", "said": "", "call": "card-ab"}
    names = ("training, real pipeline", "training, constant batch")
    part |= {"rows": [{"what": name, **row} for name in names], "memory": 1e9, **where}
    lost = {**part, "part": "bare", "state": "out of memory", "said": "80 GB", "rows": []}
    gpu_benchmark.tabulate_ratios([part]).to_csv(folder / "ratios.csv", index=False)
    gpu_benchmark.tabulate_ends([part, lost]).to_csv(folder / "ends.csv", index=False)
    notes = ["NVIDIA H200", *gpu_benchmark.list_unmeasured_parts(gpu_benchmark.tabulate_ends([part, lost]))]
    run = SimpleNamespace(experiment="benchmark-gpu", done=True, folder=folder, status={"finished": 1.0})
    run.manifest = {"environment": {"device": "a processor"}, "size": "full"}
    run.result, run.notebook = {"notes": notes, "headline": {}}, folder / "benchmark-gpu.ipynb"
    page = "".join(describe_speed([run], {folder: "runs/card.html"}))
    for said in (
        "NVIDIA H200",
        "580.1",
        "constant batch",
        "bare@300/64: out of memory, 80 GB",
        "runs/card.html",
    ):
        assert said in page, said
    run.manifest["size"] = "smoke"  # whose figures mean nothing
    assert "NVIDIA H200" not in "".join(describe_speed([run], {}))
    run.manifest["size"] = "full"
    assert not any("graphics card" in line for line in list_unmeasured([run]))
    assert any("graphics card" in line for line in list_unmeasured([]))


# What a part says is asked for here, and not how soon: other work on the machine shall not end it.
MEASURE = """
import json, sys
from leukonb.files import read_json
from leukonb.pages import gpu_benchmark
setting, parts, folder = json.loads(sys.argv[1])
jobs = gpu_benchmark.read_parts(parts, setting.pop("size"), setting.pop("batch"))
ended = gpu_benchmark.measure_parts(jobs, setting, folder, minutes=40, at_once=1)
print("ended:" + json.dumps(ended))
"""


def measure_for_real(place, parts, **environment):
    """Parts at the smallest size, each in its own process, under a backend."""
    drawn = phantom.draw_cohort(place / "drawn", 24, 2, 64, seed=0, progress=False)
    cohort.save_cohort(cohort.index_cohort(drawn), place / "cohort")
    setting = asdict(replace(SMALLEST, cohort=str(place / "cohort")))
    words = [sys.executable, "-c", MEASURE, json.dumps([setting, parts, str(place / "parts")])]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment})
    said = [line[6:] for line in done.stdout.splitlines() if line.startswith("ended:")]
    assert said, done.stderr[-2000:]
    return {part["part"]: part for part in json.loads(said[0])}


@pytest.mark.extras
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_part_that_needs_no_torch_is_measured_under_each_backend(backend, tmp_path):
    if backend == "jax" and not (find_spec("jax") or JAX.is_dir()):
        pytest.skip("jax is not installed here; make test installs it")
    paths = {"PYTHONPATH": str(JAX)} if backend == "jax" and not find_spec("jax") else {}
    parts = [name for name in gpu_benchmark.PARTS if not name.startswith("timm")]
    ended = measure_for_real(tmp_path, parts, KERAS_BACKEND=backend, **paths)
    assert {name: part["said"] for name, part in ended.items() if part["state"] != "measured"} == {}
    assert all(part["backend"].startswith(backend) and part["precision"] for part in ended.values())
    resumed = [row["value"] for row in ended["resume"]["rows"]]
    assert resumed == [0, 0]  # one processor adds in one order
    score = ended["cohort"]["rows"][0]
    assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
    assert ended["pipeline"]["rows"][0]["value"] > 0


@pytest.mark.extras
def test_timm_is_measured_where_torch_is_there(tmp_path):
    pytest.importorskip("timm")
    setting = {"timm-eager": "measured", "timm-graphs": "not measured"}
    ended = measure_for_real(tmp_path, list(setting))
    assert {name: ended[name]["state"] for name in setting} == setting
    assert ended["timm-eager"]["backend"].startswith("torch") and ended["timm-eager"]["rows"][0]["value"] > 0
