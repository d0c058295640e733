"""Nothing that leukonb did not write is ever replaced or removed, wherever it is told to write."""

import os

import pandas as pd
import pytest
from test_site import built, run

from leukonb import api, cli
from leukonb.data.phantom import draw_cohort
from leukonb.files import digest_file, refusal_line, write_json
from leukonb.runs import keep, process
from leukonb.runs.crate import export_crate
from leukonb.verbs import site


def contents(folder):
    """Every file below a folder with its bytes, leukonb's list apart; a link with where it leads."""
    found = (p for p in sorted(folder.rglob("*")) if (p.is_file() or p.is_symlink()) and p.name != keep.LIST)
    return {
        p.relative_to(folder).as_posix(): os.readlink(p) if p.is_symlink() else p.read_bytes() for p in found
    }


@pytest.fixture
def clone(nbs):
    """A site in a clone of a repository, with files of its user's own beside the pages."""
    run(nbs)
    place = built(nbs)
    own = {
        ".git/commit": "not pushed",
        "CNAME": "cells.example.org",
        ".nojekyll": "",
        "notes/mine.txt": "mine",
    }
    for name, text in own.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    return place, own


@pytest.mark.fault(
    group="site",
    fault="A site is built again into a clone of a repository",
    injected=".git, CNAME, .nojekyll and a file of one's own beside the pages",
    promise="the pages are the new ones, everything else is as it was",
)
def test_a_site_replaces_only_what_a_build_has_written(nbs, clone):
    place, own = clone
    run(nbs, "report")
    built(nbs)
    assert {name: (place / name).read_text() for name in own} == own
    assert (place / "runs/quick/report-report.html").is_file()
    fresh = site.build_site(nbs.parents[1] / "runs", nbs.parents[1] / "fresh")
    assert {n: b for n, b in contents(place).items() if n not in own} == contents(fresh)


def test_a_page_without_its_run_leaves_the_site_and_a_page_that_was_changed_is_kept(nbs, clone):
    place, _ = clone
    gone = run(nbs, "report")
    built(nbs)
    (gone.folder / "result.json").unlink()
    built(nbs)
    assert not (place / "runs/quick/report-report.html").exists()
    (place / "index.html").write_text("my own front page")
    before = contents(place)
    assert "index.html was changed after leukonb wrote it" in refusal_line(built, nbs)
    assert contents(place) == before


@pytest.mark.fault(
    group="site",
    fault="A file or a link stands where the site shall go",
    injected="--to names a file, a broken link, or a site in which a folder of pages is a link",
    promise="refused with its name; nothing behind it is touched",
)
@pytest.mark.parametrize("way", ["a file", "a broken link", "below a file", "a link inside"])
def test_a_site_is_not_written_over_a_file_or_through_a_link(nbs, way):
    run(nbs)
    place, other = nbs.parents[1] / "site", nbs.parents[1] / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    if way == "a file":
        place.write_text("years of work")
    elif way == "a broken link":
        place.symlink_to(nbs / "nowhere")
    elif way == "below a file":
        place = other / "thesis.txt/site"
    else:
        built(nbs)
        (place / "runs").rename(other / "runs")
        (place / "runs").symlink_to(other / "runs")
    before = contents(nbs.parents[1])
    assert str(place if way != "below a file" else place.parent) in refusal_line(
        site.build_site, nbs.parents[1] / "runs", place
    )
    assert contents(nbs.parents[1]) == before


@pytest.mark.fault(
    group="site",
    fault="The site was built by a version that kept no list",
    injected="such a site in the default folder, in another one, and beside a repository",
    promise="in the default folder it gets another name and stays whole; elsewhere it is refused",
)
def test_a_site_of_an_earlier_version_is_set_aside_or_refused(nbs, monkeypatch, capsys):
    run(nbs)
    place = built(nbs)
    (place / keep.LIST).unlink()
    known = site._EARLIER.split()
    for file in [p for p in place.iterdir() if p.name not in known]:  # leukonb 0.1 wrote none of these
        file.unlink()
    (place / "search.json").write_text("[]")
    earlier = contents(place)
    assert "is not a site with leukonb's list" in refusal_line(built, nbs)
    assert contents(place) == earlier
    monkeypatch.chdir(nbs.parents[1])
    place.rename("_site")
    for again in range(2):
        site.build_site("runs")
        assert ("_site.earlier" in capsys.readouterr().out) is (not again)
    assert contents(nbs.parents[1] / "_site.earlier") == earlier and keep.read_list("_site")
    (nbs.parents[1] / "_site" / keep.LIST).unlink()
    (nbs.parents[1] / "_site" / ".git").mkdir()
    assert "_site holds" in refusal_line(site.build_site, "runs")


def write(folder, **files):
    with keep.replacing(folder, "site") as new:
        for name, text in files.items():
            (new / f"in {name}").mkdir()
            (new / f"in {name}" / name).write_text(text)


@pytest.mark.fault(
    group="site",
    fault="The exchange of two sites is interrupted",
    injected="an end after each step: each rename, each removal, each writing of the list",
    promise="every page is whole, the earlier or the new one; the next build ends what was begun",
)
def test_an_interrupted_exchange_is_taken_up(tmp_path, monkeypatch):
    steps = ("replace", "unlink", "rmdir")
    for allowed in range(40):
        folder = tmp_path / str(allowed)
        write(folder, a="1", b="1", c="1")
        (folder / "in c" / "mine").write_text("mine")
        left = iter(range(allowed))

        def stepping(step):
            def step_or_end(*args, **options):
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return step(*args, **options)

            return step_or_end

        with monkeypatch.context() as patched:
            for name in steps:
                patched.setattr(os, name, stepping(getattr(os, name)))
            try:
                write(folder, a="2", b="2", d="2")
                ended = True
            except KeyboardInterrupt:
                ended = False
        found = {p.name: p.read_text() for p in folder.rglob("[a-d]")}
        assert set(found.values()) <= {"1", "2"} and {"a", "b"} <= set(found)
        write(folder, a="2", b="2", d="2")
        found = {p.name: p.read_text() for p in folder.rglob("*") if p.is_file() and p.name != keep.LIST}
        assert found == {"a": "2", "b": "2", "d": "2", "mine": "mine"}
        if ended:
            break
    assert ended and allowed > 5


def test_a_failed_build_and_a_second_equal_one_touch_nothing(tmp_path):
    write(tmp_path / "site", a="1")
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("a")}
    with pytest.raises(OSError), keep.replacing(tmp_path / "site", "site") as new:
        (new / "a").write_text("2")
        raise OSError("no space left")
    with pytest.raises(OSError), keep.replacing(tmp_path / "new", "site") as new:
        raise OSError("no space left")
    write(tmp_path / "site", a="1")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("a")} == times
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


@pytest.mark.fault(
    group="site",
    fault="The list of what was written names other people's files",
    injected="a list with an absolute name, one with .., one cut off, one that is a link",
    promise="refused; the files it names are untouched",
)
@pytest.mark.parametrize("name", ["/thesis.txt", "../thesis.txt", "a/../../thesis.txt"])
def test_a_list_that_leads_out_of_its_folder_removes_nothing(tmp_path, name):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    write(tmp_path / "site", a="1")
    record, where = tmp_path / "site" / keep.LIST, str(thesis) if name.startswith("/") else name
    text = record.read_text()
    record.write_text(text.replace("in a/a", where).replace("6b86b273", digest_file(thesis)))
    assert "is damaged" in refusal_line(write, tmp_path / "site", b="1")
    record.write_text(text[:-9])
    assert "is damaged" in refusal_line(write, tmp_path / "site", b="1")
    (tmp_path / "list").write_text(text)
    record.unlink()
    record.symlink_to(tmp_path / "list")
    assert "is damaged" in refusal_line(write, tmp_path / "site", b="1")
    assert thesis.read_text() == "years of work"


@pytest.mark.fault(
    group="site",
    fault="A crate is exported again",
    injected="a README.md and a folder of one's own in the crate",
    promise="both stay; a file that was changed since is named, and nothing is replaced",
)
def test_a_crate_replaces_only_what_an_export_has_written(nbs, tmp_path):
    made, to = run(nbs), tmp_path / "crate"
    write_json(made.folder / "result.json", {**made.result, "files": {}})
    for _ in range(2):
        export_crate("quick", nbs.parents[1] / "runs", to)
        (to / "README.md").write_text("mine")
        (to / "data").mkdir(exist_ok=True)
    assert (to / "README.md").read_text() == "mine" and (to / "data").is_dir()
    record = to / "training" / made.folder.name / "run.json"
    record.write_text("{}")
    line = refusal_line(export_crate, "quick", nbs.parents[1] / "runs", to)
    assert "run.json was changed" in line and record.read_text() == "{}"


@pytest.fixture
def scores(tmp_path, monkeypatch):
    """A table of predictions in the working folder, under the name that a judgement gives one of its own."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"p{n % 8}", n % 2, (n * 7 % 10) / 10) for n in range(80)]
    pd.DataFrame(rows, columns=["subject", "label", "score"]).to_csv("scores.csv", index=False)
    return tmp_path / "scores.csv"


@pytest.mark.fault(
    group="site",
    fault="A table is judged into the folder it lies in",
    injected="evaluate scores.csv --out ., a page folder of one's own, a second table of one's own",
    promise="refused before the judging; no file is touched",
)
@pytest.mark.parametrize("own", ["scores.csv", "operating-points.csv", "evidence.json", "page/index.html"])
def test_a_judgement_does_not_replace_its_readers_files(scores, tmp_path, own):
    if own != "scores.csv":
        scores.rename("table.csv")
        (tmp_path / own).parent.mkdir(exist_ok=True)
        (tmp_path / own).write_text("mine")
    table, before = next(tmp_path.glob("*s.csv" if own == "scores.csv" else "table.csv")), contents(tmp_path)
    line = refusal_line(api.evaluate, table, ".")
    assert own.split("/")[0] in line and contents(tmp_path) == before


def test_a_table_of_predictions_does_not_replace_somebodys_table(scores, capsys):
    before = scores.read_bytes()
    assert cli.main(["predict", "model.keras", "images", "--out", "scores.csv"]) == 1
    assert "scores.csv is not a file that leukonb wrote" in capsys.readouterr().err
    assert cli.main(["audit", ".", "--json", "scores.csv"]) == 1
    assert "scores.csv is not a file that leukonb wrote" in capsys.readouterr().err
    assert scores.read_bytes() == before


@pytest.mark.fault(
    group="data",
    fault="A synthetic cohort is drawn again where its folder holds something else",
    injected="a file of one's own, a changed image, a link, a mark of an earlier version",
    promise="refused with the file's name; nothing is replaced",
)
@pytest.mark.parametrize("way", ["a file", "a changed image", "a link", "an earlier version"])
def test_a_phantom_is_drawn_only_over_a_phantom(tmp_path, way):
    def draw():
        return draw_cohort(tmp_path / "drawn", subjects=4, cells=1, size=64, progress=False)

    draw()
    drawn = draw()
    image = next(drawn.rglob("*.bmp"))
    if way == "a file":
        (drawn / "notes.txt").write_text("mine")
    elif way == "a changed image":
        image.write_bytes(image.read_bytes() + b"mine")
    elif way == "a link":
        (drawn / "more").symlink_to(tmp_path)
    else:
        write_json(drawn / "PHANTOM.json", {"phantom": 1, "images": 4})
    before = contents(drawn)
    name = {"a file": "notes.txt", "a changed image": image.name, "a link": "more"}.get(way, "drawn")
    assert name in refusal_line(draw) and contents(drawn) == before


@pytest.mark.fault(
    group="runs",
    fault="A run is drawn again in a folder that somebody has added to",
    injected="hidden files, links that lead somewhere or nowhere, a repository, a file that the new page writes too",
    promise="all of it is there afterwards; where a name is taken, with .earlier behind it",
)
def test_what_somebody_added_to_a_run_outlasts_its_drawing(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    own = {".todo": "1", ".git/HEAD": "2", "notes/a.txt": "3"}
    for name, text in {
        **own,
        "table.csv": "of the run",
        "page.ipynb": "drawn",
        ".source.ipynb": "ours",
    }.items():
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).write_text(text)
    write_json(old / "result.json", {"files": {"table.csv": "0"}})
    write_json(old / "status.json", {"finished": (old / "page.ipynb").stat().st_mtime})
    (old / "thesis").symlink_to(tmp_path)
    (old / "gone").symlink_to("nowhere")
    (old / "new.csv").write_text("mine")
    later = (old / "page.ipynb").stat().st_mtime + 60
    os.utime(old / "new.csv", (later, later))
    new.mkdir()
    for name in ("new.csv", "page.ipynb"):
        (new / name).write_text("drawn again")
    process._bring_along(old, new)
    assert {name: (new / name).read_text() for name in own} == own
    assert os.readlink(new / "thesis") == str(tmp_path) and os.readlink(new / "gone") == "nowhere"
    assert (new / "new.csv").read_text() == "drawn again" and (new / "new.csv.earlier").read_text() == "mine"
    assert not {"table.csv", ".source.ipynb", "page.ipynb.earlier"} & {p.name for p in new.iterdir()}
