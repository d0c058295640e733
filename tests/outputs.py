"""Saved outputs are true: run each notebook but the experiments, hold what is saved against what it shows.

    python tests/outputs.py check [NOTEBOOK ...]   # ends with 1 where a cell raises or its output is another
    python tests/outputs.py write [NOTEBOOK ...]   # save the fresh outputs, as nbdev_clean leaves them

A cell that says `#| varies: training` or `#| varies: clock` shows numbers that a training or a clock makes;
of it only the form is compared. A cell that says `#| eval: false` is not run.
"""

import argparse
import asyncio
import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest
from os.path import commonprefix
from pathlib import Path

import nbformat
import numpy as np
from execnb.nbio import NbCell
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import clean_nb
from nbdev.config import get_config
from nbdev.process import extract_directives
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FIGURE = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
VARIES = ("training", "clock")
MANY = 8  # notebooks: from so many on, kernels are forked from one process that has imported these libraries.
# None of them looks for a notebook around it while it is imported, as plotly and tqdm do, and none is leukonb.
LIBRARIES = ("ipykernel.ipkernel", "pandas", "PIL.Image", "scipy.stats", "sklearn.linear_model", "keras")
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "PYTHONHASHSEED": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "IN_TEST": "1",
    "COLUMNS": "80",
    "TZ": "UTC",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JOBLIB_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d*)?(?:e[-+]?\d+)?(?!\d|\.\d)", re.I)
ANY_NUMBER = re.compile(r"(?<![a-z_\d])[-+−]?\d+(?:,\d{3})*(?:\.\d*)?(?:e[-+]?\d+)?", re.I)
DIGEST = re.compile(r"\b(?=[a-f]*\d)[\da-f]{8,64}\b")
RULE = re.compile(r"([-=_─━═])\1+")
PICTURE = re.compile(r"data:image/([\w+.-]+);base64,[\w+/=]+")
EMBEDDED = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,([\w+/=]+)")
SHADES = 4.0  # grey levels of 255, on average, that a decoder of another version may make of one picture
COLOUR = re.compile(r"\x1b\[[\d;]*m")
OF_TENSORFLOW = re.compile(r"^WARNING:tensorflow:.*\n?", re.M)  # printed or not as it was imported before
ADDRESS = re.compile(r"\b0x[\da-f]{9,16}\b", re.I)


def same_number(saved: str, fresh: str) -> bool:
    """Equal, or neither an integer and no further apart than one unit of the finer one's last digit."""
    if saved == fresh:
        return True
    if not all(re.search("[.e]", text, re.I) for text in (saved, fresh)):
        return False
    one, other = (Decimal(text.replace(",", "")) for text in (saved, fresh))
    last = min(one.as_tuple().exponent, other.as_tuple().exponent)
    unit = Decimal(1).scaleb(last) if last < 0 else Decimal(0)
    return abs(one - other) <= max(unit, Decimal("1e-12") * max(abs(one), abs(other)))


def form(line: str) -> str:
    """The line without its numbers and digests, its padding and the length of its rules."""
    return re.sub(r"\s+", "", RULE.sub(r"\1", ANY_NUMBER.sub("#", DIGEST.sub("#", line))))


def same_line(saved: str, fresh: str, varies: bool, padded: bool) -> bool:
    if saved == fresh:
        return True
    if varies:
        return form(saved) == form(fresh)
    old, new = NUMBER.sub("#", saved), NUMBER.sub("#", fresh)
    if padded:
        old, new = re.sub(r"\s+", "", old), re.sub(r"\s+", "", new)
    return old == new and all(map(same_number, NUMBER.findall(saved), NUMBER.findall(fresh)))


def text_difference(saved: str, fresh: str, varies: bool) -> tuple[str, str] | None:
    """The first line that is another, as saved and as fresh. Padding may follow only from numbers' widths."""
    saved, fresh = PICTURE.sub(r"\1", saved), PICTURE.sub(r"\1", fresh)
    padded = NUMBER.findall(saved) != NUMBER.findall(fresh)
    for old, new in zip_longest(saved.splitlines(), fresh.splitlines()):
        if old is None or new is None or not same_line(old, new, varies, padded):
            return old or "", new or ""
    return None


def leaves(tree: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a figure with its place; an array that plotly packed is unpacked."""
    if isinstance(tree, dict) and "bdata" in tree:
        tree = np.frombuffer(base64.b64decode(tree["bdata"]), tree["dtype"]).tolist()
    if isinstance(tree, dict):
        for name in sorted(tree):
            yield from leaves(tree[name], f"{place}.{name}" if place else name)
    elif isinstance(tree, list):
        for i, value in enumerate(tree):
            yield from leaves(value, f"{place}[{i}]")
    else:
        yield place, tree


def same_value(saved: object, fresh: object, varies: bool) -> bool:
    if isinstance(saved, str) and isinstance(fresh, str):
        return not text_difference(saved, fresh, varies)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (saved, fresh))
    if not numbers:
        return saved == fresh
    return math.isclose(saved, fresh, rel_tol=1e-6, abs_tol=1e-9) or (saved != saved and fresh != fresh)


def figure_difference(saved: dict, fresh: dict, varies: bool) -> tuple[str, str] | None:
    """The first value of a figure that is another; where it varies, the first text."""

    def compared(figure: dict) -> list[tuple[str, object]]:
        return [leaf for leaf in leaves(figure) if not varies or isinstance(leaf[1], str)]

    for one, other in zip_longest(compared(saved), compared(fresh)):
        if one is None or other is None or one[0] != other[0] or not same_value(one[1], other[1], varies):
            return tuple("nothing" if leaf is None else f"{leaf[0]}: {leaf[1]}" for leaf in (one, other))
    return None


@dataclass
class Shown:
    kind: str  # stdout, stderr, error or a MIME type
    value: object

    def texts(self) -> Iterator[str]:
        """What a reader may read of it."""
        if self.kind == FIGURE:
            yield from (value for _, value in leaves(self.value) if isinstance(value, str))
        elif not self.kind.startswith(("image/", "application/")):
            yield PICTURE.sub(r"\1", self.value)

    def brief(self) -> str:
        lines = [line for text in self.texts() for line in text.splitlines() if line.strip()]
        return f"{self.kind} {excerpt(lines[0])}" if lines and self.kind != FIGURE else self.kind


def is_plotly_page(kind: str, value: object) -> bool:
    return kind == "text/html" and ("plotly-graph-div" in value or "Plotly.newPlot" in value)


def shown(outputs: Iterable[dict]) -> list[Shown]:
    """A cell's outputs one by one: what it printed, joined, then what it displayed, in order."""
    streams, rest = {}, []
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + output["text"]
        elif output["output_type"] == "error":
            rest.append(Shown("error", output["ename"]))
        else:
            rest += [Shown(kind, value) for kind, value in sorted(output["data"].items())]
    return [Shown(name, text) for name, text in sorted(streams.items())] + rest


def excerpt(line: str, start: int = 0, most: int = 90) -> str:
    text = COLOUR.sub("", line[start : start + most]).strip()
    return repr(("…" if start else "") + text + ("…" if len(line) > start + most else ""))


def pictures_of(output: Shown) -> list[str]:
    """The pixels of an output's pictures, in base64."""
    if output.kind.startswith("image/") and output.kind != "image/svg+xml":
        return [output.value]
    return EMBEDDED.findall(output.value) if isinstance(output.value, str) else []


def read_pixels(picture: str) -> np.ndarray | None:
    """A picture's grey levels; None where it is none."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            return np.asarray(image.convert("RGBA"), float)
    except (OSError, ValueError):
        return None


def picture_difference(saved: Shown, fresh: Shown, varies: bool) -> tuple[str, str] | None:
    """The first picture that is another, or none; where it varies, one of another size."""
    for place, (old, new) in enumerate(zip_longest(*map(pictures_of, (saved, fresh))), 1):
        if old == new:
            continue
        one, other = (None if picture is None else read_pixels(picture) for picture in (old, new))
        if one is None or other is None or one.shape != other.shape:
            sizes = ("none" if p is None else f"{p.shape[1]} x {p.shape[0]} pixels" for p in (one, other))
            return tuple(f"picture {place}: {size}" for size in sizes)
        apart = np.abs(one - other).mean()
        if not varies and apart > SHADES:
            return f"picture {place}", f"picture {place}: another, {apart:.0f} grey levels apart"
    return None


def difference(saved: Shown, fresh: Shown, varies: bool) -> tuple[str, str] | None:
    if saved.kind == FIGURE or not isinstance(saved.value, str):
        return figure_difference(saved.value, fresh.value, varies)
    if found := picture_difference(saved, fresh, varies):
        return found
    if saved.kind.startswith("image/") and saved.kind != "image/svg+xml":
        return None
    if all(is_plotly_page(output.kind, output.value) for output in (saved, fresh)):
        return None
    return text_difference(saved.value, fresh.value, varies)


def compare(saved: list[Shown], fresh: list[Shown], varies: bool) -> str | None:
    """What is first found to be another in a cell's outputs."""
    for old, new in zip_longest(saved, fresh):
        if old is None or new is None or old.kind != new.kind:
            return f"saved {old.brief() if old else 'nothing'}, fresh {new.brief() if new else 'nothing'}"
        if found := difference(old, new, varies):
            start = max(0, len(commonprefix(found)) - 30)
            return f"{old.kind}: saved {excerpt(found[0], start)}, fresh {excerpt(found[1], start)}"
    return None


def own_paths() -> re.Pattern:
    """Paths that only this machine has."""
    folders = {str(p) for f in (ROOT, Path.home()) for p in (f, f.resolve()) if len(p.parts) > 1}
    temporary = {str(p) for p in (Path(tempfile.gettempdir()), Path(tempfile.gettempdir()).resolve())}
    named, within = ("|".join(map(re.escape, sorted(names))) for names in (folders, temporary))
    return re.compile(rf"(?<![\w.-])(?:(?:{named})(?![\w-])|(?:{within}|/home|/Users)/\w)")


OWN_PATHS = own_paths()


def of_this_machine(outputs: Iterable[Shown]) -> str | None:
    """The first path or memory address that could never be the same elsewhere."""
    for text in (text for output in outputs for text in output.texts()):
        if found := OWN_PATHS.search(text) or ADDRESS.search(text):
            return excerpt(text[found.start() :].splitlines()[0])
    return None


@dataclass
class Notebook:
    path: Path
    saved: nbformat.NotebookNode = field(init=False)
    fresh: dict[int, list[dict]] = field(default_factory=dict)  # of each cell run
    trouble: dict[int, str] = field(default_factory=dict)  # of a cell that did not end well
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.saved = nbformat.read(self.path, as_version=4)

    def __str__(self) -> str:
        path = self.path.resolve()
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else self.path)

    def directives(self) -> dict[int, dict[str, list[str]]]:
        """Of each code cell, as nbdev reads them."""
        code = [(i, cell) for i, cell in enumerate(self.saved.cells) if cell.cell_type == "code"]
        return {i: extract_directives(NbCell(i, dict(cell)), remove=False) for i, cell in code}

    def to_run(self) -> list[int]:
        said = self.directives()
        return [i for i, d in said.items() if [word.lower() for word in d.get("eval:", [])[:1]] != ["false"]]

    def findings(self) -> Iterator[str]:
        said = self.directives()
        for i, directives in said.items():
            for text in self.cell_findings(i, directives):
                yield f"{self}, cell {i + 1} ({self.saved.cells[i].id}): {text}"
        outputs = any(self.saved.cells[i].outputs for i in said)
        if any("default_exp" in d for d in said.values()) and not outputs and not self.trouble:
            yield f"{self}: a module's notebook that shows nothing: no cell has a saved output"

    def cell_findings(self, i: int, directives: dict[str, list[str]]) -> Iterator[str]:
        varies = directives.get("varies:", directives.get("varies"))
        if varies is not None and (len(varies) != 1 or varies[0] not in VARIES):
            yield f"`varies: {' '.join(varies)}` is refused: say one of {', '.join(VARIES)}"
        if i in self.trouble:
            yield self.trouble[i]
        if i not in self.to_run() and self.saved.cells[i].outputs:
            yield "is not run, so what it shows cannot be held true: remove its output"
        saved, fresh = shown(self.saved.cells[i].outputs), shown(self.fresh.get(i, []))
        if i in self.fresh and (found := compare(saved, fresh, varies is not None)):
            yield found
        if found := of_this_machine(saved) or of_this_machine(fresh):
            yield f"shows a path or an address of this machine: {found}"

    def keep(self) -> None:
        """Save the fresh outputs."""
        for i, outputs in self.fresh.items():
            self.saved.cells[i].outputs = outputs
        clean(self.saved)
        nbformat.write(self.saved, self.path)


def clean(notebook: nbformat.NotebookNode) -> None:
    """As nbdev_clean does."""
    settings = get_config(path=ROOT)
    keys = {k: settings[k].split() for k in ("allowed_metadata_keys", "allowed_cell_metadata_keys")}
    clean_nb(notebook, settings.clear_all, clean_ids=settings.clean_ids, **keys)


class Forked:
    """A kernel that another process has forked, with what jupyter_client asks of a process."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 1
        return None

    wait = poll


class Forge:
    """The process that kernels are forked from; it ends with this one, and its kernels with it."""

    def __init__(self) -> None:
        words = [sys.executable, "-P", str(ROOT / "tests/kernels.py"), *LIBRARIES]
        piped = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen(words, env=environment(tempfile.gettempdir()), **piped)

    def fork(self, **request: object) -> Forked:
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return Forked(int(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Kernel(AsyncKernelManager):
    """A kernel of this very interpreter, whatever is installed."""

    forge: Forge | None = None  # where many are needed

    @property
    def kernel_spec(self) -> KernelSpec:
        launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=[*launch, "--HistoryManager.enabled=False"], language="python")

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: object) -> None:
        if self.forge is None:
            return await super()._async_launch_kernel(kernel_cmd, **kw)
        asked = dict(connection=self.connection_file, folder=kw["cwd"], environment=kw["env"])
        kernel = self.forge.fork(**asked)
        self.provisioner.process, self.provisioner.pid, self.provisioner.pgid = kernel, kernel.pid, kernel.pid
        self._reconcile_connection_info(self.provisioner.connection_info)


class Client(NotebookClient):
    """Takes no part in widgets: what it sends them on the shell channel can lose a reply that arrives meanwhile."""

    def handle_comm_msg(self, outs: list[nbformat.NotebookNode], msg: dict, cell_index: int) -> None:
        pass


def environment(temporary: str) -> dict[str, str]:
    """What a notebook is run in: nothing of the user's own settings, so no real images."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEUKONB_", "PLOTLY_"))}
    return {**kept, **ENVIRONMENT, "TMPDIR": temporary, "IPYTHONDIR": temporary}


@asynccontextmanager
async def client_of(cells: list[nbformat.NotebookNode], folder: Path, forge: Forge | None = None):
    """A kernel in the folder with what talks to it; both are gone at the end."""
    temporary = tempfile.mkdtemp(prefix="outputs-")
    kernel = Kernel(transport="ipc", connection_file=f"{temporary}/kernel.json")
    kernel.forge = forge
    options = dict(timeout=None, iopub_timeout=60, raise_on_iopub_timeout=True, force_raise_errors=True)
    client = Client(nbformat.v4.new_notebook(cells=cells), km=kernel, **options)
    try:
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await kernel.start_kernel(cwd=str(folder), env=environment(temporary), **quiet)
        await client.async_start_new_kernel_client()
        yield client
    finally:
        if client.kc:
            client.kc.stop_channels()
        if kernel.has_kernel:
            await kernel.shutdown_kernel(now=True)
        shutil.rmtree(temporary, ignore_errors=True)


async def run(notebook: Notebook, limit: float, forge: Forge | None = None) -> None:
    """Run its cells up to the first that raises."""
    start, places = time.monotonic(), notebook.to_run()
    cells = [nbformat.v4.new_code_cell(notebook.saved.cells[i].source) for i in places]
    if not places:
        return
    at, clock = places[0], asyncio.timeout(limit)
    try:
        async with clock, client_of(cells, notebook.path.resolve().parent, forge) as client:
            for i, (at, cell) in enumerate(zip(places, cells, strict=True)):
                await client.async_execute_cell(cell, i)
                notebook.fresh[at] = lasting(cell)
    except CellExecutionError as error:
        lines = [line for line in COLOUR.sub("", error.traceback).splitlines() if line.strip()][-8:]
        notebook.trouble[at] = f"raised {error.ename}" + "".join(f"\n    {line}" for line in lines)
    except (TimeoutError, RuntimeError) as error:  # nbclient takes being cancelled for a dead kernel
        over = f"did not end: the notebook's {limit:g} s were over"
        notebook.trouble[at] = over if clock.expired() else f"its process ended: {error}"
    notebook.seconds = time.monotonic() - start


def lasting(cell: nbformat.NotebookNode) -> list[dict]:
    """A cell's outputs as they are saved: without stderr, TensorFlow's remarks and the widgets of a kernel."""
    clean(nbformat.v4.new_notebook(cells=[cell]))
    kept = [o for o in cell.outputs if o.get("name") != "stderr" and WIDGET not in o.get("data", ())]
    for output in kept:
        if "text" in output:
            output["text"] = OF_TENSORFLOW.sub("", output["text"])
    return [o for o in kept if o.get("text", "shown")]


async def run_all(notebooks: list[Notebook], workers: int, limit: float) -> None:
    places = asyncio.Semaphore(workers)
    forge = Forge() if len(notebooks) >= MANY else None

    async def one(notebook: Notebook) -> None:
        async with places:
            await run(notebook, limit, forge)
        print(f"{notebook.seconds:6.1f} s  {notebook}{'  FAILED' * bool(notebook.trouble)}", flush=True)

    try:
        async with asyncio.TaskGroup() as tasks:
            for notebook in notebooks:
                tasks.create_task(one(notebook))
    finally:
        if forge:
            forge.close()


def run_together(notebooks: list[Notebook], workers: int, limit: float) -> None:
    """Run the notebooks, some at a time, in a thread of their own: the caller may have a loop that runs."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run_all(notebooks, workers, limit)).result()


def found_notebooks(folder: Path) -> list[Path]:
    """Every notebook in the folder but the experiments' and those whose name begins with _ or a dot."""

    def counts(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        return parts[0] != "experiments" and not any(part.startswith(("_", ".")) for part in parts)

    return sorted(path for path in folder.rglob("*.ipynb") if counts(path))


def main(arguments: list[str] | None = None) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("command", choices=["check", "write"])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="all where none is named")
    parser.add_argument("--workers", type=int, default=2, help="notebooks run at once (2)")
    parser.add_argument("--limit", type=float, default=300, help="seconds a notebook may take (300)")
    given = parser.parse_intermixed_args(arguments)
    notebooks = [Notebook(path) for path in given.notebooks or found_notebooks(ROOT / "nbs")]
    start = time.monotonic()
    run_together(notebooks, given.workers, given.limit)
    if given.command == "write":
        for notebook in (n for n in notebooks if not n.trouble):
            notebook.keep()
    findings = [text for notebook in notebooks for text in notebook.findings()]
    print(*findings, sep="\n", end="\n" if findings else "")
    ran = f"{len(notebooks)} notebooks in {time.monotonic() - start:.0f} s"
    remedy = "make outputs regenerates them" if given.command == "check" else "these are for their author"
    print(f"{len(findings)} findings, {ran}: {remedy}" if findings else f"{ran}: every saved output is true")
    return int(bool(findings) or not notebooks)


if __name__ == "__main__":
    sys.exit(main())
