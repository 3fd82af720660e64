"""The systemd units: clean, well fenced in, and saying what the services do.

systemd itself judges them (Debian package `systemd`; it need not run). What they forbid is tried in their fence, which
needs root.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dukpy
import pytest

from tests.cluster import fence
from tests.cluster.places import REPOSITORY

AGENT = REPOSITORY / "systemd" / "helenus-agent.service"
UNITS = ("helenus-agent.service", "helenus-coordinator.service")
MOST_EXPOSURE = 4.0


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install the package systemd"
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


def settings(unit: str) -> dict[str, list[str]]:
    return fence.settings_of(REPOSITORY / "systemd" / unit)


def fenced(program: str, command: list[str]) -> str:
    """What a Python program prints in the fence, with its errors."""
    result = subprocess.run(
        [*command, sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_to_complain_of(unit: str, tmp_path: Path) -> None:
    """Every setting is known and well formed; only the program's place is this machine's."""
    text = (REPOSITORY / "systemd" / unit).read_text()
    here = tmp_path / unit
    here.write_text(re.sub(r"^ExecStart=/opt/helenus/bin/\S+", f"ExecStart={sys.executable}", text, flags=re.M))
    result = analyze("verify", "--man=no", str(here))
    complaints = [line for line in (result.stdout + result.stderr).splitlines() if unit in line]
    assert complaints == []
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_is_at_most_four(unit: str) -> None:
    """Promise: systemd itself finds each unit well fenced in."""
    result = analyze("security", "--offline=true", "--json=short", str(REPOSITORY / "systemd" / unit))
    assert json.loads(result.stdout), result.stderr
    plain = analyze("security", "--offline=true", "--no-pager", str(REPOSITORY / "systemd" / unit))
    overall = re.search(r"Overall exposure level for \S+: ([0-9.]+)", plain.stdout)
    assert overall, plain.stdout + plain.stderr
    assert float(overall.group(1)) <= MOST_EXPOSURE


def test_both_tell_systemd_how_they_are_and_take_secrets_as_credentials() -> None:
    """Promise: the units use what the services offer: notify, watchdog, credentials."""
    for unit in UNITS:
        found = settings(unit)
        assert found["Type"] == ["notify"]
        assert found["WatchdogSec"]
        assert any(line.startswith("agent-token:") for line in found["LoadCredential"])


def test_the_agent_runs_as_cassandras_user_and_lets_nodetools_jvm_compile() -> None:
    """Promise: the fence lets through what import and nodetool need."""
    found = settings("helenus-agent.service")
    assert found["User"] == ["cassandra"]
    assert "MemoryDenyWriteExecute" not in found


@pytest.mark.parametrize(("unit", "refused"), [(UNITS[0], False), (UNITS[1], True)])
def test_only_the_agent_may_set_the_setgid_bit(unit: str, refused: bool, tmp_path: Path) -> None:
    """As another user than Cassandra's it needs that, and @chown, for what it stages. (RestrictSUIDSGID=)"""
    program = f"import os; os.chmod({str(tmp_path)!r}, 0o700); os.chmod({str(tmp_path)!r}, 0o2700); print('done')"
    printed = fenced(program, fence.command(REPOSITORY / "systemd" / unit))
    assert ("not permitted" in printed, "done" in printed) == (refused, not refused)
    assert bool(tmp_path.stat().st_mode & 0o2000) != refused


def test_the_agent_may_give_its_files_to_a_group_that_it_is_in_and_to_no_other(tmp_path: Path) -> None:
    """What @chown is allowed for, and all that it allows without capabilities."""
    tmp_path.chmod(0o777)
    user = fence.User(61002, 61002, (61000,))
    at = dict.fromkeys(("/var/lib/cassandra", "/var/backups/helenus", "/var/lib/helenus/agent"), tmp_path)
    for owner, group, wanted in ((-1, 61000, "done"), (-1, 61003, "not permitted"), (61001, -1, "not permitted")):
        file = tmp_path / f"{owner}-{group}"
        program = f"import os; open({str(file)!r}, 'x'); os.chown({str(file)!r}, {owner}, {group}); print('done')"
        assert wanted in fenced(program, fence.command(AGENT, user=user, at=at))
        assert file.stat().st_gid == (61000 if wanted == "done" else 61002)


@pytest.mark.parametrize("line", ["ReadWritePaths", "StateDirectory"])
def test_the_agent_writes_where_the_unit_says_and_nowhere_else(line: str, tmp_path: Path) -> None:
    """Without either line its places can't be written: both are needed, as the fence's own proof."""
    places = {
        "/var/lib/cassandra": tmp_path / "data",
        "/var/backups/helenus": tmp_path / "backups",
        "/var/lib/helenus/agent": tmp_path / "state",
    }
    for place in places.values():
        place.mkdir()
    shorn = tmp_path / AGENT.name
    shorn.write_text(re.sub(rf"^{line}=.*\n", "", AGENT.read_text(), flags=re.MULTILINE))
    lost = {"ReadWritePaths": {"data", "backups"}, "StateDirectory": {"state"}}[line]
    program = "\n".join(
        [
            "import os",
            "for place in {places!r}:",
            " try: os.mkdir(place + '/made'); print(place)",
            " except OSError: pass",
        ]
    )
    for unit, left in ((AGENT, {"data", "backups", "state"}), (shorn, {"data", "backups", "state"} - lost)):
        tried = [*map(str, places.values()), str(tmp_path), "/etc", "/opt", "/var/lib", "/root"]
        printed = fenced(program.format(places=tried), fence.command(unit, at=places, keep=[tmp_path]))
        assert set(printed.split()) == {str(tmp_path / name) for name in left}
        for name in left:
            os.rmdir(tmp_path / name / "made")


def verdict(**asked: str) -> object:
    """What the polkit rule says to a question, in the JavaScript engine that polkit itself has."""
    question = {"id": "org.freedesktop.systemd1.manage-units", "user": "cassandra", "unit": "cassandra.service"}
    question |= {"verb": "restart"} | asked
    program = """
        var rules = [], asked = dukpy.asked;
        var polkit = {Result: {YES: "yes", NOT_HANDLED: null}, addRule: function (rule) { rules.push(rule); }};
        %s
        rules[0]({id: asked.id, lookup: function (name) { return asked[name]; }}, {user: asked.user});
    """
    return dukpy.evaljs(program % (REPOSITORY / "systemd" / "50-helenus.rules").read_text(), asked=question)


def test_the_polkit_rule_lets_the_units_user_start_and_stop_cassandra_and_nothing_else() -> None:
    """Promise: the rule gives three verbs on one unit."""
    assert settings("helenus-agent.service")["User"] == ["cassandra"]
    for verb in ("start", "stop", "restart"):
        assert verdict(verb=verb) == "yes", verb
    for verb in ("kill", "reload", "set-property", "enable", "START", ""):
        assert verdict(verb=verb) is None, verb
    assert verdict(user="helenus") is None
    assert verdict(unit="ssh.service") is None
    assert verdict(id="org.freedesktop.systemd1.manage-unit-files") is None
