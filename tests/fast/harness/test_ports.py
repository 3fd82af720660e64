"""Leased ports leave no files behind."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cluster import ports
from tests.cluster.places import REPOSITORY

_LEASE = "from tests.cluster.ports import free_port; print(free_port(), flush=True)"


def _leases(directory: Path) -> list[str]:
    return sorted(path.name for found in directory.glob("helenus-leases-*") for path in found.iterdir())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of leases that no other run uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ports, "_held", {})
    return tmp_path


def test_a_process_that_ends_removes_its_leases(temporary: Path) -> None:
    """Promise: a run of the tests leaves no files of its ports behind."""
    environment = {"TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", _LEASE], cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    assert list(temporary.glob("helenus-leases-*"))
    assert _leases(temporary) == []


def test_leases_of_the_killed_go_and_those_of_the_living_stay(temporary: Path) -> None:
    """Promise: leases of runs that were killed don't pile up, and a living run keeps its ports."""
    argv = [sys.executable, "-c", f"{_LEASE}; input()"]
    with (
        subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env={"TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as living,
        subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env={"TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as killed,
    ):
        assert living.stdout is not None
        assert killed.stdout is not None
        kept, left = (int(process.stdout.readline()) for process in (living, killed) if process.stdout)
        killed.kill()
        killed.wait()
        assert f"port-{left}" in _leases(temporary)
        ports.sweep()
        assert _leases(temporary) == [f"port-{kept}"]
        living.communicate("\n")
