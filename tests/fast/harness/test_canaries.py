"""The search for marked secrets over a whole run: what it finds, and what it lets be."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.cluster import canaries
from tests.cluster.canaries import Processes, SecretShown, Seen, marked, refuse, refuse_left_in
from tests.cluster.described import check
from tests.cluster.exchanges import NAME, Exchange
from tests.cluster.places import REPOSITORY

SECRET = marked("secret")
SLEEP = "import time; print(flush=True); time.sleep(600)"


@contextmanager
def child(*arguments: str, **environment: str) -> Iterator[None]:
    """A process of this one that waits."""
    command = [sys.executable, "-c", SLEEP, *arguments]
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


def test_a_secret_in_arguments_or_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: also of a process that a process has started; one whose own secret it is may have it."""
    mark = "of-this-test"  # the run's own search must not find what is planted here
    program = os.path.basename(sys.executable)
    looked = Processes(mark)
    looked.look()
    with child("harmless", SOME="thing"):
        looked.look()
    assert looked.seen == set()
    with child("--password", mark):
        looked.look()
    with child(PASSWORD=mark):
        looked.look()
    assert looked.seen == {Seen(program, "arguments"), Seen(program, "environment")}
    monkeypatch.setattr(canaries, "OWN_SECRET_BY_ENVIRONMENT", frozenset({program}))
    again = Processes(mark)
    with child(PASSWORD=mark):
        again.look()
    assert again.seen == set()
    looked.start()
    with pytest.raises(SecretShown, match="the arguments of"):
        looked.stop()


def test_a_secret_in_a_log_is_found_and_not_repeated(tmp_path: Path) -> None:
    """Promise: the file is named; data, which may be anything, is left alone."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "system.log").write_text(SECRET)
    (tmp_path / "state.sqlite").write_text(SECRET)
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "agent.log").write_text("all is well\n")
    refuse_left_in(tmp_path)
    (tmp_path / "node" / "agent.log").write_text(f"{'x' * 9_000_000}{SECRET}{'x' * 1000}\n")
    with pytest.raises(SecretShown) as shown:
        refuse_left_in(tmp_path)
    assert "agent.log" in str(shown.value)
    assert SECRET not in str(shown.value)
    (tmp_path / "node" / "agent.log").unlink()  # the run's own search must not find it


def test_a_secret_in_an_answer_is_found(tmp_path: Path) -> None:
    """Promise: of every exchange that a service recorded."""
    exchange = Exchange("GET", "/v1/destinations", True, "", b"", 200, "application/json", SECRET.encode())
    (tmp_path / NAME).write_bytes(b"\n" + msgspec.json.encode(exchange) + b"\n")
    with pytest.raises(SecretShown, match="the answer to GET"):
        check(tmp_path / NAME)
    with pytest.raises(SecretShown):
        refuse("a metric", f"helenus_x{{token={SECRET!r}}} 1")


@pytest.mark.parametrize(("body", "failed"), [("print('well')", 0), (f"print({SECRET!r})", 1)], ids=["well", "shown"])
def test_a_test_that_prints_a_secret_has_failed(tmp_path: Path, body: str, failed: int) -> None:
    """Promise: whatever a test or the product prints or logs while it runs is looked through."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_one.py").write_text(f"def test_one():\n    {body}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert f"{1 - failed} passed" in ran.stdout or f"{failed} failed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == failed
    assert ("a secret is shown in «Captured stdout call»" in ran.stdout) == bool(failed)
