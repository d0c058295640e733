"""The command line as a user meets it: fast help, one-line refusals, honest exit codes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import leukonb


def fastest(command, tries=5):
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.alone
def test_help_and_import_are_fast():
    interpreter = fastest([sys.executable, "-c", "pass"])
    assert fastest([str(Path(sys.executable).parent / "leukonb"), "--help"]) < 0.5
    assert fastest([sys.executable, "-c", "import leukonb"]) - interpreter < 0.2


@pytest.mark.parametrize(
    "words, says",
    [
        (["run", "quik"], "did you mean 'quick'"),
        (["run", "quick", "--set", "trainin.epochs=3"], "did you mean 'training'"),
        (["run", "quick", "--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["run", "quick", "--set", "training.epochs=three"], "epochs = 'three': int is wanted"),
        (["run", "quick", "--set", "phantom.subject=3"], "no parameter 'subject'"),
        (["run", "quick", "--set", "epochs"], "experiment.parameter=value"),
        (["run", "quick", "--data", "nowhere"], "nowhere"),
        (["run", "quick", "--workers", "0"], "--workers 0"),
        (["audit", "nowhere"], "nowhere"),
        (["site"], "nothing has been run"),
    ],
)
@pytest.mark.fault(
    group="sweep",
    fault="Mistyped commands, studies, settings, folders",
    injected="the command line called so",
    promise="exit code 1, one line with the nearest known word, nothing written",
)
def test_bad_words_are_refused_in_one_line_and_leave_nothing(tmp_path, words, says, at_once):
    call = leukonb if words[-1] in ("quik", "nowhere") else at_once
    done = call(*words, cwd=tmp_path)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert says in done.stderr and not list(tmp_path.iterdir())


def test_a_mistyped_verb_is_a_usage_error():
    assert leukonb("rn").returncode == 2
    assert leukonb().returncode == 2
