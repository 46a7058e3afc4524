"""The Ray under the tests does what the launcher for Ray relies on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_cluster import RayCluster
from slurm_cluster import wait_for

# A driver of its own: it starts tasks that write their process into a file and wait until the file named go is there.
DRIVER = r"""
import json, os, sys, time
from pathlib import Path
import ray
folder, address = Path(sys.argv[1]), sys.argv[2]
ray.init(address=address, log_to_driver=False, configure_logging=False)
@ray.remote(max_calls=1)
def wait(name):
    print("a task's output stays off the terminal")
    with (folder / name).open("a") as started:
        started.write(f"{os.getpid()}\n")
    while not (folder / "go").exists():
        time.sleep(0.02)
    return os.getpid()
@ray.remote(max_calls=1)
def end(code):
    sys.exit(code)
futures = {
    "once": wait.options(max_retries=0).remote("once").future(),
    "twice": wait.options(max_retries=1).remote("twice").future(),
    "ended": end.options(max_retries=0).remote(75).future(),
}
found = {}
for name, future in futures.items():
    error = future.exception(60)
    found[name] = future.result() if error is None else type(error).__name__
(folder / "found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[RayCluster]:
    with RayCluster() as cluster:
        yield cluster
        assert len([*cluster.processes()]) > 3
    assert [*cluster.processes()] == []
    assert not cluster.folder.exists()


def test_killed_worker_is_an_error_or_is_tried_again(ray_cluster: RayCluster, tmp_path: Path) -> None:
    def started(name: str) -> list[int]:
        path = tmp_path / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    driver = [sys.executable, "-W", "error", "-c", DRIVER, str(tmp_path), ray_cluster.address]
    with subprocess.Popen(
        driver, env=ray_cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ran:
        for name in ("once", "twice"):
            wait_for(lambda name=name: started(name), f"the task {name} runs")  # type: ignore[misc]
            assert set(started(name)) <= set(ray_cluster.workers())
            os.kill(started(name)[0], signal.SIGKILL)
        wait_for(lambda: len(started("twice")) == 2, "the task runs again")
        (tmp_path / "go").touch()
        stdout, stderr = ran.communicate(timeout=60)
    assert (ran.returncode, stderr) == (0, "")
    assert "a task's output" not in stdout
    found = json.loads((tmp_path / "found.json").read_text())
    # A task that ends its process by an exit code looks like one that was killed.
    assert found == {"once": "WorkerCrashedError", "twice": started("twice")[1], "ended": "WorkerCrashedError"}
