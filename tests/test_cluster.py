"""Studies on Dask workers, in shards and on shared GPUs, by real processes that are killed."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from leukonb.files import refusal_line
from leukonb.runs import cluster
from leukonb.runs.process import kill_tree
from leukonb.runs.record import Run, current_status, find_runs
from leukonb.runs.study import load_study, plan_study
from leukonb.runs.sweep import count_cores, execute_plan, fits_beside, pick_shard
from leukonb.runs.watch import list_status
from leukonb.runs.cluster import Place

BIN = Path(sys.executable).parent
LAST = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {'seed': 1})"
DRAW = """import os, time
with open('log', 'a') as log: log.write('x')
time.sleep(seconds)
if fail: raise ValueError('asked to')"""
GPU = """import os, time, json
began = time.time()
time.sleep(seconds)
with open('seen.json', 'w') as file: json.dump([os.environ.get('CUDA_VISIBLE_DEVICES'), began, time.time()], file)"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A folder of notebooks with small experiments, and a study's file to be written beside them."""
    place = tmp_path / "nbs" / "experiments"
    (place / "studies").mkdir(parents=True)
    head = "seed: int = 0\nseconds: float = 0.0\nfail: bool = False"
    for name, parameters, *cells in [
        ("draw", head, DRAW, LAST),
        ("device", head, GPU, LAST),
        ("mean", "draws: list[str] = []", LAST),
    ]:
        first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        nbformat.write(
            nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)]),
            place / f"{name}.ipynb",
        )
    monkeypatch.setenv("LEUKONB_NBS", str(place.parent))
    return place


def study(suite, text, head="title: T\nshows: S\nsize: smoke\nlimit: 120\n"):
    path = suite / "studies" / "s.yml"
    path.write_text(head + text)
    return path


def grid(seeds, seconds=0.0):
    return f"runs:\n  draw: {{experiment: draw, grid: {{seed: {list(range(seeds))}}}, parameters: {{seconds: {seconds}}}}}\n"


def planned(path, out):
    return plan_study(load_study(path), out)


def logs(out):
    """How often each run's notebook was begun."""
    return [log.read_text() for log in sorted(out.glob("s/*/*/log"))]


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


def begun(out):
    return [r for r in find_runs(out) if r.status["status"] == "running" and (r.folder / "log").exists()]


def leukonb(*words):
    return subprocess.Popen(
        [BIN / "leukonb", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextlib.contextmanager
def by_hand(*words):
    """A process of Dask's own command line, killed with all it started."""
    process = subprocess.Popen(
        [BIN / "dask", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        kill_tree(process)
        process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def scheduler(port):
    return by_hand("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")


def worker(port, *more):
    return by_hand(
        "worker", f"tcp://127.0.0.1:{port}", "--nthreads", 1, "--no-dashboard", "--no-nanny", *more
    )


def open_to_others():
    """The addresses beside loopback that this process and its descendants listen on."""
    me = psutil.Process()
    ports = [
        c
        for p in [me, *me.children(recursive=True)]
        for c in p.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    ]
    assert ports
    return {c.laddr for c in ports if not c.laddr.ip.startswith("127.")}


KNOCK = """import socket, ssl, sys
def knock(port, how):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            with how(plain) as line:
                line.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                return bool(line.recv(1))
    except OSError:
        return False
anyone = ssl.create_default_context()
anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
answers = [knock(int(port), how) for port in sys.argv[1:] for how in (lambda s: s, anyone.wrap_socket)]
assert not any(answers), answers
"""


def ports_of_ours():
    """The ports that this process and its descendants listen on."""
    me = psutil.Process()
    found = [c for p in [me, *me.children(recursive=True)] for c in p.net_connections("tcp")]
    return {c.laddr.port for c in found if c.status == psutil.CONN_LISTEN}


@pytest.mark.fault(
    group="sweep",
    fault="Another account of the machine finds the ports of a local cluster",
    injected="a client without, and with another certificate; plain and encrypted bytes to each port, as nobody too",
    promise="no port of the cluster answers one that lacks the certificate; there is no dashboard",
)
def test_a_local_cluster_answers_nobody_without_its_certificate(tmp_path):
    from distributed import Client
    from distributed.security import Security

    before, pool = ports_of_ours(), cluster.connect_cluster(Place("local", workers=1))
    try:
        until(lambda: len(ports_of_ours() - before) == 3)  # scheduler, nanny, worker: no dashboard
        address, ports = pool.address, ports_of_ours() - before
        assert address.startswith("tls://127.0.0.1:") and int(address.rpartition(":")[2]) in ports
        assert not open_to_others()
        for security in (None, Security.temporary()):
            tried = address if security else address.replace("tls", "tcp")
            with pytest.raises((OSError, ValueError)):
                Client(tried, security=security, timeout=1, set_as_default=False)
        python = next((p for p in (sys.executable, "/usr/bin/python3") if others_may_run(p)), sys.executable)
        user = {"user": 65534} if os.geteuid() == 0 and others_may_run(python) else {}
        subprocess.run([python, "-c", KNOCK, *map(str, ports)], cwd="/", check=True, **user)
    finally:
        pool.close()


def others_may_run(program):
    """Whether an account without rights of its own may start a program."""
    place = Path(program).resolve()
    return place.is_file() and all(p.stat().st_mode & 1 for p in [place, *place.parents])


@pytest.mark.fault(
    group="sweep",
    fault="A worker of this machine is killed",
    injected="SIGKILL to a worker with the run it had, in a study of six runs on two workers",
    promise="that run is started again and this is said; no other run is touched; nothing listens beyond loopback",
)
def test_a_worker_killed_in_the_middle_costs_one_run_only(suite, tmp_path):
    out, said, seen = tmp_path / "out", [], []
    plan = planned(study(suite, grid(6, seconds=1)), out)
    pool = cluster.connect_cluster(Place("local", workers=2))

    def kill():
        run = until(lambda: begun(out))[0]
        seen.append(open_to_others())
        child = psutil.Process(run.status["pid"])
        family = [child.parent(), child, *child.children(recursive=True)]
        for process in family:
            process.kill()
        seen.append(run.name)

    killer = threading.Thread(target=kill)
    killer.start()
    ended = execute_plan(plan, pool=pool, show=lambda p, state: said.append((p.run.name, state)))
    killer.join()
    assert [s["status"] for s in ended] == ["done"] * 6
    assert sorted(logs(out)) == ["x"] * 5 + ["xx"]
    assert seen[0] == set()
    lost = [(name, s["error"]) for name, s in said if s["status"] == "lost"]
    assert (seen[1], "its worker is gone; started again, 1 of 3 times") in lost
    variables = [json.loads(p.read_text())["environment"]["variables"] for p in out.glob("s/*/*/run.json")]
    assert {v["OMP_NUM_THREADS"] for v in variables} == {str(max(1, count_cores() // 2))}


@pytest.mark.long
@pytest.mark.fault(
    group="sweep",
    fault="A worker of this machine leaves by itself",
    injected="sys.exit in the only worker",
    promise="another is started in its place, and the study ends well",
)
def test_a_worker_that_leaves_is_replaced(suite, tmp_path):
    plan = planned(study(suite, grid(3)), tmp_path / "out")
    pool = cluster.connect_cluster(Place("local", workers=1))
    before = set(pool.workers)
    pool.client.run(lambda dask_worker: dask_worker.loop.asyncio_loop.call_later(0.1, sys.exit, 0) and None)
    until(lambda: before.isdisjoint(pool.client.scheduler_info()["workers"]))
    assert [s["status"] for s in execute_plan(plan, pool=pool)] == ["done"] * 3
    assert logs(tmp_path / "out") == ["x"] * 3


@pytest.mark.fault(
    group="sweep",
    fault="Two clusters do one study",
    injected="two schedulers started by hand, a command for each at the same moment",
    promise="every run is done once, both commands end well",
)
def test_two_schedulers_do_one_study_once(suite, tmp_path):
    out, path = tmp_path / "out", study(suite, grid(4, seconds=0.3))
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(scheduler(port))
            stack.enter_context(worker(port))
        commands = [leukonb("run", path, "--out", out, "--cluster", f"127.0.0.1:{port}") for port in ports]
        said = [command.communicate(timeout=200) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], said
    assert logs(out) == ["x"] * 4


@pytest.mark.fault(
    group="sweep",
    fault="No worker comes; then the scheduler dies and comes back",
    injected="a scheduler without workers; SIGKILL to it while a run is at work, another started at its address",
    promise="both are said; the same command finishes the study",
)
def test_without_a_worker_it_is_said_and_a_lost_scheduler_is_found_again(suite, tmp_path):
    out, path, port = tmp_path / "out", study(suite, grid(2, seconds=2)), free_port()
    with scheduler(port) as first:
        until(
            lambda: (
                subprocess.run(
                    [sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}))"],
                    capture_output=True,
                ).returncode
                == 0
            )
        )
        command = leukonb("run", path, "--out", out, "--cluster", f"tcp://127.0.0.1:{port}")
        open_to_all, line = command.stderr.readline(), command.stderr.readline()
        assert "every account of this machine" in open_to_all and "--tls CA CERT KEY" in open_to_all
        assert f"no worker is connected to tcp://127.0.0.1:{port}" in line and "dask worker" in line
        with worker(port):
            until(lambda: begun(out))
            first.kill()
            first.wait()
            assert any("does not answer" in line for line in command.stderr)  # said before another comes
            with scheduler(port), worker(port):
                said = command.communicate(timeout=100)
    assert command.returncode == 0, said
    assert all(run.done for run in find_runs(out)) and len(logs(out)) == 2


@pytest.mark.fault(
    group="sweep",
    fault="The scheduler dies and stays away",
    injected="SIGKILL to it between two runs",
    promise="exit code 75 and how to go on; run again, what was done is not done again",
)
def test_a_scheduler_that_stays_away_ends_with_75_and_the_rerun_repeats_nothing(suite, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "5s")
    out, path, port = tmp_path / "out", study(suite, grid(2, seconds=1)), free_port()
    with scheduler(port) as first, worker(port):
        command = leukonb("run", path, "--out", out, "--cluster", f"tcp://127.0.0.1:{port}")
        until(lambda: any(run.done for run in find_runs(out)))
        first.kill()
        said = command.communicate(timeout=100)
    assert command.returncode == 75 and said[1].strip().splitlines()[-1].endswith(
        "run the same command when it is back"
    ), said
    finished = {run.folder: run.notebook.stat().st_mtime_ns for run in find_runs(out) if run.done}
    assert [s["status"] for s in execute_plan(planned(path, out))] == ["done"] * 2
    assert all(Run.read(folder).notebook.stat().st_mtime_ns == then for folder, then in finished.items())


@pytest.mark.fault(
    group="sweep",
    fault="A worker has another version of the package, or not the file system",
    injected="the planned digest changed, the run's folder removed",
    promise="refused with what differs, before the notebook starts",
)
def test_a_worker_with_another_package_is_refused(suite, tmp_path):
    plan = planned(study(suite, grid(1)), tmp_path)
    run = plan[0].run
    run.folder.mkdir(parents=True)
    cluster._check_same(run, plan[0].notebook)
    run.manifest["inputs"] = {**run.manifest["inputs"], "package": "another"}
    assert "its package differ from those of the plan" in refusal_line(
        cluster._check_same, run, plan[0].notebook
    )
    run.folder.rmdir()
    assert "one file system" in refusal_line(cluster._check_same, run, plan[0].notebook)


@pytest.mark.parametrize(
    "words, says",
    [
        (["--cluster", "lokal"], "did you mean 'local'"),
        (["--cluster", "tcp://127.0.0.1"], "tcp://HOST:PORT"),
        (["--cluster", "tcp://192.0.2.1:8786"], "not encrypted.*tls://192.0.2.1:8786"),
        (["--cluster", "tls://192.0.2.1:8786"], "needs --tls"),
        (["--cluster", "local", "--bind", "0.0.0.0"], "--bind 0.0.0.0.*add --tls"),
        (["--cluster", "local", "--tls", "ca.pem", "cert.pem", "key.pem"], "--tls ca.pem.*No such file"),
        (["--cluster", "local", "--cluster-config", "no.yml"], "no.yml"),
        (["--bind", "127.0.0.1"], "goes with --cluster"),
        (["--cluster", "kubernetes", "--tls", "ca.pem", "cert.pem", "key.pem"], "takes no certificates"),
        (["--cluster", "127.0.0.1:9"], "no scheduler answers at tcp://127.0.0.1:9"),
        (["--shard", "3/2"], "write i/n"),
        (["--workers", "0"], "at least 1"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused(suite, tmp_path, capsys, words, says):
    from dask import config
    from leukonb.cli import main

    with config.set({"distributed.comm.timeouts.connect": "2s"}):
        ended = main(["run", str(study(suite, grid(1))), "--out", str(tmp_path / "out"), *words])
    line = capsys.readouterr().err
    assert ended == 1 and re.search(says, line) and len(line.strip().splitlines()) == 1, line
    assert not find_runs(tmp_path / "out")


@pytest.mark.parametrize(
    "place, package",
    [
        (Place("slurm"), "dask-jobqueue"),
        (Place("kubernetes"), "dask-kubernetes"),
        (Place("local"), "distributed"),
        (Place("127.0.0.1:8786"), "distributed"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, place, package):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    line = refusal_line(cluster.check_place, place)
    assert line.endswith(f"needs the package {package}: pip install 'leukonb[cluster]'")


def certificates(place):
    """An authority and a certificate of this machine: ca, cert, key."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=test",
        "-days",
        "2",
    )
    openssl(
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "request.pem",
        "-subj",
        "/CN=worker",
    )
    openssl(
        "x509",
        "-req",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "cert.pem",
        "-days",
        "2",
    )
    return tuple(place / name for name in ("ca.pem", "cert.pem", "key.pem"))


@pytest.mark.fault(
    group="sweep",
    fault="A scheduler on all addresses of the machine",
    injected="a client without certificates",
    promise="it is turned away",
)
def test_beyond_loopback_all_is_encrypted(suite, tmp_path):
    from distributed import Client

    try:
        files = certificates(tmp_path)
    except FileNotFoundError:
        pytest.skip("there is no openssl here to make certificates with")
    plan = planned(study(suite, grid(1)), tmp_path / "out")
    pool = cluster.connect_cluster(Place("local", workers=1, bind="0.0.0.0", tls=files))
    assert pool.address.startswith("tls://") and all(w.startswith("tls://") for w in pool.workers)
    with pytest.raises(OSError):
        Client(pool.address.replace("tls://", "tcp://"), timeout=1, set_as_default=False)
    assert [s["status"] for s in execute_plan(plan, pool=pool)] == ["done"]


@pytest.mark.fault(
    group="sweep",
    fault="A shard needs runs of another",
    injected="shards one after another, the one that needs others first",
    promise="what waits is said with exit code 75; all shards, once more, complete the study and repeat nothing",
)
def test_shards_one_after_another_and_again_complete_a_study(suite, tmp_path):
    text = grid(2) + "  mean: {experiment: mean, needs: {draws: draw}}\n"
    path, out = study(suite, text), tmp_path / "out"
    shares = [pick_shard(planned(path, out), f"{i}/2") for i in (1, 2)]
    assert set.union(*shares) == {0, 1, 2} and not set.intersection(*shares)
    late = next(i for i, share in enumerate(shares) if 2 in share)
    first = leukonb("run", path, "--out", out, "--shard", f"{late + 1}/2")
    said = first.communicate(timeout=100)
    assert first.returncode == 75 and "1 run waits for runs of other shards" in said[1], said
    assert len(logs(out)) == len(shares[late]) - 1
    plan = planned(path, out)
    for _ in range(2):
        for share in shares:
            execute_plan(plan, mine=share)
    assert all(p.run.done for p in plan) and logs(out) == ["x"] * 2


@pytest.mark.fault(
    group="sweep",
    fault="More runs than GPUs, by two studies at once",
    injected="two GPUs by name, five runs, two commands",
    promise="no two runs see one GPU at one time",
)
def test_a_gpu_is_never_shared(suite, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKONB_GPUS", "one,two")
    monkeypatch.setenv("LEUKONB_GPU_LOCKS", str(tmp_path / "locks"))
    text = "runs:\n  a: {experiment: device, grid: {seed: [0, 1, 2, 3]}, parameters: {seconds: 0.5}}\n  none: {experiment: device, gpu: false}\n"
    plan = planned(study(suite, text), tmp_path / "out")
    halves = [plan[:2], plan[2:]]
    ends = []
    both = [
        threading.Thread(target=lambda half=half: ends.extend(execute_plan(half, workers=3)))
        for half in halves
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert [s["status"] for s in ends] == ["done"] * 5
    seen = [json.loads((p.run.folder / "seen.json").read_text()) for p in plan]
    assert {device for device, *_ in seen[:4]} == {"one", "two"} and seen[4][0] == "-1"
    assert all(p.run.status["gpu"] == device for p, (device, *_) in zip(plan, seen[:4]))
    for device in ("one", "two"):
        spans = sorted((began, over) for name, began, over in seen if name == device)
        assert all(over <= began for (_, over), (began, _) in zip(spans, spans[1:])), spans


def test_memory_bounds_how_many_go_at_once(suite, tmp_path):
    path = study(suite, "memory: 4 GB\n" + grid(2) + "  big: {experiment: draw, memory: 60 GB, gpu: false}\n")
    plan = planned(path, tmp_path)
    assert [(p.memory, p.gpu) for p in plan] == [(4 * 10**9, True)] * 2 + [(60 * 10**9, False)]
    a, b, big = plan
    assert fits_beside(a, [b], 9, 8 * 10**9, 0) and not fits_beside(a, [b], 9, 7 * 10**9, 0)
    assert fits_beside(big, [], 9, 7 * 10**9, 0) and not fits_beside(big, [a], 9, 7 * 10**9, 0)
    assert "s.yml, line 5: memory = 'much'" in refusal_line(
        planned, study(suite, "memory: much\n" + grid(1)), tmp_path
    )


@pytest.mark.fault(
    group="sweep",
    fault="The process of a run is killed",
    injected="SIGKILL to it and its kernel",
    promise="started again, and this is said; a notebook that fails is not",
)
def test_a_killed_process_is_started_again_and_a_failed_notebook_is_not(suite, tmp_path):
    text = "runs:\n  killed: {experiment: draw, parameters: {seconds: 2}}\n  bad: {experiment: draw, parameters: {fail: true}}\n"
    out, said = tmp_path / "out", []
    plan = planned(study(suite, text), out)

    def kill():
        run = until(lambda: [r for r in begun(out) if r.name == "killed"])[0]
        child = psutil.Process(run.status["pid"])
        for process in [child, *child.children(recursive=True)]:
            process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    ended = execute_plan(plan, workers=2, show=lambda p, state: said.append(state))
    killer.join()
    assert [s["status"] for s in ended] == ["done", "failed"]
    assert [(p.run.folder / "log").read_text() for p in plan] == ["xx", "x"]
    assert [s["error"] for s in said if s["status"] == "lost"] == [
        "its process is gone; started again, 1 of 3 times"
    ]


@pytest.mark.fault(
    group="sweep",
    fault="The process of a run is stopped, and its parent is gone",
    injected="SIGSTOP, SIGKILL to the parent",
    promise="status says since when there is no sign of life; going on, the run ends at its limit",
)
def test_a_quiet_process_is_said_and_an_orphan_meets_its_limit(suite, tmp_path, capsys):
    from leukonb.cli import main

    path, out = (
        study(suite, grid(1, seconds=600), head="title: T\nshows: S\nsize: smoke\nlimit: 8\n"),
        tmp_path / "out",
    )
    command = leukonb("run", path, "--out", out)
    run = until(lambda: [r for r in find_runs(out) if r.heartbeat is not None])[0]
    command.kill()
    command.communicate()
    child = psutil.Process(run.status["pid"])
    child.send_signal(signal.SIGSTOP)
    os.utime(run.folder / ".heartbeat", (time.time() - 300,) * 2)
    main(["status", "--out", str(out), "--json"])
    [row] = json.loads(capsys.readouterr().out)
    assert (
        row["status"] == "running" and "no sign of life for 5 min" in row["reason"] and row["heartbeat"] > 290
    )
    child.send_signal(signal.SIGCONT)
    until(lambda: run.status["status"] != "running", 30)
    assert run.status["status"] == "timeout"
    until(lambda: not psutil.pid_exists(child.pid), 30)


def test_status_lists_what_has_not_begun_and_what_is_older_than_its_code(suite, tmp_path):
    path = study(suite, grid(1) + "  mean: {experiment: mean, needs: {draws: draw}}\n")
    plan = planned(path, tmp_path / "out")
    execute_plan(plan, mine={0})
    listed = list_status(tmp_path / "out").set_index("experiment")
    assert dict(listed.status) == {"draw": "done", "mean": "planned"} and listed.reason["mean"] == "not begun"
    notebook = nbformat.read(suite / "draw.ipynb", 4)
    notebook.cells.append(nbformat.v4.new_code_cell("1"))
    nbformat.write(notebook, suite / "draw.ipynb")
    assert current_status(plan[0].run)["status"] == "stale" and plan[0].run.done


def test_the_list_that_stays_follows_the_runs_until_ctrl_c(suite, tmp_path):
    pty = pytest.importorskip("pty")
    out, path = tmp_path / "out", study(suite, grid(1))
    ours, its = pty.openpty()

    def hear():  # a shell's background job would pass on that the signal is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    watching = subprocess.Popen(
        [BIN / "leukonb", "status", "--watch", "--out", out],
        stdin=its,
        stdout=its,
        stderr=its,
        preexec_fn=hear,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(its)
    shown = []

    def read():
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 4096):
                shown.append(chunk.decode(errors="replace"))

    threading.Thread(target=read, daemon=True).start()
    until(lambda: "study" in "".join(shown))
    assert "done" not in "".join(shown)
    execute_plan(planned(path, out))
    until(lambda: "done" in "".join(shown))
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 0 and "Traceback" not in "".join(shown)


@pytest.mark.parametrize(
    "declared, begun_at", [("GPU=1 MEMORY=8e9", True), ("", True), ("GPU=1 MEMORY=1e9", False)]
)
def test_declared_resources_decide_where_a_run_may_go(
    suite, tmp_path, capsys, monkeypatch, declared, begun_at
):
    monkeypatch.setattr(cluster, "PATIENCE", 2.0)
    path, port = study(suite, "runs:\n  a: {experiment: draw, memory: 4 GB, gpu: true}\n"), free_port()
    with scheduler(port), worker(port, *(["--resources", declared] if declared else [])):
        until(
            lambda: (
                subprocess.run(
                    [sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}))"],
                    capture_output=True,
                ).returncode
                == 0
            )
        )
        pool, stop = cluster.connect_cluster(Place(f"127.0.0.1:{port}")), threading.Event()
        until(lambda: pool.ask() or pool.workers)
        (p,) = planned(path, tmp_path / "out")
        future = pool.start(p, stop)
        until(
            lambda: (
                pool.look(stop)
                or future.done()
                or (not begun_at and "no worker has" in capsys.readouterr().err)
            ),
            100,
        )
        assert future.done() == begun_at
        if begun_at:
            assert future.result()["status"] == "done"
        pool.client.close()
