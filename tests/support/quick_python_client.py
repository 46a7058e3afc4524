"""Stands for a process that `quick_python` forks: the same streams, limits and group; ends by the same signal or code.

Started without the site's packages, in a hundredth of a second.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys

PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
UNPORTABLE = ("RLIMIT_OFILE",)  # another name of RLIMIT_NOFILE


def main(address: str, arguments: list[str]) -> None:
    # Signals wait until there is somebody to pass them on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, [*PASSED_ON, signal.SIGINT])
    kinds = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_") and name not in UNPORTABLE]
    request = {
        "arguments": arguments,
        "executable": os.path.join(os.path.dirname(address), "python"),
        "folder": os.getcwd(),
        "group": os.getpgrp(),
        "limits": [(kind, resource.getrlimit(kind)) for kind in kinds],
        "environment": dict(os.environ),
    }
    text = json.dumps(request).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(text)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    answers = connection.makefile()
    process = int(answers.readline())
    for number in PASSED_ON:
        signal.signal(number, lambda number, frame: os.kill(process, number))
    if signal.SIGINT in signal.sigpending():
        os.kill(process, signal.SIGINT)
    # From now on it goes to the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [*PASSED_ON, signal.SIGINT])
    ended = int(answers.readline())
    if ended < 0:
        signal.signal(-ended, signal.SIG_DFL) if -ended != signal.SIGKILL else None
        os.kill(os.getpid(), -ended)
    os._exit(ended)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
