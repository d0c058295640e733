"""What `make test` says and ends with, where one of its checks fails: its script, with programs that only say so."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

PYTHON = """#!/bin/sh
case "$*" in
  *pytest*"not alone"*) name=tests;; *pytest*tests/test_clock.py*) name=clock;; *compileall*) exit 0;;
  *--numbers*) name=density;; *style*) name=style;; *) name=outputs;;
esac
echo "begins $name" >&2
case "$*" in *--durations=10*) echo "ten slowest of $name";; esac
touch "begun-$name"
case "$FIRST $name" in "tests outputs"|"outputs tests")
  for i in $(seq 100); do [ -e "ended-$FIRST" ] && break; sleep .1; done; sleep .3;;
esac
case " $STUCK " in *" $name "*) trap "exit 2" INT; sleep 60;; esac
touch "ended-$name"
case " $WRONG " in *" $name "*) echo "what is wrong in $name"; exit 3;; esac
echo "total of $name"
"""


@pytest.fixture
def place(tmp_path):
    """A checkout of nothing but the script, and the programs it calls."""
    for folder in ("tests", "nbs", "leukonb", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(Path(__file__).with_name("check.sh"), tmp_path / "tests")
    (tmp_path / "nbs" / "a.ipynb").touch()
    (tmp_path / "tests" / "test_clock.py").write_text("@pytest.mark.alone")
    for name, text in (
        ("python", PYTHON),
        ("nbdev_clean", "#!/bin/sh\n"),
        ("nbdev_export", "#!/bin/sh\n"),
    ):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def hear():
    """Ctrl-C is heard as at a terminal, even where these tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(place, **said):
    env = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", **said}
    words = dict(cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen(["bash", "tests/check.sh"], start_new_session=True, preexec_fn=hear, **words)


def checked(place, **said):
    process = started(place, **said)
    text = process.communicate(timeout=30)[0]
    return process.returncode, text


def test_every_check_is_made_and_their_lines_do_not_mix(place):
    code, said = checked(place, FIRST="outputs")
    assert code == 0 and "FAILED" not in said
    assert said.count("ten slowest of tests") == said.count("ten slowest of clock") == 1
    lines = [line for line in said.splitlines() if line.startswith(("total", "=="))]
    assert lines == [
        "== notebooks and modules in sync",
        "== pytest",
        "total of tests",
        "== style",
        "total of style",
        "total of density",
        "== examples in the notebooks",
        "total of outputs",
        "== pytest, what measures time",
        "total of clock",
    ]


@pytest.mark.parametrize("wrong", ["style", "density", "outputs", "tests", "clock"])
def test_each_check_that_fails_fails_the_whole_and_says_why(place, wrong):
    code, said = checked(place, WRONG=wrong)
    assert code != 0 and f"what is wrong in {wrong}" in said
    assert "total of clock" in said or wrong == "clock"


def test_notebooks_that_end_last_are_waited_for(place):
    code, said = checked(place, WRONG="outputs", FIRST="tests")
    assert code != 0 and "what is wrong in outputs" in said and "total of tests" in said


def test_a_notebook_s_failure_is_said_while_the_tests_still_run(place):
    code, said = checked(place, WRONG="outputs", FIRST="outputs")
    lines = said.splitlines()
    told = next(i for i, line in enumerate(lines) if line.startswith("== FAILED: examples in the notebooks"))
    assert told < lines.index("total of tests") < lines.index("what is wrong in outputs")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_what_is_beside_the_tests_ends_with_them(place, sign):
    process = started(place, STUCK="tests outputs")
    while not all((place / f"begun-{name}").exists() for name in ("tests", "outputs")):
        time.sleep(0.05)
    os.killpg(process.pid, sign)
    said = process.communicate(timeout=20)[0]  # until nobody holds the pipe
    assert process.returncode != 0 and "measures time" not in said


def test_a_module_that_is_not_its_notebook_s_stops_all(place):
    (place / "bin" / "nbdev_export").write_text("#!/bin/sh\necho more >> nbs/a.ipynb\n")
    code, said = checked(place)
    assert code == 1 and "nbs/a.ipynb" in said and "== pytest" not in said
