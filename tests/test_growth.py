"""How the cost of a command grows: laws that are found again, sizes that fail, and what breaks first."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukonb.pages import growth
from leukonb.verbs.audit import audit_folder

LIMITS = {"seconds": 86_400.0, "memory": 24.0, "input": 100.0}


def run_program(text):
    return [sys.executable, "-c", text]


def make_rows(law, memory, sizes=(1_000, 10_000, 100_000), what="evaluate"):
    """Measurements without error: seconds by one law and memory by another."""
    rows = [{"size": n, "seconds": law(n), "memory": memory(n), "input": 1e-8 * n} for n in sizes]
    return pd.DataFrame(rows).assign(what=what, unit="rows", state="measured", said="", repeat=1)


@pytest.mark.parametrize(
    "fixed, each, power", [(8, 1e-4, 1.0), (0, 2e-6, 1.5), (20, 3e-9, 2.0), (0.4, 0.1, 0.5)]
)
def test_a_known_law_is_carried_on_to_a_hundred_times_the_size(fixed, each, power):
    known, sizes = growth.Law(fixed, each, power), [1_000, 3_000, 10_000, 30_000, 100_000]
    found = growth.fit_law(sizes, [known(n) for n in sizes])
    assert found(10**7) == pytest.approx(known(10**7), rel=1e-6)
    assert found.reach(known(10**7)) == pytest.approx(10**7, rel=1e-6)


def test_the_range_on_paper_holds_a_known_law_about_as_often_as_it_says():
    known, sizes = growth.Law(5, 2e-5, 1.2), np.repeat([1_000, 10_000, 100_000, 1_000_000], 3)
    held = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        costs = [known(n) * rng.lognormal(0, 0.05) for n in sizes]
        _, low, high = growth.carry_on(sizes, costs, 10**7, draws=80)
        held.append(low <= known(10**7) <= high)
    assert np.mean(held) > 0.85


def test_a_size_that_fails_is_a_row_that_says_why_and_larger_ones_are_not_tried():
    ends = "import os; n = sum(1 for _ in open('input.csv')) - 1\nif n > 150: os.kill(os.getpid(), 9)"
    rows = growth.measure_growth(
        growth.evaluate_work(), [400, 100, 200], repeats=2, limit=20, program=run_program(ends)
    )
    assert rows["size"].tolist() == [100, 100, 200, 400]
    assert rows.state.tolist() == ["measured", "measured", "failed", "not tried"]
    assert rows.said[2] == "ended by signal 9, as the system does where memory runs out"
    assert rows.said[3] == "not tried, for 200 rows did not end well"
    assert rows.seconds[2:].isna().all()
    (said,) = growth.tell_breaks(rows, growth.put_on_paper(rows, 1000, LIMITS))
    assert said.startswith("evaluate: 200 rows broke when they were tried: ended by signal 9")
    assert list(growth.summarise_growth(rows)["size"]) == [100]


def test_a_size_without_end_is_ended_with_all_it_started_and_says_so(tmp_path):
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    row = growth.measure_command(run_program(nested), tmp_path, limit=0.8)
    assert row == {"state": "out of time", "said": "not done after 1 s"}


def test_memory_and_computing_are_those_of_all_processes_of_a_command(tmp_path):
    holds = "import time; b = bytearray(90_000_000); b[::4096] = bytes(len(b[::4096])); time.sleep(.6)"
    spins = "import time; end = time.process_time() + .3\nwhile time.process_time() < end: pass"
    both = (
        "import subprocess, sys\n"
        f"those = [subprocess.Popen([sys.executable, '-c', p]) for p in ({holds!r}, {holds!r}, {spins!r})]\n"
        "[p.wait() for p in those]"
    )
    row = growth.measure_command(run_program(both), tmp_path, limit=20, every=0.02)
    assert row["state"] == "measured" and row["memory"] > 0.18
    assert row["computing"] >= 0.3


def test_the_variables_of_a_run_do_not_reach_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKONB_RUN", "1")
    row = growth.measure_command(
        run_program("import os; raise SystemExit('LEUKONB_RUN' in os.environ)"), tmp_path
    )
    assert row["state"] == "measured"


def test_the_limit_that_is_met_first_is_the_one_named():
    slow = make_rows(growth.Law(1, 1e-3, 1.0), growth.Law(0.2, 1e-7, 1.0))
    heavy = make_rows(growth.Law(1, 1e-5, 1.0), growth.Law(0.2, 1e-5, 1.0), what="audit")
    light = make_rows(growth.Law(1, 1e-6, 1.0), growth.Law(0.2, 1e-9, 1.0), what="plan")
    rows = pd.concat([slow, heavy, light], ignore_index=True)
    said = growth.tell_breaks(rows, growth.put_on_paper(rows, 10**8, LIMITS))
    assert "what breaks first is time: 24 hours of time are met at about 86,000,000 rows" in said[0]
    assert "what breaks first is memory: 24 GB of memory are met at about 2,400,000 rows" in said[1]
    assert "nothing breaks before that; what breaks first is room on the disk" in said[2]


def test_drawn_images_are_all_different_and_no_file_is_refused(tmp_path):
    growth.draw_images(tmp_path / "cells", 230, 16)
    found = audit_folder(tmp_path / "cells", subject_pattern="(P[0-9]+)/")
    assert (found.record["images"], found.record["subjects"], found.refused) == (230, 3, 0)


def test_audit_itself_is_measured_at_a_tiny_size():
    rows = growth.measure_growth(growth.audit_work(8), [120], repeats=1, limit=60)
    assert rows.state.tolist() == ["measured"], rows.said[0]
    assert rows.memory[0] > 0.05 and rows.computing[0] > 0.2
    assert not list(Path().glob("audit.json"))


def test_what_hardly_grew_is_not_carried_on():
    flat = make_rows(growth.Law(60, 1e-6, 1.0), growth.Law(0.2, 1e-7, 1.5))
    paper = growth.put_on_paper(flat, 10**7, LIMITS).set_index("quantity")
    assert np.isnan(paper.value["seconds"]) and np.isnan(paper.reached["seconds"])
    assert paper.value["memory"] == pytest.approx(0.2 + 1e-7 * 10**10.5, rel=1e-3)
    (said,) = growth.tell_breaks(flat, paper.reset_index())
    assert "time hardly grew (1 times), so nothing is said of more" in said and "nan" not in said
    assert not any(
        "seconds" in name and "paper" in name for name in growth.state_growth(flat, paper.reset_index())
    )
