"""A real SLURM and a real Ray on this machine. Only `make test-cluster` runs these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from launching import Command
from slurm_cluster import SlurmCluster


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A cluster of two nodes that all tests share. A test that harms a node starts one of its own."""
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module", autouse=True)
def _no_command_outlives_its_tests() -> Iterator[None]:
    yield
    Command.end_all()
