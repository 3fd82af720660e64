"""Attack row A15: how the services are fenced in, as far as it can be read without systemd."""

import stat

import pytest

from tests.cluster.fence import settings_of
from tests.cluster.places import REPOSITORY

UNITS = ("helenus-agent", "helenus-coordinator")
SHIPPED = ("agent", "coordinator", "kit", "conf", "systemd")


def test_nothing_that_is_shipped_has_more_rights_than_who_starts_it() -> None:
    """Promise: no file of the package has the setuid or setgid bit, none may be written by everybody, and none is a
    program that gets its rights elsewhere."""
    found = [path for name in SHIPPED for path in (REPOSITORY / name).rglob("*") if path.is_file()]
    assert len(found) > 100
    modes = {path: path.stat().st_mode for path in found}
    assert [path for path, mode in modes.items() if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)] == []


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_gives_no_right_and_takes_secrets_from_systemd(unit: str) -> None:
    """Promise: no new privileges, no capability, the system read-only, files for nobody else; secrets are credentials,
    and none stands in the unit, its environment or its arguments."""
    found = settings_of(REPOSITORY / "systemd" / f"{unit}.service")
    assert (found["NoNewPrivileges"], found["ProtectSystem"]) == (["true"], ["strict"])
    assert found["UMask"][0].endswith("7")
    assert (found["CapabilityBoundingSet"], found["AmbientCapabilities"]) == ([""], [""])
    assert found["User"] not in (["root"], ["0"])
    assert found["LoadCredential"]
    assert not {"Environment", "EnvironmentFile", "PassEnvironment", "SetCredential"} & found.keys()
    [started] = found["ExecStart"]
    assert not any(word in started for word in ("token", "password", "secret"))
