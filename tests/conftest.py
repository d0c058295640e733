"""What the tests share: the real sample where it is at hand, and one smoke-size study with its site."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("LEUKONB_SHARED", ROOT.parent / "shared"))


def _there(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def real_sample():
    """The folder of real C-NMC images."""
    return _there(Path(os.environ.get("LEUKONB_REAL", SHARED / "cnmc-sample")))


@pytest.fixture(scope="session")
def released_metadata():
    """The folder with the digests and labels of all released files."""
    return _there(Path(os.environ.get("LEUKONB_META", SHARED / "cnmc-meta")))


@pytest.fixture(scope="session")
def peer_results():
    """The folder with a published system's predictions."""
    return _there(SHARED / "peer-results")


def leukonb(*words, **options):
    """Run the command line as a user would; its finished process."""
    command = [str(Path(sys.executable).parent / "leukonb"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=options.pop("cwd", ROOT), **options)


SMOKE = ["--smoke"]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The quick study at smoke size and its site: (runs folder, site folder)."""
    place = tmp_path_factory.mktemp("smoke")
    ran = leukonb("run", "quick", *SMOKE, "--out", place / "runs")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    built = leukonb("site", "--out", place / "runs", "--to", place / "site")
    assert built.returncode == 0, built.stdout + built.stderr
    yield place / "runs", place / "site"
    shutil.rmtree(place, ignore_errors=True)
