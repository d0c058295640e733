"""Every study, from its file to its pages, at the smoke size it states itself."""

import shutil

import pytest

from conftest import Tab, address_of, leukonb, show_all
from leukonb.data.measured import Measured, read_measured, shipped_table, write_measured
from leukonb.runs.record import find_runs
from leukonb.runs.study import list_studies, load_study, plan_study, shrink_to_smoke


def names_experiments(study):
    """The experiments of a study."""
    return {stated["experiment"] for stated in load_study(study).runs.values()}


def share_out():
    """The studies but `quick`; those all of whose experiments run in another at smoke size are left to the extras."""
    met, params = names_experiments("quick"), []
    for name in sorted(set(list_studies()) - {"quick"}):
        new = names_experiments(name) - met
        params.append(pytest.param(name, marks=() if new else pytest.mark.extras))
        met |= new
    return params


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the studies' runs go."""
    folder = tmp_path_factory.mktemp("studies")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def few_cells(place):
    """Six cells of each subject of the table in the package, and few of their features: the real study takes minutes."""
    whole = read_measured(shipped_table("cnmc"))
    rows = whole.cells.groupby("subject").head(6).index
    cells, cues = (table.loc[rows].reset_index(drop=True) for table in (whole.cells, whole.cues))
    return write_measured(
        place / "few.parquet", Measured(cells, cues, whole.embedding[rows, :24], whole.facts)
    )


@pytest.mark.parametrize("name", list_studies())
def test_a_study_is_planned_to_the_last_parameter_at_both_sizes(name, tmp_path):
    study = load_study(name)
    whole, small = (plan_study(one, tmp_path) for one in (study, shrink_to_smoke(study)))
    assert 0 < len(small) <= len(whole) and not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", share_out())
def test_a_study_runs_at_smoke_size(place, few_cells, name):
    data = ("--data", few_cells) if load_study(name).measured else ()
    ran = leukonb("run", name, "--smoke", "--threads", 1, *data, "--out", place / "runs")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = find_runs(place / "runs", name)
    assert found and all(r.done for r in found)
    assert {r.experiment for r in found} == names_experiments(name)
    assert all(r.manifest["size"] == "smoke" for r in found)


@pytest.mark.usefixtures("front_only")
def test_every_study_has_pages_that_open_without_an_error(browser, place):
    done = [r for r in find_runs(place / "runs") if r.done]
    built = leukonb("site", "--out", place / "runs", "--to", place / "site")
    assert built.returncode == 0, built.stdout + built.stderr
    pages, trouble = sorted((place / "site" / "runs").rglob("*.html")), []
    assert len(pages) > len({(r.folder.parts[-3], r.experiment, r.name) for r in done})
    with address_of(place / "site") as base:
        tab = Tab(browser, base)
        for path in pages:
            name = path.relative_to(place / "site").as_posix()
            page, wrong = tab.open(name)
            show_all(page)
            if (
                page.locator(".plotly-graph-div .main-svg").count()
                < page.locator(".plotly-graph-div").count()
            ):
                wrong.append(f"{name}: a figure is not drawn")
            page.set_viewport_size({"width": 390, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth") > 390:
                wrong.append(f"{name}: wider than a small screen")
            trouble += wrong
        tab.close()
    assert not trouble, "\n".join(trouble)
