"""What every room stands on: registry, errors, random streams, prompts, plugins, files and the machine.

Nothing of it is imported here: the registry is light, while `machine`, `prompts` and `streams` import torch.
"""

import importlib.util
import sys

# The package needs the locks, signals and forks of Unix. Every module of it comes by here, so that what meets the user
# elsewhere is this message, not that a module of Python's is missing.
if importlib.util.find_spec("fcntl") is None:
    raise ImportError(
        f"icl_curriculum runs on Linux and macOS, and this is {sys.platform}; on Windows, install it in the Windows "
        "Subsystem for Linux (WSL)"
    )
