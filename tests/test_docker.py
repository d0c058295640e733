"""The Dockerfile: read as Docker reads it, linted by hadolint, and built where there is a Docker."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KNOWN = set("FROM RUN USER WORKDIR COPY CMD ENV ARG LABEL ENTRYPOINT EXPOSE VOLUME".split())


def read_instructions(text):
    """(instruction, arguments) of each instruction, lines that go on joined and comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\s*\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in whole.splitlines()]


def find_faults(text, root=ROOT):
    """What of a Dockerfile Docker, or a careful reader, would not take."""
    found = read_instructions(text)
    names = [name for name, *_ in found]
    arguments = {name: rest for name, *rest in found}
    if names[:1] != ["FROM"] or not re.fullmatch(r"python:3\.1[123]-[\w.-]+", " ".join(arguments["FROM"])):
        yield "it begins with a Python that is locked, by its tag"
    yield from (f"{name} is no instruction" for name in names if name not in KNOWN)
    runs = [rest for name, rest in found if name == "RUN"]
    for run in runs:
        if "apt-get install" in run and not all(
            word in run
            for word in ("apt-get update", " -y ", "--no-install-recommends", "rm -rf /var/lib/apt/lists")
        ):
            yield "packages are installed without questions, and without what is not needed"
    makefile = (root / "Makefile").read_text()
    known = {*re.findall(r"^([\w.-]+):", makefile, re.M), ".venv/.ready-cpu", ".venv/.ready-gpu"}
    asked = [
        word
        for run in runs
        for word in re.findall(r"\bmake (?!\\|&)(\.?[\w./-]+)", run)
        if "apt-get" not in run
    ]
    command = json.loads(arguments["CMD"][0]) if names[-1:] == ["CMD"] else []
    yield from (f"make {target} is no target" for target in [*asked, *command[1:]] if target not in known)
    if command != ["make", "report"]:
        yield "it ends in make report"
    if "USER" not in names or arguments["USER"][0] in ("root", "0"):
        yield "it runs as an ordinary user"
    for name, rest in found:
        sources = [word for word in rest.split() if not word.startswith("--")][:-1] if name == "COPY" else []
        yield from (f"{source} is not there" for source in sources if not (root / source).exists())


def test_the_image_runs_make_report_from_what_is_there():
    assert list(find_faults((ROOT / "Dockerfile").read_text())) == []


@pytest.mark.fault(
    group="site",
    fault="A Dockerfile that would not build, or not run make report",
    injected="no tag, root, a target or a file that is not there, an unknown instruction, another last command",
    promise="found by reading it, and by hadolint in make test-extras; built where there is a Docker",
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("python:3.12-slim-bookworm", "python:latest"),
        ("USER leukonb", "USER root"),
        ("make .venv/.ready-cpu", "make everything"),
        ('["make", "report"]', '["make", "test"]'),
        (" --no-install-recommends", ""),
        ("COPY --chown=leukonb:leukonb . .", "COPY --chown=leukonb:leukonb src ."),
        ("WORKDIR", "WORKDIRS"),
    ],
)
def test_a_fault_in_it_is_found(old, new):
    text = (ROOT / "Dockerfile").read_text()
    assert old in text and list(find_faults(text.replace(old, new)))


def test_nothing_goes_into_the_image_that_git_leaves_out():
    ignored, left_out = ((ROOT / name).read_text().splitlines() for name in (".gitignore", ".dockerignore"))
    wanted = [line.strip().rstrip("/") for line in ignored if line.strip() and not line.startswith("#")]
    assert wanted and {f"**/{line.lstrip('/')}" if "/" not in line[1:] else line for line in wanted} <= set(
        left_out
    )


@pytest.mark.extras
def test_hadolint_finds_nothing_in_it(tmp_path):
    hadolint = shutil.which("hadolint")
    assert hadolint, "make test-extras installs it"
    text = (ROOT / "Dockerfile").read_text()
    for content, code in ((text, 0), (text.replace("python:3.12-slim-bookworm", "python:latest"), 1)):
        (tmp_path / "Dockerfile").write_text(content)
        words = [hadolint, "--no-color", "--failure-threshold", "warning", tmp_path / "Dockerfile"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == code, done.stdout


@pytest.mark.extras
def test_docker_builds_it():
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker answers here")
    done = subprocess.run(["docker", "build", "-q", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
