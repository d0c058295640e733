"""Kernels forked from one process that has imported the large libraries, which takes each new process seconds.

    python -P tests/kernels.py [LIBRARY ...]

For each kernel it reads a line of JSON with its connection file, its folder and its environment, and answers with
the kernel's process id. It ends when nobody can write to it any more, and its kernels with it.
"""

import builtins
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from types import SimpleNamespace


def become_kernel(connection: str, folder: str, environment: dict[str, str]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(folder)
    tempfile.tempdir = None  # the environment names another
    from ipykernel import kernelapp

    kernelapp.launch_new_instance(argv=["-f", connection, "--HistoryManager.enabled=False"])


def serve(libraries: list[str]) -> None:
    # while it is imported, pandas asks whether it is in a notebook, and cuts its tables otherwise
    builtins.get_ipython = lambda: SimpleNamespace(kernel=None)
    for name in libraries:
        with suppress(ImportError):
            importlib.import_module(name)
    del builtins.get_ipython
    gc.freeze()  # so that no kernel copies these objects only to look at them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a kernel that has ended leaves nothing behind
    while line := os.read(0, 1 << 20):  # a reader that buffers could keep the next one
        kernel = os.fork()
        if not kernel:
            try:
                become_kernel(**json.loads(line))
            finally:
                os._exit(1)
        os.write(1, f"{kernel}\n".encode())


if __name__ == "__main__":
    serve(sys.argv[1:])
