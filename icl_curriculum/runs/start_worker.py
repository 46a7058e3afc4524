"""``python -P start_worker.py UNIT.toml``: starts a `worker` from the very package that this file lies in.

``start_worker.py --task ...`` starts a `batch_task`, which watches a worker.
With ``--follow RANK PROCESSES PORT``, it starts one of several processes that train a run together (`following`).

Started by its path, since ``-m`` would look for the package among all folders that Python knows, the one that the user
is in at their head: a ``random.py`` there would be imported instead of Python's own, and a folder named as the package
would be executed. So nothing is looked for: neither here nor where else a package of this name may lie.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path


def package_beside() -> None:
    """Import the package that this file belongs to, from where it lies."""
    folder = Path(__file__).resolve().parent.parent
    if folder.name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[folder.name] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


def end_with_stdin() -> None:
    """End at once when standard input does: whoever started this process is then gone."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    package_beside()
    if sys.argv[1:2] == ["--follow"]:
        # Already while torch is imported, which takes seconds.
        threading.Thread(target=end_with_stdin, daemon=True).start()
        from icl_curriculum.runs.following import main as follow

        sys.exit(follow(sys.argv[2:]))
    if sys.argv[1:2] == ["--task"]:
        from icl_curriculum.launchers.batch_task import main as execute_task

        sys.exit(execute_task(sys.argv[2:]))
    from icl_curriculum.runs.worker import main

    sys.exit(main())
