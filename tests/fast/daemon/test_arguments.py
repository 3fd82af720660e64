"""What both commands say of themselves, and which file they read when they are told none."""

from collections.abc import Callable, Sequence

import pytest

from agent.daemon.main import run
from agent.daemon.version import installed_version
from coordinator.main import main
from tests.cluster.places import REPOSITORY

COMMANDS = [("helenus-agent", run), ("helenus-coordinator", main)]


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_command_tells_its_version(
    name: str, command: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: «--version» prints the command's name and the installed version, without any configuration."""
    with pytest.raises(SystemExit) as ended:
        command(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{name} {installed_version()}\n"


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_without_a_named_file_a_command_reads_the_one_of_its_unit(
    name: str, command: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: who leaves out «--config» looks at the file that the service is started with."""
    unit = (REPOSITORY / "systemd" / f"{name}.service").read_text()
    [started] = [line.split() for line in unit.splitlines() if line.startswith("ExecStart=")]
    with pytest.raises(SystemExit):
        command(["--help"])
    assert f"default: {started[started.index('--config') + 1]}" in " ".join(capsys.readouterr().out.split())
