"""What the tests share: the real sample where it is at hand, and one smoke-size study with its site."""

import contextlib
import functools
import http.server
import os
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("LEUKONB_SHARED", ROOT.parent / "shared"))


def sources(folder):
    """Where a test's data come from: made up always, and the real ones too where they are at hand."""
    return ["made up", "real"] if folder.exists() else ["made up"]


REAL = Path(os.environ.get("LEUKONB_REAL", SHARED / "cnmc-sample"))
META = Path(os.environ.get("LEUKONB_META", SHARED / "cnmc-meta"))


@pytest.fixture(scope="session", params=sources(REAL))
def sample(request, tmp_path_factory):
    """A folder of images in the released layout, and what is known of it (`standins.Sample`)."""
    import standins

    if request.param == "made up":
        return standins.draw_sample(tmp_path_factory.mktemp("sample"))
    return standins.Sample(
        REAL,
        leukonb,
        {
            ("training", "ALL"): (101, 21),
            ("training", "HEM"): (39, 13),
            ("preliminary", "ALL"): (9, 4),
            ("preliminary", "HEM"): (3, 2),
        },
        ("20", "21"),
        {frozenset(("H10", "H3")), frozenset(("H6", "H2")), frozenset("2"), frozenset("5")},
        pairs=7,
        hashed=6,
        touching={"H30", "11"},
    )


@pytest.fixture
def known_sample(sample, monkeypatch):
    """The sample, while the package knows its release."""
    from leukonb.data import release

    caches = (release._by_digest, release.released_identities)
    if sample.released is not None:
        monkeypatch.setattr(release, "released_table", lambda: sample.released)
        [cache.cache_clear() for cache in caches]
    yield sample
    [cache.cache_clear() for cache in caches]


@pytest.fixture(scope="session", params=sources(META))
def metadata(request, tmp_path_factory):
    """The digests and labels of all files of a release (`standins.Metadata`)."""
    import standins
    from leukonb.data import release

    if request.param == "made up":
        return standins.write_metadata(tmp_path_factory.mktemp("metadata"))
    packed = (Path(release.__file__).parent / "release.csv.xz").read_bytes()
    return standins.Metadata(META, packed, release.released_table())


@pytest.fixture(scope="session", params=sources(SHARED / "peer-results"))
def published(request, tmp_path_factory):
    """The decisions of a system, and the figures that come out of them (`standins.Published`)."""
    import standins

    if request.param == "made up":
        return standins.write_published(tmp_path_factory.mktemp("published"))
    return standins.Published(
        SHARED / "peer-results/prellberg2019_preliminary.csv",
        28,
        {"accuracy": 0.8886, "weighted_f1": 0.8874, "balanced_accuracy": 0.8673},
        {"accuracy": (0.837, 0.924), "weighted_f1": (0.835, 0.923), "balanced_accuracy": (0.805, 0.905)},
        {"accuracy": (0.874, 0.903), "weighted_f1": (0.873, 0.902), "balanced_accuracy": (0.850, 0.884)},
    )


@pytest.fixture
def good(tmp_path):
    """A sound cohort of four subjects, two of each class."""
    from test_cohort import TRAINING, put

    return put(tmp_path / "good", {name.format(""): shade for name, shade in TRAINING.items()})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small network, the file it was saved to, and what saving it said."""
    from test_network import SMALL

    from leukonb.model import network

    path = tmp_path_factory.mktemp("model") / "model.keras"
    model = network.build_network(SMALL)
    return model, path, network.save_model(model, path)


@pytest.fixture
def nbs(tmp_path, monkeypatch):
    """A small checkout: a home page, one module, two experiments; its sites show the records it has published itself."""
    import nbformat

    from leukonb.runs.published import find_published
    from leukonb.verbs import site

    place = tmp_path / "checkout" / "nbs"
    (place / "experiments").mkdir(parents=True)
    shutil.copy(ROOT / "_quarto.yml", place.parent)
    for name in ("index", "files"):
        shutil.copy(ROOT / "nbs" / f"{name}.ipynb", place)
    for name in ("training", "report"):
        cells = [
            nbformat.v4.new_markdown_cell(f"# {name.title()}\n\n> What the {name} shows."),
            nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("show()"),
        ]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), place / "experiments" / f"{name}.ipynb")
    monkeypatch.setenv("LEUKONB_NBS", str(place))

    def own_records():
        return [record for record in find_published() if place in record.folder.parents]

    monkeypatch.setattr(site, "find_published", own_records)
    return place


@pytest.fixture(scope="session")
def front(tmp_path_factory):
    """A folder for LEUKONB_NBS with leukonb's front page: its site has pages of runs, and none of the library's hundred."""
    place = tmp_path_factory.mktemp("front") / "nbs"
    (place / "experiments").mkdir(parents=True)
    shutil.copy(ROOT / "_quarto.yml", place.parent)
    shutil.copy(ROOT / "nbs" / "index.ipynb", place)
    return place


@pytest.fixture
def front_only(front, monkeypatch):
    """Sites are built without the library, here and by processes that the test starts."""
    monkeypatch.setenv("LEUKONB_NBS", str(front))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """What a training says at its end that nothing has interrupted."""
    from test_training import finished, start

    return finished(start(tmp_path_factory.mktemp("straight")))


def pytest_addoption(parser):
    parser.addoption(
        "--faults-record",
        metavar="FILE",
        help="write there how every test marked `fault` ended, beside what the file knows of other groups",
    )
    parser.addoption(
        "--faults-seed",
        type=int,
        default=0,
        metavar="N",
        help="of the moments at which fault tests strike (default 0)",
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "fault(group, fault, injected, promise): what breaks, how it is broken, what is promised then; a row of the site's table",
    )
    config.addinivalue_line(
        "markers", "alone: measures time, so that nothing else of the tests may run beside it"
    )
    config.addinivalue_line("markers", "long: takes more than ten seconds; `make test` leaves it out")
    config.addinivalue_line(
        "markers",
        "extras: wants the large packages that `make test-extras` installs; `make test` leaves it out",
    )
    # Keras hands TensorFlow's arrays to NumPy in a way that NumPy 2 warns of, some two thousand times in a run.
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation doesn't accept a copy keyword")
    config.pluginmanager.register(Faults(config), "faults")


TOGETHER = {
    "test_browser": "smoke",
    "test_cards": "smoke",
    "test_records": "smoke",
}  # files that look at one smoke-size study, and change it


LONG = {
    name: place
    for place, name in enumerate(("test_studies", "smoke", "test_steps", "test_wheel", "test_training"))
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The longest first, so that two processes that share the tests end at about the same time."""
    items.sort(key=lambda item: LONG.get(TOGETHER.get(item.path.stem, item.path.stem), len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where two processes share the tests, a file stays whole, and so do the files that share a study."""
    from xdist.scheduler import LoadScopeScheduling

    class Whole(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            name = Path(nodeid.partition("::")[0]).stem
            return TOGETHER.get(name, name)

    return Whole(config, log)


class Faults:
    """How each test marked `fault` ended, written where --faults-record says."""

    def __init__(self, config):
        self.to, self.seed, self.tests = (
            config.getoption("--faults-record"),
            config.getoption("--faults-seed"),
            {},
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        from leukonb.pages.faults import GROUPS

        for item in items:
            marks = [m.kwargs for m in item.iter_markers("fault")]
            wrong = [
                m
                for m in marks
                if set(m) != {"group", "fault", "injected", "promise"} or m["group"] not in GROUPS
            ]
            if wrong:
                raise pytest.UsageError(
                    f"{item.nodeid}: a mark `fault` needs group (one of {', '.join(GROUPS)}), fault, injected and promise, not {wrong[0]}"
                )
            case = item.callspec.id if hasattr(item, "callspec") else ""
            named = f"{item.path.relative_to(ROOT).as_posix()}::{item.nodeid.partition('::')[2]}"  # whatever folder pytest takes for its root
            self.tests[item.nodeid] = [
                {
                    **m,
                    "test": named,
                    "case": case,
                    "outcome": "not run",
                    "seconds": 0.0,
                    "said": "not selected",
                }
                for m in marks
            ]

    def pytest_runtest_logreport(self, report):
        for row in self.tests.get(report.nodeid, []):
            row["seconds"] = round(row["seconds"] + report.duration, 2)
            if report.failed:
                row.update(outcome="failed", said=f"in {report.when}")
            elif report.skipped:
                row.update(
                    outcome="not run",
                    said=str(
                        report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
                    ).removeprefix("Skipped: "),
                )
            elif report.when == "call":
                row.update(outcome="passed", said="")

    def pytest_sessionfinish(self):
        if self.to:
            from leukonb.files import write_json
            from leukonb.pages import faults

            where = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
            tests = [row for rows in self.tests.values() for row in rows]
            write_json(
                self.to,
                faults.merge_record(
                    faults.read_record(self.to),
                    tests,
                    date=time.strftime("%Y-%m-%d", time.gmtime()),
                    platform=where,
                    seed=self.seed,
                ),
            )


@pytest.fixture
def moments(request):
    """A source of moments that is the same each time for the same test and --faults-seed."""
    return random.Random(f"{request.config.getoption('--faults-seed')} {request.node.nodeid}")


def leukonb(*words, **options):
    """Run the command line as a user would; its finished process."""
    command = [str(Path(sys.executable).parent / "leukonb"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=options.pop("cwd", ROOT), **options)


@pytest.fixture
def at_once(monkeypatch, capsys):
    """What `leukonb` does with words in this process, which has imported already what a new one imports for seconds."""

    def call(*words, cwd=ROOT):
        from leukonb.cli import main

        monkeypatch.chdir(cwd)
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code or 0, said.out, said.err)

    return call


def on_small_disk(folder, megabytes):
    """The words before a command that give it a disk of its own at `folder`, of so many MB; the test is skipped where that may not be done."""
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && exec "$@"'
    words = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(folder)]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no disk of its own may be made here (unshare --map-root-user --mount)")
    return words


SMOKE = ["--smoke", "--threads", "1"]  # the bits of a result depend on the number of threads


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The quick study at smoke size and its site: (runs folder, site folder)."""
    place = tmp_path_factory.mktemp("smoke")
    ran = leukonb("run", "quick", "--out", place / "runs", *SMOKE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    built = leukonb("site", "--out", place / "runs", "--to", place / "site")
    assert built.returncode == 0, built.stdout + built.stderr
    yield place / "runs", place / "site"
    shutil.rmtree(place, ignore_errors=True)


NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def _found():
    """A Chromium that is there: on the PATH, or Playwright's own."""
    from playwright.sync_api import sync_playwright

    if path := next(filter(None, map(shutil.which, NAMES)), None):
        return path
    with sync_playwright() as p:
        return p.chromium.executable_path if Path(p.chromium.executable_path).exists() else None


def chromium():
    """A Chromium, installed where there is none; the test is skipped, in one line, where that cannot be done."""
    if path := _found():
        return path
    apt = shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0
    tries = (
        [["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]]
        if apt
        else []
    )
    for command in [
        *tries,
        [sys.executable, "-m", "playwright", "install", *(["--with-deps"] if apt else []), "chromium"],
    ]:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=600,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
        except (OSError, subprocess.TimeoutExpired):
            pass
        if path := _found():
            return path
    pytest.skip(
        "no Chromium here, and neither apt-get nor Playwright could install one: the site was not looked at in a browser"
    )


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as p:
        opened = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        context = opened.new_context()
        context.set_default_navigation_timeout(120_000)  # ms; other processes have the cores, too
        yield context
        opened.close()


@contextlib.contextmanager
def address_of(site):
    """A site served on this machine: its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Tab:
    """A tab of the browser that notes what goes wrong while its page opens, and what that asks for outside the site.

    Of many pages one after another each is opened in the same one: a new window costs more than most pages.
    """

    def __init__(self, browser, base):
        self.page, self.base = browser.new_page(), base
        self.name, self.wrong, self.asked = "", [], set()
        self.page.on("console", lambda m: self.note(f"console: {m.text}") if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.note(str(e)))
        self.page.on("request", self.ask)
        self.page.on("requestfailed", lambda r: self.note(f"failed: {r.url}") if r in self.asked else None)
        self.page.on("response", self.hear)

    def note(self, what):
        self.wrong.append(f"{self.name}: {what}")

    def ask(self, request):
        self.asked.add(request)
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.note(f"outside: {request.url}")

    def hear(self, response):
        if response.status >= 400 and response.request in self.asked:
            self.note(f"{response.status}: {response.url}")

    def open(self, name, width=1280):
        """The page, opened, and the list of what went wrong, which grows while the page is there."""
        self.page.goto("about:blank")  # what the page before had not done yet is not this one's
        self.name, self.wrong, self.asked = name, [], set()
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.goto(self.base + name, wait_until="load")
        return self.page, self.wrong

    def close(self):
        self.page.close()


def opened(browser, base, name, width=1280):
    """A page in a tab of its own, and what went wrong with it."""
    return Tab(browser, base).open(name, width)


def show_all(page):
    """Open what is folded, and draw the figures that are far from the screen."""
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
