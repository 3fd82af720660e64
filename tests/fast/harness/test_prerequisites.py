"""What a machine must have: the right Java is taken, and what is missing is named with the package that brings it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster import java, places

SCRIPT = places.REPOSITORY / ".ci" / "prerequisites"


def _fake_java(directory: Path, version: str) -> str:
    path = directory / f"java-{version}"
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("installed", "taken"),
    [(["17.0.15"], 0), (["25.0.1", "17.0.15"], 1), (["25.0.1", "21.0.8"], 1), (["11.0.2", "1.8.0_402", "23"], 2)],
)
def test_a_java_is_taken_that_cassandra_starts_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: list[str], taken: int
) -> None:
    """Not the first one on PATH whatever it is: from 24 on a node ends at once, and from 18 on it wants a word more."""
    paths = [_fake_java(tmp_path, version) for version in installed]
    monkeypatch.setattr(java, "_installed", lambda: iter(paths))
    command = java.java.__wrapped__()
    assert command[0] == paths[taken]
    assert (len(command) > 1) == (not installed[taken].startswith("17"))


def test_without_such_a_java_the_versions_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is the command that installs one."""
    monkeypatch.setattr(java, "_installed", lambda: iter([_fake_java(tmp_path, "25.0.1"), str(tmp_path / "none")]))
    with pytest.raises(places.MissingPart, match=r"Java 17 to 23.*make prerequisites"):
        java.java.__wrapped__()


@pytest.mark.parametrize(
    ("part", "package"), [("make", "make"), ("maven", "maven"), ("python", "python3-venv"), ("openssl", "openssl")]
)
def test_what_is_missing_is_named_with_its_package(tmp_path: Path, part: str, package: str) -> None:
    """Somebody who isn't root is told what to install, and nothing is tried."""
    for name in ("bash", "sed", "head"):
        (tmp_path / name).symlink_to(f"/bin/{name}" if os.path.exists(f"/bin/{name}") else f"/usr/bin/{name}")
    identity = tmp_path / "id"
    identity.write_text("#!/bin/sh\necho 1000\n")
    identity.chmod(0o755)
    ended = subprocess.run(
        ["/bin/bash", SCRIPT, part], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "prerequisites: missing: " in ended.stderr
    assert f"apt-get install {package}" in ended.stderr
