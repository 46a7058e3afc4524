"""A Python that has imported torch already: ``python quick_python.py SOCKET`` forks a process for each that asks.

For tests of commands in processes of their own, of which every one would take seconds to import torch. They are
processes like any other, with their own arguments, environment, folder, process group, limits and signals, and what
ends them ends what stands for them (`quick_python_client`) alike; they are merely born with an imported torch. So are
the processes that they start by `sys.executable`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: What takes long to import, and of the package what executes a run. What a user sees is imported by each.
PREPARED = (
    "torch", "pandas", "sklearn.ensemble", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
    "matplotlib.style", "rich.live", "rich.table", "typer", "icl_curriculum.runs.worker",
)  # fmt: skip


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Path]:
    """An executable in ``folder`` that stands for Python while the block lasts; of its options it takes few."""
    address, executable = folder / "socket", folder / "python"
    here = Path(__file__)
    client = shlex.join([sys.executable, "-IS", str(here.with_name("quick_python_client.py")), str(address)])
    executable.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    executable.chmod(0o755)
    command = [sys.executable, str(here), str(address)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        try:
            yield executable
        finally:
            server.stdin.close()


@dataclass
class Request:
    """What a process is to be."""

    arguments: list[str]
    executable: str
    folder: str
    group: int
    limits: list[tuple[int, tuple[int, int]]]
    environment: dict[str, str]


def serve(listener: socket.socket) -> Request | None:
    """Returns in every process that was asked for, and None when standard input ends."""
    # Meant for the tests, which share the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:
            return None
        connection, _ = listener.accept()
        if fork() == 0:
            listener.close()
            return attend(connection)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def fork() -> int:
    with warnings.catch_warnings():
        # Of threads: those of numerical libraries, which know about forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def attend(connection: socket.socket) -> Request:
    """Start the process that was asked for, in which it returns, and say how it ends; end it with who asked."""
    header, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as received:
        asked = received.read(int.from_bytes(header, "big"))
    if not header or len(asked) < int.from_bytes(header, "big"):
        os._exit(0)  # Who asked was killed while it did.
    request = Request(**json.loads(asked))
    # What comes before the process can hear it waits until it can, which Linux does though it is ignored as yet.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    child = fork()
    if child == 0:
        connection.close()
        become(request, streams)
        return request
    for stream in streams:
        os.close(stream)
    # Who asked may have been killed already, which the thread below sees.
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % child)
    over = threading.Event()

    def end_with_who_asked() -> None:
        connection.recv(1)
        if not over.is_set():
            os.kill(child, signal.SIGKILL)

    threading.Thread(target=end_with_who_asked, daemon=True).start()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    over.set()
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % ended)
    os._exit(0)


def become(request: Request, streams: list[int]) -> None:
    try:
        os.setpgid(0, request.group)
    except PermissionError:
        os._exit(0)  # The whole group was killed, also who asked.
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for kind, limits in request.limits:
        resource.setrlimit(kind, limits)
    os.chdir(request.folder)
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request.environment)
    after = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [request.folder, *filter(None, after), *(path for path in sys.path[1:] if path not in before)]
    sys.executable = request.executable
    encoding = sys.stdout.encoding
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding=encoding, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # type: ignore[misc]  # noqa: SIM115
        2, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def run(arguments: list[str]) -> None:
    match arguments:
        case ["-m", module, *others]:
            sys.argv = [module, *others]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *others]:
            sys.argv = ["-c", *others]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case ["-P", *others]:
            sys.path.pop(0)
            run(others)
        case [file, *others] if file.endswith(".py"):
            sys.argv = [file, *others]
            runpy.run_path(file, run_name="__main__")
        case ["-W", action, *others]:
            warnings.simplefilter(action)  # type: ignore[arg-type]
            run(others)
        case _:
            sys.exit(f"expected -W ACTION, -P and -m MODULE, -c CODE or FILE.py, found {arguments}")


class Ending:
    """Ends a process where Python would begin to take its modules down, which takes longer than all else."""

    def __init__(self) -> None:
        self.code = 0
        atexit.register(self)

    def __call__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if self.code == -signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(self.code)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        try:
            yield
        except SystemExit as end:
            self.code = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise
        except BaseException as error:
            self.code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
            raise


def load_kernels() -> None:
    """Load the kernels of the hand-written pass, which every process that trains would take a second for."""
    import torch

    from icl_curriculum.models import TransformerConfig

    # No process may be forked from one that has computed in several threads.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = torch.Generator().manual_seed(0)
    TransformerConfig(width=8, layers=1, heads=2).build(dims=2, points=3, generator=made).prepare()
    torch.set_num_threads(threads)


def main(address: str) -> None:
    # First, so that it comes last at the end.
    ending = Ending()
    gc.disable()
    for name in PREPARED:
        importlib.import_module(name)
    load_kernels()
    # The collector would touch, and by that copy, whatever is shared.
    gc.freeze()
    gc.enable()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        request = serve(listener)
    if request is not None:
        with ending.noted():
            run(request.arguments)


if __name__ == "__main__":
    main(sys.argv[1])
