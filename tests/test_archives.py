"""Archives of images: unpacked whole and once, or refused in one line with nothing written."""

import bz2
import gzip
import io
import lzma
import os
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import leukonb, on_small_disk
from test_cohort import TRAINING, encoded, facts, put

from leukonb.data import archives, audit, phantom
from leukonb.data.cohort import index_cohort
from leukonb.files import read_json, refusal_line
from leukonb.runs.record import find_runs

CELL, OTHER = encoded(1), encoded(2)
PACKERS = {
    ".zip": None,
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
    ".tar.bz2": bz2.compress,
    ".tbz2": bz2.compress,
}


def zipped(path, *members, method=zipfile.ZIP_DEFLATED):
    """A .zip of pairs: a name or a ZipInfo, and bytes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def of_mode(name, mode, **more):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tarred(path, *members):
    """A .tar, packed as its name says, of pairs: a name or a TarInfo, and bytes."""
    with tarfile.open(fileobj=(data := io.BytesIO()), mode="w") as archive:
        for info, content in members:
            info = info if isinstance(info, tarfile.TarInfo) else tarfile.TarInfo(info)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    suffix = max((s for s in PACKERS if path.name.endswith(s)), key=len)
    path.write_bytes(PACKERS[suffix](data.getvalue()))
    return path


def of_type(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def packed(path, folder):
    """A folder in an archive of any kind."""
    files = [
        (p.relative_to(folder).as_posix(), p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()
    ]
    return (zipped if path.suffix == ".zip" else tarred)(path, *files)


def overwritten(path, at, form, *values):
    """A file with a number in it replaced."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, at, *values)
    path.write_bytes(data)
    return path


def directory(path, name):
    """Where the entry of a member stands in a .zip's directory."""
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\1\2", at + 1)
    return at


def sized(path, *fields):
    """A .zip whose member bad.bmp states other sizes: (checksum, packed, unpacked); None leaves one as it is."""
    zipped(path, ("all/good.bmp", CELL), ("all/bad.bmp", OTHER), ("all/last.bmp", CELL))
    at = directory(path, "all/bad.bmp") + 16
    true = struct.unpack_from("<III", path.read_bytes(), at)
    return overwritten(
        path, at, "<III", *(t if f is None else f(t) if callable(f) else f for f, t in zip(fields, true))
    )


def overlapping(path):
    """A .zip whose two members are the same packed bytes."""
    zipped(path, ("all/a.bmp", CELL), ("all/b.bmp", CELL))
    first = struct.unpack_from("<I", path.read_bytes(), directory(path, "all/a.bmp") + 42)
    return overwritten(path, directory(path, "all/b.bmp") + 42, "<I", *first)


def encrypted(path):
    zipped(path, ("all/bad.bmp", CELL))
    return overwritten(path, directory(path, "all/bad.bmp") + 8, "<H", 1)


def cut(path, left, *members):
    made = (zipped if path.suffix == ".zip" else tarred)(
        path, *members or (("all/good.bmp", CELL), ("all/bad.bmp", os.urandom(5000)))
    )
    data = made.read_bytes()
    made.write_bytes(data[: left(len(data)) if callable(left) else left])
    return made


def headed(path, at, text):
    """A .tar whose second header holds `text` at a place, its checksum mended."""
    tarred(path, ("all/good.bmp", CELL), ("all/bad.bmp", CELL))
    data = bytearray(path.read_bytes())
    start = data.index(b"all/bad.bmp")
    data[start + at : start + at + len(text)] = text
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    path.write_bytes(data)
    return path


def broken(path):
    """A .tar whose second header is damaged."""
    tarred(path, ("all/good.bmp", CELL), ("all/bad.bmp", CELL))
    return overwritten(path, path.read_bytes().index(b"all/bad.bmp") + 3, "B", 7)


GOOD = ("all/good.bmp", CELL)
BAD = [  # fault, archive, what is said of it, who made it
    (
        "A name that leads out by ..",
        "a.zip",
        "member ../bad.bmp leads out",
        lambda p: zipped(p, GOOD, ("../bad.bmp", CELL)),
    ),
    (
        "A name that leads out by ..",
        "b.zip",
        "member all/../../bad.bmp leads out",
        lambda p: zipped(p, GOOD, ("all/../../bad.bmp", CELL)),
    ),
    (
        "A name that leads out by ..",
        "c.zip",
        r"member ..\\bad.bmp leads out",
        lambda p: zipped(p, GOOD, ("..\\bad.bmp", CELL)),
    ),
    (
        "A name that leads out by ..",
        "a.tar.gz",
        "member ../bad.bmp leads out",
        lambda p: tarred(p, GOOD, ("../bad.bmp", CELL)),
    ),
    (
        "An absolute name",
        "a.zip",
        "member /bad.bmp has an absolute name",
        lambda p: zipped(p, GOOD, ("/bad.bmp", CELL)),
    ),
    (
        "An absolute name",
        "b.zip",
        "member C:bad.bmp has an absolute name",
        lambda p: zipped(p, GOOD, ("C:bad.bmp", CELL)),
    ),
    (
        "An absolute name",
        "a.tar",
        "member /bad.bmp has an absolute name",
        lambda p: tarred(p, GOOD, ("/bad.bmp", CELL)),
    ),
    (
        "A symbolic or a hard link",
        "a.zip",
        "member bad.bmp is a link",
        lambda p: zipped(p, GOOD, (of_mode("bad.bmp", stat.S_IFLNK | 0o777), "/etc/passwd")),
    ),
    (
        "A symbolic or a hard link",
        "a.tar",
        "member bad.bmp is a link",
        lambda p: tarred(p, GOOD, (of_type("bad.bmp", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    ),
    (
        "A symbolic or a hard link",
        "b.tar",
        "member bad.bmp is a link",
        lambda p: tarred(p, GOOD, (of_type("bad.bmp", tarfile.LNKTYPE, "all/good.bmp"), b"")),
    ),
    (
        "A link to a folder and a file through it",
        "a.tar",
        "member all is a link",
        lambda p: tarred(p, (of_type("all", tarfile.SYMTYPE, "/tmp"), b""), ("all/bad.bmp", CELL)),
    ),
    (
        "A device or a pipe",
        "a.zip",
        "member bad.bmp is a device or a pipe",
        lambda p: zipped(p, GOOD, (of_mode("bad.bmp", stat.S_IFCHR | 0o666), "")),
    ),
    (
        "A device or a pipe",
        "a.tar",
        "member bad.bmp is a device",
        lambda p: tarred(p, GOOD, (of_type("bad.bmp", tarfile.CHRTYPE), b"")),
    ),
    (
        "A device or a pipe",
        "b.tar",
        "member bad.bmp is a device",
        lambda p: tarred(p, GOOD, (of_type("bad.bmp", tarfile.FIFOTYPE), b"")),
    ),
    (
        "A file with holes",
        "a.tar",
        "member all/bad.bmp is a device, a pipe or a file with holes",
        lambda p: headed(p, 156, b"S"),
    ),
    ("A name twice", "a.zip", "member all/good.bmp stands twice", lambda p: zipped(p, GOOD, GOOD)),
    ("A name twice", "a.tar", "member all/good.bmp stands twice", lambda p: tarred(p, GOOD, GOOD)),
    (
        "A name twice, in capitals or with composed letters",
        "a.zip",
        "member ALL/Good.bmp stands twice",
        lambda p: zipped(p, GOOD, ("ALL/Good.bmp", OTHER)),
    ),
    (
        "A name twice, in capitals or with composed letters",
        "b.zip",
        "stands twice",
        lambda p: zipped(p, ("all/\u00e9.bmp", CELL), ("all/e\u0301.bmp", OTHER)),
    ),
    (
        "A name twice, in capitals or with composed letters",
        "c.zip",
        "stands twice",
        lambda p: zipped(p, GOOD, ("./all//good.bmp", OTHER)),
    ),
    (
        "A file and a folder of one name",
        "a.zip",
        "in the way of another",
        lambda p: zipped(p, ("all", CELL), ("all/bad.bmp", CELL)),
    ),
    (
        "A file and a folder of one name",
        "b.zip",
        "in the way of another",
        lambda p: zipped(p, GOOD, ("ALL", CELL)),
    ),
    (
        "A name that no disk takes",
        "a.tar",
        "name that is too long",
        lambda p: tarred(p, GOOD, ("x" * 300 + ".bmp", CELL)),
    ),
    (
        "A name that no disk takes",
        "b.tar",
        r"member all/b\\nd.bmp has control characters",
        lambda p: tarred(p, GOOD, ("all/b\nd.bmp", CELL)),
    ),
    (
        "A bomb by its ratio",
        "a.zip",
        "member bad.bmp would grow from",
        lambda p: zipped(p, GOOD, ("bad.bmp", bytes(2**24))),
    ),
    (
        "A bomb by its ratio",
        "a.tar.gz",
        "may be a bomb",
        lambda p: tarred(p, GOOD, ("bad.bmp", bytes(2**24))),
    ),
    (
        "A bomb by its ratio",
        "a.tar.xz",
        "may be a bomb",
        lambda p: tarred(p, GOOD, ("bad.bmp", bytes(2**24))),
    ),
    (
        "A bomb by its ratio",
        "a.tar.bz2",
        "may be a bomb",
        lambda p: tarred(p, GOOD, ("bad.bmp", bytes(2**24))),
    ),
    ("A bomb of members that share their bytes", "a.zip", "overlap", overlapping),
    (
        "A file beyond any image",
        "a.tar",
        "has 1,073,741,824 bytes; at most",
        lambda p: headed(p, 124, b"%011o\0" % 2**30),
    ),
    ("A lying size", "a.zip", "member all/bad.bmp (is damaged|lies)", lambda p: sized(p, None, None, 10)),
    (
        "A lying size",
        "e.zip",
        "member all/bad.bmp lies about its size: it states 10 bytes and has more",
        lambda p: sized(p, zlib.crc32(OTHER[:11]), None, 10),
    ),
    (
        "A lying size",
        "b.zip",
        "member all/bad.bmp .*has fewer",
        lambda p: sized(p, None, None, lambda n: n + 1),
    ),
    (
        "A lying size",
        "c.zip",
        "member all/bad.bmp has packed bytes that overlap",
        lambda p: sized(p, None, lambda n: n + 99, None),
    ),
    (
        "A lying size",
        "d.zip",
        "member all/bad.bmp (is damaged|lies)",
        lambda p: sized(p, None, lambda n: n - 9, None),
    ),
    ("A lying size", "a.tar", "is damaged or cut short", lambda p: headed(p, 124, b"%011o\0" % 50000)),
    ("A lying size", "b.tar", "is cut short or damaged", lambda p: headed(p, 124, b"%011o\0" % 0)),
    (
        "A lying size",
        "c.tar",
        r"states a size of -512 bytes",
        lambda p: headed(p, 124, b"\xff" * 10 + b"\xfe\0"),
    ),
    ("An encrypted member", "a.zip", "member all/bad.bmp is encrypted", encrypted),
    (
        "A checksum that does not fit",
        "a.zip",
        "member all/bad.bmp is damaged",
        lambda p: sized(p, 12345, None, None),
    ),
    (
        "A checksum that does not fit",
        "a.tar.gz",
        "is damaged",
        lambda p: overwritten(tarred(p, GOOD), -8, "<I", 12345),
    ),
    ("An archive cut short", "a.zip", "is damaged or cut short", lambda p: cut(p, lambda n: n - 30)),
    ("An archive cut short", "b.zip", "is damaged or cut short", lambda p: cut(p, 0)),
    ("An archive cut short", "a.tar", "is damaged or cut short", lambda p: cut(p, 4000)),
    ("An archive cut short", "b.tar", "is cut short or damaged", lambda p: cut(p, 1024)),
    ("An archive cut short", "a.tar.gz", "is damaged or cut short", lambda p: cut(p, lambda n: n // 2)),
    ("An archive cut short", "b.tar.gz", "is damaged or cut short", lambda p: cut(p, lambda n: n - 4)),
    ("An archive cut short", "a.tar.xz", "is damaged or cut short", lambda p: cut(p, lambda n: n // 2)),
    ("An archive cut short", "a.tar.bz2", "is damaged or cut short", lambda p: cut(p, lambda n: n // 2)),
    ("A damaged header", "a.tar", "it has no end, and files may be missing", broken),
    (
        "Two archives in one",
        "a.tar",
        "holds more after its end",
        lambda p: (tarred(p, GOOD), p.write_bytes(p.read_bytes() * 2), p)[-1],
    ),
    (
        "An archive of another kind than its name",
        "a.zip",
        "damaged or cut short",
        lambda p: (p.write_bytes(b"<html>not found</html>"), p)[-1],
    ),
    (
        "An archive of another kind than its name",
        "a.tgz",
        "damaged or cut short",
        lambda p: (p.write_bytes(b"<html>not found</html>"), p)[-1],
    ),
    (
        "An archive without an image",
        "a.zip",
        "holds no image .*fold_0.zip: unpack that first",
        lambda p: zipped(p, ("a.txt", b"x"), ("fold_0.zip", b"x")),
    ),
]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "name, says, make",
    [
        pytest.param(
            name,
            says,
            make,
            id=f"{name} {i}",
            marks=pytest.mark.fault(
                group="data",
                fault=f"An archive: {fault[0].lower()}{fault[1:]}",
                injected="such a .zip or .tar made byte by byte",
                promise="refused in one line with its name, and the member where one is to blame; nothing is written, inside or outside",
            ),
        )
        for i, (fault, name, says, make) in enumerate(BAD)
    ],
)
def test_a_bad_archive_is_refused_and_writes_nothing(tmp_path, name, says, make):
    import re

    (tmp_path / "in").mkdir()
    archive, inside = make(tmp_path / "in" / name), tmp_path / "out" / "deep"
    line = refusal_line(archives.unpack, archive, inside / "folder")
    assert re.search(says, line) and line.startswith(str(archive)) and len(line.splitlines()) == 1, line
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [archive], "something was written"
    kept = refusal_line(archives.unpack_once, archive, tmp_path / "kept")
    assert kept == line and {p.name for p in tmp_path.rglob("*") if p.is_file()} <= {name, ".lock"}


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_kind_gives_the_cells_of_its_folder(tmp_path, suffix):
    folder = put(
        tmp_path / "cells",
        {name.format(""): shade for name, shade in TRAINING.items()}
        | {"readme.txt": "words", "fold_0/empty.csv": ""},
    )
    archive = packed(tmp_path / f"cells{suffix}", folder)
    place = archives.unpack_once(archive, tmp_path / "kept")
    assert (
        facts(index_cohort(place)) == facts(index_cohort(folder))
        and index_cohort(place).digest == index_cohort(folder).digest
    )
    assert {p.relative_to(place): p.read_bytes() for p in place.rglob("*") if p.is_file()} == {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_file_has_the_rights_of_any_new_file(tmp_path):
    made = of_type("all/a.bmp", tarfile.REGTYPE)
    made.mode = 0o6777
    place = archives.unpack(tarred(tmp_path / "a.tar", (made, CELL)), tmp_path / "a")
    (tmp_path / "new").touch()
    assert (place / "all/a.bmp").stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.parametrize(
    "limits, says",
    [
        ({"total": 300}, "takes the archive beyond 300 bytes"),
        ({"member": 100}, "at most 100"),
        ({"members": 1}, "one more than 1 members"),
    ],
)
def test_limits_hold(tmp_path, limits, says):
    for archive in (
        zipped(tmp_path / "a.zip", GOOD, ("all/b.bmp", OTHER)),
        tarred(tmp_path / "a.tar", GOOD, ("all/b.bmp", OTHER)),
    ):
        assert says in refusal_line(archives.unpack, archive, tmp_path / "to", archives.Limits(**limits))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz", ".tar.bz2"])
@pytest.mark.fault(
    group="data",
    fault="A byte of an archive is flipped",
    injected="60 seeded flips a kind of archive",
    promise="refused in one line, or every file is what was packed",
)
def test_a_flipped_byte_is_refused_or_changes_nothing(tmp_path, suffix, moments):
    folder = put(tmp_path / "cells", {"all/UID_1_1_1_all.bmp": 1, "hem/UID_H2_1_1_hem.bmp": 2})
    whole = packed(tmp_path / f"cells{suffix}", folder).read_bytes()
    contents, found = {p.read_bytes() for p in folder.rglob("*.bmp")}, 0
    for n in range(60):
        data = bytearray(whole)
        data[moments.randrange(len(data))] ^= 1 << moments.randrange(8)
        (flipped := tmp_path / f"flipped{suffix}").write_bytes(data)
        try:
            place = archives.unpack(flipped, tmp_path / "out" / str(n))
        except archives.Refusal as refusal:
            found += 1
            assert str(refusal).startswith(str(flipped)) and len(str(refusal).splitlines()) == 1
        else:
            assert {p.read_bytes() for p in place.rglob("*") if p.is_file()} == contents
    assert found >= 30


@pytest.mark.fault(
    group="data",
    fault="A disk without room for an archive",
    injected="a disk of 1 MB, an archive of 3 MB",
    promise="refused before it is unpacked, with the bytes that are wanted",
)
def test_room_is_asked_for_first(tmp_path):
    archive = tarred(tmp_path / "a.tar", *[(f"all/{n}.bmp", os.urandom(2**20)) for n in range(3)])
    (disk := tmp_path / "disk").mkdir()
    code = "import os, sys; from leukonb.data import archives; from leukonb.files import refusal_line; print(refusal_line(archives.unpack_once, sys.argv[1], sys.argv[2])); print(os.listdir(sys.argv[2]))"
    done = subprocess.run(
        [*on_small_disk(disk, 1), sys.executable, "-c", code, str(archive), str(disk)],
        capture_output=True,
        text=True,
    )
    line, left = done.stdout.splitlines()
    assert "unpacks to 3,145,728 bytes" in line and "has room for" in line and left == "[]", done.stderr


@pytest.mark.fault(
    group="data",
    fault="Two commands unpack one archive",
    injected="three processes started together",
    promise="one unpacks, all read the same",
)
def test_several_processes_unpack_once(tmp_path):
    archive = packed(
        tmp_path / "cells.zip", put(tmp_path / "cells", {f"all/UID_{n}_1_1_all.bmp": n for n in range(1, 40)})
    )
    code = "import sys; from leukonb.data import archives; print(archives.unpack_once(sys.argv[1], sys.argv[2]).stat().st_ino)"
    with ThreadPoolExecutor(3) as pool:
        done = list(
            pool.map(
                lambda _: subprocess.run(
                    [sys.executable, "-c", code, str(archive), str(tmp_path / "kept")],
                    capture_output=True,
                    text=True,
                ),
                range(3),
            )
        )
    assert len({d.stdout for d in done}) == 1 and done[0].stdout.strip(), [d.stderr for d in done]


@pytest.mark.fault(
    group="data",
    fault="The process that unpacks an archive is killed",
    injected="SIGKILL between two of its files",
    promise="nothing stands under the folder's name; the next command unpacks it all and clears what was left",
)
def test_killed_while_unpacking_is_unpacked_anew(tmp_path):
    folder = put(tmp_path / "cells", {f"all/UID_{n}_1_1_all.bmp": n for n in range(1, 40)})
    archive = packed(tmp_path / "cells.tar.gz", folder)
    code = (
        "import sys, os, signal; from leukonb.data import archives; write, count = archives._write_member, []\n"
        "def slow(*a):\n    write(*a); count.append(1)\n    if len(count) == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "archives._write_member = slow; archives.unpack_once(sys.argv[1], sys.argv[2])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(archive), str(tmp_path / "kept")])
    assert done.returncode == -signal.SIGKILL
    left = [p for p in (tmp_path / "kept").rglob("*.bmp")]
    assert len(left) == 20 and all(any(part.endswith(".tmp") for part in p.parts) for p in left)
    place = archives.unpack_once(archive, tmp_path / "kept")
    assert index_cohort(place).digest == index_cohort(folder).digest and sorted(
        p.name for p in place.parent.iterdir()
    ) == [
        ".lock",
        "cells",
        "cells.json",
    ]


@pytest.mark.fault(
    group="data",
    fault="A file is gone from where an archive was unpacked, or is cut short",
    injected="one removed, one cut",
    promise="unpacked anew",
)
@pytest.mark.parametrize("harm", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-1])])
def test_what_was_unpacked_is_looked_at_before_it_is_used(tmp_path, harm):
    folder = put(tmp_path / "cells", {name.format(""): shade for name, shade in TRAINING.items()})
    archive = packed(tmp_path / "cells.zip", folder)
    place = archives.unpack_once(archive, tmp_path / "kept")
    harm(next(place.rglob("*.bmp")))
    assert (
        index_cohort(archives.unpack_once(archive, tmp_path / "kept")).digest == index_cohort(folder).digest
    )


def test_another_archive_of_the_same_name_is_another_folder(tmp_path):
    first = archives.unpack_once(zipped(tmp_path / "a.zip", GOOD), tmp_path / "kept")
    second = archives.unpack_once(zipped(tmp_path / "a.zip", ("all/good.bmp", OTHER)), tmp_path / "kept")
    assert first != second and (first / "all/good.bmp").read_bytes() == CELL


def test_audit_reads_an_archive_and_leaves_nothing(tmp_path):
    folder = phantom.draw_cohort(tmp_path / "cohort", subjects=6, cells=4, size=48)
    archive, there = packed(tmp_path / "cohort.zip", folder), tmp_path / "tmp"
    there.mkdir()
    done = leukonb(
        "audit", archive, "--json", tmp_path / "audit.json", env={**os.environ, "TMPDIR": str(there)}
    )
    assert (
        done.returncode == 0
        and read_json(tmp_path / "audit.json") == audit.audit_cohort(index_cohort(folder))
        and not list(there.iterdir())
    )


def test_audit_of_a_bad_archive_is_one_line(tmp_path):
    done = leukonb("audit", zipped(tmp_path / "a.zip", GOOD, ("../bad.bmp", CELL)))
    assert (
        done.returncode == 1
        and done.stderr
        == f"leukonb: {tmp_path}/a.zip: member ../bad.bmp leads out of the archive's folder by ..\n"
        and not done.stdout
    )
    done = leukonb("audit", zipped(tmp_path / "b.zip", ("all/UID_1_1_1_all.bmp", CELL[:-1])))
    assert (
        done.returncode == 1 and f"{tmp_path}/b.zip" in done.stderr and "leukonb-archive-" not in done.stderr
    )


def cohort_of(out):
    """The record of the cohort that a study was planned on."""
    (record,) = out.glob("_cohorts/*/cohort.json")
    return record


def test_a_study_runs_on_an_archive_and_unpacks_once(tmp_path):
    folder, out = phantom.draw_cohort(tmp_path / "cohort", subjects=8, cells=4, size=48), tmp_path / "runs"
    archive = packed(tmp_path / "cohort.tar.gz", folder)
    study = tmp_path / "look.yml"
    study.write_text(
        "title: Look\nshows: What is there\nsize: quick\nruns:\n  cohort: {experiment: cohort}\n"
    )
    first = leukonb("run", study, "--data", archive, "--out", out)
    assert first.returncode == 0, first.stdout + first.stderr
    (run,) = find_runs(out)
    kept = next(out.glob("_archives/*/cohort"))
    root = (cohort_of(out).parent / read_json(cohort_of(out))["root"]).resolve()
    assert (
        run.done and root == kept.resolve() and run.manifest["inputs"]["data"] == index_cohort(folder).digest
    )
    written = kept.stat().st_mtime_ns
    again = leukonb("run", study, "--data", archive, "--out", out)
    assert "done before, kept" in again.stdout and kept.stat().st_mtime_ns == written


def test_a_sample_of_the_release_in_an_archive(known_sample, tmp_path):
    folder = known_sample.folder
    found = index_cohort(folder)
    archive = packed(tmp_path / "sample.zip", folder)
    done = known_sample.leukonb("audit", archive, "--json", tmp_path / "audit.json")
    assert done.returncode == 0 and read_json(tmp_path / "audit.json")["digest"] == found.digest, done.stderr
    done = known_sample.leukonb(
        "run",
        "quick",
        "--data",
        packed(tmp_path / "sample.tar", folder),
        "--out",
        tmp_path / "runs",
        "--dry-run",
        "--smoke",
    )
    assert done.returncode == 0 and f"on {found.cells.cell.nunique()} cells of" in done.stdout, (
        done.stdout + done.stderr
    )
    assert read_json(cohort_of(tmp_path / "runs"))["digest"] == found.digest


@pytest.mark.fault(
    group="data",
    fault="An archive of dots, one 900 folders deep, and an end while one is read",
    injected="...zip; a member 900 folders deep; SIGTERM in the middle",
    promise="read like any other; nothing of what was unpacked is left behind",
)
@pytest.mark.parametrize("name, deep", [("...zip", 0), (".zip", 0), ("deep.zip", 900)])
def test_odd_archives_are_read_and_leave_nothing(tmp_path, name, deep):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for i, label in enumerate(("all", "all", "hem", "hem")):
            archive.writestr("d/" * deep + f"{label}/P{i}-a.bmp", encoded(i, 48))
    with archives.open_folder(tmp_path / name) as folder:
        found = index_cohort(folder, "(P[0-9])-")
        assert found.cells.subject.tolist() == ["P0", "P1", "P2", "P3"] and not found.synthetic
    assert not folder.exists()
    with pytest.raises(SystemExit) as ended, archives.open_folder(tmp_path / name) as folder:
        assert folder.is_dir()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert ended.value.code == 143 and not folder.parent.exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
