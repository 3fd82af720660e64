"""The systemd units: clean, well fenced in, and saying what the services do.

systemd itself judges them (Debian package `systemd`; it need not run).
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("helenus-agent.service", "helenus-coordinator.service")
MOST_EXPOSURE = 4.0


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install the package systemd"
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


def settings(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (ROOT / "systemd" / unit).read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_to_complain_of(unit: str, tmp_path: Path) -> None:
    """Every setting is known and well formed; only the program's place is this machine's."""
    text = (ROOT / "systemd" / unit).read_text()
    here = tmp_path / unit
    here.write_text(re.sub(r"^ExecStart=/opt/helenus/bin/\S+", f"ExecStart={sys.executable}", text, flags=re.M))
    result = analyze("verify", "--man=no", str(here))
    complaints = [line for line in (result.stdout + result.stderr).splitlines() if unit in line]
    assert complaints == []
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_is_at_most_four(unit: str) -> None:
    result = analyze("security", "--offline=true", "--json=short", str(ROOT / "systemd" / unit))
    assert json.loads(result.stdout), result.stderr
    plain = analyze("security", "--offline=true", "--no-pager", str(ROOT / "systemd" / unit))
    overall = re.search(r"Overall exposure level for \S+: ([0-9.]+)", plain.stdout)
    assert overall, plain.stdout + plain.stderr
    assert float(overall.group(1)) <= MOST_EXPOSURE


def test_both_tell_systemd_how_they_are_and_take_secrets_as_credentials() -> None:
    for unit in UNITS:
        found = settings(unit)
        assert found["Type"] == ["notify"]
        assert found["WatchdogSec"]
        assert any(line.startswith("agent-token:") for line in found["LoadCredential"])


def test_the_agent_runs_as_cassandras_user_and_lets_nodetools_jvm_compile() -> None:
    found = settings("helenus-agent.service")
    assert found["User"] == ["cassandra"]
    assert "MemoryDenyWriteExecute" not in found


def test_the_polkit_rule_names_the_units_user_one_unit_and_no_other_action() -> None:
    rule = (ROOT / "systemd" / "50-helenus.rules").read_text()
    assert f'var user = "{settings("helenus-agent.service")["User"][0]}"' in rule
    assert 'var unit = "cassandra.service"' in rule
    assert re.findall(r"org\.freedesktop\.\S+?(?=[\";])", rule.split("polkit.addRule")[1]) == [
        "org.freedesktop.systemd1.manage-units"
    ]
    assert rule.count("polkit.Result.YES") == 1
